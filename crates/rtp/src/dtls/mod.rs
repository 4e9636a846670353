//! DTLS-SRTP (RFC 5763, RFC 5764): a handshake on the media port that ends in two SRTP master keys.
//!
//! Datagrams and instants go in, datagrams and a deadline come out; the protocol is that of the
//! `dimpl` package, restricted to DTLS 1.2, which every DTLS-SRTP peer has (RFC 8827 §6.5). A peer is
//! who its SDP says: its certificate must have the fingerprint that came with the SDP, or there are
//! never keys. Certificate chains, names and dates are not looked at (RFC 5763 §5).
//!
//! Two things enter that are not arguments: `dimpl` and `aws-lc-rs` take randomness from the operating
//! system, as every handshake must, and `dimpl` reads the wall clock once per process for the first
//! four octets of its hello random (RFC 5246 §7.4.1.2), which nobody interprets. Time-outs follow the
//! given instants only. [`Identity::generate`] belongs to the start of the program.
//!
//! `dimpl` has no RSA: a peer whose certificate is RSA cannot be talked to.

mod fingerprint;
mod handshake;
mod identity;

pub use fingerprint::{Fingerprint, FingerprintError};
pub use handshake::{Handshake, Keys};
pub use identity::Identity;

/// Which side speaks first: `a=setup` (RFC 5763 §5) as agreed by offer and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `active`: we send the ClientHello.
    Active,
    /// `passive`: we wait for it.
    Passive,
}

/// Why there are no keys and will be none: this handshake is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DtlsError {
    /// The peer's certificate is not the one its SDP names (RFC 5763 §5).
    #[error("the certificate does not match the fingerprint of the SDP")]
    Fingerprint,
    /// The peer did not answer, or did not begin, in time.
    #[error("the handshake timed out")]
    Timeout,
    /// The peers have no SRTP protection profile in common, or the peer wants no SRTP (RFC 5764 §4.1).
    #[error("no SRTP protection profile in common")]
    Profile,
    /// The protocol failed: nothing else in common, a wrong signature, a broken message.
    #[error("the handshake failed: {0}")]
    Failed(String),
}

/// Whether a datagram of a media port is DTLS, by its first octet (RFC 7983 §7).
pub fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}
