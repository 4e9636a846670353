//! Legs of all codecs: heard untouched where both speak the same, transcoded where they do not.

mod common;

use std::f64::consts::TAU;
use std::sync::Arc;

use common::*;
use duolog_audio::codec::{Channels, Codec, Decoder, Encoder, EncoderSettings, G729Library};
use duolog_audio::prompt::Prompt;
use duolog_audio::tone::ToneShape;
use duolog_media::*;
use duolog_rtp::PayloadType;
use duolog_rtp::event::{Phase, TelephoneEvent};
use duolog_rtp::packet::View;
use duolog_rtp::rtcp::{self, Report};

const L16_8: Codec = Codec::L16 {
    rate_hz: 8_000,
    channels: Channels::Mono,
};
const L16_44: Codec = Codec::L16 {
    rate_hz: 44_100,
    channels: Channels::Mono,
};
const L16_48: Codec = Codec::L16 {
    rate_hz: 48_000,
    channels: Channels::Stereo,
};

fn g729() -> Option<G729Library> {
    G729Library::open().ok()
}

/// Every codec that can be made here.
fn codecs() -> Vec<Codec> {
    let mut codecs = vec![
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::Opus,
        L16_8,
        L16_44,
        L16_48,
    ];
    if g729().is_some() {
        codecs.push(Codec::G729);
    }
    codecs
}

fn number(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::G729 => 18,
        _ => 98,
    }
}

fn speaking(codec: Codec) -> Vec<PayloadFormat> {
    let rate_hz = codec.clock_rate_hz();
    vec![
        format(number(codec), Encoding::Speech(codec)),
        format(101, Encoding::TelephoneEvent { rate_hz }),
    ]
}

fn connect(world: &mut World, leg: LegKey, codec: Codec, ptime_ms: u8) {
    let mut peer = peer(leg, speaking(codec));
    peer.ptime_ms = ptime_ms;
    world.command(Command::Connect { leg, peer });
}

/// A world whose parties speak these two codecs.
fn world_of(owner: Codec, other: Codec) -> World {
    let mut world = World::new(Sabotage::None);
    connect(&mut world, OWNER, owner, 20);
    connect(&mut world, OTHER, other, 20);
    world
}

/// A party that hums a tone in a codec.
struct Hum {
    leg: LegKey,
    codec: Codec,
    /// Packets of this length.
    ms: u32,
    from_us: u64,
    first_seq: u16,
    first_timestamp: u32,
    payloads: Vec<Vec<u8>>,
}

/// -12 dBFS.
const AMPLITUDE: f64 = 8_225.0;

impl Hum {
    fn new(leg: LegKey, codec: Codec, ms: u32, hz: f64, count: usize) -> Hum {
        let rate = codec.sample_rate_hz();
        let samples = (rate * ms / 1_000) as usize;
        let wave = |n: usize| AMPLITUDE * (TAU * hz * n as f64 / f64::from(rate)).sin();
        let mut encoder =
            Encoder::new(codec, EncoderSettings::default(), g729().as_ref()).expect("an encoder");
        let mut payload = |index: usize| {
            let first = index * samples;
            let pcm: Vec<i16> = (first..first + samples).map(|n| wave(n) as i16).collect();
            let mut payload = Vec::new();
            encoder.encode(&pcm, &mut payload).expect("a frame");
            payload
        };
        Hum {
            leg,
            codec,
            ms,
            from_us: 0,
            first_seq: 65_500,
            first_timestamp: u32::MAX - 20_000,
            payloads: (0..count).map(&mut payload).collect(),
        }
    }

    fn packet(&self, index: usize) -> (u64, LegKey, Vec<u8>) {
        let ticks = self.codec.clock_rate_hz() * self.ms / 1_000 * index as u32;
        let packet = rtp(
            0xa000 + self.leg.0 as u32,
            self.first_seq.wrapping_add(index as u16),
            self.first_timestamp.wrapping_add(ticks),
            number(self.codec),
            &self.payloads[index],
        );
        let at = self.from_us + u64::from(self.ms) * 1_000 * index as u64;
        (at, self.leg, packet)
    }

