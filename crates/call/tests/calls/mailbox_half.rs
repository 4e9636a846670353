//! A caller who is recorded leaves a message: what their own settings do to the call, what they have the
//! caller told beside the greeting, and what becomes of a message that cannot be kept.

use std::time::Duration;

use duolog_call::{
    Announce, Control, ControlId, DoNotRecord, DoNotRecordReason, End, Fact, Gate, HungUpBy, Input,
    Keeping, Mailbox, Means, MediaCommand, MediaEvent, Mode, Nature, Notice, OnFailure,
    RecordingId, RecordingSettings, Settings, Voicemail,
};

use crate::world::{ALICE, BOB, TRUNK, World, settings};

const BOBS: &str = "1002";

/// Bob, who is never recorded, has a mailbox; Alice is recorded in mailboxes too, and like this.
fn settings_with(alice: RecordingSettings) -> Settings {
    let mut settings = settings();
    settings.users[BOB - 1].mailbox = Some(Mailbox {
        longest: Duration::from_secs(30),
        ..Mailbox::default()
    });
    *settings.users[ALICE - 1].recording_mut() = RecordingSettings {
        voicemail: Voicemail::Recorded,
        ..alice
    };
    settings
}

fn with(alice: RecordingSettings) -> World {
    World::with(settings_with(alice), 1)
}

fn always() -> RecordingSettings {
    RecordingSettings {
        mode: Mode::AlwaysPauseResume,
        ..RecordingSettings::default()
    }
}

/// Somebody calls Bob, who is busy; the greeting begins some milliseconds later.
fn call(w: &mut World, who: usize) {
    w.invite(who, BOBS);
    w.run(500);
    w.respond(BOB, 486);
    w.run(100);
}

/// The recordings of the call to the mailbox on behalf of this owner.
fn of(w: &World, owner: &str) -> Vec<RecordingId> {
    let opened = w.media.iter().filter_map(|(_, command)| match command {
        MediaCommand::OpenRecording {
            recording, opening, ..
        } => Some((*recording, opening)),
        _ => None,
    });
    let voicemail = opened.filter(|(_, opening)| opening.class.nature == Nature::Voicemail);
    let own = voicemail.filter(|(_, opening)| opening.owner == owner);
    own.map(|(recording, _)| recording).collect()
}

fn ending_of(w: &World, wanted: RecordingId) -> (End, String) {
    let ending = w.media.iter().find_map(|(_, command)| match command {
        MediaCommand::CloseRecording { recording, ending } if *recording == wanted => Some(ending),
        _ => None,
    });
    let ending = ending.expect("it is closed");
    (ending.end, ending.reason.clone())
}

fn trouble(w: &mut World, owner: &str) {
    let recording = of(w, owner)[0];
    let reason = "the disk was full".to_owned();
    w.report(MediaEvent::RecordingTrouble { recording, reason });
}

fn close_the_gate(w: &mut World) {
    w.node(Input::Gate(Gate::Closed {
        reason: "full".to_owned(),
        retry_after_s: 30,
    }));
}

const ENDS: &str = "play-a-FailureEnds.nl";
const CONTINUES: &str = "play-a-FailureContinues.nl";
const GREETING: &str = "play-a-MailboxGreeting.nl";
const BEEP: &str = "play-a-beep";

