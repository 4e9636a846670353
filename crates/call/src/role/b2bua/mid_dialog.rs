//! What happens while a call stands: re-INVITE, INFO, OPTIONS.

use duolog_sip::endpoint::{ClientFailure, ClientKey, ServerKey};
use duolog_sip::{Method, Request, Response, StatusCode};

use crate::answer::capabilities;
use crate::fact::{HungUpBy, Means, Side};
use crate::recording::{Control, Refusal};
use crate::role::b2bua::carry::{carry, max_forwards, required};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::introduce;
use crate::role::b2bua::session::{Exchange, Offer, Unacked};
use crate::role::b2bua::{Abandoned, Body, Call, Phase, RELAYS, Relay};

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
            let waiting = exchange.asker == side && exchange.client.is_some();
            let status = if waiting { 500 } else { 491 };
            return self.refuse(cx, key, &request, status, None);
        }
        if !required(&request).is_empty() {
            return self.refuse(cx, key, &request, 420, None);
        }
        let Ok(body) = Body::read(&request.headers, &request.body) else {
            return self.refuse(cx, key, &request, 400, Some("bad session description"));
        };
        let carried = match self.carry_offer(cx.settings, side.other(), &body) {
            Ok(carried) => carried,
            Err(why) => return self.refuse_session(cx, key, &request, &why),
        };
        let Some(mut invite) = self.leg_mut(side.other()).request(Method::Invite) else {
            return self.refuse(cx, key, &request, 491, None);
        };
        invite
            .headers
            .set("Max-Forwards", max_forwards(&request).to_string());
        introduce(
            &mut invite.headers,
            &self.leg(side.other()).contact(cx.settings),
        );
        carry(&request.headers, &mut invite.headers);
        invite.body = carried.bytes;
        let client = self.next_key();
        self.limit = Some(cx.now + cx.settings.ring_limit);
        self.exchange = Some(Exchange {
            asker: side,
            server: key,
            request,
            client: Some(client),
            offer: Offer::of(&body),
            told: carried.told,
            unacked: None,
        });
        cx.act(Action::Request(client, self.leg(side.other()).flow, invite));
    }

    /// The other side's answer to a carried INVITE.
    pub(super) fn later_answer(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        response: &Response,
    ) {
        let Some(exchange) = self
            .exchange
            .as_mut()
            .filter(|_| response.status.is_final())
        else {
            return;
        };
        exchange.client = None;
        let asker = exchange.asker;
        let request = exchange.request.clone();
        self.limit = None;
        if !response.status.is_success() {
            return self.asker_refused(cx, asker, &request, response);
        }
        if let Some(dialog) = &mut self.leg_mut(asker.other()).dialog {
            dialog.refresh(response);
        }
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
        self.respond_to_asker(cx, reply);
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
        if matches!(self.phase, Phase::Opening | Phase::Inviting) {
            return self.callee_unreachable(cx, why);
        }
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
            Phase::Inviting => self.fail(cx, 408, HungUpBy::NoAnswer),
            Phase::Answered | Phase::Connected | Phase::Over => {
                let waiting = self.exchange.as_ref().and_then(|exchange| {
                    Some(Abandoned::Again(exchange.client?, exchange.asker.other()))
                });
                if let Some(abandoned) = waiting {
                    cx.act(Action::Cancel(abandoned.key()));
                    self.abandoned.push(abandoned);
                    self.refuse_exchange(cx, 408);
                }
            }
        }
    }

    /// INFO: a control of the recording, or something between the two parties.
    pub(super) fn info(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
    ) {
        let control = request.headers.value("Record").and_then(control_of);
        let Some(control) = control else {
            return self.relay(cx, side, key, request);
        };
        let done = match &mut self.recorded {
            Some(recorded) => recorded.control(cx, side, Means::Info, control),
            None => Err(Refusal::NotRecorded),
        };
        match done {
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

    fn relay(&mut self, cx: &mut Context<'_>, side: Side, key: ServerKey, request: Request) {
        if !required(&request).is_empty() {
            return self.refuse(cx, key, &request, 420, None);
        }
        if self.relays.len() >= RELAYS {
            return self.refuse(cx, key, &request, 500, Some("too many requests wait"));
        }
        let far = side.other();
        let Some(mut carried) = self.leg_mut(far).request(request.method.clone()) else {
            return self.refuse(
                cx,
                key,
                &request,
                480,
                Some("the other party is not connected"),
            );
        };
        carried
            .headers
            .set("Max-Forwards", max_forwards(&request).to_string());
        carry(&request.headers, &mut carried.headers);
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
        carry(&response.headers, &mut reply.headers);
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

/// What `Record:` asks for; other values are not for this node.
fn control_of(value: &str) -> Option<Control> {
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
