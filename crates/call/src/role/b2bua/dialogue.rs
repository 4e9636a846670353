//! What is negotiated with one party beside its media: session timer, reliable answers, offers of our
//! own, and what the party can do.

use std::time::Instant;

use duolog_sip::endpoint::{ClientFailure, ClientKey};
use duolog_sip::{Headers, Method, Request, Response};

use crate::fact::{HungUpBy, Side};
use crate::role::b2bua::Call;
use crate::role::b2bua::context::Context;
use crate::role::b2bua::identity::Standing;
use crate::role::b2bua::indication::Awareness;
use crate::role::b2bua::keypad::{Keypad, Onward};
use crate::role::b2bua::leg::Audible;
use crate::role::b2bua::own_offer::{OwnOffer, OwnOffers};
use crate::role::b2bua::reliable::{Received, Sending};
use crate::role::b2bua::session_timer::{Due, SessionTimer};
use crate::role::b2bua::update::Crossing;
use crate::route::Party;
use crate::settings::Settings;

/// What is negotiated with the party of one leg.
#[derive(Debug, Default)]
pub(crate) struct Dialogue {
    pub(crate) standing: Standing,
    pub(crate) timer: SessionTimer,
    /// Reliable answers that we send to the party's INVITE.
    pub(crate) sending: Sending,
    /// Reliable answers of the party to our INVITE.
    pub(crate) received: Received,
    pub(crate) own: OwnOffers,
    /// UPDATEs and PRACKs of the party on their way to the other one.
    pub(crate) crossings: Vec<Crossing>,
    pub(crate) can: Abilities,
    pub(crate) awareness: Awareness,
    /// The keys that the party presses, and those that it is told in INFO.
    pub(crate) keypad: Keypad,
    pub(crate) onward: Onward,
}

/// The methods a party has said that it takes; the last word counts.
#[derive(Debug, Default)]
pub(crate) struct Abilities {
    allowed: Vec<String>,
}

impl Dialogue {
    /// That of a leg to this party.
    pub(crate) fn with(settings: &Settings, party: Party) -> Self {
        Self {
            standing: Standing::of(settings, party),
            ..Self::default()
        }
    }

    /// Its party has sent the INVITE of the call; its session interval was found to be long enough.
    pub(crate) fn begun_by(&mut self, settings: &Settings, invite: &Request) {
        self.learn(invite);
        let _ = self.timer.asked(settings.session_timer, invite);
    }

    /// Takes what a request of the party says of itself.
    pub(crate) fn learn(&mut self, request: &Request) {
        self.can.learn(&request.headers);
        if matches!(request.method, Method::Invite | Method::Update) {
            self.awareness.learn(&request.headers);
        }
    }

    /// When something of it is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let crossings = self.crossings.iter().filter_map(Crossing::until).min();
        let all = [self.timer.deadline(), self.own.deadline(), crossings];
        all.into_iter().flatten().min()
    }

    /// A request of ours was sent again under another key.
    pub(crate) fn renamed(&mut self, old: ClientKey, new: ClientKey) {
        self.own.renamed(old, new);
        self.onward.renamed(old, new);
        self.crossings.iter_mut().for_each(|c| c.renamed(old, new));
    }
}

impl Call {
    /// Something that is negotiated with the party of one side is due.
    pub(super) fn dialogue_due(&mut self, cx: &mut Context<'_>, side: Side) {
        match self.leg_mut(side).dialogue.timer.due(cx.now) {
            Some(Due::Expired) => return self.end(cx, HungUpBy::SessionExpired(side)),
            Some(Due::Refresh) => self.offer_own(cx, side, OwnOffer::Refresh),
            None => {}
        }
        self.crossings_due(cx, side);
        self.own_due(cx, side);
    }

    /// An answer to an offer of ours, or to a request that crosses; `false` where it is to neither.
    pub(super) fn dialogue_response(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        response: &Response,
    ) -> bool {
        let Some((side, whose)) = self.dialogue_of(key) else {
            return false;
        };
        match whose {
            Whose::Ours => self.own_answered(cx, side, response),
            Whose::Partys => self.crossing_answered(cx, side, key, response),
        }
        true
    }

    /// Such a request got no answer.
    pub(super) fn dialogue_failed(
        &mut self,
        cx: &mut Context<'_>,
        key: ClientKey,
        why: ClientFailure,
    ) -> bool {
        let Some((side, whose)) = self.dialogue_of(key) else {
            return false;
        };
        match whose {
            Whose::Ours => self.own_failed(cx, side, why),
            Whose::Partys => self.crossing_failed(cx, side, key, why),
        }
        true
    }

    /// A 2xx to our INVITE has made the dialog of this side.
    pub(super) fn begin_dialogue(&mut self, cx: &Context<'_>, side: Side, response: &Response) {
        self.refreshed_by(cx.now, side, response);
    }

    /// The party of this side leaves, and the call goes on: what was on its way to or from it is over.
    pub(super) fn party_leaves(&mut self, cx: &mut Context<'_>, side: Side) {
        self.end_own(cx, side);
        self.end_crossings(cx, side);
        self.end_crossings(cx, side.other());
        let leg = self.leg_mut(side);
        // Neither its session nor its silence ends the call of the others.
        leg.dialogue.timer = SessionTimer::default();
        leg.audio = Audible::Yes;
    }

    /// The leg of this side is over: nothing of it waits for anything any more.
    pub(super) fn dialogue_ended(&mut self, cx: &mut Context<'_>, side: Side) {
        self.end_own(cx, side);
        self.end_crossings(cx, side);
        self.end_held(cx, side);
        self.leg_mut(side).dialogue.timer = SessionTimer::default();
    }

    fn dialogue_of(&self, key: ClientKey) -> Option<(Side, Whose)> {
        [Side::Caller, Side::Callee].into_iter().find_map(|side| {
            let dialogue = &self.leg(side).dialogue;
            if dialogue.own.awaits(key) {
                return Some((side, Whose::Ours));
            }
            let crosses = dialogue.crossings.iter().any(|c| c.awaits(key));
            crosses.then_some((side, Whose::Partys))
        })
    }
}

/// Whose request a request of ours stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Partys,
}

impl Abilities {
    /// Takes what a message of the party says (RFC 3261 §20.5).
    pub(crate) fn learn(&mut self, headers: &Headers) {
        if headers.has("Allow") {
            let words = headers.values("Allow").flat_map(|value| value.split(','));
            let words = words.map(str::trim).filter(|word| !word.is_empty());
            self.allowed = words.take(WORDS).map(str::to_owned).collect();
        }
    }

    /// Whether the party takes requests of this method; it does not where it has not said so.
    pub(crate) fn allows(&self, method: &Method) -> bool {
        self.allowed.iter().any(|word| word == method.as_str())
    }

    /// The party answered that it does not take this method after all (405, 501).
    pub(crate) fn refuses(&mut self, method: &Method) {
        self.allowed.retain(|word| word != method.as_str());
    }
}

/// Methods that are kept of one list; more than there are.
const WORDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let mut can = Abilities::default();
        assert!(!can.allows(&Method::Update));
        let mut headers = Headers::new();
        headers.push("Allow", "INVITE, UPDATE");
        headers.push("Allow", "BYE");
        can.learn(&headers);
        can.learn(&Headers::new());
        assert!(can.allows(&Method::Update) && can.allows(&Method::Bye));
        can.refuses(&Method::Update);
        assert!(!can.allows(&Method::Update) && can.allows(&Method::Bye));
        let mut less = Headers::new();
        less.push("Allow", "");
        can.learn(&less);
        assert!(!can.allows(&Method::Bye));
    }
}
