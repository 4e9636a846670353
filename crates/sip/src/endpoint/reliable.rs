//! Reliable provisional responses that wait for their PRACK (RFC 3262 §3). Who sends them numbers
//! them; here they are only repeated.

use std::time::Instant;

use bytes::Bytes;

use super::{Endpoint, Output, ServerKey};
use crate::transaction::timers::{Backoff, Timers};

/// The responses of one INVITE without a PRACK yet, in the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Unacknowledged(Vec<Held>);

#[derive(Debug)]
struct Held {
    rseq: u32,
    bytes: Bytes,
    again: Backoff,
    until: Instant,
}

/// What is to be done when the deadline has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Repeat(Vec<Bytes>),
    GiveUp,
}

impl Unacknowledged {
    /// One was sent for the first time: it is repeated after T1, 2*T1, 4*T1, on every transport.
    pub(crate) fn hold(&mut self, now: Instant, timers: Timers, rseq: u32, bytes: Bytes) {
        self.acknowledge(rseq);
        self.0.push(Held {
            rseq,
            bytes,
            again: Backoff::new(now, timers.t1, timers.timeout()),
            until: now + timers.timeout(),
        });
    }

    pub(crate) fn acknowledge(&mut self, rseq: u32) {
        self.0.retain(|held| held.rseq != rseq);
    }

    /// A final response: none is repeated any more, though a PRACK may still come.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|h| h.again.at.min(h.until)).min()
    }

    /// One that nobody acknowledged in time ends them all: the INVITE is to be refused (§3).
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        if self.0.iter().any(|held| held.until <= now) {
            self.0.clear();
            return Due::GiveUp;
        }
        let ready = self.0.iter_mut().filter(|held| held.again.at <= now);
        Due::Repeat(
            ready
                .map(|held| {
                    held.again.advance(now);
                    held.bytes.clone()
                })
                .collect(),
        )
    }
}

impl Endpoint {
    /// The PRACK of a reliable response came, and the user found it good.
    pub(super) fn pracked(&mut self, key: ServerKey, rseq: u32) {
        if let Some(server) = self.servers.get_mut(&key) {
            server.unacknowledged.acknowledge(rseq);
            self.reschedule_server(key);
        }
    }

    pub(super) fn repeat_reliable(&mut self, now: Instant, key: ServerKey, out: &mut Vec<Output>) {
        let Some(server) = self.servers.get_mut(&key) else {
            return;
        };
        let flow = server.back();
        match server.unacknowledged.due(now) {
            Due::Repeat(list) => {
                out.extend(
                    list.into_iter()
                        .map(|bytes| Output::Transmit { flow, bytes }),
                );
            }
            Due::GiveUp => out.push(Output::Unpracked { key }),
        }
    }
}
