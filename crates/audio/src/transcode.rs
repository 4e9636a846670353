//! One codec's payloads into another's, for a relay between two legs.
//!
//! Times go through as they are, so a leg's time is kept; the sound under them is as late as the
//! codecs are (G.722 1.4 ms, Opus 6.5 ms, G.729 5 ms) and the resampler between them (5 ms).

use std::collections::VecDeque;

use crate::codec::{Codec, CodecError, Decoder, Encoder, EncoderSettings, G729Library};
use crate::resample::{ResampleError, Resampler};
use crate::{SAMPLE_RATE_HZ, codec};

/// Ticks per second of the times in and out.
pub const TICKS_PER_SECOND: u64 = 48_000;
/// The longest hole that is concealed: 100 ms.
pub const LONGEST_CONCEALED_TICKS: u64 = TICKS_PER_SECOND / 10;
/// A payload so much before or behind where it should begin follows straight on: 1 ms.
const SLACK_TICKS: u64 = TICKS_PER_SECOND / 1_000;
/// A payload that far behind is not late: its stream began anew.
const RESTART_TICKS: u64 = TICKS_PER_SECOND;

/// Payloads in, payloads out: decodes, fills holes, mixes a sound under, resamples, cuts into
/// frames of another length and encodes. After the first packets nothing is allocated.
pub struct Transcoder {
    from: Codec,
    decoder: Decoder,
    resampler: Resampler,
    under: Under,
    encoder: Encoder,
    /// Samples per second that are encoded.
    rate_hz: u64,
    frame_ms: u64,
    /// The newest payload's sound, at the decoder's rate.
    heard: Vec<i16>,
    /// Sound that waits for its frame to fill, at the encoder's rate.
    ready: Vec<i16>,
    /// Whose it is, oldest first.
    stretches: VecDeque<Stretch>,
    /// Where the next payload begins when nothing is lost.
    expected: Option<u64>,
}

/// Sound without a hole.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// Time of its first sample.
    at: u64,
    /// Samples of it that are in `ready`.
    waiting: usize,
    /// Samples and frames of it that were encoded.
    samples: u64,
    frames: u64,
}

impl Transcoder {
    /// From `from` to `to` in packets of `frame_ms`: 10 to 60, rounded down to what the codec has
    /// (G.729: tens; Opus: 10, 20, 40, 60). Equal codecs are decoded and encoded too.
    ///
    /// # Errors
    /// [`CodecError::LibraryMissing`], [`CodecError::Rate`], [`CodecError::Setup`].
    pub fn new(
        from: Codec,
        to: Codec,
        frame_ms: u32,
        g729: Option<&G729Library>,
    ) -> Result<Self, CodecError> {
        let rate_hz = to.sample_rate_hz();
        // Opus is decoded at the rate that is wanted, if it can be.
        let decoder = match from {
            Codec::Opus => Decoder::new(from, rate_hz, g729),
            _ => Decoder::new(from, from.sample_rate_hz(), g729),
        };
        let decoder = match decoder {
            Err(CodecError::Rate { .. }) => Decoder::new(from, from.sample_rate_hz(), g729)?,
            made => made?,
        };
        let encoder = Encoder::new(to, EncoderSettings::default(), g729)?;
        let refused = |error: ResampleError| CodecError::Setup {
            codec: to,
            reason: error.to_string(),
        };
        let resampler = Resampler::low_delay(decoder.rate_hz(), rate_hz).map_err(refused)?;
        let under = Under::new(decoder.rate_hz()).map_err(refused)?;
        Ok(Self {
            from,
            decoder,
            resampler,
            under,
            encoder,
            rate_hz: u64::from(rate_hz),
            frame_ms: u64::from(packet_ms(to, frame_ms)),
            heard: Vec::new(),
            ready: Vec::new(),
            stretches: VecDeque::new(),
            expected: None,
        })
    }

    /// Length of the outgoing packets, in milliseconds.
    #[must_use]
    pub fn frame_ms(&self) -> u32 {
        self.frame_ms as u32
    }

    /// Takes a payload whose first sample is at `at` (extended, in 1/48000 s). `add` is sound of
    /// 8 kHz that is mixed under it, from its first sample on; what is longer than the payload is
    /// left out, and it may be empty.
    ///
    /// A hole of up to 100 ms before it is concealed as the codec can; a longer one is a hole in
    /// the outgoing times too. What is late, its place being filled, is left out.
    ///
    /// # Errors
    /// [`CodecError::Malformed`]; the payload is as good as lost then.
    pub fn push(&mut self, at: u64, payload: &[u8], add: &[i16]) -> Result<(), CodecError> {
        let Some(ticks) = self.from.ticks(payload) else {
            return Err(CodecError::Malformed {
                codec: self.from,
                bytes: payload.len(),
            });
        };
        let length = u64::from(ticks) * TICKS_PER_SECOND / u64::from(self.from.clock_rate_hz());
        self.heard.clear();
        match self.expected {
            Some(expected) if at + SLACK_TICKS < expected => {
                if expected - at < RESTART_TICKS {
                    return Ok(());
                }
                self.begin(at);
            }
            Some(expected) if at > expected + LONGEST_CONCEALED_TICKS => self.begin(at),
            Some(expected) if at > expected + SLACK_TICKS => {
                let hole = (at - expected) * u64::from(self.decoder.rate_hz()) / TICKS_PER_SECOND;
                self.decoder
                    .conceal(hole as usize, Some(payload), &mut self.heard);
            }
            Some(expected) => self.shift(expected, at),
            None => self.begin(at),
        }
        let concealed = self.heard.len();
        let decoded = self.decoder.decode(payload, &mut self.heard);
        if decoded.is_ok() {
            self.under.mix(add, &mut self.heard[concealed..]);
        }
        let waiting = self.ready.len();
        self.resampler.push(&self.heard, &mut self.ready);
        if let Some(stretch) = self.stretches.back_mut() {
            stretch.waiting += self.ready.len() - waiting;
        }
        self.expected = Some(at + if decoded.is_ok() { length } else { 0 });
        decoded
    }

