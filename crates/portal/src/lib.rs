//! The HTTP doors of a node: the one an operator's tools knock on (`/metrics`, `/healthz` and
//! `/readyz`), and the API for programs that control recordings and change settings.
//!
//! # What it does not know
//!
//! Calls, media, SIP, what a setting means, and how the figures come about: it asks through [`Node`] and
//! [`CallControl`].
//!
//! # Invariants
//!
//! 1. `/healthz` depends on nothing but the node's own event loop.
//! 2. `/readyz` is 200 only where a new call could be recorded now, and says why where not.
//! 3. Nothing that the operations listener serves names a party of a call.
//! 4. Nobody without a token learns anything from the API but that a token is needed, and a token learns
//!    nothing of the calls and settings of users it is not for.
//! 5. No token is kept or logged: digests are compared, names are logged.
//! 6. Whoever is connected and asks nothing keeps nobody out: a listener has 256 connections, 64 of one
//!    source, and those that are quiet leave after ten seconds, or sooner for others.

mod api;
mod door;
mod operations;

pub use api::{
    Action, CallControl, Change, Half, Heard, NotDone, Outcome, Right, Token, serve_api,
};
pub use operations::{Liveness, Node, Readiness, serve};
