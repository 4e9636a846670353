//! The containers that take linear samples, behind one door.

use crate::format::StoredFormat;
use duolog_audio::container::Layout;
use duolog_audio::container::flac::{self, FlacError};
use duolog_audio::container::ogg_opus::{self, OggOpusError};
use duolog_audio::container::wav::{Pcm16Writer, WavError};
use std::io::{Seek, Write};
use thiserror::Error;

/// Why a container was not written.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The Ogg Opus file was not written.
    #[error("the Ogg Opus file could not be written")]
    Opus(#[from] OggOpusError),
    /// The WAV was not written.
    #[error("the WAV file could not be written")]
    Wav(#[from] WavError),
    /// The FLAC was not written.
    #[error("the FLAC file could not be written")]
    Flac(#[from] FlacError),
}

/// How Ogg Opus objects are made.
#[derive(Debug, Clone)]
pub(crate) struct OpusShape {
    /// Bits per second and channel of a file at 8 kHz.
    pub(crate) bitrate: u32,
    pub(crate) settings: ogg_opus::Settings,
    pub(crate) tags: ogg_opus::Tags,
}

/// What a container is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) format: Linear,
    pub(crate) layout: Layout,
    pub(crate) rate_hz: u32,
}

/// A container of linear samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linear {
    OggOpus,
    Wav,
    Flac,
}

impl Linear {
    /// The container that takes what an object in `format` holds.
    pub(crate) fn of(format: StoredFormat) -> Linear {
        match format {
            StoredFormat::OggOpus => Linear::OggOpus,
            StoredFormat::Flac => Linear::Flac,
            StoredFormat::WavPcm16 | StoredFormat::WavMulaw | StoredFormat::WavAlaw => Linear::Wav,
        }
    }
}

/// A container that is being written.
pub(crate) enum Sink<W: Write + Seek> {
    Opus(Box<ogg_opus::Writer<W>>),
    Wav(Pcm16Writer<W>),
    Flac(Box<flac::Writer<W>>),
}

impl<W: Write + Seek> Sink<W> {
    pub(crate) fn begin(shape: Shape, opus: &OpusShape, sink: W) -> Result<Sink<W>, SinkError> {
        let Shape {
            format,
            layout,
            rate_hz,
        } = shape;
        Ok(match format {
            Linear::OggOpus => {
                let settings = ogg_opus::Settings {
                    bitrate_per_channel: bitrate_at(opus.bitrate, rate_hz),
                    rate_hz,
                    ..opus.settings
                };
                let writer = ogg_opus::Writer::with_layout(sink, settings, &opus.tags, layout)?;
                Sink::Opus(Box::new(writer))
            }
            Linear::Wav => Sink::Wav(Pcm16Writer::with_rate(sink, layout, rate_hz)?),
            Linear::Flac => Sink::Flac(Box::new(flac::Writer::new(sink, layout, rate_hz)?)),
        })
    }

    /// Takes interleaved samples, whole frames.
    pub(crate) fn push(&mut self, interleaved: &[i16]) -> Result<(), SinkError> {
        match self {
            Sink::Opus(writer) => writer.push_interleaved(interleaved)?,
            Sink::Wav(writer) => writer.push(interleaved)?,
            Sink::Flac(writer) => writer.push(interleaved)?,
        }
        Ok(())
    }

    /// Takes silence: so many samples of each channel.
    pub(crate) fn push_silence(&mut self, samples: u64) -> Result<(), SinkError> {
        match self {
            Sink::Opus(writer) => writer.push_silence(samples)?,
            Sink::Wav(writer) => writer.push_silence(samples)?,
            Sink::Flac(writer) => writer.push_silence(samples)?,
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), SinkError> {
        match self {
            Sink::Opus(writer) => drop(writer.finish()?),
            Sink::Wav(writer) => writer.finish()?,
            Sink::Flac(writer) => drop(writer.finish()?),
        }
        Ok(())
    }
}

/// Wider speech takes more bits: 4/3 at 16 kHz, 2 at 24 kHz, 8/3 at 48 kHz of what it takes at 8 kHz.
fn bitrate_at(narrow: u32, rate_hz: u32) -> u32 {
    let thirds = match rate_hz {
        ..=12_000 => 3,
        12_001..=16_000 => 4,
        16_001..=24_000 => 6,
        _ => 8,
    };
    (narrow * thirds / 3).min(128_000)
}
