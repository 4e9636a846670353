//! What parties are told of a recording: that it starts, before it does, and that it or the call is over.

use std::time::Duration;

use crate::announcement::Announcement;
use crate::class::{Class, Network};
use crate::fact::Side;
use crate::media::{Completion, LegId, PlayId, PromptName};
use crate::plan::{announced, complied};
use crate::policy::{Announce, RecordingSettings};
use crate::role::b2bua::context::Context;
use crate::role::b2bua::sounds::{Audience, Playing, SIDES, Voice};

/// What is to be said before a recording starts.
#[derive(Debug, Clone)]
pub(crate) struct Telling {
    pub(crate) voice: Voice,
    /// Whether parties hear that it starts.
    pub(crate) start: Announce,
    /// How long after the answer a party on the public network hears the compliance announcement, in
    /// place of that.
    pub(crate) compliance: Option<Duration>,
}

impl Telling {
    /// What is to be said of a recording with these settings in a call of this class, in which its owner
    /// called or was called.
    pub(crate) fn of(
        voice: Voice,
        settings: &RecordingSettings,
        (class, role): (Class, Side),
    ) -> Self {
        Self {
            voice,
            start: announced(settings, class),
            compliance: complied(settings, class, role),
        }
    }

    /// Whether anybody may have to hear something before the recording starts.
    pub(crate) fn announces(&self) -> Announce {
        match self.compliance {
            Some(_) => Announce::On,
            None => self.start,
        }
    }

    fn also(&mut self, other: &Self) {
        if other.start == Announce::On {
            self.start = Announce::On;
        }
        self.compliance = self.compliance.or(other.compliance);
    }

    /// What a party there is told, and how long after the answer; `None` for nothing.
    fn to(&self, network: Network) -> Option<(PromptName, Duration)> {
        match (network, self.compliance, self.start) {
            (Network::Pstn, Some(delay), _) => Some((PromptName::Compliance, delay)),
            (_, _, Announce::On) => Some((PromptName::RecordingStarts, Duration::ZERO)),
            (_, _, Announce::Off) => None,
        }
    }
}

/// What recordings wait for to be said, to whom.
#[derive(Debug, Default)]
pub(crate) struct Wanted([Option<Telling>; 2]);

impl Wanted {
    fn at(&mut self, side: Side) -> &mut Option<Telling> {
        let [caller, callee] = &mut self.0;
        match side {
            Side::Caller => caller,
            Side::Callee => callee,
        }
    }
}

/// What all hear before the call ends.
pub(super) enum Farewell {
    No,
    Said(Announcement),
    Heard,
}

impl Audience {
    /// Says that the recording is over, to those who had not been told in other words that calls are
    /// recorded. Another one would be announced to them anew.
    pub(crate) fn say_stopped(&mut self, cx: &mut Context<'_>, voice: &Voice) {
        let sides = self.for_whom(PromptName::RecordingStops, &SIDES);
        self.play_to_sides(cx, &sides, &voice.says(PromptName::RecordingStops));
        self.told
            .retain(|(_, prompt)| *prompt == PromptName::Compliance);
    }

    /// Who of these hears a prompt: those who were told in other words hear neither start nor stop.
    pub(super) fn for_whom(&self, prompt: PromptName, sides: &[Side]) -> Vec<Side> {
        let stands_for = |side: Side| {
            let leg = self.legs.of(side);
            leg.is_some_and(|leg| self.told.contains(&(leg, PromptName::Compliance)))
        };
        let own = matches!(
            prompt,
            PromptName::RecordingStarts | PromptName::RecordingStops
        );
        let hears = |side: &Side| !own || !stands_for(*side);
        sides.iter().copied().filter(hears).collect()
    }

    /// A recording waits for this to be said to all.
    pub(crate) fn want(&mut self, telling: &Telling) {
        SIDES
            .into_iter()
            .for_each(|side| self.want_at(side, telling));
    }

    /// A recording waits for this to be said to one party alone.
    pub(crate) fn want_at(&mut self, side: Side, telling: &Telling) {
        match self.wanted.at(side) {
            Some(wanted) => wanted.also(telling),
            none => *none = Some(telling.clone()),
        }
    }

    /// What recordings want to be said; `None` where none waits.
    pub(crate) fn take_wanted(&mut self) -> Option<Wanted> {
        let wanted = std::mem::take(&mut self.wanted);
        wanted.0.iter().any(Option::is_some).then_some(wanted)
    }

