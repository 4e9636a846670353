//! From bytes to a start line, header fields and a body: everything `rsip`'s own parser refuses or
//! loses is settled here (RFC 3261 §7.3, §7.5, §25.1; RFC 4475 §3.1.1).

use std::borrow::Cow;

use crate::headers::{Headers, expand};
use crate::method::is_token;
use crate::params::split_outside;

/// Longest start line and header block accepted, bytes.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// Most header values accepted after splitting.
pub(crate) const MAX_VALUES: usize = 128;
/// Longest body accepted, bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// Fields whose comma-separated values become one field each.
const LISTS: [&str; 4] = ["Via", "Route", "Record-Route", "Contact"];

/// Fields that an answer repeats.
const COPIED: [&str; 5] = ["Via", "From", "To", "Call-ID", "CSeq"];

/// Why bytes are not a start line and header fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LexError {
    /// Nothing but line ends.
    #[error("empty")]
    Empty,
    /// No empty line ends the header fields.
    #[error("no end of the header fields")]
    NoEnd,
    /// More than 64 KiB or 128 values.
    #[error("header fields too long")]
    TooLong,
    /// A line without a colon, or a name that is not a token.
    #[error("bad header line")]
    BadLine,
    /// Content-Length is not a number, or two of them differ.
    #[error("bad Content-Length")]
    BadLength,
}

/// The head of a message: everything before the body.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub start: Cow<'a, str>,
    pub headers: Headers,
    pub content_length: Option<usize>,
    /// Where the body starts.
    pub length: usize,
}

/// The number of leading CR and LF bytes (RFC 3261 §7.5).
pub(crate) fn leading_line_ends(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'))
        .count()
}

/// Where the body starts: just after the first empty line at or after `from`.
pub(crate) fn find_body(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let lf = at + bytes.get(at..)?.iter().position(|b| *b == b'\n')?;
        match bytes.get(lf + 1..) {
            Some([b'\n', ..]) => return Some(lf + 2),
            Some([b'\r', b'\n', ..]) => return Some(lf + 3),
            _ => at = lf + 1,
        }
    }
}

/// Reads a head. Header values keep their text; bytes that are not UTF-8 become U+FFFD.
pub(crate) fn read_head(bytes: &[u8]) -> Result<Head<'_>, LexError> {
    let skipped = leading_line_ends(bytes);
    if skipped == bytes.len() {
        return Err(LexError::Empty);
    }
    let length = find_body(bytes, skipped).ok_or(match bytes.len() - skipped > MAX_HEAD {
        true => LexError::TooLong,
        false => LexError::NoEnd,
    })?;
    if length - skipped > MAX_HEAD {
        return Err(LexError::TooLong);
    }
    let mut lines = Lines(&bytes[skipped..length]);
    let start = start_line(lines.next().ok_or(LexError::Empty)?);
    let mut headers = Headers::new();
    let (mut content_length, mut count) = (None, 0);
    while let Some(line) = lines.next_unfolded() {
        if line.is_empty() {
            break;
        }
        let line = text(&line);
        let (name, value) = line.split_once(':').ok_or(LexError::BadLine)?;
        let name = expand(name.trim_end_matches([' ', '\t']));
        if !is_token(name) {
            return Err(LexError::BadLine);
        }
        let value = value.trim_matches([' ', '\t', '\r']);
        if name.eq_ignore_ascii_case("Content-Length") {
            let read = parse_length(value)?;
            if content_length
                .replace(read)
                .is_some_and(|earlier| earlier != read)
            {
                return Err(LexError::BadLength);
            }
            continue;
        }
        count += push_values(&mut headers, name, value);
        if count > MAX_VALUES {
            return Err(LexError::TooLong);
        }
    }
    Ok(Head {
        start,
        headers,
        content_length,
        length,
    })
}

/// The start line and what an answer needs of a head that `read_head` refused: the fields that are
/// copied into it (RFC 3261 §8.2.6.2), as far as they can be found. `None` where there are so many of
/// them that the answer would be beyond the limits.
pub(crate) fn read_for_answer(bytes: &[u8]) -> Option<(Cow<'_, str>, Headers)> {
    let bytes = &bytes[leading_line_ends(bytes)..];
    let mut lines = Lines(&bytes[..bytes.len().min(MAX_HEAD)]);
    let start = start_line(lines.next()?);
    let mut headers = Headers::new();
    let mut count = 0;
    while let Some(line) = lines.next_unfolded().filter(|line| !line.is_empty()) {
        let line = text(&line);
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = expand(name.trim_end_matches([' ', '\t']));
        if COPIED
            .iter()
            .any(|copied| name.eq_ignore_ascii_case(copied))
        {
            count += push_values(&mut headers, name, value.trim_matches([' ', '\t', '\r']));
        }
        if count > MAX_VALUES {
            return None;
        }
    }
    Some((start, headers))
}

fn push_values(headers: &mut Headers, name: &str, value: &str) -> usize {
    if !LISTS.iter().any(|list| name.eq_ignore_ascii_case(list)) {
        headers.push(name, value);
        return 1;
    }
    let mut count = 0;
    for part in split_outside(value, b',').take(MAX_VALUES + 1) {
        // A NUL is a blank, as in every value.
        let part = part.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        if !part.is_empty() {
            headers.push(name, part);
            count += 1;
        }
    }
    count
}

