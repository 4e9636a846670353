//! A place in a call changes hands: who comes is bridged with the one who stays, whose recording goes
//! on; who leaves has a while to hang up.

use std::time::{Duration, Instant};

use duolog_sip::endpoint::ServerKey;
use duolog_sip::sdp::Direction;
use duolog_sip::{Dialog, DialogId, Method, Request, Response, StatusCode};

use crate::class::{Class, Nature, classify, network_of};
use crate::fact::{Arrival, Departure, Fact, HungUpBy, Side};
use crate::media::MediaCommand;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::ending::{Reached, closing};
use crate::role::b2bua::leg::{Audible, Holding, Leg, Stage, Who};
use crate::role::b2bua::own_offer::OwnOffer;
use crate::role::b2bua::seats::Carried;
use crate::role::b2bua::sounds::Listener;
use crate::role::b2bua::{Bridging, Call};
use crate::settings::Settings;

/// How long one who has transferred the other party may take to hang up.
const LEAVE: Duration = Duration::from_secs(4);

/// A party whose place is taken, until its dialog is over.
pub(crate) struct Leaving {
    pub(super) leg: Leg,
    /// When it gets BYE.
    pub(super) until: Instant,
}

impl Leg {
    /// Its party as a listener.
    pub(crate) fn listener(&self, settings: &Settings) -> Listener {
        Listener {
            leg: self.id,
            network: network_of(settings, self.who.party),
        }
    }
}

impl Call {
    /// A party takes a side; who was there leaves, and gets a while to hang up.
    pub(super) fn take_place(
        &mut self,
        cx: &mut Context<'_>,
        side: Side,
        (leg, dialog): (Leg, Option<Dialog>),
        (mut carried, how): (Carried, Arrival),
    ) {
        self.end_exchange(cx);
        self.party_leaves(cx, side);
        self.limit = None;
        let (departure, by) = match how {
            Arrival::Transfer | Arrival::Redirected => {
                (Departure::Transferred, HungUpBy::Transferred)
            }
            Arrival::Replaced | Arrival::PickedUp => (Departure::Replaced, HungUpBy::Replaced),
        };
        let ended = closing(by, Reached::Answered);
        let number = leg.who.number.clone();
        let newcomer = leg.listener(cx.settings);
        // Of one that came by itself it is only said which number it has.
        let was_called = dialog.is_some() && how == Arrival::Transfer;
        let mut gone = std::mem::replace(self.leg_mut(side), leg);
        cx.media(MediaCommand::CloseLeg { leg: gone.id });
        if let Some(dialog) = dialog.or_else(|| self.leg_mut(side).dialog.take()) {
            self.leg_mut(side).bind(cx, side, dialog);
            self.leg_mut(side).stage = Stage::Established;
        }
        self.recorded.leave(cx, side, departure, (by, ended));
        // Who comes is told what holds for the call as it is now.
        let class = self.class_now(cx.settings, was_called.then_some(number.as_str()));
        self.recorded.are_now(class);
        carried.is_now(class);
        let across = self.leg(side.other()).who.number.clone();
        let numbers = [number.as_str(), across.as_str()];
        // What the newcomer is told begins at once, and must have somewhere to go.
        self.connect(cx);
        self.recorded
            .join(cx, (side, newcomer), numbers, (how, carried));
        match how {
            Arrival::Transfer | Arrival::Redirected => {
                let until = cx.now + LEAVE;
                if gone.stage == Stage::Established {
                    self.leaving.push(Leaving { leg: gone, until });
                }
            }
            Arrival::Replaced | Arrival::PickedUp => self.dismiss(cx, &mut gone),
        }
        self.note_class(cx, class);
        self.rebridge(cx);
        if !self.speak_alike(cx.settings) {
            self.offer_own(cx, side.other(), OwnOffer::Rebridge);
        }
        self.heed(cx, [side]);
    }

    /// The class of a call in which this node has called somebody under that number, if it has.
    fn class_now(&self, settings: &Settings, called: Option<&str>) -> Class {
        let (caller, callee) = (self.caller.who.party, self.callee.who.party);
        let class = |number| classify(settings, caller, callee, number);
        let first = class(&self.callee.who.number);
        match (first.nature, called) {
            (Nature::Conversation, Some(number)) => class(number),
            _ => first,
        }
    }

    /// The class of a call that nobody has answered once this party is asked or answers. Who has called an
    /// emergency number is in an emergency whoever that is.
    pub(super) fn class_with(&self, settings: &Settings, who: &Who) -> Class {
        let class = classify(settings, self.caller.who.party, who.party, &who.number);
        match self.about.class.nature {
            Nature::Emergency => Class {
                nature: Nature::Emergency,
                ..class
            },
            Nature::Conversation | Nature::Voicemail => class,
        }
    }

    /// That the call is of another class now is a fact.
    pub(super) fn note_class(&mut self, cx: &mut Context<'_>, class: Class) {
        if class != self.about.class {
            self.about.class = class;
            self.note(cx, Fact::Class(class));
        }
    }

    /// The two who are there now hear each other; who was held is so no more.
    pub(super) fn rebridge(&mut self, cx: &mut Context<'_>) {
        self.caller.audio = Audible::Yes;
        self.callee.audio = Audible::Yes;
        self.connect(cx);
        self.setup.bridging = Bridging::NotYet;
        self.bridge(cx);
        for side in [Side::Caller, Side::Callee] {
            let leg = self.leg(side);
            let direction = leg.connected.as_ref().map(|media| media.direction);
            let held = direction.is_some_and(|d| d != Direction::SendRecv);
            if held && leg.holding == Holding::No {
                self.offer_own(cx, side, OwnOffer::Retrieve);
            }
        }
    }

    /// The place in `leaving` of the party that sent this.
    pub(super) fn leaving_by(&self, request: &Request) -> Option<usize> {
        let id = DialogId::of_request(request).ok()?;
        let is_from = |leaving: &Leaving| leaving.leg.dialog.as_ref().map(Dialog::id) == Some(&id);
        self.leaving.iter().position(is_from)
    }

    /// A party without a place may only hang up.
    pub(super) fn asked_by_leaving(
        &mut self,
        cx: &mut Context<'_>,
        at: usize,
        key: ServerKey,
        request: &Request,
    ) {
        if request.method != Method::Bye {
            return self.refuse(cx, key, request, 481, None);
        }
        let mut response = Response::to(request, StatusCode::OK);
        let server = cx.settings.server_name.as_str();
        response.headers.push("Server", server);
        cx.act(Action::Respond(key, response));
        self.leaving.swap_remove(at).leg.unbind(cx);
    }

    /// Parties that have not hung up in time get BYE.
    pub(super) fn expire_leaving(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let due = self.leaving.extract_if(.., |leaving| leaving.until <= now);
        for mut leaving in due.collect::<Vec<_>>() {
            self.dismiss(cx, &mut leaving.leg);
        }
    }

    /// The call is over: nobody is waited for.
    pub(super) fn dismiss_leaving(&mut self, cx: &mut Context<'_>) {
        for mut leaving in std::mem::take(&mut self.leaving) {
            self.dismiss(cx, &mut leaving.leg);
        }
    }
}
