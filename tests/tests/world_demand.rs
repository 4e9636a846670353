//! On Demand in the simulated world, with the whole program (issue 5, acceptance 3): without a press there
//! is a row that says why and nothing of what was said was on any disk at any time; with a press, however
//! late and in whatever way, the whole call from its answer is there, to the sample.

use std::collections::{BTreeSet, HashSet};

use duolog::phone::{Action, By, Change, Icon, Ways};
use duolog_archive::wire::{Fact, Way as Wire};
use duolog_archive::{CdrResult, CdrTrigger, EndState};
use duolog_call::{Control, ControlId, Input, Means};
use duolog_sip::sdp::RecordPreference;
use duolog_spool::{Disk, recover};
use duolog_tests::world::BEGAN_S;
use duolog_tests::world::judge::judge;
use duolog_tests::world::kept::Kept;
use duolog_tests::world::office::{Differently, Office, usual_answering};
use duolog_tests::world::table::{Row, empty, row};

/// Bytes of a piece that is looked for: 2 ms of one party.
const PIECE: usize = 16;
/// Fewer different codes than this are no speech: silence is on every disk.
const SPEECH: usize = 6;
/// What the row says of a call that nobody asked for.
const WHY: &str = "the owner did not ask for it";
/// The modes of this file.
const ON_DEMAND: &str = "on-demand";
const ALWAYS: &str = "always";

/// How the owner asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Press {
    Code,
    Info,
    Preference,
    Api,
}

const WAYS: [(Press, Wire); 4] = [
    (Press::Code, Wire::FeatureCode),
    (Press::Info, Wire::SipInfo),
    (Press::Preference, Wire::SipOffer),
    (Press::Api, Wire::Api),
];

