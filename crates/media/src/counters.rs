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
    /// A payload that is empty or longer than 200 ms.
    PayloadSize,
    /// A copy of a packet that came before; relayed, not recorded again.
    Duplicate,
    /// Its sequence number jumped far and nothing has vouched for it yet (RFC 3550 A.1).
    Probation,
    /// A straggler of the source that was just replaced.
    StaleSource,
    /// Relayed speech that gave way to a prompt or to digits, or whose receiver is on hold.
    Suppressed,
    /// Older than what was injected since; its number is taken.
    BehindInjection,
    /// Recorded too late: its place was final.
    Late,
    /// Not recordable: too far ahead, on top of other audio, or in too many pieces.
    Misplaced,
    /// A command for a leg or recording that does not exist or is not in a state for it.
    Command,
    /// A small entry that could not wait any longer for the spool.
    Entry,
}

impl DropReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [DropReason; 15] = [
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
        }
    }
}

/// Totals since the shard was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams given to the shard.
    pub received: u64,
    /// RTP packets passed on to the other leg.
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
