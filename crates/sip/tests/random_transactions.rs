//! Random sequences of events, legal and illegal, from a seed: whatever peers and the user do, every
//! transaction is told of as its RFC says, ends, and leaves nothing behind.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_sip::endpoint::{Input, Output};
use duolog_sip::{
    ClientKey, Endpoint, Flow, Message, Method, Request, Response, ServerKey, StatusCode, Transport,
};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use support::{base, endpoint, flow};

const SEEDS: u8 = 120;
const STEPS: usize = 400;
/// Timer C, the CANCEL it leads to, and the last timer behind that.
const LONGEST: Duration = Duration::from_secs(300 + 32 + 33);
/// 64*T1 and the last timer, where nobody waits for an answer any more.
const LONGEST_CANCELLED: Duration = Duration::from_secs(32 + 33);

/// What the user was told about a request it sent.
#[derive(Debug)]
struct Sent {
    request: Request,
    end: Option<&'static str>,
}

/// What the user was told, and said, about a request that came.
#[derive(Debug, Default)]
struct Came {
    method: Option<Method>,
    request: Option<Request>,
    answered: Option<StatusCode>,
    cancelled: bool,
    acked: bool,
    failed: bool,
    unpracked: bool,
}

struct World {
    us: Endpoint,
    now: Instant,
    random: ChaCha12Rng,
    next: u64,
    sent: BTreeMap<ClientKey, Sent>,
    came: BTreeMap<ServerKey, Came>,
    /// Requests and responses of ours on the wire, for the peers to answer or to repeat.
    wire: Vec<Message>,
    /// What peers sent, to be repeated and to be changed.
    heard: Vec<Request>,
    trail: Vec<String>,
}

const METHODS: [Method; 6] = [
    Method::Invite,
    Method::Invite,
    Method::Bye,
    Method::Options,
    Method::Prack,
    Method::Register,
];

const STATUSES: [u16; 10] = [100, 180, 183, 200, 202, 302, 404, 486, 487, 603];

