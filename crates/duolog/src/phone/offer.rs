//! A phone's side of offer and answer (RFC 3264).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use duolog_audio::codec::{Channels, Codec};
use duolog_rtp::srtp::{MasterKey, Suite};
use duolog_sip::sdp::{
    Audio, Crypto, CryptoSuite, Description, Direction, Encoding, Format, Offer, Profile,
    RecordPreference, RecordState, SdesKey,
};

use super::media::{Agreed, Speaks};
use super::{End, Icon, PhoneEvent, PhoneSettings, next_random};

/// The payload type this phone offers for telephone-events.
const EVENT_TYPE: u8 = 101;

/// The payload type of telephone-events at the clock of Opus.
const WIDE_EVENT_TYPE: u8 = 102;

/// Whether a phone's media is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Never; an offer that insists on it is refused.
    Clear,
    /// By SDES-SRTP (RFC 4568), always; a description without a key is refused.
    Sdes {
        /// What it offers and takes, in order of preference; at least one.
        suites: Vec<Suite>,
        /// Whether it uses the key that it told.
        key: KeyUse,
    },
}

/// Whether a phone encrypts with the key that it told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// It does.
    AsTold,
    /// It uses another one, as a broken phone does, or somebody in its place.
    Another,
}

/// The keys of a call whose media is encrypted.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) ours: MasterKey,
    pub(super) theirs: MasterKey,
}

/// What offer and answer agreed on, keys included.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) agreed: Agreed,
    pub(super) keys: Option<Keys>,
    /// What the peer says of the recording, for a phone that shows it.
    pub(super) recording: Option<RecordState>,
}

/// How a phone holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldStyle {
    /// `sendonly`, and no packets.
    SendOnly,
    /// `inactive`.
    Inactive,
    /// `c=0.0.0.0` and no direction, as before RFC 3264.
    Unspecified,
    /// `sendonly`, and its voice goes on: music, when it was given another one.
    Music,
}

/// Whether this end holds the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Off,
    On(HoldStyle),
}

/// Whether the other end holds the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    No,
    Yes,
}

/// Whether an offer in a 2xx of ours waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaits {
    Nothing,
    Answer,
}

/// What a description means to this phone.
struct Chosen {
    codec: Codec,
    payload_type: u8,
    event: Option<Format>,
}

/// The state of offer and answer of one call.
#[derive(Debug)]
pub(super) struct Session {
    id: u64,
    version: u64,
    /// What it said last, by a phone that is careful about the version.
    said: Bytes,
    /// What the phone's keys come from.
    random: u64,
    /// What was offered last.
    offered: Vec<Crypto>,
    pub(super) holding: Hold,
    held: Held,
    pub(super) awaits: Awaits,
}

