//! What duolog plays is heard by the party it is for, at its time, and is never kept.

mod common;

use std::sync::Arc;

use common::*;
use duolog_audio::g711::{self, Law};
use duolog_audio::measure::goertzel_dbfs;
use duolog_audio::prompt::Prompt;
use duolog_audio::tone;
use duolog_media::*;
use duolog_rtp::PayloadType;
use duolog_rtp::event::{Digit, Phase, TelephoneEvent};
use duolog_rtp::packet::View;

fn play(world: &mut World, leg: LegKey, play: u64, how: How, sound: &Arc<Prompt>) {
    world.command(Command::Play {
        leg,
        play: PlayKey(play),
        sound: Arc::clone(sound),
        how,
    });
}

fn played(world: &World) -> Vec<(u64, u64, Completion)> {
    let events = world.events.iter().filter_map(|&(at, event)| match event {
        Event::Played {
            play, completion, ..
        } => Some((at, play.0, completion)),
        _ => None,
    });
    events.collect()
}

fn decoded(view: &View<'_>) -> Vec<i16> {
    let law = match view.payload_type().0 {
        8 => Law::Alaw,
        _ => Law::Mulaw,
    };
    let codes = view.payload().iter();
    codes.map(|&code| g711::decode(law, code)).collect()
}

