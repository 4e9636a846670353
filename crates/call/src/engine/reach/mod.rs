//! Who may speak to this node and where others are, beside the calls: registrar, next hops, our own
//! registrations, digests, limits. What they want done becomes requests and answers of the engine.

mod digests;
mod doors;
mod finding;
mod messages;
mod own;
mod untold;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use duolog_reach::hops::{Destination, HopSettings, Hops, LocateId, QueryId, Question};
use duolog_reach::limits::{Limits, Network};
use duolog_reach::registrar::{Directory, Entry, Registrar};
use duolog_reach::registration;
use duolog_sip::endpoint::ClientKey;
use duolog_sip::{Flow, Request, Tokens, Transport};

use crate::media::CallId;
use crate::route::{Whereabouts, user_with};
use crate::settings::{Location, Settings, TrunkIndex, UserIndex};
use crate::target::{Answer, AskId};

use digests::Digests;
pub(super) use doors::{Door, Sender};
use finding::Waiting;
pub(super) use messages::Counts;
use messages::Messages;
use own::OwnRequests;

/// The registrar, next hops and limits of a node.
pub(super) struct Reach {
    registrar: Registrar,
    hops: Hops,
    limits: Limits,
    neighbours: Neighbours,
    certified: BTreeMap<Flow, Vec<String>>,
    waiting: BTreeMap<LocateId, Waiting>,
    last_locate: u64,
    own: OwnRequests,
    messages: Messages,
    digests: Digests,
    /// What is known of addresses that names led to.
    hints: BTreeMap<(Transport, SocketAddr), Hint>,
    tokens: Tokens,
}

/// Where those are who are configured as neighbours.
struct Neighbours {
    /// Of users' phones.
    phones: BTreeSet<IpAddr>,
    /// Of trunks, as last looked up.
    trunks: BTreeSet<IpAddr>,
    networks: Vec<Network>,
}

/// What is known of an address that a name led to.
#[derive(Debug, Clone)]
struct Hint {
    /// The name its certificate must have.
    name: Option<Arc<str>>,
    large: Large,
    /// Whose address it is.
    trunk: Option<TrunkIndex>,
}

/// How requests that are too large for UDP go to an address (RFC 3261 §18.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Large {
    /// Over TCP first.
    OverTcp,
    /// Over UDP: nothing else was configured.
    AsTheyAre,
}

/// What the engine is to do for the reach.
pub(super) enum Wanted {
    /// Ask the DNS.
    Resolve(QueryId, Question),
    /// Send a request that belongs to no call.
    Send(ClientKey, Flow, Box<Request>),
    /// Tell a call where its callee is.
    Found(CallId, AskId, Answer),
    /// Say how a registration of ours stands.
    Registered(TrunkIndex, registration::State),
}

impl Reach {
    /// What the settings ask for; nothing has been sent or asked yet.
    pub(super) fn new(settings: &Settings, seeds: [[u8; 32]; 4]) -> Self {
        let reach = &settings.reach;
        let transports = settings.local.0.iter();
        let transports = transports.map(|(transport, own)| (*transport, finding::family(own.ip())));
        let hops = HopSettings {
            transports: transports.collect(),
            ..reach.hops.clone()
        };
        let hops = Hops::new(hops, seeds[1]);
        let mut neighbours = Neighbours::new(settings);
        neighbours.look_again(settings, &hops);
        Self {
            registrar: Registrar::new(reach.registrar.clone(), seeds[0]),
            hops,
            limits: Limits::new(reach.limits.clone()),
            neighbours,
            certified: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_locate: 0,
            own: OwnRequests::new(settings, seeds[2]),
            messages: Messages::default(),
            digests: Digests::new(settings.trunks.len()),
            hints: BTreeMap::new(),
            tokens: Tokens::new(seeds[3]),
        }
    }

