//! What both parties sent is what is kept: to the sample, in its place, and every gap with its reason.

mod common;

use bytes::Bytes;
use common::*;
use duolog_audio::codec::Codec;
use duolog_audio::g711::Law;
use duolog_media::*;

fn start(world: &mut World) {
    world.record(RecordingCommand::Start);
}

/// Reasons other than the tail's silence behind the last packet.
fn inner_gaps(world: &World, channel: Channel) -> Vec<(u64, u64, GapReason)> {
    let (end, _) = world.totals();
    let mut gaps = world.gaps(channel);
    gaps.retain(|&(position, samples, reason)| {
        !(reason == GapReason::Silence && position + samples == end)
    });
    gaps
}

#[test]
fn a_clean_network_is_kept_bit_exactly_and_aligned() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let owner = Voice::of(OWNER);
    let other = Voice {
        from_us: 7_000,
        ..Voice::of(OTHER)
    };
    let mut flow = owner.packets(500);
    flow.extend(other.packets(500));
    world.deliver(flow);
    world.run_to(10_000_000);
    world.close();
    let [left, right] = world.kept();
    assert_voice(&left, 0, &owner, 0, 80_000);
    assert_silent(&right[..56]);
    assert_voice(&right, 56, &other, 0, 80_000);
    assert_eq!(world.gaps(Channel::Other), [(0, 56, GapReason::NotStarted)]);
    assert_eq!(inner_gaps(&world, Channel::Owner), []);
    let (end, totals) = world.totals();
    assert_eq!(end, 80_056);
    assert_eq!((totals.owner.expected, totals.owner.received), (500, 500));
    assert_eq!((totals.other.lost, totals.other.late), (0, 0));
    let formats = world.entries.iter().filter_map(|entry| match entry {
        Entry::Block(block) => Some((block.samples, block.format)),
        _ => None,
    });
    let formats: Vec<_> = formats.collect();
    assert_eq!(formats[0], (2_560, SampleFormat::Mulaw));
    assert_eq!(formats.len(), 32);
}

#[test]
fn jitter_and_reordering_inside_the_window_change_nothing() {
    for seed in 1..=20 {
        let mut dice = Dice(0x1234_5678_9abc_def1 ^ seed << 7);
        let mut world = World::new(Sabotage::None);
        let voices = [Voice::of(OWNER), Voice::of(OTHER)];
        start(&mut world);
        let mut flow = Vec::new();
        for voice in voices {
            for (at, leg, bytes) in voice.packets(500) {
                let mut delay = 30_000 + dice.below(80_000);
                if dice.below(100) < 5 {
                    delay += 40_000;
                }
                flow.push((at + delay, leg, bytes));
            }
        }
        world.deliver(flow);
        world.run_to(10_400_000);
        world.close();
        let kept = world.kept();
        for (channel, voice) in voices.iter().enumerate() {
            // The least delay of the first 200 ms decides where the voice begins.
            let place = world.gaps(Channel::BOTH[channel]);
            let begins = match place.first() {
                Some(&(0, samples, GapReason::NotStarted)) => samples as usize,
                _ => panic!("seed {seed}: the voice begins after the recording, {place:?}"),
            };
            assert!((240..240 + 640).contains(&begins), "seed {seed}: {begins}");
            assert_voice(&kept[channel], begins, voice, 0, 80_000);
        }
        for channel in Channel::BOTH {
            let gaps = inner_gaps(&world, channel);
            assert_eq!(gaps.len(), 1, "seed {seed}: {gaps:?}");
        }
        let (_, totals) = world.totals();
        assert_eq!(totals.owner.late + totals.other.late, 0, "seed {seed}");
    }
}

