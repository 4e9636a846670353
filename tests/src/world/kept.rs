//! What the archive made of a world's recordings.

use std::io::Cursor;

use duolog_archive::{Archive, Manifest, RequestedFormat, Settings, Shown};
use duolog_audio::codec::G729Library;
use duolog_audio::container::wav;
use duolog_audio::resample::Resampler;
use duolog_media::RecordingKey;

use super::World;

/// One finished recording.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its id.
    pub recording: RecordingKey,
    /// Its row.
    pub shown: Shown,
    /// Its manifest.
    pub manifest: Manifest,
    /// The object's bytes; empty where there was no audio.
    pub object: Vec<u8>,
    /// The samples of the owner and of the other party.
    pub channels: [Vec<i16>; 2],
    /// Samples per second and channel; 0 where there was no audio.
    pub rate_hz: u32,
}

impl Kept {
    /// A channel at 8 kHz, one sample for each tick of the manifest; none where there was no audio.
    ///
    /// # Panics
    /// When the object's rate is none that a recording has.
    #[must_use]
    pub fn at_8_khz(&self, channel: usize) -> Vec<i16> {
        let samples = &self.channels[channel];
        if matches!(self.rate_hz, 0 | 8_000) {
            return samples.clone();
        }
        let mut narrow = Vec::with_capacity(samples.len() / 2);
        let mut resampler = Resampler::new(self.rate_hz, 8_000).expect("a rate of a recording");
        resampler.push(samples, &mut narrow);
        resampler.finish(&mut narrow);
        narrow
    }
}

/// Finishes everything that waits in the spool, oldest first.
///
/// # Panics
/// When the archive refuses one.
#[must_use]
pub fn finish(world: &World, format: RequestedFormat) -> Vec<Kept> {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| folder.path().join(name);
    let settings = Settings {
        catalogue: at("catalogue.sqlite"),
        objects: at("objects"),
        scratch: at("scratch"),
        format,
        opus_bitrate: 24_000,
        g729: G729Library::open().ok(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let disk = world.disk.clone();
    runtime.expect("a runtime").block_on(async {
        let archive = Archive::open(settings, disk)
            .await
            .expect("an archive in a new directory");
        let mut all = Vec::new();
        for recording in archive.waiting().await.expect("the spool can be listed") {
            let shown = archive.finish(recording).await;
            let shown = shown.unwrap_or_else(|error| panic!("seed {}: {error}", world.seed));
            all.push(kept(RecordingKey(recording.0), shown));
        }
        all
    })
}

fn kept(recording: RecordingKey, shown: Shown) -> Kept {
    let manifest = shown
        .manifest
        .clone()
        .expect("a finished recording has a manifest");
    let path = shown.audio_path.as_ref();
    let object = path.map(|path| std::fs::read(path).expect("the object lies there"));
    let object = object.unwrap_or_default();
    let audio = manifest.audio.as_ref();
    let rate_hz = audio.map_or(0, |audio| audio.sample_rate_hz);
    let channels = if object.starts_with(b"RIFF") {
        let mut reader = wav::Reader::open(Cursor::new(&object)).expect("a WAV");
        let all = reader.read_to_end().expect("whole");
        [0, 1].map(|channel| all.iter().skip(channel).step_by(2).copied().collect())
    } else {
        [Vec::new(), Vec::new()]
    };
    Kept {
        recording,
        shown,
        manifest,
        object,
        channels,
        rate_hz,
    }
}