/// Digits only: `+5`, `5 5` and `-1` are not lengths (RFC 4475 §3.1.2.2).
pub(crate) fn parse_length(value: &str) -> Result<usize, LexError> {
    let value = value.trim();
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(LexError::BadLength);
    }
    value.parse().map_err(|_| LexError::BadLength)
}

/// Lines ended by LF or CRLF.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|b| *b == b'\n');
        let (line, rest) = match end {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (self.0, &self.0[self.0.len()..]),
        };
        self.0 = rest;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// A line with its continuation lines joined by one blank (RFC 3261 §7.3.1).
    fn next_unfolded(&mut self) -> Option<Cow<'a, [u8]>> {
        let mut line = Cow::Borrowed(self.next()?);
        while !line.is_empty() && matches!(self.0.first(), Some(b' ' | b'\t')) {
            let more = self.next().unwrap_or_default().trim_ascii();
            let whole = line.to_mut();
            whole.truncate(whole.trim_ascii_end().len());
            whole.push(b' ');
            whole.extend_from_slice(more);
        }
        Some(line)
    }
}

/// A CR that ends no line is a blank, as everywhere.
fn start_line(line: &[u8]) -> Cow<'_, str> {
    let line = text(line);
    match line.contains('\r') {
        true => Cow::Owned(line.replace('\r', " ")),
        false => line,
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<String>, LexError> {
        let head = read_head(bytes)?;
        Ok(head
            .headers
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect())
    }

    #[test]
    fn unfolds_expands_and_splits() {
        let head = b"\r\n\r\nX\r\nv :  a\r\n\t ,\r\n  b \r\nSubject:\r\n\r\n";
        assert_eq!(fields(head).unwrap(), ["Via=a", "Via=b", "Subject="]);
        let head = b"X\nm: \"A, B\" <sip:a,b@c>, <sip:d>\nALLOW : A, B\n\nbody";
        let want = [
            "Contact=\"A, B\" <sip:a,b@c>",
            "Contact=<sip:d>",
            "Allow=A, B",
        ];
        assert_eq!(fields(head).unwrap(), want);
    }

    #[test]
    fn bytes_that_are_not_text_survive_as_text() {
        assert_eq!(fields(b"X\r\nm: \0 ,\0a\r\n\r\n").unwrap(), ["Contact=a"]);
        let got = fields(b"X\r\nSubject: caf\xe9 \xff\r\nTo: t\r\n\r\n").unwrap();
        assert_eq!(got, ["Subject=caf\u{fffd} \u{fffd}", "To=t"]);
    }

    #[test]
    fn lengths() {
        for (value, want) in [
            ("5", Ok(Some(5))),
            (" 0005 ", Ok(Some(5))),
            ("-5", Err(LexError::BadLength)),
            ("+5", Err(LexError::BadLength)),
            ("5 5", Err(LexError::BadLength)),
            ("", Err(LexError::BadLength)),
            ("99999999999999999999999", Err(LexError::BadLength)),
            ("5\r\nl: 5", Ok(Some(5))),
            ("5\r\nl: 6", Err(LexError::BadLength)),
        ] {
            let head = format!("X\r\nContent-Length: {value}\r\n\r\n");
            let got = read_head(head.as_bytes()).map(|h| h.content_length);
            assert_eq!(got, want, "{value}");
        }
        assert_eq!(
            read_head(b"X\r\nA: b\r\n\r\n").unwrap().content_length,
            None
        );
    }

    #[test]
    fn limits_and_bad_lines() {
        for (bytes, want) in [
            (&b"\r\n\r\n"[..], LexError::Empty),
            (b"", LexError::Empty),
            (b"X\r\nA: b\r\n", LexError::NoEnd),
            (b"X\r\nno colon\r\n\r\n", LexError::BadLine),
            (b"X\r\n: v\r\n\r\n", LexError::BadLine),
            (b"X\r\nA b: v\r\n\r\n", LexError::BadLine),
        ] {
            assert_eq!(read_head(bytes).unwrap_err(), want);
        }
        let many = format!("X\r\n{}\r\n", "A: b\r\n".repeat(MAX_VALUES + 1));
        assert_eq!(read_head(many.as_bytes()).unwrap_err(), LexError::TooLong);
        let commas = format!("X\r\nVia: {}\r\n\r\n", "b,".repeat(MAX_VALUES + 1));
        assert_eq!(read_head(commas.as_bytes()).unwrap_err(), LexError::TooLong);
        let long = format!("X\r\nA: {}\r\n\r\n", "b".repeat(MAX_HEAD));
        assert_eq!(read_head(long.as_bytes()).unwrap_err(), LexError::TooLong);
    }

    #[test]
    fn body_starts_after_the_first_empty_line() {
        assert_eq!(find_body(b"a\r\n\r\nb\r\n\r\n", 0), Some(5));
        assert_eq!(find_body(b"a\n\nb", 0), Some(3));
        assert_eq!(find_body(b"a\n\r\nb", 0), Some(4));
        assert_eq!(find_body(b"a\r\n\r", 0), None);
        assert_eq!(find_body(b"", 0), None);
    }
}
