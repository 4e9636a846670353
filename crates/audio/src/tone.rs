//! Tones made from three numbers.

use crate::{SAMPLE_RATE_HZ, dtmf};

/// How long a tone takes to reach its level and to leave it: long enough not to click.
const RAMP_MS: u32 = 5;

/// Pause between two keys, and how long a key sounds at least and at most, in milliseconds: receivers need
/// 40 of each (ITU-T Q.24).
const KEY_GAP_MS: u32 = 50;
const KEY_MS: std::ops::RangeInclusive<u32> = 50..=8_000;
/// Peaks of a key's low and high tone in dBFS: -10 and -8 dBm0, what telephones send.
const KEY_DBFS: [f64; 2] = [-13.14, -11.14];

/// A sine tone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ToneShape {
    /// Frequency in Hz, above 0 and below half the rate it is made at.
    pub frequency_hz: f64,
    /// Length in milliseconds, ramps included.
    pub length_ms: u32,
    /// Level of the peak in dBFS, at most 0.
    pub level_dbfs: f64,
}

/// The notice that a call is being recorded, repeated at an interval: 1,400 Hz, 500 ms, -20 dBFS.
#[must_use]
pub fn repeat_tone() -> ToneShape {
    ToneShape {
        frequency_hz: 1_400.0,
        length_ms: 500,
        level_dbfs: -20.0,
    }
}

/// The short notice of a pause or a resume: 1,000 Hz, 200 ms, -16 dBFS.
#[must_use]
pub fn beep() -> ToneShape {
    ToneShape {
        frequency_hz: 1_000.0,
        length_ms: 200,
        level_dbfs: -16.0,
    }
}

impl ToneShape {
    /// The tone's samples at 8 kHz, raised and lowered over 5 ms (less when it is very short).
    #[must_use]
    pub fn samples(&self) -> Box<[i16]> {
        self.samples_at(SAMPLE_RATE_HZ)
    }

    /// The tone's samples at any rate, raised and lowered in the same way.
    #[must_use]
    pub fn samples_at(&self, rate_hz: u32) -> Box<[i16]> {
        let in_ms = |ms: u32| (u64::from(ms) * u64::from(rate_hz) / 1_000) as usize;
        let length = in_ms(self.length_ms);
        let ramp = in_ms(RAMP_MS).min(length / 2).max(1);
        let peak = 32_767.0 * 10_f64.powf(self.level_dbfs / 20.0);
        let step = std::f64::consts::TAU * self.frequency_hz / f64::from(rate_hz);
        (0..length)
            .map(|at| {
                let from_edge = at.min(length - 1 - at);
                let gain = (from_edge as f64 / ramp as f64).min(1.0);
                (peak * gain * (step * at as f64).sin()).round() as i16
            })
            .collect()
    }
}

/// Keys as they sound (ITU-T Q.23) at 8 kHz, each given as its telephone-event (0 to 15) and its length in
/// milliseconds, held to 50 to 8,000, with 50 ms of silence behind each. Other events are silent.
#[must_use]
pub fn keys(keys: &[(u8, u32)]) -> Box<[i16]> {
    let mut samples = Vec::new();
    for &(event, length_ms) in keys {
        let length_ms = length_ms.clamp(*KEY_MS.start(), *KEY_MS.end());
        let from = samples.len();
        let behind = (length_ms + KEY_GAP_MS) * SAMPLE_RATE_HZ / 1_000;
        samples.resize(from + behind as usize, 0_i16);
        let Some(frequencies) = dtmf::frequencies_hz(event) else {
            continue;
        };
        for (hz, level_dbfs) in frequencies.into_iter().zip(KEY_DBFS) {
            let shape = ToneShape {
                frequency_hz: f64::from(hz),
                length_ms,
                level_dbfs,
            };
            for (sample, tone) in samples[from..].iter_mut().zip(shape.samples()) {
                *sample = sample.saturating_add(tone);
            }
        }
    }
    samples.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtmf::{LiveDetector, Pressed};
    use crate::measure;

    #[test]
    fn keys_are_those_that_a_detector_hears() {
        let events: Vec<u8> = (0..16).collect();
        let row: Vec<(u8, u32)> = events.iter().map(|&event| (event, 80)).collect();
        let mut pressed: Vec<Pressed> = Vec::new();
        LiveDetector::new(8_000).push(&keys(&row), &mut pressed);
        let heard: Vec<u8> = pressed.iter().map(|key| key.event).collect();
        assert_eq!(heard, events);
        let off = pressed.iter().map(|key| key.duration_ms.abs_diff(80)).max();
        assert!(off <= Some(10), "{pressed:?}");
        assert_eq!(keys(&[(1, 0)]).len(), 800);
        assert_eq!(keys(&[(1, u32::MAX)]).len(), 64_400);
        assert!(keys(&[(16, 100)]).iter().all(|sample| *sample == 0));
        assert_eq!(keys(&[]).len(), 0);
    }

    #[test]
    fn tones_have_their_length_level_and_frequency() {
        let check = |shape: ToneShape| {
            let samples = shape.samples();
            assert_eq!(samples.len(), shape.length_ms as usize * 8, "{shape:?}");
            let middle = &samples[40..samples.len() - 40];
            let whole_periods = middle.len() / 400 * 400;
            let level = measure::goertzel_dbfs(&middle[..whole_periods], shape.frequency_hz);
            assert!(
                (level - shape.level_dbfs).abs() < 0.05,
                "{shape:?} reads {level}"
            );
            let beside = measure::goertzel_dbfs(&middle[..whole_periods], 2_600.0);
            assert!(beside < shape.level_dbfs - 40.0, "{shape:?} leaks {beside}");
        };
        check(repeat_tone());
        check(beep());
        check(ToneShape {
            frequency_hz: 440.0,
            length_ms: 200,
            level_dbfs: 0.0,
        });
        check(ToneShape {
            frequency_hz: 3_400.0,
            length_ms: 1_000,
            level_dbfs: -40.0,
        });
    }

    #[test]
    fn tones_of_other_rates_are_the_same_sound() {
        let narrow = beep().samples();
        for factor in [2, 3, 6] {
            let wide = beep().samples_at(8_000 * factor);
            assert_eq!(wide.len(), narrow.len() * factor as usize);
            let picked = wide.iter().step_by(factor as usize);
            // The last ramp ends at the last sample, which is not at the same instant.
            let pairs = narrow.iter().zip(picked).take(narrow.len() - 40);
            assert!(pairs.into_iter().all(|(a, b)| a.abs_diff(*b) <= 1));
        }
    }

    #[test]
    fn tones_begin_and_end_without_a_click() {
        let samples = repeat_tone().samples();
        let peak = samples.iter().map(|s| s.unsigned_abs()).max();
        assert_eq!((samples[0], samples[samples.len() - 1]), (0, 0));
        let edges = samples[..4].iter().chain(&samples[samples.len() - 4..]);
        assert!(edges.map(|s| s.unsigned_abs()).max() < peak.map(|p| p / 8));
    }

    #[test]
    fn very_short_tones_are_made_too() {
        for length_ms in 0..12 {
            let shape = ToneShape {
                length_ms,
                ..beep()
            };
            assert_eq!(shape.samples().len(), length_ms as usize * 8);
        }
    }
}
