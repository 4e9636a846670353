//! Tests with real parts on loopback: the built program, SIPp, test phones, a disk of its own.
//!
//! Every test has a [`Site`]: loopback addresses and a directory that no other test has, so tests run
//! beside each other. Nothing here sleeps: every wait is for a line of output, an exit, an event of a
//! phone or an answer, and ends at a deadline.

pub mod api;
pub mod baresip;
pub mod exact;
pub mod heard;
pub mod kept;
pub mod linphone;
pub mod listen;
pub mod mutate;
pub mod names;
pub mod phones;
pub mod play;
pub mod probe;
pub mod process;
pub mod program;
pub mod raw_call;
pub mod script;
pub mod seed;
pub mod silence;
pub mod sipp;
pub mod site;
pub mod stage;
pub mod talk;
pub mod trace;
pub mod tunnel;
pub mod vital;
pub mod volume;

pub use kept::Kept;
pub use probe::Probe;
pub use process::{Line, Process};
pub use program::Duolog;
pub use site::Site;
pub use volume::Volume;
