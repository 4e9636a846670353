//! How many messages wait in somebody's mailbox.

use super::{Catalogue, CatalogueError};

impl Catalogue {
    /// Messages with audio that were left for `owner`, who was called under one of `numbers`. A call of
    /// theirs to somebody else's voicemail is none. Nobody can mark one as heard yet: all are new.
    pub async fn messages(&self, owner: &str, numbers: &[&str]) -> Result<u32, CatalogueError> {
        let numbers = serde_json::Value::from(numbers).to_string();
        let query = sqlx::query_scalar(
            "SELECT count(*) FROM recording WHERE owner = ?1 AND nature = 'voicemail' \
             AND audio_key IS NOT NULL AND callee IN (SELECT value FROM json_each(?2))",
        );
        let query = query.bind(owner.to_owned()).bind(numbers);
        let count: Result<i64, _> = query.fetch_one(&self.readers).await;
        let count = count.map_err(|source| self.failed("count messages", source))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}
