use std::sync::Mutex;

use axum::body::{Body, to_bytes};
use axum::http::header;
use tower::ServiceExt;

use super::*;

const ADMIN: &str = "admin-0123456789abcdef";
const ANNAS: &str = "annas-0123456789abcdef";
const READER: &str = "reader-0123456789abcdef";

/// A node with a call of anna's and one of ben's, that remembers what it was asked.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<String>>,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Fake {
    fn note(&self, what: String) {
        self.asked.lock().expect("not poisoned").push(what);
    }
}

impl CallControl for Fake {
    async fn running(&self) -> Result<Vec<Half>, NotDone> {
        let half = |id: &str, owner: &str, state| Half {
            id: id.into(),
            call: 7,
            call_id: "c@x".into(),
            owner: owner.into(),
            party: "+31612345678".into(),
            state,
        };
        Ok(vec![
            half("rec_a", "anna", "started"),
            half("rec_b", "ben", "paused"),
        ])
    }

    async fn owner(&self, id: &str) -> Result<Option<String>, NotDone> {
        Ok(match id {
            "rec_b" => Some("ben".into()),
            "rec_busy" => return Err(NotDone::Busy),
            id if id.starts_with("rec_a") => Some("anna".into()),
            _ => None,
        })
    }

    async fn control(&self, id: &str, action: Action) -> Result<&'static str, NotDone> {
        self.note(format!("{id} {action:?}"));
        match id {
            "rec_always" => Err(NotDone::Forbidden {
                reason: "mode-forbids",
                detail: "the recording mode does not allow this".into(),
            }),
            "rec_a_ringing" => Err(NotDone::Conflict {
                reason: "not-answered",
                detail: "the call is not answered yet".into(),
            }),
            "rec_a_gone" => Err(NotDone::NoSuchCall),
            "rec_a_broken" => Err(NotDone::Failed("it broke".into())),
            _ if action == Action::Pause => Ok("paused"),
            _ => Ok("started"),
        }
    }

    async fn settings(&self, owner: &str) -> Result<Value, NotDone> {
        match owner {
            "anna" => Ok(json!({ "document": {}, "effective": { "mode": "always" } })),
            _ => Err(NotDone::NoSuchUser),
        }
    }

    async fn change(
        &self,
        owner: &str,
        document: &Value,
        Change { by, over }: Change,
    ) -> Result<Value, NotDone> {
        let over = over.map_or(String::new(), |over| format!(" over {over}"));
        self.note(format!("{owner} {document} {by}{over}"));
        if over == " over 9" {
            return Err(NotDone::Outdated(4));
        }
        if document["mode"] == "sometimes" {
            let mistake = |key: &str| (key.to_owned(), "is not allowed; one of ...".to_owned());
            return Err(NotDone::Mistaken(vec![mistake("mode"), mistake("notice")]));
        }
        if document["mode"] == "some day" {
            std::future::pending::<()>().await;
        }
        Ok(json!({ "document": document, "version": 5 }))
    }

    async fn switch_off(&self, owner: &str, change: Change) -> Result<Value, NotDone> {
        self.note(format!("{owner} off {}", change.by));
        if change.over == Some(9) {
            return Err(NotDone::Outdated(4));
        }
        Ok(json!({ "document": { "mode": "never" } }))
    }

    async fn message(&self, id: &str) -> Result<Option<String>, NotDone> {
        Ok(match id {
            "rec_a" | "rec_a_gone" => Some("anna".into()),
            "rec_b" => Some("ben".into()),
            "rec_busy" => return Err(NotDone::Busy),
            _ => None,
        })
    }

    async fn hear(&self, id: &str, heard: Heard) -> Result<(), NotDone> {
        self.note(format!("{id} heard {heard:?}"));
        match id {
            "rec_a_gone" => Err(NotDone::NoSuchMessage),
            _ => Ok(()),
        }
    }

    fn answered(&self, outcome: Outcome) {
        self.outcomes.lock().expect("not poisoned").push(outcome);
    }
}

fn tokens() -> Vec<Token> {
    use Right::{Control, Read, Settings};
    let annas = Some(vec!["anna".to_owned()]);
    vec![
        Token::new("admin", ADMIN, None, vec![Control, Settings, Read]),
        Token::new("annas", ANNAS, annas, vec![Control, Settings]),
        Token::new("reader", READER, None, vec![Read]),
    ]
}

/// Method, path and `If-Match`, if there is one, the `Authorization`, the body; status, body, and what the node was asked.
async fn asked(what: &str, authorization: Option<&str>, body: &str) -> (u16, Value, Vec<String>) {
    asked_within(LIMIT, what, authorization, body).await
}

