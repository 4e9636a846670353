//! Session descriptions: dialects, reading, relaying.

use std::net::SocketAddr;

use duolog_sip::sdp::{
    Description, Direction, Encoding, Format, G729, MediaSecurity, Offer, SdpError, Setup, Terms,
    Transcoding,
};

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n";

fn parse(text: &str) -> Description {
    Description::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn relay(text: &str) -> Result<String, SdpError> {
    let (rtp, rtcp) = (address("192.0.2.10:40000"), address("192.0.2.10:40001"));
    let relayed = relay_to(&parse(text), rtp, rtcp)?;
    Ok(String::from_utf8(relayed.write().to_vec()).unwrap())
}

fn relay_to(
    offer: &Description,
    rtp: SocketAddr,
    rtcp: SocketAddr,
) -> Result<Description, SdpError> {
    let terms = || Terms {
        rtp,
        rtcp,
        security: MediaSecurity::AsOffered,
        dtls_fingerprint: None,
        keys: Vec::new(),
        standing: None,
    };
    let transcoding = Transcoding {
        add: &[],
        g729: G729::Missing,
    };
    offer.offer_to(&terms(), &terms(), &transcoding)
}

#[test]
fn dialects() {
    for (what, text) in [
        (
            "LF only",
            "v=0\no=- 1 1 IN IP4 1.2.3.4\ns=-\nc=IN IP4 1.2.3.4\nt=0 0\nm=audio 4000 RTP/AVP 0\n",
        ),
        (
            "no s= and t=",
            "v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\n",
        ),
        (
            "no o=",
            "v=0\r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\n",
        ),
        (
            "no last line end",
            "v=0\r\ns=-\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 1.2.3.4",
        ),
        (
            "attributes before c=",
            "v=0\r\ns=-\r\na=x\r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\n",
        ),
        (
            "long ids",
            "v=0\r\no=- 99999999999999999999999 1 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\n",
        ),
        (
            "unknown line",
            "v=0\r\nq=what\r\ns=-\r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\n",
        ),
        (
            "name in o=",
            "v=0\r\no=- 1 1 IN IP4 pbx.example.com\r\ns= \r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\n",
        ),
        (
            "lower case",
            "v=0\r\ns=-\r\nc=in ip4 1.2.3.4\r\nm=audio 4000 rtp/avp 0\r\n",
        ),
    ] {
        let audio = parse(text).audio().unwrap_or_else(|| panic!("{what}"));
        assert_eq!(audio.rtp, address("1.2.3.4:4000"), "{what}");
        assert_eq!(audio.rtcp, address("1.2.3.4:4001"), "{what}");
        let relayed = relay(text).unwrap();
        for line in ["o=", "s=", "t=", "c=IN IP4 192.0.2.10", "m=audio 40000"] {
            assert_eq!(
                relayed.matches(&format!("\r\n{line}")).count(),
                1,
                "{what}: {relayed}"
            );
        }
        assert_eq!(
            parse(&relayed).audio().unwrap().rtp,
            address("192.0.2.10:40000")
        );
    }
}

#[test]
fn what_is_no_description_is_refused() {
    for bad in [
        &b""[..],
        b"v=1\r\n",
        b"hello",
        b"\xff\xfe",
        b"v=0\r\nm=audio x RTP/AVP 0\r\n",
    ] {
        assert!(
            matches!(Description::parse(bad), Err(SdpError::Syntax(_))),
            "{bad:?}"
        );
    }
    assert_eq!(
        Description::parse(&vec![b'a'; 70_000]),
        Err(SdpError::TooLong)
    );
    let media = |count| format!("{HEAD}{}", "m=audio 4000 RTP/AVP 0\r\n".repeat(count));
    assert!(Description::parse(media(64).as_bytes()).is_ok());
    let more = Description::parse(media(65).as_bytes());
    assert_eq!(more, Err(SdpError::TooLong));
}

#[test]
fn formats() {
    let te = |rate_hz| Encoding::TelephoneEvent { rate_hz };
    let cn = |rate_hz| Encoding::ComfortNoise { rate_hz };
    let l16 = |rate_hz, channels| Encoding::L16 { rate_hz, channels };
    for (number, map, want) in [
        (0, "", Encoding::Pcmu),
        (8, "", Encoding::Pcma),
        (9, "", Encoding::G722),
        (10, "", l16(44_100, 2)),
        (11, "", l16(44_100, 1)),
        (13, "", cn(8_000)),
        (18, "", Encoding::G729),
        (3, "", Encoding::Other),
        (19, "", Encoding::Other),
        (96, "", Encoding::Other),
        (97, "pcma/8000/1", Encoding::Pcma),
        (97, "PCMU/16000", Encoding::Other),
        (9, "G722/8000", Encoding::G722),
        (9, "G722/16000", Encoding::Other),
        (18, "G729/8000", Encoding::G729),
        (96, "G729A/8000/1", Encoding::G729),
        (111, "OPUS/48000/2", Encoding::Opus),
        (111, "opus/48000", Encoding::Other),
        (111, "opus/16000/2", Encoding::Other),
        (98, "L16/16000", l16(16_000, 1)),
        (98, "L16/16000/1", l16(16_000, 1)),
        (98, "L16/48000/2", l16(48_000, 2)),
        (98, "L16/48000/6", Encoding::Other),
        (98, "L16/9600", Encoding::Other),
        (98, "L16", Encoding::Other),
        (98, "CN/16000", cn(16_000)),
        (98, "telephone-event/48000", te(48_000)),
        (98, "telephone-event/8000/1", te(8_000)),
        (98, "telephone-event/0", Encoding::Other),
        (98, "iLBC/8000", Encoding::Other),
        (98, "opus/48000/2/3", Encoding::Other),
        (98, "", Encoding::Other),
        // A static number may be taken for something else only by name.
        (0, "opus/48000/2", Encoding::Opus),
        (0, "speex/8000", Encoding::Other),
    ] {
        let map = match map {
            "" => String::new(),
            map => format!("a=rtpmap:{number} {map}\r\n"),
        };
        let text =
            format!("{HEAD}m=audio 4000 RTP/AVP 126 {number}\r\na=rtpmap:126 PCMU/8000\r\n{map}");
        let read = parse(&text).audio().unwrap().formats;
        let want = Format {
            payload_type: number,
            encoding: want,
        };
        assert_eq!(read[1], want, "{text}");
    }
    let clock = |encoding: Encoding| encoding.clock_rate_hz();
    assert_eq!(clock(Encoding::G722), Some(8_000));
    assert_eq!(clock(Encoding::Opus), Some(48_000));
    assert_eq!(clock(Encoding::Other), None);
}

#[test]
fn streams_that_cannot_be_used() {
    let none = SdpError::NoUsableAudio;
    for (unusable, why) in [
        ("m=audio 0 RTP/AVP 0\r\n", none.clone()),
        ("m=audio 4000 RTP/SAVP 0\r\n", SdpError::NoUsableKeys),
        (
            "m=audio 4000 RTP/AVP 13 101\r\na=rtpmap:101 telephone-event/8000\r\n",
            none.clone(),
        ),
        ("m=audio 4000 RTP/AVP 3 97\r\n", none.clone()),
        (
            "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 media.example.com\r\n",
            none.clone(),
        ),
        (
            "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n",
            none.clone(),
        ),
        ("m=video 4000 RTP/AVP 0\r\n", none.clone()),
        ("m=audio 4000 TCP/RTP/AVP 0\r\n", none.clone()),
        ("", none),
    ] {
        let text = format!("{HEAD}{unusable}");
        assert_eq!(parse(&text).audio(), None, "{unusable}");
        assert_eq!(parse(&text).usable_audio(), Err(why.clone()), "{unusable}");
        assert_eq!(relay(&text), Err(why), "{unusable}");
    }
}

#[test]
fn directions_and_hold() {
    for (session, media, want) in [
        ("", "", Direction::SendRecv),
        ("a=sendonly\r\n", "", Direction::SendOnly),
        ("a=sendonly\r\n", "a=recvonly\r\n", Direction::RecvOnly),
        ("", "a=inactive\r\n", Direction::Inactive),
        ("", "c=IN IP4 0.0.0.0\r\n", Direction::SendOnly),
        (
            "",
            "c=IN IP4 0.0.0.0\r\na=recvonly\r\n",
            Direction::Inactive,
        ),
        ("", "c=IN IP6 ::\r\na=sendonly\r\n", Direction::SendOnly),
    ] {
        let text = format!("{HEAD}{session}m=audio 4000 RTP/AVP 0\r\n{media}");
        assert_eq!(
            parse(&text).audio().unwrap().direction,
            want,
            "{session}{media}"
        );
        // The hold survives although our own address takes the place of 0.0.0.0.
        let relayed = relay(&text).unwrap();
        assert_eq!(
            parse(&relayed).audio().unwrap().direction,
            want,
            "{relayed}"
        );
        assert!(!relayed.contains("0.0.0.0"), "{relayed}");
    }
    assert_eq!(Direction::SendOnly.reversed(), Direction::RecvOnly);
    assert!(Direction::SendOnly.sends() && !Direction::SendOnly.receives());
}

#[test]
fn relayed_line_by_line() {
    let offer = "v=0\r\no=alice 77 5 IN IP4 10.0.0.1\r\ns=Call\r\ni=words\r\nc=IN IP4 10.0.0.1\r\n\
        b=AS:80\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\na=fingerprint:sha-1 AA\r\na=x-own:session\r\n\
        m=audio 4000 RTP/AVP 18 8 3 0 101 13\r\na=rtpmap:3 GSM/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n\
        a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
        a=rtcp:4005 IN IP4 10.0.0.2\r\na=rtcp-mux\r\na=candidate:1 1 UDP 1 10.0.0.1 4000 typ host\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\na=ssrc:1 cname:x\r\na=ptime:20\r\na=x-own: kept as is\r\n\
        m=video 5000 RTP/AVP 31\r\nc=IN IP4 10.0.0.3\r\na=mid:1\r\na=rtpmap:31 H261/90000\r\n\
        m=image 6000 udptl t38\r\n";
    let read = parse(offer).audio().unwrap();
    assert_eq!(read.rtcp, address("10.0.0.2:4005"));
    assert!(read.rtcp_mux);
    let want = "v=0\r\no=alice 77 5 IN IP4 192.0.2.10\r\ns=Call\r\ni=words\r\nc=IN IP4 192.0.2.10\r\n\
        b=AS:80\r\nt=0 0\r\na=x-own:session\r\n\
        m=audio 40000 RTP/AVP 18 8 0 101 13\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n\
        a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-16\r\na=rtcp-mux\r\na=ptime:20\r\na=x-own: kept as is\r\n\
        m=video 0 RTP/AVP 31\r\na=mid:1\r\nm=image 0 udptl t38\r\n";
    assert_eq!(relay(offer).unwrap(), want);
}

#[test]
fn only_the_first_usable_audio_is_taken() {
    let text = format!(
        "{HEAD}m=audio 4000 RTP/SAVP 0\r\nm=audio 4002 RTP/AVP 0\r\nm=audio 4004 RTP/AVP 8\r\n"
    );
    let relayed = relay(&text).unwrap();
    let lines: Vec<&str> = relayed.lines().filter(|l| l.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=audio 0 RTP/SAVP 0",
            "m=audio 40000 RTP/AVP 0",
            "m=audio 0 RTP/AVP 8"
        ]
    );
}

