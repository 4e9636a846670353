//! On Demand and User Initiated Start with the built program and phones on real sockets (issue 5,
//! acceptance 3): without a press no file of the site holds a word of the call at any time, and the row
//! says why; with a press in the last second the whole call is there; what is started twice in a call
//! is two recordings, numbered and linked.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use duolog::phone::{Action, CodedVoice, SLOT_SAMPLES, Voice, decode};
use duolog_tests::real::listen::{Coding, speech};
use duolog_tests::real::phones::{Looks, Phones};
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Kept, Site, api, kept};
use serde_json::Value;

/// Times are compared, and all files are searched: one after the other.
static ONE: Mutex<()> = Mutex::new(());

const CALLER: u8 = 0;
const OWNER: u8 = 1;
/// Bytes of a piece that is looked for: 2 ms of one party.
const PIECE: usize = 16;
/// Fewer different codes than this are no speech.
const SPEECH: usize = 6;
/// What may be missing of a call's beginning: the announcement is off, and both speak from their answer.
const ANSWER_SLOTS: u16 = 3;

/// A program whose user anna has this mode.
fn start(mode: &'static str) -> (Site, Duolog) {
    let user = match mode {
        "always" => "mode = \"always\"\nannounce = \"off\"",
        "on-demand" => "mode = \"on-demand\"\nannounce = \"off\"",
        _ => "mode = \"on-demand-user-start\"\nannounce = \"off\"\nnotice = \"none\"",
    };
    let site = Site::new(&Wishes {
        user,
        ..Wishes::default()
    });
    site.amend(|text| format!("{text}{}", api::sections(&site)));
    let duolog = Duolog::start(&site);
    (site, duolog)
}

/// A call to anna in which both speak.
fn call(site: &Site) -> Phones {
    let voice = |party| vec![Voice::Coded(CodedVoice::new(party, 0))];
    let phones = Phones::new(site, voice(CALLER), voice(OWNER));
    phones.all_talk();
    phones
}

fn goes_on(phones: &Phones, ms: u64) {
    phones.go_on_until(Instant::now() + Duration::from_millis(ms));
}

fn read_files(folder: &Path, files: &mut Vec<Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => read_files(&path, files),
            // What was removed meanwhile is not there any more.
            false => files.extend(fs::read(&path)),
        }
    }
}

/// How many different pieces of what the phones have sent are in files of the site, and how many they
/// have sent; and how many bytes were searched.
fn found_in_files(site: &Site, looks: &Looks) -> (usize, usize, usize) {
    let all = looks.callers.iter().chain(&looks.callees);
    let sent = all.flat_map(|look| &look.sent);
    let pieces = sent.flat_map(|packet| packet.payload.chunks_exact(PIECE));
    let is_speech = |piece: &&[u8]| piece.iter().collect::<BTreeSet<_>>().len() >= SPEECH;
    let pieces: HashSet<&[u8]> = pieces.filter(is_speech).collect();
    let mut files = Vec::new();
    read_files(site.directory(), &mut files);
    let mut found = HashSet::new();
    for file in &files {
        // A party of a block has every other byte.
        let halves: [Vec<u8>; 2] =
            [0, 1].map(|from| file.iter().skip(from).step_by(2).copied().collect());
        for view in halves.iter().chain([file]) {
            let windows = view.windows(PIECE);
            found.extend(windows.filter_map(|window| pieces.get(window).copied()));
        }
    }
    let searched = files.iter().map(Vec::len).sum();
    (found.len(), pieces.len(), searched)
}

