//! Calls that end, in every way they can.

use duolog_call::{End, Fact, HungUpBy, Input, LegId, MediaEvent, OnFailure, Side};
use duolog_sip::sdp::Direction;
use duolog_sip::{Message, Method};

use crate::world::{ALICE, Acks, BOB, CAROL, TRUNK, World, settings};

fn is(message: &Message, method: &Method) -> bool {
    matches!(message, Message::Request(request) if request.method == *method)
}

#[test]
fn the_caller_gives_up() {
    let mut w = World::new();
    w.invite(TRUNK, "1001");
    w.run(300);
    w.respond(ALICE, 180);
    w.run_s(5);
    w.cancel(TRUNK);
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 180 487");
    assert!(
        w.parties[ALICE].invites.is_empty(),
        "the callee got the CANCEL"
    );
    assert_eq!(
        w.endings(),
        [(
            End::NotAnswered,
            "the caller gave up before the answer".to_owned()
        )]
    );
    w.settle();

    // Before the callee said anything: the CANCEL waits for it.
    let mut w = World::new();
    w.invite(TRUNK, "1001");
    w.run(7);
    w.cancel(TRUNK);
    w.run_s(2);
    assert_eq!(w.heard(TRUNK), "100 487");
    w.settle();
}

#[test]
fn cancel_and_answer_cross() {
    let mut w = World::new();
    w.invite(TRUNK, "1001");
    w.run(300);
    w.respond(ALICE, 180);
    w.run(100);
    w.cancel(TRUNK);
    w.run(7);
    // The CANCEL is at the node and on its way to the callee, who answers.
    w.respond(ALICE, 200);
    w.run_s(1);
    assert_eq!(w.heard(TRUNK), "100 180 487");
    assert_eq!(w.heard(ALICE), "INVITE ACK BYE");
    w.settle();

    // The other way round: the answer is on its way to the caller, who cancels.
    let mut w = World::new();
    w.invite(TRUNK, "1001");
    w.run(300);
    w.respond(ALICE, 180);
    w.run(100);
    w.respond(ALICE, 200);
    w.run(7);
    w.cancel(TRUNK);
    w.run_s(1);
    assert_eq!(w.heard(TRUNK), "100 180 200");
    assert_eq!(w.engine.calls(), 1);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn the_callee_refuses() {
    for (code, passed) in [
        (486, 486),
        (404, 404),
        (603, 603),
        (401, 401),
        (302, 480),
        (503, 500),
    ] {
        let mut w = World::new();
        w.invite(TRUNK, "1001");
        w.run(300);
        w.respond(ALICE, code);
        w.run(100);
        assert_eq!(w.last_response(TRUNK).status.code(), passed);
        assert_eq!(
            w.endings(),
            [(End::NotAnswered, format!("the callee answered {code}"))]
        );
        assert!(w.facts().contains(&Fact::HungUp {
            by: HungUpBy::CalleeRefused(code)
        }));
        w.settle();
    }
}

#[test]
fn nobody_answers() {
    for (to, number, status) in [(ALICE, "1001", "408"), (TRUNK, "0201", "504")] {
        let mut w = World::new();
        let at = format!("192.0.2.{}", if to == TRUNK { 1 } else { 10 });
        w.lose = Some(Box::new(
            move |message| matches!(message, Message::Request(r) if r.uri.host == at),
        ));
        w.invite(BOB, number);
        w.run_s(40);
        assert_eq!(w.heard(BOB), format!("100 {status}"));
        w.settle();
    }
    let mut w = World::new();
    w.invite(TRUNK, "1001");
    w.run(300);
    w.respond(ALICE, 180);
    w.run_s(181);
    assert_eq!(w.heard(TRUNK), "100 180 408");
    assert_eq!(
        w.endings(),
        [(End::NotAnswered, "the callee did not answer".to_owned())]
    );
    w.settle();
}

#[test]
fn a_lost_ack_is_made_up_for() {
    let mut w = World::new();
    let mut lost = 0;
    w.lose = Some(Box::new(move |message| {
        let ack = is(message, &Method::Ack);
        lost += u32::from(ack);
        ack && lost <= 3
    }));
    w.call(TRUNK, ALICE);
    w.run_s(10);
    assert_eq!(w.heard(TRUNK), "100 180 200");
    assert_eq!(w.heard(ALICE), "INVITE ACK");
    assert_eq!(w.times("START").len(), 1);
    w.bye(ALICE);
    w.settle();
}

#[test]
fn no_ack_at_all_ends_the_call() {
    let mut w = World::new();
    w.parties[TRUNK].acks = Acks::Never;
    w.call(TRUNK, ALICE);
    w.run_s(20);
    assert_eq!(w.heard(TRUNK), "100 180 200");
    w.run_s(20);
    assert_eq!(w.heard(TRUNK), "100 180 200 BYE");
    assert_eq!(w.heard(ALICE), "INVITE ACK BYE");
    assert_eq!(w.endings()[0].0, End::NotStarted);
    w.settle();
}

#[test]
fn bye_waits_for_the_ack() {
    let mut w = World::new();
    w.parties[TRUNK].acks = Acks::Never;
    w.call(TRUNK, ALICE);
    w.bye(ALICE);
    w.run_s(5);
    assert_eq!(
        w.heard(TRUNK),
        "100 180 200",
        "no BYE before the ACK (RFC 3261 §15)"
    );
    w.run_s(40);
    assert_eq!(w.heard(TRUNK), "100 180 200 BYE");
    assert_eq!(
        w.endings(),
        [(End::NotStarted, "the callee hung up".to_owned())]
    );
    w.settle();
}

#[test]
fn a_lost_bye_is_repeated_and_a_dead_party_is_not_waited_for() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.lose = Some(Box::new(|message| is(message, &Method::Bye)));
    w.node(Input::HangUpAll);
    w.run_s(20);
    assert_eq!(w.engine.calls(), 1);
    w.settle();
    assert_eq!(
        w.endings(),
        [(End::Finished, "the node went down".to_owned())]
    );
}