#[test]
fn ipv6_and_odd_rtcp_ports() {
    let text = "v=0\r\no=- 1 1 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 0\r\na=rtcp:5000\r\n";
    let description = parse(text);
    assert_eq!(
        description.audio().unwrap().rtp,
        address("[2001:db8::1]:4000")
    );
    assert_eq!(
        description.audio().unwrap().rtcp,
        address("[2001:db8::1]:5000")
    );
    let (rtp, rtcp) = (
        address("[2001:db8::9]:40000"),
        address("[2001:db8::9]:45000"),
    );
    let relayed = relay_to(&description, rtp, rtcp).unwrap();
    let text = String::from_utf8(relayed.write().to_vec()).unwrap();
    assert!(text.contains("o=- 1 1 IN IP6 2001:db8::9\r\n"), "{text}");
    assert!(text.contains("c=IN IP6 2001:db8::9\r\n"), "{text}");
    assert!(text.contains("a=rtcp:45000\r\n"), "{text}");
    assert_eq!(relayed.audio().unwrap().rtcp, rtcp);
    let other = address("192.0.2.8:45000");
    let relayed = relay_to(&description, rtp, other).unwrap();
    assert_eq!(relayed.audio().unwrap().rtcp, other);
    // The highest port has no next one.
    let top = parse(&format!("{HEAD}m=audio 65535 RTP/AVP 0\r\n"))
        .audio()
        .unwrap();
    assert_eq!(top.rtcp.port(), 65535);
}

