//! Recordings that may not be kept.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::world::*;
use crate::frame::{FRAME_HEADER_BYTES, PART_HEADER_BYTES};
use crate::splitmix::SplitMix;
use crate::*;

const SECRET: u8 = 0x5C;

fn key(fill: u8) -> LockKey {
    LockKey::filled(|key| key.fill(fill))
}

/// Bytes that nothing else of a recording looks like.
fn secret(draws: &mut SplitMix, length: u64) -> Vec<u8> {
    (0..length).map(|_| draws.draw() as u8).collect()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|found| found == wanted)
}

/// Whether any 16 bytes in a row of `secrets` were ever on the disk, in any file.
fn leaked(disk: &SimDisk, secrets: &[Vec<u8>]) -> bool {
    let files = disk.ever_written();
    let pieces = secrets.iter().flat_map(|secret| secret.chunks_exact(16));
    let mut pieces = pieces.collect::<Vec<_>>();
    pieces.sort_unstable();
    files
        .iter()
        .flat_map(|file| file.windows(16))
        .any(|found| pieces.binary_search(&found).is_ok())
}

fn new(seed: u64) -> (SimDisk, Writer<SimDisk>, Clock) {
    let disk = SimDisk::new(seed);
    disk.remember_writes();
    let writer = Writer::new(disk.clone(), settings()).unwrap();
    (disk, writer, Clock::start())
}

fn say(writer: &mut Writer<SimDisk>, clock: &mut Clock, position: u64, payload: &[u8]) -> u64 {
    let frame = FrameIn::Audio {
        position,
        format: 2,
        samples: payload.len() as u32,
        payload,
    };
    match writer.append(clock.pass(20), id(1), frame).unwrap() {
        Taken::Numbered(number) => number,
        Taken::Dropped => panic!("there is room"),
    }
}

/// What is heard, and what is there and cannot be.
fn heard(frames: &[Numbered]) -> (Vec<Vec<u8>>, usize) {
    let (mut audio, mut locked) = (Vec::new(), 0);
    for read in frames {
        match &read.frame {
            Frame::Audio { payload, .. } => audio.push(payload.clone()),
            Frame::Locked { .. } => locked += 1,
            _ => {}
        }
    }
    (audio, locked)
}

#[test]
fn what_was_not_kept_is_not_on_the_disk_and_the_rest_is() {
    let (disk, mut writer, mut clock) = new(1);
    let mut draws = SplitMix(1);
    writer
        .open_locked(clock.now, id(1), WALL_US, b"who called whom", key(1))
        .unwrap();
    let secrets: Vec<_> = (0..9).map(|_| secret(&mut draws, 2560)).collect();
    for (n, secret) in (0..).zip(&secrets) {
        say(&mut writer, &mut clock, n * 2560, secret);
    }
    let fact = FrameIn::Fact {
        position: 5,
        wall_us: WALL_US,
        payload: b"somebody rang off",
    };
    writer.append(clock.now, id(1), fact).unwrap();
    drop(writer.commit(clock.pass(400)));
    writer
        .seal(clock.now, id(1), 9 * 2560, WALL_US, b"nobody asked")
        .unwrap();
    assert_eq!(sealed(&writer.commit(clock.pass(400))), [id(1)]);
    assert!(!leaked(&disk, &secrets));
    for clear in ["who called whom", "somebody rang off", "nobody asked"] {
        let there = |file: &Vec<u8>| contains(file, clear.as_bytes());
        assert!(disk.ever_written().iter().any(there), "{clear}");
    }
    let (frames, troubles) = read_all(&disk, id(1));
    assert_eq!((frames.len(), troubles), (12, vec![]));
    assert_eq!(heard(&frames), (vec![], 9));
    let locked = |n: usize| match frames[n].frame {
        Frame::Locked {
            position,
            format: 2,
            samples: 2560,
            ..
        } => position,
        ref other => panic!("{other:?}"),
    };
    assert_eq!((locked(1), locked(9)), (0, 8 * 2560));
    // The search finds what is there.
    writer.open(clock.now, id(2), WALL_US, b"").unwrap();
    let frame = FrameIn::Audio {
        position: 0,
        format: 2,
        samples: 2560,
        payload: &secrets[3],
    };
    writer.append(clock.now, id(2), frame).unwrap();
    assert!(leaked(&disk, &secrets));
}

