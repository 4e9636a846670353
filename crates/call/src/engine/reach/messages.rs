//! Message waiting (RFC 3842): how many messages each mailbox has, and who is told. Phones that
//! subscribe are told within their subscription (RFC 6665), the others where they have registered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_sip::{Dialog, DialogId, Flow, Method, NameAddr, Request, Response, StatusCode, Uri};

use super::own::Purpose;
use super::untold::Untold;
use super::{Reach, Wanted};
use crate::answer::{refusal, unavailable};
use crate::number::{escaped, number};
use crate::role::b2bua::leg::{contact, introduce, uri_at, way_back};
use crate::route::{Party, user_with};
use crate::settings::{Location, Settings, UserIndex};

/// The event package.
const PACKAGE: &str = "message-summary";

/// Its body.
const SUMMARY: &str = "application/simple-message-summary";

/// How long a subscription lives, in seconds: at least, where it is not said, and at most.
const EXPIRES_S: (u32, u32, u32) = (60, 3600, 7200);

/// Subscriptions to one mailbox: more than one person has phones.
const SUBSCRIPTIONS: usize = 16;

/// When somebody whose subscription does not fit may ask again, in seconds.
const LATER_S: u32 = 60;

/// What is in the mailboxes, and who wants to know.
#[derive(Default)]
pub(super) struct Messages {
    boxes: BTreeMap<usize, InBox>,
    subscriptions: BTreeMap<DialogId, Subscription>,
    ends: BTreeSet<(Instant, DialogId)>,
    untold: Untold,
}

#[derive(Default)]
struct InBox {
    counts: Counts,
    subscribers: BTreeSet<DialogId>,
}

/// How many messages a mailbox has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine) struct Counts {
    /// Nobody has heard them.
    pub(in crate::engine) new: u32,
    /// Heard and kept.
    pub(in crate::engine) old: u32,
}

struct Subscription {
    user: UserIndex,
    dialog: Dialog,
    flow: Flow,
    /// What tells it from others of its dialog (RFC 6665 §8.2.1).
    id: Option<String>,
    until: Instant,
}

/// What a NOTIFY says of its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    /// It ran out, or was ended by the one who had it.
    TimedOut,
    /// The node goes down: elsewhere somebody may know.
    Deactivated,
}

impl Messages {
    pub(super) fn deadline(&self) -> Option<Instant> {
        let ends = self.ends.first().map(|(at, _)| *at);
        ends.into_iter().chain(self.untold.deadline()).min()
    }

    /// Where the connection is gone there is nobody to tell.
    pub(super) fn flow_failed(&mut self, flow: &Flow) {
        let gone = self.subscriptions.iter();
        let gone = gone.filter(|(_, own)| own.flow == *flow && flow.transport.is_reliable());
        let gone: Vec<DialogId> = gone.map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.forget(&id);
        }
    }

    /// A subscription is over.
    pub(super) fn forget(&mut self, id: &DialogId) {
        self.take(id);
    }

    fn take(&mut self, id: &DialogId) -> Option<Subscription> {
        let own = self.subscriptions.remove(id)?;
        self.ends.remove(&(own.until, id.clone()));
        if let Some(inbox) = self.boxes.get_mut(&own.user.0) {
            inbox.subscribers.remove(id);
        }
        Some(own)
    }

    fn keep(&mut self, own: Subscription) {
        let id = own.dialog.id().clone();
        self.ends.insert((own.until, id.clone()));
        let inbox = self.boxes.entry(own.user.0).or_default();
        inbox.subscribers.insert(id.clone());
        self.subscriptions.insert(id, own);
    }

    fn counts(&self, user: UserIndex) -> Counts {
        self.boxes
            .get(&user.0)
            .map(|b| b.counts)
            .unwrap_or_default()
    }

    fn subscribers(&self, user: UserIndex) -> Vec<DialogId> {
        let inbox = self.boxes.get(&user.0);
        inbox.map_or_else(Vec::new, |b| b.subscribers.iter().cloned().collect())
    }
}

impl Reach {
    /// A mailbox has so many messages now; who wants to know is told where that is news.
    pub(in crate::engine) fn messages(
        &mut self,
        now: Instant,
        settings: &Settings,
        user: UserIndex,
        counts: Counts,
    ) -> Vec<Wanted> {
        if settings
            .users
            .get(user.0)
            .is_none_or(|u| u.mailbox.is_none())
        {
            return Vec::new();
        }
        let inbox = self.messages.boxes.entry(user.0).or_default();
        if std::mem::replace(&mut inbox.counts, counts) == counts {
            return Vec::new();
        }
        self.messages.untold.forget(user);
        let mut wanted = Vec::new();
        for id in self.messages.subscribers(user) {
            wanted.extend(self.notify(now, settings, &id, State::Active));
        }
        wanted.extend(self.tell_phones(now, settings, user));
        wanted
    }

