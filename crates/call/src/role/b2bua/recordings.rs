//! The recordings of a call: at most one at a time for each side, on behalf of its party. They begin and
//! are controlled apart; what the parties hear of them they hear once.

use std::time::Instant;

use crate::announcement::Progress;
use crate::class::Class;
use crate::fact::{Fact, HungUpBy, Means, Opening, Side};
use crate::feature_code::Digit;
use crate::media::{Completion, LegId, PlayId, PromptName, RecordingId, Sound};
use crate::plan::RecordingPlan;
use crate::policy::OnFailure;
use crate::recording::{Control, Input, Phase, Refusal};
use crate::role::b2bua::context::Context;
use crate::role::b2bua::recorded::{Closing, Recorded};
use crate::role::b2bua::row::Placed;
use crate::role::b2bua::sounds::{Audience, Beside, Legs, Voice};
use crate::settings::UserIndex;
use crate::tone::Due;

/// The order in which the two sides have a say in what is heard.
const RULING: [Side; 2] = [Side::Callee, Side::Caller];

/// The recordings of one call.
pub(crate) struct Recordings {
    caller: Option<Recorded>,
    callee: Option<Recorded>,
    pub(super) audience: Audience,
}

impl Recordings {
    pub(super) fn new(legs: Legs) -> Self {
        Self {
            caller: None,
            callee: None,
            audience: Audience::new(legs),
        }
    }

    /// Makes the row of a recording for the side that `plan` names; `owner` and `other` are the legs
    /// of both sides.
    pub(super) fn open(
        &mut self,
        cx: &mut Context<'_>,
        plan: &RecordingPlan,
        opening: Opening,
        at: Placed,
    ) {
        let recorded = Recorded::open(cx, plan, opening, at);
        *self.slot(plan.side) = Some(recorded);
        self.link(cx, plan.side);
    }

    /// Each of two recordings knows of the other one.
    pub(super) fn link(&self, cx: &mut Context<'_>, side: Side) {
        for side in [side, side.other()] {
            if let Some(recording) = self.get(side.other()).map(Recorded::id) {
                self.note_at(cx, side, Fact::OtherRecording { recording });
            }
        }
    }

