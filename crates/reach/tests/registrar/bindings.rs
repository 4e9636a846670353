//! What a REGISTER does to the bindings (RFC 3261 §10.3).

use duolog_reach::registrar::{Outcome, RegistrarSettings, Why};

use crate::world::{Phone, World, s, values};

#[test]
fn contacts_come_stay_and_go() {
    let mut world = World::new();
    let mut phone = Phone::alice("192.0.2.1:5060");
    let response = phone.bind(
        &mut world,
        &["<sip:a@192.0.2.1>", "sip:b@192.0.2.1;q=0.5;expires=100"],
    );
    assert_eq!(response.status.code(), 200);
    let want = [
        "<sip:a@192.0.2.1>;expires=3600",
        "<sip:b@192.0.2.1>;expires=100;q=0.5",
    ];
    assert_eq!(values(&response, "Contact"), want);
    assert_eq!(values(&response, "Supported"), ["path, outbound"]);
    assert_eq!(values(&response, "Server"), ["duolog"]);
    let places = [
        "sip:a@192.0.2.1 UDP 192.0.2.1:5060 1000",
        "sip:b@192.0.2.1 UDP 192.0.2.1:5060 500",
    ];
    assert_eq!(world.places("alice"), places);
    assert_eq!(world.registrar.bound(), 2);

    world.now += s(10);
    let queried = phone.register(&mut world, &[]);
    assert_eq!(queried.outcome, Outcome::Queried);
    let want = [
        "<sip:a@192.0.2.1>;expires=3590",
        "<sip:b@192.0.2.1>;expires=90;q=0.5",
    ];
    assert_eq!(values(&queried.response, "Contact"), want);

    let gone = phone.register(&mut world, &["<sip:%61@192.0.2.1>;expires=0"]);
    assert_eq!(gone.outcome, Outcome::Unbound("alice".into()));
    assert_eq!(values(&gone.response, "Contact"), want[1..]);

    assert_eq!(world.registrar.deadline(), Some(world.now + s(90)));
    world.now += s(90);
    assert!(world.places("alice").is_empty());
    world.registrar.expire(world.now);
    assert_eq!(
        (world.registrar.bound(), world.registrar.deadline()),
        (0, None)
    );
}

#[test]
fn expires_by_field_and_default() {
    for (fields, contact, want) in [
        (&[][..], "<sip:a@h>", Ok("3600")),
        (&["300"], "<sip:a@h>", Ok("300")),
        (&["300"], "<sip:a@h>;expires=200", Ok("200")),
        (&["99999"], "<sip:a@h>", Ok("7200")),
        (&["nonsense"], "<sip:a@h>", Ok("3600")),
        (&["59"], "<sip:a@h>", Err(423)),
        (&["300"], "<sip:a@h>;expires=1", Err(423)),
        (&[], "<tel:+31201112233>", Err(400)),
        (&[], "<mailto:a@h>", Err(400)),
        (&[], "<sip:a@h", Err(400)),
    ] {
        let mut world = World::new();
        let mut phone = Phone::alice("192.0.2.1:5060");
        phone.fields = fields
            .iter()
            .map(|f| ("Expires", (*f).to_owned()))
            .collect();
        let registered = phone.register(&mut world, &[contact]);
        let response = &registered.response;
        match want {
            Ok(seconds) => {
                let want = format!("<sip:a@h>;expires={seconds}");
                assert_eq!(values(response, "Contact"), [want], "{fields:?} {contact}");
            }
            Err(status) => {
                assert_eq!(response.status.code(), status, "{fields:?} {contact}");
                assert_eq!(world.registrar.bound(), 0);
                let min = values(response, "Min-Expires");
                assert_eq!(min == ["60"], status == 423, "{min:?}");
            }
        }
    }
}

#[test]
fn all_or_nothing() {
    let mut world = World::new();
    let mut phone = Phone::alice("192.0.2.1:5060");
    phone.bind(&mut world, &["<sip:a@h>"]);
    for (contacts, why) in [
        (
            &["<sip:a@h>;expires=0", "<sip:b@h>;expires=5"][..],
            Why::TooBrief,
        ),
        (&["<sip:b@h>", "<sip:c"], Why::Malformed),
        (&["*"], Why::Malformed),
        (&["*", "<sip:b@h>"], Why::Malformed),
    ] {
        let registered = phone.register(&mut world, contacts);
        assert_eq!(registered.outcome, Outcome::Refused(why), "{contacts:?}");
        assert_eq!(world.places("alice"), ["sip:a@h UDP 192.0.2.1:5060 1000"]);
    }
}

