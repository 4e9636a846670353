//! What each step of the machine does: to the media plane, to the facts, and to those who listen.

use crate::fact::{Fact, Means};
use crate::log::LogEvent;
use crate::media::{End, MediaCommand, PromptName, Sound};
use crate::policy::{Announce, Notice};
use crate::recording::{Input, Outcome, Refusal, Step};
use crate::role::b2bua::context::Context;
use crate::role::b2bua::recorded::{Channel, Closing, Recorded};
use crate::role::b2bua::sounds::{Audience, Beside, SIDES};

impl Recorded {
    /// Gives the machine an input and does what it says; returns the refusal of a control.
    pub(crate) fn feed(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Audience,
        input: Input,
    ) -> Option<Refusal> {
        let mut refusal = None;
        let steps = self.machine.handle(input);
        for step in &steps {
            match step {
                Step::Again => self.again(cx, to),
                Step::Announce => {
                    if !to.is_announcing() {
                        to.stop(cx);
                    }
                    to.want(&self.telling);
                }
                Step::Hush => {
                    if !matches!(to.beside, Beside::Waits(_)) {
                        to.cut_announcement(cx);
                    }
                }
                Step::Start(by) => self.start(cx, *by),
                Step::Keep(by) => self.keep(cx, *by),
                Step::Pause(by) => self.pause(cx, to, *by),
                Step::Resume(by) => self.resume(cx, to, *by),
                Step::Stop(by) => self.stop(cx, to, (*by, &steps)),
                Step::Refuse(why) => refusal = Some(*why),
                Step::Accept | Step::Close(_) => {}
            }
        }
        self.resume_at = match (self.machine.is_paused_by_owner(), self.resume_at) {
            (false, _) => None,
            (true, Some(at)) => Some(at),
            (true, None) => self.settings.auto_resume.map(|limit| cx.now + limit),
        };
        refusal
    }

    fn again(&mut self, cx: &mut Context<'_>, to: &Audience) {
        let [own, far] = [self.owner, self.owner.other()].map(|side| to.legs.of(side));
        // A leg that never opens stands for a party that is not there.
        let legs = [own, far].map(|leg| leg.unwrap_or_else(|| cx.ids.leg()));
        self.row.again(cx, self.owner, legs);
        match to.beside {
            Beside::Captures(recording) | Beside::Waits(recording) | Beside::Paused(recording) => {
                self.note(cx, Fact::OtherRecording { recording });
            }
            Beside::Nothing => {}
        }
    }

    fn start(&mut self, cx: &mut Context<'_>, by: Option<Means>) {
        let recording = self.id();
        cx.media(MediaCommand::StartRecording { recording });
        self.note(cx, Fact::RecordingStarted { by });
        cx.log(LogEvent::RecordingStarted { recording, by });
        if let Some(tone) = &mut self.tone {
            tone.start(cx.now);
        }
    }

    fn keep(&mut self, cx: &mut Context<'_>, by: Means) {
        let recording = self.id();
        cx.media(MediaCommand::KeepRecording { recording });
        self.note(cx, Fact::Kept { by });
        cx.log(LogEvent::RecordingKept { recording, by });
    }

    fn pause(&mut self, cx: &mut Context<'_>, to: &mut Audience, by: Means) {
        let recording = self.id();
        cx.media(MediaCommand::PauseRecording { recording });
        self.note(cx, Fact::Paused { by });
        cx.log(LogEvent::RecordingPaused { recording, by });
        self.silence();
        self.notice(cx, to, (by, PromptName::RecordingPaused));
    }

    fn resume(&mut self, cx: &mut Context<'_>, to: &mut Audience, by: Means) {
        let recording = self.id();
        cx.media(MediaCommand::ResumeRecording { recording });
        self.note(cx, Fact::Resumed { by });
        cx.log(LogEvent::RecordingResumed { recording, by });
        if let Some(tone) = &mut self.tone {
            tone.start(cx.now);
        }
        self.notice(cx, to, (by, PromptName::RecordingResumed));
    }

    fn stop(&mut self, cx: &mut Context<'_>, to: &mut Audience, (by, steps): (Means, &[Step])) {
        let recording = self.id();
        self.note(cx, Fact::Stopped { by });
        cx.log(LogEvent::RecordingStopped { recording, by });
        let captured = steps.contains(&Step::Close(Outcome::Stopped));
        // Where the other party's recording goes on, the call is still recorded.
        if captured && to.beside == Beside::Nothing {
            to.cut_announcement(cx);
            to.stop(cx);
            if self.telling.start == Announce::On {
                to.say_stopped(cx, &self.telling.voice);
            }
        }
        // A half without a row waits for nobody.
        self.channel = Channel::Turned;
        self.silence();
        let closing = Closing {
            unstarted: End::NotStarted,
            reason: "its owner stopped it".to_owned(),
        };
        self.close(cx, steps, &closing);
    }

    pub(super) fn silence(&mut self) {
        if let Some(tone) = &mut self.tone {
            tone.silence();
        }
    }

    /// Tells everybody that the recording was paused or resumed; what still sounds is cut first. Where the
    /// party across is recording all the time, the owner alone hears it: for the others nothing changes.
    /// What the owner's list does is told to nobody.
    fn notice(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Audience,
        (by, prompt): (Means, PromptName),
    ) {
        if by == Means::Policy || to.is_parting() {
            return;
        }
        let sides = match to.beside.records() {
            true => vec![self.owner],
            false => SIDES.to_vec(),
        };
        if !to.is_announcing() {
            to.stop_at_sides(cx, &sides);
        }
        let voice = &self.telling.voice;
        let (start, again) = (self.telling.start, self.settings.announce.after_resume);
        if prompt == PromptName::RecordingResumed && (start, again) == (Announce::On, Announce::On)
        {
            return to.say_to_sides(cx, &sides, voice, PromptName::RecordingStarts);
        }
        match self.settings.notice {
            Notice::None => {}
            Notice::Beep => {
                to.play_to_sides(cx, &sides, &Sound::Beep);
                self.note(cx, Fact::BeepPlayed);
            }
            Notice::Announcement => to.say_to_sides(cx, &sides, voice, prompt),
        }
    }

    pub(super) fn close(&mut self, cx: &mut Context<'_>, steps: &[Step], closing: &Closing) {
        let outcome = steps.iter().find_map(|step| match step {
            Step::Close(outcome) => Some(*outcome),
            _ => None,
        });
        let Some(outcome) = outcome else {
            return;
        };
        let said = || closing.reason.clone();
        let obstacle = || self.obstacle.clone().unwrap_or_else(said);
        let (end, reason) = match outcome {
            Outcome::Finished | Outcome::Stopped => (End::Finished, said()),
            Outcome::NeverStarted | Outcome::StoppedEarly => (closing.unstarted, said()),
            Outcome::NotKept => (End::NotKept, "the owner did not ask for it".to_owned()),
            Outcome::NotAsked => (End::NotKept, "the owner did not start it".to_owned()),
            Outcome::DoNotRecord => (End::NotKept, obstacle()),
            Outcome::Lost => (End::Failed, obstacle()),
        };
        self.row.close(cx, end, reason);
    }
}
