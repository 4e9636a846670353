//! What a shard sends of its own: frames of prompts and tones, and telephone-events.

use std::time::Instant;

use duolog_audio::codec::{Codec, G729Library};
use duolog_rtp::PayloadType;
use duolog_rtp::packet::Marker;

use crate::PlayKey;
use crate::digits::Sending;
use crate::leg::Leg;
use crate::outbox::{Completion, Event, Outbox};
use crate::prompt::{Frame, Step};
use crate::send::{Post, send};
use crate::shard::Shard;
use crate::transcode::{LiveFrames, clock_of, rate_of};

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
                        .and_then(|peer| peer.formats.speech())
                        .filter(|_| leg.can_send());
                    // A sound goes on in time even where nobody can hear it.
                    let codec = target.map_or(Codec::Pcmu, |(_, codec)| codec);
                    let (frame, over) = leg.players.frame(codec);
                    if let Some(target) = target {
                        let scratch = &mut self.scratch;
                        let mut post = Post { scratch, out };
                        let g729 = self.settings.g729.as_ref();
                        if send_frame(leg, target, (frame, due), now, &mut post, g729).is_some() {
                            self.counters.injected += 1;
                        }
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
        // A party that holds hears no keys either; their time passes.
        let peer = leg.peer.as_ref().filter(|peer| peer.direction.receives());
        let event = peer.and_then(|peer| peer.formats.event());
        let event = event.filter(|_| leg.can_send());
        while let Some(due) = leg.sending.as_mut().and_then(|sending| sending.step(now)) {
            let Some((number, _)) = event else { continue };
            let mut stamp = leg.outgoing.inject_at(due.timestamp, due.at, due.rate);
            stamp.marker = match due.marker {
                true => Marker::Set,
                false => Marker::Clear,
            };
            let scratch = &mut self.scratch;
            let mut post = Post { scratch, out };
            match send(leg, (number, stamp), &due.payload, now, &mut post) {
                Ok(()) => self.counters.injected += 1,
                Err(reason) => self.counters.drop(reason),
            }
        }
        let over = leg.sending.take_if(|sending| sending.is_over(now));
        if let Some(digits) = over.and_then(Sending::into_waiting) {
            begin_digits(leg, digits, now);
            self.send_due_digits(now, index, out);
        }
    }
}

/// Begins a row of digits in the clock that the leg counts them by.
pub(crate) fn begin_digits(leg: &mut Leg, digits: Vec<duolog_rtp::event::Digit>, now: Instant) {
    let event = leg.peer.as_ref().and_then(|peer| peer.formats.event());
    let rate = rate_of(event.map_or(8_000, |(_, rate_hz)| rate_hz));
    let first = leg.outgoing.begin_series(now, rate);
    leg.interrupt();
    leg.sending = Some(Sending::new(digits, (first, rate), now));
}

fn tell_whole(leg: &Leg, play: PlayKey, out: &mut Outbox) {
    out.events.push(Event::Played {
        leg: leg.key,
        play,
        completion: Completion::Whole,
    });
}

/// Sends 20 ms of a sound; `None` if it could not be made.
fn send_frame(
    leg: &mut Leg,
    (number, codec): (PayloadType, Codec),
    (frame, due): (Frame, Instant),
    now: Instant,
    post: &mut Post<'_>,
    g729: Option<&G729Library>,
) -> Option<()> {
    leg.interrupt();
    let rate = clock_of(codec);
    let length = (rate.hz() / 50, rate);
    match frame {
        Frame::Codes(codes) => {
            let stamp = leg.outgoing.inject(length, due);
            send(leg, (number, stamp), &codes, now, post).ok()
        }
        Frame::Encoded(sound, index) => {
            let payload = sound.frames(codec)?.get(index)?;
            let stamp = leg.outgoing.inject(length, due);
            send(leg, (number, stamp), payload, now, post).ok()
        }
        Frame::ToEncode(mulaw) => {
            let live = leg.making.live.take().filter(|live| live.is_for(codec));
            let mut live = live.unwrap_or_else(|| Box::new(LiveFrames::new(codec, g729)));
            let sent = live.frame(&mulaw).and_then(|payload| {
                let stamp = leg.outgoing.inject(length, due);
                send(leg, (number, stamp), payload, now, post).ok()
            });
            leg.making.live = Some(live);
            sent
        }
    }
}
