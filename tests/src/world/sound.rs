//! What an ear made of it: tones and prompts in time.

use duolog::abilities::Abilities;
use duolog::prompts::PromptBook;
use duolog_call::{PromptName, UserIndex};
use std::time::{Duration, Instant};

use duolog::phone::Heard;
use duolog_audio::measure::{correlate, goertzel_dbfs};

/// A stretch in which a tone sounds.
#[derive(Debug, Clone, Copy)]
pub struct ToneRun {
    /// First sample.
    pub from: usize,
    /// Samples.
    pub length: usize,
    /// The loudest 20 ms, in dBFS.
    pub peak_dbfs: f64,
}

const WINDOW: usize = 160;
const STEP: usize = 8;

/// Every stretch of at least 60 ms in which the tone at `hz` stands above `floor_dbfs` in windows
/// of 20 ms, taken every millisecond. A run begins in the middle of its first window.
#[must_use]
pub fn tone_runs(samples: &[i16], hz: f64, floor_dbfs: f64) -> Vec<ToneRun> {
    let mut runs: Vec<ToneRun> = Vec::new();
    let mut open: Option<ToneRun> = None;
    for at in (0..samples.len().saturating_sub(WINDOW)).step_by(STEP) {
        let level = goertzel_dbfs(&samples[at..at + WINDOW], hz);
        match &mut open {
            Some(run) if level >= floor_dbfs => {
                run.length = at + WINDOW / 2 - run.from;
                run.peak_dbfs = run.peak_dbfs.max(level);
            }
            None if level >= floor_dbfs => {
                open = Some(ToneRun {
                    from: at + WINDOW / 2,
                    length: 0,
                    peak_dbfs: level,
                });
            }
            Some(_) => runs.extend(open.take()),
            None => {}
        }
    }
    runs.extend(open);
    runs.retain(|run| run.length >= 480);
    runs
}

/// When a sample of what was heard arrived, had its packet been a sample long.
#[must_use]
pub fn instant_of(heard: &Heard, sample: usize) -> Instant {
    heard.began + Duration::from_micros(sample as u64 * 125)
}

/// The sample at which a sound begins in what was heard, and how well it fits, 0 to 1.
#[must_use]
pub fn find(sound: &[i16], heard: &[i16]) -> (usize, f64) {
    correlate(sound, heard).map_or((0, 0.0), |found| (found.offset, found.correlation))
}

/// A shipped prompt, at 8 kHz.
///
/// # Panics
/// When it is damaged.
#[must_use]
pub fn spoken(prompt: PromptName, language: &str) -> Vec<i16> {
    let config = duolog::config::read("").expect("every key has a default");
    let book = PromptBook::load(&config, &Abilities::default());
    let book = book.expect("what is shipped can be read");
    book.prompt(prompt, language, UserIndex(0)).linear.to_vec()
}
