//! One source's line from where it was anchored: judging arrivals against it, and following its drift.

mod astray;

use std::time::{Duration, Instant};

use astray::Stood;
pub(super) use astray::Verdict;

use super::drift::Drift;
use super::fit::Fit;
use super::line::{Line, Segment};
use super::{Corrections, DriftCorrection, signed_ns};
use crate::{ClockRate, RtpTimestamp, Ssrc};

/// One position of a recording: 1/8000 s.
pub(super) const TICK_NS: i64 = 125_000;
/// A packet is taken to have been sent when its last sample was spoken; the length for which that
/// makes no difference.
const USUAL_PACKET_NS: i64 = 20_000_000;
const SETTLING_NS: i64 = super::SETTLING.as_nanos() as i64;
/// A time stamp further than this from its arrival has a new base if no network explains it.
const OUT_OF_STEP_NS: i64 = 200_000_000;
/// Deviations up to this stay as they are.
const DEAD_BAND_NS: f64 = 3e6;
/// How many times its own uncertainty a deviation has to have.
const CERTAINTY: f64 = 4.0;
/// A hole in the time stamps from this length on (100 ms) hides a correction of any size.
const SILENCE: i64 = 800;
/// After this time packets that were held back will not come any more.
const DOUBT_NS: i64 = 10_000_000_000;
/// A new clock begins where the old one ended if its first packet came within this of it.
const AGREES_NS: i64 = 100_000_000;
const NEVER: i64 = i64::MAX;
const ALWAYS: i64 = i64::MIN;

#[derive(Debug, Clone)]
pub(super) struct Anchor {
    pub(super) ssrc: Ssrc,
    /// Zero of all nanoseconds here: when the first packet came.
    pub(super) base: Instant,
    pub(super) line: Line,
    /// The line before the clock's rate changed.
    earlier: Option<Segment>,
    /// When the line's base was sampled, had the clock no drift.
    lead_ns: i64,
    /// Extended time stamp where the newest packet ends, and when it came.
    ends: i64,
    heard_ns: i64,
    settles_until_ns: i64,
    /// Arrivals further from their place are judged.
    tolerance_ns: i64,
    /// The line before the clock stood still, as long as that may have been a stall.
    stood: Option<Stood>,
    /// When the clock may have stood still, and how late the packet was.
    doubt: Option<(i64, i64)>,
    correction: DriftCorrection,
    drift: Drift,
    /// Deviation that arrivals are judged against: as of the last floor.
    deviation_ns: i64,
    /// When the deviation leaves the dead band; `ALWAYS` while it is being corrected.
    correct_at_ns: i64,
}

/// A packet in the units of its anchor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) ext: i64,
    pub(super) length: i64,
    pub(super) now_ns: i64,
    /// How much later it came than its sampling instant without drift, against the first packet.
    pub(super) late_ns: i64,
}

impl Anchor {
    pub(super) fn new(
        ssrc: Ssrc,
        line: Line,
        (arrival, length): (Instant, u32),
        (correction, known): (DriftCorrection, Option<Fit>),
    ) -> Anchor {
        let Segment { rate, base, .. } = line.now;
        let longer = longer_ns(rate, i64::from(length));
        let mut anchor = Anchor {
            ssrc,
            base: shifted(arrival, -longer),
            line,
            earlier: None,
            lead_ns: 0,
            ends: base + i64::from(length),
            heard_ns: 0,
            settles_until_ns: SETTLING_NS,
            tolerance_ns: OUT_OF_STEP_NS,
            stood: None,
            doubt: None,
            correction,
            drift: Drift::new(0, 0, known),
            deviation_ns: 0,
            correct_at_ns: NEVER,
        };
        anchor.plan();
        anchor
    }

    /// A packet in the units of this anchor.
    #[inline]
    pub(super) fn hear(&self, timestamp: RtpTimestamp, arrival: Instant, length: u32) -> Heard {
        let (line, length) = (&self.line.now, i64::from(length));
        let ext = line.extend(timestamp);
        let now_ns = signed_ns(arrival, self.base).saturating_sub(longer_ns(line.rate, length));
        let sampled_ns = self.lead_ns + line.rate.nanos_of(ext - line.base);
        Heard {
            ext,
            length,
            now_ns,
            late_ns: now_ns.saturating_sub(sampled_ns),
        }
    }

    /// Whether an arrival is too far from its place to be taken without a second look.
    #[inline]
    pub(super) fn is_astray(&self, heard: &Heard) -> bool {
        let off_ns = heard.late_ns.saturating_sub(self.deviation_ns);
        off_ns.unsigned_abs() > self.tolerance_ns as u64
    }

    /// Takes a packet where the line puts it. By how many ticks the whole line moved earlier.
    #[inline]
    pub(super) fn take(&mut self, heard: &Heard, totals: &mut Corrections) -> u64 {
        let &Heard { ext, now_ns, .. } = heard;
        let hole = ext - self.ends;
        self.advance(heard);
        if now_ns <= self.settles_until_ns && heard.late_ns <= -TICK_NS {
            return self.settle(heard);
        }
        if self.drift.take(now_ns, heard.late_ns) {
            self.floor_ended(now_ns);
        }
        if now_ns >= self.correct_at_ns && now_ns > self.settles_until_ns {
            self.correct(heard, hole, totals);
        }
        0
    }

    #[inline]
    fn advance(&mut self, heard: &Heard) {
        self.heard_ns = heard.now_ns;
        self.line.now.newest = self.line.now.newest.max(heard.ext);
        self.ends = heard.ext + heard.length;
    }

