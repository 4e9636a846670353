//! Who has heard that the call is recorded, and what is known of all that was said: nobody is recorded who
//! was not told to the end.

use duolog_call::{
    Completion, Fact, LegId, MediaCommand, MediaEvent, Mode, Notice, OnFailure, PlayId, PromptName,
    RecordingId, RecordingSettings, Side, Sound, StartStop, UserIndex,
};
use duolog_sip::Method;

use crate::world::{ALICE, BOB, CAROL, DAVE, Ports, TRUNK, World, settings};

const CALLER: LegId = LegId(1);
const CALLEE: LegId = LegId(2);

/// A world in which alice is recorded, announced, and that in this way.
fn recorded(change: impl FnOnce(&mut RecordingSettings)) -> World {
    let mut told = settings();
    let recording = told.users[0].recording_mut();
    *recording = RecordingSettings {
        mode: Mode::OnDemandUserStart,
        announce: StartStop::BOTH,
        ..RecordingSettings::default()
    };
    change(recording);
    World::with(told, 5)
}

fn ask(w: &mut World, value: &str) {
    w.within(ALICE, Method::Info, &[("Record", value)]);
    w.run(20);
    assert_eq!(w.last_response(ALICE).status.code(), 200, "{value}");
}

/// What the media plane was told since then, without legs and bridges.
fn since(w: &World, from: usize) -> String {
    let mut later = World::new();
    later.media = w.media[from..].to_vec();
    later.commands()
}

/// The last prompt that was played to a leg.
fn last_play(w: &World, wanted: LegId) -> PlayId {
    let plays = w.media.iter().rev().find_map(|(_, command)| match command {
        MediaCommand::Play {
            leg,
            play,
            sound: Sound::Prompt { .. },
        } if *leg == wanted => Some(*play),
        _ => None,
    });
    plays.expect("a prompt")
}

/// The media plane has played to a leg what was last asked for.
fn plays(w: &mut World, leg: LegId, whole: Completion) {
    let play = last_play(w, leg);
    w.report(MediaEvent::Played { leg, play, whole });
}

/// What is known of what was said: the row, `>` for the start and `!` for the cut, and of whom.
fn said(w: &World) -> Vec<String> {
    let rows: Vec<RecordingId> = w.recordings.keys().copied().collect();
    let words = w.media.iter().filter_map(|(_, command)| {
        let MediaCommand::Note { recording, fact } = command else {
            return None;
        };
        let row = 1 + rows.iter().position(|row| row == recording)?;
        match fact {
            Fact::AnnouncementStarted {
                side,
                prompt,
                language,
                whose,
            } => {
                assert_eq!((language.as_str(), *whose), ("nl", UserIndex(0)));
                Some(format!("{row}>{prompt:?}:{side:?}"))
            }
            Fact::AnnouncementEnded {
                side,
                prompt,
                completion,
            } => {
                let end = match completion {
                    Completion::Whole => '.',
                    Completion::Cut => '!',
                };
                Some(format!("{row}{end}{prompt:?}:{side:?}"))
            }
            _ => None,
        }
    });
    words.collect()
}

#[track_caller]
fn assert_said(w: &World, wanted: &[&str]) {
    assert_eq!(said(w), wanted);
}

#[test]
fn who_heard_the_beginning_of_it_was_not_told() {
    let mut w = recorded(|_| {});
    w.call(BOB, ALICE);
    ask(&mut w, "on");
    w.run_s(4);
    w.refer(BOB, "1004", &[]);
    w.respond(DAVE, 200);
    w.run(100);
    assert_eq!(w.times("play-c-RecordingStarts.nl").len(), 1);
    let from = w.media.len();
    ask(&mut w, "off");
    ask(&mut w, "on");
    w.run_s(3);
    let words = since(&w, from);
    let (before, after) = words.split_once("START").expect("it starts again");
    assert!(before.starts_with("stop-c"), "{words}");
    assert!(before.contains("play-c-RecordingStarts.nl"), "{words}");
    assert!(!before.contains("TURN-c"), "{words}");
    assert_eq!(after, "", "{words}");
    let told = w.times("play-c-RecordingStarts.nl")[1];
    assert_eq!(w.times("START")[1], told + 2000);
    let cut = format!("1!{:?}:{:?}", PromptName::RecordingStarts, Side::Caller);
    assert!(said(&w).contains(&cut), "{:?}", said(&w));
    w.bye(DAVE);
    w.settle();
}

#[test]
fn capture_waits_for_who_does_not_listen_and_begins_without_them_after_a_while() {
    let mut w = recorded(|r| r.notice = Notice::Announcement);
    w.call(BOB, ALICE);
    w.ports = Ports::Mute;
    ask(&mut w, "on");
    plays(&mut w, CALLEE, Completion::Whole);
    let from = w.media.len();
    w.run_s(64);
    assert_eq!(since(&w, from), "", "bob holds");
    w.run_s(1);
    assert_eq!(since(&w, from), "TURN START", "of alice alone");
    // What else is said is said to who has been told; nothing takes the place of that.
    let from = w.media.len();
    ask(&mut w, "pause");
    ask(&mut w, "resume");
    assert_eq!(
        since(&w, from),
        "PAUSE play-b-RecordingPaused.nl RESUME stop-b play-b-RecordingResumed.nl"
    );
    plays(&mut w, CALLEE, Completion::Whole);
    w.run_s(100);
    let from = w.media.len();
    let (leg, play) = (CALLER, last_play(&w, CALLER));
    w.report(MediaEvent::Begun { leg, play });
    assert_eq!(since(&w, from), "");
    w.run_s(2);
    plays(&mut w, CALLER, Completion::Whole);
    assert_eq!(since(&w, from), "TURN-a", "now bob too");
    let facts = said(&w);
    let of_bob: Vec<_> = facts
        .iter()
        .filter(|fact| fact.ends_with("Caller"))
        .collect();
    assert_eq!(
        of_bob,
        [
            "1>RecordingStarts:Caller",
            "1>RecordingStarts:Caller",
            "1.RecordingStarts:Caller"
        ]
    );
    // Told is told.
    w.ports = Ports::Given;
    ask(&mut w, "pause");
    assert!(
        w.commands()
            .ends_with("play-a-RecordingPaused.nl play-b-RecordingPaused.nl")
    );
    w.run_s(3);
    w.bye(BOB);
    w.settle();
}

