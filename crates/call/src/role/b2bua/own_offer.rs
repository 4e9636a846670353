//! Offers that this node makes to one party by itself: to keep a session alive, to take a party back
//! from hold, to connect it to somebody else, to tell it of the recording. The other party hears nothing
//! of them.

use std::time::{Duration, Instant};

use duolog_sip::endpoint::{ClientFailure, ClientKey};
use duolog_sip::sdp::{Description, Direction};
use duolog_sip::{Method, Response, Tokens};

use crate::fact::{HungUpBy, Side};
use crate::role::b2bua::agreement::media;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::{Agreed, Stage, answerer_holds, introduce};
use crate::role::b2bua::session::{Unacked, transcoding};
use crate::role::b2bua::session_timer::Again;
use crate::role::b2bua::{Body, Call};
use crate::settings::Settings;

/// How long an offer of ours waits for something else to end before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long a re-INVITE of ours may ring: nobody has to be asked about it. One without any answer has
/// failed before.
const LIMIT: Duration = Duration::from_secs(60);

/// How often an offer is made that meets another one each time.
const TRIES: u8 = 8;

/// Why an offer of our own is made, the least first: each does what those before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OwnOffer {
    /// The session is to live on (RFC 4028 §10).
    Refresh,
    /// The party does not know yet how it stands with the recording (RFC 7866 §7.1.2).
    Indicate,
    /// The party was held and is wanted again.
    Retrieve,
    /// The party is connected to another one.
    Rebridge,
}

/// The offers of our own to one party: one at a time.
#[derive(Debug, Default)]
pub(crate) struct OwnOffers {
    running: Option<Running>,
    /// One that has something to say.
    waiting: Option<(Instant, OwnOffer)>,
    /// One that has not: nothing else waits for it.
    refresh: Option<Instant>,
    tries: u8,
}

#[derive(Debug)]
struct Running {
    client: ClientKey,
    why: OwnOffer,
    method: Method,
    told: Option<Description>,
    /// Only an INVITE can ring; an UPDATE ends by itself.
    until: Option<Instant>,
}

impl OwnOffers {
    /// When something of it is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let until = self.running.as_ref().and_then(|running| running.until);
        [until, self.waiting.map(|(at, _)| at), self.refresh]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether none is on its way, or waits to be, that says how it stands with the recording.
    pub(super) fn may_indicate(&self) -> bool {
        self.running.is_none() && self.waiting.is_none()
    }

    /// Whether one is on its way that an offer of the party would meet.
    pub(super) fn offers(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.told.is_some())
    }

    /// Whether the answer to this request is awaited here.
    pub(super) fn awaits(&self, key: ClientKey) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.client == key)
    }

    /// The request was sent again under another key.
    pub(super) fn renamed(&mut self, old: ClientKey, new: ClientKey) {
        if let Some(running) = self
            .running
            .as_mut()
            .filter(|running| running.client == old)
        {
            running.client = new;
        }
    }

    /// An offer that does more is not forgotten for one that does less.
    fn wait(&mut self, at: Instant, why: OwnOffer) {
        if why == OwnOffer::Refresh {
            self.refresh = Some(at);
            return;
        }
        let before = self.waiting.map_or(why, |(_, before)| before);
        self.waiting = Some((at, why.max(before)));
    }
}

impl Call {
    /// Makes an offer to one party, now or as soon as nothing else is on its way there.
    pub(crate) fn offer_own(&mut self, cx: &mut Context<'_>, side: Side, why: OwnOffer) {
        let may = self.may_offer(side);
        let now = self.indication();
        let leg = self.leg_mut(side);
        match leg.stage {
            Stage::Early | Stage::AnsweredAndOver | Stage::Over => return,
            // What it waited for may have told the party already.
            _ if why == OwnOffer::Indicate && !leg.is_to_hear(now) => return,
            Stage::Established if may => {}
            Stage::Answered | Stage::Established => {
                return leg.dialogue.own.wait(cx.now + LOOK_AGAIN, why);
            }
        }
        let update = why <= OwnOffer::Indicate && leg.dialogue.can.allows(&Method::Update);
        let method = match update {
            true => Method::Update,
            false => Method::Invite,
        };
        let told = self.own_description(cx.settings, side, why);
        // An INVITE without an offer would have to answer the other one's.
        if told.is_none() && (method == Method::Invite || why != OwnOffer::Refresh) {
            return;
        }
        let Some(mut request) = self.leg_mut(side).request(method.clone()) else {
            return;
        };
        let client = self.next_key();
        let leg = self.leg_mut(side);
        introduce(&mut request.headers, &leg.contact(cx.settings));
        leg.dialogue
            .timer
            .ask(cx.settings.session_timer, &mut request.headers);
        // A refresh by UPDATE says nothing about media (RFC 4028 §7.4).
        let told = told.filter(|_| method == Method::Invite || why != OwnOffer::Refresh);
        let told = told.map(|told| leg.say(told, now));
        if let Some(told) = &told {
            request.set_body("application/sdp", told.write());
        }
        leg.dialogue.own.running = Some(Running {
            client,
            why,
            until: (method == Method::Invite).then(|| cx.now + LIMIT),
            method,
            told,
        });
        cx.act(Action::Request(client, leg.flow, request));
    }

