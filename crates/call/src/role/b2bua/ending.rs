//! The end of a call, in every way it can come: BYE, CANCEL, refusal, silence, shutdown. The
//! recording is closed at once; the call stays until its last transaction is answered.

use duolog_sip::endpoint::{ClientKey, ServerKey};
use duolog_sip::{Dialog, Flow, Method, Request, Response, StatusCode};

use crate::answer::refusal;
use crate::fact::{Fact, HungUpBy, Side};
use crate::log::LogEvent;
use crate::media::{End, MediaCommand};
use crate::role::b2bua::branches::Branch;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::{Leg, Stage};
use crate::role::b2bua::recorded::Closing;
use crate::role::b2bua::{Abandoned, Call, Notice, Phase};

impl Call {
    /// One side hangs up.
    pub(super) fn bye(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        key: ServerKey,
        request: &Request,
    ) {
        let mut response = Response::to(request, StatusCode::OK);
        response
            .headers
            .push("Server", cx.settings.server_name.as_str());
        cx.act(Action::Respond(key, response));
        if self.transferor_left(cx, side) {
            return;
        }
        self.refuse_caller(cx, 487);
        self.end_saying(cx, HungUpBy::Party(side), Some(request));
    }

    /// A CANCEL came for an INVITE; the endpoint has answered the CANCEL itself.
    pub(crate) fn cancelled(&mut self, cx: &mut Context<'_>, key: ServerKey) {
        if self.coming_cancelled(cx, key) {
            return;
        }
        let Some(exchange) = self
            .exchange
            .as_ref()
            .filter(|exchange| exchange.server == key)
        else {
            return;
        };
        match (self.phase, exchange.client) {
            (Phase::Opening | Phase::Inviting, _) => self.fail(cx, 487, HungUpBy::Cancel),
            // Within a call the other side decides: 487, or the 2xx that was on its way.
            (_, Some(client)) => cx.act(Action::Cancel(client)),
            (_, None) if self.holds_answer() => self.end(cx, HungUpBy::Cancel),
            (_, None) => {}
        }
    }

    /// A server transaction ended without what it waited for.
    pub(crate) fn server_failed(&mut self, cx: &mut Context<'_>, key: ServerKey) {
        if self.coming_cancelled(cx, key) {
            return;
        }
        if let Some((_, leg)) = self.setup.replaced.take_if(|(server, _)| *server == key) {
            // One that has left again keeps nobody from talking.
            if self.side_of(leg).is_some() {
                self.end(cx, HungUpBy::NoAck);
            }
            return;
        }
        let Some(exchange) = self
            .exchange
            .as_ref()
            .filter(|exchange| exchange.server == key)
        else {
            return;
        };
        if matches!(self.phase, Phase::Opening | Phase::Inviting) {
            // The caller is gone with its connection, without a word.
            return self.end(cx, HungUpBy::DialogLost(exchange.asker));
        }
        if let Some(client) = exchange.client {
            // A re-INVITE is gone with its connection; what stood before stands (RFC 3261 §14.1).
            let far = exchange.asker.other();
            self.limit = None;
            self.exchange = None;
            return self.abandon(cx, client, far);
        }
        let exchange = self.exchange.take();
        if let Some((unacked, far)) =
            exchange.and_then(|exchange| Some((exchange.unacked?, exchange.asker.other())))
        {
            self.acknowledge(cx, far, unacked, None);
        }
        self.asker_may_hear_bye(cx);
        self.end(cx, HungUpBy::NoAck);
    }

    /// The node goes down: the call is ended.
    pub(crate) fn shut_down(&mut self, cx: &mut Context<'_>) {
        self.fail(cx, 503, HungUpBy::Shutdown);
    }

    /// Something is wrong with the call itself.
    pub(crate) fn give_up(&mut self, cx: &mut Context<'_>) {
        self.fail(cx, 500, HungUpBy::Fault);
    }

    /// The asker acknowledged the 2xx: the dialog stands, and with the first one the call.
    pub(super) fn asker_confirmed(&mut self, cx: &mut Context<'_>) {
        self.asker_may_hear_bye(cx);
        if self.phase == Phase::Answered {
            self.phase = Phase::Connected;
            self.note(cx, Fact::Connected);
            cx.log(LogEvent::Connected);
            self.recorded.answered(cx);
            self.end_unrecorded(cx);
            self.heed(cx, [Side::Caller, Side::Callee]);
        }
    }

