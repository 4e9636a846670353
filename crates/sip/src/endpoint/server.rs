//! The server side: requests in, responses out.

use std::time::Instant;

use bytes::Bytes;

use super::identity::{InviteIdentity, ServerMatch};
use super::refuse::fault;
use super::reliable::Unacknowledged;
use super::reply_to::stamp;
use super::schedule::Owner;
use super::{DropReason, Endpoint, Output, ServerFailure, ServerKey};
use crate::flow::Flow;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::reads::HeaderError;
use crate::status::StatusCode;
use crate::transaction::invite_server::{self, InviteServer};
use crate::transaction::non_invite_server::{self, NonInviteServer};
use crate::uri::Uri;
use crate::via::Via;

/// Server transactions at once; beyond them a request that makes something new gets 503. A call
/// leaves two behind for 64*T1: this is five hundred calls a second.
const MOST: usize = 32_768;
/// Beyond `MOST` there is room for what belongs to something that stands, BYE and CANCEL above all.
const MOST_WITHIN: usize = MOST + MOST / 4;

#[derive(Debug)]
enum Machine {
    Invite(InviteServer),
    NonInvite(NonInviteServer),
}

/// One server transaction and its latest response.
#[derive(Debug)]
pub(crate) struct Server {
    machine: Machine,
    /// Where it came from.
    flow: Flow,
    /// Where responses go.
    back: Flow,
    matched: ServerMatch,
    identity: InviteIdentity,
    /// The Request-URI.
    pub(super) target: Uri,
    /// The 100 of an INVITE, ready to go.
    trying: Bytes,
    response: Bytes,
    /// Our tag, once a response carried one.
    to_tag: Option<String>,
    fallback_tag: String,
    waiting: Waiting,
    pub(super) unacknowledged: Unacknowledged,
}

/// What the user may still hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// For the user's final response.
    Response,
    /// The same, and the user has been told of a CANCEL.
    Cancelled,
    /// For the ACK of a 2xx.
    Ack,
    Nothing,
}

impl Server {
    /// The flow it came on, and the one that responses go to.
    pub(super) fn flows(&self) -> [Flow; 2] {
        [self.flow, self.back]
    }

    pub(super) fn back(&self) -> Flow {
        self.back
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting != Waiting::Nothing
    }

    fn deadline(&self) -> Option<Instant> {
        let machine = match &self.machine {
            Machine::Invite(machine) => machine.deadline(),
            Machine::NonInvite(machine) => machine.deadline(),
        };
        machine
            .into_iter()
            .chain(self.unacknowledged.deadline())
            .min()
    }
}

impl Endpoint {
    pub(super) fn received_request(
        &mut self,
        now: Instant,
        flow: Flow,
        mut request: Request,
        out: &mut Vec<Output>,
    ) {
        let stamped = stamp(&mut request, flow);
        let (via, back) = match stamped {
            Ok(stamped) => stamped,
            Err(error) => return out.push(Output::Dropped(DropReason::Header(error))),
        };
        if request.method == Method::Ack {
            return match self.received_ack(now, &via, request, out) {
                Ok(()) => {}
                Err(error) => out.push(Output::Dropped(DropReason::Header(error))),
            };
        }
        if let Some(status) = fault(&request) {
            return self.refuse(back, &request, status, out);
        }
        if let Err(error) = self.received_sound(now, flow, back, &via, request, out) {
            out.push(Output::Dropped(DropReason::Header(error)));
        }
    }

    /// A request whose mandatory headers were read once already.
    fn received_sound(
        &mut self,
        now: Instant,
        flow: Flow,
        back: Flow,
        via: &Via,
        request: Request,
        out: &mut Vec<Output>,
    ) -> Result<(), HeaderError> {
        let matched = ServerMatch::of(&request, via, request.method.clone())?;
        if let Some(key) = self.server_index.get(&matched).copied() {
            self.repeated(now, key, out);
            return Ok(());
        }
        let outside = request.to()?.tag().is_none();
        let most = match outside && request.method != Method::Cancel {
            true => MOST,
            false => MOST_WITHIN,
        };
        if self.servers.len() >= most {
            self.refuse(back, &request, StatusCode::UNAVAILABLE, out);
            return Ok(());
        }
        if request.method == Method::Cancel {
            return self.received_cancel(now, flow, back, via, request, out);
        }
        let identity = InviteIdentity::of(&request, request.method.clone())?;
        // Phones that keep a NAT open repeat one Call-ID and CSeq in OPTIONS: no harm in answering.
        let outside = outside && request.method != Method::Options;
        if outside && (self.is_merged(&identity, &request) || self.is_looped(&identity, &request)) {
            self.refuse(back, &request, StatusCode::LOOP_DETECTED, out);
            return Ok(());
        }
        let key = self.open_server(now, flow, back, matched, identity, &request);
        out.push(Output::Request { key, flow, request });
        Ok(())
    }

