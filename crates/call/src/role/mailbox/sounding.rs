//! What sounds to the caller, step by step: the greeting, the beep, the last beep. What the caller's own
//! settings have them told comes first: both are played to one leg, where one would cut the other.

use std::time::Duration;

use super::{Call, Phase};
use crate::fact::{Fact, HungUpBy, Side};
use crate::media::{Completion, MediaCommand, PlayId, PromptName, Sound};
use crate::role::b2bua::context::Context;

/// Prompts are at most 60 s long: one whose end is not told counts as over after this.
const GREETING_LIMIT: Duration = Duration::from_secs(65);

/// The same for a beep.
const BEEP_LIMIT: Duration = Duration::from_secs(2);

/// How often a greeting begins that is cut by something else each time.
const GREETINGS: u8 = 4;

impl Call {
    /// A sound has ended.
    pub(super) fn played(&mut self, cx: &mut Context<'_>, play: PlayId, whole: Completion) {
        self.half.played(cx, play, whole);
        if self.playing == Some(play) {
            let greeted = self.phase == Phase::Greeting;
            if greeted {
                self.note(
                    cx,
                    &Fact::AnnouncementEnded {
                        side: Side::Caller,
                        prompt: PromptName::MailboxGreeting,
                        completion: whole,
                    },
                );
            }
            let cut = whole == Completion::Cut && self.half.is_sounding();
            match greeted && cut && self.greeted < GREETINGS {
                true => self.phase = self.listens_to_half(),
                false => self.sounded(cx),
            }
        }
        self.greet_when_told(cx);
    }

    /// Something that the caller's own settings say comes first.
    fn listens_to_half(&mut self) -> Phase {
        (self.playing, self.limit) = (None, None);
        Phase::Announcing
    }

    /// What sounded is over: the next step.
    pub(super) fn sounded(&mut self, cx: &mut Context<'_>) {
        (self.playing, self.limit) = (None, None);
        if self.phase != Phase::Farewell {
            if self.half.is_parting() {
                self.phase = self.listens_to_half();
                return;
            }
            if self.ends_unkept(cx) {
                return;
            }
        }
        match self.phase {
            Phase::Greeting => {
                self.phase = Phase::Beeping;
                self.note(cx, &Fact::BeepPlayed);
                self.play(cx, Sound::Beep, BEEP_LIMIT);
            }
            Phase::Beeping => {
                self.phase = Phase::Recording;
                self.message.start(cx);
                self.limit = Some(cx.now + self.about.longest);
            }
            Phase::Farewell => self.end(cx, HungUpBy::Party(Side::Callee)),
            _ => {}
        }
    }

    /// The greeting comes when the caller has been told what their own settings have them told.
    pub(super) fn greet_when_told(&mut self, cx: &mut Context<'_>) {
        if self.phase != Phase::Announcing || self.half_speaks() {
            return;
        }
        if self.half.is_sounding() {
            // It may be that its end is never told.
            self.limit.get_or_insert(cx.now + GREETING_LIMIT);
            return;
        }
        self.greet(cx);
    }

    /// Whether the caller is being told something that has to be heard before anything else.
    pub(super) fn half_speaks(&self) -> bool {
        self.half.is_announcing() || self.half.is_parting()
    }

    pub(super) fn greet(&mut self, cx: &mut Context<'_>) {
        if self.ends_unkept(cx) {
            return;
        }
        self.phase = Phase::Greeting;
        self.greeted += 1;
        self.note(cx, &self.greeting_starts());
        let greeting = Sound::Prompt {
            prompt: PromptName::MailboxGreeting,
            language: self.about.language.clone(),
            whose: self.about.owner,
        };
        self.play(cx, greeting, GREETING_LIMIT);
    }

    pub(super) fn greeting_starts(&self) -> Fact {
        Fact::AnnouncementStarted {
            side: Side::Caller,
            prompt: PromptName::MailboxGreeting,
            language: self.about.language.clone(),
            whose: self.about.owner,
        }
    }

    /// The message is as long as it may be.
    pub(super) fn say_goodbye(&mut self, cx: &mut Context<'_>) {
        self.message.full(cx);
        self.phase = Phase::Farewell;
        self.play(cx, Sound::Beep, BEEP_LIMIT);
    }

    fn play(&mut self, cx: &mut Context<'_>, sound: Sound, limit: Duration) {
        let (leg, play) = (self.leg.id, cx.ids.play());
        cx.media(MediaCommand::Play { leg, play, sound });
        self.playing = Some(play);
        self.limit = Some(cx.now + limit);
    }
}
