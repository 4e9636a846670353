//! Payload formats: the numbers of an `m=` line and what they stand for.

use sdp_types::Media;

/// One payload format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    /// The RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// What it carries.
    pub encoding: Encoding,
}

/// What a payload type carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encoding {
    /// G.711 µ-law, 8 kHz, one channel.
    Pcmu,
    /// G.711 A-law, 8 kHz, one channel.
    Pcma,
    /// G.722: 16 kHz sound on a clock of 8 kHz (RFC 3551 §4.5.2).
    G722,
    /// G.729 with or without annexes A and B; which of them is in its `fmtp`.
    G729,
    /// Opus (RFC 7587), clock 48 kHz.
    Opus,
    /// Linear samples of 16 bits (RFC 3551 §4.5.11).
    L16 {
        /// Samples per second of one channel: one of 8,000, 11,025, 12,000, 16,000, 22,050, 24,000,
        /// 32,000, 44,100 and 48,000.
        rate_hz: u32,
        /// 1 or 2.
        channels: u8,
    },
    /// Comfort noise (RFC 3389).
    ComfortNoise {
        /// The clock rate, that of the speech it stands in for.
        rate_hz: u32,
    },
    /// Telephone events (RFC 4733).
    TelephoneEvent {
        /// The clock rate, that of the speech beside it.
        rate_hz: u32,
    },
    /// Anything else.
    Other,
}

/// Sample rates of linear audio that are understood.
const LINEAR_RATES_HZ: [u32; 9] = [
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000,
];

/// Numbers that may be given freely (RFC 3551 §3).
pub(super) const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

impl Encoding {
    /// Whether it carries speech by itself: not noise, not events, not something unknown.
    pub const fn is_speech(self) -> bool {
        match self {
            Encoding::Pcmu
            | Encoding::Pcma
            | Encoding::G722
            | Encoding::G729
            | Encoding::Opus
            | Encoding::L16 { .. } => true,
            Encoding::ComfortNoise { .. } | Encoding::TelephoneEvent { .. } | Encoding::Other => {
                false
            }
        }
    }

    /// The RTP clock rate in Hz; `None` where the encoding is not known.
    pub const fn clock_rate_hz(self) -> Option<u32> {
        match self {
            Encoding::Pcmu | Encoding::Pcma | Encoding::G722 | Encoding::G729 => Some(8_000),
            Encoding::Opus => Some(48_000),
            Encoding::L16 { rate_hz, .. }
            | Encoding::ComfortNoise { rate_hz }
            | Encoding::TelephoneEvent { rate_hz } => Some(rate_hz),
            Encoding::Other => None,
        }
    }

    /// The number that stands for it without `rtpmap` (RFC 3551 §6).
    pub(super) fn static_type(self) -> Option<u8> {
        (0..DYNAMIC.start().to_owned())
            .find(|number| statically(*number) == self && self.is_known())
    }

    fn is_known(self) -> bool {
        self != Encoding::Other
    }

    /// Encoding name, clock rate and channels as in `rtpmap`.
    pub(super) fn rtpmap(self) -> Option<String> {
        Some(match self {
            Encoding::Pcmu => "PCMU/8000".to_owned(),
            Encoding::Pcma => "PCMA/8000".to_owned(),
            Encoding::G722 => "G722/8000".to_owned(),
            Encoding::G729 => "G729/8000".to_owned(),
            Encoding::Opus => "opus/48000/2".to_owned(),
            Encoding::L16 {
                rate_hz,
                channels: 1,
            } => format!("L16/{rate_hz}"),
            Encoding::L16 { rate_hz, channels } => format!("L16/{rate_hz}/{channels}"),
            Encoding::ComfortNoise { rate_hz } => format!("CN/{rate_hz}"),
            Encoding::TelephoneEvent { rate_hz } => format!("telephone-event/{rate_hz}"),
            Encoding::Other => return None,
        })
    }

    /// What this node says about itself where it names the encoding of its own accord.
    pub(super) fn fmtp(self) -> Option<&'static str> {
        match self {
            Encoding::Opus => Some("minptime=10;useinbandfec=1"),
            Encoding::G729 => Some("annexb=no"),
            Encoding::TelephoneEvent { .. } => Some("0-15"),
            _ => None,
        }
    }
}

/// The formats of an `m=` line, each number once; static types need no `rtpmap` (RFC 3551 §6).
pub(super) fn formats(media: &Media) -> Vec<Format> {
    let mut met = [false; 128];
    // A line of the same number over and over must not cost a look at every attribute each time.
    let mut is_new = |payload_type: &u8| {
        let met = met.get_mut(usize::from(*payload_type));
        met.is_some_and(|met| !std::mem::replace(met, true))
    };
    let types = media
        .fmt
        .split_ascii_whitespace()
        .filter_map(|t| t.parse().ok());
    types
        .filter(|payload_type| is_new(payload_type))
        .map(|payload_type| Format {
            payload_type,
            encoding: encoding(media, payload_type),
        })
        .collect()
}

fn encoding(media: &Media, payload_type: u8) -> Encoding {
    let maps = media
        .attributes
        .iter()
        .filter(|a| a.attribute.eq_ignore_ascii_case("rtpmap"));
    let mapped = maps.filter_map(|a| a.value.as_deref()).find_map(|value| {
        let (number, name) = value.trim().split_once([' ', '\t'])?;
        (number.parse() == Ok(payload_type)).then(|| named(name.trim()))
    });
    mapped.unwrap_or_else(|| statically(payload_type))
}

/// The encoding of a static payload type (RFC 3551 §6).
fn statically(payload_type: u8) -> Encoding {
    let linear = |channels| Encoding::L16 {
        rate_hz: 44_100,
        channels,
    };
    match payload_type {
        0 => Encoding::Pcmu,
        8 => Encoding::Pcma,
        9 => Encoding::G722,
        10 => linear(2),
        11 => linear(1),
        13 => Encoding::ComfortNoise { rate_hz: 8_000 },
        18 => Encoding::G729,
        _ => Encoding::Other,
    }
}

/// The encoding of `name/rate[/channels]`.
fn named(map: &str) -> Encoding {
    let mut parts = map.split('/').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let rate = parts.next().and_then(|rate| rate.parse().ok());
    let channels = parts.next().map_or(Some(1), |count| count.parse().ok());
    let (Some(rate_hz), Some(channels), None) = (rate, channels, parts.next()) else {
        return Encoding::Other;
    };
    match (name.as_str(), rate_hz, channels) {
        ("pcmu", 8_000, 1) => Encoding::Pcmu,
        ("pcma", 8_000, 1) => Encoding::Pcma,
        ("g722", 8_000, 1) => Encoding::G722,
        ("g729" | "g729a", 8_000, 1) => Encoding::G729,
        ("opus", 48_000, 2) => Encoding::Opus,
        ("l16", rate_hz, 1 | 2) if LINEAR_RATES_HZ.contains(&rate_hz) => {
            Encoding::L16 { rate_hz, channels }
        }
        ("cn", 8_000..=48_000, 1) => Encoding::ComfortNoise { rate_hz },
        ("telephone-event", 8_000..=48_000, 1) => Encoding::TelephoneEvent { rate_hz },
        _ => Encoding::Other,
    }
}
