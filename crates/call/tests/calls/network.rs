//! Where messages go, connections that break, and peers that are nobody's.

use duolog_call::{End, Input, LogEvent, Output};
use duolog_sip::endpoint::DropReason;
use duolog_sip::sdp::{Description, Direction};
use duolog_sip::{Flow, Message, Method, StatusCode, Transport};

use crate::world::{ALICE, CAROL, NODE, TRUNK, World, description, over};

fn stranger(transport: Transport) -> Flow {
    Flow {
        transport,
        local: NODE.parse().unwrap(),
        peer: "198.51.100.66:5060".parse().unwrap(),
    }
}

/// What the node does with one message of `method` from an address that is no neighbour's.
fn from_a_stranger(w: &mut World, method: Method, branch: u32) -> Vec<Output> {
    let mut request = match method {
        Method::Invite => w.new_invite(TRUNK, "1001"),
        method => w.new_request(TRUNK, method, "1001"),
    };
    let via = format!("SIP/2.0/UDP 198.51.100.66:5060;branch=z9hG4bK{branch};rport");
    request.headers.push_front("Via", via);
    let (flow, bytes) = (stranger(Transport::Udp), request.write());
    w.engine.handle(w.now, Input::Sip { flow, bytes })
}

fn status_in(outputs: &[Output]) -> Vec<u16> {
    let codes = outputs.iter().filter_map(|output| match output {
        Output::Send { bytes, .. } => match Message::parse(bytes.clone()) {
            Ok(Message::Response(response)) => Some(response.status.code()),
            _ => None,
        },
        _ => None,
    });
    codes.collect()
}

#[test]
fn a_stranger_gets_one_answer_and_leaves_nothing_behind() {
    let mut w = World::new();
    for (n, (method, status)) in [
        (Method::Invite, 403),
        (Method::Options, 200),
        (Method::Bye, 403),
        (Method::Extension("JUMP".into()), 403),
    ]
    .into_iter()
    .enumerate()
    {
        let out = from_a_stranger(&mut w, method.clone(), n as u32);
        assert_eq!(status_in(&out), [status], "{method}");
        assert!(
            !out.iter().any(|o| matches!(o, Output::Media(_))),
            "no ports for {method}"
        );
        // A flood must not fill the log.
        for output in &out {
            if let Output::Log(log) = output {
                let refused = LogEvent::Dropped(DropReason::Refused(StatusCode::FORBIDDEN));
                assert_eq!(log.event, refused);
            }
        }
        assert_eq!(w.engine.transactions(), 0, "{method}");
        assert_eq!(w.engine.deadline(), None, "nothing is repeated: {method}");
    }
    w.settle();
}

#[test]
fn a_flood_of_a_neighbour_is_refused_before_it_fills_the_memory() {
    let mut w = World::new();
    // OPTIONS are answered and forgotten: only INVITEs of neighbours cost memory.
    for n in 0..100 {
        let mut options = w.new_request(TRUNK, Method::Options, "x");
        let via = format!("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{n};rport");
        options.headers.push_front("Via", via);
        let (flow, bytes) = (w.flow_from(TRUNK), options.write());
        let out = w.engine.handle(w.now, Input::Sip { flow, bytes });
        assert_eq!(status_in(&out), [200]);
    }
    assert_eq!(w.engine.transactions(), 0);
}

#[test]
fn the_path_of_record_routes_stands_in_what_makes_the_dialog() {
    let mut w = World::new();
    let mut invite = w.new_invite(TRUNK, "1003");
    invite
        .headers
        .push("Record-Route", "<sip:192.0.2.1;lr;a=1>");
    invite.headers.push("Record-Route", "<sip:10.0.0.1;lr>");
    w.send_new(TRUNK, invite);
    w.run(100);
    w.respond(CAROL, 180);
    w.run(100);
    w.respond(CAROL, 200);
    w.run(100);
    for code in [180, 200] {
        let response = w.parties[TRUNK].heard.iter().find_map(|m| match m {
            Message::Response(r) if r.status.code() == code => Some(r),
            _ => None,
        });
        let routes: Vec<&str> = response.unwrap().headers.values("Record-Route").collect();
        let want = ["<sip:192.0.2.1;lr;a=1>", "<sip:10.0.0.1;lr>"];
        assert_eq!(routes, want, "{code} (RFC 3261 §12.1.1)");
    }
    // Nothing of it reaches the callee, whose requests come back to us.
    assert!(!w.parties[CAROL].heard[0].headers().has("Record-Route"));
    w.bye(CAROL);
    w.run(100);
    let bye = w.last_request(TRUNK);
    assert_eq!(bye.routes().unwrap().len(), 2);
    w.settle();
}

#[test]
fn a_path_that_cannot_be_read_makes_no_call() {
    for field in ["<sip:192.0.2.1", "sip:", "\"x"] {
        let mut w = World::new();
        let mut invite = w.new_invite(TRUNK, "1003");
        invite.headers.push("Record-Route", field);
        w.send_new(TRUNK, invite);
        w.run(100);
        assert_eq!(w.heard(TRUNK), "400", "{field}");
        assert_eq!(w.heard(CAROL), "", "{field}");
        w.settle();
    }
}

