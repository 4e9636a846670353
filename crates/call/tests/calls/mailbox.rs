//! Callers whom nobody answers leave a message: every way there, every end, and what is kept.

use std::time::Duration;

use bytes::Bytes;
use duolog_call::{
    Completion, DtlsRole, End, Fact, Gate, HungUpBy, Input, LegSecurity, Location, Mailbox,
    MediaCommand, MediaEvent, Mode, Nature, Network, Settings, Side, Voicemail,
};
use duolog_sip::sdp::{Description, Direction, MediaSecurity};
use duolog_sip::{Message, Method, Request};

use crate::world::{ALICE, Acks, BOB, CAROL, Ports, TRUNK, World, description, settings};

const BOBS: &str = "1002";

/// Bob, who is never recorded, has a mailbox: 20 s, 30 s at most.
fn with_mailbox() -> Settings {
    let mut settings = settings();
    settings.users[BOB - 1].mailbox = Some(Mailbox {
        longest: Duration::from_secs(30),
        ..Mailbox::default()
    });
    settings
}

fn world() -> World {
    World::with(with_mailbox(), 1)
}

/// The trunk calls Bob, who is busy: the caller is in the mailbox, and the beep is over.
fn at_the_beep(w: &mut World) {
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.respond(BOB, 486);
    w.run(2_300);
}

/// What is done when the message is the caller's.
const MESSAGE: &str = "connect-a-sendrecv play-a-MailboxGreeting.nl play-a-beep START";

/// Words of the commands from the message's row on.
fn since_row(w: &World) -> String {
    let all = w.commands();
    let (_, since) = all.split_once("RECORD-").unwrap_or_default();
    since.split_once(' ').unwrap_or_default().1.to_owned()
}

#[test]
fn who_is_busy_gets_a_message() {
    let mut w = world();
    at_the_beep(&mut w);
    assert_eq!(w.heard(TRUNK), "100 200");
    w.run_s(7);
    w.bye(TRUNK);
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 200 200");
    assert_eq!(
        w.commands(),
        "open-a open-b close-b RECORD-d connect-a-sendrecv play-a-MailboxGreeting.nl play-a-beep \
         START CLOSE-Finished close-a"
    );
    let greeted = w.times("play-a-MailboxGreeting.nl")[0];
    assert_eq!(w.times("play-a-beep"), [greeted + 2_000]);
    assert_eq!(w.times("START"), [greeted + 2_200], "after the beep");
    let ended = [(End::Finished, "the caller hung up".to_owned())];
    assert_eq!(w.endings(), ended);
    let opening = &w.openings()[0];
    assert_eq!((opening.owner.as_str(), opening.to.as_str()), ("bob", BOBS));
    assert_eq!(
        (opening.owner_side, opening.mode),
        (Side::Callee, Mode::Always)
    );
    assert_eq!(
        (opening.class.nature, opening.class.network),
        (Nature::Voicemail, Network::Pstn)
    );
    assert_eq!(
        (opening.from.as_str(), opening.party.as_str()),
        ("9000", "9000")
    );
    let facts = w.facts();
    for fact in [
        Fact::Diverted {
            from: BOBS.to_owned(),
        },
        Fact::Answered,
        Fact::Connected,
        Fact::BeepPlayed,
        Fact::RecordingStarted { by: None },
        Fact::HungUp {
            by: HungUpBy::Party(Side::Caller),
        },
    ] {
        assert!(facts.contains(&fact), "{fact:?} in {facts:?}");
    }
    w.settle();
}

