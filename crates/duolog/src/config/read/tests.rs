use super::words::repeat_tone;
use super::*;
use crate::config::MediaSecurity;
use duolog_call::{Dtmf, RepeatInterval};
use duolog_sip::sdp::Encoding;

#[test]
fn the_embedded_configuration_is_right_and_an_empty_one_is_all_defaults() {
    let embedded = read(crate::config::EMBEDDED).expect("shipped with the program");
    assert!(!embedded.users.is_empty() && !embedded.trunks.is_empty());
    let empty = read("").expect("every section has defaults");
    assert_eq!(empty.media.ports, (20000, 29999));
    assert_eq!(empty.store.format, Format::Opus);
}

#[test]
fn every_mistake_is_told_at_once_with_line_value_and_range() {
    let text = "[sip]\nlisten = [\"sctp:127.0.0.1:5061\"]\n[media]\nthreads = 0\nprots = \"1-2\"\n\
                [[user]]\nname = \"a\"\ncontact = \"udp:127.0.0.1:5070\"\nrepeat_tone = \"9s\"\n\
                [[user]]\nname = \"b\"\nrepeat_tone = \"91s\"\nmode = \"sometimes\"\n";
    let mistakes = read(text).expect_err("seven mistakes");
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let expected = [
        "line 2: sip.listen: \"sctp:127.0.0.1:5061\" is not allowed; write udp:HOST:PORT",
        "line 2: sip.listen: needs at least one address",
        "line 4: media.threads: 0 is outside 1..64",
        "line 5: media.prots: unknown key; did you mean ports?",
        "line 9: user[0].repeat_tone: \"9s\" is not allowed; write 10s to 90s, on for 20s, or off",
        "line 10: user[1].contact: is missing; write udp:HOST:PORT",
        "line 12: user[1].repeat_tone: \"91s\" is not allowed; write 10s to 90s, on for 20s, or off",
        "line 13: user[1].mode: \"sometimes\" is not allowed; one of never, on-demand, on-demand-user-start, always, always-pause-resume",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(
            told.starts_with(expected),
            "{told}\nshould start with\n{expected}"
        );
    }
}

#[test]
fn repeat_tone_is_ten_to_ninety_seconds_or_as_long_as_was_opened() {
    let check = |text: &str, longest_s: u32, expected: Option<Option<u32>>| {
        let read = repeat_tone(text, longest_s).map(|tone| tone.map(RepeatInterval::seconds));
        assert_eq!(read, expected, "{text} of {longest_s}");
    };
    for longest_s in [90, 1800] {
        check("10s", longest_s, Some(Some(10)));
        check("20s", longest_s, Some(Some(20)));
        check("90s", longest_s, Some(Some(90)));
        check("on", longest_s, Some(Some(20)));
        check("off", longest_s, Some(None));
        for refused in [
            "9s",
            "9999ms",
            "10500ms",
            "0s",
            "twenty",
            "",
            "1801s",
            "4295000000s",
        ] {
            check(refused, longest_s, None);
        }
    }
    for (text, longest_s, seconds) in [("91s", 91, 91), ("1800s", 1800, 1800), ("30m", 1800, 1800)]
    {
        check(text, 90, None);
        check(text, longest_s - 1, None);
        check(text, longest_s, Some(Some(seconds)));
    }
    check("90001ms", 1800, None);
}

const USER: &str = "[[user]]\nname = \"x\"\ncontact = \"udp:127.0.0.1:1\"\n";
const TRUNK: &str = "[[trunk]]\nname = \"x\"\naddress = \"udp:127.0.0.1:1\"\n";

