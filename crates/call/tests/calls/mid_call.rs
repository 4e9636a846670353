//! What happens while a call stands.

use duolog_call::{Fact, Refusal, Side};
use duolog_sip::sdp::Direction;
use duolog_sip::{Message, Method};

use crate::world::{ALICE, CAROL, TRUNK, World, description};

#[test]
fn hold_and_retrieve_from_either_side() {
    for (holder, held, by) in [(TRUNK, CAROL, Side::Caller), (CAROL, TRUNK, Side::Callee)] {
        let mut w = World::new();
        w.call(TRUNK, CAROL);
        let before = w.media.len();
        w.reinvite(holder, Direction::SendOnly);
        w.run(50);
        assert_eq!(w.parties[held].invites.len(), 1);
        w.respond_with(held, 200, Some(&description(held, Direction::RecvOnly)));
        w.run_s(1);
        let (own, other) = if by == Side::Caller {
            ("a", "b")
        } else {
            ("b", "a")
        };
        let connects = [
            format!("connect-{own}-sendonly"),
            format!("connect-{other}-recvonly"),
        ];
        for wanted in &connects {
            assert_eq!(w.times(wanted).len(), 1, "{wanted} in {}", w.commands());
        }
        assert!(w.media.len() > before);
        assert!(w.facts().contains(&Fact::Held { by }));
        w.run_s(10);
        w.reinvite(holder, Direction::SendRecv);
        w.run(50);
        w.respond(held, 200);
        w.run_s(1);
        assert!(w.facts().contains(&Fact::Retrieved { by }));
        assert_eq!(w.times(&format!("connect-{own}-sendrecv")).len(), 2);
        assert_eq!(w.times("START").len(), 1, "one recording goes on");
        assert!(w.times("PAUSE").is_empty());
        w.bye(holder);
        w.settle();
    }
}

#[test]
fn a_refused_reinvite_changes_nothing() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    let before = w.commands();
    w.reinvite(TRUNK, Direction::SendOnly);
    w.run(50);
    w.respond(CAROL, 488);
    w.run(50);
    assert_eq!(w.last_response(TRUNK).status.code(), 488);
    assert_eq!(w.commands(), before);
    w.bye(TRUNK);
    w.settle();

    // 481 means that the dialog is gone: so is the call.
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.reinvite(TRUNK, Direction::SendOnly);
    w.run(50);
    w.respond(CAROL, 481);
    w.run(50);
    assert_eq!(w.heard(TRUNK), "100 180 200 481 BYE");
    w.settle();
}

#[test]
fn glare_is_491_on_both_sides() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.reinvite(TRUNK, Direction::SendOnly);
    w.run(7);
    w.reinvite(CAROL, Direction::SendOnly);
    w.run(50);
    assert_eq!(w.last_response(CAROL).status.code(), 491);
    // The callee sees glare as well and says so.
    w.respond(CAROL, 491);
    w.run(50);
    assert_eq!(w.last_response(TRUNK).status.code(), 491);
    assert!(
        !w.facts()
            .iter()
            .any(|fact| matches!(fact, Fact::Held { .. }))
    );
    // Later each may try again.
    w.run_s(3);
    w.reinvite(CAROL, Direction::SendOnly);
    w.run(50);
    w.respond_with(TRUNK, 200, Some(&description(TRUNK, Direction::RecvOnly)));
    w.run(50);
    assert!(w.facts().contains(&Fact::Held { by: Side::Callee }));
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_second_invite_of_the_same_side_waits() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.reinvite(TRUNK, Direction::SendOnly);
    w.run(50);
    w.reinvite(TRUNK, Direction::SendRecv);
    w.run(50);
    assert_eq!(w.last_response(TRUNK).status.code(), 500);
    assert!(w.last_response(TRUNK).headers.has("Retry-After"));
    w.bye(CAROL);
    w.run(50);
    assert_eq!(w.heard(TRUNK), "100 180 200 500 487 BYE");
    w.settle();
}

