//! What happens inside a phone's dialog: hold and retrieve, INFO, BYE, and the peer's requests.

use duolog_sip::endpoint;
use duolog_sip::{ClientKey, Flow, Method, Request, Response, ServerKey, StatusCode};

use super::offer::Hold;
use super::ua::{Purpose, Steps, UserAgent};
use super::{End, Failure, PhoneEvent};

impl UserAgent {
    pub(super) fn bye(&mut self, steps: &mut Steps<'_>) {
        let Some(dialog) = self.dialog() else { return };
        let (request, flow) = (dialog.request(Method::Bye), dialog.flow());
        self.leave(steps);
        let key = self.key(Purpose::Bye);
        self.run(endpoint::Input::Request { key, flow, request }, steps);
        steps.tell(PhoneEvent::Ended { by: End::Phone });
    }

    /// Re-INVITE for hold or retrieve.
    pub(super) fn change(&mut self, purpose: Purpose, steps: &mut Steps<'_>) {
        let contact = self.contact();
        let before = self.session.holding;
        self.session.holding = match purpose {
            Purpose::Hold => Hold::On,
            Purpose::Retrieve => Hold::Off,
            _ => before,
        };
        let offer = self.session.offer(&self.settings);
        // The offer is only that until it is answered.
        self.session.holding = before;
        let Some(dialog) = self.dialog() else { return };
        let (mut request, flow) = (dialog.request(Method::Invite), dialog.flow());
        request.headers.push("Contact", contact);
        request.set_body("application/sdp", offer);
        let key = self.key(purpose);
        self.run(endpoint::Input::Request { key, flow, request }, steps);
    }

    /// INFO with a `Record` header and no body.
    pub(super) fn record(&mut self, value: &str, steps: &mut Steps<'_>) {
        let Some(dialog) = self.dialog() else { return };
        let (mut request, flow) = (dialog.request(Method::Info), dialog.flow());
        request.headers.push("Record", value);
        let key = self.key(Purpose::Info);
        self.run(endpoint::Input::Request { key, flow, request }, steps);
    }

    /// A response to a request within the dialog.
    pub(super) fn dialog_responded(
        &mut self,
        key: ClientKey,
        purpose: Purpose,
        response: &Response,
        steps: &mut Steps<'_>,
    ) {
        if response.status.is_provisional() {
            return;
        }
        match purpose {
            Purpose::Info => steps.tell(PhoneEvent::InfoAnswered(response.status)),
            Purpose::Hold | Purpose::Retrieve | Purpose::Recode => {
                self.changed(key, purpose, response, steps);
            }
            Purpose::Bye | Purpose::Invite => {}
        }
    }

    fn changed(
        &mut self,
        key: ClientKey,
        purpose: Purpose,
        response: &Response,
        steps: &mut Steps<'_>,
    ) {
        if !response.status.is_success() {
            steps.fail(Failure::ChangeRefused(response.status));
            return;
        }
        let Some(dialog) = self.dialog() else { return };
        dialog.refresh(response);
        let cseq = response
            .cseq()
            .map_or(dialog.local_cseq(), |cseq| cseq.number);
        let request = dialog.ack_for(cseq);
        self.run(endpoint::Input::Ack { key, request }, steps);
        let (holding, event) = match purpose {
            Purpose::Hold => (Hold::On, PhoneEvent::Held { by: End::Phone }),
            Purpose::Retrieve => (Hold::Off, PhoneEvent::Retrieved { by: End::Phone }),
            _ => (self.session.holding, PhoneEvent::Recoded),
        };
        self.session.holding = holding;
        match self.session.accept(&self.settings, &response.body) {
            Some(terms) => {
                steps.connect(terms);
                steps.tell(event);
            }
            None => steps.fail(Failure::BadMessage),
        }
    }

    /// A request of the peer, inside the dialog or not.
    pub(super) fn requested(
        &mut self,
        key: ServerKey,
        flow: Flow,
        request: Request,
        steps: &mut Steps<'_>,
    ) {
        let inside = request.to().is_ok_and(|to| to.tag().is_some());
        match (&request.method, inside) {
            (Method::Options, _) => self.respond(key, &request, StatusCode::OK, steps),
            (Method::Invite, false) => self.invited(key, flow, request, steps),
            (_, true) => {
                let taken = self.dialog().map(|dialog| dialog.receive(&request).is_ok());
                if taken == Some(true) {
                    self.inside(key, &request, steps);
                } else {
                    self.respond(key, &request, StatusCode::NO_SUCH_CALL, steps);
                }
            }
            (Method::Bye | Method::Info | Method::Update, false) => {
                self.respond(key, &request, StatusCode::NO_SUCH_CALL, steps);
            }
            _ => self.respond(key, &request, StatusCode::METHOD_NOT_ALLOWED, steps),
        }
    }

    fn inside(&mut self, key: ServerKey, request: &Request, steps: &mut Steps<'_>) {
        match request.method {
            Method::Bye => {
                self.respond(key, request, StatusCode::OK, steps);
                self.leave(steps);
                steps.tell(PhoneEvent::Ended { by: End::Peer });
            }
            Method::Invite | Method::Update => self.reinvited(key, request, steps),
            Method::Info => self.respond(key, request, StatusCode::OK, steps),
            _ => self.respond(key, request, StatusCode::METHOD_NOT_ALLOWED, steps),
        }
    }

    fn reinvited(&mut self, key: ServerKey, request: &Request, steps: &mut Steps<'_>) {
        let mut response = self.response(request, StatusCode::OK);
        if request.body.is_empty() {
            if request.method == Method::Invite {
                response.set_body("application/sdp", self.session.offer(&self.settings));
            }
            self.run(endpoint::Input::Respond { key, response }, steps);
            return;
        }
        let Some((answer, terms)) = self.session.answer(&self.settings, &request.body) else {
            self.respond(key, request, StatusCode::NOT_ACCEPTABLE_HERE, steps);
            return;
        };
        response.set_body("application/sdp", answer);
        self.run(endpoint::Input::Respond { key, response }, steps);
        steps.connect(terms);
        if let Some(event) = self.session.hold_changed(&request.body) {
            steps.tell(event);
        }
    }

    /// The ACK of a 2xx: the answer when our 2xx carried the offer.
    pub(super) fn acked(&mut self, ack: &Request, steps: &mut Steps<'_>) {
        if ack.body.is_empty() || self.dialog().is_none() {
            return;
        }
        match self.session.accept(&self.settings, &ack.body) {
            Some(terms) => steps.connect(terms),
            None => {
                steps.fail(Failure::NoAudio);
                self.bye(steps);
            }
        }
    }
}
