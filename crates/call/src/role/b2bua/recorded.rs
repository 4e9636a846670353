//! The recording of one call: lets the machines for recording, announcement, repeat tone and
//! feature codes work together, and says what comes of it to the media plane.

use std::time::Instant;

use crate::announcement::{Announcement, Progress};
use crate::fact::{Fact, HungUpBy, Means, Side};
use crate::feature_code::{Collector, Digit, Function, Verdict};
use crate::log::LogEvent;
use crate::media::{
    Completion, End, Ending, LegId, MediaCommand, PlayId, PromptName, RecordingId, Sound,
};
use crate::plan::RecordingPlan;
use crate::recording::{Control, Input, Outcome, Recording, Refusal, Step};
use crate::role::b2bua::context::Context;
use crate::role::b2bua::sounds::{Legs, Sounds};
use crate::settings::{Notice, RecordingSettings};
use crate::tone::{Due, RepeatTone};

/// A recording whose row exists, and what its call has to do for it.
pub(crate) struct Recorded {
    id: RecordingId,
    owner: Side,
    legs: Legs,
    settings: RecordingSettings,
    machine: Recording,
    announcement: Option<Announcement>,
    tone: Option<RepeatTone>,
    collector: Option<Collector>,
    sounds: Sounds,
    row: Row,
    /// How the last accepted control was asked for: a pause may take effect later.
    asked_by: Means,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    Open,
    Closed,
}

/// How a call came to its end, for its recording's row.
pub(crate) struct Closing {
    /// The end state where the recording had not started.
    pub(crate) unstarted: End,
    /// One sentence for a person.
    pub(crate) reason: String,
}

impl Recorded {
    /// The recording `plan` asks for; its row has been opened.
    pub(crate) fn new(id: RecordingId, plan: &RecordingPlan, legs: Legs, cx: &Context<'_>) -> Self {
        let owner = &cx.settings.users[plan.owner.0];
        let codes = || Collector::new(cx.settings.feature_codes.clone());
        Self {
            id,
            owner: plan.side,
            legs,
            settings: plan.settings,
            machine: Recording::new(plan.settings.mode, plan.settings.announce),
            announcement: None,
            tone: plan.settings.repeat_tone.map(RepeatTone::new),
            collector: plan.may_pause().then(codes),
            sounds: Sounds::new(legs, cx.settings.language_of(owner)),
            row: Row::Open,
            asked_by: Means::FeatureCode,
        }
    }

    pub(crate) fn id(&self) -> RecordingId {
        self.id
    }

    /// The leg whose digits may be feature codes.
    pub(crate) fn digits_of(&self) -> Option<LegId> {
        self.collector.as_ref().map(|_| self.legs.of(self.owner))
    }

