//! Callers to a mailbox who do anything at any time: whatever happens, nothing is left.

use std::collections::BTreeMap;
use std::time::Duration;

use duolog_call::{
    End, Gate, HungUpBy, Input, LegId, Location, LogEvent, Mailbox, MediaCommand, MediaEvent, Mode,
    Notice, OnFailure, Voicemail,
};
use duolog_sip::sdp::Direction;
use duolog_sip::{Message, Method, Transport};

use crate::random::Dice;
use crate::world::{ALICE, Acks, BOB, CAROL, Ports, TRUNK, World, over};

const CALLERS: [usize; 3] = [TRUNK, ALICE, CAROL];

fn act(w: &mut World, dice: &mut Dice, caller: usize) {
    let connected = w.parties[caller].dialog.is_some();
    let legs: Vec<LegId> = w.legs.iter().copied().collect();
    match dice.roll(16) {
        0 | 1 if !w.parties[BOB].invites.is_empty() => {
            w.respond(BOB, [180, 486, 603, 200, 486, 302][dice.roll(6) as usize]);
        }
        2 => w.cancel(caller),
        3 if connected => w.bye(caller),
        4 if connected => w.reinvite(caller, Direction::SendOnly),
        5 if connected => w.reinvite(caller, Direction::SendRecv),
        6 if connected => w.within(caller, Method::Invite, &[]),
        7 if connected => w.within(caller, Method::Update, &[]),
        8 if connected => w.within(caller, Method::Info, &[("Record", "pause")]),
        9 => {
            for leg in legs.into_iter().filter(|leg| leg.0 % 3 == 0) {
                w.report(MediaEvent::MediaTimeout { leg });
            }
        }
        10 => {
            let recording = w.recordings.keys().last().copied();
            if let Some(recording) = recording.filter(|_| dice.roll(6) == 0) {
                let reason = "lost".to_owned();
                w.report(MediaEvent::RecordingTrouble { recording, reason });
            }
        }
        14 => {
            let open = w.recordings.iter();
            let open = open.filter(|(_, states)| states.last() != Some(&"closed"));
            let open: Vec<_> = open.map(|(recording, _)| *recording).collect();
            for recording in open.into_iter().filter(|_| dice.roll(3) == 0) {
                let reason = "trouble".to_owned();
                w.report(MediaEvent::RecordingTrouble { recording, reason });
            }
        }
        15 if connected => {
            let what = ["pause", "resume", "on", "off"][dice.roll(4) as usize];
            w.within(caller, Method::Info, &[("Record", what)]);
        }
        11 if w.parties[caller].invites.len() > 1 => w.respond(caller, 491),
        12 if !w.parties[caller].invites.is_empty() => w.respond(caller, 200),
        _ => {}
    }
}

fn settings(dice: &mut Dice, transport: Transport) -> duolog_call::Settings {
    let mut settings = over(transport);
    settings.session_timer.expires_s = 90;
    for user in [ALICE, BOB] {
        settings.users[user - 1].mailbox = Some(Mailbox {
            answer_after: Duration::from_secs(5),
            longest: Duration::from_secs(20),
        });
    }
    let alice = settings.users[ALICE - 1].recording_mut();
    alice.voicemail = Voicemail::Recorded;
    alice.on_failure = [
        OnFailure::Refuse,
        OnFailure::GoOn,
        OnFailure::GoOnAnnounced,
        OnFailure::EndAnnounced,
    ][dice.roll(4) as usize];
    alice.mode = [
        Mode::Always,
        Mode::AlwaysPauseResume,
        Mode::OnDemand,
        Mode::OnDemandUserStart,
    ][dice.roll(4) as usize];
    alice.notice = [Notice::None, Notice::Beep, Notice::Announcement][dice.roll(3) as usize];
    if dice.roll(3) == 0 {
        settings.users[BOB - 1].location = Location::Registered;
    }
    settings
}

/// Ten callers come to bob's mailbox, one after the other, and do what callers do.
fn ten_calls(w: &mut World, dice: &mut Dice, transport: Transport) {
    for _ in 0..10 {
        let caller = CALLERS[dice.roll(3) as usize];
        w.parties[caller].acks = match dice.roll(10) {
            0 => Acks::Never,
            _ => Acks::AtOnce,
        };
        w.ports = match dice.roll(25) {
            0 => Ports::Refused,
            1 => Ports::Silent,
            _ => Ports::Given,
        };
        if dice.roll(20) == 0 {
            w.node(Input::Gate(Gate::Closed {
                reason: "full".to_owned(),
                retry_after_s: 3,
            }));
        }
        w.invite(caller, "1002");
        for _ in 0..dice.roll(25) {
            w.run([1, 4, 7, 30, 500, 3000][dice.roll(6) as usize]);
            if transport == Transport::Tcp && dice.roll(12) == 0 {
                let flow = w.flow_from(caller);
                w.node(Input::FlowFailed { flow });
            } else {
                act(w, dice, caller);
            }
        }
        w.node(Input::Gate(Gate::Open));
    }
}

#[test]
fn nothing_is_left_of_two_thousand_messages() {
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    let mut unrecorded = 0;
    for seed in 0..200 {
        let mut dice = Dice(seed * 6151 + 5);
        let transport = [Transport::Udp, Transport::Tcp][dice.roll(2) as usize];
        let mut w = World::with(settings(&mut dice, transport), seed as u8);
        let loss = dice.roll(3);
        let mut network = Dice(seed + 3);
        w.lose = Some(Box::new(move |_: &Message| {
            loss > 0 && network.roll(20) < loss
        }));
        ten_calls(&mut w, &mut dice, transport);
        if dice.roll(2) == 0 {
            w.run_s(400);
        }
        w.node(Input::HangUpAll);
        w.settle();
        let voicemail = |(_, command): &(u64, MediaCommand)| match command {
            MediaCommand::OpenRecording {
                recording, opening, ..
            } if opening.owner == "bob" => Some(*recording),
            _ => None,
        };
        let messages: Vec<_> = w.media.iter().filter_map(voicemail).collect();
        for log in &w.logs {
            assert_ne!(log.event, LogEvent::Stuck, "seed {seed}");
            let by = HungUpBy::NotRecorded;
            unrecorded += u32::from(log.event == LogEvent::Ended { by });
        }
        for (_, command) in &w.media {
            if let MediaCommand::CloseRecording { recording, ending } = command
                && messages.contains(recording)
            {
                *ends.entry(format!("{:?}", ending.end)).or_default() += 1;
            }
        }
    }
    assert!(unrecorded >= 10, "{unrecorded}");
    for end in [
        End::Finished,
        End::NotStarted,
        End::NotAnswered,
        End::Failed,
    ] {
        let count = ends.get(&format!("{end:?}")).copied().unwrap_or(0);
        assert!(count >= 2, "{end:?}: {ends:?}");
    }
}
