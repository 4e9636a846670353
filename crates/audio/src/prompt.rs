//! Sounds that are played to a party: decoded once, kept in every form a leg may need.

mod decode;
mod encode;

use thiserror::Error;

use crate::codec::{Codec, CodecError, G729Library};
use crate::g711::{self, Law};
use crate::tone::ToneShape;

/// Longest prompt, in seconds.
pub const LONGEST_PROMPT_S: u32 = 60;

/// A sound at 8 kHz, mono: linear, and encoded in both laws. All three are equally long. In other
/// codecs it is encoded when [`Prompt::encode`] is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// 16-bit samples.
    pub linear: Box<[i16]>,
    /// The same in mu-law.
    pub mulaw: Box<[u8]>,
    /// The same in A-law.
    pub alaw: Box<[u8]>,
    /// The same at 48 kHz, when the file held more than 8 kHz can.
    wide: Option<Box<[i16]>>,
    encoded: Vec<Encoded>,
}

/// The sound in a codec, in payloads of 20 ms.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Encoded {
    codec: Codec,
    frames: Box<[Box<[u8]>]>,
}

/// Why a sound file cannot be a prompt.
#[derive(Debug, Error)]
pub enum PromptError {
    /// No format or codec that is known here.
    #[error("the sound's format is not supported: {reason}")]
    Unsupported {
        /// What was not recognised.
        reason: String,
    },
    /// A known format, but damaged.
    #[error("the sound cannot be decoded: {reason}")]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// Decoded, but there is not one sample in it.
    #[error("the sound is empty")]
    Empty,
    /// Longer than [`LONGEST_PROMPT_S`].
    #[error("the sound is longer than {LONGEST_PROMPT_S} s")]
    TooLong,
}

impl Prompt {
    /// Decodes a sound file of any supported format, mixes it to mono and resamples it to 8 kHz,
    /// beside that to 48 kHz for wide codecs if it holds more than 8 kHz can. Its level is kept.
    ///
    /// # Errors
    /// Every [`PromptError`].
    pub fn decode(file: &[u8]) -> Result<Self, PromptError> {
        let sound = decode::to_mono(file)?;
        let mut prompt = Self::from_linear(sound.narrow);
        prompt.wide = sound.wide.map(Vec::into_boxed_slice);
        Ok(prompt)
    }

    /// The same sound so many dB louder; what does not fit is cut off at full scale.
    #[must_use]
    pub fn louder(&self, db: f64) -> Self {
        let gain = 10_f64.powf(db / 20.0);
        let scaled = |samples: &[i16]| -> Vec<i16> {
            // A cast from floating point saturates.
            let scaled = samples
                .iter()
                .map(|&s| (f64::from(s) * gain).round() as i16);
            scaled.collect()
        };
        let mut prompt = Self::from_linear(scaled(&self.linear));
        prompt.wide = self.wide.as_deref().map(scaled).map(Vec::into_boxed_slice);
        prompt
    }

    /// A prompt of these samples.
    #[must_use]
    pub fn from_linear(linear: impl Into<Box<[i16]>>) -> Self {
        let linear = linear.into();
        let coded = |law| {
            linear
                .iter()
                .map(|&sample| g711::encode(law, sample))
                .collect()
        };
        Self {
            mulaw: coded(Law::Mulaw),
            alaw: coded(Law::Alaw),
            linear,
            wide: None,
            encoded: Vec::new(),
        }
    }

    /// A tone as a prompt.
    #[must_use]
    pub fn tone(shape: &ToneShape) -> Self {
        Self::from_linear(shape.samples())
    }

    /// The codes for a leg that speaks `law`.
    #[must_use]
    pub fn coded(&self, law: Law) -> &[u8] {
        match law {
            Law::Mulaw => &self.mulaw,
            Law::Alaw => &self.alaw,
        }
    }

    /// Encodes the sound in each of `codecs` that it is not in yet, in frames of 20 ms, the last
    /// filled up with silence. Of frames that do not divide (L16 at 11,025 Hz) some are a sample
    /// longer. Without its library G.729 is left out.
    ///
    /// # Errors
    /// [`CodecError::Rate`], [`CodecError::Setup`]; what was encoded before stays.
    pub fn encode(
        &mut self,
        codecs: &[Codec],
        g729: Option<&G729Library>,
    ) -> Result<(), CodecError> {
        for &codec in codecs {
            let missing = codec == Codec::G729 && g729.is_none();
            if !missing && self.frames(codec).is_none() {
                let frames = encode::frames(&self.linear, self.wide.as_deref(), codec, g729)?;
                self.encoded.push(Encoded { codec, frames });
            }
        }
        Ok(())
    }

