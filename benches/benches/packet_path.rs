//! The whole path of a packet of a recorded call, with everything that becomes due on the way: blocks
//! mixed and handed out, reports sent. What the same calls cost unrecorded is measured beside it.

use criterion::{Criterion, Throughput};
use duolog_benches::calls::{Bridged, Calls, Recorded};
use duolog_benches::short;

fn main() {
    let mut criterion = short();
    packet_path(&mut criterion);
    criterion.final_summary();
}

fn packet_path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet_path");
    for count in [50, 500] {
        for recorded in [Recorded::No, Recorded::Yes, Recorded::Twice] {
            let mut calls = Calls::new(count, recorded, Bridged::Yes);
            group.throughput(Throughput::Elements(calls.packets_per_round()));
            let name = match recorded {
                Recorded::Yes => "recorded",
                Recorded::Twice => "recorded_twice",
                Recorded::No => "baseline_unrecorded",
            };
            group.bench_function(format!("{name}/{count}_calls"), |b| {
                b.iter(|| calls.round())
            });
            calls.assert_whole(recorded, Bridged::Yes);
        }
    }
    group.finish();
}
