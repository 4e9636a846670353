//! Setting a call up: the caller's INVITE to the callee, and the callee's answers back.

use duolog_sip::endpoint::{ClientFailure, ClientKey, ServerKey};
use duolog_sip::sdp::SdpError;
use duolog_sip::{Dialog, Flow, Request, Response, StatusCode};

use crate::answer::{not_acceptable, refusal};
use crate::fact::{Fact, HungUpBy, Opening, Side};
use crate::log::LogEvent;
use crate::media::{CallId, LegId, MediaGroup, RecordingId};
use crate::plan::{Plan, RecordingPlan};
use crate::role::b2bua::branches::{Branch, Branches, Failing, Keys, Step, Verdict};
use crate::role::b2bua::carry::max_forwards;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::handoff::Handing;
use crate::role::b2bua::identity::{diversions, known_as, shown_from};
use crate::role::b2bua::leg::{Leg, Stage, Who, home, introduce, way_back};
use crate::role::b2bua::prack::{Speaks, invite_reliably};
use crate::role::b2bua::recordings::Recordings;
use crate::role::b2bua::redirect::Redirection;
use crate::role::b2bua::reliable::Sending;
use crate::role::b2bua::row::Placed;
use crate::role::b2bua::session::{Exchange, Offer, Unacked};
use crate::role::b2bua::sounds::Legs;
use crate::role::b2bua::{About, Body, Bridging, Call, Phase};
use crate::route::{Party, Route};
use crate::settings::Settings;
use crate::target::{Answer as Answered, AskId, Found, Waves};

/// An INVITE that is to become a call.
pub(crate) struct Begin {
    pub(crate) id: CallId,
    pub(crate) server: ServerKey,
    pub(crate) flow: Flow,
    pub(crate) invite: Request,
    pub(crate) offer: Offer,
    pub(crate) route: Route,
    pub(crate) plan: Plan,
    /// The first recording, and the name of the chain of calls.
    pub(crate) recording: RecordingId,
    /// Where both legs' media is.
    pub(crate) group: MediaGroup,
}

/// The way to an answered call.
#[derive(Default)]
pub(super) struct Setup {
    /// Where the callee is, until it is asked.
    places: Option<Waves>,
    /// The places that are asked.
    pub(super) branches: Option<Branches>,
    /// The branch that answered: further answers to its INVITE come from other forks.
    won: Option<Box<Branch>>,
    /// The last provisional status that was passed on.
    status: Option<u16>,
    pub(super) bridging: Bridging,
    pub(super) redirection: Redirection,
    /// The INVITE of a party that has taken a place, and its leg: the ACK is awaited.
    pub(super) replaced: Option<(ServerKey, LegId)>,
}

/// The row of a recording, as far as it is known at the INVITE.
pub(crate) fn opening(settings: &Settings, begin: &Begin, plan: &RecordingPlan) -> Opening {
    let invite = &begin.invite;
    let (from, to) = (
        caller_number(settings, begin.route.caller, invite),
        begin.route.number.clone(),
    );
    let party = match plan.side {
        Side::Caller => to.clone(),
        Side::Callee => from.clone(),
    };
    Opening {
        call_id: invite.call_id().unwrap_or_default().to_owned(),
        owner: settings.users[plan.owner.0].name.clone(),
        owner_side: plan.side,
        from,
        to,
        party,
        direction: plan.direction,
        class: plan.class,
        correlation: begin.recording.0,
        diversion: diversions(invite),
        mode: plan.settings.mode,
        settled: plan.settled(settings),
        owner_kind: settings.users[plan.owner.0].kind,
        number: 1,
        keeping: plan.keeping(),
    }
}

/// The number a caller is known by, in this node's form.
pub(crate) fn caller_number(settings: &Settings, caller: Party, invite: &Request) -> String {
    let standing = crate::role::b2bua::identity::Standing::of(settings, caller);
    let number = known_as(settings, standing, invite);
    crate::route::own_number(settings, caller, &number)
}

