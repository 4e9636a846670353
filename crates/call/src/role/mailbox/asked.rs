//! What the caller asks within the dialog.

use duolog_sip::endpoint::ServerKey;
use duolog_sip::{DialogError, Method, Request, Response, StatusCode};

use super::{Call, Phase};
use crate::answer::{capabilities, refusal, too_small};
use crate::fact::{HungUpBy, Means, Side};
use crate::role::b2bua::carry::required;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::keypad::Way;
use crate::role::b2bua::session_timer::TooSmall;
use crate::role::b2bua::{Body, Describing, key_of};

impl Call {
    /// A request within the caller's dialog.
    pub(crate) fn request(&mut self, cx: &mut Context<'_>, key: ServerKey, request: &Request) {
        let received = self.leg.dialog.as_mut().map(|d| d.receive(request));
        match received {
            Some(Ok(())) => self.leg.dialogue.can.learn(&request.headers),
            Some(Err(DialogError::OutOfOrder)) => return self.refuse(cx, key, request, 500),
            Some(Err(DialogError::Header(_))) => return self.refuse(cx, key, request, 400),
            Some(Err(DialogError::OtherDialog)) | None => {
                return self.refuse(cx, key, request, 481);
            }
        }
        match request.method {
            Method::Bye => self.bye(cx, key, request),
            Method::Prack => self.prack(cx, key, request),
            Method::Options => {
                let mut response = capabilities(cx.settings, request);
                let contact = self.leg.contact(cx.settings);
                response.headers.push("Contact", contact);
                cx.act(Action::Respond(key, response));
            }
            Method::Info => self.info(cx, key, request),
            Method::Invite | Method::Update => self.offered(cx, key, request),
            // Nobody is there to be transferred to anybody.
            Method::Refer => self.refuse(cx, key, request, 603),
            Method::Message => self.refuse(cx, key, request, 415),
            Method::Subscribe => self.refuse(cx, key, request, 489),
            Method::Notify => self.refuse(cx, key, request, 481),
            Method::Extension(_) => self.refuse(cx, key, request, 501),
            _ => self.refuse(cx, key, request, 405),
        }
    }

    /// Answers a request with a refusal.
    pub(super) fn refuse(
        &self,
        cx: &mut Context<'_>,
        key: ServerKey,
        request: &Request,
        status: u16,
    ) {
        let mut response = refusal(cx.settings, request, status, None);
        if status == 489 {
            response.headers.push("Allow-Events", "message-summary");
        }
        self.refuse_with(cx, key, response);
    }

    fn ok(&self, cx: &mut Context<'_>, key: ServerKey, request: &Request) {
        let mut response = Response::to(request, StatusCode::OK);
        let server = cx.settings.server_name.as_str();
        response.headers.push("Server", server);
        cx.act(Action::Respond(key, response));
    }

    fn bye(&mut self, cx: &mut Context<'_>, key: ServerKey, request: &Request) {
        self.ok(cx, key, request);
        self.end(cx, HungUpBy::Party(Side::Caller));
    }

    /// For a provisional answer that the caller got before it came here.
    fn prack(&mut self, cx: &mut Context<'_>, key: ServerKey, request: &Request) {
        let Ok(rack) = request.rack() else {
            return self.refuse(cx, key, request, 400);
        };
        let acknowledged = self.leg.dialogue.sending.acknowledged(&rack);
        let Some(acknowledged) = acknowledged else {
            return self.refuse(cx, key, request, 481);
        };
        if let Some(exchange) = &self.exchange {
            cx.act(Action::Pracked(exchange.server, acknowledged.rseq));
        }
        self.ok(cx, key, request);
    }

    /// A re-INVITE or an UPDATE.
    fn offered(&mut self, cx: &mut Context<'_>, key: ServerKey, request: &Request) {
        if !required(request).is_empty() {
            return self.refuse(cx, key, request, 420);
        }
        let wanted = cx.settings.session_timer;
        if let Err(TooSmall(least)) = self.leg.dialogue.timer.asked(wanted, request) {
            let response = too_small(cx.settings, request, least);
            return self.refuse_with(cx, key, response);
        }
        let Ok(body) = Body::read(&request.headers, &request.body) else {
            return self.refuse(cx, key, request, 400);
        };
        let describes = body.description();
        let update = request.method == Method::Update;
        let crosses = self.exchange.is_some() || self.offers();
        // A sign of life crosses nothing; an offer that meets another one has to wait (RFC 3261 §14.2,
        // RFC 3311 §5.2), and before the first one is answered there is none to change.
        if (crosses || self.phase == Phase::Opening) && (!update || describes.is_some()) {
            return self.refuse(cx, key, request, 491);
        }
        if let Some(offer) = describes {
            self.preferred(cx, offer, Describing::Offer);
        }
        if !update {
            return self.answer_again(cx, key, request.clone());
        }
        let Some(theirs) = describes else {
            let reply = self.reply(cx, request, None);
            return cx.act(Action::Respond(key, reply));
        };
        match self.answer_to(cx, theirs) {
            Ok(agreed) => {
                let reply = self.reply(cx, request, Some(&agreed.ours));
                self.agree(cx, agreed);
                cx.act(Action::Respond(key, reply));
            }
            Err(why) => {
                let response = crate::answer::not_acceptable(cx.settings, request, &why);
                self.refuse_with(cx, key, response);
            }
        }
    }

    /// A control of the caller's own recording, a key that may be one, or nothing for a mailbox.
    fn info(&mut self, cx: &mut Context<'_>, key: ServerKey, request: &Request) {
        if let Some(value) = request.headers.value("Record") {
            let Some(control) = crate::role::b2bua::control_of(value) else {
                return self.refuse(cx, key, request, 489);
            };
            return match self.half.control(cx, Means::Info, control) {
                Ok(_) => self.ok(cx, key, request),
                Err(why) => {
                    let why = why.to_string();
                    let response = refusal(cx.settings, request, 403, Some(&why));
                    self.refuse_with(cx, key, response);
                }
            };
        }
        if let Some((form, digit)) = key_of(request) {
            self.ok(cx, key, request);
            return self.pressed(cx, Way::Info(form), digit);
        }
        let kind = request.headers.value("Content-Type").unwrap_or_default();
        let keys = ["application/dtmf-relay", "application/dtmf"];
        let is_keys = keys.iter().any(|k| k.eq_ignore_ascii_case(kind.trim()));
        match request.body.is_empty() || is_keys {
            true => self.ok(cx, key, request),
            false => self.refuse(cx, key, request, 415),
        }
    }
}
