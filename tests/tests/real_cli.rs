//! The program at its command line: a bad configuration, SIGTERM, finding and checking recordings,
//! and what its logs may say.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::process::Output;
use std::time::{Duration, Instant};

use duolog::phone::{Action, CodedVoice, Voice};
use duolog_tests::real::listen::{self, Coding};
use duolog_tests::real::phones::{CALLER_NUMBER, Phones};
use duolog_tests::real::site::{SIP_PORT, Wishes};
use duolog_tests::real::{Duolog, Kept, Line, Probe, Site, kept, probe, program};
use serde_json::Value;

const CALLER: u8 = 0;
const CALLEE: u8 = 1;
const WAIT: Duration = Duration::from_secs(15);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn coded_phones(site: &Site) -> Phones {
    let voice = |party| vec![Voice::Coded(CodedVoice::new(party, 0))];
    Phones::new(site, voice(CALLER), voice(CALLEE))
}

fn go_on(phones: &Phones, time: Duration) {
    phones.go_on_until(Instant::now() + time);
}

/// The one recording of a site, complete, with both parties' voices in their channels.
fn the_recording(site: &Site, coding: Coding) -> Kept {
    let mut rows = kept::list(site);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = rows.remove(0);
    assert_eq!(row.state, "complete", "{row:?}");
    for (samples, party) in row.samples().iter().zip([CALLEE, CALLER]) {
        let heard =
            listen::speech(samples, party, coding).unwrap_or_else(|why| panic!("{why}: {row:?}"));
        assert!(heard.slots >= 8, "{heard:?}: {row:?}");
    }
    row
}

#[test]
fn every_mistake_of_a_configuration_is_told_with_its_line_and_no_port_is_bound() {
    let site = Site::new(&Wishes::default());
    // Whoever tries to listen before the configuration was found right fails in another way.
    let _udp = UdpSocket::bind(site.sip()).expect("the port is free");
    let _tcp = TcpListener::bind(site.sip()).expect("the port is free");
    let node = site.node();
    let bad = format!(
        "[sip]\nlisten = [\"udp:{node}:{SIP_PORT}\"]\nring_timeout = \"4s\"\n[media]\nthreads = 65\n\
         prots = \"20000-29999\"\n[store]\nformat = \"mp3\"\n[[user]]\nname = \"anna\"\n\
         contact = \"udp:{node}:5070\"\nrepeat_tone = \"9s\"\n[spool]\nfloor = \"1MiB\"\n"
    );
    fs::write(site.config(), bad).expect("the configuration can be written");
    let expected = [
        (3, "sip.ring_timeout", "\"4s\"", "5s to 600s"),
        (5, "media.threads", "65", "1..64"),
        (6, "media.prots", "unknown key", "did you mean ports?"),
        (
            8,
            "store.format",
            "\"mp3\"",
            "one of opus, wav-pcm16, wav-g711",
        ),
        (12, "user[0].repeat_tone", "\"9s\"", "10s to 90s"),
        (14, "spool.floor", "\"1MiB\"", "16MiB to"),
    ];
    for command in ["serve", "check-config"] {
        let output = program::run(&site, &[command]);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{command}: {told}");
        assert_eq!(text(&output.stdout), "", "{command}");
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{command}: {told}");
        for (line, (number, key, value, range)) in lines.iter().zip(expected) {
            let place = format!("{}:{number}: {key}: ", site.config().display());
            assert!(
                line.starts_with(&place),
                "{line}\nshould start with\n{place}"
            );
            assert!(
                line.contains(value) && line.contains(range),
                "{line}: {value}, {range}"
            );
        }
    }
    let left: Vec<_> = fs::read_dir(site.directory())
        .expect("the site")
        .flatten()
        .collect();
    assert_eq!(
        left.len(),
        1,
        "nothing but the configuration is there: {left:?}"
    );
}

