//! Copies on their way to the disk: in one file, or in parts without a seam.

use super::source::Source;
use super::{Export, ExportChannels, ExportError, Exported};
use crate::format::SAMPLE_RATE_HZ;
use crate::sink::{Linear, OpusShape, Shape, Sink, SinkError};
use duolog_audio::container::Layout;
use std::fs::File;
use std::io::{BufWriter, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::{NamedTempFile, TempPath};

/// No more parts than this are made: each is a file.
const MOST_PARTS: u64 = 100_000;

/// What is to be made.
pub(super) struct Job {
    pub(super) export: Export,
    pub(super) format: Linear,
    pub(super) opus: OpusShape,
    pub(super) cut: Cut,
}

/// Stretches of ticks that are left out, in order and apart.
#[derive(Debug, Default)]
pub(super) struct Cut(pub(super) Vec<(u64, u64)>);

impl Cut {
    /// The stretches as sample numbers.
    fn at(&self, rate_hz: u32) -> Vec<(u64, u64)> {
        let sample = |tick: u64| tick * u64::from(rate_hz) / u64::from(SAMPLE_RATE_HZ);
        let stretches = self.0.iter();
        stretches
            .map(|(from, until)| (sample(*from), sample(*until)))
            .collect()
    }
}

/// Where copies go.
pub(super) struct Targets {
    to: PathBuf,
    pub(super) folder: PathBuf,
    in_parts: bool,
}

impl Targets {
    pub(super) fn new(to: &Path, in_parts: bool) -> Result<Targets, ExportError> {
        let folder = match to.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let targets = Targets {
            to: to.to_owned(),
            folder,
            in_parts,
        };
        targets.free(&targets.path(0))?;
        Ok(targets)
    }

    /// The path of a part, counted from 0.
    fn path(&self, part: usize) -> PathBuf {
        if !self.in_parts {
            return self.to.clone();
        }
        let number = part + 1;
        let mut name = self.to.file_stem().unwrap_or_default().to_owned();
        name.push(format!(".{number:03}"));
        if let Some(extension) = self.to.extension() {
            name.push(".");
            name.push(extension);
        }
        self.folder.join(name)
    }

    fn free(&self, path: &Path) -> Result<(), ExportError> {
        match path.try_exists() {
            Ok(false) => Ok(()),
            Ok(true) => Err(ExportError::Exists {
                path: path.to_owned(),
            }),
            Err(source) => Err(failed(path, source)),
        }
    }
}

fn failed(path: &Path, source: std::io::Error) -> ExportError {
    ExportError::Target {
        path: path.to_owned(),
        source,
    }
}

/// Copies that are whole and have no names yet.
pub(super) struct Made {
    targets: Targets,
    files: Vec<TempPath>,
}

impl Made {
    /// Gives all of them their names, or none.
    pub(super) fn persist(self) -> Result<Exported, ExportError> {
        let mut parts = Vec::new();
        let mut bytes = 0;
        for (part, file) in self.files.into_iter().enumerate() {
            let path = self.targets.path(part);
            let length = std::fs::metadata(&file).map(|metadata| metadata.len());
            let named = length.and_then(|length| {
                file.persist_noclobber(&path)
                    .map_err(|error| error.error)
                    .map(|_| length)
            });
            match named {
                Ok(length) => bytes += length,
                Err(source) => {
                    // Ours alone: persisting never replaced anything.
                    for made in &parts {
                        let _ = std::fs::remove_file(made);
                    }
                    return Err(failed(&path, source));
                }
            }
            parts.push(path);
        }
        Ok(Exported {
            path: parts.first().cloned().unwrap_or_default(),
            bytes,
            parts,
            note: None,
        })
    }
}

/// Decodes the source into one copy or into parts.
pub(super) fn copy_out<R: Read + Seek>(
    source: &mut Source<R>,
    job: &Job,
    targets: Targets,
) -> Result<Made, ExportError> {
    let (layout, rate_hz) = (source.layout(), source.rate_hz());
    let chooser = Chooser::new(job.export.channels, layout);
    let part_frames = match job.export.parts {
        None => u64::MAX,
        Some(part) => frames_in(part, rate_hz).ok_or(ExportError::Parts {
            part,
            most: MOST_PARTS,
        })?,
    };
    let shape = Shape {
        format: job.format,
        layout: chooser.layout,
        rate_hz,
    };
    let mut copier = Copier {
        shape,
        opus: &job.opus,
        part_frames,
        targets,
        files: Vec::new(),
        open: None,
        chosen: Vec::new(),
    };
    copier.part()?;
    let cut = job.cut.at(rate_hz);
    let mut position = 0;
    while let Some(samples) = source.next_samples()? {
        let frames = (samples.len() / layout.channels()) as u64;
        for (from, until) in kept(&cut, position, position + frames) {
            let from = (from - position) as usize * layout.channels();
            let until = (until - position) as usize * layout.channels();
            copier.push(&chooser, &samples[from..until])?;
        }
        position += frames;
    }
    copier.finish()
}

/// Frames in a part: whole, at least one.
fn frames_in(part: Duration, rate_hz: u32) -> Option<u64> {
    let frames = part.as_nanos() * u128::from(rate_hz) / 1_000_000_000;
    u64::try_from(frames).ok().filter(|frames| *frames > 0)
}

/// What of `from..until` is not cut.
fn kept(cut: &[(u64, u64)], from: u64, until: u64) -> Vec<(u64, u64)> {
    let mut kept = Vec::new();
    let mut next = from;
    let first = cut.partition_point(|(_, end)| *end <= from);
    for (begin, end) in cut[first..].iter().take_while(|(begin, _)| *begin < until) {
        if *begin > next {
            kept.push((next, *begin));
        }
        next = *end;
    }
    if next < until {
        kept.push((next, until));
    }
    kept
}

/// Picks what a copy has of each frame.
struct Chooser {
    channels: ExportChannels,
    from: Layout,
    layout: Layout,
}

impl Chooser {
    fn new(channels: ExportChannels, from: Layout) -> Chooser {
        let layout = match channels {
            ExportChannels::Stereo => from,
            ExportChannels::Owner | ExportChannels::Other | ExportChannels::Mono => Layout::Mono,
        };
        Chooser {
            channels,
            from,
            layout,
        }
    }

    fn choose(&self, interleaved: &[i16], chosen: &mut Vec<i16>) {
        chosen.clear();
        let pairs = interleaved.as_chunks::<2>().0.iter();
        match (self.from, self.channels) {
            (Layout::Mono, _) | (_, ExportChannels::Stereo) => {
                chosen.extend_from_slice(interleaved);
            }
            (_, ExportChannels::Owner) => chosen.extend(pairs.map(|[owner, _]| owner)),
            (_, ExportChannels::Other) => chosen.extend(pairs.map(|[_, other]| other)),
            (_, ExportChannels::Mono) => chosen.extend(pairs.map(|[owner, other]| {
                let sum = i32::from(*owner) + i32::from(*other);
                (sum / 2) as i16
            })),
        }
    }
}

struct Copier<'j> {
    shape: Shape,
    opus: &'j OpusShape,
    part_frames: u64,
    targets: Targets,
    /// Without open files: there may be many parts.
    files: Vec<TempPath>,
    open: Option<Part>,
    chosen: Vec<i16>,
}

