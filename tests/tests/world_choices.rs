//! Which calls are recorded and who is told of it in which words: every switch, both ways
//! (issue 5, acceptance 5).

use duolog::phone::{Action, Answering, Calling, PhoneEvent, Ways};
use duolog_archive::EndState;
use duolog_call::PromptName::{self, Compliance, RecordingStarts, RecordingStops};
use duolog_sip::StatusCode;
use duolog_tests::world::office::{Differently, Office, uri, usual_answering};
use duolog_tests::world::policy::Rules;
use duolog_tests::world::table::{Row, Stretch, empty, row};
use duolog_tests::world::told::seconds;

const PRIVATE: &str = "+31201110000";
const PUBLIC: &str = "+31201234567";

fn rules(mode: &'static str) -> Rules {
    Rules::new(mode)
}

/// A is recorded in this way, and nobody else is.
fn office(seed: u64, a: &Rules) -> Office {
    let others = ["C", "E", "F"].map(|user| (user, "mode = \"never\"\n".to_owned()));
    Office::new(&Differently {
        recorded: [("A", a.lines())].into_iter().chain(others).collect(),
        ..Differently::nothing(seed)
    })
}

fn spoken(prompt: PromptName) -> f64 {
    seconds(prompt, "en")
}

fn record(office: &mut Office, at: f64, phone: &str, value: &str) {
    office.until(at);
    let value = value.to_owned();
    office.act(phone, Action::Record { value });
}

fn info(code: u16) -> PhoneEvent {
    PhoneEvent::InfoAnswered(StatusCode::new(code).expect("a status code"))
}

