//! One call to several places: phones that ring together, addresses that are tried in turn, places
//! that point elsewhere.

use duolog_call::{Fact, Location, Redirects, Voicemail};
use duolog_reach::digest::{self, Credentials, Memory, Secret};
use duolog_sip::endpoint::ServerKey;
use duolog_sip::sdp::Direction;
use duolog_sip::{Method, Request, Response, Tokens};

use crate::world::{BOB, CAROL, DAVE, ERIN, Ports, TRUNK, World, description, settings, status};

/// CAROL has these phones, all registered.
pub fn phones(who: &[usize]) -> World {
    let mut settings = settings();
    settings.users[2].location = Location::Registered;
    settings.users[2].secret = Some(Secret::new("hearsay".to_owned()));
    let mut w = World::with(settings, 1);
    who.iter().for_each(|at| w.register(*at));
    w
}

impl World {
    /// A phone of CAROL's registers.
    fn register(&mut self, who: usize) {
        let mut request = self.new_request(who, Method::Register, "x");
        request.headers.set("To", "<sip:carol@192.0.2.99>");
        request.headers.push("Expires", "600");
        self.send_new(who, request.clone());
        self.run(50);
        let credentials = Credentials {
            user: "carol".to_owned(),
            secret: Secret::new("hearsay".to_owned()),
            realm: None,
        };
        let (memory, tokens) = (&mut Memory::default(), &mut Tokens::new([9; 32]));
        let challenge = self.last_response(who);
        let signed = digest::answer(&request, challenge, &credentials, memory, tokens);
        let mut signed = signed.expect("the challenge can be met");
        signed.headers.set("CSeq", "2 REGISTER");
        self.send_new(who, signed);
        self.run(50);
        assert_eq!(self.last_response(who).status.code(), 200);
        self.parties[who].heard.clear();
    }

    /// The registrations run out, and with them everything else.
    pub fn settle_all(&mut self) {
        self.run_s(700);
        self.settle();
    }

    fn take(&mut self, who: usize) -> (ServerKey, Request) {
        self.parties[who].invites.remove(0)
    }

    /// Answers with a tag of its own; the dialog is the party's.
    fn fork(&mut self, who: usize, tag: &str, code: u16, sdp: bool) {
        let (key, request) = self.parties[who].invites[0].clone();
        let mut response = Response::to(&request, status(code));
        response.set_to_tag(tag);
        response.headers.push(
            "Contact",
            format!("<sip:{tag}@{}>", self.flow_from(who).peer),
        );
        if sdp {
            response.set_body(
                "application/sdp",
                description(who, Direction::SendRecv).write(),
            );
        }
        if code >= 200 {
            self.take(who);
        }
        if code == 200 {
            let flow = self.flow_from(who);
            self.parties[who].dialog = duolog_sip::Dialog::uas(&request, &response, flow).ok();
        }
        self.answer(who, key, response);
        self.run(50);
    }

    /// A party points elsewhere.
    pub fn redirect(&mut self, who: usize, contacts: &[&str]) {
        let (key, request) = self.take(who);
        let mut response = Response::to(&request, status(302));
        response.set_to_tag("moved");
        for contact in contacts {
            response.headers.push("Contact", *contact);
        }
        self.answer(who, key, response);
        self.run(100);
    }
}

#[test]
fn a_redirection_is_followed() {
    let mut w = World::new();
    w.invite(TRUNK, "1003");
    w.run(50);
    w.redirect(CAROL, &["<sip:1004@x>;q=0.5", "<sip:1005@x>"]);
    let invite = w.last_request(ERIN).clone();
    assert_eq!(invite.method, Method::Invite, "the better one");
    assert!(invite.headers.value("Diversion").unwrap().contains("1003"));
    let history: Vec<&str> = invite.headers.values("History-Info").collect();
    assert_eq!(history.len(), 2, "{history:?}");
    assert!(history[0].contains("1003") && history[0].ends_with("index=1"));
    assert!(
        history[1].contains("1005") && history[1].contains("cause=302"),
        "{history:?}"
    );
    w.respond(ERIN, 200);
    w.run_s(1);
    w.bye(TRUNK);
    w.settle();
    // Carol's recording is that of a call not answered, Erin's the other.
    let ends: Vec<String> = w
        .endings()
        .iter()
        .map(|(end, _)| format!("{end:?}"))
        .collect();
    assert_eq!(ends, ["NotAnswered", "Finished"]);
    let openings = w.openings();
    assert_eq!(openings[1].owner, "erin");
    assert_eq!(openings[1].diversion, ["1003"]);
    assert_eq!(openings[0].correlation, openings[1].correlation);
    assert!(w.facts().contains(&Fact::Diverted {
        from: "1003".into()
    }));
}