    /// The least delay is the one nearest the truth: while the line settles, it moves there.
    #[cold]
    fn settle(&mut self, heard: &Heard) -> u64 {
        if let Some(stood) = self.caught_up(heard) {
            return self.return_to(stood, heard.now_ns);
        }
        let ticks = -heard.late_ns / TICK_NS;
        self.line.now.offset -= ticks;
        self.lead_ns -= ticks * TICK_NS;
        if let Some(left) = self.stood {
            self.watch_for(left);
        }
        self.drift
            .rebase(heard.now_ns, heard.late_ns + ticks * TICK_NS);
        ticks as u64
    }

    fn measure_anew(&mut self, now_ns: i64, deviation_ns: i64) {
        self.drift = Drift::new(now_ns, deviation_ns, self.drift.fit());
        self.deviation_ns = deviation_ns;
        self.correct_at_ns = NEVER;
        self.plan();
    }

    #[cold]
    fn floor_ended(&mut self, now_ns: i64) {
        self.deviation_ns = self.drift.deviation_ns(now_ns);
        if self
            .stood
            .is_some_and(|stood| now_ns - stood.at_ns > DOUBT_NS)
        {
            (self.stood, self.tolerance_ns) = (None, OUT_OF_STEP_NS);
        }
        self.plan();
    }

    /// Position minus sampling instant, both without rounding: what was corrected, in nanoseconds.
    fn corrected_ns(&self) -> i64 {
        self.line.now.offset * TICK_NS - self.lead_ns
    }

    /// Finds when the deviation that is left leaves the dead band, or what is not known of it.
    fn plan(&mut self) {
        if self.correction == DriftCorrection::Off || self.correct_at_ns == ALWAYS {
            return;
        }
        self.correct_at_ns = NEVER;
        let Some(fit) = self.drift.fit() else { return };
        let left = fit.deviation_ns - self.corrected_ns() as f64;
        let band = DEAD_BAND_NS.max(CERTAINTY * fit.unsure_ns);
        let widens = CERTAINTY * fit.slope_unsure;
        let after = if left.abs() >= band {
            0.0
        } else if fit.slope > widens {
            (band - left) / (fit.slope - widens)
        } else if -fit.slope > widens {
            (band + left) / (-fit.slope - widens)
        } else {
            return;
        };
        // Floats beyond the range become its ends.
        self.correct_at_ns = fit.at_ns.saturating_add(after as i64);
    }

    /// One tick nearer to where the drift is; all of them behind a silence, which hides them.
    #[cold]
    fn correct(&mut self, heard: &Heard, hole: i64, totals: &mut Corrections) {
        let left = self.drift.deviation_ns(heard.now_ns) - self.corrected_ns();
        let whole = (left + TICK_NS / 2).div_euclid(TICK_NS);
        let silence = self.line.now.rate.positions_of(hole);
        let ticks = match silence >= SILENCE {
            true => whole.max(-silence),
            false => whole.signum(),
        };
        self.correct_at_ns = ALWAYS;
        if ticks == whole {
            self.correct_at_ns = NEVER;
            self.plan();
        }
        // What is newer by number and older by time stamp stays with its neighbours.
        if ticks != 0 && heard.ext >= self.line.now.newest {
            self.line.correct(heard.ext, ticks);
            totals.add(ticks, shifted(self.base, heard.now_ns));
        }
    }

    /// Goes on with a clock of another rate where the last packet ended, if the arrival agrees.
    pub(super) fn switch(
        &mut self,
        rate: ClockRate,
        first: i64,
        arrival: Instant,
        length: u32,
    ) -> Option<Heard> {
        let at = self.line.position(self.ends);
        let lead_ns = at * TICK_NS - self.corrected_ns();
        let length = i64::from(length);
        let now_ns = signed_ns(arrival, self.base).saturating_sub(longer_ns(rate, length));
        let late_ns = now_ns - lead_ns;
        if (late_ns - self.drift.deviation_ns(now_ns)).abs() > AGREES_NS {
            return None;
        }
        self.earlier = Some(self.line.now);
        self.line = Line::new(rate, first, at);
        (self.lead_ns, self.ends) = (lead_ns, first);
        Some(Heard {
            ext: first,
            length,
            now_ns,
            late_ns,
        })
    }

    /// Position of a time stamp of a clock of `rate`: the present one, or the one before it.
    #[inline]
    pub(super) fn position_in(&self, rate: ClockRate, timestamp: RtpTimestamp) -> Option<i64> {
        if rate == self.line.now.rate {
            return Some(self.line.position(self.line.now.extend(timestamp)));
        }
        let earlier = self.earlier.filter(|earlier| earlier.rate == rate)?;
        Some(earlier.position(earlier.extend(timestamp)))
    }

    /// What was measured of the drift, for whoever goes on with the same clock.
    pub(super) fn fit(&self) -> Option<Fit> {
        self.drift.fit()
    }

    /// Parts per million since the drift began to be measured; positive is fast.
    pub(super) fn drift_ppm(&self) -> Option<f64> {
        self.drift.ppm()
    }

    /// Deviation left after correction, as of the newest packet.
    pub(super) fn residual_ns(&self) -> Option<i64> {
        self.drift.fit()?;
        Some(self.drift.deviation_ns(self.heard_ns) - self.corrected_ns())
    }
}

/// Time by which a packet is longer than usual: it came that much later for its first sample. Zero
/// for one of unknown length.
#[inline]
fn longer_ns(rate: ClockRate, length: i64) -> i64 {
    match length {
        0 => 0,
        length => rate.nanos_of(length) - USUAL_PACKET_NS,
    }
}

/// An instant moved by nanoseconds; the same one where the clock does not reach.
pub(super) fn shifted(instant: Instant, by_ns: i64) -> Instant {
    let by = Duration::from_nanos(by_ns.unsigned_abs());
    match by_ns < 0 {
        true => instant.checked_sub(by),
        false => instant.checked_add(by),
    }
    .unwrap_or(instant)
}
