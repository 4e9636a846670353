//! What is written is read; what is refused; what is damaged.

use super::world::*;
use crate::splitmix::SplitMix;
use crate::*;

fn any_frame(draws: &mut SplitMix) -> Frame {
    let length = match draws.below(8) {
        0 => 0,
        1 => draws.below(200_000),
        _ => draws.below(6_000),
    };
    let payload = (0..length).map(|_| draws.draw() as u8).collect();
    let (position, wall_us) = (draws.draw() >> draws.below(64), draws.draw());
    match draws.below(3) {
        0 => Frame::Audio {
            position,
            format: wall_us as u8,
            samples: draws.draw() as u32,
            payload,
        },
        1 => Frame::Gap {
            channel: wall_us as u8,
            position,
            samples: draws.draw(),
            reason: position as u8,
        },
        _ => Frame::Fact {
            position,
            wall_us,
            payload,
        },
    }
}

#[test]
fn what_is_written_is_read() {
    for seed in 0..100 {
        let (mut draws, disk, mut clock) = (SplitMix(seed), SimDisk::new(seed), Clock::start());
        let settings = Settings {
            kept_max_bytes: 1 << 30,
            ..settings()
        };
        let mut writer = Writer::new(disk.clone(), settings).unwrap();
        let payload = vec![seed as u8; draws.below(100) as usize];
        writer.open(clock.now, id(7), WALL_US, &payload).unwrap();
        let mut wanted = vec![Frame::Open {
            wall_us: WALL_US,
            payload: payload.clone(),
        }];
        for number in 1..=draws.below(40) {
            let frame = any_frame(&mut draws);
            let taken = writer.append(clock.pass(10), id(7), frame_in(&frame));
            assert_eq!(taken, Ok(Taken::Numbered(number)));
            wanted.push(frame);
        }
        writer
            .seal(clock.now, id(7), 8000, WALL_US + 1, &payload)
            .unwrap();
        let closing = Closing::Ended;
        wanted.push(Frame::Seal {
            position: 8000,
            wall_us: WALL_US + 1,
            closing,
            payload,
        });
        assert_eq!(sealed(&writer.commit(clock.pass(400))), [id(7)]);
        assert_eq!(Reader::open(&disk, id(7)).unwrap().state(), State::Sealed);
        let (frames, troubles) = read_all(&disk, id(7));
        assert_eq!(
            frames
                .into_iter()
                .map(|read| read.frame)
                .collect::<Vec<_>>(),
            wanted
        );
        assert_eq!(troubles, []);
    }
}

#[test]
fn calls_that_make_no_sense_are_refused_and_counted() {
    let (disk, clock) = (SimDisk::new(1), Clock::start());
    let (now, recording) = (clock.now, id(1));
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    let fact = FrameIn::Fact {
        position: 0,
        wall_us: 0,
        payload: b"x",
    };
    assert_eq!(
        writer.append(now, recording, fact),
        Err(AppendError::Unknown { recording })
    );
    assert_eq!(
        writer.seal(now, recording, 0, 0, b""),
        Err(AppendError::Unknown { recording })
    );
    writer.open(now, recording, 0, b"").unwrap();
    assert_eq!(
        writer.open(now, recording, 0, b""),
        Err(AppendError::Duplicate { recording })
    );
    let long = vec![0; MAX_PAYLOAD_BYTES + 1];
    let too_long = AppendError::TooLong {
        recording,
        bytes: long.len(),
    };
    let fact_too_long = FrameIn::Fact {
        position: 0,
        wall_us: 0,
        payload: &long,
    };
    assert_eq!(writer.append(now, recording, fact_too_long), Err(too_long));
    assert_eq!(writer.seal(now, recording, 0, 0, &long), Err(too_long));
    let second = id(2);
    let too_long = AppendError::TooLong {
        recording: second,
        bytes: long.len(),
    };
    assert_eq!(writer.open(now, second, 0, &long), Err(too_long));
    writer.seal(now, recording, 0, 0, b"").unwrap();
    assert_eq!(
        writer.append(now, recording, fact),
        Err(AppendError::Sealed { recording })
    );
    assert_eq!(
        writer.seal(now, recording, 0, 0, b""),
        Err(AppendError::Sealed { recording })
    );
    assert_eq!(writer.counts().refused, 8);
    assert_eq!(writer.counts().frames, 2);

    drop(writer);
    disk.kill();
    let mut writer = Writer::new(disk, settings()).unwrap();
    assert_eq!(
        writer.open(now, recording, 0, b""),
        Err(AppendError::Duplicate { recording })
    );
}

