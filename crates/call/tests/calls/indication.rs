//! What record-aware phones are told of a recording and when, and what they ask for in their offers
//! (RFC 7866 §6.3, §7.1.2, §7.1.3).

use duolog_call::{
    Control, ControlId, Digit, Fact, HungUpBy, Indication, Input, LegId, LogEvent, Means,
    MediaEvent, Mode, OnFailure, Phase, Refusal, Side,
};
use duolog_sip::sdp::Direction::{self, Inactive, RecvOnly, SendOnly, SendRecv};
use duolog_sip::sdp::{Description, RecordPreference, RecordState};
use duolog_sip::{Message, Method};

use crate::by_hand::direction;
use crate::world::{CAROL, DAVE, TRUNK, World, description, settings};

const ALLOW: (&str, &str) = ("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE, INFO");
const AWARE: [(&str, &str); 2] = [("Supported", "replaces, record-aware"), ALLOW];
const PLAIN: [(&str, &str); 2] = [("Supported", "replaces"), ALLOW];
const OLD: [(&str, &str); 2] = [
    ("Supported", "record-aware"),
    ("Allow", "INVITE, ACK, BYE, CANCEL"),
];

/// A call of TRUNK to CAROL, who is recorded and may pause; nobody has answered what they were told.
fn unanswered(trunk: &[(&str, &str)], carol: &[(&str, &str)], mode: Mode) -> World {
    let mut settings = settings();
    settings.users[2].recording_mut().mode = mode;
    let mut w = World::with(settings, 5);
    w.connected_call_with(trunk, carol);
    w
}

/// The same, and both know that it is recorded.
fn connected(trunk: &[(&str, &str)], carol: &[(&str, &str)]) -> World {
    let mut w = unanswered(trunk, carol, Mode::AlwaysPauseResume);
    for who in [TRUNK, CAROL] {
        accept(&mut w, who, SendRecv);
    }
    w
}

/// A party accepts what it is offered, if it is; answers the state in it.
fn accept(w: &mut World, who: usize, answer: Direction) -> Option<&'static str> {
    if !w.parties[who].asked.is_empty() {
        let update = w.replies(who, 200, &[], Some(&description(who, answer)));
        assert_eq!(update.method, Method::Update);
        return state(&update.body);
    }
    let offer = w.parties[who].invites.first()?.1.body.clone();
    let answer = description(who, answer);
    if who == CAROL {
        w.rings(200, "c", &[], Some(&answer));
    } else {
        w.respond_with(who, 200, Some(&answer));
        w.run(50);
    }
    state(&offer)
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
    bodies
        .filter_map(|b| state(b))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The facts of what phones have accepted.
fn indicated(w: &World) -> Vec<(Side, Indication)> {
    let facts = w.facts().into_iter();
    let indicated = facts.filter_map(|fact| match fact {
        Fact::Indicated { side, state } => Some((side, state)),
        _ => None,
    });
    indicated.collect()
}

fn info(w: &mut World, value: &str) {
    w.asks(CAROL, Method::Info, &[("Record", value)], None);
}

fn prefers(who: usize, direction: Direction, wanted: RecordPreference) -> Description {
    description(who, direction).with_record_preference(Some(wanted))
}

/// What carol's phone says with a standing preference, in this version of its description.
fn standing(direction: Direction, wanted: RecordPreference, version: u64) -> Description {
    versioned(&prefers(CAROL, direction, wanted), version)
}

fn versioned(description: &Description, version: u64) -> Description {
    let text = String::from_utf8(description.write().to_vec()).unwrap();
    let before = format!(
        " {} {} IN ",
        description.session_id(),
        description.version()
    );
    assert!(text.contains(&before), "{text}");
    let now = format!(" {} {version} IN ", description.session_id());
    Description::parse(text.replace(&before, &now).as_bytes()).unwrap()
}

/// Carol offers this; TRUNK takes it, and both have taken what they are told of it.
fn offers(w: &mut World, method: &Method, offer: &Description, answer: Direction) {
    w.asks(CAROL, method.clone(), &[], Some(offer));
    accept(w, TRUNK, answer);
    assert_eq!(w.last_response(CAROL).status.code(), 200);
}

fn phase(w: &World) -> Phase {
    w.engine.running()[0].phase
}

fn press(w: &mut World, keys: &str) {
    for key in keys.chars() {
        let event = "0123456789*#ABCD".find(key).unwrap() as u8;
        let (leg, duration_ms) = (LegId(2), 100);
        let digit = Digit { event, duration_ms };
        w.report(MediaEvent::Digit { leg, digit });
    }
    w.run(50);
}

