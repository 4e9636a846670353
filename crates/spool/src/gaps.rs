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
pub(crate) struct Gaps(Vec<Dropped>);

impl Gaps {
    pub fn add(&mut self, dropped: Dropped) {
        let full = self.0.len() >= MAX_RANGES;
        if let Some(last) = self.0.last_mut() {
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
        self.0.push(dropped);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self) -> Vec<Dropped> {
        std::mem::take(&mut self.0)
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
    fn the_number_of_ranges_is_bounded_and_the_end_is_still_named() {
        let drops: Vec<_> = (0..5000).map(|n| (n * 10, 5, 1)).collect();
        let got = ranges(&drops);
        assert_eq!(got.len(), MAX_RANGES);
        assert_eq!(got[MAX_RANGES - 1].0 + got[MAX_RANGES - 1].1, 49_995);
    }
}
