//! What one packet after the other does to a time line.

use std::time::{Duration, Instant};

use super::*;
use crate::testing::{Numbers, ms, start};

const SOURCE: Ssrc = Ssrc(9);

struct Bed {
    timeline: Timeline,
    begin: Instant,
}

impl Bed {
    fn new() -> Self {
        Self {
            timeline: Timeline::new(ClockRate::HZ_8000),
            begin: start(),
        }
    }

    fn update(&mut self, timestamp: u32, at: Duration) -> Placed {
        self.timeline
            .update(SOURCE, RtpTimestamp(timestamp), self.begin + at, 160)
    }

    fn change(&mut self, timestamp: u32, at_ms: u64) -> Change {
        self.update(timestamp, ms(at_ms)).change
    }
}

const FIRST: Change = Change::Reanchored(Reanchoring::First);
const JUMP: Change = Change::Reanchored(Reanchoring::Jump);

#[test]
fn least_transit_of_the_first_200_ms_is_the_base() {
    let mut bed = Bed::new();
    assert_eq!(bed.change(0, 60), FIRST);
    assert_eq!(bed.change(160, 90), Change::Steady);
    assert_eq!(bed.change(320, 70), Change::Shift { ticks: 240 });
    assert_eq!(bed.change(480, 60), Change::Shift { ticks: 240 });
    assert_eq!(bed.timeline.instant_of(RtpTimestamp(0)), Some(bed.begin));
    // Frozen 200 ms after the first packet.
    assert_eq!(
        bed.change(2_400, 261),
        Change::Steady,
        "300 ms on the media clock, 39 early"
    );
    assert_eq!(bed.timeline.instant_of(RtpTimestamp(0)), Some(bed.begin));
    assert_eq!(
        bed.timeline.instant_of(RtpTimestamp(2_560)),
        Some(bed.begin + ms(320))
    );
}

#[test]
fn jitter_of_80_ms_converges_and_places_exactly() {
    for seed in 1..=200 {
        let (mut bed, mut numbers) = (Bed::new(), Numbers(seed));
        let offset = (seed as u32).wrapping_mul(0x1234_5679);
        let quickest = numbers.below(9);
        let mut network: Vec<(Duration, u32)> = (0..500_u32)
            .map(|nth| {
                let least = u64::from(nth) == quickest;
                let delay = if least { 0 } else { numbers.below(80_000) };
                (ms(20) * nth + Duration::from_micros(delay), nth)
            })
            .collect();
        network.sort_unstable();
        let (mut shifted, mut newest) = (0, 0);
        let mut placed = Vec::new();
        for (arrival, nth) in network {
            let timestamp = offset.wrapping_add(nth * 160);
            // Overtaken packets are placed, but do not carry the source on.
            if placed.is_empty() || nth > newest {
                newest = nth;
                if let Change::Shift { ticks } = bed.update(timestamp, arrival).change {
                    shifted += ticks as i64;
                    placed.iter_mut().for_each(|(_, at)| *at -= ticks as i64);
                }
            }
            let at = bed.timeline.ticks_after(bed.begin, RtpTimestamp(timestamp));
            placed.push((nth, at.expect("anchored")));
        }
        assert!(shifted <= 640, "never more than the jitter");
        // All packets, also those placed before the base moved, lie on one line near the truth.
        let (nth, at) = placed[0];
        let lead = at - i64::from(nth) * 160;
        assert!((0..=1).contains(&lead), "{seed}: {lead}");
        assert!(
            placed
                .iter()
                .all(|&(nth, at)| at - i64::from(nth) * 160 == lead)
        );
    }
}

#[test]
fn time_stamps_are_extended_over_the_wrap_both_ways() {
    let mut bed = Bed::new();
    let first = bed.update(u32::MAX - 159, ms(0)).media_time.ticks;
    assert_eq!(bed.update(160, ms(40)).media_time.ticks, first + 320);
    let late = RtpTimestamp(0);
    assert_eq!(bed.timeline.instant_of(late), Some(bed.begin + ms(20)));
    assert_eq!(bed.timeline.ticks_after(bed.begin, late), Some(160));
    let before = RtpTimestamp(u32::MAX - 319);
    assert_eq!(bed.timeline.ticks_after(bed.begin, before), Some(-160));
    assert_eq!(bed.timeline.instant_of(before), Some(bed.begin - ms(20)));
}

