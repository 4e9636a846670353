//! Calls being set up, or not.

use bytes::Bytes;
use duolog_call::{End, Fact, Gate, Input, MediaCommand};
use duolog_sip::sdp::{Description, Direction};
use duolog_sip::{Flow, Message, Method, Transport};

use crate::world::{ALICE, Acks, BOB, CAROL, DAVE, Ports, TRUNK, World, description, over};

#[test]
fn a_recorded_call_from_the_trunk() {
    let mut w = World::new();
    w.call(TRUNK, ALICE);
    assert_eq!(w.heard(TRUNK), "100 180 200");
    assert_eq!(w.heard(ALICE), "INVITE ACK");
    w.run_s(10);
    w.bye(TRUNK);
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 180 200 200");
    assert_eq!(w.heard(ALICE), "INVITE ACK BYE");
    assert_eq!(
        w.commands(),
        "open-a RECORD-b open-b connect-a-sendrecv connect-b-sendrecv bridge take-b \
         play-a-RecordingStarts.nl play-b-RecordingStarts.nl START CLOSE-Finished close-a close-b"
    );
    let opened = w.times("RECORD-b")[0];
    assert_eq!(opened, 5, "the row exists from the INVITE");
    let announced = w.times("play-a-RecordingStarts.nl")[0];
    assert_eq!(
        w.times("START"),
        [announced + 2000],
        "both have heard the announcement"
    );
    let opening = w.media.iter().find_map(|(_, command)| match command {
        MediaCommand::OpenRecording { opening, .. } => Some(opening.clone()),
        _ => None,
    });
    let opening = opening.unwrap();
    assert_eq!(
        (opening.owner.as_str(), opening.from.as_str()),
        ("alice", "9000")
    );
    assert!(opening.call_id.starts_with("call-"));
    let ids: Vec<u128> = w.recordings.keys().map(|id| id.0 >> 80).collect();
    assert_eq!(ids, [1_700_000_000_005]);
    assert_eq!(
        w.endings(),
        [(End::Finished, "the caller hung up".to_owned())]
    );
    w.settle();
}

#[test]
fn an_unrecorded_call_has_no_recording() {
    let mut w = World::new();
    w.call(TRUNK, BOB);
    w.run_s(30);
    w.bye(BOB);
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 180 200 BYE");
    assert_eq!(
        w.commands(),
        "open-a open-b connect-a-sendrecv connect-b-sendrecv bridge close-a close-b"
    );
    w.settle();
}

