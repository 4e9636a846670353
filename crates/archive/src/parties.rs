//! Who was on the second channel, and when: read from the opening and the facts.

use crate::wire::{Arrival, Class, Departure, Fact, Opening, Side};
use serde::{Deserialize, Serialize};

/// One party's time on the second channel. Positions are ticks of 1/8000 s; nobody is there between one
/// party's end and the next one's beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Its first tick.
    pub from: u64,
    /// The tick behind its last one.
    pub until: u64,
    /// Its number or name.
    pub number: String,
    /// How it came.
    pub how: Arrival,
    /// How it left, where the call went on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Departure>,
}

/// The parties of the second channel, the first one first. One that was there for no time is left out,
/// unless it is the last one.
pub(crate) fn parties<'f>(
    opening: &Opening,
    facts: impl Iterator<Item = (u64, &'f Fact)>,
    length: u64,
) -> Vec<Party> {
    let come = |from: u64, number: &str, how| Party {
        from: from.min(length),
        until: length,
        number: number.to_owned(),
        how,
        left: None,
    };
    let mut earlier: Vec<Party> = Vec::new();
    let mut present = come(0, opening.party(), Arrival::Call);
    for (position, fact) in facts {
        match fact {
            Fact::PartyLeft {
                side: Side::Other,
                how,
            } if present.left.is_none() => {
                present.until = position.min(length);
                present.left = Some(*how);
            }
            Fact::PartyJoined {
                side: Side::Other,
                number,
                how,
            } => {
                let mut before = std::mem::replace(&mut present, come(position, number, *how));
                before.until = before.until.min(present.from);
                earlier.push(before);
            }
            _ => {}
        }
    }
    earlier.retain(|party| party.from < party.until);
    earlier.push(present);
    earlier
}

/// Where the party of the second channel changes, in order.
pub(crate) fn turns<'f>(facts: impl Iterator<Item = (u64, &'f Fact)>) -> Vec<u64> {
    let change = |(position, fact): (u64, &Fact)| match fact {
        Fact::PartyLeft { side, .. } | Fact::PartyJoined { side, .. } if *side == Side::Other => {
            Some(position)
        }
        _ => None,
    };
    let mut turns: Vec<u64> = facts.filter_map(change).collect();
    turns.sort_unstable();
    turns.dedup();
    turns
}

/// What kind of call it was in the end.
pub(crate) fn class<'f>(
    opening: &Opening,
    facts: impl Iterator<Item = (u64, &'f Fact)>,
) -> Option<Class> {
    let changed = |(_, fact): (u64, &Fact)| match fact {
        Fact::ClassChanged { class } => Some(*class),
        _ => None,
    };
    facts.filter_map(changed).last().or(opening.class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Chain, Direction, Nature, Network};

    fn left(position: u64, side: Side) -> (u64, Fact) {
        let how = Departure::Transferred;
        (position, Fact::PartyLeft { side, how })
    }

    fn joined(position: u64, side: Side, number: &str) -> (u64, Fact) {
        let number = number.to_owned();
        let how = Arrival::Transfer;
        (position, Fact::PartyJoined { side, number, how })
    }

    #[track_caller]
    fn check(facts: &[(u64, Fact)], expected: &[(u64, u64, &str)]) {
        let opening = Opening {
            chain: Chain {
                party: Some("B".to_owned()),
                ..Chain::default()
            },
            ..Opening::default()
        };
        let found = parties(&opening, facts.iter().map(|(at, fact)| (*at, fact)), 1_000);
        let spans: Vec<_> = found
            .iter()
            .map(|party| (party.from, party.until, party.number.as_str()))
            .collect();
        assert_eq!(spans, expected);
    }

    #[test]
    fn parties_follow_each_other_with_nobody_between_them_or_at_once() {
        use Side::{Other, Owner};
        check(&[], &[(0, 1_000, "B")]);
        check(&[left(400, Other)], &[(0, 400, "B")]);
        check(&[left(400, Owner)], &[(0, 1_000, "B")]);
        check(
            &[left(400, Other), joined(600, Other, "C")],
            &[(0, 400, "B"), (600, 1_000, "C")],
        );
        check(
            &[joined(600, Other, "C"), left(600, Owner)],
            &[(0, 600, "B"), (600, 1_000, "C")],
        );
        check(
            &[joined(600, Owner, "C"), joined(0, Other, "D")],
            &[(0, 1_000, "D")],
        );
        check(
            &[
                joined(0, Other, "C"),
                left(300, Other),
                left(350, Other),
                joined(400, Other, "D"),
                joined(400, Other, "E"),
                left(2_000, Other),
                joined(3_000, Other, "F"),
            ],
            &[(0, 300, "C"), (400, 1_000, "E"), (1_000, 1_000, "F")],
        );
    }

    #[test]
    fn the_first_party_of_older_recordings_is_the_one_that_is_not_the_owner() {
        for (direction, caller, callee, expected) in [
            (Direction::Inbound, "+31", "anna", "+31"),
            (Direction::Outbound, "anna", "+31", "+31"),
            (Direction::Internal, "anna", "bob", "bob"),
            (Direction::Internal, "bob", "anna", "bob"),
            (Direction::Unknown, "", "", ""),
        ] {
            let opening = Opening {
                direction,
                caller: caller.to_owned(),
                callee: callee.to_owned(),
                owner: "anna".to_owned(),
                ..Opening::default()
            };
            let found = parties(&opening, std::iter::empty(), 7);
            assert_eq!(found[0].number, expected);
            assert_eq!((found.len(), found[0].how), (1, Arrival::Call));
        }
    }

    #[test]
    fn the_last_class_counts_and_changes_of_the_channel_are_in_order() {
        let kind = |nature| Class {
            network: Network::Pstn,
            nature,
        };
        let facts = [
            left(9, Side::Other),
            joined(9, Side::Other, "C"),
            joined(5, Side::Owner, "D"),
            (
                9,
                Fact::ClassChanged {
                    class: kind(Nature::Conversation),
                },
            ),
            (
                10,
                Fact::ClassChanged {
                    class: kind(Nature::Voicemail),
                },
            ),
        ];
        let mut opening = Opening::default();
        let listed = || facts.iter().map(|(at, fact)| (*at, fact));
        assert_eq!(turns(listed()), [9]);
        assert_eq!(class(&opening, listed()), Some(kind(Nature::Voicemail)));
        assert_eq!(class(&opening, std::iter::empty()), None);
        opening.class = Some(kind(Nature::Emergency));
        assert_eq!(
            class(&opening, std::iter::empty()),
            Some(kind(Nature::Emergency))
        );
    }
}
