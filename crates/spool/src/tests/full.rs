//! Disks that fill up, fail and stall.

use std::time::Duration;

use super::world::*;
use crate::splitmix::SplitMix;
use crate::*;

const BLOCK: u32 = 2560;

/// A writer on a disk of which `room` bytes are left beside the ballast.
fn tight(room: u64, settings: Settings) -> (SimDisk, Writer<SimDisk>) {
    let disk = SimDisk::new(5);
    disk.resize(room + settings.ballast_bytes);
    let writer = Writer::new(disk.clone(), settings).unwrap();
    (disk, writer)
}

/// Every sample of both channels is audio or a named gap; gives how many are gaps.
fn covered(frames: &[Numbered], channel: u8, end: u64) -> u64 {
    let (mut stretches, mut gap_samples) = (Vec::new(), 0);
    for read in frames {
        match read.frame {
            Frame::Audio {
                position, samples, ..
            } => {
                stretches.push((position, position + u64::from(samples)));
            }
            Frame::Gap {
                channel: of,
                position,
                samples,
                reason,
            } if of == channel => {
                assert!(reason >= gap_reason::DISK_FULL);
                gap_samples += samples;
                stretches.push((position, position + samples));
            }
            _ => {}
        }
    }
    stretches.sort();
    let mut at = 0;
    for (from, to) in stretches {
        assert!(
            from <= at,
            "samples {at}..{from} of channel {channel} are silently missing"
        );
        at = at.max(to);
    }
    assert_eq!(at, end);
    gap_samples
}

fn facts(frames: &[Numbered]) -> Vec<u64> {
    let fact = |read: &Numbered| match read.frame {
        Frame::Fact { position, .. } => Some(position),
        _ => None,
    };
    frames.iter().filter_map(fact).collect()
}

struct Filled {
    spaces: Vec<Space>,
    sealed: bool,
    dropped: u64,
}

/// Thirty seconds of blocks with a fact each; the disk has room again from `again_at`, if at all.
fn fill(
    disk: &SimDisk,
    writer: &mut Writer<SimDisk>,
    again_at: Option<u64>,
    blocks: u64,
) -> Filled {
    let (mut clock, mut filled) = (
        Clock::start(),
        Filled {
            spaces: Vec::new(),
            sealed: false,
            dropped: 0,
        },
    );
    writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
    let mut told = |outcomes: Vec<Outcome>| {
        filled.sealed |= sealed(&outcomes).contains(&id(1));
        for outcome in outcomes {
            match outcome {
                Outcome::Space(space) => filled.spaces.push(space),
                Outcome::Dropped { samples, .. } => filled.dropped += samples,
                _ => {}
            }
        }
    };
    for n in 0..blocks {
        if again_at == Some(n) {
            disk.resize(1 << 30);
        }
        let now = clock.pass(320);
        let position = n * u64::from(BLOCK);
        writer
            .append(now, id(1), frame_in(&audio(position, BLOCK, n as u8)))
            .unwrap();
        let fact = FrameIn::Fact {
            position,
            wall_us: WALL_US,
            payload: b"fact",
        };
        assert!(matches!(
            writer.append(now, id(1), fact),
            Ok(Taken::Numbered(_))
        ));
        told(writer.commit(now));
    }
    let end = blocks * u64::from(BLOCK);
    writer.seal(clock.now, id(1), end, WALL_US, b"end").unwrap();
    for _ in 0..20 {
        let now = clock.pass(1000);
        told(writer.commit(now));
    }
    filled
}

fn check_filled(disk: &SimDisk, filled: &Filled, blocks: u64) {
    assert!(filled.sealed);
    let (frames, _) = read_all(disk, id(1));
    let end = blocks * u64::from(BLOCK);
    assert_eq!(covered(&frames, 0, end), filled.dropped);
    assert_eq!(covered(&frames, 1, end), filled.dropped);
    let wanted: Vec<_> = (0..blocks).map(|n| n * u64::from(BLOCK)).collect();
    assert_eq!(facts(&frames), wanted, "every fact is kept");
    assert!(matches!(
        frames.last().unwrap().frame,
        Frame::Seal {
            closing: Closing::Ended,
            ..
        }
    ));
    let first = frames
        .iter()
        .find(|read| matches!(read.frame, Frame::Audio { .. }));
    assert_eq!(first.map(|read| &read.frame), Some(&audio(0, BLOCK, 0)));
}

#[test]
fn a_full_disk_keeps_facts_and_seals_and_lists_the_lost_audio() {
    let with_ballast = Settings {
        ballast_bytes: 32 << 10,
        ..settings()
    };
    for room in (5_300..60_000).step_by(777) {
        let (disk, mut writer) = tight(room, with_ballast.clone());
        let filled = fill(&disk, &mut writer, None, 100);
        assert_eq!(filled.spaces, [Space::Full], "room {room}");
        assert_eq!(writer.space(), Space::Full);
        assert!(filled.dropped > 0);
        check_filled(&disk, &filled, 100);
    }
}

