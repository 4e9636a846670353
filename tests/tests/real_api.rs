//! The HTTP API of the built program: a running call is found, paused and resumed; settings are changed
//! for the next call, kept over a restart and wiped by switching recording off (issue 5).

use std::time::{Duration, Instant};

use duolog::phone::{CodedVoice, Voice};
use duolog_tests::real::api::{ADMIN, address as api, ask, ask_with};
use duolog_tests::real::phones::Phones;
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Site, kept};
use serde_json::{Value, json};

const BENS: &str = "bens-0123456789abcdef0";
const READER: &str = "reader-0123456789abcdef";

/// Longest wait for an answer on loopback.
const ANSWER: Duration = Duration::from_secs(10);

struct Stage {
    site: Site,
    duolog: Duolog,
}

impl Stage {
    /// A node with anna, whose calls are recorded as `user` says, ben, and three tokens.
    fn new(user: &'static str) -> Self {
        let site = Site::new(&Wishes {
            user,
            format: "wav-pcm16",
            ..Wishes::default()
        });
        let api = api(&site);
        site.amend(|text| {
            format!(
                "{text}[[user]]\nname = \"ben\"\npassword = \"correct-horse\"\n\
                 [api]\nlisten = \"{api}\"\n\
                 [[api.token]]\nname = \"admin\"\ntoken = \"{ADMIN}\"\nusers = [\"*\"]\n\
                 rights = [\"control\", \"settings\", \"read\"]\n\
                 [[api.token]]\nname = \"bens\"\ntoken = \"{BENS}\"\nusers = [\"ben\"]\n\
                 rights = [\"control\", \"settings\", \"read\"]\n\
                 [[api.token]]\nname = \"reader\"\ntoken = \"{READER}\"\nusers = [\"*\"]\n\
                 rights = [\"read\"]\n"
            )
        });
        let duolog = Duolog::start(&site);
        Self { site, duolog }
    }

    fn restart(self) -> Self {
        let Self { site, duolog } = self;
        duolog.stop();
        let duolog = Duolog::start(&site);
        Self { site, duolog }
    }

    /// Status and body of a request with a token.
    fn ask(&self, what: &str, token: &str, body: &str) -> (u16, Value) {
        ask(api(&self.site), what, token, body).unwrap_or_else(|| panic!("no answer to {what}"))
    }

    fn expect(&self, what: &str, token: &str, body: &str, status: u16) -> Value {
        let (found, answer) = self.ask(what, token, body);
        assert_eq!(found, status, "{what} {body}: {answer}");
        answer
    }

    fn control(&self, id: &str, action: &str, token: &str, status: u16) -> Value {
        let body = format!("{{\"action\": \"{action}\"}}");
        self.expect(
            &format!("POST /api/v1/calls/{id}/recording"),
            token,
            &body,
            status,
        )
    }

    /// Waits until the one call's recording is in a state; answers it as the list shows it.
    fn until(&mut self, state: &str) -> Value {
        let api = api(&self.site);
        self.duolog.process.until(ANSWER, state, || {
            let (status, body) = ask(api, "GET /api/v1/calls", ADMIN, "")?;
            let half = body["calls"].get(0)?.clone();
            (status == 200 && half["state"] == state).then_some(half)
        })
    }

    /// A call in which both talk.
    fn call(&self) -> Phones {
        let voice = |party| vec![Voice::Coded(CodedVoice::new(party, 0))];
        let phones = Phones::new(&self.site, voice(0), voice(1));
        phones.all_talk();
        phones
    }

    /// The list of calls.
    fn calls(&self, token: &str) -> Value {
        self.expect("GET /api/v1/calls", token, "", 200)
    }
}

/// Lets the call go on.
fn goes_on(phones: &Phones, ms: u64) {
    phones.go_on_until(Instant::now() + Duration::from_millis(ms));
}

const ANNAS: &str = "/api/v1/users/anna/recording";

#[test]
fn a_running_call_is_found_paused_and_resumed_by_those_who_may() {
    let mut stage = Stage::new("mode = \"always-pause-resume\"");
    assert_eq!(stage.calls(ADMIN), json!({ "calls": [] }));
    let phones = stage.call();
    let half = stage.until("started");
    let id = half["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (&half["owner"], &half["party"]),
        (&json!("anna"), &json!("+31612345678"))
    );
    assert_eq!(
        stage.expect(&format!("GET /api/v1/calls/{id}"), READER, "", 200),
        half
    );

    stage.control(&id, "pause", "nobody-0123456789abcdef", 401);
    assert_eq!(
        stage.control(&id, "pause", READER, 403)["reason"],
        "no-right"
    );
    assert_eq!(
        stage.control(&id, "pause", BENS, 404)["reason"],
        "no-such-call"
    );
    assert_eq!(stage.calls(BENS), json!({ "calls": [] }));
    assert_eq!(
        stage.control(&id, "stop", ADMIN, 403)["reason"],
        "mode-forbids"
    );
    stage.control(
        "rec_018f3c6a-0000-7000-8000-000000000000",
        "pause",
        ADMIN,
        404,
    );
    stage.control("anything", "pause", ADMIN, 404);
    assert_eq!(stage.until("started"), half, "nothing was changed");

    goes_on(&phones, 1_000);
    for _ in 0..2 {
        let paused = stage.control(&id, "pause", ADMIN, 200);
        assert_eq!(paused, json!({ "id": id, "state": "paused" }));
    }
    stage.until("paused");
    goes_on(&phones, 1_000);
    assert_eq!(stage.control(&id, "resume", ADMIN, 200)["state"], "started");
    goes_on(&phones, 1_000);
    phones.all_hang_up();
    assert_eq!(stage.calls(ADMIN), json!({ "calls": [] }));
    stage.control(&id, "resume", ADMIN, 404);
    let counted = |name: &str| stage.duolog.metric(name);
    assert_eq!(
        counted("duolog_controls_total"),
        Some(3.0),
        "one was refused, one changed nothing"
    );
    assert!(counted("duolog_api_requests_total").is_some_and(|asked| asked >= 14.0));

    let Stage { site, mut duolog } = stage;
    let logged = duolog.process.output().join("\n");
    duolog.stop();
    assert!(
        logged.contains("API asked") && !logged.contains(ADMIN),
        "{logged}"
    );
    one_pause(&site, &id);
}

