//! What is known of a recording when it is closed: how much of it is there, and why the rest is not.

use std::time::Duration;

use duolog_audio::codec::Codec;
use duolog_rtp::quality::{self, Equipment, Loss};

use super::gap::GapReason;
use super::skew::Skew;

/// Codecs of one side that are told apart; a party that used more is told with its first ones.
const CODECS: usize = 6;

/// How the parties lie in the two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// Each in a channel of its own, the owner first.
    #[default]
    Apart,
    /// Both in the owner's channel; the other channel holds nothing and lists nothing (SPEC D13).
    Mixed,
}

/// What a recording received in all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// The owner's channel.
    pub owner: SideTotals,
    /// The other party's channel; all zero in a mixed layout.
    pub other: SideTotals,
    /// How the parties lie in the channels.
    pub layout: Layout,
    /// Ticks of time the recording was paused.
    pub paused_samples: u64,
    /// How far the channels were apart.
    pub skew: Skew,
}

/// The completeness of one side (SPEC D12). Ticks are 1/8000 s.
///
/// `audio_ticks + gaps.sum()` is the length of the recording, for each side that a leg fed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SideTotals {
    /// Packets that should have come while the recording ran, by their sequence numbers.
    pub expected: u64,
    /// Packets that came and had a place, paused ones included.
    pub received: u64,
    /// Packets that never came or came too late.
    pub lost: u64,
    /// Packets that came when their place was already final.
    pub late: u64,
    /// Packets that came a second time.
    pub duplicate: u64,
    /// Packets that came behind a newer one and were put right.
    pub reordered: u64,
    /// Ticks that hold the party's audio, those of `inserted_ticks` included.
    pub audio_ticks: u64,
    /// Ticks without audio, by reason.
    pub gaps: GapTicks,
    /// Ticks filled between two packets that followed each other, where drift or rounding left a hole
    /// of at most two.
    pub inserted_ticks: u64,
    /// Ticks cut where two packets that followed each other overlapped by at most two.
    pub dropped_ticks: u64,
    /// Position of the first audio.
    pub first_audio: Option<u64>,
    /// Position where the last audio ends.
    pub last_audio: Option<u64>,
    /// Ticks from the end of the last audio to the end of the recording; its length if there is none.
    pub tail_ticks: u64,
    /// What the party spoke in.
    pub codecs: CodecsSeen,
    /// How the party's stream was on its way.
    pub quality: StreamQuality,
}

/// Ticks of 1/8000 s by reason. Each tick counts once; where the spool had no room, what was audio
/// counts as [`GapReason::SpoolFull`] and what was missing anyway keeps its own reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GapTicks([u64; GapReason::ALL.len()]);

/// The codecs a party used, in the order of their first packet; at most six.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CodecsSeen {
    list: [Option<Codec>; CODECS],
    newest: Option<Codec>,
}

/// How a party's stream was on its way, as far as it was measured when the recording was closed, or
/// when the leg ended or another took its place. Of several legs the mean by their packets; of their
/// clocks the one that was furthest off.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StreamQuality {
    /// How fast the party's clock runs against ours, in parts per million; positive is fast.
    pub drift_ppm: Option<f64>,
    /// Interarrival jitter of the party's packets, in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: Option<f64>,
    /// From here to the party and back, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Share of the packets sent to the party that it last reported lost, 0 to 1.
    pub reported_loss: Option<f64>,
    /// What a listener would make of the party's stream, 1 to 4.5 (ITU-T G.107), as far as loss and
    /// delay decide it: only G.729 is rated as itself, every other codec, wideband too, as G.711.
    pub mos: Option<f64>,
}

/// How the streams of all legs that fed a side were on their way.
#[derive(Debug, Default)]
pub(crate) struct QualityMean {
    drift_ppm: Option<f64>,
    jitter_ms: Mean,
    round_trip_ms: Mean,
    reported_loss: Mean,
}

/// A mean that is exact while it has one value.
#[derive(Debug, Default)]
struct Mean {
    value: Option<f64>,
    weight: f64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>, weight: f64) {
        let Some(value) = value else { return };
        self.weight += weight;
        let mean = self.value.unwrap_or(value);
        self.value = Some(mean + (value - mean) * weight / self.weight);
    }
}

impl QualityMean {
    /// Takes the figures of one leg, of which so many packets came while it fed the side.
    pub(crate) fn add(&mut self, quality: &StreamQuality, packets: u64) {
        let weight = packets.max(1) as f64;
        self.jitter_ms.add(quality.jitter_ms, weight);
        self.round_trip_ms.add(quality.round_trip_ms, weight);
        self.reported_loss.add(quality.reported_loss, weight);
        let both = [self.drift_ppm, quality.drift_ppm].into_iter().flatten();
        self.drift_ppm = both.max_by(|one, other| one.abs().total_cmp(&other.abs()));
    }

    pub(crate) fn quality(&self) -> StreamQuality {
        StreamQuality {
            drift_ppm: self.drift_ppm,
            jitter_ms: self.jitter_ms.value,
            round_trip_ms: self.round_trip_ms.value,
            reported_loss: self.reported_loss.value,
            mos: None,
        }
    }
}

impl Totals {
    /// The figures of one channel: 0 is the owner's.
    pub(crate) fn side_mut(&mut self, index: usize) -> &mut SideTotals {
        match index {
            0 => &mut self.owner,
            _ => &mut self.other,
        }
    }
}

