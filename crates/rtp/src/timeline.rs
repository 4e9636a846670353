//! Places a source's time stamps in time: `instant = base + (time stamp - base time stamp) / rate`.
//!
//! 1. The first packet of a source is believed to have taken no time: its arrival is the base.
//! 2. For 200 ms every packet that came faster moves the base earlier (the least delay is the one
//!    nearest the truth); each move is reported in whole ticks, so that what is not yet committed can
//!    be moved by exactly as much.
//! 3. Then the base is frozen: from there on the sender's clock alone says where a packet belongs.
//! 4. A new SSRC, or a time stamp that lies more than a second from its arrival, starts again at 1.
//!    A silence does not: a time stamp that went on with the wall clock lies where it arrived.

use std::time::{Duration, Instant};

use crate::{ClockRate, MediaTime, RtpTimestamp, Ssrc};

/// How long after a source's first packet the least transit is looked for, and the time line may move.
pub const SETTLING: Duration = Duration::from_millis(200);
/// A time stamp further than this from its arrival has a new base.
const JUMP_NS: u64 = 1_000_000_000;
/// Length of the intervals whose least transit is compared for drift.
const DRIFT_INTERVAL: Duration = Duration::from_secs(10);
/// First extended time stamp of an anchor: one wrap up, so that older packets have one too.
const FIRST_CYCLE: u64 = 1 << 32;

/// Why the time line was anchored anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reanchoring {
    /// First packet at all.
    First,
    /// Another SSRC.
    NewSource,
    /// Time stamp and arrival were more than a second apart.
    Jump,
}

/// What a packet did to the time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: everything stays where it was placed.
    Steady,
    /// Every packet of this anchor, placed before or to be placed, lies this many ticks earlier.
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

/// The map from one source's media clock to the receiver's time.
#[derive(Debug, Clone)]
pub struct Timeline {
    rate: ClockRate,
    anchor: Option<Anchor>,
}

#[derive(Debug, Clone)]
struct Anchor {
    ssrc: Ssrc,
    /// Arrival of the first packet.
    base: Instant,
    /// Extended time stamp that lies at `base`.
    base_ticks: i64,
    /// Highest extended time stamp.
    newest: u64,
    drift: Drift,
}

/// Least transit of each interval, in nanoseconds against the base.
#[derive(Debug, Clone)]
struct Drift {
    started: Instant,
    least_ns: i64,
    /// End and floor of the first whole interval.
    first: Option<(Instant, i64)>,
    latest: Option<(Instant, i64)>,
}

impl Timeline {
    /// A time line without an anchor.
    pub fn new(rate: ClockRate) -> Self {
        Self { rate, anchor: None }
    }

    /// Takes the next packet. Allocates nothing.
    ///
    /// Only for packets that carried their source on (`Kind::New`, `Kind::Restarted` of
    /// [`crate::source`]) and whose time stamp is their own sampling instant. Reordered packets and
    /// telephone-events (whose time stamp is that of the press, RFC 4733 §2.2) are late by nature:
    /// ask [`Timeline::instant_of`] or [`Timeline::ticks_after`] for them.
    #[inline]
    pub fn update(&mut self, ssrc: Ssrc, timestamp: RtpTimestamp, arrival: Instant) -> Placed {
        let rate = self.rate;
        let Some(anchor) = &mut self.anchor else {
            return self.reanchor(ssrc, timestamp, arrival, Reanchoring::First);
        };
        if anchor.ssrc != ssrc {
            return self.reanchor(ssrc, timestamp, arrival, Reanchoring::NewSource);
        }
        let ext = anchor.extend(timestamp);
        let since_base = signed_ns(arrival, anchor.base);
        let late_ns = since_base.saturating_sub(rate.nanos_of(ext - anchor.base_ticks));
        if late_ns
            .saturating_sub(anchor.drift.floor_ns())
            .unsigned_abs()
            > JUMP_NS
        {
            return self.reanchor(ssrc, timestamp, arrival, Reanchoring::Jump);
        }
        anchor.newest = anchor.newest.max(ext as u64);
        let mut change = Change::Steady;
        if late_ns < 0 && since_base <= SETTLING.as_nanos() as i64 {
            let ticks = rate.ticks_in(Duration::from_nanos(late_ns.unsigned_abs()));
            if ticks > 0 {
                anchor.base_ticks += ticks as i64;
                anchor.drift.least_ns = 0;
                change = Change::Shift { ticks };
            }
        } else {
            anchor.drift.update(late_ns, arrival);
        }
        Placed {
            media_time: MediaTime {
                ticks: ext as u64,
                rate,
            },
            change,
        }
    }