#[test]
fn a_star_clears() {
    let mut world = World::new();
    Phone::alice("192.0.2.1:5060").bind(&mut world, &["<sip:a@h>"]);
    let mut phone = Phone::alice("192.0.2.2:5060");
    phone.bind(&mut world, &["<sip:b@h>"]);
    phone.fields = vec![("Expires", "0".into())];
    let cleared = phone.register(&mut world, &["*"]);
    assert_eq!(cleared.outcome, Outcome::Unbound("alice".into()));
    assert!(values(&cleared.response, "Contact").is_empty());
    assert_eq!(world.registrar.bound(), 0);
    phone.fields = vec![("Expires", "1".into())];
    let refused = phone.register(&mut world, &["*"]);
    assert_eq!(refused.outcome, Outcome::Refused(Why::Malformed));
}

#[test]
fn older_requests_undo_nothing() {
    for (contact, expires) in [("<sip:a@h>", "100"), ("<sip:a@h>", "0"), ("*", "0")] {
        let mut world = World::new();
        let mut phone = Phone::alice("192.0.2.1:5060");
        phone.cseq = 50;
        phone.bind(&mut world, &["<sip:a@h>"]);
        phone.cseq = 10;
        phone.fields = vec![("Expires", expires.into())];
        let late = phone.register(&mut world, &[contact]);
        assert_eq!(late.outcome, Outcome::Refused(Why::OutOfOrder), "{contact}");
        assert_eq!(late.response.status.code(), 500);
        assert_eq!(world.registrar.bound(), 1);
        // Another Call-ID has an order of its own: the phone was started again.
        phone.call_id = "other".into();
        let fresh = phone.register(&mut world, &[contact]);
        assert_eq!(fresh.response.status.code(), 200);
    }
}

#[test]
fn a_user_has_so_many_bindings_and_no_more() {
    let mut world = World::with(RegistrarSettings {
        contacts: 3,
        ..RegistrarSettings::default()
    });
    let mut phone = Phone::alice("192.0.2.1:5060");
    phone.bind(&mut world, &["<sip:a@h>", "<sip:b@h>", "<sip:c@h>"]);
    for contacts in [&["<sip:d@h>"][..], &["<sip:x@h>;expires=0"; 7]] {
        let full = phone.register(&mut world, contacts);
        assert_eq!(full.outcome, Outcome::Refused(Why::TooManyContacts));
        assert_eq!(full.response.status.code(), 403);
    }
    phone.bind(&mut world, &["<sip:a@h>;expires=0", "<sip:d@h>"]);
    assert_eq!(world.registrar.bound(), 3);
}

#[test]
fn best_q_then_newest() {
    let mut world = World::new();
    let mut first = Phone::alice("192.0.2.1:5060");
    let mut second = Phone::alice("192.0.2.2:5060");
    first.bind(&mut world, &["<sip:a@h>;q=0.5"]);
    second.bind(&mut world, &["<sip:b@h>;q=0.5"]);
    second.bind(&mut world, &["<sip:c@h>;q=0.25", "<sip:d@h>"]);
    first.bind(&mut world, &["<sip:a@h>;q=0.5"]);
    let users: Vec<String> = world
        .registrar
        .bindings(world.now, "alice")
        .iter()
        .filter_map(|binding| binding.uri.user.clone())
        .collect();
    assert_eq!(users, ["d", "a", "b", "c"]);
    assert!(world.registrar.bindings(world.now, "1001").is_empty());
}

#[test]
fn what_is_no_uri_of_a_request_is_taken_out() {
    let mut world = World::new();
    let mut phone = Phone::alice("192.0.2.1:5060");
    phone.bind(
        &mut world,
        &["<sip:a@h;method=BYE;ob?Route=%3Csip:evil%3E>"],
    );
    assert_eq!(
        world.places("alice"),
        ["sip:a@h;ob UDP 192.0.2.1:5060 1000"]
    );
    for contact in [
        format!("<sip:{}@h>", "a".repeat(600)),
        format!("<sip:a@h>;+sip.instance=\"{}\"", "a".repeat(600)),
    ] {
        let registered = phone.register(&mut world, &[&contact]);
        assert_eq!(registered.outcome, Outcome::Refused(Why::Malformed));
    }
    phone.call_id = "i".repeat(600);
    let registered = phone.register(&mut world, &["<sip:b@h>"]);
    assert_eq!(registered.outcome, Outcome::Refused(Why::Malformed));
}
