//! Calls to somebody else's voicemail system, and calls that are forwarded there: recorded only where the
//! switch says so, on behalf of whom they are for.

use duolog_call::{CallDirection, Nature, Settings, Voicemail};

use crate::world::{BOB, CAROL, TRUNK, World, settings};

/// The number of a voicemail system behind the trunk; Carol, who is always recorded, has the switch so.
fn with_system(switch: Voicemail) -> Settings {
    let mut settings = settings();
    settings.numbering.voicemail = vec!["1233".to_owned()];
    settings.users[CAROL - 1].recording_mut().voicemail = switch;
    settings
}

/// Who calls the system, with which field; who is recorded where the switch is on.
fn check(caller: usize, field: Option<(&str, &str)>, owner: Option<&str>) {
    for switch in [Voicemail::Recorded, Voicemail::Left] {
        let mut w = World::with(with_system(switch), 1);
        let mut invite = w.new_invite(caller, "1233");
        if let Some((name, value)) = field {
            invite.headers.push(name, value);
        }
        w.send_new(caller, invite);
        w.run(500);
        w.respond(TRUNK, 200);
        w.run_s(5);
        w.bye(caller);
        w.run(100);
        let owners: Vec<String> = w.openings().into_iter().map(|o| o.owner).collect();
        let wanted = owner.filter(|_| switch == Voicemail::Recorded);
        assert_eq!(
            owners,
            wanted.into_iter().collect::<Vec<_>>(),
            "{field:?} {switch:?}"
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
    check(CAROL, None, Some("carol"));
    check(BOB, None, None);
}

#[test]
fn a_message_left_elsewhere_is_recorded_for_whom_it_was_only_with_the_switch() {
    let diversion = ("Diversion", "<sip:1003@192.0.2.99>;reason=no-answer");
    check(BOB, Some(diversion), Some("carol"));
    let history = (
        "History-Info",
        "<sip:1003@192.0.2.99>;index=1, <sip:1233@192.0.2.99;cause=408>;index=1.1",
    );
    check(BOB, Some(history), Some("carol"));
    // Diverted from somebody who is never recorded.
    check(BOB, Some(("Diversion", "<sip:1004@192.0.2.99>")), None);
}
