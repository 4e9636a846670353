//! Five hundred calls that do anything at any time: whatever happens, nothing is left.

use std::time::Duration;

use bytes::Bytes;
use duolog_call::{
    Compliance, Control, ControlId, Digit, DoNotRecord, DoNotRecordReason, End, Fact, Gate, Input,
    Keeping, LegId, Means, MediaCommand, MediaEvent, Mode, Notice, OnFailure, Opening, Settings,
    StartStop,
};
use duolog_sip::sdp::Direction;
use duolog_sip::{Flow, Message, Method, Transport};

use crate::world::{ALICE, Acks, BOB, CAROL, Ports, TRUNK, World, description, over, settings};

/// A small generator: the seed reproduces everything (Knuth's MMIX constants).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn answer(w: &mut World, dice: &mut Dice, who: usize) {
    if w.parties[who].invites.is_empty() {
        return;
    }
    match dice.roll(10) {
        0 => w.respond(who, 486),
        1 => w.respond(who, 180),
        2 => w.respond_with(who, 183, Some(&description(who, Direction::SendRecv))),
        3 => w.respond(who, 491),
        4 => w.respond_with(who, 200, None),
        5 => w.respond(who, 481),
        _ => w.respond(who, 200),
    }
}

/// Somebody with the right asks for something, or the recorder loses something, or takes nothing.
pub fn control(w: &mut World, dice: &mut Dice) {
    let all: Vec<_> = w.recordings.keys().copied().collect();
    if all.is_empty() {
        return;
    }
    let recording = all[all.len() - 1 - dice.roll(all.len().min(3) as u64) as usize];
    let control = [
        Control::Start,
        Control::Stop,
        Control::Pause,
        Control::Resume,
    ];
    match dice.roll(24) {
        0 => w.report(MediaEvent::RecordingTrouble {
            recording,
            reason: "gone".to_owned(),
        }),
        1 => w.node(Input::Gate(Gate::Closed {
            reason: "full".to_owned(),
            retry_after_s: 5,
        })),
        2..=4 => w.node(Input::Gate(Gate::Open)),
        roll => {
            let id = ControlId(w.seen.controlled.len() as u64);
            w.node(Input::Control {
                id,
                recording,
                control: control[roll as usize % 4],
                by: Means::Api,
            });
            let (answered, result) = w.seen.controlled.last().unwrap();
            assert_eq!(*answered, id);
            let phase = w.engine.running().into_iter().map(|half| half.phase);
            if let Ok(now) = result {
                assert!(phase.clone().any(|phase| phase == *now), "{now:?}");
            }
        }
    }
}

/// Settings drawn for everybody: each mode, each announcement, each policy, and who is on whose list.
pub fn drawn(dice: &mut Dice, settings: &mut Settings) {
    use duolog_call::Announce::{Off, On};
    let modes = [
        Mode::Never,
        Mode::OnDemand,
        Mode::OnDemandUserStart,
        Mode::Always,
        Mode::AlwaysPauseResume,
    ];
    let failures = [
        OnFailure::Refuse,
        OnFailure::GoOn,
        OnFailure::GoOnAnnounced,
        OnFailure::EndAnnounced,
    ];
    let notices = [Notice::None, Notice::Beep, Notice::Announcement];
    for user in &mut settings.users {
        let recording = user.recording_mut();
        recording.mode = modes[dice.roll(5) as usize];
        recording.on_failure = failures[dice.roll(4) as usize];
        recording.notice = notices[dice.roll(3) as usize];
        let mut switch = || [Off, On][dice.roll(2) as usize];
        recording.announce = StartStop {
            internal: switch(),
            pstn: switch(),
            after_resume: switch(),
        };
        recording.compliance = Compliance {
            inbound: switch(),
            outbound: switch(),
            outbound_delay: Duration::from_secs(dice.roll(4)),
        };
        recording.auto_resume = (dice.roll(2) == 0).then(|| Duration::from_secs(10));
        recording.do_not_record = Vec::new();
        if dice.roll(4) == 0 {
            recording.do_not_record.push(DoNotRecord {
                number: ["9000", "020123", "1001", "1002", "1003", "1004"][dice.roll(6) as usize]
                    .to_owned(),
                reason: DoNotRecordReason::Vendor,
            });
        }
    }
}

