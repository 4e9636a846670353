//! G.722 at 64 kb/s (ITU-T G.722, mode 1): two sub-bands, each coded as the difference from an
//! adaptive prediction, six bits for the lower and two for the upper. Two samples of 16 kHz make
//! an octet: `upper (2) | lower (6)`.
//!
//! Names in upper case in the comments are those of the Recommendation's §6.2.

mod filters;
mod tables;

use self::filters::{Predictor, QuadratureMirror, saturate};
use self::tables::{
    HIGH_DECISION, HIGH_LOG_STEP, HIGH_NEGATIVE, HIGH_POSITIVE, LOG_STEP_TO_STEP, LOW_DECISIONS,
    LOW_LOG_STEP, LOW_NEGATIVE, LOW_POSITIVE, QM2, QM4, QM6,
};

/// What a sub-band's reconstructed signal is limited to (LIMIT): 15 bits.
const BAND_PEAK: i32 = 16_383;

/// The lower or the upper band: its quantiser's step and its prediction.
#[derive(Debug, Clone, Copy)]
struct Band {
    predictor: Predictor,
    /// Logarithm of the step (NBL, NBH).
    log_step: i32,
    /// The step (DETL, DETH).
    step: i32,
}

impl Band {
    const fn new(step: i32) -> Self {
        Self {
            predictor: Predictor::new(),
            log_step: 0,
            step,
        }
    }

    /// LOGSCL, LOGSCH, SCALEL, SCALEH: the step follows how large the codes are.
    fn scale(&mut self, change: i32, highest: i32, shift: i32) {
        self.log_step = (((self.log_step * 127) >> 7) + change).clamp(0, highest);
        let mantissa = LOG_STEP_TO_STEP[(self.log_step >> 6 & 31) as usize];
        let down = shift - (self.log_step >> 11);
        self.step = match down < 0 {
            true => mantissa << -down,
            false => mantissa >> down,
        } << 2;
    }

    /// The lower band goes on after the six-bit `code`: of it only the upper four bits count, so
    /// that a far end that lost the other two stays in step (INVQAL).
    fn follow_low(&mut self, code: usize) {
        let code = code >> 2;
        let difference = (self.step * QM4[code]) >> 15;
        self.scale(LOW_LOG_STEP[code], 18_432, 8);
        self.predictor.update(difference);
    }

    /// The upper band goes on after the two-bit `code`; gives its difference (INVQAH).
    fn follow_high(&mut self, code: usize) -> i32 {
        let difference = (self.step * QM2[code]) >> 15;
        self.scale(HIGH_LOG_STEP[code], 22_528, 10);
        self.predictor.update(difference);
        difference
    }
}

/// Samples of 16 kHz by which what is decoded is later than what was encoded: each of the two filters
/// of 24 taps takes half of it (§3.1, §4.4).
pub(super) const DELAY: usize = 22;

/// Both bands as they are at the beginning of a stream.
const fn bands() -> (Band, Band) {
    (Band::new(32), Band::new(8))
}

/// Decodes one stream.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    low: Band,
    high: Band,
    filter: QuadratureMirror,
}

impl Decoder {
    pub(super) const fn new() -> Self {
        let (low, high) = bands();
        let filter = QuadratureMirror::new();
        Self { low, high, filter }
    }

    /// Appends two samples for each octet of `payload`, each where it was spoken: [`DELAY`] earlier.
    /// The last of them are heard only in what follows, `next`; where nothing follows the filter runs
    /// out.
    pub(super) fn decode_on_time(&mut self, payload: &[u8], next: &[u8], out: &mut Vec<i16>) {
        let start = out.len();
        self.decode(payload, out);
        let mut ahead = self.clone();
        ahead.decode(&next[..next.len().min(DELAY / 2)], out);
        let end = start + 2 * payload.len() + DELAY;
        while out.len() < end {
            out.extend(ahead.filter.join(0, 0));
        }
        out.drain(start..start + DELAY);
    }

    /// Appends two samples for each octet of `payload`.
    pub(super) fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        out.reserve(2 * payload.len());
        for &octet in payload {
            let (low_code, high_code) = (usize::from(octet & 0x3F), usize::from(octet >> 6));
            let low = self.low.predictor.predicted + ((self.low.step * QM6[low_code]) >> 15);
            let low = low.clamp(-BAND_PEAK - 1, BAND_PEAK);
            self.low.follow_low(low_code);
            let high = self.high.predictor.predicted;
            let high = high + self.high.follow_high(high_code);
            let high = high.clamp(-BAND_PEAK - 1, BAND_PEAK);
            out.extend(self.filter.join(low, high));
        }
    }
}

/// Encodes one stream.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    low: Band,
    high: Band,
    filter: QuadratureMirror,
}

impl Encoder {
    pub(super) const fn new() -> Self {
        let (low, high) = bands();
        let filter = QuadratureMirror::new();
        Self { low, high, filter }
    }

    /// Appends one octet for every two samples; of an odd number the last is not taken.
    pub(super) fn encode(&mut self, samples: &[i16], payload: &mut Vec<u8>) {
        payload.extend(samples.as_chunks::<2>().0.iter().map(|&pair| {
            let (low, high) = self.filter.split(pair);
            let low_code = quantise_low(low, &self.low);
            self.low.follow_low(usize::from(low_code));
            let high_code = quantise_high(high, &self.high);
            self.high.follow_high(usize::from(high_code));
            high_code << 6 | low_code
        }));
    }
}

