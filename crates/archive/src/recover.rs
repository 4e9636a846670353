//! At the start: rows of calls of which the spool has nothing.
//!
//! A call's row is opened at its INVITE, a moment before or after its spool file. A power cut between
//! the two leaves a row that nobody would ever finish. It is not silently missing: it is marked failed.

use crate::archive::{Archive, Spool};
use crate::catalogue::{CatalogueError, Row, Written};
use crate::finish::StepError;
use crate::wall::WallTime;
use std::collections::BTreeSet;
use thiserror::Error;

const REASON: &str = "the recorder stopped before anything of this call was safe in the spool";

/// Why rows could not be looked after.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The catalogue.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The spool.
    #[error("the spool could not be listed")]
    Spool(#[source] StepError),
}

impl<S: Spool> Archive<S> {
    /// Marks every row that is still `recording` and has nothing in the spool as failed, and gives them.
    /// To be called at the start, after the spool's own recovery and before any call.
    pub async fn fail_lost(&self, now: WallTime) -> Result<Vec<Row>, RecoverError> {
        let spool = self.spool.clone();
        let listed = tokio::task::spawn_blocking(move || -> Result<_, StepError> {
            Ok(duolog_spool::recordings(&spool.disk()?)?)
        });
        let listed = listed.await.map_err(StepError::from).flatten();
        let spooled: BTreeSet<_> = listed
            .map_err(RecoverError::Spool)?
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        let mut lost = Vec::new();
        for row in self.catalogue.unfinished().await? {
            if spooled.contains(&row.id) {
                continue;
            }
            if self.catalogue.fail_row(row.id, now, REASON).await? == Written::Now {
                lost.extend(self.catalogue.row(row.id).await?);
            }
        }
        Ok(lost)
    }
}