#[test]
fn a_caller_whose_half_is_lost_hears_what_their_policy_says_and_the_node_goes_on() {
    // While the greeting sounds, while the beep does, while the message is recorded.
    for after_ms in [500, 2_050, 5_000] {
        for policy in [
            OnFailure::Refuse,
            OnFailure::GoOn,
            OnFailure::GoOnAnnounced,
            OnFailure::EndAnnounced,
        ] {
            let mut w = with(RecordingSettings {
                on_failure: policy,
                ..always()
            });
            call(&mut w, ALICE);
            w.run(after_ms);
            let at = w.ms();
            trouble(&mut w, "alice");
            // Twice is once.
            trouble(&mut w, "alice");
            w.run_s(7);
            let name = format!("{policy:?} after {after_ms}");
            let ends = policy == OnFailure::EndAnnounced;
            assert_eq!(
                w.times(ENDS),
                if ends { vec![at] } else { vec![] },
                "{name}"
            );
            let says = policy == OnFailure::GoOnAnnounced;
            assert_eq!(w.times(CONTINUES), if says { vec![at] } else { vec![] });
            assert_eq!(w.heard(ALICE).ends_with("BYE"), ends, "{name}");
            let message = of(&w, "bob")[0];
            if !ends {
                assert!(w.endings().iter().all(|(_, why)| !why.contains("beep")));
                assert_eq!(w.times("START").len(), 2, "{name}: {}", w.commands());
                w.bye(ALICE);
                w.run(100);
                assert_eq!(ending_of(&w, message).0, End::Finished, "{name}");
                w.settle();
                continue;
            }
            let by = HungUpBy::NotRecorded;
            assert!(w.facts().contains(&Fact::HungUp { by }), "{name}");
            let begun = after_ms == 5_000;
            let end = if begun {
                End::Finished
            } else {
                End::NotStarted
            };
            let reason = "the call could not be recorded".to_owned();
            assert_eq!(ending_of(&w, message), (end, reason), "{name}");
            let greetings = w.times(GREETING).len();
            assert_eq!(greetings, 1, "{name}: nobody is greeted who is sent away");
            w.settle();
        }
    }
}

#[test]
fn a_caller_who_hears_an_announcement_first_may_lose_the_half_then() {
    let mut w = with(RecordingSettings {
        on_failure: OnFailure::EndAnnounced,
        announce: duolog_call::StartStop::BOTH,
        ..always()
    });
    call(&mut w, ALICE);
    w.run(300);
    trouble(&mut w, "alice");
    w.run_s(5);
    assert!(w.heard(ALICE).ends_with("BYE"));
    assert_eq!(w.times(GREETING), [0; 0]);
    assert_eq!(w.times(ENDS).len(), 1);
    w.settle();
}

#[test]
fn a_half_that_cannot_begin_ends_the_call_where_its_owner_wants_that() {
    // The gate closes between the answer of the phone and that of the caller's ACK.
    let mut w = with(RecordingSettings {
        on_failure: OnFailure::EndAnnounced,
        ..always()
    });
    w.invite(ALICE, BOBS);
    w.run(500);
    w.respond(BOB, 486);
    w.run(6);
    close_the_gate(&mut w);
    w.run_s(5);
    assert_eq!(w.heard(ALICE), "100 200 BYE");
    assert!(!w.commands().contains("Mailbox"), "{}", w.commands());
    w.settle();
}

#[test]
fn nobody_is_asked_to_speak_where_nothing_can_be_kept() {
    for (after_ms, greetings, beeps) in [(0, 0, 0), (1_000, 1, 0), (2_050, 1, 1)] {
        let mut w = with(always());
        w.invite(TRUNK, BOBS);
        w.run(500);
        w.respond(BOB, 486);
        // The node's answer is on its way.
        w.run(6);
        w.run(after_ms);
        close_the_gate(&mut w);
        w.run_s(5);
        assert_eq!(w.heard(TRUNK), "100 200 BYE", "{after_ms}");
        assert_eq!(w.times(GREETING).len(), greetings, "{after_ms}");
        assert_eq!(w.times(BEEP).len(), beeps, "{after_ms}");
        assert_eq!(w.times("START"), [0; 0], "{after_ms}");
        let message = of(&w, "bob")[0];
        assert_eq!(ending_of(&w, message), (End::Failed, "full".to_owned()));
        w.settle();
    }
}

#[test]
fn a_message_of_which_audio_is_lost_ends_there_and_is_kept() {
    let mut w = with(always());
    call(&mut w, TRUNK);
    w.run_s(5);
    trouble(&mut w, "bob");
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 200 BYE");
    let reason = "the disk was full".to_owned();
    let message = of(&w, "bob")[0];
    assert!(w.facts().contains(&Fact::Trouble {
        reason: reason.clone()
    }));
    assert_eq!(ending_of(&w, message), (End::Finished, reason));
    // What comes late changes nothing.
    trouble(&mut w, "bob");
    w.settle();
}

