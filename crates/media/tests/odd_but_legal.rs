//! What telephones and gateways are allowed to do and seldom do: nothing of it may cost audio.

mod common;

use std::sync::Arc;

use common::*;
use duolog_audio::prompt::Prompt;
use duolog_audio::tone;
use duolog_media::*;
use duolog_rtp::event::{Digit, Phase, TelephoneEvent};
use duolog_rtp::packet::View;
use duolog_rtp::rtcp::{self, Report};
use duolog_rtp::{PayloadType, RtpTimestamp};

/// The packets of one key, as telephones send them: an update every 20 ms, the end three times.
fn key(
    voice: &Voice,
    at_us: u64,
    (seq, timestamp): (u16, u32),
    updates: u16,
) -> Vec<(u64, LegKey, Vec<u8>)> {
    let packet = |n: u16| {
        let event = TelephoneEvent {
            event: 5,
            phase: match n >= updates {
                true => Phase::Released,
                false => Phase::Held,
            },
            volume: 10,
            duration_ticks: 160 * n.min(updates),
        };
        let seq = seq.wrapping_add(n - 1);
        let bytes = rtp(voice.ssrc, seq, timestamp, 101, &event.write());
        (at_us + 20_000 * u64::from(n), voice.leg, bytes)
    };
    (1..=updates + 2).map(packet).collect()
}

fn is_event(view: &View<'_>) -> bool {
    view.payload_type() == PayloadType(101)
}

fn start(world: &mut World) {
    world.record(RecordingCommand::Start);
}

#[test]
fn rtcp_on_the_rtp_port_and_other_foreign_packets_unseat_nobody() {
    let foreign: [Vec<u8>; 3] = [
        // A sender report: where RTP has its SSRC this has a time of day.
        [
            &[0x80, 200, 0, 6, 0, 0, 0xa0, 1][..],
            &[0xe9, 0x11, 0x22, 0x33],
            &[0; 16],
        ]
        .concat(),
        rtp(0x5555, 7, 9, 13, &[0]),
        rtp(0x5555, 8, 9, 0, &[]),
    ];
    for packet in foreign {
        let mut world = World::new(Sabotage::None);
        start(&mut world);
        let voice = Voice::of(OWNER);
        let mut flow = voice.packets(100);
        flow.push((990_000, OWNER, packet));
        world.deliver(flow);
        world.close();
        let [left, _] = world.kept();
        assert_voice(&left, 0, &voice, 0, 16_000);
        assert_eq!(world.dropped(DropReason::StaleSource), 0);
        let heard = world.heard_by(OTHER);
        assert_eq!(heard.len(), 100);
        assert_eq!(heard[99].1.seq().0, heard[0].1.seq().0.wrapping_add(99));
    }
}

#[test]
fn keys_with_a_source_of_their_own_cost_no_speech() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let keys = Voice {
        ssrc: 0x7777,
        ..voice
    };
    let mut flow = voice.packets(100);
    // The gateway sends no speech during the key; its time goes on.
    flow.retain(|&(at, ..)| !(1_000_000..1_100_000).contains(&at));
    for (index, packet) in flow.iter_mut().enumerate().skip(50) {
        let seq = voice.first_seq.wrapping_add(index as u16);
        packet.2[2..4].copy_from_slice(&seq.to_be_bytes());
    }
    flow.extend(key(
        &keys,
        980_000,
        (1, voice.first_timestamp.wrapping_add(8_000)),
        3,
    ));
    world.deliver(flow);
    world.close();
    let [left, _] = world.kept();
    assert_voice(&left, 0, &voice, 0, 8_000);
    assert_voice(&left, 8_800, &voice, 8_800, 7_200);
    assert_eq!(world.dropped(DropReason::StaleSource), 0);
    let heard = world.heard_by(OTHER);
    assert_eq!(heard.iter().filter(|(_, view)| is_event(view)).count(), 5);
    assert_eq!(heard.len(), 100);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].1.seq(), pair[0].1.seq().next());
    }
    let (_, totals) = world.totals();
    assert_eq!(totals.owner.lost, 0);
}

