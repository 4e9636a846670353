//! Who is heard in a channel, from when to when: each party sounds a tone of its own.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::tone::measure;

/// What is judged at once: 50 ms, in which every tone of whole 20 Hz has whole periods.
const WINDOWS_PER_S: usize = 20;
/// Peak of the phones' tones, before a codec has changed them.
const LEVEL_DBFS: f64 = -14.0;
/// From this peak on, a 4 dB less, a tone is there.
const THERE: f64 = 4_000.0;
/// Up to this peak, 36 dB less, it is not.
const NOT_THERE: f64 = 100.0;
/// Silence that is shorter is a phone's stream beginning anew.
const RESTART_S: f64 = 0.25;
/// What a phone needs between being asked to do something and doing it to its audio.
const SLACK_S: f64 = 0.3;

/// When something was done: not before the one, not after the other.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    from: Instant,
    to: Instant,
}

impl Moment {
    /// The time that `work` takes.
    pub fn of(work: impl FnOnce()) -> Self {
        let from = Instant::now();
        work();
        Self {
            from,
            to: Instant::now(),
        }
    }

    /// This moment.
    pub fn now() -> Self {
        Self::of(|| {})
    }

    /// Seconds from `began` to this moment, and what may be heard of it that late or early.
    fn since(&self, began: &Moment) -> RangeInclusive<f64> {
        let seconds = |to: Instant, from: Instant| {
            let later = to.saturating_duration_since(from).as_secs_f64();
            later - from.saturating_duration_since(to).as_secs_f64()
        };
        seconds(self.from, began.to) - SLACK_S..=seconds(self.to, began.from) + SLACK_S
    }
}

/// What is heard of one channel for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Whose tone, or nobody's.
    pub tone_hz: Option<f64>,
    /// Its beginning, in seconds.
    pub from_s: f64,
    /// Its end, in seconds.
    pub to_s: f64,
}

/// Parts of a channel that follow each other: whose tone, or nobody's, and when it ends.
pub type Story<'a> = [(Option<f64>, &'a Moment)];

/// Checks that a channel whose first sample is of the moment `began` holds the parts of `story`, one
/// after the other and nothing else, and each tone as it was sounded; answers where they are.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn check(
    name: &str,
    (samples, rate_hz): (&[i16], u32),
    tones: &[f64],
    began: &Moment,
    story: &Story<'_>,
) -> Vec<Stretch> {
    let (found, pure) =
        stretches(samples, rate_hz, tones).unwrap_or_else(|why| panic!("{name}: {why}"));
    let said: Vec<_> = found.iter().map(|stretch| stretch.tone_hz).collect();
    let wanted: Vec<_> = story.iter().map(|(tone, _)| *tone).collect();
    assert_eq!(said, wanted, "{name}: {found:?}");
    for (stretch, (_, until)) in found.iter().zip(story) {
        let at = until.since(began);
        assert!(
            at.contains(&stretch.to_s),
            "{name}: {found:?}: an end is not in {at:?}"
        );
    }
    for stretch in pure {
        let Some(hz) = stretch.tone_hz else { continue };
        let index = |seconds: f64| (seconds * f64::from(rate_hz)) as usize;
        let tone = measure(
            &samples[index(stretch.from_s)..index(stretch.to_s)],
            rate_hz,
            hz,
        );
        let level = (tone.dbfs - LEVEL_DBFS).abs();
        assert!(
            (tone.hz - hz).abs() <= 1.0 && level <= 1.0,
            "{name}: {tone:?} in {stretch:?}"
        );
    }
    let parts = found.iter().map(|stretch| {
        let who = stretch
            .tone_hz
            .map_or("nobody".to_owned(), |hz| format!("{hz} Hz"));
        format!("{who} {:.2}-{:.2} s", stretch.from_s, stretch.to_s)
    });
    println!("{name}: {}", parts.collect::<Vec<_>>().join(", "));
    found
}

/// What is heard, from the first sample to the last; and of each tone the longest unbroken piece.
///
/// # Errors
/// Where more than one tone is heard, or something else.
pub fn stretches(
    samples: &[i16],
    rate_hz: u32,
    tones: &[f64],
) -> Result<(Vec<Stretch>, Vec<Stretch>), String> {
    let step = 1.0 / WINDOWS_PER_S as f64;
    let windows = samples.chunks_exact(rate_hz as usize / WINDOWS_PER_S);
    let mut runs: Vec<(Window, Stretch)> = Vec::new();
    for (at, window) in windows.enumerate() {
        let heard = listen(window, rate_hz, tones)?;
        let (from_s, to_s) = (at as f64 * step, (at + 1) as f64 * step);
        match runs.last_mut() {
            Some((before, run)) if *before == heard => run.to_s = to_s,
            _ => {
                let tone_hz = match heard {
                    Window::Tone(index) => Some(tones[index]),
                    Window::Silence | Window::Edge => None,
                };
                runs.push((
                    heard,
                    Stretch {
                        tone_hz,
                        from_s,
                        to_s,
                    },
                ));
            }
        }
    }
    let mut pure: Vec<Stretch> = Vec::new();
    for &hz in tones {
        let of_tone = runs
            .iter()
            .map(|(_, run)| *run)
            .filter(|run| run.tone_hz == Some(hz));
        let longest = of_tone.max_by(|a, b| (a.to_s - a.from_s).total_cmp(&(b.to_s - b.from_s)));
        pure.extend(longest.filter(|run| run.to_s - run.from_s >= 0.4));
    }
    Ok((joined(&runs)?, pure))
}

