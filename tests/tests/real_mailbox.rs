//! A SIPp caller leaves a message for a baresip that nobody answers: the message is recorded, and the
//! phone is told that it waits (issue 5, acceptance 7).

use std::time::{Duration, Instant};

use duolog_tests::real::baresip::{Baresip, Making, PCMU, watcher};
use duolog_tests::real::listen::{self, Coding};
use duolog_tests::real::script::{Body, SDP, Script};
use duolog_tests::real::site::{CALLEE_PORT, Wishes};
use duolog_tests::real::stage::{Place, Role, Set, Stage, Wire, alone};
use duolog_tests::real::{Site, kept};

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
fn caller() -> Script {
    Script::caller("leaves-a-message")
        .invite(&[], SDP)
        .may_get(100)
        .may_get(180)
        .gets(200)
        .ack(Body::None)
        .speaks()
        .waits_ms(10_000)
        .hangs_up()
}

#[test]
fn a_message_is_left_recorded_and_shown_at_the_phone() {
    let _one = alone();
    let site = Site::plain(&Wishes {
        user: MAILBOX,
        ..Wishes::default()
    });
    // The phone registers, and is told at once what there is.
    let contact = format!("contact = \"udp:{}:{CALLEE_PORT}\"", site.callee());
    let registers = |text: &str| {
        let registering = text.replace(&contact, &format!("password = \"{PASSWORD}\""));
        // It knows no other.
        registering + "[registrar]\nalgorithms = [\"md5\"]\n"
    };
    let set = Set {
        wire: Wire::Udp,
        places: &[],
        names: &[],
        first: &[],
    };
    let mut stage = Stage::set(site, &set, registers);
    let making = Making {
        spoken: PCMU,
        security: "",
        tone_hz: 700.0,
    };
    let mut phone = watcher(&stage.site, &making, PASSWORD);
    until(&mut phone, "Messages-Waiting: no");
    until(&mut phone, "Voice-Message: 0/0 (0/0)");
    stage.play(&[Role::calls(&caller(), Place::TRUNK, 0, "100")]);
    stage.duolog.until_metric(
        Duration::from_secs(60),
        "duolog_recordings_stored_total",
        |n| n >= 1.0,
    );
    until(&mut phone, "Messages-Waiting: yes");
    until(&mut phone, "Voice-Message: 1/0 (0/0)");
    let site = stage.close();
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
}
