//! Two endpoints against each other in virtual time, over a wire that tests can cut.

mod support;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use duolog_sip::endpoint::{ClientFailure, Input, Output, ServerFailure};
use duolog_sip::{
    ClientKey, Dialog, Endpoint, Flow, Method, Request, Response, ServerKey, StatusCode, Transport,
};
use support::{at, base, endpoint, fixture, flow, request, response, short, shorts};

const UAC: &str = "192.0.2.1:5060";
const UAS: &str = "192.0.2.2:5060";

/// A caller and a callee, 10 ms apart.
struct Wire {
    uac: Endpoint,
    uas: Endpoint,
    transport: Transport,
    now_ms: u64,
    /// (arrival, to the callee?, bytes).
    moving: VecDeque<(u64, Side, Bytes)>,
    /// Datagrams to lose: those whose short form is here, once each.
    lose: Vec<String>,
    log: Vec<String>,
    heard: Vec<(Side, Output)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Uac,
    Uas,
}

impl Wire {
    fn new(transport: Transport) -> Wire {
        Wire {
            uac: endpoint(UAC, 1),
            uas: endpoint(UAS, 2),
            transport,
            now_ms: 0,
            moving: VecDeque::new(),
            lose: Vec::new(),
            log: Vec::new(),
            heard: Vec::new(),
        }
    }

    fn flow(&self, side: Side) -> Flow {
        match side {
            Side::Uac => flow(self.transport, UAC, UAS),
            Side::Uas => flow(self.transport, UAS, UAC),
        }
    }

    fn put(&mut self, side: Side, input: Input) -> Vec<Output> {
        let now = at(self.now_ms);
        let machine = match side {
            Side::Uac => &mut self.uac,
            Side::Uas => &mut self.uas,
        };
        let out = machine.handle(now, input);
        for output in &out {
            let text = short(output);
            self.log.push(format!("{} {side:?} {text}", self.now_ms));
            match output {
                Output::Transmit { bytes, .. } => {
                    if let Some(place) = self.lose.iter().position(|l| *l == text) {
                        self.lose.remove(place);
                        continue;
                    }
                    let to = if side == Side::Uac {
                        Side::Uas
                    } else {
                        Side::Uac
                    };
                    self.moving.push_back((self.now_ms + 10, to, bytes.clone()));
                }
                other => self.heard.push((side, other.clone())),
            }
        }
        out
    }

    /// Lets time pass until `ms`, delivering and firing deadlines in order.
    fn run(&mut self, ms: u64) {
        loop {
            let arrival = self.moving.front().map(|(at, ..)| *at);
            let due = |e: &Endpoint| e.deadline().map(|d| (d - base()).as_millis() as u64);
            let next = [arrival, due(&self.uac), due(&self.uas)]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next.filter(|next| *next <= ms) else {
                break;
            };
            self.now_ms = self.now_ms.max(next);
            if arrival == Some(next) {
                let (_, side, bytes) = self.moving.pop_front().unwrap();
                let flow = self.flow(side);
                self.put(side, Input::Received { flow, bytes });
            } else if due(&self.uac) == Some(next) {
                self.put(Side::Uac, Input::Deadline);
            } else {
                self.put(Side::Uas, Input::Deadline);
            }
        }
        self.now_ms = ms;
    }

    fn call(&mut self) {
        let flow = self.flow(Side::Uac);
        self.put(
            Side::Uac,
            Input::Request {
                key: ClientKey(1),
                flow,
                request: invite(),
                larger: None,
            },
        );
    }

    /// The callee's transaction of the latest request it was handed.
    fn server(&self) -> (ServerKey, Request) {
        let found = self
            .heard
            .iter()
            .rev()
            .find_map(|(_, output)| match output {
                Output::Request { key, request, .. } => Some((*key, request.clone())),
                _ => None,
            });
        found.expect("the callee was handed a request")
    }

