//! `duolog demo --once`, the call that `make run` shows: whose voice is in which channel.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use duolog_audio::container::{ogg_opus, wav};
use duolog_audio::measure::correlate;

const OWNER: &[u8] = include_bytes!("../../../fixtures/audio/demo-owner.wav");
const OTHER: &[u8] = include_bytes!("../../../fixtures/audio/demo-other.wav");

/// Two seconds at the beginning of the recording, long before the pause and the repeat tone.
const STRETCH: std::ops::Range<usize> = 4_000..20_000;

fn looped(voice: &[u8]) -> Vec<i16> {
    let mut reader = wav::Reader::open(voice).expect("a fixture");
    reader.read_to_end().expect("a fixture").repeat(2)
}

fn likeness(channel: &[i16], voice: &[u8]) -> f64 {
    correlate(&channel[STRETCH], &looped(voice)).map_or(0.0, |found| found.correlation)
}

#[test]
fn leaves_the_owner_left_and_the_other_party_right() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let output = Command::new(env!("CARGO_BIN_EXE_duolog"))
        .args(["demo", "--once"])
        .current_dir(scratch.path())
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{log}");
    for expected in [
        "presses *48: pause",
        "presses *49: resume",
        "state     complete",
        "ffplay",
    ] {
        assert!(
            told.contains(expected),
            "{expected:?} is missing in:\n{told}"
        );
    }
    let audio = told
        .lines()
        .find_map(|line| line.trim().strip_prefix("audio "));
    let audio = PathBuf::from(audio.expect("the story says where the audio lies").trim());
    let file = File::open(scratch.path().join(audio)).expect("the audio is there");
    let mut reader = ogg_opus::Reader::open(file).expect("Ogg Opus");
    let stereo = reader.read_to_end().expect("a whole recording");
    let channel = |n: usize| {
        stereo
            .iter()
            .skip(n)
            .step_by(2)
            .copied()
            .collect::<Vec<i16>>()
    };
    let (left, right) = (channel(0), channel(1));
    println!(
        "left: owner {:.3}, other {:.3}; right: other {:.3}, owner {:.3}",
        likeness(&left, OWNER),
        likeness(&left, OTHER),
        likeness(&right, OTHER),
        likeness(&right, OWNER)
    );
    assert!(likeness(&left, OWNER) > 0.9 && likeness(&right, OTHER) > 0.9);
    assert!(likeness(&left, OTHER) < 0.4 && likeness(&right, OWNER) < 0.4);
    assert!(
        (22.0..25.0).contains(&(left.len() as f64 / 8_000.0)),
        "{} samples",
        left.len()
    );
}
