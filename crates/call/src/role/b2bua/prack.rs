//! Reliable provisional answers across the call (RFC 3262): where the caller can, the callee's answer
//! is acknowledged when the caller has acknowledged ours, and what is in their PRACKs crosses with
//! them; else this node acknowledges by itself.

use bytes::Bytes;
use duolog_sip::endpoint::{ClientKey, ServerKey};
use duolog_sip::sdp::SdpError;
use duolog_sip::{Flow, Headers, Method, RAck, Request, Response, StatusCode};

use crate::fact::{Fact, HungUpBy, Side};
use crate::role::b2bua::carry::required;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::Stage;
use crate::role::b2bua::reliable::{Acknowledged, Arrival, Contents, Far};
use crate::role::b2bua::session::{Offer, Offering, drop_body};
use crate::role::b2bua::session_timer::Again;
use crate::role::b2bua::{Body, Call};

/// The option tag (RFC 3262 §8.1).
const RELIABLE: &str = "100rel";

/// How a provisional answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// As always.
    Unreliably,
    /// It is to be acknowledged.
    Reliably(Far),
}

/// Whether the dialog of a provisional answer is the one that is heard before the 2xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Yes,
    No,
}

/// What the caller takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Provisional answers as RFC 3261 has them.
    Unreliable,
    /// Reliable ones where the callee sends them.
    Either,
    /// Only reliable ones.
    Reliable,
}

fn takes(invite: &Request) -> Takes {
    let has = |name| {
        invite
            .tags(name)
            .any(|tag| tag.eq_ignore_ascii_case(RELIABLE))
    };
    match (has("Require"), has("Supported")) {
        (true, _) => Takes::Reliable,
        (false, true) => Takes::Either,
        (false, false) => Takes::Unreliable,
    }
}

/// Tells a callee that provisional answers may be reliable. Not so where the callee is to make the
/// offer and the caller could not answer it before the 2xx.
pub(super) fn invite_reliably(invite: &Request, onward: &mut Headers) {
    if !invite.body.is_empty() || takes(invite) != Takes::Unreliable {
        onward.push("Supported", RELIABLE);
    }
}

impl Call {
    /// How a provisional answer of the callee came; `None` for a copy and for one before its turn, about
    /// which nothing is done.
    pub(super) fn came(&mut self, response: &Response) -> Option<Came> {
        self.callee.dialogue.can.learn(&response.headers);
        let to = response.to_addr().ok();
        let tag = to.as_ref().and_then(|to| to.tag()).unwrap_or_default();
        let reliably = response
            .tags("Require")
            .any(|t| t.eq_ignore_ascii_case(RELIABLE));
        let (Some(rseq), Ok(cseq)) = (response.rseq(), response.cseq()) else {
            return Some(Came::Unreliably);
        };
        if !reliably || tag.is_empty() {
            return Some(Came::Unreliably);
        }
        let tag = tag.to_owned();
        match self.callee.dialogue.received.arrives(&tag, rseq) {
            Arrival::Ignore => None,
            Arrival::Next => Some(Came::Reliably(Far {
                rack: RAck { rseq, cseq },
                tag,
            })),
        }
    }

    /// Puts into `reply` what of the body of a provisional answer goes to the caller.
    pub(super) fn early_body(
        &mut self,
        cx: &mut Context<'_>,
        reply: &mut Response,
        (came, speaks): (&Came, Speaks),
        response: &Response,
    ) -> Contents {
        let read = Body::read(&response.headers, &response.body);
        let bytes = match read {
            Ok(body) if body.description().is_none() => {
                reply.body = body.bytes();
                return Contents::Plain;
            }
            Ok(body) if speaks == Speaks::Yes => self.early_description(cx, came, &body),
            Ok(_) | Err(_) => None,
        };
        match bytes {
            Some(bytes) => {
                reply.body = bytes;
                Contents::Described
            }
            None => {
                drop_body(&mut reply.headers);
                Contents::Plain
            }
        }
    }

    /// An offer in an unreliable answer is none (RFC 3261 §13.2.1), a second answer neither; a bad one
    /// is dropped.
    fn early_description(
        &mut self,
        cx: &mut Context<'_>,
        came: &Came,
        body: &Body,
    ) -> Option<Bytes> {
        let exchange = self.exchange.as_ref()?;
        let takes = takes(&exchange.request);
        match (&exchange.offer, came, takes) {
            (Offer::Given(_), _, _) => {
                let answered = self.carry_answer(cx.settings, body).ok()?;
                let bytes = answered.bytes.clone();
                if self.callee.agreed.is_none() {
                    self.note(cx, Fact::EarlyMedia);
                }
                self.settle(cx, answered);
                // To a caller who takes nothing reliable this is a foretaste: the 2xx answers.
                let reliably = match came {
                    Came::Reliably(_) => takes != Takes::Unreliable,
                    Came::Unreliably => takes == Takes::Reliable,
                };
                if reliably {
                    self.settled();
                }
                Some(bytes)
            }
            (Offer::Awaited, Came::Reliably(_), Takes::Either | Takes::Reliable) => {
                self.early_offer(cx, body).ok()
            }
            _ => None,
        }
    }

