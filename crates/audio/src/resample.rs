//! From one sample rate to another, streaming.
//!
//! Two kinds: [`Resampler::new`] for recordings keeps every sample at its instant; for a relay
//! [`Resampler::low_delay`] gives what it can at once.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};
use thiserror::Error;

/// The rates that are converted into each other, in Hz.
pub const RATES_HZ: [u32; 9] = crate::codec::Codec::L16_RATES_HZ;

/// Samples that a block has at least at the lower rate: passes 97 % of the band.
const EXACT_BLOCK: usize = 512;
/// Blocks of a low-delay resampler last this, or a little more where the rates ask for it.
const SHORT_BLOCK_MS: u32 = 10;

/// Two rates that are not converted into each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{from_hz} Hz is not resampled to {to_hz} Hz")]
pub struct ResampleError {
    /// As asked, in Hz.
    pub from_hz: u32,
    /// As asked, in Hz.
    pub to_hz: u32,
}

/// Resamples one channel. After the first pushes nothing is allocated, as long as the vector that
/// is passed has room. Equal rates copy.
pub struct Resampler {
    from_hz: u32,
    to_hz: u32,
    /// `None` when the rates are equal.
    blocks: Option<Blocks>,
    /// Output samples that are still to be dropped at the beginning.
    skip: usize,
    /// Samples behind the last input sample that still belong to it, at the output's rate.
    lag: usize,
    taken: u64,
    given: u64,
}

/// Equal blocks in, equal blocks out.
struct Blocks {
    inner: Fft<f32>,
    input: Vec<f32>,
    filled: usize,
    output: Vec<f32>,
}

impl Resampler {
    /// Sample 0 of the output is the instant of sample 0 of the input. The output comes in blocks
    /// of 10 to 80 ms; up to 4 % below the lower rate's Nyquist frequency everything passes.
    ///
    /// # Errors
    /// [`ResampleError`] unless both rates are among [`RATES_HZ`].
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, ResampleError> {
        let low = from_hz.min(to_hz).max(1);
        let wanted = EXACT_BLOCK as u64 * u64::from(from_hz) / u64::from(low);
        // An even number of samples on both sides makes the delay a whole one.
        let even = 2 * from_hz as usize / common_divisor(from_hz, to_hz) as usize;
        let block = (wanted as usize).next_multiple_of(even.max(1));
        let mut made = Self::of_blocks(from_hz, to_hz, block, WindowFunction::BlackmanHarris2)?;
        made.skip = made.delay_of_blocks();
        Ok(made)
    }

    /// What comes in blocks of 10 ms goes out at once, [`Resampler::delay_samples`] late: half a
    /// block, 5 ms, to within half a sample. (With 11,025 and 22,050 Hz blocks are up to 40 ms.)
    ///
    /// # Errors
    /// [`ResampleError`] unless both rates are among [`RATES_HZ`].
    pub fn low_delay(from_hz: u32, to_hz: u32) -> Result<Self, ResampleError> {
        let block = (from_hz * SHORT_BLOCK_MS / 1_000) as usize;
        let mut made = Self::of_blocks(from_hz, to_hz, block, WindowFunction::Blackman)?;
        made.lag = made.delay_of_blocks();
        Ok(made)
    }

    fn of_blocks(
        from_hz: u32,
        to_hz: u32,
        block: usize,
        window: WindowFunction,
    ) -> Result<Self, ResampleError> {
        let unknown = ResampleError { from_hz, to_hz };
        if !RATES_HZ.contains(&from_hz) || !RATES_HZ.contains(&to_hz) {
            return Err(unknown);
        }
        let blocks = match from_hz == to_hz {
            true => None,
            false => {
                let (from, to) = (from_hz as usize, to_hz as usize);
                let inner = Fft::new_custom(from, to, block, 1, 1, window, FixedSync::Both);
                let inner = inner.map_err(|_| unknown)?;
                Some(Blocks {
                    input: vec![0.0; inner.input_frames_next()],
                    filled: 0,
                    output: vec![0.0; inner.output_frames_next()],
                    inner,
                })
            }
        };
        Ok(Self {
            from_hz,
            to_hz,
            blocks,
            skip: 0,
            lag: 0,
            taken: 0,
            given: 0,
        })
    }

    fn delay_of_blocks(&self) -> usize {
        self.blocks.as_ref().map_or(0, |b| b.inner.output_delay())
    }

