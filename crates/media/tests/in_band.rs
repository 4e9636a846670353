//! Keys of parties without telephone-events: heard by the policy, kept as they came, and by nobody else.

mod common;

use common::*;
use duolog_audio::codec::{Codec, Decoder, Encoder, EncoderSettings, G729Library};
use duolog_audio::dtmf::{Detector, LiveDetector, Pressed};
use duolog_audio::measure::rms_dbfs;
use duolog_audio::prompt::Prompt;
use duolog_audio::resample::Resampler;
use duolog_audio::tone;
use duolog_media::*;
use duolog_rtp::event::Digit;

const SPEECH: &[u8] = include_bytes!("../../../fixtures/audio/demo-owner.wav");

fn speech(from: usize, count: usize) -> Vec<i16> {
    let sound = Prompt::decode(SPEECH).expect("speech").linear;
    sound
        .iter()
        .cycle()
        .skip(from)
        .take(count)
        .copied()
        .collect()
}

fn g729() -> Option<G729Library> {
    G729Library::open().ok()
}

/// Every codec that can be spoken on this machine.
fn codecs() -> Vec<Codec> {
    let spoken = |codec: &Codec| *codec != Codec::G729 || g729().is_some();
    let all = [&CODECS[..], &[Codec::Pcma]].concat();
    all.into_iter().filter(spoken).collect()
}

fn only(codec: Codec) -> Vec<PayloadFormat> {
    vec![format(payload_type(codec), Encoding::Speech(codec))]
}

/// A recorded call whose owner speaks `from` without telephone-events, and whose other party hears `to`.
fn call(from: Codec, to: Codec) -> World {
    let mut world = World::new(Sabotage::None);
    for (leg, codec) in [(OWNER, from), (OTHER, to)] {
        let peer = peer(leg, only(codec));
        world.command(Command::Connect { leg, peer });
    }
    world.command(Command::TakeDigits { leg: OWNER });
    world.record(RecordingCommand::Start);
    world
}

/// Sound of 8 kHz as a party's packets of 20 ms from 20 ms on; what they carry.
fn say(world: &mut World, leg: LegKey, codec: Codec, sound: &[i16]) -> Vec<Vec<u8>> {
    let rate_hz = codec.sample_rate_hz();
    let mut resampler = Resampler::new(8_000, rate_hz).expect("known rates");
    let mut samples = Vec::new();
    resampler.push(sound, &mut samples);
    resampler.finish(&mut samples);
    let library = g729();
    let mut encoder =
        Encoder::new(codec, EncoderSettings::default(), library.as_ref()).expect("an encoder");
    let mut payloads = Vec::new();
    let step = codec.clock_rate_hz() / 50;
    for (n, part) in samples.chunks_exact(rate_hz as usize / 50).enumerate() {
        let mut payload = Vec::new();
        encoder.encode(part, &mut payload).expect("20 ms");
        let bytes = rtp(7, n as u16, step * n as u32, payload_type(codec), &payload);
        world.run_to(PACKET * (n as u64 + 1));
        world.receive(rtp_port(leg), home(leg), &bytes);
        payloads.push(payload);
    }
    payloads
}

/// What the party of a leg has heard, at 8 kHz.
fn heard(world: &World, leg: LegKey, codec: Codec) -> Vec<i16> {
    let (rate_hz, library) = (codec.sample_rate_hz(), g729());
    let mut decoder = Decoder::new(codec, rate_hz, library.as_ref()).expect("a decoder");
    let mut samples = Vec::new();
    for (_, view) in world.heard_by(leg) {
        if view.payload_type().0 == payload_type(codec) {
            decoder
                .decode(view.payload(), &mut samples)
                .expect("a payload");
        }
    }
    let mut resampler = Resampler::new(rate_hz, 8_000).expect("known rates");
    let mut narrow = Vec::new();
    resampler.push(&samples, &mut narrow);
    resampler.finish(&mut narrow);
    narrow
}

fn digits(world: &World) -> Vec<Digit> {
    let told = world.events.iter().filter_map(|(_, event)| match event {
        Event::Digit { leg: OWNER, digit } => Some(*digit),
        _ => None,
    });
    told.collect()
}

fn events(digits: &[Digit]) -> Vec<u8> {
    digits.iter().map(|digit| digit.event).collect()
}

/// What a telephone exchange would hear.
fn keys_in(samples: &[i16]) -> Vec<Pressed> {
    let mut pressed = Vec::new();
    LiveDetector::new(8_000).push(&[samples, &[0; 800][..]].concat(), &mut pressed);
    pressed
}

fn stretches_in(samples: &[i16]) -> usize {
    let mut found = Vec::new();
    let mut detector = Detector::new(8_000).expect("a rate it takes");
    detector.push(samples, &mut found);
    detector.finish(&mut found);
    found.len()
}

