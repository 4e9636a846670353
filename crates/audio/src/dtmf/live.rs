//! Hears keys while they are pressed, packet by packet, so that who relays can keep their sound back.
//!
//! 1. A packet whose last 12.5 ms are filled by a key ([`Glance`]) is *suspected*.
//! 2. The next one goes the same way if the tones go on and windows of 25 ms are steady by then, as
//!    every key's are ([`Spectrum`]); a suspicion never outlives a packet otherwise.
//! 3. A key that was proved is kept back until no part of a packet has it any more.
//! 4. What counts as a key press is what [`Detector`](super::Detector) finds.

use super::decimator::Decimator;
use super::glance::Glance;
use super::spectrum::{self, LOW_GROUP, Spectrum, WINDOW_HOPS, Window};
use super::{EVENTS, LEAST_TONAL, MOST_MISSED, Run};

/// What every key has after its first packet and a part of the second: steady windows among tonal ones.
const PROOF: (u32, u32) = (3, 1);
/// How long a suspicion may last without proof, in milliseconds, where packets are shorter.
const LONGEST_SUSPICION_MS: u64 = 20;
/// How much of a key is in no tonal window at each side, in windows: measured over all keys.
const UNSEEN: u64 = 4;

/// A key press that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressed {
    /// As a telephone-event: 0 to 9, 10 for *, 11 for #, 12 to 15 for A to D.
    pub event: u8,
    /// How long it was held, in milliseconds, to within 10; saturates.
    pub duration_ms: u16,
}

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// There is no key in it, or less than anybody takes for one.
    Clear,
    /// A key sounds in it, or may.
    Key,
}

/// Looks for keys in one party's live sound; see [`dtmf`](super) for what is found.
///
/// Of a key that is to be kept back up to 13 ms are in packets that were clear: less than anybody
/// takes for a key (ITU-T Q.24).
pub struct LiveDetector {
    decimator: Decimator,
    spectrum: Spectrum,
    glance: Glance,
    /// The rate that is looked at, in Hz, and how many given samples make one.
    rate_hz: u32,
    factor: u32,
    /// Samples not yet passed by all windows.
    waiting: Vec<f32>,
    /// Windows looked at or skipped.
    windows: u64,
    run: Option<Run>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Quiet,
    /// A key may have begun; so much of it was kept back, in milliseconds.
    Suspected {
        pair: (u8, u8),
        kept_back_ms: u64,
    },
    Key {
        pair: (u8, u8),
    },
}

/// What the glances at a packet show.
#[derive(Default)]
struct Glimpses {
    /// The key that fills its end.
    tail: Option<(u8, u8)>,
    /// Whether the key that was there before is in some of it.
    goes_on: bool,
}

impl LiveDetector {
    /// A detector for sound of `rate_hz` samples per second, 8,000 to 48,000.
    #[must_use]
    pub fn new(rate_hz: u32) -> Self {
        let factor = (rate_hz / 8_000).max(1);
        let rate_hz = rate_hz / factor;
        Self {
            decimator: Decimator::new(factor as usize),
            spectrum: Spectrum::new(rate_hz),
            glance: Glance::new(rate_hz),
            rate_hz,
            factor,
            waiting: Vec::new(),
            windows: 0,
            run: None,
            state: State::Quiet,
        }
    }

    /// Takes a packet's samples, which follow those before; appends the key that was released, if one
    /// was: some 25 ms after its end.
    pub fn push(&mut self, samples: &[i16], pressed: &mut Vec<Pressed>) -> Finding {
        let known = self.waiting.len();
        self.decimator.push(samples, &mut self.waiting);
        let glimpses = self.glimpse(known);
        let heard = self.look(pressed);
        let length_ms = (samples.len() as u64 * 1_000) / u64::from(self.rate_hz * self.factor);
        self.decide(glimpses, heard, length_ms)
    }

    /// So many samples are missing: a key that was there before them and is behind them is one key.
    pub fn skip(&mut self, samples: u64) {
        let hop = self.spectrum.hop_samples() as u64;
        let hops = (samples / u64::from(self.factor) + self.waiting.len() as u64) / hop;
        self.waiting.clear();
        self.spectrum.forget();
        self.windows += hops;
        if let Some(run) = &mut self.run {
            run.last += hops;
        }
    }

    /// The sound has stopped: the key that was still held, if one was.
    pub fn release(&mut self) -> Option<Pressed> {
        self.waiting.clear();
        self.spectrum.forget();
        self.state = State::Quiet;
        self.close()
    }

