//! What is asked of the DNS, and what it says: only what RFC 3263 needs.

use std::net::IpAddr;
use std::time::Duration;

/// The name of a query, picked by [`super::Hops`]; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// The family of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4: A records.
    V4,
    /// IPv6: AAAA records.
    V6,
}

impl Family {
    /// The family of an address. IPv4 addresses in IPv6 form count as IPv4.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// One question. Names are absolute, lower case, without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// NAPTR records of a domain.
    Naptr(String),
    /// SRV records of a service.
    Srv(String),
    /// A records, AAAA records, or both.
    Addresses {
        /// The host.
        name: String,
        /// The only family that is of use; `None` for both.
        family: Option<Family>,
    },
}

/// The records that answer one question, aliases followed, and how long they may be kept: the
/// smallest TTL of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// To [`Question::Naptr`].
    Naptr(Vec<Naptr>, Duration),
    /// To [`Question::Srv`].
    Srv(Vec<Srv>, Duration),
    /// To [`Question::Addresses`], in the order of the answer.
    Addresses(Vec<IpAddr>, Duration),
}

impl Records {
    /// How long they may be kept.
    pub fn ttl(&self) -> Duration {
        match self {
            Self::Naptr(_, ttl) | Self::Srv(_, ttl) | Self::Addresses(_, ttl) => *ttl,
        }
    }
}

/// One NAPTR record (RFC 3403 §4.1). Records with a regular expression are of no use to SIP and are
/// passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// The lowest goes first, and no other is looked at once it has led somewhere.
    pub order: u16,
    /// Within an order, the lowest goes first.
    pub preference: u16,
    /// What to look up next: `s` for SRV records.
    pub flags: String,
    /// The service and its transport, as `SIP+D2U`.
    pub service: String,
    /// The regular expression; empty where there is a replacement.
    pub regexp: String,
    /// The name to look up next.
    pub replacement: String,
}

/// One SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// The lowest goes first.
    pub priority: u16,
    /// Share of the choices within a priority.
    pub weight: u16,
    /// The port of the service.
    pub port: u16,
    /// The host; empty or `.` says that there is decidedly no such service here.
    pub target: String,
}

/// Why a question has no records for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupFailure {
    /// There is no such name, or it has no such records (RFC 2308).
    #[error("there are no such records")]
    Absent {
        /// How long that may be believed.
        ttl: Duration,
    },
    /// No name server answered, or not usefully.
    #[error("no name server gave an answer")]
    Failed,
}
