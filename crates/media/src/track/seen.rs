//! Which sequence numbers of a source came: tells a lost packet from a pause in sending.

/// How many sequence numbers are remembered: ten seconds at 10 ms a packet.
const REMEMBERED: u64 = 1_024;

/// A place in the packet stream of one source of one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Counts the sources a leg has had; sequence numbers compare only within one. On a side of a
    /// recording the feed stands above them (see [`Place::of_feed`]).
    pub(crate) generation: u64,
    /// The extended sequence number.
    pub(crate) seq: u64,
}

/// Where the number of a feed begins in a generation: a leg has far fewer sources than 2^32.
const FEED_SHIFT: u32 = 32;

impl Place {
    /// The same place on a side that several legs feed one after the other.
    pub(crate) fn of_feed(self, feed: u32) -> Place {
        Place {
            generation: generation_of(feed, self.generation),
            ..self
        }
    }

    /// Which of a side's feeds it belongs to.
    pub(crate) fn feed(self) -> u32 {
        (self.generation >> FEED_SHIFT) as u32
    }
}

/// A leg's generation as a side knows it.
pub(crate) fn generation_of(feed: u32, generation: u64) -> u64 {
    u64::from(feed) << FEED_SHIFT | generation
}

/// The newest sequence numbers of the newest source.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    newest: Option<Place>,
    /// The oldest number of the newest source.
    first: u64,
    bits: [u64; (REMEMBERED / 64) as usize],
    /// Packets that should have come: one per sequence number between first and newest.
    pub(crate) expected: u64,
    /// Packets that came, each counted once.
    pub(crate) received: u64,
}

impl Seen {
    /// Sets where a source stands when a recording begins in the middle of it.
    pub(crate) fn seed(&mut self, place: Place) {
        self.newest = Some(place);
        self.first = place.seq;
        self.bits = [u64::MAX; (REMEMBERED / 64) as usize];
    }

    /// Whether this packet was marked before.
    pub(crate) fn contains(&self, place: Place) -> bool {
        self.newest.is_some_and(|newest| {
            newest.generation == place.generation
                && place.seq <= newest.seq
                && newest.seq - place.seq < REMEMBERED
                && self.bit(place.seq)
        })
    }

    /// Marks a packet as come.
    pub(crate) fn mark(&mut self, place: Place) {
        match self.newest {
            Some(newest) if newest.generation == place.generation => {
                if place.seq > newest.seq {
                    self.advance(newest.seq, place);
                } else if newest.seq - place.seq >= REMEMBERED || self.bit(place.seq) {
                    return;
                } else if place.seq < self.first {
                    // A source's second packet overtook its first.
                    self.expected += self.first - place.seq;
                    self.first = place.seq;
                }
            }
            _ => {
                self.bits = [0; (REMEMBERED / 64) as usize];
                self.newest = Some(place);
                self.first = place.seq;
                self.expected += 1;
            }
        }
        self.received += 1;
        self.bits[Self::word(place.seq)] |= 1 << (place.seq % 64);
    }

    /// Packets that came turned out to have no place: they count as not come.
    pub(crate) fn unmark(&mut self, first: Place, count: u64) {
        for seq in first.seq..first.seq + count {
            let place = Place { seq, ..first };
            if self.contains(place) {
                self.received -= 1;
                self.bits[Self::word(seq)] &= !(1 << (seq % 64));
            }
        }
    }

    /// How many packets strictly between `after` and `before` never came.
    pub(crate) fn missing_between(&self, after: Place, before: Place) -> u64 {
        if after.generation != before.generation || before.seq <= after.seq {
            return 0;
        }
        let between = before.seq - after.seq - 1;
        let Some(newest) = self.newest else {
            return between;
        };
        let forgotten = newest.generation != after.generation
            || newest.seq.saturating_sub(after.seq) >= REMEMBERED;
        if forgotten {
            return between;
        }
        (after.seq + 1..before.seq)
            .filter(|&seq| !self.bit(seq))
            .count() as u64
    }

    fn advance(&mut self, from: u64, to: Place) {
        let step = to.seq - from;
        self.expected += step;
        for seq in (from + 1..=to.seq).take(REMEMBERED as usize) {
            self.bits[Self::word(seq)] &= !(1 << (seq % 64));
        }
        if step > REMEMBERED {
            self.bits = [0; (REMEMBERED / 64) as usize];
        }
        self.newest = Some(to);
    }

    fn bit(&self, seq: u64) -> bool {
        self.bits[Self::word(seq)] >> (seq % 64) & 1 == 1
    }

    fn word(seq: u64) -> usize {
        ((seq % REMEMBERED) / 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64) -> Place {
        Place { generation: 1, seq }
    }

    #[test]
    fn counts_what_is_missing_exactly_once() {
        let mut seen = Seen::default();
        for seq in [65_530, 65_531, 65_535, 65_533, 65_533, 65_540] {
            seen.mark(place(seq));
        }
        assert_eq!(seen.missing_between(place(65_531), place(65_533)), 1);
        assert_eq!(seen.missing_between(place(65_533), place(65_535)), 1);
        assert_eq!(seen.missing_between(place(65_535), place(65_540)), 4);
        assert_eq!(seen.missing_between(place(65_540), place(65_540)), 0);
        assert_eq!((seen.expected, seen.received), (11, 5));
        assert!(seen.contains(place(65_533)));
        assert!(!seen.contains(place(65_534)));
    }

    #[test]
    fn what_was_overtaken_at_the_beginning_is_expected_too() {
        let mut seen = Seen::default();
        for seq in [105, 103, 106, 104, 103] {
            seen.mark(place(seq));
        }
        assert_eq!((seen.expected, seen.received), (4, 4));
        seen.mark(place(100));
        assert_eq!((seen.expected, seen.received), (7, 5));
    }

    #[test]
    fn what_lost_its_place_counts_as_not_come() {
        let mut seen = Seen::default();
        (10..20).for_each(|seq| seen.mark(place(seq)));
        seen.unmark(place(12), 3);
        seen.unmark(place(13), 1);
        seen.unmark(place(30), 1);
        assert_eq!((seen.expected, seen.received), (10, 7));
        assert_eq!(seen.missing_between(place(11), place(15)), 3);
    }

    #[test]
    fn sources_do_not_compare() {
        let mut seen = Seen::default();
        seen.mark(place(10));
        let other = Place {
            generation: 2,
            seq: 14,
        };
        seen.mark(other);
        assert_eq!(seen.missing_between(place(10), other), 0);
        assert_eq!(seen.missing_between(place(10), place(14)), 3);
        assert_eq!((seen.expected, seen.received), (2, 2));
    }

    #[test]
    fn a_long_step_forgets_what_was_before() {
        let mut seen = Seen::default();
        seen.mark(place(1));
        seen.mark(place(5_000));
        assert_eq!(seen.missing_between(place(1), place(5_000)), 4_998);
        seen.mark(place(4_999));
        assert!(seen.contains(place(4_999)));
        assert!(!seen.contains(place(4_000)));
    }

    #[test]
    fn a_seed_counts_nothing_but_lets_loss_show() {
        let mut seen = Seen::default();
        seen.seed(place(100));
        assert_eq!((seen.expected, seen.received), (0, 0));
        seen.mark(place(103));
        assert_eq!(seen.missing_between(place(100), place(103)), 2);
        assert_eq!((seen.expected, seen.received), (3, 1));
    }
}
