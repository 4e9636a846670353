//! Requests of ours that belong to no call: registrations at trunks, and OPTIONS that look whether a
//! hop is there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use duolog_reach::hops::{self, Host};
use duolog_reach::registration::{self, Registration, RegistrationSettings};
use duolog_sip::endpoint::ClientKey;
use duolog_sip::{DialogId, Flow, Method, NameAddr, Request, Response, Tokens, Uri};

use super::finding::Waiting;
use super::{Reach, Wanted};
use crate::role::b2bua::leg::{contact, uri_at};
use crate::settings::{Ping, Settings, Trunk, TrunkIndex, UserIndex};
use crate::target::Reached;

/// Keys of requests that belong to no call are those of call 0, which is none.
const OWN_KEYS: u64 = 1 << 24;

/// When a registrar that was not found is looked for again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What a request of ours is for.
pub(super) enum Purpose {
    /// To see whether a hop answers.
    Probe(Flow),
    /// To register at a trunk, by this way.
    Register(TrunkIndex, Flow),
    /// To tell a phone of its messages, within a subscription; `None` where that is over with it.
    Notify(Option<DialogId>),
    /// The same, where nobody has subscribed.
    Tell(UserIndex),
}

/// The requests under way, and the registrations.
pub(super) struct OwnRequests {
    running: BTreeMap<ClientKey, Purpose>,
    last: u64,
    /// By trunk.
    registrations: BTreeMap<usize, AtTrunk>,
    /// What is watched or registered at the start, until it has begun.
    begin_at: Option<Instant>,
    tokens: Tokens,
}

/// A registration at a trunk.
#[derive(Default)]
struct AtTrunk {
    /// Made when the registrar has been found.
    machine: Option<Registration>,
    flow: Option<Flow>,
    /// When the registrar is looked for again.
    look_at: Option<Instant>,
}

impl OwnRequests {
    pub(super) fn new(settings: &Settings, seed: [u8; 32]) -> Self {
        let wanted = settings.trunks.iter().enumerate();
        let wanted = wanted.filter(|(_, trunk)| trunk.registration.is_some());
        Self {
            running: BTreeMap::new(),
            last: 0,
            registrations: wanted.map(|(at, _)| (at, AtTrunk::default())).collect(),
            begin_at: settings
                .trunks
                .iter()
                .any(|trunk| is_watched(trunk) || trunk.registration.is_some())
                .then_some(settings.epoch.at),
            tokens: Tokens::new(seed),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let registrations = self.registrations.values().flat_map(|at_trunk| {
            let machine = at_trunk.machine.as_ref();
            [machine.and_then(Registration::deadline), at_trunk.look_at]
        });
        registrations.flatten().chain(self.begin_at).min()
    }

    fn next_key(&mut self) -> ClientKey {
        self.last = (self.last + 1) % OWN_KEYS;
        ClientKey(self.last)
    }
}

impl Reach {
    /// Whether a key is of a request that belongs to no call.
    pub(in crate::engine) fn is_own(key: ClientKey) -> bool {
        key.0 < OWN_KEYS
    }

    /// Time has passed.
    pub(in crate::engine) fn due(&mut self, now: Instant, settings: &Settings) -> Vec<Wanted> {
        let mut wanted = self.messages_due(now, settings);
        if self.registrar.deadline().is_some_and(|at| at <= now) {
            self.registrar.expire(now);
        }
        if self.hops.deadline().is_some_and(|at| at <= now) {
            wanted.extend(self.hop_input(now, settings, hops::Input::Deadline));
        }
        if self.own.begin_at.take_if(|at| *at <= now).is_some() {
            wanted.extend(self.watch_trunks(now, settings));
            for trunk in self.trunks_to_register_at() {
                wanted.extend(self.find_registrar(now, settings, trunk, None));
            }
        }
        for trunk in self.trunks_to_register_at() {
            let Some(at_trunk) = self.own.registrations.get_mut(&trunk.0) else {
                continue;
            };
            if at_trunk.look_at.take_if(|at| *at <= now).is_some() {
                wanted.extend(self.find_registrar(now, settings, trunk, None));
                continue;
            }
            let due = at_trunk.machine.as_ref().and_then(Registration::deadline);
            if due.is_some_and(|at| at <= now) {
                let input = registration::Input::Deadline;
                wanted.extend(self.registration(now, settings, trunk, input));
            }
        }
        wanted
    }

    fn trunks_to_register_at(&self) -> Vec<TrunkIndex> {
        let trunks = self.own.registrations.keys();
        trunks.map(|at| TrunkIndex(*at)).collect()
    }