#[test]
fn the_recording_is_of_the_callers_leg_and_nobody_sits_on_the_owners() {
    let mut w = world();
    at_the_beep(&mut w);
    let legs = w.media.iter().find_map(|(_, command)| match command {
        MediaCommand::OpenRecording { owner, other, .. } => Some((*owner, *other)),
        _ => None,
    });
    let (owner, other) = legs.unwrap();
    let played = |(_, command): &(u64, MediaCommand)| match command {
        MediaCommand::Play { leg, .. } => Some(*leg),
        _ => None,
    };
    let played: Vec<_> = w.media.iter().filter_map(played).collect();
    assert_eq!(
        played,
        [other, other],
        "greeting and beep are played to the one who is recorded"
    );
    assert!(!w.legs.contains(&owner), "it was never opened");
    w.bye(TRUNK);
    w.settle();
}

/// The status that the phone answers leads to the mailbox, or to the caller as `told`.
fn refused_with(status: u16, told: &str) {
    let mut w = world();
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.respond(BOB, status);
    w.run_s(3);
    assert_eq!(w.heard(TRUNK), format!("100 {told}"), "{status}");
    if told == "200" {
        assert_eq!(since_row(&w), MESSAGE, "{status}");
        w.bye(TRUNK);
    } else {
        assert!(w.openings().is_empty(), "{status}");
    }
    w.settle();
}

#[test]
fn what_says_that_the_callee_cannot_talk_leads_to_the_mailbox() {
    for status in [404, 408, 410, 480, 486, 500, 502, 503, 504, 600, 603, 604] {
        refused_with(status, "200");
    }
}

#[test]
fn what_is_about_the_caller_or_the_request_is_told_to_the_caller() {
    for status in [400, 403, 415, 484, 487, 488, 606] {
        refused_with(status, &status.to_string());
    }
}