    fn tell_phones(&mut self, now: Instant, settings: &Settings, user: UserIndex) -> Vec<Wanted> {
        let phones = self.phones(now, settings, user).into_iter();
        let told = phones.filter_map(|phone| self.tell(settings, user, phone));
        told.collect()
    }

    /// A phone that did not subscribe was told, and this came of it: the status of its answer, if there was
    /// one.
    pub(super) fn was_told(
        &mut self,
        now: Instant,
        settings: &Settings,
        user: UserIndex,
        answer: Option<u16>,
    ) {
        let away = matches!(answer, None | Some(408 | 480 | 500..=599));
        let at = settings.users.get(user.0).map(|user| user.location);
        match (away, at) {
            (true, Some(Location::At(_))) => self.messages.untold.failed(now, user),
            _ => self.messages.untold.forget(user),
        }
    }

    /// A phone of this user has registered over this flow: it is told what it may have missed.
    pub(in crate::engine) fn registered_for_messages(
        &mut self,
        now: Instant,
        settings: &Settings,
        name: &str,
        flow: &Flow,
    ) -> Vec<Wanted> {
        let Some(user) = user_with(settings, name) else {
            return Vec::new();
        };
        if settings.users[user.0].mailbox.is_none() {
            return Vec::new();
        }
        let phones = self.phones(now, settings, user).into_iter();
        let here = phones.filter(|(_, way, _)| way == flow);
        here.collect::<Vec<_>>()
            .into_iter()
            .filter_map(|phone| self.tell(settings, user, phone))
            .collect()
    }

    /// Where the phones of a user are.
    fn phones(
        &self,
        now: Instant,
        settings: &Settings,
        UserIndex(at): UserIndex,
    ) -> Vec<(Uri, Flow, Vec<NameAddr>)> {
        let user = &settings.users[at];
        match user.location {
            Location::At(to) => {
                let local = settings.local.on(to.transport, to.addr.ip());
                let way = local.map(|local| Flow {
                    transport: to.transport,
                    local,
                    peer: to.addr,
                });
                let known_as = user.numbers.first().unwrap_or(&user.name);
                let uri = uri_at(Some(&escaped(known_as)), to.addr, to.transport);
                way.into_iter()
                    .map(|way| (uri.clone(), way, Vec::new()))
                    .collect()
            }
            Location::Registered => {
                let bindings = self.registrar.bindings(now, &user.name).into_iter();
                bindings.map(|b| (b.uri, b.flow, b.path)).collect()
            }
        }
    }

    /// A NOTIFY that nobody subscribed to: most phones take it. One that has subscribed is told so.
    fn tell(
        &mut self,
        settings: &Settings,
        user: UserIndex,
        (uri, flow, routes): (Uri, Flow, Vec<NameAddr>),
    ) -> Option<Wanted> {
        let knows = self.messages.subscribers(user);
        let mut knows = knows
            .iter()
            .filter_map(|id| self.messages.subscriptions.get(id));
        if knows.any(|own| own.flow.peer == flow.peer) {
            return None;
        }
        let own = account(settings, user, &flow);
        let mut request = Request::new(Method::Notify, uri);
        let headers = &mut request.headers;
        headers.push("Max-Forwards", "70");
        for route in &routes {
            headers.push("Route", route.to_string());
        }
        let from = NameAddr::new(own.clone()).with_tag(&self.tokens.tag());
        headers.push("From", from.to_string());
        headers.push("To", NameAddr::new(own).to_string());
        headers.push("Call-ID", self.tokens.call_id());
        headers.push("CSeq", "1 NOTIFY");
        headers.push("Contact", contact(settings, &flow));
        headers.push("Event", PACKAGE);
        headers.push("Subscription-State", "active");
        request.set_body(SUMMARY, self.summary(settings, user, &flow));
        Some(self.send_own(Purpose::Tell(user), flow, Box::new(request)))
    }

