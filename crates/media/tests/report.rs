//! What a recording says of itself when it is closed, and what it said by then if it never is.

mod common;

use common::*;
use duolog_audio::codec::Codec;
use duolog_media::*;

const KINDS: [Codec; 3] = [Codec::Pcmu, Codec::G722, Codec::Opus];

fn start(world: &mut World) {
    world.record(RecordingCommand::Start);
}

/// Every packet that was said lies within 10 ms of its place, and the recording is as long as it ran.
#[track_caller]
fn check_places(world: &World, said: &[Said], missing: usize) {
    let end = world.check_whole();
    let last = said
        .iter()
        .map(|said| said.at_us + 1_000 * (said.ticks / 8))
        .max();
    let lasted = last.expect("something was said") / 125;
    assert!(end.abs_diff(lasted) <= 320, "{end} ticks, not {lasted}");
    let heard = Heard::of(world, Channel::Owner);
    let mut lost = Vec::new();
    for said in said {
        let wanted = said.at_us / 125;
        match heard.find(said)[..] {
            [at] => assert!(
                at.abs_diff(wanted) <= 80,
                "{:?} at {at}, not {wanted}",
                said.codec
            ),
            ref other => lost.push((wanted, other.to_vec())),
        }
    }
    assert!(lost.len() <= missing, "{lost:?}");
}

/// A little jitter, so that nothing fits by chance.
fn shaken(mut said: Vec<Said>, dice: &mut Dice) -> Vec<Said> {
    for said in &mut said {
        said.arrives_us += dice.below(4_000);
    }
    said
}

fn heard(said: Vec<Said>, missing: usize) -> World {
    let mut world = World::of_every_codec();
    start(&mut world);
    let said = shaken(said, &mut Dice(0x5eed));
    let end = said.iter().map(|said| said.arrives_us).max();
    world.hear(said.clone());
    world.run_to(end.expect("something was said"));
    world.close();
    check_places(&world, &said, missing);
    world
}

#[test]
fn what_comes_after_a_gap_lies_where_it_belongs() {
    for codec in KINDS {
        for gap_ms in [40, 200, 1_000, 2_900, 6_000, 31_000, 125_000] {
            for lost in [true, false] {
                let mut speaker = Speaker::new(OWNER, codec);
                let mut said = speaker.say_for(1_000);
                match lost {
                    true => (0..gap_ms / 20).for_each(|_| speaker.lose()),
                    false => speaker.keep_quiet(gap_ms),
                }
                said.extend(speaker.say_for(1_000));
                // More than 3,000 numbers on, the first packet is believed only when the next follows.
                let beyond = lost && gap_ms / 20 > 3_000;
                let world = heard(said, usize::from(beyond));
                let (_, totals) = world.totals();
                let reason = match lost && !beyond {
                    true => GapReason::Loss,
                    false => GapReason::Silence,
                };
                let ticks = totals.owner.gaps.of(reason);
                let wanted = 8 * gap_ms + if beyond { 160 } else { 0 };
                assert!(
                    ticks.abs_diff(wanted) <= 32,
                    "{codec:?} {gap_ms} ms: {ticks} {reason:?}"
                );
                if lost && !beyond {
                    assert_eq!(totals.owner.lost, gap_ms / 20);
                }
            }
        }
    }
}

#[test]
fn a_party_that_starts_late_lies_where_it_belongs() {
    for codec in KINDS {
        let mut speaker = Speaker::new(OWNER, codec);
        speaker.keep_quiet(7_300);
        let world = heard(speaker.say_for(2_000), 0);
        let (_, totals) = world.totals();
        let first = totals.owner.first_audio.expect("audio");
        assert!(first.abs_diff(58_560) <= 32, "{first}");
        assert_eq!(totals.owner.gaps.of(GapReason::NotStarted), first);
    }
}

#[test]
fn ten_other_sources_one_after_another() {
    for codec in KINDS {
        let mut speaker = Speaker::new(OWNER, codec);
        let mut said = Vec::new();
        for source in 0..11 {
            speaker.ssrc += 1;
            speaker.seq = speaker.seq.wrapping_mul(31).wrapping_add(source);
            speaker.timestamp = speaker.timestamp.wrapping_mul(77).wrapping_add(5);
            said.extend(speaker.say_for(700));
        }
        heard(said, 0);
    }
}

