//! Record-aware phones in the simulated world (issue 5, acceptance 4): the icon is right within a second
//! after each change, from each of the ways, on both phones; what is held stays held.

use std::time::{Duration, Instant};

use duolog::phone::{Action, By, Change, HoldStyle, Icon, PhoneEvent, Shown};
use duolog_call::{Control, ControlId, Input, LogEvent, Means};
use duolog_sip::Method;
use duolog_sip::sdp::{RecordPreference, RecordState};
use duolog_tests::world::scene::{Desk, Scene, desk, outside};
use duolog_tests::world::{Who, World};

/// How late an icon may be.
const LATEST: Duration = Duration::from_secs(1);

/// How somebody pauses and resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Code,
    CodeByInfo,
    Info,
    ReInvite,
    Update,
    Api,
}

const WAYS: [Way; 6] = [
    Way::Code,
    Way::CodeByInfo,
    Way::Info,
    Way::ReInvite,
    Way::Update,
    Way::Api,
];

/// A call of the trunk's phone to desk 0; both show icons.
fn call(seed: u64, announce: &'static str) -> World {
    let desk = Desk {
        announce,
        ..Desk::quiet()
    };
    call_to(seed, desk, None)
}

/// The same to a desk of this kind, where both want this of every recording.
fn call_to(seed: u64, owner: Desk, preference: Option<RecordPreference>) -> World {
    let mut scene = Scene::new(seed, owner);
    scene.lines.ways.recording = Icon::Shown;
    scene.lines.ways.preference = preference;
    let mut world = scene.build();
    world.call(outside(0), "100");
    world.run_ms(2_000);
    assert!(world.has_told(desk(0), PhoneEvent::Answered));
    world
}

/// Asks, and gives the moment from which the change counts: the last key has been let go.
fn ask(world: &mut World, way: Way, control: Control) -> Instant {
    let (code, word, wanted) = match control {
        Control::Start => ("*44", "on", RecordPreference::On),
        Control::Stop => ("*45", "off", RecordPreference::Off),
        Control::Pause => ("*48", "pause", RecordPreference::Pause),
        Control::Resume => ("*49", "resume", RecordPreference::On),
    };
    match way {
        Way::Code => {
            let digits = code.to_owned();
            world.act(desk(0), Action::Press { digits });
            // Each key is down for 100 ms, with 60 ms between.
            world.run_ms(420);
        }
        Way::CodeByInfo => {
            for key in code.chars() {
                let body = format!("Signal={key}\r\nDuration=100\r\n");
                let send = Action::Send {
                    method: Method::Info,
                    headers: Vec::new(),
                    body: Some(("application/dtmf-relay".to_owned(), body)),
                };
                world.act(desk(0), send);
                world.run_ms(100);
            }
        }
        Way::Info => {
            let value = word.to_owned();
            world.act(desk(0), Action::Record { value });
        }
        Way::ReInvite | Way::Update => {
            let by = match way {
                Way::Update => By::Update,
                _ => By::ReInvite,
            };
            let change = Change::Prefer(wanted);
            world.act(desk(0), Action::Alter { by, change });
        }
        Way::Api => {
            let recording = world.node.running()[0].recording;
            world.ask(Input::Control {
                id: ControlId(1),
                recording,
                control,
                by: Means::Api,
            });
        }
    }
    world.now()
}

fn icon(world: &World, who: Who) -> RecordState {
    let last = world.phone(who).shown().last();
    last.map_or(RecordState::Off, |shown| shown.state)
}

/// Waits for the icons of both, which must not take too long.
fn becomes(world: &mut World, since: Instant, state: RecordState, what: &str) {
    world.run_to(since + LATEST);
    for who in [desk(0), outside(0)] {
        let shown = world.phone(who).shown();
        assert_eq!(icon(world, who), state, "{what} at {who:?}: {shown:?}");
    }
}