    /// Somebody known wants to be told (RFC 6665 §4.2.1): a user of their own mailbox. A trunk has none.
    pub(in crate::engine) fn subscribe(
        &mut self,
        now: Instant,
        settings: &Settings,
        (flow, party): (&Flow, Party),
        request: &Request,
    ) -> (Response, Vec<Wanted>) {
        let no = |code| (refusal(settings, request, code, None), Vec::new());
        if let Err(code) = understood(request) {
            return refused(settings, request, code);
        }
        let Party::User(user) = party else {
            return no(403);
        };
        let asked = user_with(settings, &number(&request.uri));
        match asked {
            Some(other) if other != user => return no(403),
            _ if settings.users[user.0].mailbox.is_none() => return no(404),
            _ => {}
        }
        if self.messages.subscribers(user).len() >= SUBSCRIPTIONS {
            let why = "too many subscriptions";
            let response = unavailable(settings, request, LATER_S, why);
            return (response, Vec::new());
        }
        let back = way_back(request, *flow);
        let tag = self.tokens.tag();
        let expires_s = match expires(request) {
            Ok(expires_s) => expires_s,
            Err(code) => return refused(settings, request, code),
        };
        let mut response = granted(settings, request, &back, expires_s);
        response.set_to_tag(&tag);
        let Ok(dialog) = Dialog::uas(request, &response, back) else {
            return no(400);
        };
        let id = dialog.id().clone();
        self.messages.keep(Subscription {
            user,
            dialog,
            flow: back,
            id: event_id(request),
            until: now + Duration::from_secs(expires_s.into()),
        });
        let wanted = self.said_again(now, settings, &id, expires_s);
        (response, wanted)
    }

    /// Whether this dialog is a subscription's.
    pub(in crate::engine) fn is_subscription(&self, id: &DialogId) -> bool {
        self.messages.subscriptions.contains_key(id)
    }

    /// A subscription is renewed or ended by the one who has it.
    pub(in crate::engine) fn subscribe_again(
        &mut self,
        now: Instant,
        settings: &Settings,
        (flow, id): (&Flow, &DialogId),
        request: &Request,
    ) -> (Response, Vec<Wanted>) {
        let no = |code| (refusal(settings, request, code, None), Vec::new());
        let expires_s = match understood(request).and_then(|()| expires(request)) {
            Ok(expires_s) => expires_s,
            Err(code) => return refused(settings, request, code),
        };
        let Some(mut own) = self.messages.take(id) else {
            return no(481);
        };
        let received = own.dialog.receive(request);
        let fits = received.is_ok() && own.id == event_id(request);
        if fits {
            own.flow = way_back(request, *flow);
            own.until = now + Duration::from_secs(expires_s.into());
        }
        let way = own.flow;
        self.messages.keep(own);
        match received {
            Err(_) => no(500),
            Ok(()) if !fits => no(481),
            Ok(()) => {
                let response = granted(settings, request, &way, expires_s);
                (response, self.said_again(now, settings, id, expires_s))
            }
        }
    }

    /// Each SUBSCRIBE is followed by what there is to know (RFC 6665 §4.2.1.2).
    fn said_again(
        &mut self,
        now: Instant,
        settings: &Settings,
        id: &DialogId,
        expires_s: u32,
    ) -> Vec<Wanted> {
        let state = match expires_s {
            0 => State::TimedOut,
            _ => State::Active,
        };
        self.notify(now, settings, id, state).into_iter().collect()
    }

    /// Subscriptions that are not renewed are over; who could not be told is told again.
    pub(super) fn messages_due(&mut self, now: Instant, settings: &Settings) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for user in self.messages.untold.due(now) {
            let told = self.tell_phones(now, settings, user);
            if told.is_empty() {
                self.messages.untold.forget(user);
            }
            wanted.extend(told);
        }
        while let Some((_, id)) = self
            .messages
            .ends
            .first()
            .filter(|(at, _)| *at <= now)
            .cloned()
        {
            wanted.extend(self.notify(now, settings, &id, State::TimedOut));
        }
        wanted
    }

    /// The node goes down: who has subscribed may do so elsewhere.
    pub(super) fn end_subscriptions(&mut self, now: Instant, settings: &Settings) -> Vec<Wanted> {
        self.messages.untold.end();
        let all: Vec<DialogId> = self.messages.subscriptions.keys().cloned().collect();
        all.iter()
            .filter_map(|id| self.notify(now, settings, id, State::Deactivated))
            .collect()
    }

    /// A NOTIFY within a subscription, which is over with it or goes on.
    fn notify(
        &mut self,
        now: Instant,
        settings: &Settings,
        id: &DialogId,
        state: State,
    ) -> Option<Wanted> {
        let own = self.messages.subscriptions.get_mut(id)?;
        let (user, flow) = (own.user, own.flow);
        let left_s = own.until.saturating_duration_since(now).as_secs();
        let mut request = own.dialog.request(Method::Notify);
        let event = match &own.id {
            Some(id) => format!("{PACKAGE};id={id}"),
            None => PACKAGE.to_owned(),
        };
        let headers = &mut request.headers;
        headers.push("Contact", contact(settings, &flow));
        headers.push("Event", event);
        headers.push(
            "Subscription-State",
            match state {
                State::Active => format!("active;expires={left_s}"),
                State::TimedOut => "terminated;reason=timeout".to_owned(),
                State::Deactivated => "terminated;reason=deactivated".to_owned(),
            },
        );
        request.set_body(SUMMARY, self.summary(settings, user, &flow));
        let purpose = match state {
            State::Active => Purpose::Notify(Some(id.clone())),
            State::TimedOut | State::Deactivated => {
                self.messages.forget(id);
                Purpose::Notify(None)
            }
        };
        Some(self.send_own(purpose, flow, Box::new(request)))
    }

    /// The body (RFC 3842 §3.5).
    fn summary(&self, settings: &Settings, user: UserIndex, flow: &Flow) -> Bytes {
        let Counts { new, old } = self.messages.counts(user);
        let waiting = if new > 0 { "yes" } else { "no" };
        let account = account(settings, user, flow);
        Bytes::from(format!(
            "Messages-Waiting: {waiting}\r\nMessage-Account: {account}\r\n\
             Voice-Message: {new}/{old} (0/0)\r\n"
        ))
    }
}