impl Call {
    /// Takes a call on: asks for ports and opens the rows of its recordings.
    pub(crate) fn begin(cx: &mut Context<'_>, begin: Begin) -> Self {
        let settings = cx.settings;
        let back = way_back(&begin.invite, begin.flow);
        let who = |party, number| Who { party, number };
        let caller = who(
            begin.route.caller,
            caller_number(settings, begin.route.caller, &begin.invite),
        );
        let callee = who(begin.route.callee, begin.route.number.clone());
        let home = home(settings, begin.route.caller, &begin.invite, begin.flow);
        let mut caller = Leg::new(cx, caller, back).at_home(home);
        caller.dialogue.begun_by(settings, &begin.invite);
        let callee = Leg::new(cx, callee, back);
        caller.open(cx, begin.group);
        let legs = Legs {
            caller: Some(caller.listener(settings)),
            callee: Some(callee.listener(settings)),
        };
        let recorded = open_recordings(cx, &begin, legs);
        Self {
            about: About {
                call_id: begin.invite.call_id().unwrap_or_default().to_owned(),
                group: begin.group,
                chain: begin.recording.0,
                class: begin.route.class,
                diversion: diversions(&begin.invite),
                asked: 0,
            },
            phase: Phase::Opening,
            caller,
            callee,
            exchange: Some(Exchange {
                asker: Side::Caller,
                server: begin.server,
                request: begin.invite,
                client: None,
                offer: begin.offer,
                told: None,
                unacked: None,
            }),
            relays: Vec::new(),
            abandoned: Vec::new(),
            notices: Vec::new(),
            recorded,
            limit: Some(cx.now + settings.ring_limit),
            keys: Keys::new(begin.id),
            setup: Setup::default(),
            transfer: None,
            coming: None,
            leaving: Vec::new(),
        }
    }

    /// The routing's answer to a question: AskId 0 is the call itself.
    pub(crate) fn found(&mut self, cx: &mut Context<'_>, ask: AskId, found: Answered) {
        if self.setup.redirection.asked == Some(ask) {
            // The caller may have given up meanwhile, or somebody have picked the call up.
            if self.phase == Phase::Inviting {
                self.redirection_found(cx, found);
            }
            return;
        }
        if ask != AskId(0) {
            return self.transfer_found(cx, ask, found);
        }
        if self.phase != Phase::Opening {
            return;
        }
        match found {
            Ok(found) => self.callee_found(cx, *found),
            Err(why) => self.unreachable(cx, why.status_code()),
        }
    }

    /// The callee is nowhere to be asked.
    fn unreachable(&mut self, cx: &mut Context<'_>, code: u16) {
        let by = HungUpBy::NoAnswer;
        if self.leave_message(cx, by) == Handing::NotDone {
            self.fail(cx, code, by);
        }
    }

    fn callee_found(&mut self, cx: &mut Context<'_>, found: Found) {
        let Some(first) = found.waves.iter().flatten().next() else {
            return self.unreachable(cx, 480);
        };
        self.callee.set_way(first.flow);
        self.callee.open(cx, self.about.group);
        self.setup.places = Some(found.waves);
    }

    /// Both legs have ports: ask the callee.
    pub(super) fn invite_callee(&mut self, cx: &mut Context<'_>) {
        let Some(places) = self.setup.places.take() else {
            return;
        };
        let Some(invite) = self.callee_invite(cx) else {
            return;
        };
        self.phase = Phase::Inviting;
        self.limit = Some(cx.now + self.rings_for(cx.settings));
        self.note(cx, Fact::Offered);
        let mut branches = Branches::new(invite, places);
        branches.next_wave(cx, &mut self.keys);
        self.setup.branches = Some(branches);
    }

    /// The INVITE to the callee; where none can be made the call has failed.
    pub(super) fn callee_invite(&mut self, cx: &mut Context<'_>) -> Option<Request> {
        let exchange = self.exchange.as_ref()?;
        let body = Body::read(&exchange.request.headers, &exchange.request.body);
        let carried = body.and_then(|body| self.carry_offer(cx.settings, Side::Callee, &body));
        let carried = match carried {
            Ok(carried) => carried,
            Err(why) => {
                self.fail_session(cx, &why);
                return None;
            }
        };
        let exchange = self.exchange.as_mut()?;
        exchange.told = carried.told;
        let exchange = self.exchange.as_ref()?;
        let mut invite = self.address(cx, &exchange.request);
        invite.body = carried.bytes;
        Some(invite)
    }

