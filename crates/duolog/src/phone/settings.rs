//! What a phone is made with.

use std::net::SocketAddr;

use duolog_audio::codec::Codec;
use duolog_reach::digest::Credentials;
use duolog_sip::sdp::RecordPreference;
use duolog_sip::{Flow, StatusCode, Uri};

use super::ear::Keep;
use super::offer::Security;
use super::voice::Voice;

/// What a phone does with a call that comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answering {
    /// How long it rings, ms; 0 answers at once without a provisional response.
    pub ring_ms: u32,
    /// Whether it speaks while it rings.
    pub early_media: EarlyMedia,
    /// 200, or the refusal, 300 to 699.
    pub code: StatusCode,
}

/// Whether a ringing phone speaks already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyMedia {
    /// It rings with 180 and no media.
    No,
    /// It rings with 183 and a description, and sends its voice.
    Yes,
}

/// What kinds of phones do differently.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways {
    /// Reliable provisional responses (RFC 3262).
    pub reliable: Reliable,
    /// Session timers (RFC 4028).
    pub session_timer: SessionTimer,
    /// Where a 3xx of its [`Answering::code`] points to.
    pub moved_to: Vec<Uri>,
    /// When it hangs up after it sent a REFER.
    pub after_transfer: AfterTransfer,
    /// What it is known by where it is asked (401, 407).
    pub credentials: Option<Credentials>,
    /// Whether it shows that a call is recorded (RFC 7866 §6.3).
    pub recording: Icon,
    /// What it wants of the recording (RFC 7866 §7.3.2) from the start, and says in every description.
    pub preference: Option<RecordPreference>,
}

/// Whether a phone shows that a call is recorded, and says so (`record-aware`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Icon {
    /// It knows nothing of it.
    #[default]
    None,
    /// It shows what it was told last.
    Shown,
}

/// What a phone does about reliable provisional responses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reliable {
    /// It knows nothing of them: it does not offer them, and refuses who requires them (420).
    #[default]
    Never,
    /// It offers them, and sends them where the caller takes them.
    Supported,
    /// It asks for them with every call.
    Required,
}

/// What a phone does about session timers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SessionTimer {
    /// It knows nothing of them.
    #[default]
    Unknown,
    /// It asks for them, and refreshes by UPDATE when half of the time is over, where that is its part;
    /// where it is the other end's it hangs up when nothing comes.
    Faithful {
        /// What it asks for, in seconds.
        expires_s: u32,
    },
    /// It asks for them, takes the part of who refreshes, and never does.
    Forgetful {
        /// What it asks for, in seconds.
        expires_s: u32,
    },
}

/// When a phone hangs up after it sent a REFER.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AfterTransfer {
    /// When the REFER was accepted.
    HangsUpAtOnce,
    /// When it was told that the new call was answered.
    #[default]
    HangsUpAtSuccess,
    /// Never: it waits to be hung up.
    Waits,
}

/// What a phone is made with.
#[derive(Debug, Clone)]
pub struct PhoneSettings {
    /// The user part of its address and its display name.
    pub user: String,
    /// The host part of its address.
    pub domain: String,
    /// Transport, its own SIP address, and the proxy's.
    pub flow: Flow,
    /// Its RTP address.
    pub rtp: SocketAddr,
    /// Its RTCP address.
    pub rtcp: SocketAddr,
    /// The codecs it offers and takes, in order of preference; at least one.
    pub codecs: Vec<Codec>,
    /// Packet time, 10 to 200 ms.
    pub ptime_ms: u8,
    /// How fast its clock runs against the true one, in parts per million: -1,000 to 1,000.
    pub clock_ppm: i32,
    /// Whether its media is encrypted.
    pub security: Security,
    /// What it does with calls that come in.
    pub answering: Answering,
    /// What it does differently from others.
    pub ways: Ways,
    /// What it says from the first moment.
    pub voice: Voice,
    /// Whether packets are kept.
    pub keep: Keep,
    /// Makes its tags, Call-IDs, SSRC and first numbers.
    pub seed: u64,
}
