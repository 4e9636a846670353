//! Finds in-band DTMF (ITU-T Q.23), with the tolerances of ITU-T Q.24.
//!
//! In what is kept, so that it can be masked, a [`Detector`] answers *where* somebody pressed a key and
//! never *which*: digits are card numbers and passwords, and what is never computed cannot be logged.
//! In a live call a [`LiveDetector`] stands in for telephone-events, and says which.
//!
//! 1. The sound is brought down to about 8 kHz by a linear-phase filter (`Decimator`).
//! 2. Every 2.5 ms, a Hann window of 25 ms is correlated with the eight frequencies. A window is
//!    *tonal* when the strongest of the low group and of the high group are loud enough, of about
//!    equal level, and hold most of its energy (`Spectrum`).
//! 3. How the phase turns between windows says by how much each frequency is off. A window is
//!    *steady* when its levels stand still and both frequencies are within tolerance.
//! 4. Tonal windows of the same two frequencies in a row, with enough steady ones and hardly
//!    any that stand still beside the frequencies, are a key press (`Run`).

mod decimator;
mod glance;
mod live;
mod spectrum;
#[cfg(test)]
mod tests;

use std::ops::Range;

use thiserror::Error;

pub use self::live::{Finding, LiveDetector, Pressed};

use self::decimator::Decimator;
use self::spectrum::{Spectrum, WINDOW_HOPS, Window};

/// No sample pushed this long ago, in milliseconds, can still become part of a new answer.
pub const LATENCY_MS: u32 = 600;

/// What the keys of both groups stand for as telephone-events, a row of the keypad each (RFC 4733 §3.2).
const EVENTS: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];

/// The frequencies of a key in Hz, the low one first; `None` for an event that is no key.
pub(crate) fn frequencies_hz(event: u8) -> Option<[f32; 2]> {
    let rows = EVENTS.iter().zip(spectrum::LOW_GROUP);
    rows.into_iter().find_map(|(row, low)| {
        let place = row.iter().position(|key| *key == event)?;
        Some([low, spectrum::HIGH_GROUP[place]])
    })
}

/// Rates in Hz that a [`Detector`] takes.
pub const RATES_HZ: [u32; 6] = [8_000, 12_000, 16_000, 24_000, 32_000, 48_000];

/// A tone that is held is answered in touching pieces of at most about so many hops (500 ms), so
/// that who masks a stream need not wait for its end.
const LONGEST_PIECE: u64 = 200;
/// Tonal windows of a key press, at least: between what 23 ms and what 40 ms give.
const LEAST_TONAL: u32 = 8;
/// Steady ones among them, at least.
const LEAST_STEADY: u32 = 5;
/// Hops that are answered beyond the tonal windows on either side: noise may hide the edges.
const MARGIN: u64 = 1;
/// Windows that may fail within a key press: an interruption of 10 ms and what of it
/// is still in the window 15 ms later.
const MOST_MISSED: u64 = 10;

/// A sample rate that is not one of [`RATES_HZ`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no DTMF is looked for at {rate_hz} Hz")]
pub struct UnsupportedRate {
    /// As given.
    pub rate_hz: u32,
}

/// Looks for DTMF in one channel, piece by piece.
///
/// Found with certainty: pairs of 40 ms or longer, frequencies within 1.5 %, the high group
/// between 8 dB below and 4 dB above the low one, each tone between -36 and 0 dBm0, with noise
/// 15 dB below. Not taken for DTMF: less than 23 ms, or a frequency that is off by 3.5 % or more.
pub struct Detector {
    decimator: Decimator,
    spectrum: Spectrum,
    /// Samples of the caller's in one hop.
    hop: u64,
    /// Decimated samples not yet passed by all windows.
    waiting: Vec<f32>,
    /// Windows looked at; number `n` begins at `n` hops after the first sample.
    windows: u64,
    run: Option<Run>,
    /// End of the newest answer.
    answered_until: u64,
    pushed: u64,
}

/// Tonal windows with the same two frequencies, one after the other.
struct Run {
    /// Which two: compared, never answered.
    pair: (u8, u8),
    /// First window, or the first one not answered yet.
    first: u64,
    /// Last tonal window.
    last: u64,
    tonal: u32,
    steady: u32,
    /// Windows that stand still at other frequencies than the nominal ones.
    beside: u32,
    answered: bool,
}

impl Run {
    /// A run that begins with this window.
    fn new(window: &Window, at: u64) -> Run {
        Run {
            pair: window.pair,
            first: at,
            last: at,
            tonal: 0,
            steady: 0,
            beside: 0,
            answered: false,
        }
    }

    /// Takes the window, the first one too.
    fn add(&mut self, window: &Window, at: u64) {
        self.last = at;
        self.tonal += 1;
        self.steady += u32::from(window.steady);
        self.beside += u32::from(window.beside);
    }

