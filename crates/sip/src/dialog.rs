//! Dialogs (RFC 3261 §12).

use crate::flow::Flow;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::name_addr::NameAddr;
use crate::reads::HeaderError;
use crate::uri::Uri;

/// What names a dialog, seen from us (RFC 3261 §12).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The other end's tag; empty where it gave none (RFC 2543).
    pub remote_tag: String,
}

impl DialogId {
    /// The dialog that a received request is for: our tag is in To.
    pub fn of_request(request: &Request) -> Result<DialogId, HeaderError> {
        Ok(DialogId {
            call_id: request.call_id()?.to_owned(),
            local_tag: tag(&request.to()?),
            remote_tag: tag(&request.from()?),
        })
    }

    /// The dialog that a received response is for: our tag is in From.
    pub fn of_response(response: &Response) -> Result<DialogId, HeaderError> {
        Ok(DialogId {
            call_id: response.call_id()?.to_owned(),
            local_tag: tag(&response.from()?),
            remote_tag: tag(&response.to_addr()?),
        })
    }
}

/// Early or confirmed (RFC 3261 §12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialogState {
    /// Made by a provisional response.
    Early,
    /// Made or confirmed by a 2xx.
    Confirmed,
}

/// Why a dialog cannot be made, or does not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialogError {
    /// A header it is made from is missing or bad: 400.
    #[error("header")]
    Header(#[from] HeaderError),
    /// The request is for another dialog: 481.
    #[error("not this dialog")]
    OtherDialog,
    /// CSeq is lower than one already seen: 500 (RFC 3261 §12.2.2).
    #[error("CSeq out of order")]
    OutOfOrder,
}

/// One end of a dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    id: DialogId,
    local: NameAddr,
    remote: NameAddr,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    target: Uri,
    route_set: Vec<NameAddr>,
    flow: Flow,
    state: DialogState,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Uac,
    Uas,
}

impl Dialog {
    /// The dialog of a received INVITE and the response sent to it (RFC 3261 §12.1.1).
    pub fn uas(request: &Request, sent: &Response, flow: Flow) -> Result<Dialog, DialogError> {
        let (local, remote) = (sent.to_addr()?, request.from()?);
        Ok(Dialog {
            id: DialogId {
                call_id: request.call_id()?.to_owned(),
                local_tag: tag(&local),
                remote_tag: tag(&remote),
            },
            local,
            remote,
            local_cseq: 0,
            remote_cseq: Some(request.cseq()?.number),
            target: request.contact()?.uri,
            route_set: request.record_routes()?,
            flow,
            state: state_of(sent),
            role: Role::Uas,
        })
    }

    /// The dialog of a sent INVITE and a response to it (RFC 3261 §12.1.2).
    pub fn uac(request: &Request, response: &Response, flow: Flow) -> Result<Dialog, DialogError> {
        let mut route_set = response.record_routes()?;
        route_set.reverse();
        Ok(Dialog {
            id: DialogId::of_response(response)?,
            local: response.from()?,
            remote: response.to_addr()?,
            local_cseq: request.cseq()?.number,
            remote_cseq: None,
            target: target_of(request, response)?,
            route_set,
            flow,
            state: state_of(response),
            role: Role::Uac,
        })
    }

    /// The dialog's name.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// Early or confirmed.
    pub fn state(&self) -> DialogState {
        self.state
    }

    /// The path of the message that made it.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// The path from now on, after the other end moved.
    pub fn set_flow(&mut self, flow: Flow) {
        self.flow = flow;
    }

    /// Where the other end wants requests.
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// Us, with our tag.
    pub fn local(&self) -> &NameAddr {
        &self.local
    }

    /// The other end, with its tag.
    pub fn remote(&self) -> &NameAddr {
        &self.remote
    }

    /// The URI the next request goes to: the first route, or the target.
    pub fn next_hop(&self) -> &Uri {
        self.route_set
            .first()
            .map_or(&self.target, |route| &route.uri)
    }

