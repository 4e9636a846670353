//! What the archive knows of mailboxes, for those who are told of new messages: counted from the
//! catalogue, so that a start knows as much as the run before it.

use std::sync::Arc;

use duolog_archive::catalogue::Row;
use duolog_archive::wire::Nature;
use duolog_call::{Input, Settings, UserIndex};
use tokio::sync::mpsc;

use crate::archivist::LocalArchive;

/// Counts that may wait for signalling. The archive waits where they do not fit.
const COUNTS: usize = 256;

/// Counts the messages of users who have a mailbox, and tells signalling.
#[derive(Debug, Clone)]
pub struct Mailboxes {
    settings: Arc<Settings>,
    told: mpsc::Sender<Input>,
}

impl Mailboxes {
    /// What tells, and what hears of it.
    pub fn new(settings: Arc<Settings>) -> (Self, mpsc::Receiver<Input>) {
        let (told, counts) = mpsc::channel(COUNTS);
        (Self { settings, told }, counts)
    }

    /// Tells of every mailbox: at the start.
    pub async fn count_all(&self, archive: &LocalArchive) {
        for at in 0..self.settings.users.len() {
            self.count(archive, UserIndex(at)).await;
        }
    }

    /// A recording was stored: it may have been a message.
    pub async fn stored(&self, archive: &LocalArchive, row: &Row) {
        let class = row.call.class;
        if class.is_none_or(|class| class.nature != Nature::Voicemail) {
            return;
        }
        let users = self.settings.users.iter();
        let owner = users.clone().position(|user| user.name == row.call.owner);
        if let Some(at) = owner {
            self.count(archive, UserIndex(at)).await;
        }
    }

    async fn count(&self, archive: &LocalArchive, user: UserIndex) {
        let owner = &self.settings.users[user.0];
        if owner.mailbox.is_none() {
            return;
        }
        let called = owner.numbers.iter().chain([&owner.name]);
        let called: Vec<&str> = called.map(String::as_str).collect();
        match archive.catalogue().messages(&owner.name, &called).await {
            Ok(new) => {
                // Nobody is left to be told when signalling has ended.
                let _ = self.told.send(Input::Messages { user, new, old: 0 }).await;
            }
            Err(error) => {
                tracing::error!(%error, "messages were not counted; phones may show too few")
            }
        }
    }
}
