//! What each party hears of the other, who may speak for a party, and RTCP.

mod common;

use std::sync::Arc;

use common::*;
use duolog_audio::codec::Codec;
use duolog_audio::g711::{self, Law};
use duolog_audio::prompt::Prompt;
use duolog_media::*;
use duolog_rtp::rtcp::Report;
use duolog_rtp::{PayloadType, Ssrc, rtcp};

#[test]
fn relayed_packets_have_our_source_and_keep_their_distances() {
    let mut world = World::new(Sabotage::None);
    let voice = Voice::of(OWNER);
    // One lost, two swapped, one twice; numbers and time stamps wrap on both sides.
    let order = [0, 1, 3, 2, 5, 5, 6, 30, 40, 39];
    for index in order {
        let (_, leg, bytes) = voice.packet(index);
        world.receive(rtp_port(leg), home(leg), &bytes);
    }
    let heard = world.heard_by(OTHER);
    assert_eq!(heard.len(), order.len());
    for (&index, (_, view)) in order.iter().zip(&heard) {
        assert_eq!(view.ssrc(), Ssrc(0xd000 + OTHER.0 as u32));
        assert_eq!(view.seq().0, 65_000_u16.wrapping_add(index as u16));
        let timestamp = (u32::MAX - 1_000).wrapping_add(160 * index as u32);
        assert_eq!(view.timestamp().0, timestamp);
        assert_eq!(view.payload_type(), PayloadType(0));
        let (_, _, sent) = voice.packet(index);
        assert_eq!(view.payload(), &sent[12..]);
    }
    assert!(heard[0].1.marker(), "the first packet begins a talk spurt");
    assert!(heard[1..].iter().all(|(_, view)| !view.marker()));
    assert_eq!(world.sent[0].to, home(OTHER));
    assert_eq!(world.shard.counters().relayed, order.len() as u64);
}

#[test]
fn another_source_goes_on_without_a_hole() {
    let mut world = World::new(Sabotage::None);
    let first = Voice::of(OWNER);
    let second = Voice {
        ssrc: 0xbeef,
        first_seq: 9,
        first_timestamp: 5,
        from_us: 300_000,
        ..first
    };
    let mut flow = first.packets(10);
    flow.extend(second.packets(10));
    // A straggler of the first source neither switches back nor is heard.
    flow.push((310_000, OWNER, first.packet(10).2));
    world.deliver(flow);
    let heard = world.heard_by(OTHER);
    assert_eq!(heard.len(), 20);
    let (_, last) = &heard[9];
    let (_, next) = &heard[10];
    assert_eq!(next.seq(), last.seq().next());
    assert!(next.marker());
    // 120 ms between the two packets: 960 ticks.
    assert_eq!(next.timestamp().since(last.timestamp()), 960);
    assert_eq!(world.dropped(DropReason::StaleSource), 1);
}

#[test]
fn only_the_negotiated_peer_is_heard() {
    let mut world = World::new(Sabotage::None);
    let voice = Voice::of(OWNER);
    let port = rtp_port(OWNER);
    let thief = address("203.0.113.66:4000");
    let natted = address("10.0.0.1:61000");
    world.receive(port, thief, &voice.packet(0).2);
    // Neither a wrong payload type nor noise latches.
    world.receive(port, natted, &rtp(1, 1, 1, 99, &[0; 160]));
    world.receive(port, natted, b"noise");
    assert_eq!(world.connects, []);
    assert_eq!(world.dropped(DropReason::WrongAddress), 1);
    assert_eq!(world.dropped(DropReason::PayloadType), 1);
    assert_eq!(world.dropped(DropReason::Malformed), 1);
    world.receive(port, natted, &voice.packet(1).2);
    let latched = Connect {
        port,
        peer: Some(natted),
    };
    assert_eq!(world.connects, [latched]);
    // From now on not even the signalled address.
    for (index, from) in [(2, thief), (3, home(OWNER)), (4, address("10.0.0.1:61002"))] {
        world.receive(port, from, &voice.packet(index).2);
    }
    assert_eq!(world.dropped(DropReason::WrongAddress), 4);
    assert_eq!(world.heard_by(OTHER).len(), 1);
    let back = Voice::of(OTHER);
    world.receive(rtp_port(OTHER), home(OTHER), &back.packet(0).2);
    assert_eq!(world.sent.last().map(|sent| sent.to), Some(natted));
    // A re-INVITE that moves the peer opens the latch; one that does not, does not.
    world.command(Command::Connect {
        leg: OWNER,
        peer: peer(OWNER, mulaw()),
    });
    let connects = world.connects.len();
    assert_eq!(
        world.connects.last().and_then(|last| last.peer),
        Some(home(OTHER))
    );
    let mut moved = peer(OWNER, mulaw());
    moved.rtp = address("10.0.0.77:9000");
    world.command(Command::Connect {
        leg: OWNER,
        peer: moved,
    });
    assert_eq!(world.connects[connects], Connect { port, peer: None });
    world.receive(port, address("10.0.0.77:9000"), &voice.packet(5).2);
    assert_eq!(world.heard_by(OTHER).len(), 2);
    let first = world
        .events
        .iter()
        .filter(|(_, event)| *event == Event::FirstPacket { leg: OWNER });
    assert_eq!(first.count(), 1);
}

