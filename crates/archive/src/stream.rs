//! One channel's sound on its way from a codec's sample rate to the file's, by ticks.
//!
//! 1. Sound and silence are appended in order; `at` says up to which tick.
//! 2. Whatever the rates, what ends at tick `t` ends at sample `t * rate / 8000` of the file exactly.
//! 3. Long silence is a number, not samples: hours of it cost nothing.

use crate::format::SAMPLE_RATE_HZ;
use duolog_audio::resample::{ResampleError, Resampler};
use std::collections::VecDeque;

/// Silence from this on ends a stretch of one rate, in ticks: 0.5 s.
const LONG_SILENCE: u64 = 4_000;

/// Finished sound of one channel, at the file's rate.
#[derive(Debug)]
pub(crate) enum Piece {
    Samples(Vec<i16>),
    Silence(u64),
}

/// A channel's sound in the making.
pub(crate) struct Stream {
    rate_hz: u32,
    /// The first tick that nothing was said about.
    at: u64,
    stretch: Option<Stretch>,
    ready: VecDeque<Piece>,
    /// Samples of the first ready piece that were taken.
    taken: usize,
}

/// Sound of one rate without a long silence.
struct Stretch {
    rate_hz: u32,
    begin: u64,
    /// Samples of its own rate that were put in.
    put: u64,
    /// Samples of the file's rate that came out.
    came: u64,
    last: i16,
    /// None when the rates are the same.
    resampler: Option<Resampler>,
}

impl Stretch {
    /// Samples that are wanted so that it ends at tick `until`.
    fn wanted(&self, until: u64) -> usize {
        let end = samples_until(until - self.begin, self.rate_hz);
        end.saturating_sub(self.put) as usize
    }
}

/// Samples in so many ticks, rounded.
fn samples_until(ticks: u64, rate_hz: u32) -> u64 {
    let second = u64::from(SAMPLE_RATE_HZ);
    (ticks * u64::from(rate_hz) + second / 2) / second
}

impl Stream {
    /// Rates of files are whole multiples of 8,000 Hz.
    pub(crate) fn new(rate_hz: u32) -> Stream {
        Stream {
            rate_hz,
            at: 0,
            stretch: None,
            ready: VecDeque::new(),
            taken: 0,
        }
    }

    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Samples of `rate_hz` from here to tick `until`, if they carry on what is there.
    pub(crate) fn wanted(&self, until: u64, rate_hz: u32) -> usize {
        match &self.stretch {
            Some(stretch) if stretch.rate_hz == rate_hz => stretch.wanted(until),
            _ => samples_until(until.saturating_sub(self.at), rate_hz) as usize,
        }
    }

    /// Appends sound that ends at tick `until`; what is too much is left out, what is too little is made
    /// up by holding the last sample.
    pub(crate) fn sound(
        &mut self,
        until: u64,
        rate_hz: u32,
        samples: &[i16],
    ) -> Result<(), ResampleError> {
        if until <= self.at {
            return Ok(());
        }
        if self.stretch.as_ref().is_none_or(|s| s.rate_hz != rate_hz) {
            self.end_stretch();
            self.stretch = Some(Stretch {
                rate_hz,
                begin: self.at,
                put: 0,
                came: 0,
                last: 0,
                resampler: match rate_hz == self.rate_hz {
                    true => None,
                    false => Some(Resampler::new(rate_hz, self.rate_hz)?),
                },
            });
        }
        let wanted = self.wanted(until, rate_hz);
        self.put(&samples[..wanted.min(samples.len())]);
        self.hold_to(until);
        Ok(())
    }

    /// Bridges to tick `until` by holding the last sample.
    pub(crate) fn hold(&mut self, until: u64) {
        match self.stretch {
            Some(_) => self.hold_to(until),
            None => self.silence(until),
        }
    }

    /// Appends silence up to tick `until`.
    pub(crate) fn silence(&mut self, until: u64) {
        if until <= self.at {
            return;
        }
        if until - self.at >= LONG_SILENCE {
            self.end_stretch();
        }
        match &mut self.stretch {
            Some(stretch) => {
                stretch.last = 0;
                self.hold_to(until);
            }
            None => {
                let ticks = until - self.at;
                let samples = ticks * u64::from(self.rate_hz / SAMPLE_RATE_HZ);
                self.at = until;
                match self.ready.back_mut() {
                    Some(Piece::Silence(more)) => *more += samples,
                    _ => self.ready.push_back(Piece::Silence(samples)),
                }
            }
        }
    }

