//! Disks that have room and take nothing: a file system that became read-only, a broken cable.

use super::world::*;
use crate::*;

const BLOCK: u32 = 2560;

fn fail_for_good(disk: &SimDisk) {
    disk.fail_appends(u32::MAX);
    disk.fail_syncs(u32::MAX);
}

fn heal(disk: &SimDisk) {
    disk.fail_appends(0);
    disk.fail_syncs(0);
}

fn health(outcomes: &[Outcome]) -> Vec<Health> {
    let health = |outcome: &Outcome| match outcome {
        Outcome::Health(health) => Some(*health),
        _ => None,
    };
    outcomes.iter().filter_map(health).collect()
}

/// Samples told as dropped, and whether all of it was told for this reason.
fn dropped(outcomes: &[Outcome], why: u8) -> u64 {
    let dropped = |outcome: &Outcome| match outcome {
        Outcome::Dropped {
            samples, reason, ..
        } => {
            assert_eq!(*reason, why);
            Some(*samples)
        }
        _ => None,
    };
    outcomes.iter().filter_map(dropped).sum()
}

#[test]
fn a_disk_that_takes_nothing_is_failing_from_the_first_commit_until_one_goes_through() {
    let (disk, mut clock) = (SimDisk::new(3), Clock::start());
    let dying = Dying {
        disk: disk.clone(),
        left: u64::MAX,
    };
    let mut writer = Writer::new(dying, settings()).unwrap();
    writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
    assert!(health(&writer.commit(clock.pass(400))).is_empty());
    // Nothing can be created, appended, synced or renamed, and there is room.
    writer.disk_mut().left = 0;
    let (mut changes, mut told, mut first_told) = (Vec::new(), 0, None);
    let blocks = 94;
    for n in 0..blocks {
        let now = clock.pass(320);
        let frame = audio(n * u64::from(BLOCK), BLOCK, n as u8);
        writer.append(now, id(1), frame_in(&frame)).unwrap();
        if writer.deadline().is_some_and(|at| at <= now) {
            let outcomes = writer.commit(now);
            if n < 3 && writer.health() == Health::Failing {
                assert_eq!(health(&outcomes).len() + changes.len(), 1, "at once");
            }
            changes.extend(health(&outcomes));
            told += dropped(&outcomes, gap_reason::DISK_FAILED);
            if told > 0 {
                first_told.get_or_insert(n);
            }
        }
    }
    assert_eq!(changes, [Health::Failing]);
    assert_eq!(
        (writer.space(), writer.health()),
        (Space::Ample, Health::Failing)
    );
    let first_told = first_told.expect("a call that waits is told, though no part can say so");
    assert!(first_told * 320 < 25_000, "after {first_told} blocks");
    let end = blocks * u64::from(BLOCK);
    writer.seal(clock.now, id(1), end, WALL_US, b"end").unwrap();
    let outcomes = writer.commit(clock.pass(6_000));
    told += dropped(&outcomes, gap_reason::DISK_FAILED);
    assert!(sealed(&outcomes).is_empty() && health(&outcomes).is_empty());
    writer.disk_mut().left = u64::MAX;
    let outcomes = writer.commit(clock.pass(6_000));
    assert_eq!(health(&outcomes), [Health::Sound]);
    assert_eq!(sealed(&outcomes), [id(1)]);
    told += dropped(&outcomes, gap_reason::DISK_FAILED);
    // What was told before its frames were written is told once.
    assert_eq!(told, writer.counts().dropped_samples);
    let (frames, _) = read_all(&disk, id(1));
    let gaps = frames.iter().map(|read| match read.frame {
        Frame::Gap {
            channel: 0,
            samples,
            ..
        } => samples,
        _ => 0,
    });
    assert_eq!(gaps.sum::<u64>(), told, "and written once");
    assert_eq!((writer.recordings(), writer.kept_bytes()), (0, 0));
}

