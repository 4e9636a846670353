//! Calls that turn out to be of another kind than they began: whose they are, who is told, what is left
//! out; and whose words may decide about that.

use std::time::Duration;

use duolog_call::{
    Announce, CallDirection, Class, Compliance, DoNotRecord, DoNotRecordReason, Emergency, End,
    Fact, Input, Mode, Nature, Network, Notice, OwnerKind, RecordingSettings, Selected, Settings,
    Side, StartStop, Trust, Voicemail,
};
use duolog_sip::Method;

use crate::world::{ALICE, BOB, CAROL, DAVE, TRUNK, World, settings};

const PUBLIC: &str = "0201234567";
const ON: Announce = Announce::On;
const OFF: Announce = Announce::Off;

/// Who is told of what: start announcements inside and outside, the compliance announcement in and out.
#[derive(Debug, Clone, Copy)]
struct Told([Announce; 4]);

impl Told {
    fn put(self, recording: &mut RecordingSettings) {
        let [internal, pstn, inbound, outbound] = self.0;
        recording.announce = StartStop {
            internal,
            pstn,
            after_resume: OFF,
        };
        recording.compliance = Compliance {
            inbound,
            outbound,
            outbound_delay: Duration::ZERO,
        };
    }
}

/// Settings in which alice's are the default ones with these changes.
fn alice(change: impl FnOnce(&mut RecordingSettings)) -> Settings {
    let mut told = settings();
    let recording = told.users[0].recording_mut();
    *recording = RecordingSettings::default();
    recording.mode = Mode::Always;
    recording.auto_resume = None;
    change(recording);
    told
}

impl World {
    /// Who heard what, and what recordings did, from the `from`th command on.
    fn heard_since(&mut self, from: usize) -> String {
        let before: Vec<_> = self.media.drain(..from).collect();
        let words = self.commands();
        self.media.splice(..0, before);
        let wanted = ["play-", "START", "TURN-", "PAUSE", "RESUME"];
        let words = words.split(' ');
        let words = words.filter(|word| wanted.iter().any(|one| word.starts_with(one)));
        let words = words.map(|word| word.trim_start_matches("play-").trim_end_matches(".nl"));
        words.collect::<Vec<_>>().join(" ")
    }

    fn ask(&mut self, who: usize, value: &str) -> u16 {
        self.within(who, Method::Info, &[("Record", value)]);
        self.run(50);
        self.last_response(who).status.code()
    }

    fn hang_up(&mut self, who: usize) {
        self.bye(who);
        self.settle();
    }

    /// `who` rings for `from`; the Replaces that names that dialog.
    fn early(&mut self, from: usize, who: usize, number: &str) -> String {
        self.invite(from, number);
        self.run(50);
        self.respond(who, 180);
        self.run(50);
        let invite = self.parties[who].invites[0].1.clone();
        let ours = invite.from().unwrap().tag().unwrap().to_owned();
        let theirs = self.tag_of(who);
        let call_id = invite.call_id().unwrap();
        format!("{call_id};to-tag={ours};from-tag={theirs}")
    }

    /// `who` takes the place that `replaces` names, with further fields in its INVITE.
    fn picks_up(&mut self, who: usize, replaces: String, fields: &[(&str, &str)]) {
        let mut invite = self.new_invite(who, "1002");
        invite.headers.push("Replaces", replaces);
        for (name, value) in fields {
            invite.headers.push(name, *value);
        }
        self.send_new(who, invite);
        self.run(400);
        assert_eq!(self.last_response(who).status.code(), 200);
    }
}

fn class(network: Network) -> Class {
    Class {
        network,
        nature: Nature::Conversation,
    }
}

