//! What the demonstration call left behind, for a person at a terminal.

use anyhow::{Context, Result, bail};
use duolog_archive::{Manifest, SAMPLE_RATE_HZ, Shown, recording_text};
use duolog_audio::measure::goertzel_dbfs;

use super::script::Heard;
use crate::phone::Ear;

/// Frequency of the repeat tone, and the level from which on it counts as heard.
const TONE_HZ: f64 = 1400.0;
const HEARD_DBFS: f64 = -30.0;

/// Length of a stretch in which the tone is looked for: 100 ms.
const STRETCH: usize = SAMPLE_RATE_HZ as usize / 10;

/// Prints where the recording lies, how long it is, each channel's level, the pauses, what parties
/// heard, and how to play it.
///
/// # Errors
///
/// When the call left no audio, or no manifest.
pub fn print(shown: &Shown, heard: &Heard) -> Result<()> {
    let manifest = shown
        .manifest
        .as_ref()
        .context("the call left no manifest")?;
    let Some(path) = &shown.audio_path else {
        bail!("the call left no audio: {}", manifest.reason);
    };
    println!("\nThe recording {}", recording_text(shown.row.id));
    println!("  state     {}: {}", manifest.state.word(), manifest.reason);
    println!("  length    {:.2} s", seconds(manifest.length.samples));
    for (name, channel) in ["left ", "right"].iter().zip(&manifest.channels) {
        let who = if *name == "right" {
            "the other party"
        } else {
            &manifest.call.owner
        };
        match channel.level {
            Some(level) => println!(
                "  {name}     {who}: {:.1} dBFS rms, peak {:.1} dBFS, {:.2} s of audio",
                level.rms_dbfs,
                level.peak_dbfs,
                seconds(channel.samples)
            ),
            None => println!("  {name}     {who}: no audio"),
        }
    }
    print_pauses(manifest);
    println!("  heard     repeat tone at {}", tones(heard));
    println!("  audio     {}", path.display());
    if let Some(path) = &shown.manifest_path {
        println!("  manifest  {}", path.display());
    }
    println!("\nPlay it with:  ffplay -autoexit {}", path.display());
    println!(
        "Check it with: target/debug/duolog verify {}\n",
        recording_text(shown.row.id)
    );
    Ok(())
}

fn print_pauses(manifest: &Manifest) {
    if manifest.pauses.is_empty() {
        println!("  pauses    none");
    }
    for pause in &manifest.pauses {
        let (from, to) = (
            seconds(pause.position),
            seconds(pause.position + pause.samples),
        );
        println!("  paused    {from:.2} s to {to:.2} s: written nowhere, silent in the recording");
    }
}

/// When each end heard the repeat tone, in seconds since it heard anything.
fn tones(heard: &Heard) -> String {
    let list = |ear: &Ear| {
        let times: Vec<String> = tone_starts(ear)
            .iter()
            .map(|s| format!("{s:.1} s"))
            .collect();
        if times.is_empty() {
            "no time".to_string()
        } else {
            times.join(", ")
        }
    };
    format!(
        "{} (caller), {} (owner)",
        list(&heard.caller),
        list(&heard.callee)
    )
}

fn tone_starts(ear: &Ear) -> Vec<f64> {
    let Some(heard) = ear.heard() else {
        return Vec::new();
    };
    let loud = |stretch: &[i16]| goertzel_dbfs(stretch, TONE_HZ) > HEARD_DBFS;
    let flags: Vec<bool> = heard.samples.chunks(STRETCH).map(loud).collect();
    // A tone lasts half a second; a single loud stretch is somebody's voice.
    let begins = |n: &usize| {
        let lasts = flags[*n..].iter().take(3).filter(|f| **f).count() == 3;
        lasts && !n.checked_sub(1).is_some_and(|before| flags[before])
    };
    (0..flags.len())
        .filter(begins)
        .map(|n| n as f64 / 10.0)
        .collect()
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE_HZ)
}
