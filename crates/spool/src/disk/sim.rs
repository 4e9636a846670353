//! A disk in memory that does what disks are allowed to do, chosen by a seed: it loses what was not
//! synced, tears it, fills up, fails, stalls.
//!
//! 1. Appended bytes are volatile until a sync of their file, names until a sync of the directory.
//! 2. A sync that fails dooms the volatile bytes: no later sync makes them durable, though they can
//!    still be read until the crash (what Linux does with pages it could not write back).
//! 3. A crash keeps, for each file, all of the volatile bytes, or none, or a prefix, or any of the
//!    appends with holes of zeros and torn ends; of the names any prefix or any subset.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Disk, DiskError, FileId, Listed, SyncFailure};
use crate::splitmix::SplitMix;

/// A simulated disk. Clones are handles to the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Platter>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Durable,
    Volatile,
    Doomed,
}

/// One append.
struct Extent {
    bytes: Vec<u8>,
    fate: Fate,
}

enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

/// How many of each will fail.
#[derive(Default)]
struct Failing {
    syncs: u32,
    dir_syncs: u32,
    appends: u32,
    changes: u32,
}

struct Platter {
    draws: SplitMix,
    /// What is seen now, and what a crash leaves for sure: name to inode.
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced: Vec<NameChange>,
    inodes: BTreeMap<u64, Vec<Extent>>,
    open: BTreeMap<FileId, (String, u64)>,
    next: u64,
    capacity: u64,
    /// Bytes in named files.
    used: u64,
    failing: Failing,
    next_stall: Duration,
    stalled: Duration,
    /// By inode, everything it was ever to hold; `None` while nobody asked.
    history: Option<BTreeMap<u64, Vec<u8>>>,
}

