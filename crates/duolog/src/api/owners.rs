//! Owners' settings: what is configured, and the documents that were stored over it.

use std::sync::Arc;

use duolog_archive::catalogue::OwnerSetting;
use duolog_call::{Mode, OwnerKind, RecordingSettings, UserIndex};
use serde_json::{Value, json};

use crate::config::{self, Config, Layer, Mistake};
use crate::redact::Redacted;

/// Every owner as configured, before any document.
#[derive(Debug, Clone)]
pub struct Owners {
    all: Vec<Owner>,
    longest_repeat_tone_s: u32,
    /// What is spoken where nobody says otherwise.
    language: String,
}

#[derive(Debug, Clone)]
struct Owner {
    name: String,
    kind: OwnerKind,
    configured: Layer,
}

/// A document, read: what it says, and what follows from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its keys, as they are stored: of one that switches recording off nothing else is kept (SPEC E9).
    pub own: Layer,
    /// Those and what is configured below them.
    pub all: Layer,
}

impl Document {
    /// What calls follow.
    pub fn settings(&self) -> Arc<RecordingSettings> {
        Arc::new(self.all.settled())
    }
}

impl Owners {
    /// Those of a configuration that no document has changed yet.
    pub fn of(config: &Config) -> Self {
        let owner = |user: &config::User| Owner {
            name: user.name.clone(),
            kind: user.kind,
            configured: user.recording.clone(),
        };
        Self {
            all: config.users.iter().map(owner).collect(),
            longest_repeat_tone_s: config.recording.longest_repeat_tone_s,
            language: config.announcements.language.clone(),
        }
    }

    /// Which user has a name.
    pub fn find(&self, name: &str) -> Option<UserIndex> {
        let at = self.all.iter().position(|owner| owner.name == name);
        at.map(UserIndex)
    }

    /// A user's name.
    pub fn name(&self, user: UserIndex) -> Option<&str> {
        self.all.get(user.0).map(|owner| owner.name.as_str())
    }

    /// Reads a document of a user who is one of these.
    ///
    /// # Errors
    ///
    /// All its mistakes, each with its key.
    pub fn read(&self, user: UserIndex, document: &Value) -> Result<Document, Vec<Mistake>> {
        let owner = &self.all[user.0];
        let below = &owner.configured;
        let own = config::document(document, owner.kind, below, self.longest_repeat_tone_s)?;
        let own = match own.mode {
            Some(Mode::Never) => off(),
            _ => own,
        };
        let all = own.over(below);
        Ok(Document { own, all })
    }

    /// As [`Owners::read`], a text.
    ///
    /// # Errors
    ///
    /// All its mistakes; one if it is no JSON.
    pub fn parse(&self, user: UserIndex, text: &str) -> Result<Document, Vec<Mistake>> {
        let json = serde_json::from_str(text).map_err(|error| {
            vec![Mistake {
                line: error.line(),
                key: "document".into(),
                what: format!("is no JSON: {error}"),
            }]
        })?;
        self.read(user, &json)
    }

    /// What is shown of a user's settings: the document that could be stored again, and every key as
    /// calls follow it.
    pub fn shown(&self, user: UserIndex, document: Option<(&Document, i64)>) -> Value {
        let owner = &self.all[user.0];
        let (own, all, version) = match document {
            Some((document, version)) => (config::written(&document.own), &document.all, version),
            None => (json!({}), &owner.configured, 0),
        };
        json!({
            "owner": owner.name,
            "document": own,
            "effective": config::written_whole(all, &self.language),
            "version": version,
        })
    }

    /// Puts what was stored over what is configured. A document that does not read any more, or whose
    /// owner is gone, changes nothing and is named in the log.
    pub fn overlay(&self, config: &mut Config, stored: &[OwnerSetting]) {
        for setting in stored {
            let user = Redacted(&setting.owner);
            let Some(at) = self.find(&setting.owner) else {
                tracing::warn!(%user, "settings are stored for an owner who is not configured");
                continue;
            };
            match self.parse(at, &setting.document) {
                Ok(document) => config.users[at.0].recording = document.all,
                Err(mistakes) => {
                    for Mistake { key, what, .. } in mistakes {
                        tracing::error!(%user, key, what, "stored settings can not be read; what is configured holds");
                    }
                }
            }
        }
    }
}

/// Recording switched off, and nothing else.
pub fn off() -> Layer {
    Layer {
        mode: Some(Mode::Never),
        ..Layer::default()
    }
}

#[cfg(test)]
mod tests;