impl SideTotals {
    /// What was audio turns out not to be on disk.
    pub(crate) fn lose(&mut self, ticks: u64) {
        let ticks = ticks.min(self.audio_ticks);
        self.audio_ticks -= ticks;
        self.gaps.add(GapReason::SpoolFull, ticks);
    }
}

impl StreamQuality {
    /// With what a listener would make of it, given what arrived; nothing if nothing did. What came
    /// too late counts as lost. A codec without a row in G.113 counts as G.711, whose scale this is.
    pub(crate) fn judged(self, side: &SideTotals) -> StreamQuality {
        let equipment = match side.codecs.newest {
            Some(Codec::G729) => Equipment::G729A,
            Some(_) => Equipment::G711,
            None => return self,
        };
        let loss = Loss {
            expected: side.expected,
            lost: side.lost,
            bursts: 0,
        };
        let way = Duration::from_secs_f64(self.round_trip_ms.unwrap_or(0.0) / 2_000.0);
        StreamQuality {
            mos: Some(quality::rate(equipment, loss, way).mos()),
            ..self
        }
    }
}

impl GapTicks {
    /// Ticks missing for this reason.
    #[must_use]
    pub fn of(&self, reason: GapReason) -> u64 {
        self.0[reason as usize]
    }

    /// Ticks missing in all.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, reason: GapReason, ticks: u64) {
        self.0[reason as usize] += ticks;
    }
}

impl CodecsSeen {
    /// The codecs, in the order of their first packet.
    pub fn iter(&self) -> impl Iterator<Item = Codec> + '_ {
        self.list.iter().flatten().copied()
    }

    #[inline]
    pub(crate) fn note(&mut self, codec: Codec) {
        if self.newest != Some(codec) {
            self.note_change(codec);
        }
    }

    #[cold]
    fn note_change(&mut self, codec: Codec) {
        self.newest = Some(codec);
        let slot = self
            .list
            .iter_mut()
            .find(|slot| slot.is_none_or(|known| known == codec));
        if let Some(slot) = slot {
            *slot = Some(codec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolog_audio::codec::Channels;

    #[test]
    fn codecs_are_told_once_in_their_order_and_no_more_than_fit() {
        let mut seen = CodecsSeen::default();
        for codec in [
            Codec::Pcmu,
            Codec::Opus,
            Codec::Pcmu,
            Codec::Opus,
            Codec::G722,
        ] {
            seen.note(codec);
        }
        let list: Vec<Codec> = seen.iter().collect();
        assert_eq!(list, [Codec::Pcmu, Codec::Opus, Codec::G722]);
        for rate_hz in [8_000, 16_000, 24_000, 32_000, 48_000] {
            seen.note(Codec::L16 {
                rate_hz,
                channels: Channels::Mono,
            });
        }
        assert_eq!(seen.iter().count(), CODECS);
    }

    #[test]
    fn loss_delay_and_codec_cost_what_the_e_model_says() {
        let check = |codec, lost, round_trip_ms, expected: f64| {
            let mut side = SideTotals {
                expected: 1_000,
                lost,
                ..SideTotals::default()
            };
            side.codecs.note(codec);
            let quality = StreamQuality {
                round_trip_ms,
                ..StreamQuality::default()
            };
            let mos = quality.judged(&side).mos.expect("a stream");
            assert!((mos - expected).abs() < 0.1, "{mos}, not {expected}");
        };
        check(Codec::Pcmu, 0, None, 4.41);
        check(Codec::Opus, 0, Some(40.0), 4.4);
        check(Codec::Pcmu, 50, None, 3.9);
        check(Codec::G729, 0, None, 4.1);
        check(Codec::Pcmu, 0, Some(800.0), 3.2);
        let none = StreamQuality::default();
        assert_eq!(none.judged(&SideTotals::default()), none);
    }

    #[test]
    fn of_several_legs_each_counts_by_its_packets() {
        let leg = |jitter_ms, drift_ppm| StreamQuality {
            jitter_ms: Some(jitter_ms),
            drift_ppm: Some(drift_ppm),
            ..StreamQuality::default()
        };
        let mut mean = QualityMean::default();
        assert_eq!(mean.quality(), StreamQuality::default());
        mean.add(&leg(0.1, -70.0), 7);
        assert_eq!(mean.quality(), leg(0.1, -70.0), "of one leg to the bit");
        mean.add(&leg(0.9, 20.0), 21);
        mean.add(&StreamQuality::default(), 1_000);
        let quality = mean.quality();
        assert!((quality.jitter_ms.unwrap_or_default() - 0.7).abs() < 1e-9);
        assert_eq!(quality.drift_ppm, Some(-70.0));
        assert_eq!(quality.round_trip_ms, None);
    }

    #[test]
    fn what_the_spool_lost_moves_from_audio_to_its_reason() {
        let mut side = SideTotals {
            audio_ticks: 100,
            ..SideTotals::default()
        };
        side.gaps.add(GapReason::Loss, 7);
        side.lose(30);
        assert_eq!((side.audio_ticks, side.gaps.sum()), (70, 37));
        assert_eq!(side.gaps.of(GapReason::SpoolFull), 30);
        side.lose(1_000);
        assert_eq!((side.audio_ticks, side.gaps.sum()), (0, 107));
    }
}
