//! Every codec on one leg with every codec on the other: heard at both ends and recorded
//! (issue 3, acceptance 5), and a codec that changes in mid-call.

use std::time::Duration;

use duolog::phone::{Action, PhoneEvent, Voice};
use duolog_archive::{EndState, RequestedFormat};
use duolog_audio::codec::{Channels, Codec, G729Library};
use duolog_tests::tone::{Tone, measure};
use duolog_tests::world::World;
use duolog_tests::world::kept::{Kept, finish};
use duolog_tests::world::scene::{Desk, Saying, Scene, Wanted, desk, outside};

/// What the desk and the caller say: their levels tell them apart.
const LEVELS: [f32; 2] = [-12.0, -18.0];

fn codecs() -> Vec<Codec> {
    let mut codecs = vec![
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::Opus,
        Codec::L16 {
            rate_hz: 16_000,
            channels: Channels::Mono,
        },
    ];
    match G729Library::open() {
        Ok(_) => codecs.push(Codec::G729),
        Err(error) => println!("SKIPPED: every pair with G.729: {error}"),
    }
    codecs
}

fn scene(seed: u64, codecs: [Codec; 2]) -> Scene {
    Scene {
        codecs: codecs.map(|codec| vec![codec]),
        wanted: Wanted {
            transcode: r#"["pcmu", "pcma", "g722", "opus", "g729", "l16/16000"]"#,
            ..Wanted::default()
        },
        voices: [Saying::Nothing; 2],
        ..Scene::new(seed, Desk::quiet())
    }
}

/// Both parties sound their tones for three seconds.
fn sound(world: &mut World) {
    for (who, dbfs) in [(desk(0), LEVELS[0]), (outside(0), LEVELS[1])] {
        let tone = Voice::Tone { hz: 1_000.0, dbfs };
        world.act(who, Action::SetVoice(tone));
    }
    world.run(Duration::from_secs(3));
}

fn recorded(scene: &Scene) -> (World, Kept) {
    let mut world = scene.build();
    world.call(outside(0), "100");
    world.run_ms(600);
    assert!(
        world.has_told(desk(0), PhoneEvent::Answered),
        "{:?}",
        world.told()
    );
    sound(&mut world);
    world.act(desk(0), Action::HangUp);
    world.run_out();
    let kept = finish(&world, RequestedFormat::WavPcm16).remove(0);
    (world, kept)
}

/// The tone in the middle two seconds of what sounds.
fn tone(samples: &[i16], rate_hz: u32) -> Tone {
    let second = rate_hz as usize;
    let loud = samples
        .iter()
        .position(|sample| sample.unsigned_abs() > 500);
    let from = loud.expect("something sounds") + second / 2;
    measure(&samples[from..from + 2 * second], rate_hz, 1_000.0)
}

#[track_caller]
fn check(name: &str, where_: &str, found: Tone, dbfs: f32) {
    println!(
        "{name}, {where_}: {:.2} Hz, {:.2} dBFS",
        found.hz, found.dbfs
    );
    assert!(
        (found.hz - 1_000.0).abs() <= 1.0,
        "{name}, {where_}: {found:?}"
    );
    assert!(
        (found.dbfs - f64::from(dbfs)).abs() <= 1.0,
        "{name}, {where_}: {found:?} for {dbfs}"
    );
}

