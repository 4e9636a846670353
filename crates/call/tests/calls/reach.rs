//! Phones that register, trunks that ask for digests or are known by name, sources that ask too much.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_call::{
    Engine, Input, Location, LogEvent, Output, RecordingSettings, Settings, TrunkRegistration,
};
use duolog_reach::digest::{self, Credentials, Memory, Secret};
use duolog_reach::hops::{Destination, Host, Question, Records, Srv};
use duolog_reach::limits::Rate;
use duolog_sip::{Flow, Message, Method, Request, Response, Tokens, Transport};

use crate::world::{ALICE, BOB, NODE, TRUNK, World, settings, status};

fn credentials() -> Credentials {
    Credentials {
        user: "bob".to_owned(),
        secret: Secret::new("hearsay".to_owned()),
        realm: None,
    }
}

/// Bob's phone has to register with a password.
pub fn with_registered_bob() -> Settings {
    let mut settings = settings();
    settings.users[1].location = Location::Registered;
    settings.users[1].secret = Some(Secret::new("hearsay".to_owned()));
    settings
}

/// The same request once more, with what the answer asks for.
fn again(request: &Request, response: &Response, memory: &mut Memory) -> Request {
    let tokens = &mut Tokens::new([9; 32]);
    let mut signed = digest::answer(request, response, &credentials(), memory, tokens)
        .expect("the challenge can be met");
    let number = request.cseq().unwrap().number + 1;
    let cseq = format!("{number} {}", request.method);
    signed.headers.set("CSeq", cseq);
    signed
}

pub fn register(w: &mut World, memory: &mut Memory) {
    let mut request = w.new_request(BOB, Method::Register, "x");
    request.headers.set("To", "<sip:bob@192.0.2.99>");
    request.headers.push("Expires", "600");
    w.send_new(BOB, request.clone());
    w.run(50);
    let challenge = w.last_response(BOB).clone();
    assert_eq!(challenge.status.code(), 401, "{challenge:?}");
    let signed = again(&request, &challenge, memory);
    w.send_new(BOB, signed);
    w.run(50);
    let answer = w.last_response(BOB);
    assert_eq!(answer.status.code(), 200, "{answer:?}");
    assert!(
        answer
            .headers
            .value("Contact")
            .unwrap()
            .contains("expires=")
    );
}

#[test]
fn a_phone_is_called_where_it_registered_and_nowhere_before() {
    let mut w = World::with(with_registered_bob(), 1);
    w.invite(TRUNK, "1002");
    w.run(50);
    assert_eq!(w.heard(TRUNK), "480");
    assert_eq!(w.heard(BOB), "");
    register(&mut w, &mut Memory::default());
    w.call(TRUNK, BOB);
    assert_eq!(w.heard(TRUNK), "480 100 180 200");
    w.run_s(5);
    w.bye(BOB);
    w.run(100);
    assert!(w.heard(TRUNK).ends_with("BYE"));
    // What was registered is forgotten when its time is over.
    w.run_s(700);
    w.invite(TRUNK, "1002");
    w.run(50);
    assert!(w.heard(TRUNK).ends_with("480"));
    w.settle();
}

#[test]
fn a_registered_phone_calls_with_its_password_over_udp() {
    let mut w = World::with(with_registered_bob(), 1);
    let mut memory = Memory::default();
    register(&mut w, &mut memory);
    let mut invite = w.new_invite(BOB, "1001");
    w.send_new(BOB, invite.clone());
    w.run(50);
    let challenge = w.last_response(BOB).clone();
    assert_eq!(challenge.status.code(), 407, "{challenge:?}");
    assert_eq!(w.heard(ALICE), "", "nobody rings for who says no password");
    invite = again(&invite, &challenge, &mut memory);
    w.send_new(BOB, invite);
    w.run(500);
    w.respond(ALICE, 200);
    w.run(100);
    assert!(w.heard(BOB).ends_with("200"), "{}", w.heard(BOB));
    w.bye(ALICE);
    w.run_s(700);
    w.settle();
}

