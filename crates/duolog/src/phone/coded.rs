//! The coded voice: every 100 ms of it says which party speaks and which 100 ms it is.
//!
//! A slot is 800 samples at 8 kHz and carries six tones at once, one of each group, all on a 50 Hz
//! grid, so that every 20 ms of a slot already holds whole periods of each of them:
//!
//! | group | tones, Hz | says |
//! | --- | --- | --- |
//! | pilot | 500 to 650 | the party, 0 to 3 |
//! | digit 0 | 700 to 900, 1,100 to 1,200 | lowest octal digit of the scrambled slot number |
//! | digit 1 | 1,250, 1,550 to 1,850 | |
//! | digit 2 | 1,900 to 2,250 | |
//! | digit 3 | 2,300 to 2,650 | highest octal digit |
//! | parity | 2,700 to 3,050 | the sum of the digits and the party, modulo 8 |
//!
//! 1,000 Hz (the beep) and 1,400 Hz (the repeat tone) are left free, so either can be measured
//! beside the code. The scramble makes neighbouring slots differ in every digit and in the parity.
//! The reading side is [`super::sighting`].

use duolog_audio::g711::{self, Law};

/// Samples in a slot: 100 ms at 8 kHz.
pub const SLOT_SAMPLES: usize = 800;
/// After this many slots (409.6 s) the numbers begin again.
pub const SLOTS: u16 = 4_096;
/// How many parties can be told apart by their pilot.
pub const PARTIES: u8 = 4;

/// Every tone's whole number of periods in 8,000 samples divides by 50: one period table serves all.
pub(super) const PERIOD: usize = 160;
/// Tones in a slot, one of each group.
pub(super) const GROUPS: usize = 6;
/// Raised cosine at both ends of a slot, 15 ms: short enough to time an edge, long enough to keep
/// the slots' edges from sounding 100 Hz and more beside their tones.
const RAMP: usize = 120;
/// Peak of one tone of six: -15 dBFS together, where 0 dBFS is the power of a full-scale sine.
const TONE_PEAK: f32 = 32_768.0 * 0.0726;
/// 0o1111: adding it changes every octal digit, so neighbouring slots share only the pilot.
const SCRAMBLE: u16 = 0o1111;

/// A tone by its place on the grid: the frequency is 50 Hz times the number.
pub(super) type Grid = u8;

const PILOT: [Grid; 4] = [10, 11, 12, 13];
const DIGITS: [[Grid; 8]; 4] = [
    [14, 15, 16, 17, 18, 22, 23, 24],
    [25, 31, 32, 33, 34, 35, 36, 37],
    [38, 39, 40, 41, 42, 43, 44, 45],
    [46, 47, 48, 49, 50, 51, 52, 53],
];
const PARITY: [Grid; 8] = [54, 55, 56, 57, 58, 59, 60, 61];

/// The tones of each group, pilot first and parity last.
pub(super) fn groups() -> [&'static [Grid]; GROUPS] {
    [
        &PILOT, &DIGITS[0], &DIGITS[1], &DIGITS[2], &DIGITS[3], &PARITY,
    ]
}

/// Which tone of each group a slot of a party carries.
pub(super) fn digits_of(party: u8, slot: u16) -> [usize; GROUPS] {
    let word = slot.wrapping_mul(SCRAMBLE) % SLOTS;
    let digit = |place: u16| usize::from(word >> (3 * place) & 7);
    let digits = [digit(0), digit(1), digit(2), digit(3)];
    let parity = (digits.iter().sum::<usize>() + usize::from(party)) % 8;
    [
        usize::from(party),
        digits[0],
        digits[1],
        digits[2],
        digits[3],
        parity,
    ]
}

/// The party and slot that carry these tones; `None` when the parity says that one was misheard.
pub(super) fn slot_of(digits: [usize; GROUPS]) -> Option<(u8, u16)> {
    let word = (0..4)
        .map(|place| (digits[place + 1] as u16) << (3 * place))
        .sum::<u16>();
    // The inverse of the scramble modulo 4,096, by Newton's iteration on an odd number.
    let mut inverse = SCRAMBLE;
    for _ in 0..3 {
        inverse = inverse.wrapping_mul(2_u16.wrapping_sub(SCRAMBLE.wrapping_mul(inverse)));
    }
    let (party, slot) = (digits[0] as u8, word.wrapping_mul(inverse) % SLOTS);
    (digits_of(party, slot) == digits).then_some((party, slot))
}

/// One period of the 50 Hz grid; a tone `k` reads it in steps of `k`.
#[derive(Debug, Clone)]
pub(super) struct Sine(Box<[f32; PERIOD]>);

