//! The procedure of RFC 3263 §4.1 and §4.2 over what the cache knows. It is gone through from the
//! start whenever something was answered, until nothing is missing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use duolog_sip::Transport;

use super::cache::{Cache, Look};
use super::locating::{Locating, Patience};
use super::order::{self, Dice};
use super::{Destination, Family, Hop, HopSettings, Host, Question, Records, Srv};

/// Hosts looked up for one destination: as many as a caller could ever wait for.
const HOSTS: usize = 16;

/// Hops of one destination.
const HOPS: usize = 32;

/// Longest domain name (RFC 1035 §2.3.4).
const NAME: usize = 253;

/// What one pass has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Hops, best first.
    pub(super) hops: Vec<Hop>,
    /// What is not known, or no longer.
    pub(super) missing: Vec<Question>,
    /// Whether something better than the first hop may be among what is missing.
    pub(super) best_missing: Missing,
    /// Until when all of it is good; `None`: for ever.
    pub(super) until: Option<Instant>,
}

/// Whether the best hop is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Missing {
    /// Yes, or there is none.
    #[default]
    No,
    /// Not yet.
    Yes,
}

/// What became of an SRV look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    /// There are records, or may be.
    There,
    /// There are none.
    Absent,
}

/// What is known of a question.
enum Asked<'a> {
    Records(&'a Records),
    Nothing,
    NotYet,
}

struct Search<'a> {
    settings: &'a HopSettings,
    cache: &'a Cache,
    since: Instant,
    patience: Patience,
    dice: Dice,
    name: Option<Arc<str>>,
    hosts: usize,
    found: Found,
}

/// One pass.
pub(super) fn search(
    settings: &HopSettings,
    cache: &Cache,
    locating: &Locating,
    patience: Patience,
) -> Found {
    let mut search = Search {
        settings,
        cache,
        since: locating.since,
        patience,
        dice: Dice::new(locating.salt),
        name: None,
        hosts: 0,
        found: Found::default(),
    };
    search.destination(&locating.destination);
    search.found
}

impl<'a> Search<'a> {
    fn destination(&mut self, destination: &Destination) {
        let Destination {
            host,
            port,
            transport,
        } = destination;
        match host {
            Host::Address(address) => self.numeric(*address, *port, *transport),
            Host::Name(name) => match name.parse() {
                Ok(address) => self.numeric(address, *port, *transport),
                Err(_) => self.named(name, *port, *transport),
            },
        }
    }

    /// An address needs no look-up; UDP unless something else is said (RFC 3263 §4.1).
    fn numeric(&mut self, address: IpAddr, port: Option<u16>, transport: Option<Transport>) {
        let family = Family::of(address);
        let own = &self.settings.transports;
        let mut ours = own.iter().filter(|(_, f)| *f == family).map(|(t, _)| *t);
        let transport = transport.or(match ours.clone().any(|t| t == Transport::Udp) {
            true => Some(Transport::Udp),
            false => ours.next(),
        });
        if let Some(transport) = transport {
            self.hop(transport, address, port.unwrap_or(default_port(transport)));
        }
    }

