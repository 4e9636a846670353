//! The spool on a real disk: appending a block of 320 ms to each of many recordings, and the group
//! commit that makes them all durable.

use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use duolog_benches::short;
use duolog_spool::{FrameIn, RealDisk, RecordingId, Settings, Taken, Writer};
use tempfile::TempDir;

/// Samples per channel of a block: 320 ms.
const SAMPLES: u32 = 2_560;

fn main() {
    let mut criterion = short()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(300));
    spool(&mut criterion);
    criterion.final_summary();
}

fn spool(criterion: &mut Criterion) {
    for recordings in [20, 500] {
        let mut group = criterion.benchmark_group(format!("spool/{recordings}_recordings"));
        let mut rig = Rig::new(recordings);
        group.throughput(Throughput::Elements(u64::from(recordings)));
        rig.measure(&mut group, "append", |appended, _| appended);
        rig.measure(&mut group, "commit", |_, committed| committed);
        group.finish();
        assert_eq!(
            rig.writer.counts().dropped_blocks,
            0,
            "the disk kept everything"
        );
    }
}

struct Rig {
    writer: Writer<RealDisk>,
    recordings: u32,
    position: u64,
    payload: Vec<u8>,
    // Removed when dropped, behind the writer.
    _directory: TempDir,
}

impl Rig {
    fn new(recordings: u32) -> Rig {
        // Beside the build, so that it is a disk and not a file system in memory.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let disk = RealDisk::open(directory.path()).expect("a directory that was just made");
        let mut writer = Writer::new(disk, Settings::default()).expect("a disk with room");
        for recording in 0..recordings {
            let id = RecordingId(u128::from(recording));
            writer
                .open(Instant::now(), id, 0, b"{}")
                .expect("a new recording");
        }
        drop(writer.commit(Instant::now()));
        let payload = (0..2 * SAMPLES).map(|n| n as u8).collect();
        Rig {
            writer,
            recordings,
            position: 0,
            payload,
            _directory: directory,
        }
    }

    /// One round: a block for every recording, then the commit. Gives how long each took.
    fn round(&mut self) -> (Duration, Duration) {
        let began = Instant::now();
        for recording in 0..self.recordings {
            let id = RecordingId(u128::from(recording));
            let frame = FrameIn::Audio {
                position: self.position,
                format: 0,
                samples: SAMPLES,
                payload: &self.payload,
            };
            let taken = self
                .writer
                .append(began, id, frame)
                .expect("the recording is open");
            assert!(matches!(taken, Taken::Numbered(_)), "there is room");
        }
        self.position += u64::from(SAMPLES);
        let appended = began.elapsed();
        drop(self.writer.commit(Instant::now()));
        (appended, began.elapsed() - appended)
    }

    fn measure(
        &mut self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        name: &str,
        pick: fn(Duration, Duration) -> Duration,
    ) {
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                (0..rounds)
                    .map(|_| {
                        let (appended, committed) = self.round();
                        pick(appended, committed)
                    })
                    .sum()
            });
        });
    }
}
