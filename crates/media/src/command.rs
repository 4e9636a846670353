//! What the call's policy asks of a shard. Every command takes effect at the `now` it comes with.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use duolog_audio::codec::Codec;
use duolog_audio::prompt::Prompt;
use duolog_rtp::dtls::{self, Fingerprint};
use duolog_rtp::event::Digit;
use duolog_rtp::srtp::MasterKey;
use duolog_rtp::{PayloadType, RtpTimestamp, SeqNo, Ssrc};

use crate::{LegKey, PlayKey, PortId, RecordingKey};

/// What to do. A command for something that does not exist is counted and does nothing.
#[derive(Debug, Clone)]
pub enum Command {
    /// Makes a leg out of two open sockets. They may be the same port for both with rtcp-mux.
    Open {
        /// Its name; must be new.
        leg: LegKey,
        /// The socket for RTP.
        rtp: PortId,
        /// The socket for RTCP.
        rtcp: PortId,
        /// Who it is to its peer.
        identity: LegIdentity,
    },
    /// Says who a leg's peer is, or that this changed (re-INVITE).
    Connect {
        /// Which leg.
        leg: LegKey,
        /// What was negotiated.
        peer: PeerMedia,
    },
    /// Relays between two legs, instead of whatever they were bridged to.
    Bridge {
        /// One leg.
        a: LegKey,
        /// The other.
        b: LegKey,
    },
    /// From now on the leg's digits become [`crate::Event::Digit`] and reach nobody else: telephone-events,
    /// or where none were agreed on the keys that are heard in its speech.
    TakeDigits {
        /// Which leg.
        leg: LegKey,
    },
    /// Sends digits to the leg's peer, as telephone-events or where none were agreed on as they sound;
    /// relayed speech to it gives way meanwhile.
    SendDigits {
        /// Which leg.
        leg: LegKey,
        /// The keys, in order.
        digits: Vec<Digit>,
    },
    /// Plays a sound to the leg's peer. One of each kind at a time: a new one cuts the old one.
    Play {
        /// Which leg.
        leg: LegKey,
        /// Names it in [`crate::Event::Played`].
        play: PlayKey,
        /// What to play.
        sound: Arc<Prompt>,
        /// How.
        how: How,
    },
    /// Cuts whatever is played to the leg.
    StopPlaying {
        /// Which leg.
        leg: LegKey,
    },
    /// Ends a leg. Recordings it fed go on without it: nobody is on its channel until another leg is.
    Close {
        /// Which leg.
        leg: LegKey,
    },
    /// About a recording.
    Record {
        /// Which.
        recording: RecordingKey,
        /// What.
        command: RecordingCommand,
    },
}

/// What to do with a recording.
#[derive(Debug, Clone)]
pub enum RecordingCommand {
    /// It exists; nothing is kept yet.
    Open {
        /// The leg whose party is channel 1.
        owner: LegKey,
        /// The leg whose party is channel 2; `None`: the owner's stream holds both parties, mixed.
        other: Option<LegKey>,
        /// Whether its audio is kept without being asked for.
        keeping: Keeping,
        /// For the spool.
        payload: Bytes,
    },
    /// The audio of a provisional recording is kept, all of it, from its first sample on. Of one that is
    /// kept already it changes nothing.
    Keep,
    /// From now on channel 2 is another leg's party. What came from the one before is kept, nothing that
    /// comes later; nothing of the new one lies before this moment. A mixed recording has no channel 2.
    Turn {
        /// The leg, not the owner's; `None`, or one that does not exist: nobody's.
        other: Option<LegKey>,
    },
    /// Position 0 is now.
    Start,
    /// From now on nothing is kept; the clock runs on.
    Pause,
    /// From now on audio is kept again.
    Resume,
    /// A fact of the call, at the current position.
    Note {
        /// For the spool.
        payload: Bytes,
    },
    /// Everything received by now is kept, and that is all.
    Close {
        /// For the spool.
        payload: Bytes,
    },
}

/// Whether what a recording captures is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keeping {
    /// It is.
    Kept,
    /// Nobody may ever read it, unless [`RecordingCommand::Keep`] comes before its close.
    Provisional,
}

