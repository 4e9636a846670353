//! Recordings as the shard's owner sees them, and the way of their entries to the spool.
//!
//! 1. Entries leave in the order they were made. While small entries wait for a full spool, later
//!    small ones queue behind them; a block that would have to wait becomes a gap.
//!    So do coded frames: the block behind them comes back too.
//! 2. Waiting entries are handed out again every 20 ms.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_audio::coded;

use crate::command::RecordingCommand;
use crate::counters::DropReason;
use crate::leg::Leg;
use crate::outbox::{Channel, Entry, Event, Outbox};
use crate::shard::Shard;
use crate::timers::{Alarm, Timer};
use crate::track::{Block, GapReason, QualityMean, SkewHistogram, Track};
use crate::{LegKey, RecordingKey};

/// Time between two attempts to hand out what waits.
const RETRY: Duration = Duration::from_millis(20);
/// Facts and gaps that may wait; openings and closings always may.
const WAITING_ENTRIES: usize = 65_536;
/// Positions between two measurements of how far the channels are apart: 1 s.
const SKEW_EVERY: u64 = 8_000;

/// A recording and when it is woken.
pub(crate) struct Recording {
    pub(crate) track: Track,
    /// The legs that feed the two sides.
    pub(crate) legs: [Option<usize>; 2],
    /// Legs that will feed them once they are open.
    pub(crate) expected: [Option<LegKey>; 2],
    pub(crate) held: [bool; 2],
    pub(crate) alarm: Alarm,
    /// Of legs that feed it no longer.
    pub(crate) quality: Box<[QualityMean; 2]>,
    skew: Box<SkewHistogram>,
    /// Where the channels are compared next.
    skew_at: u64,
}

/// What waits for the spool.
#[derive(Default)]
pub(crate) struct Spooling {
    pub(crate) backlog: VecDeque<Entry>,
    /// When to try again, while anything waits.
    pub(crate) retry_at: Option<Instant>,
    /// Recordings whose trouble is to be told.
    pub(crate) troubles: Vec<RecordingKey>,
    /// Audio of recordings that are closed already, refused before their closing entry came back.
    unheard: Vec<(RecordingKey, [u64; 2])>,
}

impl Recording {
    /// One that nobody feeds.
    pub(crate) fn new(track: Track) -> Recording {
        Recording {
            track,
            legs: [None; 2],
            expected: [None; 2],
            held: [false; 2],
            alarm: Alarm::default(),
            quality: Box::default(),
            skew: Box::default(),
            skew_at: SKEW_EVERY,
        }
    }
}

impl Shard {
    /// Does what is asked of a recording; `None` if it is not in a state for it.
    pub(crate) fn record(
        &mut self,
        now: Instant,
        key: RecordingKey,
        command: RecordingCommand,
    ) -> Option<()> {
        if let RecordingCommand::Open {
            owner,
            other,
            keeping,
            payload,
        } = command
        {
            return self.open_recording(now, key, (owner, other), (keeping, payload));
        }
        let index = *self.recording_index.get(&key)?;
        let track = &mut self.recordings.at_mut(index)?.track;
        match command {
            RecordingCommand::Open { .. } => None,
            RecordingCommand::Start => self.start_recording(now, index),
            RecordingCommand::Turn { other } => self.turn_recording(now, index, other),
            RecordingCommand::Keep => {
                self.entries.push(Entry::Keep {
                    recording: key,
                    at: now,
                });
                Some(())
            }
            RecordingCommand::Pause => track.pause(now).then_some(()),
            RecordingCommand::Resume => track.resume(now).then_some(()),
            RecordingCommand::Note { payload } => {
                let position = track.position(now);
                self.entries.push(Entry::Fact {
                    recording: key,
                    position,
                    at: now,
                    payload,
                });
                Some(())
            }
            RecordingCommand::Close { payload } => self.close_recording(now, index, payload),
        }
    }

    fn start_recording(&mut self, now: Instant, index: usize) -> Option<()> {
        let recording = self.recordings.at_mut(index)?;
        if recording.track.start().is_some() {
            return None;
        }
        recording.track.begin(now);
        self.begin_feeds(now, index);
        self.schedule_recording(now, index);
        Some(())
    }

    fn close_recording(&mut self, now: Instant, index: usize, payload: Bytes) -> Option<()> {
        let recording = self.recordings.remove(index)?;
        self.recording_index.remove(&recording.track.key());
        let mut recording = self.part(index, recording);
        let quality = recording.quality.each_ref().map(QualityMean::quality);
        let measured = (quality, recording.skew.skew());
        let (bench, entries) = (&mut self.bench, &mut self.entries);
        recording
            .track
            .close((now, payload), measured, bench, entries);
        self.bench.free.narrow();
        Some(())
    }

    /// Takes a list of coded frames back whose bytes were written.
    pub fn recycle_coded(&mut self, bytes: Vec<u8>) {
        self.bench.free.put_list(bytes);
    }

    /// Commits what became final.
    pub(crate) fn wake_recording(&mut self, now: Instant, index: usize) {
        if let Some(recording) = self.recordings.at_mut(index) {
            let (bench, entries) = (&mut self.bench, &mut self.entries);
            recording.track.advance(now, bench, entries);
        }
        self.measure_skew(now, index);
        self.schedule_recording(now, index);
    }