    /// Addresses of trunks are to be known before they call.
    fn watch_trunks(&mut self, now: Instant, settings: &Settings) -> Vec<Wanted> {
        let trunks = settings.trunks.iter().filter(|trunk| is_watched(trunk));
        let watched = trunks.map(|trunk| hops::Input::Watch(trunk.destination.clone()));
        let watched: Vec<hops::Input> = watched.collect();
        let watched = watched.into_iter();
        watched
            .flat_map(|input| self.hop_input(now, settings, input))
            .collect()
    }

    fn find_registrar(
        &mut self,
        now: Instant,
        settings: &Settings,
        trunk: TrunkIndex,
        request: Option<Box<Request>>,
    ) -> Vec<Wanted> {
        let destination = settings.trunks[trunk.0].destination.clone();
        let waiting = Waiting::Registration(trunk, request);
        self.locate(now, settings, destination, waiting)
    }

    /// The registrar of a trunk was found, or not.
    pub(super) fn registrar_found(
        &mut self,
        now: Instant,
        settings: &Settings,
        (trunk, flow): (TrunkIndex, Option<Flow>),
        request: Option<Box<Request>>,
    ) -> Vec<Wanted> {
        let Some(at_trunk) = self.own.registrations.get_mut(&trunk.0) else {
            return Vec::new();
        };
        at_trunk.flow = flow;
        let Some(flow) = flow else {
            if at_trunk.machine.is_none() {
                at_trunk.look_at = Some(now + LOOK_AGAIN);
                return Vec::new();
            }
            return self.registration(now, settings, trunk, registration::Input::Failed);
        };
        if let Some(request) = request {
            return vec![self.send_own(Purpose::Register(trunk, flow), flow, request)];
        }
        if at_trunk.machine.is_none() {
            at_trunk.machine = make(settings, trunk, &flow, &mut self.own.tokens);
        }
        self.registration(now, settings, trunk, registration::Input::Start)
    }

    fn registration(
        &mut self,
        now: Instant,
        settings: &Settings,
        trunk: TrunkIndex,
        input: registration::Input,
    ) -> Vec<Wanted> {
        let at_trunk = self.own.registrations.get_mut(&trunk.0);
        let Some(machine) = at_trunk.and_then(|at_trunk| at_trunk.machine.as_mut()) else {
            return Vec::new();
        };
        let mut wanted = Vec::new();
        for output in machine.handle(now, input) {
            match output {
                registration::Output::Send(request) => {
                    let request = Box::new(request);
                    let flow = self.own.registrations.get(&trunk.0).and_then(|at| at.flow);
                    match flow {
                        Some(flow) => {
                            let purpose = Purpose::Register(trunk, flow);
                            wanted.push(self.send_own(purpose, flow, request));
                        }
                        None => {
                            let request = Some(request);
                            wanted.extend(self.find_registrar(now, settings, trunk, request));
                        }
                    }
                }
                registration::Output::State(state) => {
                    if let registration::State::Failed { .. } = state
                        && let Some(at_trunk) = self.own.registrations.get_mut(&trunk.0)
                    {
                        // The next attempt looks for the registrar anew.
                        at_trunk.flow = None;
                    }
                    wanted.push(Wanted::Registered(trunk, state));
                }
            }
        }
        wanted
    }

    pub(super) fn send_own(
        &mut self,
        purpose: Purpose,
        flow: Flow,
        request: Box<Request>,
    ) -> Wanted {
        let key = self.own.next_key();
        self.own.running.insert(key, purpose);
        Wanted::Send(key, flow, request)
    }

    /// OPTIONS to a hop, to see whether it answers (RFC 3261 §11).
    pub(super) fn probe(&mut self, settings: &Settings, flow: Flow) -> Wanted {
        let uri = uri_at(None, flow.peer, flow.transport);
        let own = settings.local.on(flow.transport, flow.peer.ip());
        let own = uri_at(None, own.unwrap_or(flow.local), flow.transport);
        let tokens = &mut self.own.tokens;
        let request = options(&uri, own, tokens, contact(settings, &flow));
        self.send_own(Purpose::Probe(flow), flow, Box::new(request))
    }

    /// An answer to a request of ours.
    pub(in crate::engine) fn own_answered(
        &mut self,
        now: Instant,
        settings: &Settings,
        key: ClientKey,
        response: Response,
    ) -> Vec<Wanted> {
        if !response.status.is_final() {
            return Vec::new();
        }
        match self.own.running.remove(&key) {
            Some(Purpose::Probe(flow)) => self.outcome(now, settings, &flow, reached_by(&response)),
            Some(Purpose::Register(trunk, flow)) => {
                let mut wanted = self.outcome(now, settings, &flow, reached_by(&response));
                let input = registration::Input::Response(response);
                wanted.extend(self.registration(now, settings, trunk, input));
                wanted
            }
            Some(Purpose::Notify(Some(id))) if !response.status.is_success() => {
                // Who does not want it, or knows nothing of it, is told no more (RFC 6665 §4.2.2).
                self.messages.forget(&id);
                Vec::new()
            }
            Some(Purpose::Tell(user)) => {
                self.was_told(now, settings, user, Some(response.status.code()));
                Vec::new()
            }
            Some(Purpose::Notify(_)) | None => Vec::new(),
        }
    }

