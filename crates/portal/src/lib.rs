//! The HTTP doors of a node. Today these are the ones an operator's tools knock on: `/metrics`,
//! `/healthz` and `/readyz`.
//!
//! # What it does not know
//!
//! Calls, media, SIP, and how the figures come about: it asks through [`Node`].
//!
//! # Invariants
//!
//! 1. `/healthz` depends on nothing but the node's own event loop.
//! 2. `/readyz` is 200 only where a new call could be recorded now, and says why where not.
//! 3. Nothing served here names a party of a call.

mod operations;

pub use operations::{Liveness, Node, Readiness, serve};
