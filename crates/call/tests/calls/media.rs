//! Codecs: what each side is told, and what the media plane is told of each leg.

use bytes::Bytes;
use duolog_call::{Dtmf, End, LegMedia, MediaCommand, MediaSettings, Settings};
use duolog_sip::Method;
use duolog_sip::sdp::{Description, Encoding, G729, MediaSecurity};

use crate::world::{Acks, BOB, CAROL, TRUNK, World, settings};

pub const KEY: &str = "MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm";
pub const PRINT: &str = "sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";
pub const OURS: &str = "sha-256 FF:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";

/// `RTP/AVP 0 101=telephone-event/8000` with more attributes, from a party's address.
pub fn sdp(who: usize, media: &str, attributes: &[&str]) -> Description {
    let ip = ["192.0.2.1", "192.0.2.10", "192.0.2.11", "192.0.2.12"][who];
    let mut words = media.split_ascii_whitespace();
    let mut text = format!(
        "v=0\r\no=- {who} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 4000 {}",
        words.next().unwrap()
    );
    let mut maps = String::new();
    for word in words {
        let (number, map) = word.split_once('=').unwrap_or((word, ""));
        text += &format!(" {number}");
        if !map.is_empty() {
            maps += &format!("a=rtpmap:{number} {map}\r\n");
        }
    }
    text += "\r\n";
    text += &maps;
    for attribute in attributes {
        text += &format!("a={attribute}\r\n");
    }
    Description::parse(text.as_bytes()).unwrap()
}

/// Profile and formats of a description as a party got it, in the notation of [`sdp`].
pub fn shown(body: &Bytes) -> String {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let line = text.lines().find(|l| l.starts_with("m=audio")).unwrap();
    let mut words = line.split_ascii_whitespace().skip(2);
    let mut out = words.next().unwrap().to_owned();
    for number in words {
        let map = format!("a=rtpmap:{number} ");
        let named = text.lines().find_map(|l| l.strip_prefix(map.as_str()));
        out += &named.map_or(format!(" {number}"), |name| format!(" {number}={name}"));
    }
    out
}

pub fn transcoding(codecs: &[Encoding]) -> Settings {
    Settings {
        media: MediaSettings {
            transcode: codecs.to_vec(),
            ..MediaSettings::default()
        },
        ..settings()
    }
}

pub fn secured(trunk: MediaSecurity, users: MediaSecurity) -> Settings {
    let mut settings = settings();
    settings.media.dtls_fingerprint = Some(OURS.to_owned());
    settings.trunks[0].media_security = trunk;
    for user in &mut settings.users {
        user.media_security = users;
    }
    settings
}

/// The trunk calls a party with this offer.
pub fn offer(w: &mut World, to: &str, offer: &Description) {
    let mut invite = w.new_invite(TRUNK, to);
    invite.body = offer.write();
    w.send_new(TRUNK, invite);
    w.run(100);
}

/// The last that was agreed on a leg: `a` is the caller's, `b` the callee's.
pub fn connected(w: &World, side: char) -> LegMedia {
    let odd = u64::from(side == 'b');
    let last = w.media.iter().rev().find_map(|(_, command)| match command {
        MediaCommand::ConnectLeg { leg, media } if leg.0 % 2 != odd => Some(media.clone()),
        _ => None,
    });
    last.expect("a connected leg")
}

fn formats(w: &World, side: char) -> Vec<(u8, Encoding)> {
    let media = connected(w, side);
    let formats = media.formats.iter();
    formats.map(|f| (f.payload_type, f.encoding)).collect()
}

pub fn count_of_connects(w: &World) -> usize {
    let connects = w
        .media
        .iter()
        .filter(|(_, c)| matches!(c, MediaCommand::ConnectLeg { .. }));
    connects.count()
}

const TE8: Encoding = Encoding::TelephoneEvent { rate_hz: 8_000 };
const TE48: Encoding = Encoding::TelephoneEvent { rate_hz: 48_000 };

