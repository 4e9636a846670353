//! Who looks for hops, and for how long.

use std::time::{Duration, Instant};

use super::{Destination, LocateId};

/// After this long an incomplete answer is good enough, if its best part is there (RFC 8767 §5 has
/// 1.8 s for the whole of it).
const SETTLE: Duration = Duration::from_secs(1);

/// Somebody who looks for hops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asker {
    /// The user of `Hops`.
    User(LocateId),
    /// A watched destination, by its place in the list.
    Watch(usize),
}

/// One search under way.
#[derive(Debug)]
pub(super) struct Locating {
    pub(super) destination: Destination,
    pub(super) began: Instant,
    /// What is good then is good for all of this search.
    pub(super) since: Instant,
    pub(super) limit: Instant,
    /// Decides between equals, the same way in every step of this search.
    pub(super) salt: u64,
    /// When it is looked at again even if nothing is answered.
    pub(super) wake: Instant,
}

/// What a search still waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Everything.
    All,
    /// The best hop; what the DNS said before will do as well.
    Best,
    /// Nothing.
    Over,
}

impl Locating {
    pub(super) fn new(now: Instant, destination: Destination, limit: Duration, salt: u64) -> Self {
        Self {
            destination,
            began: now,
            since: now,
            limit: now + limit,
            salt,
            wake: now + limit.min(SETTLE),
        }
    }

    /// The same, but what will not be good for so long is asked for again.
    pub(super) fn ahead(self, time: Duration) -> Self {
        Self {
            since: self.began + time,
            ..self
        }
    }

    pub(super) fn patience(&self, now: Instant) -> Patience {
        if now >= self.limit {
            Patience::Over
        } else if now >= self.began + SETTLE {
            Patience::Best
        } else {
            Patience::All
        }
    }
}
