//! The group commit.
//!
//! 1. Dropped ranges that are due become Gap frames; without a part to write to they are told alone.
//! 2. Every waiting stream without a usable part begins a new one with what is kept. While nothing
//!    goes through, a few are tried in turn: thousands of failures would say no more.
//! 3. All parts are synced together, then the directory if there are new names.
//! 4. A part that failed is abandoned; once more from 2, then its recording waits, longer each time.
//! 5. Recordings whose Seal is durable are renamed and the directory is synced once for all.

use std::time::{Duration, Instant};

use super::{Health, Outcome, Writer};
use crate::disk::{Disk, DiskError, FileId};
use crate::frame::gap_reason;
use crate::name::{PartName, PartState, RecordingId};
use crate::stream::Phase;

/// A failing disk is tried again after `group_commit`, then twice that, up to this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Tries within one commit: the part at hand, then a new one.
const ROUNDS: usize = 2;
/// Recordings that a failing disk is tried with at a time.
const PROBES: usize = 16;

impl<D: Disk> Writer<D> {
    /// Makes durable what can be, and measures the space. Blocks for as long as the disk does.
    #[must_use]
    pub fn commit(&mut self, now: Instant) -> Vec<Outcome> {
        let waiting = std::mem::take(&mut self.waiting);
        self.due = None;
        self.keep_due_gaps(now, &waiting);
        let mut left: Vec<_> = waiting
            .iter()
            .copied()
            .filter(|id| self.may_try(now, *id) && self.has_kept(*id))
            .collect();
        if self.pulse.health() == Health::Failing {
            left.truncate(PROBES);
        }
        for _ in 0..ROUNDS {
            left.retain(|&id| self.has_kept(id));
            if left.is_empty() {
                break;
            }
            self.place(now, &left);
            self.sync(now, &left);
        }
        self.back_off_failed(now, &left);
        self.rename_sealed(now, &waiting);
        self.wait_again(now, waiting);
        self.untold.extend(self.pulse.judge().map(Outcome::Health));
        let measured = self.room.measure(now, &mut self.disk, &self.settings);
        self.untold.extend(measured);
        std::mem::take(&mut self.untold)
    }

    fn may_try(&self, now: Instant, recording: RecordingId) -> bool {
        self.streams
            .get(&recording)
            .is_some_and(|stream| stream.may_try(now))
    }

    fn has_kept(&self, recording: RecordingId) -> bool {
        self.streams
            .get(&recording)
            .is_some_and(|stream| !stream.kept.is_empty())
    }

    fn keep_due_gaps(&mut self, now: Instant, waiting: &[RecordingId]) {
        for &recording in waiting {
            let Some(stream) = self.streams.get_mut(&recording) else {
                continue;
            };
            if stream.owed.due.is_none_or(|due| now < due) {
                continue;
            }
            if stream.file.is_none() {
                // Without a part to write to, coalescing goes on in memory. A call that waits for its
                // disk is told all the same.
                let dropped = stream.tell_gaps();
                self.tell_dropped(recording, dropped);
                continue;
            }
            let (frames, before) = (stream.next_number, stream.kept.len());
            let dropped = stream.keep_gaps(self.settings.channels);
            let (frames, bytes) = (stream.next_number - frames, stream.kept.len() - before);
            self.counts.frames += frames;
            self.counts.bytes += bytes as u64;
            self.kept_total += bytes;
            self.tell_dropped(recording, dropped);
            self.write_through(now, recording);
        }
    }

    /// Step 2.
    fn place(&mut self, now: Instant, left: &[RecordingId]) {
        for &recording in left {
            let Some(stream) = self.streams.get_mut(&recording) else {
                continue;
            };
            if stream.file.is_some() || !stream.may_try(now) {
                continue;
            }
            let mut begun = stream.begin_part(&mut self.disk);
            if begun.as_ref().is_err_and(DiskError::is_full) {
                self.room.ran_out(now);
                begun = self.place_on_full_disk(recording);
            }
            if let Err(error) = begun {
                self.delay(now, recording, error);
            }
        }
    }

    /// First with the ballast's room; then, for a recording that is to be sealed, without audio.
    fn place_on_full_disk(&mut self, recording: RecordingId) -> Result<(), DiskError> {
        let full = || DiskError::Full {
            name: recording.to_string(),
        };
        let stream = self.streams.get_mut(&recording).ok_or_else(full)?;
        let mut begun = Err(full());
        if self.room.give_up_ballast(&mut self.disk)? {
            begun = stream.begin_part(&mut self.disk);
        }
        if begun.as_ref().is_err_and(DiskError::is_full) && stream.phase == Phase::Sealing {
            let before = stream.kept.len();
            let shed = stream.shed_audio(self.settings.channels, gap_reason::DISK_FULL);
            self.kept_total = self.kept_total + stream.kept.len() - before;
            begun = stream.begin_part(&mut self.disk);
            self.counts.dropped_samples += shed.iter().map(|dropped| dropped.samples).sum::<u64>();
            self.tell_dropped(recording, shed);
        }
        begun
    }

    /// Those whose last try failed at the sync.
    fn back_off_failed(&mut self, now: Instant, left: &[RecordingId]) {
        for recording in left {
            if let Some(stream) = self.streams.get_mut(recording)
                && stream.file.is_none()
                && stream.may_try(now)
                && !stream.kept.is_empty()
            {
                stream.back_off(now, self.settings.group_commit, LONGEST_BACKOFF);
            }
        }
    }