    fn respond(&mut self, code: u16) {
        let (key, request) = self.server();
        let mut response = Response::to(&request, StatusCode::new(code).unwrap());
        response.set_to_tag("callee");
        response.headers.push("Contact", "<sip:bob@192.0.2.2>");
        self.put(Side::Uas, Input::Respond { key, response });
    }

    fn ack(&mut self, tag: &str) {
        let mut ack = invite();
        ack.method = Method::Ack;
        ack.headers.set("CSeq", "7 ACK");
        ack.headers
            .set("To", format!("<sip:bob@192.0.2.2>;tag={tag}"));
        self.put(
            Side::Uac,
            Input::Ack {
                key: ClientKey(1),
                request: ack,
            },
        );
    }

    /// Takes what was logged since the last call, without the times.
    fn told(&mut self) -> String {
        let lines = std::mem::take(&mut self.log);
        lines
            .iter()
            .filter_map(|l| l.split_once(' '))
            .map(|(_, t)| t)
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn assert_empty(&mut self) {
        self.run(self.now_ms + 400_000);
        assert_eq!(
            (self.uac.transactions(), self.uas.transactions()),
            (0, 0),
            "{:?}",
            self.log
        );
        assert_eq!((self.uac.deadline(), self.uas.deadline()), (None, None));
    }
}

fn invite() -> Request {
    let mut invite = Request::new(Method::Invite, "sip:bob@192.0.2.2".parse().unwrap());
    invite.headers.push("Route", "<sip:192.0.2.2;lr>");
    for (name, value) in [
        ("Max-Forwards", "70"),
        ("From", "<sip:alice@192.0.2.1>;tag=caller"),
        ("To", "<sip:bob@192.0.2.2>"),
        ("Call-ID", "one"),
        ("CSeq", "7 INVITE"),
        ("Contact", "<sip:alice@192.0.2.1>"),
    ] {
        invite.headers.push(name, value);
    }
    invite
}

#[test]
fn a_call_over_both_transports() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut wire = Wire::new(transport);
        wire.call();
        wire.run(300);
        let want = "Uac send INVITE, Uas request INVITE, Uas send 100, Uac response 100";
        assert_eq!(wire.told(), want);
        wire.respond(180);
        wire.run(400);
        wire.respond(200);
        wire.run(450);
        assert_eq!(
            wire.told(),
            "Uas send 180, Uac response 180, Uas send 200, Uac response 200"
        );
        wire.ack("callee");
        wire.run(60_000);
        assert_eq!(wire.told(), "Uac send ACK, Uas acked", "{transport:?}");
        wire.assert_empty();
    }
}

#[test]
fn what_goes_on_the_wire() {
    let mut wire = Wire::new(Transport::Udp);
    wire.call();
    let sent = request(wire.moving[0].2.clone());
    let via = sent.via().unwrap();
    assert_eq!(
        (via.host.as_str(), via.port, via.transport.as_str()),
        ("192.0.2.1", Some(5060), "UDP")
    );
    assert!(via.is_rfc3261() && via.params.has("rport") && via.rport().is_none());
    assert_eq!(sent.headers.iter().next().unwrap().0, "Via");
    wire.run(10);
    let (_, got) = wire.server();
    assert_eq!(got.via().unwrap().rport(), Some(5060));
    assert_eq!(
        got.via().unwrap().received(),
        Some("192.0.2.1".parse().unwrap())
    );
    wire.respond(486);
    wire.run(20);
    let ack = request(wire.moving[0].2.clone());
    // RFC 3261 §17.1.1.3: the INVITE's branch, Route and Request-URI, the response's To.
    assert_eq!(
        (&ack.method, ack.uri.clone()),
        (&Method::Ack, sent.uri.clone())
    );
    assert_eq!(ack.via().unwrap(), via);
    assert_eq!(ack.to().unwrap().tag(), Some("callee"));
    assert_eq!(ack.cseq().unwrap().to_string(), "7 ACK");
    assert_eq!(ack.headers.value("Route"), Some("<sip:192.0.2.2;lr>"));
    assert_eq!(ack.headers.value("Contact"), None);
    wire.assert_empty();
}

