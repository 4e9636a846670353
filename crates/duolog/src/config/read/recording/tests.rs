use duolog_call::{
    AUTO_RESUME, DoNotRecordReason, Dtmf, Emergency, Mode, Notice, OnFailure, RecordingSettings,
    Voicemail,
};
use serde_json::json;

use super::*;
use crate::config::{self, EMBEDDED, read, written, written_whole};

const USER: &str = "[[user]]\nname = \"x\"\ncontact = \"udp:127.0.0.1:1\"\n";

/// How the only user of a text is recorded.
fn settled(text: &str) -> RecordingSettings {
    let config = read(text).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:#?}"));
    config.users[0].recording.settled()
}

/// The mistakes of a text, each as it is told.
fn told(text: &str) -> Vec<String> {
    let mistakes = read(text).err().unwrap_or_default();
    mistakes.iter().map(ToString::to_string).collect()
}

/// A key with two values other than its default; what follows from each.
type Key = (
    &'static str,
    [&'static str; 2],
    fn(&RecordingSettings) -> String,
);

const KEYS: &[Key] = &[
    ("mode", ["\"always\"", "\"on-demand\""], |s| {
        format!("{:?}", s.mode)
    }),
    (
        "selective",
        [
            "{ inbound_internal = \"on\", inbound_external = \"off\", outbound_internal = \"on\", outbound_external = \"off\" }",
            "{ inbound_internal = \"off\", inbound_external = \"off\", outbound_internal = \"on\", outbound_external = \"on\" }",
        ],
        |s| format!("{:?}", s.selective),
    ),
    // The default comes second: it must win over the other level's all the same.
    ("emergency", ["\"left\"", "\"recorded\""], |s| {
        format!("{:?}", s.emergency)
    }),
    ("voicemail", ["\"recorded\"", "\"left\""], |s| {
        format!("{:?}", s.voicemail)
    }),
    (
        "do_not_record",
        [
            "[{ number = \"+31612345678\", reason = \"personal\" }]",
            "[]",
        ],
        |s| format!("{:?}", s.do_not_record),
    ),
    (
        "announce",
        ["\"on\"", "{ pstn = \"on\", after_resume = \"on\" }"],
        |s| format!("{:?}", s.announce),
    ),
    (
        "compliance",
        [
            "{ inbound = \"on\" }",
            "{ outbound = \"on\", delay = \"3s\" }",
        ],
        |s| format!("{:?}", s.compliance),
    ),
    ("notice", ["\"beep\"", "\"announcement\""], |s| {
        format!("{:?}", s.notice)
    }),
    ("repeat_tone", ["\"30s\"", "\"off\""], |s| {
        format!("{:?}", s.repeat_tone)
    }),
    ("auto_resume", ["\"off\"", "\"30s\""], |s| {
        format!("{:?}", s.auto_resume)
    }),
    ("on_failure", ["\"go-on\"", "\"end-announced\""], |s| {
        format!("{:?}", s.on_failure)
    }),
    ("dtmf", ["\"mask\"", "\"keep\""], |s| {
        format!("{:?}", s.dtmf)
    }),
];

#[test]
fn each_key_may_stand_at_each_level_and_the_nearest_wins() {
    for (key, [one, other], shown) in KEYS {
        let tenant = |value: &str| format!("[recording]\n{key} = {value}\n");
        let group = |value: &str| format!("[[group]]\nname = \"g\"\n{key} = {value}\n");
        let none = "[[group]]\nname = \"g\"\n";
        let of = |user: &str| format!("{USER}group = \"g\"\n{user}");
        let own = |value: &str| format!("{key} = {value}\n");
        let get = |text: String| shown(&settled(&text));
        let (first, second) = (
            get(format!("{USER}{}", own(one))),
            get(format!("{USER}{}", own(other))),
        );
        assert_ne!(first, second, "{key}");
        let check =
            |text: String, expected: &String| assert_eq!(&get(text.clone()), expected, "{text}");
        check(format!("{}{USER}", tenant(one)), &first);
        check(format!("{}{none}{}", tenant(one), of("")), &first);
        check(format!("{}{}", group(one), of("")), &first);
        check(
            format!("{}{}{}", tenant(one), group(other), of("")),
            &second,
        );
        check(format!("{}{}{}", tenant(other), group(one), of("")), &first);
        check(format!("{}{none}{}", tenant(one), of(&own(other))), &second);
        check(
            format!("{}{}{}", tenant(one), group(one), of(&own(other))),
            &second,
        );
        check(
            format!("{}{}{}", tenant(other), group(other), of(&own(one))),
            &first,
        );
        // A group that is not theirs says nothing.
        check(format!("{}{}{USER}", tenant(one), group(other)), &first);
    }
}

#[test]
fn levels_are_joined_key_by_key() {
    let text = format!(
        "[recording]\nmode = \"always\"\nnotice = \"beep\"\nlanguage = \"nl\"\n[[group]]\nname = \"sales\"\n\
         notice = \"announcement\"\ndtmf = \"mask\"\n{USER}group = \"sales\"\ndtmf = \"keep\"\n\
         on_failure = \"go-on-announced\"\n"
    );
    let expected = RecordingSettings {
        mode: Mode::Always,
        notice: Notice::Announcement,
        dtmf: Dtmf::Keep,
        on_failure: OnFailure::GoOnAnnounced,
        ..RecordingSettings::default()
    };
    assert_eq!(settled(&text), expected);
    let config = read(&text).expect("it is right");
    assert_eq!(config.users[0].recording.language.as_deref(), Some("nl"));
    assert_eq!(config.users[0].group.as_deref(), Some("sales"));
    assert_eq!(config.recording.groups, ["sales"]);
    assert_eq!(
        settled(USER),
        RecordingSettings::default(),
        "off where nobody says anything"
    );
}

#[test]
fn values_mean_what_they_say() {
    let user = |lines: &str| settled(&format!("{USER}{lines}\n"));
    for (word, mode) in [
        ("never", Mode::Never),
        ("on-demand", Mode::OnDemand),
        ("on-demand-user-start", Mode::OnDemandUserStart),
        ("always", Mode::Always),
        ("always-pause-resume", Mode::AlwaysPauseResume),
    ] {
        assert_eq!(user(&format!("mode = \"{word}\"")).mode, mode);
    }
    for (word, policy) in [
        ("refuse", OnFailure::Refuse),
        ("go-on", OnFailure::GoOn),
        ("go-on-announced", OnFailure::GoOnAnnounced),
        ("end-announced", OnFailure::EndAnnounced),
    ] {
        assert_eq!(user(&format!("on_failure = \"{word}\"")).on_failure, policy);
    }
    assert_eq!(user("announce = \"on\"").announce, StartStop::BOTH);
    assert_eq!(user("announce = \"off\"").announce, StartStop::OFF);
    let pstn = StartStop {
        pstn: Announce::On,
        ..StartStop::OFF
    };
    assert_eq!(user("announce = { pstn = \"on\" }").announce, pstn);
}

#[test]
fn announcements_and_lists_mean_what_they_say() {
    let user = |lines: &str| settled(&format!("{USER}{lines}\n"));
    let compliance =
        user("compliance = { inbound = \"on\", outbound = \"on\", delay = \"60s\" }").compliance;
    assert_eq!(
        (compliance.inbound, compliance.outbound),
        (Announce::On, Announce::On)
    );
    assert_eq!(compliance.outbound_delay, Duration::from_secs(60));
    let selective = user(
        "selective = { inbound_internal = \"on\", inbound_external = \"off\", outbound_internal = \"off\", \
         outbound_external = \"on\" }",
    );
    let Selective {
        inbound_internal,
        inbound_external,
        outbound_internal,
        outbound_external,
    } = selective.selective;
    use Selected::{No, Yes};
    let flags = [
        inbound_internal,
        inbound_external,
        outbound_internal,
        outbound_external,
    ];
    assert_eq!(flags, [Yes, No, No, Yes]);
    assert_eq!(user("auto_resume = \"off\"").auto_resume, None);
    assert_eq!(
        user("auto_resume = \"5m\"").auto_resume,
        Some(Duration::from_secs(300))
    );
    assert_eq!(user("").auto_resume, Some(AUTO_RESUME));
    assert_eq!(user("emergency = \"left\"").emergency, Emergency::Left);
    assert_eq!(
        user("voicemail = \"recorded\"").voicemail,
        Voicemail::Recorded
    );
    let listed = "[[user.do_not_record]]\nnumber = \"100\"\nreason = \"vendor\"\n\
                  [[user.do_not_record]]\nnumber = \"+3161\"\nreason = \"business-private\"";
    let listed = user(listed).do_not_record;
    assert_eq!(
        listed[0],
        DoNotRecord {
            number: "100".into(),
            reason: DoNotRecordReason::Vendor
        }
    );
    assert_eq!(
        (listed.len(), listed[1].reason),
        (2, DoNotRecordReason::BusinessPrivate)
    );
}

/// Lines of a user, and what the only mistake in them says.
const MISTAKES: &[(&str, &str)] = &[
    (
        "mode = \"Always\"",
        "mode: \"Always\" is not allowed; one of never, on-demand, on-demand-user-start, always, always-pause-resume",
    ),
    ("mode = true", "mode: true is not allowed; one of never"),
    ("selective = \"on\"", "selective: must be a table"),
    (
        "selective = { inbound_internal = \"on\", inbound_external = \"on\", outbound_internal = \"on\" }",
        "selective.outbound_external: is missing; all four are: on or off",
    ),
    (
        "selective = { inbound_internal = true, inbound_external = \"on\", outbound_internal = \"on\", outbound_external = \"on\" }",
        "selective.inbound_internal: true is not allowed; all four are: on or off",
    ),
    (
        "emergency = \"off\"",
        "emergency: \"off\" is not allowed; one of recorded, left",
    ),
    (
        "voicemail = \"on\"",
        "voicemail: \"on\" is not allowed; one of recorded, left",
    ),
    (
        "do_not_record = [\"100\"]",
        "do_not_record: must be written as [[user.do_not_record]] tables",
    ),
    (
        "do_not_record = [{ number = \"100\" }]",
        "do_not_record[0].reason: is missing; one of business-private, personal, vendor",
    ),
    (
        "do_not_record = [{ number = \"anna\", reason = \"vendor\" }]",
        "do_not_record[0].number: \"anna\" is not allowed; write a number",
    ),
    (
        "do_not_record = [{ number = \"1\", reason = \"vendor\" }, { number = \"1\", reason = \"vendor\" }]",
        "do_not_record[1].number: 1 is listed already",
    ),
    (
        "do_not_record = [{ number = \"1\", reason = \"vendor\", why = \"x\" }]",
        "do_not_record[0].why: unknown key",
    ),
    (
        "announce = \"yes\"",
        "announce: \"yes\" is not allowed; one of on, off, or { internal, pstn, after_resume }",
    ),
    (
        "announce = { external = \"on\" }",
        "announce.external: unknown key",
    ),
    (
        "announce = { internal = \"yes\" }",
        "announce.internal: \"yes\" is not allowed; one of on, off",
    ),
    (
        "compliance = { delay = \"61s\" }",
        "compliance.delay: \"61s\" is not allowed; write 0s to 60s",
    ),
    ("compliance = \"on\"", "compliance: must be a table"),
    (
        "notice = \"tone\"",
        "notice: \"tone\" is not allowed; one of none, beep, announcement",
    ),
    (
        "repeat_tone = \"91s\"",
        "repeat_tone: \"91s\" is not allowed; write 10s to 90s, on for 20s, or off",
    ),
    (
        "auto_resume = \"0s\"",
        "auto_resume: \"0s\" is not allowed; write 1s to 86400s, or off",
    ),
    (
        "auto_resume = \"25h\"",
        "auto_resume: \"25h\" is not allowed",
    ),
    (
        "on_failure = \"end\"",
        "on_failure: \"end\" is not allowed; one of refuse, go-on, go-on-announced, end-announced",
    ),
    (
        "dtmf = \"drop\"",
        "dtmf: \"drop\" is not allowed; one of keep, mask",
    ),
    (
        "language = \"Dutch\"",
        "language: \"Dutch\" is not allowed; write a language",
    ),
    (
        "kind = \"robot\"",
        "kind: \"robot\" is not allowed; one of user, workspace, virtual-line, queue",
    ),
    ("group = \"nobody\"", "group: there is no group nobody"),
    (
        "longest_repeat_tone = \"100s\"",
        "longest_repeat_tone: unknown key",
    ),
];

#[test]
fn every_mistake_names_its_key_and_what_is_allowed() {
    for (lines, expected) in MISTAKES {
        let told = told(&format!("{USER}{lines}\n"));
        let [only] = told.as_slice() else {
            panic!("{lines}: {told:#?}")
        };
        let expected = format!("line 4: user[0].{expected}");
        assert!(
            only.starts_with(&expected),
            "{only}\nshould start with\n{expected}"
        );
        // The same at the other levels, but for what only a user has.
        if lines.starts_with("kind") || lines.starts_with("group") || lines.starts_with("longest") {
            continue;
        }
        let expected = expected.replace("line 4: user[0]", "line 3: group[0]");
        let expected = expected.replace("[[user.", "[[group.");
        let told = self::told(&format!("[[group]]\nname = \"g\"\n{lines}\n"));
        assert!(told[0].starts_with(&expected), "{told:?}");
        let expected = expected.replace("line 3: group[0]", "line 2: recording");
        let expected = expected.replace("[[group.", "[[recording.");
        let told = self::told(&format!("[recording]\n{lines}\n"));
        assert!(told[0].starts_with(&expected), "{told:?}");
    }
}

#[test]
fn kinds_of_owners_have_what_they_may_have() {
    let owner = |kind: &str, lines: &str| {
        told(&format!(
            "[[user]]\nname = \"x\"\nkind = \"{kind}\"\n{lines}\n"
        ))
    };
    for mode in ["never", "always", "always-pause-resume"] {
        assert_eq!(owner("queue", &format!("mode = \"{mode}\"")), [""; 0]);
    }
    for mode in ["on-demand", "on-demand-user-start"] {
        let refused = format!(
            "\"{mode}\" is not allowed for a queue; one of never, always, always-pause-resume"
        );
        let told_of = owner("queue", &format!("mode = \"{mode}\""));
        assert_eq!(told_of, [format!("line 4: user[0].mode: {refused}")]);
        // Where the mode comes from a level below.
        let below = told(&format!(
            "[recording]\nmode = \"{mode}\"\n[[user]]\nname = \"x\"\nkind = \"queue\"\n"
        ));
        assert_eq!(below, [format!("line 3: user[0].mode: {refused}")]);
        assert_eq!(
            owner("virtual-line", &format!("mode = \"{mode}\"")),
            [""; 0]
        );
    }
    for kind in ["queue", "virtual-line"] {
        for key in ["contact = \"udp:127.0.0.1:1\"", "password = \"x\""] {
            let told = owner(kind, key);
            assert!(
                told.len() == 1 && told[0].contains("no phone of its own"),
                "{told:?}"
            );
        }
    }
    assert_eq!(owner("workspace", "contact = \"udp:127.0.0.1:1\""), [""; 0]);
    let told = owner("workspace", "");
    assert!(told[0].contains("user[0].contact: is missing"), "{told:?}");
}

#[test]
fn a_tenant_opens_the_range_of_the_repeat_tone() {
    let open = "[recording]\nlongest_repeat_tone = \"600s\"\n";
    let user = |tone: &str| format!("{open}{USER}repeat_tone = \"{tone}\"\n");
    let tone = settled(&user("600s")).repeat_tone.expect("it sounds");
    assert_eq!(tone.seconds(), 600);
    let told_of = told(&user("601s"));
    assert!(
        told_of[0].contains("write 10s to 600s, on for 20s, or off"),
        "{told_of:?}"
    );
    for longest in ["89s", "1801s"] {
        let told = told(&format!(
            "[recording]\nlongest_repeat_tone = \"{longest}\"\n"
        ));
        assert!(told[0].contains("write 90s to 1800s"), "{told:?}");
    }
}

#[test]
fn all_four_codes_are_read_and_none_hides_another() {
    let codes =
        |lines: &str| read(&format!("[codes]\n{lines}\n")).map(|config| config.recording.codes);
    let usual = codes("").expect("there are defaults");
    let of =
        |codes: &Codes| [&codes.start, &codes.stop, &codes.pause, &codes.resume].map(String::clone);
    assert_eq!(of(&usual), ["*44", "*45", "*48", "*49"]);
    let own = codes("start = \"#1\"\nstop = \"#2\"\npause = \"#3\"\nresume = \"#4\"")
        .expect("they differ");
    assert_eq!(of(&own), ["#1", "#2", "#3", "#4"]);
    let wait = |lines: &str| codes(lines).map(|codes| codes.wait.as_millis());
    assert_eq!(wait("").ok(), Some(3_000));
    assert_eq!(wait("wait = \"1500ms\"").ok(), Some(1_500));
    assert_eq!(wait("wait = \"10s\"").ok(), Some(10_000));
    for (lines, expected) in [
        ("stop = \"*44\"", "codes.stop: *44 already starts"),
        ("pause = \"*45\"", "codes.pause: *45 already stops"),
        ("resume = \"*48\"", "codes.resume: *48 already pauses"),
        ("start = \"*4\"", "begin alike"),
        (
            "start = \"44\"",
            "codes.start: \"44\" is not allowed; write * or #",
        ),
        (
            "wait = \"500ms\"",
            "codes.wait: \"500ms\" is not allowed; write 1s to 10s",
        ),
        (
            "wait = \"11s\"",
            "codes.wait: \"11s\" is not allowed; write 1s to 10s",
        ),
        ("wait = 3", "codes.wait"),
    ] {
        let told = told(&format!("[codes]\n{lines}\n"));
        assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
    }
}

#[test]
fn a_document_is_read_by_the_same_rules() {
    let none = Layer::default();
    let user = |json: &serde_json::Value| document(json, OwnerKind::User, &none, 90);
    let all = json!({
        "mode": "always-pause-resume",
        "selective": { "inbound_internal": "on", "inbound_external": "off",
            "outbound_internal": "off", "outbound_external": "on" },
        "emergency": "left", "voicemail": "recorded",
        "do_not_record": [{ "number": "+31612345678", "reason": "personal" }],
        "announce": { "internal": "off", "pstn": "on", "after_resume": "on" },
        "compliance": { "inbound": "on", "outbound": "off", "delay": "1500ms" },
        "notice": "beep", "repeat_tone": "30s", "auto_resume": "off", "on_failure": "go-on",
        "dtmf": "mask", "language": "nl",
    });
    let read = user(&all).expect("it is right");
    assert_eq!(written(&read), all, "as it was written");
    assert_eq!(user(&written(&read)), Ok(read.clone()));
    assert_eq!(
        written(&user(&json!({})).expect("nothing is said")),
        json!({})
    );
    let whole = written_whole(&none, "nl");
    let again = user(&whole).expect("what is shown can be stored");
    assert_eq!(
        (again.settled(), again.language.as_deref()),
        (none.settled(), Some("nl"))
    );
}

#[test]
fn mistakes_of_a_document_name_their_keys() {
    let none = Layer::default();
    let user = |json: &serde_json::Value| document(json, OwnerKind::User, &none, 90);
    for (json, expected) in [
        (json!([]), vec!["document: must be a JSON object"]),
        (json!(null), vec!["document: must be a JSON object"]),
        (
            json!({ "mode": null }),
            vec!["mode: null is not allowed; leave the key out"],
        ),
        (
            json!({ "mode": 7 }),
            vec!["mode: 7 is not allowed; one of never"],
        ),
        (
            json!({ "mode": ["never"] }),
            vec!["mode: [\"never\"] is not allowed"],
        ),
        (json!({ "mode": 1e300 }), vec!["mode: "]),
        (
            json!({ "announce": { "pstn": null } }),
            vec!["announce: null is not allowed"],
        ),
        (
            json!({ "notice": "x", "mod": "never", "do_not_record": [{ "number": "1" }] }),
            vec![
                "do_not_record[0].reason: is missing",
                "mod: unknown key; did you mean mode?",
                "notice: \"x\"",
            ],
        ),
        (
            json!({ "do_not_record": ["1"], "selective": "on" }),
            vec![
                "do_not_record: must be a list of objects",
                "selective: must be an object",
            ],
        ),
        (
            json!({ "repeat_tone": "91s" }),
            vec!["repeat_tone: \"91s\" is not allowed; write 10s to 90s"],
        ),
        (
            json!({ "group": "g", "longest_repeat_tone": "1s" }),
            vec!["group: unknown key", "longest_repeat_tone: unknown"],
        ),
    ] {
        let mistakes = user(&json).expect_err("it has mistakes");
        let told: Vec<String> = mistakes
            .iter()
            .map(|m| format!("{}: {}", m.key, m.what))
            .collect();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(
                told.starts_with(expected),
                "{told}\nshould start with\n{expected}"
            );
        }
    }
    let wide = document(
        &json!({ "repeat_tone": "91s" }),
        OwnerKind::User,
        &none,
        1800,
    );
    assert!(wide.is_ok());
}

