//! Batched receive: one `recvmmsg` takes what waits on a socket, each datagram with the time the
//! kernel received it.
//!
//! One of the files of the program with unsafe code (`tests/tidy.rs` lists them). It owns
//! every buffer that the kernel writes into, hands out plain slices and addresses, and keeps no pointer between two calls.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Datagrams taken at once from one socket. A party sends one every 10 to 60 ms, so more than a
/// few waiting means a stall or a flood; the rest is taken in the next round.
pub const BATCH: usize = 8;

/// Longest datagram that is read whole: 60 ms of L16 stereo fits nowhere near it; anything longer
/// is cut and then refused by the packet parser.
const DATAGRAM_BYTES: usize = 2048;

/// How long a packet can have waited for a thread that stood still: a socket's receive buffer holds
/// less than this much of a party's speech.
const LONGEST_STANDSTILL: Duration = Duration::from_secs(20);

/// Room for one time stamp control message.
const CONTROL_BYTES: usize = 64;

/// How much is taken from a socket at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// One datagram, without asking for a second.
    One,
    /// Up to [`BATCH`].
    Batch,
}

/// Buffers for one batch, reused for every socket of a relay thread.
pub struct Batch {
    bytes: Box<[[u8; DATAGRAM_BYTES]; BATCH]>,
    names: Box<[libc::sockaddr_storage; BATCH]>,
    controls: Box<[Control; BATCH]>,
    lengths: [usize; BATCH],
    control_lengths: [usize; BATCH],
}

/// Control messages need the alignment of their header.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// The two clocks read at one moment, to turn kernel stamps (UTC) into [`Instant`]s.
#[derive(Debug, Clone, Copy)]
pub struct ClockPair {
    instant: Instant,
    since_epoch: Duration,
}

impl ClockPair {
    /// Reads both clocks.
    pub fn read() -> Self {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            instant: Instant::now(),
            since_epoch,
        }
    }

    /// The monotonic half.
    pub fn instant(&self) -> Instant {
        self.instant
    }

    /// When a packet stamped `stamp` arrived. A stamp that is further back than a packet can wait
    /// in the kernel (the wall clock was set meanwhile) counts as now.
    fn arrival(&self, stamp: Duration) -> Instant {
        let age = self.since_epoch.checked_sub(stamp);
        let age = age.filter(|age| *age < LONGEST_STANDSTILL);
        age.and_then(|age| self.instant.checked_sub(age))
            .unwrap_or(self.instant)
    }
}

impl Default for Batch {
    fn default() -> Self {
        // SAFETY: `sockaddr_storage` is plain old data for which all zeroes is a valid value.
        let name: libc::sockaddr_storage = unsafe { mem::zeroed() };
        Self {
            bytes: Box::new([[0; DATAGRAM_BYTES]; BATCH]),
            names: Box::new([name; BATCH]),
            controls: Box::new([Control([0; CONTROL_BYTES]); BATCH]),
            lengths: [0; BATCH],
            control_lengths: [0; BATCH],
        }
    }
}

impl Batch {
    /// Takes up to [`BATCH`] waiting datagrams without blocking and says how many there were; 0
    /// when none waits. A pending socket error (an ICMP refusal) is returned once and cleared by
    /// the kernel.
    pub fn receive(&mut self, socket: &impl AsRawFd, take: Take) -> io::Result<usize> {
        let most = match take {
            Take::One => 1,
            Take::Batch => BATCH,
        };
        // SAFETY: `iovec` and `mmsghdr` are plain old data for which all zeroes is valid.
        let mut parts: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        for i in 0..most {
            parts[i].iov_base = self.bytes[i].as_mut_ptr().cast();
            parts[i].iov_len = DATAGRAM_BYTES;
            let header = &mut messages[i].msg_hdr;
            header.msg_iov = &mut parts[i];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_control = self.controls[i].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES;
        }
        // SAFETY: every pointer in `messages` leads to memory owned by `self` or by `parts`, of
        // the length given beside it, alive and not otherwise borrowed until the call returns;
        // a null time-out is allowed.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                most as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
                _ => Err(error),
            };
        }
        let count = received as usize;
        for (i, message) in messages.iter().enumerate().take(count) {
            self.lengths[i] = (message.msg_len as usize).min(DATAGRAM_BYTES);
            self.control_lengths[i] = message.msg_hdr.msg_controllen.min(CONTROL_BYTES);
        }
        Ok(count)
    }

    /// The `i`-th datagram of the last batch: sender, arrival and bytes. `None` where the sender's
    /// address family is not IP.
    pub fn datagram(
        &mut self,
        i: usize,
        clocks: ClockPair,
    ) -> Option<(SocketAddr, Instant, &mut [u8])> {
        let from = address(&self.names[i])?;
        let stamp = self.stamp(i);
        let arrived = stamp.map_or(clocks.instant, |s| clocks.arrival(s));
        Some((from, arrived, &mut self.bytes[i][..self.lengths[i]]))
    }

    /// Walks the control messages by hand: header (length, level, type), then data, padded to the
    /// size of a machine word (cmsg(3)).
    fn stamp(&self, i: usize) -> Option<Duration> {
        const HEADER: usize = mem::size_of::<libc::cmsghdr>();
        const WORD: usize = mem::size_of::<usize>();
        let mut rest = &self.controls[i].0[..self.control_lengths[i]];
        while rest.len() >= HEADER {
            let length = usize::from_ne_bytes(rest[..WORD].try_into().ok()?);
            let level = i32::from_ne_bytes(rest[WORD..WORD + 4].try_into().ok()?);
            let kind = i32::from_ne_bytes(rest[WORD + 4..WORD + 8].try_into().ok()?);
            let data = rest.get(HEADER..length)?;
            if level == libc::SOL_SOCKET && kind == libc::SCM_TIMESTAMPNS && data.len() >= 16 {
                let seconds = i64::from_ne_bytes(data[..8].try_into().ok()?);
                let nanos = i64::from_ne_bytes(data[8..16].try_into().ok()?);
                return Some(Duration::new(
                    seconds.try_into().ok()?,
                    nanos.try_into().ok()?,
                ));
            }
            rest = rest.get(length.next_multiple_of(WORD)..)?;
        }
        None
    }
}

