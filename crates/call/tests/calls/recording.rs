//! What is recorded, who hears what and when.

use duolog_call::{
    Digit, End, Fact, LegId, Means, MediaCommand, MediaEvent, Mode, Notice, PromptName,
    RecordingId, RepeatInterval, Settings, Side, Sound, StartStop,
};
use duolog_sip::Method;

use crate::world::{ALICE, BOB, CAROL, TRUNK, World, settings};

fn with(change: impl FnOnce(&mut Settings)) -> World {
    let mut settings = settings();
    change(&mut settings);
    World::with(settings, 2)
}

fn ask(w: &mut World, value: &str) {
    w.within(ALICE, Method::Info, &[("Record", value)]);
    w.run(10);
}

fn press(w: &mut World, leg: LegId, keys: &str) {
    for key in keys.chars() {
        let event = "0123456789*#ABCD".find(key).unwrap() as u8;
        w.report(MediaEvent::Digit {
            leg,
            digit: Digit {
                event,
                duration_ms: 100,
            },
        });
        w.run(200);
    }
}

#[test]
fn the_owner_is_left_on_either_side() {
    for (from, to, word, side) in [
        (TRUNK, ALICE, "RECORD-b", Side::Callee),
        (ALICE, TRUNK, "RECORD-a", Side::Caller),
    ] {
        let mut w = World::new();
        w.call(from, to);
        assert_eq!(w.times(word).len(), 1);
        let opening = w.media.iter().find_map(|(_, c)| match c {
            MediaCommand::OpenRecording {
                opening,
                owner,
                other,
                ..
            } => {
                assert_ne!(owner, other);
                Some(opening.clone())
            }
            _ => None,
        });
        assert_eq!(opening.unwrap().owner_side, side);
        w.bye(from);
        w.settle();
    }
}

