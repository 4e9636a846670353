//! What a shard is made with.

use std::time::{Duration, Instant};

use duolog_audio::codec::G729Library;
use duolog_rtp::WallTime;
use duolog_rtp::timeline::DriftCorrection;

/// Settings of a shard.
#[derive(Debug, Clone)]
pub struct ShardSettings {
    /// A connected leg whose peer ought to send and does not for this long is told of.
    pub media_timeout: Duration,
    /// One moment on both clocks, for the NTP times of RTCP (RFC 3550 §4).
    pub epoch: (Instant, WallTime),
    /// What G.729 is transcoded with, where it is installed; else its payloads pass as they are, or not.
    pub g729: Option<G729Library>,
    /// Whether a party's clock that runs fast or slow is corrected in what is recorded.
    pub drift_correction: DriftCorrection,
    /// A fault put in on purpose. Never set from configuration: tests only.
    pub sabotage: Sabotage,
}

impl ShardSettings {
    /// Usual settings: a media time-out of 30 s, no G.729, drift corrected, and no fault.
    #[must_use]
    pub fn new(epoch: (Instant, WallTime)) -> ShardSettings {
        ShardSettings {
            media_timeout: Duration::from_secs(30),
            epoch,
            g729: None,
            drift_correction: DriftCorrection::On,
            sabotage: Sabotage::None,
        }
    }

    /// Time of day at `now`.
    pub(crate) fn wall(&self, now: Instant) -> WallTime {
        let (instant, wall) = self.epoch;
        let since = now.saturating_duration_since(instant).as_micros();
        WallTime {
            unix_us: wall.unix_us.saturating_add(since as u64),
        }
    }
}

/// Faults for the negative control of the tests that judge recorded audio: each must make them fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sabotage {
    /// No fault.
    #[default]
    None,
    /// Missing stretches keep whatever the buffer held before.
    NoGapFill,
    /// The owner's audio is put second.
    SwapChannels,
    /// What is injected towards one party is recorded as the other's.
    InjectBeforeTap,
}
