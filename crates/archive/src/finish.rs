//! Finishes a sealed recording: the ordinary path, and after a crash the same one.
//!
//! 1. Assemble: the spool's frames, read once, give the time line.
//! 2. Encode: read a second time into a file that has no name yet.
//! 3. Store the audio under a key never used before, and read it back.
//! 4. Store the manifest beside it, and read that back.
//! 5. Catalogue: the row, with both digests. From here this attempt is the recording.
//! 6. Sweep what earlier attempts left behind.
//! 7. Release the spool.
//!
//! A kill before 5 leaves objects that no row names: the next attempt begins anew and sweeps them. A
//! kill after 5 is found by the row: the objects are read back once more, and 6 and 7 are done.

mod container;
mod fault;
mod record;

pub use fault::{FinishError, Step, StepError};
pub(crate) use record::row_of;

use crate::archive::{Archive, Shown, Spool};
use crate::assemble::Assembly;
use crate::catalogue::{ManifestRef, Row, RowEnding, Written};
use crate::digest::{CHUNK_BYTES, Digests};
use crate::id::recording_text;
use crate::manifest::{AudioObject, Level, Manifest, Untranscoded};
use crate::objects::{Attempt, ObjectError, differs};
use crate::sink::OpusShape;
use crate::timeline::{Access, Timeline};
use container::{EncodedAudio, KeptAsReceived, Workshop};
use duolog_audio::container::ogg_opus::{self, Tags};
use duolog_spool::{Reader, RecordingId, State, Trouble, release};
use record::manifest_of;
use std::fs::File;

/// A recording on its way, after step 1.
#[derive(Debug)]
pub(crate) struct Assembled {
    recording: RecordingId,
    timeline: Timeline,
}

/// After step 2; no audio where there was none to keep.
#[derive(Debug)]
pub(crate) struct Encoded {
    assembled: Assembled,
    audio: Option<EncodedAudio>,
}

/// After step 3.
#[derive(Debug)]
pub(crate) struct AudioStored {
    assembled: Assembled,
    attempt: Attempt,
    audio: Option<AudioObject>,
    levels: Option<Vec<Level>>,
    /// What could not be decoded, by its channel.
    kept: Vec<(usize, Untranscoded)>,
}

/// After step 4.
#[derive(Debug)]
pub(crate) struct ManifestStored {
    manifest: Manifest,
    row: Row,
}

impl<S: Spool> Archive<S> {
    /// Finishes a sealed recording and gives the spool its room back. Calling it again, after a kill or
    /// for a recording that is finished, changes nothing and gives the same.
    ///
    /// Encoding runs on tokio's blocking threads; how many recordings are finished at a time is the
    /// caller's choice.
    pub async fn finish(&self, recording: RecordingId) -> Result<Shown, FinishError> {
        let claim = self.claim(recording);
        let _claim = claim.ok_or_else(|| self.is_at_work(recording))?;
        let shown = self.stored(recording).await?;
        self.released(recording).await?;
        Ok(shown)
    }

    /// The same but for the last step: it is safe, it can be found, and the spool has it still.
    pub async fn store(&self, recording: RecordingId) -> Result<Shown, FinishError> {
        let claim = self.claim(recording);
        let _claim = claim.ok_or_else(|| self.is_at_work(recording))?;
        self.stored(recording).await
    }

    /// The last step alone, for what [`Archive::store`] gave. Calling it again changes nothing.
    pub async fn release(&self, recording: RecordingId) -> Result<(), FinishError> {
        let claim = self.claim(recording);
        let _claim = claim.ok_or_else(|| self.is_at_work(recording))?;
        self.released(recording).await
    }

    fn is_at_work(&self, recording: RecordingId) -> FinishError {
        let place = recording_text(recording);
        self.refused(recording, Step::Assemble, place, StepError::AtWork)
    }

    async fn stored(&self, recording: RecordingId) -> Result<Shown, FinishError> {
        let decided = self.decided(recording).await?;
        let row = match decided {
            Some(row) => {
                self.confirm(&row).await?;
                row
            }
            None => {
                let assembled = self.assemble(recording).await?;
                let encoded = self.encode(assembled).await?;
                let stored = self.store_audio(encoded).await?;
                let stored = self.store_manifest(stored).await?;
                self.catalogue_row(stored).await?
            }
        };
        self.sweep(&row).await;
        let shown = self.shown(row).await.map_err(StepError::from);
        shown.map_err(|error| self.catalogue_refused(recording, error))
    }

