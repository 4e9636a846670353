//! The configuration: one TOML file, every mistake reported at once, before a port is bound.

mod document;
mod doors;
mod parties;
mod read;
mod recording;
mod signalling;
mod units;
mod written;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use duolog_audio::tone::ToneShape;
use duolog_reach::limits::LimitSettings;
use duolog_reach::registrar::RegistrarSettings;
use duolog_sip::sdp::Encoding;

pub use document::Mistake;
pub use doors::{Api, ApiRight, Doors, Token};
pub use parties::{MediaSecurity, Trunk, User};
pub use read::{document, read};
pub use recording::{Codes, Layer, Recording};
pub use signalling::{Clients, Dns, Numbering, Route, Session, Sip, Tls};
pub(crate) use units::duration;
pub use written::{written, written_whole};

/// The configuration that `duolog serve` runs with where no file is given: loopback only.
pub const EMBEDDED: &str = include_str!("../../../../deploy/embedded.toml");

/// Everything a node is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where SIP is heard.
    pub sip: Sip,
    /// How phones register.
    pub registrar: RegistrarSettings,
    /// How names are looked up.
    pub dns: Dns,
    /// How much one source may ask.
    pub limits: LimitSettings,
    /// Which numbers mean what.
    pub numbering: Numbering,
    /// Where RTP is heard.
    pub media: Media,
    /// Where audio waits until the archive has it.
    pub spool: Spool,
    /// Where recordings end up.
    pub store: Store,
    /// What parties hear.
    pub announcements: Announcements,
    /// What holds for all recordings.
    pub recording: Recording,
    /// Neighbours that calls come from and go to.
    pub trunks: Vec<Trunk>,
    /// People whose calls may be recorded.
    pub users: Vec<User>,
    /// How the node logs.
    pub log: Log,
    /// Where HTTP is served.
    pub doors: Doors,
}

/// `[media]`
#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    /// Addresses that RTP sockets bind and that SDP names, unless `advertise` says otherwise: one, or
    /// one of each family.
    pub address: Vec<IpAddr>,
    /// Addresses that SDP names, where they differ (behind NAT): at most one of each family.
    pub advertise: Vec<IpAddr>,
    /// First and last port.
    pub ports: (u16, u16),
    /// Relay threads.
    pub threads: usize,
    /// Time without any RTP on both legs after which a call is ended.
    pub timeout: Duration,
    /// Codecs that are offered to the called party beside those of the caller, and transcoded.
    pub transcode: Vec<Encoding>,
    /// Whether media secured by DTLS-SRTP is taken.
    pub dtls: Dtls,
}

impl Media {
    /// What peers are told instead of a bound address.
    pub fn told(&self, bound: IpAddr) -> IpAddr {
        told(&self.advertise, bound)
    }
}

/// The address of `advertise` that stands for a bound one: that of its family, else itself.
fn told(advertise: &[IpAddr], bound: IpAddr) -> IpAddr {
    let same = |told: &&IpAddr| told.is_ipv4() == bound.is_ipv4();
    advertise.iter().find(same).copied().unwrap_or(bound)
}

/// Whether media secured by DTLS-SRTP (RFC 5763) is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtls {
    /// With a certificate made at the start.
    On,
    /// Not at all.
    Off,
}

/// `[spool]`
#[derive(Debug, Clone, PartialEq)]
pub struct Spool {
    /// Directory of the spool.
    pub directory: PathBuf,
    /// Audio held in memory, in bytes, while the disk does not answer.
    pub buffer: u64,
    /// Free space, in bytes, below which new calls are refused.
    pub floor: u64,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// Directory of the recordings.
    pub directory: PathBuf,
    /// File of the catalogue.
    pub catalogue: PathBuf,
    /// Format of finished recordings.
    pub format: Format,
}

/// How finished recordings are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Ogg Opus, one uncoupled stream per party.
    Opus,
    /// WAV with 16 bit samples.
    WavPcm16,
    /// WAV with the G.711 codes as they were received.
    WavG711,
    /// FLAC with 16 bit samples.
    Flac,
}

/// `[announcements]`
#[derive(Debug, Clone, PartialEq)]
pub struct Announcements {
    /// Language where a user has none of their own.
    pub language: String,
    /// Directory with own prompts, used before the shipped ones: `<language>/<prompt>.<any audio format>`
    /// for everybody, the same below `groups/<group>` and `users/<user>` for those.
    pub directory: Option<PathBuf>,
    /// By how many dB prompts are made louder than their files, -40 to 20.
    pub prompt_level_db: i32,
    /// The short notice of a pause or a resume: 300 to 3,400 Hz, 50 ms to 2 s, -60 to -6 dBFS.
    pub beep: ToneShape,
    /// The repeated notice that a call is recorded, in the same ranges.
    pub repeat_tone: ToneShape,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// One JSON object or one line of text per event.
    pub format: LogFormat,
    /// Filter as tracing-subscriber reads it, for example `info` or `info,duolog=debug`.
    pub filter: String,
}

/// Shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Text,
}
