//! What the settings of an owner make of a call: rows, announcements, limits, lists.

use std::time::Duration;

use duolog_call::{
    Announce, Arrival, Compliance, Control, ControlId, DoNotRecord, DoNotRecordReason, Emergency,
    End, Fact, Input, Keeping, Means, MediaCommand, Mode, Notice, OwnerKind, Phase, RecordingId,
    RecordingSettings, Refusal, Selected, Side, StartStop, Trust,
};
use duolog_sip::Method;

use crate::world::{ALICE, BOB, CAROL, DAVE, TRUNK, World, settings};

/// A world in which alice's settings are the default ones with these changes.
fn alice(change: impl FnOnce(&mut RecordingSettings)) -> World {
    let mut told = settings();
    let recording = told.users[0].recording_mut();
    *recording = RecordingSettings::default();
    recording.auto_resume = None;
    change(recording);
    World::with(told, 5)
}

impl World {
    fn api(&mut self, recording: RecordingId, control: Control) -> Result<Phase, Refusal> {
        let id = ControlId(self.seen.controlled.len() as u64);
        self.node(Input::Control {
            id,
            recording,
            control,
            by: Means::Api,
        });
        self.run(20);
        let (last, result) = *self.seen.controlled.last().unwrap();
        assert_eq!(last, id);
        result
    }

    fn info(&mut self, who: usize, value: &str) -> u16 {
        self.within(who, Method::Info, &[("Record", value)]);
        self.run(20);
        self.last_response(who).status.code()
    }

    /// The words of the media plane since `from`, without legs and bridges.
    fn since(&mut self, from: usize) -> String {
        let before: Vec<_> = self.media.drain(..from).collect();
        let words = self.commands();
        self.media.splice(..0, before);
        words
    }

    /// The facts of one recording.
    pub fn facts_of(&self, wanted: RecordingId) -> Vec<Fact> {
        let facts = self.media.iter().filter_map(|(_, command)| match command {
            MediaCommand::Note { recording, fact } if *recording == wanted => Some(fact.clone()),
            _ => None,
        });
        facts.collect()
    }

    fn ids(&self) -> Vec<RecordingId> {
        let opened = self.media.iter().filter_map(|(_, command)| match command {
            MediaCommand::OpenRecording { recording, .. } => Some(*recording),
            _ => None,
        });
        opened.collect()
    }

    fn over(&mut self, who: usize) -> Vec<(End, String)> {
        self.bye(who);
        self.settle();
        self.endings()
    }
}

#[test]
fn on_demand_is_kept_whole_or_not_at_all() {
    let mut w = alice(|r| r.mode = Mode::OnDemand);
    w.call(TRUNK, ALICE);
    assert_eq!(w.openings()[0].keeping, Keeping::Provisional);
    w.run_s(30);
    assert_eq!(w.engine.running()[0].phase, Phase::Provisional);
    assert_eq!(
        w.over(TRUNK),
        [(End::NotKept, "the owner did not ask for it".to_owned())]
    );
    assert!(w.seen.kept.is_empty());

    let mut w = alice(|r| r.mode = Mode::OnDemand);
    w.call(TRUNK, ALICE);
    w.run_s(30);
    assert_eq!(w.info(ALICE, "on"), 200);
    assert_eq!(w.info(ALICE, "on"), 200);
    assert_eq!(w.info(ALICE, "off"), 403);
    assert_eq!(w.seen.kept, w.ids());
    let kept = Fact::Kept { by: Means::Info };
    assert_eq!(w.facts().iter().filter(|fact| **fact == kept).count(), 1);
    assert_eq!(
        w.over(TRUNK),
        [(End::Finished, "the caller hung up".to_owned())]
    );
}

