//! What the tests of this crate share: an instant to count from, flows, an endpoint, fixtures.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod mutator;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_sip::endpoint::Output;
use duolog_sip::{Endpoint, EndpointSettings, Flow, Message, Request, Response, Timers, Transport};

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made from a number"
)]
pub fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

pub fn at(ms: u64) -> Instant {
    base() + Duration::from_millis(ms)
}

pub fn flow(transport: Transport, local: &str, peer: &str) -> Flow {
    Flow {
        transport,
        local: local.parse().unwrap(),
        peer: peer.parse().unwrap(),
    }
}

pub fn endpoint(address: &str, seed: u8) -> Endpoint {
    let address: std::net::SocketAddr = address.parse().unwrap();
    let settings = EndpointSettings {
        own: vec![(Transport::Udp, address), (Transport::Tcp, address)],
        server_name: "duolog".into(),
        timers: Timers::default(),
    };
    Endpoint::new(settings, [seed; 32])
}

pub fn request(bytes: impl Into<Bytes>) -> Request {
    match Message::parse(bytes.into()) {
        Ok(Message::Request(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

pub fn response(bytes: impl Into<Bytes>) -> Response {
    match Message::parse(bytes.into()) {
        Ok(Message::Response(response)) => response,
        other => panic!("not a response: {other:?}"),
    }
}

/// The folder of the fixtures.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/sip")
}

/// Every `.sip` fixture in order, by name with its folder: `rfc4475/wsinv`.
pub fn fixtures() -> Vec<(String, Bytes)> {
    let mut list = Vec::new();
    for part in ["", "rfc4475/", "rfc5118/"] {
        for entry in std::fs::read_dir(folder().join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "sip") {
                let name = path.file_stem().unwrap().to_string_lossy();
                list.push((
                    format!("{part}{name}"),
                    std::fs::read(&path).unwrap().into(),
                ));
            }
        }
    }
    list.sort();
    list
}

/// The fixture of that name, with or without its folder.
pub fn fixture(name: &str) -> Bytes {
    fixtures()
        .into_iter()
        .find(|(n, _)| n == name || n.ends_with(&format!("/{name}")))
        .unwrap_or_else(|| panic!("no {name}"))
        .1
}

/// One line per output, without bytes.
pub fn short(output: &Output) -> String {
    match output {
        Output::Transmit { bytes, .. } => {
            let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line).into_owned();
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "SIP/2.0" => format!("send {}", words[1]),
                method => format!("send {method}"),
            }
        }
        Output::Request { request, .. } => format!("request {}", request.method),
        Output::Acked { .. } => "acked".into(),
        Output::Cancelled { .. } => "cancelled".into(),
        Output::Response { response, .. } => format!("response {}", response.status),
        Output::ClientFailed { failure, .. } => format!("client failed {failure:?}"),
        Output::ServerFailed { failure, .. } => format!("server failed {failure:?}"),
        Output::Unpracked { .. } => "unpracked".into(),
        Output::Dropped(reason) => format!("dropped {reason:?}"),
    }
}

pub fn shorts(outputs: &[Output]) -> Vec<String> {
    outputs.iter().map(short).collect()
}