#[test]
fn versions_rise_with_the_author() {
    let first = parse(HEAD);
    assert_eq!((first.session_id(), first.version()), ("1", 2));
    let next = relay(&format!(
        "{}m=audio 4000 RTP/AVP 0\r\n",
        HEAD.replace("- 1 2", "- 1 3")
    ));
    assert_eq!(parse(&next.unwrap()).version(), 3);
}

#[test]
fn what_differs_has_a_higher_version() {
    let at = |version: u64, tail: &str| {
        let head = HEAD.replace("- 1 2", &format!("- 1 {version}"));
        parse(&format!("{head}m=audio 4000 RTP/AVP 0\r\n{tail}"))
    };
    for (before, after, want) in [
        (at(2, ""), at(2, ""), 2),
        (at(2, ""), at(3, ""), 3),
        (at(2, ""), at(2, "a=sendonly\r\n"), 3),
        (at(5, ""), at(2, ""), 5),
        (at(5, ""), at(3, "a=sendonly\r\n"), 6),
        (at(5, ""), at(9, "a=sendonly\r\n"), 9),
        (at(u64::MAX, ""), at(0, "a=sendonly\r\n"), u64::MAX),
    ] {
        assert_eq!(
            after.clone().after(&before).version(),
            want,
            "{before:?} {after:?}"
        );
    }
}