#[test]
fn each_start_is_a_recording_of_its_own() {
    let mut w = alice(|r| r.mode = Mode::OnDemandUserStart);
    w.call(TRUNK, ALICE);
    w.run_s(5);
    let name = w.ids()[0];
    assert_eq!(w.times("START").len(), 0);
    for round in 0..3 {
        // By its first name, and by that of the one that runs.
        let running = *w.ids().last().unwrap();
        assert_eq!(w.api(name, Control::Start), Ok(Phase::Started));
        let now = *w.ids().last().unwrap();
        assert_eq!(w.engine.running()[0].recording, name);
        assert_eq!(w.api(now, Control::Pause), Ok(Phase::Paused));
        assert_eq!(w.api(now, Control::Stop), Ok(Phase::Stopped));
        assert_eq!(w.api(name, Control::Stop), Ok(Phase::Stopped));
        if round > 0 {
            assert_ne!(running, now);
            assert_eq!(w.api(running, Control::Stop).is_ok(), running == name);
            assert_eq!(w.api(now, Control::Start), Err(Refusal::NoSuchCall));
        }
    }
    let ids = w.ids();
    let openings = w.openings();
    let numbers: Vec<u32> = openings.iter().map(|opening| opening.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(openings.iter().all(|o| o.correlation == name.0));
    for at in 1..3 {
        let earlier = Fact::EarlierRecording {
            recording: ids[at - 1],
        };
        assert_eq!(w.facts_of(ids[at])[0], earlier);
    }
    let stopped = Fact::Stopped { by: Means::Api };
    assert!(ids.iter().all(|id| w.facts_of(*id).contains(&stopped)));
    assert!(!w.facts_of(ids[2]).contains(&Fact::Answered));
    let end = (End::Finished, "its owner stopped it".to_owned());
    assert_eq!(w.over(TRUNK), vec![end; 3]);
    assert_eq!(w.api(name, Control::Start), Err(Refusal::NoSuchCall));

    let mut w = alice(|r| r.mode = Mode::OnDemandUserStart);
    w.call(TRUNK, ALICE);
    w.run_s(5);
    let end = (End::NotKept, "the owner did not start it".to_owned());
    assert_eq!(w.over(TRUNK), [end]);
}

#[test]
fn a_second_recording_is_known_to_the_one_across() {
    let mut told = settings();
    told.users[0].recording_mut().mode = Mode::OnDemandUserStart;
    told.users[0].recording_mut().announce = StartStop::BOTH;
    let mut w = World::with(told, 5);
    w.call(ALICE, CAROL);
    w.run_s(1);
    let carols = w.ids()[0];
    for value in ["on", "off", "on"] {
        assert_eq!(w.info(ALICE, value), 200);
        w.run_s(4);
    }
    let last = *w.ids().last().unwrap();
    let linked = |recording| Fact::OtherRecording { recording };
    assert!(w.facts_of(carols).contains(&linked(last)));
    assert!(w.facts_of(last).contains(&linked(carols)));
    // Carol's recording ran on: nobody heard that the recording had ended, nor twice that it starts.
    assert!(w.times("play-a-RecordingStops.nl").is_empty());
    assert_eq!(w.times("play-b-RecordingStarts.nl").len(), 1);
    assert_eq!(w.over(ALICE).len(), 3);
}

#[test]
fn start_and_stop_are_told_by_network() {
    let on = StartStop::BOTH;
    let (inside, outside) = (
        StartStop {
            pstn: Announce::Off,
            ..on
        },
        StartStop {
            internal: Announce::Off,
            ..on
        },
    );
    for (announce, far, heard) in [
        (on, TRUNK, 2),
        (on, BOB, 2),
        (inside, TRUNK, 0),
        (inside, BOB, 2),
        (outside, TRUNK, 2),
        (outside, BOB, 0),
        (StartStop::OFF, TRUNK, 0),
    ] {
        let mut w = alice(|r| {
            r.mode = Mode::OnDemandUserStart;
            r.announce = announce;
        });
        w.call(far, ALICE);
        w.run_s(1);
        assert!(!w.commands().contains("play"), "not before it is asked for");
        for (value, prompt) in [
            ("on", "RecordingStarts"),
            ("off", "RecordingStops"),
            ("on", "RecordingStarts"),
        ] {
            let from = w.media.len();
            assert_eq!(w.info(ALICE, value), 200);
            w.run_s(3);
            let words = w.since(from);
            let plays = words.split(' ').filter(|word| word.starts_with("play"));
            let plays: Vec<&str> = plays.collect();
            assert_eq!(plays.len(), heard, "{words}");
            assert!(plays.iter().all(|play| play.contains(prompt)), "{words}");
            // Nothing is captured before all have heard it.
            if value == "on" {
                assert!(words.ends_with("START"), "{words}");
            }
        }
        let started = |fact: &&Fact| matches!(fact, Fact::AnnouncementStarted { .. });
        let first = w.ids()[0];
        let facts = w.facts_of(first);
        assert_eq!(facts.iter().filter(started).count(), 2 * heard);
        w.over(far);
    }
}

#[test]
fn a_quick_stop_and_start_tells_everybody_in_order() {
    let mut w = alice(|r| {
        r.mode = Mode::OnDemandUserStart;
        r.announce = StartStop::BOTH;
    });
    w.call(TRUNK, ALICE);
    let from = w.media.len();
    for value in ["on", "off", "on"] {
        assert_eq!(w.info(ALICE, value), 200);
        w.run(500);
    }
    w.run_s(3);
    assert_eq!(w.info(ALICE, "off"), 200);
    w.run(500);
    assert_eq!(w.info(ALICE, "on"), 200);
    w.run_s(3);
    let starts = "play-a-RecordingStarts.nl play-b-RecordingStarts.nl";
    let stops = "play-a-RecordingStops.nl play-b-RecordingStops.nl";
    let story = [
        starts,
        "stop-a stop-b CLOSE-NotStarted RECORD-b",
        starts,
        "START",
        stops,
        "CLOSE-Finished RECORD-b stop-a stop-b",
        starts,
        "START",
    ];
    let words = w.since(from);
    assert_eq!(words, story.join(" "));
    assert_eq!(w.over(TRUNK).len(), 3);
}

#[test]
fn the_start_announcement_may_come_after_each_resume() {
    for (after_resume, pstn, want) in [
        (
            Announce::On,
            Announce::On,
            "RESUME play-a-RecordingStarts.nl play-b-RecordingStarts.nl",
        ),
        (
            Announce::On,
            Announce::Off,
            "RESUME play-a-beep play-b-beep",
        ),
        (
            Announce::Off,
            Announce::On,
            "RESUME play-a-beep play-b-beep",
        ),
    ] {
        let mut w = alice(|r| {
            r.mode = Mode::AlwaysPauseResume;
            r.notice = Notice::Beep;
            r.announce = StartStop {
                internal: Announce::Off,
                pstn,
                after_resume,
            };
        });
        w.call(TRUNK, ALICE);
        w.run_s(4);
        w.info(ALICE, "pause");
        w.run_s(1);
        let from = w.media.len();
        w.info(ALICE, "resume");
        assert_eq!(w.since(from), want);
        w.run_s(3);
        w.over(TRUNK);
    }
}

#[test]
fn a_notice_waits_for_an_announcement() {
    let mut told = settings();
    for (user, mode) in [(0, Mode::OnDemandUserStart), (2, Mode::AlwaysPauseResume)] {
        let recording = told.users[user].recording_mut();
        recording.mode = mode;
        recording.notice = Notice::Announcement;
    }
    let mut w = World::with(told, 5);
    w.call(ALICE, CAROL);
    w.run_s(1);
    let from = w.media.len();
    // While alice's recording is announced, carol pauses hers.
    for (who, value) in [
        (ALICE, "on"),
        (CAROL, "pause"),
        (CAROL, "resume"),
        (CAROL, "pause"),
    ] {
        assert_eq!(w.info(who, value), 200);
        w.run(100);
    }
    w.run_s(6);
    assert_eq!(
        w.since(from),
        "play-a-RecordingStarts.nl play-b-RecordingStarts.nl PAUSE RESUME PAUSE START \
         play-b-RecordingPaused.en",
        "alice is recorded: her own recording goes on"
    );
    w.bye(ALICE);
    w.settle();
}

#[test]
fn a_pause_ends_by_itself_after_its_limit() {
    let limit = |limit| {
        alice(move |r| {
            r.mode = Mode::AlwaysPauseResume;
            r.auto_resume = limit;
        })
    };
    let mut w = limit(Some(Duration::from_secs(120)));
    w.call(TRUNK, ALICE);
    w.info(ALICE, "pause");
    w.run_s(60);
    // Asking again does not make it longer.
    w.info(ALICE, "pause");
    w.run_s(70);
    let (paused, resumed) = (w.times("PAUSE")[0], w.times("RESUME")[0]);
    assert_eq!(resumed - paused, 120_000);
    assert!(w.facts().contains(&Fact::Resumed { by: Means::Limit }));
    // One that is resumed in time has its own limit next time.
    w.info(ALICE, "pause");
    w.run_s(100);
    w.info(ALICE, "resume");
    w.info(ALICE, "pause");
    w.run_s(100);
    assert_eq!(w.times("RESUME").len(), 2);
    w.over(TRUNK);

    let mut w = limit(None);
    w.call(TRUNK, ALICE);
    w.info(ALICE, "pause");
    w.run_s(3000);
    assert!(w.times("RESUME").is_empty());
    w.over(TRUNK);
}

/// Which prompts each leg heard and when the recording began, in milliseconds from the ACK.
fn told(w: &World) -> String {
    let facts = w.media.iter();
    let answered = facts.clone().find_map(|(ms, c)| match c {
        MediaCommand::Note {
            fact: Fact::Connected,
            ..
        } => Some(*ms),
        _ => None,
    });
    let answered = answered.unwrap();
    let said: Vec<String> = ["a", "b"]
        .into_iter()
        .flat_map(|leg| ["Compliance", "RecordingStarts"].map(|prompt| (leg, prompt)))
        .flat_map(|(leg, prompt)| {
            let times = w.times(&format!("play-{leg}-{prompt}.nl"));
            let word = move |ms: u64| format!("{leg}-{prompt}@{}", ms - answered);
            times.into_iter().map(word)
        })
        .chain(
            w.times("START")
                .iter()
                .map(|ms| format!("START@{}", ms - answered)),
        )
        .collect();
    said.join(" ")
}

#[test]
fn the_public_network_hears_the_compliance_announcement_instead() {
    let delay = Duration::from_secs(7);
    let (on, off) = (Announce::On, Announce::Off);
    for (out, inbound, outbound, announce, want) in [
        // Called: at once, beside the start announcement of the owner.
        (
            false,
            on,
            off,
            on,
            "a-Compliance@0 b-RecordingStarts@0 START@2000",
        ),
        (false, on, off, off, "a-Compliance@0 START@2000"),
        (
            false,
            off,
            on,
            on,
            "a-RecordingStarts@0 b-RecordingStarts@0 START@2000",
        ),
        (false, off, on, off, "START@0"),
        // Calling: after the delay.
        (
            true,
            off,
            on,
            on,
            "a-RecordingStarts@0 b-Compliance@7000 START@9000",
        ),
        (true, off, on, off, "b-Compliance@7000 START@9000"),
        (
            true,
            on,
            off,
            on,
            "a-RecordingStarts@0 b-RecordingStarts@0 START@2000",
        ),
    ] {
        let mut w = alice(|r| {
            r.mode = Mode::OnDemand;
            r.announce.pstn = announce;
            r.compliance = Compliance {
                inbound,
                outbound,
                outbound_delay: delay,
            };
        });
        let [from, to] = if out { [ALICE, TRUNK] } else { [TRUNK, ALICE] };
        w.call(from, to);
        w.run_s(12);
        assert_eq!(told(&w), want);
        w.over(from);
    }
}

#[test]
fn compliance_stands_for_start_and_stop_as_long_as_the_call_lasts() {
    let mut w = alice(|r| {
        r.mode = Mode::OnDemandUserStart;
        r.announce = StartStop::BOTH;
        r.compliance.outbound = Announce::On;
        r.compliance.outbound_delay = Duration::from_secs(4);
    });
    w.call(ALICE, TRUNK);
    w.run_s(10);
    // The delay counts from the answer.
    let from = w.media.len();
    for value in ["on", "off", "on"] {
        assert_eq!(w.info(ALICE, value), 200);
        w.run_s(3);
    }
    assert_eq!(
        w.since(from),
        "play-a-RecordingStarts.nl play-b-Compliance.nl START play-a-RecordingStops.nl \
         CLOSE-Finished RECORD-a play-a-RecordingStarts.nl START"
    );
    w.over(ALICE);

    // Hanging up before it is over leaves nothing.
    let mut w = alice(|r| {
        r.mode = Mode::Always;
        r.compliance.outbound = Announce::On;
        r.compliance.outbound_delay = Duration::from_secs(60);
    });
    w.call(ALICE, TRUNK);
    w.run_s(59);
    assert_eq!(w.over(ALICE)[0].0, End::NotStarted);
    assert!(!w.commands().contains("Compliance"));
}

fn listed(number: &str) -> Vec<DoNotRecord> {
    vec![DoNotRecord {
        number: number.to_owned(),
        reason: DoNotRecordReason::Personal,
    }]
}

#[test]
fn calls_with_a_listed_number_leave_facts_and_no_audio() {
    for (from, to, number) in [
        (ALICE, TRUNK, "0201234567"),
        (TRUNK, ALICE, "9000"),
        (ALICE, BOB, "1002"),
    ] {
        let personal = Fact::DoNotRecord {
            reason: DoNotRecordReason::Personal,
        };
        for mode in [
            Mode::OnDemand,
            Mode::OnDemandUserStart,
            Mode::Always,
            Mode::AlwaysPauseResume,
        ] {
            let mut w = alice(|r| {
                r.mode = mode;
                r.announce = StartStop::BOTH;
                r.do_not_record = listed(number);
            });
            w.call(from, to);
            assert_eq!(w.info(ALICE, "on"), 403);
            w.run_s(10);
            assert!(w.facts().contains(&personal));
            let all = w.commands();
            assert!(!all.contains("play") && !all.contains("START"), "{all}");
            let because = "the other party is on the do-not-record list: personal";
            assert_eq!(w.over(from), [(End::NotKept, because.to_owned())]);
        }
        // Another number is none of the list's business.
        let mut w = alice(|r| {
            r.mode = Mode::Always;
            r.do_not_record = listed("020123456");
        });
        w.call(from, to);
        w.run_s(3);
        assert_eq!(w.times("START").len(), 1);
        assert!(!w.facts().contains(&personal));
        w.over(from);
    }
}

#[test]
fn a_listed_party_that_joins_is_not_recorded_while_it_is_there() {
    for paused_before in [false, true] {
        let mut w = alice(|r| {
            r.mode = Mode::AlwaysPauseResume;
            r.announce = StartStop::BOTH;
            r.notice = Notice::Announcement;
            r.do_not_record = listed("1004");
        });
        w.call(ALICE, BOB);
        w.run_s(4);
        if paused_before {
            w.info(ALICE, "pause");
            w.run_s(3);
        }
        let from = w.media.len();
        w.refer(BOB, "1004", &[]);
        w.respond(DAVE, 200);
        w.run_s(8);
        let words = w.since(from);
        assert!(!words.contains("play"), "{words}");
        assert_eq!(words.contains("PAUSE"), !paused_before, "{words}");
        assert_eq!(w.engine.running()[0].phase, Phase::Paused);
        assert_eq!(w.info(ALICE, "resume"), 403);
        // It gives its place to somebody else, who hears of the recording before being in it.
        let from = w.media.len();
        w.refer(DAVE, "1003", &[]);
        w.respond(CAROL, 200);
        w.run_s(8);
        let words = w.since(from);
        assert_eq!(words.contains("RESUME"), !paused_before, "{words}");
        assert!(words.contains("play-d-RecordingStarts.nl TURN-d") || words.contains("TURN-d"));
        let by = Means::Policy;
        let facts = w.facts();
        assert_eq!(facts.contains(&Fact::Paused { by }), !paused_before);
        assert_eq!(facts.contains(&Fact::Resumed { by }), !paused_before);
        w.bye(ALICE);
        w.settle();
    }
}

#[test]
fn selective_and_emergency_leave_no_row() {
    for (emergency, rows) in [(Emergency::Recorded, 1), (Emergency::Left, 0)] {
        let mut told = settings();
        told.numbering.emergency = vec!["112".to_owned()];
        told.users[2].recording_mut().emergency = emergency;
        let mut w = World::with(told, 3);
        w.invite(CAROL, "112");
        w.run(100);
        w.respond(TRUNK, 200);
        w.run_s(3);
        assert_eq!(w.recordings.len(), rows);
        assert_eq!(w.times("START").len(), rows);
        w.over(CAROL);
    }
    for (from, to, rows) in [(CAROL, BOB, 0), (BOB, CAROL, 1), (CAROL, TRUNK, 1)] {
        let mut told = settings();
        told.users[2].recording_mut().selective.outbound_internal = Selected::No;
        let mut w = World::with(told, 3);
        w.call(from, to);
        assert_eq!(w.recordings.len(), rows, "{from} {to}");
        w.over(from);
    }
}

#[test]
fn a_queue_s_calls_are_the_queue_s_whoever_answers() {
    let mut told = settings();
    told.users[1].kind = OwnerKind::Queue;
    told.users[1].recording_mut().mode = Mode::AlwaysPauseResume;
    told.trunks[0].trust = Trust::Trusted;
    let mut w = World::with(told.clone(), 3);
    // Dave is never recorded himself.
    let mut invite = w.new_invite(TRUNK, "1004");
    invite
        .headers
        .push("Diversion", "<sip:1002@x>;reason=unconditional");
    w.send_new(TRUNK, invite);
    w.run(100);
    w.respond(DAVE, 200);
    w.run_s(2);
    let opening = &w.openings()[0];
    assert_eq!(
        (
            opening.owner.as_str(),
            opening.owner_kind,
            opening.owner_side
        ),
        ("bob", OwnerKind::Queue, Side::Callee)
    );
    assert_eq!(w.info(DAVE, "pause"), 200);
    assert_eq!(w.info(TRUNK, "resume"), 403);
    w.over(TRUNK);

    // The queue's own place redirects to an agent: the row is the same, and no other is made.
    let mut w = World::with(told, 3);
    w.invite(TRUNK, "1002");
    w.run(100);
    let (key, request) = w.parties[BOB].invites.remove(0);
    let mut response = duolog_sip::Response::to(&request, crate::world::status(302));
    response.headers.push("Contact", "<sip:1003@x>");
    w.answer(BOB, key, response);
    w.run(100);
    w.respond(CAROL, 200);
    w.run_s(2);
    assert_eq!(w.openings().len(), 1);
    assert_eq!(w.openings()[0].owner, "bob");
    assert_eq!(w.over(TRUNK)[0].0, End::Finished);
}

#[test]
fn a_redirection_decides_anew_whether_a_number_is_listed() {
    for (list, rows) in [("1003", 0), ("1002", 1)] {
        let mut w = alice(|r| {
            r.mode = Mode::Always;
            r.do_not_record = listed(list);
        });
        w.invite(ALICE, "1002");
        w.run(100);
        let (key, request) = w.parties[BOB].invites.remove(0);
        let mut response = duolog_sip::Response::to(&request, crate::world::status(302));
        response.headers.push("Contact", "<sip:1003@x>");
        w.answer(BOB, key, response);
        w.run(100);
        w.respond(CAROL, 200);
        w.run_s(2);
        let alices = w.ids()[0];
        let started = w
            .facts_of(alices)
            .contains(&Fact::RecordingStarted { by: None });
        assert_eq!(started, rows == 1, "{list}");
        let joined = |fact: &Fact| matches!(fact, Fact::PartyJoined { how: Arrival::Redirected, number, .. } if number == "1003");
        assert!(w.facts_of(alices).iter().any(joined));
        w.over(ALICE);
    }
}

#[test]
fn settings_that_change_count_for_the_next_call() {
    let mut w = alice(|r| r.mode = Mode::AlwaysPauseResume);
    w.call(TRUNK, ALICE);
    w.run_s(1);
    let user = w.engine.running()[0].owner;
    let settings = RecordingSettings::default().into();
    w.node(Input::Changed { user, settings });
    assert_eq!(w.info(ALICE, "pause"), 200);
    w.bye(TRUNK);
    w.run_s(1);
    w.call(TRUNK, ALICE);
    w.run_s(1);
    assert_eq!(w.recordings.len(), 1);
    w.over(TRUNK);
}
