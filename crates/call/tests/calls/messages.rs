//! Message waiting (RFC 3842): who is told of messages, when, and who is not.

use duolog_call::{Input, Location, Mailbox, Settings, UserIndex};
use duolog_reach::digest::Memory;
use duolog_sip::{Dialog, Message, Method, Request};

use crate::reach::{register, with_registered_bob};
use crate::world::{ALICE, BOB, CAROL, TRUNK, World, settings};

fn with_mailbox() -> Settings {
    let mut settings = settings();
    settings.users[BOB - 1].mailbox = Some(Mailbox::default());
    settings
}

fn world() -> World {
    World::with(with_mailbox(), 1)
}

const BOBS: UserIndex = UserIndex(BOB - 1);

fn count(w: &mut World, new: u32, old: u32) {
    w.node(Input::Messages {
        user: BOBS,
        new,
        old,
    });
    w.run(100);
}

/// The NOTIFYs that a party got: state of the subscription and body.
fn notices(w: &World, who: usize) -> Vec<String> {
    let heard = w.parties[who].heard.iter();
    let notices = heard.filter_map(|message| match message {
        Message::Request(request) if request.method == Method::Notify => Some(request),
        _ => None,
    });
    notices.map(shown).collect()
}

fn shown(request: &Request) -> String {
    let value = |name| request.headers.value(name).unwrap_or_default();
    assert_eq!(value("Content-Type"), "application/simple-message-summary");
    let body = String::from_utf8(request.body.to_vec()).unwrap();
    let lines: Vec<&str> = body.split("\r\n").collect();
    assert_eq!(lines[1], "Message-Account: sip:1002@192.0.2.99:5060");
    assert_eq!((lines.len(), lines[3]), (4, ""));
    format!(
        "{} {} | {}",
        value("Event"),
        value("Subscription-State"),
        [lines[0], lines[2]].join(" ")
    )
}

/// A SUBSCRIBE of a party; the status it gets, and its dialog.
fn subscribe(w: &mut World, who: usize, number: &str, fields: &[(&str, &str)]) -> u16 {
    let mut request = w.new_request(who, Method::Subscribe, number);
    for (name, value) in fields {
        request.headers.push(name, *value);
    }
    let flow = w.flow_from(who);
    w.send_new(who, request.clone());
    w.run(100);
    let response = w.last_response(who).clone();
    if response.status.is_success() {
        w.parties[who].dialog = Dialog::uac(&request, &response, flow).ok();
    }
    response.status.code()
}

const SUMMARY: (&str, &str) = ("Event", "message-summary");

#[test]
fn a_phone_is_told_where_it_is_configured_and_only_what_is_new() {
    let mut w = world();
    count(&mut w, 0, 0);
    assert!(notices(&w, BOB).is_empty(), "that is how it was");
    count(&mut w, 2, 1);
    count(&mut w, 2, 1);
    count(&mut w, 0, 3);
    assert_eq!(
        notices(&w, BOB),
        [
            "message-summary active | Messages-Waiting: yes Voice-Message: 2/1 (0/0)",
            "message-summary active | Messages-Waiting: no Voice-Message: 0/3 (0/0)",
        ]
    );
    let notify = w.last_request(BOB);
    assert_eq!(notify.uri.to_string(), "sip:1002@192.0.2.11:5060");
    // Nobody else hears of it, and nothing happens to those without a mailbox.
    w.node(Input::Messages {
        user: UserIndex(ALICE - 1),
        new: 1,
        old: 0,
    });
    w.node(Input::Messages {
        user: UserIndex(4711),
        new: 1,
        old: 0,
    });
    w.run(100);
    assert!(notices(&w, ALICE).is_empty());
    w.settle();
}

#[test]
fn who_subscribes_is_told_within_the_subscription_until_it_ends() {
    let mut w = world();
    count(&mut w, 1, 0);
    w.parties[BOB].heard.clear();
    let fields = [
        SUMMARY,
        ("Expires", "600"),
        ("Accept", "text/plain, application/simple-message-summary"),
    ];
    assert_eq!(subscribe(&mut w, BOB, "1002", &fields), 200);
    let granted = w.last_response(BOB);
    assert_eq!(granted.headers.value("Expires"), Some("600"));
    assert!(granted.headers.has("Contact"));
    w.run_s(60);
    count(&mut w, 2, 0);
    w.within(BOB, Method::Subscribe, &[SUMMARY, ("Expires", "100")]);
    w.run(50);
    w.within(BOB, Method::Subscribe, &[SUMMARY, ("Expires", "0")]);
    w.run(50);
    count(&mut w, 3, 0);
    assert_eq!(
        notices(&w, BOB),
        [
            "message-summary active;expires=600 | Messages-Waiting: yes Voice-Message: 1/0 (0/0)",
            "message-summary active;expires=539 | Messages-Waiting: yes Voice-Message: 2/0 (0/0)",
            "message-summary active;expires=100 | Messages-Waiting: yes Voice-Message: 2/0 (0/0)",
            "message-summary terminated;reason=timeout | Messages-Waiting: yes Voice-Message: 2/0 (0/0)",
            // It is not subscribed any more, and told as others are.
            "message-summary active | Messages-Waiting: yes Voice-Message: 3/0 (0/0)",
        ]
    );
    // What is over is over.
    w.within(BOB, Method::Subscribe, &[SUMMARY]);
    w.run(50);
    assert_eq!(w.last_response(BOB).status.code(), 481);
    w.settle();
}

