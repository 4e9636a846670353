//! Payload types of one leg, looked up per packet.

use duolog_audio::codec::{Channels, Codec};
use duolog_audio::g711::Law;
use duolog_rtp::PayloadType;

use crate::command::{Encoding, PayloadFormat};

/// Whether payloads of G.729 can be made and read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum G729 {
    Installed,
    Missing,
}

/// What was negotiated, by number and by encoding.
#[derive(Debug, Clone)]
pub(crate) struct Formats {
    /// For each number: 0 for nothing, else one more than the index into `list`.
    by_number: [u8; 128],
    list: Vec<PayloadFormat>,
    pcmu: Option<PayloadType>,
    pcma: Option<PayloadType>,
    /// What speech that is made here is sent in: the first format that can be made here.
    first: Option<(PayloadType, Codec)>,
    event: Option<(PayloadType, u32)>,
}

/// How a packet's encoding reaches a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// As it is, under this number.
    Same(PayloadType),
    /// From the first law into the second.
    Recode(PayloadType, Law, Law),
    /// Decoded and made anew in this codec.
    Transcode(PayloadType, Codec),
    /// A telephone-event whose durations are counted by another clock.
    Event {
        number: PayloadType,
        from_hz: u32,
        to_hz: u32,
    },
}

impl Passage {
    pub(crate) fn number(self) -> PayloadType {
        match self {
            Passage::Same(number)
            | Passage::Recode(number, ..)
            | Passage::Transcode(number, _)
            | Passage::Event { number, .. } => number,
        }
    }
}

impl Formats {
    pub(crate) fn new(formats: &[PayloadFormat], g729: G729) -> Formats {
        let mut by = Formats {
            by_number: [0; 128],
            list: Vec::with_capacity(formats.len()),
            pcmu: None,
            pcma: None,
            first: None,
            event: None,
        };
        for &format in formats {
            let Some(slot) = by.by_number.get_mut(usize::from(format.payload_type.0)) else {
                continue;
            };
            // There are 128 numbers; formats beyond that repeat one.
            let Ok(index) = u8::try_from(by.list.len() + 1) else {
                continue;
            };
            *slot = index;
            by.list.push(format);
            let number = format.payload_type;
            let Encoding::Speech(codec) = format.encoding else {
                continue;
            };
            match codec {
                Codec::Pcmu => by.pcmu = by.pcmu.or(Some(number)),
                Codec::Pcma => by.pcma = by.pcma.or(Some(number)),
                _ => {}
            }
            if codec != Codec::G729 || g729 == G729::Installed {
                by.first = by.first.or(Some((number, codec)));
            }
        }
        let clock = by.first.map_or(8_000, |(_, codec)| codec.clock_rate_hz());
        let events = by.list.iter().filter_map(|format| match format.encoding {
            Encoding::TelephoneEvent { rate_hz } => Some((format.payload_type, rate_hz)),
            _ => None,
        });
        // That of the speech's clock, else the first (RFC 4733 §2.1).
        by.event = events
            .clone()
            .find(|&(_, rate_hz)| rate_hz == clock)
            .or(events.clone().next());
        by
    }

    /// What a received number means. Static numbers (RFC 3551 §6) mean what they stand for even where
    /// they were not agreed on: around a re-INVITE that changes the codec, packets of either are under
    /// way, and there are telephones that send comfort noise without having offered it.
    #[inline]
    pub(crate) fn encoding(&self, number: PayloadType) -> Option<Encoding> {
        let slot = *self.by_number.get(usize::from(number.0))?;
        match slot.checked_sub(1) {
            Some(index) => self
                .list
                .get(usize::from(index))
                .map(|format| format.encoding),
            None => assigned(number),
        }
    }

    /// What prompts and tones are sent in: the preferred codec that can be made here.
    #[inline]
    pub(crate) fn speech(&self) -> Option<(PayloadType, Codec)> {
        self.first
    }

    /// What keys are sent in, and the clock of their durations.
    pub(crate) fn event(&self) -> Option<(PayloadType, u32)> {
        self.event
    }

    #[inline]
    pub(crate) fn passage(&self, encoding: Encoding) -> Option<Passage> {
        match encoding {
            Encoding::Speech(Codec::Pcmu) => self
                .pcmu
                .map(Passage::Same)
                .or(self
                    .pcma
                    .map(|number| Passage::Recode(number, Law::Mulaw, Law::Alaw)))
                .or_else(|| self.transcode()),
            Encoding::Speech(Codec::Pcma) => self
                .pcma
                .map(Passage::Same)
                .or(self
                    .pcmu
                    .map(|number| Passage::Recode(number, Law::Alaw, Law::Mulaw)))
                .or_else(|| self.transcode()),
            Encoding::Speech(_) => self.same(encoding).or_else(|| self.transcode()),
            Encoding::TelephoneEvent { rate_hz } => {
                let (number, to_hz) = self.event?;
                self.same(encoding).or(Some(Passage::Event {
                    number,
                    from_hz: rate_hz,
                    to_hz,
                }))
            }
            Encoding::ComfortNoise { .. } => self.same(encoding),
        }
    }

