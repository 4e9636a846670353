//! What is said while a recording is paused is nowhere (issue 2, acceptance 5).

use std::collections::HashSet;
use std::io::Cursor;
use std::ops::Range;
use std::time::{Duration, Instant};

use duolog::phone::{Action, PhoneEvent, SLOT_SAMPLES, Sighting, decode};
use duolog_archive::RequestedFormat;
use duolog_archive::wire::{Fact, Side, Way};
use duolog_audio::container::ogg_opus;
use duolog_sip::StatusCode;
use duolog_spool::Disk;
use duolog_tests::world::judge::judge;
use duolog_tests::world::kept::finish;
use duolog_tests::world::scene::{Desk, Scene, desk, outside};
use duolog_tests::world::watch::samples_between;
use duolog_tests::world::{Who, World};

/// How the owner asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    Code,
    Info,
}

/// When each ask reached the node: the end of the last key, or the INFO.
struct Call {
    world: World,
    asked: Vec<Instant>,
}

/// A call of which the owner pauses these seconds (since the answer), each way.
fn call(seed: u64, pauses: &[(Range<u64>, Asking)]) -> Call {
    let mut world = Scene::new(seed, Desk::quiet()).build();
    world.call(outside(0), "100");
    world.run_ms(330);
    let (began, mut asked) = (world.now(), Vec::new());
    for (seconds, asking) in pauses {
        for (second, code, word) in [
            (seconds.start, "*48", "pause"),
            (seconds.end, "*49", "resume"),
        ] {
            world.run_to(began + Duration::from_secs(second));
            asked.push(ask(&mut world, *asking, code, word));
        }
    }
    world.run(Duration::from_secs(6));
    world.act(outside(0), Action::HangUp);
    world.run_out();
    Call { world, asked }
}

/// The owner asks; gives the moment at which the node had heard it whole.
fn ask(world: &mut World, asking: Asking, code: &str, word: &str) -> Instant {
    match asking {
        Asking::Info => {
            world.act(desk(0), Action::Record { value: word.into() });
            world.now() + world.net.sip.delay
        }
        Asking::Code => {
            let before = world.phone(desk(0)).sent().len();
            world.act(
                desk(0),
                Action::Press {
                    digits: code.into(),
                },
            );
            world.run_ms(700);
            let last = code.bytes().last().map_or(0, |key| key - b'0');
            let sent = &world.phone(desk(0)).sent()[before..];
            let ended = |p: &&duolog::phone::SentPacket| {
                p.payload_type > 95 && p.payload[0] == last && p.payload[1] & 0x80 != 0
            };
            sent.iter().find(ended).expect("the last key was let go").at + world.net.media.delay
        }
    }
}

/// The G.711 payloads that both phones sent in these samples of the recording, far from the edges.
fn said_in(world: &World, samples: Range<u64>) -> Vec<[u8; 32]> {
    let life = world
        .node
        .watch()
        .lives()
        .values()
        .next()
        .expect("a recording");
    let started = life.started.expect("it started");
    // Slots that began before or go on behind are also heard outside.
    let margin = 2 * SLOT_SAMPLES as u64;
    let inside = samples.start + margin..samples.end - margin;
    let mut said = Vec::new();
    for who in [desk(0), outside(0)] {
        for packet in world
            .phone(who)
            .sent()
            .iter()
            .filter(|p| p.payload.len() == 160)
        {
            let at = samples_between(started, packet.at + world.net.media.delay);
            if inside.contains(&at) {
                let parts = packet.payload.chunks_exact(32);
                said.extend(parts.map(|part| <[u8; 32]>::try_from(part).expect("32 octets")));
            }
        }
    }
    said
}

/// How many of these lie in bytes, in a row or interleaved with others two, four or eight apart.
fn hits(bytes: &[u8], wanted: &HashSet<[u8; 32]>) -> usize {
    let mut count = 0;
    for stride in [1, 2, 4] {
        for offset in 0..stride {
            let lane: Vec<u8> = bytes.iter().skip(offset).step_by(stride).copied().collect();
            count += lane.windows(32).filter(|w| wanted.contains(*w)).count();
        }
    }
    count
}

/// Everything that lies on the spool's disk.
fn spooled(world: &World) -> Vec<u8> {
    let mut all = Vec::new();
    for file in world.disk.list().expect("the disk can be listed") {
        let mut bytes = vec![0; file.bytes as usize];
        let read = world
            .disk
            .read(&file.name, 0, &mut bytes)
            .expect("and read");
        all.extend_from_slice(&bytes[..read]);
    }
    all
}

