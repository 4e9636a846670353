//! The sounds parties hear: shipped prompts, the operator's own ones before them, and the tones.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use duolog_audio::prompt::Prompt;
use duolog_call::{PromptName, UserIndex};

use crate::abilities::Abilities;
use crate::config::{Config, User};
use crate::translate::facts::prompt_name;

const PROMPTS: [PromptName; 8] = [
    PromptName::RecordingStarts,
    PromptName::RecordingPaused,
    PromptName::RecordingResumed,
    PromptName::RecordingStops,
    PromptName::FailureContinues,
    PromptName::FailureEnds,
    PromptName::Compliance,
    PromptName::MailboxGreeting,
];

/// The language of a prompt that the asked language does not have.
const FALLBACK: &str = "en";

/// Folders beside those of the languages.
const GROUPS: &str = "groups";
const USERS: &str = "users";

macro_rules! shipped {
    ($($language:literal: $($name:literal)*);* $(;)?) => {
        [$($(($language, $name, include_bytes!(concat!(
            "../../../fixtures/prompts/", $language, "/", $name, ".wav"
        )).as_slice())),*),*]
    };
}

/// Made by `fixtures/prompts/make.sh`.
const SHIPPED: [(&str, &str, &[u8]); 16] = shipped! {
    "en": "recording-started" "recording-paused" "recording-resumed" "recording-stopped"
        "failure-continues" "failure-ends" "compliance" "mailbox-greeting";
    "nl": "recording-started" "recording-paused" "recording-resumed" "recording-stopped"
        "failure-continues" "failure-ends" "compliance" "mailbox-greeting";
};

/// Whose prompts those of a folder are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    User(String),
    Group(String),
    Tenant,
    Shipped,
}

/// Whose, in which language, and which one.
type Key = (Whose, String, PromptName);

/// Prompts by whose they are, language and name.
type Prompts = HashMap<Key, Arc<Prompt>>;

/// Every sound, ready to be sent in every codec of a leg.
#[derive(Debug)]
pub struct PromptBook {
    prompts: Prompts,
    /// Whose prompts each user hears, best first.
    users: Vec<Vec<Whose>>,
    beep: Arc<Prompt>,
    repeat_tone: Arc<Prompt>,
}

impl PromptBook {
    /// The shipped prompts, and before them those of the configured directory: everybody's, of groups and of
    /// users.
    ///
    /// # Errors
    ///
    /// When a file there can not be read as audio, its name is no prompt's, it stands where a folder should,
    /// or a folder names no user or group.
    pub fn load(config: &Config, abilities: &Abilities) -> Result<Self> {
        let mut press = Press {
            abilities,
            louder_db: config.announcements.prompt_level_db.into(),
            made: HashMap::new(),
        };
        let mut prompts = HashMap::new();
        for (language, file, bytes) in SHIPPED {
            let prompt = press.prompt(bytes.to_vec());
            let prompt = prompt
                .with_context(|| format!("the shipped prompt {language}/{file} is damaged"))?;
            let name = named(file).expect("what is shipped has the name of a prompt");
            prompts.insert((Whose::Shipped, language.to_string(), name), prompt);
        }
        if let Some(directory) = &config.announcements.directory {
            own(&mut prompts, &mut press, directory, config).context("announcements.directory")?;
        }
        let heard = |user: &User| {
            let own = Some(Whose::User(user.name.clone()));
            let group = user.group.clone().map(Whose::Group);
            own.into_iter().chain(group).chain(EVERYBODY).collect()
        };
        Ok(Self {
            prompts,
            users: config.users.iter().map(heard).collect(),
            beep: press.ready(Prompt::tone(&config.announcements.beep))?,
            repeat_tone: press.ready(Prompt::tone(&config.announcements.repeat_tone))?,
        })
    }

    /// A spoken notice on behalf of a user: theirs, their group's, everybody's or the shipped one, in
    /// English where none of them has `language`.
    pub fn prompt(&self, prompt: PromptName, language: &str, whose: UserIndex) -> Arc<Prompt> {
        Arc::clone(self.found(prompt, language, whose).1)
    }

