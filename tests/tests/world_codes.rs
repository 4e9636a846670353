//! Feature codes: whose digits control a recording, and which of them the other party gets (issue 5,
//! acceptance 6).

use duolog::phone::Action;
use duolog_archive::EndState;
use duolog_call::Phase;
use duolog_tests::world::office::{Differently, Office};
use duolog_tests::world::policy::Rules;
use duolog_tests::world::table::{Stretch, empty, row};
use duolog_tests::world::told::{events_of, pressing};

fn rules(mode: &'static str) -> Rules {
    Rules {
        announce_internal: false,
        ..Rules::new(mode)
    }
}

/// A is recorded in this way, and nobody else is.
fn office(seed: u64, a: &Rules) -> Office {
    office_with(seed, a, "")
}

/// The same with these sections in the configuration.
fn office_with(seed: u64, a: &Rules, head: &str) -> Office {
    let others = ["C", "E", "F"].map(|user| (user, "mode = \"never\"\n".to_owned()));
    Office::new(&Differently {
        recorded: [("A", a.lines())].into_iter().chain(others).collect(),
        head: head.to_owned(),
        ..Differently::nothing(seed)
    })
}

fn press(office: &mut Office, at: f64, phone: &str, digits: &str) {
    office.until(at);
    let digits = digits.to_owned();
    office.act(phone, Action::Press { digits });
}

/// What the owner presses, and when.
const PRESSED: [(f64, &str); 7] = [
    (3.0, "*48"),
    (6.0, "*49"),
    (9.0, "*4"),
    (14.0, "*47"),
    (17.0, "12*3#"),
    (20.0, "*4*48"),
    (23.0, "**49"),
];

/// How long a key may be held back, unless the configuration says otherwise.
const WAIT_S: f64 = 3.0;

/// What of it is for the other party: in which row, from which of its keys on, which of its keys shows
/// that, and how many seconds after that one was let go.
const PASSED: [(&str, f64, u8, u8, f64); 8] = [
    ("*4", 9.0, 0, 0, WAIT_S),
    ("*47", 14.0, 0, 2, 0.0),
    ("1", 17.0, 0, 0, 0.0),
    ("2", 17.0, 1, 1, 0.0),
    ("*3", 17.0, 2, 3, 0.0),
    ("#", 17.0, 4, 4, 0.0),
    ("*4", 20.0, 0, 2, 0.0),
    ("*", 23.0, 0, 1, 0.0),
];

/// A and B talk; these phones know no telephone-events.
fn talking(seed: u64, a: &Rules, keyless: &[&str], caller: &str) -> Office {
    let mut office = office(seed, a);
    keyless
        .iter()
        .for_each(|phone| office.without_events(phone));
    office.until(1.0);
    match caller {
        "A1" => office.call("A1", "B"),
        _ => office.call("B1", "A"),
    }
    office
}

/// The owner presses all of it, as events or as tones; the other party gets what is for it, as its phone
/// can be told, in order, in time, and nothing else.
fn owner_presses(seed: u64, keyless: &[&str], caller: &str) {
    let name = format!("{caller} calls, no events at {keyless:?}");
    let mut office = talking(seed, &rules("always-pause-resume"), keyless, caller);
    // What one of them does not know the other one cannot use.
    let tones = !keyless.is_empty();
    // From one key to the next, and how long one is held.
    let (step, held) = if tones { (0.13, 0.08) } else { (0.16, 0.1) };
    if tones {
        office.until(2.0);
        let rows = PRESSED.map(|(at, keys)| (at - 2.0, keys));
        office.act("A1", Action::SetVoice(pressing(seed, &rows, 26)));
    } else {
        PRESSED
            .iter()
            .for_each(|(at, keys)| press(&mut office, *at, "A1", keys));
    }
    office.until(27.0);
    let let_go = |at: f64, key: u8| at + step * f64::from(key) + held;
    let parts: [Stretch; 5] = [
        (1.33, let_go(3.0, 2), "keys+", "B"),
        (let_go(3.0, 2), let_go(6.0, 2), "", ""),
        (let_go(6.0, 2), let_go(20.0, 4), "keys+", "B"),
        (let_go(20.0, 4), let_go(23.0, 3), "", ""),
        (let_go(23.0, 3), 27.0, "keys+", "B"),
    ];
    office.compare(&name, &[row("A", &parts)]);
    let (events, sounds) = (office.events("B1"), office.sounds("B1"));
    let (what, got, other) = match events.is_empty() {
        true => ("tones", sounds, events),
        false => ("events", events, sounds),
    };
    assert_eq!(other, [], "{name}");
    let wanted: Vec<u8> = PASSED
        .iter()
        .flat_map(|(keys, ..)| events_of(keys))
        .collect();
    let keys: Vec<u8> = got.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, wanted, "{name}: {got:.2?}");
    let (mut at, mut latest, mut longest) = (0, 0.0_f64, 0.0_f64);
    for (keys, row, first, key, wait) in PASSED {
        let begins = got[at].1;
        let late = begins - let_go(row, key) - wait;
        assert!(
            (-0.05..=0.3).contains(&late),
            "{name}: {keys} is {late:.3} s late"
        );
        latest = latest.max(late);
        // Each since it was pressed itself.
        for (n, (_, begins)) in (0..).zip(&got[at..at + keys.len()]) {
            let since = begins - let_go(row, first + n);
            assert!(since <= WAIT_S + 0.3, "{name}: {keys} is {since:.3} s late");
            longest = longest.max(since);
        }
        at += keys.len();
    }
    println!(
        "{name}: {what}, a key at most {longest:.3} s after it was pressed, {latest:.3} s more than needed"
    );
}

