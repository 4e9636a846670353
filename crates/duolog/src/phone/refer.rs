//! REFER and what is told of it (RFC 3515, RFC 3892, RFC 4488).

use duolog_sip::{
    Dialog, DialogId, Method, NameAddr, Replaces, Request, Response, ServerKey, StatusCode, Uri,
};

use super::ua::{Call, Purpose, Steps, UserAgent};
use super::{AfterTransfer, Failure, PhoneEvent, Subscription};

/// What a phone knows of transfers.
#[derive(Debug, Default)]
pub(super) struct Referring {
    /// The dialog of the REFER that this phone sent, while it may be told of it.
    told_in: Option<DialogId>,
    /// The last dialog that is over.
    over: Option<Dialog>,
    /// Whom the other end asked this phone to call.
    target: Option<Uri>,
    /// Whether the other end wants to hear of it.
    reports: bool,
}

impl Referring {
    pub(super) fn left(&mut self, dialog: Dialog) {
        self.over = Some(dialog);
        self.reports = false;
    }

    /// Whether a request is for the dialog that is over.
    pub(super) fn knows(&mut self, request: &Request) -> bool {
        let over = self.over.as_mut();
        over.is_some_and(|dialog| dialog.receive(request).is_ok())
    }

    pub(super) fn over(&mut self) -> Option<&mut Dialog> {
        self.over.as_mut()
    }

    pub(super) fn target(&self) -> Option<&Uri> {
        self.target.as_ref()
    }
}

/// What a URI may hold unescaped in the value of a header (RFC 3261 §25.1: unreserved).
fn escaped(text: &str) -> String {
    let mut all = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' => {
                all.push(char::from(byte));
            }
            _ => all.push_str(&format!("%{byte:02X}")),
        }
    }
    all
}

impl UserAgent {
    pub(super) fn refer(
        &mut self,
        mut to: Uri,
        replaces: Option<Replaces>,
        subscription: Subscription,
        steps: &mut Steps<'_>,
    ) {
        if let Some(replaces) = replaces {
            to.headers = Some(format!("Replaces={}", escaped(&replaces.to_string())));
        }
        let contact = self.contact();
        let Some(dialog) = self.dialog() else { return };
        let (mut request, flow) = (dialog.request(Method::Refer), dialog.flow());
        let me = NameAddr::new(dialog.local().uri.clone());
        let id = dialog.id().clone();
        request
            .headers
            .push("Refer-To", NameAddr::new(to).to_string());
        request.headers.push("Referred-By", me.to_string());
        request.headers.push("Contact", contact);
        if subscription == Subscription::None {
            request.headers.push("Refer-Sub", "false");
            request.headers.push("Supported", "norefersub");
        } else {
            // The first NOTIFY may come before the answer (RFC 3515 §2.4.4).
            self.referring.told_in = Some(id);
        }
        self.send(Purpose::Refer, flow, request, steps);
    }

    pub(super) fn refer_answered(&mut self, response: &Response, steps: &mut Steps<'_>) {
        steps.tell(PhoneEvent::ReferAnswered(response.status));
        if !response.status.is_success() {
            self.referring.told_in = None;
        } else if self.settings.ways.after_transfer == AfterTransfer::HangsUpAtOnce {
            self.bye(steps);
        }
    }

    /// NOTIFY: what became of a REFER of this phone.
    pub(super) fn notified(&mut self, key: ServerKey, notify: &Request, steps: &mut Steps<'_>) {
        let named = DialogId::of_request(notify).ok();
        let event = notify.headers.value("Event").unwrap_or_default();
        let wanted = named.is_some() && named == self.referring.told_in;
        if !wanted || !event.trim_start().starts_with("refer") {
            return self.respond(key, notify, StatusCode::NO_SUCH_CALL, steps);
        }
        let Some(status) = fragment_status(notify) else {
            return self.respond(key, notify, StatusCode::BAD_REQUEST, steps);
        };
        self.respond(key, notify, StatusCode::OK, steps);
        let state = notify.headers.value("Subscription-State");
        let subscription = match state {
            Some(state) if state.trim_start().starts_with("terminated") => {
                self.referring.told_in = None;
                Subscription::None
            }
            _ => Subscription::Active,
        };
        steps.tell(PhoneEvent::Progress {
            status,
            subscription,
        });
        let transferred = matches!(&self.call, Call::Talking(talk)
            if Some(talk.dialog.id()) == named.as_ref());
        if transferred
            && status.is_success()
            && self.settings.ways.after_transfer == AfterTransfer::HangsUpAtSuccess
        {
            self.bye(steps);
        }
    }

    /// REFER: the other end wants this phone to call somebody. Its user decides.
    pub(super) fn referred(&mut self, key: ServerKey, refer: &Request, steps: &mut Steps<'_>) {
        let Ok(target) = refer.refer_to() else {
            return self.respond(key, refer, StatusCode::BAD_REQUEST, steps);
        };
        let silent = refer.headers.value("Refer-Sub");
        let silent = silent.is_some_and(|value| value.trim().eq_ignore_ascii_case("false"));
        let accepted = StatusCode::new(202).expect("202 is a status code");
        let mut response = self.response(refer, accepted);
        if silent {
            response.headers.push("Refer-Sub", "false");
        }
        self.run(
            duolog_sip::endpoint::Input::Respond { key, response },
            steps,
        );
        self.referring.target = Some(target.uri);
        self.referring.reports = !silent;
        steps.tell(PhoneEvent::Referred);
        if !silent {
            self.report(StatusCode::TRYING, steps);
        }
    }

    /// NOTIFY with a fragment of SIP (RFC 3420).
    pub(super) fn report(&mut self, status: StatusCode, steps: &mut Steps<'_>) {
        let contact = self.contact();
        let reports = self.referring.reports;
        let Some(dialog) = self.dialog().filter(|_| reports) else {
            return steps.fail(Failure::WrongMoment);
        };
        let (mut request, flow) = (dialog.request(Method::Notify), dialog.flow());
        let state = match status.is_final() {
            true => "terminated;reason=noresource",
            false => "active;expires=60",
        };
        request.headers.push("Contact", contact);
        request.headers.push("Event", "refer");
        request.headers.push("Subscription-State", state);
        let line = format!("SIP/2.0 {} {}\r\n", status.code(), status.default_reason());
        request.set_body("message/sipfrag;version=2.0", line.into());
        self.referring.reports = !status.is_final();
        self.send(Purpose::Notify, flow, request, steps);
    }
}

/// The status in the first line of a fragment.
fn fragment_status(notify: &Request) -> Option<StatusCode> {
    if notify.content_type() != "message/sipfrag" {
        return None;
    }
    let text = std::str::from_utf8(&notify.body).ok()?;
    let code = text.strip_prefix("SIP/2.0 ")?.get(..3)?;
    StatusCode::new(code.parse().ok()?)
}
