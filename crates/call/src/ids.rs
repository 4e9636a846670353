//! Where ids come from: counters, and for recordings UUID version 7 (RFC 9562 §5.7), so that they sort by time.
//!
//! ```text
//!  127            80 79  76 75          64 63 62 61                              0
//! ├─ unix_ts_ms ─────┼─ 7 ─┼─ random ──────┼─ 10 ─┼─ random ──────────────────────┤
//! ```

use std::time::Instant;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

use crate::media::{LegId, PlayId, RecordingId};
use crate::settings::Epoch;

/// Makes ids that are unique in the life of an engine; those of recordings everywhere.
pub(crate) struct Ids {
    epoch: Epoch,
    random: ChaCha12Rng,
    last_leg: u64,
    last_play: u64,
}

impl Ids {
    pub(crate) fn new(epoch: Epoch, random: ChaCha12Rng) -> Self {
        Self {
            epoch,
            random,
            last_leg: 0,
            last_play: 0,
        }
    }

    /// The id of a recording that begins now.
    pub(crate) fn recording(&mut self, now: Instant) -> RecordingId {
        recording_id(self.epoch.unix_ms_at(now), &mut self.random)
    }

    /// The id of a new leg.
    pub(crate) fn leg(&mut self) -> LegId {
        self.last_leg += 1;
        LegId(self.last_leg)
    }

    /// The id of a sound that is to be played.
    pub(crate) fn play(&mut self) -> PlayId {
        self.last_play += 1;
        PlayId(self.last_play)
    }
}

/// Makes the id of a recording that begins at `unix_ms`.
fn recording_id(unix_ms: u64, random: &mut ChaCha12Rng) -> RecordingId {
    let time = u128::from(unix_ms & 0xffff_ffff_ffff) << 80;
    let high = u128::from(random.next_u32() & 0xfff) << 64;
    let low = u128::from(random.next_u64() & 0x3fff_ffff_ffff_ffff);
    RecordingId(time | 0x7 << 76 | high | 0b10 << 62 | low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn the_layout_is_that_of_version_7() {
        let mut random = ChaCha12Rng::from_seed([1; 32]);
        let mut last = RecordingId(0);
        for ms in [0, 1_700_000_000_000, 1_700_000_000_001, 0xffff_ffff_ffff] {
            let id = recording_id(ms, &mut random);
            assert_eq!(id.0 >> 80, u128::from(ms));
            assert_eq!(id.0 >> 76 & 0xf, 7);
            assert_eq!(id.0 >> 62 & 0b11, 0b10);
            assert!(id > last);
            last = id;
        }
        assert_ne!(recording_id(5, &mut random), recording_id(5, &mut random));
    }
}
