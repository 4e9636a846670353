//! Phones at a fixed place that could not be told of their messages: they never register, so nothing else
//! would tell them. They are told again, for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::settings::UserIndex;

/// How long after a failure a phone is told again.
const AGAIN: Duration = Duration::from_secs(180);

/// How often: a phone that was away for an hour has been put away.
const TRIES: u8 = 20;

/// Whose phones are to be told again, and when.
#[derive(Debug)]
pub(super) struct Untold {
    users: BTreeMap<usize, Again>,
    /// How often each is told again.
    tries: u8,
}

#[derive(Debug, Default)]
struct Again {
    /// `None` while it is being told.
    at: Option<Instant>,
    failed: u8,
}

impl Default for Untold {
    fn default() -> Self {
        Self {
            users: BTreeMap::new(),
            tries: TRIES,
        }
    }
}

impl Untold {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.users.values().filter_map(|again| again.at).min()
    }

    /// The phone of this user did not hear it.
    pub(super) fn failed(&mut self, now: Instant, UserIndex(user): UserIndex) {
        let again = self.users.entry(user).or_default();
        again.failed += 1;
        match again.failed > self.tries {
            true => drop(self.users.remove(&user)),
            false => again.at = Some(now + AGAIN),
        }
    }

    /// The phone knows, does not want to know, or will be told anyway.
    pub(super) fn forget(&mut self, UserIndex(user): UserIndex) {
        self.users.remove(&user);
    }

    /// The node goes down: nobody is told again.
    pub(super) fn end(&mut self) {
        self.users.clear();
        self.tries = 0;
    }

    /// Those whose time has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<UserIndex> {
        let is_due = |again: &mut Again| again.at.take_if(|at| *at <= now).is_some();
        let due = self
            .users
            .iter_mut()
            .filter_map(|(user, again)| is_due(again).then_some(*user));
        due.map(UserIndex).collect()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need one base instant")]
mod tests {
    use super::*;

    #[test]
    fn who_never_hears_it_is_given_up() {
        let (mut untold, mut now) = (Untold::default(), Instant::now());
        let user = UserIndex(3);
        let mut told = 0;
        untold.failed(now, user);
        while let Some(at) = untold.deadline() {
            assert_eq!(at, now + AGAIN);
            assert_eq!(untold.due(now), []);
            now = at;
            assert_eq!(untold.due(now), [user]);
            assert_eq!(untold.deadline(), None, "it is under way");
            told += 1;
            untold.failed(now, user);
        }
        assert_eq!(told, TRIES);
        // Later it is as if nothing had been.
        untold.failed(now, user);
        assert!(untold.deadline().is_some());
        untold.forget(user);
        assert_eq!(untold.deadline(), None);
        untold.end();
        untold.failed(now, user);
        assert_eq!(untold.deadline(), None);
    }
}
