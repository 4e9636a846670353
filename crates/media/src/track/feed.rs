//! What one leg brings to a side, from the position where it began to feed it.
//!
//! ```text
//!   |<------ feed 0 ------>|<- feed 1 ->|<------ feed 2 ----
//!   start                  turn         turn
//! ```
//!
//! 1. Nothing of a feed lies before its beginning. What came before its end is kept, also the rest of
//!    its last packet, which may lie behind it.
//! 2. A gap belongs to one feed: what is missing at its end is explained by its own packets alone.
//! 3. Holds, telephone-events and sequence numbers are those of its leg and end with it.

use super::gap::{Around, GapReason};
use super::seen::{Place, Seen};
use super::span::Span;
use super::stretches::Stretches;

/// Who feeds a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feeder {
    /// A leg.
    Leg,
    /// No leg: there is no party.
    Nobody,
}

/// One leg's time on a side.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Counts the feeds of the side.
    pub(crate) number: u32,
    /// Where it begins.
    pub(crate) from: u64,
    feeder: Feeder,
    pub(crate) seen: Seen,
    /// Last packet before what is being committed.
    pub(crate) after: Option<Place>,
    pub(crate) packet_samples: u32,
    /// Where packets that came after its beginning can lie.
    pub(crate) begins_at: u64,
    /// Where the party is on hold.
    pub(crate) held: Stretches,
    /// Where telephone-events lie.
    pub(crate) events: Stretches,
}

impl Feed {
    pub(crate) fn new(number: u32, from: u64, feeder: Feeder) -> Feed {
        Feed {
            number,
            from,
            feeder,
            seen: Seen::default(),
            after: None,
            packet_samples: 160,
            begins_at: from,
            held: Stretches::new(),
            events: Stretches::new(),
        }
    }

    /// Where the party's source stands when the feed begins: the newest packet, and the position where
    /// it ends. What it holds behind the beginning came before it and was not taken.
    pub(crate) fn seed(&mut self, place: Place, ends: i64) {
        let place = place.of_feed(self.number);
        self.seen.seed(place);
        self.after = Some(place);
        self.begins_at = self.from.max(ends.max(0) as u64);
    }

    /// A telephone-event covers `from..until`; its packet was not lost.
    pub(crate) fn event(&mut self, place: Place, from: i64, until: i64, committed: u64) {
        self.seen.mark(place);
        let from = (from.max(0) as u64).max(committed).max(self.from);
        // Positions are below 2^63 ticks.
        if until > from as i64 {
            self.events.cover(from, until as u64);
        }
    }

    /// Why `at` is missing, and until where that holds. `None`: the packets around it will tell.
    pub(crate) fn reason_at(&self, at: u64, until: u64) -> (u64, Option<GapReason>) {
        if self.feeder == Feeder::Nobody {
            return (until, Some(GapReason::Absent));
        }
        let (held, held_until) = self.held.at(at);
        let (event, event_until) = self.events.at(at);
        let mut until = until.min(held_until).min(event_until);
        if at < self.begins_at {
            until = until.min(self.begins_at);
        }
        let reason = match self.after {
            _ if held => Some(GapReason::Held),
            _ if event => Some(GapReason::Dtmf),
            None => Some(GapReason::NotStarted),
            Some(_) if at < self.begins_at => Some(GapReason::NotStarted),
            Some(_) => None,
        };
        (until, reason)
    }

    /// What is known of the packets around a missing stretch in front of `spans`.
    pub(crate) fn around(&self, spans: &[Span]) -> Around<'_> {
        Around {
            seen: &self.seen,
            after: self.after,
            before: spans.first().map(|span| span.first),
            packet_samples: self.packet_samples,
        }
    }

    /// Forgets holds and events that ended at or before `position`.
    pub(crate) fn forget_before(&mut self, position: u64) {
        self.held.forget_before(position);
        self.events.forget_before(position);
    }
}
