//! Who may speak to this node, and where others are found: the registrar of phones, registrations of
//! ours at trunks, digest credentials, next hops by DNS records, limits for each source. Messages,
//! records and instants go in; answers, questions and decisions come out.
//!
//! # What it does not know
//! Sockets, the clock, threads, the DNS protocol, calls, recording, media, files and configuration.
//!
//! # Invariants
//! 1. Everything that grows with what strangers send is bounded, and what is beyond is refused.
//! 2. A secret is never printed, logged, or compared in time that depends on it.
//! 3. The same seed and the same inputs at the same instants give the same outputs.

pub mod digest;
pub mod hops;
pub mod limits;
pub mod registrar;
pub mod registration;
