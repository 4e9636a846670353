//! How loud, at which frequency, and where a known sound is.
//!
//! Full scale is 32,768. [`goertzel_dbfs`] and [`Level::peak_dbfs`] speak of a peak: a full-scale
//! sine reads 0. [`rms_dbfs`] speaks of power as `sox` and `ffmpeg` do: the same sine reads -3.01.

use realfft::RealFftPlanner;

use crate::SAMPLE_RATE_HZ;

/// What silence reads: no level below this is told apart from it, in dBFS.
pub const FLOOR_DBFS: f64 = -120.0;

const FULL_SCALE: f64 = 32_768.0;

/// The peak level of the tone at `frequency_hz` within `samples` of 8 kHz, in dBFS, at least
/// [`FLOOR_DBFS`].
///
/// Exact when `samples` holds whole periods; a tone elsewhere leaks by the rectangular window
/// (about -13 dB at 1.5 / length, falling from there).
#[must_use]
pub fn goertzel_dbfs(samples: &[i16], frequency_hz: f64) -> f64 {
    goertzel_dbfs_at(SAMPLE_RATE_HZ, samples, frequency_hz)
}

/// As [`goertzel_dbfs`], of `samples` at `rate_hz`.
#[must_use]
pub fn goertzel_dbfs_at(rate_hz: u32, samples: &[i16], frequency_hz: f64) -> f64 {
    let step = std::f64::consts::TAU * frequency_hz / f64::from(rate_hz);
    let coefficient = 2.0 * step.cos();
    let (mut newer, mut older) = (0.0, 0.0);
    for &sample in samples {
        (newer, older) = (f64::from(sample) + coefficient * newer - older, newer);
    }
    let power = (newer * newer + older * older - coefficient * newer * older).max(0.0);
    dbfs(2.0 * power.sqrt() / samples.len().max(1) as f64)
}

/// The root-mean-square level of `samples` in dBFS, at least [`FLOOR_DBFS`].
#[must_use]
pub fn rms_dbfs(samples: &[i16]) -> f64 {
    let mut level = Level::default();
    level.push(samples);
    level.rms_dbfs()
}

/// The level of a channel that is seen piece by piece.
#[derive(Debug, Clone, Copy, Default)]
pub struct Level {
    samples: u64,
    sum_of_squares: u128,
    peak: u16,
}

impl Level {
    /// Takes the next samples of the channel.
    pub fn push(&mut self, samples: &[i16]) {
        for &sample in samples {
            self.push_sample(sample);
        }
    }

    /// Takes the next sample of the channel.
    pub fn push_sample(&mut self, sample: i16) {
        let magnitude = sample.unsigned_abs();
        self.samples += 1;
        self.sum_of_squares += u128::from(magnitude) * u128::from(magnitude);
        self.peak = self.peak.max(magnitude);
    }

    /// Root-mean-square level of everything pushed, in dBFS, at least [`FLOOR_DBFS`].
    #[must_use]
    pub fn rms_dbfs(&self) -> f64 {
        dbfs((self.sum_of_squares as f64 / self.samples.max(1) as f64).sqrt())
    }

    /// The largest sample pushed, in dBFS, at least [`FLOOR_DBFS`].
    #[must_use]
    pub fn peak_dbfs(&self) -> f64 {
        dbfs(f64::from(self.peak))
    }
}

/// Where a known sound fits best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Sample of the searched sound at which the known one starts.
    pub offset: usize,
    /// Normalised correlation there, -1 to 1; 1 is the same sound at any positive level.
    pub correlation: f64,
}

/// Looks for `needle` in `hay`: the offset with the largest normalised correlation.
///
/// `None` when `needle` is empty, silent, or longer than `hay`. Stretches of silence in `hay`
/// correlate with nothing.
#[must_use]
pub fn correlate(needle: &[i16], hay: &[i16]) -> Option<Match> {
    let needle_energy = energy(needle);
    if needle_energy == 0.0 || needle.len() > hay.len() {
        return None;
    }
    let mut window_energy = energy(&hay[..needle.len()]);
    let mut best = Match {
        offset: 0,
        correlation: -1.0,
    };
    for (offset, dot) in sliding_dot(needle, hay).into_iter().enumerate() {
        let correlation = match window_energy >= 1.0 {
            true => (dot / (needle_energy * window_energy).sqrt()).clamp(-1.0, 1.0),
            false => 0.0,
        };
        if correlation > best.correlation {
            best = Match {
                offset,
                correlation,
            };
        }
        let entering = hay.get(offset + needle.len()).map_or(0.0, |&s| square(s));
        window_energy += entering - square(hay[offset]);
    }
    Some(best)
}

/// The dot product of `needle` with every stretch of `hay` as long as it, by FFT in blocks
/// (overlap-save), since searching a minute for a prompt takes 10^10 multiplications otherwise.
fn sliding_dot(needle: &[i16], hay: &[i16]) -> Vec<f64> {
    let size = (4 * needle.len()).next_power_of_two().max(1_024);
    let step = size - needle.len() + 1;
    let mut planner = RealFftPlanner::<f64>::new();
    let (forward, inverse) = (
        planner.plan_fft_forward(size),
        planner.plan_fft_inverse(size),
    );
    let mut time = vec![0.0; size];
    let mut spectrum = forward.make_output_vec();
    let transform = |samples: &[i16], time: &mut [f64], out: &mut [_]| {
        time.fill(0.0);
        for (slot, &sample) in time.iter_mut().zip(samples) {
            *slot = f64::from(sample);
        }
        forward
            .process(time, out)
            .expect("buffers come from this plan");
    };
    let mut needle_spectrum = forward.make_output_vec();
    transform(needle, &mut time, &mut needle_spectrum);
    let offsets = hay.len() - needle.len() + 1;
    let mut dots = Vec::with_capacity(offsets);
    for start in (0..offsets).step_by(step) {
        transform(&hay[start..], &mut time, &mut spectrum);
        for (bin, needle_bin) in spectrum.iter_mut().zip(&needle_spectrum) {
            *bin *= needle_bin.conj();
        }
        inverse
            .process(&mut spectrum, &mut time)
            .expect("products of real spectra are real ones");
        dots.extend(
            time[..step.min(offsets - start)]
                .iter()
                .map(|dot| dot / size as f64),
        );
    }
    dots
}

