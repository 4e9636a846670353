//! One party's media: its peer, what it sends, what is sent to it, and what is played to it.

use std::time::{Duration, Instant};

use duolog_rtp::ClockRate;
use duolog_rtp::event::Collector;
use duolog_rtp::rtcp::{Rtcp, RtcpSettings};

use crate::command::{Direction, LegIdentity, PeerMedia, RtcpMux};
use crate::digits::Sending;
use crate::formats::Formats;
use crate::incoming::Incoming;
use crate::latch::Latch;
use crate::outbox::{Connect, Outbox};
use crate::prompt::Players;
use crate::relay::Outgoing;
use crate::tap::Tap;
use crate::timers::Alarm;
use crate::{LegKey, PortId};

/// What arrives at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortUse {
    Rtp,
    Rtcp,
}

/// Where a leg's telephone-events go.
pub(crate) enum Digits {
    /// To the other party, untouched.
    Relayed,
    /// To the call's policy, and to nobody else.
    Taken(Collector),
}

/// What was negotiated with the peer.
pub(crate) struct Peer {
    pub(crate) rtp: Latch,
    pub(crate) rtcp: Latch,
    pub(crate) mux: RtcpMux,
    pub(crate) formats: Formats,
    pub(crate) direction: Direction,
}

/// When the peer was last heard, for the media time-out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    /// Last RTP packet, or when it became possible.
    pub(crate) last: Instant,
    pub(crate) first_told: bool,
    pub(crate) timeout_told: bool,
}

pub(crate) struct Leg {
    pub(crate) key: LegKey,
    pub(crate) ports: (PortId, PortId),
    pub(crate) peer: Option<Peer>,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    pub(crate) rtcp: Rtcp,
    pub(crate) bridged: Option<usize>,
    pub(crate) taps: Vec<Tap>,
    pub(crate) digits: Digits,
    pub(crate) players: Players,
    pub(crate) sending: Option<Sending>,
    pub(crate) heard: Heard,
    pub(crate) alarm: Alarm,
}

impl Leg {
    pub(crate) fn new(
        key: LegKey,
        ports: (PortId, PortId),
        identity: LegIdentity,
        now: Instant,
    ) -> Leg {
        let outgoing = Outgoing::new(&identity);
        let seed = key.0 ^ u64::from(identity.ssrc.0) << 32;
        let settings = RtcpSettings {
            ssrc: identity.ssrc,
            cname: identity.cname,
            rate: ClockRate::HZ_8000,
            seed,
        };
        Leg {
            key,
            ports,
            peer: None,
            incoming: Incoming::new(),
            outgoing,
            rtcp: Rtcp::new(settings, now),
            bridged: None,
            taps: Vec::with_capacity(2),
            digits: Digits::Relayed,
            players: Players::default(),
            sending: None,
            heard: Heard {
                last: now,
                first_told: false,
                timeout_told: false,
            },
            alarm: Alarm::default(),
        }
    }

    /// Takes what was negotiated; opens the latches again where an address changed.
    pub(crate) fn connect(&mut self, now: Instant, media: &PeerMedia, out: &mut Outbox) {
        let formats = Formats::new(&media.formats);
        let from = media.signalled_from;
        let (mut rtp, mut rtcp) = (Latch::new(media.rtp, from), Latch::new(media.rtcp, from));
        if let Some(peer) = &self.peer {
            let (again, opened) = peer.rtp.renegotiated(media.rtp, from, now);
            rtp = again;
            let (again, rtcp_opened) = peer.rtcp.renegotiated(media.rtcp, from, now);
            rtcp = again;
            let ports = [(self.ports.0, opened), (self.ports.1, rtcp_opened)];
            for (port, _) in ports.into_iter().filter(|&(_, opened)| opened) {
                out.connects.push(Connect { port, peer: None });
            }
        }
        if self
            .peer
            .as_ref()
            .is_none_or(|peer| peer.direction != media.direction)
        {
            self.heard.last = now;
            self.heard.timeout_told = false;
        }
        self.peer = Some(Peer {
            rtp,
            rtcp,
            mux: media.rtcp_mux,
            formats,
            direction: media.direction,
        });
    }

    /// Whether the party is on hold or holds the other.
    pub(crate) fn is_held(&self) -> bool {
        self.peer
            .as_ref()
            .is_some_and(|peer| peer.direction != Direction::SendRecv)
    }

    /// When the peer has been silent for too long, if it ought to send and that was not told yet.
    pub(crate) fn silent_at(&self, timeout: Duration) -> Option<Instant> {
        let direction = self.peer.as_ref()?.direction;
        let sends = matches!(direction, Direction::SendRecv | Direction::SendOnly);
        (sends && !self.heard.timeout_told).then(|| self.heard.last + timeout)
    }

    /// When this leg next has something to do.
    pub(crate) fn deadline(&self, media_timeout: Duration) -> Option<Instant> {
        let collecting = match &self.digits {
            Digits::Taken(collector) => collector.deadline(),
            Digits::Relayed => None,
        };
        [
            self.peer.as_ref().map(|_| self.rtcp.deadline()),
            self.silent_at(media_timeout),
            self.players.deadline(),
            self.sending.as_ref().map(Sending::deadline),
            collecting,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
