//! One party's audio of one recording: bytes in a ring, and a short list of what lies where.
//!
//! ```text
//!   committed            committed + RING_SAMPLES
//!   |  [span]   [span..] [span]       |
//!   '- bytes of position p lie at p % RING_SAMPLES
//! ```

use duolog_audio::g711::{self, Law};

use super::gap::{Around, Gap, GapReason, Growing};
use super::seen::{Place, Seen};
use super::stretches::Stretches;

/// Samples (and bytes) a side holds: 200 ms of reordering, a block of 320 ms, ten packets of 60 ms,
/// rounded up to whole blocks. Not a power of two: two sides of 16,384 would not leave room in the
/// 32 KiB a recording may use, and the divisor is a constant.
pub(crate) const RING_SAMPLES: usize = 10_240;
/// Spans a side can hold: every second packet of 10 ms missing over the whole ring.
const SPANS: usize = 64;

/// What became of a packet that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Kept, at least in part.
    Kept,
    /// All of it lies in a pause: noted, not kept.
    Hidden,
    /// It belongs before the recording's start.
    Early,
    /// It belongs to what is already final.
    Late,
    /// It lies further ahead than there is room.
    Ahead,
    /// The same packet came before.
    Duplicate,
    /// Other samples lie there already.
    Overlap,
    /// Too many separate spans.
    Full,
}

/// A packet of G.711 with its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed<'a> {
    /// Position of the first sample, negative before the recording's start.
    pub(crate) at: i64,
    pub(crate) place: Place,
    pub(crate) law: Law,
    pub(crate) codes: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Audio(Law),
    /// Packets came but lie in a pause: their bytes were never taken.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    at: u64,
    end: u64,
    holds: Holds,
    first: Place,
    last_seq: u64,
}

/// What a side received, for the recording's completeness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SideTotals {
    /// Packets that should have come while the recording ran, by their sequence numbers.
    pub expected: u64,
    /// Packets that came and had a place, paused ones included.
    pub received: u64,
    /// Packets that never came or came too late.
    pub lost: u64,
    /// Packets that came when their place was already final.
    pub late: u64,
    /// Packets that came a second time.
    pub duplicate: u64,
}

pub(crate) struct Side {
    ring: Box<[u8]>,
    spans: Vec<Span>,
    seen: Seen,
    growing: Growing,
    /// Last packet before what is being committed.
    after: Option<Place>,
    packet_samples: u32,
    /// Where packets that came after the start can lie.
    begins_at: u64,
    /// Where the party is on hold.
    pub(crate) held: Stretches,
    /// Where telephone-events lie.
    events: Stretches,
    late: u64,
    duplicate: u64,
}

impl Side {
    pub(crate) fn new() -> Side {
        Side {
            ring: vec![0; RING_SAMPLES].into_boxed_slice(),
            spans: Vec::with_capacity(SPANS),
            seen: Seen::default(),
            growing: Growing::default(),
            after: None,
            packet_samples: 160,
            begins_at: 0,
            held: Stretches::new(),
            events: Stretches::new(),
            late: 0,
            duplicate: 0,
        }
    }

    /// Where the party's source stands when the recording starts: the newest packet, and the
    /// position where it ends. What it holds behind the start came before it and was not taken.
    pub(crate) fn seed(&mut self, place: Place, ends: i64) {
        self.seen.seed(place);
        self.after = Some(place);
        self.begins_at = ends.max(0) as u64;
    }

    pub(crate) fn totals(&self) -> SideTotals {
        SideTotals {
            expected: self.seen.expected,
            received: self.seen.received,
            lost: self.seen.expected.saturating_sub(self.seen.received),
            late: self.late,
            duplicate: self.duplicate,
        }
    }