    fn delay(&mut self, now: Instant, recording: RecordingId, error: DiskError) {
        if !error.is_full() {
            self.pulse.failed();
        }
        if let Some(stream) = self.streams.get_mut(&recording) {
            stream.back_off(now, self.settings.group_commit, LONGEST_BACKOFF);
        }
        self.untold.push(Outcome::Delayed { recording, error });
    }

    /// Step 3. What comes through is durable and let go.
    fn sync(&mut self, now: Instant, left: &[RecordingId]) {
        let files: Vec<(RecordingId, FileId)> = left
            .iter()
            .filter_map(|id| self.streams.get(id))
            .filter(|stream| !stream.kept.is_empty())
            .filter_map(|stream| Some((stream.recording, stream.file?)))
            .collect();
        if files.is_empty() {
            return;
        }
        self.counts.commits += 1;
        let ids: Vec<FileId> = files.iter().map(|&(_, file)| file).collect();
        for failure in self.disk.sync(&ids) {
            // Some file systems find out here that there is no room.
            match failure.error.is_full() {
                true => self.room.ran_out(now),
                false => self.pulse.failed(),
            }
            if let Some(&(recording, _)) = files.iter().find(|(_, file)| *file == failure.file) {
                self.fail_part(recording, failure.error);
            }
        }
        self.sync_names(&files);
        for (recording, _) in files {
            self.let_go(recording);
        }
    }

    /// A part whose name may be lost is no better than one whose bytes may be.
    fn sync_names(&mut self, files: &[(RecordingId, FileId)]) {
        let unnamed = |&(id, _): &(RecordingId, FileId)| {
            self.streams
                .get(&id)
                .is_some_and(|stream| stream.unnamed)
                .then_some(id)
        };
        let unnamed: Vec<_> = files.iter().filter_map(unnamed).collect();
        if unnamed.is_empty() || self.disk.sync_dir().is_ok() {
            return;
        }
        self.pulse.failed();
        for recording in unnamed {
            let source = std::io::Error::other("the directory could not be synced");
            self.fail_part(recording, DiskError::of("sync", ".", source));
        }
    }

    fn let_go(&mut self, recording: RecordingId) {
        let Some(stream) = self.streams.get_mut(&recording) else {
            return;
        };
        if stream.file.is_none() {
            return;
        }
        self.kept_total -= stream.kept.len();
        stream.made_durable();
        self.pulse.went_through();
        let (frames, position) = (stream.next_number, stream.end);
        if stream.phase == Phase::Sealing {
            stream.phase = Phase::Renaming;
        }
        self.untold.push(Outcome::Durable {
            recording,
            frames,
            position,
        });
    }

    /// Step 5.
    fn rename_sealed(&mut self, now: Instant, waiting: &[RecordingId]) {
        let mut renamed = Vec::new();
        for &recording in waiting {
            let Some(stream) = self.streams.get_mut(&recording) else {
                continue;
            };
            if stream.phase != Phase::Renaming || !stream.may_try(now) {
                continue;
            }
            if let Some(file) = stream.file.take() {
                self.disk.close(file);
            }
            // In order, so that the part with the Seal is the last.
            let mut done = Ok(());
            while let (Ok(()), Some(&part)) = (&done, stream.parts.first()) {
                let open = PartName {
                    recording,
                    part,
                    state: PartState::Open,
                };
                done = self
                    .disk
                    .rename(&open.to_string(), &open.with(PartState::Sealed).to_string());
                if done.is_ok() {
                    stream.parts.remove(0);
                }
            }
            match done {
                Ok(()) => renamed.push(recording),
                Err(error) => self.delay(now, recording, error),
            }
        }
        self.tell_sealed(now, renamed);
    }

    fn tell_sealed(&mut self, now: Instant, renamed: Vec<RecordingId>) {
        if renamed.is_empty() {
            return;
        }
        match self.disk.sync_dir() {
            Ok(()) => {
                self.pulse.went_through();
                for recording in renamed {
                    self.streams.remove(&recording);
                    self.untold.push(Outcome::Sealed { recording });
                }
            }
            Err(error) => {
                self.pulse.failed();
                for &recording in &renamed {
                    if let Some(stream) = self.streams.get_mut(&recording) {
                        stream.back_off(now, self.settings.group_commit, LONGEST_BACKOFF);
                    }
                }
                self.untold.push(Outcome::DiskTrouble(error));
            }
        }
    }

    /// Lists what is left to do and when.
    fn wait_again(&mut self, now: Instant, waiting: Vec<RecordingId>) {
        for recording in waiting {
            let Some(stream) = self.streams.get_mut(&recording) else {
                continue;
            };
            stream.listed = false;
            if stream.is_clean() {
                continue;
            }
            let gaps_alone = stream.kept.is_empty() && stream.phase == Phase::Open;
            let soon = now + self.settings.group_commit;
            let due = match stream.retry.at {
                Some(at) => at.max(soon),
                None if gaps_alone => stream.owed.due.unwrap_or(soon).max(soon),
                None => soon,
            };
            stream.listed = true;
            self.waiting.push(recording);
            self.due = Some(self.due.map_or(due, |other| other.min(due)));
        }
    }
}
