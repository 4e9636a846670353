//! Protected media: profiles, `a=crypto`, DTLS, and what each leg is told of them.

use duolog_sip::sdp::{
    Audio, Crypto, CryptoSuite, Description, G729, MediaSecurity, Offered, Profile, SdesKey,
    SdpError, Terms, Transcoding,
};

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n";
const KEY_30: &str = "MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm";
const OUR_PRINT: &str = "sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";
const THEIR_PRINT: &str = "SHA-256 f0:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff";

fn parse(text: &str) -> Description {
    Description::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn stream(profile: &str, lines: &[&str]) -> Description {
    let lines: String = lines.iter().map(|line| format!("a={line}\r\n")).collect();
    parse(&format!("{HEAD}m=audio 4000 {profile} 0\r\n{lines}"))
}

fn text(description: &Description) -> String {
    String::from_utf8(description.write().to_vec()).unwrap()
}

/// One key for each suite, made of one byte.
fn keys(fill: u8) -> Vec<SdesKey> {
    let key = |suite: CryptoSuite| SdesKey::new(suite, &vec![fill; suite.key_and_salt_bytes()]);
    CryptoSuite::ALL
        .into_iter()
        .map(|suite| key(suite).unwrap())
        .collect()
}

fn terms<'a>(security: MediaSecurity, dtls: Option<&'a str>, fill: u8) -> Terms<'a> {
    Terms {
        rtp: "192.0.2.10:40000".parse().unwrap(),
        rtcp: "192.0.2.10:40001".parse().unwrap(),
        security,
        dtls_fingerprint: dtls,
        keys: keys(fill),
        standing: None,
    }
}

const PLAIN: Transcoding<'static> = Transcoding {
    add: &[],
    g729: G729::Missing,
};

#[test]
fn crypto_lines_of_every_suite() {
    for suite in CryptoSuite::ALL {
        let key = match suite.key_and_salt_bytes() {
            28 => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==",
            30 => KEY_30,
            44 => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis=",
            _ => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLQ==",
        };
        let (name, bare) = (suite.name(), key.trim_end_matches('='));
        for line in [
            format!("crypto:1 {name} inline:{key}"),
            format!("crypto:1  {name}  inline:{bare}"),
            format!("CRYPTO:1 {name} INLINE:{key}|2^31 WSH=64"),
        ] {
            let read = stream("RTP/SAVP", &[&line]).audio().unwrap();
            assert_eq!(read.crypto.len(), 1, "{line}");
            assert_eq!(read.crypto[0].tag, 1);
            let key = &read.crypto[0].key;
            assert_eq!(key.suite(), suite, "{line}");
            assert_eq!(key.key_and_salt().len(), suite.key_and_salt_bytes());
        }
        assert_eq!(SdesKey::new(suite, &[0; 29]), None);
    }
}

/// `KEY` stands for a key of 30 bytes.
const CRYPTO_LINES: &str = "
yes crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY
yes crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^48
yes crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY|4294967296
yes crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY WSH=128
yes crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY KDR=0
yes crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY FEC_ORDER=FEC_SRTP
yes crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY -vendor=1
yes crypto:999999999 AES_CM_128_HMAC_SHA1_80 inline:KEY
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^20|1:4
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY|1:4
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^20|1:4;inline:KEY|2^20|2:4
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY|forever
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY|
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEYA
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY KDR=5
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY KDR
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY UNENCRYPTED_SRTP
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY UNENCRYPTED_SRTCP
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY UNAUTHENTICATED_SRTP
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY WSH=64 UNENCRYPTED_SRTCP
no  crypto:3 AES_CM_128_HMAC_SHA1_80 inline:KEY vendor=1
no  crypto:1 F8_128_HMAC_SHA1_80 inline:KEY
no  crypto:1 AES_256_CM_HMAC_SHA1_80 inline:KEY
no  crypto:x AES_CM_128_HMAC_SHA1_80 inline:KEY
no  crypto:01 AES_CM_128_HMAC_SHA1_80 inline:KEY
no  crypto:+1 AES_CM_128_HMAC_SHA1_80 inline:KEY
no  crypto:1234567890 AES_CM_128_HMAC_SHA1_80 inline:KEY
no  crypto:1 AES_CM_128_HMAC_SHA1_80
no  crypto:1 AES_CM_128_HMAC_SHA1_80 inline:
no  crypto:1 AES_CM_128_HMAC_SHA1_80 inline:not*base64
no  crypto:1 AES_CM_128_HMAC_SHA1_80 uri:KEY
no  crypto:1
no  crypto";

