//! The table of transactions: bytes in, requests and responses up; requests and responses down,
//! bytes out (RFC 3261 §17 and §18).

mod client;
mod identity;
mod loops;
mod refuse;
mod reliable;
mod reply_to;
mod schedule;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::flow::{Flow, Transport};
use crate::message::{Message, ParseError, Request, Response};
use crate::reads::HeaderError;
use crate::status::StatusCode;
use crate::tokens::Tokens;
pub use crate::transaction::timers::Timers;
pub use crate::transaction::{ClientFailure, ServerFailure};
use client::{Client, Way};
use identity::{ClientMatch, InviteIdentity, ServerMatch};
use schedule::{Owner, Schedule};
use server::Server;

/// The user's name for a client transaction; the user picks the numbers, each once. A number used
/// again while its transaction (or that one's CANCEL) still runs is a broken assumption: a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(pub u64);

/// The endpoint's name for a server transaction; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey(pub u64);

/// What the endpoint is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// One datagram, or one message cut from a stream by `Framer`.
    Received {
        /// Where it came from.
        flow: Flow,
        /// The bytes.
        bytes: Bytes,
    },
    /// Send a request, without Via of ours, in a transaction. An ACK is sent once, without one.
    Request {
        /// A number not in use.
        key: ClientKey,
        /// Where to.
        flow: Flow,
        /// The request.
        request: Request,
        /// Where it goes instead if it has more than 1,300 bytes and `flow` is UDP (RFC 3261
        /// §18.1.1): a stream to the same peer. It falls back to `flow` where that stream fails
        /// before anything was heard on it.
        larger: Option<Flow>,
    },
    /// Answer a request. A To tag is added where a response above 100 has none. A provisional response
    /// with RSeq is repeated until `Pracked` or a final response (RFC 3262 §3).
    Respond {
        /// From `Output::Request`.
        key: ServerKey,
        /// The response.
        response: Response,
    },
    /// Answer a request finally and keep nothing of it: a copy of it comes up again, to be answered
    /// alike (RFC 3261 §8.2.7). For what strangers ask: their answers are neither stored nor repeated.
    RespondOnce {
        /// From `Output::Request`.
        key: ServerKey,
        /// The response, 200 to 699.
        response: Response,
    },
    /// The PRACK of a reliable provisional response came. Nothing happens where none waits for it.
    Pracked {
        /// The INVITE's.
        key: ServerKey,
        /// RSeq of the response.
        rseq: u32,
    },
    /// Send the ACK of a 2xx; it is repeated for every repetition of that 2xx.
    Ack {
        /// The INVITE's.
        key: ClientKey,
        /// The ACK, without Via; its To tag says which fork it is for.
        request: Request,
    },
    /// Cancel an INVITE: sent at once where a provisional response came, else with the first one.
    Cancel {
        /// The INVITE's.
        key: ClientKey,
    },
    /// The connection or the path is gone: its transactions fail.
    FlowFailed {
        /// The flow.
        flow: Flow,
    },
    /// `deadline()` has come.
    Deadline,
}

/// What the endpoint wants done or has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// Where to; for a stream the connection it came on.
        flow: Flow,
        /// One message.
        bytes: Bytes,
    },
    /// A new request, never an ACK or CANCEL; to be answered with `Input::Respond`. An INVITE waits
    /// for its final response without limit, everything else for 64*T1.
    Request {
        /// Its transaction.
        key: ServerKey,
        /// Where it came from, and where requests back may go (RFC 3581).
        flow: Flow,
        /// The request with `received` and `rport` filled in.
        request: Request,
    },
    /// The ACK of our 2xx, once.
    Acked {
        /// The INVITE's.
        key: ServerKey,
        /// The ACK.
        request: Request,
    },
    /// The INVITE was cancelled and is to be answered with 487, unless it was just answered.
    Cancelled {
        /// The INVITE's.
        key: ServerKey,
    },
    /// A reliable provisional response had no PRACK for 64*T1: the INVITE is to be refused with a 5xx
    /// (RFC 3262 §3). Said once; nothing is repeated any more.
    Unpracked {
        /// The INVITE's.
        key: ServerKey,
    },
    /// A response; after a 2xx to INVITE further ones come from other forks only.
    Response {
        /// Its request's.
        key: ClientKey,
        /// The response with its one Via.
        response: Response,
    },
    /// There will be no (further) response.
    ClientFailed {
        /// Its request's.
        key: ClientKey,
        /// Why.
        failure: ClientFailure,
    },
    /// The server transaction ended badly.
    ServerFailed {
        /// Its request's.
        key: ServerKey,
        /// Why.
        failure: ServerFailure,
    },
    /// Something that came in went no further.
    Dropped(DropReason),
}

/// Why something went no further. A refused request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Nothing but line ends or NULs, as phones send to keep a NAT open.
    KeepAlive,
    /// Not a message; where it was a request with a usable Via it was answered.
    Malformed(ParseError),
    /// A header that nothing can be done without is bad, and no answer is possible or due.
    Header(HeaderError),
    /// A request that was answered with this status without going up.
    Refused(StatusCode),
    /// A response that no transaction waits for.
    StrayResponse,
    /// An ACK that no transaction waits for.
    StrayAck,
    /// The user named a transaction that is gone or was answered already.
    UnknownKey,
}

/// Our address as written in Via (RFC 3261 §18.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentBy {
    /// A name or an address, IPv6 in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl From<SocketAddr> for SentBy {
    fn from(address: SocketAddr) -> SentBy {
        let host = match address {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        };
        SentBy {
            host,
            port: address.port(),
        }
    }
}