#[test]
fn a_reinvite_without_offer_is_carried() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.parties[TRUNK].acks =
        crate::world::Acks::With(description(TRUNK, Direction::SendOnly).write());
    w.within(TRUNK, Method::Invite, &[]);
    w.run(50);
    w.respond(CAROL, 200);
    w.run(50);
    assert!(
        matches!(w.last(CAROL), Message::Request(r) if r.method == Method::Ack && !r.body.is_empty())
    );
    assert!(w.facts().contains(&Fact::Held { by: Side::Caller }));
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_reinvite_that_is_never_answered_or_cancelled() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.reinvite(TRUNK, Direction::SendOnly);
    w.run(50);
    w.respond(CAROL, 180);
    w.run(300);
    w.cancel(TRUNK);
    w.run(50);
    assert_eq!(w.last_response(TRUNK).status.code(), 487);
    assert_eq!(w.engine.calls(), 1);
    w.reinvite(TRUNK, Direction::SendOnly);
    w.run(50);
    w.respond(CAROL, 180);
    w.run_s(200);
    assert_eq!(w.last_response(TRUNK).status.code(), 408);
    assert!(w.parties[CAROL].invites.is_empty());
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn info_passes_and_its_answer_comes_back() {
    let mut w = World::new();
    w.call(TRUNK, ALICE);
    for fields in [
        &[("Content-Type", "application/dtmf-relay"), ("X-Own", "y")][..],
        &[("Content-Type", "application/x-other"), ("X-Own", "y")][..],
    ] {
        w.within(ALICE, Method::Info, fields);
        w.run(50);
        assert_eq!(w.last_request(TRUNK).headers.value("X-Own"), Some("y"));
        assert_eq!(w.last_response(ALICE).status.code(), 200);
        assert_eq!(w.last_response(ALICE).headers.value("X-From"), Some("9000"));
    }
    w.within(TRUNK, Method::Options, &[]);
    w.run(50);
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    assert!(w.last_response(TRUNK).headers.has("Allow"));
    for (method, status) in [(Method::Publish, 405), (Method::Extension("X".into()), 501)] {
        w.within(TRUNK, method, &[]);
        w.run(50);
        assert_eq!(w.last_response(TRUNK).status.code(), status);
    }
    // An INFO that is still out when the call ends is answered.
    w.lose = Some(Box::new(
        |m| matches!(m, Message::Request(r) if r.method == Method::Info && r.uri.host == "192.0.2.1"),
    ));
    w.within(ALICE, Method::Info, &[]);
    w.run(50);
    w.bye(TRUNK);
    w.run(50);
    assert_eq!(
        w.heard(ALICE).rsplit(' ').take(2).collect::<Vec<_>>(),
        ["BYE", "487"]
    );
    w.settle();
}

#[test]
fn a_request_out_of_order_is_500() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    let mut old = w.parties[TRUNK].dialog.clone().unwrap();
    w.within(TRUNK, Method::Info, &[]);
    w.within(TRUNK, Method::Info, &[]);
    w.run(50);
    std::mem::swap(w.parties[TRUNK].dialog.as_mut().unwrap(), &mut old);
    w.within(TRUNK, Method::Options, &[]);
    w.run(50);
    assert_eq!(w.last_response(TRUNK).status.code(), 500);
    w.parties[TRUNK].dialog = Some(old);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn info_controls_the_recording() {
    let mut w = World::new();
    w.call(TRUNK, ALICE);
    w.run_s(5);
    let ask = |w: &mut World, who: usize, value: &str| {
        w.within(who, Method::Info, &[("Record", value)]);
        w.run(50);
        w.last_response(who).status.code()
    };
    assert_eq!(ask(&mut w, ALICE, "pause"), 200);
    assert_eq!(ask(&mut w, ALICE, "PAUSE "), 200, "idempotent");
    assert_eq!((w.times("PAUSE").len(), w.times("RESUME").len()), (1, 0));
    assert_eq!(ask(&mut w, TRUNK, "resume"), 403, "not the owner");
    let warning = w
        .last_response(TRUNK)
        .headers
        .value("Warning")
        .unwrap()
        .to_owned();
    assert!(warning.contains("only the owner"), "{warning}");
    assert_eq!(w.times("RESUME").len(), 0);
    assert_eq!(ask(&mut w, ALICE, "Resume"), 200);
    assert_eq!(ask(&mut w, ALICE, "on"), 200, "it is on");
    assert_eq!(ask(&mut w, ALICE, "off"), 403);
    assert_eq!((w.times("PAUSE").len(), w.times("RESUME").len()), (1, 1));
    let refused =
        |why| move |fact: &Fact| matches!(fact, Fact::ControlRefused { why: w, .. } if *w == why);
    assert!(w.facts().iter().any(refused(Refusal::NotOwner)));
    assert!(w.facts().iter().any(refused(Refusal::ModeForbids)));
    assert!(
        w.heard(TRUNK).find("INFO").is_none(),
        "controls do not pass"
    );
    w.bye(TRUNK);
    w.settle();

    // A mode without the right; and a call that is not recorded.
    for (to, value) in [
        (CAROL, "pause"),
        (CAROL, "resume"),
        (CAROL, "on"),
        (CAROL, "off"),
    ] {
        let mut w = World::new();
        w.call(TRUNK, to);
        assert_eq!(ask(&mut w, to, value), 403);
        assert!(w.times("PAUSE").is_empty());
        w.bye(TRUNK);
        w.settle();
    }
    let mut w = World::new();
    w.call(TRUNK, crate::world::BOB);
    assert_eq!(ask(&mut w, crate::world::BOB, "pause"), 403);
    w.bye(TRUNK);
    w.settle();
}
