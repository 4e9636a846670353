//! One packet's way to the other party: untouched where it can be, else made anew.

use std::time::Instant;

use duolog_audio::codec::{Codec, G729Library};
use duolog_audio::g711::{self, Law};
use duolog_rtp::packet;
use duolog_rtp::{PayloadType, source};

use crate::PlayKey;
use crate::command::Encoding;
use crate::counters::DropReason;
use crate::formats::Passage;
use crate::leg::Leg;
use crate::outbox::{Completion, Event, Outbox};
use crate::prompt::Players;
use crate::receive::Checked;
use crate::relay::{Passing, Stamp};
use crate::security::Protocol;
use crate::send::{Post, send};
use crate::tap::Content;
use crate::transcode::{Transcoding, Way, rate_of};

/// A packet that is to be brought to the other party.
pub(crate) struct Errand<'a, 'p> {
    pub(crate) now: Instant,
    pub(crate) packet: &'a Checked<'p>,
    pub(crate) g729: Option<&'a G729Library>,
    pub(crate) scratch: &'a mut Vec<u8>,
    pub(crate) out: &'a mut Outbox,
}

impl Errand<'_, '_> {
    /// Brings the packet to the peer of `leg`; how many packets went out.
    #[inline]
    pub(crate) fn pass(&mut self, leg: &mut Leg) -> Result<u64, DropReason> {
        let packet = self.packet;
        let peer = leg.peer.as_ref().ok_or(DropReason::NotConnected)?;
        if leg.players.replace_speech() || leg.sending.is_some() || !peer.direction.receives() {
            leg.outgoing.leave_out();
            leg.interrupt();
            return Err(DropReason::Suppressed);
        }
        let Some(passage) = peer.formats.passage(packet.encoding) else {
            leg.outgoing.leave_out();
            return Err(match packet.encoding {
                Encoding::ComfortNoise { .. } => DropReason::Suppressed,
                Encoding::Speech(_) => DropReason::Codec,
                Encoding::TelephoneEvent { .. } => DropReason::PayloadType,
            });
        };
        if leg.security.in_force.is_some() {
            if !leg.can_send() {
                leg.outgoing.leave_out();
                return Err(DropReason::SrtpMissing);
            }
            // Two plaintexts under one number give away what both hold (RFC 3711 §9.1); a copy may differ
            // from what it is a copy of, and a sound that went under the first went on since.
            if packet.arrival.kind == source::Kind::Duplicate {
                return Err(DropReason::Duplicate);
            }
        }
        match (passage, packet.content) {
            (Passage::Transcode(number, to), Content::Speech { codec: from, .. }) => {
                let ptime_ms = u32::from(peer.ptime_ms);
                self.make(leg, Way::new(from, (number, to), ptime_ms))
            }
            (Passage::Same(number), Content::Speech { codec, .. })
                if codec.law().is_none() && leg.players.is_under() =>
            {
                let ptime_ms = 1_000 * packet.ticks / packet.rate.hz();
                self.make(leg, Way::new(codec, (number, codec), ptime_ms))
            }
            _ => self.hand_on(leg, passage),
        }
    }

    /// Brings the packet to the peer as it is.
    #[inline]
    fn hand_on(&mut self, leg: &mut Leg, passage: Passage) -> Result<u64, DropReason> {
        let stamp = self.stamp(leg, passage)?;
        self.send_on(leg, passage, stamp)?;
        Ok(1)
    }

    /// Number and time stamp for a packet that goes on as it is.
    #[inline]
    fn stamp(&mut self, leg: &mut Leg, passage: Passage) -> Result<Stamp, DropReason> {
        let packet = self.packet;
        let untouched = Passing::untouched(&packet.arrival, packet.rate, packet.ticks);
        let movable = match packet.content {
            Content::Speech { .. } => true,
            _ => !matches!(passage, Passage::Event { .. }) && leg.outgoing.moves(packet.rate),
        };
        if movable {
            let stamp = leg.outgoing.relay(&untouched, self.now);
            return stamp.map_err(|_| DropReason::BehindInjection);
        }
        match packet.arrival.kind {
            source::Kind::New | source::Kind::Restarted => {}
            source::Kind::Reordered => return Err(DropReason::Late),
            source::Kind::Duplicate | source::Kind::Probation => return Err(DropReason::Duplicate),
        }
        let length = match (packet.content, passage) {
            (Content::Event { .. }, Passage::Event { from_hz, to_hz, .. }) => {
                (in_clock(packet.ticks, from_hz, to_hz), rate_of(to_hz))
            }
            (Content::Event { .. }, _) => (packet.ticks, packet.rate),
            _ => {
                leg.outgoing.leave_out();
                return Err(DropReason::Suppressed);
            }
        };
        let press = packet.arrival.timestamp;
        Ok(leg.outgoing.relay_key(press, length, self.now))
    }

