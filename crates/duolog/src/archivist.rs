//! The archive's worker: opens rows, finishes sealed recordings, tries again what failed. It runs at
//! low priority; nothing waits for it, and what it has not done yet the spool keeps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duolog_archive::catalogue::Row;
use duolog_archive::{
    Archive, FinishError, RequestedFormat, Shown, SpoolDirectory, Step, WallTime, wire,
};
use duolog_audio::codec::G729Library;
use duolog_spool::RecordingId;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clock::WallClock;
use crate::config::{Config, Format};
use crate::keeper::Work;
use crate::mailbox::Mailboxes;
use crate::metrics::ArchiveMetrics;

/// The archive of this machine.
pub type LocalArchive = Archive<SpoolDirectory>;

/// Recordings finished at the same time. Encoding takes a processor each; calls come first.
const AT_ONCE: usize = 2;

/// Waits between two attempts at one recording.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// How long finishing may go on when the node has stopped.
const LAST_WORK: Duration = Duration::from_secs(60);

/// Rows written in one transaction.
const ROWS: usize = 256;

/// Bits per second and channel of an Opus object: speech of 8 kHz is transparent well below it.
const OPUS_BITRATE: u32 = 24_000;

/// Opens the archive that a configuration describes.
///
/// # Errors
///
/// When the catalogue or a directory can not be opened or made.
pub async fn open(
    config: &Config,
    g729: Option<G729Library>,
) -> Result<LocalArchive, duolog_archive::OpenError> {
    let settings = duolog_archive::Settings {
        catalogue: config.store.catalogue.clone(),
        objects: config.store.directory.clone(),
        scratch: config.store.directory.join(".scratch"),
        format: match config.store.format {
            Format::Opus => RequestedFormat::OggOpus,
            Format::WavPcm16 => RequestedFormat::WavPcm16,
            Format::WavG711 => RequestedFormat::WavAsReceived,
            Format::Flac => RequestedFormat::Flac,
        },
        opus_bitrate: OPUS_BITRATE,
        g729,
    };
    Archive::open(settings, SpoolDirectory(config.spool.directory.clone())).await
}

/// Works until no more work can come, and everything that had come is done or given up for now.
pub async fn run(
    archive: LocalArchive,
    mut work: mpsc::Receiver<Work>,
    metrics: ArchiveMetrics,
    mailboxes: Mailboxes,
    wall: WallClock,
) {
    mailboxes.count_all(archive.catalogue()).await;
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut finishing = JoinSet::new();
    let mut batch = Vec::with_capacity(ROWS);
    while work.recv_many(&mut batch, ROWS).await > 0 {
        let mut rows = Vec::new();
        let (mut sealed, mut lost) = (Vec::new(), Vec::new());
        for item in batch.drain(..) {
            match item {
                Work::Opened { recording, payload } => rows.extend(row(recording, &payload, &wall)),
                Work::Sealed { recording } => sealed.push(recording),
                Work::Lost { recording, reason } => lost.push((recording, reason)),
            }
        }
        open_rows(&archive, &rows).await;
        for (recording, reason) in lost {
            fail_row(&archive, recording, reason, &wall).await;
        }
        for recording in sealed {
            let finish = finish(
                archive.clone(),
                recording,
                Arc::clone(&room),
                metrics.clone(),
                mailboxes.clone(),
            );
            finishing.spawn(finish);
        }
        while finishing.try_join_next().is_some() {}
    }
    let rest = async { while finishing.join_next().await.is_some() {} };
    if timeout(LAST_WORK, rest).await.is_err() {
        tracing::warn!("recordings stay in the spool; the next start finishes them");
    }
}

fn row(recording: RecordingId, payload: &[u8], wall: &WallClock) -> Option<Row> {
    match wire::Opening::parse(payload) {
        Ok(opening) => Some(Row::opened(
            recording,
            WallTime(wall.unix_us(Instant::now())),
            &opening,
        )),
        Err(error) => {
            // The row is made when the recording is finished.
            tracing::error!(%recording, %error, "a row could not be opened");
            None
        }
    }
}

async fn open_rows(archive: &LocalArchive, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    if let Err(error) = archive.catalogue().open_rows(rows).await {
        let count = rows.len();
        tracing::error!(count, %error, "rows were not opened; finishing their recordings makes them");
    }
}

/// Of a recording that the spool never had.
async fn fail_row(archive: &LocalArchive, recording: RecordingId, reason: &str, wall: &WallClock) {
    let now = WallTime(wall.unix_us(Instant::now()));
    if let Err(error) = archive.catalogue().fail_row(recording, now, reason).await {
        tracing::error!(%recording, %error, "a row was not marked as failed; the next start does it");
    }
}

