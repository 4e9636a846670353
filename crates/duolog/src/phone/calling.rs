//! A phone calls: INVITE, its responses, giving up (RFC 3261 §13.2), reliable provisional responses
//! (RFC 3262).

use duolog_sip::endpoint;
use duolog_sip::{ClientKey, Dialog, Method, NameAddr, RAck, Request, Response, StatusCode, Uri};

use super::ua::{ALLOW, Agreement, Call, Placed, Purpose, Steps, Talk, UserAgent, Wanted};
use super::{Calling, Failure, Icon, Offering, PhoneEvent, Reliable};

impl UserAgent {
    pub(super) fn place_call(&mut self, calling: Calling, steps: &mut Steps<'_>) {
        self.tag = self.tokens.tag();
        let call_id = self.tokens.call_id();
        let mut me = NameAddr::new(Uri::sip(
            Some(&self.settings.user),
            &self.settings.domain,
            None,
        ));
        me.display = Some(self.settings.user.clone());
        let Calling { uri, .. } = calling;
        let mut request = Request::new(Method::Invite, uri.clone());
        let headers = &mut request.headers;
        headers.push("Max-Forwards", "70");
        headers.push("From", me.with_tag(&self.tag).to_string());
        headers.push("To", NameAddr::new(uri).to_string());
        headers.push("Call-ID", call_id.as_str());
        headers.push("CSeq", "1 INVITE");
        headers.push("Contact", self.contact());
        headers.push("Allow", ALLOW);
        headers.push("Supported", self.supported());
        if self.settings.ways.reliable == Reliable::Required {
            headers.push("Require", "100rel");
        }
        if let Some(replaces) = &calling.replaces {
            headers.push("Require", "replaces");
            headers.push("Replaces", replaces.to_string());
        }
        for (name, value) in &calling.headers {
            headers.push(name, value.as_str());
        }
        self.ask_for_timer(&mut request);
        self.begin(call_id);
        if calling.offer == Offering::Caller {
            let offer = self.session.offer(&self.settings);
            request.set_body("application/sdp", offer);
        }
        self.call = Call::Calling(Box::new(Placed {
            key: ClientKey(0),
            invite: request.clone(),
            wanted: Wanted::Yes,
            early: None,
            rseq: None,
            agreed: Agreement::Open,
        }));
        let flow = self.settings.flow;
        self.send(Purpose::Invite, flow, request, steps);
    }

    /// The option tags of this phone.
    pub(super) fn supported(&self) -> String {
        let mut tags = vec!["replaces", "norefersub"];
        if self.settings.ways.reliable != Reliable::Never {
            tags.push("100rel");
        }
        if self.knows_timers() {
            tags.push("timer");
        }
        if self.settings.ways.recording == Icon::Shown {
            tags.push("record-aware");
        }
        tags.join(", ")
    }

    pub(super) fn responded(&mut self, key: ClientKey, response: Response, steps: &mut Steps<'_>) {
        if response.status.is_final() && self.answer_challenge(key, &response, steps) {
            return;
        }
        let Some(sent) = self.sent.get(&key) else {
            return;
        };
        let purpose = sent.purpose;
        if purpose == Purpose::Invite {
            return self.invite_responded(key, response, steps);
        }
        if !response.status.is_final() {
            return;
        }
        if let Some(sent) = self.sent.remove(&key) {
            self.dialog_responded(key, &sent, &response, steps);
        }
    }

    fn invite_responded(&mut self, key: ClientKey, response: Response, steps: &mut Steps<'_>) {
        let wanted = match &self.call {
            Call::Calling(placed) if placed.key == key => Some(placed.wanted),
            _ => None,
        };
        let Some(wanted) = wanted else {
            // A 2xx after the call was given up, or from a second fork: taken and ended.
            if response.status.is_success() {
                self.refuse_fork(key, &response, steps);
            }
            return;
        };
        if response.status.is_provisional() {
            self.provisional(&response, steps);
        } else if response.status.is_success() {
            self.answered(key, wanted, &response, steps);
        } else if response.status.code() == 422 && wanted == Wanted::Yes {
            self.invite_with_longer_timer(key, &response, steps);
        } else {
            self.call = Call::Idle;
            steps.media.close(steps.now, steps.out);
            steps.tell(PhoneEvent::Refused(response.status));
        }
    }

