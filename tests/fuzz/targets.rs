//! What the fuzzers do with bytes, and what must hold. The same functions run over the corpus and its
//! mutations in `crates/sip/tests/corpus.rs`, which needs no fuzzer.
#![allow(dead_code, reason = "each user has its own target")]

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Instant;

use bytes::Bytes;
use duolog_sip::endpoint::{Input, Output};
use duolog_sip::sdp::{
    CryptoSuite, Description, Direction, Encoding, G729, MediaSecurity, Offered, SdesKey, Terms,
    Transcoding,
};
use duolog_sip::{
    Dialog, Endpoint, EndpointSettings, Flow, Framed, Framer, Message, Method, NameAddr, Request,
    Response, StatusCode, Timers, Transport, Uri, Via, stun,
};
use duolog_sip::{Replaces, multipart as parts};

fn flow(transport: Transport) -> Flow {
    Flow {
        transport,
        local: "192.0.2.1:5060".parse().expect("an address"),
        peer: "198.51.100.1:1024".parse().expect("an address"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made from a number"
)]
fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

/// One datagram, and the same bytes as a stream: what is read is written and read again, equal; every
/// reader is called; an endpoint answers, and is empty when its timers have run out.
pub fn message(bytes: &[u8]) {
    let copy = Bytes::copy_from_slice(bytes);
    if let Ok(message) = Message::parse(copy.clone()) {
        read(&message);
    }
    let _ = stun::answer(bytes, flow(Transport::Udp).peer);
    let mut heard = vec![(Transport::Udp, copy)];
    let mut framer = Framer::new();
    for piece in bytes.chunks(1 + bytes.len() % 97) {
        framer.push(piece);
        while let Ok(Some(framed)) = framer.next() {
            if let Framed::Message(bytes) = framed {
                heard.push((Transport::Tcp, bytes));
            }
        }
    }
    for (transport, bytes) in heard {
        let mut endpoint = endpoint();
        let flow = flow(transport);
        let out = endpoint.handle(base(), Input::Received { flow, bytes });
        answered(&mut endpoint, out);
    }
}

fn endpoint() -> Endpoint {
    let own: SocketAddr = "192.0.2.1:5060".parse().expect("an address");
    let settings = EndpointSettings {
        own: vec![(Transport::Udp, own)],
        server_name: "duolog".to_owned(),
        timers: Timers::default(),
    };
    Endpoint::new(settings, [7; 32])
}

fn answered(endpoint: &mut Endpoint, out: Vec<Output>) {
    for output in out {
        match output {
            Output::Request { key, request, .. } => {
                let status = match bytes_of(&request) % 3 {
                    0 => StatusCode::OK,
                    1 => StatusCode::BUSY_HERE,
                    _ => StatusCode::NOT_FOUND,
                };
                let response = Response::to(&request, status);
                let out = endpoint.handle(base(), Input::Respond { key, response });
                answered(endpoint, out);
            }
            Output::Transmit { bytes, .. } => {
                Message::parse(bytes).expect("what is sent can be read");
            }
            _ => {}
        }
    }
    while let Some(due) = endpoint.deadline() {
        let _ = endpoint.handle(due, Input::Deadline);
    }
    assert_eq!(endpoint.transactions(), 0);
}

fn bytes_of(request: &Request) -> usize {
    request.body.len() + request.headers.iter().count()
}

/// Reads everything that can be read of a message.
fn read(message: &Message) {
    let written = message.write();
    let again = Message::parse(written.clone()).expect("what is written can be read");
    assert_eq!(again, *message);
    assert_eq!(again.write(), written);
    match message {
        Message::Request(request) => {
            let _ = (request.vias(), request.routes(), request.record_routes());
            let _ = (request.contact(), request.max_forwards(), request.rack());
            let _ = (request.refer_to(), request.replaces(), request.min_se());
            let _ = (request.diversions(), request.history());
            let _ = (request.session_expires(), request.target_dialog());
            let _ = request.tags("Supported").count();
            read_dialog(request);
        }
        Message::Response(response) => {
            let _ = (
                response.vias(),
                response.record_routes(),
                response.contact(),
            );
            let _ = (response.rseq(), response.retry_after());
            let _ = (response.session_expires(), response.min_se());
        }
    }
    for (_, value) in message.headers().iter() {
        let _ = value.parse::<Via>();
        if let Ok(replaces) = value.parse::<Replaces>() {
            let again = replaces.to_string().parse::<Replaces>();
            assert_eq!(again.as_ref(), Ok(&replaces), "{value:?}");
        }
        if let Ok(uri) = value.parse::<Uri>() {
            let _ = (uri.header("Replaces"), uri.flow_transport(), uri.host_ip());
            assert_eq!(uri.to_string().parse(), Ok(uri));
        }
        if let Ok(address) = value.parse::<NameAddr>() {
            assert_eq!(address.to_string().parse(), Ok(address), "{value:?}");
        }
    }
    let body = match message {
        Message::Request(request) => &request.body,
        Message::Response(response) => &response.body,
    };
    sdp(body);
}

fn read_dialog(request: &Request) {
    let ok = Response::to(request, StatusCode::OK);
    if let Ok(mut dialog) = Dialog::uas(request, &ok, flow(Transport::Udp)) {
        let _ = dialog.receive(request);
        let bye = dialog.request(Method::Bye).write();
        assert!(Message::parse(bye).is_ok());
    }
}

/// A description: what is written can be read again, and what goes on to another party as well.
pub fn sdp(bytes: &[u8]) {
    let Ok(description) = Description::parse(bytes) else {
        return;
    };
    let written = description.write();
    let again = Description::parse(&written).expect("what is written can be read");
    assert_eq!(again.write(), written);
    for direction in [Direction::SendRecv, Direction::Inactive] {
        let offer = description.offer_again(direction);
        Description::parse(&offer.write()).expect("our own offer can be read");
    }
    let _ = (format!("{description:?}"), description.audio());
    for security in [
        MediaSecurity::AsOffered,
        MediaSecurity::Never,
        MediaSecurity::Always,
    ] {
        forwarded(&description, security);
    }
}

/// What goes on can be read again, and with the offer as its own answer both legs agree.
fn forwarded(description: &Description, security: MediaSecurity) {
    let rtp: SocketAddr = "192.0.2.1:4000".parse().expect("an address");
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

/// A Content-Type on the first line, the body behind it: the part that is found lies inside, and
/// something else in its place is found there again.
pub fn multipart(bytes: &[u8]) {
    let end = bytes.iter().position(|b| *b == b'\n');
    let (kind, body) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
    let kind = String::from_utf8_lossy(kind);
    for media_type in ["application/sdp", "application/rs-metadata+xml"] {
        let Some(place) = parts::place_of(media_type, kind.trim(), body) else {
            continue;
        };
        assert!(place.start <= place.end && place.end <= body.len());
        if place.is_empty() {
            continue;
        }
        let mut other = body[..place.start].to_vec();
        other.extend_from_slice(b"v=0");
        other.extend_from_slice(&body[place.end..]);
        let again = parts::place_of(media_type, kind.trim(), &other);
        assert_eq!(again, Some(place.start..place.start + 3));
        sdp(&body[place]);
    }
}
