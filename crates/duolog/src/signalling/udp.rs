//! SIP over UDP (RFC 3261 §18): datagrams are read by the batch; keep-alives are answered or passed over here and
//! cost the engine nothing.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_sip::{Flow, Transport, stun};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::share::{Shares, network};
use super::{Heard, Tallies};

/// Longest datagram SIP allows for (RFC 3261 §18.1.1).
const DATAGRAM_BYTES: usize = 65_535;

/// Datagrams taken from the kernel at once.
const BATCH: usize = 32;

/// STUN answers a second to one source: phones behind a NAT ping every 24 s and more (RFC 5626 §4.4.2).
const PONGS_PER_S: u8 = 50;

/// Sources are told apart by this many slots.
const PONG_SLOTS: usize = 1024;

/// Receive buffer of a SIP socket: a second of a thousand calls being set up.
const RECEIVE_BYTES: usize = 4 << 20;

/// Asks for a long receive buffer. The kernel may grant less (net.core.rmem_max) to those without rights; a burst is
/// then retransmitted.
pub fn prepare(socket: &std::net::UdpSocket) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
    socket.set_nonblocking(true)?;
    if setsockopt(socket, RcvBufForce, &RECEIVE_BYTES).is_err() {
        let _ = socket2::SockRef::from(socket).set_recv_buffer_size(RECEIVE_BYTES);
    }
    Ok(())
}

/// Reads one UDP socket for ever.
pub async fn hear(
    socket: Arc<UdpSocket>,
    heard: mpsc::Sender<Heard>,
    shares: Shares,
    tallies: Arc<Tallies>,
) {
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let mut buffer = vec![0; BATCH * DATAGRAM_BYTES];
    let mut pongs = Pongs::new(Instant::now());
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let read = socket.async_io(Interest::READABLE, || {
            receive(&socket, &mut buffer, &mut batch)
        });
        // An error is an ICMP refusal of something sent before, and the transaction's timers tell; or the
        // kernel is out of memory, and must not be asked without a rest.
        if read.await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        for (peer, range) in batch.drain(..) {
            let datagram = &buffer[range];
            let flow = Flow {
                transport: Transport::Udp,
                local,
                peer,
            };
            match kind(datagram) {
                Kind::Nothing => {}
                Kind::Stun => {
                    if let Some(answer) = stun::answer(datagram, peer)
                        && pongs.may(Instant::now(), peer.ip())
                    {
                        // What does not go is asked again.
                        let _ = socket.try_send_to(&answer, peer);
                    }
                }
                Kind::Message => {
                    let Some(share) = shares.take(peer.ip()) else {
                        tallies.crowded.fetch_add(1, Ordering::Relaxed);
                        continue;
                    };
                    let (bytes, share) = (Bytes::copy_from_slice(datagram), Some(share));
                    if heard
                        .send(Heard::Message { flow, bytes, share })
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            }
        }
    }
}

/// What a datagram is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Something that keeps a NAT's binding alive and wants no answer: line ends, zeros, nothing at all.
    Nothing,
    Stun,
    Message,
}

fn kind(datagram: &[u8]) -> Kind {
    let idle = |byte: &u8| matches!(byte, b'\r' | b'\n' | b' ' | 0);
    if datagram.len() <= 16 && datagram.iter().all(idle) {
        Kind::Nothing
    } else if stun::is_stun(datagram) {
        Kind::Stun
    } else {
        Kind::Message
    }
}

/// Bounds the answers to STUN requests.
#[derive(Debug)]
struct Pongs {
    second: Instant,
    given: Box<[u8; PONG_SLOTS]>,
    hasher: RandomState,
}

impl Pongs {
    fn new(now: Instant) -> Self {
        Self {
            second: now,
            given: Box::new([0; PONG_SLOTS]),
            hasher: RandomState::new(),
        }
    }

    fn may(&mut self, now: Instant, source: IpAddr) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let slot = self.hasher.hash_one(network(source)) as usize % PONG_SLOTS;
        let given = &mut self.given[slot];
        let may = *given < PONGS_PER_S;
        *given += u8::from(may);
        may
    }
}

