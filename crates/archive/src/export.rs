//! Copies a recording out of the archive: as it is stored, or as somebody wants it.
//!
//! 1. Nothing is overwritten, and nothing is left at the target when something fails.
//! 2. The stored bytes are checked against the row's digest: what was changed is not handed out.
//! 3. Memory does not grow with length.

mod source;
mod target;

pub use source::SourceError;

use crate::archive::{Archive, Spool};
use crate::catalogue::{AudioRef, Row};
use crate::digest::CHUNK_BYTES;
use crate::format::StoredFormat;
use crate::gap::GapReason;
use crate::id::recording_text;
use crate::manifest::Manifest;
use crate::objects::ObjectError;
use crate::sink::{Linear, SinkError};
use crate::wire::Layout;
use source::{Digesting, Source};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;
use target::{Cut, Job, Targets, copy_out};
use tempfile::NamedTempFile;
use thiserror::Error;

/// What a copy is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportFormat {
    /// The stored bytes. Where something else is asked for as well (one channel, cut pauses, parts), it
    /// is made anew in the stored format; of a WAV of G.711 codes, with 16-bit linear samples.
    #[default]
    Stored,
    /// WAV with 16-bit linear samples.
    WavPcm16,
    /// FLAC with 16-bit samples.
    Flac,
    /// Ogg Opus.
    OggOpus,
}

/// Which channels a copy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportChannels {
    /// All there are: the owner left and the other party right, or the one of a mixed recording.
    #[default]
    Stereo,
    /// The owner alone.
    Owner,
    /// The other party alone.
    Other,
    /// One channel: the mean of all there are.
    Mono,
}

/// What becomes of gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportGaps {
    /// They are silent: the clock of the copy is that of the call.
    #[default]
    Silence,
    /// Where recording was paused in all channels, nothing stands: the copy is shorter by so much. Other
    /// gaps stay silent, also those of one channel alone.
    Cut,
}

/// How a recording is copied out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Export {
    /// What the copy is.
    pub format: ExportFormat,
    /// Which channels it has.
    pub channels: ExportChannels,
    /// What becomes of gaps.
    pub gaps: ExportGaps,
    /// The length of one part; none for one file. The parts of `name.wav` are `name.001.wav` and so on.
    /// They follow each other without a seam: of WAV and FLAC the samples of all of them are those of
    /// the whole, of Ogg Opus the lengths.
    pub parts: Option<Duration>,
}