impl Sine {
    pub(super) fn new() -> Self {
        let step = std::f64::consts::TAU / PERIOD as f64;
        Self(Box::new(std::array::from_fn(|at| {
            (step * at as f64).sin() as f32
        })))
    }

    /// Sine of tone `grid`, `at` samples into the slot.
    pub(super) fn sin(&self, grid: Grid, at: usize) -> f32 {
        self.0[usize::from(grid) * at % PERIOD]
    }

    /// Cosine of the same.
    pub(super) fn cos(&self, grid: Grid, at: usize) -> f32 {
        self.0[(usize::from(grid) * at + PERIOD / 4) % PERIOD]
    }

    /// The slot's waveform `at` samples into it, as a fraction of one tone's peak; 0 outside.
    pub(super) fn slot_sample(&self, digits: [usize; GROUPS], at: usize) -> f32 {
        if at >= SLOT_SAMPLES {
            return 0.0;
        }
        let sum: f32 = groups()
            .iter()
            .zip(digits)
            .map(|(group, d)| self.sin(group[d], at))
            .sum();
        sum * self.envelope(at)
    }

    fn envelope(&self, at: usize) -> f32 {
        envelope(at as f64) as f32
    }
}

/// The rise and fall of a slot `into` 8 kHz samples of it, 0 to 1.
fn envelope(into: f64) -> f64 {
    let from_edge = into.min(SLOT_SAMPLES as f64 - into);
    if from_edge >= RAMP as f64 {
        return 1.0;
    }
    let phase = std::f64::consts::PI * from_edge / RAMP as f64;
    0.5 - 0.5 * phase.cos()
}

/// A voice that is nothing but its own name and the time. Sample 0 is the start of slot 0.
#[derive(Debug, Clone)]
pub struct CodedVoice {
    party: u8,
    from_sample: u64,
    sine: Sine,
}

impl CodedVoice {
    /// The voice of `party` (0 to 3) that begins at `from_sample` of its own time (8 kHz).
    ///
    /// # Panics
    /// When the party is 4 or more: there is no pilot for it.
    #[must_use]
    pub fn new(party: u8, from_sample: u64) -> Self {
        assert!(
            party < PARTIES,
            "a coded voice names one of {PARTIES} parties, not {party}"
        );
        Self {
            party,
            from_sample,
            sine: Sine::new(),
        }
    }

    /// The party it names, 0 to 3.
    #[must_use]
    pub fn party(&self) -> u8 {
        self.party
    }

    /// The slot that is sounding `at` samples after the beginning, 0 to 4,095.
    #[must_use]
    pub fn slot_at(&self, at: u64) -> u16 {
        ((self.from_sample + at) / SLOT_SAMPLES as u64 % u64::from(SLOTS)) as u16
    }

    /// Fills `out` with the 16-bit samples that begin `from` samples after the beginning. The same
    /// samples come out however the time is cut into calls.
    pub fn samples(&self, from: u64, out: &mut [i16]) {
        let mut at = self.from_sample + from;
        let mut rest = out;
        while !rest.is_empty() {
            let into = (at % SLOT_SAMPLES as u64) as usize;
            let (slice, after) = rest.split_at_mut(rest.len().min(SLOT_SAMPLES - into));
            let slot = (at / SLOT_SAMPLES as u64 % u64::from(SLOTS)) as u16;
            let digits = digits_of(self.party, slot);
            for (offset, sample) in slice.iter_mut().enumerate() {
                let value = self.sine.slot_sample(digits, into + offset);
                *sample = (value * TONE_PEAK).round() as i16;
            }
            at += slice.len() as u64;
            rest = after;
        }
    }

    /// The same voice at `rate_hz` samples a second, from `from_ms` after the beginning.
    pub fn samples_at(&self, rate_hz: u32, from_ms: u64, out: &mut [i16]) {
        let begin = self.from_sample as f64 + from_ms as f64 * 8.0;
        for (n, sample) in out.iter_mut().enumerate() {
            let at = begin + n as f64 * 8_000.0 / f64::from(rate_hz);
            let slot = (at / SLOT_SAMPLES as f64).floor();
            let into = at - slot * SLOT_SAMPLES as f64;
            let digits = digits_of(self.party, (slot as u64 % u64::from(SLOTS)) as u16);
            let groups = groups();
            let tones = groups.iter().zip(digits).map(|(group, digit)| {
                let hz = 50.0 * f64::from(group[digit]);
                (std::f64::consts::TAU * hz * into / 8_000.0).sin()
            });
            let value = tones.sum::<f64>() * envelope(into) * f64::from(TONE_PEAK);
            *sample = value.round() as i16;
        }
    }

