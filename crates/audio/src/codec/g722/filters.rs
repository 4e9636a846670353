//! The two filters of G.722: the one that predicts a band, and the one that splits and joins them.

use super::tables::QUADRATURE_MIRROR;

/// Cut to 16 bits, as every sum of the Recommendation is.
pub(super) fn saturate(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

/// Two poles and six zeros that adapt to the signal (§6.2.1.4).
#[derive(Debug, Clone, Copy)]
pub(super) struct Predictor {
    /// The sample that is expected next (SL, SH).
    pub(super) predicted: i32,
    /// The zeros' part of it (SZL, SZH).
    zero_part: i32,
    /// A: the poles' coefficients.
    poles: [i32; 2],
    /// B: the zeros' coefficients.
    zeros: [i32; 6],
    /// The newest reconstructed sample (RLT, RH).
    reconstructed: i32,
    /// Signs of the two newest partial reconstructions (PLT, PH): true is negative.
    partial_negative: [bool; 2],
    /// The six newest differences (DLT, DH).
    differences: [i32; 6],
}

impl Predictor {
    pub(super) const fn new() -> Self {
        Self {
            predicted: 0,
            zero_part: 0,
            poles: [0; 2],
            zeros: [0; 6],
            reconstructed: 0,
            partial_negative: [false; 2],
            differences: [0; 6],
        }
    }

    /// Takes the quantised difference between the sample and what was predicted, and predicts anew.
    pub(super) fn update(&mut self, difference: i32) {
        let reconstructed = saturate(self.predicted + difference);
        self.adapt_poles(saturate(self.zero_part + difference) < 0);
        self.adapt_zeros(difference);
        self.differences.copy_within(0..5, 1);
        self.differences[0] = difference;
        let zeros = self.zeros.iter().zip(self.differences);
        self.zero_part = saturate(zeros.map(|(b, d)| (b * saturate(2 * d)) >> 15).sum());
        let pole = |a: i32, r: i32| (a * saturate(2 * r)) >> 15;
        let older = std::mem::replace(&mut self.reconstructed, reconstructed);
        let pole_part = saturate(pole(self.poles[0], reconstructed) + pole(self.poles[1], older));
        self.predicted = saturate(pole_part + self.zero_part);
    }

    /// UPPOL1, UPPOL2, with the sign of the new partial reconstruction.
    fn adapt_poles(&mut self, negative: bool) {
        let [newer, older] = self.partial_negative;
        self.partial_negative = [negative, newer];
        let [a1, a2] = self.poles;
        let slope = saturate(4 * a1);
        let slope = if negative == newer {
            saturate(-slope)
        } else {
            slope
        };
        let lean = if negative == older { 128 } else { -128 };
        let a2 = ((slope >> 7) + lean + ((a2 * 32_512) >> 15)).clamp(-12_288, 12_288);
        let lean = if negative == newer { 192 } else { -192 };
        let stable = 15_360 - a2;
        let a1 = (lean + ((a1 * 32_640) >> 15)).clamp(-stable, stable);
        self.poles = [a1, a2];
    }

    /// UPZERO.
    fn adapt_zeros(&mut self, difference: i32) {
        let lean = if difference == 0 { 0 } else { 128 };
        for (b, &older) in self.zeros.iter_mut().zip(&self.differences) {
            let same_sign = (older < 0) == (difference < 0);
            let lean = if same_sign { lean } else { -lean };
            *b = saturate(lean + ((*b * 32_640) >> 15));
        }
    }
}

/// Splits 16 kHz into two bands of 8 kHz, or joins them (§6.2.2: TQMF, RQMF).
#[derive(Debug, Clone)]
pub(super) struct QuadratureMirror {
    /// The 12 newest pairs; the place of the next one in both halves of a doubled ring.
    pairs: [[i32; 2]; 24],
    at: usize,
}

impl QuadratureMirror {
    pub(super) const fn new() -> Self {
        Self {
            pairs: [[0; 2]; 24],
            at: 0,
        }
    }

    /// The sums over even and odd places of the last 24 values, the newest pair included.
    fn sums(&mut self, pair: [i32; 2]) -> [i32; 2] {
        self.pairs[self.at] = pair;
        self.pairs[self.at + 12] = pair;
        self.at = (self.at + 1) % 12;
        let window = &self.pairs[self.at..self.at + 12];
        let mut sums = [0; 2];
        for (n, [even, odd]) in window.iter().enumerate() {
            sums[0] += even * QUADRATURE_MIRROR[n];
            sums[1] += odd * QUADRATURE_MIRROR[11 - n];
        }
        sums
    }

    /// Two samples into one of the lower and one of the upper band.
    pub(super) fn split(&mut self, pair: [i16; 2]) -> (i32, i32) {
        let [even, odd] = self.sums(pair.map(i32::from));
        ((odd + even) >> 14, (odd - even) >> 14)
    }

    /// One sample of each band into two.
    pub(super) fn join(&mut self, low: i32, high: i32) -> [i16; 2] {
        let [even, odd] = self.sums([low + high, low - high]);
        [odd, even].map(|sum| saturate(sum >> 11) as i16)
    }
}
