//! The repeat tone: when it is due. The grid is absolute: tone `n` is due at `start + n * interval`
//! for n = 1, 2, 3 …, so no error adds up. A pause silences it; resuming starts a new grid.

use std::time::Instant;

use crate::policy::RepeatInterval;

/// The machine that knows when the next repeat tone is due.
#[derive(Debug, Clone)]
pub struct RepeatTone {
    interval: RepeatInterval,
    next: Option<Instant>,
}

impl RepeatTone {
    /// A silent one: the recording does not run yet.
    pub fn new(interval: RepeatInterval) -> Self {
        Self {
            interval,
            next: None,
        }
    }

    /// The recording runs from `now`: the first tone is due one interval later.
    pub fn start(&mut self, now: Instant) {
        self.next = Some(now + self.interval.duration());
    }

    /// The recording is paused or over: no tone.
    pub fn silence(&mut self) {
        self.next = None;
    }

    /// Whether a tone is to sound now. Tones that were missed while nobody asked are not made up
    /// for: one sounds, the next is the first grid point after `now`.
    #[must_use]
    pub fn due(&mut self, now: Instant) -> Due {
        let Some(at) = self.next.filter(|at| *at <= now) else {
            return Due::NotYet;
        };
        let interval = self.interval.duration();
        let missed = now.duration_since(at).as_secs() / interval.as_secs();
        let steps = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
        self.next = Some(at + interval * steps);
        Due::Now
    }

    /// When the next tone is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }
}

/// Whether a tone is to sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It sounds at this instant.
    Now,
    /// Not at this instant.
    NotYet,
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need one base instant")]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Runs from second 0 to `until`, with pauses given as (from, to), and returns the instants
    /// of the tones in milliseconds.
    fn tones(interval_s: u32, until_s: u64, pauses: &[(u64, u64)]) -> Vec<u64> {
        let start = Instant::now();
        let mut tone = RepeatTone::new(RepeatInterval::new(interval_s).unwrap());
        tone.start(start);
        let mut heard = Vec::new();
        for ms in 0..=until_s * 1000 {
            let now = start + Duration::from_millis(ms);
            for (from, to) in pauses {
                if ms == from * 1000 {
                    tone.silence();
                }
                if ms == to * 1000 {
                    tone.start(now);
                }
            }
            if tone.deadline().is_some_and(|at| at <= now) && tone.due(now) == Due::Now {
                heard.push(ms);
            }
        }
        heard
    }

    #[test]
    fn the_grid_is_exact_over_five_minutes() {
        for interval in [10, 20, 90] {
            let expected: Vec<u64> = (1..=300 / interval)
                .map(|n| u64::from(n * interval) * 1000)
                .collect();
            assert_eq!(tones(interval, 300, &[]), expected);
        }
    }

    #[test]
    fn a_pause_is_silent_and_the_grid_restarts() {
        assert_eq!(
            tones(20, 120, &[(30, 65)]),
            [20_000, 85_000, 105_000],
            "silent from 30 to 65, then 65 + 20 n"
        );
        assert_eq!(tones(10, 40, &[(10, 11)]), [21_000, 31_000]);
    }

    #[test]
    fn missed_tones_are_not_made_up_for() {
        let start = Instant::now();
        let mut tone = RepeatTone::new(RepeatInterval::new(10).unwrap());
        tone.start(start);
        assert_eq!(tone.due(start + Duration::from_secs(9)), Due::NotYet);
        assert_eq!(tone.due(start + Duration::from_millis(35_200)), Due::Now);
        assert_eq!(tone.deadline(), Some(start + Duration::from_secs(40)));
    }
}
