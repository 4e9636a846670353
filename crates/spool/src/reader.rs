//! Gives a recording back: its frames in order across its parts, and what is missing.
//!
//! 1. Parts are read in the order of their numbers, each until its first frame that is not whole.
//! 2. A frame whose number was already given is skipped: a later part repeats what an earlier one
//!    may not hold. A number that is jumped over is named as missing.
//! 3. The Seal ends the recording.
//! 4. At the first locked block the recording is searched for its key. If it is there, wherever it is,
//!    this block and all others are given as the audio they were; else as they lie.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::vec;

use crate::disk::{Disk, DiskError};
use crate::frame::Frame;
use crate::lock::Lock;
use crate::name::{PartName, PartState, RecordingId};
use crate::part::{PartEnd, PartReader};

/// Why a recording could not be read or released.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The spool has no such recording, or it is being released.
    #[error("recording {recording} is not in the spool")]
    Unknown {
        /// Which recording.
        recording: RecordingId,
    },
    /// Only a sealed recording can be released.
    #[error("recording {recording} is still open")]
    StillOpen {
        /// Which recording.
        recording: RecordingId,
    },
    /// The disk failed; trying again later may help.
    #[error("the spool's disk failed")]
    Disk(#[from] DiskError),
}

/// Whether a recording is being written or is ready to be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its writer has not sealed it, or crashed.
    Open,
    /// Its seal is durable.
    Sealed,
}

/// A frame and its number within the recording, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Counts all frames of the recording.
    pub number: u64,
    /// The frame.
    pub frame: Frame,
}

/// What a reader found besides frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A part ended in bytes that are not a whole frame. Harmless when nothing is `Missing`.
    TornTail {
        /// Part, from 0.
        part: u32,
        /// Where the whole frames end, in bytes.
        offset: u64,
    },
    /// A part had no header to trust; nothing of it was read.
    BadPart {
        /// Part, from 0.
        part: u32,
    },
    /// Frames that should be there and are not.
    Missing {
        /// The first missing number.
        first: u64,
        /// How many, at least 1.
        count: u64,
    },
    /// Locked audio that the recording's key does not open: it was changed.
    Changed {
        /// The frame's number.
        number: u64,
    },
}

/// Reads one recording, frame by frame.
pub struct Reader<'d, D> {
    disk: &'d D,
    state: State,
    parts: vec::IntoIter<PartName>,
    current: Option<(PartName, PartReader<'d, D>)>,
    next: u64,
    progress: ControlFlow<()>,
    troubles: Vec<Trouble>,
    all: Vec<PartName>,
    lock: Sought,
}

/// What opens locked audio.
enum Sought {
    NotYet,
    /// Or there is none.
    Found(Option<Lock>),
}

impl<'d, D: Disk> Reader<'d, D> {
    /// Finds the recording's parts. It may still be open: the reader then gives what is there.
    pub fn open(disk: &'d D, recording: RecordingId) -> Result<Self, ReadError> {
        let unknown = ReadError::Unknown { recording };
        let parts = parts_by_recording(disk)?
            .remove(&recording)
            .ok_or(unknown)?;
        let state = state_of(&parts).ok_or(ReadError::Unknown { recording })?;
        let mut reader = Self::over(disk, state, parts);
        reader.lock = Sought::NotYet;
        Ok(reader)
    }

    /// Reads these parts, which are in order; locked audio stays locked.
    pub(crate) fn over(disk: &'d D, state: State, parts: Vec<PartName>) -> Self {
        Reader {
            disk,
            state,
            all: parts.clone(),
            parts: parts.into_iter(),
            current: None,
            next: 0,
            progress: ControlFlow::Continue(()),
            troubles: Vec::new(),
            lock: Sought::Found(None),
        }
    }

    /// As it was when the reader was opened.
    pub fn state(&self) -> State {
        self.state
    }

    /// What was found so far; complete when the iterator has ended.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// The same frames, with the disk's own error.
    pub(crate) fn frames(mut self) -> impl Iterator<Item = Result<(u64, Frame), DiskError>> {
        std::iter::from_fn(move || {
            let step = self.step();
            if step.is_err() {
                self.progress = ControlFlow::Break(());
            }
            step.map(|read| read.map(|Numbered { number, frame }| (number, frame)))
                .transpose()
        })
    }