/// A second of speech, the keys, and another second.
fn dialled(keys: &[(u8, u32)], after_ms: usize) -> Vec<i16> {
    let row = tone::keys(keys);
    // Keys begin wherever in a packet.
    let before = speech(0, 8_000 + 8 * after_ms);
    [&before[..], &row[..], &speech(9_000, 8_000)[..]].concat()
}

#[test]
fn a_code_is_heard_by_the_policy_kept_and_never_by_the_other_party() {
    for from in codecs() {
        for to in codecs() {
            for (length_ms, after_ms) in [(40, 3), (80, 0), (200, 13)] {
                // G.729 carries no key of 40 ms, in band or not.
                if from == Codec::G729 && length_ms < 80 {
                    continue;
                }
                let keys = [(10, length_ms), (4, length_ms), (8, length_ms)];
                let mut world = call(from, to);
                let said = say(&mut world, OWNER, from, &dialled(&keys, after_ms));
                world.run_to(10_000_000);
                world.close();
                let told = digits(&world);
                let name = format!("{from:?} to {to:?}, {length_ms} ms");
                assert_eq!(events(&told), [10, 4, 8], "{name}");
                // A key of less than 50 ms is made 50 ms long.
                let longest = told.iter().map(|digit| digit.duration_ms).max();
                let meant = length_ms.max(50) as u16;
                let most_off = if from == Codec::G729 { 25 } else { 10 };
                assert!(
                    longest.is_some_and(|ms| ms.abs_diff(meant) <= most_off),
                    "{name}: {told:?}"
                );
                let far = heard(&world, OTHER, to);
                assert_eq!(stretches_in(&far), 0, "{name}");
                assert_eq!(keys_in(&far), [], "{name}");
                assert_eq!(world.heard_by(OTHER).len(), said.len(), "{name}: packets");
                let [before, after] = [&far[1_600..7_200], &far[far.len() - 7_000..]].map(rms_dbfs);
                assert!(before > -30.0 && after > -30.0, "{name}: {before} {after}");
                assert_kept(&world, from, &said);
            }
        }
    }
}

/// The owner's track is what the owner sent.
fn assert_kept(world: &World, codec: Codec, said: &[Vec<u8>]) {
    match codec.law() {
        Some(law) => {
            let [left, _] = world.kept();
            let sent = said.concat();
            let sent: Vec<i16> = sent.iter().map(|&code| g711_decode(law, code)).collect();
            let from = left.len() - sent.len().min(left.len());
            let begins = (0..=from).find(|&at| left[at..].starts_with(&sent[..8_000]));
            let begins = begins.expect("the speech is kept");
            assert!(left[begins..].starts_with(&sent), "every key is kept");
        }
        None => {
            let kept: Vec<Vec<u8>> = world
                .coded(Channel::Owner)
                .into_iter()
                .map(|frame| frame.payload)
                .collect();
            assert_eq!(kept, said, "every key is kept");
        }
    }
}

fn g711_decode(law: duolog_audio::g711::Law, code: u8) -> i16 {
    duolog_audio::g711::decode(law, code)
}

#[test]
fn speech_is_never_kept_back() {
    for codec in codecs() {
        let mut world = call(codec, codec);
        let said = say(&mut world, OWNER, codec, &speech(0, 30 * 8_000));
        let heard = world.heard_by(OTHER);
        assert_eq!(heard.len(), said.len());
        let muted = heard.iter().zip(&said);
        let muted = muted
            .filter(|((_, view), said)| view.payload() != &said[..])
            .count();
        println!(
            "{codec:?}: {muted} of {} packets of speech kept back",
            said.len()
        );
        assert_eq!((muted, digits(&world)), (0, vec![]), "{codec:?}");
    }
}

#[test]
fn digits_that_are_let_go_are_heard_in_order_in_every_codec() {
    for codec in codecs() {
        let mut world = call(Codec::Pcmu, codec);
        let keys = [(1, 50), (2, 80), (11, 120), (15, 50), (0, 80)];
        say(&mut world, OWNER, Codec::Pcmu, &dialled(&keys, 0));
        let taken = digits(&world);
        assert_eq!(events(&taken), [1, 2, 11, 15, 0]);
        let before = world.heard_by(OTHER).len();
        world.command(Command::SendDigits {
            leg: OTHER,
            digits: taken[..3].to_vec(),
        });
        world.command(Command::SendDigits {
            leg: OTHER,
            digits: taken[3..].to_vec(),
        });
        let until = world.now_us + 3_000_000;
        world.run_to(until);
        let far = heard(&world, OTHER, codec);
        let far = &far[160 * before..];
        let pressed = keys_in(far);
        let found: Vec<u8> = pressed.iter().map(|key| key.event).collect();
        assert_eq!(found, [1, 2, 11, 15, 0], "{codec:?}");
        for (key, taken) in pressed.iter().zip(&taken) {
            let (meant, most_off) = match codec {
                Codec::G729 => (taken.duration_ms.max(100), 30),
                _ => (taken.duration_ms.max(50), 15),
            };
            let off = key.duration_ms.abs_diff(meant);
            assert!(off <= most_off, "{codec:?}: {pressed:?}");
        }
        let all = world.heard_by(OTHER);
        for pair in all.windows(2) {
            assert_eq!(pair[1].1.seq(), pair[0].1.seq().next(), "{codec:?}");
            assert!(pair[1].1.timestamp().since(pair[0].1.timestamp()) > 0);
        }
        assert!(all[before].1.marker(), "the keys begin anew");
        assert!(world.now_us - all[all.len() - 1].0 > 500_000, "and end");
    }
}

