//! A copy of what a party sent, to the side of a recording that is its own.
//!
//! It hangs before anything is injected: what it is given is the datagram as received.

use std::time::Instant;

use duolog_audio::g711::Law;
use duolog_rtp::source::Kind;

use crate::counters::{Counters, DropReason};
use crate::incoming::{Arrival, Incoming, Motion};
use crate::outbox::{Channel, Entry};
use crate::track::{Outcome, Placed, Track, Workbench};

/// After this many packets in a row without a place (half a second of 20 ms), the party's clock or
/// path has changed for good, and its packets are placed by arrival anew.
const SLIPPED_PACKETS: u16 = 25;

/// What of a packet can be recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    Speech(Law, &'a [u8]),
    /// A telephone-event's duration so far, in samples.
    Event(u16),
    /// Nothing that is understood.
    Unknown,
}

/// The way from a leg to its side of one recording.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) recording: usize,
    pub(crate) channel: Channel,
    /// Added to every position since the party's packets slipped out of the window.
    slip: i64,
    misplaced: u16,
}

/// What a tap writes with.
pub(crate) struct Desk<'a> {
    pub(crate) bench: &'a mut Workbench,
    pub(crate) entries: &'a mut Vec<Entry>,
    pub(crate) counters: &'a mut Counters,
}

impl Tap {
    pub(crate) fn new(recording: usize, channel: Channel) -> Tap {
        Tap {
            recording,
            channel,
            slip: 0,
            misplaced: 0,
        }
    }

    /// Takes one packet.
    #[inline]
    pub(crate) fn take(
        &mut self,
        arrived: Instant,
        arrival: &Arrival,
        content: Content<'_>,
        incoming: &Incoming,
        track: &mut Track,
        desk: Desk<'_>,
    ) {
        let Some(start) = track.start() else { return };
        match arrival.motion {
            Motion::None => {}
            Motion::Earlier(ticks) => track.shift(self.channel, arrival.place.generation, ticks),
            Motion::Anchored(until) => {
                (self.slip, self.misplaced) = (0, 0);
                track.settle(self.channel, until);
            }
        }
        let at = incoming.ticks_after(start, arrival.timestamp);
        match (content, at) {
            (Content::Speech(law, codes), Some(at)) => {
                let packet = Placed {
                    at: at.saturating_add(self.slip),
                    place: arrival.place,
                    law,
                    codes,
                };
                self.place(arrived, arrival.kind, packet, track, desk);
            }
            (Content::Event(samples), Some(at)) => {
                let from = at.saturating_add(self.slip);
                let until = from.saturating_add(i64::from(samples));
                track.event(self.channel, arrival.place, from, until);
            }
            _ => track.side_mut(self.channel).pass(arrival.place),
        }
    }

    #[inline]
    fn place(
        &mut self,
        arrived: Instant,
        kind: Kind,
        mut packet: Placed<'_>,
        track: &mut Track,
        desk: Desk<'_>,
    ) {
        let mut outcome = track.place(self.channel, packet);
        if outcome == Outcome::Ahead {
            // The shard was not ticked for long: make room as of this packet's arrival.
            track.advance(arrived, desk.bench, desk.entries);
            outcome = track.place(self.channel, packet);
        }
        let misplaced = matches!(outcome, Outcome::Late | Outcome::Ahead) && kind == Kind::New;
        self.misplaced = match misplaced {
            true => self.misplaced + 1,
            false => 0,
        };
        if self.misplaced >= SLIPPED_PACKETS {
            // Positions are below 2^63 samples.
            let by_arrival = track.position(arrived) as i64;
            self.slip += by_arrival - packet.at;
            packet.at = by_arrival;
            self.misplaced = 0;
            outcome = track.place(self.channel, packet);
        }
        match outcome {
            Outcome::Kept => desk.counters.tapped += 1,
            Outcome::Hidden | Outcome::Early => {}
            Outcome::Late => desk.counters.drop(DropReason::Late),
            Outcome::Duplicate => desk.counters.drop(DropReason::Duplicate),
            Outcome::Ahead | Outcome::Overlap | Outcome::Full => {
                desk.counters.drop(DropReason::Misplaced);
            }
        }
    }
}
