//! The engine, four parties on a network with a fixed delay, and a media plane that opens legs,
//! plays sounds to their end and checks what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_call::{
    CallLog, Completion, Contact, ControlId, End, Engine, Epoch, Fact, FeatureCodes, Input, LegId,
    LocalAddresses, Location, MediaCommand, MediaEvent, MediaSettings, Mode, Notice, Numbering,
    Opening, Output, OwnerKind, Phase, PlayId, ReachSettings, RecordingId, RecordingSettings,
    Refusal, RepeatInterval, SessionTimer, Settings, Sound, StartStop, Trunk, TrunkIndex, User,
};
use duolog_reach::hops::QueryId;
use duolog_sip::endpoint::{self, ClientKey, ServerKey};
use duolog_sip::sdp::{self, Description, Direction, Encoding, Format, MediaSecurity};
use duolog_sip::{
    Dialog, Endpoint, EndpointSettings, Flow, Message, Method, Request, Response, StatusCode,
    Timers, Transport,
};

pub const NODE: &str = "192.0.2.99:5060";
pub const TRUNK: usize = 0;
/// Always with Pause/Resume, announced, beeps, tone every 20 s.
pub const ALICE: usize = 1;
/// Never recorded.
pub const BOB: usize = 2;
/// Always, silently.
pub const CAROL: usize = 3;
/// Never recorded.
pub const DAVE: usize = 4;
/// Always, silently.
pub const ERIN: usize = 5;
/// The second line of BOB's phone.
pub const BOB2: usize = 6;
const PARTIES: usize = 7;
const ADDRESSES: [&str; PARTIES] = [
    "192.0.2.1",
    "192.0.2.10",
    "192.0.2.11",
    "192.0.2.12",
    "192.0.2.13",
    "192.0.2.14",
    "192.0.2.11",
];
const NAMES: [&str; PARTIES] = ["9000", "1001", "1002", "1003", "1004", "1005", "1002"];
/// One way, in milliseconds.
const DELAY: Duration = Duration::from_millis(5);

pub fn settings() -> Settings {
    over(Transport::Udp)
}

/// The same with every neighbour on this transport.
pub fn over(transport: Transport) -> Settings {
    let alice = RecordingSettings {
        mode: Mode::AlwaysPauseResume,
        announce: StartStop::BOTH,
        notice: Notice::Beep,
        repeat_tone: Some(RepeatInterval::default()),
        ..RecordingSettings::default()
    };
    let carol = RecordingSettings {
        mode: Mode::Always,
        ..RecordingSettings::default()
    };
    let contact = |party: usize| Contact {
        addr: address(party),
        transport,
    };
    let user = |name: &str, party: usize, recording: RecordingSettings| User {
        name: name.to_owned(),
        numbers: vec![NAMES[party].to_owned()],
        location: Location::At(contact(party)),
        secret: None,
        certificate: None,
        media_security: MediaSecurity::AsOffered,
        language: None,
        kind: OwnerKind::User,
        recording: recording.into(),
        mailbox: None,
    };
    Settings {
        local: LocalAddresses(vec![
            (Transport::Udp, NODE.parse().unwrap()),
            (Transport::Tcp, NODE.parse().unwrap()),
        ]),
        trunks: vec![Trunk::at("pstn", transport, address(TRUNK))],
        users: vec![
            user("alice", ALICE, alice),
            user("bob", BOB, RecordingSettings::default()),
            User {
                language: Some("en".to_owned()),
                ..user("carol", CAROL, carol.clone())
            },
            user("dave", DAVE, RecordingSettings::default()),
            user("erin", ERIN, carol),
        ],
        next_hop: Some(TrunkIndex(0)),
        language: "nl".to_owned(),
        feature_codes: FeatureCodes::default(),
        media: MediaSettings::default(),
        ring_limit: Duration::from_secs(180),
        drain_retry_after_s: 30,
        server_name: "duolog".to_owned(),
        timers: Timers::default(),
        epoch: Epoch {
            at: base(),
            unix_ms: 1_700_000_000_000,
        },
        numbering: Numbering::default(),
        reach: ReachSettings::default(),
        session_timer: SessionTimer::default(),
    }
}