    /// Whose prompt that is (`user`, `group`, `tenant` or `shipped`) and in which language.
    pub fn origin(
        &self,
        prompt: PromptName,
        language: &str,
        whose: UserIndex,
    ) -> (&'static str, &str) {
        let ((whose, language, _), _) = self.found(prompt, language, whose);
        let level = match whose {
            Whose::User(_) => "user",
            Whose::Group(_) => "group",
            Whose::Tenant => "tenant",
            Whose::Shipped => "shipped",
        };
        (level, language)
    }

    fn found(&self, prompt: PromptName, language: &str, whose: UserIndex) -> (&Key, &Arc<Prompt>) {
        let heard = self.users.get(whose.0).map_or(&EVERYBODY[..], |own| own);
        let find = |language: &str| {
            let mut keys = heard
                .iter()
                .map(|whose| (whose.clone(), language.to_string(), prompt));
            keys.find_map(|key| self.prompts.get_key_value(&key))
        };
        let found = find(language).or_else(|| find(FALLBACK));
        found.unwrap_or_else(|| {
            panic!(
                "every prompt is shipped in {FALLBACK}: {}",
                prompt_name(prompt)
            )
        })
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

/// Whose prompts everybody hears, best first.
const EVERYBODY: [Whose; 2] = [Whose::Tenant, Whose::Shipped];

/// Makes prompts out of files, each sound once.
struct Press<'a> {
    abilities: &'a Abilities,
    louder_db: f64,
    /// By the file's bytes: many users may have a copy of one.
    made: HashMap<Vec<u8>, Arc<Prompt>>,
}

impl Press<'_> {
    fn prompt(&mut self, file: Vec<u8>) -> Result<Arc<Prompt>> {
        if let Some(prompt) = self.made.get(&file) {
            return Ok(Arc::clone(prompt));
        }
        let prompt = self.ready(Prompt::decode(&file)?.louder(self.louder_db))?;
        self.made.insert(file, Arc::clone(&prompt));
        Ok(prompt)
    }

    fn ready(&self, mut prompt: Prompt) -> Result<Arc<Prompt>> {
        prompt.encode(
            &self.abilities.prompt_codecs(),
            self.abilities.g729.as_ref(),
        )?;
        Ok(Arc::new(prompt))
    }
}

fn named(file: &str) -> Option<PromptName> {
    PROMPTS
        .into_iter()
        .find(|&prompt| prompt_name(prompt) == file)
}

/// Takes everybody's prompts below `directory`, and those of groups and users.
fn own(
    prompts: &mut Prompts,
    press: &mut Press<'_>,
    directory: &Path,
    config: &Config,
) -> Result<()> {
    for (whose, folder) in places(directory, config)? {
        add(prompts, press, &whose, &folder)?;
    }
    Ok(())
}

/// The folders below `directory` that hold languages, and whose they are.
fn places(directory: &Path, config: &Config) -> Result<Vec<(Whose, PathBuf)>> {
    let mut places = vec![(Whose::Tenant, directory.to_path_buf())];
    let users: Vec<&String> = config.users.iter().map(|user| &user.name).collect();
    let groups: Vec<&String> = config.recording.groups.iter().collect();
    for (kind, word, known, whose) in [
        (GROUPS, "group", groups, Whose::Group as fn(String) -> Whose),
        (USERS, "user", users, Whose::User),
    ] {
        let folder = directory.join(kind);
        if !folder.is_dir() {
            continue;
        }
        for place in list(&folder)? {
            let name = stem(&place);
            if !known.contains(&&name) || !place.is_dir() {
                bail!(
                    "{}: not the folder of a {word} that is configured",
                    place.display()
                );
            }
            places.push((whose(name), place));
        }
    }
    Ok(places)
}