    /// Once a second: how far what the two time lines can not account for differs.
    fn measure_skew(&mut self, now: Instant, index: usize) {
        let Some(recording) = self.recordings.at_mut(index) else {
            return;
        };
        let position = recording.track.position(now);
        if position < recording.skew_at {
            return;
        }
        recording.skew_at = position + SKEW_EVERY - position % SKEW_EVERY;
        let residuals = recording.legs.map(|leg| residual(self.legs.at(leg?)?));
        if let [Some(owner), Some(other)] = residuals {
            recording.skew.add(owner.saturating_sub(other));
        }
    }

    fn schedule_recording(&mut self, now: Instant, index: usize) {
        if let Some(recording) = self.recordings.at_mut(index) {
            let due = recording.track.deadline(now);
            let timer = Timer::Recording(index);
            self.timers.set(timer, &mut recording.alarm, due);
        }
    }

    /// Puts the entries just made into the outbox, behind those that wait.
    pub(crate) fn hand_out(&mut self, now: Instant, out: &mut Outbox) {
        if self.entries.is_empty() {
            return;
        }
        self.retry_spool(now, out);
        if self.spooling.backlog.is_empty() {
            let blocks = self.entries.iter();
            let blocks = blocks.filter(|entry| matches!(entry, Entry::Block(_)));
            self.counters.blocks += blocks.count() as u64;
            out.entries.append(&mut self.entries);
            return;
        }
        let mut entries = std::mem::take(&mut self.entries);
        for entry in entries.drain(..) {
            self.keep_waiting(entry);
        }
        self.entries = entries;
    }

    /// Hands out what waits, if it is time to try again.
    pub(crate) fn retry_spool(&mut self, now: Instant, out: &mut Outbox) {
        if self.spooling.retry_at.is_none_or(|at| now < at) {
            return;
        }
        self.spooling.retry_at = None;
        out.entries.extend(self.spooling.backlog.drain(..));
        let troubles = self.spooling.troubles.drain(..);
        out.events
            .extend(troubles.map(|recording| Event::RecordingTrouble { recording }));
    }

    pub(crate) fn refuse(&mut self, now: Instant, entry: Entry) {
        self.spooling.retry_at.get_or_insert(now + RETRY);
        self.keep_waiting(entry);
    }

    fn keep_waiting(&mut self, mut entry: Entry) {
        match entry {
            Entry::Block(block) => self.refuse_block(block),
            Entry::Coded {
                recording,
                channel,
                ticks,
                bytes,
                ..
            } => self.refuse_coded(recording, channel, ticks, bytes),
            Entry::Close {
                recording,
                ref mut totals,
                ..
            } => {
                let unheard = &mut self.spooling.unheard;
                if let Some(at) = unheard.iter().position(|&(key, _)| key == recording) {
                    let (_, ticks) = unheard.swap_remove(at);
                    totals.owner.lose(ticks[0]);
                    totals.other.lose(ticks[1]);
                }
                self.spooling.backlog.push_back(entry);
            }
            Entry::Gap { .. } | Entry::Fact { .. }
                if self.spooling.backlog.len() >= WAITING_ENTRIES =>
            {
                self.counters.drop(DropReason::Entry);
            }
            small => self.spooling.backlog.push_back(small),
        }
    }

    fn refuse_block(&mut self, block: Box<Block>) {
        self.counters.blocks_refused += 1;
        let running = self.recording_index.get(&block.recording);
        match running.and_then(|&index| self.recordings.at_mut(index)) {
            Some(recording) => {
                if recording.track.refuse(&block) {
                    self.spooling.troubles.push(block.recording);
                }
            }
            // Its last audio: the closing entry comes back behind it.
            None => self.refuse_last(&block),
        }
        self.bench.free.put(block);
    }

    /// Coded frames the spool had no room for: the block behind them becomes the gap.
    fn refuse_coded(&mut self, key: RecordingKey, channel: Channel, ticks: u32, bytes: Vec<u8>) {
        let index = self.recording_index.get(&key);
        if let Some(recording) = index.and_then(|&index| self.recordings.at_mut(index)) {
            let ends = coded::read(&bytes)
                .flatten()
                .map(|frame| frame.offset + u32::from(frame.ticks));
            let spilt = ends.max().unwrap_or(0).saturating_sub(ticks);
            recording.track.refuse_coded(channel, u64::from(spilt));
        }
        self.bench.free.put_list(bytes);
    }

    /// A gap for a block of a recording that is closed already, joined with the one before it.
    fn refuse_last(&mut self, block: &Block) {
        let unheard = &mut self.spooling.unheard;
        let at = unheard.iter().position(|&(key, _)| key == block.recording);
        let at = at.unwrap_or_else(|| {
            unheard.push((block.recording, [0; 2]));
            unheard.len() - 1
        });
        for (ticks, heard) in unheard[at].1.iter_mut().zip(block.heard) {
            *ticks += u64::from(heard);
        }
        let samples = u64::from(block.samples);
        for wanted in Channel::BOTH {
            let joined = self.spooling.backlog.iter_mut().rev().find_map(|entry| {
                let Entry::Gap {
                    recording,
                    channel,
                    position,
                    samples,
                    reason: GapReason::SpoolFull,
                } = entry
                else {
                    return None;
                };
                let touches = *recording == block.recording
                    && *channel == wanted
                    && *position + *samples == block.position;
                touches.then_some(samples)
            });
            match joined {
                Some(joined) => *joined += samples,
                None => self.spooling.backlog.push_back(Entry::Gap {
                    recording: block.recording,
                    channel: wanted,
                    position: block.position,
                    samples,
                    reason: GapReason::SpoolFull,
                }),
            }
        }
    }
}

/// What is left of a leg's transit when its time line has accounted for drift, in nanoseconds.
fn residual(leg: &Leg) -> Option<i64> {
    leg.incoming.timeline().residual()
}
