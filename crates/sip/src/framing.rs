//! Messages out of a byte stream (RFC 3261 §18.3, RFC 5626 §3.5.1).

use bytes::{Buf, Bytes, BytesMut};

use crate::lexer::{LexError, MAX_BODY, MAX_HEAD, find_body, leading_line_ends, parse_length};

/// One piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed {
    /// A whole message, ready for `Message::parse`; or, as the last piece of a stream that can be cut
    /// no further, as much of one as an endpoint needs to refuse it (400, 413, 513).
    Message(Bytes),
    /// Line ends between messages.
    KeepAlive(KeepAlive),
}

/// A keep-alive of RFC 5626 §3.5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// CRLF CRLF: to be answered with one CRLF.
    Ping,
    /// CRLF: the answer to our ping.
    Pong,
}

/// Why a stream can no longer be cut into messages; the connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More than 64 KiB of header fields.
    #[error("header fields too long")]
    HeadTooLong,
    /// A body of more than 64 KiB.
    #[error("message too long")]
    MessageTooLong,
    /// No Content-Length, which streams need (RFC 3261 §20.14).
    #[error("no Content-Length")]
    NoLength,
    /// Content-Length is not a number, or two of them differ.
    #[error("bad Content-Length")]
    BadLength,
}

/// Cuts one direction of a connection into messages.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// Up to here no end of the header fields was found: a slow sender costs no rescans.
    scanned: usize,
    /// Length of the message that is being awaited, once its header fields are here.
    awaited: Option<usize>,
    failed: Option<FrameError>,
}

impl Framer {
    /// A framer at the start of a stream.
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Appends received bytes. Call `next` until it gives `None` after each push; what is kept is
    /// bounded by the longest message and one push.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether part of a message waits for the rest; line ends between messages are none.
    pub fn is_amid(&self) -> bool {
        leading_line_ends(&self.buffer) < self.buffer.len()
    }