impl World {
    fn new(seed: u8) -> World {
        World {
            us: endpoint("192.0.2.1:5060", seed),
            now: base(),
            random: ChaCha12Rng::from_seed([seed; 32]),
            next: 1,
            sent: BTreeMap::new(),
            came: BTreeMap::new(),
            wire: Vec::new(),
            heard: Vec::new(),
            trail: Vec::new(),
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.next_u64() as usize % limit.max(1)
    }

    fn flow(&mut self) -> Flow {
        let transport = [
            Transport::Udp,
            Transport::Udp,
            Transport::Tcp,
            Transport::Tls,
        ];
        let transport = transport[self.below(4)];
        let peer = [
            "198.51.100.1:5060",
            "198.51.100.2:5060",
            "[2001:db8::2]:5060",
        ];
        flow(transport, "192.0.2.1:5060", peer[self.below(3)])
    }

    fn status(&mut self) -> StatusCode {
        let code = STATUSES[self.below(STATUSES.len())];
        StatusCode::new(code).expect("the table has real ones")
    }

    /// A key the user knows, or one that never was.
    fn client_key(&mut self) -> ClientKey {
        ClientKey(self.below(self.next as usize + 2) as u64)
    }

    fn server_key(&mut self) -> ServerKey {
        let keys: Vec<ServerKey> = self.came.keys().rev().take(6).copied().collect();
        match keys.is_empty() || self.below(12) == 0 {
            true => ServerKey(self.below(5_000) as u64),
            false => keys[self.below(keys.len())],
        }
    }

    fn request(&mut self, who: &str) -> Request {
        let method = METHODS[self.below(METHODS.len())].clone();
        let uri = format!("sip:{}@192.0.2.1", self.below(3));
        let mut request = Request::new(method.clone(), uri.parse().expect("a URI"));
        let (id, number) = (self.below(4), self.below(3) + 1);
        let tag = ["", "", ";tag=t"][self.below(3)];
        for (name, value) in [
            ("From", format!("<sip:{who}@example.com>;tag={who}")),
            ("To", format!("<sip:b@example.com>{tag}")),
            ("Call-ID", format!("{who}{id}")),
            ("CSeq", format!("{number} {method}")),
            ("Contact", format!("<sip:{who}@198.51.100.1>")),
            ("Max-Forwards", "70".to_owned()),
        ] {
            request.headers.push(name, value);
        }
        request
    }

    fn step(&mut self) {
        let input = match self.below(16) {
            0 | 1 => self.user_asks(),
            2..=4 => self.user_answers(),
            5 => self.user_does(),
            6..=8 => self.peer_asks(),
            9..=12 => self.peer_answers(),
            13 => self.peer_repeats(),
            14 if self.below(6) == 0 => Some(Input::FlowFailed { flow: self.flow() }),
            14 => Some(Input::Deadline),
            _ => {
                let ms = [1, 100, 600, 5_000, 40_000][self.below(5)];
                self.pass(Duration::from_millis(ms));
                None
            }
        };
        if let Some(input) = input {
            self.put(input);
        }
    }

    fn user_asks(&mut self) -> Option<Input> {
        let (flow, mut request) = (self.flow(), self.request("us"));
        let key = ClientKey(self.next);
        self.next += 1;
        if self.below(3) == 0 {
            request.set_body("text/plain", vec![b'x'; 1_400].into());
        }
        let larger = (self.below(2) == 0).then(|| self.flow());
        let end = None;
        let copy = request.clone();
        self.sent.insert(key, Sent { request: copy, end });
        Some(Input::Request {
            key,
            flow,
            request,
            larger,
        })
    }

    fn user_answers(&mut self) -> Option<Input> {
        let key = self.server_key();
        let request = self.came.get(&key).and_then(|came| came.request.clone());
        let status = self.status();
        let mut response = Response::to(&request.unwrap_or_else(|| self.request("x")), status);
        if self.below(2) == 0 {
            response.headers.push("RSeq", self.below(3).to_string());
        }
        let once = status.is_final() && self.below(5) == 0;
        if let Some(came) = self.came.get_mut(&key)
            && came.answered.is_none()
            && !came.failed
            && status.is_final()
        {
            came.answered = Some(status);
        }
        Some(match once {
            true => Input::RespondOnce { key, response },
            false => Input::Respond { key, response },
        })
    }

    fn user_does(&mut self) -> Option<Input> {
        let key = self.client_key();
        Some(match self.below(3) {
            0 => Input::Cancel { key },
            1 => {
                let mut request = self.request("us");
                request.method = Method::Ack;
                request.headers.set("CSeq", "1 ACK");
                Input::Ack { key, request }
            }
            _ => Input::Pracked {
                key: self.server_key(),
                rseq: self.below(3) as u32,
            },
        })
    }

    fn peer_asks(&mut self) -> Option<Input> {
        let flow = self.flow();
        let old = self.below(3 * self.heard.len());
        let mut request = match self.heard.get(old) {
            Some(old) => old.clone(),
            None => self.request("peer"),
        };
        if self.below(3) == 0 {
            // What goes with an INVITE, or with something that is none.
            let method = [Method::Ack, Method::Cancel][self.below(2)].clone();
            let number = request.cseq().map_or(1, |cseq| cseq.number);
            request.headers.set("CSeq", format!("{number} {method}"));
            request.method = method;
        }
        if !request.headers.has("Via") || self.below(4) == 0 {
            let branch = ["z9hG4bK", "z9hG4bK", ""][self.below(3)];
            let number = self.below(40);
            request.headers.remove("Via");
            let via = format!("SIP/2.0/UDP 198.51.100.1;branch={branch}{number}");
            request.headers.push_front("Via", via);
        }
        self.heard.push(request.clone());
        let bytes = request.write();
        Some(Input::Received { flow, bytes })
    }

    fn peer_answers(&mut self) -> Option<Input> {
        let flow = self.flow();
        let recent = self.wire.len().saturating_sub(12);
        let at = recent + self.below(self.wire.len() - recent);
        let request = match self.wire.get(at)?.clone() {
            Message::Request(request) => request,
            Message::Response(response) => {
                let bytes = ack_of(&response)?.write();
                return Some(Input::Received { flow, bytes });
            }
        };
        let mut response = Response::to(&request, self.status());
        let tag = ["a", "b", "c"][self.below(3)];
        response.set_to_tag(tag);
        let bytes = response.write();
        Some(Input::Received { flow, bytes })
    }

    /// Our own messages come back, or something is cut.
    fn peer_repeats(&mut self) -> Option<Input> {
        let flow = self.flow();
        let at = self.below(self.wire.len());
        let mut bytes = self.wire.get(at)?.write();
        if self.below(2) == 0 {
            bytes.truncate(self.below(bytes.len()));
        }
        Some(Input::Received { flow, bytes })
    }

    /// Lets time pass with every deadline at its instant, or with the clock late.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        if self.below(4) > 0 {
            while let Some(due) = self.us.deadline().filter(|due| *due <= until) {
                self.now = self.now.max(due);
                self.put(Input::Deadline);
            }
        }
        self.now = until;
        self.put(Input::Deadline);
    }

    fn put(&mut self, input: Input) {
        if self.trail.len() < 3_000 {
            let since = self.now - base();
            self.trail.push(format!("{since:?} {input:?}"));
        }
        let was_deadline = input == Input::Deadline;
        for output in self.us.handle(self.now, input) {
            self.told(output);
        }
        if was_deadline {
            let late = self.us.deadline().filter(|due| *due <= self.now);
            assert_eq!(late, None, "a deadline that stays due: {}", self.story());
        }
    }

    fn told(&mut self, output: Output) {
        match output {
            Output::Transmit { bytes, .. } => self.transmitted(bytes),
            Output::Request { key, request, .. } => {
                assert!(!matches!(request.method, Method::Ack | Method::Cancel));
                let came = Came {
                    method: Some(request.method.clone()),
                    request: Some(request),
                    ..Came::default()
                };
                let before = self.came.insert(key, came);
                assert!(before.is_none(), "{key:?} twice: {}", self.story());
            }
            Output::Response { key, response } => {
                let is_fork = |sent: &Sent| {
                    let invite = sent.request.method == Method::Invite;
                    invite && sent.end == Some("success") && response.status.is_success()
                };
                let Some(sent) = self.sent.get_mut(&key) else {
                    panic!("an answer to nothing")
                };
                let fits = sent.end.is_none() || is_fork(sent);
                if response.status.is_success() {
                    sent.end = Some("success");
                } else if response.status.is_final() {
                    sent.end = Some("failure");
                }
                assert!(fits, "{key:?} after its end: {}", self.story());
            }
            Output::ClientFailed { key, .. } => {
                let end = self
                    .sent
                    .get_mut(&key)
                    .and_then(|s| s.end.replace("failed"));
                assert_eq!(end, None, "{key:?} failed after its end: {}", self.story());
            }
            Output::Dropped(_) => {}
            other => self.told_of_server(&other),
        }
    }

    fn transmitted(&mut self, bytes: Bytes) {
        let message = Message::parse(bytes).expect("what is sent can be read");
        if let Message::Request(request) = &message {
            let via = request.via().expect("every request of ours has a Via");
            assert!(via.is_rfc3261() && request.cseq().is_ok());
        }
        self.wire.push(message);
    }

    fn told_of_server(&mut self, output: &Output) {
        let story = self.story();
        let (Output::Acked { key, .. }
        | Output::Cancelled { key }
        | Output::Unpracked { key }
        | Output::ServerFailed { key, .. }) = output
        else {
            panic!("{output:?}")
        };
        let Some(came) = self.came.get_mut(key) else {
            panic!("{output:?} of nothing: {story}")
        };
        let invite = came.method == Some(Method::Invite);
        assert!(!came.failed, "{output:?} after its end: {story}");
        match output {
            Output::Acked { .. } => {
                let success = came.answered.is_some_and(|s| s.is_success());
                assert!(invite && success && !came.acked, "{output:?}: {story}");
                came.acked = true;
            }
            Output::Cancelled { .. } => {
                let open = came.answered.is_none() && !came.cancelled;
                assert!(invite && open, "{output:?}: {story}");
                came.cancelled = true;
            }
            Output::Unpracked { .. } => {
                assert!(invite && came.answered.is_none(), "{output:?}: {story}");
                came.unpracked = true;
            }
            _ => {
                assert!(!came.acked, "{output:?} after ACK: {story}");
                came.failed = true;
            }
        }
    }

    fn story(&self) -> String {
        let from = self.trail.len().saturating_sub(12);
        self.trail[from..].join("\n")
    }

    /// Nobody sends anything any more, and the user answers what is open.
    fn end(&mut self, gives_up: bool) {
        let open: Vec<ServerKey> = self
            .came
            .iter()
            .filter(|(_, came)| came.answered.is_none() && !came.failed)
            .map(|(key, _)| *key)
            .collect();
        for key in open {
            let came = self.came.get_mut(&key).expect("it came");
            came.answered = Some(StatusCode::SERVER_ERROR);
            let request = came.request.clone().expect("it came");
            let response = Response::to(&request, StatusCode::SERVER_ERROR);
            self.put(Input::Respond { key, response });
        }
        if gives_up {
            for key in (1..self.next).map(ClientKey) {
                self.put(Input::Cancel { key });
            }
        }
        let latest = match gives_up {
            true => self.now + LONGEST_CANCELLED,
            false => self.now + LONGEST,
        };
        while let Some(due) = self.us.deadline() {
            assert!(due <= latest, "something lives too long");
            self.now = self.now.max(due);
            self.put(Input::Deadline);
        }
        assert_eq!(self.us.transactions(), 0);
        for (key, sent) in &self.sent {
            assert!(sent.end.is_some(), "{key:?} has no end: {:?}", sent.request);
        }
        for (key, came) in &self.came {
            assert!(came.answered.is_some() || came.failed, "{key:?} has no end");
        }
        // No index of the endpoint holds on to anything.
        let state = format!("{:?}", self.us);
        for table in [
            "clients: {}",
            "client_index: {}",
            "servers: {}",
            "server_index: {}",
            "identities: {}",
            "sent: {}",
            "flows: {}",
            "order: {}, at: {}",
        ] {
            assert!(state.contains(table), "{table} not in {state}");
        }
    }
}

