//! A party that takes the place of another one (Replaces, RFC 3891): one that was connected, or one
//! that rings. It may come from outside, or from another call of this node (attended transfer).

use std::time::Instant;

use duolog_sip::endpoint::ServerKey;
use duolog_sip::sdp::{Description, Offered, SdpError};
use duolog_sip::{Dialog, Flow, Request, Response, StatusCode};

use crate::answer::not_acceptable;
use crate::fact::{Arrival, Fact, HungUpBy, Side};
use crate::log::LogEvent;
use crate::media::{End, LegId, MediaCommand};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::ending::{Reached, closing};
use crate::role::b2bua::leg::{Agreed, Leg, Ports, Stage, Who, introduce, way_back};
use crate::role::b2bua::recorded::Closing;
use crate::role::b2bua::reliable::Sending;
use crate::role::b2bua::seats::Carried;
use crate::role::b2bua::session::transcoding;
use crate::role::b2bua::{Body, Call, Phase, Unfetched};
use crate::route::Party;
use crate::settings::Settings;

/// An INVITE with Replaces, as far as the engine has read it.
pub(crate) struct Newcomer {
    pub(crate) server: ServerKey,
    pub(crate) flow: Flow,
    pub(crate) invite: Request,
    pub(crate) who: Who,
    /// Where it listens.
    pub(crate) home: Flow,
}

/// A party that is about to take a place: its ports are awaited.
pub(crate) struct Coming {
    side: Side,
    leg: Leg,
    server: ServerKey,
    invite: Request,
    offer: Description,
    pub(super) carried: Carried,
    how: Arrival,
    /// When it is no longer waited for.
    pub(super) until: Instant,
}

/// A party on its way from one call to another.
pub(crate) struct Moved {
    pub(crate) leg: Box<Leg>,
    pub(crate) carried: Carried,
}

/// What both get to hear when a party takes a place without anybody being asked.
struct Met {
    /// What the newcomer is answered.
    newcomer: Agreed,
    /// What the remaining party is answered, where its own offer still waits.
    remaining: Option<Agreed>,
}

impl Call {
    /// An INVITE wants the place of `side`; the status it is refused with, if it is.
    pub(crate) fn replacing(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        newcomer: Box<Newcomer>,
        early_only: Confirmed,
    ) -> Result<(), (Box<Newcomer>, u16)> {
        let confirmed = match self.phase {
            Phase::Connected => true,
            // Only a dialog that we began can be taken over before it is answered (RFC 3891 §3).
            Phase::Inviting if side == Side::Callee => false,
            Phase::Opening | Phase::Inviting => return Err((newcomer, 481)),
            Phase::Answered => return Err((newcomer, 491)),
            Phase::Over => return Err((newcomer, 603)),
        };
        if confirmed && early_only == Confirmed::LeaveAlone {
            return Err((newcomer, 486));
        }
        let busy = confirmed && self.exchange.is_some();
        if busy || self.coming.is_some() || self.transfer.is_some() {
            return Err((newcomer, 491));
        }
        let body = Body::read(&newcomer.invite.headers, &newcomer.invite.body).ok();
        let Some(offer) = body.and_then(|body| body.description().cloned()) else {
            return Err((newcomer, 488));
        };
        let back = way_back(&newcomer.invite, newcomer.flow);
        let leg = Leg::new(cx, newcomer.who, back).at_home(newcomer.home);
        leg.open(cx, self.about.group);
        let how = match confirmed {
            true => Arrival::Replaced,
            false => Arrival::PickedUp,
        };
        let recorded = self.open_newcomer(cx, side, &leg, how);
        self.coming = Some(Box::new(Coming {
            side,
            leg,
            server: newcomer.server,
            invite: newcomer.invite,
            offer,
            carried: Carried::new(recorded),
            how,
            until: cx.now + cx.settings.ring_limit,
        }));
        Ok(())
    }

    /// A leg without a side has ports; whether it was that of the newcomer.
    pub(super) fn coming_has_ports(
        &mut self,
        cx: &mut Context<'_>,
        leg: LegId,
        ports: Ports,
    ) -> bool {
        let Some(mut coming) = self.coming.take_if(|coming| coming.leg.id == leg) else {
            return false;
        };
        coming.leg.ports = Some(ports);
        match self.meet(cx.settings, &coming) {
            Ok(met) => self.comes(cx, coming, met),
            Err(why) => {
                let response = not_acceptable(cx.settings, &coming.invite, &why);
                self.coming = Some(coming);
                self.turn_away(cx, response, HungUpBy::BadSession);
            }
        }
        true
    }

