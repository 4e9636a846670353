//! How far the two channels are apart, once a second, in a histogram of fixed size.

/// Width of a bucket.
const BUCKET_US: u64 = 250;
/// Up to 32 ms; the last bucket holds everything beyond. A packet time, which is the limit, is 20 ms.
const BUCKETS: usize = 128;

/// How far the two channels of a recording were apart: the difference of what the two time lines could
/// not account for, sampled once a second while both parties were heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skew {
    /// Samples taken; with none the rest is zero and says nothing.
    pub samples: u32,
    /// Half of them were at most this, in microseconds, rounded up to 250.
    pub p50_us: u32,
    /// 99 of 100 were at most this, in microseconds, rounded up to 250.
    pub p99_us: u32,
    /// The largest, in microseconds, exactly.
    pub max_us: u32,
}

#[derive(Debug)]
pub(crate) struct SkewHistogram {
    buckets: [u32; BUCKETS],
    samples: u32,
    max_us: u64,
}

impl Default for SkewHistogram {
    fn default() -> SkewHistogram {
        SkewHistogram {
            buckets: [0; BUCKETS],
            samples: 0,
            max_us: 0,
        }
    }
}

impl SkewHistogram {
    /// Takes a sample: a difference in nanoseconds, whichever channel is ahead.
    pub(crate) fn add(&mut self, difference_ns: i64) {
        let us = difference_ns.unsigned_abs().div_ceil(1_000);
        let bucket = us.div_ceil(BUCKET_US).saturating_sub(1) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.samples += 1;
        self.max_us = self.max_us.max(us);
    }

    pub(crate) fn skew(&self) -> Skew {
        Skew {
            samples: self.samples,
            p50_us: self.at_most(50),
            p99_us: self.at_most(99),
            max_us: u32::try_from(self.max_us).unwrap_or(u32::MAX),
        }
    }

    fn at_most(&self, percent: u64) -> u32 {
        let wanted = (u64::from(self.samples) * percent).div_ceil(100);
        let mut seen = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            seen += u64::from(count);
            if seen >= wanted && wanted > 0 {
                let edge = match index + 1 {
                    BUCKETS => self.max_us,
                    edge => (edge as u64 * BUCKET_US).min(self.max_us),
                };
                return u32::try_from(edge).unwrap_or(u32::MAX);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(samples_us: &[i64], expected: (u32, u32, u32)) {
        let mut histogram = SkewHistogram::default();
        for &us in samples_us {
            histogram.add(us * 1_000);
        }
        let skew = histogram.skew();
        assert_eq!(skew.samples as usize, samples_us.len());
        assert_eq!((skew.p50_us, skew.p99_us, skew.max_us), expected);
    }

    #[test]
    fn the_shares_are_those_of_the_samples() {
        check(&[], (0, 0, 0));
        check(&[0; 5], (0, 0, 0));
        check(&[-100], (100, 100, 100));
        check(&[1, 1, 1, -9_000], (250, 9_000, 9_000));
        let spread: Vec<i64> = (1..=100).map(|ms| ms * 100).collect();
        check(&spread, (5_000, 10_000, 10_000));
        check(&[i64::MAX / 1_000], (u32::MAX, u32::MAX, u32::MAX));
    }
}