#[test]
fn a_redirected_call_is_of_the_class_of_who_calls() {
    for (from, network, direction, heard) in [
        (
            TRUNK,
            Network::Pstn,
            CallDirection::Inbound,
            "a-Compliance b-RecordingStarts START",
        ),
        (DAVE, Network::Internal, CallDirection::Internal, "START"),
    ] {
        for left in [Network::Internal, Network::Pstn] {
            let mut w = World::with(
                alice(|r| {
                    Told([OFF, ON, ON, OFF]).put(r);
                    match left {
                        Network::Internal => r.selective.inbound_internal = Selected::No,
                        Network::Pstn => r.selective.inbound_external = Selected::No,
                    }
                }),
                1,
            );
            w.invite(from, "1002");
            w.run(50);
            w.redirect(BOB, &["<sip:1001@x>"]);
            w.respond(ALICE, 200);
            w.run_s(4);
            let openings = w.openings();
            if left == network {
                assert_eq!(openings.len(), 0, "{from} {left:?}");
            } else {
                assert_eq!(openings.len(), 1, "{from} {left:?}");
                assert_eq!(openings[0].class, class(network));
                assert_eq!(openings[0].direction, direction);
                assert_eq!(w.heard_since(0), heard, "{from}");
            }
            w.hang_up(from);
        }
    }
}

#[test]
fn who_a_redirection_reaches_is_told_by_the_class_that_makes() {
    let nobody = "START";
    let both = "a-RecordingStarts b-RecordingStarts START";
    for (told, outside, inside) in [
        ([ON, OFF, OFF, OFF], nobody, both),
        ([OFF, ON, OFF, OFF], both, nobody),
        ([OFF, OFF, OFF, ON], "b-Compliance START", nobody),
        ([OFF, OFF, ON, OFF], nobody, nobody),
        (
            [OFF, ON, OFF, ON],
            "a-RecordingStarts b-Compliance START",
            nobody,
        ),
        ([OFF, OFF, OFF, OFF], nobody, nobody),
    ] {
        for (first, then, contact, heard, network) in [
            ("1002", TRUNK, PUBLIC, outside, Network::Pstn),
            (PUBLIC, BOB, "1002", inside, Network::Internal),
        ] {
            let mut w = World::with(alice(|r| Told(told).put(r)), 1);
            w.invite(ALICE, first);
            w.run(50);
            let redirects = if then == TRUNK { BOB } else { TRUNK };
            w.redirect(redirects, &[&format!("<sip:{contact}@x>")]);
            w.respond(then, 200);
            w.run_s(4);
            assert_eq!(w.heard_since(0), heard, "{told:?} to {contact}");
            assert!(w.facts().contains(&Fact::Class(class(network))));
            w.hang_up(ALICE);
        }
    }
}

#[test]
fn who_picks_up_is_told_by_the_class_that_makes() {
    let nobody = "START";
    for (told, outside, inside) in [
        (
            [ON, OFF, OFF, OFF],
            nobody,
            "a-RecordingStarts c-RecordingStarts START",
        ),
        (
            [OFF, ON, OFF, OFF],
            "a-RecordingStarts c-RecordingStarts START",
            nobody,
        ),
        ([OFF, OFF, OFF, ON], "c-Compliance START", nobody),
    ] {
        for (rings, number, picks, heard, network) in [
            (BOB, "1002", TRUNK, outside, Network::Pstn),
            (TRUNK, PUBLIC, DAVE, inside, Network::Internal),
        ] {
            let mut w = World::with(alice(|r| Told(told).put(r)), 1);
            let replaces = w.early(ALICE, rings, number);
            w.picks_up(picks, replaces, &[]);
            w.run_s(4);
            let all = w.heard_since(0).replace("TURN-c ", "");
            assert_eq!(all, heard, "{told:?} {picks}");
            assert!(w.facts().contains(&Fact::Class(class(network))));
            w.hang_up(ALICE);
        }
    }
}

