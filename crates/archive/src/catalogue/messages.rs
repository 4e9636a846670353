//! The messages in somebody's mailbox: how many there are, and which of them were heard.

use super::{Catalogue, CatalogueError};
use crate::format::SAMPLE_RATE_HZ;
use crate::id::recording_text;
use crate::wall::WallTime;
use duolog_spool::RecordingId;

/// Less than this is no message: the caller hung up when they heard the beep. In seconds.
const LEAST_S: u32 = 1;

/// How many messages somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageCounts {
    /// Nobody has heard them.
    pub new: u32,
    /// Heard, and still there.
    pub old: u32,
}

impl Catalogue {
    /// The messages of at least a second that were left for `owner`.
    ///
    /// # Errors
    ///
    /// When SQLite fails.
    pub async fn messages(&self, owner: &str) -> Result<MessageCounts, CatalogueError> {
        let query = sqlx::query_as(
            "SELECT count(*) - count(heard_at_us), count(heard_at_us) FROM recording \
             WHERE owner = ?1 AND message = 1 AND audio_key IS NOT NULL AND length_samples >= ?2",
        );
        let least = i64::from(LEAST_S * SAMPLE_RATE_HZ);
        let query = query.bind(owner.to_owned()).bind(least);
        let counted: Result<(i64, i64), _> = query.fetch_one(&self.readers).await;
        let (new, old) = counted.map_err(|source| self.failed("count messages", source))?;
        let [new, old] = [new, old].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        Ok(MessageCounts { new, old })
    }

    /// Marks a message as heard at this time, or, with none, as new again; gives its owner, or `None`
    /// where no message has this id. One that was heard before keeps the time of that.
    ///
    /// # Errors
    ///
    /// When SQLite fails; nothing is changed then.
    pub async fn hear_message(
        &self,
        id: RecordingId,
        heard: Option<WallTime>,
    ) -> Result<Option<String>, CatalogueError> {
        let query = sqlx::query_scalar(
            "UPDATE recording SET heard_at_us = CASE WHEN ?1 IS NULL THEN NULL \
             ELSE coalesce(heard_at_us, ?1) END \
             WHERE id = ?2 AND message = 1 AND audio_key IS NOT NULL RETURNING owner",
        );
        let query = query.bind(heard.map(|at| at.0)).bind(recording_text(id));
        let owner = query.fetch_optional(&self.writer).await;
        owner.map_err(|source| self.failed("mark a message", source))
    }
}