#[test]
fn digits_of_a_code_never_pass_and_others_do_in_order_and_in_time() {
    for (n, caller) in ["A1", "B1"].into_iter().enumerate() {
        owner_presses(9_300 + n as u64, &[], caller);
    }
}

#[test]
fn no_key_is_later_than_the_configured_time_however_slowly_a_code_is_pressed() {
    for (n, (head, wait_s)) in [
        ("", WAIT_S),
        ("[codes]\nwait = \"1s\"\n", 1.0),
        ("[codes]\nwait = \"5s\"\n", 5.0),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("held for {wait_s} s");
        let mut office = office_with(9_340 + n as u64, &rules("always-pause-resume"), head);
        office.until(1.0);
        office.call("A1", "B");
        // Each within the time after the one before, but the last too late for the first.
        let slowly = [
            ("*", 3.0),
            ("4", 3.0 + 0.8 * wait_s),
            ("8", 3.0 + 1.6 * wait_s),
        ];
        for (key, at) in slowly {
            press(&mut office, at, "A1", key);
        }
        let then = 3.0 + 3.0 * wait_s;
        office.until(then);
        let got = office.events("B1");
        let keys: Vec<u8> = got.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, events_of("*48"), "{name}: {got:.2?}");
        for ((_, begins), (key, at)) in got.iter().zip(slowly) {
            // It is known when it is let go.
            let late = begins - at - 0.1;
            assert!(late <= wait_s + 0.3, "{name}: {key} is {late:.3} s late");
        }
        // All of it within the time.
        for (key, at) in [("*", 0.0), ("4", 0.4 * wait_s), ("8", 0.8 * wait_s)] {
            press(&mut office, then + at, "A1", key);
        }
        office.until(then + 2.0 * wait_s);
        assert_eq!(office.events("B1").len(), 3, "{name}");
        let phases = office.world.node.running();
        let phases: Vec<Phase> = phases.iter().map(|half| half.phase).collect();
        assert_eq!(phases, [Phase::Paused], "{name}");
        office.close();
    }
}

#[test]
fn codes_are_heard_in_the_speech_of_a_phone_without_events_and_taken_out_of_it() {
    let sets = [&["A1"][..], &["A1", "B1"], &["B1"]];
    for (n, keyless) in sets.into_iter().enumerate() {
        for (m, caller) in ["A1", "B1"].into_iter().enumerate() {
            owner_presses(9_310 + (2 * n + m) as u64, keyless, caller);
        }
    }
}

#[test]
fn a_code_from_the_far_party_passes_as_digits_and_does_nothing() {
    let rows = [(3.0, "*48"), (6.0, "*4"), (7.0, "*45")];
    for (n, keyless) in [&[][..], &["A1", "B1"]].into_iter().enumerate() {
        let seed = 9_320 + n as u64;
        let mut office = talking(seed, &rules("always-pause-resume"), keyless, "A1");
        let tones = !keyless.is_empty();
        if tones {
            office.until(2.0);
            let rows = rows.map(|(at, keys)| (at - 2.0, keys));
            office.act("B1", Action::SetVoice(pressing(seed, &rows, 10)));
        } else {
            rows.iter()
                .for_each(|(at, keys)| press(&mut office, *at, "B1", keys));
        }
        office.until(11.0);
        office.compare(
            "far party's codes",
            &[row("A", &[(1.33, 11.0, "A", "keys+")])],
        );
        let got = if tones {
            office.sounds("A1")
        } else {
            office.events("A1")
        };
        let step = if tones { 0.13 } else { 0.16 };
        let due = rows.iter().flat_map(|(at, keys)| {
            let keys = (0..).zip(events_of(keys));
            keys.map(move |(n, key)| (key, at + step * f64::from(n)))
        });
        let due: Vec<(u8, f64)> = due.collect();
        let keys = |all: &[(u8, f64)]| all.iter().map(|(key, _)| *key).collect::<Vec<_>>();
        assert_eq!(keys(&got), keys(&due), "{got:.2?}");
        let late = got.iter().zip(&due).map(|(got, due)| got.1 - due.1);
        let late = late.fold(0.0, f64::max);
        println!("far party's codes, tones: {tones}: at most {late:.3} s late");
        assert!(late < 0.08, "{late}");
    }
}

#[test]
fn a_code_that_the_mode_forbids_is_swallowed_and_without_a_recording_digits_pass() {
    let whole = row("A", &[(1.33, 9.0, "A+", "B")]);
    let not_kept = || empty("A", EndState::NotKept);
    let listed = Rules {
        do_not_record: vec!["102"],
        ..rules("always-pause-resume")
    };
    let cases = [
        (rules("always"), "*44*45*48*49", Some(whole.clone()), ""),
        (
            rules("always-pause-resume"),
            "*44*45",
            Some(whole.clone()),
            "",
        ),
        (rules("on-demand"), "*45", Some(not_kept()), ""),
        (rules("on-demand"), "*45*44", Some(whole), ""),
        (
            rules("on-demand-user-start"),
            "*45*48*49",
            Some(not_kept()),
            "",
        ),
        (listed, "*44*45*48*49", Some(not_kept()), ""),
        (rules("never"), "*44*45*48*49", None, "*44*45*48*49"),
    ];
    for (n, (a, pressed, row, passed)) in cases.into_iter().enumerate() {
        let name = format!("{pressed} in {}", a.mode);
        let mut office = talking(9_330 + n as u64, &a, &[], "B1");
        press(&mut office, 3.0, "A1", pressed);
        office.until(9.0);
        office.compare(&name, &row.into_iter().collect::<Vec<_>>());
        let got = office.events("B1").into_iter().map(|(key, _)| key);
        assert_eq!(got.collect::<Vec<_>>(), events_of(passed), "{name}");
        assert_eq!(office.sounds("B1"), [], "{name}");
    }
}
