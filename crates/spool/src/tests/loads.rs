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

/// With `DUOLOG_WRITE_FIXTURES` set, the file is written first: once for each format version.
#[test]
fn version_1_loads() {
    let (name, today) = written_today();
    let directory = fixtures().join("version-1");
    if std::env::var_os("DUOLOG_WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(&name), &today).unwrap();
    }
    let committed = std::fs::read(directory.join(&name)).unwrap();
    let disk = SimDisk::new(1);
    disk.place(&name, &committed);
    let (frames, troubles) = read_all(&disk, id(1));
    assert_eq!(
        frames
            .into_iter()
            .map(|read| read.frame)
            .collect::<Vec<_>>(),
        version_1()
    );
    assert_eq!(troubles, []);
    assert_eq!(
        committed, today,
        "the format changed: give it a new version"
    );
}