#[test]
fn the_half_of_a_caller_on_demand_is_kept_only_when_asked_for() {
    for asked in [false, true] {
        let mut w = with(RecordingSettings {
            mode: Mode::OnDemand,
            ..RecordingSettings::default()
        });
        call(&mut w, ALICE);
        w.run_s(4);
        let openings = w.openings();
        let keeping = |owner: &str| {
            let voicemail = openings.iter().rev();
            let mut own = voicemail.filter(|opening| opening.owner == owner);
            own.next().expect("it has a row").keeping
        };
        assert_eq!(keeping("alice"), Keeping::Provisional);
        assert_eq!(keeping("bob"), Keeping::Message, "it is to be kept");
        let own = of(&w, "alice")[0];
        if asked {
            w.node(Input::Control {
                id: ControlId(1),
                recording: own,
                control: Control::Start,
                by: Means::Api,
            });
        }
        w.bye(ALICE);
        w.run(100);
        assert_eq!(w.seen.kept, if asked { vec![own] } else { vec![] });
        let end = if asked { End::Finished } else { End::NotKept };
        assert_eq!(ending_of(&w, own).0, end);
        w.settle();
    }
}

#[test]
fn a_greeting_that_is_cut_by_a_notice_is_heard_again_after_it() {
    for notice in [Notice::None, Notice::Beep, Notice::Announcement] {
        let mut w = with(RecordingSettings { notice, ..always() });
        call(&mut w, ALICE);
        w.run(900);
        let at = w.ms();
        let own = of(&w, "alice")[0];
        w.node(Input::Control {
            id: ControlId(1),
            recording: own,
            control: Control::Pause,
            by: Means::Api,
        });
        w.run_s(6);
        match notice {
            Notice::Announcement => {
                assert_eq!(w.times("play-a-RecordingPaused.nl"), [at]);
                let greeted = w.times(GREETING);
                assert_eq!(greeted.len(), 2, "{}", w.commands());
                assert_eq!(greeted[1], at + 2_000, "when the notice is over");
                assert_eq!(w.times(BEEP), [greeted[1] + 2_000]);
                assert_eq!(w.times("START").last(), Some(&(greeted[1] + 2_200)));
            }
            Notice::None | Notice::Beep => {
                assert_eq!(w.times(GREETING).len(), 1, "{notice:?}");
            }
        }
        w.bye(ALICE);
        w.settle();
    }
}

#[test]
fn notices_that_never_end_do_not_keep_the_greeting_back_for_ever() {
    let mut w = with(RecordingSettings {
        announce: duolog_call::StartStop {
            internal: Announce::Off,
            ..duolog_call::StartStop::BOTH
        },
        notice: Notice::Announcement,
        ..always()
    });
    call(&mut w, ALICE);
    let own = of(&w, "alice")[0];
    // The greeting is cut again and again.
    for control in [Control::Pause, Control::Resume]
        .into_iter()
        .cycle()
        .take(8)
    {
        w.run(300);
        w.node(Input::Control {
            id: ControlId(1),
            recording: own,
            control,
            by: Means::Api,
        });
        w.run(2_100);
    }
    assert!(w.times(GREETING).len() <= 4, "{}", w.commands());
    assert_eq!(w.times("START").len(), 2, "the message is recorded");
    w.bye(ALICE);
    w.settle();
}

#[test]
fn the_owner_s_do_not_record_list_is_about_calls_and_not_about_messages() {
    let mut settings = settings_with(always());
    let bob = settings.users[BOB - 1].recording_mut();
    bob.mode = Mode::Always;
    bob.voicemail = Voicemail::Recorded;
    bob.do_not_record = vec![DoNotRecord {
        number: "9000".to_owned(),
        reason: DoNotRecordReason::Personal,
    }];
    let mut w = World::with(settings, 1);
    call(&mut w, TRUNK);
    w.run_s(5);
    w.bye(TRUNK);
    w.run(100);
    let message = of(&w, "bob")[0];
    assert_eq!(
        ending_of(&w, message).0,
        End::Finished,
        "it was left to be kept"
    );
    let listed = |fact: &&Fact| matches!(fact, Fact::DoNotRecord { .. });
    let facts = w.facts();
    assert_eq!(facts.iter().filter(listed).count(), 1, "of the call before");
    w.settle();
}
