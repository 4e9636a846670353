//! The one place that answers "is this call recorded, and how". A pure function of the route and
//! the settings.

use crate::fact::{CallDirection, Side};
use crate::route::{Party, Route};
use crate::settings::{Mode, RecordingSettings, Settings, User, UserIndex};

/// What is decided about one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nobody's settings ask for a recording.
    Unrecorded,
    /// The call is recorded.
    Recorded(RecordingPlan),
}

/// How a call is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingPlan {
    /// On whose behalf.
    pub owner: UserIndex,
    /// Which side the owner is.
    pub side: Side,
    /// How the call relates to the owner.
    pub direction: CallDirection,
    /// The owner's settings at this moment.
    pub settings: RecordingSettings,
    /// The other party, where it is a recorded user too: the callee owns the recording, and this
    /// name is kept as a fact.
    pub other_owner: Option<UserIndex>,
}

impl RecordingPlan {
    /// Whether the owner may pause, and so whether feature codes are listened for.
    pub fn may_pause(&self) -> bool {
        self.settings.mode == Mode::AlwaysPauseResume
    }
}

/// Decides about a call that goes along `route`.
pub fn decide(settings: &Settings, route: &Route) -> Plan {
    let recorded = |party| match party {
        Party::User(index) => user(settings, index)
            .filter(is_recorded)
            .map(|user| (index, user)),
        Party::Trunk(_) => None,
    };
    let (caller, callee) = (recorded(route.caller), recorded(route.callee));
    let direction = match (route.caller, route.callee) {
        (Party::User(_), Party::User(_)) => CallDirection::Internal,
        (Party::User(_), Party::Trunk(_)) => CallDirection::Outbound,
        (Party::Trunk(_), _) => CallDirection::Inbound,
    };
    let (side, (owner, user), other_owner) = match (caller, callee) {
        (None, None) => return Plan::Unrecorded,
        (caller, Some(callee)) => (Side::Callee, callee, caller.map(|(index, _)| index)),
        (Some(caller), None) => (Side::Caller, caller, None),
    };
    // A user who calls one of their own numbers is one owner, not two.
    let other_owner = other_owner.filter(|other| *other != owner);
    Plan::Recorded(RecordingPlan {
        owner,
        side,
        direction,
        settings: user.recording,
        other_owner,
    })
}

fn user(settings: &Settings, UserIndex(at): UserIndex) -> Option<&User> {
    settings.users.get(at)
}

fn is_recorded(user: &&User) -> bool {
    user.recording.mode != Mode::Never
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TrunkIndex;
    use crate::testing::{ALICE, BOB, CAROL, DAVE, settings};

    fn check(caller: Party, callee: Party, expected: &str) {
        let settings = settings();
        let contact = callee.contact(&settings);
        let local = settings.local.udp.unwrap();
        let flow = duolog_sip::Flow {
            transport: contact.transport,
            local,
            peer: contact.addr,
        };
        let route = Route {
            caller,
            callee,
            number: "1".into(),
            flow,
        };
        let found = match decide(&settings, &route) {
            Plan::Unrecorded => "unrecorded".to_owned(),
            Plan::Recorded(plan) => format!(
                "{} {:?} {:?} {:?} pause {} other {}",
                settings.users[plan.owner.0].name,
                plan.side,
                plan.direction,
                plan.settings.mode,
                plan.may_pause(),
                plan.other_owner
                    .map_or("-", |UserIndex(at)| &settings.users[at].name),
            ),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn owners_and_modes() {
        let pstn = Party::Trunk(TrunkIndex(0));
        // alice: Always with Pause/Resume; bob: Never; carol: Always; dave: Never.
        let (alice, bob) = (Party::User(ALICE), Party::User(BOB));
        let (carol, dave) = (Party::User(CAROL), Party::User(DAVE));
        check(
            pstn,
            alice,
            "alice Callee Inbound AlwaysPauseResume pause true other -",
        );
        check(
            alice,
            pstn,
            "alice Caller Outbound AlwaysPauseResume pause true other -",
        );
        check(bob, pstn, "unrecorded");
        check(pstn, bob, "unrecorded");
        check(bob, dave, "unrecorded");
        check(pstn, Party::Trunk(TrunkIndex(1)), "unrecorded");
        check(
            bob,
            carol,
            "carol Callee Internal Always pause false other -",
        );
        check(
            carol,
            bob,
            "carol Caller Internal Always pause false other -",
        );
        check(
            alice,
            carol,
            "carol Callee Internal Always pause false other alice",
        );
        check(
            carol,
            alice,
            "alice Callee Internal AlwaysPauseResume pause true other carol",
        );
        check(
            alice,
            alice,
            "alice Callee Internal AlwaysPauseResume pause true other -",
        );
    }
}