    /// The next piece, `None` where more bytes are needed. After an error it stays that error.
    #[expect(
        clippy::should_implement_trait,
        reason = "an error ends the stream, None does not"
    )]
    pub fn next(&mut self) -> Result<Option<Framed>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.cut().or_else(|error| {
            self.failed = Some(error);
            Ok(Some(Framed::Message(self.remains(error))))
        })
    }

    /// What is left at an error, so that it is refused: nothing that could be taken for a message.
    fn remains(&mut self, error: FrameError) -> Bytes {
        let mut bytes = std::mem::take(&mut self.buffer);
        let head = find_body(&bytes, leading_line_ends(&bytes)).unwrap_or(bytes.len());
        // Without Content-Length the header fields alone would be a message: their end goes.
        let length = match error {
            FrameError::NoLength => bytes[..head].trim_ascii_end().len(),
            _ => head,
        };
        bytes.truncate(length);
        bytes.freeze()
    }

    fn cut(&mut self) -> Result<Option<Framed>, FrameError> {
        let length = match self.awaited {
            Some(length) => length,
            None => {
                if let Some(keep_alive) = self.cut_line_ends() {
                    return Ok(Some(Framed::KeepAlive(keep_alive)));
                }
                let Some(length) = self.measure()? else {
                    return Ok(None);
                };
                self.awaited = Some(length);
                length
            }
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.awaited = None;
        self.scanned = 0;
        Ok(Some(Framed::Message(self.buffer.split_to(length).freeze())))
    }

    /// Takes line ends from the front; a lone CRLF may still become a ping and waits.
    fn cut_line_ends(&mut self) -> Option<KeepAlive> {
        match &self.buffer[..] {
            [b'\r', b'\n', b'\r', b'\n', ..] => {
                self.buffer.advance(4);
                Some(KeepAlive::Ping)
            }
            [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => None,
            [b'\r', b'\n', ..] => {
                self.buffer.advance(2);
                Some(KeepAlive::Pong)
            }
            _ => {
                let stray = leading_line_ends(&self.buffer);
                self.buffer.advance(stray);
                None
            }
        }
    }

    /// The whole message's length, once its header fields are here.
    fn measure(&mut self) -> Result<Option<usize>, FrameError> {
        if leading_line_ends(&self.buffer) == self.buffer.len() {
            return Ok(None);
        }
        let Some(head) = find_body(&self.buffer, self.scanned) else {
            self.scanned = self.buffer.len().saturating_sub(2);
            if self.buffer.len() > MAX_HEAD {
                return Err(FrameError::HeadTooLong);
            }
            return Ok(None);
        };
        if head > MAX_HEAD {
            return Err(FrameError::HeadTooLong);
        }
        let body = content_length(&self.buffer[..head])?;
        if body > MAX_BODY {
            return Err(FrameError::MessageTooLong);
        }
        Ok(Some(head + body))
    }
}

/// Content-Length of a header block, found without reading the other fields.
fn content_length(head: &[u8]) -> Result<usize, FrameError> {
    let mut found = None;
    let mut lines = head.split(|b| *b == b'\n').skip(1).peekable();
    while let Some(line) = lines.next() {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let name = line[..colon].trim_ascii_end();
        let is_length =
            name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"l");
        if !is_length {
            continue;
        }
        let mut value = String::from_utf8_lossy(&line[colon + 1..]).into_owned();
        while let Some(more) = lines.next_if(|l| matches!(l.first(), Some(b' ' | b'\t'))) {
            value.push(' ');
            value.push_str(&String::from_utf8_lossy(more));
        }
        let length = parse_length(&value).map_err(|_: LexError| FrameError::BadLength)?;
        if found
            .replace(length)
            .is_some_and(|earlier| earlier != length)
        {
            return Err(FrameError::BadLength);
        }
    }
    found.ok_or(FrameError::NoLength)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn all(framer: &mut Framer) -> Vec<String> {
        let mut out = Vec::new();
        loop {
            match framer.next() {
                Ok(Some(Framed::Message(bytes))) => {
                    out.push(String::from_utf8_lossy(&bytes).into_owned());
                }
                Ok(Some(Framed::KeepAlive(kind))) => out.push(format!("{kind:?}")),
                Ok(None) => return out,
                Err(error) => {
                    out.push(format!("{error}"));
                    return out;
                }
            }
        }
    }

    fn cut(bytes: &[u8], step: usize) -> Vec<String> {
        let mut framer = Framer::new();
        let mut out = Vec::new();
        for part in bytes.chunks(step) {
            framer.push(part);
            out.extend(all(&mut framer));
            if out.last().is_some_and(|l| l.contains("ength")) && framer.failed.is_some() {
                break;
            }
        }
        out
    }

    #[test]
    fn messages_and_keep_alives_whatever_the_pieces() {
        let stream = b"\r\n\r\nA\r\nl : 3\r\n\r\nxyz\r\nB\r\nContent-Length:\r\n 0\r\n\r\n\r\n\r\nC\nl: 2\n\nhi";
        let want = [
            "Ping",
            "A\r\nl : 3\r\n\r\nxyz",
            "Pong",
            "B\r\nContent-Length:\r\n 0\r\n\r\n",
            "Ping",
            "C\nl: 2\n\nhi",
        ];
        for step in 1..stream.len() + 1 {
            assert_eq!(cut(stream, step), want, "step {step}");
        }
    }

    #[test]
    fn a_part_of_a_message_is_noticed() {
        let mut framer = Framer::new();
        for (part, amid) in [
            ("A\r\nl: 2\r\n", true),
            ("\r\nx", true),
            ("y", false),
            ("\r\n", false),
            ("B", true),
        ] {
            framer.push(part.as_bytes());
            let _ = all(&mut framer);
            assert_eq!(framer.is_amid(), amid, "{part:?}");
        }
    }

    #[test]
    fn errors_end_the_stream() {
        for (stream, want) in [
            (b"A\r\nx: y\r\n\r\n".to_vec(), "no Content-Length"),
            (b"A\r\nl: -1\r\n\r\n".to_vec(), "bad Content-Length"),
            (
                b"A\r\nl: 1\r\nContent-Length: 2\r\n\r\nab".to_vec(),
                "bad Content-Length",
            ),
            (b"A\r\nl: 9999999\r\n\r\n".to_vec(), "message too long"),
            (vec![b'A'; MAX_HEAD + 2], "header fields too long"),
        ] {
            let mut framer = Framer::new();
            framer.push(&stream);
            let Ok(Some(Framed::Message(last))) = framer.next() else {
                panic!("{want}")
            };
            assert!(Message::parse(last).is_err(), "{want}");
            assert_eq!(all(&mut framer), [want]);
            framer.push(b"B\r\nl: 0\r\n\r\n");
            assert_eq!(all(&mut framer), [want], "a broken stream must stay broken");
        }
    }
}
