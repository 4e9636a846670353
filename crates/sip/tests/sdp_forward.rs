//! Offers and answers between two legs: which formats each side is told, and in whose words.

use duolog_sip::sdp::{
    Description, Encoding, G729, MediaSecurity, Offered, SdpError, Terms, Transcoding,
};

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n";

fn parse(text: &str) -> Description {
    Description::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn text(description: &Description) -> String {
    String::from_utf8(description.write().to_vec()).unwrap()
}

fn terms(standing: Option<&Description>) -> Terms<'_> {
    Terms {
        rtp: "192.0.2.10:40000".parse().unwrap(),
        rtcp: "192.0.2.10:40001".parse().unwrap(),
        security: MediaSecurity::AsOffered,
        dtls_fingerprint: None,
        keys: Vec::new(),
        standing,
    }
}

fn forward(offer: &Description, transcoding: &Transcoding<'_>) -> Result<Description, SdpError> {
    offer.offer_to(&terms(None), &terms(None), transcoding)
}

/// `0 8 111=opus/48000/2 101=telephone-event/8000` as a description.
fn described(formats: &str) -> Description {
    let mut list = String::new();
    let mut maps = String::new();
    for word in formats.split_ascii_whitespace() {
        let (number, map) = word.split_once('=').unwrap_or((word, ""));
        list += &format!(" {number}");
        if !map.is_empty() {
            maps += &format!("a=rtpmap:{number} {map}\r\n");
        }
    }
    parse(&format!("{HEAD}m=audio 4000 RTP/AVP{list}\r\n{maps}"))
}

