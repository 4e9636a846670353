//! What the call says to the media plane and hears from it, in the call's own words. The program
//! translates. Every command takes effect at the `now` of the `handle` that returned it, in order.

use std::net::{IpAddr, SocketAddr};

use duolog_sip::sdp::{Direction, Encoding, SdesKey};

use crate::fact::{Fact, Opening};
use crate::feature_code::Digit;
use crate::settings::UserIndex;

/// One call. Unique in the life of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One leg. Unique in the life of an engine; a leg may move from one call to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

/// Legs of one group can be bridged and recorded together: 0 to [`MediaSettings::more_groups`].
///
/// [`MediaSettings::more_groups`]: crate::MediaSettings::more_groups
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaGroup(pub u32);

/// One recording, as the 128 bits of an RFC 9562 UUID version 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingId(pub u128);

/// One sound played to one leg. Unique in the life of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayId(pub u64);

/// What a leg's peer negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegMedia {
    /// Where the peer wants RTP.
    pub rtp: SocketAddr,
    /// Where the peer wants RTCP.
    pub rtcp: SocketAddr,
    /// Whether RTCP shares the RTP port (RFC 5761).
    pub rtcp_mux: Multiplexing,
    /// Where the peer's signalling comes from: the other address latching may accept.
    pub signalled_from: IpAddr,
    /// The payload formats this node and the peer agreed on: first in the peer's own numbers and
    /// order, under which it is sent to; then under other numbers that it was told and may send with.
    /// The other leg may have agreed on others.
    pub formats: Vec<PayloadFormat>,
    /// Packet time the peer asked for, 10 to 60 ms.
    pub ptime_ms: u8,
    /// The peer's direction: `SendOnly` means that the peer sends and does not listen.
    pub direction: Direction,
    /// What protects the packets of this leg; `None` for nothing. Our key stays the same as long as
    /// the leg is connected with the same suite: its sender goes on where it was.
    pub security: Option<LegSecurity>,
}

/// What protects the packets of a leg (SRTP, RFC 3711).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegSecurity {
    /// Keys agreed in the descriptions (RFC 4568). Both have one suite.
    Sdes {
        /// What we send with.
        ours: SdesKey,
        /// What the peer sends with.
        theirs: SdesKey,
    },
    /// Keys to be agreed by DTLS (RFC 5764).
    Dtls {
        /// Our part in the handshake.
        role: DtlsRole,
        /// The peer's certificate: `sha-256` and 32 upper-case bytes with colons between them.
        fingerprint: String,
    },
}

/// This node's part in a DTLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// It begins.
    Active,
    /// It waits for the peer to begin.
    Passive,
}

/// RTP and RTCP on one port or on two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multiplexing {
    /// RTCP on the RTP port (RFC 5761).
    Muxed,
    /// RTCP on a port of its own.
    Separate,
}

/// One payload type and what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadFormat {
    /// 0 to 127.
    pub payload_type: u8,
    /// What it carries.
    pub encoding: Encoding,
}

/// A spoken notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PromptName {
    /// "This call is recorded."
    RecordingStarts,
    /// "Recording paused."
    RecordingPaused,
    /// "Recording resumed."
    RecordingResumed,
    /// "The recording has ended."
    RecordingStops,
    /// "This call can not be recorded", and it goes on.
    FailureContinues,
    /// "This call can not be recorded", and it ends.
    FailureEnds,
    /// What parties on the public network are told.
    Compliance,
    /// "Leave a message after the beep."
    MailboxGreeting,
}

/// What can be played to a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sound {
    /// Spoken instead of the conversation.
    Prompt {
        /// Which one.
        prompt: PromptName,
        /// In which language, as a tag (`en`, `nl`).
        language: String,
        /// On whose behalf: users, groups and tenants may have prompts of their own.
        whose: UserIndex,
    },
    /// Mixed under the conversation.
    Beep,
    /// Mixed under the conversation.
    RepeatTone,
}