    fn same(&self, encoding: Encoding) -> Option<Passage> {
        let mut list = self.list.iter();
        list.find(|format| format.encoding == encoding)
            .map(|format| Passage::Same(format.payload_type))
    }

    fn transcode(&self) -> Option<Passage> {
        let (number, codec) = self.first?;
        Some(Passage::Transcode(number, codec))
    }
}

/// The static numbers that are understood (RFC 3551 §6).
fn assigned(number: PayloadType) -> Option<Encoding> {
    let linear = |channels| Codec::L16 {
        rate_hz: 44_100,
        channels,
    };
    Some(match number.0 {
        0 => Encoding::Speech(Codec::Pcmu),
        8 => Encoding::Speech(Codec::Pcma),
        9 => Encoding::Speech(Codec::G722),
        10 => Encoding::Speech(linear(Channels::Stereo)),
        11 => Encoding::Speech(linear(Channels::Mono)),
        13 => Encoding::ComfortNoise { rate_hz: 8_000 },
        18 => Encoding::Speech(Codec::G729),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(number: u8, encoding: Encoding) -> PayloadFormat {
        PayloadFormat {
            payload_type: PayloadType(number),
            encoding,
        }
    }

    fn speech(number: u8, codec: Codec) -> PayloadFormat {
        format(number, Encoding::Speech(codec))
    }

    fn event(number: u8, rate_hz: u32) -> PayloadFormat {
        format(number, Encoding::TelephoneEvent { rate_hz })
    }

    #[test]
    fn numbers_and_encodings_are_found_both_ways() {
        let formats = [
            event(101, 8_000),
            speech(8, Codec::Pcma),
            speech(97, Codec::Pcma),
            speech(200, Codec::Pcmu),
        ];
        let formats = Formats::new(&formats, G729::Missing);
        let encoding = |number| formats.encoding(PayloadType(number));
        for (number, codec) in [
            (97, Codec::Pcma),
            (0, Codec::Pcmu),
            (9, Codec::G722),
            (18, Codec::G729),
        ] {
            assert_eq!(encoding(number), Some(Encoding::Speech(codec)), "{number}");
        }
        assert_eq!(
            encoding(13),
            Some(Encoding::ComfortNoise { rate_hz: 8_000 })
        );
        for number in [12, 96, 127, 200] {
            assert_eq!(encoding(number), None, "{number}");
        }
        assert_eq!(formats.speech(), Some((PayloadType(8), Codec::Pcma)));
        assert_eq!(formats.event(), Some((PayloadType(101), 8_000)));
        let nobody = Formats::new(&[], G729::Missing);
        assert_eq!(nobody.passage(Encoding::Speech(Codec::Opus)), None);
        let key = Encoding::TelephoneEvent { rate_hz: 8_000 };
        assert_eq!(nobody.passage(key), None);
    }

    #[test]
    fn a_codec_passes_as_it_is_where_it_can() {
        let formats = [
            speech(18, Codec::G729),
            speech(111, Codec::Opus),
            speech(8, Codec::Pcma),
            event(101, 8_000),
            event(102, 48_000),
            format(13, Encoding::ComfortNoise { rate_hz: 8_000 }),
        ];
        let check = |g729, encoding, expected| {
            let formats = Formats::new(&formats, g729);
            assert_eq!(formats.passage(encoding), expected, "{encoding:?}");
        };
        let number = PayloadType;
        for (encoding, expected) in [
            (
                Encoding::Speech(Codec::Opus),
                Some(Passage::Same(number(111))),
            ),
            (
                Encoding::Speech(Codec::G729),
                Some(Passage::Same(number(18))),
            ),
            (
                Encoding::Speech(Codec::Pcmu),
                Some(Passage::Recode(number(8), Law::Mulaw, Law::Alaw)),
            ),
            (
                Encoding::Speech(Codec::G722),
                Some(Passage::Transcode(number(111), Codec::Opus)),
            ),
            (
                Encoding::TelephoneEvent { rate_hz: 8_000 },
                Some(Passage::Same(number(101))),
            ),
            (
                Encoding::TelephoneEvent { rate_hz: 16_000 },
                Some(Passage::Event {
                    number: number(102),
                    from_hz: 16_000,
                    to_hz: 48_000,
                }),
            ),
            (
                Encoding::ComfortNoise { rate_hz: 8_000 },
                Some(Passage::Same(number(13))),
            ),
            (Encoding::ComfortNoise { rate_hz: 48_000 }, None),
        ] {
            check(G729::Missing, encoding, expected);
        }
        check(
            G729::Installed,
            Encoding::Speech(Codec::G722),
            Some(Passage::Transcode(number(18), Codec::G729)),
        );
    }
}