    fn is_key_press(&self) -> bool {
        self.tonal >= LEAST_TONAL && self.steady >= LEAST_STEADY && 2 * self.beside < self.steady
    }
}

impl Detector {
    /// A detector for a channel of `rate_hz` samples per second, one of [`RATES_HZ`].
    ///
    /// # Errors
    /// [`UnsupportedRate`].
    pub fn new(rate_hz: u32) -> Result<Self, UnsupportedRate> {
        if !RATES_HZ.contains(&rate_hz) {
            return Err(UnsupportedRate { rate_hz });
        }
        let factor = rate_hz / 8_000;
        let hop = rate_hz / spectrum::HOPS_PER_SECOND;
        Ok(Self {
            decimator: Decimator::new(factor as usize),
            spectrum: Spectrum::new(rate_hz / factor),
            hop: u64::from(hop),
            waiting: Vec::new(),
            windows: 0,
            run: None,
            answered_until: 0,
            pushed: 0,
        })
    }

    /// Takes the channel's next samples; appends the stretches of DTMF that are known to have
    /// ended, as ranges of samples counted from the first one pushed. They are in order, do not
    /// overlap, and reach at most 25 ms beyond the tone on either side.
    pub fn push(&mut self, samples: &[i16], found: &mut Vec<Range<u64>>) {
        self.pushed += samples.len() as u64;
        self.decimator.push(samples, &mut self.waiting);
        self.look(found);
    }

    /// Takes the end of the channel: appends a stretch that lasts until there.
    pub fn finish(mut self, found: &mut Vec<Range<u64>>) {
        // Silence lets the windows pass the last samples.
        let silence = vec![0; (2 * WINDOW_HOPS * self.hop) as usize];
        let length = self.pushed;
        self.push(&silence, found);
        self.close(found);
        // The silence is no part of the channel.
        if let Some(last) = found.last_mut() {
            last.end = last.end.min(length);
        }
    }

    /// Samples before this one will not be part of any stretch yet to be answered; it is at
    /// most [`LATENCY_MS`] behind the last sample pushed.
    #[must_use]
    pub fn settled(&self) -> u64 {
        let first = self.run.as_ref().map_or(self.windows, |run| run.first);
        self.begins(first).min(self.pushed)
    }

    fn look(&mut self, found: &mut Vec<Range<u64>>) {
        let (window, hop) = (self.spectrum.window_samples(), self.spectrum.hop_samples());
        let mut at = 0;
        while self.waiting.len() >= at + window {
            let seen = self.spectrum.look(&self.waiting[at..at + window]);
            self.follow(seen, found);
            self.windows += 1;
            at += hop;
        }
        self.waiting.drain(..at);
    }

    /// Continues, ends or begins a run with what window number `self.windows` shows.
    fn follow(&mut self, seen: Option<Window>, found: &mut Vec<Range<u64>>) {
        let at = self.windows;
        let over = self.run.as_ref().is_some_and(|run| match seen {
            // Another pair is another key, or no key at all.
            Some(window) => window.pair != run.pair,
            None => at - run.last > MOST_MISSED,
        });
        if over {
            self.close(found);
        }
        let Some(window) = seen else { return };
        let run = self.run.get_or_insert(Run::new(&window, at));
        run.add(&window, at);
        if at >= run.first + LONGEST_PIECE {
            self.answer_piece(found);
        }
    }

    /// Answers what there is of a long run, so that nobody waits for its end.
    fn answer_piece(&mut self, found: &mut Vec<Range<u64>>) {
        let Some(run) = self.run.as_mut().filter(|run| run.is_key_press()) else {
            self.run = None;
            return;
        };
        let piece = (run.first, run.last);
        // The next piece begins where this one ends, and needs no more proof.
        run.first = run.last + WINDOW_HOPS + MARGIN;
        run.answered = true;
        self.answer(piece, found);
    }

    fn close(&mut self, found: &mut Vec<Range<u64>>) {
        if let Some(run) = self.run.take()
            && (run.answered || run.is_key_press())
        {
            self.answer((run.first, run.last), found);
        }
    }

    /// Answers from the start of window `first` to the end of window `last`, and a little more.
    fn answer(&mut self, (first, last): (u64, u64), found: &mut Vec<Range<u64>>) {
        let from = self.begins(first);
        let until = (last + WINDOW_HOPS + MARGIN) * self.hop;
        if from < until {
            self.answered_until = until;
            found.push(from..until);
        }
    }

    /// Where a stretch begins whose first window is number `first`.
    fn begins(&self, first: u64) -> u64 {
        let from = first.saturating_sub(MARGIN) * self.hop;
        from.max(self.answered_until)
    }
}
