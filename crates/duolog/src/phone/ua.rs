//! The SIP side of a phone: transactions, and which call it is in. What happens inside a dialog is
//! [`super::talk`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use duolog_sip::endpoint::{self, EndpointSettings, Timers};
use duolog_sip::{
    ClientKey, Dialog, Endpoint, Flow, Method, NameAddr, Request, Response, ServerKey, StatusCode,
    Tokens, Transport, Uri,
};

use super::media::MediaSide;
use super::offer::Session;
use super::{
    Action, EarlyMedia, End, Failure, Input, Output, PhoneEvent, PhoneSettings, next_random,
};

const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE";

/// What a step of the agent acts on.
pub(super) struct Steps<'a> {
    pub now: Instant,
    pub media: &'a mut MediaSide,
    pub out: &'a mut Vec<Output>,
}

impl Steps<'_> {
    pub(super) fn tell(&mut self, event: PhoneEvent) {
        self.out.push(Output::Event(event));
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        self.tell(PhoneEvent::Failed(failure));
    }
}

/// What a client transaction was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Invite,
    Hold,
    Retrieve,
    Bye,
    Info,
}

/// Whether a call out is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Yes,
    No,
}

/// A call that rings here.
#[derive(Debug)]
struct Ringing {
    key: ServerKey,
    invite: Request,
    flow: Flow,
    answer_at: Instant,
}

/// The call a phone is in.
#[derive(Debug)]
enum Call {
    Idle,
    Calling { key: ClientKey, invite: Request, wanted: Wanted },
    Ringing(Ringing),
    Talking { dialog: Box<Dialog>, answered: Option<ServerKey> },
}

