//! One party's audio of one recording: bytes in a ring, and a short list of what lies where. Payloads of
//! other codecs than G.711 lie on a shelf instead, one span each.
//!
//! ```text
//!   committed            committed + RING_SAMPLES
//!   |  [span]   [span..] [span]       |
//!   '- bytes of position p lie at p % RING_SAMPLES
//! ```

use duolog_audio::codec::Codec;
use duolog_audio::g711::Law;

use super::feed::{Feed, Feeder};
use super::gap::{Gap, GapReason, Growing};
use super::placed::{Outcome, Placed};
use super::report::{CodecsSeen, SideTotals};
use super::ring::{Fill, RING_SAMPLES, Ring};
use super::seen::Place;
use super::shelf::Shelf;
use super::span::{Holds, Span, follows, joins};
use super::stretches::Stretches;

/// A hole or an overlap of at most this between two packets that follow each other comes of drift that
/// was corrected, or of rounding: it is closed.
const DRIFT_TICKS: u64 = 2;
/// Spans a side can hold beside those of coded frames: every second packet of 10 ms missing over the whole ring.
const SPANS: usize = 64;

/// What a side counts.
#[derive(Debug, Default)]
struct Tally {
    /// Of feeds that were turned away from.
    expected: u64,
    received: u64,
    late: u64,
    duplicate: u64,
    reordered: u64,
    inserted: u64,
    dropped: u64,
    audio: u64,
    first_audio: Option<u64>,
    last_audio: Option<u64>,
    codecs: CodecsSeen,
}

pub(crate) struct Side {
    ring: Ring,
    shelf: Shelf,
    spans: Vec<Span>,
    /// What feeds it now.
    feed: Feed,
    /// What fed it before and is not final yet, the oldest first.
    earlier: Vec<Feed>,
    growing: Growing,
    /// Apart: a packet that follows its neighbour touches none of it, and the rest stays in fewer cache
    /// lines.
    tally: Box<Tally>,
}

impl Side {
    pub(crate) fn new() -> Side {
        Side {
            ring: Ring::new(),
            shelf: Shelf::default(),
            spans: Vec::with_capacity(SPANS),
            feed: Feed::new(0, 0, Feeder::Leg),
            earlier: Vec::new(),
            growing: Growing::default(),
            tally: Box::default(),
        }
    }

    /// What feeds it now.
    pub(crate) fn feed_mut(&mut self) -> &mut Feed {
        &mut self.feed
    }

    /// From `from` on somebody else feeds it: nothing of the one before comes any more. Gives the
    /// number of the new feed, and how many packets came in the one before.
    pub(crate) fn turn(&mut self, from: u64, feeder: Feeder) -> (u32, u64) {
        let number = self.feed.number + 1;
        let before = std::mem::replace(&mut self.feed, Feed::new(number, from, feeder));
        let received = before.seen.received;
        self.tally.expected += before.seen.expected;
        self.tally.received += received;
        if before.from < from || received > 0 {
            self.earlier.push(before);
        }
        (number, received)
    }

    /// What there is to tell when the recording ends at `end`.
    pub(crate) fn totals(&self, end: u64) -> SideTotals {
        let tally = &self.tally;
        let expected = tally.expected + self.feed.seen.expected;
        let received = tally.received + self.feed.seen.received;
        SideTotals {
            expected,
            received,
            lost: expected.saturating_sub(received),
            late: tally.late,
            duplicate: tally.duplicate,
            reordered: tally.reordered,
            audio_ticks: tally.audio,
            gaps: self.growing.ticks(),
            inserted_ticks: tally.inserted,
            dropped_ticks: tally.dropped,
            first_audio: tally.first_audio,
            last_audio: tally.last_audio,
            tail_ticks: end.saturating_sub(tally.last_audio.unwrap_or(0)),
            codecs: tally.codecs,
            quality: Default::default(),
        }
    }

    /// Ticks of audio that became final so far.
    pub(crate) fn audio_ticks(&self) -> u64 {
        self.tally.audio
    }

