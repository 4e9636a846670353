//! Where a recording is silent because somebody was held: by what is heard of the coded voices, by the
//! gaps that the manifest lists, and by its facts.

use duolog::phone::decode;
use serde_json::Value;

use super::{Kept, Site};

/// How far what is heard may lie from the fact it follows from: two slots of the coded voice, and what
/// passes between a phone's message and what it does to its audio.
const HEARD_MS: i64 = 250;
/// How far a listed gap may lie from its fact: what is under way when it becomes one.
const LISTED_MS: i64 = 150;
/// A fact is not before what the scenario says, but for SIPp's clock and the wait for the first packet.
const EARLY_MS: i64 = 200;
/// How late it may be: SIPp's pauses become longer where it has to share the processors.
const LATE_MS: i64 = 1_000;
/// A silence between two slots that is shorter is an edge of a slot.
const SHORT_MS: i64 = 300;

/// A hold, in milliseconds: nobody speaks while it lasts.
#[derive(Debug, Clone, Copy)]
pub struct Hold {
    /// How long both spoke before.
    pub spoken_ms: i64,
    /// How long it lasted.
    pub held_ms: i64,
}

/// Checks that both channels are silent from the hold to its end, and neither before nor after.
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn check_hold(name: &str, site: &Site, row: &Kept, hold: &Hold) {
    let shown = row.show(site);
    let fact = |kind: &str| position_ms(&shown, kind);
    let (held, retrieved) = (fact("held"), fact("retrieved"));
    for (what, found_ms, said_ms) in [
        ("spoken before", held, hold.spoken_ms),
        ("held", retrieved - held, hold.held_ms),
    ] {
        let may = said_ms - EARLY_MS..=said_ms + LATE_MS;
        assert!(
            may.contains(&found_ms),
            "{name}: {what}: {found_ms} ms, not {may:?}"
        );
    }
    let listed = row.gaps(site);
    for (channel, samples) in row.samples().iter().enumerate() {
        let what = ["the owner's silence", "the other's silence"][channel];
        let found = silences(samples);
        let [(from, to)] = found[..] else {
            panic!("{name}: {what} is not one: {found:?}");
        };
        near(name, what, from, held, HEARD_MS);
        near(name, what, to, retrieved, HEARD_MS);
        let gaps: Vec<_> = listed[channel]
            .iter()
            .filter(|gap| gap.reason == "held")
            .collect();
        let [gap] = gaps[..] else {
            panic!("{name}: not one gap of a hold: {:?}", listed[channel]);
        };
        let (begins, ends) = (gap.from as i64 / 8, (gap.from + gap.samples) as i64 / 8);
        near(name, "the listed gap", begins, held, LISTED_MS);
        near(name, "the listed gap", ends, retrieved, LISTED_MS);
        println!("{name}: {what} {from} to {to} ms, listed {begins} to {ends} ms");
    }
    println!("{name}: held at {held} ms, retrieved at {retrieved} ms");
}

#[track_caller]
fn near(name: &str, what: &str, found_ms: i64, wanted_ms: i64, tolerance_ms: i64) {
    assert!(
        (found_ms - wanted_ms).abs() <= tolerance_ms,
        "{name}: {what}: {found_ms} ms instead of {wanted_ms} ms"
    );
}

/// Where a channel is silent between two slots, from the end of the one to the beginning of the other.
fn silences(samples: &[i16]) -> Vec<(i64, i64)> {
    let slots = decode(samples);
    let ends = slots
        .iter()
        .map(|slot| slot.at_sample / 8 + i64::from(slot.heard_ms()));
    let begins = slots.iter().skip(1).map(|slot| slot.at_sample / 8);
    let between = ends.zip(begins);
    between.filter(|(from, to)| to - from > SHORT_MS).collect()
}

/// Where the one fact of a kind lies.
#[track_caller]
fn position_ms(shown: &Value, kind: &str) -> i64 {
    let facts = shown["manifest"]["facts"].as_array().cloned();
    let facts = facts.expect("a manifest lists facts");
    let is_one = |fact: &&Value| fact["fact"]["kind"] == kind;
    let found: Vec<_> = facts.iter().filter(is_one).collect();
    let [fact] = found[..] else {
        panic!("not one fact {kind}: {found:?}");
    };
    fact["position"].as_i64().expect("a position in 1/8000 s") / 8
}
