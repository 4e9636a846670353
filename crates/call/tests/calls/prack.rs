//! Reliable provisional answers across the call (RFC 3262), with offer and answer in every place they
//! may have (RFC 6337 table 1).

use duolog_call::{Fact, HungUpBy, Side};
use duolog_sip::Method;
use duolog_sip::sdp::Direction::{RecvOnly, SendOnly, SendRecv};

use crate::by_hand::{ALL, direction, rack_of};
use crate::world::{CAROL, TRUNK, World, description};

const RELIABLE: [(&str, &str); 1] = [("Supported", "100rel")];

#[test]
fn the_callers_prack_goes_on_to_the_callee() {
    let mut w = World::new();
    let offer = description(TRUNK, SendRecv);
    let invite = w.begin(&ALL, Some(&offer));
    let supported: Vec<_> = w.last_request(CAROL).tags("Supported").collect();
    assert!(supported.contains(&"100rel"), "{supported:?}");
    w.rings_reliably(183, 1000, Some(&description(CAROL, SendRecv)));
    let ringing = w.last_response(TRUNK).clone();
    assert_eq!(ringing.status.code(), 183);
    assert!(ringing.tags("Require").any(|tag| tag == "100rel"));
    assert_eq!(direction(&ringing.body), "sendrecv");
    assert_ne!(ringing.rseq(), Some(1000), "numbers of our own");
    assert!(w.facts().contains(&Fact::EarlyMedia));
    assert!(
        w.requests(CAROL, &Method::Prack).is_empty(),
        "only when the caller has it"
    );
    w.takes_dialog(&invite);
    w.pracks(None);
    assert_eq!(
        w.requests(CAROL, &Method::Prack)[0]
            .rack()
            .unwrap()
            .to_string(),
        "1000 1 INVITE"
    );
    w.replies(CAROL, 200, &[], None);
    assert_eq!(w.last_response(TRUNK).cseq().unwrap().method, Method::Prack);
    assert_eq!(w.last_response(TRUNK).status.code(), 200);
    // Copies of the answer are neither passed nor acknowledged; the next one has the next number.
    let heard = w.heard(TRUNK);
    w.rings_reliably(183, 1000, None);
    w.rings_reliably(180, 1002, None);
    assert_eq!(w.heard(TRUNK), heard);
    w.rings_reliably(180, 1001, None);
    assert_eq!(
        w.last_response(TRUNK).rseq(),
        Some(ringing.rseq().unwrap() + 1)
    );
    w.pracks(None);
    w.replies(CAROL, 200, &[], None);
    // The answer was given: the 2xx has none, and the call stands.
    w.rings(200, "c", &ALL, None);
    let answered = w.last_response(TRUNK).clone();
    assert_eq!((answered.status.code(), answered.body.len()), (200, 0));
    assert!(!answered.headers.has("Content-Type"));
    w.run_s(1);
    assert!(w.facts().contains(&Fact::Connected));
    assert_eq!(w.times("connect-a-sendrecv").len(), 1);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_prack_for_nothing_is_481() {
    let mut w = World::new();
    let invite = w.begin(&ALL, Some(&description(TRUNK, SendRecv)));
    w.rings_reliably(183, 5, None);
    w.takes_dialog(&invite);
    let right = rack_of(w.last_response(TRUNK));
    let number: u32 = right.split(' ').next().unwrap().parse().unwrap();
    for (rack, status) in [
        (format!("{} 1 INVITE", number + 1), 481),
        (format!("{number} 2 INVITE"), 481),
        (format!("{number} 1 UPDATE"), 481),
        ("x".to_owned(), 400),
        (right.clone(), 200),
        (right.clone(), 481),
    ] {
        w.asks(TRUNK, Method::Prack, &[("RAck", &rack)], None);
        if status == 200 {
            w.replies(CAROL, 200, &[], None);
        }
        assert_eq!(w.last_response(TRUNK).status.code(), status, "{rack}");
    }
    assert_eq!(w.requests(CAROL, &Method::Prack).len(), 1);
    w.cancel(TRUNK);
    w.settle();
}

#[test]
fn where_the_caller_cannot_this_node_acknowledges() {
    let mut w = World::new();
    w.begin(&[], Some(&description(TRUNK, SendRecv)));
    w.rings_reliably(183, 7, Some(&description(CAROL, SendRecv)));
    let ringing = w.last_response(TRUNK).clone();
    assert_eq!((ringing.status.code(), ringing.rseq()), (183, None));
    assert!(!ringing.headers.has("Require") && !ringing.body.is_empty());
    let prack = w.replies(CAROL, 200, &[], None);
    assert_eq!(prack.rack().unwrap().to_string(), "7 1 INVITE");
    // The 2xx has no answer any more; the caller gets the one it knows.
    w.rings(200, "c", &[], None);
    let answered = w.last_response(TRUNK);
    assert_eq!(answered.status.code(), 200);
    assert_eq!(direction(&answered.body), "sendrecv");
    w.run_s(1);
    w.bye(CAROL);
    w.settle();
}

#[test]
fn a_caller_that_insists_gets_reliable_answers_from_a_callee_that_cannot() {
    let mut w = World::new();
    let invite = w.begin(
        &[("Require", "100rel")],
        Some(&description(TRUNK, SendRecv)),
    );
    assert!(!w.last_request(CAROL).headers.has("Require"));
    w.rings(180, "c", &[], None);
    w.rings(183, "c", &[], Some(&description(CAROL, SendRecv)));
    assert_eq!(w.last_response(TRUNK).status.code(), 180, "one at a time");
    let first = w.last_response(TRUNK).rseq().unwrap();
    w.takes_dialog(&invite);
    w.pracks(None);
    assert_eq!(w.heard(TRUNK), "180 200 183");
    assert_eq!(w.last_response(TRUNK).rseq(), Some(first + 1));
    // The answer is described and not acknowledged: the 2xx waits for that.
    w.rings(200, "c", &[], Some(&description(CAROL, SendRecv)));
    assert_eq!(w.last_response(TRUNK).status.code(), 183);
    w.pracks(None);
    assert_eq!(w.heard(TRUNK), "180 200 183 200 200");
    assert_eq!(
        w.last_response(TRUNK).cseq().unwrap().method,
        Method::Invite
    );
    assert!(w.last_response(TRUNK).body.is_empty());
    assert!(w.requests(CAROL, &Method::Prack).is_empty());
    w.run_s(1);
    assert!(w.facts().contains(&Fact::Connected));
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_2xx_that_waits_is_not_lost_when_the_call_ends() {
    for how in ["cancel", "bye", "silence"] {
        let mut w = World::new();
        w.begin(
            &[("Require", "100rel")],
            Some(&description(TRUNK, SendRecv)),
        );
        w.rings(183, "c", &[], Some(&description(CAROL, SendRecv)));
        w.rings(200, "c", &[], Some(&description(CAROL, SendRecv)));
        assert_eq!(w.last_response(TRUNK).status.code(), 183);
        match how {
            "cancel" => w.cancel(TRUNK),
            "bye" => w.bye(CAROL),
            // Nobody acknowledges for 64*T1 (RFC 3262 §3).
            _ => w.run_s(33),
        }
        w.run(100);
        let last = w.last_response(TRUNK).status.code();
        assert!(last >= 480, "{how}: {last}");
        if how != "bye" {
            assert_eq!(w.requests(CAROL, &Method::Bye).len(), 1, "{how}");
        }
        w.settle();
    }
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_the_attempt() {
    let mut w = World::new();
    w.begin(&RELIABLE, Some(&description(TRUNK, SendRecv)));
    w.rings_reliably(180, 1, None);
    w.run_s(31);
    assert!(w.heard(TRUNK).ends_with("180 180"), "{}", w.heard(TRUNK));
    w.run_s(2);
    assert_eq!(w.last_response(TRUNK).status.code(), 504);
    assert!(w.facts().contains(&Fact::HungUp {
        by: HungUpBy::NoAck
    }));
    w.settle();
}

#[test]
fn the_offer_may_come_in_a_reliable_answer() {
    let mut w = World::new();
    let invite = w.begin(&RELIABLE, None);
    let asked = w.last_request(CAROL);
    assert!(asked.body.is_empty() && asked.tags("Supported").any(|tag| tag == "100rel"));
    w.rings_reliably(183, 9, Some(&description(CAROL, SendRecv)));
    assert_eq!(direction(&w.last_response(TRUNK).body), "sendrecv");
    assert!(w.times("connect-a-sendrecv").is_empty());
    w.takes_dialog(&invite);
    w.pracks(Some(&description(TRUNK, SendRecv)));
    let prack = w.replies(CAROL, 200, &[], None);
    assert_eq!(direction(&prack.body), "sendrecv");
    assert_eq!(w.times("connect-a-sendrecv").len(), 1);
    w.rings(200, "c", &[], None);
    assert!(w.last_response(TRUNK).body.is_empty());
    w.run_s(1);
    let acks = w.requests(CAROL, &Method::Ack);
    assert!(acks.iter().all(|ack| ack.body.is_empty()) && acks.len() == 1);
    w.bye(TRUNK);
    w.settle();

    // A caller that cannot: its callee is not told of reliable answers, and offers in its 2xx.
    let mut w = World::new();
    w.begin(&[], None);
    assert!(
        !w.last_request(CAROL)
            .tags("Supported")
            .any(|tag| tag == "100rel")
    );
    w.parties[TRUNK].acks = crate::world::Acks::With(description(TRUNK, SendRecv).write());
    w.rings(200, "c", &[], Some(&description(CAROL, SendRecv)));
    w.run_s(1);
    assert_eq!(w.times("connect-b-sendrecv").len(), 1);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_prack_may_offer_anew_and_its_200_answers() {
    let mut w = World::new();
    let invite = w.begin(&ALL, Some(&description(TRUNK, SendRecv)));
    w.rings_reliably(183, 9, Some(&description(CAROL, SendRecv)));
    w.takes_dialog(&invite);
    w.pracks(Some(&description(TRUNK, SendOnly)));
    // One offer at a time.
    w.asks(
        CAROL,
        Method::Update,
        &[],
        Some(&description(CAROL, SendOnly)),
    );
    assert_eq!(w.last_response(CAROL).status.code(), 491);
    let prack = w.replies(CAROL, 200, &[], Some(&description(CAROL, RecvOnly)));
    assert_eq!(direction(&prack.body), "sendonly");
    assert_eq!(direction(&w.last_response(TRUNK).body), "recvonly");
    assert!(w.facts().contains(&Fact::Held { by: Side::Caller }));
    assert_eq!(w.times("connect-a-sendonly").len(), 1);
    w.rings(200, "c", &[], None);
    w.run_s(1);
    w.bye(TRUNK);
    w.settle();

    // A refusal of the PRACK's offer comes back; what stood stands.
    let mut w = World::new();
    let invite = w.begin(&ALL, Some(&description(TRUNK, SendRecv)));
    w.rings_reliably(183, 9, Some(&description(CAROL, SendRecv)));
    w.takes_dialog(&invite);
    w.pracks(Some(&description(TRUNK, SendOnly)));
    w.replies(CAROL, 488, &[], None);
    assert_eq!(w.last_response(TRUNK).status.code(), 488);
    assert!(w.times("connect-a-sendonly").is_empty());
    w.cancel(TRUNK);
    w.settle();
}

#[test]
fn another_fork_answers_than_the_one_that_rang_reliably() {
    let mut w = World::new();
    let invite = w.begin(&ALL, Some(&description(TRUNK, SendRecv)));
    w.rings_reliably(183, 9, Some(&description(CAROL, SendRecv)));
    w.takes_dialog(&invite);
    let first = w.last_response(TRUNK).to_addr().unwrap();
    // It is not heard, and acknowledged by this node.
    let fields = [("Require", "100rel"), ("RSeq", "77")];
    w.rings(183, "d", &fields, Some(&description(CAROL, SendOnly)));
    let prack = w.replies(CAROL, 200, &[], None);
    assert_eq!(prack.to().unwrap().tag(), Some("d"));
    assert_eq!(prack.rack().unwrap().rseq, 77);
    assert_eq!(w.times("connect-b-sendonly").len(), 0);
    w.parties[TRUNK].dialog = None;
    w.rings(200, "d", &ALL, Some(&description(CAROL, SendRecv)));
    // The caller gets another dialog, with an answer of its own (RFC 3261 §13.2.2.4).
    let answered = w.last_response(TRUNK);
    assert_eq!(
        (answered.status.code(), direction(&answered.body)),
        (200, "sendrecv")
    );
    assert_ne!(answered.to_addr().unwrap().tag(), first.tag());
    w.run_s(1);
    assert!(w.facts().contains(&Fact::Connected));
    // The numbers of the fork's dialog go on after its PRACK.
    w.bye(TRUNK);
    w.run(50);
    let bye = w.requests(CAROL, &Method::Bye)[0].clone();
    assert_eq!(
        (bye.to().unwrap().tag(), bye.cseq().unwrap().number),
        (Some("d"), 3)
    );
    w.settle();
}
