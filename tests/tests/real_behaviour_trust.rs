//! SIPp scenarios of who is told who calls, by trust and by the caller's wish (RFC 3325, RFC 3323), and
//! of calls in IPv6; over UDP, TCP and TLS.

use duolog_tests::real::Site;
use duolog_tests::real::play::{CALLEE, CALLER, judge, site};
use duolog_tests::real::script::{Body, SDP, Script};
use duolog_tests::real::site::Wishes;
use duolog_tests::real::stage::{Place, Role, Set, Stage, Wire, alone};
use duolog_tests::real::trace::asked;

const SET: Set<'static> = Set {
    wire: Wire::Udp,
    places: &[Place::TRUNK, Place::ANNA],
    names: &[],
    first: &[],
};

fn calls(script: Script, fields: &[&str]) -> Script {
    script
        .invite(fields, SDP)
        .may_get(100)
        .may_get(180)
        .gets(200)
        .ack(Body::None)
        .speaks()
        .waits_ms(1_500)
        .hangs_up()
}

fn answers() -> Script {
    Script::callee("called")
        .answer_invite("200 OK", &[], SDP)
        .wants("ACK")
        .speaks()
        .is_hung_up()
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// User 100's phone, to the world.
    Phone,
    /// The trunk, to user 100.
    Trunk,
}

/// What an INVITE says of its sender, and what the other side is told of it.
struct Case {
    from: From,
    said: &'static [&'static str],
    /// P-Asserted-Identity where the trunk is trusted, and where it is not.
    told: [Option<&'static str>; 2],
    /// Privacy, of both.
    privacy: [Option<&'static str>; 2],
    /// Whether From is still the caller's, of both.
    named: [bool; 2],
}

const ANNA: &str = "<sip:100@duolog>";
const BOARD: &str = "\"Board\" <sip:+31201111111@world>";
const PREFERS: &str = "P-Preferred-Identity: <sip:100@duolog>";
const ASSERTS: &str = "P-Asserted-Identity: \"Board\" <sip:+31201111111@world>";

const CASES: [Case; 5] = [
    Case {
        from: From::Phone,
        said: &[PREFERS],
        told: [Some(ANNA), None],
        privacy: [None, None],
        named: [true, true],
    },
    Case {
        from: From::Phone,
        said: &[PREFERS, "Privacy: id"],
        told: [Some(ANNA), None],
        privacy: [Some("id"), Some("id")],
        named: [true, true],
    },
    // What a trusted trunk is to hide it can, another one is not told.
    Case {
        from: From::Phone,
        said: &[PREFERS, "Privacy: user;id"],
        told: [Some(ANNA), None],
        privacy: [Some("user;id"), Some("id")],
        named: [true, false],
    },
    Case {
        from: From::Trunk,
        said: &[ASSERTS],
        told: [Some(BOARD), None],
        privacy: [None, None],
        named: [true, true],
    },
    Case {
        from: From::Trunk,
        said: &[ASSERTS, "Privacy: id"],
        told: [None, None],
        privacy: [Some("id"), Some("id")],
        named: [true, true],
    },
];

#[test]
fn identities_are_told_by_trust_and_privacy_is_kept() {
    for wire in Wire::ALL {
        for (at, trust) in ["trusted", "untrusted"].into_iter().enumerate() {
            let _alone = alone();
            let set = Set { wire, ..SET };
            let stage = Stage::set(site(wire), &set, |text| {
                text.replacen("[[user]]", &format!("trust = \"{trust}\"\n[[user]]"), 1)
            });
            for case in &CASES {
                tells(&stage, case, at, &format!("{trust}, {}", wire.word()));
            }
            let recordings = [(CALLEE, &[CALLER][..]); CASES.len()];
            let name = format!("identities, {trust} over {}", wire.word());
            judge(&name, &stage.close(), &recordings);
        }
    }
}

fn tells(stage: &Stage, case: &Case, at: usize, name: &str) {
    let called = answers();
    let roles = match case.from {
        From::Phone => [
            Role::called(&called, Place::TRUNK, CALLER),
            Role::calls(
                &calls(Script::caller("caller").known_as("100"), case.said),
                Place::ANNA,
                CALLEE,
                "+31201234567",
            ),
        ],
        From::Trunk => [
            Role::called(&called, Place::ANNA, CALLEE),
            Role::calls(
                &calls(Script::caller("caller"), case.said),
                Place::TRUNK,
                CALLER,
                "100",
            ),
        ],
    };
    stage.play(&roles);
    let heard = stage.heard(&called);
    let invite = asked(&heard, "INVITE").next().expect("it was called");
    let name = format!("{name}: {:?} said {:?}", case.from, case.said);
    let told = invite.field("P-Asserted-Identity");
    assert_eq!(told, case.told[at], "{name}");
    assert_eq!(invite.field("Privacy"), case.privacy[at], "{name}");
    let preferred = invite.field("P-Preferred-Identity");
    assert_eq!(preferred, None, "{name}");
    let from = invite.field("From").unwrap_or_default();
    let hidden = from.contains("anonymous.invalid") && !from.contains("100");
    assert_eq!(!hidden, case.named[at], "{name}: {from}");
}

/// All of a call in IPv6, in both directions.
#[test]
fn calls_in_ipv6() {
    for wire in Wire::ALL {
        let _alone = alone();
        let site = Site::six(&Wishes {
            transport: wire.inside(),
            ..Wishes::default()
        });
        let stage = Stage::set(site, &Set { wire, ..SET }, str::to_owned);
        stage.play(&[
            Role::called(&answers(), Place::ANNA, CALLEE),
            Role::calls(
                &calls(Script::caller("caller"), &[]),
                Place::TRUNK,
                CALLER,
                "100",
            ),
        ]);
        let heard = stage.heard(&answers());
        let invite = asked(&heard, "INVITE").next().expect("it was called");
        for part in ["@[::1]", "Via: SIP/2.0", "c=IN IP6 ::1"] {
            assert!(invite.text.contains(part), "{part}: {}", invite.text);
        }
        let caller = calls(Script::caller("caller").known_as("100"), &[]);
        stage.play(&[
            Role::called(&answers(), Place::TRUNK, CALLER),
            Role::calls(&caller, Place::ANNA, CALLEE, "+31201234567"),
        ]);
        let name = format!("IPv6 over {}", wire.word());
        let both = [(CALLEE, &[CALLER][..]); 2];
        judge(&name, &stage.close(), &both);
    }
}
