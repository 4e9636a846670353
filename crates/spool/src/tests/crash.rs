//! Crashes at every kind of moment, by seed.

use std::collections::BTreeMap;

use super::world::*;
use crate::splitmix::SplitMix;
use crate::*;

/// What the test knows of one recording.
#[derive(Default)]
struct Known {
    /// By number.
    frames: BTreeMap<u64, Frame>,
    durable: u64,
    end: u64,
    seal: Option<u64>,
    sealed: Option<()>,
}

struct World {
    draws: SplitMix,
    disk: SimDisk,
    clock: Clock,
    writer: Writer<Dying>,
    known: BTreeMap<RecordingId, Known>,
    faults: bool,
}

impl World {
    fn new(seed: u64, faults: bool) -> World {
        let mut draws = SplitMix(seed ^ 0x5eed);
        let disk = SimDisk::new(seed);
        let mut dying = Dying {
            disk: disk.clone(),
            left: u64::MAX,
        };
        recover(&mut dying, WALL_US).unwrap();
        let mut writer = Writer::new(dying, settings()).unwrap();
        writer.disk_mut().left = draws.below(400);
        World {
            draws,
            disk,
            clock: Clock::start(),
            writer,
            known: BTreeMap::new(),
            faults,
        }
    }

    fn step(&mut self) {
        let now = self.clock.pass(self.draws.below(200));
        if self.writer.deadline().is_some_and(|at| at <= now) {
            self.commit();
        }
        let many = self.known.len() as u64;
        let pick = self.draws.below(many.max(1)) as usize;
        let picked = self.known.keys().nth(pick).copied();
        match (self.draws.below(20), picked) {
            (0..2, _) | (_, None) if many < 6 => self.open(many),
            (2, Some(recording)) => self.seal(recording),
            (3, _) => self.commit(),
            (4, _) if self.faults => self.disk.fail_syncs(1 + self.draws.below(2) as u32),
            (5, _) if self.faults => self.disk.fail_appends(1),
            (6, _) if self.faults => self.disk.fail_dir_syncs(1),
            (_, Some(recording)) => self.append(recording),
            (_, None) => {}
        }
    }

    fn open(&mut self, number: u64) {
        let (recording, payload) = (id(number.into()), self.payload(60));
        let opened = self
            .writer
            .open(self.clock.now, recording, WALL_US, &payload);
        assert_eq!(opened, Ok(0));
        let known = self.known.entry(recording).or_default();
        known.frames.insert(
            0,
            Frame::Open {
                wall_us: WALL_US,
                payload,
            },
        );
    }

    fn payload(&mut self, longest: u64) -> Vec<u8> {
        (0..self.draws.below(longest))
            .map(|_| self.draws.draw() as u8)
            .collect()
    }

    fn append(&mut self, recording: RecordingId) {
        let payload = self.payload(3000);
        let kind = self.draws.below(4);
        let known = self.known.get_mut(&recording).unwrap();
        let position = known.end;
        let samples = payload.len() as u32;
        let frame = match kind {
            0 => Frame::Fact {
                position,
                wall_us: WALL_US + position,
                payload,
            },
            1 => Frame::Gap {
                channel: 1,
                position,
                samples: samples.into(),
                reason: 3,
            },
            _ => Frame::Audio {
                position,
                format: 2,
                samples,
                payload,
            },
        };
        let taken = self
            .writer
            .append(self.clock.now, recording, frame_in(&frame));
        if known.seal.is_some() {
            assert!(taken.is_err());
            return;
        }
        let Ok(Taken::Numbered(number)) = taken else {
            panic!("{taken:?}")
        };
        known.end = frame.end();
        assert_eq!(known.frames.insert(number, frame), None);
    }

