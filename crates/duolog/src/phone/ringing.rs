//! A phone is called: ringing, the final answer, CANCEL (RFC 3261 §13.3), reliable provisional
//! responses (RFC 3262), and a call that takes the place of another (RFC 3891).

use std::time::Duration;

use duolog_sip::endpoint;
use duolog_sip::{Dialog, Flow, Method, Request, Response, ServerKey, StatusCode};

use super::ua::{Agreement, Call, Purpose, Ringing, Steps, Talk, UserAgent};
use super::{EarlyMedia, End, Failure, PhoneEvent, Reliable};

/// The number of the first reliable provisional response of a call; any would do.
const FIRST_RSEQ: u32 = 4_711;

fn has_tag(request: &Request, header: &str, tag: &str) -> bool {
    request.tags(header).any(|one| one == tag)
}

impl UserAgent {
    /// A new INVITE outside any dialog.
    pub(super) fn invited(
        &mut self,
        key: ServerKey,
        flow: Flow,
        invite: Request,
        steps: &mut Steps<'_>,
    ) {
        if has_tag(&invite, "Require", "100rel") && self.settings.ways.reliable == Reliable::Never {
            let bad_extension = StatusCode::new(420).expect("420 is a status code");
            let mut response = self.response(&invite, bad_extension);
            response.headers.push("Unsupported", "100rel");
            return self.run(endpoint::Input::Respond { key, response }, steps);
        }
        match invite.replaces() {
            Ok(None) => {}
            Ok(Some(replaces)) => {
                let named = replaces.dialog();
                let talking = matches!(self.call, Call::Talking(_));
                let known = self.dialog().is_some_and(|dialog| *dialog.id() == named);
                if !known || !talking {
                    return self.respond(key, &invite, StatusCode::NO_SUCH_CALL, steps);
                }
                return self.replaced(key, flow, invite, steps);
            }
            Err(_) => return self.respond(key, &invite, StatusCode::BAD_REQUEST, steps),
        }
        if !self.is_idle() {
            self.respond(key, &invite, StatusCode::BUSY_HERE, steps);
            return;
        }
        self.ring(key, flow, invite, steps);
    }

    /// The new call takes the place of the one that stands, at once.
    fn replaced(&mut self, key: ServerKey, flow: Flow, invite: Request, steps: &mut Steps<'_>) {
        let Call::Talking(mut old) = std::mem::replace(&mut self.call, Call::Idle) else {
            return;
        };
        steps.tell(PhoneEvent::Replaced);
        steps.media.close(steps.now, steps.out);
        let (bye, old_flow) = (old.dialog.request(Method::Bye), old.dialog.flow());
        self.begin(invite.call_id().unwrap_or_default().to_owned());
        self.tag = self.tokens.tag();
        self.call = Call::Ringing(Box::new(Ringing {
            key,
            invite,
            flow,
            answer_at: steps.now,
            early: None,
            unacknowledged: None,
            agreed: Agreement::Open,
            told: None,
        }));
        self.final_answer(StatusCode::OK, steps);
        self.send(Purpose::Bye, old_flow, bye, steps);
    }

    fn ring(&mut self, key: ServerKey, flow: Flow, invite: Request, steps: &mut Steps<'_>) {
        self.begin(invite.call_id().unwrap_or_default().to_owned());
        self.tag = self.tokens.tag();
        let answering = self.settings.answering;
        let answer_at = steps.now + Duration::from_millis(u64::from(answering.ring_ms));
        let mut ringing = Ringing {
            key,
            invite,
            flow,
            answer_at,
            early: None,
            unacknowledged: None,
            agreed: Agreement::Open,
            told: None,
        };
        if answering.ring_ms > 0 {
            let response = self.ringing_response(&mut ringing, steps);
            ringing.early = Dialog::uas(&ringing.invite, &response, flow).ok();
            self.call = Call::Ringing(Box::new(ringing));
            self.run(endpoint::Input::Respond { key, response }, steps);
            steps.tell(PhoneEvent::Ringing);
            return;
        }
        self.call = Call::Ringing(Box::new(ringing));
        self.final_answer(answering.code, steps);
    }

    fn ringing_response(&mut self, ringing: &mut Ringing, steps: &mut Steps<'_>) -> Response {
        let invite = &ringing.invite;
        let wanted = has_tag(invite, "Require", "100rel");
        let taken = wanted || has_tag(invite, "Supported", "100rel");
        let reliable = taken && self.settings.ways.reliable != Reliable::Never;
        let early = self.settings.answering.early_media == EarlyMedia::Yes;
        let mut response = self.response(invite, StatusCode::RINGING);
        let described = if !early {
            None
        } else if !invite.body.is_empty() {
            let answer = self.session.answer(&self.settings, &invite.body);
            answer.map(|(sdp, terms)| (sdp, Some(terms)))
        } else if reliable {
            // The offer of a call that had none goes into the first reliable response (§5).
            Some((self.session.offer(&self.settings), None))
        } else {
            None
        };
        if let Some((sdp, terms)) = described {
            response = self.response(invite, StatusCode::SESSION_PROGRESS);
            if reliable && terms.is_some() {
                ringing.agreed = Agreement::Reached;
            }
            ringing.told = Some(sdp.clone());
            response.set_body("application/sdp", sdp);
            if let Some(terms) = terms {
                steps.connect(terms);
            }
        }
        if reliable {
            response.headers.push("Require", "100rel");
            response.headers.push("RSeq", FIRST_RSEQ.to_string());
            ringing.unacknowledged = Some(FIRST_RSEQ);
        }
        response
    }

