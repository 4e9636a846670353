//! Step 2: the container, in a file that has no name and goes with the process.

use super::{Assembled, StepError};
use crate::archive::Spool;
use crate::encode::{self, Choice, EncodeError, Settings};
use crate::format::{RequestedFormat, coded_channel};
use crate::frames::placed;
use crate::gap::{Concealed, GapReason};
use crate::lane::Found;
use crate::manifest::Level;
use crate::mask::mask;
use crate::sink::OpusShape;
use crate::timeline::{Timeline, gaps_within};
use duolog_audio::codec::{Codec, G729Library};
use duolog_audio::coded::{self, CodedFrame};
use duolog_spool::{Frame, ReadError, Reader, RecordingId};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// A container in a file without a name, and what could not go into it.
#[derive(Debug)]
pub(super) struct EncodedAudio {
    pub(super) file: File,
    pub(super) choice: Choice,
    /// Per channel.
    pub(super) levels: Vec<Level>,
    pub(super) kept: Vec<KeptAsReceived>,
}

/// One channel's payloads of a codec that was not decoded, in a file without a name.
#[derive(Debug)]
pub(super) struct KeptAsReceived {
    pub(super) channel: usize,
    pub(super) codec: Codec,
    pub(super) ticks: u64,
    pub(super) file: File,
}

/// What step 2 works with.
pub(super) struct Workshop<'w, S> {
    pub(super) spool: &'w S,
    pub(super) scratch: PathBuf,
    pub(super) requested: RequestedFormat,
    pub(super) opus: OpusShape,
    pub(super) g729: Option<G729Library>,
}

impl<S: Spool> Workshop<'_, S> {
    /// Step 2, on a thread of its own. What it finds, it notes in the time line.
    pub(super) fn encode(&self, assembled: &mut Assembled) -> Result<EncodedAudio, StepError> {
        let recording = assembled.recording;
        let timeline = &mut assembled.timeline;
        let g729 = self.g729.as_ref();
        if timeline.masks_digits() {
            self.with_frames(recording, |frames| mask(timeline, g729, frames))?;
        }
        let ticks: Vec<u64> = match g729 {
            Some(_) => vec![0; timeline.sides().len()],
            None => timeline.list_untranscoded(Codec::G729),
        };
        let choice = encode::choose(self.requested, timeline);
        let settings = Settings {
            format: choice.format,
            opus: &self.opus,
            g729,
        };
        let file = tempfile::tempfile_in(&self.scratch)?;
        let mut buffered = BufWriter::new(&file);
        let encoded = self.with_frames(recording, |frames| {
            encode::encode(timeline, settings, frames, &mut buffered)
        })?;
        buffered.flush()?;
        drop(buffered);
        note(timeline, &encoded.found);
        let mut kept = Vec::new();
        for (channel, ticks) in ticks.into_iter().enumerate() {
            if ticks > 0 {
                let mut file = tempfile::tempfile_in(&self.scratch)?;
                self.keep(recording, timeline, channel, &mut file)?;
                kept.push(KeptAsReceived {
                    channel,
                    codec: Codec::G729,
                    ticks,
                    file,
                });
            }
        }
        Ok(EncodedAudio {
            file,
            choice,
            levels: encoded.levels,
            kept,
        })
    }

    fn with_frames<T>(
        &self,
        recording: RecordingId,
        work: impl FnOnce(&mut dyn Iterator<Item = Result<Frame, ReadError>>) -> Result<T, EncodeError>,
    ) -> Result<T, StepError> {
        let disk = self.spool.disk()?;
        let reader = Reader::open(&disk, recording)?;
        Ok(work(&mut reader.map(|numbered| Ok(numbered?.frame)))?)
    }

    /// Writes one channel's G.729 as [`crate::Untranscoded`] has it.
    fn keep(
        &self,
        recording: RecordingId,
        timeline: &Timeline,
        channel: usize,
        file: &mut File,
    ) -> Result<(), StepError> {
        let disk = self.spool.disk()?;
        let mut out = BufWriter::new(file);
        for numbered in Reader::open(&disk, recording)? {
            let Frame::Audio {
                position,
                format,
                payload,
                ..
            } = numbered?.frame
            else {
                continue;
            };
            if coded_channel(format) != Some(channel) {
                continue;
            }
            let list = wanted(timeline, channel, position, &payload);
            if !list.is_empty() {
                out.write_all(&position.to_le_bytes())?;
                out.write_all(&(list.len() as u32).to_le_bytes())?;
                out.write_all(&list)?;
            }
        }
        out.flush()?;
        Ok(())
    }
}

/// The G.729 frames of a list, but for those of which something must not be heard.
fn wanted(timeline: &Timeline, channel: usize, position: u64, payload: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    for frame in placed(position, payload).frames {
        let until = frame.position.saturating_add(frame.ticks);
        let mut gaps = gaps_within(&timeline.gaps[channel], frame.position, until).iter();
        let silenced = gaps.any(|gap| gap.reason.is_silenced());
        let offset = u32::try_from(frame.position - position);
        if let (Some(Codec::G729), false, Ok(offset)) = (frame.codec, silenced, offset) {
            coded::push(
                &mut list,
                CodedFrame {
                    offset,
                    ticks: frame.ticks as u16,
                    codec: Codec::G729.code(),
                    payload: frame.payload,
                },
            );
        }
    }
    list
}

/// Notes what was found while decoding.
fn note(timeline: &mut Timeline, found: &[Found]) {
    for (channel, found) in found.iter().enumerate() {
        if !found.undecodable.is_empty() {
            let count = found.refused;
            timeline.list(channel, &found.undecodable, GapReason::Unknown);
            let whose = ["the owner", "the other party"][channel.min(1)];
            timeline
                .flaws
                .push(format!("{count} packets of {whose} could not be decoded"));
        }
        for (position, how) in &found.concealed {
            let how: Concealed = *how;
            timeline.conceal(channel, *position, how);
        }
    }
}

impl Timeline {
    /// Lists what is in a codec that is not decoded; gives the ticks of each channel.
    fn list_untranscoded(&mut self, codec: Codec) -> Vec<u64> {
        let channels = 0..self.sides().len();
        let mut ticks = Vec::new();
        for channel in channels {
            let runs = self.coded[channel].iter().filter(|run| run.codec == codec);
            let runs: Vec<(u64, u64)> = runs
                .map(|run| (run.position, run.position + run.samples))
                .collect();
            self.list(channel, &runs, GapReason::Untranscoded);
            ticks.push(self.missing(channel, |reason| reason == GapReason::Untranscoded));
        }
        ticks
    }
}
