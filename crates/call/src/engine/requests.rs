//! Requests that come in: within a call, for a new call, or neither.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use duolog_reach::registrar::Outcome;
use duolog_sip::endpoint::{self, DropReason, ServerKey};
use duolog_sip::{DialogId, Flow, Method, Request, Response};

use super::outside::no_call;
use super::reach::{Door, Sender};
use super::{Engine, Output, Slot, Work};
use crate::answer::{capabilities, refusal, too_small, unavailable};
use crate::fact::{HungUpBy, Side};
use crate::log::{CallLog, LogEvent};
use crate::media::{CallId, End, Ending, MediaCommand};
use crate::plan::decide;
use crate::policy::OnFailure;
use crate::role::Role;
use crate::role::b2bua::carry::required;
use crate::role::b2bua::context::Context;
use crate::role::b2bua::identity::believed_diversions;
use crate::role::b2bua::session_timer::shortest_session;
use crate::role::b2bua::{Begin, Body, Call, Offer, Reached, caller_number, closing, opening};
use crate::route::{NoRoute, Party, route};
use crate::target::AskId;

/// When somebody who asked too much may ask again, in seconds.
const LATER_S: u32 = 5;

impl Engine {
    /// A message has come: it is read if its source may be heard.
    pub(super) fn received(&mut self, now: Instant, flow: Flow, bytes: Bytes, work: &mut Work) {
        let door = self.reach.door(now, &flow, &bytes);
        if door == Door::Shut {
            return work.out.push(Output::Log(no_call(LogEvent::Limited)));
        }
        self.tell(now, endpoint::Input::Received { flow, bytes }, work);
        let bad = |event: &endpoint::Output| {
            use endpoint::Output::Dropped;
            matches!(
                event,
                Dropped(DropReason::Malformed(_) | DropReason::Header(_))
            )
        };
        if work.events.iter().any(bad) {
            self.reach.was_bad(now, &flow);
        }
        if door == Door::Later {
            self.put_off(now, work);
        }
    }

    /// New requests of a source that has asked too much are answered 503; nothing is kept of them.
    fn put_off(&mut self, now: Instant, work: &mut Work) {
        for event in std::mem::take(&mut work.events) {
            match event {
                endpoint::Output::Request { key, request, .. } if !self.is_within(&request) => {
                    work.out.push(Output::Log(no_call(LogEvent::Limited)));
                    let why = "too many requests";
                    let response = unavailable(&self.settings, &request, LATER_S, why);
                    let input = endpoint::Input::RespondOnce { key, response };
                    self.tell(now, input, work);
                }
                other => work.events.push_back(other),
            }
        }
    }

    /// Whether a request belongs to a call: a BYE is not put off.
    fn is_within(&self, request: &Request) -> bool {
        let dialog = DialogId::of_request(request);
        dialog.is_ok_and(|dialog| self.dialogs.contains_key(&dialog))
    }