    #[cold]
    fn reanchor(
        &mut self,
        ssrc: Ssrc,
        timestamp: RtpTimestamp,
        arrival: Instant,
        why: Reanchoring,
    ) -> Placed {
        let ticks = FIRST_CYCLE + u64::from(timestamp.0);
        self.anchor = Some(Anchor {
            ssrc,
            base: arrival,
            base_ticks: ticks as i64,
            newest: ticks,
            drift: Drift {
                started: arrival,
                least_ns: 0,
                first: None,
                latest: None,
            },
        });
        Placed {
            media_time: MediaTime {
                ticks,
                rate: self.rate,
            },
            change: Change::Reanchored(why),
        }
    }

    /// When a time stamp of the current anchor was sampled, in the receiver's time, the least transit
    /// seen counted as none; `None` before the first packet.
    pub fn instant_of(&self, timestamp: RtpTimestamp) -> Option<Instant> {
        let anchor = self.anchor.as_ref()?;
        Some(anchor.instant(anchor.extend(timestamp), self.rate))
    }

    /// Ticks from `origin` to a time stamp of the current anchor, negative before `origin`; `None`
    /// before the first packet. Differences between two answers are exactly those of the time stamps.
    #[inline]
    pub fn ticks_after(&self, origin: Instant, timestamp: RtpTimestamp) -> Option<i64> {
        let anchor = self.anchor.as_ref()?;
        let base = match anchor.base.checked_duration_since(origin) {
            Some(after) => self.rate.ticks_in(after) as i64,
            None => {
                -(self
                    .rate
                    .ticks_in(origin.saturating_duration_since(anchor.base))
                    as i64)
            }
        };
        Some(base + (anchor.extend(timestamp) - anchor.base_ticks))
    }

    /// How fast the sender's clock runs against the receiver's, in parts per million; positive is
    /// fast. `None` until two 10 s intervals of this anchor have been measured.
    pub fn drift_ppm(&self) -> Option<f64> {
        let drift = &self.anchor.as_ref()?.drift;
        let ((from, first), (to, latest)) = (drift.first?, drift.latest?);
        let elapsed_ns = signed_ns(to, from);
        (elapsed_ns > 0).then(|| (first - latest) as f64 * 1e6 / elapsed_ns as f64)
    }
}

impl Anchor {
    /// The extended time stamp nearest the newest one. Fits an `i64`: 2^63 ticks are never reached.
    #[inline]
    fn extend(&self, timestamp: RtpTimestamp) -> i64 {
        self.newest as i64 + i64::from(timestamp.since(RtpTimestamp(self.newest as u32)))
    }

    #[inline]
    fn instant(&self, ext: i64, rate: ClockRate) -> Instant {
        let ticks = ext - self.base_ticks;
        let distance = rate.time_of(ticks.unsigned_abs());
        let moved = if ticks < 0 {
            self.base.checked_sub(distance)
        } else {
            self.base.checked_add(distance)
        };
        moved.unwrap_or(self.base)
    }
}

impl Drift {
    /// What is late by nature of the two clocks, not by a jump.
    fn floor_ns(&self) -> i64 {
        self.latest.map_or(0, |(_, floor)| floor)
    }

