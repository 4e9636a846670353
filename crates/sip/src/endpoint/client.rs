//! The client side: requests out, responses in.

use std::time::Instant;

use bytes::Bytes;

use super::identity::{ClientMatch, InviteIdentity};
use super::schedule::Owner;
use super::{ClientFailure, ClientId, ClientKey, DropReason, Endpoint, Output};
use crate::flow::Flow;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::params::Params;
use crate::status::StatusCode;
use crate::transaction::invite_client::{self, InviteClient};
use crate::transaction::non_invite_client::{self, NonInviteClient};
use crate::uri::Uri;
use crate::via::Via;

#[derive(Debug)]
enum Machine {
    Invite(InviteClient),
    NonInvite(NonInviteClient),
}

/// One client transaction and its messages.
#[derive(Debug)]
pub(crate) struct Client {
    machine: Machine,
    flow: Flow,
    matched: ClientMatch,
    /// What it is found by when it comes back to us; only outside a dialog.
    identity: Option<InviteIdentity>,
    /// The Request-URI.
    pub(super) target: Uri,
    /// The request as sent, for its ACK and CANCEL and for another path; none once it needs none of these.
    request: Option<Box<Request>>,
    bytes: Bytes,
    waiting: Waiting,
    /// Where the request goes again if its stream fails before anything was heard.
    fallback: Option<Flow>,
    forks: Vec<Fork>,
}

/// The paths a request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) flow: Flow,
    /// For a request that is too long for a datagram.
    pub(super) larger: Option<Flow>,
}

/// Longest request that goes in a datagram where there is a choice, bytes (RFC 3261 §18.1.1).
const MOST_IN_DATAGRAM: usize = 1_300;

/// Whether the user has had a final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Yes,
    No,
}

/// A 2xx, known by its To tag, and the user's ACK of it.
#[derive(Debug)]
struct Fork {
    to_tag: String,
    ack: Option<Bytes>,
}

/// Most forks of one INVITE that are told apart; more are a fault or an attack.
const MAX_FORKS: usize = 16;

impl Client {
    /// Lets go of what nothing can ask for any more: an INVITE with a 2xx is not sent again, not
    /// cancelled, and its ACK is the user's.
    fn forget(&mut self, response: StatusCode) {
        let over = match &self.machine {
            Machine::Invite(machine) => machine.is_accepted(),
            Machine::NonInvite(_) => response.is_final(),
        };
        if over {
            self.request = None;
            self.bytes = Bytes::new();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.machine {
            Machine::Invite(machine) => machine.deadline(),
            Machine::NonInvite(machine) => machine.deadline(),
        }
    }
}

impl Endpoint {
    pub(super) fn start_client(
        &mut self,
        now: Instant,
        key: ClientKey,
        way: Way,
        mut request: Request,
        out: &mut Vec<Output>,
    ) {
        let branch = self.tokens.branch();
        self.push_via(way.flow, &branch, &mut request);
        if request.method == Method::Ack {
            let (flow, bytes) = (way.flow, request.write());
            return out.push(Output::Transmit { flow, bytes });
        }
        let stream = way.larger.filter(|larger| {
            !way.flow.transport.is_reliable()
                && larger.transport.is_reliable()
                && request.write().len() > MOST_IN_DATAGRAM
        });
        let fallback = stream.map(|_| way.flow);
        if let Some(stream) = stream {
            request.headers.remove_first("Via");
            self.push_via(stream, &branch, &mut request);
        }
        let flow = stream.unwrap_or(way.flow);
        let id = ClientId::User(key);
        self.open_client(
            now,
            id,
            Way {
                flow,
                larger: fallback,
            },
            branch,
            request,
            out,
        );
    }

    fn push_via(&self, flow: Flow, branch: &str, request: &mut Request) {
        let sent_by = self.settings.sent_by(&flow);
        let mut params = Params::default();
        params.set("branch", Some(branch));
        params.set("rport", None);
        let via = Via {
            transport: flow.transport.as_str().to_owned(),
            host: sent_by.host,
            port: Some(sent_by.port),
            params,
        };
        request.headers.push_front("Via", via.to_string());
    }

