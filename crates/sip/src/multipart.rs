//! Bodies of several parts (RFC 2046 §5.1, RFC 5621): where one part stands. The rest of the body is
//! never taken apart, so it can be carried byte for byte.
//!
//! ```text
//! [preamble] --boundary CRLF [fields] CRLF content CRLF --boundary ... CRLF --boundary-- [epilogue]
//! ```

use std::ops::Range;

use crate::headers::Headers;
use crate::lexer::{find_body, read_head};
use crate::params::Params;

/// Most parts looked at.
const MAX_PARTS: usize = 32;

/// Longest boundary accepted, bytes; RFC 2046 allows 70.
const MAX_BOUNDARY: usize = 200;

/// Where the content of this media type (`application/sdp`) stands in a body with that Content-Type:
/// the whole body, or the first part of a multipart body that is not an early session's (RFC 3959).
/// `None` where there is none, and where the part has no end.
pub fn place_of(media_type: &str, content_type: &str, body: &[u8]) -> Option<Range<usize>> {
    let (kind, params) = content_type.split_once(';').unwrap_or((content_type, ""));
    let kind = kind.trim();
    if kind.eq_ignore_ascii_case(media_type) {
        return Some(0..body.len());
    }
    let family = kind.split_once('/').map_or("", |(family, _)| family);
    if !family.eq_ignore_ascii_case("multipart") {
        return None;
    }
    let params = Params::parse(params);
    let boundary = params.value("boundary")?.trim_matches('"');
    if boundary.is_empty() || boundary.len() > MAX_BOUNDARY {
        return None;
    }
    let delimiter = format!("--{boundary}");
    let mut start = next_delimiter(body, delimiter.as_bytes(), 0)?;
    for _ in 0..MAX_PARTS {
        let end = next_delimiter(body, delimiter.as_bytes(), start + delimiter.len())?;
        if let Some((fields, content)) = part(body, start, end)
            && is_wanted(&fields, media_type)
        {
            return Some(content);
        }
        start = end;
    }
    None
}

/// The fields and the content of the part whose delimiter stands at `start`, up to the next one.
fn part(body: &[u8], start: usize, end: usize) -> Option<(Headers, Range<usize>)> {
    let body = &body[..end];
    let content = find_body(body, start)?;
    // The delimiter stands where a message has its start line.
    let fields = read_head(&body[start..content]).ok()?.headers;
    // The line end before a delimiter belongs to the delimiter (RFC 2046 §5.1.1).
    let text = body.strip_suffix(b"\n").unwrap_or(body);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Some((fields, content..text.len().max(content)))
}

fn is_wanted(fields: &Headers, media_type: &str) -> bool {
    let value = |name| fields.values(name).next().unwrap_or_default();
    let first = |value: &'_ str| -> String {
        let word = value.split(';').next().unwrap_or_default();
        word.trim().to_ascii_lowercase()
    };
    first(value("Content-Type")) == media_type.to_ascii_lowercase()
        && first(value("Content-Disposition")) != "early-session"
}

/// The next delimiter at the start of a line, with nothing but its end or blanks behind it.
fn next_delimiter(body: &[u8], delimiter: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        if (at == 0 || body[at - 1] == b'\n')
            && let Some(rest) = body.get(at..)?.strip_prefix(delimiter)
            && matches!(
                rest,
                [] | [b'\r' | b'\n' | b' ' | b'\t', ..] | [b'-', b'-', ..]
            )
        {
            return Some(at);
        }
        at += body.get(at..)?.iter().position(|b| *b == b'\n')? + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, body: &str, want: Option<&str>) {
        let place = place_of("application/sdp", content_type, body.as_bytes());
        assert_eq!(
            place.map(|place| &body[place]),
            want,
            "{content_type}: {body:?}"
        );
    }

    #[test]
    fn the_part_is_found() {
        check("application/sdp", "v=0\r\n", Some("v=0\r\n"));
        check("Application/SDP ; charset=utf-8", "v=0", Some("v=0"));
        let sdp = "--x\r\nc: application/sdp;a=b\r\n\r\nv=0\r\ns=-\r\n\r\n";
        let other = "--x\r\nContent-Type: application/isup\r\n\r\n\u{1}--x--y\r\n--xy\r\n";
        for (kind, body) in [
            ("multipart/mixed;boundary=x", format!("{sdp}--x--")),
            (
                "Multipart/Related; type=\"a;b\"; Boundary=\"x\"",
                format!("{other}{sdp}--x\r\n"),
            ),
            (
                "multipart/mixed;boundary=x",
                format!("pre\r\n--\r\n{sdp}--x-- \r\npost"),
            ),
            (
                "multipart/mixed;boundary=x",
                format!("{other}--x\t\r\n\r\nplain\r\n{sdp}--x--"),
            ),
        ] {
            check(kind, &body, Some("v=0\r\ns=-\r\n"));
        }
        let bare = "--x\nContent-Type: application/sdp\n\nv=0\n\n--x--\n";
        check("multipart/mixed;boundary=x", bare, Some("v=0\n"));
        let early = "--x\r\nContent-Type: application/sdp\r\nContent-Disposition: Early-Session; \
                     handling=optional\r\n\r\nv=1\r\n--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--";
        check("multipart/mixed;boundary=x", early, Some("v=0"));
        check(
            "multipart/mixed;boundary=x",
            "--x\r\nc: application/sdp\r\n\r\n--x--",
            Some(""),
        );
    }

    #[test]
    fn there_is_none() {
        let good = "--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n";
        for (kind, body) in [
            ("", ""),
            ("text/plain", "v=0"),
            ("multipart", good),
            ("multipart/mixed", &format!("{good}--x--")),
            ("multipart/mixed;boundary=", &format!("{good}--x--")),
            ("multipart/mixed;boundary=\"\"", &format!("{good}--x--")),
            ("multipart/mixed;boundary=y", &format!("{good}--x--")),
            // No end.
            ("multipart/mixed;boundary=x", good),
            ("multipart/mixed;boundary=x", "--x"),
            ("multipart/mixed;boundary=x", &format!("{good}--xy")),
            (
                "multipart/mixed;boundary=x",
                "--x\r\nContent-Type: application/sdp\r\n--x--",
            ),
            // A field that is none.
            (
                "multipart/mixed;boundary=x",
                "--x\r\napplication/sdp\r\n\r\nv=0\r\n--x--",
            ),
            (
                "multipart/mixed;boundary=x",
                "a--x\r\nc: application/sdp\r\n\r\nv=0\r\n--x--",
            ),
            (
                "multipart/mixed;boundary=x",
                &"--x\r\n\r\n\r\n".repeat(MAX_PARTS + 9),
            ),
        ] {
            check(kind, body, None);
        }
    }
}