    fn seal(&mut self, recording: RecordingId) {
        let payload = self.payload(60);
        let known = self.known.get_mut(&recording).unwrap();
        let (now, position) = (self.clock.now, known.end);
        let number = self
            .writer
            .seal(now, recording, position, WALL_US, &payload);
        if known.seal.is_some() {
            assert!(number.is_err());
            return;
        }
        let number = number.unwrap();
        known.seal = Some(number);
        let closing = Closing::Ended;
        known.frames.insert(
            number,
            Frame::Seal {
                position,
                wall_us: WALL_US,
                closing,
                payload,
            },
        );
    }

    fn commit(&mut self) {
        for outcome in self.writer.commit(self.clock.now) {
            match outcome {
                Outcome::Durable {
                    recording, frames, ..
                } => {
                    let known = self.known.get_mut(&recording).unwrap();
                    assert!(frames > known.durable, "durable twice");
                    assert_eq!(frames, *known.frames.keys().last().unwrap() + 1);
                    known.durable = frames;
                }
                Outcome::Sealed { recording } => {
                    let known = self.known.get_mut(&recording).unwrap();
                    assert!(known.seal.is_some_and(|number| number < known.durable));
                    assert_eq!(known.sealed.replace(()), None);
                }
                _ => {}
            }
        }
    }

    /// Recovery that may itself die, then one that does not.
    fn recover(&mut self, power: fn(&SimDisk)) -> Recovery {
        while self.draws.below(2) == 0 {
            let left = self.draws.below(12);
            let mut dying = Dying {
                disk: self.disk.clone(),
                left,
            };
            // Its answer is lost with it.
            let _ = recover(&mut dying, WALL_US + 1);
            let end = if self.draws.below(2) == 0 {
                power
            } else {
                restart
            };
            end(&self.disk);
        }
        recover(&mut self.disk, WALL_US + 2).unwrap()
    }

    fn check_recording(&self, recording: RecordingId, known: &Known, found: Option<&Recovered>) {
        let Some(found) = found else {
            assert_eq!(
                known.durable, 0,
                "a recording whose open was durable is missing"
            );
            return;
        };
        let (frames, troubles) = read_all(&self.disk, recording);
        let (last, rest) = frames.split_last().expect("there is a Seal");
        let Frame::Seal {
            closing, position, ..
        } = &last.frame
        else {
            panic!("no Seal")
        };
        assert_eq!((*closing, *position), (found.closing, found.position));
        assert_eq!(rest.len() as u64, found.frames);
        for (number, read) in (0..).zip(rest) {
            assert_eq!(read.number, number, "in order, none missing");
            assert_eq!(Some(&read.frame), known.frames.get(&number), "bit for bit");
        }
        assert!(
            frames.len() as u64 >= known.durable,
            "a durable frame is missing"
        );
        match closing {
            Closing::Ended => assert_eq!(Some(&last.frame), known.frames.get(&last.number)),
            Closing::Interrupted => {
                assert!(known.sealed.is_none());
                assert!(known.seal.is_none_or(|number| number >= known.durable));
                assert_eq!(
                    *position,
                    rest.iter().map(|read| read.frame.end()).max().unwrap()
                );
            }
        }
        let missing = |trouble: &Trouble| matches!(trouble, Trouble::Missing { .. });
        assert!(!troubles.iter().any(missing), "{troubles:?}");
    }

    fn check_durable(&self, recording: RecordingId) {
        let known = &self.known[&recording];
        let (frames, _) = read_all(&self.disk, recording);
        let numbers = frames.iter().map(|read| read.number);
        assert!(
            numbers
                .take_while(|number| *number < known.durable)
                .eq(0..known.durable)
        );
        for read in &frames[..known.durable as usize] {
            assert_eq!(Some(&read.frame), known.frames.get(&read.number));
        }
    }