#[test]
fn a_wrong_password_calls_nobody() {
    let mut w = World::with(with_registered_bob(), 1);
    let invite = w.new_invite(BOB, "1001");
    w.send_new(BOB, invite.clone());
    w.run(50);
    let challenge = w.last_response(BOB).clone();
    let wrong = Credentials {
        secret: Secret::new("guess".to_owned()),
        ..credentials()
    };
    let (memory, tokens) = (&mut Memory::default(), &mut Tokens::new([9; 32]));
    let mut guess = digest::answer(&invite, &challenge, &wrong, memory, tokens).unwrap();
    guess.headers.set("CSeq", "2 INVITE");
    w.send_new(BOB, guess);
    w.run(50);
    let code = w.last_response(BOB).status.code();
    assert!(matches!(code, 403 | 407), "{code}");
    assert_eq!(w.heard(ALICE), "");
    w.settle();
}

#[test]
fn a_registered_address_is_no_proof_under_any_name() {
    let mut w = World::with(with_registered_bob(), 1);
    register(&mut w, &mut Memory::default());
    for from in ["anonymous@anonymous.invalid", "4711@x", "bob@x", "1001@x"] {
        let mut invite = w.new_invite(BOB, "1001");
        invite
            .headers
            .set("From", format!("<sip:{from}>;tag=forged"));
        w.send_new(BOB, invite);
        w.run(50);
        assert_eq!(w.last_response(BOB).status.code(), 407, "{from}");
    }
    assert_eq!(w.heard(ALICE), "");
    w.run_s(700);
    w.settle();
}

#[test]
fn a_phone_with_two_lines_is_no_stranger() {
    let mut settings = with_registered_bob();
    settings.users[2].location = Location::Registered;
    settings.users[2].secret = Some(Secret::new("hearsay".to_owned()));
    let mut w = World::with(settings, 1);
    let publish = |w: &mut World| {
        let request = w.new_request(BOB, Method::Publish, "x");
        w.send_new(BOB, request);
        w.run(50);
        w.last_response(BOB).status.code()
    };
    assert_eq!(publish(&mut w), 403);
    register(&mut w, &mut Memory::default());
    assert_eq!(publish(&mut w), 405);
    let carol = Credentials {
        user: "carol".to_owned(),
        ..credentials()
    };
    let mut request = w.new_request(BOB, Method::Register, "x");
    request.headers.set("To", "<sip:carol@192.0.2.99>");
    w.send_new(BOB, request.clone());
    w.run(50);
    let challenge = w.last_response(BOB).clone();
    let (memory, tokens) = (&mut Memory::default(), &mut Tokens::new([9; 32]));
    let mut signed = digest::answer(&request, &challenge, &carol, memory, tokens).unwrap();
    signed.headers.set("CSeq", "2 REGISTER");
    w.send_new(BOB, signed);
    w.run(50);
    assert_eq!(w.last_response(BOB).status.code(), 200);
    assert_eq!(publish(&mut w), 405);
}

#[test]
fn who_asked_too_much_may_still_hang_up() {
    let mut settings = settings();
    settings.reach.limits.neighbours.others = Rate {
        per_s: 0.001,
        burst: 1.0,
    };
    let mut w = World::with(settings, 1);
    w.call(TRUNK, BOB);
    w.run_s(5);
    w.bye(TRUNK);
    w.run(400);
    assert!(w.heard(BOB).ends_with("BYE"), "{}", w.heard(BOB));
    assert!(w.heard(TRUNK).ends_with("200"), "{}", w.heard(TRUNK));
}

