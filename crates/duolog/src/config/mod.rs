//! The configuration: one TOML file, every mistake reported at once, before a port is bound.

mod document;
mod read;
mod units;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use duolog_sip::Transport;
use duolog_sip::sdp::Encoding;

pub use document::Mistake;
pub use read::read;
pub(crate) use units::duration;

/// The configuration that `duolog serve` runs with where no file is given: loopback only.
pub const EMBEDDED: &str = include_str!("../../../../deploy/embedded.toml");

/// Everything a node is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where SIP is heard.
    pub sip: Sip,
    /// Where RTP is heard.
    pub media: Media,
    /// Where audio waits until the archive has it.
    pub spool: Spool,
    /// Where recordings end up.
    pub store: Store,
    /// What parties hear.
    pub announcements: Announcements,
    /// Digits that control a recording.
    pub codes: Codes,
    /// Neighbours that calls come from and go to.
    pub trunks: Vec<Trunk>,
    /// People whose calls may be recorded.
    pub users: Vec<User>,
    /// How the node logs.
    pub log: Log,
    /// Where metrics and health are served.
    pub operations: SocketAddr,
}

/// `[sip]`
#[derive(Debug, Clone, PartialEq)]
pub struct Sip {
    /// Sockets to listen on.
    pub listen: Vec<(Transport, SocketAddr)>,
    /// Address that peers are told, where it differs from the one listened on (behind NAT).
    pub advertise: Option<IpAddr>,
    /// How long the other side may ring.
    pub ring_timeout: Duration,
}

/// `[media]`
#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    /// Address that RTP sockets bind and that SDP names, unless `advertise` says otherwise.
    pub address: IpAddr,
    /// Address that SDP names, where it differs (behind NAT).
    pub advertise: Option<IpAddr>,
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

/// Whether media secured by DTLS-SRTP (RFC 5763) is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtls {
    /// With a certificate made at the start.
    On,
    /// Not at all.
    Off,
}

/// Whether media to and from a party is encrypted by SDES-SRTP (RFC 4568).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaSecurity {
    /// As the other party offers it.
    AsOffered,
    /// Never: the party is offered plain RTP.
    Never,
    /// Always: a party that cannot is refused.
    Always,
}

/// What becomes of dialled digits in recordings (SPEC L3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtmf {
    /// Recorded as they sound.
    Keep,
    /// Silenced in the recording, and only there.
    Mask,
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
    /// Directory with own prompts, `<language>/<prompt>.<any audio format>`, used before the
    /// shipped ones.
    pub directory: Option<PathBuf>,
}

/// `[codes]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    /// Pauses the recording.
    pub pause: String,
    /// Resumes it.
    pub resume: String,
}

/// `[[trunk]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Name in logs and metrics.
    pub name: String,
    /// Where its calls come from and calls to it go.
    pub address: (Transport, SocketAddr),
    /// Whether media to and from it is encrypted.
    pub media_security: MediaSecurity,
}

/// `[[user]]`
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Name; also the owner of the recordings.
    pub name: String,
    /// Numbers that ring this user.
    pub numbers: Vec<String>,
    /// Where the user's phone is.
    pub contact: (Transport, SocketAddr),
    /// When this user's calls are recorded.
    pub mode: Mode,
    /// Whether both parties are told before the recording starts.
    pub announce: Announce,
    /// How pause and resume are told.
    pub notice: Notice,
    /// Interval of the repeat tone.
    pub repeat_tone: Option<Duration>,
    /// Language of this user's announcements.
    pub language: Option<String>,
    /// Whether media to and from their phone is encrypted.
    pub media_security: MediaSecurity,
    /// What becomes of dialled digits in their recordings.
    pub dtmf: Dtmf,
}

/// Recording modes of this release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not recorded.
    Never,
    /// Recorded from answer to hang-up.
    Always,
    /// As always, and the owner may pause and resume.
    AlwaysPauseResume,
}

/// Start announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announce {
    /// Nobody is told by duolog.
    Off,
    /// Both parties hear the announcement before the recording starts.
    On,
}

/// How pause and resume are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Not at all.
    None,
    /// A beep under the conversation.
    Beep,
    /// A spoken announcement.
    Announcement,
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