    #[inline]
    fn update(&mut self, late_ns: i64, arrival: Instant) {
        self.least_ns = self.least_ns.min(late_ns);
        if arrival.saturating_duration_since(self.started) >= DRIFT_INTERVAL {
            let floor = Some((arrival, self.least_ns));
            self.first = self.first.or(floor);
            self.latest = floor;
            self.started = arrival;
            self.least_ns = late_ns;
        }
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
mod tests {
    use super::*;
    use crate::testing::{Numbers, ms, start};

    const SOURCE: Ssrc = Ssrc(9);

    struct Bed {
        timeline: Timeline,
        begin: Instant,
    }

    impl Bed {
        fn new() -> Self {
            Self {
                timeline: Timeline::new(ClockRate::HZ_8000),
                begin: start(),
            }
        }

        fn update(&mut self, timestamp: u32, at: Duration) -> Placed {
            self.timeline
                .update(SOURCE, RtpTimestamp(timestamp), self.begin + at)
        }

        fn change(&mut self, timestamp: u32, at_ms: u64) -> Change {
            self.update(timestamp, ms(at_ms)).change
        }
    }

    const FIRST: Change = Change::Reanchored(Reanchoring::First);
    const JUMP: Change = Change::Reanchored(Reanchoring::Jump);

    #[test]
    fn least_transit_of_the_first_200_ms_is_the_base() {
        let mut bed = Bed::new();
        assert_eq!(bed.change(0, 60), FIRST);
        assert_eq!(bed.change(160, 90), Change::Steady);
        assert_eq!(bed.change(320, 70), Change::Shift { ticks: 240 });
        assert_eq!(bed.change(480, 60), Change::Shift { ticks: 240 });
        assert_eq!(bed.timeline.instant_of(RtpTimestamp(0)), Some(bed.begin));
        // Frozen 200 ms after the first packet.
        assert_eq!(
            bed.change(2_400, 261),
            Change::Steady,
            "300 ms on the media clock, 39 early"
        );
        assert_eq!(bed.timeline.instant_of(RtpTimestamp(0)), Some(bed.begin));
        assert_eq!(
            bed.timeline.instant_of(RtpTimestamp(2_560)),
            Some(bed.begin + ms(320))
        );
    }

    #[test]
    fn jitter_of_80_ms_converges_and_places_exactly() {
        for seed in 1..=200 {
            let (mut bed, mut numbers) = (Bed::new(), Numbers(seed));
            let offset = (seed as u32).wrapping_mul(0x1234_5679);
            let quickest = numbers.below(9);
            let mut network: Vec<(Duration, u32)> = (0..500_u32)
                .map(|nth| {
                    let least = u64::from(nth) == quickest;
                    let delay = if least { 0 } else { numbers.below(80_000) };
                    (ms(20) * nth + Duration::from_micros(delay), nth)
                })
                .collect();
            network.sort_unstable();
            let (mut shifted, mut newest) = (0, 0);
            let mut placed = Vec::new();
            for (arrival, nth) in network {
                let timestamp = offset.wrapping_add(nth * 160);
                // Overtaken packets are placed, but do not carry the source on.
                if placed.is_empty() || nth > newest {
                    newest = nth;
                    if let Change::Shift { ticks } = bed.update(timestamp, arrival).change {
                        shifted += ticks as i64;
                        placed.iter_mut().for_each(|(_, at)| *at -= ticks as i64);
                    }
                }
                let at = bed.timeline.ticks_after(bed.begin, RtpTimestamp(timestamp));
                placed.push((nth, at.expect("anchored")));
            }
            assert!(shifted <= 640, "never more than the jitter");
            // All packets, also those placed before the base moved, lie on one line near the truth.
            let (nth, at) = placed[0];
            let lead = at - i64::from(nth) * 160;
            assert!((0..=1).contains(&lead), "{seed}: {lead}");
            assert!(
                placed
                    .iter()
                    .all(|&(nth, at)| at - i64::from(nth) * 160 == lead)
            );
        }
    }

    #[test]
    fn time_stamps_are_extended_over_the_wrap_both_ways() {
        let mut bed = Bed::new();
        let first = bed.update(u32::MAX - 159, ms(0)).media_time.ticks;
        assert_eq!(bed.update(160, ms(40)).media_time.ticks, first + 320);
        let late = RtpTimestamp(0);
        assert_eq!(bed.timeline.instant_of(late), Some(bed.begin + ms(20)));
        assert_eq!(bed.timeline.ticks_after(bed.begin, late), Some(160));
        let before = RtpTimestamp(u32::MAX - 319);
        assert_eq!(bed.timeline.ticks_after(bed.begin, before), Some(-160));
        assert_eq!(bed.timeline.instant_of(before), Some(bed.begin - ms(20)));
    }

    #[test]
    fn a_week_of_wraps_is_one_line() {
        let mut bed = Bed::new();
        bed.update(5, ms(0));
        for hour in 1..=24 * 7_u64 {
            let timestamp = (5 + hour * 3_600 * 8_000) as u32;
            let placed = bed.update(timestamp, Duration::from_secs(3_600 * hour));
            assert_eq!(placed.change, Change::Steady, "hour {hour}");
            assert_eq!(placed.media_time.ticks, (1 << 32) + 5 + hour * 28_800_000);
        }
    }

    #[test]
    fn silence_in_step_is_no_jump_and_a_stopped_clock_is() {
        let mut bed = Bed::new();
        assert_eq!(bed.change(0, 0), FIRST);
        assert_eq!(bed.change(160, 20), Change::Steady);
        assert_eq!(
            bed.change(160 + 8 * 60_000, 60_020),
            Change::Steady,
            "a minute of silence"
        );
        assert_eq!(
            bed.change(320 + 8 * 60_000, 60_990),
            Change::Steady,
            "0.95 s late"
        );
        assert_eq!(bed.change(320 + 8 * 60_000, 61_050), JUMP, "1.01 s late");
        assert_eq!(bed.change(480 + 8 * 60_000, 61_070), Change::Steady);
        assert_eq!(bed.change(3_000_000_000, 61_090), JUMP, "forward");
        assert_eq!(bed.change(5, 61_110), JUMP, "back");
        assert_eq!(bed.change(165, 61_130), Change::Steady);
        let placed = bed.timeline.instant_of(RtpTimestamp(165));
        assert_eq!(placed, Some(bed.begin + ms(61_130)));
    }

    #[test]
    fn a_stalled_network_comes_back_to_its_line() {
        let mut bed = Bed::new();
        for nth in 0..50 {
            bed.update(nth * 160, ms(20) * nth);
        }
        // Three seconds of packets at once, then as before.
        assert_eq!(bed.change(50 * 160, 4_000), JUMP);
        for nth in 51..=200 {
            assert_eq!(bed.change(nth * 160, 4_000), Change::Shift { ticks: 160 });
        }
        assert_eq!(bed.change(201 * 160, 4_020), Change::Steady);
        assert_eq!(bed.timeline.instant_of(RtpTimestamp(0)), Some(bed.begin));
    }

    #[test]
    fn another_source_has_a_line_of_its_own() {
        let mut bed = Bed::new();
        assert_eq!(bed.timeline.instant_of(RtpTimestamp(0)), None);
        assert_eq!(bed.timeline.ticks_after(bed.begin, RtpTimestamp(0)), None);
        bed.update(0, ms(0));
        let placed = bed
            .timeline
            .update(Ssrc(10), RtpTimestamp(777), bed.begin + ms(30));
        assert_eq!(placed.change, Change::Reanchored(Reanchoring::NewSource));
        assert_eq!(
            bed.timeline.ticks_after(bed.begin, RtpTimestamp(777)),
            Some(240)
        );
    }

    #[test]
    fn drift_is_measured_and_never_becomes_a_jump() {
        for ppm in [-200_i64, -50, 0, 50, 200] {
            let (mut bed, mut numbers) = (Bed::new(), Numbers(7));
            for nth in 0..3 * 3_600 * 50_u64 {
                let sent_ns = nth as i64 * 20_000_000;
                // A fast sender's ticks come sooner than they should.
                let at_ns = sent_ns - sent_ns / 1_000_000 * ppm;
                let delay = Duration::from_micros(numbers.below(5_000));
                let arrival = Duration::from_nanos(at_ns as u64) + delay;
                let change = bed.update((nth * 160) as u32, arrival).change;
                assert!(
                    nth < 11 || change == Change::Steady,
                    "{ppm}: packet {nth} {change:?}"
                );
            }
            let measured = bed.timeline.drift_ppm().expect("hours were measured");
            assert!((measured - ppm as f64).abs() < 2.0, "{ppm}: {measured}");
        }
    }
}