/// Asks the kernel to stamp every datagram received on `socket` (socket(7), `SO_TIMESTAMPNS`).
pub fn stamp_arrivals(socket: &impl AsRawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is a live `c_int` of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets a connected datagram socket hear anyone again (connect(2), `AF_UNSPEC`).
pub fn disconnect(socket: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: `sockaddr` is plain old data for which all zeroes is a valid value.
    let mut nobody: libc::sockaddr = unsafe { mem::zeroed() };
    nobody.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    // SAFETY: the address is alive and of the length given.
    let result = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            &raw const nobody,
            mem::size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a `sockaddr_in`, which is smaller
            // than the storage and has no stricter alignment.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = IpAddr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip, u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, with `sockaddr_in6`.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            Some(SocketAddr::new(
                IpAddr::from(v6.sin6_addr.s6_addr),
                u16::from_be(v6.sin6_port),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn wait_readable(socket: &UdpSocket) {
        socket
            .peek_from(&mut [0; 1])
            .expect("the datagram was sent on loopback");
    }

    #[test]
    fn takes_every_waiting_datagram_with_sender_and_arrival() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = UdpSocket::bind(host).expect("loopback");
            stamp_arrivals(&receiver).expect("Linux stamps datagrams");
            let sender = UdpSocket::bind(host).expect("loopback");
            let before = Instant::now();
            for n in 0..3u8 {
                let to = receiver.local_addr().expect("bound");
                sender
                    .send_to(&vec![n; 172 + usize::from(n)], to)
                    .expect("send");
            }
            wait_readable(&receiver);
            let mut batch = Batch::default();
            let count = batch.receive(&receiver, Take::Batch).expect("receive");
            let clocks = ClockPair::read();
            assert_eq!(count, 3);
            for i in 0..count {
                let (from, arrived, bytes) = batch.datagram(i, clocks).expect("an IP sender");
                assert_eq!(from, sender.local_addr().expect("bound"));
                assert_eq!(bytes, vec![i as u8; 172 + i]);
                // The two clocks are read one after the other, hence the millisecond.
                let slack = Duration::from_millis(1);
                assert!(arrived + slack >= before && arrived <= clocks.instant() + slack);
            }
            assert_eq!(batch.receive(&receiver, Take::Batch).expect("empty"), 0);
        }
    }

    #[test]
    fn a_long_datagram_is_cut_not_overrun() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let to = receiver.local_addr().expect("bound");
        sender.send_to(&[7; 9000], to).expect("send");
        wait_readable(&receiver);
        let mut batch = Batch::default();
        assert_eq!(batch.receive(&receiver, Take::Batch).expect("receive"), 1);
        let (_, _, bytes) = batch.datagram(0, ClockPair::read()).expect("sender");
        assert_eq!(bytes.len(), DATAGRAM_BYTES);
    }

    #[test]
    fn a_disconnected_socket_hears_anyone() {
        let open = || UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let (free, peer, other) = (open(), open(), open());
        // A port that the kernel chose would be given up with the peer (udp(7)); a relay's never is.
        let to = free.local_addr().expect("bound");
        drop(free);
        let receiver = UdpSocket::bind(to).expect("the port is free again");
        receiver
            .connect(peer.local_addr().expect("bound"))
            .expect("connect");
        other.send_to(b"unheard", to).expect("send");
        disconnect(&receiver).expect("disconnect");
        other.send_to(b"heard", to).expect("send");
        wait_readable(&receiver);
        let mut batch = Batch::default();
        assert_eq!(batch.receive(&receiver, Take::Batch).expect("receive"), 1);
        assert_eq!(
            batch.datagram(0, ClockPair::read()).expect("sender").2,
            b"heard"
        );
    }

    #[test]
    fn a_stamp_from_another_time_counts_as_now() {
        let clocks = ClockPair::read();
        let future = clocks.since_epoch + Duration::from_secs(60);
        let past = clocks.since_epoch - Duration::from_secs(60);
        assert_eq!(clocks.arrival(future), clocks.instant);
        assert_eq!(clocks.arrival(past), clocks.instant);
        // What waited in the kernel while the thread stood still keeps its time.
        for age in [Duration::from_millis(3), Duration::from_secs(5)] {
            let stamp = clocks.since_epoch - age;
            assert_eq!(clocks.arrival(stamp), clocks.instant - age);
        }
    }
}
