//! What is said in other codecs than G.711 is kept as it came, in its place, and nothing of a pause is.

mod common;

use bytes::Bytes;
use common::*;
use duolog_audio::codec::Codec;
use duolog_media::*;

const WIDE: [Codec; 4] = [CODECS[1], CODECS[2], CODECS[3], CODECS[4]];

fn start(world: &mut World) {
    world.record(RecordingCommand::Start);
}

fn as_kept(said: &[Said]) -> Vec<Kept> {
    let kept = said.iter().map(|said| Kept {
        at: said.at_us / 125,
        ticks: said.ticks,
        codec: said.codec,
        payload: said.payload.clone(),
    });
    kept.collect()
}

fn formats(world: &World) -> Vec<SampleFormat> {
    let formats = world.entries.iter().filter_map(|entry| match entry {
        Entry::Block(block) => Some(block.format),
        _ => None,
    });
    formats.collect()
}

#[test]
fn payloads_are_kept_as_they_came_and_no_block_holds_bytes() {
    for codec in WIDE {
        for ptime_ms in [10, 20, 30, 40, 60] {
            let mut world = World::of_every_codec();
            start(&mut world);
            let mut speakers = [OWNER, OTHER].map(|leg| Speaker {
                ptime_ms,
                ..Speaker::new(leg, codec)
            });
            let said = speakers.each_mut().map(|speaker| speaker.say_for(3_000));
            world.hear(said.concat());
            world.close();
            assert_eq!(world.check_whole(), 24_160);
            let (_, totals) = world.totals();
            for (channel, said) in Channel::BOTH.into_iter().zip(&said) {
                assert_eq!(
                    world.coded(channel),
                    as_kept(said),
                    "{codec:?} {ptime_ms} ms"
                );
                assert_eq!(world.gaps(channel), [(0, 160, GapReason::NotStarted)]);
            }
            assert_eq!(totals.other.audio_ticks, 24_000);
            assert_eq!(totals.owner.codecs.iter().collect::<Vec<_>>(), [codec]);
            assert!(
                formats(&world)
                    .iter()
                    .all(|&format| format == SampleFormat::Empty)
            );
        }
    }
}

#[test]
fn coded_frames_come_right_before_the_block_of_their_stretch() {
    let mut world = World::of_every_codec();
    start(&mut world);
    world.hear(Speaker::new(OWNER, Codec::Opus).say_for(2_000));
    world.close();
    let (mut stretches, mut heard) = (0, 0);
    for (index, entry) in world.entries.iter().enumerate() {
        if let Entry::Coded {
            position, ticks, ..
        } = entry
        {
            let Entry::Block(block) = &world.entries[index + 1] else {
                panic!("{:?}", world.entries[index + 1]);
            };
            assert_eq!((block.position, block.samples), (*position, *ticks));
            assert_eq!(block.heard[1], 0);
            heard += block.heard[0];
            stretches += 1;
        }
    }
    assert_eq!((stretches, heard), (7, 16_000));
}

#[test]
fn beside_g711_a_coded_side_is_silence_in_the_law_of_the_other() {
    for (codec, format) in [
        (Codec::Pcmu, SampleFormat::Mulaw),
        (Codec::Pcma, SampleFormat::Alaw),
    ] {
        let mut world = World::of_every_codec();
        start(&mut world);
        let owner = Speaker::new(OWNER, Codec::Opus).say_for(2_000);
        let other = Speaker::new(OTHER, codec).say_for(2_000);
        world.hear([owner.clone(), other.clone()].concat());
        world.close();
        world.check_whole();
        assert_eq!(world.coded(Channel::Owner), as_kept(&owner));
        assert_eq!(world.coded(Channel::Other), []);
        let heard = Heard::of(&world, Channel::Other);
        assert!(
            other
                .iter()
                .all(|said| heard.find(said) == [said.at_us / 125])
        );
        assert_silent(&world.kept()[0]);
        assert!(formats(&world).iter().all(|&made| made == format));
    }
}

