//! Setting a call up: the caller's INVITE to the callee, and the callee's answers back.

use duolog_sip::endpoint::{ClientFailure, ClientKey, ServerKey};
use duolog_sip::sdp::SdpError;
use duolog_sip::{Dialog, Flow, Method, Request, Response, StatusCode, Transport};

use crate::answer::{not_acceptable, refusal};
use crate::fact::{Fact, HungUpBy, Opening, Side};
use crate::log::LogEvent;
use crate::media::{CallId, MediaCommand, RecordingId};
use crate::plan::{Plan, RecordingPlan};
use crate::role::b2bua::carry::{carry, max_forwards};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::{Leg, Protection, Stage, introduce, uri_at, way_back};
use crate::role::b2bua::recorded::Recorded;
use crate::role::b2bua::session::{Exchange, Offer, Unacked, drop_body};
use crate::role::b2bua::sounds::Legs;
use crate::role::b2bua::{Body, Call, Early, Onward, Phase, legs_of};
use crate::route::{Party, Route, number};
use crate::settings::Settings;

/// An INVITE that is to become a call.
pub(crate) struct Begin {
    pub(crate) id: CallId,
    pub(crate) server: ServerKey,
    pub(crate) flow: Flow,
    pub(crate) invite: Request,
    pub(crate) offer: Offer,
    pub(crate) route: Route,
    pub(crate) plan: Plan,
    pub(crate) recording: RecordingId,
}

/// The row of a recording, as far as it is known at the INVITE.
pub(crate) fn opening(
    settings: &Settings,
    invite: &Request,
    route: &Route,
    plan: &RecordingPlan,
) -> Opening {
    Opening {
        call_id: invite.call_id().unwrap_or_default().to_owned(),
        owner: settings.users[plan.owner.0].name.clone(),
        owner_side: plan.side,
        from: invite
            .from()
            .map(|from| number(&from.uri))
            .unwrap_or_default(),
        to: route.number.clone(),
        direction: plan.direction,
        mode: plan.settings.mode,
        dtmf: plan.settings.dtmf,
    }
}

impl Call {
    /// Takes a call on: asks for ports and opens the row of its recording.
    pub(crate) fn begin(cx: &mut Context<'_>, begin: Begin) -> Self {
        let legs = legs_of(begin.id);
        let (back, onward) = (way_back(&begin.invite, begin.flow), begin.route.flow);
        let home = home(cx.settings, &begin, back);
        let protection = [begin.route.caller, begin.route.callee].map(|party| Protection {
            policy: party.media_security(cx.settings),
            keys: cx.keys.leg(),
        });
        let [of_caller, of_callee] = protection;
        let tags = [cx.tokens.tag(), cx.tokens.tag()];
        let [to_caller, to_callee] = tags;
        let caller = Leg::new(
            legs.caller,
            Side::Caller,
            (back, home),
            to_caller,
            of_caller,
        );
        let callee = Leg::new(
            legs.callee,
            Side::Callee,
            (onward, onward),
            to_callee,
            of_callee,
        );
        cx.media(MediaCommand::OpenLeg { leg: legs.caller });
        cx.media(MediaCommand::OpenLeg { leg: legs.callee });
        let recorded = open_recording(cx, &begin, legs);
        let callee_uri = callee_uri(cx.settings, &begin.route);
        let mut call = Self {
            id: begin.id,
            call_id: begin.invite.call_id().unwrap_or_default().to_owned(),
            phase: Phase::Opening,
            caller,
            callee,
            exchange: None,
            relays: Vec::new(),
            abandoned: Vec::new(),
            byes: Vec::new(),
            recorded,
            limit: Some(cx.now + cx.settings.ring_limit),
            keys: 0,
            sent: None,
            early: Early::default(),
            onward: match begin.route.callee {
                Party::User(_) => Onward::Phone,
                Party::Trunk(_) => Onward::Trunk,
            },
        };
        let key = call.next_key();
        let mut to_callee = Request::new(Method::Invite, callee_uri);
        call.address(cx, &begin.invite, &mut to_callee);
        call.sent = Some((key, Box::new(to_callee)));
        call.exchange = Some(Exchange {
            asker: Side::Caller,
            server: begin.server,
            request: begin.invite,
            client: None,
            offer: begin.offer,
            told: None,
            unacked: None,
        });
        call
    }