/// A call at a second: who calls whom, and the phone that answers.
type Placed = (f64, &'static str, &'static str, &'static str);

/// The four kinds of calls of A, 10 s each.
const KINDS: [Placed; 4] = [
    (1.0, "B1", "A", "A1"),
    (12.0, "pstn1", "A", "A1"),
    (23.0, "A1", "B", "B1"),
    (34.0, "A1", PUBLIC, "pstn1"),
];

fn place(office: &mut Office, (at, from, to, _): Placed) {
    office.until(at);
    office.call(from, to);
    office.until(at + 10.0);
    office.act(from, Action::HangUp);
}

/// A prompt, its language, and when it began.
type Told = (PromptName, &'static str, f64);

/// What phones heard of calls.
#[derive(Default)]
struct Ears(Vec<(&'static str, Vec<Told>)>);

impl Ears {
    fn hears(&mut self, phone: &'static str, prompt: PromptName, at: f64) {
        let known = self.0.iter().position(|(name, _)| *name == phone);
        let known = known.unwrap_or_else(|| {
            self.0.push((phone, Vec::new()));
            self.0.len() - 1
        });
        self.0[known].1.push((prompt, "en", at));
    }

    fn check(&self, office: &Office, name: &str) {
        let told = self.0.iter().map(|(phone, heard)| (*phone, &heard[..]));
        office.assert_told(name, &told.collect::<Vec<_>>());
    }
}

/// A's recording of a call whose parties are told for so long.
fn recorded((at, from, _, answers): Placed, told_s: f64) -> Row {
    let other = if from == "A1" { answers } else { from };
    let other = ["B", "pstn"][usize::from(other == "pstn1")];
    row("A", &[(at + 0.33 + told_s, at + 10.0, "A", other)])
}

#[test]
fn a_listed_number_leaves_no_audio_on_either_side_and_nobody_is_told() {
    // Lines outside have numbers of their own.
    let listed = ["102", "+31700", "102", PUBLIC];
    for (n, (call, number)) in KINDS.into_iter().zip(listed).enumerate() {
        for on_list in [true, false] {
            let (at, from, to, answers) = (1.0, call.1, call.2, call.3);
            let a = Rules {
                do_not_record: if on_list { vec![number] } else { vec![PRIVATE] },
                ..rules("always-pause-resume")
            };
            let mut office = office(9_200 + 2 * n as u64 + u64::from(on_list), &a);
            let name = format!("{from} calls {to}, listed: {on_list}");
            office.until(at);
            office.call(from, to);
            record(&mut office, 6.0, "A1", "pause");
            record(&mut office, 7.0, "A1", "resume");
            office.until(11.0);
            let answered = info(if on_list { 403 } else { 200 });
            let answers_told = office.world.told().iter();
            let answers_told = answers_told.filter(|(_, _, told)| *told == answered);
            assert_eq!(answers_told.count(), 2, "{name}: {}", office.story());
            let mut ears = Ears::default();
            if !on_list {
                ears.hears(from, RecordingStarts, 1.33);
                ears.hears(answers, RecordingStarts, 1.33);
            }
            let begins = 1.33 + spoken(RecordingStarts);
            let other = if call.1.starts_with("pstn") || call.3.starts_with("pstn") {
                "pstn"
            } else {
                "B"
            };
            let parts: [Stretch; 3] = [
                (begins, 6.0, "A", other),
                (6.0, 7.0, "", ""),
                (7.0, 11.0, "A", other),
            ];
            let row = match on_list {
                true => empty("A", EndState::NotKept).with(&["do_not_record"]),
                false => row("A", &parts),
            };
            let kept = office.compare(&name, &[row]);
            println!("  {:?}", kept[0].manifest.reason);
            ears.check(&office, &name);
        }
    }
}

#[test]
fn a_listed_party_that_joins_pauses_the_recording_while_it_is_there() {
    for on_list in [true, false] {
        let a = Rules {
            announce_internal: false,
            do_not_record: vec![if on_list { "103" } else { PRIVATE }],
            ..rules("always-pause-resume")
        };
        let mut office = office(9_220 + u64::from(on_list), &a);
        office.until(1.0);
        office.call("B1", "A");
        office.until(5.0);
        office.refer("B1", "C", None);
        office.until(10.0);
        office.refer("C1", "G", None);
        office.until(15.0);
        let between = if on_list { ["", ""] } else { ["A", "C"] };
        let parts: [Stretch; 3] = [
            (1.33, 5.34, "A", "B"),
            (5.34, 10.34, between[0], between[1]),
            (10.34, 15.0, "A", "G"),
        ];
        office.compare(&format!("joins, listed: {on_list}"), &[row("A", &parts)]);
    }
}

#[test]
fn emergency_calls_are_recorded_only_with_the_switch_and_nobody_waits_for_an_announcement() {
    for emergency in [true, false] {
        for mode in ["always", "on-demand-user-start"] {
            let a = Rules {
                emergency,
                compliance: [true; 2],
                ..rules(mode)
            };
            let mut office = office(9_230 + u64::from(emergency), &a);
            let name = format!("112, {mode}, recorded: {emergency}");
            office.until(1.0);
            office.call("A1", "112");
            let mut begins = 1.33;
            if mode != "always" {
                begins = 4.0;
                record(&mut office, begins, "A1", "on");
            }
            office.until(11.0);
            let refused = office.told("A1", info(403));
            assert_eq!(
                refused,
                mode != "always" && !emergency,
                "{}",
                office.story()
            );
            let mut rows = Vec::new();
            if emergency {
                rows.push(row("A", &[(begins, 11.0, "A", "pstn")]));
            }
            office.compare(&name, &rows);
            Ears::default().check(&office, &name);
        }
    }
}

#[test]
fn each_selective_flag_chooses_its_kind_of_calls_alone() {
    let off = |n: usize| std::array::from_fn(|at| at != n);
    let sets = [[true; 4], off(0), off(1), off(2), off(3), [false; 4]];
    for (n, selective) in sets.into_iter().enumerate() {
        for mode in ["always", "on-demand"] {
            let a = Rules {
                selective,
                announce_internal: mode == "always",
                announce_pstn: mode == "always",
                ..rules(mode)
            };
            let mut office = office(9_240 + n as u64, &a);
            let name = format!("selective {selective:?}, {mode}");
            let (mut rows, mut ears) = (Vec::new(), Ears::default());
            for (call, chosen) in KINDS.into_iter().zip(selective) {
                place(&mut office, call);
                // Where somebody has to ask, every call can be.
                if mode == "on-demand" {
                    rows.push(empty("A", EndState::NotKept));
                } else if chosen {
                    rows.push(recorded(call, spoken(RecordingStarts)));
                    ears.hears(call.1, RecordingStarts, call.0 + 0.33);
                    ears.hears(call.3, RecordingStarts, call.0 + 0.33);
                }
            }
            office.compare(&name, &rows);
            ears.check(&office, &name);
        }
    }
}

#[test]
fn internal_and_public_calls_are_announced_by_switches_of_their_own() {
    for (n, switches) in [[true, true], [true, false], [false, true], [false, false]]
        .into_iter()
        .enumerate()
    {
        let [announce_internal, announce_pstn] = switches;
        let a = Rules {
            announce_internal,
            announce_pstn,
            ..rules("always")
        };
        let mut office = office(9_260 + n as u64, &a);
        let name = format!("announced internally {announce_internal}, outside {announce_pstn}");
        let (mut rows, mut ears) = (Vec::new(), Ears::default());
        for (kind, call) in KINDS.into_iter().enumerate() {
            place(&mut office, call);
            let is_told = switches[kind % 2];
            if is_told {
                ears.hears(call.1, RecordingStarts, call.0 + 0.33);
                ears.hears(call.3, RecordingStarts, call.0 + 0.33);
            }
            rows.push(recorded(
                call,
                if is_told {
                    spoken(RecordingStarts)
                } else {
                    0.0
                },
            ));
        }
        office.compare(&name, &rows);
        ears.check(&office, &name);
    }
}

#[test]
fn compliance_has_a_switch_for_each_direction_and_a_delay_outbound() {
    for (n, compliance) in [[true, true], [true, false], [false, true], [false, false]]
        .into_iter()
        .enumerate()
    {
        for delay_s in [0, 4] {
            let a = Rules {
                compliance,
                delay_s,
                ..rules("always")
            };
            let mut office = office(9_270 + 2 * n as u64 + u64::from(delay_s == 0), &a);
            let name = format!("compliance in, out {compliance:?}, {delay_s} s later");
            let (mut rows, mut ears) = (Vec::new(), Ears::default());
            for (kind, call) in KINDS.into_iter().enumerate() {
                place(&mut office, call);
                let (answered, outbound) = (call.0 + 0.33, kind / 2);
                let delay_s = [0.0, f64::from(delay_s)][outbound];
                let mut takes = spoken(RecordingStarts);
                for phone in [call.1, call.3] {
                    match phone == "pstn1" && compliance[outbound] {
                        true => {
                            ears.hears(phone, Compliance, answered + delay_s);
                            takes = takes.max(delay_s + spoken(Compliance));
                        }
                        false => ears.hears(phone, RecordingStarts, answered),
                    }
                }
                rows.push(recorded(call, takes));
            }
            office.compare(&name, &rows);
            ears.check(&office, &name);
        }
    }
}

#[test]
fn who_was_told_by_compliance_hears_neither_stop_nor_another_start() {
    let a = Rules {
        compliance: [true, false],
        ..rules("on-demand-user-start")
    };
    let mut office = office(9_280, &a);
    office.until(1.0);
    office.call("pstn1", "A");
    let mut ears = Ears::default();
    let asked = [(2.0, "on"), (8.0, "off"), (12.0, "on"), (18.0, "off")];
    for (at, value) in asked {
        record(&mut office, at, "A1", value);
        let own = if value == "on" {
            RecordingStarts
        } else {
            RecordingStops
        };
        ears.hears("A1", own, at);
    }
    office.until(21.0);
    ears.hears("pstn1", Compliance, 2.0);
    let first = (
        2.0 + spoken(Compliance).max(spoken(RecordingStarts)),
        8.0,
        "A",
        "pstn",
    );
    let second = (12.0 + spoken(RecordingStarts), 18.0, "A", "pstn");
    office.compare(
        "compliance and stop",
        &[row("A", &[first]), row("A", &[second])],
    );
    ears.check(&office, "compliance and stop");
}

/// A in this way, beside nobody; B's phone sends every call elsewhere.
fn redirecting(seed: u64, a: &Rules, to: &str) -> Office {
    let answering = Answering {
        code: StatusCode::new(302).expect("a status code"),
        ..usual_answering()
    };
    let ways = Ways {
        moved_to: vec![uri(to)],
        ..Ways::default()
    };
    let others = ["C", "E", "F"].map(|user| (user, "mode = \"never\"\n".to_owned()));
    Office::new(&Differently {
        recorded: [("A", a.lines())].into_iter().chain(others).collect(),
        phones: vec![("B1", answering, ways)],
        ..Differently::nothing(seed)
    })
}

#[test]
fn a_party_outside_that_a_redirection_brings_in_is_told_before_it_is_recorded() {
    for (n, [announce_pstn, complies]) in [[true, true], [true, false], [false, true], [false; 2]]
        .into_iter()
        .enumerate()
    {
        // A calls B and comes out there; somebody there calls B and comes to A.
        for (way, from, to) in [(0, "A1", PUBLIC), (1, "pstn1", "A")] {
            let a = Rules {
                announce_internal: false,
                announce_pstn,
                compliance: [way == 1, way == 0].map(|own| own && complies),
                // Alone calls of the class that this one turns out to be of are recorded.
                selective: [false, way == 1, way == 0, way == 0],
                ..rules("always")
            };
            let mut office = redirecting(9_290 + 2 * n as u64 + way, &a, to);
            let name = format!("302 from {from} to {to}, told {announce_pstn}, {complies}");
            office.until(1.0);
            office.call(from, "B");
            office.until(11.0);
            let (answered, mut takes) = (1.64, 0.0_f64);
            let mut ears = Ears::default();
            if announce_pstn {
                ears.hears("A1", RecordingStarts, answered);
                takes = spoken(RecordingStarts);
            }
            let outside = [RecordingStarts, Compliance][usize::from(complies)];
            if announce_pstn || complies {
                ears.hears("pstn1", outside, answered);
                takes = takes.max(spoken(outside));
            }
            let row = row("A", &[(answered + takes, 11.0, "A", "pstn")]);
            office.compare(&name, &[row]);
            ears.check(&office, &name);
        }
    }
}

#[test]
fn a_party_outside_that_a_transfer_brings_in_is_told_before_it_is_recorded() {
    for (n, [announce_pstn, complies]) in [[true, true], [true, false], [false, true], [false; 2]]
        .into_iter()
        .enumerate()
    {
        // Whether A called or was called says which words stand for the announcement.
        for (way, from, to) in [(0, "A1", "B"), (1, "B1", "A")] {
            let a = Rules {
                announce_internal: false,
                announce_pstn,
                compliance: [way == 1, way == 0].map(|own| own && complies),
                ..rules("always")
            };
            let mut office = office(9_300 + 2 * n as u64 + way, &a);
            let name = format!("REFER, {from} called, told {announce_pstn}, {complies}");
            office.until(1.0);
            office.call(from, to);
            office.until(5.0);
            office.refer("B1", PUBLIC, None);
            office.until(13.0);
            let mut ears = Ears::default();
            let (came, mut takes) = (5.34, 0.0);
            if announce_pstn || complies {
                let outside = [RecordingStarts, Compliance][usize::from(complies)];
                ears.hears("pstn1", outside, 5.315);
                takes = spoken(outside);
            }
            let parts: [Stretch; 3] = [
                (1.33, came, "A", "B"),
                (came, came + takes, "A", ""),
                (came + takes, 13.0, "A", "pstn"),
            ];
            office.compare(&name, &[row("A", &parts)]);
            ears.check(&office, &name);
        }
    }
}

/// A's calls are A's own; the queue's are recorded in this mode. The PBX says for whom it calls.
fn queued(seed: u64, queue: &'static str, untrusted: &[&'static str]) -> Office {
    let own = ["A", "C", "E", "F"].map(|user| {
        let mode = if user == "A" { "always" } else { "never" };
        (user, format!("mode = \"{mode}\"\nannounce = \"off\"\n"))
    });
    let lines = format!("mode = \"{queue}\"\nannounce = \"off\"\nnotice = \"none\"\n");
    Office::new(&Differently {
        recorded: own.to_vec(),
        phoneless: vec![("Q", lines)],
        untrusted: untrusted.to_vec(),
        ..Differently::nothing(seed)
    })
}

/// The PBX calls a member of the queue.
fn ring_for_the_queue(office: &mut Office, at: f64, member: &str) {
    office.until(at);
    let diverted = "<sip:107@10.0.0.1>;reason=unconditional";
    let calling = Calling {
        headers: vec![("Diversion".to_owned(), diverted.to_owned())],
        ..Calling::to(uri(member))
    };
    office.call_with("pbx1", calling);
}

#[test]
fn a_queue_s_call_is_recorded_for_the_queue_whoever_answers() {
    const ALL: &[&str] = &[];
    const NOT: &[&str] = &["pbx"];
    // The queue's mode, who is not believed, who answers, for whom that is recorded, and what a pause is
    // answered.
    for (n, (queue, untrusted, member, owner, answer)) in [
        ("always-pause-resume", ALL, "B", Some("Q"), 200),
        ("always-pause-resume", ALL, "A", Some("Q"), 200),
        ("always", ALL, "B", Some("Q"), 403),
        ("never", ALL, "A", Some("A"), 403),
        ("never", ALL, "B", None, 403),
        ("always-pause-resume", NOT, "A", Some("A"), 403),
        ("always-pause-resume", NOT, "B", None, 403),
    ]
    .into_iter()
    .enumerate()
    {
        let mut office = queued(9_310 + n as u64, queue, untrusted);
        let name = format!("queue {queue}, not believed {untrusted:?}, {member} answers");
        ring_for_the_queue(&mut office, 1.0, member);
        let phone = format!("{member}1");
        record(&mut office, 5.0, &phone, "pause");
        record(&mut office, 7.0, &phone, "resume");
        office.until(11.0);
        assert!(
            office.told(&phone, info(answer)),
            "{name}: {}",
            office.story()
        );
        let voice = if member == "A" { "A" } else { "B" };
        let all = [(1.33, 11.0, voice, "pbx")];
        let paused = [
            (1.33, 5.0, voice, "pbx"),
            (5.0, 7.0, "", ""),
            (7.0, 11.0, voice, "pbx"),
        ];
        let parts = if answer == 200 { &paused[..] } else { &all };
        let rows: Vec<Row> = owner.into_iter().map(|owner| row(owner, parts)).collect();
        office.compare(&name, &rows);
    }
}

#[test]
fn a_queue_s_call_that_somebody_else_picks_up_is_recorded_for_the_queue() {
    for (n, picks_up) in ["G1", "A1"].into_iter().enumerate() {
        let answering = Answering {
            ring_ms: 30_000,
            ..usual_answering()
        };
        let never = ["C", "E", "F"].map(|user| (user, "mode = \"never\"\n".to_owned()));
        let own = ("A", "mode = \"always\"\nannounce = \"off\"\n".to_owned());
        let queue = "mode = \"always-pause-resume\"\nannounce = \"off\"\n";
        let mut office = Office::new(&Differently {
            recorded: never.into_iter().chain([own]).collect(),
            phones: vec![("B1", answering, Ways::default())],
            phoneless: vec![("Q", queue.to_owned())],
            ..Differently::nothing(9_320 + n as u64)
        });
        ring_for_the_queue(&mut office, 1.0, "B");
        office.until(4.0);
        let calling = Calling {
            replaces: Some(office.dialog_of("B1")),
            ..Calling::to(uri("B"))
        };
        office.call_with(picks_up, calling);
        office.until(10.0);
        office.act("pbx1", Action::HangUp);
        let voice = if picks_up == "A1" { "A" } else { "G" };
        // The row of the one that rang in vain is the queue's as well.
        let rows = [
            empty("Q", EndState::NoMedia),
            row("Q", &[(4.03, 10.0, voice, "pbx")]),
        ];
        office.compare(&format!("{picks_up} picks up"), &rows);
    }
}