#[test]
fn a_change_of_codec_moves_nothing_and_is_told() {
    let mut world = World::of_every_codec();
    start(&mut world);
    let mut speaker = Speaker::new(OWNER, Codec::Pcmu);
    let mut said = Vec::new();
    for codec in [
        Codec::Pcmu,
        Codec::G722,
        Codec::Pcma,
        Codec::G729,
        Codec::Pcmu,
    ] {
        speaker.codec = codec;
        said.extend(speaker.say_for(500));
    }
    world.hear(said.clone());
    world.close();
    assert_eq!(world.check_whole(), 20_160);
    assert_eq!(
        world.gaps(Channel::Owner),
        [(0, 160, GapReason::NotStarted)]
    );
    let heard = Heard::of(&world, Channel::Owner);
    for said in &said {
        assert_eq!(heard.find(said), [said.at_us / 125], "{:?}", said.codec);
    }
    let (_, totals) = world.totals();
    assert_eq!(
        totals.owner.codecs.iter().collect::<Vec<_>>(),
        [Codec::Pcmu, Codec::G722, Codec::Pcma, Codec::G729]
    );
}

#[test]
fn a_change_to_a_codec_of_another_clock_stays_in_its_place() {
    let mut world = World::of_every_codec();
    start(&mut world);
    let mut speaker = Speaker::new(OWNER, Codec::Pcmu);
    let mut said = Vec::new();
    for codec in [
        Codec::Pcmu,
        Codec::Opus,
        Codec::G722,
        CODECS[4],
        Codec::Pcma,
    ] {
        speaker.codec = codec;
        said.extend(speaker.say_for(1_000));
    }
    world.hear(said.clone());
    world.close();
    let end = world.check_whole();
    assert!(end.abs_diff(40_160) <= 80, "{end}");
    let heard = Heard::of(&world, Channel::Owner);
    for said in &said {
        let found = heard.find(said);
        let is_near = |at: &u64| at.abs_diff(said.at_us / 125) <= 80;
        assert!(
            found.len() == 1 && found.iter().all(is_near),
            "{found:?}, {} {:?}",
            said.at_us,
            said.codec
        );
    }
    let (_, totals) = world.totals();
    assert!(totals.owner.gaps.sum() <= 160 + 80, "{totals:?}");
}

#[test]
fn a_stretch_of_another_codec_after_g711_takes_no_room_in_blocks() {
    let mut world = World::of_every_codec();
    start(&mut world);
    let mut speaker = Speaker::new(OWNER, Codec::Pcmu);
    let mut said = speaker.say_for(1_000);
    speaker.codec = Codec::G722;
    said.extend(speaker.say_for(2_000));
    world.hear(said);
    world.run_to(5_000_000);
    world.close();
    world.check_whole();
    let formats = formats(&world);
    assert_eq!(formats[0], SampleFormat::Mulaw);
    assert_eq!(formats[5], SampleFormat::Empty);
    assert_eq!(
        *formats.last().expect("blocks"),
        SampleFormat::Mulaw,
        "nobody speaks"
    );
}

#[test]
fn nothing_of_a_payload_that_touches_a_pause_is_in_any_entry() {
    for codec in WIDE {
        for jitter_us in [0, 90_000] {
            let mut world = World::of_every_codec();
            start(&mut world);
            let mut said = Speaker::new(OWNER, codec).say_for(4_000);
            let mut dice = Dice(77);
            for said in said.iter_mut().skip(1).filter(|_| jitter_us > 0) {
                said.arrives_us += dice.below(jitter_us);
            }
            let (pause_us, resume_us) = (1_027_500, 2_033_125);
            let mut left = said.clone();
            for (until, command) in [
                (pause_us, Some(RecordingCommand::Pause)),
                (resume_us, Some(RecordingCommand::Resume)),
                (4_200_000, None),
            ] {
                let (now, later) = left.into_iter().partition(|said| said.arrives_us <= until);
                left = later;
                world.hear(now);
                world.run_to(until);
                command
                    .into_iter()
                    .for_each(|command| world.record(command));
            }
            world.close();
            world.check_whole();
            // Frames 50 to 100 touch the pause.
            let touches = |said: &Said| said.at_us < resume_us && said.at_us + 20_000 > pause_us;
            let free: Vec<Said> = said.iter().filter(|said| !touches(said)).cloned().collect();
            assert_eq!(
                world.coded(Channel::Owner),
                as_kept(&free),
                "{codec:?} {jitter_us}"
            );
            let paused = (8_160, 8_160, GapReason::Paused);
            assert!(
                world.gaps(Channel::Owner).contains(&paused),
                "{:?}",
                world.gaps(Channel::Owner)
            );
            for entry in &world.entries {
                let bytes = match entry {
                    Entry::Coded { bytes, .. } => bytes,
                    Entry::Block(block) => &block.bytes,
                    _ => continue,
                };
                for secret in said.iter().filter(|said| touches(said)) {
                    let secret = &secret.payload[2..10];
                    assert!(!bytes.windows(8).any(|window| window == secret));
                }
            }
            let (_, totals) = world.totals();
            assert_eq!((totals.owner.lost, totals.owner.late), (0, 0));
        }
    }
}

