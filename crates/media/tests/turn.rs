//! The second channel of a recording is one party's after another: each to the sample from its beginning
//! to its end, both channels on one clock, and every gap with its reason.

mod common;

use bytes::Bytes;
use common::*;
use duolog_audio::codec::Codec;
use duolog_audio::g711::Law;
use duolog_media::*;

const THIRD: LegKey = LegKey(3);
const FOURTH: LegKey = LegKey(4);

/// The world's two legs and two more; the recording is of the first two and runs.
fn world() -> World {
    let mut world = unstarted();
    world.record(RecordingCommand::Start);
    world
}

fn unstarted() -> World {
    let mut world = World::of_every_codec();
    for leg in [THIRD, FOURTH] {
        world.open(leg);
        let peer = peer(leg, every_format());
        world.command(Command::Connect { leg, peer });
    }
    world
}

fn turn(world: &mut World, other: Option<LegKey>) {
    world.record(RecordingCommand::Turn { other });
}

fn turn_at(world: &mut World, us: u64, other: Option<LegKey>) {
    world.run_to(us);
    turn(world, other);
}

fn deliver_between(world: &mut World, flow: &[(u64, LegKey, Vec<u8>)], from: u64, until: u64) {
    let now = flow.iter().filter(|(at, ..)| (from..until).contains(at));
    world.deliver(now.cloned().collect());
}

/// Gaps of the second channel.
fn gaps(world: &World) -> Vec<(u64, u64, GapReason)> {
    world.gaps(Channel::Other)
}

#[test]
fn one_party_ends_and_the_other_begins_at_the_turn() {
    use GapReason::{NotStarted, Silence};
    // When the turn is, in the packets of the second party and of the third, which are 7 ms apart.
    for (turn_us, third_us, rest, gap) in [
        // The third's next packet begins behind the rest of the second's last one.
        (1_999_000, 7_000, 16_000, Some((16_000, 56))),
        // The third's next packet begins while the second's last one goes on: that much of it is cut.
        (2_006_000, 7_000, 16_160, None),
        // The moment itself.
        (2_000_000, 0, 16_000, None),
    ] {
        let mut world = world();
        let owner = Voice::of(OWNER);
        let second = Voice::of(OTHER);
        let third = Voice {
            from_us: third_us,
            first_seq: 7,
            first_timestamp: 99,
            ..Voice::of(THIRD)
        };
        let mut flow = owner.packets(200);
        flow.extend(second.packets(200));
        flow.extend(third.packets(200));
        deliver_between(&mut world, &flow, 0, turn_us);
        turn_at(&mut world, turn_us, Some(THIRD));
        deliver_between(&mut world, &flow, turn_us, u64::MAX);
        world.close();
        world.check_whole();
        let [left, right] = world.kept();
        assert_voice(&left, 0, &owner, 0, 32_000);
        assert_voice(&right, 0, &second, 0, rest);
        let lead = third_us as usize / 125;
        let begins = rest + gap.map_or(0, |(_, samples)| samples as usize);
        let first = begins - lead;
        assert_voice(&right, begins, &third, first as u64, 32_000 - first);
        let mut found = gaps(&world);
        found.retain(|gap| gap.2 != Silence);
        let expected = gap.map(|(from, samples)| (from, samples, NotStarted));
        assert_eq!(found, Vec::from_iter(expected), "{turn_us}");
        let (_, totals) = world.totals();
        let came = |from: u64| (0..200).filter(|n| from + n * PACKET >= turn_us).count() as u64;
        let expected = 200 - came(0) + came(third_us);
        assert_eq!((totals.other.expected, totals.other.lost), (expected, 0));
        assert_eq!((totals.owner.expected, totals.owner.lost), (200, 0));
    }
}

#[test]
fn what_came_before_the_turn_finds_its_place_and_what_comes_later_is_of_the_new_party_only() {
    let mut world = world();
    let second = Voice::of(OTHER);
    let third = Voice::of(THIRD);
    let mut flow = second.packets(150);
    flow.extend(third.packets(150));
    // Out of order before the turn: 95 comes last of all, 190 ms late; 98 and 99 come too late for it.
    let late = |flow: &mut Vec<(u64, LegKey, Vec<u8>)>, index: usize, us| flow[index].0 = us;
    late(&mut flow, 91, 1_999_998);
    late(&mut flow, 95, 1_999_999);
    late(&mut flow, 98, 2_000_100);
    late(&mut flow, 99, 2_000_200);
    // The third's packets of 1.94 s and 1.98 s come after the turn: they were spoken before it.
    late(&mut flow, 150 + 97, 2_000_300);
    late(&mut flow, 150 + 99, 2_000_400);
    flow.sort_by_key(|packet| packet.0);
    deliver_between(&mut world, &flow, 0, 2_000_000);
    turn_at(&mut world, 2_000_000, Some(THIRD));
    deliver_between(&mut world, &flow, 2_000_000, u64::MAX);
    world.close();
    world.check_whole();
    let [_, right] = world.kept();
    assert_voice(&right, 0, &second, 0, 98 * 160);
    assert_silent(&right[98 * 160..16_000]);
    assert_voice(&right, 16_000, &third, 16_000, 8_000);
    assert_eq!(gaps(&world), [(98 * 160, 320, GapReason::Silence)]);
    let (_, totals) = world.totals();
    assert_eq!(totals.other.reordered, 2);
    assert_eq!((totals.other.late, totals.other.duplicate), (0, 0));
}