    /// Puts the next finished frame into `payload` and tells its time in 1/48000 s; what is in a
    /// frame begins so late as the codecs are. Call after each push until `None`.
    pub fn next(&mut self, payload: &mut Vec<u8>) -> Option<u64> {
        payload.clear();
        loop {
            let last = self.stretches.len() == 1;
            let stretch = self.stretches.front_mut()?;
            let end = (stretch.frames + 1) * self.frame_ms * self.rate_hz / 1_000;
            let frame = (end - stretch.samples) as usize;
            if stretch.waiting < frame {
                if last {
                    return None;
                }
                self.stretches.pop_front();
                continue;
            }
            let at = stretch.at + stretch.samples * TICKS_PER_SECOND / self.rate_hz;
            stretch.samples = end;
            stretch.frames += 1;
            stretch.waiting -= frame;
            let encoded = self.encoder.encode(&self.ready[..frame], payload);
            self.ready.drain(..frame);
            // A frame that the encoder refuses is a hole like any other.
            if encoded.is_ok() {
                return Some(at);
            }
        }
    }

    /// Drops what is under way: the next payload begins a new stream of time.
    pub fn forget(&mut self) {
        self.expected = None;
        self.ready.clear();
        self.stretches.clear();
        self.resampler.forget();
        self.under.forget();
    }

    /// A new stretch begins at `at`; the end of the one before is filled up to a whole frame.
    fn begin(&mut self, at: u64) {
        if let Some(stretch) = self.stretches.back_mut() {
            let waiting = self.ready.len();
            self.resampler.finish(&mut self.ready);
            stretch.waiting += self.ready.len() - waiting;
            let whole = |frames: u64| frames * self.frame_ms * self.rate_hz / 1_000;
            let have = stretch.samples + stretch.waiting as u64;
            let mut frames = stretch.frames;
            while whole(frames) < have {
                frames += 1;
            }
            let missing = (whole(frames) - have) as usize;
            stretch.waiting += missing;
            self.ready.resize(self.ready.len() + missing, 0);
        }
        self.under.forget();
        self.stretches.push_back(Stretch {
            at,
            waiting: 0,
            samples: 0,
            frames: 0,
        });
    }

    /// The source's own clock moved by less than the slack: so does ours.
    fn shift(&mut self, expected: u64, at: u64) {
        if let Some(stretch) = self.stretches.back_mut() {
            stretch.at = (stretch.at + at).saturating_sub(expected);
        }
    }
}

/// The longest packet of `codec` that is not longer than was asked.
fn packet_ms(codec: Codec, asked: u32) -> u32 {
    let asked = asked.clamp(10, 60);
    match codec {
        Codec::Opus => [60, 40, 20]
            .into_iter()
            .find(|&ms| ms <= asked)
            .unwrap_or(10),
        Codec::G729 => asked / 10 * 10,
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16 { .. } => asked,
    }
}

/// Sound of 8 kHz that is mixed under sound of another rate.
struct Under {
    resampler: Resampler,
    rate_hz: usize,
    /// One payload's worth of what is mixed, at 8 kHz.
    padded: Vec<i16>,
    /// The same at the other rate, not yet mixed.
    ready: Vec<i16>,
    /// How long what is in the resampler can still be heard, in samples of 8 kHz.
    tail: usize,
}

impl Under {
    fn new(rate_hz: u32) -> Result<Self, ResampleError> {
        Ok(Self {
            resampler: Resampler::low_delay(SAMPLE_RATE_HZ, rate_hz)?,
            rate_hz: rate_hz as usize,
            padded: Vec::new(),
            ready: Vec::new(),
            tail: 0,
        })
    }

    /// Adds `add`, cut or continued with silence to the length of `sound`, saturating.
    fn mix(&mut self, add: &[i16], sound: &mut [i16]) {
        let length = (sound.len() * SAMPLE_RATE_HZ as usize).div_ceil(self.rate_hz);
        let add = &add[..add.len().min(length)];
        match add.is_empty() {
            true if self.tail == 0 => return,
            true => self.tail = self.tail.saturating_sub(length),
            false => self.tail = self.longest_tail(),
        }
        self.padded.clear();
        self.padded.extend_from_slice(add);
        self.padded.resize(length, 0);
        self.resampler.push(&self.padded, &mut self.ready);
        // What the resampler keeps back to fill a block makes the sound later, not torn.
        let now = sound.len().min(self.ready.len());
        let start = sound.len() - now;
        for (sample, under) in sound[start..].iter_mut().zip(self.ready.drain(..now)) {
            *sample = sample.saturating_add(under);
        }
        if self.tail == 0 {
            self.forget();
        }
    }

    /// Two of the longest blocks, where there is a resampler at all.
    fn longest_tail(&self) -> usize {
        match self.rate_hz == SAMPLE_RATE_HZ as usize {
            true => 0,
            false => 2 * codec::LONGEST_PAYLOAD_MS as usize * SAMPLE_RATE_HZ as usize / 1_000,
        }
    }

    fn forget(&mut self) {
        self.tail = 0;
        self.ready.clear();
        self.resampler.forget();
    }
}

#[cfg(test)]
mod tests;
