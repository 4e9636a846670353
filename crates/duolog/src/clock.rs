//! Where the wall clock is read: once, at the start. Everything later is that moment plus what the
//! monotonic clock says passed, so that a clock that is set during a call moves nothing in it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One known pair of the two clocks.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    at: Instant,
    since_epoch: Duration,
}

impl WallClock {
    /// Reads both clocks.
    pub fn read() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            at: Instant::now(),
            since_epoch,
        }
    }

    /// A pair given by a test or a simulated world.
    pub fn at(at: Instant, since_epoch: Duration) -> Self {
        Self { at, since_epoch }
    }

    /// The monotonic half of the pair.
    pub fn instant(&self) -> Instant {
        self.at
    }

    /// UTC at `instant`, in microseconds since 1970-01-01.
    pub fn unix_us(&self, instant: Instant) -> i64 {
        let at = match instant.checked_duration_since(self.at) {
            Some(later) => self.since_epoch + later,
            None => self.since_epoch.saturating_sub(self.at - instant),
        };
        i64::try_from(at.as_micros()).unwrap_or(i64::MAX)
    }

    /// UTC at `instant`, in milliseconds since 1970-01-01.
    pub fn unix_ms(&self, instant: Instant) -> u64 {
        u64::try_from(self.unix_us(instant) / 1000).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_with_the_monotonic_clock_both_ways() {
        let base = Instant::now();
        let clock = WallClock::at(base, Duration::from_secs(1_000));
        assert_eq!(
            clock.unix_us(base + Duration::from_micros(1)),
            1_000_000_001
        );
        assert_eq!(clock.unix_us(base - Duration::from_secs(1)), 999_000_000);
        assert_eq!(clock.unix_ms(base + Duration::from_micros(1999)), 1_000_001);
    }
}
