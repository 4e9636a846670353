//! Names: of a recording, and of the files its parts live in.
//!
//! ```text
//!   0193a1b2c3d4e5f60718293a4b5c6d7e.0000.open
//!   └── recording id, 32 hex digits ─┘ │    └ state: open | sealed | released
//!                                      └ part, decimal, at least four digits
//! ```
//!
//! 1. A part is born `.open`.
//! 2. When the recording's seal is durable every part is renamed `.sealed`, the one that holds the
//!    seal last; then the directory is synced.
//! 3. Release of one part removes it. Release of several first renames the highest `.released` and
//!    syncs the directory, so that a crash half-way is finished, never taken for a recording.

use std::fmt;
use std::str::FromStr;

/// Names one recording for ever: a UUIDv7 as a number. The spool gives it no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingId(pub u128);

impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Why a text is not a recording id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a recording id is 32 lower-case hexadecimal digits")]
pub struct ParseIdError;

impl FromStr for RecordingId {
    type Err = ParseIdError;

    /// The exact inverse of `Display`.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(hex) {
            return Err(ParseIdError);
        }
        u128::from_str_radix(text, 16)
            .map(RecordingId)
            .map_err(|_| ParseIdError)
    }
}

/// The number of a part within its recording, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartNo(pub u32);

/// What a part's file name says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PartState {
    Open,
    Sealed,
    Released,
}

/// A part's file name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartName {
    pub recording: RecordingId,
    pub part: PartNo,
    pub state: PartState,
}

impl PartName {
    /// `None` when the name is not one of ours in exactly the form `Display` writes.
    pub fn parse(name: &str) -> Option<PartName> {
        let mut fields = name.split('.');
        let recording = fields.next()?.parse().ok()?;
        let part = PartNo(fields.next()?.parse().ok()?);
        let state = match fields.next()? {
            "open" => PartState::Open,
            "sealed" => PartState::Sealed,
            "released" => PartState::Released,
            _ => return None,
        };
        let parsed = PartName {
            recording,
            part,
            state,
        };
        (parsed.to_string() == name).then_some(parsed)
    }

    pub fn with(self, state: PartState) -> PartName {
        PartName { state, ..self }
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            PartState::Open => "open",
            PartState::Sealed => "sealed",
            PartState::Released => "released",
        };
        write!(f, "{}.{:04}.{}", self.recording, self.part.0, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_strangers_are_refused() {
        for (part, state) in [
            (0, PartState::Open),
            (9999, PartState::Sealed),
            (10_000, PartState::Released),
            (u32::MAX, PartState::Open),
        ] {
            let name = PartName {
                recording: RecordingId(7 << 100),
                part: PartNo(part),
                state,
            };
            assert_eq!(PartName::parse(&name.to_string()), Some(name));
        }
        let id = "0".repeat(32);
        for bad in [
            String::new(),
            id.clone(),
            format!("{id}.0.open"),
            format!("{id}.0000.closed"),
            format!("{id}.0000.open.x"),
            format!("{id}.+001.open"),
            format!("{}.0000.open", "A".repeat(32)),
            format!("{}.0000.open", "0".repeat(31)),
            "ballast".to_owned(),
        ] {
            assert_eq!(PartName::parse(&bad), None, "{bad}");
        }
    }
}