/// Tells what is stored as soon as it is, whatever becomes of the spool's files.
async fn finish(
    archive: LocalArchive,
    recording: RecordingId,
    room: Arc<Semaphore>,
    metrics: ArchiveMetrics,
    mailboxes: Mailboxes,
) {
    let mut wait = FIRST_RETRY;
    let shown = loop {
        let result = {
            let _place = room.acquire().await;
            archive.store(recording).await
        };
        match result {
            Ok(shown) => break shown,
            Err(error) => failed(recording, error, wait, &metrics),
        }
        again(&mut wait).await;
    };
    stored(&shown, &metrics);
    mailboxes.stored(archive.catalogue(), &shown.row).await;
    wait = FIRST_RETRY;
    while let Err(error) = archive.release(recording).await {
        failed(recording, error, wait, &metrics);
        again(&mut wait).await;
    }
}

fn failed(recording: RecordingId, error: FinishError, wait: Duration, metrics: &ArchiveMetrics) {
    metrics.failures.inc();
    let what = match error.step {
        Step::Release => "stored, not released yet",
        _ => "not stored yet",
    };
    let text = format!("{:#}", anyhow::Error::new(error));
    tracing::error!(%recording, error = text, retry_s = wait.as_secs(), "{what}");
}

async fn again(wait: &mut Duration) {
    sleep(*wait).await;
    *wait = (*wait * 2).min(LAST_RETRY);
}

fn stored(shown: &Shown, metrics: &ArchiveMetrics) {
    let Some(ending) = &shown.row.ending else {
        return;
    };
    let state = ending.state.word();
    metrics.stored.get_or_create(&vec![("state", state)]).inc();
    if let Some(manifest) = &shown.manifest {
        metrics.quality.take(manifest);
    }
    tracing::info!(
        call_id = shown.row.call.call_id,
        recording = duolog_archive::recording_text(shown.row.id),
        state,
        seconds = ending.length_samples as f64 / f64::from(duolog_archive::SAMPLE_RATE_HZ),
        pauses = ending.pauses,
        "recording stored"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    use duolog_spool::{RealDisk, Writer};

    const ID: RecordingId = RecordingId(0x0193_a1b2_c3d4_7e5f_8607_1829_3a4b_5c6d);

    /// A recording that a crash left open, so that it is in two parts.
    fn recovered(spool: &std::path::Path) {
        let disk = RealDisk::open(spool).expect("a fresh directory");
        let settings = duolog_spool::Settings {
            ballast_bytes: 0,
            ..duolog_spool::Settings::default()
        };
        let mut writer = Writer::new(disk, settings).expect("it takes a writer");
        let now = Instant::now();
        let opening = wire::Opening::default().write();
        writer.open(now, ID, 0, &opening).expect("it is the first");
        drop(writer.commit(now));
        drop(writer);
        let mut disk = RealDisk::open(spool).expect("the lock is free");
        duolog_spool::recover(&mut disk, 0).expect("it can be listed");
    }

    #[test]
    fn what_is_stored_is_told_once_though_the_spool_cannot_be_released() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = crate::config::EMBEDDED;
        let mut config = crate::config::read(text).expect("it is the default");
        config.store.catalogue = folder.path().join("catalogue.sqlite");
        config.store.directory = folder.path().join("objects");
        config.spool.directory = folder.path().join("spool");
        std::fs::create_dir(&config.spool.directory).expect("a folder");
        recovered(&config.spool.directory);
        // The first step of a release is a rename to this name.
        let in_the_way = format!("{ID}.0001.released");
        let in_the_way = config.spool.directory.join(in_the_way);
        std::fs::create_dir(&in_the_way).expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        runtime.block_on(async {
            let archive = open(&config, None).await.expect("an archive");
            let (work_in, work) = mpsc::channel(4);
            let plain = crate::abilities::Abilities::default();
            let wall = WallClock::read();
            let settings = crate::translate::settings::settings(&config, &plain, &[], &wall);
            let (mailboxes, _counts) = Mailboxes::new(Arc::new(settings));
            let metrics = ArchiveMetrics::default();
            let sealed = Work::Sealed { recording: ID };
            work_in.send(sealed).await.expect("there is room");
            drop(work_in);
            let worker = run(archive.clone(), work, metrics.clone(), mailboxes, wall);
            let worker = tokio::spawn(worker);
            let state = vec![("state", "interrupted")];
            while metrics.failures.get() == 0 {
                tokio::task::yield_now().await;
            }
            let stored = || metrics.stored.get_or_create(&state).get();
            assert_eq!(stored(), 1, "before the release goes through");
            assert_eq!(archive.waiting().await.expect("listed"), [ID]);
            std::fs::remove_dir(&in_the_way).expect("it is there");
            worker.await.expect("no panic");
            assert_eq!((stored(), metrics.failures.get()), (1, 1), "and once");
            assert_eq!(archive.waiting().await.expect("listed"), []);
        });
    }
}
