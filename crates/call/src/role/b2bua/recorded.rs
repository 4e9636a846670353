//! One recording on behalf of one party: lets the machines for recording, repeat tone and feature
//! codes work together, and says what comes of it to the media plane.

use std::sync::Arc;
use std::time::Instant;

use crate::fact::{Fact, HungUpBy, Means, Side};
use crate::feature_code::{Collector, Digit, Verdict};
use crate::log::LogEvent;
use crate::media::{End, Ending, LegId, MediaCommand, PromptName, RecordingId, Sound};
use crate::plan::RecordingPlan;
use crate::policy::{Announce, Notice, RecordingSettings};
use crate::recording::{Control, Input, Outcome, Phase, Recording, Refusal, Step};
use crate::role::b2bua::context::Context;
use crate::role::b2bua::sounds::{Audience, Voice};
use crate::settings::UserIndex;
use crate::tone::{Due, RepeatTone};

/// A recording whose row exists, and what its call has to do for it.
pub(crate) struct Recorded {
    id: RecordingId,
    /// Where the owner sits now.
    owner: Side,
    /// Where the owner sat when the row was made: facts go on to be told from there.
    opened_as: Side,
    /// On whose behalf.
    user: UserIndex,
    settings: Arc<RecordingSettings>,
    announce: Announce,
    language: String,
    machine: Recording,
    tone: Option<RepeatTone>,
    collector: Option<Collector>,
    row: Row,
    channel: Channel,
    /// How the last accepted control was asked for: a pause may take effect later.
    asked_by: Means,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    Open,
    Closed,
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
    /// The recording `plan` asks for; its row has been opened.
    pub(super) fn new(id: RecordingId, plan: &RecordingPlan, cx: &Context<'_>) -> Self {
        let owner = &cx.settings.users[plan.owner.0];
        let announce = plan.announce();
        let codes = || Collector::new(cx.settings.feature_codes.clone());
        Self {
            id,
            owner: plan.side,
            opened_as: plan.side,
            user: plan.owner,
            settings: Arc::clone(&plan.settings),
            announce,
            language: cx.settings.language_of(owner).to_owned(),
            machine: Recording::new(plan.settings.mode, announce),
            tone: plan.settings.repeat_tone.map(RepeatTone::new),
            collector: plan.may_pause().then(codes),
            row: Row::Open,
            channel: Channel::Turned,
            asked_by: Means::FeatureCode,
        }
    }

    pub(super) fn id(&self) -> RecordingId {
        self.id
    }

    /// Its name, its owner, and where it stands.
    pub(super) fn standing(&self) -> (RecordingId, UserIndex, Phase) {
        (self.id, self.user, self.machine.phase())
    }

    /// Whether the owner's digits may be feature codes.
    pub(super) fn takes_digits(&self) -> bool {
        self.collector.is_some() && self.row == Row::Open
    }

