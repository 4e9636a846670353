//! What changes in a description on its way from one leg to the other: addresses, formats, keys.

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Attribute, Connection, Media, Session, Time};

use super::audio::Audio;
use super::crypto::Crypto;
use super::direction::Direction;
use super::format::Format;
use super::indication::is_of_recording;
use super::protection::{Profile, Setup};

/// Attributes of the other leg's transport: duolog anchors the media, so they end here.
const TRANSPORT_ATTRIBUTES: [&str; 21] = [
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
    "key-mgmt",
    "fingerprint",
    "setup",
    "connection",
    "tls-id",
    "identity",
    "group",
    "ssrc",
    "ssrc-group",
    "rtcp-mux-only",
    "rtcp",
];

/// Keys of a leg as its peer is told them.
pub(super) enum Keys<'a> {
    None,
    Sdes(Vec<Crypto>),
    Dtls { fingerprint: &'a str, setup: Setup },
}

/// Whether `a=rtcp-mux` stands in what a peer is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mux {
    Yes,
    No,
}

impl Mux {
    pub(super) fn when(wanted: bool) -> Mux {
        if wanted { Mux::Yes } else { Mux::No }
    }
}

/// The lines above the media.
pub(super) fn adapt_session(session: &mut Session, address: IpAddr) {
    let ours = Connection::from_ip_addr(address);
    session.origin.nettype = ours.nettype.clone();
    session.origin.addrtype = ours.addrtype.clone();
    session.origin.unicast_address = ours.connection_address.clone();
    // A lone blank is the name of a nameless session (RFC 8866 §5.3).
    if session.session_name.is_empty() {
        session.session_name = "-".to_owned();
    }
    if session.times.is_empty() {
        session.times.push(Time::new(0, 0));
    }
    session.connection = Some(ours);
    session.key = None;
    drop_own(&mut session.attributes);
}

/// Our address in place of the one that `audio` was read with; a hold that was said by `c=0.0.0.0`
/// becomes a direction.
pub(super) fn adapt_address(media: &mut Media, audio: &Audio, rtp: SocketAddr, rtcp: SocketAddr) {
    media.port = rtp.port();
    media.num_ports = None;
    media.connections.clear();
    media.key = None;
    drop_own(&mut media.attributes);
    if rtcp.ip() != rtp.ip() || rtp.port().checked_add(1) != Some(rtcp.port()) {
        media.attributes.push(rtcp_attribute(rtp, rtcp));
    }
    if audio.rtp.ip().is_unspecified() {
        media
            .attributes
            .retain(|a| Direction::parse(&a.attribute).is_none());
        media
            .attributes
            .push(Attribute::new(audio.direction.as_str()));
    }
}

/// The profile, with the keys and the multiplexing that go with it. Comes after [`adapt_address`],
/// which takes out the other leg's.
pub(super) fn adapt_profile(media: &mut Media, profile: Profile, mux: Mux, keys: &Keys<'_>) {
    profile.as_str().clone_into(&mut media.proto);
    let list = &mut media.attributes;
    let is_mux = |a: &Attribute| a.attribute.eq_ignore_ascii_case("rtcp-mux");
    match mux {
        Mux::Yes if list.iter().any(is_mux) => {}
        Mux::Yes => list.push(Attribute::new("rtcp-mux")),
        Mux::No => list.retain(|a| !is_mux(a)),
    }
    if !profile.has_feedback() {
        list.retain(|a| !a.attribute.eq_ignore_ascii_case("rtcp-fb"));
    }
    match keys {
        Keys::None => {}
        Keys::Sdes(lines) => {
            let lines = lines
                .iter()
                .map(|line| Attribute::with_value("crypto", line.write()));
            list.extend(lines);
        }
        Keys::Dtls { fingerprint, setup } => {
            list.push(Attribute::with_value("fingerprint", fingerprint));
            list.push(Attribute::with_value("setup", setup.as_str()));
        }
    }
}

