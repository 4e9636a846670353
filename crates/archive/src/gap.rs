//! Names for the spool's gap reason codes: why there is no audio of a party for a while.

use duolog_spool::gap_reason;
use serde::{Deserialize, Serialize};

/// Why a channel has no audio for a while. The names are on disk in manifests, the codes in spool
/// files; neither is ever used again for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Nothing had arrived from that party yet.
    NotStarted,
    /// Packets were sent and never arrived.
    Loss,
    /// The party sent nothing: silence suppression (RFC 3389), or it fell quiet.
    Silence,
    /// The recording was paused: nothing was kept on purpose.
    Paused,
    /// The party was on hold.
    Held,
    /// Digits were pressed (RFC 4733); they are not kept.
    Dtmf,
    /// The spool had no room, or was too slow for longer than its buffers last.
    SpoolFull,
    /// It was not on disk yet when the recorder stopped.
    LostInCrash,
    /// A code that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Code and reason, one row each. The first row of a reason is the code it is written with; the last
/// two are made by the spool itself.
const CODES: [(u8, GapReason); 10] = [
    (1, GapReason::NotStarted),
    (2, GapReason::Loss),
    (3, GapReason::Silence),
    (4, GapReason::Paused),
    (5, GapReason::Held),
    (6, GapReason::Dtmf),
    (7, GapReason::SpoolFull),
    (8, GapReason::LostInCrash),
    (gap_reason::DISK_FULL, GapReason::SpoolFull),
    (gap_reason::DISK_FAILED, GapReason::SpoolFull),
];

impl GapReason {
    /// The reason behind a code of the spool; every code has one.
    pub fn from_code(code: u8) -> GapReason {
        let known = CODES.iter().find(|(known, _)| *known == code);
        known.map_or(GapReason::Unknown, |(_, reason)| *reason)
    }

    /// The code to write into a spool's gap frame; 0 for [`GapReason::Unknown`].
    pub fn code(self) -> u8 {
        CODES
            .iter()
            .find(|(_, reason)| *reason == self)
            .map_or(0, |(code, _)| *code)
    }

    /// Whether the gap is duolog's own failing: such a recording is only partial.
    pub fn is_our_loss(self) -> bool {
        matches!(self, GapReason::SpoolFull | GapReason::LostInCrash)
    }

    /// Whether no audio was wanted: such a gap takes nothing from a recording's completeness.
    pub fn is_on_purpose(self) -> bool {
        matches!(self, GapReason::Paused | GapReason::Held | GapReason::Dtmf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_reasons_are_inverses() {
        for (code, reason) in CODES {
            assert_eq!(GapReason::from_code(code), reason);
            assert_eq!(GapReason::from_code(reason.code()), reason);
            assert!(code == reason.code() || code >= 240);
        }
        for code in [0, 9, 239, 255] {
            assert_eq!(GapReason::from_code(code), GapReason::Unknown);
        }
    }

    #[test]
    fn names_are_those_of_the_manifest() {
        let names = CODES.map(|(_, reason)| serde_json::to_string(&reason).unwrap());
        let expected = [
            "not_started",
            "loss",
            "silence",
            "paused",
            "held",
            "dtmf",
            "spool_full",
            "lost_in_crash",
            "spool_full",
            "spool_full",
        ];
        assert_eq!(names, expected.map(|name| format!("{name:?}")));
        assert_eq!(
            serde_json::from_str::<GapReason>("\"eclipse\"").unwrap(),
            GapReason::Unknown
        );
    }
}