    /// Every recording in the spool that is sealed and waits to be finished, oldest first.
    pub async fn waiting(&self) -> Result<Vec<RecordingId>, StepError> {
        let spool = self.spool.clone();
        let listed = tokio::task::spawn_blocking(move || -> Result<_, StepError> {
            Ok(duolog_spool::recordings(&spool.disk()?)?)
        });
        let sealed = |(id, state)| (state == State::Sealed).then_some(id);
        Ok(listed.await??.into_iter().filter_map(sealed).collect())
    }

    /// The row of a recording that an earlier attempt has finished.
    pub(crate) async fn decided(&self, recording: RecordingId) -> Result<Option<Row>, FinishError> {
        let row = self.catalogue.row(recording).await.map_err(StepError::from);
        let row = row.map_err(|error| self.catalogue_refused(recording, error))?;
        Ok(row.filter(|row| {
            row.ending
                .as_ref()
                .is_some_and(|ending| ending.manifest.is_some())
        }))
    }

    /// Step 1.
    pub(crate) async fn assemble(&self, recording: RecordingId) -> Result<Assembled, FinishError> {
        let spool = self.spool.clone();
        let work = tokio::task::spawn_blocking(move || -> Result<Timeline, StepError> {
            let disk = spool.disk()?;
            let mut reader = Reader::open(&disk, recording)?;
            if reader.state() == State::Open {
                return Err(StepError::StillOpen);
            }
            let mut assembly = Assembly::default();
            for numbered in &mut reader {
                assembly.push(&numbered?.frame);
            }
            reader
                .troubles()
                .iter()
                .filter_map(flaw)
                .for_each(|flaw| assembly.flaw(flaw));
            Ok(assembly.finish())
        });
        let timeline = work.await.map_err(StepError::from).flatten();
        let place = "the spool's directory".to_owned();
        let refused = |error| self.refused(recording, Step::Assemble, place, error);
        Ok(Assembled {
            recording,
            timeline: timeline.map_err(refused)?,
        })
    }

    /// Step 2.
    pub(crate) async fn encode(&self, assembled: Assembled) -> Result<Encoded, FinishError> {
        let recording = assembled.recording;
        if !assembled.timeline.keeps_audio() {
            return Ok(Encoded {
                assembled,
                audio: None,
            });
        }
        let (archive, mut assembled) = (self.clone(), assembled);
        let work = tokio::task::spawn_blocking(move || {
            let workshop = Workshop {
                spool: archive.spool.as_ref(),
                scratch: archive.scratch.clone(),
                requested: archive.format,
                opus: archive.opus_shape(recording),
                g729: archive.g729.clone(),
            };
            let audio = workshop.encode(&mut assembled)?;
            Ok(Encoded {
                assembled,
                audio: Some(audio),
            })
        });
        let place = self.scratch.display().to_string();
        let refused = |error| self.refused(recording, Step::Encode, place, error);
        work.await
            .map_err(StepError::from)
            .flatten()
            .map_err(refused)
    }

    /// Step 3.
    pub(crate) async fn store_audio(&self, encoded: Encoded) -> Result<AudioStored, FinishError> {
        let Encoded { assembled, audio } = encoded;
        let recording = assembled.recording;
        let text = recording_text(recording);
        let attempt = Attempt::begin(assembled.timeline.opened_at, &text);
        let Some(EncodedAudio {
            file,
            choice,
            levels,
            kept,
        }) = audio
        else {
            return Ok(AudioStored {
                assembled,
                attempt,
                audio: None,
                levels: None,
                kept: Vec::new(),
            });
        };
        let key = attempt.key(choice.format.file_name());
        let digests = self.store_file(recording, &key, file).await?;
        let mut untranscoded = Vec::new();
        for one in kept {
            untranscoded.push(self.store_kept(recording, &attempt, one).await?);
        }
        let audio = AudioObject {
            key,
            format: choice.format,
            requested: self.format,
            note: choice.note,
            sample_rate_hz: assembled.timeline.rate_hz,
            digests,
        };
        Ok(AudioStored {
            assembled,
            attempt,
            audio: Some(audio),
            levels: Some(levels),
            kept: untranscoded,
        })
    }

