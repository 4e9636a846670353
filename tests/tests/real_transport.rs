//! SIP over UDP and TCP of both families, with messages of every size, keep-alives, and more connections
//! than there is room for.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

use bytes::Bytes;
use duolog_sip::Message;
use duolog_tests::real::probe::Probe;
use duolog_tests::real::site::{CALLEE_PORT, CALLER_PORT, SIP_PORT, Wishes};
use duolog_tests::real::talk::{PATIENCE, Talk, description, refusal, tcp_from};
use duolog_tests::real::{Duolog, Site};

fn request(
    method: &str,
    protocol: &str,
    from: SocketAddr,
    to: SocketAddr,
    more: &str,
    body: &str,
) -> String {
    let kind = match body {
        "" => "",
        _ => "Content-Type: application/sdp\r\n",
    };
    format!(
        "{method} sip:100@{to} SIP/2.0\r\nVia: SIP/2.0/{protocol} {from};branch=z9hG4bK{method}{port};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:+31612345678@{from}>;tag=t{port}\r\nTo: <sip:100@{to}>\r\n\
         Call-ID: c{port}\r\nCSeq: 1 {method}\r\nContact: <sip:t@{from}>\r\n{more}{kind}Content-Length: {length}\r\n\r\n{body}",
        port = from.port(),
        length = body.len()
    )
}

/// A port of ::1 that nobody has.
fn free_v6() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("IPv6 on loopback");
    socket.local_addr().expect("it is bound")
}

#[test]
fn every_family_and_transport_answers() {
    let site = Site::new(&Wishes::default());
    let v6 = free_v6();
    site.amend(|text| {
        let more = format!("listen = [\"udp:{v6}\", \"tcp:{v6}\", ");
        text.replacen("listen = [", &more, 1)
    });
    let duolog = Duolog::start(&site);
    for node in [site.sip(), v6] {
        let ip = match node.ip() {
            IpAddr::V6(_) => node.ip(),
            IpAddr::V4(_) => site.caller(),
        };
        assert_eq!(
            Probe::new(ip, 0, node).options().status.code(),
            200,
            "{node}"
        );
        let mut talk = Talk::with(node);
        let ask = request("OPTIONS", "TCP", talk.local(), node, "", "");
        talk.send(&ask).expect("it is read");
        let answer = talk.response().expect("an answer");
        assert_eq!(answer.status.code(), 200, "{node}: {answer:?}");
        // RFC 3581: where the request came from is in its Via.
        let via = answer.headers.value("Via").expect("an answer has one");
        let port = format!("rport={}", talk.local().port());
        assert!(via.contains(&port), "{via}");
    }
    duolog.stop();
}

#[test]
fn keep_alives_are_answered_and_cost_no_message() {
    let site = Site::new(&Wishes::default());
    let duolog = Duolog::start(&site);
    // RFC 5389 §6: a Binding request.
    let socket = UdpSocket::bind((site.callee(), 0)).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let ask = b"\0\x01\0\0\x21\x12\xa4\x42duologduolog";
    socket.send_to(ask, site.sip()).expect("sent");
    let mut answer = [0; 64];
    let (length, from) = socket.recv_from(&mut answer).expect("an answer");
    assert_eq!(
        (from, &answer[..2], &answer[8..20]),
        (site.sip(), &[1, 1][..], &b"duologduolog"[..])
    );
    let port = socket.local_addr().expect("bound").port();
    let mapped = (port ^ 0x2112).to_be_bytes();
    assert!(
        answer[20..length].windows(2).any(|pair| pair == mapped),
        "XOR-MAPPED-ADDRESS"
    );
    for nothing in [&b"\r\n\r\n"[..], b"\0", b""] {
        socket.send_to(nothing, site.sip()).expect("sent");
    }
    // RFC 5626 §3.5.1: CRLF CRLF is answered with CRLF, between messages too.
    let mut talk = Talk::with(site.sip());
    let ask = request("OPTIONS", "TCP", talk.local(), site.sip(), "", "");
    for _ in 0..2 {
        talk.send("\r\n\r\n").expect("it is read");
        let mut pong = [0; 2];
        talk.stream.read_exact(&mut pong).expect("a pong");
        assert_eq!(&pong, b"\r\n");
        talk.send(&ask).expect("it is read");
        assert_eq!(talk.response().expect("an answer").status.code(), 200);
    }
    assert_eq!(
        duolog.metric("duolog_sip_messages_dropped_total"),
        Some(0.0)
    );
    duolog.stop();
}

