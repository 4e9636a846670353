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

#[cfg(test)]
mod tests {
    use duolog_archive::catalogue::{AudioRef, RowEnding};
    use duolog_archive::wire::{Keeping, Opening, Standing};
    use duolog_archive::{EndState, StoredFormat};
    use tokio::task::JoinSet;

    use super::*;
    use crate::abilities::Abilities;
    use crate::clock::WallClock;
    use crate::config;

    const USERS: &str = "[[user]]\nname = \"anna\"\nmailbox = {}\npassword = \"p\"\n\
                         [[user]]\nname = \"ben\"\npassword = \"p\"\n";

    fn settings() -> Arc<Settings> {
        let config = config::read(USERS).expect("it is right");
        let abilities = Abilities::default();
        let wall = WallClock::read();
        let listening = &config.sip.listen;
        Arc::new(crate::translate::settings::settings(
            &config, &abilities, listening, &wall,
        ))
    }

    fn message(number: u128, owner: &str) -> Row {
        let opening = Opening {
            owner: owner.into(),
            standing: Standing {
                keeping: Keeping::Message,
                ..Standing::default()
            },
            ..Opening::default()
        };
        let audio = AudioRef {
            key: "k".into(),
            format: StoredFormat::OggOpus,
            bytes: 1,
            sha256: "aa".into(),
        };
        let row = Row::opened(RecordingId(number), WallTime(1), &opening);
        Row {
            ending: Some(RowEnding {
                state: EndState::Complete,
                reason: "the caller hung up".into(),
                at: WallTime(2),
                length_samples: 80_000,
                pauses: 0,
                audio: Some(audio),
                manifest: None,
            }),
            ..row
        }
    }

    fn told(counts: &mut mpsc::Receiver<Input>) -> Vec<(usize, u32, u32)> {
        let mut all = Vec::new();
        while let Ok(Input::Messages { user, new, old }) = counts.try_recv() {
            all.push((user.0, new, old));
        }
        all
    }

    async fn catalogue() -> (tempfile::TempDir, Catalogue) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("catalogue.sqlite");
        let catalogue = Catalogue::open(&path).await.expect("a new one");
        (folder, catalogue)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_told_last_was_counted_last() {
        let (_folder, catalogue) = catalogue().await;
        let (mailboxes, mut counts) = Mailboxes::new(settings());
        let mut storing = JoinSet::new();
        for number in 1..=30 {
            let (catalogue, mailboxes) = (catalogue.clone(), mailboxes.clone());
            storing.spawn(async move {
                let row = message(number, "anna");
                catalogue.end_row(&row).await.expect("it is stored");
                mailboxes.stored(&catalogue, &row).await;
            });
        }
        while let Some(done) = storing.join_next().await {
            done.expect("nothing panics");
        }
        let told = told(&mut counts);
        assert_eq!(told.len(), 30);
        assert!(told.is_sorted(), "{told:?}");
        assert_eq!(told.last(), Some(&(0, 30, 0)));
    }

    #[tokio::test]
    async fn the_phone_is_told_of_what_was_heard() {
        let (_folder, catalogue) = catalogue().await;
        let (mailboxes, mut counts) = Mailboxes::new(settings());
        for row in [message(1, "anna"), message(2, "anna"), message(3, "ben")] {
            catalogue.end_row(&row).await.expect("it is stored");
        }
        let heard = async |number, at: Option<i64>| {
            let at = at.map(WallTime);
            let heard = mailboxes.heard(&catalogue, RecordingId(number), at).await;
            heard.expect("the catalogue is there")
        };
        mailboxes.count_all(&catalogue).await;
        assert!(heard(1, Some(5)).await && heard(2, Some(6)).await);
        assert!(heard(2, None).await);
        assert!(!heard(9, Some(5)).await, "there is none");
        // Nobody is told of a mailbox that is not there any more.
        assert!(heard(3, Some(5)).await);
        let told = told(&mut counts);
        assert_eq!(told, [(0, 2, 0), (0, 1, 1), (0, 0, 2), (0, 1, 1)]);
    }
}