/// Numbers without a hole, time stamps that never go back.
fn assert_smooth(heard: &[(u64, View<'_>)]) {
    for pair in heard.windows(2) {
        let ((_, before), (at, after)) = (&pair[0], &pair[1]);
        assert_eq!(after.seq(), before.seq().next(), "at {at} us");
        assert!(
            after.timestamp().since(before.timestamp()) > 0,
            "at {at} us"
        );
    }
}

fn prompt_of(samples: usize) -> Arc<Prompt> {
    let wave = (0..samples).map(|n| ((n * 37) % 4_001) as i16 * 4 - 8_000);
    Arc::new(Prompt::from_linear(wave.collect::<Vec<_>>()))
}

#[test]
fn a_prompt_is_heard_instead_of_the_other_party_and_not_kept() {
    let mut world = World::new(Sabotage::None);
    world.record(RecordingCommand::Start);
    let (owner, other) = (Voice::of(OWNER), Voice::of(OTHER));
    let mut flow = owner.packets(100);
    flow.extend(other.packets(100));
    flow.sort_by_key(|&(at, ..)| at);
    let rest = flow.split_off(50);
    world.deliver(flow);
    let prompt = prompt_of(4_100);
    world.run_to(490_000);
    play(&mut world, OTHER, 5, How::Instead, &prompt);
    world.deliver(rest);
    world.run_to(2_500_000);
    world.close();
    let heard = world.heard_by(OTHER);
    assert_smooth(&heard);
    let during: Vec<_> = heard
        .iter()
        .filter(|(at, _)| (490_000..1_010_000).contains(at))
        .collect();
    assert_eq!(during.len(), 26);
    for (frame, (at, view)) in during.iter().enumerate() {
        assert_eq!(*at, 490_000 + 20_000 * frame as u64);
        let mut expected = prompt.mulaw[frame * 160..(frame * 160 + 160).min(4_100)].to_vec();
        expected.resize(160, 0xff);
        assert_eq!(view.payload(), expected);
        assert_eq!(view.marker(), frame == 0);
    }
    assert!(during.windows(2).all(|pair| {
        let step = pair[1].1.timestamp().since(pair[0].1.timestamp());
        step == 160
    }));
    // Speech that was sent 10 ms before the prompt was still being heard when it began.
    assert_eq!(played(&world), [(1_020_000, 5, Completion::Whole)]);
    let resumed = heard.iter().find(|(at, _)| *at >= 1_020_000);
    assert!(resumed.is_some_and(|(_, view)| view.marker()));
    // The other direction never noticed, and neither did the recording.
    assert_eq!(world.heard_by(OWNER).len(), 100);
    let [left, right] = world.kept();
    assert_voice(&left, 0, &owner, 0, 16_000);
    assert_voice(&right, 0, &other, 0, 16_000);
}

#[test]
fn a_prompt_speaks_the_legs_law() {
    let mut world = World::new(Sabotage::None);
    world.command(Command::Connect {
        leg: OTHER,
        peer: peer(OTHER, alaw()),
    });
    let prompt = prompt_of(160);
    play(&mut world, OTHER, 1, How::Instead, &prompt);
    let heard = world.heard_by(OTHER);
    assert_eq!(heard[0].1.payload_type(), PayloadType(8));
    assert_eq!(heard[0].1.payload(), &prompt.alaw[..]);
}

#[test]
fn stopping_and_replacing_cut_a_sound() {
    let mut world = World::new(Sabotage::None);
    let prompt = prompt_of(8_000);
    play(&mut world, OTHER, 1, How::Instead, &prompt);
    world.run_to(100_000);
    play(&mut world, OTHER, 2, How::Instead, &prompt);
    world.run_to(200_000);
    world.command(Command::StopPlaying { leg: OTHER });
    world.run_to(300_000);
    play(&mut world, OTHER, 3, How::Under, &prompt);
    world.run_to(350_000);
    world.command(Command::Close { leg: OTHER });
    let cut = [(100_000, 1), (200_000, 2), (350_000, 3)];
    assert_eq!(
        played(&world),
        cut.map(|(at, play)| (at, play, Completion::Cut))
    );
    // A frame at once, then one every 20 ms, none after the stop.
    let heard = world.heard_by(OTHER);
    let count = heard.iter().filter(|(at, _)| *at < 300_000).count();
    assert_eq!(count, 6 + 6);
}

#[test]
fn a_tone_is_mixed_under_speech_and_not_kept() {
    let mut world = World::new(Sabotage::None);
    world.record(RecordingCommand::Start);
    let sound = Arc::new(Prompt::tone(&tone::repeat_tone()));
    let (owner, other) = (Voice::of(OWNER), Voice::of(OTHER));
    let mut flow = owner.packets(100);
    flow.extend(other.packets(100));
    flow.sort_by_key(|&(at, ..)| at);
    let rest = flow.split_off(50);
    world.deliver(flow);
    world.run_to(490_000);
    for leg in [OWNER, OTHER] {
        play(&mut world, leg, leg.0, How::Under, &sound);
    }
    world.deliver(rest);
    world.close();
    for (leg, voice) in [(OWNER, other), (OTHER, owner)] {
        let heard = world.heard_by(leg);
        assert_eq!(heard.len(), 100, "nothing is added to what passes");
        assert_smooth(&heard);
        for (index, (at, view)) in heard.iter().enumerate() {
            let from = index as u64 * 160;
            for (offset, sample) in decoded(view).into_iter().enumerate() {
                let spoken = voice.sample(from + offset as u64);
                let into = (from as usize + offset).checked_sub(25 * 160);
                let under = into.and_then(|into| sound.linear.get(into)).copied();
                let expected = match under {
                    Some(under) if under != 0 => {
                        let code = g711::encode(Law::Mulaw, spoken.saturating_add(under));
                        g711::decode(Law::Mulaw, code)
                    }
                    _ => spoken,
                };
                assert_eq!(sample, expected, "packet {index} at {at} us");
            }
        }
    }
    let [left, right] = world.kept();
    assert_voice(&left, 0, &owner, 0, 16_000);
    assert_voice(&right, 0, &other, 0, 16_000);
    assert_eq!(played(&world).len(), 2);
}

#[test]
fn a_tone_under_silence_is_heard_in_time() {
    let mut world = World::new(Sabotage::None);
    world.record(RecordingCommand::Start);
    let sound = Arc::new(Prompt::tone(&tone::repeat_tone()));
    let voice = Voice::of(OWNER);
    world.deliver(voice.packets(50));
    world.run_to(2_000_000);
    play(&mut world, OTHER, 1, How::Under, &sound);
    world.run_to(2_200_000);
    // The party speaks again in the middle of the tone: it goes on under the speech.
    let later = Voice {
        first_seq: voice.first_seq.wrapping_sub(60),
        ..voice
    };
    world.deliver((110..200).map(|index| later.packet(index)).collect());
    world.close();
    let heard = world.heard_by(OTHER);
    assert_smooth(&heard);
    let alone: Vec<_> = heard
        .iter()
        .filter(|(at, _)| (1_900_000..2_200_000).contains(at))
        .collect();
    assert_eq!(alone[0].0, 2_000_000);
    assert_eq!(alone.len(), 10);
    let samples: Vec<i16> = alone.iter().flat_map(|(_, view)| decoded(view)).collect();
    assert!(goertzel_dbfs(&samples[160..], 1_400.0) > -30.0);
    let frame = |n: usize| &sound.mulaw[n * 160..n * 160 + 160];
    assert_eq!(alone[3].1.payload(), frame(3));
    // Time stamps tell the silence: 2 s lie between the first packet and the tone.
    let since = alone[0].1.timestamp().since(heard[0].1.timestamp());
    assert_eq!(since, 16_000);
    let [left, _] = world.kept();
    assert_silent(&left[8_000..17_600]);
    assert_voice(&left, 17_600, &voice, 17_600, 14_400);
    let over = played(&world);
    assert_eq!(over.len(), 1);
    assert!((2_440_000..2_540_000).contains(&over[0].0), "{over:?}");
    assert_eq!(over[0].2, Completion::Whole);
}

#[test]
fn taken_digits_reach_the_policy_and_nobody_else() {
    let mut world = World::new(Sabotage::None);
    world.command(Command::TakeDigits { leg: OWNER });
    world.record(RecordingCommand::Start);
    let voice = Voice::of(OWNER);
    let mut flow = voice.packets(20);
    let event = |phase, duration_ticks| TelephoneEvent {
        event: 10,
        phase,
        volume: 10,
        duration_ticks,
    };
    let timestamp = voice.first_timestamp.wrapping_add(20 * 160);
    let packets = [
        event(Phase::Held, 160),
        event(Phase::Held, 320),
        event(Phase::Released, 480),
        event(Phase::Released, 480),
        event(Phase::Released, 480),
    ];
    for (index, packet) in packets.iter().enumerate() {
        let seq = voice.first_seq.wrapping_add(20 + index as u16);
        let bytes = rtp(voice.ssrc, seq, timestamp, 101, &packet.write());
        flow.push((420_000 + 20_000 * (index as u64).min(2), OWNER, bytes));
    }
    let after = Voice {
        first_seq: voice.first_seq.wrapping_add(2),
        ..voice
    };
    flow.extend((23..50).map(|index| after.packet(index)));
    world.deliver(flow);
    world.close();
    let digits: Vec<_> = world
        .events
        .iter()
        .filter_map(|&(at, event)| match event {
            Event::Digit { leg, digit } => Some((at, leg, digit.event, digit.duration_ms)),
            _ => None,
        })
        .collect();
    assert_eq!(digits, [(460_000, OWNER, 10, 60)]);
    let heard = world.heard_by(OTHER);
    assert_eq!(heard.len(), 47, "no event, and no hole in the numbers");
    assert_smooth(&heard);
    let since = heard[20].1.timestamp().since(heard[19].1.timestamp());
    assert_eq!(since, 640, "the time of the key is kept");
    let gaps = world.gaps(Channel::Owner);
    assert!(gaps.contains(&(3_200, 480, GapReason::Dtmf)), "{gaps:?}");
    let (_, totals) = world.totals();
    assert_eq!((totals.owner.lost, totals.owner.expected), (0, 52));
}

#[test]
fn a_digit_whose_end_is_lost_is_told_by_the_deadline() {
    let mut world = World::new(Sabotage::None);
    world.command(Command::TakeDigits { leg: OWNER });
    world.receive(
        rtp_port(OWNER),
        home(OWNER),
        &rtp(1, 1, 1, 101, &[11, 10, 1, 64]),
    );
    world.run_to(1_000_000);
    let told = world
        .events
        .iter()
        .any(|(_, event)| matches!(event, Event::Digit { digit, .. } if digit.event == 11));
    assert!(told);
}

#[test]
fn sent_digits_are_paced_and_speech_gives_way() {
    let mut world = World::new(Sabotage::None);
    let voice = Voice::of(OWNER);
    let mut flow = voice.packets(60);
    let rest = flow.split_off(10);
    world.deliver(flow);
    world.run_to(190_000);
    let digit = |event| Digit {
        event,
        duration_ms: 100,
    };
    world.command(Command::SendDigits {
        leg: OTHER,
        digits: vec![digit(4), digit(10)],
    });
    world.deliver(rest);
    let heard = world.heard_by(OTHER);
    assert_eq!(heard.len(), 60 + 14 - suppressed(&world));
    for pair in heard.windows(2) {
        assert_eq!(pair[1].1.seq(), pair[0].1.seq().next());
        assert!(pair[1].1.timestamp().since(pair[0].1.timestamp()) >= 0);
    }
    let events: Vec<_> = heard
        .iter()
        .filter(|(_, view)| view.payload_type() == PayloadType(101))
        .collect();
    let parsed: Vec<_> = events
        .iter()
        .map(|(_, view)| TelephoneEvent::parse(view.payload()).expect("an event"))
        .collect();
    assert_eq!(
        events.len(),
        14,
        "two presses of four updates and three ends"
    );
    for (press, key) in parsed.chunks(7).zip([4, 10]) {
        assert!(press.iter().all(|event| event.event == key));
        assert!(
            press[4..]
                .iter()
                .all(|event| event.phase == Phase::Released && event.duration_ticks == 800)
        );
    }
    assert!(events[0].1.marker() && events[7].1.marker() && !events[1].1.marker());
    assert!(events.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    let last = events[13].0;
    assert!(
        heard
            .iter()
            .any(|(at, view)| *at > last && view.payload_type() == PayloadType(0))
    );
}

fn suppressed(world: &World) -> usize {
    world.dropped(DropReason::Suppressed) as usize
}

#[test]
fn tone_instants_are_right_over_five_minutes() {
    for every_s in [10_u64, 20, 90] {
        let mut world = World::new(Sabotage::None);
        let sound = Arc::new(Prompt::tone(&tone::repeat_tone()));
        let voice = Voice::of(OWNER);
        // Speech with a second of suppressed silence in every three.
        let mut flow = Vec::new();
        let mut seq = 0_u16;
        for index in 0..15_000_u64 {
            if index / 50 % 3 == 2 {
                continue;
            }
            let timestamp = 160 * index as u32;
            flow.push((
                index * PACKET,
                OWNER,
                rtp(voice.ssrc, seq, timestamp, 0, &[0xff; 160]),
            ));
            seq = seq.wrapping_add(1);
        }
        let mut flow = flow.into_iter().peekable();
        let mut asked = Vec::new();
        for tick in 1..=(300 / every_s) {
            let at = tick * every_s * 1_000_000 + 3_300;
            let mut before = Vec::new();
            while let Some(packet) = flow.next_if(|packet| packet.0 < at) {
                before.push(packet);
            }
            world.deliver(before);
            world.run_to(at);
            play(&mut world, OTHER, tick, How::Under, &sound);
            asked.push(at);
        }
        world.deliver(flow.collect());
        world.run_to(301_000_000);
        let heard = world.heard_by(OTHER);
        let mut begins: Vec<u64> = Vec::new();
        for (at, view) in &heard {
            let loud = view.payload().iter().any(|&code| code != 0xff);
            if loud && begins.last().is_none_or(|last| at - last > 1_000_000) {
                begins.push(*at);
            }
        }
        assert_eq!(begins.len(), asked.len());
        for (begin, asked) in begins.iter().zip(&asked) {
            assert!(begin.abs_diff(*asked) <= 20_000, "{begin} for {asked}");
        }
    }
}

/// What a leg's peer says of the way its media goes.
fn turn(world: &mut World, leg: LegKey, direction: Direction) {
    let media = PeerMedia {
        direction,
        ..peer(leg, mulaw())
    };
    world.command(Command::Connect { leg, peer: media });
}

fn begun(world: &World) -> Vec<(u64, u64)> {
    let events = world.events.iter().filter_map(|&(at, event)| match event {
        Event::Begun { play, .. } => Some((at, play.0)),
        _ => None,
    });
    events.collect()
}

/// Every frame of a sound, in order, from one instant on without a pause.
#[track_caller]
fn assert_whole(heard: &[(u64, View<'_>)], prompt: &Prompt) {
    assert_eq!(heard.len(), prompt.mulaw.len() / 160);
    for (frame, (at, view)) in heard.iter().enumerate() {
        assert_eq!(*at, heard[0].0 + 20_000 * frame as u64);
        assert_eq!(
            view.payload(),
            &prompt.mulaw[frame * 160..frame * 160 + 160]
        );
    }
}

#[test]
fn a_prompt_waits_for_a_party_that_does_not_listen() {
    for direction in [Direction::Inactive, Direction::SendOnly] {
        let mut world = World::new(Sabotage::None);
        let prompt = prompt_of(1_600);
        turn(&mut world, OTHER, direction);
        play(&mut world, OTHER, 4, How::Instead, &prompt);
        world.run_to(70_000_000);
        assert_eq!((played(&world), begun(&world)), (vec![], vec![]));
        assert!(world.heard_by(OTHER).is_empty());
        turn(&mut world, OTHER, Direction::SendRecv);
        world.run_to(71_000_000);
        let heard = world.heard_by(OTHER);
        assert_whole(&heard, &prompt);
        let first = heard[0].0;
        assert!((70_000_000..=70_020_000).contains(&first), "{first}");
        assert_eq!(begun(&world), [(first, 4)]);
        assert_eq!(played(&world), [(first + 200_000, 4, Completion::Whole)]);
    }
}

#[test]
fn a_prompt_that_a_hold_interrupts_begins_anew() {
    let mut world = World::new(Sabotage::None);
    let prompt = prompt_of(1_600);
    play(&mut world, OTHER, 4, How::Instead, &prompt);
    world.run_to(110_000);
    turn(&mut world, OTHER, Direction::Inactive);
    world.run_to(500_000);
    turn(&mut world, OTHER, Direction::RecvOnly);
    world.run_to(1_000_000);
    let heard = world.heard_by(OTHER);
    assert_eq!(heard.iter().filter(|(at, _)| *at < 500_000).count(), 6);
    assert_whole(&heard[6..], &prompt);
    assert_eq!(begun(&world), [(heard[6].0, 4)]);
    let ends = [(heard[6].0 + 200_000, 4, Completion::Whole)];
    assert_eq!(played(&world), ends);
    // One that waits can be cut, and one that follows it waits as it did.
    turn(&mut world, OTHER, Direction::Inactive);
    play(&mut world, OTHER, 5, How::Instead, &prompt);
    world.run_to(1_100_000);
    world.command(Command::StopPlaying { leg: OTHER });
    play(&mut world, OTHER, 6, How::Instead, &prompt);
    world.run_to(1_200_000);
    turn(&mut world, OTHER, Direction::SendRecv);
    world.run_to(2_000_000);
    assert_whole(&world.heard_by(OTHER)[16..], &prompt);
    let ends: Vec<_> = played(&world)
        .iter()
        .map(|(_, play, how)| (*play, *how))
        .collect();
    let whole = Completion::Whole;
    assert_eq!(ends, [(4, whole), (5, Completion::Cut), (6, whole)]);
}

#[test]
fn keys_make_a_prompt_wait_and_take_nothing_of_it() {
    let mut world = World::new(Sabotage::None);
    let prompt = prompt_of(1_600);
    play(&mut world, OTHER, 4, How::Instead, &prompt);
    world.run_to(50_000);
    let key = Digit {
        event: 5,
        duration_ms: 100,
    };
    world.command(Command::SendDigits {
        leg: OTHER,
        digits: vec![key],
    });
    world.run_to(2_000_000);
    let heard = world.heard_by(OTHER);
    let speech = heard
        .iter()
        .filter(|(_, view)| view.payload_type() == PayloadType(0));
    let speech: Vec<u8> = speech
        .flat_map(|(_, view)| view.payload().to_vec())
        .collect();
    assert_eq!(speech, prompt.mulaw[..]);
    assert!(begun(&world).is_empty(), "it goes on where it was");
    assert_eq!(played(&world).len(), 1);
}
