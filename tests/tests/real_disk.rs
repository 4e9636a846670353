//! The spool on a disk of its own that stalls for 5 s, and that fills up: the parties hear nothing of
//! it, the stall loses nothing, and the full disk ends in listed gaps, an alarm and 503.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use duolog::phone::{Look, Voice};
use duolog_tests::real::exact;
use duolog_tests::real::phones::{self, Looks, Phones};
use duolog_tests::real::seed::seeded;
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Probe, Site, Volume, kept, probe};

/// The stall's measure is time: nothing of this file runs beside it.
static ONE: Mutex<()> = Mutex::new(());

const STALL: Duration = Duration::from_secs(5);
/// How much later a packet may be because of the stall.
const LATER: Duration = Duration::from_millis(1);
/// Stalls that are tried. A stall that delays packets does so each time; a neighbour on the machine
/// does not.
const STALLS: usize = 3;
const CALLS: usize = 4;
/// Packets on their way when a party hangs up: 60 ms.
const LAST_SAMPLES: usize = 480;
const WAIT: Duration = Duration::from_secs(20);

#[test]
fn a_disk_that_stalls_for_five_seconds_delays_and_loses_nothing() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut volume) = Volume::wanted(128) else {
        return;
    };
    let site = site_on(&volume);
    let mut duolog = Duolog::start(&site);
    let mut random = seeded(7);
    let mut voices = || {
        (0..CALLS)
            .map(|_| phones::noise(&mut random, 60))
            .collect::<Vec<Voice>>()
    };
    let phones = Phones::new(&site, voices(), voices());
    phones.all_talk();
    let mut stalls = Vec::new();
    for _ in 0..STALLS {
        stalls.push(stall(&phones, &mut duolog, &mut volume));
        if verdict(&phones.look(), &stalls).is_ok() {
            break;
        }
    }
    phones.go_on_until(Instant::now() + Duration::from_secs(1));
    let looks = phones.look();
    phones.all_hang_up();
    duolog.stop();
    println!(
        "{}",
        verdict(&looks, &stalls).expect("packets are no later for the stall")
    );
    let rows = kept::list(&site);
    assert_eq!(rows.len(), CALLS, "a row for every call");
    let sent = phones.look();
    for row in &rows {
        assert_eq!(row.state, "complete", "{row:?}");
        for compared in exact::recording(&site, row, &sent) {
            assert!(compared.after <= LAST_SAMPLES, "{compared:?} of {row:?}");
            assert_eq!(exact::interior_gaps(&site, row), 0, "{row:?}");
        }
    }
    println!("stall: {CALLS} recordings are what was sent, code for code, both channels");
}

#[test]
fn a_full_disk_ends_in_listed_gaps_an_alarm_and_503_until_there_is_room() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(volume) = Volume::wanted(64) else {
        return;
    };
    let site = site_on(&volume);
    let (looks, filled) = fill_in_mid_call(&site, &volume);
    let rows = kept::list(&site);
    let refused = rows.iter().filter(|row| row.state == "refused").count();
    assert_eq!(
        (rows.len(), refused),
        (3, 1),
        "a row for every call: {rows:?}"
    );
    let row_of = |caller: usize| {
        let call_id = looks.callers[caller].call_id.as_deref();
        let row = rows
            .iter()
            .find(|row| Some(row.call_id.as_str()) == call_id);
        row.expect("a row for every call")
    };
    let (before, after) = (row_of(0), row_of(1));
    let states = (before.state.as_str(), after.state.as_str());
    assert_eq!(states, ("partial", "complete"), "{rows:?}");
    let lost = before.gaps(&site).map(|gaps| {
        let full = gaps.iter().filter(|gap| gap.reason == "spool_full");
        full.map(|gap| gap.samples).sum::<usize>()
    });
    assert!(
        lost.iter().all(|lost| *lost > 8_000),
        "{lost:?} samples lost to the full disk"
    );
    for (row, what) in [(before, "full in mid-call"), (after, "room again")] {
        for compared in exact::recording(&site, row, &looks) {
            assert!(compared.same >= 8_000, "{what}: {compared:?}");
            assert!(
                compared.after <= LAST_SAMPLES,
                "{what}: {compared:?} of {row:?}"
            );
        }
    }
    assert_eq!(exact::interior_gaps(&site, after), 0);
    println!(
        "full disk ({} MiB written until ENOSPC): {} ms of {:.1} s are listed as gaps, everything \
         else is what was sent; a call after room was made is whole",
        filled >> 20,
        lost[0] / 8,
        before.seconds
    );
}

/// A call during which the disk fills up and is given room again, then another call; answers what
/// the phones did, and how many bytes filled the disk.
fn fill_in_mid_call(site: &Site, volume: &Volume) -> (Looks, u64) {
    let mut duolog = Duolog::start(site);
    let mut random = seeded(70);
    let mut voices = || {
        vec![
            phones::noise(&mut random, 60),
            phones::noise(&mut random, 60),
        ]
    };
    let phones = Phones::new(site, voices(), voices());
    phones.call(0);
    phones.talks(0);
    phones.go_on_until(Instant::now() + Duration::from_secs(2));
    let filled = volume.fill();
    duolog.until_metric(WAIT, "duolog_spool_full", |full| full == 1.0);
    refuses_calls(site, &duolog);
    // Long enough for blocks that were kept in memory to have been given up.
    phones.go_on_until(Instant::now() + Duration::from_secs(3));
    let dropped = "duolog_spool_blocks_dropped_total";
    duolog.until_metric(WAIT, dropped, |dropped| dropped > 0.0);
    volume.make_room();
    duolog.until_metric(WAIT, "duolog_spool_full", |full| full == 0.0);
    duolog.until_ready();
    let mut probe = Probe::new(site.caller(), 0, site.sip());
    assert_eq!(
        probe.options().status.code(),
        200,
        "OPTIONS when there is room again"
    );
    phones.call(1);
    phones.talks(1);
    phones.go_on_until(Instant::now() + Duration::from_secs(2));
    phones.all_hang_up();
    duolog.stop();
    (phones.look(), filled)
}

