//! Digest authentication (RFC 7616, RFC 8760, RFC 3261 §22): what a challenge asks, what answers it.
//!
//! The client's side is here whole: [`answer`] and [`Memory`]. The server's side, which also needs
//! nonces and a memory of their use, is in [`crate::registrar`].

mod algorithm;
mod authorization;
mod challenge;
mod fields;
mod memory;
mod secret;

pub use algorithm::Algorithm;
pub(crate) use algorithm::{Session, hmac_sha256, same};
pub(crate) use authorization::{Authorization, Quality};
pub use challenge::{Challenge, Scheme};
pub(crate) use challenge::{Qop, Stale};
pub(crate) use fields::quoted;
pub use memory::{Memory, answer};
pub use secret::{Credentials, Secret};
