//! A registration of ours at a trunk's registrar (RFC 3261 §10.2): digest, refresh, back-off.

mod grant;
mod pace;

use std::time::{Duration, Instant};

use duolog_sip::{CSeq, Method, NameAddr, Request, Response, Tokens, Uri};

use crate::digest::{Credentials, Memory, answer};
use grant::{granted_s, min_expires_s, retry_after};
use pace::{Pace, Renew};

/// Longest that a registrar may take over one request, whatever became of it below.
const PATIENCE: Duration = Duration::from_secs(180);
/// Most requests in one attempt: challenges, stale nonces and 423 each cost one.
const MAX_STEPS: u8 = 6;

/// What a registration is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationSettings {
    /// The address of record: From and To.
    pub aor: Uri,
    /// The Request-URI: the registrar's domain, without a user.
    pub registrar: Uri,
    /// The Contact value, where this node wants to be called.
    pub contact: String,
    /// Time asked for, in seconds; a 423 raises it.
    pub expires_s: u32,
    /// For challenges; `None`: they are failures.
    pub credentials: Option<Credentials>,
    /// Product token for `User-Agent`.
    pub server_name: String,
}

/// What a registration is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Register, or try again at once.
    Start,
    /// A response to the last request sent; others are passed over.
    Response(Response),
    /// No response will come.
    Failed,
    /// The connection that it was registered over is gone.
    FlowFailed,
    /// Unregister and stay so.
    Stop,
    /// `deadline()` has come.
    Deadline,
}

/// What a registration wants done or has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there are a few of them an hour, and they are taken apart at once"
)]
pub enum Output {
    /// Send this REGISTER, which has no Via, in a transaction.
    Send(Request),
    /// How it stands now.
    State(State),
}

/// How a registration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The registrar has it.
    Registered {
        /// How long; it is refreshed before.
        until: Instant,
    },
    /// The last attempt failed; what was registered before may still stand.
    Failed {
        /// The status that ended it; `None` where none came.
        status: Option<u16>,
        /// When it is tried again.
        retry_at: Instant,
    },
    /// Stopped.
    Unregistered,
}

/// One registration. It sends one request at a time.
#[derive(Debug)]
pub struct Registration {
    settings: RegistrationSettings,
    tokens: Tokens,
    memory: Memory,
    pace: Pace,
    call_id: String,
    from_tag: String,
    cseq: u32,
    phase: Phase,
    wanted: Wanted,
    /// Until when the registrar has us, as far as is known.
    bound_until: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    Off,
    Asking(Box<Asking>),
    Standing { refresh_at: Instant },
    Waiting { retry_at: Instant },
}

#[derive(Debug)]
struct Asking {
    request: Request,
    wanted: Wanted,
    steps: u8,
    give_up_at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    On,
    Off,
}

impl Registration {
    /// A registration that is not started. The seed must be secret and fresh outside tests.
    pub fn new(settings: RegistrationSettings, seed: [u8; 32]) -> Registration {
        let mut tokens = Tokens::new(seed);
        Registration {
            settings,
            memory: Memory::default(),
            pace: Pace::new(seed),
            call_id: tokens.call_id(),
            from_tag: tokens.tag(),
            tokens,
            cseq: 0,
            phase: Phase::Off,
            wanted: Wanted::Off,
            bound_until: None,
        }
    }

