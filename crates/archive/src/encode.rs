//! From a spool's audio frames to a container, block by block: memory does not grow with length.
//!
//! Where a channel has no audio the container has silence, so that its clock is the call's. Where
//! recording was paused it has silence whatever the spool holds (SPEC D10).

use crate::format::{RequestedFormat, SampleFormat, StoredFormat};
use crate::gap::GapReason;
use crate::manifest::Level;
use crate::timeline::{Gap, Placer, Timeline};
use duolog_audio::container::ogg_opus::{self, OggOpusError};
use duolog_audio::container::wav::{G711Writer, Layout, Pcm16Writer, WavError};
use duolog_audio::g711::{self, Law};
use duolog_audio::measure;
use duolog_spool::{Frame, ReadError};
use std::io::{Seek, Write};
use thiserror::Error;

/// Samples of silence that are made at a time: 320 ms, as long as a block.
const SILENCE: u64 = 2_560;

/// The longest PCM16 WAV in stereo, in samples per channel: sizes in a WAV end at 4 GiB.
const MAX_PCM16_SAMPLES: u64 = (u32::MAX as u64 - 128) / 4;

/// The longest G.711 WAV in stereo, in samples per channel.
const MAX_G711_SAMPLES: u64 = (u32::MAX as u64 - 128) / 2;

/// Why a recording was not encoded.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The spool could not be read.
    #[error("the spool could not be read")]
    Spool(#[from] ReadError),
    /// The Ogg Opus file was not written.
    #[error("the Ogg Opus file could not be written")]
    Opus(#[from] OggOpusError),
    /// The WAV was not written.
    #[error("the WAV file could not be written")]
    Wav(#[from] WavError),
    /// The second reading was not as the first: somebody wrote to the spool.
    #[error("the spool changed between two readings: {written} samples instead of {expected}")]
    SpoolChanged {
        /// As found first.
        expected: u64,
        /// As found then.
        written: u64,
    },
}

/// What a recording is to be stored as, and why, where it is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) format: StoredFormat,
    pub(crate) note: Option<String>,
}

/// Chooses from what was asked for and what there is.
pub(crate) fn choose(requested: RequestedFormat, timeline: &Timeline) -> Choice {
    let plain = |format| Choice { format, note: None };
    let noted = |format, note: &str| Choice {
        format,
        note: Some(note.to_owned()),
    };
    let choice = match requested {
        RequestedFormat::OggOpus => plain(StoredFormat::OggOpus),
        RequestedFormat::WavPcm16 => plain(StoredFormat::WavPcm16),
        RequestedFormat::WavAsReceived => match one_law(timeline) {
            Some(Law::Mulaw) => plain(StoredFormat::WavMulaw),
            Some(Law::Alaw) => plain(StoredFormat::WavAlaw),
            None => noted(
                StoredFormat::WavPcm16,
                "the call had more than one G.711 law",
            ),
        },
    };
    let most = match choice.format {
        StoredFormat::OggOpus => u64::MAX,
        StoredFormat::WavPcm16 => MAX_PCM16_SAMPLES,
        StoredFormat::WavMulaw | StoredFormat::WavAlaw => MAX_G711_SAMPLES,
    };
    match timeline.length > most {
        true => noted(
            StoredFormat::OggOpus,
            "too long for a WAV file, whose sizes end at 4 GiB",
        ),
        false => choice,
    }
}

fn one_law(timeline: &Timeline) -> Option<Law> {
    let first = timeline.runs.first()?.format;
    let same = timeline.runs.iter().all(|run| run.format == first);
    if same { first.law() } else { None }
}

/// How Ogg Opus objects are made.
#[derive(Debug, Clone)]
pub(crate) struct OpusShape {
    pub(crate) settings: ogg_opus::Settings,
    pub(crate) tags: ogg_opus::Tags,
}

/// Encodes the audio frames among `frames` into `sink`, from its start; gives the level of each channel.
pub(crate) fn encode<W: Write + Seek>(
    timeline: &Timeline,
    format: StoredFormat,
    opus: &OpusShape,
    frames: impl Iterator<Item = Result<Frame, ReadError>>,
    sink: W,
) -> Result<[Level; 2], EncodeError> {
    let mut encoder = Encoder {
        gaps: &timeline.gaps,
        sink: Sink::begin(format, opus, sink)?,
        placer: Placer::default(),
        written: 0,
        levels: [measure::Level::default(); 2],
        channels: [Vec::new(), Vec::new()],
    };
    for frame in frames {
        if let Frame::Audio {
            position,
            format,
            samples,
            payload,
        } = frame?
        {
            encoder.audio(position, u64::from(samples), format, &payload)?;
        }
    }
    encoder.silence_until(timeline.length)?;
    if encoder.written != timeline.length {
        let (expected, written) = (timeline.length, encoder.written);
        return Err(EncodeError::SpoolChanged { expected, written });
    }
    encoder.sink.finish()?;
    Ok(encoder.levels.map(|level| Level {
        rms_dbfs: tenths(level.rms_dbfs()),
        peak_dbfs: tenths(level.peak_dbfs()),
    }))
}

/// A level to a tenth of a decibel: nobody hears more, and a manifest reads better.
fn tenths(level_dbfs: f64) -> f64 {
    (level_dbfs * 10.0).round() / 10.0
}

struct Encoder<'t, W: Write + Seek> {
    gaps: &'t [Vec<Gap>; 2],
    sink: Sink<W>,
    placer: Placer,
    /// Samples per channel in the sink.
    written: u64,
    levels: [measure::Level; 2],
    /// The block in hand, decoded, per channel.
    channels: [Vec<i16>; 2],
}

