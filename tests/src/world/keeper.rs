//! The spool thread in virtual time: a bounded queue, a writer on the simulated disk, stalls that
//! pass in the world's time and stop nobody else.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use duolog::clock::WallClock;
use duolog::gate::{Backlog, Disk, Gate};
use duolog::keeper::{Loss, Losses, Spent};
use duolog::translate::entries;
use duolog_media::{Entry, Outbox, Shard};
use duolog_spool::{Counts, Outcome, RecordingId, Settings, SimDisk, Writer};

use super::watch::Watch;

/// Without anything to write the space is measured this often.
const IDLE: Duration = Duration::from_secs(1);

/// The spool thread and what waits for it.
pub struct Keeper {
    writer: Writer<SimDisk>,
    disk: SimDisk,
    queue: VecDeque<(usize, Entry)>,
    capacity: usize,
    wall: WallClock,
    gate: Gate,
    busy_until: Option<Instant>,
    idle_at: Instant,
    /// Written blocks on their way back, with their shard.
    pub recycled: Vec<(usize, Spent)>,
    /// What was lost of recordings, of each once; taken by the node, which tells their calls.
    pub lost: Vec<(RecordingId, Loss)>,
    losses: Losses,
    sealed: Vec<RecordingId>,
    dropped: u64,
    deepest: usize,
    /// Keys given out: each is another, which is all that a world needs of them.
    keys: u64,
}

impl Keeper {
    /// A keeper on a fresh disk, whose queue holds `capacity` entries.
    #[must_use]
    pub fn new(disk: SimDisk, capacity: usize, gate: Gate, wall: WallClock) -> Keeper {
        let settings = Settings {
            low_bytes: 1 << 20,
            full_bytes: 1 << 16,
            ..Settings::default()
        };
        let writer = Writer::new(disk.clone(), settings).expect("an empty disk takes a writer");
        Keeper {
            writer,
            disk,
            queue: VecDeque::new(),
            capacity,
            idle_at: wall.instant(),
            wall,
            gate,
            busy_until: None,
            recycled: Vec::new(),
            lost: Vec::new(),
            losses: Losses::default(),
            sealed: Vec::new(),
            dropped: 0,
            deepest: 0,
            keys: 0,
        }
    }

    /// As `duolog::keeper::SpoolQueue::offer`: what does not fit goes back, and all behind it.
    pub fn offer(
        &mut self,
        now: Instant,
        number: usize,
        shard: &mut Shard,
        out: &mut Outbox,
        watch: &mut Watch,
    ) {
        let mut refused = Vec::new();
        for entry in out.entries.drain(..) {
            if !refused.is_empty() || self.queue.len() >= self.capacity {
                refused.push(entry);
                continue;
            }
            watch.entry(&entry);
            self.queue.push_back((number, entry));
            if self.queue.len() == self.capacity / 2 {
                self.gate.backlog(Backlog::Long);
            }
        }
        self.deepest = self.deepest.max(self.queue.len());
        for entry in refused {
            shard.entry_refused(now, entry);
        }
    }

    /// Does what there is to do, unless the disk keeps the thread.
    pub fn turn(&mut self, now: Instant, watch: &mut Watch) {
        if self.busy_until.is_some_and(|until| now < until) {
            return;
        }
        self.busy_until = None;
        while let Some((shard, entry)) = self.queue.pop_front() {
            self.keys += 1;
            let fresh = |key: &mut [u8; 32]| key[..8].copy_from_slice(&self.keys.to_le_bytes());
            let answer = entries::keep(&mut self.writer, now, &self.wall, &entry, fresh);
            match self.losses.answered(&entry, answer) {
                Ok(Some(lost)) => self.lose(RecordingId(entry.recording().0), lost),
                Ok(None) => {}
                Err(error) => watch.fault(format!("the spool refused an entry: {error}")),
            }
            match entry {
                Entry::Block(block) => self.recycled.push((shard, Spent::Block(block))),
                Entry::Coded { bytes, .. } => self.recycled.push((shard, Spent::Coded(bytes))),
                _ => {}
            }
        }
        self.gate.backlog(Backlog::Short);
        let due = self
            .writer
            .deadline()
            .map_or(now >= self.idle_at, |due| due <= now);
        if !due {
            return;
        }
        self.idle_at = now + IDLE;
        for outcome in self.writer.commit(now) {
            match outcome {
                Outcome::Sealed { recording } => {
                    self.losses.forget(recording);
                    self.sealed.push(recording);
                }
                Outcome::Dropped {
                    recording,
                    samples,
                    reason,
                    ..
                } => {
                    self.dropped += samples;
                    self.lose(recording, Loss::of_audio(reason));
                }
                _ => {}
            }
        }
        self.gate.disk(Disk::of(&self.writer));
        let stalled = self.disk.take_stalled();
        if stalled > Duration::ZERO {
            self.busy_until = Some(now + stalled);
        }
    }

    fn lose(&mut self, recording: RecordingId, loss: Loss) {
        if self.losses.is_news(recording) {
            self.losses.tell(recording);
            self.lost.push((recording, loss));
        }
    }

    /// When [`Keeper::turn`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let due = self.writer.deadline().unwrap_or(self.idle_at);
        self.busy_until
            .map_or(due, |until| until.max(due.min(until)))
    }

    /// Entries that wait, the most that ever did, and how many may.
    #[must_use]
    pub fn depth(&self) -> (usize, usize, usize) {
        (self.queue.len(), self.deepest, self.capacity)
    }

    /// Recordings that are not sealed durably.
    #[must_use]
    pub fn open(&self) -> usize {
        self.writer.recordings()
    }

    /// Recordings sealed so far, in order.
    #[must_use]
    pub fn sealed(&self) -> &[RecordingId] {
        &self.sealed
    }

    /// Samples that a full disk dropped, and the writer's own counts.
    #[must_use]
    pub fn losses(&self) -> (u64, Counts) {
        (self.dropped, self.writer.counts())
    }
}