/// SUBTRA and QUANTL.
fn quantise_low(sample: i32, band: &Band) -> u8 {
    let difference = saturate(sample - band.predictor.predicted);
    let magnitude = if difference < 0 {
        !difference
    } else {
        difference
    };
    let interval = LOW_DECISIONS.partition_point(|&level| (level * band.step) >> 12 <= magnitude);
    match difference < 0 {
        true => LOW_NEGATIVE[interval],
        false => LOW_POSITIVE[interval],
    }
}

/// SUBTRA and QUANTH.
fn quantise_high(sample: i32, band: &Band) -> u8 {
    let difference = saturate(sample - band.predictor.predicted);
    let magnitude = if difference < 0 {
        !difference
    } else {
        difference
    };
    let interval = usize::from(magnitude >= (HIGH_DECISION * band.step) >> 12);
    match difference < 0 {
        true => HIGH_NEGATIVE[interval],
        false => HIGH_POSITIVE[interval],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(samples: &[i16]) -> Vec<u8> {
        let mut payload = Vec::new();
        Encoder::new().encode(samples, &mut payload);
        payload
    }

    #[test]
    fn a_stream_is_the_same_whole_and_in_pieces() {
        let samples: Vec<i16> = (0..6_400)
            .map(|n: i32| (n * n * 31 % 20_001 - 10_000) as i16)
            .collect();
        let whole = coded(&samples);
        let (mut encoder, mut pieces) = (Encoder::new(), Vec::new());
        samples
            .chunks(320)
            .for_each(|frame| encoder.encode(frame, &mut pieces));
        assert_eq!(pieces, whole);
        let (mut decoder, mut sound) = (Decoder::new(), Vec::new());
        decoder.decode(&whole, &mut sound);
        let (mut decoder, mut same) = (Decoder::new(), Vec::new());
        whole
            .chunks(7)
            .for_each(|piece| decoder.decode(piece, &mut same));
        assert_eq!((sound.len(), &sound), (6_400, &same));
    }

    #[test]
    fn on_time_is_the_same_sound_earlier_and_its_filter_runs_out() {
        let samples: Vec<i16> = (0..3_200)
            .map(|n| (8_000.0 * (f64::from(n * n) * 2e-5).sin()) as i16)
            .collect();
        let payload = coded(&samples);
        let mut late = Vec::new();
        Decoder::new().decode(&payload, &mut late);
        for piece in [1, 2, 7, 11, 160] {
            let (mut decoder, mut on_time) = (Decoder::new(), vec![1]);
            let mut pieces = payload.chunks(piece).peekable();
            while let Some(one) = pieces.next() {
                // What is told of the next may be as short as it is.
                let next = match piece < DELAY / 2 {
                    true => &payload[payload.len().min(on_time.len() / 2 + piece)..],
                    false => pieces.peek().copied().unwrap_or_default(),
                };
                decoder.decode_on_time(one, next, &mut on_time);
            }
            assert_eq!((on_time.len(), on_time[0]), (3_201, 1));
            let whole = 3_200 - DELAY;
            assert_eq!(on_time[1..=whole], late[DELAY..], "in pieces of {piece}");
        }
        let mut on_time = Vec::new();
        Decoder::new().decode_on_time(&payload, &[], &mut on_time);
        let error = |range: std::ops::Range<usize>| {
            let power = |s: &mut dyn Iterator<Item = i32>| s.map(|s| f64::from(s * s)).sum::<f64>();
            let pairs = on_time[range.clone()].iter().zip(&samples[range.clone()]);
            let error = power(&mut pairs.map(|(a, b)| i32::from(*a) - i32::from(*b)));
            error / power(&mut samples[range].iter().map(|&s| i32::from(s)))
        };
        // Where it belongs to the sample: nothing else comes near what was put in.
        assert!(error(400..3_170) < 0.01, "{}", error(400..3_170));
    }

    #[test]
    fn speech_band_tones_keep_their_level() {
        for hz in [200.0, 1_000.0, 3_000.0, 5_000.0, 6_500.0] {
            let step = std::f64::consts::TAU * hz / 16_000.0;
            let tone: Vec<i16> = (0..16_000)
                .map(|n| (8_000.0 * (step * f64::from(n)).sin()) as i16)
                .collect();
            let mut back = Vec::new();
            Decoder::new().decode(&coded(&tone), &mut back);
            let power = |s: &[i16]| s.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
            let change = 10.0 * (power(&back[800..]) / power(&tone[800..])).log10();
            assert!(change.abs() < 0.5, "{hz} Hz: {change} dB");
        }
    }

    /// Full scale at the edge of what the predictors can follow: nothing overflows.
    #[test]
    fn the_loudest_and_the_most_random_streams_are_decoded() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let random: Vec<u8> = (0..200_000).map(|_| next()).collect();
        let mut out = Vec::new();
        Decoder::new().decode(&random, &mut out);
        assert_eq!(out.len(), 400_000);
        for octet in 0..=255 {
            out.clear();
            Decoder::new().decode(&[octet; 4_000], &mut out);
        }
        for period in [2, 4, 8, 31, 500] {
            let square: Vec<i16> = (0..32_000)
                .map(|n| {
                    if n / period % 2 == 0 {
                        i16::MAX
                    } else {
                        i16::MIN
                    }
                })
                .collect();
            out.clear();
            Decoder::new().decode(&coded(&square), &mut out);
        }
        let noise: Vec<i16> = random
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&b| i16::from_le_bytes(b))
            .collect();
        out.clear();
        Decoder::new().decode(&coded(&noise), &mut out);
    }
}