fn site_on(volume: &Volume) -> Site {
    Site::new(&Wishes {
        spool: Some(volume.path().join("spool")),
        ..Wishes::default()
    })
}

/// INVITE and OPTIONS are answered 503, the INVITE with Retry-After, and `/readyz` says why.
fn refuses_calls(site: &Site, duolog: &Duolog) {
    let mut probe = Probe::new(site.caller(), 0, site.sip());
    assert_eq!(probe.options().status.code(), 503, "OPTIONS on a full disk");
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 9000 RTP/AVP 0\r\n",
        site.caller()
    );
    let invite = probe.request("INVITE", "100", &body);
    let refused = probe.ask(&invite);
    assert_eq!(refused.status.code(), 503, "INVITE on a full disk");
    let retry_after = refused
        .headers
        .value("Retry-After")
        .and_then(|value| value.parse::<u32>().ok());
    assert!(
        retry_after.is_some_and(|seconds| seconds > 0),
        "{refused:?}"
    );
    probe.acknowledge(&invite, &refused);
    let (status, body) = probe::get(site.operations(), "/readyz").expect("an answer");
    assert_eq!(status, 503);
    assert!(body.contains("full"), "{body}");
    assert_eq!(duolog.metric("duolog_available"), Some(0.0));
}

/// Five seconds as usual, then the stall; answers when it began and ended.
fn stall(phones: &Phones, duolog: &mut Duolog, volume: &mut Volume) -> (Instant, Instant) {
    phones.go_on_until(Instant::now() + STALL);
    let written = || duolog.metric("duolog_spool_bytes_written_total");
    volume.freeze();
    let began = Instant::now();
    phones.go_on_until(began + STALL / 5);
    let at_first = written();
    phones.go_on_until(began + STALL);
    let at_last = written();
    let waiting = duolog
        .metric("duolog_spool_queue_entries")
        .unwrap_or_default();
    let ended = Instant::now();
    volume.thaw();
    assert_eq!(at_first, at_last, "nothing is written to a frozen disk");
    assert!(waiting > 4.0, "{waiting} entries wait for the disk");
    duolog.until_metric(WAIT, "duolog_spool_queue_entries", |waiting| waiting < 8.0);
    (began, ended)
}

/// When each packet left its sender, and how long it took.
fn delays(looks: &Looks) -> Vec<(Instant, Duration)> {
    let all = || looks.callers.iter().chain(&looks.callees);
    let sent = |look: &'_ Look| -> Vec<_> {
        look.sent
            .iter()
            .map(|packet| (packet.payload.clone(), packet.at))
            .collect()
    };
    let sent: HashMap<_, _> = all().flat_map(sent).collect();
    let packets = all().flat_map(|look| look.ear.packets());
    let delay = |heard: &duolog::phone::HeardPacket| {
        let at = *sent.get(&heard.payload)?;
        Some((at, heard.arrived.saturating_duration_since(at)))
    };
    packets.filter_map(delay).collect()
}

/// Compares packets sent during the stalls with all others.
///
/// In words when the stalls made none later, or what they did.
fn verdict(looks: &Looks, stalls: &[(Instant, Instant)]) -> Result<String, String> {
    let delays = delays(looks);
    let within = |at: Instant| {
        stalls
            .iter()
            .position(|(began, ended)| (*began..*ended).contains(&at))
    };
    let of = |wanted: Option<usize>| {
        let mut found: Vec<Duration> = delays
            .iter()
            .filter(|(at, _)| within(*at) == wanted)
            .map(|(_, delay)| *delay)
            .collect();
        found.sort();
        found
    };
    let usual = of(None);
    let mut said = vec![format!("usual: {}", figures(&usual))];
    let mut fine = false;
    for at in 0..stalls.len() {
        let stalled = of(Some(at));
        said.push(format!("stall {}: {}", at + 1, figures(&stalled)));
        fine |= quantile(&stalled, 0.99) <= quantile(&usual, 0.99) + LATER
            && quantile(&stalled, 1.0) <= quantile(&usual, 1.0) + LATER;
    }
    let said = format!("delay through duolog, both directions; {}", said.join("; "));
    if fine { Ok(said) } else { Err(said) }
}

fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get((last as f64 * share) as usize)
        .copied()
        .unwrap_or(Duration::MAX / 2)
}

fn figures(sorted: &[Duration]) -> String {
    let us = |share| quantile(sorted, share).as_micros();
    let (median, most, all) = (us(0.5), us(0.99), us(1.0));
    format!(
        "{} packets, median {median} us, p99 {most} us, longest {all} us",
        sorted.len()
    )
}