#[expect(clippy::disallowed_methods, reason = "tests need one base instant")]
fn base() -> Instant {
    Instant::now()
}

fn address(party: usize) -> SocketAddr {
    let port = if party == BOB2 { 5062 } else { 5060 };
    SocketAddr::new(ADDRESSES[party].parse().unwrap(), port)
}

/// One scripted party.
pub struct Party {
    endpoint: Endpoint,
    pub dialog: Option<Dialog>,
    keys: u64,
    /// INVITEs that wait for an answer.
    pub invites: Vec<(ServerKey, Request)>,
    sent: Option<(ClientKey, Request)>,
    /// Everything that reached this party's user, in order.
    pub heard: Vec<Message>,
    /// Whether 2xx are acknowledged as they come, and with which body.
    pub acks: Acks,
    /// Methods whose requests are answered by the test, and those that wait for that.
    pub takes: Vec<Method>,
    pub asked: Vec<(ServerKey, Request)>,
}

pub enum Acks {
    AtOnce,
    Never,
    With(Bytes),
}

enum Event {
    ToNode(Flow, Bytes),
    ToParty(usize, Bytes),
    Media(MediaEvent),
}

type Filter = Box<dyn FnMut(&Message) -> bool>;

/// What is under way, in the order of its arrival; the number keeps what arrives together apart.
#[derive(Default)]
struct Queue {
    events: BTreeMap<(Instant, u64), Event>,
    counter: u64,
}

/// What was seen of the node beside its messages.
#[derive(Default)]
pub struct Seen {
    /// The ports of the parties that the node sent to.
    pub sent_to: Vec<SocketAddr>,
    /// What the node asked the DNS.
    pub queries: Vec<QueryId>,
    /// Recordings that are to be kept.
    pub kept: Vec<RecordingId>,
    /// Which sounds play where.
    playing: BTreeMap<PlayId, (LegId, How)>,
    /// What became of controls from outside.
    pub controlled: Vec<(ControlId, Result<Phase, Refusal>)>,
}

/// How a sound is played: of each kind a leg hears one at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Instead,
    Under,
}

/// What the media plane says to a leg that is to be opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    Given,
    /// As asked, but the end of what plays there is never told.
    Mute,
    Refused,
    /// Nothing, ever.
    Silent,
}

pub struct World {
    pub engine: Engine,
    transport: Transport,
    pub parties: Vec<Party>,
    pub start: Instant,
    pub now: Instant,
    queue: Queue,
    /// Messages that are lost on the way.
    pub lose: Option<Filter>,
    /// The ports the parties send from; they listen on 5060.
    pub sends_from: [u16; PARTIES],
    /// What becomes of a message a party sends.
    pub bend: Option<fn(String) -> String>,
    pub seen: Seen,
    pub ports: Ports,
    /// What the media plane was told, with the millisecond.
    pub media: Vec<(u64, MediaCommand)>,
    pub logs: Vec<CallLog>,
    pub legs: BTreeSet<LegId>,
    pub recordings: BTreeMap<RecordingId, Vec<&'static str>>,
}

impl World {
    pub fn new() -> Self {
        Self::with(settings(), 1)
    }

