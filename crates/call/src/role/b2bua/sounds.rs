//! What the parties of a recorded call hear of it, and which of that still sounds.

mod telling;

use std::time::Instant;

use crate::announcement::{Announcement, Progress};
use crate::class::Network;
use crate::fact::{Fact, Side};
use crate::media::{Completion, LegId, MediaCommand, PlayId, PromptName, RecordingId, Sound};
use crate::role::b2bua::context::Context;
use crate::settings::UserIndex;

use telling::{Farewell, Wanted};

pub(crate) use telling::Telling;

pub(super) const SIDES: [Side; 2] = [Side::Caller, Side::Callee];

/// A party as a listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listener {
    pub(crate) leg: LegId,
    /// Where it is.
    pub(crate) network: Network,
}

/// The legs of a call that are there now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Legs {
    pub(crate) caller: Option<Listener>,
    pub(crate) callee: Option<Listener>,
}

impl Legs {
    pub(crate) fn of(self, side: Side) -> Option<LegId> {
        self.at(side).map(|listener| listener.leg)
    }

    fn at(self, side: Side) -> Option<Listener> {
        match side {
            Side::Caller => self.caller,
            Side::Callee => self.callee,
        }
    }

    fn set(&mut self, side: Side, listener: Option<Listener>) {
        match side {
            Side::Caller => self.caller = listener,
            Side::Callee => self.callee = listener,
        }
    }

    fn side_of(self, leg: LegId) -> Option<Side> {
        SIDES.into_iter().find(|side| self.of(*side) == Some(leg))
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
    fn says(&self, prompt: PromptName) -> Sound {
        Sound::Prompt {
            prompt,
            language: self.language.clone(),
            whose: self.whose,
        }
    }
}

/// The recording of the party across, for the one that acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nothing is captured for it.
    Nothing,
    /// It captures.
    Captures(RecordingId),
    /// It starts when everybody has been told.
    Waits(RecordingId),
    /// It is paused.
    Paused(RecordingId),
}

impl Beside {
    /// Whether what the one that acts does changes nothing about the call being recorded.
    pub(super) fn records(self) -> bool {
        matches!(self, Self::Captures(_) | Self::Waits(_))
    }
}

/// The parties of a call as listeners.
pub(super) struct Audience {
    pub(super) legs: Legs,
    /// What was played and has not been reported as ended.
    playing: Vec<Playing>,
    /// Who has heard that the call is recorded, and in which words.
    told: Vec<(LegId, PromptName)>,
    /// Who is being told it, or will be as soon as they listen.
    hearing: Vec<(LegId, PlayId, PromptName)>,
    /// Who is to hear it later.
    later: Vec<(Instant, Playing)>,
    /// The announcement that runs.
    announcement: Option<Announcement>,
    farewell: Farewell,
    /// What is said when it is over, and to whom.
    afterwards: Option<(Sound, Vec<Side>)>,
    /// The announcement that recordings wait for.
    wanted: Wanted,
    /// What began to be said or was cut, and is not a fact yet.
    news: Vec<Fact>,
    pub(super) beside: Beside,
    /// When both parties were connected.
    pub(super) answered: Option<Instant>,
}

/// A sound that some leg hears, as far as is known.
pub(super) struct Playing {
    leg: LegId,
    play: PlayId,
    pub(super) side: Side,
    pub(super) sound: Sound,
}

impl Playing {
    /// That it is heard from now on, as a fact; none where it is not spoken.
    fn starts(&self) -> Option<Fact> {
        let Sound::Prompt {
            prompt,
            language,
            whose,
        } = &self.sound
        else {
            return None;
        };
        Some(Fact::AnnouncementStarted {
            side: self.side,
            prompt: *prompt,
            language: language.clone(),
            whose: *whose,
        })
    }

    /// That it was cut.
    fn ends(&self) -> Option<Fact> {
        let Sound::Prompt { prompt, .. } = self.sound else {
            return None;
        };
        Some(Fact::AnnouncementEnded {
            side: self.side,
            prompt,
            completion: Completion::Cut,
        })
    }
}

