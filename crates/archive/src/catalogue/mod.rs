//! The catalogue: rows that find recordings, in one SQLite file.
//!
//! 1. One connection writes; others only read, each statement by itself, so that no read transaction
//!    stays open and holds up the write-ahead log.
//! 2. A row that names a manifest is never changed: the first attempt that got there is the recording.
//!    Only when somebody heard it, where it is a message, is written beside it later.
//! 3. What was written is on disk (`synchronous = FULL`): the spool is released on the strength of it,
//!    and in WAL mode `NORMAL` may lose the last commits in a power cut.

mod messages;
mod rows;
mod schema;
mod settings;

pub use messages::MessageCounts;
pub use rows::{AudioRef, CallRow, ManifestRef, Row, RowEnding, RowError, State};
pub use schema::SchemaError;
pub use settings::OwnerSetting;

use crate::end_state::EndState;
use crate::id::{IdError, IdRange, recording_text};
use crate::wall::WallTime;
use duolog_spool::RecordingId;
use rows::{bind, columns};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Another process (`duolog recordings`, a backup) may hold the file for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Listing for a person or a page; more would only hold up writers.
const READERS: u32 = 4;

/// The longest list in one answer, in rows.
pub const MAX_LIMIT: u32 = 1_000;

/// Why the catalogue did not do what was asked.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// The file could not be opened or made.
    #[error("the catalogue {path} cannot be opened; check that its directory is writable")]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// The tables are not as they should be.
    #[error("the catalogue {path} cannot be used")]
    Schema {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SchemaError,
    },
    /// A statement failed.
    #[error("the catalogue {path} could not {verb}; nothing was changed")]
    Statement {
        /// The file.
        path: PathBuf,
        /// What was to be done.
        verb: &'static str,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// A row is damaged.
    #[error("the catalogue {path} has a row that cannot be read")]
    Row {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RowError,
    },
    /// Not an id.
    #[error(transparent)]
    Id(#[from] IdError),
    /// No recording has this id.
    #[error("no recording begins with {text:?}; `duolog recordings list` shows them all")]
    Nothing {
        /// What was asked for.
        text: String,
    },
    /// More than one has.
    #[error(
        "{text:?} is the beginning of more than one recording, {first} for one; give more of it"
    )]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// One of them.
        first: String,
    },
}

/// Which rows to list; an empty filter lists all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this owner.
    pub owner: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// With this text in caller or callee.
    pub party: Option<String>,
    /// Of this Call-ID.
    pub call_id: Option<String>,
    /// Of this chain of calls.
    pub correlation: Option<String>,
    /// Opened at this time or later.
    pub since: Option<WallTime>,
    /// Opened before this time.
    pub until: Option<WallTime>,
    /// After this one in the list: the last row of the page before.
    pub after: Option<(WallTime, RecordingId)>,
}

/// Whether a write found the row undecided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// This write decided the row.
    Now,
    /// The row was decided before; nothing was changed.
    Before,
}

