//! Power cuts and kills at random moments with calls running: nothing that was recorded more than a
//! second before is lost, and no call is missing (issue 2, acceptance 6, the simulated half).

use std::time::{Duration, Instant};

use duolog::phone::{Action, PhoneEvent};
use duolog_archive::{EndState, RequestedFormat, wire};
use duolog_media::RecordingKey;
use duolog_spool::{Closing, Frame, Reader, RecordingId, State, recover};
use duolog_tests::world::dice::Dice;
use duolog_tests::world::judge::judge;
use duolog_tests::world::kept::finish;
use duolog_tests::world::scene::{Desk, Saying, Scene, desk, outside};
use duolog_tests::world::watch::{Life, samples_between};
use duolog_tests::world::{BEGAN_S, World};

const SEEDS: u64 = 1_000;
const CALLS: usize = 4;
const SECOND: Duration = Duration::from_secs(1);

/// Several calls that begin, pause and end as the dice fall, until a random moment.
fn until_the_crash(seed: u64) -> World {
    let mut dice = Dice::new(seed);
    let scene = Scene::new(seed, Desk::quiet());
    let desks = vec![Desk::quiet(); CALLS];
    let voices = [Saying::Noise; 2];
    let mut world = Scene {
        desks,
        trunk_phones: CALLS,
        voices,
        ring_ms: 200,
        ..scene
    }
    .build();
    let crash = Duration::from_millis(dice.between(400, 7_000));
    let mut plan: Vec<(Duration, usize, u8)> = Vec::new();
    for call in 0..CALLS {
        let mut at = Duration::from_millis(dice.below(3_000));
        plan.push((at, call, 0));
        for what in 1..=3 {
            at += Duration::from_millis(dice.between(300, 4_000));
            plan.push((at, call, what));
        }
    }
    plan.sort();
    let began = world.now();
    for (at, call, what) in plan.into_iter().filter(|(at, ..)| *at < crash) {
        world.run_to(began + at);
        match what {
            0 => world.call(outside(call), &format!("10{call}")),
            1 => world.act(
                desk(call),
                Action::Record {
                    value: "pause".into(),
                },
            ),
            2 => world.act(
                desk(call),
                Action::Record {
                    value: "resume".into(),
                },
            ),
            _ => world.act(outside(call), Action::HangUp),
        }
    }
    world.run_to(began + crash);
    world.check();
    world
}

/// What the spool gives back of one recording.
#[derive(Debug, Default)]
struct Found {
    call_id: String,
    end: u64,
    interrupted: bool,
    whole: bool,
    flaws: Vec<String>,
}

fn read(world: &World, key: RecordingKey) -> Option<Found> {
    let mut reader = Reader::open(&world.disk, RecordingId(key.0)).ok()?;
    let mut found = Found::default();
    if reader.state() != State::Sealed {
        found.flaws.push("it is not sealed".into());
    }
    let mut audio_end = 0;
    for (n, numbered) in (&mut reader).enumerate() {
        match numbered.expect("a sound disk is readable").frame {
            Frame::Open { payload, .. } if n == 0 => {
                let opening = wire::Opening::parse(&payload).expect("our own opening");
                found.whole = opening.owner.starts_with("desk");
                found.call_id = opening.call_id;
            }
            Frame::Audio {
                position,
                samples,
                payload,
                ..
            } => {
                if position != audio_end || payload.len() as u64 != u64::from(samples) * 2 {
                    found
                        .flaws
                        .push(format!("audio at {position} after {audio_end}"));
                }
                audio_end = position + u64::from(samples);
                found.end = found.end.max(audio_end);
            }
            Frame::Seal {
                position, closing, ..
            } => {
                found.interrupted = closing == Closing::Interrupted;
                found.end = position.max(found.end);
            }
            Frame::Open { .. } => found.flaws.push("a second opening".into()),
            Frame::Locked { .. } | Frame::Key { .. } => {
                found.flaws.push("it was kept locked".into())
            }
            Frame::Gap { .. } | Frame::Fact { .. } => {}
        }
    }
    Some(found)
}