#[test]
fn a_trunk_that_asks_for_a_digest_gets_it() {
    let mut settings = settings();
    settings.trunks[0].credentials = Some(credentials());
    let mut w = World::with(settings, 1);
    let challenge = |w: &mut World| {
        let (key, request) = w.parties[TRUNK].invites.remove(0);
        let mut response = Response::to(&request, status(407));
        let asked = "Digest realm=\"pstn\", nonce=\"abc\", qop=\"auth\", algorithm=SHA-256";
        response.headers.push("Proxy-Authenticate", asked);
        w.answer(TRUNK, key, response);
        request
    };
    w.invite(ALICE, "0201234567");
    w.run(50);
    let first = challenge(&mut w);
    assert!(!first.headers.has("Proxy-Authorization"));
    w.run(50);
    let second = w.last_request(TRUNK).clone();
    assert_eq!(second.method, Method::Invite);
    let signed = second.headers.value("Proxy-Authorization").unwrap();
    assert!(
        signed.contains("realm=\"pstn\"") && signed.contains("nc=00000001"),
        "{signed}"
    );
    assert_eq!(
        second.cseq().unwrap().number,
        first.cseq().unwrap().number + 1
    );
    assert_eq!(second.call_id().unwrap(), first.call_id().unwrap());
    w.respond(TRUNK, 180);
    w.run(50);
    w.respond(TRUNK, 200);
    w.run(100);
    assert!(
        w.heard(ALICE).ends_with("200"),
        "the caller hears nothing of it"
    );
    // What comes later carries a digest at once.
    w.bye(ALICE);
    w.run(100);
    let bye = w.last_request(TRUNK);
    assert_eq!(bye.method, Method::Bye);
    let signed = bye.headers.value("Proxy-Authorization").unwrap();
    assert!(signed.contains("nc=00000002"), "{signed}");
    w.settle();
}

#[test]
fn a_trunk_that_refuses_the_digest_is_not_asked_for_ever() {
    let mut settings = settings();
    settings.trunks[0].credentials = Some(credentials());
    let mut w = World::with(settings, 1);
    w.invite(ALICE, "0201234567");
    for _ in 0..2 {
        w.run(50);
        let (key, request) = w.parties[TRUNK].invites.remove(0);
        let mut response = Response::to(&request, status(401));
        let asked = "Digest realm=\"pstn\", nonce=\"abc\", qop=\"auth\"";
        response.headers.push("WWW-Authenticate", asked);
        w.answer(TRUNK, key, response);
    }
    w.run(100);
    assert!(
        w.parties[TRUNK].invites.is_empty(),
        "refused twice is refused"
    );
    let last = w.last_response(ALICE).status.code();
    assert!((400..600).contains(&last) && last != 407, "{last}");
    w.settle();
}

/// An engine without a network around it.
struct Alone {
    engine: Engine,
    now: Instant,
}

impl Alone {
    fn new(settings: Settings) -> Self {
        let now = settings.epoch.at;
        Self {
            engine: Engine::new(Arc::new(settings), [1; 32]),
            now,
        }
    }

    fn hears(&mut self, peer: &str, text: &str) -> Vec<Output> {
        self.hears_bytes(peer, Bytes::copy_from_slice(text.as_bytes()))
    }

    fn hears_bytes(&mut self, peer: &str, bytes: Bytes) -> Vec<Output> {
        let flow = Flow {
            transport: Transport::Udp,
            local: NODE.parse().unwrap(),
            peer: peer.parse().unwrap(),
        };
        self.engine.handle(self.now, Input::Sip { flow, bytes })
    }

    fn due(&mut self) -> Vec<Output> {
        self.now = self
            .engine
            .deadline()
            .expect("something is due")
            .max(self.now);
        self.engine.handle(self.now, Input::Deadline)
    }
}

fn sent(outputs: &[Output]) -> Vec<(SocketAddr, Message)> {
    let sends = outputs.iter().filter_map(|output| match output {
        Output::Send { flow, bytes, .. } => {
            Some((flow.peer, Message::parse(bytes.clone()).unwrap()))
        }
        _ => None,
    });
    sends.collect()
}