/// The catalogue. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Catalogue {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Catalogue {
    /// Opens the file, makes it where there is none, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Catalogue, CatalogueError> {
        let refused = |source| CatalogueError::Open {
            path: path.to_owned(),
            source,
        };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let only_reading = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(BUSY_TIMEOUT);
        let one = SqlitePoolOptions::new().max_connections(1);
        let writer = one.connect_with(options).await.map_err(refused)?;
        let migrated = schema::migrate(&writer).await;
        migrated.map_err(|source| CatalogueError::Schema {
            path: path.to_owned(),
            source,
        })?;
        let some = SqlitePoolOptions::new().max_connections(READERS);
        let readers = some.connect_with(only_reading).await.map_err(refused)?;
        Ok(Catalogue {
            path: path.to_owned(),
            writer,
            readers,
        })
    }

    /// Opens rows in one transaction, at their INVITE. A row that is there already stays as it is.
    pub async fn open_rows(&self, rows: &[Row]) -> Result<(), CatalogueError> {
        let failed = |source| self.failed("open rows", source);
        let mut transaction = self.writer.begin().await.map_err(failed)?;
        for row in rows {
            let query = sqlx::query(concat!(
                "INSERT INTO recording (",
                columns!(),
                ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, \
                 ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24) ON CONFLICT (id) DO NOTHING"
            ));
            bind(query, row)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Writes how a recording ended, whether its row was opened or not. A row that names a manifest
    /// stays as it is.
    pub async fn end_row(&self, row: &Row) -> Result<Written, CatalogueError> {
        let query = sqlx::query(concat!(
            "INSERT INTO recording (",
            columns!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, \
             ?18, ?19, ?20, ?21, ?22, ?23, ?24) ON CONFLICT (id) DO UPDATE SET \
             call_id = excluded.call_id, network = excluded.network, nature = excluded.nature, \
             correlation = excluded.correlation, message = excluded.message, \
             caller = excluded.caller, callee = excluded.callee, direction = excluded.direction, \
             owner = excluded.owner, owner_name = excluded.owner_name, mode = excluded.mode, \
             opened_at_us = excluded.opened_at_us, state = excluded.state, \
             reason = excluded.reason, ended_at_us = excluded.ended_at_us, \
             length_samples = excluded.length_samples, pauses = excluded.pauses, \
             format = excluded.format, audio_key = excluded.audio_key, \
             audio_bytes = excluded.audio_bytes, audio_sha256 = excluded.audio_sha256, \
             manifest_key = excluded.manifest_key, manifest_sha256 = excluded.manifest_sha256 \
             WHERE recording.manifest_key IS NULL"
        ));
        let done = bind(query, row).execute(&self.writer).await;
        let done = done.map_err(|source| self.failed("write how a recording ended", source))?;
        Ok(if done.rows_affected() > 0 {
            Written::Now
        } else {
            Written::Before
        })
    }

    /// Marks a row that was opened and has nothing in the spool as failed.
    pub async fn fail_row(
        &self,
        id: RecordingId,
        at: WallTime,
        reason: &str,
    ) -> Result<Written, CatalogueError> {
        let query = sqlx::query(
            "UPDATE recording SET state = ?1, reason = ?2, ended_at_us = ?3, length_samples = 0, \
             pauses = 0 WHERE id = ?4 AND state = 'recording'",
        );
        let query = query.bind(EndState::Failed.word()).bind(reason).bind(at.0);
        let done = query.bind(recording_text(id)).execute(&self.writer).await;
        let done = done.map_err(|source| self.failed("mark a recording as failed", source))?;
        Ok(if done.rows_affected() > 0 {
            Written::Now
        } else {
            Written::Before
        })
    }

    /// The newest rows first, at most `limit` and at most [`MAX_LIMIT`].
    pub async fn list(&self, filter: &Filter, limit: u32) -> Result<Vec<Row>, CatalogueError> {
        let (after_us, after_id) = match filter.after {
            Some((at, id)) => (Some(at.0), Some(recording_text(id))),
            None => (None, None),
        };
        let query = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM recording WHERE (?1 IS NULL OR owner = ?1) AND (?2 IS NULL OR state = ?2) \
             AND (?3 IS NULL OR instr(caller, ?3) > 0 OR instr(callee, ?3) > 0) \
             AND (?4 IS NULL OR call_id = ?4) AND (?5 IS NULL OR opened_at_us >= ?5) \
             AND (?6 IS NULL OR opened_at_us < ?6) \
             AND (?7 IS NULL OR (opened_at_us, id) < (?7, ?8)) \
             AND (?10 IS NULL OR correlation = ?10) \
             ORDER BY opened_at_us DESC, id DESC LIMIT ?9"
        ));
        let query = query
            .bind(filter.owner.clone())
            .bind(filter.state.map(State::word))
            .bind(filter.party.clone())
            .bind(filter.call_id.clone())
            .bind(filter.since.map(|at| at.0))
            .bind(filter.until.map(|at| at.0))
            .bind(after_us)
            .bind(after_id)
            .bind(i64::from(limit.min(MAX_LIMIT)))
            .bind(filter.correlation.clone());
        let found = query.fetch_all(&self.readers).await;
        self.read_all(&found.map_err(|source| self.failed("list recordings", source))?)
    }

    /// One row.
    pub async fn row(&self, id: RecordingId) -> Result<Option<Row>, CatalogueError> {
        let query = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM recording WHERE id = ?1"
        ));
        let found = query
            .bind(recording_text(id))
            .fetch_all(&self.readers)
            .await;
        let found = found.map_err(|source| self.failed("look up a recording", source))?;
        Ok(self.read_all(&found)?.pop())
    }

    /// The one row whose id begins with what a person typed.
    pub async fn find(&self, text: &str) -> Result<Row, CatalogueError> {
        let range = IdRange::of_prefix(text)?;
        let query = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM recording WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 2"
        ));
        let found = query
            .bind(range.from)
            .bind(range.until)
            .fetch_all(&self.readers)
            .await;
        let found = found.map_err(|source| self.failed("look up a recording", source))?;
        let mut rows = self.read_all(&found)?;
        match (rows.pop(), rows.pop()) {
            (Some(row), None) => Ok(row),
            (Some(_), Some(first)) => Err(CatalogueError::Ambiguous {
                text: text.to_owned(),
                first: recording_text(first.id),
            }),
            (None, _) => Err(CatalogueError::Nothing {
                text: text.to_owned(),
            }),
        }
    }

    /// Every row that is being recorded or was not finished, oldest id first.
    pub async fn unfinished(&self) -> Result<Vec<Row>, CatalogueError> {
        let query = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM recording WHERE state = 'recording' ORDER BY id"
        ));
        let found = query.fetch_all(&self.readers).await;
        self.read_all(&found.map_err(|source| self.failed("list open recordings", source))?)
    }

    /// Waits for what is under way and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    fn read_all(&self, rows: &[sqlx::sqlite::SqliteRow]) -> Result<Vec<Row>, CatalogueError> {
        let read = rows
            .iter()
            .map(rows::read)
            .collect::<Result<Vec<Row>, RowError>>();
        read.map_err(|source| CatalogueError::Row {
            path: self.path.clone(),
            source,
        })
    }

    fn failed(&self, verb: &'static str, source: sqlx::Error) -> CatalogueError {
        CatalogueError::Statement {
            path: self.path.clone(),
            verb,
            source,
        }
    }
}

#[cfg(test)]
mod tests;
