//! The engine: every call of a node, with the SIP endpoint below them.
//!
//! Work per event does not grow with the number of calls: calls are found by dialog, transaction,
//! leg or recording, and the next deadline is the first of a sorted set.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use duolog_sip::endpoint::{self, ServerKey};
use duolog_sip::{
    DialogId, Endpoint, EndpointSettings, Flow, Method, Request, Response, SentBy, Tokens,
};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::answer::{capabilities, refusal, unavailable};
use crate::fact::{HungUpBy, Side};
use crate::gate::{Admission, Gate};
use crate::ids::recording_id;
use crate::log::{CallLog, LogEvent};
use crate::media::{CallId, Ending, MediaCommand, MediaEvent, RecordingId};
use crate::plan::{Plan, decide};
use crate::role::b2bua::carry::required;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::{
    Begin, Body, Call, Offer, Reached, call_of, call_of_leg, closing, legs_of, opening,
};
use crate::route::route;
use crate::settings::Settings;

/// What the engine is told.
#[derive(Debug, Clone, PartialEq)]
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

/// What the engine wants done, in order.
#[derive(Debug, Clone, PartialEq)]
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

/// Every call of a node. One owner, one input at a time; time is an argument.
pub struct Engine {
    settings: Arc<Settings>,
    endpoint: Endpoint,
    tokens: Tokens,
    random: ChaCha12Rng,
    admission: Admission,
    calls: BTreeMap<CallId, Slot>,
    dialogs: BTreeMap<DialogId, (CallId, Side)>,
    invites: BTreeMap<ServerKey, CallId>,
    recordings: BTreeMap<RecordingId, CallId>,
    deadlines: BTreeSet<(Instant, CallId)>,
    last_call: u64,
}

/// A call and the deadline under which it is filed.
struct Slot {
    call: Box<Call>,
    filed: Option<Instant>,
}

/// What one input leads to: outputs so far, and what the endpoint still has to say.
#[derive(Default)]
struct Work {
    out: Vec<Output>,
    events: VecDeque<endpoint::Output>,
}