fn asked(outputs: &[Output]) -> Vec<(duolog_reach::hops::QueryId, Question)> {
    let questions = outputs.iter().filter_map(|output| match output {
        Output::Resolve { id, question } => Some((*id, question.clone())),
        _ => None,
    });
    questions.collect()
}

/// A DNS with one zone: two hosts, the first one preferred.
fn records(question: &Question) -> Records {
    let ttl = Duration::from_secs(300);
    match question {
        Question::Naptr(_) => Records::Naptr(Vec::new(), ttl),
        Question::Srv(name) if name == "_sip._udp.trunk.example.net" => {
            let srv = |priority, target: &str| Srv {
                priority,
                weight: 0,
                port: 5070,
                target: target.to_owned(),
            };
            Records::Srv(vec![srv(2, "b.example.net"), srv(1, "a.example.net")], ttl)
        }
        Question::Srv(_) => Records::Srv(Vec::new(), ttl),
        Question::Addresses { name, .. } => {
            let last = if name.starts_with('a') { 1 } else { 2 };
            let addresses = vec![[198, 51, 100, last].into()];
            Records::Addresses(addresses, ttl)
        }
    }
}

impl Alone {
    /// Answers every question until none is left; gives back everything else that came out.
    fn resolves(&mut self, outputs: Vec<Output>) -> Vec<Output> {
        let mut questions = asked(&outputs);
        let mut all = outputs;
        while let Some((id, question)) = questions.pop() {
            let answer = Ok(records(&question));
            let more = self.engine.handle(self.now, Input::Resolved { id, answer });
            questions.extend(asked(&more));
            all.extend(more);
        }
        all
    }
}

/// The first trunk is known by name and wants a registration.
fn with_registration() -> Settings {
    let mut settings = settings();
    let trunk = &mut settings.trunks[0];
    trunk.destination = Destination {
        host: Host::Name("trunk.example.net".to_owned()),
        port: None,
        transport: None,
    };
    trunk.registration = Some(TrunkRegistration {
        aor: "sip:4711@trunk.example.net".parse().unwrap(),
        expires_s: 600,
    });
    settings
}

fn requests(outputs: &[Output]) -> Vec<(SocketAddr, Request)> {
    let all = sent(outputs).into_iter();
    let requests = all.filter_map(|(peer, message)| match message {
        Message::Request(request) => Some((peer, request)),
        Message::Response(_) => None,
    });
    requests.collect()
}

#[test]
fn a_registrar_that_is_unavailable_is_left_for_the_other_one() {
    let mut node = Alone::new(with_registration());
    let mut registered_at = Vec::new();
    let mut queue = node.due();
    for _ in 0..200 {
        queue = node.resolves(queue);
        let mut answered = Vec::new();
        for (peer, request) in requests(&queue) {
            let code = match request.method {
                Method::Register => {
                    registered_at.push(peer.to_string());
                    503
                }
                _ => 200,
            };
            let response = Response::to(&request, status(code));
            answered.extend(node.hears_bytes(&peer.to_string(), response.write()));
        }
        if registered_at.len() == 2 {
            break;
        }
        queue = match answered.is_empty() {
            true => node.due(),
            false => answered,
        };
    }
    assert_eq!(registered_at, ["198.51.100.1:5070", "198.51.100.2:5070"]);
}

#[test]
fn who_goes_down_before_the_registrar_was_found_does_not_register() {
    let mut node = Alone::new(with_registration());
    let questions = node.due();
    assert!(!asked(&questions).is_empty());
    let last = node.engine.handle(node.now, Input::HangUpAll);
    assert!(requests(&last).is_empty());
    let mut outputs = node.resolves(questions);
    for _ in 0..20 {
        outputs.extend(node.due());
    }
    let registers = requests(&outputs).into_iter();
    let registers = registers.filter(|(_, request)| request.method == Method::Register);
    assert_eq!(registers.count(), 0);
}

