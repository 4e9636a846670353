//! Speech codecs: what a payload is coded in, how long it lasts, from payload to samples and back.
//!
//! A payload is what one RTP packet carries. Its length in time is counted in ticks of the codec's
//! RTP clock, which for G.722 and Opus is not the rate of its samples (RFC 3551 §4.5.2, RFC 7587 §4.1).

mod decoder;
mod encoder;
mod g722;
mod g729;
mod linear;
mod opus;
mod silence;

pub use self::decoder::{CodecError, Concealed, Decoder};
pub use self::encoder::{Encoder, EncoderSettings};
pub use self::g729::{G729Library, G729Missing};
pub use self::silence::Silence;

use crate::g711::Law;

/// Longest payload of any codec but G.711, in milliseconds.
pub const LONGEST_PAYLOAD_MS: u32 = 120;

/// Longest G.711 payload, in milliseconds.
pub const LONGEST_G711_PAYLOAD_MS: u32 = 200;

/// What a payload is coded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// G.711 mu-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// G.722 at 64 kb/s: 16 kHz, but its RTP clock runs at 8,000 Hz (RFC 3551 §4.5.2).
    G722,
    /// G.729 and G.729A, Annex B silence frames included: 8 kHz, frames of 10 ms (RFC 3551 §4.5.6).
    G729,
    /// Opus, mono or stereo as the packet says; its RTP clock always runs at 48,000 Hz (RFC 7587 §4.1).
    Opus,
    /// Linear 16-bit big-endian samples (RFC 3551 §4.5.11).
    L16 {
        /// Samples per second: one of [`Codec::L16_RATES_HZ`]; payloads of any other are malformed.
        rate_hz: u32,
        /// Interleaved channels.
        channels: Channels,
    },
}

/// Channels of a linear payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channels {
    /// One.
    Mono,
    /// Two, interleaved; heard and recorded as their mean.
    Stereo,
}

impl Channels {
    /// 1 or 2.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Channels::Mono => 1,
            Channels::Stereo => 2,
        }
    }
}

/// Set in the number of every L16 codec.
const L16_BIT: u16 = 0x8000;
/// Set in the number of a stereo L16 codec.
const STEREO_BIT: u16 = 0x4000;
/// The rest of an L16 codec's number is its rate in units of this.
const L16_RATE_UNIT_HZ: u32 = 25;

impl Codec {
    /// The rates that L16 is taken in, in Hz.
    pub const L16_RATES_HZ: [u32; 9] = [
        8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000,
    ];

