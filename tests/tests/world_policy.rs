//! Ten thousand random calls in the simulated world: what a simple model of the policy says was to be
//! recorded is exactly what was (issue 5, acceptance 9). The model is `world/policy.rs`.
//!
//! What is compared (`world/exactly.rs`): which rows each owner has, in their order, and in which state each
//! ended; and of each recording with audio every packet of a phone that was to be heard in it, sample by
//! sample, at the place that follows from when it arrived and from when the model says that the recording
//! began, silence where the model says that there is a pause, and the end. Starts, pauses and ends may be
//! 50 ms off, which is what signalling and a packet take; what arrives that near to a change is not
//! compared, nor is a party's channel while it presses keys. Beside that each recording agrees with its own
//! manifest in every sample (`world/judge.rs`).
//!
//! What is generated (`world/chance.rs`): all of [`Rules`] for users, a queue and a virtual line; calls
//! within the house, from and to a PBX and the public network, to a voicemail system and an emergency
//! number; listed parties of all of these; who says, believed or not, for whom a call is; calls that nobody
//! answers; a recorder that takes nothing from before a call until after it; hang-ups by both; and controls
//! by INFO, keys, the API and offers, by owners and by others, 150 ms from anything else in their call. No
//! transfers, holds, or losses in the middle. What is heard is compared only as far as a recording waits for
//! it: the rest is in `world_choices`, `world_told` and `world_notices`.

use std::collections::BTreeMap;

use duolog_tests::world::chance::played;
use duolog_tests::world::policy::{Ask, Call, Event, Left, Rules, Spoken, Way, recordings};
use duolog_tests::world::sound::spoken;

fn lengths() -> Spoken {
    Spoken::of(|prompt| spoken(prompt, "en").len() as f64 / 8_000.0)
}

fn offices(seeds: std::ops::Range<u64>, wanted: usize) {
    let lengths = lengths();
    let (mut calls, mut states) = (0, BTreeMap::<String, usize>::new());
    for seed in seeds {
        let played = played(seed, lengths);
        let mut faults = played.faults(recordings);
        faults.extend(played.judged());
        let story = || played.office.story();
        assert!(faults.is_empty(), "seed {seed}: {faults:#?}\n{}", story());
        for kept in &played.evidence.kept {
            let state = format!("{:?}", kept.manifest.state);
            *states.entry(state).or_default() += 1;
        }
        calls += played.calls();
        if calls >= wanted {
            break;
        }
    }
    println!("{calls} calls: all as the model says: {states:?}");
    assert!(calls >= wanted, "{calls} calls");
}

#[test]
fn five_thousand_calls_are_recorded_as_the_model_says() {
    offices(50_000..60_000, 5_000);
}

#[test]
fn another_five_thousand() {
    offices(60_000..70_000, 5_000);
}