/// The `m=` line's numbers and the `rtpmap` lines, in the notation of [`described`].
fn shown(description: &Description) -> String {
    let text = text(description);
    let line = text.lines().find(|l| l.starts_with("m=")).unwrap();
    let words = line.split_ascii_whitespace().skip(3).map(|number| {
        let map = format!("a=rtpmap:{number} ");
        let named = text.lines().find_map(|l| l.strip_prefix(map.as_str()));
        named.map_or(number.to_owned(), |name| format!("{number}={name}"))
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Offer, codecs to add, what the answerer is told, the answer, what the offerer is told or why not.
fn check(offer: &str, add: &[Encoding], g729: G729, told: &str, answer: &str, want: &str) {
    let transcoding = Transcoding { add, g729 };
    let offer = described(offer);
    let forwarded = forward(&offer, &transcoding).unwrap();
    assert_eq!(shown(&forwarded), told, "{offer:?}");
    let offered = Offered {
        theirs: &offer,
        told: &forwarded,
    };
    let answered = described(answer).answer_to(&offered, &terms(None), &transcoding);
    let got = answered.map_or_else(|why| format!("{why:?}"), |answered| shown(&answered));
    assert_eq!(got, want, "offer {offer:?} answer {answer}");
}

#[test]
fn nothing_is_transcoded_where_nothing_is_asked_for() {
    fn off(offer: &str, told: &str, answer: &str, want: &str) {
        check(offer, &[], G729::Available, told, answer, want);
    }
    off("0 8", "0 8", "8", "8");
    off("0 8", "0 8", "8 0", "8 0");
    off("9 0 18 13", "9 0 18 13", "18 13", "18 13");
    off("18", "18", "18", "18");
    // What is not known never passes, in either direction.
    off("3 0 97=iLBC/8000", "0", "0 3", "0");
    off("0 8", "0 8", "9", "NoCommonCodec");
    off(
        "0 101=telephone-event/8000",
        "0 101=telephone-event/8000",
        "101=telephone-event/8000 3",
        "NoUsableAudio",
    );
    // An answer may number anew, and take only some.
    off(
        "111=opus/48000/2 0 101=telephone-event/8000",
        "111=opus/48000/2 0 101=telephone-event/8000",
        "96=opus/48000/2 97=telephone-event/8000",
        "96=opus/48000/2 97=telephone-event/8000",
    );
}

#[test]
fn the_callee_may_take_what_the_caller_has_not() {
    fn on(offer: &str, told: &str, answer: &str, want: &str) {
        let add = [
            Encoding::G722,
            Encoding::Pcma,
            Encoding::Pcmu,
            Encoding::Opus,
        ];
        check(offer, &add, G729::Missing, told, answer, want);
    }
    let te = "101=telephone-event/8000";
    let added = "127=opus/48000/2 126=telephone-event/48000";
    let offer = format!("0 {te}");
    let told = format!("0 {te} 9=G722/8000 8=PCMA/8000 127=opus/48000/2 126=telephone-event/48000");
    // The first codec of the answer decides.
    on(&offer, &told, &format!("0 {te}"), &format!("0 {te}"));
    on(&offer, &told, "0 9", "0");
    on(&offer, &told, &format!("9 0 {te}"), &format!("0 {te}"));
    on(&offer, &told, "9", "0");
    on(
        &offer,
        &told,
        "127=opus/48000/2 126=telephone-event/48000",
        &format!("0 {te}"),
    );
    on(&offer, &told, "99=opus/48000/2", "0");
    on(&offer, &told, "18", "NoCommonCodec");
    on(&offer, &told, "3 18", "NoCommonCodec");
    // Events come with a codec that is added, whether or not the caller has any.
    on(
        "0",
        "0 9=G722/8000 8=PCMA/8000 127=opus/48000/2 126=telephone-event/8000 125=telephone-event/48000",
        "8 126=telephone-event/8000",
        "0",
    );
    // Noise and events go with the clock of the codec that is chosen.
    on(
        "111=opus/48000/2 0 13 98=CN/16000 110=telephone-event/48000 101=telephone-event/8000",
        "111=opus/48000/2 0 13 98=CN/16000 110=telephone-event/48000 101=telephone-event/8000 9=G722/8000 8=PCMA/8000",
        "8 101=telephone-event/8000",
        "111=opus/48000/2 110=telephone-event/48000",
    );
    on(
        "0 13 101=telephone-event/8000",
        &format!("0 13 101=telephone-event/8000 9=G722/8000 8=PCMA/8000 {added}"),
        "9 101=telephone-event/8000",
        "0 13 101=telephone-event/8000",
    );
    // Numbers that are taken are not given away; a static one may be taken by another name.
    on(
        "0 127=telephone-event/8000 9=PCMA/8000",
        "0 127=telephone-event/8000 9=PCMA/8000 126=G722/8000 125=opus/48000/2 124=telephone-event/48000",
        "126=G722/8000",
        "0",
    );
    let crowd: Vec<String> = (96..128).map(|n| format!("{n}=x/8000")).collect();
    let crowd = format!("0 {}", crowd.join(" "));
    // Formats that are not known leave their numbers free.
    on(
        &crowd,
        "0 9=G722/8000 8=PCMA/8000 127=opus/48000/2 126=telephone-event/8000 125=telephone-event/48000",
        "9",
        "0",
    );
}

#[test]
fn g729_is_transcoded_only_where_its_library_is() {
    let add = [Encoding::Pcma, Encoding::G729];
    check("18", &add, G729::Missing, "18", "18", "18");
    check("18", &add, G729::Missing, "18", "8", "NoCommonCodec");
    check(
        "18 0",
        &add,
        G729::Missing,
        "18 0 8=PCMA/8000 127=telephone-event/8000",
        "8",
        "0",
    );
    check(
        "18",
        &add,
        G729::Available,
        "18 8=PCMA/8000 127=telephone-event/8000",
        "8",
        "18",
    );
    check(
        "0",
        &add,
        G729::Available,
        "0 8=PCMA/8000 18=G729/8000 127=telephone-event/8000",
        "18",
        "0",
    );
}

#[test]
fn a_transcoded_answer_is_in_the_words_of_the_offer() {
    let offer = parse(&format!(
        "{HEAD}m=audio 4000 RTP/AVP 111 101 100\r\na=rtpmap:111 opus/48000/2\r\n\
         a=fmtp:111 stereo=1;useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=rtpmap:100 telephone-event/48000\r\na=fmtp:100 0-16\r\na=ptime:40\r\na=maxptime:60\r\n"
    ));
    let add = [Encoding::Pcma];
    let transcoding = Transcoding {
        add: &add,
        g729: G729::Missing,
    };
    let told = forward(&offer, &transcoding).unwrap();
    let want = "v=0\r\no=- 1 2 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=audio 40000 RTP/AVP 111 101 100 8\r\na=rtpmap:111 opus/48000/2\r\n\
        a=fmtp:111 stereo=1;useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=rtpmap:100 telephone-event/48000\r\na=fmtp:100 0-16\r\na=ptime:40\r\na=maxptime:60\r\n\
        a=rtpmap:8 PCMA/8000\r\n";
    assert_eq!(text(&told), want);
    let answer = parse(
        "v=0\r\no=bob 8 1 IN IP4 203.0.113.9\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\n\
         m=audio 6000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-15\r\na=ptime:20\r\na=maxptime:150\r\na=x-own:here\r\na=recvonly\r\n",
    );
    let offered = Offered {
        theirs: &offer,
        told: &told,
    };
    let answered = answer
        .answer_to(&offered, &terms(None), &transcoding)
        .unwrap();
    let want = "v=0\r\no=bob 8 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=audio 40000 RTP/AVP 111 100\r\na=x-own:here\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n\
        a=fmtp:111 stereo=1;useinbandfec=1\r\na=rtpmap:100 telephone-event/48000\r\na=fmtp:100 0-16\r\n\
        a=ptime:40\r\n";
    assert_eq!(text(&answered), want);
}

#[test]
fn numbers_stay_what_they_were() {
    let add = [Encoding::Opus, Encoding::Pcma];
    let transcoding = Transcoding {
        add: &add,
        g729: G729::Missing,
    };
    // Told before: opus as 111, events as 126.
    let standing = described("8 111=opus/48000/2 126=telephone-event/8000");
    let offer = described("0");
    let told = offer.offer_to(&terms(None), &terms(Some(&standing)), &transcoding);
    let told = shown(&told.unwrap());
    assert_eq!(
        told,
        "0 111=opus/48000/2 8=PCMA/8000 127=telephone-event/48000 126=telephone-event/8000"
    );
    // The old number is taken now.
    let offer = described("0 111=telephone-event/8000");
    let told = offer.offer_to(&terms(None), &terms(Some(&standing)), &transcoding);
    assert!(shown(&told.unwrap()).contains("127=opus/48000/2"));
}

#[test]
fn an_answer_has_the_media_of_its_offer_in_their_order() {
    let transcoding = Transcoding {
        add: &[Encoding::Pcma],
        g729: G729::Missing,
    };
    let (audio, video, image) = (
        "m=audio 4000 RTP/AVP 0",
        "m=video 5000 RTP/AVP 31",
        "m=image 6000 udptl t38",
    );
    let of = |lines: &[&str]| parse(&format!("{HEAD}{}\r\n", lines.join("\r\n")));
    let none = ["NoUsableAudio"].as_slice();
    let (ours, refused) = ("m=audio 40000 RTP/AVP 0", "m=video 0 RTP/AVP 31");
    for (offer, answer, want) in [
        (
            [video, audio].as_slice(),
            [video, audio].as_slice(),
            [refused, ours].as_slice(),
        ),
        (
            &[video, audio],
            &["m=video 0 RTP/AVP 31", audio],
            &[refused, ours],
        ),
        // In another order, fewer and more.
        (&[video, audio], &[audio, video], &[refused, ours]),
        (&[video, audio], &[audio], &[refused, ours]),
        (&[audio], &[audio, image, audio], &[ours]),
        (
            &[image, video, audio],
            &["m=audio 0 RTP/AVP 0", video, "m=audio 4000 RTP/AVP 8"],
            &["m=image 0 udptl t38", refused, ours],
        ),
        // Port 0 refuses the stream.
        (&[video, audio], &[video, "m=audio 0 RTP/AVP 0"], none),
        (&[audio], &["m=audio 0 RTP/AVP 0 8"], none),
        (&[audio], &[video], none),
        (&[audio], &[], none),
    ] {
        let offer = of(offer);
        let told = forward(&offer, &transcoding).unwrap();
        let offered = Offered {
            theirs: &offer,
            told: &told,
        };
        let answered = of(answer).answer_to(&offered, &terms(None), &transcoding);
        let got = answered.map_or_else(|why| format!("{why:?}"), |answered| text(&answered));
        let lines = got.lines().filter(|l| l.starts_with("m=") || *l == none[0]);
        assert_eq!(lines.collect::<Vec<_>>(), want, "{answer:?}");
    }
}

#[test]
fn a_number_said_over_and_over_is_said_once() {
    let transcoding = Transcoding {
        add: &[Encoding::Pcma],
        g729: G729::Missing,
    };
    let told = forward(&described("8 0 8 0 0 8 200 300 -1 x"), &transcoding).unwrap();
    assert_eq!(shown(&told), "8 0");
    // As long as a description may be: half of it numbers, half of it attributes to look through.
    let numbers = " 96".repeat(10_000);
    let maps = "a=rtpmap:5 x/1\r\n".repeat(2_000);
    let long =
        format!("{HEAD}m=audio 4000 RTP/AVP 0{numbers}\r\n{maps}a=rtpmap:96 opus/48000/2\r\n");
    let offer = parse(&long);
    assert_eq!(offer.audio().unwrap().formats.len(), 2);
    let told = forward(&offer, &transcoding).unwrap();
    assert!(text(&told).len() < 500, "nothing of it passes");
}

/// Offers as devices write them, and the formats that pass.
const DIALECTS: [(&str, &str, &str); 6] = [
    (
        "baresip",
        "m=audio 11000 RTP/AVP 96 9 0 8 97 101\r\na=rtpmap:96 opus/48000/2\r\n\
         a=fmtp:96 stereo=1;sprop-stereo=1\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:97 L16/16000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-15\r\na=rtcp:11001\r\na=rtcp-mux\r\na=sendrecv\r\na=label:1\r\na=ptime:20\r\n",
        "96 Opus, 9 G722, 0 Pcmu, 8 Pcma, 97 L16 { rate_hz: 16000, channels: 1 }, \
         101 TelephoneEvent { rate_hz: 8000 }",
    ),
    (
        "Asterisk",
        "m=audio 17000 RTP/AVP 107 9 8 3 101 110\r\na=rtpmap:107 opus/48000/2\r\n\
         a=fmtp:107 useinbandfec=1\r\na=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:3 GSM/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
         a=rtpmap:110 telephone-event/48000\r\na=fmtp:110 0-16\r\na=ptime:20\r\na=maxptime:60\r\n",
        "107 Opus, 9 G722, 8 Pcma, 101 TelephoneEvent { rate_hz: 8000 }, \
         110 TelephoneEvent { rate_hz: 48000 }",
    ),
    (
        "Cisco",
        "m=audio 16384 RTP/AVP 114 9 124 0 8 116 18 101\r\na=rtpmap:114 opus/48000/2\r\n\
         a=fmtp:114 maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0;usedtx=0\r\n\
         a=rtpmap:9 G722/8000\r\na=rtpmap:124 ISAC/16000\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:116 iLBC/8000\r\na=fmtp:116 mode=20\r\n\
         a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=yes\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-15\r\na=trafficclass:conversational.audio.avconf.aq:admitted\r\n",
        "114 Opus, 9 G722, 0 Pcmu, 8 Pcma, 18 G729, 101 TelephoneEvent { rate_hz: 8000 }",
    ),
    (
        "Webex Calling",
        "m=audio 19560 RTP/AVP 99 9 8 0 18 101\r\na=rtpmap:99 opus/48000/2\r\n\
         a=fmtp:99 maxplaybackrate=48000;useinbandfec=1\r\na=rtpmap:9 G722/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\n\
         a=fmtp:18 annexb=no\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\n",
        "99 Opus, 9 G722, 8 Pcma, 0 Pcmu, 18 G729, 101 TelephoneEvent { rate_hz: 8000 }",
    ),
    (
        "a desk phone that names nothing static",
        "m=audio 2222 RTP/AVP 9 0 8 18 13 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:30\r\n",
        "9 G722, 0 Pcmu, 8 Pcma, 18 G729, 13 ComfortNoise { rate_hz: 8000 }, \
         101 TelephoneEvent { rate_hz: 8000 }",
    ),
    (
        "a softphone with noise for two clocks",
        "m=audio 7078 RTP/AVP 96 0 8 13 118 97 101\r\na=rtpmap:96 opus/48000/2\r\n\
         a=fmtp:96 useinbandfec=1\r\na=rtpmap:118 CN/16000\r\na=rtpmap:97 speex/16000\r\n\
         a=fmtp:97 vbr=on\r\na=rtpmap:101 telephone-event/48000\r\n",
        "96 Opus, 0 Pcmu, 8 Pcma, 13 ComfortNoise { rate_hz: 8000 }, \
         118 ComfortNoise { rate_hz: 16000 }, 101 TelephoneEvent { rate_hz: 48000 }",
    ),
];

#[test]
fn dialects_of_phones_and_exchanges() {
    let transcoding = Transcoding {
        add: &[],
        g729: G729::Missing,
    };
    for (device, media, want) in DIALECTS {
        let offer = parse(&format!("{HEAD}{media}"));
        let told = forward(&offer, &transcoding).unwrap();
        let formats = told.audio().unwrap().formats;
        let words = formats
            .iter()
            .map(|f| format!("{} {:?}", f.payload_type, f.encoding));
        assert_eq!(words.collect::<Vec<_>>().join(", "), want, "{device}");
        // Every line about a format that passes is untouched, and the others are gone.
        let text = text(&told);
        let about = |line: &&str| line.starts_with("a=fmtp") || line.starts_with("a=rtpmap");
        for line in media.lines().filter(about) {
            let number = line.split([':', ' ']).nth(1).unwrap();
            let passes = formats.iter().any(|f| f.payload_type.to_string() == number);
            assert_eq!(text.contains(line), passes, "{device}: {line}");
        }
        // The same in reverse: the offer as its own answer.
        let offered = Offered {
            theirs: &offer,
            told: &told,
        };
        let answered = offer.answer_to(&offered, &terms(None), &transcoding);
        assert_eq!(shown(&answered.unwrap()), shown(&told), "{device}");
    }
}
