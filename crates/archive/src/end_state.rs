//! In which state a recording ended, and why: pure policy (SPEC D11).

use crate::gap::GapReason;
use crate::timeline::{Access, Timeline};
use crate::wire::{End, Fact, Layout, Side};
use serde::{Deserialize, Serialize};

/// In which state a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndState {
    /// Everything that reached duolog is in the recording.
    Complete,
    /// Something that reached duolog is not in the recording; the gaps say what.
    Partial,
    /// One party was never heard.
    OneWay,
    /// Nobody was heard.
    NoMedia,
    /// Recorded and, as the settings ask, not kept.
    NotKept,
    /// The call was refused.
    Refused,
    /// Something broke, and there is no recording.
    Failed,
    /// The recorder stopped in the middle; what was on disk by then is there, unless it was captured on
    /// demand and not asked for by then.
    Interrupted,
}

const WORDS: [(EndState, &str); 8] = [
    (EndState::Complete, "complete"),
    (EndState::Partial, "partial"),
    (EndState::OneWay, "one_way"),
    (EndState::NoMedia, "no_media"),
    (EndState::NotKept, "not_kept"),
    (EndState::Refused, "refused"),
    (EndState::Failed, "failed"),
    (EndState::Interrupted, "interrupted"),
];

impl EndState {
    /// The word that stands for it in manifests and in the catalogue.
    pub fn word(self) -> &'static str {
        let row = WORDS.iter().find(|(state, _)| *state == self);
        row.map(|(_, word)| *word)
            .expect("every state has a row in WORDS")
    }

    /// Reads what [`EndState::word`] gives.
    pub fn from_word(word: &str) -> Option<EndState> {
        WORDS
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(state, _)| *state)
    }
}

/// A state and the sentence that explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) state: EndState,
    pub(crate) reason: String,
}

/// Judges a finished time line. The first rule that fits decides.
pub(crate) fn judge(timeline: &Timeline) -> Verdict {
    let said = |default: &str| {
        timeline
            .ending
            .reason
            .clone()
            .unwrap_or_else(|| default.to_owned())
    };
    let verdict = |state, reason| Verdict { state, reason };
    let locked = timeline.access == Access::Locked;
    match timeline.ending.end {
        End::Refused => verdict(EndState::Refused, said("the call was refused")),
        End::NotKept => verdict(EndState::NotKept, said("recorded, and not to be kept")),
        End::NotStarted => verdict(
            EndState::NoMedia,
            said("the call ended before its recording started"),
        ),
        End::NotAnswered => verdict(EndState::NoMedia, said("the call was not answered")),
        End::Failed if !timeline.has_audio() => verdict(
            EndState::Failed,
            said("the recording failed before any audio was kept"),
        ),
        End::Interrupted if !timeline.has_begun() => verdict(
            EndState::Interrupted,
            said("the recorder stopped before the recording had begun"),
        ),
        End::Interrupted if locked => verdict(EndState::Interrupted, said(lost(timeline))),
        End::Finished | End::Unknown if locked => judge_locked(timeline),
        End::Interrupted => verdict(
            EndState::Interrupted,
            said("the recorder stopped before the call ended; what was on disk by then is kept"),
        ),
        End::Failed => verdict(EndState::Partial, said("the recording failed in mid-call")),
        End::Finished | End::Unknown => judge_media(timeline),
    }
}

/// A recording that came to its end and that nobody can read.
fn judge_locked(timeline: &Timeline) -> Verdict {
    let (state, reason) = match was_asked_for(timeline) {
        // Its key was durable once: the disk has lost it.
        true => (
            EndState::Failed,
            "asked for, but its key is not in the spool any more: nothing of it can be read",
        ),
        false => (
            EndState::NotKept,
            "captured on demand, and nobody asked for it",
        ),
    };
    Verdict {
        state,
        reason: reason.to_owned(),
    }
}

/// Why nothing is left of a recording that was locked when the recorder stopped.
fn lost(timeline: &Timeline) -> &'static str {
    match was_asked_for(timeline) {
        true => "asked for, but the recorder stopped before that was safe on disk: nothing is kept",
        false => "captured on demand, not asked for before the recorder stopped: nothing is kept",
    }
}

