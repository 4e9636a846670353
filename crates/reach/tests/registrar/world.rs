//! A registrar with two users, and a phone that answers challenges.

use std::time::{Duration, Instant};

use duolog_reach::digest::{Credentials, Memory, Scheme, Secret, answer};
use duolog_reach::registrar::{
    Authentication, Directory, Entry, Outcome, Registered, Registrar, RegistrarSettings,
};
use duolog_sip::{Flow, Method, Request, Response, Tokens, Transport};

/// An instant to count from; only differences matter.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made from a number"
)]
fn base() -> Instant {
    Instant::now()
}

pub fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Alice (1001) has a password and a certificate, bob (1002) a password, carol nothing.
pub struct Users {
    alice: Secret,
    bob: Secret,
}

impl Directory for Users {
    fn entry(&self, user: &str) -> Option<Entry<'_>> {
        let (name, secret, certificate) = match user {
            "alice" | "1001" => ("alice", Some(&self.alice), Some("alice.example.com")),
            "bob" | "1002" => ("bob", Some(&self.bob), None),
            "carol" => ("carol", None, None),
            _ => return None,
        };
        Some(Entry {
            name,
            secret,
            certificate,
        })
    }
}

pub struct World {
    pub now: Instant,
    pub registrar: Registrar,
    pub users: Users,
}

impl World {
    pub fn new() -> World {
        World::with(RegistrarSettings::default())
    }

    pub fn with(settings: RegistrarSettings) -> World {
        World {
            now: base(),
            registrar: Registrar::new(settings, [9; 32]),
            users: Users {
                alice: Secret::new("secret a".to_owned()),
                bob: Secret::new("secret b".to_owned()),
            },
        }
    }

    pub fn register(&mut self, flow: &Flow, request: &Request) -> Registered {
        let (now, users) = (self.now, &self.users);
        self.registrar.register(now, flow, &[], request, users)
    }

    pub fn authenticate(&mut self, flow: &Flow, request: &Request) -> Authentication {
        let (now, users, scheme) = (self.now, &self.users, Scheme::Proxy);
        self.registrar
            .authenticate(now, flow, &[], request, users, scheme)
    }

    /// Where a user can be called: URI, peer and q.
    pub fn places(&self, user: &str) -> Vec<String> {
        let bindings = self.registrar.bindings(self.now, user);
        let place = |b: &duolog_reach::registrar::Binding| {
            let (transport, peer) = (b.flow.transport.as_str(), b.flow.peer);
            let path: String = b
                .path
                .iter()
                .map(|hop| format!(" via {}", hop.uri))
                .collect();
            format!("{} {transport} {peer} {}{path}", b.uri, b.q_milli)
        };
        bindings.iter().map(place).collect()
    }
}

pub fn flow(transport: Transport, peer: &str) -> Flow {
    Flow {
        transport,
        local: "192.0.2.10:5060".parse().unwrap(),
        peer: peer.parse().unwrap(),
    }
}

pub fn udp(peer: &str) -> Flow {
    flow(Transport::Udp, peer)
}

/// A phone of one user, with one Call-ID.
pub struct Phone {
    pub user: String,
    pub flow: Flow,
    pub call_id: String,
    pub cseq: u32,
    /// Fields put into every REGISTER.
    pub fields: Vec<(&'static str, String)>,
    pub credentials: Credentials,
    memory: Memory,
    tokens: Tokens,
}

impl Phone {
    pub fn new(user: &str, password: &str, flow: Flow) -> Phone {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&flow.peer.port().to_be_bytes());
        Phone {
            user: user.to_owned(),
            flow,
            call_id: format!("{user} {}", flow.peer),
            cseq: 0,
            fields: Vec::new(),
            credentials: Credentials {
                user: user.to_owned(),
                secret: Secret::new(password.to_owned()),
                realm: None,
            },
            memory: Memory::default(),
            tokens: Tokens::new(seed),
        }
    }

    pub fn alice(peer: &str) -> Phone {
        Phone::new("alice", "secret a", udp(peer))
    }

    pub fn request(&mut self, method: Method, target: &str) -> Request {
        self.cseq += 1;
        let mut request = Request::new(method.clone(), target.parse().unwrap());
        let me = format!("<sip:{}@example.com>", self.user);
        for (name, value) in [
            (
                "Via",
                "SIP/2.0/UDP phone;branch=z9hG4bK1;rport=1".to_owned(),
            ),
            ("From", format!("{me};tag=1")),
            ("To", me),
            ("Call-ID", self.call_id.clone()),
            ("CSeq", format!("{} {method}", self.cseq)),
        ] {
            request.headers.push(name, value);
        }
        for (name, value) in &self.fields {
            request.headers.push(name, value.as_str());
        }
        request
    }

    /// A REGISTER with these Contact values, without credentials.
    pub fn plain(&mut self, contacts: &[&str]) -> Request {
        let mut request = self.request(Method::Register, "sip:example.com");
        for contact in contacts {
            request.headers.push("Contact", *contact);
        }
        request
    }

    /// The request with an answer to the challenge.
    pub fn answer(&mut self, request: &Request, response: &Response) -> Option<Request> {
        let (memory, tokens) = (&mut self.memory, &mut self.tokens);
        let mut again = answer(request, response, &self.credentials, memory, tokens)?;
        self.cseq += 1;
        let cseq = format!("{} {}", self.cseq, request.method);
        again.headers.set("CSeq", cseq);
        Some(again)
    }

    /// Registers with these Contacts, answering up to two challenges.
    pub fn register(&mut self, world: &mut World, contacts: &[&str]) -> Registered {
        let mut request = self.plain(contacts);
        for _ in 0..3 {
            let registered = world.register(&self.flow, &request);
            match self.answer(&request, &registered.response) {
                Some(again) if registered.outcome == Outcome::Challenged => request = again,
                _ => return registered,
            }
        }
        panic!("challenged again and again");
    }

    /// Registers and expects to be bound.
    pub fn bind(&mut self, world: &mut World, contacts: &[&str]) -> Response {
        let registered = self.register(world, contacts);
        let outcome = Outcome::Bound("alice".to_owned());
        assert_eq!(registered.outcome, outcome, "{:?}", registered.response);
        registered.response
    }
}

/// The values of a field, in order.
pub fn values(response: &Response, name: &str) -> Vec<String> {
    response.headers.values(name).map(str::to_owned).collect()
}