    /// When [`Recorded::expire`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let announcement = self.announcement.as_ref().and_then(Announcement::deadline);
        let tone = self.tone.as_ref().and_then(RepeatTone::deadline);
        let collector = self.collector.as_ref().and_then(Collector::deadline);
        [announcement, tone, collector].into_iter().flatten().min()
    }

    /// Time has passed.
    pub(crate) fn expire(&mut self, cx: &mut Context<'_>) {
        if let Some(announcement) = &mut self.announcement
            && announcement.expire(cx.now) == Progress::Done
        {
            self.announced(cx);
        }
        if self
            .tone
            .as_mut()
            .is_some_and(|tone| tone.due(cx.now) == Due::Now)
        {
            self.sounds.play(cx, &Sound::RepeatTone);
            self.note(cx, Fact::TonePlayed);
        }
        if let Some(verdict) = self
            .collector
            .as_mut()
            .map(|collector| collector.expire(cx.now))
        {
            self.sorted(cx, verdict);
        }
    }

    /// Both parties are connected.
    pub(crate) fn answered(&mut self, cx: &mut Context<'_>) {
        self.feed(cx, Input::Answered);
    }

    /// A sound has ended on a leg.
    pub(crate) fn played(
        &mut self,
        cx: &mut Context<'_>,
        leg: LegId,
        play: PlayId,
        completion: Completion,
    ) {
        let Some(ended) = self.sounds.ended(leg, play) else {
            return;
        };
        let side = ended.side;
        if let Sound::Prompt { prompt, .. } = ended.sound {
            self.note(
                cx,
                Fact::AnnouncementEnded {
                    side,
                    prompt,
                    completion,
                },
            );
        }
        if let Some(announcement) = &mut self.announcement
            && announcement.played(leg, play) == Progress::Done
        {
            self.announced(cx);
        }
    }

    /// The owner pressed a key.
    pub(crate) fn digit(&mut self, cx: &mut Context<'_>, digit: Digit) {
        if let Some(verdict) = self.collector.as_mut().map(|c| c.press(cx.now, digit)) {
            self.sorted(cx, verdict);
        }
    }

    /// A side asks for something.
    pub(crate) fn control(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        by: Means,
        control: Control,
    ) -> Result<(), Refusal> {
        let refusal = if side == self.owner {
            self.asked_by = by;
            self.feed(cx, Input::Asked(control))
        } else {
            Some(Refusal::NotOwner)
        };
        let Some(why) = refusal else {
            return Ok(());
        };
        self.note(
            cx,
            Fact::ControlRefused {
                side,
                by,
                control,
                why,
            },
        );
        cx.log(LogEvent::ControlRefused {
            side,
            by,
            control,
            why,
        });
        Err(why)
    }

    /// The recorder reported a loss that the recording survives.
    pub(crate) fn trouble(&mut self, cx: &mut Context<'_>, reason: String) {
        self.note(
            cx,
            Fact::Trouble {
                reason: reason.clone(),
            },
        );
        cx.log(LogEvent::RecordingTrouble {
            recording: self.id,
            reason,
        });
    }

    /// The recorder lost the recording; the call goes on.
    pub(crate) fn lost(&mut self, cx: &mut Context<'_>, reason: String) {
        self.trouble(cx, reason.clone());
        let steps = self.machine.handle(Input::Lost);
        self.close(
            cx,
            &steps,
            Closing {
                unstarted: End::Failed,
                reason,
            },
        );
    }

    /// The call is over.
    pub(crate) fn ended(&mut self, cx: &mut Context<'_>, by: HungUpBy, closing: Closing) {
        // Half a code is nobody's any more.
        self.collector = None;
        self.note(cx, Fact::HungUp { by });
        let steps = self.machine.handle(Input::Ended);
        self.close(cx, &steps, closing);
    }

    /// Keeps a fact, as long as the row is open.
    pub(crate) fn note(&self, cx: &mut Context<'_>, fact: Fact) {
        if self.row == Row::Open {
            cx.media(MediaCommand::Note {
                recording: self.id,
                fact,
            });
        }
    }

    fn announced(&mut self, cx: &mut Context<'_>) {
        self.announcement = None;
        self.feed(cx, Input::Announced);
    }

    fn sorted(&mut self, cx: &mut Context<'_>, verdict: Verdict) {
        if !verdict.release.is_empty() {
            let leg = self.legs.of(self.owner.other());
            cx.media(MediaCommand::SendDigits {
                leg,
                digits: verdict.release,
            });
        }
        let control = match verdict.code {
            Some(Function::Pause) => Control::Pause,
            Some(Function::Resume) => Control::Resume,
            None => return,
        };
        // A code that does not fit has no effect; the refusal is a fact already.
        let _ = self.control(cx, self.owner, Means::FeatureCode, control);
    }

    /// Gives the machine an input and does what it says; returns the refusal of a control.
    fn feed(&mut self, cx: &mut Context<'_>, input: Input) -> Option<Refusal> {
        let mut refusal = None;
        for step in self.machine.handle(input) {
            match step {
                Step::Announce => self.announce(cx),
                Step::Start => self.start(cx),
                Step::Pause => self.pause(cx),
                Step::Resume => self.resume(cx),
                Step::Refuse(why) => refusal = Some(why),
                Step::Accept | Step::Close(_) => {}
            }
        }
        refusal
    }

    fn announce(&mut self, cx: &mut Context<'_>) {
        let plays = self.speak(cx, PromptName::RecordingStarts);
        self.announcement = Some(Announcement::new(cx.now, plays));
    }

    fn start(&mut self, cx: &mut Context<'_>) {
        cx.media(MediaCommand::StartRecording { recording: self.id });
        self.note(cx, Fact::RecordingStarted);
        cx.log(LogEvent::RecordingStarted { recording: self.id });
        if let Some(tone) = &mut self.tone {
            tone.start(cx.now);
        }
    }

    fn pause(&mut self, cx: &mut Context<'_>) {
        let by = self.asked_by;
        cx.media(MediaCommand::PauseRecording { recording: self.id });
        self.note(cx, Fact::Paused { by });
        cx.log(LogEvent::RecordingPaused {
            recording: self.id,
            by,
        });
        if let Some(tone) = &mut self.tone {
            tone.silence();
        }
        self.notice(cx, PromptName::RecordingPaused);
    }

    fn resume(&mut self, cx: &mut Context<'_>) {
        let by = self.asked_by;
        cx.media(MediaCommand::ResumeRecording { recording: self.id });
        self.note(cx, Fact::Resumed { by });
        cx.log(LogEvent::RecordingResumed {
            recording: self.id,
            by,
        });
        if let Some(tone) = &mut self.tone {
            tone.start(cx.now);
        }
        self.notice(cx, PromptName::RecordingResumed);
    }

    /// Tells both that the recording was paused or resumed; what still sounds is cut first.
    fn notice(&mut self, cx: &mut Context<'_>, prompt: PromptName) {
        self.sounds.stop(cx);
        match self.settings.notice {
            Notice::None => {}
            Notice::Beep => {
                self.sounds.play(cx, &Sound::Beep);
                self.note(cx, Fact::BeepPlayed);
            }
            Notice::Announcement => {
                self.speak(cx, prompt);
            }
        }
    }

    fn speak(&mut self, cx: &mut Context<'_>, prompt: PromptName) -> [(LegId, PlayId); 2] {
        let plays = self.sounds.speak(cx, prompt);
        for side in [Side::Caller, Side::Callee] {
            self.note(cx, Fact::AnnouncementStarted { side, prompt });
        }
        plays
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
        self.announcement = None;
        if let Some(tone) = &mut self.tone {
            tone.silence();
        }
        self.row = Row::Closed;
        let ending = Ending {
            end,
            reason: closing.reason,
        };
        cx.media(MediaCommand::CloseRecording {
            recording: self.id,
            ending,
        });
        cx.log(LogEvent::RecordingClosed {
            recording: self.id,
            end,
        });
    }
}
