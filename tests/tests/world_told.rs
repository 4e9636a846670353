//! Each prompt, the beep and the repeat tone: heard by whom it should be heard, in each language, once,
//! by nobody else, and in no recording (issue 5, acceptance 2).

use duolog::phone::{Action, By, Change, HoldStyle};
use duolog_archive::EndState;
use duolog_archive::wire::Fact;
use duolog_call::PromptName::{
    self, Compliance, FailureContinues, FailureEnds, RecordingPaused, RecordingResumed,
    RecordingStarts, RecordingStops,
};
use duolog_tests::world::kept::Kept;
use duolog_tests::world::office::{Differently, Office};
use duolog_tests::world::table::{Row, Stretch, empty, row};
use duolog_tests::world::told::{
    BEEP_HZ, LANGUAGES, REPEAT_HZ, nothing_played_in, prompts_in, seconds,
};

/// A prompt, its language, and when it began.
type Heard<'a> = (PromptName, &'a str, f64);

/// What the parties of a call say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voices {
    /// Their names: every sample of a recording is looked at.
    Names,
    /// Nothing, in packets: whatever is in a recording was played.
    Silence,
}

const VOICES: [Voices; 2] = [Voices::Names, Voices::Silence];

/// An office in which some are recorded in their own ways and nobody else is. E and G talk from the
/// beginning on, and are told nothing.
struct Told {
    office: Office,
    voices: Voices,
    name: String,
}