#[test]
fn a_phone_that_rings_too_long_is_cancelled() {
    let mut w = world();
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.respond(BOB, 180);
    w.run_s(19);
    assert_eq!(w.heard(TRUNK), "100 180");
    w.run_s(4);
    assert_eq!(w.heard(TRUNK), "100 180 200");
    assert_eq!(w.heard(BOB), "INVITE");
    assert!(w.parties[BOB].invites.is_empty(), "cancelled");
    assert_eq!(since_row(&w), MESSAGE);
    let tags = [1, 2].map(|at| match &w.parties[TRUNK].heard[at] {
        Message::Response(response) => response.to_addr().unwrap().tag().map(str::to_owned),
        Message::Request(_) => None,
    });
    assert_eq!(tags[0], tags[1], "one dialog: nobody was heard before");
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_phone_that_answers_just_too_late_is_hung_up() {
    let mut w = world();
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.respond(BOB, 180);
    w.run(19_505);
    // Its 200 crosses the CANCEL.
    w.respond(BOB, 200);
    w.run_s(5);
    assert_eq!(w.heard(TRUNK), "100 180 200");
    assert_eq!(w.heard(BOB), "INVITE ACK BYE");
    assert_eq!(since_row(&w), MESSAGE);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn who_is_not_registered_or_does_not_react_gets_a_message() {
    let mut settings = with_mailbox();
    settings.users[BOB - 1].location = Location::Registered;
    let mut w = World::with(settings, 1);
    w.invite(TRUNK, BOBS);
    w.run_s(3);
    assert_eq!(w.heard(TRUNK), "200");
    assert_eq!(since_row(&w), MESSAGE);
    w.bye(TRUNK);
    w.settle();

    let mut w = world();
    w.lose = Some(Box::new(|message: &Message| match message {
        Message::Request(request) => request.uri.to_string().contains("192.0.2.11"),
        Message::Response(_) => false,
    }));
    w.invite(TRUNK, BOBS);
    w.run_s(24);
    assert_eq!(
        w.heard(TRUNK),
        "100 200",
        "before the transaction times out"
    );
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn who_was_heard_early_is_another_dialog() {
    let mut w = world();
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.respond_with(BOB, 183, Some(&description(BOB, Direction::SendRecv)));
    w.run_s(23);
    assert_eq!(w.heard(TRUNK), "100 183 200");
    let tags = [1, 2].map(|at| match &w.parties[TRUNK].heard[at] {
        Message::Response(response) => response.to_addr().unwrap().tag().map(str::to_owned),
        Message::Request(_) => None,
    });
    assert_ne!(tags[0], tags[1]);
    assert_eq!(since_row(&w), MESSAGE);
    w.bye(TRUNK);
    w.run(100);
    assert_eq!(w.endings().len(), 1);
    w.settle();
}

#[test]
fn a_redirection_that_leads_nowhere_ends_in_the_mailbox_of_the_one_who_redirects() {
    let mut w = world();
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.redirect(BOB, &["<sip:1004@192.0.2.99>"]);
    w.run(100);
    // Dave, who has no mailbox, declines.
    w.respond(crate::world::DAVE, 486);
    w.run_s(3);
    assert_eq!(w.heard(TRUNK), "100 200");
    assert_eq!(w.openings()[0].owner, "bob");
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn there_is_none_for_emergencies_and_where_nothing_can_be_kept() {
    let mut settings = with_mailbox();
    settings.numbering.emergency = vec![BOBS.to_owned()];
    let mut w = World::with(settings, 1);
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.respond(BOB, 486);
    w.run_s(1);
    assert_eq!(w.heard(TRUNK), "100 486");
    w.settle();

    let mut w = world();
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.node(Input::Gate(Gate::Closed {
        reason: "full".to_owned(),
        retry_after_s: 30,
    }));
    w.respond(BOB, 486);
    w.run_s(1);
    assert_eq!(w.heard(TRUNK), "100 486", "what the callee said");
    assert!(w.openings().is_empty());
    w.settle();

    // A node that drains takes no new calls, but lets those it has go on.
    let mut w = world();
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.node(Input::Drain);
    at_the_beep_after(&mut w);
    assert_eq!(w.heard(TRUNK), "100 200");
    w.bye(TRUNK);
    w.settle();
}

fn at_the_beep_after(w: &mut World) {
    w.respond(BOB, 486);
    w.run_s(3);
}

#[test]
fn a_message_that_is_as_long_as_it_may_be_ends_with_a_beep() {
    let mut w = world();
    at_the_beep(&mut w);
    w.run_s(29);
    assert_eq!(w.heard(TRUNK), "100 200");
    w.run_s(3);
    assert_eq!(w.heard(TRUNK), "100 200 BYE");
    assert_eq!(
        since_row(&w),
        format!("{MESSAGE} CLOSE-Finished play-a-beep close-a"),
        "the recording is closed before the beep"
    );
    assert_eq!(w.times("CLOSE-Finished")[0] - w.times("START")[0], 30_000);
    let ended = [(
        End::Finished,
        "the message was as long as it may be".to_owned(),
    )];
    assert_eq!(w.endings(), ended);
    w.settle();
}

/// What ends the call while the message is recorded, and what comes of it.
fn ends(by: impl FnOnce(&mut World), heard: &str, end: End, reason: &str) {
    let mut w = world();
    at_the_beep(&mut w);
    w.run_s(5);
    by(&mut w);
    w.run(100);
    assert_eq!(w.heard(TRUNK), format!("100 200 {heard}"), "{reason}");
    assert_eq!(w.endings(), [(end, reason.to_owned())]);
    w.settle();
}

#[test]
fn every_end_of_a_message_keeps_it() {
    let bob = |w: &World| {
        w.media
            .iter()
            .find_map(|(_, command)| match command {
                MediaCommand::StartRecording { recording } => Some(*recording),
                _ => None,
            })
            .unwrap()
    };
    ends(|w| w.bye(TRUNK), "200", End::Finished, "the caller hung up");
    ends(
        |w| w.node(Input::HangUpAll),
        "BYE",
        End::Finished,
        "the node went down",
    );
    ends(
        |w| {
            let leg = *w.legs.iter().next().unwrap();
            w.report(MediaEvent::MediaTimeout { leg });
        },
        "BYE",
        End::Finished,
        "neither party sent audio",
    );
    ends(
        |w| {
            let recording = bob(w);
            let reason = "a gap".to_owned();
            w.report(MediaEvent::RecordingTrouble { recording, reason });
            assert!(w.facts().contains(&Fact::Trouble {
                reason: "a gap".to_owned()
            }));
        },
        "BYE",
        End::Finished,
        "a gap",
    );
}

#[test]
fn who_hangs_up_before_the_beep_has_left_no_message() {
    for (after_ms, heard) in [(20, "100 200"), (1_000, "100 200"), (2_100, "100 200")] {
        let mut w = world();
        w.invite(TRUNK, BOBS);
        w.run(500);
        w.respond(BOB, 486);
        w.run(after_ms);
        assert_eq!(w.heard(TRUNK), heard, "{after_ms}");
        w.bye(TRUNK);
        w.run(100);
        let ended = [(End::NotStarted, "the caller hung up".to_owned())];
        assert_eq!(w.endings(), ended, "{after_ms}");
        w.settle();
    }
}

#[test]
fn a_cancel_wins_before_the_answer_and_loses_after_it() {
    // Before: the phone still rings, and while ports are asked for.
    let mut w = world();
    w.ports = Ports::Silent;
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.cancel(TRUNK);
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 487");
    w.settle();

    let mut settings = with_mailbox();
    settings.users[BOB - 1].location = Location::Registered;
    let mut w = World::with(settings, 1);
    w.ports = Ports::Silent;
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.cancel(TRUNK);
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 487");
    let ended = [(
        End::NotAnswered,
        "the caller gave up before the answer".to_owned(),
    )];
    assert_eq!(w.endings(), ended);
    w.settle();

    // After: the 200 is on its way, and the caller has to hang up itself.
    let mut w = world();
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.respond(BOB, 486);
    w.run(6);
    w.cancel(TRUNK);
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 200");
    w.bye(TRUNK);
    w.run(100);
    assert_eq!(w.endings()[0].0, End::NotStarted);
    w.settle();
}

#[test]
fn no_ports_and_no_codec_refuse_the_caller() {
    for (ports, heard, wait) in [(Ports::Refused, "480", 1), (Ports::Silent, "100 480", 11)] {
        let mut settings = with_mailbox();
        settings.users[BOB - 1].location = Location::Registered;
        let mut w = World::with(settings, 1);
        w.ports = ports;
        w.invite(TRUNK, BOBS);
        w.run_s(wait);
        assert_eq!(w.heard(TRUNK), heard);
        let ended = [(End::Failed, "no media ports".to_owned())];
        assert_eq!(w.endings(), ended);
        w.settle();
    }
    let mut w = world();
    let mut invite = w.new_invite(TRUNK, BOBS);
    let text = String::from_utf8(invite.body.to_vec()).unwrap();
    let text = text.replace("RTP/AVP 0 8 101", "RTP/AVP 18 101");
    invite.set_body("application/sdp", Bytes::from(text));
    w.send_new(TRUNK, invite);
    w.run(500);
    w.respond(BOB, 486);
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 488", "G.729 without its library");
    let warning = w
        .last_response(TRUNK)
        .headers
        .value("Warning")
        .unwrap_or_default();
    assert!(warning.starts_with("305"), "{warning}");
    assert_eq!(w.endings()[0].0, End::Failed);
    w.settle();
}

#[test]
fn an_answer_without_ack_is_hung_up() {
    let mut w = world();
    w.parties[TRUNK].acks = Acks::Never;
    at_the_beep(&mut w);
    assert!(!w.commands().contains("play"), "nothing is said to nobody");
    w.run_s(40);
    assert!(w.heard(TRUNK).ends_with("BYE"), "{}", w.heard(TRUNK));
    let reason = "the caller did not acknowledge the answer".to_owned();
    assert_eq!(w.endings(), [(End::NotStarted, reason)]);
    w.settle();
}

#[test]
fn one_codec_is_answered_with_its_events() {
    let mut w = world();
    at_the_beep(&mut w);
    let answer = Description::parse(&w.last_response(TRUNK).body).unwrap();
    let text = String::from_utf8(answer.write().to_vec()).unwrap();
    assert!(text.contains("RTP/AVP 0 101\r\n"), "{text}");
    let audio = answer.audio().unwrap();
    assert_eq!(
        (audio.direction, audio.ptime_ms),
        (Direction::SendRecv, Some(20))
    );
    assert_eq!(audio.rtp.to_string(), "192.0.2.99:20004");
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_protected_caller_is_answered_with_keys() {
    let key = "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    for (policy, profile, heard) in [
        (MediaSecurity::AsOffered, "RTP/SAVP", "200"),
        (MediaSecurity::Always, "RTP/SAVP", "200"),
        (MediaSecurity::Never, "RTP/SAVP", "488"),
        (MediaSecurity::Always, "RTP/AVP", "488"),
        (MediaSecurity::Never, "RTP/AVP", "200"),
    ] {
        let mut settings = with_mailbox();
        settings.users[BOB - 1].location = Location::Registered;
        settings.trunks[0].media_security = policy;
        let mut w = World::with(settings, 1);
        let mut invite = w.new_invite(TRUNK, BOBS);
        let text = String::from_utf8(invite.body.to_vec()).unwrap();
        let mut text = text.replace("RTP/AVP", profile);
        if profile == "RTP/SAVP" {
            text += &format!("{key}\r\n");
        }
        invite.set_body("application/sdp", Bytes::from(text));
        w.send_new(TRUNK, invite);
        w.run_s(1);
        assert_eq!(w.heard(TRUNK), heard, "{policy:?} {profile}");
        if heard != "200" {
            w.settle();
            continue;
        }
        let security = w.media.iter().find_map(|(_, command)| match command {
            MediaCommand::ConnectLeg { media, .. } => Some(media.security.clone()),
            _ => None,
        });
        let sdes = matches!(security.unwrap(), Some(LegSecurity::Sdes { .. }));
        assert_eq!(sdes, profile == "RTP/SAVP", "{policy:?}");
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn a_caller_behind_dtls_is_answered_as_the_active_end() {
    let mut settings = with_mailbox();
    let own = format!("sha-256 {}", ["AB"; 32].join(":"));
    settings.media.dtls_fingerprint = Some(own.clone());
    let mut w = World::with(settings, 1);
    let mut invite = w.new_invite(TRUNK, BOBS);
    let text = String::from_utf8(invite.body.to_vec()).unwrap();
    let theirs = ["CD"; 32].join(":");
    let text = text.replace("RTP/AVP", "UDP/TLS/RTP/SAVPF")
        + &format!("a=fingerprint:sha-256 {theirs}\r\na=setup:actpass\r\na=rtcp-mux\r\n");
    invite.set_body("application/sdp", Bytes::from(text));
    w.send_new(TRUNK, invite);
    w.run(500);
    w.respond(BOB, 486);
    w.run_s(1);
    let answer = String::from_utf8(w.last_response(TRUNK).body.to_vec()).unwrap();
    assert!(
        answer.contains("a=setup:active") && answer.contains("a=rtcp-mux"),
        "{answer}"
    );
    assert!(answer.contains(&own), "{answer}");
    let role = w.media.iter().find_map(|(_, command)| match command {
        MediaCommand::ConnectLeg { media, .. } => match &media.security {
            Some(LegSecurity::Dtls { role, .. }) => Some(*role),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(role, Some(DtlsRole::Active));
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_caller_without_an_offer_is_made_one() {
    let mut w = world();
    let mut invite = w.new_invite(TRUNK, BOBS);
    invite.body = Bytes::new();
    invite.headers.remove("Content-Type");
    w.parties[TRUNK].acks = Acks::With(description(TRUNK, Direction::SendRecv).write());
    w.send_new(TRUNK, invite);
    w.run(500);
    w.respond(BOB, 486);
    w.run(2_300);
    let offer = String::from_utf8(w.last_response(TRUNK).body.to_vec()).unwrap();
    assert!(offer.contains("RTP/AVP 0 8 9 101\r\n"), "{offer}");
    assert_eq!(since_row(&w), MESSAGE);
    w.bye(TRUNK);
    w.settle();

    // An ACK without the answer ends the call.
    let mut w = world();
    let mut invite = w.new_invite(TRUNK, BOBS);
    invite.body = Bytes::new();
    invite.headers.remove("Content-Type");
    w.send_new(TRUNK, invite);
    w.run(500);
    w.respond(BOB, 486);
    w.run_s(1);
    assert_eq!(w.heard(TRUNK), "100 200 BYE");
    assert_eq!(w.endings()[0].0, End::Failed);
    w.settle();
}

#[test]
fn hold_and_a_sign_of_life_do_not_end_a_message() {
    let mut w = world();
    at_the_beep(&mut w);
    w.reinvite(TRUNK, Direction::SendOnly);
    w.run(100);
    let audio = |w: &World| {
        Description::parse(&w.last_response(TRUNK).body)
            .unwrap()
            .audio()
            .unwrap()
    };
    assert_eq!(audio(&w).direction, Direction::RecvOnly);
    assert!(w.facts().contains(&Fact::Held { by: Side::Caller }));
    // A party that holds may be silent.
    let leg = *w.legs.iter().next().unwrap();
    w.report(MediaEvent::MediaTimeout { leg });
    w.run(100);
    assert_eq!(w.heard(TRUNK), "100 200 200");
    w.reinvite(TRUNK, Direction::SendRecv);
    w.run(100);
    assert_eq!(audio(&w).direction, Direction::SendRecv);
    assert!(w.facts().contains(&Fact::Retrieved { by: Side::Caller }));
    // Without a description: ours is made again, and the ACK answers it.
    w.parties[TRUNK].acks = Acks::With(description(TRUNK, Direction::SendRecv).write());
    w.within(TRUNK, Method::Invite, &[]);
    w.run(100);
    assert_eq!(audio(&w).direction, Direction::SendRecv);
    w.within(TRUNK, Method::Update, &[]);
    w.run(100);
    assert!(w.last_response(TRUNK).body.is_empty());
    assert_eq!(w.heard(TRUNK), "100 200 200 200 200 200");
    // Nothing is connected that was connected so already.
    assert_eq!(
        since_row(&w),
        format!("{MESSAGE} connect-a-sendonly connect-a-sendrecv")
    );
    w.bye(TRUNK);
    w.run(100);
    assert_eq!(w.endings()[0].0, End::Finished);
    w.settle();
}

#[test]
fn what_else_is_asked_within_the_dialog() {
    let mut w = world();
    at_the_beep(&mut w);
    let keys = &[("Content-Type", "application/dtmf-relay")][..];
    let odd = &[("Content-Type", "text/plain")][..];
    for (method, fields, status) in [
        (Method::Options, &[][..], 200),
        (Method::Info, keys, 200),
        (Method::Info, odd, 200),
        (Method::Info, &[("Record", "pause")], 403),
        (Method::Info, &[("Record", "louder")], 489),
        (Method::Refer, &[("Refer-To", "<sip:1003@h>")], 603),
        (Method::Message, &[], 415),
        (Method::Subscribe, &[("Event", "dialog")], 489),
        (Method::Notify, &[("Event", "dialog")], 481),
        (Method::Prack, &[("RAck", "1 1 INVITE")], 481),
        (Method::Invite, &[("Require", "nobody-knows-it")], 420),
        (
            Method::Update,
            &[("Session-Expires", "60"), ("Supported", "timer")],
            422,
        ),
    ] {
        w.within(TRUNK, method.clone(), fields);
        w.run(100);
        assert_eq!(
            w.last_response(TRUNK).status.code(),
            status,
            "{method} {fields:?}"
        );
    }
    w.bye(TRUNK);
    w.run(100);
    assert_eq!(w.endings()[0].0, End::Finished);
    w.settle();
}

#[test]
fn nobody_takes_the_place_of_one_who_leaves_a_message() {
    let mut w = world();
    at_the_beep(&mut w);
    let dialog = w.parties[TRUNK].dialog.as_ref().unwrap().id().clone();
    let replaces = format!(
        "{};to-tag={};from-tag={}",
        dialog.call_id, dialog.remote_tag, dialog.local_tag
    );
    let mut invite = w.new_invite(CAROL, BOBS);
    invite.headers.push("Replaces", replaces);
    w.send_new(CAROL, invite);
    w.run(100);
    assert_eq!(w.heard(CAROL), "603");
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn the_session_is_refreshed_by_whom_it_is_for() {
    for (allow, asked) in [
        ("INVITE, UPDATE", Method::Update),
        ("INVITE", Method::Invite),
    ] {
        let mut settings = with_mailbox();
        settings.session_timer.expires_s = 90;
        settings.users[BOB - 1].mailbox = Some(Mailbox {
            longest: Duration::from_secs(600),
            ..Mailbox::default()
        });
        let mut w = World::with(settings, 1);
        w.parties[TRUNK].takes = vec![Method::Update];
        let mut invite = w.new_invite(TRUNK, BOBS);
        invite.headers.push("Supported", "timer");
        invite.headers.push("Session-Expires", "90;refresher=uas");
        invite.headers.push("Allow", allow);
        w.send_new(TRUNK, invite);
        w.run(500);
        w.respond(BOB, 486);
        w.run_s(1);
        let granted = w.last_response(TRUNK).headers.value("Session-Expires");
        assert_eq!(granted, Some("90;refresher=uas"));
        w.run_s(46);
        let refresh: &Request = w.last_request(TRUNK);
        assert_eq!(refresh.method, asked);
        assert_eq!(refresh.body.is_empty(), asked == Method::Update);
        if asked == Method::Invite {
            w.respond(TRUNK, 200);
        }
        w.run_s(1);
        w.bye(TRUNK);
        w.run(100);
        w.node(Input::HangUpAll);
        w.settle();
    }
    // One that is not refreshed is over.
    let mut settings = with_mailbox();
    settings.session_timer.expires_s = 90;
    settings.users[BOB - 1].mailbox = Some(Mailbox {
        longest: Duration::from_secs(600),
        ..Mailbox::default()
    });
    let mut w = World::with(settings, 1);
    let mut invite = w.new_invite(TRUNK, BOBS);
    invite.headers.push("Supported", "timer");
    invite.headers.push("Session-Expires", "90;refresher=uac");
    w.send_new(TRUNK, invite);
    w.run(500);
    w.respond(BOB, 486);
    w.run_s(70);
    assert_eq!(w.heard(TRUNK), "100 200 BYE");
    assert_eq!(
        w.endings(),
        [(End::Finished, "the caller's session expired".to_owned())]
    );
    w.settle();
}

#[test]
fn the_row_of_the_call_that_nobody_answered_is_closed_as_ever() {
    // Alice is recorded, announced, and not for voicemail; her message is recorded all the same.
    let mut settings = settings();
    settings.users[ALICE - 1].mailbox = Some(Mailbox::default());
    let mut w = World::with(settings, 1);
    w.invite(TRUNK, "1001");
    w.run(500);
    w.respond(ALICE, 603);
    w.run_s(5);
    w.bye(TRUNK);
    w.run(100);
    assert_eq!(
        w.endings(),
        [
            (End::NotAnswered, "the callee answered 603".to_owned()),
            (End::Finished, "the caller hung up".to_owned()),
        ]
    );
    let openings = w.openings();
    assert_eq!(openings[0].class.nature, Nature::Conversation);
    assert_eq!(openings[1].class.nature, Nature::Voicemail);
    assert_eq!(openings[0].correlation, openings[1].correlation);
    assert!(
        !w.commands().contains("RecordingStarts"),
        "the greeting says it"
    );
    assert!(!w.commands().contains("tone"), "{}", w.commands());
    w.settle();
}

#[test]
fn a_caller_who_is_recorded_keeps_what_their_own_settings_say() {
    for (voicemail, rows) in [(Voicemail::Left, 2), (Voicemail::Recorded, 3)] {
        let mut settings = with_mailbox();
        settings.users[ALICE - 1].recording_mut().voicemail = voicemail;
        let mut w = World::with(settings, 1);
        w.invite(ALICE, BOBS);
        w.run(500);
        w.respond(BOB, 486);
        w.run_s(6);
        let openings = w.openings();
        assert_eq!(openings.len(), rows, "{voicemail:?}");
        if voicemail == Voicemail::Recorded {
            let own = &openings[2];
            assert_eq!(
                (own.owner.as_str(), own.owner_side),
                ("alice", Side::Caller)
            );
            assert_eq!(own.party, BOBS);
            assert_eq!(own.class.nature, Nature::Voicemail);
            assert_eq!(own.correlation, openings[1].correlation);
            // Alice is told first that she is recorded, then greeted.
            let told = w.times("play-a-RecordingStarts.nl")[0];
            assert_eq!(w.times("play-a-MailboxGreeting.nl"), [told + 2_000]);
            assert_eq!(w.times("START"), [told + 2_000, told + 4_200]);
            w.within(ALICE, Method::Info, &[("Record", "pause")]);
            w.run(100);
            assert_eq!(w.last_response(ALICE).status.code(), 200);
            assert_eq!(w.times("PAUSE").len(), 1, "her own, not the message");
            let running = w.engine.running();
            assert_eq!(running.len(), 1);
            assert_eq!(running[0].party, BOBS);
        }
        w.bye(ALICE);
        w.run(100);
        let finished = w
            .endings()
            .iter()
            .filter(|(end, _)| *end == End::Finished)
            .count();
        assert_eq!(finished, rows - 1);
        w.settle();
    }
}

#[test]
fn who_leaves_a_message_for_themselves_is_one_owner() {
    let mut settings = settings();
    settings.users[ALICE - 1].mailbox = Some(Mailbox::default());
    settings.users[ALICE - 1].recording_mut().voicemail = Voicemail::Recorded;
    let mut w = World::with(settings, 1);
    w.invite(ALICE, "1001");
    w.run(500);
    w.respond(ALICE, 486);
    w.run_s(5);
    assert_eq!(w.openings().len(), 2, "the call and the message");
    w.bye(ALICE);
    w.settle();
}

#[test]
fn a_greeting_or_beep_that_never_ends_is_over_after_a_while() {
    let mut w = world();
    w.ports = Ports::Mute;
    at_the_beep(&mut w);
    assert_eq!(w.times("START").len(), 0);
    w.run_s(68);
    assert_eq!(since_row(&w), MESSAGE);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_beep_of_another_play_changes_nothing() {
    let mut w = world();
    w.invite(TRUNK, BOBS);
    w.run(500);
    w.respond(BOB, 486);
    w.run(100);
    let leg = *w.legs.iter().next().unwrap();
    let play = duolog_call::PlayId(4711);
    let whole = Completion::Whole;
    w.report(MediaEvent::Played { leg, play, whole });
    assert!(!w.commands().contains("beep"));
    w.bye(TRUNK);
    w.settle();
}