#[test]
fn packets_of_any_length_and_a_change_of_it() {
    for codec in KINDS {
        for ptime_ms in [10, 20, 30, 40, 60] {
            let mut speaker = Speaker {
                ptime_ms,
                ..Speaker::new(OWNER, codec)
            };
            heard(speaker.say_for(3_000), 0);
        }
        let mut speaker = Speaker::new(OWNER, codec);
        let mut said = Vec::new();
        for ptime_ms in [20, 60, 10, 40, 30, 60, 20] {
            speaker.ptime_ms = ptime_ms;
            said.extend(speaker.say_for(720));
        }
        let world = heard(said, 0);
        let (end, totals) = world.totals();
        // As said, but for what lies before the first packet.
        assert_eq!(
            totals.owner.gaps.sum(),
            totals.owner.gaps.of(GapReason::NotStarted)
        );
        assert!(end - totals.owner.audio_ticks <= 200);
    }
}

#[test]
fn numbers_and_time_stamps_wrap() {
    for codec in KINDS {
        for (seq, timestamp) in [(65_500, u32::MAX - 7_000), (0, u32::MAX), (65_535, 0)] {
            let mut speaker = Speaker {
                seq,
                timestamp,
                ..Speaker::new(OWNER, codec)
            };
            let world = heard(speaker.say_for(4_000), 0);
            assert_eq!(world.totals().1.owner.lost, 0);
        }
    }
}

#[test]
fn time_stamps_that_jump_move_nothing() {
    for codec in KINDS {
        for jump in [
            8_000_000,
            0x8000_0000,
            0_u32.wrapping_sub(900_000),
            1_000_000_007,
        ] {
            let mut speaker = Speaker::new(OWNER, codec);
            let mut said = speaker.say_for(2_000);
            speaker.timestamp = speaker.timestamp.wrapping_add(jump);
            said.extend(speaker.say_for(2_000));
            heard(said, 0);
        }
    }
}

#[test]
fn a_packet_lost_at_the_very_end_costs_nothing_behind_it() {
    for codec in KINDS {
        for which in 1..5 {
            let mut speaker = Speaker::new(OWNER, codec);
            let mut said = speaker.say_for(3_000);
            let lost = said.remove(said.len() - 1 - which);
            let world = heard(said.clone(), 0);
            let (end, totals) = world.totals();
            let found = Heard::of(&world, Channel::Owner).find(&said[said.len() - 1]);
            assert_eq!(found.len(), 1, "the last marker is there");
            assert_eq!(found[0] + 160, end, "nothing follows it");
            assert_eq!(totals.owner.tail_ticks, 0);
            assert_eq!(
                (totals.owner.lost, totals.owner.gaps.of(GapReason::Loss)),
                (1, 160)
            );
            assert_eq!(Heard::of(&world, Channel::Owner).find(&lost), []);
        }
    }
}

#[test]
fn packets_out_of_order_at_the_very_end_are_put_right_before_the_close() {
    for codec in KINDS {
        let mut world = World::of_every_codec();
        start(&mut world);
        let mut said = Speaker::new(OWNER, codec).say_for(3_000);
        let last = said.len() - 1;
        said[last - 3].arrives_us = said[last].arrives_us + 10;
        said[last - 2].arrives_us = said[last].arrives_us + 5;
        world.hear(said.clone());
        world.close();
        check_places(&world, &said, 0);
        let (_, totals) = world.totals();
        assert_eq!(
            (
                totals.owner.reordered,
                totals.owner.lost,
                totals.owner.tail_ticks
            ),
            (2, 0, 0)
        );
    }
}

#[test]
fn a_tick_of_drift_between_two_packets_is_closed_and_counted() {
    for (codec, rate) in [(Codec::Pcmu, 1), (Codec::G722, 1), (Codec::Opus, 6)] {
        for (step, inserted, dropped) in [(1_u32, 1, 0), (2, 2, 0), (3, 0, 0), (u32::MAX, 0, 1)] {
            let mut world = World::of_every_codec();
            start(&mut world);
            let mut speaker = Speaker::new(OWNER, codec);
            let mut said = speaker.say_for(500);
            for _ in 0..10 {
                speaker.timestamp = speaker.timestamp.wrapping_add(step.wrapping_mul(rate));
                said.extend(speaker.say_for(100));
            }
            world.hear(said);
            world.close();
            world.check_whole();
            let (_, totals) = world.totals();
            let owner = totals.owner;
            assert_eq!(
                (owner.inserted_ticks, owner.dropped_ticks),
                (10 * inserted, 10 * dropped),
                "{codec:?} {step}"
            );
            let silent = if step == 3 { 30 } else { 0 };
            assert_eq!(
                owner.gaps.of(GapReason::Silence),
                silent,
                "{codec:?} {step}"
            );
            let [left, _] = world.kept();
            if codec == Codec::Pcmu && inserted > 0 {
                // The hole holds the code before it.
                let hole = 160 + 4_000;
                assert_eq!(left[hole], left[hole - 1]);
                assert_eq!(left[hole + inserted as usize - 1], left[hole - 1]);
            }
        }
    }
}

