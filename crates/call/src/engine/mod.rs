//! The engine: every call of a node, with the SIP endpoint below them.
//!
//! Work per event does not grow with the number of calls: calls are found by dialog, transaction,
//! leg or recording, and the next deadline is the first of a sorted set.

mod due;
mod groups;
mod handing;
mod messages;
mod outside;
mod reach;
mod replacing;
mod requests;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use duolog_sip::endpoint::{self, ServerKey};
use duolog_sip::{DialogId, Endpoint, EndpointSettings, Flow, Tokens};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::fact::Side;
use crate::gate::Admission;
use crate::ids::Ids;
use crate::log::{CallLog, LogEvent};
use crate::media::{CallId, LegId, MediaCommand, MediaEvent, RecordingId};
use crate::policy::RecordingSettings;
use crate::recording::Refusal;
use crate::role::Role;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::keys::KeySource;
use crate::settings::{Settings, UserIndex};

use groups::Groups;
use reach::{Counts, Reach};

pub use words::{ControlId, Input, Output, Running};

/// Every call of a node. One owner, one input at a time; time is an argument.
pub struct Engine {
    settings: Arc<Settings>,
    endpoint: Endpoint,
    tokens: Tokens,
    ids: Ids,
    keys: KeySource,
    admission: Admission,
    reach: Reach,
    calls: BTreeMap<CallId, Slot>,
    dialogs: BTreeMap<DialogId, (CallId, Side)>,
    invites: BTreeMap<ServerKey, CallId>,
    recordings: BTreeMap<RecordingId, CallId>,
    /// Which call has a leg: legs may move.
    legs: BTreeMap<LegId, CallId>,
    filed: Filed,
    groups: Groups,
    last_call: u64,
}

/// Calls by what they wait for and lean on.
#[derive(Default)]
struct Filed {
    deadlines: BTreeSet<(Instant, CallId)>,
    /// Which calls lean on a connection.
    connections: BTreeSet<(Flow, CallId)>,
}

