//! Calls set up and torn down by SIPp: none fails, and memory after 50,000 is what it was before
//! (issue 4, acceptance 8).

use std::time::Duration;

use duolog_tests::real::sipp::{self, Load};
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Site, vital};

/// Calls begun per second once it is warm.
const PER_SECOND: u32 = 400;
/// What memory may grow by: 160 bytes for each call would be a leak. The allocator's own ups and downs
/// are a few MiB either way while thousands of transactions come and go.
const LEAK_KIB: u64 = 50_000 * 160 / 1024;

fn round(site: &Site, duolog: &mut Duolog, calls: u32, per_second: u32) -> Duration {
    let load = Load {
        transport: "u1",
        calls,
        per_second,
        length: Duration::from_millis(100),
    };
    let before = vital::processor_time(duolog.process.id());
    let mut callees = sipp::quiet_callees(site, &load);
    let mut callers = sipp::quiet_callers(site, &load);
    for process in [&mut callers, &mut callees] {
        let ended = process.exit(load.limit());
        if !ended.success() {
            process.fail(&format!("{ended}: calls failed: {}", sipp::errors(site)));
        }
    }
    // The last transactions of the last calls are over: timers J and K, and those of ended INVITEs.
    duolog.until_metric(Duration::from_secs(60), "duolog_sip_transactions", |n| {
        n == 0.0
    });
    vital::processor_time(duolog.process.id()) - before
}

#[test]
fn fifty_thousand_calls_leave_nothing_behind() {
    let site = Site::new(&Wishes {
        user: "mode = \"never\"",
        ..Wishes::default()
    });
    let mut duolog = Duolog::start(&site);
    let first = round(&site, &mut duolog, 1_000, 100);
    println!(
        "1,000 calls at 100 per second: none failed, {:.3} ms of processor time per call",
        first.as_secs_f64()
    );
    // Transactions outlive their calls by half a minute: as many as there ever are at this rate.
    round(&site, &mut duolog, 16_000, PER_SECOND);
    let process = duolog.process.id();
    let before = vital::resident_kib(process);
    let cost = round(&site, &mut duolog, 50_000, PER_SECOND);
    let after = vital::resident_kib(process);
    println!(
        "50,000 calls: none failed, {:.3} ms of processor time per call; memory {before} KiB before, \
         {after} KiB after",
        cost.as_secs_f64() / 50.0
    );
    duolog.stop();
    assert!(
        after <= before + LEAK_KIB,
        "{before} KiB before, {after} KiB after"
    );
}
