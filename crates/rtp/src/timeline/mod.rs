//! Places a source's time stamps in time, in ticks of 1/8000 s whatever its clock's rate is.
//!
//! 1. The first packet of a source is believed to have taken no time: its arrival is the base. A packet
//!    is sent when its last sample was spoken, so one longer than 20 ms counts as that much earlier.
//! 2. For 200 ms every packet that came faster moves the base earlier (the least delay is the one
//!    nearest the truth); each move is reported in whole ticks, so that what is not yet committed can
//!    be moved by exactly as much.
//! 3. Then the base is frozen: from there on the sender's clock alone says where a packet belongs.
//! 4. Unless that clock drifts. Its deviation is told from the quickest packets; once it is more
//!    than 3 ms and four times what is not known of it, positions follow it by one tick a packet, or at
//!    once behind a silence of 100 ms. Packets placed before stay, also for those that come late.
//! 5. A new SSRC starts again at 1, and so does a clock that was set: a time stamp more than a second
//!    from its arrival; or more than 200 ms if it came before its time or went backwards. A silence
//!    does not: a time stamp that went on with the wall clock lies where it arrived.
//! 6. A clock that stood still during a silence (time stamps go on without a hole, and more than 200 ms
//!    behind) is placed by arrival again: at once if it is more than a second behind, else when the
//!    packets of the next 200 ms came as late. Should those held back come after all, it was a stall,
//!    and the line is again exactly the one that was left.

mod anchor;
mod drift;
mod fit;
mod line;
mod sender;

use std::time::{Duration, Instant};

use anchor::{Anchor, TICK_NS, Verdict, shifted};
use fit::Fit;
use line::Line;
pub use sender::SenderClock;

use crate::rtcp::NtpTime;
use crate::{ClockRate, MediaTime, RtpTimestamp, Ssrc};

/// How long after a source's first packet the least transit is looked for, and the time line may move.
pub const SETTLING: Duration = Duration::from_millis(200);
/// First extended time stamp of an anchor: one wrap up, so that older packets have one too.
const FIRST_CYCLE: i64 = 1 << 32;

/// Why the time line was anchored anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reanchoring {
    /// First packet at all.
    First,
    /// Another SSRC.
    NewSource,
    /// Time stamp and arrival disagreed by more than a network explains.
    Jump,
    /// The time stamps stood still during a silence.
    Stopped,
    /// Another clock rate, and not where the last packet ended.
    NewRate,
}

/// What a packet did to the time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: everything stays where it was placed.
    Steady,
    /// Every packet of this anchor, placed before or to be placed, lies this many ticks of 1/8000 s
    /// earlier.
    Shift {
        /// Ticks, at least 1.
        ticks: u64,
    },
    /// Positions before and after have no relation but arrival.
    Reanchored(Reanchoring),
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its time stamp with wraps counted.
    pub media_time: MediaTime,
    /// What it did to the time line.
    pub change: Change,
}

/// Whether a sender's clock that runs fast or slow is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DriftCorrection {
    /// Positions follow the receiver's clock.
    #[default]
    On,
    /// Positions follow the sender's time stamps alone; the drift is only measured.
    Off,
}

/// What was corrected for drift since the time line was made, over all its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Corrections {
    /// Ticks of 1/8000 s put between packets, because their clock was slow.
    pub inserted_ticks: u64,
    /// Ticks of 1/8000 s taken from packets, because their clock was fast.
    pub dropped_ticks: u64,
    /// When the first packet was moved.
    pub first_at: Option<Instant>,
    /// When the last packet was moved.
    pub last_at: Option<Instant>,
}

/// How the first packet of another clock rate follows the last of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Follows {
    /// Its number is the next one, and the last packet was placed by [`Timeline::update`].
    Directly,
    /// Anything else.
    Otherwise,
}

/// The map from one source's media clock to the receiver's time.
#[derive(Debug, Clone)]
pub struct Timeline {
    rate: ClockRate,
    correction: DriftCorrection,
    anchor: Option<Anchor>,
    corrections: Corrections,
    /// Of the last anchor whose drift was measured, where the present one's is not.
    drift_before: Option<f64>,
    reports: sender::Reports,
}

/// A packet as it was given.
#[derive(Clone, Copy)]
struct Given {
    ssrc: Ssrc,
    timestamp: RtpTimestamp,
    arrival: Instant,
    duration_ticks: u32,
}

