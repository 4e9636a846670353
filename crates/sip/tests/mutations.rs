//! Broken input by the thousand, from a seed: no panic, and nothing left behind.

mod support;

use bytes::Bytes;
use duolog_sip::endpoint::{Input, Output};
use duolog_sip::sdp::{
    CryptoSuite, Description, Encoding, G729, MediaSecurity, Offered, SdesKey, Terms, Transcoding,
};
use duolog_sip::{
    ClientKey, Dialog, Framer, Message, Method, NameAddr, Request, Response, StatusCode, Transport,
    Uri, Via,
};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use support::{at, base, endpoint, fixtures, flow};

/// Pieces that parsers stumble over.
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"<",
    b">",
    b"\"",
    b"\\",
    b"[",
    b"]",
    b"@",
    b"=",
    b"\0",
    b"\xff\xfe",
    b"Content-Length: 99999\r\n",
    b"l: 0\r\n",
    b"Via: SIP/2.0/UDP [::1]:99999;rport\r\n",
    b"%",
    b"\xe2\x82",
];

struct Mutator(ChaCha12Rng);

impl Mutator {
    fn below(&mut self, limit: usize) -> usize {
        self.0.next_u64() as usize % limit.max(1)
    }

    fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(out.len() + 1);
            let end = (at + self.below(40)).min(out.len());
            match self.below(6) {
                0 if at < out.len() => out[at] = self.0.next_u32() as u8,
                1 => drop(out.drain(at..end)),
                2 => {
                    let piece = PIECES[self.below(PIECES.len())];
                    out.splice(at..at, piece.iter().copied());
                }
                3 => {
                    let copy = out[at..end].to_vec();
                    let to = self.below(out.len() + 1);
                    out.splice(to..to, copy);
                }
                4 => out.truncate(at),
                _ if at < out.len() => out[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        out
    }
}

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

/// Reads everything that can be read of a message.
fn read(message: &Message) {
    let written = message.write();
    assert_eq!(
        Message::parse(written.clone()).map(|m| m.write()),
        Ok(written)
    );
    let flow = flow(Transport::Udp, "192.0.2.1:5060", "192.0.2.2:5060");
    match message {
        Message::Request(request) => {
            let _ = (
                request.vias(),
                request.routes(),
                request.record_routes(),
                request.contact(),
            );
            let ok = Response::to(request, StatusCode::OK);
            if let Ok(mut dialog) = Dialog::uas(request, &ok, flow) {
                let _ = dialog.receive(request);
                let bye = dialog.request(Method::Bye).write();
                assert!(Message::parse(bye).is_ok());
            }
            check_sdp(&request.body);
        }
        Message::Response(response) => {
            let _ = (
                response.vias(),
                response.record_routes(),
                response.contact(),
            );
            check_sdp(&response.body);
        }
    }
    for (_, value) in message.headers().iter() {
        let _ = (value.parse::<NameAddr>(), value.parse::<Via>());
        if let Ok(uri) = value.parse::<Uri>() {
            assert_eq!(uri.to_string().parse(), Ok(uri));
        }
        if let Ok(address) = value.parse::<NameAddr>() {
            assert_eq!(address.to_string().parse(), Ok(address), "{value:?}");
        }
    }
}

fn check_sdp(body: &Bytes) {
    if let Ok(description) = Description::parse(body) {
        for security in [
            MediaSecurity::AsOffered,
            MediaSecurity::Never,
            MediaSecurity::Always,
        ] {
            check_forwarding(&description, security);
        }
    }
}

/// What goes on can be read again, and with the offer as its own answer both legs agree.
fn check_forwarding(description: &Description, security: MediaSecurity) {
    let rtp: std::net::SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let keys = CryptoSuite::ALL.into_iter();
    let keys = keys.filter_map(|suite| SdesKey::new(suite, &vec![7; suite.key_and_salt_bytes()]));
    let terms = Terms {
        rtp,
        rtcp: rtp,
        security,
        dtls_fingerprint: Some("sha-256 AA"),
        keys: keys.collect(),
        standing: None,
    };
    let transcoding = Transcoding {
        add: &[Encoding::Pcma, Encoding::Opus],
        g729: G729::Missing,
    };
    let Ok(told) = description.offer_to(&terms, &terms, &transcoding) else {
        return;
    };
    let offered = Offered {
        theirs: description,
        told: &told,
    };
    let answered = description.answer_to(&offered, &terms, &transcoding);
    for ours in [Some(told), answered.ok()].into_iter().flatten() {
        let again = Description::parse(&ours.write()).expect("what we write can be read");
        let across = again.audio_across(&ours).map(|audio| audio.rtp);
        assert_eq!(across, Some(rtp), "{description:?}");
    }
}

#[test]
fn twenty_thousand_mutations_through_parse_framer_and_endpoint() {
    let seeds: Vec<Bytes> = fixtures().into_iter().map(|(_, bytes)| bytes).collect();
    let mut mutator = Mutator(ChaCha12Rng::from_seed([42; 32]));
    let mut uas = endpoint("192.0.2.1:5060", 3);
    let (mut parsed, mut answered, mut framed) = (0, 0, 0);
    for n in 0..20_000_u64 {
        let seed = &seeds[mutator.below(seeds.len())];
        let bytes: Bytes = mutator.mutate(&renamed(seed, n)).into();
        if let Ok(message) = Message::parse(bytes.clone()) {
            read(&message);
            parsed += 1;
        }
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
    let mut mutator = Mutator(ChaCha12Rng::from_seed([43; 32]));
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
        let out = uac.handle(at(n), Input::Request { key, flow, request });
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
