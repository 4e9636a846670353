//! Parties whose every message is written by the test: reliable answers, PRACK, UPDATE, early dialogs.

use duolog_sip::endpoint::ServerKey;
use duolog_sip::sdp::{Description, Direction};
use duolog_sip::{Dialog, Method, RAck, Request, Response};

use crate::world::{CAROL, TRUNK, World, description, status};

/// What a phone says it can do.
pub const ALL: [(&str, &str); 2] = [
    ("Supported", "100rel, timer"),
    ("Allow", "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE, INFO"),
];

impl World {
    /// An INVITE of TRUNK to CAROL with these fields; CAROL answers PRACK and UPDATE by hand.
    pub fn begin(&mut self, fields: &[(&str, &str)], body: Option<&Description>) -> Request {
        for who in [TRUNK, CAROL] {
            self.parties[who].takes = vec![Method::Prack, Method::Update];
        }
        let mut invite = self.new_invite(TRUNK, "1003");
        invite.headers.remove("Content-Type");
        invite.body = bytes::Bytes::new();
        for (name, value) in fields {
            invite.headers.push(name, *value);
        }
        if let Some(body) = body {
            invite.set_body("application/sdp", body.write());
        }
        self.send_new(TRUNK, invite.clone());
        self.run(50);
        invite
    }

    /// CAROL answers the INVITE she has; the dialog is the one with this tag, and stays.
    pub fn rings(
        &mut self,
        code: u16,
        tag: &str,
        fields: &[(&str, &str)],
        body: Option<&Description>,
    ) {
        let flow = self.flow_from(CAROL);
        let party = &mut self.parties[CAROL];
        let (key, request) = party.invites.first().cloned().expect("an INVITE to answer");
        let response = answer_to(&request, code, Some(tag), fields, body);
        if code >= 200 {
            party.invites.remove(0);
        }
        match &mut party.dialog {
            Some(dialog) if dialog.id().local_tag == tag => dialog.confirm(&response),
            _ if code < 300 => party.dialog = Dialog::uas(&request, &response, flow).ok(),
            _ => {}
        }
        self.answer(CAROL, key, response);
        self.run(50);
    }

    /// The same, reliably.
    pub fn rings_reliably(&mut self, code: u16, rseq: u32, body: Option<&Description>) {
        let rseq = rseq.to_string();
        let fields = [("Require", "100rel"), ("RSeq", rseq.as_str())];
        let fields: Vec<_> = fields.iter().chain(&ALL).copied().collect();
        self.rings(code, "c", &fields, body);
    }

    /// TRUNK takes the dialog of the last answer to its INVITE.
    pub fn takes_dialog(&mut self, invite: &Request) {
        let flow = self.flow_from(TRUNK);
        let dialog = Dialog::uac(invite, self.last_response(TRUNK), flow);
        self.parties[TRUNK].dialog = dialog.ok();
    }

    /// A request within a party's dialog.
    pub fn asks(
        &mut self,
        who: usize,
        method: Method,
        fields: &[(&str, &str)],
        body: Option<&Description>,
    ) {
        let dialog = self.parties[who].dialog.as_mut().expect("a dialog");
        let mut request = dialog.request(method);
        let contact = self.flow_from(who).peer;
        request.headers.push("Contact", format!("<sip:{contact}>"));
        for (name, value) in fields {
            request.headers.push(name, *value);
        }
        if let Some(body) = body {
            request.set_body("application/sdp", body.write());
        }
        match request.method {
            Method::Invite => self.reinvite_as(who, request),
            _ => self.send_new(who, request),
        }
        self.run(50);
    }

    /// TRUNK acknowledges the last provisional answer it got.
    pub fn pracks(&mut self, body: Option<&Description>) {
        let rack = rack_of(self.last_response(TRUNK));
        self.asks(TRUNK, Method::Prack, &[("RAck", &rack)], body);
    }

    /// A party answers the oldest request that waits for the test.
    pub fn replies(
        &mut self,
        who: usize,
        code: u16,
        fields: &[(&str, &str)],
        body: Option<&Description>,
    ) -> Request {
        let (key, request): (ServerKey, Request) = self.parties[who].asked.remove(0);
        self.answer(who, key, answer_to(&request, code, None, fields, body));
        self.run(50);
        request
    }

    /// A call in which both can do everything; nothing was answered before the 2xx.
    pub fn connected_call(&mut self) {
        self.connected_call_with(&ALL, &ALL);
    }

    /// A call from TRUNK, which says this in its INVITE, to CAROL, who says that in her 2xx.
    pub fn connected_call_with(&mut self, trunk: &[(&str, &str)], carol: &[(&str, &str)]) {
        self.begin(trunk, Some(&description(TRUNK, Direction::SendRecv)));
        self.rings(180, "c", &[], None);
        self.rings(
            200,
            "c",
            carol,
            Some(&description(CAROL, Direction::SendRecv)),
        );
    }

    /// Every request of this method that a party has got.
    pub fn requests(&self, who: usize, method: &Method) -> Vec<&Request> {
        let heard = self.parties[who].heard.iter();
        let requests = heard.filter_map(|message| match message {
            duolog_sip::Message::Request(request) => Some(request),
            duolog_sip::Message::Response(_) => None,
        });
        requests
            .filter(|request| request.method == *method)
            .collect()
    }
}

/// What a PRACK for this answer says.
pub fn rack_of(response: &Response) -> String {
    let (rseq, cseq) = (response.rseq().expect("an RSeq"), response.cseq().unwrap());
    RAck { rseq, cseq }.to_string()
}

/// The direction in a body, as its party meant it.
pub fn direction(body: &bytes::Bytes) -> &'static str {
    let description = Description::parse(body).expect("a description");
    description.audio().expect("audio").direction.as_str()
}

fn answer_to(
    request: &Request,
    code: u16,
    tag: Option<&str>,
    fields: &[(&str, &str)],
    body: Option<&Description>,
) -> Response {
    let mut response = Response::to(request, status(code));
    if let Some(tag) = tag {
        response.set_to_tag(tag);
    }
    response
        .headers
        .push("Contact", "<sip:1003@192.0.2.12:5060>");
    for (name, value) in fields {
        response.headers.push(name, *value);
    }
    if let Some(body) = body {
        response.set_body("application/sdp", body.write());
    }
    response
}