    /// The fields of the INVITE to the callee.
    fn address(&self, cx: &mut Context<'_>, invite: &Request) -> Request {
        // The Request-URI is that of each place.
        let mut to_callee = Request::new(invite.method.clone(), invite.uri.clone());
        let headers = &mut to_callee.headers;
        headers.push("Max-Forwards", max_forwards(invite).to_string());
        if let (Ok(from), Ok(to)) = (invite.from(), invite.to()) {
            let from = shown_from(from, &invite.headers, self.callee.dialogue.standing);
            headers.push("From", from.with_tag(&self.callee.tag).to_string());
            let mut to = to;
            to.params.remove("tag");
            headers.push("To", to.to_string());
        }
        headers.push("Call-ID", cx.tokens.call_id());
        headers.push("CSeq", "1 INVITE");
        introduce(headers, &self.callee.contact(cx.settings));
        invite_reliably(invite, headers);
        self.callee
            .dialogue
            .timer
            .ask(cx.settings.session_timer, headers);
        self.pass(cx.settings, Side::Caller, &invite.headers, headers);
        to_callee
    }

    /// An answer to the INVITE to the callee; whether it was one.
    pub(super) fn setup_response(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        response: &Response,
    ) -> bool {
        if response.status.code() == 422 && self.interval_raised(cx, key, response) {
            return true;
        }
        let branches = self.setup.branches.as_mut();
        let Some(step) = branches.and_then(|b| b.response(cx, key, response)) else {
            return false;
        };
        match step {
            Step::Nothing => {}
            Step::Rings => self.callee_rings(cx, key, response),
            Step::Answered(branch) => self.callee_answered(cx, branch, response),
            Step::Failed => self.callee_failed(cx),
        }
        true
    }

    /// The INVITE to the callee failed without an answer; whether it was that.
    pub(super) fn setup_failed(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        why: ClientFailure,
    ) -> bool {
        let branches = self.setup.branches.as_mut();
        let step = branches.and_then(|b| b.failed(cx, key, why));
        if step.is_some() {
            self.callee_failed(cx);
        }
        step.is_some()
    }

    fn callee_rings(&mut self, cx: &mut Context<'_>, key: ClientKey, response: &Response) {
        let Some(came) = self.came(response) else {
            return;
        };
        let Some(exchange) = &self.exchange else {
            return;
        };
        let mut reply = self.reply(cx, &exchange.request, Side::Caller, response);
        let status = response.status.code();
        if self.setup.status.replace(status) != Some(status) {
            self.note(cx, Fact::Ringing { status });
        }
        let speaks = self.early_dialog_of(cx, key, response);
        let contents = self.early_body(cx, &mut reply, (&came, speaks), response);
        self.make_caller_dialog(cx, &reply);
        self.ring(cx, reply, contents, (came, speaks));
    }

    /// Takes the dialog that a provisional answer makes. The first one of a call is that of the leg,
    /// and it alone is heard before the answer.
    fn early_dialog_of(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        response: &Response,
    ) -> Speaks {
        let branches = self.setup.branches.as_mut();
        let Some(branch) = branches.and_then(|branches| branches.branch(key)) else {
            return Speaks::No;
        };
        let tag = response.to_addr().ok();
        let tag = tag.as_ref().and_then(|to| to.tag());
        let Some(tag) = tag else {
            // Without a tag there is no dialog: it can only be the one place that is asked.
            return match self.callee.dialog {
                Some(_) => Speaks::No,
                None => Speaks::Yes,
            };
        };
        let Some(dialog) = &mut self.callee.dialog else {
            if let Ok(dialog) = Dialog::uac(&branch.sent, response, branch.flow) {
                self.callee.set_way(branch.flow);
                self.callee.bind(cx, Side::Callee, dialog);
            }
            return Speaks::Yes;
        };
        if dialog.id().remote_tag == tag {
            dialog.confirm(response);
            return Speaks::Yes;
        }
        // Nobody but the first of several is heard, but its dialog is known.
        let _ = branch.early(response);
        Speaks::No
    }