#[test]
fn a_crash_leaves_every_whole_second_of_hold_and_silence_told() {
    let mut world = World::of_every_codec();
    start(&mut world);
    world.hear(Speaker::new(OWNER, Codec::Pcmu).say_for(2_000));
    world.run_to(6_000_000);
    let mut held = peer(OWNER, every_format());
    held.direction = Direction::SendOnly;
    world.command(Command::Connect {
        leg: OWNER,
        peer: held,
    });
    world.run_to(12_000_000);
    // No close: what is on disk now is all there will be.
    for (channel, from, reason) in [
        (Channel::Owner, 16_160, GapReason::Silence),
        (Channel::Owner, 48_000, GapReason::Held),
        (Channel::Other, 0, GapReason::NotStarted),
    ] {
        let gaps = world.gaps(channel);
        let gap = gaps.iter().find(|gap| gap.0 == from && gap.2 == reason);
        let gap = gap.unwrap_or_else(|| panic!("{channel:?} {reason:?}: {gaps:?}"));
        if reason != GapReason::Silence {
            // 200 ms are not final, 320 ms wait for their block, and less than a second was not told.
            assert!(gap.0 + gap.1 + 8_000 + 1_600 + 2_560 >= 96_000, "{gap:?}");
        }
    }
}

#[test]
fn loss_that_shows_late_outranks_the_silence_told_before() {
    let mut world = World::of_every_codec();
    start(&mut world);
    let mut speaker = Speaker::new(OWNER, Codec::G722);
    let mut said = speaker.say_for(1_000);
    (0..150).for_each(|_| speaker.lose());
    speaker.keep_quiet(2_000);
    said.extend(speaker.say_for(1_000));
    world.hear(said);
    world.close();
    world.check_whole();
    assert_eq!(
        world.gaps(Channel::Owner),
        [
            (0, 160, GapReason::NotStarted),
            (8_160, 24_000, GapReason::Loss),
            (32_160, 16_000, GapReason::Silence)
        ]
    );
}

#[test]
fn figures_of_a_stream_are_told_also_when_its_leg_ends_first() {
    for leg_first in [false, true] {
        let mut world = World::of_every_codec();
        start(&mut world);
        let mut dice = Dice(3);
        let mut both = Vec::new();
        for leg in [OWNER, OTHER] {
            both.extend(Speaker::new(leg, Codec::Opus).say_for(60_000));
        }
        for said in &mut both {
            said.arrives_us += dice.below(10_000);
        }
        world.hear(both);
        if leg_first {
            world.command(Command::Close { leg: OWNER });
        }
        world.close();
        world.check_whole();
        let (_, totals) = world.totals();
        for side in [totals.owner, totals.other] {
            let jitter_ms = side.quality.jitter_ms.expect("a stream");
            assert!((1.0..8.0).contains(&jitter_ms), "{jitter_ms}");
            assert_eq!(side.codecs.iter().collect::<Vec<_>>(), [Codec::Opus]);
            let first = side.first_audio.expect("audio");
            assert_eq!(side.last_audio, Some(first + 480_000));
        }
        assert!(totals.skew.samples >= 30, "{:?}", totals.skew);
        assert!(totals.skew.max_us <= 20_000, "{:?}", totals.skew);
    }
}

#[test]
fn a_recording_without_any_packet_says_so() {
    let mut world = World::of_every_codec();
    start(&mut world);
    world.run_to(5_000_000);
    world.close();
    assert_eq!(world.check_whole(), 40_000);
    let (_, totals) = world.totals();
    assert_eq!(totals.owner.gaps.of(GapReason::NotStarted), 40_000);
    assert_eq!(
        (totals.owner.first_audio, totals.owner.last_audio),
        (None, None)
    );
    assert_eq!(totals.owner.codecs.iter().count(), 0);
    assert_eq!(totals.skew, Skew::default());
    assert_eq!(totals.owner.quality, StreamQuality::default());
}
