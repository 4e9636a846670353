//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966, RFC 5118); other schemes stay opaque.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::flow::Transport;
use crate::params::Params;

/// A URI's scheme.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966): the number is the user part, there is no host.
    Tel,
    /// Any other scheme, lower case; the rest of the URI stands unread in `host`.
    Other(String),
}

/// A URI, in parts that are written back exactly as they were read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uri {
    /// The scheme.
    pub scheme: Scheme,
    /// The user part, escapes kept; for `tel:` the number with its visual separators.
    pub user: Option<String>,
    /// The password after the user's first colon.
    pub password: Option<String>,
    /// Host name, IPv4 address or IPv6 address in brackets; everything for an unknown scheme; empty for `tel:`.
    pub host: String,
    /// The port, if written.
    pub port: Option<u16>,
    /// URI parameters.
    pub params: Params,
    /// The text after `?`, unread.
    pub headers: Option<String>,
}

/// Why a text is not a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// No scheme before a colon.
    #[error("no scheme")]
    NoScheme,
    /// Empty host, or characters that no host has.
    #[error("bad host")]
    BadHost,
    /// The port is not 0 to 65535.
    #[error("bad port")]
    BadPort,
    /// A blank, control character, quote or bracket inside.
    #[error("character not allowed")]
    BadCharacter,
    /// A `tel:` URI without a number.
    #[error("no number")]
    NoNumber,
}

impl Uri {
    /// `sip:user@host:port`; the host may be an address of either family.
    pub fn sip(user: Option<&str>, host: &str, port: Option<u16>) -> Uri {
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => host.to_owned(),
        };
        Uri {
            scheme: Scheme::Sip,
            user: user.map(str::to_owned),
            password: None,
            host,
            port,
            params: Params::default(),
            headers: None,
        }
    }

    /// Wraps a text that is not a URI so that it can be written back (an answer to a bad request).
    pub(crate) fn unread(text: &str) -> Uri {
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        let mut uri = Uri::sip(None, rest, None);
        uri.scheme = Scheme::Other(scheme.to_owned());
        uri
    }

    /// The host as an address, without brackets; `None` for a name.
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(&self.host)
    }

    /// The value of a header in the URI (`?Replaces=...`), with its escapes undone (RFC 3261
    /// §19.1.1). `None` where it is absent, or is no text once unescaped.
    pub fn header(&self, name: &str) -> Option<String> {
        let fields = self.headers.as_deref()?.split('&');
        let value = fields
            .filter_map(|field| field.split_once('='))
            .find(|(n, _)| unescape(n).is_some_and(|n| n.eq_ignore_ascii_case(name)))?
            .1;
        unescape(value)
    }

    /// The value of the `transport` parameter.
    pub fn transport(&self) -> Option<&str> {
        self.params.value("transport")
    }

    /// The transport that the URI asks for (RFC 3261 §26.2.2, RFC 3263 §4.1): `sips:` is always TLS.
    /// `None` where it says nothing, or names one that is not known here.
    pub fn flow_transport(&self) -> Option<Transport> {
        match self.scheme {
            Scheme::Sips => Some(Transport::Tls),
            _ => Transport::named(self.transport()?),
        }
    }

    /// Whether the `lr` parameter marks a loose router (RFC 3261 §16.12).
    pub fn is_loose_router(&self) -> bool {
        self.params.has("lr")
    }
}

/// Text without `%hh` escapes; `None` where a `%` has no two hexadecimal digits behind it, or the
/// bytes are not UTF-8.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || (rest.next()? as char).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).ok()
}

pub(crate) fn host_ip(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host)
        .parse()
        .ok()
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Uri, UriError> {
        if text
            .bytes()
            .any(|b| b <= b' ' || b == 0x7f || b"<>\"".contains(&b))
        {
            return Err(UriError::BadCharacter);
        }
        let (scheme, rest) = text.split_once(':').ok_or(UriError::NoScheme)?;
        let first = scheme.bytes().next().ok_or(UriError::NoScheme)?;
        let tail_fits = scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !first.is_ascii_alphabetic() || !tail_fits {
            return Err(UriError::NoScheme);
        }
        match scheme.to_ascii_lowercase().as_str() {
            "sip" => parse_sip(Scheme::Sip, rest),
            "sips" => parse_sip(Scheme::Sips, rest),
            "tel" => parse_tel(rest),
            other => {
                let mut uri = Uri::sip(None, "", None);
                uri.scheme = Scheme::Other(other.to_owned());
                uri.host = rest.to_owned();
                Ok(uri)
            }
        }
    }
}

