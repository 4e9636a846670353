//! Messages in the mailbox of duolog's own: the message is the recording, whole, from the end of the
//! beep to the end of the call; what the caller was played is in no recording (issue 5, acceptance 7).

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use duolog::phone::{Action, Heard, PhoneEvent, Voice};
use duolog_archive::RequestedFormat;
use duolog_archive::wire::{Fact, Nature};
use duolog_audio::codec::Codec;
use duolog_audio::g711::Law;
use duolog_audio::measure::rms_dbfs;
use duolog_call::PromptName;
use duolog_tests::tone::measure;
use duolog_tests::world::judge::judge;
use duolog_tests::world::kept::{Kept, finish};
use duolog_tests::world::net::Conditions;
use duolog_tests::world::scene::{Desk, Saying, Scene, desk, in_laws, outside};
use duolog_tests::world::sound::{find, instant_of, spoken, tone_runs};
use duolog_tests::world::{Who, World};

const BEEP_HZ: f64 = 1_000.0;
/// When the phone has rung long enough, s.
const ANSWER_AFTER_S: u64 = 5;
/// How long the caller speaks, at least, s.
const SPEAKS_S: u64 = 12;

fn absent() -> Desk {
    Desk {
        mode: "never",
        lines: "mailbox = { answer_after = \"5s\", longest = \"20s\" }\n",
        ..Desk::quiet()
    }
}

fn scene(seed: u64) -> Scene {
    Scene {
        ring_ms: 60_000,
        ..Scene::new(seed, absent())
    }
}

fn greeting() -> Vec<i16> {
    spoken(PromptName::MailboxGreeting, "en")
}

fn heard(world: &World, who: Who) -> Heard {
    world.phone(who).ear().heard().expect("something was heard")
}

/// Somebody outside calls the desk, where nobody answers, speaks a while after the beep, and hangs up.
fn message(scene: &Scene) -> World {
    let mut world = scene.build();
    world.call(outside(0), "100");
    let greeted_s = greeting().len() as u64 / 8_000 + 1;
    world.run(Duration::from_secs(ANSWER_AFTER_S + greeted_s + SPEAKS_S));
    world.act(outside(0), Action::HangUp);
    world.run_out();
    assert!(!world.has_told(desk(0), PhoneEvent::Answered));
    world
}

fn only(world: &World, format: RequestedFormat) -> Kept {
    let mut kept = finish(world, format);
    assert_eq!(kept.len(), 1, "seed {}", world.seed);
    kept.remove(0)
}

/// When the message's position 0 was, in milliseconds after the caller had heard the last of the beep,
/// which takes the way there.
fn started_after_beep_ms(world: &World, kept: &Kept, ear: &Heard, beep_ends: usize) -> f64 {
    let lives = world.node.watch().lives();
    let started = lives[&kept.recording].started.expect("it started");
    let over = instant_of(ear, beep_ends);
    let way = world.net.media.delay.as_secs_f64();
    (world.since(started).as_secs_f64() - (world.since(over).as_secs_f64() - way)) * 1e3
}

#[test]
fn a_message_is_recorded_whole_and_nothing_that_was_played() {
    for (seed, law, media) in [
        (700, Law::Mulaw, Conditions::clean()),
        (701, Law::Alaw, Conditions::clean()),
        (
            702,
            Law::Mulaw,
            Conditions {
                delay: Duration::from_millis(20),
                jitter: Duration::from_millis(40),
                loss: 0.02,
                ..Conditions::clean()
            },
        ),
    ] {
        let clean = media.loss == 0.0;
        let world = message(&Scene {
            codecs: in_laws([law; 2]),
            media,
            ..scene(seed)
        });
        let kept = only(&world, RequestedFormat::WavAsReceived);
        let verdict = judge(&world, &kept);
        assert!(
            verdict.faults.is_empty(),
            "seed {seed}: {:#?}",
            verdict.faults
        );
        let length = kept.manifest.length.samples;
        let least = (SPEAKS_S - 1) * 8_000;
        assert!(length > least, "seed {seed}: {length} samples");
        // The oracle knows what was sent: all of it is there, but what the network lost.
        assert_eq!(verdict.exact[0], 0);
        assert!(
            verdict.exact[1] + verdict.lost[1] + 400 > length,
            "{verdict:?}"
        );
        // Silence in A-law is 8.
        let silent = |sample: &i16| sample.unsigned_abs() <= 8;
        assert!(kept.channels[0].iter().all(silent), "nobody is the owner");
        let row = &kept.shown.row.call;
        assert_eq!((row.owner.as_str(), row.callee.as_str()), ("desk0", "100"));
        assert_eq!(row.class.map(|class| class.nature), Some(Nature::Voicemail));
        let ear = heard(&world, outside(0));
        let (at, fits) = find(&greeting(), &ear.samples);
        let after = at + greeting().len();
        let runs = tone_runs(&ear.samples[after..], BEEP_HZ, -30.0);
        assert_eq!(runs.len(), 1, "seed {seed}: one beep: {runs:?}");
        let beep_ends = after + runs[0].from + runs[0].length;
        let late_ms = started_after_beep_ms(&world, &kept, &ear, beep_ends);
        println!(
            "seed {seed}, {law:?}: {length} samples, exact {}, lost {}, greeting {fits:.4}, begins {late_ms:.1} ms \
             after the beep, state {:?}",
            verdict.exact[1], verdict.lost[1], kept.manifest.state
        );
        if clean {
            assert!(fits > 0.99, "seed {seed}: {fits}");
            assert!(
                (-30.0..60.0).contains(&late_ms),
                "seed {seed}: {late_ms} ms"
            );
        }
        let (_, played) = find(&greeting(), &kept.channels[1]);
        assert!(played < 0.2, "seed {seed}: the greeting fits by {played}");
    }
}