    /// Answers the newcomer with what the remaining party last said, and that one, where it waits for
    /// an answer, with what the newcomer said.
    fn meet(&self, settings: &Settings, coming: &Coming) -> Result<Met, SdpError> {
        let remaining = self.leg(coming.side.other());
        let exchange = self.exchange.as_ref();
        let theirs = match coming.how {
            Arrival::PickedUp => {
                let invite = exchange.map(|exchange| &exchange.request);
                let invite = invite.ok_or(SdpError::NoUsableAudio)?;
                let body = Body::read(&invite.headers, &invite.body)?;
                body.description().cloned()
            }
            _ => remaining
                .agreed
                .as_ref()
                .map(|agreed| agreed.theirs.clone()),
        };
        let theirs = theirs.ok_or(SdpError::NoUsableAudio)?;
        let newcomer = answered(settings, (&coming.leg, &coming.offer), (remaining, &theirs))?;
        let waits = coming.how == Arrival::PickedUp;
        let back = || answered(settings, (remaining, &theirs), (&coming.leg, &coming.offer));
        Ok(Met {
            newcomer,
            remaining: waits.then(back).transpose()?,
        })
    }

    /// The newcomer takes its place.
    fn comes(&mut self, cx: &mut Context<'_>, coming: Box<Coming>, met: Met) {
        let Coming {
            side,
            mut leg,
            server,
            invite,
            carried,
            how,
            ..
        } = *coming;
        let mut reply = Response::to(&invite, StatusCode::OK);
        reply.set_to_tag(&leg.tag);
        for route in invite.headers.values("Record-Route") {
            reply.headers.push("Record-Route", route);
        }
        introduce(&mut reply.headers, &leg.contact(cx.settings));
        leg.dialogue.learn(&invite);
        let ours = leg.say(met.newcomer.ours, self.indication());
        reply.set_body("application/sdp", ours.write());
        let theirs = met.newcomer.theirs;
        leg.agreed = Some(Agreed { theirs, ours });
        let timer = &mut leg.dialogue.timer;
        timer.grant(cx.now, cx.settings.session_timer, &invite, &mut reply);
        let Ok(dialog) = Dialog::uas(&invite, &reply, leg.flow) else {
            cx.media(MediaCommand::CloseLeg { leg: leg.id });
            let by = HungUpBy::BadSession;
            carried.end(cx, by, &closing(by, Reached::Offered));
            return self.refuse(cx, server, &invite, 400, None);
        };
        self.setup.replaced = Some((server, leg.id));
        cx.act(Action::Respond(server, reply));
        cx.log(LogEvent::Replaced);
        match met.remaining {
            None => self.take_place(cx, side, (leg, Some(dialog)), (carried, how)),
            Some(agreed) => self.picked_up(cx, (leg, dialog), carried, agreed),
        }
    }

    /// A call that rang elsewhere is answered by the newcomer.
    fn picked_up(
        &mut self,
        cx: &mut Context<'_>,
        (leg, dialog): (Leg, Dialog),
        mut carried: Carried,
        agreed: Agreed,
    ) {
        let side = Side::Callee;
        self.abandon_branches(cx);
        self.party_leaves(cx, side);
        self.callee.unbind(cx);
        let gone = std::mem::replace(&mut self.callee, leg);
        cx.media(MediaCommand::CloseLeg { leg: gone.id });
        self.callee.bind(cx, side, dialog);
        self.callee.stage = Stage::Established;
        let ended = Closing {
            unstarted: End::NotAnswered,
            reason: "another party picked the call up".to_owned(),
        };
        self.recorded.close(cx, side, HungUpBy::Replaced, &ended);
        let class = self.class_with(cx.settings, &self.callee.who);
        self.recorded.are_now(class);
        carried.is_now(class);
        self.recorded.leave_out(cx, Side::Caller, class.nature);
        let number = self.callee.who.number.clone();
        let newcomer = self.callee.listener(cx.settings);
        self.recorded
            .picked_up(cx, (side, newcomer), &number, carried);
        self.note_class(cx, class);
        let Some(exchange) = &self.exchange else {
            return;
        };
        let mut reply = Response::to(&exchange.request, StatusCode::OK);
        if self.caller.agreed.take().is_some() {
            // It heard another one early: what it is answered now is another dialog's.
            self.caller.unbind(cx);
            self.caller.dialog = None;
            self.caller.tag = cx.tokens.tag();
            self.caller.dialogue.sending = Sending::default();
        }
        reply.set_to_tag(&self.caller.tag);
        for route in exchange.request.headers.values("Record-Route") {
            reply.headers.push("Record-Route", route);
        }
        introduce(&mut reply.headers, &self.caller.contact(cx.settings));
        let now = self.indication();
        let ours = self.caller.say(agreed.ours, now);
        reply.set_body("application/sdp", ours.write());
        let theirs = agreed.theirs;
        self.caller.agreed = Some(Agreed { theirs, ours });
        self.make_caller_dialog(cx, &reply);
        self.phase = Phase::Answered;
        self.limit = None;
        self.note(cx, Fact::Answered);
        self.answer_caller(cx, reply);
        self.rebridge(cx);
    }

