//! What the API's questions mean here: running calls are asked of signalling, settings are kept in the
//! catalogue and told to signalling.

mod owners;

use std::sync::Arc;
use std::time::{Duration, Instant};

use duolog_archive::catalogue::Catalogue;
use duolog_archive::{WallTime, parse_recording, recording_text};
use duolog_call::{Control, Phase, Refusal, Running, UserIndex};
use duolog_portal::{Action, CallControl, Change, Half, Heard, NotDone, Outcome};
use duolog_spool::RecordingId;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use crate::clock::WallClock;
use crate::mailbox::Mailboxes;
use crate::metrics::ApiMetrics;
use crate::redact::Redacted;
use crate::signalling::Ask;

pub use owners::{Document, Owners, Stored, off};

/// Longest wait for signalling, which turns its loop twice a second even when it is idle.
const ANSWER: Duration = Duration::from_secs(5);

/// The node, as the API sees it. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
    catalogue: Catalogue,
    mailboxes: Mailboxes,
    owners: Arc<Owners>,
    wall: WallClock,
    metrics: ApiMetrics,
    /// Held from storing a document until signalling knows it, so that the last one stored is the one
    /// that holds.
    changing: Arc<Mutex<()>>,
}

impl Desk {
    /// A desk at which nobody has asked yet.
    pub fn new(
        asks: mpsc::Sender<Ask>,
        (catalogue, mailboxes): (&Catalogue, &Mailboxes),
        owners: Owners,
        wall: WallClock,
        metrics: ApiMetrics,
    ) -> Self {
        Self {
            asks,
            catalogue: catalogue.clone(),
            mailboxes: mailboxes.clone(),
            owners: Arc::new(owners),
            wall,
            metrics,
            changing: Arc::default(),
        }
    }

    /// Asks signalling. A full queue is told at once.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, NotDone> {
        let (answer, answered) = oneshot::channel();
        self.asks.try_send(ask(answer)).map_err(|_| NotDone::Busy)?;
        match timeout(ANSWER, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(NotDone::Busy),
        }
    }

    fn user(&self, owner: &str) -> Result<UserIndex, NotDone> {
        self.owners.find(owner).ok_or(NotDone::NoSuchUser)
    }

    fn half(&self, running: &Running) -> Option<Half> {
        Some(Half {
            id: recording_text(RecordingId(running.recording.0)),
            call: running.call.0,
            call_id: running.call_id.clone(),
            owner: self.owners.name(running.owner)?.to_owned(),
            party: running.party.clone(),
            state: state(running.phase),
        })
    }

    async fn store(
        &self,
        user: UserIndex,
        document: Document,
        Change { by, over }: Change,
    ) -> Result<Value, NotDone> {
        let owner = self.owners.name(user).unwrap_or_default();
        let text = crate::config::written(&document.own).to_string();
        let _one_at_a_time = self.changing.lock().await;
        if let Some(over) = over {
            let stored = self.catalogue.owner_setting(owner).await.map_err(failed)?;
            let version = stored.map_or(0, |stored| stored.version);
            if version != over {
                return Err(NotDone::Outdated(version));
            }
        }
        let now = WallTime(self.wall.unix_us(Instant::now()));
        let stored = self.catalogue.store_owner_setting(owner, &text, now, &by);
        let version = stored.await.map_err(failed)?;
        self.metrics.settings_changed.inc();
        let user_shown = Redacted(owner);
        tracing::info!(user = %user_shown, version, by, "recording settings changed");
        let (settings, language) = (document.settings(), document.all.language.clone());
        let (done, known) = oneshot::channel();
        let changed = Ask::Changed {
            user,
            settings,
            language,
            done,
        };
        // It is stored: if signalling ends before it knows, the next start does.
        if self.asks.send(changed).await.is_ok() {
            let _ = known.await;
        }
        let stored = Stored {
            document,
            version,
            unreadable: Vec::new(),
        };
        Ok(self.owners.shown(user, Some(&stored)))
    }
}

impl CallControl for Desk {
    async fn running(&self) -> Result<Vec<Half>, NotDone> {
        let running = self.ask(Ask::Running).await?;
        Ok(running.iter().filter_map(|half| self.half(half)).collect())
    }

    async fn owner(&self, id: &str) -> Result<Option<String>, NotDone> {
        let Ok(recording) = parse_recording(id) else {
            return Ok(None);
        };
        let running = self.ask(Ask::Running).await?;
        let first = running.iter().find(|half| half.recording.0 == recording.0);
        if let Some(half) = first {
            return Ok(self.owners.name(half.owner).map(str::to_owned));
        }
        // A later recording of a half: its row says whose it is.
        let row = self.catalogue.row(recording).await.map_err(failed)?;
        Ok(row
            .filter(|row| row.ending.is_none())
            .map(|row| row.call.owner))
    }