    /// PRACK for the provisional response of a call that rings here.
    pub(super) fn pracked(&mut self, key: ServerKey, prack: &Request, steps: &mut Steps<'_>) {
        let wanted = prack.rack().ok().map(|rack| rack.rseq);
        let Call::Ringing(ringing) = &mut self.call else {
            return self.respond(key, prack, StatusCode::NO_SUCH_CALL, steps);
        };
        if wanted.is_none() || ringing.unacknowledged != wanted {
            return self.respond(key, prack, StatusCode::NO_SUCH_CALL, steps);
        }
        ringing.unacknowledged = None;
        let (invite, rseq) = (ringing.key, wanted.unwrap_or_default());
        let input = endpoint::Input::Pracked { key: invite, rseq };
        self.run(input, steps);
        let mut response = self.response(prack, StatusCode::OK);
        let mut terms = None;
        if !prack.body.is_empty() {
            let answers = matches!(&self.call, Call::Ringing(r) if r.invite.body.is_empty());
            if answers {
                terms = self.session.accept(&self.settings, &prack.body);
            } else if let Some((sdp, agreed)) = self.session.answer(&self.settings, &prack.body) {
                response.set_body("application/sdp", sdp);
                terms = Some(agreed);
            }
        }
        if let Some(terms) = terms {
            steps.connect(terms);
            if let Call::Ringing(ringing) = &mut self.call {
                ringing.agreed = Agreement::Reached;
            }
        }
        self.run(endpoint::Input::Respond { key, response }, steps);
        steps.tell(PhoneEvent::Acknowledged);
        if let Call::Ringing(ringing) = &self.call
            && ringing.answer_at <= steps.now
        {
            self.final_answer(self.settings.answering.code, steps);
        }
    }

    /// No PRACK came: the call is refused (RFC 3262 §3).
    pub(super) fn unpracked(&mut self, key: ServerKey, steps: &mut Steps<'_>) {
        if matches!(&self.call, Call::Ringing(ringing) if ringing.key == key) {
            steps.fail(Failure::NoPrack);
            let timeout = StatusCode::new(504).expect("504 is a status code");
            self.final_answer(timeout, steps);
        }
    }

    pub(super) fn final_answer(&mut self, code: StatusCode, steps: &mut Steps<'_>) {
        let Call::Ringing(ringing) = std::mem::replace(&mut self.call, Call::Idle) else {
            return;
        };
        let mut response = self.response(&ringing.invite, code);
        if code.is_success() {
            return self.accept_call(*ringing, response, steps);
        }
        if (300..400).contains(&code.code()) {
            response.headers.remove("Contact");
            for uri in &self.settings.ways.moved_to {
                response.headers.push("Contact", format!("<{uri}>"));
            }
        }
        let key = ringing.key;
        self.run(endpoint::Input::Respond { key, response }, steps);
        steps.media.close(steps.now, steps.out);
        steps.tell(PhoneEvent::Refused(code));
    }

    fn accept_call(&mut self, ringing: Ringing, mut response: Response, steps: &mut Steps<'_>) {
        let (key, invite, flow) = (ringing.key, &ringing.invite, ringing.flow);
        response.headers.push("Supported", self.supported());
        let clock = self.timer_agreed_as_uas(invite, &mut response, steps.now);
        let dialog = match ringing.early {
            Some(mut early) => {
                early.confirm(&response);
                Ok(early)
            }
            None => Dialog::uas(invite, &response, flow),
        };
        let Ok(dialog) = dialog else {
            self.respond(key, invite, StatusCode::BAD_REQUEST, steps);
            steps.media.close(steps.now, steps.out);
            return steps.fail(Failure::BadMessage);
        };
        let mut terms = None;
        if ringing.agreed == Agreement::Reached {
            // Told reliably: once is enough.
        } else if let Some(told) = ringing.told {
            response.set_body("application/sdp", told);
        } else if invite.body.is_empty() {
            response.set_body("application/sdp", self.session.offer(&self.settings));
        } else if let Some((sdp, agreed)) = self.session.answer(&self.settings, &invite.body) {
            response.set_body("application/sdp", sdp);
            terms = Some(agreed);
        } else {
            self.respond(key, invite, StatusCode::NOT_ACCEPTABLE_HERE, steps);
            return steps.fail(Failure::NoAudio);
        }
        self.call = Call::Talking(Box::new(Talk {
            dialog,
            answered: Some(key),
            clock,
        }));
        self.run(endpoint::Input::Respond { key, response }, steps);
        if let Some(terms) = terms {
            steps.connect(terms);
        }
        steps.tell(PhoneEvent::Answered);
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
        if matches!(&self.call, Call::Talking(talk) if talk.answered == Some(key)) {
            steps.fail(Failure::NoAck);
            self.bye(steps);
        }
    }
}
