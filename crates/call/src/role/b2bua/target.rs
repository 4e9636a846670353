//! The party that a transfer leads to: it is called in the name of the one who remains, and takes the
//! place of the one who asked when it answers.

use duolog_sip::endpoint::{ClientFailure, ClientKey};
use duolog_sip::sdp::{Description, Direction, SdpError};
use duolog_sip::{Headers, Method, NameAddr, Request, Response, Uri};

use crate::class::classify;
use crate::fact::{Arrival, HungUpBy, Indication, Opening, Side};
use crate::log::LogEvent;
use crate::media::{LegId, MediaCommand};
use crate::plan::{Half, RecordingPlan, recorded};
use crate::role::b2bua::agreement::media;
use crate::role::b2bua::branches::{Branch, Branches, Step, Verdict};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::ending::{Reached, closing};
use crate::role::b2bua::identity;
use crate::role::b2bua::leg::{Agreed, Leg, Ports, Who, introduce};
use crate::role::b2bua::recorded::Recorded;
use crate::role::b2bua::row::Placed;
use crate::role::b2bua::seats::Carried;
use crate::role::b2bua::session::transcoding;
use crate::role::b2bua::subscription::Course;
use crate::role::b2bua::transfer::{Refer, Transfer};
use crate::role::b2bua::{Body, Call};
use crate::route::Party;
use crate::target::{Found, Waves};

/// How often a transfer may be redirected.
const REDIRECTIONS: u8 = 5;

/// The party that is to take the place.
pub(super) struct Target {
    leg: Leg,
    /// Where it is, until it is asked.
    places: Option<Waves>,
    pub(super) branches: Option<Branches>,
    /// The offer it was sent.
    told: Option<Description>,
    pub(super) carried: Carried,
}

impl Call {
    /// The target is known: it needs ports, and a row where it is to be recorded.
    pub(super) fn open_target(&mut self, cx: &mut Context<'_>, found: Found) {
        let Some(flow) = found.waves.iter().flatten().next().map(|first| first.flow) else {
            return self.transfer_fails(cx, 480);
        };
        let Some(by) = self.transfer.as_ref().map(|transfer| transfer.by) else {
            return;
        };
        let who = Who {
            party: found.callee,
            number: found.number,
        };
        let leg = Leg::new(cx, who, flow);
        leg.open(cx, self.about.group);
        let recorded = self.open_newcomer(cx, by, &leg, Arrival::Transfer);
        if let Some(transfer) = &mut self.transfer {
            transfer.target = Some(Box::new(Target {
                leg,
                places: Some(found.waves),
                branches: None,
                told: None,
                carried: Carried::new(recorded),
            }));
        }
    }

    /// Opens the recording of a party that is to take `side`, where it has one, or where the call is one
    /// for a queue or a virtual line that it picks up.
    pub(super) fn open_newcomer(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        leg: &Leg,
        how: Arrival,
    ) -> Option<Recorded> {
        let across = self.leg(side.other());
        let settings = cx.settings;
        let (party, number) = (leg.who.party, &leg.who.number);
        let role = match how {
            Arrival::Transfer | Arrival::Redirected => Side::Callee,
            Arrival::Replaced | Arrival::PickedUp => side,
        };
        let (class, diverted) = match how {
            Arrival::PickedUp => (self.class_with(settings, &leg.who), self.was_for(settings)),
            _ => {
                let class = classify(settings, across.who.party, party, number);
                (class, Vec::new())
            }
        };
        let half = Half {
            side: role,
            party,
            across: &across.who.number,
            class,
            diverted: &diverted,
        };
        let plan = recorded(settings, half)?;
        // Who meets themselves is one owner, not two.
        if [party, across.who.party] == [Party::User(plan.owner); 2] {
            return None;
        }
        let plan = RecordingPlan { side, ..plan };
        let (from, to) = match role {
            Side::Callee => (&across.who.number, number),
            Side::Caller => (number, &across.who.number),
        };
        let opening = Opening {
            call_id: self.about.call_id.clone(),
            owner: settings.users[plan.owner.0].name.clone(),
            owner_side: side,
            from: from.clone(),
            to: to.clone(),
            party: across.who.number.clone(),
            direction: plan.direction,
            class,
            correlation: self.about.chain,
            diversion: self.about.diversion.clone(),
            mode: plan.settings.mode,
            settled: plan.settled(settings),
            owner_kind: cx.settings.users[plan.owner.0].kind,
            number: 1,
            keeping: plan.keeping(),
        };
        let at = Placed {
            recording: cx.ids.recording(cx.now),
            group: self.about.group,
            owner: leg.id,
            other: across.id,
        };
        Some(Recorded::open(cx, &plan, opening, at))
    }

