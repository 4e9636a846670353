//! Deadlines in order; the cost per transaction grows with the logarithm of their number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{ClientId, ClientKey, ServerKey};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Client(ClientId),
    Server(ServerKey),
}

impl Owner {
    /// The least of all.
    pub(crate) const FIRST: Owner = Owner::Client(ClientId::User(ClientKey(0)));
}

#[derive(Debug, Default)]
pub(crate) struct Schedule {
    order: BTreeSet<(Instant, Owner)>,
    at: BTreeMap<Owner, Instant>,
}

impl Schedule {
    pub(crate) fn first(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Sets or clears the one deadline of an owner.
    pub(crate) fn set(&mut self, owner: Owner, deadline: Option<Instant>) {
        let before = match deadline {
            Some(at) => self.at.insert(owner, at),
            None => self.at.remove(&owner),
        };
        if before == deadline {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, owner));
        }
        if let Some(at) = deadline {
            self.order.insert((at, owner));
        }
    }

    /// Takes the earliest owner whose deadline has come.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Owner> {
        let (at, owner) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.set(owner, None);
        Some(owner)
    }
}
