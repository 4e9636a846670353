//! A phone registers (RFC 3261 §10).

use std::time::{Duration, Instant};

use duolog_sip::{Method, NameAddr, Request, Response, Uri};

use super::ua::{Purpose, Steps, UserAgent};
use super::{Failure, PhoneEvent};

/// The registration of a phone: one Call-ID and tag for its life.
#[derive(Debug)]
pub(super) struct Registration {
    call_id: String,
    tag: String,
    cseq: u32,
    asked_s: u32,
    refresh_at: Option<Instant>,
}

impl Registration {
    pub(super) fn new(call_id: String, tag: String) -> Self {
        Self {
            call_id,
            tag,
            cseq: 0,
            asked_s: 0,
            refresh_at: None,
        }
    }

    pub(super) fn call_id(&self) -> &str {
        &self.call_id
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.refresh_at
    }

    /// The number of the next REGISTER.
    pub(super) fn next_cseq(&mut self) -> u32 {
        self.cseq += 1;
        self.cseq
    }

    /// No answer: it is tried again later, as long as a registration is wanted.
    pub(super) fn failed(&mut self, now: Instant) {
        self.refresh_at = (self.asked_s > 0).then(|| now + Duration::from_secs(30));
    }
}

impl UserAgent {
    pub(super) fn register(&mut self, expires_s: u32, steps: &mut Steps<'_>) {
        self.registration.asked_s = expires_s;
        self.registration.refresh_at = None;
        let flow = self.settings.flow;
        let host = flow.peer.ip().to_string();
        let me = NameAddr::new(Uri::sip(Some(&self.settings.user), &host, None));
        let mut request = Request::new(Method::Register, Uri::sip(None, &host, None));
        let cseq = self.registration.next_cseq();
        let headers = &mut request.headers;
        headers.push("Max-Forwards", "70");
        headers.push(
            "From",
            me.clone().with_tag(&self.registration.tag).to_string(),
        );
        headers.push("To", me.to_string());
        headers.push("Call-ID", self.registration.call_id.as_str());
        headers.push("CSeq", format!("{cseq} REGISTER"));
        headers.push("Contact", self.contact());
        headers.push("Expires", expires_s.to_string());
        self.send(Purpose::Register, flow, request, steps);
    }

    pub(super) fn register_answered(&mut self, response: &Response, steps: &mut Steps<'_>) {
        let asked_s = self.registration.asked_s;
        if response.status.code() == 423
            && let Some(least) = number(response.headers.value("Min-Expires"))
            && least > asked_s
        {
            return self.register(least, steps);
        }
        if !response.status.is_success() {
            return steps.tell(PhoneEvent::RegisterRefused(response.status));
        }
        if asked_s == 0 {
            return steps.tell(PhoneEvent::Unregistered);
        }
        let mine = self.contact();
        let Ok(mine) = mine.parse::<NameAddr>() else {
            return steps.fail(Failure::BadMessage);
        };
        let contacts = response.headers.values("Contact");
        let mut contacts = contacts.filter_map(|value| value.parse::<NameAddr>().ok());
        let Some(bound) = contacts.find(|contact| contact.uri == mine.uri) else {
            // Granted, and yet not bound.
            return steps.fail(Failure::BadMessage);
        };
        let granted = number(bound.params.value("expires"));
        let granted = granted.or_else(|| number(response.headers.value("Expires")));
        let granted_s = u64::from(granted.unwrap_or(asked_s));
        let refresh = Duration::from_millis(granted_s * 800);
        self.registration.refresh_at = Some(steps.now + refresh);
        steps.tell(PhoneEvent::Registered);
    }

    pub(super) fn registration_due(&mut self, steps: &mut Steps<'_>) {
        if self
            .registration
            .refresh_at
            .is_some_and(|at| at <= steps.now)
        {
            self.register(self.registration.asked_s, steps);
        }
    }
}

fn number(text: Option<&str>) -> Option<u32> {
    text?.trim().parse().ok()
}