    fn provisional(&mut self, response: &Response, steps: &mut Steps<'_>) {
        let flow = self.settings.flow;
        let Call::Calling(placed) = &mut self.call else {
            return;
        };
        let is_dialog = response.to_addr().is_ok_and(|to| to.tag().is_some());
        if is_dialog && let Ok(dialog) = Dialog::uac(&placed.invite, response, flow) {
            match &mut placed.early {
                Some(early) if early.id() == dialog.id() => {}
                early => {
                    *early = Some(dialog);
                    placed.rseq = None;
                }
            }
        }
        let reliable = response
            .rseq()
            .filter(|_| response.tags("Require").any(|tag| tag == "100rel"));
        if let Some(rseq) = reliable {
            // A repetition, or one that overtook another (RFC 3262 §4).
            if placed.rseq.is_some_and(|last| rseq != last + 1) {
                return;
            }
            placed.rseq = Some(rseq);
        }
        let offered = !placed.invite.body.is_empty();
        if response.status == StatusCode::RINGING {
            steps.tell(PhoneEvent::Ringing);
        }
        let mut answer = None;
        let terms = match offered {
            true => self.session.accept(&self.settings, &response.body),
            false if reliable.is_some() => {
                let answered = self.session.answer(&self.settings, &response.body);
                answered.map(|(sdp, terms)| {
                    answer = Some(sdp);
                    terms
                })
            }
            false => None,
        };
        if let Some(terms) = terms {
            steps.connect(terms);
            steps.tell(PhoneEvent::EarlyMedia);
            if let Call::Calling(placed) = &mut self.call {
                placed.agreed = Agreement::Reached;
            }
        }
        if let Some(rseq) = reliable {
            self.prack(rseq, response, answer, steps);
        }
    }

    fn prack(
        &mut self,
        rseq: u32,
        response: &Response,
        answer: Option<bytes::Bytes>,
        steps: &mut Steps<'_>,
    ) {
        let (Ok(cseq), Some(dialog)) = (response.cseq(), self.dialog()) else {
            return;
        };
        let (mut request, flow) = (dialog.request(Method::Prack), dialog.flow());
        let rack = RAck { rseq, cseq };
        request.headers.push("RAck", rack.to_string());
        if let Some(answer) = answer {
            request.set_body("application/sdp", answer);
        }
        self.send(Purpose::Prack, flow, request, steps);
    }

    fn answered(
        &mut self,
        key: ClientKey,
        wanted: Wanted,
        response: &Response,
        steps: &mut Steps<'_>,
    ) {
        let Call::Calling(placed) = std::mem::replace(&mut self.call, Call::Idle) else {
            return;
        };
        let made = Dialog::uac(&placed.invite, response, self.settings.flow);
        let Ok(made) = made else {
            return steps.fail(Failure::BadMessage);
        };
        // The early dialog has seen requests already.
        let dialog = match placed.early {
            Some(mut early) if early.id() == made.id() => {
                early.confirm(response);
                early
            }
            _ => made,
        };
        let cseq = placed.invite.cseq().map_or(1, |cseq| cseq.number);
        let mut request = dialog.ack_for(cseq);
        self.call = Call::Talking(Box::new(Talk {
            dialog,
            answered: None,
            clock: None,
        }));
        let empty = response.body.is_empty();
        let terms = if placed.agreed == Agreement::Reached && empty {
            None
        } else if placed.invite.body.is_empty() && placed.agreed == Agreement::Open {
            let answer = self.session.answer(&self.settings, &response.body);
            Some(answer.map(|(sdp, terms)| {
                request.set_body("application/sdp", sdp);
                terms
            }))
        } else {
            Some(self.session.accept(&self.settings, &response.body))
        };
        self.run(endpoint::Input::Ack { key, request }, steps);
        self.timer_agreed_as_uac(response, steps);
        match terms {
            _ if wanted == Wanted::No => self.bye(steps),
            Some(None) => {
                steps.fail(Failure::NoAudio);
                self.bye(steps);
            }
            Some(Some(terms)) => {
                steps.connect(terms);
                steps.tell(PhoneEvent::Answered);
            }
            None => steps.tell(PhoneEvent::Answered),
        }
    }

    fn refuse_fork(&mut self, key: ClientKey, response: &Response, steps: &mut Steps<'_>) {
        let Some(sent) = self.sent.get(&key) else {
            return;
        };
        let cseq = sent.request.cseq().map_or(1, |cseq| cseq.number);
        if let Ok(mut dialog) = Dialog::uac(&sent.request, response, self.settings.flow) {
            let request = dialog.ack_for(cseq);
            self.run(endpoint::Input::Ack { key, request }, steps);
            let (request, flow) = (dialog.request(Method::Bye), self.settings.flow);
            self.send(Purpose::Bye, flow, request, steps);
        }
    }

    pub(super) fn client_failed(&mut self, key: ClientKey, steps: &mut Steps<'_>) {
        let Some(sent) = self.sent.remove(&key) else {
            return;
        };
        match (sent.purpose, &self.call) {
            (Purpose::Invite, Call::Calling(placed)) if placed.key == key => {
                self.call = Call::Idle;
                steps.media.close(steps.now, steps.out);
                steps.fail(Failure::NoResponse);
            }
            (Purpose::Invite, _) => {}
            (Purpose::Register, _) => {
                self.registration.failed(steps.now);
                steps.fail(Failure::NoResponse);
            }
            (Purpose::Change, _) => {
                self.changing.over();
                steps.fail(Failure::NoResponse);
            }
            _ => steps.fail(Failure::NoResponse),
        }
    }
}
