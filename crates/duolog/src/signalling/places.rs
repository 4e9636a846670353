//! How many connections peers may have open, so that none of them takes all there are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::share::network;

/// Room for connections that peers open.
#[derive(Debug, Clone)]
pub struct Places(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    all: usize,
    each: usize,
    count: usize,
    by_source: HashMap<u64, usize>,
}

/// One connection's place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    source: u64,
}

impl Places {
    /// Room for `all` connections, `each` of them from one source.
    pub fn new(all: usize, each: usize) -> Self {
        Self(Arc::new(Mutex::new(Taken {
            all,
            each,
            count: 0,
            by_source: HashMap::new(),
        })))
    }

    /// A place for a connection from `peer`, if there is one.
    pub fn take(&self, peer: IpAddr) -> Option<Place> {
        let source = network(peer);
        let mut taken = self.taken();
        let here = taken.by_source.get(&source).copied().unwrap_or(0);
        if taken.count >= taken.all || here >= taken.each {
            return None;
        }
        taken.count += 1;
        taken.by_source.insert(source, here + 1);
        let places = self.clone();
        Some(Place { places, source })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.count -= 1;
        match taken.by_source.get_mut(&self.source) {
            Some(here) if *here > 1 => *here -= 1,
            _ => drop(taken.by_source.remove(&self.source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_leave_room_for_each_other() {
        let places = Places::new(5, 2);
        let take = |host: u8| places.take([192, 0, 2, host].into());
        let mut held: Vec<Place> = [1, 1, 2, 2].into_iter().filter_map(take).collect();
        assert_eq!(held.len(), 4);
        assert!(take(1).is_none() && take(2).is_none());
        held.extend(take(3));
        assert!(take(4).is_none(), "all are taken");
        drop(held.remove(0));
        assert!(take(2).is_none());
        assert!(take(1).is_some(), "given back");
        held.clear();
        assert!(places.taken().by_source.is_empty());
        assert_eq!(places.taken().count, 0);
    }
}