#[test]
fn payload_types_are_translated_and_laws_too() {
    let mut world = World::new(Sabotage::None);
    let mut formats = alaw();
    formats.push(format(110, Encoding::Speech(Codec::Pcmu)));
    world.command(Command::Connect {
        leg: OTHER,
        peer: peer(OTHER, formats),
    });
    let voice = Voice::of(OWNER);
    world.deliver(voice.packets(1));
    world.receive(
        rtp_port(OWNER),
        home(OWNER),
        &rtp(
            voice.ssrc,
            65_501,
            voice.first_timestamp,
            101,
            &[1, 10, 0, 160],
        ),
    );
    let heard = world.heard_by(OTHER);
    assert_eq!(heard[0].1.payload_type(), PayloadType(110));
    assert_eq!(heard[1].1.payload_type(), PayloadType(96));
    assert_eq!(heard[1].1.payload(), [1, 10, 0, 160]);
    world.command(Command::Connect {
        leg: OTHER,
        peer: peer(OTHER, alaw()),
    });
    world.deliver(vec![voice.packet(2)]);
    let heard = world.heard_by(OTHER);
    let (_, recoded) = &heard[2];
    assert_eq!(recoded.payload_type(), PayloadType(8));
    for (offset, &code) in recoded.payload().iter().enumerate() {
        let original = voice.sample(320 + offset as u64);
        assert_eq!(code, g711::encode(Law::Alaw, original));
    }
}

#[test]
fn a_party_that_wants_nothing_gets_nothing() {
    let mut world = World::new(Sabotage::None);
    let mut held = peer(OTHER, mulaw());
    held.direction = Direction::SendOnly;
    world.command(Command::Connect {
        leg: OTHER,
        peer: held,
    });
    world.deliver(Voice::of(OWNER).packets(5));
    assert_eq!(world.heard_by(OTHER).len(), 0);
    assert_eq!(world.dropped(DropReason::Suppressed), 5);
    world.deliver(Voice::of(OTHER).packets(5));
    assert_eq!(world.heard_by(OWNER).len(), 5);
}

fn name_and_goodbye(ssrc: Ssrc) -> [Report; 2] {
    let cname = "a".into();
    let (ssrcs, reason) = (vec![ssrc], Default::default());
    [
        Report::Description { ssrc, cname },
        Report::Goodbye { ssrcs, reason },
    ]
}

