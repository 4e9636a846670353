//! Keys: what each side is told, and what the media plane is told of each leg.

use bytes::Bytes;
use duolog_call::{DtlsRole, Fact, LegSecurity, MediaCommand, Multiplexing, Side};
use duolog_sip::sdp::{CryptoSuite, Description, Direction, Encoding, MediaSecurity};

use crate::media::{
    KEY, OURS, PRINT, connected, count_of_connects, offer, sdp, secured, shown, transcoding,
};
use crate::world::{CAROL, TRUNK, World};

/// The keys of a leg, ours and theirs.
fn sdes(w: &World, side: char) -> (Vec<u8>, Vec<u8>, CryptoSuite) {
    match connected(w, side).security {
        Some(LegSecurity::Sdes { ours, theirs }) => {
            assert_eq!(ours.suite(), theirs.suite());
            let suite = ours.suite();
            (
                ours.key_and_salt().to_vec(),
                theirs.key_and_salt().to_vec(),
                suite,
            )
        }
        other => panic!("{other:?}"),
    }
}

/// The key in the crypto line with this tag, as base64.
fn written(body: &Bytes, tag: &str) -> String {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let line = format!("a=crypto:{tag} ");
    let line = text.lines().find(|l| l.starts_with(&line)).unwrap();
    line.split_once("inline:").unwrap().1.to_owned()
}

