//! The SIP side of a phone: transactions, and which call it is in. Calls out are
//! [`super::calling`], calls in [`super::ringing`]; what happens inside a dialog is [`super::talk`].

use std::collections::BTreeMap;
use std::time::Instant;

use duolog_reach::digest::Memory;
use duolog_sip::endpoint::{self, EndpointSettings, Timers};
use duolog_sip::sdp::RecordState;
use duolog_sip::{
    ClientKey, Dialog, Endpoint, Flow, NameAddr, Replaces, Request, Response, ServerKey,
    StatusCode, Tokens, Transport, Uri,
};

use super::change::Changing;
use super::media::MediaSide;
use super::offer::{Session, Terms};
use super::refer::Referring;
use super::registering::Registration;
use super::session_timer::Clock;
use super::{
    Action, Calling, Failure, Input, Keep, Output, PhoneEvent, PhoneSettings, Shown, next_random,
};

pub(super) const ALLOW: &str =
    "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY, MESSAGE";

/// What a step of the agent acts on.
pub(super) struct Steps<'a> {
    pub now: Instant,
    pub media: &'a mut MediaSide,
    pub out: &'a mut Vec<Output>,
    /// What the phone has shown of recordings.
    pub shown: &'a mut Vec<Shown>,
}

impl Steps<'_> {
    pub(super) fn tell(&mut self, event: PhoneEvent) {
        self.out.push(Output::Event(event));
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.tell(PhoneEvent::Failed(failure));
    }

    /// Talks as agreed.
    pub(super) fn connect(&mut self, terms: Terms) {
        if let Some(state) = terms.recording {
            self.show(state);
        }
        if self.media.connect(self.now, terms).is_err() {
            self.fail(Failure::NoAudio);
        }
    }

    /// The icon, where it is another one than before; at first it is dark.
    pub(super) fn show(&mut self, state: RecordState) {
        let before = self.shown.last();
        let before = before.map_or(RecordState::Off, |shown| shown.state);
        if before != state {
            let at = self.now;
            self.shown.push(Shown { at, state });
            self.tell(PhoneEvent::Indicated(state));
        }
    }
}

/// What a client transaction was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Invite,
    Change,
    Prack,
    Bye,
    Info,
    Other,
    Refer,
    Notify,
    Register,
}

/// A request that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) purpose: Purpose,
    pub(super) flow: Flow,
    pub(super) request: Request,
}

/// Whether a call out is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Yes,
    No,
}

/// A call out that is not answered.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) key: ClientKey,
    pub(super) invite: Request,
    pub(super) wanted: Wanted,
    /// The early dialog, from the first provisional response that made one.
    pub(super) early: Option<Dialog>,
    /// The number of the last reliable provisional response.
    pub(super) rseq: Option<u32>,
    /// Whether there are terms already.
    pub(super) agreed: Agreement,
}

/// Whether offer and answer are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    Open,
    Reached,
}

/// A call that rings here.
#[derive(Debug)]
pub(super) struct Ringing {
    pub(super) key: ServerKey,
    pub(super) invite: Request,
    pub(super) flow: Flow,
    pub(super) answer_at: Instant,
    pub(super) early: Option<Dialog>,
    /// The number of the reliable provisional response that waits for its PRACK.
    pub(super) unacknowledged: Option<u32>,
    pub(super) agreed: Agreement,
    /// The description that was sent unreliably: the answer repeats it.
    pub(super) told: Option<bytes::Bytes>,
}

/// A call that was answered.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) dialog: Dialog,
    /// The INVITE that was answered here.
    pub(super) answered: Option<ServerKey>,
    pub(super) clock: Option<Clock>,
}

/// The call a phone is in.
#[derive(Debug)]
pub(super) enum Call {
    Idle,
    Calling(Box<Placed>),
    Ringing(Box<Ringing>),
    Talking(Box<Talk>),
}

#[derive(Debug)]
pub(super) struct UserAgent {
    pub(super) settings: PhoneSettings,
    endpoint: Endpoint,
    pub(super) tokens: Tokens,
    next_key: u64,
    pub(super) sent: BTreeMap<ClientKey, Sent>,
    pub(super) call: Call,
    call_id: Option<String>,
    pub(super) tag: String,
    pub(super) session: Session,
    pub(super) changing: Changing,
    pub(super) referring: Referring,
    pub(super) registration: Registration,
    /// What the proxy's challenges told.
    pub(super) nonces: Memory,
    /// Requests that came inside its calls or began them.
    asked: Vec<Request>,
    pub(super) random: u64,
}

