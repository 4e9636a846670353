//! Which legs feed a recording, and what changes when that does.
//!
//! 1. A side has one leg at a time, and a leg has one tap for each recording that it feeds.
//! 2. A recording knows a leg by its index as long as the leg has a tap for it, and no longer.

use std::time::Instant;

use bytes::Bytes;
use duolog_audio::g711::Law;

use crate::command::Keeping;
use crate::counters::DropReason;
use crate::leg::Leg;
use crate::outbox::{Channel, Entry};
use crate::record::Recording;
use crate::shard::Shard;
use crate::tap::Tap;
use crate::track::{Feeder, Layout, StreamQuality, Track};
use crate::{LegKey, RecordingKey};

impl Recording {
    /// A party went on hold, or came back.
    pub(crate) fn hold(&mut self, channel: Channel, held: bool, now: Instant) {
        self.held[channel.index()] = held;
        if self.track.start().is_none() {
            return;
        }
        let position = self.track.position(now);
        let stretches = &mut self.track.side_mut(channel).feed_mut().held;
        match held {
            true => stretches.begin(position),
            false => stretches.end(position),
        }
    }

    /// From `now` on a leg feeds one channel, or would if the recording had started.
    fn join(&mut self, now: Instant, index: usize, channel: Channel, leg: (usize, &mut Leg)) {
        let (leg_index, leg) = leg;
        let (feed, _) = self.track.turn(channel, now, Feeder::Leg);
        leg.taps.push(Tap::new(index, channel, feed));
        self.legs[channel.index()] = Some(leg_index);
        self.held[channel.index()] = leg.is_held();
        self.begin_feed(now, channel, leg);
    }

    /// What a leg sent so far came before its feed, which begins now, and what it sends may still move.
    fn begin_feed(&mut self, now: Instant, channel: Channel, leg: &Leg) {
        let Some(start) = self.track.start() else {
            return;
        };
        let position = self.track.position(now);
        let feed = self.track.side_mut(channel).feed_mut();
        if self.held[channel.index()] {
            feed.held.begin(position);
        }
        if let Some((place, end)) = leg.incoming.newest() {
            feed.seed(place, leg.incoming.ticks_after(start, end).unwrap_or(0));
        }
        if let Some(until) = leg.incoming.settling_until(now) {
            self.track.settle(channel, until);
        }
    }
}

impl Shard {
    pub(crate) fn open_recording(
        &mut self,
        now: Instant,
        key: RecordingKey,
        (owner, other): (LegKey, Option<LegKey>),
        (keeping, payload): (Keeping, Bytes),
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
        let track = Track::new(key, law, layout);
        let index = self.recordings.insert(Recording::new(track));
        self.recording_index.insert(key, index);
        self.bench.free.widen();
        self.timers.reserve(self.legs.len() + self.recordings.len());
        self.entries.push(Entry::Open {
            recording: key,
            at: now,
            keeping,
            payload,
        });
        let sides = Channel::BOTH.into_iter().zip(wanted).zip(legs);
        for ((channel, wanted), leg) in sides {
            match (wanted, leg) {
                (_, Some(_)) => self.feed(now, index, channel, leg),
                (Some(wanted), None) => self.expect_leg(now, index, channel, wanted),
                (None, None) => {}
            }
        }
        Some(())
    }

    /// A recording may be opened before its legs; nobody is on a channel whose leg never opens.
    fn expect_leg(&mut self, now: Instant, index: usize, channel: Channel, leg: LegKey) {
        if let Some(recording) = self.recordings.at_mut(index) {
            recording.track.turn(channel, now, Feeder::Nobody);
            recording.expected[channel.index()] = Some(leg);
            self.expected.entry(leg).or_default().push(index);
        }
    }

    /// A leg has opened: recordings that expected it have it.
    pub(crate) fn join_recordings(&mut self, now: Instant, key: LegKey, leg: usize) {
        for index in self.expected.remove(&key).unwrap_or_default() {
            for channel in Channel::BOTH {
                let recording = self.recordings.at_mut(index);
                let expected = recording.map(|recording| &mut recording.expected[channel.index()]);
                if expected
                    .and_then(|leg| leg.take_if(|leg| *leg == key))
                    .is_some()
                {
                    self.feed(now, index, channel, Some(leg));
                }
            }
        }
    }

