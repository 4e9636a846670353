//! What record-aware phones are told of the recording (RFC 7866 §6.3, §7.1.2), and what they ask for in
//! their descriptions (§7.1.3).
//!
//! A phone has been told what stood in our half of the last exchange that came to its end; there is no
//! other memory of it. After every input of a call that is compared with how the call stands, and where
//! it differs the phone is offered its session anew, as soon as nothing else is under way on its leg.
//! So every way of change is covered, several changes become the last one, and what the answer to an
//! offer of the phone's own has told is not told again.

use duolog_sip::Headers;
use duolog_sip::sdp::{Description, RecordPreference, RecordState};

use crate::fact::{Fact, Indication, Means, Side};
use crate::log::LogEvent;
use crate::recording::{Control, Phase as Standing};
use crate::role::b2bua::context::Context;
use crate::role::b2bua::leg::Leg;
use crate::role::b2bua::own_offer::OwnOffer;
use crate::role::b2bua::{Call, Phase};

/// The option tag (RFC 7866 §11.1.2).
const AWARE: &str = "record-aware";

/// Whether a party is told of recordings by `a=record`, and what it has made of that.
#[derive(Debug, Default)]
pub(crate) struct Awareness {
    aware: Aware,
    /// What is kept as a fact of what it knows; nobody has to be told that nothing is recorded.
    noted: Option<Indication>,
    /// What it would not be told: it is not asked again until there is something else to tell.
    refused: Option<Indication>,
    preference: Preference,
}

/// What a party says that it wants of the recording. Phones repeat it in every description, also where
/// they hold or refresh, and when something else has been asked for by then in another way: what is
/// repeated is no new wish.
#[derive(Debug, Default)]
struct Preference {
    /// What it said last.
    wanted: Option<RecordPreference>,
    /// The last description, with or without such a line.
    last: Option<Description>,
}

/// Why a party describes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Describing {
    /// It offers.
    Offer,
    /// It had to.
    Answer,
}

impl Preference {
    /// The party has described itself; what it wants now that it did not want before. One that makes the
    /// same offer under a new version has no other reason for it than to say that again.
    fn stated(&mut self, said: &Description, why: Describing) -> Option<RecordPreference> {
        let before = self.last.replace(said.clone());
        let wanted = said.record_preference()?;
        let is_other = self.wanted.replace(wanted) != Some(wanted);
        let is_again =
            why == Describing::Offer && before.is_some_and(|before| said.is_anew(&before));
        (is_other || is_again).then_some(wanted)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Aware {
    Yes,
    #[default]
    No,
}

impl Awareness {
    /// Takes what an INVITE or UPDATE of the party says, or its 2xx to one of ours. Who has said once
    /// that it is aware stays so: later messages need not repeat it.
    pub(crate) fn learn(&mut self, headers: &Headers) {
        let tags = headers.values("Supported").flat_map(|v| v.split(','));
        let mut tags = tags.map(str::trim);
        if tags.any(|tag| tag.eq_ignore_ascii_case(AWARE)) {
            self.aware = Aware::Yes;
        }
    }

    /// The party does not take this description, or any other that says the same of the recording.
    pub(crate) fn refuses(&mut self, told: Option<&Description>) {
        self.refused = told.map(indicated);
    }
}

impl Leg {
    /// What the party asks for by describing itself, where its recording stands so.
    pub(crate) fn wants(
        &mut self,
        said: &Description,
        why: Describing,
        phase: Option<Standing>,
    ) -> &'static [Control] {
        match (self.dialogue.awareness.preference.stated(said, why), phase) {
            (None, _) => &[],
            // It may be going to begin paused; and what goes on is kept.
            (Some(RecordPreference::On), Some(Standing::Paused | Standing::Pending)) => {
                &[Control::Start, Control::Resume]
            }
            (Some(RecordPreference::On), _) => &[Control::Start],
            (Some(RecordPreference::Off), _) => &[Control::Stop],
            (Some(RecordPreference::Pause), _) => &[Control::Pause],
        }
    }

    /// This description with what the party is to know of the recording, if it is to know of it.
    pub(super) fn indicating(&self, description: Description, now: Indication) -> Description {
        let state = match (self.dialogue.awareness.aware, now) {
            (Aware::No, _) => None,
            (Aware::Yes, Indication::Off) => Some(RecordState::Off),
            (Aware::Yes, Indication::On) => Some(RecordState::On),
            (Aware::Yes, Indication::Paused) => Some(RecordState::Paused),
        };
        description.with_record_state(state)
    }

    /// What the party knows of the recording.
    fn knows(&self) -> Indication {
        let agreed = self.agreed.as_ref();
        agreed.map_or(Indication::Off, |agreed| indicated(&agreed.ours))
    }

    /// What the party has accepted to know, where that is not a fact yet.
    pub(crate) fn newly_knows(&mut self) -> Option<Indication> {
        let state = self.knows();
        let awareness = &mut self.dialogue.awareness;
        let before = awareness.noted.unwrap_or(Indication::Off);
        if awareness.aware == Aware::No || before == state {
            return None;
        }
        awareness.noted = Some(state);
        awareness.refused = None;
        Some(state)
    }

    /// There is this to tell now: what the party has refused before is not asked again.
    pub(crate) fn has_to_tell(&mut self, now: Indication) {
        let awareness = &mut self.dialogue.awareness;
        awareness.refused = awareness.refused.filter(|refused| *refused == now);
    }

    /// Whether the party is to be told this, and can be.
    pub(crate) fn is_to_hear(&self, now: Indication) -> bool {
        let awareness = &self.dialogue.awareness;
        awareness.aware == Aware::Yes && awareness.refused != Some(now) && self.knows() != now
    }
}

/// What a description of ours says of the recording.
fn indicated(ours: &Description) -> Indication {
    match ours.record_state() {
        Some(RecordState::On) => Indication::On,
        Some(RecordState::Paused) => Indication::Paused,
        Some(RecordState::Off) | None => Indication::Off,
    }
}

/// How it stands with a call of which these are the recordings: one that captures is enough.
pub(crate) fn state_of(phases: [Option<Standing>; 2]) -> Indication {
    let of = |phase| match phase {
        Standing::Provisional | Standing::Started => Indication::On,
        Standing::Paused => Indication::Paused,
        Standing::Idle
        | Standing::Pending
        | Standing::Stopped
        | Standing::Failed
        | Standing::Over => Indication::Off,
    };
    let states = phases.map(|phase| phase.map_or(Indication::Off, of));
    let has = |state| states.contains(&state);
    match (has(Indication::On), has(Indication::Paused)) {
        (true, _) => Indication::On,
        (false, true) => Indication::Paused,
        (false, false) => Indication::Off,
    }
}

impl Call {
    /// How it stands with the recordings of this call, for everybody in it.
    pub(super) fn indication(&self) -> Indication {
        let phase = |side| self.recorded.standing(side).map(|(_, _, phase)| phase);
        state_of([Side::Caller, Side::Callee].map(phase))
    }

