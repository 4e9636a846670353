//! The engine's log lines as tracing events. Every line carries the Call-ID.

use duolog_call::{CallLog, LogEvent};
use duolog_reach::registrar::Outcome;
use duolog_reach::registration::State;

use crate::redact::Redacted;

/// Writes one line.
pub fn write(line: &CallLog) {
    let call_id = line.call_id.as_str();
    match &line.event {
        LogEvent::Began { recorded } => match recorded {
            Some(direction) => tracing::info!(call_id, ?direction, "call began, to be recorded"),
            None => tracing::info!(call_id, "call began, not to be recorded"),
        },
        LogEvent::Refused { status } => tracing::info!(call_id, status, "call refused"),
        LogEvent::Connected => tracing::info!(call_id, "call connected"),
        LogEvent::Ended { by } => tracing::info!(call_id, ?by, "call ended"),
        LogEvent::RecordingOpened { recording } => {
            tracing::info!(call_id, recording = %id(recording.0), "recording opened");
        }
        LogEvent::RecordingStarted { recording, by } => {
            tracing::info!(call_id, recording = %id(recording.0), ?by, "recording started");
        }
        LogEvent::RecordingPaused { recording, by } => {
            tracing::info!(call_id, recording = %id(recording.0), ?by, "recording paused");
        }
        LogEvent::RecordingResumed { recording, by } => {
            tracing::info!(call_id, recording = %id(recording.0), ?by, "recording resumed");
        }
        LogEvent::RecordingKept { recording, by } => {
            tracing::info!(call_id, recording = %id(recording.0), ?by, "recording kept");
        }
        LogEvent::RecordingStopped { recording, by } => {
            tracing::info!(call_id, recording = %id(recording.0), ?by, "recording stopped");
        }
        LogEvent::RecordingFailed { recording, then } => {
            tracing::error!(call_id, recording = %id(recording.0), ?then, "call not recorded");
        }
        LogEvent::Indicated { side, state } => {
            tracing::info!(call_id, ?side, ?state, "phone told of the recording");
        }
        LogEvent::RecordingClosed { recording, end } => {
            tracing::info!(call_id, recording = %id(recording.0), ?end, "recording closed");
        }
        LogEvent::RecordingTrouble { recording, reason } => {
            tracing::warn!(call_id, recording = %id(recording.0), reason, "recording in trouble");
        }
        LogEvent::ControlRefused {
            side,
            by,
            control,
            why,
        } => {
            tracing::info!(call_id, ?side, ?by, ?control, reason = %why, "control refused");
        }
        LogEvent::TransferAsked { by } => tracing::info!(call_id, ?by, "transfer asked for"),
        LogEvent::Transferred => tracing::info!(call_id, "transferred"),
        LogEvent::TransferFailed { status } => tracing::info!(call_id, status, "transfer failed"),
        LogEvent::Replaced => tracing::info!(call_id, "a party has taken another one's place"),
        LogEvent::JoinRefused => tracing::warn!(call_id, "two parties could not be connected"),
        LogEvent::NoPorts { reason } => tracing::error!(call_id, reason, "no media ports"),
        LogEvent::RequestRefused { status } => tracing::debug!(call_id, status, "request refused"),
        LogEvent::Dropped(reason) => tracing::debug!(call_id, ?reason, "message dropped"),
        LogEvent::Stuck => tracing::error!(
            call_id,
            "call given up: it was due again and again at one instant; please report this"
        ),
        LogEvent::Limited => tracing::debug!(call_id, "message over its source's limit"),
        LogEvent::Registrar(outcome) => registrar(outcome),
        LogEvent::Registration { trunk, state } => registration(trunk, state),
    }
}

fn registrar(outcome: &Outcome) {
    match outcome {
        Outcome::Bound(user) => tracing::info!(user = %Redacted(user), "a phone is registered"),
        Outcome::Unbound(user) => tracing::info!(user = %Redacted(user), "a phone has left"),
        Outcome::Queried | Outcome::Challenged => tracing::debug!(?outcome, "REGISTER answered"),
        Outcome::Refused(why) => tracing::info!(?why, "REGISTER refused"),
    }
}

fn registration(trunk: &str, state: &State) {
    match state {
        State::Registered { .. } => tracing::info!(trunk, "registered at the trunk"),
        State::Failed { status, .. } => {
            tracing::warn!(trunk, ?status, "registration at the trunk failed");
        }
        State::Unregistered => tracing::info!(trunk, "no longer registered at the trunk"),
    }
}

fn id(recording: u128) -> duolog_spool::RecordingId {
    duolog_spool::RecordingId(recording)
}
