//! Slowing down who guesses passwords: one source with many users, or many sources with one user.
//!
//! 1. Only wrong answers to a nonce that was given to that very source count, so no one can be slowed
//!    by forged datagrams.
//! 2. Where a user was let in before, that user is slowed only by wrong answers for that user from
//!    there: neither guesses made elsewhere nor a phone next to it that is set up wrong shut it out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Most sources, and most users, that are remembered.
const MAX_ROWS: usize = 4096;
/// Most pairs of user and source that are remembered as good.
const MAX_KNOWN: usize = 16_384;
/// Half of what is held against someone is forgotten in this time.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// Longest user name that is kept.
const MAX_NAME: usize = 64;

/// Who is slowed down and for how long.
#[derive(Debug)]
pub(super) struct Guard {
    sources: Table<IpAddr>,
    users: Table<String>,
    /// Wrong answers for a user from where that user was let in before.
    pairs: Table<(String, IpAddr)>,
    known: BTreeSet<(String, IpAddr)>,
    known_order: VecDeque<(String, IpAddr)>,
}

#[derive(Debug)]
struct Table<K> {
    rows: BTreeMap<K, Row>,
    /// Wrong answers without consequence.
    free: u32,
    /// The longest delay is 2 to this power, in seconds.
    longest: u32,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    bad: u32,
    last: Instant,
    until: Instant,
}

impl Guard {
    pub(super) fn new() -> Guard {
        Guard {
            // Many phones may stand behind one address, and some of them be set up wrong.
            sources: Table::new(10, 9),
            users: Table::new(5, 6),
            pairs: Table::new(5, 6),
            known: BTreeSet::new(),
            known_order: VecDeque::new(),
        }
    }

    /// For how long nothing is heard for this user from this source.
    pub(super) fn slowed(&self, now: Instant, user: &str, source: IpAddr) -> Option<Duration> {
        let pair = (cut(user), network(source));
        if self.known.contains(&pair) {
            return self.pairs.slowed(now, &pair);
        }
        let source = self.sources.slowed(now, &pair.1);
        source.max(self.users.slowed(now, &pair.0))
    }

    /// A wrong answer.
    pub(super) fn bad(&mut self, now: Instant, user: &str, source: IpAddr) {
        let pair = (cut(user), network(source));
        if self.known.contains(&pair) {
            return self.pairs.bad(now, pair);
        }
        self.sources.bad(now, pair.1);
        self.users.bad(now, pair.0);
    }

    /// A right answer. The source stays where it is: who has one password may be guessing others.
    pub(super) fn good(&mut self, user: &str, source: IpAddr) {
        let pair = (cut(user), network(source));
        if !self.known.insert(pair.clone()) {
            return;
        }
        self.known_order.push_back(pair);
        if self.known_order.len() > MAX_KNOWN
            && let Some(oldest) = self.known_order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl<K: Ord + Clone> Table<K> {
    fn new(free: u32, longest: u32) -> Table<K> {
        Table {
            rows: BTreeMap::new(),
            free,
            longest,
        }
    }

    fn slowed(&self, now: Instant, key: &K) -> Option<Duration> {
        let left = self.rows.get(key)?.until.checked_duration_since(now)?;
        (!left.is_zero()).then_some(left)
    }

    fn bad(&mut self, now: Instant, key: K) {
        if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&key) {
            let oldest = self.rows.iter().min_by_key(|(_, row)| row.last);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.rows.remove(&oldest);
            }
        }
        let row = self.rows.entry(key).or_insert(Row {
            bad: 0,
            last: now,
            until: now,
        });
        let quiet = now.saturating_duration_since(row.last).as_secs() / HALF_LIFE.as_secs();
        let left = row
            .bad
            .checked_shr(u32::try_from(quiet).unwrap_or(u32::MAX));
        row.bad = left.unwrap_or(0).saturating_add(1);
        row.last = now;
        if let Some(over) = row.bad.checked_sub(self.free + 1) {
            row.until = now + Duration::from_secs(1 << over.min(self.longest));
        }
    }
}

/// The address, or for IPv6 the network of 64 bits that one customer has.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let bits = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        v4 => v4,
    }
}

fn cut(user: &str) -> String {
    user.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::base;
    use super::*;

    fn source(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn delays_double_and_are_forgotten() {
        let mut table = Table::new(2, 3);
        let mut now = base();
        let delays: Vec<u64> = (0..8)
            .map(|_| {
                table.bad(now, ());
                let delay = table.slowed(now, &()).unwrap_or_default();
                now += delay;
                assert_eq!(table.slowed(now, &()), None);
                delay.as_secs()
            })
            .collect();
        assert_eq!(delays, [0, 0, 1, 2, 4, 8, 8, 8]);
        now += HALF_LIFE * 3;
        table.bad(now, ());
        assert_eq!(table.slowed(now, &()), None);
    }

    #[test]
    fn networks() {
        for (address, want) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(network(source(address)), source(want));
        }
    }

    #[test]
    fn who_was_let_in_before_is_not_slowed_by_others() {
        let (mut guard, now) = (Guard::new(), base());
        let home = source("192.0.2.1");
        guard.good("alice", home);
        for n in 0..20 {
            guard.bad(now, "alice", source(&format!("198.51.100.{n}")));
        }
        assert_eq!(guard.slowed(now, "alice", home), None);
        assert!(guard.slowed(now, "alice", source("192.0.2.2")).is_some());
        assert_eq!(guard.slowed(now, "bob", source("192.0.2.2")), None);
        assert_eq!(guard.slowed(now, "bob", source("198.51.100.3")), None);
        for n in 0..11 {
            guard.bad(now, &format!("guess{n}"), home);
        }
        assert!(guard.slowed(now, "bob", home).is_some());
        assert_eq!(guard.slowed(now, "alice", home), None);
        for _ in 0..6 {
            guard.bad(now, "alice", home);
        }
        assert!(guard.slowed(now, "alice", home).is_some());
    }

    #[test]
    fn tables_are_bounded() {
        let (mut guard, now) = (Guard::new(), base());
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..20_000 {
            guard.bad(
                now + Duration::from_millis(n.into()),
                &format!("u{n}"),
                ip(n),
            );
            guard.good(&format!("u{n}"), ip(n));
        }
        assert_eq!(guard.sources.rows.len(), MAX_ROWS);
        assert_eq!(guard.users.rows.len(), MAX_ROWS);
        assert_eq!(guard.known.len(), MAX_KNOWN);
        assert_eq!(guard.known_order.len(), MAX_KNOWN);
    }
}
