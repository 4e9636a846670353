//! A relay thread: one epoll loop over the sockets of its shard. It never waits for the recorder.
//!
//! 1. Wait until a socket is readable, a deadline of the shard is due, or an order came.
//! 2. Take what waits on each ready socket and give it to the shard; send what comes out at once.
//! 3. Carry out orders, run deadlines.
//! 4. Hand entries to the spool's queue; what it refuses goes back to the shard, which makes a
//!    listed gap of it.
//! 5. Rest for half a millisecond when few packets were ready: waking for every single packet costs four to
//!    six times the processor time of the packets themselves.

pub mod ports;
pub mod socket;
mod sockets;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_media::{Block, Command, Counters, Event, LegIdentity, LegKey, Outbox, Shard};
use duolog_rtp::{RtpTimestamp, SeqNo, Ssrc};
use nix::sys::eventfd::EventFd;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;
use tokio::sync::mpsc;

use crate::contain::Breaks;
use crate::keeper::SpoolQueue;
use ports::Ports;
use socket::{Batch, ClockPair};
use sockets::Sockets;

/// How long the thread rests when few packets were ready. Half a millisecond stays well under the
/// millisecond of added latency that a relay may cost.
const REST: Duration = Duration::from_micros(500);

/// With more ready sockets than this the thread does not rest.
const BUSY: usize = 24;

/// Longest wait, so that the heartbeat is seen and refused entries are offered again.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// Orders that may wait for a relay thread. When they do not fit, the thread is stuck: the asker
/// is told that the node is busy.
pub const ORDERS: usize = 8192;

/// What signalling asks of a relay thread.
#[derive(Debug)]
pub enum Order {
    /// Bind ports for a leg and make it known to the shard.
    Open(LegKey),
    /// Anything else.
    Media(Command),
    /// End when this order is reached.
    Stop,
}

/// What a relay thread tells signalling.
#[derive(Debug)]
pub enum Report {
    /// A leg has ports.
    Opened {
        /// Which leg.
        leg: LegKey,
        /// The RTP port; RTCP is one above.
        port: u16,
    },
    /// A leg got no ports.
    Refused {
        /// Which leg.
        leg: LegKey,
        /// Why, for a person.
        reason: String,
    },
    /// Something happened to media.
    Event(Event),
}

/// Where orders to a relay thread go.
#[derive(Debug, Clone)]
pub struct Orders {
    queue: SyncSender<(Instant, Order)>,
    wake: Arc<EventFd>,
}

impl Orders {
    /// Hands an order over; it takes effect as of `now`.
    ///
    /// # Errors
    ///
    /// [`Stuck`] when the thread does not take orders; this one is lost.
    pub fn send(&self, now: Instant, order: Order) -> Result<(), Stuck> {
        let result = self.queue.try_send((now, order));
        // A full counter means that the thread has been woken already.
        let _ = self.wake.write(1);
        result.map_err(|_| Stuck)
    }
}

/// A relay thread takes no orders: its queue is full, or it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay thread is busy")]
pub struct Stuck;

/// What other threads may look at while a relay thread runs.
#[derive(Debug, Default)]
pub struct Vitals {
    /// The shard's counters and the port pairs in use and free, about four times a second.
    pub figures: Mutex<(Counters, (usize, usize))>,
    /// Turns of the loop; stands still when the thread is stuck.
    pub turns: AtomicU64,
    /// Datagrams that the kernel would not take.
    pub unsent: AtomicU64,
    /// Work that broke.
    pub breaks: Breaks,
}

/// Everything a relay thread needs to begin.
pub struct Setting {
    /// The shard it runs.
    pub shard: Shard,
    /// Its ports.
    pub ports: Ports,
    /// Its random source, for SSRC, sequence number and time stamp of each leg (RFC 3550 §5.1).
    pub random: ChaCha12Rng,
    /// Canonical name of every leg (RFC 3550 §6.5.1).
    pub cname: Bytes,
    /// Where its reports go. When it is full the report waits in the thread.
    pub reports: mpsc::Sender<Report>,
    /// Where audio goes.
    pub spool: SpoolQueue,
    /// Blocks that come back from the spool.
    pub recycled: Receiver<Box<Block>>,
    /// What others may look at.
    pub vitals: Arc<Vitals>,
}

/// Starts a relay thread.
///
/// # Errors
///
/// When the kernel gives no epoll set, event descriptor or thread.
pub fn start(name: String, setting: Setting) -> io::Result<(Orders, std::thread::JoinHandle<()>)> {
    let (queue, orders) = std::sync::mpsc::sync_channel(ORDERS);
    let wake = Arc::new(EventFd::from_flags(
        nix::sys::eventfd::EfdFlags::EFD_NONBLOCK,
    )?);
    let sockets = Sockets::new(setting.ports, wake.as_fd())?;
    let relay = Relay {
        shard: setting.shard,
        sockets,
        batch: Batch::default(),
        out: Outbox::new(),
        orders,
        wake: Arc::clone(&wake),
        random: setting.random,
        cname: setting.cname,
        reports: setting.reports,
        unreported: Vec::new(),
        spool: setting.spool,
        recycled: setting.recycled,
        vitals: setting.vitals,
    };
    let thread = std::thread::Builder::new()
        .name(name)
        .spawn(move || relay.run())?;
    Ok((Orders { queue, wake }, thread))
}