    /// Takes one input; the outputs are in the order in which they are to be done.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        match input {
            Input::Start => self.start(now),
            Input::Stop => self.stop(now),
            Input::Response(response) => self.response(now, &response),
            Input::Failed => self.unanswered(now),
            Input::FlowFailed => self.flow_failed(now),
            Input::Deadline => self.due(now),
        }
    }

    /// When `Input::Deadline` is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Off => None,
            Phase::Asking(asking) => Some(asking.give_up_at),
            Phase::Standing { refresh_at } => Some(*refresh_at),
            Phase::Waiting { retry_at } => Some(*retry_at),
        }
    }

    fn start(&mut self, now: Instant) -> Vec<Output> {
        self.wanted = Wanted::On;
        match self.phase {
            Phase::Off | Phase::Waiting { .. } => self.ask(now, Wanted::On),
            Phase::Asking(_) | Phase::Standing { .. } => Vec::new(),
        }
    }

    fn stop(&mut self, now: Instant) -> Vec<Output> {
        self.wanted = Wanted::Off;
        match self.phase {
            Phase::Asking(_) => Vec::new(),
            Phase::Off | Phase::Standing { .. } | Phase::Waiting { .. } => self.leave(now),
        }
    }

    fn due(&mut self, now: Instant) -> Vec<Output> {
        if self.deadline().is_none_or(|at| at > now) {
            return Vec::new();
        }
        match self.phase {
            Phase::Off => Vec::new(),
            Phase::Asking(_) => self.unanswered(now),
            Phase::Standing { .. } | Phase::Waiting { .. } => self.ask(now, Wanted::On),
        }
    }

    fn flow_failed(&mut self, now: Instant) -> Vec<Output> {
        match self.phase {
            Phase::Off | Phase::Waiting { .. } => Vec::new(),
            Phase::Asking(_) => self.unanswered(now),
            Phase::Standing { .. } => match self.pace.dropped(now) {
                Renew::Now => self.ask(now, Wanted::On),
                Renew::Later => self.failed(now, None, Duration::ZERO),
            },
        }
    }

    fn unanswered(&mut self, now: Instant) -> Vec<Output> {
        match &self.phase {
            Phase::Asking(asking) => match (asking.wanted, self.wanted) {
                (Wanted::On, Wanted::On) => self.failed(now, None, Duration::ZERO),
                (Wanted::On, Wanted::Off) => self.leave(now),
                (Wanted::Off, _) => self.left(now),
            },
            _ => Vec::new(),
        }
    }

    fn response(&mut self, now: Instant, response: &Response) -> Vec<Output> {
        let expected = CSeq {
            number: self.cseq,
            method: Method::Register,
        };
        let ours = response.cseq().is_ok_and(|cseq| cseq == expected);
        let asking = match &mut self.phase {
            Phase::Asking(asking) if ours && response.status.is_final() => asking,
            _ => return Vec::new(),
        };
        let wanted = asking.wanted;
        if response.status.is_success() {
            self.memory.accepted(response);
            return match wanted {
                Wanted::On => self.accepted(now, response),
                Wanted::Off => self.left(now),
            };
        }
        if (wanted, self.wanted) == (Wanted::On, Wanted::Off) {
            return self.leave(now);
        }
        asking.steps += 1;
        if asking.steps < MAX_STEPS
            && let Some(request) = self.next_step(response)
        {
            return self.again(now, request);
        }
        match wanted {
            Wanted::On => self.failed(now, Some(response), retry_after(response)),
            Wanted::Off => self.left(now),
        }
    }

    /// The request to try again with after a refusal that says how.
    fn next_step(&mut self, response: &Response) -> Option<Request> {
        let Phase::Asking(asking) = &self.phase else {
            return None;
        };
        match response.status.code() {
            401 | 407 => {
                let credentials = self.settings.credentials.as_ref()?;
                let (memory, tokens) = (&mut self.memory, &mut self.tokens);
                answer(&asking.request, response, credentials, memory, tokens)
            }
            423 if asking.wanted == Wanted::On => {
                let min_s = min_expires_s(response)?;
                let raised = min_s > self.settings.expires_s;
                raised.then(|| {
                    self.settings.expires_s = min_s;
                    self.request(Wanted::On)
                })
            }
            _ => None,
        }
    }

    fn accepted(&mut self, now: Instant, response: &Response) -> Vec<Output> {
        let contact = self.settings.contact.parse().ok();
        let granted_s = granted_s(response, contact.as_ref(), self.settings.expires_s);
        if granted_s == 0 {
            self.bound_until = None;
            return match self.wanted {
                Wanted::On => self.failed(now, Some(response), Duration::ZERO),
                Wanted::Off => self.left(now),
            };
        }
        let granted = Duration::from_secs(granted_s.into());
        let until = now + granted;
        self.bound_until = Some(until);
        if self.wanted == Wanted::Off {
            return self.ask(now, Wanted::Off);
        }
        self.pace.succeeded(now);
        let refresh_at = now + self.pace.refresh_after(granted);
        self.phase = Phase::Standing { refresh_at };
        vec![Output::State(State::Registered { until })]
    }

    fn failed(
        &mut self,
        now: Instant,
        response: Option<&Response>,
        at_least: Duration,
    ) -> Vec<Output> {
        let retry_at = now + self.pace.failed(now).max(at_least);
        self.phase = Phase::Waiting { retry_at };
        let status = response.map(|response| response.status.code());
        vec![Output::State(State::Failed { status, retry_at })]
    }

    /// Unregisters, where there is something to unregister.
    fn leave(&mut self, now: Instant) -> Vec<Output> {
        match self.bound_until {
            Some(until) if until > now => self.ask(now, Wanted::Off),
            _ => self.left(now),
        }
    }

    /// Is unregistered, or was heard no more: the binding runs out by itself.
    fn left(&mut self, now: Instant) -> Vec<Output> {
        self.bound_until = None;
        self.phase = Phase::Off;
        match self.wanted {
            Wanted::On => self.ask(now, Wanted::On),
            Wanted::Off => vec![Output::State(State::Unregistered)],
        }
    }

    fn ask(&mut self, now: Instant, wanted: Wanted) -> Vec<Output> {
        let mut request = self.request(wanted);
        if let Some(credentials) = &self.settings.credentials {
            self.memory
                .attach(&mut request, credentials, &mut self.tokens);
        }
        self.phase = Phase::Asking(Box::new(Asking {
            request: request.clone(),
            wanted,
            steps: 0,
            give_up_at: now + PATIENCE,
        }));
        self.again(now, request)
    }

    /// Sends a request of the attempt that is under way.
    fn again(&mut self, now: Instant, mut request: Request) -> Vec<Output> {
        self.cseq += 1;
        let cseq = format!("{} REGISTER", self.cseq);
        request.headers.set("CSeq", cseq);
        if let Phase::Asking(asking) = &mut self.phase {
            asking.request = request.clone();
            asking.give_up_at = now + PATIENCE;
        }
        vec![Output::Send(request)]
    }

    /// A REGISTER whose CSeq is still to be set.
    fn request(&self, wanted: Wanted) -> Request {
        let settings = &self.settings;
        let expires_s = match wanted {
            Wanted::On => settings.expires_s,
            Wanted::Off => 0,
        };
        let mut request = Request::new(Method::Register, settings.registrar.clone());
        let aor = NameAddr::new(settings.aor.clone());
        let from = aor.clone().with_tag(&self.from_tag);
        let contact = match settings.contact.parse::<NameAddr>() {
            Ok(mut contact) => {
                let expires = expires_s.to_string();
                contact.params.set("expires", Some(&expires));
                contact.to_string()
            }
            Err(_) => settings.contact.clone(),
        };
        for (name, value) in [
            ("Max-Forwards", "70".to_owned()),
            ("From", from.to_string()),
            ("To", aor.to_string()),
            ("Call-ID", self.call_id.clone()),
            ("CSeq", String::new()),
            ("Contact", contact),
            ("Expires", expires_s.to_string()),
            ("Supported", "path".to_owned()),
            ("User-Agent", settings.server_name.clone()),
        ] {
            request.headers.push(name, value);
        }
        request
    }
}
