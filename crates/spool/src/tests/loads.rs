//! Files of every format version ever written stay loadable.

use std::path::{Path, PathBuf};

use super::world::*;
use crate::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/spool")
}

fn version_1() -> Vec<Frame> {
    let (position, samples, wall_us) = (0, 8, WALL_US);
    let payload = (0..16).collect();
    vec![
        Frame::Open {
            wall_us,
            payload: b"{\"opening\":1}".to_vec(),
        },
        Frame::Fact {
            position,
            wall_us,
            payload: b"{\"fact\":1}".to_vec(),
        },
        Frame::Audio {
            position,
            format: 1,
            samples,
            payload,
        },
        Frame::Gap {
            channel: 1,
            position: 8,
            samples: 160,
            reason: 2,
        },
        Frame::Audio {
            position: 168,
            format: 3,
            samples: 0,
            payload: Vec::new(),
        },
        Frame::Seal {
            position: 168,
            wall_us: WALL_US + 21_000,
            closing: Closing::Ended,
            payload: b"{\"ending\":1}".to_vec(),
        },
    ]
}

/// The file's name and bytes as today's writer makes them.
fn written_today() -> (String, Vec<u8>) {
    let (disk, mut clock) = (SimDisk::new(1), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    for frame in version_1() {
        match frame {
            Frame::Open { wall_us, payload } => {
                writer.open(clock.now, id(1), wall_us, &payload).unwrap();
            }
            Frame::Seal {
                position,
                wall_us,
                payload,
                ..
            } => {
                writer
                    .seal(clock.now, id(1), position, wall_us, &payload)
                    .unwrap();
            }
            frame => {
                writer.append(clock.now, id(1), frame_in(&frame)).unwrap();
            }
        }
    }
    assert_eq!(sealed(&writer.commit(clock.pass(400))), [id(1)]);
    let name = format!("{}.0000.sealed", id(1));
    let mut bytes = vec![0; 10_000];
    let length = disk.read(&name, 0, &mut bytes).unwrap();
    bytes.truncate(length);
    (name, bytes)
}

/// A recording that may not be kept, of version 2, and the same one kept.
fn locked_today(keep: bool) -> (String, Vec<u8>) {
    let (disk, mut clock) = (SimDisk::new(1), Clock::start());
    let mut writer = Writer::new(disk.clone(), settings()).unwrap();
    let number = if keep { 5 } else { 4 };
    let key = LockKey::filled(|key| (0..).zip(key).for_each(|(n, byte)| *byte = n));
    for frame in version_1() {
        match frame {
            Frame::Open { wall_us, payload } => {
                writer
                    .open_locked(clock.now, id(number), wall_us, &payload, key.clone())
                    .unwrap();
            }
            Frame::Seal {
                position,
                wall_us,
                payload,
                ..
            } => {
                writer
                    .seal(clock.now, id(number), position, wall_us, &payload)
                    .unwrap();
            }
            frame => {
                writer
                    .append(clock.now, id(number), frame_in(&frame))
                    .unwrap();
                if keep && matches!(frame, Frame::Gap { .. }) {
                    writer.unlock(clock.now, id(number)).unwrap();
                }
            }
        }
    }
    assert_eq!(sealed(&writer.commit(clock.pass(400))), [id(number)]);
    let name = format!("{}.0000.sealed", id(number));
    let mut bytes = vec![0; 10_000];
    let length = disk.read(&name, 0, &mut bytes).unwrap();
    bytes.truncate(length);
    (name, bytes)
}

/// As committed; with `DUOLOG_WRITE_FIXTURES` set, the file is written first: once for each format
/// version.
fn committed(folder: &str, name: &str, today: &[u8]) -> Vec<u8> {
    let directory = fixtures().join(folder);
    if std::env::var_os("DUOLOG_WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(name), today).unwrap();
    }
    let committed = std::fs::read(directory.join(name)).unwrap();
    assert_eq!(
        committed, today,
        "the format changed: give it a new version"
    );
    committed
}

fn load(name: &str, bytes: &[u8], recording: RecordingId) -> Vec<Frame> {
    let disk = SimDisk::new(1);
    disk.place(name, bytes);
    let (frames, troubles) = read_all(&disk, recording);
    assert_eq!(troubles, []);
    frames.into_iter().map(|read| read.frame).collect()
}

#[test]
fn version_1_loads() {
    let (name, today) = written_today();
    let bytes = committed("version-1", &name, &today);
    assert_eq!(load(&name, &bytes, id(1)), version_1());
}

#[test]
fn version_2_loads() {
    let (name, today) = locked_today(true);
    let bytes = committed("version-2", &name, &today);
    let mut frames = load(&name, &bytes, id(5));
    assert!(matches!(frames.remove(4), Frame::Key { .. }));
    assert_eq!(frames, version_1(), "all of it is read");

    let (name, today) = locked_today(false);
    let bytes = committed("version-2", &name, &today);
    let frames = load(&name, &bytes, id(4));
    for (found, wanted) in frames.into_iter().zip(version_1()) {
        match (found, wanted) {
            (
                Frame::Locked {
                    position,
                    format,
                    samples,
                    sealed,
                },
                Frame::Audio {
                    position: at,
                    format: as_what,
                    samples: many,
                    payload,
                },
            ) => {
                assert_eq!((position, format, samples), (at, as_what, many));
                assert_eq!(sealed.len(), payload.len() + 16);
            }
            (found, wanted) => assert_eq!(found, wanted, "in clear"),
        }
    }
}