fn square(sample: i16) -> f64 {
    f64::from(sample) * f64::from(sample)
}

fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|&s| square(s)).sum()
}

fn dbfs(magnitude: f64) -> f64 {
    (20.0 * (magnitude / FULL_SCALE).log10()).max(FLOOR_DBFS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: f64, peak: f64, length: usize) -> Vec<i16> {
        let step = std::f64::consts::TAU * hz / 8_000.0;
        (0..length)
            .map(|at| (peak * (step * at as f64).sin()).round() as i16)
            .collect()
    }

    /// Uniform noise, the same for the same seed (Knuth's MMIX generator).
    fn noise(seed: u64, length: usize) -> Vec<i16> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 50) as i16 - 8_192
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn goertzel_reads_a_peak_and_rms_three_decibels_less() {
        for (peak, dbfs) in [(32_767.0, 0.0), (3_276.8, -20.0), (32.768, -60.0)] {
            let tone = sine(1_000.0, peak, 8_000);
            let read = goertzel_dbfs(&tone, 1_000.0);
            assert!((read - dbfs).abs() < 0.2, "{dbfs} read as {read}");
            assert!((rms_dbfs(&tone) - (dbfs - 3.01)).abs() < 0.2);
            assert!(goertzel_dbfs(&tone, 1_400.0) < dbfs - 40.0);
        }
    }

    #[test]
    fn goertzel_reads_the_same_at_other_rates() {
        // 6 kHz at 48 kHz are the samples of 1 kHz at 8 kHz.
        let tone = sine(1_000.0, 3_276.8, 8_000);
        let read = goertzel_dbfs_at(48_000, &tone, 6_000.0);
        assert_eq!(read, goertzel_dbfs(&tone, 1_000.0));
        assert!(goertzel_dbfs_at(48_000, &tone, 1_000.0) < -60.0);
    }

    #[test]
    fn silence_reads_the_floor() {
        for samples in [&[][..], &[0; 100][..]] {
            assert_eq!(goertzel_dbfs(samples, 1_400.0), FLOOR_DBFS);
            assert_eq!(rms_dbfs(samples), FLOOR_DBFS);
        }
        assert_eq!(Level::default().peak_dbfs(), FLOOR_DBFS);
    }

    #[test]
    fn a_level_is_the_same_whole_and_in_pieces() {
        let samples = noise(1, 10_001);
        let mut level = Level::default();
        samples.chunks(97).for_each(|piece| level.push(piece));
        assert_eq!(level.rms_dbfs(), rms_dbfs(&samples));
        level.push(&[i16::MIN]);
        assert_eq!(level.peak_dbfs(), 0.0);
    }

    #[test]
    fn a_known_sound_is_found_where_it_was_put() {
        let needle = noise(2, 1_200);
        for at in [0, 1, 4_000, 18_799, 18_800] {
            let mut hay: Vec<i16> = noise(3, 20_000).iter().map(|s| s / 8).collect();
            for (slot, sample) in hay[at..].iter_mut().zip(&needle) {
                *slot += sample / 2;
            }
            let found = correlate(&needle, &hay).expect("the needle fits");
            assert_eq!(found.offset, at);
            assert!(found.correlation > 0.95, "{found:?}");
        }
    }

    #[test]
    fn a_sound_equals_itself_and_the_opposite_is_not_found() {
        let needle = noise(4, 333);
        let found = correlate(&needle, &needle).expect("the needle fits");
        assert!(found.offset == 0 && found.correlation > 0.999_999);
        let opposite: Vec<i16> = needle.iter().map(|s| -s).collect();
        assert!(
            correlate(&needle, &opposite)
                .expect("the needle fits")
                .correlation
                < -0.99
        );
        let other = correlate(&needle, &noise(5, 50_000)).expect("the needle fits");
        assert!(other.correlation < 0.35, "{other:?}");
    }

    #[test]
    fn nothing_is_found_in_silence_or_by_nothing() {
        let found = correlate(&noise(6, 100), &[0; 1_000]).expect("the needle fits");
        assert_eq!(found.correlation, 0.0);
        assert_eq!(correlate(&[], &[1, 2, 3]), None);
        assert_eq!(correlate(&[0; 10], &noise(7, 100)), None);
        assert_eq!(correlate(&noise(8, 10), &noise(9, 9)), None);
    }

    #[test]
    fn every_offset_agrees_with_the_plain_sum() {
        let (needle, hay) = (noise(10, 50), noise(11, 3_000));
        let dots = sliding_dot(&needle, &hay);
        assert_eq!(dots.len(), 2_951);
        for (offset, dot) in dots.into_iter().enumerate() {
            let plain: f64 = needle
                .iter()
                .zip(&hay[offset..])
                .map(|(&a, &b)| f64::from(a) * f64::from(b))
                .sum();
            assert!((dot - plain).abs() < 1.0, "{offset}: {dot} for {plain}");
        }
    }
}
