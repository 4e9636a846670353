//! What a description says about its audio stream.

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Attribute, Connection, Media, Session};

use super::{attribute, is_rtp_audio};

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
}

/// One payload format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    /// The RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// What it carries.
    pub encoding: Encoding,
}

/// What a payload type carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// G.711 µ-law, 8 kHz, one channel.
    Pcmu,
    /// G.711 A-law, 8 kHz, one channel.
    Pcma,
    /// Telephone events at 8 kHz (RFC 4733).
    TelephoneEvent,
    /// Anything else.
    Other,
}

/// Who sends, seen from the description's author (RFC 3264 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Sends and receives.
    SendRecv,
    /// Sends only: the usual hold.
    SendOnly,
    /// Receives only: the usual answer to hold.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The attribute's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// Whether the author sends.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the author receives.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same stream seen from the other end.
    pub const fn reversed(self) -> Direction {
        match self {
            Direction::SendOnly => Direction::RecvOnly,
            Direction::RecvOnly => Direction::SendOnly,
            same => same,
        }
    }

    const fn without_receiving(self) -> Direction {
        if self.sends() {
            Direction::SendOnly
        } else {
            Direction::Inactive
        }
    }

    pub(super) fn parse(name: &str) -> Option<Direction> {
        [
            Direction::SendRecv,
            Direction::SendOnly,
            Direction::RecvOnly,
            Direction::Inactive,
        ]
        .into_iter()
        .find(|d| name.eq_ignore_ascii_case(d.as_str()))
    }
}

/// The first usable audio stream and its place among the media.
pub(super) fn read(session: &Session) -> Option<(usize, Audio)> {
    session
        .medias
        .iter()
        .enumerate()
        .find_map(|(at, media)| Some((at, read_media(session, media)?)))
}

fn read_media(session: &Session, media: &Media) -> Option<Audio> {
    if !is_rtp_audio(media) {
        return None;
    }
    let formats = formats(media);
    if !formats
        .iter()
        .any(|f| matches!(f.encoding, Encoding::Pcmu | Encoding::Pcma))
    {
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
        rtcp_mux: attribute(&media.attributes, "rtcp-mux").is_some(),
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
    })
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

/// The formats of an `m=` line; static types need no `rtpmap` (RFC 3551 §6).
pub(super) fn formats(media: &Media) -> Vec<Format> {
    let types = media
        .fmt
        .split_ascii_whitespace()
        .filter_map(|t| t.parse().ok());
    types
        .filter(|payload_type| *payload_type < 128)
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
        (number.parse() == Ok(payload_type)).then(|| name.trim().to_ascii_lowercase())
    });
    match (mapped.as_deref(), payload_type) {
        (Some("pcmu/8000" | "pcmu/8000/1"), _) | (None, 0) => Encoding::Pcmu,
        (Some("pcma/8000" | "pcma/8000/1"), _) | (None, 8) => Encoding::Pcma,
        (Some("telephone-event/8000" | "telephone-event/8000/1"), _) => Encoding::TelephoneEvent,
        _ => Encoding::Other,
    }
}
