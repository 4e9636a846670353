//! Sample formats: what the spool holds, what is asked for, what an object holds.

use duolog_audio::g711::Law;
use serde::{Deserialize, Serialize};

/// Samples per second and channel of everything recorded, in Hz.
pub const SAMPLE_RATE_HZ: u32 = duolog_audio::SAMPLE_RATE_HZ;

/// How the samples of a spool's audio frame are written: both channels interleaved, owner first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleFormat {
    /// G.711 µ-law, one byte a sample.
    Mulaw,
    /// G.711 A-law, one byte a sample.
    Alaw,
    /// Linear, two bytes a sample, little-endian.
    Pcm16,
}

impl SampleFormat {
    /// The code to write into a spool's audio frame.
    pub fn code(self) -> u8 {
        match self {
            SampleFormat::Mulaw => 1,
            SampleFormat::Alaw => 2,
            SampleFormat::Pcm16 => 3,
        }
    }

    /// The format behind a code of the spool; none for a code that this version does not know.
    pub fn from_code(code: u8) -> Option<SampleFormat> {
        let all = [SampleFormat::Mulaw, SampleFormat::Alaw, SampleFormat::Pcm16];
        all.into_iter().find(|format| format.code() == code)
    }

    /// Bytes that one sample of both channels takes.
    pub fn frame_bytes(self) -> usize {
        match self {
            SampleFormat::Mulaw | SampleFormat::Alaw => 2,
            SampleFormat::Pcm16 => 4,
        }
    }

    pub(crate) fn law(self) -> Option<Law> {
        match self {
            SampleFormat::Mulaw => Some(Law::Mulaw),
            SampleFormat::Alaw => Some(Law::Alaw),
            SampleFormat::Pcm16 => None,
        }
    }
}

/// What the operator asks recordings to be stored as (SPEC D5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestedFormat {
    /// Ogg Opus, one uncoupled stream per party.
    #[default]
    OggOpus,
    /// WAV with 16-bit linear samples.
    WavPcm16,
    /// WAV with the G.711 codes as they arrived; PCM16 where a call had more than one law.
    WavAsReceived,
}

/// What an object holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredFormat {
    /// Ogg Opus (RFC 7845), one uncoupled stream per party.
    OggOpus,
    /// WAV with 16-bit linear samples.
    WavPcm16,
    /// WAV with G.711 µ-law codes as received.
    WavMulaw,
    /// WAV with G.711 A-law codes as received.
    WavAlaw,
}

impl StoredFormat {
    /// The file name of an object in this format.
    pub fn file_name(self) -> &'static str {
        match self {
            StoredFormat::OggOpus => "audio.ogg",
            StoredFormat::WavPcm16 | StoredFormat::WavMulaw | StoredFormat::WavAlaw => "audio.wav",
        }
    }

    /// The word that stands for it in manifests and in the catalogue.
    pub fn word(self) -> &'static str {
        match self {
            StoredFormat::OggOpus => "ogg_opus",
            StoredFormat::WavPcm16 => "wav_pcm16",
            StoredFormat::WavMulaw => "wav_mulaw",
            StoredFormat::WavAlaw => "wav_alaw",
        }
    }

    /// Reads what [`StoredFormat::word`] gives.
    pub fn from_word(word: &str) -> Option<StoredFormat> {
        let all = [
            StoredFormat::OggOpus,
            StoredFormat::WavPcm16,
            StoredFormat::WavMulaw,
            StoredFormat::WavAlaw,
        ];
        all.into_iter().find(|format| format.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_words_have_inverses() {
        for format in [SampleFormat::Mulaw, SampleFormat::Alaw, SampleFormat::Pcm16] {
            assert_eq!(SampleFormat::from_code(format.code()), Some(format));
        }
        assert_eq!(SampleFormat::from_code(0), None);
        assert_eq!(SampleFormat::from_code(4), None);
        for word in ["ogg_opus", "wav_pcm16", "wav_mulaw", "wav_alaw"] {
            let format = StoredFormat::from_word(word).unwrap();
            assert_eq!(serde_json::to_string(&format).unwrap(), format!("{word:?}"));
        }
        assert_eq!(StoredFormat::from_word("mp3"), None);
    }
}