#[test]
fn of_three_percent_loss_exactly_the_lost_packets_are_told() {
    let mut dice = Dice(99);
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let mut lost: Vec<u64> = (1..1_499).filter(|_| dice.below(100) < 3).collect();
    lost.extend([1_000, 1_001, 1_002]);
    let flow = (0..1_500).filter(|index| !lost.contains(index));
    let flow = flow.map(|index| voice.packet(index)).collect();
    world.deliver(flow);
    world.run_to(30_000_000);
    world.close();
    let mut expected: Vec<(u64, u64, GapReason)> = Vec::new();
    for index in (0..1_500).filter(|index| lost.contains(index)) {
        match expected.last_mut() {
            Some(last) if last.0 + last.1 == index * 160 => last.1 += 160,
            _ => expected.push((index * 160, 160, GapReason::Loss)),
        }
    }
    assert_eq!(inner_gaps(&world, Channel::Owner), expected);
    let [left, _] = world.kept();
    for index in 0..1_500 {
        let from = index as usize * 160;
        match lost.contains(&index) {
            true => assert_silent(&left[from..from + 160]),
            false => assert_voice(&left, from, &voice, index * 160, 160),
        }
    }
    lost.sort_unstable();
    lost.dedup();
    let (_, totals) = world.totals();
    assert_eq!(totals.owner.lost, lost.len() as u64);
    assert_eq!((totals.other.expected, totals.other.audio_ticks), (0, 0));
    assert_eq!(totals.other.gaps.of(GapReason::NotStarted), 240_000);
    assert_eq!(totals.other.tail_ticks, 240_000);
    assert_eq!(
        world.gaps(Channel::Other),
        [(0, 240_000, GapReason::NotStarted)]
    );
}

#[test]
fn a_long_loss_over_blocks_is_one_gap() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let flow = (0..200).filter(|index| !(50..120).contains(index));
    world.deliver(flow.map(|index| voice.packet(index)).collect());
    world.run_to(4_000_000);
    world.close();
    assert_eq!(
        inner_gaps(&world, Channel::Owner),
        [(8_000, 11_200, GapReason::Loss)]
    );
}

#[test]
fn duplicates_are_kept_once() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let mut flow = voice.packets(100);
    flow.extend((0..100).step_by(3).map(|index| {
        let (at, leg, bytes) = voice.packet(index);
        (at + 35_000, leg, bytes)
    }));
    world.deliver(flow);
    world.close();
    let [left, _] = world.kept();
    assert_voice(&left, 0, &voice, 0, 16_000);
    let (_, totals) = world.totals();
    assert_eq!((totals.owner.received, totals.owner.duplicate), (100, 34));
}

#[test]
fn what_comes_after_its_place_is_final_is_counted_and_dropped() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let mut flow = voice.packets(100);
    flow[10].0 += 700_000;
    world.deliver(flow);
    world.close();
    let (_, totals) = world.totals();
    assert_eq!((totals.owner.late, totals.owner.lost), (1, 1));
    assert_eq!(
        inner_gaps(&world, Channel::Owner),
        [(1_600, 160, GapReason::Loss)]
    );
}

#[test]
fn silence_suppression_is_no_loss() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let mut flow = voice.packets(50);
    // A second later the time stamp went on, the sequence number did not.
    let later = Voice {
        first_seq: voice.first_seq.wrapping_add(50).wrapping_sub(100),
        ..voice
    };
    flow.extend((100..150).map(|index| later.packet(index)));
    world.deliver(flow);
    world.run_to(3_000_000);
    world.close();
    assert_eq!(
        inner_gaps(&world, Channel::Owner),
        [(8_000, 8_000, GapReason::Silence)]
    );
    let [left, _] = world.kept();
    assert_voice(&left, 16_000, &voice, 16_000, 8_000);
}

#[test]
fn another_source_is_spliced_by_its_arrival() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let first = Voice::of(OWNER);
    let second = Voice {
        ssrc: 0xbeef,
        first_seq: 3,
        first_timestamp: 77,
        from_us: 1_000_000,
        ..first
    };
    let mut flow = first.packets(50);
    flow.extend(second.packets(50));
    world.deliver(flow);
    world.close();
    let [left, _] = world.kept();
    assert_voice(&left, 0, &first, 0, 8_000);
    assert_voice(&left, 8_000, &second, 0, 8_000);
    assert_eq!(inner_gaps(&world, Channel::Owner), []);
}