#[test]
fn what_was_spoken_before_the_start_is_not_kept() {
    let mut world = World::of_every_codec();
    let mut speaker = Speaker::new(OWNER, Codec::G722);
    let mut said = speaker.say_for(1_000);
    let after = said.split_off(25);
    world.hear(said);
    world.run_to(505_000);
    start(&mut world);
    world.hear(after.clone());
    world.close();
    world.check_whole();
    // Packet 24 came before the start; packet 25 is the first of which nothing was spoken before it.
    assert_eq!(
        world.gaps(Channel::Owner),
        [(0, 120, GapReason::NotStarted)]
    );
    let kept = world.coded(Channel::Owner);
    assert_eq!((kept.len(), kept[0].at), (25, 120));
    assert_eq!(kept[0].payload, after[0].payload);
}

#[test]
fn a_frame_on_top_of_another_keeps_its_payload_and_its_time_is_counted_once() {
    let mut world = World::of_every_codec();
    start(&mut world);
    let mut speaker = Speaker::new(OWNER, Codec::G722);
    let mut said = speaker.say_for(500);
    // The sender's time stamps step back by half a packet.
    speaker.timestamp = speaker.timestamp.wrapping_sub(80);
    said.extend(speaker.say_for(500));
    world.hear(said.clone());
    world.close();
    world.check_whole();
    let kept = world.coded(Channel::Owner);
    assert_eq!(kept.len(), 50);
    assert_eq!((kept[25].at, kept[25].ticks), (4_160 - 80, 160));
    assert_eq!(kept[25].payload, said[25].payload);
    let (_, totals) = world.totals();
    assert_eq!(totals.owner.audio_ticks, 8_000 - 80);
}

#[test]
fn late_doubled_and_reordered_frames_are_treated_as_g711_is() {
    for codec in CODECS {
        let mut world = World::of_every_codec();
        start(&mut world);
        let mut said = Speaker::new(OWNER, codec).say_for(2_000);
        said[20].arrives_us += 700_000;
        said[30].arrives_us += 180_000;
        let mut twice = said[40].clone();
        twice.arrives_us += 30_000;
        said.push(twice);
        world.hear(said.clone());
        world.run_to(2_300_000);
        world.close();
        world.check_whole();
        let (_, totals) = world.totals();
        let owner = totals.owner;
        assert_eq!(
            (owner.late, owner.lost, owner.duplicate, owner.reordered),
            (1, 1, 1, 1),
            "{codec:?}"
        );
        assert_eq!(owner.gaps.of(GapReason::Loss), 160);
        let heard = Heard::of(&world, Channel::Owner);
        assert_eq!(heard.find(&said[20]), []);
        assert_eq!(heard.find(&said[30]), [4_960]);
        assert_eq!(heard.find(&said[40]), [6_560]);
    }
}

#[test]
fn what_a_full_spool_refuses_is_told_and_counted_to_the_tick() {
    for codec in CODECS {
        let mut world = World::of_every_codec();
        start(&mut world);
        let mut speaker = Speaker {
            ptime_ms: 60,
            ..Speaker::new(OWNER, codec)
        };
        let said = speaker.say_for(6_000);
        let between = |from: u64, until: u64| {
            let wanted = said
                .iter()
                .filter(|said| (from..until).contains(&said.at_us));
            wanted.cloned().collect::<Vec<_>>()
        };
        world.hear(between(0, 2_000_000));
        world.full = true;
        world.hear(between(2_000_000, 3_490_000));
        world.full = false;
        world.hear(between(3_490_000, 6_000_000));
        world.close();
        let (end, totals) = world.totals();
        let full: u64 = world
            .gaps(Channel::Owner)
            .iter()
            .filter(|gap| gap.2 == GapReason::SpoolFull)
            .map(|gap| gap.1)
            .sum();
        assert_eq!(
            totals.owner.gaps.of(GapReason::SpoolFull),
            full,
            "{codec:?}"
        );
        assert_eq!(totals.owner.audio_ticks + full, end - 160);
        assert_eq!(totals.other.gaps.sum(), end);
        let kept: u64 = world
            .coded(Channel::Owner)
            .iter()
            .map(|frame| frame.ticks)
            .sum();
        if codec == Codec::Pcmu {
            continue;
        }
        let wanted = end - 160 - full;
        // The last frame before the gap may reach into it; that part counts as refused.
        assert!(
            (wanted..wanted + 480).contains(&kept),
            "{codec:?}: {kept} {wanted}"
        );
    }
}

