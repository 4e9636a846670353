//! Where a 3xx leads: this node calls there itself, or the caller is told to call there, through this
//! node (RFC 3261 §8.1.3.4). Whom the call was for stays known (RFC 7044, RFC 5806).

use duolog_sip::{NameAddr, Response, StatusCode, Uri};

use crate::class::{Class, Nature, network_of};
use crate::fact::{Fact, HungUpBy, Opening, Side};
use crate::media::End;
use crate::number::number;
use crate::plan::{Half, recorded};
use crate::role::b2bua::Call;
use crate::role::b2bua::branches::{Branches, Failing};
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::identity::believed_diversions;
use crate::role::b2bua::leg::{Who, uri_at};
use crate::role::b2bua::recorded::Closing;
use crate::role::b2bua::row::Placed;
use crate::role::b2bua::sounds::Listener;
use crate::route::{Party, own_number};
use crate::settings::{Redirects, Settings, TrunkIndex};
use crate::target::{Answer, AskId, Found, Question};

/// How often one call may be redirected.
const REDIRECTIONS: usize = 5;

/// Contacts of one 3xx that are tried.
const CONTACTS: usize = 8;

/// Where a call is being redirected to.
#[derive(Default)]
pub(super) struct Redirection {
    /// The question that is not answered yet.
    pub(super) asked: Option<AskId>,
    /// Contacts that are not tried yet, best first.
    contacts: Vec<Uri>,
    /// What is told when none of them leads anywhere.
    failing: Option<Failing>,
    /// The numbers that were called, the first one first.
    pub(super) called: Vec<String>,
}

impl Call {
    /// Follows a 3xx or passes it on; whether that was possible.
    pub(super) fn redirected(&mut self, cx: &mut Context<'_>, failing: &Failing) -> bool {
        let contacts = failing.contacts();
        if contacts.is_empty() {
            return false;
        }
        if self.redirects(cx.settings) == Redirects::PassOn {
            return self.pass_on(cx, failing, &contacts);
        }
        let redirection = &mut self.setup.redirection;
        redirection.called.push(self.callee.who.number.clone());
        if redirection.called.len() > REDIRECTIONS {
            return false;
        }
        let uris = contacts.into_iter().take(CONTACTS).map(|c| c.uri);
        redirection.contacts = uris.collect();
        redirection.failing = Some(failing.clone());
        self.abandon_branches(cx);
        self.ask_next_contact(cx);
        true
    }

    /// A trunk decides about its own redirections, and about those of our phones towards it.
    fn redirects(&self, settings: &Settings) -> Redirects {
        let of = |party| match party {
            Party::Trunk(TrunkIndex(at)) => settings.trunks.get(at).map(|trunk| trunk.redirects),
            Party::User(_) => None,
        };
        let (callee, caller) = (of(self.callee.who.party), of(self.caller.who.party));
        callee.or(caller).unwrap_or(Redirects::Follow)
    }

    fn ask_next_contact(&mut self, cx: &mut Context<'_>) {
        let from = self.callee.who.party;
        while !self.setup.redirection.contacts.is_empty() {
            let target = self.setup.redirection.contacts.remove(0);
            let called = own_number(cx.settings, from, &number(&target));
            // A number that was called before would lead in a circle.
            if self.setup.redirection.called.contains(&called) {
                continue;
            }
            let ask = self.next_ask();
            self.setup.redirection.asked = Some(ask);
            return cx.act(Action::Ask(ask, Question { from, target }));
        }
        self.setup.redirection.asked = None;
        if let Some(failing) = self.setup.redirection.failing.take() {
            self.nobody_answers(cx, failing);
        }
    }

    /// The routing's answer about a contact.
    pub(super) fn redirection_found(&mut self, cx: &mut Context<'_>, found: Answer) {
        match found {
            Ok(found) if !found.waves.is_empty() => {
                self.setup.redirection.asked = None;
                self.follow(cx, *found);
            }
            Ok(_) | Err(_) => self.ask_next_contact(cx),
        }
    }

    /// The call is for somebody else from now.
    fn follow(&mut self, cx: &mut Context<'_>, found: Found) {
        let from = self.callee.who.number.clone();
        self.note(cx, Fact::Diverted { from: from.clone() });
        let who = Who {
            party: found.callee,
            number: found.number.clone(),
        };
        let class = self.class_with(cx.settings, &who);
        self.recorded.are_now(class);
        self.note_class(cx, class);
        self.turn_recordings(cx, &who, class);
        self.party_leaves(cx, Side::Callee);
        self.callee.unbind(cx);
        self.callee.turn_to(cx.settings, who);
        if let Some(first) = found.waves.iter().flatten().next() {
            self.callee.set_way(first.flow);
        }
        self.about.diversion.insert(0, from);
        self.limit = Some(cx.now + self.rings_for(cx.settings));
        let Some(mut invite) = self.callee_invite(cx) else {
            return;
        };
        self.tell_diversion(&mut invite, &found.number);
        let mut branches = Branches::new(invite, found.waves);
        branches.next_wave(cx, &mut self.keys);
        self.setup.branches = Some(branches);
    }

