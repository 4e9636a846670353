//! The timers' values (RFC 3261 §17.1.1.1 and table 4).

use std::time::{Duration, Instant};

/// The three base values; every other timer is made from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Round-trip estimate, 500 ms unless the network is known.
    pub t1: Duration,
    /// Longest interval between retransmissions of non-INVITE requests and INVITE responses, 4 s.
    pub t2: Duration,
    /// Longest time a message stays in the network, 5 s.
    pub t4: Duration,
}

/// How long after an INVITE the endpoint says 100 by itself (RFC 3261 §17.2.1).
pub(crate) const TRYING_AFTER: Duration = Duration::from_millis(200);

/// A client INVITE without news this long is cancelled: timer C of RFC 3261 §16.6 needs more than
/// 3 minutes, and a server that rings longer repeats its provisional response every minute.
pub(crate) const TIMER_C: Duration = Duration::from_secs(300);

impl Default for Timers {
    fn default() -> Timers {
        Timers {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

impl Timers {
    /// 64*T1: timers B, F, H, J, L and M.
    pub fn timeout(&self) -> Duration {
        self.t1 * 64
    }

    /// Timer D: at least 32 s (RFC 3261 §17.1.1.2), shorter only where T1 is.
    pub(crate) fn d(&self) -> Duration {
        self.timeout()
    }
}

/// A retransmission that doubles its interval up to a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    pub at: Instant,
    interval: Duration,
    limit: Duration,
}

impl Backoff {
    pub(crate) fn new(now: Instant, first: Duration, limit: Duration) -> Backoff {
        // A zero interval would never let the clock pass it.
        let first = first.max(Duration::from_millis(1));
        Backoff {
            at: now + first,
            interval: first,
            limit: limit.max(first),
        }
    }

    /// The next one, counted from now: a late clock makes no burst.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.interval = (self.interval * 2).min(self.limit);
        self.at = now + self.interval;
    }

    /// From here on every `limit` (RFC 3261 §17.1.2.2, Proceeding).
    pub(crate) fn slow_down(&mut self) {
        self.interval = self.limit;
    }
}