/// Leaves these payload types of those that stand there, with their attributes.
pub(super) fn keep_formats(media: &mut Media, kept: &[Format]) {
    list_formats(media, kept);
    media.attributes.retain(|a| match speaks_of(a) {
        Some(Subject::Format(number)) => kept.iter().any(|f| f.payload_type == number),
        Some(Subject::EveryFormat) | None => true,
    });
}

/// Adds formats at the end, in this node's own words.
pub(super) fn add_formats(media: &mut Media, added: &[Format]) {
    for Format {
        payload_type,
        encoding,
    } in added
    {
        let Some(map) = encoding.rtpmap() else {
            continue;
        };
        media.fmt = format!("{} {payload_type}", media.fmt)
            .trim_start()
            .to_owned();
        let value = format!("{payload_type} {map}");
        media
            .attributes
            .push(Attribute::with_value("rtpmap", value));
        if let Some(words) = encoding.fmtp() {
            let value = format!("{payload_type} {words}");
            media.attributes.push(Attribute::with_value("fmtp", value));
        }
    }
}

/// Puts these formats of `offer` in the place of all that stand there, in the words of the offer,
/// with the packet time it asked for.
pub(super) fn take_formats(media: &mut Media, offer: &Media, taken: &[Format]) {
    list_formats(media, taken);
    let packet_time = |a: &Attribute| {
        ["ptime", "maxptime"]
            .iter()
            .any(|name| a.attribute.eq_ignore_ascii_case(name))
    };
    media
        .attributes
        .retain(|a| speaks_of(a).is_none() && !packet_time(a));
    let words = offer.attributes.iter().filter(|a| match speaks_of(a) {
        Some(Subject::Format(number)) => taken.iter().any(|f| f.payload_type == number),
        Some(Subject::EveryFormat) => true,
        None => a.attribute.eq_ignore_ascii_case("ptime"),
    });
    media.attributes.extend(words.cloned());
}

/// Port 0 refuses a stream; its line stays so that offer and answer count the same (RFC 3264 §6).
pub(super) fn refuse(media: &mut Media) {
    media.port = 0;
    media.num_ports = None;
    media.connections.clear();
    media.bandwidths.clear();
    media.key = None;
    media
        .attributes
        .retain(|a| a.attribute.eq_ignore_ascii_case("mid"));
}

fn list_formats(media: &mut Media, formats: &[Format]) {
    let numbers = formats.iter().map(|f| f.payload_type.to_string());
    media.fmt = numbers.collect::<Vec<_>>().join(" ");
}

/// Which format an attribute is about.
enum Subject {
    Format(u8),
    EveryFormat,
}

/// `None` for attributes that are not about a format.
fn speaks_of(attribute: &Attribute) -> Option<Subject> {
    let about_formats = ["rtpmap", "fmtp", "rtcp-fb"]
        .iter()
        .any(|name| attribute.attribute.eq_ignore_ascii_case(name));
    let value = attribute.value.as_deref().filter(|_| about_formats)?;
    let number = value.split_ascii_whitespace().next()?.parse().ok();
    Some(number.map_or(Subject::EveryFormat, Subject::Format))
}

fn rtcp_attribute(rtp: SocketAddr, rtcp: SocketAddr) -> Attribute {
    if rtcp.ip() == rtp.ip() {
        return Attribute::with_value("rtcp", rtcp.port());
    }
    let family = if rtcp.is_ipv4() { "IP4" } else { "IP6" };
    Attribute::with_value("rtcp", format!("{} IN {family} {}", rtcp.port(), rtcp.ip()))
}

/// Takes out what is between the party of the other leg and this node: its transport, and what was
/// said of a recording.
fn drop_own(attributes: &mut Vec<Attribute>) {
    attributes.retain(|a| {
        let transport = TRANSPORT_ATTRIBUTES
            .iter()
            .any(|t| a.attribute.eq_ignore_ascii_case(t));
        !transport && !is_of_recording(a)
    });
}
