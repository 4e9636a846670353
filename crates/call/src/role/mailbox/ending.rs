//! The end of a call to a mailbox, in every way it can come.

use duolog_sip::endpoint::{ClientFailure, ClientKey, ServerKey};
use duolog_sip::{CSeq, Flow, Method, Request};

use super::{Call, Phase};
use crate::answer::refusal;
use crate::fact::{HungUpBy, Side};
use crate::gate::Gate;
use crate::log::LogEvent;
use crate::media::MediaCommand;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::ending::Reached;
use crate::role::b2bua::leg::Stage;

/// A BYE of ours that waits for its answer.
pub(super) struct Farewell {
    pub(super) key: ClientKey,
    flow: Flow,
    request: Box<Request>,
}

impl Call {
    /// A CANCEL came; after our answer it has no effect (RFC 3261 §9.2).
    pub(crate) fn cancelled(&mut self, cx: &mut Context<'_>, key: ServerKey) {
        let is_it = self.exchange.as_ref().is_some_and(|e| e.server == key);
        if is_it && self.phase == Phase::Opening {
            self.fail(cx, 487, HungUpBy::Cancel);
        }
    }

    /// An INVITE of the caller ended without its ACK, or with its connection.
    pub(crate) fn server_failed(&mut self, cx: &mut Context<'_>, key: ServerKey) {
        let gone = self.exchange.take_if(|exchange| exchange.server == key);
        if gone.is_none() {
            return;
        }
        self.may_hear_bye(cx);
        self.end(
            cx,
            match self.phase {
                Phase::Opening => HungUpBy::DialogLost(Side::Caller),
                _ => HungUpBy::NoAck,
            },
        );
    }

    /// The node goes down: what was said so far is the message.
    pub(crate) fn shut_down(&mut self, cx: &mut Context<'_>) {
        self.fail(cx, 503, HungUpBy::Shutdown);
    }

    /// Something is wrong with the call itself.
    pub(crate) fn give_up(&mut self, cx: &mut Context<'_>) {
        self.fail(cx, 500, HungUpBy::Fault);
    }

    /// Nobody is asked to talk to a machine that keeps nothing now: the call ends, if so.
    pub(super) fn ends_unkept(&mut self, cx: &mut Context<'_>) -> bool {
        let Gate::Closed { reason, .. } = cx.gate else {
            return false;
        };
        self.message.lost(cx, reason.clone());
        self.fail(cx, 480, HungUpBy::NotRecorded);
        true
    }

    /// Refuses the caller's INVITE, if it has no answer yet, and ends the call.
    pub(super) fn fail(&mut self, cx: &mut Context<'_>, code: u16, by: HungUpBy) {
        if self.phase == Phase::Opening
            && let Some(exchange) = self.exchange.take()
        {
            let mut response = refusal(cx.settings, &exchange.request, code, None);
            response.set_to_tag(&self.leg.tag);
            self.refuse_with(cx, exchange.server, response);
        }
        self.end(cx, by);
    }

    /// The call is over. An INVITE that is answered is still acknowledged.
    pub(super) fn end(&mut self, cx: &mut Context<'_>, by: HungUpBy) {
        if self.phase == Phase::Over {
            return;
        }
        let reached = match self.phase {
            Phase::Opening => Reached::Offered,
            _ => Reached::Answered,
        };
        self.phase = Phase::Over;
        (self.limit, self.playing) = (None, None);
        self.message.ended(cx, by, reached);
        self.half.ended(cx, by, reached);
        cx.log(LogEvent::Ended { by });
        let leg = self.leg.id;
        cx.media(MediaCommand::CloseLeg { leg });
        self.end_refresh(cx);
        match by {
            HungUpBy::Party(Side::Caller) => self.leg.stage = Stage::Over,
            _ => self.hang_up(cx),
        }
        self.leg.unbind(cx);
    }

    /// The wait for the caller's ACK is over, with or without it.
    pub(super) fn may_hear_bye(&mut self, cx: &mut Context<'_>) {
        match self.leg.stage {
            Stage::Answered => self.leg.stage = Stage::Established,
            Stage::AnsweredAndOver => {
                self.leg.stage = Stage::Established;
                self.hang_up(cx);
            }
            Stage::Early | Stage::Established | Stage::Over => {}
        }
    }

    /// Sends BYE where the dialog stands, or as soon as it may be sent.
    fn hang_up(&mut self, cx: &mut Context<'_>) {
        let bye = self.leg.request(Method::Bye);
        self.leg.stage = match self.leg.stage {
            Stage::Answered | Stage::AnsweredAndOver => Stage::AnsweredAndOver,
            Stage::Early | Stage::Established | Stage::Over => Stage::Over,
        };
        if let Some(bye) = bye {
            let (flow, _) = self.leg.ways();
            self.say_bye(cx, flow, bye);
        }
    }

    fn say_bye(&mut self, cx: &mut Context<'_>, flow: Flow, bye: Request) {
        let key = self.keys.next();
        self.farewell = Some(Farewell {
            key,
            flow,
            request: Box::new(bye.clone()),
        });
        cx.act(Action::Request(key, flow, bye));
    }

    /// A BYE that was lost with its connection goes to where the caller listens, once.
    pub(super) fn say_bye_again(
        &mut self,
        cx: &mut Context<'_>,
        farewell: Farewell,
        why: ClientFailure,
    ) {
        let (_, home) = self.leg.ways();
        if why == ClientFailure::Transport && home != farewell.flow {
            self.say_bye(cx, home, *farewell.request);
        }
    }

    /// A request of ours was answered by a demand for a digest, and `answered` has it: it goes out again
    /// as the next of its dialog.
    pub(crate) fn challenged(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        mut answered: Request,
    ) {
        let method = answered.method.clone();
        let next = self.leg.dialog.as_mut().map(|d| d.request(method.clone()));
        let number = next.and_then(|next| Some(next.cseq().ok()?.number));
        let Some(number) = number else {
            return;
        };
        let cseq = CSeq { number, method };
        answered.headers.set("CSeq", cseq.to_string());
        if let Some(farewell) = self.farewell.take_if(|farewell| farewell.key == key) {
            return self.say_bye(cx, farewell.flow, answered);
        }
        if self.refresh.as_ref().is_some_and(|own| own.is(key)) {
            self.refresh_again(cx, answered);
        }
    }
}
