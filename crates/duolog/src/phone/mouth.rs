//! From a phone's voice to the payloads of one codec.

use duolog_audio::codec::{Codec, CodecError, Encoder, EncoderSettings, G729Library};

use super::voice::{Spoken, Voice};

/// Makes payloads of one codec out of a voice.
pub(super) struct Mouth {
    codec: Codec,
    /// What makes the payloads; G.711 is written straight from the voice.
    encoder: Option<Encoder>,
    samples: Vec<i16>,
}

impl Mouth {
    /// A mouth for `codec`.
    ///
    /// # Errors
    /// A codec that cannot be spoken here: G.729 without its library.
    pub(super) fn new(codec: Codec) -> Result<Mouth, CodecError> {
        let encoder = match codec.law() {
            Some(_) => None,
            None => {
                let library = G729Library::open().ok();
                // Ample: what is measured in tests is the recorder, not the codec.
                let settings = EncoderSettings {
                    opus_bitrate: 96_000,
                    ..EncoderSettings::default()
                };
                Some(Encoder::new(codec, settings, library.as_ref())?)
            }
        };
        Ok(Mouth {
            codec,
            encoder,
            samples: Vec::new(),
        })
    }

    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Puts `length_ms` of the voice from `at_ms` on into `payload`.
    pub(super) fn speak(
        &mut self,
        voice: &Voice,
        at_ms: u64,
        length_ms: u32,
        payload: &mut Vec<u8>,
    ) -> Spoken {
        payload.clear();
        let (Some(encoder), None) = (&mut self.encoder, self.codec.law()) else {
            let Some(law) = self.codec.law() else {
                return Spoken::Nothing;
            };
            payload.resize(length_ms as usize * 8, 0);
            return voice.speak(law, at_ms * 8, payload);
        };
        let rate_hz = self.codec.sample_rate_hz();
        self.samples
            .resize((rate_hz * length_ms / 1_000) as usize, 0);
        if voice.samples(rate_hz, at_ms, &mut self.samples) == Spoken::Nothing {
            return Spoken::Nothing;
        }
        match encoder.encode(&self.samples, payload) {
            Ok(()) => Spoken::Whole,
            // A length that the codec does not have: nothing can be said in it.
            Err(_) => Spoken::Nothing,
        }
    }
}

impl std::fmt::Debug for Mouth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mouth")
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}
