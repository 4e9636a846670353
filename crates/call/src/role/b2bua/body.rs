//! A message body and the session description in it, alone or as one part of a multipart body
//! (RFC 5621). Everything around the description is carried byte for byte.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use duolog_sip::sdp::{Description, SdpError};
use duolog_sip::{Headers, multipart};

/// A body as received.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    bytes: Bytes,
    description: Option<(Range<usize>, Description)>,
}

impl Body {
    /// Reads the body of a message; a body of a kind that is not known is carried as it is.
    pub(crate) fn read(headers: &Headers, bytes: &Bytes) -> Result<Self, SdpError> {
        let content_type = headers.value("Content-Type").unwrap_or_default();
        let place = multipart::place_of("application/sdp", content_type, bytes);
        let description = match place.filter(|place| !place.is_empty()) {
            Some(place) => {
                let description = Description::parse(&bytes[place.clone()])?;
                Some((place, description))
            }
            None => None,
        };
        Ok(Self {
            bytes: bytes.clone(),
            description,
        })
    }

    /// The session description, if there is one.
    pub(crate) fn description(&self) -> Option<&Description> {
        self.description
            .as_ref()
            .map(|(_, description)| description)
    }

    /// The bytes as received.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The same body with another description in the place of its own.
    pub(crate) fn with(&self, description: &Description) -> Bytes {
        let text = description.write();
        let Some((place, _)) = &self.description else {
            return text;
        };
        let mut bytes = BytesMut::with_capacity(self.bytes.len() + text.len());
        bytes.extend_from_slice(&self.bytes[..place.start]);
        bytes.extend_from_slice(&text);
        bytes.extend_from_slice(&self.bytes[place.end..]);
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::offer;

    fn read(content_type: &str, body: &str) -> Result<Body, SdpError> {
        let mut headers = Headers::new();
        headers.push("Content-Type", content_type);
        Body::read(&headers, &Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn the_description_is_found_and_replaced_in_place() {
        let sdp = String::from_utf8(offer("192.0.2.1:4000").write().to_vec()).unwrap();
        let other = offer("198.51.100.7:5002");
        let written = String::from_utf8(other.write().to_vec()).unwrap();
        let isup = "--x\r\nContent-Type: application/isup\r\n\r\n\u{1}\u{2}--\r\n";
        let head = "--x\r\ncontent-type : Application/SDP\r\nContent-Disposition: session\r\n\r\n";
        for (kind, before, after) in [
            ("application/sdp", "", ""),
            ("Application/SDP; charset=utf-8", "", ""),
            (
                "multipart/mixed;boundary=x",
                format!("{isup}{head}").as_str(),
                "\r\n--x--\r\n",
            ),
            (
                "multipart/mixed; boundary=\"x\"",
                head,
                &format!("\r\n{isup}--x--"),
            ),
        ] {
            let body = read(kind, &format!("{before}{sdp}{after}")).unwrap();
            assert!(body.description().is_some(), "{kind}");
            let replaced = body.with(&other);
            assert_eq!(
                replaced,
                format!("{before}{written}{after}").as_bytes(),
                "{kind}"
            );
        }
    }

    #[test]
    fn other_bodies_are_left_alone() {
        for (kind, text) in [
            ("", ""),
            ("application/sdp", ""),
            ("text/plain", "v=0"),
            ("multipart/mixed", "--x"),
            (
                "multipart/mixed;boundary=x",
                "--x\r\nContent-Type: application/sdp\r\n",
            ),
            ("multipart/mixed;boundary=x", "nothing"),
        ] {
            let body = read(kind, text).unwrap();
            assert!(body.description().is_none(), "{kind} {text}");
            assert_eq!(body.bytes(), text.as_bytes());
        }
        assert!(read("application/sdp", "this is not sdp").is_err());
    }
}
