//! What the engine does for its reach: questions to the DNS, requests of its own, answers to calls
//! that asked where somebody is.

use std::sync::Arc;
use std::time::Instant;

use duolog_sip::endpoint::{self, ClientKey};
use duolog_sip::{Flow, Request, Response};

use super::reach::{Reach, Wanted};
use super::{Engine, Output, Work};
use crate::log::{CallLog, LogEvent};
use crate::media::CallId;
use crate::route::{Route, route_again};
use crate::target::{AskId, Question};

impl Engine {
    /// Does what the reach wants.
    pub(super) fn carry_out(&mut self, now: Instant, wanted: Vec<Wanted>, work: &mut Work) {
        for wanted in wanted {
            match wanted {
                Wanted::Resolve(id, question) => work.out.push(Output::Resolve { id, question }),
                Wanted::Send(key, flow, request) => {
                    let larger = None;
                    let request = *request;
                    let input = endpoint::Input::Request {
                        key,
                        flow,
                        request,
                        larger,
                    };
                    self.tell(now, input, work);
                }
                Wanted::Found(call, ask, answer) => {
                    self.with_call(now, call, work, |call, cx| call.found(cx, ask, answer));
                }
                Wanted::Registered(trunk, state) => {
                    let name = self.settings.trunks[trunk.0].name.clone();
                    let event = LogEvent::Registration { trunk: name, state };
                    work.out.push(Output::Log(no_call(event)));
                }
            }
        }
    }

    /// Where the callee of a route is; the call hears of it at once or later.
    pub(super) fn find(
        &mut self,
        now: Instant,
        of: (CallId, AskId),
        route: Route,
        work: &mut Work,
    ) {
        let settings = Arc::clone(&self.settings);
        let wanted = self.reach.find(now, &settings, of, route);
        self.carry_out(now, wanted, work);
    }

    /// A call asks where somebody is that a redirection or a transfer names.
    pub(super) fn asked(
        &mut self,
        now: Instant,
        (call, ask): (CallId, AskId),
        question: &Question,
        work: &mut Work,
    ) {
        let settings = Arc::clone(&self.settings);
        match route_again(&settings, question.from, &question.target) {
            Ok(route) => self.find(now, (call, ask), route, work),
            Err(why) => {
                self.with_call(now, call, work, |call, cx| call.found(cx, ask, Err(why)));
            }
        }
    }

    /// A request of a call goes out.
    pub(super) fn goes_out(
        &mut self,
        now: Instant,
        (key, flow): (ClientKey, Flow),
        mut request: Request,
        work: &mut Work,
    ) {
        let larger = self.reach.larger(&self.settings, &flow);
        if let Some(trunk) = self.reach.trunk_on(&flow) {
            self.reach.sign(&self.settings, (key, trunk), &mut request);
        }
        // Who may be reached either way, and whose Contact says TCP, gets no datagrams (RFC 3261 §12.2).
        let says = request.uri.transport();
        let says_tcp = says.is_some_and(|says| says.eq_ignore_ascii_case("tcp"));
        let flow = larger.filter(|_| says_tcp).unwrap_or(flow);
        let input = endpoint::Input::Request {
            key,
            flow,
            request,
            larger,
        };
        self.tell(now, input, work);
    }

    /// A response: to a request of the engine's own, to one that has to be sent again with a digest,
    /// or a call's.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        key: ClientKey,
        response: Response,
        work: &mut Work,
    ) {
        let settings = Arc::clone(&self.settings);
        if Reach::is_own(key) {
            let wanted = self.reach.own_answered(now, &settings, key, response);
            return self.carry_out(now, wanted, work);
        }
        let call = crate::role::b2bua::call_of(key);
        match self.reach.signed_again(&settings, key, &response) {
            Some(request) => {
                self.with_call(now, call, work, |call, cx| {
                    call.challenged(cx, key, request)
                });
            }
            None => self.with_call(now, call, work, |call, cx| call.response(cx, key, response)),
        }
    }

    /// A request failed without an answer.
    pub(super) fn unanswered(
        &mut self,
        now: Instant,
        key: ClientKey,
        failure: endpoint::ClientFailure,
        work: &mut Work,
    ) {
        if Reach::is_own(key) {
            let settings = Arc::clone(&self.settings);
            let wanted = self.reach.own_failed(now, &settings, key);
            return self.carry_out(now, wanted, work);
        }
        self.reach.forget(key);
        let call = crate::role::b2bua::call_of(key);
        self.with_call(now, call, work, |call, cx| {
            call.client_failed(cx, key, failure);
        });
    }
}

impl Engine {
    /// The node goes down: its registrations are taken back.
    pub(super) fn unregister(&mut self, now: Instant, work: &mut Work) {
        let settings = Arc::clone(&self.settings);
        let wanted = self.reach.unregister(now, &settings);
        self.carry_out(now, wanted, work);
    }
}

/// A line about something that belongs to no call.
pub(super) fn no_call(event: LogEvent) -> CallLog {
    CallLog {
        call: None,
        call_id: String::new(),
        event,
    }
}
