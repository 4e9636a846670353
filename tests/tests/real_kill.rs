//! `kill -9` at random instants with 20 calls running: after the restart every call has a row and a
//! playable recording, marked interrupted, that lacks at most its last second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use duolog::phone::{CodedVoice, Look, SLOT_SAMPLES, Voice};
use duolog_tests::real::listen::{self, Coding, Speech};
use duolog_tests::real::phones::Phones;
use duolog_tests::real::seed::{below, seeded};
use duolog_tests::real::site::Wishes;
use duolog_tests::real::{Duolog, Kept, Site, kept, program};
use rand_chacha::ChaCha12Rng;

const KILLS: usize = 50;
const CALLS: usize = 20;
/// Each phone's voice begins this many slots after that of the one before: the code names the call.
const SLOTS_PER_CALL: u16 = 200;
/// The parties as the code names them.
const CALLER: u8 = 0;
const CALLEE: u8 = 1;
/// What may be missing.
const LAST: Duration = Duration::from_secs(1);
/// A recording begins with the answer; the first packets may be on their way before it.
const FIRST_SLOTS: u16 = 1;

/// What one phone had said when the process was killed.
struct Said {
    /// Samples until the kill.
    all: i64,
    /// Samples until a second before.
    kept: i64,
}

/// One call at the moment of the kill.
struct Call {
    round: usize,
    caller: usize,
    said: Said,
}

/// What is known of all rounds.
#[derive(Default)]
struct Known {
    /// Calls by the Call-ID of the leg that came in.
    calls: BTreeMap<String, Call>,
    /// What the callees said, by round and number.
    callees: BTreeMap<(usize, usize), Said>,
}

#[test]
fn fifty_kills_with_twenty_calls_lose_no_call_and_at_most_a_second() {
    let mut random = seeded(6);
    let site = Site::new(&Wishes::default());
    let mut known = Known::default();
    for round in 0..KILLS {
        kill_in_mid_call(&site, round, &mut random, &mut known);
    }
    let mut duolog = Duolog::start(&site);
    duolog.until_metric(
        Duration::from_secs(60),
        "duolog_recordings_stored_total",
        |_| kept::list(&site).iter().all(|row| row.state != "recording"),
    );
    duolog.stop();
    let rows = kept::list(&site);
    assert_eq!(
        rows.len(),
        KILLS * CALLS,
        "a row for every call and no other"
    );
    let lacks = listen::in_parallel(&rows, |row| judge(row, &known));
    assert_eq!(lacks.len(), KILLS * CALLS);
    let most = lacks.iter().max().expect("calls");
    let mean = lacks.iter().sum::<i64>() / lacks.len() as i64;
    let verified = program::run(&site, &["verify"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
    println!(
        "{KILLS} kills, {} recordings: all interrupted and playable; of each party's voice {} ms \
         are lacking on average, {} ms at most",
        rows.len(),
        mean / 8,
        most / 8
    );
}

/// One round: a start, which finishes what the last round left, calls, and the kill.
fn kill_in_mid_call(site: &Site, round: usize, random: &mut ChaCha12Rng, known: &mut Known) {
    let mut duolog = Duolog::start(site);
    let phones = Phones::new(site, voices(CALLER), voices(CALLEE));
    phones.all_talk();
    let after = Duration::from_millis(1_100 + below(random, 1_400) as u64);
    phones.go_on_until(Instant::now() + after);
    let killed = Instant::now();
    duolog.process.kill();
    let looks = phones.look();
    for (caller, look) in looks.callers.iter().enumerate() {
        let call_id = look
            .call_id
            .clone()
            .expect("a caller that talks has a call");
        let call = Call {
            round,
            caller,
            said: said(look, killed),
        };
        assert!(
            known.calls.insert(call_id, call).is_none(),
            "a Call-ID twice"
        );
    }
    for (callee, look) in looks.callees.iter().enumerate() {
        known.callees.insert((round, callee), said(look, killed));
    }
}

fn voices(party: u8) -> Vec<Voice> {
    let first_sample = |call: usize| call as u64 * u64::from(SLOTS_PER_CALL) * SLOT_SAMPLES as u64;
    (0..CALLS)
        .map(|call| Voice::Coded(CodedVoice::new(party, first_sample(call))))
        .collect()
}

fn said(look: &Look, killed: Instant) -> Said {
    let until = |limit: Instant| {
        let packets = look.sent.iter().filter(|packet| packet.at <= limit);
        packets.map(|packet| packet.payload.len() as i64).sum()
    };
    Said {
        all: until(killed),
        kept: until(killed - LAST),
    }
}

/// Judges one recording; answers how many samples the party that lacks more lacks.
fn judge(row: &Kept, known: &Known) -> i64 {
    let call = known
        .calls
        .get(&row.call_id)
        .unwrap_or_else(|| panic!("nobody called {row:?}"));
    let round = call.round;
    assert_eq!(row.state, "interrupted", "round {round}: {row:?}");
    let [left, right] = row.samples();
    let heard = |samples: &[i16], party| {
        let speech = listen::speech(samples, party, Coding::Exact);
        speech.unwrap_or_else(|wrong| panic!("round {round}, party {party}: {wrong}; {row:?}"))
    };
    let (callee, caller) = (heard(&left, CALLEE), heard(&right, CALLER));
    let callee_no = usize::from(callee.first / SLOTS_PER_CALL);
    assert_eq!(
        usize::from(caller.first / SLOTS_PER_CALL),
        call.caller,
        "another call's voice: {row:?}"
    );
    let callee_said = &known.callees[&(round, callee_no)];
    lacking(row, callee, callee_said).max(lacking(row, caller, &call.said))
}

fn lacking(row: &Kept, heard: Speech, said: &Said) -> i64 {
    let begin = heard.first / SLOTS_PER_CALL * SLOTS_PER_CALL;
    assert!(
        heard.first - begin <= FIRST_SLOTS,
        "{heard:?} begins late: {row:?}"
    );
    let there = heard.said_from(begin);
    assert!(
        there >= said.kept,
        "{} ms of {} are there: {row:?}",
        there / 8,
        said.all / 8
    );
    said.all - there
}
