//! Parties that come, leave and ask while something else is on its way.

use std::time::Duration;

use duolog_call::{
    End, Fact, Input, LegId, MediaEvent, NumberRoute, OnFailure, RecordingId, StartStop, Trunk,
    TrunkIndex,
};
use duolog_reach::hops::{Destination, Host, Records};
use duolog_sip::sdp::Direction;
use duolog_sip::{Method, Transport};

use crate::world::{
    BOB, BOB2, CAROL, DAVE, ERIN, Ports, TRUNK, World, description, over, settings, status,
};

/// `who` wants the place that `replaces` names.
fn take(w: &mut World, who: usize, replaces: String) {
    let mut invite = w.new_invite(who, "1002");
    invite.headers.push("Replaces", replaces);
    w.send_new(who, invite);
}

/// Bob's phone rings for the trunk; the name of that dialog.
fn ringing(w: &mut World) -> String {
    w.invite(TRUNK, "1002");
    w.run(50);
    w.respond(BOB, 180);
    w.run(50);
    let invite = w.parties[BOB].invites[0].1.clone();
    let ours = invite.from().unwrap().tag().unwrap().to_owned();
    let theirs = w.tag_of(BOB);
    format!(
        "{};to-tag={ours};from-tag={theirs}",
        invite.call_id().unwrap()
    )
}

/// Ports for the leg that was opened as the `nth`.
fn open(w: &mut World, nth: u64) {
    let address = |port| std::net::SocketAddr::new("192.0.2.99".parse().unwrap(), port);
    let (rtp, rtcp) = (address(30_000), address(30_001));
    w.report(MediaEvent::LegOpened {
        leg: LegId(nth),
        rtp,
        rtcp,
    });
}

#[test]
fn a_newcomer_without_ports_is_not_waited_for_without_limit() {
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.ports = Ports::Silent;
    let replaces = w.replaces(BOB);
    take(&mut w, ERIN, replaces);
    w.run_s(179);
    assert_eq!(w.heard(ERIN), "100");
    w.run_s(2);
    assert_eq!(w.last_response(ERIN).status.code(), 503);
    assert!(w.parties[CAROL].dialog.is_some() && w.parties[BOB].dialog.is_some());
    // The place may be asked for again.
    w.ports = Ports::Given;
    let replaces = w.replaces(BOB);
    take(&mut w, DAVE, replaces);
    w.run(100);
    assert_eq!(w.last_response(DAVE).status.code(), 200);
    w.bye(CAROL);
    w.settle();
}

#[test]
fn a_pick_up_crosses_the_answer() {
    let mut w = World::new();
    let replaces = ringing(&mut w);
    w.ports = Ports::Silent;
    take(&mut w, CAROL, replaces);
    w.run(50);
    w.respond(BOB, 200);
    w.run(50);
    open(&mut w, 3);
    w.run(50);
    assert_eq!(w.last_response(CAROL).status.code(), 486);
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    w.within(TRUNK, Method::Info, &[("X-Hi", "1")]);
    w.run(50);
    assert_eq!(w.last_request(BOB).headers.value("X-Hi"), Some("1"));
    w.bye(TRUNK);
    w.run(50);
    assert!(w.parties[BOB].dialog.is_none());
    w.settle();
    assert_eq!(w.endings().len(), 1, "Carol's row is closed once");
}