#[test]
fn lost_and_late_ack() {
    let mut wire = Wire::new(Transport::Udp);
    wire.call();
    wire.run(50);
    wire.respond(200);
    wire.run(100);
    wire.lose = vec!["send ACK".into(), "send ACK".into()];
    wire.told();
    wire.ack("callee");
    wire.run(40_000);
    // Each copy of the 2xx is answered with the user's ACK, and none goes up again.
    let lost = "Uas send 200, Uac send ACK, ";
    let want = format!("Uac send ACK, {lost}{lost}Uas acked");
    assert_eq!(wire.told(), want);
    wire.assert_empty();

    let mut wire = Wire::new(Transport::Tcp);
    wire.call();
    wire.run(50);
    wire.respond(200);
    wire.run(31_000);
    let copies = wire
        .log
        .iter()
        .filter(|l| l.ends_with("Uas send 200"))
        .count();
    assert_eq!(copies, 10, "0, 0.5, 1.5, 3.5, then every 4 s, over TCP too");
    wire.ack("callee");
    wire.run(31_020);
    assert!(wire.log.last().unwrap().ends_with("Uas acked"));
    wire.assert_empty();
}

#[test]
fn no_ack_at_all_fails_the_server() {
    let mut wire = Wire::new(Transport::Udp);
    wire.call();
    wire.run(50);
    wire.respond(200);
    wire.run(32_060);
    let (key, _) = wire.server();
    let failed = Output::ServerFailed {
        key,
        failure: ServerFailure::NoAck,
    };
    assert!(wire.heard.contains(&(Side::Uas, failed)));
    wire.ack("callee");
    assert!(wire.log.last().unwrap().ends_with("dropped UnknownKey"));
    // Far too late, by hand: an ACK needs no transaction, and finds none.
    let mut ack = invite();
    ack.method = Method::Ack;
    ack.headers.set("CSeq", "7 ACK");
    let flow = wire.flow(Side::Uac);
    wire.put(
        Side::Uac,
        Input::Request {
            key: ClientKey(9),
            flow,
            request: ack,
            larger: None,
        },
    );
    wire.run(32_100);
    assert!(wire.log.last().unwrap().ends_with("dropped StrayAck"));
    wire.assert_empty();
}

#[test]
fn lost_messages_are_sent_again() {
    let mut wire = Wire::new(Transport::Udp);
    wire.lose = ["send INVITE", "send 100", "send 486", "send ACK"]
        .map(String::from)
        .to_vec();
    wire.call();
    wire.run(800);
    wire.respond(486);
    wire.run(40_000);
    let told = wire.told();
    assert_eq!(told.matches("Uas request INVITE").count(), 1, "{told}");
    assert_eq!(told.matches("Uac response 486").count(), 1, "{told}");
    assert_eq!(told.matches("Uac send ACK").count(), 2, "{told}");
    assert!(!told.contains("failed"), "{told}");
    wire.assert_empty();
}

#[test]
fn nobody_answers() {
    let mut wire = Wire::new(Transport::Udp);
    wire.lose = vec!["send INVITE".into(); 7];
    wire.call();
    wire.run(40_000);
    let failed = Output::ClientFailed {
        key: ClientKey(1),
        failure: ClientFailure::Timeout,
    };
    assert_eq!(wire.heard, [(Side::Uac, failed)]);
    wire.assert_empty();
}

