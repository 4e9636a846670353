//! A disk that stalls, fails and fills up: no party hears it, and what cannot be kept is listed
//! (issue 2, acceptance 7, in virtual time).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use duolog::phone::{Action, PhoneEvent};
use duolog_archive::{EndState, GapReason, RequestedFormat};
use duolog_sip::StatusCode;
use duolog_tests::world::World;
use duolog_tests::world::judge::{Verdict, judge};
use duolog_tests::world::kept::{Kept, finish};
use duolog_tests::world::scene::{Desk, Saying, Scene, desk, outside};

const CALLS: usize = 4;

/// Four calls that run, and a fifth pair that does not call yet.
fn calls(seed: u64, queue: usize) -> World {
    let scene = Scene::new(seed, Desk::quiet());
    let desks = vec![Desk::quiet(); CALLS + 1];
    let voices = [Saying::Noise; 2];
    let mut world = Scene {
        desks,
        trunk_phones: CALLS + 1,
        voices,
        queue,
        ..scene
    }
    .build();
    for call in 0..CALLS {
        world.call(outside(call), &format!("10{call}"));
        world.run_ms(37);
    }
    world.run_ms(5_000);
    world
}

fn end(world: &mut World) -> Vec<(Kept, Verdict)> {
    for call in 0..CALLS {
        world.act(outside(call), Action::HangUp);
    }
    world.run_out();
    let judged = finish(world, RequestedFormat::WavAsReceived);
    let judged: Vec<_> = judged
        .into_iter()
        .map(|kept| (judge(world, &kept), kept))
        .collect();
    for (verdict, _) in &judged {
        assert!(
            verdict.faults.is_empty(),
            "seed {}: {:#?}",
            world.seed,
            verdict.faults
        );
    }
    judged
        .into_iter()
        .map(|(verdict, kept)| (kept, verdict))
        .collect()
}

/// Every packet that a phone heard left the other one exactly two ways before.
fn assert_nobody_waited(world: &World) {
    let way = 2 * world.net.media.delay;
    for call in 0..CALLS {
        for (ear, mouth) in [(desk(call), outside(call)), (outside(call), desk(call))] {
            let sent = world.phone(mouth).sent().iter();
            let sent: HashMap<Instant, _> = sent.map(|p| (p.at, &p.payload)).collect();
            let heard = world.phone(ear).ear().packets();
            assert!(heard.len() > 900);
            for packet in heard {
                let left = sent.get(&(packet.arrived - way));
                assert!(
                    left == Some(&&packet.payload),
                    "a packet was late, or another one"
                );
            }
            let (sent, heard) = (world.phone(mouth).sent().len(), heard.len());
            assert!(sent - heard < 30, "{heard} of {sent} were relayed");
        }
    }
}

fn gaps_of(kept: &Kept, reason: GapReason) -> u64 {
    let gaps = kept
        .manifest
        .channels
        .iter()
        .flat_map(|channel| &channel.gaps);
    gaps.filter(|gap| gap.reason == reason)
        .map(|gap| gap.samples)
        .sum()
}

#[test]
fn a_stall_of_five_seconds_delays_no_packet_and_loses_nothing() {
    let mut world = calls(400, 4_096);
    for _ in 0..3 {
        world.disk.stall_next_sync(Duration::from_secs(5));
        world.run_ms(9_000);
    }
    let (_, deepest, _) = world.node.keeper().depth();
    world.check();
    assert_nobody_waited(&world);
    let judged = end(&mut world);
    assert_eq!(judged.len(), CALLS);
    for (kept, verdict) in &judged {
        assert_eq!(
            (kept.manifest.state, verdict.unkept),
            (EndState::Complete, [0, 0])
        );
        assert!(
            verdict.exact.iter().all(|exact| *exact > 30 * 8_000),
            "{verdict:?}"
        );
    }
    println!("three stalls of 5 s: {deepest} entries waited at most, nothing was late or lost");
    assert!(deepest > 50, "the stall was felt somewhere: {deepest}");
}

