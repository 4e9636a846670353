//! SIPp phones that speak RFC 7866, over UDP, TCP and TLS (issue 5, acceptance 4): what their icon shows
//! is right within a second after each change, from each of the ways; and what they ask for by
//! `a=recordpref` is done, or answered with what is.

use std::time::{Duration, Instant};

use duolog_tests::real::api;
use duolog_tests::real::play::{CALLEE, CALLER, Play, check, judge, site};
use duolog_tests::real::script::{Body, SDP, Script};
use duolog_tests::real::stage::{Place, Role, Set, Stage, Wire, alone};

const AWARE: &str = "Supported: replaces, record-aware";
const UPDATES: &str = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, INFO";
const NO_UPDATES: &str = "Allow: INVITE, ACK, BYE, CANCEL, INFO";
const KEY: &str = "application/dtmf-relay";

/// How late an icon may be, ms.
const LATEST: u32 = 1_000;
/// How long the owner talks on after each change, ms.
const TALKS: u32 = 700;

/// How a phone is told: by UPDATE, or by INVITE where it takes no UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Update,
    Invite,
}

/// The icon changes within so many milliseconds.
fn shows(script: Script, told: Told, within_ms: u32, state: &str) -> Script {
    let line = format!("a=record:{state}");
    match told {
        Told::Update => script.wants_within_ms(within_ms, "UPDATE", &line).answer(
            "200 OK",
            &[AWARE, UPDATES],
            SDP,
        ),
        Told::Invite => script
            .wants_within_ms(within_ms, "INVITE", &line)
            .answer("200 OK", &[AWARE, NO_UPDATES], SDP)
            .wants("ACK"),
    }
}

fn allow(told: Told) -> &'static str {
    match told {
        Told::Update => UPDATES,
        Told::Invite => NO_UPDATES,
    }
}

/// The caller: it is answered that nothing is recorded, and sees each state in turn.
fn caller(told: Told, states: &[&str]) -> Script {
    let mut script = Script::caller("caller")
        .invite(&[AWARE, allow(told)], SDP)
        .may_get(100)
        .may_get(180)
        .gets_saying(200, "a=record:off")
        .ack(Body::None);
    // SIPp takes nothing while it begins to speak.
    for (n, state) in states.iter().enumerate() {
        let within_ms = if n == 0 { LATEST } else { TALKS + 2 * LATEST };
        script = shows(script, told, within_ms, state);
        script = if n == 0 { script.speaks() } else { script };
    }
    script
}

/// The owner, whose call is being recorded.
fn owner(told: Told) -> Script {
    let script = Script::callee("callee")
        .answer_invite("200 OK", &[AWARE, allow(told)], SDP)
        .wants("ACK");
    shows(script, told, LATEST, "on").speaks().waits_ms(TALKS)
}

#[test]
fn by_info() {
    for told in [Told::Update, Told::Invite] {
        let mut owner = owner(told);
        for (value, state) in [("Record: pause", "paused"), ("Record: RESUME", "on")] {
            owner = owner.request("INFO", &[value], Body::None).gets(200);
            owner = shows(owner, told, LATEST, state).waits_ms(TALKS);
        }
        let owner = owner
            .request("INFO", &["Record: loudly"], Body::None)
            .gets(489)
            .request("INFO", &["Record: off"], Body::None)
            .gets(403)
            .hangs_up();
        let caller = caller(told, &["on", "paused", "on"]).is_hung_up();
        check(&Play::new("icons by INFO", caller, owner));
    }
}

#[test]
fn by_keys_in_info() {
    let told = Told::Update;
    let mut owner = owner(told);
    for (keys, state) in [
        (["Signal=*", "Signal=4", "Signal=8"], "paused"),
        (["Signal=*", "Signal=4", "Signal=9"], "on"),
    ] {
        for key in keys {
            owner = owner.request("INFO", &[], Body::Text(KEY, key)).gets(200);
        }
        owner = shows(owner, told, LATEST, state).waits_ms(TALKS);
    }
    // A key that is no code goes on as INFO.
    let owner = owner
        .request("INFO", &[], Body::Text(KEY, "Signal=7"))
        .gets(200)
        .is_hung_up();
    let caller = caller(told, &["on", "paused", "on"])
        .wants_with("INFO", "", "Signal=7")
        .answer("200 OK", &[], Body::None)
        .waits_ms(300)
        .hangs_up();
    check(&Play::new("icons by keys in INFO", caller, owner));
}