    /// How much later than its instant a sample comes out, in samples of the output: 0 unless the
    /// resampler is a low-delay one.
    #[must_use]
    pub fn delay_samples(&self) -> usize {
        self.lag
    }

    /// Takes the next samples; appends what can be told already.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        self.taken += samples.len() as u64;
        let start = out.len();
        match &mut self.blocks {
            None => out.extend_from_slice(samples),
            Some(blocks) => blocks.push(samples, &mut self.skip, out),
        }
        self.given += (out.len() - start) as u64;
    }

    /// Appends the rest: the whole stream is then round(input × to / from) samples long, a
    /// low-delay one by [`Resampler::delay_samples`] longer. The next push begins another stream.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        let (from, to) = (u64::from(self.from_hz), u64::from(self.to_hz));
        let whole = (self.taken * to + from / 2) / from;
        let whole = if self.taken == 0 {
            0
        } else {
            whole + self.lag as u64
        };
        let missing = whole.saturating_sub(self.given) as usize;
        let end = out.len() + missing;
        if let Some(blocks) = &mut self.blocks {
            while out.len() < end {
                let rest = blocks.input.len() - blocks.filled;
                blocks.input[blocks.filled..].fill(0.0);
                blocks.filled += rest;
                blocks.convert(&mut self.skip, out);
            }
        }
        out.truncate(end);
        self.forget();
    }

    /// Drops what is under way: the next push begins another stream.
    pub fn forget(&mut self) {
        (self.taken, self.given) = (0, 0);
        let delay = self.delay_of_blocks();
        self.skip = delay - self.lag;
        if let Some(blocks) = &mut self.blocks {
            blocks.filled = 0;
            blocks.inner.reset();
        }
    }
}

impl Blocks {
    fn push(&mut self, mut samples: &[i16], skip: &mut usize, out: &mut Vec<i16>) {
        while !samples.is_empty() {
            let room = self.input.len() - self.filled;
            let (now, later) = samples.split_at(room.min(samples.len()));
            for (slot, &sample) in self.input[self.filled..].iter_mut().zip(now) {
                *slot = f32::from(sample);
            }
            self.filled += now.len();
            samples = later;
            if self.filled == self.input.len() {
                self.convert(skip, out);
            }
        }
    }

    /// Converts the input, which is full, and begins an empty one.
    fn convert(&mut self, skip: &mut usize, out: &mut Vec<i16>) {
        self.filled = 0;
        let (frames_in, frames_out) = (self.input.len(), self.output.len());
        let fits = "one channel of as many frames as samples";
        let input = InterleavedSlice::new(&self.input, 1, frames_in).expect(fits);
        let mut output = InterleavedSlice::new_mut(&mut self.output, 1, frames_out).expect(fits);
        self.inner
            .process_into_buffer(&input, &mut output, None)
            .expect("both blocks have the lengths that were asked for");
        let dropped = (*skip).min(frames_out);
        *skip -= dropped;
        // Saturates at full scale.
        out.extend(self.output[dropped..].iter().map(|s| s.round() as i16));
    }
}

