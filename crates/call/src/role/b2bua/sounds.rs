//! What the two parties of a recorded call hear of it, and which of that still sounds.

use crate::fact::Side;
use crate::media::{LegId, MediaCommand, PlayId, PromptName, Sound};
use crate::role::b2bua::context::Context;

/// The two legs of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Legs {
    pub(crate) caller: LegId,
    pub(crate) callee: LegId,
}

impl Legs {
    pub(crate) fn of(self, side: Side) -> LegId {
        match side {
            Side::Caller => self.caller,
            Side::Callee => self.callee,
        }
    }
}

/// What was played and has not been reported as ended.
pub(super) struct Sounds {
    legs: Legs,
    language: String,
    playing: Vec<Playing>,
    plays: u64,
}

/// A sound that some leg hears, as far as is known.
pub(super) struct Playing {
    play: PlayId,
    pub(super) side: Side,
    pub(super) sound: Sound,
}

impl Sounds {
    pub(super) fn new(legs: Legs, language: &str) -> Self {
        Self {
            legs,
            language: language.to_owned(),
            playing: Vec::new(),
            plays: 0,
        }
    }

    /// Plays a sound to both.
    pub(super) fn play(&mut self, cx: &mut Context<'_>, sound: &Sound) -> [(LegId, PlayId); 2] {
        // One that never came to its end does not count twice.
        self.playing.retain(|playing| playing.sound != *sound);
        [Side::Caller, Side::Callee].map(|side| {
            self.plays += 1;
            let (leg, play) = (self.legs.of(side), PlayId(self.plays));
            self.playing.push(Playing {
                play,
                side,
                sound: sound.clone(),
            });
            cx.media(MediaCommand::Play {
                leg,
                play,
                sound: sound.clone(),
            });
            (leg, play)
        })
    }

    /// Speaks a prompt to both.
    pub(super) fn speak(
        &mut self,
        cx: &mut Context<'_>,
        prompt: PromptName,
    ) -> [(LegId, PlayId); 2] {
        let language = self.language.clone();
        self.play(cx, &Sound::Prompt { prompt, language })
    }

    /// Cuts what still sounds.
    pub(super) fn stop(&self, cx: &mut Context<'_>) {
        for side in [Side::Caller, Side::Callee] {
            if self.playing.iter().any(|playing| playing.side == side) {
                cx.media(MediaCommand::StopPlaying {
                    leg: self.legs.of(side),
                });
            }
        }
    }

    /// A play has ended on a leg; `None` where it was not known.
    pub(super) fn ended(&mut self, leg: LegId, play: PlayId) -> Option<Playing> {
        let ours = |playing: &Playing| playing.play == play && self.legs.of(playing.side) == leg;
        let at = self.playing.iter().position(ours)?;
        Some(self.playing.swap_remove(at))
    }
}
