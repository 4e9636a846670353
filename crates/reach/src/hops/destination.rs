//! Where a peer is, as configured or as a URI names it, and one address of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use duolog_sip::Transport;

/// Where a peer is: what RFC 3263 begins with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Its address or name.
    pub host: Host,
    /// Its port; with one, no SRV records are asked for (RFC 3263 §4.2).
    pub port: Option<u16>,
    /// Its transport; with one, no NAPTR records are asked for (RFC 3263 §4.1).
    pub transport: Option<Transport>,
}

/// An address, or a name to be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// Numeric.
    Address(IpAddr),
    /// A domain name, lower case, without a dot at its end.
    Name(String),
}

/// One address of a destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hop {
    /// How it is reached.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    /// The name its certificate must have over TLS: the name that was looked up, not what it
    /// led to (RFC 5922 §4). `None`: the address itself.
    pub name: Option<Arc<str>>,
}

impl From<(Transport, SocketAddr)> for Destination {
    fn from((transport, address): (Transport, SocketAddr)) -> Self {
        Self {
            host: Host::Address(address.ip()),
            port: Some(address.port()),
            transport: Some(transport),
        }
    }
}
