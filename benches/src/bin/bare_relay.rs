//! The floor that duolog is measured against: one thread, one epoll loop over connected sockets, each
//! packet received and sent on by itself, its audio appended to a buffer of 8 kB that goes to a file when
//! full. No SIP, no checks, no time line, no second thread.
//!
//! `bare_relay DIRECTORY [--rest]` reads one peer address a line, callers and phones in turn, and prints
//! for each the port it relays from. With `--rest` it rests half a millisecond when few packets are ready.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const BUFFER: usize = 8 << 10;
const RTP_HEADER: usize = 12;
const ROUND: usize = 512;

/// As in duolog's relay: its rest, and with how many ready sockets it does not rest.
const REST: Duration = Duration::from_micros(500);
const BUSY: usize = 24;

struct Leg {
    socket: UdpSocket,
    file: File,
    buffer: Vec<u8>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().context("bare_relay DIRECTORY [--rest]")?);
    let rest = arguments
        .next()
        .is_some_and(|argument| argument == "--rest");
    let mut legs = Vec::new();
    for (number, line) in io::stdin().lines().enumerate() {
        legs.push(Leg::open(number, line?.trim().parse()?, &directory)?);
    }
    let mut out = io::stdout().lock();
    for leg in &legs {
        writeln!(out, "{}", leg.socket.local_addr()?.port())?;
    }
    out.flush()?;
    relay(&mut legs, rest.then_some(REST))
}

fn relay(legs: &mut [Leg], rest: Option<Duration>) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (number, leg) in legs.iter().enumerate() {
        epoll.add(
            &leg.socket,
            EpollEvent::new(EpollFlags::EPOLLIN, number as u64),
        )?;
    }
    let mut events = vec![EpollEvent::empty(); ROUND];
    let mut datagram = [0; 2048];
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..ready] {
            let number = event.data() as usize;
            let length = match legs[number].socket.recv(&mut datagram) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                // An ICMP refusal: the peer is gone, as at the end of a run.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error.into()),
            };
            // What the kernel does not take now is lost, as on the network.
            let _ = legs[number ^ 1].socket.send(&datagram[..length]);
            legs[number].keep(&datagram[RTP_HEADER.min(length)..length])?;
        }
        if let Some(rest) = rest.filter(|_| (1..BUSY).contains(&ready)) {
            std::thread::sleep(rest);
        }
    }
}

impl Leg {
    fn open(number: usize, peer: SocketAddr, directory: &Path) -> Result<Leg> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        socket.connect(peer)?;
        let file = File::create(directory.join(format!("{number}.raw")))?;
        // Begun at different heights, so that they do not all become full at once.
        let mut buffer = Vec::with_capacity(BUFFER);
        buffer.resize(number * 997 % BUFFER, 0);
        Ok(Leg {
            socket,
            file,
            buffer,
        })
    }

    fn keep(&mut self, audio: &[u8]) -> Result<()> {
        if self.buffer.len() + audio.len() > BUFFER {
            self.file.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        self.buffer.extend_from_slice(audio);
        Ok(())
    }
}
