//! A packet of speech on its way to its place, and what became of it there.

use duolog_audio::codec::Codec;

use super::seen::Place;

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
    /// Too many separate spans, or more octets than there is room for.
    Full,
}

/// A packet of speech with its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed<'a> {
    /// Position of the first sample, negative before the recording's start.
    pub(crate) at: i64,
    pub(crate) place: Place,
    pub(crate) codec: Codec,
    pub(crate) payload: &'a [u8],
    /// How long it lasts, in 1/8000 s. Of G.711 as many as there are octets.
    pub(crate) ticks: u32,
}