#[test]
fn each_leg_has_keys_of_its_own_and_nobody_prints_them() {
    let mut w = World::new();
    let theirs = format!("crypto:7 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^31");
    offer(
        &mut w,
        "1003",
        &sdp(TRUNK, "RTP/SAVP 0 8", &["crypto:1 F8 inline:x", &theirs]),
    );
    let invite = w.last_request(CAROL).body.clone();
    assert_eq!(shown(&invite), "RTP/SAVP 0 8");
    let callee_key = KEY.replace("MTIz", "ABCD");
    let answer = format!("crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{callee_key}");
    let answer = sdp(CAROL, "RTP/SAVP 0", &[&answer]);
    w.respond_with(CAROL, 200, Some(&answer));
    w.run(100);
    let reply = w.last_response(TRUNK).body.clone();
    assert_eq!(shown(&reply), "RTP/SAVP 0");
    let (a, b) = (sdes(&w, 'a'), sdes(&w, 'b'));
    assert_eq!(
        (a.2, b.2),
        (
            CryptoSuite::AesCm128HmacSha1_32,
            CryptoSuite::AesCm128HmacSha1_80
        )
    );
    assert_eq!(a.1, b"123456789ABCDE0123456789ABcdef");
    let all = [&a.0, &a.1, &b.0, &b.1];
    for (at, key) in all.iter().enumerate() {
        assert!(
            all[at + 1..].iter().all(|other| other != key),
            "four different keys"
        );
    }
    let wires = [written(&reply, "7"), written(&invite, "2")];
    assert_ne!(wires[0], wires[1]);

    // Nothing that is printed has a key in it, in any of its forms.
    let printed = format!("{:?}\n{:#?}\n{:?}", w.media, w.media, w.logs);
    for (raw, wire) in all
        .iter()
        .zip([&wires[0], KEY, &wires[1], callee_key.as_str()])
    {
        assert!(
            !printed.contains(wire) && !printed.contains(&format!("{raw:?}")),
            "{printed}"
        );
    }
    assert!(!printed.contains("inline"));
    assert!(printed.contains("AES_CM_128_HMAC_SHA1_32"));

    // A new key of the caller: its leg is connected anew, ours stays, and so does the other leg.
    let before = count_of_connects(&w);
    let fresh = format!(
        "crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{}",
        KEY.replace("MTIz", "ZZZZ")
    );
    w.reinvite_with(TRUNK, &sdp(TRUNK, "RTP/SAVP 0 8", &[&fresh]));
    w.run(100);
    w.respond_with(CAROL, 200, Some(&answer));
    w.run(100);
    assert_eq!(count_of_connects(&w), before + 1);
    let after = sdes(&w, 'a');
    assert_eq!(after.0, a.0);
    assert_ne!(after.1, a.1);
    assert_eq!(sdes(&w, 'b'), b);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_protected_leg_beside_a_clear_one() {
    use MediaSecurity::{Always, AsOffered, Never};
    let key = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    // Protected from the trunk, clear to the phone.
    let mut w = World::with(secured(AsOffered, Never), 1);
    offer(
        &mut w,
        "1003",
        &sdp(TRUNK, "RTP/SAVP 0", &[&key, "rtcp-mux"]),
    );
    assert_eq!(shown(&w.last_request(CAROL).body), "RTP/AVP 0");
    w.respond_with(CAROL, 200, Some(&sdp(CAROL, "RTP/AVP 0", &[])));
    w.run(100);
    assert_eq!(shown(&w.last_response(TRUNK).body), "RTP/SAVP 0");
    assert_eq!(connected(&w, 'b').security, None);
    sdes(&w, 'a');
    assert_eq!(connected(&w, 'a').rtcp_mux, Multiplexing::Muxed);
    assert_eq!(connected(&w, 'b').rtcp_mux, Multiplexing::Separate);
    // The phone holds: the trunk's leg stays protected, with the same key.
    let before = sdes(&w, 'a').0;
    w.reinvite_with(CAROL, &sdp(CAROL, "RTP/AVP 0", &["sendonly"]));
    w.run(100);
    let body = w.last_request(TRUNK).body.clone();
    assert_eq!(shown(&body), "RTP/SAVP 0");
    w.respond_with(
        TRUNK,
        200,
        Some(&sdp(TRUNK, "RTP/SAVP 0", &[&key, "recvonly", "rtcp-mux"])),
    );
    w.run(100);
    assert_eq!(sdes(&w, 'a').0, before);
    assert_eq!(connected(&w, 'a').rtcp_mux, Multiplexing::Muxed);
    assert_eq!(shown(&w.last_response(CAROL).body), "RTP/AVP 0");
    w.bye(TRUNK);
    w.settle();

    // Clear from the trunk, protected to the phone.
    let mut w = World::with(secured(AsOffered, Always), 1);
    offer(&mut w, "1003", &sdp(TRUNK, "RTP/AVP 0", &[]));
    assert_eq!(shown(&w.last_request(CAROL).body), "RTP/SAVP 0");
    w.respond_with(CAROL, 200, Some(&sdp(CAROL, "RTP/SAVP 0", &[&key])));
    w.run(100);
    assert_eq!(shown(&w.last_response(TRUNK).body), "RTP/AVP 0");
    assert_eq!(connected(&w, 'a').security, None);
    sdes(&w, 'b');
    w.bye(TRUNK);
    w.settle();

    // Keys in a clear profile are taken by one side and left by the other.
    let mut w = World::new();
    offer(&mut w, "1003", &sdp(TRUNK, "RTP/AVP 0", &[&key]));
    w.respond_with(CAROL, 200, Some(&sdp(CAROL, "RTP/AVP 0", &[])));
    w.run(100);
    assert_eq!(shown(&w.last_response(TRUNK).body), "RTP/AVP 0");
    sdes(&w, 'a');
    assert_eq!(connected(&w, 'b').security, None);
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_peer_that_changes_its_key_for_ever_costs_no_more_each_time() {
    let mut w = World::with(transcoding(&[Encoding::Pcma, Encoding::Opus]), 1);
    let suites = CryptoSuite::ALL;
    let said = |n: usize| {
        // Every time another key, and another suite.
        let suite = suites[n % suites.len()];
        let long = format!("{n:070}");
        let length = suite.key_and_salt_bytes().div_ceil(3) * 4;
        let padded = match suite.key_and_salt_bytes() % 3 {
            0 => long[long.len() - length..].to_owned(),
            1 => format!("{}A==", &long[long.len() - length + 3..]),
            _ => format!("{}A=", &long[long.len() - length + 2..]),
        };
        let line = format!("crypto:{} {} inline:{padded}", n + 1, suite.name());
        sdp(TRUNK, "RTP/SAVP 0 101=telephone-event/8000", &[&line])
    };
    offer(&mut w, "1003", &said(0));
    let key = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let answer = sdp(CAROL, "RTP/SAVP 0 101=telephone-event/8000", &[&key]);
    w.respond_with(CAROL, 200, Some(&answer));
    w.run(100);
    let (ours, mut theirs, _) = sdes(&w, 'a');
    let told = |w: &World| {
        (
            w.last_request(CAROL).body.len(),
            w.last_response(TRUNK).body.len(),
        )
    };
    let mut lengths = Vec::new();
    for n in 1..=120 {
        let before = (count_of_connects(&w), w.media.len());
        w.reinvite_with(TRUNK, &said(n));
        w.run(100);
        w.respond_with(CAROL, 200, Some(&answer));
        w.run(100);
        let now = (count_of_connects(&w), w.media.len());
        assert_eq!(
            (now.0 - before.0, now.1 - before.1),
            (1, 1),
            "{n}: one command"
        );
        let (a, b) = (sdes(&w, 'a'), connected(&w, 'a'));
        assert_ne!(a.1, theirs, "{n}: the new key");
        assert_eq!(a.2, suites[n % suites.len()], "{n}");
        assert_eq!(b.formats.len(), 2);
        theirs = a.1;
        if n % suites.len() == 0 {
            assert_eq!(a.0, ours, "{n}: ours stays");
            lengths.push(told(&w));
        }
    }
    // Nothing of a former offer is left in a later one; only numbers grow by a digit or two.
    let (first, last) = (lengths[0], lengths[lengths.len() - 1]);
    assert!(
        last.0 <= first.0 + 4 && last.1 <= first.1 + 4,
        "{lengths:?}"
    );
    w.bye(TRUNK);
    w.settle();
}

#[test]
fn a_transcoded_and_protected_leg_is_held_and_retrieved() {
    let mut settings = secured(MediaSecurity::AsOffered, MediaSecurity::Never);
    settings.media.transcode = vec![Encoding::Pcma];
    let key = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let safe = |more: &str| {
        sdp(
            TRUNK,
            "RTP/SAVP 111=opus/48000/2 100=telephone-event/48000",
            &[&key, more],
        )
    };
    let plain = |more: &str| sdp(CAROL, "RTP/AVP 8 101=telephone-event/8000", &[more]);
    // As `c=0.0.0.0` says it (RFC 2543).
    let nowhere = |text: Description| {
        let text = String::from_utf8(text.write().to_vec()).unwrap();
        let (head, tail) = text.split_once("c=IN IP4 ").unwrap();
        let (_, tail) = tail.split_once("\r\n").unwrap();
        Description::parse(format!("{head}c=IN IP4 0.0.0.0\r\n{tail}").as_bytes()).unwrap()
    };
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    for (held, answer, a, b) in [
        (safe("sendonly"), plain("recvonly"), SendOnly, RecvOnly),
        (safe("inactive"), plain("inactive"), Inactive, Inactive),
        (
            nowhere(safe("sendrecv")),
            plain("recvonly"),
            SendOnly,
            RecvOnly,
        ),
    ] {
        let mut w = World::with(settings.clone(), 1);
        offer(&mut w, "1003", &safe("sendrecv"));
        w.respond_with(CAROL, 200, Some(&plain("sendrecv")));
        w.run(100);
        let before = (connected(&w, 'a'), connected(&w, 'b'));
        w.reinvite_with(TRUNK, &held);
        w.run(100);
        let text = String::from_utf8(w.last_request(CAROL).body.to_vec()).unwrap();
        assert!(text.contains(&format!("a={}\r\n", a.as_str())), "{text}");
        assert!(!text.contains("0.0.0.0"), "{text}");
        w.respond_with(CAROL, 200, Some(&answer));
        w.run(100);
        let text = String::from_utf8(w.last_response(TRUNK).body.to_vec()).unwrap();
        assert!(text.contains(&format!("a={}\r\n", b.as_str())), "{text}");
        let now = (connected(&w, 'a'), connected(&w, 'b'));
        assert_eq!((now.0.direction, now.1.direction), (a, b));
        for (now, before) in [(&now.0, &before.0), (&now.1, &before.1)] {
            assert_eq!(now.formats, before.formats);
            assert_eq!(now.security, before.security);
        }
        assert!(w.facts().contains(&Fact::Held { by: Side::Caller }));
        // The other side holds as well, and lets go; then the first one does.
        w.reinvite_with(CAROL, &plain("inactive"));
        w.run(100);
        w.respond_with(TRUNK, 200, Some(&safe("inactive")));
        w.run(100);
        w.reinvite_with(TRUNK, &safe("sendrecv"));
        w.run(100);
        w.respond_with(CAROL, 200, Some(&plain("sendrecv")));
        w.run(100);
        assert_eq!(connected(&w, 'a'), before.0, "as if nothing had been");
        assert_eq!(connected(&w, 'b').direction, SendRecv);
        assert_eq!(connected(&w, 'b').formats[..2], before.1.formats[..2]);
        assert!(w.facts().contains(&Fact::Retrieved { by: Side::Caller }));
        w.bye(TRUNK);
        w.settle();
    }
}

#[test]
fn without_a_certificate_nothing_is_agreed_on_that_needs_one() {
    let print = format!("fingerprint:{PRINT}");
    let key = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let both = [print.as_str(), "setup:passive", key.as_str()];
    for profile in [
        "RTP/AVP 0",
        "RTP/AVPF 0",
        "RTP/SAVP 0",
        "RTP/SAVPF 0",
        "UDP/TLS/RTP/SAVP 0",
        "UDP/TLS/RTP/SAVPF 0",
    ] {
        for answer in ["RTP/AVP 0", "RTP/SAVP 0", "UDP/TLS/RTP/SAVPF 0"] {
            for lines in [&both[..2], &both[..]] {
                let mut w = World::new();
                offer(&mut w, "1003", &sdp(TRUNK, profile, lines));
                if !w.parties[CAROL].invites.is_empty() {
                    w.respond_with(CAROL, 200, Some(&sdp(CAROL, answer, lines)));
                    w.run(100);
                }
                if w.parties[TRUNK].dialog.is_some() {
                    w.reinvite_with(CAROL, &sdp(CAROL, profile, lines));
                    w.run(100);
                    if !w.parties[TRUNK].invites.is_empty() {
                        w.respond_with(TRUNK, 200, Some(&sdp(TRUNK, answer, lines)));
                        w.run(100);
                    }
                }
                for (_, command) in &w.media {
                    if let MediaCommand::ConnectLeg { media, .. } = command {
                        let dtls = matches!(media.security, Some(LegSecurity::Dtls { .. }));
                        assert!(!dtls, "{profile} {answer} {lines:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn dtls_on_one_leg_or_on_both() {
    use MediaSecurity::{Always, AsOffered, Never};
    let print = format!("fingerprint:{PRINT}");
    let handshake = |role| LegSecurity::Dtls {
        role,
        fingerprint: PRINT.to_owned(),
    };
    for (setup, answer, a, b) in [
        ("actpass", "active", DtlsRole::Active, DtlsRole::Passive),
        ("active", "passive", DtlsRole::Passive, DtlsRole::Active),
        ("passive", "active", DtlsRole::Active, DtlsRole::Passive),
    ] {
        let mut w = World::with(secured(AsOffered, AsOffered), 1);
        let profile = "UDP/TLS/RTP/SAVPF 111=opus/48000/2";
        let setup = format!("setup:{setup}");
        offer(
            &mut w,
            "1003",
            &sdp(TRUNK, profile, &[&print, &setup, "rtcp-mux"]),
        );
        let text = String::from_utf8(w.last_request(CAROL).body.to_vec()).unwrap();
        assert!(
            text.contains(OURS) && text.contains("a=setup:actpass\r\n"),
            "{text}"
        );
        let answer = format!("setup:{answer}");
        w.respond_with(CAROL, 200, Some(&sdp(CAROL, profile, &[&print, &answer])));
        w.run(100);
        assert_eq!(connected(&w, 'a').security, Some(handshake(a)));
        assert_eq!(connected(&w, 'b').security, Some(handshake(b)));
        w.bye(TRUNK);
        w.settle();
    }
    for (policy, told) in [(Never, "RTP/AVP 0"), (Always, "UDP/TLS/RTP/SAVPF 0")] {
        let mut w = World::with(secured(AsOffered, policy), 1);
        let lines = [print.as_str(), "setup:actpass"];
        offer(&mut w, "1003", &sdp(TRUNK, "UDP/TLS/RTP/SAVPF 0", &lines));
        assert_eq!(shown(&w.last_request(CAROL).body), told, "{policy:?}");
        w.cancel(TRUNK);
        w.settle();
    }
}