#[test]
fn a_silent_caller_leaves_silence_and_no_trace_of_greeting_or_beep() {
    let world = message(&Scene {
        voices: [Saying::Silence; 2],
        ..scene(710)
    });
    let kept = only(&world, RequestedFormat::WavAsReceived);
    assert!(kept.manifest.length.samples > 8 * 8_000);
    for channel in &kept.channels {
        assert!(rms_dbfs(channel) < -70.0, "{}", rms_dbfs(channel));
    }
    let ear = heard(&world, outside(0));
    assert!(find(&greeting(), &ear.samples).1 > 0.99, "but it was heard");
}

#[test]
fn a_message_in_another_codec_is_as_good() {
    for (seed, codec, floor) in [(720, Codec::G722, 0.9), (721, Codec::Opus, 0.8)] {
        let scene = Scene {
            codecs: [vec![codec], vec![codec]],
            voices: [Saying::Nothing; 2],
            ..scene(seed)
        };
        let mut world = scene.build();
        world.act(
            outside(0),
            Action::SetVoice(Voice::Tone {
                hz: 1_700.0,
                dbfs: -18.0,
            }),
        );
        world.call(outside(0), "100");
        world.run(Duration::from_secs(ANSWER_AFTER_S + 4 + SPEAKS_S));
        world.act(outside(0), Action::HangUp);
        world.run_out();
        let kept = only(&world, RequestedFormat::WavPcm16);
        let rate = kept.rate_hz as usize;
        let samples = &kept.channels[1];
        assert!(samples.len() > 8 * rate, "{codec:?}");
        let tone = measure(&samples[rate..samples.len() - rate], kept.rate_hz, 1_700.0);
        let ear = heard(&world, outside(0));
        let (_, fits) = find(&greeting(), &ear.samples);
        println!("{codec:?}: {tone:?}, greeting {fits:.3}");
        assert!((tone.hz - 1_700.0).abs() < 1.0, "{codec:?}: {tone:?}");
        assert!((tone.dbfs + 18.0).abs() < 1.0, "{codec:?}: {tone:?}");
        assert!(fits > floor, "{codec:?}: {fits}");
        let (_, played) = find(&greeting(), &kept.at_8_khz(1));
        assert!(played < 0.3, "{codec:?}: the greeting fits by {played}");
    }
}

#[test]
fn a_message_is_no_longer_than_it_may_be() {
    let mut world = scene(730).build();
    world.call(outside(0), "100");
    world.run(Duration::from_secs(45));
    assert!(world.phone(outside(0)).is_idle(), "duolog hung up");
    world.run_out();
    let kept = only(&world, RequestedFormat::WavAsReceived);
    let verdict = judge(&world, &kept);
    assert!(verdict.faults.is_empty(), "{:#?}", verdict.faults);
    let length = kept.manifest.length.samples;
    assert!(
        (20 * 8_000..=20 * 8_000 + 400).contains(&length),
        "{length}"
    );
    let ear = heard(&world, outside(0));
    let (at, _) = find(&greeting(), &ear.samples);
    let runs = tone_runs(&ear.samples[at + greeting().len()..], BEEP_HZ, -30.0);
    assert_eq!(runs.len(), 2, "before and after: {runs:?}");
}

