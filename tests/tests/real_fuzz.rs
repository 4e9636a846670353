//! Ten thousand spoiled SIP messages and RTP/RTCP packets at the ports of a live call: no panic, no
//! leak, OPTIONS still answered, the call still up.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use duolog::phone::{PhoneEvent, PhoneNo, RealPhones, Voice};
use duolog_tests::real::raw_call::{self, RawCall};
use duolog_tests::real::seed::{below, bytes, seeded};
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Probe, Site, kept, mutate, phones, probe};
use rand_chacha::ChaCha12Rng;

const RTP: usize = 3_000;
const RTCP: usize = 1_000;
const SIP_UDP: usize = 4_500;
const SIP_TCP: usize = 1_500;
/// Messages between two checks; few enough for the kernel's buffers.
const BETWEEN: usize = 25;
/// Messages on one connection.
const PER_CONNECTION: usize = 10;
/// Longest life of a SIP transaction is 64*T1, 32 s (RFC 3261 §17), and one may follow another.
const TIMERS: Duration = Duration::from_secs(100);
const WAIT: Duration = Duration::from_secs(10);
/// Memory that may have been taken meanwhile, in KiB: buffers and tables stay as large as they were.
const GROWTH_KIB: u64 = 48 * 1_024;

#[test]
fn ten_thousand_spoiled_messages_break_nothing_and_leave_nothing_behind() {
    let mut random = seeded(10);
    let site = Site::fixed(10, &Wishes::default());
    let mut duolog = Duolog::start(&site);
    let callees = phones::callees(&site, vec![Voice::None]);
    let usual = figures(&duolog);
    let process = duolog.process.id();
    let (files, memory) = (open_files(process).len(), memory_kib(process));
    let mut call = RawCall::place(&site);
    let sent = packets(&mut random, &mut duolog, &call);
    audio_still_passes(&mut random, &call, &callees);
    let mut probe = Probe::new(site.caller(), 0, site.sip());
    let texts = messages(&mut call);
    over_udp(&mut random, &texts, &mut call, &mut probe);
    over_tcp(&mut random, &texts, &site, &mut probe);
    assert_eq!(
        probe::kernel_drops(site.sip()),
        0,
        "messages that duolog was not given"
    );
    assert_eq!(
        duolog.metric("duolog_calls_active"),
        Some(1.0),
        "the call is still up, and no other"
    );
    let over = call.hang_up(2_000_000_000);
    assert_eq!(over.status.code(), 200, "{over:?}");
    let ended = |event| matches!(event, PhoneEvent::Ended { .. });
    assert!(
        callees.wait_for(PhoneNo(0), WAIT, ended).is_some(),
        "the callee is not told"
    );
    for (name, before) in &usual {
        duolog.until_metric(TIMERS, name, |now| now <= *before);
    }
    assert_eq!(
        probe.options().status.code(),
        200,
        "OPTIONS after everything"
    );
    duolog
        .process
        .until(WAIT, "no more files are open than before", || {
            (open_files(process).len() <= files).then_some(())
        });
    let growth = memory_kib(process).saturating_sub(memory);
    assert!(
        growth < GROWTH_KIB,
        "{memory} KiB of memory have grown by {growth}"
    );
    duolog.stop();
    let rows = kept::list(&site);
    let call_id = probe::header(call.invite(), "Call-ID");
    let row = rows
        .iter()
        .find(|row| row.call_id == call_id && row.audio.is_some())
        .expect("the call has a row");
    assert_eq!(row.samples()[0].len(), row.samples()[1].len());
    println!(
        "{sent} spoiled packets, {SIP_UDP} messages over UDP, {SIP_TCP} over TCP: no panic, the call \
         stayed up ({:.1} s recorded, {}), {} rows, {files} open files as before, {growth} KiB \
         more memory",
        row.seconds,
        row.state,
        rows.len()
    );
}

/// What must come back to where it was.
fn figures(duolog: &Duolog) -> Vec<(&'static str, f64)> {
    let names = [
        "duolog_calls_active",
        "duolog_sip_transactions",
        "duolog_sip_connections",
        "duolog_rtp_port_pairs_used",
        "duolog_spool_queue_entries",
    ];
    names
        .map(|name| (name, duolog.metric(name).expect("the metric is there")))
        .into()
}

/// What a process has open, but for the catalogue, of which a pool keeps a few connections.
fn open_files(process: u32) -> Vec<String> {
    let open = fs::read_dir(format!("/proc/{process}/fd"))
        .expect("our own child")
        .flatten();
    let target = |file: fs::DirEntry| fs::read_link(file.path()).ok();
    let names = open
        .filter_map(target)
        .map(|path| path.display().to_string());
    names
        .filter(|name| !name.contains("catalogue.sqlite"))
        .collect()
}

/// Its memory, in KiB.
fn memory_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("our own child");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident
        .and_then(|rest| rest.trim().split(' ').next())
        .and_then(|n| n.parse().ok());
    kib.expect("the kernel says how much memory a process has")
}