#[test]
fn a_commit_is_wanted_within_the_group_commit_of_the_first_append() {
    let mut clock = Clock::start();
    let mut writer = Writer::new(SimDisk::new(1), settings()).unwrap();
    assert_eq!(writer.deadline(), None);
    let first = clock.now;
    writer.open(first, id(1), WALL_US, b"").unwrap();
    for n in 0..10 {
        writer
            .append(clock.pass(30), id(1), frame_in(&audio(n * 160, 160, 0)))
            .unwrap();
        assert_eq!(writer.deadline(), Some(first + settings().group_commit));
    }
    let outcomes = writer.commit(clock.pass(100));
    assert!(matches!(
        outcomes[..],
        [Outcome::Durable {
            frames: 11,
            position: 1600,
            ..
        }]
    ));
    assert_eq!(writer.deadline(), None);
    assert!(writer.commit(clock.pass(1000)).is_empty());
    assert_eq!(writer.counts().commits, 1);
}

#[test]
fn one_commit_makes_many_recordings_durable_in_turn() {
    let mut clock = Clock::start();
    let mut writer = Writer::new(SimDisk::new(1), settings()).unwrap();
    for n in 0..50 {
        writer.open(clock.now, id(n), WALL_US, b"").unwrap();
    }
    for n in (0..50).step_by(2) {
        writer.seal(clock.now, id(n), 0, WALL_US, b"").unwrap();
    }
    let outcomes = writer.commit(clock.pass(400));
    assert_eq!(
        sealed(&outcomes),
        (0..50).step_by(2).map(id).collect::<Vec<_>>()
    );
    assert_eq!((writer.recordings(), writer.counts().commits), (25, 1));
    assert!(writer.commit(clock.pass(400)).is_empty());
}