#[test]
fn crypto_lines_that_can_be_used_and_others() {
    for case in CRYPTO_LINES.lines().filter(|case| !case.is_empty()) {
        let (usable, line) = case.split_once(' ').unwrap();
        let line = line.trim().replace("KEY", KEY_30);
        let audio = stream("RTP/SAVP", &[&line]).usable_audio();
        match usable {
            "yes" => assert!(audio.is_ok(), "{case}"),
            _ => assert_eq!(audio, Err(SdpError::NoUsableKeys), "{case}"),
        }
    }
    // The first of two lines with one tag; unusable lines are passed over.
    let good = format!("crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}");
    let second = good.replace("crypto:3", "crypto:4");
    let read = stream(
        "RTP/SAVP",
        &[&format!("{good} KDR=1"), &good, &good, &second],
    );
    let read = read.audio().unwrap().crypto;
    let tags: Vec<u32> = read.iter().map(|line| line.tag).collect();
    assert_eq!(tags, [3, 4]);
}

#[test]
fn no_key_is_ever_printed() {
    let line = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}");
    let odd = format!("CRYPTO:7 whatever {KEY_30}");
    let text = format!(
        "{HEAD}k=base64:{KEY_30}\r\na=key-mgmt:mikey {KEY_30}\r\nm=audio 4000 RTP/SAVP 0\r\n\
         k=clear:{KEY_30}\r\na={line}\r\na={odd}\r\n"
    );
    let description = parse(&text);
    let audio = description.audio().unwrap();
    let raw = format!("{:?}", audio.crypto[0].key.key_and_salt());
    for shown in [
        format!("{description:?}"),
        format!("{description:#?}"),
        format!("{audio:?}"),
        format!("{:?}", terms(MediaSecurity::Always, None, 1)),
    ] {
        assert!(!shown.contains(KEY_30) && !shown.contains(&raw), "{shown}");
        assert!(!shown.contains("inline"), "{shown}");
    }
    assert!(format!("{audio:?}").contains("AES_CM_128_HMAC_SHA1_80"));
    let told = description.offer_to(
        &terms(MediaSecurity::AsOffered, None, 1),
        &terms(MediaSecurity::AsOffered, None, 2),
        &PLAIN,
    );
    let told = String::from_utf8(told.unwrap().write().to_vec()).unwrap();
    assert!(!told.contains(KEY_30), "a key stays on its leg: {told}");
    for broken in [
        "a crypto:1 x inline:abc",
        "crypto:1 x inline:abc=",
        "a=\rinline:abc",
    ] {
        let why = Description::parse(format!("{HEAD}{broken}\r\n").as_bytes()).unwrap_err();
        assert!(!why.to_string().contains("inline"), "{why}");
    }
}

/// What an offer becomes: profile and how many crypto lines, `dtls`, or the reason why not.
fn told(description: &Result<Description, SdpError>) -> String {
    match description {
        Err(why) => format!("{why:?}"),
        Ok(description) => {
            let audio = description.audio().unwrap();
            let dtls = audio
                .dtls
                .map_or(String::new(), |dtls| format!(" {:?}", dtls.setup));
            format!("{} {}{dtls}", audio.profile.as_str(), audio.crypto.len())
        }
    }
}

