//! One datagram's way through a shard: open, latch, check, relay, tap.

use std::net::SocketAddr;
use std::time::Instant;

use duolog_audio::codec::Codec;
use duolog_audio::dtmf::Finding;
use duolog_rtp::event::{Collector, TelephoneEvent};
use duolog_rtp::packet::View;
use duolog_rtp::rtcp;
use duolog_rtp::{ClockRate, PayloadType};

use crate::PortId;
use crate::command::{Encoding, RtcpMux};
use crate::counters::DropReason;
use crate::in_band::KeyEar;
use crate::incoming::{Arrival, Stamped};
use crate::latch::Verdict;
use crate::leg::{Digits, Leg, Peer, PortUse, Taken};
use crate::outbox::{Connect, Event, Outbox};
use crate::pass::Errand;
use crate::security::Protocol;
use crate::settings::Sabotage;
use crate::shard::Shard;
use crate::slab::Slab;
use crate::tap::{Content, Desk};
use crate::transcode::rate_of;

/// Ticks per second of everything that is recorded.
const TICK_HZ: u32 = 8_000;
/// Longest G.711 payload that is taken for speech: 200 ms.
const LONGEST_PAYLOAD: usize = 1_600;

/// A checked packet, ready to be relayed and recorded.
#[derive(Clone, Copy)]
pub(crate) struct Checked<'a> {
    pub(crate) arrival: Arrival,
    pub(crate) view: View<'a>,
    pub(crate) datagram: &'a [u8],
    pub(crate) encoding: Encoding,
    pub(crate) content: Content<'a>,
    /// The clock of its time stamps, and how many ticks of it the packet lasts.
    pub(crate) rate: ClockRate,
    pub(crate) ticks: u32,
}

/// What a payload is.
#[derive(Clone, Copy)]
struct Understood<'a> {
    encoding: Encoding,
    content: Content<'a>,
    rate: ClockRate,
    ticks: u32,
}

impl Shard {
    #[inline]
    pub(crate) fn take_datagram(
        &mut self,
        (now, arrived): (Instant, Instant),
        port: PortId,
        from: SocketAddr,
        datagram: &mut [u8],
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let (index, port_use) = self.port_use(port).ok_or(DropReason::UnknownPort)?;
        let leg = self.legs.at_mut(index).ok_or(DropReason::UnknownPort)?;
        let peer = leg.peer.as_ref().ok_or(DropReason::NotConnected)?;
        let shared = peer.mux == RtcpMux::Shared && rtcp::is_rtcp(datagram);
        let protocol = match port_use == PortUse::Rtcp || shared {
            true => Protocol::Rtcp,
            false => Protocol::Rtp,
        };
        let mut len = datagram.len();
        if leg.security.in_force.is_some() {
            let what = (index, port_use, protocol);
            match self.open_datagram(now, what, from, datagram, out)? {
                Some(opened) => len = opened,
                None => return Ok(()),
            }
        }
        // What was opened is not longer than what it was opened from.
        let datagram = datagram.get(..len).ok_or(DropReason::Malformed)?;
        if protocol == Protocol::Rtcp {
            return self.take_rtcp(arrived, index, from, datagram, out);
        }
        self.take_rtp((now, arrived), index, from, datagram, out)
    }

    #[inline]
    fn take_rtp(
        &mut self,
        (now, arrived): (Instant, Instant),
        index: usize,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let leg = self.legs.at_mut(index).ok_or(DropReason::UnknownPort)?;
        let checked = match check(leg, now, arrived, from, datagram, out) {
            Ok(checked) => checked,
            Err((reason, None)) => return Err(reason),
            Err((reason, Some(arrival))) => {
                self.tap(arrived, index, &arrival, Content::Unknown);
                if let Some(other) = bridged_mut(&mut self.legs, index) {
                    other.outgoing.leave_out();
                }
                return Err(reason);
            }
        };
        if self.settings.sabotage == Sabotage::InjectBeforeTap {
            self.tap_coloured(arrived, index, &checked);
            return self.relay(now, index, &checked, out);
        }
        let relayed = self.relay(now, index, &checked, out);
        self.tap(arrived, index, &checked.arrival, checked.content);
        relayed
    }

    /// Passes a packet on to the other leg.
    #[inline]
    fn relay(
        &mut self,
        now: Instant,
        from: usize,
        packet: &Checked<'_>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        if let Content::Event { .. } = packet.content
            && self.take_event(now, from, packet, out)
        {
            return Ok(());
        }
        if let Some(Leg {
            digits: Digits::Taken(taken),
            ..
        }) = self.legs.at_mut(from)
            && let Content::Speech { .. } = packet.content
            && let Some(ear) = taken.ear.take()
        {
            return self.relay_listening(now, from, packet, ear, out);
        }
        self.pass_on(now, from, packet, out)
    }