#[test]
fn a_message_ends_where_the_disk_takes_no_more_and_what_was_said_is_kept() {
    let mut world = scene(750).build();
    world.call(outside(0), "100");
    let greeted_s = greeting().len() as u64 / 8_000 + 1;
    world.run(Duration::from_secs(ANSWER_AFTER_S + greeted_s + 5));
    assert!(!world.phone(outside(0)).is_idle());
    let used = world.disk.used_bytes();
    world.disk.resize(used + 20_000);
    world.run(Duration::from_secs(9));
    assert!(world.phone(outside(0)).is_idle(), "duolog hung up");
    world.disk.resize(1 << 40);
    world.run_out();
    let kept = only(&world, RequestedFormat::WavAsReceived);
    let verdict = judge(&world, &kept);
    assert!(verdict.faults.is_empty(), "{:#?}", verdict.faults);
    let manifest = &kept.manifest;
    println!("{} samples, {}", manifest.length.samples, manifest.reason);
    assert!(manifest.reason.contains("could not be kept"));
    let trouble = |fact: &Fact| matches!(fact, Fact::RecordingTrouble { reason } if reason.contains("the spool had no room"));
    assert!(manifest.facts.iter().any(|line| trouble(&line.fact)));
    let length = manifest.length.samples;
    assert!((3 * 8_000..15 * 8_000).contains(&length), "{length}");
    assert!(verdict.exact[1] > 3 * 8_000, "{verdict:?}");
}

/// Bytes of a piece of speech that is looked for on the disk, and how many different codes it has at least.
const PIECE: usize = 16;
const SPEECH: usize = 6;

/// How many different pieces of what a phone has said were ever on the disk, and how many it said.
fn found_on_disk(world: &World, who: Who) -> (usize, usize) {
    let sent = world.phone(who).sent().iter();
    let pieces = sent.flat_map(|packet| packet.payload.chunks_exact(PIECE));
    let is_speech = |piece: &&[u8]| piece.iter().collect::<BTreeSet<_>>().len() >= SPEECH;
    let pieces: HashSet<&[u8]> = pieces.filter(is_speech).collect();
    let mut found = HashSet::new();
    for file in world.disk.ever_written() {
        // A party of a block has every other byte.
        let halves: [Vec<u8>; 2] =
            [0, 1].map(|from| file.iter().skip(from).step_by(2).copied().collect());
        for view in halves.iter().chain([&file]) {
            let windows = view.windows(PIECE);
            found.extend(windows.filter_map(|window| pieces.get(window).copied()));
        }
    }
    (found.len(), pieces.len())
}

#[test]
fn what_a_caller_on_demand_says_before_the_beep_is_on_no_disk() {
    for (seed, mode) in [(760, "on-demand"), (761, "always")] {
        let calling = Desk {
            mode,
            lines: "voicemail = \"recorded\"\n",
            ..Desk::quiet()
        };
        let mut scene = scene(seed);
        scene.desks.push(calling);
        let mut world = scene.build();
        world.disk.remember_writes();
        world.call(desk(1), "100");
        // While the greeting sounds.
        world.run(Duration::from_secs(ANSWER_AFTER_S + 2));
        world.act(desk(1), Action::HangUp);
        world.run_out();
        let (found, said) = found_on_disk(&world, desk(1));
        println!("{mode}: {found} of {said} pieces");
        assert!(said > 300, "they spoke: {said} pieces");
        match mode {
            "always" => assert!(found > said / 2, "{found} of {said}"),
            _ => assert_eq!(found, 0, "of {said}"),
        }
    }
}

#[test]
fn a_recorded_caller_keeps_their_own_half() {
    let calling = Desk {
        mode: "always",
        lines: "voicemail = \"recorded\"\n",
        ..Desk::quiet()
    };
    let mut scene = scene(740);
    scene.desks.push(calling);
    let mut world = scene.build();
    world.call(desk(1), "100");
    world.run(Duration::from_secs(ANSWER_AFTER_S + 4 + SPEAKS_S));
    world.act(desk(1), Action::HangUp);
    world.run_out();
    let mut all = finish(&world, RequestedFormat::WavAsReceived);
    all.retain(|kept| kept.manifest.length.samples > 0);
    assert_eq!(all.len(), 2, "the message and the caller's half");
    let chains: Vec<_> = all
        .iter()
        .map(|kept| kept.shown.row.call.correlation.clone())
        .collect();
    assert_eq!(chains[0], chains[1]);
    for kept in &all {
        let verdict = judge(&world, kept);
        assert!(verdict.faults.is_empty(), "{:#?}", verdict.faults);
        let row = &kept.shown.row.call;
        assert_eq!(row.class.map(|class| class.nature), Some(Nature::Voicemail));
        // Each owner is left: whose message it is says nothing, whose call it is speaks.
        let speaks = usize::from(row.owner == "desk0");
        assert!(rms_dbfs(&kept.channels[speaks]) > -40.0, "{}", row.owner);
        assert!(
            rms_dbfs(&kept.channels[1 - speaks]) < -70.0,
            "{}",
            row.owner
        );
        assert!(
            find(&greeting(), &kept.channels[speaks]).1 < 0.2,
            "{}",
            row.owner
        );
    }
}