    /// When [`Recordings::expire`] is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = self.all().filter_map(Recorded::deadline);
        own.chain(self.audience.deadline()).min()
    }

    /// Time has passed.
    pub(super) fn expire(&mut self, cx: &mut Context<'_>) {
        if self.audience.expire(cx) == Progress::Done {
            self.announced(cx);
        }
        self.sound_tones(cx);
        for side in RULING {
            self.act(cx, side, |recorded, cx, to| recorded.expire(cx, to));
        }
        self.settle(cx);
    }

    /// The tone of one recording is enough: that of the side that rules, while it sounds.
    fn sound_tones(&mut self, cx: &mut Context<'_>) {
        let mut covered = Due::NotYet;
        for side in RULING {
            let Some(recorded) = self.slot(side) else {
                continue;
            };
            let sounds = recorded.next_tone().is_some();
            let due = recorded.tone_due(cx.now);
            if covered == Due::NotYet && due == Due::Now {
                self.audience.play(cx, &Sound::RepeatTone);
                self.note(cx, &Fact::TonePlayed);
            }
            if sounds {
                covered = Due::Now;
            }
        }
    }

    /// Both parties are connected.
    pub(super) fn answered(&mut self, cx: &mut Context<'_>) {
        self.audience.answered = Some(cx.now);
        for side in RULING {
            self.feed(cx, side, Input::Answered);
        }
        self.settle(cx);
    }

    pub(super) fn feed(&mut self, cx: &mut Context<'_>, side: Side, input: Input) {
        self.act(cx, side, |recorded, cx, to| {
            recorded.feed(cx, to, input);
        });
    }

    /// Lets the recording of one side do something, if there is one; the other one learns of a new row.
    pub(super) fn act<R>(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        act: impl FnOnce(&mut Recorded, &mut Context<'_>, &mut Audience) -> R,
    ) -> Option<R> {
        let beside = self.get(side.other()).map(Recorded::beside);
        self.audience.beside = beside.unwrap_or(Beside::Nothing);
        let recorded = match side {
            Side::Caller => self.caller.as_mut(),
            Side::Callee => self.callee.as_mut(),
        }?;
        let before = recorded.id();
        let done = act(recorded, cx, &mut self.audience);
        let recording = recorded.id();
        if recording != before {
            self.note_at(cx, side.other(), Fact::OtherRecording { recording });
        }
        Some(done)
    }

    /// What was wanted is said, and what was said is a fact.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        if let Some(wanted) = self.audience.take_wanted() {
            self.audience.announce(cx, wanted);
            if !self.audience.is_announcing() {
                self.announced(cx);
            }
        }
        self.speak_of_failure(cx);
        self.audience.say_afterwards(cx);
        self.note_news(cx);
        for recorded in [&mut self.callee, &mut self.caller].into_iter().flatten() {
            recorded.conclude(cx);
        }
    }

    /// What began to be said, and what was cut, is a fact.
    fn note_news(&mut self, cx: &mut Context<'_>) {
        for fact in self.audience.take_news() {
            self.note(cx, &fact);
        }
    }

    /// The party of a side hears nothing any more.
    pub(super) fn deafen(&mut self, cx: &mut Context<'_>, side: Side) {
        self.audience.cut_at(side);
        self.note_news(cx);
    }

    /// A prompt that had to wait begins on a leg.
    pub(super) fn begun(&mut self, cx: &mut Context<'_>, leg: LegId, play: PlayId) {
        self.audience.begun(leg, play);
        self.note_news(cx);
    }

    pub(super) fn announced(&mut self, cx: &mut Context<'_>) {
        for side in RULING {
            self.act(cx, side, |recorded, cx, to| recorded.announced(cx, to));
        }
    }

    /// Where something cannot be recorded, the strictest of its owners decides what becomes of a call that
    /// is connected.
    fn speak_of_failure(&mut self, cx: &mut Context<'_>) {
        if self.audience.answered.is_none() {
            return;
        }
        let own = [&mut self.callee, &mut self.caller].into_iter().flatten();
        let failures = own.filter_map(Recorded::take_failure);
        let Some((then, voice)) = failures.max_by_key(|(then, _)| strictness(*then)) else {
            return;
        };
        let waits = |recorded: &Recorded| matches!(recorded.beside(), Beside::Waits(_));
        if !self.all().any(waits) {
            self.audience.cut_announcement(cx);
        }
        match then {
            OnFailure::Refuse | OnFailure::GoOn => {}
            OnFailure::GoOnAnnounced => self.say_failure(cx, &voice),
            OnFailure::EndAnnounced if self.audience.is_parting() => {}
            OnFailure::EndAnnounced => self.audience.say_farewell(cx, &voice),
        }
    }

    fn say_failure(&mut self, cx: &mut Context<'_>, voice: &Voice) {
        if self.audience.is_parting() {
            return;
        }
        if !self.audience.is_announcing() {
            self.audience.stop(cx);
        }
        self.audience.say(cx, voice, PromptName::FailureContinues);
    }

    /// Whether the call is to end because it cannot be recorded, and all have heard it.
    pub(super) fn have_parted(&self) -> bool {
        self.audience.has_parted()
    }

    /// A sound has ended on a leg.
    pub(super) fn played(
        &mut self,
        cx: &mut Context<'_>,
        leg: LegId,
        play: PlayId,
        completion: Completion,
    ) {
        let (ended, progress) = self.audience.played(leg, play, completion);
        if let Some(ended) = ended
            && let Sound::Prompt { prompt, .. } = ended.sound
        {
            let side = ended.side;
            let fact = Fact::AnnouncementEnded {
                side,
                prompt,
                completion,
            };
            self.note(cx, &fact);
        }
        if progress == Progress::Done {
            self.announced(cx);
        }
        self.settle(cx);
    }

    /// The party of a leg pressed a key.
    pub(super) fn digit(&mut self, cx: &mut Context<'_>, leg: LegId, digit: Digit) {
        if let Some(side) = self.audience.side_of(leg) {
            self.act(cx, side, |recorded, cx, to| recorded.digit(cx, to, digit));
            self.settle(cx);
        }
    }

    /// The legs whose digits may be feature codes: those of owners.
    pub(super) fn digit_legs(&self) -> Vec<LegId> {
        let owners = [Side::Caller, Side::Callee].into_iter();
        let owners = owners.filter(|side| self.has(*side));
        owners
            .filter_map(|side| self.audience.legs.of(side))
            .collect()
    }

    /// A side asks for something: of its own recording.
    pub(super) fn control(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        by: Means,
        control: Control,
    ) -> Result<(), Refusal> {
        let whose = match self.get(side) {
            Some(_) => side,
            None => side.other(),
        };
        let done = self.act(cx, whose, |recorded, cx, to| {
            recorded.control(cx, to, (side, by), control)
        });
        self.settle(cx);
        done.unwrap_or(Err(Refusal::NotRecorded))
    }

    /// Audio of a recording was lost.
    pub(super) fn trouble(&mut self, cx: &mut Context<'_>, id: RecordingId, reason: &str) {
        let all = [&mut self.caller, &mut self.callee].into_iter().flatten();
        for recorded in all.filter(|recorded| recorded.id() == id) {
            recorded.trouble(cx, reason);
        }
        self.settle(cx);
    }

    /// The call is of this kind from now.
    pub(super) fn are_now(&mut self, class: Class) {
        let all = [&mut self.caller, &mut self.callee].into_iter().flatten();
        all.for_each(|recorded| recorded.is_now(class));
    }

    /// The call is over.
    pub(super) fn ended(&mut self, cx: &mut Context<'_>, by: HungUpBy, closing: &Closing) {
        self.audience.hush();
        self.note_news(cx);
        for recorded in [&mut self.callee, &mut self.caller].into_iter().flatten() {
            recorded.ended(cx, by, closing);
        }
    }

    /// Keeps a fact in all recordings.
    pub(super) fn note(&self, cx: &mut Context<'_>, fact: &Fact) {
        for recorded in self.all() {
            recorded.note(cx, fact.clone());
        }
    }

    /// Keeps a fact in the recording of one side.
    pub(super) fn note_at(&self, cx: &mut Context<'_>, side: Side, fact: Fact) {
        if let Some(recorded) = self.get(side) {
            recorded.note(cx, fact);
        }
    }

    /// Ends the recording of one side alone; nobody leaves.
    pub(super) fn close(&mut self, cx: &mut Context<'_>, side: Side, by: HungUpBy, c: &Closing) {
        if let Some(mut recorded) = self.slot(side).take() {
            recorded.ended(cx, by, c);
        }
    }

    /// Whether an announcement runs.
    pub(super) fn is_announcing(&self) -> bool {
        self.audience.is_announcing()
    }

    /// The recording of a side: its name, its owner, and where it stands.
    pub(super) fn standing(&self, side: Side) -> Option<(RecordingId, UserIndex, Phase)> {
        self.get(side).map(Recorded::standing)
    }

    /// Whose recording this is: the first of a half, or the one that there is now.
    pub(super) fn side_of(&self, recording: RecordingId) -> Option<Side> {
        let is = |side: &Side| {
            let own = self.get(*side);
            own.is_some_and(|own| own.names().contains(&recording))
        };
        [Side::Caller, Side::Callee].into_iter().find(is)
    }

    /// Whether a side has a recording.
    pub(super) fn has(&self, side: Side) -> bool {
        self.get(side).is_some()
    }

    pub(super) fn get(&self, side: Side) -> Option<&Recorded> {
        match side {
            Side::Caller => self.caller.as_ref(),
            Side::Callee => self.callee.as_ref(),
        }
    }

    pub(super) fn slot(&mut self, side: Side) -> &mut Option<Recorded> {
        match side {
            Side::Caller => &mut self.caller,
            Side::Callee => &mut self.callee,
        }
    }

    fn all(&self) -> impl Iterator<Item = &Recorded> {
        self.callee.iter().chain(&self.caller)
    }
}

/// How much a policy takes from the call: the one that takes more wins.
fn strictness(then: OnFailure) -> u8 {
    match then {
        OnFailure::Refuse | OnFailure::GoOn => 0,
        OnFailure::GoOnAnnounced => 1,
        OnFailure::EndAnnounced => 2,
    }
}