async fn asked_within(
    limit: Duration,
    what: &str,
    authorization: Option<&str>,
    body: &str,
) -> (u16, Value, Vec<String>) {
    let mut words = what.split(' ');
    let mut word = || words.next();
    let (method, path) = (word().expect("a method"), word().expect("a path"));
    let fake = Arc::new(Fake::default());
    let mut request = Request::builder().method(method).uri(path);
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    if let Some(version) = word() {
        request = request.header(header::IF_MATCH, version);
    }
    let request = request
        .body(Body::from(body.to_owned()))
        .expect("a request");
    let router = router(Arc::clone(&fake), tokens(), limit);
    let response = router.oneshot(request).await.expect("infallible");
    let status = response.status().as_u16();
    let kind = response.headers()[header::CONTENT_TYPE]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(
        kind == "application/problem+json",
        status >= 400,
        "{what}: {kind}"
    );
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(
        response.headers().contains_key(header::WWW_AUTHENTICATE),
        status == 401
    );
    assert_eq!(
        response.headers().contains_key(header::RETRY_AFTER),
        status == 503
    );
    let bytes = to_bytes(response.into_body(), 1 << 20)
        .await
        .expect("a short body");
    let body: Value = serde_json::from_slice(&bytes).expect("JSON");
    if status >= 400 {
        assert_eq!(body["status"], status);
        for key in ["type", "title", "reason", "detail", "next"] {
            assert!(
                body[key].as_str().is_some_and(|t| !t.is_empty()),
                "{what}: {key} of {body}"
            );
        }
    }
    let outcomes = fake.outcomes.lock().expect("not poisoned").clone();
    let expected = match status {
        401 => Outcome::Unknown,
        ..400 => Outcome::Done,
        400..500 => Outcome::Refused,
        _ => Outcome::Failed,
    };
    assert_eq!(outcomes, [expected], "{what}");
    let asked = fake.asked.lock().expect("not poisoned").clone();
    (status, body, asked)
}

async fn check(what: &str, token: &str, body: &str, expected: (u16, &str), done: &[&str]) {
    let bearer = format!("Bearer {token}");
    let (status, answer, asked) = asked(what, Some(&bearer), body).await;
    let shown = format!("{what} {body} by {token}: {answer}");
    assert_eq!(status, expected.0, "{shown}");
    assert!(answer.to_string().contains(expected.1), "{shown}");
    assert_eq!(asked, done, "{shown}");
}

#[tokio::test]
async fn nobody_is_heard_without_a_token() {
    let off_by_one = format!("Bearer {ADMIN}x");
    let short = format!("Bearer {}", &ADMIN[1..]);
    let basic = format!("Basic {ADMIN}");
    let bare = ADMIN.to_owned();
    let wrong = [
        off_by_one,
        short,
        basic,
        bare,
        "Bearer ".into(),
        String::new(),
    ];
    let all = [
        "GET /api/v1/calls",
        "GET /api/v1/calls/rec_a",
        "POST /api/v1/calls/rec_a/recording",
        "GET /api/v1/users/anna/recording",
        "PUT /api/v1/users/anna/recording",
        "DELETE /api/v1/users/anna/recording",
        "POST /api/v1/messages/rec_a",
        "GET /anything",
        "PATCH /api/v1/calls",
    ];
    for what in all {
        for authorization in wrong.iter().map(|w| Some(w.as_str())).chain([None]) {
            let (status, body, done) = asked(what, authorization, "{\"action\":\"pause\"}").await;
            assert_eq!(
                (status, body["reason"].as_str()),
                (401, Some("no-token")),
                "{what}"
            );
            assert_eq!(done, [""; 0], "{what} {authorization:?}");
        }
    }
    let bearer = format!("bearer {ADMIN}");
    assert_eq!(asked("GET /api/v1/calls", Some(&bearer), "").await.0, 200);
}

#[tokio::test]
async fn calls_are_listed_for_those_they_concern() {
    let all = "GET /api/v1/calls";
    check(all, READER, "", (200, "\"owner\":\"ben\""), &[]).await;
    let (_, body, _) = asked(all, Some(&format!("Bearer {ANNAS}")), "").await;
    let half = json!({ "id": "rec_a", "call": 7, "call_id": "c@x", "owner": "anna",
        "party": "+31612345678", "state": "started" });
    assert_eq!(body, json!({ "calls": [half] }));
    check("GET /api/v1/calls/rec_a", ANNAS, "", (200, "rec_a"), &[]).await;
    check("GET /api/v1/calls/rec_b", ADMIN, "", (200, "paused"), &[]).await;
    check(
        "GET /api/v1/calls/rec_b",
        ANNAS,
        "",
        (404, "no-such-call"),
        &[],
    )
    .await;
    check(
        "GET /api/v1/calls/rec_c",
        ADMIN,
        "",
        (404, "no-such-call"),
        &[],
    )
    .await;
}