impl Timeline {
    /// A time line without an anchor, that follows drift.
    pub fn new(rate: ClockRate) -> Self {
        Self {
            rate,
            correction: DriftCorrection::On,
            anchor: None,
            corrections: Corrections::default(),
            drift_before: None,
            reports: sender::Reports::default(),
        }
    }

    /// Switches the correction of drift, from the next anchor on.
    pub fn set_drift_correction(&mut self, correction: DriftCorrection) {
        self.correction = correction;
    }

    /// The media clock that time stamps are taken for.
    pub fn rate(&self) -> ClockRate {
        self.rate
    }

    /// Takes the next packet, `duration_ticks` of the media clock long (0: not known). Allocates
    /// nothing.
    ///
    /// Only for packets that carried their source on (`Kind::New`, `Kind::Restarted` of
    /// [`crate::source`]) and whose time stamp is their own sampling instant. Reordered packets and
    /// telephone-events (whose time stamp is that of the press, RFC 4733 §2.2) are late by nature:
    /// ask [`Timeline::instant_of`] or [`Timeline::ticks_after`] for them.
    #[inline]
    pub fn update(
        &mut self,
        ssrc: Ssrc,
        timestamp: RtpTimestamp,
        arrival: Instant,
        duration_ticks: u32,
    ) -> Placed {
        let rate = self.rate;
        let given = Given {
            ssrc,
            timestamp,
            arrival,
            duration_ticks,
        };
        let Some(anchor) = &mut self.anchor else {
            return self.reanchor(given, None, Reanchoring::First);
        };
        if anchor.ssrc != ssrc {
            return self.reanchor(given, None, Reanchoring::NewSource);
        }
        let heard = anchor.hear(timestamp, arrival, duration_ticks);
        if anchor.is_astray(&heard) {
            let change = match anchor.judge(&heard) {
                Verdict::Delayed => None,
                Verdict::Jumped => {
                    let known = anchor.fit();
                    return self.reanchor(given, known, Reanchoring::Jump);
                }
                Verdict::Stood => {
                    anchor.stand(&heard);
                    Some(Reanchoring::Stopped)
                }
                Verdict::Stalled => {
                    anchor.unstand(&heard);
                    Some(Reanchoring::Jump)
                }
            };
            if let Some(why) = change {
                return placed(heard.ext, rate, Change::Reanchored(why));
            }
        }
        let change = match anchor.take(&heard, &mut self.corrections) {
            0 => Change::Steady,
            ticks => Change::Shift { ticks },
        };
        placed(heard.ext, rate, change)
    }

    /// Takes the first packet of a clock of another rate (RFC 7160), for which [`Timeline::update`] is
    /// meant otherwise. One that follows directly begins where the last packet ended, if it arrived
    /// within 100 ms of that: nothing moves, and the drift stays known. Any other is placed by arrival.
    pub fn switch_rate(
        &mut self,
        rate: ClockRate,
        follows: Follows,
        ssrc: Ssrc,
        timestamp: RtpTimestamp,
        arrival: Instant,
        duration_ticks: u32,
    ) -> Placed {
        self.rate = rate;
        let given = Given {
            ssrc,
            timestamp,
            arrival,
            duration_ticks,
        };
        let known = match &mut self.anchor {
            Some(anchor) if anchor.ssrc == ssrc => {
                let first = FIRST_CYCLE + i64::from(timestamp.0);
                if follows == Follows::Directly
                    && let Some(heard) = anchor.switch(rate, first, arrival, duration_ticks)
                {
                    anchor.take(&heard, &mut self.corrections);
                    return placed(first, rate, Change::Steady);
                }
                anchor.fit()
            }
            Some(_) => return self.reanchor(given, None, Reanchoring::NewSource),
            None => return self.reanchor(given, None, Reanchoring::First),
        };
        self.reanchor(given, known, Reanchoring::NewRate)
    }

    #[cold]
    fn reanchor(&mut self, given: Given, known: Option<Fit>, why: Reanchoring) -> Placed {
        self.drift_before = self.drift_ppm();
        if why == Reanchoring::NewSource {
            self.reports.restart();
        }
        let first = FIRST_CYCLE + i64::from(given.timestamp.0);
        self.anchor = Some(Anchor::new(
            given.ssrc,
            Line::new(self.rate, first, 0),
            (given.arrival, given.duration_ticks),
            (self.correction, known),
        ));
        placed(first, self.rate, Change::Reanchored(why))
    }