    /// The wait for the caller's ACK is over, with or without it.
    fn asker_may_hear_bye(&mut self, cx: &mut Context<'_>) {
        match self.caller.stage {
            Stage::Answered => self.caller.stage = Stage::Established,
            Stage::AnsweredAndOver => {
                self.caller.stage = Stage::Established;
                self.hang_up(cx, Side::Caller, None);
            }
            Stage::Early | Stage::Established | Stage::Over => {}
        }
    }

    /// Ends the call: closes the recording and the legs, and lets each side know that does not.
    pub(super) fn end(&mut self, cx: &mut Context<'_>, by: HungUpBy) {
        self.end_saying(cx, by, None);
    }

    /// The same; the other side's BYE carries what `bye` said beside it (Reason, RFC 3326).
    fn end_saying(&mut self, cx: &mut Context<'_>, by: HungUpBy, bye: Option<&Request>) {
        if self.phase == Phase::Over {
            return;
        }
        let reached = match self.phase {
            Phase::Answered | Phase::Connected => Reached::Answered,
            Phase::Opening | Phase::Inviting | Phase::Over => Reached::Offered,
        };
        for side in [Side::Caller, Side::Callee] {
            self.dialogue_ended(cx, side);
        }
        self.end_exchange(cx);
        self.end_coming(cx);
        self.end_transfer(cx);
        self.phase = Phase::Over;
        self.limit = None;
        self.recorded.ended(cx, by, &closing(by, reached));
        cx.log(LogEvent::Ended { by });
        for relay in std::mem::take(&mut self.relays) {
            // Requests still pending when the dialog ends get 487 (RFC 3261 §15.1.2).
            cx.act(Action::Respond(
                relay.asker,
                refusal(cx.settings, &relay.request, 487, None),
            ));
        }
        for side in [Side::Caller, Side::Callee] {
            // The engine leaves out what is not open: a callee that was never found, a party that left.
            let leg = self.leg(side).id;
            cx.media(MediaCommand::CloseLeg { leg });
            match by {
                HungUpBy::Party(gone) if gone == side => {
                    self.leg_mut(side).stage = Stage::Over;
                }
                _ => self.hang_up(cx, side, bye),
            }
            self.leg_mut(side).unbind(cx);
        }
        self.dismiss_leaving(cx);
        if self.caller.stage == Stage::Over {
            self.exchange = None;
        }
    }

    /// Leaves nothing of the running exchange to wait for, but the ACK of a 2xx already sent.
    pub(super) fn end_exchange(&mut self, cx: &mut Context<'_>) {
        self.abandon_branches(cx);
        let Some(exchange) = self.exchange.as_mut() else {
            return;
        };
        let (asker, server) = (exchange.asker, exchange.server);
        let unacked = exchange.unacked.take();
        if let Some(client) = exchange.client.take() {
            let response = refusal(cx.settings, &exchange.request, 487, None);
            cx.act(Action::Respond(server, response));
            self.abandon(cx, client, asker.other());
        }
        if let Some(unacked) = unacked {
            self.acknowledge(cx, asker.other(), unacked, None);
        }
        if self.phase != Phase::Answered {
            self.exchange = None;
        }
    }

    /// Nobody waits for the answer to this INVITE to a side any more.
    pub(super) fn abandon(&mut self, cx: &mut Context<'_>, client: ClientKey, side: Side) {
        cx.act(Action::Cancel(client));
        if let Some(dialog) = self.leg(side).dialog.clone() {
            self.abandoned
                .push(Abandoned::Again(client, Box::new(dialog)));
        }
    }

    /// Nobody waits for the answers to these any more.
    pub(super) fn leave_branches(&mut self, branches: Vec<Branch>) {
        let first = |branch| Abandoned::First(Box::new(branch));
        self.abandoned.extend(branches.into_iter().map(first));
    }

    /// Sends BYE where a dialog stands, or as soon as it may be sent.
    fn hang_up(&mut self, cx: &mut Context<'_>, side: Side, said: Option<&Request>) {
        // A request can be made only while the dialog stands.
        let bye = self.leg_mut(side).request(Method::Bye);
        let leg = self.leg_mut(side);
        leg.stage = match leg.stage {
            Stage::Answered | Stage::AnsweredAndOver => Stage::AnsweredAndOver,
            Stage::Early | Stage::Established | Stage::Over => Stage::Over,
        };
        if let Some(mut bye) = bye {
            if let Some(said) = said {
                self.pass(cx.settings, side.other(), &said.headers, &mut bye.headers);
                bye.body = said.body.clone();
            }
            let (flow, home) = self.leg(side).ways();
            self.send_notice(cx, (flow, home), bye);
        }
    }