    /// Tells record-aware parties what they do not know yet. Belongs after each input.
    pub(super) fn indicate(&mut self, cx: &mut Context<'_>) {
        if self.phase != Phase::Connected {
            return;
        }
        let now = self.indication();
        for side in [Side::Caller, Side::Callee] {
            self.keep_indicated(cx, side);
            self.leg_mut(side).has_to_tell(now);
            // What waits for its time says the state as it is then.
            let free = self.leg(side).dialogue.own.may_indicate() && self.may_offer(side);
            if free && self.leg(side).is_to_hear(now) {
                self.offer_own(cx, side, OwnOffer::Indicate);
            }
        }
    }

    /// What a phone has accepted to know is a fact.
    fn keep_indicated(&mut self, cx: &mut Context<'_>, side: Side) {
        let Some(state) = self.leg_mut(side).newly_knows() else {
            return;
        };
        self.note(cx, Fact::Indicated { side, state });
        cx.log(LogEvent::Indicated { side, state });
    }

    /// What a description of one party says that it wants of the recording, once the call stands. What
    /// comes of it stands in the answer to an offer; a refusal is a fact already.
    pub(super) fn preferred(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        said: &Description,
        why: Describing,
    ) {
        if self.phase != Phase::Connected {
            return;
        }
        let phase = self.recorded.standing(side).map(|(_, _, phase)| phase);
        for control in self.leg_mut(side).wants(said, why, phase) {
            let done = self.recorded.control(cx, side, Means::Offer, *control);
            if done.is_err() {
                return;
            }
        }
    }

    /// What these parties want who have described themselves: at the answer, in their answers, and when
    /// they join.
    pub(super) fn heed(&mut self, cx: &mut Context<'_>, sides: impl IntoIterator<Item = Side>) {
        for side in sides {
            let agreed = self.leg(side).agreed.as_ref();
            if let Some(theirs) = agreed.map(|agreed| agreed.theirs.clone()) {
                self.preferred(cx, side, &theirs, Describing::Answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_recording_that_captures_is_enough() {
        use Indication::{Off, On, Paused};
        use Standing::{Failed, Idle, Over, Pending, Provisional, Started, Stopped};
        let all = [
            (None, Off),
            (Some(Idle), Off),
            (Some(Pending), Off),
            (Some(Provisional), On),
            (Some(Started), On),
            (Some(Standing::Paused), Paused),
            (Some(Stopped), Off),
            (Some(Failed), Off),
            (Some(Over), Off),
        ];
        let rank = |state| match state {
            Off => 0,
            Paused => 1,
            On => 2,
        };
        for (one, first) in all {
            for (other, second) in all {
                let want = if rank(first) > rank(second) {
                    first
                } else {
                    second
                };
                assert_eq!(state_of([one, other]), want, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn who_is_aware_stays_aware() {
        let learned = |lines: &[(&str, &str)]| {
            let mut awareness = Awareness::default();
            for (name, value) in lines {
                let mut headers = Headers::new();
                headers.push(name, *value);
                awareness.learn(&headers);
            }
            awareness.aware
        };
        for (lines, want) in [
            (&[][..], Aware::No),
            (&[("Supported", "timer, replaces")], Aware::No),
            (&[("Supported", "record-awareness")], Aware::No),
            (&[("Require", "record-aware")], Aware::No),
            (&[("Supported", "replaces, Record-Aware")], Aware::Yes),
            (&[("k", "record-aware")], Aware::Yes),
            (
                &[("Supported", "record-aware"), ("Supported", "timer")],
                Aware::Yes,
            ),
        ] {
            assert_eq!(learned(lines), want, "{lines:?}");
        }
    }
}