#[test]
fn a_redirection_leads_nowhere_once_the_call_is_picked_up_or_over() {
    for picked_up in [true, false] {
        let mut told = settings();
        let mut far = Trunk::at("far", Transport::Udp, "192.0.2.1:5060".parse().unwrap());
        far.destination = Destination {
            host: Host::Name("far.example".to_owned()),
            port: Some(5060),
            transport: Some(Transport::Udp),
        };
        told.trunks.push(far);
        told.numbering.routes.push(NumberRoute {
            prefix: "77".to_owned(),
            trunk: TrunkIndex(1),
        });
        let mut w = World::with(told, 1);
        let replaces = ringing(&mut w);
        let (key, request) = w.parties[BOB].invites.remove(0);
        let mut moved = duolog_sip::Response::to(&request, status(302));
        moved.headers.push("Contact", "<sip:7712@x>");
        w.answer(BOB, key, moved);
        w.run(50);
        assert_eq!(w.seen.queries.len(), 1, "asked, and not answered");
        match picked_up {
            true => take(&mut w, CAROL, replaces),
            false => w.cancel(TRUNK),
        }
        w.run(100);
        let id = *w.seen.queries.last().unwrap();
        let found = vec!["192.0.2.13".parse().unwrap()];
        let answer = Ok(Records::Addresses(found, Duration::from_secs(60)));
        w.node(Input::Resolved { id, answer });
        w.run(100);
        assert!(w.parties[DAVE].invites.is_empty());
        if picked_up {
            w.within(TRUNK, Method::Info, &[("X-Hi", "1")]);
            w.run(50);
            assert_eq!(w.last_request(CAROL).headers.value("X-Hi"), Some("1"));
            w.bye(CAROL);
        }
        w.run_s(60);
        assert_eq!((w.engine.calls(), w.legs.len()), (0, 0));
    }
}

#[test]
fn the_session_of_one_who_has_left_ends_nobody_s_call() {
    let mut w = World::new();
    let mut invite = w.new_invite(BOB, "1003");
    invite.headers.push("Supported", "timer");
    let expires = "120;refresher=uac";
    invite.headers.push("Session-Expires", expires);
    w.send_new(BOB, invite);
    w.run(50);
    w.respond(CAROL, 200);
    w.run_s(60);
    w.refer(BOB, "1004", &[]);
    w.bye(BOB);
    w.run_s(60);
    assert!(w.parties[CAROL].dialog.is_some(), "still waits");
    // What she asks meanwhile does not end her dialog either (RFC 3261 §12.2.1.2).
    let mut update = w.parties[CAROL]
        .dialog
        .as_mut()
        .unwrap()
        .request(Method::Update);
    let contact = format!("<sip:1003@{}>", "192.0.2.12:5060");
    update.headers.push("Contact", contact);
    let body = description(CAROL, Direction::SendRecv).write();
    update.set_body("application/sdp", body);
    w.reinvite_as(CAROL, update);
    w.run(50);
    assert_eq!(w.last_response(CAROL).status.code(), 491);
    w.respond(DAVE, 200);
    w.run(50);
    w.bye(DAVE);
    w.run(50);
    assert!(w.parties[CAROL].dialog.is_none());
    w.settle();
}

#[test]
fn a_newcomer_during_the_announcement_hears_it_first() {
    let mut told = settings();
    told.users[2].recording_mut().announce = StartStop::BOTH;
    let mut w = World::with(told, 1);
    w.call(CAROL, BOB);
    w.refer(BOB, "1004", &[]);
    w.respond(DAVE, 200);
    w.run_s(5);
    let heard = w.times("play-c-RecordingStarts.en");
    let (turned, started) = (w.times("TURN-c"), w.times("START"));
    assert_eq!((heard.len(), turned.len(), started.len()), (1, 1, 1));
    assert!(started[0] >= heard[0] + 2000, "{heard:?} {started:?}");
    assert_eq!(w.times("play-a-RecordingStarts.en").len(), 1, "once");
    w.bye(CAROL);
    w.settle();
}