/// What the media plane is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaCommand {
    /// Reserve ports for a leg; answered by `LegOpened` or `LegRefused`.
    OpenLeg {
        /// The leg.
        leg: LegId,
        /// The legs it can be bridged with.
        group: MediaGroup,
        /// Where its party's signalling comes from: the ports are of that family.
        peer: IpAddr,
    },
    /// The peer of a leg is known, or has changed.
    ConnectLeg {
        /// The leg.
        leg: LegId,
        /// What its peer negotiated.
        media: LegMedia,
    },
    /// Relay between two open legs of one group, both ways; each leaves the bridge it was in.
    Bridge {
        /// One leg.
        a: LegId,
        /// The other.
        b: LegId,
    },
    /// From now on key presses of this leg come up as `Digit` and are not relayed.
    TakeDigits {
        /// The leg.
        leg: LegId,
    },
    /// Send key presses to this leg's peer, in order.
    SendDigits {
        /// The leg.
        leg: LegId,
        /// The key presses.
        digits: Vec<Digit>,
    },
    /// Play a sound to this leg's peer; answered by `Played`. A prompt waits for a peer that does not listen
    /// or has no keys yet, and begins anew for one that stops listening in its middle.
    Play {
        /// The leg.
        leg: LegId,
        /// The name of this play in `Played`.
        play: PlayId,
        /// What to play.
        sound: Sound,
    },
    /// End whatever plays on a leg.
    StopPlaying {
        /// The leg.
        leg: LegId,
    },
    /// Give a leg's ports back. Its last audio is still recorded.
    CloseLeg {
        /// The leg.
        leg: LegId,
    },
    /// Make the row of a recording. Its legs may never open: a refused call has a row as well.
    OpenRecording {
        /// The recording.
        recording: RecordingId,
        /// The group of both legs.
        group: MediaGroup,
        /// The leg of the owner: the left channel.
        owner: LegId,
        /// The other leg: the right channel.
        other: LegId,
        /// What is known at the INVITE.
        opening: Box<Opening>,
    },
    /// From now the right channel of a recording is another party's.
    TurnRecording {
        /// The recording.
        recording: RecordingId,
        /// Whose leg; `None`: nobody's.
        other: Option<LegId>,
    },
    /// Audio is kept from now; position 0 is here.
    StartRecording {
        /// The recording.
        recording: RecordingId,
    },
    /// No audio is kept from now; time goes on.
    PauseRecording {
        /// The recording.
        recording: RecordingId,
    },
    /// Audio is kept again from now.
    ResumeRecording {
        /// The recording.
        recording: RecordingId,
    },
    /// The audio of a provisional recording is kept, from its first sample on.
    KeepRecording {
        /// The recording.
        recording: RecordingId,
    },
    /// Keep a fact, in order with the audio.
    Note {
        /// The recording.
        recording: RecordingId,
        /// The fact.
        fact: Fact,
    },
    /// Close a recording for ever. Nothing follows for this recording.
    CloseRecording {
        /// The recording.
        recording: RecordingId,
        /// How it ended.
        ending: Ending,
    },
}

/// How a recording ended, as the call sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The end state.
    pub end: End,
    /// One sentence for a person; no numbers or names in it.
    pub reason: String,
}

/// The end state of a recording's row, as far as signalling knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// Recorded until the call ended.
    Finished,
    /// Answered, but over before the recording started.
    NotStarted,
    /// Captured and not asked for, or not to be recorded with this party: no audio is left of it.
    NotKept,
    /// Nobody answered: cancelled, busy, refused by the callee, or timed out.
    NotAnswered,
    /// Refused by this node: the gate was closed, or the node drains.
    Refused,
    /// This node failed: no media ports, or the recorder lost the recording.
    Failed,
}

/// What the media plane reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaEvent {
    /// A leg has ports.
    LegOpened {
        /// The leg.
        leg: LegId,
        /// Our address for RTP, as peers must be told it.
        rtp: SocketAddr,
        /// Our address for RTCP.
        rtcp: SocketAddr,
    },
    /// A leg got no ports.
    LegRefused {
        /// The leg.
        leg: LegId,
        /// Why, for a person.
        reason: String,
    },
    /// A prompt that had to wait until its party listens begins now, or begins anew.
    Begun {
        /// The leg.
        leg: LegId,
        /// Which play.
        play: PlayId,
    },
    /// A sound has ended.
    Played {
        /// The leg.
        leg: LegId,
        /// Which play.
        play: PlayId,
        /// To its end or not.
        whole: Completion,
    },
    /// A key press on a leg whose digits are taken.
    Digit {
        /// The leg.
        leg: LegId,
        /// The key.
        digit: Digit,
    },
    /// The first RTP packet of a leg, and again the first one after each `MediaTimeout`: without the
    /// latter a party that was silent once would count as gone for the rest of the call.
    FirstPacket {
        /// The leg.
        leg: LegId,
    },
    /// A leg that ought to send has sent no RTP for the media time-out; once per silence.
    MediaTimeout {
        /// The leg.
        leg: LegId,
    },
    /// Audio of a recording was lost, and more may be. Where its owner's settings have the parties told of
    /// a failure it is over; else it goes on, and gaps say what is not there.
    RecordingTrouble {
        /// The recording.
        recording: RecordingId,
        /// What, for a person.
        reason: String,
    },
}

/// Whether a sound was heard to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Completion {
    /// To its end.
    Whole,
    /// It was stopped.
    Cut,
}