#[test]
fn a_recording_closed_while_the_spool_is_full_counts_its_last_audio_as_refused() {
    for codec in CODECS {
        let mut world = World::of_every_codec();
        start(&mut world);
        let said = Speaker::new(OWNER, codec).say_for(2_000);
        world.full = true;
        world.hear(said);
        world.close();
        world.full = false;
        world.run_to(3_000_000);
        let (end, totals) = world.totals();
        assert_eq!((end, totals.owner.audio_ticks), (16_160, 0), "{codec:?}");
        assert_eq!(totals.owner.gaps.of(GapReason::SpoolFull), 16_000);
    }
}

#[test]
fn a_mixed_recording_has_one_channel_and_says_so() {
    for codec in [Codec::Pcmu, Codec::Opus] {
        let mut world = World::of_every_codec();
        let recording = RecordingKey(8);
        let payload = Bytes::new();
        let (owner, other) = (OWNER, None);
        for command in [
            RecordingCommand::Open {
                owner,
                other,
                keeping: Keeping::Kept,
                payload: payload.clone(),
            },
            RecordingCommand::Start,
        ] {
            world.command(Command::Record { recording, command });
        }
        let mut speaker = Speaker::new(OWNER, codec);
        let mut said = speaker.say_for(1_000);
        speaker.lose();
        said.extend(speaker.say_for(1_000));
        world.hear([said.clone(), Speaker::new(OTHER, codec).say_for(2_000)].concat());
        let command = RecordingCommand::Close { payload };
        world.command(Command::Record { recording, command });
        world.entries.retain(|entry| entry.recording() == recording);
        let end = world.check_whole();
        let (_, totals) = world.totals();
        assert_eq!(totals.layout, Layout::Mixed);
        assert_eq!(totals.owner.gaps.sum(), 320);
        assert_eq!(totals.owner.audio_ticks, end - 320);
        let [left, right] = world.kept();
        assert_silent(&right);
        let heard = Heard::of(&world, Channel::Owner);
        assert!(
            said.iter()
                .all(|said| heard.find(said) == [said.at_us / 125])
        );
        assert_eq!(world.coded(Channel::Other), []);
        assert_eq!(left.len(), right.len());
    }
}

#[test]
fn the_same_leg_twice_is_no_recording() {
    let mut world = World::of_every_codec();
    let (owner, other, payload) = (OWNER, Some(OWNER), Bytes::new());
    let command = RecordingCommand::Open {
        owner,
        other,
        keeping: Keeping::Kept,
        payload,
    };
    world.command(Command::Record {
        recording: RecordingKey(9),
        command,
    });
    assert_eq!(world.dropped(DropReason::Command), 1);
}

#[test]
fn a_flood_of_tiny_or_huge_payloads_has_a_limit() {
    let mut world = World::of_every_codec();
    start(&mut world);
    // Opus packets of 2.5 ms with 1,200 octets each: 3.8 Mb/s.
    for seq in 0..2_000_u16 {
        world.run_to(u64::from(seq) * 2_500);
        let mut payload = vec![0x5a; 1_200];
        payload[0] = 28 << 3;
        let timestamp = u32::from(seq) * 120;
        let packet = rtp(5, seq, timestamp, payload_type(Codec::Opus), &payload);
        world.receive(rtp_port(OWNER), home(OWNER), &packet);
    }
    world.close();
    world.check_whole();
    assert!(world.dropped(DropReason::Misplaced) > 500);
    assert!(world.coded(Channel::Owner).len() > 500);
}
