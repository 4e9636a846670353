//! The spool thread: it alone touches the spool's disk.
//!
//! Relay threads hand it entries through a bounded queue ([`SpoolQueue`]). When the disk does not
//! answer, the queue is the memory that holds audio meanwhile; when the queue is full, the shard
//! makes a listed gap of what does not fit.

mod losses;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use duolog_media::{Block, Entry, Outbox, RecordingKey, Shard};
use duolog_spool::{Counts, Health, Outcome, RealDisk, RecordingId, Writer};
use tokio::sync::mpsc;

use crate::clock::WallClock;
use crate::gate::{Backlog, Disk, Gate};
use crate::relay::Report;
use crate::translate::entries;
pub use losses::{Loss, Losses};

/// The space is measured this often when nothing is written.
const IDLE: Duration = Duration::from_secs(1);

/// How long a disk that does not answer may delay the end of the node.
const LAST_COMMITS: Duration = Duration::from_secs(30);

/// Between two attempts at the last commit.
const COMMIT_AGAIN: Duration = Duration::from_millis(20);

/// Entries taken from the queue before a commit that is due may run.
const BURST: usize = 256;

/// The thread rests this long between two looks at the queue: being woken for each block would cost the
/// relay and itself more than writing it. Part of what a crash may cost.
const REST: Duration = Duration::from_millis(40);

/// Memory of one queued block of 320 ms in G.711: its bytes, the block and its place in the queue.
const BLOCK_BYTES: u64 = 5_120 + 128;

/// A key from the operating system.
fn random(key: &mut [u8; 32]) {
    // The node's own seed came from there before its first call.
    getrandom::fill(key).expect("a system that gave random bytes at the start still gives them");
}

/// A relay thread's end of the way to the spool.
#[derive(Debug, Clone)]
pub struct SpoolQueue {
    shard: usize,
    queue: SyncSender<(usize, Entry)>,
    depth: Arc<AtomicUsize>,
    capacity: usize,
    gate: Gate,
}

impl SpoolQueue {
    /// Hands over what the shard has for the spool. From the first entry that finds no room on, all
    /// go back to the shard, in order.
    pub fn offer(&self, now: Instant, shard: &mut Shard, out: &mut Outbox) -> Offered {
        let mut refused = Vec::new();
        for entry in out.entries.drain(..) {
            if !refused.is_empty() {
                refused.push(entry);
                continue;
            }
            // Counted before it is sent: the spool thread may take it at once.
            let depth = self.depth.fetch_add(1, Ordering::Relaxed) + 1;
            match self.queue.try_send((self.shard, entry)) {
                Ok(()) if depth >= self.capacity / 2 => self.gate.backlog(Backlog::Long),
                Ok(()) => {}
                Err(TrySendError::Full((_, entry)) | TrySendError::Disconnected((_, entry))) => {
                    self.depth.fetch_sub(1, Ordering::Relaxed);
                    refused.push(entry);
                }
            }
        }
        let offered = match refused.is_empty() {
            true => Offered::Taken,
            false => Offered::Refused,
        };
        for entry in refused {
            shard.entry_refused(now, entry);
        }
        offered
    }
}

/// What became of the entries a shard had for the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// All are in the queue.
    Taken,
    /// Some went back to the shard, which has something to offer later.
    Refused,
}

/// A buffer whose bytes were written, on its way back to the shard that made it.
#[derive(Debug)]
pub enum Spent {
    /// Of a block.
    Block(Box<Block>),
    /// Of a list of coded frames.
    Coded(Vec<u8>),
}

impl Spent {
    /// Gives it back.
    pub fn to(self, shard: &mut Shard) {
        match self {
            Spent::Block(block) => shard.recycle(block),
            Spent::Coded(bytes) => shard.recycle_coded(bytes),
        }
    }
}

/// What the archive is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A recording exists: make its row.
    Opened {
        /// Which.
        recording: RecordingId,
        /// The payload of its opening.
        payload: bytes::Bytes,
    },
    /// A recording is sealed and durable: finish it.
    Sealed {
        /// Which.
        recording: RecordingId,
    },
    /// Nothing of a recording could be kept: its row is all there is of it.
    Lost {
        /// Which.
        recording: RecordingId,
        /// Why, for a person.
        reason: &'static str,
    },
}

