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
use duolog_audio::g711::Law;

use crate::command::RecordingCommand;
use crate::counters::DropReason;
use crate::leg::Leg;
use crate::outbox::{Channel, Entry, Event, Outbox};
use crate::shard::Shard;
use crate::tap::Tap;
use crate::timers::{Alarm, Timer};
use crate::track::{Block, GapReason, Layout, SkewHistogram, StreamQuality, Track};
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
    /// The legs that feed the two sides, as long as they exist.
    legs: [Option<usize>; 2],
    held: [bool; 2],
    pub(crate) alarm: Alarm,
    /// Of legs that ended before the recording.
    quality: Box<[StreamQuality; 2]>,
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
        (owner, other): (LegKey, Option<LegKey>),
        payload: Bytes,
    ) -> Option<()> {
        if self.recording_index.contains_key(&key) || other == Some(owner) {
            return None;
        }
        let layout = match other {
            Some(_) => Layout::Apart,
            None => Layout::Mixed,
        };
        let wanted = [Some(owner), other];
        let legs = wanted.map(|leg| self.leg_index.get(&leg?).copied());
        let law = legs
            .iter()
            .flatten()
            .find_map(|&leg| self.legs.at(leg)?.peer.as_ref()?.formats.speech())
            .and_then(|(_, codec)| codec.law())
            .unwrap_or(Law::Mulaw);
        let index = self.recordings.insert(Recording {
            track: Track::new(key, law, layout),
            legs,
            held: [false; 2],
            alarm: Alarm::default(),
            quality: Box::default(),
            skew: Box::default(),
            skew_at: SKEW_EVERY,
        });
        self.recording_index.insert(key, index);
        self.bench.free.widen();
        self.timers.reserve(self.legs.len() + self.recordings.len());
        self.entries.push(Entry::Open {
            recording: key,
            at: now,
            payload,
        });
        let sides = Channel::BOTH.into_iter().zip(wanted).zip(legs);
        for ((channel, _), leg) in sides.filter(|((_, wanted), _)| wanted.is_some()) {
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
            let Some(leg) = self.legs.at_mut(leg) else {
                continue;
            };
            if let Some(tap) = leg.taps.iter().find(|tap| tap.recording == index) {
                recording.quality[tap.channel.index()] = quality(leg);
            }
            leg.taps.retain(|tap| tap.recording != index);
        }
        let (bench, entries) = (&mut self.bench, &mut self.entries);
        let measured = (*recording.quality, recording.skew.skew());
        recording
            .track
            .close((now, payload), measured, bench, entries);
        self.bench.free.narrow();
        Some(())
    }

    /// A leg ends: its recordings go on without it and remember how its stream was.
    pub(crate) fn leave_recordings(&mut self, leg: &Leg) {
        for tap in &leg.taps {
            if let Some(recording) = self.recordings.at_mut(tap.recording) {
                recording.quality[tap.channel.index()] = quality(leg);
            }
        }
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
        let residuals = recording.legs.map(|leg| {
            let leg = self.legs.at(leg?)?;
            // The index may belong to another leg by now.
            leg.taps.iter().find(|tap| tap.recording == index)?;
            residual(leg)
        });
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

/// How a leg's incoming stream was on its way so far.
fn quality(leg: &Leg) -> StreamQuality {
    let incoming = &leg.incoming;
    let reported = leg.rtcp.peer();
    StreamQuality {
        drift_ppm: incoming.timeline().drift_ppm(),
        jitter_ms: incoming.source().map(|source| {
            let ticks = f64::from(source.figures().jitter_ticks);
            ticks * 1_000.0 / f64::from(incoming.timeline().rate().hz())
        }),
        round_trip_ms: reported
            .and_then(|peer| peer.round_trip)
            .map(|time| time.as_secs_f64() * 1_000.0),
        reported_loss: reported.map(|peer| f64::from(peer.fraction_lost) / 256.0),
        mos: None,
    }
}

/// What is left of a leg's transit when its time line has accounted for drift, in nanoseconds.
fn residual(leg: &Leg) -> Option<i64> {
    leg.incoming.timeline().residual()
}