#[test]
fn by_preference() {
    for (told, method) in [(Told::Update, "UPDATE"), (Told::Invite, "INVITE")] {
        let mut owner = owner(told);
        for (line, state) in [
            ("a=recordpref:pause", "paused"),
            ("a=recordpref:nopreference", "paused"),
            ("a=recordpref:on", "on"),
            // This mode does not stop: what is stays, and is answered.
            ("a=recordpref:off", "on"),
        ] {
            let headers = [AWARE, allow(told)];
            owner = owner.request(method, &headers, Body::SdpWith("sendrecv", line));
            let state = format!("a=record:{state}");
            owner = owner.may_get(100).gets_saying(200, &state);
            if told == Told::Invite {
                owner = owner.ack(Body::None);
            }
            owner = owner.waits_ms(TALKS);
        }
        // The owner's offers go on to the caller, each with the state that has come of it.
        let caller = caller(told, &["on", "paused", "paused", "on", "on"]).is_hung_up();
        check(&Play::new("icons by preference", caller, owner.hangs_up()));
    }
}

#[test]
fn by_start_and_stop() {
    let told = Told::Update;
    let mut owner = Script::callee("callee")
        .answer_invite("200 OK", &[AWARE, allow(told)], SDP)
        .wants("ACK")
        .speaks()
        .waits_ms(2 * TALKS);
    for (value, state) in [("Record: on", "on"), ("Record: off", "off")] {
        owner = owner.request("INFO", &[value], Body::None).gets(200);
        owner = shows(owner, told, LATEST, state).waits_ms(2 * TALKS);
    }
    for (last, state) in [("Signal=4", "on"), ("Signal=5", "off")] {
        for key in ["Signal=*", "Signal=4", last] {
            owner = owner.request("INFO", &[], Body::Text(KEY, key)).gets(200);
        }
        owner = shows(owner, told, LATEST, state).waits_ms(2 * TALKS);
    }
    for (line, state) in [("a=recordpref:on", "on"), ("a=recordpref:off", "off")] {
        let headers = [AWARE, allow(told)];
        owner = owner
            .request("UPDATE", &headers, Body::SdpWith("sendrecv", line))
            .may_get(100)
            .gets_saying(200, &format!("a=record:{state}"))
            .waits_ms(2 * TALKS);
    }
    let mut caller = Script::caller("caller")
        .invite(&[AWARE, allow(told)], SDP)
        .may_get(100)
        .may_get(180)
        .gets_saying(200, "a=record:off")
        .ack(Body::None)
        .speaks();
    for state in ["on", "off", "on", "off", "on", "off"] {
        caller = shows(caller, told, 2 * TALKS + 2 * LATEST, state);
    }
    check(&Play {
        amend: |text| text.replace("\"always-pause-resume\"", "\"on-demand-user-start\""),
        recordings: vec![(CALLEE, &[CALLER]); 3],
        ..Play::new(
            "icons by start and stop",
            caller.is_hung_up(),
            owner.hangs_up(),
        )
    });
}

/// How many messages that came to a role say that.
fn told(stage: &Stage, script: &Script, line: &str) -> usize {
    let heard = stage.heard(script);
    let says = heard
        .iter()
        .filter(|one| one.came && one.text.contains(line));
    says.count()
}

/// The owner and the caller, who are shown these changes. They wait for longer than that may take: the time
/// is taken elsewhere.
fn both_shown(told_by: Told, changes: &[(&str, &str)]) -> [Script; 2] {
    let mut owner = owner(told_by);
    for (_, state) in changes {
        owner = shows(owner, told_by, 10 * LATEST, state);
    }
    let owner = owner.waits_ms(TALKS).hangs_up();
    let mut states = vec!["on"];
    states.extend(changes.iter().map(|(_, state)| *state));
    let mut caller = Script::caller("caller")
        .invite(&[AWARE, allow(told_by)], SDP)
        .may_get(100)
        .may_get(180)
        .gets_saying(200, "a=record:off")
        .ack(Body::None);
    for (n, state) in states.iter().enumerate() {
        caller = shows(caller, told_by, 10 * LATEST, state);
        caller = if n == 0 { caller.speaks() } else { caller };
    }
    [owner, caller.is_hung_up()]
}