#[test]
fn reports_carry_real_figures_and_the_round_trip_is_measured() {
    let mut world = World::new(Sabotage::None);
    let (owner, other) = (Voice::of(OWNER), Voice::of(OTHER));
    let mut flow = owner.packets(600);
    flow.extend(other.packets(600));
    flow.retain(|&(at, leg, _)| leg != OWNER || at % 200_000 != 100_000);
    world.deliver(flow);
    let is_report = |sent: &&Sent| sent.port == PortId(1);
    let sent: Vec<Sent> = world.sent.iter().filter(is_report).cloned().collect();
    assert!((2..=5).contains(&sent.len()), "{} reports", sent.len());
    assert_eq!(sent[0].to, address("10.0.0.1:4001"));
    let last = &sent[sent.len() - 1];
    let reports = rtcp::parse(&last.bytes).expect("a compound packet");
    let Report::Sender {
        ssrc,
        figures,
        blocks,
    } = &reports[0]
    else {
        panic!("a leg that sends writes an SR");
    };
    assert_eq!(*ssrc, Ssrc(0xd000 + OWNER.0 as u32));
    // 50 packets a second from the other party; one in ten of the owner's is lost.
    let expected = last.at_us / 20_000 + 1;
    assert!(figures.packets.abs_diff(expected as u32) <= 1);
    assert_eq!(figures.octets, figures.packets * 160);
    assert_eq!(blocks[0].ssrc, Ssrc(owner.ssrc));
    assert!(
        (22..30).contains(&blocks[0].fraction_lost),
        "{:?}",
        blocks[0]
    );
    assert!(matches!(&reports[1], Report::Description { cname, .. } if cname == "duolog"));
    // The peer's answer comes after 20 ms on the way and the rest in the peer.
    let in_peer_us = world.now_us - last.at_us - 20_000;
    let answer = Report::Receiver {
        ssrc: Ssrc(owner.ssrc),
        blocks: vec![rtcp::Block {
            ssrc: *ssrc,
            fraction_lost: 7,
            cumulative_lost: 3,
            highest_seq: 1,
            jitter_ticks: 9,
            last_sr: figures.ntp.middle(),
            delay_since_last_sr: (in_peer_us * 65_536 / 1_000_000) as u32,
        }],
    };
    let [cname, bye] = name_and_goodbye(Ssrc(owner.ssrc));
    let mut buffer = [0; 256];
    let len = rtcp::write(&[answer, cname, bye], &mut buffer).expect("it fits");
    world.receive(PortId(1), address("203.0.113.1:4001"), &buffer[..len]);
    assert_eq!(world.shard.counters().rtcp_received, 0);
    world.receive(PortId(1), address("10.0.0.1:4001"), &buffer[..len]);
    let figures = world.shard.leg_figures(OWNER).expect("the leg");
    let reported = figures.reported.expect("a report");
    let round_trip = reported.round_trip.expect("a round trip");
    assert!(
        (18..=22).contains(&round_trip.as_millis()),
        "{round_trip:?}"
    );
    assert_eq!(reported.fraction_lost, 7);
    assert_eq!(world.shard.counters().byes, 1);
    assert!(figures.received.lost() > 50);
}

#[test]
fn rtcp_shares_the_port_where_that_was_negotiated() {
    let mut world = World::new(Sabotage::None);
    let mut shared = peer(OWNER, mulaw());
    shared.rtcp_mux = RtcpMux::Shared;
    world.command(Command::Connect {
        leg: OWNER,
        peer: shared,
    });
    let report = [Report::Receiver {
        ssrc: Ssrc(5),
        blocks: Vec::new(),
    }];
    let mut buffer = [0; 64];
    let len = rtcp::write(&report, &mut buffer).expect("it fits");
    for from in [home(OWNER), address("203.0.113.1:1")] {
        world.receive(rtp_port(OWNER), from, &buffer[..len]);
    }
    assert_eq!(world.shard.counters().rtcp_received, 1);
    assert_eq!(world.dropped(DropReason::WrongAddress), 1);
    world.run_to(8_000_000);
    let reports = world.sent.iter().filter(|sent| rtcp::is_rtcp(&sent.bytes));
    let ours: Vec<_> = reports.filter(|sent| sent.to == home(OWNER)).collect();
    assert!(!ours.is_empty());
    assert!(ours.iter().all(|sent| sent.port == rtp_port(OWNER)));
}

#[test]
fn a_peer_that_vanishes_is_told_of_once() {
    let mut world = World::new(Sabotage::None);
    world.deliver(Voice::of(OWNER).packets(10));
    world.run_to(100_000_000);
    let told = |leg| {
        let events = world.events.iter();
        events
            .filter(|(_, event)| *event == Event::MediaTimeout { leg })
            .map(|&(at, _)| at)
            .collect::<Vec<_>>()
    };
    assert_eq!(told(OWNER), [30_180_000]);
    assert_eq!(told(OTHER), [30_000_000]);
}

