//! Five hundred calls that do anything at any time: whatever happens, nothing is left.

use duolog_call::{Digit, Input, LegId, MediaEvent};
use duolog_sip::sdp::Direction;
use duolog_sip::{Message, Method};

use crate::world::{ALICE, Acks, BOB, CAROL, TRUNK, World, description, settings};

/// A small generator: the seed reproduces everything (Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
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
            let value = ["pause", "resume", "on", "other"][dice.roll(4) as usize];
            w.within(who, Method::Info, &[("Record", value)]);
        }
        9 if connected => w.within(who, Method::Invite, &[]),
        10 => {
            for leg in legs {
                let digit = Digit {
                    event: [10, 4, 8, 9, 1][dice.roll(5) as usize],
                    duration_ms: 90,
                };
                w.report(MediaEvent::Digit { leg, digit });
            }
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

#[test]
fn nothing_is_left_of_five_hundred_calls() {
    let mut ends = std::collections::BTreeMap::new();
    for seed in 0..500 {
        let mut dice = Dice(seed * 7919 + 1);
        let mut w = World::with(settings(), seed as u8);
        let loss = dice.roll(4);
        let mut network = Dice(seed + 17);
        w.lose = Some(Box::new(move |_: &Message| {
            loss > 0 && network.roll(20) < loss
        }));
        let parties = [TRUNK, ALICE, BOB, CAROL];
        let caller = parties[dice.roll(4) as usize];
        let callee = parties
            .into_iter()
            .filter(|p| *p != caller)
            .nth(dice.roll(3) as usize);
        let callee = callee.unwrap();
        if dice.roll(10) == 0 {
            w.parties[caller].acks = Acks::Never;
        }
        w.refuse_legs = dice.roll(25) == 0;
        let number = ["020123", "1001", "1002", "1003"][callee];
        w.invite(caller, number);
        for _ in 0..dice.roll(25) {
            let pause = [1, 4, 7, 30, 500, 3000][dice.roll(6) as usize];
            w.run(pause);
            act(&mut w, &mut dice, caller, callee);
        }
        if dice.roll(2) == 0 {
            w.node(Input::HangUpAll);
        }
        // What still rings stops ringing by itself, what still stands is ended.
        w.run_s(400);
        w.node(Input::HangUpAll);
        w.settle();
        for (end, _) in w.endings() {
            *ends.entry(format!("{end:?}")).or_insert(0) += 1;
        }
    }
    let kinds: Vec<&str> = ends.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        ["Failed", "Finished", "NotAnswered", "NotStarted", "Refused"],
        "{ends:?}"
    );
}
