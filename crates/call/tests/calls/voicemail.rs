//! Calls to somebody else's voicemail system, and calls that are forwarded there: recorded only where the
//! switch says so, on behalf of whom they are for.

use duolog_call::{
    CallDirection, Nature, NumberRoute, Settings, Trunk, TrunkIndex, TrunkKind, Trust, Voicemail,
};
use duolog_sip::Transport;

use crate::world::{BOB, CAROL, DAVE, TRUNK, World, settings};

/// The number of a voicemail system behind the trunk, and of one at dave's address; Carol, who is always
/// recorded, has the switch so.
fn with_system(switch: Voicemail, trust: Trust) -> Settings {
    let mut settings = settings();
    settings.numbering.voicemail = vec!["1233".to_owned()];
    settings.users[CAROL - 1].recording_mut().voicemail = switch;
    settings.trunks[0].trust = trust;
    let system = "192.0.2.13:5060".parse().unwrap();
    let system = Trunk::at("system", Transport::Udp, system);
    settings.trunks.push(Trunk {
        kind: TrunkKind::Voicemail,
        ..system
    });
    settings.numbering.routes.push(NumberRoute {
        prefix: "1244".to_owned(),
        trunk: TrunkIndex(1),
    });
    settings
}

/// Who calls which system, with which field; who is recorded where the switch is on.
fn check(
    (caller, trust): (usize, Trust),
    number: &str,
    field: Option<(&str, &str)>,
    owner: Option<&str>,
) {
    for switch in [Voicemail::Recorded, Voicemail::Left] {
        let mut w = World::with(with_system(switch, trust), 1);
        let mut invite = w.new_invite(caller, number);
        if let Some((name, value)) = field {
            invite.headers.push(name, value);
        }
        w.send_new(caller, invite);
        w.run(500);
        w.respond(if number == "1233" { TRUNK } else { DAVE }, 200);
        w.run_s(5);
        w.bye(caller);
        w.run(100);
        let owners: Vec<String> = w.openings().into_iter().map(|o| o.owner).collect();
        let wanted = owner.filter(|_| switch == Voicemail::Recorded);
        assert_eq!(
            owners,
            wanted.into_iter().collect::<Vec<_>>(),
            "{caller} {trust:?} {field:?} {switch:?}"
        );
        for opening in w.openings() {
            assert_eq!(opening.class.nature, Nature::Voicemail, "{field:?}");
            assert_ne!(opening.direction, CallDirection::Internal, "{field:?}");
        }
        w.settle();
    }
}

#[test]
fn a_call_to_a_voicemail_system_is_recorded_only_with_the_switch() {
    check((CAROL, Trust::Untrusted), "1233", None, Some("carol"));
    check((BOB, Trust::Untrusted), "1233", None, None);
}

#[test]
fn a_message_left_elsewhere_is_recorded_for_whom_it_was_only_with_the_switch() {
    let diversion = ("Diversion", "<sip:1003@192.0.2.99>;reason=no-answer");
    let history = (
        "History-Info",
        "<sip:1003@192.0.2.99>;index=1, <sip:1244@192.0.2.99;cause=408>;index=1.1",
    );
    for field in [diversion, history] {
        check((TRUNK, Trust::Trusted), "1244", Some(field), Some("carol"));
        // Whoever can send an INVITE could say so.
        check((TRUNK, Trust::Untrusted), "1244", Some(field), None);
        check((BOB, Trust::Trusted), "1233", Some(field), None);
    }
    // Diverted from somebody who is never recorded.
    let elsewhere = ("Diversion", "<sip:1002@192.0.2.99>");
    check((TRUNK, Trust::Trusted), "1244", Some(elsewhere), None);
}