fn was_asked_for(timeline: &Timeline) -> bool {
    let kept = |(_, fact): (u64, &Fact)| matches!(fact, Fact::RecordingKept { .. });
    timeline.told().any(kept)
}

fn judge_media(timeline: &Timeline) -> Verdict {
    let verdict = |state, reason: &str| Verdict {
        state,
        reason: reason.to_owned(),
    };
    if timeline.length == 0 {
        let reason = "the call ended before anything was to be recorded";
        return verdict(EndState::NoMedia, reason);
    }
    if timeline.opening.layout == Layout::Mixed {
        return match timeline.hearing(Side::Mixed) {
            Hearing::Nothing => verdict(EndState::NoMedia, "nothing arrived"),
            Hearing::Heard | Hearing::NotWanted => judge_keeping(timeline),
        };
    }
    match (timeline.hearing(Side::Owner), timeline.hearing(Side::Other)) {
        (Hearing::Nothing, Hearing::Heard | Hearing::NotWanted) => {
            verdict(EndState::OneWay, "nothing arrived from the owner")
        }
        (Hearing::Heard | Hearing::NotWanted, Hearing::Nothing) => {
            verdict(EndState::OneWay, "nothing arrived from the other party")
        }
        (Hearing::Nothing, Hearing::Nothing) => {
            verdict(EndState::NoMedia, "nothing arrived from either party")
        }
        _ => judge_keeping(timeline),
    }
}

fn judge_keeping(timeline: &Timeline) -> Verdict {
    let lost_by_us: u64 = timeline
        .listed()
        .iter()
        .flatten()
        .map(|gap| match gap.reason {
            reason if reason.is_our_loss() => gap.samples,
            _ => 0,
        })
        .sum();
    if lost_by_us > 0 {
        let reason = format!(
            "{} of audio reached duolog and could not be kept; the gaps say where",
            seconds(lost_by_us)
        );
        return Verdict {
            state: EndState::Partial,
            reason,
        };
    }
    if let Some(flaw) = timeline.flaws.first() {
        return Verdict {
            state: EndState::Partial,
            reason: flaw.clone(),
        };
    }
    let silent = "paused or on hold from beginning to end: no audio was to be kept";
    let ended = if timeline.has_audio() {
        "the call came to its end"
    } else {
        silent
    };
    let reason = timeline
        .ending
        .reason
        .clone()
        .unwrap_or_else(|| ended.to_owned());
    Verdict {
        state: EndState::Complete,
        reason,
    }
}

fn seconds(samples: u64) -> String {
    format!(
        "{:.2} s",
        samples as f64 / f64::from(crate::format::SAMPLE_RATE_HZ)
    )
}

/// What was heard of one party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// Some audio is there.
    Heard,
    /// Audio was wanted and none arrived.
    Nothing,
    /// None is there, and none was wanted: paused or on hold, or nobody was on the channel at all.
    NotWanted,
}

impl Timeline {
    /// What was heard of one party: audio that is there, or packets that are known to have arrived.
    pub(crate) fn hearing(&self, side: Side) -> Hearing {
        let channel = Timeline::channel(side);
        let figures = match side {
            Side::Owner | Side::Mixed => &self.ending.owner,
            _ => &self.ending.other,
        };
        let arrived = figures.as_ref().is_some_and(|figures| figures.received > 0);
        let lost_by_us = self.gaps[channel]
            .iter()
            .any(|gap| gap.reason.is_our_loss());
        // What could not be transcoded was heard and is kept.
        let missing = self.missing(channel, |reason| reason != GapReason::Untranscoded);
        let unwanted = self.missing(channel, GapReason::is_on_purpose);
        // A party that left after it had said nothing is one that was not heard all the same.
        let absent = self.missing(channel, |reason| reason == GapReason::Absent);
        if arrived || lost_by_us || missing < self.length {
            Hearing::Heard
        } else if unwanted > 0 || absent == self.length {
            Hearing::NotWanted
        } else {
            Hearing::Nothing
        }
    }
}
