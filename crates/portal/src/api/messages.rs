//! Messages in mailboxes: somebody has heard one, in whatever way, and the owner's phones are to know.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Answer, Api, CallControl, Named, NotDone, Right, Token, done, json_of, name_of};

/// What is known of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Somebody has heard it.
    Yes,
    /// It is new.
    No,
}

pub(super) async fn mark<C: CallControl>(
    State(api): State<Arc<Api<C>>>,
    Extension(token): Extension<Token>,
    id: Named,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    if !token.may(&[Right::Control]) {
        return Err(Problem::no_right());
    }
    let id = name_of(id)?;
    let heard = heard(&json_of(body)?)?;
    // A message of somebody else's is not there at all for this token.
    let owner = api.control.message(&id).await?;
    if !owner.is_some_and(|owner| token.sees(&owner)) {
        return Err(NotDone::NoSuchMessage.into());
    }
    api.control.hear(&id, heard).await?;
    tracing::info!(
        token = token.name(),
        recording = id,
        ?heard,
        "message marked"
    );
    done(&json!({ "id": id, "heard": heard == Heard::Yes }))
}

fn heard(body: &Value) -> Result<Heard, Problem> {
    let keys = body.as_object().filter(|keys| keys.len() == 1);
    match keys.and_then(|keys| keys.get("heard")?.as_bool()) {
        Some(true) => Ok(Heard::Yes),
        Some(false) => Ok(Heard::No),
        None => Err(Problem::malformed(
            "the body does not say what is to be done",
            "send {\"heard\": true}, or false, and nothing else",
        )),
    }
}
