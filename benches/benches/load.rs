//! The whole program under load: processor time for each packet of N recorded calls, against a bare relay
//! that writes the same bytes, in turns in one run.
//!
//! `cargo bench -p duolog-benches --bench load -- [CALLS...] [--turns N] [--window SECONDS]`
//!
//! 1. In each turn duolog, the bare relay woken per packet and the bare relay that rests like duolog carry
//!    the same traffic, one after the other. Calls with duolog are set up over SIP.
//! 2. Behind a warm-up, processor time over the window is divided by the packets offered in it.
//! 3. Nothing may be lost; every recording is compared with what was sent, octet by octet.
//! 4. Ratios are taken within each turn; their median is quoted.
//!
//! `DUOLOG_BINARY` names the program to measure; else the release build is made and taken.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use duolog_benches::load::bare_relay::{BareRelay, Wake};
use duolog_benches::load::exchange::Exchange;
use duolog_benches::load::processor::Snapshot;
use duolog_benches::load::recorder::Recorder;
use duolog_benches::load::recordings;
use duolog_benches::load::tally::Tally;
use duolog_benches::load::traffic::{Sockets, Traffic};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

const WARM_UP: Duration = Duration::from_secs(2);

/// Packets that leave this late are said to be late.
const LATE: Duration = Duration::from_millis(1);

struct Plan {
    calls: Vec<usize>,
    turns: usize,
    window: Duration,
    duolog: PathBuf,
}

/// What one program did in one turn.
struct Figures {
    ns_per_packet: f64,
    threads: Vec<(String, f64)>,
    tally: Tally,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(plan) = plan()? else { return Ok(()) };
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average {}, {} files (were {soft})", load.trim(), hard);
    println!(
        "processor time for each packet offered, in ns, over {:?}\n",
        plan.window
    );
    for &calls in &plan.calls {
        measure(&plan, calls).with_context(|| format!("{calls} calls"))?;
    }
    Ok(())
}

/// The command line; nothing to do where `cargo test` runs this.
fn plan() -> Result<Option<Plan>> {
    let (mut calls, mut turns, mut window) = (Vec::new(), 2, 10);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().context("a value is missing");
        match argument.as_str() {
            "--bench" => {}
            "--test" => return Ok(None),
            "--turns" => turns = value()?.parse()?,
            "--window" => window = value()?.parse()?,
            count => calls.push(count.parse().with_context(|| count.to_string())?),
        }
    }
    if calls.is_empty() {
        calls = vec![50, 200, 500];
    }
    ensure!(
        turns > 0 && window > 0 && !calls.contains(&0),
        "at least one call, turn and second"
    );
    let window = Duration::from_secs(window);
    Ok(Some(Plan {
        calls,
        turns,
        window,
        duolog: duolog()?,
    }))
}

/// The program to measure.
fn duolog() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("DUOLOG_BINARY") {
        return Ok(std::fs::canonicalize(path)?);
    }
    let mut build = Command::new(env!("CARGO"));
    let status = build
        .args(["build", "--release", "--package", "duolog"])
        .status()?;
    ensure!(status.success(), "duolog can not be built");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .context("a target directory")?;
    Ok(target.join("release/duolog"))
}

fn measure(plan: &Plan, calls: usize) -> Result<()> {
    println!("{calls} calls, {} packets/s", calls * 100);
    let mut ratios = [Vec::new(), Vec::new()];
    for turn in 1..=plan.turns {
        let duolog = with_duolog(plan, calls).context("duolog")?;
        duolog.print("duolog");
        let wakes = [
            (Wake::PerPacket, "bare relay"),
            (Wake::Resting, "bare relay, resting"),
        ];
        for ((wake, name), ratios) in wakes.into_iter().zip(&mut ratios) {
            let bare = with_bare_relay(plan, calls, wake).context(name)?;
            bare.print(name);
            ratios.push(duolog.ns_per_packet / bare.ns_per_packet);
        }
        let last = ratios
            .each_ref()
            .map(|r| r.last().copied().unwrap_or_default());
        println!(
            "  turn {turn}: {:.2} x bare relay, {:.2} x resting",
            last[0], last[1]
        );
    }
    let [bare, resting] = ratios.map(median);
    println!("  {calls} calls: duolog ÷ bare relay {bare:.2}, ÷ resting {resting:.2} (medians)\n");
    Ok(())
}

