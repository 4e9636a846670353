//! One packet through a bridged call that is not recorded: received, checked, rewritten, out.

use criterion::{Criterion, Throughput};
use duolog_benches::calls::{Bridged, Calls, Recorded};
use duolog_benches::short;

fn main() {
    let mut criterion = short();
    relay(&mut criterion);
    criterion.final_summary();
}

fn relay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay");
    for count in [1, 500] {
        let mut calls = Calls::new(count, Recorded::No, Bridged::Yes);
        group.throughput(Throughput::Elements(calls.packets_per_round()));
        group.bench_function(format!("{count}_calls"), |b| b.iter(|| calls.round()));
        calls.assert_whole(Recorded::No, Bridged::Yes);
    }
    group.finish();
}
