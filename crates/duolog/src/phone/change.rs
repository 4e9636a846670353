//! What changes or refreshes a phone's session: re-INVITE (RFC 3261 §14) and UPDATE (RFC 3311), from
//! either end, and what happens when both do it at once.

use std::time::{Duration, Instant};

use duolog_sip::endpoint;
use duolog_sip::sdp::RecordPreference;
use duolog_sip::{ClientKey, Method, Request, Response, ServerKey, StatusCode};

use super::offer::{Awaits, Hold, HoldStyle};
use super::ua::{Call, Purpose, Sent, Steps, UserAgent};
use super::{By, Change, End, Failure, PhoneEvent, next_random};

/// What is done to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Refresh,
    Same,
    Offerless,
    Hold(HoldStyle),
    Retrieve,
    Recode,
    Prefer(RecordPreference),
}

impl From<Change> for Doing {
    fn from(change: Change) -> Self {
        match change {
            Change::Refresh => Self::Refresh,
            Change::Same => Self::Same,
            Change::Offerless => Self::Offerless,
            Change::Hold(style) => Self::Hold(style),
            Change::Retrieve => Self::Retrieve,
            Change::Prefer(wanted) => Self::Prefer(wanted),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    by: By,
    doing: Doing,
    /// When it is asked again: it crossed with one of the other end (RFC 3261 §14.1).
    again_at: Option<Instant>,
}

/// The change that is under way: one at a time.
#[derive(Debug, Default)]
pub(super) struct Changing {
    asked: Option<Asked>,
    /// The least that the other end accepts as session interval, in seconds (RFC 4028 §6).
    pub(super) min_se: Option<u32>,
}

impl Changing {
    pub(super) fn again_at(&self) -> Option<Instant> {
        self.asked?.again_at
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.asked.is_some()
    }

    pub(super) fn over(&mut self) {
        self.asked = None;
    }
}

impl UserAgent {
    pub(super) fn change(&mut self, by: By, doing: Doing, steps: &mut Steps<'_>) {
        let talking = matches!(self.call, Call::Talking(_));
        let early = self.dialog().is_some() && by == By::Update;
        if self.changing.is_under_way() || !(talking || early) {
            return steps.fail(Failure::WrongMoment);
        }
        let before = self.session.holding;
        self.session.holding = match doing {
            Doing::Hold(style) => Hold::On(style),
            Doing::Retrieve => Hold::Off,
            _ => before,
        };
        let offer = match (by, doing) {
            (By::Update, Doing::Refresh) | (_, Doing::Offerless) => None,
            (_, Doing::Prefer(wanted)) => {
                if let Some(standing) = &mut self.settings.ways.preference {
                    *standing = wanted;
                }
                Some(self.session.offer_preferring(&self.settings, wanted))
            }
            _ => Some(self.session.offer(&self.settings)),
        };
        // The offer is only that until it is answered.
        self.session.holding = before;
        let (contact, supported) = (self.contact(), self.supported());
        let Some(dialog) = self.dialog() else { return };
        let method = match by {
            By::ReInvite => Method::Invite,
            By::Update => Method::Update,
        };
        let (mut request, flow) = (dialog.request(method), dialog.flow());
        request.headers.push("Contact", contact);
        request.headers.push("Supported", supported);
        self.timer_in_refresh(&mut request);
        if let Some(offer) = offer {
            request.set_body("application/sdp", offer);
        }
        self.changing.asked = Some(Asked {
            by,
            doing,
            again_at: None,
        });
        self.send(Purpose::Change, flow, request, steps);
    }

    /// The change that crossed with one of the other end is tried again.
    pub(super) fn change_again(&mut self, steps: &mut Steps<'_>) {
        if let Some(asked) = self.changing.asked.take() {
            self.change(asked.by, asked.doing, steps);
        }
    }

    /// The answer to a re-INVITE or UPDATE of ours.
    pub(super) fn changed(
        &mut self,
        key: ClientKey,
        sent: &Sent,
        response: &Response,
        steps: &mut Steps<'_>,
    ) {
        let Some(asked) = self.changing.asked else {
            return;
        };
        if !response.status.is_success() {
            return self.change_refused(asked, response, steps);
        }
        self.changing.asked = None;
        let Some(dialog) = self.dialog() else { return };
        dialog.refresh(response);
        let cseq = sent.request.cseq().map_or(1, |cseq| cseq.number);
        let mut ack = dialog.ack_for(cseq);
        let event = match asked.doing {
            Doing::Hold(style) => {
                self.session.holding = Hold::On(style);
                PhoneEvent::Held { by: End::Phone }
            }
            Doing::Retrieve => {
                self.session.holding = Hold::Off;
                PhoneEvent::Retrieved { by: End::Phone }
            }
            Doing::Recode => PhoneEvent::Recoded,
            Doing::Refresh | Doing::Same | Doing::Offerless | Doing::Prefer(_) => {
                PhoneEvent::Refreshed
            }
        };
        let described = !sent.request.body.is_empty();
        let terms = if described {
            self.session.accept(&self.settings, &response.body)
        } else if asked.by == By::ReInvite {
            let answer = self.session.answer(&self.settings, &response.body);
            answer.map(|(sdp, terms)| {
                ack.set_body("application/sdp", sdp);
                terms
            })
        } else {
            None
        };
        if asked.by == By::ReInvite {
            self.run(endpoint::Input::Ack { key, request: ack }, steps);
        }
        self.timer_agreed_as_uac(response, steps);
        match terms {
            Some(terms) => {
                steps.connect(terms);
                steps.tell(event);
            }
            None if asked.by == By::Update && !described => steps.tell(event),
            None => steps.fail(Failure::BadMessage),
        }
    }

    fn change_refused(&mut self, asked: Asked, response: &Response, steps: &mut Steps<'_>) {
        let code = response.status.code();
        self.changing.asked = None;
        match (code, asked.by) {
            (491, _) => {
                let wait = self.wait_after_glare();
                let again_at = Some(steps.now + wait);
                self.changing.asked = Some(Asked { again_at, ..asked });
            }
            (422, _) if response.min_se() > self.changing.min_se => {
                self.changing.min_se = response.min_se();
                self.change(asked.by, asked.doing, steps);
            }
            // Who does not know UPDATE is asked in the older way.
            (405 | 501, By::Update) if asked.doing == Doing::Refresh => {
                self.change(By::ReInvite, asked.doing, steps);
            }
            _ => {
                steps.fail(Failure::ChangeRefused(response.status));
                // The other end knows nothing of the call (RFC 3261 §12.2.1.2).
                if matches!(code, 408 | 481) {
                    self.bye(steps);
                }
            }
        }
    }

    /// RFC 3261 §14.1: who made the Call-ID waits longer.
    fn wait_after_glare(&mut self) -> Duration {
        let called = matches!(&self.call, Call::Talking(talk) if talk.answered.is_some());
        let dice = next_random(&mut self.random);
        let tens = match called {
            true => dice % 201,
            false => 210 + dice % 191,
        };
        Duration::from_millis(10 * tens)
    }

    /// A re-INVITE or UPDATE of the other end.
    pub(super) fn reinvited(&mut self, key: ServerKey, request: &Request, steps: &mut Steps<'_>) {
        let is_invite = request.method == Method::Invite;
        let offers = is_invite || !request.body.is_empty();
        let waits = self
            .changing
            .asked
            .is_some_and(|asked| asked.again_at.is_none());
        if offers && (waits || self.session.awaits == Awaits::Answer) {
            return self.respond(key, request, StatusCode::REQUEST_PENDING, steps);
        }
        let mut response = self.response(request, StatusCode::OK);
        response.headers.push("Supported", self.supported());
        let clock = self.timer_agreed_as_uas(request, &mut response, steps.now);
        if request.body.is_empty() {
            if is_invite {
                response.set_body("application/sdp", self.session.offer(&self.settings));
                self.session.awaits = Awaits::Answer;
            }
            self.set_clock(clock);
            self.run(endpoint::Input::Respond { key, response }, steps);
            if !is_invite {
                steps.tell(PhoneEvent::RefreshedByPeer);
            }
            return;
        }
        let Some((answer, terms)) = self.session.answer(&self.settings, &request.body) else {
            self.respond(key, request, StatusCode::NOT_ACCEPTABLE_HERE, steps);
            return;
        };
        response.set_body("application/sdp", answer);
        self.set_clock(clock);
        self.run(endpoint::Input::Respond { key, response }, steps);
        steps.connect(terms);
        let event = self.session.hold_changed(&request.body);
        steps.tell(event.unwrap_or(PhoneEvent::RefreshedByPeer));
    }

    /// The ACK of a 2xx: the answer when our 2xx carried the offer.
    pub(super) fn acked(&mut self, ack: &Request, steps: &mut Steps<'_>) {
        let awaited = std::mem::replace(&mut self.session.awaits, Awaits::Nothing);
        if self.dialog().is_none() || (ack.body.is_empty() && awaited == Awaits::Nothing) {
            return;
        }
        match self.session.accept(&self.settings, &ack.body) {
            Some(terms) => {
                steps.connect(terms);
                if let Some(event) = self.session.hold_changed(&ack.body) {
                    steps.tell(event);
                }
            }
            None => {
                steps.fail(Failure::NoAudio);
                self.bye(steps);
            }
        }
    }
}
