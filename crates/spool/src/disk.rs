//! The seam to the disk: one flat directory of append-only files.

use std::io;

pub(crate) mod real;
pub(crate) mod sim;

/// A file this disk created and has not closed. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// One file in the directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// File name, without directory.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// What a disk answers when it cannot.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No room. An append may have written a part of its bytes.
    #[error("no room on the disk for {name}")]
    Full {
        /// File name.
        name: String,
    },
    /// Any other failure.
    #[error("cannot {verb} {name}")]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// File name; `.` for the directory itself.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// One file whose bytes may not be on disk, whatever is tried now.
#[derive(Debug)]
pub struct SyncFailure {
    /// Which file.
    pub file: FileId,
    /// Why.
    pub error: DiskError,
}

/// Where parts live. All names are plain file names in one directory.
///
/// Nothing is durable before `sync` (contents) and `sync_dir` (names) said so.
pub trait Disk {
    /// Makes a new, empty file; an error when the name is taken.
    fn create(&mut self, name: &str) -> Result<FileId, DiskError>;
    /// Appends all bytes. After an error the file's tail is unknown.
    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), DiskError>;
    /// Makes the contents of these files durable; gives those for which that failed.
    fn sync(&mut self, files: &[FileId]) -> Vec<SyncFailure>;
    /// Forgets a file that will not be appended to again.
    fn close(&mut self, file: FileId);
    /// Renames; replaces nothing.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError>;
    /// Removes a file by name.
    fn remove(&mut self, name: &str) -> Result<(), DiskError>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&mut self) -> Result<(), DiskError>;
    /// Makes everything in the directory durable, whoever wrote it.
    fn settle(&mut self) -> Result<(), DiskError>;
    /// All files, in no particular order.
    fn list(&self) -> Result<Vec<Listed>, DiskError>;
    /// Reads into `into` from a byte offset; gives how many bytes were read, 0 at the end.
    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<usize, DiskError>;
    /// Bytes that can still be written.
    fn free_bytes(&self) -> Result<u64, DiskError>;
}

impl DiskError {
    /// Sorts an error of the system: no room, or another failure.
    pub(crate) fn of(verb: &'static str, name: &str, source: io::Error) -> DiskError {
        use io::ErrorKind::{QuotaExceeded, StorageFull, WriteZero};
        match source.kind() {
            StorageFull | QuotaExceeded | WriteZero => DiskError::Full {
                name: name.to_owned(),
            },
            _ => DiskError::Failed {
                verb,
                name: name.to_owned(),
                source,
            },
        }
    }

    pub(crate) fn is_taken(&self) -> bool {
        let taken = |e: &io::Error| e.kind() == io::ErrorKind::AlreadyExists;
        matches!(self, DiskError::Failed { source, .. } if taken(source))
    }

    pub(crate) fn is_full(&self) -> bool {
        matches!(self, DiskError::Full { .. })
    }
}
