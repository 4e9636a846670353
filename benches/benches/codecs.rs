//! One packet of 20 ms through each codec: decoded, encoded, and transcoded for the other leg.
//!
//! G.729 is measured where its library (Debian libbcg729-0) is installed.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use duolog_audio::codec::{Channels, Codec, Decoder, Encoder, EncoderSettings, G729Library};
use duolog_audio::transcode::Transcoder;
use duolog_benches::short;

/// Packets of a codec in a row, as its encoder made them: two seconds.
const PACKETS: usize = 100;
/// Ticks of 1/48000 s in a packet.
const PACKET_TICKS: u64 = 960;

fn main() {
    let mut criterion = short();
    let library = G729Library::open().ok();
    let mut codecs = vec![
        Codec::Pcmu,
        Codec::G722,
        Codec::Opus,
        Codec::L16 {
            rate_hz: 16_000,
            channels: Channels::Mono,
        },
    ];
    codecs.extend(library.is_some().then_some(Codec::G729));
    one_codec(&mut criterion, &codecs, library.as_ref());
    two_codecs(&mut criterion, &codecs, library.as_ref());
    criterion.final_summary();
}

fn one_codec(criterion: &mut Criterion, codecs: &[Codec], library: Option<&G729Library>) {
    let mut group = criterion.benchmark_group("codecs");
    group.throughput(Throughput::Elements(1));
    for &codec in codecs {
        let payloads = payloads(codec, library);
        let rate_hz = codec.sample_rate_hz();
        let mut decoder = Decoder::new(codec, rate_hz, library).expect("it is there");
        let mut samples = Vec::with_capacity(5_760);
        let mut turn = payloads.iter().cycle();
        group.bench_function(format!("decode/{}", codec.name()), |b| {
            b.iter(|| {
                samples.clear();
                let payload = turn.next().expect("it goes round");
                decoder.decode(black_box(payload), &mut samples)
            });
        });
        let voice = voice(rate_hz);
        let frame = (rate_hz / 50) as usize;
        let settings = EncoderSettings::default();
        let mut encoder = Encoder::new(codec, settings, library).expect("it is there");
        let mut payload = Vec::with_capacity(4_096);
        let mut turn = voice.chunks_exact(frame).cycle();
        group.bench_function(format!("encode/{}", codec.name()), |b| {
            b.iter(|| {
                let samples = turn.next().expect("it goes round");
                encoder.encode(black_box(samples), &mut payload)
            });
        });
    }
    group.finish();
}

fn two_codecs(criterion: &mut Criterion, codecs: &[Codec], library: Option<&G729Library>) {
    let mut group = criterion.benchmark_group("transcode");
    group.throughput(Throughput::Elements(1));
    for (from, to) in codecs
        .iter()
        .flat_map(|from| codecs.iter().map(move |to| (*from, *to)))
    {
        if from == to {
            continue;
        }
        let payloads = payloads(from, library);
        let mut transcoder = Transcoder::new(from, to, 20, library).expect("it is there");
        let mut payload = Vec::with_capacity(4_096);
        let mut at = 0;
        let mut turn = payloads.iter().cycle();
        let name = format!("{} to {}", from.name(), to.name());
        group.bench_function(name.replace('/', "-"), |b| {
            b.iter(|| {
                let incoming = turn.next().expect("it goes round");
                transcoder
                    .push(at, black_box(incoming), &[])
                    .expect("its own encoder made it");
                at += PACKET_TICKS;
                while transcoder.next(&mut payload).is_some() {}
            });
        });
    }
    group.finish();
}

fn payloads(codec: Codec, library: Option<&G729Library>) -> Vec<Vec<u8>> {
    let rate_hz = codec.sample_rate_hz();
    let settings = EncoderSettings::default();
    let mut encoder = Encoder::new(codec, settings, library).expect("it is there");
    let voice = voice(rate_hz);
    let frames = voice.chunks_exact((rate_hz / 50) as usize);
    let encode = |samples: &[i16]| {
        let mut payload = Vec::new();
        encoder
            .encode(samples, &mut payload)
            .expect("20 ms is a frame of every codec");
        payload
    };
    frames.map(encode).collect()
}

/// Something of a voice: a tone with overtones and a slow swell.
fn voice(rate_hz: u32) -> Vec<i16> {
    let sample = |at: usize| {
        let t = at as f64 / f64::from(rate_hz);
        let swell = 0.6 + 0.4 * (t * 25.0).sin();
        let overtone = |n: f64| (t * 220.0 * n * std::f64::consts::TAU).sin() / n;
        let level = swell * (overtone(1.0) + overtone(2.0) + overtone(3.0));
        (level * 8_000.0) as i16
    };
    (0..PACKETS * rate_hz as usize / 50).map(sample).collect()
}
