//! From a spool's audio frames to a container, block by block: memory does not grow with length.

use crate::as_received;
use crate::format::{RequestedFormat, SAMPLE_RATE_HZ, StoredFormat};
use crate::gap::GapReason;
use crate::lane::Found;
use crate::manifest::Level;
use crate::mixdown::{Output, mix_down};
use crate::sink::{Linear, OpusShape, Shape, Sink, SinkError};
use crate::timeline::{Gap, Timeline, gaps_within};
use duolog_audio::codec::{Codec, G729Library};
use duolog_audio::container::Layout;
use duolog_audio::g711::Law;
use duolog_audio::measure;
use duolog_audio::resample::ResampleError;
use duolog_spool::{Frame, ReadError};
use std::io::{Seek, Write};
use thiserror::Error;

/// Why a recording was not encoded.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The spool could not be read.
    #[error("the spool could not be read")]
    Spool(#[from] ReadError),
    /// The container was not written.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A codec's rate cannot be brought to the file's.
    #[error(transparent)]
    Rate(#[from] ResampleError),
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
    let noted = |note: &str| Choice {
        format: StoredFormat::WavPcm16,
        note: Some(note.to_owned()),
    };
    let mut choice = match requested {
        RequestedFormat::OggOpus => plain(StoredFormat::OggOpus),
        RequestedFormat::WavPcm16 => plain(StoredFormat::WavPcm16),
        RequestedFormat::Flac => plain(StoredFormat::Flac),
        RequestedFormat::WavAsReceived => match one_law(timeline) {
            _ if timeline.is_coded() => noted("the call had a codec that is not G.711"),
            Some(Law::Mulaw) => plain(StoredFormat::WavMulaw),
            Some(Law::Alaw) => plain(StoredFormat::WavAlaw),
            None => noted("the call had more than one G.711 law"),
        },
    };
    if timeline.missing_codec().is_some() {
        let untranscoded =
            "what was in G.729 is stored beside it as received: its library is missing";
        choice.note = Some(match choice.note {
            Some(note) => format!("{note}; {untranscoded}"),
            None => untranscoded.to_owned(),
        });
    }
    choice
}

impl Timeline {
    /// Whether any of the channels has coded frames.
    fn is_coded(&self) -> bool {
        let channels = self.sides().len();
        self.coded[..channels].iter().any(|coded| !coded.is_empty())
    }

    /// The codec of what is kept and not decoded.
    fn missing_codec(&self) -> Option<Codec> {
        let listed = self.listed().iter().flatten();
        let mut untranscoded = listed.filter(|gap| gap.reason == GapReason::Untranscoded);
        untranscoded.next().map(|_| Codec::G729)
    }

    /// How the channels lie in a container.
    pub(crate) fn layout(&self) -> Layout {
        match self.sides().len() {
            1 => Layout::Mono,
            _ => Layout::Stereo,
        }
    }
}

fn one_law(timeline: &Timeline) -> Option<Law> {
    let first = timeline.runs.first()?.format;
    let same = timeline.runs.iter().all(|run| run.format == first);
    if same { first.law() } else { None }
}

/// What came of encoding.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// Per channel.
    pub(crate) levels: Vec<Level>,
    /// Per channel; nothing where nothing was decoded but G.711.
    pub(crate) found: Vec<Found>,
}

/// How a recording is encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings<'s> {
    pub(crate) format: StoredFormat,
    pub(crate) opus: &'s OpusShape,
    pub(crate) g729: Option<&'s G729Library>,
}

/// Encodes the audio frames among `frames` into `sink`, from its start.
pub(crate) fn encode<W: Write + Seek>(
    timeline: &Timeline,
    settings: Settings<'_>,
    frames: impl Iterator<Item = Result<Frame, ReadError>>,
    sink: W,
) -> Result<Encoded, EncodeError> {
    let law = match settings.format {
        StoredFormat::WavMulaw => Some(Law::Mulaw),
        StoredFormat::WavAlaw => Some(Law::Alaw),
        StoredFormat::OggOpus | StoredFormat::WavPcm16 | StoredFormat::Flac => None,
    };
    if let Some(law) = law {
        let levels = as_received::copy(timeline, law, frames, sink)?;
        let found = Vec::new();
        return Ok(Encoded { levels, found });
    }
    let shape = Shape {
        format: Linear::of(settings.format),
        layout: timeline.layout(),
        rate_hz: timeline.rate_hz,
    };
    let mut container = Container {
        sink: Sink::begin(shape, settings.opus, sink)?,
        meter: Meter::new(timeline, timeline.rate_hz),
        interleaved: Vec::new(),
    };
    let found = mix_down(
        timeline,
        timeline.rate_hz,
        settings.g729,
        frames,
        &mut container,
    )?;
    container.sink.finish()?;
    let levels = container.meter.levels();
    Ok(Encoded { levels, found })
}

/// Measures and interleaves what comes, on its way into a container.
struct Container<'t, W: Write + Seek> {
    sink: Sink<W>,
    meter: Meter<'t>,
    interleaved: Vec<i16>,
}

impl<W: Write + Seek> Output for Container<'_, W> {
    fn samples(&mut self, position: u64, channels: &[Vec<i16>]) -> Result<(), EncodeError> {
        self.meter.measure(position, channels);
        if let [only] = channels {
            return Ok(self.sink.push(only)?);
        }
        self.interleaved.clear();
        if let [left, right] = channels {
            let pairs = left.iter().zip(right);
            self.interleaved
                .extend(pairs.flat_map(|(left, right)| [*left, *right]));
        }
        Ok(self.sink.push(&self.interleaved)?)
    }

    fn silence(&mut self, _: u64, samples: u64) -> Result<(), EncodeError> {
        Ok(self.sink.push_silence(samples)?)
    }
}

/// How loud the channels are.
pub(crate) struct Meter<'t> {
    gaps: &'t [Vec<Gap>],
    /// Samples per tick.
    factor: u64,
    levels: Vec<measure::Level>,
}

impl<'t> Meter<'t> {
    pub(crate) fn new(timeline: &'t Timeline, rate_hz: u32) -> Meter<'t> {
        let gaps = timeline.listed();
        Meter {
            gaps,
            factor: u64::from(rate_hz / SAMPLE_RATE_HZ),
            levels: vec![measure::Level::default(); gaps.len()],
        }
    }

    /// Only what is there counts: silence in a gap says nothing about how loud a party is.
    pub(crate) fn measure(&mut self, position: u64, channels: &[Vec<i16>]) {
        for (channel, samples) in channels.iter().enumerate() {
            let until = position + samples.len() as u64;
            let (first, last) = (position / self.factor, until.div_ceil(self.factor));
            let mut from = position;
            for gap in gaps_within(&self.gaps[channel], first, last) {
                let begin = (gap.position * self.factor).clamp(from, until);
                let there = (from - position) as usize..(begin - position) as usize;
                self.levels[channel].push(&samples[there]);
                from = (gap.end() * self.factor).clamp(begin, until);
            }
            self.levels[channel].push(&samples[(from - position) as usize..]);
        }
    }

    pub(crate) fn levels(&self) -> Vec<Level> {
        let level = |level: &measure::Level| Level {
            rms_dbfs: tenths(level.rms_dbfs()),
            peak_dbfs: tenths(level.peak_dbfs()),
        };
        self.levels.iter().map(level).collect()
    }
}

/// A level to a tenth of a decibel: nobody hears more, and a manifest reads better.
fn tenths(level_dbfs: f64) -> f64 {
    (level_dbfs * 10.0).round() / 10.0
}