fn press_by_info(w: &mut World, keys: &str) {
    for key in keys.chars() {
        let dialog = w.parties[CAROL].dialog.as_mut().unwrap();
        let mut info = dialog.request(Method::Info);
        let body = format!("Signal={key}\r\nDuration=160\r\n");
        info.set_body("application/dtmf-relay", body.into());
        w.send_new(CAROL, info);
        w.run(20);
        assert_eq!(w.last_response(CAROL).status.code(), 200);
    }
    w.run(20);
}

fn from_outside(w: &mut World, control: Control) {
    let recording = *w.recordings.keys().next().unwrap();
    let (id, by) = (ControlId(7), Means::Api);
    w.node(Input::Control {
        id,
        recording,
        control,
        by,
    });
    w.run(50);
}

#[test]
fn an_aware_phone_hears_of_the_recording_when_it_begins() {
    for (trunk, carol) in [
        (&AWARE, &AWARE),
        (&AWARE, &PLAIN),
        (&PLAIN, &AWARE),
        (&PLAIN, &PLAIN),
    ] {
        let mut w = unanswered(trunk, carol, Mode::Always);
        for (who, fields, before) in [(TRUNK, trunk, "off on"), (CAROL, carol, "on")] {
            let aware = fields == &AWARE;
            let want = aware.then_some("on");
            assert_eq!(accept(&mut w, who, SendRecv), want, "{who}");
            assert_eq!(told(&w, who), if aware { before } else { "" });
            assert_eq!(
                w.requests(who, &Method::Invite).len(),
                usize::from(who == CAROL)
            );
        }
        let sides = [(Side::Caller, trunk), (Side::Callee, carol)];
        let aware = sides.iter().filter(|(_, fields)| *fields == &AWARE);
        let want: Vec<_> = aware.map(|(side, _)| (*side, Indication::On)).collect();
        assert_eq!(indicated(&w), want);
        let logged = w
            .logs
            .iter()
            .filter(|log| matches!(log.event, LogEvent::Indicated { .. }));
        assert_eq!(logged.count(), want.len());
        let heard = [w.heard(TRUNK), w.heard(CAROL)];
        w.run_s(60);
        assert_eq!([w.heard(TRUNK), w.heard(CAROL)], heard, "said once");
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn nobody_is_told_that_nothing_is_recorded() {
    let mut w = unanswered(&AWARE, &AWARE, Mode::Never);
    assert_eq!(
        (told(&w, TRUNK), told(&w, CAROL)),
        ("off".to_owned(), String::new())
    );
    w.run_s(10);
    assert!(w.parties[TRUNK].asked.is_empty() && w.parties[CAROL].asked.is_empty());
    // Whoever offers anything hears it.
    w.asks(
        CAROL,
        Method::Update,
        &[],
        Some(&description(CAROL, SendRecv)),
    );
    assert_eq!(accept(&mut w, TRUNK, SendRecv), Some("off"));
    assert_eq!(told(&w, CAROL), "off");
    w.bye(TRUNK);
    w.settle();
}

type Way = fn(&mut World, Control);

/// How a control is asked for: by carol, or from outside.
const WAYS: [(Way, Means); 5] = [
    (|w, c| info(w, asked(c).0), Means::Info),
    (|w, c| press(w, asked(c).1), Means::FeatureCode),
    (|w, c| press_by_info(w, asked(c).1), Means::FeatureCode),
    (from_outside, Means::Api),
    (
        |w, c| {
            let wanted = prefers(CAROL, SendRecv, asked(c).2);
            w.asks(CAROL, Method::Update, &[], Some(&wanted));
        },
        Means::Offer,
    ),
];

/// A control as carol asks for it.
fn asked(control: Control) -> (&'static str, &'static str, RecordPreference) {
    match control {
        Control::Start => ("ON", "*44", RecordPreference::On),
        Control::Stop => ("off", "*45", RecordPreference::Off),
        Control::Pause => ("pause", "*48", RecordPreference::Pause),
        Control::Resume => ("Resume", "*49", RecordPreference::On),
    }
}

#[test]
fn a_recording_that_is_started_and_stopped_is_shown_by_every_way() {
    for (way, by) in WAYS {
        for carol in [&AWARE, &OLD] {
            let mut w = unanswered(&AWARE, carol, Mode::OnDemandUserStart);
            let story = [
                (Control::Start, "on", Phase::Started),
                (Control::Pause, "paused", Phase::Paused),
                (Control::Resume, "on", Phase::Started),
                (Control::Stop, "off", Phase::Stopped),
                (Control::Start, "on", Phase::Started),
                (Control::Stop, "off", Phase::Stopped),
            ];
            for (control, word, now) in story {
                let since = w.ms();
                way(&mut w, control);
                assert_eq!(phase(&w), now, "{by:?}");
                assert_eq!(accept(&mut w, TRUNK, SendRecv), Some(word), "{by:?}");
                if by != Means::Offer {
                    assert_eq!(accept(&mut w, CAROL, SendRecv), Some(word), "{by:?}");
                }
                assert!(told(&w, CAROL).ends_with(word), "{by:?}");
                assert!(w.ms() - since < 1000, "{by:?}");
            }
            assert_eq!(told(&w, TRUNK), "off on paused on off on off", "{by:?}");
            assert_eq!(told(&w, CAROL), "on paused on off on off", "{by:?}");
            let stopped = Fact::Stopped { by };
            let stops = w.facts().into_iter().filter(|fact| *fact == stopped);
            assert_eq!((stops.count(), w.recordings.len()), (2, 2), "{by:?}");
            assert_eq!(w.times("CLOSE-Finished").len(), 2, "{by:?}");
            w.run_s(5);
            assert!(w.parties[TRUNK].asked.is_empty() && w.parties[CAROL].asked.is_empty());
            w.bye(CAROL);
            w.settle();
        }
    }
}

#[test]
fn a_recording_that_fails_is_shown_no_longer() {
    let mut settings = settings();
    settings.users[2].recording_mut().mode = Mode::AlwaysPauseResume;
    settings.users[2].recording_mut().on_failure = OnFailure::GoOnAnnounced;
    let mut w = World::with(settings, 5);
    w.connected_call_with(&AWARE, &AWARE);
    for who in [TRUNK, CAROL] {
        assert_eq!(accept(&mut w, who, SendRecv), Some("on"));
    }
    let recording = *w.recordings.keys().next().unwrap();
    let reason = "disk gone".to_owned();
    w.report(MediaEvent::RecordingTrouble { recording, reason });
    w.run(50);
    for who in [TRUNK, CAROL] {
        assert_eq!(accept(&mut w, who, SendRecv), Some("off"));
    }
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_refresh_that_waits_holds_nothing_up() {
    let mut settings = settings();
    settings.users[2].recording_mut().mode = Mode::AlwaysPauseResume;
    settings.users[2].recording_mut().auto_resume = None;
    let mut w = World::with(settings, 5);
    let mut carol = OLD.to_vec();
    carol.push(("Require", "timer"));
    carol.push(("Session-Expires", "600;refresher=uac"));
    w.connected_call_with(&AWARE, &carol);
    assert_eq!(accept(&mut w, TRUNK, SendRecv), Some("on"));
    let answer = description(CAROL, SendRecv);
    w.rings(200, "c", &carol[2..], Some(&answer));
    let invites = |w: &World| w.requests(CAROL, &Method::Invite).len();
    let before = invites(&w);
    w.run_s(301);
    assert_eq!(invites(&w), before + 1, "a refresh");
    // Ours is the Call-ID: the refresh is tried again after two to four seconds.
    w.rings(491, "c", &[], None);
    info(&mut w, "pause");
    assert_eq!(accept(&mut w, TRUNK, SendRecv), Some("paused"));
    assert_eq!(invites(&w), before + 2, "at once");
    w.rings(200, "c", &carol[2..], Some(&answer));
    assert!(told(&w, CAROL).ends_with("paused"));
    // That was a refresh as well.
    w.run_s(10);
    assert_eq!(invites(&w), before + 2);
    w.run_s(295);
    assert_eq!(invites(&w), before + 3);
    w.rings(200, "c", &carol[2..], Some(&answer));
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn every_way_of_control_reaches_both_phones_at_once() {
    for (way, by) in WAYS {
        for carol in [&AWARE, &OLD] {
            let mut w = connected(&AWARE, carol);
            for (control, word) in [(Control::Pause, "paused"), (Control::Resume, "on")] {
                let since = w.ms();
                way(&mut w, control);
                assert_eq!(accept(&mut w, TRUNK, SendRecv), Some(word), "{by:?}");
                if by != Means::Offer {
                    assert_eq!(accept(&mut w, CAROL, SendRecv), Some(word), "{by:?}");
                }
                assert!(
                    told(&w, CAROL).ends_with(word),
                    "{by:?}: {}",
                    told(&w, CAROL)
                );
                assert!(w.ms() - since < 1000, "{by:?}");
            }
            assert_eq!(told(&w, TRUNK), "off on paused on", "{by:?}");
            assert_eq!(told(&w, CAROL), "on paused on", "{by:?}");
            assert!(w.facts().contains(&Fact::Paused { by }));
            assert!(w.facts().contains(&Fact::Resumed { by }));
            let invites = w.requests(CAROL, &Method::Invite).len();
            let own = if by == Means::Offer { 1 } else { 3 };
            assert_eq!(invites, if carol == &OLD { 1 + own } else { 1 }, "{by:?}");
            let acks = w.requests(CAROL, &Method::Ack).len();
            assert_eq!(acks, invites, "{by:?}");
            w.run_s(5);
            assert!(w.parties[TRUNK].asked.is_empty() && w.parties[CAROL].asked.is_empty());
            w.bye(CAROL);
            w.settle();
        }
    }
}

#[test]
fn a_hold_stays_what_it_is() {
    for (holder, held) in [(CAROL, TRUNK), (TRUNK, CAROL)] {
        for (how, answer) in [(SendOnly, RecvOnly), (Inactive, Inactive)] {
            let mut w = connected(&AWARE, &AWARE);
            w.asks(holder, Method::Update, &[], Some(&description(holder, how)));
            accept(&mut w, held, answer);
            let before = w.facts().len();
            info(&mut w, "pause");
            // The holder is told as it was answered, the held one as it was offered.
            for (who, want, says) in [(holder, answer, how), (held, how, answer)] {
                let body = w.parties[who].asked[0].1.body.clone();
                assert_eq!(direction(&body), want.as_str(), "{who}");
                assert_eq!(accept(&mut w, who, says), Some("paused"));
            }
            let facts = w.facts().split_off(before);
            let holds = |f: &&Fact| matches!(f, Fact::Held { .. } | Fact::Retrieved { .. });
            assert_eq!(facts.iter().find(holds), None);
            w.asks(
                holder,
                Method::Update,
                &[],
                Some(&description(holder, SendRecv)),
            );
            assert_eq!(accept(&mut w, held, SendRecv), Some("paused"));
            assert_eq!(direction(&w.last_response(holder).body), "sendrecv");
            assert!(
                w.facts()
                    .iter()
                    .any(|f| matches!(f, Fact::Retrieved { .. }))
            );
            w.bye(TRUNK);
            w.settle();
        }
    }
}

#[test]
fn a_hold_that_was_refused_is_not_told_again() {
    let mut w = connected(&AWARE, &AWARE);
    w.asks(
        CAROL,
        Method::Update,
        &[],
        Some(&description(CAROL, SendOnly)),
    );
    let refused = w.replies(TRUNK, 488, &[], None);
    assert_eq!(direction(&refused.body), "sendonly");
    info(&mut w, "pause");
    let offer = w.parties[TRUNK].asked[0].1.body.clone();
    assert_eq!(direction(&offer), "sendrecv");
    let version = |body: &[u8]| Description::parse(body).unwrap().version();
    assert!(version(&offer) > version(&refused.body));
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn several_changes_become_the_last_one() {
    let mut w = connected(&AWARE, &AWARE);
    info(&mut w, "pause");
    for value in ["resume", "pause", "resume"] {
        info(&mut w, value);
    }
    for who in [TRUNK, CAROL] {
        assert_eq!(w.parties[who].asked.len(), 1, "one at a time");
        assert_eq!(accept(&mut w, who, SendRecv), Some("paused"));
        assert_eq!(
            accept(&mut w, who, SendRecv),
            Some("on"),
            "the last, and at once"
        );
    }
    // There and back while the first is on its way: nothing more to say.
    info(&mut w, "pause");
    info(&mut w, "resume");
    info(&mut w, "pause");
    for who in [TRUNK, CAROL] {
        assert_eq!(accept(&mut w, who, SendRecv), Some("paused"));
        assert_eq!(accept(&mut w, who, SendRecv), None);
    }
    assert_eq!(told(&w, TRUNK), "off on paused on paused");
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn glare_with_the_phone_s_own_offer_is_resolved_by_its_answer() {
    for method in [Method::Update, Method::Invite] {
        let mut w = connected(&AWARE, &AWARE);
        info(&mut w, "pause");
        accept(&mut w, TRUNK, SendRecv);
        // Hers was on its way: each gets 491, and she, whose Call-ID it is not, is the first again.
        w.asks(
            CAROL,
            method.clone(),
            &[],
            Some(&description(CAROL, SendOnly)),
        );
        assert_eq!(w.last_response(CAROL).status.code(), 491);
        w.replies(CAROL, 491, &[], None);
        w.run(500);
        assert!(w.parties[CAROL].asked.is_empty());
        w.asks(
            CAROL,
            method.clone(),
            &[],
            Some(&description(CAROL, SendOnly)),
        );
        accept(&mut w, TRUNK, RecvOnly);
        let answer = w.last_response(CAROL).clone();
        assert_eq!(
            (answer.status.code(), state(&answer.body)),
            (200, Some("paused"))
        );
        assert_eq!(direction(&answer.body), "recvonly");
        w.run_s(10);
        assert!(w.parties[CAROL].asked.is_empty(), "she knows");
        assert_eq!(indicated(&w).len(), 4, "{:?}", indicated(&w));
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn glare_without_another_try_of_the_phone_is_resolved_by_ours() {
    for (who, other, at_most) in [(TRUNK, CAROL, 520), (CAROL, TRUNK, 4_020)] {
        for carol in [&AWARE, &OLD] {
            let mut w = connected(carol, carol);
            info(&mut w, "pause");
            accept(&mut w, other, SendRecv);
            for _ in 0..3 {
                if carol == &AWARE {
                    w.replies(who, 491, &[], None);
                } else if who == CAROL {
                    w.rings(491, "c", &[], None);
                } else {
                    w.respond(who, 491);
                }
                w.run(at_most);
            }
            assert_eq!(accept(&mut w, who, SendRecv), Some("paused"));
            w.bye(TRUNK);
            w.settle();
        }
    }
}

#[test]
fn a_change_while_a_phone_s_offer_is_under_way_is_in_its_answer() {
    for method in [Method::Update, Method::Invite] {
        let mut w = connected(&AWARE, &AWARE);
        w.asks(CAROL, method, &[], Some(&description(CAROL, SendOnly)));
        press(&mut w, "*48");
        assert_eq!(accept(&mut w, TRUNK, RecvOnly), Some("on"), "as it was");
        assert_eq!(state(&w.last_response(CAROL).body), Some("paused"));
        // The one who was told too early is told again.
        assert_eq!(accept(&mut w, TRUNK, RecvOnly), Some("paused"));
        w.run_s(5);
        assert!(w.parties[CAROL].asked.is_empty());
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn what_a_phone_refuses_is_not_said_again() {
    for code in [400, 415, 488, 606] {
        let mut w = connected(&AWARE, &AWARE);
        info(&mut w, "pause");
        w.replies(TRUNK, code, &[], None);
        accept(&mut w, CAROL, SendRecv);
        w.run_s(60);
        assert!(w.parties[TRUNK].asked.is_empty(), "{code}");
        assert!(w.parties[TRUNK].invites.is_empty(), "{code}");
        // Something else may be told.
        info(&mut w, "resume");
        accept(&mut w, CAROL, SendRecv);
        assert!(w.parties[TRUNK].asked.is_empty(), "it knows that: {code}");
        // And the same another time.
        info(&mut w, "pause");
        accept(&mut w, CAROL, SendRecv);
        assert_eq!(accept(&mut w, TRUNK, SendRecv), Some("paused"), "{code}");
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_phone_that_takes_no_update_with_an_offer_gets_an_invite() {
    for (code, with) in [(405, None), (501, None), (504, None), (200, None)] {
        let mut w = connected(&AWARE, &AWARE);
        info(&mut w, "pause");
        w.replies(TRUNK, code, &[], with);
        assert_eq!(w.parties[TRUNK].invites.len(), 1, "{code}");
        assert_eq!(accept(&mut w, TRUNK, SendRecv), Some("paused"), "{code}");
        accept(&mut w, CAROL, SendRecv);
        w.run_s(5);
        assert!(w.parties[TRUNK].invites.is_empty() && w.parties[TRUNK].asked.is_empty());
        w.bye(TRUNK);
        w.settle();
    }
    // An INVITE that is answered with nothing: no more of it.
    let mut w = unanswered(&OLD, &PLAIN, Mode::Always);
    w.respond_with(TRUNK, 200, None);
    w.run_s(60);
    assert!(w.parties[TRUNK].invites.is_empty());
    assert_eq!(indicated(&w), []);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_phone_that_is_busy_is_asked_when_it_says() {
    for code in [500, 503] {
        let mut w = connected(&AWARE, &AWARE);
        info(&mut w, "pause");
        accept(&mut w, CAROL, SendRecv);
        w.replies(TRUNK, code, &[("Retry-After", "1")], None);
        w.run(900);
        assert!(w.parties[TRUNK].asked.is_empty());
        w.run(200);
        assert_eq!(accept(&mut w, TRUNK, SendRecv), Some("paused"));
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_phone_that_is_gone_ends_the_call() {
    for code in [Some(481), Some(408), None] {
        let mut w = connected(&AWARE, &AWARE);
        info(&mut w, "pause");
        accept(&mut w, CAROL, SendRecv);
        match code {
            Some(code) => drop(w.replies(TRUNK, code, &[], None)),
            None => w.run_s(33),
        }
        let by = HungUpBy::DialogLost(Side::Caller);
        assert!(w.facts().contains(&Fact::HungUp { by }), "{code:?}");
        w.parties[TRUNK].asked.clear();
        w.settle();
    }
}

#[test]
fn a_preference_that_may_not_be_had_is_answered_with_what_is() {
    let (mode_forbids, not_owner) = (Refusal::ModeForbids, Refusal::NotOwner);
    for (who, other, mode, wanted, why) in [
        (
            CAROL,
            TRUNK,
            Mode::Always,
            RecordPreference::Pause,
            mode_forbids,
        ),
        (
            CAROL,
            TRUNK,
            Mode::AlwaysPauseResume,
            RecordPreference::Off,
            mode_forbids,
        ),
        (
            TRUNK,
            CAROL,
            Mode::AlwaysPauseResume,
            RecordPreference::Pause,
            not_owner,
        ),
        (
            TRUNK,
            CAROL,
            Mode::AlwaysPauseResume,
            RecordPreference::Off,
            not_owner,
        ),
    ] {
        for method in [Method::Update, Method::Invite] {
            let mut w = unanswered(&AWARE, &AWARE, mode);
            for who in [TRUNK, CAROL] {
                accept(&mut w, who, SendRecv);
            }
            w.asks(who, method, &[], Some(&prefers(who, SendRecv, wanted)));
            let body = match w.parties[other].asked.first() {
                Some((_, update)) => update.body.clone(),
                None => w.parties[other].invites[0].1.body.clone(),
            };
            assert!(!String::from_utf8_lossy(&body).contains("recordpref"));
            assert_eq!(accept(&mut w, other, SendRecv), Some("on"));
            let answer = w.last_response(who);
            assert_eq!(
                (answer.status.code(), state(&answer.body)),
                (200, Some("on"))
            );
            let refused = w.facts().into_iter().filter_map(|fact| match fact {
                Fact::ControlRefused { by, why, .. } => Some((by, why)),
                _ => None,
            });
            assert_eq!(refused.collect::<Vec<_>>(), [(Means::Offer, why)]);
            assert!(w.times("PAUSE").is_empty());
            w.bye(TRUNK);
            w.settle();
        }
    }
}

#[test]
fn a_preference_that_is_none_changes_nothing() {
    for line in ["nopreference", "paused", "stop", ""] {
        let mut w = connected(&AWARE, &AWARE);
        let plain = description(CAROL, SendRecv).write();
        let text = format!("{}a=recordpref:{line}\r\n", String::from_utf8_lossy(&plain));
        let odd = Description::parse(text.as_bytes()).unwrap();
        w.asks(CAROL, Method::Update, &[], Some(&odd));
        accept(&mut w, TRUNK, SendRecv);
        assert_eq!(state(&w.last_response(CAROL).body), Some("on"));
        let refused = |f: &Fact| matches!(f, Fact::ControlRefused { .. });
        assert!(!w.facts().iter().any(refused) && w.times("PAUSE").is_empty());
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_preference_and_a_hold_in_one_offer() {
    let mut w = connected(&AWARE, &AWARE);
    let both = prefers(CAROL, SendOnly, RecordPreference::Pause);
    w.asks(CAROL, Method::Update, &[], Some(&both));
    let told = w.parties[TRUNK].asked[0].1.body.clone();
    assert_eq!(
        (direction(&told), state(&told)),
        ("sendonly", Some("paused"))
    );
    // Refused as a session, it has paused all the same, and she hears of that.
    w.replies(TRUNK, 488, &[], None);
    assert_eq!(w.last_response(CAROL).status.code(), 488);
    assert_eq!(accept(&mut w, CAROL, SendRecv), Some("paused"));
    assert_eq!(accept(&mut w, TRUNK, SendRecv), Some("paused"));
    assert_eq!(w.times("PAUSE").len(), 1);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn what_was_preferred_at_the_start_is_done_when_the_call_stands() {
    for (wanted, phase, word) in [
        (RecordPreference::Pause, Phase::Paused, "paused"),
        (RecordPreference::On, Phase::Started, "on"),
        (RecordPreference::Off, Phase::Started, "on"),
    ] {
        let mut settings = settings();
        settings.users[2].recording_mut().mode = Mode::AlwaysPauseResume;
        let mut w = World::with(settings, 5);
        w.begin(&AWARE, Some(&description(TRUNK, SendRecv)));
        w.rings(200, "c", &AWARE, Some(&prefers(CAROL, SendRecv, wanted)));
        let answer = String::from_utf8_lossy(&w.last_response(TRUNK).body).into_owned();
        assert!(!answer.contains("recordpref"));
        let phases: Vec<Phase> = w.engine.running().iter().map(|r| r.phase).collect();
        assert_eq!(phases, [phase], "{wanted:?}");
        assert_eq!(accept(&mut w, CAROL, SendRecv), Some(word));
        assert_eq!(accept(&mut w, TRUNK, SendRecv), Some(word));
        let refused = |f: &&Fact| {
            matches!(
                f,
                Fact::ControlRefused {
                    by: Means::Offer,
                    ..
                }
            )
        };
        let refused = w.facts().iter().filter(refused).count();
        assert_eq!(refused, usize::from(wanted == RecordPreference::Off));
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_preference_that_is_repeated_is_no_new_wish() {
    use RecordPreference::On;
    for method in [Method::Update, Method::Invite] {
        let mut settings = settings();
        settings.users[2].recording_mut().mode = Mode::AlwaysPauseResume;
        let mut w = World::with(settings, 5);
        w.begin(&AWARE, Some(&description(TRUNK, SendRecv)));
        w.rings(200, "c", &AWARE, Some(&standing(SendRecv, On, 1)));
        // Both times she says it again: the answers to what she is told have the line as well.
        let told = |w: &mut World, word: &str| {
            assert_eq!(accept(w, TRUNK, SendRecv), Some(word));
            let answer = standing(SendRecv, On, 1);
            let update = w.replies(CAROL, 200, &[], Some(&answer));
            assert_eq!(state(&update.body), Some(word));
        };
        told(&mut w, "on");
        info(&mut w, "pause");
        told(&mut w, "paused");
        for (offer, answer) in [
            (standing(SendRecv, On, 1), SendRecv),
            (standing(SendOnly, On, 2), RecvOnly),
            (standing(SendRecv, On, 3), SendRecv),
            (standing(SendRecv, On, 3), SendRecv),
            // One that says nothing of it has not changed its mind.
            (versioned(&description(CAROL, SendOnly), 4), RecvOnly),
            (standing(SendRecv, On, 5), SendRecv),
        ] {
            offers(&mut w, &method, &offer, answer);
            assert_eq!(phase(&w), Phase::Paused, "{offer:?}");
        }
        // The button is pressed: nothing else is in this offer.
        offers(&mut w, &method, &standing(SendRecv, On, 6), SendRecv);
        assert_eq!(phase(&w), Phase::Started);
        assert_eq!(w.times("RESUME").len(), 1);
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_preference_that_has_changed_counts_in_answers_too() {
    use RecordPreference::{On, Pause};
    // In the answer to an offer of ours, and to one of the other party.
    for ours in [true, false] {
        let mut w = connected(&AWARE, &AWARE);
        match ours {
            true => {
                info(&mut w, "pause");
                info(&mut w, "resume");
            }
            false => w.asks(
                TRUNK,
                Method::Update,
                &[],
                Some(&description(TRUNK, SendRecv)),
            ),
        }
        accept(&mut w, TRUNK, SendRecv);
        w.replies(CAROL, 200, &[], Some(&standing(SendRecv, Pause, 2)));
        assert_eq!(phase(&w), Phase::Paused, "ours: {ours}");
        // She is asked again because of that, and it is the same wish.
        info(&mut w, "resume");
        while !w.parties[CAROL].asked.is_empty() {
            w.replies(CAROL, 200, &[], Some(&standing(SendRecv, Pause, 3)));
        }
        assert_eq!(phase(&w), Phase::Started, "ours: {ours}");
        while !w.parties[TRUNK].asked.is_empty() {
            accept(&mut w, TRUNK, SendRecv);
        }
        w.asks(
            TRUNK,
            Method::Invite,
            &[],
            Some(&description(TRUNK, SendRecv)),
        );
        w.rings(200, "c", &[], Some(&standing(SendRecv, On, 4)));
        assert_eq!(phase(&w), Phase::Started);
        assert_eq!(w.times("PAUSE").len(), if ours { 2 } else { 1 });
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn to_prefer_a_recording_keeps_one_that_is_paused() {
    let mut w = unanswered(&AWARE, &AWARE, Mode::OnDemand);
    for who in [TRUNK, CAROL] {
        accept(&mut w, who, SendRecv);
    }
    info(&mut w, "pause");
    for who in [TRUNK, CAROL] {
        assert_eq!(accept(&mut w, who, SendRecv), Some("paused"));
    }
    let on = prefers(CAROL, SendRecv, RecordPreference::On);
    offers(&mut w, &Method::Update, &on, SendRecv);
    assert_eq!(phase(&w), Phase::Started);
    let by = Means::Offer;
    for fact in [Fact::Kept { by }, Fact::Resumed { by }] {
        assert!(w.facts().contains(&fact), "{fact:?}");
    }
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn what_a_newcomer_prefers_is_heeded() {
    let mut settings = settings();
    settings.users[2].recording_mut().mode = Mode::AlwaysPauseResume;
    settings.users[3].recording_mut().mode = Mode::AlwaysPauseResume;
    let mut w = World::with(settings, 5);
    w.connected_call_with(&AWARE, &PLAIN);
    accept(&mut w, TRUNK, SendRecv);
    // Carol gives her place to dave, whose phone wants a pause of his own recording.
    w.refer(CAROL, "1004", &[]);
    let wants = description(DAVE, SendRecv).with_record_preference(Some(RecordPreference::Pause));
    w.respond_with(DAVE, 200, Some(&wants));
    w.run(200);
    let phases: Vec<Phase> = w.engine.running().iter().map(|r| r.phase).collect();
    assert_eq!(phases, [Phase::Paused]);
    assert!(w.facts().contains(&Fact::Paused { by: Means::Offer }));
    w.bye(TRUNK);
    w.run_s(5);
    w.settle();
}

#[test]
fn neither_attribute_crosses_and_the_tag_neither() {
    let mut settings = settings();
    settings.users[2].recording_mut().mode = Mode::AlwaysPauseResume;
    let mut w = World::with(settings, 5);
    // As linphone does: it says itself how it stands with a recording.
    let own = |who| description(who, SendRecv).with_record_state(Some(RecordState::Off));
    w.begin(&AWARE, Some(&own(TRUNK)));
    let invite = w.parties[CAROL].invites[0].1.clone();
    assert!(!invite.tags("Supported").any(|tag| tag == "record-aware"));
    assert!(!String::from_utf8_lossy(&invite.body).contains("a=record"));
    w.rings(200, "c", &PLAIN, Some(&own(CAROL)));
    let answer = w.last_response(TRUNK).clone();
    assert!(!answer.tags("Supported").any(|tag| tag == "record-aware"));
    assert_eq!(accept(&mut w, TRUNK, SendRecv), Some("on"));
    w.asks(CAROL, Method::Update, &[], Some(&own(CAROL)));
    assert_eq!(accept(&mut w, TRUNK, SendRecv), Some("on"), "not hers");
    let answer = String::from_utf8_lossy(&w.last_response(CAROL).body).into_owned();
    assert!(!answer.contains("a=record"), "she is not aware");
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn awareness_may_come_with_a_later_offer() {
    for method in [Method::Invite, Method::Update] {
        let mut w = connected(&PLAIN, &PLAIN);
        assert_eq!(told(&w, CAROL), "");
        w.asks(CAROL, method, &AWARE, Some(&description(CAROL, SendRecv)));
        accept(&mut w, TRUNK, SendRecv);
        assert_eq!(told(&w, CAROL), "on", "in the answer");
        info(&mut w, "pause");
        assert_eq!(accept(&mut w, CAROL, SendRecv), Some("paused"));
        assert_eq!(told(&w, TRUNK), "");
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_newcomer_by_transfer_is_told() {
    let mut w = connected(&AWARE, &AWARE);
    info(&mut w, "pause");
    for who in [TRUNK, CAROL] {
        accept(&mut w, who, SendRecv);
    }
    w.parties[DAVE].takes = vec![Method::Update];
    w.refer(TRUNK, "1004", &[]);
    let invite = w.parties[DAVE].invites[0].clone();
    assert_eq!(state(&invite.1.body), None, "nobody knows what dave can");
    let mut answer = duolog_sip::Response::to(&invite.1, crate::world::status(200));
    answer.set_to_tag("d");
    answer.headers.push("Contact", "<sip:1004@192.0.2.13>");
    for (name, value) in AWARE {
        answer.headers.push(name, value);
    }
    answer.set_body("application/sdp", description(DAVE, SendRecv).write());
    let flow = w.flow_from(DAVE);
    w.parties[DAVE].invites.clear();
    w.parties[DAVE].dialog = duolog_sip::Dialog::uas(&invite.1, &answer, flow).ok();
    w.answer(DAVE, invite.0, answer);
    w.run(100);
    assert_eq!(accept(&mut w, DAVE, SendRecv), Some("paused"));
    assert!(w.parties[CAROL].asked.is_empty(), "she knows");
    info(&mut w, "resume");
    assert_eq!(accept(&mut w, DAVE, SendRecv), Some("on"));
    assert_eq!(accept(&mut w, CAROL, SendRecv), Some("on"));
    let last = indicated(&w).pop();
    assert_eq!(last, Some((Side::Callee, Indication::On)));
    w.bye(CAROL);
    w.settle();
}

#[test]
fn a_refresh_says_the_same_and_no_more() {
    let mut settings = settings();
    settings.users[2].recording_mut().mode = Mode::AlwaysPauseResume;
    let mut w = World::with(settings, 5);
    let mut fields = OLD.to_vec();
    fields.push(("Supported", "timer"));
    fields.push(("Session-Expires", "90;refresher=uas"));
    w.connected_call_with(&fields, &PLAIN);
    let first = w.parties[TRUNK].invites[0].1.body.clone();
    assert_eq!(accept(&mut w, TRUNK, SendRecv), Some("on"));
    let version = |body: &[u8]| Description::parse(body).unwrap().version();
    w.asks(
        TRUNK,
        Method::Invite,
        &[],
        Some(&description(TRUNK, SendRecv)),
    );
    accept(&mut w, CAROL, SendRecv);
    let answer = w.last_response(TRUNK).body.clone();
    assert_eq!(state(&answer), Some("on"));
    assert_eq!(version(&answer), version(&first), "nothing has changed");
    w.bye(TRUNK);
    w.settle();
}
