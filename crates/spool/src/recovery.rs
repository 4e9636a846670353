//! Finishes what a crash left open. It needs nothing but the directory (invariant 5), may itself
//! crash at any point, and makes of an open recording what the archive finishes every day: a sealed
//! one.
//!
//! 1. Everything in the directory is made durable: what the dead process wrote may be in memory only.
//! 2. A release that was cut short is completed.
//! 3. A recording without a readable frame is set aside: its files are renamed `.leftover`, empty ones
//!    removed.
//! 4. A recording with a Seal only lacks its renames. Any other gets a new part with a Seal marked
//!    interrupted, numbered after its last whole frame. Nothing is appended to an old file: a torn
//!    tail stays what it is, and is never read.
//! 5. The new parts are synced together, then the directory; then all parts are renamed sealed, the
//!    last one last; then the directory once more.

use crate::ballast;
use crate::disk::{Disk, DiskError, FileId};
use crate::frame::{Closing, Draft, Frame, PART_HEADER_BYTES, Version, write_part_header};
use crate::name::{PartName, PartNo, PartState, RecordingId};
use crate::part::PartReader;
use crate::reader::{Reader, State, parts_by_recording, remove_parts};

const LEFTOVER: &str = ".leftover";

/// The directory could not even be listed.
#[derive(Debug, thiserror::Error)]
#[error("the spool cannot be listed")]
pub struct RecoveryError(#[from] DiskError);

/// One recording that is sealed and ready to be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Which recording.
    pub recording: RecordingId,
    /// Whether its writer had sealed it.
    pub closing: Closing,
    /// Whole frames, the Seal not counted.
    pub frames: u64,
    /// Its length in samples.
    pub position: u64,
}

/// A file that belongs to no recording that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its file name now; one that was empty is gone.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// What is wrong with it.
    pub reason: LeftoverReason,
}

/// What is wrong with a leftover file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftoverReason {
    /// It held nothing and was removed.
    Empty,
    /// No header or no whole frame: a creation that never became durable, or damage. In words.
    Unreadable(String),
    /// Set aside by an earlier recovery; the operator may look at it and remove it.
    SetAside,
}

/// What recovery found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Every recording to finish, by id.
    pub recordings: Vec<Recovered>,
    /// Files that are no recording's.
    pub leftovers: Vec<Leftover>,
    /// What failed, and for which recording if for one. If that is not in `recordings`, the next
    /// recovery tries again.
    pub troubles: Vec<(Option<RecordingId>, DiskError)>,
}

/// Recovers the directory before a [`crate::Writer`] starts on it. `wall_us` (microseconds since 1970
/// UTC) goes into the Seals it makes.
pub fn recover<D: Disk>(disk: &mut D, wall_us: u64) -> Result<Recovery, RecoveryError> {
    let mut run = Run {
        found: Recovery::default(),
        finishing: Vec::new(),
    };
    if let Err(error) = disk.settle() {
        run.found.troubles.push((None, error));
    }
    run.list_set_aside(disk)?;
    for (recording, parts) in parts_by_recording(disk)? {
        if let Err(error) = run.one(disk, recording, parts, wall_us) {
            run.found.troubles.push((Some(recording), error));
        }
    }
    run.finish(disk);
    Ok(run.found)
}

/// A recording whose parts wait for their renames.
struct Finishing {
    recovered: Recovered,
    parts: Vec<PartName>,
    /// The part with the Seal this recovery made.
    seal: Option<FileId>,
}

struct Run {
    found: Recovery,
    finishing: Vec<Finishing>,
}

/// What the parts of one recording hold.
#[derive(Default)]
struct Scan {
    frames: u64,
    next_number: u64,
    end: u64,
    seal: Option<(Closing, u64)>,
}

impl Run {
    fn list_set_aside<D: Disk>(&mut self, disk: &D) -> Result<(), DiskError> {
        let aside = disk
            .list()?
            .into_iter()
            .filter(|file| file.name.ends_with(LEFTOVER));
        self.found.leftovers.extend(aside.map(|file| {
            let reason = LeftoverReason::SetAside;
            Leftover {
                name: file.name,
                bytes: file.bytes,
                reason,
            }
        }));
        Ok(())
    }

    fn one<D: Disk>(
        &mut self,
        disk: &mut D,
        recording: RecordingId,
        mut parts: Vec<PartName>,
        wall_us: u64,
    ) -> Result<(), DiskError> {
        if parts.iter().any(|name| name.state == PartState::Released) {
            return remove_parts(disk, parts);
        }
        let scan = scan(disk, &parts)?;
        if scan.frames == 0 && scan.seal.is_none() {
            return self.set_aside(disk, &parts);
        }
        let (closing, position, seal) = match scan.seal {
            Some((closing, position)) => (closing, position, None),
            None => {
                let (name, file) = write_seal(disk, recording, &parts, &scan, wall_us)?;
                parts.push(name);
                (Closing::Interrupted, scan.end, Some(file))
            }
        };
        let recovered = Recovered {
            recording,
            closing,
            frames: scan.frames,
            position,
        };
        self.finishing.push(Finishing {
            recovered,
            parts,
            seal,
        });
        Ok(())
    }

