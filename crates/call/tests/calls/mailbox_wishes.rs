//! What a caller in a mailbox asks of their own recording, by keys in INFO and in descriptions, and what a
//! record-aware caller is told of it (RFC 7866).

use std::time::Duration;

use duolog_call::{
    Digit, Fact, Indication, Mailbox, Means, MediaEvent, Mode, RecordingSettings, Side, Voicemail,
};
use duolog_sip::sdp::Direction::{SendOnly, SendRecv};
use duolog_sip::sdp::{Description, RecordPreference, RecordState};
use duolog_sip::{Message, Method};

use crate::world::{ALICE, BOB, TRUNK, World, description, settings};

const ALLOW: (&str, &str) = ("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE, INFO");
const OLD: (&str, &str) = ("Allow", "INVITE, ACK, BYE, CANCEL, INFO");
const AWARE: (&str, &str) = ("Supported", "record-aware");

/// Somebody calls Bob's mailbox with these fields and this preference; Alice is recorded in this mode.
fn call(
    (who, fields): (usize, &[(&str, &str)]),
    wanted: Option<RecordPreference>,
    mode: Mode,
) -> World {
    let mut settings = settings();
    settings.users[BOB - 1].mailbox = Some(Mailbox {
        longest: Duration::from_secs(60),
        ..Mailbox::default()
    });
    *settings.users[ALICE - 1].recording_mut() = RecordingSettings {
        mode,
        voicemail: Voicemail::Recorded,
        ..RecordingSettings::default()
    };
    let mut w = World::with(settings, 3);
    w.parties[who].takes = vec![Method::Update];
    let mut invite = w.new_invite(who, "1002");
    for (name, value) in fields {
        invite.headers.push(name, *value);
    }
    let offer = description(who, SendRecv).with_record_preference(wanted);
    invite.set_body("application/sdp", offer.write());
    w.send_new(who, invite);
    w.run(500);
    w.respond(BOB, 486);
    w.run(100);
    w
}

fn alice(mode: Mode) -> World {
    call((ALICE, &[ALLOW]), None, mode)
}

fn state(body: &[u8]) -> Option<&'static str> {
    let description = Description::parse(body).ok()?;
    description.record_state().map(RecordState::as_str)
}

/// Everything a party was told, in offers and answers.
fn told(w: &World, who: usize) -> String {
    let bodies = w.parties[who].heard.iter().map(|message| match message {
        Message::Request(request) => &request.body,
        Message::Response(response) => &response.body,
    });
    let states = bodies.filter_map(|body| state(body));
    states.collect::<Vec<_>>().join(" ")
}

fn info(w: &mut World, key: char) -> u16 {
    let dialog = w.parties[ALICE].dialog.as_mut().unwrap();
    let mut info = dialog.request(Method::Info);
    let body = format!("Signal={key}\r\nDuration=160\r\n");
    info.set_body("application/dtmf-relay", body.into());
    w.send_new(ALICE, info);
    w.run(20);
    w.last_response(ALICE).status.code()
}

fn event(w: &mut World, key: char) {
    let leg = *w.legs.iter().next().unwrap();
    let event = "0123456789*#".find(key).unwrap() as u8;
    let digit = Digit {
        event,
        duration_ms: 160,
    };
    w.report(MediaEvent::Digit { leg, digit });
    w.run(20);
}

fn indicated(w: &World) -> Vec<Indication> {
    let facts = w.facts().into_iter();
    let indicated = facts.filter_map(|fact| match fact {
        Fact::Indicated { side, state } => {
            assert_eq!(side, Side::Caller);
            Some(state)
        }
        _ => None,
    });
    let mut all: Vec<_> = indicated.collect();
    // In both recordings.
    all.dedup();
    all
}

#[test]
fn keys_in_info_control_the_caller_s_own_recording() {
    let mut w = alice(Mode::AlwaysPauseResume);
    w.run_s(5);
    for key in "*48".chars() {
        assert_eq!(info(&mut w, key), 200);
    }
    let by = Means::FeatureCode;
    assert!(w.facts().contains(&Fact::Paused { by }));
    assert_eq!(w.times("PAUSE").len(), 1);
    for key in "*49".chars() {
        assert_eq!(info(&mut w, key), 200);
    }
    assert!(w.facts().contains(&Fact::Resumed { by }));
    w.bye(ALICE);
    w.settle();
}

