//! The RTP ports of one relay thread: pairs of an even RTP and an odd RTCP port (RFC 3550 §11)
//! from the thread's own part of the configured range.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::socket::stamp_arrivals;

/// Free pairs, used in turn so that a port rests as long as possible before its next call.
#[derive(Debug)]
pub struct Ports {
    address: IpAddr,
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
}

impl Ports {
    /// The `part`-th of `parts` equal parts of `low..=high` on `address`; `low` is even.
    pub fn new(address: IpAddr, (low, high): (u16, u16), part: usize, parts: usize) -> Self {
        let pairs = (low..high).step_by(2);
        let free = pairs
            .enumerate()
            .filter(|(n, _)| n % parts == part)
            .map(|(_, p)| p)
            .collect();
        Self { address, free }
    }

    /// Binds the next free pair. A pair that another program holds is put back and the next one
    /// tried; an error means that none could be bound.
    pub fn open(&mut self) -> io::Result<Pair> {
        let mut last = io::Error::new(io::ErrorKind::AddrInUse, "every RTP port pair is in use");
        for _ in 0..self.free.len() {
            let Some(port) = self.free.pop_front() else {
                break;
            };
            match self.bind(port) {
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

    fn bind(&self, port: u16) -> io::Result<Pair> {
        let open = |port| {
            let socket = UdpSocket::bind(SocketAddr::new(self.address, port))?;
            socket.set_nonblocking(true)?;
            stamp_arrivals(&socket)?;
            Ok::<_, io::Error>(socket)
        };
        Ok(Pair {
            rtp: open(port)?,
            rtcp: open(port + 1)?,
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_the_range_without_overlap() {
        let host = IpAddr::from([127, 0, 0, 1]);
        let parts: Vec<Ports> = (0..3)
            .map(|part| Ports::new(host, (20000, 20019), part, 3))
            .collect();
        let mut all: Vec<u16> = parts.iter().flat_map(|p| p.free.iter().copied()).collect();
        all.sort_unstable();
        assert_eq!(all, (20000..20019).step_by(2).collect::<Vec<u16>>());
    }

    #[test]
    fn a_taken_port_is_passed_over_and_a_spent_range_is_an_error() {
        let host = IpAddr::from([127, 0, 0, 1]);
        let mut ports = Ports::new(host, (13400, 13403), 0, 1);
        let _other = UdpSocket::bind((host, 13401)).expect("the test's own port");
        let pair = ports.open().expect("one pair is left");
        assert_eq!(pair.port, 13402);
        assert_eq!(pair.rtcp.local_addr().expect("bound").port(), 13403);
        let error = ports.open().expect_err("the only other pair is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(pair);
        ports.close(13402);
        assert_eq!(ports.open().expect("given back").port, 13402);
    }
}
