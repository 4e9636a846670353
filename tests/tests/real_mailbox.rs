//! A SIPp caller leaves a message for a baresip that nobody answers: the message is recorded, and the
//! phone is told that it waits (issue 5, acceptance 7).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use duolog_tests::real::baresip::{Baresip, Making, PCMU, watcher};
use duolog_tests::real::listen::{self, Coding};
use duolog_tests::real::script::{Body, SDP, Script};
use duolog_tests::real::site::{CALLEE_PORT, CALLER_PORT, Wishes};
use duolog_tests::real::stage::{self, Role, Wire};
use duolog_tests::real::{Duolog, Site, kept};

const MAILBOX: &str = "mode = \"never\"\nlanguage = \"en\"\n\
                       mailbox = { answer_after = \"5s\", longest = \"1m\" }";

const PASSWORD: &str = "geheim";

/// Waits until baresip has got or sent a line with this in it.
fn until(phone: &mut Baresip, text: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !phone
        .process
        .output()
        .iter()
        .any(|line| line.contains(text))
    {
        if Instant::now() > deadline {
            phone.process.fail(&format!("no line has {text:?}"));
        }
        phone.process.next_line(Duration::from_millis(100));
    }
}

/// A caller with the coded voice who hears 200 after the phone has rung, and speaks for ten seconds:
/// the greeting and the beep take three of them.
fn caller(site: &Site, seconds: u32) -> Role {
    let script = Script::caller("leaves-a-message")
        .invite(&[], SDP)
        .may_get(100)
        .may_get(180)
        .gets(200)
        .ack(Body::None)
        .speaks()
        .waits_ms(seconds * 1_000)
        .hangs_up();
    Role {
        script,
        address: SocketAddr::new(site.caller(), CALLER_PORT),
        media: 6_000,
        party: 0,
        number: "100",
        toward: Some(site.sip()),
    }
}

#[test]
fn a_message_is_left_recorded_and_shown_at_the_phone() {
    let site = Site::plain(&Wishes {
        user: MAILBOX,
        ..Wishes::default()
    });
    // The phone registers, and is told at once what there is.
    let contact = format!("contact = \"udp:{}:{CALLEE_PORT}\"", site.callee());
    site.amend(|text| {
        let registering = text.replace(&contact, &format!("password = \"{PASSWORD}\""));
        // It knows no other.
        registering + "[registrar]\nalgorithms = [\"md5\"]\n"
    });
    let mut duolog = Duolog::start(&site);
    let making = Making {
        spoken: PCMU,
        security: "",
        tone_hz: 700.0,
    };
    let mut phone = watcher(&site, &making, PASSWORD);
    until(&mut phone, "Messages-Waiting: no");
    until(&mut phone, "Voice-Message: 0/0 (0/0)");
    stage::play(&site, Wire::Udp, &[caller(&site, 10)]);
    duolog.until_metric(
        Duration::from_secs(60),
        "duolog_recordings_stored_total",
        |n| n >= 1.0,
    );
    until(&mut phone, "Messages-Waiting: yes");
    until(&mut phone, "Voice-Message: 1/0 (0/0)");
    let rows = kept::list(&site);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    let shown = row.show(&site);
    let class = &shown["manifest"]["class"];
    assert_eq!(class["nature"], "voicemail", "{class}");
    let [owner, message] = row.samples();
    assert!(
        owner.iter().all(|sample| *sample == 0),
        "nobody is the owner"
    );
    let heard = listen::speech(&message, 0, Coding::Exact).expect("the caller's voice, unbroken");
    println!("{} s, {heard:?}, {}", row.seconds, row.state);
    // The voice began with the ACK; what is kept begins behind greeting and beep.
    assert!((15..50).contains(&heard.first), "{heard:?}");
    assert!(heard.from < 800, "from the first slot on: {heard:?}");
    assert!(heard.slots > 50, "{heard:?}");
    let end = message.len() as i64 - heard.to;
    assert!(end < 4_000, "to the end: {end}");
    duolog.stop();
}
