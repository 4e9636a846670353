//! Hold and resume, as devices do it: by direction, by `inactive`, by the address 0.0.0.0; and what
//! else passes within a dialog.

use duolog_call::{Fact, Side};
use duolog_sip::Method;
use duolog_sip::sdp::Description;
use duolog_sip::sdp::Direction::{self, Inactive, RecvOnly, SendOnly, SendRecv};

use crate::by_hand::{ALL, direction};
use crate::world::{ALICE, CAROL, TRUNK, World, description};

/// How a party holds: by which direction, or by nowhere to send to.
const KINDS: [(Option<Direction>, Direction, &str); 3] = [
    (Some(SendOnly), RecvOnly, "sendonly"),
    (Some(Inactive), Inactive, "inactive"),
    (None, RecvOnly, "sendonly"),
];

fn held_by(kind: Option<Direction>, who: usize) -> Description {
    kind.map_or_else(|| nowhere(who), |direction| description(who, direction))
}

/// What a party says when it holds in the way of RFC 2543 §B.5.
fn nowhere(who: usize) -> Description {
    let text = description(who, SendRecv).write();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let lines = text.lines().map(|line| match line.starts_with("c=") {
        true => "c=IN IP4 0.0.0.0\r\n".to_owned(),
        false => format!("{line}\r\n"),
    });
    Description::parse(lines.collect::<String>().as_bytes()).unwrap()
}

#[test]
fn every_kind_of_hold_and_resume_from_either_side() {
    for (holder, held, by) in [(TRUNK, CAROL, Side::Caller), (CAROL, TRUNK, Side::Callee)] {
        for (kind, answer, connected) in KINDS {
            let mut w = World::new();
            w.call(TRUNK, CAROL);
            w.reinvite_with(holder, &held_by(kind, holder));
            w.run(50);
            let told = &w.parties[held].invites[0].1.body;
            assert_eq!(direction(told), connected, "told as a direction");
            assert!(!String::from_utf8_lossy(told).contains("0.0.0.0"));
            w.respond_with(held, 200, Some(&description(held, answer)));
            w.run_s(1);
            let facts = w.facts();
            let holds: Vec<&Fact> = facts
                .iter()
                .filter(|fact| matches!(fact, Fact::Held { .. }))
                .collect();
            assert_eq!(holds, [&Fact::Held { by }], "{by:?} {answer:?}");
            // A held party may be silent for long.
            w.run_s(600);
            w.reinvite(holder, SendRecv);
            w.run(50);
            w.respond(held, 200);
            w.run_s(1);
            assert!(w.facts().contains(&Fact::Retrieved { by }));
            assert!(w.times("PAUSE").is_empty() && w.times("START").len() == 1);
            w.bye(holder);
            w.settle();
        }
    }
}