#[test]
fn a_stall_that_outlasts_the_memory_becomes_listed_gaps_and_closes_the_gate() {
    let mut world = calls(410, 64);
    world.disk.stall_next_sync(Duration::from_secs(20));
    world.run_ms(10_000);
    world.call(outside(CALLS), "104");
    world.run_ms(11_000);
    let refused = PhoneEvent::Refused(StatusCode::new(503).expect("a status"));
    assert!(
        world.has_told(outside(CALLS), refused),
        "{:?}",
        world.told()
    );
    world.run_ms(10_000);
    world.call(outside(CALLS), "104");
    world.run_ms(3_000);
    assert!(
        world.has_told(outside(CALLS), PhoneEvent::Answered),
        "the gate opens again"
    );
    world.act(outside(CALLS), Action::HangUp);
    assert_nobody_waited(&world);
    let judged = end(&mut world);
    assert_eq!(
        judged.len(),
        CALLS + 2,
        "the refused call has a row of its own"
    );
    let lost: u64 = judged
        .iter()
        .map(|(kept, _)| gaps_of(kept, GapReason::SpoolFull))
        .sum();
    println!(
        "a stall of 20 s and 64 entries of memory: {} ms of gaps listed",
        lost / 8
    );
    assert!(lost > 8_000 * 10);
    for (kept, verdict) in &judged {
        let ours = gaps_of(kept, GapReason::SpoolFull);
        assert_eq!(
            ours,
            verdict.unkept.iter().sum::<u64>(),
            "what is listed is what is missing"
        );
        let state = kept.manifest.state;
        assert!(
            ours == 0 || state == EndState::Partial,
            "{state:?}: {}",
            kept.manifest.reason
        );
    }
}

#[test]
fn a_full_disk_ends_in_listed_gaps_and_refused_calls_and_the_rest_is_exact() {
    let mut world = calls(420, 4_096);
    world.disk.resize(world.disk.used_bytes() + 300_000);
    world.run_ms(3_000);
    world.call(outside(CALLS), "104");
    world.run_ms(12_000);
    let refused = PhoneEvent::Refused(StatusCode::new(503).expect("a status"));
    assert!(
        world.has_told(outside(CALLS), refused),
        "{:?}",
        world.told()
    );
    let (dropped, counts) = world.node.keeper().losses();
    assert!(
        counts.dropped_blocks > 0,
        "the disk is full by now: {dropped}, {counts:?}"
    );
    world.disk.resize(1 << 40);
    world.run_ms(10_000);
    world.call(outside(CALLS), "104");
    world.run_ms(3_000);
    assert!(
        world.has_told(outside(CALLS), PhoneEvent::Answered),
        "the gate opens again"
    );
    world.act(outside(CALLS), Action::HangUp);
    assert_nobody_waited(&world);
    let judged = end(&mut world);
    let lost: u64 = judged
        .iter()
        .map(|(kept, _)| gaps_of(kept, GapReason::SpoolFull))
        .sum();
    println!("a full disk: {} ms of gaps listed", lost / 8);
    assert!(lost > 8_000);
    for (kept, verdict) in &judged {
        let listed = gaps_of(kept, GapReason::SpoolFull);
        assert_eq!(listed, verdict.unkept.iter().sum::<u64>());
        assert!(verdict.exact.iter().all(|e| *e > 15 * 8_000) || kept.manifest.length.ms < 5_000);
    }
}

#[test]
fn a_disk_that_stays_full_still_seals_with_its_gaps() {
    let mut world = calls(430, 4_096);
    world.disk.resize(world.disk.used_bytes() + 100_000);
    world.run_ms(15_000);
    assert_nobody_waited(&world);
    let judged = end(&mut world);
    assert_eq!(judged.len(), CALLS);
    for (kept, verdict) in &judged {
        let listed = gaps_of(kept, GapReason::SpoolFull);
        assert!(
            listed > 8_000 && listed == verdict.unkept.iter().sum::<u64>(),
            "{listed}"
        );
        assert_eq!(
            kept.manifest.state,
            EndState::Partial,
            "{}",
            kept.manifest.reason
        );
    }
}

#[test]
fn failing_syncs_and_appends_cost_a_file_and_nothing_else() {
    let mut world = calls(440, 4_096);
    for _ in 0..4 {
        world.disk.fail_syncs(1);
        world.run_ms(1_700);
        world.disk.fail_appends(2);
        world.run_ms(1_900);
        world.disk.fail_dir_syncs(1);
        world.run_ms(1_000);
    }
    let (_, counts) = world.node.keeper().losses();
    assert!(counts.failed_parts >= 8, "{counts:?}");
    assert_nobody_waited(&world);
    for (kept, verdict) in end(&mut world) {
        assert_eq!(
            (kept.manifest.state, verdict.unkept),
            (EndState::Complete, [0, 0])
        );
        assert!(
            verdict.exact.iter().all(|exact| *exact > 18 * 8_000),
            "{verdict:?}"
        );
    }
}
