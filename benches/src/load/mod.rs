//! The parts of the load bench: real calls over SIP, paced RTP, processor time from the kernel, and the
//! check that what was recorded is what was sent.
//!
//! ```text
//!  generator: caller's sockets ──▶ process under test ──▶ phone's sockets: receiver
//!                              ◀──                    ◀──
//! ```
//!
//! Parties are numbered: call n has the caller 2n, on the trunk, and the phone 2n + 1, the owner.

pub mod bare_relay;
pub mod exchange;
pub mod payload;
pub mod processor;
pub mod recorder;
pub mod recordings;
pub mod tally;
pub mod traffic;

use std::net::IpAddr;

/// The one address of everything in the load bench.
pub const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// The party at the other end of the same call.
#[must_use]
pub fn other(party: usize) -> usize {
    party ^ 1
}