    /// When a time stamp of the current anchor was sampled, in the receiver's time, the least transit
    /// seen counted as none; `None` before the first packet.
    pub fn instant_of(&self, timestamp: RtpTimestamp) -> Option<Instant> {
        let anchor = self.anchor.as_ref()?;
        let position = anchor.position_in(self.rate, timestamp)?;
        Some(shifted(anchor.base, position.saturating_mul(TICK_NS)))
    }

    /// Ticks of 1/8000 s from `origin` to a time stamp of the current anchor, negative before `origin`;
    /// `None` before the first packet. Differences between two answers are exactly those of the time
    /// stamps, but for what was corrected between them.
    #[inline]
    pub fn ticks_after(&self, origin: Instant, timestamp: RtpTimestamp) -> Option<i64> {
        let anchor = self.anchor.as_ref()?;
        let position = anchor.line.position(anchor.line.now.extend(timestamp));
        Some(ticks_between(origin, anchor.base) + position)
    }

    /// As [`Timeline::ticks_after`], for a time stamp of a clock of `rate`: the present one, or the one
    /// before a switch that moved nothing. `None` for any other.
    #[inline]
    pub fn ticks_after_at(
        &self,
        rate: ClockRate,
        origin: Instant,
        timestamp: RtpTimestamp,
    ) -> Option<i64> {
        let anchor = self.anchor.as_ref()?;
        let position = anchor.position_in(rate, timestamp)?;
        Some(ticks_between(origin, anchor.base) + position)
    }

    /// What was corrected for drift.
    pub fn corrections(&self) -> Corrections {
        self.corrections
    }

    /// How fast the sender's clock runs against the receiver's, in parts per million; positive is
    /// fast. `None` until four floors of some anchor (20 s of speech or more) have been measured.
    pub fn drift_ppm(&self) -> Option<f64> {
        let present = self.anchor.as_ref().and_then(Anchor::drift_ppm);
        present.or(self.drift_before)
    }

    /// How far the newest packet's position is taken to be from where its sender's drift puts it, in
    /// nanoseconds; positive: it ought to lie later. `None` while the drift is not known.
    pub fn residual(&self) -> Option<i64> {
        self.anchor.as_ref().and_then(Anchor::residual_ns)
    }

    /// Takes what a sender report of the current source says: that `timestamp` was sampled at `ntp` on
    /// its sender's wall clock (RFC 3550 §6.4.1). Others are left out. It moves nothing.
    pub fn sender_report(&mut self, ssrc: Ssrc, ntp: NtpTime, timestamp: RtpTimestamp) {
        if self
            .anchor
            .as_ref()
            .is_some_and(|anchor| anchor.ssrc == ssrc)
            && let Some(placed) = self.instant_of(timestamp)
        {
            self.reports.take(ntp, placed);
        }
    }

    /// How the peer's sender reports agree with the time line; `None` before the first.
    pub fn sender_clock(&self) -> Option<SenderClock> {
        self.reports.figures()
    }
}

impl Corrections {
    fn add(&mut self, ticks: i64, at: Instant) {
        match ticks < 0 {
            true => self.dropped_ticks += ticks.unsigned_abs(),
            false => self.inserted_ticks += ticks.unsigned_abs(),
        }
        self.first_at.get_or_insert(at);
        self.last_at = Some(at);
    }
}

#[inline]
fn placed(ext: i64, rate: ClockRate, change: Change) -> Placed {
    Placed {
        media_time: MediaTime {
            // One wrap up from the start, and never a wrap back.
            ticks: ext as u64,
            rate,
        },
        change,
    }
}

/// Whole ticks of 1/8000 s from `origin` to `base`, rounded toward zero.
#[inline]
fn ticks_between(origin: Instant, base: Instant) -> i64 {
    let ticks_in = |time| ClockRate::HZ_8000.ticks_in(time) as i64;
    match base.checked_duration_since(origin) {
        Some(after) => ticks_in(after),
        None => -ticks_in(origin.saturating_duration_since(base)),
    }
}

/// Nanoseconds from `earlier` to `later`, negative if they are the other way round; saturates.
#[inline]
fn signed_ns(later: Instant, earlier: Instant) -> i64 {
    fn nanos(time: Duration) -> i64 {
        let whole = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        whole
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::from(time.subsec_nanos()))
    }
    match later.checked_duration_since(earlier) {
        Some(time) => nanos(time),
        None => -nanos(earlier.saturating_duration_since(later)),
    }
}

#[cfg(test)]
mod tests;
