//! A call that is to be recorded and cannot be, from its beginning or from the middle of it.

use duolog_call::{
    Control, DoNotRecord, DoNotRecordReason, End, Fact, Gate, HungUpBy, Input, LogEvent,
    MediaEvent, Mode, OnFailure, RecordingSettings, StartStop,
};
use duolog_sip::Method;

use crate::world::{ALICE, BOB, CAROL, TRUNK, World, settings};

fn closed() -> Input {
    Input::Gate(Gate::Closed {
        reason: "the disk is full".to_owned(),
        retry_after_s: 60,
    })
}

/// Alice and carol with a mode and a policy each.
fn with(alice: (Mode, OnFailure), carol: (Mode, OnFailure)) -> World {
    let mut told = settings();
    for (at, (mode, on_failure)) in [(0, alice), (2, carol)] {
        *told.users[at].recording_mut() = RecordingSettings {
            mode,
            on_failure,
            announce: StartStop::BOTH,
            ..RecordingSettings::default()
        };
    }
    World::with(told, 4)
}

fn one(mode: Mode, on_failure: OnFailure) -> World {
    with((mode, on_failure), (Mode::Never, OnFailure::Refuse))
}

/// What was said, without who heard it twice.
fn said(w: &World) -> String {
    let words = w.commands();
    let said = words.split(' ').filter(|word| word.starts_with("play"));
    said.map(|word| word.trim_start_matches("play-").trim_end_matches(".nl"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn failed(w: &World) -> Vec<OnFailure> {
    let facts = w.facts().into_iter();
    facts
        .filter_map(|fact| match fact {
            Fact::Failed { then } => Some(then),
            _ => None,
        })
        .collect()
}

fn ended_by(w: &World) -> Option<HungUpBy> {
    w.logs.iter().find_map(|log| match log.event {
        LogEvent::Ended { by } => Some(by),
        _ => None,
    })
}

#[test]
fn at_the_start_each_policy_does_what_it_says() {
    use OnFailure::{EndAnnounced, GoOn, GoOnAnnounced};
    for (then, words, lasts) in [
        (GoOn, "", true),
        (GoOnAnnounced, "a-FailureContinues b-FailureContinues", true),
        (EndAnnounced, "a-FailureEnds b-FailureEnds", false),
    ] {
        let mut w = one(Mode::AlwaysPauseResume, then);
        w.node(closed());
        w.call(TRUNK, ALICE);
        assert_eq!(w.heard(TRUNK), "100 180 200");
        assert_eq!(failed(&w), [then]);
        assert!(w.logs.iter().any(|log| matches!(
            log.event,
            LogEvent::RecordingFailed { then: logged, .. } if logged == then
        )));
        w.within(ALICE, Method::Info, &[("Record", "pause")]);
        w.run(50);
        assert_eq!(w.last_response(ALICE).status.code(), 403);
        w.run_s(3);
        assert_eq!(said(&w), words);
        assert!(w.times("START").is_empty());
        let facts = w.facts();
        assert!(
            facts.contains(&Fact::Connected),
            "the call's facts are kept"
        );
        assert_eq!(ended_by(&w).is_none(), lasts);
        if lasts {
            w.bye(TRUNK);
        } else {
            assert_eq!(ended_by(&w), Some(HungUpBy::NotRecorded));
            assert!(w.parties[TRUNK].dialog.is_none() && w.parties[ALICE].dialog.is_none());
        }
        w.settle();
        assert_eq!(w.endings(), [(End::Failed, "the disk is full".to_owned())]);
    }
}

#[test]
fn a_closed_gate_refuses_only_those_who_want_that() {
    use Mode::{Always, Never, OnDemand, OnDemandUserStart};
    for mode in [Always, OnDemand, OnDemandUserStart] {
        let mut w = one(mode, OnFailure::Refuse);
        w.node(closed());
        w.invite(TRUNK, "1001");
        w.run(100);
        assert_eq!(w.heard(TRUNK), "503");
        assert_eq!(w.endings()[0].0, End::Refused);
        assert_eq!(told_refused(&w), 1);
        w.settle();
    }
    // One of two owners is enough.
    let mut w = with((Always, OnFailure::GoOn), (Always, OnFailure::Refuse));
    w.node(closed());
    w.invite(ALICE, "1003");
    w.run(100);
    assert_eq!(w.heard(ALICE), "503");
    assert_eq!(told_refused(&w), 2, "a recording of each");
    w.settle();
    let mut w = one(Never, OnFailure::Refuse);
    w.node(closed());
    w.call(TRUNK, ALICE);
    assert_eq!(w.heard(TRUNK), "100 180 200");
    w.bye(TRUNK);
    w.settle();
    // Nothing of a call with a listed number would be kept.
    for (listed, taken) in [("9000", true), ("9001", false)] {
        let mut told = settings();
        told.users[0].recording_mut().do_not_record = vec![DoNotRecord {
            number: listed.to_owned(),
            reason: DoNotRecordReason::Personal,
        }];
        let mut w = World::with(told, 4);
        w.node(closed());
        w.invite(TRUNK, "1001");
        w.run(100);
        assert_eq!(w.heard(TRUNK).contains("503"), !taken);
        if taken {
            w.respond(ALICE, 200);
            w.run_s(3);
            assert_eq!(said(&w), "");
            w.bye(TRUNK);
        }
        w.settle();
    }
    // While the node drains, nobody is let in.
    for mode in [Never, Always] {
        let mut w = one(mode, OnFailure::Refuse);
        w.node(closed());
        w.node(Input::Drain);
        w.invite(TRUNK, "1001");
        w.run(100);
        assert_eq!(w.heard(TRUNK), "503");
        assert_eq!(told_refused(&w), 0, "that is no failure");
        w.settle();
    }
}

/// Of how many recordings the log says that a call was refused because they could not be.
fn told_refused(w: &World) -> usize {
    let refused = |event: &LogEvent| {
        matches!(
            event,
            LogEvent::RecordingFailed {
                then: OnFailure::Refuse,
                ..
            }
        )
    };
    w.logs.iter().filter(|log| refused(&log.event)).count()
}

#[test]
fn nobody_is_told_of_what_nobody_asked_for() {
    for mode in [Mode::OnDemand, Mode::OnDemandUserStart] {
        let mut w = one(mode, OnFailure::EndAnnounced);
        w.node(closed());
        w.call(TRUNK, ALICE);
        w.run_s(5);
        assert_eq!((said(&w).as_str(), failed(&w)), ("", vec![OnFailure::GoOn]));
        w.within(ALICE, Method::Info, &[("Record", "on")]);
        w.run(50);
        let response = w.last_response(ALICE);
        assert_eq!(response.status.code(), 403);
        let why = response.headers.value("Warning").unwrap();
        assert!(why.contains("the recorder can not record now"), "{why}");
        w.bye(TRUNK);
        w.settle();
        assert_eq!(w.endings(), [(End::Failed, "the disk is full".to_owned())]);
    }
}

/// Audio of both recordings is lost, that of the caller first.
fn lose_both(w: &mut World) {
    let ids: Vec<_> = w.recordings.keys().rev().copied().collect();
    for recording in ids {
        let reason = "the disk is gone".to_owned();
        w.report(MediaEvent::RecordingTrouble { recording, reason });
    }
}

#[test]
fn in_the_middle_each_policy_does_what_it_says() {
    use OnFailure::{EndAnnounced, GoOn, GoOnAnnounced, Refuse};
    for (policy, then, words, lasts) in [
        (Refuse, None, "", true),
        (GoOn, None, "", true),
        (
            GoOnAnnounced,
            Some(GoOnAnnounced),
            "a-FailureContinues b-FailureContinues",
            true,
        ),
        (
            EndAnnounced,
            Some(EndAnnounced),
            "a-FailureEnds b-FailureEnds",
            false,
        ),
    ] {
        let mut w = one(Mode::Always, policy);
        w.call(TRUNK, ALICE);
        w.run_s(20);
        let before = said(&w).len();
        lose_both(&mut w);
        lose_both(&mut w);
        w.run_s(3);
        assert_eq!(said(&w)[before..].trim(), words);
        assert_eq!(failed(&w), Vec::from_iter(then));
        let lost = (End::Failed, "the disk is gone".to_owned());
        assert_eq!(w.endings(), Vec::from_iter(then.map(|_| lost)));
        assert_eq!(ended_by(&w).is_none(), lasts);
        if lasts {
            w.bye(ALICE);
        }
        w.settle();
        let end = if then.is_some() {
            End::Failed
        } else {
            End::Finished
        };
        assert_eq!(w.endings()[0].0, end);
    }
}

#[test]
fn of_two_owners_the_stricter_one_decides() {
    use OnFailure::{EndAnnounced, GoOn, GoOnAnnounced};
    for (alice, carol, words) in [
        (GoOn, GoOn, ""),
        (GoOn, GoOnAnnounced, "a-FailureContinues b-FailureContinues"),
        (GoOnAnnounced, GoOn, "a-FailureContinues b-FailureContinues"),
        (GoOnAnnounced, EndAnnounced, "a-FailureEnds b-FailureEnds"),
        (EndAnnounced, GoOn, "a-FailureEnds b-FailureEnds"),
    ] {
        let always = |then| (Mode::Always, then);
        let mut w = with(always(alice), always(carol));
        w.node(closed());
        w.call(ALICE, CAROL);
        w.run_s(4);
        // Carol was called, but who is stricter speaks.
        let spoken = said(&w).replace(".en", "");
        assert_eq!(spoken, words, "{alice:?} {carol:?}");
        if w.parties[ALICE].dialog.is_some() {
            w.bye(ALICE);
        }
        w.settle();
        assert_eq!(w.endings().len(), 2);

        let mut w = with(always(alice), always(carol));
        w.call(ALICE, CAROL);
        w.run_s(4);
        let before = said(&w).len();
        lose_both(&mut w);
        w.run_s(4);
        let last = words.rsplit(' ').next().unwrap();
        assert!(said(&w)[before..].replace(".en", "").ends_with(last));
        let ends = [alice, carol].contains(&EndAnnounced);
        assert_eq!(ended_by(&w) == Some(HungUpBy::NotRecorded), ends);
        if !ends {
            w.bye(ALICE);
        }
        w.settle();
    }
}

#[test]
fn a_loss_before_the_end_of_the_announcement_cuts_it() {
    for (policy, words) in [
        (OnFailure::GoOn, ""),
        (
            OnFailure::GoOnAnnounced,
            "a-FailureContinues b-FailureContinues",
        ),
    ] {
        let mut w = one(Mode::Always, policy);
        w.call(TRUNK, ALICE);
        let before = said(&w).len();
        lose_both(&mut w);
        w.run_s(5);
        // Where nobody is told of a failure, the recording begins.
        let ends = policy == OnFailure::GoOnAnnounced;
        assert_eq!(w.commands().contains("stop-a stop-b"), ends);
        assert_eq!(said(&w)[before..].trim(), words);
        assert_eq!(w.times("START").is_empty(), ends);
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_loss_before_the_answer_is_told_at_the_answer() {
    let mut w = one(Mode::Always, OnFailure::EndAnnounced);
    w.invite(TRUNK, "1001");
    w.run(100);
    lose_both(&mut w);
    w.run(1000);
    assert_eq!(said(&w), "");
    w.respond(ALICE, 200);
    w.run(1900);
    assert_eq!(said(&w), "a-FailureEnds b-FailureEnds");
    assert_eq!(ended_by(&w), None);
    w.run(300);
    assert_eq!(ended_by(&w), Some(HungUpBy::NotRecorded));
    w.settle();
}

#[test]
fn a_party_that_leaves_does_not_keep_the_call_from_ending() {
    let mut w = one(Mode::Always, OnFailure::EndAnnounced);
    w.call(TRUNK, ALICE);
    w.run_s(5);
    lose_both(&mut w);
    w.run(500);
    w.bye(TRUNK);
    w.settle();
    assert_eq!(
        ended_by(&w),
        Some(HungUpBy::Party(duolog_call::Side::Caller))
    );
}

#[test]
fn the_second_recording_of_a_call_needs_the_recorder_too() {
    let mut w = one(Mode::OnDemandUserStart, OnFailure::GoOnAnnounced);
    w.call(BOB, ALICE);
    let info = |w: &mut World, value: &str| {
        w.within(ALICE, Method::Info, &[("Record", value)]);
        w.run_s(3);
        w.last_response(ALICE).status.code()
    };
    assert_eq!([info(&mut w, "on"), info(&mut w, "off")], [200, 200]);
    w.node(closed());
    assert_eq!(info(&mut w, "on"), 403);
    assert_eq!(w.recordings.len(), 1);
    w.node(Input::Gate(Gate::Open));
    assert_eq!(info(&mut w, "on"), 200);
    assert_eq!(w.recordings.len(), 2);
    let started = w.logs.iter().filter(
        |log| matches!(log.event, LogEvent::ControlRefused { control, .. } if control == Control::Start),
    );
    assert_eq!(started.count(), 1);
    w.bye(BOB);
    w.settle();
}

/// A call of alice to an emergency number.
fn emergency(mode: Mode, on_failure: OnFailure) -> World {
    let mut told = settings();
    told.numbering.emergency = vec!["112".to_owned()];
    *told.users[0].recording_mut() = RecordingSettings {
        mode,
        on_failure,
        ..RecordingSettings::default()
    };
    World::with(told, 4)
}

#[test]
fn an_emergency_call_is_neither_refused_nor_ended() {
    use OnFailure::{EndAnnounced, GoOn, GoOnAnnounced, Refuse};
    for policy in [Refuse, GoOn, GoOnAnnounced, EndAnnounced] {
        let mut w = emergency(Mode::Always, policy);
        w.node(closed());
        w.invite(ALICE, "112");
        w.run(100);
        w.respond(TRUNK, 200);
        w.run_s(10);
        let heard = w.heard(ALICE);
        assert!(heard.ends_with("200"), "{policy:?}: {heard}");
        assert_eq!((said(&w).as_str(), failed(&w)), ("", vec![GoOn]));
        assert_eq!(ended_by(&w), None);
        w.bye(ALICE);
        w.settle();
        assert_eq!(w.endings(), [(End::Failed, "the disk is full".to_owned())]);

        let mut w = emergency(Mode::Always, policy);
        w.invite(ALICE, "112");
        w.run(100);
        w.respond(TRUNK, 200);
        w.run_s(10);
        lose_both(&mut w);
        w.run_s(10);
        assert_eq!((said(&w).as_str(), failed(&w)), ("", vec![]));
        assert_eq!(ended_by(&w), None, "{policy:?}");
        w.bye(ALICE);
        w.settle();
        assert_eq!(w.endings()[0].0, End::Finished);
        // Another number is no emergency.
        let mut w = emergency(Mode::Always, policy);
        w.node(closed());
        w.invite(ALICE, "113");
        w.run(100);
        let heard = w.heard(ALICE);
        let refused = heard.ends_with("503");
        assert_eq!(refused, policy == Refuse, "{policy:?}: {heard}");
        if !refused {
            w.respond(TRUNK, 200);
            w.run_s(3);
            assert_eq!(said(&w).is_empty(), policy == GoOn, "{policy:?}");
            if policy != EndAnnounced {
                w.bye(ALICE);
            }
        }
        w.settle();
    }
}

#[test]
fn audio_that_is_lost_ends_the_recording_where_the_parties_are_told_so() {
    use OnFailure::{EndAnnounced, GoOn, GoOnAnnounced, Refuse};
    for (policy, words, closes) in [
        (Refuse, "", false),
        (GoOn, "", false),
        (GoOnAnnounced, "a-FailureContinues b-FailureContinues", true),
        (EndAnnounced, "a-FailureEnds b-FailureEnds", true),
    ] {
        let mut w = one(Mode::AlwaysPauseResume, policy);
        w.call(TRUNK, ALICE);
        w.run_s(20);
        let before = said(&w).len();
        for _ in 0..2 {
            let recording = *w.recordings.keys().next().expect("one recording");
            let reason = "no room".to_owned();
            w.report(MediaEvent::RecordingTrouble { recording, reason });
        }
        let wanted = if closes { vec![policy] } else { Vec::new() };
        assert_eq!(failed(&w), wanted, "{policy:?}");
        let trouble = |fact: &Fact| matches!(fact, Fact::Trouble { .. });
        let troubles = w.facts().into_iter().filter(trouble).count();
        assert_eq!(troubles, if closes { 1 } else { 2 }, "{policy:?}");
        w.run_s(3);
        assert_eq!(said(&w)[before..].trim(), words);
        assert_eq!(ended_by(&w).is_some(), policy == EndAnnounced);
        if policy != EndAnnounced {
            w.bye(ALICE);
        }
        w.settle();
        let ending = match closes {
            true => (End::Failed, "no room".to_owned()),
            false => (End::Finished, w.endings()[0].1.clone()),
        };
        assert_eq!(w.endings(), [ending], "{policy:?}");
    }
}

/// Audio of the one recording is lost, and the gate says that it goes on so.
fn lose_with_closed_gate(w: &mut World) {
    w.node(closed());
    lose_both(w);
}

fn press(w: &mut World) -> u16 {
    w.within(ALICE, Method::Info, &[("Record", "on")]);
    w.run(50);
    w.last_response(ALICE).status.code()
}

/// How many commands of a kind there were.
fn count(w: &World, word: &str) -> usize {
    w.commands().split(' ').filter(|one| *one == word).count()
}

#[test]
fn who_asks_for_what_is_being_lost_keeps_what_there_is_and_hears_of_the_loss() {
    use OnFailure::{EndAnnounced, GoOn, GoOnAnnounced, Refuse};
    for (policy, words, closes) in [
        (Refuse, "", false),
        (GoOn, "", false),
        (GoOnAnnounced, "a-FailureContinues b-FailureContinues", true),
        (EndAnnounced, "a-FailureEnds b-FailureEnds", true),
    ] {
        let mut w = one(Mode::OnDemand, policy);
        w.call(TRUNK, ALICE);
        w.run_s(10);
        let before = said(&w).len();
        lose_with_closed_gate(&mut w);
        w.run_s(50);
        let spoken = said(&w)[before..].to_owned();
        assert_eq!((spoken.as_str(), failed(&w)), ("", vec![]), "{policy:?}");
        assert_eq!(press(&mut w), 200);
        assert_eq!(count(&w, "KEEP"), 1, "{policy:?}");
        let then = if closes { vec![policy] } else { vec![] };
        assert_eq!(failed(&w), then);
        w.run_s(4);
        assert_eq!(said(&w)[before..].trim(), words, "{policy:?}");
        assert_eq!(ended_by(&w).is_some(), policy == EndAnnounced);
        if policy != EndAnnounced {
            w.bye(ALICE);
        }
        w.settle();
        let ending = match closes {
            true => (End::Failed, "the disk is gone".to_owned()),
            false => (End::Finished, w.endings()[0].1.clone()),
        };
        assert_eq!(w.endings(), [ending], "{policy:?}");
    }
}

#[test]
fn a_press_is_no_loss_where_nothing_is_lost_or_the_gate_has_opened_again() {
    for stands in ["low", "open again", "asked for", "emergency"] {
        let mut w = match stands {
            "emergency" => emergency(Mode::OnDemand, OnFailure::EndAnnounced),
            _ => one(Mode::OnDemand, OnFailure::EndAnnounced),
        };
        match stands {
            "emergency" => {
                w.invite(ALICE, "112");
                w.run(100);
                w.respond(TRUNK, 200);
            }
            _ => w.call(TRUNK, ALICE),
        }
        w.run_s(10);
        let before = said(&w).len();
        match stands {
            // Running calls are recorded to their end.
            "low" => w.node(closed()),
            "open again" => {
                lose_with_closed_gate(&mut w);
                w.run_s(5);
                w.node(Input::Gate(Gate::Open));
            }
            "asked for" => {
                lose_both(&mut w);
                assert_eq!(press(&mut w), 200);
                w.node(closed());
            }
            _ => lose_with_closed_gate(&mut w),
        }
        assert_eq!(press(&mut w), 200, "{stands}");
        w.run_s(5);
        assert_eq!((&said(&w)[before..], failed(&w)), ("", vec![]), "{stands}");
        assert_eq!((count(&w, "KEEP"), ended_by(&w)), (1, None), "{stands}");
        if stands == "low" {
            // What is lost from now on is what somebody counted on.
            lose_both(&mut w);
            w.run_s(4);
            assert_eq!(failed(&w), [OnFailure::EndAnnounced]);
            assert_eq!(ended_by(&w), Some(HungUpBy::NotRecorded));
        } else {
            w.bye(ALICE);
        }
        w.settle();
        let end = if stands == "low" {
            End::Failed
        } else {
            End::Finished
        };
        assert_eq!(w.endings()[0].0, end, "{stands}");
    }
}

#[test]
fn nothing_is_started_behind_a_closed_gate() {
    let mut w = one(Mode::OnDemandUserStart, OnFailure::EndAnnounced);
    w.call(TRUNK, ALICE);
    w.run_s(5);
    w.node(closed());
    assert_eq!(press(&mut w), 403);
    let response = w.last_response(ALICE);
    let why = response.headers.value("Warning").unwrap();
    assert!(why.contains("the recorder can not record now"), "{why}");
    w.run_s(10);
    assert_eq!((said(&w).as_str(), failed(&w)), ("", vec![]));
    assert_eq!((w.times("START").len(), ended_by(&w)), (0, None));
    let refused = |fact: &Fact| matches!(fact, Fact::ControlRefused { .. });
    assert_eq!(w.facts().iter().filter(|fact| refused(fact)).count(), 1);
    w.node(Input::Gate(Gate::Open));
    assert_eq!(press(&mut w), 200);
    w.run_s(4);
    assert_eq!(w.times("START").len(), 1);
    w.bye(TRUNK);
    w.settle();
    assert_eq!(w.endings()[0].0, End::Finished);
}
