//! SIP as values: messages, transactions, dialogs and SDP. Bytes and instants go in; typed messages
//! and bytes come out (RFC 3261, RFC 6026, RFC 3262, RFC 3581, RFC 3264, RFC 8866). Beside them what else
//! comes to a SIP port: keep-alives of RFC 5626, with the little of STUN that they need.
//!
//! # What it does not know
//! Sockets, the clock, threads, DNS, RTP, calls, recording, files and configuration.
//!
//! # Invariants
//! 1. No bytes from outside cause a panic; what is refused has a reason from a closed list.
//! 2. What is written can be read again and is equal, bodies byte for byte; Content-Length is always right.
//! 3. No header value, reason phrase or URI can start a new header line.
//! 4. Every transaction that has its final response, or is no longer wanted, is gone after 64*T1
//!    plus its last timer.
//! 5. The same seed and the same inputs at the same instants give the same outputs.
//! 6. Server transactions are bounded: a request that makes something new gets 503 before one that ends
//!    something does.

mod cseq;
mod dialog;
pub mod endpoint;
mod flow;
mod framing;
mod headers;
mod lexer;
mod message;
mod method;
pub mod multipart;
mod name_addr;
mod params;
mod rack;
mod reads;
mod replaces;
pub mod sdp;
mod session_expires;
mod status;
pub mod stun;
#[cfg(test)]
mod testing;
mod tokens;
mod transaction;
mod uri;
mod via;
mod write;

pub use cseq::{CSeq, CSeqError};
pub use dialog::{Dialog, DialogError, DialogId, DialogState};
pub use endpoint::{ClientKey, Endpoint, EndpointSettings, SentBy, ServerKey, Timers};
pub use flow::{Flow, Transport};
pub use framing::{FrameError, Framed, Framer, KeepAlive};
pub use headers::Headers;
pub use lexer::LexError;
pub use message::{Message, ParseError, Request, Response};
pub use method::Method;
pub use name_addr::{NameAddr, NameAddrError};
pub use params::Params;
pub use rack::RAck;
pub use reads::HeaderError;
pub use replaces::{Replaces, ReplacesError};
pub use session_expires::{Refresher, SessionExpires, SessionExpiresError};
pub use status::StatusCode;
pub use tokens::Tokens;
pub use uri::{Scheme, Uri, UriError};
pub use via::{Via, ViaError};
