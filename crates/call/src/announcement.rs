//! An announcement that something waits for: a recording starts, or a call ends, when all have heard it.
//! It is done when each leg has heard it or has gone; a leg that never reports back cannot keep it open
//! for ever.

use std::time::{Duration, Instant};

use crate::media::{LegId, PlayId};

/// Prompts are at most 60 s long; after this much longer than any prompt it counts as done.
pub const LONGEST: Duration = Duration::from_secs(65);

/// One announcement to two legs.
#[derive(Debug, Clone)]
pub struct Announcement {
    waiting: Vec<(LegId, PlayId)>,
    deadline: Instant,
}

/// Where an announcement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// At least one leg still hears it.
    Playing,
    /// Nobody hears it any more.
    Done,
}

impl Announcement {
    /// An announcement that began at `now` as one play per leg.
    pub fn new(now: Instant, plays: impl IntoIterator<Item = (LegId, PlayId)>) -> Self {
        Self {
            waiting: plays.into_iter().collect(),
            deadline: now + LONGEST,
        }
    }

    /// Further legs hear it, from `at`, which may be yet to come.
    pub fn also(&mut self, at: Instant, plays: impl IntoIterator<Item = (LegId, PlayId)>) {
        let before = self.waiting.len();
        self.waiting.extend(plays);
        if self.waiting.len() > before {
            self.deadline = self.deadline.max(at + LONGEST);
        }
    }

    /// A leg is gone: it will not report.
    #[must_use]
    pub fn gone(&mut self, leg: LegId) -> Progress {
        self.waiting.retain(|(waiting, _)| *waiting != leg);
        self.progress()
    }

    /// A play has ended on a leg, whole or cut. Other plays are not this announcement's business.
    #[must_use]
    pub fn played(&mut self, leg: LegId, play: PlayId) -> Progress {
        self.waiting.retain(|waiting| *waiting != (leg, play));
        self.progress()
    }

    /// Time has passed; call at [`Announcement::deadline`].
    #[must_use]
    pub fn expire(&mut self, now: Instant) -> Progress {
        if now >= self.deadline {
            self.waiting.clear();
        }
        self.progress()
    }

    /// When it counts as done although a leg never reported.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.deadline)
    }

    fn progress(&self) -> Progress {
        if self.waiting.is_empty() {
            Progress::Done
        } else {
            Progress::Playing
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need one base instant")]
mod tests {
    use super::*;

    const A: (LegId, PlayId) = (LegId(2), PlayId(1));
    const B: (LegId, PlayId) = (LegId(3), PlayId(2));

    #[test]
    fn both_must_have_heard_it() {
        let now = Instant::now();
        for (first, second) in [(A, B), (B, A)] {
            let mut announcement = Announcement::new(now, [A, B]);
            assert_eq!(announcement.played(first.0, PlayId(9)), Progress::Playing);
            assert_eq!(announcement.played(first.0, first.1), Progress::Playing);
            assert_eq!(announcement.played(first.0, first.1), Progress::Playing);
            assert!(announcement.deadline().is_some());
            assert_eq!(announcement.played(second.0, second.1), Progress::Done);
            assert_eq!(announcement.deadline(), None);
        }
    }

    #[test]
    fn legs_may_come_and_go() {
        let now = Instant::now();
        let mut announcement = Announcement::new(now, [A]);
        announcement.also(now + LONGEST / 2, [B]);
        assert_eq!(announcement.deadline(), Some(now + LONGEST / 2 + LONGEST));
        assert_eq!(announcement.gone(A.0), Progress::Playing);
        assert_eq!(announcement.gone(A.0), Progress::Playing);
        assert_eq!(announcement.gone(B.0), Progress::Done);
    }

    #[test]
    fn a_silent_leg_does_not_keep_it_open() {
        let now = Instant::now();
        let mut announcement = Announcement::new(now, [A, B]);
        assert_eq!(announcement.expire(now + LONGEST / 2), Progress::Playing);
        assert_eq!(announcement.deadline(), Some(now + LONGEST));
        assert_eq!(announcement.expire(now + LONGEST), Progress::Done);
    }
}