#[test]
fn one_who_moves_during_the_announcement_hears_it_in_the_other_call() {
    let mut told = settings();
    told.users[4].recording_mut().announce = StartStop::BOTH;
    let mut w = World::with(told, 1);
    w.call(DAVE, BOB);
    w.call(BOB2, ERIN);
    let to = format!("<sip:1005@x?Replaces={}>", w.escaped_replaces(BOB2));
    w.within(BOB, Method::Refer, &[("Refer-To", &to)]);
    w.run_s(5);
    // Dave, a, has not heard it before; Erin is d.
    let heard = w.times("play-a-RecordingStarts.nl");
    let (turned, started) = (w.times("TURN-a"), w.times("START"));
    assert_eq!((heard.len(), turned.len(), started.len()), (1, 1, 1));
    assert!(started[0] >= heard[0] + 2000, "{heard:?} {started:?}");
    assert!(turned[0] <= started[0]);
    w.bye(DAVE);
    w.settle();
}

#[test]
fn nobody_moves_the_calls_of_others() {
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.call(DAVE, ERIN);
    for victim in [DAVE, ERIN] {
        let to = format!("<sip:1005@x?Replaces={}>", w.escaped_replaces(victim));
        w.within(BOB, Method::Refer, &[("Refer-To", &to)]);
        w.run(100);
        assert!(w.notices(BOB).ends_with("100 403."), "{}", w.notices(BOB));
    }
    // Not even while it rings.
    w.invite(TRUNK, "1004");
    w.run(50);
    w.respond(DAVE, 180);
    w.run(50);
    let (sent, answer) = (w.sent_invite(TRUNK), w.last_response(TRUNK).clone());
    let flow = w.flow_from(TRUNK);
    w.parties[TRUNK].dialog = duolog_sip::Dialog::uac(&sent, &answer, flow).ok();
    let to = format!("<sip:1004@x?Replaces={}>", w.escaped_replaces(TRUNK));
    w.within(BOB, Method::Refer, &[("Refer-To", &to)]);
    w.run(100);
    assert!(w.notices(BOB).ends_with("100 403."), "{}", w.notices(BOB));
    assert!(!w.parties[DAVE].invites.is_empty(), "still rings");
    w.cancel(TRUNK);
    // A name that is right but for one tag is none.
    let wrong = w.replaces(DAVE).replacen("to-tag=", "to-tag=0", 1);
    take(&mut w, TRUNK, wrong);
    w.run(100);
    assert_eq!(w.last_response(TRUNK).status.code(), 481);
    w.within(DAVE, Method::Info, &[("X-Hi", "1")]);
    w.run(50);
    assert_eq!(w.last_request(ERIN).headers.value("X-Hi"), Some("1"));
    w.bye(DAVE);
    w.bye(BOB);
    w.settle();
}

#[test]
fn a_transfer_that_waited_for_a_busy_party_still_has_a_limit() {
    let mut w = World::new();
    w.call(CAROL, BOB);
    w.call(BOB2, DAVE);
    w.reinvite(DAVE, Direction::SendRecv);
    w.run(50);
    let to = format!("<sip:1004@x?Replaces={}>", w.escaped_replaces(BOB2));
    w.within(BOB, Method::Refer, &[("Refer-To", &to)]);
    w.run(100);
    w.bye(BOB2);
    w.ports = Ports::Silent;
    w.run_s(2);
    assert_eq!(w.notices(BOB), "100");
    w.run_s(181);
    assert_eq!(w.notices(BOB), "100 408.");
    w.bye(BOB);
    w.settle();
}

