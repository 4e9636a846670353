//! From the document to the [`Config`]: names, ranges and defaults of every key.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use duolog_call::RepeatInterval;
use duolog_sip::Transport;
use duolog_sip::sdp::Encoding;
use toml_edit::Document;

use super::document::{Mistake, Section, Source};
use super::units::{duration, ports, size, transport_address};
use super::{
    Announce, Announcements, Codes, Config, Dtls, Dtmf, Format, Log, LogFormat, Media,
    MediaSecurity, Mode, Notice, Sip, Spool, Store, Trunk, User,
};

const ADDRESS: &str = "write udp:HOST:PORT or tcp:HOST:PORT with a numeric host";
const SECONDS: Duration = Duration::from_secs(1);

/// Reads a configuration.
///
/// # Errors
///
/// Every mistake of the text, in the order of its lines.
pub fn read(text: &str) -> Result<Config, Vec<Mistake>> {
    let source = Source::new(text);
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            source.mistake(error.span(), "TOML".into(), error.message().to_string());
            return Err(source.into_mistakes());
        }
    };
    let config = root(Section::root(&source, document.as_table()));
    let mistakes = source.into_mistakes();
    if mistakes.is_empty() {
        Ok(config)
    } else {
        Err(mistakes)
    }
}

fn root(mut root: Section<'_>) -> Config {
    let trunks: Vec<Trunk> = root
        .sections("trunk")
        .into_iter()
        .filter_map(trunk)
        .collect();
    let users = users(root.sections("user"));
    let config = Config {
        sip: sip(root.section("sip")),
        media: media(root.section("media")),
        spool: spool(root.section("spool")),
        store: store(root.section("store")),
        announcements: announcements(root.section("announcements")),
        codes: codes(root.section("codes")),
        trunks,
        users,
        log: log(root.section("log")),
        operations: operations(root.section("operations")),
    };
    root.finish();
    config
}

fn sip(mut section: Section<'_>) -> Sip {
    let local = SocketAddr::from(([127, 0, 0, 1], 5060));
    let both = vec![(Transport::Udp, local), (Transport::Tcp, local)];
    let sip = Sip {
        listen: section.list("listen", both, ADDRESS, transport_address),
        advertise: section.optional("advertise", "write a numeric address", ip),
        ring_timeout: within(&mut section, "ring_timeout", 180 * SECONDS, (5, 600)),
    };
    if sip.listen.is_empty() {
        section.refuse("listen", "needs at least one address".into());
    }
    let anywhere = sip
        .listen
        .iter()
        .any(|(_, address)| address.ip().is_unspecified());
    if anywhere && sip.advertise.is_none() {
        section.refuse(
            "listen",
            "peers can not be told to reach any address; add advertise".into(),
        );
    }
    section.finish();
    sip
}

fn media(mut section: Section<'_>) -> Media {
    let allowed = "write LOW-HIGH with an even LOW of at least 1024 and room for four ports";
    let media = Media {
        address: section.parsed(
            "address",
            IpAddr::from([127, 0, 0, 1]),
            "write a numeric address",
            ip,
        ),
        advertise: section.optional("advertise", "write a numeric address", ip),
        ports: section.parsed("ports", (20000, 29999), allowed, ports),
        threads: section.number("threads", 1, 1..=64) as usize,
        timeout: within(&mut section, "timeout", 60 * SECONDS, (5, 3600)),
        transcode: section.list("transcode", TRANSCODED.to_vec(), CODECS, codec),
        dtls: section.choice("dtls", Dtls::Off, &[("on", Dtls::On), ("off", Dtls::Off)]),
    };
    if media.address.is_unspecified() && media.advertise.is_none() {
        section.refuse(
            "address",
            "peers can not be told to send to any address; add advertise".into(),
        );
    }
    section.finish();
    media
}

