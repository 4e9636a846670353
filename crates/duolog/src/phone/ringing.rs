//! A phone is called: ringing, the final answer, CANCEL (RFC 3261 §13.3).

use std::time::Duration;

use duolog_sip::endpoint;
use duolog_sip::{Dialog, Flow, Request, ServerKey, StatusCode};

use super::ua::{Call, Ringing, Steps, UserAgent};
use super::{EarlyMedia, End, Failure, PhoneEvent};

impl UserAgent {
    /// A new INVITE outside any dialog.
    pub(super) fn invited(
        &mut self,
        key: ServerKey,
        flow: Flow,
        invite: Request,
        steps: &mut Steps<'_>,
    ) {
        if !self.is_idle() {
            self.respond(key, &invite, StatusCode::BUSY_HERE, steps);
            return;
        }
        self.begin(invite.call_id().unwrap_or_default().to_owned());
        self.tag = self.tokens.tag();
        let answering = self.settings.answering;
        let answer_at = steps.now + Duration::from_millis(u64::from(answering.ring_ms));
        if answering.ring_ms > 0 {
            let mut response = self.response(&invite, StatusCode::RINGING);
            if answering.early_media == EarlyMedia::Yes
                && let Some((answer, terms)) = self.session.answer(&self.settings, &invite.body)
            {
                response = self.response(&invite, StatusCode::SESSION_PROGRESS);
                response.set_body("application/sdp", answer);
                steps.connect(terms);
            }
            self.run(endpoint::Input::Respond { key, response }, steps);
            steps.tell(PhoneEvent::Ringing);
        }
        self.call = Call::Ringing(Ringing {
            key,
            invite,
            flow,
            answer_at,
        });
        if answering.ring_ms == 0 {
            self.final_answer(answering.code, steps);
        }
    }

    pub(super) fn final_answer(&mut self, code: StatusCode, steps: &mut Steps<'_>) {
        let Call::Ringing(ringing) = std::mem::replace(&mut self.call, Call::Idle) else {
            return;
        };
        let Ringing {
            key, invite, flow, ..
        } = ringing;
        let mut response = self.response(&invite, code);
        let dialog = code
            .is_success()
            .then(|| Dialog::uas(&invite, &response, flow));
        match dialog {
            None => {
                self.run(endpoint::Input::Respond { key, response }, steps);
                steps.media.close(steps.now, steps.out);
                steps.tell(PhoneEvent::Refused(code));
            }
            Some(Err(_)) => {
                self.respond(key, &invite, StatusCode::BAD_REQUEST, steps);
                steps.media.close(steps.now, steps.out);
                steps.fail(Failure::BadMessage);
            }
            Some(Ok(dialog)) => {
                let terms = if invite.body.is_empty() {
                    response.set_body("application/sdp", self.session.offer(&self.settings));
                    None
                } else if let Some((sdp, terms)) = self.session.answer(&self.settings, &invite.body)
                {
                    response.set_body("application/sdp", sdp);
                    Some(terms)
                } else {
                    self.respond(key, &invite, StatusCode::NOT_ACCEPTABLE_HERE, steps);
                    steps.fail(Failure::NoAudio);
                    return;
                };
                self.call = Call::Talking {
                    dialog: Box::new(dialog),
                    answered: Some(key),
                };
                self.run(endpoint::Input::Respond { key, response }, steps);
                if let Some(terms) = terms {
                    steps.connect(terms);
                }
                steps.tell(PhoneEvent::Answered);
            }
        }
    }

    pub(super) fn cancelled(&mut self, key: ServerKey, steps: &mut Steps<'_>) {
        match std::mem::replace(&mut self.call, Call::Idle) {
            Call::Ringing(ringing) if ringing.key == key => {
                self.respond(key, &ringing.invite, StatusCode::REQUEST_TERMINATED, steps);
                steps.media.close(steps.now, steps.out);
                steps.tell(PhoneEvent::Ended { by: End::Peer });
            }
            other => self.call = other,
        }
    }

    pub(super) fn server_failed(&mut self, key: ServerKey, steps: &mut Steps<'_>) {
        if matches!(&self.call, Call::Talking { answered: Some(ours), .. } if *ours == key) {
            steps.fail(Failure::NoAck);
            self.bye(steps);
        }
    }
}