    /// Whether a party may be offered something now: nothing else is on its way to it, or through it.
    pub(super) fn may_offer(&self, side: Side) -> bool {
        let crosses = [Side::Caller, Side::Callee]
            .iter()
            .any(|side| !self.leg(*side).dialogue.crossings.is_empty());
        let leg = self.leg(side);
        let busy = self.exchange.is_some() || crosses || leg.dialogue.own.is_running();
        leg.stage == Stage::Established && !busy
    }

    /// What the party is offered: what was agreed on last, with the direction that is wanted; or, where
    /// it is connected to another party, what that one has.
    fn own_description(
        &self,
        settings: &Settings,
        side: Side,
        why: OwnOffer,
    ) -> Option<Description> {
        let (leg, far) = (self.leg(side), self.leg(side.other()));
        let said = leg.said.as_ref()?;
        // What was offered and refused does not stand (RFC 3261 §14.1).
        let stands = leg.agreed.as_ref().map_or(said, |agreed| &agreed.ours);
        let direction = match why {
            OwnOffer::Refresh | OwnOffer::Indicate => {
                stands.audio().map_or(Direction::SendRecv, |a| a.direction)
            }
            OwnOffer::Retrieve => Direction::SendRecv,
            OwnOffer::Rebridge => {
                let theirs = &far.agreed.as_ref()?.theirs;
                let (from, to) = (far.terms(settings).ok()?, leg.terms(settings).ok()?);
                let add = leg.codecs_to_add(settings);
                let offer = theirs.offer_to(&from, &to, &transcoding(settings, &add));
                return Some(offer.ok()?.after(said));
            }
        };
        Some(stands.offer_again(direction))
    }

    /// Whether what one party sends can be given to the other: they have a codec in common, or this
    /// node transcodes.
    pub(super) fn speak_alike(&self, settings: &Settings) -> bool {
        let (Some(one), Some(other)) = (&self.caller.connected, &self.callee.connected) else {
            return true;
        };
        let has = |encoding| {
            other
                .formats
                .iter()
                .any(|format| format.encoding == encoding)
        };
        let mut speech = one
            .formats
            .iter()
            .filter(|format| format.encoding.is_speech());
        !settings.media.transcode.is_empty() || speech.any(|format| has(format.encoding))
    }

    /// A party answers an offer of ours.
    pub(super) fn own_answered(&mut self, cx: &mut Context<'_>, side: Side, response: &Response) {
        if !response.status.is_final() {
            return;
        }
        let leg = self.leg_mut(side);
        let Some(running) = leg.dialogue.own.running.take() else {
            return;
        };
        if response.status.is_success() {
            leg.dialogue.own.tries = 0;
            // Each of them keeps the session alive.
            leg.dialogue.own.refresh = None;
            return self.own_accepted(cx, side, running, response);
        }
        let own = &mut leg.dialogue.own;
        match response.status.code() {
            408 | 481 => return self.end(cx, HungUpBy::DialogLost(side)),
            // 504: somebody would have to be asked first (RFC 3311 §5.2).
            405 | 501 | 504 if running.method == Method::Update => {
                leg.dialogue.can.refuses(&Method::Update);
                return self.offer_own(cx, side, running.why);
            }
            422 if leg.dialogue.timer.refused(response) == Again::Yes => {
                return self.offer_own(cx, side, running.why);
            }
            491 if own.tries < TRIES => {
                own.tries += 1;
                let pause = self.glare_pause(cx.tokens, side, running.why);
                let own = &mut self.leg_mut(side).dialogue.own;
                return own.wait(cx.now + pause, running.why);
            }
            500 | 503 if own.tries < TRIES && running.why != OwnOffer::Refresh => {
                own.tries += 1;
                let pause = response.retry_after().unwrap_or(2).clamp(1, 32);
                return own.wait(cx.now + Duration::from_secs(pause.into()), running.why);
            }
            _ => {}
        }
        own.tries = 0;
        self.own_refused(cx, side, &running);
    }

    /// What stood before stands (RFC 3261 §14.1).
    fn own_refused(&mut self, cx: &Context<'_>, side: Side, running: &Running) {
        let dialogue = &mut self.leg_mut(side).dialogue;
        match running.why {
            OwnOffer::Refresh => dialogue.timer.not_refreshed(cx.now),
            OwnOffer::Indicate => dialogue.awareness.refuses(running.told.as_ref()),
            OwnOffer::Retrieve | OwnOffer::Rebridge => {}
        }
    }

