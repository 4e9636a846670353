//! What a running process costs, as the kernel counts it.

use std::fs;
use std::time::{Duration, Instant};

use super::Process;

/// Ticks per second of the times in `/proc` (`USER_HZ`, 100 on every Linux that Debian ships).
const TICKS_PER_S: u64 = 100;
/// How long memory at rest stays as it is.
const REST: Duration = Duration::from_secs(3);
/// What is no change of memory, KiB.
const REST_KIB: u64 = 128;

/// Memory of a process that is in RAM now, in KiB.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn resident_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    words
        .and_then(|number| number.parse().ok())
        .expect("the kernel counts it")
}

/// Memory of a process once it has given back what it does not need, in KiB: it has stayed the same for
/// seconds, and giving back takes milliseconds.
///
/// # Panics
/// When it ends, or its memory is not at rest within a minute.
pub fn resident_at_rest_kib(process: &mut Process) -> u64 {
    let (id, mut since) = (process.id(), Instant::now());
    let mut marked = resident_kib(id);
    process.until(Duration::from_secs(60), "its memory is at rest", || {
        let now = resident_kib(id);
        if now.abs_diff(marked) > REST_KIB {
            (marked, since) = (now, Instant::now());
        }
        (since.elapsed() >= REST).then_some(now)
    })
}

/// Processor time that a process has had, user and system.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // The name may hold spaces; fields are counted behind it, where utime is the 12th and stime next.
    let (_, fields) = stat.rsplit_once(')').expect("the name is in brackets");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_S)
}
