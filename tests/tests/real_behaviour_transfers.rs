//! SIPp scenarios of parties that take another one's place: an attended transfer by a phone with two
//! calls, a second phone that takes a call over, a pick-up; over UDP, TCP and TLS.

use duolog_tests::real::play::{CALLEE, CALLER, THIRD, Voices, judge, site, user_third};
use duolog_tests::real::script::{Body, SDP, Script};
use duolog_tests::real::stage::{Place, Role, Set, Stage, Wire, alone};
use duolog_tests::real::trace::{escaped, replaces};

/// The program, with user 103 as well, who is recorded too.
fn stage(wire: Wire) -> Stage {
    let places = &[Place::TRUNK, Place::ANNA, Place::ANNA_TOO, Place::THIRD];
    let (site, names) = (site(wire), &[]);
    let third = user_third(&site, wire);
    let set = Set {
        wire,
        places,
        names,
        first: &[],
    };
    let recorded = "mode = \"always\"\n";
    Stage::set(site, &set, |text| format!("{text}{third}{recorded}"))
}

fn over_every_wire(name: &str, play: impl Fn(&Stage), recordings: &[Voices]) {
    for wire in Wire::ALL {
        let _alone = alone();
        let stage = stage(wire);
        play(&stage);
        let name = format!("{name} over {}", wire.word());
        judge(&name, &stage.close(), recordings);
    }
}

fn calls(name: &'static str) -> Script {
    Script::caller(name)
        .invite(&[], SDP)
        .may_get(100)
        .may_get(180)
        .gets(200)
        .ack(Body::None)
        .speaks()
}

fn answers(name: &'static str) -> Script {
    Script::callee(name)
        .answer_invite("200 OK", &[], SDP)
        .wants("ACK")
        .speaks()
}

/// User 100 talks to 103, holds, answers a call from outside, and brings the two together: the
/// recording of 103 holds first the one voice and then the other, those of 100 end.
#[test]
fn an_attended_transfer_by_a_phone_with_two_calls() {
    let consults = Script::caller("consults")
        .known_as("100")
        .invite(&[], SDP)
        .may_get(100)
        .gets(200)
        .ack(Body::None)
        .speaks()
        .waits_ms(1_500)
        .hushes()
        .request("INVITE", &[], Body::Sdp("sendonly"))
        .may_get(100)
        .gets(200)
        .ack(Body::None)
        .is_hung_up();
    let third = answers("third")
        .wants_with("INVITE", "", "a=sendonly")
        .hushes()
        .answer("200 OK", &[], Body::Sdp("recvonly"))
        .wants("ACK")
        // Who was held is taken back for the one who comes.
        .wants("INVITE")
        .answer("200 OK", &[], SDP)
        .wants("ACK")
        .speaks_on()
        .is_hung_up();
    let caller = calls("caller").waits_ms(4_500).hangs_up();
    let play = |stage: &Stage| {
        let mut called = stage.start(&Role::called(&third, Place::THIRD, THIRD));
        let role = Role::calls(&consults, Place::ANNA_TOO, CALLEE, "103");
        let mut first = stage.start(&role);
        let held = |heard: &[_]| replaces(heard).filter(|_| holds(heard));
        let dialog = stage.until_heard(&mut first, &consults, held);
        let refer = format!("Refer-To: <sip:103@duolog?Replaces={}>", escaped(&dialog));
        let answers = answers("answers")
            .waits_ms(1_500)
            .request("REFER", &[&refer], Body::None)
            .gets(202)
            .is_transferred_at_once();
        stage.play(&[
            Role::called(&answers, Place::ANNA, CALLEE),
            Role::calls(&caller, Place::TRUNK, CALLER, "100"),
        ]);
        stage.all_end([&mut first, &mut called]);
    };
    let recordings: &[Voices] = &[
        (CALLEE, &[THIRD]),
        (CALLEE, &[CALLER]),
        (THIRD, &[CALLEE, CALLER]),
    ];
    over_every_wire("attended transfer", play, recordings);
}

/// Whether a call has been put on hold.
fn holds(heard: &[duolog_tests::real::trace::Heard]) -> bool {
    heard
        .iter()
        .any(|heard| heard.came && heard.text.contains("a=recvonly"))
}

/// User 100 goes on with the call from another phone (RFC 3891): a recording for each phone.
#[test]
fn another_phone_of_a_user_takes_a_call_over() {
    let caller = calls("caller").waits_ms(4_000).hangs_up();
    let answers = answers("answers").is_hung_up();
    let play = |stage: &Stage| {
        let mut called = stage.start(&Role::called(&answers, Place::ANNA, CALLEE));
        let mut calls = stage.start(&Role::calls(&caller, Place::TRUNK, CALLER, "100"));
        let dialog = stage.until_heard(&mut called, &answers, |heard| {
            let acked = heard.iter().any(|heard| heard.first().starts_with("ACK "));
            replaces(heard).filter(|_| acked)
        });
        let takes = Script::caller("takes")
            .known_as("100")
            .waits_ms(1_500)
            .invite(&[&format!("Replaces: {dialog}"), "Require: replaces"], SDP)
            .may_get(100)
            .gets(200)
            .ack(Body::None)
            .speaks()
            .is_hung_up();
        stage.play(&[Role::calls(&takes, Place::ANNA_TOO, THIRD, "100")]);
        stage.all_end([&mut calls, &mut called]);
    };
    let recordings: &[Voices] = &[(CALLEE, &[CALLER]), (THIRD, &[CALLER])];
    over_every_wire("take-over", play, recordings);
}

/// User 103 answers what rings at 100: a recording of 103's, none of 100's.
#[test]
fn a_pick_up_of_what_rings_elsewhere() {
    let caller = calls("caller").waits_ms(2_500).hangs_up();
    let rings = Script::callee("rings")
        .answer_invite("180 Ringing", &[], Body::None)
        .wants("CANCEL")
        .answer("200 OK", &[], Body::None)
        .answer_invite("487 Request Terminated", &[], Body::None)
        .wants("ACK");
    let play = |stage: &Stage| {
        let mut ringing = stage.start(&Role::called(&rings, Place::ANNA, CALLEE));
        let mut calls = stage.start(&Role::calls(&caller, Place::TRUNK, CALLER, "100"));
        let dialog = stage.until_heard(&mut ringing, &rings, replaces);
        let picks_up = Script::caller("picks-up")
            .known_as("103")
            .invite(&[&format!("Replaces: {dialog};early-only")], SDP)
            .may_get(100)
            .gets(200)
            .ack(Body::None)
            .speaks()
            .is_hung_up();
        stage.play(&[Role::calls(&picks_up, Place::THIRD, THIRD, "103")]);
        stage.all_end([&mut calls, &mut ringing]);
    };
    let recordings: &[Voices] = &[(THIRD, &[CALLER])];
    over_every_wire("pick-up", play, recordings);
}