fn common_divisor(a: u32, b: u32) -> u32 {
    match b {
        0 => a,
        _ => common_divisor(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: u32, length: usize) -> Vec<i16> {
        let step = std::f64::consts::TAU * hz / f64::from(rate);
        (0..length)
            .map(|n| (10_000.0 * (step * n as f64).sin()).round() as i16)
            .collect()
    }

    fn every_pair() -> impl Iterator<Item = (u32, u32)> {
        RATES_HZ
            .into_iter()
            .flat_map(|from| RATES_HZ.map(|to| (from, to)))
    }

    /// Power of the difference against power of `right`, in dB, away from the edges.
    fn error_db(left: &[i16], right: &[i16]) -> f64 {
        let edge = right.len() / 8;
        let middle = edge..right.len() - edge;
        let power = |s: &mut dyn Iterator<Item = f64>| s.map(|s| s * s).sum::<f64>();
        let pairs = left[middle.clone()].iter().zip(&right[middle.clone()]);
        let error = power(&mut pairs.map(|(&l, &r)| f64::from(l) - f64::from(r)));
        let signal = power(&mut right[middle].iter().map(|&r| f64::from(r)));
        10.0 * (error / signal).log10()
    }

    #[test]
    fn every_sample_stands_at_its_instant_at_every_pair_of_rates() {
        for (from, to) in every_pair() {
            for hz in [300.0, 1_000.0, 3_400.0] {
                let mut resampler = Resampler::new(from, to).expect("known rates");
                let mut out = Vec::new();
                for piece in tone(hz, from, from as usize).chunks(from as usize / 50) {
                    resampler.push(piece, &mut out);
                }
                resampler.finish(&mut out);
                let error = error_db(&out, &tone(hz, to, to as usize));
                assert!(error < -60.0, "{from} to {to}: {hz} Hz off by {error} dB");
            }
        }
    }

    #[test]
    fn the_length_is_the_rounded_one_whatever_the_pieces() {
        for (from, to) in every_pair() {
            let mut resampler = Resampler::new(from, to).expect("known rates");
            for length in [0, 1, 2, 79, 441, 5_001] {
                let sound = tone(500.0, from, length);
                let (mut whole, mut pieces) = (Vec::new(), vec![7]);
                resampler.push(&sound, &mut whole);
                resampler.finish(&mut whole);
                let exact = (length as f64 * f64::from(to) / f64::from(from)).round();
                assert_eq!(whole.len(), exact as usize, "{from} to {to}: {length}");
                sound
                    .chunks(13)
                    .for_each(|piece| resampler.push(piece, &mut pieces));
                resampler.finish(&mut pieces);
                assert_eq!(pieces[1..], whole, "{from} to {to}: {length}");
            }
        }
    }

    #[test]
    fn a_low_delay_resampler_answers_at_once_and_late_by_what_it_says() {
        for (from, to) in every_pair() {
            let mut resampler = Resampler::low_delay(from, to).expect("known rates");
            let delay = resampler.delay_samples();
            let odd = [11_025, 22_050].contains(&from) || [11_025, 22_050].contains(&to);
            let longest_ms = if odd { 21 } else { 5 };
            assert!(
                delay <= (to * longest_ms / 1_000) as usize + 1,
                "{from} to {to}: {delay}"
            );
            let mut out = Vec::new();
            let sound = tone(1_000.0, from, from as usize);
            for (at, piece) in sound.chunks(from as usize / 50).enumerate() {
                resampler.push(piece, &mut out);
                let due = to as usize * (at + 1) / 50;
                let kept_back = if odd { to as usize / 25 } else { 0 };
                assert!(
                    out.len() + kept_back >= due,
                    "{from} to {to} at {at}: {}",
                    out.len()
                );
            }
            resampler.finish(&mut out);
            assert_eq!(out.len(), to as usize + delay);
            // Blocks of 441 samples are late by half a sample more than can be said.
            if !odd && from != 44_100 && to != 44_100 {
                let error = error_db(&out[delay..], &tone(1_000.0, to, to as usize));
                assert!(error < -45.0, "{from} to {to}: off by {error} dB");
            }
        }
    }

    #[test]
    fn what_is_above_the_lower_band_does_not_come_back_below() {
        let sound = tone(5_000.0, 48_000, 48_000);
        for made in [
            Resampler::new(48_000, 8_000),
            Resampler::low_delay(48_000, 8_000),
        ] {
            let (mut resampler, mut out) = (made.expect("known rates"), Vec::new());
            resampler.push(&sound, &mut out);
            let level = crate::measure::rms_dbfs(&out[1_000..]);
            assert!(level < -75.0, "{level} dBFS");
        }
    }

    #[test]
    fn other_rates_are_refused() {
        for (from_hz, to_hz) in [(0, 8_000), (8_000, 0), (8_000, 96_000), (7_999, 7_999)] {
            let refused = Some(ResampleError { from_hz, to_hz });
            assert_eq!(Resampler::new(from_hz, to_hz).err(), refused);
            assert_eq!(Resampler::low_delay(from_hz, to_hz).err(), refused);
        }
    }

    #[test]
    fn full_scale_saturates_instead_of_wrapping() {
        let (mut resampler, mut out) = (Resampler::new(8_000, 48_000).expect("known"), Vec::new());
        let square: Vec<i16> = (0..8_000)
            .map(|n| if n / 10 % 2 == 0 { i16::MAX } else { i16::MIN })
            .collect();
        resampler.push(&square, &mut out);
        let jumps = out
            .windows(2)
            .map(|w| (i32::from(w[0]) - i32::from(w[1])).abs());
        assert!(jumps.max().is_some_and(|jump| jump < 30_000));
    }
}
