//! The one place that answers "is this call recorded, and how". A pure function of the route and
//! the settings.

use std::sync::Arc;
use std::time::Duration;

use crate::class::{Class, Nature, Network};
use crate::fact::{CallDirection, Keeping, Settled, Side};
use crate::policy::{
    Announce, DoNotRecordReason, Emergency, Keep, Mode, OnFailure, OwnerKind, RecordingSettings,
    Selected, Voicemail,
};
use crate::route::{Party, Route, user_with};
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

    /// Whether the call is better taken by another node than left unrecorded.
    pub(crate) fn needs_recorder(&self) -> bool {
        let kept = self.recordings().filter(|plan| plan.listed.is_none());
        let mut then = kept.map(|plan| failing(&plan.settings, plan.class.nature));
        then.any(|then| then == OnFailure::Refuse)
    }
}

/// How one side of a call is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordingPlan {
    /// On whose behalf.
    pub(crate) owner: UserIndex,
    /// Which side the owner is.
    pub(crate) side: Side,
    /// Whether the owner called or was called, wherever it sits.
    pub(crate) role: Side,
    /// How the call relates to the owner.
    pub(crate) direction: CallDirection,
    /// The class of the call.
    pub(crate) class: Class,
    /// Why the party across is not to be recorded, if it is not.
    pub(crate) listed: Option<DoNotRecordReason>,
    /// The owner's settings at this moment.
    pub(crate) settings: Arc<RecordingSettings>,
}

impl RecordingPlan {
    /// The settings that hold as long as the call lasts.
    pub(crate) fn settled(&self, settings: &Settings) -> Settled {
        Settled {
            recording: Arc::clone(&self.settings),
            language: settings
                .language_of(&settings.users[self.owner.0])
                .to_owned(),
        }
    }

    /// Whether what is captured is kept.
    pub(crate) fn keeping(&self) -> Keeping {
        match self.settings.mode.rights().keep {
            Keep::Always => Keeping::Kept,
            Keep::OnDemand => Keeping::Provisional,
        }
    }
}

/// How a call of this class relates to an owner in this role.
pub(crate) fn direction(class: Class, role: Side) -> CallDirection {
    match (class.network, role) {
        (Network::Internal, _) => CallDirection::Internal,
        (Network::Pstn, Side::Caller) => CallDirection::Outbound,
        (Network::Pstn, Side::Callee) => CallDirection::Inbound,
    }
}

/// Whether the parties of such a call are told of start and stop. Nobody in an emergency waits for that.
pub(crate) fn announced(settings: &RecordingSettings, class: Class) -> Announce {
    match (class.nature, class.network) {
        (Nature::Emergency, _) => Announce::Off,
        (_, Network::Internal) => settings.announce.internal,
        (_, Network::Pstn) => settings.announce.pstn,
    }
}

/// How long after the answer the party on the public network hears the compliance announcement in a call
/// whose owner has this role; `None` where it does not.
pub(crate) fn complied(settings: &RecordingSettings, class: Class, role: Side) -> Option<Duration> {
    let compliance = &settings.compliance;
    let (switch, delay) = match direction(class, role) {
        _ if class.nature == Nature::Emergency => (Announce::Off, Duration::ZERO),
        CallDirection::Inbound => (compliance.inbound, Duration::ZERO),
        CallDirection::Outbound => (compliance.outbound, compliance.outbound_delay),
        CallDirection::Internal => (Announce::Off, Duration::ZERO),
    };
    (switch == Announce::On).then_some(delay)
}

/// One side of a call: who takes it, and what that one's call is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Half<'a> {
    /// Which side.
    pub(crate) side: Side,
    /// Who takes it.
    pub(crate) party: Party,
    /// The number of the party across, in this node's form.
    pub(crate) across: &'a str,
    /// The class of the call.
    pub(crate) class: Class,
    /// The numbers that the call was for before, the latest first, in this node's form; none that
    /// somebody said who is not believed.
    pub(crate) diverted: &'a [String],
}

/// Decides about a call of the one known as `calling` that goes along `route` and was `diverted` from
/// these numbers, the latest first, in this node's form, as far as that is believed.
pub(crate) fn decide(
    settings: &Settings,
    route: &Route,
    calling: &str,
    diverted: &[String],
) -> Plan {
    let half = |side, party, across| Half {
        side,
        party,
        across,
        class: route.class,
        diverted,
    };
    let callee = recorded(settings, half(Side::Callee, route.callee, calling));
    let caller = recorded(settings, half(Side::Caller, route.caller, &route.number));
    // A user who calls one of their own numbers is one owner, not two.
    let twice = |plan: &RecordingPlan| callee.as_ref().is_some_and(|c| c.owner == plan.owner);
    let caller = caller.filter(|plan| !twice(plan));
    Plan { caller, callee }
}

