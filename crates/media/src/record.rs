//! Recordings as the shard's owner sees them, and the way of their entries to the spool.
//!
//! 1. Entries leave in the order they were made. While small entries wait for a full spool, later
//!    small ones queue behind them; a block that would have to wait becomes a gap.
//! 2. Waiting entries are handed out again every 20 ms.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_audio::g711::Law;

use crate::command::RecordingCommand;
use crate::counters::DropReason;
use crate::outbox::{Channel, Entry, Event, Outbox};
use crate::shard::Shard;
use crate::tap::Tap;
use crate::timers::{Alarm, Timer};
use crate::track::{Block, GapReason, Track};
use crate::{LegKey, RecordingKey};

/// Time between two attempts to hand out what waits.
const RETRY: Duration = Duration::from_millis(20);
/// Facts and gaps that may wait; openings and closings always may.
const WAITING_ENTRIES: usize = 65_536;

/// A recording and when it is woken.
pub(crate) struct Recording {
    pub(crate) track: Track,
    /// The legs that feed the two sides, as long as they exist.
    legs: [Option<usize>; 2],
    held: [bool; 2],
    pub(crate) alarm: Alarm,
}

/// What waits for the spool.
pub(crate) struct Spooling {
    pub(crate) backlog: VecDeque<Entry>,
    /// When to try again, while anything waits.
    pub(crate) retry_at: Option<Instant>,
    /// Recordings whose trouble is to be told.
    pub(crate) troubles: Vec<RecordingKey>,
}

impl Recording {
    /// A party went on hold, or came back.
    pub(crate) fn hold(&mut self, channel: Channel, held: bool, now: Instant) {
        self.held[channel.index()] = held;
        if self.track.start().is_none() {
            return;
        }
        let position = self.track.position(now);
        let stretches = &mut self.track.side_mut(channel).held;
        match held {
            true => stretches.begin(position),
            false => stretches.end(position),
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
            payload,
        } = command
        {
            return self.open_recording(now, key, (owner, other), payload);
        }
        let index = *self.recording_index.get(&key)?;
        let track = &mut self.recordings.at_mut(index)?.track;
        match command {
            RecordingCommand::Open { .. } => None,
            RecordingCommand::Start => self.start_recording(now, index),
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

    fn open_recording(
        &mut self,
        now: Instant,
        key: RecordingKey,
        (owner, other): (LegKey, LegKey),
        payload: Bytes,
    ) -> Option<()> {
        if self.recording_index.contains_key(&key) || owner == other {
            return None;
        }
        let legs = [owner, other].map(|leg| self.leg_index.get(&leg).copied());
        let law = legs
            .iter()
            .flatten()
            .find_map(|&leg| self.legs.at(leg)?.peer.as_ref()?.formats.speech())
            .map_or(Law::Mulaw, |(_, law)| law);
        let index = self.recordings.insert(Recording {
            track: Track::new(key, law),
            legs,
            held: [false; 2],
            alarm: Alarm::default(),
        });
        self.recording_index.insert(key, index);
        self.bench.free.widen();
        self.timers.reserve(self.legs.len() + self.recordings.len());
        self.entries.push(Entry::Open {
            recording: key,
            at: now,
            payload,
        });
        for (channel, leg) in Channel::BOTH.into_iter().zip(legs) {
            // A party that is already gone leaves its channel empty; the rest is still recorded.
            match leg.and_then(|leg| self.legs.at_mut(leg)) {
                Some(leg) => {
                    let held = leg.is_held();
                    leg.taps.push(Tap::new(index, channel));
                    self.recordings.at_mut(index)?.held[channel.index()] = held;
                }
                None => self.counters.drop(DropReason::Command),
            }
        }
        Some(())
    }

    fn start_recording(&mut self, now: Instant, index: usize) -> Option<()> {
        let recording = self.recordings.at_mut(index)?;
        if recording.track.start().is_some() {
            return None;
        }
        recording.track.begin(now);
        for channel in Channel::BOTH {
            if recording.held[channel.index()] {
                recording.track.side_mut(channel).held.begin(0);
            }
        }
        for leg in recording.legs.into_iter().flatten() {
            let Some(leg) = self.legs.at(leg) else {
                continue;
            };
            // The index may belong to another leg by now.
            let Some(tap) = leg.taps.iter().find(|tap| tap.recording == index) else {
                continue;
            };
            if let Some((place, end)) = leg.incoming.newest() {
                let ends = leg.incoming.ticks_after(now, end).unwrap_or(0);
                recording.track.side_mut(tap.channel).seed(place, ends);
            }
            if let Some(until) = leg.incoming.settling_until(now) {
                recording.track.settle(tap.channel, until);
            }
        }
        self.schedule_recording(now, index);
        Some(())
    }

    fn close_recording(&mut self, now: Instant, index: usize, payload: Bytes) -> Option<()> {
        let mut recording = self.recordings.remove(index)?;
        self.recording_index.remove(&recording.track.key());
        for leg in recording.legs.into_iter().flatten() {
            if let Some(leg) = self.legs.at_mut(leg) {
                leg.taps.retain(|tap| tap.recording != index);
            }
        }
        let (bench, entries) = (&mut self.bench, &mut self.entries);
        recording.track.close(now, payload, bench, entries);
        self.bench.free.narrow();
        Some(())
    }

    /// Commits what became final.
    pub(crate) fn wake_recording(&mut self, now: Instant, index: usize) {
        if let Some(recording) = self.recordings.at_mut(index) {
            let (bench, entries) = (&mut self.bench, &mut self.entries);
            recording.track.advance(now, bench, entries);
        }
        self.schedule_recording(now, index);
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

    fn keep_waiting(&mut self, entry: Entry) {
        match entry {
            Entry::Block(block) => self.refuse_block(block),
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

    /// A gap for a block of a recording that is closed already, joined with the one before it.
    fn refuse_last(&mut self, block: &Block) {
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
