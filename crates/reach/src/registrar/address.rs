//! Comparing and reading addresses: URIs (RFC 3261 §19.1.4), lists, option tags.

use duolog_sip::{Headers, Params, Uri};

/// Parameters that must stand in both or in neither.
const IN_BOTH: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// Whether two URIs without headers are equivalent.
pub(crate) fn equivalent(one: &Uri, other: &Uri) -> bool {
    let text = |text: &Option<String>| text.as_deref().map(canonical);
    let hosts = match (one.host_ip(), other.host_ip()) {
        (Some(one), Some(other)) => one == other,
        _ => one.host.eq_ignore_ascii_case(&other.host),
    };
    one.scheme == other.scheme
        && text(&one.user) == text(&other.user)
        && text(&one.password) == text(&other.password)
        && hosts
        && one.port == other.port
        && params_fit(&one.params, &other.params)
        && params_fit(&other.params, &one.params)
}

fn params_fit(one: &Params, other: &Params) -> bool {
    one.iter().all(|(name, value)| {
        if !other.has(name) {
            return !IN_BOTH.iter().any(|must| must.eq_ignore_ascii_case(name));
        }
        let text = |value: Option<&str>| value.map(|v| canonical(v).to_ascii_lowercase());
        text(value) == text(other.value(name))
    })
}

/// Escapes of characters that mean the same without are undone (RFC 3261 §19.1.4).
fn canonical(text: &str) -> String {
    let kept = |byte: u8| !byte.is_ascii_graphic() || b";/?:@&=+$,%".contains(&byte);
    unescape(text, kept)
}

/// A user part as a name: every escape undone (RFC 3261 §10.3 item 5).
pub(crate) fn plain(text: &str) -> String {
    unescape(text, |_| false)
}

fn unescape(text: &str, kept: impl Fn(u8) -> bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| hex_pair(tail)).flatten();
        rest = match escaped {
            Some(byte) if !kept(byte) => {
                out.push(byte);
                &tail[2..]
            }
            Some(byte) => {
                out.extend(format!("%{byte:02X}").bytes());
                &tail[2..]
            }
            None => {
                out.push(first);
                tail
            }
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// The members of every value of a list field; commas inside quotes and brackets do not divide.
pub(crate) fn members<'a>(headers: &'a Headers, name: &'a str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for value in headers.values(name) {
        let (mut start, mut quoted, mut escaped, mut angle) = (0, false, false, false);
        for (at, byte) in value.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b'<' => angle = true,
                b'>' => angle = false,
                b',' if !angle => {
                    found.push(value[start..at].trim());
                    start = at + 1;
                }
                _ => {}
            }
        }
        found.push(value[start..].trim());
    }
    found.retain(|member| !member.is_empty());
    found
}

/// Whether an option tag stands in a list field.
pub(crate) fn has_tag(headers: &Headers, name: &str, tag: &str) -> bool {
    let tags = members(headers, name);
    tags.iter().any(|one| one.eq_ignore_ascii_case(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: &str, other: &str, want: bool) {
        let [one, other]: [Uri; 2] = [one, other].map(|text| text.parse().unwrap());
        assert_eq!(equivalent(&one, &other), want, "{one} {other}");
        assert_eq!(equivalent(&other, &one), want, "{other} {one}");
    }

    #[test]
    fn the_examples_of_rfc_3261() {
        for (one, other, want) in [
            (
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtLanTa.CoM;Transport=tcp",
                true,
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com;newparam=5",
                true,
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com;security=on",
                true,
            ),
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;security=off",
                false,
            ),
            (
                "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                "sip:alice@AtLanTa.CoM;Transport=UDP",
                false,
            ),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com;transport=udp",
                false,
            ),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com:6000;transport=tcp",
                false,
            ),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false),
            ("sip:bob@biloxi.com", "sips:bob@biloxi.com", false),
            ("sip:bob@biloxi.com", "sip:biloxi.com", false),
            ("sip:bob:a@biloxi.com", "sip:bob@biloxi.com", false),
            ("sip:b@[2001:db8::1]", "sip:b@[2001:0DB8:0::1]", true),
            ("sip:a%40b@h", "sip:a%40b@h;x", true),
            ("sip:%2B1@h", "sip:+1@h", false),
            ("sip:a%zz@h", "sip:a%zz@h", true),
        ] {
            check(one, other, want);
        }
    }

    #[test]
    fn names() {
        for (text, want) in [
            ("%61lice", "alice"),
            ("%2b31", "+31"),
            ("a%", "a%"),
            ("a%4", "a%4"),
            ("%c3%bc", "\u{fc}"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(plain(text), want);
        }
    }

    #[test]
    fn lists() {
        let mut headers = Headers::new();
        headers.push("Path", "<sip:a,b@c;lr>, \"x, \\\"y\" <sip:d>,");
        headers.push("Path", "<sip:e>");
        let want = ["<sip:a,b@c;lr>", "\"x, \\\"y\" <sip:d>", "<sip:e>"];
        assert_eq!(members(&headers, "Path"), want);
        headers.push("Supported", "100rel ,PATH");
        assert!(has_tag(&headers, "Supported", "path"));
        assert!(!has_tag(&headers, "Supported", "outbound"));
        assert!(!has_tag(&headers, "Require", "path"));
    }
}
