//! The archive's worker: opens rows, finishes sealed recordings, tries again what failed. It runs at
//! low priority; nothing waits for it, and what it has not done yet the spool keeps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duolog_archive::catalogue::Row;
use duolog_archive::{Archive, RequestedFormat, Shown, SpoolDirectory, WallTime, wire};
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
        let mut sealed = Vec::new();
        for item in batch.drain(..) {
            match item {
                Work::Opened { recording, payload } => rows.extend(row(recording, &payload, &wall)),
                Work::Sealed { recording } => sealed.push(recording),
            }
        }
        open_rows(&archive, &rows).await;
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

async fn finish(
    archive: LocalArchive,
    recording: RecordingId,
    room: Arc<Semaphore>,
    metrics: ArchiveMetrics,
    mailboxes: Mailboxes,
) {
    let mut wait = FIRST_RETRY;
    loop {
        let result = {
            let _place = room.acquire().await;
            archive.finish(recording).await
        };
        match result {
            Ok(shown) => {
                stored(&shown, &metrics);
                return mailboxes.stored(archive.catalogue(), &shown.row).await;
            }
            Err(error) => {
                metrics.failures.inc();
                let text = format!("{:#}", anyhow::Error::new(error));
                tracing::error!(%recording, error = text, retry_s = wait.as_secs(), "not stored yet");
            }
        }
        sleep(wait).await;
        wait = (wait * 2).min(LAST_RETRY);
    }
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
