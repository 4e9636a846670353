//! From payloads to samples.

use thiserror::Error;

use super::{Channels, Codec, G729Library, g722, g729, linear, opus};
use crate::g711::{self, Law};

/// Why a codec cannot be used, or not for this payload or frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The codec has no sound at that rate.
    #[error("{codec:?} has no sound at {rate_hz} Hz")]
    Rate {
        /// As asked.
        codec: Codec,
        /// As asked, in Hz.
        rate_hz: u32,
    },
    /// G.729 without its library.
    #[error("G.729 needs libbcg729")]
    LibraryMissing,
    /// Nothing was decoded: [`Codec::ticks`] knows no length for this payload, or the codec refused it.
    #[error("a payload of {bytes} octets is not {codec:?}")]
    Malformed {
        /// What it should have been.
        codec: Codec,
        /// Its length.
        bytes: usize,
    },
    /// Nothing was encoded: the codec has no frame of this length.
    #[error("{codec:?} has no frame of {samples} samples")]
    FrameLength {
        /// The encoder's.
        codec: Codec,
        /// As given.
        samples: usize,
    },
    /// Settings out of range, or the codec's library could not begin.
    #[error("{codec:?} cannot begin: {reason}")]
    Setup {
        /// As asked.
        codec: Codec,
        /// What is wrong.
        reason: String,
    },
}

/// What stands where nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concealed {
    /// What was spoken, at least its last part, from what the next packet repeats of it
    /// (RFC 6716 §2.1.7).
    Recovered,
    /// What the codec makes up from what came before.
    Synthetic,
    /// Zeros: the codec offers nothing.
    Silence,
}

/// Decodes the payloads of one stream to mono. After the first packets nothing is allocated, as
/// long as the vectors that are passed have room.
pub struct Decoder {
    codec: Codec,
    rate_hz: u32,
    state: State,
}

enum State {
    G711(Law),
    G722(Box<g722::Decoder>),
    G729(g729::Decoder),
    Opus(opus::Decoder),
    Linear(Channels),
}

impl Decoder {
    /// A decoder that gives `rate_hz` samples per second: [`Codec::sample_rate_hz`], or of Opus any
    /// of 8,000, 12,000, 16,000, 24,000 and 48,000. Only G.729 needs its library.
    ///
    /// # Errors
    /// [`CodecError::Rate`], [`CodecError::LibraryMissing`], [`CodecError::Setup`].
    pub fn new(
        codec: Codec,
        rate_hz: u32,
        g729: Option<&G729Library>,
    ) -> Result<Decoder, CodecError> {
        let any = codec == Codec::Opus && opus::RATES_HZ.contains(&rate_hz);
        if !any && rate_hz != codec.sample_rate_hz() || !codec.is_known() {
            return Err(CodecError::Rate { codec, rate_hz });
        }
        let setup = |reason: String| CodecError::Setup { codec, reason };
        let state = match codec {
            Codec::Pcmu => State::G711(Law::Mulaw),
            Codec::Pcma => State::G711(Law::Alaw),
            Codec::G722 => State::G722(Box::new(g722::Decoder::new())),
            Codec::G729 => {
                let library = g729.ok_or(CodecError::LibraryMissing)?;
                let decoder = g729::Decoder::new(library);
                State::G729(decoder.ok_or_else(|| setup("no memory".to_owned()))?)
            }
            Codec::Opus => {
                let decoder = opus::Decoder::new(rate_hz);
                State::Opus(decoder.map_err(|error| setup(error.to_string()))?)
            }
            Codec::L16 { channels, .. } => State::Linear(channels),
        };
        Ok(Decoder {
            codec,
            rate_hz,
            state,
        })
    }

