//! What a shard counts, for the program's metrics.

/// Why a datagram, a packet or a command was not used. Closed: each is a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The port belongs to no leg.
    UnknownPort,
    /// The leg it came for, or the leg it was for, has no peer yet.
    NotConnected,
    /// From an address that is not the negotiated peer's.
    WrongAddress,
    /// Neither a well-formed RTP nor RTCP packet.
    Malformed,
    /// A payload type that was not negotiated.
    PayloadType,
    /// A payload that is empty, malformed or longer than its codec allows.
    PayloadSize,
    /// A copy of a packet that came before; not recorded again, and relayed only where nothing is
    /// transcoded or encrypted.
    Duplicate,
    /// Its sequence number jumped far and nothing has vouched for it yet (RFC 3550 A.1).
    Probation,
    /// A straggler of the source that was just replaced.
    StaleSource,
    /// Relayed speech that gave way to a prompt or to digits, or whose receiver is on hold; comfort
    /// noise for a receiver that does not know it.
    Suppressed,
    /// Older than what was injected since; its number is taken.
    BehindInjection,
    /// Too late to be recorded, its place was final, or to be transcoded.
    Late,
    /// Not recordable: too far ahead, on top of other audio, or in too many pieces.
    Misplaced,
    /// A command for a leg or recording that does not exist or is not in a state for it.
    Command,
    /// A small entry that could not wait any longer for the spool.
    Entry,
    /// Speech that can not be brought from the one leg's codec into the other's.
    Codec,
    /// Its SRTP authentication tag is wrong.
    SrtpTag,
    /// An SRTP packet that came before, or is too old to tell (RFC 3711 §3.3.2).
    SrtpReplayed,
    /// Not protected on a leg that is to be, or there are no keys for it yet.
    SrtpMissing,
    /// A DTLS datagram that ended its handshake without keys, or came where none is expected.
    Dtls,
}

impl DropReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [DropReason; 20] = [
        DropReason::UnknownPort,
        DropReason::NotConnected,
        DropReason::WrongAddress,
        DropReason::Malformed,
        DropReason::PayloadType,
        DropReason::PayloadSize,
        DropReason::Duplicate,
        DropReason::Probation,
        DropReason::StaleSource,
        DropReason::Suppressed,
        DropReason::BehindInjection,
        DropReason::Late,
        DropReason::Misplaced,
        DropReason::Command,
        DropReason::Entry,
        DropReason::Codec,
        DropReason::SrtpTag,
        DropReason::SrtpReplayed,
        DropReason::SrtpMissing,
        DropReason::Dtls,
    ];

    /// The reason as a metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            DropReason::UnknownPort => "unknown_port",
            DropReason::NotConnected => "not_connected",
            DropReason::WrongAddress => "wrong_address",
            DropReason::Malformed => "malformed",
            DropReason::PayloadType => "payload_type",
            DropReason::PayloadSize => "payload_size",
            DropReason::Duplicate => "duplicate",
            DropReason::Probation => "probation",
            DropReason::StaleSource => "stale_source",
            DropReason::Suppressed => "suppressed",
            DropReason::BehindInjection => "behind_injection",
            DropReason::Late => "late",
            DropReason::Misplaced => "misplaced",
            DropReason::Command => "command",
            DropReason::Entry => "entry",
            DropReason::Codec => "codec",
            DropReason::SrtpTag => "srtp_tag",
            DropReason::SrtpReplayed => "srtp_replayed",
            DropReason::SrtpMissing => "srtp_missing",
            DropReason::Dtls => "dtls",
        }
    }
}

/// Totals since the shard was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams given to the shard.
    pub received: u64,
    /// RTP packets passed on to the other leg, transcoded ones as they went out.
    pub relayed: u64,
    /// RTP packets made here: prompts, tones, digits.
    pub injected: u64,
    /// RTP packets kept by recordings, once per recording.
    pub tapped: u64,
    /// RTCP packets accepted.
    pub rtcp_received: u64,
    /// RTCP packets sent.
    pub rtcp_sent: u64,
    /// RTCP BYEs received.
    pub byes: u64,
    /// Blocks handed out.
    pub blocks: u64,
    /// Blocks the spool refused.
    pub blocks_refused: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Counters {
    /// How often something was not used for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    pub(crate) fn drop(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }
}
