//! What the operator decided, as values. Reading and checking the file is the program's work;
//! only ranges that belong to the meaning of a value are refused here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use duolog_reach::digest::{Credentials, Secret};
use duolog_reach::hops::{Destination, HopSettings};
use duolog_reach::limits::{LimitSettings, Network};
use duolog_reach::registrar::RegistrarSettings;
use duolog_sip::sdp::{Encoding, G729, MediaSecurity};
use duolog_sip::{Timers, Transport, Uri};

use crate::feature_code::FeatureCodes;
use crate::policy::{OwnerKind, RecordingSettings};

/// Everything the engine needs to know before the first call.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where neighbours reach this node, per transport.
    pub local: LocalAddresses,
    /// The trunks this node knows, by name.
    pub trunks: Vec<Trunk>,
    /// The people whose phones hang on this node.
    pub users: Vec<User>,
    /// The trunk that gets every number that belongs to no user; without one such calls are 404.
    pub next_hop: Option<TrunkIndex>,
    /// The language of prompts where a user has none of their own, as a tag (`en`, `nl`).
    pub language: String,
    /// The codes that pause and resume a recording.
    pub feature_codes: FeatureCodes,
    /// What this node can do with media.
    pub media: MediaSettings,
    /// The registrar, next hops and limits.
    pub reach: ReachSettings,
    /// How long a callee may ring before the caller gets 408 (RFC 3261 §16.6, timer C: at least
    /// three minutes for a proxy).
    pub ring_limit: Duration,
    /// `Retry-After` of the 503 that new calls get while the node drains, in seconds.
    pub drain_retry_after_s: u32,
    /// Product token for `Server` in answers this node makes itself.
    pub server_name: String,
    /// RFC 3261 timers T1, T2, T4.
    pub timers: Timers,
    /// Ties `Instant` to wall time, only to make time-ordered recording ids.
    pub epoch: Epoch,
    /// Which numbers mean what.
    pub numbering: Numbering,
    /// How long a session may go without a sign of life (RFC 4028).
    pub session_timer: SessionTimer,
}

/// Which numbers mean what. Numbers are as dialled, without visual separators.
#[derive(Debug, Clone, Default)]
pub struct Numbering {
    /// Where numbers go that belong to no user, by how they begin: the longest match wins, and
    /// [`Settings::next_hop`] gets the rest.
    pub routes: Vec<NumberRoute>,
    /// Emergency numbers, whole.
    pub emergency: Vec<String>,
    /// Numbers of the voicemail system, whole.
    pub voicemail: Vec<String>,
}

/// Where numbers that begin so are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberRoute {
    /// How they begin; digits, `+`, `*`, `#`.
    pub prefix: String,
    /// Where they go.
    pub trunk: TrunkIndex,
}

/// Session timers (RFC 4028) on every leg whose party can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimer {
    /// `Session-Expires` asked for, in seconds, at least `min_s`.
    pub expires_s: u32,
    /// `Min-SE`, in seconds; at least 90 (RFC 4028 §5).
    pub min_s: u32,
}

impl Default for SessionTimer {
    fn default() -> Self {
        Self {
            expires_s: 1800,
            min_s: 90,
        }
    }
}

impl Settings {
    /// The language in which parties of `owner`'s recordings are told.
    pub fn language_of<'a>(&'a self, owner: &'a User) -> &'a str {
        owner.language.as_deref().unwrap_or(&self.language)
    }
}

/// The registrar, next hops and limits.
#[derive(Debug, Clone, Default)]
pub struct ReachSettings {
    /// Who may register, and how.
    pub registrar: RegistrarSettings,
    /// How next hops are found.
    pub hops: HopSettings,
    /// How much one source may ask.
    pub limits: LimitSettings,
}

/// What this node can do with media. The default: carry it as it is.
#[derive(Debug, Clone, Default)]
pub struct MediaSettings {
    /// Codecs that are offered to a callee beside what the caller offers, in this order; legs that
    /// then differ are transcoded. Empty: nothing is.
    pub transcode: Vec<Encoding>,
    /// Whether G.729 can be transcoded.
    pub g729: G729,
    /// Fingerprint of this node's DTLS certificate, `sha-256` and upper-case bytes with colons between
    /// them; `None` for no DTLS-SRTP.
    pub dtls_fingerprint: Option<String>,
    /// How many groups of legs there are beyond the first: legs of one group can be bridged.
    pub more_groups: u32,
}

/// One known pair of the two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Epoch {
    /// The instant at which the wall clock was read.
    pub at: Instant,
    /// What the wall clock said then: milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
}

impl Epoch {
    /// Wall time of `now`, in milliseconds since 1970-01-01 UTC.
    pub(crate) fn unix_ms_at(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).as_millis();
        self.unix_ms
            .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

/// The node's own addresses, as neighbours must be told them: at least one, and at most one of each
/// transport and family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAddresses(pub Vec<(Transport, SocketAddr)>);

impl LocalAddresses {
    /// The node's address on `transport` for a peer at `peer`, if it listens there.
    pub(crate) fn on(&self, transport: Transport, peer: IpAddr) -> Option<SocketAddr> {
        let v4 = peer.to_canonical().is_ipv4();
        let fits = |own: &&(Transport, SocketAddr)| own.0 == transport && own.1.is_ipv4() == v4;
        self.0.iter().find(fits).map(|(_, own)| *own)
    }
}

/// Index into [`Settings::trunks`]; always within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrunkIndex(pub usize);

/// Index into [`Settings::users`]; always within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserIndex(pub usize);

/// Where a neighbour is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Contact {
    /// Its address and SIP port.
    pub addr: SocketAddr,
    /// The transport it is reached on.
    pub transport: Transport,
}

