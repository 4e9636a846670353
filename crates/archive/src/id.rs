//! Recording ids as text: `rec_` and a UUID of version 7 (RFC 9562 §5.7), so that they sort by time.

use duolog_spool::RecordingId;
use thiserror::Error;
use uuid::Uuid;

const PREFIX: &str = "rec_";

/// Sorts after every character of an id: the end of the range that a prefix names.
const AFTER_ALL: char = 'g';

/// Why a text is no recording id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Not 32 hexadecimal digits, with or without dashes and `rec_`.
    #[error("{text:?} is not a recording id; it looks like rec_018f3c6a-....")]
    NotAnId {
        /// What was given.
        text: String,
    },
    /// Empty, or a character that no id has.
    #[error("{text:?} is not the beginning of a recording id; it looks like rec_018f3c")]
    NotAPrefix {
        /// What was given.
        text: String,
    },
}

/// The text of a recording id, as printed and as stored: `rec_` and the dashed UUID, 40 characters.
pub fn recording_text(recording: RecordingId) -> String {
    format!("{PREFIX}{}", Uuid::from_u128(recording.0))
}

/// Reads what [`recording_text`] wrote; `rec_`, dashes and upper case are optional.
pub fn parse_recording(text: &str) -> Result<RecordingId, IdError> {
    let digits = text.strip_prefix(PREFIX).unwrap_or(text);
    let plain = digits.len() == 32 || digits.len() == 36;
    match Uuid::try_parse(digits) {
        Ok(id) if plain => Ok(RecordingId(id.as_u128())),
        _ => Err(IdError::NotAnId {
            text: text.to_owned(),
        }),
    }
}

/// The range of stored ids that begin with what a person typed: first included, last excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdRange {
    pub(crate) from: String,
    pub(crate) until: String,
}

impl IdRange {
    /// Takes at least one digit; dashes and `rec_` are optional, as everywhere.
    pub(crate) fn of_prefix(text: &str) -> Result<IdRange, IdError> {
        let typed = text
            .strip_prefix(PREFIX)
            .unwrap_or(text)
            .to_ascii_lowercase();
        let digits: String = typed.chars().filter(|c| *c != '-').collect();
        let valid =
            (1..=32).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
        if !valid {
            return Err(IdError::NotAPrefix {
                text: text.to_owned(),
            });
        }
        let mut from = String::from(PREFIX);
        for (index, digit) in digits.chars().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                from.push('-');
            }
            from.push(digit);
        }
        let until = format!("{from}{AFTER_ALL}");
        Ok(IdRange { from, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_id_are_inverses() {
        for number in [0, 1, u128::MAX, 0x018f_3c6a_0000_7000_8000_0000_0000_0001] {
            let id = RecordingId(number);
            let text = recording_text(id);
            assert_eq!(text.len(), 40);
            assert_eq!(parse_recording(&text), Ok(id));
            assert_eq!(parse_recording(&text[4..]), Ok(id));
            assert_eq!(
                parse_recording(&text[4..].replace('-', "").to_uppercase()),
                Ok(id)
            );
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let long = "0".repeat(200);
        let braced = "{018f3c6a-0000-7000-8000-000000000001}";
        for text in [
            "",
            "rec_",
            "rec_12",
            "rec_zz",
            "%",
            "urn:uuid:x",
            braced,
            long.as_str(),
        ] {
            assert!(parse_recording(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_prefix_names_a_range() {
        #[track_caller]
        fn check(text: &str, from: &str) {
            let range = IdRange::of_prefix(text).unwrap();
            assert_eq!(range.from, from);
            assert_eq!(range.until, format!("{from}g"));
        }
        check("0", "rec_0");
        check("rec_018F3C6A", "rec_018f3c6a");
        check("018f3c6a0", "rec_018f3c6a-0");
        check("rec_018f3c6a-0", "rec_018f3c6a-0");
        for text in ["", "rec_", "%", "'; DROP", "rec_x", &"0".repeat(33)] {
            assert!(IdRange::of_prefix(text).is_err(), "{text:?}");
        }
    }
}