#[test]
fn a_document_of_a_queue_is_a_queue_s() {
    let below = Layer {
        mode: Some(Mode::Always),
        ..Layer::default()
    };
    let queue = |json| document(&json, OwnerKind::Queue, &below, 90);
    assert!(queue(json!({ "notice": "beep" })).is_ok());
    let refused = queue(json!({ "mode": "on-demand" })).expect_err("a queue has no such mode");
    assert!(
        refused[0].what.contains("not allowed for a queue"),
        "{refused:?}"
    );
}

#[test]
fn tokens_are_read_and_never_shown() {
    let token = "[[api.token]]\nname = \"crm\"\n";
    let right = "token = \"0123456789abcdef\"\nusers = [\"x\"]\nrights = [\"control\", \"read\"]\n";
    let config = read(&format!("{USER}{token}{right}")).expect("it is right");
    let api = &config.doors.api;
    assert_eq!(api.listen.to_string(), "127.0.0.1:9061");
    assert_eq!(
        api.tokens[0].users.as_deref(),
        Some(["x".to_owned()].as_slice())
    );
    assert_eq!(
        api.tokens[0].rights,
        [config::ApiRight::Control, config::ApiRight::Read]
    );
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
    let all = right.replace("\"x\"", "\"*\"");
    let config = read(&format!("{token}{all}")).expect("for all");
    assert_eq!(config.doors.api.tokens[0].users, None);
}

