//! The RTP session towards one peer: own source, numbers and time stamps, whatever is put into it.
//!
//! 1. A relayed packet keeps its distance from its neighbours: number and time stamp are moved by a
//!    constant, so loss, reordering and duplicates stay visible to the receiver.
//! 2. After something was injected or left out, or the other party's source changed, the constants
//!    are chosen anew so that numbers go on without a hole, and the marker bit is set.
//! 3. The time stamp's constant is kept over an injection where that keeps time stamps growing.

use std::time::Instant;

use duolog_rtp::packet::Marker;
use duolog_rtp::{ClockRate, RtpTimestamp, SeqNo, Ssrc};

use crate::command::LegIdentity;
use crate::incoming::Arrival;

/// Number, time stamp and marker of a packet to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) seq: SeqNo,
    pub(crate) timestamp: RtpTimestamp,
    pub(crate) marker: Marker,
}

/// Older than what was injected since: its number is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BehindInjection;

/// The last packet sent, in the order of numbers.
#[derive(Debug, Clone, Copy)]
struct Last {
    seq: SeqNo,
    timestamp: RtpTimestamp,
    at: Instant,
    samples: u32,
}

/// How relayed packets are moved.
#[derive(Debug, Clone, Copy)]
struct Through {
    /// Whose numbers these are: [`Arrival::run`].
    run: u32,
    seq_offset: u16,
    timestamp_offset: u32,
    /// Packets numbered below this are older than what was injected.
    floor: u64,
    /// The newest packet moved like this.
    newest: u64,
}

pub(crate) struct Outgoing {
    pub(crate) ssrc: Ssrc,
    first: (SeqNo, RtpTimestamp),
    last: Option<Last>,
    through: Option<Through>,
    /// Whether the next relayed packet needs new constants.
    broken: bool,
    /// Whether the last packet was injected: the next injected one is no beginning.
    injecting: bool,
}

impl Outgoing {
    pub(crate) fn new(identity: &LegIdentity) -> Outgoing {
        Outgoing {
            ssrc: identity.ssrc,
            first: (identity.seq, identity.timestamp),
            last: None,
            through: None,
            broken: false,
            injecting: false,
        }
    }

    /// Packets are left out of what is relayed; the receiver is not to take them for lost.
    pub(crate) fn leave_out(&mut self) {
        self.broken = true;
    }

    /// Another party is relayed from now on, with numbers of its own.
    pub(crate) fn begin_anew(&mut self) {
        self.through = None;
    }

    /// The stamp of a relayed packet whose time stamp and `samples` tell where it ends.
    #[inline]
    pub(crate) fn relay(
        &mut self,
        arrival: &Arrival,
        samples: u32,
        now: Instant,
    ) -> Result<Stamp, BehindInjection> {
        let through = match &mut self.through {
            Some(through) if !self.broken && through.run == arrival.run => through,
            _ => return self.relay_anew(arrival, samples, now),
        };
        if arrival.place.seq < through.floor {
            return Err(BehindInjection);
        }
        through.newest = through.newest.max(arrival.place.seq);
        // Numbers on the wire are modulo 2^16.
        let seq = SeqNo((arrival.place.seq as u16).wrapping_add(through.seq_offset));
        let timestamp = arrival.timestamp.plus(through.timestamp_offset);
        if self.last.is_none_or(|last| is_after(seq, last.seq)) {
            self.sent(seq, timestamp, now, samples);
        }
        self.injecting = false;
        Ok(Stamp {
            seq,
            timestamp,
            marker: Marker::Keep,
        })
    }

