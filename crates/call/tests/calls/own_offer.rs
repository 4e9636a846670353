//! Offers of this node's own, where a party stays and the other one is exchanged.

use duolog_sip::Method;
use duolog_sip::sdp::{Description, Direction};

use crate::world::{BOB, CAROL, DAVE, World, description};

/// What a party says that has one codec only.
fn only(who: usize, payload_type: &str) -> Description {
    let text = description(who, Direction::SendRecv).write();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let one = text.replace("RTP/AVP 0 8 101", &format!("RTP/AVP {payload_type}"));
    Description::parse(one.as_bytes()).unwrap()
}

fn types(body: &bytes::Bytes) -> Vec<u8> {
    let audio = Description::parse(body).unwrap().audio().unwrap();
    audio
        .formats
        .iter()
        .map(|format| format.payload_type)
        .collect()
}

#[test]
fn who_stays_is_offered_what_the_newcomer_has() {
    for refusals in [0, 1, 3] {
        let mut w = World::new();
        w.invite(CAROL, "1002");
        w.run(100);
        w.respond_with(BOB, 200, Some(&only(BOB, "0")));
        w.run(100);
        assert_eq!(types(&w.last_response(CAROL).body), [0]);
        w.refer(BOB, "1004", &[]);
        assert_eq!(
            types(&w.last_request(DAVE).body)[..2],
            [0, 8],
            "what she has"
        );
        w.respond_with(DAVE, 200, Some(&only(DAVE, "8")));
        w.run(700);
        for _ in 0..refusals {
            assert_eq!(w.parties[CAROL].invites.len(), 1);
            w.respond(CAROL, 491);
            // Hers is the Call-ID: this node waits up to two seconds (RFC 3261 §14.1).
            w.run(2100);
        }
        let offer = w.last_request(CAROL).clone();
        assert_eq!(
            (offer.method, types(&offer.body)),
            (Method::Invite, vec![8])
        );
        w.respond_with(CAROL, 200, Some(&only(CAROL, "8")));
        w.run(100);
        assert!(w.parties[CAROL].invites.is_empty());
        let acks = w.heard(CAROL).matches("ACK").count();
        assert_eq!(acks, 1);
        let dave = w.heard(DAVE);
        w.run_s(30);
        assert_eq!(w.heard(DAVE), dave, "nobody else hears of it");
        assert_eq!(w.times("connect-a-sendrecv").len(), 2);
        w.bye(CAROL);
        w.settle();
    }
}
