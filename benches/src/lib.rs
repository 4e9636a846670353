//! What the benchmarks share: calls in virtual time on one shard, an allocator that counts, and the
//! parts of the load bench.
//!
//! # What it does not know
//!
//! Whether a figure is good. It measures and checks that what was measured was done right; the aims
//! stand in the specification.
//!
//! # Invariants
//!
//! 1. A fast but wrong run fails: every bench asserts that its packets went the whole way.
//! 2. Figures are compared only within one run, in turns.

pub mod allocations;
pub mod calls;
pub mod load;

use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::Criterion;

/// Settings under which all micro benches together take about two minutes.
#[must_use]
pub fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1_500))
        .without_plots()
        .configure_from_args()
}

/// The path of a file below `fixtures/`.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("benches/ stands in the tree")
        .join("fixtures")
        .join(name)
}
