//! A block of 320 ms of two parties: mixed as received, mixed as PCM16, encoded as Ogg Opus.

use std::hint::black_box;
use std::io;

use criterion::{Criterion, Throughput};
use duolog_audio::container::ogg_opus::{Settings, Tags, Writer};
use duolog_audio::g711::{self, Law};
use duolog_audio::mix::{self, Coded};
use duolog_benches::short;

const SAMPLES: usize = 2_560;

fn main() {
    let mut criterion = short();
    mix_encode(&mut criterion);
    criterion.final_summary();
}

fn mix_encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mix_encode");
    // Samples of both channels: 320 ms.
    group.throughput(Throughput::Elements(2 * SAMPLES as u64));
    let (left, right) = (voice(300.0), voice(440.0));
    let mut stereo = vec![0; 4 * SAMPLES];
    group.bench_function("g711_as_received", |b| {
        b.iter(|| mix::interleave(black_box(&left), &right, &mut stereo[..2 * SAMPLES]));
    });
    group.bench_function("pcm16", |b| {
        b.iter(|| {
            let left = Coded {
                law: Law::Mulaw,
                codes: black_box(&left),
            };
            let right = Coded {
                law: Law::Alaw,
                codes: &right,
            };
            mix::decode_interleave_le(left, right, &mut stereo);
        });
    });
    let [left, right] = [left, right].map(|codes| {
        let mut samples = vec![0; SAMPLES];
        g711::decode_into(Law::Mulaw, &codes, &mut samples);
        samples
    });
    let writer = Writer::new(io::sink(), Settings::default(), &Tags::default());
    let mut writer = writer.expect("the settings are usual ones");
    group.bench_function("opus", |b| {
        b.iter(|| {
            writer
                .push(black_box(&left), &right)
                .expect("a sink takes everything")
        });
    });
    writer.finish().expect("a sink takes everything");
    group.finish();
}

/// Something of a voice: a tone with overtones and a slow swell, in mu-law.
fn voice(hz: f64) -> Vec<u8> {
    let sample = |at: usize| {
        let t = at as f64 / 8_000.0;
        let swell = 0.6 + 0.4 * (t * 25.0).sin();
        let overtone = |n: f64| (t * hz * n * std::f64::consts::TAU).sin() / n;
        let level = swell * (overtone(1.0) + overtone(2.0) + overtone(3.0));
        g711::encode(Law::Mulaw, (level * 8_000.0) as i16)
    };
    (0..SAMPLES).map(sample).collect()
}
