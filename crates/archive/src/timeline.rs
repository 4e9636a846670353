//! A recording on its time line: where there is audio, where there is none and why, what happened.
//!
//! Positions are ticks since the recording's start, 8,000 a second, whatever the codec.

use crate::format::SampleFormat;
use crate::gap::{Concealed, GapReason};
use crate::wall::WallTime;
use crate::wire::{Ending, Fact, Layout, Opening, Side};
use duolog_audio::codec::Codec;
use std::collections::BTreeMap;

/// What duolog itself may have shortened or stretched against clock drift: a hole of no more ticks
/// between two frames is none.
pub(crate) const DRIFT_TICKS: u64 = 2;

/// Both channels' blocks without a hole, in one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) position: u64,
    pub(crate) samples: u64,
    pub(crate) format: SampleFormat,
}

/// One channel's coded frames of one codec without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CodedRun {
    pub(crate) position: u64,
    pub(crate) samples: u64,
    pub(crate) codec: Codec,
}

/// One channel without audio, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) position: u64,
    pub(crate) samples: u64,
    pub(crate) reason: GapReason,
    /// How the sound was made that stands there nevertheless.
    pub(crate) concealed: Option<Concealed>,
}

impl Gap {
    pub(crate) fn end(&self) -> u64 {
        self.position + self.samples
    }
}

/// A fact and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlacedFact {
    pub(crate) position: u64,
    pub(crate) at: WallTime,
    pub(crate) fact: Fact,
}

/// A recording, its audio itself left where it is. Its size follows from what happened in the call,
/// not from how long it was.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timeline {
    pub(crate) opening: Opening,
    pub(crate) opened_at: WallTime,
    pub(crate) ending: Ending,
    pub(crate) ended_at: WallTime,
    /// In ticks; where it ends, there is audio, or a gap that says why not.
    pub(crate) length: u64,
    /// Samples per second that the widest codec of the call needs: 8, 16, 24 or 48 kHz.
    pub(crate) rate_hz: u32,
    /// In order, none touching the next one of the same format.
    pub(crate) runs: Vec<Run>,
    /// Per channel, owner first: in order.
    pub(crate) coded: [Vec<CodedRun>; 2],
    /// Per channel, owner first: in order, none touching the next one of the same reason.
    pub(crate) gaps: [Vec<Gap>; 2],
    /// In the order in which they were written.
    pub(crate) facts: Vec<PlacedFact>,
    /// What the spool could not give back, as sentences.
    pub(crate) flaws: Vec<String>,
    /// Whether what was captured is there to be read.
    pub(crate) access: Access,
}

/// Whether what was captured can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It can.
    Open,
    /// Never: it was captured on demand, and the spool has no key.
    Locked,
}

impl Timeline {
    pub(crate) fn channel(side: Side) -> usize {
        match side {
            Side::Owner | Side::Mixed => 0,
            Side::Other | Side::Nobody | Side::Unknown => 1,
        }
    }

    /// Whose the channels are, the first one first.
    pub(crate) fn sides(&self) -> &'static [Side] {
        match self.opening.layout {
            Layout::Mixed => &[Side::Mixed],
            Layout::TwoParty | Layout::Unknown => &[Side::Owner, Side::Other],
        }
    }

    /// The gaps of the channels that there are, the first one first.
    pub(crate) fn listed(&self) -> &[Vec<Gap>] {
        &self.gaps[..self.sides().len()]
    }

    /// The facts and where they stand, in the order in which they were written.
    pub(crate) fn told(&self) -> impl Iterator<Item = (u64, &Fact)> {
        self.facts.iter().map(|fact| (fact.position, &fact.fact))
    }

    pub(crate) fn has_audio(&self) -> bool {
        let blocks = self
            .runs
            .iter()
            .any(|run| run.format != SampleFormat::Empty);
        blocks || self.coded.iter().any(|coded| !coded.is_empty())
    }

    /// Whether anything was captured, as far as is known: kept or not.
    pub(crate) fn has_begun(&self) -> bool {
        let began = |(_, fact): (u64, &Fact)| matches!(fact, Fact::RecordingStarted { .. });
        self.length > 0 || self.told().any(began)
    }

    /// Lists further stretches of one channel: over gaps that nobody wanted, under those on purpose.
    pub(crate) fn list(&mut self, channel: usize, stretches: &[(u64, u64)], reason: GapReason) {
        let listed = std::mem::take(&mut self.gaps[channel]);
        let (first, last): (Vec<Gap>, Vec<Gap>) = listed
            .into_iter()
            .partition(|gap| gap.reason.is_on_purpose());
        let mut cover = Cover::default();
        for gap in &first {
            cover.paint(gap.position, gap.end(), gap.reason);
        }
        for (from, until) in stretches {
            cover.paint(*from, (*until).min(self.length), reason);
        }
        for gap in &last {
            cover.paint(gap.position, gap.end(), gap.reason);
        }
        self.gaps[channel] = cover.gaps();
    }

    /// Notes how the sound of a gap was made.
    pub(crate) fn conceal(&mut self, channel: usize, position: u64, how: Concealed) {
        let gaps = &mut self.gaps[channel];
        let at = gaps.binary_search_by_key(&position, |gap| gap.position);
        if let Some(gap) = at.ok().and_then(|at| gaps.get_mut(at)) {
            gap.concealed = Some(how);
        }
    }

    /// Samples of one channel inside gaps whose reason is asked for.
    pub(crate) fn missing(&self, channel: usize, asked: impl Fn(GapReason) -> bool) -> u64 {
        let gaps = self.gaps[channel].iter();
        gaps.filter(|gap| asked(gap.reason))
            .map(|gap| gap.samples)
            .sum()
    }

    /// Where recording was paused: position and samples, in order.
    pub(crate) fn pauses(&self) -> Vec<(u64, u64)> {
        let paused = |gap: &&Gap| gap.reason == GapReason::Paused;
        self.gaps[0]
            .iter()
            .filter(paused)
            .map(|gap| (gap.position, gap.samples))
            .collect()
    }
}

