//! Requests and responses (RFC 3261 §7).

use std::fmt;

use bytes::Bytes;

use crate::headers::Headers;
use crate::lexer::{Head, LexError, MAX_BODY, read_for_answer, read_head};
use crate::method::Method;
use crate::status::StatusCode;
use crate::uri::{Uri, UriError};

/// A request.
///
/// `Debug` leaves the body out: there may be keys in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The Request-URI.
    pub uri: Uri,
    /// The header fields, without Content-Length.
    pub headers: Headers,
    /// The body, byte for byte.
    pub body: Bytes,
}

/// A response.
///
/// `Debug` leaves the body out: there may be keys in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The reason phrase as received, or the default one.
    pub reason: String,
    /// The header fields, without Content-Length.
    pub headers: Headers,
    /// The body, byte for byte.
    pub body: Bytes,
}

/// A message of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The header block is bad.
    #[error("header block")]
    Head(#[from] LexError),
    /// The start line is neither a request line nor a status line.
    #[error("bad start line")]
    StartLine,
    /// A version other than SIP/2.0.
    #[error("version is not SIP/2.0")]
    Version,
    /// The Request-URI is bad.
    #[error("bad Request-URI")]
    RequestUri(#[from] UriError),
    /// The status code is not 100 to 699.
    #[error("bad status code")]
    Status,
    /// Content-Length is longer than what came (RFC 3261 §18.3).
    #[error("body cut short")]
    BodyShort,
    /// A body of more than 64 KiB.
    #[error("body too long")]
    BodyTooLong,
}

impl Message {
    /// Reads one datagram, or one message cut from a stream by `Framer`.
    ///
    /// Bytes beyond Content-Length are dropped (RFC 3261 §18.3); without Content-Length everything
    /// after the header fields is the body.
    pub fn parse(bytes: Bytes) -> Result<Message, ParseError> {
        let head = read_head(&bytes)?;
        let body = body_of(&bytes, &head)?;
        match read_start(&head.start)? {
            Start::Request { method, uri } => Ok(Message::Request(Request {
                method,
                uri: uri.parse()?,
                headers: head.headers,
                body,
            })),
            Start::Response { status, reason } => Ok(Message::Response(Response {
                status,
                reason: reason.to_owned(),
                headers: head.headers,
                body,
            })),
        }
    }

    /// Writes the message; Content-Length is made from the body.
    pub fn write(&self) -> Bytes {
        match self {
            Message::Request(request) => request.write(),
            Message::Response(response) => response.write(),
        }
    }

    /// The header fields.
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("uri", &self.uri)
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("reason", &self.reason)
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

impl Request {
    /// A request without header fields.
    pub fn new(method: Method, uri: Uri) -> Request {
        Request {
            method,
            uri,
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// Puts a body and its Content-Type.
    pub fn set_body(&mut self, content_type: &str, body: Bytes) {
        self.headers.set("Content-Type", content_type);
        self.body = body;
    }

    /// A request that cannot be read as a whole, so that it can be refused with the status that the
    /// error asks for; `None` where no answer is possible or due.
    pub(crate) fn salvage(bytes: &[u8], error: ParseError) -> Option<(Request, StatusCode)> {
        let status = match error {
            ParseError::Version => StatusCode::VERSION_NOT_SUPPORTED,
            ParseError::BodyTooLong => StatusCode::ENTITY_TOO_LARGE,
            ParseError::Head(LexError::TooLong) => StatusCode::MESSAGE_TOO_LARGE,
            ParseError::RequestUri(_) | ParseError::StartLine | ParseError::BodyShort => {
                StatusCode::BAD_REQUEST
            }
            ParseError::Head(LexError::NoEnd | LexError::BadLine | LexError::BadLength) => {
                StatusCode::BAD_REQUEST
            }
            ParseError::Head(LexError::Empty) | ParseError::Status => return None,
        };
        let (start, mut headers) = read_for_answer(bytes)?;
        let (method, rest) = start.trim().split_once([' ', '\t'])?;
        let method = Method::parse(method)?;
        if method == Method::Ack {
            return None;
        }
        if error == ParseError::Version {
            lower_version(&mut headers);
        }
        let mut request = Request::new(method, Uri::unread(rest.trim()));
        request.headers = headers;
        Some((request, status))
    }
}

/// Who speaks another version may say so in its Via as well; the answer is one of this version.
fn lower_version(headers: &mut Headers) {
    let top = headers.value("Via").unwrap_or_default();
    let mut parts = top.splitn(3, '/');
    let (name, _, rest) = (parts.next(), parts.next(), parts.next());
    if let (Some(name), Some(rest)) = (name, rest) {
        let top = format!("{name}/2.0/{rest}");
        headers.remove_first("Via");
        headers.push_front("Via", top);
    }
}

impl Response {
    /// The answer to a request, with what must be copied (RFC 3261 §8.2.6): Via, From, To, Call-ID
    /// and CSeq; Timestamp in a 100. A To tag is the caller's to add.
    pub fn to(request: &Request, status: StatusCode) -> Response {
        let mut headers = Headers::new();
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            for value in request.headers.values(name) {
                headers.push(name, value);
            }
        }
        if status == StatusCode::TRYING
            && let Some(value) = request.headers.value("Timestamp")
        {
            headers.push("Timestamp", value);
        }
        let reason = status.default_reason().to_owned();
        Response {
            status,
            reason,
            headers,
            body: Bytes::new(),
        }
    }

    /// Puts a body and its Content-Type.
    pub fn set_body(&mut self, content_type: &str, body: Bytes) {
        self.headers.set("Content-Type", content_type);
        self.body = body;
    }

    /// Adds the To tag where there is none yet (RFC 3261 §8.2.6.2).
    pub fn set_to_tag(&mut self, tag: &str) {
        if let Ok(to) = self.to_addr()
            && to.tag().is_none()
        {
            self.headers.set("To", to.with_tag(tag).to_string());
        }
    }
}

fn body_of(bytes: &Bytes, head: &Head<'_>) -> Result<Bytes, ParseError> {
    let rest = bytes.slice(head.length..);
    match head.content_length {
        _ if head.content_length.unwrap_or(rest.len()) > MAX_BODY => Err(ParseError::BodyTooLong),
        Some(length) if length > rest.len() => Err(ParseError::BodyShort),
        Some(length) => Ok(rest.slice(..length)),
        None => Ok(rest),
    }
}

enum Start<'a> {
    Request { method: Method, uri: &'a str },
    Response { status: StatusCode, reason: &'a str },
}

fn read_start(line: &str) -> Result<Start<'_>, ParseError> {
    let line = line.trim_end();
    let (first, rest) = line.split_once(' ').ok_or(ParseError::StartLine)?;
    if first.len() >= 4 && first.as_bytes()[..4].eq_ignore_ascii_case(b"SIP/") {
        if !first.eq_ignore_ascii_case("SIP/2.0") {
            return Err(ParseError::Version);
        }
        let (code, reason) = rest
            .trim_start()
            .split_once(' ')
            .unwrap_or((rest.trim_start(), ""));
        if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseError::Status);
        }
        let status = code
            .parse()
            .ok()
            .and_then(StatusCode::new)
            .ok_or(ParseError::Status)?;
        return Ok(Start::Response { status, reason });
    }
    let method = Method::parse(first).ok_or(ParseError::StartLine)?;
    let (uri, version) = rest.rsplit_once(' ').ok_or(ParseError::StartLine)?;
    if version.len() < 4 || !version.as_bytes()[..4].eq_ignore_ascii_case(b"SIP/") {
        return Err(ParseError::StartLine);
    }
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(ParseError::Version);
    }
    Ok(Start::Request {
        method,
        uri: uri.trim(),
    })
}