fn spool(mut section: Section<'_>) -> Spool {
    let spool = Spool {
        directory: path(&mut section, "directory", "var/spool"),
        buffer: bytes(&mut section, "buffer", 128 << 20, (1 << 20, 64 << 30)),
        floor: bytes(&mut section, "floor", 256 << 20, (16 << 20, 1 << 44)),
    };
    section.finish();
    spool
}

fn store(mut section: Section<'_>) -> Store {
    let formats = [
        ("opus", Format::Opus),
        ("wav-pcm16", Format::WavPcm16),
        ("wav-g711", Format::WavG711),
        ("flac", Format::Flac),
    ];
    let store = Store {
        directory: path(&mut section, "directory", "var/recordings"),
        catalogue: path(&mut section, "catalogue", "var/catalogue.sqlite"),
        format: section.choice("format", Format::Opus, &formats),
    };
    section.finish();
    store
}

fn announcements(mut section: Section<'_>) -> Announcements {
    let announcements = Announcements {
        language: section.parsed("language", "en".into(), LANGUAGE, language),
        directory: section.optional("directory", "write a path", |t| Some(PathBuf::from(t))),
    };
    section.finish();
    announcements
}

fn codes(mut section: Section<'_>) -> Codes {
    let allowed = "write * or # and one to four digits, for example *48";
    let codes = Codes {
        pause: section.parsed("pause", "*48".into(), allowed, code),
        resume: section.parsed("resume", "*49".into(), allowed, code),
    };
    if codes.pause == codes.resume {
        section.refuse("resume", format!("{} already pauses", codes.pause));
    }
    section.finish();
    codes
}

fn trunk(mut section: Section<'_>) -> Option<Trunk> {
    let name = section.required("name", "write a name", some_text);
    let address = section.required("address", ADDRESS, transport_address);
    let media_security = media_security(&mut section);
    section.finish();
    Some(Trunk {
        name: name?,
        address: address?,
        media_security,
    })
}

fn users(sections: Vec<Section<'_>>) -> Vec<User> {
    let mut owners: HashMap<String, String> = HashMap::new();
    let mut users = Vec::new();
    for mut section in sections {
        let user = user(&mut section);
        for number in user.iter().flat_map(|u| &u.numbers) {
            let name = user.as_ref().map_or("", |u| &u.name);
            if let Some(other) = owners.insert(number.clone(), name.into()) {
                section.refuse("numbers", format!("{number} already rings {other}"));
            }
        }
        section.finish();
        users.extend(user);
    }
    users
}

fn user(section: &mut Section<'_>) -> Option<User> {
    let modes = [
        ("never", Mode::Never),
        ("always", Mode::Always),
        ("always-pause-resume", Mode::AlwaysPauseResume),
    ];
    let switch = [("on", Announce::On), ("off", Announce::Off)];
    let notices = [
        ("none", Notice::None),
        ("beep", Notice::Beep),
        ("announcement", Notice::Announcement),
    ];
    let name = section.required("name", "write a name", some_text);
    let numbers = section.list(
        "numbers",
        Vec::new(),
        "write digits, * # and a leading +",
        number,
    );
    let contact = section.required("contact", ADDRESS, transport_address);
    let mode = section.choice("mode", Mode::Never, &modes);
    let announce = section.choice("announce", Announce::Off, &switch);
    let notice = section.choice("notice", Notice::None, &notices);
    let repeat_tone = section.parsed("repeat_tone", None, REPEAT_TONE, repeat_tone);
    let language = section.optional("language", LANGUAGE, language);
    let media_security = media_security(section);
    let dtmf = section.choice(
        "dtmf",
        Dtmf::Keep,
        &[("keep", Dtmf::Keep), ("mask", Dtmf::Mask)],
    );
    let (name, contact) = (name?, contact?);
    Some(User {
        name,
        numbers,
        contact,
        mode,
        announce,
        notice,
        repeat_tone,
        language,
        media_security,
        dtmf,
    })
}

