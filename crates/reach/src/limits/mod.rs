//! How much one source may ask of this node.
//!
//! A source is an IPv4 address or an IPv6 /64. It has a bucket for each kind of message; what does not
//! fit is answered 503 at most once a second and then dropped, so that nothing is amplified. Bad
//! messages beyond their bucket shut a source out before anything of it is read.
//!
//! Sources are remembered up to a bound. One whose buckets are full again is forgotten for the next.
//! When there is none such, or newcomers come faster than people do, they share the buckets of the
//! crowd, and those that are remembered notice nothing: so it is when sources are forged.

mod bucket;
mod network;
mod table;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bucket::{Bucket, Buckets};
pub use network::{Network, NetworkError};
use table::Table;

/// A source whose bad messages did not fit is not read for this long.
const SHUT_OUT: Duration = Duration::from_secs(30);

/// Between two answers to a source that is over its limit.
const ANSWER_EVERY: Duration = Duration::from_secs(1);

/// The crowd may ask for as much as this many single sources.
const CROWD: f32 = 32.0;

/// Sources that may begin to be remembered: all phones of a large site at once, and then more than
/// ever come.
const NEWCOMERS: Rate = Rate {
    per_s: 1000.0,
    burst: 10_000.0,
};

/// A bucket: how fast it fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Messages per second for ever; more than 0.
    pub per_s: f32,
    /// Messages at once after a rest; at least 1 for any to pass.
    pub burst: f32,
}

/// The buckets of one source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// INVITE outside dialogs.
    pub invites: Rate,
    /// REGISTER.
    pub registers: Rate,
    /// Everything else that can be read.
    pub others: Rate,
    /// What can not be read.
    pub bad: Rate,
}

/// What the operator allows.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitSettings {
    /// The only networks that are heard; none for all.
    pub allow: Vec<Network>,
    /// Networks that are not heard, even where `allow` has them.
    pub deny: Vec<Network>,
    /// For each source that is not a neighbour.
    pub strangers: Rates,
    /// For each neighbour.
    pub neighbours: Rates,
    /// Sources remembered of each standing; at least 1.
    pub sources: usize,
}

impl Default for LimitSettings {
    /// Strangers: an office whose phones all come back at once behind one address can register.
    /// Neighbours: a trunk with a thousand calls a second in a burst. 65,536 sources.
    fn default() -> Self {
        let rate = |per_s, burst| Rate { per_s, burst };
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            strangers: Rates {
                invites: rate(5.0, 20.0),
                registers: rate(20.0, 400.0),
                others: rate(20.0, 100.0),
                bad: rate(2.0, 20.0),
            },
            neighbours: Rates {
                invites: rate(500.0, 1000.0),
                registers: rate(200.0, 2000.0),
                others: rate(5000.0, 10_000.0),
                bad: rate(50.0, 500.0),
            },
            sources: 65_536,
        }
    }
}

/// Who a source is to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The address of a trunk, or of a phone that has registered.
    Neighbour,
    /// Anybody else.
    Stranger,
}

/// What a message is to the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// INVITE outside dialogs.
    Invite,
    /// REGISTER.
    Register,
    /// Everything else that can be read.
    Other,
    /// What can not be read.
    Bad,
}

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on with it.
    Pass,
    /// Answer a request with 503; drop anything else.
    Limited,
    /// Drop it and say nothing.
    Drop,
}

/// The limits of every source. One owner; time is an argument.
#[derive(Debug)]
pub struct Limits {
    allow: Vec<Network>,
    deny: Vec<Network>,
    neighbours: Ring,
    strangers: Ring,
    /// After this nobody is shut out.
    shut_until: Option<Instant>,
}

/// The sources of one standing.
#[derive(Debug)]
struct Ring {
    rates: Rates,
    table: Table,
    newcomers: Bucket,
    crowd: Buckets,
}

impl Limits {
    /// Nobody has asked for anything yet.
    pub fn new(settings: LimitSettings) -> Self {
        let sources = settings.sources.max(1);
        Self {
            allow: settings.allow,
            deny: settings.deny,
            neighbours: Ring::new(settings.neighbours, sources),
            strangers: Ring::new(settings.strangers, sources),
            shut_until: None,
        }
    }

    /// Whether a message is read at all: by the networks, and by whether this source's bad messages have
    /// shut it out. Never [`Verdict::Limited`].
    pub fn arrives(&mut self, now: Instant, source: IpAddr) -> Verdict {
        let within = |networks: &[Network]| networks.iter().any(|n| n.contains(source));
        if within(&self.deny) || !(self.allow.is_empty() || within(&self.allow)) {
            return Verdict::Drop;
        }
        if self.shut_until.is_none_or(|until| now >= until) {
            return Verdict::Pass;
        }
        let key = key(source);
        // A neighbour at the same address, as behind one NAT, or whose address is forged, is heard.
        let is_shut = |ring: &Ring| ring.table.peek(key).is_some_and(|b| b.is_shut(now));
        match is_shut(&self.strangers) && self.neighbours.table.peek(key).is_none() {
            true => Verdict::Drop,
            false => Verdict::Pass,
        }
    }

    /// Counts a message that has been read, or could not be.
    pub fn counts(
        &mut self,
        now: Instant,
        source: IpAddr,
        standing: Standing,
        kind: Kind,
    ) -> Verdict {
        let ring = match standing {
            Standing::Neighbour => &mut self.neighbours,
            Standing::Stranger => &mut self.strangers,
        };
        let (buckets, rates) = ring.buckets(now, key(source));
        if buckets.take(now, kind, &rates) {
            return Verdict::Pass;
        }
        match (kind, standing) {
            (Kind::Bad, Standing::Stranger) => {
                buckets.shut_until(now + SHUT_OUT);
                self.shut_until = Some(now + SHUT_OUT);
                Verdict::Drop
            }
            (Kind::Bad, Standing::Neighbour) => Verdict::Drop,
            _ if buckets.may_answer(now, ANSWER_EVERY) => Verdict::Limited,
            _ => Verdict::Drop,
        }
    }

    /// Sources remembered, of both standings.
    pub fn sources(&self) -> usize {
        self.neighbours.table.len() + self.strangers.table.len()
    }
}

impl Ring {
    fn new(rates: Rates, sources: usize) -> Self {
        Self {
            rates,
            table: Table::new(sources),
            newcomers: Bucket::full(NEWCOMERS),
            crowd: Buckets::full(&rates.times(CROWD), None),
        }
    }

    /// The buckets of a source, or of the crowd.
    fn buckets(&mut self, now: Instant, key: u64) -> (&mut Buckets, Rates) {
        match self.table.find(now, key, &self.rates, &mut self.newcomers) {
            Some(buckets) => (buckets, self.rates),
            None => (&mut self.crowd, self.rates.times(CROWD)),
        }
    }
}

impl Rates {
    fn times(&self, factor: f32) -> Self {
        let times = |rate: Rate| Rate {
            per_s: rate.per_s * factor,
            burst: rate.burst * factor,
        };
        Self {
            invites: times(self.invites),
            registers: times(self.registers),
            others: times(self.others),
            bad: times(self.bad),
        }
    }
}

/// A source: an IPv4 address, behind 32 bits that no IPv6 unicast address begins with, or the network
/// half of an IPv6 address, because one subscriber has all of it.
fn key(source: IpAddr) -> u64 {
    match source.to_canonical() {
        IpAddr::V4(v4) => (0xffff_ffff << 32) | u64::from(u32::from(v4)),
        IpAddr::V6(v6) => u64::try_from(u128::from(v6) >> 64).unwrap_or(0),
    }
}
