//! INFO: controls that are not known, and keys as INFO bodies (`application/dtmf-relay`,
//! `application/dtmf`).

use duolog_call::{Fact, Means};
use duolog_sip::Method;

use crate::world::{ALICE, TRUNK, World, description};
use duolog_sip::sdp::Direction::SendRecv;

const RELAY: &str = "application/dtmf-relay";
const PLAIN: &str = "application/dtmf";

/// A call of TRUNK, who takes these methods, to ALICE, who may pause; the announcement is over.
fn connected(allow: &str) -> World {
    let mut w = World::new();
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
        assert_eq!(got(&w), want);
        // What was held back goes when its time is over.
        presses(&mut w, kind, "*4");
        assert_eq!(got(&w).len(), 3);
        w.run_s(4);
        assert_eq!(got(&w).len(), 5);
        assert!(!w.commands().contains("digits"), "{}", w.commands());
        while !w.parties[TRUNK].asked.is_empty() {
            w.replies(TRUNK, 200, &[], None);
        }
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
    for code in [405, 415, 501] {
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