/// Profile and attributes of an offer, the policy of its leg and of the other one; what the other leg
/// is told, and what the offer is answered.
const PROFILES: &str = "
RTP/AVP           | -    | AsOffered AsOffered | RTP/AVP 0                   | RTP/AVP 0
RTP/AVPF          | -    | AsOffered AsOffered | RTP/AVPF 0                  | RTP/AVPF 0
RTP/AVP           | -    | AsOffered Always    | RTP/SAVP 6                  | RTP/AVP 0
RTP/AVPF          | -    | AsOffered Always    | RTP/SAVP 6                  | RTP/AVPF 0
RTP/AVP           | -    | Never Never         | RTP/AVP 0                   | RTP/AVP 0
RTP/AVP           | -    | Always AsOffered    | Unprotected                 |
RTP/AVP           | bad  | AsOffered AsOffered | RTP/AVP 0                   | RTP/AVP 0
RTP/AVP           | bad  | Always AsOffered    | Unprotected                 |
RTP/AVP           | key  | AsOffered AsOffered | RTP/AVP 6                   | RTP/AVP 1
RTP/AVP           | key  | AsOffered Never     | RTP/AVP 0                   | RTP/AVP 1
RTP/AVP           | key  | Never AsOffered     | RTP/AVP 0                   | RTP/AVP 0
RTP/AVP           | key  | Always Always       | RTP/SAVP 6                  | RTP/AVP 1
RTP/SAVP          | key  | AsOffered AsOffered | RTP/SAVP 6                  | RTP/SAVP 1
RTP/SAVP          | both | AsOffered AsOffered | RTP/SAVP 6                  | RTP/SAVP 1
RTP/SAVPF         | key  | AsOffered AsOffered | RTP/SAVPF 6                 | RTP/SAVPF 1
rtp/savp          | key  | AsOffered Never     | RTP/AVP 0                   | RTP/SAVP 1
RTP/SAVPF         | key  | Always Never        | RTP/AVP 0                   | RTP/SAVPF 1
RTP/SAVP          | key  | Never AsOffered     | Protected                   |
RTP/SAVP          | bad  | AsOffered AsOffered | NoUsableKeys                |
RTP/SAVP          | -    | AsOffered AsOffered | NoUsableKeys                |
UDP/TLS/RTP/SAVPF | dtls | AsOffered AsOffered | UDP/TLS/RTP/SAVPF 0 ActPass | UDP/TLS/RTP/SAVPF 0 Active
UDP/TLS/RTP/SAVP  | dtls | AsOffered Always    | UDP/TLS/RTP/SAVP 0 ActPass  | UDP/TLS/RTP/SAVP 0 Active
RTP/SAVPF         | dtls | AsOffered AsOffered | UDP/TLS/RTP/SAVPF 0 ActPass | RTP/SAVPF 0 Active
UDP/TLS/RTP/SAVPF | dtls | AsOffered Never     | RTP/AVP 0                   | UDP/TLS/RTP/SAVPF 0 Active
UDP/TLS/RTP/SAVPF | dtls | Never AsOffered     | Protected                   |
UDP/TLS/RTP/SAVPF | sha1 | AsOffered AsOffered | NoUsableKeys                |
UDP/TLS/RTP/SAVPF | key  | AsOffered AsOffered | NoUsableKeys                |";

fn attributes(name: &str) -> Vec<String> {
    let key = format!("crypto:5 AES_CM_128_HMAC_SHA1_32 inline:{KEY_30}");
    let bad = "crypto:5 F8_128_HMAC_SHA1_32 inline:AAAA".to_owned();
    let print = format!("fingerprint:{THEIR_PRINT}");
    let setup = "setup:actpass".to_owned();
    match name {
        "key" => vec![key],
        "bad" => vec![bad],
        "both" => vec![bad, key],
        "dtls" => vec![print, setup],
        "sha1" => vec!["fingerprint:sha-1 AA:BB".to_owned(), setup],
        _ => Vec::new(),
    }
}

fn policies(words: &str) -> Vec<MediaSecurity> {
    let policy = |word| match word {
        "AsOffered" => MediaSecurity::AsOffered,
        "Never" => MediaSecurity::Never,
        _ => MediaSecurity::Always,
    };
    words.split(' ').map(policy).collect()
}

/// An answer that takes the second crypto line, if there are any, or begins no handshake.
fn answer_to(offer: &Audio) -> Description {
    let profile = offer.profile.as_str();
    match (offer.crypto.get(1), &offer.dtls) {
        (Some(line), _) => {
            let suite = line.key.suite();
            let zeros = match suite.key_and_salt_bytes() {
                28 => format!("{}==", "A".repeat(38)),
                30 => "A".repeat(40),
                44 => format!("{}=", "A".repeat(59)),
                _ => format!("{}==", "A".repeat(62)),
            };
            let line = format!("crypto:{} {} inline:{zeros}", line.tag, suite.name());
            stream(profile, &[&line])
        }
        (None, Some(_)) => {
            let print = format!("fingerprint:{THEIR_PRINT}");
            stream(profile, &[&print, "setup:passive"])
        }
        (None, None) => stream(profile, &[]),
    }
}