    /// A channel expects no leg any more.
    fn expect_nobody(&mut self, index: usize, leg: Option<LegKey>) {
        let Some(leg) = leg else { return };
        if let Some(recordings) = self.expected.get_mut(&leg) {
            recordings.retain(|recording| *recording != index);
            if recordings.is_empty() {
                self.expected.remove(&leg);
            }
        }
    }

    /// The recording begins: what its legs sent so far came before it.
    pub(crate) fn begin_feeds(&mut self, now: Instant, index: usize) -> Option<()> {
        let recording = self.recordings.at_mut(index)?;
        for (channel, leg) in Channel::BOTH.into_iter().zip(recording.legs) {
            if let Some(leg) = leg.and_then(|leg| self.legs.at(leg)) {
                recording.begin_feed(now, channel, leg);
            }
        }
        Some(())
    }

    /// From `now` on channel 2 is another leg's party, or nobody's.
    pub(crate) fn turn_recording(
        &mut self,
        now: Instant,
        index: usize,
        other: Option<LegKey>,
    ) -> Option<()> {
        let leg = other.map(|key| self.leg_index.get(&key).copied());
        let recording = self.recordings.at(index)?;
        let [owner, before] = recording.legs;
        let found = leg.flatten();
        if recording.track.layout() == Layout::Mixed || found.is_some() && found == owner {
            return None;
        }
        if before.is_some() && found == before {
            return Some(());
        }
        self.leave(now, index, Channel::Other);
        if leg.is_some() {
            self.feed(now, index, Channel::Other, found);
        }
        Some(())
    }

    /// A leg begins to feed a side that nobody feeds; one that is gone is counted.
    fn feed(&mut self, now: Instant, index: usize, channel: Channel, leg: Option<usize>) {
        let Some(recording) = self.recordings.at_mut(index) else {
            return;
        };
        let leg = leg.and_then(|leg| Some((leg, self.legs.at_mut(leg)?)));
        match leg {
            Some(leg) => recording.join(now, index, channel, leg),
            None => {
                recording.track.turn(channel, now, Feeder::Nobody);
                self.counters.drop(DropReason::Command);
            }
        }
    }

    /// Nobody feeds a side any more; what is known of its leg's stream is remembered.
    fn leave(&mut self, now: Instant, index: usize, channel: Channel) {
        let Some(recording) = self.recordings.at_mut(index) else {
            return;
        };
        let (_, packets) = recording.track.turn(channel, now, Feeder::Nobody);
        recording.held[channel.index()] = false;
        let expected = recording.expected[channel.index()].take();
        let leg = recording.legs[channel.index()].take();
        if let Some(leg) = leg.and_then(|leg| self.legs.at_mut(leg)) {
            recording.quality[channel.index()].add(&quality(leg), packets);
            leg.taps.retain(|tap| tap.recording != index);
        }
        self.expect_nobody(index, expected);
    }

    /// A leg ends: its recordings go on without it.
    pub(crate) fn leave_recordings(&mut self, now: Instant, leg: usize) {
        while let Some(tap) = self.legs.at_mut(leg).and_then(|leg| leg.taps.pop()) {
            self.leave(now, tap.recording, tap.channel);
        }
    }

    /// A recording ends: how the streams of all its legs were on their way.
    pub(crate) fn part(&mut self, index: usize, mut recording: Recording) -> Recording {
        for channel in Channel::BOTH {
            let leg = recording.legs[channel.index()].take();
            if let Some(leg) = leg.and_then(|leg| self.legs.at_mut(leg)) {
                let packets = recording.track.side_mut(channel).feed_mut().seen.received;
                recording.quality[channel.index()].add(&quality(leg), packets);
                leg.taps.retain(|tap| tap.recording != index);
            }
            self.expect_nobody(index, recording.expected[channel.index()].take());
        }
        recording
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
