//! What a window of 25 ms shows of the eight frequencies.

use std::collections::VecDeque;
use std::f32::consts::{PI, TAU};

/// Windows begin every 2.5 ms.
pub(super) const HOPS_PER_SECOND: u32 = 400;
/// Hops in a window: 25 ms.
pub(super) const WINDOW_HOPS: u64 = 10;

/// ITU-T Q.23, in Hz.
pub(super) const LOW_GROUP: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
pub(super) const HIGH_GROUP: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];

/// The peak of the weakest tone that counts: -39 dBm0, 3 dB below what must be found. 0 dBm0 is
/// a sine of -3.14 dBFS (ITU-T G.711).
pub(super) const LEAST_PEAK: f32 = 256.0;
/// The high group's level over the low group's in dB, with 2 dB more than must be found.
pub(super) const TWIST_DB: std::ops::RangeInclusive<f32> = -10.0..=6.0;
/// Energy of both tones in that of the window, at least. Noise 15 dB below leaves 0.97; with 0.8,
/// three hours of synthetic speech in many voices were taken for a key once, with this never.
const LEAST_PURITY: f32 = 0.85;
/// Between what must be found (1.5 %) and what must not (3.5 %).
const MOST_OFF: f32 = 0.025;
/// By how many dB a level may change in 5 ms to stand still.
const STILL_DB: f32 = 1.0;
/// Hops between the windows whose phases are compared: 5 ms tell up to 100 Hz apart.
const PHASE_HOPS: usize = 2;

/// A tonal window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Places in the low and in the high group.
    pub(super) pair: (u8, u8),
    /// The levels stand still, at the nominal frequencies.
    pub(super) steady: bool,
    /// The levels stand still, at other frequencies.
    pub(super) beside: bool,
}

/// Real and imaginary part of a window's correlation with a frequency.
type Phasor = [f32; 2];

struct Tone {
    hz: f32,
    /// Hann window times cosine, and times minus sine.
    real: Vec<f32>,
    imaginary: Vec<f32>,
}

pub(super) struct Spectrum {
    rate_hz: u32,
    tones: [Tone; 8],
    /// The squared window, for the energy.
    squares: Vec<f32>,
    /// Half the sum of the window: what a tone of peak 1 reads.
    gain: f32,
    /// The newest windows' phasors, oldest first; `None` where it was too quiet to look.
    before: VecDeque<Option<[Phasor; 8]>>,
}

impl Spectrum {
    pub(super) fn new(rate_hz: u32) -> Self {
        let samples = WINDOW_HOPS as usize * (rate_hz / HOPS_PER_SECOND) as usize;
        let hann = |at: usize| 0.5 - 0.5 * (TAU * (at as f32 + 0.5) / samples as f32).cos();
        let window: Vec<f32> = (0..samples).map(hann).collect();
        let tone = |hz: f32| {
            let phase = |at: usize| TAU * (hz * at as f32 / rate_hz as f32).fract();
            let part = |of: fn(f32) -> f32| {
                let part = window.iter().enumerate().map(|(at, w)| w * of(phase(at)));
                part.collect::<Vec<f32>>()
            };
            Tone {
                hz,
                real: part(f32::cos),
                imaginary: part(|phase| -phase.sin()),
            }
        };
        let [a, b, c, d] = LOW_GROUP.map(tone);
        let [e, f, g, h] = HIGH_GROUP.map(tone);
        Self {
            rate_hz,
            tones: [a, b, c, d, e, f, g, h],
            squares: window.iter().map(|w| w * w).collect(),
            gain: window.iter().sum::<f32>() / 2.0,
            before: VecDeque::with_capacity(PHASE_HOPS + 1),
        }
    }

    pub(super) fn hop_samples(&self) -> usize {
        (self.rate_hz / HOPS_PER_SECOND) as usize
    }

    pub(super) fn window_samples(&self) -> usize {
        WINDOW_HOPS as usize * self.hop_samples()
    }

    /// What comes next does not follow what was looked at.
    pub(super) fn forget(&mut self) {
        self.before.clear();
    }