    pub fn with(settings: Settings, seed: u8) -> Self {
        let start = settings.epoch.at;
        let party = |at: usize| {
            let own = [Transport::Udp, Transport::Tcp].map(|transport| (transport, address(at)));
            let settings = EndpointSettings {
                own: own.to_vec(),
                server_name: "party".to_owned(),
                timers: Timers::default(),
            };
            Party {
                endpoint: Endpoint::new(settings, [at as u8 + 100; 32]),
                dialog: None,
                keys: 0,
                invites: Vec::new(),
                sent: None,
                heard: Vec::new(),
                acks: Acks::AtOnce,
                takes: Vec::new(),
                asked: Vec::new(),
            }
        };
        Self {
            transport: settings.trunks[0].destination.transport.unwrap(),
            engine: Engine::new(Arc::new(settings), [seed; 32]),
            parties: (0..PARTIES).map(party).collect(),
            start,
            now: start,
            queue: Queue::default(),
            lose: None,
            sends_from: std::array::from_fn(|who| address(who).port()),
            bend: None,
            seen: Seen::default(),
            ports: Ports::Given,
            media: Vec::new(),
            logs: Vec::new(),
            legs: BTreeSet::new(),
            recordings: BTreeMap::new(),
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            let queued = self.queue.events.first_key_value().map(|((at, _), _)| *at);
            let parties = self
                .parties
                .iter()
                .filter_map(|party| party.endpoint.deadline());
            let next = parties.chain(queued).chain(self.engine.deadline()).min();
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            if queued == Some(at) {
                let (_, event) = self.queue.events.pop_first().unwrap();
                self.happen(event);
            } else if self.engine.deadline() == Some(at) {
                self.node(Input::Deadline);
            } else {
                for who in 0..self.parties.len() {
                    if self.parties[who]
                        .endpoint
                        .deadline()
                        .is_some_and(|due| due <= self.now)
                    {
                        self.party(who, endpoint::Input::Deadline);
                    }
                }
            }
        }
        self.now = end;
    }

    pub fn run_s(&mut self, seconds: u64) {
        self.run(seconds * 1000);
    }

