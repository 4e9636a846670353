//! `name-addr` and `addr-spec` with header parameters: From, To, Contact, Route (RFC 3261 §20).

use std::fmt;
use std::str::FromStr;

use crate::params::{Params, find_outside};
use crate::uri::{Uri, UriError};

/// A display name, a URI and the header's parameters. Always written with `<…>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NameAddr {
    /// The display name without quotes and escapes.
    pub display: Option<String>,
    /// The URI.
    pub uri: Uri,
    /// Parameters of the header, not of the URI.
    pub params: Params,
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameAddrError {
    /// A quote or bracket that is not closed, or text where none may stand.
    #[error("unbalanced quotes or brackets")]
    Unbalanced,
    /// The URI inside is bad.
    #[error("bad URI")]
    Uri(#[from] UriError),
}

impl NameAddr {
    /// An address without display name and parameters.
    pub fn new(uri: Uri) -> NameAddr {
        NameAddr {
            display: None,
            uri,
            params: Params::default(),
        }
    }

    /// The `tag` parameter (RFC 3261 §19.3).
    pub fn tag(&self) -> Option<&str> {
        self.params.value("tag")
    }

    /// The same address with this tag.
    pub fn with_tag(mut self, tag: &str) -> NameAddr {
        self.params.set("tag", Some(tag));
        self
    }
}

impl FromStr for NameAddr {
    type Err = NameAddrError;

    fn from_str(text: &str) -> Result<NameAddr, NameAddrError> {
        let text = text.trim();
        let Some(open) = find_outside(text, b'<') else {
            // Without brackets every `;` parameter belongs to the header (RFC 3261 §20).
            if text.contains('"') && text.starts_with('"') {
                return Err(NameAddrError::Unbalanced);
            }
            let (uri, params) = text.split_once(';').unwrap_or((text, ""));
            // Headers in a URI need brackets round it (RFC 3261 §20.10); a user may have a `?`.
            let hostport = uri.rsplit_once('@').map_or(uri, |(_, host)| host);
            if hostport.contains('?') {
                return Err(NameAddrError::Unbalanced);
            }
            return Ok(NameAddr {
                display: None,
                uri: uri.trim_end().parse()?,
                params: Params::parse(params),
            });
        };
        let close = open + text[open..].find('>').ok_or(NameAddrError::Unbalanced)?;
        let uri = text[open + 1..close].trim().parse()?;
        let tail = text[close + 1..].trim_start();
        let params = match tail.strip_prefix(';') {
            Some(params) => Params::parse(params),
            None if tail.is_empty() => Params::default(),
            None => return Err(NameAddrError::Unbalanced),
        };
        Ok(NameAddr {
            display: parse_display(text[..open].trim())?,
            uri,
            params,
        })
    }
}

fn parse_display(text: &str) -> Result<Option<String>, NameAddrError> {
    let Some(quoted) = text.strip_prefix('"') else {
        return Ok((!text.is_empty()).then(|| text.to_owned()));
    };
    let mut name = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => name.extend(chars.next()),
            '"' if chars.as_str().trim().is_empty() => return Ok(Some(name)),
            '"' => return Err(NameAddrError::Unbalanced),
            c => name.push(c),
        }
    }
    Err(NameAddrError::Unbalanced)
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            f.write_str("\"")?;
            for c in display.chars() {
                if matches!(c, '"' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
            f.write_str("\" ")?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, display, uri, tag, written) in [
            (
                "sip:a@b;tag=1",
                None,
                "sip:a@b",
                Some("1"),
                "<sip:a@b>;tag=1",
            ),
            (
                "\"J. \\\"R; <x>\\\\\" <sip:a@b;lr>;tag=9;+sip.instance=\"<urn:x;y>\"",
                Some("J. \"R; <x>\\"),
                "sip:a@b;lr",
                Some("9"),
                "\"J. \\\"R; <x>\\\\\" <sip:a@b;lr>;tag=9;+sip.instance=\"<urn:x;y>\"",
            ),
            (
                "Bell Labs <tel:+1212> ; tag = q",
                Some("Bell Labs"),
                "tel:+1212",
                Some("q"),
                "\"Bell Labs\" <tel:+1212>;tag=q",
            ),
            (
                "caller<sip:c@[::1]>",
                Some("caller"),
                "sip:c@[::1]",
                None,
                "\"caller\" <sip:c@[::1]>",
            ),
            (
                "\"\" <sip:c@d>",
                Some(""),
                "sip:c@d",
                None,
                "\"\" <sip:c@d>",
            ),
        ] {
            let read: NameAddr = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(read.display.as_deref(), display, "{text}");
            assert_eq!(read.uri.to_string(), uri, "{text}");
            assert_eq!(read.tag(), tag, "{text}");
            assert_eq!(read.to_string(), written, "{text}");
            assert_eq!(written.parse::<NameAddr>().unwrap(), read);
        }
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "\"Mr <sip:a@b>",
            "<sip:a@b",
            "<sip:a@b> x",
            "*",
            "\"a\"b <sip:c@d>",
            "sip:a@b?Route=c",
        ] {
            assert!(text.parse::<NameAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn with_tag_replaces() {
        let addr: NameAddr = "<sip:a@b>;tag=1;x".parse().unwrap();
        assert_eq!(addr.with_tag("2").to_string(), "<sip:a@b>;tag=2;x");
    }
}
