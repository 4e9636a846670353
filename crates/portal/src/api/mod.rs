//! The API: running calls and their recordings, and owners' settings, for programs with a token.

mod json;
mod messages;
mod problem;
mod token;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Extension, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

pub use messages::Heard;
pub use token::{Right, Token};

use crate::door;
use json::Once;
use problem::{Problem, answer};
use token::shown;

/// Longest body: a document with a thousand do-not-record numbers fits.
const BODY: usize = 128 << 10;

/// Longest time a request may take, its body included.
const LIMIT: Duration = Duration::from_secs(15);

/// From one line of the log about unknown tokens to the next.
const UNKNOWN_EVERY: Duration = Duration::from_secs(1);

/// What the API asks of a node.
pub trait CallControl: Send + Sync + 'static {
    /// Every recorded half of a running call.
    fn running(&self) -> impl Future<Output = Result<Vec<Half>, NotDone>> + Send;
    /// The name of the owner of a recording in a running call; `None` where no call has it.
    fn owner(&self, id: &str) -> impl Future<Output = Result<Option<String>, NotDone>> + Send;
    /// Asks for something of a recording; gives its state then.
    fn control(
        &self,
        id: &str,
        action: Action,
    ) -> impl Future<Output = Result<&'static str, NotDone>> + Send;
    /// An owner's settings.
    fn settings(&self, owner: &str) -> impl Future<Output = Result<Value, NotDone>> + Send;
    /// Stores a document in the place of an owner's settings; gives them as they are then. It is durable,
    /// and holds for calls that begin later, when this returns.
    fn change(
        &self,
        owner: &str,
        document: &Value,
        change: Change,
    ) -> impl Future<Output = Result<Value, NotDone>> + Send;
    /// Switches an owner's recording off and forgets the settings; recordings stay.
    fn switch_off(
        &self,
        owner: &str,
        change: Change,
    ) -> impl Future<Output = Result<Value, NotDone>> + Send;
    /// The name of the owner of a message in a mailbox; `None` where there is no such message.
    fn message(&self, id: &str) -> impl Future<Output = Result<Option<String>, NotDone>> + Send;
    /// Marks a message as heard, or as new again; the owner's phones are told. It is durable when this
    /// returns.
    fn hear(&self, id: &str, heard: Heard) -> impl Future<Output = Result<(), NotDone>> + Send;
    /// Counts an answer.
    fn answered(&self, outcome: Outcome);
}

/// A recorded half of a running call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Half {
    /// The half's name: the id of its first recording.
    pub id: String,
    /// The call; two halves of one call have the same.
    pub call: u64,
    /// Call-ID of its caller's leg.
    pub call_id: String,
    /// Whose recording it is.
    pub owner: String,
    /// The number or name of the party across.
    pub party: String,
    /// Where the recording stands, in a word.
    pub state: &'static str,
}

/// A change of an owner's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The name of the token that makes it.
    pub by: String,
    /// The version that it is to replace, from 0; `None` for whichever there is.
    pub over: Option<i64>,
}

/// What may be asked of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Record, or keep what is captured.
    Start,
    /// Record no more; the call goes on.
    Stop,
    /// Keep no audio until resumed.
    Pause,
    /// Keep audio again.
    Resume,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDone {
    /// No running call has this recording.
    NoSuchCall,
    /// No owner has this name.
    NoSuchUser,
    /// No message in a mailbox has this id.
    NoSuchMessage,
    /// The settings do not allow it.
    Forbidden {
        /// In one word, for a program.
        reason: &'static str,
        /// In a sentence, for a person.
        detail: String,
    },
    /// The call or its recording is in no state for it.
    Conflict {
        /// In one word, for a program.
        reason: &'static str,
        /// In a sentence, for a person.
        detail: String,
    },
    /// A document has mistakes: each key, and what is wrong with it and allowed there.
    Mistaken(Vec<(String, String)>),
    /// Settings: they are not of the version that was to be replaced, but of this one.
    Outdated(i64),
    /// The node has no time now, or stops.
    Busy,
    /// Settings: it takes too long to be waited for, and may still be done.
    NotKnown,
    /// Something of the node failed: a sentence.
    Failed(String),
}

/// How a request came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// Without a token that is known.
    Unknown,
    /// Refused: 4xx.
    Refused,
    /// Not answered properly: 5xx.
    Failed,
}

/// Serves the API for ever.
pub async fn serve_api<C: CallControl>(listener: TcpListener, control: Arc<C>, tokens: Vec<Token>) {
    door::open(listener, router(control, tokens, LIMIT)).await;
}