    /// Milliseconds since the start.
    pub fn ms(&self) -> u64 {
        (self.now - self.start).as_millis() as u64
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToNode(flow, bytes) => self.node(Input::Sip { flow, bytes }),
            Event::Media(event) => {
                // What was cut does not end once more.
                if let MediaEvent::Played { play, whole, .. } = &event {
                    let plays = self.seen.playing.remove(play).is_some();
                    if *whole == Completion::Whole && !plays {
                        return;
                    }
                }
                self.node(Input::Media(event));
            }
            Event::ToParty(who, bytes) => {
                let flow = self.flow_of(who);
                self.party(who, endpoint::Input::Received { flow, bytes });
            }
        }
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.queue.counter += 1;
        self.queue
            .events
            .insert((self.now + delay, self.queue.counter), event);
    }

    fn is_lost(&mut self, bytes: &Bytes) -> bool {
        let message = Message::parse(bytes.clone()).expect("everything sent can be read");
        self.lose.as_mut().is_some_and(|lose| lose(&message))
    }

    /// Gives the engine an input now.
    pub fn node(&mut self, input: Input) {
        for output in self.engine.handle(self.now, input) {
            match output {
                Output::Send { flow, bytes, .. } => {
                    let reached = |who: &usize| {
                        let from = SocketAddr::new(address(*who).ip(), self.sends_from[*who]);
                        let stream = flow.transport == Transport::Tcp;
                        let old =
                            stream && flow.peer.ip() == from.ip() && flow.peer.port() >= 50_000;
                        address(*who) == flow.peer || from == flow.peer || old
                    };
                    let who = (0..PARTIES).find(reached);
                    let Some(who) = who else {
                        // Where messages are bent, addresses in them may be.
                        assert!(self.bend.is_some(), "sent to a stranger: {flow:?}");
                        continue;
                    };
                    self.seen.sent_to.push(flow.peer);
                    if !self.is_lost(&bytes) {
                        self.later(DELAY, Event::ToParty(who, bytes));
                    }
                }
                Output::Media(command) => self.command(command),
                Output::Resolve { id, .. } => self.seen.queries.push(id),
                Output::Controlled { id, result } => self.seen.controlled.push((id, result)),
                Output::Log(log) => {
                    self.logs.push(log);
                }
            }
        }
    }

    /// Gives the engine a report of the media plane now.
    pub fn report(&mut self, event: MediaEvent) {
        self.node(Input::Media(event));
    }

    fn command(&mut self, command: MediaCommand) {
        let ms = self.ms();
        match &command {
            MediaCommand::OpenLeg { leg, .. } => self.open_leg(*leg),
            MediaCommand::CloseLeg { leg } => {
                assert!(self.legs.remove(leg), "only open legs are closed");
            }
            MediaCommand::Play { leg, play, sound } => self.play(*leg, *play, sound),
            MediaCommand::StopPlaying { leg } => {
                assert!(self.legs.contains(leg));
                self.cut(*leg, &[How::Instead, How::Under]);
            }
            MediaCommand::ConnectLeg { leg, .. }
            | MediaCommand::TakeDigits { leg }
            | MediaCommand::SendDigits { leg, .. } => assert!(self.legs.contains(leg)),
            MediaCommand::Bridge { a, b } => {
                assert!(self.legs.contains(a) && self.legs.contains(b));
            }
            MediaCommand::TurnRecording { recording, .. } => {
                assert_ne!(self.recordings[recording].last(), Some(&"closed"));
            }
            MediaCommand::OpenRecording { recording, .. } => {
                let before = self.recordings.insert(*recording, vec!["open"]);
                assert!(before.is_none(), "a recording is opened once");
            }
            MediaCommand::StartRecording { recording } => self.state(*recording, "open", "on"),
            MediaCommand::PauseRecording { recording } => self.state(*recording, "on", "paused"),
            MediaCommand::ResumeRecording { recording } => self.state(*recording, "paused", "on"),
            MediaCommand::KeepRecording { recording } => self.seen.kept.push(*recording),
            MediaCommand::Note { recording, .. } => {
                assert_ne!(self.recordings[recording].last(), Some(&"closed"));
            }
            MediaCommand::CloseRecording { recording, .. } => {
                let states = self.recordings.get_mut(recording).expect("opened before");
                assert_ne!(states.last(), Some(&"closed"), "a recording is closed once");
                states.push("closed");
            }
        }
        self.media.push((ms, command));
    }

    fn open_leg(&mut self, leg: LegId) {
        assert!(self.legs.insert(leg), "a leg is opened once");
        let port = 20_002 + u16::try_from(leg.0).unwrap() * 2;
        let address = |port| SocketAddr::new("192.0.2.99".parse().unwrap(), port);
        let (rtp, rtcp) = (address(port), address(port + 1));
        let event = if self.ports == Ports::Refused {
            MediaEvent::LegRefused {
                leg,
                reason: "no ports".to_owned(),
            }
        } else {
            MediaEvent::LegOpened { leg, rtp, rtcp }
        };
        if self.ports != Ports::Silent {
            self.later(Duration::from_millis(1), Event::Media(event));
        }
    }

    fn cut(&mut self, leg: LegId, hows: &[How]) {
        let is_cut = |_: &PlayId, (at, how): &mut (LegId, How)| *at == leg && hows.contains(how);
        let cut = self.seen.playing.extract_if(.., is_cut);
        for (play, _) in cut.collect::<Vec<_>>() {
            let whole = Completion::Cut;
            let event = MediaEvent::Played { leg, play, whole };
            self.later(Duration::from_millis(1), Event::Media(event));
        }
    }

    fn play(&mut self, leg: LegId, play: PlayId, sound: &Sound) {
        assert!(self.legs.contains(&leg));
        let how = match sound {
            Sound::Prompt { .. } => How::Instead,
            Sound::Beep | Sound::RepeatTone => How::Under,
        };
        self.cut(leg, &[how]);
        let length = match sound {
            Sound::Prompt { .. } => 2000,
            Sound::Beep => 200,
            Sound::RepeatTone => 500,
        };
        let event = MediaEvent::Played {
            leg,
            play,
            whole: Completion::Whole,
        };
        self.seen.playing.insert(play, (leg, how));
        if self.ports != Ports::Mute {
            self.later(Duration::from_millis(length), Event::Media(event));
        }
    }

    fn state(&mut self, recording: RecordingId, from: &str, to: &'static str) {
        let states = self.recordings.get_mut(&recording).expect("opened before");
        assert_eq!(states.last(), Some(&from), "before {to}");
        states.push(to);
    }

    fn party(&mut self, who: usize, input: endpoint::Input) {
        let outputs = self.parties[who].endpoint.handle(self.now, input);
        for output in outputs {
            match output {
                endpoint::Output::Transmit { bytes, .. } => {
                    if !self.is_lost(&bytes) {
                        let flow = self.flow_from(who);
                        let bytes = match self.bend {
                            Some(bend) => {
                                Bytes::from(bend(String::from_utf8_lossy(&bytes).into_owned()))
                            }
                            None => bytes,
                        };
                        self.later(DELAY, Event::ToNode(flow, bytes));
                    }
                }
                endpoint::Output::Request { key, request, .. } => self.asked(who, key, request),
                endpoint::Output::Acked { request, .. } => {
                    self.parties[who].heard.push(Message::Request(request));
                }
                endpoint::Output::Cancelled { key } => {
                    let party = &mut self.parties[who];
                    if let Some(at) = party.invites.iter().position(|(open, _)| *open == key) {
                        let (_, request) = party.invites.remove(at);
                        let response = Response::to(&request, status(487));
                        self.party(who, endpoint::Input::Respond { key, response });
                    }
                }
                endpoint::Output::Response { key, response } => self.answered(who, key, response),
                endpoint::Output::ClientFailed { .. }
                | endpoint::Output::ServerFailed { .. }
                | endpoint::Output::Unpracked { .. }
                | endpoint::Output::Dropped(_) => {}
            }
        }
    }

    /// A request reached a party: BYE, INFO and OPTIONS are answered 200, INVITE waits.
    fn asked(&mut self, who: usize, key: ServerKey, request: Request) {
        let party = &mut self.parties[who];
        party.heard.push(Message::Request(request.clone()));
        let known = party
            .dialog
            .as_mut()
            .is_some_and(|dialog| dialog.receive(&request).is_ok());
        match request.method {
            _ if party.takes.contains(&request.method) => party.asked.push((key, request)),
            Method::Invite => party.invites.push((key, request)),
            Method::Bye | Method::Info | Method::Options | Method::Notify => {
                if request.method == Method::Bye && known {
                    party.dialog = None;
                }
                let mut response = Response::to(&request, StatusCode::OK);
                response.headers.push("X-From", NAMES[who]);
                self.party(who, endpoint::Input::Respond { key, response });
            }
            _ => {
                let response = Response::to(&request, status(405));
                self.party(who, endpoint::Input::Respond { key, response });
            }
        }
    }

    fn answered(&mut self, who: usize, key: ClientKey, response: Response) {
        let flow = self.flow_of(who);
        let party = &mut self.parties[who];
        party.heard.push(Message::Response(response.clone()));
        let cseq = response.cseq().unwrap();
        if cseq.method != Method::Invite || !response.status.is_success() {
            return;
        }
        let Some((_, sent)) = party.sent.as_ref().filter(|(sent, _)| *sent == key) else {
            return;
        };
        match &mut party.dialog {
            Some(dialog) => dialog.refresh(&response),
            None => party.dialog = Dialog::uac(sent, &response, flow).ok(),
        }
        let Some(dialog) = &party.dialog else {
            return;
        };
        let mut ack = dialog.ack_for(cseq.number);
        match &party.acks {
            Acks::Never => return,
            Acks::AtOnce => {}
            Acks::With(body) => ack.set_body("application/sdp", body.clone()),
        }
        self.party(who, endpoint::Input::Ack { key, request: ack });
    }

    /// Answers a request by hand.
    pub fn answer(&mut self, who: usize, key: ServerKey, response: Response) {
        self.party(who, endpoint::Input::Respond { key, response });
    }

    fn send(&mut self, who: usize, request: Request) {
        let flow = self.flow_of(who);
        let party = &mut self.parties[who];
        party.keys += 1;
        let key = ClientKey(party.keys);
        if request.method == Method::Invite {
            party.sent = Some((key, request.clone()));
        }
        self.party(
            who,
            endpoint::Input::Request {
                key,
                flow,
                request,
                larger: None,
            },
        );
    }

    fn flow_of(&self, who: usize) -> Flow {
        let peer = NODE.parse().unwrap();
        Flow {
            transport: self.transport,
            local: address(who),
            peer,
        }
    }

    /// The path a party's messages come on, seen from the node.
    pub fn flow_from(&self, who: usize) -> Flow {
        Flow {
            transport: self.transport,
            local: NODE.parse().unwrap(),
            peer: SocketAddr::new(address(who).ip(), self.sends_from[who]),
        }
    }

    /// An INVITE outside a dialog, with an offer.
    pub fn invite(&mut self, who: usize, number: &str) {
        let request = self.new_invite(who, number);
        self.send_new(who, request);
    }

    pub fn new_invite(&mut self, who: usize, number: &str) -> Request {
        let mut request = self.new_request(who, Method::Invite, number);
        request.set_body(
            "application/sdp",
            description(who, Direction::SendRecv).write(),
        );
        request
    }

    pub fn new_request(&mut self, who: usize, method: Method, number: &str) -> Request {
        self.queue.counter += 1;
        let name = method.as_str().to_owned();
        let uri = format!("sip:{number}@{NODE}");
        let mut request = Request::new(method, uri.parse().unwrap());
        let (own, at) = (NAMES[who], address(who));
        let headers = &mut request.headers;
        headers.push("Max-Forwards", "70");
        headers.push(
            "From",
            format!("\"Caller\" <sip:{own}@{at}>;tag=f{}", self.queue.counter),
        );
        headers.push("To", format!("<{uri}>"));
        headers.push("Call-ID", format!("call-{}@{own}", self.queue.counter));
        headers.push("CSeq", format!("1 {name}"));
        headers.push("Contact", format!("<sip:{own}@{at}>"));
        request
    }

    pub fn send_new(&mut self, who: usize, request: Request) {
        if request.method == Method::Invite {
            self.parties[who].dialog = None;
        }
        self.send(who, request);
    }

    /// Answers the oldest INVITE a party has.
    pub fn respond(&mut self, who: usize, code: u16) {
        let body = (code == 200).then(|| description(who, Direction::SendRecv));
        self.respond_with(who, code, body.as_ref());
    }

    pub fn respond_with(&mut self, who: usize, code: u16, body: Option<&Description>) {
        let flow = self.flow_of(who);
        let party = &mut self.parties[who];
        let (key, request) = party.invites.first().cloned().expect("an INVITE to answer");
        if code >= 200 {
            party.invites.remove(0);
        }
        let mut response = Response::to(&request, status(code));
        response.set_to_tag(&format!("t{who}-{}", key.0));
        response
            .headers
            .push("Contact", format!("<sip:{}@{}>", NAMES[who], address(who)));
        response.headers.push("X-From", NAMES[who]);
        if let Some(body) = body {
            response.set_body("application/sdp", body.write());
        }
        if code == 200 && request.to().unwrap().tag().is_none() {
            party.dialog = Dialog::uas(&request, &response, flow).ok();
        }
        self.party(who, endpoint::Input::Respond { key, response });
    }

    /// A request within the party's dialog.
    pub fn within(&mut self, who: usize, method: Method, fields: &[(&str, &str)]) {
        let dialog = self.parties[who].dialog.as_mut().expect("a dialog");
        let mut request = dialog.request(method);
        request
            .headers
            .push("Contact", format!("<sip:{}@{}>", NAMES[who], address(who)));
        for (name, value) in fields {
            request.headers.push(name, *value);
        }
        self.send(who, request);
    }

    pub fn reinvite(&mut self, who: usize, direction: Direction) {
        self.reinvite_with(who, &description(who, direction));
    }

    pub fn reinvite_with(&mut self, who: usize, body: &Description) {
        let dialog = self.parties[who].dialog.as_mut().expect("a dialog");
        let mut request = dialog.request(Method::Invite);
        request
            .headers
            .push("Contact", format!("<sip:{}@{}>", NAMES[who], address(who)));
        request.set_body("application/sdp", body.write());
        self.send(who, request);
    }

    /// A re-INVITE written by hand.
    pub fn reinvite_as(&mut self, who: usize, request: Request) {
        self.send(who, request);
    }

    pub fn bye(&mut self, who: usize) {
        self.within(who, Method::Bye, &[]);
        self.parties[who].dialog = None;
    }

    pub fn cancel(&mut self, who: usize) {
        let key = self.parties[who].sent.as_ref().expect("an INVITE").0;
        self.party(who, endpoint::Input::Cancel { key });
    }

    /// A call from `from` to `to` that is answered after a second.
    pub fn call(&mut self, from: usize, to: usize) {
        let number = if to == TRUNK { "0201234567" } else { NAMES[to] };
        self.invite(from, number);
        self.run(500);
        self.respond(to, 180);
        self.run(500);
        self.respond(to, 200);
        self.run(100);
    }

    /// Final statuses a party got for its requests, and requests it got, as words.
    pub fn heard(&self, who: usize) -> String {
        let words = self.parties[who].heard.iter().map(|message| match message {
            Message::Request(request) => request.method.to_string(),
            Message::Response(response) => response.status.code().to_string(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// The last message a party's user got.
    pub fn last(&self, who: usize) -> &Message {
        self.parties[who].heard.last().expect("something heard")
    }

    pub fn last_response(&self, who: usize) -> &Response {
        let mut heard = self.parties[who].heard.iter().rev();
        heard
            .find_map(|m| {
                if let Message::Response(r) = m {
                    Some(r)
                } else {
                    None
                }
            })
            .unwrap()
    }

    pub fn last_request(&self, who: usize) -> &Request {
        let mut heard = self.parties[who].heard.iter().rev();
        heard
            .find_map(|m| {
                if let Message::Request(r) = m {
                    Some(r)
                } else {
                    None
                }
            })
            .unwrap()
    }

    /// What the media plane was told, as short words, without facts.
    pub fn commands(&self) -> String {
        let words = self.media.iter().filter_map(|(_, command)| word(command));
        words.collect::<Vec<_>>().join(" ")
    }

    pub fn facts(&self) -> Vec<Fact> {
        let notes = self.media.iter().filter_map(|(_, command)| match command {
            MediaCommand::Note { fact, .. } => Some(fact.clone()),
            _ => None,
        });
        notes.collect()
    }

    /// The milliseconds at which commands of this word came.
    pub fn times(&self, wanted: &str) -> Vec<u64> {
        let hits = self
            .media
            .iter()
            .filter(|(_, c)| word(c).as_deref() == Some(wanted));
        hits.map(|(ms, _)| *ms).collect()
    }

    pub fn endings(&self) -> Vec<(End, String)> {
        let ends = self.media.iter().filter_map(|(_, command)| match command {
            MediaCommand::CloseRecording { ending, .. } => {
                Some((ending.end, ending.reason.clone()))
            }
            _ => None,
        });
        ends.collect()
    }

    /// The INVITE a party sent last.
    pub fn sent_invite(&self, who: usize) -> Request {
        self.parties[who]
            .sent
            .as_ref()
            .expect("an INVITE")
            .1
            .clone()
    }

    /// The tag with which a party answers the INVITE it has.
    pub fn tag_of(&self, who: usize) -> String {
        let (key, _) = self.parties[who].invites.first().expect("an INVITE");
        format!("t{who}-{}", key.0)
    }

    /// Whether a party has sent an INVITE.
    pub fn has_sent(&self, who: usize) -> bool {
        self.parties[who].sent.is_some()
    }

    /// What recordings were opened with, in order.
    pub fn openings(&self) -> Vec<Opening> {
        let openings = self.media.iter().filter_map(|(_, command)| match command {
            MediaCommand::OpenRecording { opening, .. } => Some((**opening).clone()),
            _ => None,
        });
        openings.collect()
    }

    /// Lets every timer run out, then checks that nothing is left anywhere.
    pub fn settle(&mut self) {
        self.run_s(120);
        assert_eq!(self.engine.calls(), 0, "calls");
        assert_eq!(self.engine.transactions(), 0, "transactions");
        assert_eq!(self.engine.bindings(), 0, "table entries");
        assert_eq!(self.engine.deadline(), None);
        assert!(self.legs.is_empty(), "legs");
        for (recording, states) in &self.recordings {
            assert_eq!(states.last(), Some(&"closed"), "{recording:?}");
        }
    }
}

fn word(command: &MediaCommand) -> Option<String> {
    // Legs have letters in the order in which they were opened.
    let side = |leg: &LegId| char::from(b'a' + (leg.0 - 1) as u8);
    Some(match command {
        MediaCommand::OpenLeg { leg, .. } => format!("open-{}", side(leg)),
        MediaCommand::ConnectLeg { leg, media } => {
            format!("connect-{}-{}", side(leg), media.direction.as_str())
        }
        MediaCommand::Bridge { .. } => "bridge".to_owned(),
        MediaCommand::TakeDigits { leg } => format!("take-{}", side(leg)),
        MediaCommand::SendDigits { leg, digits } => {
            let keys: String = digits
                .iter()
                .map(|digit| b"0123456789*#ABCD"[usize::from(digit.event)] as char)
                .collect();
            format!("digits-{}-{keys}", side(leg))
        }
        MediaCommand::Play { leg, sound, .. } => {
            let name = match sound {
                Sound::Prompt {
                    prompt, language, ..
                } => format!("{prompt:?}.{language}"),
                Sound::Beep => "beep".to_owned(),
                Sound::RepeatTone => "tone".to_owned(),
            };
            format!("play-{}-{name}", side(leg))
        }
        MediaCommand::StopPlaying { leg } => format!("stop-{}", side(leg)),
        MediaCommand::CloseLeg { leg } => format!("close-{}", side(leg)),
        MediaCommand::OpenRecording { owner, .. } => format!("RECORD-{}", side(owner)),
        MediaCommand::TurnRecording { other, .. } => match other {
            Some(leg) => format!("TURN-{}", side(leg)),
            None => "TURN".to_owned(),
        },
        MediaCommand::StartRecording { .. } => "START".to_owned(),
        MediaCommand::PauseRecording { .. } => "PAUSE".to_owned(),
        MediaCommand::ResumeRecording { .. } => "RESUME".to_owned(),
        MediaCommand::KeepRecording { .. } => "KEEP".to_owned(),
        MediaCommand::CloseRecording { ending, .. } => format!("CLOSE-{:?}", ending.end),
        MediaCommand::Note { .. } => return None,
    })
}

pub fn status(code: u16) -> StatusCode {
    StatusCode::new(code).unwrap()
}

/// What a party says about its audio.
pub fn description(who: usize, direction: Direction) -> Description {
    let at = |port| SocketAddr::new(ADDRESSES[who].parse().unwrap(), port);
    let format = |payload_type, encoding| Format {
        payload_type,
        encoding,
    };
    sdp::Offer {
        session_id: 1 + who as u64,
        version: 1,
        rtp: at(4000),
        rtcp: at(4001),
        formats: vec![
            format(0, Encoding::Pcmu),
            format(8, Encoding::Pcma),
            format(101, Encoding::TelephoneEvent { rate_hz: 8000 }),
        ],
        ptime_ms: Some(20),
        direction,
        profile: sdp::Profile::Avp,
        crypto: Vec::new(),
    }
    .describe()
}