    fn packets(&self) -> Vec<(u64, LegKey, Vec<u8>)> {
        let count = self.payloads.len();
        (0..count).map(|index| self.packet(index)).collect()
    }
}

fn decode<'a>(codec: Codec, payloads: impl Iterator<Item = &'a [u8]>) -> Vec<i16> {
    let rate_hz = codec.sample_rate_hz();
    let mut decoder = Decoder::new(codec, rate_hz, g729().as_ref()).expect("a decoder");
    let mut samples = Vec::new();
    for payload in payloads {
        decoder.decode(payload, &mut samples).expect("a payload");
    }
    samples
}

/// The strongest frequency near `hz` and its level in dBFS, by a Hann window and a fine search.
fn strongest(samples: &[i16], rate_hz: u32, hz: f64) -> (f64, f64) {
    let len = samples.len() as f64;
    let power = |hz: f64| {
        let (mut re, mut im) = (0.0, 0.0);
        for (n, &sample) in samples.iter().enumerate() {
            let window = 0.5 - 0.5 * (TAU * n as f64 / len).cos();
            let phase = TAU * hz * n as f64 / f64::from(rate_hz);
            re += window * f64::from(sample) * phase.cos();
            im += window * f64::from(sample) * phase.sin();
        }
        // The mean of the window is one half; a tone's amplitude is twice its share.
        20.0 * (4.0 * (re * re + im * im).sqrt() / len / 32_768.0)
            .max(1e-9)
            .log10()
    };
    let steps = (0..=80).map(|step| hz - 4.0 + f64::from(step) / 10.0);
    let judged = steps.map(|hz| (hz, power(hz)));
    judged
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .expect("some steps")
}

fn assert_tone(samples: &[i16], rate_hz: u32, hz: f64, dbfs: f64, label: &str) {
    let (found, level) = strongest(samples, rate_hz, hz);
    assert!((found - hz).abs() < 1.0, "{label}: {found} Hz");
    assert!(
        (level - dbfs).abs() < 1.0,
        "{label}: {level} dBFS, not {dbfs}"
    );
}