#[test]
fn an_invite_of_30_kib_passes_over_tcp() {
    let site = Site::new(&Wishes {
        transport: "tcp",
        ..Wishes::default()
    });
    let duolog = Duolog::start(&site);
    let callee = TcpListener::bind((site.callee(), CALLEE_PORT)).expect("the callee's address");
    let stream = tcp_from(site.caller(), site.sip());
    let mut caller = Talk::over(stream);
    let long = "x".repeat(30 * 1024);
    let more = format!("X-Long: {long}\r\n");
    let body = description(site.caller());
    let invite = request("INVITE", "TCP", caller.local(), site.sip(), &more, &body);
    caller.send(&invite).expect("it is read");
    let (stream, _) = callee.accept().expect("it connects to the callee");
    let mut callee = Talk::over(stream);
    let invite = callee.request().expect("it is called");
    assert_eq!(invite.headers.value("X-Long"), Some(long.as_str()));
    callee
        .send(&refusal(&invite, "486 Busy Here"))
        .expect("it is read");
    // The refusal reaches the caller on its own connection.
    assert_eq!(caller.status(), Some(486));
    duolog.stop();
}

#[test]
fn an_invite_of_8_kib_passes_over_udp() {
    let site = Site::new(&Wishes::default());
    let duolog = Duolog::start(&site);
    let callee = UdpSocket::bind((site.callee(), CALLEE_PORT)).expect("the callee's address");
    callee.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let caller = UdpSocket::bind((site.caller(), CALLER_PORT)).expect("the caller's address");
    let from = caller.local_addr().expect("bound");
    let long = "y".repeat(8 * 1024);
    let more = format!("X-Long: {long}\r\n");
    let body = description(site.caller());
    let invite = request("INVITE", "UDP", from, site.sip(), &more, &body);
    caller.send_to(invite.as_bytes(), site.sip()).expect("sent");
    let mut buffer = vec![0; 65_535];
    let deadline = Instant::now() + PATIENCE;
    let heard = loop {
        assert!(Instant::now() < deadline, "no INVITE for the callee");
        let (length, _) = callee.recv_from(&mut buffer).expect("the callee is called");
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        if let Ok(Message::Request(request)) = Message::parse(bytes) {
            break request;
        }
    };
    assert_eq!(heard.headers.value("X-Long"), Some(long.as_str()));
    let refused = refusal(&heard, "486 Busy Here");
    callee
        .send_to(refused.as_bytes(), site.sip())
        .expect("sent");
    duolog.stop();
}

#[test]
fn what_is_too_large_is_refused_with_the_reason() {
    let site = Site::new(&Wishes::default());
    let duolog = Duolog::start(&site);
    for (status, more, body) in [
        (413, String::new(), "b".repeat(100_000)),
        (
            513,
            format!("X-Long: {}\r\n", "h".repeat(70_000)),
            String::new(),
        ),
    ] {
        let mut talk = Talk::with(site.sip());
        let ask = request("OPTIONS", "TCP", talk.local(), site.sip(), &more, &body);
        // The node may stop reading before the end.
        let _ = talk.stream.write_all(ask.as_bytes());
        assert_eq!(talk.response().expect("an answer").status.code(), status);
        assert!(
            talk.next_message().is_none(),
            "then the connection is closed"
        );
    }
    let mut talk = Talk::with(site.sip());
    let ask = request("OPTIONS", "TCP", talk.local(), site.sip(), "", "");
    talk.send(&ask).expect("it is read");
    assert_eq!(talk.response().expect("an answer").status.code(), 200);
    duolog.stop();
}

