//! The frequency and level of a tone in a stretch of samples.

use std::f64::consts::TAU;

/// A tone as it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tone {
    /// In Hz.
    pub hz: f64,
    /// As a peak, in dBFS.
    pub dbfs: f64,
}

/// Measures the tone near `near_hz` (within 20 Hz) in `samples`, `rate_hz` a second, of which at least
/// 0.4 s are wanted: the phase that its Fourier component gains from one tenth of a second to the next.
///
/// # Panics
/// When there are fewer samples.
#[must_use]
pub fn measure(samples: &[i16], rate_hz: u32, near_hz: f64) -> Tone {
    let window = rate_hz as usize / 10;
    assert!(samples.len() >= 4 * window, "0.4 s are needed");
    let at = |hz: f64| -> Vec<(f64, f64)> {
        let chunks = samples.chunks_exact(window).enumerate();
        chunks
            .map(|(n, part)| component(part, n * window, rate_hz, hz))
            .collect()
    };
    let parts = at(near_hz);
    let turned: Vec<f64> = parts
        .windows(2)
        .map(|two| {
            let ((ar, ai), (br, bi)) = (two[0], two[1]);
            (bi * ar - br * ai).atan2(br * ar + bi * ai)
        })
        .collect();
    let mean = turned.iter().sum::<f64>() / turned.len() as f64;
    let hz = near_hz + mean / TAU * 10.0;
    let parts = at(hz);
    let power = parts.iter().map(|(re, im)| re * re + im * im).sum::<f64>() / parts.len() as f64;
    Tone {
        hz,
        dbfs: 20.0 * (power.sqrt() / 32_768.0).log10(),
    }
}

/// Amplitude of the component at `hz`, under a Hann window, its phase counted from sample 0.
fn component(part: &[i16], from: usize, rate_hz: u32, hz: f64) -> (f64, f64) {
    let (mut re, mut im) = (0.0, 0.0);
    let length = part.len() as f64;
    for (n, &sample) in part.iter().enumerate() {
        let hann = 1.0 - (TAU * n as f64 / length).cos();
        let phase = TAU * hz * (from + n) as f64 / f64::from(rate_hz);
        re += f64::from(sample) * hann * phase.cos();
        im -= f64::from(sample) * hann * phase.sin();
    }
    (2.0 * re / length, 2.0 * im / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_measured_to_a_hundredth() {
        for (rate_hz, hz, dbfs) in [
            (8_000, 1_000.0, -12.0),
            (48_000, 1_003.7, -3.0),
            (16_000, 995.2, -40.0),
        ] {
            let peak = 32_768.0 * 10_f64.powf(dbfs / 20.0);
            let samples: Vec<i16> = (0..rate_hz)
                .map(|n| {
                    (peak * (TAU * hz * f64::from(n) / f64::from(rate_hz)).sin()).round() as i16
                })
                .collect();
            let tone = measure(&samples, rate_hz as u32, 1_000.0);
            assert!((tone.hz - hz).abs() < 0.01, "{tone:?}");
            assert!((tone.dbfs - dbfs).abs() < 0.05, "{tone:?}");
        }
    }
}