#[test]
fn a_source_that_runs_before_the_start_is_cut_at_the_start() {
    let mut world = World::new(Sabotage::None);
    let voice = Voice::of(OWNER);
    world.deliver(voice.packets(100));
    world.run_to(1_985_000);
    start(&mut world);
    world.deliver((101..150).map(|index| voice.packet(index)).collect());
    world.close();
    let [left, _] = world.kept();
    // Packet 99 came before the start, packet 100 is lost.
    assert_eq!(
        inner_gaps(&world, Channel::Owner),
        [(0, 120, GapReason::NotStarted), (120, 160, GapReason::Loss)]
    );
    assert_voice(&left, 280, &voice, 16_160, 49 * 160);
}

#[test]
fn paused_speech_is_in_no_entry_and_the_cut_is_exact() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let other = Voice::of(OTHER);
    let (pause_us, resume_us) = (1_007_500, 2_013_125);
    let mut flow = voice.packets(200);
    flow.extend(other.packets(200));
    // Jitter: what belongs before the pause may come in it, what belongs into it after it.
    let mut dice = Dice(5);
    for packet in &mut flow[1..] {
        packet.0 += dice.below(90_000);
    }
    let is_before = |limit: u64| move |packet: &(u64, LegKey, Vec<u8>)| packet.0 <= limit;
    let (before, rest): (Vec<_>, Vec<_>) = flow.into_iter().partition(is_before(pause_us));
    let (during, after): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_before(resume_us));
    world.deliver(before);
    world.run_to(pause_us);
    world.record(RecordingCommand::Pause);
    world.record(RecordingCommand::Pause);
    world.record(RecordingCommand::Note {
        payload: Bytes::from_static(b"paused"),
    });
    world.deliver(during);
    world.run_to(resume_us);
    world.record(RecordingCommand::Resume);
    world.record(RecordingCommand::Resume);
    world.deliver(after);
    world.run_to(4_200_000);
    world.close();
    let (from, until) = (8_060, 16_105);
    let [left, right] = world.kept();
    assert_voice(&left, 0, &voice, 0, from);
    assert_silent(&left[from..until]);
    assert_silent(&right[from..until]);
    assert_voice(&left, until, &voice, until as u64, 32_000 - until);
    assert_eq!(
        inner_gaps(&world, Channel::Owner),
        [(from as u64, (until - from) as u64, GapReason::Paused)]
    );
    let (_, totals) = world.totals();
    assert_eq!(totals.paused_samples, (until - from) as u64);
    assert_eq!(totals.owner.lost, 0);
    assert!(world.entries.iter().any(|entry| matches!(
        entry, Entry::Fact { position: 8_060, payload, .. } if payload == "paused"
    )));
    // Not even a few samples of it, at any offset of any block.
    let secret: Vec<u8> = (8_200..8_216).map(|sample| voice.code(sample)).collect();
    for entry in &world.entries {
        let Entry::Block(block) = entry else { continue };
        for channel in 0..2 {
            let side: Vec<u8> = block
                .bytes
                .iter()
                .skip(channel)
                .step_by(2)
                .copied()
                .collect();
            assert!(!side.windows(16).any(|window| window == secret));
        }
    }
    assert_eq!(world.dropped(DropReason::Command), 2);
}

#[test]
fn several_pauses_in_one_packet_keep_what_lies_between() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    for index in 0..50 {
        let (at, leg, bytes) = voice.packet(index);
        if index == 20 {
            for us in [401_000, 402_000, 403_000, 404_000] {
                world.run_to(us);
                world.record(match us % 2_000 {
                    1_000 => RecordingCommand::Pause,
                    _ => RecordingCommand::Resume,
                });
            }
            world.run_to(405_000);
            world.receive(rtp_port(leg), home(leg), &bytes);
            continue;
        }
        world.run_to(at);
        world.receive(rtp_port(leg), home(leg), &bytes);
    }
    world.close();
    let [left, _] = world.kept();
    assert_voice(&left, 0, &voice, 0, 3_208);
    assert_silent(&left[3_208..3_216]);
    assert_voice(&left, 3_216, &voice, 3_216, 8);
    assert_silent(&left[3_224..3_232]);
    assert_voice(&left, 3_232, &voice, 3_232, 8_000 - 3_232);
    assert_eq!(
        inner_gaps(&world, Channel::Owner),
        [(3_208, 8, GapReason::Paused), (3_224, 8, GapReason::Paused)]
    );
}

