//! Transfers and take-overs on networks that lose, repeat and reorder SIP, and by phones of every kind:
//! whoever is connected in the end is recorded, each second with who was there, and nothing is left.

use std::time::Duration;

use duolog::phone::{
    Action, AfterTransfer, Answering, Calling, PhoneEvent, Reliable, SessionTimer, Subscription,
    Ways,
};
use duolog_archive::EndState;
use duolog_sip::StatusCode;
use duolog_tests::world::judge::judge;
use duolog_tests::world::kept::Kept;
use duolog_tests::world::net::Conditions;
use duolog_tests::world::office::{Differently, Office, uri, usual_answering};
use duolog_tests::world::table::row;

const SEEDS: u64 = 20;

/// SIP is lost, repeated and reordered.
fn bad_office(seed: u64) -> Office {
    Office::new(&Differently {
        sip: Conditions {
            loss: 0.1,
            reorder: 0.1,
            duplicate: 0.1,
            held_back: Duration::from_millis(80),
            jitter: Duration::from_millis(20),
            ..Conditions::clean()
        },
        ..Differently::nothing(seed)
    })
}

/// Who was heard on the other side of an owner's recording, in order.
fn heard(office: &Office, kept: &Kept) -> Vec<String> {
    let mut names = office.heard(kept);
    names.retain(|name| !name.is_empty());
    names.dedup();
    names
}

/// Whose recordings there are and who was heard in each, sorted; every sample was judged.
fn recorded(office: &mut Office) -> Vec<(String, Vec<String>)> {
    office.close();
    let all = office.recordings();
    let seed = office.world.seed;
    let mut recorded = Vec::new();
    for kept in &all {
        let verdict = judge(&office.world, kept);
        assert!(verdict.faults.is_empty(), "{seed}: {:#?}", verdict.faults);
        recorded.push((kept.manifest.call.owner.clone(), heard(office, kept)));
    }
    recorded.sort();
    recorded
}

fn named(rows: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let rows = rows.iter();
    rows.map(|(owner, names)| ((*owner).to_owned(), owned(names)))
        .collect()
}

/// Waits until a phone has told something, at most 20 s.
fn wait(office: &mut Office, phone: &str, event: PhoneEvent) {
    for _ in 0..200 {
        if office.told(phone, event) {
            return;
        }
        office.world.run_ms(100);
    }
    panic!(
        "{}: {phone} {event:?}:\n{}",
        office.world.seed,
        office.story()
    );
}

#[test]
fn blind_transfers_on_a_bad_network() {
    for seed in 0..SEEDS {
        let mut office = bad_office(4_300 + seed);
        office.call("B1", "A");
        wait(&mut office, "B1", PhoneEvent::Answered);
        office.world.run_ms(2_000);
        office.refer("A1", "C", None);
        wait(&mut office, "C1", PhoneEvent::Answered);
        // The transfer may still have to be finished by repetitions.
        office.world.run_ms(12_000);
        let expected = named(&[("A", &["B"]), ("C", &["B"])]);
        assert_eq!(
            recorded(&mut office),
            expected,
            "{seed}:\n{}",
            office.story()
        );
    }
}

#[test]
fn attended_transfers_on_a_bad_network() {
    for seed in 0..SEEDS {
        let mut office = bad_office(4_400 + seed);
        office.call("A1", "C");
        wait(&mut office, "A1", PhoneEvent::Answered);
        office.world.run_ms(2_000);
        office.call("A2", "B");
        wait(&mut office, "A2", PhoneEvent::Answered);
        office.world.run_ms(2_000);
        let consulted = office.dialog_of("A2");
        office.refer("A1", "B", Some(consulted));
        office.world.run_ms(14_000);
        let expected = named(&[("A", &["B"]), ("A", &["C"]), ("C", &["A", "B"])]);
        assert_eq!(
            recorded(&mut office),
            expected,
            "{seed}:\n{}",
            office.story()
        );
    }
}

#[test]
fn take_overs_on_a_bad_network() {
    for seed in 0..SEEDS {
        let mut office = bad_office(4_500 + seed);
        office.call("C1", "G");
        wait(&mut office, "C1", PhoneEvent::Answered);
        office.world.run_ms(2_000);
        let taken = office.dialog_of("G1");
        let calling = Calling {
            replaces: Some(taken),
            ..Calling::to(uri("G"))
        };
        office.call_with("A1", calling);
        wait(&mut office, "A1", PhoneEvent::Answered);
        office.world.run_ms(12_000);
        let expected = named(&[("A", &["C"]), ("C", &["G", "A"])]);
        assert_eq!(
            recorded(&mut office),
            expected,
            "{seed}:\n{}",
            office.story()
        );
    }
}

#[test]
fn every_kind_of_phone_transfers() {
    let after = [
        AfterTransfer::HangsUpAtOnce,
        AfterTransfer::HangsUpAtSuccess,
        AfterTransfer::Waits,
    ];
    let subscriptions = [Subscription::Active, Subscription::None];
    for (n, (after_transfer, subscription)) in after
        .iter()
        .flat_map(|a| subscriptions.map(|s| (*a, s)))
        .enumerate()
    {
        let ways = Ways {
            after_transfer,
            reliable: Reliable::Supported,
            session_timer: SessionTimer::Faithful { expires_s: 90 },
            ..Ways::default()
        };
        let lines = ["A1", "B1", "C1"];
        let mut office = Office::new(&Differently {
            phones: lines
                .map(|line| (line, usual_answering(), ways.clone()))
                .to_vec(),
            ..Differently::nothing(4_600 + n as u64)
        });
        office.until(1.0);
        office.call("B1", "A");
        office.until(6.0);
        let to = uri("C");
        office.act(
            "A1",
            Action::Refer {
                to,
                replaces: None,
                subscription,
            },
        );
        office.until(14.0);
        let idle = office.world.phone(office.who("A1")).is_idle();
        assert!(idle, "hung up by itself or by duolog: {}", office.story());
        office.act("B1", Action::HangUp);
        // A phone that hangs up at once leaves the other one alone until the target answers.
        let until = match after_transfer {
            AfterTransfer::HangsUpAtOnce => 6.02,
            _ => 6.34,
        };
        office.compare(
            "every kind",
            &[
                row("A", &[(1.33, until, "A", "B")]),
                row("C", &[(6.34, 14.0, "C", "B")]),
            ],
        );
    }
}

#[test]
fn a_transfer_to_nobody_is_told_and_changes_nothing() {
    let code = StatusCode::NOT_FOUND;
    let nobody = Answering {
        code,
        ..usual_answering()
    };
    let mut office = Office::new(&Differently {
        phones: vec![("pstn1", nobody, Ways::default())],
        ..Differently::nothing(4_700)
    });
    office.until(1.0);
    office.call("B1", "A");
    office.until(4.0);
    let mut unknown = office.dialog_of("A1");
    unknown.call_id.push('x');
    office.refer("A1", "+31201234567", None);
    office.until(8.0);
    office.refer("B1", "G", Some(unknown));
    office.until(12.0);
    office.act("B1", Action::HangUp);
    for (phone, code) in [("A1", 404), ("B1", 481)] {
        let status = StatusCode::new(code).expect("a status code");
        let subscription = Subscription::None;
        let told = PhoneEvent::Progress {
            status,
            subscription,
        };
        assert!(office.told(phone, told), "{}", office.story());
    }
    let facts = &["transfer_failed", "transfer_failed"];
    let row = row("A", &[(1.33, 12.0, "A", "B")]).with(facts);
    let kept = office.compare("nobody", &[row]);
    assert_eq!(kept[0].manifest.state, EndState::Complete);
}
