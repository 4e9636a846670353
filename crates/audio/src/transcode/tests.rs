use std::f64::consts::TAU;

use super::*;
use crate::codec::Channels;

const TONE_HZ: f64 = 1_000.0;
const PEAK: f64 = 8_000.0;

fn l16(rate_hz: u32, channels: Channels) -> Codec {
    Codec::L16 { rate_hz, channels }
}

/// Every codec, G.729 where its library is.
fn codecs(g729: Option<&G729Library>) -> Vec<Codec> {
    let mut codecs = vec![
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::Opus,
        l16(8_000, Channels::Mono),
        l16(16_000, Channels::Stereo),
        l16(44_100, Channels::Mono),
        l16(48_000, Channels::Mono),
    ];
    match g729 {
        Some(_) => codecs.push(Codec::G729),
        None => eprintln!("SKIPPED, NOTHING TESTED: transcoding G.729 (Debian: libbcg729-0)"),
    }
    codecs
}

/// A tone in payloads of `ms`, each with its time.
fn tone(codec: Codec, ms: u32, seconds: u32, g729: Option<&G729Library>) -> Vec<(u64, Vec<u8>)> {
    let rate = codec.sample_rate_hz();
    let mut encoder = Encoder::new(codec, EncoderSettings::default(), g729).expect("an encoder");
    let frame = rate * ms / 1_000;
    (0..seconds * 1_000 / ms)
        .map(|at| {
            let angle = |n: u32| TAU * TONE_HZ * f64::from(at * frame + n) / f64::from(rate);
            let samples: Vec<i16> = (0..frame).map(|n| (PEAK * angle(n).sin()) as i16).collect();
            let mut payload = Vec::new();
            encoder.encode(&samples, &mut payload).expect("a frame");
            (u64::from(at * ms) * TICKS_PER_SECOND / 1_000, payload)
        })
        .collect()
}

/// What a tone is made of: frequency in Hz, level against [`PEAK`] and all the rest against it, in dB.
#[derive(Debug)]
struct Heard {
    hz: f64,
    level_db: f64,
    rest_db: f64,
}

/// In-phase and quadrature part of `hz` in `samples`.
fn parts(samples: &[i16], hz: f64, rate: f64) -> (f64, f64) {
    let angles = (0..samples.len()).map(|n| TAU * hz * n as f64 / rate);
    let mut sum = (0.0, 0.0);
    for (angle, &sample) in angles.zip(samples) {
        sum.0 += f64::from(sample) * angle.cos();
        sum.1 += f64::from(sample) * angle.sin();
    }
    let scale = 2.0 / samples.len() as f64;
    (sum.0 * scale, sum.1 * scale)
}

fn listen(samples: &[i16], rate: u32) -> Heard {
    // Whole periods of 1 kHz at every rate: 40 ms of 11,025 Hz are 441 samples.
    let unit = rate as usize / 25;
    let rate = f64::from(rate);
    let samples = &samples[..samples.len() / unit / 2 * 2 * unit];
    let (first, second) = samples.split_at(samples.len() / 2);
    let phase = |part: &[i16]| {
        let (cos, sin) = parts(part, TONE_HZ, rate);
        cos.atan2(sin)
    };
    let turned = (phase(second) - phase(first) + TAU * 1.5).rem_euclid(TAU) - TAU / 2.0;
    let hz = TONE_HZ + turned / TAU * rate / first.len() as f64;
    let (cos, sin) = parts(samples, TONE_HZ, rate);
    let rest = samples.iter().enumerate().map(|(n, &sample)| {
        let angle = TAU * TONE_HZ * n as f64 / rate;
        (f64::from(sample) - cos * angle.cos() - sin * angle.sin()).powi(2)
    });
    let tone = cos.hypot(sin);
    Heard {
        hz,
        level_db: 20.0 * (tone / PEAK).log10(),
        rest_db: 10.0 * (2.0 * rest.sum::<f64>() / samples.len() as f64 / (tone * tone)).log10(),
    }
}