#[test]
fn a_loss_is_blamed_on_the_party_that_lost_it() {
    use GapReason::{Loss, NotStarted, Silence};
    let mut world = world();
    let second = Voice::of(OTHER);
    let third = Voice {
        first_seq: 40_000,
        ..Voice::of(THIRD)
    };
    let mut flow = second.packets(150);
    flow.extend(third.packets(150));
    // The second loses one inside and its last three before the turn, the third its first two after it
    // and one later.
    for (leg, index) in [
        (0, 60),
        (0, 97),
        (0, 98),
        (0, 99),
        (150, 100),
        (150, 101),
        (150, 120),
    ] {
        flow[leg + index].0 = u64::MAX;
    }
    flow.retain(|packet| packet.0 != u64::MAX);
    deliver_between(&mut world, &flow, 0, 2_000_000);
    turn_at(&mut world, 2_000_000, Some(THIRD));
    deliver_between(&mut world, &flow, 2_000_000, u64::MAX);
    world.close();
    world.check_whole();
    assert_eq!(
        gaps(&world),
        [
            (60 * 160, 160, Loss),
            // Nobody can know: the numbers behind them never came.
            (97 * 160, 480, Silence),
            (100 * 160, 320, Loss),
            (120 * 160, 160, Loss),
        ]
    );
    let (_, totals) = world.totals();
    assert_eq!((totals.other.expected, totals.other.lost), (147, 4));
    assert_eq!(totals.other.gaps.of(NotStarted), 0);
}

#[test]
fn a_packet_that_had_nothing_to_keep_before_the_turn_is_not_told_as_lost_after_it() {
    let mut world = world();
    let second = Voice::of(OTHER);
    let third = Voice::of(THIRD);
    let mut flow: Vec<_> = second.packets(100);
    // Comfort noise in the place of packets 92 to 94: nothing to keep, and nothing was lost.
    let noise = [format(13, Encoding::ComfortNoise { rate_hz: 8_000 })];
    let mut formats = every_format();
    formats.extend(noise);
    world.command(Command::Connect {
        leg: OTHER,
        peer: peer(OTHER, formats),
    });
    for index in 92..95_u64 {
        let (at, leg, _) = second.packet(index);
        let seq = second.first_seq.wrapping_add(index as u16);
        let timestamp = second.first_timestamp.wrapping_add(index as u32 * 160);
        flow[index as usize] = (at, leg, rtp(second.ssrc, seq, timestamp, 13, &[50]));
    }
    flow.remove(97);
    flow.extend((100..150).map(|index| third.packet(index)));
    deliver_between(&mut world, &flow, 0, 2_000_000);
    turn_at(&mut world, 2_000_000, Some(THIRD));
    deliver_between(&mut world, &flow, 2_000_000, u64::MAX);
    world.close();
    world.check_whole();
    assert_eq!(
        gaps(&world),
        [
            (92 * 160, 480, GapReason::Silence),
            (97 * 160, 160, GapReason::Loss)
        ]
    );
}

#[test]
fn nobody_is_on_the_channel_between_two_parties() {
    use GapReason::{Absent, NotStarted};
    let mut world = world();
    let owner = Voice::of(OWNER);
    let second = Voice::of(OTHER);
    // The third begins to speak half a second after it took the channel.
    let third = Voice {
        from_us: 3_500_000,
        ssrc: second.ssrc,
        first_seq: second.first_seq,
        ..Voice::of(THIRD)
    };
    let mut flow = owner.packets(300);
    flow.extend(second.packets(300));
    flow.extend(third.packets(100));
    deliver_between(&mut world, &flow, 0, 1_000_000);
    turn_at(&mut world, 1_000_000, None);
    turn(&mut world, None);
    deliver_between(&mut world, &flow, 1_000_000, 3_000_000);
    turn_at(&mut world, 3_000_000, Some(THIRD));
    turn(&mut world, Some(THIRD));
    deliver_between(&mut world, &flow, 3_000_000, u64::MAX);
    world.close();
    world.check_whole();
    let [left, right] = world.kept();
    assert_voice(&left, 0, &owner, 0, 48_000);
    assert_voice(&right, 0, &second, 0, 8_000);
    assert_silent(&right[8_000..28_000]);
    assert_voice(&right, 28_000, &third, 0, 16_000);
    let mut found = gaps(&world);
    found.truncate(2);
    assert_eq!(
        found,
        [(8_000, 16_000, Absent), (24_000, 4_000, NotStarted)]
    );
    assert_eq!(world.dropped(DropReason::Command), 0);
}

