//! The catalogue's tables, and how an older catalogue becomes one of today.
//!
//! A step, once shipped, is never changed: a new one is added at the end.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use thiserror::Error;

/// Why the tables could not be made or brought up to date.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// A newer duolog has been here.
    #[error("the catalogue has schema {found}; this duolog knows up to {known}: use a newer one")]
    Newer {
        /// What the file says.
        found: i64,
        /// What this program knows.
        known: i64,
    },
    /// A step did not go through; nothing of it is kept.
    #[error("the catalogue could not be brought to schema {version}; it is as it was before")]
    Step {
        /// The step that failed.
        version: i64,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// SQLite refused to read or begin.
    #[error("the catalogue's schema version could not be read")]
    Read(#[source] sqlx::Error),
}

/// Step n brings a catalogue from schema n - 1 to schema n.
pub(super) const STEPS: [&str; 4] = [FIRST, CHAINS, OWNERS, MESSAGES];

const FIRST: &str = "
CREATE TABLE recording (
    id              TEXT PRIMARY KEY NOT NULL,
    call_id         TEXT NOT NULL,
    caller          TEXT NOT NULL,
    callee          TEXT NOT NULL,
    direction       TEXT NOT NULL,
    owner           TEXT NOT NULL,
    owner_name      TEXT,
    mode            TEXT NOT NULL,
    opened_at_us    INTEGER NOT NULL,
    ended_at_us     INTEGER,
    state           TEXT NOT NULL CHECK (state IN ('recording', 'complete', 'partial', 'one_way',
                        'no_media', 'not_kept', 'refused', 'failed', 'interrupted')),
    reason          TEXT,
    length_samples  INTEGER,
    pauses          INTEGER,
    format          TEXT,
    audio_key       TEXT,
    audio_bytes     INTEGER,
    audio_sha256    TEXT,
    manifest_key    TEXT,
    manifest_sha256 TEXT
) STRICT;
CREATE INDEX recording_by_time  ON recording (opened_at_us, id);
CREATE INDEX recording_by_owner ON recording (owner, opened_at_us);
CREATE INDEX recording_by_call  ON recording (call_id);
CREATE INDEX recording_open     ON recording (id) WHERE state = 'recording';
";

/// What kind of call it was, and which recordings belong together. Older rows say neither.
const CHAINS: &str = "
ALTER TABLE recording ADD COLUMN network     TEXT;
ALTER TABLE recording ADD COLUMN nature      TEXT;
ALTER TABLE recording ADD COLUMN correlation TEXT;
CREATE INDEX recording_by_chain ON recording (correlation) WHERE correlation IS NOT NULL;
";

/// What somebody stored of owners' settings while a node ran.
const OWNERS: &str = "
CREATE TABLE owner_setting (
    owner         TEXT PRIMARY KEY NOT NULL,
    document      TEXT NOT NULL,
    version       INTEGER NOT NULL,
    changed_at_us INTEGER NOT NULL,
    changed_by    TEXT NOT NULL
) STRICT;
";

/// Which recordings are messages in a mailbox, and when somebody heard them. Older rows are none.
const MESSAGES: &str = "
ALTER TABLE recording ADD COLUMN message     INTEGER NOT NULL DEFAULT 0 CHECK (message IN (0, 1));
ALTER TABLE recording ADD COLUMN heard_at_us INTEGER;
CREATE INDEX recording_messages ON recording (owner) WHERE message = 1;
";

/// Takes every step that this catalogue has not taken yet. Each is a transaction of its own, so a kill
/// between two leaves a catalogue that the next start goes on with.
pub(super) async fn migrate(writer: &SqlitePool) -> Result<(), SchemaError> {
    let created = sqlx::query(
        "CREATE TABLE IF NOT EXISTS migration (
            version INTEGER PRIMARY KEY NOT NULL,
            applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        ) STRICT",
    );
    created.execute(writer).await.map_err(SchemaError::Read)?;
    let known = STEPS.len() as i64;
    for (version, step) in (1..).zip(STEPS) {
        let failed = |source| SchemaError::Step { version, source };
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let found = version_of(&mut transaction).await?;
        if found > known {
            return Err(SchemaError::Newer { found, known });
        }
        if found < version {
            sqlx::raw_sql(step)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
            let taken = sqlx::query("INSERT INTO migration (version) VALUES (?1)").bind(version);
            taken.execute(&mut *transaction).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
        }
    }
    Ok(())
}

async fn version_of(connection: &mut SqliteConnection) -> Result<i64, SchemaError> {
    let query = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM migration");
    query.fetch_one(connection).await.map_err(SchemaError::Read)
}