/// Runs without the short ones between them, which are edges of tones.
fn joined(runs: &[(Window, Stretch)]) -> Result<Vec<Stretch>, String> {
    let mut found: Vec<Stretch> = Vec::new();
    for (window, run) in runs {
        let length_s = run.to_s - run.from_s;
        if run.tone_hz.is_none() && length_s < RESTART_S {
            continue;
        }
        if *window == Window::Edge {
            return Err(format!("neither a tone nor silence in {run:?}"));
        }
        match found.last_mut() {
            Some(before) if before.tone_hz == run.tone_hz => before.to_s = run.to_s,
            _ => found.push(*run),
        }
    }
    Ok(found)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    Silence,
    Tone(usize),
    /// A tone begins or ends in it.
    Edge,
}

fn listen(window: &[i16], rate_hz: u32, tones: &[f64]) -> Result<Window, String> {
    let peaks: Vec<f64> = tones.iter().map(|hz| peak(window, rate_hz, *hz)).collect();
    let loud: Vec<usize> = (0..tones.len()).filter(|at| peaks[*at] >= THERE).collect();
    match loud[..] {
        [index] => Ok(Window::Tone(index)),
        [] if peaks.iter().all(|peak| *peak <= NOT_THERE) => Ok(Window::Silence),
        [] => Ok(Window::Edge),
        _ => Err(format!("more than one is heard at once: {peaks:?}")),
    }
}

/// Peak of the component at `hz`.
fn peak(window: &[i16], rate_hz: u32, hz: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, &sample) in window.iter().enumerate() {
        let phase = std::f64::consts::TAU * hz * n as f64 / f64::from(rate_hz);
        re += f64::from(sample) * phase.cos();
        im += f64::from(sample) * phase.sin();
    }
    2.0 * f64::hypot(re, im) / window.len() as f64
}

/// Lets time pass while a thing is as it is: how long a hold or a part of a conversation lasts.
///
/// # Panics
/// When a process that must live meanwhile has ended.
pub fn lasts(duolog: &mut super::Duolog, time: Duration) {
    let end = Instant::now() + time;
    let process = &mut duolog.process;
    process.until(time + Duration::from_secs(5), "time passes", || {
        (Instant::now() >= end).then_some(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, length: usize) -> Vec<i16> {
        let peak = 32_768.0 * 10_f64.powf(LEVEL_DBFS / 20.0);
        let sample = |n: usize| {
            let phase = std::f64::consts::TAU * hz * n as f64 / 8_000.0;
            (peak * phase.sin()).round() as i16
        };
        (0..length).map(sample).collect()
    }

    #[test]
    fn one_after_the_other_is_told_with_its_edges() {
        let mut samples = tone(700.0, 8_000);
        samples.extend(vec![0; 8_100]);
        samples.extend(tone(1_000.0, 4_000));
        samples.extend(vec![0; 400]);
        samples.extend(tone(1_000.0, 7_900));
        let (found, pure) = stretches(&samples, 8_000, &[700.0, 1_000.0]).expect("one at a time");
        let tones: Vec<_> = found.iter().map(|stretch| stretch.tone_hz).collect();
        assert_eq!(tones, [Some(700.0), None, Some(1_000.0)]);
        assert!((found[1].to_s - 2.0).abs() < 0.06, "{found:?}");
        assert!((found[2].to_s - 3.55).abs() < 0.06, "{found:?}");
        assert_eq!(pure.len(), 2);
    }

    #[test]
    fn two_at_once_and_noise_are_told() {
        let two: Vec<i16> = tone(700.0, 8_000)
            .iter()
            .zip(tone(1_000.0, 8_000))
            .map(|(a, b)| a.saturating_add(b))
            .collect();
        let wrong = stretches(&two, 8_000, &[700.0, 1_000.0]).expect_err("two at once");
        assert!(wrong.contains("more than one"), "{wrong}");
        let faint: Vec<i16> = tone(700.0, 8_000).iter().map(|sample| sample / 4).collect();
        let wrong = stretches(&faint, 8_000, &[700.0]).expect_err("a faint tone");
        assert!(wrong.contains("neither"), "{wrong}");
    }
}
