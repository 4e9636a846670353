//! The generator: every party's packet every 20 ms, all parties spread evenly over the 20 ms, from a
//! handful of sockets; and the receiver that counts what comes back.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use duolog_rtp::packet::{self, Marker, Outgoing};
use duolog_rtp::{PayloadType, RtpTimestamp, SeqNo, Ssrc};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};

use super::payload::{self, Payload};
use super::tally::{Received, Sent, Tally};
use super::{LOOPBACK, other};

/// Socket pairs of each side.
const PAIRS: usize = 4;

/// Where their ports are looked for.
const PORTS: std::ops::Range<u16> = 18_000..20_000;

const PACKET: Duration = Duration::from_millis(20);

/// The receiver looks this often; the kernel stamps what comes meanwhile.
const SWEEP: Duration = Duration::from_millis(1);

/// Below this the sender waits without sleeping.
const SPIN: Duration = Duration::from_micros(8);

const DATAGRAM: usize = packet::FIXED_HEADER_LEN + payload::BYTES;

/// The sockets of both sides.
pub struct Sockets {
    sides: [Vec<Pair>; 2],
}

struct Pair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    address: SocketAddr,
}

impl Sockets {
    /// Binds them.
    ///
    /// # Errors
    /// When no ports are free or the kernel refuses an option.
    pub fn bind() -> Result<Sockets> {
        let mut ports = PORTS.step_by(2);
        let mut side = || {
            (0..PAIRS)
                .map(|_| Pair::bind(&mut ports))
                .collect::<Result<Vec<_>>>()
        };
        Ok(Sockets {
            sides: [side()?, side()?],
        })
    }

    /// Where a party hears RTP; RTCP is one above.
    #[must_use]
    pub fn address(&self, party: usize) -> SocketAddr {
        self.pair(party).address
    }

    fn pair(&self, party: usize) -> &Pair {
        &self.sides[party % 2][party / 2 % PAIRS]
    }
}

impl Pair {
    fn bind(ports: &mut impl Iterator<Item = u16>) -> Result<Pair> {
        for port in ports {
            let open = |port| {
                let socket = UdpSocket::bind((LOOPBACK, port))?;
                socket.set_nonblocking(true)?;
                Ok::<_, io::Error>(socket)
            };
            let (Ok(rtp), Ok(rtcp)) = (open(port), open(port + 1)) else {
                continue;
            };
            setsockopt(&rtp, sockopt::RcvBuf, &(4 << 20)).context("a receive buffer")?;
            setsockopt(&rtp, sockopt::ReceiveTimestampns, &true).context("time stamps")?;
            return Ok(Pair {
                address: rtp.local_addr()?,
                rtp,
                rtcp,
            });
        }
        bail!("no free port pairs in {PORTS:?}");
    }
}

/// Traffic that flows.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sender: JoinHandle<Sent>,
    receiver: JoinHandle<Result<Received>>,
}

impl Traffic {
    /// Starts it: party n sends to `legs[n]`. Delays are counted behind `warm_up`.
    ///
    /// # Errors
    /// When a thread can not be started.
    pub fn start(
        sockets: Arc<Sockets>,
        legs: Vec<SocketAddr>,
        warm_up: Duration,
    ) -> Result<Traffic> {
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let warm_up = (warm_up.as_millis() / PACKET.as_millis()) as u32;
        let receiver = Receiver {
            sockets: Arc::clone(&sockets),
            legs: legs.clone(),
            stop: Arc::clone(&stop),
            warm_up,
            next: vec![0; legs.len()],
            received: Received {
                packets: vec![0; legs.len()],
                ..Received::default()
            },
        };
        let sender = Sender {
            sockets,
            speakers: legs
                .iter()
                .enumerate()
                .map(|(n, leg)| Speaker::new(n as u32, *leg))
                .collect(),
            stop: Arc::clone(&stop),
            sent: Arc::clone(&sent),
            warm_up,
        };
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        Ok(Traffic {
            stop,
            sent,
            receiver: thread("receiver").spawn(|| receiver.run())?,
            sender: thread("sender").spawn(|| sender.run())?,
        })
    }

    /// Packets sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it, and waits for what is on its way.
    ///
    /// # Errors
    /// When the receiver's sockets failed, or a thread broke.
    pub fn stop(self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let gone = |_| anyhow::anyhow!("a thread of the generator broke");
        let sent = self.sender.join().map_err(gone)?;
        let received = self.receiver.join().map_err(gone)??;
        Ok(Tally { sent, received })
    }
}

struct Sender {
    sockets: Arc<Sockets>,
    speakers: Vec<Speaker>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    warm_up: u32,
}

struct Speaker {
    party: u32,
    leg: SocketAddr,
    datagram: [u8; DATAGRAM],
}

