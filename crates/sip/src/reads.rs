//! Typed reads of header fields, the same for requests and responses.

use crate::cseq::CSeq;
use crate::headers::Headers;
use crate::message::{Request, Response};
use crate::name_addr::NameAddr;
use crate::via::Via;

/// Why a header field cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The field is not there.
    #[error("no {0}")]
    Missing(&'static str),
    /// The field's text is bad.
    #[error("bad {0}")]
    Invalid(&'static str),
    /// The field stands more than once where only one may (RFC 4475 §3.3.8).
    #[error("more than one {0}")]
    Repeated(&'static str),
}

fn one<'a>(headers: &'a Headers, name: &'static str) -> Result<&'a str, HeaderError> {
    let mut values = headers.values(name);
    let first = values.next().ok_or(HeaderError::Missing(name))?;
    match values.next() {
        Some(_) => Err(HeaderError::Repeated(name)),
        None => Ok(first),
    }
}

fn read<T: std::str::FromStr>(text: &str, name: &'static str) -> Result<T, HeaderError> {
    text.parse().map_err(|_| HeaderError::Invalid(name))
}

fn list<T: std::str::FromStr>(
    headers: &Headers,
    name: &'static str,
) -> Result<Vec<T>, HeaderError> {
    headers
        .values(name)
        .map(|value| read(value, name))
        .collect()
}

macro_rules! reads {
    ($message:ty) => {
        impl $message {
            /// The topmost Via.
            pub fn via(&self) -> Result<Via, HeaderError> {
                let top = self
                    .headers
                    .value("Via")
                    .ok_or(HeaderError::Missing("Via"))?;
                read(top, "Via")
            }

            /// Every Via, topmost first.
            pub fn vias(&self) -> Result<Vec<Via>, HeaderError> {
                list(&self.headers, "Via")
            }

            /// From (RFC 3261 §20.20).
            pub fn from(&self) -> Result<NameAddr, HeaderError> {
                read(one(&self.headers, "From")?, "From")
            }

            /// To (RFC 3261 §20.39).
            pub fn to_addr(&self) -> Result<NameAddr, HeaderError> {
                read(one(&self.headers, "To")?, "To")
            }

            /// Call-ID, as written; never empty.
            pub fn call_id(&self) -> Result<&str, HeaderError> {
                match one(&self.headers, "Call-ID")? {
                    "" => Err(HeaderError::Invalid("Call-ID")),
                    id => Ok(id),
                }
            }

            /// CSeq.
            pub fn cseq(&self) -> Result<CSeq, HeaderError> {
                read(one(&self.headers, "CSeq")?, "CSeq")
            }

            /// The first Contact; `*` is `Invalid`.
            pub fn contact(&self) -> Result<NameAddr, HeaderError> {
                let first = self
                    .headers
                    .value("Contact")
                    .ok_or(HeaderError::Missing("Contact"))?;
                read(first, "Contact")
            }

            /// Every Record-Route, in order.
            pub fn record_routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
                list(&self.headers, "Record-Route")
            }

            /// Every Route, in order.
            pub fn routes(&self) -> Result<Vec<NameAddr>, HeaderError> {
                list(&self.headers, "Route")
            }

            /// Max-Forwards; `None` where the sender left it out (RFC 2543 did).
            pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
                if !self.headers.has("Max-Forwards") {
                    return Ok(None);
                }
                read(one(&self.headers, "Max-Forwards")?, "Max-Forwards").map(Some)
            }

            /// The media type of the body in lower case without parameters; empty where unsaid.
            pub fn content_type(&self) -> String {
                let value = self.headers.value("Content-Type").unwrap_or_default();
                value
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .to_ascii_lowercase()
            }
        }
    };
}

reads!(Request);
reads!(Response);

impl Request {
    /// To (RFC 3261 §20.39).
    pub fn to(&self) -> Result<NameAddr, HeaderError> {
        self.to_addr()
    }
}