#[test]
fn a_subscription_that_is_not_renewed_runs_out() {
    let mut w = world();
    assert_eq!(
        subscribe(&mut w, BOB, "1002", &[SUMMARY, ("Expires", "60")]),
        200
    );
    w.run_s(61);
    let last = notices(&w, BOB).pop().unwrap();
    assert!(last.contains("terminated;reason=timeout"), "{last}");
    w.settle();
}

#[test]
fn a_fetch_and_the_end_of_the_node_end_a_subscription() {
    let mut w = world();
    assert_eq!(
        subscribe(&mut w, BOB, "1002", &[SUMMARY, ("Expires", "0")]),
        200
    );
    assert_eq!(
        notices(&w, BOB),
        [
            "message-summary terminated;reason=timeout | Messages-Waiting: no Voice-Message: 0/0 (0/0)"
        ]
    );
    w.settle();
    let mut w = world();
    assert_eq!(subscribe(&mut w, BOB, "1002", &[SUMMARY]), 200);
    w.node(Input::HangUpAll);
    w.run(100);
    let last = notices(&w, BOB).pop().unwrap();
    assert!(last.contains("terminated;reason=deactivated"), "{last}");
    w.settle();
}

#[test]
fn who_answers_that_it_knows_nothing_of_it_is_told_no_more() {
    let mut w = world();
    w.parties[BOB].takes = vec![Method::Notify];
    assert_eq!(subscribe(&mut w, BOB, "1002", &[SUMMARY]), 200);
    let (key, request) = w.parties[BOB].asked.pop().unwrap();
    let gone = duolog_sip::Response::to(&request, crate::world::status(481));
    w.answer(BOB, key, gone);
    // Nothing waits for the end of the hour.
    w.settle();
}

#[test]
fn what_is_asked_wrongly_is_refused_with_what_would_do() {
    let mut w = world();
    for (who, number, fields, status, says) in [
        (
            BOB,
            "1002",
            &[][..],
            489,
            ("Allow-Events", "message-summary"),
        ),
        (
            BOB,
            "1002",
            &[("Event", "dialog")],
            489,
            ("Allow-Events", "message-summary"),
        ),
        (
            BOB,
            "1002",
            &[SUMMARY, ("Accept", "text/plain")],
            406,
            ("Accept", "application/simple-message-summary"),
        ),
        (
            BOB,
            "1002",
            &[SUMMARY, ("Expires", "20")],
            423,
            ("Min-Expires", "60"),
        ),
        (
            BOB,
            "1002",
            &[SUMMARY, ("Expires", "soon")],
            400,
            ("Server", "duolog"),
        ),
        (
            BOB,
            "1002",
            &[SUMMARY, ("Require", "eventlist")],
            420,
            ("Unsupported", "eventlist"),
        ),
        // Somebody else's.
        (ALICE, "1002", &[SUMMARY], 403, ("Server", "duolog")),
        // Without a mailbox there is none.
        (CAROL, "1003", &[SUMMARY], 404, ("Server", "duolog")),
        (TRUNK, "1002", &[SUMMARY], 403, ("Server", "duolog")),
    ] {
        assert_eq!(subscribe(&mut w, who, number, fields), status, "{fields:?}");
        let value = w.last_response(who).headers.value(says.0);
        assert_eq!(value, Some(says.1), "{fields:?}");
    }
    assert!(notices(&w, BOB).is_empty());
    // Under any number that is nobody's it is one's own.
    assert_eq!(
        subscribe(&mut w, BOB, "1233", &[SUMMARY, ("Expires", "0")]),
        200
    );
    w.settle();
}

#[test]
fn there_is_room_for_so_many_phones() {
    let mut w = world();
    for at in 0..20 {
        let status = subscribe(&mut w, BOB, "1002", &[SUMMARY]);
        assert_eq!(status, if at < 16 { 200 } else { 503 }, "{at}");
    }
    w.node(Input::HangUpAll);
    w.settle();
}

