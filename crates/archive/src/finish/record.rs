//! What is written down about a recording: its manifest, and the row that says the same.

use super::{Assembled, AudioStored};
use crate::catalogue::{AudioRef, CallRow, ManifestRef, Row, RowEnding};
use crate::end_state::judge;
use crate::id::recording_text;
use crate::manifest::{self, Length, MANIFEST_VERSION, Manifest, Span, Together};
use duolog_spool::RecordingId;

/// The manifest of what was stored.
pub(super) fn manifest_of(stored: AudioStored) -> Manifest {
    let AudioStored {
        assembled,
        attempt,
        audio,
        levels,
        kept,
    } = stored;
    let Assembled {
        recording,
        timeline,
    } = assembled;
    let verdict = judge(&timeline);
    let pauses = timeline.pauses().into_iter();
    let mut channels = manifest::channels(&timeline, levels.as_deref());
    for (channel, untranscoded) in kept {
        if let Some(channel) = channels.get_mut(channel) {
            channel.untranscoded = Some(untranscoded);
        }
    }
    Manifest {
        version: MANIFEST_VERSION,
        recording: recording_text(recording),
        attempt: attempt.name,
        channels,
        together: Together::of(&timeline, verdict.state),
        facts: manifest::facts(&timeline),
        call: timeline.opening,
        opened_at: timeline.opened_at,
        ended_at: timeline.ended_at,
        state: verdict.state,
        reason: verdict.reason,
        length: Length::of(timeline.length),
        audio,
        pauses: pauses
            .map(|(position, samples)| Span { position, samples })
            .collect(),
        flaws: timeline.flaws,
    }
}

/// The row that says what a manifest says.
pub(crate) fn row_of(recording: RecordingId, manifest: &Manifest, stored: ManifestRef) -> Row {
    let audio = manifest.audio.as_ref().map(|audio| AudioRef {
        key: audio.key.clone(),
        format: audio.format,
        bytes: audio.digests.bytes,
        sha256: audio.digests.sha256.clone(),
    });
    let ending = RowEnding {
        state: manifest.state,
        reason: manifest.reason.clone(),
        at: manifest.ended_at,
        length_samples: manifest.length.samples,
        pauses: manifest.pauses.len() as u64,
        audio,
        manifest: Some(stored),
    };
    Row {
        id: recording,
        call: CallRow {
            class: manifest.together.class,
            correlation: manifest.together.correlation.clone(),
            ..CallRow::of(&manifest.call)
        },
        opened_at: manifest.opened_at,
        ending: Some(ending),
    }
}
