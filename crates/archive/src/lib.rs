//! Makes a finished recording permanent and findable: catalogue, objects, manifests.
//!
//! A recording that the spool has sealed is assembled on its time line, encoded, stored, read back,
//! catalogued, and only then released by the spool. The same path finishes a recording that a crash
//! interrupted. [`wire`] says what rides in the spool's frames, [`Manifest`] what lies beside the audio,
//! [`Catalogue`] finds it, [`Archive::export`] copies it out, [`Archive::verify`] names what was changed
//! since.
//!
//! # What it does not know
//!
//! Calls, sockets, SIP, RTP, HTTP, and who may hear what. It never reads the clock for what it writes
//! down: wall times come from the spool's frames and from its callers.
//!
//! # Invariants
//!
//! 1. The spool is released only after the row that names audio and manifest, with their digests, is
//!    on disk, and after both were read back and found to be what was written.
//! 2. One row per recording, and one attempt that it names. [`Archive::finish`] may be killed between
//!    any two steps and called again: the outcome is the same.
//! 3. An object's key is used once. Nothing stored is ever overwritten.
//! 4. A container is exactly as long as the time line, whatever its sample rate and the call's codecs;
//!    where there is no audio it is silent, and the manifest lists it as a gap with a reason. What a
//!    codec made up for a loss is listed all the same, and says so. Paused time, and digits where they
//!    are masked, are silent whatever the spool holds.
//! 5. Payloads and manifests of older and newer versions are read: unknown fields and kinds are kept or
//!    passed over, never refused. An unknown codec is a listed gap and a flaw.
//! 6. Captured on demand and not asked for, a recording has a row, a manifest and no audio: the spool
//!    holds what nobody can read, and that goes with the rest. What a fact says does not make it kept;
//!    its key in the spool does.
//! 7. Memory follows from what happened in a call, not from how long it was.

mod archive;
mod as_received;
mod assemble;
pub mod catalogue;
mod cdr;
mod digest;
mod encode;
mod end_state;
mod export;
mod finish;
mod format;
mod frames;
mod gap;
mod id;
mod lane;
mod manifest;
mod mask;
mod mixdown;
mod objects;
mod parties;
mod recover;
mod report;
mod sink;
mod stream;
mod timeline;
mod verify;
mod wall;
pub mod wire;

pub use archive::{Archive, OpenError, Settings, ShowError, Shown, Spool, SpoolDirectory};
pub use catalogue::Catalogue;
pub use cdr::{CdrResult, CdrTrigger};
pub use digest::{CHUNK_BYTES, Digests};
pub use encode::EncodeError;
pub use end_state::EndState;
pub use export::{
    Export, ExportChannels, ExportError, ExportFormat, ExportGaps, Exported, SourceError,
};
pub use finish::{FinishError, Step, StepError};
pub use format::{
    CODED_OTHER, CODED_OWNER, RequestedFormat, SAMPLE_RATE_HZ, SampleFormat, StoredFormat,
};
pub use gap::{Concealed, GapReason};
pub use id::{IdError, parse_recording, recording_text};
pub use manifest::{
    AudioObject, Channel, FactLine, GapLine, Length, Level, MANIFEST_VERSION, Manifest,
    ManifestError, Span, Together, Untranscoded,
};
pub use objects::ObjectError;
pub use parties::Party;
pub use recover::RecoverError;
pub use report::{CodecTicks, Report, Tally};
pub use sink::SinkError;
pub use verify::{Finding, Verification, VerifyError};
pub use wall::{WallTime, WallTimeError};