fn assert_nowhere(name: &str, call: &Call) {
    let world = &call.world;
    let life = world
        .node
        .watch()
        .lives()
        .values()
        .next()
        .expect("a recording")
        .clone();
    let disk = spooled(world);
    for (from, until) in &life.pauses {
        let until = until.expect("resumed");
        let wanted: HashSet<_> = said_in(world, *from..until).into_iter().collect();
        assert!(wanted.len() > 50, "{name}: something was said meanwhile");
        assert_eq!(
            hits(&disk, &wanted),
            0,
            "{name}: paused audio lies in the spool"
        );
        let before: HashSet<_> = said_in(world, from - 8_000..*from).into_iter().collect();
        assert!(
            hits(&disk, &before) > 50,
            "{name}: the search finds what is there"
        );
    }
    let marks = life
        .pauses
        .iter()
        .flat_map(|(from, until)| [("pause", *from), ("resume", until.expect("resumed"))]);
    for (asked, (mark, position)) in call.asked.iter().zip(marks) {
        let wanted = samples_between(life.started.expect("started"), *asked);
        let error = position.abs_diff(wanted) as f64 / 8.0;
        println!("{name}: {mark}: {error:.2} ms from the ask");
        assert!(error <= 20.0, "{name}: {mark} {error} ms from the ask");
    }
    let kept = finish(world, RequestedFormat::WavAsReceived);
    assert_eq!(kept.len(), 1, "{name}: pauses do not cut a recording");
    let kept = &kept[0];
    let verdict = judge(world, kept);
    assert!(verdict.faults.is_empty(), "{name}: {:#?}", verdict.faults);
    assert_eq!(kept.manifest.pauses.len(), life.pauses.len(), "{name}");
    let marked = |kind: &str| {
        kept.manifest
            .facts
            .iter()
            .filter(|l| l.fact.kind() == kind)
            .count()
    };
    assert_eq!(marked("recording_paused"), life.pauses.len());
    assert_eq!(marked("recording_resumed"), life.pauses.len());
    for (from, until) in life.pauses {
        let wanted: HashSet<_> = said_in(world, from..until.expect("resumed"))
            .into_iter()
            .collect();
        assert_eq!(
            hits(&kept.object, &wanted),
            0,
            "{name}: paused audio lies in the object"
        );
        for channel in &kept.channels {
            let pause = &channel[from as usize..until.expect("resumed") as usize];
            assert!(pause.iter().all(|sample| *sample == 0) && decode(pause).is_empty());
        }
    }
    let logs = format!("{:?} {:?}", world.node.logs(), kept.manifest);
    for word in ["*48", "*49", "Digit {"] {
        assert!(!logs.contains(word), "{name}: {word} in logs or facts");
    }
}

#[test]
fn three_pauses_by_code_and_by_info_are_one_recording_with_three_silences() {
    for (seed, asking) in [(300, Asking::Code), (301, Asking::Info)] {
        let pauses = [(3..6, asking), (9..10, asking), (14..19, asking)];
        let call = call(seed, &pauses);
        assert_nowhere(&format!("{asking:?}"), &call);
        if asking == Asking::Info {
            let ok = PhoneEvent::InfoAnswered(StatusCode::OK);
            let told = call
                .world
                .told()
                .iter()
                .filter(|(_, who, e)| (*who, *e) == (desk(0), ok));
            assert_eq!(told.count(), 6);
        }
    }
}

#[test]
fn many_pauses_at_odd_moments_are_as_good() {
    let mut world_seed = 310;
    for ask_with in [[Asking::Code, Asking::Info], [Asking::Info, Asking::Code]] {
        world_seed += 1;
        let pauses = [
            (2..4, ask_with[0]),
            (6..9, ask_with[1]),
            (11..13, ask_with[0]),
        ];
        assert_nowhere(&format!("{ask_with:?}"), &call(world_seed, &pauses));
    }
}