    fn open_server(
        &mut self,
        now: Instant,
        flow: Flow,
        back: Flow,
        matched: ServerMatch,
        identity: InviteIdentity,
        request: &Request,
    ) -> ServerKey {
        let key = ServerKey(self.next_server);
        self.next_server += 1;
        let (timers, reliable) = (self.settings.timers, flow.transport.is_reliable());
        let (machine, trying) = match request.method {
            Method::Invite => (
                Machine::Invite(InviteServer::new(now, timers, reliable)),
                Response::to(request, StatusCode::TRYING).write(),
            ),
            _ => (
                Machine::NonInvite(NonInviteServer::new(now, timers, reliable)),
                Bytes::new(),
            ),
        };
        self.server_index.insert(matched.clone(), key);
        self.identities.insert((identity.clone(), key));
        let server = Server {
            machine,
            flow,
            back,
            matched,
            identity,
            target: request.uri.clone(),
            trying,
            response: Bytes::new(),
            to_tag: None,
            fallback_tag: self.stateless_tag(request),
            waiting: Waiting::Response,
            unacknowledged: Unacknowledged::default(),
        };
        self.schedule.set(Owner::Server(key), server.deadline());
        for flow in server.flows() {
            self.flows.insert((flow, Owner::Server(key)));
        }
        self.servers.insert(key, Box::new(server));
        key
    }

    fn repeated(&mut self, now: Instant, key: ServerKey, out: &mut Vec<Output>) {
        let Some(server) = self.servers.get_mut(&key) else {
            return;
        };
        match &mut server.machine {
            Machine::Invite(machine) => {
                let done = machine.handle(now, invite_server::Input::Invite);
                self.invite_server_outputs(key, None, done, out);
            }
            Machine::NonInvite(machine) => {
                let done = machine.handle(now, non_invite_server::Input::Request);
                self.non_invite_server_outputs(key, done, out);
            }
        }
    }

    fn received_ack(
        &mut self,
        now: Instant,
        via: &Via,
        request: Request,
        out: &mut Vec<Output>,
    ) -> Result<(), HeaderError> {
        let matched = ServerMatch::of(&request, via, Method::Invite)?;
        let key = match self.server_index.get(&matched) {
            Some(key) => Some(*key),
            None => {
                // The ACK of a 2xx has a branch of its own: its dialog finds it (§13.3.1.4).
                let identity = InviteIdentity::of(&request, Method::Invite)?;
                let to = request.to()?;
                self.alike(&identity).find(|key| {
                    let ours = self.servers.get(key).and_then(|s| s.to_tag.as_deref());
                    ours.is_some() && ours == to.tag()
                })
            }
        };
        let server = key.and_then(|key| Some((key, self.servers.get_mut(&key)?.as_mut())));
        match server {
            Some((
                key,
                Server {
                    machine: Machine::Invite(machine),
                    ..
                },
            )) => {
                let done = machine.handle(now, invite_server::Input::Ack);
                self.invite_server_outputs(key, Some(request), done, out);
            }
            _ => out.push(Output::Dropped(DropReason::StrayAck)),
        }
        Ok(())
    }

    fn received_cancel(
        &mut self,
        now: Instant,
        flow: Flow,
        back: Flow,
        via: &Via,
        request: Request,
        out: &mut Vec<Output>,
    ) -> Result<(), HeaderError> {
        let invite = ServerMatch::of(&request, via, Method::Invite)?;
        let Some(invite_key) = self.server_index.get(&invite).copied() else {
            self.refuse(back, &request, StatusCode::NO_SUCH_CALL, out);
            return Ok(());
        };
        let mut response = Response::to(&request, StatusCode::OK);
        let Some(server) = self.servers.get_mut(&invite_key) else {
            return Ok(());
        };
        // The tag of the INVITE's own responses (RFC 3261 §9.2).
        response.set_to_tag(server.to_tag.as_deref().unwrap_or(&server.fallback_tag));
        response
            .headers
            .push("Server", self.settings.server_name.as_str());
        let open = matches!(&server.machine, Machine::Invite(machine) if machine.is_open());
        let tell = open && server.waiting == Waiting::Response;
        if tell {
            server.waiting = Waiting::Cancelled;
        }
        let matched = ServerMatch::of(&request, via, Method::Cancel)?;
        let identity = InviteIdentity::of(&request, Method::Cancel)?;
        let key = self.open_server(now, flow, back, matched, identity, &request);
        self.respond(now, key, response, out);
        if tell {
            out.push(Output::Cancelled { key: invite_key });
        }
        Ok(())
    }