/// The one recording has its audio, but for about a second in which it was paused.
fn one_pause(site: &Site, id: &str) {
    let rows = kept::list(site);
    let [row] = rows.as_slice() else {
        panic!("one recording: {rows:?}")
    };
    assert_eq!((row.id.as_str(), row.state.as_str()), (id, "complete"));
    let [owner, party] = row.samples();
    for (gaps, samples) in row.gaps(site).iter().zip([owner, party]) {
        let paused: Vec<_> = gaps.iter().filter(|gap| gap.reason == "paused").collect();
        let [gap] = paused.as_slice() else {
            panic!("one pause: {gaps:?}")
        };
        assert!(
            (4_000..24_000).contains(&gap.samples),
            "about a second: {gap:?}"
        );
        let (from, to) = (gap.from, gap.from + gap.samples);
        let loudest = |part: &[i16]| part.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        assert!(loudest(&samples[..from]) > 500 && loudest(&samples[to..]) > 500);
        assert_eq!(loudest(&samples[from..to]), 0);
    }
}

#[test]
fn settings_hold_from_the_next_call_and_over_a_restart_and_off_wipes_them() {
    let stage = Stage::new("notice = \"none\"");
    let shown = stage.expect(&format!("GET {ANNAS}"), READER, "", 200);
    assert_eq!(
        (&shown["document"], &shown["effective"]["mode"]),
        (&json!({}), &json!("never"))
    );
    let put = format!("PUT {ANNAS}");
    let wrong = r#"{"mode": "sometimes", "repeat_tone": "9s", "notices": "beep", "dtmf": null}"#;
    let refused = stage.expect(&put, ADMIN, wrong, 400);
    let mistakes = refused["mistakes"].as_array().expect("a list");
    let keys: Vec<&str> = mistakes.iter().filter_map(|m| m["key"].as_str()).collect();
    assert_eq!(
        keys,
        ["dtmf", "mode", "notices", "repeat_tone"],
        "{refused}"
    );
    stage.expect(&put, READER, "{}", 403);
    stage.expect(&put, BENS, "{}", 403);
    stage.expect("PUT /api/v1/users/nobody/recording", ADMIN, "{}", 404);

    // A running call keeps the settings it began with.
    let phones = stage.call();
    let wanted = r#"{"mode": "always", "repeat_tone": "10s", "announce": "off"}"#;
    let stored = stage.expect(&put, ADMIN, wanted, 200);
    assert_eq!(
        (&stored["effective"]["mode"], &stored["version"]),
        (&json!("always"), &json!(1))
    );
    let stored = only_over(&stage, "1", wanted);
    goes_on(&phones, 300);
    assert_eq!(stage.calls(ADMIN), json!({ "calls": [] }));
    phones.all_hang_up();
    drop(phones);
    let stage = recorded_call(stage);

    let stage = recorded_call(stage.restart());
    let shown = stage.expect(&format!("GET {ANNAS}"), ADMIN, "", 200);
    assert_eq!(
        (&shown["document"], &shown["version"]),
        (&stored["document"], &json!(2))
    );
    assert_eq!(shown["effective"]["repeat_tone"], "10s");

    let off = stage.expect(&format!("DELETE {ANNAS}"), ADMIN, "", 200);
    assert_eq!(off["document"], json!({ "mode": "never" }));
    assert_eq!(off["effective"]["repeat_tone"], "off");
    let phones = stage.call();
    goes_on(&phones, 300);
    assert_eq!(stage.calls(ADMIN), json!({ "calls": [] }));
    phones.all_hang_up();
    drop(phones);
    let stage = stage.restart();
    let shown = stage.expect(&format!("GET {ANNAS}"), ADMIN, "", 200);
    assert_eq!(shown["document"], json!({ "mode": "never" }));

    let Stage { site, duolog } = stage;
    duolog.stop();
    let rows = kept::list(&site);
    assert_eq!(rows.len(), 2, "{rows:?}");
    for row in rows {
        assert_eq!(row.state, "complete");
        assert!(row.samples()[0].len() > 1_000);
    }
}

/// Stores a document again, over this version: one that has been replaced since it was looked at is not
/// lost.
fn only_over(stage: &Stage, version: &str, document: &str) -> Value {
    let over = |version: &str| {
        let lines = format!("If-Match: \"{version}\"\r\n");
        let put = format!("PUT {ANNAS}");
        let answer = ask_with(api(&stage.site), &put, (ADMIN, &lines), document);
        answer.expect("an answer")
    };
    let (status, answer) = over("0");
    assert_eq!((status, &answer["reason"]), (412, &json!("outdated")));
    let (status, stored) = over(version);
    assert_eq!((status, &stored["version"]), (200, &json!(2)));
    stored
}

/// A call that must be recorded.
fn recorded_call(mut stage: Stage) -> Stage {
    let phones = stage.call();
    stage.until("started");
    goes_on(&phones, 500);
    phones.all_hang_up();
    stage
}