#[test]
fn commands_for_what_is_not_there_are_counted() {
    let mut world = World::new(Sabotage::None);
    let nobody = LegKey(99);
    let commands = [
        Command::Connect {
            leg: nobody,
            peer: peer(OWNER, mulaw()),
        },
        Command::Bridge {
            a: OWNER,
            b: nobody,
        },
        Command::TakeDigits { leg: nobody },
        Command::SendDigits {
            leg: nobody,
            digits: Vec::new(),
        },
        Command::Play {
            leg: nobody,
            play: PlayKey(1),
            sound: Arc::new(Prompt::from_linear(vec![0; 160])),
            how: How::Instead,
        },
        Command::StopPlaying { leg: nobody },
        Command::Close { leg: nobody },
        Command::Record {
            recording: RecordingKey(0),
            command: RecordingCommand::Start,
        },
    ];
    let count = commands.len() as u64;
    for command in commands {
        world.command(command);
    }
    world.open(OWNER);
    assert_eq!(world.dropped(DropReason::Command), count + 1);
    world.deliver(Voice::of(OWNER).packets(1));
    assert_eq!(world.heard_by(OTHER).len(), 1);
}

#[test]
fn a_leg_says_goodbye_and_its_ports_are_free_again() {
    let mut world = World::new(Sabotage::None);
    world.deliver(Voice::of(OTHER).packets(5));
    world.command(Command::Close { leg: OWNER });
    let bye = world.sent.last().expect("a goodbye");
    assert_eq!(bye.to, address("10.0.0.1:4001"));
    let reports = rtcp::parse(&bye.bytes).expect("a compound packet");
    assert!(matches!(reports.last(), Some(Report::Goodbye { .. })));
    world.deliver(vec![Voice::of(OTHER).packet(5)]);
    world.receive(rtp_port(OWNER), home(OWNER), &Voice::of(OWNER).packet(0).2);
    assert_eq!(world.dropped(DropReason::UnknownPort), 1);
    world.open(OWNER);
    assert_eq!(world.shard.legs(), 2);
}

#[test]
fn fifty_thousand_mutated_datagrams_do_no_harm() {
    let mut world = World::new(Sabotage::None);
    for leg in [OWNER, OTHER] {
        world.command(Command::TakeDigits { leg });
    }
    let mut shared = peer(OWNER, mulaw());
    shared.rtcp_mux = RtcpMux::Shared;
    world.command(Command::Connect {
        leg: OWNER,
        peer: shared,
    });
    world.record(RecordingCommand::Start);
    let mut dice = Dice(0x0dd_ba11);
    let report = [Report::Receiver {
        ssrc: Ssrc(5),
        blocks: Vec::new(),
    }];
    let mut compound = [0; 64];
    let len = rtcp::write(&report, &mut compound).expect("it fits");
    for round in 0..50_000_u64 {
        let leg = [OWNER, OTHER][dice.below(2) as usize];
        let voice = Voice::of(leg);
        let mut bytes = match dice.below(4) {
            0 => compound[..len].to_vec(),
            1 => rtp(
                voice.ssrc,
                round as u16,
                160 * round as u32,
                101,
                &[1, 0x80, 3, 32],
            ),
            _ => voice.packet(round / 4).2,
        };
        for _ in 0..dice.below(4) {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] = dice.next() as u8;
        }
        if dice.below(8) == 0 {
            bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize);
        }
        world.run_to(round * 2_500);
        let port = PortId(rtp_port(leg).0 + u32::from(dice.below(8) == 0));
        let from = match port.0 % 2 {
            0 => home(leg),
            _ => address(&format!("{}:4001", home(leg).ip())),
        };
        world.receive(port, from, &bytes);
        match dice.below(2_000) {
            0 => world.record(RecordingCommand::Pause),
            1 => world.record(RecordingCommand::Resume),
            _ => {}
        }
        world.sent.clear();
    }
    world.close();
    let counters = *world.shard.counters();
    assert_eq!(counters.received, 50_000);
    let (end, totals) = world.totals();
    assert!(end >= 999_000, "{end}");
    // Some of them only after their place was final.
    let came = totals.owner.received + totals.owner.late;
    assert!(came > 5_000, "{totals:?} {counters:?}");
    assert!(totals.owner.received > 4_900, "{totals:?} {counters:?}");
    assert_in_order(&world, end);
}

/// Whatever came: blocks follow one another without a hole, and gaps of a channel do not overlap.
fn assert_in_order(world: &World, end: u64) {
    let mut next = 0;
    for entry in &world.entries {
        let Entry::Block(block) = entry else { continue };
        assert_eq!(block.position, next);
        next += u64::from(block.samples);
    }
    assert_eq!(next, end);
    for channel in Channel::BOTH {
        let mut covered = 0;
        for (position, samples, _) in world.gaps(channel) {
            assert!(position >= covered, "gaps of a channel do not overlap");
            covered = position + samples;
        }
        assert!(covered <= end);
    }
}
