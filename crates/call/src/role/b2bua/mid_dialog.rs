//! What happens while a call stands: re-INVITE, INFO, OPTIONS.

use duolog_sip::endpoint::{ClientFailure, ClientKey, ServerKey};
use duolog_sip::{Method, Request, Response, StatusCode};

use crate::answer::capabilities;
use crate::fact::{HungUpBy, Means, Side};
use crate::recording::Control;
use crate::role::b2bua::carry::required;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::handoff::Handing;
use crate::role::b2bua::indication::Describing;
use crate::role::b2bua::leg::Stage;
use crate::role::b2bua::session::{Exchange, Offer, Unacked};
use crate::role::b2bua::session_timer::Again;
use crate::role::b2bua::{Body, Call, Phase, RELAYS, Relay};

impl Call {
    /// An INVITE within the dialog of `side`: it goes to the other side.
    pub(super) fn invited_again(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
    ) {
        if let Some(exchange) = &self.exchange {
            // RFC 3261 §14.2: 500 to the one who has not waited for its own, 491 to the other.
            let waiting = exchange.asker == side && self.is_unanswered(exchange);
            let status = if waiting { 500 } else { 491 };
            return self.refuse(cx, key, &request, status, None);
        }
        if let Some(status) = self.glare(side) {
            return self.refuse(cx, key, &request, status, None);
        }
        if !required(&request).is_empty() {
            return self.refuse(cx, key, &request, 420, None);
        }
        if let Err(least) = self.interval_asked(cx, side, &request) {
            return self.refuse_interval(cx, key, &request, least);
        }
        let Ok(body) = Body::read(&request.headers, &request.body) else {
            return self.refuse(cx, key, &request, 400, Some("bad session description"));
        };
        if let Some(offer) = body.description() {
            self.preferred(cx, side, offer, Describing::Offer);
        }
        self.invite_across(cx, side, key, request, &body);
    }

    fn invite_across(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
        body: &Body,
    ) {
        let far = side.other();
        if self.leg(far).stage != Stage::Established {
            return self.refuse(cx, key, &request, 491, None);
        }
        let carried = match self.carry_offer(cx.settings, far, body) {
            Ok(carried) => carried,
            Err(why) => return self.refuse_session(cx, key, &request, &why),
        };
        let Some(mut invite) = self.across(cx, far, Method::Invite, &request) else {
            return self.refuse(cx, key, &request, 491, None);
        };
        invite.body = carried.bytes;
        let client = self.next_key();
        self.limit = Some(cx.now + cx.settings.ring_limit);
        self.exchange = Some(Exchange {
            asker: side,
            server: key,
            request,
            client: Some(client),
            offer: Offer::of(body),
            told: carried.told,
            unacked: None,
        });
        cx.act(Action::Request(client, self.leg(far).flow, invite));
    }

    /// The other side's answer to a carried INVITE.
    pub(super) fn later_answer(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        response: &Response,
    ) {
        if !response.status.is_final() || self.asked_again(cx, response) {
            return;
        }
        let Some(exchange) = self.exchange.as_mut() else {
            return;
        };
        exchange.client = None;
        let asker = exchange.asker;
        let request = exchange.request.clone();
        self.limit = None;
        if !response.status.is_success() {
            return self.asker_refused(cx, asker, &request, response);
        }
        let now = cx.now;
        self.refreshed_by(now, asker.other(), response);
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        let answer = match self.take_answer(cx, Unacked { client: key, cseq }, response) {
            Ok(answer) => answer,
            Err(why) => {
                // Both keep what they had (RFC 3261 §14.1).
                if let Some(exchange) = self.exchange.take() {
                    self.refuse_session(cx, exchange.server, &exchange.request, &why);
                }
                return;
            }
        };
        let mut reply = self.reply(cx, &request, asker, response);
        answer.put(&mut reply);
        self.grant_interval(cx, asker, &request, &mut reply);
        self.respond_to_asker(cx, reply);
    }

    /// A 422 is about our session interval: the other side is asked again (RFC 4028 §7.3).
    fn asked_again(&mut self, cx: &mut Context<'_>, response: &Response) -> bool {
        let Some(far) = self.exchange.as_ref().map(|e| e.asker.other()) else {
            return false;
        };
        let timer = &mut self.leg_mut(far).dialogue.timer;
        if response.status.code() != 422 || timer.refused(response) == Again::No {
            return false;
        }
        let Some(exchange) = self.exchange.take() else {
            return false;
        };
        let body = Body::read(&exchange.request.headers, &exchange.request.body);
        if let Ok(body) = body {
            self.invite_across(cx, far.other(), exchange.server, exchange.request, &body);
        }
        true
    }

    fn asker_refused(
        &mut self,
        cx: &mut Context<'_>,
        asker: Side,
        request: &Request,
        response: &Response,
    ) {
        let mut reply = self.reply(cx, request, asker, response);
        reply.headers.remove("Contact");
        reply.body = response.body.clone();
        self.respond_to_asker(cx, reply);
        self.exchange = None;
        // The dialog is gone (RFC 3261 §14.1).
        if matches!(response.status.code(), 408 | 481) {
            self.end(cx, HungUpBy::DialogLost(asker.other()));
        }
    }

