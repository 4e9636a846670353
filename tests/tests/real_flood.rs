//! 20,000 bad packets a second from one source while 50 calls are recorded: no call loses a packet to
//! it, memory stays flat, the flood is counted (issue 4, acceptance 7).

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use duolog_tests::real::listen::{self, Coding};
use duolog_tests::real::sipp::{self, CALLEE, CALLER, Load};
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Kept, Site, kept, vital};

const PER_SECOND: u64 = 20_000;
const FLOOD: Duration = Duration::from_secs(30);
const CALLS: u32 = 50;
/// Growth that is no growth: pages that are touched for the first time.
const FLAT_KIB: u64 = 8 * 1024;

/// What is wrong in many ways, and what is right but nobody's.
fn packets() -> Vec<Vec<u8>> {
    let mut packets: Vec<Vec<u8>> = vec![
        b"\x00\x01\x02\x03garbage".to_vec(),
        b"INVITE sip:100@x SIP/2.0\r\nVia: SIP/2.0/UDP x\r\n\r\n".to_vec(),
        b"REGISTER sip:x SIP/9.9\r\n\r\n".to_vec(),
        b"SIP/2.0 200 OK\r\nVia: nothing\r\n\r\n".to_vec(),
        vec![b'A'; 1_400],
        [
            b"OPTIONS sip:x SIP/2.0\r\n".as_slice(),
            &b"X: y\r\n".repeat(200),
        ]
        .concat(),
    ];
    let whole = "INVITE sip:100@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.9.9.9:5060;branch=z9hG4bKf\r\n\
                 From: <sip:x@x>;tag=1\r\nTo: <sip:100@x>\r\nCall-ID: flood\r\nCSeq: 1 INVITE\r\n\
                 Contact: <sip:x@127.9.9.9>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
    packets.push(whole.as_bytes().to_vec());
    packets
}

/// Floods until told to stop; answers how many packets went out.
fn flood(from: &UdpSocket, stop: &AtomicBool, sent: &AtomicU64) {
    let packets = packets();
    let began = Instant::now();
    while !stop.load(Ordering::Relaxed) && began.elapsed() < FLOOD {
        let due = began.elapsed().as_micros() as u64 * PER_SECOND / 1_000_000;
        let done = sent.load(Ordering::Relaxed);
        for number in done..due.max(done) {
            // A full buffer loses one: what arrived is counted at the other end.
            let _ = from.send(&packets[number as usize % packets.len()]);
        }
        sent.store(due.max(done), Ordering::Relaxed);
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn a_flood_from_one_source_costs_no_call_a_packet() {
    let site = Site::new(&Wishes {
        user: "mode = \"always\"",
        ..Wishes::default()
    });
    let load = Load {
        transport: "u1",
        calls: CALLS,
        per_second: 10,
        length: FLOOD + Duration::from_secs(6),
    };
    let mut duolog = Duolog::start(&site);
    let mut callees = sipp::callees(&site, &load);
    let mut callers = sipp::callers(&site, &load);
    duolog.until_metric(Duration::from_secs(30), "duolog_calls_active", |n| {
        n >= f64::from(CALLS)
    });
    let process = duolog.process.id();
    let before = (vital::resident_kib(process), vital::processor_time(process));
    let stranger = site.stranger();
    let socket = UdpSocket::bind((stranger, 0)).expect("a free port");
    socket.connect(site.sip()).expect("loopback is there");
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    flood(&socket, &stop, &sent);
    let after = (vital::resident_kib(process), vital::processor_time(process));
    let sent = sent.load(Ordering::Relaxed);
    for (process, name) in [(&mut callers, "callers"), (&mut callees, "callees")] {
        let ended = process.exit(load.limit());
        if !ended.success() {
            process.fail(&format!("{name}: {ended}: {}", sipp::errors(&site)));
        }
    }
    let (counted, counts) = counted(&duolog);
    duolog.until_metric(
        Duration::from_secs(60),
        "duolog_recordings_stored_total",
        |n| n >= f64::from(CALLS),
    );
    duolog.stop();
    let rows = kept::list(&site);
    assert_eq!(rows.len(), CALLS as usize, "a row for every call");
    let judged = listen::in_parallel(&rows, judge);
    let wrong: Vec<&String> = judged.iter().filter_map(|j| j.as_ref().err()).collect();
    assert!(
        wrong.is_empty(),
        "{} of {CALLS} are wrong: {wrong:#?}",
        wrong.len()
    );
    let (grown, cost) = (after.0.saturating_sub(before.0), after.1 - before.1);
    println!(
        "{sent} bad packets in {FLOOD:?}, {counted} counted ({counts}); memory {} KiB before, {} KiB after; \
         {:.2} s of processor time for flood and {CALLS} calls; all recordings whole",
        before.0,
        after.0,
        cost.as_secs_f64()
    );
    assert!(
        sent >= PER_SECOND * FLOOD.as_secs() * 9 / 10,
        "the flood was no flood: {sent}"
    );
    // What the kernel had no room for is the kernel's to count.
    assert!(
        counted >= sent as f64 / 2.0,
        "{counted} of {sent} were counted"
    );
    assert!(grown < FLAT_KIB, "memory grew by {grown} KiB");
}

/// How much of the flood the program has counted, and as what.
fn counted(duolog: &Duolog) -> (f64, String) {
    let kinds = [
        "messages_dropped",
        "messages_limited",
        "datagrams_crowded_out",
    ];
    let count = |kind| duolog.metric(&format!("duolog_sip_{kind}_total"));
    let counts = kinds.map(|kind| (kind, count(kind).unwrap_or_default()));
    let sum = counts.iter().map(|(_, count)| count).sum();
    (sum, format!("{counts:?}"))
}

fn judge(row: &Kept) -> Result<usize, String> {
    if row.state != "complete" {
        return Err(format!("{row:?}"));
    }
    let mut slots = usize::MAX;
    for (samples, party) in row.samples().iter().zip([CALLEE, CALLER]) {
        let heard = listen::speech(samples, party, Coding::Exact);
        let heard = heard.map_err(|why| format!("party {party}: {why}; {row:?}"))?;
        slots = slots.min(heard.slots);
    }
    match slots as u64 >= FLOOD.as_secs() * 10 {
        true => Ok(slots),
        false => Err(format!("only {slots} slots; {row:?}")),
    }
}
