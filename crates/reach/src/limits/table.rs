//! Sources by their key, in the order in which they were last heard.

use std::collections::HashMap;
use std::time::Instant;

use super::Rates;
use super::bucket::{Bucket, Buckets};

/// Old sources looked at to find one that may be forgotten.
const TRIES: usize = 8;

/// No source.
const NONE: u32 = u32::MAX;

/// A bounded table. Slots are a list from the newest to the oldest, by their numbers.
#[derive(Debug)]
pub(super) struct Table {
    bound: usize,
    by_key: HashMap<u64, u32>,
    slots: Vec<Slot>,
    newest: u32,
    oldest: u32,
}

#[derive(Debug)]
struct Slot {
    key: u64,
    newer: u32,
    older: u32,
    buckets: Buckets,
}

impl Table {
    pub(super) fn new(bound: usize) -> Self {
        let most = usize::try_from(NONE - 1).unwrap_or(usize::MAX);
        Self {
            bound: bound.min(most),
            by_key: HashMap::new(),
            slots: Vec::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    /// A source that is remembered.
    pub(super) fn peek(&self, key: u64) -> Option<&Buckets> {
        let at = self.by_key.get(&key)?;
        self.slots.get(*at as usize).map(|slot| &slot.buckets)
    }

    /// A source, remembered from now on if it was not. `None` when there is no room for a newcomer, or
    /// none may come now.
    pub(super) fn find(
        &mut self,
        now: Instant,
        key: u64,
        rates: &Rates,
        newcomers: &mut Bucket,
    ) -> Option<&mut Buckets> {
        let at = match self.by_key.get(&key) {
            Some(at) => *at,
            None if newcomers.take(now) => self.make(now, key, rates)?,
            None => return None,
        };
        self.renew(at);
        self.slots.get_mut(at as usize).map(|s| &mut s.buckets)
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    fn make(&mut self, now: Instant, key: u64, rates: &Rates) -> Option<u32> {
        let slot = Slot {
            key,
            newer: NONE,
            older: NONE,
            buckets: Buckets::full(rates, Some(now)),
        };
        let at = if self.slots.len() < self.bound {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).ok()?
        } else {
            let at = self.forgettable(now, rates)?;
            self.unlink(at);
            let old = std::mem::replace(self.slot(at), slot);
            self.by_key.remove(&old.key);
            at
        };
        self.by_key.insert(key, at);
        self.link(at);
        Some(at)
    }

    /// An old source that loses nothing when it is forgotten. Others are put in front, to be looked at
    /// after those that may have rested longer.
    fn forgettable(&mut self, now: Instant, rates: &Rates) -> Option<u32> {
        for _ in 0..TRIES {
            let at = self.oldest;
            if self.slot(at).buckets.is_full(now, rates) {
                return Some(at);
            }
            self.renew(at);
        }
        None
    }

    fn renew(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.link(at);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Slot { newer, older, .. } = *self.slot(at);
        match newer {
            NONE => self.newest = older,
            newer => self.slot(newer).older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.slot(older).newer = newer,
        }
    }

    fn link(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.newest, at);
        let slot = self.slot(at);
        (slot.newer, slot.older) = (NONE, before);
        match before {
            NONE => self.oldest = at,
            before => self.slot(before).newer = at,
        }
    }

    fn slot(&mut self, at: u32) -> &mut Slot {
        let slot = self.slots.get_mut(at as usize);
        slot.expect("numbers in the list are those of slots")
    }
}
