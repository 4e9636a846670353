//! The sounds parties hear: shipped prompts, the operator's own ones before them, and the tones.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use duolog_audio::prompt::Prompt;
use duolog_audio::tone;
use duolog_call::PromptName;

use crate::abilities::Abilities;
use crate::translate::facts::prompt_name;

const PROMPTS: [PromptName; 4] = [
    PromptName::RecordingStarts,
    PromptName::RecordingPaused,
    PromptName::RecordingResumed,
    PromptName::MailboxGreeting,
];

/// The language of a prompt that the asked language does not have.
const FALLBACK: &str = "en";

macro_rules! shipped {
    ($($language:literal $name:literal),* $(,)?) => {
        [$(($language, $name, include_bytes!(concat!(
            "../../../fixtures/prompts/", $language, "/", $name, ".wav"
        )).as_slice())),*]
    };
}

/// Made by `fixtures/prompts/make.sh`.
const SHIPPED: [(&str, &str, &[u8]); 8] = shipped![
    "en" "recording-started",
    "en" "recording-paused",
    "en" "recording-resumed",
    "en" "mailbox-greeting",
    "nl" "recording-started",
    "nl" "recording-paused",
    "nl" "recording-resumed",
    "nl" "mailbox-greeting",
];

/// Every sound, ready to be sent in every codec of a leg.
#[derive(Debug)]
pub struct PromptBook {
    prompts: HashMap<(String, &'static str), Arc<Prompt>>,
    beep: Arc<Prompt>,
    repeat_tone: Arc<Prompt>,
}

impl PromptBook {
    /// The shipped prompts, replaced and joined by those in `directory`:
    /// `<language>/<prompt>.<any audio format>`.
    ///
    /// # Errors
    ///
    /// When a file there can not be read as audio, or its name is no prompt's.
    pub fn load(directory: Option<&Path>, abilities: &Abilities) -> Result<Self> {
        let ready = |mut prompt: Prompt| -> Result<Arc<Prompt>> {
            prompt.encode(&abilities.prompt_codecs(), abilities.g729.as_ref())?;
            Ok(Arc::new(prompt))
        };
        let mut prompts = HashMap::new();
        for (language, name, bytes) in SHIPPED {
            let prompt = Prompt::decode(bytes)
                .with_context(|| format!("the shipped prompt {language}/{name} is damaged"))?;
            prompts.insert((language.to_string(), name), prompt);
        }
        if let Some(directory) = directory {
            add(&mut prompts, directory)?;
        }
        let prompts = prompts
            .into_iter()
            .map(|(name, prompt)| Ok((name, ready(prompt)?)));
        Ok(Self {
            prompts: prompts.collect::<Result<_>>()?,
            beep: ready(Prompt::tone(&tone::beep()))?,
            repeat_tone: ready(Prompt::tone(&tone::repeat_tone()))?,
        })
    }

    /// A spoken notice, in English where `language` has none.
    pub fn prompt(&self, prompt: PromptName, language: &str) -> Arc<Prompt> {
        let name = prompt_name(prompt);
        let found = self.prompts.get(&(language.to_string(), name));
        let found = found.or_else(|| self.prompts.get(&(FALLBACK.to_string(), name)));
        Arc::clone(found.unwrap_or_else(|| panic!("every prompt is shipped in {FALLBACK}: {name}")))
    }

    /// The beep of a pause or resume.
    pub fn beep(&self) -> Arc<Prompt> {
        Arc::clone(&self.beep)
    }

    /// The notice tone while recording.
    pub fn repeat_tone(&self) -> Arc<Prompt> {
        Arc::clone(&self.repeat_tone)
    }
}

fn add(prompts: &mut HashMap<(String, &'static str), Prompt>, directory: &Path) -> Result<()> {
    let list = |path: &Path| {
        let entries = std::fs::read_dir(path).with_context(|| {
            format!(
                "announcements.directory: {} can not be read",
                path.display()
            )
        });
        entries.map(|e| e.flatten().map(|e| e.path()).collect::<Vec<_>>())
    };
    for folder in list(directory)?.into_iter().filter(|path| path.is_dir()) {
        let language = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for file in list(&folder)? {
            let stem = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let names = PROMPTS.map(prompt_name);
            let name = *names.iter().find(|name| **name == stem).with_context(|| {
                format!(
                    "{}: not the name of a prompt; those are {}",
                    file.display(),
                    names.join(", ")
                )
            })?;
            let bytes = std::fs::read(&file)
                .with_context(|| format!("the prompt {} can not be read", file.display()))?;
            let prompt = Prompt::decode(&bytes)
                .with_context(|| format!("the prompt {} can not be used", file.display()))?;
            prompts.insert((language.clone(), name), prompt);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prompt_is_shipped_in_both_languages_and_differs() {
        let book = PromptBook::load(None, &Abilities::default()).expect("shipped prompts");
        for prompt in PROMPTS {
            let [english, dutch] = ["en", "nl"].map(|l| book.prompt(prompt, l));
            assert!(english.linear != dutch.linear, "{prompt:?}");
            assert!(
                (2_000..24_000).contains(&english.linear.len()),
                "{prompt:?}"
            );
            assert_eq!(book.prompt(prompt, "xx").linear, english.linear);
        }
    }

    #[test]
    fn an_own_prompt_comes_first_and_a_bad_one_is_named() {
        let root = tempfile::tempdir().expect("scratch");
        let folder = root.path().join("nl");
        std::fs::create_dir(&folder).expect("scratch");
        let [_, (_, _, paused), ..] = SHIPPED;
        std::fs::write(folder.join("recording-started.wav"), paused).expect("scratch");
        let book =
            PromptBook::load(Some(root.path()), &Abilities::default()).expect("a readable prompt");
        let shipped = PromptBook::load(None, &Abilities::default()).expect("shipped");
        let own = book.prompt(PromptName::RecordingStarts, "nl");
        assert_eq!(
            own.linear,
            shipped.prompt(PromptName::RecordingPaused, "en").linear
        );
        std::fs::write(folder.join("recording-started.wav"), b"noise").expect("scratch");
        let error = format!(
            "{:#}",
            PromptBook::load(Some(root.path()), &Abilities::default()).expect_err("not audio")
        );
        assert!(error.contains("recording-started.wav"), "{error}");
        std::fs::rename(
            folder.join("recording-started.wav"),
            folder.join("hello.wav"),
        )
        .expect("scratch");
        let error = format!(
            "{:#}",
            PromptBook::load(Some(root.path()), &Abilities::default()).expect_err("no prompt")
        );
        assert!(error.contains("not the name of a prompt"), "{error}");
    }
}