    /// Ends what is under way, so that all of it is ready.
    pub(crate) fn end_stretch(&mut self) {
        let Some(mut stretch) = self.stretch.take() else {
            return;
        };
        let Some(resampler) = &mut stretch.resampler else {
            return;
        };
        let mut rest = Vec::new();
        resampler.finish(&mut rest);
        let whole = samples_until(self.at - stretch.begin, self.rate_hz);
        let wanted = whole.saturating_sub(stretch.came) as usize;
        let last = rest.last().copied().unwrap_or(stretch.last);
        rest.resize(wanted, last);
        self.give(rest);
    }

    /// The next sound that is ready: how many samples, and whether they are silence.
    pub(crate) fn front(&self) -> Option<(u64, Quiet)> {
        self.ready.front().map(|piece| match piece {
            Piece::Samples(samples) => ((samples.len() - self.taken) as u64, Quiet::No),
            Piece::Silence(samples) => (*samples, Quiet::Yes),
        })
    }

    /// Takes `samples` of the first ready piece, which has that many.
    pub(crate) fn take(&mut self, samples: u64, out: &mut Vec<i16>) {
        out.clear();
        let used = match self.ready.front_mut() {
            None => return,
            Some(Piece::Silence(left)) => {
                out.resize(samples as usize, 0);
                *left -= samples;
                *left == 0
            }
            Some(Piece::Samples(piece)) => {
                let end = self.taken + samples as usize;
                out.extend_from_slice(&piece[self.taken..end]);
                self.taken = end;
                end == piece.len()
            }
        };
        if used {
            self.ready.pop_front();
            self.taken = 0;
        }
    }

    /// Leaves out `samples` of a first ready piece that is silence.
    pub(crate) fn skip_silence(&mut self, samples: u64) {
        if let Some(Piece::Silence(left)) = self.ready.front_mut() {
            *left = left.saturating_sub(samples);
            if *left == 0 {
                self.ready.pop_front();
            }
        }
    }

    fn hold_to(&mut self, until: u64) {
        let Some(stretch) = &self.stretch else {
            return;
        };
        let held = vec![stretch.last; stretch.wanted(until)];
        self.put(&held);
        self.at = self.at.max(until);
    }

    fn put(&mut self, samples: &[i16]) {
        let Some(stretch) = &mut self.stretch else {
            return;
        };
        stretch.put += samples.len() as u64;
        stretch.last = samples.last().copied().unwrap_or(stretch.last);
        let mut out = Vec::with_capacity(samples.len());
        match &mut stretch.resampler {
            Some(resampler) => resampler.push(samples, &mut out),
            None => out.extend_from_slice(samples),
        }
        stretch.came += out.len() as u64;
        self.give(out);
    }

    fn give(&mut self, samples: Vec<i16>) {
        if !samples.is_empty() {
            self.ready.push_back(Piece::Samples(samples));
        }
    }
}

/// Whether a piece is nothing but silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quiet {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut stream: Stream) -> Vec<i16> {
        stream.end_stretch();
        let (mut all, mut piece) = (Vec::new(), Vec::new());
        while let Some((samples, _)) = stream.front() {
            stream.take(samples.min(100), &mut piece);
            all.extend_from_slice(&piece);
        }
        all
    }

    #[test]
    fn sound_of_the_files_own_rate_is_copied() {
        let mut stream = Stream::new(8_000);
        stream.silence(3);
        stream.sound(6, 8_000, &[1, 2, 3, 4]).unwrap();
        stream.hold(8);
        stream.silence(9);
        stream.sound(12, 8_000, &[7]).unwrap();
        assert_eq!(stream.at(), 12);
        assert_eq!(all(stream), [0, 0, 0, 1, 2, 3, 3, 3, 0, 7, 7, 7]);
    }

    #[test]
    fn every_tick_has_its_samples_whatever_the_rates() {
        for file in [8_000, 16_000, 24_000, 48_000] {
            for native in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000] {
                let mut stream = Stream::new(file);
                stream.silence(1_000);
                for packet in 0..9 {
                    let samples = vec![100; native as usize / 50];
                    stream
                        .sound(1_160 + packet * 160, native, &samples)
                        .unwrap();
                }
                stream.silence(9_000_000);
                stream.sound(9_000_160, 8_000, &[5; 160]).unwrap();
                stream.end_stretch();
                let mut samples = 0;
                while let Some((more, quiet)) = stream.front() {
                    match quiet {
                        Quiet::Yes => stream.skip_silence(more),
                        Quiet::No => stream.take(more, &mut Vec::new()),
                    }
                    samples += more;
                }
                let wanted = 9_000_160 * u64::from(file) / 8_000;
                assert_eq!(samples, wanted, "{native} to {file}");
            }
        }
    }
}
