//! UPDATE (RFC 3311), before and after the answer, and offers that meet each other (RFC 3261 §14,
//! RFC 5407 §3).

use duolog_call::{Fact, HungUpBy, Side};
use duolog_sip::Method;
use duolog_sip::sdp::Direction::{RecvOnly, SendOnly, SendRecv};

use crate::by_hand::{ALL, direction};
use crate::world::{CAROL, TRUNK, World, description};

const NO_UPDATE: [(&str, &str); 1] = [("Allow", "INVITE, ACK, BYE, CANCEL")];

#[test]
fn an_offer_in_an_update_goes_on_as_update() {
    for (who, other, by) in [(TRUNK, CAROL, Side::Caller), (CAROL, TRUNK, Side::Callee)] {
        let mut w = World::new();
        w.connected_call();
        w.asks(who, Method::Update, &[], Some(&description(who, SendOnly)));
        let update = w.replies(other, 200, &ALL, Some(&description(other, RecvOnly)));
        assert_eq!(update.method, Method::Update);
        assert_eq!(direction(&update.body), "sendonly");
        assert!(update.headers.has("Contact") && update.headers.has("Allow"));
        let answer = w.last_response(who);
        assert_eq!(
            (answer.status.code(), direction(&answer.body)),
            (200, "recvonly")
        );
        assert!(answer.headers.has("Contact"));
        assert!(w.facts().contains(&Fact::Held { by }));
        w.asks(who, Method::Update, &[], Some(&description(who, SendRecv)));
        w.replies(other, 200, &[], Some(&description(other, SendRecv)));
        assert!(w.facts().contains(&Fact::Retrieved { by }));
        w.bye(who);
        w.settle();
    }
}

#[test]
fn a_party_without_update_gets_a_reinvite() {
    let mut w = World::new();
    w.connected_call_with(&ALL, &NO_UPDATE);
    w.asks(
        TRUNK,
        Method::Update,
        &[],
        Some(&description(TRUNK, SendOnly)),
    );
    assert!(w.requests(CAROL, &Method::Update).is_empty());
    assert_eq!(w.parties[CAROL].invites.len(), 1);
    w.rings(180, "c", &[], None);
    w.rings(200, "c", &[], Some(&description(CAROL, RecvOnly)));
    assert_eq!(
        w.last_response(TRUNK).cseq().unwrap().method,
        Method::Update
    );
    assert_eq!(direction(&w.last_response(TRUNK).body), "recvonly");
    assert_eq!(w.requests(CAROL, &Method::Ack).len(), 2);
    assert!(w.facts().contains(&Fact::Held { by: Side::Caller }));
    // One that rings for too long: an UPDATE has to be answered (RFC 3311 §5.2).
    w.asks(
        TRUNK,
        Method::Update,
        &[],
        Some(&description(TRUNK, SendRecv)),
    );
    w.rings(180, "c", &[], None);
    w.run_s(21);
    assert_eq!(w.last_response(TRUNK).status.code(), 504);
    assert!(w.parties[CAROL].invites.is_empty(), "cancelled");
    w.bye(TRUNK);
    w.settle();

    // One that said it could, and cannot.
    let mut w = World::new();
    w.connected_call();
    w.asks(
        TRUNK,
        Method::Update,
        &[],
        Some(&description(TRUNK, SendOnly)),
    );
    w.replies(CAROL, 405, &[], None);
    w.rings(200, "c", &[], Some(&description(CAROL, RecvOnly)));
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    w.bye(CAROL);
    w.settle();
}

#[test]
fn an_update_without_offer_is_answered_here() {
    let mut w = World::new();
    w.connected_call();
    w.asks(CAROL, Method::Update, &ALL, None);
    let answer = w.last_response(CAROL);
    assert_eq!(answer.status.code(), 200);
    assert!(answer.headers.has("Contact") && answer.headers.has("Session-Expires"));
    assert!(w.requests(TRUNK, &Method::Update).is_empty());
    for (fields, body, status) in [
        (&[("Require", "precondition")][..], "", 420),
        (&[("Content-Type", "application/sdp")][..], "rubbish", 400),
    ] {
        let dialog = w.parties[CAROL].dialog.as_mut().unwrap();
        let mut update = dialog.request(Method::Update);
        for (name, value) in fields {
            update.headers.push(name, *value);
        }
        update.body = body.as_bytes().to_vec().into();
        w.send_new(CAROL, update);
        w.run(50);
        assert_eq!(w.last_response(CAROL).status.code(), status);
    }
    w.bye(CAROL);
    w.settle();
}

