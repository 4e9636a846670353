//! Calls whose parties offer, answer, acknowledge and refresh in any order, legal or not: whatever
//! happens, nothing is left.

use duolog_call::Input;
use duolog_sip::sdp::Description;
use duolog_sip::sdp::Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
use duolog_sip::{Message, Method, Response};

use crate::by_hand::{ALL, rack_of};
use crate::random::Dice;
use crate::world::{CAROL, TRUNK, World, description, settings};

fn any_body(dice: &mut Dice, who: usize) -> Option<Description> {
    let directions = [SendRecv, SendOnly, RecvOnly, Inactive];
    let direction = *directions.get(dice.roll(6) as usize)?;
    Some(description(who, direction))
}

fn any_fields(dice: &mut Dice) -> Vec<(&'static str, &'static str)> {
    let more = [
        ("Session-Expires", "90;refresher=uac"),
        ("Session-Expires", "100;refresher=uas"),
        ("Session-Expires", "60"),
        ("Min-SE", "500"),
        ("Require", "100rel"),
        ("Require", "timer"),
    ];
    let mut fields = match dice.roll(3) {
        0 => Vec::new(),
        _ => ALL.to_vec(),
    };
    fields.extend(more.get(dice.roll(12) as usize));
    fields
}

fn ring(w: &mut World, dice: &mut Dice, rseq: &mut u32) {
    if w.parties[CAROL].invites.is_empty() {
        return;
    }
    let body = any_body(dice, CAROL);
    let tag = ["c", "c", "c", "d"][dice.roll(4) as usize];
    match dice.roll(12) {
        0..4 => {
            *rseq += dice.roll(2) as u32;
            w.rings_reliably(183, *rseq, body.as_ref());
        }
        4..6 => w.rings(180, tag, &ALL, body.as_ref()),
        6 => w.rings(422, tag, &[("Min-SE", "400")], None),
        7 => w.rings(491, tag, &[], None),
        8 => w.rings(486, tag, &[], None),
        _ => w.rings(200, tag, &any_fields(dice), body.as_ref()),
    }
}

fn reply(w: &mut World, dice: &mut Dice, who: usize) {
    if !w.parties[who].asked.is_empty() {
        let code = [200, 200, 200, 200, 491, 488, 405, 500, 481, 422][dice.roll(10) as usize];
        let body = any_body(dice, who).filter(|_| code == 200);
        w.replies(who, code, &any_fields(dice), body.as_ref());
    }
}

fn ask(w: &mut World, dice: &mut Dice, who: usize) {
    if w.parties[who].dialog.is_none() {
        return;
    }
    let methods = [
        Method::Update,
        Method::Update,
        Method::Invite,
        Method::Info,
        Method::Message,
    ];
    let method = methods[dice.roll(5) as usize].clone();
    let body = any_body(dice, who);
    w.asks(who, method, &any_fields(dice), body.as_ref());
}

fn prack(w: &mut World, dice: &mut Dice) {
    let reliable = |message: &Message| match message {
        Message::Response(response) => response.rseq().map(|_| response.clone()),
        Message::Request(_) => None,
    };
    let last: Option<Response> = w.parties[TRUNK].heard.iter().rev().find_map(reliable);
    let (Some(last), true) = (last, w.parties[TRUNK].dialog.is_some()) else {
        return;
    };
    let rack = match dice.roll(8) {
        0 => "7 7 INVITE".to_owned(),
        _ => rack_of(&last),
    };
    let body = any_body(dice, TRUNK).filter(|_| dice.roll(2) == 0);
    w.asks(TRUNK, Method::Prack, &[("RAck", &rack)], body.as_ref());
}

#[test]
fn nothing_is_left_of_offers_in_any_order() {
    let mut connected = 0;
    for seed in 0..300 {
        let mut dice = Dice(seed * 6007 + 11);
        let mut settings = settings();
        settings.session_timer.expires_s = 90 + dice.roll(200) as u32;
        let mut w = World::with(settings, seed as u8);
        let (loss, mut network) = (dice.roll(3), Dice(seed + 5));
        w.lose = Some(Box::new(move |_| loss > 0 && network.roll(30) < loss));
        let body = any_body(&mut dice, TRUNK);
        let fields = any_fields(&mut dice);
        let invite = w.begin(&fields, body.as_ref());
        let mut rseq = 1;
        for _ in 0..dice.roll(30) {
            let who = if dice.roll(2) == 0 { TRUNK } else { CAROL };
            let heard = w.parties[TRUNK].heard.iter();
            let early = heard
                .clone()
                .any(|m| matches!(m, Message::Response(r) if r.to_addr().is_ok()));
            match dice.roll(10) {
                0..3 => ring(&mut w, &mut dice, &mut rseq),
                3 if w.parties[TRUNK].dialog.is_none() && early => w.takes_dialog(&invite),
                4 => prack(&mut w, &mut dice),
                5 => ask(&mut w, &mut dice, who),
                6..8 => reply(&mut w, &mut dice, who),
                8 if dice.roll(20) == 0 => w.cancel(TRUNK),
                8 if dice.roll(20) == 0 && w.parties[who].dialog.is_some() => w.bye(who),
                _ => w.run([1, 300, 3000, 40_000, 100_000][dice.roll(5) as usize]),
            }
        }
        connected += usize::from(w.facts().contains(&duolog_call::Fact::Connected));
        w.node(Input::HangUpAll);
        w.settle();
    }
    assert!(connected > 50, "{connected}");
}