/// A neighbour that carries calls to and from the rest of the world.
#[derive(Debug, Clone)]
pub struct Trunk {
    /// Its name in the configuration.
    pub name: String,
    /// Where requests to it go, and where its own come from.
    pub destination: Destination,
    /// Further networks that its requests come from.
    pub networks: Vec<Network>,
    /// The name that its TLS client certificate must have; `None`: its address is enough.
    pub certificate: Option<String>,
    /// What it is answered when it asks for a digest (401, 407).
    pub credentials: Option<Credentials>,
    /// The registration it asks for.
    pub registration: Option<TrunkRegistration>,
    /// Whether media to and from it is protected.
    pub media_security: MediaSecurity,
    /// Whether what it asserts about identities is believed, and whether it is told them (RFC 3325).
    pub trust: Trust,
    /// What stands behind it.
    pub kind: TrunkKind,
    /// How its numbers are written.
    pub numbers: NumberRules,
    /// What becomes of its redirections (3xx), and of those of users' phones towards it.
    pub redirects: Redirects,
    /// Whether OPTIONS look now and then whether it is there; trunks known by name are always looked at.
    pub ping: Ping,
}

/// Whether a trunk is looked at by OPTIONS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ping {
    /// Every now and then.
    On,
    /// Only while calls to it have failed.
    Off,
}

impl Trunk {
    /// A trunk at an address, without any further wishes.
    pub fn at(name: &str, transport: Transport, address: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            destination: Destination::from((transport, address)),
            networks: Vec::new(),
            certificate: None,
            credentials: None,
            registration: None,
            media_security: MediaSecurity::AsOffered,
            trust: Trust::Untrusted,
            kind: TrunkKind::Pstn,
            numbers: NumberRules::default(),
            redirects: Redirects::Follow,
            ping: Ping::Off,
        }
    }
}

/// A registration of ours at a trunk (RFC 3261 §10.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkRegistration {
    /// The address of record.
    pub aor: Uri,
    /// How long it is asked for, in seconds: 60 to 86,400.
    pub expires_s: u32,
}

/// Whether a neighbour belongs to the trust domain (RFC 3324 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Identities pass both ways.
    Trusted,
    /// Asserted identities are taken out both ways.
    Untrusted,
}

/// What stands behind a trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrunkKind {
    /// The public network.
    Pstn,
    /// A PBX of the same organisation: calls to and from it are internal.
    Internal,
    /// A voicemail system.
    Voicemail,
}

/// What becomes of a 3xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Redirects {
    /// This node calls where it points to.
    Follow,
    /// The caller gets it; its contacts then lead back through this node.
    PassOn,
}

/// How the numbers of a trunk become those of this node (E.164 with `+`) and back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NumberRules {
    /// From the trunk: first rule whose prefix fits.
    pub inward: Vec<NumberRule>,
    /// To the trunk.
    pub outward: Vec<NumberRule>,
}

/// A prefix and what stands in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberRule {
    /// How the number begins; may be empty.
    pub prefix: String,
    /// What it begins with then.
    pub instead: String,
}

/// A person with a phone.
#[derive(Debug, Clone)]
pub struct User {
    /// The name by which recordings are owned; also accepted as the user part of a URI.
    pub name: String,
    /// The numbers that ring this user's phone, as dialled, without visual separators.
    pub numbers: Vec<String>,
    /// Where the phones are.
    pub location: Location,
    /// The password of the phones, for digests.
    pub secret: Option<Secret>,
    /// The name in a TLS client certificate that stands for the password.
    pub certificate: Option<String>,
    /// Whether media to and from the phone is protected.
    pub media_security: MediaSecurity,
    /// The language of the prompts on this user's recordings; `None` for the node's.
    pub language: Option<String>,
    /// What kind of owner this is: not everything may be set for each.
    pub kind: OwnerKind,
    /// Whether and how this user's calls are recorded.
    pub recording: Arc<RecordingSettings>,
    /// Where callers may leave a message when nobody answers; `None`: nowhere on this node.
    pub mailbox: Option<Mailbox>,
}

/// A user's mailbox on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// How long the phones ring before a caller gets the mailbox: 5 s to 2 min.
    pub answer_after: Duration,
    /// The longest message: 10 s to 10 min.
    pub longest: Duration,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            answer_after: Duration::from_secs(20),
            longest: Duration::from_secs(180),
        }
    }
}

impl User {
    /// The recording settings, to be changed before the engine has them.
    pub fn recording_mut(&mut self) -> &mut RecordingSettings {
        Arc::make_mut(&mut self.recording)
    }
}

/// Where a user's phones are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// One phone at this address.
    At(Contact),
    /// Wherever they register from.
    Registered,
}