    fn open_client(
        &mut self,
        now: Instant,
        id: ClientId,
        Way {
            flow,
            larger: fallback,
        }: Way,
        branch: String,
        request: Request,
        out: &mut Vec<Output>,
    ) {
        let machine = self.machine(now, flow, &request.method);
        let bytes = request.write();
        let matched = ClientMatch {
            branch,
            method: request.method.clone(),
        };
        out.push(Output::Transmit {
            flow,
            bytes: bytes.clone(),
        });
        self.client_index.insert(matched.clone(), id);
        self.flows.insert((flow, Owner::Client(id)));
        let identity = identity_outside(&request);
        if let Some(identity) = &identity {
            self.sent.insert((identity.clone(), id));
        }
        let client = Client {
            machine,
            flow,
            matched,
            identity,
            target: request.uri.clone(),
            request: Some(Box::new(request)),
            bytes,
            waiting: Waiting::Yes,
            fallback,
            forks: Vec::new(),
        };
        self.schedule.set(Owner::Client(id), client.deadline());
        let before = self.clients.insert(id, Box::new(client));
        assert!(
            before.is_none(),
            "a client key names one transaction at a time"
        );
    }

    fn machine(&self, now: Instant, flow: Flow, method: &Method) -> Machine {
        let (timers, reliable) = (self.settings.timers, flow.transport.is_reliable());
        match method {
            Method::Invite => Machine::Invite(InviteClient::new(now, timers, reliable)),
            _ => Machine::NonInvite(NonInviteClient::new(now, timers, reliable)),
        }
    }

    /// Its path is gone: a long request for which nothing was heard yet goes in datagrams instead.
    pub(super) fn fail_client(&mut self, now: Instant, id: ClientId, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if let Some(flow) = client.fallback.take() {
            return self.fall_back(now, id, flow, out);
        }
        let waiting = client.waiting == Waiting::Yes;
        self.remove_client(id);
        if let ClientId::User(key) = id
            && waiting
        {
            let failure = ClientFailure::Transport;
            out.push(Output::ClientFailed { key, failure });
        }
    }

    /// The same transaction from its beginning, on another path: the branch stays, so that a peer who
    /// had the request already takes this for a copy.
    fn fall_back(&mut self, now: Instant, id: ClientId, flow: Flow, out: &mut Vec<Output>) {
        let Some(mut client) = self.clients.remove(&id) else {
            return;
        };
        self.flows.remove(&(client.flow, Owner::Client(id)));
        self.flows.insert((flow, Owner::Client(id)));
        if let Some(request) = &mut client.request {
            request.headers.remove_first("Via");
            self.push_via(flow, &client.matched.branch, request);
            client.bytes = request.write();
        }
        client.machine = self.machine(now, flow, &client.matched.method);
        client.flow = flow;
        let bytes = client.bytes.clone();
        out.push(Output::Transmit { flow, bytes });
        self.clients.insert(id, client);
        self.reschedule_client(id);
    }

    pub(super) fn received_response(
        &mut self,
        now: Instant,
        response: Response,
        out: &mut Vec<Output>,
    ) {
        let (via, cseq) = match (response.via(), response.cseq()) {
            (Ok(via), Ok(cseq)) => (via, cseq),
            (Err(error), _) | (_, Err(error)) => {
                out.push(Output::Dropped(DropReason::Header(error)));
                return;
            }
        };
        // A second Via means that the response was meant for somebody behind us (§8.1.3.3).
        let alone = response.headers.values("Via").nth(1).is_none();
        let branch = via.branch().unwrap_or_default().to_owned();
        let matched = ClientMatch {
            branch,
            method: cseq.method,
        };
        match self.client_index.get(&matched).copied() {
            Some(id) if alone => self.client_response(now, id, response, out),
            _ => out.push(Output::Dropped(DropReason::StrayResponse)),
        }
    }