#[test]
fn refusals_and_silence_of_the_other_party() {
    for (code, over) in [
        (488, false),
        (491, false),
        (504, false),
        (408, true),
        (481, true),
    ] {
        let mut w = World::new();
        w.connected_call();
        w.asks(
            TRUNK,
            Method::Update,
            &[],
            Some(&description(TRUNK, SendOnly)),
        );
        w.replies(CAROL, code, &[], None);
        let heard = w.heard(TRUNK);
        assert!(heard.contains(&format!(" {code}")), "{heard}");
        assert_eq!(heard.ends_with("BYE"), over, "{code}: {heard}");
        assert!(w.times("connect-a-sendonly").is_empty());
        if !over {
            w.bye(TRUNK);
        }
        w.settle();
    }
    let mut w = World::new();
    w.connected_call();
    w.asks(
        TRUNK,
        Method::Update,
        &[],
        Some(&description(TRUNK, SendOnly)),
    );
    w.run_s(40);
    let lost = HungUpBy::DialogLost(Side::Callee);
    assert!(
        w.facts().contains(&Fact::HungUp { by: lost }),
        "{:?}",
        w.facts()
    );
    w.settle();
}

#[test]
fn before_the_answer() {
    let mut w = World::new();
    let invite = w.begin(&ALL, Some(&description(TRUNK, SendRecv)));
    w.rings_reliably(183, 9, Some(&description(CAROL, SendRecv)));
    w.takes_dialog(&invite);
    w.pracks(None);
    w.replies(CAROL, 200, &[], None);
    // Both ways, one after the other.
    w.asks(
        TRUNK,
        Method::Update,
        &[],
        Some(&description(TRUNK, SendOnly)),
    );
    w.replies(CAROL, 200, &[], Some(&description(CAROL, RecvOnly)));
    assert_eq!(direction(&w.last_response(TRUNK).body), "recvonly");
    w.asks(
        CAROL,
        Method::Update,
        &[],
        Some(&description(CAROL, SendRecv)),
    );
    let update = w.replies(TRUNK, 200, &[], Some(&description(TRUNK, SendRecv)));
    assert_eq!(direction(&update.body), "sendrecv");
    assert_eq!(direction(&w.last_response(CAROL).body), "sendrecv");
    assert_eq!(w.times("connect-b-sendrecv").len(), 2);
    w.rings(200, "c", &[], None);
    w.run_s(1);
    assert!(w.facts().contains(&Fact::Connected));
    w.bye(CAROL);
    w.settle();
}

#[test]
fn before_the_answer_and_not_yet() {
    // Nothing was answered reliably: there is an offer without an answer (RFC 3311 §5.1).
    let mut w = World::new();
    let invite = w.begin(&ALL, Some(&description(TRUNK, SendRecv)));
    w.rings(183, "c", &ALL, Some(&description(CAROL, SendRecv)));
    w.takes_dialog(&invite);
    w.asks(
        TRUNK,
        Method::Update,
        &[],
        Some(&description(TRUNK, SendOnly)),
    );
    assert_eq!(w.last_response(TRUNK).status.code(), 500);
    let pause: u32 = w.last_response(TRUNK).retry_after().unwrap();
    assert!(pause <= 10);
    w.asks(
        CAROL,
        Method::Update,
        &[],
        Some(&description(CAROL, SendOnly)),
    );
    assert_eq!(w.last_response(CAROL).status.code(), 491);
    w.asks(CAROL, Method::Update, &[], None);
    assert_eq!(w.last_response(CAROL).status.code(), 200);
    w.cancel(TRUNK);
    w.settle();

    // A callee without UPDATE cannot be asked before it has answered.
    let mut w = World::new();
    let invite = w.begin(&ALL, Some(&description(TRUNK, SendRecv)));
    let fields = [("Require", "100rel"), ("RSeq", "1")];
    w.rings(183, "c", &fields, Some(&description(CAROL, SendRecv)));
    w.takes_dialog(&invite);
    w.pracks(None);
    w.replies(CAROL, 200, &[], None);
    w.asks(
        TRUNK,
        Method::Update,
        &[],
        Some(&description(TRUNK, SendOnly)),
    );
    assert_eq!(w.last_response(TRUNK).status.code(), 504);
    w.cancel(TRUNK);
    w.settle();
}

