//! Our registration at a trunk.

use std::time::{Duration, Instant};

use duolog_reach::digest::{Credentials, Secret};
use duolog_reach::registration::{Input, Output, Registration, RegistrationSettings, State};
use duolog_sip::{Request, Response, StatusCode};

/// An instant to count from; only differences matter.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made from a number"
)]
fn base() -> Instant {
    Instant::now()
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct World {
    now: Instant,
    registration: Registration,
    last: Option<Request>,
}

const ASKED: &str = "Digest realm=\"trunk\", nonce=\"n1\", qop=\"auth\", algorithm=MD5";

impl World {
    fn new(seed: u8) -> World {
        let settings = RegistrationSettings {
            aor: "sip:+31201112233@trunk.example".parse().unwrap(),
            registrar: "sip:trunk.example".parse().unwrap(),
            contact: "<sip:trunk-1@192.0.2.10:5060;transport=tcp>".to_owned(),
            expires_s: 600,
            credentials: Some(Credentials {
                user: "node".to_owned(),
                secret: Secret::new("secret".to_owned()),
                realm: None,
            }),
            server_name: "duolog".to_owned(),
        };
        World {
            now: base(),
            registration: Registration::new(settings, [seed; 32]),
            last: None,
        }
    }

    /// What comes out, in words; the last request is kept.
    fn handle(&mut self, input: Input) -> String {
        let outputs = self.registration.handle(self.now, input);
        let words = outputs.into_iter().map(|output| match output {
            Output::Send(request) => {
                let value = |name| request.headers.value(name).unwrap_or_default().to_owned();
                let words = format!("send {} {}", value("CSeq"), value("Expires"));
                let with = if request.headers.has("Authorization") {
                    " auth"
                } else {
                    ""
                };
                self.last = Some(request);
                format!("{words}{with}")
            }
            Output::State(State::Registered { until }) => {
                format!("registered {}", (until - self.now).as_secs())
            }
            Output::State(State::Failed { status, retry_at }) => {
                assert_eq!(self.registration.deadline(), Some(retry_at));
                format!("failed {status:?}")
            }
            Output::State(State::Unregistered) => "unregistered".to_owned(),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn respond(&mut self, status: u16, fields: &[(&str, &str)]) -> String {
        let request = self.last.as_ref().expect("something was sent");
        let mut response = Response::to(request, StatusCode::new(status).unwrap());
        for (name, value) in fields {
            response.headers.push(name, *value);
        }
        self.handle(Input::Response(response))
    }

    fn wait(&self) -> Duration {
        self.registration.deadline().unwrap() - self.now
    }

    fn due(&mut self) -> String {
        self.now = self.registration.deadline().unwrap();
        self.handle(Input::Deadline)
    }
}

#[test]
fn registers_with_digest_and_refreshes_with_credentials_at_once() {
    let mut world = World::new(1);
    assert_eq!(world.registration.deadline(), None);
    assert_eq!(world.handle(Input::Start), "send 1 REGISTER 600");
    let request = world.last.clone().unwrap();
    assert_eq!(request.uri.to_string(), "sip:trunk.example");
    assert!(!request.headers.has("Via"));
    for (name, want) in [
        ("To", "<sip:+31201112233@trunk.example>"),
        (
            "Contact",
            "<sip:trunk-1@192.0.2.10:5060;transport=tcp>;expires=600",
        ),
        ("Max-Forwards", "70"),
        ("User-Agent", "duolog"),
    ] {
        assert_eq!(request.headers.value(name), Some(want));
    }
    assert_eq!(world.handle(Input::Start), "");
    assert_eq!(world.respond(100, &[]), "");
    let asked = world.respond(401, &[("WWW-Authenticate", ASKED)]);
    assert_eq!(asked, "send 2 REGISTER 600 auth");
    let again = world.last.clone().unwrap();
    for name in ["Call-ID", "From"] {
        assert_eq!(again.headers.value(name), request.headers.value(name));
    }
    let contacts = [
        ("Contact", "<sip:other@192.0.2.11>;expires=30"),
        (
            "Contact",
            "<sip:trunk-1@192.0.2.10:5060;transport=TCP>;expires=300",
        ),
        ("Expires", "1000"),
    ];
    assert_eq!(world.respond(200, &contacts), "registered 300");
    let wait = world.wait();
    assert!(wait >= s(240) && wait <= s(270), "{wait:?}");
    assert_eq!(world.handle(Input::Deadline), "");
    assert_eq!(world.due(), "send 3 REGISTER 600 auth");
    let value = world.last.as_ref().unwrap().headers.value("Authorization");
    assert!(value.unwrap().ends_with("nc=00000002"), "{value:?}");
    assert_eq!(world.respond(200, &[]), "registered 600");
}

#[test]
fn granted_times() {
    let own = "<sip:trunk-1@192.0.2.10:5060;transport=tcp>";
    let rewritten = "<sip:trunk-1@203.0.113.9:1024>;expires=90";
    for (fields, want) in [
        (&[][..], "registered 600"),
        (&[("Expires", "50")], "registered 50"),
        (&[("Contact", own), ("Expires", "50")], "registered 50"),
        (&[("Contact", rewritten)], "registered 90"),
        (
            &[("Contact", rewritten), ("Contact", "<sip:x@y>;expires=9")],
            "registered 600",
        ),
        (&[("Expires", "4294967296")], "registered 604800"),
        (&[("Expires", "junk")], "registered 600"),
        (&[("Contact", "junk")], "registered 600"),
        (&[("Expires", "0")], "failed Some(200)"),
    ] {
        let mut world = World::new(2);
        world.handle(Input::Start);
        assert_eq!(world.respond(200, fields), want, "{fields:?}");
    }
}

#[test]
fn a_brief_time_is_raised_once() {
    let mut world = World::new(3);
    world.handle(Input::Start);
    assert_eq!(
        world.respond(423, &[("Min-Expires", "1800")]),
        "send 2 REGISTER 1800"
    );
    let contact = world.last.as_ref().unwrap().headers.value("Contact");
    assert!(contact.unwrap().ends_with(";expires=1800"));
    assert_eq!(
        world.respond(423, &[("Min-Expires", "1800")]),
        "failed Some(423)"
    );
    assert_eq!(world.due(), "send 3 REGISTER 1800");
    for nonsense in [
        &[][..],
        &[("Min-Expires", "x")],
        &[("Min-Expires", "99999999")],
    ] {
        let mut world = World::new(3);
        world.handle(Input::Start);
        assert_eq!(world.respond(423, nonsense), "failed Some(423)");
    }
    // A registrar that raises without end is left alone after a while.
    let mut world = World::new(3);
    world.handle(Input::Start);
    let mut last = String::new();
    for n in 1..10 {
        let min = (600 + n).to_string();
        last = world.respond(423, &[("Min-Expires", &min)]);
        if !last.starts_with("send") {
            break;
        }
    }
    assert_eq!(last, "failed Some(423)");
}

#[test]
fn wrong_credentials_are_a_failure() {
    let mut world = World::new(4);
    world.handle(Input::Start);
    world.respond(407, &[("Proxy-Authenticate", ASKED)]);
    let other = ASKED.replace("n1", "n2");
    let refused = world.respond(407, &[("Proxy-Authenticate", &other)]);
    assert_eq!(refused, "failed Some(407)");
    for stranger in [
        "Basic realm=\"trunk\"",
        "Digest realm=\"trunk\", nonce=\"n\", algorithm=X",
    ] {
        let mut world = World::new(4);
        world.handle(Input::Start);
        let refused = world.respond(401, &[("WWW-Authenticate", stranger)]);
        assert_eq!(refused, "failed Some(401)");
    }
}

#[test]
fn waits_grow_and_differ() {
    let mut firsts = Vec::new();
    for seed in 0..8 {
        let mut world = World::new(seed);
        world.handle(Input::Start);
        for (n, longest) in [60, 120, 240, 480, 960, 1800, 1800].into_iter().enumerate() {
            assert_eq!(world.handle(Input::Failed), "failed None");
            assert_eq!(world.handle(Input::Failed), "");
            let wait = world.wait();
            assert!(wait >= s(longest) / 2 && wait <= s(longest), "{wait:?}");
            if n == 0 {
                firsts.push(wait);
            }
            assert_eq!(world.due(), format!("send {} REGISTER 600", n + 2));
        }
        // Retry-After makes it longer, within an hour.
        world.respond(503, &[("Retry-After", "2500 (maintenance);duration=9")]);
        assert_eq!(world.wait(), s(2500));
        world.due();
        world.respond(503, &[("Retry-After", "999999")]);
        assert_eq!(world.wait(), s(3600));
        world.due();
        world.respond(200, &[]);
    }
    firsts.dedup();
    assert_eq!(firsts.len(), 8);
    // Once it stood for a while the waits begin anew.
    let mut world = World::new(1);
    world.handle(Input::Start);
    for _ in 0..5 {
        world.handle(Input::Failed);
        world.due();
    }
    world.respond(200, &[]);
    world.due();
    world.handle(Input::Failed);
    assert!(world.wait() <= s(60), "{:?}", world.wait());
}

#[test]
fn a_lost_connection_is_made_anew_at_once_but_not_in_a_circle() {
    let mut world = World::new(5);
    world.handle(Input::Start);
    world.respond(200, &[]);
    assert_eq!(world.handle(Input::FlowFailed), "send 2 REGISTER 600");
    world.respond(200, &[]);
    world.now += s(1);
    assert_eq!(world.handle(Input::FlowFailed), "failed None");
    assert!(world.wait() >= s(60));
    assert_eq!(world.handle(Input::FlowFailed), "");
    world.due();
    world.respond(200, &[]);
    world.now += s(130);
    assert_eq!(world.handle(Input::FlowFailed), "send 4 REGISTER 600");
    assert_eq!(world.handle(Input::FlowFailed), "failed None");
}

#[test]
fn stops_in_every_phase() {
    let mut world = World::new(6);
    assert_eq!(world.handle(Input::Stop), "unregistered");
    // While it stands, with a challenge on the way.
    world.handle(Input::Start);
    world.respond(200, &[]);
    assert_eq!(world.handle(Input::Stop), "send 2 REGISTER 0");
    let contact = world.last.as_ref().unwrap().headers.value("Contact");
    assert!(contact.unwrap().ends_with(";expires=0"));
    assert_eq!(world.handle(Input::Stop), "");
    let asked = world.respond(401, &[("WWW-Authenticate", ASKED)]);
    assert_eq!(asked, "send 3 REGISTER 0 auth");
    assert_eq!(world.respond(200, &[]), "unregistered");
    assert_eq!(world.registration.deadline(), None);
    // While it asks: what was granted after all is given back.
    assert_eq!(world.handle(Input::Start), "send 4 REGISTER 600 auth");
    assert_eq!(world.handle(Input::Stop), "");
    assert_eq!(world.respond(200, &[]), "send 5 REGISTER 0 auth");
    assert_eq!(world.handle(Input::Failed), "unregistered");
    // While it asks and is refused, and while it waits.
    world.handle(Input::Start);
    world.handle(Input::Stop);
    assert_eq!(world.respond(403, &[]), "unregistered");
    world.handle(Input::Start);
    world.respond(403, &[]);
    assert_eq!(world.handle(Input::Stop), "unregistered");
    // Started again while it unregisters.
    world.handle(Input::Start);
    world.respond(200, &[]);
    world.handle(Input::Stop);
    assert_eq!(world.handle(Input::Start), "");
    assert_eq!(world.respond(200, &[]), "send 10 REGISTER 600 auth");
}

#[test]
fn what_does_not_belong_is_passed_over() {
    let mut world = World::new(7);
    assert_eq!(world.handle(Input::Failed), "");
    assert_eq!(world.handle(Input::FlowFailed), "");
    assert_eq!(world.handle(Input::Deadline), "");
    world.handle(Input::Start);
    let first = world.last.clone().unwrap();
    world.handle(Input::Failed);
    world.due();
    let late = Response::to(&first, StatusCode::OK);
    assert_eq!(world.handle(Input::Response(late.clone())), "");
    world.respond(200, &[]);
    assert_eq!(world.handle(Input::Response(late)), "");
    // Nobody answers and nobody says so.
    world.due();
    assert_eq!(world.due(), "failed None");
}
