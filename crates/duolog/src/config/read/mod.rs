//! From the document to the [`Config`]: names, ranges and defaults of every key.

mod announcements;
mod doors;
mod parties;
mod recording;
mod signalling;
mod words;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml_edit::Document;

use super::document::{Mistake, Section, Source};
use super::units::{duration, ports, size};
use super::{Config, Dtls, Format, Log, LogFormat, Media, Spool, Store};
use recording::Levels;
use words::{CODECS, TRANSCODED, codec, ip, some_text};

pub use recording::document;

const SECONDS: Duration = Duration::from_secs(1);

/// Reads a configuration.
///
/// # Errors
///
/// Every mistake of the text, in the order of its lines.
pub fn read(text: &str) -> Result<Config, Vec<Mistake>> {
    let source = Source::toml(text);
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
    let sip = signalling::sip(root.section("sip"));
    let trunks = parties::trunks(root.sections("trunk"), &sip);
    let (levels, recording) = Levels::read(&mut root);
    let users = parties::users(root.sections("user"), &sip, &levels);
    let config = Config {
        registrar: signalling::registrar(root.section("registrar")),
        dns: signalling::dns(root.section("dns")),
        limits: signalling::limits(root.section("limits")),
        numbering: signalling::numbering(root.section("numbering"), &trunks),
        media: media(root.section("media")),
        spool: spool(root.section("spool")),
        store: store(root.section("store")),
        announcements: announcements::announcements(root.section("announcements")),
        recording,
        log: log(root.section("log")),
        doors: doors::doors(&mut root, &users),
        sip,
        trunks,
        users,
    };
    root.finish();
    config
}

fn media(mut section: Section<'_>) -> Media {
    let allowed = "write LOW-HIGH with an even LOW of at least 1024 and room for four ports";
    let here = vec![IpAddr::from([127, 0, 0, 1])];
    let media = Media {
        address: section.one_or_more("address", here, ADDRESSES, ip),
        advertise: section.one_or_more("advertise", Vec::new(), ADDRESSES, ip),
        ports: section.parsed("ports", (20000, 29999), allowed, ports),
        threads: section.number("threads", 1, 1..=64) as usize,
        timeout: within(&mut section, "timeout", 60 * SECONDS, (5, 3600)),
        transcode: section.list("transcode", TRANSCODED.to_vec(), CODECS, codec),
        dtls: section.choice("dtls", Dtls::Off, &[("on", Dtls::On), ("off", Dtls::Off)]),
    };
    one_of_a_family(&section, "address", &media.address);
    if media.address.is_empty() {
        section.refuse("address", "needs at least one address".into());
    }
    one_of_a_family(&section, "advertise", &media.advertise);
    let untold = |bound: &&IpAddr| media.told(**bound).is_unspecified();
    if media.address.iter().any(|bound| untold(&bound)) {
        section.refuse(
            "address",
            "peers can not be told to send to any address; add advertise".into(),
        );
    }
    section.finish();
    media
}

const ADDRESSES: &str = "write a numeric address, or a list of one IPv4 and one IPv6 address";

/// Peers are told one address of their family.
fn one_of_a_family(section: &Section<'_>, key: &'static str, addresses: &[IpAddr]) {
    let v4 = addresses.iter().filter(|address| address.is_ipv4()).count();
    if v4 > 1 || addresses.len() - v4 > 1 {
        let what = "there may be one IPv4 and one IPv6 address".into();
        section.refuse(key, what);
    }
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
mod tests;