    fn check(&mut self, power: fn(&SimDisk)) -> Recovery {
        let recovery = self.recover(power);
        assert!(recovery.troubles.is_empty(), "{:?}", recovery.troubles);
        for found in &recovery.recordings {
            assert!(
                self.known.contains_key(&found.recording),
                "an invented recording"
            );
        }
        for (&recording, known) in &self.known {
            let found = recovery
                .recordings
                .iter()
                .find(|found| found.recording == recording);
            self.check_recording(recording, known, found);
        }
        let again = recover(&mut self.disk, WALL_US + 3).unwrap();
        assert_eq!(
            again.recordings, recovery.recordings,
            "recovery changes nothing the second time"
        );
        assert!(again.troubles.is_empty());
        recovery
    }

    /// Releases that die half-way, by seed; the rest stays as it is.
    fn release(&mut self, recovery: &Recovery) {
        let mut released = Vec::new();
        for found in &recovery.recordings {
            let before: Vec<_> = others(&self.disk, found.recording);
            let left = self.draws.below(8);
            let mut dying = Dying {
                disk: self.disk.clone(),
                left,
            };
            let done = release(&mut dying, found.recording);
            assert_eq!(others(&self.disk, found.recording), before);
            if done.is_ok() {
                released.push(found.recording);
            }
        }
        self.disk.crash();
        let left = recover(&mut self.disk, WALL_US + 4).unwrap();
        for found in &recovery.recordings {
            let still = left
                .recordings
                .iter()
                .find(|one| one.recording == found.recording);
            match still {
                Some(still) => {
                    assert!(
                        !released.contains(&found.recording),
                        "released, and back again"
                    );
                    // Not all of `found`: what a failed sync had doomed could be read until now.
                    assert!(still.frames <= found.frames);
                    self.check_durable(found.recording);
                }
                None => assert!(
                    recordings(&self.disk)
                        .unwrap()
                        .iter()
                        .all(|r| r.0 != found.recording)
                ),
            }
        }
    }
}

fn others(disk: &SimDisk, but: RecordingId) -> Vec<Listed> {
    let but = but.to_string();
    disk.list()
        .unwrap()
        .into_iter()
        .filter(|file| !file.name.starts_with(&but))
        .collect()
}

fn run(seed: u64, faults: bool, power: fn(&SimDisk)) {
    let mut world = World::new(seed, faults);
    for _ in 0..world.draws.below(150) {
        world.step();
    }
    power(&world.disk);
    let recovery = world.check(power);
    world.release(&recovery);
}

#[test]
fn power_is_lost_at_any_moment() {
    (0..1500).for_each(|seed| run(seed, false, SimDisk::crash));
}

#[test]
fn power_is_lost_at_any_moment_on_a_failing_disk() {
    (10_000..12_000).for_each(|seed| run(seed, true, SimDisk::crash));
}

fn restart(disk: &SimDisk) {
    disk.kill();
    disk.fail_syncs(0);
    disk.fail_dir_syncs(0);
    disk.fail_appends(0);
}

#[test]
fn the_process_dies_at_any_moment() {
    (20_000..20_500).for_each(|seed| run(seed, true, restart));
}

#[test]
fn the_death_of_the_process_loses_nothing_that_was_appended() {
    (0..20).for_each(restart_after_appends);
}

fn restart_after_appends(seed: u64) {
    let (disk, mut clock) = (SimDisk::new(seed), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
    for n in 0..50 {
        writer
            .append(
                clock.pass(20),
                id(1),
                frame_in(&audio(n * 160, 160, n as u8)),
            )
            .unwrap();
    }
    disk.kill();
    drop(writer);
    let recovery = recover(&mut disk.clone(), WALL_US).unwrap();
    let recovered = Recovered {
        recording: id(1),
        closing: Closing::Interrupted,
        frames: 51,
        position: 50 * 160,
    };
    assert_eq!(recovery.recordings, [recovered]);
    disk.crash();
    let recovery = recover(&mut disk.clone(), WALL_US).unwrap();
    assert_eq!(recovery.recordings, [recovered], "recovery made it durable");
}
