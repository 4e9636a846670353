//! `duolog recordings` and `duolog verify`: the catalogue and the store at the command line.

use std::path::Path;

use anyhow::{Context, Result};
use duolog_archive::catalogue::{Filter, Row};
use duolog_archive::{Export, SAMPLE_RATE_HZ, recording_text};
use duolog_audio::codec::G729Library;
use serde_json::json;

use crate::archivist::{self, LocalArchive};
use crate::config::Config;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a verification came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it was stored.
    Whole,
    /// Something was changed or is missing; it has been named.
    FaultFound,
}

/// Most rows one page of a verification takes at once.
const PAGE: u32 = 500;

/// Prints the newest recordings.
///
/// # Errors
///
/// When the catalogue can not be read.
pub fn list(config: &Config, limit: u32, form: Form) -> Result<()> {
    with_archive(config, async |archive| {
        for row in archive.catalogue().list(&Filter::default(), limit).await? {
            match form {
                Form::Json => println!("{}", line_json(&row)),
                Form::Text => println!("{}", line_text(&row)),
            }
        }
        Ok(())
    })
}

/// Prints everything known about one recording.
///
/// # Errors
///
/// When it is not found or its manifest can not be read.
pub fn show(config: &Config, id: &str) -> Result<()> {
    with_archive(config, async |archive| {
        let shown = archive.show(id).await?;
        let mut whole = line_json(&shown.row);
        whole["audio_path"] = json!(shown.audio_path);
        whole["manifest_path"] = json!(shown.manifest_path);
        if let Some(manifest) = shown.manifest {
            whole["manifest"] = serde_json::from_slice(&manifest.write())?;
        }
        println!("{whole:#}");
        Ok(())
    })
}

/// Writes one recording to a file, or to several.
///
/// # Errors
///
/// When it is not found, has no audio, was changed, or a file exists.
pub fn export(config: &Config, id: &str, to: &Path, export: Export) -> Result<()> {
    with_archive(config, async |archive| {
        let row = archive.catalogue().find(id).await?;
        let exported = archive.export(&row, export, to).await?;
        for part in &exported.parts {
            let bytes = std::fs::metadata(part)?.len();
            println!("{} {bytes} bytes", part.display());
        }
        if let Some(note) = exported.note {
            eprintln!("duolog: {note}");
        }
        Ok(())
    })
}

/// Checks recordings and prints every finding.
///
/// # Errors
///
/// When a recording is not found, or something could not be read at all.
pub fn verify(config: &Config, ids: &[String]) -> Result<Verdict> {
    with_archive(config, async |archive| {
        let mut checked = 0;
        let mut faults = 0;
        let mut check = async |row: Row| -> Result<()> {
            let verification = archive.verify(&row).await?;
            checked += 1;
            for finding in verification.findings {
                faults += 1;
                println!("{}: {finding}", verification.recording);
            }
            Ok(())
        };
        if ids.is_empty() {
            let mut filter = Filter::default();
            loop {
                let page = archive.catalogue().list(&filter, PAGE).await?;
                let Some(last) = page.last() else { break };
                filter.after = Some((last.opened_at, last.id));
                for row in page {
                    check(row).await?;
                }
            }
        }
        for id in ids {
            check(archive.catalogue().find(id).await?).await?;
        }
        println!("{checked} recordings checked, {faults} faults found");
        Ok(if faults == 0 {
            Verdict::Whole
        } else {
            Verdict::FaultFound
        })
    })
}

fn with_archive<T>(
    config: &Config,
    work: impl AsyncFnOnce(LocalArchive) -> Result<T>,
) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let path = config.store.catalogue.display();
        let open = archivist::open(config, G729Library::open().ok()).await;
        let archive = open.with_context(|| format!("the archive of {path} can not be opened"))?;
        work(archive).await
    })
}

fn line_json(row: &Row) -> serde_json::Value {
    let ending = row.ending.as_ref();
    json!({
        "id": recording_text(row.id),
        "state": row.state().word(),
        "reason": ending.map(|e| e.reason.clone()),
        "opened_at": row.opened_at.text(),
        "ended_at": ending.map(|e| e.at.text()),
        "owner": row.call.owner,
        "caller": row.call.caller,
        "callee": row.call.callee,
        "direction": row.call.direction,
        "mode": row.call.mode,
        "class": row.call.class,
        "correlation": row.call.correlation,
        "call_id": row.call.call_id,
        "seconds": ending.map(|e| e.length_samples as f64 / f64::from(SAMPLE_RATE_HZ)),
        "pauses": ending.map(|e| e.pauses),
        "audio": ending.and_then(|e| e.audio.as_ref()).map(|a| a.key.clone()),
    })
}

fn line_text(row: &Row) -> String {
    let seconds = row
        .ending
        .as_ref()
        .map_or(0.0, |e| e.length_samples as f64 / f64::from(SAMPLE_RATE_HZ));
    format!(
        "{}  {}  {:<12} {:>8.1} s  {}  {} -> {}",
        recording_text(row.id),
        row.opened_at.text(),
        row.state().word(),
        seconds,
        row.call.owner,
        row.call.caller,
        row.call.callee,
    )
}