/// What other threads may look at while the spool thread runs.
#[derive(Debug, Default)]
pub struct Vitals {
    /// The writer's counters, about once a second.
    pub counts: Mutex<Counts>,
    /// Turns of the loop; stands still when the disk does not answer.
    pub turns: AtomicU64,
    /// Entries that wait for the disk.
    pub depth: Arc<AtomicUsize>,
}

/// The spool thread before it starts.
pub struct Keeper {
    writer: Writer<RealDisk>,
    entries: Receiver<(usize, Entry)>,
    queue: SpoolQueue,
    recycled: Vec<SyncSender<Spent>>,
    work: mpsc::Sender<Work>,
    losses: Losses,
    /// Who tells calls of their losses.
    reports: Option<mpsc::Sender<Report>>,
    /// Work the archive had no room for; the spool keeps the recordings meanwhile.
    waiting: VecDeque<Work>,
    wall: WallClock,
    vitals: Arc<Vitals>,
}

impl Keeper {
    /// A keeper whose queue holds about `buffer_bytes` of audio; work goes to `work`.
    pub fn new(
        writer: Writer<RealDisk>,
        buffer_bytes: u64,
        gate: Gate,
        work: mpsc::Sender<Work>,
        wall: WallClock,
    ) -> Self {
        let capacity = usize::try_from(buffer_bytes / BLOCK_BYTES)
            .unwrap_or(usize::MAX)
            .max(64);
        let (queue, entries) = std::sync::mpsc::sync_channel(capacity);
        let vitals = Arc::new(Vitals::default());
        let depth = Arc::clone(&vitals.depth);
        // Known before the first call, not with the first commit.
        gate.disk(Disk::of(&writer));
        let queue = SpoolQueue {
            shard: 0,
            queue,
            depth,
            capacity,
            gate,
        };
        Self {
            writer,
            entries,
            queue,
            recycled: Vec::new(),
            work,
            losses: Losses::default(),
            reports: None,
            waiting: VecDeque::new(),
            wall,
            vitals,
        }
    }

    /// The queue for one more shard, and where its written blocks come back.
    pub fn attach(&mut self) -> (SpoolQueue, Receiver<Spent>) {
        // Blocks beyond this come from a stall that is over: they are freed.
        let (sender, receiver) = std::sync::mpsc::sync_channel(2048);
        let shard = self.recycled.len();
        self.recycled.push(sender);
        (
            SpoolQueue {
                shard,
                ..self.queue.clone()
            },
            receiver,
        )
    }

    /// Where calls are told what was lost of their recordings.
    pub fn report_to(&mut self, reports: mpsc::Sender<Report>) {
        self.reports = Some(reports);
    }

    /// What others may look at.
    pub fn vitals(&self) -> Arc<Vitals> {
        Arc::clone(&self.vitals)
    }

