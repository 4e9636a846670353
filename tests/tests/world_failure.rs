//! A call that is to be recorded and cannot be, from its beginning or from the middle of it, in the
//! simulated world (issue 5, acceptance 8): what each party hears, what remains, and what is said of it,
//! for each policy. An emergency call goes on whatever the policy is.

use std::collections::BTreeSet;

use duolog::phone::{Action, End, PhoneEvent, decode};
use duolog_archive::wire::Fact;
use duolog_archive::{CdrResult, EndState, GapReason};
use duolog_call::{Input, LogEvent, OnFailure, PromptName};
use duolog_sip::StatusCode;
use duolog_tests::world::judge::judge;
use duolog_tests::world::kept::Kept;
use duolog_tests::world::office::{Differently, Office};
use duolog_tests::world::sound::{find, spoken};
use duolog_tests::world::table::{empty, row};

const REFUSE: (&str, OnFailure) = ("refuse", OnFailure::Refuse);
const GO_ON: (&str, OnFailure) = ("go-on", OnFailure::GoOn);
const ANNOUNCED: (&str, OnFailure) = ("go-on-announced", OnFailure::GoOnAnnounced);
const ENDED: (&str, OnFailure) = ("end-announced", OnFailure::EndAnnounced);
const POLICIES: [(&str, OnFailure); 4] = [REFUSE, GO_ON, ANNOUNCED, ENDED];

/// What the gate says of a disk with less room than the floor.
const FLOOR: &str = "below its floor";
/// What a call is told of a disk without room.
const LOST: &str = "the spool had no room";
/// Room below the floor in which rows can still be written, and room for nothing.
const LOW: u64 = 600_000;
const NONE: u64 = 20_000;