#[test]
fn who_is_transferred_to_an_emergency_number_hears_no_announcement() {
    for (called, emergency) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut told = alice(|r| Told([OFF, ON, ON, ON]).put(r));
        let number = if emergency { PUBLIC } else { "112" };
        told.numbering.emergency = vec![number.to_owned()];
        let mut w = World::with(told, 1);
        let [from, to] = if called { [ALICE, BOB] } else { [BOB, ALICE] };
        w.call(from, to);
        w.run_s(1);
        let since = w.media.len();
        w.refer(BOB, PUBLIC, &[]);
        w.respond(TRUNK, 200);
        w.run_s(5);
        let heard = if emergency {
            "TURN-c"
        } else {
            "c-Compliance TURN-c"
        };
        assert_eq!(w.heard_since(since), heard, "{called}");
        w.hang_up(ALICE);
    }
}

#[test]
fn a_caller_who_is_sent_to_an_emergency_number_is_recorded_only_with_the_switch() {
    for (switch, kept) in [(Emergency::Recorded, true), (Emergency::Left, false)] {
        let mut told = alice(|r| r.emergency = switch);
        told.numbering.emergency = vec![PUBLIC.to_owned()];
        let mut w = World::with(told, 1);
        w.invite(ALICE, "1002");
        w.run(50);
        w.redirect(BOB, &[&format!("<sip:{PUBLIC}@x>")]);
        w.respond(TRUNK, 200);
        w.run_s(2);
        assert_eq!(w.times("START").len(), usize::from(kept));
        w.hang_up(ALICE);
        let because = "emergency calls are not recorded";
        let ending = match kept {
            true => (End::Finished, "the caller hung up".to_owned()),
            false => (End::NotKept, because.to_owned()),
        };
        assert_eq!(w.endings(), [ending]);
    }
}

#[test]
fn who_comes_by_a_transfer_is_told_by_the_class_that_makes() {
    // Whether alice called; what is heard when the network comes into her call, and when it leaves it.
    let nobody = ("TURN-c", "TURN-c");
    for (called, told, (outside, inside)) in [
        (
            false,
            [OFF, ON, OFF, OFF],
            ("c-RecordingStarts TURN-c", "TURN-c"),
        ),
        (
            true,
            [OFF, ON, OFF, OFF],
            ("c-RecordingStarts TURN-c", "TURN-c"),
        ),
        (
            false,
            [ON, OFF, OFF, OFF],
            ("TURN-c", "c-RecordingStarts TURN-c"),
        ),
        (
            true,
            [ON, OFF, OFF, OFF],
            ("TURN-c", "c-RecordingStarts TURN-c"),
        ),
        (
            false,
            [OFF, OFF, ON, OFF],
            ("c-Compliance TURN-c", "TURN-c"),
        ),
        (true, [OFF, OFF, ON, OFF], nobody),
        (false, [OFF, OFF, OFF, ON], nobody),
        (true, [OFF, OFF, OFF, ON], ("c-Compliance TURN-c", "TURN-c")),
        (false, [OFF, ON, ON, OFF], ("c-Compliance TURN-c", "TURN-c")),
        (true, [OFF, OFF, OFF, OFF], nobody),
    ] {
        for (first, then, number, heard) in
            [(BOB, TRUNK, PUBLIC, outside), (TRUNK, BOB, "1002", inside)]
        {
            let mut w = World::with(alice(|r| Told(told).put(r)), 1);
            let [from, to] = if called {
                [ALICE, first]
            } else {
                [first, ALICE]
            };
            w.call(from, to);
            w.run_s(5);
            assert_eq!(w.times("START").len(), 1);
            let since = w.media.len();
            w.refer(first, number, &[]);
            w.respond(then, 200);
            w.run_s(5);
            assert_eq!(w.heard_since(since), heard, "{called} {told:?} to {number}");
            // It is recorded after it was told, and not twice.
            assert_eq!(w.times("START").len(), 1);
            w.hang_up(ALICE);
        }
    }
}

