//! One recording being written: its current part, and the frames that are not durable yet.

use std::time::{Duration, Instant};

use crate::disk::{Disk, DiskError, FileId};
use crate::frame::{
    Draft, FRAME_HEADER_BYTES, Frame, FrameIn, Head, PART_HEADER_BYTES, Version, write_part_header,
};
use crate::gaps::{Dropped, Gaps};
use crate::lock::{LockKey, Locking};
use crate::name::{PartName, PartNo, PartState, RecordingId};

/// After durable frames are let go, a stream holds on to this much memory for the next ones.
const IDLE_KEPT_BYTES: usize = 64 * 1024;
/// How often taking another part's number is tried when the name is taken.
const NAMES_TRIED: u32 = 16;

/// What a stream still has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// The Seal is in `kept`.
    Sealing,
    /// The Seal is durable; the parts wait for their new names.
    Renaming,
}

/// Dropped ranges that are not written as Gap frames yet.
#[derive(Default)]
pub(crate) struct Owed {
    gaps: Gaps,
    /// When they are to be written at the latest.
    pub due: Option<Instant>,
}

/// When the disk is asked again after it failed.
#[derive(Default)]
pub(crate) struct Retry {
    /// Not before; `None`: at any time.
    pub at: Option<Instant>,
    /// What the last failure put it off by.
    backoff: Duration,
}

impl Retry {
    fn put_off(&mut self, now: Instant, first: Duration, longest: Duration) {
        self.backoff = (self.backoff * 2).clamp(first, longest);
        self.at = Some(now + self.backoff);
    }
}

/// One recording being written.
pub(crate) struct Stream {
    pub recording: RecordingId,
    pub phase: Phase,
    version: Version,
    /// What audio is encrypted with, where the recording may not be kept.
    locking: Option<Locking>,
    /// Frames encoded and not yet durable, from the last good commit on. They are all that is
    /// needed to go on in a new part when this one fails.
    pub kept: Vec<u8>,
    /// How much of `kept` is appended to `file`.
    written: usize,
    pub next_number: u64,
    /// End of the recording so far, in samples.
    pub end: u64,
    pub file: Option<FileId>,
    /// Parts that exist, all still named open.
    pub parts: Vec<PartNo>,
    next_part: u32,
    /// The name of `file` is not durable yet.
    pub unnamed: bool,
    pub owed: Owed,
    pub retry: Retry,
    /// Already in the writer's list of streams to commit.
    pub listed: bool,
}

impl Stream {
    /// Without a key everything is kept in clear.
    pub fn new(recording: RecordingId, key: Option<LockKey>) -> Stream {
        Stream {
            recording,
            phase: Phase::Open,
            version: match key {
                Some(_) => Version::Two,
                None => Version::One,
            },
            locking: key.map(Locking::new),
            kept: Vec::new(),
            written: 0,
            next_number: 0,
            end: 0,
            file: None,
            parts: Vec::new(),
            next_part: 0,
            unnamed: false,
            owed: Owed::default(),
            retry: Retry::default(),
            listed: false,
        }
    }

    /// Numbers and encodes a frame; gives its number.
    pub fn keep(&mut self, draft: &Draft<'_>) -> u64 {
        let number = self.next_number;
        let lock = self.locking.as_ref().map(|locking| &locking.lock);
        draft.write(self.recording, number, lock, &mut self.kept);
        self.next_number += 1;
        number
    }

    /// The key, if it was not written yet: it is to be written now.
    pub fn take_key(&mut self) -> Option<LockKey> {
        self.locking.as_mut()?.key.take()
    }

    /// No audio follows: nothing is encrypted any more, and what was not kept never will be.
    pub fn close(&mut self) {
        self.phase = Phase::Sealing;
        self.locking = None;
        if self.file.is_none() {
            // It may stay in memory for as long as the disk fails.
            self.kept.shrink_to_fit();
        }
    }

    pub fn drop_audio(&mut self, dropped: Dropped, write_at: Instant) {
        self.owed.gaps.add(dropped);
        self.owed.due.get_or_insert(write_at);
    }

    /// The dropped ranges that were not told yet. They go on growing; Gap frames come later.
    pub fn tell_gaps(&mut self) -> Vec<Dropped> {
        self.owed.due = None;
        self.owed.gaps.untold()
    }

    /// Encodes the dropped ranges as Gap frames, one per channel; gives what was not told of them yet.
    pub fn keep_gaps(&mut self, channels: u8) -> Vec<Dropped> {
        let untold = self.tell_gaps();
        for Dropped {
            position,
            samples,
            reason,
        } in self.owed.gaps.take()
        {
            for channel in 0..channels {
                self.keep(&Draft::frame(FrameIn::Gap {
                    channel,
                    position,
                    samples,
                    reason,
                }));
            }
        }
        untold
    }

