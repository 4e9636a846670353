//! Scenarios T1 to T9 of the catalogue (issue 4, item 5): what is recorded of calls with hold, a second
//! line, a conference and transfers. Every tenth of a second of every recording is looked at, and every
//! sample compared with what was sent. T10 to T19 are in `world_beyond.rs`.

use duolog::phone::{Action, Answering, By, Change, End, HoldStyle, PhoneEvent, Ways};
use duolog_archive::EndState;
use duolog_archive::wire::Direction;
use duolog_sip::StatusCode;
use duolog_tests::world::office::{Differently, Office, usual_answering};
use duolog_tests::world::table::{empty, row};

fn office(seed: u64) -> Office {
    Office::new(&Differently::nothing(seed))
}

fn hold(office: &mut Office, phone: &str, style: HoldStyle) {
    let (by, change) = (By::ReInvite, Change::Hold(style));
    office.act(phone, Action::Alter { by, change });
}

#[test]
fn t1_one_recorded_party() {
    let mut office = office(4_001);
    for (at, from, to) in [
        (1.0, "B1", "A"),
        (8.0, "A1", "B"),
        (15.0, "pstn1", "A"),
        (22.0, "A1", "+31201234567"),
    ] {
        office.until(at);
        office.call(from, to);
        office.until(at + 5.0);
        office.act(from, Action::HangUp);
    }
    office.until(28.0);
    let kept = office.compare(
        "T1",
        &[
            row("A", &[(1.33, 6.0, "A", "B")]),
            row("A", &[(8.33, 13.0, "A", "B")]),
            row("A", &[(15.33, 20.0, "A", "pstn")]),
            row("A", &[(22.33, 27.0, "A", "pstn")]),
        ],
    );
    let directions = kept.iter().map(|one| one.manifest.call.direction);
    let directions: Vec<Direction> = directions.collect();
    use Direction::{Inbound, Internal, Outbound};
    assert_eq!(directions, [Internal, Internal, Inbound, Outbound]);
}

#[test]
fn t2_two_recorded_parties() {
    let mut office = office(4_002);
    office.until(1.0);
    office.call("C1", "A");
    office.until(9.0);
    office.act("C1", Action::HangUp);
    let kept = office.compare(
        "T2",
        &[
            row("A", &[(1.33, 9.0, "A", "C")]).with(&["other_recording"]),
            row("C", &[(1.33, 9.0, "C", "A")]).with(&["other_recording"]),
        ],
    );
    let correlation = |at: usize| kept[at].manifest.together.correlation.clone();
    assert!(correlation(0).is_some());
    assert_eq!(correlation(0), correlation(1));
}

#[test]
fn t3_hold_and_retrieval_by_the_owner() {
    for (seed, style) in [
        (4_003, HoldStyle::SendOnly),
        (4_103, HoldStyle::Inactive),
        (4_203, HoldStyle::Unspecified),
    ] {
        let mut office = office(seed);
        office.until(1.0);
        office.call("A1", "B");
        office.until(5.0);
        hold(&mut office, "A1", style);
        office.until(9.0);
        office.act("A1", Action::Retrieve);
        office.until(13.0);
        office.act("A1", Action::HangUp);
        let stretches = [
            (1.33, 5.0, "A", "B"),
            (5.0, 9.0, "", ""),
            (9.0, 13.0, "A", "B"),
        ];
        office.compare("T3", &[row("A", &stretches).with(&["held", "retrieved"])]);
    }
}

#[test]
fn t4_held_with_music() {
    let mut office = office(4_004);
    office.until(1.0);
    office.call("A1", "B");
    office.until(5.0);
    office.say("B1", "music");
    hold(&mut office, "B1", HoldStyle::Music);
    office.until(9.0);
    office.say("B1", "B");
    office.act("B1", Action::Retrieve);
    office.until(13.0);
    office.act("A1", Action::HangUp);
    let stretches = [
        (1.33, 5.0, "A", "B"),
        (5.0, 9.0, "", "music"),
        (9.0, 13.0, "A", "B"),
    ];
    office.compare("T4", &[row("A", &stretches).with(&["held", "retrieved"])]);
}

#[test]
fn t5_call_waiting() {
    let mut office = office(4_005);
    office.until(1.0);
    office.call("E1", "G");
    office.until(5.0);
    office.act("E1", Action::Hold);
    office.call("B1", "E");
    office.until(10.0);
    office.act("B1", Action::HangUp);
    office.until(10.5);
    office.act("E1", Action::Retrieve);
    office.until(15.0);
    office.act("E1", Action::HangUp);
    let first = [
        (1.33, 5.0, "E", "G"),
        (5.0, 10.5, "", ""),
        (10.5, 15.0, "E", "G"),
    ];
    let rows = [row("E", &first), row("E", &[(5.33, 10.0, "E", "B")])];
    office.compare("T5", &rows);
}

