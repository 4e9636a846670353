//! The SIP side of a phone: transactions, and which call it is in. Calls out are
//! [`super::calling`], calls in [`super::ringing`]; what happens inside a dialog is [`super::talk`].

use std::collections::BTreeMap;
use std::time::Instant;

use duolog_sip::endpoint::{self, EndpointSettings, Timers};
use duolog_sip::{
    ClientKey, Dialog, Endpoint, Flow, NameAddr, Request, Response, ServerKey, StatusCode, Tokens,
    Transport, Uri,
};

use super::media::MediaSide;
use super::offer::{Session, Terms};
use super::{Action, Failure, Input, Output, PhoneEvent, PhoneSettings, next_random};

pub(super) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE";

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

    /// Talks as agreed.
    pub(super) fn connect(&mut self, terms: Terms) {
        if self.media.connect(self.now, terms).is_err() {
            self.fail(Failure::NoAudio);
        }
    }
}

/// What a client transaction was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Invite,
    Hold,
    Retrieve,
    Recode,
    Bye,
    Info,
}

/// Whether a call out is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Yes,
    No,
}

/// A call that rings here.
#[derive(Debug)]
pub(super) struct Ringing {
    pub(super) key: ServerKey,
    pub(super) invite: Request,
    pub(super) flow: Flow,
    pub(super) answer_at: Instant,
}

/// The call a phone is in.
#[derive(Debug)]
pub(super) enum Call {
    Idle,
    Calling {
        key: ClientKey,
        invite: Request,
        wanted: Wanted,
    },
    Ringing(Ringing),
    Talking {
        dialog: Box<Dialog>,
        answered: Option<ServerKey>,
    },
}

#[derive(Debug)]
pub(super) struct UserAgent {
    pub(super) settings: PhoneSettings,
    endpoint: Endpoint,
    pub(super) tokens: Tokens,
    next_key: u64,
    pub(super) purposes: BTreeMap<ClientKey, Purpose>,
    pub(super) call: Call,
    call_id: Option<String>,
    pub(super) tag: String,
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
        [self.endpoint.deadline(), ringing]
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
            (Action::Recode { codecs }, Call::Talking { .. }) => {
                self.settings.codecs = codecs;
                self.change(Purpose::Recode, steps);
            }
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

    /// A new call begins.
    pub(super) fn begin(&mut self, call_id: String) {
        self.call_id = Some(call_id);
        self.purposes
            .retain(|_, purpose| *purpose != Purpose::Invite);
        self.session = Session::new(self.session.next_id());
    }
}
