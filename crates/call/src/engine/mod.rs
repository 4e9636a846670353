//! The engine: every call of a node, with the SIP endpoint below them.
//!
//! Work per event does not grow with the number of calls: calls are found by dialog, transaction,
//! leg or recording, and the next deadline is the first of a sorted set.

mod requests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use duolog_sip::endpoint::{self, ServerKey};
use duolog_sip::{DialogId, Endpoint, EndpointSettings, Flow, SentBy, Tokens};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::fact::Side;
use crate::gate::{Admission, Gate};
use crate::log::{CallLog, LogEvent};
use crate::media::{CallId, MediaCommand, MediaEvent, RecordingId};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::keys::KeySource;
use crate::role::b2bua::{Call, call_of, call_of_leg};
use crate::settings::Settings;

/// What the engine is told. `Debug` leaves messages out: there may be keys in them.
#[derive(Clone, PartialEq)]
pub enum Input {
    /// One datagram, or one message cut from a stream.
    Sip {
        /// Where it came from.
        flow: Flow,
        /// The bytes.
        bytes: Bytes,
    },
    /// A connection is gone, or a destination cannot be reached.
    FlowFailed {
        /// The flow.
        flow: Flow,
    },
    /// The media plane reports.
    Media(MediaEvent),
    /// Whether new calls can be recorded, and so taken.
    Gate(Gate),
    /// No new calls from now; running calls go on.
    Drain,
    /// End every call now.
    HangUpAll,
    /// `deadline()` has come.
    Deadline,
}

/// What the engine wants done, in order. `Debug` leaves messages out: there may be keys in them.
#[derive(Clone, PartialEq)]
pub enum Output {
    /// Send one SIP message.
    Send {
        /// Where to. Over TCP the connection it names, or a new one to its peer.
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
    /// Tell the media plane.
    Media(MediaCommand),
    /// Write a log line, count.
    Log(CallLog),
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip { flow, bytes } => write!(f, "Sip {{ {flow:?}, {} bytes }}", bytes.len()),
            Self::FlowFailed { flow } => write!(f, "FlowFailed {{ {flow:?} }}"),
            Self::Media(event) => write!(f, "Media({event:?})"),
            Self::Gate(gate) => write!(f, "Gate({gate:?})"),
            Self::Drain => f.write_str("Drain"),
            Self::HangUpAll => f.write_str("HangUpAll"),
            Self::Deadline => f.write_str("Deadline"),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { flow, bytes } => write!(f, "Send {{ {flow:?}, {} bytes }}", bytes.len()),
            Self::Media(command) => write!(f, "Media({command:?})"),
            Self::Log(log) => write!(f, "Log({log:?})"),
        }
    }
}

/// Every call of a node. One owner, one input at a time; time is an argument.
pub struct Engine {
    settings: Arc<Settings>,
    endpoint: Endpoint,
    tokens: Tokens,
    random: ChaCha12Rng,
    keys: KeySource,
    admission: Admission,
    calls: BTreeMap<CallId, Slot>,
    dialogs: BTreeMap<DialogId, (CallId, Side)>,
    invites: BTreeMap<ServerKey, CallId>,
    recordings: BTreeMap<RecordingId, CallId>,
    deadlines: BTreeSet<(Instant, CallId)>,
    /// Which calls lean on a connection.
    connections: BTreeSet<(Flow, CallId)>,
    last_call: u64,
}

/// A call, and the deadline and the connections under which it is filed.
struct Slot {
    call: Box<Call>,
    filed: Option<Instant>,
    connections: Vec<Flow>,
}

/// What one input leads to: outputs so far, and what the endpoint still has to say.
#[derive(Default)]
struct Work {
    out: Vec<Output>,
    events: VecDeque<endpoint::Output>,
}

impl Engine {
    /// An engine without calls. The seed must be secret and fresh outside tests: tags, Call-IDs
    /// and media keys come from it.
    pub fn new(settings: Arc<Settings>, seed: [u8; 32]) -> Self {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut seeds = [[0; 32]; 3];
        seeds.iter_mut().for_each(|seed| random.fill_bytes(seed));
        Self {
            endpoint: Endpoint::new(endpoint_settings(&settings), seeds[0]),
            tokens: Tokens::new(seeds[1]),
            keys: KeySource::new(seeds[2]),
            random,
            admission: Admission::default(),
            calls: BTreeMap::new(),
            dialogs: BTreeMap::new(),
            invites: BTreeMap::new(),
            recordings: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            connections: BTreeSet::new(),
            last_call: 0,
            settings,
        }
    }