    /// The newcomer does not come: it is told so.
    fn turn_away(&mut self, cx: &mut Context<'_>, response: Response, by: HungUpBy) {
        let Some(coming) = self.coming.take() else {
            return;
        };
        let leg = coming.leg.id;
        cx.media(MediaCommand::CloseLeg { leg });
        let status = response.status.code();
        cx.log(LogEvent::Refused { status });
        cx.act(Action::Respond(coming.server, response));
        coming.carried.end(cx, by, &closing(by, Reached::Offered));
    }

    /// The media plane has said nothing about the newcomer's ports for too long.
    pub(super) fn expire_coming(&mut self, cx: &mut Context<'_>) {
        if self
            .coming
            .as_ref()
            .is_some_and(|coming| coming.until <= cx.now)
        {
            self.coming_fails(cx, 503);
        }
    }

    /// The one that rings has answered before the newcomer could.
    pub(super) fn answered_before_pick_up(&mut self, cx: &mut Context<'_>) {
        self.refuse_coming(cx, 486, HungUpBy::Cancel);
    }

    /// The INVITE with Replaces is cancelled or gone with its connection; whether it was that.
    pub(super) fn coming_cancelled(&mut self, cx: &mut Context<'_>, key: ServerKey) -> bool {
        let is_it = self
            .coming
            .as_ref()
            .is_some_and(|coming| coming.server == key);
        if is_it {
            self.refuse_coming(cx, 487, HungUpBy::Cancel);
        }
        is_it
    }

    /// The media plane has no ports for the newcomer.
    pub(super) fn coming_fails(&mut self, cx: &mut Context<'_>, status: u16) {
        self.refuse_coming(cx, status, HungUpBy::NoPorts);
    }

    /// The call is over before the newcomer has come (RFC 3891 §3).
    pub(super) fn end_coming(&mut self, cx: &mut Context<'_>) {
        self.refuse_coming(cx, 603, HungUpBy::Cancel);
    }

    fn refuse_coming(&mut self, cx: &mut Context<'_>, status: u16, by: HungUpBy) {
        if let Some(coming) = &self.coming {
            let response = crate::answer::refusal(cx.settings, &coming.invite, status, None);
            self.turn_away(cx, response, by);
        }
    }

    /// The far party of `side` is wanted in another call: it goes there, and this call is over. Only
    /// who sits on that side may ask for it (RFC 5589 §7): others end nobody's calls.
    pub(crate) fn hand_over(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        by: Party,
    ) -> Result<Moved, Unfetched> {
        let far = side.other();
        if self.leg(side).who.party != by {
            return Err(Unfetched::NotTheirs);
        }
        match self.phase {
            Phase::Connected => {}
            Phase::Answered => return Err(Unfetched::Busy),
            Phase::Over => return Err(Unfetched::NotHere),
            Phase::Opening | Phase::Inviting => {
                // Nobody has answered: it is given up, and its target called anew.
                self.fail(cx, 487, HungUpBy::Transferred);
                return Err(Unfetched::Early);
            }
        }
        let crosses = !self.leg(side).dialogue.crossings.is_empty();
        let free = self.exchange.is_none() && self.transfer.is_none() && self.coming.is_none();
        let free = free && !crosses;
        let leg = self.leg(far);
        if !free
            || leg.stage != Stage::Established
            || leg.dialogue.own.is_running()
            || !leg.dialogue.crossings.is_empty()
        {
            return Err(Unfetched::Busy);
        }
        let (who, flow) = (leg.who.clone(), leg.flow);
        let vacant = Leg::vacant(cx, who, flow);
        let leg = Box::new(std::mem::replace(self.leg_mut(far), vacant));
        let carried = self.recorded.take(far);
        self.end(cx, HungUpBy::Transferred);
        Ok(Moved { leg, carried })
    }

    /// The far party of another call takes the place of the one who asked for it.
    pub(crate) fn joined(&mut self, cx: &mut Context<'_>, moved: Moved) {
        let Some(by) = self.transfer_done(cx) else {
            return;
        };
        let Moved { mut leg, carried } = moved;
        // Whoever pressed the keys that wait is not there any more, and their answers come to the other call.
        leg.dialogue.onward = Default::default();
        self.take_place(cx, by, (*leg, None), (carried, Arrival::Transfer));
        // Both calls of the one who asked are over for it.
        self.dismiss_leaving(cx);
    }
}

/// Whether a dialog that is confirmed may be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirmed {
    TakeOver,
    /// `early-only` (RFC 3891 §3).
    LeaveAlone,
}

/// What a party that offers is answered, made of what another one last said.
fn answered(
    settings: &Settings,
    (to, offer): (&Leg, &Description),
    (from, said): (&Leg, &Description),
) -> Result<Agreed, SdpError> {
    let add = &settings.media.transcode;
    let transcoding = transcoding(settings, add);
    let (to, from) = (to.terms(settings)?, from.terms(settings)?);
    let told = offer.offer_to(&to, &from, &transcoding)?;
    let offered = Offered {
        theirs: offer,
        told: &told,
    };
    let ours = said.answer_to(&offered, &to, &transcoding)?;
    Ok(Agreed {
        theirs: offer.clone(),
        ours,
    })
}