/// An office whose users have these modes and policies.
fn office(seed: u64, users: &[(&'static str, &str, &str)]) -> Office {
    let lines = |(user, mode, policy): &(&'static str, &str, &str)| {
        let lines = format!(
            "mode = \"{mode}\"\nannounce = \"off\"\nnotice = \"none\"\non_failure = \"{policy}\"\n"
        );
        (*user, lines)
    };
    Office::new(&Differently {
        recorded: users.iter().map(lines).collect(),
        ..Differently::nothing(seed)
    })
}

fn leave_room(office: &mut Office, bytes: u64) {
    let used = office.world.disk.used_bytes();
    office.world.disk.resize(used + bytes);
}

/// The gate closes because of the disk, before any call.
fn close_the_gate(office: &mut Office) {
    leave_room(office, LOW);
    office.until(3.0);
}

/// Which of the two notices a phone has heard, whole.
fn notices(office: &Office, phone: &str) -> Vec<PromptName> {
    let heard = office.world.phone(office.who(phone)).ear().heard();
    let samples = heard.map(|heard| heard.samples).unwrap_or_default();
    let mut found = Vec::new();
    // The two begin with the same words.
    for prompt in [PromptName::FailureContinues, PromptName::FailureEnds] {
        let (_, fits) = find(&spoken(prompt, "en"), &samples);
        assert!(!(0.7..0.9).contains(&fits), "{phone} {prompt:?}: {fits}");
        if fits >= 0.9 {
            found.push(prompt);
        }
    }
    found
}

/// Whether a phone has heard somebody's voice for at least half a second.
fn hears(office: &Office, phone: &str, name: &str) -> bool {
    let heard = office.world.phone(office.who(phone)).ear().heard();
    let seen = heard
        .map(|heard| decode(&heard.samples))
        .unwrap_or_default();
    let seen = seen.iter();
    seen.filter(|one| office.name_of(one.party, one.slot) == name)
        .count()
        >= 5
}

/// What is told of a policy that was put into effect.
fn told(then: OnFailure) -> &'static [PromptName] {
    match then {
        OnFailure::Refuse | OnFailure::GoOn => &[],
        OnFailure::GoOnAnnounced => &[PromptName::FailureContinues],
        OnFailure::EndAnnounced => &[PromptName::FailureEnds],
    }
}

/// What the log counts, as `duolog_recording_failures_total` has it.
fn failures(office: &Office) -> Vec<OnFailure> {
    let logs = office.world.node.logs().iter();
    let failures = logs.filter_map(|log| match log.event {
        LogEvent::RecordingFailed { then, .. } => Some(then),
        _ => None,
    });
    failures.collect()
}

/// What the facts of a recording say of it.
fn failed(kept: &Kept) -> Vec<&str> {
    let facts = kept.manifest.facts.iter();
    let failed = facts.filter_map(|line| match &line.fact {
        Fact::RecordingFailed { then } => Some(then.as_str()),
        _ => None,
    });
    failed.collect()
}

fn is_over(office: &Office, phone: &str) -> bool {
    office.told(phone, PhoneEvent::Ended { by: End::Peer })
}

fn refused(office: &Office, phone: &str) -> bool {
    let refused = StatusCode::new(503).expect("a status");
    office.told(phone, PhoneEvent::Refused(refused))
}

#[test]
fn at_the_start_each_policy_does_what_it_says() {
    for (n, (word, then)) in POLICIES.into_iter().enumerate() {
        let mut office = office(5_800 + n as u64, &[("A", "always-pause-resume", word)]);
        close_the_gate(&mut office);
        office.call("B1", "A");
        office.until(9.0);
        let is_refused = then == OnFailure::Refuse;
        assert_eq!(refused(&office, "B1"), is_refused, "{word}");
        for phone in ["A1", "B1"] {
            assert_eq!(notices(&office, phone), told(then), "{word}: {phone}");
            assert_eq!(is_over(&office, phone), then == OnFailure::EndAnnounced);
        }
        for (phone, voice) in [("A1", "B"), ("B1", "A")] {
            let talks = matches!(then, OnFailure::GoOn | OnFailure::GoOnAnnounced);
            assert_eq!(hears(&office, phone, voice), talks, "{word}: {phone}");
        }
        let state = match is_refused {
            true => EndState::Refused,
            false => EndState::Failed,
        };
        let facts: &[&str] = match is_refused {
            true => &[],
            false => &["recording_failed", "call_connected", "hung_up"],
        };
        let kept = office.compare(word, &[empty("A", state).with(facts)]);
        let manifest = &kept[0].manifest;
        assert!(manifest.reason.contains(FLOOR), "{}", manifest.reason);
        assert_eq!(manifest.together.result, Some(CdrResult::Failed), "{word}");
        assert_eq!(failures(&office), [then], "{word}");
        let named = if is_refused { vec![] } else { vec![word] };
        assert_eq!(failed(&kept[0]), named);
        println!(
            "{word} at the start: both heard {:?}; row {:?}: {}",
            told(then),
            manifest.state,
            manifest.reason
        );
    }
}

/// How much of a channel the spool had no room for, in samples.
fn no_room(kept: &Kept) -> u64 {
    let gaps = kept.manifest.channels.iter().flat_map(|one| &one.gaps);
    let ours = gaps.filter(|gap| gap.reason == GapReason::SpoolFull);
    ours.map(|gap| gap.samples).sum()
}

/// B calls A; after some seconds the disk takes nothing any more.
fn full_in_mid_call(office: &mut Office) {
    office.until(1.0);
    office.call("B1", "A");
    office.until(8.0);
    leave_room(office, NONE);
}

#[test]
fn in_the_middle_each_policy_does_what_it_says() {
    for (n, (word, then)) in POLICIES.into_iter().enumerate() {
        let mut office = office(5_810 + n as u64, &[("A", "always", word)]);
        full_in_mid_call(&mut office);
        office.until(28.0);
        office.world.disk.resize(1 << 40);
        office.until(36.0);
        let announced = matches!(then, OnFailure::GoOnAnnounced | OnFailure::EndAnnounced);
        for phone in ["A1", "B1"] {
            assert_eq!(notices(&office, phone), told(then), "{word}: {phone}");
            assert_eq!(is_over(&office, phone), then == OnFailure::EndAnnounced);
        }
        office.close();
        let kept = office.recordings();
        let [kept] = kept.as_slice() else {
            panic!("one row: {kept:?}")
        };
        let verdict = judge(&office.world, kept);
        assert_eq!(verdict.faults, [] as [String; 0], "{word}");
        let seconds = kept.manifest.length.samples as f64 / 8_000.0;
        // What was there before is kept; where nobody was told otherwise, what came after as well.
        let least = if announced { 6 } else { 13 };
        assert!(
            verdict.exact.iter().all(|exact| *exact > least * 8_000),
            "{word}: {verdict:?}"
        );
        assert_eq!(seconds > 34.0, !announced, "{word}: {seconds} s");
        assert_eq!(kept.manifest.state, EndState::Partial, "{word}");
        let (reason, result) = (&kept.manifest.reason, kept.manifest.together.result);
        match announced {
            true => {
                assert!(reason.contains(LOST), "{reason}");
                assert_eq!((failed(kept), failures(&office)), (vec![word], vec![then]));
                assert_eq!(result, Some(CdrResult::Failed));
            }
            false => {
                assert!(reason.contains("the gaps say where"), "{reason}");
                assert_eq!((failed(kept), failures(&office)), (vec![], vec![]));
                assert!(no_room(kept) > 8_000);
            }
        }
        let trouble = |fact: &Fact| matches!(fact, Fact::RecordingTrouble { reason } if reason.contains(LOST));
        let facts = kept.manifest.facts.iter();
        assert_eq!(
            facts.filter(|line| trouble(&line.fact)).count(),
            1,
            "{word}"
        );
        println!(
            "{word} in the middle: both heard {:?}; {seconds:.1} s, {:?} samples as sent, {} ms had no \
             room; {reason}",
            told(then),
            verdict.exact,
            no_room(kept) / 16
        );
    }
}

#[test]
fn of_two_owners_the_stricter_one_decides() {
    for (n, (of_a, of_c, then)) in [
        ("go-on", "end-announced", OnFailure::EndAnnounced),
        ("go-on-announced", "go-on", OnFailure::GoOnAnnounced),
        ("end-announced", "go-on-announced", OnFailure::EndAnnounced),
        ("go-on", "go-on", OnFailure::GoOn),
    ]
    .into_iter()
    .enumerate()
    {
        let owners = [("A", "always", of_a), ("C", "always", of_c)];
        let ends = then == OnFailure::EndAnnounced;
        let mut at_start = office(5_820 + n as u64, &owners);
        close_the_gate(&mut at_start);
        at_start.call("C1", "A");
        at_start.until(9.0);
        let mut in_middle = office(5_830 + n as u64, &owners);
        in_middle.until(1.0);
        in_middle.call("C1", "A");
        in_middle.until(8.0);
        leave_room(&mut in_middle, NONE);
        in_middle.until(28.0);
        for office in [&at_start, &in_middle] {
            for phone in ["A1", "C1"] {
                assert_eq!(notices(office, phone), told(then), "{of_a} {of_c}: {phone}");
                assert_eq!(is_over(office, phone), ends, "{of_a} {of_c}");
            }
        }
        let nothing = ["A", "C"].map(|owner| empty(owner, EndState::Failed));
        at_start.compare(&format!("{of_a}, {of_c}"), &nothing);
        in_middle.close();
        let kept = in_middle.recordings();
        assert_eq!(kept.len(), 2);
        for kept in &kept {
            let verdict = judge(&in_middle.world, kept);
            assert_eq!(verdict.faults, [] as [String; 0], "{of_a} {of_c}");
            assert!(verdict.exact.iter().all(|exact| *exact > 6 * 8_000));
        }
    }
}

#[test]
fn what_nobody_asked_for_is_lost_in_silence_and_can_not_be_asked_for() {
    for (n, mode) in ["on-demand", "on-demand-user-start"]
        .into_iter()
        .enumerate()
    {
        let mut office = office(5_840 + n as u64, &[("A", mode, "end-announced")]);
        close_the_gate(&mut office);
        office.call("B1", "A");
        office.until(6.0);
        let value = "on".to_owned();
        office.act("A1", Action::Record { value });
        office.until(9.0);
        for phone in ["A1", "B1"] {
            assert_eq!(notices(&office, phone), []);
            assert!(!is_over(&office, phone));
        }
        let facts = &["recording_failed", "control_refused"];
        let kept = office.compare(mode, &[empty("A", EndState::Failed).with(facts)]);
        let why = kept[0]
            .manifest
            .facts
            .iter()
            .find_map(|line| match &line.fact {
                Fact::ControlRefused { why, .. } => Some(why.as_str()),
                _ => None,
            });
        assert_eq!(why, Some("the recorder can not record now"));
        assert_eq!(failures(&office), [OnFailure::GoOn]);
    }
}

#[test]
fn a_provisional_recording_that_lost_something_can_still_be_kept() {
    for asked in [true, false] {
        let mut office = office(5_850, &[("A", "on-demand", "end-announced")]);
        full_in_mid_call(&mut office);
        office.until(20.0);
        office.world.disk.resize(1 << 40);
        office.until(28.0);
        if asked {
            let value = "on".to_owned();
            office.act("A1", Action::Record { value });
        }
        office.until(30.0);
        for phone in ["A1", "B1"] {
            assert_eq!(notices(&office, phone), []);
            assert!(!is_over(&office, phone));
        }
        office.close();
        let kept = &office.recordings()[0];
        let wanted = if asked {
            EndState::Partial
        } else {
            EndState::NotKept
        };
        assert_eq!(kept.manifest.state, wanted, "{}", kept.manifest.reason);
        let verdict = judge(&office.world, kept);
        assert_eq!(verdict.faults, [] as [String; 0]);
        assert_eq!(kept.object.is_empty(), !asked);
        assert_eq!(failures(&office), []);
    }
}

#[test]
fn who_asks_while_audio_is_being_lost_keeps_what_there_is_and_all_hear_of_the_loss() {
    for (n, (word, then)) in POLICIES.into_iter().enumerate() {
        let mut office = office(5_900 + n as u64, &[("A", "on-demand", word)]);
        full_in_mid_call(&mut office);
        office.until(20.0);
        for phone in ["A1", "B1"] {
            assert_eq!(notices(&office, phone), [], "nobody had asked for it");
            assert!(!is_over(&office, phone));
        }
        let value = "on".to_owned();
        office.act("A1", Action::Record { value });
        // There is still no room, for the key neither.
        office.until(28.0);
        for phone in ["A1", "B1"] {
            assert_eq!(notices(&office, phone), told(then), "{word}: {phone}");
            assert_eq!(is_over(&office, phone), then == OnFailure::EndAnnounced);
        }
        office.world.disk.resize(1 << 40);
        office.until(36.0);
        office.close();
        let kept = office.recordings();
        let [kept] = kept.as_slice() else {
            panic!("one row: {kept:?}")
        };
        let verdict = judge(&office.world, kept);
        assert_eq!(verdict.faults, [] as [String; 0], "{word}");
        assert_eq!(kept.manifest.state, EndState::Partial, "{word}");
        let announced = !told(then).is_empty();
        let least = if announced { 6 } else { 13 };
        assert!(
            verdict.exact.iter().all(|exact| *exact > least * 8_000),
            "{word}: {verdict:?}"
        );
        let seconds = kept.manifest.length.samples as f64 / 8_000.0;
        assert_eq!(seconds > 34.0, !announced, "{word}: {seconds} s");
        let named = if announced { vec![word] } else { vec![] };
        let counted = if announced { vec![then] } else { vec![] };
        assert_eq!((failed(kept), failures(&office)), (named, counted));
        let facts = kept.manifest.facts.iter();
        let asked = facts.filter(|line| matches!(line.fact, Fact::RecordingKept { .. }));
        assert_eq!(asked.count(), 1, "{word}");
        println!(
            "{word}, asked for in the middle of a loss: both heard {:?}; {seconds:.1} s, {:?} samples as sent",
            told(then),
            verdict.exact
        );
    }
}

#[test]
fn behind_a_closed_gate_nothing_starts_and_what_runs_is_kept() {
    for (n, (word, then)) in POLICIES.into_iter().enumerate() {
        for (mode, starts) in [("on-demand", true), ("on-demand-user-start", false)] {
            let seed = 5_910 + 2 * n as u64 + u64::from(starts);
            let mut office = office(seed, &[("A", mode, word)]);
            office.until(1.0);
            office.call("B1", "A");
            office.until(4.0);
            leave_room(&mut office, LOW);
            office.until(6.0);
            let value = "on".to_owned();
            office.act("A1", Action::Record { value });
            office.until(12.0);
            for phone in ["A1", "B1"] {
                assert_eq!(notices(&office, phone), [], "{word}, {mode}: {then:?}");
                assert!(!is_over(&office, phone), "{word}, {mode}");
            }
            office.act("B1", Action::HangUp);
            let wanted = match starts {
                true => row("A", &[(1.33, 12.0, "A", "B")]).with(&["recording_kept"]),
                false => empty("A", EndState::NotKept).with(&["control_refused"]),
            };
            let kept = office.compare(&format!("{word}, {mode}"), &[wanted]);
            assert_eq!((failed(&kept[0]), failures(&office)), (vec![], vec![]));
        }
    }
}

#[test]
fn calls_that_are_not_recorded_go_on_with_a_closed_gate_and_none_while_draining() {
    let mut office = office(5_860, &[("A", "always", "refuse")]);
    close_the_gate(&mut office);
    office.call("B1", "G");
    office.call("B2", "A");
    office.until(7.0);
    assert!(office.told("B1", PhoneEvent::Answered) && !office.told("B2", PhoneEvent::Answered));
    assert!(refused(&office, "B2"));
    assert!(hears(&office, "G1", "B") && hears(&office, "B1", "G"));
    office.world.ask(Input::Drain);
    office.call("pstn1", "G");
    office.call("pstn2", "A");
    office.until(9.0);
    assert!(refused(&office, "pstn1") && refused(&office, "pstn2"));
    assert!(!is_over(&office, "B1"), "what runs goes on");
    office.act("B1", Action::HangUp);
    let kept = office.compare("draining", &[(); 2].map(|()| empty("A", EndState::Refused)));
    let reasons: Vec<&str> = kept
        .iter()
        .map(|kept| kept.manifest.reason.as_str())
        .collect();
    assert!(reasons[0].ends_with("below its floor: make room or lower spool.floor"));
    assert_eq!(reasons[1], "new calls were not taken: draining");
}

#[test]
fn an_emergency_call_is_neither_refused_nor_ended_nor_held_up() {
    for (n, (word, then)) in POLICIES.into_iter().enumerate() {
        let mut at_start = office(5_870 + n as u64, &[("A", "always", word)]);
        close_the_gate(&mut at_start);
        at_start.call("A1", "112");
        at_start.until(12.0);
        let mut in_middle = office(5_880 + n as u64, &[("A", "always", word)]);
        in_middle.until(1.0);
        in_middle.call("A1", "112");
        in_middle.until(8.0);
        leave_room(&mut in_middle, NONE);
        in_middle.until(28.0);
        for office in [&at_start, &in_middle] {
            for (phone, voice) in [("A1", "pstn"), ("pstn1", "A")] {
                assert_eq!(notices(office, phone), [], "{word}: {phone}");
                assert!(!is_over(office, phone) && !refused(office, phone), "{word}");
                assert!(hears(office, phone, voice), "{word}: {phone}");
            }
        }
        assert_eq!(failures(&at_start), [OnFailure::GoOn], "{then:?}");
        at_start.act("A1", Action::HangUp);
        let facts = &["recording_failed", "call_connected", "hung_up"];
        let kept = at_start.compare(word, &[empty("A", EndState::Failed).with(facts)]);
        assert!(kept[0].manifest.reason.contains(FLOOR));
        in_middle.close();
        let kept = &in_middle.recordings()[0];
        assert_eq!(judge(&in_middle.world, kept).faults, [] as [String; 0]);
        assert_eq!(kept.manifest.state, EndState::Partial);
        assert_eq!(failures(&in_middle), []);
    }
}

#[test]
fn a_call_from_before_the_gate_closed_is_recorded_to_its_end() {
    let policies: BTreeSet<&str> = POLICIES.iter().map(|(word, _)| *word).collect();
    for (n, word) in policies.into_iter().enumerate() {
        let mut office = office(5_890 + n as u64, &[("A", "always", word)]);
        office.until(1.0);
        office.call("B1", "A");
        office.until(4.0);
        leave_room(&mut office, LOW);
        office.until(9.0);
        office.act("B1", Action::HangUp);
        office.compare(word, &[row("A", &[(1.33, 9.0, "A", "B")])]);
        assert_eq!(failures(&office), []);
    }
}