fn parse_sip(scheme: Scheme, rest: &str) -> Result<Uri, UriError> {
    // The user part may hold `;` and `?` unescaped, so it is cut off first (RFC 3261 §19.1.2).
    let (userinfo, rest) = match rest.split_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let (user, password) = match userinfo.map(|u| (u, u.split_once(':'))) {
        Some((_, Some((user, password)))) => (Some(user), Some(password)),
        Some((user, None)) => (Some(user), None),
        None => (None, None),
    };
    if user == Some("") {
        return Err(UriError::BadHost);
    }
    let (rest, headers) = match rest.split_once('?') {
        Some((rest, headers)) => (rest, Some(headers.to_owned())),
        None => (rest, None),
    };
    let (hostport, params) = rest.split_once(';').unwrap_or((rest, ""));
    let (host, port) = parse_host_port(hostport)?;
    Ok(Uri {
        scheme,
        user: user.map(str::to_owned),
        password: password.map(str::to_owned),
        host: host.into_owned(),
        port,
        params: Params::parse(params),
        headers,
    })
}

fn parse_tel(rest: &str) -> Result<Uri, UriError> {
    let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
    if number.is_empty() {
        return Err(UriError::NoNumber);
    }
    let mut uri = Uri::sip(Some(number), "", None);
    uri.scheme = Scheme::Tel;
    uri.params = Params::parse(params);
    Ok(uri)
}