#[test]
fn who_was_told_in_another_call_is_not_told_again() {
    // Alice was called from outside, and speaks to bob about it; then she connects the two.
    let mut told = alice(|r| Told([ON, ON, OFF, OFF]).put(r));
    *told.users[1].recording_mut() = RecordingSettings {
        mode: Mode::Always,
        announce: StartStop {
            internal: OFF,
            pstn: ON,
            after_resume: OFF,
        },
        ..RecordingSettings::default()
    };
    for alice_records in [true, false] {
        if !alice_records {
            told.users[0].recording_mut().mode = Mode::Never;
        }
        let mut w = World::with(told.clone(), 1);
        w.call(TRUNK, ALICE);
        w.run_s(4);
        let outside = w.parties[ALICE].dialog.take();
        w.call(BOB, ALICE);
        w.run_s(4);
        let to = format!("<sip:9000@x?Replaces={}>", {
            let inside = std::mem::replace(&mut w.parties[ALICE].dialog, outside);
            let replaces = w.escaped_replaces(ALICE);
            w.parties[ALICE].dialog = inside;
            replaces
        });
        let since = w.media.len();
        w.within(ALICE, Method::Refer, &[("Refer-To", &to)]);
        w.run_s(6);
        // Bob's is a call with the public network now, whose party has heard of a recording or not.
        let heard = w.heard_since(since);
        let plays = heard
            .split(' ')
            .filter(|word| word.ends_with("RecordingStarts"));
        assert_eq!(plays.count(), usize::from(!alice_records), "{heard}");
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_recording_that_starts_after_a_transfer_is_told_by_the_class_of_the_call() {
    for (told, heard) in [
        (
            [OFF, ON, OFF, OFF],
            "a-RecordingStarts c-RecordingStarts START",
        ),
        ([ON, OFF, OFF, OFF], "START"),
        ([OFF, OFF, OFF, ON], "c-Compliance START"),
    ] {
        let mut w = World::with(
            alice(|r| {
                r.mode = Mode::OnDemandUserStart;
                Told(told).put(r);
            }),
            1,
        );
        w.call(ALICE, BOB);
        w.run_s(1);
        w.refer(BOB, PUBLIC, &[]);
        w.respond(TRUNK, 200);
        w.run_s(5);
        let since = w.media.len();
        assert_eq!(w.ask(ALICE, "on"), 200);
        w.run_s(4);
        assert_eq!(w.heard_since(since), heard, "{told:?}");
        w.hang_up(ALICE);
    }
}

#[test]
fn a_later_row_says_the_class_of_the_call_and_the_settings_it_began_with() {
    let mut w = World::with(
        alice(|r| {
            r.mode = Mode::OnDemandUserStart;
            r.notice = Notice::Beep;
            Told([OFF, ON, OFF, OFF]).put(r);
        }),
        1,
    );
    w.call(ALICE, BOB);
    w.run_s(1);
    assert_eq!(w.ask(ALICE, "on"), 200);
    w.run_s(1);
    assert_eq!(w.ask(ALICE, "off"), 200);
    w.refer(BOB, PUBLIC, &[]);
    w.respond(TRUNK, 200);
    w.run_s(5);
    let user = w.engine.running()[0].owner;
    let settings = RecordingSettings::default().into();
    w.node(Input::Changed { user, settings });
    let language = Some("en".to_owned());
    w.node(Input::LanguageChanged { user, language });
    assert_eq!(w.ask(ALICE, "on"), 200);
    w.run_s(4);
    let openings = w.openings();
    assert_eq!(openings.len(), 2);
    for (opening, network, direction, announced) in [
        (
            &openings[0],
            Network::Internal,
            CallDirection::Internal,
            OFF,
        ),
        (&openings[1], Network::Pstn, CallDirection::Outbound, ON),
    ] {
        assert_eq!(opening.class, class(network));
        assert_eq!(opening.direction, direction);
        assert_eq!(opening.announced(), announced);
        assert_eq!(opening.settled.recording.notice, Notice::Beep);
        assert_eq!(opening.settled.language, "nl");
        assert_eq!(opening.mode, Mode::OnDemandUserStart);
    }
    assert_eq!(openings[1].number, 2);
    w.hang_up(ALICE);
}

#[test]
fn a_caller_who_is_sent_to_a_voicemail_system_is_recorded_only_with_the_switch() {
    for (switch, picked_up) in [
        (Voicemail::Recorded, false),
        (Voicemail::Left, false),
        (Voicemail::Left, true),
    ] {
        let mut told = settings();
        told.numbering.voicemail = vec!["1004".to_owned()];
        told.users[2].recording_mut().voicemail = switch;
        let mut w = World::with(told, 1);
        if picked_up {
            let replaces = w.early(CAROL, BOB, "1002");
            w.picks_up(DAVE, replaces, &[]);
        } else {
            w.invite(CAROL, "1002");
            w.run(50);
            w.redirect(BOB, &["<sip:1004@x>"]);
            w.respond(DAVE, 200);
        }
        w.run_s(3);
        let kept = switch == Voicemail::Recorded;
        assert_eq!(w.openings().len(), 1, "it was a call with bob at first");
        assert_eq!(w.times("START").len(), usize::from(kept), "{switch:?}");
        assert_eq!(w.engine.running().len(), usize::from(kept));
        let voicemail = Fact::Class(Class {
            network: Network::Internal,
            nature: Nature::Voicemail,
        });
        assert!(picked_up || w.facts().contains(&voicemail));
        w.hang_up(CAROL);
        let because = "calls with a voicemail system are not recorded";
        let ending = match kept {
            true => (End::Finished, "the caller hung up".to_owned()),
            false => (End::NotKept, because.to_owned()),
        };
        assert_eq!(w.endings(), [ending]);
    }
}

/// Bob's number is one for which calls are recorded, whoever answers.
fn line(kind: OwnerKind, mode: Mode) -> Settings {
    let mut told = settings();
    told.users[1].kind = kind;
    told.users[1].recording_mut().mode = mode;
    told
}

#[test]
fn a_queue_s_call_that_is_picked_up_is_the_queue_s() {
    for (mode, owners) in [
        (Mode::AlwaysPauseResume, &["bob", "bob"][..]),
        (Mode::Never, &[]),
    ] {
        let mut w = World::with(line(OwnerKind::Queue, mode), 3);
        let replaces = w.early(TRUNK, BOB, "1002");
        // Dave is never recorded himself.
        w.picks_up(DAVE, replaces, &[]);
        w.run_s(2);
        let openings = w.openings();
        let of: Vec<&str> = openings.iter().map(|o| o.owner.as_str()).collect();
        assert_eq!(of, owners);
        if let Some(last) = openings.last() {
            assert_eq!(
                (last.owner_kind, last.owner_side),
                (OwnerKind::Queue, Side::Callee)
            );
            assert_eq!(last.direction, CallDirection::Inbound);
            assert_eq!(w.ask(DAVE, "pause"), 200);
            assert_eq!(w.ask(TRUNK, "resume"), 403);
        }
        w.hang_up(TRUNK);
        let ends: Vec<End> = w.endings().iter().map(|(end, _)| *end).collect();
        assert_eq!(ends, [End::NotAnswered, End::Finished][..owners.len()]);
    }
}

#[test]
fn a_virtual_line_s_calls_are_its_own_whoever_answers() {
    for mode in [
        Mode::OnDemand,
        Mode::OnDemandUserStart,
        Mode::Always,
        Mode::Never,
    ] {
        for redirected in [true, false] {
            let mut told = line(OwnerKind::VirtualLine, mode);
            told.trunks[0].trust = Trust::Trusted;
            let mut w = World::with(told, 3);
            if redirected {
                w.invite(TRUNK, "1002");
                w.run(50);
                w.redirect(BOB, &["<sip:1004@x>"]);
            } else {
                let mut invite = w.new_invite(TRUNK, "1004");
                invite
                    .headers
                    .push("Diversion", "<sip:1002@x>;reason=follow-me");
                w.send_new(TRUNK, invite);
                w.run(100);
            }
            w.respond(DAVE, 200);
            w.run_s(2);
            let openings = w.openings();
            if mode == Mode::Never {
                assert_eq!(openings.len(), 0);
                w.hang_up(TRUNK);
                continue;
            }
            assert_eq!(openings.len(), 1, "{mode:?}");
            let opening = &openings[0];
            assert_eq!(
                (opening.owner.as_str(), opening.owner_kind, opening.mode),
                ("bob", OwnerKind::VirtualLine, mode)
            );
            let begun = mode != Mode::OnDemandUserStart;
            assert_eq!(w.times("START").len(), usize::from(begun));
            // Who answers has the line's controls, and nobody else.
            assert_eq!(w.ask(TRUNK, "on"), 403);
            let may = mode != Mode::Always;
            assert_eq!(w.ask(DAVE, "on"), if may { 200 } else { 403 });
            assert_eq!(w.times("START").len(), 1);
            assert_eq!(w.times("KEEP").len(), usize::from(mode == Mode::OnDemand));
            w.hang_up(TRUNK);
            assert_eq!(w.endings()[0].0, End::Finished);
        }
    }
}

#[test]
fn only_who_is_believed_says_for_whom_a_call_was() {
    for (from, trust, counts) in [
        (TRUNK, Trust::Trusted, true),
        (TRUNK, Trust::Untrusted, false),
        (BOB, Trust::Trusted, false),
    ] {
        for name in ["Diversion", "History-Info"] {
            let mut told = settings();
            told.trunks[0].trust = trust;
            told.users[4].kind = OwnerKind::Queue;
            let mut w = World::with(told, 3);
            // Carol's call, or one for erin's queue.
            let mut invite = w.new_invite(from, "1003");
            invite.headers.push(name, "<sip:1005@x?Reason=x>;index=1");
            w.send_new(from, invite);
            w.run(100);
            w.respond(CAROL, 200);
            w.run_s(1);
            let opening = &w.openings()[0];
            let owner = if counts { "erin" } else { "carol" };
            assert_eq!(opening.owner, owner, "{from} {trust:?} {name}");
            // It was said, and that is a fact.
            assert_eq!(opening.diversion, ["1005"]);
            w.hang_up(from);

            // Nor where the call goes on elsewhere.
            let mut told = settings();
            told.trunks[0].trust = trust;
            told.users[4].kind = OwnerKind::Queue;
            let mut w = World::with(told, 3);
            let mut invite = w.new_invite(from, "1004");
            invite.headers.push(name, "<sip:1005@x?Reason=x>;index=1");
            w.send_new(from, invite);
            w.run(100);
            w.redirect(DAVE, &["<sip:1003@x>"]);
            w.respond(CAROL, 200);
            w.run_s(1);
            let openings = w.openings();
            let last = openings.last().unwrap();
            assert_eq!(last.owner, owner, "{from} {trust:?} {name}");
            assert!(last.diversion.contains(&"1005".to_owned()));
            w.hang_up(from);
        }
    }
}

#[test]
fn who_takes_a_place_is_known_as_who_calls_is() {
    let asserted = ("P-Asserted-Identity", "<sip:31205550000@x>");
    for (from, trust, number) in [
        (TRUNK, Trust::Trusted, "31205550000"),
        (TRUNK, Trust::Untrusted, "9000"),
        (DAVE, Trust::Trusted, "1004"),
    ] {
        for (listed, connected) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut told = alice(|r| {
                let number = if listed { number } else { "31209999999" };
                r.do_not_record = vec![DoNotRecord {
                    number: number.to_owned(),
                    reason: DoNotRecordReason::Vendor,
                }];
            });
            told.trunks[0].trust = trust;
            let mut w = World::with(told, 1);
            let replaces = match connected {
                true => {
                    w.call(ALICE, BOB);
                    w.replaces(BOB)
                }
                false => w.early(ALICE, BOB, "1002"),
            };
            w.picks_up(from, replaces, &[asserted]);
            w.run_s(3);
            let vendor = Fact::DoNotRecord {
                reason: DoNotRecordReason::Vendor,
            };
            assert_eq!(w.facts().contains(&vendor), listed, "{number}");
            assert_eq!(w.engine.running()[0].party, number);
            w.hang_up(ALICE);
        }
    }
}

#[test]
fn who_was_told_by_compliance_does_not_hear_the_start_after_a_resume() {
    for (inbound, heard) in [
        (ON, "RESUME b-RecordingStarts"),
        (OFF, "RESUME a-RecordingStarts b-RecordingStarts"),
    ] {
        let mut w = World::with(
            alice(|r| {
                r.mode = Mode::AlwaysPauseResume;
                Told([OFF, ON, inbound, OFF]).put(r);
                r.announce.after_resume = ON;
            }),
            1,
        );
        w.call(TRUNK, ALICE);
        w.run_s(4);
        assert_eq!(w.ask(ALICE, "pause"), 200);
        let since = w.media.len();
        assert_eq!(w.ask(ALICE, "resume"), 200);
        w.run_s(4);
        assert_eq!(w.heard_since(since), heard);
        w.hang_up(TRUNK);
    }
}

#[test]
fn a_recording_that_was_stopped_is_not_carried_into_another_call() {
    let mut w = World::with(alice(|r| r.mode = Mode::OnDemandUserStart), 1);
    w.call(ALICE, BOB);
    for value in ["on", "off", "on", "off"] {
        assert_eq!(w.ask(ALICE, value), 200);
    }
    w.call(crate::world::BOB2, CAROL);
    let to = format!("<sip:1001@x?Replaces={}>", w.escaped_replaces(BOB));
    w.within(crate::world::BOB2, Method::Refer, &[("Refer-To", &to)]);
    w.run_s(6);
    assert_eq!(w.engine.running().len(), 2, "alice and carol talk");
    w.bye(ALICE);
    w.settle();
    assert_eq!(w.openings().len(), 3);
}

#[test]
fn in_an_emergency_nobody_waits_for_an_announcement() {
    for mode in [Mode::Always, Mode::OnDemandUserStart] {
        for redirected in [true, false] {
            let mut told = alice(|r| {
                r.mode = mode;
                r.notice = Notice::Beep;
                Told([ON, ON, ON, ON]).put(r);
            });
            told.numbering.emergency = vec!["112".to_owned()];
            told.users[3].numbers.push("112".to_owned());
            let mut w = World::with(told, 1);
            w.invite(ALICE, "112");
            w.run(50);
            let answers = match redirected {
                // Whoever is asked to answer it.
                true => {
                    w.redirect(DAVE, &[&format!("<sip:{PUBLIC}@x>")]);
                    TRUNK
                }
                false => DAVE,
            };
            w.respond(answers, 200);
            w.run_s(1);
            if mode == Mode::OnDemandUserStart {
                assert_eq!(w.ask(ALICE, "on"), 200);
                assert_eq!(w.ask(ALICE, "pause"), 200);
                assert_eq!(w.ask(ALICE, "off"), 200);
            }
            w.run_s(4);
            let heard = match mode {
                Mode::Always => "START",
                _ => "START PAUSE a-beep b-beep",
            };
            assert_eq!(w.heard_since(0), heard, "{mode:?} {redirected}");
            assert_eq!(w.openings()[0].announced(), OFF);
            assert_eq!(w.openings()[0].class.nature, Nature::Emergency);
            w.hang_up(ALICE);
        }
    }
}