#[test]
fn one_failure_that_a_new_part_makes_good_is_no_failing_disk() {
    let (disk, mut clock) = (SimDisk::new(3), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
    disk.fail_syncs(1);
    assert!(health(&writer.commit(clock.pass(400))).is_empty());
    disk.fail_appends(1);
    let frame = audio(0, BLOCK, 1);
    writer.append(clock.now, id(1), frame_in(&frame)).unwrap();
    assert!(health(&writer.commit(clock.pass(400))).is_empty());
    // Nor is a full one, which has a word of its own.
    disk.resize(disk.used_bytes());
    for n in 1..40 {
        let frame = audio(n * u64::from(BLOCK), BLOCK, 1);
        writer.append(clock.now, id(1), frame_in(&frame)).unwrap();
        assert!(health(&writer.commit(clock.pass(400))).is_empty());
    }
    assert_eq!(
        (writer.space(), writer.health()),
        (Space::Full, Health::Sound)
    );
}

#[test]
fn ten_thousand_short_calls_on_a_failing_disk_take_bounded_memory_and_none_is_lost_in_silence() {
    let bound = 4 << 20;
    let tight = Settings {
        kept_total_max_bytes: bound,
        ..settings()
    };
    let (disk, mut clock) = (SimDisk::new(3), Clock::start());
    let mut writer = Writer::new(disk.clone(), tight).unwrap();
    fail_for_good(&disk);
    let (mut opened, mut refused, mut facts) = (Vec::new(), 0, 0);
    let (mut delayed, mut deepest) = (0, 0);
    for call in 0..10_000 {
        let now = clock.pass(320);
        let no_memory = Err(AppendError::NoMemory {
            recording: id(call),
        });
        match writer.open(now, id(call), WALL_US, &[7; 600]) {
            Ok(0) => {
                opened.push(id(call));
                writer
                    .append(now, id(call), frame_in(&audio(0, BLOCK, 1)))
                    .unwrap();
                let fact = Frame::Fact {
                    position: u64::from(BLOCK),
                    wall_us: WALL_US,
                    payload: vec![7; 200],
                };
                match writer.append(now, id(call), frame_in(&fact)).map(drop) {
                    Ok(()) => {}
                    error => {
                        assert_eq!(error, no_memory);
                        facts += 1;
                    }
                }
                writer
                    .seal(now, id(call), u64::from(BLOCK), WALL_US, &[7; 400])
                    .expect("what was opened can be sealed");
            }
            error => {
                assert_eq!(error.map(drop), no_memory);
                refused += 1;
            }
        }
        if writer.deadline().is_some_and(|at| at <= now) {
            let told = writer.commit(now);
            let few = told.iter().filter(|o| matches!(o, Outcome::Delayed { .. }));
            delayed = few.count().max(delayed);
        }
        deepest = deepest.max(writer.kept_bytes());
    }
    println!(
        "10,000 calls on a failing disk: {} opened, {refused} refused, {facts} facts refused, {deepest} \
         bytes kept at most, {delayed} tries in one commit",
        opened.len()
    );
    assert!(deepest <= bound, "{deepest} of {bound} bytes");
    assert_eq!(writer.recordings(), opened.len());
    assert!(opened.len() > 500 && refused > 1_000, "both were seen");
    assert_eq!(writer.counts().refused, refused + facts, "and counted");
    assert!(
        delayed < 40,
        "a failing disk is asked, not flooded: {delayed}"
    );
    heal(&disk);
    check_all_come_through(&mut writer, &mut clock, &opened);
}

/// In little time, and nothing is left in memory.
fn check_all_come_through(writer: &mut Writer<SimDisk>, clock: &mut Clock, opened: &[RecordingId]) {
    let mut all = Vec::new();
    for _ in 0..40 {
        all.extend(sealed(&writer.commit(clock.pass(1_000))));
    }
    all.sort();
    assert_eq!(all, opened, "all of them, once the disk takes it");
    assert_eq!((writer.recordings(), writer.kept_bytes()), (0, 0));
    assert_eq!(writer.health(), Health::Sound);
}