/// Everything that comes out, decoded, and the times of the frames.
fn run(
    transcoder: &mut Transcoder,
    payloads: &[(u64, Vec<u8>)],
    to: Codec,
    g729: Option<&G729Library>,
) -> (Vec<u64>, Vec<i16>) {
    let mut decoder = Decoder::new(to, to.sample_rate_hz(), g729).expect("a decoder");
    let (mut times, mut sound, mut payload) = (Vec::new(), Vec::new(), Vec::new());
    for (at, frame) in payloads {
        transcoder.push(*at, frame, &[]).expect("pushed");
        while let Some(at) = transcoder.next(&mut payload) {
            times.push(at);
            decoder.decode(&payload, &mut sound).expect("decoded");
        }
    }
    (times, sound)
}

/// The tone's level as a listener to `payloads` hears it.
fn sent_level_db(codec: Codec, payloads: &[(u64, Vec<u8>)], g729: Option<&G729Library>) -> f64 {
    let rate = codec.sample_rate_hz();
    let (mut decoder, mut sound) = (Decoder::new(codec, rate, g729).expect("made"), Vec::new());
    for (_, payload) in payloads {
        decoder.decode(payload, &mut sound).expect("decoded");
    }
    listen(&sound[rate as usize / 2..], rate).level_db
}

/// How much of what is not the tone a codec may add to it, in dB.
fn worst_rest_db(codec: Codec) -> f64 {
    match codec {
        Codec::L16 { .. } => -75.0,
        Codec::Pcmu | Codec::Pcma => -37.0,
        Codec::G722 => -37.0,
        Codec::Opus => -29.0,
        Codec::G729 => -24.0,
    }
}

#[test]
fn a_tone_goes_through_every_pair_of_codecs() {
    let g729 = G729Library::open().ok();
    let codecs = codecs(g729.as_ref());
    for &from in &codecs {
        let payloads = tone(from, 20, 2, g729.as_ref());
        let sent = sent_level_db(from, &payloads, g729.as_ref());
        for &to in &codecs {
            let made = Transcoder::new(from, to, 20, g729.as_ref());
            let mut transcoder = made.expect("a transcoder");
            let (times, sound) = run(&mut transcoder, &payloads, to, g729.as_ref());
            assert!(
                times.is_sorted_by(|a, b| a + 960 == *b),
                "{from:?} to {to:?}: {times:?}"
            );
            assert!(
                times[0] == 0 && times.len() >= 98,
                "{from:?} to {to:?}: {}",
                times.len()
            );
            let rate = to.sample_rate_hz();
            let heard = listen(&sound[rate as usize / 2..], rate);
            assert!(
                (heard.hz - TONE_HZ).abs() < 1.0,
                "{from:?} to {to:?}: {heard:?}"
            );
            let change = heard.level_db - sent;
            assert!(
                sent.abs() < 1.0 && change.abs() < 1.0,
                "{from:?} to {to:?}: {heard:?}"
            );
            let worst = worst_rest_db(from).max(worst_rest_db(to));
            assert!(heard.rest_db < worst, "{from:?} to {to:?}: {heard:?}");
        }
    }
}

