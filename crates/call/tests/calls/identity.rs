//! Identities by trust (RFC 3325, RFC 3323), and diversions as facts.

use duolog_call::{MediaCommand, Settings, Trust};
use duolog_sip::Method;
use duolog_sip::sdp::Direction::SendRecv;

use crate::world::{ALICE, CAROL, TRUNK, World, description, settings};

fn with(trust: Trust) -> Settings {
    let mut settings = settings();
    settings.trunks[0].trust = trust;
    settings
}

/// An INVITE with these fields; what the other party got.
fn passed(w: &mut World, from: usize, to: usize, fields: &[(&str, &str)]) -> duolog_sip::Request {
    let number = if to == TRUNK { "0201234567" } else { "1003" };
    let mut invite = w.new_invite(from, number);
    for (name, value) in fields {
        invite.headers.push(name, *value);
    }
    w.send_new(from, invite);
    w.run(50);
    w.last_request(to).clone()
}

const IDENTITY: &str = "P-Asserted-Identity";

#[test]
fn what_a_trunk_asserts_is_worth_what_the_trunk_is() {
    let said = [
        (IDENTITY, "\"Board\" <sip:+31201111111@x>"),
        ("Remote-Party-ID", "<sip:+31202222222@x>;privacy=off"),
        ("P-Preferred-Identity", "<sip:+31203333333@x>"),
    ];
    for (trust, known) in [(Trust::Trusted, true), (Trust::Untrusted, false)] {
        let mut w = World::with(with(trust), 1);
        let invite = passed(&mut w, TRUNK, CAROL, &said);
        let identity = known.then_some("\"Board\" <sip:+31201111111@x>");
        assert_eq!(invite.headers.value(IDENTITY), identity);
        assert_eq!(invite.headers.has("Remote-Party-ID"), known);
        assert!(!invite.headers.has("P-Preferred-Identity"));
        // The answers of the phone: a user is who they are, whatever they say.
        w.respond(CAROL, 200);
        w.run(100);
        assert!(!w.last_response(TRUNK).headers.has(IDENTITY));
        let opened = w.media.iter().find_map(|(_, command)| match command {
            MediaCommand::OpenRecording { opening, .. } => Some(opening.from.clone()),
            _ => None,
        });
        let from = if known { "+31201111111" } else { "9000" };
        assert_eq!(opened.as_deref(), Some(from));
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_trunk_hears_of_users_by_trust() {
    for (trust, said, known) in [
        (Trust::Trusted, "<sip:1001@here>", Some("<sip:1001@here>")),
        (
            Trust::Trusted,
            "<sip:1002@here>",
            Some("\"Caller\" <sip:1001@192.0.2.10:5060>"),
        ),
        (Trust::Untrusted, "<sip:1001@here>", None),
    ] {
        let mut w = World::with(with(trust), 1);
        let invite = passed(&mut w, ALICE, TRUNK, &[("P-Preferred-Identity", said)]);
        assert_eq!(invite.headers.value(IDENTITY), known, "{trust:?} {said}");
        w.cancel(ALICE);
        w.settle();
    }
}

#[test]
fn privacy_is_kept() {
    let hidden = [
        ("Privacy", "id;user"),
        ("Subject", "s"),
        (IDENTITY, "<sip:+31201111111@x>"),
    ];
    let mut w = World::with(with(Trust::Trusted), 1);
    let invite = passed(&mut w, TRUNK, CAROL, &hidden);
    assert!(!invite.headers.has(IDENTITY) && !invite.headers.has("Subject"));
    let from = invite.from().unwrap();
    assert_eq!(from.uri.host, "anonymous.invalid");
    assert_eq!(invite.headers.value("Privacy"), Some("id"));
    w.respond(CAROL, 200);
    w.run(100);
    // The dialog goes by that From to its end.
    w.within(
        TRUNK,
        Method::Info,
        &[(IDENTITY, "<sip:+31201111111@x>"), ("Privacy", "id")],
    );
    w.run(50);
    let info = w.last_request(CAROL);
    assert_eq!(info.from().unwrap(), from);
    assert!(!info.headers.has(IDENTITY));
    w.bye(TRUNK);
    w.settle();

    // A trusted trunk is told, with the wish; an untrusted one is not.
    for (trust, host, told) in [
        (Trust::Trusted, "192.0.2.10", true),
        (Trust::Untrusted, "anonymous.invalid", false),
    ] {
        let mut w = World::with(with(trust), 1);
        let fields = [
            ("Privacy", "user;id"),
            ("P-Preferred-Identity", "<sip:1001@x>"),
        ];
        let invite = passed(&mut w, ALICE, TRUNK, &fields);
        assert_eq!(invite.from().unwrap().uri.host, host);
        assert_eq!(invite.headers.has(IDENTITY), told);
        w.cancel(ALICE);
        w.settle();
    }
}

#[test]
fn diversions_pass_and_are_kept() {
    let mut w = World::new();
    let said = [
        ("Diversion", "<sip:+31205550000@x>;reason=no-answer"),
        (
            "History-Info",
            "<sip:+31204440000@x?Reason=SIP%3Bcause%3D302>;index=1",
        ),
        ("History-Info", "<sip:1003@x>;index=1.1"),
    ];
    let invite = passed(&mut w, TRUNK, CAROL, &said);
    assert_eq!(invite.headers.value("Diversion"), Some(said[0].1));
    assert_eq!(invite.headers.values("History-Info").count(), 2);
    let kept = w.media.iter().find_map(|(_, command)| match command {
        MediaCommand::OpenRecording { opening, .. } => Some(opening.diversion.clone()),
        _ => None,
    });
    let numbers = ["+31205550000", "+31204440000"].map(str::to_owned);
    assert_eq!(kept.unwrap(), numbers);
    w.respond_with(CAROL, 200, Some(&description(CAROL, SendRecv)));
    w.run(100);
    w.bye(CAROL);
    w.settle();
}