/// The mailbox as the phone knows it.
fn account(settings: &Settings, UserIndex(at): UserIndex, flow: &Flow) -> Uri {
    let user = &settings.users[at];
    let own = settings.local.on(flow.transport, flow.peer.ip());
    let known_as = user.numbers.first().unwrap_or(&user.name);
    uri_at(
        Some(&escaped(known_as)),
        own.unwrap_or(flow.local),
        flow.transport,
    )
}

/// Whether a SUBSCRIBE asks for what there is; the status that refuses it, if not.
fn understood(request: &Request) -> Result<(), u16> {
    let event = request.headers.value("Event").unwrap_or_default();
    let package = event.split(';').next().unwrap_or_default().trim();
    if !package.eq_ignore_ascii_case(PACKAGE) {
        return Err(489);
    }
    if request.contact().is_err() || request.record_routes().is_err() {
        return Err(400);
    }
    if !crate::role::b2bua::carry::required(request).is_empty() {
        return Err(420);
    }
    let takes = |kind: &str| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        [SUMMARY, "application/*", "*/*"]
            .iter()
            .any(|k| k.eq_ignore_ascii_case(kind))
    };
    let mut kinds = request.headers.values("Accept").flat_map(|v| v.split(','));
    match !request.headers.has("Accept") || kinds.any(takes) {
        true => Ok(()),
        false => Err(406),
    }
}

/// How long a subscription is to live, in seconds; 0 ends it.
fn expires(request: &Request) -> Result<u32, u16> {
    let (least, usual, most) = EXPIRES_S;
    let Some(asked) = request.headers.value("Expires") else {
        return Ok(usual);
    };
    match asked.trim().parse::<u32>() {
        Ok(0) => Ok(0),
        Ok(asked) if asked < least => Err(423),
        Ok(asked) => Ok(asked.min(most)),
        Err(_) => Err(400),
    }
}

/// `id` of the Event field (RFC 6665 §8.2.1): what can stand in one of ours.
fn event_id(request: &Request) -> Option<String> {
    let event = request.headers.value("Event")?;
    let params = event
        .split(';')
        .skip(1)
        .filter_map(|param| param.split_once('='));
    let id = params.map(|(name, value)| (name.trim(), value.trim()));
    let (_, id) = id
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("id"))?;
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    (!id.is_empty() && id.len() <= 64 && id.chars().all(is_token)).then(|| id.to_owned())
}

fn refused(settings: &Settings, request: &Request, code: u16) -> (Response, Vec<Wanted>) {
    let mut response = refusal(settings, request, code, None);
    match code {
        406 => response.headers.push("Accept", SUMMARY),
        423 => response
            .headers
            .push("Min-Expires", EXPIRES_S.0.to_string()),
        489 => response.headers.push("Allow-Events", PACKAGE),
        _ => {}
    }
    (response, Vec::new())
}

/// The 200 to a SUBSCRIBE.
fn granted(settings: &Settings, request: &Request, way: &Flow, expires_s: u32) -> Response {
    let mut response = Response::to(request, StatusCode::OK);
    for route in request.headers.values("Record-Route") {
        response.headers.push("Record-Route", route);
    }
    introduce(&mut response.headers, &contact(settings, way));
    response.headers.push("Expires", expires_s.to_string());
    response.headers.push("Allow-Events", PACKAGE);
    let server = settings.server_name.as_str();
    response.headers.push("Server", server);
    response
}