#[test]
fn requests_go_to_the_port_a_peer_listens_on() {
    // Without rport the peer listens on the port of its Via (RFC 3261 §18.2.2), with it on the one
    // it sends from (RFC 3581 §4).
    for (asks, port) in [(true, 40_000), (false, 5060)] {
        let mut w = World::new();
        w.sends_from[TRUNK] = 40_000;
        if !asks {
            w.bend = Some(|text| text.replace(";rport\r\n", "\r\n"));
        }
        w.call(TRUNK, CAROL);
        w.seen.sent_to.clear();
        w.reinvite(CAROL, Direction::SendOnly);
        w.run(50);
        w.respond_with(TRUNK, 200, Some(&description(TRUNK, Direction::RecvOnly)));
        w.run(50);
        w.bye(CAROL);
        w.run(50);
        let ports: Vec<u16> = w
            .seen
            .sent_to
            .iter()
            .filter(|to| to.ip().to_string() == "192.0.2.1")
            .map(|to| to.port())
            .collect();
        assert_eq!(ports, [port; 3], "INVITE ACK BYE");
        w.settle();
    }
}

fn lost(w: &mut World, who: usize) {
    let flow = w.flow_from(who);
    w.node(Input::FlowFailed { flow });
}

#[test]
fn a_caller_whose_connection_is_gone_is_reached_where_it_listens() {
    let mut w = World::with(over(Transport::Tcp), 3);
    w.sends_from[TRUNK] = 50_000;
    w.call(TRUNK, CAROL);
    assert!(
        w.seen
            .sent_to
            .iter()
            .all(|to| to.port() != 5060 || to.ip().to_string() != "192.0.2.1")
    );
    lost(&mut w, TRUNK);
    w.run(50);
    assert_eq!(w.engine.calls(), 1, "a connection is not a call");
    w.seen.sent_to.clear();
    w.bye(CAROL);
    w.run(50);
    assert!(w.heard(TRUNK).ends_with("BYE"), "{}", w.heard(TRUNK));
    assert!(w.seen.sent_to.contains(&"192.0.2.1:5060".parse().unwrap()));
    w.settle();
}

#[test]
fn a_bye_that_meets_a_dead_connection_is_sent_again() {
    let mut w = World::with(over(Transport::Tcp), 3);
    w.sends_from[TRUNK] = 50_000;
    w.call(TRUNK, CAROL);
    w.lose = Some(Box::new(
        |m| matches!(m, Message::Request(r) if r.method == Method::Bye && r.uri.host == "192.0.2.1"),
    ));
    w.bye(CAROL);
    w.run(50);
    assert!(!w.heard(TRUNK).ends_with("BYE"));
    w.lose = None;
    lost(&mut w, TRUNK);
    w.run(50);
    assert!(w.heard(TRUNK).ends_with("BYE"), "{}", w.heard(TRUNK));
    // Where it listens there is nobody either: once is enough.
    w.settle();

    let mut w = World::with(over(Transport::Tcp), 3);
    w.sends_from[TRUNK] = 50_000;
    w.call(TRUNK, CAROL);
    w.lose = Some(Box::new(
        |m| matches!(m, Message::Request(r) if r.uri.host == "192.0.2.1"),
    ));
    w.bye(CAROL);
    w.run(50);
    lost(&mut w, TRUNK);
    w.sends_from[TRUNK] = 5060;
    lost(&mut w, TRUNK);
    w.run(50);
    assert_eq!(w.engine.calls(), 0);
    w.settle();
}

#[test]
fn a_connection_lost_during_a_reinvite_costs_the_reinvite_only() {
    // The asker's, and the other side's.
    for gone in [TRUNK, CAROL] {
        let mut w = World::with(over(Transport::Tcp), 3);
        w.sends_from[TRUNK] = 50_000;
        w.call(TRUNK, CAROL);
        w.reinvite(TRUNK, Direction::SendOnly);
        w.run(50);
        lost(&mut w, gone);
        w.run(50);
        assert_eq!(w.engine.calls(), 1, "the call goes on (RFC 3261 §14.1)");
        assert!(w.endings().is_empty());
        if gone == CAROL {
            assert_eq!(w.last_response(TRUNK).status.code(), 500);
        }
        // Both still hear the end.
        w.node(Input::HangUpAll);
        w.run(50);
        assert!(w.heard(TRUNK).ends_with("BYE"), "{}", w.heard(TRUNK));
        assert!(w.heard(CAROL).contains("BYE"), "{}", w.heard(CAROL));
        w.settle();
    }
}