impl<W: Write + Seek> Encoder<'_, W> {
    fn audio(
        &mut self,
        position: u64,
        samples: u64,
        format: u8,
        payload: &[u8],
    ) -> Result<(), EncodeError> {
        let Some(format) = SampleFormat::from_code(format) else {
            return Ok(());
        };
        if samples * format.frame_bytes() as u64 != payload.len() as u64 {
            return Ok(());
        }
        let Some(place) = self.placer.place(position, samples) else {
            return Ok(());
        };
        self.silence_until(place.position)?;
        let skipped = place.skip as usize * format.frame_bytes();
        let mut block = payload[skipped..].to_vec();
        self.silence_pauses(place.position, format, &mut block);
        self.decode(format, &block);
        self.measure(place.position, place.samples);
        self.sink.push(format, &block, &self.channels)?;
        self.written = place.position + place.samples;
        Ok(())
    }

    fn silence_until(&mut self, position: u64) -> Result<(), EncodeError> {
        while self.written < position {
            let samples = SILENCE.min(position - self.written);
            self.sink.push_silence(samples as usize)?;
            self.written += samples;
        }
        Ok(())
    }

    /// Overwrites what a faulty writer may have kept of a pause.
    fn silence_pauses(&self, position: u64, format: SampleFormat, block: &mut [u8]) {
        let samples = (block.len() / format.frame_bytes()) as u64;
        let sample_bytes = format.frame_bytes() / 2;
        let silence = format.law().map_or(0, g711::silence);
        for channel in 0..2 {
            for gap in gaps_within(&self.gaps[channel], position, position + samples) {
                if gap.reason != GapReason::Paused {
                    continue;
                }
                let from = gap.position.max(position) - position;
                let until = (gap.position + gap.samples).min(position + samples) - position;
                for sample in from as usize..until as usize {
                    let at = sample * format.frame_bytes() + channel * sample_bytes;
                    block[at..at + sample_bytes].fill(silence);
                }
            }
        }
    }

    fn decode(&mut self, format: SampleFormat, block: &[u8]) {
        let [left, right] = &mut self.channels;
        left.clear();
        right.clear();
        match format.law() {
            Some(law) => {
                for &[owner, other] in block.as_chunks::<2>().0 {
                    left.push(g711::decode(law, owner));
                    right.push(g711::decode(law, other));
                }
            }
            None => {
                for &[l0, l1, r0, r1] in block.as_chunks::<4>().0 {
                    left.push(i16::from_le_bytes([l0, l1]));
                    right.push(i16::from_le_bytes([r0, r1]));
                }
            }
        }
    }

    /// Only what is there counts: silence in a gap says nothing about how loud a party is.
    fn measure(&mut self, position: u64, samples: u64) {
        for channel in 0..2 {
            let mut from = position;
            for gap in gaps_within(&self.gaps[channel], position, position + samples) {
                let until = gap.position.max(from);
                let there = (from - position) as usize..(until - position) as usize;
                self.levels[channel].push(&self.channels[channel][there]);
                from = (gap.position + gap.samples).min(position + samples);
            }
            let there = (from - position) as usize..samples as usize;
            self.levels[channel].push(&self.channels[channel][there]);
        }
    }
}