    /// Sends BYE to a party that has no side any more.
    pub(super) fn dismiss(&mut self, cx: &mut Context<'_>, leg: &mut Leg) {
        if let Some(bye) = leg.request(Method::Bye) {
            leg.stage = Stage::Over;
            self.send_notice(cx, leg.ways(), bye);
        }
        leg.unbind(cx);
    }

    /// Sends a request whose answer changes little.
    pub(super) fn send_notice(
        &mut self,
        cx: &mut Context<'_>,
        (flow, home): (Flow, Flow),
        request: Request,
    ) -> ClientKey {
        let key = self.next_key();
        self.notices.push(Notice {
            key,
            flow,
            home,
            request: Box::new(request.clone()),
        });
        cx.act(Action::Request(key, flow, request));
        key
    }

    /// A BYE was lost with its connection: it goes to where the party listens, once.
    pub(super) fn notice_again(&mut self, cx: &mut Context<'_>, key: ClientKey) {
        let Some(at) = self.notices.iter().position(|notice| notice.key == key) else {
            return;
        };
        let notice = self.notices.swap_remove(at);
        if notice.home != notice.flow && notice.request.method == Method::Bye {
            self.send_notice(cx, (notice.home, notice.home), *notice.request);
        }
    }

    /// A 2xx that nobody waits for any more, or of another fork: it is acknowledged, and the dialog
    /// it made is ended (RFC 3261 §9.1, §13.2.2.4).
    pub(super) fn late_success(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        response: &Response,
    ) {
        let mut abandoned = self.abandoned.iter();
        let abandoned = abandoned.find(|abandoned| abandoned.key() == key);
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        let branch = match abandoned {
            Some(Abandoned::Again(_, dialog)) => {
                return cx.act(Action::Ack(key, dialog.ack_for(cseq)));
            }
            Some(Abandoned::First(branch)) => Some(&**branch),
            None => self.won(key),
        };
        let Some(branch) = branch else {
            return;
        };
        let flow = branch.flow;
        if let Ok(mut dialog) = Dialog::uac(&branch.sent, response, flow) {
            cx.act(Action::Ack(key, dialog.ack_for(cseq)));
            let bye = dialog.request(Method::Bye);
            self.send_notice(cx, (flow, flow), bye);
        }
    }
}

/// How far a call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The INVITE came in.
    Offered,
    /// The callee answered.
    Answered,
}

/// What the row of the recording says about an end.
pub(crate) fn closing(by: HungUpBy, reached: Reached) -> Closing {
    let unstarted = match (by, reached) {
        (HungUpBy::NoPorts | HungUpBy::BadSession | HungUpBy::Fault, _) => End::Failed,
        (HungUpBy::Gate, _) | (HungUpBy::Shutdown, Reached::Offered) => End::Refused,
        (_, Reached::Answered) => End::NotStarted,
        (_, Reached::Offered) => End::NotAnswered,
    };
    Closing {
        unstarted,
        reason: reason(by),
    }
}

fn reason(by: HungUpBy) -> String {
    match by {
        HungUpBy::Party(Side::Caller) => "the caller hung up".to_owned(),
        HungUpBy::Party(Side::Callee) => "the callee hung up".to_owned(),
        HungUpBy::Cancel => "the caller gave up before the answer".to_owned(),
        HungUpBy::CalleeRefused(status) => format!("the callee answered {status}"),
        HungUpBy::NoAnswer => "the callee did not answer".to_owned(),
        HungUpBy::NoAck => "the caller did not acknowledge the answer".to_owned(),
        HungUpBy::DialogLost(Side::Caller) => "the caller's dialog is gone".to_owned(),
        HungUpBy::DialogLost(Side::Callee) => "the callee's dialog is gone".to_owned(),
        HungUpBy::MediaTimeout => "neither party sent audio".to_owned(),
        HungUpBy::BadSession => "the session description could not be used".to_owned(),
        HungUpBy::NoPorts => "no media ports".to_owned(),
        HungUpBy::Gate => "new calls were not taken".to_owned(),
        HungUpBy::Shutdown => "the node went down".to_owned(),
        HungUpBy::SessionExpired(Side::Caller) => "the caller's session expired".to_owned(),
        HungUpBy::SessionExpired(Side::Callee) => "the callee's session expired".to_owned(),
        HungUpBy::Transferred => "the call was transferred".to_owned(),
        HungUpBy::Replaced => "another party took its place".to_owned(),
        HungUpBy::NotRecorded => "the call could not be recorded".to_owned(),
        HungUpBy::Fault => "this node made a mistake with the call".to_owned(),
    }
}
