//! The engine's log lines as tracing events. Every line carries the Call-ID.

use duolog_call::{CallLog, LogEvent};

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
        LogEvent::RecordingStarted { recording } => {
            tracing::info!(call_id, recording = %id(recording.0), "recording started");
        }
        LogEvent::RecordingPaused { recording, by } => {
            tracing::info!(call_id, recording = %id(recording.0), ?by, "recording paused");
        }
        LogEvent::RecordingResumed { recording, by } => {
            tracing::info!(call_id, recording = %id(recording.0), ?by, "recording resumed");
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
        LogEvent::NoPorts { reason } => tracing::error!(call_id, reason, "no media ports"),
        LogEvent::RequestRefused { status } => tracing::debug!(call_id, status, "request refused"),
        LogEvent::Dropped(reason) => tracing::debug!(call_id, ?reason, "message dropped"),
    }
}

fn id(recording: u128) -> duolog_spool::RecordingId {
    duolog_spool::RecordingId(recording)
}
