//! Audio the spool had to drop, kept as ranges until they can be written.

/// Ranges are coalesced; this many are kept per recording, 24 bytes each.
const MAX_RANGES: usize = 1024;

/// One dropped stretch, the same for all channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub position: u64,
    pub samples: u64,
    pub reason: u8,
}

/// Dropped stretches in order.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    ranges: Vec<Dropped>,
    /// What begins before this position was told by [`Gaps::untold`].
    told_to: u64,
}

impl Gaps {
    pub fn add(&mut self, dropped: Dropped) {
        let full = self.ranges.len() >= MAX_RANGES;
        if let Some(last) = self.ranges.last_mut() {
            let end = last.position.saturating_add(last.samples);
            let adjacent = dropped.position == end && dropped.reason == last.reason;
            // Out of ranges: better a stretch named too long than one not named.
            if adjacent || (full && dropped.position >= end) {
                let new_end = dropped.position.saturating_add(dropped.samples);
                last.samples = new_end - last.position;
                return;
            }
            if full {
                return;
            }
        }
        self.ranges.push(dropped);
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// What was added since this was last asked; the ranges stay.
    pub fn untold(&mut self) -> Vec<Dropped> {
        let told_to = self.told_to;
        let rest = |range: &Dropped| {
            let end = range.position.saturating_add(range.samples);
            let position = range.position.max(told_to);
            (end > position).then(|| Dropped {
                position,
                samples: end - position,
                ..*range
            })
        };
        let untold: Vec<_> = self.ranges.iter().filter_map(rest).collect();
        let ends = untold.iter().map(|range| range.position + range.samples);
        self.told_to = ends.fold(told_to, u64::max);
        untold
    }

    /// All ranges, to be written; told or not.
    pub fn take(&mut self) -> Vec<Dropped> {
        self.told_to = 0;
        std::mem::take(&mut self.ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(drops: &[(u64, u64, u8)]) -> Vec<(u64, u64, u8)> {
        let mut gaps = Gaps::default();
        for &(position, samples, reason) in drops {
            gaps.add(Dropped {
                position,
                samples,
                reason,
            });
        }
        gaps.take()
            .iter()
            .map(|d| (d.position, d.samples, d.reason))
            .collect()
    }

    #[test]
    fn adjacent_ranges_of_one_reason_become_one() {
        assert_eq!(ranges(&[(0, 10, 1), (10, 5, 1)]), [(0, 15, 1)]);
        assert_eq!(ranges(&[(0, 10, 1), (10, 5, 2)]), [(0, 10, 1), (10, 5, 2)]);
        assert_eq!(ranges(&[(0, 10, 1), (11, 5, 1)]), [(0, 10, 1), (11, 5, 1)]);
    }

    #[test]
    fn what_was_told_is_not_told_again_and_is_written_all_the_same() {
        let mut gaps = Gaps::default();
        let add = |gaps: &mut Gaps, position, samples| {
            gaps.add(Dropped {
                position,
                samples,
                reason: 1,
            });
            let told = gaps.untold();
            told.iter()
                .map(|d| (d.position, d.samples))
                .collect::<Vec<_>>()
        };
        assert_eq!(add(&mut gaps, 10, 10), [(10, 10)]);
        assert_eq!(add(&mut gaps, 20, 5), [(20, 5)], "the rest of one range");
        assert_eq!(add(&mut gaps, 40, 5), [(40, 5)]);
        assert!(gaps.untold().is_empty());
        let written: Vec<_> = gaps
            .take()
            .iter()
            .map(|d| (d.position, d.samples))
            .collect();
        assert_eq!(written, [(10, 15), (40, 5)]);
        assert_eq!(add(&mut gaps, 0, 5), [(0, 5)], "audio given up later");
    }

    #[test]
    fn the_number_of_ranges_is_bounded_and_the_end_is_still_named() {
        let drops: Vec<_> = (0..5000).map(|n| (n * 10, 5, 1)).collect();
        let got = ranges(&drops);
        assert_eq!(got.len(), MAX_RANGES);
        assert_eq!(got[MAX_RANGES - 1].0 + got[MAX_RANGES - 1].1, 49_995);
    }
}
