//! The straight part: a media clock's time stamps as positions, with what was corrected on the way.

use crate::{ClockRate, RtpTimestamp};

/// Corrections that late packets may still ask for. At one a packet, these are as many packets; with
/// packets of 10 ms more than a recording waits for.
const REMEMBERED: usize = 32;

/// One media clock's time stamps as positions in 1/8000 s after the anchor's base.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) rate: ClockRate,
    /// Extended time stamp that positions are rounded from.
    pub(super) base: i64,
    /// Highest extended time stamp.
    pub(super) newest: i64,
    /// Position of `base`.
    pub(super) offset: i64,
}

/// The segment that runs, and what was corrected in it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Its offset holds for time stamps from `changed_at` on.
    pub(super) now: Segment,
    changed_at: i64,
    past: [Past; REMEMBERED],
    corrections: usize,
}

/// What held before a correction.
#[derive(Debug, Clone, Copy)]
struct Past {
    /// Extended time stamp the correction holds from.
    until: i64,
    offset: i64,
}

impl Segment {
    /// The extended time stamp nearest the newest one. Fits an `i64`: 2^63 ticks are never reached.
    #[inline]
    pub(super) fn extend(&self, timestamp: RtpTimestamp) -> i64 {
        self.newest + i64::from(timestamp.since(RtpTimestamp(self.newest as u32)))
    }

    /// Where an extended time stamp lies.
    #[inline]
    pub(super) fn position(&self, ext: i64) -> i64 {
        self.rate.positions_of(ext - self.base) + self.offset
    }
}

impl Line {
    pub(super) fn new(rate: ClockRate, base: i64, offset: i64) -> Line {
        let past = Past {
            until: i64::MIN,
            offset,
        };
        Line {
            now: Segment {
                rate,
                base,
                newest: base,
                offset,
            },
            changed_at: i64::MIN,
            past: [past; REMEMBERED],
            corrections: 0,
        }
    }

    /// Where an extended time stamp lies, by what was corrected up to it.
    #[inline]
    pub(super) fn position(&self, ext: i64) -> i64 {
        let position = self.now.position(ext);
        match ext >= self.changed_at {
            true => position,
            false => position - self.now.offset + self.offset_before(ext),
        }
    }

    #[cold]
    fn offset_before(&self, ext: i64) -> i64 {
        let mut offset = self.now.offset;
        let kept = self.corrections.min(REMEMBERED);
        for back in 1..=kept {
            let past = self.past[(self.corrections - back) % REMEMBERED];
            if ext >= past.until {
                break;
            }
            offset = past.offset;
        }
        offset
    }

    /// From an extended time stamp on, everything lies `ticks` later; what is older stays.
    pub(super) fn correct(&mut self, from: i64, ticks: i64) {
        self.past[self.corrections % REMEMBERED] = Past {
            until: from,
            offset: self.now.offset,
        };
        self.corrections += 1;
        self.changed_at = from;
        self.now.offset += ticks;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_correction_stays() {
        let mut line = Line::new(ClockRate::HZ_8000, 1_000, 7);
        assert_eq!(line.position(1_160), 167);
        for nth in 1..=100 {
            line.correct(1_000 + 160 * nth, 1);
        }
        for nth in 69..=100 {
            assert_eq!(line.position(1_000 + 160 * nth), 7 + 161 * nth, "{nth}");
            assert_eq!(line.position(999 + 160 * nth), 7 + 161 * nth - 2, "{nth}");
        }
        // Older than what is remembered: as at the end of it.
        assert_eq!(line.position(1_000), 7 + 68);
        line.correct(1_000 + 160 * 200, -50);
        assert_eq!(line.position(1_000 + 160 * 200), 7 + 32_000 + 50);
        assert_eq!(line.position(1_000 + 160 * 200 - 1), 7 + 31_999 + 100);
    }
}