struct Part {
    file: NamedTempFile,
    sink: Sink<BufWriter<File>>,
    /// Frames that still fit.
    room: u64,
    /// Silent frames that the sink has not got yet.
    silent: u64,
}

impl Part {
    fn push_gathered(&mut self) -> Result<(), SinkError> {
        match std::mem::take(&mut self.silent) {
            0 => Ok(()),
            silent => self.sink.push_silence(silent),
        }
    }
}

/// Whether there is nothing but zeros.
fn is_silent(samples: &[i16]) -> bool {
    const ZEROS: [i16; 1_024] = [0; 1_024];
    let mut pieces = samples.chunks(ZEROS.len());
    pieces.all(|piece| *piece == ZEROS[..piece.len()])
}

impl Copier<'_> {
    fn push(&mut self, chooser: &Chooser, interleaved: &[i16]) -> Result<(), ExportError> {
        if is_silent(interleaved) {
            // Long silence costs a WAV neither time nor room: it is gathered until sound comes.
            let mut left = (interleaved.len() / chooser.from.channels()) as u64;
            while left > 0 {
                let part = self.part()?;
                let now = left.min(part.room);
                part.silent += now;
                part.room -= now;
                left -= now;
            }
            return Ok(());
        }
        let mut chosen = std::mem::take(&mut self.chosen);
        chooser.choose(interleaved, &mut chosen);
        let channels = self.shape.layout.channels();
        let mut rest = &chosen[..];
        while !rest.is_empty() {
            let part = self.part()?;
            let now = part.room.min((rest.len() / channels) as u64);
            let (these, later) = rest.split_at(now as usize * channels);
            part.push_gathered()?;
            part.sink.push(these)?;
            part.room -= now;
            rest = later;
        }
        self.chosen = chosen;
        Ok(())
    }

    /// The part in hand, a new one when it is full.
    fn part(&mut self) -> Result<&mut Part, ExportError> {
        if self.open.as_ref().is_none_or(|part| part.room == 0) {
            self.end_part()?;
            self.open = Some(self.begin_part()?);
        }
        Ok(self.open.as_mut().expect("opened above"))
    }

    fn begin_part(&self) -> Result<Part, ExportError> {
        let path = self.targets.path(self.files.len());
        if self.files.len() as u64 >= MOST_PARTS {
            return Err(ExportError::Parts {
                part: Duration::from_secs(self.part_frames / u64::from(self.shape.rate_hz)),
                most: MOST_PARTS,
            });
        }
        self.targets.free(&path)?;
        let failed = |source| failed(&path, source);
        let file = NamedTempFile::new_in(&self.targets.folder).map_err(failed)?;
        let sink = BufWriter::new(file.reopen().map_err(failed)?);
        Ok(Part {
            sink: Sink::begin(self.shape, self.opus, sink)?,
            file,
            room: self.part_frames,
            silent: 0,
        })
    }

    fn end_part(&mut self) -> Result<(), SinkError> {
        if let Some(mut part) = self.open.take() {
            part.push_gathered()?;
            part.sink.finish()?;
            self.files.push(part.file.into_temp_path());
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Made, ExportError> {
        self.end_part()?;
        Ok(Made {
            targets: self.targets,
            files: self.files,
        })
    }
}
