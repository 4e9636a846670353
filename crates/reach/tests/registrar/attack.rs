//! What those get who try: replays, guesses, floods.

use duolog_reach::registrar::{Authentication, Outcome, Why};
use duolog_sip::Method;

use crate::world::{Phone, World, s, udp, values};

/// One guess at a user's password, with a nonce of its own.
fn guess(world: &mut World, user: &str, peer: &str) -> Outcome {
    let mut phone = Phone::new(user, "guess", udp(peer));
    let request = phone.plain(&["<sip:a@h>"]);
    let asked = world.register(&phone.flow, &request);
    match phone.answer(&request, &asked.response) {
        Some(again) => world.register(&phone.flow, &again).outcome,
        None => asked.outcome,
    }
}

#[test]
fn a_caught_request_is_worth_nothing() {
    let mut world = World::new();
    let mut phone = Phone::alice("192.0.2.1:5060");
    let request = phone.plain(&["<sip:a@h>"]);
    let asked = world.register(&phone.flow, &request);
    let again = phone.answer(&request, &asked.response).unwrap();
    // From elsewhere before it arrives, and from anywhere after.
    let elsewhere = udp("198.51.100.1:5060");
    assert_eq!(
        world.register(&elsewhere, &again).outcome,
        Outcome::Challenged
    );
    assert_eq!(world.registrar.bound(), 0);
    assert!(matches!(
        world.register(&phone.flow, &again).outcome,
        Outcome::Bound(_)
    ));
    let mut changed = again.clone();
    changed.headers.set("Contact", "<sip:evil@h>");
    changed.headers.set("CSeq", "99 REGISTER");
    for copy in [&again, &changed] {
        let replayed = world.register(&phone.flow, copy);
        assert_eq!(replayed.outcome, Outcome::Challenged);
        assert!(values(&replayed.response, "WWW-Authenticate")[0].contains("stale=true"));
    }
    assert_eq!(world.places("alice"), ["sip:a@h UDP 192.0.2.1:5060 1000"]);
}

#[test]
fn an_answer_is_for_one_target_and_one_method() {
    let mut world = World::new();
    let mut phone = Phone::alice("192.0.2.1:5060");
    let invite = phone.request(Method::Invite, "sip:1002@example.com");
    let Authentication::Challenge(asked) = world.authenticate(&phone.flow, &invite) else {
        panic!("not asked");
    };
    let again = phone.answer(&invite, &asked).unwrap();
    let mut costly = again.clone();
    costly.uri = "sip:+88299@example.com".parse().unwrap();
    let got = world.authenticate(&phone.flow, &costly);
    assert!(matches!(got, Authentication::Refused(r, Why::DigestUri) if r.status.code() == 400));
    let mut other = again.clone();
    other.method = Method::Refer;
    let got = world.authenticate(&phone.flow, &other);
    assert!(matches!(got, Authentication::Challenge(_)));
    // A proxy may change the host.
    let mut proxied = again;
    proxied.uri = "sip:1002@192.0.2.10:5060".parse().unwrap();
    let got = world.authenticate(&phone.flow, &proxied);
    assert_eq!(got, Authentication::Known("alice".into()));
}

#[test]
fn one_source_that_guesses_is_slowed_more_and_more() {
    let mut world = World::new();
    let mut slowed = Vec::new();
    for n in 0..200 {
        let outcome = guess(&mut world, &format!("user{n}"), "198.51.100.1:5060");
        slowed.push(outcome == Outcome::Refused(Why::Slowed));
        world.now += s(1);
    }
    let guesses = slowed.iter().filter(|slow| !**slow).count();
    assert!((11..=20).contains(&guesses), "{guesses}");
    let mut phone = Phone::alice("198.51.100.1:6000");
    let refused = phone.register(&mut world, &["<sip:a@h>"]);
    assert_eq!(refused.response.status.code(), 503);
    assert!(values(&refused.response, "WWW-Authenticate").is_empty());
    let wait: u64 = values(&refused.response, "Retry-After")[0].parse().unwrap();
    assert!(wait > 30, "{wait}");
    // Others are heard; and so is this one when its time is over.
    Phone::alice("198.51.100.2:5060").bind(&mut world, &["<sip:b@h>"]);
    world.now += s(wait);
    phone.bind(&mut world, &["<sip:a@h>"]);
}