#[test]
fn audio_goes_on_when_there_is_room_again() {
    let with_ballast = Settings {
        ballast_bytes: 32 << 10,
        ..settings()
    };
    for room in (5_300..60_000).step_by(777) {
        let (disk, mut writer) = tight(room, with_ballast.clone());
        let filled = fill(&disk, &mut writer, Some(40), 100);
        assert_eq!(filled.spaces, [Space::Full, Space::Ample], "room {room}");
        check_filled(&disk, &filled, 100);
        assert!(filled.dropped < 70 * u64::from(BLOCK));
        let (frames, troubles) = read_all(&disk, id(1));
        let last = Frame::Audio {
            position: 99 * u64::from(BLOCK),
            format: 1,
            samples: BLOCK,
            payload: vec![99; BLOCK as usize * 2],
        };
        assert!(frames.iter().any(|read| read.frame == last));
        assert!(
            !troubles
                .iter()
                .any(|t| matches!(t, Trouble::Missing { .. })),
            "{troubles:?}"
        );
        assert!(
            disk.list()
                .unwrap()
                .iter()
                .any(|file| file.name == "ballast")
        );
    }
}

#[test]
fn the_floors_drop_audio_before_the_disk_is_full() {
    let floors = Settings {
        low_bytes: 200_000,
        full_bytes: 100_000,
        ..settings()
    };
    let (disk, mut writer) = tight(300_000, floors);
    let filled = fill(&disk, &mut writer, None, 100);
    assert_eq!(filled.spaces, [Space::Low, Space::Full]);
    check_filled(&disk, &filled, 100);
    assert_eq!(writer.counts().failed_parts, 0);
    assert!(
        disk.list()
            .unwrap()
            .iter()
            .any(|file| file.name == "ballast"),
        "not needed"
    );
}

#[test]
fn a_disk_full_from_the_start_is_no_error() {
    let disk = SimDisk::new(1);
    disk.resize(100);
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    assert_eq!(writer.space(), Space::Full);
    let mut clock = Clock::start();
    writer.open(clock.now, id(1), WALL_US, &[7; 500]).unwrap();
    assert!(
        writer
            .commit(clock.pass(400))
            .iter()
            .all(|o| !matches!(o, Outcome::Durable { .. }))
    );
    disk.resize(1 << 20);
    let outcomes = writer.commit(clock.pass(6000));
    assert!(
        outcomes
            .iter()
            .any(|o| matches!(o, Outcome::Durable { frames: 1, .. }))
    );
    assert_eq!(writer.space(), Space::Ample);
}