/// Numbers without a hole, time stamps that follow one another by exactly what each packet lasts.
fn assert_unbroken(heard: &[(u64, View<'_>)], codec: Codec, label: &str) {
    for pair in heard.windows(2) {
        let ((_, before), (at, after)) = (&pair[0], &pair[1]);
        assert_eq!(after.seq(), before.seq().next(), "{label} at {at} us");
        let ticks = codec.ticks(before.payload()).expect("a payload");
        let step = after.timestamp().since(before.timestamp());
        assert!(
            step.abs_diff(ticks as i32) <= 1,
            "{label} at {at} us: {step}, not {ticks}"
        );
    }
}

#[test]
fn every_codec_is_heard_in_every_other() {
    for from in codecs() {
        for to in codecs() {
            let label = format!("{} to {}", from.name(), to.name());
            let mut world = world_of(from, to);
            let hum = Hum::new(OWNER, from, 20, 1_000.0, 100);
            world.deliver(hum.packets());
            let heard = world.heard_by(OTHER);
            assert_unbroken(&heard, to, &label);
            let wanted = PayloadType(number(to));
            assert!(heard.iter().all(|(_, view)| view.payload_type() == wanted));
            assert!(heard[0].1.marker() && !heard[1..].iter().any(|(_, view)| view.marker()));
            if from == to {
                assert_eq!(heard.len(), 100, "{label}");
                for (index, (_, view)) in heard.iter().enumerate() {
                    assert_eq!(view.payload(), hum.payloads[index], "{label}");
                }
            }
            assert!(heard.len() >= 97, "{label}: {} packets", heard.len());
            let samples = decode(to, heard.iter().map(|(_, view)| view.payload()));
            let rate = to.sample_rate_hz();
            let settled = &samples[rate as usize / 2..];
            let sent = decode(from, hum.payloads.iter().map(Vec::as_slice));
            let sent = &sent[from.sample_rate_hz() as usize / 2..];
            let (_, level) = strongest(sent, from.sample_rate_hz(), 1_000.0);
            assert!((level + 12.0).abs() < 1.0, "{label}: sent at {level}");
            assert_tone(settled, rate, 1_000.0, -12.0, &label);
            for reason in DropReason::ALL {
                assert_eq!(world.dropped(reason), 0, "{label}: {reason:?}");
            }
        }
    }
}

#[test]
fn packets_get_the_length_the_peer_asked_for() {
    for (to, asked, expected) in [
        (Codec::Opus, 60, 60),
        (Codec::Opus, 30, 20),
        (Codec::Opus, 10, 10),
        (Codec::Pcmu, 10, 10),
        (Codec::Pcma, 30, 30),
        (Codec::G722, 40, 40),
        (L16_8, 0, 10),
        (L16_8, 255, 60),
    ] {
        for ms in [10, 20, 60] {
            let from = match to {
                Codec::Opus => Codec::Pcmu,
                _ => Codec::Opus,
            };
            let label = format!("{to:?} of {asked} ms from {ms} ms");
            let mut world = world_of(from, to);
            connect(&mut world, OTHER, to, asked);
            world.deliver(Hum::new(OWNER, from, ms, 700.0, 100).packets());
            let heard = world.heard_by(OTHER);
            assert_unbroken(&heard, to, &label);
            let length = to.clock_rate_hz() * expected / 1_000;
            for (_, view) in &heard {
                assert_eq!(to.ticks(view.payload()), Some(length), "{label}");
            }
            let made = heard.len() as u32 * expected;
            assert!(
                made.abs_diff(100 * ms) <= expected + 20,
                "{label}: {made} ms"
            );
        }
    }
}

#[test]
fn losses_silences_and_another_source_keep_their_time() {
    let mut world = world_of(Codec::Pcmu, Codec::Opus);
    let hum = Hum::new(OWNER, Codec::Pcmu, 20, 1_000.0, 400);
    let mut flow = hum.packets();
    // One lost, one twice, two swapped, then 2 s of silence in which nothing is sent.
    let twice = (flow[60].0 + 5_000, OWNER, flow[60].2.clone());
    flow[70].0 += 25_000;
    flow.push(twice);
    flow.retain(|(at, ..)| !(200 * 20_000..300 * 20_000).contains(at) && *at != 50 * 20_000);
    world.deliver(flow);
    let heard = world.heard_by(OTHER);
    let mut holes = 0;
    for pair in heard.windows(2) {
        let ((_, before), (_, after)) = (&pair[0], &pair[1]);
        assert_eq!(after.seq(), before.seq().next());
        let step = after.timestamp().since(before.timestamp());
        assert!(step > 0 && step % 960 == 0, "{step}");
        holes += i32::from(step != 960);
    }
    assert_eq!(holes, 1, "only the silence is a hole");
    let span = heard[heard.len() - 1]
        .1
        .timestamp()
        .since(heard[0].1.timestamp());
    assert!(span.abs_diff(399 * 960) <= 960, "{span}");
    assert_eq!(world.dropped(DropReason::Duplicate), 1);
    assert_eq!(world.dropped(DropReason::Late), 1);
    // Another source: no packet of the old one is heard later, and time goes on.
    let before = heard.len();
    let mut second = Hum::new(OWNER, Codec::Pcmu, 20, 1_000.0, 50);
    second.from_us = 8_100_000;
    second.first_timestamp = 77;
    let mut flow = second.packets();
    for (_, _, bytes) in &mut flow {
        bytes[8..12].copy_from_slice(&[9; 4]);
    }
    world.deliver(flow);
    let heard = world.heard_by(OTHER);
    assert!(heard.len() > before + 45);
    let (last, next) = (&heard[before - 1], &heard[before]);
    assert_eq!(next.1.seq(), last.1.seq().next());
    assert!(next.1.marker());
    let step = i64::from(next.1.timestamp().since(last.1.timestamp()));
    let passed = (next.0 - last.0) as i64 * 48 / 1_000;
    assert!((step - passed).abs() <= 960, "{step} ticks in {passed}");
}

#[test]
fn a_codec_that_changes_by_payload_type_sets_the_marker_and_keeps_time() {
    let mut world = World::new(Sabotage::None);
    let both = vec![
        format(98, Encoding::Speech(Codec::Opus)),
        format(0, Encoding::Speech(Codec::Pcmu)),
    ];
    for leg in [OWNER, OTHER] {
        let peer = peer(leg, both.clone());
        world.command(Command::Connect { leg, peer });
    }
    let opus = Hum::new(OWNER, Codec::Opus, 20, 1_000.0, 50);
    let mut pcmu = Hum::new(OWNER, Codec::Pcmu, 20, 1_000.0, 50);
    pcmu.from_us = 1_000_000;
    pcmu.first_seq = opus.first_seq.wrapping_add(50);
    pcmu.first_timestamp = opus.first_timestamp.wrapping_add(50 * 960);
    let mut flow = opus.packets();
    flow.extend(pcmu.packets());
    world.deliver(flow);
    let heard = world.heard_by(OTHER);
    assert_eq!(heard.len(), 100);
    for (index, pair) in heard.windows(2).enumerate() {
        let ((_, before), (_, after)) = (&pair[0], &pair[1]);
        assert_eq!(after.seq(), before.seq().next());
        let step = after.timestamp().since(before.timestamp());
        let expected = if index < 49 { 960 } else { 160 };
        assert_eq!(step, expected, "after packet {index}");
        assert_eq!(after.marker(), index == 49, "after packet {index}");
        assert_eq!(after.payload_type().0, if index < 49 { 98 } else { 0 });
    }
    // Back at a speed that the other leg's codec has to be made for: it no longer speaks Opus.
    connect(&mut world, OTHER, Codec::G722, 20);
    let mut back = Hum::new(OWNER, Codec::Opus, 20, 1_000.0, 50);
    back.from_us = 2_000_000;
    back.first_seq = pcmu.first_seq.wrapping_add(50);
    back.first_timestamp = pcmu.first_timestamp.wrapping_add(50 * 160);
    let before = world.heard_by(OTHER).len();
    world.deliver(back.packets());
    let heard = world.heard_by(OTHER);
    assert_unbroken(&heard[before..], Codec::G722, "back");
    assert_eq!(heard[before].1.seq(), heard[before - 1].1.seq().next());
    let step = heard[before]
        .1
        .timestamp()
        .since(heard[before - 1].1.timestamp());
    assert!((160..=320).contains(&step), "{step}");
}

#[test]
fn static_numbers_mean_what_they_stand_for() {
    let mut world = world_of(Codec::Pcmu, Codec::Pcmu);
    let hum = Hum::new(OWNER, Codec::G722, 20, 1_000.0, 100);
    world.deliver(hum.packets());
    let heard = world.heard_by(OTHER);
    assert!(heard.len() >= 98);
    let samples = decode(Codec::Pcmu, heard.iter().map(|(_, view)| view.payload()));
    assert_tone(&samples[4_000..], 8_000, 1_000.0, -12.0, "G.722 unasked");
}

#[test]
fn comfort_noise_reaches_who_knows_it_and_breaks_nothing_for_who_does_not() {
    for known in [true, false] {
        let mut world = World::new(Sabotage::None);
        if known {
            let mut formats = mulaw();
            formats.push(format(13, Encoding::ComfortNoise { rate_hz: 8_000 }));
            let peer = peer(OTHER, formats);
            world.command(Command::Connect { leg: OTHER, peer });
        }
        let voice = Voice::of(OWNER);
        let mut flow = voice.packets(5);
        let noise = rtp(
            voice.ssrc,
            voice.first_seq.wrapping_add(5),
            voice.first_timestamp.wrapping_add(800),
            13,
            &[40],
        );
        flow.push((100_000, OWNER, noise));
        let later = Voice {
            first_timestamp: voice.first_timestamp.wrapping_add(8_000),
            from_us: 1_000_000,
            ..voice
        };
        flow.extend((6..11).map(|index| later.packet(index)));
        world.deliver(flow);
        let heard = world.heard_by(OTHER);
        assert_eq!(heard.len(), 10 + usize::from(known));
        for pair in heard.windows(2) {
            assert_eq!(pair[1].1.seq(), pair[0].1.seq().next());
        }
        assert_eq!(heard[5].1.payload_type().0, if known { 13 } else { 0 });
        let dropped = world.dropped(DropReason::Suppressed);
        assert_eq!(dropped, u64::from(!known));
    }
}

/// The packets of one key held for 100 ms, in a clock of `rate_hz`.
fn key(hum: &Hum, rate_hz: u32, (seq, timestamp): (u16, u32)) -> Vec<(u64, LegKey, Vec<u8>)> {
    let packet = |n: u16| {
        let event = TelephoneEvent {
            event: 5,
            phase: match n >= 5 {
                true => Phase::Released,
                false => Phase::Held,
            },
            volume: 10,
            duration_ticks: (rate_hz / 50) as u16 * n.min(5),
        };
        let ssrc = 0xa000 + hum.leg.0 as u32;
        let seq = hum.first_seq.wrapping_add(seq + n - 1);
        let bytes = rtp(ssrc, seq, timestamp, 101, &event.write());
        let index = u64::from(seq.wrapping_sub(hum.first_seq));
        (20_000 * index, hum.leg, bytes)
    };
    (1..=7).map(packet).collect()
}

#[test]
fn keys_are_counted_by_the_receivers_clock() {
    for (from, to) in [
        (Codec::Pcmu, Codec::Opus),
        (Codec::Opus, Codec::Pcmu),
        (Codec::Opus, Codec::Opus),
        (Codec::Pcma, Codec::Pcmu),
    ] {
        let label = format!("{from:?} to {to:?}");
        let mut world = world_of(from, to);
        let hum = Hum::new(OWNER, from, 20, 1_000.0, 100);
        let clock = from.clock_rate_hz();
        let pressed = hum.first_timestamp.wrapping_add(clock / 50 * 40);
        let mut flow: Vec<_> = hum.packets();
        flow.drain(40..47);
        flow.extend(key(&hum, clock, (40, pressed)));
        world.deliver(flow);
        let heard = world.heard_by(OTHER);
        for pair in heard.windows(2) {
            assert_eq!(pair[1].1.seq(), pair[0].1.seq().next(), "{label}");
            assert!(
                pair[1].1.timestamp().since(pair[0].1.timestamp()) >= 0,
                "{label}"
            );
        }
        let events: Vec<_> = heard
            .iter()
            .filter(|(_, view)| view.payload_type() == PayloadType(101))
            .collect();
        assert_eq!(events.len(), 7, "{label}");
        assert!(
            events
                .windows(2)
                .all(|pair| pair[0].1.timestamp() == pair[1].1.timestamp())
        );
        let last = TelephoneEvent::parse(events[6].1.payload()).expect("an event");
        assert_eq!(u32::from(last.duration_ticks), to.clock_rate_hz() / 10);
        assert_eq!((last.event, last.phase), (5, Phase::Released));
        let begins = events[0].1.timestamp().since(heard[0].1.timestamp());
        let expected = (to.clock_rate_hz() / 50 * 40) as i32;
        let packet = (to.clock_rate_hz() / 50) as i32;
        assert!((begins - expected).abs() <= packet, "{label}: {begins}");
    }
}

#[test]
fn taken_digits_of_every_clock_have_their_length() {
    for codec in [Codec::Pcmu, Codec::Opus] {
        let mut world = world_of(codec, Codec::Pcmu);
        world.command(Command::TakeDigits { leg: OWNER });
        let hum = Hum::new(OWNER, codec, 20, 1_000.0, 40);
        let mut flow = hum.packets();
        let clock = codec.clock_rate_hz();
        let pressed = hum.first_timestamp.wrapping_add(clock / 50 * 40);
        flow.extend(key(&hum, clock, (40, pressed)));
        world.deliver(flow);
        let digits = world.events.iter().filter_map(|(_, event)| match event {
            Event::Digit { digit, .. } => Some((digit.event, digit.duration_ms)),
            _ => None,
        });
        assert_eq!(digits.collect::<Vec<_>>(), [(5, 100)], "{codec:?}");
    }
}

fn sound(codec: Codec, encoded: bool) -> Arc<Prompt> {
    let mut prompt = Prompt::tone(&ToneShape {
        frequency_hz: 1_400.0,
        length_ms: 500,
        level_dbfs: -12.0,
    });
    if encoded {
        prompt.encode(&[codec], g729().as_ref()).expect("encoded");
    }
    Arc::new(prompt)
}

#[test]
fn prompts_are_heard_in_every_codec_and_kept_in_none() {
    for codec in codecs() {
        for encoded in [true, false] {
            let label = format!("{}, encoded before: {encoded}", codec.name());
            let mut world = world_of(Codec::Pcmu, codec);
            world.record(RecordingCommand::Start);
            let hum = Hum::new(OWNER, Codec::Pcmu, 20, 600.0, 100);
            let mut flow = hum.packets();
            let rest = flow.split_off(30);
            world.deliver(flow);
            world.command(Command::Play {
                leg: OTHER,
                play: PlayKey(3),
                sound: sound(codec, encoded),
                how: How::Instead,
            });
            world.deliver(rest);
            world.run_to(2_400_000);
            world.close();
            let heard = world.heard_by(OTHER);
            for pair in heard.windows(2) {
                assert_eq!(pair[1].1.seq(), pair[0].1.seq().next(), "{label}");
                let step = pair[1].1.timestamp().since(pair[0].1.timestamp());
                assert!(step > 0, "{label}: {step} at {}", pair[1].0);
            }
            let during: Vec<_> = heard
                .iter()
                .filter(|(at, view)| {
                    (580_000..1_100_000).contains(at) && !view.payload().is_empty()
                })
                .collect();
            assert!(during.len() >= 24, "{label}: {}", during.len());
            let samples = decode(codec, during.iter().map(|(_, view)| view.payload()));
            let rate = codec.sample_rate_hz() as usize;
            let middle = &samples[rate / 10..rate * 4 / 10];
            assert_tone(middle, rate as u32, 1_400.0, -12.0, &label);
            let [left, _] = world.kept();
            let spoken = decode(Codec::Pcmu, hum.payloads.iter().map(Vec::as_slice));
            assert_eq!(left[..16_000], spoken, "{label}");
            let whole = world.events.iter().any(|(_, event)| {
                matches!(
                    event,
                    Event::Played {
                        completion: Completion::Whole,
                        ..
                    }
                )
            });
            assert!(whole, "{label}");
        }
    }
}

#[test]
fn a_tone_under_speech_is_heard_with_it_and_leaves_it_alone_otherwise() {
    for (from, to) in [
        (Codec::Opus, Codec::Opus),
        (Codec::G722, Codec::G722),
        (L16_48, L16_48),
        (Codec::Pcmu, Codec::Opus),
        (Codec::Opus, Codec::Pcma),
        (Codec::G722, Codec::Opus),
    ] {
        let label = format!("{} to {}", from.name(), to.name());
        let mut world = world_of(from, to);
        let hum = Hum::new(OWNER, from, 20, 600.0, 150);
        let mut flow = hum.packets();
        let rest = flow.split_off(50);
        world.deliver(flow);
        world.command(Command::Play {
            leg: OTHER,
            play: PlayKey(4),
            sound: sound(to, true),
            how: How::Under,
        });
        world.deliver(rest);
        let heard = world.heard_by(OTHER);
        for pair in heard.windows(2) {
            assert_eq!(pair[1].1.seq(), pair[0].1.seq().next(), "{label}");
            let ticks = to.clock_rate_hz() / 50;
            let step = pair[1].1.timestamp().since(pair[0].1.timestamp());
            assert!(step.abs_diff(ticks as i32) <= ticks / 2, "{label}: {step}");
        }
        if from == to {
            for (index, payload) in hum.payloads.iter().enumerate() {
                let touched = !heard.iter().any(|(_, view)| view.payload() == payload);
                let under = (50..76).contains(&index);
                assert!(!touched || under, "{label}: packet {index}");
            }
            assert!(heard.len() >= 149, "{label}");
        }
        let rate = to.sample_rate_hz();
        let part = |from_us: u64, until_us: u64| {
            let part = heard
                .iter()
                .filter(move |(at, _)| (from_us..until_us).contains(at));
            decode(to, part.map(|(_, view)| view.payload()))
        };
        let during = part(1_000_000, 1_500_000);
        let during = &during[rate as usize / 10..rate as usize * 4 / 10];
        assert_tone(during, rate, 1_400.0, -12.0, &label);
        assert_tone(during, rate, 600.0, -12.0, &label);
        let after = part(1_600_000, 3_000_000);
        let (_, level) = strongest(&after[rate as usize / 5..], rate, 1_400.0);
        assert!(level < -45.0, "{label}: {level} dBFS afterwards");
        let played = world.events.iter().filter_map(|&(at, event)| match event {
            Event::Played { completion, .. } => Some((at, completion)),
            _ => None,
        });
        let played: Vec<_> = played.collect();
        assert_eq!(played, [(1_480_000, Completion::Whole)], "{label}");
    }
}

#[test]
fn a_tone_while_nobody_speaks_is_sent_alone() {
    for codec in [Codec::Opus, Codec::G722] {
        let mut world = world_of(codec, codec);
        let sound = sound(codec, true);
        let frames = sound.frames(codec).map(<[_]>::len);
        world.command(Command::Play {
            leg: OTHER,
            play: PlayKey(4),
            sound,
            how: How::Under,
        });
        world.run_to(2_000_000);
        let heard = world.heard_by(OTHER);
        assert_eq!(Some(heard.len()), frames);
        assert_unbroken(&heard, codec, "alone");
        let samples = decode(codec, heard.iter().map(|(_, view)| view.payload()));
        let rate = codec.sample_rate_hz() as usize;
        let middle = &samples[rate / 10..rate * 4 / 10];
        assert_tone(middle, rate as u32, 1_400.0, -12.0, "alone");
    }
}

#[test]
fn a_codec_nobody_can_make_is_counted_and_not_guessed() {
    let mut world = World::new(Sabotage::None);
    let mut settings = world.settings();
    settings.g729 = None;
    world.shard = Shard::new(settings);
    world.open(OWNER);
    world.open(OTHER);
    connect(&mut world, OWNER, Codec::G729, 20);
    connect(&mut world, OTHER, Codec::Pcmu, 20);
    world.command(Command::Bridge { a: OWNER, b: OTHER });
    for index in 0..10_u16 {
        let bytes = rtp(7, index, 160 * u32::from(index), 18, &[0x55; 20]);
        world.receive(rtp_port(OWNER), home(OWNER), &bytes);
        world.receive(
            rtp_port(OTHER),
            home(OTHER),
            &Voice::of(OTHER).packet(index.into()).2,
        );
    }
    assert_eq!(world.heard_by(OTHER).len(), 0);
    assert_eq!(world.heard_by(OWNER).len(), 0);
    assert_eq!(world.dropped(DropReason::Codec), 20);
    // The same on both legs passes all the same.
    connect(&mut world, OTHER, Codec::G729, 20);
    let bytes = rtp(7, 10, 1_600, 18, &[0x55; 20]);
    world.receive(rtp_port(OWNER), home(OWNER), &bytes);
    assert_eq!(world.heard_by(OTHER).len(), 1);
    // A prompt that nobody could hear takes nobody's place, and does not count as heard.
    world.command(Command::Play {
        leg: OTHER,
        play: PlayKey(3),
        sound: sound(Codec::Pcmu, false),
        how: How::Instead,
    });
    let cut = Event::Played {
        leg: OTHER,
        play: PlayKey(3),
        completion: Completion::Cut,
    };
    assert_eq!(world.events.pop().map(|(_, event)| event), Some(cut));
    // Also where a sound was to be put under it: the speech comes first, and the sound ends in time.
    world.command(Command::Play {
        leg: OTHER,
        play: PlayKey(4),
        sound: sound(Codec::Pcmu, false),
        how: How::Under,
    });
    for index in 11..61_u16 {
        world.run_to(20_000 * u64::from(index));
        let bytes = rtp(7, index, 160 * u32::from(index), 18, &[0x55; 20]);
        world.receive(rtp_port(OWNER), home(OWNER), &bytes);
    }
    let heard = world.heard_by(OTHER);
    assert_eq!(heard.len(), 51);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].1.seq(), pair[0].1.seq().next());
        assert_eq!(pair[1].1.payload(), &[0x55; 20]);
    }
    assert_eq!(world.dropped(DropReason::Codec), 20);
    let played = |event: &Event| matches!(event, Event::Played { .. });
    assert_eq!(
        world
            .events
            .iter()
            .filter(|(_, event)| played(event))
            .count(),
        1
    );
}

