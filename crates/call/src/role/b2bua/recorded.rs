//! The recordings of one half of a call, on behalf of one party: lets the machines for recording, repeat
//! tone and feature codes work together, and says what comes of it to the media plane.

mod class;
mod steps;

use std::sync::Arc;
use std::time::Instant;

use crate::class::Class;
use crate::fact::{Fact, HungUpBy, Means, Opening, Side};
use crate::feature_code::{Collector, Digit, Verdict};
use crate::gate::Gate;
use crate::log::LogEvent;
use crate::media::{End, LegId, MediaCommand, RecordingId};
use crate::plan::{RecordingPlan, failing, listed};
use crate::policy::{DoNotRecordReason, OnFailure, RecordingSettings};
use crate::recording::{Control, Input, Loss, Phase, Recording, Refusal};
use crate::role::b2bua::context::Context;
use crate::role::b2bua::row::{Placed, Row};
use crate::role::b2bua::sounds::{Audience, Beside, Telling, Voice};
use crate::settings::UserIndex;
use crate::tone::{Due, RepeatTone};

/// One half of a call that has a row, and what its call has to do for it.
pub(crate) struct Recorded {
    row: Row,
    /// Where the owner sits now.
    owner: Side,
    /// On whose behalf, and what is said.
    telling: Telling,
    settings: Arc<RecordingSettings>,
    /// Of what kind the call is now, and whether the owner called or was called.
    class: Class,
    role: Side,
    machine: Recording,
    tone: Option<RepeatTone>,
    collector: Option<Collector>,
    channel: Channel,
    /// When a pause ends by itself.
    resume_at: Option<Instant>,
    /// Why audio is missing that nobody had asked for.
    missing: Option<String>,
    /// Why nothing is recorded, in words, where that is known before the end.
    obstacle: Option<String>,
    /// What is to become of the call because of that, and has not yet.
    failure: Option<OnFailure>,
}

/// Whose audio the right channel has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    /// That of the party across.
    Turned,
    /// That of the party across as soon as that one has heard of the recording.
    Waiting,
}

/// How a call came to its end, for its recording's row.
#[derive(Debug, Clone)]
pub(crate) struct Closing {
    /// The end state where the recording had not started.
    pub(crate) unstarted: End,
    /// One sentence for a person.
    pub(crate) reason: String,
}

impl Recorded {
    /// Makes the row of the recording that `plan` asks for. Nothing will be captured where the recorder
    /// takes nothing now.
    pub(super) fn open(
        cx: &mut Context<'_>,
        plan: &RecordingPlan,
        opening: Opening,
        at: Placed,
    ) -> Self {
        let owner = &cx.settings.users[plan.owner.0];
        let voice = Voice {
            language: cx.settings.language_of(owner).to_owned(),
            whose: plan.owner,
        };
        let telling = Telling::of(voice, &plan.settings, (plan.class, plan.role));
        let announce = telling.announces();
        let mut recorded = Self {
            row: Row::open(cx, opening, at),
            owner: plan.side,
            telling,
            settings: Arc::clone(&plan.settings),
            class: plan.class,
            role: plan.role,
            machine: Recording::new(plan.settings.mode, announce),
            tone: plan.settings.repeat_tone.map(RepeatTone::new),
            collector: Some(Collector::new(cx.settings.feature_codes.clone())),
            channel: Channel::Turned,
            resume_at: None,
            missing: None,
            obstacle: None,
            failure: None,
        };
        if let Some(reason) = plan.listed {
            recorded.is_listed(cx, reason);
            // Not answered yet: no step comes of it.
            let _ = recorded.machine.handle(Input::Listed);
        }
        if let Gate::Closed { reason, .. } = cx.gate {
            recorded.obstacle = Some(reason.clone());
            recorded.fails(cx);
            let _ = recorded.machine.handle(Input::Barred);
        }
        recorded
    }

    /// The recording that there is now.
    pub(super) fn id(&self) -> RecordingId {
        self.row.id()
    }

    /// The names by which it is known: that of its first recording, and of the last one.
    pub(super) fn names(&self) -> [RecordingId; 2] {
        [self.row.first(), self.row.id()]
    }

    /// Its name, its owner, and where it stands.
    pub(super) fn standing(&self) -> (RecordingId, UserIndex, Phase) {
        let owner = self.telling.voice.whose;
        (self.row.first(), owner, self.machine.phase())
    }

    /// What it is for the one across.
    pub(super) fn beside(&self) -> Beside {
        match (self.machine.is_announcing(), self.is_under_way()) {
            (true, _) => Beside::Waits(self.id()),
            (false, true) if self.channel == Channel::Waiting => Beside::Waits(self.id()),
            (false, true) if self.machine.phase() == Phase::Paused => Beside::Paused(self.id()),
            (false, true) => Beside::Captures(self.id()),
            (false, false) => Beside::Nothing,
        }
    }

