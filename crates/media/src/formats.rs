//! Payload types of one leg, looked up per packet.

use duolog_audio::g711::Law;
use duolog_rtp::PayloadType;

use crate::command::{Encoding, PayloadFormat};

/// What was negotiated, by number and by encoding.
#[derive(Debug, Clone)]
pub(crate) struct Formats {
    encodings: [Option<Encoding>; 128],
    pcmu: Option<PayloadType>,
    pcma: Option<PayloadType>,
    event: Option<PayloadType>,
    first: Option<(PayloadType, Law)>,
}

/// How a packet's encoding reaches a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// As it is, under this number.
    Same(PayloadType),
    /// From the first law into the second.
    Recode(PayloadType, Law, Law),
}

impl Formats {
    pub(crate) fn new(formats: &[PayloadFormat]) -> Formats {
        let mut by = Formats {
            encodings: [None; 128],
            pcmu: None,
            pcma: None,
            event: None,
            first: None,
        };
        for &PayloadFormat {
            payload_type,
            encoding,
        } in formats
        {
            let Some(slot) = by.encodings.get_mut(usize::from(payload_type.0)) else {
                continue;
            };
            *slot = Some(encoding);
            let number = match encoding {
                Encoding::Pcmu => &mut by.pcmu,
                Encoding::Pcma => &mut by.pcma,
                Encoding::TelephoneEvent => &mut by.event,
            };
            *number = number.or(Some(payload_type));
            by.first = by.first.or(law(encoding).map(|law| (payload_type, law)));
        }
        by
    }

    /// What a received number means. Numbers 0 and 8 mean G.711 even where they were not agreed on
    /// (RFC 3551 §6): around a re-INVITE that changes the law, packets of either law are under way.
    #[inline]
    pub(crate) fn encoding(&self, number: PayloadType) -> Option<Encoding> {
        let agreed = self.encodings.get(usize::from(number.0)).copied().flatten();
        agreed.or(match number.0 {
            0 => Some(Encoding::Pcmu),
            8 => Some(Encoding::Pcma),
            _ => None,
        })
    }

    /// What prompts and tones are sent in: the preferred law.
    pub(crate) fn speech(&self) -> Option<(PayloadType, Law)> {
        self.first
    }

    pub(crate) fn event(&self) -> Option<PayloadType> {
        self.event
    }

    #[inline]
    pub(crate) fn passage(&self, encoding: Encoding) -> Option<Passage> {
        match encoding {
            Encoding::TelephoneEvent => self.event.map(Passage::Same),
            Encoding::Pcmu => self.pcmu.map(Passage::Same).or(self
                .pcma
                .map(|number| Passage::Recode(number, Law::Mulaw, Law::Alaw))),
            Encoding::Pcma => self.pcma.map(Passage::Same).or(self
                .pcmu
                .map(|number| Passage::Recode(number, Law::Alaw, Law::Mulaw))),
        }
    }
}

/// The law of a speech encoding.
#[inline]
pub(crate) fn law(encoding: Encoding) -> Option<Law> {
    match encoding {
        Encoding::Pcmu => Some(Law::Mulaw),
        Encoding::Pcma => Some(Law::Alaw),
        Encoding::TelephoneEvent => None,
    }
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

    #[test]
    fn numbers_and_encodings_are_found_both_ways() {
        let formats = Formats::new(&[
            format(101, Encoding::TelephoneEvent),
            format(8, Encoding::Pcma),
            format(97, Encoding::Pcma),
            format(200, Encoding::Pcmu),
        ]);
        assert_eq!(formats.encoding(PayloadType(97)), Some(Encoding::Pcma));
        assert_eq!(formats.encoding(PayloadType(0)), Some(Encoding::Pcmu));
        assert_eq!(formats.encoding(PayloadType(9)), None);
        assert_eq!(formats.encoding(PayloadType(200)), None);
        assert_eq!(formats.speech(), Some((PayloadType(8), Law::Alaw)));
        assert_eq!(formats.event(), Some(PayloadType(101)));
        assert_eq!(
            formats.passage(Encoding::Pcmu),
            Some(Passage::Recode(PayloadType(8), Law::Mulaw, Law::Alaw))
        );
        assert_eq!(Formats::new(&[]).passage(Encoding::TelephoneEvent), None);
    }
}
