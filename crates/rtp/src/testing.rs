//! What the tests of this crate share: one instant to count from, and numbers from a seed.

use std::time::{Duration, Instant};

/// Any instant; tests only add to it.
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs one instant to count from"
)]
pub(crate) fn start() -> Instant {
    // Far from the beginning of the clock, so that tests can also go back.
    Instant::now() + Duration::from_secs(1_000_000)
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Xorshift64*: the same numbers for the same seed.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}
