//! From samples to payloads.

use super::{
    Channels, Codec, CodecError, G729Library, LONGEST_G711_PAYLOAD_MS, LONGEST_PAYLOAD_MS, g722,
    g729, linear, opus,
};
use crate::g711::{self, Law};

/// What an encoder spends on its stream. Only Opus has a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Opus: bits per second, 6,000 to 510,000.
    pub opus_bitrate: u32,
    /// Opus: processor time against quality, 0 (least time) to 10.
    pub opus_complexity: u8,
    /// Opus: repeat each frame coarsely in the next packet (RFC 6716 §2.1.7).
    pub opus_fec: bool,
    /// Opus: loss that is prepared for, in percent, 0 to 100.
    pub opus_expected_loss_percent: u8,
    /// Opus: send next to nothing while nobody speaks (RFC 6716 §2.1.9).
    pub opus_dtx: bool,
}

impl Default for EncoderSettings {
    /// 32 kb/s is full-band speech; complexity 5 takes 0.12 ms for 20 ms; 5 % loss is where the
    /// repetition begins to pay; without DTX nothing depends on how the peer fills silence.
    fn default() -> Self {
        Self {
            opus_bitrate: 32_000,
            opus_complexity: 5,
            opus_fec: true,
            opus_expected_loss_percent: 5,
            opus_dtx: false,
        }
    }
}

/// Encodes the mono sound of one stream. After the first packets nothing is allocated, as long as
/// the vector that is passed has room.
pub struct Encoder {
    codec: Codec,
    state: State,
}

enum State {
    G711(Law),
    G722(Box<g722::Encoder>),
    G729(g729::Encoder),
    Opus(opus::Encoder),
    Linear(Channels),
}

impl Encoder {
    /// An encoder of sound at [`Codec::sample_rate_hz`]. Only G.729 needs its library.
    ///
    /// # Errors
    /// [`CodecError::Rate`] for an L16 that does not exist, [`CodecError::LibraryMissing`],
    /// [`CodecError::Setup`] for settings out of range.
    pub fn new(
        codec: Codec,
        settings: EncoderSettings,
        g729: Option<&G729Library>,
    ) -> Result<Encoder, CodecError> {
        if !codec.is_known() {
            let rate_hz = codec.sample_rate_hz();
            return Err(CodecError::Rate { codec, rate_hz });
        }
        let setup = |reason: String| CodecError::Setup { codec, reason };
        let state = match codec {
            Codec::Pcmu => State::G711(Law::Mulaw),
            Codec::Pcma => State::G711(Law::Alaw),
            Codec::G722 => State::G722(Box::new(g722::Encoder::new())),
            Codec::G729 => {
                let library = g729.ok_or(CodecError::LibraryMissing)?;
                let encoder = g729::Encoder::new(library);
                State::G729(encoder.ok_or_else(|| setup("no memory".to_owned()))?)
            }
            Codec::Opus => State::Opus(opus::Encoder::new(settings).map_err(setup)?),
            Codec::L16 { channels, .. } => State::Linear(channels),
        };
        Ok(Encoder { codec, state })
    }

    /// An encoder of sound that is put into a stream in which anything may have gone before: its
    /// payloads are heard at their level from the second one on. Only Opus needs care for that; what
    /// G.722 and G.729 predict from is their decoders' own and fades within a payload or two.
    ///
    /// # Errors
    /// As [`Encoder::new`].
    pub(crate) fn after_anything(
        codec: Codec,
        settings: EncoderSettings,
        g729: Option<&G729Library>,
    ) -> Result<Encoder, CodecError> {
        if codec != Codec::Opus {
            return Encoder::new(codec, settings, g729);
        }
        let encoder = opus::Encoder::after_anything(settings);
        let setup = |reason| CodecError::Setup { codec, reason };
        Ok(Encoder {
            codec,
            state: State::Opus(encoder.map_err(setup)?),
        })
    }

    /// Encodes `samples` into `payload`, which is cleared first. 20 ms is always a frame; Opus takes
    /// 2.5, 5, 10, 20, 40, 60, 80, 100 and 120 ms, G.729 whole tens of ms, G.722 even numbers of
    /// samples, each up to 120 ms; G.711 any length up to 200 ms and L16 up to 120 ms.
    ///
    /// # Errors
    /// [`CodecError::FrameLength`]; `payload` is empty then.
    pub fn encode(&mut self, samples: &[i16], payload: &mut Vec<u8>) -> Result<(), CodecError> {
        payload.clear();
        let (codec, length) = (self.codec, samples.len());
        let refused = CodecError::FrameLength {
            codec,
            samples: length,
        };
        if !codec.has_frame(length) {
            return Err(refused);
        }
        match &mut self.state {
            &mut State::G711(law) => {
                payload.resize(length, 0);
                g711::encode_into(law, samples, payload);
            }
            State::G722(encoder) => encoder.encode(samples, payload),
            State::G729(encoder) => {
                for frame in samples.as_chunks::<{ g729::FRAME }>().0 {
                    encoder.encode(frame, payload);
                }
            }
            State::Opus(encoder) => encoder.encode(samples, payload).map_err(|_| refused)?,
            &mut State::Linear(channels) => linear::encode(channels, samples, payload),
        }
        Ok(())
    }
}

