//! From a prompt's sound to payloads of 20 ms.

use super::decode::WIDE_RATE_HZ;
use crate::SAMPLE_RATE_HZ;
use crate::codec::{Codec, CodecError, Encoder, EncoderSettings, G729Library};
use crate::resample::Resampler;

/// Payloads a second.
const PER_SECOND: usize = 50;
/// Opus without SILK speaks so much later than it is fed, in samples of 48 kHz: 2.5 ms. What is
/// behind the sound is encoded too, so that its end is heard.
const OPUS_LOOKAHEAD: usize = 120;

/// The payloads, for a decoder with any history, of a sound given at 8 kHz and, if it is a wide one, at 48 kHz.
pub(super) fn frames(
    narrow: &[i16],
    wide: Option<&[i16]>,
    codec: Codec,
    g729: Option<&G729Library>,
) -> Result<Box<[Box<[u8]>]>, CodecError> {
    let mut encoder = Encoder::after_anything(codec, EncoderSettings::default(), g729)?;
    let rate = codec.sample_rate_hz();
    let mut samples = match wide.filter(|_| rate > SAMPLE_RATE_HZ) {
        Some(wide) => at_rate(wide, WIDE_RATE_HZ, codec)?,
        None => at_rate(narrow, SAMPLE_RATE_HZ, codec)?,
    };
    if codec == Codec::Opus {
        samples.resize(samples.len() + OPUS_LOOKAHEAD, 0);
    }
    let start = |frame: usize| frame * rate as usize / PER_SECOND;
    let mut frames = Vec::new();
    while start(frames.len()) < samples.len() {
        let (from, to) = (start(frames.len()), start(frames.len() + 1));
        if to > samples.len() {
            samples.resize(to, 0);
        }
        let mut payload = Vec::new();
        encoder.encode(&samples[from..to], &mut payload)?;
        frames.push(payload.into_boxed_slice());
    }
    Ok(frames.into_boxed_slice())
}

