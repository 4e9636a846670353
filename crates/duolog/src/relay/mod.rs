//! A relay thread: one epoll loop over the sockets of its shard. It never waits for the recorder.
//!
//! 1. Wait until a socket is readable, a deadline of the shard is due, or an order came.
//! 2. Take what waits on each ready socket and give it to the shard; send what comes out at once.
//! 3. Carry out orders and run deadlines, unless datagrams that came before them still wait.
//! 4. Hand entries to the spool's queue; what it refuses goes back to the shard, which makes a
//!    listed gap of it.
//! 5. Rest for what is left of a millisecond: waking for every single packet costs four to six
//!    times the processor time of the packets themselves.

mod backlog;
pub mod ports;
pub mod socket;
mod sockets;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_media::{Command, Counters, Event, LegIdentity, LegKey, Outbox, RecordingKey, Shard};
use duolog_rtp::{RtpTimestamp, SeqNo, Ssrc};
use nix::sys::eventfd::EventFd;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;
use tokio::sync::mpsc;

use crate::config::Media;
use crate::contain::Breaks;
use crate::keeper::{Loss, Offered, Spent, SpoolQueue};
use backlog::{Backlog, Left};
use ports::{Address, Ports};
use socket::{BATCH, Batch, ClockPair, Take};
use sockets::{ROUND, Sockets};

/// A round that takes less than this is followed by a rest, so that packets gather meanwhile: just
/// under the millisecond of added latency that a relay may cost. A thread that is busy for longer does
/// not rest.
const ROUND_TIME: Duration = Duration::from_micros(900);

/// While rounds follow each other within this, a socket of a party that speaks holds one packet at the
/// most: taking one is then cheaper than asking for more. After a longer one whole batches are taken
/// until every socket is empty.
const PROMPT_ROUND: Duration = Duration::from_millis(5);

/// Longest wait, so that the heartbeat is seen and refused entries are offered again.
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// How long a thread that is to end offers the spool what its queue had no room for.
const LAST_OFFERS: Duration = Duration::from_secs(30);

/// Between two of these offers: longer than the shard waits with them.
const OFFER_AGAIN: Duration = Duration::from_millis(25);

/// Orders that may wait for a relay thread. When they do not fit, the thread is stuck: the asker
/// is told that the node is busy.
pub const ORDERS: usize = 8192;

/// What signalling asks of a relay thread.
#[derive(Debug)]
pub enum Order {
    /// Bind ports for a leg and make it known to the shard.
    Open {
        /// Which.
        leg: LegKey,
        /// Where its party is: the ports are of that family.
        peer: IpAddr,
    },
    /// Anything else.
    Media(Command),
    /// End when this order is reached.
    Stop,
}

/// What a relay thread, or the spool's, tells signalling.
#[derive(Debug)]
pub enum Report {
    /// A leg has ports.
    Opened {
        /// Which leg.
        leg: LegKey,
        /// The address that its peer is to be told.
        address: IpAddr,
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
    /// Something of a recording could not be kept.
    Lost {
        /// Which.
        recording: RecordingKey,
        /// What, and why.
        loss: Loss,
    },
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
    /// Buffers that come back from the spool.
    pub recycled: Receiver<Spent>,
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
        unreported: VecDeque::new(),
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
    unreported: VecDeque<Report>,
    spool: SpoolQueue,
    recycled: Receiver<Spent>,
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
        let mut backlog = Backlog::default();
        let mut last = published;
        let mut left = Left::Nothing;
        loop {
            // What came before this moment is read in this round: deadlines run up to here and no
            // further, wherever the thread may be kept from a processor meanwhile.
            let began = Instant::now();
            let wait = self
                .shard
                .deadline()
                .map_or(LONGEST_WAIT, |d| d.saturating_duration_since(began));
            // Rounded up: a deadline must have passed when the wait ends.
            let wait_ms = wait.min(LONGEST_WAIT).as_micros().div_ceil(1000) as u16;
            let ready = self.sockets.wait(wait_ms).unwrap_or_else(|error| {
                panic!("epoll_wait on a live set can only be interrupted: {error}")
            });
            let woke = Instant::now();
            // Since the last round began: its own list of ready sockets may be older than a standstill.
            let prompt = woke.duration_since(last) < PROMPT_ROUND;
            let take = match prompt && left == Left::Nothing {
                true => Take::One,
                false => Take::Batch,
            };
            last = began;
            left = self.receive(ready, take);
            // What a party said before its recording is closed comes before the closing.
            if backlog.may_tick(began, left) {
                if self.obey() == Turn::Last {
                    return self.end();
                }
                self.tick(began);
            }
            let now = Instant::now();
            self.flush(now);
            if now.duration_since(published) >= LONGEST_WAIT {
                published = now;
                self.publish();
            }
            self.vitals.turns.fetch_add(1, Ordering::Relaxed);
            if ready > 0 && left == Left::Nothing {
                std::thread::sleep(ROUND_TIME.saturating_sub(now.duration_since(woke)));
            }
        }
    }