    async fn control(&self, id: &str, action: Action) -> Result<&'static str, NotDone> {
        let recording = parse_recording(id).map_err(|_| NotDone::NoSuchCall)?;
        let control = match action {
            Action::Start => Control::Start,
            Action::Stop => Control::Stop,
            Action::Pause => Control::Pause,
            Action::Resume => Control::Resume,
        };
        let asked = self.ask(|answer| Ask::Control {
            recording: duolog_call::RecordingId(recording.0),
            control,
            answer,
        });
        asked.await?.map(state).map_err(refused)
    }

    async fn settings(&self, owner: &str) -> Result<Value, NotDone> {
        let user = self.user(owner)?;
        let stored = self.catalogue.owner_setting(owner).await.map_err(failed)?;
        let stored = stored.map(|setting| self.owners.stored(user, &setting));
        Ok(self.owners.shown(user, stored.as_ref()))
    }

    async fn change(
        &self,
        owner: &str,
        document: &Value,
        change: Change,
    ) -> Result<Value, NotDone> {
        let user = self.user(owner)?;
        let document = self.owners.read(user, document).map_err(|mistakes| {
            let mistakes = mistakes.into_iter();
            NotDone::Mistaken(mistakes.map(|m| (m.key, m.what)).collect())
        })?;
        // Whoever asked may be gone before it is done; it is done whole all the same.
        let desk = self.clone();
        let stored = tokio::spawn(async move { desk.store(user, document, change).await });
        stored.await.unwrap_or(Err(NotDone::Busy))
    }

    async fn switch_off(&self, owner: &str, change: Change) -> Result<Value, NotDone> {
        let document = serde_json::json!({ "mode": "never" });
        self.change(owner, &document, change).await
    }

    async fn message(&self, id: &str) -> Result<Option<String>, NotDone> {
        let Ok(recording) = parse_recording(id) else {
            return Ok(None);
        };
        let row = self.catalogue.row(recording).await.map_err(failed)?;
        let message = row.filter(|row| row.call.is_message);
        Ok(message.map(|row| row.call.owner))
    }

    async fn hear(&self, id: &str, heard: Heard) -> Result<(), NotDone> {
        let recording = parse_recording(id).map_err(|_| NotDone::NoSuchMessage)?;
        let at = match heard {
            Heard::Yes => Some(WallTime(self.wall.unix_us(Instant::now()))),
            Heard::No => None,
        };
        // Whoever asked may be gone before the phone is told; it is told all the same.
        let desk = self.clone();
        let done = tokio::spawn(async move {
            let heard = desk.mailboxes.heard(&desk.catalogue, recording, at).await;
            match heard.map_err(failed)? {
                true => Ok(()),
                false => Err(NotDone::NoSuchMessage),
            }
        });
        done.await.unwrap_or(Err(NotDone::Busy))
    }

    fn answered(&self, outcome: Outcome) {
        self.metrics.answered(outcome);
    }
}

/// Where a recording stands, in a word.
fn state(phase: Phase) -> &'static str {
    match phase {
        Phase::Idle => "idle",
        Phase::Pending => "pending",
        Phase::Provisional => "provisional",
        Phase::Started => "started",
        Phase::Paused => "paused",
        Phase::Stopped => "stopped",
        Phase::Failed => "failed",
        Phase::Over => "over",
    }
}

fn refused(why: Refusal) -> NotDone {
    let detail = why.to_string();
    match why {
        Refusal::NoSuchCall => NotDone::NoSuchCall,
        Refusal::NotRecorded => conflict("not-recorded", detail),
        Refusal::NotAnswered => conflict("not-answered", detail),
        Refusal::Ended => conflict("ended", detail),
        Refusal::DoNotRecord => conflict("do-not-record", detail),
        Refusal::CannotRecord => conflict("cannot-record", detail),
        Refusal::ModeForbids => forbidden("mode-forbids", detail),
        Refusal::NotOwner => forbidden("not-owner", detail),
    }
}

fn conflict(reason: &'static str, detail: String) -> NotDone {
    NotDone::Conflict { reason, detail }
}

fn forbidden(reason: &'static str, detail: String) -> NotDone {
    NotDone::Forbidden { reason, detail }
}

fn failed(error: duolog_archive::catalogue::CatalogueError) -> NotDone {
    let text = format!("{:#}", anyhow::Error::new(error));
    tracing::error!(error = text, "the API's catalogue");
    NotDone::Failed("the catalogue could not be used; nothing was changed".into())
}
