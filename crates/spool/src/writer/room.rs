//! How much room the disk has, and the ballast.

use std::time::{Duration, Instant};

use super::{Outcome, Settings};
use crate::ballast;
use crate::disk::{Disk, DiskError};

/// A ballast that could not be made is tried again after this long.
const BALLAST_RETRY: Duration = Duration::from_secs(5);

/// The rungs of the ladder: what the disk has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// For new recordings.
    Ample,
    /// For the recordings that are open, not for new ones.
    Low,
    /// For facts and seals only; audio is dropped and listed as gaps.
    Full,
}

/// The writer's view of the disk's room.
pub(super) struct Room {
    space: Space,
    /// The space last told.
    told: Space,
    /// An append or a new file found no room, whatever the floors say.
    ran_out: bool,
    ballast: bool,
    try_ballast_at: Option<Instant>,
}

impl Room {
    pub fn new<D: Disk>(disk: &mut D, settings: &Settings) -> Result<Room, DiskError> {
        let mut ballast = ballast::found(disk, settings.ballast_bytes)?;
        if !ballast && settings.ballast_bytes > 0 {
            match ballast::make(disk, settings.ballast_bytes) {
                Ok(()) => ballast = true,
                Err(error) if error.is_full() => {}
                Err(error) => return Err(error),
            }
        }
        let told = Space::Ample;
        let missing = settings.ballast_bytes > 0 && !ballast;
        let mut room = Room {
            space: Space::Ample,
            told,
            ran_out: missing,
            ballast,
            try_ballast_at: None,
        };
        room.space = room.level(disk.free_bytes()?, settings);
        Ok(room)
    }

    pub fn space(&self) -> Space {
        self.space
    }

    /// Full from here on, at least until the ballast may be tried again: a quota can refuse what
    /// the free bytes promise.
    pub fn ran_out(&mut self, now: Instant) {
        self.ran_out = true;
        self.space = Space::Full;
        self.try_ballast_at = Some(now + BALLAST_RETRY);
    }

    /// Gives the ballast's room to facts and seals; false when there is none to give.
    pub fn give_up_ballast<D: Disk>(&mut self, disk: &mut D) -> Result<bool, DiskError> {
        if !self.ballast {
            return Ok(false);
        }
        disk.remove(ballast::NAME)?;
        self.ballast = false;
        Ok(true)
    }

    /// Looks at the disk, makes the ballast again when there is room.
    pub fn measure<D: Disk>(
        &mut self,
        now: Instant,
        disk: &mut D,
        settings: &Settings,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        match disk.free_bytes() {
            Ok(free) => {
                if let Err(error) = self.make_ballast(now, disk, free, settings) {
                    outcomes.push(Outcome::DiskTrouble(error));
                }
                self.space = self.level(free, settings);
            }
            Err(error) => outcomes.push(Outcome::DiskTrouble(error)),
        }
        if self.space != self.told {
            self.told = self.space;
            outcomes.push(Outcome::Space(self.space));
        }
        outcomes
    }

    /// That the ballast could be made is the proof that the disk has room again.
    fn make_ballast<D: Disk>(
        &mut self,
        now: Instant,
        disk: &mut D,
        free: u64,
        settings: &Settings,
    ) -> Result<(), DiskError> {
        let wanted = settings.ballast_bytes;
        let enough = free >= settings.full_bytes.saturating_add(wanted.saturating_mul(2));
        if !enough || self.try_ballast_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        if wanted > 0 && !self.ballast {
            self.try_ballast_at = Some(now + BALLAST_RETRY);
            match ballast::make(disk, wanted) {
                Ok(()) => self.ballast = true,
                Err(error) if error.is_full() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.try_ballast_at = None;
        self.ran_out = false;
        Ok(())
    }

    /// A full disk is full until a quarter of the floor more is free: no flapping.
    fn level(&self, free: u64, settings: &Settings) -> Space {
        let margin = if self.space == Space::Full {
            settings.full_bytes / 4
        } else {
            0
        };
        if self.ran_out || free < settings.full_bytes.saturating_add(margin) {
            Space::Full
        } else if free < settings.low_bytes {
            Space::Low
        } else {
            Space::Ample
        }
    }
}