/// A call, and the deadline and the connections under which it is filed.
struct Slot {
    call: Role,
    filed: Option<Instant>,
    connections: Vec<Flow>,
    users: Vec<UserIndex>,
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
        let mut seeds = [[0; 32]; 7];
        seeds.iter_mut().for_each(|seed| random.fill_bytes(seed));
        Self {
            endpoint: Endpoint::new(endpoint_settings(&settings), seeds[0]),
            tokens: Tokens::new(seeds[1]),
            keys: KeySource::new(seeds[2]),
            ids: Ids::new(settings.epoch, random),
            admission: Admission::default(),
            reach: Reach::new(&settings, [seeds[3], seeds[4], seeds[5], seeds[6]]),
            calls: BTreeMap::new(),
            dialogs: BTreeMap::new(),
            invites: BTreeMap::new(),
            recordings: BTreeMap::new(),
            legs: BTreeMap::new(),
            filed: Filed::default(),
            groups: Groups::new(settings.media.more_groups),
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
                self.received(now, flow, bytes, &mut work);
            }
            Input::FlowFailed { flow } => {
                self.flow_failed(now, flow, &mut work);
            }
            Input::Certified { flow, names } => self.reach.certify(flow, names),
            Input::Resolved { id, answer } => {
                let settings = Arc::clone(&self.settings);
                let wanted = self.reach.resolved(now, &settings, id, answer);
                self.carry_out(now, wanted, &mut work);
            }
            Input::Media(event) => self.media(now, event, &mut work),
            Input::Control {
                id,
                recording,
                control,
                by,
            } => {
                let mut result = Err(Refusal::NoSuchCall);
                if let Some(call) = self.recordings.get(&recording).copied() {
                    self.with_call(now, call, &mut work, |call, cx| {
                        result = call.control(cx, recording, by, control);
                    });
                }
                work.out.push(Output::Controlled { id, result });
            }
            Input::Changed { user, settings } => self.changed(user, settings),
            Input::LanguageChanged { user, language } => self.speaks(user, language),
            Input::Messages { user, new, old } => {
                self.messages(now, user, Counts { new, old }, &mut work);
            }
            Input::Gate(gate) => self.admission.gate = gate,
            Input::Drain => self.admission.drain(),
            Input::HangUpAll => {
                self.admission.drain();
                let calls: Vec<CallId> = self.calls.keys().copied().collect();
                for id in calls {
                    self.with_call(now, id, &mut work, Role::shut_down);
                }
                self.unregister(now, &mut work);
            }
            Input::Deadline => self.due(now, &mut work),
        }
        while let Some(event) = work.events.pop_front() {
            self.endpoint_says(now, event, &mut work);
        }
        work.out
    }

    fn changed(&mut self, user: UserIndex, recording: Arc<RecordingSettings>) {
        let settings = Arc::make_mut(&mut self.settings);
        if let Some(user) = settings.users.get_mut(user.0) {
            user.recording = recording;
        }
    }

    fn speaks(&mut self, user: UserIndex, language: Option<String>) {
        let settings = Arc::make_mut(&mut self.settings);
        if let Some(user) = settings.users.get_mut(user.0) {
            user.language = language;
        }
    }

    /// Every recorded half of a call that is not over, in the order of the calls.
    pub fn running(&self) -> Vec<Running> {
        let halves = |(id, slot): (&CallId, &Slot)| slot.call.running(*id);
        self.calls.iter().flat_map(halves).collect()
    }

    /// When [`Input::Deadline`] is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        let calls = self.filed.deadlines.first().map(|(at, _)| *at);
        [calls, self.endpoint.deadline(), self.reach.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// How many calls there are, with those that wait for their last transaction.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Registrations of ours that are being made, renewed or taken back now: after
    /// [`Input::HangUpAll`], 0 says that no trunk sends calls here any more.
    pub fn registering(&self) -> usize {
        self.reach.registering()
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
            + self.legs.len()
            + self.filed.deadlines.len()
            + self.filed.connections.len()
            + self.groups.len()
            + self.reach.pending()
    }

    fn tell(&mut self, now: Instant, input: endpoint::Input, work: &mut Work) {
        let events = self.endpoint.handle(now, input);
        work.events.extend(events);
    }

    /// Calls learn of it first: what they send because of it goes another way.
    fn flow_failed(&mut self, now: Instant, flow: Flow, work: &mut Work) {
        let filed = (flow, CallId(0))..=(flow, CallId(u64::MAX));
        let calls: Vec<CallId> = self
            .filed
            .connections
            .range(filed)
            .map(|(_, id)| *id)
            .collect();
        for id in calls {
            self.with_call(now, id, work, |call, _| call.connection_lost(flow));
        }
        self.tell(now, endpoint::Input::FlowFailed { flow }, work);
        let settings = Arc::clone(&self.settings);
        let wanted = self.reach.flow_failed(now, &settings, &flow);
        self.carry_out(now, wanted, work);
    }

    fn due(&mut self, now: Instant, work: &mut Work) {
        if self.endpoint.deadline().is_some_and(|at| at <= now) {
            self.tell(now, endpoint::Input::Deadline, work);
        }
        self.calls_due(now, work);
        if self.reach.deadline().is_some_and(|at| at <= now) {
            let settings = Arc::clone(&self.settings);
            let wanted = self.reach.due(now, &settings);
            self.carry_out(now, wanted, work);
        }
    }

    fn media(&mut self, now: Instant, event: MediaEvent, work: &mut Work) {
        let id = match &event {
            MediaEvent::LegOpened { leg, .. }
            | MediaEvent::LegRefused { leg, .. }
            | MediaEvent::Begun { leg, .. }
            | MediaEvent::Played { leg, .. }
            | MediaEvent::Digit { leg, .. }
            | MediaEvent::FirstPacket { leg }
            | MediaEvent::MediaTimeout { leg } => self.legs.get(leg).copied(),
            MediaEvent::RecordingTrouble { recording, .. } => {
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
                let name = self.reach.name_for(&flow);
                work.out.push(Output::Send { flow, bytes, name });
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
                self.answered(now, key, response, work);
            }
            endpoint::Output::ClientFailed { key, failure } => {
                self.unanswered(now, key, failure, work);
            }
            endpoint::Output::ServerFailed { key, .. } => {
                if let Some(id) = self.invites.remove(&key) {
                    self.with_call(now, id, work, |call, cx| call.server_failed(cx, key));
                }
            }
            endpoint::Output::Unpracked { key } => {
                if let Some(id) = self.invites.get(&key).copied() {
                    self.with_call(now, id, work, |call, cx| call.unpracked(cx, key));
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
        take: impl FnOnce(&mut Role, &mut Context<'_>),
    ) {
        let Some(slot) = self.calls.get_mut(&id) else {
            return;
        };
        let mut cx = Context::new(
            now,
            &self.settings,
            &mut self.tokens,
            &mut self.keys,
            &mut self.ids,
        )
        .behind(&self.admission.gate);
        take(&mut slot.call, &mut cx);
        slot.call.follow_up(&mut cx);
        let actions = cx.actions;
        self.perform(now, id, actions, work);
        self.settle(id);
    }

    fn perform(&mut self, now: Instant, id: CallId, actions: Vec<Action>, work: &mut Work) {
        let (mut asked, mut wanted, mut handed) = (Vec::new(), None, None);
        for action in actions {
            match action {
                Action::Respond(key, response) => {
                    if response.status.is_final() && !response.status.is_success() {
                        self.invites.remove(&key);
                    }
                    self.respond(now, key, response, work);
                }
                Action::Request(key, flow, request) => {
                    self.goes_out(now, (key, flow), request, work);
                }
                Action::Ack(key, request) => {
                    self.tell(now, endpoint::Input::Ack { key, request }, work);
                }
                Action::Cancel(key) => self.tell(now, endpoint::Input::Cancel { key }, work),
                Action::Pracked(key, rseq) => {
                    self.tell(now, endpoint::Input::Pracked { key, rseq }, work);
                }
                Action::Bind(dialog, side) => {
                    self.dialogs.insert(dialog, (id, side));
                }
                Action::Unbind(dialog) => {
                    // It may be another call's by now.
                    if self.dialogs.get(&dialog).is_some_and(|(of, _)| *of == id) {
                        self.dialogs.remove(&dialog);
                    }
                }
                Action::Fetch(dialog, by) => wanted = Some((dialog, by)),
                // Answers come when everything else is done.
                Action::Ask(ask, question) => asked.push((ask, question)),
                Action::Outcome(flow, reached) => {
                    let settings = Arc::clone(&self.settings);
                    let wanted = self.reach.outcome(now, &settings, &flow, reached);
                    self.carry_out(now, wanted, work);
                }
                Action::Forget(recording) => {
                    // It may be another call's by now.
                    if self.recordings.get(&recording) == Some(&id) {
                        self.recordings.remove(&recording);
                    }
                }
                Action::HandOff(caller) => handed = Some(caller),
                Action::Media(command) => self.order(id, command, work),
                Action::Log(event) => self.log(id, event, work),
            }
        }
        if let Some((dialog, by)) = wanted {
            self.fetch(now, id, (&dialog, by), work);
        }
        if let Some(caller) = handed {
            self.hand_off(now, *caller, work);
        }
        for (ask, question) in asked {
            self.asked(now, (id, ask), &question, work);
        }
    }

    fn log(&self, id: CallId, event: LogEvent, work: &mut Work) {
        let slot = self.calls.get(&id);
        let call_id = slot.map(|slot| slot.call.call_id().to_owned());
        work.out.push(Output::Log(CallLog {
            call: Some(id),
            call_id: call_id.unwrap_or_default(),
            event,
        }));
    }

    /// Tells the media plane; its reports about what a call opens find that call.
    fn order(&mut self, id: CallId, command: MediaCommand, work: &mut Work) {
        match &command {
            MediaCommand::OpenLeg { leg, .. } => {
                self.legs.insert(*leg, id);
            }
            // One that was never opened, or is closed, is not closed again.
            MediaCommand::CloseLeg { leg } if self.legs.remove(leg).is_none() => return,
            MediaCommand::OpenRecording { recording, .. } => {
                self.recordings.insert(*recording, id);
            }
            _ => {}
        }
        work.out.push(Output::Media(command));
    }

    /// Files a call under its next deadline, or forgets it when nothing is left to wait for.
    fn settle(&mut self, id: CallId) {
        let Some(slot) = self.calls.get_mut(&id) else {
            return;
        };
        let wanted = slot.call.deadline().filter(|_| !slot.call.is_gone());
        if let Some(filed) = slot.filed.filter(|filed| Some(*filed) != wanted) {
            self.filed.deadlines.remove(&(filed, id));
        }
        if let Some(at) = wanted {
            self.filed.deadlines.insert((at, id));
        }
        slot.filed = wanted;
        let leant: Vec<Flow> = match slot.call.is_gone() {
            true => Vec::new(),
            false => slot.call.connections(),
        };
        if slot.connections != leant {
            for flow in &slot.connections {
                self.filed.connections.remove(&(*flow, id));
            }
            self.filed
                .connections
                .extend(leant.iter().map(|flow| (*flow, id)));
            slot.connections = leant;
        }
        let users: Vec<UserIndex> = match slot.call.is_gone() {
            true => Vec::new(),
            false => slot.call.users(),
        };
        if slot.users != users {
            for user in &users {
                self.groups.enter(*user, slot.call.group());
            }
            for user in std::mem::replace(&mut slot.users, users) {
                self.groups.leave(user);
            }
        }
        if slot.call.is_gone() {
            self.calls.remove(&id);
        }
    }
}

fn endpoint_settings(settings: &Settings) -> EndpointSettings {
    EndpointSettings {
        own: settings.local.0.clone(),
        server_name: settings.server_name.clone(),
        timers: settings.timers,
    }
}