    /// Sends the packet on as it is, but for what G.711 allows: the other law, and a sound under it.
    #[inline]
    fn send_on(&mut self, leg: &mut Leg, passage: Passage, stamp: Stamp) -> Result<(), DropReason> {
        let packet = self.packet;
        let peer = leg.peer.as_ref().ok_or(DropReason::NotConnected)?;
        let to = peer.rtp.destination();
        let copy = match leg.security.in_force {
            None => self.out.send(leg.ports.0, to, packet.datagram),
            Some(_) => {
                self.scratch.clear();
                self.scratch.extend_from_slice(packet.datagram);
                &mut self.scratch[..]
            }
        };
        let (ssrc, number) = (leg.outgoing.ssrc, passage.number());
        packet::rewrite(
            copy,
            ssrc,
            stamp.seq,
            stamp.timestamp,
            Some(number),
            stamp.marker,
        );
        let (at, payload_len) = (packet.view.payload_at(), packet.view.payload().len());
        let payload = &mut copy[at..at + payload_len];
        let mut over = None;
        // A key's packets all carry the instant of its press (RFC 4733 §2.2).
        let mut since = 0;
        match packet.content {
            Content::Speech { codec, .. } => {
                over = colour(
                    &mut leg.players,
                    self.now,
                    packet,
                    (codec, passage),
                    payload,
                );
            }
            Content::Event { .. } => {
                since = recount(packet.ticks, passage, payload);
                leg.players.wait_for_key(self.now);
            }
            Content::Unknown => leg.players.wait_for_key(self.now),
        }
        if let Some(secured) = &mut leg.security.in_force {
            secured.seal(Protocol::Rtp, self.scratch)?;
            self.out.send(leg.ports.0, to, self.scratch);
        }
        let timestamp = stamp.timestamp.plus(since);
        leg.rtcp.sent(payload_len, timestamp, self.now);
        if let Some(play) = over {
            self.tell_whole(leg, play);
        }
        Ok(())
    }

    /// Makes speech anew on the way to the peer; how many packets went out.
    #[cold]
    fn make(&mut self, leg: &mut Leg, way: Way) -> Result<u64, DropReason> {
        let packet = self.packet;
        let Content::Speech { payload, ticks, .. } = packet.content else {
            return Err(DropReason::Codec);
        };
        let before = leg.making.transcoding.take();
        let mut transcoding = match before {
            Some(before) if before.goes(way) => before,
            before => {
                // Time stamps that are made of another clock's have nothing to do with those before.
                leg.outgoing.leave_out();
                Box::new(Transcoding::new(way, before.as_deref(), self.g729))
            }
        };
        if !transcoding.can_be_made() && way.from == way.to {
            // Speech without the sound is better than neither.
            leg.making.transcoding = Some(transcoding);
            return self.hand_on(leg, Passage::Same(way.number));
        }
        let samples = ticks as usize;
        let add = leg.players.under(samples);
        let taken = transcoding.take(&packet.arrival, payload, add);
        let mut over = None;
        let sent = match taken {
            Ok(()) => {
                over = leg.players.passed(self.now, samples);
                self.send_made(leg, &mut transcoding, way.number)
            }
            Err(reason) => {
                if !matches!(reason, DropReason::Late | DropReason::Duplicate) {
                    leg.outgoing.leave_out();
                }
                Err(reason)
            }
        };
        leg.making.transcoding = Some(transcoding);
        if let Some(play) = over {
            self.tell_whole(leg, play);
        }
        sent
    }

    fn send_made(
        &mut self,
        leg: &mut Leg,
        transcoding: &mut Transcoding,
        number: PayloadType,
    ) -> Result<u64, DropReason> {
        let mut sent = 0;
        let mut refused = None;
        while let Some(passing) = transcoding.next() {
            let Ok(stamp) = leg.outgoing.relay(&passing, self.now) else {
                refused = Some(DropReason::BehindInjection);
                continue;
            };
            let mut post = Post {
                scratch: self.scratch,
                out: self.out,
            };
            let made = (number, stamp);
            match send(leg, made, &transcoding.payload, self.now, &mut post) {
                Ok(()) => sent += 1,
                Err(reason) => refused = Some(reason),
            }
        }
        match refused {
            Some(reason) if sent == 0 => Err(reason),
            _ => Ok(sent),
        }
    }

    fn tell_whole(&mut self, leg: &Leg, play: PlayKey) {
        self.out.events.push(Event::Played {
            leg: leg.key,
            play,
            completion: Completion::Whole,
        });
    }
}

/// Puts a relayed payload into the receiver's law, and what is played under it.
#[inline]
fn colour(
    players: &mut Players,
    now: Instant,
    packet: &Checked<'_>,
    (codec, passage): (Codec, Passage),
    payload: &mut [u8],
) -> Option<PlayKey> {
    let Some(mut law) = codec.law() else {
        // Every codec's packets are short: their samples fit any number.
        let Content::Speech { ticks, .. } = packet.content else {
            return None;
        };
        return players.passed(now, ticks as usize);
    };
    if let Passage::Recode(_, from, to) = passage {
        recode(payload, from, to);
        law = to;
    }
    // A copy that came twice must not use up the sound twice.
    match packet.arrival.kind {
        source::Kind::Duplicate => None,
        _ => players.pass(now, law, payload),
    }
}

fn recode(payload: &mut [u8], from: Law, to: Law) {
    for code in payload {
        *code = g711::encode(to, g711::decode(from, *code));
    }
}

/// Puts a key's duration into ticks of the receiver's clock; what it says then.
#[inline]
fn recount(ticks: u32, passage: Passage, payload: &mut [u8]) -> u32 {
    let Passage::Event { from_hz, to_hz, .. } = passage else {
        return ticks;
    };
    let ticks = in_clock(ticks, from_hz, to_hz);
    if let Some(field) = payload.get_mut(2..4) {
        // Held to what the field can say.
        field.copy_from_slice(&(ticks as u16).to_be_bytes());
    }
    ticks
}

/// A key's duration in another clock, at most what its field can hold (RFC 4733 §2.3.5).
fn in_clock(ticks: u32, from_hz: u32, to_hz: u32) -> u32 {
    let ticks = u64::from(ticks) * u64::from(to_hz) / u64::from(from_hz.max(1));
    ticks.min(u64::from(u16::MAX)) as u32
}