    fn callee_answered(
        &mut self,
        cx: &mut Context<'_>,
        mut branch: Box<Branch>,
        response: &Response,
    ) {
        self.abandon_branches(cx);
        let Some(dialog) = self.winner(&mut branch, response) else {
            // Without a Contact or a tag there is no dialog to acknowledge in.
            return self.fail(cx, 502, HungUpBy::BadSession);
        };
        self.answered_before_pick_up(cx);
        let first = self.callee.dialog.as_ref();
        let other = first.is_some_and(|first| first.id() != dialog.id());
        if other {
            self.another_fork(cx);
        }
        self.callee.set_way(branch.flow);
        self.callee.bind(cx, Side::Callee, dialog);
        self.callee.stage = Stage::Established;
        let unacked = Unacked {
            client: branch.key,
            cseq: response.cseq().map_or(1, |cseq| cseq.number),
        };
        self.setup.won = Some(branch);
        let now = cx.now;
        self.refreshed_by(now, Side::Callee, response);
        let answer = match self.take_answer(cx, unacked, response) {
            Ok(answer) => answer,
            Err(why) => return self.fail_session(cx, &why),
        };
        let Some(exchange) = &self.exchange else {
            return;
        };
        let mut reply = self.reply(cx, &exchange.request, Side::Caller, response);
        answer.put(&mut reply);
        self.make_caller_dialog(cx, &reply);
        self.phase = Phase::Answered;
        self.limit = None;
        self.note(cx, Fact::Answered);
        self.answer_caller(cx, reply);
    }

    /// The dialog of a 2xx: that of the leg, another early one, or a new one.
    fn winner(&mut self, branch: &mut Branch, response: &Response) -> Option<Dialog> {
        let to = response.to_addr().ok()?;
        let tag = to.tag().unwrap_or_default();
        if let Some(dialog) = &mut self.callee.dialog
            && dialog.id().remote_tag == tag
        {
            dialog.confirm(response);
            return Some(dialog.clone());
        }
        branch.confirmed(response)
    }

    /// Another fork answers than the one that was heard early: what was agreed with that one does not
    /// count, and the caller, where it knows of it, gets another dialog (RFC 3261 §13.2.2.4).
    fn another_fork(&mut self, cx: &mut Context<'_>) {
        // What the caller asked of that one is not answered by this one.
        self.party_leaves(cx, Side::Callee);
        self.callee.unbind(cx);
        self.callee.dialog = None;
        self.callee.agreed = None;
        self.callee.connected = None;
        if self.caller.agreed.take().is_some() {
            self.caller.unbind(cx);
            self.caller.dialog = None;
            self.caller.tag = cx.tokens.tag();
        }
        self.caller.dialogue.sending = Sending::default();
        if let Some(exchange) = &mut self.exchange {
            exchange.reopen();
        }
    }

    /// A branch has failed: others may still answer, or be asked.
    fn callee_failed(&mut self, cx: &mut Context<'_>) {
        let Some(branches) = &mut self.setup.branches else {
            return;
        };
        match branches.verdict() {
            Verdict::Wait => {}
            Verdict::Next => branches.next_wave(cx, &mut self.keys),
            Verdict::Over(failing) => {
                if !self.redirected(cx, &failing) {
                    self.abandon_branches(cx);
                    self.nobody_answers(cx, failing);
                }
            }
        }
    }

    /// The caller is told why nobody answers.
    pub(super) fn nobody_answers(&mut self, cx: &mut Context<'_>, failing: Failing) {
        let by = match &failing {
            Failing::Refused(response) => HungUpBy::CalleeRefused(response.status.code()),
            Failing::Silent(_) => HungUpBy::NoAnswer,
        };
        if failing.lets_leave_a_message() && self.leave_message(cx, by) == Handing::Done {
            return;
        }
        match failing {
            Failing::Refused(response) => self.callee_refused(cx, &response),
            Failing::Silent(why) => {
                let code = match (why, self.callee.who.party) {
                    (ClientFailure::Timeout, Party::User(_)) => 408,
                    (ClientFailure::Timeout, Party::Trunk(_)) => 504,
                    // To be taken for a 503 of the callee, which is 500 for the caller (RFC 3261 §16.9).
                    (ClientFailure::Transport, _) => 500,
                };
                self.fail(cx, code, HungUpBy::NoAnswer);
            }
        }
    }

    fn callee_refused(&mut self, cx: &mut Context<'_>, response: &Response) {
        let by = HungUpBy::CalleeRefused(response.status.code());
        let Some(exchange) = &self.exchange else {
            return;
        };
        if (300..400).contains(&response.status.code()) {
            // A redirection would take the call around this node, and so around its recording.
            return self.fail(cx, 480, by);
        }
        if response.status == StatusCode::UNAVAILABLE {
            // A 503 says that this node cannot take calls (RFC 3261 §16.7 step 6).
            return self.fail(cx, 500, by);
        }
        let mut reply = self.reply(cx, &exchange.request, Side::Caller, response);
        reply.headers.remove("Contact");
        reply.body = response.body.clone();
        self.respond_to_asker(cx, reply);
        self.end(cx, by);
    }