    /// Tells those of them who have not heard it that the call is recorded.
    pub(crate) fn announce(&mut self, cx: &mut Context<'_>, mut wanted: Wanted) {
        for side in SIDES {
            let Some(telling) = wanted.at(side).take() else {
                continue;
            };
            let (Some(listener), true) = (self.legs.at(side), self.needs(side, &telling)) else {
                continue;
            };
            let Some((prompt, delay)) = telling.to(listener.network) else {
                continue;
            };
            let (leg, play) = (listener.leg, cx.ids.play());
            let at = self.answered.map_or(cx.now, |answered| answered + delay);
            let at = at.max(cx.now);
            let sound = telling.voice.says(prompt);
            let playing = Playing {
                leg,
                play,
                side,
                sound,
            };
            self.hearing.push((leg, play, prompt));
            match at > cx.now {
                true => self.later.push((at, playing)),
                false => self.begin(cx, playing),
            }
            match &mut self.announcement {
                Some(announcement) => announcement.also(at, [(leg, play)]),
                None => self.announcement = Some(Announcement::new(at, [(leg, play)])),
            }
        }
    }

    /// Whether the party of a side is to be told of a recording.
    fn needs(&self, side: Side, telling: &Telling) -> bool {
        let leg = self.legs.of(side);
        self.owes(side, telling) && !leg.is_some_and(|leg| self.is_hearing(leg))
    }

    /// Whether the party of a side has not heard of a recording to the end yet.
    pub(crate) fn owes(&self, side: Side, telling: &Telling) -> bool {
        self.legs.at(side).is_some_and(|listener| {
            let is = |(leg, _): &(LegId, PromptName)| *leg == listener.leg;
            telling.to(listener.network).is_some() && !self.told.iter().any(is)
        })
    }

    /// Whether the party of a leg is being told, or will be as soon as it listens.
    pub(super) fn is_hearing(&self, leg: LegId) -> bool {
        self.hearing.iter().any(|(hearing, ..)| *hearing == leg)
    }

    /// A play has ended: whether a party was told with it. One that was cut tells nobody.
    pub(super) fn heard(&mut self, leg: LegId, play: PlayId, completion: Completion) -> bool {
        let is_it =
            |(hearing, its, _): &(LegId, PlayId, PromptName)| (*hearing, *its) == (leg, play);
        let Some(at) = self.hearing.iter().position(is_it) else {
            return false;
        };
        let (leg, _, prompt) = self.hearing.swap_remove(at);
        if completion == Completion::Whole {
            self.told.push((leg, prompt));
        }
        completion == Completion::Whole
    }

    /// Whether an announcement runs.
    pub(crate) fn is_announcing(&self) -> bool {
        self.announcement.is_some()
    }

    /// Nobody is recorded after the announcement that runs: it is cut.
    pub(crate) fn cut_announcement(&mut self, cx: &mut Context<'_>) {
        if self.announcement.take().is_some() || !self.hearing.is_empty() {
            self.hearing.clear();
            self.later.clear();
            self.stop(cx);
        }
        self.wanted = Wanted::default();
    }

    /// Says something to all, in place of whatever sounds; the call ends when they have heard it.
    pub(crate) fn say_farewell(&mut self, cx: &mut Context<'_>, voice: &Voice) {
        self.cut_announcement(cx);
        self.afterwards = None;
        self.stop(cx);
        let sound = voice.says(PromptName::FailureEnds);
        let plays = self.play_to_sides(cx, &SIDES, &sound);
        self.farewell = match plays.is_empty() {
            true => Farewell::Heard,
            false => Farewell::Said(Announcement::new(cx.now, plays)),
        };
    }

    /// Whether the call is to end, or about to.
    pub(crate) fn is_parting(&self) -> bool {
        !matches!(self.farewell, Farewell::No)
    }

    /// Whether all have heard that the call ends.
    pub(crate) fn has_parted(&self) -> bool {
        matches!(self.farewell, Farewell::Heard)
    }

    /// In which words the party of a side has heard that the call is recorded.
    pub(crate) fn told(&self, side: Side) -> Option<PromptName> {
        let leg = self.legs.of(side)?;
        let told = self.told.iter().find(|(told, _)| *told == leg);
        told.map(|(_, prompt)| *prompt)
    }

    /// The party of a side heard it in another call.
    pub(crate) fn tell(&mut self, side: Side, prompt: PromptName) {
        self.told
            .extend(self.legs.of(side).map(|leg| (leg, prompt)));
    }
}