#[test]
fn legs_of_different_codecs() {
    let mut w = World::with(transcoding(&[Encoding::Pcma, Encoding::G722]), 1);
    let opus = sdp(
        TRUNK,
        "RTP/AVP 111=opus/48000/2 101=telephone-event/8000 100=telephone-event/48000",
        &["fmtp:111 stereo=0", "ptime:5"],
    );
    offer(&mut w, "1003", &opus);
    assert_eq!(
        shown(&w.last_request(CAROL).body),
        "RTP/AVP 111=opus/48000/2 101=telephone-event/8000 100=telephone-event/48000 8=PCMA/8000 9=G722/8000"
    );
    let answer = sdp(CAROL, "RTP/AVP 9 8 96=telephone-event/8000", &["ptime:120"]);
    // An early answer, and one with the 200.
    w.respond_with(CAROL, 183, Some(&answer));
    w.run(100);
    let told = "RTP/AVP 111=opus/48000/2 100=telephone-event/48000";
    assert_eq!(shown(&w.last_response(TRUNK).body), told);
    assert_eq!(formats(&w, 'a'), [(111, Encoding::Opus), (100, TE48)]);
    assert_eq!(
        formats(&w, 'b'),
        [
            (9, Encoding::G722),
            (8, Encoding::Pcma),
            (96, TE8),
            (101, TE8)
        ]
    );
    assert_eq!(
        (connected(&w, 'a').ptime_ms, connected(&w, 'b').ptime_ms),
        (10, 60)
    );
    assert_eq!(connected(&w, 'a').security, None);
    w.respond_with(CAROL, 200, Some(&answer));
    w.run(100);
    let text = String::from_utf8(w.last_response(TRUNK).body.to_vec()).unwrap();
    assert!(
        text.contains("a=fmtp:111 stereo=0\r\n") && !text.contains("G722"),
        "{text}"
    );
    assert_eq!(count_of_connects(&w), 2, "what stands is not said again");
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn the_answer_that_came_early_is_the_answer() {
    let mut w = World::with(transcoding(&[Encoding::Pcma]), 1);
    offer(&mut w, "1003", &sdp(TRUNK, "RTP/AVP 9", &[]));
    w.respond_with(CAROL, 183, Some(&sdp(CAROL, "RTP/AVP 8", &[])));
    w.run(100);
    w.respond_with(CAROL, 200, None);
    w.run(100);
    let response = w.last_response(TRUNK);
    assert_eq!(response.status.code(), 200);
    assert_eq!(shown(&response.body), "RTP/AVP 9");
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_reinvite_changes_the_codec_of_one_leg_or_of_both() {
    let mut w = World::with(transcoding(&[Encoding::Pcma]), 1);
    offer(&mut w, "1003", &sdp(TRUNK, "RTP/AVP 111=opus/48000/2", &[]));
    w.respond_with(CAROL, 200, Some(&sdp(CAROL, "RTP/AVP 8", &[])));
    w.run(100);
    assert_eq!(formats(&w, 'a'), [(111, Encoding::Opus)]);
    assert_eq!(formats(&w, 'b'), [(8, Encoding::Pcma)]);

    // The callee offers only its own codec: the caller finds its own again.
    w.reinvite_with(CAROL, &sdp(CAROL, "RTP/AVP 8", &["sendonly"]));
    w.run(100);
    let offered = "RTP/AVP 8 111=opus/48000/2 127=telephone-event/48000";
    assert_eq!(shown(&w.last_request(TRUNK).body), offered);
    w.respond_with(
        TRUNK,
        200,
        Some(&sdp(TRUNK, "RTP/AVP 111=opus/48000/2", &["recvonly"])),
    );
    w.run(100);
    assert_eq!(shown(&w.last_response(CAROL).body), "RTP/AVP 8");
    assert_eq!(formats(&w, 'a'), [(111, Encoding::Opus)]);

    // The caller goes over to G.722, which the callee has too: nothing is transcoded any more.
    let version = |body: &Bytes| Description::parse(body).unwrap().version();
    let before = version(&w.last_response(CAROL).body);
    w.reinvite_with(TRUNK, &sdp(TRUNK, "RTP/AVP 9 0", &[]));
    w.run(100);
    assert_eq!(
        shown(&w.last_request(CAROL).body),
        "RTP/AVP 9 0 8=PCMA/8000 127=telephone-event/8000"
    );
    assert!(
        version(&w.last_request(CAROL).body) > before,
        "what is new has a higher version"
    );
    w.respond_with(CAROL, 200, Some(&sdp(CAROL, "RTP/AVP 9", &[])));
    w.run(100);
    assert_eq!(shown(&w.last_response(TRUNK).body), "RTP/AVP 9");
    for side in ['a', 'b'] {
        assert_eq!(formats(&w, side), [(9, Encoding::G722)]);
    }

    // A codec nobody can make anything of: both keep what they had.
    w.reinvite_with(TRUNK, &sdp(TRUNK, "RTP/AVP 97=iLBC/8000", &[]));
    w.run(100);
    let refused = w.last_response(TRUNK);
    assert_eq!(refused.status.code(), 488);
    assert_eq!(
        refused.headers.value("Warning"),
        Some("305 duolog \"no usable audio\"")
    );
    assert_eq!(formats(&w, 'a'), [(9, Encoding::G722)]);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn an_offer_in_the_2xx_and_an_answer_in_the_ack() {
    let mut w = World::with(transcoding(&[Encoding::Pcma]), 1);
    let mut invite = w.new_invite(TRUNK, "1003");
    invite.body = Bytes::new();
    invite.headers.remove("Content-Type");
    w.parties[TRUNK].acks =
        Acks::With(sdp(TRUNK, "RTP/AVP 8 96=telephone-event/8000", &[]).write());
    w.send_new(TRUNK, invite);
    w.run(100);
    w.respond_with(
        CAROL,
        200,
        Some(&sdp(CAROL, "RTP/AVP 9 101=telephone-event/8000", &[])),
    );
    w.run(100);
    assert_eq!(
        shown(&w.last_response(TRUNK).body),
        "RTP/AVP 9 101=telephone-event/8000 8=PCMA/8000"
    );
    assert_eq!(w.last_request(CAROL).method, Method::Ack);
    assert_eq!(
        shown(&w.last_request(CAROL).body),
        "RTP/AVP 9 101=telephone-event/8000"
    );
    assert_eq!(
        formats(&w, 'a'),
        [(8, Encoding::Pcma), (96, TE8), (101, TE8)]
    );
    assert_eq!(formats(&w, 'b'), [(9, Encoding::G722), (101, TE8)]);
    w.bye(TRUNK);
    w.settle();
}

/// The call is refused with 488 and this warning, before or after the callee answered.
fn check_refused(
    settings: Settings,
    offered: &Description,
    answer: Option<&Description>,
    warning: &str,
) {
    let mut w = World::with(settings, 1);
    offer(&mut w, "1003", offered);
    let heard = match answer {
        Some(answer) => {
            w.respond_with(CAROL, 200, Some(answer));
            w.run(100);
            "INVITE ACK BYE"
        }
        None => "",
    };
    assert_eq!(w.heard(CAROL), heard, "{warning}");
    let refused = w.last_response(TRUNK);
    assert_eq!(refused.status.code(), 488, "{warning}");
    assert_eq!(refused.headers.value("Warning"), Some(warning));
    assert_eq!(w.endings()[0].0, End::Failed);
    w.settle();
}

#[test]
fn codecs_that_cannot_be_had_are_refused_with_a_reason() {
    let unusable = "305 duolog \"no usable audio\"";
    let none = "305 duolog \"no common codec, and none that can be transcoded\"";
    let (pcma, g729) = (sdp(CAROL, "RTP/AVP 8", &[]), sdp(TRUNK, "RTP/AVP 18", &[]));
    let odd = sdp(TRUNK, "RTP/AVP 3 97", &[]);
    check_refused(settings(), &odd, None, unusable);
    let pcmu = sdp(TRUNK, "RTP/AVP 0", &[]);
    check_refused(settings(), &pcmu, Some(&pcma), none);
    // G.729 passes, but is transcoded only where its library is.
    check_refused(transcoding(&[Encoding::Pcma]), &g729, Some(&pcma), none);
}

#[test]
fn keys_that_cannot_be_had_are_refused_with_a_reason() {
    use MediaSecurity::{Always, AsOffered, Never};
    let none = "306 duolog \"no acceptable key for protected media\"";
    let key = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let print = format!("fingerprint:{PRINT}");
    let clear = sdp(TRUNK, "RTP/AVP 0", &[]);
    let safe = sdp(TRUNK, "RTP/SAVP 0", &[&key]);
    for offered in [
        sdp(TRUNK, "RTP/SAVP 0", &[]),
        sdp(TRUNK, "RTP/SAVP 0", &["crypto:1 NULL inline:x"]),
        sdp(TRUNK, "UDP/TLS/RTP/SAVPF 0", &[&print]),
    ] {
        check_refused(settings(), &offered, None, none);
    }
    let refused = "302 duolog \"protected media is not allowed here\"";
    check_refused(secured(Never, Never), &safe, None, refused);
    let refused = "302 duolog \"only protected media is allowed here\"";
    check_refused(secured(Always, Never), &clear, None, refused);
    // The callee leaves out its keys, takes a line that was not offered, or a profile of its own.
    let bare = sdp(CAROL, "RTP/AVP 0", &[]);
    check_refused(secured(AsOffered, Always), &clear, Some(&bare), none);
    check_refused(settings(), &safe, Some(&bare), none);
    let other = key.replace("crypto:1", "crypto:9");
    let other = sdp(CAROL, "RTP/SAVP 0", &[&other]);
    check_refused(settings(), &safe, Some(&other), none);
    let own = sdp(CAROL, "RTP/SAVP 0", &[&key]);
    check_refused(settings(), &clear, Some(&own), none);
}

#[test]
fn g729_is_transcoded_where_its_library_is() {
    let mut settings = transcoding(&[Encoding::Pcma]);
    settings.media.g729 = G729::Available;
    let mut w = World::with(settings, 1);
    offer(
        &mut w,
        "1003",
        &sdp(TRUNK, "RTP/AVP 18", &["fmtp:18 annexb=yes"]),
    );
    w.respond_with(CAROL, 200, Some(&sdp(CAROL, "RTP/AVP 8", &[])));
    w.run(100);
    let text = String::from_utf8(w.last_response(TRUNK).body.to_vec()).unwrap();
    assert!(
        text.contains("RTP/AVP 18\r\n") && text.contains("a=fmtp:18 annexb=yes"),
        "{text}"
    );
    assert_eq!(formats(&w, 'a'), [(18, Encoding::G729)]);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn the_reason_of_a_refusal_is_one_quoted_string() {
    for bad in ["v=\"0 secret\r\n", "v=0\r\nx\"\r\n", "v=0\r\n=\r\n"] {
        let mut w = World::new();
        let mut invite = w.new_invite(TRUNK, "1003");
        invite.body = Bytes::from_static(bad.as_bytes());
        w.send_new(TRUNK, invite);
        w.run(100);
        let warnings = w
            .last_response(TRUNK)
            .headers
            .value("Warning")
            .map(str::to_owned);
        // And the same where the callee says it.
        let mut w = World::new();
        offer(&mut w, "1003", &sdp(TRUNK, "RTP/AVP 0", &[]));
        w.bend = Some(|text| text.replacen("\r\nv=0\r\n", "\r\nv=\"\r\n", 1));
        w.respond_with(CAROL, 200, Some(&sdp(CAROL, "RTP/AVP 0", &[])));
        w.run(100);
        let later = w
            .last_response(TRUNK)
            .headers
            .value("Warning")
            .map(str::to_owned);
        for warning in [warnings, later] {
            let warning = warning.unwrap_or_else(|| panic!("{bad}"));
            assert_eq!(warning.matches('"').count(), 2, "{warning}");
            assert!(
                warning.ends_with('"') && !warning.contains("secret"),
                "{warning}"
            );
        }
    }
}

#[test]
fn what_becomes_of_key_presses_is_said_at_the_invite() {
    for dtmf in [Dtmf::Keep, Dtmf::Mask] {
        let mut settings = settings();
        settings.users[CAROL - 1].recording_mut().dtmf = dtmf;
        let mut w = World::with(settings, 1);
        w.call(BOB, CAROL);
        let opened = w.media.iter().find_map(|(_, command)| match command {
            MediaCommand::OpenRecording { opening, .. } => Some(opening.settled.recording.dtmf),
            _ => None,
        });
        assert_eq!(opened, Some(dtmf));
        w.bye(BOB);
        w.settle();
    }
}