#[test]
fn a_trunk_known_by_name_is_registered_at_and_its_calls_are_known() {
    let mut settings = with_registration();
    settings.users[1].recording = RecordingSettings::default().into();
    let mut node = Alone::new(settings);
    let outputs = node.due();
    let outputs = node.resolves(outputs);
    let registers: Vec<_> = sent(&outputs)
        .into_iter()
        .filter_map(|(peer, message)| match message {
            Message::Request(request) if request.method == Method::Register => {
                Some((peer, request))
            }
            _ => None,
        })
        .collect();
    let [(peer, request)] = &registers[..] else {
        panic!("one REGISTER: {registers:?}");
    };
    assert_eq!(
        *peer,
        "198.51.100.1:5070".parse().unwrap(),
        "the preferred host"
    );
    assert_eq!(request.uri.to_string(), "sip:trunk.example.net");
    // A call from the other host is the trunk's as well.
    let invite = "INVITE sip:1002@192.0.2.99 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 198.51.100.2:5070;branch=z9hG4bKx;rport\r\nFrom: <sip:9@x>;tag=1\r\n\
        To: <sip:1002@x>\r\nCall-ID: in\r\nCSeq: 1 INVITE\r\nContact: <sip:9@198.51.100.2:5070>\r\n\
        Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
    let outputs = node.hears("198.51.100.2:5070", invite);
    let began = |output: &Output| matches!(output, Output::Log(log) if matches!(log.event, LogEvent::Began { .. }));
    assert!(outputs.iter().any(began), "{outputs:?}");
    // From elsewhere it is nobody's.
    let outputs = node.hears(
        "198.51.100.3:5070",
        &invite
            .replace("100.2:", "100.3:")
            .replace("Call-ID: in", "Call-ID: out"),
    );
    let Some((_, Message::Response(response))) = sent(&outputs).into_iter().last() else {
        panic!("{outputs:?}");
    };
    assert_eq!(response.status.code(), 403);
}

#[test]
fn who_asks_too_much_is_answered_rarely_and_then_not_at_all() {
    let mut node = Alone::new(settings());
    let mut answers = Vec::new();
    let mut limited = 0;
    for n in 0..5_000 {
        let invite = format!(
            "INVITE sip:1001@192.0.2.99 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK{n}\r\n\
             From: <sip:9@x>;tag={n}\r\nTo: <sip:1001@x>\r\nCall-ID: c{n}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:9@198.51.100.9>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        );
        let outputs = node.hears("198.51.100.9:5060", &invite);
        answers.extend(
            sent(&outputs)
                .into_iter()
                .filter_map(|(_, message)| match message {
                    Message::Response(response) => Some(response.status.code()),
                    Message::Request(_) => None,
                }),
        );
        let is_limited =
            |output: &&Output| matches!(output, Output::Log(log) if log.event == LogEvent::Limited);
        limited += outputs.iter().filter(is_limited).count();
    }
    let count = |code| answers.iter().filter(|answer| **answer == code).count();
    assert!(count(403) > 0 && count(403) < 500, "{}", count(403));
    assert_eq!(count(503), 1, "once a second at most");
    assert_eq!(limited, 5_000 - count(403), "each one is counted");
    assert_eq!(node.engine.transactions(), 0, "nothing is kept of it");
    // A neighbour notices nothing.
    let options = "OPTIONS sip:192.0.2.99 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKo\r\n\
        From: <sip:9@x>;tag=1\r\nTo: <sip:x>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\
        Content-Length: 0\r\n\r\n";
    let outputs = node.hears("192.0.2.1:5060", options);
    let Some((_, Message::Response(response))) = sent(&outputs).into_iter().next() else {
        panic!("{outputs:?}");
    };
    assert_eq!(response.status.code(), 200);
}
