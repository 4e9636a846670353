//! duolog's own test phone: one call at a time, as a value, and a thin shell with real sockets.
//!
//! [`Phone`] takes datagrams, actions and instants and answers with datagrams and events; it knows no
//! socket, clock, thread or random source, so hundreds of them live in virtual time. [`Group`] puts
//! many phones behind one SIP address. [`RealPhones`] drives a group on real sockets.

mod calling;
mod coded;
mod ear;
mod group;
mod keypad;
mod media;
mod mouth;
mod offer;
mod real;
mod ringing;
mod shell;
mod sighting;
mod sockets;
mod talk;
mod ua;
mod voice;

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use duolog_audio::codec::Codec;
use duolog_rtp::{RtpTimestamp, SeqNo, Ssrc};
use duolog_sip::{Flow, StatusCode, Uri};

pub use coded::{CodedVoice, PARTIES, SLOT_SAMPLES, SLOTS};
pub use ear::{Ear, Heard, HeardPacket, Keep};
pub use group::{Group, PhoneNo};
pub use media::{Agreed, SentPacket, Speaks};
pub use offer::{KeyUse, Security};
pub use real::{Look, RealError, RealPhones, RealSettings, Told};
pub use sighting::{Sighting, decode};
pub use voice::{Repeat, Speech, Voice};

use media::{MediaSide, Pace};
use ua::{Steps, UserAgent};

/// What a phone is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// One SIP datagram, or one message cut from a stream.
    Sip {
        /// Where it came from.
        flow: Flow,
        /// The bytes.
        bytes: Bytes,
    },
    /// A SIP connection is gone.
    FlowFailed {
        /// The connection.
        flow: Flow,
    },
    /// A datagram at the RTP port.
    Rtp {
        /// When it arrived, at most now.
        arrived: Instant,
        /// The bytes.
        bytes: Bytes,
    },
    /// A datagram at the RTCP port.
    Rtcp {
        /// The bytes.
        bytes: Bytes,
    },
    /// The user does something.
    Do(Action),
    /// `deadline()` has come.
    Deadline,
}

/// What a user does with a phone.
#[derive(Debug, Clone)]
pub enum Action {
    /// Calls somebody through the proxy.
    Call {
        /// Who.
        uri: Uri,
    },
    /// Ends the call: CANCEL, BYE, or 603 while it rings here.
    HangUp,
    /// Gives up a call that is not answered yet; the same as `HangUp` then, else refused.
    Cancel,
    /// Puts the other party on hold: re-INVITE with `sendonly`, and no packets.
    Hold,
    /// Takes the call back from hold.
    Retrieve,
    /// Presses keys, each 100 ms with 60 ms between (RFC 4733): 0-9, `*`, `#`, A-D.
    Press {
        /// Such as `*48`.
        digits: String,
    },
    /// Sends INFO with `Record: …`, such as `pause` or `resume`.
    Record {
        /// The header's value.
        value: String,
    },
    /// Speaks with another voice, from its beginning.
    SetVoice(Voice),
    /// Re-INVITE with these codecs only.
    Recode {
        /// At least one.
        codecs: Vec<Codec>,
    },
    /// Goes on in packets of another length, without a word about it.
    Repack {
        /// 10 to 200 ms.
        ptime_ms: u8,
    },
    /// Goes on as another source: new SSRC, numbers and time stamps.
    Renew {
        /// Who it is now.
        ssrc: Ssrc,
        /// Its first number.
        seq: SeqNo,
        /// Its first time stamp.
        timestamp: RtpTimestamp,
    },
}

/// What a phone wants sent, or has to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send SIP.
    Send {
        /// Where to; for a stream, over which connection (to be opened if it is the proxy's).
        flow: Flow,
        /// One message.
        bytes: Bytes,
    },
    /// Send from the RTP port.
    SendRtp {
        /// Where to.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Send from the RTCP port.
    SendRtcp {
        /// Where to.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// Something happened to the call.
    Event(PhoneEvent),
}

/// Something that happened to a phone's call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhoneEvent {
    /// The called phone rings (180), or this phone rings.
    Ringing,
    /// A provisional answer with media came.
    EarlyMedia,
    /// The call was answered, by either end.
    Answered,
    /// The call is on hold.
    Held {
        /// Who holds it.
        by: End,
    },
    /// The call is back from hold.
    Retrieved {
        /// Who had held it.
        by: End,
    },
    /// `Action::Recode` was answered.
    Recoded,
    /// The call was refused with this status, by the peer or by this phone.
    Refused(StatusCode),
    /// The call is over.
    Ended {
        /// Who hung up.
        by: End,
    },
    /// The INFO of `Action::Record` was answered.
    InfoAnswered(StatusCode),
    /// Something did not work.
    Failed(Failure),
}

/// One of the two ends of a phone's call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// This phone.
    Phone,
    /// The other end.
    Peer,
}

/// Why something did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No answer to a request, or its connection is gone.
    #[error("a request was not answered")]
    NoResponse,
    /// The 200 to an INVITE was never acknowledged; the call was ended.
    #[error("the answer was not acknowledged")]
    NoAck,
    /// The peer's message cannot be used.
    #[error("the peer's message cannot be used")]
    BadMessage,
    /// The peer's description has no audio this phone can speak; the call was ended.
    #[error("no audio in common")]
    NoAudio,
    /// A re-INVITE was refused.
    #[error("a change of the call was refused")]
    ChangeRefused(StatusCode),
    /// The action does not fit the state of the call.
    #[error("the action does not fit the call's state")]
    WrongMoment,
    /// A key that is none, or no telephone-event was agreed on.
    #[error("a key cannot be sent")]
    NoSuchKey,
}

