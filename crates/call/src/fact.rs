//! What happened to a call, as a closed list. The program gives facts their written form; the
//! recording keeps them in order with the audio.

use std::sync::Arc;

use crate::class::Class;
use crate::media::{Completion, PromptName, RecordingId};
use crate::plan::announced;
use crate::policy::{Announce, DoNotRecordReason, Mode, OnFailure, OwnerKind, RecordingSettings};
use crate::recording::{Control, Refusal};
use crate::settings::UserIndex;

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
    /// The number of the party that is not the owner: after a transfer the owner may be the one who was
    /// called, and yet on the caller's side.
    pub party: String,
    /// How the call relates to the owner.
    pub direction: CallDirection,
    /// The class of the call.
    pub class: Class,
    /// The same for all recordings of one chain of calls: transfers carry it on.
    pub correlation: u128,
    /// The numbers that the call was diverted from before it came here, latest first (Diversion, RFC
    /// 5806; History-Info, RFC 7044).
    pub diversion: Vec<String>,
    /// The mode at that moment.
    pub mode: Mode,
    /// The owner's settings when the call began.
    pub settled: Settled,
    /// What kind of owner it is.
    pub owner_kind: OwnerKind,
    /// Which recording of its owner in this call it is, from 1.
    pub number: u32,
    /// Whether its audio is kept, or only once that is asked for.
    pub keeping: Keeping,
}

/// The settings of an owner as they were when a call began; they hold as long as it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// How the call is recorded.
    pub recording: Arc<RecordingSettings>,
    /// In which language its parties are told.
    pub language: String,
}

impl Opening {
    /// Whether the start of this recording was to be announced.
    pub fn announced(&self) -> Announce {
        announced(&self.settled.recording, self.class)
    }
}

/// Whether captured audio is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keeping {
    /// From the first sample on.
    Kept,
    /// Nothing of it can be read before `KeepRecording`, and nothing ever where that does not come.
    Provisional,
    /// From the first sample on: it is a message that is left in this node's mailbox.
    Message,
}

/// What record-aware phones are told (`a=record`, RFC 7866 §7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Indication {
    /// `off`: nothing is recorded.
    Off,
    /// `on`: audio is being recorded, or captured.
    On,
    /// `paused`: a recording is under way and takes no audio now.
    Paused,
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
    /// `a=recordpref` in an offer (RFC 7866 §7.3.2).
    Offer,
    /// The HTTP API.
    Api,
    /// Nobody asked: the pause had lasted as long as the settings let it.
    Limit,
    /// Nobody asked: the owner's do-not-record list has the other party.
    Policy,
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
    /// Nothing refreshed the session of this side in time (RFC 4028 §10).
    SessionExpired(Side),
    /// Its party was transferred away, or transferred the other one.
    Transferred,
    /// Another party took its place (Replaces, RFC 3891).
    Replaced,
    /// The call could not be recorded, and its owner's settings end it then.
    NotRecorded,
    /// This node made a mistake with the call and gave it up.
    Fault,
}

/// How a party came to leave a call that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Departure {
    /// It hung up while the other party was being transferred.
    HungUp,
    /// It transferred the other party.
    Transferred,
    /// Another party took its place.
    Replaced,
    /// It redirected the call before it answered (3xx).
    Redirected,
}

/// How a party came into a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// By a transfer (REFER, RFC 3515).
    Transfer,
    /// It took the place of another party (Replaces, RFC 3891).
    Replaced,
    /// It picked up a call that rang elsewhere (Replaces of an early dialog).
    PickedUp,
    /// The one that was called redirected the call (3xx).
    Redirected,
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
    /// A spoken notice began at a side. Once more for the same one: the side could not hear it until now,
    /// or stopped listening in its middle, and it begins anew.
    AnnouncementStarted {
        /// Who hears it.
        side: Side,
        /// Which one.
        prompt: PromptName,
        /// In which language it was asked for.
        language: String,
        /// Out of whose prompts.
        whose: UserIndex,
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
    RecordingStarted {
        /// How a person asked for it; `None` where it starts by itself.
        by: Option<Means>,
    },
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
    /// What was captured is kept from its first sample on.
    Kept {
        /// How it was asked for.
        by: Means,
    },
    /// No audio is kept from here, for good; a later start is another recording.
    Stopped {
        /// How it was asked for.
        by: Means,
    },
    /// An earlier recording of the same owner in this call.
    EarlierRecording {
        /// Its id.
        recording: RecordingId,
    },
    /// The owner's list has the other party: nothing of the call with it is kept.
    DoNotRecord {
        /// Why it is on the list.
        reason: DoNotRecordReason,
    },
    /// The call cannot be recorded, or not any more.
    Failed {
        /// What becomes of it.
        then: OnFailure,
    },
    /// A record-aware phone was told.
    Indicated {
        /// Whose.
        side: Side,
        /// What.
        state: Indication,
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
    /// The beep of a pause or resume sounded: to both, unless the other party's recording went on.
    BeepPlayed,
    /// A side has sent no audio for the media time-out.
    MediaTimeout {
        /// Whose audio is missing.
        side: Side,
    },
    /// The other party's side of this call has a recording of its own.
    OtherRecording {
        /// Its id.
        recording: RecordingId,
    },
    /// The class of the call has changed.
    Class(Class),
    /// The call was diverted, before it came here or by this node.
    Diverted {
        /// The number that it was for.
        from: String,
    },
    /// The party of a side has left; the call goes on.
    PartyLeft {
        /// Whose place is free.
        side: Side,
        /// How it left.
        how: Departure,
    },
    /// Another party takes a side.
    PartyJoined {
        /// Whose place it takes.
        side: Side,
        /// Its number or name in this node's form.
        number: String,
        /// How it came.
        how: Arrival,
    },
    /// A side asks for the other one to be connected to somebody else.
    TransferAsked {
        /// Who asks.
        by: Side,
    },
    /// That failed; the call is as it was.
    TransferFailed {
        /// The status it failed with, 300 to 699.
        status: u16,
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

impl Fact {
    /// The same with the two sides exchanged, for a recording whose owner has changed sides.
    pub(crate) fn turned(mut self) -> Self {
        match &mut self {
            Self::FirstPacket { side }
            | Self::AnnouncementStarted { side, .. }
            | Self::AnnouncementEnded { side, .. }
            | Self::ControlRefused { side, .. }
            | Self::Held { by: side }
            | Self::Retrieved { by: side }
            | Self::MediaTimeout { side }
            | Self::PartyLeft { side, .. }
            | Self::PartyJoined { side, .. }
            | Self::TransferAsked { by: side }
            | Self::Indicated { side, .. }
            | Self::HungUp {
                by:
                    HungUpBy::Party(side) | HungUpBy::DialogLost(side) | HungUpBy::SessionExpired(side),
            } => *side = side.other(),
            Self::HungUp { .. }
            | Self::Offered
            | Self::Ringing { .. }
            | Self::EarlyMedia
            | Self::Answered
            | Self::Connected
            | Self::RecordingStarted { .. }
            | Self::Paused { .. }
            | Self::Resumed { .. }
            | Self::Kept { .. }
            | Self::Stopped { .. }
            | Self::EarlierRecording { .. }
            | Self::DoNotRecord { .. }
            | Self::Failed { .. }
            | Self::TonePlayed
            | Self::BeepPlayed
            | Self::OtherRecording { .. }
            | Self::Class(_)
            | Self::Diverted { .. }
            | Self::TransferFailed { .. }
            | Self::Trouble { .. } => {}
        }
        self
    }
}
