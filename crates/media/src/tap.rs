//! A copy of what a party sent, to the side of a recording that is its own.
//!
//! It hangs before anything is injected: what it is given is the datagram as received.

use std::time::Instant;

use duolog_audio::codec::Codec;
use duolog_rtp::source::Kind;

use crate::counters::{Counters, DropReason};
use crate::incoming::{Arrival, Incoming, Motion};
use crate::outbox::{Channel, Entry};
use crate::track::{Outcome, Placed, Track, WINDOW_SAMPLES, Workbench};

/// After this many packets in a row outside the window that come no nearer to it, the party's clock
/// or path has changed for good, and its packets are placed by arrival anew.
const SLIPPED_PACKETS: u16 = 5;

/// What of a packet can be recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    /// What the party said.
    Speech {
        codec: Codec,
        payload: &'a [u8],
        /// How long it lasts, in 1/8000 s.
        ticks: u32,
    },
    /// A telephone-event's duration so far, in 1/8000 s.
    Event { ticks: u32 },
    /// Comfort noise (RFC 3389), by which a party says that it is silent, or nothing that is understood.
    Unknown,
}

/// The way from a leg to its side of one recording.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) recording: usize,
    pub(crate) channel: Channel,
    /// Which of the feeds of its side it is.
    feed: u32,
    /// Added to every position since the party's packets slipped out of the window.
    slip: i64,
    astray: Option<Astray>,
}

/// Packets in a row outside the window.
#[derive(Debug, Clone, Copy)]
struct Astray {
    /// Where the first was to lie, and how far behind it was when it came; negative: ahead.
    at: i64,
    behind: i64,
    packets: u16,
}

/// What a tap writes with.
pub(crate) struct Desk<'a> {
    pub(crate) bench: &'a mut Workbench,
    pub(crate) entries: &'a mut Vec<Entry>,
    pub(crate) counters: &'a mut Counters,
}

impl Tap {
    pub(crate) fn new(recording: usize, channel: Channel, feed: u32) -> Tap {
        Tap {
            recording,
            channel,
            feed,
            slip: 0,
            astray: None,
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
        let place = arrival.place.of_feed(self.feed);
        match arrival.motion {
            Motion::None => {}
            Motion::Earlier(ticks) => track.shift(self.channel, place.generation, ticks),
            Motion::Anchored(until) => {
                (self.slip, self.astray) = (0, None);
                track.settle(self.channel, until);
            }
        }
        let at = incoming.place_of(start, arrival);
        match (content, at) {
            (
                Content::Speech {
                    codec,
                    payload,
                    ticks,
                },
                Some(at),
            ) => {
                let packet = Placed {
                    at: at.saturating_add(self.slip),
                    place,
                    codec,
                    payload,
                    ticks,
                };
                self.place(arrived, arrival.kind, packet, track, desk);
            }
            (Content::Event { .. }, _) if !incoming.is_present(arrival) => {}
            (Content::Event { ticks }, Some(at)) => {
                let from = at.saturating_add(self.slip);
                let until = from.saturating_add(i64::from(ticks));
                track.event(self.channel, place, from, until);
            }
            _ => track.side_mut(self.channel).pass(place),
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
        // Positions are below 2^63 samples.
        let behind = track.position(arrived) as i64 - packet.at;
        let outside = behind > WINDOW_SAMPLES as i64 || outcome == Outcome::Ahead;
        if !outside {
            self.astray = None;
        } else if kind == Kind::New && self.has_slipped(packet.at, behind) {
            self.slip += behind;
            self.astray = None;
            if matches!(outcome, Outcome::Late | Outcome::Ahead) {
                packet.at += behind;
                outcome = track.place(self.channel, packet);
            }
        }
        match outcome {
            Outcome::Kept => {
                desk.counters.tapped += 1;
                if kind == Kind::Reordered {
                    track.side_mut(self.channel).note_reordered();
                }
            }
            Outcome::Hidden | Outcome::Early => {}
            Outcome::Late => desk.counters.drop(DropReason::Late),
            Outcome::Duplicate => desk.counters.drop(DropReason::Duplicate),
            Outcome::Ahead | Outcome::Overlap | Outcome::Full => {
                desk.counters.drop(DropReason::Misplaced);
            }
        }
    }

    /// Whether a further packet outside the window shows that the party will not come back into it. What
    /// a network held up comes back by as much as it is long; what slipped stays where it is.
    #[cold]
    fn has_slipped(&mut self, at: i64, behind: i64) -> bool {
        let first = Astray {
            at,
            behind,
            packets: 0,
        };
        let astray = self.astray.get_or_insert(first);
        astray.packets += 1;
        let came_back = astray.behind - behind;
        let spoke = at - astray.at;
        astray.packets >= SLIPPED_PACKETS && 4 * came_back.abs() <= spoke
    }
}
