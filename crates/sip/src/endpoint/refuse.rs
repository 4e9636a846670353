//! Requests the endpoint answers by itself, without a transaction (RFC 3261 §8.2, §8.2.7).

use super::identity::fnv;
use super::reply_to::stamp;
use super::{DropReason, Endpoint, Output};
use crate::flow::Flow;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::name_addr::NameAddr;
use crate::reads::HeaderError;
use crate::status::StatusCode;
use crate::uri::Scheme;

/// When a node that is full may be asked again: transactions live for 32 s.
const RETRY_AFTER_S: &str = "32";

impl Endpoint {
    /// Answers a request that could be read only in part.
    pub(super) fn refuse_unread(
        &self,
        flow: Flow,
        mut request: Request,
        status: StatusCode,
        out: &mut Vec<Output>,
    ) {
        if let Ok((_, back)) = stamp(&mut request, flow) {
            self.answer(back, &request, status, out);
        }
    }

    /// Answers without a transaction and counts the request as refused.
    pub(super) fn refuse(
        &self,
        back: Flow,
        request: &Request,
        status: StatusCode,
        out: &mut Vec<Output>,
    ) {
        self.answer(back, request, status, out);
        out.push(Output::Dropped(DropReason::Refused(status)));
    }

    fn answer(&self, back: Flow, request: &Request, status: StatusCode, out: &mut Vec<Output>) {
        let mut response = Response::to(request, status);
        response.set_to_tag(&self.stateless_tag(request));
        response
            .headers
            .push("Server", self.settings.server_name.as_str());
        if status == StatusCode::UNAVAILABLE {
            response.headers.push("Retry-After", RETRY_AFTER_S);
        }
        out.push(Output::Transmit {
            flow: back,
            bytes: response.write(),
        });
    }

    /// The same tag for the same request, without memory (RFC 3261 §8.2.7).
    pub(super) fn stateless_tag(&self, request: &Request) -> String {
        let mut hash = self.salt;
        for name in ["Call-ID", "From", "CSeq"] {
            hash = fnv(
                hash,
                request.headers.value(name).unwrap_or_default().as_bytes(),
            );
        }
        format!("{hash:016x}")
    }
}

/// What is wrong with a request that is not an ACK, if anything.
pub(super) fn fault(request: &Request) -> Option<StatusCode> {
    if let Err(error) = check_headers(request) {
        // A method that is not known may follow rules that are not known (RFC 4475 §3.1.2.18).
        let mismatch = error == HeaderError::Invalid("CSeq") && request.cseq().is_ok();
        return Some(match &request.method {
            Method::Extension(_) if mismatch => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        });
    }
    // Any other may have a meaning to the user; these never have (RFC 3261 §8.2.2.1, RFC 5031).
    match &request.uri.scheme {
        Scheme::Other(scheme) if scheme != "urn" => return Some(StatusCode::UNSUPPORTED_SCHEME),
        // Headers for a request that somebody would make of the URI (RFC 4475 §3.1.2.11).
        _ if request.uri.headers.is_some() => return Some(StatusCode::BAD_REQUEST),
        _ => {}
    }
    // A request that ends here is not forwarded, so a spent hop count hurts nobody there; BYE must
    // be able to end a call. OPTIONS with 0 asks for exactly this hop (RFC 3261 §11).
    let ends_here = matches!(
        request.method,
        Method::Cancel | Method::Bye | Method::Options
    );
    match request.max_forwards() {
        Ok(Some(0)) if !ends_here => Some(StatusCode::TOO_MANY_HOPS),
        _ => None,
    }
}

fn check_headers(request: &Request) -> Result<(), HeaderError> {
    request.from()?;
    request.to()?;
    request.call_id()?;
    request.max_forwards()?;
    // Separators with nothing between them (RFC 4475 §3.1.2.1).
    if request
        .headers
        .values("Via")
        .any(|via| via.starts_with(';'))
    {
        return Err(HeaderError::Invalid("Via"));
    }
    let contacts = request.headers.values("Contact");
    let mut contacts = contacts.filter(|contact| *contact != "*");
    if says_where(&request.method) && contacts.any(|c| c.parse::<NameAddr>().is_err()) {
        return Err(HeaderError::Invalid("Contact"));
    }
    if request.cseq()?.method != request.method {
        return Err(HeaderError::Invalid("CSeq"));
    }
    Ok(())
}

/// Methods whose Contact is used; what it is in a BYE must not keep a call from ending.
fn says_where(method: &Method) -> bool {
    use Method::{Invite, Notify, Refer, Register, Subscribe, Update};
    matches!(
        method,
        Invite | Notify | Refer | Register | Subscribe | Update
    )
}