fn only_row(site: &Site) -> Kept {
    let mut rows = kept::list(site);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

#[test]
fn without_a_press_no_file_holds_a_word_and_the_row_says_why() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (site, mut duolog) = start("on-demand");
    let phones = call(&site);
    api::until(&site, &mut duolog, "provisional");
    let mut searched = Vec::new();
    for _ in 0..5 {
        goes_on(&phones, 1_000);
        let (found, said, bytes) = found_in_files(&site, &phones.look());
        assert!(said > 100, "they spoke: {said}");
        assert_eq!(found, 0, "of {said} pieces, while the call runs");
        searched.push(bytes);
    }
    phones.all_hang_up();
    let written = duolog.metric("duolog_spool_bytes_written_total");
    duolog.stop();
    let (found, said, bytes) = found_in_files(&site, &phones.look());
    assert_eq!(found, 0, "of {said} pieces, after the call");
    let left = fs::read_dir(site.directory().join("spool")).expect("the spool is there");
    let left = left.flatten().map(|file| file.file_name());
    let left: Vec<_> = left.filter(|name| name != "ballast").collect();
    println!(
        "left in the spool: {left:?}; files while it ran: {searched:?} bytes, after it {bytes}; {written:?} written"
    );

    let row = only_row(&site);
    assert_eq!((row.state.as_str(), &row.audio), ("not_kept", &None));
    let shown = row.show(&site);
    let manifest = &shown["manifest"];
    assert_eq!(manifest["reason"], "the owner did not ask for it");
    assert_eq!(manifest["result"], "successful but not kept");
    assert_eq!(manifest["trigger"], "on-demand");
    assert_eq!(manifest["audio"], Value::Null);
    assert!(row.seconds > 4.5, "{row:?}");
    let mut kept = Vec::new();
    read_files(&site.store(), &mut kept);
    assert_eq!(kept.len(), 1, "the manifest alone");

    // The same call, kept: the search finds what is there.
    let (site, duolog) = start("always");
    let phones = call(&site);
    goes_on(&phones, 5_000);
    let (found, said, _) = found_in_files(&site, &phones.look());
    phones.all_hang_up();
    duolog.stop();
    let (after, _, _) = found_in_files(&site, &phones.look());
    println!("of the twin's {said} pieces {found} were found while it ran, {after} after it");
    assert!(found * 2 > said && after * 10 > said * 8);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Press {
    Code,
    Info,
    Api,
}

#[test]
fn a_press_in_the_last_second_keeps_the_whole_call() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (how, way) in [
        (Press::Code, "feature_code"),
        (Press::Info, "sip_info"),
        (Press::Api, "api"),
    ] {
        let (site, mut duolog) = start("on-demand");
        let phones = call(&site);
        let id = api::until(&site, &mut duolog, "provisional");
        goes_on(&phones, 4_000);
        let (found, said, _) = found_in_files(&site, &phones.look());
        assert_eq!(found, 0, "{how:?}: of {said} pieces, before the press");
        match how {
            Press::Code => {
                let digits = "*44".to_owned();
                phones.callee(0, Action::Press { digits });
            }
            Press::Info => {
                let value = "on".to_owned();
                phones.callee(0, Action::Record { value });
            }
            Press::Api => assert_eq!(api::control(&site, &id, "start"), "started"),
        }
        goes_on(&phones, 800);
        phones.all_hang_up();
        duolog.stop();
        let row = only_row(&site);
        assert_eq!(row.state, "complete", "{how:?}: {row:?}");
        let shown = row.show(&site);
        assert_eq!(shown["manifest"]["result"], "successful", "{how:?}");
        let facts = shown["manifest"]["facts"].as_array().expect("facts");
        let kept = facts
            .iter()
            .find(|line| line["fact"]["kind"] == "recording_kept");
        let kept = kept.unwrap_or_else(|| panic!("{how:?}: it was kept: {facts:?}"));
        assert_eq!(kept["fact"]["way"], way, "{how:?}");
        let [owner, caller] = row.samples();
        let late = caller.len() as u64 - kept["position"].as_u64().expect("a position");
        assert!(late < 8_000, "{how:?}: {late} samples before the end");
        let heard =
            speech(&caller, CALLER, Coding::Exact).unwrap_or_else(|why| panic!("{how:?}: {why}"));
        assert!(heard.first <= ANSWER_SLOTS, "{how:?}: {heard:?}");
        assert!(heard.from.abs() < 1_600 && heard.to + 1_600 > caller.len() as i64);
        // Keys take the place of the owner's speech.
        let own = decode(&owner);
        let (first, last) = (own.first(), own.last());
        let (first, last) = first.zip(last).expect("the owner speaks");
        assert!(own.iter().all(|one| one.party == OWNER) && first.slot <= ANSWER_SLOTS);
        let holes = usize::from(last.slot - first.slot) + 1 - own.len();
        assert!(
            holes <= if how == Press::Code { 7 } else { 0 },
            "{how:?}: {holes}"
        );
        println!(
            "{how:?}: asked for {} ms before the end; {:.2} s from slot {} on, {holes} slots of keys",
            late / 8,
            row.seconds,
            heard.first
        );
    }
}