#[test]
fn mistakes_of_tokens_are_named() {
    let token = "[[api.token]]\nname = \"crm\"\n";
    let right = "token = \"0123456789abcdef\"\nusers = [\"x\"]\nrights = [\"control\", \"read\"]\n";
    for (from, to, expected) in [
        (
            "0123456789abcdef",
            "0123456789abcde",
            "api.token[0].token: needs 16 or more",
        ),
        (
            "0123456789abcdef",
            "0123456789 bcdef",
            "api.token[0].token: needs 16 or more",
        ),
        (
            "token = \"0123456789abcdef\"\n",
            "",
            "api.token[0].token: is missing",
        ),
        (
            "token = \"",
            "token_file = \"/nowhere/",
            "api.token[0].token_file: /nowhere/",
        ),
        ("\"x\"", "\"y\"", "api.token[0].users: there is no user y"),
        (
            "[\"x\"]",
            "[]",
            "api.token[0].users: needs at least one name",
        ),
        (
            "\"control\"",
            "\"all\"",
            "api.token[0].rights: \"all\" is not allowed; write control, settings or read",
        ),
        (
            "[\"control\", \"read\"]",
            "[]",
            "api.token[0].rights: needs at least one",
        ),
    ] {
        let text = format!("{USER}{token}{}", right.replace(from, to));
        let told = told(&text);
        assert!(
            told.iter().any(|told| told.contains(expected)),
            "{told:?}\n{expected}"
        );
        assert!(!told.concat().contains("0123456789 bcdef"), "{told:?}");
    }
    let twice = told(&format!("{USER}{token}{right}{token}{right}"));
    assert!(
        twice[0].contains("crm is already a token") && twice[1].contains("same as that of crm"),
        "{twice:?}"
    );
    let same = format!("[api]\nlisten = \"127.0.0.1:9060\"\n{USER}{token}{right}");
    assert!(told(&same)[0].contains("api.listen: is where operations listens"));
}

#[test]
fn the_embedded_configuration_explains_every_key() {
    let mut all: Vec<&str> = KEYS.iter().map(|(key, ..)| *key).collect();
    all.extend([
        "language",
        "kind",
        "group",
        "longest_repeat_tone",
        "start",
        "stop",
    ]);
    all.push("token");
    for key in all {
        let written = EMBEDDED.lines().any(|line| {
            let line = line.trim_start_matches("# ");
            line.strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(" = "))
        });
        assert!(written, "{key} is not in deploy/embedded.toml");
    }
}
