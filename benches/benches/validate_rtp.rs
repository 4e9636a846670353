//! Checking one datagram: bounds, its source's sequence, and its place on the time line.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use duolog_benches::short;
use duolog_rtp::packet::{self, Marker, Outgoing, View};
use duolog_rtp::source::{Kind, Source};
use duolog_rtp::timeline::Timeline;
use duolog_rtp::{ClockRate, PayloadType, RtpTimestamp, SeqNo, Ssrc};

const SSRC: Ssrc = Ssrc(0x5eed);
const SAMPLES: u32 = 160;

fn main() {
    let mut criterion = short();
    validate_rtp(&mut criterion);
    criterion.final_summary();
}

fn validate_rtp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("validate_rtp");
    group.throughput(Throughput::Elements(1));
    let mut datagram = [0; 12 + SAMPLES as usize];
    let first = Outgoing {
        ssrc: SSRC,
        seq: SeqNo(0),
        timestamp: RtpTimestamp(0),
        payload_type: PayloadType(0),
        marker: false,
        payload: &[0x55; SAMPLES as usize],
    };
    first
        .write(&mut datagram)
        .expect("the buffer fits a packet");
    group.bench_function("view", |b| {
        b.iter(|| View::parse(black_box(&datagram)).map(|v| v.seq()))
    });

    let mut source = Source::new(SSRC, ClockRate::HZ_8000);
    let mut timeline = Timeline::new(ClockRate::HZ_8000);
    let (start, mut number) = (Instant::now(), 0_u32);
    group.bench_function("view_source_timeline", |b| {
        b.iter(|| {
            number = number.wrapping_add(1);
            let (seq, timestamp) = (
                SeqNo(number as u16),
                RtpTimestamp(number.wrapping_mul(SAMPLES)),
            );
            packet::rewrite(&mut datagram, SSRC, seq, timestamp, None, Marker::Keep);
            let arrival = start + Duration::from_millis(20) * number;
            let view = View::parse(black_box(&datagram)).expect("a good packet");
            let placement = source.update(view.seq(), view.timestamp(), arrival);
            assert_eq!(placement.kind, Kind::New);
            timeline.update(view.ssrc(), view.timestamp(), arrival, SAMPLES);
            timeline.ticks_after(start, view.timestamp())
        });
    });
    assert_eq!(source.figures().lost(), 0);
    group.finish();
}