    /// When [`Recorded::expire`] is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let collector = self.collector.as_ref().and_then(Collector::deadline);
        [self.next_tone(), collector].into_iter().flatten().min()
    }

    /// When the next repeat tone is due; `None` where none sounds.
    pub(super) fn next_tone(&self) -> Option<Instant> {
        self.tone.as_ref().and_then(RepeatTone::deadline)
    }

    /// Whether the repeat tone is due.
    pub(super) fn tone_due(&mut self, now: Instant) -> Due {
        self.tone.as_mut().map_or(Due::NotYet, |tone| tone.due(now))
    }

    /// Half a feature code may have waited long enough.
    pub(super) fn expire(&mut self, cx: &mut Context<'_>, to: &mut Audience) {
        let verdict = self.collector.as_mut().map(|c| c.expire(cx.now));
        if let Some(verdict) = verdict {
            self.sorted(cx, to, verdict);
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
        let refusal = if side == self.owner {
            self.asked_by = by;
            self.feed(cx, to, Input::Asked(control))
        } else {
            Some(Refusal::NotOwner)
        };
        let Some(why) = refusal else {
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

    /// The recorder reported a loss that the recording survives.
    pub(super) fn trouble(&self, cx: &mut Context<'_>, reason: String) {
        let fact = Fact::Trouble {
            reason: reason.clone(),
        };
        self.note(cx, fact);
        let recording = self.id;
        cx.log(LogEvent::RecordingTrouble { recording, reason });
    }

    /// The recorder lost the recording; the call goes on.
    pub(super) fn lost(&mut self, cx: &mut Context<'_>, reason: String) {
        self.trouble(cx, reason.clone());
        let steps = self.machine.handle(Input::Lost);
        let unstarted = End::Failed;
        self.close(cx, &steps, Closing { unstarted, reason });
    }

    /// The call is over, or the owner has left it.
    pub(super) fn ended(&mut self, cx: &mut Context<'_>, by: HungUpBy, closing: Closing) {
        // Half a code is nobody's any more.
        self.collector = None;
        self.note(cx, Fact::HungUp { by });
        let steps = self.machine.handle(Input::Ended);
        self.close(cx, &steps, closing);
    }

    /// Keeps a fact, as long as the row is open.
    pub(super) fn note(&self, cx: &mut Context<'_>, fact: Fact) {
        if self.row == Row::Open {
            let fact = match self.owner == self.opened_as {
                true => fact,
                false => fact.turned(),
            };
            let recording = self.id;
            cx.media(MediaCommand::Note { recording, fact });
        }
    }

    /// Whether it is past the answer and not over.
    pub(super) fn is_under_way(&self) -> bool {
        self.machine.is_under_way() && self.row == Row::Open
    }

    /// The owner sits there from now.
    pub(super) fn move_to(&mut self, side: Side) {
        self.owner = side;
    }

    /// Nobody is across from the owner now.
    pub(super) fn alone(&mut self, cx: &mut Context<'_>) {
        self.channel = Channel::Turned;
        self.turn(cx, None);
    }

    /// Somebody else is across from the owner: recorded at once, or after hearing of it.
    pub(super) fn faced(&mut self, cx: &mut Context<'_>, to: &mut Audience) {
        let across = self.owner.other();
        let untold = self.announce == Announce::On && !to.is_told(across);
        if self.is_under_way() && (untold || self.machine.is_announcing()) {
            self.channel = Channel::Waiting;
            to.wanted.get_or_insert_with(|| self.voice());
            return;
        }
        self.turn(cx, to.legs.of(across));
    }

    fn turn(&self, cx: &mut Context<'_>, other: Option<LegId>) {
        if self.row == Row::Open {
            let recording = self.id;
            cx.media(MediaCommand::TurnRecording { recording, other });
        }
    }

    /// Everybody who is there has heard the announcement.
    pub(super) fn announced(&mut self, cx: &mut Context<'_>, to: &mut Audience) {
        if self.channel == Channel::Waiting {
            self.channel = Channel::Turned;
            self.turn(cx, to.legs.of(self.owner.other()));
        }
        self.feed(cx, to, Input::Announced);
    }

    fn sorted(&mut self, cx: &mut Context<'_>, to: &mut Audience, verdict: Verdict) {
        let digits = verdict.release;
        if let Some(leg) = to
            .legs
            .of(self.owner.other())
            .filter(|_| !digits.is_empty())
        {
            cx.media(MediaCommand::SendDigits { leg, digits });
        }
        let Some(control) = verdict.code else {
            return;
        };
        // A code that does not fit has no effect; the refusal is a fact already.
        let _ = self.control(cx, to, (self.owner, Means::FeatureCode), control);
    }

    /// Gives the machine an input and does what it says; returns the refusal of a control.
    pub(super) fn feed(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Audience,
        input: Input,
    ) -> Option<Refusal> {
        let mut refusal = None;
        for step in self.machine.handle(input) {
            match step {
                Step::Announce => {
                    to.wanted.get_or_insert_with(|| self.voice());
                }
                Step::Start => self.start(cx),
                Step::Pause => self.pause(cx, to),
                Step::Resume => self.resume(cx, to),
                Step::Refuse(why) => refusal = Some(why),
                Step::Accept | Step::Close(_) => {}
            }
        }
        refusal
    }

    fn voice(&self) -> Voice {
        Voice {
            language: self.language.clone(),
            whose: self.user,
        }
    }

    fn start(&mut self, cx: &mut Context<'_>) {
        cx.media(MediaCommand::StartRecording { recording: self.id });
        self.note(cx, Fact::RecordingStarted);
        cx.log(LogEvent::RecordingStarted { recording: self.id });
        if let Some(tone) = &mut self.tone {
            tone.start(cx.now);
        }
    }

    fn pause(&mut self, cx: &mut Context<'_>, to: &mut Audience) {
        let by = self.asked_by;
        cx.media(MediaCommand::PauseRecording { recording: self.id });
        self.note(cx, Fact::Paused { by });
        let recording = self.id;
        cx.log(LogEvent::RecordingPaused { recording, by });
        if let Some(tone) = &mut self.tone {
            tone.silence();
        }
        self.notice(cx, to, PromptName::RecordingPaused);
    }

    fn resume(&mut self, cx: &mut Context<'_>, to: &mut Audience) {
        let by = self.asked_by;
        cx.media(MediaCommand::ResumeRecording { recording: self.id });
        self.note(cx, Fact::Resumed { by });
        let recording = self.id;
        cx.log(LogEvent::RecordingResumed { recording, by });
        if let Some(tone) = &mut self.tone {
            tone.start(cx.now);
        }
        self.notice(cx, to, PromptName::RecordingResumed);
    }

    /// Tells everybody that the recording was paused or resumed; what still sounds is cut first.
    fn notice(&mut self, cx: &mut Context<'_>, to: &mut Audience, prompt: PromptName) {
        if !to.is_announcing() {
            to.stop(cx);
        }
        match self.settings.notice {
            Notice::None => {}
            Notice::Beep => {
                to.play(cx, &Sound::Beep);
                self.note(cx, Fact::BeepPlayed);
            }
            Notice::Announcement => {
                to.play(cx, &self.voice().says(prompt));
                for side in [Side::Caller, Side::Callee] {
                    if to.legs.of(side).is_some() {
                        self.note(cx, Fact::AnnouncementStarted { side, prompt });
                    }
                }
            }
        }
    }

    fn close(&mut self, cx: &mut Context<'_>, steps: &[Step], closing: Closing) {
        let Some(outcome) = steps.iter().find_map(|step| match step {
            Step::Close(outcome) => Some(*outcome),
            _ => None,
        }) else {
            return;
        };
        let end = match outcome {
            Outcome::Finished => End::Finished,
            Outcome::NeverStarted => closing.unstarted,
            Outcome::Lost => End::Failed,
        };
        if let Some(tone) = &mut self.tone {
            tone.silence();
        }
        self.row = Row::Closed;
        let recording = self.id;
        let reason = closing.reason;
        let ending = Ending { end, reason };
        cx.media(MediaCommand::CloseRecording { recording, ending });
        cx.log(LogEvent::RecordingClosed { recording, end });
    }
}