impl Audience {
    pub(super) fn new(legs: Legs) -> Self {
        Self {
            legs,
            playing: Vec::new(),
            told: Vec::new(),
            hearing: Vec::new(),
            later: Vec::new(),
            announcement: None,
            farewell: Farewell::No,
            afterwards: None,
            wanted: Wanted::default(),
            news: Vec::new(),
            beside: Beside::Nothing,
            answered: None,
        }
    }

    /// Plays a sound to everybody who is there.
    pub(super) fn play(&mut self, cx: &mut Context<'_>, sound: &Sound) {
        self.play_to_sides(cx, &SIDES, sound);
    }

    /// Plays a sound to these.
    pub(super) fn play_to_sides(
        &mut self,
        cx: &mut Context<'_>,
        sides: &[Side],
        sound: &Sound,
    ) -> Vec<(LegId, PlayId)> {
        // One that never came to its end does not count twice.
        self.cut(|playing| playing.sound == *sound && sides.contains(&playing.side));
        let mut plays = Vec::new();
        for side in sides {
            if let Some(leg) = self.legs.of(*side) {
                let play = cx.ids.play();
                plays.push((leg, play));
                let (side, sound) = (*side, sound.clone());
                self.begin(
                    cx,
                    Playing {
                        leg,
                        play,
                        side,
                        sound,
                    },
                );
            }
        }
        plays
    }

    fn begin(&mut self, cx: &mut Context<'_>, playing: Playing) {
        let (leg, play, sound) = (playing.leg, playing.play, playing.sound.clone());
        self.news.extend(playing.starts());
        cx.media(MediaCommand::Play { leg, play, sound });
        self.playing.push(playing);
    }

    /// Says something to everybody who is there. It waits for the end of an announcement, which it would
    /// cut; of several that wait, the last one is still true.
    pub(super) fn say(&mut self, cx: &mut Context<'_>, voice: &Voice, prompt: PromptName) {
        self.say_to_sides(cx, &SIDES, voice, prompt);
    }

    /// The same to these.
    pub(super) fn say_to_sides(
        &mut self,
        cx: &mut Context<'_>,
        sides: &[Side],
        voice: &Voice,
        prompt: PromptName,
    ) {
        match self.announcement {
            Some(_) => self.afterwards = Some((voice.says(prompt), sides.to_vec())),
            None => self.say_now(cx, sides, &voice.says(prompt)),
        }
    }

    /// One who is still to be told that the call is recorded hears that first, and nothing in its place.
    fn say_now(&mut self, cx: &mut Context<'_>, sides: &[Side], sound: &Sound) {
        let mut sides = match sound {
            Sound::Prompt { prompt, .. } => self.for_whom(*prompt, sides),
            Sound::Beep | Sound::RepeatTone => sides.to_vec(),
        };
        sides.retain(|side| !self.legs.of(*side).is_some_and(|leg| self.is_hearing(leg)));
        self.play_to_sides(cx, &sides, sound);
    }

    /// Says what has waited for the end of an announcement.
    pub(super) fn say_afterwards(&mut self, cx: &mut Context<'_>) {
        if self.announcement.is_none()
            && let Some((sound, sides)) = self.afterwards.take()
        {
            self.say_now(cx, &sides, &sound);
        }
    }

