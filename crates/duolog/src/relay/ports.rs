//! The RTP ports of one relay thread: pairs of an even RTP and an odd RTCP port (RFC 3550 §11)
//! from the thread's own part of the configured range.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::socket::stamp_arrivals;

/// An address that media is received on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// What sockets bind.
    pub bound: IpAddr,
    /// What peers are told.
    pub told: IpAddr,
}

/// Free pairs, used in turn so that a port rests as long as possible before its next call. A number is
/// used by one pair at a time, whatever its family.
#[derive(Debug)]
pub struct Ports {
    addresses: Vec<Address>,
    free: VecDeque<u16>,
}

/// Two bound, non-blocking sockets.
#[derive(Debug)]
pub struct Pair {
    /// Even port.
    pub rtp: UdpSocket,
    /// The port above it.
    pub rtcp: UdpSocket,
    /// Number of the RTP port.
    pub port: u16,
    /// The address that peers are told.
    pub told: IpAddr,
}

impl Ports {
    /// The `part`-th of `parts` equal parts of `low..=high` on `addresses`, of which there is at least
    /// one and of each family one at most; `low` is even.
    pub fn new(
        addresses: Vec<Address>,
        (low, high): (u16, u16),
        part: usize,
        parts: usize,
    ) -> Self {
        let pairs = (low..high).step_by(2);
        let free = pairs
            .enumerate()
            .filter(|(n, _)| n % parts == part)
            .map(|(_, p)| p)
            .collect();
        Self { addresses, free }
    }

    /// The address of `peer`'s family. A peer that only we have no address for is told the one we have: it
    /// may well have both.
    fn address_for(&self, peer: IpAddr) -> io::Result<Address> {
        let peer = peer.to_canonical();
        let mut addresses = self.addresses.iter();
        let same = addresses.find(|address| address.bound.is_ipv4() == peer.is_ipv4());
        let missing = || io::Error::new(io::ErrorKind::AddrNotAvailable, "no media address");
        same.or(self.addresses.first()).copied().ok_or_else(missing)
    }

    /// Binds the next free pair on the address of `peer`'s family. A pair that another program holds is
    /// put back and the next one tried; an error means that none could be bound.
    pub fn open(&mut self, peer: IpAddr) -> io::Result<Pair> {
        let address = self.address_for(peer)?;
        let mut last = io::Error::new(io::ErrorKind::AddrInUse, "every RTP port pair is in use");
        for _ in 0..self.free.len() {
            let Some(port) = self.free.pop_front() else {
                break;
            };
            match bind(address, port) {
                Ok(pair) => return Ok(pair),
                Err(error) => {
                    self.free.push_back(port);
                    let gone = matches!(
                        error.kind(),
                        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
                    );
                    last = error;
                    if !gone {
                        break; // no file descriptors left, no such address: the next fails too
                    }
                }
            }
        }
        Err(last)
    }

    /// Gives a pair back.
    pub fn close(&mut self, port: u16) {
        self.free.push_back(port);
    }

    /// Pairs that are free now.
    pub fn free(&self) -> usize {
        self.free.len()
    }
}

fn bind(address: Address, port: u16) -> io::Result<Pair> {
    let open = |port| {
        let socket = UdpSocket::bind(SocketAddr::new(address.bound, port))?;
        socket.set_nonblocking(true)?;
        stamp_arrivals(&socket)?;
        Ok::<_, io::Error>(socket)
    };
    Ok(Pair {
        rtp: open(port)?,
        rtcp: open(port + 1)?,
        port,
        told: address.told,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const HOST6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn at(bound: IpAddr) -> Address {
        let told = bound;
        Address { bound, told }
    }

    #[test]
    fn parts_share_the_range_without_overlap() {
        let parts: Vec<Ports> = (0..3)
            .map(|part| Ports::new(vec![at(HOST)], (20000, 20019), part, 3))
            .collect();
        let mut all: Vec<u16> = parts.iter().flat_map(|p| p.free.iter().copied()).collect();
        all.sort_unstable();
        assert_eq!(all, (20000..20019).step_by(2).collect::<Vec<u16>>());
    }

    #[test]
    fn a_taken_port_is_passed_over_and_a_spent_range_is_an_error() {
        let mut ports = Ports::new(vec![at(HOST)], (13400, 13403), 0, 1);
        let _other = UdpSocket::bind((HOST, 13401)).expect("the test's own port");
        let pair = ports.open(HOST).expect("one pair is left");
        assert_eq!(pair.port, 13402);
        assert_eq!(pair.rtcp.local_addr().expect("bound").port(), 13403);
        let error = ports.open(HOST).expect_err("the only other pair is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(pair);
        ports.close(13402);
        assert_eq!(ports.open(HOST).expect("given back").port, 13402);
    }

    #[test]
    fn a_peer_gets_ports_of_its_family_and_is_told_what_stands_for_them() {
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().expect("an address");
        let far4: IpAddr = "192.0.2.7".parse().expect("an address");
        let far6: IpAddr = "2001:db8::7".parse().expect("an address");
        let public: IpAddr = "203.0.113.5".parse().expect("an address");
        let nat = Address {
            bound: HOST,
            told: public,
        };
        let both = vec![nat, at(HOST6)];
        for (addresses, peer, bound, told) in [
            (both.clone(), far4, HOST, public),
            (both.clone(), mapped, HOST, public),
            (both.clone(), far6, HOST6, HOST6),
            (vec![at(HOST6), nat], far4, HOST, public),
            // Better than nothing: it may have both.
            (vec![nat], far6, HOST, public),
            (vec![at(HOST6)], far4, HOST6, HOST6),
        ] {
            let mut ports = Ports::new(addresses, (13406, 13407), 0, 1);
            let pair = ports.open(peer).expect("a pair");
            let ip = pair.rtp.local_addr().expect("bound").ip();
            assert_eq!((ip, pair.told), (bound, told), "{peer}");
            assert_eq!(pair.rtcp.local_addr().expect("bound").ip(), bound);
        }
        let mut none = Ports::new(Vec::new(), (13406, 13407), 0, 1);
        assert!(none.open(far4).is_err());
    }
}
