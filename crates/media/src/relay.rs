//! The RTP session towards one peer: own source, numbers and time stamps, whatever is put into it.
//!
//! 1. A relayed packet keeps its distance from its neighbours: number and time stamp are moved by a
//!    constant, so loss, reordering and duplicates stay visible to the receiver.
//! 2. After something was injected or left out, or the other party's source changed, the constants
//!    are chosen anew so that numbers go on without a hole, and the marker bit is set.
//! 3. The time stamp's constant is kept over an injection where that keeps time stamps growing.
//! 4. Speech that is transcoded has numbers of its own, but its time stamps are moved by the constant
//!    of the packets it is made of: drift and silences stay visible.
//! 5. Where the clock changes with the payload type, time stamps go on in ticks of the new clock from
//!    the last one (RFC 7160 §4.1), and the marker bit is set.
//! 6. No number is used twice before all others were, unless a relayed packet came twice itself.

use std::time::Instant;

use duolog_rtp::packet::Marker;
use duolog_rtp::{ClockRate, RtpTimestamp, SeqNo, Ssrc};

use crate::command::LegIdentity;
use crate::incoming::Arrival;

/// Rows of packets that were made here are told from those that came by this bit of their name.
pub(crate) const MADE_HERE: u32 = 1 << 31;

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

/// A packet of another leg that is to be sent on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passing {
    /// Whose numbers these are: packets of one row compare.
    pub(crate) numbers: u32,
    pub(crate) seq: u64,
    /// Whose time stamps these are.
    pub(crate) run: u32,
    pub(crate) timestamp: RtpTimestamp,
    pub(crate) rate: ClockRate,
    /// How far behind the time stamp it ends.
    pub(crate) ticks: u32,
}

impl Passing {
    /// A packet as it came.
    #[inline]
    pub(crate) fn untouched(arrival: &Arrival, rate: ClockRate, ticks: u32) -> Passing {
        Passing {
            numbers: arrival.run,
            seq: arrival.place.seq,
            run: arrival.run,
            timestamp: arrival.timestamp,
            rate,
            ticks,
        }
    }
}

/// The last packet sent, in the order of numbers.
#[derive(Debug, Clone, Copy)]
struct Last {
    seq: SeqNo,
    timestamp: RtpTimestamp,
    at: Instant,
    ticks: u32,
    rate: ClockRate,
}

