//! Fairness between sources while messages wait for the engine: nobody can fill the queue for everybody.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Sources are told apart by this many slots. Two that share one share its part of the queue.
const SLOTS: usize = 4096;

/// How many messages of each source wait. The same for every reader of a node.
#[derive(Debug, Clone)]
pub struct Shares(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: u32,
    waiting: Box<[AtomicU32]>,
    hasher: RandomState,
}

/// One waiting message. Whoever takes it from the queue drops this.
#[derive(Debug)]
pub struct Share {
    of: Arc<Inner>,
    slot: usize,
}

impl Shares {
    /// At most `most` messages of one source wait.
    pub fn new(most: u32) -> Self {
        Self(Arc::new(Inner {
            most,
            waiting: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
        }))
    }

    /// A place in the queue for a message of `source`; none while too many of its messages wait.
    pub fn take(&self, source: IpAddr) -> Option<Share> {
        let slot = self.0.hasher.hash_one(network(source)) as usize % SLOTS;
        let waiting = &self.0.waiting[slot];
        if waiting.fetch_add(1, Ordering::Relaxed) >= self.0.most {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let of = Arc::clone(&self.0);
        Some(Share { of, slot })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.waiting[self.slot].fetch_sub(1, Ordering::Relaxed);
    }
}

/// What counts as one source: an IPv4 address, or the /64 that one IPv6 host is given.
pub fn network(source: IpAddr) -> u64 {
    match source.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_part_and_leaves_the_rest() {
        let shares = Shares::new(3);
        let [noisy, other, near, far] =
            ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"]
                .map(|ip| ip.parse::<IpAddr>().expect("an address"));
        let mut held: Vec<Share> = (0..3).filter_map(|_| shares.take(noisy)).collect();
        assert_eq!(held.len(), 3);
        assert!(shares.take(noisy).is_none());
        let mapped = "::ffff:192.0.2.1".parse().expect("an address");
        assert!(shares.take(mapped).is_none(), "the same source");
        assert!(shares.take(other).is_some());
        drop(held.pop());
        assert!(shares.take(noisy).is_some());
        assert_eq!(
            network(near),
            network("2001:db8::ffff".parse().expect("one"))
        );
        assert_ne!(network(near), network(far));
    }
}
