//! Session descriptions: dialects, reading, relaying.

use std::net::SocketAddr;

use duolog_sip::sdp::{Description, Direction, Encoding, Format, Offer, RtcpMux, SdpError};

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n";

fn parse(text: &str) -> Description {
    Description::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn relay(text: &str, mux: RtcpMux) -> Result<String, SdpError> {
    let rtp = address("192.0.2.10:40000");
    let relayed = parse(text).relayed(rtp, address("192.0.2.10:40001"), rtp.ip(), mux)?;
    Ok(String::from_utf8(relayed.write().to_vec()).unwrap())
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
        let relayed = relay(text, RtcpMux::Strip).unwrap();
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
}

#[test]
fn formats() {
    let audio = |media: &str| parse(&format!("{HEAD}{media}")).audio();
    let read = audio(
        "m=audio 4000 RTP/AVP 8 0 18 101 97 96 13\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=rtpmap:97 pcma/8000/1\r\na=rtpmap:96 telephone-event/48000\r\na=ptime:30\r\n",
    )
    .unwrap();
    let want = [
        (8, Encoding::Pcma),
        (0, Encoding::Pcmu),
        (18, Encoding::Other),
        (101, Encoding::TelephoneEvent),
        (97, Encoding::Pcma),
        (96, Encoding::Other),
        (13, Encoding::Other),
    ];
    assert_eq!(
        read.formats,
        want.map(|(payload_type, encoding)| Format {
            payload_type,
            encoding
        })
    );
    assert_eq!(read.ptime_ms, Some(30));
    // A static number may be taken for something else only by name.
    assert_eq!(
        audio("m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 opus/48000/2\r\n"),
        None
    );
    for unusable in [
        "m=audio 0 RTP/AVP 0\r\n",
        "m=audio 4000 RTP/SAVP 0\r\n",
        "m=audio 4000 RTP/AVP 18 101\r\na=rtpmap:101 telephone-event/8000\r\n",
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 media.example.com\r\n",
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n",
        "m=video 4000 RTP/AVP 0\r\n",
        "",
    ] {
        assert_eq!(audio(unusable), None, "{unusable}");
        assert_eq!(
            relay(&format!("{HEAD}{unusable}"), RtcpMux::Strip),
            Err(SdpError::NoUsableAudio)
        );
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
        let relayed = relay(&text, RtcpMux::Strip).unwrap();
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
        m=audio 4000 RTP/AVP 18 8 0 101 13\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n\
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
        m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-16\r\na=ptime:20\r\na=x-own: kept as is\r\n\
        m=video 0 RTP/AVP 31\r\na=mid:1\r\nm=image 0 udptl t38\r\n";
    assert_eq!(relay(offer, RtcpMux::Strip).unwrap(), want);
    assert!(
        relay(offer, RtcpMux::Keep)
            .unwrap()
            .contains("a=rtcp-mux\r\n")
    );
}

#[test]
fn only_the_first_usable_audio_is_taken() {
    let text = format!(
        "{HEAD}m=audio 4000 RTP/SAVP 0\r\nm=audio 4002 RTP/AVP 0\r\nm=audio 4004 RTP/AVP 8\r\n"
    );
    let relayed = relay(&text, RtcpMux::Strip).unwrap();
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
    let relayed = description
        .relayed(rtp, rtcp, rtp.ip(), RtcpMux::Strip)
        .unwrap();
    let text = String::from_utf8(relayed.write().to_vec()).unwrap();
    assert!(text.contains("o=- 1 1 IN IP6 2001:db8::9\r\n"), "{text}");
    assert!(text.contains("c=IN IP6 2001:db8::9\r\n"), "{text}");
    assert!(text.contains("a=rtcp:45000\r\n"), "{text}");
    assert_eq!(relayed.audio().unwrap().rtcp, rtcp);
    let other = address("192.0.2.8:45000");
    let relayed = description
        .relayed(rtp, other, rtp.ip(), RtcpMux::Strip)
        .unwrap();
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
    let next = relay(
        &format!(
            "{}m=audio 4000 RTP/AVP 0\r\n",
            HEAD.replace("- 1 2", "- 1 3")
        ),
        RtcpMux::Strip,
    );
    assert_eq!(parse(&next.unwrap()).version(), 3);
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
            format(18, Encoding::Other),
            format(101, Encoding::TelephoneEvent),
        ],
        ptime_ms: Some(20),
        direction: Direction::SendRecv,
    };
    let want = "v=0\r\no=- 9 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 7000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
    assert_eq!(
        String::from_utf8(offer.describe().write().to_vec()).unwrap(),
        want
    );
    let audio = offer.describe().audio().unwrap();
    assert_eq!((audio.rtp, audio.rtcp), (offer.rtp, offer.rtcp));
}
