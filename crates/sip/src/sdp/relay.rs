//! A party's description as the other party gets it: our address, our ports, formats we carry.

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Attribute, Connection, Media, Session, Time};

use super::audio::{self, Audio, Encoding};
use super::{Description, SdpError};

/// What becomes of `a=rtcp-mux` (RFC 5761): it may stay only where both legs multiplex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtcpMux {
    /// Taken out: RTCP has a port of its own.
    Strip,
    /// Left as it stands.
    Keep,
}

/// Attributes of the other leg's transport: duolog anchors plain RTP, so they end here.
const TRANSPORT_ATTRIBUTES: [&str; 18] = [
    "candidate",
    "remote-candidates",
    "end-of-candidates",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "ice-lite",
    "ice-mismatch",
    "ice-pacing",
    "crypto",
    "fingerprint",
    "setup",
    "connection",
    "tls-id",
    "identity",
    "group",
    "ssrc",
    "ssrc-group",
];

impl Description {
    /// The same description with our address and ports in its audio stream.
    ///
    /// `origin` replaces the address in `o=`; session id and version stay, so the version rises when
    /// the author's does. Formats other than PCMU, PCMA and telephone-event go with their attributes,
    /// other media are refused in place (RFC 3264 §6), unknown attributes stay. A `c=0.0.0.0` hold
    /// becomes a direction attribute. `Err(NoUsableAudio)` calls for 488.
    pub fn relayed(
        &self,
        local_rtp: SocketAddr,
        local_rtcp: SocketAddr,
        origin: IpAddr,
        mux: RtcpMux,
    ) -> Result<Description, SdpError> {
        let (place, audio) = audio::read(&self.session).ok_or(SdpError::NoUsableAudio)?;
        let mut session = self.session.clone();
        adapt_session(&mut session, local_rtp.ip(), origin);
        for (at, media) in session.medias.iter_mut().enumerate() {
            if at == place {
                adapt_audio(media, &audio, local_rtp, local_rtcp, mux);
            } else {
                refuse(media);
            }
        }
        Ok(Description { session })
    }
}

fn adapt_session(session: &mut Session, address: IpAddr, origin: IpAddr) {
    let ours = Connection::from_ip_addr(origin);
    session.origin.nettype = ours.nettype;
    session.origin.addrtype = ours.addrtype;
    session.origin.unicast_address = ours.connection_address;
    // A lone blank is the name of a nameless session (RFC 8866 §5.3).
    if session.session_name.is_empty() {
        session.session_name = "-".to_owned();
    }
    if session.times.is_empty() {
        session.times.push(Time::new(0, 0));
    }
    session.connection = Some(Connection::from_ip_addr(address));
    session.key = None;
    drop_transport(&mut session.attributes);
}

fn adapt_audio(media: &mut Media, audio: &Audio, rtp: SocketAddr, rtcp: SocketAddr, mux: RtcpMux) {
    let kept = |t: u8| {
        audio
            .formats
            .iter()
            .any(|f| f.payload_type == t && f.encoding != Encoding::Other)
    };
    let carried = audio
        .formats
        .iter()
        .filter(|f| f.encoding != Encoding::Other);
    let list: Vec<String> = carried.map(|f| f.payload_type.to_string()).collect();
    media.fmt = list.join(" ");
    media.port = rtp.port();
    media.num_ports = None;
    media.connections.clear();
    media.key = None;
    drop_transport(&mut media.attributes);
    media
        .attributes
        .retain(|a| match a.attribute.to_ascii_lowercase().as_str() {
            "rtpmap" | "fmtp" | "rtcp-fb" => payload_type(a).is_none_or(kept),
            "rtcp-mux" => mux == RtcpMux::Keep,
            "rtcp-mux-only" | "rtcp" => false,
            _ => true,
        });
    if rtcp.ip() != rtp.ip() || rtp.port().checked_add(1) != Some(rtcp.port()) {
        media.attributes.push(rtcp_attribute(rtp, rtcp));
    }
    if audio.rtp.ip().is_unspecified() {
        media
            .attributes
            .retain(|a| audio::Direction::parse(&a.attribute).is_none());
        media
            .attributes
            .push(Attribute::new(audio.direction.as_str()));
    }
}

fn rtcp_attribute(rtp: SocketAddr, rtcp: SocketAddr) -> Attribute {
    if rtcp.ip() == rtp.ip() {
        return Attribute::with_value("rtcp", rtcp.port());
    }
    let family = if rtcp.is_ipv4() { "IP4" } else { "IP6" };
    Attribute::with_value("rtcp", format!("{} IN {family} {}", rtcp.port(), rtcp.ip()))
}

/// The payload type an attribute speaks of; `None` for `*` and for what is not a number.
fn payload_type(attribute: &Attribute) -> Option<u8> {
    attribute
        .value
        .as_deref()?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

fn drop_transport(attributes: &mut Vec<Attribute>) {
    attributes.retain(|a| {
        !TRANSPORT_ATTRIBUTES
            .iter()
            .any(|t| a.attribute.eq_ignore_ascii_case(t))
    });
}

/// Port 0 refuses a stream; its line stays so that offer and answer count the same (RFC 3264 §6).
fn refuse(media: &mut Media) {
    media.port = 0;
    media.num_ports = None;
    media.connections.clear();
    media.bandwidths.clear();
    media.key = None;
    media
        .attributes
        .retain(|a| a.attribute.eq_ignore_ascii_case("mid"));
}