    fn own_accepted(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        running: Running,
        response: &Response,
    ) {
        if running.method == Method::Invite {
            let cseq = response.cseq().map_or(0, |cseq| cseq.number);
            let client = running.client;
            self.acknowledge(cx, side, Unacked { client, cseq }, None);
        }
        let now = cx.now;
        self.refreshed_by(now, side, response);
        let body = Body::read(&response.headers, &response.body).ok();
        let theirs = body.as_ref().and_then(Body::description);
        let flow = self.leg(side).flow;
        let both = running.told.as_ref().zip(theirs);
        let connected = both.and_then(|(told, theirs)| media(theirs, told, &flow).ok());
        let (Some(connected), Some(theirs), Some(told)) = (connected, theirs, &running.told) else {
            // An answer that cannot be used changes nothing.
            return self.own_unanswered(cx, side, &running);
        };
        let (told, leg) = (told.clone(), self.leg_mut(side));
        let offered = told
            .audio()
            .map_or(Direction::SendRecv, |audio| audio.direction);
        let held = answerer_holds(leg.holding, connected.direction, offered);
        leg.agreed = Some(Agreed {
            theirs: theirs.clone(),
            ours: told,
        });
        self.connect(cx);
        self.holds_now(cx, [(side, held)]);
        self.heed(cx, [side]);
    }

    /// A 2xx has no description that answers ours.
    fn own_unanswered(&mut self, cx: &Context<'_>, side: Side, running: &Running) {
        match (running.why, &running.method) {
            // It may take offers in INVITE alone, whatever it says.
            (OwnOffer::Indicate, Method::Update) => {
                self.leg_mut(side).dialogue.can.refuses(&Method::Update);
            }
            (OwnOffer::Indicate, _) => self.own_refused(cx, side, running),
            _ => {}
        }
    }

    /// Our offer got no answer at all.
    pub(super) fn own_failed(&mut self, cx: &mut Context<'_>, side: Side, why: ClientFailure) {
        let dialogue = &mut self.leg_mut(side).dialogue;
        let Some(running) = dialogue.own.running.take() else {
            return;
        };
        match why {
            ClientFailure::Timeout => self.end(cx, HungUpBy::DialogLost(side)),
            // The path failed, not the dialog.
            ClientFailure::Transport if running.why == OwnOffer::Refresh => {
                dialogue.timer.not_refreshed(cx.now);
            }
            ClientFailure::Transport if dialogue.own.tries < TRIES => {
                dialogue.own.tries += 1;
                dialogue.own.wait(cx.now + LOOK_AGAIN, running.why);
            }
            ClientFailure::Transport => {
                dialogue.own.tries = 0;
                self.own_refused(cx, side, &running);
            }
        }
    }

    /// What is due of the offers of our own to one party.
    pub(super) fn own_due(&mut self, cx: &mut Context<'_>, side: Side) {
        let own = &mut self.leg_mut(side).dialogue.own;
        let rings = |running: &Running| running.until.is_some_and(|until| until <= cx.now);
        if let Some(running) = own.running.take_if(|running| rings(running)) {
            self.abandon(cx, running.client, side);
            self.own_refused(cx, side, &running);
        }
        let own = &mut self.leg_mut(side).dialogue.own;
        let waiting = own.waiting.take_if(|(at, _)| *at <= cx.now);
        let refresh = own.refresh.take_if(|at| *at <= cx.now);
        if let Some((_, why)) = waiting {
            self.offer_own(cx, side, why);
        }
        if refresh.is_some() {
            self.offer_own(cx, side, OwnOffer::Refresh);
        }
    }

    /// The call is over: nothing is offered to this party any more.
    pub(super) fn end_own(&mut self, cx: &mut Context<'_>, side: Side) {
        let own = std::mem::take(&mut self.leg_mut(side).dialogue.own);
        if let Some(running) = own.running
            && running.method == Method::Invite
        {
            self.abandon(cx, running.client, side);
        }
    }

    /// How long to wait after a 491 (RFC 3261 §14.1): the one whose Call-ID it is waits longer. What a
    /// phone shows of a recording is not to be late, so of its two seconds that takes the first quarter.
    fn glare_pause(&self, tokens: &mut Tokens, side: Side, why: OwnOffer) -> Duration {
        let dialog = self.leg(side).dialog.as_ref();
        let theirs = dialog.is_some_and(|dialog| dialog.id().call_id == self.call_id());
        let random = u64::from_str_radix(&tokens.tag()[..8], 16).unwrap_or(0);
        let steps = match theirs {
            true if why == OwnOffer::Indicate => random % 51,
            true => random % 201,
            false => 210 + random % 191,
        };
        Duration::from_millis(10 * steps)
    }
}
