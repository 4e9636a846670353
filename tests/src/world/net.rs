//! The network: what becomes of a datagram, by the dice, and a log of every packet sent to the node.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_rtp::packet::View;
use duolog_rtp::{RtpTimestamp, SeqNo};

use super::dice::Dice;

/// What a path does to datagrams.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// Every datagram takes at least this long.
    pub delay: Duration,
    /// And up to this much longer, evenly; a datagram never overtakes for this reason.
    pub jitter: Duration,
    /// Share that is lost, 0 to 1.
    pub loss: f64,
    /// Share that is held back so that later ones overtake it, 0 to 1.
    pub reorder: f64,
    /// For how long it is held back at most.
    pub held_back: Duration,
    /// Share that comes twice, 0 to 1.
    pub duplicate: f64,
}

impl Conditions {
    /// 5 ms, and nothing ever happens.
    #[must_use]
    pub fn clean() -> Conditions {
        Conditions {
            delay: Duration::from_millis(5),
            jitter: Duration::ZERO,
            loss: 0.0,
            reorder: 0.0,
            held_back: Duration::ZERO,
            duplicate: 0.0,
        }
    }
}

/// Signalling or media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// SIP.
    Sip,
    /// RTP and RTCP.
    Media,
}

/// One RTP packet that a phone sent to the node, and what became of it.
#[derive(Debug, Clone)]
pub struct Flight {
    /// Its sequence number.
    pub seq: SeqNo,
    /// Its time stamp.
    pub timestamp: RtpTimestamp,
    /// Where it went.
    pub to: SocketAddr,
    /// When it left.
    pub sent: Instant,
    /// When it arrived first; `None`: lost on the way.
    pub arrived: Option<Instant>,
}

/// The network around the node.
#[derive(Debug)]
pub struct Net {
    /// What happens to SIP.
    pub sip: Conditions,
    /// What happens to RTP and RTCP.
    pub media: Conditions,
    /// Everything from here is lost.
    pub cut_off: Option<SocketAddr>,
    dice: Dice,
    latest: HashMap<(SocketAddr, SocketAddr), Instant>,
    flights: HashMap<SocketAddr, Vec<Flight>>,
    /// Datagrams of each kind lost so far.
    lost: [u64; 2],
    overheard: [Vec<Bytes>; 2],
}

/// Datagrams of a kind that are remembered, the first ones.
const OVERHEARD: usize = 400;

impl Net {
    /// A network under these conditions.
    #[must_use]
    pub fn new(seed: u64, sip: Conditions, media: Conditions) -> Net {
        let (latest, flights) = (HashMap::new(), HashMap::new());
        Net {
            sip,
            media,
            cut_off: None,
            dice: Dice::new(seed),
            latest,
            flights,
            lost: [0; 2],
            overheard: [Vec::new(), Vec::new()],
        }
    }

    /// When a datagram sent at `now` arrives: never, once or twice.
    pub fn carry(
        &mut self,
        now: Instant,
        kind: Kind,
        (from, to): (SocketAddr, SocketAddr),
    ) -> Vec<Instant> {
        let path = match kind {
            Kind::Sip => self.sip,
            Kind::Media => self.media,
        };
        if self.cut_off == Some(from) || self.dice.falls(path.loss) {
            self.lost[kind as usize] += 1;
            return Vec::new();
        }
        let jitter = Duration::from_micros(self.dice.below(path.jitter.as_micros() as u64 + 1));
        let latest = self.latest.entry((from, to)).or_insert(now);
        let mut at = (now + path.delay + jitter).max(*latest);
        if self.dice.falls(path.reorder) {
            let most = path.held_back.as_micros() as u64;
            at += Duration::from_micros(self.dice.between(most / 2, most));
        } else {
            *latest = at;
        }
        let mut arrivals = vec![at];
        if self.dice.falls(path.duplicate) {
            arrivals.push(at + Duration::from_micros(self.dice.between(1, 30_000)));
        }
        arrivals
    }

    /// Remembers a datagram for tests that need examples.
    pub fn overhear(&mut self, kind: Kind, bytes: &Bytes) {
        let remembered = &mut self.overheard[kind as usize];
        if remembered.len() < OVERHEARD {
            remembered.push(bytes.clone());
        }
    }

    /// The first datagrams of a kind that phones sent.
    #[must_use]
    pub fn overheard(&self, kind: Kind) -> &[Bytes] {
        &self.overheard[kind as usize]
    }

    /// Notes an RTP packet from a phone and its fate.
    pub fn note(
        &mut self,
        (from, to): (SocketAddr, SocketAddr),
        sent: Instant,
        bytes: &[u8],
        arrivals: &[Instant],
    ) {
        if let Ok(view) = View::parse(bytes) {
            let arrived = arrivals.first().copied();
            let (seq, timestamp) = (view.seq(), view.timestamp());
            let flight = Flight {
                seq,
                timestamp,
                to,
                sent,
                arrived,
            };
            self.flights.entry(from).or_default().push(flight);
        }
    }

    /// Every RTP packet sent from this address, in order.
    #[must_use]
    pub fn flights(&self, from: SocketAddr) -> &[Flight] {
        self.flights.get(&from).map_or(&[], Vec::as_slice)
    }

    /// Datagrams lost so far: SIP, media.
    #[must_use]
    pub fn lost(&self) -> [u64; 2] {
        self.lost
    }
}