impl SimDisk {
    /// An empty disk of 2^63 bytes.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Platter {
            draws: SplitMix(seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced: Vec::new(),
            inodes: BTreeMap::new(),
            open: BTreeMap::new(),
            next: 0,
            capacity: 1 << 63,
            used: 0,
            failing: Failing::default(),
            next_stall: Duration::ZERO,
            stalled: Duration::ZERO,
            history: None,
        })))
    }

    /// Power is lost: what was not synced is kept or lost by the seed, and every open file is closed.
    pub fn crash(&self) {
        self.platter().crash();
    }

    /// The process dies, the machine does not: nothing appended is lost, every open file is closed.
    pub fn kill(&self) {
        self.platter().open.clear();
    }

    /// From now on the disk holds this many bytes. Less than it holds now: it is full.
    pub fn resize(&self, capacity_bytes: u64) {
        self.platter().capacity = capacity_bytes;
    }

    /// Bytes in files now.
    pub fn used_bytes(&self) -> u64 {
        self.platter().used
    }

    /// The next `count` file syncs fail, for every file they name.
    pub fn fail_syncs(&self, count: u32) {
        self.platter().failing.syncs = count;
    }

    /// The next `count` directory syncs fail.
    pub fn fail_dir_syncs(&self, count: u32) {
        self.platter().failing.dir_syncs = count;
    }

    /// The next `count` appends fail, part of their bytes written.
    pub fn fail_appends(&self, count: u32) {
        self.platter().failing.appends = count;
    }

    /// The next `count` renames and removals fail, as on a file system that became read-only.
    pub fn fail_changes(&self, count: u32) {
        self.platter().failing.changes = count;
    }

    /// The next sync takes this long in virtual time; see [`SimDisk::take_stalled`].
    pub fn stall_next_sync(&self, stall: Duration) {
        self.platter().next_stall = stall;
    }

    /// Virtual time the disk took since this was last asked. The world that called into the disk
    /// moves its clock on by this much.
    #[must_use]
    pub fn take_stalled(&self) -> Duration {
        std::mem::take(&mut self.platter().stalled)
    }

    /// Inverts one byte of a file, durably. Nothing happens when there is no such byte.
    pub fn damage(&self, name: &str, offset: u64) {
        let mut platter = self.platter();
        let Some(&inode) = platter.names.get(name) else {
            return;
        };
        let mut left = offset;
        for extent in platter.inodes.get_mut(&inode).into_iter().flatten() {
            if let Some(byte) = extent.bytes.get_mut(left as usize) {
                *byte = !*byte;
                return;
            }
            left -= extent.bytes.len() as u64;
        }
    }

    /// Puts a file on the disk, durably, replacing one of that name.
    pub fn place(&self, name: &str, bytes: &[u8]) {
        let mut platter = self.platter();
        platter.next += 1;
        let inode = platter.next;
        let extent = Extent {
            bytes: bytes.to_vec(),
            fate: Fate::Durable,
        };
        platter.inodes.insert(inode, vec![extent]);
        platter.names.insert(name.to_owned(), inode);
        platter.durable_names.insert(name.to_owned(), inode);
        platter.measure();
    }

    /// From now on everything written is remembered for [`SimDisk::ever_written`].
    pub fn remember_writes(&self) {
        self.platter().history.get_or_insert_default();
    }

    /// What every file was ever to hold, removed ones too, since [`SimDisk::remember_writes`]: more
    /// than anybody can find on the disk.
    pub fn ever_written(&self) -> Vec<Vec<u8>> {
        let platter = self.platter();
        platter
            .history
            .iter()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platter {
    fn length(&self, inode: u64) -> u64 {
        let extents = self.inodes.get(&inode).into_iter().flatten();
        extents.map(|extent| extent.bytes.len() as u64).sum()
    }

    fn measure(&mut self) {
        self.used = self.names.values().map(|&inode| self.length(inode)).sum();
    }

    /// Turns one fate into another; durable neighbours become one extent.
    fn settle_file(&mut self, inode: u64, fate: Fate) {
        let mut settled: Vec<Extent> = Vec::new();
        for mut extent in self.inodes.remove(&inode).unwrap_or_default() {
            if extent.fate == Fate::Volatile {
                extent.fate = fate;
            }
            match settled.last_mut() {
                Some(last) if last.fate == Fate::Durable && extent.fate == Fate::Durable => {
                    last.bytes.extend(extent.bytes);
                }
                _ => settled.push(extent),
            }
        }
        self.inodes.insert(inode, settled);
    }

    fn crash(&mut self) {
        self.open.clear();
        self.crash_names();
        let inodes: Vec<u64> = self.inodes.keys().copied().collect();
        for inode in inodes {
            if !self.names.values().any(|named| *named == inode) {
                self.inodes.remove(&inode);
            } else if let Some(extents) = self.inodes.remove(&inode) {
                let bytes = self.crash_file(extents);
                self.inodes.insert(
                    inode,
                    vec![Extent {
                        bytes,
                        fate: Fate::Durable,
                    }],
                );
            }
        }
        self.measure();
        self.failing = Failing::default();
    }

    fn crash_names(&mut self) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let in_order = self.draws.below(2) == 0;
        let kept = self.draws.below(unsynced.len() as u64 + 1);
        let mut names = self.durable_names.clone();
        for (at, change) in unsynced.into_iter().enumerate() {
            let keep = if in_order {
                (at as u64) < kept
            } else {
                self.draws.below(2) == 0
            };
            if keep {
                change.apply(&mut names);
            }
        }
        self.durable_names = names.clone();
        self.names = names;
    }

    fn crash_file(&mut self, extents: Vec<Extent>) -> Vec<u8> {
        let mut extents = extents;
        let durable = extents
            .iter()
            .rposition(|extent| extent.fate == Fate::Durable);
        let unsynced = extents.split_off(durable.map_or(0, |last| last + 1));
        let mut bytes = Vec::new();
        for extent in extents {
            match extent.fate {
                Fate::Durable => bytes.extend(extent.bytes),
                // Doomed, with durable bytes after it: its place is there, its bytes may not be.
                Fate::Doomed | Fate::Volatile => self.tear(extent.bytes, &mut bytes),
            }
        }
        let tail: usize = unsynced.iter().map(|extent| extent.bytes.len()).sum();
        match self.draws.below(4) {
            0 => {}
            1 => bytes.extend(unsynced.into_iter().flat_map(|extent| extent.bytes)),
            2 => {
                let keep = self.draws.below(tail as u64 + 1) as usize;
                let all = unsynced.into_iter().flat_map(|extent| extent.bytes);
                bytes.extend(all.take(keep));
            }
            _ => {
                for extent in unsynced {
                    self.tear(extent.bytes, &mut bytes);
                }
                let cut = self.draws.below(tail as u64 + 1) as usize;
                if self.draws.below(2) == 0 {
                    bytes.truncate(bytes.len() - cut);
                }
            }
        }
        bytes
    }

    /// One append of which any part reached the disk.
    fn tear(&mut self, mut bytes: Vec<u8>, out: &mut Vec<u8>) {
        let cut = self.draws.below(bytes.len() as u64 + 1) as usize;
        match self.draws.below(4) {
            0 => {}
            1 => bytes.fill(0),
            2 => bytes[cut..].fill(0),
            _ => bytes[cut..]
                .iter_mut()
                .for_each(|byte| *byte = self.draws.draw() as u8),
        }
        out.extend(bytes);
    }

    fn fail(verb: &'static str, name: &str, kind: ErrorKind) -> DiskError {
        DiskError::of(verb, name, io::Error::from(kind))
    }

    fn injected(verb: &'static str, name: &str) -> DiskError {
        DiskError::of(verb, name, io::Error::other("the simulated disk failed"))
    }

    fn take_failure(failing: &mut u32) -> bool {
        let fails = *failing > 0;
        *failing = failing.saturating_sub(1);
        fails
    }
}

impl NameChange {
    /// One whose file is not there, because an earlier change was lost, is lost with it.
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Create(name, inode) => {
                names.insert(name, inode);
            }
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
            NameChange::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}