#[test]
fn reports_of_a_leg_count_by_its_clock() {
    let mut world = world_of(Codec::Pcmu, Codec::Opus);
    world.deliver(Hum::new(OWNER, Codec::Pcmu, 20, 1_000.0, 600).packets());
    let heard = world.heard_by(OTHER);
    let (at, last) = &heard[heard.len() - 1];
    let report = world
        .sent
        .iter()
        .rfind(|sent| sent.port == PortId(3))
        .expect("a report");
    let reports = rtcp::parse(&report.bytes).expect("a compound packet");
    let Report::Sender { figures, .. } = &reports[0] else {
        panic!("a leg that sends writes an SR");
    };
    let step = i64::from(last.timestamp().since(figures.timestamp));
    let passed = (*at as i64 - report.at_us as i64) * 48 / 1_000;
    assert!((step - passed).abs() <= 960, "{step} ticks in {passed}");
}

#[test]
fn transcoded_speech_is_recorded_as_it_came() {
    let mut world = world_of(Codec::Pcmu, Codec::Opus);
    world.record(RecordingCommand::Start);
    let voice = Voice::of(OWNER);
    world.deliver(voice.packets(100));
    world.run_to(3_000_000);
    world.close();
    let [left, _] = world.kept();
    assert_voice(&left, 0, &voice, 0, 16_000);
}