#[test]
fn cancel_before_and_after_a_provisional() {
    // Held until the 100 comes.
    let mut wire = Wire::new(Transport::Udp);
    wire.call();
    wire.put(Side::Uac, Input::Cancel { key: ClientKey(1) });
    assert_eq!(wire.told(), "Uac send INVITE");
    wire.run(300);
    let want = "Uas request INVITE, Uas send 100, Uac response 100, Uac send CANCEL, \
                Uas send 200, Uas cancelled";
    assert_eq!(wire.told(), want);
    wire.respond(487);
    wire.run(400);
    assert_eq!(wire.told(), "Uas send 487, Uac send ACK, Uac response 487");
    wire.assert_empty();

    // A copy of the CANCEL gets the same 200 and is not told again.
    let mut wire = Wire::new(Transport::Udp);
    wire.call();
    wire.run(20);
    wire.respond(180);
    wire.run(50);
    wire.lose = vec!["send 200".into()];
    wire.told();
    wire.put(Side::Uac, Input::Cancel { key: ClientKey(1) });
    wire.run(1000);
    let want = "Uac send CANCEL, Uas send 200, Uas cancelled, Uac send CANCEL, Uas send 200";
    assert_eq!(wire.told(), want);
    wire.respond(487);
    wire.assert_empty();
}

#[test]
fn cancel_and_2xx_cross() {
    let mut wire = Wire::new(Transport::Udp);
    wire.call();
    wire.run(20);
    wire.respond(180);
    wire.run(50);
    wire.respond(200);
    wire.put(Side::Uac, Input::Cancel { key: ClientKey(1) });
    wire.told();
    wire.run(100);
    // The callee says 200 to the CANCEL and is not bothered; the caller gets the 2xx.
    assert_eq!(wire.told(), "Uac response 200, Uas send 200");
    wire.ack("callee");
    wire.run(200);
    assert_eq!(wire.told(), "Uac send ACK, Uas acked");
    wire.assert_empty();
}

#[test]
fn cancel_that_nobody_answers_ends() {
    let mut wire = Wire::new(Transport::Udp);
    wire.call();
    wire.run(300);
    wire.put(Side::Uac, Input::Cancel { key: ClientKey(1) });
    wire.run(33_000);
    let failed = Output::ClientFailed {
        key: ClientKey(1),
        failure: ClientFailure::Timeout,
    };
    assert!(wire.heard.contains(&(Side::Uac, failed)));
    wire.respond(487);
    wire.assert_empty();
}

#[test]
fn unknown_cancel_and_stray_messages() {
    let mut uas = endpoint(UAS, 2);
    let flow = flow(Transport::Udp, UAS, UAC);
    let mut cancel = invite();
    cancel.method = Method::Cancel;
    cancel.headers.set("CSeq", "7 CANCEL");
    cancel
        .headers
        .push_front("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx");
    let mut say =
        |bytes: Bytes| shorts(&uas.handle(at(0), Input::Received { flow, bytes })).join(", ");
    assert_eq!(
        say(cancel.write()),
        "send 481, dropped Refused(StatusCode(481))"
    );
    cancel.method = Method::Ack;
    cancel.headers.set("CSeq", "7 ACK");
    assert_eq!(say(cancel.write()), "dropped StrayAck");
    cancel.headers.remove("To");
    assert_eq!(say(cancel.write()), "dropped Header(Missing(\"To\"))");
    cancel.headers.remove("Via");
    assert_eq!(say(cancel.write()), "dropped Header(Missing(\"Via\"))");
    assert_eq!(say("\r\n\r\n".into()), "dropped KeepAlive");
    assert_eq!(say(vec![0, 0, 0, 0].into()), "dropped KeepAlive");
    let stray = fixture("unreason");
    assert_eq!(say(stray), "dropped StrayResponse");
    assert_eq!(uas.transactions(), 0);
}

#[test]
fn forked_2xx() {
    let mut wire = Wire::new(Transport::Udp);
    wire.call();
    let sent = request(wire.moving[0].2.clone());
    let flow = wire.flow(Side::Uac);
    let answer = |tag: &str| {
        let mut ok = Response::to(&sent, StatusCode::OK);
        ok.set_to_tag(tag);
        Input::Received {
            flow,
            bytes: ok.write(),
        }
    };
    wire.told();
    for tag in ["a", "b", "a"] {
        wire.put(Side::Uac, answer(tag));
    }
    // The third repeats the first, which has no ACK yet: silence.
    assert_eq!(wire.told(), "Uac response 200, Uac response 200");
    wire.ack("a");
    wire.ack("b");
    for tag in ["b", "a", "c"] {
        wire.put(Side::Uac, answer(tag));
    }
    let want = "Uac send ACK, Uac send ACK, Uac send ACK, Uac send ACK, Uac response 200";
    assert_eq!(wire.told(), want);
    let acks: Vec<String> = wire
        .moving
        .iter()
        .skip(1)
        .map(|(_, _, b)| request(b.clone()).to().unwrap().tag().unwrap().to_owned())
        .collect();
    assert_eq!(acks, ["a", "b", "b", "a"]);
}

