//! Typed reads of header fields, the same for requests and responses.

use crate::cseq::CSeq;
use crate::dialog::DialogId;
use crate::headers::Headers;
use crate::message::{Request, Response};
use crate::name_addr::NameAddr;
use crate::params::split_outside;
use crate::rack::{RAck, number};
use crate::replaces::{Replaces, target_dialog};
use crate::session_expires::SessionExpires;
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

/// The members of a list that can be read; one bad member does not spoil the others.
fn addresses(headers: &Headers, name: &'static str) -> Vec<NameAddr> {
    let members = headers.values(name).flat_map(|v| split_outside(v, b','));
    members.filter_map(|member| member.parse().ok()).collect()
}

/// Digits before the first `;`, `(` or blank.
fn leading_number(text: &str) -> Option<u32> {
    let end = text.find([';', '(', ' ', '\t']).unwrap_or(text.len());
    number(&text[..end])
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

            /// Session-Expires; `None` where it is absent or bad (RFC 4028 §4).
            pub fn session_expires(&self) -> Option<SessionExpires> {
                self.headers.value("Session-Expires")?.parse().ok()
            }

            /// Min-SE in seconds; `None` where it is absent or bad (RFC 4028 §5).
            pub fn min_se(&self) -> Option<u32> {
                leading_number(self.headers.value("Min-SE")?)
            }

            /// Every Diversion that can be read, the latest first (RFC 5806 §4).
            pub fn diversions(&self) -> Vec<NameAddr> {
                addresses(&self.headers, "Diversion")
            }

            /// Every History-Info entry that can be read, the earliest first; the `index`
            /// parameter numbers them (RFC 7044 §5).
            pub fn history(&self) -> Vec<NameAddr> {
                addresses(&self.headers, "History-Info")
            }

            /// The members of a header that is a list of words, in order: option tags (`Supported`,
            /// `Require`, `Unsupported`), methods (`Allow`), event packages.
            pub fn tags<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
                let members = self.headers.values(name).flat_map(|v| v.split(','));
                members.map(str::trim).filter(|tag| !tag.is_empty())
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

    /// RAck of a PRACK (RFC 3262 §7.2).
    pub fn rack(&self) -> Result<RAck, HeaderError> {
        read(one(&self.headers, "RAck")?, "RAck")
    }

    /// Refer-To of a REFER: exactly one (RFC 3515 §2.1).
    pub fn refer_to(&self) -> Result<NameAddr, HeaderError> {
        read(one(&self.headers, "Refer-To")?, "Refer-To")
    }

    /// Replaces; `None` where the request replaces nothing. Bad or repeated: 400 (RFC 3891 §3).
    pub fn replaces(&self) -> Result<Option<Replaces>, HeaderError> {
        if !self.headers.has("Replaces") {
            return Ok(None);
        }
        read(one(&self.headers, "Replaces")?, "Replaces").map(Some)
    }

    /// The dialog that Target-Dialog names, seen from us; `None` where it is absent or bad (RFC 4538).
    pub fn target_dialog(&self) -> Option<DialogId> {
        target_dialog(self.headers.value("Target-Dialog")?).ok()
    }
}

impl Response {
    /// RSeq of a reliable provisional response (RFC 3262 §7.1).
    pub fn rseq(&self) -> Option<u32> {
        number(self.headers.value("RSeq")?).filter(|rseq| *rseq > 0)
    }

    /// Retry-After in seconds, without its comment and parameters (RFC 3261 §20.33).
    pub fn retry_after(&self) -> Option<u32> {
        leading_number(self.headers.value("Retry-After")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn request(fields: &str) -> Request {
        let text = format!("INVITE sip:a@b SIP/2.0\r\n{fields}\r\n");
        match Message::parse(text.into()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn response(fields: &str) -> Response {
        let text = format!("SIP/2.0 183 x\r\n{fields}\r\n");
        match Message::parse(text.into()) {
            Ok(Message::Response(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lists_of_words_and_addresses() {
        let got = request(
            "k: 100rel, timer,,\r\nSupported: replaces\r\n\
             Diversion: \"A, B\" <sip:1@x>;reason=no-answer, <sip:2@x>\r\nDiversion: <sip:3@x>\r\n\
             History-Info: <sip:4@x?Reason=SIP%3Bcause%3D302>;index=1, bad one, <sip:5@x>;index=1.1\r\n",
        );
        let tags: Vec<&str> = got.tags("Supported").collect();
        assert_eq!(tags, ["100rel", "timer", "replaces"]);
        assert_eq!(got.tags("Require").count(), 0);
        let users = |list: Vec<NameAddr>| -> Vec<String> {
            list.into_iter().filter_map(|a| a.uri.user).collect()
        };
        assert_eq!(users(got.diversions()), ["1", "2", "3"]);
        assert_eq!(users(got.history()), ["4", "5"]);
        assert_eq!(got.history()[1].params.value("index"), Some("1.1"));
    }

    #[test]
    fn numbers() {
        let got = response("RSeq: 7\r\nRetry-After: 18000;duration=3600\r\nMin-SE: 90;x\r\n");
        assert_eq!((got.rseq(), got.retry_after()), (Some(7), Some(18_000)));
        assert_eq!(got.min_se(), Some(90));
        let got = response("RSeq: 0\r\nRetry-After: 120 (I'm in a meeting)\r\nMin-SE: x\r\n");
        assert_eq!((got.rseq(), got.retry_after()), (None, Some(120)));
        assert_eq!((got.min_se(), got.session_expires()), (None, None));
        let got = request("x: 1800;refresher=uac\r\nRAck: 7 1 INVITE\r\n");
        assert_eq!(got.session_expires().unwrap().s, 1800);
        assert_eq!(got.rack().unwrap().rseq, 7);
        assert_eq!(request("").rack(), Err(HeaderError::Missing("RAck")));
    }

    #[test]
    fn what_names_a_dialog() {
        let got = request("r: <sip:c@d?Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n");
        let target = got.refer_to().unwrap().uri;
        let replaces: Replaces = target.header("replaces").unwrap().parse().unwrap();
        assert_eq!(replaces.call_id, "x@y");
        assert_eq!(got.replaces(), Ok(None));
        let twice = "Replaces: a;to-tag=1;from-tag=2\r\n".repeat(2);
        assert_eq!(
            request(&twice).replaces(),
            Err(HeaderError::Repeated("Replaces"))
        );
        let bad = request("Replaces: a\r\nRefer-To: x\r\n");
        assert_eq!(bad.replaces(), Err(HeaderError::Invalid("Replaces")));
        assert_eq!(bad.refer_to(), Err(HeaderError::Invalid("Refer-To")));
        let target = request("Target-Dialog: a;local-tag=1;remote-tag=2\r\n").target_dialog();
        assert_eq!(target.unwrap().local_tag, "1");
    }
}
