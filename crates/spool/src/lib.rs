//! Keeps what was recorded safe from a crash, in order.
//!
//! Every recording is a row of files ("parts") in one directory. [`Writer`] appends checksummed
//! frames to them and makes many recordings durable with one group commit; [`recover`] finishes
//! what a crash left open; [`Reader`] gives the frames back in order and names what is missing;
//! [`release`] removes a recording when the archive has it.
//!
//! # What it does not know
//!
//! SIP, RTP, codecs, the catalogue. A payload is opaque bytes. It reads no clock and has no random
//! source: `Instant`, wall time and keys are arguments. Its only I/O is behind [`Disk`].
//!
//! # Invariants
//!
//! 1. A block reported durable is on disk, checksummed, after all earlier blocks of its recording.
//! 2. A file is exactly one of open, sealed, released.
//! 3. Nothing is released before the catalogue holds its digest and the object store confirmed it
//!    ([`release`] is called by the archive alone, and only then).
//! 4. A file that failed to sync or to append is never written again; the recording goes on in a
//!    new part.
//! 5. Recovery needs no memory of the crashed process.
//! 6. Audio of a recording opened with a key ([`Writer::open_locked`]) can be read if, and only if, its
//!    Key frame is on disk. Without one nobody can, whatever they find on the disk.
//!
//! # Bounds on memory
//!
//! Per recording: frames not yet durable ([`Settings::kept_max_bytes`], half of it for audio), 1,024
//! coalesced gap ranges (24 bytes each). Over all recordings: [`Settings::kept_total_max_bytes`] of
//! frames. Beyond a bound audio becomes a listed gap, and an opening or a fact is refused with an error;
//! all are counted. [`Reader`] holds one frame and a window of 64 KiB.

mod ballast;
mod disk;
mod frame;
mod gaps;
mod lock;
mod name;
mod part;
mod reader;
mod recovery;
mod splitmix;
mod stream;
mod writer;

pub use disk::real::RealDisk;
pub use disk::sim::SimDisk;
pub use disk::{Disk, DiskError, FileId, Listed, SyncFailure};
pub use frame::{Closing, Frame, FrameIn, MAX_PAYLOAD_BYTES, gap_reason};
pub use lock::LockKey;
pub use name::{ParseIdError, RecordingId};
pub use reader::{Numbered, ReadError, Reader, Release, State, Trouble, recordings, release};
pub use recovery::{Leftover, LeftoverReason, Recovered, Recovery, RecoveryError, recover};
pub use writer::{AppendError, Counts, Health, Outcome, Settings, Space, Taken, Writer};

#[cfg(test)]
mod tests;