    /// A leg without a side has ports.
    pub(super) fn transfer_has_ports(&mut self, cx: &mut Context<'_>, leg: LegId, ports: Ports) {
        if self.coming_has_ports(cx, leg, ports) {
            return;
        }
        let target = self.transfer.as_mut().and_then(|t| t.target.as_mut());
        let Some(target) = target.filter(|target| target.leg.id == leg) else {
            return;
        };
        target.leg.ports = Some(ports);
        if let Err(why) = self.invite_target(cx) {
            cx.log(LogEvent::JoinRefused);
            let status = match why {
                SdpError::NoCommonCodec => 488,
                _ => 500,
            };
            self.transfer_fails(cx, status);
        }
    }

    /// Asks the target, with an offer made of what the remaining party last said.
    fn invite_target(&mut self, cx: &mut Context<'_>) -> Result<(), SdpError> {
        let Some(mut transfer) = self.transfer.take() else {
            return Ok(());
        };
        let done = self.invite_with(cx, &mut transfer);
        self.transfer = Some(transfer);
        done
    }

    fn invite_with(
        &mut self,
        cx: &mut Context<'_>,
        transfer: &mut Transfer,
    ) -> Result<(), SdpError> {
        let remaining = self.leg(transfer.by.other());
        let Some(target) = &mut transfer.target else {
            return Ok(());
        };
        let told = offer_for(cx, remaining, (&mut target.leg, self.indication()))?;
        let mut invite = invitation(cx, remaining, &target.leg, &transfer.refer);
        let timer = &mut target.leg.dialogue.timer;
        timer.ask(cx.settings.session_timer, &mut invite.headers);
        invite.set_body("application/sdp", told.write());
        target.told = Some(told);
        let places = target.places.take().unwrap_or_default();
        let mut branches = Branches::new(invite, places);
        branches.next_wave(cx, &mut self.keys);
        target.branches = Some(branches);
        transfer.until = Some(cx.now + cx.settings.ring_limit);
        Ok(())
    }

    fn target_branches(&mut self) -> Option<&mut Branches> {
        self.transfer.as_mut()?.branches()
    }

    /// An answer to the INVITE to the target; whether it was one.
    pub(super) fn transfer_response(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        response: &Response,
    ) -> bool {
        let branches = self.target_branches();
        let Some(step) = branches.and_then(|b| b.response(cx, key, response)) else {
            return false;
        };
        match step {
            Step::Nothing => {}
            Step::Rings => self.notify(cx, response.status.code(), Course::Active),
            Step::Answered(branch) => self.target_answered(cx, branch, response),
            Step::Failed => self.target_failed(cx),
        }
        true
    }

    /// The INVITE to the target failed without an answer; whether it was that.
    pub(super) fn transfer_failed(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        why: ClientFailure,
    ) -> bool {
        let branches = self.target_branches();
        let step = branches.and_then(|b| b.failed(cx, key, why));
        if step.is_some() {
            self.target_failed(cx);
        }
        step.is_some()
    }

    fn target_failed(&mut self, cx: &mut Context<'_>) {
        let Some(mut transfer) = self.transfer.take() else {
            return;
        };
        let branches = transfer.target.as_mut().and_then(|t| t.branches.as_mut());
        let verdict = branches.map(|branches| match branches.verdict() {
            Verdict::Next => {
                branches.next_wave(cx, &mut self.keys);
                Verdict::Wait
            }
            other => other,
        });
        self.transfer = Some(transfer);
        let Some(Verdict::Over(failing)) = verdict else {
            return;
        };
        let contact = failing.contacts().into_iter().next();
        match contact {
            Some(contact) => self.redirect_transfer(cx, contact, failing.code()),
            None => self.transfer_fails(cx, failing.code()),
        }
    }

    fn redirect_transfer(&mut self, cx: &mut Context<'_>, contact: NameAddr, code: u16) {
        self.release_target(cx, code);
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        transfer.redirections += 1;
        if transfer.redirections > REDIRECTIONS {
            return self.transfer_fails(cx, 482);
        }
        self.ask_target(cx, contact.uri);
    }

