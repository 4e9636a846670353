//! Feature codes and tones as an operator writes them in place of the usual ones, in a call (issue 5,
//! acceptance 2 and 6).

use duolog::phone::Action;
use duolog_archive::wire::Fact;
use duolog_tests::world::office::{Differently, Office};
use duolog_tests::world::sound::tone_runs;
use duolog_tests::world::told::{BEEP_HZ, NOTHING_DBFS, REPEAT_HZ, events_of, loudest};

/// Frequency in Hz, length in ms and level in dBFS of the beep, and of the repeat tone.
const BEEP: (f64, usize, f64) = (600.0, 400, -10.0);
const TONE: (f64, usize, f64) = (2_000.0, 300, -14.0);

const HEAD: &str = "[codes]\nstart = \"#44\"\nstop = \"#45\"\npause = \"#48\"\nresume = \"*1\"\n\
    [announcements]\nbeep = { frequency = 600, length = \"400ms\", level = -10 }\n\
    repeat_tone = { frequency = 2000, length = \"300ms\", level = -14 }\n";

const A: &str = "mode = \"always-pause-resume\"\nannounce = \"off\"\nnotice = \"beep\"\n\
    repeat_tone = \"10s\"\ndtmf = \"mask\"\n";

fn press(office: &mut Office, at: f64, digits: &str) {
    office.until(at);
    let digits = digits.to_owned();
    office.act("A1", Action::Press { digits });
}

/// From one key to the next, and how long one is held.
fn let_go(at: f64, keys: &str) -> f64 {
    at + 0.16 * (keys.len() - 1) as f64 + 0.1
}

/// A tone is heard at these times and at no others, as long and as loud as it is configured.
fn assert_tone(
    office: &Office,
    phone: &str,
    (hz, length_ms, level): (f64, usize, f64),
    due: &[f64],
) {
    let heard = office.ear(phone);
    let runs = tone_runs(&heard.samples, hz, level - 6.0);
    assert_eq!(runs.len(), due.len(), "{phone} at {hz} Hz: {runs:?}");
    for (run, due) in runs.iter().zip(due) {
        let late = office.left_at(&heard, run.from) - due;
        assert!((-0.02..=0.06).contains(&late), "{phone} at {hz} Hz: {late}");
        let length = run.length.abs_diff(length_ms * 8);
        assert!(length < 200, "{phone} at {hz} Hz: {run:?}");
        assert!((run.peak_dbfs - level).abs() < 1.0, "{phone}: {run:?}");
    }
}

#[test]
fn codes_and_tones_are_those_that_are_configured() {
    let others = ["C", "E", "F"].map(|user| (user, "mode = \"never\"\n".to_owned()));
    let mut office = Office::new(&Differently {
        head: HEAD.to_owned(),
        recorded: [("A", A.to_owned())].into_iter().chain(others).collect(),
        ..Differently::nothing(9_700)
    });
    office.silence();
    office.until(1.0);
    office.call("B1", "A");
    // The usual codes are digits like any others.
    press(&mut office, 4.0, "*48");
    press(&mut office, 7.0, "*49");
    press(&mut office, 14.0, "#48");
    press(&mut office, 20.0, "*1");
    office.until(34.0);
    office.close();

    let kept = office.recordings();
    let [kept] = kept.as_slice() else {
        panic!("one recording")
    };
    let facts = kept.manifest.facts.iter().map(|line| &line.fact);
    let asked: Vec<&str> = facts
        .filter_map(|fact| match fact {
            Fact::RecordingPaused { .. } => Some("paused"),
            Fact::RecordingResumed { .. } => Some("resumed"),
            _ => None,
        })
        .collect();
    assert_eq!(asked, ["paused", "resumed"]);
    let passed: Vec<u8> = office.events("B1").iter().map(|(key, _)| *key).collect();
    assert_eq!(passed, events_of("*48*49"));

    let (paused, resumed) = (let_go(14.0, "#48"), let_go(20.0, "*1"));
    for phone in ["A1", "B1"] {
        assert_tone(&office, phone, BEEP, &[paused, resumed]);
        assert_tone(&office, phone, TONE, &[11.33, resumed + 10.0]);
        for usual in [BEEP_HZ, REPEAT_HZ] {
            assert!(office.tones(phone, usual).is_empty(), "{phone}: {usual} Hz");
        }
    }
    for channel in &kept.channels {
        for (hz, ..) in [BEEP, TONE] {
            let level = loudest(channel, hz);
            assert!(level < NOTHING_DBFS, "{hz} Hz in the recording: {level}");
        }
    }
}
