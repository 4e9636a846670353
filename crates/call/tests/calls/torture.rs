//! What the engine does with those torture messages (RFC 4475, RFC 5118) that its endpoint lets pass:
//! the last column of `fixtures/sip/torture.md`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use duolog_call::{Engine, Input, MediaCommand, MediaEvent, Output, Settings, TrunkIndex};
use duolog_sip::{Flow, Message, Transport};

use crate::world::{NODE, settings};

/// Everybody is the first trunk's, and every number that is nobody's goes to the second one.
fn open_settings() -> Settings {
    let mut settings = settings();
    let mut second = settings.trunks[0].clone();
    second.name = "beyond".to_owned();
    settings.trunks.push(second);
    settings.trunks[0].networks = vec!["203.0.113.0/24".parse().unwrap()];
    settings.trunks[1].destination = (Transport::Udp, "192.0.2.77:5060".parse().unwrap()).into();
    settings.next_hop = Some(TrunkIndex(1));
    settings
}

/// What becomes of a message: the first final status it is answered with, or `INVITE` where somebody
/// is called because of it, or `nothing`.
fn done(bytes: Vec<u8>) -> String {
    let settings = open_settings();
    let now = settings.epoch.at;
    let mut engine = Engine::new(Arc::new(settings), [3; 32]);
    let flow = Flow {
        transport: Transport::Udp,
        local: NODE.parse().unwrap(),
        peer: "203.0.113.5:5060".parse().unwrap(),
    };
    let bytes = Bytes::from(bytes);
    let mut inputs = vec![Input::Sip { flow, bytes }];
    let mut port = 20_000;
    while let Some(input) = inputs.pop() {
        for output in engine.handle(now, input) {
            match output {
                Output::Send { bytes, .. } => match Message::parse(bytes).expect("it is ours") {
                    Message::Request(request) => return request.method.to_string(),
                    Message::Response(response) if response.status.is_final() => {
                        return response.status.code().to_string();
                    }
                    Message::Response(_) => {}
                },
                Output::Media(MediaCommand::OpenLeg { leg, .. }) => {
                    port += 2;
                    let at = |port| (std::net::Ipv4Addr::new(192, 0, 2, 99), port).into();
                    let (rtp, rtcp) = (at(port), at(port + 1));
                    inputs.push(Input::Media(MediaEvent::LegOpened { leg, rtp, rtcp }));
                }
                Output::Media(_)
                | Output::Log(_)
                | Output::Resolve { .. }
                | Output::Controlled { .. } => {}
            }
        }
    }
    "nothing".to_owned()
}

/// What the table says in words, as [`done`] says it.
fn wanted(then: &str) -> &str {
    let number = then
        .get(..3)
        .filter(|code| code.bytes().all(|b| b.is_ascii_digit()));
    match number {
        Some(code) => code,
        // Nobody is bound who has not said a password.
        None if then.contains("bound") => "401",
        None => "INVITE",
    }
}

#[test]
fn what_the_endpoint_lets_pass_is_answered_as_the_table_says() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/sip");
    let table = fs::read_to_string(fixtures.join("torture.md")).unwrap();
    let rows = table.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        match columns[..] {
            [_, name, _, _, endpoint, then, _] if endpoint.starts_with("request ") => {
                Some((name.to_owned(), then.to_owned()))
            }
            _ => None,
        }
    });
    let rows: Vec<(String, String)> = rows.collect();
    assert!(rows.len() >= 38, "{}", rows.len());
    let mut wrong = Vec::new();
    for (name, then) in rows {
        let found = done(fs::read(fixtures.join(format!("{name}.sip"))).unwrap());
        println!("{name}: {then}: {found}");
        if found != wanted(&then) {
            wrong.push(format!("{name}: {then}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