#[test]
fn a_week_of_wraps_is_one_line() {
    let mut bed = Bed::new();
    bed.update(5, ms(0));
    for hour in 1..=24 * 7_u64 {
        let timestamp = (5 + hour * 3_600 * 8_000) as u32;
        let placed = bed.update(timestamp, Duration::from_secs(3_600 * hour));
        assert_eq!(placed.change, Change::Steady, "hour {hour}");
        assert_eq!(placed.media_time.ticks, (1 << 32) + 5 + hour * 28_800_000);
    }
}

#[test]
fn silence_in_step_is_no_jump_and_a_stopped_clock_is() {
    let mut bed = Bed::new();
    assert_eq!(bed.change(0, 0), FIRST);
    assert_eq!(bed.change(160, 20), Change::Steady);
    assert_eq!(
        bed.change(160 + 8 * 60_000, 60_020),
        Change::Steady,
        "a minute of silence"
    );
    // A packet is missing in between: the network's doing, up to a second.
    assert_eq!(bed.change(800 + 8 * 60_000, 61_050), Change::Steady);
    assert_eq!(bed.change(1_440 + 8 * 60_000, 61_190), JUMP, "1.01 s late");
    assert_eq!(bed.change(1_600 + 8 * 60_000, 61_210), Change::Steady);
    assert_eq!(bed.change(3_000_000_000, 61_090), JUMP, "forward");
    assert_eq!(bed.change(5, 61_110), JUMP, "back");
    assert_eq!(bed.change(165, 61_130), Change::Steady);
    let placed = bed.timeline.instant_of(RtpTimestamp(165));
    assert_eq!(placed, Some(bed.begin + ms(61_130)));
}

#[test]
fn a_stalled_network_comes_back_to_its_line() {
    let mut bed = Bed::new();
    for nth in 0..50 {
        bed.update(nth * 160, ms(20) * nth);
    }
    // Three seconds of packets at once, then as before.
    let stopped = Change::Reanchored(Reanchoring::Stopped);
    assert_eq!(bed.change(50 * 160, 4_000), stopped);
    assert_eq!(
        bed.timeline.ticks_after(bed.begin, RtpTimestamp(50 * 160)),
        Some(32_000)
    );
    for nth in 51..195 {
        assert_eq!(
            bed.change(nth * 160, 4_000),
            Change::Shift { ticks: 160 },
            "{nth}"
        );
    }
    // 100 ms behind there is no doubt any more.
    let rest = 32_000 - 50 * 160 - 144 * 160;
    assert_eq!(bed.change(195 * 160, 4_000), Change::Shift { ticks: rest });
    for nth in 196..=201 {
        assert_eq!(bed.change(nth * 160, 4_000), Change::Steady, "{nth}");
    }
    assert_eq!(bed.timeline.instant_of(RtpTimestamp(0)), Some(bed.begin));
}

#[test]
fn another_source_has_a_line_of_its_own() {
    let mut bed = Bed::new();
    assert_eq!(bed.timeline.instant_of(RtpTimestamp(0)), None);
    assert_eq!(bed.timeline.ticks_after(bed.begin, RtpTimestamp(0)), None);
    bed.update(0, ms(0));
    let placed = bed
        .timeline
        .update(Ssrc(10), RtpTimestamp(777), bed.begin + ms(30), 160);
    assert_eq!(placed.change, Change::Reanchored(Reanchoring::NewSource));
    assert_eq!(
        bed.timeline.ticks_after(bed.begin, RtpTimestamp(777)),
        Some(240)
    );
}

#[test]
fn drift_is_measured_and_never_becomes_a_jump() {
    for ppm in [-200_i64, -50, 0, 50, 200] {
        let (mut bed, mut numbers) = (Bed::new(), Numbers(7));
        for nth in 0..3 * 3_600 * 50_u64 {
            let sent_ns = nth as i64 * 20_000_000;
            // A fast sender's ticks come sooner than they should.
            let at_ns = sent_ns - sent_ns / 1_000_000 * ppm;
            let delay = Duration::from_micros(numbers.below(5_000));
            let arrival = Duration::from_nanos(at_ns as u64) + delay;
            let change = bed.update((nth * 160) as u32, arrival).change;
            assert!(
                nth < 11 || change == Change::Steady,
                "{ppm}: packet {nth} {change:?}"
            );
        }
        let measured = bed.timeline.drift_ppm().expect("hours were measured");
        assert!((measured - ppm as f64).abs() < 2.0, "{ppm}: {measured}");
    }
}
