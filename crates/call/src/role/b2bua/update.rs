//! UPDATE (RFC 3311): one that only keeps a session alive is answered here; one with an offer goes to
//! the other party, as an UPDATE where that one takes it, else as a re-INVITE. With PRACK, the requests
//! other than INVITE that carry descriptions across.

use std::time::{Duration, Instant};

use duolog_sip::endpoint::{ClientFailure, ClientKey, ServerKey};
use duolog_sip::{Method, Request, Response, StatusCode};

use crate::answer::{refusal, too_small};
use crate::fact::{HungUpBy, Side};
use crate::role::b2bua::carry::{max_forwards, required};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::indication::Describing;
use crate::role::b2bua::leg::{Stage, introduce};
use crate::role::b2bua::mid_dialog::makes_usage;
use crate::role::b2bua::session::{Exchange, Offer, Offering, Unacked};
use crate::role::b2bua::session_timer::{Again, TooSmall};
use crate::role::b2bua::{Body, Call, Phase};

/// How long a re-INVITE may take that stands for an UPDATE, which is to be answered promptly
/// (RFC 3311 §5.2) and at the latest after 64*T1.
const LIMIT: Duration = Duration::from_secs(20);

/// Requests of one party that may be on their way at once.
const CROSSINGS: usize = 8;

/// An UPDATE or a PRACK of one party on its way to the other.
#[derive(Debug)]
pub(crate) struct Crossing {
    server: ServerKey,
    request: Request,
    client: ClientKey,
    /// As what it went on.
    carrier: Method,
    /// The offer in it.
    offering: Option<Offering>,
    until: Option<Instant>,
}

impl Crossing {
    /// Whether the answer to this request is awaited here.
    pub(super) fn awaits(&self, key: ClientKey) -> bool {
        self.client == key
    }