#[test]
fn other_laws_codecs_numbers_and_clocks_follow_each_other() {
    let l16 = CODECS[4];
    for (first, next) in [
        (Codec::Pcmu, Codec::Pcma),
        (Codec::Pcmu, Codec::Opus),
        (Codec::Opus, Codec::Pcma),
        (Codec::Opus, Codec::Opus),
        (Codec::G722, l16),
        (l16, Codec::G729),
    ] {
        let mut world = world();
        let mut owner = Speaker::new(OWNER, Codec::Pcmu);
        let mut second = Speaker::new(OTHER, first);
        let mut third = Speaker {
            ssrc: second.ssrc,
            ..Speaker::new(THIRD, next)
        };
        // Turned at 1.02 s and back at 2.02 s; everybody speaks all the time.
        let mut all = Vec::new();
        for _ in 0..3 {
            let part = [&mut owner, &mut second, &mut third].map(|speaker| speaker.say_for(1_000));
            all.push(part);
        }
        for (number, part) in all.iter().enumerate() {
            world.hear(part.concat());
            world.run_to(1_020_000 + 1_000_000 * number as u64);
            match number {
                0 => turn(&mut world, Some(THIRD)),
                1 => turn(&mut world, Some(OTHER)),
                _ => {}
            }
        }
        world.close();
        world.check_whole();
        let [left, right] = Channel::BOTH.map(|channel| Heard::of(&world, channel));
        for (number, part) in all.iter().enumerate() {
            for (party, said) in part.iter().enumerate() {
                let on_channel = match number {
                    1 => party == 2,
                    _ => party == 1,
                };
                for said in said {
                    let place = vec![said.at_us * 8 / 1_000];
                    let expected = |kept| match kept {
                        true => place.clone(),
                        false => Vec::new(),
                    };
                    let about = (first, next, number, party, said.at_us);
                    assert_eq!(left.find(said), expected(party == 0), "{about:?}");
                    assert_eq!(right.find(said), expected(on_channel), "{about:?}");
                }
            }
        }
        assert_eq!(gaps(&world), [(0, 160, GapReason::NotStarted)]);
        let (_, totals) = world.totals();
        let mut codecs = vec![first];
        codecs.extend((first != next).then_some(next));
        let seen: Vec<Codec> = totals.other.codecs.iter().collect();
        assert_eq!(seen, codecs);
        assert_eq!((totals.other.expected, totals.other.received), (150, 150));
    }
}

#[test]
fn a_coded_frame_spoken_before_the_turn_is_left_out_whole() {
    let mut world = world();
    let mut third = Speaker::new(THIRD, Codec::G722);
    let said = third.say_for(1_000);
    let (before, after): (Vec<_>, Vec<_>) =
        said.iter().cloned().partition(|said| said.at_us < 500_000);
    world.hear(before);
    turn_at(&mut world, 491_000, Some(THIRD));
    // It was to come at 480 ms and was held up: it reaches over the turn.
    let mut late = after.clone();
    late[0].arrives_us += 12_000;
    world.hear(late);
    world.close();
    world.check_whole();
    let heard = Heard::of(&world, Channel::Other);
    for said in &said {
        let found = match said.at_us >= 491_000 {
            true => vec![said.at_us * 8 / 1_000],
            false => vec![],
        };
        assert_eq!(heard.find(said), found, "{}", said.at_us);
    }
}

