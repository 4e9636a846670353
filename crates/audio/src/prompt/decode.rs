//! From a sound file's bytes to 8 kHz mono.

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

/// Frames the resampler takes at a time; its delay is compensated, so this only weighs speed.
const RESAMPLER_CHUNK: usize = 1_024;

pub(super) fn to_mono_8khz(file: &[u8]) -> Result<Vec<i16>, PromptError> {
    let mono = decode(file)?;
    if mono.samples.is_empty() {
        return Err(PromptError::Empty);
    }
    let resampled = resample(mono)?;
    Ok(resampled
        .into_iter()
        .map(|s| (s * 32_768.0).round() as i16)
        .collect())
}

/// Mono samples, full scale 1.0, at the file's own rate.
#[derive(Default)]
struct Mono {
    rate_hz: u32,
    samples: Vec<f32>,
}

fn decode(file: &[u8]) -> Result<Mono, PromptError> {
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

fn resample(mono: Mono) -> Result<Vec<f32>, PromptError> {
    if mono.rate_hz == SAMPLE_RATE_HZ {
        return Ok(mono.samples);
    }
    let unusable = |reason: String| PromptError::Unsupported { reason };
    let (from, to) = (mono.rate_hz as usize, SAMPLE_RATE_HZ as usize);
    let mut resampler = Fft::<f32>::new(from, to, RESAMPLER_CHUNK, 1, FixedSync::Both)
        .map_err(|error| unusable(format!("its rate is {from} Hz: {error}")))?;
    let frames = mono.samples.len();
    let input = InterleavedSlice::new(&mono.samples, 1, frames)
        .expect("one channel of as many frames as samples");
    let output = resampler
        .process_all(&input, frames, None)
        .map_err(|error| unusable(format!("its rate is {from} Hz: {error}")))?;
    Ok(output.take_data())
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
