//! What happened to a call, as a closed list. The program gives facts their written form; the
//! recording keeps them in order with the audio.

use crate::media::{Completion, PromptName};
use crate::recording::{Control, Refusal};
use crate::settings::{Dtmf, Mode};

/// The two sides of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The side that sent the first INVITE.
    Caller,
    /// The side that was called.
    Callee,
}

impl Side {
    /// The side across.
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

/// What is known about a recording at the INVITE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Call-ID of the caller's leg: the same in the logs.
    pub call_id: String,
    /// Name of the user on whose behalf the recording is made.
    pub owner: String,
    /// Which side the owner is.
    pub owner_side: Side,
    /// The caller's number or name as it came in From, without display name.
    pub from: String,
    /// The number that was called.
    pub to: String,
    /// How the call relates to the owner.
    pub direction: CallDirection,
    /// The mode at that moment.
    pub mode: Mode,
    /// What is to become of key presses in the stored recording.
    pub dtmf: Dtmf,
}

/// How a call relates to the owner of its recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallDirection {
    /// From a trunk to the owner.
    Inbound,
    /// From the owner to a trunk.
    Outbound,
    /// Between two users of this node.
    Internal,
}

/// How a control reached duolog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Means {
    /// Keys pressed on the phone.
    FeatureCode,
    /// SIP INFO with `Record:`.
    Info,
}

/// Who ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HungUpBy {
    /// BYE from this side.
    Party(Side),
    /// The caller gave up before the answer.
    Cancel,
    /// The callee answered with this final status, 300 to 699.
    CalleeRefused(u16),
    /// The callee did not answer in time.
    NoAnswer,
    /// No ACK came for the answer (RFC 3261 §13.3.1.4).
    NoAck,
    /// The dialog of this side is gone (408 or 481 to a request within it).
    DialogLost(Side),
    /// Neither party sent audio for the media time-out.
    MediaTimeout,
    /// The session description could not be carried.
    BadSession,
    /// The media plane had no ports.
    NoPorts,
    /// The gate is closed or the node drains: the call was refused at its INVITE.
    Gate,
    /// The node is going down.
    Shutdown,
}

/// Something that happened to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The INVITE went out to the callee.
    Offered,
    /// The callee answered with this provisional status, 101 to 199.
    Ringing {
        /// The status code.
        status: u16,
    },
    /// The callee sends audio before the answer.
    EarlyMedia,
    /// The callee answered.
    Answered,
    /// The caller acknowledged the answer: both are connected.
    Connected,
    /// The first audio of a side arrived, or the first after a silence.
    FirstPacket {
        /// Whose.
        side: Side,
    },
    /// A spoken notice began at a side.
    AnnouncementStarted {
        /// Who hears it.
        side: Side,
        /// Which one.
        prompt: PromptName,
    },
    /// A spoken notice ended at a side.
    AnnouncementEnded {
        /// Who heard it.
        side: Side,
        /// Which one.
        prompt: PromptName,
        /// To its end or not.
        completion: Completion,
    },
    /// Audio is kept from here.
    RecordingStarted,
    /// No audio is kept from here.
    Paused {
        /// How it was asked for.
        by: Means,
    },
    /// Audio is kept again from here.
    Resumed {
        /// How it was asked for.
        by: Means,
    },
    /// A control was refused and changed nothing.
    ControlRefused {
        /// Who asked.
        side: Side,
        /// How.
        by: Means,
        /// For what.
        control: Control,
        /// Why it was refused.
        why: Refusal,
    },
    /// A side put the other on hold.
    Held {
        /// Who holds.
        by: Side,
    },
    /// A side took the other back from hold.
    Retrieved {
        /// Who had held.
        by: Side,
    },
    /// The repeat tone sounded to both.
    TonePlayed,
    /// The beep of a pause or resume sounded to both.
    BeepPlayed,
    /// A side has sent no audio for the media time-out.
    MediaTimeout {
        /// Whose audio is missing.
        side: Side,
    },
    /// The other party is a recorded user as well; this call has one recording all the same.
    OtherOwner {
        /// That user's name.
        user: String,
    },
    /// The recorder reported something.
    Trouble {
        /// What, for a person.
        reason: String,
    },
    /// The call ended.
    HungUp {
        /// By whom or what.
        by: HungUpBy,
    },
}
