//! A disk that dies after a number of operations, and what every test needs.

use std::time::{Duration, Instant};

use crate::*;

pub(super) const WALL_US: u64 = 1_700_000_000_000_000;

/// Passes on to a simulated disk until its operations are used up; then nothing works any more, as
/// for a process that is about to die.
pub(super) struct Dying {
    pub disk: SimDisk,
    pub left: u64,
}

impl Dying {
    fn alive(&mut self) -> Result<(), DiskError> {
        if self.left == 0 {
            return Err(DiskError::of("use", ".", std::io::Error::other("dead")));
        }
        self.left -= 1;
        Ok(())
    }
}

impl Disk for Dying {
    fn create(&mut self, name: &str) -> Result<FileId, DiskError> {
        self.alive()?;
        self.disk.create(name)
    }
    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), DiskError> {
        self.alive()?;
        self.disk.append(file, bytes)
    }
    fn sync(&mut self, files: &[FileId]) -> Vec<SyncFailure> {
        match self.alive() {
            Ok(()) => self.disk.sync(files),
            Err(_) => files
                .iter()
                .map(|&file| SyncFailure {
                    file,
                    error: self.alive().unwrap_err(),
                })
                .collect(),
        }
    }
    fn close(&mut self, file: FileId) {
        self.disk.close(file);
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.alive()?;
        self.disk.rename(from, to)
    }
    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.alive()?;
        self.disk.remove(name)
    }
    fn sync_dir(&mut self) -> Result<(), DiskError> {
        self.alive()?;
        self.disk.sync_dir()
    }
    fn settle(&mut self) -> Result<(), DiskError> {
        self.alive()?;
        self.disk.settle()
    }
    fn list(&self) -> Result<Vec<Listed>, DiskError> {
        self.disk.list()
    }
    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        self.disk.read(name, offset, into)
    }
    fn free_bytes(&self) -> Result<u64, DiskError> {
        self.disk.free_bytes()
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        low_bytes: 0,
        full_bytes: 0,
        ballast_bytes: 4096,
        ..Settings::default()
    }
}

pub(super) fn id(number: u128) -> RecordingId {
    RecordingId((0x0193_a1b2_c3d4_7e5f << 64) | number)
}

/// Virtual time.
pub(super) struct Clock {
    pub now: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock {
            now: Instant::now(),
        }
    }
    pub fn pass(&mut self, ms: u64) -> Instant {
        self.now += Duration::from_millis(ms);
        self.now
    }
}

pub(super) fn frame_in(frame: &Frame) -> FrameIn<'_> {
    match *frame {
        Frame::Audio {
            position,
            format,
            samples,
            ref payload,
        } => FrameIn::Audio {
            position,
            format,
            samples,
            payload,
        },
        Frame::Gap {
            channel,
            position,
            samples,
            reason,
        } => FrameIn::Gap {
            channel,
            position,
            samples,
            reason,
        },
        Frame::Fact {
            position,
            wall_us,
            ref payload,
        } => FrameIn::Fact {
            position,
            wall_us,
            payload,
        },
        Frame::Open { .. } | Frame::Seal { .. } | Frame::Key { .. } => {
            panic!("these have calls of their own")
        }
        Frame::Locked { .. } => panic!("nobody appends what is locked"),
    }
}

pub(super) fn audio(position: u64, samples: u32, fill: u8) -> Frame {
    Frame::Audio {
        position,
        format: 1,
        samples,
        payload: vec![fill; samples as usize * 2],
    }
}

/// All frames with their numbers, and what was amiss.
pub(super) fn read_all<D: Disk>(disk: &D, id: RecordingId) -> (Vec<Numbered>, Vec<Trouble>) {
    let mut reader = Reader::open(disk, id).expect("the recording is there");
    let frames = reader
        .by_ref()
        .map(|read| read.expect("the disk reads"))
        .collect();
    (frames, reader.troubles().to_vec())
}

pub(super) fn sealed(outcomes: &[Outcome]) -> Vec<RecordingId> {
    let sealed = |outcome: &Outcome| match outcome {
        Outcome::Sealed { recording } => Some(*recording),
        _ => None,
    };
    outcomes.iter().filter_map(sealed).collect()
}