impl Engine {
    /// An engine without calls. The seed must be secret and fresh outside tests: tags and Call-IDs
    /// come from it.
    pub fn new(settings: Arc<Settings>, seed: [u8; 32]) -> Self {
        let mut random = ChaCha12Rng::from_seed(seed);
        let mut seeds = [[0; 32]; 2];
        seeds.iter_mut().for_each(|seed| random.fill_bytes(seed));
        Self {
            endpoint: Endpoint::new(endpoint_settings(&settings), seeds[0]),
            tokens: Tokens::new(seeds[1]),
            random,
            admission: Admission::default(),
            calls: BTreeMap::new(),
            dialogs: BTreeMap::new(),
            invites: BTreeMap::new(),
            recordings: BTreeMap::new(),
            deadlines: BTreeSet::new(),
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
                self.tell(now, endpoint::Input::FlowFailed { flow }, &mut work);
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
        self.dialogs.len() + self.invites.len() + self.recordings.len() + self.deadlines.len()
    }

    fn tell(&mut self, now: Instant, input: endpoint::Input, work: &mut Work) {
        let events = self.endpoint.handle(now, input);
        work.events.extend(events);
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

    fn request(
        &mut self,
        now: Instant,
        key: ServerKey,
        flow: Flow,
        request: Request,
        work: &mut Work,
    ) {
        let within = request.to().is_ok_and(|to| to.tag().is_some());
        let bound = DialogId::of_request(&request).ok().filter(|_| within);
        let bound = bound.and_then(|dialog| self.dialogs.get(&dialog).copied());
        match (&request.method, bound) {
            (method, Some((id, side))) => {
                if *method == Method::Invite {
                    self.invites.insert(key, id);
                }
                self.with_call(now, id, work, |call, cx| {
                    call.heard_on(side, flow);
                    call.request(cx, side, key, request);
                });
            }
            (_, None) if within => self.refuse(now, key, &request, 481, None, work),
            (Method::Invite, None) => self.invite(now, key, flow, request, work),
            (Method::Options, None) => self.options(now, key, &request, work),
            (Method::Bye | Method::Info | Method::Update | Method::Prack, None) => {
                self.refuse(now, key, &request, 481, None, work);
            }
            (Method::Extension(_), None) => self.refuse(now, key, &request, 501, None, work),
            _ => self.refuse(now, key, &request, 405, None, work),
        }
    }

    fn options(&mut self, now: Instant, key: ServerKey, request: &Request, work: &mut Work) {
        let response = match self.admission.refusal(&self.settings) {
            Some(closed) => unavailable(
                &self.settings,
                request,
                closed.retry_after_s,
                &closed.reason,
            ),
            None => capabilities(&self.settings, request),
        };
        self.respond(now, key, response, work);
    }

    /// A new call, or the reason why not.
    fn invite(
        &mut self,
        now: Instant,
        key: ServerKey,
        flow: Flow,
        invite: Request,
        work: &mut Work,
    ) {
        let settings = Arc::clone(&self.settings);
        if !required(&invite).is_empty() {
            return self.refuse(now, key, &invite, 420, None, work);
        }
        let (Ok(from), true) = (invite.from(), invite.contact().is_ok()) else {
            return self.refuse(
                now,
                key,
                &invite,
                400,
                Some("no usable From or Contact"),
                work,
            );
        };
        let route = match route(&settings, &flow, &from.uri, &invite.uri) {
            Ok(route) => route,
            Err(why) => {
                let reason = why.to_string();
                return self.refuse(now, key, &invite, why.status_code(), Some(&reason), work);
            }
        };
        let plan = decide(&settings, &route);
        let recording = recording_id(settings.epoch.unix_ms_at(now), &mut self.random);
        let id = self.next_call();
        let offer = Offer::Awaited;
        let mut begin = Begin {
            id,
            server: key,
            flow,
            invite,
            offer,
            route,
            plan,
            recording,
        };
        if let Some(closed) = self.admission.refusal(&settings) {
            let invite = &begin.invite;
            let response = unavailable(&settings, invite, closed.retry_after_s, &closed.reason);
            self.keep_refused(&begin, HungUpBy::Gate, work);
            return self.respond_refusal(now, key, response, work);
        }
        match Body::read(&begin.invite.headers, &begin.invite.body) {
            Ok(body) => begin.offer = Offer::of(&body),
            Err(why) => {
                self.keep_refused(&begin, HungUpBy::BadSession, work);
                return self.refuse(now, key, &begin.invite, 400, Some(&why.to_string()), work);
            }
        }
        self.begin(now, begin, work);
    }

    fn begin(&mut self, now: Instant, begin: Begin, work: &mut Work) {
        let settings = Arc::clone(&self.settings);
        let (id, key) = (begin.id, begin.server);
        let mut cx = Context::new(now, &settings, &mut self.tokens);
        let call = Box::new(Call::begin(&mut cx, begin));
        let actions = cx.actions;
        if let Some(recording) = call.recording() {
            self.recordings.insert(recording, id);
        }
        self.invites.insert(key, id);
        self.calls.insert(id, Slot { call, filed: None });
        self.perform(now, id, actions, work);
        self.settle(id);
    }

    fn next_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }

    /// A call that should have been recorded has a row even if it was refused at its INVITE.
    fn keep_refused(&self, begin: &Begin, by: HungUpBy, work: &mut Work) {
        let recording = begin.recording;
        let Plan::Recorded(plan) = &begin.plan else {
            return;
        };
        let legs = legs_of(begin.id);
        let ended = closing(by, Reached::Offered);
        let ending = Ending {
            end: ended.unstarted,
            reason: ended.reason,
        };
        work.out.push(Output::Media(MediaCommand::OpenRecording {
            recording,
            owner: legs.of(plan.side),
            other: legs.of(plan.side.other()),
            opening: Box::new(opening(&self.settings, &begin.invite, &begin.route, plan)),
        }));
        work.out.push(Output::Media(MediaCommand::CloseRecording {
            recording,
            ending,
        }));
    }

    /// Answers a request that belongs to no call.
    fn refuse(
        &mut self,
        now: Instant,
        key: ServerKey,
        request: &Request,
        status: u16,
        why: Option<&str>,
        work: &mut Work,
    ) {
        let response = refusal(&self.settings, request, status, why);
        self.respond_refusal(now, key, response, work);
    }

    fn respond_refusal(
        &mut self,
        now: Instant,
        key: ServerKey,
        response: Response,
        work: &mut Work,
    ) {
        let call_id = response.call_id().unwrap_or_default().to_owned();
        let event = LogEvent::Refused {
            status: response.status.code(),
        };
        work.out.push(Output::Log(CallLog {
            call: None,
            call_id,
            event,
        }));
        self.respond(now, key, response, work);
    }

    fn respond(&mut self, now: Instant, key: ServerKey, response: Response, work: &mut Work) {
        self.tell(now, endpoint::Input::Respond { key, response }, work);
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
        let mut cx = Context::new(now, &self.settings, &mut self.tokens);
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
