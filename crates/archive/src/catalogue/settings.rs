//! Settings of owners, as somebody stored them: one document for each, whose meaning is not known here.

use super::{Catalogue, CatalogueError};
use crate::wall::WallTime;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

/// One owner's document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerSetting {
    /// The owner's name.
    pub owner: String,
    /// The text, as it was stored.
    pub document: String,
    /// How many times it was stored, from 1.
    pub version: i64,
    /// When it was stored last.
    pub changed_at: WallTime,
    /// By whom: the name of a token.
    pub changed_by: String,
}

impl Catalogue {
    /// Every owner's document, by name.
    ///
    /// # Errors
    ///
    /// When the catalogue can not be read.
    pub async fn owner_settings(&self) -> Result<Vec<OwnerSetting>, CatalogueError> {
        let query = sqlx::query(
            "SELECT owner, document, version, changed_at_us, changed_by FROM owner_setting ORDER BY owner",
        );
        let found = query.fetch_all(&self.readers).await;
        let read = found.and_then(|rows| rows.iter().map(read).collect());
        read.map_err(|source| self.failed("list settings", source))
    }

    /// One owner's document.
    ///
    /// # Errors
    ///
    /// When the catalogue can not be read.
    pub async fn owner_setting(&self, owner: &str) -> Result<Option<OwnerSetting>, CatalogueError> {
        let query = sqlx::query(
            "SELECT owner, document, version, changed_at_us, changed_by FROM owner_setting \
             WHERE owner = ?1",
        );
        let found = query.bind(owner).fetch_optional(&self.readers).await;
        let read = found.and_then(|row| row.as_ref().map(read).transpose());
        read.map_err(|source| self.failed("look up settings", source))
    }

    /// Stores an owner's document in the place of the one before; gives its version. It is on disk when
    /// this returns.
    ///
    /// # Errors
    ///
    /// When it could not be stored: the one before holds.
    pub async fn store_owner_setting(
        &self,
        owner: &str,
        document: &str,
        at: WallTime,
        by: &str,
    ) -> Result<i64, CatalogueError> {
        let query = sqlx::query_scalar(
            "INSERT INTO owner_setting (owner, document, version, changed_at_us, changed_by) \
             VALUES (?1, ?2, 1, ?3, ?4) ON CONFLICT (owner) DO UPDATE SET document = excluded.document, \
             version = version + 1, changed_at_us = excluded.changed_at_us, \
             changed_by = excluded.changed_by RETURNING version",
        );
        let failed = |source| self.failed("store settings", source);
        // By itself the statement would be committed when it is put away, which is after its row came.
        let mut transaction = self.writer.begin().await.map_err(failed)?;
        let query = query.bind(owner).bind(document).bind(at.0).bind(by);
        let version = query.fetch_one(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(version)
    }
}

fn read(row: &SqliteRow) -> Result<OwnerSetting, sqlx::Error> {
    Ok(OwnerSetting {
        owner: row.try_get("owner")?,
        document: row.try_get("document")?,
        version: row.try_get("version")?,
        changed_at: WallTime(row.try_get("changed_at_us")?),
        changed_by: row.try_get("changed_by")?,
    })
}
