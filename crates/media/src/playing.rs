//! What a shard sends of its own: frames of prompts and tones, and telephone-events.

use std::time::Instant;

use duolog_audio::g711::Law;
use duolog_rtp::PayloadType;
use duolog_rtp::packet::{self, FIXED_HEADER_LEN, Marker};

use crate::PlayKey;
use crate::digits::Sending;
use crate::leg::Leg;
use crate::outbox::{Completion, Event, Outbox};
use crate::prompt::{FRAME_SAMPLES, Step};
use crate::relay::Stamp;
use crate::shard::Shard;

impl Shard {
    /// Sends the frames of prompts and tones that are due.
    pub(crate) fn send_due_frames(&mut self, now: Instant, index: usize, out: &mut Outbox) {
        let Some(leg) = self.legs.at_mut(index) else {
            return;
        };
        loop {
            match leg.players.step(now) {
                Step::Rest => return,
                Step::Over(play) => tell_whole(leg, play, out),
                Step::Frame(due) => {
                    let target = leg
                        .peer
                        .as_ref()
                        .filter(|peer| peer.direction.receives() && leg.sending.is_none())
                        .and_then(|peer| peer.formats.speech());
                    // A sound goes on in time even where nobody can hear it.
                    let law = target.map_or(Law::Mulaw, |(_, law)| law);
                    let (frame, over) = leg.players.frame(law);
                    if let Some((number, _)) = target {
                        let stamp = leg.outgoing.inject(FRAME_SAMPLES as u32, due);
                        send(leg, number, stamp, &frame, now, out);
                        self.counters.injected += 1;
                    }
                    if let Some(play) = over {
                        tell_whole(leg, play, out);
                    }
                }
            }
        }
    }

    /// Sends the telephone-events that are due.
    pub(crate) fn send_due_digits(&mut self, now: Instant, index: usize, out: &mut Outbox) {
        let Some(leg) = self.legs.at_mut(index) else {
            return;
        };
        let number = leg.peer.as_ref().and_then(|peer| peer.formats.event());
        while let Some(due) = leg.sending.as_mut().and_then(|sending| sending.step(now)) {
            let Some(number) = number else { continue };
            let mut stamp = leg.outgoing.inject_at(due.timestamp, due.at);
            stamp.marker = match due.marker {
                true => Marker::Set,
                false => Marker::Clear,
            };
            send(leg, number, stamp, &due.payload, now, out);
            self.counters.injected += 1;
        }
        let over = leg.sending.take_if(|sending| sending.is_over(now));
        if let Some(digits) = over.and_then(Sending::into_waiting) {
            let first = leg.outgoing.begin_series(now);
            leg.sending = Some(Sending::new(digits, first, now));
            self.send_due_digits(now, index, out);
        }
    }
}

fn tell_whole(leg: &Leg, play: PlayKey, out: &mut Outbox) {
    out.events.push(Event::Played {
        leg: leg.key,
        play,
        completion: Completion::Whole,
    });
}

/// Sends a packet made here to the leg's peer.
fn send(
    leg: &mut Leg,
    number: PayloadType,
    stamp: Stamp,
    payload: &[u8],
    now: Instant,
    out: &mut Outbox,
) {
    let Some(peer) = &leg.peer else { return };
    let mut buffer = [0; FIXED_HEADER_LEN + FRAME_SAMPLES];
    let made = packet::Outgoing {
        ssrc: leg.outgoing.ssrc,
        seq: stamp.seq,
        timestamp: stamp.timestamp,
        payload_type: number,
        marker: stamp.marker == Marker::Set,
        payload,
    };
    let Ok(len) = made.write(&mut buffer) else {
        panic!("a frame or an event fits the buffer made for a frame");
    };
    out.send(leg.ports.0, peer.rtp.destination(), &buffer[..len]);
    leg.rtcp.sent(payload.len(), stamp.timestamp, now);
}
