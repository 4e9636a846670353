//! What a call does: who is asked, who hears what and when, what is recorded and how it ends.
//! SIP bytes, reports of the media plane and instants go in; SIP bytes, commands for the media
//! plane and log lines come out.
//!
//! # What it does not know
//! Sockets, the clock, threads, RTP packets, samples, the spool, HTTP, and how settings are written
//! in a file.
//!
//! # Invariants
//! 1. Each recorded user who takes part in a call has `OpenRecording` at the INVITE that brings them in,
//!    and again at each start after a stop. Each recording has exactly one `CloseRecording`, whatever
//!    happens; nothing is said about it after that.
//! 2. Audio is captured only between `StartRecording` and the next `PauseRecording` or
//!    `CloseRecording`, and never with a party that is on its owner's do-not-record list. Where an
//!    announcement is asked for, the owner and the party whose audio is in the right channel have heard
//!    it before.
//! 3. `PauseRecording` comes before anybody is told of the pause.
//! 4. Every call ends with its legs, transactions, deadlines and table entries gone.
//! 5. A control that is refused changes nothing but the list of facts.
//! 6. No digit that a party pressed is ever printed.
//! 7. No media key stands in a log line, a fact or a `Debug` text; each leg has keys of its own.
//! 8. Work per event does not grow with the number of calls.
//! 9. A request of somebody who is no neighbour gets one answer and leaves nothing behind.
//! 10. A leg is in one call at a time and may move to another one; its recording moves with it, and
//!     `TurnRecording` says whose audio is across from now. A recording ends when its owner leaves.
//! 11. Only legs of one media group are bridged or recorded together.

mod announcement;
mod answer;
mod class;
mod engine;
mod fact;
mod feature_code;
mod gate;
mod ids;
mod log;
mod media;
mod number;
mod plan;
mod policy;
mod recording;
mod role;
mod route;
mod settings;
mod target;
#[cfg(test)]
mod testing;
mod tone;

pub use class::{Class, Nature, Network};
pub use engine::{ControlId, Engine, Input, Output, Running};
pub use fact::{
    Arrival, CallDirection, Departure, Fact, HungUpBy, Indication, Keeping, Means, Opening,
    Settled, Side,
};
pub use feature_code::{CodeError, Digit, FeatureCodes};
pub use gate::Gate;
pub use log::{CallLog, LogEvent};
pub use media::{
    CallId, Completion, DtlsRole, End, Ending, LegId, LegMedia, LegSecurity, MediaCommand,
    MediaEvent, MediaGroup, Multiplexing, PayloadFormat, PlayId, PromptName, RecordingId, Sound,
};
pub use policy::{
    AUTO_RESUME, Announce, Compliance, DoNotRecord, DoNotRecordReason, Dtmf, Emergency,
    IntervalError, Keep, Mode, Notice, OnFailure, OwnerKind, RecordingSettings, RepeatInterval,
    Right, Rights, Selected, Selective, Start, StartStop, Voicemail,
};
pub use recording::{Control, Phase, Refusal};
pub use settings::{
    Contact, Epoch, LocalAddresses, Location, Mailbox, MediaSettings, NumberRoute, NumberRule,
    NumberRules, Numbering, Ping, ReachSettings, Redirects, SessionTimer, Settings, Trunk,
    TrunkIndex, TrunkKind, TrunkRegistration, Trust, User, UserIndex,
};