/// How a side is recorded: for the queue or virtual line that the call was for, else for whom a message is
/// left, else for who takes it.
pub(crate) fn recorded(settings: &Settings, half: Half<'_>) -> Option<RecordingPlan> {
    let diverted = || {
        let users = half.diverted.iter();
        users.filter_map(|number| user_with(settings, number))
    };
    let takes_all = |user: &UserIndex| match settings.users[user.0].kind {
        OwnerKind::Queue | OwnerKind::VirtualLine => true,
        OwnerKind::User | OwnerKind::Workspace => false,
    };
    // One that is not recorded does not hide another one.
    let line = match half.side {
        Side::Callee => diverted()
            .filter(takes_all)
            .find_map(|line| recorded_for(settings, line, half)),
        Side::Caller => None,
    };
    line.or_else(|| match half.party {
        Party::User(user) => recorded_for(settings, user, half),
        Party::Trunk(_) if half.side == Side::Callee && half.class.nature == Nature::Voicemail => {
            recorded_for(settings, diverted().next()?, half)
        }
        Party::Trunk(_) => None,
    })
}

fn recorded_for(settings: &Settings, owner: UserIndex, half: Half<'_>) -> Option<RecordingPlan> {
    let recording = Arc::clone(&settings.users.get(owner.0)?.recording);
    if recording.mode == Mode::Never || left_out(&recording, half) {
        return None;
    }
    Some(RecordingPlan {
        owner,
        side: half.side,
        role: half.side,
        direction: direction(half.class, half.side),
        class: half.class,
        listed: listed(settings, &recording, half.across),
        settings: recording,
    })
}

/// Whether a call of this kind leaves no row.
fn left_out(recording: &RecordingSettings, half: Half<'_>) -> bool {
    let wanted = &recording.selective;
    let wanted = match (half.side, half.class.network) {
        (Side::Callee, Network::Internal) => wanted.inbound_internal,
        (Side::Callee, Network::Pstn) => wanted.inbound_external,
        (Side::Caller, Network::Internal) => wanted.outbound_internal,
        (Side::Caller, Network::Pstn) => wanted.outbound_external,
    };
    let selects = matches!(recording.mode, Mode::Always | Mode::AlwaysPauseResume);
    let by_nature = why_left(recording, half.class.nature).is_some();
    by_nature || (selects && wanted == Selected::No)
}

/// Why calls of this nature are not recorded, if they are not.
pub(crate) fn why_left(recording: &RecordingSettings, nature: Nature) -> Option<&'static str> {
    match nature {
        Nature::Conversation => None,
        Nature::Voicemail => (recording.voicemail == Voicemail::Left)
            .then_some("calls with a voicemail system are not recorded"),
        Nature::Emergency => {
            (recording.emergency == Emergency::Left).then_some("emergency calls are not recorded")
        }
    }
}

/// What becomes of a call of this nature that cannot be recorded. An emergency call goes on: it is neither
/// refused nor ended, and nobody has to listen to a notice first.
pub(crate) fn failing(recording: &RecordingSettings, nature: Nature) -> OnFailure {
    match nature {
        Nature::Emergency => OnFailure::GoOn,
        Nature::Conversation | Nature::Voicemail => recording.on_failure,
    }
}