type Received = (SocketAddr, std::ops::Range<usize>);

/// Takes what waits, up to a batch: where each came from and where in the buffer it is.
fn receive(socket: &UdpSocket, buffer: &mut [u8], batch: &mut Vec<Received>) -> io::Result<()> {
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let mut slices: Vec<[IoSliceMut<'_>; 1]> = buffer
        .chunks_exact_mut(DATAGRAM_BYTES)
        .map(|chunk| [IoSliceMut::new(chunk)])
        .collect();
    let received = recvmmsg(
        socket.as_raw_fd(),
        &mut headers,
        slices.iter_mut(),
        MsgFlags::MSG_DONTWAIT,
        None,
    )?;
    batch.clear();
    for (n, message) in received.enumerate() {
        let Some(peer) = message.address.as_ref().and_then(address) else {
            continue;
        };
        let start = n * DATAGRAM_BYTES;
        batch.push((peer, start..start + message.bytes));
    }
    Ok(())
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage
        .as_sockaddr_in()
        .map(|v4| SocketAddrV4::from(*v4).into());
    v4.or_else(|| Some(SocketAddrV6::from(*storage.as_sockaddr_in6()?).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alives_are_told_from_messages() {
        for (datagram, want) in [
            (&b""[..], Kind::Nothing),
            (b"\r\n\r\n", Kind::Nothing),
            (b"\0\0\0\0", Kind::Nothing),
            (b"OPTIONS sip:a SIP/2.0\r\n", Kind::Message),
            (b"\r\n\r\nOPTIONS sip:a SIP/2.0\r\n", Kind::Message),
            (b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl", Kind::Stun),
            (b"\0\x01", Kind::Message),
        ] {
            assert_eq!(kind(datagram), want, "{datagram:?}");
        }
    }

    #[test]
    fn stun_answers_are_bounded_each_second_and_source() {
        let now = Instant::now();
        let mut pongs = Pongs::new(now);
        let noisy = [192, 0, 2, 1].into();
        let count = (0..5_000).filter(|_| pongs.may(now, noisy)).count();
        assert_eq!(count, usize::from(PONGS_PER_S));
        let others = (0..100).filter(|n| pongs.may(now, [198, 51, 100, *n].into()));
        assert!(others.count() > 90, "few of them share a slot with it");
        assert!(pongs.may(now + Duration::from_secs(1), noisy));
    }

    #[test]
    fn a_batch_has_every_datagram_whole_with_its_sender() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        runtime.block_on(async {
            for host in ["127.0.0.1:0", "[::1]:0"] {
                let socket = std::net::UdpSocket::bind(host).expect("a free port");
                prepare(&socket).expect("it can be prepared");
                let local = socket.local_addr().expect("it is bound");
                let socket = Arc::new(UdpSocket::from_std(socket).expect("in a runtime"));
                let (heard_in, mut heard) = mpsc::channel(64);
                let shares = Shares::new(40);
                let reader = hear(Arc::clone(&socket), heard_in, shares, Arc::default());
                let reader = tokio::spawn(reader);
                let peer = UdpSocket::bind(host).await.expect("a free port");
                let from = peer.local_addr().expect("it is bound");
                let long = vec![b'x'; 65_000];
                peer.send_to(&long, local).await.expect("sent");
                peer.send_to(b"\r\n\r\n", local).await.expect("sent");
                for n in 0..39_u8 {
                    peer.send_to(&[b'a', n], local).await.expect("sent");
                }
                for n in 0..40_usize {
                    let Some(Heard::Message { flow, bytes, share }) = heard.recv().await else {
                        panic!("the reader lives");
                    };
                    assert_eq!((flow.peer, flow.local), (from, local));
                    assert!(share.is_some());
                    match n {
                        0 => assert_eq!(bytes, long),
                        _ => assert_eq!(&bytes[..], &[b'a', n as u8 - 1]),
                    }
                }
                reader.abort();
            }
        });
    }
}
