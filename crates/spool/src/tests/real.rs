//! The machine's own disk.

use super::world::*;
use crate::*;

#[test]
fn recordings_survive_a_restart_on_the_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool");
    let mut clock = Clock::start();
    // Two and twenty: synced one by one, and together.
    for many in [2, 20] {
        let mut disk = RealDisk::open(&path).unwrap();
        assert!(disk.free_bytes().unwrap() > 0);
        let before = recover(&mut disk, WALL_US).unwrap();
        assert!(before.troubles.is_empty() && before.recordings.is_empty());
        let mut writer = Writer::new(disk, settings()).unwrap();
        for n in 0..many {
            writer.open(clock.now, id(n), WALL_US, b"open").unwrap();
            for block in 0..5 {
                let frame = audio(block * 2560, 2560, n as u8);
                writer.append(clock.now, id(n), frame_in(&frame)).unwrap();
            }
        }
        let durable = writer.commit(clock.pass(400));
        assert!(
            durable
                .iter()
                .all(|o| matches!(o, Outcome::Durable { frames: 6, .. }))
        );
        assert_eq!(durable.len() as u128, many);
        writer
            .seal(clock.now, id(0), 12_800, WALL_US, b"end")
            .unwrap();
        assert_eq!(sealed(&writer.commit(clock.pass(400))), [id(0)]);
        drop(writer);

        let mut disk = RealDisk::open(&path).unwrap();
        let recovery = recover(&mut disk, WALL_US).unwrap();
        assert!(recovery.troubles.is_empty() && recovery.leftovers.is_empty());
        assert_eq!(recovery.recordings.len() as u128, many);
        for found in recovery.recordings {
            let ended = found.recording == id(0);
            assert_eq!(found.closing == Closing::Ended, ended);
            let (frames, troubles) = read_all(&disk, found.recording);
            assert_eq!((frames.len(), troubles.len()), (7, 0));
            assert_eq!(
                frames[5].frame,
                audio(4 * 2560, 2560, found.recording.0 as u8)
            );
            assert_eq!(
                release(&mut disk, found.recording).unwrap(),
                Release::Removed
            );
        }
        let left: Vec<_> = disk
            .list()
            .unwrap()
            .into_iter()
            .map(|file| file.name)
            .collect();
        assert_eq!(left, ["ballast"]);
    }
}

#[test]
fn the_real_disk_never_writes_over_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = RealDisk::open(dir.path()).unwrap();
    let file = disk.create("a").unwrap();
    disk.append(file, b"one").unwrap();
    disk.append(file, b"two").unwrap();
    assert!(disk.create("a").is_err());
    disk.create("b").unwrap();
    assert!(disk.rename("a", "b").is_err());
    disk.rename("a", "c").unwrap();
    assert!(disk.sync(&[file]).is_empty());
    disk.sync_dir().unwrap();
    let mut bytes = [0; 10];
    assert_eq!(disk.read("c", 1, &mut bytes).unwrap(), 5);
    assert_eq!(&bytes[..5], b"netwo");
    assert_eq!(disk.read("c", 6, &mut bytes).unwrap(), 0);
    assert!(disk.read("a", 0, &mut bytes).is_err());
    disk.close(file);
    assert_eq!(disk.sync(&[file]).len(), 1);
    assert!(disk.append(file, b"x").is_err());
    disk.remove("c").unwrap();
    assert!(disk.remove("c").is_err());
    let mut others = disk.list().unwrap();
    others.sort();
    assert_eq!(
        others,
        [Listed {
            name: "b".into(),
            bytes: 0
        }]
    );
}