#[test]
fn offers_that_meet() {
    use Method::{Invite, Update};
    // RFC 5407 §3.2: re-INVITE or UPDATE against re-INVITE or UPDATE, from the other side or the same.
    for (first, second, other, same) in [
        (Invite, Invite, 491, 500),
        (Invite, Update, 491, 500),
        (Update, Invite, 491, 500),
        (Update, Update, 491, 500),
    ] {
        for (who, status) in [(CAROL, other), (TRUNK, same)] {
            let mut w = World::new();
            w.connected_call();
            w.asks(
                TRUNK,
                first.clone(),
                &[],
                Some(&description(TRUNK, SendOnly)),
            );
            w.asks(who, second.clone(), &[], Some(&description(who, SendOnly)));
            let got = w.last_response(who).status.code();
            assert_eq!(got, status, "{first} {second} {who}");
            // The callee sees the glare as well; that one waits who asked.
            if first == Invite {
                w.rings(491, "c", &[], None);
            } else {
                w.replies(CAROL, 491, &[], None);
            }
            assert_eq!(w.last_response(TRUNK).status.code(), 491);
            let held = |fact: &Fact| matches!(fact, Fact::Held { .. });
            assert!(!w.facts().iter().any(held));
            w.asks(CAROL, Update, &[], Some(&description(CAROL, SendOnly)));
            w.replies(TRUNK, 200, &[], Some(&description(TRUNK, RecvOnly)));
            assert!(w.facts().iter().any(held));
            w.bye(TRUNK);
            w.settle();
        }
    }
}

#[test]
fn between_the_answer_and_its_ack() {
    // RFC 5407 §3.1.4 and §3.1.5: a re-INVITE that overtakes the ACK is 491.
    let mut w = World::new();
    w.parties[TRUNK].acks = crate::world::Acks::Never;
    w.connected_call();
    w.asks(
        TRUNK,
        Method::Invite,
        &[],
        Some(&description(TRUNK, SendOnly)),
    );
    assert_eq!(w.last_response(TRUNK).status.code(), 491);
    // One of the other side, too: the caller's dialog does not take it yet.
    w.asks(
        CAROL,
        Method::Invite,
        &[],
        Some(&description(CAROL, SendOnly)),
    );
    assert_eq!(w.last_response(CAROL).status.code(), 491);
    w.asks(
        CAROL,
        Method::Update,
        &[],
        Some(&description(CAROL, SendOnly)),
    );
    assert_eq!(w.last_response(CAROL).status.code(), 491);
    // UPDATE of the caller may come before its ACK (RFC 3311 §5.1).
    w.asks(
        TRUNK,
        Method::Update,
        &[],
        Some(&description(TRUNK, SendOnly)),
    );
    w.replies(CAROL, 200, &[], Some(&description(CAROL, RecvOnly)));
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    // §3.1.6: BYE before the ACK.
    w.asks(TRUNK, Method::Bye, &[], None);
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    assert_eq!(w.requests(CAROL, &Method::Bye).len(), 1);
    w.settle();
}

#[test]
fn what_meets_a_bye() {
    // RFC 5407 §3.3: BYE against BYE, re-INVITE and UPDATE.
    let mut w = World::new();
    w.connected_call();
    w.parties[TRUNK].takes.push(Method::Bye);
    w.asks(CAROL, Method::Bye, &[], None);
    assert_eq!(w.parties[TRUNK].asked.len(), 1);
    for method in [Method::Bye, Method::Invite, Method::Update, Method::Info] {
        w.asks(TRUNK, method.clone(), &[], None);
        assert_eq!(w.last_response(TRUNK).status.code(), 481, "{method}");
    }
    w.replies(TRUNK, 200, &[], None);
    w.settle();

    // An UPDATE that is on its way across when the other side hangs up.
    let mut w = World::new();
    w.connected_call();
    w.asks(
        TRUNK,
        Method::Update,
        &[],
        Some(&description(TRUNK, SendOnly)),
    );
    w.asks(CAROL, Method::Bye, &[], None);
    assert!(w.heard(TRUNK).ends_with("487 BYE"), "{}", w.heard(TRUNK));
    w.settle();
}