impl Session {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            version: 0,
            said: Bytes::new(),
            random: id,
            offered: Vec::new(),
            holding: Hold::Off,
            held: Held::No,
            awaits: Awaits::Nothing,
        }
    }

    /// The id of the next call's descriptions.
    pub(super) fn next_id(&self) -> u64 {
        self.id.wrapping_add(1)
    }

    /// The same as an offer that says what is wanted of the recording, which is a new one for that alone.
    pub(super) fn offer_preferring(
        &mut self,
        settings: &PhoneSettings,
        wanted: RecordPreference,
    ) -> Bytes {
        self.said = Bytes::new();
        let offer = self.offer(settings);
        if settings.ways.preference.is_some() {
            return offer;
        }
        with_line(&offer, &preference_line(wanted))
    }

    /// A description that offers everything the phone can.
    pub(super) fn offer(&mut self, settings: &PhoneSettings) -> Bytes {
        let codecs = settings.codecs.iter();
        let speech = codecs.enumerate().map(|(n, &codec)| format(codec, n));
        let mut formats: Vec<Format> = speech.collect();
        let clocks = settings.codecs.iter().map(|codec| codec.clock_rate_hz());
        let mut clocks: Vec<u32> = clocks.collect();
        clocks.sort_unstable();
        clocks.dedup();
        formats.extend(clocks.into_iter().filter_map(event_format));
        let direction = self.willing();
        // A key is for one description of one end; what was offered once may be offered again.
        if self.offered.is_empty()
            && let Security::Sdes { suites, .. } = &settings.security
        {
            let lines = (1..).zip(suites);
            let lines = lines.map(|(tag, &suite)| Crypto {
                tag,
                key: fresh_key(suite, &mut self.random),
            });
            self.offered = lines.collect();
        }
        let crypto = self.offered.clone();
        self.describe(settings, formats, direction, crypto)
    }

    /// The answer to the peer's offer and what it agrees on; `None` when nothing fits: 488.
    pub(super) fn answer(
        &mut self,
        settings: &PhoneSettings,
        offer: &[u8],
    ) -> Option<(Bytes, Terms)> {
        let recording = shown(settings, offer);
        let offer = Description::parse(offer).ok()?;
        let audio = offer.audio()?;
        let chosen = choose(settings, &audio)?;
        let mut formats = vec![Format {
            payload_type: chosen.payload_type,
            encoding: encoding(chosen.codec),
        }];
        formats.extend(chosen.event);
        let direction = match (audio.direction.reversed(), self.willing()) {
            (theirs, Direction::SendRecv) => theirs,
            (Direction::SendRecv | Direction::SendOnly, Direction::SendOnly) => Direction::SendOnly,
            _ => Direction::Inactive,
        };
        let (crypto, keys) = match &settings.security {
            Security::Clear if is_clear(audio.profile) => (Vec::new(), None),
            Security::Clear => return None,
            Security::Sdes { suites, key } => {
                let theirs = audio.crypto.iter().find(|line| {
                    let suite = suite_of(line.key.suite());
                    suites.contains(&suite)
                })?;
                let suite = suite_of(theirs.key.suite());
                let ours = Crypto {
                    tag: theirs.tag,
                    key: fresh_key(suite, &mut self.random),
                };
                let keys = Keys {
                    ours: self.used(*key, &ours.key),
                    theirs: master_key(&theirs.key),
                };
                (vec![ours], Some(keys))
            }
        };
        let agreed = self.agreed(&audio, &chosen);
        let described = self.describe(settings, formats, direction, crypto);
        let terms = Terms {
            agreed,
            keys,
            recording,
        };
        Some((described, terms))
    }

    /// What the peer's answer agrees on; `None` when nothing fits.
    pub(super) fn accept(&mut self, settings: &PhoneSettings, answer: &[u8]) -> Option<Terms> {
        let recording = shown(settings, answer);
        let answer = Description::parse(answer).ok()?;
        let audio = answer.audio()?;
        let chosen = choose(settings, &audio)?;
        let keys = match &settings.security {
            Security::Clear if is_clear(audio.profile) => None,
            Security::Clear => return None,
            Security::Sdes { key, .. } => {
                let theirs = audio.crypto.first()?;
                let ours = self.offered.iter().find(|line| line.tag == theirs.tag)?;
                let ours = ours.key.clone();
                Some(Keys {
                    ours: self.used(*key, &ours),
                    theirs: master_key(&theirs.key),
                })
            }
        };
        let agreed = self.agreed(&audio, &chosen);
        Some(Terms {
            agreed,
            keys,
            recording,
        })
    }

    /// The direction of an offer.
    fn willing(&self) -> Direction {
        match self.holding {
            Hold::Off | Hold::On(HoldStyle::Unspecified) => Direction::SendRecv,
            Hold::On(HoldStyle::SendOnly | HoldStyle::Music) => Direction::SendOnly,
            Hold::On(HoldStyle::Inactive) => Direction::Inactive,
        }
    }

    fn used(&mut self, key: KeyUse, told: &SdesKey) -> MasterKey {
        match key {
            KeyUse::AsTold => master_key(told),
            KeyUse::Another => {
                let suite = suite_of(told.suite());
                master_key(&fresh_key(suite, &mut self.random))
            }
        }
    }

    /// Whether an offer of the peer put the call on hold or took it back.
    pub(super) fn hold_changed(&mut self, offer: &[u8]) -> Option<PhoneEvent> {
        let audio = Description::parse(offer).ok()?.audio()?;
        let held = match audio.direction {
            Direction::SendRecv => Held::No,
            _ => Held::Yes,
        };
        if held == std::mem::replace(&mut self.held, held) {
            return None;
        }
        Some(match held {
            Held::Yes => PhoneEvent::Held { by: End::Peer },
            Held::No => PhoneEvent::Retrieved { by: End::Peer },
        })
    }

    fn agreed(&self, audio: &Audio, chosen: &Chosen) -> Agreed {
        let heard = audio.direction.receives() && !audio.rtp.ip().is_unspecified();
        let may = matches!(self.holding, Hold::Off | Hold::On(HoldStyle::Music));
        let speaks = if heard && may {
            Speaks::Yes
        } else {
            Speaks::OnHold
        };
        Agreed {
            rtp: audio.rtp,
            rtcp: audio.rtcp,
            codec: chosen.codec,
            payload_type: chosen.payload_type,
            event_type: chosen.event.map(|event| event.payload_type),
            speaks,
        }
    }

    fn describe(
        &mut self,
        settings: &PhoneSettings,
        formats: Vec<Format>,
        direction: Direction,
        crypto: Vec<Crypto>,
    ) -> Bytes {
        let (mut rtp, mut rtcp) = (settings.rtp, settings.rtcp);
        if self.holding == Hold::On(HoldStyle::Unspecified) {
            let nowhere = match rtp {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            rtp.set_ip(nowhere);
            rtcp.set_ip(nowhere);
        }
        let mut offer = Offer {
            session_id: self.id,
            version: self.version,
            rtp,
            rtcp,
            formats,
            ptime_ms: Some(settings.ptime_ms),
            direction,
            profile: match crypto.is_empty() {
                true => Profile::Avp,
                false => Profile::Savp,
            },
            crypto,
        };
        let Some(wanted) = settings.ways.preference else {
            // Many phones count every description.
            self.version += 1;
            offer.version = self.version;
            return offer.describe().write();
        };
        let line = preference_line(wanted);
        let again = with_line(&offer.describe().write(), &line);
        if again != self.said {
            self.version += 1;
            offer.version = self.version;
            self.said = with_line(&offer.describe().write(), &line);
        }
        self.said.clone()
    }
}