    /// Passes a packet of speech on, without the key that may sound in it.
    #[cold]
    fn relay_listening(
        &mut self,
        now: Instant,
        from: usize,
        packet: &Checked<'_>,
        mut ear: Box<KeyEar>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let relayed = match ear.hear(now, packet, self.settings.g729.as_ref()) {
            Finding::Clear => self.pass_on(now, from, packet, out),
            Finding::Key => match ear.silenced(packet) {
                Some(silenced) => self.pass_on(now, from, &silenced, out),
                None => {
                    if let Some(other) = bridged_mut(&mut self.legs, from) {
                        other.outgoing.leave_out();
                    }
                    Err(DropReason::Suppressed)
                }
            },
        };
        if let Some(leg) = self.legs.at_mut(from) {
            ear.tell(leg.key, out);
            if let Digits::Taken(taken) = &mut leg.digits {
                taken.ear = Some(ear);
            }
        }
        self.schedule_leg(from);
        relayed
    }

    /// Sends a packet to the other leg, if there is one.
    #[inline]
    fn pass_on(
        &mut self,
        now: Instant,
        from: usize,
        packet: &Checked<'_>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let Some(leg) = bridged_mut(&mut self.legs, from) else {
            return Ok(());
        };
        let mut errand = Errand {
            now,
            packet,
            g729: self.settings.g729.as_ref(),
            scratch: &mut self.scratch,
            out,
        };
        self.counters.relayed += errand.pass(leg)?;
        Ok(())
    }

    /// Gives a telephone-event to the policy if it wants this leg's digits; then it goes no further.
    fn take_event(
        &mut self,
        now: Instant,
        from: usize,
        packet: &Checked<'_>,
        out: &mut Outbox,
    ) -> bool {
        let Some(leg) = self.legs.at_mut(from) else {
            return false;
        };
        let Digits::Taken(Taken {
            collector, rate, ..
        }) = &mut leg.digits
        else {
            return false;
        };
        if *rate != packet.rate && collector.deadline().is_none() {
            (*collector, *rate) = (Collector::new(packet.rate), packet.rate);
        }
        if let Ok(event) = TelephoneEvent::parse(packet.view.payload()) {
            let told = collector.receive(now, packet.arrival.timestamp, event);
            for digit in told.into_iter().flatten() {
                out.events.push(Event::Digit {
                    leg: leg.key,
                    digit,
                });
            }
        }
        self.schedule_leg(from);
        if let Some(other) = bridged_mut(&mut self.legs, from) {
            other.outgoing.leave_out();
        }
        true
    }

    /// Copies a packet to every recording of its leg.
    #[inline]
    fn tap(&mut self, arrived: Instant, from: usize, arrival: &Arrival, content: Content<'_>) {
        let Some(Leg { taps, incoming, .. }) = self.legs.at_mut(from) else {
            return;
        };
        for tap in taps {
            let Some(recording) = self.recordings.at_mut(tap.recording) else {
                continue;
            };
            let desk = Desk {
                bench: &mut self.bench,
                entries: &mut self.entries,
                counters: &mut self.counters,
            };
            let track = &mut recording.track;
            tap.take(arrived, arrival, content, incoming, track, desk);
        }
    }

    /// The fault of tapping behind the injection, put in on purpose by tests.
    fn tap_coloured(&mut self, arrived: Instant, from: usize, packet: &Checked<'_>) {
        let mut payload = [0; LONGEST_PAYLOAD];
        let mut content = packet.content;
        if let Content::Speech {
            codec,
            payload: codes,
            ticks,
        } = packet.content
            && let Some(law) = codec.law()
        {
            let payload = &mut payload[..codes.len()];
            payload.copy_from_slice(codes);
            if let Some(other) = bridged_mut(&mut self.legs, from) {
                other.players.colour(law, payload);
            }
            content = Content::Speech {
                codec,
                payload,
                ticks,
            };
        }
        self.tap(arrived, from, &packet.arrival, content);
    }
}