#[test]
fn turns_in_a_pause_leave_the_pause_whole_and_the_new_party_behind_it() {
    let mut world = world();
    let second = Voice::of(OTHER);
    let third = Voice::of(THIRD);
    let fourth = Voice::of(FOURTH);
    let mut flow = second.packets(200);
    flow.extend(third.packets(200));
    flow.extend(fourth.packets(200));
    flow.sort_by_key(|packet| packet.0);
    let mut at = 0;
    for (us, command) in [
        (1_000_000, RecordingCommand::Pause),
        (1_500_000, RecordingCommand::Turn { other: Some(THIRD) }),
        (
            1_700_000,
            RecordingCommand::Turn {
                other: Some(FOURTH),
            },
        ),
        (2_005_000, RecordingCommand::Resume),
        (3_000_000, RecordingCommand::Pause),
        (3_000_000, RecordingCommand::Turn { other: Some(OTHER) }),
        (3_000_000, RecordingCommand::Resume),
    ] {
        deliver_between(&mut world, &flow, at, us);
        world.run_to(us);
        world.record(command);
        at = us;
    }
    deliver_between(&mut world, &flow, at, u64::MAX);
    world.close();
    world.check_whole();
    let [_, right] = world.kept();
    assert_voice(&right, 0, &second, 0, 8_000);
    // The packet of 2.0 s came in the pause and was not taken.
    assert_silent(&right[8_000..16_160]);
    assert_voice(&right, 16_160, &fourth, 16_160, 24_000 - 16_160);
    assert_voice(&right, 24_000, &second, 24_000, 8_000);
    assert_eq!(gaps(&world), [(8_000, 8_160, GapReason::Paused)]);
    let (_, totals) = world.totals();
    assert_eq!((totals.other.expected, totals.other.lost), (200, 0));
}

#[test]
fn before_the_start_only_the_last_turn_counts() {
    for (turns, fed) in [
        (vec![Some(THIRD)], Some(THIRD)),
        (
            vec![Some(THIRD), Some(FOURTH), None, Some(THIRD)],
            Some(THIRD),
        ),
        (vec![None, Some(OTHER)], Some(OTHER)),
        (vec![Some(FOURTH), None], None),
    ] {
        let mut world = unstarted();
        let voices = [OTHER, THIRD, FOURTH].map(Voice::of);
        let flow: Vec<_> = voices.iter().flat_map(|voice| voice.packets(100)).collect();
        deliver_between(&mut world, &flow, 0, 500_000);
        world.run_to(500_000);
        for other in turns {
            turn(&mut world, other);
        }
        deliver_between(&mut world, &flow, 500_000, 1_000_000);
        world.run_to(1_000_000);
        world.record(RecordingCommand::Start);
        deliver_between(&mut world, &flow, 1_000_000, u64::MAX);
        world.close();
        let end = world.check_whole();
        let [_, right] = world.kept();
        match fed {
            Some(leg) => {
                assert_voice(&right, 0, &Voice::of(leg), 8_000, 8_000);
                assert_eq!(gaps(&world), []);
            }
            None => {
                assert_silent(&right);
                assert_eq!(gaps(&world), [(0, end, GapReason::Absent)]);
            }
        }
    }
}

#[test]
fn of_several_turns_at_once_the_last_one_counts() {
    let mut world = world();
    let voices = [OTHER, THIRD, FOURTH].map(Voice::of);
    let mut flow: Vec<_> = voices.iter().flat_map(|voice| voice.packets(150)).collect();
    flow.sort_by_key(|packet| packet.0);
    deliver_between(&mut world, &flow, 0, 1_005_000);
    world.run_to(1_005_000);
    for other in [Some(THIRD), None, Some(OTHER), Some(FOURTH), Some(OTHER)] {
        turn(&mut world, other);
    }
    deliver_between(&mut world, &flow, 1_005_000, 2_000_000);
    world.run_to(2_000_000);
    for other in [Some(OTHER), Some(THIRD), Some(FOURTH)] {
        turn(&mut world, other);
    }
    deliver_between(&mut world, &flow, 2_000_000, u64::MAX);
    world.close();
    world.check_whole();
    let [_, right] = world.kept();
    assert_voice(&right, 0, &voices[0], 0, 16_000);
    assert_voice(&right, 16_000, &voices[2], 16_000, 8_000);
    assert_eq!(gaps(&world), []);
    let (_, totals) = world.totals();
    assert_eq!((totals.other.expected, totals.other.received), (150, 150));
}

#[test]
fn a_leg_that_does_not_exist_is_nobody_and_the_owner_can_not_be_the_other() {
    let mut world = world();
    let second = Voice::of(OTHER);
    let flow = second.packets(100);
    deliver_between(&mut world, &flow, 0, 500_000);
    turn_at(&mut world, 500_000, Some(OWNER));
    assert_eq!(world.dropped(DropReason::Command), 1, "refused");
    deliver_between(&mut world, &flow, 500_000, 1_000_000);
    turn_at(&mut world, 1_000_000, Some(LegKey(99)));
    assert_eq!(world.dropped(DropReason::Command), 2, "counted");
    deliver_between(&mut world, &flow, 1_000_000, u64::MAX);
    world.close();
    let end = world.check_whole();
    let [_, right] = world.kept();
    assert_voice(&right, 0, &second, 0, 8_000);
    assert_silent(&right[8_000..]);
    assert_eq!(gaps(&world), [(8_000, end - 8_000, GapReason::Absent)]);
}

