//! The one place that answers "is this call recorded, and how". A pure function of the route and
//! the settings.

use std::sync::Arc;

use crate::class::{Class, Nature, Network};
use crate::fact::{CallDirection, Side};
use crate::policy::{Announce, Mode, RecordingSettings, Right, Voicemail};
use crate::route::{Party, Route, own_number, user_with};
use crate::settings::{Settings, UserIndex};

/// What is decided about one call: at most one recording for each side, on behalf of its user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// For the calling side.
    pub(crate) caller: Option<RecordingPlan>,
    /// For the called side.
    pub(crate) callee: Option<RecordingPlan>,
}

impl Plan {
    /// The recordings to be made.
    pub(crate) fn recordings(&self) -> impl Iterator<Item = &RecordingPlan> {
        self.callee.iter().chain(&self.caller)
    }
}

/// How one side of a call is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordingPlan {
    /// On whose behalf.
    pub(crate) owner: UserIndex,
    /// Which side the owner is.
    pub(crate) side: Side,
    /// How the call relates to the owner.
    pub(crate) direction: CallDirection,
    /// The class of the call.
    pub(crate) class: Class,
    /// The owner's settings at this moment.
    pub(crate) settings: Arc<RecordingSettings>,
}

impl RecordingPlan {
    /// Whether the parties are told of start and stop.
    pub(crate) fn announce(&self) -> Announce {
        match self.class.network {
            Network::Internal => self.settings.announce.internal,
            Network::Pstn => self.settings.announce.pstn,
        }
    }

    /// Whether the owner may pause, and so whether feature codes are listened for.
    pub(crate) fn may_pause(&self) -> bool {
        self.settings.mode.rights().pause == Right::Yes
    }
}

/// Decides about a call that goes along `route` and was `diverted` from these numbers, the latest first,
/// in the caller's form. A message is left for the user it was diverted from.
pub(crate) fn decide(settings: &Settings, route: &Route, diverted: &[String]) -> Plan {
    let plan = |party, side| recorded(settings, party, side, route.class);
    let callee = match route.callee {
        Party::Trunk(_) if route.class.nature == Nature::Voicemail => {
            let user = |number: &String| {
                let number = own_number(settings, route.caller, number);
                user_with(settings, &number)
            };
            let user = diverted.iter().find_map(user);
            user.and_then(|user| plan(Party::User(user), Side::Callee))
        }
        callee => plan(callee, Side::Callee),
    };
    let caller = plan(route.caller, Side::Caller);
    // A user who calls one of their own numbers is one owner, not two.
    let twice = |plan: &RecordingPlan| callee.as_ref().is_some_and(|c| c.owner == plan.owner);
    let caller = caller.filter(|plan| !twice(plan));
    Plan { caller, callee }
}

/// How a party is recorded that takes this side of a call of this class.
pub(crate) fn recorded(
    settings: &Settings,
    party: Party,
    side: Side,
    class: Class,
) -> Option<RecordingPlan> {
    let Party::User(owner) = party else {
        return None;
    };
    let recording = Arc::clone(&settings.users.get(owner.0)?.recording);
    let left = class.nature == Nature::Voicemail && recording.voicemail == Voicemail::Left;
    if recording.mode == Mode::Never || left {
        return None;
    }
    let direction = match (class.network, side) {
        (Network::Internal, _) => CallDirection::Internal,
        (Network::Pstn, Side::Caller) => CallDirection::Outbound,
        (Network::Pstn, Side::Callee) => CallDirection::Inbound,
    };
    Some(RecordingPlan {
        owner,
        side,
        direction,
        class,
        settings: recording,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::classify;
    use crate::settings::{TrunkIndex, TrunkKind};
    use crate::testing::{ALICE, BOB, CAROL, DAVE, settings};

    fn check(caller: Party, callee: Party, expected: &str) {
        let settings = settings();
        let route = Route {
            caller,
            callee,
            number: "1".into(),
            dialled: "1".into(),
            class: classify(&settings, caller, callee, "1"),
        };
        let plan = decide(&settings, &route, &[]);
        let words = plan.recordings().map(|plan| {
            format!(
                "{} {:?} {:?} {:?} pause {}",
                settings.users[plan.owner.0].name,
                plan.side,
                plan.direction,
                plan.settings.mode,
                plan.may_pause(),
            )
        });
        assert_eq!(words.collect::<Vec<_>>().join(", "), expected);
    }

    #[test]
    fn owners_and_modes() {
        let pstn = Party::Trunk(TrunkIndex(0));
        // alice: Always with Pause/Resume; bob: Never; carol: Always; dave: Never.
        let (alice, bob) = (Party::User(ALICE), Party::User(BOB));
        let (carol, dave) = (Party::User(CAROL), Party::User(DAVE));
        let inbound = "alice Callee Inbound AlwaysPauseResume pause true";
        check(pstn, alice, inbound);
        let outbound = "alice Caller Outbound AlwaysPauseResume pause true";
        check(alice, pstn, outbound);
        check(bob, pstn, "");
        check(pstn, bob, "");
        check(bob, dave, "");
        check(pstn, Party::Trunk(TrunkIndex(1)), "");
        check(bob, carol, "carol Callee Internal Always pause false");
        check(carol, bob, "carol Caller Internal Always pause false");
        let both = "carol Callee Internal Always pause false, \
                    alice Caller Internal AlwaysPauseResume pause true";
        check(alice, carol, both);
        let once = "alice Callee Internal AlwaysPauseResume pause true";
        check(alice, alice, once);
    }

    #[test]
    fn a_message_is_recorded_for_whom_it_is() {
        let mut settings = settings();
        settings.trunks[1].kind = TrunkKind::Voicemail;
        let [pstn, mailbox] = [0, 1].map(|at| Party::Trunk(TrunkIndex(at)));
        let owner = |settings: &Settings, callee, diverted: &[&str]| {
            let route = Route {
                caller: pstn,
                callee,
                number: "1".into(),
                dialled: "1".into(),
                class: classify(settings, pstn, callee, "1"),
            };
            let diverted: Vec<String> = diverted.iter().map(|&number| number.to_owned()).collect();
            let plan = decide(settings, &route, &diverted);
            plan.recordings().next().map(|plan| plan.owner)
        };
        let carol: &[&str] = &["1003"];
        assert_eq!(owner(&settings, mailbox, carol), None, "not asked for");
        Arc::make_mut(&mut settings.users[CAROL.0].recording).voicemail = Voicemail::Recorded;
        assert_eq!(owner(&settings, mailbox, carol), Some(CAROL));
        assert_eq!(owner(&settings, mailbox, &["77", "1003"]), Some(CAROL));
        assert_eq!(
            owner(&settings, mailbox, &["1002", "1003"]),
            None,
            "for bob"
        );
        assert_eq!(owner(&settings, mailbox, &[]), None);
        assert_eq!(owner(&settings, pstn, carol), None, "no message");
    }

    #[test]
    fn voicemail_is_recorded_only_where_it_is_asked_for() {
        let mut settings = settings();
        let class = Class {
            network: Network::Pstn,
            nature: Nature::Voicemail,
        };
        let plan = |settings: &Settings| {
            recorded(settings, Party::User(CAROL), Side::Callee, class).is_some()
        };
        assert!(!plan(&settings));
        Arc::make_mut(&mut settings.users[CAROL.0].recording).voicemail = Voicemail::Recorded;
        assert!(plan(&settings));
    }
}
