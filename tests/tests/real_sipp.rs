//! SIPp as caller and as callee with RTP both ways: every call recorded, every file judged by the
//! coded voice of each party.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use duolog_tests::real::listen::{self, Coding};
use duolog_tests::real::sipp::{self, CALLEE, CALLER, Load};
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Kept, Site, kept};

/// SIPp is late when it has to share the processors: one run at a time.
static ONE: Mutex<()> = Mutex::new(());

/// A recording may begin or end this much away from the voices: SIPp starts its RTP after the ACK
/// and stops it before the BYE, on a timer of its own.
const EDGE_SAMPLES: i64 = 8_000 / 4;

#[test]
fn udp_200_calls_at_10_per_second_as_received() {
    check("udp", "u1", "wav-g711", 200, Coding::Exact);
}

#[test]
fn tcp_200_calls_at_10_per_second_in_opus() {
    check("tcp", "t1", "opus", 200, Coding::Lossy);
}

#[test]
fn tcp_40_calls_with_a_connection_each_in_pcm16() {
    check("tcp", "tn", "wav-pcm16", 40, Coding::Exact);
}

fn check(
    transport: &'static str,
    sockets: &'static str,
    format: &'static str,
    calls: u32,
    coding: Coding,
) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let site = Site::new(&Wishes {
        transport,
        format,
        ..Wishes::default()
    });
    let load = Load {
        transport: sockets,
        calls,
        per_second: 10,
        length: Duration::from_millis(if calls > 100 { 6_000 } else { 3_000 }),
    };
    let mut duolog = Duolog::start(&site);
    let mut callees = sipp::callees(&site, &load);
    let began = Instant::now();
    let mut callers = sipp::callers(&site, &load);
    let called = callers.exit(load.limit());
    if !called.success() {
        callers.fail(&format!("{called}: calls failed: {}", sipp::errors(&site)));
    }
    let answered = callees.exit(Duration::from_secs(30));
    if !answered.success() {
        callees.fail(&format!(
            "{answered}: calls failed: {}",
            sipp::errors(&site)
        ));
    }
    let took = began.elapsed();
    let wanted = f64::from(calls);
    duolog.until_metric(
        Duration::from_secs(60),
        "duolog_recordings_stored_total",
        |n| n >= wanted,
    );
    duolog.stop();
    let rows = kept::list(&site);
    assert_eq!(rows.len(), calls as usize, "a row for every call");
    let judged = listen::in_parallel(&rows, |row| judge(row, &load, coding));
    let wrong: Vec<&String> = judged
        .iter()
        .filter_map(|judged| judged.as_ref().err())
        .collect();
    if let Some(first) = wrong.first() {
        let row = rows.iter().zip(&judged).find(|(_, judged)| judged.is_err());
        let shown = row.map(|(row, _)| row.show(&site)["manifest"]["channels"].to_string());
        panic!(
            "{} of {calls} recordings are wrong: {first}\n{shown:?}\n{wrong:#?}",
            wrong.len()
        );
    }
    let shortest = judged.into_iter().flatten().min().expect("calls");
    println!(
        "{transport} {format}: {calls} calls in {:.1} s, all recorded; at least {shortest} coded \
         slots of 100 ms in a row in each channel",
        took.as_secs_f64()
    );
}

/// Judges one recording; answers the slots that its shorter channel holds, or what is wrong.
fn judge(row: &Kept, load: &Load, coding: Coding) -> Result<usize, String> {
    let wrong = |what: String| format!("{what}; {row:?}");
    let wanted = load.length.as_secs_f64();
    if row.state != "complete" || !(wanted - 0.1..wanted + 2.0).contains(&row.seconds) {
        return Err(wrong("state or length".into()));
    }
    let mut shortest = usize::MAX;
    for (samples, party) in row.samples().iter().zip([CALLEE, CALLER]) {
        let heard = listen::speech(samples, party, coding);
        let heard = heard.map_err(|why| wrong(format!("party {party}: {why}")))?;
        let end = samples.len() as i64 - heard.to;
        if heard.first > 1 || heard.from > EDGE_SAMPLES || end > EDGE_SAMPLES {
            return Err(wrong(format!(
                "party {party} begins late or ends early: {heard:?}"
            )));
        }
        shortest = shortest.min(heard.slots);
    }
    Ok(shortest)
}