    /// Runs until every queue is dropped and everything written is durable.
    pub fn run(mut self) {
        let gate = self.queue.gate.clone();
        let capacity = self.queue.capacity;
        // The keeper's own sender would keep the queue open for ever.
        let (closed, _) = std::sync::mpsc::sync_channel(0);
        self.queue.queue = closed;
        let mut stopping = None;
        loop {
            let now = Instant::now();
            let wait = self
                .writer
                .deadline()
                .map_or(IDLE, |d| d.saturating_duration_since(now));
            let mut taken = 0;
            let ended = match self.entries.recv_timeout(wait.min(IDLE)) {
                Ok(first) => {
                    self.take(first);
                    taken = 1;
                    while taken < BURST
                        && let Ok(next) = self.entries.try_recv()
                    {
                        self.take(next);
                        taken += 1;
                    }
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if self.vitals.depth.load(Ordering::Relaxed) < capacity / 4 {
                gate.backlog(Backlog::Short);
            }
            let now = Instant::now();
            let due = self
                .writer
                .deadline()
                .is_none_or(|deadline| deadline <= now);
            if due || ended {
                self.commit(now, &gate);
            }
            self.vitals.turns.fetch_add(1, Ordering::Relaxed);
            if !ended && taken < BURST {
                std::thread::sleep(REST);
            }
            if ended {
                let since = *stopping.get_or_insert(now);
                if self.writer.deadline().is_none() {
                    return;
                }
                if now.duration_since(since) > LAST_COMMITS {
                    let (recordings, bytes) = (self.writer.recordings(), self.writer.kept_bytes());
                    tracing::error!(
                        recordings,
                        bytes,
                        "the spool's disk took no more: what was in memory alone is lost"
                    );
                    return;
                }
                // The disk does not take it now.
                std::thread::sleep(COMMIT_AGAIN);
            }
        }
    }

    fn take(&mut self, (shard, entry): (usize, Entry)) {
        self.vitals.depth.fetch_sub(1, Ordering::Relaxed);
        let recording = RecordingId(entry.recording().0);
        let (now, wall) = (Instant::now(), &self.wall);
        let answer = entries::keep(&mut self.writer, now, wall, &entry, random);
        let lost = match self.losses.answered(&entry, answer) {
            Ok(lost) => lost,
            Err(error) => {
                tracing::error!(%recording, %error, "the spool refused an entry");
                None
            }
        };
        match entry {
            // A full way back means that the shard has buffers enough.
            Entry::Block(block) => drop(self.recycled[shard].try_send(Spent::Block(block))),
            Entry::Coded { bytes, .. } => {
                drop(self.recycled[shard].try_send(Spent::Coded(bytes)));
            }
            Entry::Open { payload, .. } => {
                self.tell(Work::Opened { recording, payload });
                if let Some(lost) = lost {
                    let reason = lost.reason();
                    self.tell(Work::Lost { recording, reason });
                }
            }
            _ => {}
        }
        if let Some(lost) = lost {
            self.tell_lost(recording, lost);
        }
    }

    /// Once for each recording. What does not fit is said with the next loss.
    fn tell_lost(&mut self, recording: RecordingId, loss: Loss) {
        if !self.losses.is_news(recording) {
            return;
        }
        let reason = loss.reason();
        tracing::warn!(%recording, reason, "a recording is not whole");
        let report = Report::Lost {
            recording: RecordingKey(recording.0),
            loss,
        };
        if let Some(reports) = &self.reports
            && reports.try_send(report).is_ok()
        {
            self.losses.tell(recording);
        }
    }

    fn commit(&mut self, now: Instant, gate: &Gate) {
        let before = self.writer.health();
        for outcome in self.writer.commit(now) {
            match outcome {
                Outcome::Durable { .. } => {}
                Outcome::Sealed { recording } => {
                    self.losses.forget(recording);
                    self.tell(Work::Sealed { recording });
                }
                Outcome::Dropped {
                    recording,
                    samples,
                    reason,
                    ..
                } => {
                    let loss = Loss::of_audio(reason);
                    tracing::debug!(%recording, samples, reason = loss.reason(), "audio was dropped");
                    self.tell_lost(recording, loss);
                }
                Outcome::PartFailed {
                    recording,
                    part,
                    error,
                } => {
                    tracing::error!(%recording, part, %error, "a spool file failed; going on in a new one");
                }
                // While nothing goes through it was said once why; every try would say it again.
                Outcome::Delayed { recording, error } if before == Health::Failing => {
                    tracing::debug!(%recording, %error, "the spool's disk delays a recording");
                }
                Outcome::Delayed { recording, error } => {
                    tracing::warn!(%recording, %error, "the spool's disk delays a recording");
                }
                Outcome::Space(space) => tracing::warn!(?space, "room on the spool's disk changed"),
                Outcome::Health(Health::Failing) => {
                    tracing::error!("the spool's disk takes nothing: look at the disk");
                }
                Outcome::Health(Health::Sound) => tracing::warn!("the spool's disk works again"),
                Outcome::DiskTrouble(error) => tracing::error!(%error, "the spool's disk"),
            }
        }
        gate.disk(Disk::of(&self.writer));
        self.tell_waiting();
        let counts = self.writer.counts();
        *self
            .vitals
            .counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = counts;
    }

    fn tell(&mut self, work: Work) {
        self.waiting.push_back(work);
        self.tell_waiting();
    }

    /// In order: a recording is opened before it is finished.
    fn tell_waiting(&mut self) {
        while let Some(work) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(work)) = self.work.try_send(work) {
                self.waiting.push_front(work);
                return;
            }
        }
    }
}