    /// A request of ours failed without an answer.
    pub(in crate::engine) fn own_failed(
        &mut self,
        now: Instant,
        settings: &Settings,
        key: ClientKey,
    ) -> Vec<Wanted> {
        match self.own.running.remove(&key) {
            Some(Purpose::Probe(flow)) => self.outcome(now, settings, &flow, Reached::Silent),
            Some(Purpose::Register(trunk, flow)) => {
                // The next attempt goes to another address, where there is one.
                let mut wanted = self.outcome(now, settings, &flow, Reached::Silent);
                let input = registration::Input::Failed;
                wanted.extend(self.registration(now, settings, trunk, input));
                wanted
            }
            Some(Purpose::Notify(id)) => {
                if let Some(id) = id {
                    self.messages.forget(&id);
                }
                Vec::new()
            }
            Some(Purpose::Tell(user)) => {
                self.was_told(now, settings, user, None);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// A connection is gone: what was registered over it has to be said again.
    pub(super) fn own_flow_failed(
        &mut self,
        now: Instant,
        settings: &Settings,
        flow: &Flow,
    ) -> Vec<Wanted> {
        let over = self.own.registrations.iter();
        let over = over.filter(|(_, at_trunk)| at_trunk.flow == Some(*flow));
        let over: Vec<usize> = over.map(|(at, _)| *at).collect();
        let mut wanted = Vec::new();
        for at in over {
            let input = registration::Input::FlowFailed;
            wanted.extend(self.registration(now, settings, TrunkIndex(at), input));
        }
        wanted
    }

    /// Registrations that are being made, renewed or taken back now.
    pub(in crate::engine) fn registering(&self) -> usize {
        let asked = self.own.running.values();
        let asked = asked.filter(|purpose| matches!(purpose, Purpose::Register(..)));
        let located = self.waiting.values();
        let located = located.filter(|waiting| matches!(waiting, Waiting::Registration(..)));
        asked.count() + located.count()
    }

    /// The node goes down: registrations are taken back, and those that have not begun never do.
    pub(in crate::engine) fn unregister(
        &mut self,
        now: Instant,
        settings: &Settings,
    ) -> Vec<Wanted> {
        let mut wanted = self.end_subscriptions(now, settings);
        let registrations = &mut self.own.registrations;
        registrations.retain(|_, at_trunk| at_trunk.machine.is_some());
        for trunk in self.trunks_to_register_at() {
            wanted.extend(self.registration(now, settings, trunk, registration::Input::Stop));
        }
        wanted
    }
}

/// What a final response says of the hop it came from.
fn reached_by(response: &Response) -> Reached {
    match response.status.code() {
        503 => Reached::Unavailable(response.retry_after()),
        _ => Reached::Answered,
    }
}

/// Whether the addresses of a trunk are kept known and looked at.
fn is_watched(trunk: &Trunk) -> bool {
    trunk.ping == Ping::On || matches!(trunk.destination.host, Host::Name(_))
}

fn make(
    settings: &Settings,
    trunk: TrunkIndex,
    flow: &Flow,
    tokens: &mut Tokens,
) -> Option<Registration> {
    let trunk = &settings.trunks[trunk.0];
    let wanted = trunk.registration.as_ref()?;
    let mut registrar = wanted.aor.clone();
    registrar.user = None;
    let mut seed = [0; 32];
    let random = tokens.call_id();
    seed.iter_mut()
        .zip(random.bytes())
        .for_each(|(to, from)| *to = from);
    let registration = RegistrationSettings {
        aor: wanted.aor.clone(),
        registrar,
        contact: contact(settings, flow),
        expires_s: wanted.expires_s,
        credentials: trunk.credentials.clone(),
        server_name: settings.server_name.clone(),
    };
    Some(Registration::new(registration, seed))
}

fn options(to: &Uri, from: Uri, tokens: &mut Tokens, contact: String) -> Request {
    let mut request = Request::new(Method::Options, to.clone());
    let headers = &mut request.headers;
    headers.push("Max-Forwards", "70");
    let from = NameAddr::new(from).with_tag(&tokens.tag());
    headers.push("From", from.to_string());
    headers.push("To", NameAddr::new(to.clone()).to_string());
    headers.push("Call-ID", tokens.call_id());
    headers.push("CSeq", "1 OPTIONS");
    headers.push("Contact", contact);
    headers.push("Accept", "application/sdp");
    request
}
