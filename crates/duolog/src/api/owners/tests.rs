use duolog_archive::WallTime;
use duolog_call::{Dtmf, Notice};

use super::*;

const TEXT: &str = "[recording]\nnotice = \"beep\"\nlongest_repeat_tone = \"100s\"\n\
    [announcements]\nlanguage = \"nl\"\n\
    [[user]]\nname = \"anna\"\ncontact = \"udp:127.0.0.1:1\"\nmode = \"always\"\ndtmf = \"mask\"\n\
    [[user]]\nname = \"line\"\nkind = \"queue\"\n";

fn owners() -> (Config, Owners) {
    let config = config::read(TEXT).expect("it is right");
    let owners = Owners::of(&config);
    (config, owners)
}

fn stored(owner: &str, document: &str) -> OwnerSetting {
    OwnerSetting {
        owner: owner.into(),
        document: document.into(),
        version: 3,
        changed_at: WallTime(1),
        changed_by: "crm".into(),
    }
}

#[test]
fn a_document_stands_over_what_is_configured() {
    let (_, owners) = owners();
    let anna = owners.find("anna").expect("she is configured");
    assert_eq!(owners.find("Anna"), None);
    let document = owners
        .read(anna, &json!({ "repeat_tone": "100s", "dtmf": "keep" }))
        .expect("it is right");
    let settings = document.settings();
    assert_eq!((settings.mode, settings.dtmf), (Mode::Always, Dtmf::Keep));
    assert_eq!(settings.notice, Notice::Beep);
    let shown = owners.shown(anna, Some((&document, 4)));
    assert_eq!(
        shown["document"],
        json!({ "repeat_tone": "100s", "dtmf": "keep" })
    );
    assert_eq!(shown["effective"]["mode"], "always");
    assert_eq!(shown["effective"]["language"], "nl");
    assert_eq!(
        (&shown["owner"], &shown["version"]),
        (&json!("anna"), &json!(4))
    );
    let shown = owners.shown(anna, None);
    assert_eq!(
        (&shown["document"], &shown["version"]),
        (&json!({}), &json!(0))
    );
    assert_eq!(shown["effective"]["dtmf"], "mask");
}

#[test]
fn switching_off_leaves_the_bare_off() {
    let (_, owners) = owners();
    let anna = owners.find("anna").expect("she is configured");
    let wiped = owners
        .read(
            anna,
            &json!({ "mode": "never", "notice": "announcement", "language": "en" }),
        )
        .expect("it is right");
    assert_eq!(wiped.own, off());
    assert_eq!(wiped.settings().mode, Mode::Never);
    assert_eq!(wiped.settings().notice, Notice::Beep, "as configured");
    // A document with mistakes is none, even where it would be wiped.
    assert!(
        owners
            .read(anna, &json!({ "mode": "never", "notice": "loud" }))
            .is_err()
    );
}

#[test]
fn what_no_longer_reads_leaves_what_is_configured() {
    let check = |owner: &str, document: &str, mode: Mode, notice: Notice| {
        let (mut config, owners) = owners();
        owners.overlay(&mut config, &[stored(owner, document)]);
        let settled = config.users[0].recording.settled();
        assert_eq!((settled.mode, settled.notice), (mode, notice), "{document}");
        let queue = config.users[1].recording.settled();
        assert_eq!(queue.mode, Mode::Never, "{document}");
    };
    check(
        "anna",
        "{\"mode\":\"on-demand\",\"notice\":\"none\"}",
        Mode::OnDemand,
        Notice::None,
    );
    check("anna", "{}", Mode::Always, Notice::Beep);
    check("anna", "{\"mode\":\"never\"}", Mode::Never, Notice::Beep);
    for broken in [
        "",
        "{",
        "null",
        "{\"mode\":\"often\",\"notice\":\"none\"}",
        "{\"moed\":\"never\"}",
    ] {
        check("anna", broken, Mode::Always, Notice::Beep);
    }
    check("gone", "{\"mode\":\"never\"}", Mode::Always, Notice::Beep);
    check(
        "line",
        "{\"mode\":\"on-demand\"}",
        Mode::Always,
        Notice::Beep,
    );
}