    /// A packet that was kept came behind a newer one.
    #[cold]
    pub(crate) fn note_reordered(&mut self) {
        self.tally.reordered += 1;
    }

    /// Writes a packet straight to its place; what lies in a pause is noted but its bytes are not taken.
    pub(crate) fn place(
        &mut self,
        packet: Placed<'_>,
        committed: u64,
        pauses: &Stretches,
    ) -> Outcome {
        let end = packet.at.saturating_add(i64::from(packet.ticks));
        // Positions are below 2^63 ticks.
        if end <= self.feed.from as i64 {
            return Outcome::Early;
        }
        let end = end as u64;
        if self.feed.seen.contains(packet.place) {
            self.tally.duplicate += 1;
            return Outcome::Duplicate;
        }
        if end <= committed {
            self.tally.late += 1;
            return Outcome::Late;
        }
        if end > committed + RING_SAMPLES as u64 {
            return Outcome::Ahead;
        }
        let from = (packet.at.max(0) as u64).max(committed);
        let from = from.max(self.feed.from);
        let outcome = match packet.codec.law() {
            Some(law) => self.place_pieces((packet, law), from, end, pauses),
            None => self.place_coded(packet, end, committed, pauses),
        };
        if matches!(outcome, Outcome::Kept | Outcome::Hidden) {
            self.feed.seen.mark(packet.place);
            self.feed.packet_samples = packet.ticks;
        }
        outcome
    }

    /// Shelves a payload that has to be kept whole or not at all. Where a part of it was spoken before
    /// the feed or in a pause, none of it is kept; where other audio lies already, the span is cut, the
    /// payload is not, and who decodes it drops the overlap.
    fn place_coded(
        &mut self,
        packet: Placed<'_>,
        end: u64,
        committed: u64,
        pauses: &Stretches,
    ) -> Outcome {
        if packet.at < self.feed.from as i64 {
            self.feed.seen.mark(packet.place);
            self.feed.begins_at = self.feed.begins_at.max(end);
            return Outcome::Early;
        }
        let at = packet.at as u64;
        if at < committed {
            self.tally.late += 1;
            return Outcome::Late;
        }
        if !pauses.is_clear(at, end) {
            return match self.place_piece(packet, at, end, Holds::Nothing) {
                Outcome::Kept => Outcome::Hidden,
                other => other,
            };
        }
        if !self.shelf.has_room(packet.payload.len()) {
            return Outcome::Full;
        }
        let outcome = self.place_piece(packet, at, end, Holds::Coded);
        if outcome == Outcome::Kept {
            let coded = (packet.codec, packet.payload);
            self.shelf.put(at, packet.ticks, packet.place, coded);
            self.tally.codecs.note(packet.codec);
        }
        outcome
    }