#[test]
fn both_hold_and_each_takes_its_own_back() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    let mut step = |who: usize, offered, other: usize, answered, fact: &Fact| {
        let before = w.facts().iter().filter(|f| *f == fact).count();
        w.reinvite(who, offered);
        w.run(50);
        w.respond_with(other, 200, Some(&description(other, answered)));
        w.run_s(1);
        let after = w.facts().iter().filter(|f| *f == fact).count();
        assert_eq!(after, before + 1, "{fact:?}");
    };
    let (caller, callee) = (Side::Caller, Side::Callee);
    step(TRUNK, SendOnly, CAROL, RecvOnly, &Fact::Held { by: caller });
    // The held one holds as well: it can only say `inactive` or `sendonly`, and does not listen.
    step(CAROL, SendOnly, TRUNK, Inactive, &Fact::Held { by: callee });
    step(
        TRUNK,
        SendRecv,
        CAROL,
        SendOnly,
        &Fact::Retrieved { by: caller },
    );
    step(
        CAROL,
        SendRecv,
        TRUNK,
        SendRecv,
        &Fact::Retrieved { by: callee },
    );
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn music_from_elsewhere_while_on_hold() {
    // A holder that offers another address and no direction (music on hold): nobody is held by that.
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.reinvite_with(TRUNK, &description(ALICE, SendRecv));
    w.run(50);
    w.respond(CAROL, 200);
    w.run_s(1);
    assert!(!w.facts().iter().any(|f| matches!(f, Fact::Held { .. })));
    assert_eq!(w.times("connect-a-sendrecv").len(), 2);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn what_the_parties_say_to_each_other_passes() {
    let mut w = World::new();
    w.connected_call();
    let all = [
        Method::Message,
        Method::Notify,
        Method::Subscribe,
        Method::Info,
    ];
    for who in [TRUNK, CAROL] {
        w.parties[who].takes.extend(all.clone());
    }
    for (who, other) in [(TRUNK, CAROL), (CAROL, TRUNK)] {
        for (method, status) in all.iter().zip([200, 481, 489, 200]) {
            let fields = [
                ("Event", "dialog"),
                ("X-Own", "y"),
                ("Subscription-State", "active"),
            ];
            w.asks(who, method.clone(), &fields, None);
            let passed = w.replies(other, status, &[("X-From", "far")], None);
            assert_eq!(passed.method, *method);
            for (name, value) in fields {
                assert_eq!(passed.headers.value(name), Some(value), "{method}");
            }
            let contact = passed.contact().map(|contact| contact.uri.host);
            let usage = matches!(method, Method::Notify | Method::Subscribe);
            assert_eq!(
                contact.ok().as_deref(),
                usage.then_some("192.0.2.99"),
                "{method}"
            );
            let answer = w.last_response(who);
            assert_eq!(answer.status.code(), status);
            assert_eq!(answer.headers.value("X-From"), Some("far"));
        }
    }
    // What nobody here knows is refused here.
    for (method, fields, status) in [
        (Method::Message, &[("Require", "precondition")][..], 420),
        (Method::Extension("X".into()), &[], 501),
        (Method::Publish, &[], 405),
    ] {
        w.asks(TRUNK, method.clone(), fields, None);
        assert_eq!(w.last_response(TRUNK).status.code(), status, "{method}");
    }
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn what_this_node_can_do_is_what_it_says() {
    let mut w = World::new();
    w.connected_call();
    w.asks(TRUNK, Method::Options, &[], None);
    let answer = w.last_response(TRUNK).clone();
    let allowed: Vec<&str> = answer.tags("Allow").collect();
    for method in [
        "INVITE",
        "ACK",
        "BYE",
        "CANCEL",
        "OPTIONS",
        "INFO",
        "PRACK",
        "UPDATE",
        "REFER",
        "MESSAGE",
        "NOTIFY",
        "SUBSCRIBE",
    ] {
        assert!(allowed.contains(&method), "{method}");
    }
    let supported: Vec<&str> = answer.tags("Supported").collect();
    assert_eq!(supported, ["100rel", "timer", "replaces"]);
    // Each of them may be insisted on.
    for tag in ["100rel", "timer", "replaces"] {
        w.asks(TRUNK, Method::Update, &[("Require", tag)], None);
        assert_eq!(w.last_response(TRUNK).status.code(), 200, "{tag}");
    }
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_callee_may_speak_before_it_answers() {
    let mut w = World::new();
    let invite = w.begin(&ALL, Some(&description(TRUNK, SendRecv)));
    w.rings(180, "c", &ALL, None);
    w.takes_dialog(&invite);
    w.parties[TRUNK].takes.push(Method::Info);
    w.asks(CAROL, Method::Info, &[("X-Own", "y")], None);
    let info = w.replies(TRUNK, 200, &[], None);
    assert_eq!(info.headers.value("X-Own"), Some("y"));
    assert_eq!(w.last_response(CAROL).status.code(), 200);
    w.rings(486, "c", &[], None);
    assert_eq!(w.last_response(TRUNK).status.code(), 486);
    w.settle();
}
