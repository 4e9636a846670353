//! What is answered where nothing was done: a problem (RFC 9457) that says what is wrong and what next.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::NotDone;

/// `Retry-After` where the node is busy, in seconds.
const RETRY_AFTER_S: &str = "1";

/// A problem, before it is written.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// One word for a program.
    pub(super) reason: &'static str,
    /// What is wrong, for a person.
    pub(super) detail: String,
    /// What to do about it.
    pub(super) next: &'static str,
    /// For settings: each key that is wrong, and why.
    pub(super) mistakes: Vec<(String, String)>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        reason: &'static str,
        detail: &str,
        next: &'static str,
    ) -> Self {
        Self {
            status,
            reason,
            detail: detail.to_owned(),
            next,
            mistakes: Vec::new(),
        }
    }

    pub(super) fn no_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "no-token",
            "the request shows no token that is known here",
            "send `Authorization: Bearer TOKEN` with a token of [[api.token]]",
        )
    }

    pub(super) fn no_right() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "no-right",
            "this token is not for this",
            "use a token whose `rights` and `users` in [[api.token]] include it",
        )
    }

    pub(super) fn no_call() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-call",
            "no running call has a recording with this id",
            "GET /api/v1/calls lists those that run",
        )
    }

    pub(super) fn no_place() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-resource",
            "there is nothing here",
            "there are /api/v1/calls, /api/v1/calls/{id}, /api/v1/calls/{id}/recording, \
             /api/v1/users/{name}/recording and /api/v1/messages/{id}",
        )
    }

    pub(super) fn malformed(detail: &str, next: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail, next)
    }
}

impl From<NotDone> for Problem {
    fn from(why: NotDone) -> Self {
        let new = Self::new;
        match why {
            NotDone::NoSuchCall => Self::no_call(),
            NotDone::NoSuchMessage => new(
                StatusCode::NOT_FOUND,
                "no-such-message",
                "no mailbox has a message with this id",
                "messages are recordings of nature voicemail: `duolog recordings list` shows their ids",
            ),
            NotDone::NoSuchUser => new(
                StatusCode::NOT_FOUND,
                "no-such-user",
                "no user, workspace, virtual line or queue has this name",
                "names are those of [[user]] in the configuration",
            ),
            NotDone::Forbidden { reason, detail } => new(
                StatusCode::FORBIDDEN,
                reason,
                &detail,
                "the owner's `mode` says what may be asked; PUT /api/v1/users/{name}/recording changes it \
                 for calls to come",
            ),
            NotDone::Conflict { reason, detail } => new(
                StatusCode::CONFLICT,
                reason,
                &detail,
                "GET /api/v1/calls/{id} says where the recording stands",
            ),
            NotDone::Mistaken(mistakes) => Self {
                mistakes,
                ..Self::malformed(
                    "the settings have mistakes; nothing was changed",
                    "correct all keys of `mistakes` and send the whole document again",
                )
            },
            NotDone::Busy => new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "the node did not answer in time, or is stopping",
                "ask again in a second",
            ),
            NotDone::Outdated(version) => new(
                StatusCode::PRECONDITION_FAILED,
                "outdated",
                &format!("the settings are of version {version}; nothing was changed"),
                "GET /api/v1/users/{name}/recording shows them",
            ),
            NotDone::NotKnown => new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-known-yet",
                "the change takes longer than a request may; it may still be made",
                "GET /api/v1/users/{name}/recording shows what holds",
            ),
            NotDone::Failed(detail) => new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed",
                &detail,
                "look at the node's log",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:duolog:problem:{}", self.reason),
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "reason": self.reason,
            "detail": self.detail,
            "next": self.next,
        });
        if !self.mistakes.is_empty() {
            let mistake = |(key, what): &(String, String)| json!({ "key": key, "what": what });
            body["mistakes"] = self.mistakes.iter().map(mistake).collect::<Value>();
        }
        let mut answer = answer(self.status, "application/problem+json", &body);
        let headers = answer.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"duolog\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        answer
    }
}

/// An answer that nobody in between keeps: it may name people.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body.to_string()).into_response()
}
