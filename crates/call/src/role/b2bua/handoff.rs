//! A call that nobody answers goes to the mailbox of the one it was for: this call is over as any that
//! was not answered, and the caller's leg and INVITE go on as the mailbox's.

use std::time::Duration;

use duolog_sip::Request;
use duolog_sip::endpoint::ServerKey;

use crate::class::Nature;
use crate::fact::{HungUpBy, Side};
use crate::gate::Gate;
use crate::media::MediaGroup;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::Leg;
use crate::role::b2bua::reliable::Sending;
use crate::role::b2bua::session::Offer;
use crate::role::b2bua::{Call, Phase};
use crate::route::{Party, user_with};
use crate::settings::{Mailbox, Settings, UserIndex};

/// A caller on the way to a mailbox.
pub(crate) struct Handed {
    pub(crate) leg: Leg,
    pub(crate) server: ServerKey,
    pub(crate) invite: Request,
    /// Whose mailbox it is.
    pub(crate) owner: UserIndex,
    pub(crate) mailbox: Mailbox,
    /// The number that was called for its owner.
    pub(crate) number: String,
    pub(crate) group: MediaGroup,
    /// The name of the chain of calls.
    pub(crate) chain: u128,
    pub(crate) diversion: Vec<String>,
}

/// Whether a caller was handed to a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handing {
    Done,
    NotDone,
}

impl Call {
    /// How long the one who is asked now may take to answer.
    pub(super) fn rings_for(&self, settings: &Settings) -> Duration {
        let mailbox = self.takes_messages(settings, self.callee.who.party);
        let (_, mailbox) = mailbox.unzip();
        mailbox.map_or(settings.ring_limit, |mailbox| {
            mailbox.answer_after.min(settings.ring_limit)
        })
    }

    fn takes_messages(&self, settings: &Settings, party: Party) -> Option<(UserIndex, Mailbox)> {
        let Party::User(user) = party else {
            return None;
        };
        let mailbox = settings.users.get(user.0)?.mailbox?;
        (self.about.class.nature == Nature::Conversation).then_some((user, mailbox))
    }

    /// The mailbox of the one who was asked last, or of the last one who redirected the call and has one.
    fn mailbox(&self, settings: &Settings) -> Option<(UserIndex, Mailbox, String)> {
        let who = &self.callee.who;
        let called = self.setup.redirection.called.iter().rev();
        let before = called.filter_map(|number| {
            let user = user_with(settings, number)?;
            Some((Party::User(user), number))
        });
        let mut all = std::iter::once((who.party, &who.number)).chain(before);
        all.find_map(|(party, number)| {
            let (user, mailbox) = self.takes_messages(settings, party)?;
            Some((user, mailbox, number.clone()))
        })
    }

    /// Hands the caller to the mailbox of the one who does not answer, where there is one that can keep
    /// a message now. The call is over with it, as `by` says.
    pub(super) fn leave_message(&mut self, cx: &mut Context<'_>, by: HungUpBy) -> Handing {
        let early = matches!(self.phase, Phase::Opening | Phase::Inviting);
        let Some((owner, mailbox, number)) = self.mailbox(cx.settings) else {
            return Handing::NotDone;
        };
        if !early || *cx.gate != Gate::Open {
            return Handing::NotDone;
        }
        self.dialogue_ended(cx, Side::Caller);
        let Some(exchange) = self.exchange.take() else {
            return Handing::NotDone;
        };
        let (who, flow) = (self.caller.who.clone(), self.caller.flow);
        let vacant = Leg::vacant(cx, who, flow);
        let mut leg = std::mem::replace(&mut self.caller, vacant);
        let asked = matches!(exchange.offer, Offer::Given(_) | Offer::Awaited);
        if leg.agreed.take().is_some() || !asked {
            // It heard somebody else early: what it is answered now is another dialog's.
            leg.unbind(cx);
            leg.dialog = None;
            leg.connected = None;
            leg.tag = cx.tokens.tag();
            leg.dialogue.sending = Sending::default();
        }
        leg.dialogue.sending.finish();
        leg.dialogue.begun_by(cx.settings, &exchange.request);
        self.end(cx, by);
        cx.act(Action::HandOff(Box::new(Handed {
            leg,
            server: exchange.server,
            invite: exchange.request,
            owner,
            mailbox,
            number,
            group: self.about.group,
            chain: self.about.chain,
            diversion: self.about.diversion.clone(),
        })));
        Handing::Done
    }
}