    /// The payloads of 20 ms that [`Prompt::encode`] made for `codec`, in order; `None` when it
    /// was not asked for that codec.
    #[must_use]
    pub fn frames(&self, codec: Codec) -> Option<&[Box<[u8]>]> {
        let found = self.encoded.iter().find(|made| made.codec == codec);
        found.map(|made| &*made.frames)
    }

    /// Length in milliseconds, rounded up.
    #[must_use]
    pub fn length_ms(&self) -> u64 {
        (self.linear.len() as u64 * 1_000).div_ceil(u64::from(crate::SAMPLE_RATE_HZ))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::container::wav::{Layout, Pcm16Writer};
    use crate::measure;

    macro_rules! fixture {
        ($path:literal) => {
            include_bytes!(concat!("../../../fixtures/", $path)).as_slice()
        };
    }

    fn wav(samples: &[i16]) -> Vec<u8> {
        let mut sink = Cursor::new(Vec::new());
        let mut writer = Pcm16Writer::new(&mut sink, Layout::Mono).expect("begun");
        writer.push(samples).expect("pushed");
        writer.finish().expect("finished");
        sink.into_inner()
    }

    /// Every file holds 0.1 s of silence and 0.4 s of 1 kHz at -12 dBFS. AAC's priming samples (21 ms)
    /// are not cut off: MP4 readers differ about them, and a prompt may begin so much later.
    #[test]
    fn every_format_gives_the_same_sound_at_the_same_time() {
        let check = |name: &str, file: &[u8], late: usize, padding: usize| {
            let prompt = Prompt::decode(file).unwrap_or_else(|error| panic!("{name}: {error}"));
            let samples = &prompt.linear;
            assert!(
                (4_000..=4_000 + padding).contains(&samples.len()),
                "{name}: {}",
                samples.len()
            );
            let level = measure::goertzel_dbfs(&samples[1_600..3_200], 1_000.0);
            // LAME at this bit rate loses 0.45 dB of a pure tone, in any decoder.
            assert!((level + 12.0).abs() < 0.5, "{name}: {level} dBFS");
            let onset = samples.iter().position(|s| s.unsigned_abs() > 3_000);
            let onset = onset.unwrap_or_else(|| panic!("{name}: no tone"));
            assert!(
                (798..=804).contains(&(onset - late)),
                "{name}: the tone begins at {onset}"
            );
        };
        check("flac", fixture!("audio/formats/stereo-44100.flac"), 0, 1);
        check("mp3", fixture!("audio/formats/stereo-44100.mp3"), 0, 400);
        check("m4a", fixture!("audio/formats/stereo-48000.m4a"), 171, 400);
        check("opus", fixture!("audio/formats/stereo-48000.opus"), 0, 1);
        check("vorbis", fixture!("audio/formats/stereo-32000.ogg"), 0, 1);
        check("wav 16 kHz", fixture!("audio/formats/mono-16000.wav"), 0, 1);
        check("wav 11 kHz", fixture!("audio/formats/mono-11025.wav"), 0, 1);
        check("aiff", fixture!("audio/formats/mono-22050.aiff"), 0, 1);
        check("mu-law", fixture!("audio/formats/mulaw-8000.wav"), 0, 1);
        check("A-law", fixture!("audio/formats/alaw-8000.wav"), 0, 1);
    }

    #[test]
    fn sound_at_8_khz_is_taken_sample_for_sample() {
        let samples: Vec<i16> = (0..4_001)
            .map(|n| (n * 977 % 65_536 - 32_768) as i16)
            .collect();
        let prompt = Prompt::decode(&wav(&samples)).expect("decoded");
        assert_eq!(prompt.linear.to_vec(), samples);
        assert_eq!(prompt.length_ms(), 501);
        for (at, &sample) in samples.iter().enumerate() {
            assert_eq!(
                prompt.coded(Law::Mulaw)[at],
                g711::encode(Law::Mulaw, sample)
            );
            assert_eq!(prompt.coded(Law::Alaw)[at], g711::encode(Law::Alaw, sample));
        }
    }

    #[test]
    fn a_wav_whose_sizes_were_never_filled_in_is_taken() {
        let mut file = wav(&[1_000; 800]);
        file[4..8].fill(0xFF);
        file[40..44].fill(0xFF);
        assert_eq!(
            Prompt::decode(&file).expect("decoded").linear.to_vec(),
            [1_000; 800]
        );
    }

    #[test]
    fn the_shipped_prompts_are_short_and_loud_enough() {
        let check = |file: &[u8]| {
            let prompt = Prompt::decode(file).expect("decoded");
            assert!(
                (1_000..3_000).contains(&prompt.length_ms()),
                "{} ms",
                prompt.length_ms()
            );
            let level = measure::rms_dbfs(&prompt.linear);
            assert!((-17.0..=-15.0).contains(&level), "{level} dBFS");
        };
        check(fixture!("prompts/en/recording-started.wav"));
        check(fixture!("prompts/en/recording-paused.wav"));
        check(fixture!("prompts/en/recording-resumed.wav"));
        check(fixture!("prompts/en/recording-stopped.wav"));
        check(fixture!("prompts/en/failure-continues.wav"));
        check(fixture!("prompts/en/failure-ends.wav"));
        check(fixture!("prompts/en/compliance.wav"));
        check(fixture!("prompts/en/mailbox-greeting.wav"));
        check(fixture!("prompts/nl/recording-started.wav"));
        check(fixture!("prompts/nl/recording-paused.wav"));
        check(fixture!("prompts/nl/recording-resumed.wav"));
        check(fixture!("prompts/nl/recording-stopped.wav"));
        check(fixture!("prompts/nl/failure-continues.wav"));
        check(fixture!("prompts/nl/failure-ends.wav"));
        check(fixture!("prompts/nl/compliance.wav"));
        check(fixture!("prompts/nl/mailbox-greeting.wav"));
    }

    #[test]
    fn what_cannot_be_a_prompt_says_why() {
        let check = |name: &str, file: &[u8], expected: &str| {
            let error = Prompt::decode(file).expect_err(name).to_string();
            assert!(error.starts_with(expected), "{name}: {error}");
        };
        check("nothing", b"", "the sound's format is not supported: ");
        check(
            "text",
            &b"Dear reader, this is a letter. ".repeat(100),
            "the sound's format",
        );
        check("no samples", &wav(&[]), "the sound is empty");
        check("long", &wav(&[0; 480_001]), "the sound is longer than 60 s");
        Prompt::decode(&wav(&[0; 480_000])).expect("exactly 60 s");
    }

    #[test]
    fn damaged_files_never_panic() {
        for file in [
            fixture!("audio/formats/stereo-44100.flac"),
            fixture!("audio/formats/stereo-44100.mp3"),
            fixture!("audio/formats/stereo-48000.m4a"),
            fixture!("audio/formats/stereo-48000.opus"),
            fixture!("audio/formats/mono-22050.aiff"),
            fixture!("audio/formats/mono-16000.wav"),
        ] {
            for at in (0..file.len().min(600)).step_by(7) {
                let mut damaged = file.to_vec();
                damaged[at] ^= 0xA5;
                let _ = Prompt::decode(&damaged);
            }
            for length in (0..file.len()).step_by(file.len() / 12) {
                let _ = Prompt::decode(&file[..length]);
            }
        }
    }

    #[test]
    fn a_prompt_is_made_louder_and_never_wraps() {
        let prompt = Prompt::decode(fixture!("audio/formats/mono-16000.wav")).expect("decoded");
        for db in [-40.0, -6.0, 0.0, 6.0] {
            let other = prompt.louder(db);
            let level = |prompt: &Prompt| measure::rms_dbfs(&prompt.linear);
            assert!((level(&other) - level(&prompt) - db).abs() < 0.1, "{db} dB");
            let wide = |prompt: &Prompt| measure::rms_dbfs(prompt.wide.as_deref().expect("wide"));
            assert!((wide(&other) - wide(&prompt) - db).abs() < 0.1, "{db} dB");
        }
        let loud = Prompt::from_linear(vec![20_000, -20_000, 0]).louder(20.0);
        assert_eq!(loud.linear.to_vec(), [i16::MAX, i16::MIN, 0]);
        assert_eq!(prompt.louder(0.0).linear, prompt.linear);
    }

    #[test]
    fn a_tone_is_a_prompt() {
        let prompt = Prompt::tone(&crate::tone::repeat_tone());
        assert_eq!(
            (prompt.length_ms(), prompt.mulaw.len(), prompt.alaw.len()),
            (500, 4_000, 4_000)
        );
    }
}
