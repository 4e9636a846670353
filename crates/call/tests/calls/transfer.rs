//! Transfers: blind, attended, and everything that can cross them.

use duolog_call::{Fact, MediaCommand, Side};
use duolog_sip::sdp::Direction;
use duolog_sip::{Message, Method, Request};

use crate::world::{BOB, BOB2, CAROL, DAVE, ERIN, TRUNK, World, description};

impl World {
    /// A party refers the other one to a number.
    pub fn refer(&mut self, who: usize, to: &str, fields: &[(&str, &str)]) {
        let to = format!("<sip:{to}@192.0.2.99>");
        let mut all = vec![("Refer-To", to.as_str())];
        all.extend_from_slice(fields);
        self.within(who, Method::Refer, &all);
        self.run(100);
    }

    /// The status lines that NOTIFYs brought to a party, with `.` for the last of a subscription.
    pub fn notices(&self, who: usize) -> String {
        let notices = self.parties[who].heard.iter().filter_map(|m| match m {
            Message::Request(r) if r.method == Method::Notify => Some(r),
            _ => None,
        });
        let words = notices.map(|notify: &Request| {
            assert_eq!(
                notify.headers.value("Content-Type"),
                Some("message/sipfrag;version=2.0")
            );
            assert!(notify.headers.value("Event").unwrap().starts_with("refer"));
            let body = String::from_utf8_lossy(&notify.body).into_owned();
            let code = body.split(' ').nth(1).unwrap_or_default().to_owned();
            let state = notify.headers.value("Subscription-State").unwrap();
            let end = if state.starts_with("terminated") {
                "."
            } else {
                ""
            };
            format!("{code}{end}")
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// What each recording was told of its parties.
    pub fn stories(&self) -> Vec<String> {
        let of = |wanted| {
            let words = self.media.iter().filter_map(|(_, command)| match command {
                MediaCommand::Note { recording, fact } if *recording == wanted => match fact {
                    Fact::PartyLeft { side, how } => Some(format!("-{side:?}:{how:?}")),
                    Fact::PartyJoined { side, number, how } => {
                        Some(format!("+{side:?}:{number}:{how:?}"))
                    }
                    Fact::HungUp { by } => Some(format!("{by:?}")),
                    Fact::TransferFailed { status } => Some(format!("failed:{status}")),
                    _ => None,
                },
                MediaCommand::CloseRecording { recording, ending } if *recording == wanted => {
                    Some(format!("{:?}", ending.end))
                }
                _ => None,
            });
            words.collect::<Vec<_>>().join(" ")
        };
        self.recordings
            .keys()
            .map(|recording| of(*recording))
            .collect()
    }

    /// The last bridge, as letters.
    pub fn bridged(&self) -> String {
        let last = self
            .media
            .iter()
            .rev()
            .find_map(|(_, command)| match command {
                MediaCommand::Bridge { a, b } => Some([a.0, b.0]),
                _ => None,
            });
        let mut ends = last
            .expect("a bridge")
            .map(|leg| char::from(b'a' + (leg - 1) as u8));
        ends.sort_unstable();
        ends.iter().collect()
    }

    /// A party holds the other one, which follows.
    pub fn holds(&mut self, who: usize, other: usize) {
        self.reinvite(who, Direction::SendOnly);
        self.run(50);
        self.respond_with(other, 200, Some(&description(other, Direction::RecvOnly)));
        self.run(50);
    }

    /// The Replaces that names a party's dialog to its peer.
    pub fn replaces(&self, who: usize) -> String {
        let dialog = self.parties[who].dialog.as_ref().expect("a dialog").id();
        let (call, own, far) = (&dialog.call_id, &dialog.local_tag, &dialog.remote_tag);
        format!("{call};to-tag={far};from-tag={own}")
    }

    pub fn escaped_replaces(&self, who: usize) -> String {
        let text = self.replaces(who);
        text.replace('@', "%40")
            .replace(';', "%3B")
            .replace('=', "%3D")
    }
}

#[test]
fn a_blind_transfer_by_the_caller_or_the_callee() {
    for (caller, callee, from) in [(BOB, CAROL, BOB), (CAROL, BOB, BOB)] {
        let mut w = World::new();
        w.call(caller, callee);
        w.refer(BOB, "1004", &[("Referred-By", "<sip:1002@x>")]);
        assert_eq!(w.last_response(BOB).status.code(), 202);
        assert_eq!(w.notices(BOB), "100");
        let invite = w.last_request(DAVE).clone();
        assert_eq!(invite.method, Method::Invite);
        assert_eq!(invite.from().unwrap().uri.user.as_deref(), Some("1003"));
        assert_eq!(invite.headers.value("Referred-By"), Some("<sip:1002@x>"));
        w.respond(DAVE, 180);
        w.run(1000);
        assert_eq!(w.bridged(), "ab", "{from}: not before the answer");
        w.respond(DAVE, 200);
        w.run(50);
        assert_eq!(w.notices(BOB), "100 180 200.");
        assert_eq!(w.bridged().chars().last(), Some('c'));
        assert!(!w.times("TURN-c").is_empty());
        // The phone does not hang up by itself: it is told.
        assert!(w.parties[BOB].dialog.is_some());
        w.run_s(5);
        assert!(w.parties[BOB].dialog.is_none());
        // The two who remain are a call like any other.
        w.within(DAVE, Method::Info, &[("X-Hi", "1")]);
        w.run(50);
        assert_eq!(w.last_request(CAROL).headers.value("X-Hi"), Some("1"));
        w.bye(CAROL);
        w.run(50);
        assert!(w.parties[DAVE].dialog.is_none());
        w.settle();
        let side = if caller == BOB {
            Side::Caller
        } else {
            Side::Callee
        };
        let carol = side.other();
        let expected =
            format!("-{side:?}:Transferred +{side:?}:1004:Transfer Party({carol:?}) Finished");
        assert_eq!(w.stories(), [expected]);
    }
}

#[test]
fn a_recorded_user_transfers_to_a_recorded_user() {
    // T9: two recordings, one of each.
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.refer(CAROL, "1005", &[]);
    w.respond(ERIN, 200);
    w.run(50);
    w.bye(CAROL);
    w.run_s(2);
    w.bye(BOB);
    w.settle();
    let (carol, erin) = ("Transferred Finished", "Party(Callee) Finished");
    assert_eq!(w.stories(), [carol, erin]);
    let openings: Vec<_> = w.openings();
    assert_eq!(
        (openings[0].owner.as_str(), openings[1].owner.as_str()),
        ("carol", "erin")
    );
    assert_eq!(openings[0].correlation, openings[1].correlation);
    assert_eq!(
        (openings[1].from.as_str(), openings[1].to.as_str()),
        ("1002", "1005")
    );
    assert_eq!(openings[1].owner_side, Side::Caller);
}

#[test]
fn a_held_party_is_taken_back_when_it_is_transferred() {
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.holds(BOB, CAROL);
    w.refer(BOB, "1004", &[]);
    let offered = String::from_utf8_lossy(&w.last_request(DAVE).body).into_owned();
    assert!(
        !offered.contains("recvonly") && !offered.contains("sendonly"),
        "{offered}"
    );
    w.respond(DAVE, 200);
    w.run(50);
    let invite = w.last_request(CAROL).clone();
    assert_eq!(invite.method, Method::Invite);
    let body = String::from_utf8_lossy(&invite.body).into_owned();
    assert!(
        !body.contains("sendonly") && !body.contains("recvonly"),
        "{body}"
    );
    w.respond_with(CAROL, 200, Some(&description(CAROL, Direction::SendRecv)));
    w.run(50);
    assert_eq!(w.times("connect-a-sendrecv").len(), 2);
    w.bye(DAVE);
    w.settle();
}

#[test]
fn the_remaining_party_sees_one_session_go_on() {
    let origin = |body: &[u8]| {
        let text = String::from_utf8_lossy(body).into_owned();
        let line = text.lines().find(|line| line.starts_with("o=")).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        (words[1].to_owned(), words[2].parse::<u64>().unwrap())
    };
    let mut w = World::new();
    w.call(CAROL, BOB);
    let (id, first) = origin(&w.last_response(CAROL).body);
    w.refer(BOB, "1004", &[]);
    w.respond(DAVE, 200);
    w.run(50);
    w.reinvite(DAVE, Direction::SendOnly);
    w.run(50);
    let (again, version) = origin(&w.last_request(CAROL).body);
    assert_eq!(again, id, "RFC 3264 §8");
    assert!(version > first);
    w.respond_with(CAROL, 200, Some(&description(CAROL, Direction::RecvOnly)));
    w.run(50);
    w.bye(CAROL);
    w.settle();
}

#[test]
fn a_target_that_refuses_leaves_all_as_it_was() {
    for (status, told) in [(486, 486), (603, 603), (404, 404)] {
        let mut w = World::new();
        w.call(CAROL, BOB);
        w.refer(BOB, "1004", &[]);
        w.respond(DAVE, status);
        w.run(50);
        assert_eq!(w.notices(BOB), format!("100 {told}."));
        assert_eq!(w.bridged(), "ab");
        w.within(BOB, Method::Info, &[("X-Hi", "1")]);
        w.run(50);
        assert_eq!(w.last_request(CAROL).headers.value("X-Hi"), Some("1"));
        // And it may be tried again.
        w.refer(BOB, "1005", &[]);
        w.respond(ERIN, 200);
        w.run(50);
        assert!(w.notices(BOB).ends_with(" 200."), "{}", w.notices(BOB));
        w.bye(ERIN);
        w.settle();
    }
}

#[test]
fn nowhere_to_refer_to() {
    for (to, answered, told) in [
        ("<sip:x>", 202, "100 404."),
        ("<sip:1002@x;method=BYE>", 403, ""),
        ("<urn:service:sos>", 202, "100 416."),
    ] {
        let mut w = World::new();
        w.call(CAROL, BOB);
        w.within(BOB, Method::Refer, &[("Refer-To", to)]);
        w.run(100);
        assert_eq!(w.last_response(BOB).status.code(), answered, "{to}");
        assert_eq!(w.notices(BOB), told, "{to}");
        w.bye(BOB);
        w.settle();
    }
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.within(BOB, Method::Refer, &[]);
    w.run(100);
    assert_eq!(w.last_response(BOB).status.code(), 400);
    w.bye(BOB);
    w.settle();
}

#[test]
fn a_target_that_rings_for_ever() {
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.refer(BOB, "1004", &[]);
    w.respond(DAVE, 180);
    w.run_s(181);
    assert_eq!(w.notices(BOB), "100 180 408.");
    assert!(w.parties[DAVE].invites.is_empty(), "cancelled");
    assert_eq!(w.bridged(), "ab");
    w.bye(BOB);
    w.settle();
}

#[test]
fn the_one_who_asked_hangs_up_early() {
    // The target answers, refuses, or never does.
    for answer in [200, 486, 0] {
        let mut w = World::new();
        w.call(CAROL, BOB);
        w.refer(BOB, "1004", &[]);
        w.bye(BOB);
        w.run(100);
        assert!(w.parties[CAROL].dialog.is_some(), "still waits");
        assert_eq!(w.times("TURN").len(), 1);
        match answer {
            0 => w.run_s(181),
            _ => w.respond(DAVE, answer),
        }
        w.run(100);
        assert_eq!(w.parties[CAROL].dialog.is_some(), answer == 200);
        assert_eq!(w.notices(BOB), "100");
        if answer == 200 {
            assert_eq!(w.bridged(), "ac");
            w.bye(DAVE);
        }
        w.settle();
        let story = &w.stories()[0];
        assert!(story.starts_with("-Callee:HungUp"), "{story}");
        assert!(story.ends_with("Finished"), "{story}");
    }
}

#[test]
fn the_remaining_party_hangs_up_meanwhile() {
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.refer(BOB, "1004", &[]);
    w.bye(CAROL);
    w.run(300);
    assert_eq!(w.notices(BOB), "100 487.");
    assert!(w.parties[BOB].dialog.is_none());
    assert!(w.parties[DAVE].invites.is_empty(), "cancelled");
    w.settle();
    // The CANCEL crosses the target's 200.
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.refer(BOB, "1004", &[]);
    w.bye(CAROL);
    w.run(6);
    w.respond(DAVE, 200);
    w.run(300);
    assert!(w.parties[DAVE].dialog.is_none(), "ended by BYE");
    w.settle();
}

#[test]
fn one_transfer_at_a_time_and_none_before_the_answer() {
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.refer(BOB, "1004", &[]);
    for who in [BOB, CAROL] {
        w.refer(who, "1005", &[]);
        assert_eq!(w.last_response(who).status.code(), 491);
    }
    w.respond(DAVE, 200);
    w.run(100);
    w.refer(DAVE, "1005", &[]);
    assert_eq!(w.last_response(DAVE).status.code(), 202, "the next one");
    w.respond(ERIN, 200);
    w.run_s(5);
    w.bye(ERIN);
    w.settle();
    // Carol asks while she rings Bob.
    let mut w = World::new();
    w.invite(CAROL, "1002");
    w.run(50);
    w.respond(BOB, 180);
    w.run(50);
    let sent = w.sent_invite(CAROL);
    let flow = w.flow_from(CAROL);
    let ringing = w.last_response(CAROL).clone();
    w.parties[CAROL].dialog = duolog_sip::Dialog::uac(&sent, &ringing, flow).ok();
    w.refer(CAROL, "1004", &[]);
    assert_eq!(w.last_response(CAROL).status.code(), 491);
    w.cancel(CAROL);
    w.settle();
}

#[test]
fn without_a_subscription_nobody_is_notified() {
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.refer(BOB, "1004", &[("Refer-Sub", "false")]);
    assert_eq!(w.last_response(BOB).status.code(), 200);
    assert_eq!(
        w.last_response(BOB).headers.value("Refer-Sub"),
        Some("false")
    );
    w.respond(DAVE, 200);
    w.run_s(5);
    assert_eq!(w.notices(BOB), "");
    w.bye(CAROL);
    w.settle();
}

#[test]
fn a_refused_notice_is_the_last() {
    let mut w = World::new();
    w.parties[BOB].takes = vec![Method::Notify];
    w.call(CAROL, BOB);
    w.refer(BOB, "1004", &[]);
    let (key, notify) = w.parties[BOB].asked.remove(0);
    let response = duolog_sip::Response::to(&notify, crate::world::status(481));
    w.answer(BOB, key, response);
    w.run(50);
    w.respond(DAVE, 180);
    w.run(50);
    w.respond(DAVE, 200);
    w.run_s(5);
    assert_eq!(w.notices(BOB), "100");
    assert!(w.parties[BOB].dialog.is_none(), "BYE all the same");
    w.bye(CAROL);
    w.settle();
}

/// CAROL (recorded) talks to BOB, who consults somebody and brings them together.
fn consult(w: &mut World, other: usize) {
    w.call(CAROL, BOB);
    w.holds(BOB, CAROL);
    w.call(BOB2, other);
    let replaces = w.escaped_replaces(BOB2);
    let to = format!("<sip:100{}@x?Replaces={replaces}>", other);
    w.within(BOB, Method::Refer, &[("Refer-To", &to)]);
    w.run(100);
}

#[test]
fn an_attended_transfer() {
    // T7: one recording with both far parties.
    let mut w = World::new();
    consult(&mut w, DAVE);
    assert_eq!(w.notices(BOB), "100 200.");
    assert!(w.parties[BOB].dialog.is_none() && w.parties[BOB2].dialog.is_none());
    assert_eq!(w.bridged(), "ad");
    // Carol was held.
    w.respond_with(CAROL, 200, Some(&description(CAROL, Direction::SendRecv)));
    w.run(50);
    w.within(DAVE, Method::Info, &[("X-Hi", "1")]);
    w.run(50);
    assert_eq!(w.last_request(CAROL).headers.value("X-Hi"), Some("1"));
    w.bye(DAVE);
    w.run(50);
    assert!(w.parties[CAROL].dialog.is_none());
    w.settle();
    let story = "-Callee:Transferred +Callee:1004:Transfer Party(Callee) Finished";
    assert_eq!(w.stories(), [story]);
}

#[test]
fn an_attended_transfer_to_a_recorded_user() {
    let mut w = World::new();
    consult(&mut w, ERIN);
    w.run_s(1);
    w.respond_with(CAROL, 200, Some(&description(CAROL, Direction::SendRecv)));
    w.run_s(1);
    w.bye(CAROL);
    w.settle();
    // Both go on; Erin was called and still is.
    let carol = "-Callee:Transferred +Callee:1005:Transfer Party(Caller) Finished";
    let erin = "-Caller:Transferred +Caller:1003:Transfer Party(Caller) Finished";
    assert_eq!(w.stories(), [carol, erin]);
    assert_eq!(w.times("TURN-a").len(), 1);
    assert_eq!(w.times("TURN-d").len(), 1);
}

#[test]
fn the_recorded_one_transfers_attended() {
    // T8: Carol calls Erin, holds, calls Dave by her second line, transfers: three recordings.
    let mut w = World::new();
    w.call(BOB, ERIN);
    w.holds(BOB, ERIN);
    w.call(BOB2, CAROL);
    let replaces = w.escaped_replaces(BOB2);
    let to = format!("<sip:1003@x?Replaces={replaces}>");
    w.within(BOB, Method::Refer, &[("Refer-To", &to)]);
    w.run(100);
    w.respond_with(ERIN, 200, Some(&description(ERIN, Direction::SendRecv)));
    w.run(100);
    assert_eq!(w.bridged(), "bd");
    w.bye(ERIN);
    w.settle();
    assert_eq!(w.stories().len(), 2);
}

#[test]
fn a_consultation_that_still_rings_is_called_anew() {
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.invite(BOB2, "1004");
    w.run(50);
    w.respond(DAVE, 180);
    w.run(50);
    let (sent, ringing) = (w.sent_invite(BOB2), w.last_response(BOB2).clone());
    let flow = w.flow_from(BOB2);
    w.parties[BOB2].dialog = duolog_sip::Dialog::uac(&sent, &ringing, flow).ok();
    let replaces = w.escaped_replaces(BOB2);
    let to = format!("<sip:1004@x?Replaces={replaces}>");
    w.within(BOB, Method::Refer, &[("Refer-To", &to)]);
    w.run(100);
    assert_eq!(w.last_response(BOB2).status.code(), 487);
    w.respond(DAVE, 200);
    w.run(100);
    assert_eq!(w.notices(BOB), "100 200.");
    assert!(w.last_request(DAVE).headers.value("Replaces").is_none());
    w.bye(DAVE);
    w.settle();
}

#[test]
fn a_dialog_that_is_elsewhere_is_left_to_the_target() {
    let mut w = World::new();
    w.call(CAROL, BOB);
    let to = "<sip:1004@x?Replaces=far%40away%3Bto-tag%3D1%3Bfrom-tag%3D2>";
    w.within(BOB, Method::Refer, &[("Refer-To", to)]);
    w.run(100);
    let invite = w.last_request(DAVE);
    assert_eq!(
        invite.headers.value("Replaces"),
        Some("far@away;to-tag=1;from-tag=2")
    );
    assert!(!invite.headers.value("To").unwrap().contains("Replaces"));
    w.respond(DAVE, 200);
    w.run_s(5);
    w.bye(DAVE);
    w.settle();
    // One of the same call.
    let mut w = World::new();
    w.call(CAROL, BOB);
    let to = format!("<sip:1003@x?Replaces={}>", w.escaped_replaces(BOB));
    w.within(BOB, Method::Refer, &[("Refer-To", &to)]);
    w.run(100);
    assert_eq!(w.notices(BOB), "100 481.");
    w.bye(BOB);
    w.settle();
}

#[test]
fn a_party_that_is_busy_is_waited_for() {
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.call(BOB2, DAVE);
    // Dave's phone has asked for something that Bob's has not answered yet.
    w.reinvite(DAVE, Direction::SendRecv);
    w.run(50);
    let to = format!("<sip:1004@x?Replaces={}>", w.escaped_replaces(BOB2));
    w.within(BOB, Method::Refer, &[("Refer-To", &to)]);
    w.run(100);
    assert_eq!(w.notices(BOB), "100");
    w.respond(BOB2, 200);
    w.run(1000);
    assert_eq!(w.notices(BOB), "100 200.");
    w.bye(DAVE);
    w.settle();
    // For ever is too long.
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.call(BOB2, DAVE);
    w.reinvite(DAVE, Direction::SendRecv);
    w.run(50);
    let to = format!("<sip:1004@x?Replaces={}>", w.escaped_replaces(BOB2));
    w.within(BOB, Method::Refer, &[("Refer-To", &to)]);
    w.run_s(10);
    assert_eq!(w.notices(BOB), "100 491.");
    w.bye(BOB);
    w.bye(BOB2);
    w.settle();
}

#[test]
fn groups_keep_a_person_s_calls_together_and_others_apart() {
    let mut apart = crate::world::settings();
    apart.media.more_groups = 3;
    let mut w = World::with(apart.clone(), 1);
    consult(&mut w, DAVE);
    assert_eq!(w.notices(BOB), "100 200.");
    w.respond_with(CAROL, 200, Some(&description(CAROL, Direction::SendRecv)));
    w.run(50);
    w.bye(DAVE);
    w.settle();
    // The trunk's calls are wherever.
    let mut w = World::with(apart, 1);
    w.call(TRUNK, CAROL);
    w.call(BOB, DAVE);
    let to = format!("<sip:1004@x?Replaces={}>", w.escaped_replaces(BOB));
    w.within(TRUNK, Method::Refer, &[("Refer-To", &to)]);
    w.run(100);
    assert_eq!(w.notices(TRUNK), "100 503.");
    w.bye(TRUNK);
    w.bye(BOB);
    w.settle();
}

#[test]
fn the_newcomer_hears_of_the_recording_before_it_is_recorded() {
    let mut told = crate::world::settings();
    told.users[2].recording_mut().announce = duolog_call::StartStop::BOTH;
    let mut w = World::with(told, 1);
    w.call(CAROL, BOB);
    w.run_s(3);
    assert_eq!(w.times("START").len(), 1);
    w.refer(BOB, "1004", &[]);
    w.respond(DAVE, 200);
    w.run(100);
    assert_eq!(w.times("play-c-RecordingStarts.en").len(), 1);
    assert_eq!(w.times("play-a-RecordingStarts.en").len(), 1, "once");
    assert!(w.times("TURN-c").is_empty());
    w.run_s(3);
    assert_eq!(w.times("TURN-c").len(), 1);
    w.bye(CAROL);
    w.settle();
}