/// An office in which these users have these modes, whose disk forgets nothing.
fn office(seed: u64, modes: &[(&'static str, &str)]) -> Office {
    let lines = |mode: &str| format!("mode = \"{mode}\"\nannounce = \"off\"\nnotice = \"none\"\n");
    let modes = modes.iter();
    let shows = Ways {
        recording: Icon::Shown,
        ..Ways::default()
    };
    let office = Office::new(&Differently {
        recorded: modes.map(|(user, mode)| (*user, lines(mode))).collect(),
        phones: vec![("A1", usual_answering(), shows)],
        ..Differently::nothing(seed)
    });
    office.world.disk.remember_writes();
    office
}

/// B calls A at 1 s, and is answered at 1.33 s.
fn call(seed: u64, mode: &str) -> Office {
    let mut office = office(seed, &[("A", mode)]);
    office.until(1.0);
    office.call("B1", "A");
    office
}

fn record(office: &mut Office, phone: &str, value: &str) {
    let value = value.to_owned();
    office.act(phone, Action::Record { value });
}

/// The owner at A1 asks for the recording.
fn press(office: &mut Office, how: Press) {
    match how {
        Press::Code => {
            let digits = "*44".to_owned();
            office.act("A1", Action::Press { digits });
        }
        Press::Info => record(office, "A1", "on"),
        Press::Preference => {
            let (by, change) = (By::Update, Change::Prefer(RecordPreference::On));
            office.act("A1", Action::Alter { by, change });
        }
        Press::Api => {
            let recording = office.world.node.running()[0].recording;
            office.world.ask(Input::Control {
                id: ControlId(1),
                recording,
                control: Control::Start,
                by: Means::Api,
            });
        }
    }
}

/// How many different pieces of what these phones have said were ever on the disk, and how many they said.
fn found_on_disk(office: &Office, phones: &[&str]) -> (usize, usize) {
    let phones = phones.iter().map(|phone| office.who(phone));
    let sent = phones.flat_map(|who| office.world.phone(who).sent());
    let pieces = sent.flat_map(|packet| packet.payload.chunks_exact(PIECE));
    let is_speech = |piece: &&[u8]| piece.iter().collect::<BTreeSet<_>>().len() >= SPEECH;
    let pieces: HashSet<&[u8]> = pieces.filter(is_speech).collect();
    let mut found = HashSet::new();
    for file in office.world.disk.ever_written() {
        // A party of a block has every other byte.
        let halves: [Vec<u8>; 2] =
            [0, 1].map(|from| file.iter().skip(from).step_by(2).copied().collect());
        for view in halves.iter().chain([&file]) {
            let windows = view.windows(PIECE);
            found.extend(windows.filter_map(|window| pieces.get(window).copied()));
        }
    }
    (found.len(), pieces.len())
}

/// Nothing of what A and B said was ever on the disk.
#[track_caller]
fn assert_no_trace(office: &Office, phones: &[&str]) {
    let (found, said) = found_on_disk(office, phones);
    assert!(said > 500, "they spoke: {said} pieces");
    assert_eq!(found, 0, "of {said} pieces");
}

#[track_caller]
fn assert_released(office: &Office) {
    let left = office.world.disk.list().expect("a disk can be listed");
    let left: Vec<_> = left.into_iter().map(|file| file.name).collect();
    assert_eq!(left, ["ballast"], "nothing is left in the spool");
}

/// A row that says why there is nothing.
#[track_caller]
fn assert_not_kept(kept: &Kept, seconds: f64) {
    let manifest = &kept.manifest;
    assert_eq!(
        (manifest.state, manifest.reason.as_str()),
        (EndState::NotKept, WHY)
    );
    assert_eq!(
        manifest.together.result,
        Some(CdrResult::SuccessfulButNotKept)
    );
    assert_eq!(manifest.together.trigger, Some(CdrTrigger::OnDemand));
    assert!(manifest.audio.is_none() && kept.shown.audio_path.is_none());
    let length = manifest.length.samples as f64 / 8_000.0;
    assert!((length - seconds).abs() < 0.25, "{length} s, not {seconds}");
    let ended = kept.shown.row.ending.as_ref().expect("it has ended");
    assert_eq!(
        (ended.state, ended.reason.as_str()),
        (EndState::NotKept, WHY)
    );
}

/// By which way it was kept, and how long before its end.
fn kept_by(kept: &Kept) -> Option<(Wire, u64)> {
    kept.manifest.facts.iter().find_map(|line| match line.fact {
        Fact::RecordingKept { way, .. } => {
            Some((way, kept.manifest.length.samples - line.position))
        }
        _ => None,
    })
}

#[test]
fn without_a_press_there_is_a_row_with_its_reason_and_no_trace_of_a_word() {
    let mut office = call(5_300, ON_DEMAND);
    for at in [3.0, 6.0, 9.0] {
        office.until(at);
        assert_no_trace(&office, &["A1", "B1"]);
    }
    office.act("B1", Action::HangUp);
    let kept = office.compare("without a press", &[empty("A", EndState::NotKept)]);
    assert_not_kept(&kept[0], 7.67);
    assert_no_trace(&office, &["A1", "B1"]);
    assert_released(&office);
    // The same call, kept: the search finds what is there.
    let mut twin = call(5_300, ALWAYS);
    twin.until(9.0);
    let (found, said) = found_on_disk(&twin, &["A1", "B1"]);
    twin.act("B1", Action::HangUp);
    twin.compare("its twin", &[row("A", &[(1.33, 9.0, "A", "B")])]);
    println!("no piece of {said} was on the disk; of the twin's {found} of {said} while it ran");
    assert!(found * 10 > said * 8, "{found} of {said}");
}

#[test]
fn a_press_in_the_last_second_keeps_the_whole_call_in_each_way() {
    for (n, (how, way)) in WAYS.into_iter().enumerate() {
        let mut office = call(5_310 + n as u64, ON_DEMAND);
        office.until(10.1);
        assert_no_trace(&office, &["A1", "B1"]);
        press(&mut office, how);
        office.until(11.0);
        office.act("B1", Action::HangUp);
        let name = format!("{how:?}");
        let keys = (10.1, 10.75, "keys+", "B");
        let stretches = match how {
            Press::Code => vec![(1.33, 10.1, "A", "B"), keys, (10.75, 11.0, "A", "B")],
            _ => vec![(1.33, 11.0, "A", "B")],
        };
        let facts = &["recording_started", "recording_kept", "hung_up"];
        let kept = office.compare(&name, &[row("A", &stretches).with(facts)]);
        let verdict = judge(&office.world, &kept[0]);
        assert!(
            verdict.exact.iter().all(|exact| *exact > 8 * 8_000),
            "{name}: {verdict:?}"
        );
        let (by, before_end) = kept_by(&kept[0]).expect("it was kept");
        assert_eq!(by, way, "{name}");
        assert!(before_end <= 8_000, "{name}: {before_end} samples");
        println!(
            "{name}: asked for {} ms before the end of {} ms; {:?} samples as sent",
            before_end / 8,
            kept[0].manifest.length.ms,
            verdict.exact
        );
        assert_released(&office);
    }
}

#[test]
fn what_was_paused_before_the_press_stays_out() {
    for asked in [true, false] {
        let mut office = call(5_320, ON_DEMAND);
        office.until(4.0);
        record(&mut office, "A1", "pause");
        office.until(6.0);
        record(&mut office, "A1", "resume");
        office.until(8.0);
        assert_no_trace(&office, &["A1", "B1"]);
        if asked {
            press(&mut office, Press::Info);
        }
        office.until(10.0);
        office.act("B1", Action::HangUp);
        let stretches = [
            (1.33, 4.0, "A", "B"),
            (4.0, 6.0, "", ""),
            (6.0, 10.0, "A", "B"),
        ];
        let facts = &["recording_paused", "recording_resumed", "recording_kept"];
        let wanted = match asked {
            true => row("A", &stretches).with(facts),
            false => empty("A", EndState::NotKept).with(&facts[..2]),
        };
        let kept = office.compare("paused before", &[wanted]);
        if !asked {
            assert_not_kept(&kept[0], 8.67);
            assert_no_trace(&office, &["A1", "B1"]);
        }
    }
}

#[test]
fn a_press_in_a_pause_keeps_and_does_not_resume() {
    for resumed in [true, false] {
        let mut office = call(5_330, ON_DEMAND);
        office.until(4.0);
        record(&mut office, "A1", "pause");
        office.until(6.0);
        press(&mut office, Press::Info);
        office.until(8.0);
        if resumed {
            record(&mut office, "A1", "resume");
        }
        office.until(10.0);
        office.act("B1", Action::HangUp);
        let from = if resumed { 8.0 } else { 10.0 };
        let mut stretches = vec![(1.33, 4.0, "A", "B"), (4.0, from, "", "")];
        if resumed {
            stretches.push((8.0, 10.0, "A", "B"));
        }
        let facts = &["recording_paused", "recording_kept"];
        office.compare("in a pause", &[row("A", &stretches).with(facts)]);
    }
}

/// The power goes; what is there is finished as after the next start.
fn crash(office: &mut Office) -> Vec<Kept> {
    office.world.disk.crash();
    let now_us = BEGAN_S * 1_000_000 + 3_600_000_000;
    recover(&mut office.world.disk, now_us).expect("the directory can be listed");
    office.recordings()
}

#[test]
fn a_crash_after_the_press_leaves_the_call_from_its_answer() {
    for (n, how) in [Press::Code, Press::Info, Press::Api]
        .into_iter()
        .enumerate()
    {
        let mut office = call(5_340 + n as u64, ON_DEMAND);
        office.until(8.0);
        press(&mut office, how);
        office.until(10.0);
        let kept = crash(&mut office);
        let [kept] = kept.as_slice() else {
            panic!("one row: {kept:?}")
        };
        assert_eq!(kept.manifest.state, EndState::Interrupted);
        let seconds = kept.manifest.length.samples as f64 / 8_000.0;
        assert!(
            (7.67..8.67 + 0.1).contains(&seconds),
            "{how:?}: {seconds} s"
        );
        let verdict = judge(&office.world, kept);
        assert_eq!(verdict.faults, [] as [String; 0], "{how:?}");
        let heard = office.heard(kept);
        let named = |name: &&String| !name.is_empty();
        let names: BTreeSet<&String> = heard.iter().filter(named).collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["B"], "{how:?}");
        println!(
            "{how:?}, crash 2 s later: {seconds:.2} s kept, {:?} as sent",
            verdict.exact
        );
    }
}

#[test]
fn a_crash_before_the_press_leaves_a_row_and_no_trace() {
    for seed in [5_350, 5_351] {
        let mut office = call(seed, ON_DEMAND);
        office.until(9.0);
        let kept = crash(&mut office);
        let [kept] = kept.as_slice() else {
            panic!("one row: {kept:?}")
        };
        let manifest = &kept.manifest;
        assert_eq!(manifest.state, EndState::Interrupted);
        assert!(
            manifest.reason.contains("not asked for"),
            "{}",
            manifest.reason
        );
        assert!(kept.object.is_empty() && manifest.audio.is_none());
        assert_no_trace(&office, &["A1", "B1"]);
        assert_released(&office);
    }
}

#[test]
fn of_two_owners_each_keeps_their_own() {
    // The modes of A, who is called, and of C; who of them presses; what is there of both.
    let whole = |owner, other| row(owner, &[(1.33, 9.0, owner, other)]);
    let nothing = |owner| empty(owner, EndState::NotKept);
    let cases: [(&str, &[&str], [Row; 2]); 5] = [
        (ALWAYS, &[], [nothing("A"), whole("C", "A")]),
        (ALWAYS, &["A1"], [whole("A", "C"), whole("C", "A")]),
        (ON_DEMAND, &[], [nothing("A"), nothing("C")]),
        (ON_DEMAND, &["C1"], [nothing("A"), whole("C", "A")]),
        (ON_DEMAND, &["A1", "C1"], [whole("A", "C"), whole("C", "A")]),
    ];
    for (n, (mode, presses, wanted)) in cases.into_iter().enumerate() {
        let mut office = office(5_360 + n as u64, &[("A", ON_DEMAND), ("C", mode)]);
        office.until(1.0);
        office.call("C1", "A");
        office.until(8.0);
        for phone in presses {
            record(&mut office, phone, "on");
        }
        office.until(9.0);
        office.act("C1", Action::HangUp);
        let wanted = wanted.map(|row| row.with(&["other_recording"]));
        let kept = office.compare(&format!("C {mode}, pressed {presses:?}"), &wanted);
        let correlation = |at: usize| kept[at].manifest.together.correlation.clone();
        assert!(correlation(0).is_some() && correlation(0) == correlation(1));
        for kept in &kept {
            if kept.manifest.state == EndState::NotKept {
                assert_not_kept(kept, 7.67);
            }
        }
        if kept.iter().all(|kept| kept.object.is_empty()) {
            assert_no_trace(&office, &["A1", "C1"]);
        }
    }
}

#[test]
fn after_a_transfer_a_press_keeps_both_parts() {
    for asked in [true, false] {
        let mut office = call(5_370, ON_DEMAND);
        office.until(6.0);
        office.refer("B1", "G", None);
        office.until(11.0);
        assert_no_trace(&office, &["A1", "B1", "G1"]);
        if asked {
            press(&mut office, Press::Info);
        }
        office.until(12.0);
        office.act("G1", Action::HangUp);
        let stretches = [(1.33, 6.34, "A", "B"), (6.34, 12.0, "A", "G")];
        let facts = &["party_joined", "recording_kept"];
        let wanted = match asked {
            true => row("A", &stretches).with(facts),
            false => empty("A", EndState::NotKept).with(&facts[..1]),
        };
        let kept = office.compare("after a transfer", &[wanted]);
        if !asked {
            assert_not_kept(&kept[0], 10.67);
            assert_no_trace(&office, &["A1", "B1", "G1"]);
            assert_released(&office);
        }
    }
}

#[test]
fn an_owner_who_is_transferred_away_keeps_what_was_until_then() {
    for asked in [true, false] {
        let mut office = call(5_380, ON_DEMAND);
        office.until(5.0);
        if asked {
            press(&mut office, Press::Code);
            office.until(6.0);
        }
        office.until(6.5);
        office.refer("A1", "G", None);
        office.until(11.0);
        office.act("B1", Action::HangUp);
        let stretches = [
            (1.33, 5.0, "A", "B"),
            (5.0, 5.65, "keys+", "B"),
            (5.65, 6.84, "A", "B"),
        ];
        let wanted = match asked {
            true => row("A", &stretches),
            false => empty("A", EndState::NotKept),
        };
        office.compare("the owner leaves", &[wanted]);
        if !asked {
            assert_no_trace(&office, &["A1", "B1", "G1"]);
        }
    }
}