#[test]
fn a_redirection_in_a_circle_ends() {
    let mut w = World::new();
    w.invite(TRUNK, "1003");
    w.run(50);
    w.redirect(CAROL, &["<sip:1004@x>"]);
    w.redirect(DAVE, &["<sip:1003@x>", "<sip:1004@x>"]);
    assert_eq!(w.last_response(TRUNK).status.code(), 480);
    w.settle();
    // Nowhere at all.
    for contact in ["<urn:service:sos>", "<sip:x>", "<sip:1003@y>"] {
        let mut w = World::new();
        w.invite(TRUNK, "1003");
        w.run(50);
        w.redirect(CAROL, &[contact]);
        assert_eq!(w.last_response(TRUNK).status.code(), 480, "{contact}");
        w.settle();
    }
}

#[test]
fn a_caller_may_give_up_while_a_redirection_is_followed() {
    let mut w = World::new();
    w.invite(TRUNK, "1003");
    w.run(50);
    w.redirect(CAROL, &["<sip:1005@x>"]);
    w.cancel(TRUNK);
    w.run(300);
    assert_eq!(w.last_response(TRUNK).status.code(), 487);
    assert!(w.parties[ERIN].invites.is_empty());
    w.settle();
}

#[test]
fn a_trunk_may_want_redirections_itself() {
    let mut told = settings();
    told.trunks[0].redirects = Redirects::PassOn;
    let mut w = World::with(told, 1);
    w.invite(TRUNK, "1003");
    w.run(50);
    w.redirect(CAROL, &["<sip:0201@pbx.example>;q=0.3", "<sip:1004@y>"]);
    let response = w.last_response(TRUNK).clone();
    assert_eq!(response.status.code(), 302);
    let contacts: Vec<&str> = response.headers.values("Contact").collect();
    assert_eq!(contacts.len(), 2);
    assert!(
        contacts.iter().all(|c| c.contains("@192.0.2.99:5060")),
        "{contacts:?}"
    );
    assert!(contacts[0].contains("1004") && contacts[1].contains("0201"));
    w.settle();
}

#[test]
fn a_message_is_recorded_for_the_one_who_was_called() {
    // T17: forwarded to voicemail.
    for wanted in [Voicemail::Recorded, Voicemail::Left] {
        let mut told = settings();
        told.numbering.voicemail = vec!["1004".to_owned()];
        told.users[2].recording_mut().voicemail = wanted;
        let mut w = World::with(told, 1);
        w.invite(TRUNK, "1003");
        w.run(50);
        w.redirect(CAROL, &["<sip:1004@x>"]);
        w.respond(DAVE, 200);
        w.run_s(1);
        w.bye(TRUNK);
        w.settle();
        let ends: Vec<String> = w
            .endings()
            .iter()
            .map(|(end, _)| format!("{end:?}"))
            .collect();
        let expected = match wanted {
            Voicemail::Recorded => "Finished",
            Voicemail::Left => "NotAnswered",
        };
        assert_eq!(ends, [expected]);
    }
}

