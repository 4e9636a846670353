//! The archive: catalogue, objects and the way into the spool, in one place.

use crate::catalogue::{Catalogue, CatalogueError, Row};
use crate::format::RequestedFormat;
use crate::manifest::{Manifest, ManifestError};
use crate::objects::{ObjectError, Objects};
use crate::report::Tally;
use duolog_audio::codec::G729Library;
use duolog_spool::{Disk, DiskError, RealDisk, RecordingId, SimDisk};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// The way to the spool's disk. Each piece of work opens it anew, on a thread of its own.
pub trait Spool: Send + Sync + 'static {
    /// The disk.
    type Disk: Disk;
    /// Opens it.
    fn disk(&self) -> Result<Self::Disk, DiskError>;
}

/// The spool in a directory of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolDirectory(pub PathBuf);

impl Spool for SpoolDirectory {
    type Disk = RealDisk;

    fn disk(&self) -> Result<RealDisk, DiskError> {
        RealDisk::open(&self.0)
    }
}

/// The simulated disk of tests: all clones are one disk.
impl Spool for SimDisk {
    type Disk = SimDisk;

    fn disk(&self) -> Result<SimDisk, DiskError> {
        Ok(self.clone())
    }
}

/// Where things lie and what recordings are stored as.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The catalogue's SQLite file.
    pub catalogue: PathBuf,
    /// The directory of the objects.
    pub objects: PathBuf,
    /// A directory for files that are being made; they have no names and go with the process.
    pub scratch: PathBuf,
    /// What new recordings are stored as.
    pub format: RequestedFormat,
    /// Bits per second for each channel of an Ogg Opus object at 8 kHz, 6,000 to 128,000. Wider
    /// recordings take 4/3 (16 kHz), 2 (24 kHz) and 8/3 (48 kHz) of it.
    pub opus_bitrate: u32,
    /// The G.729 library, where it is installed. Without it the payloads of G.729 are kept as received,
    /// beside the audio.
    pub g729: Option<G729Library>,
}

/// Why the archive could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The catalogue.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The objects.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The scratch directory.
    #[error("the scratch directory {path} cannot be made")]
    Scratch {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Why a recording could not be shown.
#[derive(Debug, Error)]
pub enum ShowError {
    /// The catalogue.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The manifest could not be read.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The manifest is damaged.
    #[error("the manifest {key} is damaged; `duolog verify` says more")]
    Manifest {
        /// Its key.
        key: String,
        /// Why.
        source: ManifestError,
    },
}

/// A recording as the archive has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Its row.
    pub row: Row,
    /// Its manifest; none while it is being recorded, and where nothing was ever spooled.
    pub manifest: Option<Manifest>,
    /// The audio's file; none where there was none to keep.
    pub audio_path: Option<PathBuf>,
    /// The manifest's file.
    pub manifest_path: Option<PathBuf>,
}

/// The archive. Cheap to clone; all clones are one.
pub struct Archive<S> {
    pub(crate) spool: Arc<S>,
    pub(crate) catalogue: Catalogue,
    pub(crate) objects: Objects,
    pub(crate) scratch: PathBuf,
    pub(crate) format: RequestedFormat,
    pub(crate) opus_bitrate: u32,
    pub(crate) g729: Option<G729Library>,
    /// Recordings that are being finished now: two at once would sweep each other's objects.
    pub(crate) at_work: Arc<Mutex<BTreeSet<RecordingId>>>,
}

impl Shown {
    /// What it adds to the program's counters; none without a manifest.
    pub fn tally(&self) -> Option<Tally> {
        self.manifest.as_ref().map(Tally::of)
    }
}

impl<S> Clone for Archive<S> {
    fn clone(&self) -> Archive<S> {
        Archive {
            spool: Arc::clone(&self.spool),
            catalogue: self.catalogue.clone(),
            objects: self.objects.clone(),
            scratch: self.scratch.clone(),
            format: self.format,
            opus_bitrate: self.opus_bitrate,
            g729: self.g729.clone(),
            at_work: Arc::clone(&self.at_work),
        }
    }
}

impl<S: Spool> Archive<S> {
    /// Opens catalogue and objects, making what is missing.
    pub async fn open(settings: Settings, spool: S) -> Result<Archive<S>, OpenError> {
        let scratch = settings.scratch;
        std::fs::create_dir_all(&scratch).map_err(|source| OpenError::Scratch {
            path: scratch.clone(),
            source,
        })?;
        Ok(Archive {
            spool: Arc::new(spool),
            catalogue: Catalogue::open(&settings.catalogue).await?,
            objects: Objects::open(&settings.objects)?,
            scratch,
            format: settings.format,
            opus_bitrate: settings.opus_bitrate,
            g729: settings.g729,
            at_work: Arc::default(),
        })
    }

    /// The catalogue: rows are opened, listed and looked up there.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The recording whose id begins with what a person typed, with its manifest.
    pub async fn show(&self, text: &str) -> Result<Shown, ShowError> {
        let row = self.catalogue.find(text).await?;
        self.shown(row).await
    }

    /// A row with its manifest.
    pub async fn shown(&self, row: Row) -> Result<Shown, ShowError> {
        let ending = row.ending.as_ref();
        let audio = ending.and_then(|ending| ending.audio.as_ref());
        let audio_path = audio.map(|audio| self.objects.path(&audio.key));
        let stored = ending.and_then(|ending| ending.manifest.as_ref());
        let (manifest, manifest_path) = match stored {
            None => (None, None),
            Some(stored) => {
                let bytes = self.objects.read(&stored.key).await?;
                let parsed = Manifest::parse(&bytes);
                let damaged = |source| ShowError::Manifest {
                    key: stored.key.clone(),
                    source,
                };
                (
                    Some(parsed.map_err(damaged)?),
                    Some(self.objects.path(&stored.key)),
                )
            }
        };
        Ok(Shown {
            row,
            manifest,
            audio_path,
            manifest_path,
        })
    }

    /// Claims a recording for one piece of work; none when it is being worked on already.
    pub(crate) fn claim(&self, recording: RecordingId) -> Option<Claim> {
        let at_work = Arc::clone(&self.at_work);
        let first = at_work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(recording);
        first.then_some(Claim { recording, at_work })
    }
}

/// Gives a recording free again when it is dropped.
pub(crate) struct Claim {
    recording: RecordingId,
    at_work: Arc<Mutex<BTreeSet<RecordingId>>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        at_work.remove(&self.recording);
    }
}
