//! SRTP and SRTCP (RFC 3711) with the suites of RFC 4568, RFC 6188 and RFC 7714: packets in place.
//!
//! The transform is written here, on the ciphers of `aws-lc-rs`. The `rtc-srtp` package was read for
//! it and not used: it parses the header with a reader that can be made to panic before the packet is
//! authenticated, keeps state for every SSRC ever claimed by anybody, checks replay by the 16 bit
//! sequence number instead of the packet index, lets its highest index go backwards with a late
//! packet, starts the SRTCP index anew (and with it the key stream) after 2^31 packets, and allocates.
//!
//! ```text
//! SRTP, counter mode   header | ciphertext                 | MKI | tag     tag over header, ciphertext, ROC
//! SRTP, AEAD           header | ciphertext | tag           | MKI           header is associated data
//! SRTCP, counter mode  8 octets | ciphertext | E+index     | MKI | tag     tag over everything before the MKI
//! SRTCP, AEAD          8 octets | ciphertext | tag | E+index | MKI         8 octets, E+index are associated data
//! ```
//!
//! What both directions assume: the numbers of one SSRC go on. A source that begins its sequence
//! numbers anew without changing its SSRC cannot be followed by any receiver (RFC 3711 §3.3.1): who
//! relays such a source renumbers it or gives it another SSRC.

mod cipher;
mod header;
mod key;
mod protect;
mod sources;
mod unprotect;

pub use key::{KeyError, MasterKey, Suite};
pub use protect::Protector;
pub use unprotect::Unprotector;

/// Why a packet was not protected or is not to be believed; the packet is to be dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SrtpError {
    /// Too short for its header and what the suite adds.
    #[error("too short for its header and what the suite adds")]
    Short,
    /// The version is not 2.
    #[error("the version is not 2")]
    Version,
    /// The authentication tag is wrong: another key, another roll-over counter, or a forgery.
    #[error("the authentication tag is wrong")]
    Tag,
    /// This index was used before (RFC 3711 §3.3.2).
    #[error("this index was used before")]
    Replayed,
    /// The index is older than the replay window of 128 packets, so it may be a replay.
    #[error("this index is older than the replay window")]
    TooOld,
    /// The key has protected as many packets as it may: 2^48 RTP or 2^31 RTCP (RFC 3711 §9.2).
    #[error("the key has protected as many packets as it may")]
    Exhausted,
    /// More sources than one key may serve when sending.
    #[error("more sources than one key may serve")]
    Sources,
}