#[tokio::test]
async fn controls_are_carried_out_or_refused_with_the_reason() {
    let of = |id: &str| format!("POST /api/v1/calls/{id}/recording");
    let pause = "{\"action\": \"pause\"}";
    check(
        &of("rec_a"),
        ANNAS,
        pause,
        (200, "\"state\":\"paused\""),
        &["rec_a Pause"],
    )
    .await;
    for (word, action) in [("start", "Start"), ("stop", "Stop"), ("resume", "Resume")] {
        let (body, done) = (
            format!("{{\"action\":\"{word}\"}}"),
            format!("rec_a {action}"),
        );
        check(&of("rec_a"), ADMIN, &body, (200, "started"), &[&done]).await;
    }
    check(&of("rec_a"), READER, pause, (403, "no-right"), &[]).await;
    check(&of("rec_b"), ANNAS, pause, (404, "no-such-call"), &[]).await;
    check(&of("rec_c"), ADMIN, pause, (404, "no-such-call"), &[]).await;
    check(&of("rec_busy"), ADMIN, pause, (503, "busy"), &[]).await;
    for (id, expected) in [
        ("rec_always", (403, "mode-forbids")),
        ("rec_a_ringing", (409, "not-answered")),
        ("rec_a_gone", (404, "no-such-call")),
        ("rec_a_broken", (500, "it broke")),
    ] {
        let done = format!("{id} Pause");
        check(&of(id), ADMIN, pause, expected, &[&done]).await;
    }
    let bad = [
        "",
        "pause",
        "[]",
        "\"pause\"",
        "{}",
        "{\"action\": \"Pause\"}",
        "{\"action\": 1}",
        "{\"action\": \"pause\", \"for\": \"10s\"}",
        "{\"action\": \"pause\", \"action\": \"pause\"}",
    ];
    for body in bad {
        check(&of("rec_a"), ADMIN, body, (400, "malformed"), &[]).await;
    }
}

#[tokio::test]
async fn a_message_is_marked_by_those_it_concerns() {
    let of = |id: &str| format!("POST /api/v1/messages/{id}");
    let heard = "{\"heard\": true}";
    for token in [ANNAS, ADMIN] {
        let marked = (200, "\"heard\":true");
        check(&of("rec_a"), token, heard, marked, &["rec_a heard Yes"]).await;
    }
    let new = "{\"heard\": false}";
    let marked = (200, "\"heard\":false");
    check(&of("rec_b"), ADMIN, new, marked, &["rec_b heard No"]).await;
    check(&of("rec_a"), READER, heard, (403, "no-right"), &[]).await;
    let none = (404, "no-such-message");
    check(&of("rec_b"), ANNAS, heard, none, &[]).await;
    check(&of("rec_c"), ADMIN, heard, none, &[]).await;
    check(
        &of("rec_a_gone"),
        ADMIN,
        heard,
        none,
        &["rec_a_gone heard Yes"],
    )
    .await;
    check(&of("rec_busy"), ADMIN, heard, (503, "busy"), &[]).await;
    let bad = ["", "true", "[]", "{}", "{\"heard\": \"yes\"}"];
    for body in bad.into_iter().chain(["{\"heard\": true, \"by\": 1}"]) {
        check(&of("rec_a"), ADMIN, body, (400, "malformed"), &[]).await;
    }
    let get = "GET /api/v1/messages/rec_a";
    check(get, ADMIN, "", (405, "no-such-method"), &[]).await;
}