#[test]
fn a_registered_user_proves_who_they_are() {
    let mut settings = with_mailbox();
    settings.users[BOB - 1].location = Location::Registered;
    settings.users[BOB - 1].secret = Some(duolog_reach::digest::Secret::new("s".into()));
    let mut w = World::with(settings, 1);
    assert_eq!(subscribe(&mut w, BOB, "1002", &[SUMMARY]), 407);
    // Nobody is registered: nobody is told.
    count(&mut w, 1, 0);
    assert!(notices(&w, BOB).is_empty());
    w.settle();
}

#[test]
fn a_phone_is_told_when_it_registers() {
    let mut settings = with_registered_bob();
    settings.users[BOB - 1].mailbox = Some(Mailbox::default());
    let mut w = World::with(settings, 1);
    count(&mut w, 2, 0);
    assert!(notices(&w, BOB).is_empty(), "nobody is registered");
    let mut memory = Memory::default();
    register(&mut w, &mut memory);
    count(&mut w, 3, 0);
    assert_eq!(
        notices(&w, BOB),
        [
            "message-summary active | Messages-Waiting: yes Voice-Message: 2/0 (0/0)",
            "message-summary active | Messages-Waiting: yes Voice-Message: 3/0 (0/0)",
        ]
    );
    // Once more at each renewal: a phone that was switched off knows nothing.
    register(&mut w, &mut memory);
    assert_eq!(notices(&w, BOB).len(), 3);
}

/// A phone at its configured place that answers so, or not at all, is told again after three minutes.
fn tells_again(answers: Option<u16>, again: bool) {
    let mut w = world();
    w.parties[BOB].takes = vec![Method::Notify];
    if answers.is_none() {
        w.lose = Some(Box::new(|message: &Message| match message {
            Message::Request(request) => request.method == Method::Notify,
            Message::Response(_) => false,
        }));
    }
    count(&mut w, 1, 0);
    if let Some(status) = answers {
        let (key, request) = w.parties[BOB].asked.pop().unwrap();
        let response = duolog_sip::Response::to(&request, crate::world::status(status));
        w.answer(BOB, key, response);
    }
    w.run_s(100);
    w.lose = None;
    w.parties[BOB].takes.clear();
    let before = notices(&w, BOB).len();
    assert_eq!(before, usize::from(answers.is_some()));
    w.run_s(140);
    let after = notices(&w, BOB).len();
    assert_eq!(after - before, usize::from(again), "{answers:?}");
    // It is known now, and not said a third time.
    w.run_s(1_000);
    assert_eq!(notices(&w, BOB).len(), after, "{answers:?}");
    w.settle();
}

#[test]
fn a_phone_that_was_away_is_told_later() {
    for (answers, again) in [
        (None, true),
        (Some(480), true),
        (Some(503), true),
        (Some(200), false),
        // It does not take such things.
        (Some(481), false),
        (Some(489), false),
        (Some(405), false),
    ] {
        tells_again(answers, again);
    }
}

#[test]
fn a_phone_that_never_answers_is_told_for_an_hour_and_again_when_there_is_more() {
    let mut w = world();
    let seen = std::rc::Rc::new(std::cell::Cell::new(0));
    let counter = std::rc::Rc::clone(&seen);
    let mut ids = std::collections::BTreeSet::new();
    w.lose = Some(Box::new(move |message: &Message| match message {
        Message::Request(request) if request.method == Method::Notify => {
            ids.insert(request.call_id().unwrap_or_default().to_owned());
            counter.set(ids.len());
            true
        }
        _ => false,
    }));
    count(&mut w, 1, 0);
    w.run_s(3 * 3_600);
    assert_eq!(seen.get(), 21, "once, and twenty times");
    assert_eq!(w.engine.deadline(), None);
    count(&mut w, 2, 0);
    assert_eq!(seen.get(), 22);
    w.node(Input::HangUpAll);
    w.settle();
}

#[test]
fn a_subscription_that_nobody_knows_is_over_for_whoever_asks() {
    let mut settings = with_mailbox();
    settings.users[BOB - 1].location = Location::Registered;
    // Neither of them: one is a neighbour, the other has nothing but its password.
    for who in [CAROL, BOB] {
        let mut w = World::with(settings.clone(), 1);
        let mut request = w.new_request(who, Method::Subscribe, "1002");
        let to = request.headers.value("To").unwrap().to_owned();
        request.headers.set("To", format!("{to};tag=gone"));
        request.headers.push("Event", "message-summary");
        w.send_new(who, request);
        w.run(100);
        assert_eq!(w.last_response(who).status.code(), 481, "{who}");
        assert_eq!(w.engine.transactions(), 0, "nothing is kept of it");
        w.settle();
    }
}
