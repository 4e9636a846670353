//! Scenarios T10 to T19 of the catalogue (issue 4, item 5): park, pick-up, shared lines, hunt groups,
//! voicemail and conferences elsewhere. T1 to T9 are in `world_scenarios.rs`.

use duolog::phone::{Action, Answering, Calling, HoldStyle, Ways};
use duolog_archive::EndState;
use duolog_archive::wire::Direction;
use duolog_sip::StatusCode;
use duolog_tests::world::kept::Kept;
use duolog_tests::world::office::{Differently, Office, uri, usual_answering};
use duolog_tests::world::table::{empty, row};

fn office(seed: u64) -> Office {
    let mut office = Office::new(&Differently::nothing(seed));
    office.say("pbx1", "music");
    office
}

/// The PBX connects the one that is parked at its first phone with who called its second one.
fn retrieve(office: &mut Office, parked: &str, by: &str) {
    office.say("pbx2", parked);
    office.say("pbx1", by);
}

fn correlations(kept: &[Kept]) -> Vec<Option<String>> {
    let of = |one: &Kept| one.manifest.together.correlation.clone();
    kept.iter().map(of).collect()
}

#[test]
fn t10_parked_and_retrieved_by_the_owner() {
    let mut office = office(4_010);
    office.until(1.0);
    office.call("A1", "C");
    office.until(5.0);
    office.refer("A1", "701", None);
    office.until(10.0);
    office.call("A1", "701");
    office.until(10.33);
    retrieve(&mut office, "C", "A");
    office.until(15.0);
    office.act("A1", Action::HangUp);
    office.act("C1", Action::HangUp);
    let of_c = [
        (1.33, 5.34, "C", "A"),
        (5.34, 10.33, "C", "music"),
        (10.33, 15.0, "C", "A"),
    ];
    let kept = office.compare(
        "T10",
        &[
            row("A", &[(1.33, 5.34, "A", "C")]),
            row("C", &of_c).with(&["party_left", "party_joined"]),
            row("A", &[(10.33, 15.0, "A", "C")]),
        ],
    );
    let correlations = correlations(&kept);
    assert_eq!(correlations[0], correlations[1]);
    assert_ne!(correlations[0], correlations[2], "the PBX's own call");
}

#[test]
fn t11_parked_by_the_owner_and_retrieved_by_another() {
    let mut office = office(4_011);
    office.until(1.0);
    office.call("B1", "A");
    office.until(5.0);
    office.refer("A1", "701", None);
    office.until(9.0);
    office.call("G1", "701");
    office.until(9.33);
    retrieve(&mut office, "B", "G");
    office.until(14.0);
    office.act("G1", Action::HangUp);
    office.compare("T11", &[row("A", &[(1.33, 5.34, "A", "B")])]);
}

#[test]
fn t12_parked_by_another_and_retrieved_by_the_owner() {
    let mut office = office(4_012);
    office.until(1.0);
    office.call("B1", "G");
    office.until(5.0);
    office.refer("G1", "701", None);
    office.until(9.0);
    office.call("A1", "701");
    office.until(9.33);
    retrieve(&mut office, "B", "A");
    office.until(14.0);
    office.act("A1", Action::HangUp);
    office.compare("T12", &[row("A", &[(9.33, 14.0, "A", "B")])]);
}

/// A line that rings for so long.
fn rings(line: &'static str, ring_ms: u32) -> (&'static str, Answering, Ways) {
    let usual = usual_answering();
    (line, Answering { ring_ms, ..usual }, Ways::default())
}

#[test]
fn t13_pick_up() {
    let mut office = Office::new(&Differently {
        phones: vec![rings("B1", 30_000)],
        ..Differently::nothing(4_013)
    });
    office.until(1.0);
    office.call("G1", "B");
    office.until(4.0);
    let ringing = office.dialog_of("B1");
    let calling = Calling {
        replaces: Some(ringing),
        ..Calling::to(uri("B"))
    };
    office.call_with("A1", calling);
    office.until(10.0);
    office.act("G1", Action::HangUp);
    office.compare("T13", &[row("A", &[(4.03, 10.0, "A", "G")])]);
}

#[test]
fn t14_two_calls_on_a_shared_line() {
    let mut office = office(4_014);
    office.say("E1", "E1");
    office.say("E2", "E2");
    office.until(1.0);
    office.call("B1", "E");
    office.until(4.0);
    office.call("G1", "E");
    office.until(9.0);
    office.act("B1", Action::HangUp);
    office.until(12.0);
    office.act("G1", Action::HangUp);
    office.compare(
        "T14",
        &[
            row("E", &[(1.33, 9.0, "E1", "B")]),
            row("E", &[(4.33, 12.0, "E2", "G")]),
        ],
    );
}

/// Held at the first line of a user and taken back at the second.
fn moved(office: &mut Office, user: &str) {
    let lines = [1, 2].map(|line| format!("{user}{line}"));
    for line in &lines {
        office.say(line, line);
    }
    office.until(5.0);
    office.act(
        &lines[0],
        Action::Alter {
            by: duolog::phone::By::ReInvite,
            change: duolog::phone::Change::Hold(HoldStyle::SendOnly),
        },
    );
    office.until(8.0);
    let held = office.dialog_of(&lines[0]);
    let calling = Calling {
        replaces: Some(held),
        ..Calling::to(uri(user))
    };
    office.call_with(&lines[1], calling);
    office.until(13.0);
    office.act(&lines[1], Action::HangUp);
}