#[test]
fn kept_at_any_moment_all_of_it_is_read() {
    for at in 0..=6 {
        let (disk, mut writer, mut clock) = new(at);
        let mut draws = SplitMix(at);
        writer
            .open_locked(clock.now, id(1), WALL_US, b"open", key(9))
            .unwrap();
        let secrets: Vec<_> = (0..6).map(|n| secret(&mut draws, n * 700)).collect();
        for (n, secret) in (0..).zip(&secrets) {
            if n == at {
                assert!(!leaked(&disk, &secrets));
                assert_eq!(writer.unlock(clock.now, id(1)), Ok(()));
                let before = disk.used_bytes();
                assert_eq!(writer.unlock(clock.now, id(1)), Ok(()), "again");
                assert_eq!(disk.used_bytes(), before, "and nothing is written twice");
            }
            say(&mut writer, &mut clock, n * 2560, secret);
            if draws.below(3) == 0 {
                drop(writer.commit(clock.pass(400)));
            }
        }
        if at == 6 {
            writer.unlock(clock.now, id(1)).unwrap();
        }
        let (frames, _) = read_all(&disk, id(1));
        assert_eq!(heard(&frames), (secrets.clone(), 0), "while it is open");
        writer.seal(clock.now, id(1), 9999, WALL_US, b"").unwrap();
        let late = AppendError::Sealed { recording: id(1) };
        assert_eq!(writer.unlock(clock.now, id(1)), Err(late));
        assert_eq!(sealed(&writer.commit(clock.pass(400))), [id(1)]);
        let (frames, troubles) = read_all(&disk, id(1));
        assert_eq!((heard(&frames), troubles), ((secrets, 0), vec![]));
        let numbers = frames.iter().map(|read| read.number);
        assert!(numbers.eq(0..frames.len() as u64));
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_a_kept_recording_needs_no_key() {
    let (disk, mut writer, mut clock) = new(3);
    let unknown = AppendError::Unknown { recording: id(1) };
    assert_eq!(writer.unlock(clock.now, id(1)), Err(unknown));
    writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
    assert_eq!(writer.unlock(clock.now, id(1)), Ok(()));
    let twice = writer.open_locked(clock.now, id(1), WALL_US, b"", key(1));
    assert_eq!(twice, Err(AppendError::Duplicate { recording: id(1) }));
    say(&mut writer, &mut clock, 0, &[SECRET; 64]);
    writer.seal(clock.now, id(1), 64, WALL_US, b"").unwrap();
    drop(writer.commit(clock.pass(400)));
    let bytes = bytes_of(&disk, 0, "sealed");
    assert_eq!(bytes[8], 1, "in version 1, as ever");
    assert_eq!(
        heard(&read_all(&disk, id(1)).0),
        (vec![vec![SECRET; 64]], 0)
    );
    assert_eq!(writer.counts().refused, 2);
}

#[test]
fn the_seal_of_recovery_is_of_the_version_of_the_parts() {
    for (locked, version) in [(false, 1), (true, 2)] {
        let (disk, mut writer, mut clock) = new(3);
        let opened = match locked {
            true => writer.open_locked(clock.now, id(1), WALL_US, b"open", key(1)),
            false => writer.open(clock.now, id(1), WALL_US, b"open"),
        };
        opened.unwrap();
        say(&mut writer, &mut clock, 0, &[SECRET; 64]);
        drop(writer.commit(clock.pass(400)));
        disk.kill();
        recover(&mut disk.clone(), WALL_US).unwrap();
        for part in [0, 1] {
            let bytes = bytes_of(&disk, part, "sealed");
            assert_eq!(bytes[8], version, "part {part}");
        }
        let last = read_all(&disk, id(1)).0.pop().map(|read| read.frame);
        let interrupted = |frame: &Frame| {
            matches!(
                frame,
                Frame::Seal {
                    closing: Closing::Interrupted,
                    ..
                }
            )
        };
        assert!(last.as_ref().is_some_and(interrupted), "{last:?}");
    }
}

fn bytes_of(disk: &SimDisk, part: u32, state: &str) -> Vec<u8> {
    let name = format!("{}.{part:04}.{state}", id(1));
    let mut bytes = vec![0; 1 << 20];
    let length = disk.read(&name, 0, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// One number is never used for two texts: whoever has both would have what makes them differ.
#[test]
fn a_part_that_takes_over_repeats_the_very_bytes() {
    let (disk, mut writer, mut clock) = new(4);
    let mut draws = SplitMix(4);
    writer
        .open_locked(clock.now, id(1), WALL_US, b"open", key(1))
        .unwrap();
    drop(writer.commit(clock.pass(400)));
    let secrets: Vec<_> = (0..3).map(|_| secret(&mut draws, 800)).collect();
    for (n, secret) in (0..).zip(&secrets) {
        say(&mut writer, &mut clock, n * 800, secret);
    }
    disk.fail_syncs(1);
    drop(writer.commit(clock.pass(400)));
    let frame = FRAME_HEADER_BYTES + 13 + 800 + 16;
    let (first, second) = (bytes_of(&disk, 0, "open"), bytes_of(&disk, 1, "open"));
    assert_eq!(second.len(), PART_HEADER_BYTES + 3 * frame);
    assert_eq!(
        first[first.len() - 3 * frame..],
        second[PART_HEADER_BYTES..]
    );
    say(&mut writer, &mut clock, 2400, &secrets[0]);
    writer.unlock(clock.now, id(1)).unwrap();
    drop(writer.commit(clock.pass(400)));
    let again = bytes_of(&disk, 1, "open");
    let (old, new) = (
        &again[PART_HEADER_BYTES..],
        &again[PART_HEADER_BYTES + 3 * frame..],
    );
    assert_ne!(
        old[33..frame],
        new[33..frame],
        "the same words under another number"
    );
    let mut wanted = secrets.clone();
    wanted.push(secrets[0].clone());
    assert_eq!(heard(&read_all(&disk, id(1)).0), (wanted, 0));
}

#[test]
fn locked_frames_that_were_changed_are_named_and_never_heard() {
    let (disk, mut writer, mut clock) = new(5);
    writer
        .open_locked(clock.now, id(1), WALL_US, b"open", key(1))
        .unwrap();
    for n in 0..3 {
        say(&mut writer, &mut clock, n * 40, &[SECRET + n as u8; 40]);
    }
    writer.unlock(clock.now, id(1)).unwrap();
    writer.seal(clock.now, id(1), 120, WALL_US, b"").unwrap();
    drop(writer.commit(clock.pass(400)));
    let bytes = bytes_of(&disk, 0, "sealed");
    let open = PART_HEADER_BYTES + FRAME_HEADER_BYTES + 8 + 4;
    let frame = FRAME_HEADER_BYTES + 13 + 40 + 16;
    let second = open + frame;
    let body = second + FRAME_HEADER_BYTES;
    for at in body..second + frame {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let reading = |bytes: &[u8]| {
            let disk = SimDisk::new(1);
            disk.place(&format!("{}.0000.sealed", id(1)), bytes);
            read_all(&disk, id(1))
        };
        let (frames, troubles) = reading(&changed);
        assert_eq!(frames.len(), 2, "the checksum ends the part");
        assert_eq!(heard(&frames), (vec![], 1), "and the key lies behind");
        assert!(matches!(troubles[..], [Trouble::TornTail { .. }]));
        // Somebody puts the checksum right.
        let crc = crc32c::crc32c(&id(1).0.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &changed[second..second + 16]);
        let crc = crc32c::crc32c_append(crc, &changed[body..second + frame]);
        changed[second + 16..body].copy_from_slice(&crc.to_le_bytes());
        let (frames, troubles) = reading(&changed);
        assert_eq!(troubles, [Trouble::Changed { number: 2 }], "byte {at}");
        let (audio, locked) = heard(&frames);
        assert_eq!(audio, [vec![SECRET; 40], vec![SECRET + 2; 40]]);
        assert_eq!((locked, frames.len()), (1, 6));
    }
}

#[test]
fn a_recording_cut_anywhere_is_all_there_or_all_locked() {
    let (disk, mut writer, mut clock) = new(6);
    writer
        .open_locked(clock.now, id(1), WALL_US, b"open", key(1))
        .unwrap();
    say(&mut writer, &mut clock, 0, &[SECRET; 50]);
    writer.unlock(clock.now, id(1)).unwrap();
    say(&mut writer, &mut clock, 50, &[SECRET; 50]);
    drop(writer.commit(clock.pass(400)));
    let bytes = bytes_of(&disk, 0, "open");
    let frame = FRAME_HEADER_BYTES + 13 + 50 + 16;
    let open_end = PART_HEADER_BYTES + FRAME_HEADER_BYTES + 12;
    let key_end = open_end + frame + FRAME_HEADER_BYTES + 32;
    for cut in open_end..=bytes.len() {
        let mut disk = SimDisk::new(cut as u64);
        disk.place(&format!("{}.0000.open", id(1)), &bytes[..cut]);
        let recovery = recover(&mut disk, WALL_US).unwrap();
        assert_eq!(recovery.recordings.len(), 1, "cut at {cut}");
        assert_eq!(recovery.recordings[0].closing, Closing::Interrupted);
        let (audio, locked) = heard(&read_all(&disk, id(1)).0);
        let whole = usize::from(cut >= open_end + frame);
        match cut < key_end {
            true => assert_eq!((audio.len(), locked), (0, whole), "cut at {cut}"),
            false => {
                let all = 1 + usize::from(cut == bytes.len());
                assert_eq!((audio.len(), locked), (all, 0), "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_full_disk_takes_the_key_all_the_same() {
    let disk = SimDisk::new(8);
    let tight = Settings {
        ballast_bytes: 4096,
        ..settings()
    };
    disk.resize(4096 + 6_000);
    let mut writer = Writer::new(disk.clone(), tight).unwrap();
    let mut clock = Clock::start();
    writer
        .open_locked(clock.now, id(1), WALL_US, b"open", key(1))
        .unwrap();
    let mut position = 0;
    for n in 0..10 {
        let frame = audio(position, 500, n);
        writer
            .append(clock.pass(50), id(1), frame_in(&frame))
            .unwrap();
        position += 500;
        drop(writer.commit(clock.pass(400)));
    }
    assert_eq!(writer.space(), Space::Full);
    writer.unlock(clock.now, id(1)).unwrap();
    writer
        .seal(clock.now, id(1), position, WALL_US, b"end")
        .unwrap();
    let mut done = Vec::new();
    for _ in 0..20 {
        done.extend(sealed(&writer.commit(clock.pass(6_000))));
    }
    assert_eq!(done, [id(1)]);
    let (audio, locked) = heard(&read_all(&disk, id(1)).0);
    assert!(!audio.is_empty() && locked == 0, "{} {locked}", audio.len());
    assert!(writer.counts().dropped_samples > 0);
}

/// What a seeded run knows of one recording.
#[derive(Default)]
struct Known {
    audio: BTreeMap<u64, Vec<u8>>,
    next: u64,
    /// The key's number, once it was asked for.
    key: Option<u64>,
    durable: u64,
    over: bool,
}

struct Run {
    draws: SplitMix,
    disk: SimDisk,
    writer: Writer<SimDisk>,
    clock: Clock,
    known: BTreeMap<RecordingId, Known>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let (disk, writer, clock) = new(seed);
        let mut run = Run {
            draws: SplitMix(seed ^ 0x10c),
            disk,
            writer,
            clock,
            known: BTreeMap::new(),
        };
        for n in 0..3 {
            let lock = LockKey::filled(|key| key.fill(run.draws.draw() as u8));
            let now = run.clock.now;
            let opened = run.writer.open_locked(now, id(n), WALL_US, b"open", lock);
            assert_eq!(opened, Ok(0));
            let known = run.known.entry(id(n)).or_default();
            known.next = 1;
        }
        run
    }

    fn step(&mut self) {
        let now = self.clock.pass(self.draws.below(150));
        let recording = id(u128::from(self.draws.below(3)));
        let known = self.known.get_mut(&recording).unwrap();
        match self.draws.below(16) {
            0 => self.disk.fail_syncs(1),
            1 => self.disk.fail_appends(1),
            2 | 3 => self.commit(),
            4 => match self.writer.unlock(now, recording) {
                Ok(()) if known.key.is_none() => {
                    known.key = Some(known.next);
                    known.next += 1;
                }
                answer => assert_eq!(answer.is_err(), known.over),
            },
            5 => {
                let sealed = self.writer.seal(now, recording, 1 << 20, WALL_US, b"end");
                assert_eq!(sealed.is_err(), known.over);
                known.next += u64::from(!known.over);
                known.over = true;
            }
            _ => {
                let length = 16 + self.draws.below(500);
                let payload = secret(&mut self.draws, length);
                let frame = FrameIn::Audio {
                    position: known.next * 600,
                    format: 1,
                    samples: 600,
                    payload: &payload,
                };
                if let Ok(Taken::Numbered(number)) = self.writer.append(now, recording, frame) {
                    assert_eq!(number, known.next);
                    known.audio.insert(number, payload);
                    known.next += 1;
                }
            }
        }
    }

    fn commit(&mut self) {
        for outcome in self.writer.commit(self.clock.now) {
            if let Outcome::Durable {
                recording, frames, ..
            } = outcome
            {
                self.known.get_mut(&recording).unwrap().durable = frames;
            }
        }
    }

    fn check(&mut self, power: fn(&SimDisk)) {
        let all: Vec<Vec<u8>> = self
            .known
            .values()
            .flat_map(|k| k.audio.values().cloned())
            .collect();
        assert!(!leaked(&self.disk, &all), "in clear, kept or not");
        power(&self.disk);
        self.disk.fail_syncs(0);
        self.disk.fail_appends(0);
        let found = recover(&mut self.disk, WALL_US).unwrap();
        assert!(found.troubles.is_empty(), "{:?}", found.troubles);
        for (&recording, known) in &self.known {
            if !found
                .recordings
                .iter()
                .any(|one| one.recording == recording)
            {
                assert_eq!(known.durable, 0);
                continue;
            }
            let (frames, _) = read_all(&self.disk, recording);
            let unlocked = frames.iter().any(|r| matches!(r.frame, Frame::Key { .. }));
            let safe = known.key.is_some_and(|number| number < known.durable);
            assert!(!unlocked || known.key.is_some(), "nobody asked");
            assert!(!safe || unlocked, "a durable key is missing");
            for read in &frames {
                match &read.frame {
                    Frame::Audio { payload, .. } => {
                        assert!(unlocked);
                        assert_eq!(Some(payload), known.audio.get(&read.number));
                    }
                    Frame::Locked { .. } => assert!(!unlocked),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn any_order_of_keep_close_fault_and_crash_keeps_the_promise() {
    for seed in 0..600 {
        let mut run = Run::new(seed);
        for _ in 0..run.draws.below(80) {
            run.step();
        }
        run.check(if seed % 3 == 0 {
            SimDisk::kill
        } else {
            SimDisk::crash
        });
    }
}

#[test]
fn nothing_unkept_lies_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut clock = Clock::start();
    let disk = RealDisk::open(dir.path()).unwrap();
    let mut writer = Writer::new(disk, settings()).unwrap();
    let mut draws = SplitMix(11);
    writer
        .open_locked(clock.now, id(1), WALL_US, b"open", key(1))
        .unwrap();
    let words = secret(&mut draws, 5120);
    let files = || {
        let paths = std::fs::read_dir(dir.path()).unwrap();
        let paths = paths
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<PathBuf>>();
        paths
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect::<Vec<_>>()
    };
    for n in 0..4 {
        let frame = FrameIn::Audio {
            position: n * 2560,
            format: 1,
            samples: 2560,
            payload: &words,
        };
        writer.append(clock.pass(320), id(1), frame).unwrap();
        drop(writer.commit(clock.pass(100)));
        let there = |file: &Vec<u8>| words.chunks(16).any(|piece| contains(file, piece));
        assert!(!files().iter().any(there));
    }
    drop(writer);
    let mut disk = RealDisk::open(dir.path()).unwrap();
    assert_eq!(recover(&mut disk, WALL_US).unwrap().recordings.len(), 1);
    assert_eq!(heard(&read_all(&disk, id(1)).0), (vec![], 4));
    assert_eq!(release(&mut disk, id(1)).unwrap(), Release::Removed);
}