    /// Turns the audio in `kept` into gaps, so that what is left is small. The numbers of that
    /// audio are missing from then on; the gaps say what they were. For a stream with its Seal, whose
    /// earlier ranges are Gap frames already.
    pub fn shed_audio(&mut self, channels: u8, reason: u8) -> Vec<Dropped> {
        let kept = std::mem::take(&mut self.kept);
        let mut seal = None;
        let mut ahead = kept.as_slice();
        while let Some((head, raw)) = first_frame(self.version, self.recording, ahead) {
            ahead = &ahead[raw.len()..];
            match head.frame(&raw[FRAME_HEADER_BYTES..]) {
                Some(
                    Frame::Audio {
                        position, samples, ..
                    }
                    | Frame::Locked {
                        position, samples, ..
                    },
                ) => {
                    self.owed.gaps.add(Dropped {
                        position,
                        samples: samples.into(),
                        reason,
                    });
                }
                Some(Frame::Seal {
                    position,
                    wall_us,
                    closing,
                    payload,
                }) => {
                    seal = Some((position, wall_us, closing, payload));
                }
                _ => self.kept.extend_from_slice(raw),
            }
        }
        let shed = self.keep_gaps(channels);
        if let Some((position, wall_us, closing, payload)) = seal {
            self.keep(&Draft::seal(position, wall_us, closing, &payload));
        }
        shed
    }

    /// Appends what is not written yet to the current part, if there is one.
    pub fn write_through<D: Disk>(&mut self, disk: &mut D) -> Result<(), DiskError> {
        let Some(file) = self.file else { return Ok(()) };
        if self.written < self.kept.len() {
            disk.append(file, &self.kept[self.written..])?;
            self.written = self.kept.len();
        }
        Ok(())
    }

    /// Never writes to the current part again (invariant 4). Gives its number.
    pub fn abandon_part<D: Disk>(&mut self, disk: &mut D) -> Option<PartNo> {
        disk.close(self.file.take()?);
        self.written = 0;
        self.unnamed = false;
        self.parts.last().copied()
    }

    /// Goes on in a new part, which begins with everything kept.
    pub fn begin_part<D: Disk>(&mut self, disk: &mut D) -> Result<(), DiskError> {
        let (name, file) = self.create_part(disk)?;
        let mut bytes = Vec::with_capacity(PART_HEADER_BYTES + self.kept.len());
        write_part_header(self.version, self.recording, name.part, &mut bytes);
        bytes.extend_from_slice(&self.kept);
        if let Err(error) = disk.append(file, &bytes) {
            disk.close(file);
            // What it holds is still kept here, and on a full disk its room is needed. If it
            // cannot be removed it stays as one more part with a torn tail.
            if disk.remove(&name.to_string()).is_err() {
                self.parts.push(name.part);
            }
            return Err(error);
        }
        self.parts.push(name.part);
        self.file = Some(file);
        self.written = self.kept.len();
        self.unnamed = true;
        Ok(())
    }

    fn create_part<D: Disk>(&mut self, disk: &mut D) -> Result<(PartName, FileId), DiskError> {
        let mut tried = 0;
        loop {
            let part = PartNo(self.next_part);
            let name = PartName {
                recording: self.recording,
                part,
                state: PartState::Open,
            };
            match disk.create(&name.to_string()) {
                Ok(file) => {
                    self.next_part += 1;
                    return Ok((name, file));
                }
                // Part 0 being there means that the recording is.
                Err(error) if error.is_taken() && part.0 > 0 && tried < NAMES_TRIED => {
                    self.next_part += 1;
                    tried += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Everything kept is durable.
    pub fn made_durable(&mut self) {
        self.kept.clear();
        self.kept.shrink_to(IDLE_KEPT_BYTES);
        self.written = 0;
        self.unnamed = false;
        self.retry = Retry::default();
    }

    /// Puts the next try off, longer each time, up to `longest`.
    pub fn back_off(&mut self, now: Instant, first: Duration, longest: Duration) {
        self.retry.put_off(now, first, longest);
    }

    pub fn may_try(&self, now: Instant) -> bool {
        self.retry.at.is_none_or(|at| at <= now)
    }

    /// Nothing is left to commit.
    pub fn is_clean(&self) -> bool {
        self.kept.is_empty() && self.owed.gaps.is_empty() && self.phase != Phase::Renaming
    }
}

/// The first frame of `bytes`, which we encoded ourselves.
fn first_frame(version: Version, recording: RecordingId, bytes: &[u8]) -> Option<(Head, &[u8])> {
    let head = Head::parse(version, recording, bytes.first_chunk()?)?;
    Some((head, bytes.get(..FRAME_HEADER_BYTES + head.body_len)?))
}