    /// The fields of the INVITE to the callee; its body waits for ports.
    fn address(&self, cx: &mut Context<'_>, invite: &Request, to_callee: &mut Request) {
        let headers = &mut to_callee.headers;
        headers.push("Max-Forwards", max_forwards(invite).to_string());
        if let (Ok(from), Ok(to)) = (invite.from(), invite.to()) {
            headers.push("From", from.with_tag(&self.callee.tag).to_string());
            let mut to = to;
            to.params.remove("tag");
            headers.push("To", to.to_string());
        }
        headers.push("Call-ID", cx.tokens.call_id());
        headers.push("CSeq", "1 INVITE");
        introduce(headers, &self.callee.contact(cx.settings));
        carry(&invite.headers, headers);
    }

    /// Both legs have ports: ask the callee.
    pub(super) fn invite_callee(&mut self, cx: &mut Context<'_>) {
        let (Some(exchange), Some((key, sent))) = (&self.exchange, &self.sent) else {
            return;
        };
        let (key, mut invite) = (*key, (**sent).clone());
        let body = Body::read(&exchange.request.headers, &exchange.request.body);
        let carried = body.and_then(|body| self.carry_offer(cx.settings, Side::Callee, &body));
        let carried = match carried {
            Ok(carried) => carried,
            Err(why) => return self.fail_session(cx, &why),
        };
        invite.body = carried.bytes;
        self.phase = Phase::Inviting;
        if let Some(exchange) = &mut self.exchange {
            exchange.client = Some(key);
            exchange.told = carried.told;
        }
        self.note(cx, Fact::Offered);
        cx.act(Action::Request(key, self.callee.flow, invite));
    }

    /// An answer of the callee to the first INVITE.
    pub(super) fn first_answer(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        response: &Response,
    ) {
        if response.status.is_success() {
            self.callee_answered(cx, key, response);
        } else if response.status.is_final() {
            self.callee_refused(cx, response);
        } else if response.status.code() > 100 {
            self.callee_rings(cx, response);
        }
    }

    fn callee_rings(&mut self, cx: &mut Context<'_>, response: &Response) {
        let Some(exchange) = &self.exchange else {
            return;
        };
        let mut reply = self.reply(cx, &exchange.request, Side::Caller, response);
        let status = response.status.code();
        if self.early.status.replace(status) != Some(status) {
            self.note(cx, Fact::Ringing { status });
        }
        match Body::read(&response.headers, &response.body) {
            Ok(body) if body.description().is_none() => reply.body = body.bytes(),
            Ok(body) => match self.carry_answer(cx.settings, &body) {
                Ok(answered) => {
                    reply.body = answered.bytes.clone();
                    if self.callee.agreed.is_none() {
                        self.note(cx, Fact::EarlyMedia);
                    }
                    self.settle(cx, answered);
                }
                // An offer in an unreliable answer is none (RFC 3261 §13.2.1); a bad one is dropped.
                Err(_) => drop_body(&mut reply.headers),
            },
            Err(_) => drop_body(&mut reply.headers),
        }
        self.make_caller_dialog(cx, &reply);
        self.respond_to_asker(cx, reply);
    }

