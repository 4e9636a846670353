//! A catalogue row as a value, and the way there and back.

use crate::end_state::EndState;
use crate::format::StoredFormat;
use crate::id::{parse_recording, recording_text};
use crate::wall::WallTime;
use crate::wire::{Class, Direction, Keeping, Mode, Opening};
use duolog_spool::RecordingId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use thiserror::Error;

/// Why a row could not be read: it is damaged, or a newer duolog wrote it.
#[derive(Debug, Error)]
pub enum RowError {
    /// A column that this version does not have, or of another type.
    #[error("a row of the catalogue cannot be read")]
    Column(#[from] sqlx::Error),
    /// A value that cannot be.
    #[error("the row of {id} has {column} = {value:?}, which cannot be")]
    Value {
        /// The row's id, as stored.
        id: String,
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
}

/// One recording in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whose row it is.
    pub id: RecordingId,
    /// The call, as it stood at the INVITE.
    pub call: CallRow,
    /// When the INVITE came.
    pub opened_at: WallTime,
    /// How it ended; none while it is being recorded, or not finished yet.
    pub ending: Option<RowEnding>,
}

/// The call of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    /// The Call-ID header.
    pub call_id: String,
    /// Who called.
    pub caller: String,
    /// Who was called.
    pub callee: String,
    /// Which way, as seen by the owner.
    pub direction: Direction,
    /// The owner's user name.
    pub owner: String,
    /// The owner's name for display.
    pub owner_name: Option<String>,
    /// The owner's mode at that moment.
    pub mode: Mode,
    /// What kind of call it is; none where it was not said.
    pub class: Option<Class>,
    /// The same for all recordings of one chain of calls, see [`crate::wire::Chain`].
    pub correlation: Option<String>,
    /// Whether it is a message in its owner's mailbox.
    pub is_message: bool,
}

/// How a row ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowEnding {
    /// In one word.
    pub state: EndState,
    /// In a sentence.
    pub reason: String,
    /// When.
    pub at: WallTime,
    /// Samples per channel.
    pub length_samples: u64,
    /// How many times it was paused.
    pub pauses: u64,
    /// The audio object; none where there was no audio to keep.
    pub audio: Option<AudioRef>,
    /// The manifest; none where nothing was ever spooled.
    pub manifest: Option<ManifestRef>,
}

/// Where the audio lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioRef {
    /// Key below the object store's root.
    pub key: String,
    /// What it is.
    pub format: StoredFormat,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// Where the manifest lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestRef {
    /// Key below the object store's root.
    pub key: String,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// What a row says in its `state` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Being recorded, or not finished yet.
    Recording,
    /// Ended.
    Ended(EndState),
}

impl State {
    /// The word in the catalogue.
    pub fn word(self) -> &'static str {
        match self {
            State::Recording => "recording",
            State::Ended(state) => state.word(),
        }
    }

    /// Reads what [`State::word`] gives.
    pub fn from_word(word: &str) -> Option<State> {
        match word {
            "recording" => Some(State::Recording),
            word => EndState::from_word(word).map(State::Ended),
        }
    }
}

impl Row {
    /// What the row says in its `state` column.
    pub fn state(&self) -> State {
        self.ending
            .as_ref()
            .map_or(State::Recording, |ending| State::Ended(ending.state))
    }

    /// The row as it is opened, at the INVITE.
    pub fn opened(id: RecordingId, at: WallTime, opening: &Opening) -> Row {
        Row {
            id,
            call: CallRow::of(opening),
            opened_at: at,
            ending: None,
        }
    }
}

impl CallRow {
    pub(crate) fn of(opening: &Opening) -> CallRow {
        CallRow {
            call_id: opening.call_id.clone(),
            caller: opening.caller.clone(),
            callee: opening.callee.clone(),
            direction: opening.direction,
            owner: opening.owner.clone(),
            owner_name: opening.owner_name.clone(),
            mode: opening.mode,
            class: opening.class,
            correlation: opening.chain.correlation.clone(),
            is_message: opening.standing.keeping == Keeping::Message,
        }
    }
}

/// Every column, in the order of [`bind`].
macro_rules! columns {
    () => {
        "id, call_id, caller, callee, direction, owner, owner_name, mode, opened_at_us, state, \
         reason, ended_at_us, length_samples, pauses, format, audio_key, audio_bytes, audio_sha256, \
         manifest_key, manifest_sha256, network, nature, correlation, message"
    };
}
pub(super) use columns;

