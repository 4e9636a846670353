//! What a call does: who is asked, who hears what and when, what is recorded and how it ends.
//! SIP bytes, reports of the media plane and instants go in; SIP bytes, commands for the media
//! plane and log lines come out.
//!
//! # What it does not know
//! Sockets, the clock, threads, RTP packets, samples, the spool, HTTP, and how settings are written
//! in a file.
//!
//! # Invariants
//! 1. A call that should be recorded has `OpenRecording` at its INVITE and exactly one
//!    `CloseRecording`, whatever happens; nothing is said about a recording after that.
//! 2. Audio is kept only between `StartRecording` and the next `PauseRecording` or
//!    `CloseRecording`, and both parties have heard the announcement before, where one is asked for.
//! 3. `PauseRecording` comes before anybody is told of the pause.
//! 4. Every call ends with its legs, transactions, deadlines and table entries gone.
//! 5. A control that is refused changes nothing but the list of facts.
//! 6. No digit that a party pressed is ever printed.
//! 7. No media key stands in a log line, a fact or a `Debug` text; each leg has keys of its own.
//! 8. Work per event does not grow with the number of calls.
//! 9. A request of somebody who is no neighbour gets one answer and leaves nothing behind.

mod announcement;
mod answer;
mod engine;
mod fact;
mod feature_code;
mod gate;
mod ids;
mod log;
mod media;
mod plan;
mod recording;
mod role;
mod route;
mod settings;
#[cfg(test)]
mod testing;
mod tone;

pub use engine::{Engine, Input, Output};
pub use fact::{CallDirection, Fact, HungUpBy, Means, Opening, Side};
pub use feature_code::{CodeError, Digit, FeatureCodes};
pub use gate::Gate;
pub use log::{CallLog, LogEvent};
pub use media::{
    CallId, Completion, DtlsRole, End, Ending, LegId, LegMedia, LegSecurity, MediaCommand,
    MediaEvent, Multiplexing, PayloadFormat, PlayId, PromptName, RecordingId, Sound,
};
pub use recording::{Control, Refusal};
pub use settings::{
    Announce, Contact, Dtmf, Epoch, IntervalError, LocalAddresses, MediaSettings, Mode, Notice,
    RecordingSettings, RepeatInterval, Settings, Trunk, TrunkIndex, User, UserIndex,
};
