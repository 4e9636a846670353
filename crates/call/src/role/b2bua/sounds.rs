//! What the parties of a recorded call hear of it, and which of that still sounds.

use crate::announcement::{Announcement, Progress};
use crate::fact::Side;
use crate::media::{LegId, MediaCommand, PlayId, PromptName, Sound};
use crate::role::b2bua::context::Context;
use crate::settings::UserIndex;

/// The legs of a call that are there now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Legs {
    pub(crate) caller: Option<LegId>,
    pub(crate) callee: Option<LegId>,
}

impl Legs {
    pub(crate) fn of(self, side: Side) -> Option<LegId> {
        match side {
            Side::Caller => self.caller,
            Side::Callee => self.callee,
        }
    }

    fn set(&mut self, side: Side, leg: Option<LegId>) {
        match side {
            Side::Caller => self.caller = leg,
            Side::Callee => self.callee = leg,
        }
    }

    fn side_of(self, leg: LegId) -> Option<Side> {
        let here = |side: &Side| self.of(*side) == Some(leg);
        [Side::Caller, Side::Callee].into_iter().find(here)
    }
}

/// In which language, and out of whose prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Voice {
    pub(super) language: String,
    pub(super) whose: UserIndex,
}

impl Voice {
    /// A prompt in this voice.
    pub(super) fn says(&self, prompt: PromptName) -> Sound {
        Sound::Prompt {
            prompt,
            language: self.language.clone(),
            whose: self.whose,
        }
    }
}

/// The parties of a call as listeners.
pub(super) struct Audience {
    pub(super) legs: Legs,
    /// What was played and has not been reported as ended.
    playing: Vec<Playing>,
    /// Who has heard that the call is recorded.
    told: Vec<LegId>,
    /// Who hears it in the announcement that runs.
    hearing: Vec<LegId>,
    /// The announcement that runs.
    announcement: Option<Announcement>,
    /// The voice of an announcement that a recording waits for.
    pub(super) wanted: Option<Voice>,
}

/// A sound that some leg hears, as far as is known.
pub(super) struct Playing {
    leg: LegId,
    play: PlayId,
    pub(super) side: Side,
    pub(super) sound: Sound,
}

impl Audience {
    pub(super) fn new(legs: Legs) -> Self {
        Self {
            legs,
            playing: Vec::new(),
            told: Vec::new(),
            hearing: Vec::new(),
            announcement: None,
            wanted: None,
        }
    }

    /// Plays a sound to everybody who is there; returns who that is.
    pub(super) fn play(&mut self, cx: &mut Context<'_>, sound: &Sound) -> Vec<(LegId, PlayId)> {
        // One that never came to its end does not count twice.
        self.playing.retain(|playing| playing.sound != *sound);
        let sides = [Side::Caller, Side::Callee].into_iter();
        let legs: Vec<LegId> = sides.filter_map(|side| self.legs.of(side)).collect();
        legs.into_iter()
            .filter_map(|leg| self.play_to(cx, leg, sound))
            .collect()
    }

    fn play_to(
        &mut self,
        cx: &mut Context<'_>,
        leg: LegId,
        sound: &Sound,
    ) -> Option<(LegId, PlayId)> {
        let side = self.legs.side_of(leg)?;
        let (play, sound) = (cx.ids.play(), sound.clone());
        let command = MediaCommand::Play {
            leg,
            play,
            sound: sound.clone(),
        };
        cx.media(command);
        self.playing.push(Playing {
            leg,
            play,
            side,
            sound,
        });
        Some((leg, play))
    }