/// What each request is served with.
struct Api<C> {
    control: Arc<C>,
    tokens: Vec<Token>,
    /// Longest time a request may take.
    limit: Duration,
    unknown: Mutex<Unknown>,
}

/// Requests without a token that is known: a line in the log each second, however many there are.
#[derive(Default)]
struct Unknown {
    said: Option<Instant>,
    unsaid: u64,
}

impl Unknown {
    /// Counts one; gives how many a line is to be written for now, if one is.
    fn came(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        let is_new = |said| now.saturating_duration_since(said) >= UNKNOWN_EVERY;
        if !self.said.is_none_or(is_new) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

fn router<C: CallControl>(node: Arc<C>, tokens: Vec<Token>, limit: Duration) -> Router {
    let api = Arc::new(Api {
        control: node,
        tokens,
        limit,
        unknown: Mutex::default(),
    });
    let settings = get(settings::<C>).put(change::<C>).delete(switch_off::<C>);
    Router::new()
        .route("/api/v1/calls", get(calls::<C>))
        .route("/api/v1/calls/{id}", get(call::<C>))
        .route("/api/v1/calls/{id}/recording", post(control::<C>))
        .route("/api/v1/users/{name}/recording", settings)
        .route("/api/v1/messages/{id}", post(messages::mark::<C>))
        .fallback(async || Problem::no_place())
        .method_not_allowed_fallback(async || {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let detail = "this can not be done here";
            Problem::new(status, "no-such-method", detail, "see the README: HTTP API")
        })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(Arc::clone(&api), admit::<C>))
        .with_state(api)
}

/// Before anything is looked at: who asks? After: a line in the log, with the token's name and never
/// the token.
async fn admit<C: CallControl>(
    State(api): State<Arc<Api<C>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let (method, place) = (request.method().clone(), place(request.uri().path()));
    let Some(token) = shown(&api.tokens, request.headers()) else {
        let mut unknown = api.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = unknown.came(Instant::now()) {
            tracing::info!(%method, place, status = 401, count, "API asked without a token that is known");
        }
        drop(unknown);
        api.control.answered(Outcome::Unknown);
        return Problem::no_token().into_response();
    };
    let name = token.name().to_owned();
    let changes = matches!(method, Method::PUT | Method::DELETE);
    request.extensions_mut().insert(token.clone());
    let response = match timeout(api.limit, next.run(request)).await {
        Ok(response) => response,
        // A change that is under way goes on without whoever asked for it.
        Err(_) if changes => Problem::from(NotDone::NotKnown).into_response(),
        Err(_) => Problem::from(NotDone::Busy).into_response(),
    };
    let status = response.status();
    tracing::info!(token = name, %method, place, status = status.as_u16(), "API asked");
    api.control.answered(match status.as_u16() {
        ..400 => Outcome::Done,
        400..500 => Outcome::Refused,
        _ => Outcome::Failed,
    });
    response
}

/// What is asked for, without names of people.
fn place(path: &str) -> &'static str {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api", "v1", "calls"] => "calls",
        ["api", "v1", "calls", _] => "call",
        ["api", "v1", "calls", _, "recording"] => "recording",
        ["api", "v1", "users", _, "recording"] => "settings",
        ["api", "v1", "messages", _] => "message",
        _ => "nothing",
    }
}

type Answer = Result<Response, Problem>;
type Named = Result<Path<String>, PathRejection>;

fn done(body: &Value) -> Answer {
    Ok(answer(StatusCode::OK, "application/json", body))
}

fn name_of(named: Named) -> Result<String, Problem> {
    let Path(name) = named.map_err(|_| Problem::no_place())?;
    Ok(name)
}

fn half(half: &Half) -> Value {
    json!({
        "id": half.id,
        "call": half.call,
        "call_id": half.call_id,
        "owner": half.owner,
        "party": half.party,
        "state": half.state,
    })
}

async fn calls<C: CallControl>(
    State(api): State<Arc<Api<C>>>,
    Extension(token): Extension<Token>,
) -> Answer {
    if !token.may(&[Right::Read, Right::Control]) {
        return Err(Problem::no_right());
    }
    let running = api.control.running().await?;
    let seen = running.iter().filter(|half| token.sees(&half.owner));
    let calls: Vec<Value> = seen.map(half).collect();
    done(&json!({ "calls": calls }))
}

async fn call<C: CallControl>(
    State(api): State<Arc<Api<C>>>,
    Extension(token): Extension<Token>,
    id: Named,
) -> Answer {
    if !token.may(&[Right::Read, Right::Control]) {
        return Err(Problem::no_right());
    }
    let id = name_of(id)?;
    let running = api.control.running().await?;
    let wanted = |half: &&Half| half.id == id && token.sees(&half.owner);
    let found = running.iter().find(wanted).ok_or_else(Problem::no_call)?;
    done(&half(found))
}

