//! A phone calls: INVITE, its responses, giving up (RFC 3261 §13.2).

use duolog_sip::endpoint;
use duolog_sip::{ClientKey, Dialog, Method, NameAddr, Request, Response, StatusCode, Uri};

use super::ua::{ALLOW, Call, Purpose, Steps, UserAgent, Wanted};
use super::{Failure, PhoneEvent};

impl UserAgent {
    pub(super) fn place_call(&mut self, uri: Uri, steps: &mut Steps<'_>) {
        self.tag = self.tokens.tag();
        let call_id = self.tokens.call_id();
        let mut me = NameAddr::new(Uri::sip(
            Some(&self.settings.user),
            &self.settings.domain,
            None,
        ));
        me.display = Some(self.settings.user.clone());
        let mut request = Request::new(Method::Invite, uri.clone());
        request.headers.push("Max-Forwards", "70");
        request
            .headers
            .push("From", me.with_tag(&self.tag).to_string());
        request.headers.push("To", NameAddr::new(uri).to_string());
        request.headers.push("Call-ID", call_id.as_str());
        request.headers.push("CSeq", "1 INVITE");
        request.headers.push("Contact", self.contact());
        request.headers.push("Allow", ALLOW);
        self.begin(call_id);
        let offer = self.session.offer(&self.settings);
        request.set_body("application/sdp", offer);
        let (invite, wanted) = (request.clone(), Wanted::Yes);
        let key = self.key(Purpose::Invite);
        self.call = Call::Calling {
            key,
            invite,
            wanted,
        };
        let flow = self.settings.flow;
        self.run(endpoint::Input::Request { key, flow, request }, steps);
    }

    pub(super) fn responded(&mut self, key: ClientKey, response: Response, steps: &mut Steps<'_>) {
        let purpose = self.purposes.get(&key).copied();
        if response.status.is_final() && purpose != Some(Purpose::Invite) {
            self.purposes.remove(&key);
        }
        match purpose {
            Some(Purpose::Invite) => self.invite_responded(key, response, steps),
            Some(purpose) => self.dialog_responded(key, purpose, &response, steps),
            None => {}
        }
    }

    fn invite_responded(&mut self, key: ClientKey, response: Response, steps: &mut Steps<'_>) {
        let current = match &self.call {
            Call::Calling {
                key: ours,
                invite,
                wanted,
            } if *ours == key => Some((invite, *wanted)),
            _ => None,
        };
        let Some((invite, wanted)) = current else {
            // A 2xx after the call was given up, or from a second fork: taken and ended.
            if response.status.is_success() {
                self.refuse_fork(key, &response, steps);
            }
            return;
        };
        if response.status.is_provisional() {
            if response.status == StatusCode::RINGING {
                steps.tell(PhoneEvent::Ringing);
            }
            if let Some(terms) = self.session.accept(&self.settings, &response.body) {
                steps.connect(terms);
                steps.tell(PhoneEvent::EarlyMedia);
            }
            return;
        }
        if !response.status.is_success() {
            self.call = Call::Idle;
            steps.media.close(steps.now, steps.out);
            steps.tell(PhoneEvent::Refused(response.status));
            return;
        }
        let Ok(dialog) = Dialog::uac(invite, &response, self.settings.flow) else {
            self.call = Call::Idle;
            steps.fail(Failure::BadMessage);
            return;
        };
        let request = dialog.ack_for(dialog.local_cseq());
        self.call = Call::Talking {
            dialog: Box::new(dialog),
            answered: None,
        };
        self.run(endpoint::Input::Ack { key, request }, steps);
        match self.session.accept(&self.settings, &response.body) {
            Some(_) if wanted == Wanted::No => self.bye(steps),
            Some(terms) => {
                steps.connect(terms);
                steps.tell(PhoneEvent::Answered);
            }
            None => {
                steps.fail(Failure::NoAudio);
                self.bye(steps);
            }
        }
    }

    fn refuse_fork(&mut self, key: ClientKey, response: &Response, steps: &mut Steps<'_>) {
        // A dialog takes only the CSeq from its request, and every INVITE of a new call has 1.
        let mut invite = Request::new(Method::Invite, Uri::sip(None, "invalid", None));
        invite.headers.push("CSeq", "1 INVITE");
        if let Ok(mut dialog) = Dialog::uac(&invite, response, self.settings.flow) {
            let request = dialog.ack_for(1);
            self.run(endpoint::Input::Ack { key, request }, steps);
            let (request, flow) = (dialog.request(Method::Bye), self.settings.flow);
            let key = self.key(Purpose::Bye);
            self.run(endpoint::Input::Request { key, flow, request }, steps);
        }
    }

    pub(super) fn client_failed(&mut self, key: ClientKey, steps: &mut Steps<'_>) {
        match (self.purposes.remove(&key), &self.call) {
            (Some(Purpose::Invite), Call::Calling { key: ours, .. }) if *ours == key => {
                self.call = Call::Idle;
                steps.media.close(steps.now, steps.out);
                steps.fail(Failure::NoResponse);
            }
            (Some(Purpose::Invite) | None, _) => {}
            (Some(_), _) => steps.fail(Failure::NoResponse),
        }
    }
}