    #[cold]
    fn relay_anew(
        &mut self,
        arrival: &Arrival,
        samples: u32,
        now: Instant,
    ) -> Result<Stamp, BehindInjection> {
        let place = arrival.place;
        let old = self.through.filter(|through| through.run == arrival.run);
        if old.is_some_and(|old| place.seq <= old.newest) {
            return Err(BehindInjection);
        }
        let (seq, earliest) = self.next(now);
        let kept = old
            .map(|old| arrival.timestamp.plus(old.timestamp_offset))
            .filter(|&kept| self.goes_on_at(kept, now));
        let timestamp = kept.unwrap_or(earliest);
        let marker = match self.goes_on_in(timestamp) {
            true => Marker::Keep,
            false => Marker::Set,
        };
        self.through = Some(Through {
            run: arrival.run,
            seq_offset: seq.0.wrapping_sub(place.seq as u16),
            timestamp_offset: timestamp.0.wrapping_sub(arrival.timestamp.0),
            // What comes before the very first packet has room for its number.
            floor: if self.last.is_some() { place.seq } else { 0 },
            newest: place.seq,
        });
        self.broken = false;
        self.injecting = false;
        self.sent(seq, timestamp, now, samples);
        Ok(Stamp {
            seq,
            timestamp,
            marker,
        })
    }

    /// The stamp of a packet made here, due at `at`.
    pub(crate) fn inject(&mut self, samples: u32, at: Instant) -> Stamp {
        let (seq, timestamp) = self.next(at);
        self.injected(seq, timestamp, samples, at)
    }

    /// The time stamp a series of telephone-events begins at.
    pub(crate) fn begin_series(&self, at: Instant) -> RtpTimestamp {
        self.next(at).1
    }

    /// The stamp of a packet made here whose time stamp, that of instant `at`, is given.
    pub(crate) fn inject_at(&mut self, timestamp: RtpTimestamp, at: Instant) -> Stamp {
        let (seq, _) = self.next(at);
        self.injected(seq, timestamp, 0, at)
    }

    fn injected(
        &mut self,
        seq: SeqNo,
        timestamp: RtpTimestamp,
        samples: u32,
        at: Instant,
    ) -> Stamp {
        let marker = match self.injecting {
            true => Marker::Clear,
            false => Marker::Set,
        };
        self.injecting = true;
        self.broken = true;
        self.sent(seq, timestamp, at, samples);
        Stamp {
            seq,
            timestamp,
            marker,
        }
    }

    fn sent(&mut self, seq: SeqNo, timestamp: RtpTimestamp, at: Instant, samples: u32) {
        self.last = Some(Last {
            seq,
            timestamp,
            at,
            samples,
        });
    }

    /// The next number, and the time stamp of `at` that does not run into the last packet.
    fn next(&self, at: Instant) -> (SeqNo, RtpTimestamp) {
        let Some(last) = self.last else {
            return self.first;
        };
        let elapsed = ClockRate::HZ_8000.ticks_in(at.saturating_duration_since(last.at));
        // Modulo 2^32, as time stamps are.
        let step = (elapsed as u32).max(last.samples);
        (last.seq.next(), last.timestamp.plus(step))
    }

    /// Whether the last packet, which was relayed, had this time stamp: they are of one key.
    fn goes_on_in(&self, timestamp: RtpTimestamp) -> bool {
        let same = |last: Last| last.timestamp == timestamp;
        !self.injecting && self.last.is_some_and(same)
    }

    /// Whether `timestamp` is behind the last packet, and not by more than the time that passed
    /// allows.
    fn goes_on_at(&self, timestamp: RtpTimestamp, now: Instant) -> bool {
        let Some(last) = self.last else { return true };
        let elapsed = ClockRate::HZ_8000.ticks_in(now.saturating_duration_since(last.at));
        let step = i64::from(timestamp.since(last.timestamp));
        if self.goes_on_in(timestamp) {
            return true;
        }
        step > 0 && step >= i64::from(last.samples) && step <= elapsed as i64 + 8_000
    }
}

fn is_after(seq: SeqNo, last: SeqNo) -> bool {
    // Modulo 2^16 (RFC 1982): the shorter way round.
    seq.0.wrapping_sub(last.0) as i16 > 0
}