/// Keeps what is placed twice from being placed again: the first one stays.
#[derive(Debug, Default)]
pub(crate) struct Placer {
    next: u64,
}

/// What is left of a block after [`Placer::place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: u64,
    /// Samples to leave out at the block's beginning.
    pub(crate) skip: u64,
    pub(crate) samples: u64,
}

impl Placer {
    /// None when all of the block lies before the end of an earlier one.
    pub(crate) fn place(&mut self, position: u64, samples: u64) -> Option<Place> {
        let end = position.saturating_add(samples);
        let from = position.max(self.next);
        if from >= end {
            return None;
        }
        self.next = end;
        Some(Place {
            position: from,
            skip: from - position,
            samples: end - from,
        })
    }
}

/// The gaps that touch a stretch; `gaps` are in order and do not overlap.
pub(crate) fn gaps_within(gaps: &[Gap], from: u64, until: u64) -> &[Gap] {
    let first = gaps.partition_point(|gap| gap.end() <= from);
    let end = gaps.partition_point(|gap| gap.position < until);
    gaps.get(first..end).unwrap_or_default()
}

/// Gaps of one channel that never overlap: the first one painted stays.
#[derive(Debug, Default)]
pub(crate) struct Cover {
    /// From first sample to end and reason.
    painted: BTreeMap<u64, (u64, GapReason)>,
}

impl Cover {
    /// Paints what is still bare between `from` and `until`.
    pub(crate) fn paint(&mut self, from: u64, until: u64, reason: GapReason) {
        let before = self.painted.range(..=from).next_back();
        let mut bare = before.map_or(from, |(_, (end, _))| from.max(*end));
        let inside: Vec<(u64, u64)> = match bare < until {
            true => self
                .painted
                .range(bare..until)
                .map(|(at, (end, _))| (*at, *end))
                .collect(),
            false => return,
        };
        for (at, end) in inside {
            self.add(bare, at, reason);
            bare = end;
        }
        self.add(bare, until, reason);
    }

    fn add(&mut self, from: u64, until: u64, reason: GapReason) {
        if from < until {
            self.painted.insert(from, (until, reason));
        }
    }

    /// In order; neighbours of one reason become one gap.
    pub(crate) fn gaps(self) -> Vec<Gap> {
        let mut gaps: Vec<Gap> = Vec::new();
        for (position, (end, reason)) in self.painted {
            match gaps.last_mut() {
                Some(last) if last.end() == position && last.reason == reason => {
                    last.samples += end - position;
                }
                _ => gaps.push(Gap {
                    position,
                    samples: end - position,
                    reason,
                    concealed: None,
                }),
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use GapReason::{Loss, Paused, Silence};

    #[test]
    fn a_placer_never_places_a_sample_twice() {
        let mut placer = Placer::default();
        let mut check = |position, samples, expected: Option<(u64, u64, u64)>| {
            let place = placer.place(position, samples);
            assert_eq!(place.map(|p| (p.position, p.skip, p.samples)), expected);
        };
        check(0, 160, Some((0, 0, 160)));
        check(0, 160, None);
        check(100, 160, Some((160, 60, 100)));
        check(400, 100, Some((400, 0, 100)));
        check(0, 0, None);
        check(u64::MAX, 5, None);
    }

    #[test]
    fn the_first_paint_stays() {
        #[track_caller]
        fn check(strokes: &[(u64, u64, GapReason)], expected: &[(u64, u64, GapReason)]) {
            let mut cover = Cover::default();
            for (from, until, reason) in strokes {
                cover.paint(*from, *until, *reason);
            }
            let gaps = cover.gaps();
            let gaps: Vec<_> = gaps
                .iter()
                .map(|g| (g.position, g.samples, g.reason))
                .collect();
            assert_eq!(gaps, expected);
        }
        check(&[], &[]);
        check(&[(5, 5, Loss), (9, 3, Loss)], &[]);
        check(&[(0, 10, Loss), (10, 20, Loss)], &[(0, 20, Loss)]);
        check(
            &[(0, 10, Loss), (5, 20, Paused)],
            &[(0, 10, Loss), (10, 10, Paused)],
        );
        check(
            &[(10, 20, Loss), (0, 15, Paused)],
            &[(0, 10, Paused), (10, 10, Loss)],
        );
        check(
            &[(10, 20, Loss), (30, 40, Silence), (0, 50, Paused)],
            &[
                (0, 10, Paused),
                (10, 10, Loss),
                (20, 10, Paused),
                (30, 10, Silence),
                (40, 10, Paused),
            ],
        );
        check(
            &[(0, 100, Paused), (10, 20, Loss), (0, 100, Silence)],
            &[(0, 100, Paused)],
        );
    }
}
