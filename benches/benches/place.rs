//! One packet onto the time line of a recorded call: received and checked, placed, relayed to nobody.
//! Making blocks of what is final is not in the figure; `packet_path` has it.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use duolog_benches::calls::{Bridged, Calls, Recorded};
use duolog_benches::short;

fn main() {
    let mut criterion = short();
    place(&mut criterion);
    criterion.final_summary();
}

fn place(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("place");
    for recorded in [Recorded::No, Recorded::Yes, Recorded::Twice] {
        let mut calls = Calls::new(500, recorded, Bridged::No);
        group.throughput(Throughput::Elements(calls.packets_per_round()));
        let name = match recorded {
            Recorded::Yes => "checked_and_placed",
            Recorded::Twice => "checked_and_placed_twice",
            Recorded::No => "checked",
        };
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let began = Instant::now();
                    calls.receive_round();
                    spent += began.elapsed();
                    calls.settle();
                }
                spent
            });
        });
        calls.assert_whole(recorded, Bridged::No);
    }
    group.finish();
}
