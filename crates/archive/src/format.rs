//! Sample formats: what the spool holds, what is asked for, what an object holds.

use duolog_audio::g711::Law;
use serde::{Deserialize, Serialize};

/// Ticks per second: the unit of every position and length in spool, manifest and catalogue, whatever
/// the rate of the stored audio. A file at `r` Hz has exactly `ticks * r / 8000` samples per channel.
pub const SAMPLE_RATE_HZ: u32 = duolog_audio::SAMPLE_RATE_HZ;

/// The format code of a spool's audio frame whose payload is a list of coded frames
/// ([`duolog_audio::coded`]) of the owner.
pub const CODED_OWNER: u8 = 0x10;

/// The format code of a list of coded frames of the other party.
pub const CODED_OTHER: u8 = 0x11;

/// The channel whose coded frames a format code announces.
pub(crate) fn coded_channel(code: u8) -> Option<usize> {
    match code {
        CODED_OWNER => Some(0),
        CODED_OTHER => Some(1),
        _ => None,
    }
}

/// How the samples of a spool's audio frame are written: both channels interleaved, owner first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleFormat {
    /// G.711 µ-law, one byte a sample.
    Mulaw,
    /// G.711 A-law, one byte a sample.
    Alaw,
    /// Linear, two bytes a sample, little-endian.
    Pcm16,
    /// No bytes: what there is of this stretch is in coded frames.
    Empty,
}

impl SampleFormat {
    const ALL: [SampleFormat; 4] = [
        SampleFormat::Mulaw,
        SampleFormat::Alaw,
        SampleFormat::Pcm16,
        SampleFormat::Empty,
    ];

    /// The code to write into a spool's audio frame.
    pub fn code(self) -> u8 {
        match self {
            SampleFormat::Mulaw => 1,
            SampleFormat::Alaw => 2,
            SampleFormat::Pcm16 => 3,
            SampleFormat::Empty => 4,
        }
    }

    /// The format behind a code of the spool; none for a code that this version does not know.
    pub fn from_code(code: u8) -> Option<SampleFormat> {
        let mut all = SampleFormat::ALL.into_iter();
        all.find(|format| format.code() == code)
    }

    /// Bytes that one sample of both channels takes.
    pub fn frame_bytes(self) -> usize {
        match self {
            SampleFormat::Mulaw | SampleFormat::Alaw => 2,
            SampleFormat::Pcm16 => 4,
            SampleFormat::Empty => 0,
        }
    }

    pub(crate) fn law(self) -> Option<Law> {
        match self {
            SampleFormat::Mulaw => Some(Law::Mulaw),
            SampleFormat::Alaw => Some(Law::Alaw),
            SampleFormat::Pcm16 | SampleFormat::Empty => None,
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
    /// WAV with the G.711 codes as they arrived; PCM16 where a call had more than one law, or a codec
    /// that is not G.711.
    WavAsReceived,
    /// FLAC with 16-bit samples.
    Flac,
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
    /// FLAC (RFC 9639) with 16-bit samples.
    Flac,
}

impl StoredFormat {
    const ALL: [StoredFormat; 5] = [
        StoredFormat::OggOpus,
        StoredFormat::WavPcm16,
        StoredFormat::WavMulaw,
        StoredFormat::WavAlaw,
        StoredFormat::Flac,
    ];

    /// The file name of an object in this format.
    pub fn file_name(self) -> &'static str {
        match self {
            StoredFormat::OggOpus => "audio.ogg",
            StoredFormat::WavPcm16 | StoredFormat::WavMulaw | StoredFormat::WavAlaw => "audio.wav",
            StoredFormat::Flac => "audio.flac",
        }
    }

    /// The word that stands for it in manifests and in the catalogue.
    pub fn word(self) -> &'static str {
        match self {
            StoredFormat::OggOpus => "ogg_opus",
            StoredFormat::WavPcm16 => "wav_pcm16",
            StoredFormat::WavMulaw => "wav_mulaw",
            StoredFormat::WavAlaw => "wav_alaw",
            StoredFormat::Flac => "flac",
        }
    }

    /// Reads what [`StoredFormat::word`] gives.
    pub fn from_word(word: &str) -> Option<StoredFormat> {
        let mut all = StoredFormat::ALL.into_iter();
        all.find(|format| format.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_words_have_inverses() {
        for (code, format) in [1, 2, 3, 4].into_iter().zip(SampleFormat::ALL) {
            assert_eq!(format.code(), code);
            assert_eq!(SampleFormat::from_code(code), Some(format));
        }
        for code in [0, 5, CODED_OWNER, CODED_OTHER] {
            assert_eq!(SampleFormat::from_code(code), None);
        }
        assert_eq!(
            [0x10, 0x11, 0x12].map(coded_channel),
            [Some(0), Some(1), None]
        );
        for word in ["ogg_opus", "wav_pcm16", "wav_mulaw", "wav_alaw", "flac"] {
            let format = StoredFormat::from_word(word).unwrap();
            assert_eq!(serde_json::to_string(&format).unwrap(), format!("{word:?}"));
        }
        assert_eq!(StoredFormat::from_word("mp3"), None);
    }
}
