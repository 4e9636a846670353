//! From any rate to about 8 kHz, keeping what DTMF needs: everything below 2 kHz.

/// Taps to either side of the middle one, in output samples.
const SIDE: usize = 4;

/// Keeps every `factor`-th sample of the low-passed sound; its first output is the instant of its
/// first input.
pub(super) struct Decimator {
    factor: usize,
    taps: Vec<f32>,
    /// The newest inputs, after as many zeros as the filter looks back.
    waiting: Vec<f32>,
}

impl Decimator {
    pub(super) fn new(factor: usize) -> Self {
        let side = if factor == 1 { 0 } else { SIDE * factor };
        let mut taps: Vec<f32> = (0..=2 * side)
            .map(|at| {
                // A sinc that is 6 dB down at half the output's rate, under a Hann window.
                let from_middle = at as f32 - side as f32;
                let x = std::f32::consts::PI * from_middle / factor as f32;
                let sinc = if x == 0.0 { 1.0 } else { x.sin() / x };
                let hann = x / (SIDE + 1) as f32;
                sinc * (0.5 + 0.5 * hann.cos())
            })
            .collect();
        let sum: f32 = taps.iter().sum();
        taps.iter_mut().for_each(|tap| *tap /= sum);
        Self {
            factor,
            taps,
            waiting: vec![0.0; side],
        }
    }

    pub(super) fn push(&mut self, samples: &[i16], out: &mut Vec<f32>) {
        self.waiting
            .extend(samples.iter().map(|&sample| f32::from(sample)));
        let mut at = 0;
        while self.waiting.len() >= at + self.taps.len() {
            let heard = &self.waiting[at..at + self.taps.len()];
            out.push(heard.iter().zip(&self.taps).map(|(x, tap)| x * tap).sum());
            at += self.factor;
        }
        self.waiting.drain(..at);
    }
}