#[test]
fn two_laws_become_linear_samples_and_a_change_of_law_is_exact() {
    let mut world = World::new(Sabotage::None);
    let peer_a = peer(OTHER, alaw());
    world.command(Command::Connect {
        leg: OTHER,
        peer: peer_a,
    });
    let mut both = mulaw();
    both.push(format(8, Encoding::Speech(Codec::Pcma)));
    world.command(Command::Connect {
        leg: OWNER,
        peer: peer(OWNER, both),
    });
    start(&mut world);
    let owner = Voice::of(OWNER);
    let owner_alaw = Voice {
        law: Law::Alaw,
        payload_type: 8,
        ..owner
    };
    let other = Voice {
        law: Law::Alaw,
        payload_type: 8,
        ..Voice::of(OTHER)
    };
    let mut flow = owner.packets(50);
    flow.extend((50..100).map(|index| owner_alaw.packet(index)));
    flow.extend(other.packets(100));
    world.deliver(flow);
    world.close();
    let [left, right] = world.kept();
    assert_voice(&left, 0, &owner, 0, 8_000);
    assert_voice(&left, 8_000, &owner_alaw, 8_000, 8_000);
    assert_voice(&right, 0, &other, 0, 16_000);
    let formats: Vec<_> = world
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Block(block) => Some((block.position, block.format)),
            _ => None,
        })
        .collect();
    assert_eq!(formats[0], (0, SampleFormat::Pcm16));
    assert!(
        formats.contains(&(8_000, SampleFormat::Alaw)),
        "{formats:?}"
    );
}

#[test]
fn hold_and_keys_are_reasons_of_their_own() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let mut flow = voice.packets(50);
    // A key for 100 ms in place of packets 50 to 54.
    for update in 1..=5_u16 {
        let at = (50 + u64::from(update)) * PACKET;
        let timestamp = voice.first_timestamp.wrapping_add(8_000);
        let [high, low] = (160 * update).to_be_bytes();
        let seq = voice.first_seq.wrapping_add(49 + update);
        let payload = [5, 10, high, low];
        flow.push((at, OWNER, rtp(voice.ssrc, seq, timestamp, 101, &payload)));
    }
    flow.extend((55..100).map(|index| voice.packet(index)));
    world.deliver(flow);
    world.run_to(2_000_000);
    let mut held = peer(OWNER, mulaw());
    held.direction = Direction::SendOnly;
    world.command(Command::Connect {
        leg: OWNER,
        peer: held,
    });
    world.run_to(3_000_000);
    world.command(Command::Connect {
        leg: OWNER,
        peer: peer(OWNER, mulaw()),
    });
    let back = Voice {
        first_seq: voice.first_seq.wrapping_sub(50),
        ..voice
    };
    world.deliver((150..200).map(|index| back.packet(index)).collect());
    world.close();
    assert_eq!(
        inner_gaps(&world, Channel::Owner),
        [
            (8_000, 800, GapReason::Dtmf),
            (16_000, 8_000, GapReason::Held)
        ]
    );
    let (_, totals) = world.totals();
    assert_eq!((totals.owner.expected, totals.owner.received), (150, 150));
}

