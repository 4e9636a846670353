//! What the archive knows of mailboxes, for those who are told of new messages: counted from the
//! catalogue, so that a start knows as much as the run before it.

use std::sync::Arc;
use std::time::Duration;

use duolog_archive::WallTime;
use duolog_archive::catalogue::{Catalogue, CatalogueError, MessageCounts, Row};
use duolog_call::{Input, Settings, UserIndex};
use duolog_spool::RecordingId;
use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;

/// Counts that may wait for signalling. The archive waits where they do not fit.
const COUNTS: usize = 256;

/// When what could not be counted is counted once more.
const AGAIN: Duration = Duration::from_secs(1);

/// Counts the messages of users who have a mailbox, and tells signalling.
#[derive(Debug, Clone)]
pub struct Mailboxes {
    settings: Arc<Settings>,
    told: mpsc::Sender<Input>,
    /// Held from a count until it is on its way, so that what is told last was counted last.
    counting: Arc<Mutex<()>>,
}

impl Mailboxes {
    /// What tells, and what hears of it.
    pub fn new(settings: Arc<Settings>) -> (Self, mpsc::Receiver<Input>) {
        let (told, counts) = mpsc::channel(COUNTS);
        let counting = Arc::default();
        let mailboxes = Self {
            settings,
            told,
            counting,
        };
        (mailboxes, counts)
    }

    /// Tells of every mailbox: at the start.
    pub async fn count_all(&self, catalogue: &Catalogue) {
        for at in 0..self.settings.users.len() {
            self.count(catalogue, UserIndex(at)).await;
        }
    }

    /// A recording was stored: it may have been a message.
    pub async fn stored(&self, catalogue: &Catalogue, row: &Row) {
        if row.call.is_message {
            self.count_of(catalogue, &row.call.owner).await;
        }
    }

    /// Somebody has heard a message, at this time, or, with none, it is to be new again; whether there is
    /// such a message. The phone is told.
    ///
    /// # Errors
    ///
    /// When the catalogue cannot be changed.
    pub async fn heard(
        &self,
        catalogue: &Catalogue,
        id: RecordingId,
        at: Option<WallTime>,
    ) -> Result<bool, CatalogueError> {
        let Some(owner) = catalogue.hear_message(id, at).await? else {
            return Ok(false);
        };
        self.count_of(catalogue, &owner).await;
        Ok(true)
    }

    async fn count_of(&self, catalogue: &Catalogue, owner: &str) {
        let users = self.settings.users.iter();
        if let Some(at) = users.clone().position(|user| user.name == owner) {
            self.count(catalogue, UserIndex(at)).await;
        }
    }

    async fn count(&self, catalogue: &Catalogue, user: UserIndex) {
        let owner = &self.settings.users[user.0];
        if owner.mailbox.is_none() {
            return;
        }
        let _one_at_a_time = self.counting.lock().await;
        let mut counted = catalogue.messages(&owner.name).await;
        if counted.is_err() {
            sleep(AGAIN).await;
            counted = catalogue.messages(&owner.name).await;
        }
        match counted {
            Ok(MessageCounts { new, old }) => {
                // Nobody is left to be told when signalling has ended.
                let _ = self.told.send(Input::Messages { user, new, old }).await;
            }
            Err(error) => {
                tracing::error!(%error, "messages were not counted; phones may show a wrong number");
            }
        }
    }
}