    /// The peer of a connection has proved names.
    pub(super) fn certify(&mut self, flow: Flow, names: Vec<String>) {
        self.certified.insert(flow, names);
    }

    /// A connection is gone, with what was known by it.
    pub(super) fn flow_failed(
        &mut self,
        now: Instant,
        settings: &Settings,
        flow: &Flow,
    ) -> Vec<Wanted> {
        self.certified.remove(flow);
        self.registrar.flow_failed(flow);
        self.messages.flow_failed(flow);
        self.own_flow_failed(now, settings, flow)
    }

    /// When [`Reach::due`] is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let all = [
            self.registrar.deadline(),
            self.hops.deadline(),
            self.own.deadline(),
            self.messages.deadline(),
        ];
        all.into_iter().flatten().min()
    }

    /// What still waits for an answer: 0 when nothing is under way.
    pub(super) fn pending(&self) -> usize {
        self.waiting.len() + self.digests.pending()
    }

    /// The certificate name that a new connection on this flow must prove.
    pub(super) fn name_for(&self, flow: &Flow) -> Option<Arc<str>> {
        let hint = self.hints.get(&(flow.transport, flow.peer))?;
        hint.name.clone()
    }

    /// The trunk that a flow leads to.
    pub(super) fn trunk_on(&self, flow: &Flow) -> Option<TrunkIndex> {
        self.hints.get(&(flow.transport, flow.peer))?.trunk
    }

    /// Where a request that is too large for `flow` goes instead.
    pub(super) fn larger(&self, settings: &Settings, flow: &Flow) -> Option<Flow> {
        let hint = self.hints.get(&(flow.transport, flow.peer));
        if flow.transport != Transport::Udp || hint.is_none_or(|h| h.large == Large::AsTheyAre) {
            return None;
        }
        Some(Flow {
            transport: Transport::Tcp,
            local: settings.local.on(Transport::Tcp, flow.peer.ip())?,
            peer: flow.peer,
        })
    }
}

impl Neighbours {
    fn new(settings: &Settings) -> Self {
        let phones = settings
            .users
            .iter()
            .filter_map(|user| match user.location {
                Location::At(contact) => Some(contact.addr.ip().to_canonical()),
                Location::Registered => None,
            });
        let networks = settings.trunks.iter().flat_map(|trunk| &trunk.networks);
        Self {
            phones: phones.collect(),
            trunks: BTreeSet::new(),
            networks: networks.copied().collect(),
        }
    }

    /// Trunks may have been found elsewhere.
    fn look_again(&mut self, settings: &Settings, hops: &Hops) {
        let trunks = settings.trunks.iter();
        let addresses = trunks.flat_map(|trunk| hops.addresses(&trunk.destination));
        self.trunks = addresses.map(|address| address.to_canonical()).collect();
    }

    fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.phones.contains(&address)
            || self.trunks.contains(&address)
            || self
                .networks
                .iter()
                .any(|network| network.contains(address))
    }
}

/// The reach at an instant.
struct At<'a>(&'a Reach, Instant);

impl Whereabouts for At<'_> {
    fn addresses(&self, destination: &Destination) -> Vec<IpAddr> {
        self.0.hops.addresses(destination).collect()
    }

    fn user_on(&self, flow: &Flow) -> Option<&str> {
        self.0.registrar.user_on(self.1, flow)
    }

    fn certified(&self, flow: &Flow) -> &[String] {
        self.0.certified.get(flow).map_or(&[], Vec::as_slice)
    }
}

/// Users as the registrar knows them.
pub(super) struct Users<'a>(pub(super) &'a Settings);

impl Directory for Users<'_> {
    fn entry(&self, user: &str) -> Option<Entry<'_>> {
        let UserIndex(at) = user_with(self.0, user)?;
        let user = &self.0.users[at];
        Some(Entry {
            name: &user.name,
            secret: user.secret.as_ref(),
            certificate: user.certificate.as_deref(),
        })
    }
}
