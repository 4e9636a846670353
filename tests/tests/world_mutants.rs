//! Ten thousand broken SIP messages and as many broken RTP and RTCP packets into a node with a call
//! up: no panic, no leak, OPTIONS is answered, the call's recording is untouched (issue 2,
//! acceptance 10, in the world).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use duolog::phone::{Action, By, Change, Subscription};
use duolog_archive::{EndState, RequestedFormat};
use duolog_rtp::packet::View;
use duolog_sip::Method;
use duolog_tests::world::World;
use duolog_tests::world::dice::Dice;
use duolog_tests::world::judge::judge;
use duolog_tests::world::kept::finish;
use duolog_tests::world::net::Kind;
use duolog_tests::world::scene::{Desk, Limits, Scene, Wanted, desk, outside};

const MUTANTS: usize = 10_000;

fn stranger() -> SocketAddr {
    ([10, 9, 9, 9], 5_060).into()
}

/// One to four faults.
fn mutate(dice: &mut Dice, whole: &[u8], other: &[u8]) -> Bytes {
    let mut bytes = whole.to_vec();
    for _ in 0..dice.between(1, 4) {
        let at = dice.below(bytes.len() as u64 + 1) as usize;
        let end = (at + dice.below(40) as usize).min(bytes.len());
        match dice.below(9) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => {
                let noise: Vec<u8> = (0..dice.below(20)).map(|_| dice.draw() as u8).collect();
                bytes.splice(at..at, noise);
            }
            4 => {
                let cut = dice.below(other.len() as u64 + 1) as usize;
                bytes.splice(at..end, other[cut..].iter().copied());
            }
            5 => lines(dice, &mut bytes),
            6 => {
                let odd: [&[u8]; 6] = [
                    b"99999999999999999999",
                    b"-1",
                    b"\0",
                    b"\r\n",
                    b"\xff\xfe",
                    b"%00\"",
                ];
                let odd = odd[dice.below(6) as usize];
                bytes.splice(at..end, odd.iter().copied());
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
    }
    bytes.truncate(60_000);
    bytes.into()
}

/// Lines are doubled, swapped or left out.
fn lines(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let [a, b] = [0, 0].map(|_| dice.below(lines.len() as u64) as usize);
    match dice.below(3) {
        0 => lines.swap(a, b),
        1 => lines.insert(a, lines[b].clone()),
        _ => drop(lines.remove(a)),
    }
    *bytes = lines.join(&b'\n');
}

/// A world after one call, of which there are examples, and with another call up.
fn world_with_a_call(seed: u64) -> (World, [Vec<Bytes>; 2]) {
    let scene = Scene::new(seed, Desk::quiet());
    let mut world = Scene {
        desks: vec![Desk::quiet(); 3],
        trunk_phones: 3,
        // What is behind the limits is to be reached.
        wanted: Wanted {
            limits: Limits::Off,
            ..scene.wanted
        },
        ..scene
    }
    .build();
    world.act(desk(1), Action::Register { expires_s: 600 });
    world.call(outside(1), "101");
    world.run_ms(1_000);
    for action in [
        Action::Hold,
        Action::Retrieve,
        Action::Record {
            value: "pause".into(),
        },
    ] {
        world.act(desk(1), action);
        world.run_ms(300);
    }
    world.act(
        desk(1),
        Action::Press {
            digits: "12".into(),
        },
    );
    world.run_ms(6_000);
    let (by, change) = (By::Update, Change::Refresh);
    world.act(desk(1), Action::Alter { by, change });
    world.act(
        desk(1),
        Action::Send {
            method: Method::Message,
            headers: Vec::new(),
            body: Some(("text/plain".into(), "hello".into())),
        },
    );
    let refer = Action::Refer {
        to: "sip:102@10.0.0.1".parse().expect("a URI"),
        replaces: world.phone(outside(1)).as_replaced(),
        subscription: Subscription::Active,
    };
    world.act(outside(1), refer);
    world.run_ms(1_000);
    world.act(outside(1), Action::HangUp);
    world.act(desk(1), Action::Register { expires_s: 0 });
    world.run_ms(1_000);
    world.call(outside(2), "102");
    world.run_ms(150);
    world.act(outside(2), Action::Cancel);
    world.run_out();
    let examples = [Kind::Sip, Kind::Media].map(|kind| world.net.overheard(kind).to_vec());
    world.call(outside(0), "100");
    world.run_ms(2_000);
    (world, examples)
}

fn options(n: usize) -> Bytes {
    Bytes::from(format!(
        "OPTIONS sip:10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.9.9:5060;branch=z9hG4bK-o{n};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:probe@10.9.9.9>;tag=o{n}\r\nTo: <sip:10.0.0.1>\r\n\
         Call-ID: options-{n}@10.9.9.9\r\nCSeq: 1 OPTIONS\r\nContact: <sip:probe@10.9.9.9>\r\n\
         Content-Length: 0\r\n\r\n"
    ))
}

/// Asks whether the node is well, as a neighbour would.
fn assert_well(world: &mut World, n: usize) {
    world.throw_sip(stranger(), options(n));
    world.run_ms(20);
    let call_id = format!("options-{n}@");
    let answer = world.strangers().iter().rev().find_map(|(to, bytes)| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        (*to == stranger() && text.contains(&call_id)).then_some(text)
    });
    let answer = answer.unwrap_or_else(|| panic!("OPTIONS {n} was not answered"));
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
}