fn at_rate(samples: &[i16], from_hz: u32, codec: Codec) -> Result<Vec<i16>, CodecError> {
    let resampler = Resampler::new(from_hz, codec.sample_rate_hz());
    let mut resampler = resampler.map_err(|error| CodecError::Setup {
        codec,
        reason: error.to_string(),
    })?;
    let mut out = Vec::new();
    resampler.push(samples, &mut out);
    resampler.finish(&mut out);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Channels, Decoder};
    use crate::measure;
    use crate::prompt::Prompt;

    const CODECS: [Codec; 6] = [
        Codec::Pcmu,
        Codec::G722,
        Codec::Opus,
        Codec::L16 {
            rate_hz: 11_025,
            channels: Channels::Mono,
        },
        Codec::L16 {
            rate_hz: 44_100,
            channels: Channels::Stereo,
        },
        Codec::L16 {
            rate_hz: 48_000,
            channels: Channels::Mono,
        },
    ];

    fn heard(prompt: &Prompt, codec: Codec, g729: Option<&G729Library>) -> Vec<i16> {
        let rate = codec.sample_rate_hz();
        let mut decoder = Decoder::new(codec, rate, g729).expect("a decoder");
        let mut out = Vec::new();
        for payload in prompt.frames(codec).expect("encoded") {
            decoder.decode(payload, &mut out).expect("decoded");
        }
        out
    }

    #[test]
    fn a_prompt_is_heard_at_its_level_in_every_codec() {
        let file = include_bytes!("../../../../fixtures/prompts/en/recording-started.wav");
        let mut prompt = Prompt::decode(file).expect("a prompt");
        let g729 = G729Library::open().ok();
        prompt.encode(&CODECS, None).expect("encoded");
        prompt
            .encode(&[Codec::G729], g729.as_ref())
            .expect("encoded");
        let level = measure::rms_dbfs(&prompt.linear);
        let speaks_g729 = g729.is_some().then_some(Codec::G729);
        for codec in CODECS.into_iter().chain(speaks_g729) {
            let heard = heard(&prompt, codec, g729.as_ref());
            let rate = u64::from(codec.sample_rate_hz());
            let ms = heard.len() as u64 * 1_000 / rate;
            let longest = prompt.length_ms() + 20 + 7;
            assert!(
                (prompt.length_ms()..=longest).contains(&ms),
                "{codec:?}: {ms} ms"
            );
            let read = measure::rms_dbfs(&heard);
            // G.729 does not carry the lowest and highest of a voice.
            let less = if codec == Codec::G729 { 1.0 } else { 0.0 };
            assert!(
                (read + less - level).abs() < 1.0,
                "{codec:?}: {read} for {level}"
            );
        }
    }

    #[test]
    fn a_wide_file_is_wide_in_wide_codecs_and_narrow_in_narrow_ones() {
        let mut file = std::io::Cursor::new(Vec::new());
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut wav = hound::WavWriter::new(&mut file, spec).expect("begun");
        for n in 0..16_000 {
            let step = std::f64::consts::TAU * 6_000.0 / 16_000.0;
            let sample = (10_000.0 * (step * f64::from(n)).sin()) as i16;
            wav.write_sample(sample).expect("written");
        }
        wav.finalize().expect("finished");
        let mut prompt = Prompt::decode(file.get_ref()).expect("a prompt");
        prompt.encode(&CODECS, None).expect("encoded");
        let level = |codec| measure::rms_dbfs(&heard(&prompt, codec, None));
        assert!(level(Codec::Pcmu) < -60.0);
        for codec in [Codec::G722, Codec::Opus, CODECS[4], CODECS[5]] {
            assert!(
                (level(codec) + 13.3).abs() < 1.5,
                "{codec:?}: {}",
                level(codec)
            );
        }
    }

    /// Full-scale noise in 20 ms payloads of an ordinary encoder.
    fn loud(codec: Codec, g729: Option<&G729Library>) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(codec, EncoderSettings::default(), g729).expect("begun");
        let mut state = 1_u32;
        let mut next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16
        };
        let samples = codec.sample_rate_hz() as usize / PER_SECOND;
        let mut payload = Vec::new();
        let frames = (0..PER_SECOND).map(|_| {
            let noise: Vec<i16> = (0..samples).map(&mut next).collect();
            encoder.encode(&noise, &mut payload).expect("20 ms");
            payload.clone()
        });
        frames.collect()
    }

    /// Per 20 ms, how much louder than `level` in dBFS a tone is heard after `before`, in dB.
    fn louder(level: f64, codec: Codec, before: &[Vec<u8>], tone: &[Vec<u8>]) -> Vec<f64> {
        let g729 = G729Library::open().ok();
        let rate = codec.sample_rate_hz();
        let mut decoder = Decoder::new(codec, rate, g729.as_ref()).expect("a decoder");
        let mut out = Vec::new();
        let mut heard = |payload: &Vec<u8>| {
            out.clear();
            decoder.decode(payload, &mut out).expect("decoded");
            measure::rms_dbfs(&out) - level
        };
        for payload in before {
            heard(payload);
        }
        // What comes last is the end of the tone and no whole 20 ms of it.
        tone[..tone.len() - 1].iter().map(heard).collect()
    }

    /// Predictors take their time to forget: those of G.722 up to 120 ms after a pure tone, which
    /// they know best; after noise they are right in the second payload. G.729 is made for speech:
    /// a tone wavers in it by 3 dB for its first 200 ms, whatever came before.
    #[test]
    fn a_prompt_has_its_level_whatever_was_heard_before() {
        let tone: Vec<i16> = (0..8_000)
            .map(|n| (8_231.0 * (std::f64::consts::TAU * f64::from(n) / 8.0).sin()) as i16)
            .collect();
        let level = measure::rms_dbfs(&tone);
        let g729 = G729Library::open().ok();
        let spoken = g729.is_some().then_some((Codec::G729, 3.5, 2, 2));
        let codecs = [(Codec::Opus, 0.2, 2, 2), (Codec::G722, 1.5, 2, 6)];
        for (codec, most, after_noise, after_tone) in codecs.into_iter().chain(spoken) {
            let mut prompt = Prompt::from_linear(&tone[..]);
            prompt.encode(&[codec], g729.as_ref()).expect("encoded");
            let prompt = prompt.frames(codec).expect("encoded").iter();
            let prompt: Vec<Vec<u8>> = prompt.map(|payload| payload.to_vec()).collect();
            let noise = loud(codec, g729.as_ref());
            for (before, settled) in [(&noise, after_noise), (&prompt, after_tone)] {
                let louder = louder(level, codec, before, &prompt);
                let settled = louder[settled..].iter();
                assert!(
                    settled.clone().all(|db| db.abs() < most),
                    "{codec:?}: {louder:.1?}"
                );
            }
        }
    }

    /// What the prompts' own encoder is for: an ordinary one's gains come down too slowly.
    #[test]
    fn an_ordinary_opus_stream_would_be_too_loud_after_noise() {
        let tone: Vec<i16> = (0..48_000)
            .map(|n| (8_231.0 * (std::f64::consts::TAU * f64::from(n) / 48.0).sin()) as i16)
            .collect();
        let ordinary = EncoderSettings::default();
        let mut encoder = Encoder::new(Codec::Opus, ordinary, None).expect("begun");
        let mut payload = Vec::new();
        let payloads = tone.chunks(960).map(|frame| {
            encoder.encode(frame, &mut payload).expect("20 ms");
            payload.clone()
        });
        let payloads: Vec<Vec<u8>> = payloads.collect();
        let noise = loud(Codec::Opus, None);
        let louder = louder(measure::rms_dbfs(&tone), Codec::Opus, &noise, &payloads);
        assert!(louder[2..].iter().any(|db| *db > 3.0), "{louder:.2?}");
    }

    #[test]
    fn frames_are_there_for_what_was_asked_and_twice_is_once() {
        let mut prompt = Prompt::from_linear(vec![1_000; 1_000]);
        assert_eq!(prompt.frames(Codec::G722), None);
        prompt
            .encode(&[Codec::G722, Codec::G729, Codec::G722], None)
            .expect("encoded");
        assert_eq!(prompt.frames(Codec::G729), None);
        let once = prompt.clone();
        prompt.encode(&[Codec::G722], None).expect("encoded");
        assert_eq!(prompt, once);
        let frames = prompt.frames(Codec::G722).expect("encoded");
        assert_eq!(frames.iter().map(|f| f.len()).collect::<Vec<_>>(), [160; 7]);
        assert_eq!(Prompt::from_linear(vec![]).frames(Codec::Opus), None);
    }
}