fn words(shown: &[Shown]) -> String {
    let words = shown.iter().map(|shown| shown.state.as_str());
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn both_icons_are_right_within_a_second_from_every_way() {
    for (n, way) in WAYS.into_iter().enumerate() {
        let mut world = call(700 + n as u64, "off");
        let what = format!("{way:?}");
        let since = world.now();
        becomes(&mut world, since, RecordState::On, &what);
        for _ in 0..3 {
            let asked = ask(&mut world, way, Control::Pause);
            becomes(&mut world, asked, RecordState::Paused, &what);
            world.run_ms(500);
            let asked = ask(&mut world, way, Control::Resume);
            becomes(&mut world, asked, RecordState::On, &what);
        }
        world.act(outside(0), Action::HangUp);
        world.run_out();
        for who in [desk(0), outside(0)] {
            let shown = words(world.phone(who).shown());
            assert_eq!(
                shown, "on paused on paused on paused on off",
                "{what} {who:?}"
            );
        }
        let logs = world.node.logs().iter();
        let told = logs.filter(|log| matches!(log.event, LogEvent::Indicated { .. }));
        assert_eq!(told.count(), 14, "{what}: each phone, each change");
    }
}

#[test]
fn both_icons_follow_a_recording_that_is_started_and_stopped() {
    for (n, way) in WAYS.into_iter().enumerate() {
        let owner = Desk {
            mode: "on-demand-user-start",
            ..Desk::quiet()
        };
        let mut world = call_to(720 + n as u64, owner, None);
        let what = format!("{way:?}");
        for who in [desk(0), outside(0)] {
            assert_eq!(world.phone(who).shown(), [], "{what}: nobody asked");
        }
        for (control, state) in [
            (Control::Start, RecordState::On),
            (Control::Pause, RecordState::Paused),
            (Control::Resume, RecordState::On),
            (Control::Stop, RecordState::Off),
            (Control::Start, RecordState::On),
            (Control::Stop, RecordState::Off),
        ] {
            let asked = ask(&mut world, way, control);
            becomes(&mut world, asked, state, &what);
            world.run_ms(500);
        }
        // The call goes on all the while.
        assert_eq!(world.node.running().len(), 1, "{what}");
        world.act(outside(0), Action::HangUp);
        world.run_out();
        for who in [desk(0), outside(0)] {
            let shown = words(world.phone(who).shown());
            assert_eq!(shown, "on paused on off on off", "{what} {who:?}");
        }
        let finished = world.node.logs().iter();
        let stopped = finished.filter(|log| matches!(log.event, LogEvent::RecordingStopped { .. }));
        assert_eq!(stopped.count(), 2, "{what}: two recordings");
    }
}

#[test]
fn what_a_phone_always_prefers_undoes_nothing_that_was_asked_for_since() {
    for by in [By::ReInvite, By::Update] {
        let mut world = call_to(740, Desk::quiet(), Some(RecordPreference::On));
        let what = format!("{by:?}");
        let asked = ask(&mut world, Way::Info, Control::Pause);
        becomes(&mut world, asked, RecordState::Paused, &what);
        for change in [
            Change::Same,
            Change::Hold(HoldStyle::SendOnly),
            Change::Retrieve,
            Change::Refresh,
            Change::Same,
        ] {
            for who in [desk(0), outside(0)] {
                world.act(who, Action::Alter { by, change });
                world.run_ms(1_000);
                for party in [desk(0), outside(0)] {
                    let now = icon(&world, party);
                    assert_eq!(now, RecordState::Paused, "{what} {change:?} of {who:?}");
                }
            }
        }
        // The button is pressed. What the phone said last was an answer, with one codec: the first offer
        // after that might be a refresh.
        let change = Change::Prefer(RecordPreference::On);
        world.act(desk(0), Action::Alter { by, change });
        world.run_ms(1_000);
        assert_eq!(icon(&world, desk(0)), RecordState::Paused, "{what}");
        world.act(desk(0), Action::Alter { by, change });
        let asked = world.now();
        becomes(&mut world, asked, RecordState::On, &what);
        world.act(desk(0), Action::HangUp);
        world.run_out();
    }
}

#[test]
fn both_icons_go_out_when_the_recording_fails() {
    let owner = Desk {
        lines: "on_failure = \"go-on-announced\"\n",
        ..Desk::quiet()
    };
    let mut world = call_to(745, owner, None);
    let since = world.now();
    becomes(&mut world, since, RecordState::On, "at first");
    // The disk is full.
    world.disk.resize(world.disk.used_bytes() + 20_000);
    let failed = |world: &World| {
        let mut logs = world.node.logs().iter();
        logs.any(|log| matches!(log.event, LogEvent::RecordingFailed { .. }))
    };
    for _ in 0..200 {
        if !failed(&world) {
            world.run_ms(100);
        }
    }
    assert!(failed(&world));
    let since = world.now();
    becomes(&mut world, since, RecordState::Off, "lost");
    let running = world.node.running();
    assert_eq!(running.len(), 1, "the call goes on");
    world.act(desk(0), Action::HangUp);
    world.run_out();
}

#[test]
fn an_icon_lights_when_the_announcement_is_over() {
    let mut world = call(800, "on");
    assert_eq!(
        icon(&world, desk(0)),
        RecordState::Off,
        "they are being told"
    );
    world.run_ms(8_000);
    for who in [desk(0), outside(0)] {
        assert_eq!(words(world.phone(who).shown()), "on");
    }
    world.act(desk(0), Action::HangUp);
    world.run_out();
}

#[test]
fn a_held_call_stays_held() {
    for (holder, held) in [(desk(0), outside(0)), (outside(0), desk(0))] {
        let mut world = call(810, "off");
        let by = By::ReInvite;
        let change = Change::Hold(HoldStyle::SendOnly);
        world.act(holder, Action::Alter { by, change });
        world.run_ms(500);
        let asked = ask(&mut world, Way::Info, Control::Pause);
        becomes(&mut world, asked, RecordState::Paused, "held");
        let holds = |world: &World, event: fn(&PhoneEvent) -> bool| {
            let told = world.told().iter();
            told.filter(|(_, who, told)| *who == held && event(told))
                .count()
        };
        assert_eq!(holds(&world, |e| matches!(e, PhoneEvent::Held { .. })), 1);
        assert_eq!(
            holds(&world, |e| matches!(e, PhoneEvent::Retrieved { .. })),
            0
        );
        world.act(holder, Action::Retrieve);
        world.run_ms(500);
        assert_eq!(
            holds(&world, |e| matches!(e, PhoneEvent::Retrieved { .. })),
            1
        );
        assert_eq!(icon(&world, held), RecordState::Paused);
        world.act(holder, Action::HangUp);
        world.run_out();
    }
}

#[test]
fn a_change_and_a_phone_s_own_offer_at_once() {
    for delay_ms in 0..12 {
        for who in [desk(0), outside(0)] {
            let mut world = call(820 + delay_ms, "off");
            ask(&mut world, Way::Info, Control::Pause);
            world.run_ms(delay_ms);
            world.act(who, Action::Hold);
            // Glare is resolved after two seconds where the phone tries again, after four where this
            // node does (RFC 3261 §14.1).
            world.run_ms(9_000);
            for party in [desk(0), outside(0)] {
                let shown = world.phone(party).shown();
                assert_eq!(
                    icon(&world, party),
                    RecordState::Paused,
                    "{delay_ms}: {shown:?}"
                );
            }
            assert!(world.has_told(
                who,
                PhoneEvent::Held {
                    by: duolog::phone::End::Phone
                }
            ));
            world.act(desk(0), Action::HangUp);
            world.run_out();
        }
    }
}

#[test]
fn nothing_is_shown_of_a_call_that_is_not_recorded() {
    let mut scene = Scene::new(
        850,
        Desk {
            mode: "never",
            ..Desk::quiet()
        },
    );
    scene.lines.ways.recording = Icon::Shown;
    let mut world = scene.build();
    world.call(outside(0), "100");
    world.run_ms(3_000);
    for who in [desk(0), outside(0)] {
        assert_eq!(world.phone(who).shown(), []);
    }
    world.act(desk(0), Action::HangUp);
    world.run_out();
}