impl Codec {
    /// Whether so many samples at [`Codec::sample_rate_hz`] make one payload.
    fn has_frame(self, samples: usize) -> bool {
        let (unit, longest_ms) = match self {
            Codec::Pcmu | Codec::Pcma => (1, LONGEST_G711_PAYLOAD_MS),
            Codec::G722 => (2, LONGEST_PAYLOAD_MS),
            Codec::G729 => (g729::FRAME, LONGEST_PAYLOAD_MS),
            Codec::Opus => return opus::FRAMES.contains(&samples),
            Codec::L16 { .. } => (1, LONGEST_PAYLOAD_MS),
        };
        let longest = u64::from(self.sample_rate_hz()) * u64::from(longest_ms) / 1_000;
        samples > 0 && samples as u64 <= longest && samples.is_multiple_of(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Decoder;

    fn every_codec() -> Vec<Codec> {
        let l16 = |rate_hz, channels| Codec::L16 { rate_hz, channels };
        let small = [
            Codec::Pcmu,
            Codec::Pcma,
            Codec::G722,
            Codec::G729,
            Codec::Opus,
        ];
        let linear = Codec::L16_RATES_HZ.map(|rate_hz| l16(rate_hz, Channels::Mono));
        let stereo = Codec::L16_RATES_HZ.map(|rate_hz| l16(rate_hz, Channels::Stereo));
        [&small[..], &linear[..], &stereo[..]].concat()
    }

    #[test]
    fn every_frame_length_lasts_as_long_as_it_was() {
        let g729 = G729Library::open().ok();
        for codec in every_codec() {
            let made = Encoder::new(codec, EncoderSettings::default(), g729.as_ref());
            let Ok(mut encoder) = made else {
                assert_eq!((codec, g729.is_none()), (Codec::G729, true));
                eprintln!("SKIPPED, NOTHING TESTED: G.729 frame lengths (Debian: libbcg729-0)");
                continue;
            };
            let rate = codec.sample_rate_hz();
            let mut decoder = Decoder::new(codec, rate, g729.as_ref()).expect("a decoder");
            let mut payload = Vec::new();
            for ms in [10, 20, 30, 40, 50, 60, 80, 100, 120] {
                let samples = vec![100; (rate * ms / 1_000) as usize];
                if codec == Codec::Opus && [30, 50].contains(&ms) {
                    assert!(encoder.encode(&samples, &mut payload).is_err());
                    continue;
                }
                encoder.encode(&samples, &mut payload).expect("a frame");
                let ticks = codec.clock_rate_hz() * ms / 1_000;
                assert_eq!(codec.ticks(&payload), Some(ticks), "{codec:?} {ms} ms");
                let mut back = Vec::new();
                decoder.decode(&payload, &mut back).expect("decoded");
                assert_eq!(back.len(), samples.len(), "{codec:?} {ms} ms");
            }
        }
    }

    #[test]
    fn lengths_that_are_no_frame_are_refused_and_leave_nothing() {
        let check = |codec, lengths: &[usize]| {
            let mut encoder = Encoder::new(codec, EncoderSettings::default(), None).expect("begun");
            for &samples in lengths {
                let mut payload = vec![1, 2, 3];
                let refused = encoder.encode(&vec![0; samples], &mut payload);
                assert_eq!(refused, Err(CodecError::FrameLength { codec, samples }));
                assert!(payload.is_empty());
            }
        };
        check(Codec::Pcmu, &[0, 1_601]);
        check(Codec::G722, &[0, 1, 321, 1_922]);
        check(Codec::Opus, &[0, 1, 119, 961, 1_440, 2_400, 6_720]);
        let (rate_hz, channels) = (44_100, Channels::Stereo);
        check(Codec::L16 { rate_hz, channels }, &[0, 5_293]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let check = |settings| {
            let refused = Encoder::new(Codec::Opus, settings, None).err();
            assert!(
                matches!(refused, Some(CodecError::Setup { .. })),
                "{settings:?}"
            );
        };
        let plain = EncoderSettings::default();
        check(EncoderSettings {
            opus_bitrate: 5_999,
            ..plain
        });
        check(EncoderSettings {
            opus_bitrate: 510_001,
            ..plain
        });
        check(EncoderSettings {
            opus_complexity: 11,
            ..plain
        });
        check(EncoderSettings {
            opus_expected_loss_percent: 101,
            ..plain
        });
        assert_eq!(
            Encoder::new(Codec::G729, plain, None).err(),
            Some(CodecError::LibraryMissing)
        );
    }
}