#[test]
fn digits_go_as_events_where_those_were_agreed_on() {
    let mut world = call(Codec::Pcmu, Codec::Pcmu);
    let peer = peer(OTHER, mulaw());
    world.command(Command::Connect { leg: OTHER, peer });
    say(&mut world, OWNER, Codec::Pcmu, &dialled(&[(7, 100)], 0));
    let digits = digits(&world);
    world.command(Command::SendDigits { leg: OTHER, digits });
    let until = world.now_us + 1_000_000;
    world.run_to(until);
    let events = world.heard_by(OTHER);
    let events = events
        .iter()
        .filter(|(_, view)| view.payload_type().0 == 101);
    let events: Vec<u8> = events.map(|(_, view)| view.payload()[0]).collect();
    assert!(
        events.len() > 5 && events.iter().all(|event| *event == 7),
        "{events:?}"
    );
    assert_eq!(stretches_in(&heard(&world, OTHER, Codec::Pcmu)), 0);
}

#[test]
fn a_party_with_events_may_play_tones_and_one_without_may_change() {
    let mut world = call(Codec::Pcmu, Codec::Pcmu);
    let sound = dialled(&[(5, 100)], 0);
    for (formats, heard_keys) in [(mulaw(), 1), (only(Codec::Pcmu), 0)] {
        let peer = peer(OWNER, formats);
        world.command(Command::Connect { leg: OWNER, peer });
        world.sent.clear();
        world.events.clear();
        world.now_us += 10_000_000;
        let mut flow = Vec::new();
        for (n, part) in sound.chunks_exact(160).enumerate() {
            let payload: Vec<u8> = part
                .iter()
                .map(|&sample| duolog_audio::g711::encode(duolog_audio::g711::Law::Mulaw, sample))
                .collect();
            let ssrc = 20 + heard_keys;
            let bytes = rtp(ssrc, n as u16, 160 * n as u32, 0, &payload);
            flow.push((world.now_us + PACKET * n as u64, OWNER, bytes));
        }
        world.deliver(flow);
        let far = heard(&world, OTHER, Codec::Pcmu);
        assert_eq!(keys_in(&far).len(), heard_keys as usize);
        assert_eq!(digits(&world).len(), 1 - heard_keys as usize);
    }
}

#[test]
fn a_key_ends_with_its_partys_packets() {
    let mut world = call(Codec::Pcmu, Codec::Pcmu);
    let row = tone::keys(&[(9, 400)]);
    say(&mut world, OWNER, Codec::Pcmu, &row[..1_600]);
    assert_eq!(digits(&world), []);
    world.run_to(1_000_000);
    let told = digits(&world);
    assert_eq!(events(&told), [9]);
    assert!(told[0].duration_ms.abs_diff(200) <= 10, "{told:?}");
    assert_eq!(stretches_in(&heard(&world, OTHER, Codec::Pcmu)), 0);
}

#[test]
fn keys_survive_lost_late_and_doubled_packets() {
    let sound = dialled(&[(3, 200)], 7);
    let law = duolog_audio::g711::Law::Mulaw;
    let code = |part: &[i16]| -> Vec<u8> {
        let codes = part
            .iter()
            .map(|&sample| duolog_audio::g711::encode(law, sample));
        codes.collect()
    };
    // The key is in packets 50 to 60.
    for (lost, late) in [(55, 200), (57, 53), (50, 59), (60, 54)] {
        let mut world = call(Codec::Pcmu, Codec::Pcmu);
        let mut flow = Vec::new();
        for (n, part) in sound.chunks_exact(160).enumerate() {
            let bytes = rtp(7, n as u16, 160 * n as u32, 0, &code(part));
            let at = PACKET * (n as u64 + 1);
            match n {
                _ if n == lost => continue,
                _ if n == late => flow.push((at + 25_000, OWNER, bytes)),
                _ => {
                    flow.push((at, OWNER, bytes.clone()));
                    flow.push((at + 1_000, OWNER, bytes));
                }
            }
        }
        world.deliver(flow);
        assert_eq!(events(&digits(&world)), [3], "lost {lost}, late {late}");
        let far = heard(&world, OTHER, Codec::Pcmu);
        assert_eq!(stretches_in(&far), 0, "lost {lost}, late {late}");
    }
}
