//! Messages after RFC 4475 and RFC 5118, and what the endpoint does with each.

mod support;

use duolog_sip::endpoint::Input;
use duolog_sip::sdp::Description;
use duolog_sip::{Framed, Framer, Message, Method, ParseError, Scheme, Transport};
use support::{at, endpoint, fixture, fixtures, flow, request, response, shorts};

/// Name of the fixture, and what the endpoint puts out for it.
const EXPECTED: [(&str, &str); 40] = [
    ("badbranch", "request OPTIONS"),
    // Empty parameters are skipped; the branch is gone, so RFC 2543 matching is used.
    ("badinv01", "request INVITE"),
    ("badvers", "dropped Malformed(Version)"),
    ("badvers2", "send 505, dropped Malformed(Version)"),
    ("bigcode", "dropped Malformed(Status)"),
    ("clerr", "send 400, dropped Malformed(BodyShort)"),
    ("dblreq", "request REGISTER"),
    ("esc01", "request INVITE"),
    ("esc02", "request RE%47IST%45R"),
    ("escnull", "request REGISTER"),
    ("insuf", "send 400, dropped Refused(StatusCode(400))"),
    (
        "intmeth",
        "request !interesting-Method0123456789_*+`.%indeed'~",
    ),
    ("inv2543", "request INVITE"),
    (
        "ipv6-bad",
        "send 400, dropped Malformed(RequestUri(BadPort))",
    ),
    ("ipv6-good", "request REGISTER"),
    ("longreq", "request INVITE"),
    (
        "ltgtruri",
        "send 400, dropped Malformed(RequestUri(BadCharacter))",
    ),
    ("lwsdisp", "request OPTIONS"),
    (
        "lwsruri",
        "send 400, dropped Malformed(RequestUri(BadCharacter))",
    ),
    ("lwsstart", "request INVITE"),
    ("mcl01", "dropped Malformed(Head(BadLength))"),
    ("mismatch01", "send 400, dropped Refused(StatusCode(400))"),
    ("mismatch02", "send 400, dropped Refused(StatusCode(400))"),
    ("mpart01", "request MESSAGE"),
    ("multi01", "send 400, dropped Refused(StatusCode(400))"),
    ("ncl", "dropped Malformed(Head(BadLength))"),
    ("noreason", "dropped StrayResponse"),
    ("novelsc", "request OPTIONS"),
    ("phone-invite-compact", "request INVITE"),
    ("quotbal", "send 400, dropped Refused(StatusCode(400))"),
    ("scalar02", "send 400, dropped Refused(StatusCode(400))"),
    ("semiuri", "request OPTIONS"),
    ("transports", "request OPTIONS"),
    ("trunk-invite", "request INVITE"),
    ("trws", "request OPTIONS"),
    ("unkscm", "request OPTIONS"),
    ("unreason", "dropped StrayResponse"),
    ("wsinv", "request INVITE"),
    ("zeromf", "request OPTIONS"),
    (
        "zeromf-invite",
        "send 483, dropped Refused(StatusCode(483))",
    ),
];

#[test]
fn every_fixture_gets_its_answer() {
    let fixtures = fixtures();
    let names: Vec<&str> = fixtures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, EXPECTED.map(|(name, _)| name));
    let flow = flow(Transport::Udp, "192.0.2.1:5060", "198.51.100.7:1234");
    for ((name, bytes), (_, want)) in fixtures.into_iter().zip(EXPECTED) {
        let mut endpoint = endpoint("192.0.2.1:5060", 1);
        let out = endpoint.handle(at(0), Input::Received { flow, bytes });
        assert_eq!(shorts(&out).join(", "), want, "{name}");
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
    assert_eq!(long.vias().unwrap().len(), 33);
    let ipv6 = request(fixture("ipv6-good"));
    assert_eq!(ipv6.uri.host_ip(), Some("2001:db8::10".parse().unwrap()));
    assert_eq!(
        ipv6.via().unwrap().received(),
        Some("2001:db8::9:255".parse().unwrap())
    );
    assert_eq!(ipv6.contact().unwrap().uri.host, "[2001:db8::1]");
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
        "= 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e}"
    );
    assert_eq!(response(fixture("noreason")).reason, "");
}

#[test]
fn bodies_are_bytes() {
    let message = request(fixture("mpart01"));
    let all: Vec<u8> = (0..=255).collect();
    assert!(message.body.windows(256).any(|w| w == all));
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
}
