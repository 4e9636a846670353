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
//! 4. A stretch leaves as its ended gaps, its coded frames, then its block. A coded frame leaves with the
//!    stretch it begins in and may reach into the next one.
//! 5. Of each side that is listed, audio and gaps make up the whole length, whoever fed it.
//! 6. A side is fed by one leg at a time. Where that changes, all that came from the one before is kept and
//!    nothing of the next one lies before it.

mod block;
mod feed;
mod gap;
mod placed;
mod report;
mod ring;
mod seen;
mod shelf;
mod side;
mod skew;
mod span;
mod stretches;

use std::time::Instant;

use bytes::Bytes;
use duolog_audio::g711::Law;
use duolog_audio::mix::{self, Coded};
use duolog_rtp::ClockRate;

pub use block::{Block, SampleFormat};
pub use gap::GapReason;
pub use report::{CodecsSeen, GapTicks, Layout, SideTotals, StreamQuality, Totals};
pub use skew::Skew;

use block::Blank;
pub(crate) use block::{BLOCK_SAMPLES, FreeBlocks};
pub(crate) use feed::Feeder;
pub(crate) use placed::{Outcome, Placed};
pub(crate) use report::QualityMean;
pub(crate) use seen::Place;
pub(crate) use skew::SkewHistogram;

use crate::outbox::{Channel, Entry};
use crate::{RecordingKey, Sabotage};
use gap::Gap;
use ring::Fill;
use side::Side;
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
    layout: Layout,
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
    /// Whether either side ever had G.711.
    had_g711: bool,
    /// Where the last block began that left for the spool.
    last_block: u64,
    /// Blocks the spool had no room for, joined.
    refused: Option<(u64, u64)>,
    /// How far coded frames of the last of them reach behind it.
    spilt: [u64; 2],
    /// Ticks of audio that the spool had no room for.
    unheard: [u64; 2],
}