#[test]
fn stragglers_from_the_port_a_party_left_do_not_hold_it_there() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    world.deliver(voice.packets(50));
    world.run_to(995_000);
    let mut moved = peer(OWNER, mulaw());
    moved.rtp = address("10.0.0.1:6000");
    world.command(Command::Connect {
        leg: OWNER,
        peer: moved,
    });
    // It goes on from the old port until it has our answer.
    world.deliver((50..55).map(|index| voice.packet(index)).collect());
    let port = rtp_port(OWNER);
    let other = Voice::of(OTHER);
    world.receive(rtp_port(OTHER), home(OTHER), &other.packet(0).2);
    let to = |world: &World| world.sent.iter().rfind(|s| s.port == port).map(|s| s.to);
    assert_eq!(to(&world), Some(address("10.0.0.1:6000")));
    for index in 55..100 {
        let (at, _, bytes) = voice.packet(index);
        world.run_to(at);
        world.receive(port, address("10.0.0.1:6000"), &bytes);
    }
    world.close();
    let [left, _] = world.kept();
    assert_voice(&left, 0, &voice, 0, 16_000);
    assert_eq!(world.heard_by(OTHER).len(), 100);
    assert_eq!(
        world
            .connects
            .last()
            .map(|connect| (connect.port, connect.peer)),
        Some((port, Some(address("10.0.0.1:6000"))))
    );
    // The port it left belongs to anybody now.
    world.receive(port, home(OWNER), &voice.packet(100).2);
    assert_eq!(world.dropped(DropReason::WrongAddress), 1);
}

#[test]
fn a_hold_by_no_address_keeps_what_was_latched() {
    let mut world = World::new(Sabotage::None);
    let behind_nat = address("10.0.0.1:7777");
    let voice = Voice::of(OWNER);
    world.receive(rtp_port(OWNER), behind_nat, &voice.packet(0).2);
    let mut held = peer(OWNER, mulaw());
    held.rtp = address("0.0.0.0:4000");
    held.rtcp = address("0.0.0.0:4001");
    held.direction = Direction::SendOnly;
    world.command(Command::Connect {
        leg: OWNER,
        peer: held,
    });
    world.run_to(20_000_000);
    world.command(Command::Connect {
        leg: OWNER,
        peer: peer(OWNER, mulaw()),
    });
    let other = Voice::of(OTHER);
    world.receive(rtp_port(OTHER), home(OTHER), &other.packet(0).2);
    let heard = world.sent.iter().rfind(|sent| sent.port == rtp_port(OWNER));
    assert_eq!(heard.map(|sent| sent.to), Some(behind_nat));
    assert!(world.sent.iter().all(|sent| !sent.to.ip().is_unspecified()));
}

#[test]
fn a_tone_does_not_break_a_key_in_two() {
    let mut world = World::new(Sabotage::None);
    let voice = Voice::of(OWNER);
    world.deliver(voice.packets(50));
    world.run_to(1_000_000);
    world.command(Command::Play {
        leg: OTHER,
        play: PlayKey(1),
        sound: Arc::new(Prompt::tone(&tone::repeat_tone())),
        how: How::Under,
    });
    let timestamp = voice.first_timestamp.wrapping_add(8_000);
    let seq = voice.first_seq.wrapping_add(50);
    world.deliver(key(&voice, 1_000_000, (seq, timestamp), 20));
    // It went on with speech for long enough to let the tone end.
    let after = Voice {
        first_seq: seq.wrapping_add(22),
        first_timestamp: timestamp.wrapping_add(3_600),
        from_us: 1_450_000,
        ..voice
    };
    world.deliver(after.packets(40));
    let heard = world.heard_by(OTHER);
    let keys: Vec<_> = heard.iter().filter(|(_, view)| is_event(view)).collect();
    assert_eq!(keys.len(), 22);
    for (at, view) in &keys {
        assert_eq!(view.timestamp(), keys[0].1.timestamp(), "at {at}");
    }
    let ended = world.events.iter().any(|(_, event)| {
        matches!(event, Event::Played { play, completion: Completion::Whole, .. } if play.0 == 1)
    });
    assert!(ended);
}