    /// Tells those of it who have not heard it that the call is recorded; returns their sides. Nobody:
    /// all have.
    pub(super) fn announce(&mut self, cx: &mut Context<'_>, voice: &Voice) -> Vec<Side> {
        let sound = voice.says(PromptName::RecordingStarts);
        let sides = [Side::Caller, Side::Callee].into_iter();
        let new = sides.filter(|side| {
            let leg = self.legs.of(*side);
            leg.is_some_and(|leg| !self.told.contains(&leg) && !self.hears(leg, &sound))
        });
        let new: Vec<Side> = new.collect();
        let legs = new.iter().filter_map(|side| self.legs.of(*side));
        let legs: Vec<LegId> = legs.collect();
        self.hearing.extend(&legs);
        let plays = legs
            .into_iter()
            .filter_map(|leg| self.play_to(cx, leg, &sound));
        let plays: Vec<(LegId, PlayId)> = plays.collect();
        match &mut self.announcement {
            Some(announcement) => announcement.also(cx.now, plays),
            None if plays.is_empty() => {}
            None => self.announcement = Some(Announcement::new(cx.now, plays)),
        }
        new
    }

    fn hears(&self, leg: LegId, sound: &Sound) -> bool {
        let mut playing = self.playing.iter();
        playing.any(|playing| playing.leg == leg && playing.sound == *sound)
    }

    /// Whether an announcement runs.
    pub(super) fn is_announcing(&self) -> bool {
        self.announcement.is_some()
    }

    /// When [`Audience::expire`] is wanted.
    pub(super) fn deadline(&self) -> Option<std::time::Instant> {
        self.announcement.as_ref().and_then(Announcement::deadline)
    }

    /// Time has passed: the announcement may be over.
    pub(super) fn expire(&mut self, cx: &Context<'_>) -> Progress {
        let progress = self.announcement.as_mut().map(|a| a.expire(cx.now));
        self.progressed(progress)
    }

    /// A play has ended on a leg: the announcement may be over with it.
    pub(super) fn played(&mut self, leg: LegId, play: PlayId) -> (Option<Playing>, Progress) {
        let at = self.playing.iter();
        let at = at
            .clone()
            .position(|playing| playing.play == play && playing.leg == leg);
        let ended = at.map(|at| self.playing.swap_remove(at));
        let progress = self.announcement.as_mut().map(|a| a.played(leg, play));
        (ended, self.progressed(progress))
    }

    fn progressed(&mut self, progress: Option<Progress>) -> Progress {
        if progress != Some(Progress::Done) {
            return Progress::Playing;
        }
        self.announcement = None;
        self.told.append(&mut self.hearing);
        Progress::Done
    }

    /// Cuts what still sounds.
    pub(super) fn stop(&self, cx: &mut Context<'_>) {
        for side in [Side::Caller, Side::Callee] {
            if let Some(leg) = self.legs.of(side)
                && self.playing.iter().any(|playing| playing.leg == leg)
            {
                cx.media(MediaCommand::StopPlaying { leg });
            }
        }
    }

    /// A party comes to a side; `None`: the one that was there goes. The announcement may be over with
    /// it.
    pub(super) fn seat(&mut self, side: Side, leg: Option<LegId>) -> Progress {
        let gone = self.legs.of(side);
        self.legs.set(side, leg);
        let Some(gone) = gone.filter(|gone| Some(*gone) != leg) else {
            return Progress::Playing;
        };
        self.playing.retain(|playing| playing.leg != gone);
        self.told.retain(|told| *told != gone);
        self.hearing.retain(|hearing| *hearing != gone);
        let progress = self.announcement.as_mut().map(|a| a.gone(gone));
        self.progressed(progress)
    }

    /// Whether the party of a side has heard that the call is recorded.
    pub(super) fn is_told(&self, side: Side) -> bool {
        let leg = self.legs.of(side);
        leg.is_some_and(|leg| self.told.contains(&leg))
    }

    /// The party of a side heard it in another call.
    pub(super) fn tell(&mut self, side: Side) {
        self.told.extend(self.legs.of(side));
    }

    /// Nothing is announced any more.
    pub(super) fn hush(&mut self) {
        self.announcement = None;
        self.wanted = None;
    }
}
