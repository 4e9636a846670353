//! One datagram's way through a shard: latch, check, relay, tap.

use std::net::SocketAddr;
use std::time::Instant;

use duolog_audio::g711;
use duolog_rtp::event::TelephoneEvent;
use duolog_rtp::packet::{self, View};
use duolog_rtp::rtcp;
use duolog_rtp::{PayloadType, source};

use crate::PortId;
use crate::command::{Encoding, RtcpMux};
use crate::counters::DropReason;
use crate::formats::{self, Passage};
use crate::incoming::{Arrival, Stamped};
use crate::latch::Verdict;
use crate::leg::{Digits, Leg, Peer, PortUse};
use crate::outbox::{Completion, Connect, Event, Outbox};
use crate::settings::Sabotage;
use crate::shard::Shard;
use crate::tap::{Content, Desk};

/// Longest payload that is taken for speech: 200 ms.
const LONGEST_PAYLOAD: usize = 1_600;

/// A checked packet, ready to be relayed and recorded.
#[derive(Clone, Copy)]
struct Checked<'a> {
    arrival: Arrival,
    view: View<'a>,
    datagram: &'a [u8],
    encoding: Encoding,
    content: Content<'a>,
}

impl Shard {
    #[inline]
    pub(crate) fn take_datagram(
        &mut self,
        (now, arrived): (Instant, Instant),
        port: PortId,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let (index, port_use) = self.port_use(port).ok_or(DropReason::UnknownPort)?;
        let leg = self.legs.at_mut(index).ok_or(DropReason::UnknownPort)?;
        let peer = leg.peer.as_ref().ok_or(DropReason::NotConnected)?;
        let shared = peer.mux == RtcpMux::Shared && rtcp::is_rtcp(datagram);
        if port_use == PortUse::Rtcp || shared {
            return self.take_rtcp(arrived, index, from, datagram, out);
        }
        let checked = check(leg, now, arrived, from, datagram, out);
        let checked = match checked {
            Ok(checked) => checked,
            Err((reason, None)) => return Err(reason),
            Err((reason, Some(arrival))) => {
                self.tap(arrived, index, &arrival, Content::Unknown);
                if let Some(other) = self.bridged_mut(index) {
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
        if let Content::Event(_) = packet.content
            && self.take_event(now, from, packet, out)
        {
            return Ok(());
        }
        let Some(leg) = self.bridged_mut(from) else {
            return Ok(());
        };
        let peer = leg.peer.as_ref().ok_or(DropReason::NotConnected)?;
        if leg.players.replace_speech() || leg.sending.is_some() || !peer.direction.receives() {
            leg.outgoing.leave_out();
            return Err(DropReason::Suppressed);
        }
        let Some(passage) = peer.formats.passage(packet.encoding) else {
            leg.outgoing.leave_out();
            return Err(DropReason::PayloadType);
        };
        let payload_len = packet.view.payload().len();
        let (samples, since) = match packet.content {
            Content::Speech(..) => (payload_len as u32, 0),
            // A key's packets all carry the instant of its press (RFC 4733 §2.2).
            Content::Event(duration) => (u32::from(duration), u32::from(duration)),
            Content::Unknown => (0, 0),
        };
        let stamp = leg
            .outgoing
            .relay(&packet.arrival, samples, now)
            .map_err(|_| DropReason::BehindInjection)?;
        let number = match passage {
            Passage::Same(number) | Passage::Recode(number, ..) => number,
        };
        let copy = out.send(leg.ports.0, peer.rtp.destination(), packet.datagram);
        let (ssrc, marker) = (leg.outgoing.ssrc, stamp.marker);
        packet::rewrite(copy, ssrc, stamp.seq, stamp.timestamp, Some(number), marker);
        let at = packet.view.payload_at();
        let over = colour(leg, now, packet, passage, &mut copy[at..at + payload_len]);
        let timestamp = stamp.timestamp.plus(since);
        leg.rtcp.sent(payload_len, timestamp, now);
        if let Some(play) = over {
            let completion = Completion::Whole;
            out.events.push(Event::Played {
                leg: leg.key,
                play,
                completion,
            });
        }
        self.counters.relayed += 1;
        Ok(())
    }

    /// The leg that hears what comes from leg `from`.
    #[inline]
    fn bridged_mut(&mut self, from: usize) -> Option<&mut Leg> {
        let to = self.legs.at(from)?.bridged?;
        self.legs.at_mut(to)
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
        let Digits::Taken(collector) = &mut leg.digits else {
            return false;
        };
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
        if let Some(other) = self.bridged_mut(from) {
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
        if let Content::Speech(law, codes) = packet.content {
            let payload = &mut payload[..codes.len()];
            payload.copy_from_slice(codes);
            if let Some(other) = self.bridged_mut(from) {
                other.players.colour(law, payload);
            }
            content = Content::Speech(law, payload);
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
        Ok((_, Content::Speech(..))) => incoming.receive(&view, Stamped::Itself, arrived),
        // RTCP on the wrong port, noise of a third: only speech makes another source the present one.
        Err(reason) if incoming.is_foreign(view.ssrc()) => Err(reason),
        Ok(_) if incoming.is_foreign(view.ssrc()) => incoming.receive_key(&view, arrived),
        _ => incoming.receive(&view, Stamped::Otherwise, arrived),
    };
    let arrival = arrival.map_err(plain)?;
    let (encoding, content) = understood.map_err(|reason| (reason, Some(arrival)))?;
    leg.heard.timeout_told = false;
    if !leg.heard.first_told {
        leg.heard.first_told = true;
        out.events.push(Event::FirstPacket { leg: leg.key });
    }
    Ok(Checked {
        arrival,
        view,
        datagram,
        encoding,
        content,
    })
}

/// What a payload is, by what was negotiated.
#[inline]
fn understand<'a>(
    peer: &Peer,
    number: PayloadType,
    payload: &'a [u8],
) -> Result<(Encoding, Content<'a>), DropReason> {
    let encoding = peer.formats.encoding(number);
    let encoding = encoding.ok_or(DropReason::PayloadType)?;
    let content = match formats::law(encoding) {
        Some(law) if (1..=LONGEST_PAYLOAD).contains(&payload.len()) => {
            Content::Speech(law, payload)
        }
        Some(_) => return Err(DropReason::PayloadSize),
        None => match TelephoneEvent::parse(payload) {
            Ok(event) => Content::Event(event.duration_ticks),
            Err(_) => return Err(DropReason::PayloadSize),
        },
    };
    Ok((encoding, content))
}

/// Puts a relayed payload into the receiver's law, and what is played under it.
#[inline]
fn colour(
    leg: &mut Leg,
    now: Instant,
    packet: &Checked<'_>,
    passage: Passage,
    payload: &mut [u8],
) -> Option<crate::PlayKey> {
    let Content::Speech(mut law, _) = packet.content else {
        leg.players.wait_for_key(now);
        return None;
    };
    if let Passage::Recode(_, from, to) = passage {
        for code in payload.iter_mut() {
            *code = g711::encode(to, g711::decode(from, *code));
        }
        law = to;
    }
    // A copy that came twice must not use up the sound twice.
    match packet.arrival.kind {
        source::Kind::Duplicate => None,
        _ => leg.players.pass(now, law, payload),
    }
}
