//! Dialogs: route sets, targets, sequence numbers (RFC 3261 §12).

mod support;

use duolog_sip::{Dialog, DialogError, DialogState, Flow, Method, Request, Response, Transport};
use support::{flow, request, response};

fn path() -> Flow {
    flow(Transport::Udp, "192.0.2.1:5060", "192.0.2.2:5060")
}

fn invite() -> Request {
    request(
        "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
         Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\nContact: <sip:alice@10.0.0.1:5070>\r\n\
         From: \"Alice\" <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>\r\n\
         Call-ID: c\r\nCSeq: 41 INVITE\r\n\r\n",
    )
}

fn answer(code: u16, extra: &str) -> Response {
    response(format!(
        "SIP/2.0 {code} x\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n{extra}\
         From: \"Alice\" <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>;tag=b\r\n\
         Call-ID: c\r\nCSeq: 41 INVITE\r\n\r\n",
    ))
}

fn routes(request: &Request) -> Vec<&str> {
    request.headers.values("Route").collect()
}

#[test]
fn the_caller_reverses_and_the_callee_keeps_the_route_set() {
    let ok = answer(
        200,
        "Contact: <sip:bob@10.0.0.2>\r\nRecord-Route: <sip:p2;lr>, <sip:p1;lr>\r\n",
    );
    let mut caller = Dialog::uac(&invite(), &ok, path()).unwrap();
    let bye = caller.request(Method::Bye);
    assert_eq!(bye.uri.to_string(), "sip:bob@10.0.0.2");
    assert_eq!(routes(&bye), ["<sip:p1;lr>", "<sip:p2;lr>"]);
    assert_eq!(caller.next_hop().to_string(), "sip:p1;lr");
    assert_eq!(bye.cseq().unwrap().to_string(), "42 BYE");
    assert_eq!(bye.from().unwrap().tag(), Some("a"));
    assert_eq!(bye.from().unwrap().display.as_deref(), Some("Alice"));
    assert_eq!(bye.to().unwrap().tag(), Some("b"));
    assert_eq!(bye.max_forwards().unwrap(), Some(70));
    assert_eq!(bye.headers.value("Via"), None);
    let ack = caller.ack_for(41);
    assert_eq!(ack.cseq().unwrap().to_string(), "41 ACK");
    assert_eq!(routes(&ack), ["<sip:p1;lr>", "<sip:p2;lr>"]);

    let mut callee = Dialog::uas(&invite(), &ok, path()).unwrap();
    let bye = callee.request(Method::Bye);
    assert_eq!(bye.uri.to_string(), "sip:alice@10.0.0.1:5070");
    assert_eq!(routes(&bye), ["<sip:p2;lr>", "<sip:p1;lr>"]);
    assert_eq!(bye.cseq().unwrap().to_string(), "1 BYE");
    assert_eq!(bye.from().unwrap().tag(), Some("b"));
    assert_eq!(bye.to().unwrap().tag(), Some("a"));
}

#[test]
fn a_strict_router_sees_itself() {
    let ok = answer(
        200,
        "Contact: <sip:bob@10.0.0.2>\r\nRecord-Route: <sip:p2;lr>\r\nRecord-Route: <sip:old>\r\n",
    );
    let bye = Dialog::uac(&invite(), &ok, path())
        .unwrap()
        .request(Method::Bye);
    assert_eq!(bye.uri.to_string(), "sip:old");
    assert_eq!(routes(&bye), ["<sip:p2;lr>", "<sip:bob@10.0.0.2>"]);
}

#[test]
fn an_early_dialog_is_confirmed_with_the_final_route_set() {
    let ringing = answer(180, "Record-Route: <sip:p1;lr>\r\n");
    let mut caller = Dialog::uac(&invite(), &ringing, path()).unwrap();
    assert_eq!(caller.state(), DialogState::Early);
    // A ringing phone without Contact: the INVITE's own target until it says more.
    assert_eq!(caller.target().to_string(), "sip:bob@example.com");
    let ok = answer(200, "Contact: <sip:bob@10.0.0.9>\r\n");
    caller.confirm(&ok);
    assert_eq!(caller.state(), DialogState::Confirmed);
    assert_eq!(caller.next_hop().to_string(), "sip:bob@10.0.0.9");
    caller.confirm(&answer(200, "Record-Route: <sip:evil;lr>\r\n"));
    assert_eq!(caller.next_hop().to_string(), "sip:bob@10.0.0.9");
    caller.refresh(&answer(200, "Contact: <sip:bob@10.0.0.10>\r\n"));
    caller.refresh(&answer(488, "Contact: <sip:bob@10.0.0.11>\r\n"));
    assert_eq!(caller.target().to_string(), "sip:bob@10.0.0.10");
}

#[test]
fn received_requests_keep_order_and_move_the_target() {
    let ok = answer(200, "Contact: <sip:bob@10.0.0.2>\r\n");
    let mut callee = Dialog::uas(&invite(), &ok, path()).unwrap();
    let mut check = |method: &str, number: u32, tag: &str, contact: &str| {
        let text = format!(
            "{method} sip:bob@x SIP/2.0\r\nFrom: <sip:alice@example.com>;tag=a\r\n\
             To: <sip:bob@example.com>;tag={tag}\r\nCall-ID: c\r\nCSeq: {number} {method}\r\n\
             Contact: <{contact}>\r\n\r\n"
        );
        let result = callee.receive(&request(text));
        (result, callee.target().to_string())
    };
    let old = "sip:alice@10.0.0.1:5070".to_owned();
    assert_eq!(check("INFO", 42, "b", "sip:no"), (Ok(()), old.clone()));
    assert_eq!(
        check("INFO", 41, "b", "sip:no"),
        (Err(DialogError::OutOfOrder), old.clone())
    );
    assert_eq!(
        check("BYE", 43, "z", "sip:no"),
        (Err(DialogError::OtherDialog), old.clone())
    );
    assert_eq!(check("ACK", 41, "b", "sip:no"), (Ok(()), old));
    assert_eq!(
        check("INVITE", 99, "b", "sip:new"),
        (Ok(()), "sip:new".into())
    );
    assert_eq!(
        check("UPDATE", 100, "b", "sip:newer"),
        (Ok(()), "sip:newer".into())
    );
    assert_eq!(
        check("BYE", 101, "b", "sip:no"),
        (Ok(()), "sip:newer".into())
    );
}

#[test]
fn what_a_dialog_cannot_be_made_from() {
    let ok = answer(200, "Contact: *\r\n");
    assert!(matches!(
        Dialog::uac(&invite(), &ok, path()),
        Err(DialogError::Header(_))
    ));
    let mut bare = invite();
    bare.headers.remove("Contact");
    assert!(matches!(
        Dialog::uas(&bare, &ok, path()),
        Err(DialogError::Header(_))
    ));
}
