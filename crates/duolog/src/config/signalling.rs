//! How the node speaks SIP, as configured.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use duolog_sip::Transport;

/// `[sip]`
#[derive(Debug, Clone, PartialEq)]
pub struct Sip {
    /// Sockets to listen on.
    pub listen: Vec<(Transport, SocketAddr)>,
    /// Addresses that peers are told, where they differ from those listened on (behind NAT): at
    /// most one of each family.
    pub advertise: Vec<IpAddr>,
    /// How long the other side may ring.
    pub ring_timeout: Duration,
    /// Session timers.
    pub session: Session,
    /// `[sip.tls]`
    pub tls: Tls,
}

impl Sip {
    /// What peers are told instead of a bound address.
    pub fn told(&self, bound: SocketAddr) -> SocketAddr {
        SocketAddr::new(super::told(&self.advertise, bound.ip()), bound.port())
    }
}

/// Session timers (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// `Session-Expires` asked for, in seconds.
    pub expires_s: u32,
    /// Shortest that is accepted, in seconds.
    pub min_s: u32,
}

/// `[sip.tls]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificate of this node and those between it and a root, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// Roots that certificates of peers we connect to lead to, PEM; the system's where none is named.
    pub roots: Option<PathBuf>,
    /// Roots that certificates of clients lead to, PEM.
    pub client_roots: Option<PathBuf>,
    /// Whether clients show a certificate.
    pub clients: Clients,
}

/// Whether TLS clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// They are not asked.
    Off,
    /// They are asked; one that is shown must be right.
    Optional,
    /// Without a right one there is no connection.
    Required,
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Servers asked; those of the system where there are none.
    pub servers: Vec<SocketAddr>,
    /// How long one question may take.
    pub timeout: Duration,
    /// How long a hop that failed is left alone.
    pub avoid: Duration,
    /// How often a neighbour known by name, and a hop that failed, are probed.
    pub probe: Duration,
}

/// `[numbering]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbering {
    /// Emergency numbers.
    pub emergency: Vec<String>,
    /// Numbers of the voicemail system.
    pub voicemail: Vec<String>,
    /// Where numbers go that are no user's, by how they begin.
    pub routes: Vec<Route>,
}

/// One of `numbering.routes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// How the number begins.
    pub prefix: String,
    /// Name of the trunk; it exists.
    pub trunk: String,
}
