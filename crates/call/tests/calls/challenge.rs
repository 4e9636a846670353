//! A trunk that asks for a digest in the middle of a call: whatever was asked is asked again, as the
//! next request of its dialog.

use duolog_reach::digest::{Credentials, Secret};
use duolog_sip::endpoint::ServerKey;
use duolog_sip::sdp::Direction;
use duolog_sip::{Method, Request, Response};

use crate::world::{BOB, DAVE, TRUNK, World, settings, status};

/// BOB talks to the trunk, which has not asked for anything yet.
fn talking() -> World {
    let mut settings = settings();
    settings.trunks[0].credentials = Some(Credentials {
        user: "bob".to_owned(),
        secret: Secret::new("hearsay".to_owned()),
        realm: None,
    });
    let mut w = World::with(settings, 1);
    w.call(BOB, TRUNK);
    w
}

/// The trunk asks for a digest and gets it.
fn challenged(w: &mut World, (key, request): (ServerKey, Request)) {
    let mut response = Response::to(&request, status(401));
    let asked = "Digest realm=\"pstn\", nonce=\"n1\", qop=\"auth\"";
    response.headers.push("WWW-Authenticate", asked);
    w.answer(TRUNK, key, response);
    w.run(100);
    let again = w.last_request(TRUNK);
    assert_eq!(again.method, request.method);
    assert!(again.headers.has("Authorization"), "{}", request.method);
    let number = |request: &Request| request.cseq().unwrap().number;
    assert_eq!(number(again), number(&request) + 1);
    assert_eq!(again.body, request.body);
}

fn accepted(w: &mut World) {
    let (key, request) = w.parties[TRUNK].asked.remove(0);
    let response = Response::to(&request, status(200));
    w.answer(TRUNK, key, response);
    w.run(100);
}

#[test]
fn an_invite_within_the_call() {
    let mut w = talking();
    w.reinvite(BOB, Direction::SendOnly);
    w.run(50);
    let asked = w.parties[TRUNK].invites.remove(0);
    challenged(&mut w, asked);
    w.respond(TRUNK, 200);
    w.run(100);
    assert_eq!(w.last_response(BOB).status.code(), 200);
    w.bye(BOB);
    w.settle();
}

#[test]
fn what_passes_through_the_call_and_its_end() {
    let mut w = talking();
    w.parties[TRUNK].takes = vec![Method::Info, Method::Bye];
    w.within(BOB, Method::Info, &[("X-Hi", "1")]);
    w.run(50);
    let asked = w.parties[TRUNK].asked.remove(0);
    challenged(&mut w, asked);
    accepted(&mut w);
    assert_eq!(w.last_response(BOB).status.code(), 200);
    w.parties[TRUNK].heard.clear();
    w.bye(BOB);
    w.run(50);
    // A digest is known now; the trunk has a new nonce.
    let (key, bye) = w.parties[TRUNK].asked.remove(0);
    assert!(bye.headers.has("Authorization"));
    let mut response = Response::to(&bye, status(401));
    let asked = "Digest realm=\"pstn\", nonce=\"n2\", qop=\"auth\", stale=true";
    response.headers.push("WWW-Authenticate", asked);
    w.answer(TRUNK, key, response);
    w.run(50);
    accepted(&mut w);
    w.settle();
}

#[test]
fn the_notices_of_a_transfer() {
    let mut w = talking();
    w.parties[TRUNK].takes = vec![Method::Notify];
    w.within(TRUNK, Method::Refer, &[("Refer-To", "<sip:1004@x>")]);
    w.run(100);
    let asked = w.parties[TRUNK].asked.remove(0);
    challenged(&mut w, asked);
    accepted(&mut w);
    w.parties[TRUNK].takes.clear();
    w.respond(DAVE, 200);
    w.run_s(5);
    assert!(w.notices(TRUNK).ends_with("200."), "{}", w.notices(TRUNK));
    assert!(w.parties[TRUNK].dialog.is_none());
    w.bye(DAVE);
    w.settle();
}

#[test]
fn who_has_given_up_does_not_ask_again() {
    let mut w = talking();
    w.bye(BOB);
    w.run_s(40);
    w.invite(BOB, "0201234567");
    w.run(300);
    let asked = w.parties[TRUNK].invites.remove(0);
    w.cancel(BOB);
    w.run(2);
    let mut response = Response::to(&asked.1, status(401));
    let digest = "Digest realm=\"pstn\", nonce=\"n3\", qop=\"auth\"";
    response.headers.push("WWW-Authenticate", digest);
    w.answer(TRUNK, asked.0, response);
    w.run_s(1);
    assert!(w.parties[TRUNK].invites.is_empty());
    assert_eq!(w.last_response(BOB).status.code(), 487);
    w.settle();
}