#[test]
fn what_follows_a_key_lies_behind_it() {
    let mut world = World::new(Sabotage::None);
    let voice = Voice::of(OWNER);
    world.deliver(voice.packets(50));
    let timestamp = voice.first_timestamp.wrapping_add(8_000);
    let seq = voice.first_seq.wrapping_add(50);
    world.deliver(key(&voice, 980_000, (seq, timestamp), 30));
    world.run_to(1_630_000);
    world.command(Command::Play {
        leg: OTHER,
        play: PlayKey(1),
        sound: Arc::new(Prompt::from_linear(vec![900_i16; 1_600])),
        how: How::Instead,
    });
    let heard = world.heard_by(OTHER);
    let (before, after) = (&heard[heard.len() - 2].1, &heard[heard.len() - 1].1);
    assert!(is_event(before) && !is_event(after));
    let step = after.timestamp().since(before.timestamp());
    assert!(step >= 30 * 160, "a key of 600 ms, then {step} ticks");
    assert!(step <= 30 * 160 + 480, "{step}");
}

#[test]
fn sender_reports_tell_the_time_of_the_media_clock_during_keys_too() {
    let mut world = World::new(Sabotage::None);
    let voice = Voice::of(OWNER);
    let mut flow = voice.packets(50);
    // Ten seconds of one key: there is a report in its midst.
    let timestamp = voice.first_timestamp.wrapping_add(8_000);
    let seq = voice.first_seq.wrapping_add(50);
    flow.extend(key(&voice, 980_000, (seq, timestamp), 400));
    world.deliver(flow);
    let heard = world.heard_by(OTHER);
    let (first_at, first) = &heard[0];
    let mut reports = 0;
    for sent in world.sent.iter().filter(|sent| sent.port == PortId(3)) {
        let Report::Sender { figures, .. } = &rtcp::parse(&sent.bytes).expect("RTCP")[0] else {
            continue;
        };
        let ticks = (sent.at_us - first_at) as i64 * 8 / 1_000;
        let told = i64::from(figures.timestamp.since(first.timestamp()));
        assert!((told - ticks).abs() <= 320, "{told} for {ticks}");
        reports += 1;
    }
    assert!(reports >= 1);
}

#[test]
fn a_network_that_stood_still_changes_no_distances() {
    let mut world = World::new(Sabotage::None);
    let voice = Voice::of(OWNER);
    let mut flow = voice.packets(400);
    for packet in &mut flow {
        if (2_000_000..4_500_000).contains(&packet.0) {
            packet.0 = 4_500_000;
        }
    }
    world.deliver(flow);
    let heard = world.heard_by(OTHER);
    assert_eq!(heard.len(), 400);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].1.seq(), pair[0].1.seq().next());
        assert_eq!(pair[1].1.timestamp().since(pair[0].1.timestamp()), 160);
    }
}

#[test]
fn a_party_that_changes_its_source_all_the_time_costs_the_other_nothing() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let (owner, other) = (Voice::of(OWNER), Voice::of(OTHER));
    let mut flow = other.packets(300);
    flow.extend((0..300).map(|index| {
        let voice = Voice {
            ssrc: 0x9000 + index as u32,
            ..owner
        };
        voice.packet(index)
    }));
    world.deliver(flow);
    world.close();
    let [_, right] = world.kept();
    assert_voice(&right, 0, &other, 0, 48_000);
}

#[test]
fn digits_that_come_while_others_are_sent_are_sent_behind_them() {
    let mut world = World::new(Sabotage::None);
    for (at, event) in [(0, 4), (50_000, 5), (100_000, 6)] {
        world.run_to(at);
        world.command(Command::SendDigits {
            leg: OTHER,
            digits: vec![Digit {
                event,
                duration_ms: 100,
            }],
        });
    }
    world.run_to(1_000_000);
    let heard = world.heard_by(OTHER);
    let mut pressed: Vec<(u8, RtpTimestamp)> = heard
        .iter()
        .map(|(_, view)| (view.payload()[0], view.timestamp()))
        .collect();
    pressed.dedup();
    let keys: Vec<u8> = pressed.iter().map(|&(key, _)| key).collect();
    assert_eq!(keys, [4, 5, 6]);
    assert_eq!(world.dropped(DropReason::Command), 0);
    for pair in pressed.windows(2) {
        assert!(
            pair[1].1.since(pair[0].1) >= 800 + 400,
            "a gap between keys"
        );
    }
}

