//! The packet path allocates nothing after start: counted, not believed.

use duolog_benches::allocations::{self, Counting};
use duolog_benches::calls::{Bridged, Calls, Recorded};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Rounds until every buffer has its size: 60 s of the call.
const WARM_UP: u64 = 3_000;

/// Packets that are counted: 1,000 s of one call.
const PACKETS: u64 = 100_000;

#[test]
fn the_counter_counts() {
    let before = allocations::count();
    let mut numbers = std::hint::black_box(Vec::<u64>::with_capacity(4));
    assert_eq!(allocations::count(), before + 1);
    numbers.extend(0..100);
    assert!(allocations::count() > before + 1, "growing is counted too");
}

#[test]
fn a_packet_of_a_recorded_call_allocates_nothing() {
    for calls in [1, 20] {
        for recorded in [Recorded::Twice, Recorded::Yes, Recorded::No] {
            check(calls, recorded, Turned::No);
        }
    }
    check(20, Recorded::Yes, Turned::Yes);
}

/// Whether other parties take the second channels, a moment before packets are counted.
#[derive(Debug, PartialEq, Eq)]
enum Turned {
    Yes,
    No,
}

fn check(count: u32, recorded: Recorded, turned: Turned) {
    let mut calls = Calls::new(count, recorded, Bridged::Yes);
    for _ in 0..WARM_UP {
        calls.round();
    }
    if turned == Turned::Yes {
        calls.turn();
    }
    let (blocks, reports) = (calls.blocks(), calls.reports());
    let (mut receiving, mut due) = (0, 0);
    for _ in 0..PACKETS / calls.packets_per_round() {
        let before = allocations::count();
        calls.receive_round();
        let between = allocations::count();
        calls.settle();
        receiving += between - before;
        due += allocations::count() - between;
    }
    let reports = calls.reports() - reports;
    let setting = format!("{count} calls, recorded: {recorded:?}, {reports} RTCP reports sent");
    assert_eq!(
        (receiving, due),
        (0, 0),
        "allocations in receive and in tick; {setting}"
    );
    assert!(reports > 100, "reports are part of the path: {setting}");
    calls.assert_whole(recorded, Bridged::Yes);
    // A block is 16 packets of each party.
    let expected = match recorded {
        Recorded::No => 0,
        Recorded::Yes => PACKETS / 32,
        Recorded::Twice => PACKETS / 16,
    };
    let made = calls.blocks() - blocks;
    assert!(
        made.abs_diff(expected) <= 2 * u64::from(count),
        "{made} blocks, {expected} expected"
    );
}