/// The call that was up when it began is recorded to the sample.
fn assert_unharmed(mut world: World, call: usize) {
    world.run_ms(1_000);
    assert!(!world.phone(desk(call)).is_idle(), "the call is still up");
    for who in world.everyone().collect::<Vec<_>>() {
        if !world.phone(who).is_idle() {
            world.act(who, Action::HangUp);
        }
    }
    world.run_out();
    let wanted = world
        .phone(outside(call))
        .call_id()
        .expect("it called")
        .to_owned();
    let kept = finish(&world, RequestedFormat::WavAsReceived);
    let one = kept
        .iter()
        .find(|kept| kept.manifest.call.call_id == wanted);
    let one = one.expect("the call has a recording");
    let verdict = judge(&world, one);
    assert!(verdict.faults.is_empty(), "{:#?}", verdict.faults);
    assert_eq!(
        (one.manifest.state, verdict.unkept),
        (EndState::Complete, [0, 0])
    );
    assert!(
        verdict.exact.iter().all(|exact| *exact > 8_000 * 20),
        "{verdict:?}"
    );
    println!(
        "{} recordings; the call of the test: {:?} samples exact",
        kept.len(),
        verdict.exact
    );
}

#[test]
fn ten_thousand_broken_sip_messages() {
    let (mut world, [sip, _]) = world_with_a_call(600);
    assert!(sip.len() > 15, "{} examples", sip.len());
    let mut dice = Dice::new(601);
    let neighbours = [
        stranger(),
        ([10, 0, 2, 1], 5_060).into(),
        ([10, 0, 1, 2], 5_060).into(),
    ];
    let mut most = 0;
    for n in 0..MUTANTS {
        let [a, b] = [0, 0].map(|_| dice.below(sip.len() as u64) as usize);
        let bytes = mutate(&mut dice, &sip[a], &sip[b]);
        world.throw_sip(neighbours[n % neighbours.len()], bytes);
        world.run(Duration::from_micros(dice.below(10_000)));
        most = most.max(world.node.calls());
        if n % 500 == 0 {
            world.check();
            assert_well(&mut world, n);
        }
    }
    assert_well(&mut world, MUTANTS);
    println!("{MUTANTS} broken SIP messages made at most {most} calls at once");
    assert_unharmed(world, 0);
}

#[test]
fn ten_thousand_broken_media_packets() {
    let (mut world, [_, media]) = world_with_a_call(610);
    // A second call takes from its own peer whatever comes; the first only what is no packet.
    world.call(outside(2), "102");
    world.run_ms(1_500);
    let ports = world.node.media_ports();
    assert_eq!(ports.len(), 8, "two calls of two legs: {ports:?}");
    let mut dice = Dice::new(611);
    let mut malformed = 0;
    for n in 0..MUTANTS {
        let [a, b] = [0, 0].map(|_| dice.below(media.len() as u64) as usize);
        let bytes = mutate(&mut dice, &media[a], &media[b]);
        let no_packet = View::parse(&bytes).is_err();
        malformed += usize::from(no_packet);
        let port = dice.below(8) as usize;
        let (is_rtcp, is_first) = (port % 2 == 1, port < 4);
        let whose = if is_first { 0 } else { 2 };
        let peers = [desk(whose), outside(whose)].map(|who| world.rtp_of(who));
        for mut peer in peers {
            if is_rtcp {
                peer.set_port(peer.port() + 1);
            }
            let from = if is_first && !is_rtcp && !no_packet {
                stranger()
            } else {
                peer
            };
            world.throw_media(from, ports[port], &bytes);
        }
        world.throw_media(stranger(), ports[port], &bytes);
        world.run(Duration::from_micros(dice.below(5_000)));
        if n % 500 == 0 {
            world.check();
            assert_well(&mut world, n);
        }
    }
    assert_well(&mut world, MUTANTS);
    println!("{MUTANTS} broken packets, {malformed} of them no RTP at all");
    assert!((500..5_000).contains(&malformed), "{malformed}");
    assert_unharmed(world, 0);
}