    /// The CSeq number of the last request sent.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// The next request of this dialog, without Via and Contact (RFC 3261 §12.2.1.1).
    pub fn request(&mut self, method: Method) -> Request {
        self.local_cseq += 1;
        self.build(method, self.local_cseq)
    }

    /// The ACK of the 2xx to the INVITE with that CSeq number (RFC 3261 §13.2.2.4).
    pub fn ack_for(&self, cseq: u32) -> Request {
        self.build(Method::Ack, cseq)
    }

    /// Takes a request of this dialog: CSeq order and target refresh (RFC 3261 §12.2.2).
    pub fn receive(&mut self, request: &Request) -> Result<(), DialogError> {
        if DialogId::of_request(request)? != self.id {
            return Err(DialogError::OtherDialog);
        }
        if matches!(request.method, Method::Ack | Method::Cancel) {
            return Ok(());
        }
        let number = request.cseq()?.number;
        if self.remote_cseq.is_some_and(|last| number < last) {
            return Err(DialogError::OutOfOrder);
        }
        self.remote_cseq = Some(number);
        if refreshes_target(&request.method)
            && let Ok(contact) = request.contact()
        {
            self.target = contact.uri;
        }
        Ok(())
    }

    /// A response to the INVITE that made the dialog, received or sent: a 2xx confirms it, and gives
    /// a caller's dialog its final route set and target (RFC 3261 §13.2.2.4).
    pub fn confirm(&mut self, response: &Response) {
        if self.role == Role::Uac {
            if let Ok(contact) = response.contact() {
                self.target = contact.uri;
            }
            if self.state == DialogState::Early
                && response.status.is_success()
                && let Ok(mut routes) = response.record_routes()
            {
                routes.reverse();
                self.route_set = routes;
            }
        }
        if response.status.is_success() {
            self.state = DialogState::Confirmed;
        }
    }

    /// A 2xx to a re-INVITE or UPDATE of ours: the target is where the other end now is (§12.2.1.2).
    pub fn refresh(&mut self, response: &Response) {
        if response.status.is_success()
            && let Ok(contact) = response.contact()
        {
            self.target = contact.uri;
        }
    }

    fn build(&self, method: Method, cseq: u32) -> Request {
        let strict = self
            .route_set
            .first()
            .filter(|route| !route.uri.is_loose_router());
        let mut routes: Vec<&NameAddr> = self.route_set.iter().collect();
        let target = NameAddr::new(self.target.clone());
        let uri = match strict {
            // A strict router wants to see itself in the Request-URI (RFC 3261 §12.2.1.1).
            Some(first) => {
                routes.remove(0);
                routes.push(&target);
                first.uri.clone()
            }
            None => self.target.clone(),
        };
        let mut request = Request::new(method.clone(), uri);
        for route in routes {
            request.headers.push("Route", route.to_string());
        }
        request.headers.push("Max-Forwards", "70");
        request.headers.push("From", self.local.to_string());
        request.headers.push("To", self.remote.to_string());
        request.headers.push("Call-ID", self.id.call_id.as_str());
        request.headers.push("CSeq", format!("{cseq} {method}"));
        request
    }
}

/// A ringing phone may leave Contact out; until it says more the INVITE's own target is all there is.
fn target_of(request: &Request, response: &Response) -> Result<Uri, HeaderError> {
    match response.contact() {
        Ok(contact) => Ok(contact.uri),
        Err(HeaderError::Missing(_)) => Ok(request.uri.clone()),
        Err(error) => Err(error),
    }
}

fn tag(address: &NameAddr) -> String {
    address.tag().unwrap_or_default().to_owned()
}

fn state_of(response: &Response) -> DialogState {
    match response.status.is_success() {
        true => DialogState::Confirmed,
        false => DialogState::Early,
    }
}

fn refreshes_target(method: &Method) -> bool {
    use Method::{Invite, Notify, Refer, Subscribe, Update};
    matches!(method, Invite | Update | Refer | Subscribe | Notify)
}