impl UserAgent {
    pub(super) fn new(settings: PhoneSettings, mut seed: u64) -> Self {
        let mut bytes = [0; 32];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&next_random(&mut seed).to_be_bytes());
        }
        let mut tokens = Tokens::new(bytes);
        bytes[0] ^= 1;
        let endpoint_settings = EndpointSettings {
            own: vec![(settings.flow.transport, settings.flow.local)],
            server_name: "duolog test phone".to_owned(),
            timers: Timers::default(),
        };
        Self {
            endpoint: Endpoint::new(endpoint_settings, bytes),
            next_key: 1,
            sent: BTreeMap::new(),
            call: Call::Idle,
            call_id: None,
            tag: tokens.tag(),
            session: Session::new(next_random(&mut seed) >> 1),
            changing: Changing::default(),
            referring: Referring::default(),
            registration: Registration::new(tokens.call_id(), tokens.tag()),
            nonces: Memory::default(),
            asked: Vec::new(),
            random: next_random(&mut seed),
            settings,
            tokens,
        }
    }

    pub(super) fn call_id(&self) -> Option<&str> {
        self.call_id.as_deref()
    }

    pub(super) fn user(&self) -> &str {
        &self.settings.user
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.call, Call::Idle)
    }

    pub(super) fn asked(&self) -> &[Request] {
        &self.asked
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let call = match &self.call {
            Call::Ringing(ringing) if ringing.unacknowledged.is_none() => Some(ringing.answer_at),
            Call::Talking(talk) => {
                let clock = talk.clock.as_ref().map(|clock| clock.at);
                [self.changing.again_at(), clock]
                    .into_iter()
                    .flatten()
                    .min()
            }
            _ => None,
        };
        [self.endpoint.deadline(), call, self.registration.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn handle(&mut self, input: Input, steps: &mut Steps<'_>) {
        match input {
            Input::Sip { flow, bytes } => {
                self.run(endpoint::Input::Received { flow, bytes }, steps);
            }
            Input::FlowFailed { flow } => self.run(endpoint::Input::FlowFailed { flow }, steps),
            Input::Do(action) => self.act(action, steps),
            Input::Rtp { .. } | Input::Rtcp { .. } => {}
            Input::Deadline => {
                self.run(endpoint::Input::Deadline, steps);
                self.due(steps);
            }
        }
    }

    fn due(&mut self, steps: &mut Steps<'_>) {
        match &self.call {
            Call::Ringing(ringing)
                if ringing.answer_at <= steps.now && ringing.unacknowledged.is_none() =>
            {
                self.final_answer(self.settings.answering.code, steps);
            }
            Call::Talking(talk) => {
                let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= steps.now);
                let again = is_due(self.changing.again_at());
                let clock = is_due(talk.clock.as_ref().map(|clock| clock.at));
                if again {
                    self.change_again(steps);
                }
                if clock {
                    self.clock_due(steps);
                }
            }
            _ => {}
        }
        self.registration_due(steps);
    }

    fn act(&mut self, action: Action, steps: &mut Steps<'_>) {
        match (action, &mut self.call) {
            (Action::Call { uri }, Call::Idle) => self.place_call(Calling::to(uri), steps),
            (Action::CallWith(calling), Call::Idle) => self.place_call(*calling, steps),
            (Action::HangUp | Action::Cancel, Call::Calling(placed)) => {
                placed.wanted = Wanted::No;
                let key = placed.key;
                self.run(endpoint::Input::Cancel { key }, steps);
            }
            (Action::HangUp, Call::Ringing(_)) => {
                let decline = StatusCode::new(603).expect("603 is a status code");
                self.final_answer(decline, steps);
            }
            (Action::Answer, Call::Ringing(ringing)) if ringing.unacknowledged.is_none() => {
                self.final_answer(StatusCode::OK, steps);
            }
            (Action::HangUp, Call::Talking(_)) => self.bye(steps),
            (Action::Register { expires_s }, _) => self.register(expires_s, steps),
            (action, _) => self.act_inside(action, steps),
        }
    }

    /// Feeds the endpoint and does what it asks.
    pub(super) fn run(&mut self, input: endpoint::Input, steps: &mut Steps<'_>) {
        for output in self.endpoint.handle(steps.now, input) {
            match output {
                endpoint::Output::Transmit { flow, bytes } => {
                    steps.out.push(Output::Send { flow, bytes });
                }
                endpoint::Output::Request { key, flow, request } => {
                    self.requested(key, flow, request, steps);
                }
                endpoint::Output::Response { key, response } => {
                    self.responded(key, response, steps);
                }
                endpoint::Output::Acked { request, .. } => self.acked(&request, steps),
                endpoint::Output::Cancelled { key } => self.cancelled(key, steps),
                endpoint::Output::ClientFailed { key, .. } => self.client_failed(key, steps),
                endpoint::Output::ServerFailed { key, .. } => self.server_failed(key, steps),
                endpoint::Output::Unpracked { key } => self.unpracked(key, steps),
                endpoint::Output::Dropped(_) => {}
            }
        }
    }

    /// The dialog of the call, early or not.
    pub(super) fn dialog(&mut self) -> Option<&mut Dialog> {
        match &mut self.call {
            Call::Talking(talk) => Some(&mut talk.dialog),
            Call::Calling(placed) => placed.early.as_mut(),
            Call::Ringing(ringing) => ringing.early.as_mut(),
            Call::Idle => None,
        }
    }

    pub(super) fn talk(&mut self) -> Option<&mut Talk> {
        match &mut self.call {
            Call::Talking(talk) => Some(talk),
            _ => None,
        }
    }

    /// The name of the call's dialog as the other end must be told it.
    pub(super) fn as_replaced(&self) -> Option<Replaces> {
        let dialog = match &self.call {
            Call::Talking(talk) => &talk.dialog,
            Call::Calling(placed) => placed.early.as_ref()?,
            Call::Ringing(ringing) => ringing.early.as_ref()?,
            Call::Idle => return None,
        };
        let id = dialog.id();
        Some(Replaces {
            call_id: id.call_id.clone(),
            to_tag: id.remote_tag.clone(),
            from_tag: id.local_tag.clone(),
            early_only: false,
        })
    }

    /// Forgets the call and stops its media.
    pub(super) fn leave(&mut self, steps: &mut Steps<'_>) {
        let call = std::mem::replace(&mut self.call, Call::Idle);
        if let Call::Talking(talk) = call {
            self.referring.left(talk.dialog);
        }
        steps.media.close(steps.now, steps.out);
        steps.show(RecordState::Off);
    }

    /// Sends a request in a transaction.
    pub(super) fn send(
        &mut self,
        purpose: Purpose,
        flow: Flow,
        mut request: Request,
        steps: &mut Steps<'_>,
    ) {
        self.attach_digest(&mut request);
        self.resend(purpose, flow, request, steps);
    }

    /// The same, with what it says of who asks already in it.
    pub(super) fn resend(
        &mut self,
        purpose: Purpose,
        flow: Flow,
        request: Request,
        steps: &mut Steps<'_>,
    ) {
        let key = ClientKey(self.next_key);
        self.next_key += 1;
        let sent = Sent {
            purpose,
            flow,
            request: request.clone(),
        };
        self.sent.insert(key, sent);
        if purpose == Purpose::Invite
            && let Call::Calling(placed) = &mut self.call
        {
            (placed.key, placed.invite) = (key, request.clone());
        }
        let larger = None;
        let input = endpoint::Input::Request {
            key,
            flow,
            request,
            larger,
        };
        self.run(input, steps);
    }

    pub(super) fn response(&self, request: &Request, status: StatusCode) -> Response {
        let mut response = Response::to(request, status);
        response.set_to_tag(&self.tag);
        response.headers.push("Contact", self.contact());
        response.headers.push("Allow", ALLOW);
        response
    }

    pub(super) fn respond(
        &mut self,
        key: ServerKey,
        request: &Request,
        status: StatusCode,
        steps: &mut Steps<'_>,
    ) {
        let response = self.response(request, status);
        self.run(endpoint::Input::Respond { key, response }, steps);
    }

    pub(super) fn contact(&self) -> String {
        let flow = self.settings.flow;
        let host = flow.local.ip().to_string();
        let mut uri = Uri::sip(Some(&self.settings.user), &host, Some(flow.local.port()));
        if flow.transport == Transport::Tcp {
            uri.params.set("transport", Some("tcp"));
        }
        NameAddr::new(uri).to_string()
    }

    /// A new call begins.
    pub(super) fn begin(&mut self, call_id: String) {
        self.call_id = Some(call_id);
        self.sent.retain(|_, sent| sent.purpose != Purpose::Invite);
        self.session = Session::new(self.session.next_id());
        self.changing = Changing::default();
    }

    /// Keeps a request for whoever wants to look at it.
    pub(super) fn remember(&mut self, request: &Request) {
        if self.settings.keep == Keep::Packets {
            self.asked.push(request.clone());
        }
    }
}
