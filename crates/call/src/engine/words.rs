//! What goes into the engine and what comes out of it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use duolog_reach::hops::{LookupFailure, QueryId, Question, Records};
use duolog_sip::Flow;

use crate::fact::Means;
use crate::gate::Gate;
use crate::log::CallLog;
use crate::media::{CallId, MediaCommand, MediaEvent, RecordingId};
use crate::policy::RecordingSettings;
use crate::recording::{Control, Phase, Refusal};
use crate::settings::UserIndex;

/// What the engine is told. `Debug` leaves messages out: there may be keys in them.
#[derive(Clone, PartialEq)]
pub enum Input {
    /// One datagram, or one message cut from a stream.
    Sip {
        /// Where it came from.
        flow: Flow,
        /// The bytes.
        bytes: Bytes,
    },
    /// A connection is gone, or a destination cannot be reached.
    FlowFailed {
        /// The flow.
        flow: Flow,
    },
    /// The peer of a TLS connection has proved these names by its certificate.
    Certified {
        /// The connection.
        flow: Flow,
        /// DNS names, and user@host of SIP URIs.
        names: Vec<String>,
    },
    /// A look-up has ended.
    Resolved {
        /// Which.
        id: QueryId,
        /// What was found.
        answer: Result<Records, LookupFailure>,
    },
    /// The media plane reports.
    Media(MediaEvent),
    /// Somebody with the right asks for something; answered by [`Output::Controlled`].
    Control {
        /// Its name in the answer.
        id: ControlId,
        /// A recording of the call half, its first one or the one that runs.
        recording: RecordingId,
        /// What for.
        control: Control,
        /// How.
        by: Means,
    },
    /// A user's settings have changed: calls that begin from now on follow them.
    Changed {
        /// Whose.
        user: UserIndex,
        /// How they are now.
        settings: Arc<RecordingSettings>,
    },
    /// The language of a user's prompts has changed, for calls that begin from now on.
    LanguageChanged {
        /// Whose.
        user: UserIndex,
        /// The language; `None` for the node's.
        language: Option<String>,
    },
    /// A user's mailbox has so many messages now.
    Messages {
        /// Whose.
        user: UserIndex,
        /// How many nobody has heard.
        new: u32,
        /// How many are heard and kept.
        old: u32,
    },
    /// Whether new calls can be recorded, and so taken.
    Gate(Gate),
    /// No new calls from now; running calls go on.
    Drain,
    /// End every call now.
    HangUpAll,
    /// `deadline()` has come.
    Deadline,
}

/// One request for a control. Unique among those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ControlId(pub u64);

/// A recorded half of a call, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The call; two halves of one call have the same.
    pub call: CallId,
    /// Call-ID of its caller's leg.
    pub call_id: String,
    /// The first recording of this half: its name for as long as the call lives.
    pub recording: RecordingId,
    /// Whose recording it is.
    pub owner: UserIndex,
    /// The number or name of the party across.
    pub party: String,
    /// Where the recording stands.
    pub phase: Phase,
}

/// What the engine wants done, in order. `Debug` leaves messages out: there may be keys in them.
#[derive(Clone, PartialEq)]
pub enum Output {
    /// Send one SIP message.
    Send {
        /// Where to. Over TCP the connection it names, or a new one to its peer.
        flow: Flow,
        /// The message.
        bytes: Bytes,
        /// The name that a new TLS connection must prove; `None`: the address.
        name: Option<Arc<str>>,
    },
    /// Look something up in the DNS; answered by [`Input::Resolved`].
    Resolve {
        /// Its name in the answer.
        id: QueryId,
        /// What is asked.
        question: Question,
    },
    /// Tell the media plane.
    Media(MediaCommand),
    /// A control was carried out, or refused.
    Controlled {
        /// Which.
        id: ControlId,
        /// Where the recording stands now, or why nothing changed.
        result: Result<Phase, Refusal>,
    },
    /// Write a log line, count.
    Log(CallLog),
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip { flow, bytes } => write!(f, "Sip {{ {flow:?}, {} bytes }}", bytes.len()),
            Self::Certified { flow, names } => {
                write!(f, "Certified {{ {flow:?}, {} names }}", names.len())
            }
            Self::Resolved { id, answer } => write!(f, "Resolved {{ {id:?}, {answer:?} }}"),
            Self::FlowFailed { flow } => write!(f, "FlowFailed {{ {flow:?} }}"),
            Self::Media(event) => write!(f, "Media({event:?})"),
            Self::Control {
                id,
                recording,
                control,
                by,
            } => write!(f, "Control({id:?} {recording:?} {control:?} {by:?})"),
            Self::Changed { user, .. } => write!(f, "Changed({user:?})"),
            Self::LanguageChanged { user, .. } => write!(f, "LanguageChanged({user:?})"),
            Self::Messages { user, new, old } => write!(f, "Messages({user:?} {new}/{old})"),
            Self::Gate(gate) => write!(f, "Gate({gate:?})"),
            Self::Drain => f.write_str("Drain"),
            Self::HangUpAll => f.write_str("HangUpAll"),
            Self::Deadline => f.write_str("Deadline"),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { flow, bytes, .. } => {
                write!(f, "Send {{ {flow:?}, {} bytes }}", bytes.len())
            }
            Self::Resolve { id, question } => write!(f, "Resolve {{ {id:?}, {question:?} }}"),
            Self::Media(command) => write!(f, "Media({command:?})"),
            Self::Controlled { id, result } => write!(f, "Controlled({id:?} {result:?})"),
            Self::Log(log) => write!(f, "Log({log:?})"),
        }
    }
}