    /// The rate of the samples that come out, in Hz.
    #[must_use]
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Appends the payload's sound: its ticks × rate / clock rate samples.
    ///
    /// # Errors
    /// [`CodecError::Malformed`]; nothing is appended then.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), CodecError> {
        let (codec, bytes) = (self.codec, payload.len());
        let malformed = CodecError::Malformed { codec, bytes };
        let Some(ticks) = codec.ticks(payload) else {
            return Err(malformed);
        };
        match &mut self.state {
            &mut State::G711(law) => {
                let start = out.len();
                out.resize(start + bytes, 0);
                g711::decode_into(law, payload, &mut out[start..]);
            }
            State::G722(decoder) => decoder.decode(payload, out),
            State::G729(decoder) => decoder.decode(payload, out),
            State::Opus(decoder) => {
                let samples = u64::from(ticks) * u64::from(self.rate_hz);
                let samples = samples / u64::from(codec.clock_rate_hz());
                let decoded = decoder.decode(payload, samples as usize, out);
                return decoded.map_err(|_| malformed);
            }
            &mut State::Linear(channels) => linear::decode(channels, payload, out),
        }
        Ok(())
    }

    /// As [`Decoder::decode`], with a delay that the codec always has taken out: the first sample is
    /// the first that was spoken into the payload. `next` is the payload that follows without a
    /// hole, if there is one; it is decoded afterwards as any other.
    ///
    /// Only of G.722 something is taken out, the 22 samples (1.4 ms) of its filters. How late Opus
    /// is depends on its sender (6.5 ms with libopus for speech, 2.5 ms without SILK, nothing says
    /// so in a call), and G.729, whose 5 ms are fixed too, cannot be asked for what comes next.
    ///
    /// # Errors
    /// [`CodecError::Malformed`]; nothing is appended then.
    pub fn decode_on_time(
        &mut self,
        payload: &[u8],
        next: Option<&[u8]>,
        out: &mut Vec<i16>,
    ) -> Result<(), CodecError> {
        match &mut self.state {
            State::G722(decoder) if self.codec.ticks(payload).is_some() => {
                decoder.decode_on_time(payload, next.unwrap_or_default(), out);
                Ok(())
            }
            _ => self.decode(payload, out),
        }
    }

    /// Appends exactly `samples` for sound that was lost. `next` is the payload that follows the
    /// hole, if it is there already; it is decoded afterwards as any other.
    pub fn conceal(
        &mut self,
        samples: usize,
        next: Option<&[u8]>,
        out: &mut Vec<i16>,
    ) -> Concealed {
        let end = out.len() + samples;
        match &mut self.state {
            State::Opus(decoder) => decoder.conceal(samples, next, out),
            State::G729(decoder) => {
                while out.len() < end {
                    decoder.conceal(out);
                }
                out.truncate(end);
                Concealed::Synthetic
            }
            State::G711(_) | State::G722(_) | State::Linear(_) => {
                out.resize(end, 0);
                Concealed::Silence
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Encoder, EncoderSettings};

    fn codecs(g729: Option<&G729Library>) -> Vec<Codec> {
        let mut codecs = vec![Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
        codecs.extend(g729.map(|_| Codec::G729));
        for rate_hz in Codec::L16_RATES_HZ {
            for channels in [Channels::Mono, Channels::Stereo] {
                codecs.push(Codec::L16 { rate_hz, channels });
            }
        }
        codecs
    }

    fn random(state: &mut u64) -> u32 {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as u32
    }

    #[test]
    fn every_payload_decodes_to_the_length_it_tells_or_not_at_all() {
        let g729 = G729Library::open().ok();
        let mut state = 1;
        for codec in codecs(g729.as_ref()) {
            let rate = codec.sample_rate_hz();
            let mut decoder = Decoder::new(codec, rate, g729.as_ref()).expect("a decoder");
            let mut out = Vec::new();
            for _ in 0..20_000 {
                let longest = [4, 24, 130, 1_600][random(&mut state) as usize & 3];
                let length = random(&mut state) as usize % longest;
                let payload: Vec<u8> = (0..length).map(|_| random(&mut state) as u8).collect();
                out.clear();
                let ticks = codec.ticks(&payload).map_or(0, |t| t as usize);
                let expected = ticks * rate as usize / codec.clock_rate_hz() as usize;
                match decoder.decode(&payload, &mut out) {
                    Ok(()) => assert_eq!(out.len(), expected, "{codec:?} {payload:?}"),
                    Err(CodecError::Malformed { .. }) => assert!(out.is_empty()),
                    Err(error) => panic!("{codec:?}: {error}"),
                }
                if random(&mut state).is_multiple_of(5) {
                    out.clear();
                    let samples = random(&mut state) as usize % 6_000;
                    decoder.conceal(samples, Some(&payload), &mut out);
                    assert_eq!(out.len(), samples, "{codec:?}");
                }
            }
        }
    }

    #[test]
    fn damaged_and_truncated_payloads_of_a_real_stream_never_panic() {
        let g729 = G729Library::open().ok();
        let mut state = 7;
        for codec in codecs(g729.as_ref()) {
            let settings = EncoderSettings::default();
            let mut encoder = Encoder::new(codec, settings, g729.as_ref()).expect("an encoder");
            let rate = codec.sample_rate_hz();
            let mut decoder = Decoder::new(codec, rate, g729.as_ref()).expect("a decoder");
            let (mut payload, mut out) = (Vec::new(), Vec::new());
            for at in 0..2_500_u32 {
                let step = 0.05 + f64::from(at % 100) / 400.0;
                let frame: Vec<i16> = (0..rate / 50)
                    .map(|n| (12_000.0 * (step * f64::from(n)).sin()) as i16)
                    .collect();
                encoder.encode(&frame, &mut payload).expect("20 ms");
                let mut damaged = payload.clone();
                for _ in 0..random(&mut state) % 4 {
                    let octet = random(&mut state) as usize % damaged.len();
                    damaged[octet] ^= random(&mut state) as u8;
                }
                if random(&mut state).is_multiple_of(2) {
                    damaged.truncate(random(&mut state) as usize % (damaged.len() + 1));
                }
                out.clear();
                let _ = decoder.decode(&damaged, &mut out);
                decoder.conceal(17, Some(&damaged), &mut out);
            }
        }
    }

    #[test]
    fn what_a_codec_cannot_do_is_refused() {
        let check = |codec, rate_hz, expected| {
            assert_eq!(Decoder::new(codec, rate_hz, None).err(), Some(expected));
        };
        let (codec, rate_hz) = (Codec::Pcmu, 16_000);
        check(codec, rate_hz, CodecError::Rate { codec, rate_hz });
        let (codec, rate_hz) = (Codec::G722, 8_000);
        check(codec, rate_hz, CodecError::Rate { codec, rate_hz });
        let (codec, rate_hz) = (Codec::Opus, 44_100);
        check(codec, rate_hz, CodecError::Rate { codec, rate_hz });
        let channels = Channels::Mono;
        let rate_hz = 8_001;
        let codec = Codec::L16 { rate_hz, channels };
        check(codec, rate_hz, CodecError::Rate { codec, rate_hz });
        check(Codec::G729, 8_000, CodecError::LibraryMissing);
        for rate_hz in [8_000, 12_000, 16_000, 24_000, 48_000] {
            let decoder = Decoder::new(Codec::Opus, rate_hz, None).expect("a rate of Opus");
            assert_eq!(decoder.rate_hz(), rate_hz);
        }
    }

    #[test]
    fn linear_stereo_is_heard_as_the_mean() {
        let (rate_hz, channels) = (16_000, Channels::Stereo);
        let codec = Codec::L16 { rate_hz, channels };
        let mut decoder = Decoder::new(codec, rate_hz, None).expect("a decoder");
        let mut out = vec![5];
        let payload = [
            0x7F, 0xFF, 0x7F, 0xFF, 0x80, 0x00, 0x7F, 0xFF, 0x00, 0x03, 0x00, 0x01,
        ];
        decoder.decode(&payload, &mut out).expect("three frames");
        assert_eq!(out, [5, 32_767, -1, 2]);
        assert_eq!(decoder.conceal(2, None, &mut out), Concealed::Silence);
        assert_eq!(out, [5, 32_767, -1, 2, 0, 0]);
    }
}
