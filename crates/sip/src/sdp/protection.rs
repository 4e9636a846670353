//! What protects a stream: nothing, keys in the description (SDES), or keys by DTLS.

use sdp_types::{Attribute, Media, Session};

use super::audio::Audio;
use super::crypto::Crypto;
use super::{SdpError, attribute};

/// The transport profile of an `m=` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `RTP/AVP` (RFC 3551).
    Avp,
    /// `RTP/AVPF` (RFC 4585).
    Avpf,
    /// `RTP/SAVP` (RFC 3711).
    Savp,
    /// `RTP/SAVPF` (RFC 5124).
    Savpf,
    /// `UDP/TLS/RTP/SAVP` (RFC 5764).
    DtlsSavp,
    /// `UDP/TLS/RTP/SAVPF` (RFC 5764).
    DtlsSavpf,
}

impl Profile {
    const ALL: [Profile; 6] = [
        Profile::Avp,
        Profile::Avpf,
        Profile::Savp,
        Profile::Savpf,
        Profile::DtlsSavp,
        Profile::DtlsSavpf,
    ];

    /// The profile as in an `m=` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Profile::Avp => "RTP/AVP",
            Profile::Avpf => "RTP/AVPF",
            Profile::Savp => "RTP/SAVP",
            Profile::Savpf => "RTP/SAVPF",
            Profile::DtlsSavp => "UDP/TLS/RTP/SAVP",
            Profile::DtlsSavpf => "UDP/TLS/RTP/SAVPF",
        }
    }

    pub(super) fn parse(proto: &str) -> Option<Profile> {
        let mut all = Profile::ALL.into_iter();
        all.find(|profile| profile.as_str().eq_ignore_ascii_case(proto))
    }

    /// Whether RTCP feedback (`a=rtcp-fb`) belongs to it.
    pub(super) const fn has_feedback(self) -> bool {
        matches!(self, Profile::Avpf | Profile::Savpf | Profile::DtlsSavpf)
    }

    pub(super) const fn is_clear(self) -> bool {
        matches!(self, Profile::Avp | Profile::Avpf)
    }

    pub(super) const fn is_dtls(self) -> bool {
        matches!(self, Profile::DtlsSavp | Profile::DtlsSavpf)
    }
}

/// What the operator wants of the media towards one party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MediaSecurity {
    /// Protected where the party that offers offers it.
    #[default]
    AsOffered,
    /// Never protected; who insists on it is refused.
    Never,
    /// Always protected; who does not offer it is refused.
    Always,
}

/// Which end begins the DTLS handshake (RFC 5763 §5, RFC 4145 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// The author begins.
    Active,
    /// The author waits.
    Passive,
    /// The author does either.
    ActPass,
}

impl Setup {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Setup::Active => "active",
            Setup::Passive => "passive",
            Setup::ActPass => "actpass",
        }
    }

    /// What an answer says to this: who may choose begins at once.
    pub(super) const fn answered(self) -> Setup {
        match self {
            Setup::ActPass | Setup::Passive => Setup::Active,
            Setup::Active => Setup::Passive,
        }
    }

    fn parse(value: &str) -> Option<Setup> {
        [Setup::Active, Setup::Passive, Setup::ActPass]
            .into_iter()
            .find(|setup| setup.as_str().eq_ignore_ascii_case(value.trim()))
    }
}

/// What a description says about DTLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dtls {
    /// The author's certificate: `sha-256` and 32 upper-case bytes with colons between them.
    pub fingerprint: String,
    /// Which end begins.
    pub setup: Setup,
}

/// The DTLS attributes of a stream, its own or those of the whole session (RFC 8122 §5). `None` where
/// there is no SHA-256 fingerprint, or no role that leads to a handshake.
pub(super) fn read_dtls(session: &Session, media: &Media) -> Option<Dtls> {
    let both = || media.attributes.iter().chain(&session.attributes);
    let values = |name: &'static str| {
        both()
            .filter(move |a| a.attribute.eq_ignore_ascii_case(name))
            .filter_map(|a| a.value.as_deref())
    };
    let fingerprint = values("fingerprint").find_map(sha_256)?;
    // Without one, an offer is active (RFC 4145 §4.1); an answer always has one (RFC 5763 §5).
    let setup = values("setup")
        .next()
        .map_or(Some(Setup::Active), Setup::parse)?;
    Some(Dtls { fingerprint, setup })
}

fn sha_256(value: &str) -> Option<String> {
    let (hash, bytes) = value.trim().split_once([' ', '\t'])?;
    let bytes = bytes.trim();
    let pairs = bytes
        .split(':')
        .all(|pair| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
    (hash.eq_ignore_ascii_case("sha-256") && pairs && bytes.len() == 32 * 3 - 1)
        .then(|| format!("sha-256 {}", bytes.to_ascii_uppercase()))
}

/// Every `a=crypto` line that can be used, in order; of two with one tag the first.
pub(super) fn read_crypto(media: &Media) -> Vec<Crypto> {
    let mut lines: Vec<Crypto> = Vec::new();
    let named = |a: &&Attribute| a.attribute.eq_ignore_ascii_case("crypto");
    for attribute in media.attributes.iter().filter(named) {
        let line = attribute.value.as_deref().and_then(Crypto::parse);
        lines.extend(line.filter(|line| lines.iter().all(|other| other.tag != line.tag)));
    }
    lines
}

/// What protects a stream whose offer was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Protection {
    Clear,
    /// With this line of the offer.
    Sdes(Crypto),
    Dtls(Dtls),
}

/// Whether DTLS can be done: only with a certificate of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DtlsAbility {
    Able,
    Unable,
}

/// What protects the stream of an offer under this policy.
pub(super) fn choose(
    audio: &Audio,
    policy: MediaSecurity,
    dtls: DtlsAbility,
) -> Result<Protection, SdpError> {
    let line = audio.crypto.first().cloned();
    if audio.profile.is_clear() {
        // Keys in a clear profile may be taken or left: many phones offer both ways like this.
        return match (policy, line) {
            (MediaSecurity::Never, _) | (MediaSecurity::AsOffered, None) => Ok(Protection::Clear),
            (_, Some(line)) => Ok(Protection::Sdes(line)),
            (MediaSecurity::Always, None) => Err(SdpError::Unprotected),
        };
    }
    if policy == MediaSecurity::Never {
        return Err(SdpError::Protected);
    }
    // `RTP/SAVPF` with a fingerprint is how early WebRTC said what RFC 5764 says.
    let handshake = audio.dtls.clone().filter(|_| dtls == DtlsAbility::Able);
    let line = line.filter(|_| !audio.profile.is_dtls());
    match (line, handshake) {
        (Some(line), _) => Ok(Protection::Sdes(line)),
        (None, Some(handshake)) => Ok(Protection::Dtls(handshake)),
        (None, None) => Err(SdpError::NoUsableKeys),
    }
}

/// Whether an attribute list has `a=rtcp-mux`.
pub(super) fn has_mux(media: &Media) -> bool {
    attribute(&media.attributes, "rtcp-mux").is_some()
}
