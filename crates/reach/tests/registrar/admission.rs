//! Who is let in (RFC 3261 §22, RFC 8760).

use duolog_reach::digest::{Algorithm, Challenge, Scheme};
use duolog_reach::registrar::{Authentication, Outcome, RegistrarSettings, Why};
use duolog_sip::{Method, Transport};

use crate::world::{Phone, World, flow, s, values};

#[test]
fn strangers_are_asked_best_algorithm_first() {
    let mut world = World::new();
    for user in ["alice", "nobody", "carol"] {
        let mut phone = Phone::alice("192.0.2.1:5060");
        phone.user = user.to_owned();
        let request = phone.plain(&["<sip:a@h>"]);
        let registered = world.register(&phone.flow, &request);
        assert_eq!(registered.outcome, Outcome::Challenged, "{user}");
        assert_eq!(registered.response.status.code(), 401);
        let asked = values(&registered.response, "WWW-Authenticate");
        for (challenge, algorithm) in asked.iter().zip(["SHA-256", "MD5"]) {
            let start = "Digest realm=\"duolog\", qop=\"auth\", nonce=\"";
            assert!(challenge.starts_with(start), "{challenge}");
            assert!(challenge.ends_with(&format!("\", algorithm={algorithm}")));
        }
        assert_eq!(asked.len(), 2);
        assert_eq!(Challenge::of(&registered.response, Scheme::Www).len(), 1);
    }
    assert_eq!(world.registrar.bound(), 0);
}

#[test]
fn who_may_change_what() {
    for (to, name, password, want) in [
        ("alice", "alice", "secret a", Ok("alice")),
        ("1001", "alice", "secret a", Ok("alice")),
        ("%61lice", "1001", "secret a", Ok("alice")),
        ("alice", "alice@duolog", "secret a", Ok("alice")),
        ("bob", "alice", "secret a", Err((Why::Forbidden, 403))),
        ("nobody", "alice", "secret a", Err((Why::NoSuchUser, 404))),
    ] {
        let mut world = World::new();
        let mut phone = Phone::new(name, password, crate::world::udp("192.0.2.1:5060"));
        phone.user = to.to_owned();
        let registered = phone.register(&mut world, &["<sip:a@h>"]);
        match want {
            Ok(user) => assert_eq!(registered.outcome, Outcome::Bound(user.into()), "{to}"),
            Err((why, status)) => {
                assert_eq!(registered.outcome, Outcome::Refused(why), "{to}");
                assert_eq!(registered.response.status.code(), status);
                assert_eq!(world.registrar.bound(), 0);
            }
        }
    }
}

#[test]
fn wrong_passwords_and_no_passwords() {
    for (name, password) in [
        ("alice", "secret b"),
        ("alice", ""),
        ("nobody", "nobody"),
        ("carol", "nobody"),
    ] {
        let mut world = World::new();
        let mut phone = Phone::new(name, password, crate::world::udp("192.0.2.1:5060"));
        let registered = phone.register(&mut world, &["<sip:a@h>"]);
        assert_eq!(registered.outcome, Outcome::Challenged, "{name}");
        assert!(!format!("{:?}", registered.response).contains("stale=true"));
        assert_eq!(world.registrar.bound(), 0);
    }
}

#[test]
fn only_algorithms_of_ours() {
    for algorithm in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256] {
        let mut world = World::with(RegistrarSettings {
            algorithms: vec![algorithm],
            ..RegistrarSettings::default()
        });
        Phone::alice("192.0.2.1:5060").bind(&mut world, &["<sip:a@h>"]);
    }
    // A phone that answers with MD5 where only SHA-256 is asked for.
    let mut md5 = World::with(RegistrarSettings {
        algorithms: vec![Algorithm::Md5],
        ..RegistrarSettings::default()
    });
    let mut sha = World::with(RegistrarSettings {
        algorithms: vec![Algorithm::Sha256],
        ..RegistrarSettings::default()
    });
    let mut phone = Phone::alice("192.0.2.1:5060");
    let request = phone.plain(&["<sip:a@h>"]);
    let asked = md5.register(&phone.flow, &request);
    let again = phone.answer(&request, &asked.response).unwrap();
    sha.now = md5.now;
    assert_eq!(
        sha.register(&phone.flow, &again).outcome,
        Outcome::Challenged
    );
    assert!(matches!(
        md5.register(&phone.flow, &again).outcome,
        Outcome::Bound(_)
    ));
}

