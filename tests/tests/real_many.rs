//! Calls set up and torn down by SIPp: none fails, and memory after 50,000 is what it was before
//! (issue 4, acceptance 8).

use std::time::Duration;

use duolog_tests::real::sipp::{self, Load};
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Site, vital};

/// Calls begun per second once it is warm.
const PER_SECOND: u32 = 400;
/// What memory before and after may differ by: 21 bytes for each call.
const EQUAL_KIB: u64 = 1024;
/// How often 50,000 calls may be made until it does not.
const ROUNDS: u32 = 2;

/// Sets calls up and tears them down; gives the processor time that duolog had for it.
fn round(site: &Site, duolog: &Duolog, calls: u32, per_second: u32) -> Duration {
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
    vital::processor_time(duolog.process.id()) - before
}

/// Memory once the last transactions of the last calls are over (timers J and K, and those of ended INVITEs)
/// and the allocator has returned what they had, KiB.
fn memory(duolog: &mut Duolog) -> u64 {
    duolog.until_metric(Duration::from_secs(60), "duolog_sip_transactions", |n| {
        n == 0.0
    });
    vital::resident_at_rest_kib(&mut duolog.process)
}

#[test]
fn fifty_thousand_calls_leave_nothing_behind() {
    let site = Site::new(&Wishes {
        user: "mode = \"never\"",
        ..Wishes::default()
    });
    let mut duolog = Duolog::start(&site);
    let first = round(&site, &duolog, 1_000, 100);
    println!(
        "1,000 calls at 100 per second: none failed, {:.3} ms of processor time per call",
        first.as_secs_f64()
    );
    // Transactions outlive their calls by half a minute: as many as there ever are at this rate.
    round(&site, &duolog, 16_000, PER_SECOND);
    let mut before = memory(&mut duolog);
    // A machine with other work makes bursts, and one higher than all before raises what queues keep, once.
    // What each call leaves behind shows every time.
    let equal = (1..=ROUNDS).any(|_| {
        let cost = round(&site, &duolog, 50_000, PER_SECOND);
        let after = memory(&mut duolog);
        println!(
            "50,000 calls: none failed, {:.3} ms of processor time per call; memory {before} KiB before, \
             {after} KiB after",
            cost.as_secs_f64() / 50.0
        );
        std::mem::replace(&mut before, after).abs_diff(after) <= EQUAL_KIB
    });
    duolog.stop();
    assert!(equal, "memory was another after each round");
}