/// Why the owner of these settings is not recorded with the party of this number, in this node's form;
/// somebody known here is meant by any of their numbers.
pub(crate) fn listed(
    settings: &Settings,
    recording: &RecordingSettings,
    number: &str,
) -> Option<DoNotRecordReason> {
    let mut list = recording.do_not_record.iter().peekable();
    list.peek()?;
    let user = user_with(settings, number).map(|user| &settings.users[user.0]);
    let is_meant = |one: &str| {
        one == number || user.is_some_and(|user| user.numbers.iter().any(|own| own == one))
    };
    list.find(|entry| is_meant(&entry.number))
        .map(|entry| entry.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::classify;
    use crate::policy::{Compliance, DoNotRecord, Selective};
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
        let plan = decide(&settings, &route, "77", &[]);
        let words = plan.recordings().map(|plan| {
            format!(
                "{} {:?} {:?} {:?}",
                settings.users[plan.owner.0].name, plan.side, plan.direction, plan.settings.mode,
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
        let inbound = "alice Callee Inbound AlwaysPauseResume";
        check(pstn, alice, inbound);
        let outbound = "alice Caller Outbound AlwaysPauseResume";
        check(alice, pstn, outbound);
        check(bob, pstn, "");
        check(pstn, bob, "");
        check(bob, dave, "");
        check(pstn, Party::Trunk(TrunkIndex(1)), "");
        check(bob, carol, "carol Callee Internal Always");
        check(carol, bob, "carol Caller Internal Always");
        let both = "carol Callee Internal Always, \
                    alice Caller Internal AlwaysPauseResume";
        check(alice, carol, both);
        let once = "alice Callee Internal AlwaysPauseResume";
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
            let plan = decide(settings, &route, "77", &diverted);
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
        let half = Half {
            side: Side::Callee,
            party: Party::User(CAROL),
            across: "77",
            class,
            diverted: &[],
        };
        let plan = |settings: &Settings| recorded(settings, half).is_some();
        assert!(!plan(&settings));
        Arc::make_mut(&mut settings.users[CAROL.0].recording).voicemail = Voicemail::Recorded;
        assert!(plan(&settings));
    }

    /// One half of a call of carol, with settings that `change` made; what becomes of it in words.
    fn half(change: impl FnOnce(&mut Settings), side: Side, across: &str, class: Class) -> String {
        let mut settings = settings();
        change(&mut settings);
        let half = Half {
            side,
            party: Party::User(CAROL),
            across,
            class,
            diverted: &[],
        };
        match recorded(&settings, half) {
            None => "no row".to_owned(),
            Some(RecordingPlan {
                listed: Some(reason),
                ..
            }) => format!("{reason:?}"),
            Some(plan) => format!("{:?}", plan.keeping()),
        }
    }

    fn of_carol(settings: &mut Settings) -> &mut RecordingSettings {
        Arc::make_mut(&mut settings.users[CAROL.0].recording)
    }

    const TALK: Class = Class {
        network: Network::Internal,
        nature: Nature::Conversation,
    };
    const OUTSIDE: Class = Class {
        network: Network::Pstn,
        nature: Nature::Conversation,
    };

    #[test]
    fn each_selective_switch_counts_for_its_calls_in_the_two_always_modes() {
        let one_off = |at: usize| {
            let mut all = [Selected::Yes; 4];
            all[at] = Selected::No;
            let [
                inbound_internal,
                inbound_external,
                outbound_internal,
                outbound_external,
            ] = all;
            Selective {
                inbound_internal,
                inbound_external,
                outbound_internal,
                outbound_external,
            }
        };
        let kinds = [
            (Side::Callee, TALK),
            (Side::Callee, OUTSIDE),
            (Side::Caller, TALK),
            (Side::Caller, OUTSIDE),
        ];
        for off in 0..4 {
            for (at, (side, class)) in kinds.into_iter().enumerate() {
                for (mode, selects, kept) in [
                    (Mode::Always, true, "Kept"),
                    (Mode::AlwaysPauseResume, true, "Kept"),
                    (Mode::OnDemand, false, "Provisional"),
                    (Mode::OnDemandUserStart, false, "Kept"),
                    (Mode::Never, false, "no row"),
                ] {
                    let set = |settings: &mut Settings| {
                        of_carol(settings).mode = mode;
                        of_carol(settings).selective = one_off(off);
                    };
                    let want = if selects && at == off { "no row" } else { kept };
                    assert_eq!(half(set, side, "77", class), want, "{off} {at} {mode:?}");
                }
            }
        }
    }

    #[test]
    fn emergency_calls_are_recorded_or_leave_no_row() {
        for (network, side) in [
            (Network::Pstn, Side::Caller),
            (Network::Internal, Side::Callee),
        ] {
            for (switch, nature, want) in [
                (Emergency::Recorded, Nature::Emergency, "Kept"),
                (Emergency::Left, Nature::Emergency, "no row"),
                (Emergency::Left, Nature::Conversation, "Kept"),
            ] {
                let set = |settings: &mut Settings| of_carol(settings).emergency = switch;
                let class = Class { network, nature };
                assert_eq!(half(set, side, "112", class), want, "{switch:?} {nature:?}");
            }
        }
    }

    #[test]
    fn a_listed_number_is_known_with_its_reason() {
        use DoNotRecordReason::{BusinessPrivate, Personal, Vendor};
        let set = |settings: &mut Settings| {
            let entry = |number: &str, reason| DoNotRecord {
                number: number.to_owned(),
                reason,
            };
            of_carol(settings).do_not_record = vec![
                entry("+31201112233", Personal),
                entry("+31205551001", Vendor),
                entry("1002", BusinessPrivate),
            ];
        };
        for (across, want) in [
            ("+31201112233", "Personal"),
            ("+3120111223", "Kept"),
            ("0201112233", "Kept"),
            ("1002", "BusinessPrivate"),
            ("1001", "Vendor"),
            ("alice", "Vendor"),
            ("1003", "Kept"),
            ("", "Kept"),
        ] {
            for side in [Side::Caller, Side::Callee] {
                assert_eq!(half(set, side, across, TALK), want, "{across} {side:?}");
            }
        }
        assert_eq!(half(|_| {}, Side::Callee, "1002", TALK), "Kept");
    }

    #[test]
    fn calls_for_a_queue_or_a_virtual_line_are_recorded_for_it_whoever_answers() {
        for kind in [OwnerKind::Queue, OwnerKind::VirtualLine] {
            recorded_for_a_line(kind);
        }
    }

    fn recorded_for_a_line(kind: OwnerKind) {
        let owner = |mode, party, side, diverted: &[&str], class| {
            let mut settings = settings();
            settings.users[BOB.0].kind = kind;
            // Another one, which is never recorded.
            settings.users[DAVE.0].kind = kind;
            settings.users[BOB.0].recording_mut().mode = mode;
            settings.users[BOB.0].recording_mut().emergency = Emergency::Left;
            let diverted: Vec<String> = diverted.iter().map(|&number| number.to_owned()).collect();
            let half = Half {
                side,
                party,
                across: "77",
                class,
                diverted: &diverted,
            };
            let plan = recorded(&settings, half);
            plan.map(|plan| settings.users[plan.owner.0].name.clone())
        };
        let pstn = Party::Trunk(TrunkIndex(0));
        let [queue, carol, dave] = [BOB, CAROL, DAVE].map(Party::User);
        let (on, never) = (Mode::Always, Mode::Never);
        let emergency = Class {
            network: Network::Pstn,
            nature: Nature::Emergency,
        };
        for (mode, party, side, diverted, class, want) in [
            (on, queue, Side::Callee, &[][..], OUTSIDE, Some("bob")),
            (never, queue, Side::Callee, &[], OUTSIDE, None),
            (on, dave, Side::Callee, &["1002"], OUTSIDE, Some("bob")),
            (on, carol, Side::Callee, &["1002"], OUTSIDE, Some("bob")),
            (
                on,
                carol,
                Side::Callee,
                &["2001", "1002"],
                TALK,
                Some("bob"),
            ),
            (on, pstn, Side::Callee, &["1002"], OUTSIDE, Some("bob")),
            (
                never,
                carol,
                Side::Callee,
                &["1002"],
                OUTSIDE,
                Some("carol"),
            ),
            (never, dave, Side::Callee, &["1002"], OUTSIDE, None),
            // What the queue leaves out is the agent's own.
            (on, carol, Side::Callee, &["1002"], emergency, Some("carol")),
            (on, dave, Side::Callee, &["2001"], OUTSIDE, None),
            (on, carol, Side::Caller, &["1002"], OUTSIDE, Some("carol")),
        ] {
            let found = owner(mode, party, side, diverted, class);
            assert_eq!(found.as_deref(), want, "{mode:?} {party:?} {diverted:?}");
        }
    }

    #[test]
    fn notices_follow_the_network_of_the_call() {
        let mut settings = settings();
        let (delay, on, off) = (Duration::from_secs(3), Announce::On, Announce::Off);
        of_carol(&mut settings).compliance = Compliance {
            inbound: on,
            outbound: off,
            outbound_delay: delay,
        };
        of_carol(&mut settings).announce.pstn = on;
        let plan = |settings: &Settings, side, class| {
            let half = Half {
                side,
                party: Party::User(CAROL),
                across: "77",
                class,
                diverted: &[],
            };
            let plan = recorded(settings, half).unwrap();
            (
                announced(&plan.settings, class),
                complied(&plan.settings, class, plan.role),
            )
        };
        let now = Some(Duration::ZERO);
        assert_eq!(plan(&settings, Side::Callee, OUTSIDE), (on, now));
        assert_eq!(plan(&settings, Side::Caller, OUTSIDE), (on, None));
        assert_eq!(plan(&settings, Side::Callee, TALK), (off, None));
        of_carol(&mut settings).compliance.inbound = off;
        of_carol(&mut settings).compliance.outbound = on;
        of_carol(&mut settings).announce.internal = on;
        of_carol(&mut settings).announce.pstn = off;
        assert_eq!(plan(&settings, Side::Callee, OUTSIDE), (off, None));
        assert_eq!(plan(&settings, Side::Caller, OUTSIDE), (off, Some(delay)));
        assert_eq!(plan(&settings, Side::Caller, TALK), (on, None));
    }
}
