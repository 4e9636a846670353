//! Nothing, in any codec.

use super::{Codec, CodecError, Encoder, EncoderSettings, G729Library};

/// Payloads of silence, to be put in the place of a stream's own.
pub struct Silence {
    codec: Codec,
    encoder: Encoder,
    zeros: Vec<i16>,
}

impl Silence {
    /// Silence in `codec`, heard as such whatever was heard before. Only G.729 needs its library.
    ///
    /// # Errors
    /// [`CodecError::LibraryMissing`], [`CodecError::Rate`], [`CodecError::Setup`].
    pub fn new(codec: Codec, g729: Option<&G729Library>) -> Result<Silence, CodecError> {
        let encoder = Encoder::after_anything(codec, EncoderSettings::default(), g729)?;
        Ok(Silence {
            codec,
            encoder,
            zeros: Vec::new(),
        })
    }

    /// Puts so many ticks of [`Codec::clock_rate_hz`] of silence into `payload`, which is cleared first.
    ///
    /// # Errors
    /// [`CodecError::FrameLength`] where [`Encoder::encode`] has no such frame; `payload` is empty then.
    pub fn payload(&mut self, ticks: u32, payload: &mut Vec<u8>) -> Result<(), CodecError> {
        let samples = u64::from(ticks) * u64::from(self.codec.sample_rate_hz());
        // No payload is longer than 200 ms: some ten thousand samples.
        let samples = (samples / u64::from(self.codec.clock_rate_hz())) as usize;
        self.zeros.resize(samples, 0);
        self.encoder.encode(&self.zeros, payload)
    }
}
