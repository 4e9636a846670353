//! The subscription that a REFER makes (RFC 3515 §2.4.4): its NOTIFYs tell the one who asked how the
//! transfer goes.

use duolog_sip::{Method, Request, StatusCode};

use crate::role::b2bua::leg::Leg;
use crate::settings::Settings;

/// How long such a subscription lives at most, in seconds.
const EXPIRES_S: u32 = 300;

/// The subscription of a party to the outcome of its REFER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// CSeq of the REFER where it is not the first one of its dialog.
    id: Option<u32>,
    /// The last status that was told.
    told: Option<u16>,
}

/// Whether more notices will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    Active,
    Over,
}

impl Subscription {
    /// That of the REFER with this CSeq; later ones of a dialog are told apart by it.
    pub(super) fn new(id: Option<u32>) -> Self {
        Self { id, told: None }
    }

    /// A NOTIFY with this status; `None` where it says nothing new, or its dialog is gone.
    pub(super) fn notify(
        &mut self,
        settings: &Settings,
        leg: &mut Leg,
        code: u16,
        course: Course,
    ) -> Option<Request> {
        if self.told == Some(code) && course == Course::Active {
            return None;
        }
        let mut notify = leg.request(Method::Notify)?;
        self.told = Some(code);
        let headers = &mut notify.headers;
        headers.push("Contact", leg.contact(settings));
        headers.push(
            "Event",
            match self.id {
                Some(id) => format!("refer;id={id}"),
                None => "refer".to_owned(),
            },
        );
        headers.push(
            "Subscription-State",
            match course {
                Course::Active => format!("active;expires={EXPIRES_S}"),
                Course::Over => "terminated;reason=noresource".to_owned(),
            },
        );
        let status = StatusCode::new(code).unwrap_or(StatusCode::SERVER_ERROR);
        let line = format!("SIP/2.0 {} {}\r\n", status.code(), status.default_reason());
        notify.set_body("message/sipfrag;version=2.0", line.into());
        Some(notify)
    }
}