    fn client_response(
        &mut self,
        now: Instant,
        id: ClientId,
        response: Response,
        out: &mut Vec<Output>,
    ) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        client.fallback = None;
        let status = response.status;
        match &mut client.machine {
            Machine::Invite(machine) => {
                let done = machine.handle(now, invite_client::Input::Response(status));
                self.invite_outputs(now, id, Some(response), done, out);
            }
            Machine::NonInvite(machine) => {
                let done = machine.handle(now, non_invite_client::Input::Response(status));
                self.non_invite_outputs(id, Some(response), done, out);
            }
        }
        if let Some(client) = self.clients.get_mut(&id) {
            client.forget(status);
        }
    }

    pub(super) fn client_due(&mut self, now: Instant, id: ClientId, out: &mut Vec<Output>) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        match &mut client.machine {
            Machine::Invite(machine) => {
                let done = machine.handle(now, invite_client::Input::Deadline);
                self.invite_outputs(now, id, None, done, out);
            }
            Machine::NonInvite(machine) => {
                let done = machine.handle(now, non_invite_client::Input::Deadline);
                self.non_invite_outputs(id, None, done, out);
            }
        }
    }

    pub(super) fn cancel_client(&mut self, now: Instant, key: ClientKey, out: &mut Vec<Output>) {
        let id = ClientId::User(key);
        let client = self.clients.get_mut(&id).map(Box::as_mut);
        let Some(Client {
            machine: Machine::Invite(machine),
            fallback,
            ..
        }) = client
        else {
            out.push(Output::Dropped(DropReason::UnknownKey));
            return;
        };
        // What is no longer wanted is not sent again.
        *fallback = None;
        let done = machine.handle(now, invite_client::Input::Cancel);
        self.invite_outputs(now, id, None, done, out);
    }

    fn invite_outputs(
        &mut self,
        now: Instant,
        id: ClientId,
        response: Option<Response>,
        done: Vec<invite_client::Output>,
        out: &mut Vec<Output>,
    ) {
        let ClientId::User(key) = id else { return };
        for step in done {
            let Some(client) = self.clients.get_mut(&id) else {
                return;
            };
            match step {
                invite_client::Output::SendRequest => {
                    out.push(Output::Transmit {
                        flow: client.flow,
                        bytes: client.bytes.clone(),
                    });
                }
                invite_client::Output::SendAck => {
                    let to = response.as_ref().and_then(|r| r.headers.value("To"));
                    let flow = client.flow;
                    if let Some(invite) = &client.request {
                        let bytes = ack_of_failure(invite, to).write();
                        out.push(Output::Transmit { flow, bytes });
                    }
                }
                invite_client::Output::SendCancel => {
                    let (flow, branch) = (client.flow, client.matched.branch.clone());
                    let (id, way) = (ClientId::Cancel(key), Way { flow, larger: None });
                    if let Some(cancel) = client.request.as_deref().map(cancel_of) {
                        self.open_client(now, id, way, branch, cancel, out);
                    }
                }
                invite_client::Output::Pass => {
                    if let Some(response) = response.clone() {
                        client.pass(key, response, out);
                    }
                }
                invite_client::Output::Failed(failure) => {
                    out.push(Output::ClientFailed { key, failure });
                }
                invite_client::Output::Gone => self.remove_client(id),
            }
        }
        self.reschedule_client(id);
    }

    fn non_invite_outputs(
        &mut self,
        id: ClientId,
        response: Option<Response>,
        done: Vec<non_invite_client::Output>,
        out: &mut Vec<Output>,
    ) {
        let mut response = response;
        for step in done {
            let Some(client) = self.clients.get_mut(&id) else {
                return;
            };
            match (step, id) {
                (non_invite_client::Output::SendRequest, _) => {
                    out.push(Output::Transmit {
                        flow: client.flow,
                        bytes: client.bytes.clone(),
                    });
                }
                (non_invite_client::Output::Pass, ClientId::User(key)) => {
                    if let Some(response) = response.take() {
                        client.pass(key, response, out);
                    }
                }
                (non_invite_client::Output::Failed(failure), ClientId::User(key)) => {
                    out.push(Output::ClientFailed { key, failure });
                }
                // Nobody waits for the answer to a CANCEL: the INVITE's own answer counts.
                (
                    non_invite_client::Output::Pass | non_invite_client::Output::Failed(_),
                    ClientId::Cancel(_),
                ) => {}
                (non_invite_client::Output::Gone, _) => self.remove_client(id),
            }
        }
        self.reschedule_client(id);
    }

    pub(super) fn send_ack(&mut self, key: ClientKey, mut request: Request, out: &mut Vec<Output>) {
        let Some(flow) = self.clients.get(&ClientId::User(key)).map(|c| c.flow) else {
            out.push(Output::Dropped(DropReason::UnknownKey));
            return;
        };
        let branch = self.tokens.branch();
        self.push_via(flow, &branch, &mut request);
        let bytes = request.write();
        let tag = request
            .to()
            .ok()
            .and_then(|to| to.tag().map(str::to_owned))
            .unwrap_or_default();
        let client = self.clients.get_mut(&ClientId::User(key));
        if let Some(fork) = client.and_then(|c| c.forks.iter_mut().find(|f| f.to_tag == tag)) {
            fork.ack = Some(bytes.clone());
        }
        out.push(Output::Transmit { flow, bytes });
    }

    fn reschedule_client(&mut self, id: ClientId) {
        let deadline = self.clients.get(&id).and_then(|c| c.deadline());
        self.schedule.set(Owner::Client(id), deadline);
    }

    pub(super) fn remove_client(&mut self, id: ClientId) {
        if let Some(client) = self.clients.remove(&id) {
            self.client_index.remove(&client.matched);
            if let Some(identity) = client.identity {
                self.sent.remove(&(identity, id));
            }
            self.flows.remove(&(client.flow, Owner::Client(id)));
        }
        self.schedule.set(Owner::Client(id), None);
    }
}

