//! Copies a recording out of the archive: as it is stored, or as WAV for programs that want that.

use crate::archive::{Archive, Spool};
use crate::catalogue::{AudioRef, Row};
use crate::digest::CHUNK_BYTES;
use crate::format::StoredFormat;
use crate::id::recording_text;
use crate::objects::ObjectError;
use duolog_audio::container::ogg_opus::{self, OggOpusReadError};
use duolog_audio::container::wav::{self, Layout, Pcm16Writer, WavError, WavReadError};
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use thiserror::Error;

/// Samples that are decoded at a time.
const PIECE: usize = 8_192;

/// What a copy is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// The stored bytes.
    Stored,
    /// WAV with 16-bit linear samples, both channels; gaps are silent.
    WavPcm16,
}

/// Why a recording was not copied out. Nothing is left at the target.
#[derive(Debug, Error)]
pub enum ExportError {
    /// There is no audio.
    #[error("recording {recording} has no audio ({reason})")]
    NoAudio {
        /// The recording, `rec_...`.
        recording: String,
        /// Its state and why.
        reason: String,
    },
    /// The target is there already.
    #[error("{path} is there already; nothing is overwritten")]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The target could not be written.
    #[error("{path} could not be written")]
    Target {
        /// The target.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The object could not be read, or is not what was stored.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The object is not what the row says.
    #[error("the audio {key} was changed since it was stored; `duolog verify` says where")]
    Changed {
        /// Its key.
        key: String,
    },
    /// The stored Ogg Opus cannot be decoded.
    #[error("the stored Ogg Opus cannot be decoded")]
    Opus(#[from] OggOpusReadError),
    /// The stored WAV cannot be read.
    #[error("the stored WAV cannot be read")]
    Wav(#[from] WavReadError),
    /// The WAV was not written; past 37 hours it would be too long for one.
    #[error("the WAV was not written")]
    Write(#[from] WavError),
    /// The work itself broke: a broken assumption of ours.
    #[error("the work was cut short")]
    Broken(#[from] tokio::task::JoinError),
}

/// A copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is, in bytes.
    pub bytes: u64,
}

impl<S: Spool> Archive<S> {
    /// Copies a recording's audio to `to`, which must not be there yet. The stored bytes are checked
    /// against the row's digest on the way: what was changed is not handed out.
    pub async fn export(
        &self,
        row: &Row,
        format: ExportFormat,
        to: &Path,
    ) -> Result<Exported, ExportError> {
        let audio = self.audio_of(row)?;
        let folder = match to.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let target = |source| ExportError::Target {
            path: to.to_owned(),
            source,
        };
        if to.try_exists().map_err(target)? {
            return Err(ExportError::Exists {
                path: to.to_owned(),
            });
        }
        let copy = match format {
            ExportFormat::Stored => {
                let copy = NamedTempFile::new_in(folder).map_err(target)?;
                self.copy_checked(audio, copy.reopen().map_err(target)?)
                    .await?;
                copy
            }
            ExportFormat::WavPcm16 => {
                let stored = tempfile::tempfile_in(&self.scratch).map_err(target)?;
                self.copy_checked(audio, stored.try_clone().map_err(target)?)
                    .await?;
                let copy = NamedTempFile::new_in(folder).map_err(target)?;
                let stored_as = audio.format;
                let work = move || -> Result<NamedTempFile, ExportError> {
                    decode(stored, stored_as, copy.as_file())?;
                    Ok(copy)
                };
                tokio::task::spawn_blocking(work).await??
            }
        };
        let bytes = copy.as_file().metadata().map_err(target)?.len();
        copy.persist_noclobber(to)
            .map_err(|error| target(error.error))?;
        Ok(Exported {
            path: to.to_owned(),
            bytes,
        })
    }

    fn audio_of<'r>(&self, row: &'r Row) -> Result<&'r AudioRef, ExportError> {
        let recording = recording_text(row.id);
        let Some(ending) = &row.ending else {
            let reason = "it is still being recorded".to_owned();
            return Err(ExportError::NoAudio { recording, reason });
        };
        let reason = || format!("{}: {}", ending.state.word(), ending.reason);
        let none = || ExportError::NoAudio {
            recording,
            reason: reason(),
        };
        ending.audio.as_ref().ok_or_else(none)
    }

    async fn copy_checked(&self, audio: &AudioRef, to: File) -> Result<(), ExportError> {
        let mut to = tokio::fs::File::from_std(to);
        let copied = self.objects.copy(&audio.key, CHUNK_BYTES, &mut to).await?;
        match copied.sha256 == audio.sha256 {
            true => Ok(()),
            false => Err(ExportError::Changed {
                key: audio.key.clone(),
            }),
        }
    }
}

fn decode(mut stored: File, format: StoredFormat, to: &File) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write(WavError::Io(source));
    stored.seek(SeekFrom::Start(0)).map_err(failed)?;
    let stored = BufReader::new(stored);
    let mut buffered = BufWriter::new(to);
    let mut writer = Pcm16Writer::new(&mut buffered, Layout::Stereo)?;
    match format {
        StoredFormat::OggOpus => {
            let mut reader = ogg_opus::Reader::open(stored)?;
            while let Some(samples) = reader.next_samples()? {
                writer.push(samples)?;
            }
        }
        StoredFormat::WavPcm16 | StoredFormat::WavMulaw | StoredFormat::WavAlaw => {
            let mut reader = wav::Reader::open(stored)?;
            let mut piece = vec![0; PIECE];
            loop {
                let read = reader.read(&mut piece)?;
                if read == 0 {
                    break;
                }
                writer.push(&piece[..read])?;
            }
        }
    }
    writer.finish()?;
    buffered.flush().map_err(failed)
}
