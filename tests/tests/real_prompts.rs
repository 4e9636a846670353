//! Own prompts with the built program: a group's are heard by those who talk with its members and by
//! nobody else, and what is in the wrong place is told before a port is bound (issue 5, acceptance 2).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use duolog::phone::{Action, CodedVoice, Look, Voice};
use duolog_call::PromptName::{self, Compliance, RecordingStarts};
use duolog_tests::real::phones::Phones;
use duolog_tests::real::site::{CALLEE_PORT, Wishes};
use duolog_tests::real::{Duolog, Site, program};
use duolog_tests::world::sound::{find, spoken};

/// What is in the place of the start announcement, and in which language it is shipped.
const OWN: (PromptName, &str) = (Compliance, "nl");
const SHIPPED: (PromptName, &str) = (RecordingStarts, "en");

/// anna (100) is of a group, ben (101) of none, and another group has nobody in it.
fn site() -> Site {
    let site = Site::new(&Wishes {
        user: "group = \"sales\"\nmode = \"always\"\nannounce = \"on\"",
        ..Wishes::default()
    });
    let (prompts, callee) = (prompts(&site), site.callee());
    site.amend(|text| {
        format!(
            "{text}[announcements]\ndirectory = \"{}\"\n\
             [[group]]\nname = \"sales\"\n[[group]]\nname = \"empty\"\n\
             [[user]]\nname = \"ben\"\nnumbers = [\"101\"]\ncontact = \"udp:{callee}:{CALLEE_PORT}\"\n\
             mode = \"always\"\nannounce = \"on\"\n",
            prompts.display()
        )
    });
    for group in ["sales", "empty"] {
        put(&site, &format!("groups/{group}/en/recording-started.wav"));
    }
    site
}

fn prompts(site: &Site) -> PathBuf {
    site.directory().join("prompts")
}

/// Puts the sound of [`OWN`] below the site's own prompts.
fn put(site: &Site, path: &str) {
    let path = prompts(site).join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("the site can be written");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/prompts/nl");
    fs::copy(shipped.join("compliance.wav"), path).expect("the site can be written");
}

/// Which of the two a phone heard.
fn heard(look: &Look) -> Vec<(PromptName, &'static str)> {
    let heard = look.ear.heard().expect("something was heard");
    let both = [OWN, SHIPPED].into_iter();
    both.filter(|(prompt, language)| {
        let (_, fits) = find(&spoken(*prompt, language), &heard.samples);
        assert!(!(0.6..0.9).contains(&fits), "{prompt:?}: {fits}");
        fits >= 0.9
    })
    .collect()
}

#[test]
fn the_prompts_of_a_group_are_heard_in_calls_of_its_members_and_in_no_others() {
    let site = site();
    let duolog = Duolog::start(&site);
    for (number, expected) in [("100", OWN), ("101", SHIPPED)] {
        let voice = |party| vec![Voice::Coded(CodedVoice::new(party, 0))];
        let phones = Phones::new(&site, voice(0), voice(1));
        let uri = format!("sip:{number}@{}", site.sip());
        let uri = uri.parse().expect("a SIP URI");
        phones.caller(0, Action::Call { uri });
        phones.talks(0);
        phones.go_on_until(Instant::now() + Duration::from_millis(5_000));
        phones.all_hang_up();
        let looks = phones.look();
        for look in [&looks.callers[0], &looks.callees[0]] {
            assert_eq!(heard(look), [expected], "{number}");
        }
    }
    duolog.stop();
}

#[test]
fn prompts_in_the_wrong_place_are_told_by_check_config() {
    let site = site();
    let output = program::run(&site, &["check-config"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    for (path, expected) in [
        (
            "groups/nobody/en/compliance.wav",
            "groups/nobody: not the folder of a group that is configured",
        ),
        (
            "compliance.wav",
            "compliance.wav: a file where the folder of a language is expected",
        ),
        (
            "users/anna/recording-started.wav",
            "recording-started.wav: a file where the folder of a language is expected",
        ),
    ] {
        let site = self::site();
        put(&site, path);
        let output = program::run(&site, &["check-config"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{path}: {told}");
        assert!(output.stdout.is_empty());
        assert!(
            told.starts_with("announcements.directory: ") && told.contains(expected),
            "{path}: {told}"
        );
        let output = program::run(&site, &["serve"]);
        assert!(!output.status.success(), "{path}: it does not start");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(expected), "{path}: {told}");
    }
}