/// What must hold of every recording, whatever happened: nothing is captured of what is not announced,
/// kept only what is provisional, and the end says what there is.
pub fn check_rows(w: &World) {
    let mut rows: std::collections::BTreeMap<_, (Vec<&str>, Option<Opening>)> =
        std::collections::BTreeMap::new();
    for (_, command) in &w.media {
        let (recording, word) = match command {
            MediaCommand::OpenRecording {
                recording, opening, ..
            } => {
                rows.entry(*recording).or_default().1 = Some((**opening).clone());
                (recording, "open")
            }
            MediaCommand::StartRecording { recording } => (recording, "start"),
            MediaCommand::KeepRecording { recording } => (recording, "keep"),
            MediaCommand::CloseRecording { recording, ending } => {
                let word = match ending.end {
                    End::Finished => "finished",
                    End::NotKept => "not kept",
                    End::Failed => "failed",
                    End::NotStarted => "not started",
                    End::NotAnswered | End::Refused => "refused",
                };
                (recording, word)
            }
            _ => continue,
        };
        rows.entry(*recording).or_default().0.push(word);
    }
    for (recording, (words, opening)) in rows {
        let opening = opening.expect("opened");
        let (started, kept) = (words.contains(&"start"), words.contains(&"keep"));
        let provisional = opening.keeping == Keeping::Provisional;
        assert_eq!(provisional, opening.mode == Mode::OnDemand);
        assert!(!kept || (provisional && started), "{recording:?} {words:?}");
        match *words.last().unwrap() {
            "finished" => assert!(started && (kept || !provisional), "{words:?}"),
            "not kept" => assert!(!kept && started <= provisional, "{words:?}"),
            "not started" | "refused" => assert!(!started, "{words:?}"),
            "failed" => {}
            other => panic!("{recording:?} is not closed: {other}"),
        }
    }
}

/// No time passes in which something is captured with a party that is on its owner's list.
pub fn check_lists(w: &World, settings: &Settings) -> usize {
    let mut halves = std::collections::BTreeMap::new();
    let (mut last, mut held_back) = (0, 0);
    for (ms, command) in &w.media {
        for (list, party, captures) in halves.values().filter(|_| *ms > last) {
            let list: &Vec<DoNotRecord> = list;
            let listed = list.iter().any(|entry| Some(&entry.number) == *party);
            assert!(!(listed && *captures), "at {last} ms with {party:?}");
            held_back += usize::from(listed);
        }
        last = *ms;
        match command {
            MediaCommand::OpenRecording {
                recording, opening, ..
            } => {
                let mut users = settings.users.iter();
                let owner = users.find(|user| user.name == opening.owner).unwrap();
                let list = owner.recording.do_not_record.clone();
                halves.insert(*recording, (list, Some(&opening.party), false));
            }
            MediaCommand::StartRecording { recording }
            | MediaCommand::ResumeRecording { recording } => {
                halves.get_mut(recording).unwrap().2 = true;
            }
            MediaCommand::PauseRecording { recording } => {
                halves.get_mut(recording).unwrap().2 = false;
            }
            MediaCommand::CloseRecording { recording, .. } => {
                halves.remove(recording);
            }
            MediaCommand::Note { recording, fact } => match fact {
                Fact::PartyJoined { number, .. } => {
                    halves.get_mut(recording).unwrap().1 = Some(number);
                }
                Fact::PartyLeft { .. } => halves.get_mut(recording).unwrap().1 = None,
                _ => {}
            },
            _ => {}
        }
    }
    held_back
}

fn act(w: &mut World, dice: &mut Dice, caller: usize, callee: usize) {
    let who = if dice.roll(2) == 0 { caller } else { callee };
    let connected = w.parties[who].dialog.is_some();
    let legs = w.legs.iter().copied().collect::<Vec<LegId>>();
    match dice.roll(12) {
        0..=2 => answer(w, dice, callee),
        3 => answer(w, dice, caller),
        4 => w.cancel(caller),
        5 if connected => w.bye(who),
        6 if connected => w.reinvite(who, Direction::SendOnly),
        7 if connected => w.reinvite(who, Direction::SendRecv),
        8 if connected => {
            let value = ["pause", "resume", "on", "off", "other"][dice.roll(5) as usize];
            w.within(who, Method::Info, &[("Record", value)]);
        }
        9 if connected => w.within(who, Method::Invite, &[]),
        10 => {
            for leg in legs {
                let digit = Digit {
                    event: [10, 4, 5, 8, 9, 1][dice.roll(6) as usize],
                    duration_ms: 90,
                };
                w.report(MediaEvent::Digit { leg, digit });
            }
            control(w, dice);
        }
        11 => {
            for leg in legs {
                if dice.roll(3) == 0 {
                    w.report(MediaEvent::MediaTimeout { leg });
                }
            }
        }
        _ => {}
    }
}

/// Ten calls, one after the other and over each other, on one engine.
fn ten_calls(w: &mut World, dice: &mut Dice) {
    let parties = [TRUNK, ALICE, BOB, CAROL];
    for _ in 0..10 {
        let caller = parties[dice.roll(4) as usize];
        let others = parties.into_iter().filter(|party| *party != caller);
        let callee = others.collect::<Vec<_>>()[dice.roll(3) as usize];
        let number = ["020123", "1001", "1002", "1003"][callee];
        w.parties[caller].acks = if dice.roll(10) == 0 {
            Acks::Never
        } else {
            Acks::AtOnce
        };
        w.ports = match dice.roll(25) {
            0 => Ports::Refused,
            _ => Ports::Given,
        };
        w.invite(caller, number);
        for _ in 0..dice.roll(25) {
            let pause = [1, 4, 7, 30, 500, 3000][dice.roll(6) as usize];
            w.run(pause);
            act(w, dice, caller, callee);
        }
    }
}