#[test]
fn media_and_formats_that_are_not_known_are_named_with_what_is() {
    let check = |text: &str, expected: &[&str]| {
        let mistakes = read(text).expect_err(text);
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(told, expected, "{text}");
    };
    let codecs = format!("is not allowed; {CODECS}");
    for word in [
        "gsm",
        "PCMA",
        "l16",
        "l16/",
        "l16/9000",
        "l16/+8000",
        "l16/16000/2",
        "g729a",
        "",
    ] {
        let expected = format!("line 2: media.transcode: \"{word}\" {codecs}");
        check(
            &format!("[media]\ntranscode = [\"pcma\", \"{word}\"]\n"),
            &[&expected],
        );
    }
    let list = format!("line 3: media.transcode: must be a list of texts; {CODECS}");
    check("[media]\n\ntranscode = \"pcma\"\n", &[&list]);
    let number = format!("line 2: media.transcode: 8 {codecs}");
    check("[media]\ntranscode = [8]\n", &[&number]);
    for word in ["\"yes\"", "\"ON\"", "true"] {
        let expected = format!("line 2: media.dtls: {word} is not allowed; one of on, off");
        check(&format!("[media]\ndtls = {word}\n"), &[&expected]);
    }
    for word in ["\"sometimes\"", "\"as_offered\"", "false"] {
        let what =
            format!("media_security: {word} is not allowed; one of as-offered, never, always");
        let line = format!("media_security = {word}\n");
        check(
            &format!("{TRUNK}{line}"),
            &[&format!("line 4: trunk[0].{what}")],
        );
        check(
            &format!("{USER}{line}"),
            &[&format!("line 4: user[0].{what}")],
        );
    }
    check(
        &format!("{USER}dtmf = \"drop\"\n"),
        &["line 4: user[0].dtmf: \"drop\" is not allowed; one of keep, mask"],
    );
    check(
        "[store]\nformat = \"mp3\"\n",
        &["line 2: store.format: \"mp3\" is not allowed; one of opus, wav-pcm16, wav-g711, flac"],
    );
    check(
        &format!("[media]\ntranscoding = []\n{TRUNK}security = \"never\"\n"),
        &[
            "line 2: media.transcoding: unknown key; did you mean transcode?",
            "line 6: trunk[0].security: unknown key; known here: name, address, networks, certificate, user, password, \
                 password_file, realm, inward, outward, trust, kind, redirects, ping, media_security",
        ],
    );
}

#[test]
fn media_and_formats_that_are_known_are_read() {
    let linear = |rate_hz| Encoding::L16 {
        rate_hz,
        channels: 1,
    };
    let text = format!(
        "[media]\ntranscode = [\"pcmu\", \"pcma\", \"g722\", \"g729\", \"opus\", \"l16/8000\", \"l16/48000\"]\n\
         dtls = \"on\"\n[store]\nformat = \"flac\"\n{TRUNK}media_security = \"always\"\n\
         {USER}media_security = \"never\"\ndtmf = \"mask\"\n"
    );
    let config = read(&text).expect("every key is right");
    let all = [
        Encoding::Pcmu,
        Encoding::Pcma,
        Encoding::G722,
        Encoding::G729,
        Encoding::Opus,
        linear(8_000),
        linear(48_000),
    ];
    assert_eq!(config.media.transcode, all);
    assert_eq!(
        (config.media.dtls, config.store.format),
        (Dtls::On, Format::Flac)
    );
    assert_eq!(config.trunks[0].media_security, MediaSecurity::Always);
    assert_eq!(config.users[0].media_security, MediaSecurity::Never);
    assert_eq!(config.users[0].recording.settled().dtmf, Dtmf::Mask);
    let none = read("[media]\ntranscode = []\n").expect("nothing is transcoded");
    assert!(none.media.transcode.is_empty());
    let plain = read(&format!("{TRUNK}{USER}")).expect("all of it has defaults");
    assert_eq!(
        (plain.media.dtls, plain.media.transcode),
        (Dtls::Off, TRANSCODED.to_vec())
    );
    assert_eq!(plain.trunks[0].media_security, MediaSecurity::AsOffered);
    assert_eq!(plain.users[0].media_security, MediaSecurity::AsOffered);
    assert_eq!(plain.users[0].recording.settled().dtmf, Dtmf::Keep);
}