    /// Nobody is to be asked any more.
    pub(super) fn abandon_branches(&mut self, cx: &mut Context<'_>) {
        let branches = self.setup.branches.take();
        let left = branches.map(|branches| branches.abandon(cx));
        self.leave_branches(left.unwrap_or_default());
    }

    /// The branch that made this dialog, or would have: for answers of other forks.
    pub(super) fn won(&self, key: ClientKey) -> Option<&Branch> {
        let won = self.setup.won.as_deref();
        won.filter(|branch| branch.key == key)
    }

    /// A branch has made a dialog.
    pub(super) fn keep_won(&mut self, branch: Box<Branch>) {
        self.setup.won = Some(branch);
    }

    /// Refuses the caller's INVITE and ends the call.
    pub(super) fn fail(&mut self, cx: &mut Context<'_>, code: u16, by: HungUpBy) {
        self.refuse_caller(cx, code);
        self.end(cx, by);
    }

    /// The same where the parties' media cannot be brought together.
    fn fail_session(&mut self, cx: &mut Context<'_>, why: &SdpError) {
        self.refuse_caller_with(cx, |settings, invite| not_acceptable(settings, invite, why));
        self.end(cx, HungUpBy::BadSession);
    }

    /// Refuses the caller's INVITE, if it has no final answer yet.
    pub(super) fn refuse_caller(&self, cx: &mut Context<'_>, code: u16) {
        self.refuse_caller_with(cx, |settings, invite| refusal(settings, invite, code, None));
    }

    fn refuse_caller_with(
        &self,
        cx: &mut Context<'_>,
        refusal: impl FnOnce(&Settings, &Request) -> Response,
    ) {
        if matches!(self.phase, Phase::Opening | Phase::Inviting)
            && let Some(exchange) = &self.exchange
        {
            let mut response = refusal(cx.settings, &exchange.request);
            response.set_to_tag(&self.caller.tag);
            let status = response.status.code();
            cx.log(LogEvent::Refused { status });
            self.respond_to_asker(cx, response);
        }
    }

    /// An answer to `request` of `side`, with what may pass of the other side's answer.
    pub(super) fn reply(
        &self,
        cx: &Context<'_>,
        request: &Request,
        side: Side,
        response: &Response,
    ) -> Response {
        let mut reply = Response::to(request, response.status);
        reply.reason.clone_from(&response.reason);
        reply.set_to_tag(&self.leg(side).tag);
        // What makes a dialog carries the path back (RFC 3261 §12.1.1).
        if !response.status.is_final() || response.status.is_success() {
            for route in request.headers.values("Record-Route") {
                reply.headers.push("Record-Route", route);
            }
        }
        introduce(&mut reply.headers, &self.leg(side).contact(cx.settings));
        let far = side.other();
        self.pass(cx.settings, far, &response.headers, &mut reply.headers);
        reply
    }

    pub(super) fn respond_to_asker(&self, cx: &mut Context<'_>, response: Response) {
        if let Some(exchange) = &self.exchange {
            cx.act(Action::Respond(exchange.server, response));
        }
    }

    pub(super) fn make_caller_dialog(&mut self, cx: &mut Context<'_>, reply: &Response) {
        let Some(exchange) = &self.exchange else {
            return;
        };
        if let Some(dialog) = &mut self.caller.dialog {
            dialog.confirm(reply);
        } else if let Ok(dialog) = Dialog::uas(&exchange.request, reply, self.caller.flow) {
            self.caller.bind(cx, Side::Caller, dialog);
        }
    }
}

/// Opens the rows of a call that is to be recorded.
fn open_recordings(cx: &mut Context<'_>, begin: &Begin, legs: Legs) -> Recordings {
    let mut recorded = Recordings::new(legs);
    let direction = begin.plan.recordings().next().map(|plan| plan.direction);
    cx.log(LogEvent::Began {
        recorded: direction,
    });
    let mut first = Some(begin.recording);
    for plan in begin.plan.recordings() {
        let (Some(owner), Some(other)) = (legs.of(plan.side), legs.of(plan.side.other())) else {
            continue;
        };
        let recording = first.take().unwrap_or_else(|| cx.ids.recording(cx.now));
        let at = Placed {
            recording,
            group: begin.group,
            owner,
            other,
        };
        let opening = opening(cx.settings, begin, plan);
        recorded.open(cx, plan, opening, at);
    }
    recorded
}