#[test]
fn everything_is_hung_up() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.invite(BOB, "1001");
    w.run(100);
    w.node(Input::HangUpAll);
    w.run(300);
    assert_eq!(w.heard(CAROL), "INVITE ACK BYE");
    assert_eq!(w.heard(TRUNK), "100 180 200 BYE");
    assert_eq!(w.heard(BOB), "503");
    assert!(w.parties[ALICE].invites.is_empty(), "cancelled");
    w.invite(BOB, "1002");
    w.run(100);
    assert_eq!(w.heard(BOB), "503 503");
    let ends: Vec<End> = w.endings().into_iter().map(|(end, _)| end).collect();
    assert_eq!(ends, [End::Finished, End::Refused]);
    w.settle();
}

#[test]
fn silence_on_both_sides_ends_the_call() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    let (caller, callee) = (LegId(1), LegId(2));
    w.report(MediaEvent::MediaTimeout { leg: caller });
    w.report(MediaEvent::FirstPacket { leg: caller });
    w.report(MediaEvent::MediaTimeout { leg: callee });
    w.run(100);
    assert_eq!(w.engine.calls(), 1, "one of them speaks");
    w.report(MediaEvent::MediaTimeout { leg: caller });
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 180 200 BYE");
    assert_eq!(w.heard(CAROL), "INVITE ACK BYE");
    assert_eq!(
        w.endings(),
        [(End::Finished, "neither party sent audio".to_owned())]
    );
    assert!(
        w.facts()
            .contains(&Fact::MediaTimeout { side: Side::Callee })
    );
    w.settle();

    // A held call may be silent.
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.reinvite(TRUNK, Direction::SendOnly);
    w.run(50);
    w.respond_with(
        CAROL,
        200,
        Some(&crate::world::description(CAROL, Direction::RecvOnly)),
    );
    w.run(50);
    w.report(MediaEvent::MediaTimeout { leg: caller });
    w.report(MediaEvent::MediaTimeout { leg: callee });
    w.run(100);
    assert_eq!(w.engine.calls(), 1);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_lost_recording_does_not_end_the_call() {
    let mut told = settings();
    told.users[0].recording_mut().on_failure = OnFailure::GoOnAnnounced;
    let mut w = World::with(told, 1);
    w.call(TRUNK, ALICE);
    w.run_s(5);
    let recording = *w.recordings.keys().next().unwrap();
    for reason in ["disk gone", "spool full", "disk gone"] {
        let reason = reason.to_owned();
        w.report(MediaEvent::RecordingTrouble { recording, reason });
    }
    w.run_s(60);
    assert_eq!(w.endings(), [(End::Failed, "disk gone".to_owned())]);
    assert!(
        w.times("play-a-tone").is_empty(),
        "no tone without a recording"
    );
    assert_eq!(w.engine.calls(), 1);
    w.bye(ALICE);
    w.settle();
}

#[test]
fn what_is_said_beside_a_bye_passes() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.within(
        TRUNK,
        Method::Bye,
        &[("Reason", "Q.850;cause=16"), ("X-Own", "1")],
    );
    w.run(50);
    let bye = w.last_request(CAROL);
    assert_eq!(bye.method, Method::Bye);
    assert_eq!(bye.headers.value("Reason"), Some("Q.850;cause=16"));
    assert_eq!(bye.headers.value("X-Own"), Some("1"));
    w.settle();
}

#[test]
fn an_early_bye_ends_like_a_cancel() {
    let mut w = World::new();
    w.invite(TRUNK, "1001");
    w.run(300);
    w.respond(ALICE, 180);
    w.run(100);
    let ringing = w.last_response(TRUNK).clone();
    let mut bye = w.new_request(TRUNK, Method::Bye, "1001");
    for name in ["From", "To", "Call-ID"] {
        bye.headers.set(name, ringing.headers.value(name).unwrap());
    }
    bye.headers.set("CSeq", "2 BYE");
    w.send_new(TRUNK, bye);
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 180 200 487");
    assert!(w.parties[ALICE].invites.is_empty(), "cancelled");
    w.settle();
}