    /// The recording of the one who redirects ends, unless a message is left for them and they want it
    /// recorded; a new callee may have one. A caller who wants no calls of this kind recorded has none.
    fn turn_recordings(&mut self, cx: &mut Context<'_>, who: &Who, class: Class) {
        let side = Side::Callee;
        let listener = Listener {
            leg: self.callee.id,
            network: network_of(cx.settings, who.party),
        };
        self.recorded.redirected(cx, listener, &who.number);
        self.recorded.leave_out(cx, Side::Caller, class.nature);
        let message = class.nature == Nature::Voicemail;
        let standing = self.recorded.get(side);
        if message && standing.is_some_and(|own| own.why_left(class.nature).is_none()) {
            return;
        }
        let diverted = self.was_for(cx.settings);
        let called = std::iter::once(&self.callee.who.number);
        let diversion = called.chain(&self.about.diversion).cloned().collect();
        let half = Half {
            side,
            party: who.party,
            across: &self.caller.who.number,
            class,
            diverted: &diverted,
        };
        let plan = recorded(cx.settings, half);
        let standing = self.recorded.standing(side).map(|(_, owner, _)| owner);
        if standing.is_some() && standing == plan.as_ref().map(|plan| plan.owner) {
            // It was called for the same owner from the start: a queue's.
            return;
        }
        let closing = Closing {
            unstarted: End::NotAnswered,
            reason: "the call was redirected".to_owned(),
        };
        self.recorded
            .close(cx, side, HungUpBy::CalleeRefused(302), &closing);
        let Some(plan) = plan else {
            return;
        };
        let opening = Opening {
            call_id: self.about.call_id.clone(),
            owner: cx.settings.users[plan.owner.0].name.clone(),
            owner_side: side,
            from: self.caller.who.number.clone(),
            to: who.number.clone(),
            party: self.caller.who.number.clone(),
            direction: plan.direction,
            class,
            correlation: self.about.chain,
            diversion,
            mode: plan.settings.mode,
            settled: plan.settled(cx.settings),
            owner_kind: cx.settings.users[plan.owner.0].kind,
            number: 1,
            keeping: plan.keeping(),
        };
        let at = Placed {
            recording: cx.ids.recording(cx.now),
            group: self.about.group,
            owner: self.callee.id,
            other: self.caller.id,
        };
        self.recorded.open(cx, &plan, opening, at);
        self.note(cx, Fact::Offered);
    }

    /// The numbers that a call which nobody has answered was for, the latest first, as far as they may
    /// decide for whom it is recorded.
    pub(super) fn was_for(&self, settings: &Settings) -> Vec<String> {
        let now = &self.callee.who.number;
        let called = self.setup.redirection.called.iter().rev();
        let called = called.filter(|number| *number != now).cloned();
        let before = self.exchange.as_ref().map(|exchange| {
            let caller = self.caller.who.party;
            believed_diversions(settings, caller, &exchange.request)
        });
        let before = before.unwrap_or_default();
        std::iter::once(now.clone())
            .chain(called)
            .chain(before)
            .collect()
    }

    /// Who the call was for, for those it goes to now.
    fn tell_diversion(&self, invite: &mut duolog_sip::Request, to: &str) {
        let host = invite.from().map(|from| from.uri.host).unwrap_or_default();
        let called = &self.setup.redirection.called;
        let uri = |user: &str| Uri::sip(Some(user), &host, None);
        let history = invite.history();
        let mut index = match history.last().and_then(|last| last.params.value("index")) {
            Some(index) => index.to_owned(),
            None => {
                let first = called.first().map_or("", String::as_str);
                let first = NameAddr::new(uri(first));
                invite
                    .headers
                    .push("History-Info", format!("{first};index=1"));
                "1".to_owned()
            }
        };
        for next in called.iter().skip(1).map(String::as_str).chain([to]) {
            let mut diverted = uri(next);
            diverted.params.set("cause", Some("302"));
            let diverted = NameAddr::new(diverted);
            let entry = format!("{diverted};index={index}.1;mp={index}");
            invite.headers.push("History-Info", entry);
            index.push_str(".1");
        }
        for from in called {
            let from = NameAddr::new(uri(from));
            let diversion = format!("{from};reason=unconditional;counter=1");
            invite.headers.push_front("Diversion", diversion);
        }
    }

    /// The caller gets the 3xx; its contacts lead through this node.
    fn pass_on(&mut self, cx: &mut Context<'_>, failing: &Failing, contacts: &[NameAddr]) -> bool {
        let (Failing::Refused(response), Some(exchange)) = (failing, &self.exchange) else {
            return false;
        };
        let flow = self.caller.flow;
        let local = cx.settings.local.on(flow.transport, flow.peer.ip());
        let local = local.unwrap_or(flow.local);
        let status = StatusCode::new(response.status.code()).unwrap_or(StatusCode::SERVER_ERROR);
        let mut reply = Response::to(&exchange.request, status);
        reply.set_to_tag(&self.caller.tag);
        let party = self.callee.who.party;
        for contact in contacts.iter().take(CONTACTS) {
            let called = own_number(cx.settings, party, &number(&contact.uri));
            if called.is_empty() {
                continue;
            }
            let mut through = contact.clone();
            through.uri = uri_at(Some(&called), local, flow.transport);
            reply.headers.push("Contact", through.to_string());
        }
        if !reply.headers.has("Contact") {
            return false;
        }
        let by = HungUpBy::CalleeRefused(response.status.code());
        self.abandon_branches(cx);
        self.respond_to_asker(cx, reply);
        self.end(cx, by);
        true
    }
}