/// One sealed recording of four frames and the offsets of its frames.
fn sealed_file() -> (SimDisk, String, u64) {
    let (disk, mut clock) = (SimDisk::new(1), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    writer.open(clock.now, id(1), WALL_US, b"open").unwrap();
    writer
        .append(clock.now, id(1), frame_in(&audio(0, 10, 1)))
        .unwrap();
    writer
        .append(clock.now, id(1), frame_in(&audio(10, 10, 2)))
        .unwrap();
    writer.seal(clock.now, id(1), 20, WALL_US, b"end").unwrap();
    assert_eq!(sealed(&writer.commit(clock.pass(400))), [id(1)]);
    let name = format!("{}.0000.sealed", id(1));
    let bytes = disk
        .list()
        .unwrap()
        .iter()
        .find(|file| file.name == name)
        .unwrap()
        .bytes;
    (disk, name, bytes)
}

#[test]
fn any_changed_byte_is_found_and_what_is_before_it_is_read() {
    let (whole, name, bytes) = sealed_file();
    let (wanted, _) = read_all(&whole, id(1));
    assert_eq!(wanted.len(), 4);
    let mut lengths = std::collections::BTreeSet::new();
    for offset in 0..bytes {
        let (disk, ..) = sealed_file();
        disk.damage(&name, offset);
        let (frames, troubles) = read_all(&disk, id(1));
        assert_eq!(frames[..], wanted[..frames.len()], "offset {offset}");
        assert!(frames.len() < 4);
        let expected = if offset < 36 { "BadPart" } else { "TornTail" };
        assert!(
            format!("{troubles:?}").contains(expected),
            "offset {offset}: {troubles:?}"
        );
        lengths.insert(frames.len());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_file_cut_anywhere_is_finished_or_set_aside_and_blocks_no_other() {
    let (whole, name, bytes) = sealed_file();
    let mut content = vec![0; bytes as usize];
    assert_eq!(whole.read(&name, 0, &mut content).unwrap(), content.len());
    for cut in 0..bytes {
        let mut disk = SimDisk::new(cut);
        disk.place(&format!("{}.0000.open", id(1)), &content[..cut as usize]);
        disk.place(&format!("{}.0000.open", id(2)), &[]);
        disk.place("notes.txt", b"a stranger");
        let recovery = recover(&mut disk, WALL_US).unwrap();
        assert!(recovery.troubles.is_empty());
        assert_eq!(
            recovery
                .leftovers
                .iter()
                .filter(|l| l.reason == LeftoverReason::Empty)
                .count(),
            if cut == 0 { 2 } else { 1 }
        );
        if cut < 36 + 20 + 8 + 4 {
            assert_eq!(recovery.recordings, []);
            assert_eq!(recovery.leftovers.len(), 2);
            let again = recover(&mut disk, WALL_US).unwrap().leftovers;
            let aside = again
                .iter()
                .filter(|l| l.reason == LeftoverReason::SetAside)
                .count();
            assert_eq!(aside, usize::from(cut > 0));
        } else {
            assert_eq!(recovery.recordings.len(), 1);
            assert_eq!(recovery.recordings[0].closing, Closing::Interrupted);
            assert_eq!(recordings(&disk).unwrap(), [(id(1), State::Sealed)]);
            let (frames, _) = read_all(&disk, id(1));
            assert_eq!(frames.len() as u64, recovery.recordings[0].frames + 1);
        }
        assert!(
            disk.list()
                .unwrap()
                .iter()
                .any(|file| file.name == "notes.txt")
        );
    }
}

#[test]
fn a_frame_of_another_recording_never_fits() {
    let (whole, name, bytes) = sealed_file();
    let mut content = vec![0; bytes as usize];
    whole.read(&name, 0, &mut content).unwrap();
    let other = SimDisk::new(1);
    let mut clock = Clock::start();
    let mut writer = Writer::new(other.clone(), settings()).unwrap();
    writer.open(clock.now, id(2), WALL_US, b"mine").unwrap();
    let _ = writer.commit(clock.pass(400));
    let mine = format!("{}.0000.open", id(2));
    let mut spliced = vec![0; 36 + 20 + 8 + 4];
    assert_eq!(other.read(&mine, 0, &mut spliced).unwrap(), spliced.len());
    spliced.extend_from_slice(&content[spliced.len()..]);
    other.place(&mine, &spliced);
    let (frames, troubles) = read_all(&other, id(2));
    assert_eq!(frames.len(), 1);
    assert_eq!(
        troubles,
        [Trouble::TornTail {
            part: 0,
            offset: 68
        }]
    );
    // A whole file under another's name is not believed either.
    other.place(&mine, &content);
    assert_eq!(
        read_all(&other, id(2)),
        (vec![], vec![Trouble::BadPart { part: 0 }])
    );
}

#[test]
fn noise_is_never_a_frame_and_never_a_panic() {
    let (whole, name, _) = sealed_file();
    let mut header = vec![0; 36];
    whole.read(&name, 0, &mut header).unwrap();
    for seed in 0..1000 {
        let mut draws = SplitMix(seed);
        let mut noise = header[..draws.below(2) as usize * 36].to_vec();
        // Small lengths and known kinds, so that some get as far as the crc.
        for _ in 0..draws.below(60) {
            noise.extend([
                draws.below(64) as u8,
                0,
                0,
                0,
                1 + draws.below(6) as u8,
                0,
                0,
                0,
            ]);
            noise.extend((0..draws.below(40)).map(|_| draws.draw() as u8));
        }
        let mut disk = SimDisk::new(seed);
        disk.place(&name, &noise);
        assert_eq!(read_all(&disk, id(1)).0, []);
        let recovery = recover(&mut disk, WALL_US).unwrap();
        assert_eq!(
            (recovery.recordings.len(), recovery.leftovers.len()),
            (0, 1)
        );
    }
}

#[test]
fn missing_parts_are_named() {
    let (disk, mut clock) = (SimDisk::new(1), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    writer.open(clock.now, id(1), WALL_US, b"").unwrap();
    let _ = writer.commit(clock.pass(400));
    for n in 0..3 {
        disk.fail_appends(1);
        writer
            .append(clock.now, id(1), frame_in(&audio(n * 10, 10, n as u8)))
            .unwrap();
        let _ = writer.commit(clock.pass(400));
    }
    writer.seal(clock.now, id(1), 30, WALL_US, b"").unwrap();
    let _ = writer.commit(clock.pass(400));
    assert_eq!(read_all(&disk, id(1)).0.len(), 5);
    disk.clone()
        .remove(&format!("{}.0002.sealed", id(1)))
        .unwrap();
    let (frames, troubles) = read_all(&disk, id(1));
    assert_eq!(
        frames.iter().map(|read| read.number).collect::<Vec<_>>(),
        [0, 1, 3, 4]
    );
    assert!(
        troubles.contains(&Trouble::Missing { first: 2, count: 1 }),
        "{troubles:?}"
    );
}

#[test]
fn only_a_sealed_recording_is_released_and_no_other_with_it() {
    let (mut disk, mut clock) = (SimDisk::new(1), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    for n in 0..4 {
        writer.open(clock.now, id(n), WALL_US, b"").unwrap();
    }
    disk.fail_syncs(1);
    for n in 0..3 {
        writer.seal(clock.now, id(n), 0, WALL_US, b"").unwrap();
    }
    assert_eq!(sealed(&writer.commit(clock.pass(400))).len(), 3);
    assert!(matches!(
        release(&mut disk, id(3)),
        Err(ReadError::StillOpen { .. })
    ));
    assert_eq!(release(&mut disk, id(1)).unwrap(), Release::Removed);
    assert_eq!(release(&mut disk, id(1)).unwrap(), Release::Absent);
    assert!(matches!(
        Reader::open(&disk, id(1)),
        Err(ReadError::Unknown { .. })
    ));
    let states: Vec<_> = recordings(&disk).unwrap();
    assert_eq!(
        states,
        [
            (id(0), State::Sealed),
            (id(2), State::Sealed),
            (id(3), State::Open)
        ]
    );
    assert_eq!(read_all(&disk, id(0)).0.len(), 2);
    assert_eq!(
        disk.list()
            .unwrap()
            .iter()
            .filter(|f| f.name.starts_with(&id(1).to_string()))
            .count(),
        0
    );
}

#[test]
fn recovery_on_a_failing_or_full_disk_still_finishes() {
    for (fault, troubles) in [(0, 0), (1, 1), (2, 1)] {
        let (mut disk, mut clock) = (SimDisk::new(1), Clock::start());
        let mut writer = Writer::new(disk.clone(), settings()).unwrap();
        writer.open(clock.now, id(1), WALL_US, b"").unwrap();
        let _ = writer.commit(clock.pass(400));
        disk.crash();
        match fault {
            0 => disk.resize(disk.used_bytes()),
            1 => disk.fail_syncs(1),
            _ => disk.fail_dir_syncs(1),
        }
        let recovery = recover(&mut disk, WALL_US).unwrap();
        assert_eq!(recovery.recordings.len(), 1, "fault {fault}");
        assert_eq!(recovery.troubles.len(), troubles, "{:?}", recovery.troubles);
        assert_eq!(read_all(&disk, id(1)).0.len(), 2);
    }
}
