//! Offers of our own: the session lives on (RFC 4028), where it is for this node to refresh it, and a
//! record-aware caller is told how it stands. By an UPDATE, or by an INVITE with what was agreed last.

use duolog_sip::endpoint::{ClientFailure, ClientKey};
use duolog_sip::sdp::{Description, Direction};
use duolog_sip::{Method, Request, Response};

use super::{Call, Phase};
use crate::fact::{HungUpBy, Side};
use crate::role::b2bua::Body;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::leg::{Agreed, introduce};
use crate::role::b2bua::session_timer::{Again, Due};

/// One of them that waits for its answer. Each keeps the session alive, whatever it is for.
pub(super) struct Refresh {
    key: ClientKey,
    method: Method,
    why: Why,
    offered: Option<Description>,
}

/// What it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The session is to live on.
    Refresh,
    /// The caller does not know how it stands with the recording.
    Indicate,
}

impl Refresh {
    /// Whether the answer to this request is awaited.
    pub(super) fn is(&self, key: ClientKey) -> bool {
        self.key == key
    }
}

impl Call {
    /// Whether an offer of ours is on its way.
    pub(super) fn offers(&self) -> bool {
        let refresh = self.refresh.as_ref();
        refresh.is_some_and(|refresh| refresh.method == Method::Invite || refresh.offered.is_some())
    }

    /// The caller is offered the session anew, with how it stands with the recording.
    pub(super) fn tell_caller(&mut self, cx: &mut Context<'_>) {
        self.send_offer(cx, Why::Indicate);
    }

    /// The session may be due to be refreshed, or over.
    pub(super) fn refresh_due(&mut self, cx: &mut Context<'_>) {
        if self.phase == Phase::Over {
            return;
        }
        match self.leg.dialogue.timer.due(cx.now) {
            Some(Due::Expired) => self.end(cx, HungUpBy::SessionExpired(Side::Caller)),
            Some(Due::Refresh) => self.send_offer(cx, Why::Refresh),
            None => {}
        }
    }

    fn send_offer(&mut self, cx: &mut Context<'_>, why: Why) {
        let update = self.leg.dialogue.can.allows(&Method::Update);
        let method = match update {
            true => Method::Update,
            false => Method::Invite,
        };
        let crosses = self.exchange.is_some() || self.refresh.is_some();
        let request = self.leg.request(method.clone()).filter(|_| !crosses);
        let Some(mut request) = request else {
            return self.not_sent(cx, why);
        };
        // A refresh by UPDATE says nothing about media (RFC 4028 §7.4).
        let describes = why == Why::Indicate || !update;
        let offered = self.own_offer().filter(|_| describes);
        introduce(&mut request.headers, &self.leg.contact(cx.settings));
        let timer = &self.leg.dialogue.timer;
        timer.ask(cx.settings.session_timer, &mut request.headers);
        if let Some(offered) = &offered {
            request.set_body("application/sdp", offered.write());
        }
        let key = self.keys.next();
        self.refresh = Some(Refresh {
            key,
            method,
            why,
            offered,
        });
        cx.act(Action::Request(key, self.leg.flow, request));
    }

    /// What stands is offered again.
    fn own_offer(&mut self) -> Option<Description> {
        let now = self.indication();
        let agreed = self.leg.agreed.as_ref().map(|agreed| &agreed.ours);
        let stands = agreed.or(self.leg.said.as_ref())?;
        let direction = stands.audio().map(|audio| audio.direction);
        let offer = stands.offer_again(direction.unwrap_or(Direction::SendRecv));
        Some(self.leg.say(offer, now))
    }

    /// Something else is on its way.
    fn not_sent(&mut self, cx: &Context<'_>, why: Why) {
        if why == Why::Refresh {
            self.leg.dialogue.timer.not_refreshed(cx.now);
        }
    }

    /// It is sent again, with a digest.
    pub(super) fn refresh_again(&mut self, cx: &mut Context<'_>, request: Request) {
        let key = self.keys.next();
        if let Some(refresh) = &mut self.refresh {
            refresh.key = key;
            cx.act(Action::Request(key, self.leg.flow, request));
        }
    }

    /// The caller answers a refresh.
    pub(super) fn refresh_answered(&mut self, cx: &mut Context<'_>, response: &Response) {
        if !response.status.is_final() {
            return;
        }
        let Some(refresh) = self.refresh.take() else {
            return;
        };
        if response.status.is_success() {
            return self.refreshed(cx, refresh, response);
        }
        if self.phase == Phase::Over {
            return;
        }
        let dialogue = &mut self.leg.dialogue;
        match response.status.code() {
            408 | 481 => self.end(cx, HungUpBy::DialogLost(Side::Caller)),
            405 | 501 if refresh.method == Method::Update => {
                dialogue.can.refuses(&Method::Update);
                self.send_offer(cx, refresh.why);
            }
            422 if dialogue.timer.refused(response) == Again::Yes => {
                self.send_offer(cx, refresh.why);
            }
            491 if refresh.offered.is_some() => {
                self.wishes.met(cx.now);
                self.not_sent(cx, refresh.why);
            }
            // What stood before stands (RFC 3261 §14.1).
            _ => self.not_taken(cx, &refresh),
        }
    }

    fn not_taken(&mut self, cx: &Context<'_>, refresh: &Refresh) {
        if let Some(told) = &refresh.offered {
            self.leg.dialogue.awareness.refuses(Some(told));
        }
        self.not_sent(cx, refresh.why);
    }

    fn refreshed(&mut self, cx: &mut Context<'_>, refresh: Refresh, response: &Response) {
        if refresh.method == Method::Invite
            && let Some(dialog) = &mut self.leg.dialog
        {
            dialog.refresh(response);
            let cseq = response.cseq().map_or(0, |cseq| cseq.number);
            let ack = dialog.ack_for(cseq);
            cx.act(Action::Ack(refresh.key, ack));
        }
        if self.phase == Phase::Over {
            return;
        }
        self.leg.dialogue.timer.answered(cx.now, response);
        let body = Body::read(&response.headers, &response.body).ok();
        let theirs = body.as_ref().and_then(Body::description).cloned();
        match (refresh.offered, theirs) {
            (Some(ours), Some(theirs)) => self.agree(cx, Agreed { theirs, ours }),
            (told @ Some(_), None) => self.leg.dialogue.awareness.refuses(told.as_ref()),
            (None, _) => {}
        }
    }

    /// A refresh got no answer at all.
    pub(super) fn refresh_failed(&mut self, cx: &mut Context<'_>, why: ClientFailure) {
        let Some(refresh) = self.refresh.take() else {
            return;
        };
        match why {
            ClientFailure::Timeout => self.end(cx, HungUpBy::DialogLost(Side::Caller)),
            // The path failed, not the dialog.
            ClientFailure::Transport => self.not_taken(cx, &refresh),
        }
    }

    /// Nobody waits for a refresh any more; a 2xx to an INVITE is still acknowledged.
    pub(super) fn end_refresh(&mut self, cx: &mut Context<'_>) {
        if let Some(refresh) = &self.refresh
            && refresh.method == Method::Invite
        {
            cx.act(Action::Cancel(refresh.key));
        }
    }
}