#[derive(Debug)]
pub(super) struct UserAgent {
    pub(super) settings: PhoneSettings,
    endpoint: Endpoint,
    tokens: Tokens,
    next_key: u64,
    pub(super) purposes: BTreeMap<ClientKey, Purpose>,
    call: Call,
    call_id: Option<String>,
    tag: String,
    pub(super) session: Session,
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
            udp: settings.flow.local.into(),
            tcp: settings.flow.local.into(),
            server_name: "duolog test phone".to_owned(),
            timers: Timers::default(),
        };
        Self {
            endpoint: Endpoint::new(endpoint_settings, bytes),
            next_key: 1,
            purposes: BTreeMap::new(),
            call: Call::Idle,
            call_id: None,
            tag: tokens.tag(),
            session: Session::new(next_random(&mut seed) >> 1),
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

    pub(super) fn deadline(&self) -> Option<Instant> {
        let ringing = match &self.call {
            Call::Ringing(ringing) => Some(ringing.answer_at),
            _ => None,
        };
        [self.endpoint.deadline(), ringing].into_iter().flatten().min()
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
                if let Call::Ringing(ringing) = &self.call
                    && ringing.answer_at <= steps.now
                {
                    self.final_answer(self.settings.answering.code, steps);
                }
            }
        }
    }

    fn act(&mut self, action: Action, steps: &mut Steps<'_>) {
        match (action, &mut self.call) {
            (Action::Call { uri }, Call::Idle) => self.place_call(uri, steps),
            (Action::HangUp | Action::Cancel, Call::Calling { key, wanted, .. }) => {
                *wanted = Wanted::No;
                let key = *key;
                self.run(endpoint::Input::Cancel { key }, steps);
            }
            (Action::HangUp, Call::Ringing(_)) => {
                let decline = StatusCode::new(603).expect("603 is a status code");
                self.final_answer(decline, steps);
            }
            (Action::HangUp, Call::Talking { .. }) => self.bye(steps),
            (Action::Hold, Call::Talking { .. }) => self.change(Purpose::Hold, steps),
            (Action::Retrieve, Call::Talking { .. }) => self.change(Purpose::Retrieve, steps),
            (Action::Record { value }, Call::Talking { .. }) => self.record(&value, steps),
            _ => steps.fail(Failure::WrongMoment),
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
                endpoint::Output::Dropped(_) => {}
            }
        }
    }

    // Calls out.

    fn place_call(&mut self, uri: Uri, steps: &mut Steps<'_>) {
        self.tag = self.tokens.tag();
        let call_id = self.tokens.call_id();
        let mut me = NameAddr::new(Uri::sip(
            Some(&self.settings.user),
            &self.settings.domain,
            None,
        ));
        me.display = Some(self.settings.user.clone());
        let mut request = Request::new(Method::Invite, uri.clone());
        request.headers.push("Max-Forwards", "70");
        request.headers.push("From", me.with_tag(&self.tag).to_string());
        request.headers.push("To", NameAddr::new(uri).to_string());
        request.headers.push("Call-ID", call_id.as_str());
        request.headers.push("CSeq", "1 INVITE");
        request.headers.push("Contact", self.contact());
        request.headers.push("Allow", ALLOW);
        self.begin(call_id);
        let offer = self.session.offer(&self.settings);
        request.set_body("application/sdp", offer);
        let (invite, wanted) = (request.clone(), Wanted::Yes);
        let key = self.key(Purpose::Invite);
        self.call = Call::Calling { key, invite, wanted };
        let flow = self.settings.flow;
        self.run(endpoint::Input::Request { key, flow, request }, steps);
    }

    fn responded(&mut self, key: ClientKey, response: Response, steps: &mut Steps<'_>) {
        let purpose = self.purposes.get(&key).copied();
        if response.status.is_final() && purpose != Some(Purpose::Invite) {
            self.purposes.remove(&key);
        }
        match purpose {
            Some(Purpose::Invite) => self.invite_responded(key, response, steps),
            Some(purpose) => self.dialog_responded(key, purpose, &response, steps),
            None => {}
        }
    }

    fn invite_responded(&mut self, key: ClientKey, response: Response, steps: &mut Steps<'_>) {
        let current = match &self.call {
            Call::Calling { key: ours, invite, wanted } if *ours == key => Some((invite, *wanted)),
            _ => None,
        };
        let Some((invite, wanted)) = current else {
            // A 2xx after the call was given up, or from a second fork: taken and ended.
            if response.status.is_success() {
                self.refuse_fork(key, &response, steps);
            }
            return;
        };
        if response.status.is_provisional() {
            if response.status == StatusCode::RINGING {
                steps.tell(PhoneEvent::Ringing);
            }
            if let Some(agreed) = self.session.accept(&self.settings, &response.body) {
                steps.media.connect(steps.now, agreed);
                steps.tell(PhoneEvent::EarlyMedia);
            }
            return;
        }
        if !response.status.is_success() {
            self.call = Call::Idle;
            steps.media.close(steps.now, steps.out);
            steps.tell(PhoneEvent::Refused(response.status));
            return;
        }
        let Ok(dialog) = Dialog::uac(invite, &response, self.settings.flow) else {
            self.call = Call::Idle;
            steps.fail(Failure::BadMessage);
            return;
        };
        let request = dialog.ack_for(dialog.local_cseq());
        self.call = Call::Talking { dialog: Box::new(dialog), answered: None };
        self.run(endpoint::Input::Ack { key, request }, steps);
        match self.session.accept(&self.settings, &response.body) {
            Some(_) if wanted == Wanted::No => self.bye(steps),
            Some(agreed) => {
                steps.media.connect(steps.now, agreed);
                steps.tell(PhoneEvent::Answered);
            }
            None => {
                steps.fail(Failure::NoAudio);
                self.bye(steps);
            }
        }
    }

    fn refuse_fork(&mut self, key: ClientKey, response: &Response, steps: &mut Steps<'_>) {
        // A dialog takes only the CSeq from its request, and every INVITE of a new call has 1.
        let mut invite = Request::new(Method::Invite, Uri::sip(None, "invalid", None));
        invite.headers.push("CSeq", "1 INVITE");
        if let Ok(mut dialog) = Dialog::uac(&invite, response, self.settings.flow) {
            let request = dialog.ack_for(1);
            self.run(endpoint::Input::Ack { key, request }, steps);
            let (request, flow) = (dialog.request(Method::Bye), self.settings.flow);
            let key = self.key(Purpose::Bye);
            self.run(endpoint::Input::Request { key, flow, request }, steps);
        }
    }

    fn client_failed(&mut self, key: ClientKey, steps: &mut Steps<'_>) {
        match (self.purposes.remove(&key), &self.call) {
            (Some(Purpose::Invite), Call::Calling { key: ours, .. }) if *ours == key => {
                self.call = Call::Idle;
                steps.media.close(steps.now, steps.out);
                steps.fail(Failure::NoResponse);
            }
            (Some(Purpose::Invite) | None, _) => {}
            (Some(_), _) => steps.fail(Failure::NoResponse),
        }
    }

    // Calls in.

    /// A new INVITE outside any dialog.
    pub(super) fn invited(
        &mut self,
        key: ServerKey,
        flow: Flow,
        invite: Request,
        steps: &mut Steps<'_>,
    ) {
        if !self.is_idle() {
            self.respond(key, &invite, StatusCode::BUSY_HERE, steps);
            return;
        }
        self.begin(invite.call_id().unwrap_or_default().to_owned());
        self.tag = self.tokens.tag();
        let answering = self.settings.answering;
        let answer_at = steps.now + Duration::from_millis(u64::from(answering.ring_ms));
        if answering.ring_ms > 0 {
            let mut response = self.response(&invite, StatusCode::RINGING);
            if answering.early_media == EarlyMedia::Yes
                && let Some((answer, agreed)) = self.session.answer(&self.settings, &invite.body)
            {
                response = self.response(&invite, StatusCode::SESSION_PROGRESS);
                response.set_body("application/sdp", answer);
                steps.media.connect(steps.now, agreed);
            }
            self.run(endpoint::Input::Respond { key, response }, steps);
            steps.tell(PhoneEvent::Ringing);
        }
        self.call = Call::Ringing(Ringing { key, invite, flow, answer_at });
        if answering.ring_ms == 0 {
            self.final_answer(answering.code, steps);
        }
    }

    fn final_answer(&mut self, code: StatusCode, steps: &mut Steps<'_>) {
        let Call::Ringing(ringing) = std::mem::replace(&mut self.call, Call::Idle) else { return };
        let Ringing { key, invite, flow, .. } = ringing;
        let mut response = self.response(&invite, code);
        let dialog = code.is_success().then(|| Dialog::uas(&invite, &response, flow));
        match dialog {
            None => {
                self.run(endpoint::Input::Respond { key, response }, steps);
                steps.media.close(steps.now, steps.out);
                steps.tell(PhoneEvent::Refused(code));
            }
            Some(Err(_)) => {
                self.respond(key, &invite, StatusCode::BAD_REQUEST, steps);
                steps.media.close(steps.now, steps.out);
                steps.fail(Failure::BadMessage);
            }
            Some(Ok(dialog)) => {
                let agreed = if invite.body.is_empty() {
                    response.set_body("application/sdp", self.session.offer(&self.settings));
                    None
                } else if let Some((sdp, agreed)) =
                    self.session.answer(&self.settings, &invite.body)
                {
                    response.set_body("application/sdp", sdp);
                    Some(agreed)
                } else {
                    self.respond(key, &invite, StatusCode::NOT_ACCEPTABLE_HERE, steps);
                    steps.fail(Failure::NoAudio);
                    return;
                };
                self.call = Call::Talking { dialog: Box::new(dialog), answered: Some(key) };
                self.run(endpoint::Input::Respond { key, response }, steps);
                if let Some(agreed) = agreed {
                    steps.media.connect(steps.now, agreed);
                }
                steps.tell(PhoneEvent::Answered);
            }
        }
    }

    fn cancelled(&mut self, key: ServerKey, steps: &mut Steps<'_>) {
        match std::mem::replace(&mut self.call, Call::Idle) {
            Call::Ringing(ringing) if ringing.key == key => {
                self.respond(key, &ringing.invite, StatusCode::REQUEST_TERMINATED, steps);
                steps.media.close(steps.now, steps.out);
                steps.tell(PhoneEvent::Ended { by: End::Peer });
            }
            other => self.call = other,
        }
    }

    fn server_failed(&mut self, key: ServerKey, steps: &mut Steps<'_>) {
        if matches!(&self.call, Call::Talking { answered: Some(ours), .. } if *ours == key) {
            steps.fail(Failure::NoAck);
            self.bye(steps);
        }
    }

    // Shared with `talk`.

    pub(super) fn dialog(&mut self) -> Option<&mut Dialog> {
        match &mut self.call {
            Call::Talking { dialog, .. } => Some(dialog),
            _ => None,
        }
    }

    /// Forgets the call and stops its media.
    pub(super) fn leave(&mut self, steps: &mut Steps<'_>) {
        self.call = Call::Idle;
        steps.media.close(steps.now, steps.out);
    }

    pub(super) fn key(&mut self, purpose: Purpose) -> ClientKey {
        let key = ClientKey(self.next_key);
        self.next_key += 1;
        self.purposes.insert(key, purpose);
        key
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

    fn begin(&mut self, call_id: String) {
        self.call_id = Some(call_id);
        self.purposes.retain(|_, purpose| *purpose != Purpose::Invite);
        self.session = Session::new(self.session.next_id());
    }
}