#[test]
fn t6_conference_in_the_owners_phone() {
    let mut office = office(4_006);
    office.until(1.0);
    office.call("B1", "A");
    office.until(5.0);
    office.act("A1", Action::Hold);
    office.call("A2", "G");
    office.until(9.0);
    office.act("A1", Action::Retrieve);
    office.say("A1", "mix");
    office.say("A2", "mix");
    office.until(14.0);
    office.act("A1", Action::HangUp);
    office.act("A2", Action::HangUp);
    let first = [
        (1.33, 5.0, "A", "B"),
        (5.0, 9.0, "", ""),
        (9.0, 14.0, "mix", "B"),
    ];
    let second = [(5.33, 9.0, "A", "G"), (9.0, 14.0, "mix", "G")];
    office.compare("T6", &[row("A", &first), row("A", &second)]);
}

#[test]
fn t7_attended_transfer_of_the_owner() {
    let mut office = office(4_007);
    office.until(1.0);
    office.call("B1", "A");
    office.until(5.0);
    office.act("B1", Action::Hold);
    office.call("B2", "G");
    office.until(8.0);
    let consulted = office.dialog_of("B2");
    office.refer("B1", "G", Some(consulted));
    office.until(13.0);
    office.act("G1", Action::HangUp);
    let stretches = [
        (1.33, 5.0, "A", "B"),
        (5.0, 8.05, "", ""),
        (8.05, 13.0, "A", "G"),
    ];
    let facts = &["held", "transfer_asked", "party_left", "party_joined"];
    office.compare("T7", &[row("A", &stretches).with(facts)]);
}

#[test]
fn t8_attended_transfer_by_the_owner() {
    let mut office = office(4_008);
    office.until(1.0);
    office.call("A1", "C");
    office.until(5.0);
    office.act("A1", Action::Hold);
    office.call("A2", "B");
    office.until(9.0);
    let consulted = office.dialog_of("A2");
    office.refer("A1", "B", Some(consulted));
    office.until(14.0);
    office.act("C1", Action::HangUp);
    let of_c = [
        (1.33, 5.0, "C", "A"),
        (5.0, 9.05, "", ""),
        (9.05, 14.0, "C", "B"),
    ];
    office.compare(
        "T8",
        &[
            row("A", &[(1.33, 5.0, "A", "C"), (5.0, 9.05, "", "")]),
            row("C", &of_c).with(&["party_left", "party_joined"]),
            row("A", &[(5.33, 9.05, "A", "B")]),
        ],
    );
}

#[test]
fn t9_blind_transfer_to_a_recorded_user() {
    let mut office = office(4_009);
    office.until(1.0);
    office.call("B1", "A");
    office.until(6.0);
    office.refer("A1", "C", None);
    office.until(12.0);
    office.act("B1", Action::HangUp);
    assert!(office.told("A1", PhoneEvent::Ended { by: End::Phone }));
    office.compare(
        "T9",
        &[
            row("A", &[(1.33, 6.34, "A", "B")]).with(&["transfer_asked"]),
            row("C", &[(6.34, 12.0, "C", "B")]),
        ],
    );
}

#[test]
fn a_transfer_that_fails_leaves_the_call_as_it_was() {
    let busy = Answering {
        code: StatusCode::BUSY_HERE,
        ..usual_answering()
    };
    let mut office = Office::new(&Differently {
        phones: vec![("C1", busy, Ways::default())],
        ..Differently::nothing(4_020)
    });
    office.until(1.0);
    office.call("B1", "A");
    office.until(6.0);
    office.refer("A1", "C", None);
    office.until(12.0);
    office.act("B1", Action::HangUp);
    let facts = &["transfer_asked", "transfer_failed"];
    office.compare(
        "busy",
        &[
            row("A", &[(1.33, 12.0, "A", "B")]).with(facts),
            empty("C", EndState::NoMedia),
        ],
    );
}

#[test]
fn a_call_may_be_transferred_twice() {
    let mut office = office(4_021);
    office.until(1.0);
    office.call("A1", "B");
    office.until(5.0);
    office.refer("B1", "G", None);
    office.until(9.0);
    office.refer("G1", "+31201234567", None);
    office.until(14.0);
    office.act("A1", Action::HangUp);
    let stretches = [
        (1.33, 5.34, "A", "B"),
        (5.34, 9.34, "A", "G"),
        (9.34, 14.0, "A", "pstn"),
    ];
    let facts = &["party_joined", "party_joined", "class_changed"];
    office.compare("twice", &[row("A", &stretches).with(facts)]);
}
