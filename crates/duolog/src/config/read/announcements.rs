//! `[announcements]`: what parties hear.

use std::path::PathBuf;
use std::time::Duration;

use duolog_audio::tone::{self, ToneShape};

use super::words::{LANGUAGE, language};
use crate::config::Announcements;
use crate::config::document::Section;
use crate::config::units::duration;

const LENGTHS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(2);

pub(super) fn announcements(mut section: Section<'_>) -> Announcements {
    let announcements = Announcements {
        language: section.parsed("language", "en".into(), LANGUAGE, language),
        directory: section.optional("directory", "write a path", |t| Some(PathBuf::from(t))),
        prompt_level_db: section.number("prompt_level", 0, -40..=20) as i32,
        beep: tone_shape(section.section("beep"), tone::beep()),
        repeat_tone: tone_shape(section.section("repeat_tone"), tone::repeat_tone()),
    };
    section.finish();
    announcements
}

/// A tone; what is left out is as in `shipped`.
fn tone_shape(mut section: Section<'_>, shipped: ToneShape) -> ToneShape {
    let length = Duration::from_millis(shipped.length_ms.into());
    let length = section.parsed("length", length, "write 50ms to 2s", |text| {
        duration(text).filter(|length| LENGTHS.contains(length))
    });
    let shape = ToneShape {
        frequency_hz: section.number("frequency", shipped.frequency_hz as i64, 300..=3_400) as f64,
        // Two seconds at most.
        length_ms: length.as_millis() as u32,
        level_dbfs: section.number("level", shipped.level_dbfs as i64, -60..=-6) as f64,
    };
    section.finish();
    shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, EMBEDDED, read};

    fn read_part(lines: &str) -> Result<Config, Vec<String>> {
        let text = format!("[announcements]\n{lines}\n");
        read(&text).map_err(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn tones_and_levels_are_as_shipped_until_said_otherwise() {
        for text in ["", EMBEDDED] {
            let shipped = read(text).expect("right").announcements;
            assert_eq!(shipped.repeat_tone, tone::repeat_tone());
            assert_eq!(shipped.beep, tone::beep());
            assert_eq!(shipped.prompt_level_db, 0);
        }
        let lines = "prompt_level = -6\nbeep = { level = -12 }\n\
                     repeat_tone = { frequency = 440, length = \"50ms\", level = -60 }";
        let own = read_part(lines).expect("right").announcements;
        assert_eq!(own.prompt_level_db, -6);
        let level_dbfs = -12.0;
        let beep = ToneShape {
            level_dbfs,
            ..tone::beep()
        };
        assert_eq!(own.beep, beep);
        let repeat_tone = ToneShape {
            frequency_hz: 440.0,
            length_ms: 50,
            level_dbfs: -60.0,
        };
        assert_eq!(own.repeat_tone, repeat_tone);
        let longest = read_part("[announcements.beep]\nlength = \"2s\"\nfrequency = 3400");
        let longest = longest.expect("right").announcements.beep;
        assert_eq!((longest.length_ms, longest.frequency_hz), (2_000, 3_400.0));
    }

    #[test]
    fn every_mistake_is_named_with_what_is_allowed() {
        let check = |line: &str, expected: &str| {
            let mistakes = read_part(line).expect_err(line);
            assert_eq!(mistakes, [format!("line 2: announcements.{expected}")]);
        };
        let number =
            |low: i64, high: i64| format!("is outside {low}..{high}; write a whole number");
        for (value, allowed) in [("299", number(300, 3_400)), ("3401", number(300, 3_400))] {
            check(
                &format!("beep = {{ frequency = {value} }}"),
                &format!("beep.frequency: {value} {allowed}"),
            );
        }
        for value in ["-61", "-5", "0", "-20.5", "\"-20\""] {
            check(
                &format!("repeat_tone = {{ level = {value} }}"),
                &format!("repeat_tone.level: {value} {}", number(-60, -6)),
            );
        }
        for value in ["\"49ms\"", "\"2001ms\"", "\"3s\"", "\"\"", "500"] {
            check(
                &format!("repeat_tone = {{ length = {value} }}"),
                &format!("repeat_tone.length: {value} is not allowed; write 50ms to 2s"),
            );
        }
        for value in ["-41", "21"] {
            check(
                &format!("prompt_level = {value}"),
                &format!("prompt_level: {value} {}", number(-40, 20)),
            );
        }
        check("beep = 1000", "beep: must be a table");
        check(
            "beep = { frequncy = 1000 }",
            "beep.frequncy: unknown key; did you mean frequency?",
        );
    }
}