#[test]
fn a_recording_may_be_opened_before_its_legs() {
    let (late_owner, late_other) = (LegKey(5), LegKey(6));
    for expected in [
        [late_owner, OTHER],
        [OWNER, late_other],
        [late_owner, late_other],
    ] {
        let mut world = unstarted();
        let recording = RecordingKey(8);
        let record = |world: &mut World, command| {
            world.command(Command::Record { recording, command });
        };
        let open = RecordingCommand::Open {
            owner: expected[0],
            other: Some(expected[1]),
            keeping: Keeping::Kept,
            payload: Bytes::new(),
        };
        record(&mut world, open);
        for leg in [late_owner, late_other] {
            world.open(leg);
            let peer = peer(leg, every_format());
            world.command(Command::Connect { leg, peer });
        }
        record(&mut world, RecordingCommand::Start);
        let mut flow = Voice::of(expected[0]).packets(100);
        flow.extend(Voice::of(expected[1]).packets(100));
        world.deliver(flow);
        let payload = Bytes::new();
        record(&mut world, RecordingCommand::Close { payload });
        assert_eq!(world.dropped(DropReason::Command), 0);
        let whole = world.entries.iter().filter_map(|entry| match entry {
            Entry::Close {
                recording: of,
                totals,
                ..
            } if *of == recording => Some(totals),
            _ => None,
        });
        let totals: Vec<[u64; 2]> = whole
            .map(|totals| [totals.owner.received, totals.other.received])
            .collect();
        assert_eq!(totals, [[100, 100]], "{expected:?}");
    }
    // One whose legs never open is closed like any other, and nothing waits for them any more.
    let mut world = unstarted();
    let recording = RecordingKey(8);
    let open = RecordingCommand::Open {
        owner: late_owner,
        other: Some(late_other),
        keeping: Keeping::Kept,
        payload: Bytes::new(),
    };
    world.command(Command::Record {
        recording,
        command: open,
    });
    let payload = Bytes::new();
    let command = RecordingCommand::Close { payload };
    world.command(Command::Record { recording, command });
    world.open(late_owner);
    assert_eq!(world.dropped(DropReason::Command), 0);
}

#[test]
fn a_mixed_recording_has_no_second_channel_to_turn() {
    let mut world = unstarted();
    let recording = RecordingKey(8);
    let record = |world: &mut World, command| {
        world.command(Command::Record { recording, command });
    };
    let open = RecordingCommand::Open {
        owner: THIRD,
        other: None,
        keeping: Keeping::Kept,
        payload: Bytes::new(),
    };
    record(&mut world, open);
    record(&mut world, RecordingCommand::Start);
    record(
        &mut world,
        RecordingCommand::Turn {
            other: Some(FOURTH),
        },
    );
    assert_eq!(world.dropped(DropReason::Command), 1);
    let mut flow = Voice::of(THIRD).packets(50);
    flow.extend(Voice::of(FOURTH).packets(50));
    world.deliver(flow);
    let payload = Bytes::new();
    record(&mut world, RecordingCommand::Close { payload });
    world.entries.retain(|entry| entry.recording() == recording);
    world.check_whole();
    let [left, right] = world.kept();
    assert_voice(&left, 0, &Voice::of(THIRD), 0, 8_000);
    assert_silent(&right);
}

#[test]
fn a_leg_that_ended_may_lend_its_place_to_another_one() {
    let mut world = world();
    let (owner, second, third) = (Voice::of(OWNER), Voice::of(OTHER), Voice::of(THIRD));
    let mut flow = owner.packets(150);
    flow.extend(second.packets(150));
    flow.extend(third.packets(150));
    deliver_between(&mut world, &flow, 0, 1_000_000);
    world.run_to(1_000_000);
    world.command(Command::Close { leg: OTHER });
    deliver_between(&mut world, &flow, 1_000_000, 1_500_000);
    // Takes the closed leg's place in the shard.
    world.run_to(1_500_000);
    let fifth = LegKey(5);
    world.open(fifth);
    world.command(Command::Connect {
        leg: fifth,
        peer: peer(fifth, every_format()),
    });
    deliver_between(&mut world, &flow, 1_500_000, 2_000_000);
    turn_at(&mut world, 2_000_000, Some(THIRD));
    deliver_between(&mut world, &flow, 2_000_000, 2_500_000);
    world.run_to(2_500_000);
    world.command(Command::Close { leg: OWNER });
    deliver_between(&mut world, &flow, 2_500_000, u64::MAX);
    world.run_to(3_000_000);
    world.close();
    world.check_whole();
    let [left, right] = world.kept();
    assert_voice(&left, 0, &owner, 0, 20_000);
    assert_voice(&right, 0, &second, 0, 8_000);
    assert_voice(&right, 16_000, &third, 16_000, 8_000);
    assert_eq!(gaps(&world), [(8_000, 8_000, GapReason::Absent)]);
    assert_eq!(
        world.gaps(Channel::Owner),
        [(20_000, 4_000, GapReason::Absent)]
    );
}

