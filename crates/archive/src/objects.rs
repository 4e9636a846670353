//! The objects: audio and manifests in a store, written once and never again.
//!
//! 1. A key is `yyyy/mm/dd/<recording>/<attempt>/<file>`, the day of the INVITE in UTC. The attempt is
//!    new every time, so nothing is ever overwritten, on stores too that ignore a conditional put.
//! 2. What is stored is read back and compared before anybody relies on it.
//! 3. Which attempt is the recording is decided by the catalogue's row; the others are swept after.

use crate::digest::{CHUNK_BYTES, Digester, Digests};
use crate::wall::WallTime;
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use uuid::Uuid;

/// Bytes of one part of an upload: the least that S3 takes. Two are in memory at a time.
const PART_BYTES: usize = 5 << 20;
const PARTS_IN_FLIGHT: usize = 2;

/// Bytes that are read from a file at a time.
const READ_BYTES: usize = 1 << 20;

/// Bytes of an object that are asked for at a time: a store's own pieces may be small, and each costs a
/// change of threads.
const RANGE_BYTES: u64 = 4 << 20;

/// A manifest is never longer; what is longer is not read into memory.
const MAX_MANIFEST_BYTES: u64 = 256 << 20;

/// Why the store did not do what was asked.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// The store's directory is missing or not readable.
    #[error("the object directory {root} cannot be used; check that it exists and is writable")]
    Root {
        /// The directory.
        root: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The store's directory is not usable as a store.
    #[error("the object directory {root} cannot be used as a store")]
    Store {
        /// The directory.
        root: PathBuf,
        /// What the store says.
        source: object_store::Error,
    },
    /// An object could not be written, read or removed.
    #[error("the object {key} could not be {verb}")]
    Failed {
        /// Its key.
        key: String,
        /// What was to be done to it.
        verb: &'static str,
        /// What the store says.
        source: object_store::Error,
    },
    /// The file to store or to copy to failed.
    #[error("a file failed while the object {key} was {verb}")]
    File {
        /// The object's key.
        key: String,
        /// What was being done to it.
        verb: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// What was read back is not what was written.
    #[error(
        "the object {key} reads back as {found_bytes} bytes, SHA-256 {found}; {bytes} bytes, SHA-256 {wanted} were written"
    )]
    Differs {
        /// Its key.
        key: String,
        /// Size as written.
        bytes: u64,
        /// Digest as written.
        wanted: String,
        /// Size as read back.
        found_bytes: u64,
        /// Digest as read back.
        found: String,
    },
    /// Longer than any manifest.
    #[error("the object {key} is too long for a manifest")]
    TooLong {
        /// Its key.
        key: String,
    },
}

impl ObjectError {
    /// Whether the object is not there at all.
    pub fn is_missing(&self) -> bool {
        let source = match self {
            ObjectError::Failed { source, .. } => source,
            _ => return false,
        };
        matches!(source, object_store::Error::NotFound { .. })
    }
}

/// The folder of one attempt to store one recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// `yyyy/mm/dd/<recording>`.
    recording: String,
    pub(crate) name: String,
}

impl Attempt {
    /// A new one, never used before.
    pub(crate) fn begin(opened_at: WallTime, recording: &str) -> Attempt {
        let name = Uuid::now_v7().to_string();
        Attempt {
            recording: format!("{}/{recording}", opened_at.day_path()),
            name,
        }
    }

    pub(crate) fn key(&self, file: &str) -> String {
        format!("{}/{}/{file}", self.recording, self.name)
    }

    /// Whether it is an attempt to store this recording, and none that somebody made up.
    pub(crate) fn is_of(&self, opened_at: WallTime, recording: &str) -> bool {
        self.recording == format!("{}/{recording}", opened_at.day_path())
    }