    fn callee_answered(&mut self, cx: &mut Context<'_>, key: ClientKey, response: &Response) {
        let Some((_, sent)) = &self.sent else {
            return;
        };
        let Ok(dialog) = Dialog::uac(sent, response, self.callee.flow) else {
            // Without a Contact or a tag there is no dialog to acknowledge in.
            self.forget_exchange_client();
            return self.fail(cx, 502, HungUpBy::BadSession);
        };
        self.forget_exchange_client();
        self.callee.bind(cx, dialog);
        self.callee.stage = Stage::Established;
        let answer = self.take_answer(
            cx,
            Unacked {
                client: key,
                cseq: 1,
            },
            response,
        );
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => return self.fail_session(cx, &why),
        };
        let Some(exchange) = &self.exchange else {
            return;
        };
        let mut reply = self.reply(cx, &exchange.request, Side::Caller, response);
        answer.put(&mut reply);
        self.make_caller_dialog(cx, &reply);
        self.caller.stage = Stage::Answered;
        self.phase = Phase::Answered;
        self.limit = None;
        self.note(cx, Fact::Answered);
        self.respond_to_asker(cx, reply);
    }

    fn callee_refused(&mut self, cx: &mut Context<'_>, response: &Response) {
        self.forget_exchange_client();
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

    /// Neither answer nor refusal came from the callee.
    pub(super) fn callee_unreachable(&mut self, cx: &mut Context<'_>, why: ClientFailure) {
        self.forget_exchange_client();
        let code = match (why, self.onward) {
            (ClientFailure::Timeout, Onward::Phone) => 408,
            (ClientFailure::Timeout, Onward::Trunk) => 504,
            // To be taken for a 503 of the callee, which is 500 for the caller (RFC 3261 §16.9).
            (ClientFailure::Transport, _) => 500,
        };
        self.fail(cx, code, HungUpBy::NoAnswer);
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
        carry(&response.headers, &mut reply.headers);
        reply
    }

    pub(super) fn respond_to_asker(&self, cx: &mut Context<'_>, response: Response) {
        if let Some(exchange) = &self.exchange {
            cx.act(Action::Respond(exchange.server, response));
        }
    }

    pub(super) fn forget_exchange_client(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            exchange.client = None;
        }
    }

    fn make_caller_dialog(&mut self, cx: &mut Context<'_>, reply: &Response) {
        let Some(exchange) = &self.exchange else {
            return;
        };
        if let Some(dialog) = &mut self.caller.dialog {
            dialog.confirm(reply);
        } else if let Ok(dialog) = Dialog::uas(&exchange.request, reply, self.caller.flow) {
            self.caller.bind(cx, dialog);
        }
    }
}

/// Where the caller listens, as configured: what its connection came from is no place to connect to.
fn home(settings: &Settings, begin: &Begin, back: Flow) -> Flow {
    let contact = begin.route.caller.contact(settings);
    match (back.transport, contact.transport) {
        (Transport::Tcp, Transport::Tcp) => Flow {
            local: settings.local.tcp.unwrap_or(back.local),
            peer: contact.addr,
            ..back
        },
        _ => back,
    }
}

/// Opens the row of a call that is to be recorded.
fn open_recording(cx: &mut Context<'_>, begin: &Begin, legs: Legs) -> Option<Recorded> {
    let Plan::Recorded(plan) = &begin.plan else {
        cx.log(LogEvent::Began { recorded: None });
        return None;
    };
    let recording = begin.recording;
    let opening = Box::new(opening(cx.settings, &begin.invite, &begin.route, plan));
    let (owner, other) = (legs.of(plan.side), legs.of(plan.side.other()));
    cx.media(MediaCommand::OpenRecording {
        recording,
        owner,
        other,
        opening,
    });
    cx.log(LogEvent::Began {
        recorded: Some(plan.direction),
    });
    cx.log(LogEvent::RecordingOpened { recording });
    let recorded = Recorded::new(recording, plan, legs, cx);
    if let Some(other) = plan.other_owner {
        let user = cx.settings.users[other.0].name.clone();
        recorded.note(cx, Fact::OtherOwner { user });
    }
    Some(recorded)
}

/// The callee's number at the callee's address.
fn callee_uri(settings: &Settings, route: &Route) -> duolog_sip::Uri {
    let contact = route.callee.contact(settings);
    uri_at(Some(&route.number), contact.addr, contact.transport)
}
