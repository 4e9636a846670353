//! What the registrar answers.

use std::time::{Duration, Instant};

use duolog_sip::{Flow, NameAddr, Params, Request, Response, StatusCode};

use super::address::members;
use super::asked::Outbound;
use super::bindings::Bound;
use super::{Outcome, Registered, Registrar, Why};
use crate::digest::{Scheme, Stale, quoted};

impl Why {
    /// The status and, where the registry has none that fits, the reason phrase.
    const fn status(self) -> (u16, Option<&'static str>) {
        match self {
            Why::Malformed => (400, None),
            Why::DigestUri => (400, Some("Digest Of Another Request")),
            Why::Forbidden => (403, None),
            Why::TooManyContacts => (403, Some("Too Many Contacts")),
            Why::NoSuchUser => (404, None),
            Why::BadExtension => (420, None),
            Why::TooBrief => (423, None),
            Why::FirstHopLacksOutbound => (439, Some("First Hop Lacks Outbound Support")),
            Why::OutOfOrder => (500, Some("Older Than What Is There")),
            Why::Slowed => (503, None),
        }
    }
}

impl Registrar {
    pub(super) fn refused(&self, response: Response, why: Why) -> Registered {
        Registered {
            response,
            outcome: Outcome::Refused(why),
        }
    }

    pub(super) fn refusal(&self, request: &Request, why: Why) -> Response {
        let (status, reason) = why.status();
        let mut response = self.response(request, status);
        if let Some(reason) = reason {
            response.reason = reason.to_owned();
        }
        if why == Why::TooBrief {
            let min = self.settings.expires_s.0;
            response.headers.push("Min-Expires", min.to_string());
        }
        response
    }

    pub(super) fn slow(&self, request: &Request, left: Duration) -> Response {
        let mut response = self.refusal(request, Why::Slowed);
        let seconds = left.as_secs() + 1;
        response.headers.push("Retry-After", seconds.to_string());
        response
    }

    pub(super) fn challenge(
        &mut self,
        now: Instant,
        flow: &Flow,
        request: &Request,
        scheme: Scheme,
        stale: Stale,
    ) -> Response {
        let mut response = self.response(request, scheme.status());
        let challenges = self.admission.challenges(now, flow, &self.settings, stale);
        for challenge in challenges {
            response.headers.push(scheme.challenge(), challenge);
        }
        response
    }

    /// 200 with every binding of the user (RFC 3261 §10.3 item 8).
    pub(super) fn granted(
        &self,
        now: Instant,
        request: &Request,
        name: &str,
        outbound: Outbound,
        next_nonce: Option<String>,
    ) -> Response {
        let mut response = self.response(request, StatusCode::OK.code());
        for bound in self.bindings.live(now, name) {
            let contact = written(bound, now).to_string();
            response.headers.push("Contact", contact);
        }
        for hop in members(&request.headers, "Path") {
            response.headers.push("Path", hop);
        }
        if outbound == Outbound::Required {
            response.headers.push("Require", "outbound");
        }
        response.headers.push("Supported", "path, outbound");
        if let Some(nonce) = next_nonce {
            let info = format!("nextnonce={}", quoted(&nonce));
            response.headers.push("Authentication-Info", info);
        }
        response
    }

    fn response(&self, request: &Request, status: u16) -> Response {
        let status = StatusCode::new(status).expect("every status of this file is 200 to 699");
        let mut response = Response::to(request, status);
        let server = self.settings.server_name.as_str();
        response.headers.push("Server", server);
        response
    }
}

fn written(bound: &Bound, now: Instant) -> NameAddr {
    let mut params = Params::default();
    let left = bound.until.saturating_duration_since(now);
    // Rounded up: a phone that was granted 60 seconds is not told 59 of them.
    let seconds = left.as_millis().div_ceil(1000);
    params.set("expires", Some(&seconds.to_string()));
    if bound.q_milli < 1000 {
        let q = format!("0.{:03}", bound.q_milli);
        params.set("q", Some(q.trim_end_matches('0').trim_end_matches('.')));
    }
    if let Some(instance) = &bound.instance {
        params.set("+sip.instance", Some(&format!("\"{instance}\"")));
    }
    if let Some(reg_id) = bound.reg_id {
        params.set("reg-id", Some(&reg_id.to_string()));
    }
    let mut contact = NameAddr::new(bound.uri.clone());
    contact.params = params;
    contact
}