    /// What the next window, a hop after the last one, shows; `None` when it is not tonal.
    pub(super) fn look(&mut self, samples: &[f32]) -> Option<Window> {
        let energies = samples.iter().zip(&self.squares);
        let energy: f32 = energies.map(|(x, w)| x * x * w).sum();
        // Two tones of the least peak hold this much; most of a call is quieter or the pause of
        // the other party, and is not looked at further.
        let least = LEAST_PEAK * LEAST_PEAK / 2.0 * self.squares.iter().sum::<f32>();
        let phasors = (energy >= least).then(|| self.correlate(samples));
        self.before.push_back(phasors);
        let earlier = match self.before.len() > PHASE_HOPS {
            true => self.before.pop_front().flatten(),
            false => None,
        };
        self.judge(energy, &phasors?, earlier.as_ref())
    }

    fn correlate(&self, samples: &[f32]) -> [Phasor; 8] {
        let mut phasors = [[0.0; 2]; 8];
        for (phasor, tone) in phasors.iter_mut().zip(&self.tones) {
            *phasor = [dot(samples, &tone.real), dot(samples, &tone.imaginary)];
        }
        phasors
    }

    fn judge(
        &self,
        energy: f32,
        phasors: &[Phasor; 8],
        earlier: Option<&[Phasor; 8]>,
    ) -> Option<Window> {
        let (low, high) = (strongest(&phasors[..4]), 4 + strongest(&phasors[4..]));
        let [low_tone, high_tone] = [low, high].map(|place| {
            let before = earlier.map(|earlier| earlier[place]);
            self.measure(&self.tones[place], phasors[place], before)
        });
        let twist = decibels(high_tone.peak / low_tone.peak);
        let tones_energy = low_tone.peak * low_tone.peak + high_tone.peak * high_tone.peak;
        let purity = tones_energy / 2.0 * self.squares.iter().sum::<f32>() / energy;
        let tonal = low_tone.peak.min(high_tone.peak) >= LEAST_PEAK
            && TWIST_DB.contains(&twist)
            && purity >= LEAST_PURITY;
        let still = low_tone.still && high_tone.still;
        let nominal = low_tone.off.abs() <= MOST_OFF && high_tone.off.abs() <= MOST_OFF;
        tonal.then_some(Window {
            pair: (low as u8, high as u8),
            steady: still && nominal,
            beside: still && !nominal,
        })
    }

    fn measure(&self, tone: &Tone, now: Phasor, before: Option<Phasor>) -> Measured {
        let magnitude = now[0].hypot(now[1]);
        let Some(before) = before else {
            return Measured {
                peak: magnitude / self.gain,
                off: 0.0,
                still: false,
            };
        };
        let hop_s = (PHASE_HOPS * self.hop_samples()) as f32 / self.rate_hz as f32;
        let turned = now[1].atan2(now[0]) - before[1].atan2(before[0]);
        let extra = turned - TAU * (tone.hz * hop_s).fract();
        let off_hz = wrap(extra) / TAU / hop_s;
        let off = off_hz / tone.hz;
        // A tone beside the middle of the window's main lobe reads lower than it is.
        let believed = off_hz.clamp(-MOST_OFF * tone.hz, MOST_OFF * tone.hz);
        let peak = magnitude / self.gain / lobe(believed * self.window_s());
        let change = decibels(magnitude / before[0].hypot(before[1]));
        Measured {
            peak,
            off,
            still: change.abs() <= STILL_DB,
        }
    }

    fn window_s(&self) -> f32 {
        self.window_samples() as f32 / self.rate_hz as f32
    }
}

struct Measured {
    peak: f32,
    /// By which part of its frequency it is off.
    off: f32,
    /// The level is that of 5 ms before.
    still: bool,
}

/// What a Hann window reads of a tone `bins` beside its middle; 1 at 0.
fn lobe(bins: f32) -> f32 {
    let x = PI * bins;
    let sinc = if x.abs() < 1e-3 { 1.0 } else { x.sin() / x };
    match (1.0 - bins * bins).abs() < 1e-2 {
        true => 0.5,
        false => sinc / (1.0 - bins * bins),
    }
}

fn strongest(group: &[Phasor]) -> usize {
    let power = |phasor: &Phasor| phasor[0] * phasor[0] + phasor[1] * phasor[1];
    let places = 0..group.len();
    places
        .max_by(|&a, &b| power(&group[a]).total_cmp(&power(&group[b])))
        .unwrap_or(0)
}

/// An angle brought between -π and π.
fn wrap(angle: f32) -> f32 {
    angle - TAU * (angle / TAU).round()
}

fn decibels(ratio: f32) -> f32 {
    20.0 * ratio.log10()
}

/// In eight sums, which the compiler keeps in one register.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for (sum, (x, y)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += x * y;
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}
