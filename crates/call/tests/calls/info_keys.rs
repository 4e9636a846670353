//! INFO: controls that are not known, and keys as INFO bodies (`application/dtmf-relay`,
//! `application/dtmf`), by themselves and beside keys in the media.

use duolog_call::{Digit, Fact, LegId, Means, MediaEvent, Mode, Phase};
use duolog_sip::Method;

use crate::world::{ALICE, TRUNK, World, description, settings};
use duolog_sip::sdp::Direction::SendRecv;

const RELAY: &str = "application/dtmf-relay";
const PLAIN: &str = "application/dtmf";

/// A call of TRUNK, who takes these methods, to ALICE, who may pause; the announcement is over.
fn connected(allow: &str) -> World {
    connected_in(Mode::AlwaysPauseResume, allow)
}

/// The same, with ALICE in another mode.
fn connected_in(mode: Mode, allow: &str) -> World {
    let mut settings = settings();
    settings.users[0].recording_mut().mode = mode;
    let mut w = World::with(settings, 1);
    let mut invite = w.new_invite(TRUNK, "1001");
    invite.headers.push("Allow", allow);
    w.send_new(TRUNK, invite);
    w.run(100);
    w.respond_with(ALICE, 200, Some(&description(ALICE, SendRecv)));
    w.run_s(3);
    w.parties[TRUNK].takes = vec![Method::Info];
    w
}

fn sends(w: &mut World, who: usize, kind: &str, body: &str) -> u16 {
    let dialog = w.parties[who].dialog.as_mut().unwrap();
    let mut info = dialog.request(Method::Info);
    info.set_body(kind, body.to_owned().into());
    w.send_new(who, info);
    w.run(30);
    w.last_response(who).status.code()
}

fn presses(w: &mut World, kind: &str, keys: &str) {
    for key in keys.chars() {
        let body = match kind {
            RELAY => format!("Signal={key}\r\nDuration=160\r\n"),
            _ => key.to_string(),
        };
        assert_eq!(sends(w, ALICE, kind, &body), 200);
    }
}

/// ALICE's phone has sent a key with her media.
fn sounds(w: &mut World, key: char) {
    let event = "0123456789*#ABCD".find(key).unwrap() as u8;
    let (leg, duration_ms) = (LegId(2), 100);
    let digit = Digit { event, duration_ms };
    w.report(MediaEvent::Digit { leg, digit });
    w.run(30);
}

/// Which report of a press comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Info,
    Media,
}

fn presses_by_both(w: &mut World, first: First, keys: &str) {
    for key in keys.chars() {
        if first == First::Media {
            sounds(w, key);
        }
        presses(w, RELAY, &key.to_string());
        if first == First::Info {
            sounds(w, key);
        }
    }
}

/// TRUNK answers the INFO that it has, and what comes because of that.
fn takes_all(w: &mut World) {
    while !w.parties[TRUNK].asked.is_empty() {
        w.replies(TRUNK, 200, &[], None);
    }
}

fn phase(w: &World) -> Phase {
    w.engine.running()[0].phase
}

/// Types and bodies of the INFO that the other party has got.
fn got(w: &World) -> Vec<(String, String)> {
    let infos = w.requests(TRUNK, &Method::Info).into_iter().map(|info| {
        let kind = info.headers.value("Content-Type").unwrap_or_default();
        (
            kind.to_owned(),
            String::from_utf8_lossy(&info.body).into_owned(),
        )
    });
    infos.collect()
}

#[test]
fn other_values_of_record_are_489() {
    let mut w = connected("INVITE, INFO");
    for value in ["maybe", "", "paused", "on off", "1"] {
        w.within(ALICE, Method::Info, &[("Record", value)]);
        w.run(30);
        assert_eq!(w.last_response(ALICE).status.code(), 489, "{value}");
    }
    for (value, status) in [("PAUSE", 200), (" resume ", 200), ("Off", 403), ("on", 200)] {
        w.within(ALICE, Method::Info, &[("Record", value)]);
        w.run(30);
        assert_eq!(w.last_response(ALICE).status.code(), status, "{value}");
    }
    assert!(got(&w).is_empty(), "none of them passes");
    w.bye(TRUNK);
    w.run(50);
    w.settle();
}

