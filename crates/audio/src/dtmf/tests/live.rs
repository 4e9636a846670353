use super::*;
use crate::codec::{Channels, Codec, Decoder, Encoder, EncoderSettings, G729Library};

/// What of a key may reach the other party, in ms: less than what a receiver takes for one (ITU-T Q.24: 20).
const MOST_LEAKED_MS: f64 = 13.0;

/// What became of a sound, packet by packet.
struct Heard {
    pressed: Vec<Pressed>,
    /// The sound without what was kept back.
    passed: Vec<i16>,
    kept_back: Vec<bool>,
}

/// Sound in packets of so many samples, through a detector.
fn hear(rate_hz: u32, packet: usize, samples: &[i16]) -> Heard {
    let mut detector = LiveDetector::new(rate_hz);
    let mut heard = Heard {
        pressed: Vec::new(),
        passed: Vec::new(),
        kept_back: Vec::new(),
    };
    for part in samples.chunks_exact(packet) {
        let finding = detector.push(part, &mut heard.pressed);
        heard.kept_back.push(finding == Finding::Key);
        match finding {
            Finding::Clear => heard.passed.extend_from_slice(part),
            Finding::Key => heard.passed.extend(vec![0; packet]),
        }
    }
    heard.pressed.extend(detector.release());
    heard
}

/// What a codec makes of a sound in payloads of 20 ms.
fn through(codec: Codec, rate_hz: u32, sound: &[i16], g729: Option<&G729Library>) -> Vec<i16> {
    let settings = EncoderSettings::default();
    let mut encoder = Encoder::new(codec, settings, g729).expect("an encoder");
    let mut decoder = Decoder::new(codec, rate_hz, g729).expect("a decoder");
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    for part in sound.chunks_exact(codec.sample_rate_hz() as usize / 50) {
        encoder.encode(part, &mut payload).expect("20 ms");
        decoder.decode(&payload, &mut out).expect("as encoded");
    }
    out
}

fn event(press: &Press) -> u8 {
    EVENTS[press.low][press.high]
}