#[test]
fn nothing_is_left_of_five_hundred_calls() {
    let mut ends = std::collections::BTreeMap::new();
    let (mut calls, mut listed) = (0, 0);
    for seed in 0..50 {
        let mut dice = Dice(seed * 7919 + 1);
        let mut told = settings();
        if seed % 2 == 1 {
            drawn(&mut dice, &mut told);
        }
        let mut w = World::with(told.clone(), seed as u8);
        let loss = dice.roll(4);
        let mut network = Dice(seed + 17);
        w.lose = Some(Box::new(move |_: &Message| {
            loss > 0 && network.roll(20) < loss
        }));
        ten_calls(&mut w, &mut dice);
        if dice.roll(2) == 0 {
            // What still rings stops ringing by itself.
            w.run_s(400);
        }
        w.node(Input::HangUpAll);
        w.settle();
        check_rows(&w);
        listed += check_lists(&w, &told);
        let opened = |c: &MediaCommand| matches!(c, MediaCommand::OpenLeg { .. });
        calls += w
            .media
            .iter()
            .filter(|(_, command)| opened(command))
            .count()
            / 2;
        for (end, _) in w.endings() {
            *ends.entry(format!("{end:?}")).or_insert(0) += 1;
        }
    }
    assert!(calls > 450 && listed > 50, "{calls} {listed}");
    let kinds: Vec<&str> = ends.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "Failed",
            "Finished",
            "NotAnswered",
            "NotKept",
            "NotStarted",
            "Refused"
        ],
        "{ends:?}"
    );
    assert!(ends.values().all(|count| *count >= 5), "{ends:?}");
}

/// The same over connections that break at any time.
#[test]
fn nothing_is_left_of_calls_whose_connections_break() {
    for seed in 0..50 {
        let mut dice = Dice(seed * 104_729 + 3);
        let mut w = World::with(over(Transport::Tcp), seed as u8);
        for _ in 0..10 {
            let caller = [TRUNK, ALICE, BOB, CAROL][dice.roll(4) as usize];
            let callee = (caller + 1 + dice.roll(3) as usize) % 4;
            w.sends_from[caller] = 50_000 + dice.roll(3) as u16;
            w.invite(caller, ["020123", "1001", "1002", "1003"][callee]);
            for _ in 0..dice.roll(25) {
                w.run([1, 4, 7, 30, 500][dice.roll(5) as usize]);
                if dice.roll(4) == 0 {
                    let who = if dice.roll(2) == 0 { caller } else { callee };
                    let flow = w.flow_from(who);
                    w.node(Input::FlowFailed { flow });
                } else {
                    act(&mut w, &mut dice, caller, callee);
                }
            }
            w.sends_from[caller] = 5060;
        }
        w.node(Input::HangUpAll);
        w.settle();
    }
}

/// Real messages with bytes changed, cut and doubled: no panic, and the node still answers.
#[test]
fn five_thousand_bent_messages_do_no_harm() {
    let mut w = World::new();
    w.bend = Some(|text| text);
    w.call(TRUNK, ALICE);
    let mut samples: Vec<Bytes> = Vec::new();
    for message in w.parties[TRUNK].heard.iter().chain(&w.parties[ALICE].heard) {
        samples.push(message.write());
    }
    let invite = w.new_invite(TRUNK, "1003");
    samples.push(Message::Request(invite).write());
    let mut dice = Dice(99);
    for _ in 0..5000 {
        let mut bytes = samples[dice.roll(samples.len() as u64) as usize].to_vec();
        for _ in 0..=dice.roll(6) {
            let at = dice.roll(bytes.len() as u64) as usize;
            match dice.roll(4) {
                0 => bytes[at] = dice.roll(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at.max(20)),
                _ => bytes.insert(at, b"\r\n;:<>\"0"[dice.roll(8) as usize]),
            }
        }
        let (local, peer) = (
            "192.0.2.99:5060".parse().unwrap(),
            "192.0.2.1:5060".parse().unwrap(),
        );
        let flow = Flow {
            transport: Transport::Udp,
            local,
            peer,
        };
        w.node(Input::Sip {
            flow,
            bytes: bytes.into(),
        });
        w.run(20);
    }
    w.lose = None;
    let options = w.new_request(BOB, Method::Options, "x");
    w.send_new(BOB, options);
    w.run(100);
    assert_eq!(w.heard(BOB).rsplit(' ').next(), Some("200"));
    w.node(Input::HangUpAll);
    w.settle();
}