#[test]
fn a_flood_of_connections_from_one_source_leaves_room_for_others() {
    let site = Site::new(&Wishes::default());
    let mut duolog = Duolog::start(&site);
    let held: Vec<TcpStream> = (0..3_000)
        .map_while(|_| TcpStream::connect(site.sip()).ok())
        .collect();
    assert!(held.len() > 2_048, "{} connections", held.len());
    duolog.until_metric(PATIENCE, "duolog_sip_connections_refused_total", |n| {
        n >= 900.0
    });
    duolog.until_metric(PATIENCE, "duolog_sip_connections", |n| n <= 2_048.0);
    // Another one is let in, and so are datagrams of the same.
    let mut talk = Talk::over(tcp_from(site.callee(), site.sip()));
    let ask = request("OPTIONS", "TCP", talk.local(), site.sip(), "", "");
    talk.send(&ask).expect("it is read");
    assert_eq!(talk.response().expect("an answer").status.code(), 200);
    let same = Probe::new([127, 0, 0, 1].into(), 0, (site.node(), SIP_PORT).into()).options();
    assert_eq!(same.status.code(), 200);
    drop(held);
    duolog.until_metric(PATIENCE, "duolog_sip_connections", |n| n <= 1.0);
    duolog.stop();
}

#[test]
fn a_call_crosses_from_one_family_to_the_other() {
    let site = Site::new(&Wishes::default());
    let (v6, trunk) = (free_v6(), free_v6());
    let (node, was) = (site.node(), site.caller());
    site.amend(|text| {
        let listen = format!("listen = [\"udp:{v6}\", ");
        let media = format!("address = [\"{node}\", \"::1\"]");
        text.replacen("listen = [", &listen, 1)
            .replacen(&format!("address = \"{node}\""), &media, 1)
            .replacen(
                &format!("udp:{was}:{CALLER_PORT}"),
                &format!("udp:{trunk}"),
                1,
            )
    });
    let duolog = Duolog::start(&site);
    let callee = UdpSocket::bind((site.callee(), CALLEE_PORT)).expect("the callee's address");
    callee.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let caller = UdpSocket::bind(trunk).expect("it was free");
    caller.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let body = description(trunk.ip()).replace("IP4", "IP6");
    let invite = request("INVITE", "UDP", trunk, v6, "", &body);
    caller.send_to(invite.as_bytes(), v6).expect("sent");
    let mut buffer = vec![0; 65_535];
    let (length, from) = callee.recv_from(&mut buffer).expect("the callee is called");
    assert_eq!(from, site.sip());
    let Ok(Message::Request(heard)) = Message::parse(Bytes::copy_from_slice(&buffer[..length]))
    else {
        panic!("no INVITE: {}", String::from_utf8_lossy(&buffer[..length]));
    };
    let said = String::from_utf8_lossy(&heard.body).into_owned();
    assert!(said.contains(&format!("c=IN IP4 {node}")), "{said}");
    let refused = refusal(&heard, "486 Busy Here");
    callee
        .send_to(refused.as_bytes(), site.sip())
        .expect("sent");
    loop {
        let (length, from) = caller.recv_from(&mut buffer).expect("an answer");
        assert_eq!(from, v6);
        let Ok(Message::Response(answer)) =
            Message::parse(Bytes::copy_from_slice(&buffer[..length]))
        else {
            panic!("no answer: {}", String::from_utf8_lossy(&buffer[..length]));
        };
        if answer.status.is_final() {
            assert_eq!(answer.status.code(), 486);
            break;
        }
    }
    duolog.stop();
}