    /// The target has answered: it takes the place of the one who asked.
    fn target_answered(
        &mut self,
        cx: &mut Context<'_>,
        mut branch: Box<Branch>,
        response: &Response,
    ) {
        let Some(dialog) = branch.confirmed(response) else {
            return self.transfer_fails(cx, 502);
        };
        let cseq = response.cseq().map_or(1, |cseq| cseq.number);
        cx.act(Action::Ack(branch.key, dialog.ack_for(cseq)));
        let flow = branch.flow;
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        let by = transfer.by;
        let Some(mut target) = transfer.target.take() else {
            return;
        };
        target.leg.set_way(flow);
        let said = Body::read(&response.headers, &response.body).ok();
        let said = said.and_then(|body| body.description().cloned());
        let agreed = said.zip(target.told.take()).and_then(|(theirs, ours)| {
            let fits = media(&theirs, &ours, &flow).is_ok();
            fits.then_some(Agreed { theirs, ours })
        });
        let Some(agreed) = agreed else {
            let mut dialog = dialog;
            let bye = dialog.request(Method::Bye);
            self.send_notice(cx, (flow, flow), bye);
            transfer_target_back(&mut self.transfer, target);
            return self.transfer_fails(cx, 488);
        };
        let left = target.branches.take().map(|b| b.abandon(cx));
        self.leave_branches(left.unwrap_or_default());
        self.keep_won(branch);
        target.leg.agreed = Some(agreed);
        let Target { leg, carried, .. } = *target;
        self.notify(cx, 200, Course::Over);
        self.transfer = None;
        cx.log(LogEvent::Transferred);
        self.take_place(cx, by, (leg, Some(dialog)), (carried, Arrival::Transfer));
        self.begin_dialogue(cx, by, response);
    }

    /// The target is not wanted any more.
    pub(super) fn release_target(&mut self, cx: &mut Context<'_>, status: u16) {
        let target = self.transfer.as_mut().and_then(|t| t.target.take());
        let Some(target) = target else {
            return;
        };
        let left = target.branches.map(|branches| branches.abandon(cx));
        self.leave_branches(left.unwrap_or_default());
        let leg = target.leg.id;
        cx.media(MediaCommand::CloseLeg { leg });
        let by = match status {
            487 => HungUpBy::Cancel,
            408 => HungUpBy::NoAnswer,
            status => HungUpBy::CalleeRefused(status),
        };
        target.carried.end(cx, by, &closing(by, Reached::Offered));
    }
}

fn transfer_target_back(transfer: &mut Option<Box<Transfer>>, target: Box<Target>) {
    if let Some(transfer) = transfer {
        transfer.target = Some(target);
    }
}

/// An offer for a party that is new here, made of what the remaining one last said.
pub(super) fn offer_for(
    cx: &Context<'_>,
    remaining: &Leg,
    (target, now): (&mut Leg, Indication),
) -> Result<Description, SdpError> {
    let settings = cx.settings;
    let agreed = remaining.agreed.as_ref().ok_or(SdpError::NoUsableAudio)?;
    let add = target.codecs_to_add(settings);
    let offer = agreed.theirs.offer_again(Direction::SendRecv);
    let told = offer.offer_to(
        &remaining.terms(settings)?,
        &target.terms(settings)?,
        &transcoding(settings, &add),
    )?;
    Ok(target.say(told, now))
}

/// The INVITE to the target, from the remaining party.
fn invitation(cx: &mut Context<'_>, remaining: &Leg, target: &Leg, refer: &Refer) -> Request {
    let mut to = refer.to.clone();
    to.headers = None;
    to.params.remove("method");
    let mut invite = Request::new(Method::Invite, to.clone());
    let from = match &remaining.dialog {
        Some(dialog) => dialog.remote().clone(),
        None => NameAddr::new(Uri::sip(Some(&remaining.who.number), "invalid", None)),
    };
    let mut said = Headers::new();
    said.push("From", from.to_string());
    let headers = &mut invite.headers;
    headers.push("Max-Forwards", refer.max_forwards.to_string());
    headers.push("From", from.with_tag(&target.tag).to_string());
    headers.push("To", NameAddr::new(to).to_string());
    headers.push("Call-ID", cx.tokens.call_id());
    headers.push("CSeq", "1 INVITE");
    introduce(headers, &target.contact(cx.settings));
    if let Some(by) = &refer.referred_by {
        headers.push("Referred-By", by.as_str());
    }
    if let Some(replaces) = &refer.replaces {
        headers.push("Replaces", replaces.as_str());
    }
    let standings = (remaining.dialogue.standing, target.dialogue.standing);
    identity::pass(cx.settings, standings, &said, headers);
    invite
}
