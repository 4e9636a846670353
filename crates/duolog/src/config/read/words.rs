//! Values of one word: what is allowed, and how it reads.

use std::net::IpAddr;

use duolog_call::RepeatInterval;
use duolog_reach::hops::{Destination, Host};
use duolog_sip::sdp::Encoding;
use duolog_sip::{Scheme, Transport, Uri};

use crate::config::units::{duration, transport, transport_address};

/// What is cheap to transcode and what every phone and trunk can.
pub(super) const TRANSCODED: [Encoding; 2] = [Encoding::Pcma, Encoding::Pcmu];
pub(super) const CODECS: &str = "write pcmu, pcma, g722, g729, opus, or l16/ and a rate of 8000, 16000, 32000, \
                      44100 or 48000";

pub(super) fn codec(text: &str) -> Option<Encoding> {
    let linear = |rate: &str| {
        let rate_hz = match rate {
            "8000" => 8_000,
            "16000" => 16_000,
            "32000" => 32_000,
            "44100" => 44_100,
            "48000" => 48_000,
            _ => return None,
        };
        Some(Encoding::L16 {
            rate_hz,
            channels: 1,
        })
    };
    match text {
        "pcmu" => Some(Encoding::Pcmu),
        "pcma" => Some(Encoding::Pcma),
        "g722" => Some(Encoding::G722),
        "g729" => Some(Encoding::G729),
        "opus" => Some(Encoding::Opus),
        _ => linear(text.strip_prefix("l16/")?),
    }
}

pub(super) const LANGUAGE: &str = "write a language as in en or nl";

/// E5: 10 to 90 whole seconds, or to what the tenant opened; 20 where only `on` is said; refused outside, never
/// clamped.
pub(super) fn repeat_tone(text: &str, longest_s: u32) -> Option<Option<RepeatInterval>> {
    match text {
        "off" => Some(None),
        "on" => Some(Some(RepeatInterval::default())),
        _ => {
            let span = duration(text).filter(|span| span.subsec_nanos() == 0)?;
            let seconds = u32::try_from(span.as_secs()).ok()?;
            let interval = RepeatInterval::wide(seconds).ok()?;
            (seconds <= longest_s).then_some(Some(interval))
        }
    }
}

pub(super) fn language(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c == '-';
    (text.len() >= 2 && text.len() <= 8 && text.chars().all(plain)).then(|| text.into())
}

pub(super) fn code(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let first = chars.next().is_some_and(|c| c == '*' || c == '#');
    let rest = chars.clone().count();
    (first && (1..=4).contains(&rest) && chars.all(|c| c.is_ascii_digit())).then(|| text.into())
}

pub(super) fn number(text: &str) -> Option<String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let allowed = |c: char| c.is_ascii_digit() || c == '*' || c == '#';
    (!digits.is_empty() && digits.chars().all(allowed)).then(|| text.into())
}

pub(super) fn some_text(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.into())
}

pub(super) fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// How a number begins; may be empty.
pub(super) fn prefix(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_digit() || c == '*' || c == '#';
    let digits = text.strip_prefix('+').unwrap_or(text);
    digits.chars().all(allowed).then(|| text.into())
}

/// Where a peer is: `udp:HOST:PORT` and its like with a numeric host, or `sip:NAME[:PORT]` with an
/// optional `;transport=`.
pub(super) fn destination(text: &str) -> Option<Destination> {
    if let Some(numeric) = transport_address(text) {
        return Some(numeric.into());
    }
    let uri: Uri = text.parse().ok()?;
    if uri.user.is_some() || uri.headers.is_some() {
        return None;
    }
    let named = match uri.transport() {
        None => None,
        Some(word) => Some(transport(&word.to_ascii_lowercase())?),
    };
    let transport = match (&uri.scheme, named) {
        (Scheme::Sip, named) => named,
        // RFC 3261 §26.2.2: over TLS, whatever else is said.
        (Scheme::Sips, None | Some(Transport::Tcp | Transport::Tls)) => Some(Transport::Tls),
        _ => return None,
    };
    let host = match uri.host_ip() {
        Some(ip) => Host::Address(ip),
        None => Host::Name(uri.host.trim_end_matches('.').to_ascii_lowercase()),
    };
    let host = Some(host).filter(|host| !matches!(host, Host::Name(name) if name.is_empty()))?;
    Some(Destination {
        host,
        port: uri.port,
        transport,
    })
}

/// What may stand between quotes as it is.
pub(super) fn quoted(text: &str) -> Option<String> {
    let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && c != '"' && c != '\\';
    (!text.trim().is_empty() && text.chars().all(plain)).then(|| text.into())
}