    /// Whether a key is or may be held.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.run.is_some() || self.state != State::Quiet
    }

    /// Looks at the windows that end in what is new, which begins at `known`.
    fn glimpse(&self, known: usize) -> Glimpses {
        let (length, end) = (self.glance.samples(), self.waiting.len());
        if end < length || end == known {
            return Glimpses {
                tail: None,
                // Behind a hole there is not enough yet to say otherwise.
                goes_on: self.state != State::Quiet,
            };
        }
        let tail = self.glance.look(&self.waiting[end - length..]);
        let Some(pair) = self.state.pair() else {
            return Glimpses {
                tail,
                goes_on: false,
            };
        };
        let hop = self.spectrum.hop_samples();
        let mut ends = (known.max(length - hop) + hop..end).step_by(hop);
        let goes_on = tail == Some(pair)
            || ends.any(|end| self.glance.look(&self.waiting[end - length..end]) == Some(pair));
        Glimpses { tail, goes_on }
    }

    /// Passes the windows; the key that they prove to be in this packet.
    fn look(&mut self, pressed: &mut Vec<Pressed>) -> Option<(u8, u8)> {
        let (window, hop) = (self.spectrum.window_samples(), self.spectrum.hop_samples());
        let (first, mut at) = (self.windows, 0);
        let mut proved = None;
        while self.waiting.len() >= at + window {
            let seen = self.spectrum.look(&self.waiting[at..at + window]);
            pressed.extend(self.follow(seen));
            self.windows += 1;
            at += hop;
            let run = self
                .run
                .as_ref()
                .filter(|run| run.is_proved() && run.last >= first);
            proved = run.map(|run| run.pair).or(proved);
        }
        self.waiting.drain(..at);
        proved
    }

    /// Continues, ends or begins a run with what window number `self.windows` shows.
    fn follow(&mut self, seen: Option<Window>) -> Option<Pressed> {
        let at = self.windows;
        let over = self.run.as_ref().is_some_and(|run| match seen {
            Some(window) => window.pair != run.pair,
            None => at - run.last > MOST_MISSED,
        });
        let pressed = match over {
            true => self.close(),
            false => None,
        };
        if let Some(window) = seen {
            self.run
                .get_or_insert(Run::new(&window, at))
                .add(&window, at);
        }
        pressed
    }

    fn close(&mut self) -> Option<Pressed> {
        let run = self.run.take().filter(Run::is_key_press)?;
        let (low, high) = run.pair;
        let hops = (run.last - run.first + WINDOW_HOPS).saturating_sub(UNSEEN);
        let duration_ms = hops * 1_000 / u64::from(spectrum::HOPS_PER_SECOND);
        Some(Pressed {
            event: EVENTS[usize::from(low)][usize::from(high) - LOW_GROUP.len()],
            duration_ms: u16::try_from(duration_ms).unwrap_or(u16::MAX),
        })
    }

    fn decide(&mut self, seen: Glimpses, proved: Option<(u8, u8)>, length_ms: u64) -> Finding {
        let suspect = |kept_back_ms| {
            let suspected = |pair| State::Suspected { pair, kept_back_ms };
            seen.tail.map_or(State::Quiet, suspected)
        };
        self.state = match self.state {
            State::Quiet => match (proved, seen.tail) {
                // A key that began in this packet, and may have ended in it.
                (Some(pair), _) => State::Key { pair },
                _ => suspect(length_ms),
            },
            State::Suspected { pair, kept_back_ms } => match seen.goes_on {
                true if proved == Some(pair) => State::Key { pair },
                true if kept_back_ms + length_ms <= LONGEST_SUSPICION_MS => {
                    let kept_back_ms = kept_back_ms + length_ms;
                    State::Suspected { pair, kept_back_ms }
                }
                // It was nothing, and is nothing because it goes on.
                _ if seen.tail == Some(pair) => State::Quiet,
                _ => suspect(length_ms),
            },
            State::Key { pair } if seen.goes_on || self.still_sounds(pair) => State::Key { pair },
            State::Key { .. } => suspect(length_ms),
        };
        match self.state {
            State::Quiet => Finding::Clear,
            State::Suspected { .. } | State::Key { .. } => Finding::Key,
        }
    }

    /// Whether the newest window is tonal: the codec may have made a key too rough for a glance.
    fn still_sounds(&self, pair: (u8, u8)) -> bool {
        let run = self.run.as_ref().filter(|run| run.pair == pair);
        run.is_some_and(|run| run.last + 1 == self.windows && run.tonal >= LEAST_TONAL)
    }
}

impl State {
    fn pair(self) -> Option<(u8, u8)> {
        match self {
            State::Quiet => None,
            State::Suspected { pair, .. } | State::Key { pair } => Some(pair),
        }
    }
}

impl Run {
    fn is_proved(&self) -> bool {
        let (tonal, steady) = PROOF;
        self.tonal >= tonal && self.steady >= steady && self.beside <= self.steady
    }
}