/// Binds every column, in the order of `columns!`.
pub(super) fn bind<'q>(
    query: sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    row: &Row,
) -> sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
    let call = &row.call;
    let ending = row.ending.as_ref();
    let audio = ending.and_then(|ending| ending.audio.as_ref());
    let manifest = ending.and_then(|ending| ending.manifest.as_ref());
    query
        .bind(recording_text(row.id))
        .bind(call.call_id.clone())
        .bind(call.caller.clone())
        .bind(call.callee.clone())
        .bind(word(&call.direction))
        .bind(call.owner.clone())
        .bind(call.owner_name.clone())
        .bind(word(&call.mode))
        .bind(row.opened_at.0)
        .bind(row.state().word())
        .bind(ending.map(|ending| ending.reason.clone()))
        .bind(ending.map(|ending| ending.at.0))
        .bind(ending.map(|ending| stored(ending.length_samples)))
        .bind(ending.map(|ending| stored(ending.pauses)))
        .bind(audio.map(|audio| audio.format.word()))
        .bind(audio.map(|audio| audio.key.clone()))
        .bind(audio.map(|audio| stored(audio.bytes)))
        .bind(audio.map(|audio| audio.sha256.clone()))
        .bind(manifest.map(|manifest| manifest.key.clone()))
        .bind(manifest.map(|manifest| manifest.sha256.clone()))
        .bind(call.class.map(|class| word(&class.network)))
        .bind(call.class.map(|class| word(&class.nature)))
        .bind(call.correlation.clone())
        .bind(call.is_message)
}

/// Reads a row that was selected with `columns!`.
pub(super) fn read(row: &SqliteRow) -> Result<Row, RowError> {
    let stored_id: String = row.try_get("id")?;
    let bad = |column, value: &str| RowError::Value {
        id: stored_id.clone(),
        column,
        value: value.to_owned(),
    };
    let id = parse_recording(&stored_id).map_err(|_| bad("id", &stored_id))?;
    let direction: String = row.try_get("direction")?;
    let mode: String = row.try_get("mode")?;
    let call = CallRow {
        call_id: row.try_get("call_id")?,
        caller: row.try_get("caller")?,
        callee: row.try_get("callee")?,
        direction: from_word(&direction).ok_or_else(|| bad("direction", &direction))?,
        owner: row.try_get("owner")?,
        owner_name: row.try_get("owner_name")?,
        mode: from_word(&mode).ok_or_else(|| bad("mode", &mode))?,
        class: read_class(row, &bad)?,
        correlation: row.try_get("correlation")?,
        is_message: row.try_get("message")?,
    };
    let state: String = row.try_get("state")?;
    let ending = match State::from_word(&state).ok_or_else(|| bad("state", &state))? {
        State::Recording if read_manifest(row)?.is_some() => return Err(bad("state", &state)),
        State::Recording => None,
        State::Ended(state) => Some(RowEnding {
            state,
            reason: row
                .try_get::<Option<String>, _>("reason")?
                .unwrap_or_default(),
            at: WallTime(
                row.try_get::<Option<i64>, _>("ended_at_us")?
                    .unwrap_or_default(),
            ),
            length_samples: number(row, "length_samples")?.unwrap_or_default(),
            pauses: number(row, "pauses")?.unwrap_or_default(),
            audio: read_audio(row, &bad)?,
            manifest: read_manifest(row)?,
        }),
    };
    Ok(Row {
        id,
        call,
        opened_at: WallTime(row.try_get("opened_at_us")?),
        ending,
    })
}

/// A call whose class was said has both its columns.
fn read_class(
    row: &SqliteRow,
    bad: &impl Fn(&'static str, &str) -> RowError,
) -> Result<Option<Class>, RowError> {
    let network: Option<String> = row.try_get("network")?;
    let nature: Option<String> = row.try_get("nature")?;
    let (Some(network), Some(nature)) = (network, nature) else {
        return Ok(None);
    };
    Ok(Some(Class {
        network: from_word(&network).ok_or_else(|| bad("network", &network))?,
        nature: from_word(&nature).ok_or_else(|| bad("nature", &nature))?,
    }))
}

fn read_audio(
    row: &SqliteRow,
    bad: &impl Fn(&'static str, &str) -> RowError,
) -> Result<Option<AudioRef>, RowError> {
    let Some(key) = row.try_get::<Option<String>, _>("audio_key")? else {
        return Ok(None);
    };
    let format = row
        .try_get::<Option<String>, _>("format")?
        .unwrap_or_default();
    Ok(Some(AudioRef {
        key,
        format: StoredFormat::from_word(&format).ok_or_else(|| bad("format", &format))?,
        bytes: number(row, "audio_bytes")?.unwrap_or_default(),
        sha256: row
            .try_get::<Option<String>, _>("audio_sha256")?
            .unwrap_or_default(),
    }))
}

fn read_manifest(row: &SqliteRow) -> Result<Option<ManifestRef>, RowError> {
    let Some(key) = row.try_get::<Option<String>, _>("manifest_key")? else {
        return Ok(None);
    };
    let sha256 = row
        .try_get::<Option<String>, _>("manifest_sha256")?
        .unwrap_or_default();
    Ok(Some(ManifestRef { key, sha256 }))
}

fn number(row: &SqliteRow, column: &str) -> Result<Option<u64>, RowError> {
    let stored: Option<i64> = row.try_get(column)?;
    Ok(stored.map(|number| u64::try_from(number).unwrap_or_default()))
}

fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The word serde gives a unit variant.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}

fn from_word<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(Value::from(word)).ok()
}