impl Sender {
    fn run(mut self) -> Sent {
        // The default slack of 50 µs would bunch packets that are 20 µs apart. Without the right to
        // change it they are bunched, and the lateness says so.
        let _ = nix::sys::prctl::set_timerslack(1_000);
        let mut sent = Sent {
            packets: vec![0; self.speakers.len()],
            ..Sent::default()
        };
        let start = Instant::now();
        let parties = self.speakers.len() as u32;
        for index in 0_u32.. {
            for (n, speaker) in self.speakers.iter_mut().enumerate() {
                let due = start + PACKET * index + PACKET * n as u32 / parties;
                let late = wait_until(due);
                if index >= self.warm_up {
                    sent.lateness.add(late);
                }
                let leg = speaker.leg;
                let datagram = speaker.next(index);
                let socket = &self.sockets.pair(n).rtp;
                // Counted as sent even where the kernel refuses: then it is a loss.
                let _ = socket.send_to(datagram, leg);
                sent.packets[n] += 1;
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
            // Ends between two rounds: every party has sent the same.
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        sent
    }
}

/// Waits, and gives by how much it was too late.
fn wait_until(due: Instant) -> Duration {
    loop {
        let now = Instant::now();
        match due.checked_duration_since(now) {
            Some(left) if left > SPIN => std::thread::sleep(left - SPIN),
            Some(left) if !left.is_zero() => std::hint::spin_loop(),
            _ => return now - due,
        }
    }
}

impl Speaker {
    fn new(party: u32, leg: SocketAddr) -> Speaker {
        let mut datagram = [0; DATAGRAM];
        let first = Outgoing {
            ssrc: Ssrc(0xb000_0000 + party),
            seq: SeqNo(0),
            timestamp: RtpTimestamp(0),
            payload_type: PayloadType(0),
            marker: false,
            payload: &[0; payload::BYTES],
        };
        first
            .write(&mut datagram)
            .expect("the buffer fits a packet");
        Speaker {
            party,
            leg,
            datagram,
        }
    }

    fn next(&mut self, index: u32) -> &[u8] {
        let seq = SeqNo((index + self.party) as u16);
        let timestamp = RtpTimestamp(index.wrapping_mul(payload::BYTES as u32));
        let ssrc = Ssrc(0xb000_0000 + self.party);
        packet::rewrite(&mut self.datagram, ssrc, seq, timestamp, None, Marker::Keep);
        let payload = self
            .datagram
            .last_chunk_mut()
            .expect("longer than a payload");
        Payload {
            party: self.party,
            index,
            sent_ns: now_ns(),
        }
        .write(payload);
        &self.datagram
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

struct Receiver {
    sockets: Arc<Sockets>,
    legs: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    warm_up: u32,
    /// The number each party's next packet has.
    next: Vec<u32>,
    received: Received,
}

impl Receiver {
    fn run(mut self) -> Result<Received> {
        let mut silent = Duration::ZERO;
        // What is on its way when the sender ends has half a second to arrive.
        while silent < Duration::from_millis(500) {
            let came = self.sweep()?;
            let stopped = self.stop.load(Ordering::Relaxed);
            silent = if came == 0 && stopped {
                silent + SWEEP
            } else {
                Duration::ZERO
            };
            std::thread::sleep(SWEEP);
        }
        Ok(self.received)
    }

    /// Takes everything that waits; gives how much that was.
    fn sweep(&mut self) -> Result<u64> {
        let sockets = Arc::clone(&self.sockets);
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let (mut bytes, mut came) = ([0; 512], 0);
        for pair in sockets.sides.iter().flatten() {
            while pair.rtcp.recv(&mut bytes).is_ok() {}
            loop {
                let got = receive(&pair.rtp, &mut bytes, &mut control);
                match got {
                    Ok((length, from, stamp_ns)) => {
                        came += 1;
                        self.take(pair.address, from, &bytes[..length], stamp_ns);
                    }
                    Err(Errno::EAGAIN) => break,
                    // An ICMP refusal: the leg is closed already.
                    Err(Errno::ECONNREFUSED | Errno::EINTR) => {}
                    Err(error) => return Err(error).context("the generator's socket"),
                }
            }
        }
        Ok(came)
    }

    fn take(&mut self, to: SocketAddr, from: SocketAddr, datagram: &[u8], stamp_ns: u64) {
        let payload = datagram.last_chunk().filter(|_| datagram.len() == DATAGRAM);
        let payload = payload.and_then(Payload::read);
        let known = payload.filter(|p| (p.party as usize) < self.legs.len());
        let Some(Payload {
            party,
            index,
            sent_ns,
        }) = known
        else {
            self.received.wrong += 1;
            return;
        };
        let (party, hearer) = (party as usize, other(party as usize));
        let expected = (self.sockets.address(hearer), self.legs[hearer]);
        if (to, from) != expected || index < self.next[party] {
            self.received.wrong += 1;
            return;
        }
        self.next[party] = index + 1;
        self.received.packets[party] += 1;
        if index >= self.warm_up {
            let delay = stamp_ns.saturating_sub(sent_ns);
            self.received.latency.add(Duration::from_nanos(delay));
        }
    }
}

/// One datagram: its length, where it came from, and when, in ns since 1970.
fn receive(
    socket: &UdpSocket,
    bytes: &mut [u8],
    control: &mut [u8],
) -> nix::Result<(usize, SocketAddr, u64)> {
    let mut slices = [IoSliceMut::new(bytes)];
    let descriptor = socket.as_raw_fd();
    let message = recvmsg::<SockaddrIn>(
        descriptor,
        &mut slices,
        Some(control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let stamp = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(at) => {
            Some(at.tv_sec() as u64 * 1_000_000_000 + at.tv_nsec() as u64)
        }
        _ => None,
    });
    let from = message.address.ok_or(Errno::EAFNOSUPPORT)?;
    let from = SocketAddr::new(from.ip().into(), from.port());
    Ok((message.bytes, from, stamp.unwrap_or_else(now_ns)))
}