#[test]
fn a_party_that_holds_is_sent_no_keys() {
    let mut world = World::new(Sabotage::None);
    let held = [Direction::SendOnly, Direction::Inactive];
    for (until_us, direction) in [1_000_000, 2_000_000].into_iter().zip(held) {
        let peer = PeerMedia {
            direction,
            ..peer(OTHER, mulaw())
        };
        world.command(Command::Connect { leg: OTHER, peer });
        let digit = Digit {
            event: 4,
            duration_ms: 100,
        };
        world.command(Command::SendDigits {
            leg: OTHER,
            digits: vec![digit],
        });
        world.run_to(until_us);
        assert_eq!(world.heard_by(OTHER).len(), 0, "{direction:?}");
    }
}

#[test]
fn another_party_on_the_line_goes_on_without_a_hole() {
    const THIRD: LegKey = LegKey(3);
    let mut world = World::new(Sabotage::None);
    world.open(THIRD);
    world.command(Command::Connect {
        leg: THIRD,
        peer: peer(THIRD, mulaw()),
    });
    world.deliver(Voice::of(OWNER).packets(10));
    world.run_to(200_000);
    world.command(Command::Bridge { a: THIRD, b: OTHER });
    let third = Voice {
        first_seq: 20_000,
        first_timestamp: 77,
        from_us: 200_000,
        ..Voice::of(THIRD)
    };
    world.deliver(third.packets(10));
    let heard = world.heard_by(OTHER);
    assert_eq!(heard.len(), 20);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].1.seq(), pair[0].1.seq().next());
        assert_eq!(pair[1].1.timestamp().since(pair[0].1.timestamp()), 160);
    }
    assert!(heard[10].1.marker());
}

#[test]
fn packets_that_can_not_be_passed_on_are_not_taken_for_lost() {
    let mut world = World::new(Sabotage::None);
    let voice = Voice::of(OWNER);
    let mut without_keys = mulaw();
    without_keys.truncate(1);
    world.command(Command::Connect {
        leg: OTHER,
        peer: peer(OTHER, without_keys),
    });
    let mut flow = voice.packets(30);
    // A key for a party that knows none, comfort noise nobody agreed on, and an empty keep-alive.
    flow[10].2 = key(&voice, 0, (voice.first_seq.wrapping_add(10), 0), 3)[0]
        .2
        .clone();
    flow[15].2[1] = 13;
    flow[20].2.truncate(12);
    world.deliver(flow);
    let heard = world.heard_by(OTHER);
    assert_eq!(heard.len(), 27);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].1.seq(), pair[0].1.seq().next());
        let step = pair[1].1.timestamp().since(pair[0].1.timestamp());
        assert!(step == 160 || step == 320, "{step}");
    }
}

#[test]
fn keep_alives_without_speech_are_no_silence() {
    let mut world = World::new(Sabotage::None);
    let voice = Voice::of(OWNER);
    world.deliver(vec![voice.packet(0)]);
    for second in 1..40_u16 {
        world.run_to(1_000_000 * u64::from(second));
        let seq = voice.first_seq.wrapping_add(second);
        let empty = rtp(voice.ssrc, seq, voice.first_timestamp, 0, &[]);
        world.receive(rtp_port(OWNER), home(OWNER), &empty);
    }
    let timeout = Event::MediaTimeout { leg: OWNER };
    assert!(!world.events.iter().any(|&(_, event)| event == timeout));
}

#[test]
fn a_clock_that_stood_still_for_a_moment_costs_little() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let mut flow = voice.packets(200);
    // Music in a gateway that stops its clock between two pieces.
    for packet in &mut flow[100..] {
        packet.0 += 500_000;
    }
    world.deliver(flow);
    world.close();
    let [left, _] = world.kept();
    let (_, totals) = world.totals();
    assert!(totals.owner.late <= 5, "{totals:?}");
    assert_voice(&left, left.len() - 14_000, &voice, 18_000, 14_000);
}

