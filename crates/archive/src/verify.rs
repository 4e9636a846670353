//! Finds what was changed since a recording was finished, and names it.
//!
//! Audio, manifest and row vouch for each other: the row has the digests of both objects, the manifest
//! those of every 64 KiB of audio and everything the row says. Who changes one and not the others is
//! found; who can change all three at once is not.

use crate::archive::{Archive, Spool};
use crate::catalogue::{AudioRef, ManifestRef, Row};
use crate::digest::Digests;
use crate::end_state::EndState;
use crate::finish::row_of;
use crate::id::{parse_recording, recording_text};
use crate::manifest::{Manifest, Untranscoded};
use crate::objects::ObjectError;
use crate::wall::WallTime;
use std::fmt;
use std::ops::Range;
use thiserror::Error;

/// Why a recording could not be looked at.
#[derive(Debug, Error)]
#[error("recording {recording} could not be verified")]
pub struct VerifyError {
    /// The recording, `rec_...`.
    pub recording: String,
    /// Why.
    pub source: ObjectError,
}

/// Something that is not as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// An object is gone.
    Missing {
        /// Its key.
        key: String,
    },
    /// The audio was changed.
    AudioChanged {
        /// Its key.
        key: String,
        /// In these bytes, to the 64 KiB; the whole object where the manifest cannot say.
        ranges: Vec<Range<u64>>,
    },
    /// The manifest was changed, or its digest in the row.
    ManifestChanged {
        /// Its key.
        key: String,
    },
    /// The manifest was changed so that it cannot be read.
    ManifestUnreadable {
        /// Its key.
        key: String,
    },
    /// The row names no manifest, and only a recording that failed has none.
    NoManifest,
    /// The row and the manifest say different things.
    RowDiffers {
        /// What about.
        field: &'static str,
        /// What the row says.
        row: String,
        /// What the manifest says.
        manifest: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Missing { key } => write!(out, "{key} is missing"),
            Finding::AudioChanged { key, ranges } => {
                write!(out, "{key} was changed in bytes")?;
                for (index, range) in ranges.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(
                        out,
                        "{comma} {} to {}",
                        range.start,
                        range.end.saturating_sub(1)
                    )?;
                }
                Ok(())
            }
            Finding::ManifestChanged { key } => {
                write!(
                    out,
                    "{key} does not fit its digest in the catalogue: one was changed"
                )
            }
            Finding::ManifestUnreadable { key } => write!(out, "{key} cannot be read any more"),
            Finding::NoManifest => write!(out, "the catalogue names no manifest"),
            Finding::RowDiffers {
                field,
                row,
                manifest,
            } => {
                write!(
                    out,
                    "the catalogue says {field} is {row}, the manifest {manifest}"
                )
            }
        }
    }
}

/// What was looked at and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The recording, `rec_...`.
    pub recording: String,
    /// Bytes of audio that were read.
    pub audio_bytes: u64,
    /// What is not as it was stored; empty when all is well.
    pub findings: Vec<Finding>,
}

impl<S: Spool> Archive<S> {
    /// Reads all of a recording's objects and compares them with each other and with the row. A call
    /// that is being recorded, or that failed with nothing spooled, has nothing to compare.
    pub async fn verify(&self, row: &Row) -> Result<Verification, VerifyError> {
        let recording = recording_text(row.id);
        let mut found = Verification {
            recording,
            audio_bytes: 0,
            findings: Vec::new(),
        };
        let Some(ending) = &row.ending else {
            return Ok(found);
        };
        let manifest = match &ending.manifest {
            Some(stored) => self.verify_manifest(row, stored, &mut found).await?,
            None if ending.state == EndState::Failed && ending.audio.is_none() => None,
            None => {
                found.findings.push(Finding::NoManifest);
                None
            }
        };
        if let Some(audio) = &ending.audio {
            self.verify_audio(row, audio, manifest.as_ref(), &mut found)
                .await?;
        }
        let channels = manifest.iter().flat_map(|manifest| &manifest.channels);
        for kept in channels.filter_map(|channel| channel.untranscoded.as_ref()) {
            self.verify_kept(row, kept, &mut found).await?;
        }
        Ok(found)
    }

    /// What could not be decoded: the manifest alone vouches for it.
    async fn verify_kept(
        &self,
        row: &Row,
        kept: &Untranscoded,
        found: &mut Verification,
    ) -> Result<(), VerifyError> {
        let key = || kept.key.clone();
        let wanted = &kept.digests;
        let read = match self.objects.digests(&kept.key, wanted.chunk_bytes).await {
            Ok(read) => read,
            Err(error) if error.is_missing() => {
                found.findings.push(Finding::Missing { key: key() });
                return Ok(());
            }
            Err(source) => return Err(unreadable(row, source)),
        };
        found.audio_bytes += read.bytes;
        if read != *wanted {
            let mut ranges = wanted.changed(&read);
            if ranges.is_empty() {
                ranges.push(0..read.bytes.max(wanted.bytes));
            }
            found
                .findings
                .push(Finding::AudioChanged { key: key(), ranges });
        }
        Ok(())
    }