/// Checks where a packet comes from and what it is; with the arrival where it counts for its source
/// although it can not be used.
#[inline]
fn check<'a>(
    leg: &mut Leg,
    now: Instant,
    arrived: Instant,
    from: SocketAddr,
    datagram: &'a [u8],
    out: &mut Outbox,
) -> Result<Checked<'a>, (DropReason, Option<Arrival>)> {
    let plain = |reason| (reason, None);
    let Some(peer) = &mut leg.peer else {
        return Err(plain(DropReason::NotConnected));
    };
    let verdict = peer.rtp.judge(from, now);
    if verdict == Verdict::Stranger {
        return Err(plain(DropReason::WrongAddress));
    }
    let view = View::parse(datagram).map_err(|_| plain(DropReason::Malformed))?;
    let understood = understand(peer, view.payload_type(), view.payload());
    if verdict == Verdict::Candidate {
        understood.map_err(plain)?;
        peer.rtp.latch(from);
        out.connects.push(Connect {
            port: leg.ports.0,
            peer: Some(from),
        });
    }
    // Keep-alives without speech count too (RFC 6263 §4).
    leg.heard.last = now;
    let incoming = &mut leg.incoming;
    let arrival = match understood {
        Ok(Understood {
            content: Content::Speech { .. },
            rate,
            ticks,
            ..
        }) => incoming.receive(&view, Stamped::Itself { ticks, rate }, arrived),
        // RTCP on the wrong port, noise of a third: only speech makes another source the present one.
        Err(reason) if incoming.is_foreign(view.ssrc()) => Err(reason),
        Ok(Understood {
            content: Content::Unknown,
            rate,
            ticks,
            ..
        }) => match incoming.is_foreign(view.ssrc()) {
            true => Err(DropReason::PayloadType),
            false => incoming.receive(&view, Stamped::Itself { ticks, rate }, arrived),
        },
        Ok(_) if incoming.is_foreign(view.ssrc()) => incoming.receive_key(&view, arrived),
        _ => incoming.receive(&view, Stamped::Otherwise, arrived),
    };
    let arrival = arrival.map_err(plain)?;
    let understood = understood.map_err(|reason| (reason, Some(arrival)))?;
    leg.heard.timeout_told = false;
    if let Content::Speech { codec, .. } = understood.content {
        leg.heard.codec = Some(codec);
    }
    if !leg.heard.first_told {
        leg.heard.first_told = true;
        out.events.push(Event::FirstPacket { leg: leg.key });
    }
    Ok(Checked {
        arrival,
        view,
        datagram,
        encoding: understood.encoding,
        content: understood.content,
        rate: understood.rate,
        ticks: understood.ticks,
    })
}

/// What a payload is, by what was negotiated.
#[inline]
fn understand<'a>(
    peer: &Peer,
    number: PayloadType,
    payload: &'a [u8],
) -> Result<Understood<'a>, DropReason> {
    let encoding = peer.formats.encoding(number);
    let encoding = encoding.ok_or(DropReason::PayloadType)?;
    let (content, rate, ticks) = match encoding {
        Encoding::Speech(codec @ (Codec::Pcmu | Codec::Pcma)) => {
            if !(1..=LONGEST_PAYLOAD).contains(&payload.len()) {
                return Err(DropReason::PayloadSize);
            }
            // An octet of G.711 is a sample and a tick.
            let ticks = payload.len() as u32;
            let speech = Content::Speech {
                codec,
                payload,
                ticks,
            };
            (speech, ClockRate::HZ_8000, ticks)
        }
        Encoding::Speech(codec) => {
            let ticks = codec.ticks(payload).ok_or(DropReason::PayloadSize)?;
            let rate = rate_of(codec.clock_rate_hz());
            let speech = Content::Speech {
                codec,
                payload,
                ticks: in_ticks(ticks, rate),
            };
            (speech, rate, ticks)
        }
        Encoding::TelephoneEvent { rate_hz } => {
            let event = TelephoneEvent::parse(payload).map_err(|_| DropReason::PayloadSize)?;
            let (rate, ticks) = (rate_of(rate_hz), u32::from(event.duration_ticks));
            let ticks_kept = in_ticks(ticks, rate);
            (Content::Event { ticks: ticks_kept }, rate, ticks)
        }
        Encoding::ComfortNoise { rate_hz } => (Content::Unknown, rate_of(rate_hz), 0),
    };
    Ok(Understood {
        encoding,
        content,
        rate,
        ticks,
    })
}

/// A length in ticks of `rate` in 1/8000 s, to the nearest.
fn in_ticks(ticks: u32, rate: ClockRate) -> u32 {
    let hz = u64::from(rate.hz());
    // A packet lasts seconds at most.
    ((u64::from(ticks) * u64::from(TICK_HZ) + hz / 2) / hz) as u32
}

/// The leg that hears what comes from leg `from`.
#[inline]
fn bridged_mut(legs: &mut Slab<Leg>, from: usize) -> Option<&mut Leg> {
    let to = legs.at(from)?.bridged?;
    legs.at_mut(to)
}