    /// The request was sent again under another key.
    pub(super) fn renamed(&mut self, old: ClientKey, new: ClientKey) {
        if self.client == old {
            self.client = new;
        }
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl Call {
    /// An UPDATE of one party.
    pub(super) fn update(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
    ) {
        if !required(&request).is_empty() {
            return self.refuse(cx, key, &request, 420, None);
        }
        if let Err(least) = self.interval_asked(cx, side, &request) {
            return self.refuse_interval(cx, key, &request, least);
        }
        let Ok(body) = Body::read(&request.headers, &request.body) else {
            return self.refuse(cx, key, &request, 400, Some("bad session description"));
        };
        if body.description().is_none() {
            return self.update_here(cx, side, key, &request);
        }
        if let Some(status) = self.glare(side) {
            return self.refuse(cx, key, &request, status, None);
        }
        if let Some(offer) = body.description() {
            self.preferred(cx, side, offer, Describing::Offer);
        }
        self.update_across(cx, side, key, request, &body);
    }

    /// One that says nothing about media is between that party and this node (RFC 4028 §7.4).
    fn update_here(&mut self, cx: &mut Context<'_>, side: Side, key: ServerKey, request: &Request) {
        let mut response = Response::to(request, StatusCode::OK);
        response
            .headers
            .push("Server", cx.settings.server_name.as_str());
        introduce(&mut response.headers, &self.leg(side).contact(cx.settings));
        self.grant_interval(cx, side, request, &mut response);
        cx.act(Action::Respond(key, response));
    }

    fn update_across(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: Request,
        body: &Body,
    ) {
        let far = side.other();
        let leg = self.leg(far);
        let carrier = match (leg.stage, leg.dialogue.can.allows(&Method::Update)) {
            (Stage::Established | Stage::Early, true) => Method::Update,
            (Stage::Established, false) => Method::Invite,
            // Until it has answered, the other party cannot be asked (RFC 3311 §5.2).
            (Stage::Early, false) => return self.refuse(cx, key, &request, 504, None),
            // The ACK is on its way, or nobody is there until a transfer has brought somebody; 481 would
            // end the dialog of the one who asks.
            (Stage::Answered | Stage::AnsweredAndOver | Stage::Over, _) => {
                return self.refuse(cx, key, &request, 491, None);
            }
        };
        let Some(mut onward) = self.across(cx, far, carrier.clone(), &request) else {
            return self.refuse(cx, key, &request, 491, None);
        };
        let carried = match self.carry_offer(cx.settings, far, body) {
            Ok(carried) => carried,
            Err(why) => return self.refuse_session(cx, key, &request, &why),
        };
        onward.body = carried.bytes;
        let offering = body
            .description()
            .zip(carried.told)
            .map(|(theirs, told)| Offering {
                offerer: side,
                theirs: theirs.clone(),
                told,
            });
        self.cross(cx, side, key, request, (carrier, onward), offering);
    }

    /// The request that goes to `to` because of one of the other party.
    pub(super) fn across(
        &mut self,
        cx: &mut Context<'_>,
        to: Side,
        method: Method,
        request: &Request,
    ) -> Option<Request> {
        let refreshes = matches!(method, Method::Invite | Method::Update);
        let leg = self.leg_mut(to);
        let mut onward = match leg.stage {
            // Before the ACK everything but BYE may be sent (RFC 3261 §15).
            Stage::Early | Stage::Answered => leg.dialog.as_mut()?.request(method),
            _ => leg.request(method)?,
        };
        let hops = max_forwards(request).to_string();
        onward.headers.set("Max-Forwards", hops);
        if makes_usage(&request.method) {
            let contact = self.leg(to).contact(cx.settings);
            onward.headers.push("Contact", contact);
        }
        if refreshes {
            let leg = self.leg(to);
            introduce(&mut onward.headers, &leg.contact(cx.settings));
            if leg.stage == Stage::Established {
                let wanted = cx.settings.session_timer;
                leg.dialogue.timer.ask(wanted, &mut onward.headers);
            }
        }
        self.pass(
            cx.settings,
            to.other(),
            &request.headers,
            &mut onward.headers,
        );
        Some(onward)
    }

    /// Sends a request of `side` on, and keeps it until its answer comes.
    pub(super) fn cross(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        server: ServerKey,
        request: Request,
        (carrier, onward): (Method, Request),
        offering: Option<Offering>,
    ) {
        if self.leg(side).dialogue.crossings.len() >= CROSSINGS {
            return self.refuse(cx, server, &request, 500, Some("too many requests wait"));
        }
        let client = self.next_key();
        let flow = self.leg(side.other()).flow;
        let until = (carrier == Method::Invite).then(|| cx.now + LIMIT);
        self.leg_mut(side).dialogue.crossings.push(Crossing {
            server,
            request,
            client,
            carrier,
            offering,
            until,
        });
        cx.act(Action::Request(client, flow, onward));
    }

    /// Why no offer of this party can be taken now: 500 where one of its own waits for its answer,
    /// 491 where it owes one itself (RFC 3261 §14.2, RFC 3311 §5.2).
    pub(super) fn glare(&self, side: Side) -> Option<u16> {
        let offers = |side: Side| {
            let crossings = &self.leg(side).dialogue.crossings;
            crossings.iter().any(|crossing| crossing.offering.is_some())
        };
        let own = |side: Side| self.leg(side).dialogue.own.offers();
        if offers(side) {
            return Some(500);
        }
        if offers(side.other()) || own(side) || own(side.other()) {
            return Some(491);
        }
        let exchange = self.exchange.as_ref()?;
        let offerer = match &exchange.offer {
            // The answer has gone out with the 2xx.
            Offer::Given(_) if !self.is_unanswered(exchange) => return None,
            Offer::Settled => return None,
            Offer::Given(_) => exchange.asker,
            Offer::Late(_) | Offer::Early(_) => exchange.asker.other(),
            Offer::Awaited => return Some(491),
        };
        Some(if offerer == side { 500 } else { 491 })
    }

    /// Whether an INVITE has no final answer yet.
    pub(super) fn is_unanswered(&self, exchange: &Exchange) -> bool {
        exchange.client.is_some() || matches!(self.phase, Phase::Opening | Phase::Inviting)
    }

    /// The other party's answer to a request of `side` that was sent on.
    pub(super) fn crossing_answered(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ClientKey,
        response: &Response,
    ) {
        if !response.status.is_final() {
            return;
        }
        let Some(crossing) = self.take_crossing(side, key) else {
            return;
        };
        if response.status.is_success() {
            return self.crossing_accepted(cx, side, crossing, response);
        }
        let far = side.other();
        let dialogue = &mut self.leg_mut(far).dialogue;
        let again = match response.status.code() {
            422 => dialogue.timer.refused(response) == Again::Yes,
            405 | 501 if crossing.carrier == Method::Update => {
                dialogue.can.refuses(&Method::Update);
                true
            }
            _ => false,
        };
        if again && let Ok(body) = Body::read(&crossing.request.headers, &crossing.request.body) {
            return self.update_across(cx, side, crossing.server, crossing.request, &body);
        }
        let mut reply = Response::to(&crossing.request, response.status);
        reply.reason.clone_from(&response.reason);
        self.pass(cx.settings, far, &response.headers, &mut reply.headers);
        reply.body = response.body.clone();
        cx.act(Action::Respond(crossing.server, reply));
        if crossing.carrier != Method::Prack && matches!(response.status.code(), 408 | 481) {
            self.lost(cx, far);
        }
    }

    fn crossing_accepted(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        crossing: Crossing,
        response: &Response,
    ) {
        let far = side.other();
        if crossing.carrier == Method::Invite {
            let cseq = response.cseq().map_or(0, |cseq| cseq.number);
            let client = crossing.client;
            self.acknowledge(cx, far, Unacked { client, cseq }, None);
        }
        let mut reply = Response::to(&crossing.request, response.status);
        reply.reason.clone_from(&response.reason);
        self.pass(cx.settings, far, &response.headers, &mut reply.headers);
        if crossing.carrier != Method::Prack {
            let now = cx.now;
            self.refreshed_by(now, far, response);
            introduce(&mut reply.headers, &self.leg(side).contact(cx.settings));
            self.grant_interval(cx, side, &crossing.request, &mut reply);
        }
        reply.body = response.body.clone();
        if let Some(offering) = crossing.offering {
            let body = Body::read(&response.headers, &response.body);
            let answered = body.and_then(|body| self.answer_across(cx.settings, offering, &body));
            match answered {
                Ok(answered) => {
                    reply.body = answered.bytes.clone();
                    self.settle(cx, answered);
                }
                Err(why) => {
                    return self.refuse_session(cx, crossing.server, &crossing.request, &why);
                }
            }
        }
        cx.act(Action::Respond(crossing.server, reply));
    }

    /// A request of `side` that was sent on got no answer.
    pub(super) fn crossing_failed(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ClientKey,
        why: ClientFailure,
    ) {
        let Some(crossing) = self.take_crossing(side, key) else {
            return;
        };
        let status = match why {
            ClientFailure::Timeout => 408,
            ClientFailure::Transport => 500,
        };
        self.refuse(cx, crossing.server, &crossing.request, status, None);
        if why == ClientFailure::Timeout && crossing.carrier != Method::Prack {
            self.lost(cx, side.other());
        }
    }

    /// What stands for an UPDATE of `side` has taken too long.
    pub(super) fn crossings_due(&mut self, cx: &mut Context<'_>, side: Side) {
        let late = |crossing: &Crossing| crossing.until.is_some_and(|until| until <= cx.now);
        let crossings = &mut self.leg_mut(side).dialogue.crossings;
        let late: Vec<Crossing> = crossings.extract_if(.., |c| late(c)).collect();
        for crossing in late {
            self.abandon(cx, crossing.client, side.other());
            self.refuse(cx, crossing.server, &crossing.request, 504, None);
        }
    }

    /// The call is over: requests still pending get 487 (RFC 3261 §15.1.2).
    pub(super) fn end_crossings(&mut self, cx: &mut Context<'_>, side: Side) {
        for crossing in std::mem::take(&mut self.leg_mut(side).dialogue.crossings) {
            if crossing.carrier == Method::Invite {
                self.abandon(cx, crossing.client, side.other());
            }
            let response = refusal(cx.settings, &crossing.request, 487, None);
            cx.act(Action::Respond(crossing.server, response));
        }
    }

    fn take_crossing(&mut self, side: Side, key: ClientKey) -> Option<Crossing> {
        let crossings = &mut self.leg_mut(side).dialogue.crossings;
        let at = crossings.iter().position(|crossing| crossing.awaits(key))?;
        Some(crossings.swap_remove(at))
    }

    /// A dialog is gone for its party (RFC 3261 §12.2.1.2).
    fn lost(&mut self, cx: &mut Context<'_>, side: Side) {
        self.refuse_caller(cx, 500);
        self.end(cx, HungUpBy::DialogLost(side));
    }

    /// A 2xx to an INVITE or UPDATE of ours: where the party is now, and how long the session lives.
    pub(super) fn refreshed_by(&mut self, now: Instant, side: Side, response: &Response) {
        let leg = self.leg_mut(side);
        leg.dialogue.can.learn(&response.headers);
        leg.dialogue.awareness.learn(&response.headers);
        if let Some(dialog) = &mut leg.dialog {
            dialog.refresh(response);
        }
        if leg.stage == Stage::Established {
            leg.dialogue.timer.answered(now, response);
        }
    }

    /// Whether the session interval that an INVITE or UPDATE asks for can be had. Sessions that are not
    /// answered yet have none.
    pub(super) fn interval_asked(
        &mut self,
        cx: &Context<'_>,
        side: Side,
        request: &Request,
    ) -> Result<(), TooSmall> {
        let leg = self.leg_mut(side);
        match leg.stage {
            Stage::Early => Ok(()),
            _ => leg.dialogue.timer.asked(cx.settings.session_timer, request),
        }
    }

    pub(super) fn refuse_interval(
        &self,
        cx: &mut Context<'_>,
        key: ServerKey,
        request: &Request,
        TooSmall(least_s): TooSmall,
    ) {
        let response = too_small(cx.settings, request, least_s);
        cx.act(Action::Respond(key, response));
    }

    /// What the 2xx to such a request says about the session's interval.
    pub(super) fn grant_interval(
        &mut self,
        cx: &Context<'_>,
        side: Side,
        request: &Request,
        response: &mut Response,
    ) {
        let (now, wanted) = (cx.now, cx.settings.session_timer);
        let leg = self.leg_mut(side);
        if leg.stage != Stage::Early {
            leg.dialogue.timer.grant(now, wanted, request, response);
        }
    }
}