    fn named(&mut self, name: &str, port: Option<u16>, transport: Option<Transport>) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if !is_domain(&name) {
            return;
        }
        self.name = Some(name.as_str().into());
        match (transport.or(port.and(self.usual_transport())), port) {
            (Some(transport), Some(port)) => self.host(&name, transport, port),
            (Some(transport), None) => {
                if self.is_ours(transport)
                    && self.service(&srv_name(transport, &name), transport) == Service::Absent
                {
                    self.host(&name, transport, default_port(transport));
                }
            }
            (None, _) => self.select(&name),
        }
    }

    /// Neither transport nor port is said: NAPTR, else the SRV records of every transport we have, else
    /// the host itself (RFC 3263 §4.1).
    fn select(&mut self, name: &str) {
        match self.ask(Question::Naptr(name.to_owned())) {
            Asked::NotYet => return,
            Asked::Records(Records::Naptr(records, _)) => {
                let settings = self.settings;
                let services = order::services(records, |transport| settings.has(transport));
                if self.services(&services) == Service::There {
                    return;
                }
            }
            Asked::Records(_) | Asked::Nothing => {}
        }
        let mut any = Service::Absent;
        for transport in self.settings.preferred() {
            if self.service(&srv_name(transport, name), transport) == Service::There {
                any = Service::There;
            }
        }
        if any == Service::Absent
            && let Some(transport) = self.usual_transport()
        {
            self.host(name, transport, default_port(transport));
        }
    }

    /// What NAPTR records led to. Once an order has led to SRV records no other is looked at
    /// (RFC 3403 §4.1): hops that do not answer are no way from TLS to UDP.
    fn services(&mut self, services: &[order::Service<'_>]) -> Service {
        let mut any = Service::Absent;
        for group in services.chunk_by(|a, b| a.order == b.order) {
            for service in group {
                if self.service(service.name, service.transport) == Service::There {
                    any = Service::There;
                }
            }
            if any == Service::There {
                break;
            }
        }
        any
    }

    /// The hosts of a service (RFC 3263 §4.2, RFC 2782).
    fn service(&mut self, name: &str, transport: Transport) -> Service {
        let name = name.to_ascii_lowercase();
        if !is_domain(&name) {
            return Service::Absent;
        }
        let records = match self.ask(Question::Srv(name)) {
            Asked::Records(Records::Srv(records, _)) => records,
            Asked::Records(_) | Asked::Nothing => return Service::Absent,
            Asked::NotYet => return Service::There,
        };
        for Srv { port, target, .. } in order::targets(records, &mut self.dice) {
            let target = target.trim_end_matches('.');
            match target.parse() {
                // A target of "." says that there is no such service; port 0 is none.
                _ if target.is_empty() || *port == 0 => {}
                // Not allowed, and seen.
                Ok(address) => self.hop(transport, address, *port),
                Err(_) => self.host(target, transport, *port),
            }
        }
        Service::There
    }

    /// The addresses of a host (RFC 3263 §4.2).
    fn host(&mut self, name: &str, transport: Transport, port: u16) {
        let name = name.to_ascii_lowercase();
        if !self.is_ours(transport) || !is_domain(&name) || self.hosts >= HOSTS {
            return;
        }
        self.hosts += 1;
        let family = self.settings.only_family();
        let asked = self.ask(Question::Addresses { name, family });
        let Asked::Records(Records::Addresses(addresses, _)) = asked else {
            return;
        };
        let own = self.settings.transports.iter();
        for (_, family) in own.filter(|(t, _)| *t == transport) {
            let of_family = addresses.iter().filter(|a| Family::of(**a) == *family);
            of_family.for_each(|address| self.hop(transport, *address, port));
        }
    }

    fn hop(&mut self, transport: Transport, address: IpAddr, port: u16) {
        let address = SocketAddr::new(address.to_canonical(), port);
        let known = |hop: &Hop| (hop.transport, hop.address) == (transport, address);
        let family = Family::of(address.ip());
        let usable = self.settings.transports.contains(&(transport, family));
        let hops = &mut self.found.hops;
        if usable && is_unicast(address.ip()) && hops.len() < HOPS && !hops.iter().any(known) {
            hops.push(Hop {
                transport,
                address,
                name: self.name.clone(),
            });
        }
    }

    fn ask(&mut self, question: Question) -> Asked<'a> {
        let cache = self.cache;
        let old = match cache.look(&question, self.since) {
            Look::Fresh(records, until) => {
                let first = self.found.until.map_or(until, |first| first.min(until));
                self.found.until = Some(first);
                return records.map_or(Asked::Nothing, Asked::Records);
            }
            Look::Old(records) => records,
        };
        self.found.missing.push(question);
        match (self.patience, old) {
            (Patience::Best | Patience::Over, Some(records)) => Asked::Records(records),
            (Patience::Over, None) => Asked::Nothing,
            (Patience::All | Patience::Best, _) => {
                if self.found.hops.is_empty() {
                    self.found.best_missing = Missing::Yes;
                }
                Asked::NotYet
            }
        }
    }

    fn is_ours(&self, transport: Transport) -> bool {
        self.settings.has(transport)
    }

    /// UDP (RFC 3263 §4.1), or the first we have.
    fn usual_transport(&self) -> Option<Transport> {
        match self.is_ours(Transport::Udp) {
            true => Some(Transport::Udp),
            false => self.settings.preferred().next(),
        }
    }
}

impl HopSettings {
    fn has(&self, transport: Transport) -> bool {
        self.transports.iter().any(|(own, _)| *own == transport)
    }

    /// Each transport once, in the order of the list.
    fn preferred(&self) -> impl Iterator<Item = Transport> + use<'_> {
        let own = self.transports.iter().map(|(transport, _)| *transport);
        own.enumerate().filter_map(|(at, transport)| {
            let before = self.transports.iter().take(at);
            let is_new = !before.clone().any(|(other, _)| *other == transport);
            is_new.then_some(transport)
        })
    }

    /// The family to ask for, when the other is of no use.
    fn only_family(&self) -> Option<Family> {
        let (_, first) = self.transports.first()?;
        let same = self.transports.iter().all(|(_, family)| family == first);
        same.then_some(*first)
    }
}

/// RFC 3261 §19.1.2, §26.2.2.
fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
    }
}

fn srv_name(transport: Transport, name: &str) -> String {
    let service = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    };
    format!("{service}.{name}")
}

/// Whether a name can be asked for at all: labels of 1 to 63 letters, digits, hyphens and underscores.
fn is_domain(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_letter);
    name.len() <= NAME && name.split('.').all(is_label)
}

/// Whether one node can have this address; the DNS may say anything.
fn is_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast || address.is_unspecified() || address.is_multicast())
}
