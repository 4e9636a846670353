//! Descriptions made from nothing: an offer or answer of one audio stream.

use std::net::SocketAddr;

use sdp_types::{Attribute, Connection, Media, MediaType, Origin, Session, Time, TransportProto};

use super::wording::add_formats;
use super::{Crypto, Description, Direction, Format, Profile};

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
    /// The transport profile.
    pub profile: Profile,
    /// Keys, in order of preference (RFC 4568); none in a clear profile.
    pub crypto: Vec<Crypto>,
}

impl Offer {
    /// The description.
    pub fn describe(&self) -> Description {
        let address = self.rtp.ip();
        let origin = Origin::with_ip_addr(self.session_id, self.version, address);
        let mut session = Session::new(origin, "-");
        session.connection = Some(Connection::from_ip_addr(address));
        session.times.push(Time::new(0, 0));
        let mut media = Media::new(
            MediaType::Audio,
            self.rtp.port(),
            TransportProto::RtpAvp,
            "",
        );
        self.profile.as_str().clone_into(&mut media.proto);
        add_formats(&mut media, &self.formats);
        for crypto in &self.crypto {
            media
                .attributes
                .push(Attribute::with_value("crypto", crypto.write()));
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
