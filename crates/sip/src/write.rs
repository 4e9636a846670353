//! Messages back to bytes. The body is appended as it is and Content-Length made from it.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

use crate::headers::Headers;
use crate::message::{Request, Response};

/// Room for the first line of most messages and for Content-Length, bytes.
const FRAME: usize = 128;

impl Request {
    /// Writes the request; exactly what `Message::parse` reads.
    pub fn write(&self) -> Bytes {
        let mut out = room(&self.headers, &self.body);
        line(
            &mut out,
            format_args!("{} {} SIP/2.0", self.method, self.uri),
        );
        finish(out, &self.headers, &self.body)
    }
}

impl Response {
    /// Writes the response; exactly what `Message::parse` reads.
    pub fn write(&self) -> Bytes {
        let mut out = room(&self.headers, &self.body);
        line(
            &mut out,
            format_args!("SIP/2.0 {} {}", self.status, self.reason),
        );
        finish(out, &self.headers, &self.body)
    }
}

/// As much as the message takes: transactions keep what they sent for half a minute.
fn room(headers: &Headers, body: &Bytes) -> BytesMut {
    let field = |(name, value): (&str, &str)| name.len() + value.len() + ": \r\n".len();
    let fields: usize = headers.iter().map(field).sum();
    BytesMut::with_capacity(FRAME + fields + body.len())
}

fn line(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    let start = out.len();
    out.write_fmt(text)
        .expect("writing to a BytesMut cannot fail");
    // A reason phrase or a URI made by the caller must not be able to start a header line.
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.put_slice(b"\r\n");
}

fn finish(mut out: BytesMut, headers: &Headers, body: &Bytes) -> Bytes {
    for (name, value) in headers.iter() {
        if !name.eq_ignore_ascii_case("Content-Length") {
            line(&mut out, format_args!("{name}: {value}"));
        }
    }
    line(&mut out, format_args!("Content-Length: {}", body.len()));
    out.put_slice(b"\r\n");
    out.put_slice(body);
    out.freeze()
}