#[test]
fn packets_of_every_length_become_packets_of_every_other() {
    for (from, to) in [
        (Codec::Pcmu, Codec::G722),
        (Codec::G722, Codec::Opus),
        (Codec::Opus, Codec::Pcma),
        (Codec::Pcmu, l16(11_025, Channels::Mono)),
        (l16(44_100, Channels::Mono), Codec::Pcmu),
    ] {
        for into in [10, 20, 30, 40, 50, 60] {
            for out in [10, 20, 30, 40, 50, 60] {
                if from == Codec::Opus && [30, 50].contains(&into) {
                    continue;
                }
                let payloads = tone(from, into, 3, None);
                let mut transcoder = Transcoder::new(from, to, out, None).expect("made");
                let (times, sound) = run(&mut transcoder, &payloads, to, None);
                let expected = match (to, out) {
                    (Codec::Opus, 30) => 20,
                    (Codec::Opus, 50) => 40,
                    _ => out,
                };
                assert_eq!(transcoder.frame_ms(), expected);
                let step = |pair: &[u64]| (pair[1] - pair[0]).abs_diff(u64::from(expected) * 48);
                assert!(
                    times.windows(2).all(|pair| step(pair) <= 5),
                    "{from:?} {to:?} {out}"
                );
                let rate = to.sample_rate_hz();
                let longest = u64::from(expected + 45) * 48;
                let end = times.last().expect("frames") + u64::from(expected) * 48;
                assert!(
                    end + longest > 3 * TICKS_PER_SECOND,
                    "{from:?} {to:?} {into} {out}"
                );
                let heard = listen(&sound[rate as usize..], rate);
                assert!(
                    (heard.hz - TONE_HZ).abs() < 1.0,
                    "{from:?} {to:?} {into} {out} {heard:?}"
                );
                assert!(
                    heard.level_db.abs() < 1.0,
                    "{from:?} {to:?} {into} {out} {heard:?}"
                );
            }
        }
    }
}

#[test]
fn short_holes_are_concealed_and_long_ones_are_holes() {
    let check = |from: Codec, lost: std::ops::Range<usize>| {
        let to = Codec::Pcmu;
        let mut payloads = tone(from, 20, 2, None);
        let missing = lost.len() as u64 * 960;
        let after = payloads[lost.end].0;
        payloads.drain(lost.clone());
        let mut transcoder = Transcoder::new(from, to, 20, None).expect("made");
        let (times, sound) = run(&mut transcoder, &payloads, to, None);
        assert_eq!(sound.len(), times.len() * 160);
        if missing <= LONGEST_CONCEALED_TICKS {
            assert!(
                times.is_sorted_by(|a, b| a + 960 == *b),
                "{from:?} {lost:?}"
            );
            return;
        }
        let steps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(
            steps.iter().filter(|&&step| step != 960).count(),
            1,
            "{from:?} {lost:?}"
        );
        assert!(times.contains(&after), "{from:?} {lost:?}: {times:?}");
    };
    for from in [
        Codec::Pcma,
        Codec::G722,
        Codec::Opus,
        l16(48_000, Channels::Mono),
    ] {
        for lost in [30..31, 30..33, 30..35, 30..36, 30..60, 1..99] {
            check(from, lost);
        }
    }
}

#[test]
fn an_unfinished_frame_before_a_hole_is_filled_up() {
    let mut transcoder = Transcoder::new(Codec::Pcmu, Codec::Pcma, 60, None).expect("made");
    let mut payload = Vec::new();
    transcoder.push(0, &[0x00; 160], &[]).expect("pushed");
    assert_eq!(transcoder.next(&mut payload), None);
    transcoder.push(480_000, &[0x00; 480], &[]).expect("pushed");
    assert_eq!(transcoder.next(&mut payload), Some(0));
    assert_eq!(payload.len(), 480);
    assert!(payload[..160].iter().all(|&code| code != 0xD5));
    assert!(payload[160..].iter().all(|&code| code == 0xD5));
    assert_eq!(transcoder.next(&mut payload), Some(480_000));
    assert_eq!(transcoder.next(&mut payload), None);
}