    async fn verify_manifest(
        &self,
        row: &Row,
        stored: &ManifestRef,
        found: &mut Verification,
    ) -> Result<Option<Manifest>, VerifyError> {
        let key = || stored.key.clone();
        let bytes = match self.objects.read(&stored.key).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => {
                found.findings.push(Finding::Missing { key: key() });
                return Ok(None);
            }
            Err(source) => return Err(unreadable(row, source)),
        };
        if Digests::of(&bytes).sha256 != stored.sha256 {
            found.findings.push(Finding::ManifestChanged { key: key() });
        }
        let Ok(manifest) = Manifest::parse(&bytes) else {
            found
                .findings
                .push(Finding::ManifestUnreadable { key: key() });
            return Ok(None);
        };
        found.findings.extend(compare(row, stored, &manifest));
        Ok(Some(manifest))
    }

    async fn verify_audio(
        &self,
        row: &Row,
        audio: &AudioRef,
        manifest: Option<&Manifest>,
        found: &mut Verification,
    ) -> Result<(), VerifyError> {
        let wanted = manifest.and_then(|manifest| manifest.audio.as_ref());
        let wanted = wanted.map(|audio| &audio.digests);
        let chunk_bytes = wanted.map_or(crate::digest::CHUNK_BYTES, |wanted| wanted.chunk_bytes);
        let read = match self.objects.digests(&audio.key, chunk_bytes).await {
            Ok(read) => read,
            Err(error) if error.is_missing() => {
                found.findings.push(Finding::Missing {
                    key: audio.key.clone(),
                });
                return Ok(());
            }
            Err(source) => return Err(unreadable(row, source)),
        };
        found.audio_bytes = read.bytes;
        let by_manifest = wanted.is_none_or(|wanted| *wanted == read);
        if read.sha256 != audio.sha256 && by_manifest && wanted.is_some() {
            // The audio fits its manifest: the row's digest was changed, and compare() has said so.
            return Ok(());
        }
        if read.sha256 != audio.sha256 || !by_manifest {
            let mut ranges = wanted
                .map(|wanted| wanted.changed(&read))
                .unwrap_or_default();
            if ranges.is_empty() {
                ranges.push(0..read.bytes.max(audio.bytes));
            }
            found.findings.push(Finding::AudioChanged {
                key: audio.key.clone(),
                ranges,
            });
        }
        Ok(())
    }
}

fn unreadable(row: &Row, source: ObjectError) -> VerifyError {
    VerifyError {
        recording: recording_text(row.id),
        source,
    }
}

/// Everything a row says, as text: what it says against what a row made from the manifest would say.
fn compare(row: &Row, stored: &ManifestRef, manifest: &Manifest) -> Vec<Finding> {
    let Ok(recording) = parse_recording(&manifest.recording) else {
        let (row, manifest) = (recording_text(row.id), manifest.recording.clone());
        return vec![Finding::RowDiffers {
            field: "the id",
            row,
            manifest,
        }];
    };
    let wanted = fields(&row_of(recording, manifest, stored.clone()));
    let pairs = fields(row).into_iter().zip(wanted);
    let differing = pairs.filter(|((_, row), (_, manifest))| row != manifest);
    let finding = |((field, row), (_, manifest))| Finding::RowDiffers {
        field,
        row,
        manifest,
    };
    differing.map(finding).collect()
}

fn fields(row: &Row) -> Vec<(&'static str, String)> {
    let call = &row.call;
    let ending = row.ending.as_ref();
    let audio = ending.and_then(|ending| ending.audio.as_ref());
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    vec![
        ("the id", recording_text(row.id)),
        ("the Call-ID", call.call_id.clone()),
        ("the caller", call.caller.clone()),
        ("the called", call.callee.clone()),
        ("the direction", format!("{:?}", call.direction)),
        ("the owner", call.owner.clone()),
        ("the owner's name", or_none(call.owner_name.clone())),
        ("the mode", format!("{:?}", call.mode)),
        (
            "the class",
            or_none(call.class.map(|class| format!("{class:?}"))),
        ),
        ("the chain of calls", or_none(call.correlation.clone())),
        ("the beginning", row.opened_at.text()),
        ("the state", row.state().word().to_owned()),
        (
            "the reason",
            or_none(ending.map(|ending| ending.reason.clone())),
        ),
        (
            "the end",
            or_none(ending.map(|ending| WallTime::text(ending.at))),
        ),
        (
            "the length",
            or_none(ending.map(|ending| ending.length_samples.to_string())),
        ),
        (
            "the number of pauses",
            or_none(ending.map(|ending| ending.pauses.to_string())),
        ),
        (
            "the format",
            or_none(audio.map(|audio| audio.format.word().to_owned())),
        ),
        (
            "the audio's key",
            or_none(audio.map(|audio| audio.key.clone())),
        ),
        (
            "the audio's size",
            or_none(audio.map(|audio| audio.bytes.to_string())),
        ),
        (
            "the audio's digest",
            or_none(audio.map(|audio| audio.sha256.clone())),
        ),
    ]
}