    fn place_pieces(
        &mut self,
        (packet, law): (Placed<'_>, Law),
        from: u64,
        end: u64,
        pauses: &Stretches,
    ) -> Outcome {
        if pauses.is_clear(from, end) {
            return self.place_piece(packet, from, end, Holds::Audio(law));
        }
        let (mut at, mut outcome) = (from, Outcome::Overlap);
        while at < end {
            let (paused, until) = pauses.at(at);
            let until = until.min(end);
            let (holds, success) = match paused {
                true => (Holds::Nothing, Outcome::Hidden),
                false => (Holds::Audio(law), Outcome::Kept),
            };
            match self.place_piece(packet, at, until, holds) {
                Outcome::Kept if outcome != Outcome::Kept => outcome = success,
                _ => {}
            }
            at = until;
        }
        outcome
    }

    /// Places `from..end` of a packet in the free room around its neighbours.
    fn place_piece(
        &mut self,
        packet: Placed<'_>,
        mut from: u64,
        mut end: u64,
        holds: Holds,
    ) -> Outcome {
        // Packets mostly come in order: look from the back.
        let index = self
            .spans
            .iter()
            .rposition(|span| span.at <= from)
            .map_or(0, |before| before + 1);
        let (spoken_from, spoken_end) = (from, end);
        if let Some(before) = index.checked_sub(1).map(|before| self.spans[before]) {
            from = from.max(before.end);
        }
        if let Some(behind) = self.spans.get(index) {
            end = end.min(behind.at);
        }
        if from >= end {
            return Outcome::Overlap;
        }
        let mut span = Span {
            at: from,
            end,
            holds,
            first: packet.place,
            last_seq: packet.place.seq,
        };
        self.close_holes(index, &mut span, (spoken_from, spoken_end));
        if !self.insert(index, span) {
            return Outcome::Full;
        }
        if let Holds::Audio(_) = holds {
            let skip = (from as i64 - packet.at) as usize;
            let count = (end - from) as usize;
            let codes = &packet.payload[skip..skip + count];
            self.ring.write(from, codes);
            if (span.at, span.end) != (from, end) {
                self.ring.repeat(span.at, from);
                self.ring.repeat(end, span.end);
            }
        }
        Outcome::Kept
    }

    /// Widens a span over the tick or two that drift left between it and the packets before and behind
    /// it, and counts what was closed or, where they overlapped, cut.
    #[inline]
    fn close_holes(&mut self, index: usize, span: &mut Span, spoken: (u64, u64)) {
        if let Some(before) = index.checked_sub(1).map(|before| self.spans[before])
            && before.end != spoken.0
            && before.end.abs_diff(spoken.0) <= DRIFT_TICKS
            && follows(&before, span)
        {
            self.tally.inserted += span.at - before.end;
            self.tally.dropped += span.at - spoken.0;
            span.at = before.end;
        }
        if let Some(&behind) = self.spans.get(index)
            && behind.at != spoken.1
            && behind.at.abs_diff(spoken.1) <= DRIFT_TICKS
            && follows(span, &behind)
        {
            self.tally.inserted += behind.at - span.end;
            self.tally.dropped += spoken.1 - span.end;
            span.end = behind.at;
        }
    }

    /// Joins a span with its neighbours or puts it between them; refused when there are too many.
    fn insert(&mut self, index: usize, span: Span) -> bool {
        let joins_behind = self
            .spans
            .get(index)
            .is_some_and(|behind| joins(&span, behind));
        if let Some(before) = index.checked_sub(1)
            && joins(&self.spans[before], &span)
        {
            self.spans[before].end = span.end;
            self.spans[before].last_seq = span.last_seq;
            if joins_behind {
                let behind = self.spans.remove(index);
                self.spans[before].end = behind.end;
                self.spans[before].last_seq = behind.last_seq;
            }
            return true;
        }
        if joins_behind {
            self.spans[index].at = span.at;
            self.spans[index].first = span.first;
            return true;
        }
        if self.spans.len() >= SPANS + self.shelf.len() {
            return false;
        }
        self.spans.insert(index, span);
        // A change of law is always a new span.
        match span.holds {
            Holds::Audio(Law::Mulaw) => self.tally.codecs.note(Codec::Pcmu),
            Holds::Audio(Law::Alaw) => self.tally.codecs.note(Codec::Pcma),
            Holds::Coded | Holds::Nothing => {}
        }
        true
    }

    /// A packet came that has no audio to place; it was not lost.
    pub(crate) fn pass(&mut self, place: Place) {
        self.feed.seen.mark(place);
    }

    /// Moves what is still pending of one source earlier by `ticks`: a faster packet showed that all
    /// of it was sent earlier than thought.
    pub(crate) fn shift(&mut self, generation: u64, ticks: u64, committed: u64) {
        let lowest = committed.max(self.feed.from);
        let Some(first) = self
            .spans
            .iter()
            .position(|span| span.first.generation == generation)
        else {
            return;
        };
        let mut floor = match first.checked_sub(1) {
            Some(before) => self.spans[before].end.max(lowest),
            None => lowest,
        };
        for index in first..self.spans.len() {
            let span = self.spans[index];
            let at = span.at.saturating_sub(ticks).max(floor);
            let end = span.end.saturating_sub(ticks).max(at);
            match span.holds {
                Holds::Audio(_) => {
                    self.ring.shift(at + ticks, at, end - at);
                }
                Holds::Coded if !self.shift_coded(span.first, ticks, lowest, end > at) => {
                    // Nothing of it is left: its neighbours may have the room.
                    self.give_up(index, span.end - span.at, committed);
                    (self.spans[index].at, self.spans[index].end) = (at, at);
                    continue;
                }
                Holds::Coded | Holds::Nothing => {}
            }
            if end - at < span.end - span.at && span.holds != Holds::Coded {
                self.give_up(index, span.end - span.at - (end - at), committed);
            }
            (self.spans[index].at, self.spans[index].end) = (at, end);
            floor = end;
        }
        self.spans.retain(|span| span.end > span.at);
        self.shelf.sort();
    }

    /// Moves a coded frame earlier. Whether it still has a place: its beginning must not lie in what is
    /// final, nor the whole of it on other audio.
    fn shift_coded(&mut self, place: Place, ticks: u64, lowest: u64, has_room: bool) -> bool {
        if !has_room {
            self.shelf.forget(place);
        }
        has_room && self.shelf.shift(place, ticks, lowest)
    }

    /// The first `ticks` of a span would have to lie in what is final: the packets in them came too
    /// late. Before anything of the feed is final, they were spoken before it.
    fn give_up(&mut self, index: usize, ticks: u64, committed: u64) {
        if committed <= self.feed.from {
            return;
        }
        let span = &mut self.spans[index];
        let packets = match span.holds {
            Holds::Coded => 1,
            _ => (ticks / u64::from(self.feed.packet_samples.max(1)))
                .min(span.last_seq + 1 - span.first.seq),
        };
        self.feed.seen.unmark(span.first, packets);
        self.tally.late += packets;
        if span.first.seq + packets <= span.last_seq {
            span.first.seq += packets;
        }
    }

    /// Takes back what was already placed at or behind `from`: it is paused. The bytes are wiped.
    pub(crate) fn hide_from(&mut self, from: u64) {
        let mut index = 0;
        while index < self.spans.len() {
            let span = self.spans[index];
            index += 1;
            if span.holds == Holds::Coded && self.shelf.hide(span.first, from) {
                self.spans[index - 1].holds = Holds::Nothing;
            }
            if span.end <= from || !matches!(span.holds, Holds::Audio(_)) {
                continue;
            }
            let at = span.at.max(from);
            self.ring.wipe(at, span.end);
            if at == span.at {
                self.spans[index - 1].holds = Holds::Nothing;
                continue;
            }
            self.spans[index - 1].end = at;
            let hidden = Span {
                at,
                holds: Holds::Nothing,
                first: Place {
                    seq: span.last_seq,
                    ..span.first
                },
                ..span
            };
            if self.spans.len() < SPANS + self.shelf.len() {
                self.spans.insert(index, hidden);
                index += 1;
            }
        }
    }

    /// The end of the last packet that has a place.
    pub(crate) fn newest_end(&self) -> Option<u64> {
        self.spans.last().map(|span| span.end)
    }

    /// Position of the first pending packet.
    pub(crate) fn first_pending(&self) -> Option<u64> {
        self.spans.first().map(|span| span.at)
    }

    /// The law of the audio in `from..to`, if there is any, and where another law begins.
    pub(crate) fn law_in(&self, from: u64, to: u64) -> (Option<Law>, u64) {
        let mut law = None;
        for span in self.spans.iter().filter(|span| span.end > from) {
            if span.at >= to {
                break;
            }
            if let Holds::Audio(here) = span.holds {
                if law.is_some_and(|law| law != here) {
                    return (law, span.at);
                }
                law = Some(here);
            }
        }
        (law, to)
    }

    /// Whether a coded frame begins before `to`.
    pub(crate) fn has_coded(&self, to: u64) -> bool {
        self.shelf.begins_before(to)
    }

    /// Puts the coded frames that begin before `to` into a list for the stretch from `from` on.
    pub(crate) fn leave_coded(&mut self, from: u64, to: u64, list: &mut Vec<u8>) {
        self.shelf.leave(from, to, list);
    }

    /// Makes `from..` final for `codes.len()` samples: G.711 into `codes`, silence where there is none,
    /// gaps into `found`.
    pub(crate) fn commit(
        &mut self,
        from: u64,
        codes: &mut [u8],
        fill: Fill,
        pauses: &Stretches,
        found: &mut Vec<Gap>,
    ) {
        let to = from + codes.len() as u64;
        let mut at = from;
        while at < to {
            let feed_ends = self.leave_earlier(at, found);
            let (paused, until) = pauses.at(at);
            let until = until.min(to).min(feed_ends);
            let next = match self.spans.first() {
                _ if paused => Err((until, Some(GapReason::Paused))),
                Some(span) if span.at <= at && span.holds == Holds::Nothing => {
                    Err((span.end.min(until), Some(GapReason::Paused)))
                }
                Some(span) if span.at <= at => Ok((span.end.min(until), span.holds)),
                Some(span) => Err(self.first_feed().reason_at(at, until.min(span.at))),
                None => Err(self.first_feed().reason_at(at, until)),
            };
            let piece = |until: u64| (at - from) as usize..(until - from) as usize;
            let until = match next {
                Ok((until, holds)) => {
                    self.end_gap(at, found);
                    match holds {
                        Holds::Audio(_) => self.ring.read(at, &mut codes[piece(until)]),
                        _ => self.ring.fill(at, &mut codes[piece(until)], fill),
                    }
                    self.tally.audio += until - at;
                    self.tally.first_audio.get_or_insert(at);
                    self.tally.last_audio = Some(until);
                    until
                }
                Err((until, reason)) => {
                    self.miss(at, reason, found);
                    self.ring.fill(at, &mut codes[piece(until)], fill);
                    until
                }
            };
            self.consume(until);
            at = until;
        }
        self.growing.tell(to, found);
        self.feed.forget_before(to);
        for feed in &mut self.earlier {
            feed.forget_before(to);
        }
    }

    /// The feed of what is being committed.
    fn first_feed(&self) -> &Feed {
        self.earlier.first().unwrap_or(&self.feed)
    }

    /// Leaves the feeds that end at or before `at` behind; gives where the next one begins.
    fn leave_earlier(&mut self, at: u64, found: &mut Vec<Gap>) -> u64 {
        while !self.earlier.is_empty() {
            let next = self.earlier.get(1).unwrap_or(&self.feed);
            if at < next.from {
                return next.from;
            }
            self.end_gap(at, found);
            self.growing.forgive();
            self.earlier.remove(0);
        }
        u64::MAX
    }

    /// Ends the gap that is still growing, when the recording or its feed ends.
    pub(crate) fn end_gap(&mut self, at: u64, found: &mut Vec<Gap>) {
        let around = self
            .earlier
            .first()
            .unwrap_or(&self.feed)
            .around(&self.spans);
        self.growing.end(at, &around, found);
    }

    fn miss(&mut self, at: u64, reason: Option<GapReason>, found: &mut Vec<Gap>) {
        let around = self
            .earlier
            .first()
            .unwrap_or(&self.feed)
            .around(&self.spans);
        self.growing.miss(at, reason, &around, found);
    }

    /// Drops spans up to `until`, remembering the last packet among them.
    fn consume(&mut self, until: u64) {
        while let Some(span) = self.spans.first_mut() {
            if span.at >= until {
                break;
            }
            if span.end > until {
                span.at = until;
                break;
            }
            let last = Place {
                seq: span.last_seq,
                ..span.first
            };
            // What is left of an earlier feed's last packet tells nothing of the present one.
            let mut feeds = self.earlier.iter_mut().chain([&mut self.feed]);
            if let Some(feed) = feeds.find(|feed| feed.number == last.feed()) {
                feed.after = Some(last);
            }
            self.growing.forgive();
            self.spans.remove(0);
        }
    }
}
