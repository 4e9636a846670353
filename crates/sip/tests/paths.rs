//! Which path a message takes, what comes back by another, and what is too long.

mod support;

use bytes::Bytes;
use duolog_sip::endpoint::{ClientFailure, Input, Output};
use duolog_sip::{
    ClientKey, Endpoint, Flow, Framed, Framer, Method, Request, Response, StatusCode, Transport,
};
use support::{at, endpoint, flow, request, response, short, shorts};

const US: &str = "192.0.2.1:5060";
const PEER: &str = "198.51.100.7:5060";
const KEY: ClientKey = ClientKey(1);

fn udp() -> Flow {
    flow(Transport::Udp, US, PEER)
}

fn tcp() -> Flow {
    flow(Transport::Tcp, "192.0.2.1:40000", PEER)
}

fn invite(body: usize) -> Request {
    let mut invite = Request::new(Method::Invite, "sip:bob@198.51.100.7".parse().unwrap());
    for (name, value) in [
        ("Max-Forwards", "70"),
        ("From", "<sip:alice@192.0.2.1>;tag=caller"),
        ("To", "<sip:bob@198.51.100.7>"),
        ("Call-ID", "one"),
        ("CSeq", "7 INVITE"),
        ("Contact", "<sip:alice@192.0.2.1>"),
    ] {
        invite.headers.push(name, value);
    }
    invite.set_body("text/plain", vec![b'x'; body].into());
    invite
}

fn send(us: &mut Endpoint, request: Request, larger: Option<Flow>) -> Vec<Output> {
    let (key, flow) = (KEY, udp());
    let input = Input::Request {
        key,
        flow,
        request,
        larger,
    };
    us.handle(at(0), input)
}

fn sent(output: &Output) -> (Flow, Request) {
    match output {
        Output::Transmit { flow, bytes } => (*flow, request(bytes.clone())),
        other => panic!("{other:?}"),
    }
}

fn hear(us: &mut Endpoint, flow: Flow, bytes: Bytes) -> Vec<Output> {
    us.handle(at(20), Input::Received { flow, bytes })
}

#[test]
fn long_requests_take_the_stream() {
    let plain = invite(0).write().len();
    for (body, larger, transport) in [
        (0, Some(tcp()), "UDP"),
        (1_300 - plain, Some(tcp()), "TCP"),
        (2_000, Some(tcp()), "TCP"),
        (2_000, Some(flow(Transport::Tls, US, PEER)), "TLS"),
        (2_000, Some(flow(Transport::Udp, US, PEER)), "UDP"),
        (2_000, None, "UDP"),
    ] {
        let mut us = endpoint(US, 1);
        let out = send(&mut us, invite(body), larger);
        let (flow, request) = sent(&out[0]);
        let via = request.vias().unwrap();
        assert_eq!(via.len(), 1);
        assert_eq!(via[0].transport, transport, "{body}");
        assert_eq!(flow.transport.as_str(), transport, "{body}");
        // Over a stream nothing is sent twice (RFC 3261 §17.1.1.2).
        let again = us.handle(at(500), Input::Deadline);
        assert_eq!(again.len(), usize::from(transport == "UDP"), "{body}");
    }
}

#[test]
fn a_stream_that_fails_before_any_answer_gives_way_to_datagrams() {
    for method in [Method::Invite, Method::Message] {
        let mut us = endpoint(US, 1);
        let mut long = invite(2_000);
        long.headers.set("CSeq", format!("7 {method}"));
        long.method = method;
        let out = send(&mut us, long, Some(tcp()));
        let first = sent(&out[0]).1.via().unwrap();
        let out = us.handle(at(10), Input::FlowFailed { flow: tcp() });
        let [output] = &out[..] else {
            panic!("{out:?}")
        };
        let (flow, again) = sent(output);
        assert_eq!(flow, udp());
        let via = again.via().unwrap();
        assert_eq!(
            (via.transport.as_str(), via.branch()),
            ("UDP", first.branch())
        );
        // From here on as over UDP from the beginning.
        assert_eq!(us.handle(at(510), Input::Deadline).len(), 1);
        let mut answer = Response::to(&again, StatusCode::OK);
        answer.set_to_tag("t");
        let out = hear(&mut us, udp(), answer.write());
        assert_eq!(shorts(&out), ["response 200"]);
    }
}

