//! Owners' settings: what is configured, and the documents that were stored over it.

use std::collections::BTreeSet;
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

    /// What was stored of a user, as far as it can still be read: a key that can not does not cost the
    /// others.
    pub fn stored(&self, user: UserIndex, setting: &OwnerSetting) -> Stored {
        let (document, unreadable) = self.salvage(user, &setting.document);
        Stored {
            document,
            version: setting.version,
            unreadable,
        }
    }

    fn salvage(&self, user: UserIndex, text: &str) -> (Document, Vec<Mistake>) {
        let nothing = || Document {
            own: Layer::default(),
            all: self.all[user.0].configured.clone(),
        };
        let mut json = match json_of(text) {
            Ok(json) => json,
            Err(mistakes) => return (nothing(), mistakes),
        };
        let mut unreadable = Vec::new();
        loop {
            let mistakes = match self.read(user, &json) {
                Ok(document) => return (document, unreadable),
                Err(mistakes) => mistakes,
            };
            let without = without(&json, &mistakes);
            unreadable.extend(mistakes);
            if without == json {
                return (nothing(), unreadable);
            }
            json = without;
        }
    }

    /// What is shown of a user's settings: the document that could be stored again, and every key as
    /// calls follow it.
    pub fn shown(&self, user: UserIndex, stored: Option<&Stored>) -> Value {
        let owner = &self.all[user.0];
        let (own, all, version) = match stored {
            Some(stored) => {
                let Document { own, all } = &stored.document;
                (config::written(own), all, stored.version)
            }
            None => (json!({}), &owner.configured, 0),
        };
        let mut shown = json!({
            "owner": owner.name,
            "document": own,
            "effective": config::written_whole(all, &self.language),
            "version": version,
        });
        let unreadable = stored.map_or(&[][..], |stored| &stored.unreadable);
        if !unreadable.is_empty() {
            let one = |mistake: &Mistake| json!({ "key": mistake.key, "what": mistake.what });
            shown["unreadable"] = unreadable.iter().map(one).collect();
        }
        shown
    }

    /// Puts what was stored over what is configured, and says in the log of whom. What does not read any
    /// more, and what was stored for an owner who is gone, is named there and changes nothing.
    pub fn overlay(&self, config: &mut Config, settings: &[OwnerSetting]) {
        for setting in settings {
            let user = Redacted(&setting.owner);
            let Some(at) = self.find(&setting.owner) else {
                tracing::warn!(%user, "settings are stored for an owner who is not configured");
                continue;
            };
            let Stored {
                document,
                version,
                unreadable,
            } = self.stored(at, setting);
            // Without what stands there: it may be a number.
            for Mistake { key, .. } in unreadable {
                tracing::error!(%user, version, key, "a stored setting can not be read any more and does not hold; the API shows it");
            }
            if document.own != Layer::default() {
                tracing::info!(%user, version, "stored settings stand over what is configured");
            }
            config.users[at.0].recording = document.all;
        }
    }
}

/// A document that is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// What of it holds.
    pub document: Document,
    /// How many times one was stored, from 1.
    pub version: i64,
    /// What of it can not be read any more, with its key.
    pub unreadable: Vec<Mistake>,
}

fn json_of(text: &str) -> Result<Value, Vec<Mistake>> {
    serde_json::from_str(text).map_err(|error| {
        vec![Mistake {
            line: error.line(),
            key: "document".into(),
            what: format!("is no JSON: {error}"),
        }]
    })
}

/// A document without the keys that have a mistake; of a list of numbers only those entries go.
fn without(document: &Value, mistakes: &[Mistake]) -> Value {
    let mut document = document.clone();
    let Some(keys) = document.as_object_mut() else {
        return document;
    };
    let mut entries = BTreeSet::new();
    for Mistake { key, .. } in mistakes {
        let listed = key.strip_prefix("do_not_record[");
        let listed = listed.and_then(|rest| rest.split_once(']')?.0.parse::<usize>().ok());
        match listed {
            Some(at) => drop(entries.insert(at)),
            None => {
                let whole = key.split(['.', '[']).next().unwrap_or_default();
                let _ = keys.remove(key).or_else(|| keys.remove(whole));
            }
        }
    }
    if let Some(listed) = keys.get_mut("do_not_record").and_then(Value::as_array_mut) {
        let mut at = 0..;
        listed.retain(|_| !at.next().is_some_and(|at| entries.contains(&at)));
    }
    document
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