struct Relay {
    shard: Shard,
    sockets: Sockets,
    batch: Batch,
    out: Outbox,
    orders: Receiver<(Instant, Order)>,
    wake: Arc<EventFd>,
    random: ChaCha12Rng,
    cname: Bytes,
    reports: mpsc::Sender<Report>,
    /// Reports that did not fit. Bounded by what the shard can make of the calls it has.
    unreported: Vec<Report>,
    spool: SpoolQueue,
    recycled: Receiver<Box<Block>>,
    vitals: Arc<Vitals>,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Turn {
    Next,
    Last,
}

impl Relay {
    fn run(mut self) {
        let mut published = Instant::now();
        loop {
            let now = Instant::now();
            let wait = self
                .shard
                .deadline()
                .map_or(LONGEST_WAIT, |d| d.saturating_duration_since(now));
            // Rounded up: a deadline must have passed when the wait ends.
            let wait_ms = wait.min(LONGEST_WAIT).as_micros().div_ceil(1000) as u16;
            let ready = self.sockets.wait(wait_ms).unwrap_or_else(|error| {
                panic!("epoll_wait on a live set can only be interrupted: {error}")
            });
            self.receive(ready);
            if self.obey() == Turn::Last {
                return;
            }
            let now = Instant::now();
            if self
                .shard
                .deadline()
                .is_some_and(|deadline| deadline <= now)
            {
                let (shard, out) = (&mut self.shard, &mut self.out);
                let _ = self.vitals.breaks.contain(|| shard.tick(now, out));
            }
            self.flush(now);
            if now.duration_since(published) >= LONGEST_WAIT {
                published = now;
                self.publish();
            }
            self.vitals.turns.fetch_add(1, Ordering::Relaxed);
            if ready > 0 && ready < BUSY {
                std::thread::sleep(REST);
            }
        }
    }

    fn receive(&mut self, ready: usize) {
        let clocks = ClockPair::read();
        let now = clocks.instant();
        for i in 0..ready {
            let Some((port, socket)) = self.sockets.ready(i) else {
                continue;
            };
            // An error is an ICMP refusal of something sent before: the peer's port is closed. Its
            // media time-out will tell.
            let count = self.batch.receive(socket).unwrap_or(0);
            for n in 0..count {
                let Some((from, arrived, bytes)) = self.batch.datagram(n, clocks) else {
                    continue;
                };
                let (shard, out) = (&mut self.shard, &mut self.out);
                let receive = || shard.receive(now, arrived, port, from, bytes, out);
                // What broke has been counted.
                let _ = self.vitals.breaks.contain(receive);
            }
            self.send();
        }
    }

    /// Out at once: the other party waits, everything else does not.
    fn send(&mut self) {
        for connect in self.out.connects.drain(..) {
            if let Err(error) = self.sockets.connect(connect.port, connect.peer) {
                tracing::debug!(%error, "a media socket could not be connected to its peer");
            }
        }
        for datagram in self.out.datagrams() {
            if self
                .sockets
                .send(datagram.port, datagram.to, datagram.bytes)
                .is_err()
            {
                self.vitals.unsent.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.out.clear_datagrams();
    }

    fn flush(&mut self, now: Instant) {
        self.send();
        self.spool.offer(now, &mut self.shard, &mut self.out);
        while let Ok(block) = self.recycled.try_recv() {
            self.shard.recycle(block);
        }
        let events = self.out.events.drain(..).map(Report::Event);
        self.unreported.extend(events);
        let told = self.unreported.len();
        let mut waiting = Vec::new();
        for report in self.unreported.drain(..told) {
            if let Err(mpsc::error::TrySendError::Full(report)) = self.reports.try_send(report) {
                waiting.push(report);
            }
        }
        self.unreported = waiting;
    }

    fn obey(&mut self) -> Turn {
        // The counter only wakes; how often it was raised says nothing.
        let _ = self.wake.read();
        loop {
            match self.orders.try_recv() {
                Ok((now, Order::Media(command))) => {
                    let closing = match command {
                        Command::Close { leg } => Some(leg),
                        _ => None,
                    };
                    self.command(now, command);
                    if let Some(leg) = closing {
                        self.send();
                        self.sockets.close(leg);
                    }
                }
                Ok((now, Order::Open(leg))) => self.open(now, leg),
                Err(TryRecvError::Empty) => return Turn::Next,
                Ok((_, Order::Stop)) | Err(TryRecvError::Disconnected) => {
                    self.flush(Instant::now());
                    self.publish();
                    return Turn::Last;
                }
            }
        }
    }

    fn command(&mut self, now: Instant, command: Command) {
        let (shard, out) = (&mut self.shard, &mut self.out);
        let _ = self
            .vitals
            .breaks
            .contain(|| shard.command(now, command, out));
    }

    fn open(&mut self, now: Instant, leg: LegKey) {
        let report = match self.sockets.open(leg) {
            Ok(opened) => {
                let identity = LegIdentity {
                    ssrc: Ssrc(self.random.next_u32()),
                    seq: SeqNo(self.random.next_u32() as u16),
                    timestamp: RtpTimestamp(self.random.next_u32()),
                    cname: self.cname.clone(),
                };
                let (rtp, rtcp) = (opened.rtp, opened.rtcp);
                self.command(
                    now,
                    Command::Open {
                        leg,
                        rtp,
                        rtcp,
                        identity,
                    },
                );
                Report::Opened {
                    leg,
                    port: opened.port,
                }
            }
            Err(error) => {
                let reason = format!(
                    "no media ports: {error}; widen media.ports or raise the open file limit"
                );
                Report::Refused { leg, reason }
            }
        };
        self.unreported.push(report);
    }

    fn publish(&mut self) {
        let figures = (*self.shard.counters(), self.sockets.pairs());
        *self
            .vitals
            .figures
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = figures;
    }
}

/// The part-th of `parts` relay threads' ports.
pub fn ports(address: IpAddr, range: (u16, u16), part: usize, parts: usize) -> Ports {
    Ports::new(address, range, part, parts)
}