    /// Ticks per second of the RTP time stamp, in Hz.
    #[must_use]
    pub const fn clock_rate_hz(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::G729 => 8_000,
            Codec::Opus => 48_000,
            Codec::L16 { rate_hz, .. } => rate_hz,
        }
    }

    /// Samples per second of the sound, in Hz: the most that the codec can carry.
    #[must_use]
    pub const fn sample_rate_hz(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G729 => 8_000,
            Codec::G722 => 16_000,
            Codec::Opus => 48_000,
            Codec::L16 { rate_hz, .. } => rate_hz,
        }
    }

    /// Whether an L16 has a rate that is taken; every other codec exists.
    fn is_known(self) -> bool {
        match self {
            Codec::L16 { rate_hz, .. } => Codec::L16_RATES_HZ.contains(&rate_hz),
            _ => true,
        }
    }

    /// How long `payload` lasts, in ticks of [`Codec::clock_rate_hz`], read without decoding it.
    ///
    /// `None` when it is empty, malformed, or longer than [`LONGEST_PAYLOAD_MS`]
    /// ([`LONGEST_G711_PAYLOAD_MS`] for G.711).
    #[must_use]
    pub fn ticks(self, payload: &[u8]) -> Option<u32> {
        let (ticks, longest_ms) = match self {
            Codec::Pcmu | Codec::Pcma => (payload.len(), LONGEST_G711_PAYLOAD_MS),
            // One octet is two samples of 16 kHz, and one tick of the clock.
            Codec::G722 => (payload.len(), LONGEST_PAYLOAD_MS),
            Codec::G729 => (g729::samples(payload.len())?, LONGEST_PAYLOAD_MS),
            Codec::Opus => (opus::Packet::parse(payload)?.ticks(), LONGEST_PAYLOAD_MS),
            Codec::L16 { channels, .. } => {
                let frame = 2 * channels.count();
                if !self.is_known() || !payload.len().is_multiple_of(frame) {
                    return None;
                }
                (payload.len() / frame, LONGEST_PAYLOAD_MS)
            }
        };
        let longest = (u64::from(self.clock_rate_hz()) * u64::from(longest_ms) / 1_000) as usize;
        (1..=longest).contains(&ticks).then_some(ticks as u32)
    }

    /// The codec's number on disk; it never changes.
    ///
    /// ```text
    /// 1 PCMU | 2 PCMA | 3 G722 | 4 G729 | 5 Opus | 1sRR RRRR RRRR RRRR L16, s: stereo, R: rate / 25 Hz
    /// ```
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Codec::Pcmu => 1,
            Codec::Pcma => 2,
            Codec::G722 => 3,
            Codec::G729 => 4,
            Codec::Opus => 5,
            Codec::L16 { rate_hz, channels } => {
                let rate = (rate_hz / L16_RATE_UNIT_HZ) as u16 & (STEREO_BIT - 1);
                match channels {
                    Channels::Mono => L16_BIT | rate,
                    Channels::Stereo => L16_BIT | STEREO_BIT | rate,
                }
            }
        }
    }

    /// The codec of a number made by [`Codec::code`]; `None` for a number that no codec has.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Codec> {
        match code {
            1 => Some(Codec::Pcmu),
            2 => Some(Codec::Pcma),
            3 => Some(Codec::G722),
            4 => Some(Codec::G729),
            5 => Some(Codec::Opus),
            _ if code & L16_BIT != 0 => {
                let rate_hz = u32::from(code & (STEREO_BIT - 1)) * L16_RATE_UNIT_HZ;
                let channels = match code & STEREO_BIT {
                    0 => Channels::Mono,
                    _ => Channels::Stereo,
                };
                Codec::L16_RATES_HZ
                    .contains(&rate_hz)
                    .then_some(Codec::L16 { rate_hz, channels })
            }
            _ => None,
        }
    }

    /// The name in manifests and logs: `PCMU`, `PCMA`, `G722`, `G729`, `opus`, `L16/16000/1`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Codec::Pcmu => "PCMU".to_owned(),
            Codec::Pcma => "PCMA".to_owned(),
            Codec::G722 => "G722".to_owned(),
            Codec::G729 => "G729".to_owned(),
            Codec::Opus => "opus".to_owned(),
            Codec::L16 { rate_hz, channels } => format!("L16/{rate_hz}/{}", channels.count()),
        }
    }

    /// The companding law of the two codecs of G.711.
    #[must_use]
    pub const fn law(self) -> Option<Law> {
        match self {
            Codec::Pcmu => Some(Law::Mulaw),
            Codec::Pcma => Some(Law::Alaw),
            Codec::G722 | Codec::G729 | Codec::Opus | Codec::L16 { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn l16(rate_hz: u32, channels: Channels) -> Codec {
        Codec::L16 { rate_hz, channels }
    }

    #[test]
    fn numbers_on_disk_are_these_and_come_back() {
        let mut codecs = vec![
            (Codec::Pcmu, 1, "PCMU"),
            (Codec::Pcma, 2, "PCMA"),
            (Codec::G722, 3, "G722"),
            (Codec::G729, 4, "G729"),
            (Codec::Opus, 5, "opus"),
            (l16(8_000, Channels::Mono), 0x8140, "L16/8000/1"),
            (l16(16_000, Channels::Stereo), 0xC280, "L16/16000/2"),
            (l16(11_025, Channels::Mono), 0x81B9, "L16/11025/1"),
            (l16(48_000, Channels::Stereo), 0xC780, "L16/48000/2"),
        ];
        for (codec, code, name) in codecs.drain(..) {
            assert_eq!((codec.code(), codec.name().as_str()), (code, name));
            assert_eq!(Codec::from_code(code), Some(codec));
        }
        let known = (0..=u16::MAX).filter_map(|code| Some((code, Codec::from_code(code)?)));
        let known: Vec<_> = known.collect();
        assert_eq!(known.len(), 5 + 2 * Codec::L16_RATES_HZ.len());
        assert!(known.iter().all(|(code, codec)| codec.code() == *code));
    }

    #[test]
    fn lengths_are_read_from_the_payload() {
        let check = |codec: Codec, bytes: usize, ticks: Option<u32>| {
            let payload = vec![0xD5; bytes];
            assert_eq!(codec.ticks(&payload), ticks, "{codec:?}, {bytes} octets");
        };
        for codec in [Codec::Pcmu, Codec::Pcma] {
            check(codec, 0, None);
            check(codec, 1, Some(1));
            check(codec, 160, Some(160));
            check(codec, 1_600, Some(1_600));
            check(codec, 1_601, None);
        }
        check(Codec::G722, 0, None);
        check(Codec::G722, 160, Some(160));
        check(Codec::G722, 960, Some(960));
        check(Codec::G722, 961, None);
        for (bytes, ticks) in [
            (0, None),
            (1, None),
            (2, Some(80)),
            (3, None),
            (9, None),
            (10, Some(80)),
            (12, Some(160)),
            (14, None),
            (20, Some(160)),
            (22, Some(240)),
            (112, Some(960)),
            (120, Some(960)),
            (122, None),
            (130, None),
        ] {
            check(Codec::G729, bytes, ticks);
        }
        check(l16(8_000, Channels::Mono), 320, Some(160));
        check(l16(8_000, Channels::Mono), 321, None);
        check(l16(16_000, Channels::Stereo), 1_280, Some(320));
        check(l16(16_000, Channels::Stereo), 1_282, None);
        check(l16(44_100, Channels::Mono), 10_584, Some(5_292));
        check(l16(44_100, Channels::Mono), 10_586, None);
        check(l16(8_001, Channels::Mono), 320, None);
        check(l16(48_000, Channels::Mono), 0, None);
    }

    #[test]
    fn clocks_and_sample_rates_are_those_of_the_rfcs() {
        let rates = |codec: Codec| (codec.clock_rate_hz(), codec.sample_rate_hz());
        assert_eq!(rates(Codec::Pcmu), (8_000, 8_000));
        assert_eq!(rates(Codec::G722), (8_000, 16_000));
        assert_eq!(rates(Codec::G729), (8_000, 8_000));
        assert_eq!(rates(Codec::Opus), (48_000, 48_000));
        assert_eq!(rates(l16(22_050, Channels::Mono)), (22_050, 22_050));
        assert_eq!(Codec::Pcma.law(), Some(Law::Alaw));
        assert_eq!(Codec::G722.law(), None);
    }
}