#[test]
fn a_full_spool_leaves_a_told_gap_and_no_entry_is_out_of_order() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let mut flow = voice.packets(250);
    let rest = flow.split_off(100);
    world.deliver(flow);
    world.run_to(2_000_000);
    world.full = true;
    let mut stalled = rest;
    let after = stalled.split_off(75);
    world.deliver(stalled);
    world.record(RecordingCommand::Note {
        payload: Bytes::from_static(b"while full"),
    });
    world.run_to(3_490_000);
    world.full = false;
    world.deliver(after);
    world.run_to(5_000_000);
    world.close();
    // Blocks end at multiples of 2,560 and are final 200 ms later.
    let full: Vec<_> = world.gaps(Channel::Owner);
    let full: Vec<_> = full
        .iter()
        .filter(|gap| gap.2 == GapReason::SpoolFull)
        .collect();
    assert_eq!(full, [&(12_800, 12_800, GapReason::SpoolFull)]);
    assert_eq!(
        world.gaps(Channel::Other)[1],
        (12_800, 12_800, GapReason::SpoolFull)
    );
    let [left, _] = world.kept();
    assert_voice(&left, 0, &voice, 0, 12_800);
    assert_silent(&left[12_800..25_600]);
    assert_voice(&left, 25_600, &voice, 25_600, 40_000 - 25_600);
    let troubles = world.events.iter().filter(|(_, event)| {
        *event
            == Event::RecordingTrouble {
                recording: RECORDING,
            }
    });
    assert_eq!(troubles.count(), 1);
    assert!(
        world
            .entries
            .iter()
            .any(|entry| matches!(entry, Entry::Fact { payload, .. } if payload == "while full"))
    );
    assert_eq!(world.shard.counters().blocks_refused, 5);
}

/// What was said of keeping, and where among the other entries.
fn keeping(world: &World) -> Vec<&'static str> {
    let word = |entry: &Entry| match entry {
        Entry::Open {
            keeping: Keeping::Provisional,
            ..
        } => Some("open, provisional"),
        Entry::Open { .. } => Some("open"),
        Entry::Fact { .. } => Some("fact"),
        Entry::Keep { .. } => Some("keep"),
        Entry::Close { .. } => Some("close"),
        Entry::Block(_) | Entry::Coded { .. } | Entry::Gap { .. } => None,
    };
    world.entries.iter().filter_map(word).collect()
}

#[test]
fn what_is_to_be_kept_is_told_once_in_its_place_even_through_a_full_spool() {
    for full in [false, true] {
        let mut world = World::new(Sabotage::None);
        let note = RecordingCommand::Note {
            payload: Bytes::from_static(b"note"),
        };
        let recording = RecordingKey(8);
        let open = RecordingCommand::Open {
            owner: OTHER,
            other: Some(OWNER),
            keeping: Keeping::Provisional,
            payload: Bytes::from_static(b"open"),
        };
        world.command(Command::Record {
            recording,
            command: open,
        });
        world.entries.clear();
        start(&mut world);
        world.deliver(Voice::of(OWNER).packets(50));
        world.full = full;
        world.record(note.clone());
        world.record(RecordingCommand::Keep);
        world.record(note);
        world.run_to(3_000_000);
        world.full = false;
        world.run_to(3_100_000);
        world.close();
        assert_eq!(keeping(&world), ["fact", "keep", "fact", "close"]);
        let kept = world.entries.iter().find_map(|entry| match entry {
            Entry::Keep { recording, at } => Some((*recording, *at)),
            _ => None,
        });
        assert_eq!(kept.map(|(recording, _)| recording), Some(RECORDING));
        // Behind its close there is nothing to keep.
        let dropped = |world: &World| world.shard.counters().dropped(DropReason::Command);
        let before = dropped(&world);
        world.record(RecordingCommand::Keep);
        assert_eq!(dropped(&world), before + 1);
    }
}

#[test]
fn how_a_recording_is_opened_reaches_the_spool() {
    let mut world = World::new(Sabotage::None);
    let command = RecordingCommand::Open {
        owner: OTHER,
        other: Some(OWNER),
        keeping: Keeping::Provisional,
        payload: Bytes::from_static(b"second"),
    };
    world.command(Command::Record {
        recording: RecordingKey(8),
        command,
    });
    assert_eq!(keeping(&world), ["open", "open, provisional"]);
}