#[test]
fn a_hold_belongs_to_its_leg() {
    use GapReason::{Held, NotStarted, Silence};
    let mut world = world();
    let hold = |world: &mut World, leg, direction| {
        let mut held = peer(leg, every_format());
        held.direction = direction;
        world.command(Command::Connect { leg, peer: held });
    };
    let (second, third) = (Voice::of(OTHER), Voice::of(THIRD));
    let second = second.packets(300);
    let third = third.packets(300);
    deliver_between(&mut world, &second, 0, 1_000_000);
    world.run_to(1_000_000);
    hold(&mut world, OTHER, Direction::Inactive);
    // While the second is on hold the third is there, then quiet, then on hold itself.
    turn_at(&mut world, 1_500_000, Some(THIRD));
    deliver_between(&mut world, &third, 1_500_000, 2_000_000);
    world.run_to(2_500_000);
    hold(&mut world, THIRD, Direction::Inactive);
    world.run_to(3_000_000);
    // Retrieved while nobody listens.
    hold(&mut world, OTHER, Direction::SendRecv);
    turn_at(&mut world, 3_500_000, Some(OTHER));
    deliver_between(&mut world, &second, 4_000_000, 4_500_000);
    // The third is on hold still: nothing of that is the second's.
    turn_at(&mut world, 4_500_000, Some(THIRD));
    world.run_to(5_000_000);
    hold(&mut world, THIRD, Direction::SendRecv);
    deliver_between(&mut world, &third, 5_000_000, 5_500_000);
    world.close();
    world.check_whole();
    assert_eq!(
        gaps(&world),
        [
            (8_000, 4_000, Held),
            (16_000, 4_000, Silence),
            (20_000, 8_000, Held),
            (28_000, 4_000, GapReason::Loss),
            (36_000, 4_000, Held),
        ]
    );
    let (_, totals) = world.totals();
    assert_eq!(totals.other.gaps.of(NotStarted), 0);
}

#[test]
fn the_report_covers_every_leg() {
    let mut world = world();
    let second = Voice::of(OTHER);
    let third = Voice {
        law: Law::Alaw,
        payload_type: 8,
        ..Voice::of(THIRD)
    };
    let jitter = |flow: &mut Vec<(u64, LegKey, Vec<u8>)>, us: u64| {
        for packet in flow.iter_mut().skip(1).step_by(2) {
            packet.0 += us;
        }
    };
    let (mut before, mut after) = (second.packets(500), third.packets(1_000));
    after.drain(..500);
    jitter(&mut before, 2_000);
    jitter(&mut after, 10_000);
    before.remove(250);
    world.deliver(before);
    turn_at(&mut world, 10_000_000, Some(THIRD));
    world.deliver(after);
    world.run_to(20_000_000);
    world.close();
    world.check_whole();
    let (_, totals) = world.totals();
    let codecs: Vec<Codec> = totals.other.codecs.iter().collect();
    assert_eq!(codecs, [Codec::Pcmu, Codec::Pcma]);
    assert_eq!(totals.other.lost, 1);
    // RFC 3550 §6.4.1: each leg's comes near the difference that alternates, and both count alike.
    let jitter = totals.other.quality.jitter_ms.expect("measured");
    assert!((5.5..6.5).contains(&jitter), "{jitter}");
    assert!(totals.other.quality.mos.expect("judged") > 4.0);
}

#[test]
fn skew_goes_on_with_the_new_leg() {
    let samples = [None, Some(THIRD)].map(|other| {
        let mut world = world();
        let voices = [OWNER, OTHER, THIRD].map(Voice::of);
        let flow: Vec<_> = voices
            .iter()
            .flat_map(|voice| voice.packets(3_000))
            .collect();
        deliver_between(&mut world, &flow, 0, 40_000_000);
        turn_at(&mut world, 40_000_000, other);
        deliver_between(&mut world, &flow, 40_000_000, u64::MAX);
        world.run_to(60_000_000);
        world.close();
        let (_, totals) = world.totals();
        assert_eq!(totals.skew.max_us, 0);
        totals.skew.samples
    });
    assert!(samples[0] >= 1, "{samples:?}");
    assert!(
        (19..=21).contains(&(samples[1] - samples[0])),
        "{samples:?}"
    );
}