#[test]
fn one_user_guessed_from_everywhere_is_slowed_but_not_at_home() {
    let mut world = World::new();
    let mut home = Phone::alice("192.0.2.1:5060");
    home.bind(&mut world, &["<sip:a@h>"]);
    let mut heard = 0;
    for n in 0..100 {
        let outcome = guess(&mut world, "alice", &format!("198.51.100.{n}:5060"));
        heard += u32::from(outcome != Outcome::Refused(Why::Slowed));
        world.now += s(1);
    }
    assert!((6..=14).contains(&heard), "{heard}");
    home.bind(&mut world, &["<sip:a@h>"]);
    // Another port of the same house, as after a restart.
    Phone::alice("192.0.2.1:7777").bind(&mut world, &["<sip:c@h>"]);
    let mut stranger = Phone::alice("203.0.113.1:5060");
    let refused = stranger.register(&mut world, &["<sip:b@h>"]);
    assert_eq!(refused.outcome, Outcome::Refused(Why::Slowed));
}

#[test]
fn a_neighbour_of_the_house_cannot_shut_a_phone_out_or_guess_on() {
    let mut world = World::new();
    let mut home = Phone::alice("192.0.2.1:5060");
    home.bind(&mut world, &["<sip:a@h>"]);
    let mut heard = 0;
    for n in 0..100 {
        let outcome = guess(&mut world, "alice", &format!("192.0.2.1:{}", 6000 + n));
        heard += u32::from(outcome != Outcome::Refused(Why::Slowed));
    }
    assert_eq!(heard, 6);
    home.bind(&mut world, &["<sip:a@h>"]);
}

#[test]
fn forged_datagrams_slow_no_one() {
    let mut world = World::new();
    let mut attacker = Phone::new("alice", "guess", udp("198.51.100.1:5060"));
    let request = attacker.plain(&["<sip:a@h>"]);
    let asked = world.register(&attacker.flow, &request);
    let answered = attacker.answer(&request, &asked.response).unwrap();
    // Its own nonce, under the address of a phone.
    let victim = udp("192.0.2.1:5060");
    for _ in 0..1000 {
        let outcome = world.register(&victim, &answered).outcome;
        assert_eq!(outcome, Outcome::Challenged);
    }
    Phone::alice("192.0.2.1:5060").bind(&mut world, &["<sip:a@h>"]);
}

#[test]
fn a_flood_of_strangers_leaves_nothing() {
    let mut world = World::new();
    for n in 0..20_000_u32 {
        let [a, b, c, d] = n.to_be_bytes();
        let flow = udp(&format!("{}.{b}.{c}.{d}:5060", a + 10));
        let mut phone = Phone::new(&format!("u{n}"), "x", flow);
        let request = phone.plain(&["<sip:a@h>"]);
        assert_eq!(world.register(&flow, &request).outcome, Outcome::Challenged);
    }
    assert_eq!(world.registrar.bound(), 0);
    assert_eq!(world.registrar.deadline(), None);
}

#[test]
fn what_cannot_be_read_is_refused_or_asked_again() {
    for (name, value) in [
        ("To", "<sip:"),
        ("To", "<sip:example.com>;x"),
        ("Authorization", "Digest"),
        (
            "Authorization",
            "Digest username=\"alice\", realm=\"duolog\"",
        ),
        (
            "Authorization",
            "Digest username=\"alice\", realm=\"duolog\", nonce=\"\", uri=\"\", response=\"\"",
        ),
        ("Authorization", "Basic YWxpY2U6c2VjcmV0IGE="),
        ("Authorization", "\"\\"),
        ("Contact", "*"),
        ("Via", "nonsense"),
        ("CSeq", "x"),
    ] {
        let mut world = World::new();
        let mut phone = Phone::alice("192.0.2.1:5060");
        let mut request = phone.plain(&["<sip:a@h>"]);
        request.headers.set(name, value);
        let registered = world.register(&phone.flow, &request);
        let fine = matches!(
            registered.outcome,
            Outcome::Challenged | Outcome::Refused(Why::Malformed)
        );
        assert!(fine, "{name}: {value}");
        let Some(mut again) = phone.answer(&request, &registered.response) else {
            continue;
        };
        if name == "CSeq" {
            again.headers.set("CSeq", value);
        }
        let registered = world.register(&phone.flow, &again);
        let is_bound = matches!(registered.outcome, Outcome::Bound(_));
        assert_eq!(
            is_bound,
            name == "Authorization",
            "{name}: {value} {registered:?}"
        );
    }
}
