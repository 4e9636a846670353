//! Counters of what is asked of recordings, and of what the API is asked.

use duolog_call::{Control, LogEvent, Means, OnFailure};
use duolog_portal::Outcome;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::Labelled;

/// What the engine tells of controls and of recordings that can not be.
#[derive(Debug, Clone, Default)]
pub struct PolicyMetrics {
    controls: Labelled,
    failures: Labelled,
}

impl PolicyMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Recording controls that changed something or were refused, by control, by how they \
                    were asked for, and by result";
        registry.register("controls", help, self.controls.clone());
        let help = "Calls that could not be recorded, or not any more, by what became of the call";
        registry.register("recording_failures", help, self.failures.clone());
    }

    pub(super) fn count(&self, event: &LogEvent) {
        match event {
            LogEvent::RecordingPaused { by, .. } => self.control(Control::Pause, *by, "done"),
            LogEvent::RecordingResumed { by, .. } => self.control(Control::Resume, *by, "done"),
            LogEvent::RecordingStarted { by: Some(by), .. } => {
                self.control(Control::Start, *by, "done");
            }
            LogEvent::RecordingKept { by, .. } => self.control(Control::Start, *by, "done"),
            LogEvent::RecordingStopped { by, .. } => self.control(Control::Stop, *by, "done"),
            LogEvent::ControlRefused { by, control, .. } => self.control(*control, *by, "refused"),
            LogEvent::RecordingFailed { then, .. } => {
                let then = match then {
                    OnFailure::Refuse => "refuse",
                    OnFailure::GoOn => "go_on",
                    OnFailure::GoOnAnnounced => "go_on_announced",
                    OnFailure::EndAnnounced => "end_announced",
                };
                self.failures.get_or_create(&vec![("then", then)]).inc();
            }
            _ => {}
        }
    }

    fn control(&self, control: Control, by: Means, result: &'static str) {
        let control = match control {
            Control::Start => "start",
            Control::Stop => "stop",
            Control::Pause => "pause",
            Control::Resume => "resume",
        };
        let labels = vec![("control", control), ("by", label(by)), ("result", result)];
        self.controls.get_or_create(&labels).inc();
    }

    /// Gives every family a member: a family without one is not written.
    #[cfg(test)]
    pub(super) fn touch(&self) {
        for family in [&self.controls, &self.failures] {
            drop(family.get_or_create(&vec![("any", "label")]));
        }
    }
}

/// How something was asked for.
pub(super) fn label(by: Means) -> &'static str {
    match by {
        Means::FeatureCode => "feature_code",
        Means::Info => "sip_info",
        Means::Offer => "sip_offer",
        Means::Api => "api",
        Means::Limit | Means::Policy => "system",
    }
}

/// What the API counts.
#[derive(Debug, Clone, Default)]
pub struct ApiMetrics {
    requests: Labelled,
    /// Times an owner's settings were stored.
    pub settings_changed: Counter,
}

impl ApiMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Requests to the API, by what came of them";
        registry.register("api_requests", help, self.requests.clone());
        let help = "Times an owner's recording settings were changed";
        registry.register("settings_changes", help, self.settings_changed.clone());
    }

    /// Counts a request.
    pub fn answered(&self, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Done => "done",
            Outcome::Unknown => "unknown_token",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        };
        self.requests
            .get_or_create(&vec![("outcome", outcome)])
            .inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolog_call::{RecordingId, Refusal, Side};

    #[test]
    fn controls_are_counted_by_way_and_result() {
        let metrics = PolicyMetrics::default();
        let (recording, by) = (RecordingId(1), Means::Api);
        let refused = |by, control| LogEvent::ControlRefused {
            side: Side::Callee,
            by,
            control,
            why: Refusal::ModeForbids,
        };
        for event in [
            LogEvent::RecordingPaused { recording, by },
            LogEvent::RecordingPaused { recording, by },
            LogEvent::RecordingResumed {
                recording,
                by: Means::Limit,
            },
            LogEvent::RecordingKept {
                recording,
                by: Means::FeatureCode,
            },
            LogEvent::RecordingStarted {
                recording,
                by: Some(Means::FeatureCode),
            },
            // One that starts by itself is no control.
            LogEvent::RecordingStarted {
                recording,
                by: None,
            },
            LogEvent::RecordingStopped {
                recording,
                by: Means::Info,
            },
            refused(Means::Offer, Control::Stop),
            LogEvent::RecordingFailed {
                recording,
                then: OnFailure::GoOnAnnounced,
            },
            LogEvent::RecordingFailed {
                recording,
                then: OnFailure::Refuse,
            },
            LogEvent::Connected,
        ] {
            metrics.count(&event);
        }
        let count = |control, by, result| {
            let labels = vec![("control", control), ("by", by), ("result", result)];
            metrics.controls.get_or_create(&labels).get()
        };
        assert_eq!(count("pause", "api", "done"), 2);
        assert_eq!(count("resume", "system", "done"), 1);
        assert_eq!(count("start", "feature_code", "done"), 2);
        assert_eq!(count("stop", "sip_info", "done"), 1);
        assert_eq!(count("stop", "sip_offer", "refused"), 1);
        for then in ["go_on_announced", "refuse"] {
            let then = vec![("then", then)];
            assert_eq!(metrics.failures.get_or_create(&then).get(), 1);
        }
    }
}