fn log(mut section: Section<'_>) -> Log {
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    let filter = |text: &str| {
        let read = text.parse::<tracing_subscriber::EnvFilter>();
        read.is_ok().then(|| text.to_string())
    };
    let log = Log {
        format: section.choice("format", LogFormat::Text, &formats),
        filter: section.parsed(
            "filter",
            "info".into(),
            "write for example info,duolog=debug",
            filter,
        ),
    };
    section.finish();
    log
}

fn operations(mut section: Section<'_>) -> SocketAddr {
    let default = SocketAddr::from(([127, 0, 0, 1], 9060));
    let listen = section.parsed(
        "listen",
        default,
        "write HOST:PORT with a numeric host",
        |t| t.parse().ok(),
    );
    section.finish();
    listen
}

fn media_security(section: &mut Section<'_>) -> MediaSecurity {
    let words = [
        ("as-offered", MediaSecurity::AsOffered),
        ("never", MediaSecurity::Never),
        ("always", MediaSecurity::Always),
    ];
    section.choice("media_security", MediaSecurity::AsOffered, &words)
}

/// What is cheap to transcode and what every phone and trunk can.
const TRANSCODED: [Encoding; 2] = [Encoding::Pcma, Encoding::Pcmu];
const CODECS: &str = "write pcmu, pcma, g722, g729, opus, or l16/ and a rate of 8000, 16000, 32000, \
                      44100 or 48000";

fn codec(text: &str) -> Option<Encoding> {
    let linear = |rate: &str| {
        let rate_hz = match rate {
            "8000" => 8_000,
            "16000" => 16_000,
            "32000" => 32_000,
            "44100" => 44_100,
            "48000" => 48_000,
            _ => return None,
        };
        Some(Encoding::L16 {
            rate_hz,
            channels: 1,
        })
    };
    match text {
        "pcmu" => Some(Encoding::Pcmu),
        "pcma" => Some(Encoding::Pcma),
        "g722" => Some(Encoding::G722),
        "g729" => Some(Encoding::G729),
        "opus" => Some(Encoding::Opus),
        _ => linear(text.strip_prefix("l16/")?),
    }
}

const LANGUAGE: &str = "write a language as in en or nl";
const REPEAT_TONE: &str = "write 10s to 90s, on for 20s, or off";

/// E5: 10 to 90 whole seconds, 20 where only `on` is said; refused outside, never clamped.
fn repeat_tone(text: &str) -> Option<Option<Duration>> {
    match text {
        "off" => Some(None),
        "on" => Some(Some(RepeatInterval::default().duration())),
        _ => duration(text)
            .filter(|d| (10 * SECONDS..=90 * SECONDS).contains(d) && d.subsec_nanos() == 0)
            .map(Some),
    }
}

fn language(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c == '-';
    (text.len() >= 2 && text.len() <= 8 && text.chars().all(plain)).then(|| text.into())
}

fn code(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let first = chars.next().is_some_and(|c| c == '*' || c == '#');
    let rest = chars.clone().count();
    (first && (1..=4).contains(&rest) && chars.all(|c| c.is_ascii_digit())).then(|| text.into())
}

fn number(text: &str) -> Option<String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let allowed = |c: char| c.is_ascii_digit() || c == '*' || c == '#';
    (!digits.is_empty() && digits.chars().all(allowed)).then(|| text.into())
}

fn some_text(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.into())
}

fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn path(section: &mut Section<'_>, key: &'static str, default: &str) -> PathBuf {
    let some = |t: &str| some_text(t).map(PathBuf::from);
    section.parsed(key, PathBuf::from(default), "write a path", some)
}

/// A duration within whole seconds `low..=high`.
fn within(
    section: &mut Section<'_>,
    key: &'static str,
    default: Duration,
    (low, high): (u32, u32),
) -> Duration {
    let allowed = format!("write {low}s to {high}s");
    let range = low * SECONDS..=high * SECONDS;
    section.parsed(key, default, &allowed, |t| {
        duration(t).filter(|d| range.contains(d))
    })
}