#[test]
fn a_party_that_does_not_answer_a_reinvite_is_told_of_the_end() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.lose = Some(Box::new(
        |m| matches!(m, Message::Request(r) if r.method == Method::Invite && r.uri.host == "192.0.2.12"),
    ));
    w.reinvite(TRUNK, Direction::SendOnly);
    w.run_s(40);
    assert_eq!(w.heard(TRUNK), "100 180 200 100 408 BYE");
    assert_eq!(w.heard(CAROL), "INVITE ACK BYE", "it may be alive");
    w.settle();
}

#[test]
fn a_503_of_the_callee_is_not_ours() {
    // RFC 3261 §16.7 step 6: a 503 would make the caller avoid this node.
    let mut w = World::new();
    w.invite(TRUNK, "1001");
    w.run(300);
    w.respond(ALICE, 503);
    w.run(100);
    assert_eq!(w.last_response(TRUNK).status.code(), 500);
    w.settle();

    let mut w = World::with(over(Transport::Tcp), 3);
    w.lose = Some(Box::new(
        |m| matches!(m, Message::Request(r) if r.uri.host == "192.0.2.12"),
    ));
    w.invite(TRUNK, "1003");
    w.run(300);
    lost(&mut w, CAROL);
    w.run(100);
    assert_eq!(w.last_response(TRUNK).status.code(), 500);
    assert_eq!(w.endings()[0].0, End::NotAnswered);
    w.settle();
}

#[test]
fn a_late_offer_nobody_can_take_is_acknowledged_all_the_same() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.within(TRUNK, Method::Invite, &[]);
    w.run(50);
    let text = String::from_utf8(description(CAROL, Direction::SendRecv).write().to_vec()).unwrap();
    let secure = text.replace("RTP/AVP", "RTP/SAVP");
    let secure = Description::parse(secure.as_bytes()).unwrap();
    w.respond_with(CAROL, 200, Some(&secure));
    w.run(50);
    assert_eq!(w.last_response(TRUNK).status.code(), 488);
    assert_eq!(w.heard(CAROL), "INVITE ACK INVITE ACK");
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn requests_between_the_parties_do_not_pile_up() {
    let mut w = World::new();
    w.call(TRUNK, CAROL);
    w.lose = Some(Box::new(
        |m| matches!(m, Message::Request(r) if r.method == Method::Info && r.uri.host == "192.0.2.12"),
    ));
    for _ in 0..40 {
        w.within(TRUNK, Method::Info, &[]);
        w.run(10);
    }
    let refused = w.heard(TRUNK).matches(" 500").count();
    assert_eq!(refused, 40 - 16);
    assert!(w.last_response(TRUNK).headers.has("Retry-After"));
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn digits_are_not_sent_after_the_end() {
    let mut w = World::new();
    w.call(TRUNK, ALICE);
    w.run_s(5);
    for event in [10, 4] {
        let digit = duolog_call::Digit {
            event,
            duration_ms: 100,
        };
        let leg = duolog_call::LegId(2);
        w.report(duolog_call::MediaEvent::Digit { leg, digit });
    }
    // The call waits for the answer to its BYE longer than a code may take.
    w.lose = Some(Box::new(
        |m| matches!(m, Message::Request(r) if r.method == Method::Bye && r.uri.host == "192.0.2.10"),
    ));
    w.bye(TRUNK);
    w.run_s(10);
    assert!(!w.commands().contains("digits"), "{}", w.commands());
    w.settle();
}

#[test]
fn what_names_another_dialog_does_not_pass() {
    let mut w = World::new();
    let mut invite = w.new_invite(TRUNK, "1002");
    for name in ["Join", "Target-Dialog"] {
        invite.headers.push(name, "call-1@9000;to-tag=a;from-tag=b");
    }
    w.send_new(TRUNK, invite);
    w.run(100);
    let got = w.last_request(crate::world::BOB);
    for name in ["Join", "Target-Dialog"] {
        assert!(
            !got.headers.has(name),
            "{name} names a dialog of the other leg"
        );
    }
    w.respond(crate::world::BOB, 200);
    w.run(100);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn each_party_may_send_under_the_numbers_it_was_told() {
    // RFC 3264 §6.1: the answer may take another number for what the offer calls 101.
    let mut w = World::new();
    w.invite(TRUNK, "1003");
    w.run(100);
    let text = String::from_utf8(description(CAROL, Direction::SendRecv).write().to_vec()).unwrap();
    let renumbered = text.replace("101", "96");
    let renumbered = Description::parse(renumbered.as_bytes()).unwrap();
    w.respond_with(CAROL, 200, Some(&renumbered));
    w.run(100);
    let formats: Vec<Vec<u8>> = w
        .media
        .iter()
        .filter_map(|(_, command)| match command {
            duolog_call::MediaCommand::ConnectLeg { media, .. } => {
                Some(media.formats.iter().map(|f| f.payload_type).collect())
            }
            _ => None,
        })
        .collect();
    // Its own numbers first: those it is sent. Then those it was told and so may send under.
    assert_eq!(formats, [vec![0, 8, 101, 96], vec![0, 8, 96, 101]]);
    w.bye(TRUNK);
    w.settle();
}