#[test]
fn a_tone_is_heard_and_recorded_through_every_pair_of_codecs() {
    let all = codecs();
    for (n, &owner) in all.iter().enumerate() {
        for (m, &other) in all.iter().enumerate() {
            let seed = 3_200 + (n * all.len() + m) as u64;
            let name = format!("{} with {}", owner.name(), other.name());
            let (world, kept) = recorded(&scene(seed, [owner, other]));
            assert_eq!(kept.manifest.state, EndState::Complete, "{name}");
            let agreed = [desk(0), outside(0)].map(|who| world.phone(who).sent().len());
            assert!(
                agreed.iter().all(|sent| *sent > 140),
                "{name}: {agreed:?} packets"
            );
            for (channel, dbfs) in kept.channels.iter().zip(LEVELS) {
                check(&name, "in the file", tone(channel, kept.rate_hz), dbfs);
            }
            for (who, dbfs) in [(desk(0), LEVELS[1]), (outside(0), LEVELS[0])] {
                let heard = world.phone(who).ear().heard().expect("it heard something");
                check(&name, "at an ear", tone(&heard.samples, 8_000), dbfs);
            }
            if owner == other {
                untouched(&name, &world);
            }
        }
    }
}

/// One codec on both legs: what one sent is what the other heard, byte for byte.
#[track_caller]
fn untouched(name: &str, world: &World) {
    for (from, to) in [(desk(0), outside(0)), (outside(0), desk(0))] {
        let sent: Vec<_> = world
            .phone(from)
            .sent()
            .iter()
            .map(|p| p.payload.clone())
            .collect();
        let heard: Vec<_> = world
            .phone(to)
            .ear()
            .packets()
            .iter()
            .map(|p| p.payload.clone())
            .collect();
        let whole = heard
            .windows(100)
            .any(|window| sent.windows(100).any(|other| other == window));
        assert!(whole, "{name}: payloads pass untouched");
    }
}

#[test]
fn a_recording_has_the_rate_of_its_widest_leg() {
    let wide = Codec::L16 {
        rate_hz: 16_000,
        channels: Channels::Mono,
    };
    for (n, (codecs, rate_hz)) in [
        ([Codec::Pcmu, Codec::Pcma], 8_000),
        ([Codec::G722, Codec::Pcma], 16_000),
        ([Codec::Pcmu, wide], 16_000),
        ([Codec::Pcmu, Codec::Opus], 48_000),
    ]
    .into_iter()
    .enumerate()
    {
        let (_, kept) = recorded(&scene(3_300 + n as u64, codecs));
        assert_eq!(kept.rate_hz, rate_hz, "{codecs:?}");
    }
}

#[test]
fn a_codec_that_changes_in_mid_call_keeps_the_recording_whole() {
    let start = Scene {
        codecs: [
            vec![Codec::Pcmu, Codec::G722, Codec::Opus],
            vec![Codec::Pcmu, Codec::G722, Codec::Opus],
        ],
        ..scene(3_310, [Codec::Pcmu; 2])
    };
    let mut world = start.build();
    world.call(outside(0), "100");
    world.run_ms(600);
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus, Codec::Pcmu] {
        world.act(
            desk(0),
            Action::Recode {
                codecs: vec![codec],
            },
        );
        world.run_ms(200);
        assert_eq!(
            world.phone(desk(0)).agreed().map(|agreed| agreed.codec),
            Some(codec)
        );
        sound(&mut world);
        for who in [desk(0), outside(0)] {
            world.act(who, Action::SetVoice(Voice::None));
        }
        world.run_ms(500);
    }
    world.act(desk(0), Action::HangUp);
    world.run_out();
    let kept = finish(&world, RequestedFormat::WavPcm16).remove(0);
    assert_eq!(
        (kept.manifest.state, kept.rate_hz),
        (EndState::Complete, 48_000)
    );
    let length = kept.manifest.length.samples as usize * 6;
    assert!(kept.channels.iter().all(|channel| channel.len() == length));
    for (side, dbfs) in LEVELS.into_iter().enumerate() {
        let mut rest = &kept.channels[side][..];
        for turn in 0..4 {
            check(
                "four codecs",
                &format!("turn {turn}"),
                tone(rest, 48_000),
                dbfs,
            );
            let loud = rest
                .iter()
                .position(|sample| sample.unsigned_abs() > 500)
                .expect("a turn");
            rest = &rest[loud + 48_000 * 33 / 10..];
        }
    }
}