impl From<ExportFormat> for Export {
    fn from(format: ExportFormat) -> Export {
        Export {
            format,
            ..Export::default()
        }
    }
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
    /// One party was asked for, of a recording that has all parties in one channel.
    #[error(
        "recording {recording} has all parties in one channel (layout mixed): the owner and the other \
         party cannot be told apart; export it as stereo or mono"
    )]
    Mixed {
        /// The recording, `rec_...`.
        recording: String,
    },
    /// Parts without a length, or more of them than anybody can want.
    #[error(
        "parts of {part:?} cannot be made: at least one sample long, and at most {most} of them"
    )]
    Parts {
        /// As asked.
        part: Duration,
        /// Most parts.
        most: u64,
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
    #[error("{key} was changed since it was stored; `duolog verify` says where")]
    Changed {
        /// Its key.
        key: String,
    },
    /// The stored audio cannot be decoded.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The copy was not written.
    #[error("the copy was not written")]
    Write(#[from] SinkError),
    /// The work itself broke: a broken assumption of ours.
    #[error("the work was cut short")]
    Broken(#[from] tokio::task::JoinError),
}

/// A copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Where it is; of a copy in parts, the first one.
    pub path: PathBuf,
    /// How long it is, all parts together, in bytes.
    pub bytes: u64,
    /// The parts, in order; one path where there are none.
    pub parts: Vec<PathBuf>,
    /// What is missing from the audio because it could not be decoded when it was stored, in a sentence.
    pub note: Option<String>,
}

impl<S: Spool> Archive<S> {
    /// Copies a recording's audio to `to`, which must not be there yet.
    pub async fn export(
        &self,
        row: &Row,
        export: impl Into<Export>,
        to: &Path,
    ) -> Result<Exported, ExportError> {
        let export = export.into();
        let audio = self.audio_of(row)?;
        let manifest = self.manifest_of(row).await?;
        if let Some(manifest) = &manifest {
            refuse_one_party(manifest, export.channels)?;
        }
        let note = manifest.as_ref().and_then(untranscoded);
        if export == Export::default() {
            let mut exported = self.copy_stored(audio, to).await?;
            exported.note = note;
            return Ok(exported);
        }
        let job = Job {
            export,
            format: match export.format {
                ExportFormat::Stored => Linear::of(audio.format),
                ExportFormat::WavPcm16 => Linear::Wav,
                ExportFormat::Flac => Linear::Flac,
                ExportFormat::OggOpus => Linear::OggOpus,
            },
            opus: self.opus_shape(row.id),
            cut: match export.gaps {
                ExportGaps::Silence => Cut::default(),
                ExportGaps::Cut => Cut(manifest.as_ref().map_or_else(Vec::new, paused_in_all)),
            },
        };
        let stored = Stored {
            path: self.objects.path(&audio.key),
            key: audio.key.clone(),
            format: audio.format,
            sha256: audio.sha256.clone(),
        };
        let targets = Targets::new(to, export.parts.is_some())?;
        let work = move || -> Result<Exported, ExportError> { stored.copy_out(&job, targets) };
        let mut exported = tokio::task::spawn_blocking(work).await??;
        exported.note = note;
        Ok(exported)
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

    /// The row's manifest, checked: from it follows what may be cut.
    async fn manifest_of(&self, row: &Row) -> Result<Option<Manifest>, ExportError> {
        let ending = row.ending.as_ref();
        let Some(stored) = ending.and_then(|ending| ending.manifest.as_ref()) else {
            return Ok(None);
        };
        let bytes = self.objects.read(&stored.key).await?;
        let changed = || ExportError::Changed {
            key: stored.key.clone(),
        };
        if crate::digest::Digests::of(&bytes).sha256 != stored.sha256 {
            return Err(changed());
        }
        Manifest::parse(&bytes).map(Some).map_err(|_| changed())
    }

    async fn copy_stored(&self, audio: &AudioRef, to: &Path) -> Result<Exported, ExportError> {
        let target = |source| ExportError::Target {
            path: to.to_owned(),
            source,
        };
        let targets = Targets::new(to, false)?;
        let copy = NamedTempFile::new_in(&targets.folder).map_err(target)?;
        let mut file = tokio::fs::File::from_std(copy.reopen().map_err(target)?);
        let copied = self
            .objects
            .copy(&audio.key, CHUNK_BYTES, &mut file)
            .await?;
        if copied.sha256 != audio.sha256 {
            return Err(ExportError::Changed {
                key: audio.key.clone(),
            });
        }
        copy.persist_noclobber(to)
            .map_err(|error| target(error.error))?;
        Ok(Exported {
            path: to.to_owned(),
            bytes: copied.bytes,
            parts: vec![to.to_owned()],
            note: None,
        })
    }
}

/// The stored audio of a recording.
struct Stored {
    path: PathBuf,
    key: String,
    format: StoredFormat,
    sha256: String,
}

impl Stored {
    fn copy_out(&self, job: &Job, targets: Targets) -> Result<Exported, ExportError> {
        let unreadable = |source| ObjectError::File {
            key: self.key.clone(),
            verb: "read",
            source,
        };
        let file = File::open(&self.path).map_err(unreadable)?;
        let digesting = Digesting::new(BufReader::new(file));
        let mut source = Source::open(self.format, digesting)?;
        let made = copy_out(&mut source, job, targets);
        // Only what was read to its end can be judged, also where the copy failed: a changed object is
        // the better reason.
        let sha256 = source.into_digest().map_err(unreadable)?;
        match sha256 == self.sha256 {
            true => made?.persist(),
            false => Err(ExportError::Changed {
                key: self.key.clone(),
            }),
        }
    }
}

fn refuse_one_party(manifest: &Manifest, channels: ExportChannels) -> Result<(), ExportError> {
    let one_party = matches!(channels, ExportChannels::Owner | ExportChannels::Other);
    match one_party && manifest.together.layout == Layout::Mixed {
        true => Err(ExportError::Mixed {
            recording: manifest.recording.clone(),
        }),
        false => Ok(()),
    }
}

/// Ticks in which all channels are paused, in order.
fn paused_in_all(manifest: &Manifest) -> Vec<(u64, u64)> {
    let paused = |channel: usize| {
        let gaps = manifest.channels.get(channel);
        let gaps = gaps.map_or(&[][..], |channel| &channel.gaps).iter();
        let paused = gaps.filter(|gap| gap.reason == GapReason::Paused);
        let spans = paused.map(|gap| (gap.position, gap.position + gap.samples));
        spans.collect::<Vec<(u64, u64)>>()
    };
    let mut spans = paused(0);
    for channel in 1..manifest.channels.len() {
        let other = paused(channel);
        let both = spans.iter().flat_map(|(from, until)| {
            let both = |(a, b): &(u64, u64)| (*a.max(from), *b.min(until));
            other.iter().map(both).filter(|(from, until)| from < until)
        });
        spans = both.collect();
    }
    spans
}

fn untranscoded(manifest: &Manifest) -> Option<String> {
    let kept = manifest
        .channels
        .iter()
        .filter_map(|channel| channel.untranscoded.as_ref());
    let kept: Vec<String> = kept
        .map(|kept| {
            let seconds = kept.ticks / u64::from(crate::format::SAMPLE_RATE_HZ);
            format!("{seconds} s of {} are in {}", kept.codec, kept.key)
        })
        .collect();
    (!kept.is_empty()).then(|| format!("not decoded and silent here: {}", kept.join(", ")))
}
