//! The real disk: one directory on Linux.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Disk, DiskError, FileId, Listed, SyncFailure};

/// Up to this many files are synced one by one. Each `fdatasync` is a journal commit of its own, in
/// turn; `syncfs` is one for all files, but also waits for what other programs wrote to the same file
/// system. A handful of files is cheaper alone; thousands are not.
const SYNCED_ALONE: usize = 4;

/// A directory on the machine's own disk.
pub struct RealDisk {
    path: PathBuf,
    /// Kept open for ever: `syncfs` reports a write-back error once to each open descriptor that is
    /// older than the error.
    dir: File,
    files: BTreeMap<FileId, (String, File)>,
    next: u64,
    syncfs_tells: SyncfsTells,
}

/// Whether `syncfs` reports write-back errors: since Linux 5.8.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SyncfsTells {
    Errors,
    Nothing,
}

impl RealDisk {
    /// Opens the directory, making it (mode 0700) when it is missing.
    pub fn open(path: &Path) -> Result<RealDisk, DiskError> {
        use std::os::unix::fs::DirBuilderExt;
        let name = path.display().to_string();
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path);
        made.map_err(|e| DiskError::of("create", &name, e))?;
        let dir = File::open(path).map_err(|e| DiskError::of("open", &name, e))?;
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let syncfs_tells = syncfs_tells(&release);
        Ok(RealDisk {
            path: path.to_owned(),
            dir,
            files: BTreeMap::new(),
            next: 0,
            syncfs_tells,
        })
    }

    fn sync_one(&self, file: FileId) -> Result<(), DiskError> {
        let (name, handle) = self.file(file)?;
        handle
            .sync_data()
            .map_err(|e| DiskError::of("sync", name, e))
    }

    fn file(&self, file: FileId) -> Result<&(String, File), DiskError> {
        self.files.get(&file).ok_or_else(|| {
            let source = io::Error::new(ErrorKind::NotFound, "the file is not open");
            DiskError::of("use", &format!("#{}", file.0), source)
        })
    }
}

/// Reads "6.1.0-18-amd64". An unreadable release is taken for an old kernel.
fn syncfs_tells(release: &str) -> SyncfsTells {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= (5, 8) => SyncfsTells::Errors,
        _ => SyncfsTells::Nothing,
    }
}

impl Disk for RealDisk {
    fn create(&mut self, name: &str) -> Result<FileId, DiskError> {
        use std::os::unix::fs::OpenOptionsExt;
        let made = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path.join(name))
            .map_err(|e| DiskError::of("create", name, e))?;
        let file = FileId(self.next);
        self.next += 1;
        self.files.insert(file, (name.to_owned(), made));
        Ok(file)
    }

    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), DiskError> {
        let (name, handle) = self.file(file)?;
        let mut handle: &File = handle;
        handle
            .write_all(bytes)
            .map_err(|e| DiskError::of("append to", name, e))
    }

    fn sync(&mut self, files: &[FileId]) -> Vec<SyncFailure> {
        let together = files.len() > SYNCED_ALONE && self.syncfs_tells == SyncfsTells::Errors;
        if together && nix::unistd::syncfs(&self.dir).is_ok() {
            return Vec::new();
        }
        // A failed `syncfs` does not say which file; each file's own answer does.
        let alone = files.iter().map(|&file| (file, self.sync_one(file)));
        alone
            .filter_map(|(file, done)| {
                Some(SyncFailure {
                    file,
                    error: done.err()?,
                })
            })
            .collect()
    }

    fn close(&mut self, file: FileId) {
        self.files.remove(&file);
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let (source, target) = (self.path.join(from), self.path.join(to));
        if target.exists() {
            return Err(DiskError::of(
                "rename",
                from,
                ErrorKind::AlreadyExists.into(),
            ));
        }
        fs::rename(source, target).map_err(|e| DiskError::of("rename", from, e))
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        fs::remove_file(self.path.join(name)).map_err(|e| DiskError::of("remove", name, e))
    }

    fn sync_dir(&mut self) -> Result<(), DiskError> {
        self.dir
            .sync_all()
            .map_err(|e| DiskError::of("sync", ".", e))
    }

    fn settle(&mut self) -> Result<(), DiskError> {
        let done = nix::unistd::syncfs(&self.dir).map_err(io::Error::from);
        done.map_err(|e| DiskError::of("sync", ".", e))?;
        self.sync_dir()
    }

    fn list(&self) -> Result<Vec<Listed>, DiskError> {
        let failed = |e| DiskError::of("list", ".", e);
        let mut listed = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Another handle may release a file while we list; then it is simply not there.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if metadata.is_file() {
                listed.push(Listed {
                    name,
                    bytes: metadata.len(),
                });
            }
        }
        Ok(listed)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let file = File::open(self.path.join(name)).map_err(|e| DiskError::of("open", name, e))?;
        loop {
            match file.read_at(into, offset) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(|e| DiskError::of("read", name, e)),
            }
        }
    }

    fn free_bytes(&self) -> Result<u64, DiskError> {
        let stat = nix::sys::statvfs::fstatvfs(&self.dir)
            .map_err(|e| DiskError::of("measure", ".", e.into()))?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_or_unknown_kernel_is_not_trusted_with_syncfs() {
        for (release, tells) in [
            ("6.1.0-18-amd64\n", true),
            ("5.8.0", true),
            ("5.10", true),
            ("5.7.19", false),
            ("4.19.0-26-amd64", false),
            ("", false),
            ("beta", false),
        ] {
            assert_eq!(
                syncfs_tells(release) == SyncfsTells::Errors,
                tells,
                "{release}"
            );
        }
    }
}
