//! Session descriptions (RFC 8866) for one audio stream of G.711 and telephone events, on the
//! `sdp-types` package, which reads every dialect met and writes unknown attributes back untouched.

mod audio;
mod build;
mod relay;

use bytes::Bytes;
use sdp_types::{Attribute, Media, Session};

pub use audio::{Audio, Direction, Encoding, Format};
pub use build::Offer;
pub use relay::RtcpMux;

/// Longest description accepted, bytes.
const MAX_LENGTH: usize = 64 * 1024;

/// A session description: offer or answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    session: Session,
}

/// Why a description cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Not a session description; the text names the line.
    #[error("not a session description: {0}")]
    Syntax(String),
    /// More than 64 KiB.
    #[error("description too long")]
    TooLong,
    /// No RTP/AVP audio with PCMU or PCMA, a port and an address: 488 (RFC 3261 §13.3.1.3).
    #[error("no usable audio")]
    NoUsableAudio,
}

impl Description {
    /// Reads a description. Missing `s=`, `t=` or `o=` and bare LF line ends are accepted.
    pub fn parse(bytes: &[u8]) -> Result<Description, SdpError> {
        if bytes.len() > MAX_LENGTH {
            return Err(SdpError::TooLong);
        }
        let session = Session::parse(bytes).map_err(|e| SdpError::Syntax(e.to_string()))?;
        Ok(Description { session })
    }

    /// Writes the description with CRLF line ends.
    pub fn write(&self) -> Bytes {
        let mut out = Vec::with_capacity(512);
        self.session
            .write(&mut out)
            .expect("writing to a Vec cannot fail");
        out.into()
    }

    /// The first usable audio stream: RTP/AVP, a port, an address, PCMU or PCMA among its formats.
    pub fn audio(&self) -> Option<Audio> {
        audio::read(&self.session).map(|(_, audio)| audio)
    }

    /// The version in `o=`, which rises with every change (RFC 3264 §8).
    pub fn version(&self) -> u64 {
        self.session.origin.sess_version
    }

    /// The session id in `o=`.
    pub fn session_id(&self) -> &str {
        &self.session.origin.sess_id
    }
}

fn attribute<'a>(list: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    list.iter().find(|a| a.attribute.eq_ignore_ascii_case(name))
}

fn is_rtp_audio(media: &Media) -> bool {
    media.media.eq_ignore_ascii_case("audio")
        && media.proto.eq_ignore_ascii_case("RTP/AVP")
        && media.port != 0
}