    /// The attempt that a manifest's key belongs to.
    pub(crate) fn of_key(key: &str) -> Option<Attempt> {
        let (folder, _file) = key.rsplit_once('/')?;
        let (recording, name) = folder.rsplit_once('/')?;
        Some(Attempt {
            recording: recording.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    root: PathBuf,
    store: Arc<LocalFileSystem>,
}

impl Objects {
    /// Opens a directory as a store, making it where it is missing. Every write is on disk when it is
    /// reported done, its directories included: the spool is released on the strength of it.
    pub(crate) fn open(root: &Path) -> Result<Objects, ObjectError> {
        let made = std::fs::create_dir_all(root).and_then(|()| root.canonicalize());
        let root = made.map_err(|source| ObjectError::Root {
            root: root.to_owned(),
            source,
        })?;
        let store =
            LocalFileSystem::new_with_prefix(&root).map_err(|source| ObjectError::Store {
                root: root.clone(),
                source,
            })?;
        Ok(Objects {
            root,
            store: Arc::new(store.with_fsync(true)),
        })
    }

    /// Where an object lies in the file system.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Stores a file from its beginning, piece by piece; the digests are those of what was read from it.
    pub(crate) async fn put_file(&self, key: &str, mut file: File) -> Result<Digests, ObjectError> {
        let failed = |source| failed(key, "written", source);
        let broken = |source| ObjectError::File {
            key: key.to_owned(),
            verb: "written",
            source,
        };
        file.seek(SeekFrom::Start(0)).map_err(broken)?;
        let mut file = tokio::fs::File::from_std(file);
        let upload = self
            .store
            .put_multipart(&Key::from(key))
            .await
            .map_err(failed)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut digester = Digester::new(CHUNK_BYTES);
        let mut piece = vec![0; READ_BYTES];
        loop {
            let read = match file.read(&mut piece).await {
                Ok(read) => read,
                Err(source) => {
                    writer.abort().await.map_err(failed)?;
                    return Err(broken(source));
                }
            };
            if read == 0 {
                break;
            }
            writer
                .wait_for_capacity(PARTS_IN_FLIGHT)
                .await
                .map_err(failed)?;
            digester.push(&piece[..read]);
            writer.write(&piece[..read]);
        }
        writer.finish().await.map_err(failed)?;
        Ok(digester.finish())
    }

    /// Stores bytes.
    pub(crate) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), ObjectError> {
        let put = self.store.put(&Key::from(key), bytes.into()).await;
        put.map(drop)
            .map_err(|source| failed(key, "written", source))
    }

    /// Reads an object back and compares it with what was written.
    pub(crate) async fn confirm(&self, key: &str, wanted: &Digests) -> Result<(), ObjectError> {
        let found = self.digests(key, wanted.chunk_bytes).await?;
        match found == *wanted {
            true => Ok(()),
            false => Err(differs(key, (wanted.bytes, &wanted.sha256), &found)),
        }
    }

    /// Reads all of an object, and only its digests stay.
    pub(crate) async fn digests(&self, key: &str, chunk: u64) -> Result<Digests, ObjectError> {
        let mut nowhere = tokio::io::sink();
        self.copy(key, chunk, &mut nowhere).await
    }

    /// Copies an object to a file; the digests are those of what was copied.
    pub(crate) async fn copy(
        &self,
        key: &str,
        chunk_bytes: u64,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Digests, ObjectError> {
        let failed = |source| failed(key, "read", source);
        let broken = |source| ObjectError::File {
            key: key.to_owned(),
            verb: "read",
            source,
        };
        let key = Key::from(key);
        let size = self.store.head(&key).await.map_err(failed)?.size;
        let mut digester = Digester::new(chunk_bytes);
        for from in (0..size).step_by(RANGE_BYTES as usize) {
            let range = from..size.min(from + RANGE_BYTES);
            let piece = self.store.get_range(&key, range).await.map_err(failed)?;
            digester.push(&piece);
            to.write_all(&piece).await.map_err(broken)?;
        }
        to.flush().await.map_err(broken)?;
        Ok(digester.finish())
    }

    /// Reads a manifest.
    pub(crate) async fn read(&self, key: &str) -> Result<Bytes, ObjectError> {
        let failed = |source| failed(key, "read", source);
        let found = self.store.get(&Key::from(key)).await.map_err(failed)?;
        if found.meta.size > MAX_MANIFEST_BYTES {
            return Err(ObjectError::TooLong {
                key: key.to_owned(),
            });
        }
        found.bytes().await.map_err(failed)
    }

    /// Removes what other attempts than this one have left of the same recording. An attempt read from
    /// a key is to be compared with [`Attempt::is_of`] first: folders are removed on its word.
    pub(crate) async fn sweep(&self, keep: &Attempt) -> Result<(), ObjectError> {
        let folder = keep.recording.as_str();
        let kept = format!("{folder}/{}/", keep.name);
        let listed = self
            .store
            .list(Some(&Key::from(folder)))
            .map_ok(|found| found.location);
        let found: Vec<Key> = listed
            .try_collect()
            .await
            .map_err(|source| failed(folder, "listed", source))?;
        for key in found.iter().filter(|key| !key.as_ref().starts_with(&kept)) {
            let gone = self.store.delete(key).await;
            gone.map_err(|source| failed(key.as_ref(), "removed", source))?;
        }
        self.sweep_folders(keep)
            .await
            .map_err(|source| ObjectError::File {
                key: folder.to_owned(),
                verb: "swept",
                source,
            })
    }

    /// A kill leaves the store's own half-written files behind, which it does not list.
    async fn sweep_folders(&self, keep: &Attempt) -> std::io::Result<()> {
        let mut folders = tokio::fs::read_dir(self.path(&keep.recording)).await?;
        while let Some(folder) = folders.next_entry().await? {
            if folder.file_name() != keep.name.as_str() {
                tokio::fs::remove_dir_all(folder.path()).await?;
            }
        }
        Ok(())
    }
}

pub(crate) fn differs(key: &str, (bytes, sha256): (u64, &str), found: &Digests) -> ObjectError {
    ObjectError::Differs {
        key: key.to_owned(),
        bytes,
        wanted: sha256.to_owned(),
        found_bytes: found.bytes,
        found: found.sha256.clone(),
    }
}

fn failed(key: &str, verb: &'static str, source: object_store::Error) -> ObjectError {
    ObjectError::Failed {
        key: key.to_owned(),
        verb,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn what_is_stored_reads_back_and_a_change_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&folder.path().join("not/there/yet")).unwrap();
        let bytes: Vec<u8> = (0..12_000_000u32).map(|n| (n ^ (n >> 9)) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let attempt = Attempt::begin(WallTime(0), "rec_x");
        let key = attempt.key("audio.ogg");
        let digests = objects.put_file(&key, file).await.unwrap();
        assert_eq!(digests, Digests::of(&bytes));
        objects.confirm(&key, &digests).await.unwrap();
        assert_eq!(std::fs::read(objects.path(&key)).unwrap(), bytes);
        assert!(key.starts_with("1970/01/01/rec_x/"), "{key}");

        let mut changed = bytes;
        changed[9_999_999] ^= 4;
        std::fs::write(objects.path(&key), changed).unwrap();
        let error = objects.confirm(&key, &digests).await.unwrap_err();
        assert!(matches!(error, ObjectError::Differs { .. }), "{error}");
        let missing = objects
            .confirm("1970/01/01/rec_x/a/b", &digests)
            .await
            .unwrap_err();
        assert!(missing.is_missing(), "{missing}");
    }

    #[tokio::test]
    async fn a_sweep_leaves_one_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(folder.path()).unwrap();
        let attempts: Vec<Attempt> = (0..3)
            .map(|_| Attempt::begin(WallTime(0), "rec_x"))
            .collect();
        let neighbour = Attempt::begin(WallTime(0), "rec_xy");
        for attempt in attempts.iter().chain([&neighbour]) {
            for file in ["audio.ogg", "manifest.json"] {
                objects
                    .put(&attempt.key(file), Bytes::from_static(b"x"))
                    .await
                    .unwrap();
            }
        }
        let torn = objects.path(&attempts[0].key("audio.ogg#1"));
        std::fs::write(&torn, b"half").unwrap();
        let keep = Attempt::of_key(&attempts[1].key("manifest.json")).unwrap();
        assert_eq!(keep, attempts[1]);
        objects.sweep(&keep).await.unwrap();
        for (attempt, there) in [(0, false), (1, true), (2, false)] {
            let path = objects.path(&attempts[attempt].key("audio.ogg"));
            assert_eq!(path.exists(), there, "{}", path.display());
        }
        assert!(!torn.exists());
        assert!(objects.path(&neighbour.key("manifest.json")).exists());
    }
}