#[test]
fn profiles_and_policies() {
    for case in PROFILES.lines().filter(|case| !case.is_empty()) {
        let columns: Vec<&str> = case.split('|').map(str::trim).collect();
        let lines = attributes(columns[1]);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let offer = stream(columns[0], &lines);
        let policies = policies(columns[2]);
        let own = terms(policies[0], Some(OUR_PRINT), 1);
        let sent = offer.offer_to(&own, &terms(policies[1], Some(OUR_PRINT), 2), &PLAIN);
        assert_eq!(told(&sent), columns[3], "{case}");
        let Ok(sent) = sent else { continue };
        let audio = sent.audio().unwrap();
        let offered = Offered {
            theirs: &offer,
            told: &sent,
        };
        let answered = answer_to(&audio).answer_to(&offered, &own, &PLAIN);
        assert_eq!(told(&answered), columns[4], "{case}");
        let answered = answered.unwrap().audio().unwrap();
        if let Some(line) = answered.crypto.first() {
            assert_eq!(line.tag, 5, "the tag of the line that was taken");
            assert_eq!(line.key.suite(), CryptoSuite::AesCm128HmacSha1_32);
            assert_eq!(line.key.key_and_salt(), [1; 30], "our key of that leg");
        }
        if let Some(dtls) = answered.dtls {
            assert_eq!(dtls.fingerprint, OUR_PRINT);
        }
        for Crypto { key, .. } in audio.crypto {
            assert_eq!(key.key_and_salt()[0], 2, "our key of the other leg");
        }
    }
}

#[test]
fn our_lines_follow_the_offer() {
    let (savp, own) = (
        MediaSecurity::AsOffered,
        terms(MediaSecurity::AsOffered, None, 1),
    );
    let names = |description: &Description| -> Vec<String> {
        let lines = description.audio().unwrap().crypto;
        lines
            .iter()
            .map(|l| format!("{} {}", l.tag, l.key.suite().name()))
            .collect()
    };
    let offer = stream(
        "RTP/SAVP",
        &[
            &format!("crypto:10 AES_CM_128_HMAC_SHA1_32 inline:{KEY_30}"),
            &format!("crypto:11 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}"),
        ],
    );
    let sent = offer.offer_to(&own, &terms(savp, None, 2), &PLAIN).unwrap();
    let want = [
        "1 AES_CM_128_HMAC_SHA1_32",
        "2 AES_CM_128_HMAC_SHA1_80",
        "3 AEAD_AES_256_GCM",
        "4 AEAD_AES_128_GCM",
        "5 AES_256_CM_HMAC_SHA1_80",
        "6 AES_256_CM_HMAC_SHA1_32",
    ];
    assert_eq!(names(&sent), want);
    let clear = stream("RTP/AVP", &[]);
    let sent = clear.offer_to(&own, &terms(MediaSecurity::Always, None, 2), &PLAIN);
    assert_eq!(names(&sent.unwrap())[0], "1 AES_CM_128_HMAC_SHA1_80");
    // What a leg has, it keeps: profile and suite of the answer that stands.
    let standing = stream(
        "RTP/SAVP",
        &[&format!("crypto:4 AES_CM_128_HMAC_SHA1_32 inline:{KEY_30}")],
    );
    let mut to = terms(savp, None, 2);
    to.standing = Some(&standing);
    let sent = clear.offer_to(&own, &to, &PLAIN).unwrap();
    assert_eq!(sent.audio().unwrap().profile, Profile::Savp);
    assert_eq!(names(&sent)[0], "1 AES_CM_128_HMAC_SHA1_32");
    let standing = stream("RTP/AVP", &["rtcp-mux"]);
    to.standing = Some(&standing);
    let sent = offer.offer_to(&own, &to, &PLAIN).unwrap();
    assert_eq!(names(&sent), [""; 0]);
    assert!(sent.audio().unwrap().rtcp_mux, "as that leg has it");
}

#[test]
fn alternatives_in_two_streams() {
    let line = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}\r\n");
    let offer = parse(&format!(
        "{HEAD}m=audio 4000 RTP/SAVP 8\r\n{line}m=audio 4002 RTP/AVP 8\r\n"
    ));
    for (policy, want) in [
        (
            MediaSecurity::AsOffered,
            ["m=audio 40000 RTP/SAVP 8", "m=audio 0 RTP/AVP 8"],
        ),
        (
            MediaSecurity::Always,
            ["m=audio 40000 RTP/SAVP 8", "m=audio 0 RTP/AVP 8"],
        ),
        (
            MediaSecurity::Never,
            ["m=audio 0 RTP/SAVP 8", "m=audio 40000 RTP/AVP 8"],
        ),
    ] {
        let from = terms(policy, None, 1);
        let sent = offer.offer_to(&from, &terms(MediaSecurity::AsOffered, None, 2), &PLAIN);
        let sent = sent.unwrap();
        let words = text(&sent);
        let lines: Vec<&str> = words.lines().filter(|l| l.starts_with("m=")).collect();
        assert_eq!(lines, want, "{policy:?}");
        // Seen from the other end the same stream is meant.
        let port = offer.audio_across(&sent).unwrap().rtp.port();
        assert_eq!(
            port,
            if policy == MediaSecurity::Never {
                4002
            } else {
                4000
            }
        );
    }
}

