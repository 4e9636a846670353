//! SIPp scenarios for the behaviours of issue 4, over UDP, TCP and TLS; the recordings of each are
//! checked by their coded voices.

use duolog_tests::real::play::{CALLEE, CALLER, Play, THIRD, check};
use duolog_tests::real::script::{Body, SDP, Script};
use duolog_tests::real::silence::Hold;

const ALLOW: &str = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, REFER, NOTIFY, INFO, MESSAGE";

/// As long as the hold plays speak before, and hold.
const HOLD: Hold = Hold {
    spoken_ms: 1_500,
    held_ms: 1_000,
};

fn answers() -> Script {
    Script::callee("callee")
        .answer_invite("180 Ringing", &[], Body::None)
        .answer_invite("200 OK", &[ALLOW], SDP)
        .wants("ACK")
        .speaks()
}

fn third() -> Script {
    Script::callee("third")
        .answer_invite("200 OK", &[ALLOW], SDP)
        .wants("ACK")
        .speaks()
}

fn calls() -> Script {
    calls_with(&[ALLOW])
}

fn calls_with(headers: &[&str]) -> Script {
    Script::caller("caller")
        .invite(headers, SDP)
        .may_get(100)
        .may_get(180)
        .gets(200)
        .ack(Body::None)
        .speaks()
}

#[test]
fn a_plain_call() {
    let caller = calls().waits_ms(2_500).hangs_up();
    check(&Play::new("plain", caller, answers().is_hung_up()));
}

#[test]
fn an_invite_without_an_offer() {
    let caller = Script::caller("caller")
        .invite(&[], Body::None)
        .may_get(100)
        .may_get(180)
        .gets(200)
        .ack(SDP)
        .speaks()
        .waits_ms(2_500)
        .hangs_up();
    check(&Play::new("offerless", caller, answers().is_hung_up()));
}

#[test]
fn reliable_provisional_answers_and_update_before_the_answer() {
    let caller = Script::caller("caller")
        .invite(&["Supported: 100rel", ALLOW], SDP)
        .may_get(100)
        .gets_reliably(183)
        .request("PRACK", &["RAck: [$rseq] 1 INVITE"], Body::None)
        .gets(200)
        .request("UPDATE", &[], SDP)
        .gets(200)
        .gets(200)
        .ack_of(1, Body::None)
        .speaks()
        .waits_ms(2_500)
        .hangs_up();
    let callee = Script::callee("callee")
        .answer_invite(
            "183 Session Progress",
            &["Require: 100rel", "RSeq: 41", ALLOW],
            SDP,
        )
        .wants_with("PRACK", "RAck", "41 1 INVITE")
        .answer("200 OK", &[], Body::None)
        .wants("UPDATE")
        .answer("200 OK", &[], SDP)
        .waits_ms(200)
        .answer_invite("200 OK", &[ALLOW], Body::None)
        .wants("ACK")
        .speaks()
        .is_hung_up();
    check(&Play::new("100rel and early UPDATE", caller, callee));
}

#[test]
fn reliable_provisional_answers_for_a_caller_who_cannot() {
    let caller = Script::caller("caller")
        .invite(&[], SDP)
        .may_get(100)
        .gets(183)
        .gets(200)
        .ack(Body::None)
        .speaks()
        .waits_ms(2_500)
        .hangs_up();
    let callee = Script::callee("callee")
        .answer_invite(
            "183 Session Progress",
            &["Require: 100rel", "RSeq: 7", ALLOW],
            SDP,
        )
        .wants_with("PRACK", "RAck", "7 1 INVITE")
        .answer("200 OK", &[], Body::None)
        .waits_ms(200)
        .answer_invite("200 OK", &[ALLOW], Body::None)
        .wants("ACK")
        .speaks()
        .is_hung_up();
    check(&Play::new("100rel on one side", caller, callee));
}

#[test]
fn update_within_the_call() {
    let caller = calls()
        .waits_ms(1_000)
        .request("UPDATE", &[], SDP)
        .gets(200)
        .waits_ms(1_500)
        .hangs_up();
    let callee = answers()
        .wants("UPDATE")
        .answer("200 OK", &[], SDP)
        .is_hung_up();
    check(&Play::new("UPDATE", caller, callee));
}

#[test]
fn hold_and_resume_by_the_caller() {
    let caller = calls()
        .waits_ms(1_500)
        .hushes()
        .request("INVITE", &[], Body::Sdp("sendonly"))
        .may_get(100)
        .gets(200)
        .ack(Body::None)
        .waits_ms(1_000)
        .request("INVITE", &[], SDP)
        .may_get(100)
        .gets(200)
        .ack(Body::None)
        .speaks_on()
        .waits_ms(1_500)
        .hangs_up();
    let callee = answers()
        .wants_with("INVITE", "", "a=sendonly")
        .hushes()
        .answer("200 OK", &[], Body::Sdp("recvonly"))
        .wants("ACK")
        .wants("INVITE")
        .answer("200 OK", &[], SDP)
        .wants("ACK")
        .speaks_on()
        .is_hung_up();
    let mut play = Play::new("hold by the caller", caller, callee);
    play.hold = Some(HOLD);
    check(&play);
}