/// Spoiled packets from the call's own ports, and some from a stranger's; answers how many.
fn packets(random: &mut ChaCha12Rng, duolog: &mut Duolog, call: &RawCall) -> usize {
    let stranger = UdpSocket::bind((call.peer().0.ip(), 0)).expect("a socket for the stranger");
    let before = duolog
        .metric("duolog_media_datagrams_received_total")
        .expect("a counter");
    let mut own = 0.0;
    for number in 0..RTP + RTCP {
        let is_rtp = number % 4 != 3;
        let good = if is_rtp {
            let length = [160, 4, 0, 1_400][below(random, 4)];
            raw_call::rtp(number as u16, &bytes(random, length))
        } else {
            raw_call::rtcp(number as u32)
        };
        let spoiled = mutate::packet(random, &good);
        let (rtp, rtcp) = call.peer();
        match (below(random, 10), is_rtp) {
            // A datagram that cannot be sent is one that duolog cannot be hurt by.
            (0, true) => drop(stranger.send_to(&spoiled, rtp)),
            (0, false) => drop(stranger.send_to(&spoiled, rtcp)),
            (_, true) => call.send_rtp(&spoiled),
            (_, false) => call.send_rtcp(&spoiled),
        }
        own += f64::from(u8::from(!spoiled.is_empty()));
        if number % BETWEEN == BETWEEN - 1 {
            // Datagrams of the stranger are the kernel's to drop; nine of ten are not.
            let wanted = before + own * 0.8;
            duolog.until_metric(WAIT, "duolog_media_datagrams_received_total", |n| {
                n >= wanted
            });
        }
    }
    assert!(duolog.process.is_running());
    RTP + RTCP
}

/// Packets as they should be, after all those that are not. A source that a spoiled packet had
/// replaced counts as a straggler for 200 ms; from then on every packet passes.
fn audio_still_passes(random: &mut ChaCha12Rng, call: &RawCall, callees: &RealPhones) {
    let payloads: Vec<Vec<u8>> = (0..160).map(|_| bytes(random, 160)).collect();
    for (seq, payload) in (30_000..).zip(&payloads) {
        call.send_rtp(&raw_call::rtp(seq, payload));
        // Paced by the callee's events, of which there are none.
        let _ = callees.next_event(Duration::from_millis(5));
    }
    let ear = callees.look(PhoneNo(0)).expect("the callee lives").ear;
    let heard = |payload: &&Vec<u8>| {
        ear.packets()
            .iter()
            .any(|packet| packet.payload == payload[..])
    };
    let heard = payloads[60..].iter().filter(heard).count();
    assert!(
        heard >= 98,
        "{heard} of 100 good packets reach the callee after the bad ones"
    );
}

/// Good messages: of the call's own dialog and of others, requests and responses, and those of RFC 4475.
fn messages(call: &mut RawCall) -> Vec<String> {
    let offer = call.offer();
    let mut texts = vec![
        call.invite().to_owned(),
        call.in_dialog("INVITE", 3, &offer),
        call.in_dialog("INFO", 4, "")
            .replacen("Max-Forwards", "Record: pause\r\nMax-Forwards", 1),
        call.in_dialog("OPTIONS", 5, ""),
        call.in_dialog("UPDATE", 6, &offer),
        call.in_dialog("ACK", 1, ""),
        call.in_dialog("BYE", 7, "").replace("tag=", "tag=other"),
        call.in_dialog("CANCEL", 1, ""),
    ];
    for (method, body) in [
        ("INVITE", offer.as_str()),
        ("OPTIONS", ""),
        ("REGISTER", ""),
        ("BYE", ""),
    ] {
        texts.push(call.probe().request(method, "100", body));
    }
    let response = call.in_dialog("INVITE", 1, &offer);
    let response = response.split_once("\r\n").map_or("", |(_, rest)| rest);
    texts.extend(
        ["200 OK", "183 Session Progress", "486 Busy Here"]
            .map(|status| format!("SIP/2.0 {status}\r\n{response}")),
    );
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/sip");
    let folders = ["", "rfc4475", "rfc5118"].map(|part| Path::new(folder).join(part));
    let files = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("fixtures/sip").flatten())
        .map(|file| file.path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|e| e == "sip"))
        .collect();
    files.sort();
    let read = |path| String::from_utf8_lossy(&fs::read(path).expect("a fixture")).into_owned();
    texts.extend(files.into_iter().map(read));
    texts
}

/// One of them, of a call and a transaction of its own in every second case.
fn spoiled(random: &mut ChaCha12Rng, texts: &[String], number: usize) -> Vec<u8> {
    // The own messages, which come first, more often than the fixtures.
    let among = if below(random, 3) == 0 {
        texts.len()
    } else {
        texts.len().min(15)
    };
    let text = &texts[below(random, among)];
    let renamed = text.replace("branch=z9hG4bK", &format!("branch=z9hG4bK{number}x"));
    let renamed = match below(random, 2) {
        0 => renamed.replace("Call-ID: probe", &format!("Call-ID: {number}")),
        _ => renamed,
    };
    mutate::sip(random, &renamed)
}

fn over_udp(random: &mut ChaCha12Rng, texts: &[String], call: &mut RawCall, probe: &mut Probe) {
    for number in 0..SIP_UDP {
        let message = spoiled(random, texts, number);
        call.probe().send(&message);
        if number % BETWEEN == BETWEEN - 1 {
            assert_eq!(
                probe.options().status.code(),
                200,
                "OPTIONS after {number} messages"
            );
        }
    }
}

fn over_tcp(random: &mut ChaCha12Rng, texts: &[String], site: &Site, probe: &mut Probe) {
    for connection in 0..SIP_TCP / PER_CONNECTION {
        let mut stream = TcpStream::connect(site.sip()).expect("duolog takes connections");
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a time-out");
        for number in 0..PER_CONNECTION {
            let number = SIP_UDP + connection * PER_CONNECTION + number;
            let message = spoiled(random, texts, number);
            // duolog closes a connection on which it cannot find the next message any more.
            if stream.write_all(&message).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
        let mut answers = [0; 4_096];
        while let Ok(1..) = stream.read(&mut answers) {}
        assert_eq!(
            probe.options().status.code(),
            200,
            "OPTIONS after {connection} connections"
        );
    }
}