/// What a wrong model is told of a call, in the place of what was so.
type Mistake = (&'static str, fn(&mut Call, &mut Spoken));

/// Changes the rules of everybody.
fn rules_of(call: &mut Call, change: impl Fn(&mut Rules)) {
    let queue = call.queue.iter_mut().map(|(_, rules)| rules);
    let ends = call.ends.iter_mut().filter_map(|end| end.rules.as_mut());
    queue.chain(ends).for_each(change);
}

/// Those who have one mode have another one.
fn instead(call: &mut Call, mode: &'static str, other: &'static str) {
    rules_of(call, |rules| {
        if rules.mode == mode {
            rules.mode = other;
        }
    });
}

/// What is asked for in this way takes effect later.
fn later(call: &mut Call, way: Way, ask: Ask, by_s: f64) {
    let events = call.events.iter_mut();
    let events = events.filter(|event| (event.way, event.ask) == (way, ask));
    events.for_each(|event| event.at += by_s);
}

fn without(call: &mut Call, is_not: impl Fn(&Event) -> bool) {
    call.events.retain(|event| !is_not(event));
}

const MISTAKES: [Mistake; 30] = [
    ("a recorder that always records", |call, _| {
        call.recorder = true
    }),
    ("nothing refused without a recorder", |call, _| {
        rules_of(call, |rules| rules.on_failure = "go-on");
    }),
    ("calls from within chosen wrongly", |call, _| {
        rules_of(call, |rules| rules.selective[0] ^= true);
    }),
    ("calls from outside chosen wrongly", |call, _| {
        rules_of(call, |rules| rules.selective[1] ^= true);
    }),
    ("calls within chosen wrongly", |call, _| {
        rules_of(call, |rules| rules.selective[2] ^= true);
    }),
    ("calls to outside chosen wrongly", |call, _| {
        rules_of(call, |rules| rules.selective[3] ^= true);
    }),
    ("lists not looked at", |call, _| {
        rules_of(call, |rules| rules.do_not_record.clear());
    }),
    ("callers not looked for in lists", |call, _| {
        call.ends[0].number = "";
    }),
    ("emergency calls always recorded", |call, _| {
        rules_of(call, |rules| rules.emergency = true);
    }),
    ("voicemail always recorded", |call, _| {
        rules_of(call, |rules| rules.voicemail = true);
    }),
    ("queues not looked at", |call, _| call.queue = None),
    ("everybody believed", |call, _| call.believed = true),
    ("on demand always kept", |call, _| {
        instead(call, "on-demand", "always-pause-resume");
    }),
    ("on demand begun by its start", |call, _| {
        instead(call, "on-demand", "on-demand-user-start");
    }),
    ("on demand never kept", |call, _| {
        let demands = call.ends.each_ref().map(|end| {
            let rules = end.rules.as_ref();
            rules.is_some_and(|rules| rules.mode == "on-demand")
        });
        without(call, |event| event.ask == Ask::Start && demands[event.by]);
    }),
    ("always with pauses", |call, _| {
        instead(call, "always", "always-pause-resume");
    }),
    ("no stops", |call, _| {
        without(call, |event| event.ask == Ask::Stop)
    }),
    ("no keys", |call, _| {
        without(call, |event| event.way == Way::Keys)
    }),
    ("no API", |call, _| {
        without(call, |event| event.way == Way::Api)
    }),
    ("no offers", |call, _| {
        without(call, |event| event.way == Way::Offer)
    }),
    ("the wrong one asked", |call, _| {
        call.events.iter_mut().for_each(|event| event.by ^= 1);
    }),
    ("pauses without an end", |call, _| {
        rules_of(call, |rules| rules.auto_resume_s = None);
    }),
    ("pauses by INFO 0.3 s late", |call, _| {
        later(call, Way::Info, Ask::Pause, 0.3);
    }),
    ("pauses by keys 0.3 s late", |call, _| {
        later(call, Way::Keys, Ask::Pause, 0.3);
    }),
    ("pauses by the API 0.1 s late", |call, _| {
        later(call, Way::Api, Ask::Pause, 0.1);
    }),
    ("resumed by an offer 0.1 s late", |call, _| {
        later(call, Way::Offer, Ask::Resume, 0.1);
    }),
    ("nobody told", |_, spoken| spoken.start_s = 0.0),
    ("nobody told in other words", |_, spoken| {
        spoken.compliance_s = 0.0
    }),
    ("told at once", |call, _| {
        rules_of(call, |rules| rules.delay_s = 0);
    }),
    ("hung up 0.1 s late", |call, _| call.over += 0.1),
];

/// Two recordings of a call as if each were alone: everybody is told of both.
fn each_for_itself(call: &Call, lengths: Spoken) -> Left {
    let mut left = Left::default();
    for end in [0, 1] {
        let mut alone = call.clone();
        alone.ends[1 - end].rules = None;
        let own = recordings(&alone, lengths).wanted.into_iter();
        left.wanted.extend(own.filter(|one| one.end == end));
    }
    left
}

#[test]
fn each_model_that_is_wrong_is_found_out() {
    /// Offices in which a mistake must be seen at least once.
    const WITHIN: u64 = 25;
    let lengths = lengths();
    let (mut seen, mut apart) = ([0; MISTAKES.len()], 0);
    for seed in 70_000..70_000 + WITHIN {
        let played = played(seed, lengths);
        let faults = played.faults(recordings);
        assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
        for (seen, (_, mistake)) in seen.iter_mut().zip(MISTAKES) {
            *seen += usize::from(!played.mistaken(mistake).is_empty());
        }
        apart += usize::from(!played.faults(each_for_itself).is_empty());
    }
    println!("two recordings that know nothing of each other: seen in {apart} offices of {WITHIN}");
    assert!(apart > 0);
    for (seen, (name, _)) in seen.iter().zip(MISTAKES) {
        println!("{name}: seen in {seen} offices of {WITHIN}");
    }
    let unseen = seen.iter().zip(MISTAKES).filter(|(seen, _)| **seen == 0);
    let unseen: Vec<&str> = unseen.map(|(_, (name, _))| name).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}