    pub(super) fn request(
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
                    call.heard_on(side, flow, &request);
                    call.request(cx, side, key, request);
                });
            }
            (Method::Register, None) if !within => self.register(now, (key, flow), &request, work),
            (Method::Invite, None) if !within => self.invited(now, key, flow, request, work),
            (Method::Subscribe, None) if !within => {
                self.subscribing(now, (key, flow), &request, work);
            }
            (Method::Subscribe, None) if self.is_subscription(&request) => {
                self.subscribing_again(now, (key, flow), &request, work);
            }
            // Whoever asks is told that it is over, and asks for a new one (RFC 6665 §4.1.2.2).
            (Method::Subscribe, None) => self.refuse_once(now, key, &request, (481, None), work),
            (_, None) if !self.reach.is_neighbour(now, &self.settings, &flow) => {
                self.stranger(now, key, &request, work);
            }
            (_, None) if within => self.refuse(now, key, &request, 481, None, work),
            (Method::Options, None) => self.options(now, key, &request, work),
            (Method::Bye | Method::Info | Method::Update | Method::Prack, None) => {
                self.refuse(now, key, &request, 481, None, work);
            }
            (Method::Extension(_), None) => self.refuse(now, key, &request, 501, None, work),
            _ => self.refuse(now, key, &request, 405, None, work),
        }
    }

    /// A phone registers. What a stranger asks and is refused leaves nothing behind.
    fn register(
        &mut self,
        now: Instant,
        (key, flow): (ServerKey, Flow),
        request: &Request,
        work: &mut Work,
    ) {
        let settings = Arc::clone(&self.settings);
        let registered = self.reach.register(now, &settings, &flow, request);
        let response = registered.response;
        let call_id = response.call_id().unwrap_or_default().to_owned();
        let kept = response.status.is_success();
        let bound = match &registered.outcome {
            Outcome::Bound(name) => Some(name.clone()),
            _ => None,
        };
        work.out.push(Output::Log(CallLog {
            call: None,
            call_id,
            event: LogEvent::Registrar(registered.outcome),
        }));
        let input = match kept {
            true => endpoint::Input::Respond { key, response },
            false => endpoint::Input::RespondOnce { key, response },
        };
        self.tell(now, input, work);
        if let Some(name) = bound {
            let wanted = self
                .reach
                .registered_for_messages(now, &settings, &name, &flow);
            self.carry_out(now, wanted, work);
        }
    }

    /// An INVITE that may begin a call: who is it from?
    fn invited(
        &mut self,
        now: Instant,
        key: ServerKey,
        flow: Flow,
        invite: Request,
        work: &mut Work,
    ) {
        let settings = Arc::clone(&self.settings);
        match self.reach.sender(now, &settings, &flow, &invite) {
            Sender::Known(caller) => self.invite(now, (key, flow), invite, caller, work),
            Sender::Answer(response) => {
                let response = *response;
                self.tell(now, endpoint::Input::RespondOnce { key, response }, work);
            }
            Sender::Unknown(NoRoute::UnknownSource) => self.stranger(now, key, &invite, work),
            Sender::Unknown(why) => {
                let reason = why.to_string();
                self.refuse(now, key, &invite, why.status_code(), Some(&reason), work);
            }
        }
    }

    /// One answer to somebody who is no neighbour: nothing is kept of it or repeated, so a flood, or
    /// one under false addresses, costs and harms little.
    pub(super) fn stranger(
        &mut self,
        now: Instant,
        key: ServerKey,
        request: &Request,
        work: &mut Work,
    ) {
        let within = request.to().is_ok_and(|to| to.tag().is_some());
        if request.method == Method::Options && !within {
            return self.options(now, key, request, work);
        }
        let why = NoRoute::UnknownSource;
        let reason = why.to_string();
        let refused = (why.status_code(), Some(reason.as_str()));
        self.refuse_once(now, key, request, refused, work);
    }

    /// One refusal, of which nothing is kept.
    fn refuse_once(
        &mut self,
        now: Instant,
        key: ServerKey,
        request: &Request,
        (status, reason): (u16, Option<&str>),
        work: &mut Work,
    ) {
        let response = refusal(&self.settings, request, status, reason);
        work.out.push(Output::Log(CallLog {
            call: None,
            call_id: response.call_id().unwrap_or_default().to_owned(),
            event: LogEvent::Dropped(DropReason::Refused(response.status)),
        }));
        self.tell(now, endpoint::Input::RespondOnce { key, response }, work);
    }

    fn options(&mut self, now: Instant, key: ServerKey, request: &Request, work: &mut Work) {
        if !required(request).is_empty() {
            let response = refusal(&self.settings, request, 420, None);
            let input = endpoint::Input::RespondOnce { key, response };
            return self.tell(now, input, work);
        }
        let response = match self.admission.refusal(&self.settings) {
            Some(closed) => unavailable(
                &self.settings,
                request,
                closed.retry_after_s,
                &closed.reason,
            ),
            None => capabilities(&self.settings, request),
        };
        self.tell(now, endpoint::Input::RespondOnce { key, response }, work);
    }

    /// A new call, or the reason why not.
    fn invite(
        &mut self,
        now: Instant,
        (key, flow): (ServerKey, Flow),
        invite: Request,
        caller: Party,
        work: &mut Work,
    ) {
        let settings = Arc::clone(&self.settings);
        if !required(&invite).is_empty() {
            return self.refuse(now, key, &invite, 420, None, work);
        }
        if let Some(least_s) = shortest_session(settings.session_timer, &invite) {
            let response = too_small(&settings, &invite, least_s);
            return self.respond_refusal(now, key, response, work);
        }
        // Without these there is no way back to the caller, and so no dialog (RFC 3261 §12.1.1).
        let way_back = invite.contact().is_ok() && invite.record_routes().is_ok();
        let (Ok(_), true) = (invite.from(), way_back) else {
            let why = "no usable From, Contact or Record-Route";
            return self.refuse(now, key, &invite, 400, Some(why), work);
        };
        match invite.replaces() {
            Ok(None) => {}
            Ok(Some(replaces)) => {
                return self.replacing(now, (key, flow), invite, caller, &replaces, work);
            }
            Err(_) => return self.refuse(now, key, &invite, 400, Some("bad Replaces"), work),
        }
        let route = match route(&settings, caller, &invite.uri) {
            Ok(route) => route,
            Err(why) => {
                let reason = why.to_string();
                return self.refuse(now, key, &invite, why.status_code(), Some(&reason), work);
            }
        };
        let plan = {
            let calling = caller_number(&settings, route.caller, &invite);
            let diverted = believed_diversions(&settings, route.caller, &invite);
            decide(&settings, &route, &calling, &diverted)
        };
        let group = self.groups.choose([route.caller, route.callee]);
        let recording = self.ids.recording(now);
        let id = self.next_call();
        let offer = Offer::Awaited;
        let begin = Begin {
            id,
            server: key,
            flow,
            invite,
            offer,
            route,
            plan,
            recording,
            group,
        };
        self.admit(now, begin, work);
    }

    /// A call that has a route: it is taken, or refused and what is known of it kept.
    fn admit(&mut self, now: Instant, mut begin: Begin, work: &mut Work) {
        let settings = Arc::clone(&self.settings);
        let (id, key) = (begin.id, begin.server);
        if let Some(closed) = self.admission.refusal_of(&settings, &begin.plan) {
            let invite = &begin.invite;
            let response = unavailable(&settings, invite, closed.retry_after_s, &closed.reason);
            let ended = closing(HungUpBy::Gate, Reached::Offered);
            let reason = format!("{}: {}", ended.reason, closed.reason);
            self.keep_refused(now, &begin, (ended.unstarted, &reason), work);
            return self.respond_refusal(now, key, response, work);
        }
        match Body::read(&begin.invite.headers, &begin.invite.body) {
            Ok(body) => begin.offer = Offer::of(&body),
            Err(why) => {
                let ended = closing(HungUpBy::BadSession, Reached::Offered);
                self.keep_refused(now, &begin, (ended.unstarted, &ended.reason), work);
                return self.refuse(now, key, &begin.invite, 400, Some(&why.to_string()), work);
            }
        }
        let route = begin.route.clone();
        self.begin(now, begin, work);
        self.find(now, (id, AskId(0)), route, work);
    }

    fn begin(&mut self, now: Instant, begin: Begin, work: &mut Work) {
        let settings = Arc::clone(&self.settings);
        let (id, key) = (begin.id, begin.server);
        let mut cx = Context::new(
            now,
            &settings,
            &mut self.tokens,
            &mut self.keys,
            &mut self.ids,
        )
        .behind(&self.admission.gate);
        let call = Role::Between(Box::new(Call::begin(&mut cx, begin)));
        let actions = cx.actions;
        self.invites.insert(key, id);
        let slot = Slot {
            call,
            filed: None,
            connections: Vec::new(),
            users: Vec::new(),
        };
        self.calls.insert(id, slot);
        self.perform(now, id, actions, work);
        self.settle(id);
    }

    pub(super) fn next_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }

    /// A call that should have been recorded has its rows even if it was refused at its INVITE.
    fn keep_refused(
        &mut self,
        now: Instant,
        begin: &Begin,
        (end, reason): (End, &str),
        work: &mut Work,
    ) {
        let legs = [self.ids.leg(), self.ids.leg()];
        let mut first = Some(begin.recording);
        for plan in begin.plan.recordings() {
            let recording = first.take().unwrap_or_else(|| self.ids.recording(now));
            let [owner, other] = match plan.side {
                Side::Caller => legs,
                Side::Callee => [legs[1], legs[0]],
            };
            let ending = Ending {
                end,
                reason: reason.to_owned(),
            };
            let opening = Box::new(opening(&self.settings, begin, plan));
            let group = begin.group;
            for command in [
                MediaCommand::OpenRecording {
                    recording,
                    group,
                    owner,
                    other,
                    opening,
                },
                MediaCommand::CloseRecording { recording, ending },
            ] {
                work.out.push(Output::Media(command));
            }
            // What a node that ends turns away, others take.
            if end == End::Refused && !self.admission.drains() {
                let then = OnFailure::Refuse;
                let call_id = begin.invite.call_id().unwrap_or_default().to_owned();
                work.out.push(Output::Log(CallLog {
                    call: None,
                    call_id,
                    event: LogEvent::RecordingFailed { recording, then },
                }));
            }
        }
    }

    /// Answers a request that belongs to no call.
    pub(super) fn refuse(
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

    pub(super) fn respond(
        &mut self,
        now: Instant,
        key: ServerKey,
        response: Response,
        work: &mut Work,
    ) {
        self.tell(now, endpoint::Input::Respond { key, response }, work);
    }
}