#[test]
fn keys_that_come_in_both_ways_count_once() {
    for info_first in [true, false] {
        let mut w = alice(Mode::AlwaysPauseResume);
        w.run_s(5);
        for key in "*48".chars() {
            if info_first {
                assert_eq!(info(&mut w, key), 200);
                event(&mut w, key);
            } else {
                event(&mut w, key);
                assert_eq!(info(&mut w, key), 200);
            }
        }
        let by = Means::FeatureCode;
        let facts = w.facts();
        assert!(facts.contains(&Fact::Paused { by }), "{info_first}");
        let other = |fact: &&Fact| matches!(fact, Fact::ControlRefused { .. } | Fact::Kept { .. });
        assert_eq!(facts.iter().filter(other).count(), 0, "{info_first}");
        w.bye(ALICE);
        w.settle();
    }
}

#[test]
fn what_a_description_prefers_is_done_once_and_told_in_the_answer() {
    use RecordPreference::{On, Pause};
    let mut w = call((ALICE, &[AWARE, ALLOW]), Some(On), Mode::AlwaysPauseResume);
    let said = |direction, wanted| description(ALICE, direction).with_record_preference(wanted);
    w.run_s(1);
    w.replies(ALICE, 200, &[], Some(&said(SendRecv, Some(On))));
    w.run_s(4);
    w.reinvite_with(ALICE, &said(SendRecv, Some(Pause)));
    w.run(100);
    assert_eq!(state(&w.last_response(ALICE).body), Some("paused"));
    let by = Means::Offer;
    assert!(w.facts().contains(&Fact::Paused { by }));
    // It resumes by INFO; a hold that repeats the line is no new wish.
    w.within(ALICE, Method::Info, &[("Record", "resume")]);
    w.run(100);
    w.replies(ALICE, 200, &[], Some(&said(SendRecv, Some(Pause))));
    w.reinvite_with(ALICE, &said(SendOnly, Some(Pause)));
    w.run(100);
    assert_eq!(state(&w.last_response(ALICE).body), Some("on"));
    assert_eq!(w.times("PAUSE").len(), 1);
    use Indication as I;
    assert_eq!(indicated(&w), [I::On, I::Paused, I::On]);
    w.bye(ALICE);
    w.settle();
}

#[test]
fn what_is_wanted_at_the_beginning_is_done_when_the_call_stands() {
    use RecordPreference::{On, Pause};
    let w = call((ALICE, &[ALLOW]), Some(On), Mode::OnDemand);
    let own = w.seen.kept.clone();
    assert_eq!(own.len(), 1, "it is kept");
    let w = call((ALICE, &[ALLOW]), Some(Pause), Mode::AlwaysPauseResume);
    let by = Means::Offer;
    assert!(w.facts().contains(&Fact::Paused { by }));
}

#[test]
fn a_caller_without_a_recording_is_told_of_the_message_when_it_begins() {
    for (fields, method) in [
        ([AWARE, ALLOW], Method::Update),
        ([AWARE, OLD], Method::Invite),
    ] {
        let mut w = call((TRUNK, &fields), None, Mode::Always);
        assert_eq!(told(&w, TRUNK), "off", "during the greeting");
        w.run(3_000);
        assert_eq!(w.times("START").len(), 1);
        assert_eq!(told(&w, TRUNK), "off on", "{method}");
        assert_eq!(w.last_request(TRUNK).method, method);
        let answer = description(TRUNK, SendRecv);
        match method {
            Method::Update => drop(w.replies(TRUNK, 200, &[], Some(&answer))),
            _ => w.respond_with(TRUNK, 200, Some(&answer)),
        }
        w.run_s(5);
        assert_eq!(told(&w, TRUNK), "off on", "once");
        assert_eq!(indicated(&w), [Indication::On]);
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn who_does_not_want_to_be_told_is_asked_again_only_when_there_is_more_to_tell() {
    // 491: it has an offer of its own under way.
    for (status, tells) in [(488, 1), (491, 2), (500, 1)] {
        let mut w = call((TRUNK, &[AWARE, ALLOW]), None, Mode::Always);
        w.run(3_000);
        w.replies(TRUNK, status, &[], None);
        w.run_s(10);
        let updates = w.requests(TRUNK, &Method::Update).len();
        assert_eq!(updates, tells, "{status}");
        if tells == 2 {
            let answer = description(TRUNK, SendRecv);
            w.replies(TRUNK, 200, &[], Some(&answer));
        }
        w.bye(TRUNK);
        w.settle();
    }
    // A phone that says nothing of it is told nothing.
    let mut w = call((TRUNK, &[ALLOW]), None, Mode::Always);
    w.run_s(4);
    assert_eq!(told(&w, TRUNK), "");
    assert!(w.requests(TRUNK, &Method::Update).is_empty());
    w.bye(TRUNK);
    w.settle();
}