    /// Writes a packet straight to its place; what lies in a pause is noted but its bytes are not taken.
    pub(crate) fn place(
        &mut self,
        packet: Placed<'_>,
        committed: u64,
        pauses: &Stretches,
    ) -> Outcome {
        if self.seen.contains(packet.place) {
            self.duplicate += 1;
            return Outcome::Duplicate;
        }
        let end = packet.at.saturating_add(packet.codes.len() as i64);
        if end <= 0 {
            return Outcome::Early;
        }
        let end = end as u64;
        if end <= committed {
            self.late += 1;
            return Outcome::Late;
        }
        if end > committed + RING_SAMPLES as u64 {
            return Outcome::Ahead;
        }
        let from = (packet.at.max(0) as u64).max(committed);
        let outcome = self.place_pieces(packet, from, end, pauses);
        if matches!(outcome, Outcome::Kept | Outcome::Hidden) {
            self.seen.mark(packet.place);
            self.packet_samples = packet.codes.len() as u32;
        }
        outcome
    }

    fn place_pieces(
        &mut self,
        packet: Placed<'_>,
        from: u64,
        end: u64,
        pauses: &Stretches,
    ) -> Outcome {
        if pauses.is_clear(from, end) {
            return self.place_piece(packet, from, end, Holds::Audio(packet.law));
        }
        let (mut at, mut outcome) = (from, Outcome::Overlap);
        while at < end {
            let (paused, until) = pauses.at(at);
            let until = until.min(end);
            let (holds, success) = match paused {
                true => (Holds::Nothing, Outcome::Hidden),
                false => (Holds::Audio(packet.law), Outcome::Kept),
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
        if let Some(before) = index.checked_sub(1).map(|before| self.spans[before]) {
            from = from.max(before.end);
        }
        if let Some(behind) = self.spans.get(index) {
            end = end.min(behind.at);
        }
        if from >= end {
            return Outcome::Overlap;
        }
        let span = Span {
            at: from,
            end,
            holds,
            first: packet.place,
            last_seq: packet.place.seq,
        };
        if !self.insert(index, span) {
            return Outcome::Full;
        }
        if let Holds::Audio(_) = holds {
            let skip = (from as i64 - packet.at) as usize;
            let count = (end - from) as usize;
            self.write(from, &packet.codes[skip..skip + count]);
        }
        Outcome::Kept
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
        if self.spans.len() == SPANS {
            return false;
        }
        self.spans.insert(index, span);
        true
    }

    /// A telephone-event covers `from..until`; its packet was not lost.
    pub(crate) fn event(&mut self, place: Place, from: i64, until: i64, committed: u64) {
        self.seen.mark(place);
        let from = (from.max(0) as u64).max(committed);
        if until > from as i64 {
            self.events.cover(from, until as u64);
        }
    }

    /// A packet came that has no audio to place; it was not lost.
    pub(crate) fn pass(&mut self, place: Place) {
        self.seen.mark(place);
    }

    /// Moves what is still pending of one source earlier by `ticks`: a faster packet showed that all
    /// of it was sent earlier than thought.
    pub(crate) fn shift(&mut self, generation: u32, ticks: u64, committed: u64) {
        let Some(first) = self
            .spans
            .iter()
            .position(|span| span.first.generation == generation)
        else {
            return;
        };
        let mut floor = match first.checked_sub(1) {
            Some(before) => self.spans[before].end.max(committed),
            None => committed,
        };
        for index in first..self.spans.len() {
            let span = self.spans[index];
            let at = span.at.saturating_sub(ticks).max(floor);
            let end = span.end.saturating_sub(ticks).max(at);
            if let Holds::Audio(_) = span.holds {
                let source = at + ticks;
                for offset in 0..end - at {
                    self.ring[ring_index(at + offset)] = self.ring[ring_index(source + offset)];
                }
            }
            (self.spans[index].at, self.spans[index].end) = (at, end);
            floor = end;
        }
        self.spans.retain(|span| span.end > span.at);
    }

    /// Takes back what was already placed at or behind `from`: it is paused. The bytes are wiped.
    pub(crate) fn hide_from(&mut self, from: u64) {
        let mut index = 0;
        while index < self.spans.len() {
            let span = self.spans[index];
            index += 1;
            if span.end <= from || span.holds == Holds::Nothing {
                continue;
            }
            let at = span.at.max(from);
            for position in at..span.end {
                self.ring[ring_index(position)] = 0;
            }
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
            if self.spans.len() < SPANS {
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

    /// Makes `from..` final for `codes.len()` samples: audio into `codes`, silence where it is
    /// missing, ended gaps into `found`.
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
            let (paused, until) = pauses.at(at);
            let until = until.min(to);
            let next = match self.spans.first() {
                _ if paused => Err((until, Some(GapReason::Paused))),
                Some(span) if span.at <= at && span.holds == Holds::Nothing => {
                    Err((span.end.min(until), Some(GapReason::Paused)))
                }
                Some(span) if span.at <= at => Ok(span.end.min(until)),
                Some(span) => Err(self.reason_at(at, until.min(span.at))),
                None => Err(self.reason_at(at, until)),
            };
            let piece = |until: u64| (at - from) as usize..(until - from) as usize;
            let until = match next {
                Ok(until) => {
                    self.end_gap(at, found);
                    self.read(at, &mut codes[piece(until)]);
                    until
                }
                Err((until, reason)) => {
                    self.miss(at, reason, found);
                    match fill {
                        Fill::Silence(law) => codes[piece(until)].fill(g711::silence(law)),
                        Fill::Stale => self.read(at, &mut codes[piece(until)]),
                    }
                    until
                }
            };
            self.consume(until);
            at = until;
        }
        self.held.forget_before(to);
        self.events.forget_before(to);
    }

    /// Ends the gap that is still growing, when the recording ends.
    pub(crate) fn end_gap(&mut self, at: u64, found: &mut Vec<Gap>) {
        let around = around(&self.seen, self.after, &self.spans, self.packet_samples);
        self.growing.end(at, &around, found);
    }

    fn miss(&mut self, at: u64, reason: Option<GapReason>, found: &mut Vec<Gap>) {
        let around = around(&self.seen, self.after, &self.spans, self.packet_samples);
        self.growing.miss(at, reason, &around, found);
    }

    /// Why `at` is missing, and until where that holds. `None`: the packets around it will tell.
    fn reason_at(&self, at: u64, until: u64) -> (u64, Option<GapReason>) {
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
            self.after = Some(Place {
                seq: span.last_seq,
                ..span.first
            });
            self.growing.forgive();
            self.spans.remove(0);
        }
    }

    fn write(&mut self, at: u64, codes: &[u8]) {
        let start = ring_index(at);
        let until_wrap = (RING_SAMPLES - start).min(codes.len());
        let (first, second) = codes.split_at(until_wrap);
        self.ring[start..start + first.len()].copy_from_slice(first);
        self.ring[..second.len()].copy_from_slice(second);
    }

    fn read(&self, at: u64, codes: &mut [u8]) {
        let start = ring_index(at);
        let until_wrap = (RING_SAMPLES - start).min(codes.len());
        let (first, second) = codes.split_at_mut(until_wrap);
        first.copy_from_slice(&self.ring[start..start + first.len()]);
        second.copy_from_slice(&self.ring[..second.len()]);
    }
}

/// What stands where audio is missing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fill {
    /// The law's silence code.
    Silence(Law),
    /// Whatever the ring held before: a fault put in on purpose by tests.
    Stale,
}

fn ring_index(position: u64) -> usize {
    (position % RING_SAMPLES as u64) as usize
}

/// Whether two neighbours are one: no sample, no packet and no property between them.
fn joins(before: &Span, behind: &Span) -> bool {
    before.end == behind.at
        && before.holds == behind.holds
        && before.first.generation == behind.first.generation
        && behind.first.seq.wrapping_sub(before.last_seq) <= 1
}

fn around<'a>(
    seen: &'a Seen,
    after: Option<Place>,
    spans: &[Span],
    packet_samples: u32,
) -> Around<'a> {
    Around {
        seen,
        after,
        before: spans.first().map(|span| span.first),
        packet_samples,
    }
}