    /// Takes one input. Everything that comes out takes effect at `now`, in order.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut work = Work::default();
        match input {
            Input::Sip { flow, bytes } => {
                self.tell(now, endpoint::Input::Received { flow, bytes }, &mut work);
            }
            Input::FlowFailed { flow } => {
                self.flow_failed(now, flow, &mut work);
            }
            Input::Media(event) => self.media(now, event, &mut work),
            Input::Gate(gate) => self.admission.gate = gate,
            Input::Drain => self.admission.drain(),
            Input::HangUpAll => {
                self.admission.drain();
                let calls: Vec<CallId> = self.calls.keys().copied().collect();
                for id in calls {
                    self.with_call(now, id, &mut work, Call::shut_down);
                }
            }
            Input::Deadline => self.due(now, &mut work),
        }
        while let Some(event) = work.events.pop_front() {
            self.endpoint_says(now, event, &mut work);
        }
        work.out
    }

    /// When [`Input::Deadline`] is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        let calls = self.deadlines.first().map(|(at, _)| *at);
        [calls, self.endpoint.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// How many calls there are, with those that wait for their last transaction.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// How many SIP transactions there are.
    pub fn transactions(&self) -> usize {
        self.endpoint.transactions()
    }

    /// How many entries the tables that lead to calls have; 0 when there is no call.
    pub fn bindings(&self) -> usize {
        self.dialogs.len()
            + self.invites.len()
            + self.recordings.len()
            + self.deadlines.len()
            + self.connections.len()
    }

    fn tell(&mut self, now: Instant, input: endpoint::Input, work: &mut Work) {
        let events = self.endpoint.handle(now, input);
        work.events.extend(events);
    }

    /// Calls learn of it first: what they send because of it goes another way.
    fn flow_failed(&mut self, now: Instant, flow: Flow, work: &mut Work) {
        let filed = (flow, CallId(0))..=(flow, CallId(u64::MAX));
        let calls: Vec<CallId> = self.connections.range(filed).map(|(_, id)| *id).collect();
        for id in calls {
            self.with_call(now, id, work, |call, _| call.connection_lost(flow));
        }
        self.tell(now, endpoint::Input::FlowFailed { flow }, work);
    }

    fn due(&mut self, now: Instant, work: &mut Work) {
        if self.endpoint.deadline().is_some_and(|at| at <= now) {
            self.tell(now, endpoint::Input::Deadline, work);
        }
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            // A call that is due twice at one instant comes back with a new entry.
            self.deadlines.remove(&(at, id));
            if let Some(slot) = self.calls.get_mut(&id) {
                slot.filed = None;
            }
            self.with_call(now, id, work, Call::expire);
        }
    }

    fn media(&mut self, now: Instant, event: MediaEvent, work: &mut Work) {
        let id = match &event {
            MediaEvent::LegOpened { leg, .. }
            | MediaEvent::LegRefused { leg, .. }
            | MediaEvent::Played { leg, .. }
            | MediaEvent::Digit { leg, .. }
            | MediaEvent::FirstPacket { leg }
            | MediaEvent::MediaTimeout { leg } => Some(call_of_leg(*leg)),
            MediaEvent::RecordingTrouble { recording, .. }
            | MediaEvent::RecordingLost { recording, .. } => {
                self.recordings.get(recording).copied()
            }
        };
        if let Some(id) = id {
            self.with_call(now, id, work, |call, cx| call.media(cx, event));
        }
    }

    fn endpoint_says(&mut self, now: Instant, event: endpoint::Output, work: &mut Work) {
        match event {
            endpoint::Output::Transmit { flow, bytes } => {
                work.out.push(Output::Send { flow, bytes });
            }
            endpoint::Output::Request { key, flow, request } => {
                self.request(now, key, flow, request, work);
            }
            endpoint::Output::Acked { key, request } => {
                if let Some(id) = self.invites.remove(&key) {
                    self.with_call(now, id, work, |call, cx| call.acked(cx, key, &request));
                }
            }
            endpoint::Output::Cancelled { key } => {
                if let Some(id) = self.invites.get(&key).copied() {
                    self.with_call(now, id, work, |call, cx| call.cancelled(cx, key));
                }
            }
            endpoint::Output::Response { key, response } => {
                let id = call_of(key);
                self.with_call(now, id, work, |call, cx| call.response(cx, key, response));
            }
            endpoint::Output::ClientFailed { key, failure } => {
                let id = call_of(key);
                self.with_call(now, id, work, |call, cx| {
                    call.client_failed(cx, key, failure)
                });
            }
            endpoint::Output::ServerFailed { key, .. } => {
                if let Some(id) = self.invites.remove(&key) {
                    self.with_call(now, id, work, |call, cx| call.server_failed(cx, key));
                }
            }
            endpoint::Output::Dropped(reason) => {
                let event = LogEvent::Dropped(reason);
                work.out.push(Output::Log(CallLog {
                    call: None,
                    call_id: String::new(),
                    event,
                }));
            }
        }
    }

    /// Lets a call take something, does what it wants, and files it anew.
    fn with_call(
        &mut self,
        now: Instant,
        id: CallId,
        work: &mut Work,
        take: impl FnOnce(&mut Call, &mut Context<'_>),
    ) {
        let Some(slot) = self.calls.get_mut(&id) else {
            return;
        };
        let mut cx = Context::new(now, &self.settings, &mut self.tokens, &mut self.keys);
        take(&mut slot.call, &mut cx);
        let actions = cx.actions;
        self.perform(now, id, actions, work);
        self.settle(id);
    }

    fn perform(&mut self, now: Instant, id: CallId, actions: Vec<Action>, work: &mut Work) {
        for action in actions {
            match action {
                Action::Respond(key, response) => {
                    if response.status.is_final() && !response.status.is_success() {
                        self.invites.remove(&key);
                    }
                    self.respond(now, key, response, work);
                }
                Action::Request(key, flow, request) => {
                    self.tell(now, endpoint::Input::Request { key, flow, request }, work);
                }
                Action::Ack(key, request) => {
                    self.tell(now, endpoint::Input::Ack { key, request }, work);
                }
                Action::Cancel(key) => self.tell(now, endpoint::Input::Cancel { key }, work),
                Action::Bind(dialog, side) => {
                    self.dialogs.insert(dialog, (id, side));
                }
                Action::Unbind(dialog) => {
                    self.dialogs.remove(&dialog);
                }
                Action::Media(command) => work.out.push(Output::Media(command)),
                Action::Log(event) => {
                    let call_id = self
                        .calls
                        .get(&id)
                        .map(|slot| slot.call.call_id().to_owned());
                    let call_id = call_id.unwrap_or_default();
                    work.out.push(Output::Log(CallLog {
                        call: Some(id),
                        call_id,
                        event,
                    }));
                }
            }
        }
    }

    /// Files a call under its next deadline, or forgets it when nothing is left to wait for.
    fn settle(&mut self, id: CallId) {
        let Some(slot) = self.calls.get_mut(&id) else {
            return;
        };
        let wanted = slot.call.deadline().filter(|_| !slot.call.is_gone());
        if let Some(filed) = slot.filed.filter(|filed| Some(*filed) != wanted) {
            self.deadlines.remove(&(filed, id));
        }
        if let Some(at) = wanted {
            self.deadlines.insert((at, id));
        }
        slot.filed = wanted;
        let leant: Vec<Flow> = match slot.call.is_gone() {
            true => Vec::new(),
            false => slot.call.connections().collect(),
        };
        if slot.connections != leant {
            for flow in &slot.connections {
                self.connections.remove(&(*flow, id));
            }
            self.connections
                .extend(leant.iter().map(|flow| (*flow, id)));
            slot.connections = leant;
        }
        if slot.call.is_gone() {
            if let Some(recording) = slot.call.recording() {
                self.recordings.remove(&recording);
            }
            self.calls.remove(&id);
        }
    }
}

fn endpoint_settings(settings: &Settings) -> EndpointSettings {
    let any = settings.local.udp.or(settings.local.tcp);
    let sent_by = |own: Option<std::net::SocketAddr>| {
        own.or(any).map_or(
            SentBy {
                host: "invalid".to_owned(),
                port: 0,
            },
            SentBy::from,
        )
    };
    EndpointSettings {
        udp: sent_by(settings.local.udp),
        tcp: sent_by(settings.local.tcp),
        server_name: settings.server_name.clone(),
        timers: settings.timers,
    }
}