impl Figures {
    fn print(&self, name: &str) {
        let Tally { sent, received } = &self.tally;
        println!(
            "  {name:<20} {:>7.0}   latency p50 {:.2} p99 {:.2} max {:.2} ms   lost {}   \
             generator late p99 {:.2} max {:.2} ms, {} by more than {LATE:?}",
            self.ns_per_packet,
            received.latency.below_ms(0.5),
            received.latency.below_ms(0.99),
            received.latency.below_ms(1.0),
            self.tally.lost(),
            sent.lateness.below_ms(0.99),
            sent.lateness.below_ms(1.0),
            sent.lateness.above(LATE),
        );
        if self.threads.len() > 1 {
            let share = |(name, ns): &(String, f64)| format!("{name} {ns:.0}");
            let named: Vec<String> = self.threads.iter().take(5).map(share).collect();
            println!("  {:<20} by thread: {}", "", named.join(", "));
        }
    }
}

/// A directory on the disk that the build is on.
fn directory() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new()
        .prefix("load-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}

fn with_duolog(plan: &Plan, calls: usize) -> Result<Figures> {
    let directory = directory()?;
    let sockets = Arc::new(Sockets::bind()?);
    let mut exchange = Exchange::new()?;
    let recorder = Recorder::start(&plan.duolog, directory.path(), exchange.addresses())?;
    let measured = (|| {
        let legs = exchange.set_up(calls, recorder.sip(), &sockets)?;
        let figures = carry(plan, &sockets, legs, recorder.process())?;
        exchange.hang_up(&sockets)?;
        let checked = recordings::check(&recorder, exchange.calls(), &figures.tally.sent.packets);
        checked.inspect_err(|_| figures.print("duolog, wrong"))?;
        Ok::<_, anyhow::Error>(figures)
    })();
    let figures = measured.with_context(|| format!("it said: {:?}", recorder.log()))?;
    recorder.stop()?;
    Ok(figures)
}

fn with_bare_relay(plan: &Plan, calls: usize, wake: Wake) -> Result<Figures> {
    let directory = directory()?;
    let sockets = Arc::new(Sockets::bind()?);
    let parties: Vec<SocketAddr> = (0..2 * calls).map(|party| sockets.address(party)).collect();
    let binary = Path::new(env!("CARGO_BIN_EXE_bare_relay"));
    let (relay, legs) = BareRelay::start(binary, directory.path(), wake, &parties)?;
    carry(plan, &sockets, legs, relay.process())
}

/// Traffic through a process, and what the window cost it.
fn carry(
    plan: &Plan,
    sockets: &Arc<Sockets>,
    legs: Vec<SocketAddr>,
    process: u32,
) -> Result<Figures> {
    let traffic = Traffic::start(Arc::clone(sockets), legs, WARM_UP)?;
    std::thread::sleep(WARM_UP);
    let (before, sent_before) = (Snapshot::of(process)?, traffic.sent());
    std::thread::sleep(plan.window);
    let (after, sent_after) = (Snapshot::of(process)?, traffic.sent());
    let tally = traffic.stop()?;
    let packets = (sent_after - sent_before) as f64;
    let threads = after.since(&before).into_iter();
    let threads: Vec<_> = threads
        .map(|(name, s)| (name, s.as_nanos() as f64 / packets))
        .collect();
    let figures = Figures {
        ns_per_packet: threads.iter().map(|(_, ns)| ns).sum(),
        threads,
        tally,
    };
    let (lost, wrong) = (figures.tally.lost(), figures.tally.received.wrong);
    if lost > 0 || wrong > 0 {
        figures.print("failed");
        bail!("{lost} packets were lost, {wrong} arrived wrong");
    }
    Ok(figures)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}