#[test]
fn whoever_is_not_told_is_left_out_and_told_with_the_next_recording() {
    let mut w = recorded(|_| {});
    w.call(BOB, ALICE);
    w.ports = Ports::Mute;
    ask(&mut w, "on");
    plays(&mut w, CALLEE, Completion::Whole);
    let from = w.media.len();
    // Nothing can be said in a codec of bob's.
    plays(&mut w, CALLER, Completion::Cut);
    assert_eq!(since(&w, from), "TURN START");
    w.ports = Ports::Given;
    ask(&mut w, "off");
    w.run_s(3);
    let from = w.media.len();
    ask(&mut w, "on");
    w.run_s(3);
    assert_eq!(
        since(&w, from),
        "RECORD-b play-a-RecordingStarts.nl play-b-RecordingStarts.nl START"
    );
    w.bye(BOB);
    w.settle();
}

/// While one party still waits to be told, nothing else that begins takes them for told.
#[test]
fn a_second_recording_does_not_begin_with_who_still_waits() {
    let mut told = settings();
    for user in [0, 2] {
        let recording = told.users[user].recording_mut();
        *recording = RecordingSettings {
            mode: Mode::OnDemandUserStart,
            announce: StartStop::BOTH,
            ..RecordingSettings::default()
        };
    }
    let mut w = World::with(told, 5);
    w.call(CAROL, ALICE);
    w.ports = Ports::Mute;
    ask(&mut w, "on");
    plays(&mut w, CALLEE, Completion::Whole);
    w.run_s(70);
    let from = w.media.len();
    // Carol, who still waits, begins her own: alice was told; carol's own half goes on without her being.
    w.within(CAROL, Method::Info, &[("Record", "on")]);
    w.run(20);
    assert_eq!(since(&w, from), "START");
    plays(&mut w, CALLER, Completion::Whole);
    assert_eq!(since(&w, from), "START TURN-a");
    w.bye(CAROL);
    w.settle();
}

#[test]
fn what_is_cut_by_the_end_is_a_fact_before_it() {
    for quick in ["bye", "off"] {
        let mut w = recorded(|_| {});
        w.call(TRUNK, ALICE);
        ask(&mut w, "on");
        w.run(300);
        match quick {
            "bye" => w.bye(TRUNK),
            _ => ask(&mut w, "off"),
        }
        w.run_s(3);
        assert_said(
            &w,
            &[
                "1>RecordingStarts:Caller",
                "1>RecordingStarts:Callee",
                "1!RecordingStarts:Caller",
                "1!RecordingStarts:Callee",
            ],
        );
        if quick == "off" {
            w.bye(TRUNK);
        }
        w.settle();
    }
}

#[test]
fn the_stop_is_said_before_the_row_ends_and_a_start_that_cuts_it_is_known_in_the_next() {
    let mut w = recorded(|r| r.announce.pstn = duolog_call::Announce::On);
    w.call(TRUNK, ALICE);
    ask(&mut w, "on");
    w.run_s(3);
    let before = said(&w).len();
    ask(&mut w, "off");
    w.run(200);
    ask(&mut w, "on");
    let facts = said(&w);
    assert_eq!(
        facts[before..],
        [
            "1>RecordingStops:Caller",
            "1>RecordingStops:Callee",
            "2!RecordingStops:Caller",
            "2!RecordingStops:Callee",
            "2>RecordingStarts:Caller",
            "2>RecordingStarts:Callee",
        ]
    );
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn what_is_said_of_a_failure_is_a_fact_of_what_failed() {
    for (on_failure, prompt) in [
        (OnFailure::GoOnAnnounced, PromptName::FailureContinues),
        (OnFailure::EndAnnounced, PromptName::FailureEnds),
    ] {
        let mut w = recorded(|r| {
            r.mode = Mode::Always;
            r.on_failure = on_failure;
        });
        w.call(TRUNK, ALICE);
        w.run_s(4);
        let before = said(&w).len();
        let recording = *w.recordings.keys().next().unwrap();
        let reason = "no room".to_owned();
        w.report(MediaEvent::RecordingTrouble { recording, reason });
        let starts = [Side::Caller, Side::Callee].map(|side| format!("1>{prompt:?}:{side:?}"));
        assert_eq!(said(&w)[before..], starts);
        assert!(w.commands().ends_with("CLOSE-Failed"), "{}", w.commands());
        w.run_s(4);
        if on_failure == OnFailure::GoOnAnnounced {
            w.bye(TRUNK);
        }
        w.settle();
    }
}
