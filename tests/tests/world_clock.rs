//! Two clocks that run apart for an hour, and channels that do not (issue 3, acceptance 1).

use std::time::{Duration, Instant};

use duolog::phone::{Action, Keep, PhoneEvent, Sighting, decode};
use duolog_archive::RequestedFormat;
use duolog_rtp::timeline::DriftCorrection;
use duolog_tests::world::kept::{Kept, finish};
use duolog_tests::world::net::Conditions;
use duolog_tests::world::scene::{Desk, Lines, Scene, desk, outside};
use duolog_tests::world::{Who, World};

const HOUR: Duration = Duration::from_secs(3_600);
/// Samples after which the coded voice begins again: 409.6 s.
const ROUND: i64 = 4_096 * 800;

/// An hour's call of an owner whose clock is fast and a caller whose clock is slow.
fn recorded(drift: DriftCorrection, jitter: Duration) -> (World, Kept) {
    let mut world = Scene {
        lines: Lines {
            clock_ppm: [200, -200],
            ..Lines::default()
        },
        drift,
        media: Conditions {
            jitter,
            ..Conditions::clean()
        },
        keep: Keep::Nothing,
        ..Scene::new(3_001, Desk::quiet())
    }
    .build();
    world.call(outside(0), "100");
    world.run(HOUR);
    world.act(desk(0), Action::HangUp);
    world.run_out();
    let kept = finish(&world, RequestedFormat::WavAsReceived).remove(0);
    (world, kept)
}

/// When a phone's voice began: with its call.
fn began(world: &World, who: Who) -> Instant {
    let answered =
        |told: &&(Instant, Who, PhoneEvent)| told.1 == who && told.2 == PhoneEvent::Answered;
    world.told().iter().find(answered).expect("it talked").0
}

/// How much later than it was spoken each slot lies in the recording, in ms, with the second in which
/// it lies. The way to the node counts as no time.
fn lateness(world: &World, kept: &Kept, side: usize) -> Vec<(usize, f64)> {
    let (who, ppm) = [(desk(0), 200.0), (outside(0), -200.0)][side];
    let life = &world.node.watch().lives()[&kept.recording];
    let started = life.started.expect("it was recorded");
    let at_ms = |at| world.since(at).as_secs_f64() * 1e3;
    let way_ms = world.net.media.delay.as_secs_f64() * 1e3;
    let begin_ms = at_ms(began(world, who)) - at_ms(started) + way_ms;
    let number = [1_000, 0][side];
    let first = number * 80_000 % ROUND;
    let (mut rounds, mut before) = (0, first);
    let mut late = Vec::new();
    for Sighting {
        at_sample,
        slot,
        party,
        ..
    } in decode(&kept.channels[side])
    {
        assert_eq!(usize::from(party), side, "whose voice is on channel {side}");
        let slot_at = i64::from(slot) * 800;
        if slot_at < before - ROUND / 2 {
            rounds += 1;
        }
        before = slot_at;
        let own_ms = (rounds * ROUND + slot_at - first) as f64 / 8.0;
        let spoken_ms = begin_ms + own_ms / (1.0 + ppm * 1e-6);
        let lies_ms = at_sample as f64 / 8.0;
        late.push((lies_ms as usize / 1_000, lies_ms - spoken_ms));
    }
    late
}

/// For every second of the call: how far what both said at one moment lies apart, in ms.
fn skew(world: &World, kept: &Kept) -> Vec<f64> {
    let seconds = |side| {
        let mut mean = vec![(0.0, 0); HOUR.as_secs() as usize + 2];
        for (second, late) in lateness(world, kept, side) {
            mean[second].0 += late;
            mean[second].1 += 1;
        }
        mean
    };
    let (owner, other) = (seconds(0), seconds(1));
    let pairs = owner.iter().zip(&other);
    pairs
        .filter(|(a, b)| a.1 > 0 && b.1 > 0)
        .map(|(a, b)| a.0 / f64::from(a.1) - b.0 / f64::from(b.1))
        .collect()
}

#[test]
fn an_hour_of_clocks_400_ppm_apart_stays_within_one_packet() {
    for jitter_ms in [0, 20] {
        let (world, kept) = recorded(DriftCorrection::On, Duration::from_millis(jitter_ms));
        let skew = skew(&world, &kept);
        let worst = skew
            .iter()
            .fold(0.0_f64, |worst, skew| worst.max(skew.abs()));
        println!(
            "jitter {jitter_ms} ms: skew over {} s at most {worst:.2} ms",
            skew.len()
        );
        assert!(
            skew.len() > 3_590,
            "every second has both voices: {}",
            skew.len()
        );
        assert!(worst <= 20.0, "{worst:.2} ms");
        for (channel, ppm) in kept.manifest.channels.iter().zip([200.0, -200.0]) {
            let report = &channel.report;
            println!("{:?}: {report:?}", channel.side);
            let told = report.drift_ppm.expect("measured");
            assert!((told - ppm).abs() < 10.0, "{told} for {ppm}");
            let corrected = report.corrected.inserted_ticks + report.corrected.dropped_ticks;
            // 200 ppm of an hour are 5,760 ticks.
            assert!((5_000..6_500).contains(&corrected), "{corrected}");
        }
    }
}

#[test]
fn without_correction_the_same_call_falls_apart() {
    let (world, kept) = recorded(DriftCorrection::Off, Duration::ZERO);
    let skew = skew(&world, &kept);
    let worst = skew
        .iter()
        .fold(0.0_f64, |worst, skew| worst.max(skew.abs()));
    println!("without correction: {worst:.1} ms");
    assert!(worst > 500.0, "{worst:.1} ms");
}