#[test]
fn a_refused_invite_is_acknowledged_whatever_else_comes() {
    let mut wire = Wire::new(Transport::Udp);
    wire.call();
    let sent = request(wire.moving[0].2.clone());
    let flow = wire.flow(Side::Uac);
    wire.told();
    for code in [486, 200, 486] {
        let mut answer = Response::to(&sent, StatusCode::new(code).unwrap());
        answer.set_to_tag("callee");
        let bytes = answer.write();
        wire.put(Side::Uac, Input::Received { flow, bytes });
    }
    // The 2xx behind a refusal is nobody's; the refusal that is repeated was not acknowledged.
    assert_eq!(wire.told(), "Uac send ACK, Uac response 486, Uac send ACK");
    let [.., (_, _, first), (_, _, again)] = wire.moving.make_contiguous() else {
        panic!("two ACKs were sent");
    };
    assert_eq!(first, again);
}

#[test]
fn merged_requests_are_refused() {
    let mut uas = endpoint(UAS, 2);
    let flow = flow(Transport::Udp, UAS, UAC);
    let mut first = invite();
    first
        .headers
        .push_front("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKone");
    let out = uas.handle(
        at(0),
        Input::Received {
            flow,
            bytes: first.write(),
        },
    );
    assert_eq!(shorts(&out), ["request INVITE"]);
    let mut second = first.clone();
    second
        .headers
        .set("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKtwo");
    let out = uas.handle(
        at(1),
        Input::Received {
            flow,
            bytes: second.write(),
        },
    );
    assert_eq!(
        shorts(&out),
        ["send 482", "dropped Refused(StatusCode(482))"]
    );
    // A copy of the first is a retransmission, not a merge.
    let out = uas.handle(
        at(2),
        Input::Received {
            flow,
            bytes: first.write(),
        },
    );
    assert_eq!(shorts(&out), ["send 100"]);
    assert_eq!(uas.transactions(), 1);
}