/// The longest stretch in which something is heard, in ms.
fn longest_ms(rate_hz: u32, samples: &[i16], least: u16) -> f64 {
    let parts = samples.chunks(rate_hz as usize / 1_000);
    let (mut run, mut longest) = (0, 0);
    for part in parts {
        let loud = part.iter().any(|sample| sample.unsigned_abs() > least);
        run = if loud { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    f64::from(longest)
}

#[test]
fn keys_within_tolerance_are_kept_back_and_told_in_packets_of_any_length() {
    for packet_ms in [10, 20, 30, 40, 60] {
        let (mut leaked, mut told) = (0.0_f64, 0.0_f64);
        for (n, press) in pairs().enumerate() {
            for (length_ms, phase) in [40.0, 80.0, 200.0].into_iter().zip([0.0, 0.35, 0.8]) {
                for (twist_db, off) in [(0.0, 0.0), (-8.0, 0.015), (4.0, -0.015)] {
                    let phase = (phase + n as f64 / 16.0).fract();
                    let press = Press {
                        length_ms,
                        twist_db,
                        off: (off, off),
                        snr_db: Some(15.0),
                        at_ms: 120.0 + phase * packet_ms as f64,
                        ..press
                    };
                    let sound = press.sound(8_000, 600, n as u64);
                    let heard = hear(8_000, 8 * packet_ms, &sound);
                    let [key] = heard.pressed[..] else {
                        panic!("{press:?}: {:?}", heard.pressed);
                    };
                    assert_eq!(key.event, event(&press));
                    told = told.max((f64::from(key.duration_ms) - length_ms).abs());
                    let [from, until] =
                        [press.at_ms, press.at_ms + length_ms].map(|ms| (ms * 8.0) as usize);
                    let kept = |at: usize| heard.kept_back.get(at / 8 / packet_ms) == Some(&true);
                    let clear = (from..until).filter(|&at| !kept(at)).count();
                    leaked = leaked.max(clear as f64 / 8.0);
                    let packets = heard.kept_back.iter().filter(|kept| **kept).count();
                    let touched = until.div_ceil(8 * packet_ms) - from / (8 * packet_ms);
                    assert!(packets <= touched, "{press:?}: more than the key");
                }
            }
        }
        println!("{packet_ms} ms: at most {leaked} ms leaked, length told to within {told} ms");
        assert!(leaked <= MOST_LEAKED_MS, "{packet_ms}: {leaked}");
        assert!(told <= 10.0, "{packet_ms}: {told}");
    }
}

/// G.729 is made for speech and carries no key of 40 ms, for any receiver: from 80 ms on it does.
#[test]
fn keys_are_heard_through_every_codec() {
    let l16 = |rate_hz, channels| Codec::L16 { rate_hz, channels };
    let g729 = G729Library::open().ok();
    let codecs = [
        (Codec::Pcmu, 40.0),
        (Codec::Pcma, 40.0),
        (Codec::G722, 40.0),
        (Codec::Opus, 40.0),
        (l16(16_000, Channels::Mono), 40.0),
        (l16(44_100, Channels::Mono), 40.0),
        (l16(11_025, Channels::Stereo), 40.0),
    ];
    let spoken = g729.is_some().then_some((Codec::G729, 80.0));
    for (codec, shortest_ms) in codecs.into_iter().chain(spoken) {
        let rate_hz = match codec {
            Codec::Opus => 8_000,
            _ => codec.sample_rate_hz(),
        };
        let mut longest = 0.0_f64;
        for (n, press) in pairs().enumerate() {
            for length_ms in [shortest_ms, 80.0, 200.0] {
                let at_ms = 200.0 + (n as f64 * 3.7) % 20.0;
                let press = Press {
                    length_ms,
                    at_ms,
                    ..press
                };
                let sound = press.sound(codec.sample_rate_hz(), 700, n as u64);
                let sound = through(codec, rate_hz, &sound, g729.as_ref());
                let heard = hear(rate_hz, rate_hz as usize / 50, &sound);
                let events: Vec<u8> = heard.pressed.iter().map(|key| key.event).collect();
                assert_eq!(events, [event(&press)], "{codec:?}: {press:?}");
                longest = longest.max(longest_ms(rate_hz, &heard.passed, 1_500));
            }
        }
        println!("{codec:?}: at most {longest} ms of a key passed");
        assert!(longest < 20.0, "{codec:?}: {longest} ms");
    }
}

#[test]
fn what_is_no_key_is_not_told() {
    let check = |press: Press| {
        let heard = hear(8_000, 160, &press.sound(8_000, 600, 1));
        assert_eq!(heard.pressed, [], "{press:?}");
    };
    for press in pairs() {
        for length_ms in [5.0, 15.0, 20.0, 22.9] {
            check(Press { length_ms, ..press });
        }
        for off in [(0.035, 0.0), (0.0, -0.035), (0.04, 0.04)] {
            let length_ms = 100.0;
            check(Press {
                length_ms,
                off,
                ..press
            });
        }
    }
}

#[test]
fn a_key_over_a_lost_packet_is_one_key_and_stays_back() {
    let press = Press {
        length_ms: 160.0,
        at_ms: 205.0,
        ..PRESS
    };
    let sound = press.sound(8_000, 600, 1);
    let (mut detector, mut pressed) = (LiveDetector::new(8_000), Vec::new());
    for (at, part) in sound.chunks_exact(160).enumerate() {
        if at == 13 {
            detector.skip(160);
            continue;
        }
        let finding = detector.push(part, &mut pressed);
        let expected = match at {
            10..=18 => Finding::Key,
            _ => Finding::Clear,
        };
        assert_eq!(finding, expected, "packet {at}");
    }
    assert_eq!(pressed.len(), 1, "{pressed:?}");
    assert!(pressed[0].duration_ms.abs_diff(160) <= 10, "{pressed:?}");
    assert!(!detector.is_open());
}

#[test]
fn a_key_that_is_cut_off_is_released_and_nothing_else_is() {
    let sound = Press {
        length_ms: 500.0,
        ..PRESS
    }
    .sound(8_000, 300, 1);
    let (mut detector, mut pressed) = (LiveDetector::new(8_000), Vec::new());
    detector.push(&sound, &mut pressed);
    assert!(pressed.is_empty() && detector.is_open());
    assert_eq!(detector.release().map(|key| key.event), Some(event(&PRESS)));
    assert_eq!((detector.release(), detector.is_open()), (None, false));
}

macro_rules! voices {
    ($($path:literal)*) => {
        [$(($path, include_bytes!(concat!("../../../../../fixtures/", $path)).as_slice())),*]
    };
}

/// Over ten hours of eight synthetic voices nothing was kept back either; these are what is at hand.
#[test]
fn voices_are_no_keys() {
    let voices = voices!["audio/demo-owner.wav" "audio/demo-other.wav"
        "prompts/en/recording-started.wav" "prompts/en/recording-paused.wav"
        "prompts/en/recording-resumed.wav" "prompts/en/recording-stopped.wav"
        "prompts/en/failure-continues.wav" "prompts/en/failure-ends.wav"
        "prompts/en/compliance.wav" "prompts/en/mailbox-greeting.wav"
        "prompts/nl/recording-started.wav" "prompts/nl/recording-paused.wav"
        "prompts/nl/recording-resumed.wav" "prompts/nl/recording-stopped.wav"
        "prompts/nl/failure-continues.wav" "prompts/nl/failure-ends.wav"
        "prompts/nl/compliance.wav" "prompts/nl/mailbox-greeting.wav"];
    for (name, file) in voices {
        let sound = crate::prompt::Prompt::decode(file).expect(name).linear;
        for packet_ms in [10, 20, 30] {
            let heard = hear(8_000, 8 * packet_ms, &sound);
            let kept_back = heard.kept_back.iter().filter(|kept| **kept).count();
            assert_eq!((heard.pressed, kept_back), (vec![], 0), "{name}");
        }
    }
}
