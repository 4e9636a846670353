//! Requests that come in: within a call, for a new call, or neither.

use std::sync::Arc;
use std::time::Instant;

use duolog_sip::endpoint::{self, DropReason, ServerKey};
use duolog_sip::{DialogId, Flow, Method, Request, Response};

use super::{Engine, Output, Slot, Work};
use crate::answer::{capabilities, refusal, unavailable};
use crate::fact::HungUpBy;
use crate::ids::recording_id;
use crate::log::{CallLog, LogEvent};
use crate::media::{CallId, Ending, MediaCommand};
use crate::plan::{Plan, decide};
use crate::role::b2bua::carry::required;
use crate::role::b2bua::context::Context;
use crate::role::b2bua::{Begin, Body, Call, Offer, Reached, closing, legs_of, opening};
use crate::route::{NoRoute, is_neighbour, route};

impl Engine {
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
                    call.heard_on(side, flow);
                    call.request(cx, side, key, request);
                });
            }
            (_, None) if !is_neighbour(&self.settings, &flow) => {
                self.stranger(now, key, &request, work);
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

    /// One answer to somebody who is no neighbour: nothing is kept of it or repeated, so a flood, or
    /// one under false addresses, costs and harms little.
    fn stranger(&mut self, now: Instant, key: ServerKey, request: &Request, work: &mut Work) {
        let within = request.to().is_ok_and(|to| to.tag().is_some());
        if request.method == Method::Options && !within {
            return self.options(now, key, request, work);
        }
        let why = NoRoute::UnknownSource;
        let (status, reason) = (why.status_code(), why.to_string());
        let response = refusal(&self.settings, request, status, Some(&reason));
        work.out.push(Output::Log(CallLog {
            call: None,
            call_id: response.call_id().unwrap_or_default().to_owned(),
            event: LogEvent::Dropped(DropReason::Refused(response.status)),
        }));
        self.tell(now, endpoint::Input::RespondOnce { key, response }, work);
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
        self.tell(now, endpoint::Input::RespondOnce { key, response }, work);
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
        // Without these there is no way back to the caller, and so no dialog (RFC 3261 §12.1.1).
        let way_back = invite.contact().is_ok() && invite.record_routes().is_ok();
        let (Ok(from), true) = (invite.from(), way_back) else {
            let why = "no usable From, Contact or Record-Route";
            return self.refuse(now, key, &invite, 400, Some(why), work);
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
        let mut cx = Context::new(now, &settings, &mut self.tokens, &mut self.keys);
        let call = Box::new(Call::begin(&mut cx, begin));
        let actions = cx.actions;
        if let Some(recording) = call.recording() {
            self.recordings.insert(recording, id);
        }
        self.invites.insert(key, id);
        let (filed, connections) = (None, Vec::new());
        let slot = Slot {
            call,
            filed,
            connections,
        };
        self.calls.insert(id, slot);
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