/// A size within `low..=high` bytes.
fn bytes(
    section: &mut Section<'_>,
    key: &'static str,
    default: u64,
    (low, high): (u64, u64),
) -> u64 {
    let allowed = format!("write {}MiB to {}MiB", low >> 20, high >> 20);
    section.parsed(key, default, &allowed, |t| {
        size(t).filter(|s| (low..=high).contains(s))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_configuration_is_right_and_an_empty_one_is_all_defaults() {
        let embedded = read(super::super::EMBEDDED).expect("shipped with the program");
        assert!(!embedded.users.is_empty() && !embedded.trunks.is_empty());
        let empty = read("").expect("every section has defaults");
        assert_eq!(empty.media.ports, (20000, 29999));
        assert_eq!(empty.store.format, Format::Opus);
    }

    #[test]
    fn every_mistake_is_told_at_once_with_line_value_and_range() {
        let text = "[sip]\nlisten = [\"tls:127.0.0.1:5061\"]\n[media]\nthreads = 0\nprots = \"1-2\"\n\
                    [[user]]\nname = \"a\"\ncontact = \"udp:127.0.0.1:5070\"\nrepeat_tone = \"9s\"\n\
                    [[user]]\nname = \"b\"\nrepeat_tone = \"91s\"\nmode = \"sometimes\"\n";
        let mistakes = read(text).expect_err("seven mistakes");
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        let expected = [
            "line 2: sip.listen: \"tls:127.0.0.1:5061\" is not allowed; write udp:HOST:PORT",
            "line 2: sip.listen: needs at least one address",
            "line 4: media.threads: 0 is outside 1..64",
            "line 5: media.prots: unknown key; did you mean ports?",
            "line 9: user[0].repeat_tone: \"9s\" is not allowed; write 10s to 90s, on for 20s, or off",
            "line 10: user[1].contact: is missing; write udp:HOST:PORT",
            "line 12: user[1].repeat_tone: \"91s\" is not allowed; write 10s to 90s, on for 20s, or off",
            "line 13: user[1].mode: \"sometimes\" is not allowed; one of never, always, always-pause-resume",
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
    fn repeat_tone_is_ten_to_ninety_seconds() {
        let check = |text: &str, expected: Option<Option<u64>>| {
            assert_eq!(
                repeat_tone(text),
                expected.map(|o| o.map(Duration::from_secs)),
                "{text}"
            );
        };
        check("10s", Some(Some(10)));
        check("20s", Some(Some(20)));
        check("90s", Some(Some(90)));
        check("on", Some(Some(20)));
        check("off", Some(None));
        for refused in [
            "9s", "91s", "9999ms", "90001ms", "10500ms", "0s", "twenty", "",
        ] {
            check(refused, None);
        }
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
            &[
                "line 2: store.format: \"mp3\" is not allowed; one of opus, wav-pcm16, wav-g711, flac",
            ],
        );
        check(
            &format!("[media]\ntranscoding = []\n{TRUNK}security = \"never\"\n"),
            &[
                "line 2: media.transcoding: unknown key; did you mean transcode?",
                "line 6: trunk[0].security: unknown key; known here: name, address, media_security",
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
        assert_eq!(config.users[0].dtmf, Dtmf::Mask);
        let none = read("[media]\ntranscode = []\n").expect("nothing is transcoded");
        assert!(none.media.transcode.is_empty());
        let plain = read(&format!("{TRUNK}{USER}")).expect("all of it has defaults");
        assert_eq!(
            (plain.media.dtls, plain.media.transcode),
            (Dtls::Off, TRANSCODED.to_vec())
        );
        assert_eq!(plain.trunks[0].media_security, MediaSecurity::AsOffered);
        assert_eq!(plain.users[0].media_security, MediaSecurity::AsOffered);
        assert_eq!(plain.users[0].dtmf, Dtmf::Keep);
    }

    #[test]
    fn the_embedded_configuration_says_what_may_stand_there() {
        let said = super::super::EMBEDDED;
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
}