#[test]
fn a_party_whose_clock_changes_is_transcoded_without_a_jump() {
    for (first, second) in [
        (Codec::Opus, Codec::Pcmu),
        (Codec::Pcmu, Codec::Opus),
        (Codec::Opus, L16_44),
    ] {
        for to in [Codec::G722, L16_8] {
            let label = format!("{} and {} to {}", first.name(), second.name(), to.name());
            let mut world = world_of(first, to);
            let mut both = peer(OWNER, Vec::new());
            both.formats = vec![
                format(111, Encoding::Speech(first)),
                format(112, Encoding::Speech(second)),
            ];
            world.command(Command::Connect {
                leg: OWNER,
                peer: both,
            });
            let before = Hum::new(OWNER, first, 20, 1_000.0, 50);
            let mut after = Hum::new(OWNER, second, 20, 1_000.0, 50);
            after.from_us = 1_000_000;
            after.first_seq = before.first_seq.wrapping_add(50);
            let spoken = 50 * first.clock_rate_hz() / 50;
            after.first_timestamp = before.first_timestamp.wrapping_add(spoken);
            let numbered = |hum: &Hum, number: u8| {
                let mut flow = hum.packets();
                for (_, _, bytes) in &mut flow {
                    bytes[1] = bytes[1] & 0x80 | number;
                }
                flow
            };
            world.deliver(numbered(&before, 111));
            world.deliver(numbered(&after, 112));
            let heard = world.heard_by(OTHER);
            assert!(heard.len() >= 97, "{label}: {} packets", heard.len());
            for pair in heard.windows(2) {
                let ((_, before), (_, after)) = (&pair[0], &pair[1]);
                assert_eq!(after.seq(), before.seq().next(), "{label}");
                let step = after.timestamp().since(before.timestamp());
                assert!((160..=480).contains(&step), "{label}: {step}");
            }
            let span = heard[heard.len() - 1].1.timestamp();
            let span = span.since(heard[0].1.timestamp());
            assert!(span.abs_diff(99 * 160) <= 320, "{label}: {span}");
        }
    }
}