#[test]
fn a_code_is_swallowed_and_other_keys_go_on_in_their_form() {
    for kind in [RELAY, PLAIN] {
        let mut w = connected("INVITE, INFO");
        presses(&mut w, kind, "*48");
        assert!(w.facts().contains(&Fact::Paused {
            by: Means::FeatureCode
        }));
        assert!(got(&w).is_empty());
        presses(&mut w, kind, "7*5");
        let body = |key: &str| match kind {
            RELAY => format!("Signal={key}\r\nDuration=160\r\n"),
            _ => key.to_owned(),
        };
        let want = ["7", "*", "5"].map(|key| (kind.to_owned(), body(key)));
        assert_eq!(got(&w), want[..1], "one at a time");
        takes_all(&mut w);
        assert_eq!(got(&w), want);
        // What was held back goes when its time is over.
        presses(&mut w, kind, "*4");
        assert_eq!(got(&w).len(), 3);
        w.run_s(4);
        takes_all(&mut w);
        assert_eq!(got(&w).len(), 5);
        assert!(!w.commands().contains("digits"), "{}", w.commands());
        presses(&mut w, kind, "*49");
        assert!(w.facts().contains(&Fact::Resumed {
            by: Means::FeatureCode
        }));
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn who_takes_no_info_hears_keys() {
    let mut w = connected("INVITE, ACK, BYE");
    presses(&mut w, RELAY, "12");
    assert!(got(&w).is_empty());
    assert!(
        w.commands().contains("digits-a-1 digits-a-2"),
        "{}",
        w.commands()
    );
    w.bye(TRUNK);
    w.settle();

    // One that said so and does not: nothing is lost.
    for code in [405, 415, 469, 501] {
        let mut w = connected("INVITE, INFO");
        presses(&mut w, RELAY, "1");
        w.replies(TRUNK, code, &[], None);
        presses(&mut w, RELAY, "2");
        assert_eq!(got(&w).len(), 1);
        assert!(
            w.commands().contains("digits-a-1 digits-a-2"),
            "{}",
            w.commands()
        );
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_key_that_is_refused_once_keeps_its_place() {
    for code in [Some(491), Some(500), Some(503), None] {
        let mut w = connected("INVITE, INFO");
        presses(&mut w, RELAY, "123");
        assert_eq!(got(&w).len(), 1, "one at a time");
        w.replies(TRUNK, 200, &[], None);
        assert_eq!(got(&w).len(), 2, "the next");
        match code {
            Some(code) => drop(w.replies(TRUNK, code, &[], None)),
            // Nothing is heard of it for 64*T1 (RFC 3261 §17.1.2.2).
            None => w.run(32_000),
        }
        assert_eq!(w.times("digits-a-23").len(), 1, "{}", w.commands());
        // While those are being sent, what follows goes behind them; later it is tried again.
        presses(&mut w, RELAY, "4");
        assert_eq!((got(&w).len(), w.times("digits-a-4").len()), (2, 1));
        w.run_s(2);
        presses(&mut w, RELAY, "5");
        assert_eq!(got(&w).len(), 3, "{code:?}");
        w.parties[TRUNK].asked.clear();
        w.bye(TRUNK);
        w.run_s(40);
        w.settle();
    }
}

#[test]
fn keys_that_wait_are_bounded() {
    let mut w = connected("INVITE, INFO");
    presses(&mut w, PLAIN, "12345678901234567890123456789012345");
    assert_eq!(got(&w).len(), 1);
    let all = w.times("digits-a-234567890123456789012345678901234");
    assert_eq!(all.len(), 1, "{}", w.commands());
    assert_eq!(w.times("digits-a-5").len(), 1, "{}", w.commands());
    takes_all(&mut w);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_code_that_comes_by_both_ways_is_that_code() {
    let on = Phase::Started;
    for first in [First::Info, First::Media] {
        let mut w = connected_in(Mode::OnDemandUserStart, "INVITE, INFO");
        for (code, then) in [
            ("*48", Phase::Idle),
            ("*44", on),
            ("*48", Phase::Paused),
            ("*49", on),
            ("*45", Phase::Stopped),
        ] {
            presses_by_both(&mut w, first, code);
            w.run_s(4);
            assert_eq!(phase(&w), then, "{code} {first:?}");
        }
        assert!(got(&w).is_empty() && !w.commands().contains("digits"));
        w.bye(TRUNK);
        w.settle();

        let mut w = connected_in(Mode::OnDemand, "INVITE, INFO");
        for (code, then) in [("*48", Phase::Paused), ("*49", Phase::Provisional)] {
            presses_by_both(&mut w, first, code);
            w.run_s(4);
            assert_eq!(phase(&w), then, "{code} {first:?}: nobody asked for it");
        }
        assert!(got(&w).is_empty() && !w.commands().contains("digits"));
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_key_that_comes_by_both_ways_goes_on_once() {
    let mut w = connected("INVITE, INFO");
    presses_by_both(&mut w, First::Media, "11*5");
    let words = ["digits-a-1", "digits-a-*5"].map(|word| w.times(word).len());
    assert_eq!((words, got(&w).len()), ([2, 1], 0), "{}", w.commands());
    w.bye(TRUNK);
    w.settle();

    let mut w = connected("INVITE, INFO");
    w.parties[TRUNK].takes.clear();
    presses_by_both(&mut w, First::Info, "11*5");
    let bodies: Vec<String> = got(&w).into_iter().map(|(_, body)| body).collect();
    let want = ["1", "1", "*", "5"].map(|key| format!("Signal={key}\r\nDuration=160\r\n"));
    assert_eq!(bodies, want);
    assert!(!w.commands().contains("digits"), "{}", w.commands());
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_phone_that_changes_its_way_of_sending_keys_is_still_heard() {
    let mut w = connected("INVITE, ACK, BYE");
    sounds(&mut w, '5');
    presses(&mut w, RELAY, "*48");
    assert_eq!(phase(&w), Phase::Paused);
    w.run_s(11);
    "*49".chars().for_each(|key| sounds(&mut w, key));
    assert_eq!(phase(&w), Phase::Started);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn what_is_no_key_of_an_owner_passes_as_it_is() {
    let mut w = connected("INVITE, INFO");
    w.parties[TRUNK].takes.clear();
    for (kind, body) in [
        (RELAY, "Signal=!\r\n"),
        (RELAY, ""),
        (PLAIN, "flash"),
        ("text/plain", "5"),
    ] {
        assert_eq!(sends(&mut w, ALICE, kind, body), 200);
        assert_eq!(w.last_response(ALICE).headers.value("X-From"), Some("9000"));
        assert_eq!(got(&w).pop(), Some((kind.to_owned(), body.to_owned())));
    }
    // A code of the far party is nothing to this node.
    for key in ["*", "4", "8"] {
        assert_eq!(sends(&mut w, TRUNK, PLAIN, key), 200);
        assert_eq!(w.last_response(TRUNK).headers.value("X-From"), Some("1001"));
    }
    assert!(w.times("PAUSE").is_empty());
    w.bye(TRUNK);
    w.settle();
}