async fn control<C: CallControl>(
    State(api): State<Arc<Api<C>>>,
    Extension(token): Extension<Token>,
    id: Named,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    if !token.may(&[Right::Control]) {
        return Err(Problem::no_right());
    }
    let id = name_of(id)?;
    let action = action(&json_of(body)?)?;
    // A call of somebody else's is not there at all for this token.
    let owner = api.control.owner(&id).await?;
    if !owner.is_some_and(|owner| token.sees(&owner)) {
        return Err(Problem::no_call());
    }
    let state = api.control.control(&id, action).await?;
    tracing::info!(
        token = token.name(),
        recording = id,
        ?action,
        state,
        "recording controlled"
    );
    done(&json!({ "id": id, "state": state }))
}

async fn settings<C: CallControl>(
    State(api): State<Arc<Api<C>>>,
    Extension(token): Extension<Token>,
    name: Named,
) -> Answer {
    let name = owner_of(&token, &[Right::Read, Right::Settings], name)?;
    versioned(&api.control.settings(&name).await?)
}

async fn change<C: CallControl>(
    State(api): State<Arc<Api<C>>>,
    Extension(token): Extension<Token>,
    name: Named,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let name = owner_of(&token, &[Right::Settings], name)?;
    let document = json_of(body)?;
    let change = change_of(&token, &headers)?;
    versioned(&api.control.change(&name, &document, change).await?)
}

async fn switch_off<C: CallControl>(
    State(api): State<Arc<Api<C>>>,
    Extension(token): Extension<Token>,
    name: Named,
    headers: HeaderMap,
) -> Answer {
    let name = owner_of(&token, &[Right::Settings], name)?;
    let change = change_of(&token, &headers)?;
    versioned(&api.control.switch_off(&name, change).await?)
}

/// Settings, with their version as the entity tag (RFC 9110 §8.8.3).
fn versioned(settings: &Value) -> Answer {
    let mut answer = done(settings)?;
    let tag = settings["version"]
        .as_i64()
        .map(|version| format!("\"{version}\""));
    if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    Ok(answer)
}

/// Who makes a change, and over which version: `If-Match`, where there is one.
fn change_of(token: &Token, headers: &HeaderMap) -> Result<Change, Problem> {
    let by = token.name().to_owned();
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(Change { by, over: None });
    };
    let tag = value.to_str().unwrap_or_default().trim();
    let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let over = match (tag, version.map(str::parse)) {
        // There is always something.
        ("*", _) => None,
        (_, Some(Ok(version))) => Some(version),
        _ => {
            let next = "send the `ETag` of the settings, or no If-Match";
            return Err(Problem::malformed("If-Match names no version", next));
        }
    };
    Ok(Change { by, over })
}

/// The owner that is named, if the token is for them: whether there is one is not said before.
fn owner_of(token: &Token, any_of: &[Right], name: Named) -> Result<String, Problem> {
    let name = name_of(name)?;
    if token.may(any_of) && token.sees(&name) {
        Ok(name)
    } else {
        Err(Problem::no_right())
    }
}

fn json_of(body: Result<Bytes, BytesRejection>) -> Result<Value, Problem> {
    let next = "send a JSON object";
    let body = body.map_err(|refused| match refused.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body is longer than {BODY} bytes");
            Problem::new(refused.status(), "too-long", &detail, "send less")
        }
        _ => Problem::malformed("the body could not be received", next),
    })?;
    let read = serde_json::from_slice::<Once>(&body);
    let read = read.map(|Once(value)| value);
    read.map_err(|error| {
        let what = match error.is_data() {
            true => "says one thing twice",
            false => "is no JSON",
        };
        Problem::malformed(&format!("the body {what}: {error}"), next)
    })
}

fn action(body: &Value) -> Result<Action, Problem> {
    let keys = body.as_object().filter(|keys| keys.len() == 1);
    let word = keys.and_then(|keys| keys.get("action")?.as_str());
    match word {
        Some("start") => Ok(Action::Start),
        Some("stop") => Ok(Action::Stop),
        Some("pause") => Ok(Action::Pause),
        Some("resume") => Ok(Action::Resume),
        _ => Err(Problem::malformed(
            "the body does not say what is to be done",
            "send {\"action\": \"start\"}, or stop, pause or resume, and nothing else",
        )),
    }
}

#[cfg(test)]
mod tests;
