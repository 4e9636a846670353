//! What 12.5 ms show: enough to suspect a key, never enough to count one.
//!
//! 1. The strongest of each group of nominal frequencies are found, and how far each is off, from
//!    what is beside it.
//! 2. Two steady sines of these frequencies are fitted to the samples, least squares. What they leave
//!    is what is no key. A tone that fills less than most of the window leaves much.

use std::f32::consts::TAU;

use super::spectrum::{HIGH_GROUP, LEAST_PEAK, LOW_GROUP, TWIST_DB};

/// Windows a second that lie side by side: 12.5 ms.
const PER_SECOND: u32 = 80;
/// Energy of both sines in that of the window, at least. Noise 15 dB below leaves 0.97.
const LEAST_PURITY: f32 = 0.88;
/// The same before the frequencies are known well.
const ROUGH_PURITY: f32 = 0.5;
/// By which part of itself a frequency may be off: 1.5 % must be found, and a short window is not exact.
const MOST_OFF: f32 = 0.028;
/// Where beside a nominal frequency it is looked for.
const BESIDE: f32 = 0.02;

/// Looks at windows of one rate.
pub(super) struct Glance {
    rate_hz: f32,
    samples: usize,
}

/// Two sines, as found.
#[derive(Clone, Copy)]
struct Sines {
    /// Cosine and sine of the low one, then of the high one.
    parts: [f32; 4],
    /// What they leave of the energy.
    left: f32,
}

impl Glance {
    pub(super) fn new(rate_hz: u32) -> Glance {
        Glance {
            rate_hz: rate_hz as f32,
            samples: (rate_hz / PER_SECOND) as usize,
        }
    }

    /// Length of a window.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// The key, as places among the eight frequencies, that fills the window; or none does.
    pub(super) fn look(&self, window: &[f32]) -> Option<(u8, u8)> {
        let count = window.len() as f32;
        let energy: f32 = window.iter().map(|x| x * x).sum();
        if energy < LEAST_PEAK * LEAST_PEAK / 2.0 * count {
            return None;
        }
        let nominal = [LOW_GROUP, HIGH_GROUP];
        let [low, high] = nominal.map(|group| strongest(&self.powers(window, &group)));
        // A sine of peak 1 reads (N / 2)², and holds N / 2.
        let rough = (low.1 + high.1) * 2.0 / count;
        if rough < ROUGH_PURITY * energy {
            return None;
        }
        let [low_hz, high_hz] = [(LOW_GROUP, low), (HIGH_GROUP, high)]
            .map(|(group, (place, power))| self.refine(window, group[place], power));
        let sines = self.fit(window, low_hz?, high_hz?)?;
        let [low_peak, high_peak] = [0, 2].map(|at| sines.parts[at].hypot(sines.parts[at + 1]));
        let twist = 20.0 * (high_peak / low_peak).log10();
        let is_key = low_peak.min(high_peak) >= LEAST_PEAK
            && TWIST_DB.contains(&twist)
            && sines.left <= (1.0 - LEAST_PURITY) * energy;
        // There are four of each.
        is_key.then_some((low.0 as u8, 4 + high.0 as u8))
    }

    /// Power at four frequencies, by the recursion of Goertzel, all four in step.
    fn powers(&self, window: &[f32], hz: &[f32; 4]) -> [f32; 4] {
        let turn = hz.map(|hz| 2.0 * (TAU * hz / self.rate_hz).cos());
        let (mut last, mut before) = ([0.0; 4], [0.0; 4]);
        for x in window {
            for at in 0..4 {
                let next = x + turn[at] * last[at] - before[at];
                (before[at], last[at]) = (last[at], next);
            }
        }
        std::array::from_fn(|at| {
            last[at] * last[at] + before[at] * before[at] - turn[at] * last[at] * before[at]
        })
    }

    /// The frequency near `hz` at which a parabola through three powers is highest.
    fn refine(&self, window: &[f32], hz: f32, power: f32) -> Option<f32> {
        let step = BESIDE * hz;
        let beside = self.powers(window, &[hz - step, hz + step, hz, hz]);
        let [below, above] = [beside[0].ln(), beside[1].ln()];
        let bend = below + above - 2.0 * power.ln();
        let off = match bend < 0.0 {
            true => BESIDE * (below - above) / 2.0 / bend,
            false => return None,
        };
        (off.abs() <= MOST_OFF).then_some(hz * (1.0 + off))
    }

    /// Fits both sines at once: in so short a window each is seen at the other's frequency too.
    fn fit(&self, window: &[f32], low_hz: f32, high_hz: f32) -> Option<Sines> {
        let turns = [low_hz, high_hz].map(|hz| (TAU * hz / self.rate_hz).sin_cos());
        let mut basis = [1.0, 0.0, 1.0, 0.0];
        let (mut gram, mut seen) = ([[0.0_f32; 4]; 4], [0.0_f32; 4]);
        for x in window {
            for row in 0..4 {
                seen[row] += basis[row] * x;
                for column in 0..4 {
                    gram[row][column] += basis[row] * basis[column];
                }
            }
            for (tone, (sin, cos)) in turns.into_iter().enumerate() {
                let (real, imaginary) = (basis[2 * tone], basis[2 * tone + 1]);
                basis[2 * tone] = real * cos - imaginary * sin;
                basis[2 * tone + 1] = real * sin + imaginary * cos;
            }
        }
        let parts = solve(gram, seen)?;
        let held: f32 = parts.iter().zip(seen).map(|(part, seen)| part * seen).sum();
        let energy: f32 = window.iter().map(|x| x * x).sum();
        Some(Sines {
            parts,
            left: energy - held,
        })
    }
}

fn strongest(powers: &[f32; 4]) -> (usize, f32) {
    let mut best = (0, powers[0]);
    for (place, &power) in powers.iter().enumerate() {
        if power > best.1 {
            best = (place, power);
        }
    }
    best
}

/// Four equations, by elimination. The matrix is symmetric and far from singular: its columns are
/// sines of different frequencies over several periods.
fn solve(mut matrix: [[f32; 4]; 4], mut right: [f32; 4]) -> Option<[f32; 4]> {
    for row in 0..4 {
        let pivot = matrix[row][row];
        if pivot <= 0.0 {
            return None;
        }
        for below in row + 1..4 {
            let factor = matrix[below][row] / pivot;
            let upper = matrix[row];
            for (lower, upper) in matrix[below].iter_mut().zip(upper).skip(row) {
                *lower -= factor * upper;
            }
            right[below] -= factor * right[row];
        }
    }
    let mut parts = [0.0; 4];
    for row in (0..4).rev() {
        let known: f32 = (row + 1..4).map(|at| matrix[row][at] * parts[at]).sum();
        parts[row] = (right[row] - known) / matrix[row][row];
    }
    Some(parts)
}