#[test]
fn a_loss_is_told_of_a_party_that_has_not_come_yet() {
    let failed = |then| Fact::Failed { then };
    let trouble = || Fact::Trouble {
        reason: "no room".to_owned(),
    };
    for (policy, words, ends) in [
        (OnFailure::GoOn, "", [End::Finished, End::Finished]),
        (
            OnFailure::GoOnAnnounced,
            "play-a-FailureContinues.nl play-c-FailureContinues.nl",
            [End::Failed, End::Finished],
        ),
        (
            OnFailure::EndAnnounced,
            "play-a-FailureEnds.nl play-c-FailureEnds.nl",
            [End::Failed, End::Finished],
        ),
    ] {
        let mut told = settings();
        let mut users = told.users.iter_mut();
        let erin = users.find(|user| user.numbers == ["1005"]).expect("erin");
        erin.recording_mut().on_failure = policy;
        let mut w = World::with(told, 1);
        w.call(CAROL, BOB);
        // Between the REFER and the joining.
        w.refer(BOB, "1005", &[]);
        let second: RecordingId = *w.recordings.keys().last().unwrap();
        w.report(MediaEvent::RecordingTrouble {
            recording: second,
            reason: "no room".to_owned(),
        });
        w.respond(ERIN, 200);
        w.run_s(5);
        let commands = w.commands();
        let said: Vec<&str> = commands
            .split(' ')
            .filter(|c| c.starts_with("play"))
            .collect();
        assert_eq!(said.join(" "), words, "{policy:?}");
        let facts = w.facts_of(second);
        assert!(facts.contains(&trouble()), "{policy:?}");
        let is_told = policy != OnFailure::GoOn;
        assert_eq!(facts.contains(&failed(policy)), is_told, "{policy:?}");
        // Carol's alone, where Erin's is over.
        assert_eq!(w.times("START").len(), if is_told { 1 } else { 2 });
        if policy != OnFailure::EndAnnounced {
            w.bye(CAROL);
        }
        w.settle();
        let mut found: Vec<End> = w.endings().into_iter().map(|(end, _)| end).collect();
        found.sort_by_key(|end| format!("{end:?}"));
        assert_eq!(found, ends, "{policy:?}");
    }
}

#[test]
fn what_one_who_leaves_sends_is_no_way_to_the_one_who_came() {
    // Both are at one address.
    let mut w = World::with(over(Transport::Tcp), 1);
    w.sends_from[BOB] = 50_001;
    w.call(CAROL, BOB);
    w.refer(BOB, "1002", &[]);
    let mut old = w.parties[BOB].dialog.clone().unwrap();
    w.respond(BOB, 200);
    w.run(50);
    w.sends_from[BOB] = 50_002;
    let bye = old.request(Method::Bye);
    w.reinvite_as(BOB, bye);
    w.run(50);
    assert_eq!(w.last_response(BOB).status.code(), 200);
    w.seen.sent_to.clear();
    w.within(CAROL, Method::Info, &[("X-Hi", "1")]);
    w.run(50);
    assert_eq!(w.last_request(BOB).headers.value("X-Hi"), Some("1"));
    let ports: Vec<u16> = w.seen.sent_to.iter().map(|to| to.port()).collect();
    assert!(!ports.contains(&50_002), "{ports:?}");
    w.bye(CAROL);
    w.settle();
}

#[test]
fn a_pick_up_after_early_media_makes_another_dialog() {
    let mut w = World::new();
    let mut invite = w.new_invite(TRUNK, "1002");
    invite.headers.push("Require", "100rel");
    w.send_new(TRUNK, invite);
    w.run(50);
    w.respond_with(BOB, 183, Some(&description(BOB, Direction::SendRecv)));
    w.run(50);
    let tag = |w: &World| {
        let to = w.last_response(TRUNK).to_addr().unwrap();
        to.tag().unwrap().to_owned()
    };
    let early = tag(&w);
    let invite = w.parties[BOB].invites[0].1.clone();
    let ours = invite.from().unwrap().tag().unwrap().to_owned();
    let theirs = w.tag_of(BOB);
    let call_id = invite.call_id().unwrap();
    let replaces = format!("{call_id};to-tag={ours};from-tag={theirs}");
    take(&mut w, CAROL, replaces);
    w.run(200);
    // The answer does not wait for a PRACK that belongs to a dialog of the past.
    assert_eq!(w.last_response(CAROL).status.code(), 200);
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    assert_ne!(tag(&w), early);
    assert_eq!(w.bridged(), "ac");
    w.bye(CAROL);
    w.settle();
}