/// `host[:port]` with IPv6 in brackets (RFC 5118 §4.1); blanks round the colon allowed.
pub(crate) fn parse_host_port(text: &str) -> Result<(Cow<'_, str>, Option<u16>), UriError> {
    let text = text.trim();
    let (host, rest) = if text.starts_with('[') {
        let end = text.find(']').ok_or(UriError::BadHost)?;
        let (host, rest) = text.split_at(end + 1);
        // The grammar of RFC 3261 allows one colon too many before an IPv4 part (RFC 5118 §4.10).
        let host = match host.matches(":::").count() {
            1 if host.contains('.') => Cow::Owned(host.replace(":::", "::")),
            _ => Cow::Borrowed(host),
        };
        let inner = &host[1..host.len() - 1];
        inner
            .parse::<std::net::Ipv6Addr>()
            .map_err(|_| UriError::BadHost)?;
        (host, rest)
    } else {
        let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        let host = host.trim_end();
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if host.is_empty() || !host.bytes().all(fits) {
            return Err(UriError::BadHost);
        }
        (Cow::Borrowed(host), rest)
    };
    match rest.trim() {
        "" => Ok((host, None)),
        rest => {
            let digits = rest.strip_prefix(':').ok_or(UriError::BadHost)?.trim();
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(UriError::BadPort);
            }
            Ok((host, Some(digits.parse().map_err(|_| UriError::BadPort)?)))
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scheme {
            Scheme::Sip => f.write_str("sip:")?,
            Scheme::Sips => f.write_str("sips:")?,
            Scheme::Tel => f.write_str("tel:")?,
            Scheme::Other(scheme) if scheme.is_empty() => {}
            Scheme::Other(scheme) => write!(f, "{scheme}:")?,
        }
        if let Some(user) = &self.user {
            f.write_str(user)?;
            if let Some(password) = &self.password {
                write!(f, ":{password}")?;
            }
            if self.scheme != Scheme::Tel {
                f.write_str("@")?;
            }
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)?;
        match &self.headers {
            Some(headers) => write!(f, "?{headers}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_parts_are_inverses() {
        for text in [
            "sip:alice@atlanta.com",
            "sip:alice:secretword@atlanta.com;transport=tcp",
            "sip:alice:@atlanta.com",
            "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:+1-212-555-1212:1234@gateway.com;user=phone",
            "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
            "sip:alice;day=tuesday@atlanta.com",
            "sip:1212@[2001:db8::1]:5062;transport=udp;lr",
            "sip:[2001:db8::9:255]",
            "sip:192.0.2.4:5070;foo=\u{e9}",
            "tel:+1-212-555-1212",
            "tel:7042;phone-context=example.com",
            "urn:service:sos",
            "soap.beep://192.0.2.103:3002",
            "sip:sip%3Auser%40example.com@company.com;other-param=summit",
        ] {
            let uri: Uri = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(uri.to_string(), text);
            assert_eq!(uri.to_string().parse::<Uri>().unwrap(), uri);
        }
    }

    #[test]
    fn parts() {
        let uri: Uri = "SIP:a;b?c:d@[2001:db8::1]:5062;lr;transport=TCP?x=y"
            .parse()
            .unwrap();
        assert_eq!(uri.scheme, Scheme::Sip);
        assert_eq!(uri.user.as_deref(), Some("a;b?c"));
        assert_eq!(uri.password.as_deref(), Some("d"));
        assert_eq!(uri.host, "[2001:db8::1]");
        assert_eq!(uri.host_ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(uri.port, Some(5062));
        assert!(uri.is_loose_router());
        assert_eq!(uri.flow_transport(), Some(Transport::Tcp));
        for (text, want) in [
            ("sips:a@b;transport=tcp", Some(Transport::Tls)),
            ("sip:a@b;transport=tls", Some(Transport::Tls)),
            ("sip:a@b;transport=UDP", Some(Transport::Udp)),
            ("sip:a@b;transport=sctp", None),
            ("sip:a@b", None),
            ("tel:1", None),
        ] {
            assert_eq!(
                text.parse::<Uri>().unwrap().flow_transport(),
                want,
                "{text}"
            );
        }
        let extra: Uri = "sip:a@[2001:db8:::192.0.2.1]:5062".parse().unwrap();
        assert_eq!(extra.to_string(), "sip:a@[2001:db8::192.0.2.1]:5062");
        assert_eq!(uri.transport(), Some("TCP"));
        assert_eq!(uri.headers.as_deref(), Some("x=y"));
        assert_eq!(
            Uri::sip(Some("a"), "2001:db8::1", Some(5060)).to_string(),
            "sip:a@[2001:db8::1]:5060"
        );
    }

    #[test]
    fn headers_of_a_uri() {
        let uri: Uri = "sip:c@d;lr?Subject=a%20b&REPL%61CES=x%40y%3bto-tag%3D1&bad=%4&worse=%ff&e="
            .parse()
            .unwrap();
        assert_eq!(uri.header("subject").as_deref(), Some("a b"));
        assert_eq!(uri.header("Replaces").as_deref(), Some("x@y;to-tag=1"));
        assert_eq!(uri.header("e").as_deref(), Some(""));
        for name in ["bad", "worse", "absent"] {
            assert_eq!(uri.header(name), None, "{name}");
        }
    }

    #[test]
    fn bad_texts_are_named() {
        for (text, want) in [
            ("", UriError::NoScheme),
            ("alice", UriError::NoScheme),
            (":x", UriError::NoScheme),
            ("1a:x", UriError::NoScheme),
            ("sip:", UriError::BadHost),
            ("sip:@host", UriError::BadHost),
            ("sip:a@b@c", UriError::BadHost),
            ("sip:2001:db8::1", UriError::BadPort),
            ("sip:[2001:db8::1", UriError::BadHost),
            ("sip:[zz]", UriError::BadHost),
            ("sip:[2001:db8:::1]", UriError::BadHost),
            ("sip:[::1]x", UriError::BadHost),
            ("sip:host:99999", UriError::BadPort),
            ("sip:host:", UriError::BadPort),
            ("sip:ho st", UriError::BadCharacter),
            ("sip:host>", UriError::BadCharacter),
            ("tel:", UriError::NoNumber),
        ] {
            assert_eq!(text.parse::<Uri>(), Err(want), "{text}");
        }
    }
}