/// How a sound is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// Instead of the conversation.
    Instead,
    /// Mixed under the conversation.
    Under,
}

/// Who a leg is to its peer (RFC 3550 §5.1, §6.5.1); random, from the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegIdentity {
    /// Source of everything sent to the peer.
    pub ssrc: Ssrc,
    /// First sequence number sent; below 2^15 where packets may be protected: a receiver of SRTP that
    /// misses those before an early wrap would never find the roll-over counter (RFC 3711 §3.3.1).
    pub seq: SeqNo,
    /// Time stamp of the first packet sent.
    pub timestamp: RtpTimestamp,
    /// Canonical name, at most 255 octets of UTF-8.
    pub cname: Bytes,
}

/// What was negotiated with a leg's peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerMedia {
    /// Where it said it wants RTP.
    pub rtp: SocketAddr,
    /// Where it said it wants RTCP.
    pub rtcp: SocketAddr,
    /// Whether RTCP shares the RTP port (RFC 5761).
    pub rtcp_mux: RtcpMux,
    /// Where its signalling comes from: behind a NAT its media may too.
    pub signalled_from: IpAddr,
    /// The formats both sides agreed on, the preferred one first. Payload types are 0 to 127.
    pub formats: Vec<PayloadFormat>,
    /// Which way media goes.
    pub direction: Direction,
    /// How much speech the peer wants in one packet, in milliseconds: 10 to 60 (`a=ptime`). Only for
    /// packets that are made here; what is relayed untouched keeps its length.
    pub ptime_ms: u8,
    /// How its packets are protected; `None`: not at all.
    pub security: Option<Security>,
}

/// Where the keys of a leg's SRTP come from.
#[derive(Debug, Clone)]
pub enum Security {
    /// From the SDP (RFC 4568).
    Sdes {
        /// What we send with.
        ours: MasterKey,
        /// What the peer sends with.
        theirs: MasterKey,
    },
    /// From a handshake on the media path (RFC 5763, RFC 5764). Needs [`RtcpMux::Shared`] for RTCP to
    /// be protected too: there is one association, that of the RTP port.
    Dtls {
        /// Who speaks first.
        role: dtls::Role,
        /// Our certificate.
        identity: dtls::Identity,
        /// The peer's, as its SDP names it.
        fingerprint: Fingerprint,
    },
}

impl PartialEq for Security {
    fn eq(&self, other: &Security) -> bool {
        match (self, other) {
            (
                Security::Sdes { ours, theirs },
                Security::Sdes {
                    ours: our_other,
                    theirs: their_other,
                },
            ) => ours == our_other && theirs == their_other,
            (
                Security::Dtls {
                    role,
                    identity,
                    fingerprint,
                },
                Security::Dtls {
                    role: other_role,
                    identity: other_identity,
                    fingerprint: other_fingerprint,
                },
            ) => {
                role == other_role
                    && identity.fingerprint() == other_identity.fingerprint()
                    && fingerprint == other_fingerprint
            }
            _ => false,
        }
    }
}

impl Eq for Security {}

/// Whether RTP and RTCP share a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RtcpMux {
    /// RTCP has a port of its own.
    Apart,
    /// Both on the RTP port.
    Shared,
}

/// One negotiated format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayloadFormat {
    /// Its number in both directions of this leg.
    pub payload_type: PayloadType,
    /// What it is.
    pub encoding: Encoding,
}

/// What a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Speech.
    Speech(Codec),
    /// A telephone-event (RFC 4733).
    TelephoneEvent {
        /// Ticks per second of its durations: that of the speech it goes with, or 8,000.
        rate_hz: u32,
    },
    /// Comfort noise (RFC 3389).
    ComfortNoise {
        /// Ticks per second of its time stamps: that of the speech it goes with.
        rate_hz: u32,
    },
}

/// Which way media goes, as the peer said it of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Sends and receives.
    SendRecv,
    /// Sends, wants nothing.
    SendOnly,
    /// Receives, sends nothing.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    pub(crate) fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }
}
