//! Via (RFC 3261 §20.42, RFC 3581).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::params::Params;
use crate::uri::parse_host_port;

/// The start of every branch made by an RFC 3261 element (§8.1.1.7).
pub(crate) const MAGIC_COOKIE: &str = "z9hG4bK";

/// One Via value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Via {
    /// The transport, as written (`UDP`, `TCP`, `TLS`, …).
    pub transport: String,
    /// The sent-by host: a name or an address, IPv6 in brackets.
    pub host: String,
    /// The sent-by port, if written.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport` and the rest.
    pub params: Params,
}

/// Why a text is not a Via value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ViaError {
    /// Not `SIP/2.0/transport`.
    #[error("bad protocol")]
    Protocol,
    /// The sent-by is not `host[:port]`.
    #[error("bad sent-by")]
    SentBy,
}

impl Via {
    /// The branch parameter.
    pub fn branch(&self) -> Option<&str> {
        self.params.value("branch")
    }

    /// Whether the branch is unique by itself (RFC 3261 §17.2.3).
    pub fn is_rfc3261(&self) -> bool {
        let cookie = self.branch().and_then(|b| b.get(..MAGIC_COOKIE.len()));
        let more = self.branch().is_some_and(|b| b.len() > MAGIC_COOKIE.len());
        more && cookie.is_some_and(|c| c.eq_ignore_ascii_case(MAGIC_COOKIE))
    }

    /// The `received` address.
    pub fn received(&self) -> Option<IpAddr> {
        self.params.value("received").and_then(crate::uri::host_ip)
    }

    /// The filled-in `rport` (RFC 3581 §4).
    pub fn rport(&self) -> Option<u16> {
        self.params.value("rport").and_then(|p| p.parse().ok())
    }

    /// The sent-by host as an address; `None` for a name.
    pub fn host_ip(&self) -> Option<IpAddr> {
        crate::uri::host_ip(&self.host)
    }
}

impl FromStr for Via {
    type Err = ViaError;

    fn from_str(text: &str) -> Result<Via, ViaError> {
        // "SIP / 2.0 / UDP first.example.com : 4000;ttl=16" is legal (RFC 3261 §20.42).
        let mut parts = text.trim().splitn(3, '/');
        let name = parts.next().unwrap_or_default().trim();
        let version = parts.next().unwrap_or_default().trim();
        let rest = parts.next().ok_or(ViaError::Protocol)?.trim_start();
        if !name.eq_ignore_ascii_case("SIP") || version != "2.0" {
            return Err(ViaError::Protocol);
        }
        let end = rest.find([' ', '\t']).ok_or(ViaError::Protocol)?;
        let (transport, rest) = rest.split_at(end);
        if !crate::method::is_token(transport) {
            return Err(ViaError::Protocol);
        }
        let (sent_by, params) = rest.split_once(';').unwrap_or((rest, ""));
        let (host, port) = parse_host_port(sent_by).map_err(|_| ViaError::SentBy)?;
        Ok(Via {
            transport: transport.to_owned(),
            host: host.into_owned(),
            port,
            params: Params::parse(params),
        })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_blanks_ipv6_and_rport() {
        let via: Via = "SIP  / 2.0\t/ UDP  [2001:db8::9:1] : 6050 ;branch=z9hG4bKa ;rport"
            .parse()
            .unwrap();
        assert_eq!(via.host, "[2001:db8::9:1]");
        assert_eq!(via.host_ip(), Some("2001:db8::9:1".parse().unwrap()));
        assert_eq!(via.port, Some(6050));
        assert!(via.is_rfc3261());
        assert!(via.params.has("rport"));
        assert_eq!(via.rport(), None);
        assert_eq!(
            via.to_string(),
            "SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKa;rport"
        );
        let via: Via = "SIP/2.0/TCP h;received=[::1];rport=77;branch=1"
            .parse()
            .unwrap();
        assert_eq!(via.received(), Some("::1".parse().unwrap()));
        assert_eq!(via.rport(), Some(77));
        assert!(!via.is_rfc3261());
    }

    #[test]
    fn refuses() {
        for (text, want) in [
            ("", ViaError::Protocol),
            ("SIP/2.0/UDP", ViaError::Protocol),
            ("SIP/7.0/UDP host", ViaError::Protocol),
            ("HTTP/2.0/UDP host", ViaError::Protocol),
            ("SIP/2.0/UDP ;branch=x", ViaError::SentBy),
            ("SIP/2.0/UDP a b", ViaError::SentBy),
            ("SIP/2.0/UDP host:70000", ViaError::SentBy),
        ] {
            assert_eq!(text.parse::<Via>(), Err(want), "{text}");
        }
    }
}