#[test]
fn an_offer_of_our_own() {
    let format = |payload_type, encoding| Format {
        payload_type,
        encoding,
    };
    let offer = Offer {
        session_id: 9,
        version: 1,
        rtp: address("192.0.2.1:7000"),
        rtcp: address("192.0.2.1:7001"),
        formats: vec![
            format(8, Encoding::Pcma),
            format(3, Encoding::Other),
            format(111, Encoding::Opus),
            format(
                10,
                Encoding::L16 {
                    rate_hz: 44_100,
                    channels: 2,
                },
            ),
            format(101, Encoding::TelephoneEvent { rate_hz: 8000 }),
        ],
        ptime_ms: Some(20),
        direction: Direction::SendRecv,
        profile: duolog_sip::sdp::Profile::Avp,
        crypto: Vec::new(),
    };
    let want = "v=0\r\no=- 9 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 7000 RTP/AVP 8 111 10 101\r\na=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:10 L16/44100/2\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
    assert_eq!(
        String::from_utf8(offer.describe().write().to_vec()).unwrap(),
        want
    );
    let audio = offer.describe().audio().unwrap();
    assert_eq!((audio.rtp, audio.rtcp), (offer.rtp, offer.rtcp));
}

#[test]
fn an_offer_made_again_changes_the_direction_and_nothing_else() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    let line = "m=audio 4000 RTP/AVP 8 101\r\n";
    let more = "a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";
    let video = "m=video 0 RTP/AVP 31\r\n";
    for (said, session, direction, version) in [
        ("", "", SendRecv, 2),
        ("", "", SendOnly, 3),
        ("a=sendonly\r\n", "", SendOnly, 2),
        ("a=sendonly\r\n", "", SendRecv, 3),
        ("a=INACTIVE\r\n", "a=recvonly\r\n", RecvOnly, 3),
        ("", "a=inactive\r\n", Inactive, 2),
        ("", "a=inactive\r\n", SendRecv, 3),
    ] {
        let text = format!("{HEAD}{session}{line}{more}{said}{video}");
        let before = Description::parse(text.as_bytes()).unwrap();
        let after = before.offer_again(direction);
        let (old, new) = (before.audio().unwrap(), after.audio().unwrap());
        assert_eq!(new.direction, direction, "{text}");
        assert_eq!(after.version(), version, "{text}");
        assert_eq!((new.rtp, new.profile), (old.rtp, old.profile));
        assert_eq!((new.formats, new.ptime_ms), (old.formats, old.ptime_ms));
        let written = String::from_utf8(after.write().to_vec()).unwrap();
        assert!(written.ends_with(video), "{written}");
        assert_eq!(after.offer_again(direction), after, "nothing changes twice");
    }
    // What we answered to DTLS may go either way in an offer (RFC 8842 §5.5).
    let print = ["AB"; 32].join(":");
    let text = format!(
        "{HEAD}m=audio 4000 UDP/TLS/RTP/SAVP 0\r\na=fingerprint:sha-256 {print}\r\na=setup:active\r\n"
    );
    let after = Description::parse(text.as_bytes())
        .unwrap()
        .offer_again(SendRecv);
    assert_eq!(after.audio().unwrap().dtls.unwrap().setup, Setup::ActPass);
    assert_eq!(after.version(), 3);
}
