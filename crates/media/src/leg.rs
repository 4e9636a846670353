//! One party's media: its peer, what it sends, what is sent to it, and what is played to it.

use std::time::{Duration, Instant};

use duolog_audio::codec::{Codec, G729Library};
use duolog_rtp::ClockRate;
use duolog_rtp::event::Collector;
use duolog_rtp::quality::{self, Equipment, Loss};
use duolog_rtp::rtcp::{Rtcp, RtcpSettings};
use duolog_rtp::source::Source;

use crate::command::{Direction, How, LegIdentity, PeerMedia, RtcpMux};
use crate::digits::Sending;
use crate::formats::{Formats, G729};
use crate::in_band::KeyEar;
use crate::incoming::Incoming;
use crate::latch::Latch;
use crate::outbox::{Connect, Outbox};
use crate::prompt::Players;
use crate::relay::Outgoing;
use crate::security::Protection;
use crate::settings::ShardSettings;
use crate::shard::LegFigures;
use crate::tap::Tap;
use crate::timers::Alarm;
use crate::transcode::{LiveFrames, Transcoding};
use crate::{LegKey, PortId};

/// What arrives at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortUse {
    Rtp,
    Rtcp,
}

/// Where a leg's digits go.
pub(crate) enum Digits {
    /// To the other party, untouched.
    Relayed,
    /// To the call's policy, and to nobody else.
    Taken(Taken),
}

/// How digits are taken.
pub(crate) struct Taken {
    /// Of telephone-events; it counts by this clock.
    pub(crate) collector: Collector,
    pub(crate) rate: ClockRate,
    /// Of keys that are heard, where telephone-events were not agreed on.
    pub(crate) ear: Option<Box<KeyEar>>,
}

impl Taken {
    pub(crate) fn new() -> Taken {
        Taken {
            collector: Collector::new(ClockRate::HZ_8000),
            rate: ClockRate::HZ_8000,
            ear: None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let ear = self.ear.as_ref().and_then(|ear| ear.deadline());
        [self.collector.deadline(), ear].into_iter().flatten().min()
    }
}

/// What was negotiated with the peer.
pub(crate) struct Peer {
    pub(crate) rtp: Latch,
    pub(crate) rtcp: Latch,
    pub(crate) mux: RtcpMux,
    pub(crate) formats: Formats,
    pub(crate) direction: Direction,
    /// How much speech it wants in a packet.
    pub(crate) ptime_ms: u8,
}

/// What few legs need and is large.
#[derive(Default)]
pub(crate) struct Making {
    /// Speech to the peer that has to be made anew.
    pub(crate) transcoding: Option<Box<Transcoding>>,
    /// Sounds that were not encoded before.
    pub(crate) live: Option<Box<LiveFrames>>,
}

/// When the peer was last heard, for the media time-out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    /// Last RTP packet, or when it became possible.
    pub(crate) last: Instant,
    pub(crate) first_told: bool,
    pub(crate) timeout_told: bool,
    /// What its peer spoke in last.
    pub(crate) codec: Option<Codec>,
}

pub(crate) struct Leg {
    pub(crate) key: LegKey,
    pub(crate) ports: (PortId, PortId),
    pub(crate) peer: Option<Peer>,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    pub(crate) rtcp: Rtcp,
    pub(crate) security: Protection,
    pub(crate) making: Making,
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
        settings: &ShardSettings,
    ) -> Leg {
        let outgoing = Outgoing::new(&identity);
        let seed = key.0 ^ u64::from(identity.ssrc.0) << 32;
        let reports = RtcpSettings {
            ssrc: identity.ssrc,
            cname: identity.cname,
            rate: ClockRate::HZ_8000,
            seed,
        };
        Leg {
            key,
            ports,
            peer: None,
            incoming: Incoming::new(settings.drift_correction),
            outgoing,
            rtcp: Rtcp::new(reports, now),
            security: Protection::default(),
            making: Making::default(),
            bridged: None,
            taps: Vec::with_capacity(2),
            digits: Digits::Relayed,
            players: Players::default(),
            sending: None,
            heard: Heard {
                last: now,
                first_told: false,
                timeout_told: false,
                codec: None,
            },
            alarm: Alarm::default(),
        }
    }

    /// Takes what was negotiated; opens the latches again where an address changed.
    pub(crate) fn connect(
        &mut self,
        now: Instant,
        media: &PeerMedia,
        g729: G729,
        out: &mut Outbox,
    ) {
        let formats = Formats::new(&media.formats, g729);
        self.security.renegotiate(media.security.as_ref(), now);
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
            ptime_ms: media.ptime_ms,
        });
    }

    /// Listens for keys in the speech of a peer that has no telephone-events for them.
    pub(crate) fn listen(&mut self, g729: Option<&G729Library>) {
        let peer = self.peer.as_ref();
        let wants = peer.is_some_and(|peer| peer.formats.event().is_none());
        if let Digits::Taken(taken) = &mut self.digits {
            taken.ear = match wants {
                true => taken
                    .ear
                    .take()
                    .or_else(|| Some(Box::new(KeyEar::new(g729)))),
                false => None,
            };
        }
    }

    /// Whether the peer can be sent to in the way that was agreed.
    #[inline]
    pub(crate) fn can_send(&self) -> bool {
        let secured = self.security.in_force.as_ref();
        secured.is_none_or(|secured| secured.can_seal())
    }

    /// A sound begins: a transcoder that was needed for the one before it begins anew.
    pub(crate) fn begin_under(&mut self, how: How) {
        let idle = |transcoding: &&mut Box<Transcoding>| transcoding.way.from == transcoding.way.to;
        if how == How::Under
            && !self.players.is_under()
            && let Some(transcoding) = self.making.transcoding.as_mut().filter(idle)
        {
            transcoding.forget();
        }
    }

    /// Speech to the peer is interrupted: what was under way of it is not sent later.
    #[inline]
    pub(crate) fn interrupt(&mut self) {
        if let Some(transcoding) = &mut self.making.transcoding {
            transcoding.forget();
        }
    }

    /// What is known of its media.
    pub(crate) fn figures(&self) -> LegFigures {
        let source = self.incoming.source();
        let received = source.map(Source::figures).unwrap_or_default();
        let reported = self.rtcp.peer();
        let round_trip = reported.and_then(|peer| peer.round_trip);
        let loss = Loss {
            expected: received.expected,
            lost: received.lost(),
            bursts: 0,
        };
        let equipment = match self.heard.codec {
            Some(Codec::G729) => Equipment::G729A,
            _ => Equipment::G711,
        };
        let one_way = round_trip.unwrap_or_default() / 2;
        LegFigures {
            received,
            reported,
            drift_ppm: self.incoming.timeline().drift_ppm(),
            jitter_ms: source.map(|source| {
                let ticks = f64::from(received.jitter_ticks);
                1_000.0 * ticks / f64::from(source.rate().hz())
            }),
            round_trip,
            mos: source.map(|_| quality::rate(equipment, loss, one_way).mos()),
        }
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
            Digits::Taken(taken) => taken.deadline(),
            Digits::Relayed => None,
        };
        [
            self.peer.as_ref().map(|_| self.rtcp.deadline()),
            self.silent_at(media_timeout),
            self.players.deadline(),
            self.sending.as_ref().map(Sending::deadline),
            self.security
                .in_force
                .as_ref()
                .and_then(|secured| secured.deadline()),
            collecting,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
