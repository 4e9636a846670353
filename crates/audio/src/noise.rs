//! Comfort noise (RFC 3389): how loud the background is while nobody speaks, and noise of that loudness.
//!
//! Levels are in dBov: 0 is the power of a square wave at full scale, so what [`measure::rms_dbfs`]
//! reads is a level in dBov. The spectrum that a payload may describe is not followed: white noise
//! at the right level serves where a codec without comfort noise has to be fed.

use crate::measure;

/// The lowest level that a payload can name, in -dBov.
const LOWEST: u8 = 127;

/// Level of background noise, 0 to -127 dBov.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoiseLevel {
    /// 0 (loudest) to 127.
    minus_dbov: u8,
}

impl NoiseLevel {
    /// The level of a CN payload's first octet (RFC 3389 §3); its other octets describe the spectrum.
    /// The reserved bit is not looked at. `None` when the payload is empty.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let minus_dbov = payload.first()? & LOWEST;
        Some(Self { minus_dbov })
    }

    /// The level of sound that is taken for background noise.
    #[must_use]
    pub fn of(samples: &[i16]) -> Self {
        let below = (-measure::rms_dbfs(samples)).round();
        let minus_dbov = below.clamp(0.0, f64::from(LOWEST)) as u8;
        Self { minus_dbov }
    }

    /// The payload that tells of this level and of no spectrum.
    #[must_use]
    pub const fn payload(self) -> [u8; 1] {
        [self.minus_dbov]
    }

    /// In dBov, -127 to 0.
    #[must_use]
    pub fn dbov(self) -> f64 {
        -f64::from(self.minus_dbov)
    }
}

/// Makes white noise; the same for the same seed.
#[derive(Debug, Clone)]
pub struct NoiseGenerator {
    state: u64,
}

impl NoiseGenerator {
    /// Any seed will do.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Appends `samples` of noise at `level`, for any sample rate.
    pub fn push(&mut self, level: NoiseLevel, samples: usize, out: &mut Vec<i16>) {
        // A sum of two values evenly spread over ±peak has a power of 2/3 peak².
        let rms = 32_768.0 * 10_f64.powf(level.dbov() / 20.0);
        let peak = rms * 1.5_f64.sqrt();
        out.extend((0..samples).map(|_| {
            let sample = peak * (self.uniform() + self.uniform());
            // Saturates at full scale.
            sample.round() as i16
        }));
    }

    /// -1 to 1 (Knuth's MMIX generator, its upper bits).
    fn uniform(&mut self) -> f64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        f64::from((self.state >> 32) as u32 as i32) / 2_147_483_648.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_level_that_the_payload_names() {
        let mut generator = NoiseGenerator::new(1);
        for minus_dbov in [10, 20, 35, 47, 60, 70] {
            let level = NoiseLevel::from_payload(&[minus_dbov]).expect("one octet");
            let mut noise = Vec::new();
            generator.push(level, 16_000, &mut noise);
            let read = measure::rms_dbfs(&noise);
            assert!((read - level.dbov()).abs() < 0.4, "-{minus_dbov}: {read}");
            assert_eq!(NoiseLevel::of(&noise).payload(), [minus_dbov]);
            let mean = noise.iter().map(|&s| f64::from(s)).sum::<f64>() / 16_000.0;
            assert!(
                mean.abs() < 0.03 * f64::from(i16::MAX) * 10_f64.powf(level.dbov() / 20.0) + 0.1
            );
        }
    }

    #[test]
    fn payloads_of_any_length_are_taken_but_none() {
        assert_eq!(NoiseLevel::from_payload(&[]), None);
        let plain = NoiseLevel::from_payload(&[70]);
        assert_eq!(NoiseLevel::from_payload(&[70, 1, 2, 3, 250]), plain);
        assert_eq!(NoiseLevel::from_payload(&[0x80 | 70]), plain);
        assert_eq!(NoiseLevel::of(&[]).payload(), [120]);
        assert_eq!(NoiseLevel::of(&[i16::MIN; 80]).payload(), [0]);
    }

    #[test]
    fn the_loudest_and_the_lowest_level_are_made_too() {
        let (mut loud, mut low) = (Vec::new(), Vec::new());
        let mut generator = NoiseGenerator::new(2);
        generator.push(NoiseLevel { minus_dbov: 0 }, 8_000, &mut loud);
        generator.push(NoiseLevel { minus_dbov: 127 }, 8_000, &mut low);
        assert!(measure::rms_dbfs(&loud) > -3.0);
        assert_eq!(low, [0; 8_000]);
    }
}
