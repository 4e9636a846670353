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
    let own = stored("anna", "{\"repeat_tone\":\"100s\",\"dtmf\":\"keep\"}");
    let kept = owners.stored(anna, &own);
    assert_eq!(kept.document, document);
    let shown = owners.shown(anna, Some(&kept));
    assert_eq!(
        shown["document"],
        json!({ "repeat_tone": "100s", "dtmf": "keep" })
    );
    assert_eq!(shown["effective"]["mode"], "always");
    assert_eq!(shown["effective"]["language"], "nl");
    assert_eq!(
        (&shown["owner"], &shown["version"]),
        (&json!("anna"), &json!(3))
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
    // The keys that still read hold all the same.
    check(
        "anna",
        "{\"mode\":\"often\",\"notice\":\"none\"}",
        Mode::Always,
        Notice::None,
    );
    for broken in ["", "{", "null", "[]", "{\"moed\":\"never\"}"] {
        check("anna", broken, Mode::Always, Notice::Beep);
    }
    check(
        "anna",
        "{\"mode\":\"never\",\"moed\":1}",
        Mode::Never,
        Notice::Beep,
    );
    check("gone", "{\"mode\":\"never\"}", Mode::Always, Notice::Beep);
    check(
        "line",
        "{\"mode\":\"on-demand\"}",
        Mode::Always,
        Notice::Beep,
    );
}

#[test]
fn one_key_that_no_longer_reads_costs_nothing_but_itself() {
    let (_, owners) = owners();
    let anna = owners.find("anna").expect("she is configured");
    let document = json!({
        "mode": "on-demand", "notice": "loud", "codec": "opus", "dtmf": "keep",
        "announce": { "pstn": "on", "internal": "maybe" },
        "do_not_record": [
            { "number": "+31612345678", "reason": "personal" },
            { "number": "+31687654321", "reason": "whim" },
            { "number": "+31611111111", "reason": "vendor" },
        ],
    });
    let kept = owners.stored(anna, &stored("anna", &document.to_string()));
    let own = json!({
        "mode": "on-demand", "dtmf": "keep",
        "do_not_record": [
            { "number": "+31612345678", "reason": "personal" },
            { "number": "+31611111111", "reason": "vendor" },
        ],
    });
    assert_eq!(config::written(&kept.document.own), own);
    let shown = owners.shown(anna, Some(&kept));
    assert_eq!((&shown["document"], &shown["version"]), (&own, &json!(3)));
    assert_eq!(shown["effective"]["notice"], "beep", "as configured");
    let unreadable = shown["unreadable"].as_array().expect("a list");
    let keys: Vec<&str> = unreadable
        .iter()
        .filter_map(|one| one["key"].as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "announce.internal",
            "codec",
            "do_not_record[1].reason",
            "notice"
        ]
    );
    assert!(
        unreadable[3]["what"]
            .as_str()
            .is_some_and(|what| what.contains("loud"))
    );

    // Of what is no document at all, the version is shown.
    let kept = owners.stored(anna, &stored("anna", "{\"mode\":"));
    let shown = owners.shown(anna, Some(&kept));
    assert_eq!(
        (&shown["document"], &shown["version"]),
        (&json!({}), &json!(3))
    );
    assert_eq!(shown["unreadable"][0]["key"], "document");
    assert_eq!(shown["effective"]["mode"], "always");

    // A mode that the owner may not have.
    let line = owners.find("line").expect("it is configured");
    let text = "{\"mode\":\"on-demand\",\"dtmf\":\"mask\"}";
    let kept = owners.stored(line, &stored("line", text));
    let settings = kept.document.settings();
    assert_eq!((settings.mode, settings.dtmf), (Mode::Never, Dtmf::Mask));
    assert_eq!(kept.unreadable[0].key, "mode");
}
