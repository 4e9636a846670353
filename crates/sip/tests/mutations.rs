//! Broken input by the thousand, from a seed: no panic, and nothing left behind.

mod support;

use bytes::Bytes;
use duolog_sip::endpoint::{Input, Output};
use duolog_sip::{ClientKey, Framer, Message, Method, Request, Response, StatusCode, Transport};
use support::mutator::Mutator;
use support::{at, base, endpoint, fixtures, flow};

/// The same message under a branch and a Call-ID of its own, so that it is no copy of an earlier one.
fn renamed(bytes: &[u8], n: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 32);
    let mut rest = bytes;
    while let Some(byte) = rest.first() {
        let mark = [&b"z9hG4bK"[..], b"Call-ID: "]
            .into_iter()
            .find(|m| rest.starts_with(m));
        match mark {
            Some(mark) => {
                out.extend_from_slice(mark);
                out.extend_from_slice(n.to_string().as_bytes());
                rest = &rest[mark.len()..];
            }
            None => {
                out.push(*byte);
                rest = &rest[1..];
            }
        }
    }
    out
}

#[test]
fn twenty_thousand_mutations_through_parse_framer_and_endpoint() {
    let seeds: Vec<Bytes> = fixtures().into_iter().map(|(_, bytes)| bytes).collect();
    let mut mutator = Mutator::new(42);
    let mut uas = endpoint("192.0.2.1:5060", 3);
    let (mut parsed, mut answered, mut framed) = (0, 0, 0);
    for n in 0..20_000_u64 {
        let seed = &seeds[mutator.below(seeds.len())];
        let bytes: Bytes = mutator.mutate(&renamed(seed, n)).into();
        parsed += usize::from(Message::parse(bytes.clone()).is_ok());
        let mut framer = Framer::new();
        for piece in bytes.chunks(1 + n as usize % 300) {
            framer.push(piece);
            while let Ok(Some(_)) = framer.next() {
                framed += 1;
            }
        }
        let transport = if n % 3 == 0 {
            Transport::Tcp
        } else {
            Transport::Udp
        };
        let flow = flow(transport, "192.0.2.1:5060", "198.51.100.1:1024");
        for output in uas.handle(at(n), Input::Received { flow, bytes }) {
            let Output::Request { key, request, .. } = output else {
                continue;
            };
            answered += 1;
            let code = [404, 200, 180, 487][n as usize % 4];
            let response = Response::to(&request, StatusCode::new(code).unwrap());
            let _ = uas.handle(at(n), Input::Respond { key, response });
            if code == 180 {
                let busy = Response::to(&request, StatusCode::BUSY_HERE);
                let _ = uas.handle(
                    at(n),
                    Input::Respond {
                        key,
                        response: busy,
                    },
                );
            }
        }
        while uas.deadline().is_some_and(|d| d <= at(n)) {
            let _ = uas.handle(at(n), Input::Deadline);
        }
    }
    assert!(
        parsed > 5_000 && answered > 1_500 && framed > 5_000,
        "{parsed} {answered} {framed}"
    );
    let options = Request::new(Method::Options, "sip:duolog@192.0.2.1".parse().unwrap());
    still_answers(&mut uas, options);
    // 64*T1 after the last message, and timer I or L, nothing is left.
    for ms in (20_000..20_000 + 64_500).step_by(100) {
        while uas.deadline().is_some_and(|d| d <= at(ms)) {
            let _ = uas.handle(at(ms), Input::Deadline);
        }
    }
    assert_eq!((uas.transactions(), uas.deadline()), (0, None));
}

fn still_answers(uas: &mut duolog_sip::Endpoint, mut options: Request) {
    for (name, value) in [
        ("Via", "SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKlast;rport"),
        ("From", "<sip:a@b>;tag=1"),
        ("To", "<sip:duolog@192.0.2.1>"),
        ("Call-ID", "last"),
        ("CSeq", "1 OPTIONS"),
    ] {
        options.headers.push(name, value);
    }
    let flow = flow(Transport::Udp, "192.0.2.1:5060", "198.51.100.1:1024");
    let out = uas.handle(
        at(20_000),
        Input::Received {
            flow,
            bytes: options.write(),
        },
    );
    let [Output::Request { key, request, .. }] = &out[..] else {
        panic!("{out:?}")
    };
    let response = Response::to(request, StatusCode::OK);
    let out = uas.handle(
        at(20_000),
        Input::Respond {
            key: *key,
            response,
        },
    );
    assert!(matches!(&out[..], [Output::Transmit { .. }]), "{out:?}");
}

#[test]
fn mutated_responses_to_our_own_requests() {
    let mut mutator = Mutator::new(43);
    let mut uac = endpoint("192.0.2.1:5060", 4);
    let flow = flow(Transport::Udp, "192.0.2.1:5060", "198.51.100.1:5060");
    let mut heard = 0;
    for n in 0..3_000_u64 {
        let method = if n % 2 == 0 {
            Method::Invite
        } else {
            Method::Options
        };
        let mut request = Request::new(method.clone(), "sip:b@198.51.100.1".parse().unwrap());
        for (name, value) in [
            ("From", "<sip:a@b>;tag=1"),
            ("To", "<sip:b@c>"),
            ("Call-ID", "x"),
        ] {
            request.headers.push(name, value);
        }
        request.headers.push("CSeq", format!("{} {method}", n + 1));
        let key = ClientKey(n);
        let out = uac.handle(
            at(n),
            Input::Request {
                key,
                flow,
                request,
                larger: None,
            },
        );
        let Some(Output::Transmit { bytes, .. }) = out.first() else {
            panic!("{out:?}")
        };
        let Ok(Message::Request(sent)) = Message::parse(bytes.clone()) else {
            panic!("{bytes:?}")
        };
        for code in [100, 183, 200, 486] {
            let mut response = Response::to(&sent, StatusCode::new(code).unwrap());
            response.set_to_tag("t");
            let bytes: Bytes = mutator.mutate(&response.write()).into();
            let out = uac.handle(at(n), Input::Received { flow, bytes });
            heard += out
                .iter()
                .filter(|o| matches!(o, Output::Response { .. }))
                .count();
        }
        let _ = uac.handle(at(n), Input::Cancel { key });
    }
    assert!(heard > 500, "{heard}");
    while let Some(deadline) = uac.deadline() {
        let _ = uac.handle(deadline, Input::Deadline);
        assert!(deadline < base() + std::time::Duration::from_secs(120));
    }
    assert_eq!(uac.transactions(), 0);
}