#[test]
fn extensions_that_are_not_known_are_named() {
    let mut world = World::new();
    let mut phone = Phone::alice("192.0.2.1:5060");
    phone.fields = vec![("Require", "path, gruu".into()), ("Require", "x".into())];
    let registered = phone.register(&mut world, &["<sip:a@h>"]);
    assert_eq!(registered.outcome, Outcome::Refused(Why::BadExtension));
    assert_eq!(registered.response.status.code(), 420);
    assert_eq!(values(&registered.response, "Unsupported"), ["gruu, x"]);
    phone.fields = vec![("Require", "path, outbound".into())];
    phone.bind(&mut world, &["<sip:a@h>"]);
}

#[test]
fn a_certificate_stands_for_the_password() {
    let tls = flow(Transport::Tls, "192.0.2.1:40000");
    for (user, names, bound) in [
        ("alice", &["x.example.com", "ALICE.example.com"][..], true),
        ("1001", &["alice.example.com"], true),
        ("alice", &["bob.example.com"], false),
        ("alice", &[], false),
        ("bob", &["alice.example.com", ""], false),
        ("nobody", &["alice.example.com"], false),
    ] {
        let mut world = World::new();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut phone = Phone::new(user, "", tls);
        let request = phone.plain(&["<sip:a@h>"]);
        let (now, users) = (world.now, &world.users);
        let registered = world.registrar.register(now, &tls, &names, &request, users);
        match bound {
            true => assert_eq!(registered.outcome, Outcome::Bound("alice".into())),
            false => assert_eq!(registered.outcome, Outcome::Challenged, "{user}"),
        }
        let invite = phone.request(Method::Invite, "sip:1002@example.com");
        let scheme = Scheme::Proxy;
        let got = world
            .registrar
            .authenticate(now, &tls, &names, &invite, users, scheme);
        assert_eq!(got == Authentication::Known("alice".into()), bound);
    }
}

#[test]
fn invites_are_asked_for_and_let_in() {
    let mut world = World::new();
    let mut phone = Phone::alice("192.0.2.1:5060");
    let invite = phone.request(Method::Invite, "sip:1002@example.com");
    let Authentication::Challenge(asked) = world.authenticate(&phone.flow, &invite) else {
        panic!("not asked");
    };
    assert_eq!(asked.status.code(), 407);
    let again = phone.answer(&invite, &asked).unwrap();
    let got = world.authenticate(&phone.flow, &again);
    assert_eq!(got, Authentication::Known("alice".into()));
    let mut unreadable = invite.clone();
    unreadable.headers.remove("From");
    let got = world.authenticate(&phone.flow, &unreadable);
    assert!(matches!(got, Authentication::Refused(r, Why::Malformed) if r.status.code() == 400));
}

#[test]
fn a_nonce_that_gets_old_is_replaced_before_and_called_stale_after() {
    let mut world = World::new();
    let mut phone = Phone::alice("192.0.2.1:5060");
    let request = phone.plain(&["<sip:a@h>"]);
    let asked = world.register(&phone.flow, &request);
    let again = phone.answer(&request, &asked.response).unwrap();
    world.now += s(200);
    let bound = world.register(&phone.flow, &again);
    let info = values(&bound.response, "Authentication-Info");
    assert!(info[0].starts_with("nextnonce=\""), "{info:?}");
    world.now += s(101);
    let late = world.register(&phone.flow, &again);
    assert_eq!(late.outcome, Outcome::Challenged);
    let asked = values(&late.response, "WWW-Authenticate");
    assert!(
        asked.iter().all(|one| one.contains(", stale=true, ")),
        "{asked:?}"
    );
}
