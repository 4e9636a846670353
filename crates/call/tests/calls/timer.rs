//! Session timers (RFC 4028): each leg its own, refreshed by either end.

use duolog_call::{Fact, HungUpBy, Settings, Side};
use duolog_sip::sdp::Direction::SendRecv;
use duolog_sip::{Message, Method};

use crate::by_hand::ALL;
use crate::world::{CAROL, TRUNK, World, description, settings};

const PLAIN: [(&str, &str); 1] = [("Allow", "INVITE, ACK, BYE, CANCEL")];

fn short() -> Settings {
    let mut settings = settings();
    settings.session_timer.expires_s = 600;
    settings
}

fn expired(side: Side) -> Fact {
    Fact::HungUp {
        by: HungUpBy::SessionExpired(side),
    }
}

#[test]
fn nobody_is_refreshed_who_does_not_know_of_it() {
    let mut w = World::with(short(), 1);
    w.connected_call_with(&PLAIN, &PLAIN);
    let invite = w.requests(CAROL, &Method::Invite)[0];
    assert_eq!(invite.headers.value("Session-Expires"), Some("600"));
    assert!(invite.tags("Supported").any(|tag| tag == "timer"));
    assert!(!w.last_response(TRUNK).headers.has("Session-Expires"));
    let before = (w.heard(TRUNK), w.heard(CAROL));
    w.run_s(5000);
    assert_eq!((w.heard(TRUNK), w.heard(CAROL)), before);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn this_node_refreshes_by_update() {
    let mut w = World::with(short(), 1);
    let granted = [
        ("Session-Expires", "600;refresher=uac"),
        ("Require", "timer"),
    ];
    let carol: Vec<_> = ALL.iter().chain(&granted).copied().collect();
    w.connected_call_with(&ALL, &carol);
    let answered = w.last_response(TRUNK);
    assert_eq!(
        answered.headers.value("Session-Expires"),
        Some("600;refresher=uas")
    );
    assert!(answered.tags("Require").any(|tag| tag == "timer"));
    let media = w.commands();
    for _ in 0..5 {
        w.run_s(301);
        for who in [TRUNK, CAROL] {
            let update = w.replies(who, 200, &granted, None);
            assert_eq!(update.method, Method::Update);
            assert!(update.body.is_empty());
            let asked = update.headers.value("Session-Expires");
            assert_eq!(asked, Some("600;refresher=uac"));
        }
    }
    assert_eq!(w.commands(), media, "nobody hears of it");
    assert_eq!(w.requests(TRUNK, &Method::Update).len(), 5);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn or_by_a_reinvite_that_changes_nothing() {
    let mut w = World::with(short(), 1);
    let granted = ("Session-Expires", "600;refresher=uac");
    w.connected_call_with(&PLAIN, &[granted]);
    let told = w.requests(CAROL, &Method::Invite)[0].body.clone();
    w.run_s(301);
    let again = w.last_request(CAROL).clone();
    assert_eq!(
        (again.method.clone(), again.body == told),
        (Method::Invite, true)
    );
    let media = w.commands();
    w.rings(200, "c", &[granted], Some(&description(CAROL, SendRecv)));
    assert_eq!(w.commands(), media);
    assert_eq!(w.requests(CAROL, &Method::Ack).len(), 2);
    // Refused in a way that leaves the dialog standing: it is tried again before the end.
    w.run_s(300);
    w.rings(500, "c", &[], None);
    w.run_s(150);
    assert_eq!(w.parties[CAROL].invites.len(), 1);
    w.rings(500, "c", &[], None);
    w.run_s(150);
    assert!(
        w.facts().contains(&expired(Side::Callee)),
        "{:?}",
        w.facts()
    );
    assert!(w.heard(CAROL).ends_with("BYE") && w.heard(TRUNK).ends_with("BYE"));
    w.settle();
}

#[test]
fn a_party_that_ought_to_refresh_and_does_not_is_gone() {
    for silent in [Side::Caller, Side::Callee] {
        let mut w = World::with(short(), 1);
        let (caller, callee) = match silent {
            Side::Caller => (("Session-Expires", "600;refresher=uac"), ("X", "y")),
            Side::Callee => (("X", "y"), ("Session-Expires", "600;refresher=uas")),
        };
        let trunk = match silent {
            Side::Caller => vec![ALL[0], ALL[1], caller],
            Side::Callee => vec![ALL[1], caller],
        };
        w.connected_call_with(&trunk, &[ALL[1], callee]);
        w.run_s(567);
        assert!(!w.facts().contains(&expired(silent)));
        w.run_s(2);
        assert!(
            w.facts().contains(&expired(silent)),
            "{silent:?} {:?}",
            w.facts()
        );
        assert!(w.heard(CAROL).ends_with("BYE") && w.heard(TRUNK).ends_with("BYE"));
        w.settle();
    }
}

#[test]
fn a_party_refreshes_by_update_or_reinvite() {
    let mut w = World::with(short(), 1);
    let own = ("Session-Expires", "600;refresher=uac");
    let trunk: Vec<_> = ALL.iter().chain([&own]).copied().collect();
    w.connected_call_with(&trunk, &PLAIN);
    let answered = w.last_response(TRUNK);
    assert_eq!(answered.headers.value("Session-Expires"), Some(own.1));
    w.run_s(300);
    w.asks(TRUNK, Method::Update, &trunk, None);
    assert_eq!(
        w.last_response(TRUNK).headers.value("Session-Expires"),
        Some(own.1)
    );
    w.run_s(300);
    // A re-INVITE refreshes its own leg, and the other one on its way.
    w.asks(
        TRUNK,
        Method::Invite,
        &trunk,
        Some(&description(TRUNK, SendRecv)),
    );
    w.rings(200, "c", &[], Some(&description(CAROL, SendRecv)));
    assert_eq!(
        w.last_response(TRUNK).headers.value("Session-Expires"),
        Some(own.1)
    );
    w.run_s(560);
    assert!(!w.facts().contains(&expired(Side::Caller)));
    w.run_s(20);
    assert!(w.facts().contains(&expired(Side::Caller)));
    w.settle();
}

#[test]
fn intervals_that_are_too_small_are_422_both_ways() {
    let mut w = World::with(short(), 1);
    // The callee wants more: it is asked again, and the caller hears nothing of it.
    w.begin(&ALL, Some(&description(TRUNK, SendRecv)));
    w.rings(422, "x", &[("Min-SE", "900")], None);
    let again = w.last_request(CAROL).clone();
    assert_eq!(again.method, Method::Invite);
    assert_eq!(again.headers.value("Session-Expires"), Some("900"));
    assert_eq!(again.headers.value("Min-SE"), Some("900"));
    assert_eq!(again.cseq().unwrap().number, 2);
    assert_eq!(w.heard(TRUNK), "");
    let granted = [("Session-Expires", "900;refresher=uas"), ALL[1]];
    w.rings(200, "c", &granted, Some(&description(CAROL, SendRecv)));
    // Within the call: of a party's re-INVITE and UPDATE, before it goes anywhere.
    let small = [("Supported", "timer"), ("Session-Expires", "60")];
    for method in [Method::Update, Method::Invite] {
        w.asks(TRUNK, method, &small, Some(&description(TRUNK, SendRecv)));
        let refused = w.last_response(TRUNK);
        assert_eq!((refused.status.code(), refused.min_se()), (422, Some(90)));
    }
    // Of a re-INVITE, and of an UPDATE, that goes across.
    w.asks(
        TRUNK,
        Method::Invite,
        &[],
        Some(&description(TRUNK, SendRecv)),
    );
    w.rings(422, "c", &[("Min-SE", "1000")], None);
    let again = w.last_request(CAROL).headers.value("Session-Expires");
    assert_eq!(again, Some("1000;refresher=uas"));
    w.rings(200, "c", &granted, Some(&description(CAROL, SendRecv)));
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    w.asks(
        TRUNK,
        Method::Update,
        &[],
        Some(&description(TRUNK, SendRecv)),
    );
    w.replies(CAROL, 422, &[("Min-SE", "1100")], None);
    let update = w.replies(CAROL, 200, &granted, Some(&description(CAROL, SendRecv)));
    assert_eq!(
        update.headers.value("Session-Expires"),
        Some("1100;refresher=uas")
    );
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    w.bye(TRUNK);
    w.settle();

    // A 422 that asks for nothing new is passed on.
    let mut w = World::new();
    w.begin(&ALL, Some(&description(TRUNK, SendRecv)));
    w.rings(422, "x", &[], None);
    assert_eq!(w.last_response(TRUNK).status.code(), 422);
    w.settle();

    // The caller's own is too small.
    let mut w = World::new();
    w.begin(&small, Some(&description(TRUNK, SendRecv)));
    let refused = w.last_response(TRUNK);
    assert_eq!((refused.status.code(), refused.min_se()), (422, Some(90)));
    w.settle();
}

#[test]
fn a_refresh_that_meets_something() {
    // 491: this node waits its turn (RFC 3261 §14.1), and tries again.
    for (who, granted, from_ms, to_ms) in [(CAROL, "uac", 2100, 4000), (TRUNK, "uas", 0, 2000)] {
        let mut w = World::with(short(), 1);
        let interval = format!("600;refresher={granted}");
        let fields = [("Session-Expires", interval.as_str()), ALL[1], ALL[0]];
        match who {
            CAROL => w.connected_call_with(&[ALL[1]], &fields),
            _ => w.connected_call_with(&fields, &[ALL[1]]),
        }
        w.run_s(301);
        let at = w.ms();
        w.replies(who, 491, &[], None);
        let mut waited = None;
        for _ in 0..500 {
            if !w.parties[who].asked.is_empty() {
                waited = Some(w.ms() - at);
                break;
            }
            w.run(10);
        }
        let waited = waited.expect("a second try");
        assert!(
            (from_ms..=to_ms + 100).contains(&waited),
            "{who}: {waited} ms"
        );
        w.replies(who, 200, &[("Session-Expires", &interval)], None);
        w.bye(TRUNK);
        w.settle();
    }

    // 481, 408 and silence: the dialog is gone.
    for code in [Some(481), Some(408), None] {
        let mut w = World::with(short(), 1);
        let granted = [("Session-Expires", "600;refresher=uac"), ALL[1]];
        w.connected_call_with(&[ALL[1]], &granted);
        w.run_s(301);
        match code {
            Some(code) => {
                w.replies(CAROL, code, &[], None);
            }
            None => w.run_s(35),
        }
        let lost = HungUpBy::DialogLost(Side::Callee);
        assert!(w.facts().contains(&Fact::HungUp { by: lost }), "{code:?}");
        w.settle();
    }

    // A party's offer while our refresh is out: 491, for it would go the same way.
    let mut w = World::with(short(), 1);
    w.connected_call_with(
        &PLAIN,
        &[("Session-Expires", "600;refresher=uac"), PLAIN[0]],
    );
    w.run_s(301);
    assert_eq!(w.parties[CAROL].invites.len(), 1);
    for who in [TRUNK, CAROL] {
        w.asks(who, Method::Invite, &[], Some(&description(who, SendRecv)));
        assert_eq!(w.last_response(who).status.code(), 491, "{who}");
    }
    // The call ends while our refresh is out: a late 2xx is acknowledged.
    w.lose = Some(Box::new(
        |m| matches!(m, Message::Request(r) if r.method == Method::Cancel),
    ));
    w.asks(TRUNK, Method::Bye, &[], None);
    w.rings(200, "c", &[], Some(&description(CAROL, SendRecv)));
    assert_eq!(w.requests(CAROL, &Method::Ack).len(), 2);
    w.settle();
}
