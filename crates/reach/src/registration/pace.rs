//! When to try again (RFC 5626 §4.5) and when to refresh.

use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The wait after the first failure is half to all of twice this.
const BASE: Duration = Duration::from_secs(30);
/// The longest wait.
const MAX: Duration = Duration::from_secs(1800);
/// A registration that stood so long was no failure.
const STABLE: Duration = Duration::from_secs(120);

/// What to do about a connection that went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renew {
    Now,
    Later,
}

#[derive(Debug)]
pub(super) struct Pace {
    rng: ChaCha12Rng,
    failures: u32,
    since: Option<Instant>,
}

impl Pace {
    pub(super) fn new(seed: [u8; 32]) -> Pace {
        let mut rng = ChaCha12Rng::from_seed(seed);
        // Names are made from the same seed by another run of numbers.
        rng.set_stream(1);
        Pace {
            rng,
            failures: 0,
            since: None,
        }
    }

    /// A registration or a refresh succeeded.
    pub(super) fn succeeded(&mut self, now: Instant) {
        self.settle(now);
        self.since.get_or_insert(now);
    }

    /// The wait after a failure.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        self.settle(now);
        self.since = None;
        self.failures = self.failures.saturating_add(1);
        let longest = BASE.saturating_mul(1 << self.failures.min(16)).min(MAX);
        longest.mul_f64(0.5 + 0.5 * self.share())
    }

    /// A connection that stood is gone: it is made anew at once, unless it was so a moment ago.
    pub(super) fn dropped(&mut self, now: Instant) -> Renew {
        self.settle(now);
        if self.failures > 0 {
            return Renew::Later;
        }
        self.failures = 1;
        self.since = None;
        Renew::Now
    }

    /// 80 to 90 % of what was granted.
    pub(super) fn refresh_after(&mut self, granted: Duration) -> Duration {
        let after = granted.mul_f64(0.8 + 0.1 * self.share());
        after.max(Duration::from_secs(1))
    }

    fn settle(&mut self, now: Instant) {
        let stood = |since| now.saturating_duration_since(since) >= STABLE;
        if self.since.is_some_and(stood) {
            self.failures = 0;
        }
    }

    /// 0 to 1.
    fn share(&mut self) -> f64 {
        f64::from(self.rng.next_u32()) / f64::from(u32::MAX)
    }
}