#[test]
fn a_right_configuration_is_said_to_be_right() {
    let site = Site::new(&Wishes::default());
    let output = program::run(&site, &["check-config"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "the configuration is right\n");
}

#[test]
fn sigterm_lets_a_call_end_and_seals_it() {
    let site = Site::new(&Wishes::default());
    let mut duolog = Duolog::start(&site);
    let phones = coded_phones(&site);
    phones.all_talk();
    go_on(&phones, Duration::from_millis(500));
    duolog.process.terminate();
    duolog.until_metric(WAIT, "duolog_draining", |draining| draining == 1.0);
    let mut probe = Probe::new(site.caller(), 0, site.sip());
    assert_eq!(probe.options().status.code(), 503, "OPTIONS while draining");
    let (status, body) = probe::get(site.operations(), "/readyz").expect("an answer");
    assert_eq!(status, 503);
    assert!(body.contains("draining"), "{body}");
    go_on(&phones, Duration::from_millis(1_500));
    assert_eq!(
        duolog.metric("duolog_calls_active"),
        Some(1.0),
        "the call goes on"
    );
    let hung_up = Instant::now();
    phones.all_hang_up();
    let status = duolog.process.exit(WAIT);
    assert_eq!(status.code(), Some(0));
    let took = hung_up.elapsed();
    duolog.assert_no_panic();
    let row = the_recording(&site, Coding::Exact);
    assert!(row.seconds > 1.9, "{row:?}");
    println!(
        "SIGTERM: the call went on, was sealed, and the process ended {took:?} after the hang-up"
    );
}

#[test]
fn a_second_sigterm_ends_calls_at_once_and_seals_them() {
    let site = Site::new(&Wishes::default());
    let mut duolog = Duolog::start(&site);
    let phones = coded_phones(&site);
    phones.all_talk();
    go_on(&phones, Duration::from_millis(1_200));
    duolog.process.terminate();
    duolog.until_metric(WAIT, "duolog_draining", |draining| draining == 1.0);
    let second = Instant::now();
    duolog.process.terminate();
    phones.all_end();
    let status = duolog.process.exit(WAIT);
    let took = second.elapsed();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    duolog.assert_no_panic();
    the_recording(&site, Coding::Exact);
    println!("second SIGTERM: both parties got BYE, sealed and ended {took:?} after it");
}

#[test]
fn recordings_are_listed_shown_exported_and_verified() {
    let site = Site::new(&Wishes {
        format: "opus",
        ..Wishes::default()
    });
    let duolog = Duolog::start(&site);
    let phones = coded_phones(&site);
    phones.all_talk();
    go_on(&phones, Duration::from_millis(1_500));
    phones.all_hang_up();
    duolog.stop();
    let row = the_recording(&site, Coding::Lossy);
    let ok = |arguments: &[&str]| {
        let output = program::run(&site, arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    };
    let listed = ok(&["recordings", "list"]);
    assert!(
        listed.starts_with(&row.id) && listed.contains("complete"),
        "{listed}"
    );
    assert!(listed.contains("anna"), "{listed}");
    let shown: Value =
        serde_json::from_str(&ok(&["recordings", "show", &row.id[..12]])).expect("JSON");
    assert_eq!(shown["manifest"]["channels"][0]["side"], "owner");
    assert_eq!(shown["manifest"]["recording"], row.id.as_str());
    exported(&site, &row);
    assert_eq!(ok(&["verify"]), "1 recordings checked, 0 faults found\n");
    for object in ["audio_path", "manifest_path"] {
        let path = shown[object].as_str().expect("show names the file");
        tampered_with(&site, &row, path);
    }
    assert_eq!(
        ok(&["verify", &row.id]),
        "1 recordings checked, 0 faults found\n"
    );
    let unknown = program::run(&site, &["recordings", "show", "rec_00000000"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", text(&unknown.stderr));
}

/// Exports as stored and as WAV; neither overwrites anything.
fn exported(site: &Site, row: &Kept) {
    let to = |name: &str| site.directory().join(name);
    let export = |name: &str, format: &str| -> Output {
        let path = to(name).display().to_string();
        program::run(
            site,
            &[
                "recordings",
                "export",
                &row.id,
                "--to",
                &path,
                "--format",
                format,
            ],
        )
    };
    assert!(export("copy.ogg", "stored").status.success());
    let stored = fs::read(row.audio.as_ref().expect("audio")).expect("the object");
    assert!(
        fs::read(to("copy.ogg")).expect("the export") == stored,
        "the export is not what is stored"
    );
    assert!(export("copy.wav", "wav").status.success());
    let wav = Kept {
        audio: Some(to("copy.wav")),
        ..row.clone()
    };
    for (samples, party) in wav.samples().iter().zip([CALLEE, CALLER]) {
        listen::speech(samples, party, Coding::Lossy).unwrap_or_else(|why| panic!("{why}"));
    }
    let again = export("copy.wav", "wav");
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("nothing is overwritten"),
        "{}",
        text(&again.stderr)
    );
}

/// Flips one bit in the middle of an object: `verify` finds it, names the file, and ends with 4.
fn tampered_with(site: &Site, row: &Kept, path: &str) {
    let good = fs::read(path).expect("the object");
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(path, &bad).expect("the object can be changed");
    let output = program::run(site, &["verify"]);
    fs::write(path, &good).expect("the object can be put back");
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{told}");
    let key = path.rsplit('/').next().unwrap_or_default();
    assert!(told.contains(&row.id) && told.contains(key), "{told}");
    assert!(!told.contains("0 faults"), "{told}");
}

#[test]
fn json_logs_carry_the_call_id_and_neither_numbers_nor_digits() {
    const PRESSED: &str = "73918";
    let log = "format = \"json\"\nfilter = \"debug\"";
    let user = "mode = \"always-pause-resume\"\nnotice = \"beep\"";
    let site = Site::new(&Wishes {
        log,
        user,
        ..Wishes::default()
    });
    let mut duolog = Duolog::start(&site);
    let phones = coded_phones(&site);
    phones.all_talk();
    go_on(&phones, Duration::from_millis(300));
    phones.callee(
        0,
        Action::Press {
            digits: "*48".into(),
        },
    );
    duolog.until_metric(WAIT, "duolog_pauses_total", |pauses| pauses == 1.0);
    phones.callee(
        0,
        Action::Press {
            digits: "*49".into(),
        },
    );
    phones.caller(
        0,
        Action::Press {
            digits: PRESSED.into(),
        },
    );
    go_on(&phones, Duration::from_millis(1_500));
    phones.all_hang_up();
    duolog.process.terminate();
    assert!(duolog.process.exit(WAIT).success());
    while let Line::Text(_) = duolog.process.next_line(Duration::ZERO) {}
    let call_id = phones.look().callers[0].call_id.clone().expect("a call");
    let mut of_the_call = Vec::new();
    for line in duolog.process.output() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        for secret in [&CALLER_NUMBER[1..], PRESSED, "*48", "*49"] {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
        let fields = event.as_object().expect("an object a line");
        assert!(!fields.keys().any(|key| key.contains("digit")), "{line}");
        if event["call_id"] == call_id.as_str() {
            of_the_call.push(event["message"].as_str().unwrap_or_default().to_owned());
        }
    }
    let expected = [
        "call began, to be recorded",
        "recording opened",
        "call connected",
        "recording started",
        "recording paused",
        "recording resumed",
        "recording closed",
        "recording stored",
    ];
    for message in expected {
        assert!(
            of_the_call.iter().any(|said| said == message),
            "{message:?} not in {of_the_call:#?}"
        );
    }
}