    async fn store_kept(
        &self,
        recording: RecordingId,
        attempt: &Attempt,
        kept: KeptAsReceived,
    ) -> Result<(usize, Untranscoded), FinishError> {
        let side = ["owner", "other"][kept.channel.min(1)];
        let key = attempt.key(&format!(
            "{side}.{}",
            kept.codec.name().to_ascii_lowercase()
        ));
        let digests = self.store_file(recording, &key, kept.file).await?;
        let untranscoded = Untranscoded {
            untranscoded: true,
            codec: kept.codec.name(),
            ticks: kept.ticks,
            key,
            digests,
        };
        Ok((kept.channel, untranscoded))
    }

    /// Stores a file and reads it back.
    async fn store_file(
        &self,
        recording: RecordingId,
        key: &str,
        file: File,
    ) -> Result<Digests, FinishError> {
        let stored = async {
            let digests = self.objects.put_file(key, file).await?;
            self.objects.confirm(key, &digests).await?;
            Ok(digests)
        };
        stored.await.map_err(|error: ObjectError| {
            let place = self.objects.path(key).display().to_string();
            self.refused(recording, Step::StoreAudio, place, error.into())
        })
    }

    /// Step 4.
    pub(crate) async fn store_manifest(
        &self,
        stored: AudioStored,
    ) -> Result<ManifestStored, FinishError> {
        let recording = stored.assembled.recording;
        let key = stored.attempt.key("manifest.json");
        let manifest = manifest_of(stored);
        let bytes = manifest.write();
        let digests = Digests::of(&bytes);
        let stored = async {
            self.objects.put(&key, bytes.into()).await?;
            self.objects.confirm(&key, &digests).await
        };
        stored.await.map_err(|error| {
            let place = self.objects.path(&key).display().to_string();
            self.refused(recording, Step::StoreManifest, place, error.into())
        })?;
        let reference = ManifestRef {
            key,
            sha256: digests.sha256,
        };
        let row = row_of(recording, &manifest, reference);
        Ok(ManifestStored { manifest, row })
    }

    /// Step 5. Where another attempt was first, its row is given.
    pub(crate) async fn catalogue_row(&self, stored: ManifestStored) -> Result<Row, FinishError> {
        let ManifestStored { manifest, row } = stored;
        let recording = row.id;
        let written = self.catalogue.end_row(&row).await.map_err(StepError::from);
        match written.map_err(|error| self.catalogue_refused(recording, error))? {
            Written::Now => {
                tracing::info!(recording = %manifest.recording, state = manifest.state.word(),
                    length_ms = manifest.length.ms, "recording catalogued");
                Ok(row)
            }
            Written::Before => Ok(self.decided(recording).await?.unwrap_or(row)),
        }
    }

    /// Reads back what an earlier attempt stored: only then may the spool go.
    pub(crate) async fn confirm(&self, row: &Row) -> Result<(), FinishError> {
        let Some(ending) = &row.ending else {
            return Ok(());
        };
        let audio = ending.audio.iter().map(|audio| (&audio.key, &audio.sha256));
        let manifest = ending
            .manifest
            .iter()
            .map(|manifest| (&manifest.key, &manifest.sha256));
        for (key, sha256) in audio.chain(manifest) {
            let confirmed = match self.objects.digests(key, CHUNK_BYTES).await {
                Ok(found) if found.sha256 == *sha256 => Ok(()),
                Ok(found) => Err(differs(key, (found.bytes, sha256), &found)),
                Err(error) => Err(error),
            };
            confirmed.map_err(|error| self.unconfirmed(row, key, error))?;
        }
        for kept in self.untranscoded(row, ending).await? {
            let confirmed = self.objects.confirm(&kept.key, &kept.digests).await;
            confirmed.map_err(|error| self.unconfirmed(row, &kept.key, error))?;
        }
        Ok(())
    }

