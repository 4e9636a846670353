//! A phone's side of offer and answer (RFC 3264).

use bytes::Bytes;
use duolog_audio::g711::Law;
use duolog_sip::sdp::{Audio, Description, Direction, Encoding, Format, Offer};

use super::media::{Agreed, Speaks};
use super::{End, PhoneEvent, PhoneSettings};

/// The payload type this phone offers for telephone-events.
const EVENT_TYPE: u8 = 101;

/// Whether an end holds the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Off,
    On,
}

/// What a description means to this phone.
struct Chosen {
    law: Law,
    payload_type: u8,
    event_type: Option<u8>,
}

/// The state of offer and answer of one call.
#[derive(Debug)]
pub(super) struct Session {
    id: u64,
    version: u64,
    pub(super) holding: Hold,
    held: Hold,
}

impl Session {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            version: 0,
            holding: Hold::Off,
            held: Hold::Off,
        }
    }

    /// The id of the next call's descriptions.
    pub(super) fn next_id(&self) -> u64 {
        self.id.wrapping_add(1)
    }

    /// A description that offers everything the phone can.
    pub(super) fn offer(&mut self, settings: &PhoneSettings) -> Bytes {
        let mut formats: Vec<Format> = settings
            .laws
            .iter()
            .map(|&law| static_format(law))
            .collect();
        formats.push(Format {
            payload_type: EVENT_TYPE,
            encoding: Encoding::TelephoneEvent,
        });
        let direction = match self.holding {
            Hold::Off => Direction::SendRecv,
            Hold::On => Direction::SendOnly,
        };
        self.describe(settings, formats, direction)
    }

    /// The answer to the peer's offer and what it agrees on; `None` when nothing fits: 488.
    pub(super) fn answer(
        &mut self,
        settings: &PhoneSettings,
        offer: &[u8],
    ) -> Option<(Bytes, Agreed)> {
        let audio = Description::parse(offer).ok()?.audio()?;
        let chosen = choose(settings, &audio)?;
        let encoding = static_format(chosen.law).encoding;
        let mut formats = vec![Format {
            payload_type: chosen.payload_type,
            encoding,
        }];
        let event = |payload_type| Format {
            payload_type,
            encoding: Encoding::TelephoneEvent,
        };
        formats.extend(chosen.event_type.map(event));
        let direction = match (audio.direction.reversed(), self.holding) {
            (Direction::SendRecv, Hold::On) => Direction::SendOnly,
            (Direction::RecvOnly, Hold::On) => Direction::Inactive,
            (direction, _) => direction,
        };
        let agreed = self.agreed(&audio, &chosen);
        Some((self.describe(settings, formats, direction), agreed))
    }

    /// What the peer's answer agrees on; `None` when nothing fits.
    pub(super) fn accept(&mut self, settings: &PhoneSettings, answer: &[u8]) -> Option<Agreed> {
        let audio = Description::parse(answer).ok()?.audio()?;
        let chosen = choose(settings, &audio)?;
        Some(self.agreed(&audio, &chosen))
    }

    /// Whether an offer of the peer put the call on hold or took it back.
    pub(super) fn hold_changed(&mut self, offer: &[u8]) -> Option<PhoneEvent> {
        let audio = Description::parse(offer).ok()?.audio()?;
        let held = match audio.direction {
            Direction::SendRecv => Hold::Off,
            _ => Hold::On,
        };
        if held == std::mem::replace(&mut self.held, held) {
            return None;
        }
        Some(match held {
            Hold::On => PhoneEvent::Held { by: End::Peer },
            Hold::Off => PhoneEvent::Retrieved { by: End::Peer },
        })
    }

    fn agreed(&self, audio: &Audio, chosen: &Chosen) -> Agreed {
        let heard = audio.direction.receives() && !audio.rtp.ip().is_unspecified();
        let speaks = if heard && self.holding == Hold::Off {
            Speaks::Yes
        } else {
            Speaks::OnHold
        };
        Agreed {
            rtp: audio.rtp,
            rtcp: audio.rtcp,
            law: chosen.law,
            payload_type: chosen.payload_type,
            event_type: chosen.event_type,
            speaks,
        }
    }

    fn describe(
        &mut self,
        settings: &PhoneSettings,
        formats: Vec<Format>,
        direction: Direction,
    ) -> Bytes {
        self.version += 1;
        let offer = Offer {
            session_id: self.id,
            version: self.version,
            rtp: settings.rtp,
            rtcp: settings.rtcp,
            formats,
            ptime_ms: Some(settings.ptime_ms),
            direction,
        };
        offer.describe().write()
    }
}

/// The first format of the peer that this phone speaks: the peer's order counts (RFC 3264 §6.1).
fn choose(settings: &PhoneSettings, audio: &Audio) -> Option<Chosen> {
    let (law, payload_type) = audio.formats.iter().find_map(|format| {
        let law = law_of(format.encoding)?;
        settings
            .laws
            .contains(&law)
            .then_some((law, format.payload_type))
    })?;
    let event = audio
        .formats
        .iter()
        .find(|format| format.encoding == Encoding::TelephoneEvent);
    Some(Chosen {
        law,
        payload_type,
        event_type: event.map(|format| format.payload_type),
    })
}

fn law_of(encoding: Encoding) -> Option<Law> {
    match encoding {
        Encoding::Pcmu => Some(Law::Mulaw),
        Encoding::Pcma => Some(Law::Alaw),
        Encoding::TelephoneEvent | Encoding::Other => None,
    }
}

fn static_format(law: Law) -> Format {
    match law {
        Law::Mulaw => Format {
            payload_type: 0,
            encoding: Encoding::Pcmu,
        },
        Law::Alaw => Format {
            payload_type: 8,
            encoding: Encoding::Pcma,
        },
    }
}