/// How relayed packets are moved.
#[derive(Debug, Clone, Copy)]
struct Through {
    numbers: u32,
    run: u32,
    rate: ClockRate,
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
    /// The key that is relayed with time stamps of its own: the other party's and ours.
    key: Option<(RtpTimestamp, RtpTimestamp)>,
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
            key: None,
        }
    }

    /// Packets are left out of what is relayed; the receiver is not to take them for lost.
    pub(crate) fn leave_out(&mut self) {
        self.broken = true;
    }

    /// Another party is relayed from now on, with numbers of its own.
    pub(crate) fn begin_anew(&mut self) {
        self.through = None;
        self.key = None;
    }

    /// Whether time stamps of this clock can be moved by the present constants: those of packets that
    /// pass as they are, or none yet.
    #[inline]
    pub(crate) fn moves(&self, rate: ClockRate) -> bool {
        self.through
            .is_none_or(|through| through.rate == rate && through.numbers & MADE_HERE == 0)
    }

    /// The clock of the last packet, and what it says at `now`, for reports.
    pub(crate) fn clock(&self, now: Instant) -> Option<(ClockRate, RtpTimestamp)> {
        let last = self.last?;
        let elapsed = last.rate.ticks_in(now.saturating_duration_since(last.at));
        // Modulo 2^32, as time stamps are.
        Some((last.rate, last.timestamp.plus(elapsed as u32)))
    }

    /// The stamp of a relayed packet.
    #[inline]
    pub(crate) fn relay(
        &mut self,
        packet: &Passing,
        now: Instant,
    ) -> Result<Stamp, BehindInjection> {
        let through = match &mut self.through {
            Some(through)
                if !self.broken
                    && through.numbers == packet.numbers
                    && through.rate == packet.rate =>
            {
                through
            }
            _ => return self.relay_anew(packet, now),
        };
        if packet.seq < through.floor {
            return Err(BehindInjection);
        }
        through.newest = through.newest.max(packet.seq);
        // Numbers on the wire are modulo 2^16.
        let seq = SeqNo((packet.seq as u16).wrapping_add(through.seq_offset));
        let timestamp = packet.timestamp.plus(through.timestamp_offset);
        if self.last.is_none_or(|last| is_after(seq, last.seq)) {
            self.sent(seq, timestamp, now, (packet.ticks, packet.rate));
        }
        self.injecting = false;
        Ok(Stamp {
            seq,
            timestamp,
            marker: Marker::Keep,
        })
    }

    #[cold]
    fn relay_anew(&mut self, packet: &Passing, now: Instant) -> Result<Stamp, BehindInjection> {
        let old = self.through;
        let same_row = old.filter(|old| old.numbers == packet.numbers);
        if same_row.is_some_and(|old| packet.seq <= old.newest) {
            return Err(BehindInjection);
        }
        let (seq, earliest) = self.next(now, packet.rate);
        let kept = old
            .filter(|old| old.run == packet.run && old.rate == packet.rate)
            .map(|old| packet.timestamp.plus(old.timestamp_offset))
            .filter(|&kept| self.goes_on_at(kept, now, packet.rate));
        let timestamp = kept.unwrap_or(earliest);
        let marker = match self.goes_on_in(timestamp) {
            true => Marker::Keep,
            false => Marker::Set,
        };
        self.through = Some(Through {
            numbers: packet.numbers,
            run: packet.run,
            rate: packet.rate,
            seq_offset: seq.0.wrapping_sub(packet.seq as u16),
            timestamp_offset: timestamp.0.wrapping_sub(packet.timestamp.0),
            // What comes before the very first packet has room for its number.
            floor: if self.last.is_some() { packet.seq } else { 0 },
            newest: packet.seq,
        });
        self.broken = false;
        self.injecting = false;
        self.sent(seq, timestamp, now, (packet.ticks, packet.rate));
        Ok(Stamp {
            seq,
            timestamp,
            marker,
        })
    }

    /// The stamp of a relayed key's packet that no constant can move: its clock is not that of the
    /// speech around it, or that speech is transcoded. `press` names the key.
    pub(crate) fn relay_key(
        &mut self,
        press: RtpTimestamp,
        (ticks, rate): (u32, ClockRate),
        now: Instant,
    ) -> Stamp {
        let (seq, earliest) = self.next(now, rate);
        let known = self.key.filter(|&(known, _)| known == press);
        let timestamp = known.map_or(earliest, |(_, ours)| ours);
        let marker = match known {
            Some(_) => Marker::Clear,
            None => Marker::Set,
        };
        self.key = Some((press, timestamp));
        self.broken = true;
        self.injecting = false;
        self.sent(seq, timestamp, now, (ticks, rate));
        Stamp {
            seq,
            timestamp,
            marker,
        }
    }

    /// The stamp of a packet made here of `ticks` of a clock of `rate`, due at `at`.
    pub(crate) fn inject(&mut self, (ticks, rate): (u32, ClockRate), at: Instant) -> Stamp {
        let (seq, timestamp) = self.next(at, rate);
        self.injected(seq, timestamp, (ticks, rate), at)
    }

    /// The time stamp a series of telephone-events begins at.
    pub(crate) fn begin_series(&self, at: Instant, rate: ClockRate) -> RtpTimestamp {
        self.next(at, rate).1
    }

    /// The stamp of a packet made here whose time stamp, that of instant `at`, is given.
    pub(crate) fn inject_at(
        &mut self,
        timestamp: RtpTimestamp,
        at: Instant,
        rate: ClockRate,
    ) -> Stamp {
        let (seq, _) = self.next(at, rate);
        self.injected(seq, timestamp, (0, rate), at)
    }

    fn injected(
        &mut self,
        seq: SeqNo,
        timestamp: RtpTimestamp,
        length: (u32, ClockRate),
        at: Instant,
    ) -> Stamp {
        let marker = match self.injecting {
            true => Marker::Clear,
            false => Marker::Set,
        };
        self.injecting = true;
        self.broken = true;
        self.sent(seq, timestamp, at, length);
        Stamp {
            seq,
            timestamp,
            marker,
        }
    }

    fn sent(
        &mut self,
        seq: SeqNo,
        timestamp: RtpTimestamp,
        at: Instant,
        (ticks, rate): (u32, ClockRate),
    ) {
        self.last = Some(Last {
            seq,
            timestamp,
            at,
            ticks,
            rate,
        });
    }

    /// The next number, and the time stamp of `at` that does not run into the last packet.
    fn next(&self, at: Instant, rate: ClockRate) -> (SeqNo, RtpTimestamp) {
        let Some(last) = self.last else {
            return self.first;
        };
        let elapsed = rate.ticks_in(at.saturating_duration_since(last.at));
        // Modulo 2^32, as time stamps are.
        let step = (elapsed as u32).max(last.ticks_of(rate));
        (last.seq.next(), last.timestamp.plus(step))
    }

    /// Whether the last packet, which was relayed, had this time stamp: they are of one key.
    fn goes_on_in(&self, timestamp: RtpTimestamp) -> bool {
        let same = |last: Last| last.timestamp == timestamp;
        !self.injecting && self.last.is_some_and(same)
    }

    /// Whether `timestamp` is behind the last packet, and not by more than the time that passed
    /// allows.
    fn goes_on_at(&self, timestamp: RtpTimestamp, now: Instant, rate: ClockRate) -> bool {
        let Some(last) = self.last else { return true };
        if last.rate != rate {
            return false;
        }
        let elapsed = rate.ticks_in(now.saturating_duration_since(last.at));
        let step = i64::from(timestamp.since(last.timestamp));
        if self.goes_on_in(timestamp) {
            return true;
        }
        let furthest = elapsed as i64 + i64::from(rate.hz());
        step > 0 && step >= i64::from(last.ticks) && step <= furthest
    }
}

impl Last {
    /// How long the packet was, in ticks of a clock of `rate`.
    fn ticks_of(&self, rate: ClockRate) -> u32 {
        match self.rate == rate {
            true => self.ticks,
            // A packet is at most a few seconds long: far below 2^32 ticks of any clock.
            false => {
                let ticks = u64::from(self.ticks) * u64::from(rate.hz());
                ticks.div_ceil(u64::from(self.rate.hz())) as u32
            }
        }
    }
}

fn is_after(seq: SeqNo, last: SeqNo) -> bool {
    // Modulo 2^16 (RFC 1982): the shorter way round.
    seq.0.wrapping_sub(last.0) as i16 > 0
}