#[test]
fn a_recording_closed_while_the_spool_is_full_is_still_closed() {
    let mut world = World::new(Sabotage::None);
    world.full = true;
    start(&mut world);
    world.deliver(Voice::of(OWNER).packets(100));
    world.close();
    assert_eq!(world.shard.recordings(), 0);
    world.run_to(3_000_000);
    assert_eq!(
        world.entries.len(),
        1,
        "the opening came before it was full"
    );
    world.full = false;
    world.run_to(3_100_000);
    let (end, _) = world.totals();
    assert_eq!(end, 16_000);
    let full: u64 = world
        .gaps(Channel::Owner)
        .iter()
        .filter(|gap| gap.2 == GapReason::SpoolFull)
        .map(|gap| gap.1)
        .sum();
    assert_eq!(full, 16_000);
}

#[test]
fn packets_that_slipped_out_of_the_window_for_good_are_placed_anew() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let mut flow = voice.packets(200);
    for packet in &mut flow[100..] {
        packet.0 += 700_000;
    }
    world.deliver(flow);
    world.close();
    let (_, totals) = world.totals();
    assert!(totals.owner.late <= 30, "{totals:?}");
    let [left, _] = world.kept();
    let end = left.len();
    assert_voice(&left, end - 8_000, &voice, 24_000, 8_000);
}

#[test]
fn a_shard_that_was_not_ticked_for_seconds_still_keeps_what_the_kernel_kept() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let voice = Voice::of(OWNER);
    let mut out = Outbox::new();
    for (at, leg, mut bytes) in voice.packets(250) {
        let (now, arrived) = (world.at(6_000_000), world.at(at));
        let (port, from) = (rtp_port(leg), home(leg));
        world
            .shard
            .receive(now, arrived, port, from, &mut bytes, &mut out);
    }
    world.entries.append(&mut out.entries);
    world.run_to(6_000_000);
    world.close();
    let [left, _] = world.kept();
    assert_voice(&left, 0, &voice, 0, 40_000);
}

#[test]
fn a_leg_that_ends_leaves_its_recording_running() {
    let mut world = World::new(Sabotage::None);
    start(&mut world);
    let (owner, other) = (Voice::of(OWNER), Voice::of(OTHER));
    let mut flow = owner.packets(50);
    flow.extend(other.packets(50));
    world.deliver(flow);
    world.run_to(1_000_000);
    world.command(Command::Close { leg: OWNER });
    world.deliver((50..100).map(|index| other.packet(index)).collect());
    world.close();
    world.command(Command::Close { leg: OTHER });
    let [left, right] = world.kept();
    assert_voice(&left, 0, &owner, 0, 8_000);
    assert_silent(&left[8_000..]);
    assert_voice(&right, 0, &other, 0, 16_000);
    assert_eq!((world.shard.legs(), world.shard.recordings()), (0, 0));
}

#[test]
fn every_fault_put_in_on_purpose_shows() {
    for sabotage in [
        Sabotage::None,
        Sabotage::NoGapFill,
        Sabotage::SwapChannels,
        Sabotage::InjectBeforeTap,
    ] {
        let mut world = World::new(sabotage);
        start(&mut world);
        let (owner, other) = (Voice::of(OWNER), Voice::of(OTHER));
        let tone = duolog_audio::tone::repeat_tone();
        world.command(Command::Play {
            leg: OTHER,
            play: PlayKey(1),
            sound: std::sync::Arc::new(duolog_audio::prompt::Prompt::tone(&tone)),
            how: How::Under,
        });
        let mut flow = owner.packets(200);
        flow.extend(other.packets(200));
        flow.retain(|&(at, leg, _)| leg != OWNER || !(3_000_000..3_100_000).contains(&at));
        world.deliver(flow);
        world.close();
        let [left, right] = world.kept();
        let exact = (0..32_000).all(|sample| match sample {
            24_000..24_800 => left[sample].abs() <= 8,
            _ => left[sample] == owner.sample(sample as u64),
        });
        let exact = exact && (0..32_000).all(|sample| right[sample] == other.sample(sample as u64));
        assert_eq!(exact, sabotage == Sabotage::None, "{sabotage:?}");
    }
}
