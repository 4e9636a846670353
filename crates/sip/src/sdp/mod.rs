//! Session descriptions (RFC 8866) for one audio stream, on the `sdp-types` package, which reads
//! every dialect met and writes unknown attributes back untouched.
//!
//! `audio` reads a stream, `format` and `protection` its parts, `forward` carries the description of
//! one party to the other, `wording` writes what changes on the way, `indication` what is said of a
//! recording.

mod audio;
mod build;
mod crypto;
mod direction;
mod format;
mod forward;
mod indication;
mod protection;
mod wording;

use std::fmt;

use bytes::Bytes;
use sdp_types::{Attribute, ParserError, Session};

use audio::{place_of_ours, read_at, select};
use protection::DtlsAbility;

pub use audio::Audio;
pub use build::Offer;
pub use crypto::{Crypto, CryptoSuite, SdesKey};
pub use direction::Direction;
pub use format::{Encoding, Format};
pub use forward::{G729, Offered, Terms, Transcoding};
pub use indication::{RecordPreference, RecordState};
pub use protection::{Dtls, MediaSecurity, Profile, Setup};

/// Longest description accepted, bytes.
const MAX_LENGTH: usize = 64 * 1024;

/// Most media accepted: each is looked at together with what is said of the whole session.
const MAX_MEDIA: usize = 64;

/// A session description: offer or answer. `Debug` leaves keys out.
#[derive(Clone, PartialEq, Eq)]
pub struct Description {
    session: Session,
}

/// Why a description cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not a session description; the text names the line and has nothing of what stands there.
    #[error("not a session description: {0}")]
    Syntax(String),
    /// More than 64 KiB, or more than 64 media.
    #[error("description too long")]
    TooLong,
    /// No RTP audio with a port, an address and a codec that is known.
    #[error("no usable audio")]
    NoUsableAudio,
    /// The parties have no codec in common, and what they have cannot be transcoded.
    #[error("no common codec, and none that can be transcoded")]
    NoCommonCodec,
    /// A protected stream without a key, or a certificate, that can be used.
    #[error("no acceptable key for protected media")]
    NoUsableKeys,
    /// A protected stream where the operator wants clear media.
    #[error("protected media is not allowed here")]
    Protected,
    /// A clear stream where the operator wants protected media.
    #[error("only protected media is allowed here")]
    Unprotected,
}

impl SdpError {
    /// The warning code that goes with a 488 (RFC 3261 §20.43).
    pub const fn warning_code(&self) -> u16 {
        match self {
            SdpError::Protected | SdpError::Unprotected => 302,
            SdpError::NoUsableAudio | SdpError::NoCommonCodec => 305,
            SdpError::NoUsableKeys => 306,
            SdpError::Syntax(_) | SdpError::TooLong => 399,
        }
    }
}

impl Description {
    /// Reads a description. Missing `s=`, `t=` or `o=` and bare LF line ends are accepted.
    pub fn parse(bytes: &[u8]) -> Result<Description, SdpError> {
        if bytes.len() > MAX_LENGTH {
            return Err(SdpError::TooLong);
        }
        let session = Session::parse(bytes).map_err(|error| {
            SdpError::Syntax(match error {
                // It has the line in it, which is not ours to pass on.
                ParserError::InvalidVersion(line, _) => format!("invalid version in line {line}"),
                other => other.to_string(),
            })
        })?;
        match session.medias.len() {
            0..=MAX_MEDIA => Ok(Description { session }),
            _ => Err(SdpError::TooLong),
        }
    }

    /// Writes the description with CRLF line ends. It may have keys in it.
    pub fn write(&self) -> Bytes {
        let mut out = Vec::with_capacity(512);
        self.session
            .write(&mut out)
            .expect("writing to a Vec cannot fail");
        out.into()
    }

    /// The first usable audio stream: RTP with a port, an address, speech that is known and, where
    /// its profile asks for protection, keys or a certificate that can be used.
    pub fn audio(&self) -> Option<Audio> {
        self.usable_audio().ok()
    }

    /// The same, with the reason why there is none.
    pub fn usable_audio(&self) -> Result<Audio, SdpError> {
        let chosen = select(&self.session, MediaSecurity::AsOffered, DtlsAbility::Able);
        chosen.map(|chosen| chosen.audio)
    }

    /// The audio stream that is across from the one `ours` has, where this is a peer's description
    /// and `ours` what the peer was told: both lists of media run in parallel (RFC 3264 §6).
    pub fn audio_across(&self, ours: &Description) -> Option<Audio> {
        let place = place_of_ours(&ours.session)?;
        read_at(&self.session, place).or_else(|| self.audio())
    }

    /// The version in `o=`, which rises with every change (RFC 3264 §8).
    pub fn version(&self) -> u64 {
        self.session.origin.sess_version
    }

    /// The session id in `o=`.
    pub fn session_id(&self) -> &str {
        &self.session.origin.sess_id
    }

    /// The same description, with an `o=` that a peer who was told `before` takes for the same session
    /// (another party may speak through us by now), and a version that it takes for new if and only if
    /// it is: higher than before where anything else differs (RFC 3264 §8).
    #[must_use]
    pub fn after(mut self, before: &Description) -> Description {
        if self.session.origin.sess_id != before.session.origin.sess_id {
            self.session.origin.clone_from(&before.session.origin);
        }
        let version = |of: &mut Description| std::mem::take(&mut of.session.origin.sess_version);
        let (mut plain, mut old) = (self.clone(), before.clone());
        let (wanted, last) = (version(&mut plain), version(&mut old));
        self.session.origin.sess_version = match plain == old {
            true => wanted.max(last),
            false => wanted.max(last.saturating_add(1)),
        };
        self
    }

    /// A new offer from us that changes nothing but, perhaps, the direction, where this is what we
    /// said last: the same media, formats and keys (RFC 3264 §8). The version rises by one if anything
    /// differs. What was an answer to DTLS becomes an offer, to which either end may be active (RFC
    /// 8842 §5.5).
    #[must_use]
    pub fn offer_again(&self, direction: Direction) -> Description {
        let mut session = self.session.clone();
        let is_direction = |a: &Attribute| Direction::parse(&a.attribute).is_some();
        let told = place_of_ours(&session).and_then(|place| read_at(&session, place));
        if told.is_none_or(|audio| audio.direction != direction) {
            session.attributes.retain(|a| !is_direction(a));
            for media in session.medias.iter_mut().filter(|media| media.port != 0) {
                media.attributes.retain(|a| !is_direction(a));
                media.attributes.push(Attribute::new(direction.as_str()));
            }
        }
        let lists = session.medias.iter_mut().map(|media| &mut media.attributes);
        for attribute in lists.chain([&mut session.attributes]).flatten() {
            if attribute.attribute.eq_ignore_ascii_case("setup") {
                attribute.value = Some(Setup::ActPass.as_str().to_owned());
            }
        }
        Description { session }.after(self)
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.clone();
        let session = &mut shown.session;
        let lists = session.medias.iter_mut().map(|media| {
            media.key = None;
            &mut media.attributes
        });
        for attribute in lists.chain([&mut session.attributes]).flatten() {
            let name = attribute.attribute.to_ascii_lowercase();
            if name.contains("crypto") || name.contains("key") {
                attribute.value = Some("...".to_owned());
            }
        }
        session.key = None;
        write!(f, "{}", String::from_utf8_lossy(&shown.write()))
    }
}

fn attribute<'a>(list: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    list.iter().find(|a| a.attribute.eq_ignore_ascii_case(name))
}
