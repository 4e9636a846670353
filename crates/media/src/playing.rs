//! What a shard sends of its own: frames of prompts and tones, and digits.

use std::sync::Arc;
use std::time::Instant;

use duolog_audio::codec::{Codec, G729Library};
use duolog_audio::prompt::Prompt;
use duolog_audio::tone;
use duolog_rtp::PayloadType;
use duolog_rtp::event::Digit;
use duolog_rtp::packet::Marker;

use crate::PlayKey;
use crate::counters::DropReason;
use crate::digits::{Events, Row, Sending};
use crate::leg::Leg;
use crate::outbox::{Completion, Event, Outbox};
use crate::prompt::{Ear, Frame, Playing, Step};
use crate::send::{Post, send};
use crate::shard::Shard;
use crate::transcode::{LiveFrames, clock_of, rate_of};

/// G.729 is made for speech: it takes a key this long, in milliseconds, to be one behind it.
const LEAST_G729_KEY_MS: u32 = 100;
/// Silence before keys in a codec that predicts, until it has forgotten what was before: 120 ms.
const BEFORE_KEYS: [i16; 960] = [0; 960];

impl Shard {
    /// Sends the frames of prompts and tones that are due.
    pub(crate) fn send_due_frames(&mut self, now: Instant, index: usize, out: &mut Outbox) {
        let Some(leg) = self.legs.at_mut(index) else {
            return;
        };
        loop {
            let (ear, target) = ear_of(leg);
            match leg.players.step(now, ear) {
                Step::Rest => return,
                Step::Over(play) => tell_played(leg, play, Completion::Whole, out),
                Step::Unheard(play) => tell_played(leg, play, Completion::Cut, out),
                Step::Begins(play) => out.events.push(Event::Begun { leg: leg.key, play }),
                Step::Frame(due) => {
                    // What sounds under speech goes on in time even where nobody can hear it.
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
                        tell_played(leg, play, Completion::Whole, out);
                    }
                }
            }
        }
    }

    /// Sends the digits that are due.
    pub(crate) fn send_due_digits(&mut self, now: Instant, index: usize, out: &mut Outbox) {
        let Some(leg) = self.legs.at_mut(index) else {
            return;
        };
        let Some(mut sending) = leg.sending.take() else {
            return;
        };
        let mut post = Post {
            scratch: &mut self.scratch,
            out,
        };
        let g729 = self.settings.g729.as_ref();
        let made = match &mut sending.row {
            Row::Events(events) => send_events(leg, events, now, &mut post),
            Row::Tones(tones) => send_tones(leg, tones, now, &mut post, g729),
        };
        let (sent, refused) = made;
        self.counters.injected += sent;
        if let Some(reason) = refused {
            self.counters.drop(reason);
        }
        if !sending.is_over(now) {
            leg.sending = Some(sending);
        } else if let Some(digits) = sending.into_waiting()
            && begin_digits(leg, digits, now, g729).is_some()
        {
            self.send_due_digits(now, index, out);
        }
    }
}

/// Whether the leg's party hears what is sent to it now, and what that is sent in.
fn ear_of(leg: &Leg) -> (Ear, Option<(PayloadType, Codec)>) {
    let peer = leg.peer.as_ref();
    let peer = peer.filter(|peer| peer.direction.receives() && leg.can_send());
    let Some(peer) = peer else {
        return (Ear::Shut, None);
    };
    let target = peer.formats.speech();
    match (target, &leg.sending) {
        (None, _) => (Ear::Deaf, None),
        (Some(_), Some(_)) => (Ear::Busy, None),
        (Some(_), None) => (Ear::Open, target),
    }
}

/// Sends the telephone-events that are due; how many were, and why one was not.
fn send_events(
    leg: &mut Leg,
    events: &mut Events,
    now: Instant,
    post: &mut Post<'_>,
) -> (u64, Option<DropReason>) {
    // A party that holds hears no keys either; their time passes.
    let peer = leg.peer.as_ref().filter(|peer| peer.direction.receives());
    let event = peer.and_then(|peer| peer.formats.event());
    let event = event.filter(|_| leg.can_send());
    let (mut sent, mut refused) = (0, None);
    while let Some(due) = events.step(now) {
        let Some((number, _)) = event else { continue };
        let mut stamp = leg.outgoing.inject_at(due.timestamp, due.at, due.rate);
        stamp.marker = match due.marker {
            true => Marker::Set,
            false => Marker::Clear,
        };
        match send(leg, (number, stamp), &due.payload, now, post) {
            Ok(()) => sent += 1,
            Err(reason) => refused = Some(reason),
        }
    }
    (sent, refused)
}

/// Sends the frames of keys that are due, as [`send_events`].
fn send_tones(
    leg: &mut Leg,
    tones: &mut Playing,
    now: Instant,
    post: &mut Post<'_>,
    g729: Option<&G729Library>,
) -> (u64, Option<DropReason>) {
    let peer = leg.peer.as_ref().filter(|peer| peer.direction.receives());
    let target = peer.and_then(|peer| peer.formats.speech());
    let target = target.filter(|_| leg.can_send());
    let codec = target.map_or(Codec::Pcmu, |(_, codec)| codec);
    let (mut sent, mut refused) = (0, None);
    while let Some(frame) = tones.step(now, codec) {
        let Some(target) = target else { continue };
        match send_frame(leg, target, frame, now, post, g729) {
            Some(()) => sent += 1,
            None => refused = Some(DropReason::Codec),
        }
    }
    (sent, refused)
}

/// Begins a row of digits as the leg can take them: telephone-events in the clock it counts them by, or
/// tones in its codec. `None` where it can take neither.
pub(crate) fn begin_digits(
    leg: &mut Leg,
    digits: Vec<Digit>,
    now: Instant,
    g729: Option<&G729Library>,
) -> Option<()> {
    let formats = &leg.peer.as_ref()?.formats;
    let row = match formats.event() {
        Some((_, rate_hz)) => {
            let rate = rate_of(rate_hz);
            let first = leg.outgoing.begin_series(now, rate);
            Row::Events(Events::new(digits, (first, rate), now))
        }
        None => {
            let (_, codec) = formats.speech()?;
            let sound = key_sound(&digits, codec, g729)?;
            // Nobody asks what became of it.
            Row::Tones(Playing::new(PlayKey(0), Arc::new(sound), now))
        }
    };
    leg.interrupt();
    leg.sending = Some(Sending::new(row));
    Some(())
}

/// Keys as they sound to a party that speaks `codec`.
fn key_sound(digits: &[Digit], codec: Codec, g729: Option<&G729Library>) -> Option<Prompt> {
    let least_ms = match codec {
        Codec::G729 => LEAST_G729_KEY_MS,
        _ => 0,
    };
    let keys = digits
        .iter()
        .map(|key| (key.event, u32::from(key.duration_ms).max(least_ms)));
    let keys = tone::keys(&keys.collect::<Vec<_>>());
    if codec.law().is_some() {
        return Some(Prompt::from_linear(keys));
    }
    let mut sound = Prompt::from_linear([&BEFORE_KEYS[..], &keys].concat());
    sound.encode(&[codec], g729).ok()?;
    Some(sound)
}

fn tell_played(leg: &Leg, play: PlayKey, completion: Completion, out: &mut Outbox) {
    out.events.push(Event::Played {
        leg: leg.key,
        play,
        completion,
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