    /// Offer and answer have passed before the 2xx.
    fn settled(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.offer = Offer::Settled;
        }
    }

    fn early_offer(&mut self, cx: &mut Context<'_>, body: &Body) -> Result<Bytes, SdpError> {
        let carried = self.carry_offer(cx.settings, Side::Caller, body)?;
        if let (Some(exchange), Some(offer)) = (&mut self.exchange, body.description()) {
            exchange.offer = Offer::Early(offer.clone());
            exchange.told = carried.told;
        }
        Ok(carried.bytes)
    }

    /// Sends a provisional answer to the caller, reliably where that is wanted.
    pub(super) fn ring(
        &mut self,
        cx: &mut Context<'_>,
        reply: Response,
        contents: Contents,
        (came, speaks): (Came, Speaks),
    ) {
        let Some(exchange) = &self.exchange else {
            return;
        };
        let (takes, server) = (takes(&exchange.request), exchange.server);
        let mut far = match came {
            Came::Reliably(far) => Some(far),
            Came::Unreliably => None,
        };
        let coupled = speaks == Speaks::Yes && takes != Takes::Unreliable;
        if let Some(far) = far.take_if(|_| !coupled) {
            self.acknowledge_early(cx, &far);
        }
        if far.is_none() && takes != Takes::Reliable {
            return cx.act(Action::Respond(server, reply));
        }
        let sending = &mut self.caller.dialogue.sending;
        if let Some(reply) = sending.send(cx.tokens, reply, contents, far) {
            cx.act(Action::Respond(server, reply));
        }
    }

    /// Acknowledges a reliable answer of the callee without the caller.
    fn acknowledge_early(&mut self, cx: &mut Context<'_>, far: &Far) {
        let key = self.next_key();
        if let Some((flow, prack)) = self.prack_for(far) {
            cx.act(Action::Request(key, flow, prack));
        }
    }

    fn prack_for(&mut self, far: &Far) -> Option<(Flow, Request)> {
        let callee = &mut self.callee;
        let heard = callee
            .dialog
            .as_mut()
            .filter(|d| d.id().remote_tag == far.tag);
        let (dialog, flow) = match heard {
            Some(dialog) => (dialog, callee.flow),
            None => self.setup.branches.as_mut()?.fork(&far.tag)?,
        };
        let mut prack = dialog.request(Method::Prack);
        prack.headers.push("RAck", far.rack.to_string());
        Some((flow, prack))
    }

    /// A PRACK of one party (RFC 3262 §3).
    pub(super) fn prack(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
    ) {
        if !required(&request).is_empty() {
            return self.refuse(cx, key, &request, 420, None);
        }
        let (Ok(rack), Ok(body)) = (request.rack(), Body::read(&request.headers, &request.body))
        else {
            return self.refuse(cx, key, &request, 400, Some("bad RAck or body"));
        };
        let dialogue = &mut self.leg_mut(side).dialogue;
        let Some(Acknowledged { rseq, far }) = dialogue.sending.acknowledged(&rack) else {
            return self.refuse(cx, key, &request, 481, None);
        };
        if let Some(exchange) = self
            .exchange
            .as_ref()
            .filter(|exchange| exchange.asker == side)
        {
            cx.act(Action::Pracked(exchange.server, rseq));
        }
        match far.and_then(|far| self.prack_for(&far)) {
            Some((_, prack)) => self.prack_across(cx, side, key, request, (prack, &body)),
            None => self.prack_here(cx, key, &request, &body),
        }
        self.ring_next(cx);
    }

    /// One for an answer that only ours was reliable of.
    fn prack_here(&self, cx: &mut Context<'_>, key: ServerKey, request: &Request, body: &Body) {
        if body.description().is_some() {
            // Nobody is there yet who could answer it.
            return self.refuse(cx, key, request, 488, Some("no further offer yet"));
        }
        let mut response = Response::to(request, StatusCode::OK);
        response
            .headers
            .push("Server", cx.settings.server_name.as_str());
        cx.act(Action::Respond(key, response));
    }

    fn prack_across(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
        (mut onward, body): (Request, &Body),
    ) {
        let rack = onward.headers.value("RAck").unwrap_or_default().to_owned();
        self.pass(cx.settings, side, &request.headers, &mut onward.headers);
        onward.headers.set("RAck", rack);
        onward.body = body.bytes();
        let early = self.exchange.as_ref().map(|exchange| &exchange.offer);
        let offering = match (body.description(), early) {
            (None, _) => None,
            (Some(_), Some(Offer::Early(_))) => {
                match self.carry_answer(cx.settings, body) {
                    Ok(answered) => {
                        onward.body = answered.bytes.clone();
                        self.settle(cx, answered);
                    }
                    Err(why) => {
                        self.refuse_session(cx, key, &request, &why);
                        return self.fail(cx, 488, HungUpBy::BadSession);
                    }
                }
                self.settled();
                None
            }
            (Some(theirs), Some(Offer::Settled)) if self.glare(side).is_none() => {
                let theirs = theirs.clone();
                match self.carry_offer(cx.settings, side.other(), body) {
                    Ok(carried) => {
                        onward.body = carried.bytes;
                        carried.told.map(|told| Offering {
                            offerer: side,
                            theirs,
                            told,
                        })
                    }
                    // The answer is acknowledged all the same, without the offer.
                    Err(why) => {
                        self.refuse_session(cx, key, &request, &why);
                        drop_body(&mut onward.headers);
                        onward.body = Bytes::new();
                        let client = self.next_key();
                        return cx.act(Action::Request(client, self.callee.flow, onward));
                    }
                }
            }
            (Some(_), _) => {
                drop_body(&mut onward.headers);
                onward.body = Bytes::new();
                None
            }
        };
        self.cross(cx, side, key, request, (Method::Prack, onward), offering);
    }

    /// What waited for a PRACK goes out.
    fn ring_next(&mut self, cx: &mut Context<'_>) {
        let Some(server) = self.exchange.as_ref().map(|exchange| exchange.server) else {
            return;
        };
        if let Some(next) = self.caller.dialogue.sending.next() {
            cx.act(Action::Respond(server, next));
        }
        if let Some(success) = self.caller.dialogue.sending.released() {
            self.answer_caller(cx, success);
        }
    }

    /// Sends the 2xx to the caller, now or when the caller has acknowledged what went before it
    /// (RFC 3262 §3).
    pub(super) fn answer_caller(&mut self, cx: &mut Context<'_>, mut success: Response) {
        let sending = &mut self.caller.dialogue.sending;
        if sending.holds_success() {
            return sending.hold(success);
        }
        sending.finish();
        self.caller.stage = Stage::Answered;
        if let Some(exchange) = &self.exchange {
            let (now, wanted) = (cx.now, cx.settings.session_timer);
            let timer = &mut self.caller.dialogue.timer;
            timer.grant(now, wanted, &exchange.request, &mut success);
        }
        self.respond_to_asker(cx, success);
    }

    /// A place refuses the session interval: it is asked again for a longer one (RFC 4028 §7.3).
    pub(super) fn interval_raised(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        response: &Response,
    ) -> bool {
        let Some(branches) = &mut self.setup.branches else {
            return false;
        };
        let sent = branches.branch(key).map(|branch| (*branch.sent).clone());
        let timer = &mut self.callee.dialogue.timer;
        let Some(mut again) = sent.filter(|_| timer.refused(response) == Again::Yes) else {
            return false;
        };
        timer.ask(cx.settings.session_timer, &mut again.headers);
        branches.challenged(cx, &mut self.keys, (key, again))
    }

    /// The caller has not acknowledged a reliable answer in time: the INVITE is refused (RFC 3262 §3).
    pub(crate) fn unpracked(&mut self, cx: &mut Context<'_>, key: ServerKey) {
        if self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.server == key)
        {
            self.fail(cx, 504, HungUpBy::NoAck);
        }
    }

    /// Whether the callee's 2xx waits for the caller's PRACK.
    pub(super) fn holds_answer(&self) -> bool {
        self.caller.dialogue.sending.is_holding()
    }

    /// The call is over while the callee's 2xx waited for the caller's PRACK: the INVITE is refused.
    pub(super) fn end_held(&mut self, cx: &mut Context<'_>, side: Side) {
        if side == Side::Caller
            && self.caller.dialogue.sending.withdrawn().is_some()
            && let Some(exchange) = self.exchange.take()
        {
            self.refuse(cx, exchange.server, &exchange.request, 487, None);
        }
    }
}