/// What an endpoint is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Our addresses as peers must be told them, one for each transport and family.
    pub own: Vec<(Transport, SocketAddr)>,
    /// The Server field of answers that the endpoint gives by itself.
    pub server_name: String,
    /// T1, T2 and T4.
    pub timers: Timers,
}

impl EndpointSettings {
    /// Our address for a peer on this path: that of its transport and family, else the socket's.
    pub fn sent_by(&self, flow: &Flow) -> SentBy {
        let v4 = |address: &SocketAddr| address.ip().to_canonical().is_ipv4();
        let fits = |(transport, own): &&(Transport, SocketAddr)| {
            *transport == flow.transport && v4(own) == v4(&flow.peer)
        };
        let own = self.own.iter().find(fits).map(|(_, own)| *own);
        SentBy::from(own.unwrap_or(flow.local))
    }
}

/// A client transaction: the user's, or the CANCEL the endpoint sends for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClientId {
    User(ClientKey),
    Cancel(ClientKey),
}

/// The transactions of one user agent. Its time is the caller's; every call's outputs take effect
/// at the `now` of that call. Server transactions are bounded: what is beyond gets 503. Those of clients
/// are the user's to limit.
#[derive(Debug)]
pub struct Endpoint {
    settings: EndpointSettings,
    tokens: Tokens,
    /// Makes the tags of stateless answers: the same for a repeated request (RFC 3261 §8.2.7).
    salt: u64,
    // In boxes: the nodes of a tree that grows at its end stay half empty.
    clients: BTreeMap<ClientId, Box<Client>>,
    client_index: BTreeMap<ClientMatch, ClientId>,
    servers: BTreeMap<ServerKey, Box<Server>>,
    server_index: BTreeMap<ServerMatch, ServerKey>,
    /// By Call-ID, CSeq and From tag: finds the ACK of a 2xx, and merged requests.
    identities: BTreeSet<(InviteIdentity, ServerKey)>,
    /// The same for requests of ours outside a dialog: finds those that come back.
    sent: BTreeSet<(InviteIdentity, ClientId)>,
    /// Who uses which path.
    flows: BTreeSet<(Flow, Owner)>,
    schedule: Schedule,
    next_server: u64,
}

impl Endpoint {
    /// An endpoint without transactions. The seed must be secret and fresh outside tests.
    pub fn new(settings: EndpointSettings, seed: [u8; 32]) -> Endpoint {
        let mut tokens = Tokens::new(seed);
        let salt = identity::fnv(0, tokens.tag().as_bytes());
        Endpoint {
            settings,
            tokens,
            salt,
            clients: BTreeMap::new(),
            client_index: BTreeMap::new(),
            servers: BTreeMap::new(),
            server_index: BTreeMap::new(),
            identities: BTreeSet::new(),
            sent: BTreeSet::new(),
            flows: BTreeSet::new(),
            schedule: Schedule::default(),
            next_server: 1,
        }
    }

    /// Takes one input; the outputs are in the order in which they are to be done.
    #[must_use]
    pub fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Received { flow, bytes } => self.received(now, flow, bytes, &mut out),
            Input::Request {
                key,
                flow,
                request,
                larger,
            } => self.start_client(now, key, Way { flow, larger }, request, &mut out),
            Input::Respond { key, response } => self.respond(now, key, response, &mut out),
            Input::RespondOnce { key, response } => self.respond_once(key, response, &mut out),
            Input::Pracked { key, rseq } => self.pracked(key, rseq),
            Input::Ack { key, request } => self.send_ack(key, request, &mut out),
            Input::Cancel { key } => self.cancel_client(now, key, &mut out),
            Input::FlowFailed { flow } => self.fail_flow(now, flow, &mut out),
            Input::Deadline => self.due(now, &mut out),
        }
        out
    }

    /// When `Input::Deadline` is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        self.schedule.first()
    }

    /// How many transactions there are, of both sides.
    pub fn transactions(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    fn received(&mut self, now: Instant, flow: Flow, bytes: Bytes, out: &mut Vec<Output>) {
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            out.push(Output::Dropped(DropReason::KeepAlive));
            return;
        }
        match Message::parse(bytes.clone()) {
            Ok(Message::Request(request)) => self.received_request(now, flow, request, out),
            Ok(Message::Response(response)) => self.received_response(now, response, out),
            Err(error) => {
                if let Some((request, status)) = Request::salvage(&bytes, error) {
                    self.refuse_unread(flow, request, status, out);
                }
                out.push(Output::Dropped(DropReason::Malformed(error)));
            }
        }
    }

    fn due(&mut self, now: Instant, out: &mut Vec<Output>) {
        while let Some(owner) = self.schedule.take_due(now) {
            match owner {
                Owner::Client(id) => self.client_due(now, id, out),
                Owner::Server(key) => self.server_due(now, key, out),
            }
        }
    }

    fn fail_flow(&mut self, now: Instant, flow: Flow, out: &mut Vec<Output>) {
        let first = (flow, Owner::FIRST);
        let owners = self.flows.range(first..).take_while(|(f, _)| *f == flow);
        for owner in owners.map(|(_, owner)| *owner).collect::<Vec<_>>() {
            match owner {
                Owner::Client(id) => self.fail_client(now, id, out),
                Owner::Server(key) => self.fail_server(key, out),
            }
        }
    }
}