#[test]
fn the_embedded_configuration_says_what_may_stand_there() {
    let said = crate::config::EMBEDDED;
    for word in [
        "pcmu, pcma, g722, opus, l16/16000, and g729",
        "transcode = ",
        "on or off.\ndtls = ",
        "opus, flac, wav-pcm16 or wav-g711",
        "as-offered by the other party, never, or always",
        "media_security = ",
        "keep, or mask",
        "dtmf = ",
    ] {
        assert!(said.contains(word), "{word}");
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let check = |text: &str, expected: &str| {
        let mistakes = read(text).expect_err(text);
        assert!(
            mistakes.iter().any(|m| m.to_string().contains(expected)),
            "{mistakes:#?}"
        );
    };
    check(
        "[codes]\npause = \"*48\"\nresume = \"*48\"\n",
        "*48 already pauses",
    );
    let user = "[[user]]\nname = \"x\"\ncontact = \"udp:127.0.0.1:1\"\nnumbers = [\"100\"]\n";
    check(&format!("{user}{user}"), "100 already rings x");
    check("[sip]\nlisten = [\"udp:0.0.0.0:5060\"]\n", "add advertise");
    check("[media]\naddress = \"::\"\n", "add advertise");
    check("[sip\n", "line 1: TOML");
    check("user = 3\n", "[[user]]");
}

/// The mistakes of a text, or nothing.
fn told(text: &str) -> Vec<String> {
    let mistakes = read(text).err().unwrap_or_default();
    mistakes.iter().map(ToString::to_string).collect()
}

const TLS: &str = "[sip]\nlisten = [\"udp:127.0.0.1:5060\", \"tls:127.0.0.1:5061\"]\n[sip.tls]\n\
    certificate = \"own.pem\"\nkey = \"own.key\"\nclient_roots = \"roots.pem\"\nclients = \"optional\"\n";

#[test]
fn signalling_is_read() {
    let text = format!(
        "{TLS}[registrar]\nrealm = \"example.net\"\nalgorithms = [\"md5\"]\nmin_expires = \"30s\"\n\
         expires = \"10m\"\nmax_expires = \"1h\"\ncontacts = 3\n[dns]\nservers = [\"192.0.2.53\", \"[::1]:5353\"]\n\
         [limits]\nallow = [\"192.0.2.0/24\"]\ndeny = [\"192.0.2.66\"]\n[limits.strangers]\ninvites = \"1/s\"\n\
         others = \"3/s burst 40\"\n"
    );
    let config = read(&text).expect("every key is right");
    assert_eq!(config.sip.listen[1].0, duolog_sip::Transport::Tls);
    assert_eq!(config.sip.tls.clients, crate::config::Clients::Optional);
    let registrar = &config.registrar;
    assert_eq!(registrar.expires_s, (30, 600, 3600));
    assert_eq!(
        (registrar.realm.as_str(), registrar.contacts),
        ("example.net", 3)
    );
    let servers: Vec<String> = config.dns.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.53:53", "[::1]:5353"]);
    let (invites, others) = (
        config.limits.strangers.invites,
        config.limits.strangers.others,
    );
    assert_eq!((invites.per_s, invites.burst), (1.0, 10.0));
    assert_eq!((others.per_s, others.burst), (3.0, 40.0));
    assert_eq!(
        (config.limits.allow.len(), config.limits.deny.len()),
        (1, 1)
    );
}

/// A text, and what a mistake in it says.
const SIGNALLING: &[(&str, &str)] = &[
    (
        "[sip]\nlisten = [\"tls:127.0.0.1:5061\"]\n",
        "line 2: sip.listen: tls needs sip.tls.certificate",
    ),
    (
        "[sip.tls]\nkey = \"x\"\n",
        "line 2: sip.tls.key: needs a certificate",
    ),
    (
        "[sip.tls]\ncertificate = \"x\"\n",
        "line 2: sip.tls.certificate: needs a key",
    ),
    (
        "[sip.tls]\nclients = \"required\"\n",
        "line 2: sip.tls.clients: needs client_roots",
    ),
    (
        "[sip]\nsession_expires = \"89s\"\n",
        "is not allowed; write 90s to 86400s",
    ),
    (
        "[sip]\nsession_expires = \"2m\"\nmin_se = \"3m\"\n",
        "sip.session_expires: is shorter than min_se",
    ),
    (
        "[sip]\nadvertise = [\"192.0.2.1\", \"192.0.2.2\"]\n",
        "there may be one IPv4 and one IPv6 address",
    ),
    (
        "[registrar]\nmin_expires = \"2h\"\n",
        "registrar.expires: must lie between min_expires and max_expires",
    ),
    (
        "[registrar]\nalgorithms = []\n",
        "registrar.algorithms: needs at least one",
    ),
    (
        "[registrar]\nalgorithms = [\"sha1\"]\n",
        "\"sha1\" is not allowed; write sha-256 or md5",
    ),
    (
        "[registrar]\nrealm = \"a\\\"b\"\n",
        "write a name without quotes",
    ),
    (
        "[dns]\nservers = [\"ns.example.net\"]\n",
        "write ADDRESS or ADDRESS:PORT",
    ),
    (
        "[limits]\ndeny = [\"192.0.2.1/24\"]\n",
        "with no bits behind it",
    ),
    (
        "[limits.strangers]\nbad = \"0/s\"\n",
        "write 1/s to 100000/s",
    ),
    (
        "[limits.strangers]\nbad = \"9/s burst 8\"\n",
        "write 1/s to 100000/s",
    ),
    (
        "[limits.strangers]\nbads = \"9/s\"\n",
        "limits.strangers.bads: unknown key; did you mean bad?",
    ),
    (
        "[numbering]\nroutes = [{ prefix = \"+31\", trunk = \"x\" }]\n",
        "numbering.routes[0].trunk: there is no trunk x",
    ),
    (
        "[numbering]\nroutes = [\"+31\"]\n",
        "numbering.routes: must be written as [[numbering.routes]] tables",
    ),
    (
        "[api]\ntoken = \"secret\"\n",
        "api.token: must be written as [[api.token]] tables",
    ),
    (
        "[numbering]\nemergency = [\"help\"]\n",
        "numbering.emergency: \"help\" is not allowed",
    ),
    (
        "[media]\naddress = [\"192.0.2.1\", \"192.0.2.2\"]\n",
        "media.address: there may be one IPv4",
    ),
    (
        "[media]\naddress = []\n",
        "media.address: needs at least one address",
    ),
    (
        "[media]\naddress = [\"192.0.2.1\", \"::\"]\nadvertise = \"192.0.2.9\"\n",
        "add advertise",
    ),
];

#[test]
fn mistakes_of_signalling_are_named() {
    for (text, expected) in SIGNALLING {
        let told = told(text);
        assert!(
            told.iter().any(|told| told.contains(expected)),
            "{text}\n{told:#?}\n{expected}"
        );
    }
}

#[test]
fn trunks_are_read_whole() {
    let text = format!(
        "{TLS}[[trunk]]\nname = \"carrier\"\naddress = \"sip:SIP.Example.net.;transport=tls\"\n\
         networks = [\"192.0.2.0/24\", \"2001:db8::/32\"]\ncertificate = \"sip:SIP.example.net\"\nuser = \"duolog\"\n\
         password = \"sesame\"\nrealm = \"example.net\"\nregister = {{ aor = \"sip:31201@example.net\", expires = \"30m\" }}\n\
         trust = \"trusted\"\nkind = \"internal\"\nredirects = \"pass-on\"\n\
         inward = [{{ prefix = \"00\", instead = \"+\" }}, {{ prefix = \"0\", instead = \"+31\" }}]\n\
         [[trunk.outward]]\nprefix = \"+\"\ninstead = \"00\"\n\
         [numbering]\nemergency = [\"112\"]\nroutes = [{{ prefix = \"+31\", trunk = \"carrier\" }}]\n"
    );
    let config = read(&text).expect("every key is right");
    let trunk = &config.trunks[0];
    let destination = &trunk.destination;
    use duolog_reach::hops::Host;
    assert_eq!(destination.host, Host::Name("sip.example.net".into()));
    assert_eq!(destination.transport, Some(duolog_sip::Transport::Tls));
    assert_eq!((destination.port, trunk.networks.len()), (None, 2));
    assert_eq!(trunk.certificate.as_deref(), Some("sip.example.net"));
    let credentials = trunk.credentials.as_ref().expect("they are there");
    assert_eq!(credentials.secret.expose(), "sesame");
    let register = trunk.register.as_ref().expect("it is there");
    assert_eq!(
        (register.aor.to_string(), register.expires_s),
        ("sip:31201@example.net".into(), 1800)
    );
    assert_eq!(
        (trunk.numbers.inward.len(), trunk.numbers.outward.len()),
        (2, 1)
    );
    assert_eq!(trunk.numbers.outward[0].instead, "00");
    assert_eq!(config.numbering.routes[0].trunk, "carrier");
    assert!(
        !format!("{config:?}").contains("sesame"),
        "it is never printed"
    );
}

/// Lines of a trunk, and what a mistake in them says.
const OF_TRUNKS: &[(&str, &str)] = &[
    ("user = \"x\"", "user: needs a password or a password_file"),
    ("password = \"sesame\"", "password: needs a user"),
    ("user = \"x\"\npassword = 7272", "password: must be a text"),
    ("user = \"x\"\npassword = \"\"", "password: must be a text"),
    (
        "user = \"x\"\npassword = \"sesame\"\npassword_file = \"/etc/hostname\"",
        "there is a password already",
    ),
    (
        "user = \"x\"\npassword_file = \"/nowhere/at/all\"",
        "password_file: /nowhere/at/all can not be read",
    ),
    (
        "user = \"x\"\npassword_file = \"/dev/null\"",
        "/dev/null has no first line",
    ),
    ("realm = \"x\"", "realm: needs a user"),
    (
        "certificate = \"x\"",
        "certificate: needs sip.tls.client_roots",
    ),
    ("register = {}", "register.aor: is missing"),
    (
        "register = { aor = \"sip:example.net\" }",
        "write sip:USER@HOST",
    ),
    (
        "register = { aor = \"sip:a@example.net\", expires = \"59s\" }",
        "write 60s to 86400s",
    ),
    ("kind = \"pbx\"", "one of pstn, internal, voicemail"),
    ("trust = \"yes\"", "one of trusted, untrusted"),
    ("redirects = \"pass\"", "one of follow, pass-on"),
    ("ping = \"5s\"", "one of on, off"),
    (
        "inward = [{ prefix = \"x\", instead = \"\" }]",
        "inward[0].prefix",
    ),
    (
        "outward = [{ prefix = \"0\" }]",
        "outward[0].instead: is missing",
    ),
];

/// Addresses that no trunk can have here.
const NOWHERE: &[(&str, &str)] = &[
    ("tls:127.0.0.1:1", "sip.listen has no tls address"),
    ("udp:[::1]:1", "sip.listen has no udp address"),
    ("sip:a@b", "is not allowed; write udp:HOST:PORT"),
    ("sip:b;transport=ws", "is not allowed; write udp:HOST:PORT"),
    ("udp:b:1", "is not allowed; write udp:HOST:PORT"),
];

#[test]
fn mistakes_of_trunks_are_named_and_show_no_secret() {
    let lines =
        |(lines, expected): &(&str, &str)| (format!("{TRUNK}{lines}\n"), (*expected).to_owned());
    let address = |(address, expected): &(&str, &str)| {
        let text = format!("[[trunk]]\nname = \"x\"\naddress = \"{address}\"\n");
        (text, (*expected).to_owned())
    };
    let whole = [
        (
            format!("{TRUNK}{TRUNK}"),
            "trunk[1].name: x is already a trunk",
        ),
        (format!("{USER}{USER}"), "user[1].name: x is already a user"),
        (
            "[[user]]\nname = \"x\"\n".into(),
            "user[0].contact: is missing",
        ),
        (
            format!("{USER}voicemail = \"yes\"\n"),
            "one of recorded, left",
        ),
        (
            format!("{USER}mailbox = {{ answer_after = \"4s\" }}\n"),
            "write 5s to 120s",
        ),
        (
            format!("{USER}mailbox = {{ longest = \"11m\" }}\n"),
            "write 10s to 600s",
        ),
        (format!("{USER}mailbox = true\n"), "must be a table"),
        (
            format!("{USER}mailbox = {{ greeting = \"hi\" }}\n"),
            "mailbox.greeting",
        ),
    ];
    let whole = whole.map(|(text, expected)| (text, expected.to_owned()));
    let all = OF_TRUNKS
        .iter()
        .map(lines)
        .chain(NOWHERE.iter().map(address));
    for (text, expected) in all.chain(whole) {
        let told = told(&text);
        assert!(
            told.iter().any(|told| told.contains(&expected)),
            "{text}\n{told:#?}\n{expected}"
        );
        for secret in ["sesame", "7272"] {
            assert!(!told.iter().any(|told| told.contains(secret)), "{told:#?}");
        }
    }
}

#[test]
fn phones_may_register_with_a_password_of_a_file() {
    let file = tempfile::NamedTempFile::new().expect("a scratch file");
    std::fs::write(file.path(), "open sesame\nnot this\n").expect("written");
    let path = file.path().display();
    let text = format!(
        "[[user]]\nname = \"x\"\npassword_file = \"{path}\"\nvoicemail = \"recorded\"\n\
         [[user]]\nname = \"y\"\ncontact = \"tcp:127.0.0.1:5070\"\n"
    );
    let config = read(&text).expect("every key is right");
    let secret = config.users[0].password.as_ref().expect("it was read");
    assert_eq!(secret.expose(), "open sesame");
    assert_eq!(
        (config.users[0].contact, config.users[1].contact.is_some()),
        (None, true)
    );
    assert_eq!(
        config.users[0].recording.settled().voicemail,
        duolog_call::Voicemail::Recorded
    );
    assert!(!format!("{config:?}").contains("sesame"));
}

/// Each example that stands behind a `#` is right where it stands.
#[test]
fn the_examples_of_the_embedded_configuration_are_right() {
    let lines: Vec<&str> = crate::config::EMBEDDED.lines().collect();
    let key = |line: &str| {
        let (key, _) = line.split_once(" = ")?;
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        key.chars().all(plain).then(|| key.to_owned())
    };
    let mut examples = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some((example, key_of_it)) = line
            .strip_prefix("# ")
            .and_then(|example| Some((example, key(example)?)))
        else {
            continue;
        };
        examples += 1;
        let stands = |(n, line): (usize, &&str)| {
            let same = key(line).as_deref() == Some(key_of_it.as_str());
            match (n == at, same && n > at && n < at + 4) {
                (true, _) => Some(example.to_owned()),
                (_, true) => None,
                _ => Some((*line).to_owned()),
            }
        };
        let text: Vec<String> = lines.iter().enumerate().filter_map(stands).collect();
        for told in told(&text.join("\n")) {
            let wrong = ["unknown key", "not allowed", "must be", "TOML", "outside"];
            assert!(
                !wrong.iter().any(|wrong| told.contains(wrong)),
                "{example}: {told}"
            );
        }
    }
    assert!(examples > 10, "{examples}");
}
