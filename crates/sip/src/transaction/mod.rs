//! The four transactions of RFC 3261 §17 with the corrections of RFC 6026, as machines without
//! bytes: the endpoint keeps the messages, the machines say when to send which.

pub(crate) mod invite_client;
pub(crate) mod invite_server;
pub(crate) mod non_invite_client;
pub(crate) mod non_invite_server;
pub(crate) mod timers;

/// Why a client transaction ended without a final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientFailure {
    /// No final response in time: to be treated as 408 (RFC 3261 §8.1.3.1).
    Timeout,
    /// The transport failed: to be treated as 503 (RFC 3261 §8.1.3.1).
    Transport,
}

/// Why a server transaction ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerFailure {
    /// No ACK came within 64*T1: after a 2xx the dialog is to be ended with BYE (RFC 3261 §13.3.1.4).
    NoAck,
    /// The transport failed.
    Transport,
    /// The user gave no final answer to a non-INVITE request within 64*T1.
    Unanswered,
}
