//! One recording's two sides on one time line, from its start to its close.
//!
//! ```text
//!  position 0 = Start                                        now
//!  |== committed blocks of 320 ms ==|   pending   |<- 200 ms ->|
//! ```
//!
//! 1. A packet is written straight to its place as soon as it comes.
//! 2. What lies more than 200 ms back is final and leaves as a block as soon as 320 ms of it are.
//! 3. While a source's time line settles (its first 200 ms), nothing that it might still move is final:
//!    another 200 ms at most, so that a source that never settles does not cost the other party's audio.

mod block;
mod gap;
mod seen;
mod side;
mod stretches;

use std::time::Instant;

use bytes::Bytes;
use duolog_audio::g711::Law;
use duolog_audio::mix::{self, Coded};
use duolog_rtp::ClockRate;

pub use block::{Block, SampleFormat};
pub use gap::GapReason;
pub use side::SideTotals;

pub(crate) use block::{BLOCK_SAMPLES, FreeBlocks};
pub(crate) use seen::Place;
pub(crate) use side::{Outcome, Placed};

use crate::outbox::{Channel, Entry, Totals};
use crate::{RecordingKey, Sabotage};
use gap::Gap;
use side::{Fill, Side};
use stretches::Stretches;

/// How long a packet may be late and still find its place: 200 ms.
pub(crate) const WINDOW_SAMPLES: u64 = 1_600;

/// Buffers a shard lends to whichever track commits.
pub(crate) struct Workbench {
    pub(crate) free: FreeBlocks,
    codes: [Box<[u8]>; 2],
    found: Vec<Gap>,
    pub(crate) sabotage: Sabotage,
}

impl Workbench {
    pub(crate) fn new(sabotage: Sabotage) -> Workbench {
        let codes = || vec![0; BLOCK_SAMPLES].into_boxed_slice();
        Workbench {
            free: FreeBlocks::default(),
            codes: [codes(), codes()],
            found: Vec::with_capacity(64),
            sabotage,
        }
    }
}

/// A recording while it runs.
pub(crate) struct Track {
    key: RecordingKey,
    start: Option<Instant>,
    committed: u64,
    pauses: Stretches,
    paused_from: Option<u64>,
    paused_samples: u64,
    sides: [Side; 2],
    /// Until when a side's time line may still move.
    settling: [Option<Instant>; 2],
    /// What silence is written in while neither side has audio.
    law: Law,
    /// Where the last block began that left for the spool.
    last_block: u64,
    /// Blocks the spool had no room for, joined.
    refused: Option<(u64, u64)>,
}

impl Track {
    pub(crate) fn new(key: RecordingKey, law: Law) -> Track {
        Track {
            key,
            start: None,
            committed: 0,
            pauses: Stretches::new(),
            paused_from: None,
            paused_samples: 0,
            sides: [Side::new(), Side::new()],
            settling: [None; 2],
            law,
            last_block: 0,
            refused: None,
        }
    }

    pub(crate) fn key(&self) -> RecordingKey {
        self.key
    }

    /// Instant of position 0, once started.
    pub(crate) fn start(&self) -> Option<Instant> {
        self.start
    }

    /// Samples from the start to `now`; 0 before the start.
    pub(crate) fn position(&self, now: Instant) -> u64 {
        let since = self
            .start
            .map(|start| now.saturating_duration_since(start))
            .unwrap_or_default();
        ClockRate::HZ_8000.ticks_in(since)
    }

    pub(crate) fn begin(&mut self, now: Instant) {
        self.start = Some(now);
    }

    pub(crate) fn side_mut(&mut self, channel: Channel) -> &mut Side {
        &mut self.sides[channel.index()]
    }

    /// A side's source may still move what it placed, until `until`.
    pub(crate) fn settle(&mut self, channel: Channel, until: Instant) {
        self.settling[channel.index()] = Some(until);
    }

    pub(crate) fn place(&mut self, channel: Channel, packet: Placed<'_>) -> Outcome {
        self.sides[channel.index()].place(packet, self.committed, &self.pauses)
    }

    pub(crate) fn event(&mut self, channel: Channel, place: Place, from: i64, until: i64) {
        self.sides[channel.index()].event(place, from, until, self.committed);
    }

    pub(crate) fn shift(&mut self, channel: Channel, generation: u32, ticks: u64) {
        self.sides[channel.index()].shift(generation, ticks, self.committed);
    }

    /// From `now` on nothing is kept. Whether that is a change.
    pub(crate) fn pause(&mut self, now: Instant) -> bool {
        if self.start.is_none() || self.paused_from.is_some() {
            return false;
        }
        let from = self.position(now);
        self.paused_from = Some(from);
        self.pauses.begin(from);
        for side in &mut self.sides {
            side.hide_from(from);
        }
        true
    }

    /// From `now` on audio is kept again. Whether that is a change.
    pub(crate) fn resume(&mut self, now: Instant) -> bool {
        let Some(from) = self.paused_from.take() else {
            return false;
        };
        let until = self.position(now);
        self.paused_samples += until.saturating_sub(from);
        self.pauses.end(until);
        true
    }

