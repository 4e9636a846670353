//! What a description says about its audio stream.

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Attribute, Connection, Media, Session};

use super::crypto::Crypto;
use super::direction::Direction;
use super::format::{Format, formats};
use super::protection::{
    Dtls, DtlsAbility, MediaSecurity, Profile, Protection, choose, has_mux, read_crypto, read_dtls,
};
use super::{SdpError, attribute};

/// The audio stream of a description, seen from its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    /// Where the sender wants RTP. An unspecified address (`0.0.0.0`) means: nowhere, on hold.
    pub rtp: SocketAddr,
    /// Where the sender wants RTCP unless multiplexed (RFC 3605; else the next port).
    pub rtcp: SocketAddr,
    /// `a=rtcp-mux` (RFC 5761).
    pub rtcp_mux: bool,
    /// The direction, seen from the sender; `c=0.0.0.0` counts as not receiving.
    pub direction: Direction,
    /// `a=ptime`, 1 to 255 ms.
    pub ptime_ms: Option<u8>,
    /// Every format of the `m=` line, in order of preference.
    pub formats: Vec<Format>,
    /// The transport profile.
    pub profile: Profile,
    /// The `a=crypto` lines that can be used, in order of preference.
    pub crypto: Vec<Crypto>,
    /// What it says about DTLS, where a handshake can follow from it.
    pub dtls: Option<Dtls>,
}

/// A stream that was chosen: its place among the media, what it says, and what protects it.
pub(super) struct Chosen {
    pub(super) place: usize,
    pub(super) audio: Audio,
    pub(super) protection: Protection,
}

/// The first audio stream that can be used under this policy. Who offers a protected stream and,
/// as an alternative, a clear one has them in order of preference.
pub(super) fn select(
    session: &Session,
    policy: MediaSecurity,
    dtls: DtlsAbility,
) -> Result<Chosen, SdpError> {
    let mut refused = None;
    for place in 0..session.medias.len() {
        let Some(audio) = read_at(session, place) else {
            continue;
        };
        match choose(&audio, policy, dtls) {
            Ok(protection) => {
                return Ok(Chosen {
                    place,
                    audio,
                    protection,
                });
            }
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    Err(refused.unwrap_or(SdpError::NoUsableAudio))
}

/// The audio stream at this place: not refused, with an address and speech that is known.
pub(super) fn read_at(session: &Session, place: usize) -> Option<Audio> {
    let media = session.medias.get(place)?;
    let profile = Profile::parse(&media.proto)?;
    if !media.media.eq_ignore_ascii_case("audio") || media.port == 0 {
        return None;
    }
    let formats = formats(media);
    if !formats.iter().any(|f| f.encoding.is_speech()) {
        return None;
    }
    let connection = media.connections.first().or(session.connection.as_ref())?;
    let address = address(connection)?;
    let rtp = SocketAddr::new(address, media.port);
    let named = direction_in(&media.attributes).or_else(|| direction_in(&session.attributes));
    let direction = named.unwrap_or(Direction::SendRecv);
    Some(Audio {
        rtp,
        rtcp: rtcp(media, rtp),
        rtcp_mux: has_mux(media),
        // The hold of RFC 2543, still to be understood (RFC 3264 §8.4).
        direction: match address.is_unspecified() {
            true => direction.without_receiving(),
            false => direction,
        },
        ptime_ms: attribute(&media.attributes, "ptime")
            .and_then(|a| a.value.as_deref())
            .and_then(|v| v.trim().parse().ok())
            .filter(|ms| *ms != 0),
        formats,
        profile,
        crypto: read_crypto(media),
        dtls: read_dtls(session, media),
    })
}

/// The place of the only stream that is not refused in a description of our own making.
pub(super) fn place_of_ours(session: &Session) -> Option<usize> {
    session.medias.iter().position(|media| media.port != 0)
}

fn address(connection: &Connection) -> Option<IpAddr> {
    let text = connection.connection_address.split('/').next()?;
    text.trim()
        .parse()
        .ok()
        .filter(|ip: &IpAddr| !ip.is_multicast())
}

fn direction_in(attributes: &[Attribute]) -> Option<Direction> {
    attributes
        .iter()
        .find_map(|a| Direction::parse(&a.attribute))
}

/// `a=rtcp:port [IN IP4 address]` (RFC 3605), else the next port.
fn rtcp(media: &Media, rtp: SocketAddr) -> SocketAddr {
    let next = SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1));
    let Some(value) = attribute(&media.attributes, "rtcp").and_then(|a| a.value.as_deref()) else {
        return next;
    };
    let mut words = value.split_ascii_whitespace();
    let Some(port) = words
        .next()
        .and_then(|p| p.parse().ok())
        .filter(|p| *p != 0)
    else {
        return next;
    };
    let address = words
        .nth(2)
        .and_then(|a| a.parse().ok())
        .unwrap_or(rtp.ip());
    SocketAddr::new(address, port)
}