/// What is asked over the API while SIPp holds the call; both icons are right within a second after the
/// request was sent.
fn asked_over_the_api(wire: Wire, told_by: Told) {
    let _one = alone();
    let set = Set {
        wire,
        places: &[Place::TRUNK, Place::ANNA],
        names: &[],
        first: &[],
    };
    let site = site(wire);
    let sections = api::sections(&site);
    let mut stage = Stage::set(site, &set, |text| format!("{text}{sections}"));
    let changes = [
        ("pause", "paused"),
        ("resume", "on"),
        ("pause", "paused"),
        ("resume", "on"),
    ];
    let [owner, caller] = both_shown(told_by, &changes);
    let mut running = [
        stage.start(&Role::called(&owner, Place::ANNA, CALLEE)),
        stage.start(&Role::calls(&caller, Place::TRUNK, CALLER, "100")),
    ];
    let id = api::until(&stage.site, &mut stage.duolog, "started");
    for role in [&owner, &caller] {
        stage.until_heard(&mut running[0], role, |heard| {
            let on = heard
                .iter()
                .any(|one| one.came && one.text.contains("a=record:on"));
            on.then_some(())
        });
    }
    let mut latest = Duration::ZERO;
    for (action, state) in changes {
        let asked = Instant::now();
        stage.until_heard(&mut running[0], &owner, |_| {
            (asked.elapsed() > Duration::from_millis(u64::from(TALKS) + 300)).then_some(())
        });
        let line = format!("a=record:{state}");
        let before = [&owner, &caller].map(|role| told(&stage, role, &line));
        let asked = Instant::now();
        let done = api::control(&stage.site, &id, action);
        assert_eq!(done, if state == "on" { "started" } else { state });
        for (role, before) in [&owner, &caller].into_iter().zip(before) {
            running[0].until(Duration::from_secs(5), &line, || {
                (told(&stage, role, &line) > before).then_some(())
            });
            latest = latest.max(asked.elapsed());
        }
    }
    stage.all_end(running.iter_mut().rev());
    let site = stage.close();
    println!(
        "{}, {told_by:?}: both icons at most {latest:.0?} after the POST",
        wire.word()
    );
    assert!(
        latest < Duration::from_millis(u64::from(LATEST)),
        "{latest:?}"
    );
    judge("icons by the API", &site, &[(CALLEE, &[CALLER])]);
}

#[test]
fn by_the_api() {
    for wire in Wire::ALL {
        asked_over_the_api(wire, Told::Update);
    }
    asked_over_the_api(Wire::Udp, Told::Invite);
}

#[test]
fn a_preference_of_somebody_else_is_answered_with_what_is() {
    let told = Told::Update;
    let caller = caller(told, &["on"])
        .waits_ms(2 * TALKS)
        .request(
            "UPDATE",
            &[AWARE, UPDATES],
            Body::SdpWith("sendrecv", "a=recordpref:pause"),
        )
        .gets_saying(200, "a=record:on")
        .waits_ms(TALKS)
        .hangs_up();
    let owner = shows(owner(told), told, 2 * LATEST, "on").is_hung_up();
    check(&Play::new("preference of the caller", caller, owner));
}

#[test]
fn a_hold_in_between() {
    let told = Told::Update;
    let owner = owner(told)
        .request("UPDATE", &[AWARE, UPDATES], Body::Sdp("sendonly"))
        .gets_saying(200, "a=recvonly")
        .request("INFO", &["Record: pause"], Body::None)
        .gets(200)
        .wants_within_ms(LATEST, "UPDATE", "a=record:paused")
        .answer("200 OK", &[AWARE, UPDATES], Body::Sdp("sendonly"))
        .request("UPDATE", &[AWARE, UPDATES], SDP)
        .gets_saying(200, "a=sendrecv")
        .waits_ms(TALKS)
        .hangs_up();
    let caller = caller(told, &["on"])
        .wants_with("UPDATE", "", "a=sendonly")
        .answer("200 OK", &[AWARE, UPDATES], Body::Sdp("recvonly"))
        .wants_within_ms(LATEST, "UPDATE", "a=sendonly")
        .answer("200 OK", &[AWARE, UPDATES], Body::Sdp("recvonly"))
        .wants_with("UPDATE", "", "a=record:paused")
        .answer("200 OK", &[AWARE, UPDATES], SDP)
        .is_hung_up();
    check(&Play::new("icons while held", caller, owner));
}