/// What a phone does with a call that comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answering {
    /// How long it rings, ms; 0 answers at once without a provisional response.
    pub ring_ms: u32,
    /// Whether it speaks while it rings.
    pub early_media: EarlyMedia,
    /// 200, or the refusal, 300 to 699.
    pub code: StatusCode,
}

/// Whether a ringing phone speaks already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyMedia {
    /// It rings with 180 and no media.
    No,
    /// It rings with 183 and a description, and sends its voice.
    Yes,
}

/// What a phone is made with.
#[derive(Debug, Clone)]
pub struct PhoneSettings {
    /// The user part of its address and its display name.
    pub user: String,
    /// The host part of its address.
    pub domain: String,
    /// Transport, its own SIP address, and the proxy's.
    pub flow: Flow,
    /// Its RTP address.
    pub rtp: SocketAddr,
    /// Its RTCP address.
    pub rtcp: SocketAddr,
    /// The codecs it offers and takes, in order of preference; at least one.
    pub codecs: Vec<Codec>,
    /// Packet time, 10 to 200 ms.
    pub ptime_ms: u8,
    /// How fast its clock runs against the true one, in parts per million: -1,000 to 1,000.
    pub clock_ppm: i32,
    /// Whether its media is encrypted.
    pub security: Security,
    /// What it does with calls that come in.
    pub answering: Answering,
    /// What it says from the first moment.
    pub voice: Voice,
    /// Whether packets are kept.
    pub keep: Keep,
    /// Makes its tags, Call-IDs, SSRC and first numbers.
    pub seed: u64,
}

/// A phone: one call at a time, calls out and takes calls.
#[derive(Debug)]
pub struct Phone {
    agent: UserAgent,
    media: MediaSide,
}

impl Phone {
    /// A phone without a call.
    ///
    /// # Panics
    /// When no law is given or the packet time is not 10 to 200 ms.
    #[must_use]
    pub fn new(settings: PhoneSettings) -> Self {
        assert!(
            !settings.codecs.is_empty(),
            "a phone speaks at least one codec"
        );
        assert!(
            (10..=200).contains(&settings.ptime_ms),
            "a packet holds 10 to 200 ms"
        );
        let mut seed = settings.seed;
        let pace = Pace {
            ptime_ms: settings.ptime_ms,
            clock_ppm: settings.clock_ppm,
            ssrc: Ssrc(next_random(&mut seed) as u32),
            seq: SeqNo(next_random(&mut seed) as u16),
            timestamp: RtpTimestamp(next_random(&mut seed) as u32),
            cname: format!("{}@{}", settings.user, settings.rtp.ip()),
            seed: next_random(&mut seed),
        };
        let media = MediaSide::new(pace, settings.keep, settings.voice.clone());
        Self {
            agent: UserAgent::new(settings, next_random(&mut seed)),
            media,
        }
    }

    /// Takes one input; the outputs are in the order in which they are to be done.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Rtp { arrived, bytes } => self.media.receive(arrived, &bytes),
            Input::Rtcp { bytes } => self.media.receive_rtcp(now, &bytes),
            Input::Do(Action::SetVoice(voice)) => self.media.set_voice(voice),
            Input::Do(Action::Repack { ptime_ms }) => self.media.repack(ptime_ms),
            Input::Do(Action::Renew {
                ssrc,
                seq,
                timestamp,
            }) => self.media.renew(ssrc, seq, timestamp),
            Input::Do(Action::Press { digits }) => self.press(&digits, &mut out),
            other => {
                let mut steps = Steps {
                    now,
                    media: &mut self.media,
                    out: &mut out,
                };
                self.agent.handle(other, &mut steps);
            }
        }
        self.media.tick(now, &mut out);
        out
    }

    /// When `Input::Deadline` is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        [self.agent.deadline(), self.media.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What it heard.
    #[must_use]
    pub fn ear(&self) -> &Ear {
        self.media.ear()
    }

    /// Every RTP packet it sent, in order; empty unless [`Keep::Packets`] was asked for.
    #[must_use]
    pub fn sent(&self) -> &[SentPacket] {
        self.media.sent()
    }

    /// The source of its packets.
    #[must_use]
    pub fn ssrc(&self) -> Ssrc {
        self.media.ssrc()
    }

    /// What the two ends agreed on, while there is media.
    #[must_use]
    pub fn agreed(&self) -> Option<&Agreed> {
        self.media.agreed()
    }

    /// The Call-ID of its call, or of its last one.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        self.agent.call_id()
    }

    /// The user part of its address.
    #[must_use]
    pub fn user(&self) -> &str {
        self.agent.user()
    }

    /// Whether it has no call.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.agent.is_idle()
    }

    fn press(&mut self, digits: &str, out: &mut Vec<Output>) {
        let agreed = self
            .media
            .agreed()
            .is_some_and(|agreed| agreed.event_type.is_some());
        if !agreed || self.media.press(digits) != 0 {
            out.push(Output::Event(PhoneEvent::Failed(Failure::NoSuchKey)));
        }
    }
}

/// SplitMix64: phones with neighbouring seeds have nothing in common.
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