#[test]
fn early_dialogs_of_forks_behind_one_place() {
    // The one that speaks first is heard; another one answers.
    let mut w = World::new();
    w.invite(TRUNK, "1003");
    w.run(50);
    w.fork(CAROL, "one", 183, true);
    w.fork(CAROL, "two", 183, true);
    assert_eq!(w.times("connect-b-sendrecv").len(), 1);
    let first = w.last_response(TRUNK).to_addr().unwrap();
    w.fork(CAROL, "two", 200, true);
    let second = w.last_response(TRUNK).to_addr().unwrap();
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    assert_ne!(
        first.tag(),
        second.tag(),
        "another dialog for the caller as well"
    );
    w.run(100);
    w.within(TRUNK, Method::Info, &[("X-Hi", "1")]);
    w.run(50);
    assert_eq!(w.last_request(CAROL).headers.value("X-Hi"), Some("1"));
    w.bye(TRUNK);
    w.run(50);
    assert_eq!(w.last_request(CAROL).method, Method::Bye);
    w.settle();
    // The same one answers.
    let mut w = World::new();
    w.invite(TRUNK, "1003");
    w.run(50);
    w.fork(CAROL, "one", 183, true);
    let first = w.last_response(TRUNK).to_addr().unwrap();
    w.fork(CAROL, "two", 180, false);
    w.fork(CAROL, "one", 200, true);
    assert_eq!(first.tag(), w.last_response(TRUNK).to_addr().unwrap().tag());
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn phones_that_ring_together() {
    let mut w = phones(&[CAROL, DAVE, ERIN]);
    w.invite(TRUNK, "1003");
    w.run(50);
    for who in [CAROL, DAVE, ERIN] {
        assert_eq!(w.parties[who].invites.len(), 1, "{who} rings");
    }
    let invites = [CAROL, DAVE, ERIN].map(|who| w.parties[who].invites[0].1.clone());
    assert_eq!(invites[0].call_id().unwrap(), invites[1].call_id().unwrap());
    assert_eq!(
        invites[0].headers.value("From"),
        invites[2].headers.value("From")
    );
    assert_ne!(
        invites[0].via().unwrap().branch(),
        invites[1].via().unwrap().branch()
    );
    w.fork(CAROL, "c", 180, false);
    w.fork(DAVE, "d", 180, false);
    w.fork(ERIN, "e", 486, false);
    assert_eq!(w.heard(TRUNK), "180 180", "one busy phone is not all");
    w.fork(DAVE, "d", 200, true);
    w.run(300);
    assert!(w.parties[CAROL].invites.is_empty(), "cancelled");
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    w.bye(TRUNK);
    w.run(100);
    assert_eq!(w.last_request(DAVE).method, Method::Bye);
    w.settle_all();
}

#[test]
fn two_phones_answer_at_once() {
    let mut w = phones(&[CAROL, DAVE]);
    w.invite(TRUNK, "1003");
    w.run(50);
    for (who, tag) in [(CAROL, "c"), (DAVE, "d")] {
        let (key, request) = w.take(who);
        let mut response = Response::to(&request, status(200));
        response.set_to_tag(tag);
        let at = w.flow_from(who).peer;
        response
            .headers
            .push("Contact", format!("<sip:{tag}@{at}>"));
        response.set_body(
            "application/sdp",
            description(who, Direction::SendRecv).write(),
        );
        let flow = w.flow_from(who);
        w.parties[who].dialog = duolog_sip::Dialog::uas(&request, &response, flow).ok();
        w.answer(who, key, response);
    }
    w.run(300);
    let standing = [CAROL, DAVE].map(|who| w.parties[who].dialog.is_some());
    assert_eq!(
        standing.iter().filter(|s| **s).count(),
        1,
        "one wins: {standing:?}"
    );
    assert_eq!(w.heard(TRUNK), "200");
    w.bye(TRUNK);
    w.settle_all();
    assert!(w.parties.iter().all(|party| party.dialog.is_none()));
}

#[test]
fn the_best_refusal_of_several() {
    for (first, second, told) in [
        (486, 404, 486),
        (404, 486, 404),
        (486, 603, 603),
        (500, 486, 486),
        (503, 486, 486),
        (503, 503, 500),
        (480, 415, 415),
    ] {
        let mut w = phones(&[CAROL, DAVE]);
        w.invite(TRUNK, "1003");
        w.run(50);
        w.fork(CAROL, "c", first, false);
        assert!(!w.heard(TRUNK).contains(' '), "waits for the other one");
        w.fork(DAVE, "d", second, false);
        assert_eq!(
            w.last_response(TRUNK).status.code(),
            told,
            "{first} {second}"
        );
        w.settle_all();
    }
    // 6xx speaks for all at once.
    let mut w = phones(&[CAROL, DAVE]);
    w.invite(TRUNK, "1003");
    w.run(50);
    w.fork(CAROL, "c", 603, false);
    w.run(300);
    assert_eq!(w.last_response(TRUNK).status.code(), 603);
    assert!(w.parties[DAVE].invites.is_empty(), "cancelled");
    w.settle_all();
}

#[test]
fn the_caller_gives_up_while_a_phone_answers() {
    let mut w = phones(&[CAROL, DAVE]);
    w.invite(TRUNK, "1003");
    w.run(250);
    w.cancel(TRUNK);
    w.run(6);
    w.fork(CAROL, "c", 200, true);
    w.run(300);
    assert!(w.parties[CAROL].dialog.is_none(), "ended again");
    assert_eq!(w.last_response(TRUNK).status.code(), 487);
    w.settle_all();
}

#[test]
fn a_call_is_picked_up_by_another_phone() {
    // T13: Bob's phone rings, Carol takes the call.
    let mut w = World::new();
    w.invite(TRUNK, "1002");
    w.run(50);
    w.respond(BOB, 180);
    w.run(50);
    let ringing = w.parties[BOB].invites[0].1.clone();
    let ours = ringing.from().unwrap().tag().unwrap().to_owned();
    let key = w.tag_of(BOB);
    let replaces = format!(
        "{};to-tag={ours};from-tag={key}",
        ringing.call_id().unwrap()
    );
    let mut invite = w.new_invite(CAROL, "1002");
    invite.headers.push("Replaces", replaces);
    w.send_new(CAROL, invite);
    w.run(400);
    assert!(w.parties[BOB].invites.is_empty(), "cancelled");
    assert_eq!(w.last_response(CAROL).status.code(), 200);
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    assert_eq!(w.bridged(), "ac");
    assert_eq!(w.times("START").len(), 1);
    w.within(TRUNK, Method::Info, &[("X-Hi", "1")]);
    w.run(50);
    assert_eq!(w.last_request(CAROL).headers.value("X-Hi"), Some("1"));
    w.bye(CAROL);
    w.run(50);
    assert!(w.parties[TRUNK].dialog.is_none());
    w.settle();
    let openings = w.openings();
    assert_eq!((openings.len(), openings[0].owner.as_str()), (1, "carol"));
    assert_eq!(w.stories(), ["Party(Callee) Finished"]);
}

#[test]
fn a_call_is_taken_over() {
    // T15: held at one phone, resumed at another; the far party's recording goes on.
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.holds(BOB, CAROL);
    let replaces = w.replaces(BOB);
    let mut invite = w.new_invite(DAVE, "1003");
    invite.headers.push("Replaces", replaces);
    w.send_new(DAVE, invite);
    w.run(100);
    assert_eq!(w.last_response(DAVE).status.code(), 200);
    assert!(w.parties[BOB].dialog.is_none(), "BYE");
    assert_eq!(w.bridged(), "ac");
    // Carol was held, and is taken back.
    w.respond_with(CAROL, 200, Some(&description(CAROL, Direction::SendRecv)));
    w.run(100);
    w.bye(CAROL);
    w.run(50);
    assert!(w.parties[DAVE].dialog.is_none());
    w.settle();
    let story = "-Callee:Replaced +Callee:1004:Replaced Party(Caller) Finished";
    assert_eq!(w.stories(), [story]);
    // The recorded one is taken over by itself.
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.run_s(1);
    let replaces = w.replaces(CAROL);
    let mut invite = w.new_invite(ERIN, "1003");
    invite.headers.push("Replaces", replaces);
    w.send_new(ERIN, invite);
    w.run(500);
    w.bye(TRUNK);
    w.settle();
    assert_eq!(w.stories(), ["Replaced Finished", "Party(Caller) Finished"]);
}

#[test]
fn what_cannot_be_replaced() {
    // Nothing of that name.
    let mut w = World::new();
    let mut invite = w.new_invite(DAVE, "1003");
    invite.headers.push("Replaces", "x@y;to-tag=1;from-tag=2");
    w.send_new(DAVE, invite);
    w.run(50);
    assert_eq!(w.heard(DAVE), "481");
    // One that is confirmed, where only an early one is wanted; one without an offer; a bad name.
    for (extra, offer, told) in [
        (";early-only", true, 486),
        ("", false, 488),
        (";;=", true, 0),
    ] {
        let mut w = World::new();
        w.call(CAROL, BOB);
        let replaces = format!("{}{extra}", w.replaces(BOB));
        let mut invite = w.new_invite(DAVE, "1003");
        invite.headers.push("Replaces", replaces);
        if !offer {
            invite.headers.remove("Content-Type");
            invite.body = bytes::Bytes::new();
        }
        w.send_new(DAVE, invite);
        w.run(100);
        let status = w.last_response(DAVE).status.code();
        assert!(told == 0 || status == told, "{extra}: {status}");
        assert!(status != 200 || told == 0);
        w.bye(CAROL);
        w.settle();
    }
    // The caller's own early dialog is not ours to give away.
    let mut w = World::new();
    w.invite(TRUNK, "1003");
    w.run(50);
    w.respond(CAROL, 180);
    w.run(50);
    let sent = w.sent_invite(TRUNK);
    let to = w.last_response(TRUNK).to_addr().unwrap();
    let from = sent.from().unwrap();
    let (own, theirs) = (to.tag().unwrap(), from.tag().unwrap());
    let replaces = format!("{};to-tag={own};from-tag={theirs}", sent.call_id().unwrap());
    let mut invite = w.new_invite(DAVE, "1003");
    invite.headers.push("Replaces", replaces);
    w.send_new(DAVE, invite);
    w.run(50);
    assert_eq!(w.last_response(DAVE).status.code(), 481);
    w.cancel(TRUNK);
    w.settle();
}

#[test]
fn a_newcomer_may_change_its_mind_or_the_call_may_end() {
    for hang_up in [false, true] {
        let mut w = World::new();
        w.call(CAROL, BOB);
        w.ports = Ports::Refused;
        let replaces = w.replaces(BOB);
        let mut invite = w.new_invite(ERIN, "1003");
        invite.headers.push("Replaces", replaces);
        w.send_new(ERIN, invite);
        if hang_up {
            w.bye(BOB);
        }
        w.run(100);
        let told = w.last_response(ERIN).status.code();
        assert!(matches!(told, 503 | 603 | 481), "{told}");
        if !hang_up {
            w.bye(BOB);
        }
        w.settle();
    }
}
