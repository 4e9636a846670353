//! Speech on its way to one leg that has to be made anew: because the other leg speaks another codec,
//! or because a sound is to be heard under speech that can not be added to as it is.
//!
//! Nothing is held back but what is needed to fill a packet of the receiver's length: the network's
//! jitter is passed on. A packet that is overtaken by another is not heard; it is recorded all the same.

use duolog_audio::codec::{Codec, G729Library};
use duolog_audio::transcode::Transcoder;
use duolog_rtp::source::Kind;
use duolog_rtp::{ClockRate, PayloadType, RtpTimestamp};

use crate::counters::DropReason;
use crate::incoming::Arrival;
use crate::relay::{MADE_HERE, Passing};

/// Ticks per second that a [`Transcoder`] counts in.
const TRANSCODER_HZ: u64 = 48_000;
/// One wrap up, so that what came before the first packet has a time too.
const FIRST_CYCLE: u64 = 1 << 32;

/// From what into what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) from: Codec,
    pub(crate) to: Codec,
    pub(crate) number: PayloadType,
    /// Length of the packets that go out: what the peer asked for, as far as the codec has it.
    pub(crate) frame_ms: u32,
}

impl Way {
    /// Into packets of about `ptime_ms`.
    pub(crate) fn new(from: Codec, (number, to): (PayloadType, Codec), ptime_ms: u32) -> Way {
        let tens = (ptime_ms / 10).clamp(1, 6);
        let frame_ms = match (to, tens) {
            // Opus has no frames of 30 and 50 ms (RFC 6716 §2.1.4).
            (Codec::Opus, 3) => 20,
            (Codec::Opus, 5) => 40,
            _ => 10 * tens,
        };
        Way {
            from,
            to,
            number,
            frame_ms,
        }
    }
}

/// One direction's transcoder and its place in the stream.
pub(crate) struct Transcoding {
    pub(crate) way: Way,
    /// `None`: the library for it is missing.
    transcoder: Option<Transcoder>,
    /// The row of packets under way, and its newest time stamp, extended.
    run: Option<u32>,
    extended: u64,
    /// Packets made: their numbers.
    made: u64,
    /// The packet that was made last.
    pub(crate) payload: Vec<u8>,
}

impl Transcoding {
    /// `before`: what it takes the place of, whose numbers go on.
    pub(crate) fn new(
        way: Way,
        before: Option<&Transcoding>,
        g729: Option<&G729Library>,
    ) -> Transcoding {
        Transcoding {
            way,
            transcoder: Transcoder::new(way.from, way.to, way.frame_ms, g729).ok(),
            run: None,
            extended: 0,
            made: before.map_or(0, |before| before.made),
            payload: Vec::new(),
        }
    }

    /// Whether it goes this way. While it runs, speech with a sound under it keeps the packets' length.
    pub(crate) fn goes(&self, way: Way) -> bool {
        let runs_beside = self.run.is_some()
            && way.from == way.to
            && (self.way.from, self.way.to, self.way.number) == (way.from, way.to, way.number);
        runs_beside || self.way == way
    }

    /// Whether both codecs are here.
    pub(crate) fn can_be_made(&self) -> bool {
        self.transcoder.is_some()
    }

    /// Takes a packet, with the sound of 8 kHz that is to be heard under it.
    pub(crate) fn take(
        &mut self,
        arrival: &Arrival,
        payload: &[u8],
        add: &[i16],
    ) -> Result<(), DropReason> {
        let transcoder = self.transcoder.as_mut().ok_or(DropReason::Codec)?;
        match arrival.kind {
            Kind::New | Kind::Restarted => {}
            Kind::Reordered => return Err(DropReason::Late),
            Kind::Duplicate | Kind::Probation => return Err(DropReason::Duplicate),
        }
        let before = self.run.replace(arrival.run);
        let step = arrival.timestamp.since(RtpTimestamp(self.extended as u32));
        if before != Some(arrival.run) {
            transcoder.forget();
            self.extended = FIRST_CYCLE + u64::from(arrival.timestamp.0);
        } else {
            if step < 0 {
                // Its clock was set back: nothing that is under way fits what comes.
                transcoder.forget();
            }
            self.extended = self.extended.wrapping_add_signed(i64::from(step));
        }
        let rate_hz = u64::from(self.way.from.clock_rate_hz());
        let at = convert(self.extended, rate_hz, TRANSCODER_HZ);
        transcoder
            .push(at, payload, add)
            .map_err(|_| DropReason::PayloadSize)
    }

    /// The next packet that is ready, in `payload`. Its time stamp is the one that the packets it was
    /// made of would have in the outgoing clock.
    pub(crate) fn next(&mut self) -> Option<Passing> {
        let run = self.run?;
        let at = self.transcoder.as_mut()?.next(&mut self.payload)?;
        let rate = clock_of(self.way.to);
        let timestamp = convert(at, TRANSCODER_HZ, u64::from(rate.hz()));
        self.made += 1;
        Some(Passing {
            numbers: run | MADE_HERE,
            seq: self.made,
            run,
            // Modulo 2^32, as time stamps are.
            timestamp: RtpTimestamp(timestamp as u32),
            rate,
            ticks: self.way.to.ticks(&self.payload).unwrap_or(0),
        })
    }

    /// Speech was interrupted: what is under way is dropped.
    pub(crate) fn forget(&mut self) {
        if self.run.take().is_some()
            && let Some(transcoder) = &mut self.transcoder
        {
            transcoder.forget();
        }
    }
}

/// Ticks of one clock in those of another, to the nearest.
fn convert(ticks: u64, from_hz: u64, to_hz: u64) -> u64 {
    let wide = u128::from(ticks) * u128::from(to_hz) + u128::from(from_hz / 2);
    // Extended time stamps are far below 2^64 in any clock.
    (wide / u128::from(from_hz)) as u64
}

/// The RTP clock of a codec.
pub(crate) fn clock_of(codec: Codec) -> ClockRate {
    rate_of(codec.clock_rate_hz())
}

/// A clock rate that came with a negotiated format; one of zero counts as 8,000 Hz.
#[inline]
pub(crate) fn rate_of(hz: u32) -> ClockRate {
    match hz {
        8_000 => ClockRate::HZ_8000,
        hz => ClockRate::new(hz).unwrap_or(ClockRate::HZ_8000),
    }
}

/// A prompt that was not encoded before, frame by frame from its G.711.
pub(crate) struct LiveFrames {
    codec: Codec,
    transcoder: Option<Transcoder>,
    at: u64,
    payload: Vec<u8>,
}

impl LiveFrames {
    pub(crate) fn new(codec: Codec, g729: Option<&G729Library>) -> LiveFrames {
        LiveFrames {
            codec,
            transcoder: Transcoder::new(Codec::Pcmu, codec, 20, g729).ok(),
            at: FIRST_CYCLE,
            payload: Vec::new(),
        }
    }

    pub(crate) fn is_for(&self, codec: Codec) -> bool {
        self.codec == codec
    }

    /// The next 20 ms; `None` where the codec can not be made here.
    pub(crate) fn frame(&mut self, mulaw: &[u8]) -> Option<&[u8]> {
        let transcoder = self.transcoder.as_mut()?;
        transcoder.push(self.at, mulaw, &[]).ok()?;
        self.at += TRANSCODER_HZ / 50;
        transcoder.next(&mut self.payload)?;
        Some(&self.payload)
    }
}