#[test]
fn late_and_doubled_payloads_are_left_out_and_a_restart_is_followed() {
    let mut transcoder = Transcoder::new(Codec::Pcmu, Codec::Pcma, 20, None).expect("made");
    let mut payload = Vec::new();
    let mut times = |at| {
        transcoder.push(at, &[0x00; 160], &[]).expect("pushed");
        std::iter::from_fn(|| transcoder.next(&mut payload)).collect::<Vec<_>>()
    };
    assert_eq!(times(1_000_000), [1_000_000]);
    assert_eq!(times(1_000_960), [1_000_960]);
    assert_eq!(times(1_000_960), []);
    assert_eq!(times(1_000_000), []);
    assert_eq!(
        times(1_001_930),
        [1_001_930],
        "10 ticks late is the sender's clock"
    );
    assert_eq!(times(1_002_880), [1_002_880], "and 10 ticks early");
    assert_eq!(times(1_004_800), [1_003_840, 1_004_800], "one was lost");
    assert_eq!(times(5_000), [5_000], "the stream began anew");
    transcoder.forget();
    transcoder.push(9_000, &[0x00; 80], &[]).expect("pushed");
    transcoder.forget();
    transcoder.push(20_000, &[0x00; 160], &[]).expect("pushed");
    assert_eq!(transcoder.next(&mut payload), Some(20_000));
    assert_eq!(transcoder.next(&mut payload), None);
}

#[test]
fn a_sound_is_mixed_under_every_codec() {
    let g729 = G729Library::open().ok();
    for codec in codecs(g729.as_ref()) {
        let made = Transcoder::new(codec, codec, 20, g729.as_ref());
        let mut transcoder = made.expect("a transcoder");
        let rate = codec.sample_rate_hz();
        let mut silence =
            Encoder::new(codec, EncoderSettings::default(), g729.as_ref()).expect("made");
        let mut decoder = Decoder::new(codec, rate, g729.as_ref()).expect("made");
        let (mut payload, mut sound) = (Vec::new(), Vec::new());
        for at in 0..150_u64 {
            silence
                .encode(&vec![0; rate as usize / 50], &mut payload)
                .expect("20 ms");
            let angle = |n: u64| TAU * TONE_HZ * (at * 160 + n) as f64 / 8_000.0;
            let under: Vec<i16> = (0..160).map(|n| (PEAK * angle(n).sin()) as i16).collect();
            let add = if (50..100).contains(&at) {
                &under[..]
            } else {
                &[]
            };
            transcoder.push(at * 960, &payload, add).expect("pushed");
            while transcoder.next(&mut payload).is_some() {
                decoder.decode(&payload, &mut sound).expect("decoded");
            }
        }
        let second = rate as usize;
        let heard = listen(&sound[second + second / 5..2 * second], rate);
        assert!((heard.hz - TONE_HZ).abs() < 1.0, "{codec:?}: {heard:?}");
        assert!(heard.level_db.abs() < 1.0, "{codec:?}: {heard:?}");
        assert!(heard.rest_db < worst_rest_db(codec), "{codec:?}: {heard:?}");
        let quiet = |part: &[i16]| crate::measure::rms_dbfs(part);
        assert!(quiet(&sound[..second]) < -60.0, "{codec:?}");
        assert!(
            quiet(&sound[2 * second + second / 4..]) < -50.0,
            "{codec:?}"
        );
    }
}

#[test]
fn a_transcoder_may_go_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Transcoder>();
}

#[test]
fn payloads_of_any_kind_never_panic() {
    let g729 = G729Library::open().ok();
    let mut state = 11_u64;
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let codecs = codecs(g729.as_ref());
    for &from in &codecs {
        let to = codecs[next() % codecs.len()];
        let made = Transcoder::new(from, to, 10 + next() as u32 % 51, g729.as_ref());
        let mut transcoder = made.expect("a transcoder");
        let (mut at, mut out) = (0_u64, Vec::new());
        for _ in 0..3_000 {
            let length = next() % [3, 30, 700][next() % 3];
            let payload: Vec<u8> = (0..length).map(|_| next() as u8).collect();
            at = match next() % 8 {
                0 => at.saturating_sub(next() as u64 % 100_000),
                1 => at + next() as u64 % 100_000,
                _ => at + 960,
            };
            let add = vec![5_000; next() % 400];
            let _ = transcoder.push(at, &payload, &add);
            while transcoder.next(&mut out).is_some() {
                assert!(to.ticks(&out).is_some());
            }
            if next().is_multiple_of(500) {
                transcoder.forget();
            }
        }
    }
}