/// Two recordings of one call, each of another owner.
const SWAPPED: RecordingKey = RecordingKey(9);

fn record(world: &mut World, recording: RecordingKey, command: RecordingCommand) {
    world.command(Command::Record { recording, command });
}

/// When, to which of two recordings, what.
fn told() -> [(u64, RecordingKey, RecordingCommand); 9] {
    use RecordingCommand::{Close, Pause, Resume, Start, Turn};
    let payload = Bytes::from_static(b"closed");
    let closing = Close { payload };
    [
        (500_000, RECORDING, Start),
        (1_000_000, SWAPPED, Start),
        (1_500_000, RECORDING, Pause),
        (2_000_000, SWAPPED, Pause),
        (2_500_000, RECORDING, Resume),
        (2_507_500, SWAPPED, Resume),
        // The second party leaves: it keeps its own recording to that moment, the first one goes on.
        (4_000_000, SWAPPED, closing.clone()),
        (4_000_000, RECORDING, Turn { other: Some(THIRD) }),
        (6_000_000, RECORDING, closing),
    ]
}

#[test]
fn two_recordings_of_the_same_legs_are_each_exact_whatever_the_other_does() {
    let mut world = unstarted();
    record(
        &mut world,
        SWAPPED,
        RecordingCommand::Open {
            owner: OTHER,
            other: Some(OWNER),
            keeping: Keeping::Kept,
            payload: Bytes::from_static(b"second"),
        },
    );
    let voices = [OWNER, OTHER, THIRD].map(Voice::of);
    let mut flow: Vec<_> = voices.iter().flat_map(|voice| voice.packets(300)).collect();
    flow.remove(220);
    flow.sort_by_key(|packet| packet.0);
    let mut from = 0;
    for (us, recording, command) in told() {
        deliver_between(&mut world, &flow, from, us);
        world.run_to(us);
        record(&mut world, recording, command);
        from = us;
    }
    let all = std::mem::take(&mut world.entries);
    let only = |recording| {
        let mine = all.iter().filter(|entry| entry.recording() == recording);
        mine.cloned().collect::<Vec<Entry>>()
    };
    let [owner, other, third] = voices;

    world.entries = only(RECORDING);
    assert_eq!(world.check_whole(), 44_000);
    let [left, right] = world.kept();
    assert_voice(&left, 0, &owner, 4_000, 8_000);
    assert_silent(&left[8_000..16_000]);
    assert_voice(&left, 16_000, &owner, 20_000, 15_200);
    assert_silent(&left[31_200..31_360]);
    assert_voice(&left, 31_360, &owner, 35_360, 44_000 - 31_360);
    assert_voice(&right, 0, &other, 4_000, 8_000);
    assert_silent(&right[8_000..16_000]);
    assert_voice(&right, 16_000, &other, 20_000, 12_000);
    assert_voice(&right, 28_000, &third, 32_000, 16_000);
    assert_eq!(gaps(&world), [(8_000, 8_000, GapReason::Paused)]);
    assert_eq!(
        world.gaps(Channel::Owner),
        [
            (8_000, 8_000, GapReason::Paused),
            (31_200, 160, GapReason::Loss)
        ]
    );

    world.entries = only(SWAPPED);
    assert_eq!(world.check_whole(), 24_000);
    let [left, right] = world.kept();
    for (channel, voice) in [(&left, other), (&right, owner)] {
        assert_voice(channel, 0, &voice, 8_000, 8_000);
        // The packet of 2.5 s came in its pause.
        assert_silent(&channel[8_000..12_160]);
        assert_voice(channel, 12_160, &voice, 20_160, 24_000 - 12_160);
    }
    for channel in Channel::BOTH {
        assert_eq!(
            world.gaps(channel),
            [(8_000, 4_160, GapReason::Paused)],
            "the other one's pause is not its own"
        );
    }
    assert_eq!(world.shard.recordings(), 0);
}

