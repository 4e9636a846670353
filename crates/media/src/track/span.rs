//! What lies where on a side's time line: stretches of one kind, of packets without a hole between them.

use duolog_audio::g711::Law;

use super::seen::Place;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Audio(Law),
    /// One payload on the shelf.
    Coded,
    /// Packets came but lie in a pause: their bytes were never taken.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) at: u64,
    pub(crate) end: u64,
    pub(crate) holds: Holds,
    pub(crate) first: Place,
    pub(crate) last_seq: u64,
}

/// Whether a span is the very next packet's after another, of the same kind.
pub(crate) fn follows(before: &Span, behind: &Span) -> bool {
    before.holds == behind.holds
        && before.first.generation == behind.first.generation
        && behind.first.seq == before.last_seq + 1
}

/// Whether two neighbours are one: no sample, no packet and no property between them. Coded frames
/// stay apart: each may have to be taken back.
pub(crate) fn joins(before: &Span, behind: &Span) -> bool {
    before.end == behind.at
        && before.holds != Holds::Coded
        && before.holds == behind.holds
        && before.first.generation == behind.first.generation
        && behind.first.seq.wrapping_sub(before.last_seq) <= 1
}
