//! Who calls come from and go to, as configured.

use std::net::SocketAddr;
use std::time::Duration;

use duolog_call::{
    Mailbox, NumberRules, Ping, Redirects, TrunkKind, TrunkRegistration, Trust, Voicemail,
};
use duolog_reach::digest::{Credentials, Secret};
use duolog_reach::hops::Destination;
use duolog_reach::limits::Network;
use duolog_sip::Transport;

/// `[[trunk]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// Name in logs and metrics.
    pub name: String,
    /// Where calls to it go, and where its calls come from.
    pub destination: Destination,
    /// Further networks that its calls come from.
    pub networks: Vec<Network>,
    /// Name that its TLS certificate must have.
    pub certificate: Option<String>,
    /// What it is answered when it asks who we are.
    pub credentials: Option<Credentials>,
    /// Registration of ours at it.
    pub register: Option<TrunkRegistration>,
    /// Whether it is told, and believed about, identities.
    pub trust: Trust,
    /// What stands behind it.
    pub kind: TrunkKind,
    /// How it writes numbers.
    pub numbers: NumberRules,
    /// What becomes of its redirections.
    pub redirects: Redirects,
    /// Whether it is looked at by OPTIONS even while nothing is wrong.
    pub ping: Ping,
    /// Whether media to and from it is encrypted.
    pub media_security: MediaSecurity,
}

impl Trunk {
    /// Its address where it is configured by one and not by a name.
    pub fn numeric(&self) -> Option<(Transport, SocketAddr)> {
        use duolog_reach::hops::Host;
        let Destination {
            port, transport, ..
        } = self.destination;
        match self.destination.host {
            Host::Address(ip) => Some((transport?, SocketAddr::new(ip, port?))),
            Host::Name(_) => None,
        }
    }
}

/// `[[user]]`
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Name; also the owner of the recordings.
    pub name: String,
    /// Numbers that ring this user.
    pub numbers: Vec<String>,
    /// Where the user's phone is; `None` for wherever it registers from.
    pub contact: Option<(Transport, SocketAddr)>,
    /// What the user's phones register with.
    pub password: Option<Secret>,
    /// Name in a TLS client certificate that stands for the password.
    pub certificate: Option<String>,
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
    /// Whether their calls with a voicemail system are recorded.
    pub voicemail: Voicemail,
    /// Where callers may leave a message when nobody answers.
    pub mailbox: Option<Mailbox>,
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