/// The ACK of a response to INVITE, with a branch of its own.
fn ack_of(response: &Response) -> Option<Request> {
    let cseq = response
        .cseq()
        .ok()
        .filter(|cseq| cseq.method == Method::Invite)?;
    let mut ack = Request::new(Method::Ack, "sip:us@192.0.2.1".parse().ok()?);
    for name in ["From", "To", "Call-ID"] {
        ack.headers.push(name, response.headers.value(name)?);
    }
    ack.headers.push("CSeq", format!("{} ACK", cseq.number));
    let via = "SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKack";
    ack.headers.push("Via", via);
    Some(ack)
}

#[test]
fn every_transaction_ends_and_leaves_nothing() {
    let (mut answers, mut acks, mut cancels, mut failures, mut unpracked) = (0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.end(seed % 2 == 0);
        let came = world.came.values();
        acks += came.clone().filter(|came| came.acked).count();
        cancels += came.clone().filter(|came| came.cancelled).count();
        unpracked += came.clone().filter(|came| came.unpracked).count();
        failures += came.filter(|came| came.failed).count();
        let success = |sent: &&Sent| sent.end == Some("success");
        answers += world.sent.values().filter(success).count();
    }
    // The walk is of use only where it comes everywhere.
    for (what, count) in [
        ("answers", answers),
        ("acks", acks),
        ("cancels", cancels),
        ("failures", failures),
        ("unpracked", unpracked),
    ] {
        assert!(count > 50, "{what}: {count}");
    }
}
