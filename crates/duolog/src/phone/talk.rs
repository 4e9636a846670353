//! What happens inside a phone's dialog: what its user does there, BYE, and the peer's requests.

use duolog_sip::endpoint;
use duolog_sip::{ClientKey, DialogError, Flow, Method, Request, Response, ServerKey, StatusCode};

use super::change::Doing;
use super::offer::HoldStyle;
use super::ua::{Call, Purpose, Sent, Steps, UserAgent};
use super::{Action, By, End, Failure, PhoneEvent};

impl UserAgent {
    /// What can only be done within a call.
    pub(super) fn act_inside(&mut self, action: Action, steps: &mut Steps<'_>) {
        let talking = matches!(self.call, Call::Talking(_));
        match action {
            Action::Hold if talking => {
                self.change(By::ReInvite, Doing::Hold(HoldStyle::SendOnly), steps);
            }
            Action::Retrieve if talking => self.change(By::ReInvite, Doing::Retrieve, steps),
            Action::Recode { codecs } if talking => {
                self.settings.codecs = codecs;
                self.change(By::ReInvite, Doing::Recode, steps);
            }
            Action::Alter { by, change } => self.change(by, change.into(), steps),
            Action::Record { value } if talking => {
                let headers = [("Record".to_owned(), value)];
                self.ask(Purpose::Info, Method::Info, &headers, None, steps);
            }
            Action::Send {
                method,
                headers,
                body,
            } => self.ask(Purpose::Other, method, &headers, body, steps),
            Action::Refer {
                to,
                replaces,
                subscription,
            } if talking => self.refer(to, replaces, subscription, steps),
            Action::Report { status } => self.report(status, steps),
            _ => steps.fail(Failure::WrongMoment),
        }
    }

    /// A request within the dialog.
    fn ask(
        &mut self,
        purpose: Purpose,
        method: Method,
        headers: &[(String, String)],
        body: Option<(String, String)>,
        steps: &mut Steps<'_>,
    ) {
        let Some(dialog) = self.dialog() else {
            return steps.fail(Failure::WrongMoment);
        };
        let (mut request, flow) = (dialog.request(method), dialog.flow());
        for (name, value) in headers {
            request.headers.push(name, value.as_str());
        }
        if let Some((content_type, body)) = body {
            request.set_body(&content_type, body.into());
        }
        self.send(purpose, flow, request, steps);
    }

    pub(super) fn bye(&mut self, steps: &mut Steps<'_>) {
        let Some(talk) = self.talk() else { return };
        let (request, flow) = (talk.dialog.request(Method::Bye), talk.dialog.flow());
        self.leave(steps);
        self.send(Purpose::Bye, flow, request, steps);
        steps.tell(PhoneEvent::Ended { by: End::Phone });
    }

    /// The final response to a request that did not begin a call.
    pub(super) fn dialog_responded(
        &mut self,
        key: ClientKey,
        sent: &Sent,
        response: &Response,
        steps: &mut Steps<'_>,
    ) {
        match sent.purpose {
            Purpose::Info => steps.tell(PhoneEvent::InfoAnswered(response.status)),
            Purpose::Other => steps.tell(PhoneEvent::Replied(response.status)),
            Purpose::Change => self.changed(key, sent, response, steps),
            Purpose::Refer => self.refer_answered(response, steps),
            Purpose::Register => self.register_answered(response, steps),
            Purpose::Prack if response.status.is_success() => {
                steps.tell(PhoneEvent::Acknowledged);
            }
            Purpose::Prack | Purpose::Notify | Purpose::Bye | Purpose::Invite => {}
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
            (Method::Options, false) => self.respond(key, &request, StatusCode::OK, steps),
            (Method::Invite, false) => {
                self.remember(&request);
                self.invited(key, flow, request, steps);
            }
            (_, true) => {
                let taken = self.dialog().map(|dialog| dialog.receive(&request));
                match taken {
                    Some(Ok(())) => {
                        self.remember(&request);
                        self.inside(key, &request, steps);
                    }
                    // RFC 3261 §12.2.2.
                    Some(Err(DialogError::OutOfOrder)) => {
                        self.respond(key, &request, StatusCode::SERVER_ERROR, steps);
                    }
                    _ => self.afterwards(key, &request, steps),
                }
            }
            (Method::Bye | Method::Info | Method::Update | Method::Prack, false) => {
                self.respond(key, &request, StatusCode::NO_SUCH_CALL, steps);
            }
            _ => self.respond(key, &request, StatusCode::METHOD_NOT_ALLOWED, steps),
        }
    }

    fn inside(&mut self, key: ServerKey, request: &Request, steps: &mut Steps<'_>) {
        match request.method {
            Method::Bye => self.bye_received(key, request, steps),
            Method::Invite | Method::Update => self.reinvited(key, request, steps),
            Method::Info | Method::Message | Method::Options => {
                self.respond(key, request, StatusCode::OK, steps);
            }
            Method::Prack => self.pracked(key, request, steps),
            Method::Refer => self.referred(key, request, steps),
            Method::Notify => self.notified(key, request, steps),
            _ => self.respond(key, request, StatusCode::METHOD_NOT_ALLOWED, steps),
        }
    }

    fn bye_received(&mut self, key: ServerKey, request: &Request, steps: &mut Steps<'_>) {
        self.respond(key, request, StatusCode::OK, steps);
        if let Call::Ringing(ringing) = &self.call {
            // An early dialog was ended: so is the INVITE that made it (RFC 3261 §15.1.2).
            let (key, invite) = (ringing.key, ringing.invite.clone());
            self.respond(key, &invite, StatusCode::REQUEST_TERMINATED, steps);
        }
        self.leave(steps);
        steps.tell(PhoneEvent::Ended { by: End::Peer });
    }

    /// A request for a call that is over: two BYEs that crossed (RFC 5407 §3.1.5), or what is still to
    /// be told of a transfer.
    fn afterwards(&mut self, key: ServerKey, request: &Request, steps: &mut Steps<'_>) {
        if !self.referring.knows(request) {
            return self.respond(key, request, StatusCode::NO_SUCH_CALL, steps);
        }
        match request.method {
            Method::Bye => {
                let response = self.response(request, StatusCode::OK);
                self.run(endpoint::Input::Respond { key, response }, steps);
            }
            Method::Notify => {
                self.remember(request);
                self.notified(key, request, steps);
            }
            _ => self.respond(key, request, StatusCode::NO_SUCH_CALL, steps),
        }
    }
}