#[test]
fn a_failed_sync_loses_nothing_and_its_part_is_left_alone() {
    let (disk, mut clock) = (SimDisk::new(9), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
    writer
        .append(clock.now, id(1), frame_in(&audio(0, 160, 1)))
        .unwrap();
    disk.fail_syncs(1);
    let outcomes = writer.commit(clock.pass(400));
    assert!(
        matches!(outcomes[0], Outcome::PartFailed { recording, part: 0, .. } if recording == id(1))
    );
    assert!(matches!(
        outcomes[1],
        Outcome::Durable {
            frames: 2,
            position: 160,
            ..
        }
    ));
    let name = format!("{}.0000.open", id(1));
    let length = |disk: &SimDisk| {
        disk.list()
            .unwrap()
            .iter()
            .find(|file| file.name == name)
            .map(|file| file.bytes)
    };
    let before = length(&disk);
    writer
        .append(clock.now, id(1), frame_in(&audio(160, 160, 2)))
        .unwrap();
    assert_eq!(writer.commit(clock.pass(400)).len(), 1);
    assert_eq!(length(&disk), before, "never written again");
    disk.crash();
    let recovery = recover(&mut disk.clone(), WALL_US).unwrap();
    assert_eq!(
        (
            recovery.recordings[0].frames,
            recovery.recordings[0].position
        ),
        (3, 320)
    );
}

#[test]
fn a_disk_that_fails_for_long_costs_listed_audio_and_bounded_memory() {
    let (disk, mut clock) = (SimDisk::new(9), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
    disk.fail_syncs(u32::MAX);
    disk.fail_appends(u32::MAX);
    let blocks = 300;
    for n in 0..blocks {
        let now = clock.pass(320);
        let frame = audio(n * u64::from(BLOCK), BLOCK, n as u8);
        writer.append(now, id(1), frame_in(&frame)).unwrap();
        if writer.deadline().is_some_and(|at| at <= now) {
            let _ = writer.commit(now);
        }
    }
    assert!(writer.counts().failed_parts + writer.recordings() as u64 > 1);
    assert!(
        disk.list().unwrap().len() < 60,
        "a failing disk is not filled with parts"
    );
    disk.fail_syncs(0);
    disk.fail_appends(0);
    writer
        .seal(clock.now, id(1), blocks * u64::from(BLOCK), WALL_US, b"")
        .unwrap();
    assert_eq!(sealed(&writer.commit(clock.pass(6000))), [id(1)]);
    let (frames, troubles) = read_all(&disk, id(1));
    let gaps = covered(&frames, 0, blocks * u64::from(BLOCK));
    assert_eq!(gaps, writer.counts().dropped_samples);
    let kept = blocks * u64::from(BLOCK) - gaps;
    assert!(
        (200_000..270_000).contains(&(kept * 2)),
        "half of 512 KiB is kept: {kept}"
    );
    assert!(
        !troubles
            .iter()
            .any(|t| matches!(t, Trouble::Missing { .. }))
    );
}

#[test]
fn a_recording_is_sealed_on_a_full_disk_at_the_cost_of_audio_in_memory() {
    let (disk, mut clock) = (SimDisk::new(9), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
    let _ = writer.commit(clock.pass(400));
    disk.resize(disk.used_bytes());
    let fact = FrameIn::Fact {
        position: 0,
        wall_us: WALL_US,
        payload: b"fact",
    };
    writer
        .append(clock.now, id(1), frame_in(&audio(0, BLOCK, 1)))
        .unwrap();
    assert_eq!(writer.space(), Space::Full);
    writer.append(clock.now, id(1), fact).unwrap();
    let next = audio(u64::from(BLOCK), BLOCK, 2);
    assert_eq!(
        writer.append(clock.now, id(1), frame_in(&next)),
        Ok(Taken::Dropped)
    );
    let end = 2 * u64::from(BLOCK);
    writer.seal(clock.now, id(1), end, WALL_US, b"end").unwrap();
    assert_eq!(sealed(&writer.commit(clock.pass(400))), [id(1)]);
    assert_eq!(writer.counts().dropped_samples, end);
    let (frames, _) = read_all(&disk, id(1));
    assert_eq!(
        (covered(&frames, 0, end), covered(&frames, 1, end)),
        (end, end)
    );
    assert_eq!(facts(&frames), [0]);
    let last = Frame::Seal {
        position: end,
        wall_us: WALL_US,
        closing: Closing::Ended,
        payload: b"end".to_vec(),
    };
    assert_eq!(frames.last().unwrap().frame, last);
}

#[test]
fn a_disk_that_fails_to_sync_for_long_is_not_filled_with_parts() {
    let (disk, mut clock) = (SimDisk::new(9), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
    disk.fail_syncs(u32::MAX);
    for n in 0..500 {
        let now = clock.pass(320);
        let _ = writer
            .append(now, id(1), frame_in(&audio(n * 160, 160, n as u8)))
            .unwrap();
        if writer.deadline().is_some_and(|at| at <= now) {
            let _ = writer.commit(now);
        }
    }
    let parts = writer.counts().failed_parts;
    assert!(
        (10..90).contains(&parts),
        "160 s of failed syncs made {parts} parts"
    );
}

#[test]
fn a_stall_is_told_to_the_world_and_costs_nothing() {
    let (disk, mut clock) = (SimDisk::new(2), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
    disk.stall_next_sync(Duration::from_secs(5));
    let outcomes = writer.commit(clock.pass(400));
    assert!(matches!(outcomes[..], [Outcome::Durable { .. }]));
    assert_eq!(disk.take_stalled(), Duration::from_secs(5));
    assert_eq!(disk.take_stalled(), Duration::ZERO);
}

#[test]
fn crashes_while_the_disk_fills_and_empties_lose_nothing_reported_durable() {
    for seed in 0..500 {
        let mut draws = SplitMix(seed);
        let disk = SimDisk::new(seed);
        disk.resize(50_000);
        let mut writer = Writer::new(disk.clone(), settings()).unwrap();
        let mut clock = Clock::start();
        writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
        let (mut sent, mut durable) = (std::collections::BTreeMap::new(), 0);
        for n in 0..draws.below(120) {
            if draws.below(15) == 0 {
                disk.resize(20_000 + draws.below(300_000));
            }
            let now = clock.pass(320);
            let frame = audio(n * 800, 800, n as u8);
            if let Ok(Taken::Numbered(number)) = writer.append(now, id(1), frame_in(&frame)) {
                sent.insert(number, frame);
            }
            for outcome in writer.commit(now) {
                if let Outcome::Durable { frames, .. } = outcome {
                    durable = frames;
                }
            }
        }
        disk.crash();
        disk.resize(1 << 30);
        let recovery = recover(&mut disk.clone(), WALL_US).unwrap();
        if durable == 0 {
            continue;
        }
        assert_eq!(recovery.recordings.len(), 1);
        let (frames, troubles) = read_all(&disk, id(1));
        assert!(
            !troubles
                .iter()
                .any(|t| matches!(t, Trouble::Missing { .. })),
            "{troubles:?}"
        );
        assert!(frames.len() as u64 >= durable, "seed {seed}");
        for read in &frames {
            match (&read.frame, sent.get(&read.number)) {
                (
                    Frame::Seal {
                        closing: Closing::Interrupted,
                        ..
                    },
                    _,
                ) => {}
                (frame, Some(was)) => assert_eq!(frame, was),
                (
                    Frame::Gap {
                        reason: gap_reason::DISK_FULL,
                        ..
                    },
                    None,
                ) => {}
                (Frame::Open { .. }, None) => {}
                (frame, None) => panic!("invented: {frame:?}"),
            }
        }
    }
}