#[test]
fn stateless_answers_repeat_their_tag() {
    let uas = &mut endpoint(UAS, 2);
    let flow = flow(Transport::Udp, UAS, UAC);
    let mut bad = invite();
    bad.headers.set("Max-Forwards", "0");
    bad.headers
        .push_front("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKone");
    let mut tag = || match &uas.handle(
        at(0),
        Input::Received {
            flow,
            bytes: bad.write(),
        },
    )[0]
    {
        Output::Transmit { bytes, .. } => {
            let answer = response(bytes.clone());
            assert_eq!(answer.headers.value("Server"), Some("duolog"));
            answer.to_addr().unwrap().tag().unwrap().to_owned()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(tag(), tag());
}

#[test]
fn requests_of_rfc_2543_match_by_their_names() {
    let uas = &mut endpoint(UAS, 2);
    let flow = flow(Transport::Udp, UAS, UAC);
    let old = fixture("inv2543");
    let out = uas.handle(
        at(0),
        Input::Received {
            flow,
            bytes: old.clone(),
        },
    );
    let Output::Request { key, request, .. } = &out[0] else {
        panic!("{out:?}")
    };
    let busy = Response::to(request, StatusCode::BUSY_HERE);
    let again = uas.handle(at(5), Input::Received { flow, bytes: old });
    assert_eq!(shorts(&again), ["send 100"]);
    let answered = uas.handle(
        at(10),
        Input::Respond {
            key: *key,
            response: busy,
        },
    );
    // No rport: the answer goes to the port in Via.
    let Output::Transmit { flow: back, bytes } = &answered[0] else {
        panic!("{answered:?}")
    };
    assert_eq!(back.peer.port(), 5060);
    let to = response(bytes.clone())
        .headers
        .value("To")
        .unwrap()
        .to_owned();
    let mut ack = request.clone();
    ack.method = Method::Ack;
    ack.headers.set("CSeq", "56 ACK");
    ack.headers.set("To", to);
    let out = uas.handle(
        at(20),
        Input::Received {
            flow,
            bytes: ack.write(),
        },
    );
    assert_eq!(shorts(&out), [""; 0]);
    assert_eq!(uas.handle(at(5_020), Input::Deadline), []);
    assert_eq!(uas.transactions(), 0);
}

#[test]
fn ipv6_on_the_wire() {
    let (ours, theirs) = ("[2001:db8::1]:5060", "[2001:db8::2]:5070");
    let mut uac = endpoint(ours, 1);
    let there = flow(Transport::Udp, ours, theirs);
    let out = uac.handle(
        at(0),
        Input::Request {
            key: ClientKey(1),
            flow: there,
            request: invite(),
            larger: None,
        },
    );
    let Output::Transmit { bytes, .. } = &out[0] else {
        panic!("{out:?}")
    };
    let via = request(bytes.clone()).via().unwrap();
    assert_eq!((via.host.as_str(), via.port), ("[2001:db8::1]", Some(5060)));
    let mut uas = endpoint(theirs, 2);
    let here = flow(Transport::Udp, theirs, ours);
    let out = uas.handle(
        at(5),
        Input::Received {
            flow: here,
            bytes: bytes.clone(),
        },
    );
    let Output::Request { key, request, .. } = &out[0] else {
        panic!("{out:?}")
    };
    let busy = Response::to(request, StatusCode::BUSY_HERE);
    let out = uas.handle(
        at(5),
        Input::Respond {
            key: *key,
            response: busy,
        },
    );
    let Output::Transmit { flow: back, bytes } = &out[0] else {
        panic!("{out:?}")
    };
    assert_eq!(*back, here);
    let out = uac.handle(
        at(9),
        Input::Received {
            flow: there,
            bytes: bytes.clone(),
        },
    );
    assert_eq!(shorts(&out), ["send ACK", "response 486"]);
}

#[test]
fn a_failed_connection_fails_its_transactions() {
    let mut wire = Wire::new(Transport::Tcp);
    wire.call();
    wire.run(50);
    let (key, _) = wire.server();
    wire.told();
    let (a, b) = (wire.flow(Side::Uac), wire.flow(Side::Uas));
    wire.put(Side::Uac, Input::FlowFailed { flow: a });
    wire.put(Side::Uas, Input::FlowFailed { flow: b });
    assert_eq!(
        wire.told(),
        "Uac client failed Transport, Uas server failed Transport"
    );
    assert_eq!((wire.uac.transactions(), wire.uas.transactions()), (0, 0));
    let late = Response::to(&invite(), StatusCode::OK);
    wire.put(
        Side::Uas,
        Input::Respond {
            key,
            response: late,
        },
    );
    assert_eq!(wire.told(), "Uas dropped UnknownKey");
    wire.assert_empty();
}

#[test]
fn a_whole_call_with_dialogs_and_bye() {
    let mut wire = Wire::new(Transport::Udp);
    wire.call();
    wire.run(20);
    wire.respond(200);
    wire.run(50);
    let (_, got) = wire.server();
    let Some((_, Output::Response { response: ok, .. })) = wire.heard.last() else {
        panic!()
    };
    let mut caller = Dialog::uac(&invite(), ok, wire.flow(Side::Uac)).unwrap();
    let mut callee = Dialog::uas(&got, ok, wire.flow(Side::Uas)).unwrap();
    assert_eq!(caller.id().call_id, callee.id().call_id);
    assert_eq!(caller.id().local_tag, callee.id().remote_tag);
    let ack = caller.ack_for(7);
    wire.put(
        Side::Uac,
        Input::Ack {
            key: ClientKey(1),
            request: ack,
        },
    );
    wire.run(100);
    assert!(wire.log.last().unwrap().ends_with("Uas acked"));
    let bye = caller.request(Method::Bye);
    let flow = wire.flow(Side::Uac);
    wire.put(
        Side::Uac,
        Input::Request {
            key: ClientKey(2),
            flow,
            request: bye,
            larger: None,
        },
    );
    wire.run(150);
    let (_, bye) = wire.server();
    assert_eq!(callee.receive(&bye), Ok(()));
    wire.told();
    wire.respond(200);
    wire.run(200);
    assert_eq!(wire.told(), "Uas send 200, Uac response 200");
    wire.assert_empty();
}

#[test]
fn thousands_of_transactions_keep_their_deadlines() {
    let mut uas = endpoint(UAS, 2);
    let flow = flow(Transport::Udp, UAS, UAC);
    for n in 0..5_000_u64 {
        let mut call = invite();
        call.headers.set("Call-ID", format!("call-{n}"));
        call.headers
            .push_front("Via", format!("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{n}"));
        let out = uas.handle(
            at(n),
            Input::Received {
                flow,
                bytes: call.write(),
            },
        );
        let Output::Request { key, request, .. } = &out[0] else {
            panic!("{out:?}")
        };
        let busy = Response::to(request, StatusCode::BUSY_HERE);
        let out = uas.handle(
            at(n),
            Input::Respond {
                key: *key,
                response: busy,
            },
        );
        assert_eq!(shorts(&out), ["send 486"]);
    }
    assert_eq!(uas.transactions(), 5_000);
    let (mut copies, mut failed) = (0, 0);
    while let Some(deadline) = uas.deadline() {
        for output in uas.handle(deadline, Input::Deadline) {
            match output {
                Output::Transmit { .. } => copies += 1,
                Output::ServerFailed { .. } => failed += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(deadline <= at(5_000) + Duration::from_secs(32));
    }
    assert_eq!((copies, failed), (5_000 * 10, 5_000));
    assert_eq!(uas.transactions(), 0);
}

fn with_branch(mut request: Request, branch: &str) -> Bytes {
    request.headers.push_front(
        "Via",
        format!("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{branch}"),
    );
    request.write()
}

#[test]
fn transactions_are_bounded_and_calls_can_still_end() {
    const MOST: usize = 32_768;
    let mut uas = endpoint(UAS, 2);
    let flow = flow(Transport::Udp, UAS, UAC);
    let mut call = invite();
    for n in 0..MOST {
        call.headers.set("Call-ID", format!("call-{n}"));
        let bytes = with_branch(call.clone(), &n.to_string());
        let out = uas.handle(at(0), Input::Received { flow, bytes });
        assert_eq!(shorts(&out), ["request INVITE"]);
    }
    call.headers.set("Call-ID", "one-more");
    let bytes = with_branch(call.clone(), "more");
    let out = uas.handle(at(0), Input::Received { flow, bytes });
    assert_eq!(
        shorts(&out),
        ["send 503", "dropped Refused(StatusCode(503))"]
    );
    let Output::Transmit { bytes, .. } = &out[0] else {
        panic!("{out:?}")
    };
    assert!(response(bytes.clone()).headers.has("Retry-After"));
    // What stands can be ended.
    let mut bye = invite();
    bye.method = Method::Bye;
    bye.headers.set("CSeq", "8 BYE");
    bye.headers.set("To", "<sip:b@example.com>;tag=there");
    let bytes = with_branch(bye, "bye");
    let out = uas.handle(at(0), Input::Received { flow, bytes });
    assert_eq!(shorts(&out), ["request BYE"]);
    let mut cancel = invite();
    cancel.method = Method::Cancel;
    cancel.headers.set("CSeq", "7 CANCEL");
    cancel.headers.set("Call-ID", "call-5");
    let bytes = with_branch(cancel, "5");
    let out = uas.handle(at(0), Input::Received { flow, bytes });
    assert_eq!(shorts(&out), ["send 200", "cancelled"]);
    assert!(uas.transactions() <= MOST + 2);
}

#[test]
fn an_answer_given_once_leaves_nothing() {
    let mut uas = endpoint(UAS, 2);
    let flow = flow(Transport::Udp, UAS, UAC);
    let bytes = with_branch(invite(), "one");
    let mut tags = Vec::new();
    // The same answer to every copy of the request, and nothing by itself.
    for ms in [0, 500] {
        let bytes = bytes.clone();
        let out = uas.handle(at(ms), Input::Received { flow, bytes });
        let Output::Request { key, request, .. } = &out[0] else {
            panic!("{out:?}")
        };
        let response = Response::to(request, StatusCode::FORBIDDEN);
        let key = *key;
        let out = uas.handle(at(ms), Input::RespondOnce { key, response });
        assert_eq!(shorts(&out), ["send 403"]);
        let Output::Transmit { bytes, .. } = &out[0] else {
            panic!("{out:?}")
        };
        tags.push(
            support::response(bytes.clone())
                .to_addr()
                .unwrap()
                .tag()
                .unwrap()
                .to_owned(),
        );
        assert_eq!((uas.transactions(), uas.deadline()), (0, None));
        let response = Response::to(&invite(), StatusCode::OK);
        let out = uas.handle(at(ms), Input::RespondOnce { key, response });
        assert_eq!(shorts(&out), ["dropped UnknownKey"]);
    }
    assert_eq!(tags[0], tags[1]);
}

#[test]
fn branches_to_different_numbers_are_no_merge() {
    // A proxy that rings two of our numbers at once sends the same Call-ID, CSeq and From tag twice.
    let mut uas = endpoint(UAS, 2);
    let flow = flow(Transport::Udp, UAS, UAC);
    let forked = |n: usize| {
        let mut fork = invite();
        fork.uri = format!("sip:100{n}@192.0.2.2").parse().unwrap();
        fork
    };
    let mut tags = Vec::new();
    for n in 0..2 {
        let bytes = with_branch(forked(n), &n.to_string());
        let out = uas.handle(at(0), Input::Received { flow, bytes });
        assert_eq!(shorts(&out), ["request INVITE"], "fork {n}");
        let Output::Request { key, request, .. } = &out[0] else {
            panic!("{out:?}")
        };
        let mut response = Response::to(request, StatusCode::OK);
        response.set_to_tag(&format!("tag{n}"));
        tags.push(*key);
        let key = *key;
        assert_eq!(
            shorts(&uas.handle(at(0), Input::Respond { key, response })),
            ["send 200"]
        );
    }
    // Each ACK finds its own.
    for n in [1, 0] {
        let mut ack = invite();
        ack.method = Method::Ack;
        ack.headers.set("CSeq", "7 ACK");
        ack.headers
            .set("To", format!("<sip:b@example.com>;tag=tag{n}"));
        let bytes = with_branch(ack, &format!("ack{n}"));
        let out = uas.handle(at(1), Input::Received { flow, bytes });
        assert!(
            matches!(&out[..], [Output::Acked { key, .. }] if *key == tags[n]),
            "{out:?}"
        );
    }
    // The same number twice is a merge, and so is a number too many.
    let bytes = with_branch(forked(1), "again");
    let out = uas.handle(at(2), Input::Received { flow, bytes });
    assert_eq!(shorts(&out)[0], "send 482");
    for n in 2..20 {
        let bytes = with_branch(forked(n), &format!("more{n}"));
        let out = uas.handle(at(2), Input::Received { flow, bytes });
        let want = if n < 16 { "request INVITE" } else { "send 482" };
        assert_eq!(shorts(&out)[0], want, "fork {n}");
    }
}
