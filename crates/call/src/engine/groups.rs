//! Which group a call's media belongs to: parties can be brought together within one only, so all calls
//! of one person are in one group.

use std::collections::BTreeMap;

use crate::media::MediaGroup;
use crate::route::Party;
use crate::settings::UserIndex;

/// The groups, and where people are who talk now.
pub(super) struct Groups {
    count: u32,
    next: u32,
    people: BTreeMap<usize, Place>,
}

struct Place {
    group: MediaGroup,
    calls: u32,
}

impl Groups {
    pub(super) fn new(more: u32) -> Self {
        Self {
            count: more.saturating_add(1),
            next: 0,
            people: BTreeMap::new(),
        }
    }

    /// The group of a new call between these: that of their running calls, else the next in turn.
    pub(super) fn choose(&mut self, parties: [Party; 2]) -> MediaGroup {
        let known = parties.into_iter().find_map(|party| match party {
            Party::User(UserIndex(at)) => self.people.get(&at).map(|place| place.group),
            Party::Trunk(_) => None,
        });
        known.unwrap_or_else(|| {
            let group = MediaGroup(self.next);
            self.next = (self.next + 1) % self.count;
            group
        })
    }

    /// Somebody takes part in a call of this group.
    pub(super) fn enter(&mut self, UserIndex(at): UserIndex, group: MediaGroup) {
        let place = self.people.entry(at).or_insert(Place { group, calls: 0 });
        place.calls += 1;
    }

    /// Somebody takes part in it no more.
    pub(super) fn leave(&mut self, UserIndex(at): UserIndex) {
        if let Some(place) = self.people.get_mut(&at) {
            place.calls -= 1;
            if place.calls == 0 {
                self.people.remove(&at);
            }
        }
    }

    /// How many people talk.
    pub(super) fn len(&self) -> usize {
        self.people.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TrunkIndex;

    #[test]
    fn calls_of_one_person_are_together() {
        let mut groups = Groups::new(2);
        let trunk = Party::Trunk(TrunkIndex(0));
        let user = |at| Party::User(UserIndex(at));
        let first = groups.choose([trunk, user(1)]);
        assert_eq!(first, MediaGroup(0));
        groups.enter(UserIndex(1), first);
        // A trunk binds nobody.
        assert_eq!(groups.choose([trunk, user(2)]), MediaGroup(1));
        assert_eq!(groups.choose([user(1), user(3)]), MediaGroup(0));
        groups.enter(UserIndex(1), first);
        assert_eq!(groups.choose([user(4), user(1)]), MediaGroup(0));
        groups.leave(UserIndex(1));
        assert_eq!(groups.choose([trunk, user(1)]), MediaGroup(0));
        groups.leave(UserIndex(1));
        assert_eq!(
            (groups.len(), groups.choose([trunk, user(1)])),
            (0, MediaGroup(2))
        );
        assert_eq!(groups.choose([trunk, trunk]), MediaGroup(0), "in turn");
    }
}