#[test]
fn t15_held_at_one_phone_and_resumed_at_another() {
    let mut office = office(4_015);
    for line in ["E1", "G1"] {
        office.say(line, line);
    }
    office.until(1.0);
    office.call("B1", "E");
    moved(&mut office, "E");
    office.compare(
        "T15",
        &[
            row("E", &[(1.33, 5.0, "E1", "B"), (5.0, 8.02, "", "")]),
            row("E", &[(8.02, 13.0, "E2", "B")]),
        ],
    );
}

#[test]
fn t15_the_other_party_is_the_recorded_one() {
    let mut office = office(4_115);
    office.say("G1", "G1");
    office.until(1.0);
    office.call("C1", "G");
    moved(&mut office, "G");
    let stretches = [
        (1.33, 5.0, "C", "G1"),
        (5.0, 8.02, "", ""),
        (8.02, 13.0, "C", "G2"),
    ];
    let facts = &["held", "party_left", "party_joined"];
    office.compare("T15", &[row("C", &stretches).with(facts)]);
}

#[test]
fn t16_a_hunt_group_elsewhere() {
    let mut office = office(4_016);
    office.until(1.0);
    let headers = [
        ("Diversion", "<sip:700@10.0.1.8>;reason=unconditional"),
        (
            "History-Info",
            "<sip:700@10.0.1.8>;index=1, <sip:101@10.0.0.1>;index=1.1",
        ),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let calling = Calling {
        headers: headers.map(owned).to_vec(),
        ..Calling::to(uri("A"))
    };
    office.call_with("pbx2", calling);
    office.until(8.0);
    office.act("pbx2", Action::HangUp);
    let kept = office.compare("T16", &[row("A", &[(1.33, 8.0, "A", "pbx")])]);
    let call = &kept[0].manifest.call;
    assert_eq!((call.caller.as_str(), call.callee.as_str()), ("71", "101"));
    assert_eq!(call.direction, Direction::Internal);
    assert_eq!(call.chain.diversion, ["700"]);
}

/// A phone that sends every call elsewhere.
fn moved_to(line: &'static str, number: &str) -> (&'static str, Answering, Ways) {
    let code = StatusCode::new(302).expect("302 is a status code");
    let answering = Answering {
        code,
        ..usual_answering()
    };
    let ways = Ways {
        moved_to: vec![uri(number)],
        ..Ways::default()
    };
    (line, answering, ways)
}

#[test]
fn t17_a_recorded_pilot_forwarded_to_voicemail() {
    let mut office = Office::new(&Differently {
        phones: vec![moved_to("F1", "801")],
        ..Differently::nothing(4_017)
    });
    office.until(1.0);
    office.call("B1", "F");
    office.until(9.0);
    office.act("B1", Action::HangUp);
    let kept = office.compare("T17", &[row("F", &[(1.64, 9.0, "voicemail", "B")])]);
    assert!(class(&kept[0]).contains("voicemail"), "{}", class(&kept[0]));
}

#[test]
fn t17_with_a_recorded_caller_who_decides_for_itself() {
    for (n, word) in ["recorded", "left"].into_iter().enumerate() {
        let own = format!("mode = \"always\"\nvoicemail = \"{word}\"\n");
        let mut office = Office::new(&Differently {
            phones: vec![moved_to("F1", "801")],
            recorded: vec![("A", own)],
            ..Differently::nothing(4_117 + n as u64)
        });
        office.until(1.0);
        office.call("A1", "F");
        office.until(9.0);
        office.act("A1", Action::HangUp);
        let message = row("F", &[(1.64, 9.0, "voicemail", "A")]);
        let callers = match word {
            "left" => empty("A", EndState::NotKept),
            _ => row("A", &[(1.64, 9.0, "A", "voicemail")]),
        };
        office.compare(&format!("T17, {word}"), &[callers, message]);
    }
}

fn class(kept: &Kept) -> String {
    format!("{:?}", kept.manifest.together.class).to_lowercase()
}

#[test]
fn t18_voicemail_for_and_by_recorded_users() {
    let mut office = office(4_018);
    office.until(1.0);
    let calling = Calling {
        headers: vec![(
            "Diversion".into(),
            "<sip:105@10.0.0.1>;reason=no-answer".into(),
        )],
        ..Calling::to(uri("801"))
    };
    office.call_with("pstn1", calling);
    office.until(8.0);
    office.act("pstn1", Action::HangUp);
    office.until(10.0);
    office.call("A1", "801");
    office.until(18.0);
    office.act("A1", Action::HangUp);
    let kept = office.compare(
        "T18",
        &[
            row("F", &[(1.33, 8.0, "voicemail", "pstn")]),
            row("A", &[(10.33, 18.0, "A", "voicemail")]),
        ],
    );
    for one in &kept {
        assert!(class(one).contains("voicemail"), "{}", class(one));
    }
}

#[test]
fn t19_a_conference_elsewhere() {
    let mut office = office(4_019);
    for phone in ["pstn1", "pstn2"] {
        office.say(phone, "conference");
    }
    office.until(1.0);
    office.call("B1", "+31880001234");
    office.until(4.0);
    office.call("A1", "+31880001234");
    office.until(9.0);
    office.act("A1", Action::HangUp);
    office.until(12.0);
    office.act("B1", Action::HangUp);
    office.compare("T19", &[row("A", &[(4.33, 9.0, "A", "conference")])]);
}