/// What stands in the lines that a phone looks for; those of the first medium come before the session's.
fn shown(settings: &PhoneSettings, said: &[u8]) -> Option<RecordState> {
    if settings.ways.recording == Icon::None {
        return None;
    }
    let said = std::str::from_utf8(said).ok()?;
    let mut sections = said.split("\r\nm=");
    let (session, medium) = (sections.next(), sections.next());
    let states = [
        ("a=record:on", RecordState::On),
        ("a=record:off", RecordState::Off),
        ("a=record:paused", RecordState::Paused),
    ];
    [medium, session].into_iter().flatten().find_map(|section| {
        let found = section.split("\r\n").filter_map(|line| {
            let mut states = states.iter();
            states.find(|(known, _)| *known == line)
        });
        found.last().map(|(_, state)| *state)
    })
}

fn preference_line(wanted: RecordPreference) -> String {
    let wanted = match wanted {
        RecordPreference::On => "on",
        RecordPreference::Off => "off",
        RecordPreference::Pause => "pause",
    };
    format!("a=recordpref:{wanted}\r\n")
}

/// With one more line at its end, which is that of its only medium.
fn with_line(description: &[u8], line: &str) -> Bytes {
    [description, line.as_bytes()].concat().into()
}

/// The first format of the peer that this phone speaks: the peer's order counts (RFC 3264 §6.1).
fn choose(settings: &PhoneSettings, audio: &Audio) -> Option<Chosen> {
    let (codec, payload_type) = audio.formats.iter().find_map(|format| {
        let codec = codec_of(format.encoding)?;
        settings
            .codecs
            .contains(&codec)
            .then_some((codec, format.payload_type))
    })?;
    let rate_hz = codec.clock_rate_hz();
    let event = audio
        .formats
        .iter()
        .find(|format| format.encoding == Encoding::TelephoneEvent { rate_hz });
    Some(Chosen {
        codec,
        payload_type,
        event: event.copied(),
    })
}

fn codec_of(encoding: Encoding) -> Option<Codec> {
    Some(match encoding {
        Encoding::Pcmu => Codec::Pcmu,
        Encoding::Pcma => Codec::Pcma,
        Encoding::G722 => Codec::G722,
        Encoding::G729 => Codec::G729,
        Encoding::Opus => Codec::Opus,
        Encoding::L16 { rate_hz, channels } => Codec::L16 {
            rate_hz,
            channels: match channels {
                2 => Channels::Stereo,
                _ => Channels::Mono,
            },
        },
        _ => return None,
    })
}

fn encoding(codec: Codec) -> Encoding {
    match codec {
        Codec::Pcmu => Encoding::Pcmu,
        Codec::Pcma => Encoding::Pcma,
        Codec::G722 => Encoding::G722,
        Codec::G729 => Encoding::G729,
        Codec::Opus => Encoding::Opus,
        Codec::L16 { rate_hz, channels } => Encoding::L16 {
            rate_hz,
            channels: channels.count() as u8,
        },
    }
}

/// A codec under its static number (RFC 3551 §6), or under a dynamic one of its own.
fn format(codec: Codec, place: usize) -> Format {
    let payload_type = match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::G729 => 18,
        // Fewer codecs than dynamic numbers.
        Codec::Opus | Codec::L16 { .. } => 110 + place as u8,
    };
    Format {
        payload_type,
        encoding: encoding(codec),
    }
}

fn event_format(rate_hz: u32) -> Option<Format> {
    let payload_type = match rate_hz {
        8_000 => EVENT_TYPE,
        48_000 => WIDE_EVENT_TYPE,
        _ => return None,
    };
    Some(Format {
        payload_type,
        encoding: Encoding::TelephoneEvent { rate_hz },
    })
}

fn is_clear(profile: Profile) -> bool {
    matches!(profile, Profile::Avp | Profile::Avpf)
}

fn suite_of(suite: CryptoSuite) -> Suite {
    Suite::from_name(suite.name()).expect("both crates have the suites of RFC 4568")
}

fn master_key(key: &SdesKey) -> MasterKey {
    MasterKey::new(suite_of(key.suite()), key.key_and_salt()).expect("a key of its suite's length")
}

fn fresh_key(suite: Suite, random: &mut u64) -> SdesKey {
    let length = suite.key_bytes() + suite.salt_bytes();
    let bytes: Vec<u8> = (0..length).map(|_| next_random(random) as u8).collect();
    let mut suites = CryptoSuite::ALL.into_iter();
    let named = suites.find(|known| known.name() == suite.name());
    let suite = named.expect("both crates have the suites of RFC 4568");
    SdesKey::new(suite, &bytes).expect("a key of its suite's length")
}
