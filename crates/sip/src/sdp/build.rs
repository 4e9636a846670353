//! Descriptions made from nothing: an offer or answer of one G.711 stream.

use std::net::SocketAddr;

use sdp_types::{Attribute, Connection, Media, MediaType, Origin, Session, Time, TransportProto};

use super::{Description, Direction, Encoding, Format};

/// What a new description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Session id in `o=`.
    pub session_id: u64,
    /// Version in `o=`: rises with every change.
    pub version: u64,
    /// Where RTP is wanted.
    pub rtp: SocketAddr,
    /// Where RTCP is wanted.
    pub rtcp: SocketAddr,
    /// Formats in order of preference; `Other` ones are left out.
    pub formats: Vec<Format>,
    /// Packet time in ms.
    pub ptime_ms: Option<u8>,
    /// Direction, seen from us.
    pub direction: Direction,
}

impl Offer {
    /// The description.
    pub fn describe(&self) -> Description {
        let address = self.rtp.ip();
        let origin = Origin::with_ip_addr(self.session_id, self.version, address);
        let mut session = Session::new(origin, "-");
        session.connection = Some(Connection::from_ip_addr(address));
        session.times.push(Time::new(0, 0));
        let named: Vec<(u8, &str)> = self
            .formats
            .iter()
            .filter_map(|f| Some((f.payload_type, name(f.encoding)?)))
            .collect();
        let list: Vec<String> = named.iter().map(|(t, _)| t.to_string()).collect();
        let mut media = Media::new(
            MediaType::Audio,
            self.rtp.port(),
            TransportProto::RtpAvp,
            list.join(" "),
        );
        for (payload_type, name) in &named {
            let map = format!("{payload_type} {name}/8000");
            media.attributes.push(Attribute::with_value("rtpmap", map));
            if *name == "telephone-event" {
                media.attributes.push(Attribute::with_value(
                    "fmtp",
                    format!("{payload_type} 0-15"),
                ));
            }
        }
        if let Some(ptime_ms) = self.ptime_ms {
            media
                .attributes
                .push(Attribute::with_value("ptime", ptime_ms));
        }
        if self.rtp.port().checked_add(1) != Some(self.rtcp.port()) {
            media
                .attributes
                .push(Attribute::with_value("rtcp", self.rtcp.port()));
        }
        media
            .attributes
            .push(Attribute::new(self.direction.as_str()));
        session.medias.push(media);
        Description { session }
    }
}

fn name(encoding: Encoding) -> Option<&'static str> {
    match encoding {
        Encoding::Pcmu => Some("PCMU"),
        Encoding::Pcma => Some("PCMA"),
        Encoding::TelephoneEvent => Some("telephone-event"),
        Encoding::Other => None,
    }
}
