//! The program: sockets, threads, configuration, metrics and command line around the cores.
//!
//! # What it does not know
//!
//! Decisions. Which call is recorded, who hears what, what a gap is, when a file may go: an `if` about
//! any of that here is a bug. [`translate`] is the one place where the words of two crates meet.
//!
//! # Invariants
//!
//! 1. Every value has one owner thread; every channel between two is bounded, and the line that
//!    makes it says what happens when it is full.
//! 2. The relay never waits for the recorder, the recorder never for the archive.
//! 3. No port is bound before the whole configuration was found right.
//! 4. One [`gate`] answers INVITE, OPTIONS and `/readyz`.
//! 5. Numbers and names appear in logs only redacted, digits never.

pub mod abilities;
pub mod api;
pub mod archivist;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contain;
pub mod demo;
pub mod gate;
pub mod keeper;
pub mod logging;
pub mod mailbox;
pub mod memory;
pub mod metrics;
pub mod node;
pub mod phone;
pub mod prompts;
pub mod recordings;
pub mod redact;
pub mod relay;
pub mod serve;
pub mod signalling;
pub mod translate;