#[test]
fn any_number_of_turns_anywhere_keeps_every_packet_once_and_in_its_place() {
    for seed in 1..=60 {
        let mut dice = Dice(0x7c15_9e37_79b9_7f4b ^ seed << 9);
        let mut world = world();
        let legs = [OTHER, THIRD, FOURTH];
        let codecs = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
        let mut said = Vec::new();
        for leg in [OWNER, OTHER, THIRD, FOURTH] {
            let codec = codecs[dice.below(4) as usize];
            let mut speaker = Speaker::new(leg, codec);
            // Up to 80 ms late, but never the first 200 ms: they decide where the party lies.
            let mut packets = speaker.say_for(6_000);
            packets.retain(|said| said.at_us < 300_000 || dice.below(20) > 0);
            for packet in packets.iter_mut().filter(|said| said.at_us >= 300_000) {
                packet.arrives_us += dice.below(80_000);
            }
            said.extend(packets);
        }
        said.sort_by_key(|said| said.arrives_us);
        // Which leg feeds the channel, from when.
        let mut feeds = vec![(0, Some(OTHER))];
        let mut next = 400_000 + dice.below(600_000);
        for packet in &said {
            while next <= packet.arrives_us {
                let other = match dice.below(5) {
                    0 => None,
                    n => Some(legs[n as usize % 3]),
                };
                turn_at(&mut world, next, other);
                feeds.push((next, other));
                // Sometimes several in one window, or at once.
                next += match dice.below(3) {
                    0 => 0,
                    1 => dice.below(100_000),
                    _ => dice.below(900_000),
                };
            }
            world.hear(vec![packet.clone()]);
        }
        world.run_to(6_200_000);
        world.close();
        world.check_whole();
        let heard = Heard::of(&world, Channel::Other);
        let owner = Heard::of(&world, Channel::Owner);
        for packet in &said {
            let fed = feeds.iter().rev().find(|(at, _)| *at <= packet.arrives_us);
            let &(from, leg) = fed.expect("the first is at 0");
            let place = vec![packet.at_us * 8 / 1_000];
            let about = format!("seed {seed}: {:?} at {} us", packet.leg, packet.at_us);
            if packet.leg == OWNER {
                assert_eq!(owner.find(packet), place, "{about}");
                continue;
            }
            // A packet that lies on the turn, or beside the rest of another party's last one, may be
            // cut in its middle; every other one is there once, or not at all.
            let found = heard.find(packet);
            let clear = packet.at_us >= from + 20_000;
            match leg == Some(packet.leg) {
                true if clear || from == 0 => assert_eq!(found, place, "{about}"),
                true => assert!(found.is_empty() || found == place, "{about}: {found:?}"),
                false => assert_eq!(found, [] as [u64; 0], "{about}"),
            }
        }
    }
}

#[test]
fn whatever_is_asked_in_whatever_order_the_recording_stays_whole() {
    for seed in 1..=150 {
        let mut dice = Dice(0x51ed_270b_0a1c_93f7 ^ seed << 11);
        let mut world = unstarted();
        let legs = [OWNER, OTHER, THIRD, FOURTH];
        let mut speakers = legs.map(|leg| Speaker::new(leg, CODECS[dice.below(5) as usize]));
        let mut said = Vec::new();
        for speaker in &mut speakers {
            while speaker.at_us < 5_000_000 {
                match dice.below(10) {
                    0 => speaker.keep_quiet(10 * dice.below(40)),
                    1 => speaker.lose(),
                    2 => {
                        speaker.ssrc += 1;
                        speaker.seq = dice.next() as u16;
                        speaker.timestamp = dice.next() as u32;
                    }
                    3 => speaker.codec = CODECS[dice.below(5) as usize],
                    _ => said.extend(speaker.say_for(20 * (1 + dice.below(8)))),
                }
            }
        }
        for said in &mut said {
            said.arrives_us += dice.below(120_000);
        }
        said.sort_by_key(|said| said.arrives_us);
        for packet in said {
            world.hear(vec![packet]);
            let leg = legs[1 + dice.below(3) as usize];
            match dice.below(60) {
                0 => turn(&mut world, None),
                1..=3 => turn(&mut world, Some(leg)),
                4 => world.record(RecordingCommand::Pause),
                5..=6 => world.record(RecordingCommand::Resume),
                7..=8 => world.record(RecordingCommand::Start),
                9 => {
                    let mut peer = peer(leg, every_format());
                    peer.direction = match dice.below(2) {
                        0 => Direction::SendOnly,
                        _ => Direction::SendRecv,
                    };
                    world.command(Command::Connect { leg, peer });
                }
                10 if dice.below(8) == 0 => world.command(Command::Close { leg }),
                // The thread stood still.
                11 if dice.below(4) == 0 => world.now_us += dice.below(400_000),
                _ => {}
            }
        }
        world.close();
        world.check_whole();
        assert_eq!(world.shard.recordings(), 0, "seed {seed}");
    }
}
