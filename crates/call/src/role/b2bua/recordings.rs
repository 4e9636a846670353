//! The recordings of a call: at most one for each side, on behalf of its party. They begin and are
//! controlled apart; what the parties hear of them they hear once.

use std::time::Instant;

use crate::announcement::Progress;
use crate::fact::{Arrival, Departure, Fact, HungUpBy, Means, Opening, Side};
use crate::feature_code::Digit;
use crate::log::LogEvent;
use crate::media::{
    Completion, LegId, MediaCommand, MediaGroup, PlayId, PromptName, RecordingId, Sound,
};
use crate::plan::RecordingPlan;
use crate::recording::{Control, Input, Phase, Refusal};
use crate::role::b2bua::context::Context;
use crate::role::b2bua::recorded::{Closing, Recorded};
use crate::role::b2bua::sounds::{Audience, Legs};
use crate::settings::UserIndex;
use crate::tone::Due;

/// The order in which the two sides have a say in what is heard.
const RULING: [Side; 2] = [Side::Callee, Side::Caller];

/// The recordings of one call.
pub(crate) struct Recordings {
    caller: Option<Recorded>,
    callee: Option<Recorded>,
    audience: Audience,
}

/// What goes along with a party that moves to another call.
pub(crate) struct Carried {
    recorded: Option<Recorded>,
    /// Whether it has heard that calls are recorded.
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Yes,
    No,
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
        let across = self.get(plan.side.other()).map(Recorded::id);
        if let Some(across) = across {
            recorded.note(cx, Fact::OtherRecording { recording: across });
            let recording = recorded.id();
            self.note_at(cx, plan.side.other(), Fact::OtherRecording { recording });
        }
        *self.slot(plan.side) = Some(recorded);
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
        self.each(|recorded, audience| recorded.expire(cx, audience));
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
        for side in RULING {
            self.feed(cx, side, Input::Answered);
        }
        self.announce(cx);
    }

    fn feed(&mut self, cx: &mut Context<'_>, side: Side, input: Input) {
        let Self {
            caller,
            callee,
            audience,
        } = self;
        let recorded = match side {
            Side::Caller => caller,
            Side::Callee => callee,
        };
        if let Some(recorded) = recorded {
            recorded.feed(cx, audience, input);
        }
    }

    /// Tells the parties that the call is recorded, where a recording waits for that.
    fn announce(&mut self, cx: &mut Context<'_>) {
        let Some(voice) = self.audience.wanted.take() else {
            return;
        };
        let prompt = PromptName::RecordingStarts;
        for side in self.audience.announce(cx, &voice) {
            self.note(cx, &Fact::AnnouncementStarted { side, prompt });
        }
        if !self.audience.is_announcing() {
            self.announced(cx);
        }
    }

    fn announced(&mut self, cx: &mut Context<'_>) {
        self.each(|recorded, audience| recorded.announced(cx, audience));
    }

    /// A sound has ended on a leg.
    pub(super) fn played(
        &mut self,
        cx: &mut Context<'_>,
        leg: LegId,
        play: PlayId,
        completion: Completion,
    ) {
        let (ended, progress) = self.audience.played(leg, play);
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
    }

    /// The party of a leg pressed a key.
    pub(super) fn digit(&mut self, cx: &mut Context<'_>, leg: LegId, digit: Digit) {
        for side in RULING {
            if self.audience.legs.of(side) != Some(leg) {
                continue;
            }
            let (recorded, audience) = self.with_audience(side);
            if let Some(recorded) = recorded {
                recorded.digit(cx, audience, digit);
            }
        }
    }

    /// The legs whose digits may be feature codes.
    pub(super) fn digit_legs(&self) -> Vec<LegId> {
        let takes = |side: &Side| self.get(*side).is_some_and(Recorded::takes_digits);
        let sides = [Side::Caller, Side::Callee].into_iter().filter(takes);
        sides
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
        let (recorded, audience) = self.with_audience(whose);
        let recorded = recorded.ok_or(Refusal::NotRecorded)?;
        recorded.control(cx, audience, (side, by), control)
    }

    /// The recorder reported a loss that a recording survives.
    pub(super) fn trouble(&mut self, cx: &mut Context<'_>, id: RecordingId, reason: String) {
        if let Some(recorded) = self.all().find(|recorded| recorded.id() == id) {
            recorded.trouble(cx, reason);
        }
    }

    /// The recorder lost a recording.
    pub(super) fn lost(&mut self, cx: &mut Context<'_>, id: RecordingId, reason: String) {
        let all = [&mut self.caller, &mut self.callee].into_iter().flatten();
        for recorded in all.filter(|recorded| recorded.id() == id) {
            recorded.lost(cx, reason.clone());
        }
    }

    /// The call is over.
    pub(super) fn ended(&mut self, cx: &mut Context<'_>, by: HungUpBy, closing: &Closing) {
        self.audience.hush();
        self.each(|recorded, _| recorded.ended(cx, by, closing.clone()));
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

    /// The party of a side leaves: its own recording ends, that of the other one goes on.
    pub(super) fn leave(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        how: Departure,
        (by, closing): (HungUpBy, Closing),
    ) {
        if let Some(mut recorded) = self.slot(side).take() {
            recorded.ended(cx, by, closing);
        }
        self.vacate(cx, side, how);
    }

    /// The party of a side leaves for another call, and its recording goes with it.
    pub(super) fn take(&mut self, side: Side) -> Carried {
        let told = match self.audience.is_told(side) {
            true => Told::Yes,
            false => Told::No,
        };
        let recorded = self.slot(side).take();
        // What still sounds to it is not waited for.
        let _ = self.audience.seat(side, None);
        Carried { recorded, told }
    }

    fn vacate(&mut self, cx: &mut Context<'_>, side: Side, how: Departure) {
        let was_there = self.audience.legs.of(side).is_some();
        let progress = self.audience.seat(side, None);
        let (recorded, _) = self.with_audience(side.other());
        if let Some(recorded) = recorded.filter(|_| was_there) {
            recorded.note(cx, Fact::PartyLeft { side, how });
            recorded.alone(cx);
        }
        if progress == Progress::Done {
            self.announced(cx);
        }
    }

    /// A party comes to a side that is free, with a recording of its own or without; `numbers` are its
    /// own and that of the party it meets.
    pub(super) fn join(
        &mut self,
        cx: &mut Context<'_>,
        (side, leg): (Side, LegId),
        [number, across]: [&str; 2],
        (how, with): (Arrival, Carried),
    ) {
        self.sit(side, leg, with);
        self.meets(cx, side.other(), number, how);
        if self.get(side).is_some_and(Recorded::is_under_way) {
            let left = Fact::PartyLeft {
                side: side.other(),
                how: Departure::Transferred,
            };
            self.note_at(cx, side, left);
            self.meets(cx, side, across, how);
        }
        let ids = [side, side.other()].map(|side| self.get(side).map(Recorded::id));
        if let [Some(own), Some(other)] = ids {
            self.note_at(cx, side, Fact::OtherRecording { recording: other });
            self.note_at(cx, side.other(), Fact::OtherRecording { recording: own });
        }
        self.feed(cx, side, Input::Answered);
        self.announce(cx);
        if !self.audience.is_announcing() {
            self.announced(cx);
        }
    }

    /// Another party than the one that was called answers: nothing has begun yet.
    pub(super) fn picked_up(
        &mut self,
        cx: &mut Context<'_>,
        (side, leg): (Side, LegId),
        number: &str,
        with: Carried,
    ) {
        self.vacate(cx, side, Departure::Replaced);
        self.sit(side, leg, with);
        self.meets(cx, side.other(), number, Arrival::PickedUp);
        // The announcement comes when the call is answered.
        self.audience.wanted = None;
    }

    fn sit(&mut self, side: Side, leg: LegId, with: Carried) {
        // Whoever was there has left already.
        let _ = self.audience.seat(side, Some(leg));
        if with.told == Told::Yes {
            self.audience.tell(side);
        }
        *self.slot(side) = with.recorded;
        if let Some(recorded) = self.slot(side) {
            recorded.move_to(side);
        }
    }

    /// The owner of `side` is across from another party now.
    fn meets(&mut self, cx: &mut Context<'_>, side: Side, number: &str, how: Arrival) {
        let joined = Fact::PartyJoined {
            side: side.other(),
            number: number.to_owned(),
            how,
        };
        let (recorded, audience) = self.with_audience(side);
        if let Some(recorded) = recorded {
            recorded.note(cx, joined);
            recorded.faced(cx, audience);
        }
    }

    /// Ends the recording of one side alone; nobody leaves.
    pub(super) fn close(&mut self, cx: &mut Context<'_>, side: Side, by: HungUpBy, c: Closing) {
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

    /// Whose recording this is.
    pub(super) fn side_of(&self, recording: RecordingId) -> Option<Side> {
        let is = |side: &Side| self.get(*side).is_some_and(|own| own.id() == recording);
        [Side::Caller, Side::Callee].into_iter().find(is)
    }

    /// Whether a side has a recording.
    pub(super) fn has(&self, side: Side) -> bool {
        self.get(side).is_some()
    }

    fn get(&self, side: Side) -> Option<&Recorded> {
        match side {
            Side::Caller => self.caller.as_ref(),
            Side::Callee => self.callee.as_ref(),
        }
    }

    fn slot(&mut self, side: Side) -> &mut Option<Recorded> {
        match side {
            Side::Caller => &mut self.caller,
            Side::Callee => &mut self.callee,
        }
    }

    fn with_audience(&mut self, side: Side) -> (Option<&mut Recorded>, &mut Audience) {
        let recorded = match side {
            Side::Caller => self.caller.as_mut(),
            Side::Callee => self.callee.as_mut(),
        };
        (recorded, &mut self.audience)
    }

    fn all(&self) -> impl Iterator<Item = &Recorded> {
        self.callee.iter().chain(&self.caller)
    }

    fn each(&mut self, mut act: impl FnMut(&mut Recorded, &mut Audience)) {
        for recorded in [&mut self.callee, &mut self.caller].into_iter().flatten() {
            act(recorded, &mut self.audience);
        }
    }
}

impl Carried {
    /// A party that is new here.
    pub(super) fn new(recorded: Option<Recorded>) -> Self {
        let told = Told::No;
        Self { recorded, told }
    }

    /// The recording that goes along.
    pub(crate) fn recording(&self) -> Option<RecordingId> {
        self.recorded.as_ref().map(Recorded::id)
    }

    /// The recorder lost its recording.
    pub(super) fn lost(&mut self, cx: &mut Context<'_>, id: RecordingId, reason: &str) {
        if let Some(recorded) = self
            .recorded
            .as_mut()
            .filter(|recorded| recorded.id() == id)
        {
            recorded.lost(cx, reason.to_owned());
        }
    }

    /// Its recording ends: nobody wants the party.
    pub(super) fn end(self, cx: &mut Context<'_>, by: HungUpBy, closing: Closing) {
        if let Some(mut recorded) = self.recorded {
            recorded.ended(cx, by, closing);
        }
    }
}

/// A recording's id and where its legs are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) recording: RecordingId,
    pub(crate) group: MediaGroup,
    pub(crate) owner: LegId,
    pub(crate) other: LegId,
}

impl Recorded {
    /// Makes the row of a recording.
    pub(super) fn open(
        cx: &mut Context<'_>,
        plan: &RecordingPlan,
        opening: Opening,
        at: Placed,
    ) -> Self {
        let Placed {
            recording,
            group,
            owner,
            other,
        } = at;
        let opening = Box::new(opening);
        cx.media(MediaCommand::OpenRecording {
            recording,
            group,
            owner,
            other,
            opening,
        });
        cx.log(LogEvent::RecordingOpened { recording });
        Self::new(recording, plan, cx)
    }
}