#[test]
fn each_owner_s_calls_are_announced_in_the_owner_s_language() {
    for (owner, expected) in [(ALICE, "nl"), (CAROL, "en")] {
        let mut told = settings();
        for user in &mut told.users {
            user.recording_mut().announce = StartStop::BOTH;
        }
        let mut w = World::with(told, 3);
        w.call(TRUNK, owner);
        let spoken = w.media.iter().filter_map(|(_, c)| match c {
            MediaCommand::Play {
                sound: Sound::Prompt { language, .. },
                ..
            } => Some(language.as_str()),
            _ => None,
        });
        assert_eq!(spoken.collect::<Vec<_>>(), [expected; 2], "both parties");
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn two_recorded_users_have_a_recording_each() {
    for (from, to) in [(ALICE, CAROL), (CAROL, ALICE)] {
        let mut w = World::new();
        w.call(from, to);
        assert_eq!(w.recordings.len(), 2);
        assert_eq!(
            (w.times("RECORD-b").len(), w.times("RECORD-a").len()),
            (1, 1)
        );
        let ids: Vec<RecordingId> = w.recordings.keys().copied().collect();
        for recording in ids {
            assert!(w.facts().contains(&Fact::OtherRecording { recording }));
        }
        // Carol's needs no announcement; alice's starts when both have heard it, once each.
        assert_eq!(w.times("START").len(), 1);
        w.run_s(3);
        assert_eq!(w.times("START").len(), 2);
        let spoken = |w: &World| {
            let all = w
                .media
                .iter()
                .filter(|(_, c)| matches!(c, MediaCommand::Play { .. }));
            all.count()
        };
        assert_eq!(spoken(&w), 2);
        // Each controls their own; carol may not pause at all.
        w.within(ALICE, Method::Info, &[("Record", "pause")]);
        w.run(100);
        assert_eq!(w.times("PAUSE").len(), 1);
        w.within(CAROL, Method::Info, &[("Record", "pause")]);
        w.run(100);
        assert_eq!(w.last_response(CAROL).status.code(), 403);
        assert_eq!(w.times("PAUSE").len(), 1);
        w.bye(from);
        w.settle();
        let ends: Vec<End> = w.endings().into_iter().map(|(end, _)| end).collect();
        assert_eq!(ends, [End::Finished; 2]);
    }
}

#[test]
fn one_repeat_tone_is_enough_for_two_recordings() {
    let mut told = settings();
    told.users[2].recording_mut().repeat_tone = Some(RepeatInterval::new(15).unwrap());
    let mut w = World::with(told, 1);
    w.call(ALICE, CAROL);
    w.run_s(61);
    // Carol was called: her interval counts.
    let tones = w.times("play-a-tone").len();
    assert_eq!(tones, 4);
    w.bye(ALICE);
    w.settle();
}

#[test]
fn hanging_up_during_the_announcement_records_nothing() {
    let mut w = World::new();
    w.call(TRUNK, ALICE);
    w.run(500);
    w.bye(ALICE);
    w.run_s(5);
    assert!(w.times("START").is_empty());
    assert_eq!(
        w.endings(),
        [(End::NotStarted, "the callee hung up".to_owned())]
    );
    w.settle();
}

#[test]
fn pause_and_resume_with_each_notice() {
    for notice in [Notice::None, Notice::Beep, Notice::Announcement] {
        let mut w = with(|s| s.users[0].recording_mut().notice = notice);
        w.call(TRUNK, ALICE);
        w.run_s(5);
        let from = w.media.len();
        ask(&mut w, "pause");
        w.run_s(5);
        ask(&mut w, "resume");
        w.run_s(3);
        w.media.drain(..from);
        let expected = match notice {
            Notice::None => "PAUSE RESUME".to_owned(),
            Notice::Beep => {
                "PAUSE play-a-beep play-b-beep RESUME play-a-beep play-b-beep".to_owned()
            }
            Notice::Announcement => [
                "PAUSE play-a-RecordingPaused.nl play-b-RecordingPaused.nl",
                "RESUME play-a-RecordingResumed.nl play-b-RecordingResumed.nl",
            ]
            .join(" "),
        };
        assert_eq!(w.commands(), expected);
        let facts = w.facts();
        assert_eq!(
            facts[0],
            Fact::Paused { by: Means::Info },
            "before anybody is told"
        );
        assert!(facts.contains(&Fact::Resumed { by: Means::Info }));
        if notice == Notice::Announcement {
            let ended = |fact: &&Fact| {
                matches!(
                    fact,
                    Fact::AnnouncementEnded {
                        prompt: PromptName::RecordingPaused,
                        ..
                    }
                )
            };
            assert_eq!(facts.iter().filter(ended).count(), 2);
        }
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_quick_resume_cuts_the_notice_of_the_pause() {
    let mut w = with(|s| s.users[0].recording_mut().notice = Notice::Announcement);
    w.call(TRUNK, ALICE);
    w.run_s(5);
    let from = w.media.len();
    ask(&mut w, "pause");
    w.run(300);
    ask(&mut w, "resume");
    w.media.drain(..from);
    assert_eq!(
        w.commands(),
        "PAUSE play-a-RecordingPaused.nl play-b-RecordingPaused.nl RESUME stop-a stop-b \
         play-a-RecordingResumed.nl play-b-RecordingResumed.nl"
    );
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_pause_during_the_announcement_takes_effect_at_the_start() {
    let mut w = World::new();
    w.call(TRUNK, ALICE);
    ask(&mut w, "pause");
    w.run_s(5);
    assert_eq!(w.times("START"), w.times("PAUSE"));
    assert!(w.facts().contains(&Fact::Paused { by: Means::Info }));
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn codes_are_swallowed_and_other_digits_released() {
    let mut w = World::new();
    w.call(TRUNK, ALICE);
    w.run_s(5);
    let owner = LegId(2);
    let from = w.media.len();
    press(&mut w, owner, "*48");
    assert_eq!(w.times("PAUSE").len(), 1);
    press(&mut w, owner, "12*49#");
    press(&mut w, owner, "*4");
    w.run_s(4);
    w.media.drain(..from);
    let words: Vec<String> = w
        .commands()
        .split(' ')
        .filter(|word| !word.starts_with("play"))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        words,
        [
            "PAUSE",
            "digits-a-1",
            "digits-a-2",
            "RESUME",
            "digits-a-#",
            "digits-a-*4"
        ]
    );
    assert!(w.facts().contains(&Fact::Paused {
        by: Means::FeatureCode
    }));
    assert!(w.facts().contains(&Fact::Resumed {
        by: Means::FeatureCode
    }));
    // Digits of the other party are none of ours.
    let before = w.media.len();
    press(&mut w, LegId(1), "*48");
    assert_eq!(w.media.len(), before);
    // Nothing that can be printed shows a digit.
    for (_, command) in &w.media {
        if let MediaCommand::SendDigits { digits, .. } = command {
            assert!(!format!("{digits:?}").contains("event"), "{digits:?}");
        }
    }
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn digits_of_every_recorded_owner_are_taken() {
    for (to, taken) in [(ALICE, 1), (CAROL, 1), (BOB, 0)] {
        let mut w = World::new();
        w.call(TRUNK, to);
        assert_eq!(w.times("take-b").len(), taken);
        w.bye(TRUNK);
        w.settle();
    }
    // A code that the mode forbids is swallowed all the same, and changes nothing.
    let mut w = with(|s| s.users[0].recording_mut().mode = Mode::Always);
    w.call(ALICE, TRUNK);
    assert_eq!(w.times("take-a").len(), 1);
    w.run_s(5);
    let from = w.media.len();
    press(&mut w, LegId(1), "*48");
    w.media.drain(..from);
    assert_eq!(w.commands(), "");
    assert!(matches!(
        w.facts()[..],
        [Fact::ControlRefused {
            side: Side::Caller,
            by: Means::FeatureCode,
            ..
        }]
    ));
    w.bye(ALICE);
    w.settle();
}

#[test]
fn the_repeat_tone_keeps_its_grid_for_five_minutes() {
    for seconds in [10, 20, 90] {
        let interval = RepeatInterval::new(seconds).unwrap();
        let mut w = with(|s| s.users[0].recording_mut().repeat_tone = Some(interval));
        w.call(TRUNK, ALICE);
        w.run_s(300);
        let start = w.times("START")[0];
        let step = u64::from(seconds) * 1000;
        let expected: Vec<u64> = (1..)
            .map(|n| start + n * step)
            .take_while(|at| *at <= w.ms())
            .collect();
        assert_eq!(w.times("play-a-tone"), expected);
        assert_eq!(w.times("play-b-tone"), expected);
        let tones = w
            .facts()
            .iter()
            .filter(|fact| **fact == Fact::TonePlayed)
            .count();
        assert_eq!(tones, expected.len());
        w.bye(TRUNK);
        w.settle();
    }
    assert!(RepeatInterval::new(9).is_err() && RepeatInterval::new(91).is_err());
}

#[test]
fn the_repeat_tone_is_silent_while_paused() {
    let mut w = World::new();
    w.call(TRUNK, ALICE);
    w.run_s(50);
    let start = w.times("START")[0];
    ask(&mut w, "pause");
    w.run_s(70);
    assert_eq!(w.times("play-a-tone"), [start + 20_000, start + 40_000]);
    ask(&mut w, "resume");
    w.run_s(45);
    let resumed = w.times("RESUME")[0];
    let tones = w.times("play-a-tone");
    assert_eq!(tones[2..], [resumed + 20_000, resumed + 40_000]);
    w.bye(TRUNK);
    w.run_s(60);
    assert_eq!(w.times("play-a-tone").len(), 4, "none after the end");
    w.settle();
}

#[test]
fn a_pause_cuts_a_tone_that_sounds() {
    let mut w = with(|s| s.users[0].recording_mut().notice = Notice::None);
    w.call(TRUNK, ALICE);
    while w.times("play-a-tone").is_empty() {
        w.run(50);
    }
    ask(&mut w, "pause");
    assert!(
        w.commands().ends_with("PAUSE stop-a stop-b"),
        "{}",
        w.commands()
    );
    w.bye(TRUNK);
    w.settle();
}
