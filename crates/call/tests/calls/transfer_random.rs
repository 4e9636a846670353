//! Calls whose parties are exchanged at any time, by anybody, over a network that loses messages:
//! whatever happens, nothing is left, and every recording is one story.

use duolog_call::{Input, LegId, MediaCommand, MediaEvent};
use duolog_sip::sdp::Direction;
use duolog_sip::{Message, Method, Response};

use crate::fork::phones;
use crate::random::{Dice, check_lists, check_rows, control, drawn};
use crate::world::{BOB, BOB2, CAROL, DAVE, ERIN, Ports, World, description, settings, status};

const NUMBERS: [&str; 7] = ["020123", "1001", "1002", "1003", "1004", "1005", "1002"];

fn answer(w: &mut World, dice: &mut Dice, who: usize) {
    if w.parties[who].invites.is_empty() {
        return;
    }
    match dice.roll(12) {
        0 => w.respond(who, 486),
        1 => w.respond(who, 180),
        2 => w.respond_with(who, 183, Some(&description(who, Direction::SendRecv))),
        3 => w.respond(who, 603),
        4 => {
            let (key, request) = w.parties[who].invites.remove(0);
            let mut response = Response::to(&request, status(302));
            let number = NUMBERS[dice.roll(7) as usize];
            response
                .headers
                .push("Contact", format!("<sip:{number}@x>"));
            w.answer(who, key, response);
        }
        _ => w.respond(who, 200),
    }
}

fn act(w: &mut World, dice: &mut Dice) {
    let who = dice.roll(7) as usize;
    let connected = w.parties[who].dialog.is_some();
    let other = dice.roll(7) as usize;
    match dice.roll(22) {
        20 if connected => {
            let value = ["on", "off", "pause", "resume"][dice.roll(4) as usize];
            w.within(who, Method::Info, &[("Record", value)]);
        }
        20 | 21 => control(w, dice),
        0..=8 => answer(w, dice, who),
        9..=11 if connected => {
            let to = format!("<sip:{}@x>", NUMBERS[other]);
            w.within(who, Method::Refer, &[("Refer-To", &to)]);
        }
        12..=13 if connected && w.parties[other].dialog.is_some() => {
            // Only one who has two phones can bring its two calls together.
            let own = [BOB, BOB2].contains(&who) && w.parties[BOB + BOB2 - who].dialog.is_some();
            let other = if own { BOB + BOB2 - who } else { other };
            let replaces = w.escaped_replaces(other);
            let to = format!("<sip:{}@x?Replaces={replaces}>", NUMBERS[other]);
            w.within(who, Method::Refer, &[("Refer-To", &to)]);
        }
        14 if w.parties[other].dialog.is_some() && other != who => {
            let replaces = w.replaces(other);
            let mut invite = w.new_invite(who, "1004");
            invite.headers.push("Replaces", replaces);
            w.send_new(who, invite);
        }
        15 if connected => w.bye(who),
        16 if connected => w.reinvite(who, Direction::SendOnly),
        17 if connected => w.reinvite(who, Direction::SendRecv),
        18 if w.has_sent(who) => w.cancel(who),
        19 => {
            for leg in w.legs.iter().copied().collect::<Vec<LegId>>() {
                if dice.roll(6) == 0 {
                    w.report(MediaEvent::MediaTimeout { leg });
                }
            }
        }
        _ => {}
    }
}

#[test]
fn nothing_is_left_of_calls_whose_parties_change() {
    let (mut turned, mut joined, mut listed) = (0, 0, 0);
    for seed in 0..160 {
        let mut dice = Dice(seed * 15_485_863 + 5);
        let mut told = settings();
        told.media.more_groups = u32::from(seed % 4 == 0);
        if seed % 3 == 0 {
            told.users[2].recording_mut().announce = duolog_call::StartStop::BOTH;
        }
        if seed % 2 == 1 {
            drawn(&mut dice, &mut told);
        }
        let mut w = match seed % 5 {
            // Three phones ring together for one number.
            1 => phones(&[CAROL, DAVE, ERIN]),
            _ => World::with(told.clone(), seed as u8),
        };
        let loss = dice.roll(4);
        let mut network = Dice(seed + 31);
        w.lose = Some(Box::new(move |_: &Message| {
            loss > 1 && network.roll(25) < loss
        }));
        for _ in 0..10 {
            let caller = dice.roll(7) as usize;
            let callee = (caller + 1 + dice.roll(6) as usize) % 7;
            let callee = if callee == BOB2 { 2 } else { callee };
            w.ports = match dice.roll(30) {
                0 => Ports::Refused,
                _ => Ports::Given,
            };
            w.invite(caller, NUMBERS[callee]);
            for _ in 0..dice.roll(40) {
                w.run([1, 4, 7, 30, 300, 2000][dice.roll(6) as usize]);
                act(&mut w, &mut dice);
            }
        }
        if dice.roll(2) == 0 {
            w.run_s(400);
        }
        w.node(Input::HangUpAll);
        w.settle_all();
        check_rows(&w);
        if seed % 5 != 1 {
            listed += check_lists(&w, &told);
        }
        let is = |c: &&(u64, MediaCommand)| matches!(c.1, MediaCommand::TurnRecording { .. });
        turned += w.media.iter().filter(is).count();
        let facts = w.facts();
        let facts = facts.iter();
        joined += facts
            .filter(|fact| matches!(fact, duolog_call::Fact::PartyJoined { .. }))
            .count();
    }
    let all = (turned, joined, listed);
    assert!(turned > 200 && joined > 120 && listed > 50, "{all:?}");
}