impl Disk for SimDisk {
    fn create(&mut self, name: &str) -> Result<FileId, DiskError> {
        let mut platter = self.platter();
        if platter.names.contains_key(name) {
            return Err(Platter::fail("create", name, ErrorKind::AlreadyExists));
        }
        platter.next += 1;
        let inode = platter.next;
        platter.inodes.insert(inode, Vec::new());
        platter.names.insert(name.to_owned(), inode);
        platter
            .unsynced
            .push(NameChange::Create(name.to_owned(), inode));
        platter.open.insert(FileId(inode), (name.to_owned(), inode));
        Ok(FileId(inode))
    }

    fn append(&mut self, file: FileId, bytes: &[u8]) -> Result<(), DiskError> {
        let mut platter = self.platter();
        let (name, inode) = platter
            .open
            .get(&file)
            .cloned()
            .ok_or_else(|| closed(file))?;
        if let Some(history) = &mut platter.history {
            history.entry(inode).or_default().extend_from_slice(bytes);
        }
        let room = platter.capacity.saturating_sub(platter.used);
        let (mut written, mut answer) = (bytes.len(), Ok(()));
        if Platter::take_failure(&mut platter.failing.appends) {
            written = platter.draws.below(bytes.len() as u64) as usize;
            answer = Err(Platter::injected("append to", &name));
        } else if room < bytes.len() as u64 {
            written = room as usize;
            answer = Err(DiskError::Full { name });
        }
        let extent = Extent {
            bytes: bytes[..written].to_vec(),
            fate: Fate::Volatile,
        };
        platter.inodes.entry(inode).or_default().push(extent);
        platter.used += written as u64;
        answer
    }

    fn sync(&mut self, files: &[FileId]) -> Vec<SyncFailure> {
        let mut platter = self.platter();
        let stall = std::mem::take(&mut platter.next_stall);
        platter.stalled += stall;
        let fails = Platter::take_failure(&mut platter.failing.syncs);
        let mut failures = Vec::new();
        for &file in files {
            let Some((name, inode)) = platter.open.get(&file).cloned() else {
                failures.push(SyncFailure {
                    file,
                    error: closed(file),
                });
                continue;
            };
            let fate = if fails { Fate::Doomed } else { Fate::Durable };
            platter.settle_file(inode, fate);
            if fails {
                failures.push(SyncFailure {
                    file,
                    error: Platter::injected("sync", &name),
                });
            }
        }
        failures
    }

    fn close(&mut self, file: FileId) {
        self.platter().open.remove(&file);
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut platter = self.platter();
        if Platter::take_failure(&mut platter.failing.changes) {
            return Err(Platter::injected("rename", from));
        }
        if platter.names.contains_key(to) {
            return Err(Platter::fail("rename", from, ErrorKind::AlreadyExists));
        }
        let Some(inode) = platter.names.remove(from) else {
            return Err(Platter::fail("rename", from, ErrorKind::NotFound));
        };
        platter.names.insert(to.to_owned(), inode);
        platter
            .unsynced
            .push(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        let mut platter = self.platter();
        if Platter::take_failure(&mut platter.failing.changes) {
            return Err(Platter::injected("remove", name));
        }
        let Some(inode) = platter.names.remove(name) else {
            return Err(Platter::fail("remove", name, ErrorKind::NotFound));
        };
        platter.used -= platter.length(inode);
        platter.unsynced.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&mut self) -> Result<(), DiskError> {
        let mut platter = self.platter();
        if Platter::take_failure(&mut platter.failing.dir_syncs) {
            return Err(Platter::injected("sync", "."));
        }
        platter.unsynced.clear();
        platter.durable_names = platter.names.clone();
        Ok(())
    }

    fn settle(&mut self) -> Result<(), DiskError> {
        let mut platter = self.platter();
        let inodes: Vec<u64> = platter.inodes.keys().copied().collect();
        inodes
            .into_iter()
            .for_each(|inode| platter.settle_file(inode, Fate::Durable));
        drop(platter);
        self.sync_dir()
    }

    fn list(&self) -> Result<Vec<Listed>, DiskError> {
        let platter = self.platter();
        let listed = |(name, &inode): (&String, &u64)| Listed {
            name: name.clone(),
            bytes: platter.length(inode),
        };
        Ok(platter.names.iter().map(listed).collect())
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let platter = self.platter();
        let Some(&inode) = platter.names.get(name) else {
            return Err(Platter::fail("read", name, ErrorKind::NotFound));
        };
        let (mut skip, mut read) = (offset as usize, 0);
        for extent in platter.inodes.get(&inode).into_iter().flatten() {
            let ahead = extent.bytes.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(extent.bytes.len());
            let length = ahead.len().min(into.len() - read);
            into[read..read + length].copy_from_slice(&ahead[..length]);
            read += length;
        }
        Ok(read)
    }

    fn free_bytes(&self) -> Result<u64, DiskError> {
        let platter = self.platter();
        Ok(platter.capacity.saturating_sub(platter.used))
    }
}

fn closed(file: FileId) -> DiskError {
    Platter::fail("use", &format!("#{}", file.0), ErrorKind::NotFound)
}
