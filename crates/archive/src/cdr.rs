//! A recording's outcome in the words of a Webex call detail record: pure policy.

use crate::end_state::EndState;
use crate::timeline::Timeline;
use crate::wire::{End, Mode};
use serde::{Deserialize, Serialize};

/// `Call Recording Result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CdrResult {
    /// There is a recording.
    #[serde(rename = "successful")]
    Successful,
    /// There ought to be one, or more of it, and there is not.
    #[serde(rename = "failed")]
    Failed,
    /// Captured, and nobody asked for it to be kept.
    #[serde(rename = "successful but not kept")]
    SuccessfulButNotKept,
    /// In a word this version does not know.
    #[serde(other, rename = "unknown")]
    Unknown,
}

/// `Call Recording Trigger`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CdrTrigger {
    /// Every call.
    Always,
    /// Every call, and its owner may pause.
    AlwaysPauseResume,
    /// Kept because its owner asked for it.
    OnDemand,
    /// Begun because its owner asked for it.
    OnDemandUserStart,
    /// In a word this version does not know.
    #[serde(other)]
    Unknown,
}

/// What came of a recording that was judged to be in `state`. Where the recorder stopped before it had
/// begun, nothing was to be captured yet.
pub(crate) fn result_of(timeline: &Timeline, state: EndState) -> Option<CdrResult> {
    match state {
        EndState::Interrupted if !timeline.has_begun() => None,
        _ => result(timeline.ending.end, state, timeline.length),
    }
}

/// What came of a recording of `length` ticks whose call ended with `end` and which was judged to be in
/// `state`; none where nothing was to be captured: not answered, not begun by its owner, not to be
/// recorded with this party.
fn result(end: End, state: EndState, length: u64) -> Option<CdrResult> {
    match (state, end) {
        (EndState::NotKept, _) => (length > 0).then_some(CdrResult::SuccessfulButNotKept),
        (EndState::NoMedia, End::NotAnswered | End::NotStarted) => None,
        (EndState::NoMedia, _) => (length > 0).then_some(CdrResult::Failed),
        (EndState::Refused | EndState::Failed | EndState::Interrupted, _) => {
            Some(CdrResult::Failed)
        }
        (_, End::Failed) => Some(CdrResult::Failed),
        (EndState::Complete | EndState::Partial | EndState::OneWay, _) => {
            Some(CdrResult::Successful)
        }
    }
}

/// What made the recording begin; none where it was not said.
pub(crate) fn trigger(mode: Mode) -> Option<CdrTrigger> {
    match mode {
        Mode::Always => Some(CdrTrigger::Always),
        Mode::AlwaysWithPause => Some(CdrTrigger::AlwaysPauseResume),
        Mode::OnDemand => Some(CdrTrigger::OnDemand),
        Mode::OnDemandUserStart => Some(CdrTrigger::OnDemandUserStart),
        Mode::Never | Mode::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap().replace('"', "")
    }

    #[test]
    fn results_are_in_the_words_of_a_call_detail_record() {
        for (end, state, length, wanted) in [
            (End::Finished, EndState::Complete, 8_000, "successful"),
            (End::Finished, EndState::Partial, 8_000, "successful"),
            (End::Finished, EndState::OneWay, 8_000, "successful"),
            (End::Finished, EndState::NoMedia, 8_000, "failed"),
            (End::Finished, EndState::NoMedia, 0, "null"),
            (End::Failed, EndState::Partial, 8_000, "failed"),
            (End::Failed, EndState::Failed, 0, "failed"),
            (End::Interrupted, EndState::Interrupted, 8_000, "failed"),
            (End::Refused, EndState::Refused, 0, "failed"),
            (
                End::NotKept,
                EndState::NotKept,
                8_000,
                "successful but not kept",
            ),
            (End::NotKept, EndState::NotKept, 0, "null"),
            (End::NotAnswered, EndState::NoMedia, 0, "null"),
            (End::NotStarted, EndState::NoMedia, 0, "null"),
        ] {
            let found = result(end, state, length);
            assert_eq!(word(&found), wanted, "{end:?} {state:?} {length}");
        }
        let future: CdrResult = serde_json::from_str("\"sublime\"").unwrap();
        assert_eq!(future, CdrResult::Unknown);
    }

    #[test]
    fn the_trigger_is_the_mode() {
        for (mode, wanted) in [
            (Mode::Always, "always"),
            (Mode::AlwaysWithPause, "always-pause-resume"),
            (Mode::OnDemand, "on-demand"),
            (Mode::OnDemandUserStart, "on-demand-user-start"),
            (Mode::Never, "null"),
            (Mode::Unknown, "null"),
        ] {
            assert_eq!(word(&trigger(mode)), wanted);
        }
    }
}