    /// The same in a G.711 law.
    pub fn codes(&self, law: Law, from: u64, out: &mut [u8]) {
        let mut samples = [0_i16; PERIOD];
        let mut at = from;
        for chunk in out.chunks_mut(PERIOD) {
            let samples = &mut samples[..chunk.len()];
            self.samples(at, samples);
            g711::encode_into(law, samples, chunk);
            at += chunk.len() as u64;
        }
    }

    /// `length` samples in a G.711 law without a header: what SIPp's `rtp_stream` plays.
    #[must_use]
    pub fn raw(&self, law: Law, length: usize) -> Vec<u8> {
        let mut codes = vec![0; length];
        self.codes(law, 0, &mut codes);
        codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tones_and_slots_are_each_others_inverse() {
        for party in 0..PARTIES {
            for slot in 0..SLOTS {
                let digits = digits_of(party, slot);
                assert_eq!(slot_of(digits), Some((party, slot)));
                let next = digits_of(party, (slot + 1) % SLOTS);
                assert!(
                    (1..GROUPS).all(|at| digits[at] != next[at]),
                    "{slot} and its neighbour"
                );
            }
        }
    }

    #[test]
    fn one_wrong_tone_is_caught_by_the_parity() {
        let digits = digits_of(2, 1_234);
        for group in 1..GROUPS {
            for wrong in (0..8).filter(|&wrong| wrong != digits[group]) {
                let mut misheard = digits;
                misheard[group] = wrong;
                assert_eq!(slot_of(misheard), None, "group {group} heard as {wrong}");
            }
        }
    }

    #[test]
    fn every_tone_is_in_one_group_and_away_from_the_notices() {
        let mut seen = std::collections::BTreeSet::new();
        for &grid in groups().into_iter().flatten() {
            assert!(seen.insert(grid), "{grid} twice");
            let hz = 50 * i32::from(grid);
            assert!((500..=3_050).contains(&hz));
            assert!(
                (hz - 1_400).abs() >= 150 && (hz - 1_000).abs() >= 100,
                "{hz} Hz"
            );
        }
    }

    #[test]
    fn samples_do_not_depend_on_how_they_are_asked_for() {
        let voice = CodedVoice::new(1, 12_345);
        let mut whole = vec![0; 4_000];
        voice.samples(0, &mut whole);
        for step in [1, 7, 160, 799, 800, 801] {
            let mut cut = vec![0; 4_000];
            for (n, part) in cut.chunks_mut(step).enumerate() {
                voice.samples((n * step) as u64, part);
            }
            assert_eq!(cut, whole, "in steps of {step}");
        }
        let mut later = vec![0; 1_000];
        CodedVoice::new(1, 12_345 + 3_000).samples(0, &mut later);
        assert_eq!(later, whole[3_000..]);
    }

    #[test]
    fn every_rate_says_the_same() {
        let voice = CodedVoice::new(2, 4_321);
        let (mut narrow, mut wide) = (vec![0; 1_600], vec![0; 9_600]);
        voice.samples(160, &mut narrow);
        voice.samples_at(48_000, 20, &mut wide);
        for (at, &sample) in narrow.iter().enumerate() {
            assert!((sample - wide[6 * at]).abs() <= 1, "sample {at}");
        }
    }

    #[test]
    fn level_and_notices_are_as_promised() {
        let mut samples = vec![0; 80_000];
        CodedVoice::new(0, 0).samples(0, &mut samples);
        let power: f64 = samples
            .iter()
            .map(|&s| (f64::from(s) / 32_768.0).powi(2))
            .sum();
        let level = 10.0 * (2.0 * power / samples.len() as f64).log10();
        assert!(
            (-17.0..-14.5).contains(&level),
            "{level} dB below a full-scale sine"
        );
        // 500 ms at a time, as long as the repeat tone, under a Hann window.
        for hz in [1_000.0, 1_400.0] {
            for at in (0..70_000).step_by(777) {
                let part: Vec<i16> = samples[at..at + 4_000]
                    .iter()
                    .enumerate()
                    .map(|(n, &s)| {
                        let phase = std::f64::consts::TAU * n as f64 / 4_000.0;
                        (f64::from(s) * (1.0 - phase.cos())) as i16
                    })
                    .collect();
                let level = duolog_audio::measure::goertzel_dbfs(&part, hz);
                assert!(level < -75.0, "{level} dBFS at {hz} Hz, {at} samples in");
            }
        }
    }
}