impl Track {
    pub(crate) fn new(key: RecordingKey, law: Law, layout: Layout) -> Track {
        Track {
            key,
            layout,
            start: None,
            committed: 0,
            pauses: Stretches::new(),
            paused_from: None,
            paused_samples: 0,
            sides: [Side::new(), Side::new()],
            settling: [None; 2],
            law,
            had_g711: false,
            last_block: 0,
            refused: None,
            spilt: [0; 2],
            unheard: [0; 2],
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
        let feed = self.sides[channel.index()].feed_mut();
        feed.event(place, from, until, self.committed);
    }

    pub(crate) fn shift(&mut self, channel: Channel, generation: u64, ticks: u64) {
        self.sides[channel.index()].shift(generation, ticks, self.committed);
    }

    /// From `now` on somebody else feeds a side. Gives the number of the new feed, and how many packets
    /// came in the one before.
    pub(crate) fn turn(&mut self, channel: Channel, now: Instant, feeder: Feeder) -> (u32, u64) {
        let from = self.position(now);
        // Nothing can move any more what the one before placed.
        self.settling[channel.index()] = None;
        self.sides[channel.index()].turn(from, feeder)
    }

    /// How the parties lie in the channels.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
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
        (now, payload): (Instant, Bytes),
        (quality, skew): ([StreamQuality; 2], Skew),
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
            self.push_refused(from, until, end, out);
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
            totals: Box::new(self.totals(end, quality, skew)),
        });
    }

    fn totals(&self, end: u64, quality: [StreamQuality; 2], skew: Skew) -> Totals {
        let mut totals = Totals {
            layout: self.layout,
            paused_samples: self.paused_samples,
            skew,
            ..Totals::default()
        };
        for index in self.fed_sides() {
            let mut side = self.sides[index].totals(end);
            debug_assert_eq!(
                side.audio_ticks + side.gaps.sum(),
                end,
                "audio and gaps of a side make up the recording"
            );
            side.quality = quality[index].judged(&side);
            side.lose(self.unheard[index]);
            *totals.side_mut(index) = side;
        }
        totals
    }

    /// The sides that a leg feeds.
    fn fed_sides(&self) -> std::ops::Range<usize> {
        match self.layout {
            Layout::Apart => 0..2,
            Layout::Mixed => 0..1,
        }
    }

    /// A block of this recording came back from a full spool. Whether that begins a new gap.
    pub(crate) fn refuse(&mut self, block: &Block) -> bool {
        for (unheard, heard) in self.unheard.iter_mut().zip(block.heard) {
            *unheard += u64::from(heard);
        }
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
        self.push_refused(from, until, u64::MAX, out);
    }

    fn push_refused(&mut self, from: u64, until: u64, end: u64, out: &mut Vec<Entry>) {
        let spilt = std::mem::take(&mut self.spilt);
        for index in self.fed_sides() {
            let spilt = spilt[index].min(end.saturating_sub(until));
            self.unheard[index] += spilt;
            out.push(Entry::Gap {
                recording: self.key,
                channel: Channel::BOTH[index],
                position: from,
                samples: until + spilt - from,
                reason: GapReason::SpoolFull,
            });
        }
    }

    /// A list of coded frames came back from a full spool, before the block of its stretch: its frames
    /// reach `spilt` ticks behind the stretch.
    pub(crate) fn refuse_coded(&mut self, channel: Channel, spilt: u64) {
        self.spilt[channel.index()] = spilt;
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
            let has_g711 = owner_law.or(other_law).is_some();
            self.had_g711 |= has_g711;
            let has_coded = self.sides.iter().any(|side| side.has_coded(until));
            let is_empty = !has_g711 && (has_coded || !self.had_g711);
            let samples = (until - from) as usize;
            let mut heard = self.sides.each_ref().map(Side::audio_ticks);
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
            for channel in Channel::BOTH {
                self.leave_coded(channel, from, until, bench, out);
            }
            for (heard, side) in heard.iter_mut().zip(&self.sides) {
                *heard = side.audio_ticks() - *heard;
            }
            // At most a block's samples each.
            let blank = Blank {
                recording: self.key,
                position: from,
                samples,
                heard: heard.map(|ticks| ticks as u32),
            };
            let block = match is_empty {
                true => bench.free.take(&blank, SampleFormat::Empty),
                false => fill_block(&blank, laws, bench),
            };
            out.push(Entry::Block(block));
            self.last_block = from;
            self.committed = until;
            self.pauses.forget_before(until);
        }
    }

    /// Hands out what a side said in other codecs than G.711.
    fn leave_coded(
        &mut self,
        channel: Channel,
        from: u64,
        until: u64,
        bench: &mut Workbench,
        out: &mut Vec<Entry>,
    ) {
        let side = &mut self.sides[channel.index()];
        if !side.has_coded(until) {
            return;
        }
        let mut bytes = bench.free.take_list();
        side.leave_coded(from, until, &mut bytes);
        let channel = match (bench.sabotage, channel) {
            (Sabotage::SwapChannels, Channel::Owner) => Channel::Other,
            (Sabotage::SwapChannels, Channel::Other) => Channel::Owner,
            (_, channel) => channel,
        };
        out.push(Entry::Coded {
            recording: self.key,
            channel,
            position: from,
            // A block's samples.
            ticks: (until - from) as u32,
            bytes,
        });
    }

    fn tell_gaps(&self, channel: Channel, bench: &mut Workbench, out: &mut Vec<Entry>) {
        if !self.fed_sides().contains(&channel.index()) {
            bench.found.clear();
        }
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
fn fill_block(blank: &Blank, laws: [Law; 2], bench: &mut Workbench) -> Box<Block> {
    let format = match laws {
        [Law::Mulaw, Law::Mulaw] => SampleFormat::Mulaw,
        [Law::Alaw, Law::Alaw] => SampleFormat::Alaw,
        _ => SampleFormat::Pcm16,
    };
    let mut block = bench.free.take(blank, format);
    let mut sides = [0, 1].map(|index| Coded {
        law: laws[index],
        codes: &bench.codes[index][..blank.samples],
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