/// `PRINT` stands for a fingerprint; several attributes have `;` between them.
const FINGERPRINTS: &str = "
ActPass | fingerprint:PRINT;setup:actpass
Active  | fingerprint:PRINT;setup:active
Passive | fingerprint:PRINT;setup:passive
Passive | fingerprint:PRINT;setup: Passive
Active  | fingerprint:PRINT
Passive | fingerprint:sha-1 AA:BB;fingerprint:PRINT;setup:passive
none    | fingerprint:PRINT;setup:holdconn
none    | fingerprint:PRINT:00;setup:passive
none    | fingerprint:sha-256 AA:BB;setup:passive
none    | fingerprint:sha-256;setup:passive
none    | fingerprint:sha-1 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD;setup:passive
none    | fingerprint:sha-512 PRINT;setup:passive
none    | fingerprint:PRINT PRINT;setup:passive
none    | fingerprint:PRINT:;setup:passive
none    | fingerprint::PRINT;setup:passive
none    | fingerprint;setup:active
none    | setup:active";

#[test]
fn dtls_roles_and_fingerprints() {
    let want = THEIR_PRINT.to_ascii_uppercase().replace("SHA", "sha");
    for case in FINGERPRINTS.lines().filter(|case| !case.is_empty()) {
        let (role, lines) = case.split_once('|').unwrap();
        let lines = lines.trim().replace("PRINT", THEIR_PRINT);
        let list: Vec<&str> = lines.split(';').collect();
        let audio = stream("UDP/TLS/RTP/SAVP", &list).audio();
        let dtls = audio.and_then(|audio| audio.dtls);
        let got = dtls.as_ref().map(|dtls| format!("{:?}", dtls.setup));
        assert_eq!(got.as_deref().unwrap_or("none"), role.trim(), "{case}");
        assert!(dtls.is_none_or(|dtls| dtls.fingerprint == want), "{case}");
    }
    let odd = THEIR_PRINT.replacen("f0", "g0", 1);
    let audio = stream("UDP/TLS/RTP/SAVP", &[&format!("fingerprint:{odd}")]).audio();
    assert_eq!(audio, None);
}

#[test]
fn dtls_on_one_leg_only() {
    // At the session level too, and without a certificate of ours not at all.
    let offer = parse(&format!(
        "{HEAD}a=fingerprint:{THEIR_PRINT}\r\na=setup:passive\r\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n\
         a=rtcp-fb:* nack\r\na=rtcp-mux\r\na=candidate:1 1 UDP 1 10.0.0.1 4000 typ host\r\na=ice-ufrag:x\r\n"
    ));
    let with = || terms(MediaSecurity::AsOffered, Some(OUR_PRINT), 1);
    let without = || terms(MediaSecurity::AsOffered, None, 1);
    assert_eq!(
        offer.offer_to(&without(), &with(), &PLAIN),
        Err(SdpError::NoUsableKeys)
    );
    let sent = offer.offer_to(&with(), &without(), &PLAIN).unwrap();
    let words = text(&sent);
    assert!(words.contains("m=audio 40000 RTP/SAVP 0\r\n"), "{words}");
    for gone in [
        "fingerprint",
        "setup",
        "rtcp-fb",
        "rtcp-mux",
        "candidate",
        "ice-",
    ] {
        assert!(!words.contains(gone), "{gone} in {words}");
    }
    let line = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}");
    let offered = Offered {
        theirs: &offer,
        told: &sent,
    };
    let answered = stream("RTP/SAVP", &[&line]).answer_to(&offered, &with(), &PLAIN);
    let words = text(&answered.unwrap());
    for there in [
        "UDP/TLS/RTP/SAVPF 0",
        OUR_PRINT,
        "setup:active",
        "a=rtcp-mux",
    ] {
        assert!(words.contains(there), "{there} in {words}");
    }
    assert!(!words.contains("crypto"), "{words}");
}
