//! A user whose digits are masked: silent in the recording, whichever way they came, and untouched on the
//! line (issue 3, part 7).

use std::time::Duration;

use duolog::phone::{Action, Repeat, Speech, Voice};
use duolog_archive::{GapReason, RequestedFormat};
use duolog_audio::measure::goertzel_dbfs;
use duolog_tests::world::World;
use duolog_tests::world::kept::{Kept, finish};
use duolog_tests::world::scene::{Desk, Scene, Wanted, desk, outside};

/// Rows and columns of the keypad, in Hz (ITU-T Q.23).
const KEYS_HZ: [f64; 8] = [
    697.0, 770.0, 852.0, 941.0, 1_209.0, 1_336.0, 1_477.0, 1_633.0,
];

/// Four seconds of quiet in which four keys sound for 80 ms each, one a second.
fn keys() -> Vec<i16> {
    let sample = |n: usize| {
        let (second, into) = (n / 8_000, n % 8_000);
        if !(2_000..2_640).contains(&into) {
            return 0;
        }
        let at_s = n as f64 / 8_000.0;
        let tone = |hz: f64| (std::f64::consts::TAU * hz * at_s).sin() * 5_000.0;
        (tone(KEYS_HZ[second % 4]) + tone(KEYS_HZ[4 + second % 4])).round() as i16
    };
    (0..4 * 8_000).map(sample).collect()
}

fn recorded(policy: &'static str) -> (World, Kept) {
    let mut world = Scene {
        wanted: Wanted {
            dtmf: policy,
            ..Wanted::default()
        },
        ..Scene::new(3_600, Desk::quiet())
    }
    .build();
    world.call(outside(0), "100");
    world.run(Duration::from_secs(3));
    world.act(
        desk(0),
        Action::Press {
            digits: "1234".into(),
        },
    );
    world.run(Duration::from_secs(3));
    let voice = Voice::Samples {
        speech: Speech::new(&keys()),
        repeat: Repeat::Once,
        from: 0,
    };
    world.act(outside(0), Action::SetVoice(voice));
    world.run(Duration::from_secs(5));
    world.act(desk(0), Action::HangUp);
    world.run_out();
    let kept = finish(&world, RequestedFormat::WavPcm16).remove(0);
    (world, kept)
}

/// The loudest 40 ms in which two keypad tones sound, as the weaker of the two, in dBFS.
fn loudest_key(samples: &[i16]) -> f64 {
    let pair = |window: &[i16]| {
        let strongest = |group: &[f64]| {
            let levels = group.iter().map(|hz| goertzel_dbfs(window, *hz));
            levels.fold(f64::NEG_INFINITY, f64::max)
        };
        strongest(&KEYS_HZ[..4]).min(strongest(&KEYS_HZ[4..]))
    };
    let windows = samples.windows(320).step_by(80);
    windows.map(pair).fold(f64::NEG_INFINITY, f64::max)
}

fn masked_ticks(kept: &Kept, channel: usize) -> u64 {
    let gaps = kept.manifest.channels[channel].gaps.iter();
    let masked = gaps.filter(|gap| gap.reason == GapReason::DtmfMasked);
    masked.map(|gap| gap.samples).sum()
}

#[test]
fn masked_digits_are_silent_in_the_recording_and_whole_on_the_line() {
    let (world, kept) = recorded("mask");
    let end = &kept.channels[1][kept.channels[1].len() - 5 * 8_000..];
    let level = loudest_key(end);
    println!(
        "loudest key in the recording {level:.1} dBFS, masked {:?} ms",
        [0, 1].map(|c| masked_ticks(&kept, c) / 8)
    );
    assert!(level < -60.0, "{level}");
    // 80 ms of sound, 60 before and 20 behind; a press of 100 ms leaves only its surroundings.
    assert!(
        masked_ticks(&kept, 1) >= 4 * 8 * 80,
        "{:?}",
        kept.manifest.channels[1].gaps
    );
    assert!(
        masked_ticks(&kept, 0) > 0,
        "{:?}",
        kept.manifest.channels[0].gaps
    );
    let heard = world
        .phone(desk(0))
        .ear()
        .heard()
        .expect("the desk heard the keys");
    let line = loudest_key(&heard.samples[heard.samples.len() - 5 * 8_000..]);
    assert!(line > -25.0, "on the line {line}");
    let pressed = world.phone(outside(0)).ear().digits().len();
    assert_eq!(pressed, 4, "the caller is sent every digit");
    // What the owner says lies beside the masks untouched.
    let spoken = &kept.channels[0][..2 * 8_000];
    assert!(spoken.iter().any(|sample| sample.unsigned_abs() > 2_000));
}

#[test]
fn kept_digits_stay_as_they_came() {
    let (_, kept) = recorded("keep");
    let level = loudest_key(&kept.channels[1][kept.channels[1].len() - 5 * 8_000..]);
    println!("loudest key in the recording {level:.1} dBFS");
    assert!(level > -25.0, "{level}");
    assert_eq!([0, 1].map(|channel| masked_ticks(&kept, channel)), [0, 0]);
}
