//! Messages after RFC 4475 and RFC 5118, and what the endpoint does with each.

mod support;

use bytes::Bytes;
use duolog_sip::endpoint::{Input, Output};
use duolog_sip::sdp::Description;
use duolog_sip::{
    ClientKey, Endpoint, Flow, Framed, Framer, Message, Method, ParseError, Request, Response,
    Scheme, StatusCode, Transport,
};
use support::{at, endpoint, fixture, fixtures, flow, request, response, shorts};

/// A row of `fixtures/sip/torture.md`: the message, and what the endpoint puts out for it.
fn table() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(support::folder().join("torture.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(2);
    let mut rows: Vec<(String, String)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            assert_eq!(cells.len(), 7, "{row}");
            (cells[1].to_owned(), cells[4].to_owned())
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn every_message_gets_its_answer() {
    let (fixtures, table) = (fixtures(), table());
    let names: Vec<&String> = fixtures.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        table.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    let of = |rfc: &str| names.iter().filter(|name| name.starts_with(rfc)).count();
    assert_eq!((of("rfc4475/"), of("rfc5118/")), (49, 12));
    let flow = flow(Transport::Udp, "192.0.2.1:5060", "198.51.100.7:1234");
    let mut wrong = Vec::new();
    for ((name, bytes), (_, want)) in fixtures.into_iter().zip(table) {
        let mut endpoint = endpoint("192.0.2.1:5060", 1);
        let out = endpoint.handle(at(0), Input::Received { flow, bytes });
        let got = shorts(&out).join(", ");
        if got != want {
            wrong.push(format!("{name}: {got}, not {want}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A call that is being set up on both sides: an INVITE of a peer that was answered and waits for its
/// ACK, and one of ours that waits for its answer.
struct Call {
    us: Endpoint,
    flow: Flow,
    /// The peer's INVITE, and the To field of our answer.
    invite: Request,
    to: String,
    /// Our INVITE as it was sent.
    sent: Request,
}

impl Call {
    fn new(transport: Transport) -> Call {
        let mut us = endpoint("192.0.2.1:5060", 1);
        let flow = flow(transport, "192.0.2.1:5060", "198.51.100.7:5060");
        let invite = request(fixture("trunk-invite"));
        let bytes = invite.write();
        let out = us.handle(at(0), Input::Received { flow, bytes });
        let Output::Request { key, request, .. } = &out[0] else {
            panic!("{out:?}")
        };
        let (key, response) = (*key, Response::to(request, StatusCode::OK));
        let out = us.handle(at(0), Input::Respond { key, response });
        let to = response_of(&out[0]).headers.value("To").unwrap().to_owned();
        let (mut request, key, larger) = (invite.clone(), ClientKey(1), None);
        request.headers.remove("Via");
        request.headers.set("Call-ID", "ours");
        let input = Input::Request {
            key,
            flow,
            request,
            larger,
        };
        let sent = request_of(&us.handle(at(0), input)[0]);
        Call {
            us,
            flow,
            invite,
            to,
            sent,
        }
    }

    fn hear(&mut self, bytes: Bytes) -> Vec<Output> {
        let flow = self.flow;
        self.us.handle(at(1), Input::Received { flow, bytes })
    }

    /// The ACK and the answer that both sides wait for come at last.
    fn goes_on(mut self) {
        let mut ack = self.invite.clone();
        ack.method = Method::Ack;
        let cseq = ack.cseq().unwrap().number;
        ack.headers.set("CSeq", format!("{cseq} ACK"));
        ack.headers.set("To", self.to.as_str());
        let via = "SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKack";
        ack.headers.set("Via", via);
        assert_eq!(shorts(&self.hear(ack.write())), ["acked"]);
        let answer = Response::to(&self.sent, StatusCode::OK);
        assert_eq!(shorts(&self.hear(answer.write())), ["response 200"]);
    }
}

#[test]
fn none_of_them_harms_a_running_call() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut call = Call::new(transport);
        for (name, bytes) in fixtures() {
            if name == "trunk-invite" {
                continue;
            }
            let mut framer = Framer::new();
            framer.push(&bytes);
            let mut pieces = vec![bytes];
            while let Ok(Some(Framed::Message(bytes))) = framer.next() {
                pieces.push(bytes);
            }
            for output in pieces.into_iter().flat_map(|bytes| call.hear(bytes)) {
                let ours = matches!(output, Output::Acked { .. } | Output::Response { .. });
                assert!(!ours, "{name}: {output:?}");
            }
        }
        call.goes_on();
    }
}

fn request_of(output: &Output) -> Request {
    match output {
        Output::Transmit { bytes, .. } => request(bytes.clone()),
        other => panic!("{other:?}"),
    }
}

fn response_of(output: &Output) -> Response {
    match output {
        Output::Transmit { bytes, .. } => response(bytes.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_can_be_read_is_written_back_equal() {
    let mut count = 0;
    for (name, bytes) in fixtures() {
        if let Ok(message) = Message::parse(bytes) {
            let written = message.write();
            let again = Message::parse(written.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(again, message, "{name}");
            assert_eq!(again.write(), written, "{name}");
            // The same over a stream, in pieces, with a keep-alive before it.
            let mut framer = Framer::new();
            let mut got = Vec::new();
            for piece in [&b"\r\n\r\n"[..], &written].concat().chunks(7) {
                framer.push(piece);
                while let Some(framed) = framer.next().unwrap() {
                    got.push(framed);
                }
            }
            assert_eq!(got.len(), 2, "{name}");
            assert_eq!(got[1], Framed::Message(written), "{name}");
            count += 1;
        }
    }
    assert!(count > 28, "{count}");
}

#[test]
fn the_tortuous_invite() {
    let invite = request(fixture("wsinv"));
    assert_eq!(invite.method, Method::Invite);
    assert_eq!(invite.to().unwrap().tag(), Some("1918181833n"));
    assert_eq!(
        invite.from().unwrap().display.as_deref(),
        Some("J Rosenberg \\\"")
    );
    assert_eq!(invite.from().unwrap().tag(), Some("98asjd8"));
    assert_eq!(invite.max_forwards().unwrap(), Some(68));
    assert_eq!(invite.cseq().unwrap().number, 9);
    let vias = invite.vias().unwrap();
    assert_eq!(vias.len(), 3);
    assert_eq!(vias[0].branch(), Some("390skdjuw"));
    assert_eq!(
        (vias[1].transport.as_str(), vias[1].branch()),
        ("TCP", Some("z9hG4bK9ikj8"))
    );
    assert_eq!(
        (vias[2].host.as_str(), vias[2].branch()),
        ("192.168.255.111", Some("z9hG4bK30239"))
    );
    assert_eq!(invite.headers.value("Subject"), Some(""));
    assert_eq!(
        invite.headers.value("newfangledheader"),
        Some("newfangled value continued newfangled value")
    );
    assert_eq!(
        invite.headers.value("UnknownHeaderWithUnusualValue"),
        Some(";;,,;;,;")
    );
    let contact = invite.contact().unwrap();
    assert_eq!(contact.display.as_deref(), Some("Quoted string \"\""));
    assert_eq!(contact.params.value("q"), Some("0.33"));
    assert_eq!(contact.params.value("newparam"), Some("newvalue"));
    assert!(invite.routes().unwrap()[0].uri.is_loose_router());
    assert_eq!(invite.body.len(), 150);
}

#[test]
fn odd_but_legal_parts() {
    let compact = request(fixture("phone-invite-compact"));
    assert_eq!(compact.uri.scheme, Scheme::Tel);
    assert_eq!(compact.uri.user.as_deref(), Some("+31612345678"));
    assert_eq!(compact.vias().unwrap().len(), 2);
    assert_eq!(
        compact.from().unwrap().display.as_deref(),
        Some("Bert; \"B\"")
    );
    let instance = "\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\"";
    assert_eq!(
        compact.contact().unwrap().params.value("+sip.instance"),
        Some(instance)
    );
    assert_eq!(
        compact.headers.value("Supported"),
        Some("replaces, outbound")
    );
    assert_eq!(compact.content_type(), "application/sdp");
    assert!(Description::parse(&compact.body).unwrap().audio().is_some());

    let escaped = request(fixture("esc01"));
    assert_eq!(
        escaped.uri.user.as_deref(),
        Some("sips%3Auser%40example.com")
    );
    assert_eq!(
        escaped.contact().unwrap().uri.params.value("n%61me"),
        Some("v%61lue%25%34%31")
    );
    // `C%6Fntact` is not Contact (RFC 4475 §3.1.1.4).
    assert_eq!(
        request(fixture("esc02")).headers.values("Contact").count(),
        2
    );
    let semicolon = request(fixture("semiuri"));
    assert_eq!(
        semicolon.uri.user.as_deref(),
        Some("user;par=u%40example.net")
    );
    let long = request(fixture("longreq"));
    assert_eq!(long.vias().unwrap().len(), 34);
    let word = request(fixture("intmeth"));
    assert_eq!(
        word.call_id().unwrap(),
        "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"
    );
    assert_eq!(
        word.from().unwrap().display.as_deref(),
        Some("token1~` token2'+_ token3*%!.-")
    );
    let reason = response(fixture("unreason"));
    assert_eq!(
        reason.reason,
        "= 2**3 * 5**2 но сто девяносто девять - простое"
    );
    assert_eq!(response(fixture("noreason")).reason, "");
}

#[test]
fn addresses_of_both_families_and_parameters_of_contacts() {
    let ipv6 = request(fixture("ipv6-good"));
    assert_eq!(ipv6.uri.host_ip(), Some("2001:db8::10".parse().unwrap()));
    assert_eq!(ipv6.contact().unwrap().uri.host, "[2001:db8::1]");
    for name in [
        "via-received-param-with-delim",
        "via-received-param-no-delim",
    ] {
        let received = request(fixture(name)).via().unwrap().received();
        assert_eq!(received, Some("2001:db8::9:255".parse().unwrap()), "{name}");
    }
    for (name, host, port) in [
        ("port-ambiguous", "[2001:db8::10:5070]", None),
        ("port-unambiguous", "[2001:db8::10]", Some(5070)),
        ("ipv6-bug-abnf-3-colons", "[2001:db8::192.0.2.1]", None),
        ("ipv6-correct-abnf-2-colons", "[2001:db8::192.0.2.1]", None),
    ] {
        let uri = request(fixture(name)).uri;
        assert_eq!((uri.host.as_str(), uri.port), (host, port), "{name}");
    }
    let mapped = request(fixture("ipv4-mapped-ipv6"));
    assert_eq!(mapped.via().unwrap().port, Some(19_823));
    let audio = |name| {
        Description::parse(&request(fixture(name)).body)
            .unwrap()
            .audio()
    };
    assert_eq!(audio("ipv6-in-sdp"), None, "nothing but G.726");
    let rtp = audio("mult-ip-in-sdp").unwrap().rtp;
    assert_eq!(rtp, "192.0.2.1:22334".parse().unwrap());
    // RFC 4475 §3.3.12 and 13: whose parameter it is depends on the brackets.
    let contact = |name| request(fixture(name)).contact().unwrap();
    assert!(contact("cparam01").params.has("unknownparam"));
    assert!(contact("cparam02").uri.params.has("unknownparam"));
    let escaped = contact("regescrt").uri.header("route");
    assert_eq!(escaped.as_deref(), Some("<sip:sip.example.com>"));
}

#[test]
fn bodies_are_bytes() {
    let message = request(fixture("mpart01"));
    let signature = [0x30, 0x82, 0x01, 0x52, 0x06, 0x09, 0x2a];
    assert!(message.body.windows(7).any(|w| w == signature));
    assert!(message.body.contains(&0));
    assert_eq!(message.body.len(), 553);
    assert_eq!(request(message.write()).body, message.body);
    // A datagram's bytes beyond Content-Length are no body (RFC 3261 §18.3).
    assert!(request(fixture("dblreq")).body.is_empty());
    let text = "OPTIONS sip:a@b SIP/2.0\r\nl: 3\r\n\r\nab";
    assert_eq!(Message::parse(text.into()), Err(ParseError::BodyShort));
    let text = "OPTIONS sip:a@b SIP/2.0\r\n\r\n\x00ab\r\n";
    assert_eq!(&request(text).body[..], b"\x00ab\r\n");
}

#[test]
fn start_lines() {
    for (line, want) in [
        ("", ParseError::StartLine),
        ("INVITE", ParseError::StartLine),
        ("INVITE sip:a@b", ParseError::StartLine),
        ("INVITE sip:a@b HTTP/1.1", ParseError::StartLine),
        ("IN/VITE sip:a@b SIP/2.0", ParseError::StartLine),
        ("INVITE sip:a@b SIP/3.0", ParseError::Version),
        ("SIP/2.0", ParseError::StartLine),
        ("SIP/2.1 200 OK", ParseError::Version),
        ("SIP/2.0 99 Low", ParseError::Status),
        ("SIP/2.0 0200 OK", ParseError::Status),
        ("SIP/2.0 700 High", ParseError::Status),
        ("SIP/2.0 +20 Sign", ParseError::Status),
    ] {
        let got = Message::parse(format!("{line}\r\nTo: x\r\n\r\n").into());
        assert_eq!(got, Err(want), "{line}");
    }
    assert_eq!(response("sip/2.0 200 ok\r\nTo: x\r\n\r\n").reason, "ok");
    let odd = response("SIP/2.0 200 a\rb\r\r\nTo: x\r\n\r\n");
    assert_eq!(odd.reason, "a b");
}
