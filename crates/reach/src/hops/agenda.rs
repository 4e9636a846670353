//! What is to be done when.

use std::collections::BTreeSet;
use std::time::Instant;

use duolog_sip::Transport;
use std::net::SocketAddr;

use super::QueryId;
use super::locating::Asker;

/// Something that was put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    /// A query has had its time.
    Query(QueryId),
    /// Somebody has waited for hops long enough.
    Asker(Asker),
    /// A hop is to be probed.
    Probe((Transport, SocketAddr)),
}

/// Times, earliest first.
#[derive(Debug, Default)]
pub(super) struct Agenda(BTreeSet<(Instant, Wake)>);

impl Agenda {
    pub(super) fn add(&mut self, at: Instant, wake: Wake) {
        self.0.insert((at, wake));
    }

    pub(super) fn remove(&mut self, at: Instant, wake: Wake) {
        self.0.remove(&(at, wake));
    }

    /// The earliest time.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The earliest of what is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Wake> {
        let first = self.0.first().filter(|(at, _)| *at <= now)?;
        let (at, wake) = *first;
        self.0.remove(&(at, wake));
        Some(wake)
    }
}