#[test]
fn no_second_path_after_an_answer_or_a_cancel() {
    let failed = [Output::ClientFailed {
        key: KEY,
        failure: ClientFailure::Transport,
    }];
    let mut us = endpoint(US, 1);
    let out = send(&mut us, invite(2_000), Some(tcp()));
    let ringing = Response::to(&sent(&out[0]).1, StatusCode::RINGING);
    assert_eq!(
        shorts(&hear(&mut us, tcp(), ringing.write())),
        ["response 180"]
    );
    assert_eq!(us.handle(at(30), Input::FlowFailed { flow: tcp() }), failed);
    let mut us = endpoint(US, 1);
    send(&mut us, invite(2_000), Some(tcp()));
    assert_eq!(us.handle(at(5), Input::Cancel { key: KEY }), []);
    assert_eq!(us.handle(at(30), Input::FlowFailed { flow: tcp() }), failed);
    assert_eq!((us.transactions(), us.deadline()), (0, None));
}

#[test]
fn a_failed_path_fails_its_own_transactions_only() {
    let mut us = endpoint(US, 1);
    let mut key = 0;
    let mut start = |us: &mut Endpoint, flow: Flow| {
        key += 1;
        let (key, larger) = (ClientKey(key), None);
        let mut request = invite(0);
        request.headers.set("Call-ID", key.0.to_string());
        let input = Input::Request {
            key,
            flow,
            request,
            larger,
        };
        us.handle(at(0), input)
    };
    let other = flow(Transport::Tcp, US, "198.51.100.8:5060");
    for flow in [tcp(), other, tcp(), udp()] {
        start(&mut us, flow);
    }
    let bytes = with_via(invite(0), "z9hG4bKpeer");
    assert_eq!(hear(&mut us, tcp(), bytes).len(), 1);
    let out = us.handle(at(30), Input::FlowFailed { flow: tcp() });
    let client = "client failed Transport";
    assert_eq!(shorts(&out), [client, client, "server failed Transport"]);
    assert_eq!(us.transactions(), 2);
    assert_eq!(us.handle(at(30), Input::FlowFailed { flow: tcp() }), []);
}

fn with_via(mut request: Request, branch: &str) -> Bytes {
    let via = format!("SIP/2.0/UDP 198.51.100.7;branch={branch}");
    request.headers.push_front("Via", via);
    request.write()
}

#[test]
fn own_requests_that_come_back_are_loops() {
    let mut us = endpoint(US, 1);
    let out = send(&mut us, invite(0), None);
    let back = sent(&out[0]).1;
    // As a proxy sends it back, and as one that hides its path does.
    let mut hidden = back.clone();
    hidden.headers.remove("Via");
    for (n, request) in [back.clone(), hidden].into_iter().enumerate() {
        let out = hear(&mut us, udp(), with_via(request, &format!("z9hG4bK{n}")));
        assert_eq!(shorts(&out)[0], "send 482");
    }
    // For another number of ours it is a spiral.
    let mut spiral = back.clone();
    spiral.uri = "sip:carol@192.0.2.1".parse().unwrap();
    let out = hear(&mut us, udp(), with_via(spiral, "z9hG4bKspiral"));
    assert_eq!(shorts(&out), ["request INVITE"]);
    // Once ours is over, nothing of it is left.
    let mut busy = Response::to(&back, StatusCode::BUSY_HERE);
    busy.set_to_tag("t");
    hear(&mut us, udp(), busy.write());
    while us.deadline().is_some_and(|at_| at_ < at(33_000)) {
        let _ = us.handle(us.deadline().unwrap(), Input::Deadline);
    }
    let out = hear(&mut us, udp(), with_via(back, "z9hG4bKlate"));
    assert_eq!(shorts(&out), ["request INVITE"]);
}