    /// Refuses the INVITE of the running exchange, which is over then.
    fn refuse_exchange(&mut self, cx: &mut Context<'_>, status: u16) {
        if let Some(exchange) = self.exchange.take() {
            self.refuse(cx, exchange.server, &exchange.request, status, None);
        }
    }

    /// Our INVITE failed without an answer.
    pub(super) fn exchange_failed(&mut self, cx: &mut Context<'_>, why: ClientFailure) {
        let far = self
            .exchange
            .as_ref()
            .map(|exchange| exchange.asker.other());
        self.limit = None;
        if why == ClientFailure::Transport {
            // The path failed, not the dialog: the session stands as it did (RFC 3261 §14.1).
            return self.refuse_exchange(cx, 500);
        }
        self.refuse_exchange(cx, 408);
        if let Some(far) = far {
            self.end(cx, HungUpBy::DialogLost(far));
        }
    }

    /// The callee rings for too long, or an INVITE within the call gets no final answer.
    pub(super) fn took_too_long(&mut self, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Opening => self.fail(cx, 503, HungUpBy::NoPorts),
            Phase::Inviting => {
                if self.leave_message(cx, HungUpBy::NoAnswer) == Handing::NotDone {
                    self.fail(cx, 408, HungUpBy::NoAnswer);
                }
            }
            Phase::Answered | Phase::Connected | Phase::Over => {
                let waiting = self.exchange.as_ref();
                let waiting = waiting.and_then(|e| Some((e.client?, e.asker.other())));
                if let Some((client, far)) = waiting {
                    self.abandon(cx, client, far);
                    self.refuse_exchange(cx, 408);
                }
            }
        }
    }

    /// INFO: a control of the recording, a key of its owner, or something between the two parties.
    pub(super) fn info(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
    ) {
        let Some(value) = request.headers.value("Record") else {
            if !self.info_key(cx, side, key, &request) {
                self.relay(cx, side, key, request);
            }
            return;
        };
        let Some(control) = control_of(value) else {
            let why = "Record is on, off, pause or resume";
            return self.refuse(cx, key, &request, 489, Some(why));
        };
        match self.recorded.control(cx, side, Means::Info, control) {
            Ok(()) => {
                let mut response = Response::to(&request, StatusCode::OK);
                response
                    .headers
                    .push("Server", cx.settings.server_name.as_str());
                cx.act(Action::Respond(key, response));
            }
            Err(why) => self.refuse(cx, key, &request, 403, Some(&why.to_string())),
        }
    }

    /// Something between the two parties: it passes, and so does its answer.
    pub(super) fn relay(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
    ) {
        if !required(&request).is_empty() {
            return self.refuse(cx, key, &request, 420, None);
        }
        if self.relays.len() >= RELAYS {
            return self.refuse(cx, key, &request, 500, Some("too many requests wait"));
        }
        let far = side.other();
        let Some(mut carried) = self.across(cx, far, request.method.clone(), &request) else {
            let why = Some("the other party is not connected");
            return self.refuse(cx, key, &request, 480, why);
        };
        carried.body = request.body.clone();
        let client = self.next_key();
        self.relays.push(Relay {
            asker: key,
            request,
            client,
            side,
        });
        cx.act(Action::Request(client, self.leg(far).flow, carried));
    }

    pub(super) fn relay_answered(&mut self, cx: &mut Context<'_>, at: usize, response: &Response) {
        if !response.status.is_final() {
            return;
        }
        let relay = self.relays.swap_remove(at);
        let mut reply = Response::to(&relay.request, response.status);
        reply.reason.clone_from(&response.reason);
        reply.set_to_tag(&self.leg(relay.side).tag);
        let far = relay.side.other();
        self.pass(cx.settings, far, &response.headers, &mut reply.headers);
        if response.status.is_success() && makes_usage(&relay.request.method) {
            let contact = self.leg(relay.side).contact(cx.settings);
            reply.headers.push("Contact", contact);
        }
        reply.body = response.body.clone();
        cx.act(Action::Respond(relay.asker, reply));
    }

    /// OPTIONS within a dialog asks about this node (RFC 3261 §11).
    pub(super) fn options(
        &self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: &Request,
    ) {
        let mut response = capabilities(cx.settings, request);
        response
            .headers
            .push("Contact", self.leg(side).contact(cx.settings));
        cx.act(Action::Respond(key, response));
    }
}

/// Whether a request and its 2xx say where their senders are (RFC 6665 §8.2.1).
pub(super) fn makes_usage(method: &Method) -> bool {
    matches!(method, Method::Subscribe | Method::Notify)
}

/// What `Record:` asks for; other values are not known.
pub(crate) fn control_of(value: &str) -> Option<Control> {
    let value = value.trim();
    [
        ("on", Control::Start),
        ("off", Control::Stop),
        ("pause", Control::Pause),
        ("resume", Control::Resume),
    ]
    .into_iter()
    .find(|(name, _)| name.eq_ignore_ascii_case(value))
    .map(|(_, control)| control)
}
