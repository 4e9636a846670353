//! The open sockets of one relay thread, by the numbers its shard knows them by, and the epoll set
//! that says which have something to read.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use duolog_media::{LegKey, PortId};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::ports::{Pair, Ports};
use super::socket::disconnect;

/// Sockets that are looked at in one round.
pub const ROUND: usize = 512;

/// The number the wake-up descriptor is known by; no port reaches it.
const WAKE: u64 = u64::MAX;

/// Open sockets, dense by [`PortId`].
#[derive(Debug)]
pub struct Sockets {
    epoll: Epoll,
    open: Vec<Option<Open>>,
    free: Vec<u32>,
    legs: HashMap<LegKey, [PortId; 2]>,
    ports: Ports,
    ready: Vec<EpollEvent>,
}

#[derive(Debug)]
struct Open {
    socket: UdpSocket,
    connected: bool,
    /// Number of the pair's RTP port.
    pair: u16,
}

/// A leg's new ports.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// The RTP socket.
    pub rtp: PortId,
    /// The RTCP socket.
    pub rtcp: PortId,
    /// Number of the RTP port; RTCP is one above.
    pub port: u16,
    /// The address that peers are told.
    pub told: IpAddr,
}

impl Sockets {
    /// No socket open yet; `wake` is a descriptor that becomes readable to end a wait.
    pub fn new(ports: Ports, wake: impl AsFd) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        Ok(Self {
            epoll,
            open: Vec::new(),
            free: Vec::new(),
            legs: HashMap::new(),
            ports,
            ready: vec![EpollEvent::empty(); ROUND],
        })
    }

    /// Binds a pair for a leg, in the family of `peer`.
    ///
    /// # Errors
    ///
    /// When no pair could be bound, or the leg has one.
    pub fn open(&mut self, leg: LegKey, peer: IpAddr) -> io::Result<Opened> {
        if self.legs.contains_key(&leg) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the leg has ports",
            ));
        }
        let Pair {
            rtp,
            rtcp,
            port,
            told,
        } = self.ports.open(peer)?;
        let watch = |socket: &UdpSocket, id: PortId| {
            let readable = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(id.0));
            self.epoll.add(socket, readable)
        };
        let ids = self.vacant();
        if let Err(error) = watch(&rtp, ids[0]).and_then(|()| watch(&rtcp, ids[1])) {
            self.ports.close(port);
            return Err(error.into());
        }
        for (id, socket) in ids.into_iter().zip([rtp, rtcp]) {
            self.put(id, socket, port);
        }
        self.legs.insert(leg, ids);
        let [rtp, rtcp] = ids;
        Ok(Opened {
            rtp,
            rtcp,
            port,
            told,
        })
    }

    /// Closes a leg's pair.
    pub fn close(&mut self, leg: LegKey) {
        let Some(pair) = self.legs.remove(&leg) else {
            return;
        };
        for id in pair {
            // Dropping the socket takes it out of the epoll set as well (epoll(7)).
            if let Some(open) = self.open[id.0 as usize].take() {
                if id == pair[0] {
                    self.ports.close(open.pair);
                }
                self.free.push(id.0);
            }
        }
    }

    /// Waits until something can be read, at most `timeout_ms`; gives how many sockets are ready.
    pub fn wait(&mut self, timeout_ms: u16) -> io::Result<usize> {
        match self
            .epoll
            .wait(&mut self.ready, EpollTimeout::from(timeout_ms))
        {
            Ok(count) => Ok(count),
            Err(nix::errno::Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the `i`-th ready descriptor is the one that only wakes.
    pub fn is_wake(&self, i: usize) -> bool {
        self.ready[i].data() == WAKE
    }

    /// The `i`-th ready socket; `None` for the wake-up and for one closed meanwhile.
    pub fn ready(&self, i: usize) -> Option<(PortId, &UdpSocket)> {
        let id = u32::try_from(self.ready[i].data()).ok()?;
        let open = self.open.get(id as usize)?.as_ref()?;
        Some((PortId(id), &open.socket))
    }

    /// Sends one datagram. What can not be sent now is lost, as on the network.
    pub fn send(&self, port: PortId, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let open = self.open.get(port.0 as usize).and_then(Option::as_ref);
        let Some(open) = open else { return Ok(()) };
        let send = || match open.connected {
            true => open.socket.send(bytes),
            false => open.socket.send_to(bytes, to),
        };
        let sent = send().or_else(|error| match error.kind() {
            // The refusal is of an earlier datagram and told only once; this one was not tried.
            io::ErrorKind::ConnectionRefused => send(),
            _ => Err(error),
        });
        sent.map(|_| ())
    }

    /// Connects a socket to its peer, or lets it hear anyone again.
    pub fn connect(&mut self, port: PortId, peer: Option<SocketAddr>) -> io::Result<()> {
        let open = self.open.get_mut(port.0 as usize).and_then(Option::as_mut);
        let Some(open) = open else { return Ok(()) };
        match peer {
            Some(peer) => open.socket.connect(peer)?,
            None if open.connected => disconnect(&open.socket)?,
            None => {}
        }
        open.connected = peer.is_some();
        Ok(())
    }

    /// Pairs in use and pairs free.
    pub fn pairs(&self) -> (usize, usize) {
        (self.legs.len(), self.ports.free())
    }

    /// The next two numbers that are free, taken by [`Sockets::put`] in this order.
    fn vacant(&self) -> [PortId; 2] {
        let unused = self.open.len() as u32..;
        let mut ids = self.free.iter().rev().copied().chain(unused);
        [(); 2].map(|()| PortId(ids.next().unwrap_or(u32::MAX)))
    }

    fn put(&mut self, id: PortId, socket: UdpSocket, pair: u16) {
        let open = Some(Open {
            socket,
            connected: false,
            pair,
        });
        match self.open.get_mut(id.0 as usize) {
            Some(slot) => {
                *slot = open;
                self.free.pop();
            }
            None => self.open.push(open),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ports::Address;
    use super::*;
    use nix::sys::eventfd::EventFd;

    #[test]
    fn a_refusal_of_an_earlier_datagram_costs_none_of_the_later_ones() {
        let wake = EventFd::new().expect("an event descriptor");
        let host = IpAddr::from([127, 0, 0, 1]);
        let address = Address {
            bound: host,
            told: host,
        };
        let ports = Ports::new(vec![address], (13410, 13419), 0, 1);
        let mut sockets = Sockets::new(ports, wake.as_fd()).expect("an epoll set");
        let opened = sockets.open(LegKey(1), host).expect("a pair");
        let peer = UdpSocket::bind((host, 0)).expect("loopback");
        let at = peer.local_addr().expect("bound");
        sockets.connect(opened.rtp, Some(at)).expect("connect");
        drop(peer);
        sockets
            .send(opened.rtp, at, b"to nobody")
            .expect("refused only later");
        let peer = UdpSocket::bind(at).expect("the port is free again");
        sockets.send(opened.rtp, at, b"to somebody").expect("sent");
        let mut heard = [0; 64];
        let (length, _) = peer.recv_from(&mut heard).expect("the second one");
        assert_eq!(&heard[..length], b"to somebody");
    }
}