/// One of several recordings of a call, by its place: with its number, and a link to the `first`.
fn numbered(manifest: &Value, at: usize, first: &str) {
    let (call, reason) = (&manifest["call"], &manifest["reason"]);
    assert_eq!(call["number"].as_u64(), Some(at as u64 + 1), "{call}");
    assert_eq!(reason, "its owner stopped it");
    assert_eq!(manifest["trigger"], "on-demand-user-start");

    let facts = manifest["facts"].as_array().expect("facts");
    let earlier = facts
        .iter()
        .find(|line| line["fact"]["kind"] == "earlier_recording");
    let earlier = earlier.map(|line| line["fact"]["recording"].clone());
    let wanted = (at == 1).then(|| Value::from(first));
    assert_eq!(earlier, wanted);
}

#[test]
fn what_is_started_twice_is_two_recordings_with_the_right_part_each() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (site, mut duolog) = start("on-demand-user-start");
    let phones = call(&site);
    let id = api::until(&site, &mut duolog, "idle");
    goes_on(&phones, 1_000);
    let mut asked = Vec::new();
    for (action, state, ms) in [
        ("start", "started", 2_000),
        ("stop", "stopped", 1_500),
        ("start", "started", 2_500),
        ("stop", "stopped", 1_000),
    ] {
        asked.push(Instant::now());
        assert_eq!(api::control(&site, &id, action), state);
        // Once more changes nothing.
        assert_eq!(api::control(&site, &id, action), state);
        goes_on(&phones, ms);
    }
    phones.all_hang_up();
    duolog.stop();
    let mut rows = kept::list(&site);
    rows.reverse();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let shown: Vec<Value> = rows.iter().map(|row| row.show(&site)).collect();
    let of = |at: usize, key: &str| shown[at]["manifest"][key].clone();
    assert!(of(0, "correlation").is_string());
    assert_eq!(of(0, "correlation"), of(1, "correlation"));
    assert_eq!(
        rows[0].id, id,
        "the half has the name of its first recording"
    );
    let mut parts = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row.state, "complete");
        numbered(&shown[at]["manifest"], at, &id);
        let [owner, caller] = row.samples();
        let heard = speech(&caller, CALLER, Coding::Exact).expect("the caller speaks on");
        speech(&owner, OWNER, Coding::Exact).expect("the owner speaks on");
        parts.push((heard, caller.len()));
    }
    // Each has the part of the call that was asked for, by the time that the voice says.
    let asked_s = |at: usize| (asked[at] - asked[0]).as_secs_f64();
    let began_s = |at: usize| {
        let (heard, _) = parts[at];
        (i64::from(heard.first) * SLOT_SAMPLES as i64 - heard.from) as f64 / 8_000.0
    };
    let length_s = |at: usize| parts[at].1 as f64 / 8_000.0;
    let near = |found: f64, wanted: f64| (found - wanted).abs() < 0.25;
    println!(
        "asked at {:?} s; the parts are {:.2} s from {:.2} and {:.2} s from {:.2} of the voice",
        [0, 1, 2, 3].map(asked_s),
        length_s(0),
        began_s(0),
        length_s(1),
        began_s(1)
    );
    assert!(near(length_s(0), asked_s(1)) && near(length_s(1), asked_s(3) - asked_s(2)));
    assert!(near(began_s(1) - began_s(0), asked_s(2)));
    assert!(began_s(0) > 0.9, "not from the answer");
}
