//! What is worth a log line or a counter. Numbers, names and digits never stand in here: a call is
//! known by the Call-ID of its caller's leg.

use duolog_reach::{registrar, registration};
use duolog_sip::endpoint::DropReason;

use crate::fact::{CallDirection, HungUpBy, Indication, Means, Side};
use crate::media::{CallId, End, RecordingId};
use crate::policy::OnFailure;
use crate::recording::{Control, Refusal};

/// One line about one call, or about a message that belongs to none.
#[derive(Debug, Clone, PartialEq)]
pub struct CallLog {
    /// The call, if the event belongs to one that was taken on.
    pub call: Option<CallId>,
    /// Call-ID of the caller's leg; empty for messages that could not be read.
    pub call_id: String,
    /// What happened.
    pub event: LogEvent,
}

/// What happened, for logs and metrics.
#[derive(Debug, Clone, PartialEq)]
pub enum LogEvent {
    /// A call was taken on.
    Began {
        /// How it relates to the owner; `None` where it is not recorded.
        recorded: Option<CallDirection>,
    },
    /// An INVITE was refused by this node.
    Refused {
        /// The status it was answered with, 300 to 699.
        status: u16,
    },
    /// The callee answered and the caller acknowledged.
    Connected,
    /// The call is over; its signalling may still take a while.
    Ended {
        /// By whom or what.
        by: HungUpBy,
    },
    /// A recording's row was made.
    RecordingOpened {
        /// The recording.
        recording: RecordingId,
    },
    /// Audio is kept from here.
    RecordingStarted {
        /// The recording.
        recording: RecordingId,
        /// How a person asked for it; `None` where it starts by itself.
        by: Option<Means>,
    },
    /// No audio is kept from here.
    RecordingPaused {
        /// The recording.
        recording: RecordingId,
        /// How it was asked for.
        by: Means,
    },
    /// Audio is kept again from here.
    RecordingResumed {
        /// The recording.
        recording: RecordingId,
        /// How it was asked for.
        by: Means,
    },
    /// What was captured is kept.
    RecordingKept {
        /// The recording.
        recording: RecordingId,
        /// How it was asked for.
        by: Means,
    },
    /// A recording was stopped; its call goes on.
    RecordingStopped {
        /// The recording.
        recording: RecordingId,
        /// How it was asked for.
        by: Means,
    },
    /// A call cannot be recorded, or not any more.
    RecordingFailed {
        /// The recording.
        recording: RecordingId,
        /// What becomes of the call.
        then: OnFailure,
    },
    /// A record-aware phone was told.
    Indicated {
        /// Whose.
        side: Side,
        /// What.
        state: Indication,
    },
    /// A recording was closed.
    RecordingClosed {
        /// The recording.
        recording: RecordingId,
        /// How.
        end: End,
    },
    /// Audio of a recording was lost.
    RecordingTrouble {
        /// The recording.
        recording: RecordingId,
        /// What, for a person.
        reason: String,
    },
    /// A control was refused.
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
    /// The media plane had no ports for a leg.
    NoPorts {
        /// Why, for a person.
        reason: String,
    },
    /// A party wants the other one connected to somebody else.
    TransferAsked {
        /// Who asks.
        by: Side,
    },
    /// Another party has the place of the one who asked.
    Transferred,
    /// A transfer failed; the call is as it was.
    TransferFailed {
        /// The status it failed with, 300 to 699.
        status: u16,
    },
    /// A party that asked for it has taken the place of another one (RFC 3891).
    Replaced,
    /// Two parties cannot be connected: their media is in different groups, or cannot be brought
    /// together.
    JoinRefused,
    /// A request within a call was refused by this node.
    RequestRefused {
        /// The status it was answered with, 400 to 699.
        status: u16,
    },
    /// A call was given up: it wanted to be looked at again and again without time passing.
    Stuck,
    /// A message was dropped by the SIP layer.
    Dropped(DropReason),
    /// A message was not read, or answered 503, because its source has sent too many.
    Limited,
    /// A phone asked the registrar for something.
    Registrar(registrar::Outcome),
    /// A registration of ours stands otherwise than before.
    Registration {
        /// Name of the trunk.
        trunk: String,
        /// How it stands.
        state: registration::State,
    },
}