/// Opus is made from the spool: what is not there cannot be in it, and coding must not smear.
#[test]
fn in_an_opus_object_no_slot_of_the_paused_second_is_heard() {
    let call = call(320, &[(4..8, Asking::Code)]);
    let world = &call.world;
    let life = world
        .node
        .watch()
        .lives()
        .values()
        .next()
        .expect("a recording")
        .clone();
    let (from, until) = (
        life.pauses[0].0 as i64,
        life.pauses[0].1.expect("resumed") as i64,
    );
    let kept = finish(world, RequestedFormat::OggOpus);
    let mut reader = ogg_opus::Reader::open(Cursor::new(&kept[0].object)).expect("Ogg Opus");
    let all = reader.read_to_end().expect("whole");
    for channel in 0..2 {
        let samples: Vec<i16> = all.iter().skip(channel).step_by(2).copied().collect();
        let seen = decode(&samples);
        let (before, after): (Vec<Sighting>, Vec<Sighting>) =
            seen.iter().partition(|s| s.at_sample < from);
        let silent = SLOT_SAMPLES as i64;
        // Before the pause the owner pressed keys, for less than half a second.
        let keys = if channel == 0 { 7 } else { 1 };
        assert!(before.len() >= (from as usize / SLOT_SAMPLES) - keys as usize);
        assert!(after.len() > 50, "{} slots behind the pause", after.len());
        assert!(
            after.iter().all(|s| s.at_sample > until - silent),
            "{after:?}"
        );
        let said: Vec<u16> = before.iter().map(|s| s.slot).collect();
        let missed = (until - from) / silent;
        let jump = i64::from(after[0].slot) - i64::from(*said.last().expect("said"));
        assert!(
            (-1..=keys + 1).contains(&(jump - missed)),
            "channel {channel}: {jump} slots for {missed}"
        );
    }
}

fn keys_at(world: &World, who: Who) -> Vec<u8> {
    world
        .phone(who)
        .ear()
        .digits()
        .iter()
        .map(|digit| digit.event)
        .collect()
}

#[test]
fn the_code_never_reaches_the_other_party_and_other_digits_do() {
    for (pressed, expected) in [
        ("*48", &[][..]),
        ("*49", &[]),
        ("5", &[5]),
        ("#7*48", &[11, 7]),
        ("*47", &[10, 4, 7]),
        ("*4*481", &[10, 4, 1]),
        ("*", &[10]),
    ] {
        let mut world = Scene::new(330, Desk::quiet()).build();
        world.call(outside(0), "100");
        world.run_ms(2_000);
        world.act(
            desk(0),
            Action::Press {
                digits: pressed.into(),
            },
        );
        world.run_ms(9_000);
        world.act(outside(0), Action::HangUp);
        world.run_out();
        assert_eq!(keys_at(&world, outside(0)), expected, "{pressed}");
        assert_eq!(keys_at(&world, desk(0)), [0_u8; 0]);
        let others = world.phone(outside(0)).ear().packets().iter();
        let events = others.filter(|p| p.codec.is_none()).count();
        assert_eq!(
            events == 0,
            expected.is_empty(),
            "{pressed}: {events} event packets"
        );
        let kept = finish(&world, RequestedFormat::WavAsReceived);
        let verdict = judge(&world, &kept[0]);
        assert!(
            verdict.faults.is_empty(),
            "{pressed}: {:#?}",
            verdict.faults
        );
    }
}

#[test]
fn the_other_partys_digits_are_no_codes() {
    let mut world = Scene::new(340, Desk::quiet()).build();
    world.call(outside(0), "100");
    world.run_ms(2_000);
    world.act(
        outside(0),
        Action::Press {
            digits: "*48".into(),
        },
    );
    world.run_ms(2_000);
    world.act(
        outside(0),
        Action::Record {
            value: "pause".into(),
        },
    );
    world.run_ms(2_000);
    world.act(outside(0), Action::HangUp);
    world.run_out();
    assert_eq!(keys_at(&world, desk(0)), [10, 4, 8]);
    let refused = PhoneEvent::InfoAnswered(StatusCode::FORBIDDEN);
    assert!(world.has_told(outside(0), refused), "{:?}", world.told());
    let kept = finish(&world, RequestedFormat::WavAsReceived);
    assert!(kept[0].manifest.pauses.is_empty());
    let refusal = kept[0]
        .manifest
        .facts
        .iter()
        .find_map(|line| match &line.fact {
            Fact::ControlRefused { by, way, .. } => Some((*by, *way)),
            _ => None,
        });
    assert_eq!(refusal, Some((Side::Other, Way::SipInfo)));
    assert!(judge(&world, &kept[0]).faults.is_empty());
}