#[tokio::test]
async fn settings_are_shown_changed_and_switched_off() {
    let of = |method: &str, name: &str| format!("{method} /api/v1/users/{name}/recording");
    check(&of("GET", "anna"), READER, "", (200, "effective"), &[]).await;
    check(&of("GET", "nobody"), ADMIN, "", (404, "no-such-user"), &[]).await;
    let document = "{\"mode\":\"always\"}";
    let done = "anna {\"mode\":\"always\"} annas";
    check(
        &of("PUT", "anna"),
        ANNAS,
        document,
        (200, "always"),
        &[done],
    )
    .await;
    check(
        &of("DELETE", "anna"),
        ADMIN,
        "",
        (200, "never"),
        &["anna off admin"],
    )
    .await;
    // Whether there is such a user is not told to whom it does not concern.
    for name in ["ben", "nobody"] {
        for method in ["GET", "PUT", "DELETE"] {
            check(&of(method, name), ANNAS, document, (403, "no-right"), &[]).await;
        }
    }
    check(&of("PUT", "anna"), READER, document, (403, "no-right"), &[]).await;
    check(
        &of("DELETE", "anna"),
        READER,
        document,
        (403, "no-right"),
        &[],
    )
    .await;
    check(
        &of("PUT", "anna"),
        ADMIN,
        "{\"mode\":",
        (400, "no JSON"),
        &[],
    )
    .await;
    check(
        &of("PUT", "anna"),
        ADMIN,
        "{\"mode\":\"always\",\"mode\":\"never\"}",
        (400, "the key mode is there twice"),
        &[],
    )
    .await;
    let wrong = "{\"mode\":\"sometimes\"}";
    let bearer = format!("Bearer {ADMIN}");
    let (status, body, _) = asked(&of("PUT", "anna"), Some(&bearer), wrong).await;
    let keys: Vec<&Value> = body["mistakes"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert_eq!((status, keys.len()), (400, 2), "{body}");
    assert_eq!(
        (&keys[0]["key"], &keys[1]["key"]),
        (&json!("mode"), &json!("notice"))
    );
}

#[tokio::test]
async fn a_change_is_made_over_the_version_that_is_named_and_over_no_other() {
    let (path, document) = ("/api/v1/users/anna/recording", "{\"mode\":\"always\"}");
    for (tag, expected, done) in [
        (
            "",
            (200, "\"version\":5"),
            "anna {\"mode\":\"always\"} admin",
        ),
        ("*", (200, "always"), "anna {\"mode\":\"always\"} admin"),
        (
            "\"4\"",
            (200, "always"),
            "anna {\"mode\":\"always\"} admin over 4",
        ),
        (
            "\"9\"",
            (412, "of version 4"),
            "anna {\"mode\":\"always\"} admin over 9",
        ),
    ] {
        let what = format!("PUT {path} {tag}");
        check(what.trim_end(), ADMIN, document, expected, &[done]).await;
    }
    let (what, expected) = (format!("DELETE {path} \"9\""), (412, "outdated"));
    check(&what, ADMIN, "", expected, &["anna off admin"]).await;
    for wrong in ["4", "W/\"4\"", "\"four\"", "\"4\",\"5\"", "\""] {
        let what = format!("PUT {path} {wrong}");
        check(&what, ADMIN, document, (400, "no version"), &[]).await;
    }
}

#[tokio::test]
async fn of_a_change_that_takes_too_long_it_is_said_that_it_may_still_be_made() {
    let (soon, bearer) = (Duration::from_millis(50), format!("Bearer {ADMIN}"));
    let (what, body) = (
        "PUT /api/v1/users/anna/recording",
        "{\"mode\":\"some day\"}",
    );
    let (status, body, done) = asked_within(soon, what, Some(&bearer), body).await;
    let reason = body["reason"].as_str();
    assert_eq!((status, reason), (503, Some("not-known-yet")), "{body}");
    assert_eq!(done.len(), 1, "{done:?}");
}

#[test]
fn of_tokens_that_are_not_known_a_line_is_written_each_second() {
    let (mut unknown, began) = (Unknown::default(), Instant::now());
    let said: Vec<(u64, u64)> = (0..2_500)
        .filter_map(|ms| {
            let now = began + Duration::from_millis(ms);
            Some((ms, unknown.came(now)?))
        })
        .collect();
    assert_eq!(said, [(0, 1), (1_000, 1_000), (2_000, 1_000)]);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_too_long_is_a_problem_too() {
    check("GET /", ADMIN, "", (404, "no-such-resource"), &[]).await;
    check(
        "GET /api/v1/users/anna",
        ADMIN,
        "",
        (404, "no-such-resource"),
        &[],
    )
    .await;
    check(
        "GET /api/v1/users/%ff/recording",
        ADMIN,
        "",
        (404, "no-such-resource"),
        &[],
    )
    .await;
    check(
        "DELETE /api/v1/calls",
        ADMIN,
        "",
        (405, "no-such-method"),
        &[],
    )
    .await;
    let long = format!("{{\"language\": \"{}\"}}", "n".repeat(BODY));
    check(
        "PUT /api/v1/users/anna/recording",
        ADMIN,
        &long,
        (413, "too-long"),
        &[],
    )
    .await;
}

#[test]
fn a_token_is_not_printed_and_places_name_nobody() {
    let text = format!("{:?}", tokens());
    assert_eq!(text, "[Token(admin), Token(annas), Token(reader)]");
    assert_eq!(place("/api/v1/users/anna/recording"), "settings");
    assert_eq!(place("/api/v1/users/anna"), "nothing");
}
