//! Finds where pressed digits are heard, so that a recording can leave them out (SPEC L3).
//!
//! 1. Beside an event (RFC 4733), listed by the spool as a gap: the gateway that made it may have let
//!    the first of the tone through, or the last.
//! 2. In the sound itself, by frequency, in each channel by itself. It is looked for before anything is
//!    encoded, so that a digit is silenced from before it could be known.
//!
//! A telephone may send back what it hears: such an echo is sound of the party at that telephone, and
//! is masked if it is loud and clear enough to be found there as a digit, and otherwise not. What is
//! kept in a codec that is not decoded cannot be listened to: of it only what lies beside events is left
//! out.

use crate::encode::EncodeError;
use crate::format::SAMPLE_RATE_HZ;
use crate::gap::GapReason;
use crate::mixdown::{Output, mix_down};
use crate::timeline::Timeline;
use crate::wire::DtmfPolicy;
use duolog_audio::codec::G729Library;
use duolog_audio::dtmf::Detector;
use duolog_spool::{Frame, ReadError};
use std::ops::Range;

/// Ticks in a millisecond.
const MS: u64 = SAMPLE_RATE_HZ as u64 / 1_000;
/// Before an event and before a tone.
const BEFORE: u64 = 60 * MS;
/// After an event.
const AFTER_EVENT: u64 = 40 * MS;
/// After a tone.
const AFTER_TONE: u64 = 20 * MS;

impl Timeline {
    /// Whether pressed digits are to be left out.
    pub(crate) fn masks_digits(&self) -> bool {
        self.opening.dtmf != DtmfPolicy::Keep
    }
}

/// Lists every stretch of a recording that is to be silenced for its digits.
pub(crate) fn mask(
    timeline: &mut Timeline,
    g729: Option<&G729Library>,
    frames: impl Iterator<Item = Result<Frame, ReadError>>,
) -> Result<(), EncodeError> {
    let mut ears = Ears(timeline.sides().iter().map(|_| Ear::new()).collect());
    mix_down(timeline, SAMPLE_RATE_HZ, g729, frames, &mut ears)?;
    for (channel, ear) in ears.0.into_iter().enumerate() {
        let events = timeline.gaps[channel].iter();
        let events = events.filter(|gap| gap.reason == GapReason::Dtmf);
        let beside =
            |from: u64, until: u64, after: u64| (from.saturating_sub(BEFORE), until + after);
        let mut stretches: Vec<(u64, u64)> = events
            .map(|gap| beside(gap.position, gap.end(), AFTER_EVENT))
            .collect();
        let tones = ear.finish().into_iter();
        stretches.extend(tones.map(|(from, until)| beside(from, until, AFTER_TONE)));
        timeline.list(channel, &stretches, GapReason::DtmfMasked);
    }
    Ok(())
}

/// Silence from this on ends every tone; it is not listened to. In samples: 1 s.
const LONG_SILENCE: u64 = SAMPLE_RATE_HZ as u64;

/// All channels' ears.
struct Ears(Vec<Ear>);

impl Output for Ears {
    fn samples(&mut self, _: u64, channels: &[Vec<i16>]) -> Result<(), EncodeError> {
        for (ear, samples) in self.0.iter_mut().zip(channels) {
            ear.listen(samples);
        }
        Ok(())
    }

    fn silence(&mut self, position: u64, samples: u64) -> Result<(), EncodeError> {
        for ear in &mut self.0 {
            match samples < LONG_SILENCE {
                true => ear.listen(&vec![0; samples as usize]),
                false => ear.begin_anew(position + samples),
            }
        }
        Ok(())
    }
}

/// Listens to one channel at 8 kHz.
struct Ear {
    detector: Detector,
    /// Where the detector began.
    begin: u64,
    heard: Vec<Range<u64>>,
    /// What earlier detectors found.
    found: Vec<(u64, u64)>,
}

impl Ear {
    fn new() -> Ear {
        Ear {
            detector: detector(),
            begin: 0,
            heard: Vec::new(),
            found: Vec::new(),
        }
    }

    fn listen(&mut self, samples: &[i16]) {
        self.detector.push(samples, &mut self.heard);
    }

    fn begin_anew(&mut self, at: u64) {
        std::mem::replace(&mut self.detector, detector()).finish(&mut self.heard);
        let heard = self.heard.drain(..);
        self.found
            .extend(heard.map(|tone| (self.begin + tone.start, self.begin + tone.end)));
        self.begin = at;
    }

    fn finish(mut self) -> Vec<(u64, u64)> {
        self.begin_anew(0);
        self.found
    }
}

fn detector() -> Detector {
    Detector::new(SAMPLE_RATE_HZ).expect("digits are looked for at 8 kHz")
}
