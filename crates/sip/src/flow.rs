//! Where a message came from or goes to.

use std::net::SocketAddr;

/// The transport protocol of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams: transactions retransmit.
    Udp,
    /// A stream: transactions do not retransmit.
    Tcp,
    /// A stream inside TLS (RFC 3261 §26.2).
    Tls,
}

impl Transport {
    /// The name in a Via.
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// The transport of that name in a Via or a URI; names compare without case.
    pub fn named(name: &str) -> Option<Transport> {
        [Transport::Udp, Transport::Tcp, Transport::Tls]
            .into_iter()
            .find(|transport| transport.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether the transport delivers or reports failure (RFC 3261 §17).
    pub const fn is_reliable(self) -> bool {
        matches!(self, Transport::Tcp | Transport::Tls)
    }
}

/// One path of messages: transport and both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// The transport.
    pub transport: Transport,
    /// Our socket's address.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
}
