//! What can go wrong while a recording is finished.

use crate::archive::ShowError;
use crate::catalogue::CatalogueError;
use crate::encode::EncodeError;
use crate::objects::ObjectError;
use duolog_spool::{DiskError, ReadError};
use thiserror::Error;

/// A step of finishing, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Reading the spool.
    Assemble,
    /// Making the container.
    Encode,
    /// Storing the audio and reading it back.
    StoreAudio,
    /// Storing the manifest and reading it back.
    StoreManifest,
    /// Writing the row.
    Catalogue,
    /// Reading back what an earlier attempt stored.
    Confirm,
    /// Removing what earlier attempts left.
    Sweep,
    /// Giving the spool its room back.
    Release,
}

impl std::fmt::Display for Step {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Step::Assemble => "reading the spool",
            Step::Encode => "encoding",
            Step::StoreAudio => "storing the audio",
            Step::StoreManifest => "storing the manifest",
            Step::Catalogue => "writing the catalogue's row",
            Step::Confirm => "reading back what was stored before",
            Step::Sweep => "removing what earlier attempts left",
            Step::Release => "releasing the spool",
        })
    }
}

/// Why a recording was not finished. Nothing is lost by it: the spool keeps the recording.
#[derive(Debug, Error)]
#[error("recording {recording} was not finished: {step} failed ({place}); {what_next}")]
pub struct FinishError {
    /// The recording, `rec_...`.
    pub recording: String,
    /// The step that failed.
    pub step: Step,
    /// The file, directory or key at which it failed.
    pub place: String,
    /// What will happen now, or what somebody should do.
    pub what_next: &'static str,
    /// Why.
    pub source: StepError,
}

/// Why a step failed.
#[derive(Debug, Error)]
pub enum StepError {
    /// The spool's disk could not be opened.
    #[error("the spool's disk failed")]
    Disk(#[from] DiskError),
    /// The spool could not be read or released.
    #[error("the spool could not be read or released")]
    Spool(#[from] ReadError),
    /// The recording is still being written.
    #[error("the recording is not sealed yet")]
    StillOpen,
    /// Somebody is finishing it already.
    #[error("the recording is being finished already")]
    AtWork,
    /// The container was not made.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The file without a name failed.
    #[error("a file in the scratch directory failed")]
    Scratch(#[from] std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// What was finished could not be shown.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// The work itself broke: a broken assumption of ours.
    #[error("the work was cut short")]
    Broken(#[from] tokio::task::JoinError),
}