#[test]
fn both_sides_get_our_addresses_and_each_keeps_its_own() {
    let mut w = World::new();
    w.call(ALICE, TRUNK);
    let offer = w.parties[TRUNK].heard[0].clone();
    let Message::Request(offer) = offer else {
        panic!("an INVITE first")
    };
    assert_eq!(offer.uri.to_string(), "sip:0201234567@192.0.2.1:5060");
    let audio = Description::parse(&offer.body).unwrap().audio().unwrap();
    assert_eq!(
        audio.rtp.to_string(),
        "192.0.2.99:20006",
        "the callee's leg"
    );
    let answer = w.last_response(ALICE);
    let audio = Description::parse(&answer.body).unwrap().audio().unwrap();
    assert_eq!(
        audio.rtp.to_string(),
        "192.0.2.99:20004",
        "the caller's leg"
    );
    let media: Vec<String> = w
        .media
        .iter()
        .filter_map(|(_, command)| match command {
            MediaCommand::ConnectLeg { media, .. } => Some(media.rtp.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(media, ["192.0.2.10:4000", "192.0.2.1:4000"]);
    w.bye(ALICE);
    w.settle();
}

#[test]
fn early_media_connects_before_the_answer() {
    let mut w = World::new();
    w.invite(TRUNK, "1003");
    w.run(100);
    w.respond_with(CAROL, 183, Some(&description(CAROL, Direction::SendRecv)));
    w.run(100);
    assert_eq!(w.heard(TRUNK), "183");
    assert!(!w.last_response(TRUNK).body.is_empty());
    let before = "open-a RECORD-b open-b connect-a-sendrecv connect-b-sendrecv bridge take-b";
    assert_eq!(w.commands(), before, "connected, not recorded");
    // The answer came early, and the 200 says nothing new.
    w.respond_with(CAROL, 200, None);
    w.run(100);
    let answer = w.last_response(TRUNK);
    assert!(Description::parse(&answer.body).unwrap().audio().is_some());
    assert_eq!(w.commands(), format!("{before} START"));
    assert!(w.facts().contains(&Fact::EarlyMedia));
    w.bye(CAROL);
    w.settle();
}

#[test]
fn what_is_not_known_passes() {
    let mut w = World::new();
    let mut invite = w.new_invite(TRUNK, "1002");
    let sdp = String::from_utf8(invite.body.to_vec()).unwrap();
    let body = format!(
        "--b\r\nContent-Type: application/isup\r\n\r\n\u{1}x\r\n--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b--\r\n"
    );
    invite.set_body("multipart/mixed;boundary=b", Bytes::from(body));
    invite.headers.push("X-Ticket", "4711");
    invite.headers.push("P-Asserted-Identity", "<sip:31@x>");
    invite.headers.push("Supported", "100rel, timer, eventlist");
    invite.headers.push("Session-Expires", "1800");
    invite.headers.set("Max-Forwards", "17");
    let call_id = invite.call_id().unwrap().to_owned();
    w.send_new(TRUNK, invite);
    w.run(100);
    let got = w.last_request(BOB);
    assert_eq!(got.headers.value("X-Ticket"), Some("4711"));
    assert_eq!(
        got.headers.value("P-Asserted-Identity"),
        None,
        "not trusted"
    );
    let supported: Vec<&str> = got.tags("Supported").collect();
    assert_eq!(supported, ["timer", "replaces", "100rel", "eventlist"]);
    assert_eq!(
        got.headers.value("Session-Expires"),
        Some("1800"),
        "our own"
    );
    assert_eq!(got.headers.value("Max-Forwards"), Some("16"));
    assert_ne!(got.call_id().unwrap(), call_id);
    assert_eq!(got.headers.value("Contact"), Some("<sip:192.0.2.99:5060>"));
    assert_eq!(got.headers.values("Via").count(), 1);
    assert_eq!(got.from().unwrap().display.as_deref(), Some("Caller"));
    let body = String::from_utf8(got.body.to_vec()).unwrap();
    assert!(
        body.contains("application/isup\r\n\r\n\u{1}x\r\n--b"),
        "{body}"
    );
    assert!(
        body.contains("192.0.2.99") && !body.contains("192.0.2.1\r\n"),
        "{body}"
    );
    w.respond(BOB, 200);
    w.run(100);
    assert_eq!(w.last_response(TRUNK).headers.value("X-From"), Some("1002"));
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn an_invite_without_offer_is_carried_through() {
    let mut w = World::new();
    let mut invite = w.new_invite(TRUNK, "1003");
    invite.headers.remove("Content-Type");
    invite.body = Bytes::new();
    w.parties[TRUNK].acks = Acks::With(description(TRUNK, Direction::SendRecv).write());
    w.send_new(TRUNK, invite);
    w.run(100);
    assert!(w.last_request(CAROL).body.is_empty());
    w.respond_with(CAROL, 183, Some(&description(CAROL, Direction::SendRecv)));
    w.run(100);
    assert!(
        w.last_response(TRUNK).body.is_empty(),
        "no offer in an unreliable answer"
    );
    w.respond(CAROL, 200);
    w.run(100);
    assert_eq!(w.heard(CAROL), "INVITE ACK");
    let answer = Description::parse(&w.last_request(CAROL).body)
        .unwrap()
        .audio()
        .unwrap();
    assert_eq!(answer.rtp.to_string(), "192.0.2.99:20006");
    assert_eq!(
        w.commands(),
        "open-a RECORD-b open-b connect-a-sendrecv connect-b-sendrecv bridge take-b START"
    );
    w.bye(CAROL);
    w.settle();

    // The ACK brings no answer: the call cannot stand.
    let mut w = World::new();
    let mut invite = w.new_invite(TRUNK, "1003");
    invite.body = Bytes::new();
    w.send_new(TRUNK, invite);
    w.run(100);
    w.respond(CAROL, 200);
    w.run(100);
    assert_eq!(w.heard(CAROL), "INVITE ACK BYE");
    assert_eq!(w.heard(TRUNK), "200 BYE");
    w.settle();
}

#[test]
fn a_retransmitted_invite_is_one_call() {
    let mut w = World::new();
    let mut lost = 0;
    // The first answers are lost: the caller repeats itself.
    w.lose = Some(Box::new(move |message| {
        let answer = matches!(message, Message::Response(r) if r.status.code() <= 180);
        lost += u32::from(answer);
        answer && lost < 4
    }));
    w.invite(TRUNK, "1003");
    w.run_s(3);
    w.respond(CAROL, 200);
    w.run_s(1);
    assert_eq!(w.heard(CAROL), "INVITE ACK");
    assert_eq!(w.engine.calls(), 1);
    assert_eq!(w.recordings.len(), 1);
    w.bye(TRUNK);
    w.settle();
}

/// One request of `method` to `number`, with extra fields; the answer and a field of it.
fn check(method: Method, number: &str, fields: &[(&str, &str)], expected: u16, field: &str) {
    let mut w = World::new();
    let mut request = if method == Method::Invite {
        w.new_invite(TRUNK, number)
    } else {
        w.new_request(TRUNK, method.clone(), number)
    };
    for (name, value) in fields {
        request.headers.set(name, *value);
    }
    w.send_new(TRUNK, request);
    w.run(100);
    let answer = w.last_response(TRUNK).clone();
    assert_eq!(
        answer.status.code(),
        expected,
        "{method} {number} {fields:?}"
    );
    assert!(
        answer.headers.has(field),
        "{method} {number} {fields:?} wants {field}"
    );
    assert!(answer.to_addr().unwrap().tag().is_some());
    assert_eq!(w.engine.calls(), 0);
    w.settle();
}

#[test]
fn requests_that_make_no_call_are_answered() {
    check(Method::Options, "x", &[], 200, "Allow");
    check(Method::Options, "x", &[], 200, "Accept");
    check(Method::Invite, "7777", &[], 404, "Warning");
    check(
        Method::Invite,
        "1001",
        &[("Require", "precondition")],
        420,
        "Unsupported",
    );
    check(
        Method::Invite,
        "1001",
        &[("Require", "timer, x")],
        420,
        "Unsupported",
    );
    check(
        Method::Invite,
        "1001",
        &[("Proxy-Require", "y")],
        420,
        "Unsupported",
    );
    check(Method::Subscribe, "x", &[], 489, "Allow-Events");
    check(Method::Extension("JUMP".into()), "x", &[], 501, "Allow");
    check(Method::Bye, "x", &[], 481, "Server");
    check(
        Method::Info,
        "x",
        &[("To", "<sip:x@y>;tag=gone")],
        481,
        "Server",
    );
    check(
        Method::Invite,
        "1001",
        &[("To", "<sip:x@y>;tag=gone")],
        481,
        "Server",
    );
    check(
        Method::Bye,
        "x",
        &[("To", "<sip:x@y>;tag=gone")],
        481,
        "Server",
    );
}

#[test]
fn unusable_descriptions_are_refused_and_kept_as_rows() {
    for (body, status, end) in [
        ("no sdp", 400, End::Failed),
        (
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n",
            488,
            End::Failed,
        ),
    ] {
        let mut w = World::new();
        let mut invite = w.new_invite(TRUNK, "1001");
        invite.body = Bytes::from(body);
        w.send_new(TRUNK, invite);
        w.run(100);
        assert_eq!(w.heard(TRUNK), status.to_string());
        assert_eq!(w.heard(ALICE), "");
        assert_eq!(w.endings()[0].0, end);
        w.settle();
    }
}

#[test]
fn no_new_calls_through_a_closed_gate_or_while_draining() {
    let closed = || {
        Input::Gate(Gate::Closed {
            reason: "disk full".into(),
            retry_after_s: 120,
        })
    };
    for (input, seconds, why) in [
        (closed(), "120", "disk full"),
        (Input::Drain, "30", "draining"),
    ] {
        let mut w = World::new();
        w.call(TRUNK, CAROL);
        w.node(input);
        w.invite(BOB, "1001");
        w.run(100);
        assert_eq!(w.heard(BOB), "503");
        assert_eq!(
            w.last_response(BOB).headers.value("Retry-After"),
            Some(seconds)
        );
        assert_eq!(
            w.endings(),
            [(End::Refused, format!("new calls were not taken: {why}"))]
        );
        let options = w.new_request(BOB, Method::Options, "x");
        w.send_new(BOB, options);
        w.run(100);
        assert_eq!(w.heard(BOB), "503 503");
        // An unrecorded call is refused only while the node drains, and has no row.
        w.invite(BOB, "1004");
        w.run(100);
        match seconds {
            "30" => assert_eq!(w.heard(BOB), "503 503 503"),
            _ => {
                assert_eq!(w.heard(DAVE), "INVITE");
                w.cancel(BOB);
                w.run(100);
            }
        }
        assert_eq!(w.recordings.len(), 2);
        // The running call goes on.
        w.within(TRUNK, Method::Info, &[]);
        w.run_s(1);
        assert_eq!(w.heard(CAROL), "INVITE ACK INFO");
        w.bye(TRUNK);
        w.settle();
    }
    let mut w = World::new();
    w.node(closed());
    w.node(Input::Gate(Gate::Open));
    w.call(TRUNK, CAROL);
    assert_eq!(w.heard(TRUNK), "100 180 200");
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn no_ports_means_no_call() {
    let mut w = World::new();
    w.ports = Ports::Refused;
    w.invite(TRUNK, "1001");
    w.run(100);
    assert_eq!(w.heard(TRUNK), "503");
    assert_eq!(
        w.commands(),
        "open-a RECORD-b open-b CLOSE-Failed close-a close-b"
    );
    w.settle();
}

#[test]
fn a_call_over_tcp() {
    let mut w = World::with(over(Transport::Tcp), 3);
    w.call(TRUNK, CAROL);
    assert_eq!(w.heard(TRUNK), "100 180 200");
    let got = &w.last_request(CAROL).headers;
    assert!(got.value("Via").unwrap().starts_with("SIP/2.0/TCP "));
    let contact = w
        .last_response(TRUNK)
        .headers
        .value("Contact")
        .unwrap()
        .to_owned();
    assert_eq!(contact, "<sip:192.0.2.99:5060;transport=tcp>");
    w.reinvite(CAROL, Direction::SendOnly);
    w.run(50);
    w.respond_with(TRUNK, 200, Some(&description(TRUNK, Direction::RecvOnly)));
    w.run(50);
    w.bye(CAROL);
    w.run(50);
    assert_eq!(w.heard(TRUNK), "100 180 200 INVITE ACK BYE");
    w.settle();
    // The caller's connection breaks while the callee rings.
    let mut w = World::with(over(Transport::Tcp), 3);
    w.invite(TRUNK, "1003");
    w.run(300);
    w.respond(CAROL, 180);
    w.run(50);
    let (local, peer) = (
        "192.0.2.99:5060".parse().unwrap(),
        "192.0.2.1:5060".parse().unwrap(),
    );
    w.node(Input::FlowFailed {
        flow: Flow {
            transport: Transport::Tcp,
            local,
            peer,
        },
    });
    w.run(50);
    assert!(w.parties[CAROL].invites.is_empty(), "cancelled");
    assert_eq!(w.endings()[0].0, End::NotAnswered);
    w.settle();
}
