//! A disk that stalls, fails and fills up: no party hears it, and what cannot be kept is listed
//! (issue 2, acceptance 7, in virtual time). One that takes nothing at all speaks each policy.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use duolog::phone::{Action, End, PhoneEvent};
use duolog_archive::wire::Fact;
use duolog_archive::{EndState, GapReason, RequestedFormat};
use duolog_call::PromptName;
use duolog_sip::StatusCode;
use duolog_tests::world::World;
use duolog_tests::world::judge::{Verdict, judge};
use duolog_tests::world::kept::{Kept, finish};
use duolog_tests::world::office::{Differently, Office};
use duolog_tests::world::scene::{Desk, Saying, Scene, desk, outside};
use duolog_tests::world::sound::{find, spoken};

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

/// The disk has room and takes nothing, until it is told otherwise.
fn takes_nothing(office: &Office, failures: u32) {
    office.world.disk.fail_appends(failures);
    office.world.disk.fail_syncs(failures);
}

/// Which of the two notices a phone has heard, whole.
fn notices(office: &Office, phone: &str) -> Vec<PromptName> {
    let heard = office.world.phone(office.who(phone)).ear().heard();
    let samples = heard.map(|heard| heard.samples).unwrap_or_default();
    let both = [PromptName::FailureContinues, PromptName::FailureEnds];
    let heard = |prompt: &PromptName| find(&spoken(*prompt, "en"), &samples).1 >= 0.9;
    both.into_iter().filter(heard).collect()
}

/// Two users: A with this policy, C whose callers are refused where it cannot be recorded.
fn office(seed: u64, policy: &str) -> Office {
    let lines = |policy: &str| {
        format!(
            "mode = \"always\"\nannounce = \"off\"\nnotice = \"none\"\non_failure = \"{policy}\"\n"
        )
    };
    Office::new(&Differently {
        recorded: vec![("A", lines(policy)), ("C", lines("refuse"))],
        ..Differently::nothing(seed)
    })
}

#[test]
fn a_disk_that_takes_nothing_speaks_each_policy_and_closes_the_gate_until_it_works_again() {
    let refused = PhoneEvent::Refused(StatusCode::new(503).expect("a status"));
    let over = PhoneEvent::Ended { by: End::Peer };
    for (n, (word, told)) in [
        ("refuse", None),
        ("go-on", None),
        ("go-on-announced", Some(PromptName::FailureContinues)),
        ("end-announced", Some(PromptName::FailureEnds)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut office = office(450 + n as u64, word);
        office.until(1.0);
        office.call("B1", "A");
        office.until(8.0);
        takes_nothing(&office, u32::MAX);
        office.until(10.0);
        office.call("pstn1", "C");
        office.until(12.0);
        assert!(office.told("pstn1", refused), "{word}: {}", office.story());
        // Nothing happens in the call meanwhile: the losses themselves have to speak.
        office.until(40.0);
        for phone in ["A1", "B1"] {
            let heard = notices(&office, phone);
            assert_eq!(heard, Vec::from_iter(told), "{word}: {phone}");
            let ends = told == Some(PromptName::FailureEnds);
            assert_eq!(office.told(phone, over), ends, "{word}: {phone}");
        }
        takes_nothing(&office, 0);
        office.until(48.0);
        office.call("pstn2", "C");
        office.until(52.0);
        let again = office.told("pstn2", PhoneEvent::Answered);
        assert!(again, "{word}: the gate opens again");
        office.close();
        check_rows(&office, word);
    }
}

/// A row for every call: what was there before, the refused one, and the one that came after.
fn check_rows(office: &Office, word: &str) {
    let kept = office.recordings();
    for one in &kept {
        let faults = judge(&office.world, one).faults;
        assert_eq!(faults, [] as [String; 0], "{word}");
    }
    let mut all = kept.iter().map(|kept| &kept.manifest).collect::<Vec<_>>();
    all.sort_by_key(|manifest| manifest.opened_at);
    let states: Vec<EndState> = all.iter().map(|manifest| manifest.state).collect();
    let wanted = [EndState::Partial, EndState::Refused, EndState::Complete];
    assert_eq!(states, wanted, "{word}");
    let why = "the spool's disk fails: nothing is written, mend or replace it now";
    assert_eq!(all[1].reason, format!("new calls were not taken: {why}"));
    let lost = |fact: &Fact| matches!(fact, Fact::RecordingTrouble { reason } if reason.ends_with("the spool's disk fails"));
    let facts = all[0].facts.iter();
    assert_eq!(facts.filter(|line| lost(&line.fact)).count(), 1, "{word}");
    assert!(all[0].length.ms > 20_000, "{word}: from memory as well");
}
