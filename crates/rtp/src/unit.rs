//! The numbers of RFC 3550 §5.1 as types of their own, and the arithmetic between ticks and time.

use std::num::NonZeroU32;
use std::time::Duration;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Exact at 8,000 Hz. That rate has a path of its own below, because this is done for every packet and
/// a division by a number known at compile time costs a tenth of one by a field.
const NANOS_PER_TELEPHONE_TICK: u32 = 125_000;

/// Synchronization source identifier (RFC 3550 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ssrc(pub u32);

/// Sequence number as it stands in a packet, modulo 2^16 (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// The number of the next packet, wrapping at 2^16.
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// Time stamp as it stands in a packet: ticks of the payload's clock, modulo 2^32 (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RtpTimestamp(pub u32);

impl RtpTimestamp {
    /// The time stamp `ticks` later, wrapping at 2^32.
    pub fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// Ticks from `earlier` to this one: the shorter way round, negative if this one is older.
    pub fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }
}

/// Payload type, 0 to 127; only its low seven bits go on the wire (RFC 3551).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PayloadType(pub u8);

/// Sequence number with its wraps counted. Comparable within one source only; it never repeats there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtSeq(pub u64);

/// Ticks per second of a media clock; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClockRate(NonZeroU32);

impl ClockRate {
    /// 8,000 Hz: G.711 and the telephone-event beside it.
    pub const HZ_8000: Self = Self(NonZeroU32::new(8_000).unwrap());

    /// 65,536 Hz: the unit of LSR and DLSR (RFC 3550 §6.4.1).
    pub(crate) const NTP_SHORT: Self = Self(NonZeroU32::new(65_536).unwrap());

    /// A clock of `hz` ticks per second; `None` for zero.
    pub const fn new(hz: u32) -> Option<Self> {
        match NonZeroU32::new(hz) {
            Some(hz) => Some(Self(hz)),
            None => None,
        }
    }

    /// Ticks per second.
    pub const fn hz(self) -> u32 {
        self.0.get()
    }

    /// Whole ticks in `time`, rounded down; saturates.
    #[inline]
    pub fn ticks_in(self, time: Duration) -> u64 {
        let hz = u64::from(self.hz());
        let part = match self {
            Self::HZ_8000 => u64::from(time.subsec_nanos() / NANOS_PER_TELEPHONE_TICK),
            _ => u64::from(time.subsec_nanos()) * hz / NANOS_PER_SECOND as u64,
        };
        time.as_secs().saturating_mul(hz).saturating_add(part)
    }

    /// The time `ticks` take, rounded down to a nanosecond.
    #[inline]
    pub fn time_of(self, ticks: u64) -> Duration {
        if self == Self::HZ_8000 {
            // Below one second by construction, so it fits the 32 bits.
            let nanos = (ticks % 8_000) as u32 * NANOS_PER_TELEPHONE_TICK;
            return Duration::new(ticks / 8_000, nanos);
        }
        let hz = u64::from(self.hz());
        let nanos = ticks % hz * NANOS_PER_SECOND as u64 / hz;
        // Below one second by construction, so it fits the 32 bits.
        Duration::new(ticks / hz, nanos as u32)
    }

    /// Nanoseconds of a signed number of ticks; saturates.
    #[inline]
    pub(crate) fn nanos_of(self, ticks: i64) -> i64 {
        match self.hz() {
            8_000 => ticks.saturating_mul(i64::from(NANOS_PER_TELEPHONE_TICK)),
            16_000 => ticks.saturating_mul(62_500),
            48_000 => ticks.saturating_mul(62_500) / 3,
            hz => {
                let hz = i64::from(hz);
                let part = ticks % hz * NANOS_PER_SECOND / hz;
                (ticks / hz)
                    .saturating_mul(NANOS_PER_SECOND)
                    .saturating_add(part)
            }
        }
    }

    /// Positions on a recording, in 1/8000 s, nearest to a signed number of ticks of this clock. Exact
    /// where the rate is a multiple of 8,000 and the ticks are one of its multiple. For up to 2^47 ticks.
    #[inline]
    pub fn positions_of(self, ticks: i64) -> i64 {
        match self.hz() {
            8_000 => ticks,
            16_000 => (ticks + 1) >> 1,
            48_000 => (ticks + 3).div_euclid(6),
            hz => {
                let hz = i64::from(hz);
                (ticks * 8_000 + hz / 2).div_euclid(hz)
            }
        }
    }
}

/// A point on a source's media clock: the time stamp with its wraps counted, and the rate it runs at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MediaTime {
    /// Extended time stamp. Comparable until the time line is re-anchored.
    pub ticks: u64,
    /// Ticks per second.
    pub rate: ClockRate,
}

/// Time of day in UTC, microseconds since 1970, stamped by the program and given to this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub unix_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_time_are_exact_for_the_telephone_clock() {
        let rate = ClockRate::HZ_8000;
        for (ticks, micros) in [
            (0, 0),
            (1, 125),
            (160, 20_000),
            (8_000, 1_000_000),
            (28_800_001, 3_600_000_125),
        ] {
            assert_eq!(rate.time_of(ticks), Duration::from_micros(micros));
            assert_eq!(rate.ticks_in(Duration::from_micros(micros)), ticks);
            assert_eq!(rate.nanos_of(-(ticks as i64)), -(micros as i64) * 1_000);
        }
        assert_eq!(rate.ticks_in(Duration::from_nanos(124_999)), 0);
        assert_eq!(rate.nanos_of(i64::MIN), i64::MIN);
        assert_eq!(rate.ticks_in(Duration::MAX), u64::MAX);
        assert_eq!(ClockRate::new(0), None);
    }

    #[test]
    fn other_rates_round_down() {
        let rate = ClockRate::new(44_100).expect("not zero");
        assert_eq!(rate.time_of(1), Duration::from_nanos(22_675));
        assert_eq!(rate.time_of(44_101), Duration::from_nanos(1_000_022_675));
        assert_eq!(rate.ticks_in(Duration::from_millis(1_010)), 44_541);
        assert_eq!(rate.nanos_of(-44_101), -1_000_022_675);
        assert_eq!(rate.hz(), 44_100);
    }

    #[test]
    fn positions_are_exact_or_nearest() {
        for (hz, ticks, position) in [
            (8_000, -5, -5),
            (16_000, 640, 320),
            (16_000, -640, -320),
            (48_000, 960, 160),
            (48_000, -960, -160),
            (48_000, 7, 1),
            (48_000, -9, -1),
            (48_000, -10, -2),
            (44_100, 441, 80),
            (44_100, -441, -80),
            (44_100, 442, 80),
            (44_100, 444, 81),
            (22_050, 79_380_001, 28_800_000),
        ] {
            let rate = ClockRate::new(hz).expect("not zero");
            assert_eq!(rate.positions_of(ticks), position, "{ticks} of {hz}");
            let nanos = rate.nanos_of(ticks);
            assert!(
                (nanos - position * 125_000).abs() <= 62_501,
                "{ticks} of {hz}"
            );
        }
    }

    #[test]
    fn time_stamps_wrap() {
        let old = RtpTimestamp(u32::MAX - 9);
        assert_eq!(old.plus(20), RtpTimestamp(10));
        assert_eq!(RtpTimestamp(10).since(old), 20);
        assert_eq!(old.since(RtpTimestamp(10)), -20);
        assert_eq!(SeqNo(u16::MAX).next(), SeqNo(0));
    }
}