#[test]
fn hold_and_resume_by_the_callee() {
    let callee = answers()
        .waits_ms(1_500)
        .hushes()
        .request("INVITE", &[], Body::Sdp("inactive"))
        .may_get(100)
        .gets(200)
        .ack(Body::None)
        .waits_ms(1_000)
        .request("INVITE", &[], SDP)
        .may_get(100)
        .gets(200)
        .ack(Body::None)
        .speaks_on()
        .waits_ms(1_500)
        .hangs_up();
    let caller = calls()
        .wants_with("INVITE", "", "a=inactive")
        .hushes()
        .answer("200 OK", &[], Body::Sdp("inactive"))
        .wants("ACK")
        .wants("INVITE")
        .answer("200 OK", &[], SDP)
        .wants("ACK")
        .speaks_on()
        .is_hung_up();
    let mut play = Play::new("hold by the callee", caller, callee);
    play.hold = Some(HOLD);
    check(&play);
}

#[test]
fn glare_is_491_and_the_first_one_goes_through() {
    let caller = calls()
        .waits_ms(1_500)
        .request("INVITE", &[], SDP)
        .may_get(100)
        .gets(200)
        .ack(Body::None)
        .waits_ms(1_000)
        .hangs_up();
    let callee = answers()
        .wants_invite_again()
        .request("INVITE", &[], SDP)
        .may_get(100)
        .gets(491)
        .acks_refusal()
        .answer_invite("200 OK", &[], SDP)
        .wants("ACK")
        .is_hung_up();
    check(&Play::new("glare", caller, callee));
}

#[test]
fn session_timers() {
    let caller = Script::caller("caller")
        .invite(&["Supported: timer", "Session-Expires: 30", ALLOW], SDP)
        .may_get(100)
        .gets_with(422, "Min-SE", "90")
        .acks_refusal()
        .invite(
            &[
                "Supported: timer",
                "Session-Expires: 90;refresher=uac",
                ALLOW,
            ],
            SDP,
        )
        .may_get(100)
        .may_get(180)
        .gets_with(200, "Session-Expires", "90;refresher=uac")
        .ack(Body::None)
        .speaks()
        .waits_ms(1_500)
        .request(
            "UPDATE",
            &["Supported: timer", "Session-Expires: 90;refresher=uac"],
            Body::None,
        )
        .gets_with(200, "Session-Expires", "90;refresher=uac")
        .waits_ms(1_000)
        .hangs_up();
    check(&Play::new("session timers", caller, answers().is_hung_up()));
}

#[test]
fn a_blind_transfer_by_the_caller() {
    let caller = calls()
        .waits_ms(1_500)
        .request("REFER", &["Refer-To: <sip:103@duolog>"], Body::None)
        .gets(202)
        .wants_with("NOTIFY", "Subscription-State", "active")
        .answer("200 OK", &[], Body::None)
        .wants_with("NOTIFY", "", "SIP/2.0 200")
        .answer("200 OK", &[], Body::None)
        .hangs_up();
    let callee = answers().waits_ms(5_000).hangs_up();
    let mut play = Play::new("blind transfer by the caller", caller, callee);
    play.third = Some(third().is_hung_up());
    play.recordings = vec![(CALLEE, &[CALLER, THIRD])];
    check(&play);
}

#[test]
fn a_blind_transfer_by_the_recorded_callee() {
    let callee = answers()
        .waits_ms(1_500)
        .request("REFER", &["Refer-To: <sip:103@duolog>"], Body::None)
        .gets(202)
        .wants_with("NOTIFY", "Subscription-State", "active")
        .answer("200 OK", &[], Body::None)
        .wants_with("NOTIFY", "", "SIP/2.0 200")
        .answer("200 OK", &[], Body::None)
        .hangs_up();
    let caller = calls().waits_ms(5_000).hangs_up();
    let mut play = Play::new("blind transfer by the callee", caller, callee);
    play.third = Some(third().is_hung_up());
    play.amend = |text| text.replace("name = \"third\"", "name = \"third\"\nmode = \"always\"");
    play.recordings = vec![(CALLEE, &[CALLER]), (THIRD, &[CALLER])];
    check(&play);
}

#[test]
fn a_transfer_that_is_refused_leaves_the_call() {
    let caller = calls()
        .waits_ms(1_500)
        .request("REFER", &["Refer-To: <sip:103@duolog>"], Body::None)
        .gets(202)
        .wants_with("NOTIFY", "Subscription-State", "active")
        .answer("200 OK", &[], Body::None)
        .wants_with("NOTIFY", "", "SIP/2.0 486")
        .answer("200 OK", &[], Body::None)
        .waits_ms(1_000)
        .hangs_up();
    let mut play = Play::new("refused transfer", caller, answers().is_hung_up());
    let busy = Script::callee("third").answer_invite("486 Busy Here", &[], Body::None);
    play.third = Some(busy.wants("ACK"));
    check(&play);
}