    fn set_aside<D: Disk>(&mut self, disk: &mut D, parts: &[PartName]) -> Result<(), DiskError> {
        let files = disk.list()?;
        for part in parts {
            let mut name = part.to_string();
            let bytes = files
                .iter()
                .find(|file| file.name == name)
                .map_or(0, |file| file.bytes);
            let reason = if bytes == 0 {
                disk.remove(&name)?;
                LeftoverReason::Empty
            } else {
                let why = why_unreadable(disk, *part)?;
                let aside = format!("{name}{LEFTOVER}");
                disk.rename(&name, &aside)?;
                name = aside;
                LeftoverReason::Unreadable(why)
            };
            self.found.leftovers.push(Leftover {
                name,
                bytes,
                reason,
            });
        }
        Ok(())
    }

    /// Step 5. A Seal that could not be synced is told and used all the same: it says nothing that
    /// the next recovery could not say again.
    fn finish<D: Disk>(&mut self, disk: &mut D) {
        let finishing = std::mem::take(&mut self.finishing);
        let seals: Vec<_> = finishing.iter().filter_map(|one| one.seal).collect();
        let failures = if seals.is_empty() {
            Vec::new()
        } else {
            disk.sync(&seals)
        };
        for failure in failures {
            let one = finishing.iter().find(|one| one.seal == Some(failure.file));
            let recording = one.map(|one| one.recovered.recording);
            self.found.troubles.push((recording, failure.error));
        }
        seals.iter().for_each(|&file| disk.close(file));
        // Set-aside files and seals alike: names first become durable, then they change.
        if let Err(error) = disk.sync_dir() {
            self.found.troubles.push((None, error));
        }
        for one in finishing {
            match rename_sealed(disk, &one.parts) {
                Ok(()) => self.found.recordings.push(one.recovered),
                Err(error) => {
                    self.found
                        .troubles
                        .push((Some(one.recovered.recording), error));
                }
            }
        }
        if let Err(error) = disk.sync_dir() {
            self.found.troubles.push((None, error));
        }
    }
}

fn scan<D: Disk>(disk: &D, parts: &[PartName]) -> Result<Scan, DiskError> {
    let mut scan = Scan::default();
    for read in Reader::over(disk, State::Open, parts.to_vec()).frames() {
        let (number, frame) = read?;
        scan.end = scan.end.max(frame.end());
        scan.next_number = number.saturating_add(1);
        match frame {
            Frame::Seal {
                closing, position, ..
            } => scan.seal = Some((closing, position)),
            _ => scan.frames += 1,
        }
    }
    Ok(scan)
}

fn why_unreadable<D: Disk>(disk: &D, part: PartName) -> Result<String, DiskError> {
    let mut reader = PartReader::open(disk, part)?;
    reader.next()?;
    Ok(match reader.end {
        Some(crate::part::PartEnd::NoHeader(fault)) => fault.reason(),
        _ => "it holds no whole frame".to_owned(),
    })
}

/// The version in which its parts are written, and so what belongs to them.
fn version_of<D: Disk>(disk: &D, parts: &[PartName]) -> Result<Version, DiskError> {
    for &part in parts {
        if PartReader::open(disk, part)?.version() == Version::Two {
            return Ok(Version::Two);
        }
    }
    Ok(Version::One)
}

/// Step 4. On a full disk the ballast gives its room.
fn write_seal<D: Disk>(
    disk: &mut D,
    recording: RecordingId,
    parts: &[PartName],
    scan: &Scan,
    wall_us: u64,
) -> Result<(PartName, FileId), DiskError> {
    let part = PartNo(parts.last().map_or(0, |name| name.part.0.saturating_add(1)));
    let name = PartName {
        recording,
        part,
        state: PartState::Open,
    };
    let draft = Draft::seal(scan.end, wall_us, Closing::Interrupted, &[]);
    let mut bytes = Vec::with_capacity(PART_HEADER_BYTES + draft.len());
    write_part_header(version_of(disk, parts)?, recording, part, &mut bytes);
    draft.write(recording, scan.next_number, None, &mut bytes);
    match create_with(disk, &name.to_string(), &bytes) {
        Err(error) if error.is_full() && disk.remove(ballast::NAME).is_ok() => {
            create_with(disk, &name.to_string(), &bytes)
        }
        made => made,
    }
    .map(|file| (name, file))
}

fn create_with<D: Disk>(disk: &mut D, name: &str, bytes: &[u8]) -> Result<FileId, DiskError> {
    let file = disk.create(name)?;
    if let Err(error) = disk.append(file, bytes) {
        disk.close(file);
        disk.remove(name)?;
        return Err(error);
    }
    Ok(file)
}

fn rename_sealed<D: Disk>(disk: &mut D, parts: &[PartName]) -> Result<(), DiskError> {
    for part in parts.iter().filter(|name| name.state == PartState::Open) {
        disk.rename(&part.to_string(), &part.with(PartState::Sealed).to_string())?;
    }
    Ok(())
}