    /// What a row's manifest says is kept beside the audio.
    async fn untranscoded(
        &self,
        row: &Row,
        ending: &RowEnding,
    ) -> Result<Vec<Untranscoded>, FinishError> {
        let Some(stored) = &ending.manifest else {
            return Ok(Vec::new());
        };
        let bytes = self.objects.read(&stored.key).await;
        let bytes = bytes.map_err(|error| self.unconfirmed(row, &stored.key, error))?;
        // Its digest is right, so a manifest that cannot be parsed is one of a newer duolog.
        let manifest = Manifest::parse(&bytes).ok();
        let channels = manifest.into_iter().flat_map(|manifest| manifest.channels);
        Ok(channels
            .filter_map(|channel| channel.untranscoded)
            .collect())
    }

    fn unconfirmed(&self, row: &Row, key: &str, error: ObjectError) -> FinishError {
        let place = self.objects.path(key).display().to_string();
        self.refused(row.id, Step::Confirm, place, error.into())
    }

    /// Step 6. What cannot be removed costs room and nothing else.
    pub(crate) async fn sweep(&self, row: &Row) {
        let manifest = row
            .ending
            .as_ref()
            .and_then(|ending| ending.manifest.as_ref());
        let recording = recording_text(row.id);
        let keep = manifest.and_then(|manifest| Attempt::of_key(&manifest.key));
        let Some(keep) = keep.filter(|keep| keep.is_of(row.opened_at, &recording)) else {
            return;
        };
        if let Err(error) = self.objects.sweep(&keep).await {
            tracing::warn!(%recording, %error, "objects of earlier attempts are left behind");
        }
    }

    /// Step 7.
    async fn released(&self, recording: RecordingId) -> Result<(), FinishError> {
        let spool = self.spool.clone();
        let work = tokio::task::spawn_blocking(move || -> Result<(), StepError> {
            release(&mut spool.disk()?, recording)?;
            Ok(())
        });
        let place = "the spool's directory".to_owned();
        let refused = |error| self.refused(recording, Step::Release, place, error);
        work.await
            .map_err(StepError::from)
            .flatten()
            .map_err(refused)
    }

    pub(crate) fn opus_shape(&self, recording: RecordingId) -> OpusShape {
        let settings = ogg_opus::Settings {
            serial: recording.0 as u32,
            ..ogg_opus::Settings::default()
        };
        let comment = |name: &str, value: String| (name.to_owned(), value);
        let tags = Tags {
            vendor: concat!("duolog ", env!("CARGO_PKG_VERSION")).to_owned(),
            comments: vec![comment("RECORDING", recording_text(recording))],
        };
        OpusShape {
            bitrate: self.opus_bitrate,
            settings,
            tags,
        }
    }

    fn catalogue_refused(&self, recording: RecordingId, error: StepError) -> FinishError {
        self.refused(
            recording,
            Step::Catalogue,
            "the catalogue".to_owned(),
            error,
        )
    }

    fn refused(
        &self,
        recording: RecordingId,
        step: Step,
        place: String,
        source: StepError,
    ) -> FinishError {
        let what_next = match (&source, step) {
            (StepError::AtWork, _) => "wait for that to end",
            (StepError::StillOpen, _) => "it is finished when its call has ended",
            (_, Step::Confirm) => {
                "the spool still has it: mend the store or clear the row's manifest, then try again"
            }
            (_, Step::Release) => "it is stored and catalogued; the release is tried again",
            _ => "the spool keeps it, and it is tried again",
        };
        FinishError {
            recording: recording_text(recording),
            step,
            place,
            what_next,
            source,
        }
    }
}

impl Timeline {
    /// Whether there is audio, and it is to be kept.
    fn keeps_audio(&self) -> bool {
        use crate::wire::End::{NotAnswered, NotKept, NotStarted, Refused};
        let unwanted = matches!(
            self.ending.end,
            NotAnswered | NotKept | NotStarted | Refused
        );
        self.has_audio() && !unwanted && self.access == Access::Open
    }
}

/// A trouble of the spool as a sentence. A torn tail alone costs nothing: what is lost with it is named
/// as missing, or was never reported durable.
fn flaw(trouble: &Trouble) -> Option<String> {
    match trouble {
        Trouble::TornTail { .. } => None,
        Trouble::BadPart { part } => Some(format!("part {part} of the spool is not readable")),
        Trouble::Changed { number } => Some(format!(
            "the audio of frame {number} was changed in the spool"
        )),
        Trouble::Missing { first, count } => Some(format!(
            "{count} frames are missing from the spool, from number {first} on"
        )),
    }
}

#[cfg(test)]
mod tests;