fn head(extra: &str) -> String {
    let invite = String::from_utf8(with_via(invite(0), "z9hG4bKlong").to_vec()).unwrap();
    let head = invite.split("Content-Length").next().unwrap();
    format!("{head}{extra}")
}

/// What the endpoint says to a message, whole over UDP and in pieces over TCP.
fn check(message: &str, want: &str) {
    let bytes = Bytes::copy_from_slice(message.as_bytes());
    let mut us = endpoint(US, 1);
    let out = hear(&mut us, udp(), bytes.clone());
    assert_eq!(short(&out[0]), want, "UDP: {}", &message[..40]);
    if let Output::Transmit { bytes, .. } = &out[0] {
        let answer = response(bytes.clone());
        assert_eq!(answer.call_id(), Ok("one"));
        assert!(answer.to_addr().unwrap().tag().is_some());
        assert!(bytes.len() < 2_000, "no amplification");
    }
    let (mut us, mut framer, mut heard) = (endpoint(US, 1), Framer::new(), Vec::new());
    for piece in bytes.chunks(997) {
        framer.push(piece);
        while let Ok(Some(framed)) = framer.next() {
            if let Framed::Message(bytes) = framed {
                heard.extend(shorts(&hear(&mut us, tcp(), bytes)));
            }
        }
    }
    assert_eq!(heard[0], want, "TCP: {}", &message[..40]);
    assert!(framer.next().is_err(), "{}", &message[..40]);
}

#[test]
fn what_is_too_long_or_cannot_be_framed_is_refused() {
    let body = 64 * 1024 + 1;
    let long = format!("Content-Length: {body}\r\n\r\n{}", "x".repeat(body));
    check(&head(&long), "send 413");
    check(
        &head(&format!("X: {}\r\nl: 0\r\n\r\n", "x".repeat(64 * 1024))),
        "send 513",
    );
    check(&head(&format!("X: {}", "x".repeat(70 * 1024))), "send 513");
    check(&head("Content-Length: five\r\n\r\n"), "send 400");
    check(&head("l: 1\r\nl: 2\r\n\r\nab"), "send 400");
    let ack = head("l: -1\r\n\r\n").replacen("INVITE", "ACK", 1);
    check(&ack, "dropped Malformed(Head(BadLength))");
}

#[test]
fn too_many_fields_and_vias() {
    let fields = head(&format!("{}l: 0\r\n\r\n", "X: y\r\n".repeat(128)));
    let mut us = endpoint(US, 1);
    let out = hear(&mut us, udp(), fields.into());
    assert_eq!(
        shorts(&out),
        ["send 513", "dropped Malformed(Head(TooLong))"]
    );
    // An answer would have to repeat them all.
    let vias = head(&format!(
        "v: {}a\r\nl: 0\r\n\r\n",
        "SIP/2.0/UDP a,".repeat(128)
    ));
    let out = hear(&mut us, udp(), vias.into());
    assert_eq!(shorts(&out), ["dropped Malformed(Head(TooLong))"]);
    // A datagram that ends amid its header fields.
    let out = hear(&mut us, udp(), head("X: y").into());
    assert_eq!(shorts(&out), ["send 400", "dropped Malformed(Head(NoEnd))"]);
    // The longest that is taken.
    let mut most = invite(64 * 1024);
    for _ in 0..100 {
        most.headers.push("X", "y");
    }
    let out = hear(&mut us, tcp(), with_via(most, "z9hG4bKmost"));
    assert_eq!(shorts(&out), ["request INVITE"]);
}
