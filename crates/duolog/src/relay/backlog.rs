//! When a thread that stood still may let time pass for its shard: what came before a deadline has to be
//! given to the shard before that deadline's tick, or its place in a recording is final without it.

use std::time::{Duration, Instant};

/// Whether datagrams may still wait in the kernel after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Every ready socket was emptied.
    Nothing,
    /// There was more than one round takes.
    Perhaps,
}

/// Ticks wait this long at most: prompts go on under a flood, and catch up without a hole.
const LONGEST: Duration = Duration::from_millis(100);

/// A backlog that is being worked off.
#[derive(Debug, Default)]
pub struct Backlog {
    since: Option<Instant>,
}

impl Backlog {
    /// After a round at `now`: whether deadlines may run.
    pub fn may_tick(&mut self, now: Instant, left: Left) -> bool {
        if left == Left::Perhaps {
            let since = *self.since.get_or_insert(now);
            if now.saturating_duration_since(since) < LONGEST {
                return false;
            }
        }
        self.since = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_wait_for_what_came_before_them_but_not_for_ever() {
        let begin = Instant::now();
        let mut backlog = Backlog::default();
        let mut at = |ms, left| backlog.may_tick(begin + Duration::from_millis(ms), left);
        assert!(at(0, Left::Nothing));
        assert!(!at(10, Left::Perhaps));
        assert!(!at(109, Left::Perhaps));
        assert!(at(110, Left::Perhaps));
        assert!(!at(111, Left::Perhaps), "the next backlog");
        assert!(at(112, Left::Nothing));
        assert!(!at(300, Left::Perhaps));
    }
}