    fn step(&mut self) -> Result<Option<Numbered>, DiskError> {
        while self.progress.is_continue() {
            let Some((name, part)) = &mut self.current else {
                let Some(name) = self.parts.next() else {
                    return Ok(None);
                };
                self.current = Some((name, PartReader::open(self.disk, name)?));
                continue;
            };
            let Some((number, frame)) = part.next()? else {
                let part_no = name.part.0;
                match part.end {
                    Some(PartEnd::Torn { offset }) => {
                        self.troubles.push(Trouble::TornTail {
                            part: part_no,
                            offset,
                        });
                    }
                    Some(PartEnd::NoHeader(_)) => {
                        self.troubles.push(Trouble::BadPart { part: part_no });
                    }
                    Some(PartEnd::Clean) | None => {}
                }
                self.current = None;
                continue;
            };
            if number < self.next {
                continue;
            }
            if number > self.next {
                let count = number - self.next;
                self.troubles.push(Trouble::Missing {
                    first: self.next,
                    count,
                });
            }
            self.next = number.saturating_add(1);
            let recording = name.recording;
            let frame = match frame {
                Frame::Locked { .. } => self.opened(recording, number, frame)?,
                frame => frame,
            };
            if matches!(frame, Frame::Seal { .. }) {
                self.progress = ControlFlow::Break(());
            }
            return Ok(Some(Numbered { number, frame }));
        }
        Ok(None)
    }

    fn opened(
        &mut self,
        recording: RecordingId,
        number: u64,
        frame: Frame,
    ) -> Result<Frame, DiskError> {
        if let Sought::NotYet = self.lock {
            self.lock = Sought::Found(self.find_lock()?);
        }
        let Sought::Found(Some(lock)) = &self.lock else {
            return Ok(frame);
        };
        let frame = frame.opened(recording, number, lock);
        if let Frame::Locked { .. } = frame {
            self.troubles.push(Trouble::Changed { number });
        }
        Ok(frame)
    }

    fn find_lock(&self) -> Result<Option<Lock>, DiskError> {
        for read in Reader::over(self.disk, self.state, self.all.clone()).frames() {
            if let (_, Frame::Key { key }) = read? {
                return Ok(Some(Lock::new(&key)));
            }
        }
        Ok(None)
    }
}

impl<D: Disk> Iterator for Reader<'_, D> {
    type Item = Result<Numbered, ReadError>;

    /// After an error of the disk the iterator has ended.
    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.progress = ControlFlow::Break(());
        }
        step.map_err(ReadError::from).transpose()
    }
}

/// All recordings in the spool that are not being released, by id.
pub fn recordings<D: Disk>(disk: &D) -> Result<Vec<(RecordingId, State)>, ReadError> {
    let all = parts_by_recording(disk)?;
    Ok(all
        .into_iter()
        .filter_map(|(id, parts)| Some((id, state_of(&parts)?)))
        .collect())
}

/// What [`release`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The recording was there and is gone, durably.
    Removed,
    /// It was not there: released before.
    Absent,
}

/// Removes every part of a sealed recording, and of no other.
///
/// The caller has stored and catalogued it (invariant 3). A crash half-way is finished by
/// [`crate::recover`]; calling again is safe.
pub fn release<D: Disk>(disk: &mut D, recording: RecordingId) -> Result<Release, ReadError> {
    let Some(parts) = parts_by_recording(disk)?.remove(&recording) else {
        return Ok(Release::Absent);
    };
    if state_of(&parts) == Some(State::Open) {
        return Err(ReadError::StillOpen { recording });
    }
    remove_parts(disk, parts)?;
    Ok(Release::Removed)
}

/// See `name`, procedure step 3. `parts` are all of one recording, in order.
pub(crate) fn remove_parts<D: Disk>(
    disk: &mut D,
    mut parts: Vec<PartName>,
) -> Result<(), DiskError> {
    let marker = parts
        .iter()
        .position(|name| name.state == PartState::Released);
    let Some(last) = marker.map(|at| parts.remove(at)).or_else(|| parts.pop()) else {
        return Ok(());
    };
    let mut marker = last;
    if last.state != PartState::Released && !parts.is_empty() {
        marker = last.with(PartState::Released);
        disk.rename(&last.to_string(), &marker.to_string())?;
        disk.sync_dir()?;
    }
    for part in &parts {
        disk.remove(&part.to_string())?;
    }
    if !parts.is_empty() {
        disk.sync_dir()?;
    }
    disk.remove(&marker.to_string())?;
    disk.sync_dir()
}

/// Every recording's parts in order of their numbers.
pub(crate) fn parts_by_recording<D: Disk>(
    disk: &D,
) -> Result<BTreeMap<RecordingId, Vec<PartName>>, DiskError> {
    let mut names: Vec<_> = disk
        .list()?
        .iter()
        .filter_map(|file| PartName::parse(&file.name))
        .collect();
    names.sort();
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for name in names {
        all.entry(name.recording).or_default().push(name);
    }
    Ok(all)
}

/// `None` when the recording is being released.
fn state_of(parts: &[PartName]) -> Option<State> {
    if parts.iter().any(|name| name.state == PartState::Released) {
        return None;
    }
    Some(match parts.last()?.state {
        PartState::Open => State::Open,
        PartState::Sealed | PartState::Released => State::Sealed,
    })
}
