//! From a sound file's bytes to mono at 8 kHz and, of wide sound, at 48 kHz.

use std::io::{Cursor, ErrorKind};

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia_adapter_libopus::OpusDecoder;

use super::{LONGEST_PROMPT_S, PromptError};
use crate::SAMPLE_RATE_HZ;

/// The rate that every wide codec's sound is made from, in Hz.
pub(super) const WIDE_RATE_HZ: u32 = 48_000;
/// Frames the resampler takes at a time; its delay is compensated, so this only weighs speed.
const RESAMPLER_CHUNK: usize = 1_024;

/// A file's sound.
pub(super) struct Sound {
    /// At 8 kHz.
    pub(super) narrow: Vec<i16>,
    /// At 48 kHz, when the file's rate is above 8 kHz.
    pub(super) wide: Option<Vec<i16>>,
}

pub(super) fn to_mono(file: &[u8]) -> Result<Sound, PromptError> {
    let mono = decode(file)?;
    if mono.samples.is_empty() {
        return Err(PromptError::Empty);
    }
    let wide = match mono.rate_hz > SAMPLE_RATE_HZ {
        true => Some(resample(&mono, WIDE_RATE_HZ)?),
        false => None,
    };
    let narrow = resample(&mono, SAMPLE_RATE_HZ)?;
    Ok(Sound { narrow, wide })
}

/// Mono samples, full scale 1.0, at the file's own rate.
#[derive(Default)]
struct Mono {
    rate_hz: u32,
    samples: Vec<f32>,
}

/// Plain WAV, what most prompts are, is read by `hound`; everything else, and WAV that it does not take
/// (compressed, cut off), by `symphonia`.
fn decode(file: &[u8]) -> Result<Mono, PromptError> {
    match plain_wav(file) {
        Ok(mono) => Ok(mono),
        Err(_) => decode_any(file),
    }
}

fn plain_wav(file: &[u8]) -> Result<Mono, hound::Error> {
    let reader = hound::WavReader::new(Cursor::new(file))?;
    let spec = reader.spec();
    let samples: Vec<f32> = match spec.sample_format {
        hound::SampleFormat::Float => reader.into_samples::<f32>().collect::<Result<_, _>>()?,
        hound::SampleFormat::Int => {
            let full_scale = (1_i64 << (spec.bits_per_sample - 1)) as f32;
            let samples = reader.into_samples::<i32>();
            let samples = samples.map(|sample| Ok::<_, hound::Error>(sample? as f32 / full_scale));
            samples.collect::<Result<_, _>>()?
        }
    };
    let channels = usize::from(spec.channels.max(1));
    let longest = LONGEST_PROMPT_S as usize * spec.sample_rate as usize;
    if samples.len() / channels > longest || spec.sample_rate == 0 {
        return Err(hound::Error::TooWide);
    }
    let frames = samples.chunks_exact(channels);
    Ok(Mono {
        rate_hz: spec.sample_rate,
        samples: frames
            .map(|frame| frame.iter().sum::<f32>() / channels as f32)
            .collect(),
    })
}

fn decode_any(file: &[u8]) -> Result<Mono, PromptError> {
    let source = Box::new(Cursor::new(file.to_vec()));
    let stream = MediaSourceStream::new(source, MediaSourceStreamOptions::default());
    let mut format = symphonia::default::get_probe()
        .probe(
            &Hint::new(),
            stream,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(|error| unsupported(&error))?;
    let track = format
        .default_track(TrackType::Audio)
        .ok_or_else(|| PromptError::Unsupported {
            reason: "there is no audio in it".to_owned(),
        })?;
    let id = track.id;
    let parameters = track.codec_params.as_ref().and_then(|codec| codec.audio());
    let parameters = parameters.ok_or_else(|| PromptError::Unsupported {
        reason: "its codec is not known".to_owned(),
    })?;
    let mut decoder = codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|error| unsupported(&error))?;
    decode_track(format.as_mut(), id, decoder.as_mut())
}

/// Symphonia's decoders and libopus, which it lacks.
fn codecs() -> CodecRegistry {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<OpusDecoder>();
    codecs
}

fn decode_track(
    format: &mut dyn FormatReader,
    track: u32,
    decoder: &mut dyn AudioDecoder,
) -> Result<Mono, PromptError> {
    let mut mono = Mono::default();
    let mut interleaved: Vec<f32> = Vec::new();
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(mono),
            // A WAV whose size was never filled in ends so; what came before it is whole.
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                return Ok(mono);
            }
            Err(error) => return Err(damaged(&error)),
        };
        if packet.track_id != track {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(|error| damaged(&error))?;
        let spec = decoded.spec();
        let (rate_hz, channels) = (spec.rate(), spec.channels().count());
        if mono.rate_hz != 0 && rate_hz != mono.rate_hz {
            let reason = format!("its rate changes from {} to {rate_hz} Hz", mono.rate_hz);
            return Err(PromptError::Unsupported { reason });
        }
        mono.rate_hz = rate_hz;
        decoded.copy_to_vec_interleaved(&mut interleaved);
        let frames = interleaved.chunks_exact(channels.max(1));
        mono.samples
            .extend(frames.map(|frame| frame.iter().sum::<f32>() / channels as f32));
        if mono.samples.len() as u64 > u64::from(rate_hz) * u64::from(LONGEST_PROMPT_S) {
            return Err(PromptError::TooLong);
        }
    }
}

fn resample(mono: &Mono, to_hz: u32) -> Result<Vec<i16>, PromptError> {
    let round = |s: &f32| (s * 32_768.0).round() as i16;
    if mono.rate_hz == to_hz {
        return Ok(mono.samples.iter().map(round).collect());
    }
    let unusable = |reason: String| PromptError::Unsupported { reason };
    let (from, to) = (mono.rate_hz as usize, to_hz as usize);
    let mut resampler = Fft::<f32>::new(from, to, RESAMPLER_CHUNK, 1, FixedSync::Both)
        .map_err(|error| unusable(format!("its rate is {from} Hz: {error}")))?;
    let frames = mono.samples.len();
    let input = InterleavedSlice::new(&mono.samples, 1, frames)
        .expect("one channel of as many frames as samples");
    let output = resampler
        .process_all(&input, frames, None)
        .map_err(|error| unusable(format!("its rate is {from} Hz: {error}")))?;
    Ok(output.take_data().iter().map(round).collect())
}

fn unsupported(error: &Error) -> PromptError {
    PromptError::Unsupported {
        reason: error.to_string(),
    }
}

fn damaged(error: &Error) -> PromptError {
    PromptError::Damaged {
        reason: error.to_string(),
    }
}