#[test]
fn every_packet_time_is_kept_exactly() {
    for ms in [10, 20, 30, 40, 60] {
        let mut world = World::new(Sabotage::None);
        start(&mut world);
        let samples = 8 * ms;
        // Both begin to speak at once; a packet is sent when the last of it was spoken.
        let owner = Voice {
            samples,
            from_us: 1_000 * ms as u64,
            ..Voice::of(OWNER)
        };
        let other = Voice {
            from_us: 20_000,
            ..Voice::of(OTHER)
        };
        let count = 48_000 / samples as u64;
        let mut dice = Dice(ms as u64 + 1);
        let mut flow = owner.packets(count);
        for packet in flow.iter_mut().skip(1) {
            packet.0 += dice.below(60_000);
        }
        flow.extend(other.packets(300));
        world.deliver(flow);
        world.run_to(6_100_000);
        world.close();
        let [left, right] = world.kept();
        assert_voice(&left, 160, &owner, 0, 48_000);
        assert_voice(&right, 160, &other, 0, 48_000);
        let heard = world.heard_by(OTHER);
        assert_eq!(heard.len() as u64, count);
    }
}

#[test]
fn a_slow_clock_costs_next_to_nothing_in_an_hour() {
    for (ppm, allowed) in [(50_u64, 0), (200, 30)] {
        let mut world = World::new(Sabotage::None);
        start(&mut world);
        let voice = Voice::of(OWNER);
        let mut dice = Dice(ppm);
        for index in 0..180_000 {
            let (at, leg, bytes) = voice.packet(index);
            let at = at + at * ppm / 1_000_000 + dice.below(3_000);
            world.deliver(vec![(at, leg, bytes)]);
            world.sent.clear();
        }
        world.close();
        let (_, totals) = world.totals();
        assert!(totals.owner.late <= allowed, "{ppm}: {totals:?}");
    }
}

#[test]
fn a_short_standstill_moves_nothing_for_good() {
    for (slower, lost) in [(0, 26..=50), (8, 30..=90)] {
        let mut world = World::new(Sabotage::None);
        start(&mut world);
        let voice = Voice::of(OWNER);
        let mut flow = voice.packets(300);
        for (held, packet) in flow
            .iter_mut()
            .filter(|packet| packet.0 >= 2_000_000)
            .enumerate()
        {
            // At once, or as fast as a narrow line lets them.
            packet.0 = packet.0.max(2_800_000 + held as u64 * slower * 1_000);
        }
        world.deliver(flow);
        world.close();
        let [left, _] = world.kept();
        let (_, totals) = world.totals();
        assert!(lost.contains(&totals.owner.lost), "{totals:?}");
        assert_voice(&left, 0, &voice, 0, 16_000);
        assert_voice(&left, 36_000, &voice, 36_000, 12_000);
    }
}

#[test]
fn numbers_that_begin_anew_just_behind_the_newest_cost_two_packets_and_no_more() {
    let mut world = World::new(Sabotage::None);
    world.record(RecordingCommand::Start);
    let voice = Voice {
        first_seq: 100,
        ..Voice::of(OWNER)
    };
    let mut flow = voice.packets(150);
    for (index, (_, _, bytes)) in flow.iter_mut().enumerate().skip(60) {
        let seq = 110 + (index as u16 - 60);
        bytes[2..4].copy_from_slice(&seq.to_be_bytes());
    }
    world.deliver(flow);
    world.run_to(3_000_000);
    world.close();
    let [left, _] = world.kept();
    assert_voice(&left, 0, &voice, 0, 60 * 160);
    assert_silent(&left[60 * 160..62 * 160]);
    assert_voice(&left, 62 * 160, &voice, 62 * 160, 88 * 160);
    let (_, totals) = world.totals();
    assert_eq!(totals.owner.audio_ticks, 148 * 160);
}