    /// When the next block becomes final.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let end = self.committed + BLOCK_SAMPLES as u64;
        let due = self.start? + ClockRate::HZ_8000.time_of(end + WINDOW_SAMPLES);
        if due > now {
            return Some(due);
        }
        // Overdue: a side that settles holds the block back.
        let held_back = self.settling.iter().flatten().max().copied();
        Some(held_back.map_or(due, |until| until.max(due)))
    }

    /// Commits every block that is final at `now`.
    pub(crate) fn advance(&mut self, now: Instant, bench: &mut Workbench, out: &mut Vec<Entry>) {
        let position = self.position(now);
        let mut horizon = position.saturating_sub(WINDOW_SAMPLES);
        for (side, settling) in self.sides.iter().zip(&mut self.settling) {
            *settling = settling.filter(|&until| now < until);
            if let (Some(_), Some(first)) = (*settling, side.first_pending()) {
                horizon = horizon.min(first.saturating_sub(WINDOW_SAMPLES));
            }
        }
        horizon = horizon.max(position.saturating_sub(2 * WINDOW_SAMPLES));
        while self.committed + BLOCK_SAMPLES as u64 <= horizon {
            self.tell_refused(out);
            self.commit(self.committed + BLOCK_SAMPLES as u64, bench, out);
        }
    }

    /// Everything that came by `now` leaves, then the closing entry.
    pub(crate) fn close(
        &mut self,
        now: Instant,
        payload: Bytes,
        bench: &mut Workbench,
        out: &mut Vec<Entry>,
    ) {
        self.advance(now, bench, out);
        let mut end = self.position(now);
        match self.paused_from {
            Some(from) => self.paused_samples += end.saturating_sub(from),
            // A packet that came before the close was spoken before it, though its samples are
            // placed behind its arrival (SPEC D12).
            None => {
                let newest = self.sides.iter().filter_map(Side::newest_end).max();
                end = newest.map_or(end, |newest| newest.clamp(end, end + WINDOW_SAMPLES));
            }
        }
        if let Some((from, until)) = self.refused.take() {
            self.push_refused(from, until, out);
        }
        while self.committed < end {
            self.commit((self.committed + BLOCK_SAMPLES as u64).min(end), bench, out);
        }
        for channel in Channel::BOTH {
            self.sides[channel.index()].end_gap(end, &mut bench.found);
            self.tell_gaps(channel, bench, out);
        }
        out.push(Entry::Close {
            recording: self.key,
            position: end,
            at: now,
            payload,
            totals: Totals {
                owner: self.sides[0].totals(),
                other: self.sides[1].totals(),
                paused_samples: self.paused_samples,
            },
        });
    }

    /// A block of this recording came back from a full spool. Whether that begins a new gap.
    pub(crate) fn refuse(&mut self, block: &Block) -> bool {
        let end = block.position + u64::from(block.samples);
        match &mut self.refused {
            Some((_, until)) if *until == block.position => {
                *until = end;
                false
            }
            _ => {
                self.refused = Some((block.position, end));
                true
            }
        }
    }

    /// Tells what the spool refused, once it took a later block.
    fn tell_refused(&mut self, out: &mut Vec<Entry>) {
        let Some((from, until)) = self.refused.filter(|&(_, until)| until <= self.last_block)
        else {
            return;
        };
        self.refused = None;
        self.push_refused(from, until, out);
    }

    fn push_refused(&self, from: u64, until: u64, out: &mut Vec<Entry>) {
        out.extend(Channel::BOTH.map(|channel| Entry::Gap {
            recording: self.key,
            channel,
            position: from,
            samples: until - from,
            reason: GapReason::SpoolFull,
        }));
    }

    /// Makes everything up to `to` final: one block, or several where a party changes its law.
    fn commit(&mut self, to: u64, bench: &mut Workbench, out: &mut Vec<Entry>) {
        while self.committed < to {
            let from = self.committed;
            let (owner_law, owner_until) = self.sides[0].law_in(from, to);
            let (other_law, other_until) = self.sides[1].law_in(from, to);
            let until = owner_until.min(other_until);
            let fallback = owner_law.or(other_law).unwrap_or(self.law);
            let laws = [
                owner_law.or(other_law).unwrap_or(fallback),
                other_law.or(owner_law).unwrap_or(fallback),
            ];
            self.law = fallback;
            let samples = (until - from) as usize;
            for channel in Channel::BOTH {
                let fill = match bench.sabotage {
                    Sabotage::NoGapFill => Fill::Stale,
                    _ => Fill::Silence(laws[channel.index()]),
                };
                self.sides[channel.index()].commit(
                    from,
                    &mut bench.codes[channel.index()][..samples],
                    fill,
                    &self.pauses,
                    &mut bench.found,
                );
                self.tell_gaps(channel, bench, out);
            }
            let block = fill_block(self.key, from, samples, laws, bench);
            out.push(Entry::Block(block));
            self.last_block = from;
            self.committed = until;
            self.pauses.forget_before(until);
        }
    }

    fn tell_gaps(&self, channel: Channel, bench: &mut Workbench, out: &mut Vec<Entry>) {
        out.extend(bench.found.drain(..).map(|gap| Entry::Gap {
            recording: self.key,
            channel,
            position: gap.position,
            samples: gap.samples,
            reason: gap.reason,
        }));
    }
}

/// Puts the two channels on the bench into one block, untouched if they are in the same law.
fn fill_block(
    recording: RecordingKey,
    position: u64,
    samples: usize,
    laws: [Law; 2],
    bench: &mut Workbench,
) -> Box<Block> {
    let format = match laws {
        [Law::Mulaw, Law::Mulaw] => SampleFormat::Mulaw,
        [Law::Alaw, Law::Alaw] => SampleFormat::Alaw,
        _ => SampleFormat::Pcm16,
    };
    let mut block = bench.free.take(recording, position, samples, format);
    let mut sides = [0, 1].map(|index| Coded {
        law: laws[index],
        codes: &bench.codes[index][..samples],
    });
    if bench.sabotage == Sabotage::SwapChannels {
        sides.reverse();
    }
    let [owner, other] = sides;
    match format {
        SampleFormat::Pcm16 => mix::decode_interleave_le(owner, other, &mut block.bytes),
        _ => mix::interleave(owner.codes, other.codes, &mut block.bytes),
    }
    block
}