    pub(super) fn respond(
        &mut self,
        now: Instant,
        key: ServerKey,
        mut response: Response,
        out: &mut Vec<Output>,
    ) {
        let server = match self.servers.get_mut(&key) {
            Some(server) if matches!(server.waiting, Waiting::Response | Waiting::Cancelled) => {
                server
            }
            _ => return out.push(Output::Dropped(DropReason::UnknownKey)),
        };
        let status = response.status;
        if status != StatusCode::TRYING {
            response.set_to_tag(server.to_tag.as_deref().unwrap_or(&server.fallback_tag));
            let to = response.to_addr().ok();
            server.to_tag = to.and_then(|to| to.tag().map(str::to_owned));
        }
        server.response = response.write();
        match &mut server.machine {
            Machine::Invite(machine) => {
                if let Some(rseq) = response.rseq().filter(|_| !status.is_final()) {
                    let (timers, bytes) = (self.settings.timers, server.response.clone());
                    server.unacknowledged.hold(now, timers, rseq, bytes);
                }
                if status.is_final() {
                    server.unacknowledged.clear();
                    let acked = status.is_success();
                    server.waiting = if acked {
                        Waiting::Ack
                    } else {
                        Waiting::Nothing
                    };
                    server.trying = Bytes::new();
                }
                let done = machine.handle(now, invite_server::Input::Respond(status));
                self.invite_server_outputs(key, None, done, out);
            }
            Machine::NonInvite(machine) => {
                if status.is_final() {
                    server.waiting = Waiting::Nothing;
                }
                let done = machine.handle(now, non_invite_server::Input::Respond(status));
                self.non_invite_server_outputs(key, done, out);
            }
        }
    }

    pub(super) fn respond_once(
        &mut self,
        key: ServerKey,
        mut response: Response,
        out: &mut Vec<Output>,
    ) {
        let Some(server) = self.servers.get(&key).filter(|s| s.is_waiting()) else {
            return out.push(Output::Dropped(DropReason::UnknownKey));
        };
        response.set_to_tag(&server.fallback_tag);
        out.push(Output::Transmit {
            flow: server.back,
            bytes: response.write(),
        });
        self.remove_server(key);
    }

    pub(super) fn server_due(&mut self, now: Instant, key: ServerKey, out: &mut Vec<Output>) {
        self.repeat_reliable(now, key, out);
        let Some(server) = self.servers.get_mut(&key) else {
            return;
        };
        match &mut server.machine {
            Machine::Invite(machine) => {
                let done = machine.handle(now, invite_server::Input::Deadline);
                self.invite_server_outputs(key, None, done, out);
            }
            Machine::NonInvite(machine) => {
                let done = machine.handle(now, non_invite_server::Input::Deadline);
                self.non_invite_server_outputs(key, done, out);
            }
        }
    }

    fn invite_server_outputs(
        &mut self,
        key: ServerKey,
        mut ack: Option<Request>,
        done: Vec<invite_server::Output>,
        out: &mut Vec<Output>,
    ) {
        for step in done {
            let Some(server) = self.servers.get_mut(&key) else {
                return;
            };
            match step {
                invite_server::Output::SendTrying => {
                    out.push(Output::Transmit {
                        flow: server.back,
                        bytes: server.trying.clone(),
                    });
                }
                invite_server::Output::SendResponse => {
                    let bytes = server.response.clone();
                    out.push(Output::Transmit {
                        flow: server.back,
                        bytes,
                    });
                }
                invite_server::Output::Acked => {
                    server.waiting = Waiting::Nothing;
                    // RFC 6026 §7.1: a repeated INVITE is absorbed from here on.
                    server.response = Bytes::new();
                    if let Some(request) = ack.take() {
                        out.push(Output::Acked { key, request });
                    }
                }
                invite_server::Output::Failed(failure) => {
                    out.push(Output::ServerFailed { key, failure });
                }
                invite_server::Output::Gone => self.remove_server(key),
            }
        }
        self.reschedule_server(key);
    }

    fn non_invite_server_outputs(
        &mut self,
        key: ServerKey,
        done: Vec<non_invite_server::Output>,
        out: &mut Vec<Output>,
    ) {
        for step in done {
            let Some(server) = self.servers.get_mut(&key) else {
                return;
            };
            match step {
                non_invite_server::Output::SendResponse => {
                    let bytes = server.response.clone();
                    out.push(Output::Transmit {
                        flow: server.back,
                        bytes,
                    });
                }
                non_invite_server::Output::Failed(failure) => {
                    out.push(Output::ServerFailed { key, failure });
                }
                non_invite_server::Output::Gone => self.remove_server(key),
            }
        }
        self.reschedule_server(key);
    }

    pub(super) fn reschedule_server(&mut self, key: ServerKey) {
        let deadline = self.servers.get(&key).and_then(|s| s.deadline());
        self.schedule.set(Owner::Server(key), deadline);
    }

    pub(super) fn fail_server(&mut self, key: ServerKey, out: &mut Vec<Output>) {
        let waiting = self.servers.get(&key).is_some_and(|s| s.is_waiting());
        self.remove_server(key);
        if waiting {
            let failure = ServerFailure::Transport;
            out.push(Output::ServerFailed { key, failure });
        }
    }

    pub(super) fn remove_server(&mut self, key: ServerKey) {
        if let Some(server) = self.servers.remove(&key) {
            for flow in server.flows() {
                self.flows.remove(&(flow, Owner::Server(key)));
            }
            self.server_index.remove(&server.matched);
            self.identities.remove(&(server.identity, key));
        }
        self.schedule.set(Owner::Server(key), None);
    }
}
