//! What the writer is told and what it answers.

use std::time::Duration;

use super::{Health, Space};
use crate::disk::DiskError;
#[cfg(doc)]
use crate::frame::{MAX_PAYLOAD_BYTES, gap_reason};
use crate::name::RecordingId;

/// What the operator and the program choose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest time from an append to the commit that makes it durable.
    pub group_commit: Duration,
    /// Below this many free bytes the space is [`Space::Low`]: open no new recordings.
    pub low_bytes: u64,
    /// Below this many free bytes the space is [`Space::Full`]: audio is dropped.
    pub full_bytes: u64,
    /// Size of the ballast file; 0 for none.
    pub ballast_bytes: u64,
    /// Bound on one recording's frames that are not durable; half of it for audio.
    pub kept_max_bytes: usize,
    /// Bound on all recordings' frames that are not durable, with 2 KiB for each recording's Seal; three
    /// quarters of it for audio.
    pub kept_total_max_bytes: usize,
    /// Channels of a recording: a block that is dropped becomes one Gap for each.
    pub channels: u8,
}

impl Default for Settings {
    /// 400 ms, 1 GiB low, 64 MiB full, 1 MiB ballast, 512 KiB and 64 MiB kept, two channels.
    fn default() -> Self {
        Settings {
            group_commit: Duration::from_millis(400),
            low_bytes: 1 << 30,
            full_bytes: 64 << 20,
            ballast_bytes: 1 << 20,
            kept_max_bytes: 512 << 10,
            kept_total_max_bytes: 64 << 20,
            channels: 2,
        }
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is kept, under this number within its recording, and written as soon as it can be.
    Numbered(u64),
    /// Audio for which there is no room; a Gap will say so.
    Dropped,
}

/// Why a call was refused. All are counted in [`Counts::refused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No such recording is open here.
    #[error("recording {recording} is not open")]
    Unknown {
        /// Which recording.
        recording: RecordingId,
    },
    /// A recording of this id is already here, in memory or on disk.
    #[error("recording {recording} was opened before")]
    Duplicate {
        /// Which recording.
        recording: RecordingId,
    },
    /// Nothing follows a Seal.
    #[error("recording {recording} is sealed")]
    Sealed {
        /// Which recording.
        recording: RecordingId,
    },
    /// The payload is longer than [`MAX_PAYLOAD_BYTES`].
    #[error("a payload of {bytes} bytes for recording {recording} is too long")]
    TooLong {
        /// Which recording.
        recording: RecordingId,
        /// How long it is.
        bytes: usize,
    },
    /// The disk has failed for so long that even the memory for small frames ran out.
    #[error("no memory is left for recording {recording}")]
    NoMemory {
        /// Which recording.
        recording: RecordingId,
    },
}

/// What a commit has to tell.
#[derive(Debug)]
pub enum Outcome {
    /// All frames of the recording with a number below `frames` are durable.
    Durable {
        /// Which recording.
        recording: RecordingId,
        /// How many frames.
        frames: u64,
        /// Where they end, in samples since the recording's start.
        position: u64,
    },
    /// The recording is sealed, durably, and ready to be finished.
    Sealed {
        /// Which recording.
        recording: RecordingId,
    },
    /// The spool dropped audio of all channels; Gap frames that say so follow, as soon as the disk takes
    /// them.
    Dropped {
        /// Which recording.
        recording: RecordingId,
        /// First sample, since the recording's start.
        position: u64,
        /// Length in samples.
        samples: u64,
        /// One of [`gap_reason`].
        reason: u8,
    },
    /// A part failed and is left alone. Its frames are kept and go to a new part.
    PartFailed {
        /// Which recording.
        recording: RecordingId,
        /// Which part, from 0.
        part: u32,
        /// Why.
        error: DiskError,
    },
    /// The disk would not take a new part, or a new name for one; it is tried again.
    Delayed {
        /// Which recording.
        recording: RecordingId,
        /// Why.
        error: DiskError,
    },
    /// The space changed.
    Space(Space),
    /// From now on nothing goes through to the disk, or again something does.
    Health(Health),
    /// The free space could not be measured, or the ballast not be made or removed.
    DiskTrouble(DiskError),
}

/// Counters since the writer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames taken.
    pub frames: u64,
    /// Bytes of those frames on disk.
    pub bytes: u64,
    /// Commits that had something to make durable.
    pub commits: u64,
    /// Audio blocks dropped.
    pub dropped_blocks: u64,
    /// Their length in samples.
    pub dropped_samples: u64,
    /// Calls refused with an [`AppendError`].
    pub refused: u64,
    /// Parts that failed.
    pub failed_parts: u64,
}
