//! What people ask of running calls while signalling runs, each with the way its answer goes.

use std::collections::HashMap;
use std::sync::Arc;

use duolog_call::{
    Control, ControlId, Input, Means, Phase, RecordingId, RecordingSettings, Refusal, Running,
    UserIndex,
};
use tokio::sync::oneshot;

use super::Signalling;

/// One question. Whoever asks and is gone when the answer comes does not get it.
#[derive(Debug)]
pub enum Ask {
    /// Which halves of calls are recorded now.
    Running(oneshot::Sender<Vec<Running>>),
    /// Something of one recording.
    Control {
        /// Which.
        recording: RecordingId,
        /// What.
        control: Control,
        /// Where it stands then, or why nothing changed.
        answer: oneshot::Sender<Result<Phase, Refusal>>,
    },
    /// That new calls follow these settings.
    Changed {
        /// Whose.
        user: UserIndex,
        /// How they are recorded.
        settings: Arc<RecordingSettings>,
        /// The language of what parties are told; `None` for the node's.
        language: Option<String>,
        /// When it is so.
        done: oneshot::Sender<()>,
    },
}

/// Controls that the engine has been asked for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    last: u64,
    answers: HashMap<ControlId, oneshot::Sender<Result<Phase, Refusal>>>,
}

impl Waiting {
    pub(super) fn answer(&mut self, id: ControlId, result: Result<Phase, Refusal>) {
        if let Some(answer) = self.answers.remove(&id) {
            let _ = answer.send(result);
        }
    }
}

impl Signalling {
    pub(super) fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Running(answer) => drop(answer.send(self.engine.running())),
            Ask::Control {
                recording,
                control,
                answer,
            } => {
                // Whoever asked has been told that it was not done.
                if answer.is_closed() {
                    return;
                }
                self.waiting.last += 1;
                let id = ControlId(self.waiting.last);
                self.waiting.answers.insert(id, answer);
                self.handle(Input::Control {
                    id,
                    recording,
                    control,
                    by: Means::Api,
                });
                // The engine answers at once. Where its work broke, the asker is told by the end of the way.
                self.waiting.answers.remove(&id);
            }
            Ask::Changed {
                user,
                settings,
                language,
                done,
            } => {
                self.handle(Input::Changed { user, settings });
                self.handle(Input::LanguageChanged { user, language });
                let _ = done.send(());
            }
        }
    }
}