/// What is wrong with a recording after the crash, and how much of it is missing, in samples.
fn examine(world: &World, key: RecordingKey, life: &Life, crash: Instant) -> Result<u64, String> {
    let Some(found) = read(world, key) else {
        let age = crash.saturating_duration_since(life.opened);
        return if age > SECOND {
            Err(format!("opened {age:?} ago and missing"))
        } else {
            Ok(0)
        };
    };
    if !found.whole || !found.flaws.is_empty() {
        return Err(format!("{found:?}"));
    }
    let closed = life
        .closing
        .is_some_and(|at| crash.saturating_duration_since(at) > SECOND);
    if closed && found.interrupted {
        return Err("closed in time and interrupted all the same".into());
    }
    if life.closing.is_none() && !found.interrupted {
        return Err("running and not marked interrupted".into());
    }
    let until = life.closing.unwrap_or(crash);
    let length = life
        .started
        .map_or(0, |start| samples_between(start, until));
    let missing = length.saturating_sub(found.end);
    let most = if closed { 0 } else { 8_000 };
    if missing > most {
        return Err(format!(
            "{missing} samples of {length} are missing: {found:?}"
        ));
    }
    Ok(missing)
}

/// Every call that rang more than a second before has a recording, whatever the node thought of it.
fn none_is_missing(world: &World, crash: Instant) -> Result<(), String> {
    let lives = world.node.watch().lives().keys();
    let known: Vec<String> = lives
        .filter_map(|key| Some(read(world, *key)?.call_id))
        .collect();
    for (at, who, event) in world.told() {
        let rang = *event == PhoneEvent::Ringing && crash.saturating_duration_since(*at) > SECOND;
        // The caller's own Call-ID is that of the row.
        let call_id = world.phone(*who).call_id().unwrap_or_default();
        if rang && who.0 == 0 && !known.iter().any(|known| known == call_id) {
            return Err(format!("the call of {who:?} has no recording"));
        }
    }
    Ok(())
}

fn crash_and_recover(world: &mut World, seed: u64) {
    match seed % 4 {
        0 => world.disk.kill(),
        _ => world.disk.crash(),
    }
    let now_us = BEGAN_S * 1_000_000 + 3_600_000_000;
    let found = recover(&mut world.disk, now_us).expect("the directory can be listed");
    assert!(
        found.troubles.is_empty(),
        "seed {seed}: {:?}",
        found.troubles
    );
}

/// Now and then the archive finishes what is there: it plays, and it is what was said.
fn finish_all(world: &World, seed: u64) -> usize {
    let kept = finish(world, RequestedFormat::WavAsReceived);
    for one in &kept {
        let (state, length) = (one.manifest.state, one.manifest.length.samples);
        let life = &world.node.watch().lives()[&one.recording];
        if life.closing.is_none() {
            assert_eq!(
                state,
                EndState::Interrupted,
                "seed {seed}: {:?}",
                one.manifest.reason
            );
        }
        if one.manifest.audio.is_none() {
            let kept = one.manifest.channels.iter().map(|channel| channel.samples);
            assert_eq!(kept.sum::<u64>(), 0, "seed {seed}: {:?}", one.manifest);
            continue;
        }
        assert_eq!(
            one.channels[0].len() as u64,
            length,
            "seed {seed}: it plays"
        );
        if length > 0 {
            let faults = judge(world, one).faults;
            assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
        }
    }
    kept.len()
}

#[test]
fn a_thousand_crashes_lose_at_most_the_last_second() {
    let half = |from: u64| {
        move || {
            let (mut worst, mut recordings, mut finished) = (0, 0, 0);
            for seed in (from..SEEDS).step_by(2) {
                let mut world = until_the_crash(seed);
                let crash = world.now();
                crash_and_recover(&mut world, seed);
                none_is_missing(&world, crash).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
                for (key, life) in world.node.watch().lives() {
                    let missing = examine(&world, *key, life, crash)
                        .unwrap_or_else(|why| panic!("seed {seed}, {:x}: {why}", key.0));
                    worst = worst.max(missing);
                    recordings += 1;
                }
                if seed % 10 < 2 {
                    finished += finish_all(&world, seed);
                }
            }
            (worst, recordings, finished)
        }
    };
    let threads = [0, 1].map(|from| std::thread::spawn(half(from)));
    let mut totals = (0, 0, 0);
    for thread in threads {
        let (worst, recordings, finished) = thread.join().expect("every seed holds");
        totals = (
            totals.0.max(worst),
            totals.1 + recordings,
            totals.2 + finished,
        );
    }
    println!(
        "{SEEDS} crashes, {} recordings, {} finished and judged; at most {:.0} ms missing",
        totals.1,
        totals.2,
        totals.0 as f64 / 8.0
    );
    assert!(totals.1 > 2 * SEEDS && totals.2 > 100, "{totals:?}");
}