    /// What began to be said or was cut since this was asked last, as facts.
    pub(super) fn take_news(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.news)
    }

    /// What had to wait begins on a leg.
    pub(super) fn begun(&mut self, leg: LegId, play: PlayId) {
        let is_it = |playing: &&Playing| playing.play == play && playing.leg == leg;
        let starts = self.playing.iter().find(is_it).and_then(Playing::starts);
        self.news.extend(starts);
    }

    /// The party of a side hears nothing any more.
    pub(super) fn cut_at(&mut self, side: Side) {
        let leg = self.legs.of(side);
        self.cut(|playing| Some(playing.leg) == leg);
    }

    /// These are over before their end.
    fn cut(&mut self, which: impl Fn(&Playing) -> bool) {
        let cut = self.playing.extract_if(.., |playing| which(playing));
        self.news.extend(cut.filter_map(|playing| playing.ends()));
    }

    /// When [`Audience::expire`] is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let announcement = self.announcement.as_ref().and_then(Announcement::deadline);
        let farewell = match &self.farewell {
            Farewell::Said(farewell) => farewell.deadline(),
            // Who has left last heard it: the call ends now.
            Farewell::Heard => self.answered,
            Farewell::No => None,
        };
        let later = self.later.iter().map(|(at, _)| *at);
        later.chain(announcement).chain(farewell).min()
    }

    /// Time has passed: the announcement may be over, or begin at one party.
    pub(super) fn expire(&mut self, cx: &mut Context<'_>) -> Progress {
        let now = cx.now;
        let due: Vec<_> = self.later.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, playing) in due {
            self.begin(cx, playing);
        }
        if let Farewell::Said(farewell) = &mut self.farewell {
            let progress = farewell.expire(now);
            self.said(progress);
        }
        let progress = self.announcement.as_mut().map(|a| a.expire(now));
        self.progressed(progress)
    }

    /// A play has ended on a leg: the announcement may be over with it.
    pub(super) fn played(
        &mut self,
        leg: LegId,
        play: PlayId,
        completion: Completion,
    ) -> (Option<Playing>, Progress) {
        let is_it = |playing: &Playing| playing.play == play && playing.leg == leg;
        let at = self.playing.iter().position(is_it);
        let ended = at.map(|at| self.playing.swap_remove(at));
        if let Farewell::Said(farewell) = &mut self.farewell {
            let progress = farewell.played(leg, play);
            self.said(progress);
        }
        let told = self.heard(leg, play, completion);
        let progress = self.announcement.as_mut().map(|a| a.played(leg, play));
        let progress = match &self.announcement {
            Some(_) => self.progressed(progress),
            // Nobody waits for it any more, and yet something does.
            None if told => Progress::Done,
            None => Progress::Playing,
        };
        (ended, progress)
    }

    fn progressed(&mut self, progress: Option<Progress>) -> Progress {
        if progress != Some(Progress::Done) {
            return Progress::Playing;
        }
        self.announcement = None;
        Progress::Done
    }

    fn said(&mut self, progress: Progress) {
        if progress == Progress::Done {
            self.farewell = Farewell::Heard;
        }
    }

    /// Cuts what still sounds, but nothing that tells of the recording.
    pub(super) fn stop(&mut self, cx: &mut Context<'_>) {
        self.stop_at_sides(cx, &SIDES);
    }

    /// The same for these.
    pub(super) fn stop_at_sides(&mut self, cx: &mut Context<'_>, sides: &[Side]) {
        let legs: Vec<LegId> = sides
            .iter()
            .filter_map(|side| self.legs.of(*side))
            .collect();
        for leg in legs {
            let sounds = self.playing.iter().any(|playing| playing.leg == leg);
            if sounds && !self.is_hearing(leg) {
                cx.media(MediaCommand::StopPlaying { leg });
                self.cut(|playing| playing.leg == leg);
            }
        }
    }

    /// Whether somebody hears something, as far as is known.
    pub(super) fn is_sounding(&self) -> bool {
        !self.playing.is_empty()
    }

    /// A party comes to a side; `None`: the one that was there goes. The announcement may be over with
    /// it.
    pub(super) fn seat(&mut self, side: Side, listener: Option<Listener>) -> Progress {
        let gone = self.legs.of(side);
        let leg = listener.map(|listener| listener.leg);
        self.legs.set(side, listener);
        let Some(gone) = gone.filter(|gone| Some(*gone) != leg) else {
            return Progress::Playing;
        };
        self.cut(|playing| playing.leg == gone);
        self.told.retain(|(told, _)| *told != gone);
        self.hearing.retain(|(hearing, ..)| *hearing != gone);
        self.later.retain(|(_, playing)| playing.leg != gone);
        if let Farewell::Said(farewell) = &mut self.farewell {
            let progress = farewell.gone(gone);
            self.said(progress);
        }
        let progress = self.announcement.as_mut().map(|a| a.gone(gone));
        self.progressed(progress)
    }

    /// Which side a leg has.
    pub(super) fn side_of(&self, leg: LegId) -> Option<Side> {
        self.legs.side_of(leg)
    }

    /// Nothing is heard any more.
    pub(super) fn hush(&mut self) {
        self.cut(|_| true);
        self.announcement = None;
        self.farewell = Farewell::No;
        self.afterwards = None;
        self.wanted = Wanted::default();
        self.later.clear();
    }
}