/// The gaps that touch a stretch; `gaps` are in order and do not overlap.
fn gaps_within(gaps: &[Gap], from: u64, until: u64) -> &[Gap] {
    let first = gaps.partition_point(|gap| gap.position + gap.samples <= from);
    let end = gaps.partition_point(|gap| gap.position < until);
    gaps.get(first..end).unwrap_or_default()
}

enum Sink<W: Write + Seek> {
    Opus(Box<ogg_opus::Writer<W>>),
    Pcm16(Pcm16Writer<W>),
    G711(Law, G711Writer<W>),
}

impl<W: Write + Seek> Sink<W> {
    fn begin(format: StoredFormat, opus: &OpusShape, sink: W) -> Result<Sink<W>, EncodeError> {
        let g711 = |law, sink| {
            let writer = G711Writer::streaming(sink, law, Layout::Stereo)?;
            Ok::<_, EncodeError>(Sink::G711(law, writer))
        };
        match format {
            StoredFormat::OggOpus => {
                let writer = ogg_opus::Writer::new(sink, opus.settings, &opus.tags)?;
                Ok(Sink::Opus(Box::new(writer)))
            }
            StoredFormat::WavPcm16 => Ok(Sink::Pcm16(Pcm16Writer::new(sink, Layout::Stereo)?)),
            StoredFormat::WavMulaw => g711(Law::Mulaw, sink),
            StoredFormat::WavAlaw => g711(Law::Alaw, sink),
        }
    }

    /// Takes a block as it came and decoded; uses the one that suits.
    fn push(
        &mut self,
        format: SampleFormat,
        block: &[u8],
        [left, right]: &[Vec<i16>; 2],
    ) -> Result<(), EncodeError> {
        match self {
            Sink::Opus(writer) => writer.push(left, right)?,
            Sink::Pcm16(writer) => {
                let pairs = left
                    .iter()
                    .zip(right)
                    .flat_map(|(&left, &right)| [left, right]);
                writer.push(&pairs.collect::<Vec<i16>>())?;
            }
            Sink::G711(law, writer) if format.law() == Some(*law) => writer.push(block)?,
            Sink::G711(law, writer) => {
                let pairs = left
                    .iter()
                    .zip(right)
                    .flat_map(|(&left, &right)| [left, right]);
                let codes = pairs.map(|sample| g711::encode(*law, sample));
                writer.push(&codes.collect::<Vec<u8>>())?;
            }
        }
        Ok(())
    }

    fn push_silence(&mut self, samples: usize) -> Result<(), EncodeError> {
        match self {
            Sink::Opus(writer) => {
                let silence = vec![0; samples];
                writer.push(&silence, &silence)?;
            }
            Sink::Pcm16(writer) => writer.push(&vec![0; 2 * samples])?,
            Sink::G711(law, writer) => writer.push(&vec![g711::silence(*law); 2 * samples])?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), EncodeError> {
        match self {
            Sink::Opus(writer) => drop(writer.finish()?),
            Sink::Pcm16(writer) => writer.finish()?,
            Sink::G711(_, writer) => drop(writer.finish()?),
        }
        Ok(())
    }
}
