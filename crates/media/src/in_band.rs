//! Keys of a party that has agreed on no telephone-events: heard in its speech, and kept out of what the
//! other party hears. What is recorded is what came.

use std::time::{Duration, Instant};

use duolog_audio::codec::{Codec, Decoder, G729Library, Silence};
use duolog_audio::dtmf::{Finding, LiveDetector, Pressed};
use duolog_rtp::RtpTimestamp;
use duolog_rtp::event::Digit;
use duolog_rtp::packet::View;
use duolog_rtp::source::Kind;

use crate::LegKey;
use crate::outbox::{Event, Outbox};
use crate::receive::Checked;
use crate::tap::Content;

/// A hole in the speech, in milliseconds, that a key may be held over: longer ones end it.
const LONGEST_HOLE_MS: u32 = 100;
/// A party that falls silent in the middle of a key has released it.
const SILENT_AFTER: Duration = Duration::from_millis(250);
/// The padding bit of an RTP header (RFC 3550 §5.1), in its first octet.
const PADDING: u8 = 0x20;
/// Opus is decoded at what is enough for keys, in Hz.
const OPUS_HZ: u32 = 8_000;

/// Listens for one party's keys.
pub(crate) struct KeyEar {
    codec: Codec,
    /// `None`: this codec can not be read here.
    hearing: Option<Hearing>,
    /// The row of packets that is heard, and the time stamp that follows.
    follows: Option<(u32, RtpTimestamp)>,
    /// What became of the newest packet: what it overtook goes the same way.
    finding: Finding,
    give_up: Option<Instant>,
    pressed: Vec<Pressed>,
    /// The last packet that was kept back, with silence in it.
    silent: Vec<u8>,
    payload: Vec<u8>,
}

struct Hearing {
    decoder: Decoder,
    detector: LiveDetector,
    silence: Silence,
    samples: Vec<i16>,
}

impl Hearing {
    fn of(codec: Codec, g729: Option<&G729Library>) -> Option<Hearing> {
        let rate_hz = match codec {
            Codec::Opus => OPUS_HZ,
            _ => codec.sample_rate_hz(),
        };
        Some(Hearing {
            decoder: Decoder::new(codec, rate_hz, g729).ok()?,
            detector: LiveDetector::new(rate_hz),
            silence: Silence::new(codec, g729).ok()?,
            samples: Vec::new(),
        })
    }
}

impl KeyEar {
    /// An ear that has heard nothing.
    pub(crate) fn new(g729: Option<&G729Library>) -> KeyEar {
        KeyEar {
            codec: Codec::Pcmu,
            hearing: Hearing::of(Codec::Pcmu, g729),
            follows: None,
            finding: Finding::Clear,
            give_up: None,
            pressed: Vec::new(),
            silent: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Hears a packet of speech; gives the one to be sent on in its place, where it has a key in it.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        packet: &Checked<'_>,
        g729: Option<&G729Library>,
    ) -> Finding {
        let Content::Speech { codec, payload, .. } = packet.content else {
            return Finding::Clear;
        };
        match packet.arrival.kind {
            Kind::New | Kind::Restarted => {}
            Kind::Reordered | Kind::Duplicate | Kind::Probation => return self.finding,
        }
        if codec != self.codec {
            self.release();
            (self.codec, self.hearing) = (codec, Hearing::of(codec, g729));
        }
        self.follow(packet);
        let Some(hearing) = &mut self.hearing else {
            return Finding::Clear;
        };
        hearing.samples.clear();
        self.finding = match hearing.decoder.decode(payload, &mut hearing.samples) {
            Ok(()) => hearing.detector.push(&hearing.samples, &mut self.pressed),
            // Nobody hears a key in what nobody can decode.
            Err(_) => Finding::Clear,
        };
        self.give_up = hearing.detector.is_open().then(|| now + SILENT_AFTER);
        self.finding
    }

    /// Sees whether the packet follows the one before.
    fn follow(&mut self, packet: &Checked<'_>) {
        let (arrival, rate) = (&packet.arrival, packet.rate);
        let follows = (arrival.run, arrival.timestamp.plus(packet.ticks));
        let hole = match self.follows.replace(follows) {
            Some((run, expected)) if run == arrival.run => arrival.timestamp.since(expected),
            Some(_) => -1,
            None => return,
        };
        let longest = rate.hz() * LONGEST_HOLE_MS / 1_000;
        match (u32::try_from(hole), &mut self.hearing) {
            (Ok(0), _) | (_, None) => {}
            (Ok(hole), Some(hearing)) if hole <= longest => {
                let samples = u64::from(hole) * u64::from(hearing.decoder.rate_hz());
                hearing.detector.skip(samples / u64::from(rate.hz()));
            }
            _ => self.release(),
        }
    }

    fn release(&mut self) {
        let hearing = self.hearing.as_mut();
        let pressed = hearing.and_then(|hearing| hearing.detector.release());
        self.pressed.extend(pressed);
        (self.finding, self.give_up) = (Finding::Clear, None);
    }

    /// The packet with silence in the place of its speech; `None` where its codec has no silence so long.
    pub(crate) fn silenced<'s>(&'s mut self, packet: &Checked<'_>) -> Option<Checked<'s>> {
        let Content::Speech { codec, ticks, .. } = packet.content else {
            return None;
        };
        let silence = &mut self.hearing.as_mut()?.silence;
        silence.payload(packet.ticks, &mut self.payload).ok()?;
        let head = packet.datagram.get(..packet.view.payload_at())?;
        self.silent.clear();
        self.silent.extend_from_slice(head);
        self.silent.extend_from_slice(&self.payload);
        *self.silent.first_mut()? &= !PADDING;
        let datagram = &self.silent[..];
        let view = View::parse(datagram).ok()?;
        let content = Content::Speech {
            codec,
            payload: view.payload(),
            ticks,
        };
        Some(Checked {
            arrival: packet.arrival,
            view,
            datagram,
            encoding: packet.encoding,
            content,
            rate: packet.rate,
            ticks: packet.ticks,
        })
    }

    /// When [`KeyEar::expire`] is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.give_up
    }

    /// Releases a key whose party has fallen silent.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.give_up.is_some_and(|at| at <= now) {
            self.release();
        }
    }

    /// Tells the keys that were released.
    pub(crate) fn tell(&mut self, leg: LegKey, out: &mut Outbox) {
        for pressed in self.pressed.drain(..) {
            let digit = Digit {
                event: pressed.event,
                duration_ms: pressed.duration_ms,
            };
            out.events.push(Event::Digit { leg, digit });
        }
    }
}
