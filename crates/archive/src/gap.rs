//! Names for the spool's gap reason codes: why there is no audio of a party for a while.

use duolog_spool::gap_reason;
use serde::{Deserialize, Serialize};

/// Why a channel has no audio for a while. The names are on disk in manifests, the codes in spool
/// files; neither is ever used again for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// Nobody was on the channel: its party had left, and no other had come yet.
    Absent,
    /// Digits were heard and are silenced in the recording, or it is so close to pressed ones that their
    /// sound may be in it. Made by the archive, never in the spool.
    DtmfMasked,
    /// The audio is there, as received, in an object of its own: no decoder of its codec was installed.
    /// Made by the archive, never in the spool.
    Untranscoded,
    /// It was captured and nobody asked for it to be kept: nothing of it can be read. Made by the archive,
    /// never in the spool.
    NotKept,
    /// A code that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How the sound in a gap was made: it is synthetic, nobody heard it like that on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concealed {
    /// From the copy of lower quality that the next packet carries (RFC 6716 §2.1.7).
    Fec,
    /// Made up by the codec from what came before.
    Plc,
    /// In a word this version does not know.
    #[serde(other)]
    Unknown,
}

/// Code and reason, one row each. The first row of a reason is the code it is written with; the last
/// two are made by the spool itself.
const CODES: [(u8, GapReason); 11] = [
    (1, GapReason::NotStarted),
    (2, GapReason::Loss),
    (3, GapReason::Silence),
    (4, GapReason::Paused),
    (5, GapReason::Held),
    (6, GapReason::Dtmf),
    (7, GapReason::SpoolFull),
    (8, GapReason::LostInCrash),
    (9, GapReason::Absent),
    (gap_reason::DISK_FULL, GapReason::SpoolFull),
    (gap_reason::DISK_FAILED, GapReason::SpoolFull),
];

impl GapReason {
    /// The reason behind a code of the spool; every code has one.
    pub fn from_code(code: u8) -> GapReason {
        let known = CODES.iter().find(|(known, _)| *known == code);
        known.map_or(GapReason::Unknown, |(_, reason)| *reason)
    }

    /// The code to write into a spool's gap frame; 0 for a reason that the spool never has.
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
        use GapReason::{Dtmf, DtmfMasked, Held, NotKept, Paused};
        matches!(self, Paused | Held | Dtmf | DtmfMasked | NotKept)
    }

    /// Whether the stretch is silent whatever the spool holds.
    pub(crate) fn is_silenced(self) -> bool {
        matches!(self, GapReason::Paused | GapReason::DtmfMasked)
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
        for code in [0, 10, 239, 255] {
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
            "absent",
            "spool_full",
            "spool_full",
        ];
        assert_eq!(names, expected.map(|name| format!("{name:?}")));
        for (reason, name) in [
            (GapReason::DtmfMasked, "dtmf_masked"),
            (GapReason::Untranscoded, "untranscoded"),
            (GapReason::NotKept, "not_kept"),
        ] {
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("{name:?}"));
            assert_eq!(reason.code(), 0, "never in a spool");
        }
        assert_eq!(
            serde_json::from_str::<GapReason>("\"eclipse\"").unwrap(),
            GapReason::Unknown
        );
    }
}