impl Client {
    /// Hands a response up, unless it repeats a 2xx: then its ACK is sent again (RFC 3261 §13.2.2.4).
    fn pass(&mut self, key: ClientKey, response: Response, out: &mut Vec<Output>) {
        if response.status.is_final() {
            self.waiting = Waiting::No;
        }
        if self.matched.method == Method::Invite && response.status.is_success() {
            let to = response.to_addr().ok();
            let tag = to
                .and_then(|to| to.tag().map(str::to_owned))
                .unwrap_or_default();
            if let Some(fork) = self.forks.iter().find(|f| f.to_tag == tag) {
                if let Some(bytes) = fork.ack.clone() {
                    out.push(Output::Transmit {
                        flow: self.flow,
                        bytes,
                    });
                }
                return;
            }
            if self.forks.len() == MAX_FORKS {
                out.push(Output::Dropped(DropReason::StrayResponse));
                return;
            }
            self.forks.push(Fork {
                to_tag: tag,
                ack: None,
            });
        }
        out.push(Output::Response { key, response });
    }
}

/// What a request outside a dialog is known by, if it has all of it.
fn identity_outside(request: &Request) -> Option<InviteIdentity> {
    let outside = request.method != Method::Cancel && request.to().ok()?.tag().is_none();
    outside
        .then(|| InviteIdentity::of(request, request.method.clone()).ok())
        .flatten()
}

/// RFC 3261 §17.1.1.3: the INVITE's own Via, Route and Request-URI, the response's To.
fn ack_of_failure(invite: &Request, to: Option<&str>) -> Request {
    let mut ack = within_transaction(invite, Method::Ack);
    if let Some(to) = to {
        ack.headers.set("To", to);
    }
    ack
}

/// RFC 3261 §9.1.
fn cancel_of(invite: &Request) -> Request {
    within_transaction(invite, Method::Cancel)
}

fn within_transaction(invite: &Request, method: Method) -> Request {
    let mut request = Request::new(method.clone(), invite.uri.clone());
    if let Some(via) = invite.headers.value("Via") {
        request.headers.push("Via", via);
    }
    for name in ["Route", "From", "To", "Call-ID"] {
        for value in invite.headers.values(name) {
            request.headers.push(name, value);
        }
    }
    let number = invite.cseq().map_or(1, |cseq| cseq.number);
    request.headers.push("CSeq", format!("{number} {method}"));
    request.headers.push("Max-Forwards", "70");
    request
}
