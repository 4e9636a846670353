//! The sockets that SIP is heard on.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use duolog_sip::Transport;
use socket2::{Domain, Protocol, Socket, Type};

use super::udp;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The bound sockets, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Listeners(pub Vec<Listener>);

/// One of them.
#[derive(Debug)]
pub enum Listener {
    /// For datagrams.
    Udp(UdpSocket),
    /// For connections, of TCP or TLS.
    Stream(Transport, TcpListener),
}

impl Listeners {
    /// Binds every address.
    ///
    /// # Errors
    ///
    /// The first address that could not be bound, with the reason.
    pub fn bind(
        addresses: &[(Transport, SocketAddr)],
    ) -> Result<Self, (SocketAddr, std::io::Error)> {
        let bind = |(transport, address): &(Transport, SocketAddr)| {
            let bound = match transport {
                Transport::Udp => bind_udp(*address).map(Listener::Udp),
                Transport::Tcp | Transport::Tls => {
                    bind_stream(*address).map(|listener| Listener::Stream(*transport, listener))
                }
            };
            bound.map_err(|error| (*address, error))
        };
        addresses
            .iter()
            .map(bind)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What was bound, with the ports the system chose where 0 was asked.
    pub fn addresses(&self) -> Vec<(Transport, SocketAddr)> {
        let address = |listener: &Listener| match listener {
            Listener::Udp(socket) => Some((Transport::Udp, socket.local_addr().ok()?)),
            Listener::Stream(transport, socket) => Some((*transport, socket.local_addr().ok()?)),
        };
        self.0.iter().filter_map(address).collect()
    }
}

fn bind_udp(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    bind(&socket, address)?;
    let socket = UdpSocket::from(socket);
    udp::prepare(&socket)?;
    Ok(socket)
}

fn bind_stream(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    bind(&socket, address)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// `[::]` is IPv6 alone, so that `0.0.0.0` may stand beside it.
fn bind(socket: &Socket, address: SocketAddr) -> std::io::Result<()> {
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_and_all_transports_stand_beside_each_other() {
        let any = |transport, host: &str| (transport, SocketAddr::new(host.parse().unwrap(), 0));
        let wanted = [
            any(Transport::Udp, "0.0.0.0"),
            any(Transport::Udp, "::"),
            any(Transport::Tcp, "127.0.0.1"),
            any(Transport::Tls, "::1"),
        ];
        let listeners = Listeners::bind(&wanted).expect("free ports");
        let bound = listeners.addresses();
        assert_eq!(bound.len(), wanted.len());
        for ((transport, address), (want, host)) in bound.iter().zip(wanted) {
            assert_eq!((*transport, address.ip()), (want, host.ip()));
            assert_ne!(address.port(), 0);
        }
        let port = bound[0].1.port();
        let both = [
            (Transport::Udp, SocketAddr::new("::".parse().unwrap(), port)),
            (Transport::Udp, bound[0].1),
        ];
        let (refused, _) = Listeners::bind(&both).expect_err("it is taken");
        assert_eq!(refused, bound[0].1);
    }
}