#[test]
fn a_redirection_is_followed() {
    let callee = Script::callee("callee")
        .answer_invite(
            "302 Moved Temporarily",
            &["Contact: <sip:103@duolog>"],
            Body::None,
        )
        .wants("ACK");
    let caller = calls().waits_ms(2_500).hangs_up();
    let mut play = Play::new("302", caller, callee);
    play.third = Some(third().is_hung_up());
    play.amend = |text| text.replace("name = \"third\"", "name = \"third\"\nmode = \"always\"");
    play.recordings = vec![(THIRD, &[CALLER])];
    check(&play);
}

#[test]
fn forked_answers() {
    let caller = Script::caller("caller")
        .invite(&[], SDP)
        .may_get(100)
        .may_get(180)
        .may_get(183)
        .gets(200)
        .ack(Body::None)
        .speaks()
        .waits_ms(2_500)
        .hangs_up();
    let callee = Script::callee("callee")
        .answer_as("one", "180 Ringing", &[], Body::None)
        .answer_as("two", "183 Session Progress", &[], SDP)
        .waits_ms(300)
        .answer_invite("200 OK", &[], SDP)
        .wants("ACK")
        .speaks()
        .is_hung_up();
    check(&Play::new("forked answers", caller, callee));
}

#[test]
fn cancel_and_487() {
    let caller = Script::caller("caller")
        .invite(&[], SDP)
        .may_get(100)
        .gets(180)
        .waits_ms(300)
        .cancel()
        .gets(200)
        .gets(487)
        .acks_refusal();
    let callee = Script::callee("callee")
        .answer_invite("180 Ringing", &[], Body::None)
        .wants("CANCEL")
        .answer("200 OK", &[], Body::None)
        .answer_invite("487 Request Terminated", &[], Body::None)
        .wants("ACK");
    let mut play = Play::new("CANCEL", caller, callee);
    play.recordings = Vec::new();
    check(&play);
}

#[test]
fn requests_within_the_call_go_to_the_other_side() {
    let text = Body::Text("text/plain", "hello");
    let caller = calls()
        .waits_ms(500)
        .request("INFO", &["Info-Package: none"], text)
        .gets(200)
        .request("MESSAGE", &[], text)
        .gets(200)
        .request(
            "NOTIFY",
            &["Event: talk", "Subscription-State: active"],
            Body::None,
        )
        .gets(200)
        .request("OPTIONS", &[], Body::None)
        .gets_with(200, "Allow", "INVITE")
        .request("UNKNOWN", &[], Body::None)
        .gets(501)
        .waits_ms(1_500)
        .hangs_up();
    let callee = answers()
        .wants_with("INFO", "", "hello")
        .answer("200 OK", &[], Body::None)
        .wants_with("MESSAGE", "", "hello")
        .answer("200 OK", &[], Body::None)
        .wants_with("NOTIFY", "Event", "talk")
        .answer("200 OK", &[], Body::None)
        .is_hung_up();
    check(&Play::new("requests within the call", caller, callee));
}

#[test]
fn a_phone_registers_with_a_digest_and_calls() {
    let digest = "[authentication username=third password=hearsay]";
    let registers = || {
        Script::caller("caller")
            .asks("REGISTER", &["Expires: 600"], Body::None)
            .is_challenged(401)
            .asks("REGISTER", &["Expires: 600", digest], Body::None)
            .gets(200)
    };
    let talks = |script: Script| {
        let answered = script.may_get(100).may_get(180).gets(200);
        let speaks = answered.ack(Body::None).speaks();
        speaks.waits_ms(2_500).hangs_up()
    };
    // A datagram's sender has to say the password again; a connection is known by its registration.
    let asked = registers()
        .invite_as_service(&[], SDP)
        .may_get(100)
        .is_challenged(407)
        .acks_refusal();
    let caller = talks(asked.invite_as_service(&[digest], SDP));
    let connected = talks(registers().invite_as_service(&[], SDP));
    let mut play = Play::new("digest", caller, answers().is_hung_up());
    play.connected = Some(connected);
    play.number = "103";
    play.amend = |text| {
        let at = text.find("name = \"third\"").expect("there is a third");
        let (head, tail) = text.split_at(at);
        let tail: Vec<&str> = tail.lines().filter(|l| !l.starts_with("contact")).collect();
        let tail = tail.join("\n").replace(
            "name = \"third\"",
            "name = \"third\"\npassword = \"hearsay\"",
        );
        format!("{head}{tail}\n[registrar]\nrealm = \"duolog\"\nalgorithms = [\"md5\"]\n")
    };
    check(&play);
}