impl Told {
    fn new(seed: u64, voices: Voices, name: String, recorded: &[(&'static str, String)]) -> Told {
        let never = |user: &&str| !recorded.iter().any(|(name, _)| name == user);
        let others = ["A", "C", "E", "F"].into_iter();
        let others = others.filter(|user| never(user));
        let others = others.map(|user| (user, "mode = \"never\"\n".to_owned()));
        let mut office = Office::new(&Differently {
            recorded: recorded.iter().cloned().chain(others).collect(),
            ..Differently::nothing(seed)
        });
        if voices == Voices::Silence {
            office.silence();
        }
        office.until(0.1);
        office.call("E1", "G");
        office.until(1.0);
        Told {
            office,
            voices,
            name,
        }
    }

    fn record(&mut self, at: f64, phone: &str, value: &str) {
        self.office.until(at);
        let value = value.to_owned();
        self.office.act(phone, Action::Record { value });
    }

    /// Compares the recordings: every sample, where there are voices; of silent parties nothing at all is
    /// in them.
    fn compare(&mut self, rows: &[Row]) -> Vec<Kept> {
        if self.voices == Voices::Names {
            let kept = self.office.compare(&self.name, rows);
            for channel in kept.iter().flat_map(|kept| &kept.channels) {
                let (found, beside) = prompts_in(channel);
                assert!(found.is_empty() && beside < 0.3, "{found:?} {beside}");
            }
            return kept;
        }
        self.office.close();
        let kept = self.office.recordings();
        let ends = |row: &Row| (row.owner.to_owned(), row.state);
        let wanted: Vec<_> = rows.iter().map(ends).collect();
        let found = kept.iter().map(|kept| &kept.manifest);
        let found = found.map(|manifest| (manifest.call.owner.clone(), manifest.state));
        assert_eq!(found.collect::<Vec<_>>(), wanted, "{}", self.name);
        let worst = nothing_played_in(&kept);
        println!("{}: at most {worst:.0} dBFS in recordings", self.name);
        kept
    }

    fn assert_told(&self, told: &[(&str, &[Heard<'_>])]) {
        self.office.assert_told(&self.name, told);
    }
}

/// How a user is recorded, without a word or a sound but for what `rest` says.
fn lines(mode: &str, language: &str, rest: &str) -> String {
    let usual = [
        ("announce", "\"off\""),
        ("notice", "\"none\""),
        ("repeat_tone", "\"off\""),
    ];
    let usual = usual.iter().filter(|(key, _)| !rest.contains(key));
    let usual: String = usual
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    format!("mode = \"{mode}\"\nlanguage = \"{language}\"\n{usual}{rest}\n")
}

/// Every language with both kinds of voices.
fn all(what: &str, check: impl Fn(u64, Voices, &'static str, String)) {
    for (n, language) in LANGUAGES.into_iter().enumerate() {
        for (m, voices) in VOICES.into_iter().enumerate() {
            let name = format!("{what}, {language}, {voices:?}");
            check((2 * n + m) as u64, voices, language, name);
        }
    }
}

#[test]
fn start_and_stop_are_heard_by_both_and_by_nobody_else() {
    all("start and stop", |n, voices, language, name| {
        let a = lines("on-demand-user-start", language, "announce = \"on\"");
        let mut told = Told::new(9_000 + n, voices, name, &[("A", a)]);
        told.office.call("B1", "A");
        told.record(3.0, "A1", "on");
        let begins = 3.0 + seconds(RecordingStarts, language);
        told.record(10.0, "A1", "off");
        told.office.until(15.0);
        told.compare(&[row("A", &[(begins, 10.0, "A", "B")])]);
        let heard = [
            (RecordingStarts, language, 3.0),
            (RecordingStops, language, 10.0),
        ];
        let told_to = ["A1", "B1"].map(|phone| (phone, &heard[..]));
        told.assert_told(&told_to);
    });
}

#[test]
fn pause_and_resume_are_heard_by_both_and_by_nobody_else() {
    all("pause and resume", |n, voices, language, name| {
        let a = lines("always-pause-resume", language, "notice = \"announcement\"");
        let mut told = Told::new(9_010 + n, voices, name, &[("A", a)]);
        told.office.call("A1", "B");
        told.record(4.0, "A1", "pause");
        told.record(8.0, "A1", "resume");
        told.office.until(13.0);
        let parts: [Stretch; 3] = [
            (1.33, 4.0, "A", "B"),
            (4.0, 8.0, "", ""),
            (8.0, 13.0, "A", "B"),
        ];
        told.compare(&[row("A", &parts)]);
        let heard = [
            (RecordingPaused, language, 4.0),
            (RecordingResumed, language, 8.0),
        ];
        let told_to = ["A1", "B1"].map(|phone| (phone, &heard[..]));
        told.assert_told(&told_to);
    });
}

#[test]
fn a_failure_is_heard_by_both_and_the_call_goes_on_or_ends() {
    let ways = [
        ("go-on-announced", FailureContinues),
        ("end-announced", FailureEnds),
    ];
    for (m, (on_failure, prompt)) in ways.into_iter().enumerate() {
        all(on_failure, |n, voices, language, name| {
            let rest = format!("on_failure = \"{on_failure}\"");
            let a = lines("always", language, &rest);
            let seed = 9_020 + 10 * m as u64 + n;
            let mut told = Told::new(seed, voices, name, &[("A", a)]);
            told.office.call("B1", "A");
            told.office.until(5.0);
            told.office.world.lose_recordings();
            told.office.until(12.0);
            let is_over = told.office.world.phone(told.office.who("B1")).is_idle();
            assert_eq!(is_over, prompt == FailureEnds, "{}", told.office.story());
            let lost = Row {
                state: EndState::Partial,
                ..row("A", &[(1.33, 5.0, "A", "B")])
            };
            told.compare(&[lost]);
            let heard = [(prompt, language, 5.0)];
            let told_to = ["A1", "B1"].map(|phone| (phone, &heard[..]));
            told.assert_told(&told_to);
        });
    }
}

#[test]
fn a_spool_that_refuses_is_heard_by_both_when_they_are_connected() {
    let ways: [(&str, Option<PromptName>); 3] = [
        ("go-on", None),
        ("go-on-announced", Some(FailureContinues)),
        ("end-announced", Some(FailureEnds)),
    ];
    for (m, (on_failure, prompt)) in ways.into_iter().enumerate() {
        all(on_failure, |n, voices, language, name| {
            let rest = format!("announce = \"on\"\non_failure = \"{on_failure}\"");
            let a = lines("always", language, &rest);
            let seed = 9_050 + 10 * m as u64 + n;
            let mut told = Told::new(seed, voices, name, &[("A", a)]);
            let disk = told.office.world.disk.clone();
            disk.resize(disk.used_bytes() + (1 << 19));
            told.office.until(4.0);
            told.office.call("A1", "B");
            told.office.until(11.0);
            let is_over = told.office.world.phone(told.office.who("B1")).is_idle();
            assert_eq!(
                is_over,
                prompt == Some(FailureEnds),
                "{}",
                told.office.story()
            );
            told.compare(&[empty("A", EndState::Failed)]);
            let heard: Vec<_> = prompt
                .map(|prompt| (prompt, language, 4.33))
                .into_iter()
                .collect();
            let told_to = ["A1", "B1"].map(|phone| (phone, &heard[..]));
            told.assert_told(&told_to);
        });
    }
}

#[test]
fn compliance_is_heard_on_the_public_network_alone_and_the_start_by_the_owner() {
    all("compliance", |n, voices, language, name| {
        let rest = "announce = \"on\"\ncompliance = { inbound = \"on\" }";
        let a = lines("always", language, rest);
        let mut told = Told::new(9_080 + n, voices, name, &[("A", a)]);
        told.office.call("pstn1", "A");
        told.office.until(12.0);
        let longest = [Compliance, RecordingStarts].map(|one| seconds(one, language));
        let begins = 1.33 + longest[0].max(longest[1]);
        told.compare(&[row("A", &[(begins, 12.0, "A", "pstn")])]);
        let outside = [(Compliance, language, 1.33)];
        let inside = [(RecordingStarts, language, 1.33)];
        let told_to = [("A1", &inside[..]), ("pstn1", &outside[..])];
        told.assert_told(&told_to);
    });
}

#[test]
fn one_who_joins_by_a_transfer_is_told_alone_and_recorded_after_it() {
    all("a newcomer", |n, voices, language, name| {
        let rest = "announce = \"on\"\nnotice = \"announcement\"";
        let a = lines("always-pause-resume", language, rest);
        let mut told = Told::new(9_100 + n, voices, name, &[("A", a)]);
        told.office.call("B1", "A");
        told.office.until(8.0);
        told.office.refer("B1", "C", None);
        told.record(15.0, "A1", "pause");
        told.record(18.0, "A1", "resume");
        told.office.until(22.0);
        let takes = seconds(RecordingStarts, language);
        let parts: [Stretch; 5] = [
            (1.33 + takes, 8.34, "A", "B"),
            (8.34, 8.34 + takes, "A", ""),
            (8.34 + takes, 15.0, "A", "C"),
            (15.0, 18.0, "", ""),
            (18.0, 22.0, "A", "C"),
        ];
        told.compare(&[row("A", &parts)]);
        let later = [
            (RecordingPaused, language, 15.0),
            (RecordingResumed, language, 18.0),
        ];
        let start = |at| [(RecordingStarts, language, at)];
        let owner = [&start(1.33)[..], &later].concat();
        let newcomer = [&start(8.315)[..], &later].concat();
        let left = start(1.33);
        told.assert_told(&[("A1", &owner), ("B1", &left), ("C1", &newcomer)]);
    });
}

#[test]
fn two_recorded_users_are_told_once_and_each_of_what_becomes_of_their_own_recording() {
    all("two recorded", |n, voices, language, name| {
        let rest = "announce = \"on\"\nnotice = \"announcement\"";
        let both = ["A", "C"].map(|user| (user, lines("always-pause-resume", language, rest)));
        let mut told = Told::new(9_110 + n, voices, name, &both);
        told.office.call("C1", "A");
        told.record(8.0, "A1", "pause");
        told.record(12.0, "A1", "resume");
        told.office.until(16.0);
        let begins = 1.33 + seconds(RecordingStarts, language);
        let of_a: [Stretch; 3] = [
            (begins, 8.0, "A", "C"),
            (8.0, 12.0, "", ""),
            (12.0, 16.0, "A", "C"),
        ];
        let kept = told.compare(&[row("A", &of_a), row("C", &[(begins, 16.0, "C", "A")])]);
        let correlation = |at: usize| kept[at].manifest.together.correlation.clone();
        assert!(correlation(0).is_some());
        assert_eq!(correlation(0), correlation(1));
        // C's recording goes on all the time: for C nothing changes.
        let heard = [
            (RecordingStarts, language, 1.33),
            (RecordingPaused, language, 8.0),
            (RecordingResumed, language, 12.0),
        ];
        told.assert_told(&[("A1", &heard), ("C1", &heard[..1])]);
    });
}

/// The first that is recorded says it in its language; a stop is said when nothing of the call is recorded.
#[test]
fn with_two_recorded_users_one_language_is_heard_and_the_stop_only_where_it_is_true() {
    for (n, mode) in ["always", "never"].into_iter().enumerate() {
        let a = lines("on-demand-user-start", "en", "announce = \"on\"");
        let c = lines(mode, "nl", "announce = \"on\"");
        let name = format!("a newcomer recorded {mode}");
        let both = [("A", a), ("C", c)];
        let mut told = Told::new(9_140 + n as u64, Voices::Names, name, &both);
        told.office.call("B1", "A");
        told.record(2.0, "A1", "on");
        told.office.until(6.0);
        told.office.refer("B1", "C", None);
        told.record(12.0, "A1", "off");
        told.office.until(17.0);
        let takes = seconds(RecordingStarts, "en");
        let joins = 6.315 + takes;
        let of_a: [Stretch; 3] = [
            (2.0 + takes, 6.315, "A", "B"),
            (6.315, joins, "A", ""),
            (joins, 12.0, "A", "C"),
        ];
        let mut rows = vec![row("A", &of_a)];
        let start = |at| (RecordingStarts, "en", at);
        let mut heard = [vec![start(2.0)], vec![start(6.315)]];
        match mode {
            "always" => rows.push(row("C", &[(joins, 17.0, "C", "A")])),
            _ => heard
                .iter_mut()
                .for_each(|heard| heard.push((RecordingStops, "en", 12.0))),
        }
        told.compare(&rows);
        let [of_a, of_c] = &heard;
        told.assert_told(&[("A1", of_a), ("B1", &[start(2.0)]), ("C1", of_c)]);
    }
}

#[test]
fn beep_and_tone_are_heard_by_both_and_after_a_transfer_by_those_who_are_there() {
    for (n, transferred) in [false, true].into_iter().enumerate() {
        let rest = "notice = \"beep\"\nrepeat_tone = \"10s\"";
        let a = lines("always-pause-resume", "en", rest);
        let name = format!("beep and tone, transferred: {transferred}");
        let seed = 9_120 + n as u64;
        let mut told = Told::new(seed, Voices::Silence, name, &[("A", a)]);
        told.office.call("B1", "A");
        let mut other = "B1";
        if transferred {
            told.office.until(14.0);
            told.office.refer("B1", "C", None);
            other = "C1";
        }
        told.record(34.0, "A1", "pause");
        told.record(50.0, "A1", "resume");
        told.office.until(65.0);
        told.compare(&[row("A", &[(1.33, 65.0, "A+", "B+")])]);
        let due = [11.33, 21.33, 31.33, 60.0];
        let beeps = [34.0, 50.0];
        let told_to = [("A1", &beeps[..]), (other, &beeps)];
        told.office.assert_tones(&told.name, BEEP_HZ, &told_to);
        let to: Vec<(&str, &[f64])> = match transferred {
            false => vec![("A1", &due), ("B1", &due)],
            true => vec![("A1", &due), ("B1", &due[..1]), ("C1", &due[1..])],
        };
        told.office.assert_tones(&told.name, REPEAT_HZ, &to);
        told.assert_told(&[]);
    }
}

/// What a manifest says of what was spoken: of whom, what, in which language, whose it was or how it ended,
/// and when, in seconds from the first sample.
fn said_in(kept: &Kept) -> Vec<(String, f64)> {
    let lines = kept.manifest.facts.iter().filter_map(|line| {
        let words = match &line.fact {
            Fact::AnnouncementStarted {
                side,
                prompt,
                language,
                whose,
            } => {
                let [language, whose] = [language, whose].map(|word| word.as_deref());
                let [language, whose] = [language, whose].map(|word| word.unwrap_or("?"));
                format!("{side:?} {prompt} {language} {whose}")
            }
            Fact::AnnouncementEnded {
                side,
                prompt,
                completion,
            } => format!("{side:?} {prompt} {completion:?}"),
            _ => return None,
        };
        Some((words, line.position as f64 / 8_000.0))
    });
    lines.collect()
}

#[track_caller]
fn assert_said(kept: &Kept, wanted: &[(&str, f64)]) {
    let said = said_in(kept);
    let words: Vec<&str> = said.iter().map(|(words, _)| words.as_str()).collect();
    let expected: Vec<&str> = wanted.iter().map(|(words, _)| *words).collect();
    assert_eq!(words, expected, "{said:?}");
    for ((words, at), (_, due)) in said.iter().zip(wanted) {
        assert!((at - due).abs() < 0.1, "{words} at {at}, due at {due}");
    }
}

#[test]
fn what_was_said_stands_in_the_manifest_with_its_place_and_its_end() {
    let rest = "announce = \"on\"\nnotice = \"announcement\"";
    let a = lines("on-demand-user-start", "nl", rest);
    let name = "in the manifest".to_owned();
    let mut told = Told::new(9_150, Voices::Names, name, &[("A", a)]);
    told.office.call("B1", "A");
    told.record(3.0, "A1", "on");
    let begins = 3.02 + seconds(RecordingStarts, "nl");
    told.record(9.0, "A1", "pause");
    told.record(9.5, "A1", "resume");
    told.record(14.0, "A1", "off");
    told.record(18.0, "A1", "on");
    told.office.until(18.5);
    told.office.act("A1", Action::HangUp);
    told.office.until(20.0);
    told.office.close();
    let kept = told.office.recordings();
    assert_eq!(kept.len(), 2);
    let [pause, resume, off] = [9.0, 9.5, 14.0].map(|at| at - begins);
    let over = resume + seconds(RecordingResumed, "nl");
    assert_said(
        &kept[0],
        &[
            ("Other recording-started nl shipped", 0.0),
            ("Owner recording-started nl shipped", 0.0),
            ("Owner recording-started Whole", 0.0),
            ("Other recording-started Whole", 0.0),
            ("Other recording-paused nl shipped", pause),
            ("Owner recording-paused nl shipped", pause),
            ("Other recording-paused Cut", resume),
            ("Owner recording-paused Cut", resume),
            ("Other recording-resumed nl shipped", resume),
            ("Owner recording-resumed nl shipped", resume),
            ("Other recording-resumed Whole", over),
            ("Owner recording-resumed Whole", over),
            // The row ends with the stop: nothing says whether that was heard to its end.
            ("Other recording-stopped nl shipped", off),
            ("Owner recording-stopped nl shipped", off),
        ],
    );
    assert_said(
        &kept[1],
        &[
            ("Other recording-started nl shipped", 0.0),
            ("Owner recording-started nl shipped", 0.0),
            ("Other recording-started Cut", 0.0),
            ("Owner recording-started Cut", 0.0),
        ],
    );
}

/// Who holds, how, and who hears nothing meanwhile.
const HOLDS: [(&str, HoldStyle, [bool; 2]); 4] = [
    ("A1", HoldStyle::Inactive, [false, false]),
    ("A1", HoldStyle::SendOnly, [false, true]),
    ("B1", HoldStyle::SendOnly, [true, false]),
    ("B1", HoldStyle::Unspecified, [true, false]),
];

fn hold(told: &mut Told, phone: &str, style: HoldStyle) {
    let by = By::ReInvite;
    let change = Change::Hold(style);
    told.office.act(phone, Action::Alter { change, by });
}

#[test]
fn who_does_not_listen_is_told_whole_at_the_retrieve_and_recorded_after_it() {
    for (n, (holder, style, hear)) in HOLDS.into_iter().enumerate() {
        let a = lines("on-demand-user-start", "en", "announce = \"on\"");
        let name = format!("{holder} holds: {style:?}");
        let mut told = Told::new(9_160 + n as u64, Voices::Names, name, &[("A", a)]);
        told.office.call("B1", "A");
        told.office.until(3.0);
        hold(&mut told, holder, style);
        told.record(5.0, "A1", "on");
        told.office.until(12.0);
        told.office.act(holder, Action::Retrieve);
        told.office.until(20.0);
        let begins = 12.03 + seconds(RecordingStarts, "en");
        told.compare(&[row("A", &[(begins, 20.0, "A", "B")])]);
        let heard = hear.map(|hears| [(RecordingStarts, "en", if hears { 5.0 } else { 12.01 })]);
        told.assert_told(&[("A1", &heard[0][..]), ("B1", &heard[1][..])]);
    }
}

#[test]
fn who_holds_for_long_is_left_out_until_they_were_told() {
    let a = lines("on-demand-user-start", "en", "announce = \"on\"");
    let name = "a long hold".to_owned();
    let mut told = Told::new(9_170, Voices::Names, name, &[("A", a)]);
    told.office.call("B1", "A");
    told.office.until(3.0);
    hold(&mut told, "B1", HoldStyle::Music);
    told.record(5.0, "A1", "on");
    told.office.until(80.0);
    for (phone, name) in [("A1", "A"), ("B1", "B")] {
        told.office.say(phone, name);
    }
    told.office.act("B1", Action::Retrieve);
    told.office.until(90.0);
    let takes = seconds(RecordingStarts, "en");
    let parts: [Stretch; 3] = [
        (70.02, 80.02, "", ""),
        (80.02, 80.02 + takes, "A", ""),
        (80.02 + takes, 90.0, "A", "B"),
    ];
    let kept = told.compare(&[row("A", &parts)]);
    assert_said(
        &kept[0],
        &[
            ("Other recording-started en shipped", 0.0),
            ("Owner recording-started en shipped", 0.0),
            ("Owner recording-started Whole", 0.0),
            ("Other recording-started en shipped", 10.0),
            ("Other recording-started Whole", 10.0 + takes),
        ],
    );
    let owner = [(RecordingStarts, "en", 5.0)];
    let other = [(RecordingStarts, "en", 80.01)];
    told.assert_told(&[("A1", &owner[..]), ("B1", &other[..])]);
}
