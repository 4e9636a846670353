//! Wall time: UTC, stamped once by the program, stored beside media time and never mixed with it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Written in JSON as RFC 3339 in
/// UTC with milliseconds, so what is read back is cut to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(pub i64);

/// Why a text is no wall time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not a time; write it as 2026-11-22T08:00:00Z (RFC 3339)")]
pub struct WallTimeError {
    text: String,
}

/// Where a number stands in for a date outside the years 0 to 9999, which RFC 3339 cannot write.
const UNWRITABLE: &str = "0000-01-01T00:00:00.000Z";

impl WallTime {
    /// RFC 3339, UTC, milliseconds: `2026-11-22T08:00:00.123Z`.
    pub fn text(self) -> String {
        let Some(at) = self.date_time() else {
            return UNWRITABLE.to_owned();
        };
        let (date, clock) = (at.date(), at.time());
        let (hour, minute, second) = (clock.hour(), clock.minute(), clock.second());
        let millisecond = clock.millisecond();
        format!("{date}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
    }

    /// Reads RFC 3339 with any offset; kept as UTC.
    pub fn parse(text: &str) -> Result<WallTime, WallTimeError> {
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| WallTimeError {
            text: text.to_owned(),
        })?;
        let micros = at.unix_timestamp_nanos().div_euclid(1_000);
        i64::try_from(micros)
            .map(WallTime)
            .map_err(|_| WallTimeError {
                text: text.to_owned(),
            })
    }

    /// The day in UTC as the beginning of an object's key: `2026/11/22`.
    pub(crate) fn day_path(self) -> String {
        match self.date_time() {
            Some(at) => format!(
                "{:04}/{:02}/{:02}",
                at.year(),
                u8::from(at.month()),
                at.day()
            ),
            None => "0000/01/01".to_owned(),
        }
    }

    fn date_time(self) -> Option<OffsetDateTime> {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000).ok()?;
        (0..=9999)
            .contains(&at.year())
            .then(|| at.to_offset(UtcOffset::UTC))
    }
}

impl std::fmt::Display for WallTime {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.text())
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WallTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        WallTime::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_rfc_3339() {
        #[track_caller]
        fn check(micros: i64, text: &str) {
            assert_eq!(WallTime(micros).text(), text);
            assert_eq!(
                WallTime::parse(text),
                Ok(WallTime(micros.div_euclid(1_000) * 1_000))
            );
        }
        check(0, "1970-01-01T00:00:00.000Z");
        check(1_795_334_400_123_456, "2026-11-22T08:00:00.123Z");
        check(-1, "1969-12-31T23:59:59.999Z");
        let east = WallTime::parse("2026-11-22T09:00:00+01:00").unwrap();
        assert_eq!(east.text(), "2026-11-22T08:00:00.000Z");
        assert_eq!(east.day_path(), "2026/11/22");
    }

    #[test]
    fn bad_times_are_refused_and_impossible_ones_still_print() {
        for text in ["", "yesterday", "2026-11-22", "2026-13-22T08:00:00Z"] {
            assert!(WallTime::parse(text).is_err(), "{text:?}");
        }
        for micros in [i64::MAX, i64::MIN] {
            assert_eq!(WallTime(micros).text(), UNWRITABLE);
            assert_eq!(WallTime(micros).day_path(), "0000/01/01");
        }
    }
}