    /// When [`Recorded::expire`] is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let collector = self.collector.as_ref().and_then(Collector::deadline);
        let own = [self.next_tone(), collector, self.resume_at];
        own.into_iter().flatten().min()
    }

    /// When the next repeat tone is due; `None` where none sounds.
    pub(super) fn next_tone(&self) -> Option<Instant> {
        self.tone.as_ref().and_then(RepeatTone::deadline)
    }

    /// Whether the repeat tone is due.
    pub(super) fn tone_due(&mut self, now: Instant) -> Due {
        self.tone.as_mut().map_or(Due::NotYet, |tone| tone.due(now))
    }

    /// Half a feature code may have waited long enough, a pause may have lasted long enough.
    pub(super) fn expire(&mut self, cx: &mut Context<'_>, to: &mut Audience) {
        let verdict = self.collector.as_mut().map(|c| c.expire(cx.now));
        if let Some(verdict) = verdict {
            self.sorted(cx, to, verdict);
        }
        if self.resume_at.is_some_and(|at| at <= cx.now) {
            self.feed(cx, to, Input::Limit);
        }
    }

    /// The owner pressed a key.
    pub(super) fn digit(&mut self, cx: &mut Context<'_>, to: &mut Audience, digit: Digit) {
        if let Some(verdict) = self.collector.as_mut().map(|c| c.press(cx.now, digit)) {
            self.sorted(cx, to, verdict);
        }
    }

    /// A side asks for something.
    pub(super) fn control(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Audience,
        (side, by): (Side, Means),
        control: Control,
    ) -> Result<(), Refusal> {
        let barred = matches!(cx.gate, Gate::Closed { .. });
        let refusal = if side != self.owner {
            Some(Refusal::NotOwner)
        } else if barred && self.machine.begins_with(control) {
            Some(Refusal::CannotRecord)
        } else {
            self.feed(cx, to, Input::Asked(control, by))
        };
        let Some(why) = refusal else {
            // What there is is kept before it ends. Where nothing stands in the way any more, it goes on.
            let missing = self.missing.take_if(|_| control == Control::Start);
            if let Some(reason) = missing.filter(|_| barred) {
                self.lose(cx, &reason);
            }
            return Ok(());
        };
        let fact = Fact::ControlRefused {
            side,
            by,
            control,
            why,
        };
        self.note(cx, fact);
        cx.log(LogEvent::ControlRefused {
            side,
            by,
            control,
            why,
        });
        Err(why)
    }

    /// Audio was lost. What nobody had asked for is nobody's loss until somebody does.
    pub(super) fn trouble(&mut self, cx: &mut Context<'_>, reason: &str) {
        let fact = Fact::Trouble {
            reason: reason.to_owned(),
        };
        self.note(cx, fact);
        cx.log(LogEvent::RecordingTrouble {
            recording: self.id(),
            reason: reason.to_owned(),
        });
        match self.machine.loss() {
            Loss::Silent => self.missing = Some(reason.to_owned()),
            Loss::Wanted => self.lose(cx, reason),
        }
    }

    /// Ends the recording where the settings have the parties told that there is none any more. Else what
    /// comes later is kept, and a gap says what is not there.
    fn lose(&mut self, cx: &mut Context<'_>, reason: &str) {
        let over = !self.row.is_open() || self.machine.phase() == Phase::Failed;
        if over || self.failing() == OnFailure::GoOn {
            return;
        }
        self.fails(cx);
        self.obstacle = Some(reason.to_owned());
        let closing = Closing {
            unstarted: End::Failed,
            reason: reason.to_owned(),
        };
        let steps = self.machine.handle(Input::Lost);
        self.close(cx, &steps, &closing);
        self.silence();
    }

    /// The settings say what becomes of a call that cannot be recorded. What nobody had asked for is
    /// nobody's loss.
    fn fails(&mut self, cx: &mut Context<'_>) {
        let then = self.failing();
        self.note(cx, Fact::Failed { then });
        let recording = self.id();
        cx.log(LogEvent::RecordingFailed { recording, then });
        self.failure = Some(then);
    }

    fn failing(&self) -> OnFailure {
        match (
            self.machine.loss(),
            failing(&self.settings, self.class.nature),
        ) {
            (Loss::Silent, _) | (_, OnFailure::Refuse) => OnFailure::GoOn,
            (Loss::Wanted, then) => then,
        }
    }

    /// What is to become of the call because this cannot be recorded, once; with the voice that says so.
    pub(super) fn take_failure(&mut self) -> Option<(OnFailure, Voice)> {
        let failure = self.failure.take()?;
        Some((failure, self.telling.voice.clone()))
    }

    /// The call is over, or the owner has left it.
    pub(super) fn ended(&mut self, cx: &mut Context<'_>, by: HungUpBy, closing: &Closing) {
        // Half a code is nobody's any more.
        self.collector = None;
        self.note(cx, Fact::HungUp { by });
        let steps = self.machine.handle(Input::Ended);
        self.close(cx, &steps, closing);
        self.silence();
        self.conclude(cx);
        self.row.forget(cx);
    }

    /// Closes a row that has its end: nothing that was said with it is missing from it.
    pub(super) fn conclude(&mut self, cx: &mut Context<'_>) {
        self.row.conclude(cx);
    }

    /// Keeps a fact, until the row is closed.
    pub(super) fn note(&self, cx: &mut Context<'_>, fact: Fact) {
        self.row.note(cx, self.owner, fact);
    }

    /// Whether something is captured, or will be when everybody has heard of it.
    pub(super) fn is_under_way(&self) -> bool {
        self.machine.is_under_way()
    }

    /// Whether the owner was in a call before this one.
    pub(super) fn has_begun(&self) -> bool {
        self.machine.is_answered()
    }

    /// The owner sits there from now.
    pub(super) fn move_to(&mut self, side: Side) {
        self.owner = side;
    }

    /// Nobody is across from the owner now.
    pub(super) fn alone(&mut self, cx: &mut Context<'_>, to: &mut Audience) {
        self.channel = Channel::Turned;
        self.turn(cx, None);
        self.feed(cx, to, Input::Unlisted);
    }

    /// The party across is known by this number now, or is another one.
    pub(super) fn meets(&mut self, cx: &mut Context<'_>, to: &mut Audience, number: &str) {
        self.row.faces(number);
        match listed(cx.settings, &self.settings, number) {
            Some(reason) => {
                self.is_listed(cx, reason);
                self.feed(cx, to, Input::Listed);
            }
            None => {
                self.feed(cx, to, Input::Unlisted);
            }
        }
    }

    fn is_listed(&mut self, cx: &mut Context<'_>, reason: DoNotRecordReason) {
        let words = match reason {
            DoNotRecordReason::BusinessPrivate => "business, private",
            DoNotRecordReason::Personal => "personal",
            DoNotRecordReason::Vendor => "a vendor",
        };
        let because = format!("the other party is on the do-not-record list: {words}");
        if self.machine.phase() != Phase::Failed {
            self.obstacle = Some(because);
        }
        self.note(cx, Fact::DoNotRecord { reason });
    }

    /// Somebody else is across from the owner: recorded at once, or after hearing of it.
    pub(super) fn faced(&mut self, cx: &mut Context<'_>, to: &mut Audience) {
        let across = self.owner.other();
        let announcing = self.machine.is_announcing();
        // One who is not recorded is told nothing.
        let waits = !self.machine.is_listed() && (to.owes(across, &self.telling) || announcing);
        if self.is_under_way() && waits {
            self.channel = Channel::Waiting;
            to.want_at(across, &self.telling);
            return;
        }
        self.turn(cx, to.legs.of(across));
    }

    fn turn(&self, cx: &mut Context<'_>, other: Option<LegId>) {
        if self.row.is_open() {
            let recording = self.id();
            cx.media(MediaCommand::TurnRecording { recording, other });
        }
    }

    /// Everybody who is there has heard the announcement, or has been waited for as long as anybody is:
    /// the one across is recorded from when they have.
    pub(super) fn announced(&mut self, cx: &mut Context<'_>, to: &mut Audience) {
        let across = self.owner.other();
        let untold = !self.machine.is_listed() && to.owes(across, &self.telling);
        match self.channel {
            Channel::Waiting if !untold => {
                self.channel = Channel::Turned;
                self.turn(cx, to.legs.of(across));
            }
            Channel::Turned if untold && self.machine.is_announcing() => {
                self.channel = Channel::Waiting;
                self.turn(cx, None);
            }
            Channel::Waiting | Channel::Turned => {}
        }
        self.feed(cx, to, Input::Announced);
    }

    fn sorted(&mut self, cx: &mut Context<'_>, to: &mut Audience, verdict: Verdict) {
        let digits = verdict.release;
        let far = to.legs.of(self.owner.other());
        if let Some(leg) = far.filter(|_| !digits.is_empty()) {
            cx.media(MediaCommand::SendDigits { leg, digits });
        }
        let Some(control) = verdict.code else {
            return;
        };
        // A code that does not fit has no effect; the refusal is a fact already.
        let _ = self.control(cx, to, (self.owner, Means::FeatureCode), control);
    }
}