    /// Takes what the ready sockets hold: one datagram of each, or a batch where the thread was kept from
    /// its work and more may wait.
    fn receive(&mut self, ready: usize, take: Take) -> Left {
        let mut left = match ready < ROUND {
            true => Left::Nothing,
            false => Left::Perhaps,
        };
        let clocks = ClockPair::read();
        let now = clocks.instant();
        for i in 0..ready {
            let Some((port, socket)) = self.sockets.ready(i) else {
                if self.sockets.is_wake(i) {
                    // The counter only wakes; how often it was raised says nothing.
                    let _ = self.wake.read();
                }
                continue;
            };
            // An error is an ICMP refusal of something sent before: the peer's port is closed. Its
            // media time-out will tell.
            let count = self.batch.receive(socket, take).unwrap_or(0);
            if take == Take::Batch && count == BATCH {
                left = Left::Perhaps;
            }
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
        left
    }

    fn tick(&mut self, now: Instant) {
        let (shard, out) = (&mut self.shard, &mut self.out);
        if shard.deadline().is_some_and(|deadline| deadline <= now) {
            let _ = self.vitals.breaks.contain(|| shard.tick(now, out));
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

    fn flush(&mut self, now: Instant) -> Offered {
        self.send();
        let offered = self.spool.offer(now, &mut self.shard, &mut self.out);
        while let Ok(spent) = self.recycled.try_recv() {
            spent.to(&mut self.shard);
        }
        let events = self.out.events.drain(..).map(Report::Event);
        self.unreported.extend(events);
        // In order: what does not fit holds back all behind it.
        while let Some(report) = self.unreported.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(report)) = self.reports.try_send(report) {
                self.unreported.push_front(report);
                break;
            }
        }
        offered
    }

    /// Hands over what is left; closings that the spool's queue refuses would be recordings that are
    /// not sealed.
    fn end(mut self) {
        let latest = Instant::now() + LAST_OFFERS;
        loop {
            let now = Instant::now();
            self.tick(now);
            let offered = self.flush(now);
            self.publish();
            let done = offered == Offered::Taken && self.shard.entries_waiting() == 0;
            if done || now > latest {
                return;
            }
            self.vitals.turns.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(OFFER_AGAIN);
        }
    }

    fn obey(&mut self) -> Turn {
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
                Ok((now, Order::Open { leg, peer })) => self.open(now, leg, peer),
                Err(TryRecvError::Empty) => return Turn::Next,
                Ok((_, Order::Stop)) | Err(TryRecvError::Disconnected) => return Turn::Last,
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

    fn open(&mut self, now: Instant, leg: LegKey, peer: IpAddr) {
        let report = match self.sockets.open(leg, peer) {
            Ok(opened) => {
                let identity = LegIdentity {
                    ssrc: Ssrc(self.random.next_u32()),
                    // In the lower half: a peer that misses the first packets must not miss a wrap
                    // (RFC 3711 §3.3.1).
                    seq: SeqNo(self.random.next_u32() as u16 & 0x7fff),
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
                    address: opened.told,
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
        self.unreported.push_back(report);
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

/// The ports of the part-th relay thread.
pub fn ports(media: &Media, part: usize) -> Ports {
    let address = |&bound: &IpAddr| Address {
        bound,
        told: media.told(bound),
    };
    let addresses = media.address.iter().map(address).collect();
    Ports::new(addresses, media.ports, part, media.threads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallClock;
    use crate::gate::Gate;
    use crate::keeper::{Keeper, Spent, Work};
    use duolog_media::{Keeping, RecordingCommand, RecordingKey, ShardSettings};
    use duolog_spool::{RealDisk, Writer};
    use rand_chacha::rand_core::SeedableRng;

    fn setting(spool: SpoolQueue, recycled: Receiver<Spent>) -> Setting {
        let wall = duolog_rtp::WallTime { unix_us: 0 };
        let host = IpAddr::from([127, 0, 0, 1]);
        let address = Address {
            bound: host,
            told: host,
        };
        Setting {
            shard: Shard::new(ShardSettings::new((Instant::now(), wall))),
            ports: Ports::new(vec![address], (13440, 13459), 0, 1),
            random: ChaCha12Rng::from_seed([7; 32]),
            cname: Bytes::from_static(b"test"),
            reports: mpsc::channel(64).0,
            spool,
            recycled,
            vitals: Arc::default(),
        }
    }

    #[test]
    fn a_thread_that_ends_waits_for_a_spool_that_does_not_answer() {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = RealDisk::open(directory.path()).expect("a disk");
        let writer = Writer::new(disk, duolog_spool::Settings::default()).expect("a writer");
        let (work_in, mut work) = mpsc::channel(64);
        let mut keeper = Keeper::new(writer, 0, Gate::default(), work_in, WallClock::read());
        let (spool, recycled) = keeper.attach();
        let setting = setting(spool, recycled);
        let vitals = Arc::clone(&setting.vitals);
        let (orders, thread) = start("relay-test".into(), setting).expect("a thread");
        let recording = RecordingKey(7);
        let payload = Bytes::from_static(b"{}");
        let order = |command| {
            let command = Command::Record { recording, command };
            orders
                .send(Instant::now(), Order::Media(command))
                .expect("room");
        };
        let (owner, other) = (LegKey(1), Some(LegKey(2)));
        order(RecordingCommand::Open {
            owner,
            other,
            keeping: Keeping::Kept,
            payload: payload.clone(),
        });
        // More than the queue of a keeper that does nothing holds.
        for _ in 0..200 {
            order(RecordingCommand::Note {
                payload: payload.clone(),
            });
        }
        order(RecordingCommand::Close { payload });
        orders.send(Instant::now(), Order::Stop).expect("room");
        // The thread is at its end and still turning when the keeper begins.
        while vitals.turns.load(Ordering::Relaxed) < 3 {
            assert!(
                !thread.is_finished(),
                "the thread ended with entries refused"
            );
            std::thread::yield_now();
        }
        let keeper = std::thread::spawn(move || keeper.run());
        thread.join().expect("the relay thread ends");
        keeper.join().expect("the spool thread ends");
        let mut told = Vec::new();
        while let Ok(work) = work.try_recv() {
            told.push(work);
        }
        let sealed = duolog_spool::RecordingId(7);
        assert!(matches!(told[0], Work::Opened { recording, .. } if recording == sealed));
        assert_eq!(told[1..], [Work::Sealed { recording: sealed }]);
    }
}