/// Takes the prompts of every language in a folder.
fn add(prompts: &mut Prompts, press: &mut Press<'_>, whose: &Whose, folder: &Path) -> Result<()> {
    for folder in list(folder)? {
        if !folder.is_dir() {
            bail!(
                "{}: a file where the folder of a language is expected, as in en/{}.wav",
                folder.display(),
                prompt_name(PromptName::Compliance)
            );
        }
        let language = stem(&folder);
        if *whose == Whose::Tenant && [GROUPS, USERS].contains(&language.as_str()) {
            continue;
        }
        for file in list(&folder)? {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            let name = named(&name).with_context(|| {
                format!(
                    "{}: not the name of a prompt; those are {}",
                    file.display(),
                    PROMPTS.map(prompt_name).join(", ")
                )
            })?;
            let bytes = std::fs::read(&file)
                .with_context(|| format!("the prompt {} can not be read", file.display()))?;
            let prompt = press.prompt(bytes);
            let prompt =
                prompt.with_context(|| format!("the prompt {} can not be used", file.display()))?;
            prompts.insert((whose.clone(), language.clone(), name), prompt);
        }
    }
    Ok(())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("{} can not be read", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// The last part of a path; names of users and groups may have dots in them.
fn stem(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolog_audio::measure::rms_dbfs;

    /// Users 0 to 2, of whom two are in a group; another group has nobody in it.
    const OFFICE: &str = "[[group]]\nname = \"sales\"\n[[group]]\nname = \"empty\"\n\
        [[user]]\nname = \"anna\"\ngroup = \"sales\"\npassword = \"p\"\n\
        [[user]]\nname = \"b.ob\"\ngroup = \"sales\"\npassword = \"p\"\n\
        [[user]]\nname = \"carl\"\npassword = \"p\"\n";

    fn config(directory: Option<&Path>) -> Config {
        let mut config = crate::config::read(OFFICE).expect("it is right");
        config.announcements.directory = directory.map(Path::to_path_buf);
        config
    }

    fn load(directory: Option<&Path>) -> Result<PromptBook> {
        PromptBook::load(&config(directory), &Abilities::default())
    }

    /// The shipped sound that was put in a file.
    fn shipped(name: PromptName, language: &str) -> &'static [u8] {
        let mut all = SHIPPED.iter();
        let found = all.find(|shipped| (shipped.0, shipped.1) == (language, prompt_name(name)));
        found.expect("shipped").2
    }

    fn put(root: &Path, path: &str, bytes: &[u8]) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("scratch");
        std::fs::write(path, bytes).expect("scratch");
    }

    #[test]
    fn every_prompt_is_shipped_in_both_languages_and_differs() {
        let book = load(None).expect("shipped prompts");
        let mut sounds = std::collections::HashSet::new();
        for prompt in PROMPTS {
            for language in ["en", "nl"] {
                let sound = book.prompt(prompt, language, UserIndex(0));
                assert!((8_000..24_000).contains(&sound.linear.len()), "{prompt:?}");
                assert!(sounds.insert(sound.linear.clone()), "{prompt:?} {language}");
            }
            let english = book.prompt(prompt, "en", UserIndex(0));
            assert!(Arc::ptr_eq(
                &book.prompt(prompt, "xx", UserIndex(99)),
                &english
            ));
        }
    }

    /// Of the prompts of the test below.
    fn assert_origins(book: &PromptBook) {
        for (user, language, whose) in [
            (0, "nl", ("group", "nl")),
            (1, "fr", ("user", "en")),
            (2, "nl", ("tenant", "nl")),
            (9, "fr", ("shipped", "en")),
        ] {
            let found = book.origin(PromptName::RecordingStarts, language, UserIndex(user));
            assert_eq!(found, whose, "user {user} in {language}");
        }
    }

    #[test]
    fn the_nearest_own_prompt_is_heard_and_english_last() {
        use PromptName::{Compliance, FailureEnds, RecordingPaused, RecordingStarts};
        let root = tempfile::tempdir().expect("scratch");
        let starts = prompt_name(RecordingStarts);
        let of = |prompt, language| shipped(prompt, language);
        put(
            root.path(),
            &format!("nl/{starts}.wav"),
            of(RecordingPaused, "nl"),
        );
        put(
            root.path(),
            &format!("groups/sales/nl/{starts}.wav"),
            of(Compliance, "nl"),
        );
        put(
            root.path(),
            &format!("users/b.ob/nl/{starts}.wav"),
            of(FailureEnds, "nl"),
        );
        put(
            root.path(),
            &format!("users/b.ob/en/{starts}.wav"),
            of(FailureEnds, "en"),
        );
        put(
            root.path(),
            &format!("users/carl/fr/{starts}.wav"),
            of(Compliance, "nl"),
        );
        put(
            root.path(),
            &format!("groups/empty/nl/{starts}.wav"),
            of(FailureEnds, "nl"),
        );
        let book = load(Some(root.path())).expect("readable prompts");
        let check = |user, language: &str, expected: (PromptName, &str)| {
            let heard = book.prompt(RecordingStarts, language, UserIndex(user));
            let expected = Prompt::decode(shipped(expected.0, expected.1)).expect("shipped");
            assert!(heard.linear == expected.linear, "user {user} in {language}");
        };
        for (user, language, expected) in [
            (0, "nl", (Compliance, "nl")),
            (1, "nl", (FailureEnds, "nl")),
            (2, "nl", (RecordingPaused, "nl")),
            (9, "nl", (RecordingPaused, "nl")),
            (0, "en", (RecordingStarts, "en")),
            (1, "en", (FailureEnds, "en")),
            // No French: the user's own English comes before the shipped one.
            (1, "fr", (FailureEnds, "en")),
            (2, "fr", (Compliance, "nl")),
            (0, "fr", (RecordingStarts, "en")),
        ] {
            check(user, language, expected);
        }
        assert_origins(&book);
        // Every copy of a sound is one.
        let sales = book.prompt(RecordingStarts, "nl", UserIndex(0));
        assert!(Arc::ptr_eq(
            &sales,
            &book.prompt(RecordingStarts, "fr", UserIndex(2))
        ));
        assert!(Arc::ptr_eq(
            &sales,
            &book.prompt(Compliance, "nl", UserIndex(2))
        ));
        let untouched = book.prompt(RecordingPaused, "nl", UserIndex(1));
        let expected = Prompt::decode(of(RecordingPaused, "nl")).expect("shipped");
        assert_eq!(untouched.linear, expected.linear);
    }

    #[test]
    fn what_is_no_prompt_and_nobodys_folder_is_named() {
        let good = shipped(PromptName::Compliance, "en");
        for (path, bytes, expected) in [
            (
                "nl/compliance.wav",
                b"noise".as_slice(),
                "nl/compliance.wav",
            ),
            ("nl/hello.wav", good, "hello.wav: not the name of a prompt"),
            (
                "users/carl/en/greeting.wav",
                good,
                "greeting.wav: not the name of a prompt",
            ),
            (
                "users/dora/en/compliance.wav",
                good,
                "users/dora: not the folder of a user",
            ),
            (
                "groups/anna/en/compliance.wav",
                good,
                "groups/anna: not the folder of a group",
            ),
            (
                "users/compliance.wav",
                good,
                "users/compliance.wav: not the folder of a user",
            ),
            (
                "groups/sales/en/compliance.wav",
                b"",
                "groups/sales/en/compliance.wav",
            ),
            (
                "compliance.wav",
                good,
                "/compliance.wav: a file where the folder of a language is expected",
            ),
            (
                "users/carl/recording-started.wav",
                good,
                "users/carl/recording-started.wav: a file where the folder",
            ),
            (
                "groups/sales/compliance.wav",
                good,
                "groups/sales/compliance.wav: a file where the folder",
            ),
            ("users", good, "/users: a file where the folder"),
        ] {
            let root = tempfile::tempdir().expect("scratch");
            put(root.path(), path, bytes);
            let error = load(Some(root.path())).expect_err(path);
            let error = format!("{error:#}");
            assert!(error.contains(expected), "{path}: {error}");
            assert!(error.starts_with("announcements.directory: "), "{error}");
        }
        let missing = load(Some(Path::new("/nowhere/at/all"))).expect_err("no folder");
        assert!(format!("{missing:#}").contains("/nowhere/at/all can not be read"));
    }

    #[test]
    fn levels_and_tones_are_as_configured() {
        let plain = load(None).expect("shipped prompts");
        let mut quiet = config(None);
        quiet.announcements.prompt_level_db = -12;
        quiet.announcements.beep.length_ms = 100;
        quiet.announcements.repeat_tone.level_dbfs = -40.0;
        let quiet = PromptBook::load(&quiet, &Abilities::default()).expect("shipped prompts");
        let level = |book: &PromptBook| {
            let sound = book.prompt(PromptName::Compliance, "nl", UserIndex(0));
            rms_dbfs(&sound.linear)
        };
        assert!((level(&plain) - level(&quiet) - 12.0).abs() < 0.1);
        assert_eq!(quiet.beep().length_ms(), 100);
        let tone = |book: &PromptBook| rms_dbfs(&book.repeat_tone().linear);
        assert!((tone(&plain) - tone(&quiet) - 20.0).abs() < 0.2);
    }
}
