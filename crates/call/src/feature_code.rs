//! Feature codes: which of the owner's digits are for duolog and which for the other party.
//!
//! A digit that may begin a code is held back. When the code is complete it is swallowed whole;
//! when it can no longer become one, or a digit has been held for as long as it may be, what was
//! held is released in the order in which it was pressed. So no digit comes later than that, and a
//! code is to be dialled within that time. No digit is ever printed: `Debug` of everything here shows
//! counts only.

use std::fmt;
use std::time::{Duration, Instant};

use crate::recording::Control;

/// How long a digit is held back at most, unless the node is told otherwise.
const WAIT: Duration = Duration::from_secs(3);

/// One key press (RFC 4733 §2.3). `Debug` does not show which key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    /// The event: 0 to 9, 10 for `*`, 11 for `#`, 12 to 15 for A to D.
    pub event: u8,
    /// How long the key was down, in milliseconds.
    pub duration_ms: u16,
}

impl fmt::Debug for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digit(hidden)")
    }
}

/// The codes in force, and how long a digit waits for the rest of one. No code is the beginning of
/// another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureCodes {
    codes: [(Control, Vec<u8>); 4],
    wait: Duration,
}

impl FeatureCodes {
    /// Codes as they are dialled, such as `*48`, one for each control: 1 to 8 characters of
    /// `0-9*#A-D`.
    pub fn new(start: &str, stop: &str, pause: &str, resume: &str) -> Result<Self, CodeError> {
        let written = [start, stop, pause, resume];
        let codes = [
            (Control::Start, events(start)?),
            (Control::Stop, events(stop)?),
            (Control::Pause, events(pause)?),
            (Control::Resume, events(resume)?),
        ];
        for (at, (_, one)) in codes.iter().enumerate() {
            for (later, (_, other)) in codes.iter().enumerate().skip(at + 1) {
                if one.starts_with(other) || other.starts_with(one) {
                    return Err(CodeError::Overlap {
                        one: written[at].to_owned(),
                        other: written[later].to_owned(),
                    });
                }
            }
        }
        Ok(Self { codes, wait: WAIT })
    }

    /// The same codes; a digit that may belong to one is held back for so long at most.
    #[must_use]
    pub fn waiting(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }
}

impl Default for FeatureCodes {
    /// `*44` starts, `*45` stops, `*48` pauses, `*49` resumes; a digit waits for 3 s at most.
    fn default() -> Self {
        let codes = [
            (Control::Start, vec![10, 4, 4]),
            (Control::Stop, vec![10, 4, 5]),
            (Control::Pause, vec![10, 4, 8]),
            (Control::Resume, vec![10, 4, 9]),
        ];
        Self { codes, wait: WAIT }
    }
}

/// Why a code was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Empty or longer than eight characters.
    #[error("feature code {code:?} has {} characters; 1 to 8 are allowed", code.chars().count())]
    Length {
        /// The code as written.
        code: String,
    },
    /// A character that no telephone key sends.
    #[error("feature code {code:?} contains {character:?}; only 0-9, *, # and A-D are keys")]
    Character {
        /// The code as written.
        code: String,
        /// The first character that is not a key.
        character: char,
    },
    /// One code is the beginning of the other, or both are the same.
    #[error("feature codes {one:?} and {other:?} begin alike: the shorter would hide the other")]
    Overlap {
        /// One code as written.
        one: String,
        /// The other one.
        other: String,
    },
}

fn events(code: &str) -> Result<Vec<u8>, CodeError> {
    if !(1..=8).contains(&code.chars().count()) {
        return Err(CodeError::Length {
            code: code.to_owned(),
        });
    }
    code.chars()
        .map(|character| match character.to_ascii_uppercase() {
            digit @ '0'..='9' => Ok(digit as u8 - b'0'),
            '*' => Ok(10),
            '#' => Ok(11),
            letter @ 'A'..='D' => Ok(letter as u8 - b'A' + 12),
            _ => Err(CodeError::Character {
                code: code.to_owned(),
                character,
            }),
        })
        .collect()
}

/// What comes of a digit. Both empty: the digit is held back for now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Digits for the other party, in the order pressed.
    pub release: Vec<Digit>,
    /// The code that was completed, after what is released.
    pub code: Option<Control>,
}

/// Sorts the owner's digits into codes and digits for the other party.
pub struct Collector {
    codes: FeatureCodes,
    /// The oldest first, with when each was pressed.
    held: Vec<(Instant, Digit)>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collector({} held)", self.held.len())
    }
}

impl Collector {
    /// A collector that holds nothing.
    pub fn new(codes: FeatureCodes) -> Self {
        let held = Vec::new();
        Self { codes, held }
    }

    /// The owner pressed a key.
    #[must_use]
    pub fn press(&mut self, now: Instant, digit: Digit) -> Verdict {
        let mut verdict = self.expire(now);
        self.held.push((now, digit));
        self.sift(&mut verdict);
        if let Some(code) = self.complete() {
            self.held.clear();
            verdict.code = Some(code);
        }
        verdict
    }

    /// Time has passed; call at [`Collector::deadline`].
    #[must_use]
    pub fn expire(&mut self, now: Instant) -> Verdict {
        let mut verdict = Verdict::default();
        while self.deadline().is_some_and(|at| at <= now) {
            verdict.release.push(self.held.remove(0).1);
            self.sift(&mut verdict);
        }
        verdict
    }

    /// When the oldest digit that is held is to be released.
    pub fn deadline(&self) -> Option<Instant> {
        let (pressed, _) = self.held.first()?;
        Some(*pressed + self.codes.wait)
    }

    /// The longest tail that may still become a code stays; what is before it never can.
    fn sift(&mut self, verdict: &mut Verdict) {
        while !self.held.is_empty() && !self.may_become_code() {
            verdict.release.push(self.held.remove(0).1);
        }
    }

    fn may_become_code(&self) -> bool {
        self.codes.codes.iter().any(|(_, code)| self.begins(code))
    }

    fn complete(&self) -> Option<Control> {
        let mut all = self.codes.codes.iter();
        all.find(|(_, code)| code.len() == self.held.len() && self.begins(code))
            .map(|(control, _)| *control)
    }

    /// Whether what is held is how `code` begins.
    fn begins(&self, code: &[u8]) -> bool {
        code.len() >= self.held.len()
            && self
                .held
                .iter()
                .zip(code)
                .all(|((_, held), want)| held.event == *want)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need one base instant")]
mod tests {
    use super::*;

    /// Presses `keys` (a `.` waits 3.1 s) and prints what came out: released keys as themselves,
    /// codes as `S`, `T`, `P` and `R`, one `|` per time-out.
    fn check(codes: FeatureCodes, keys: &str, expected: &str) {
        let mut collector = Collector::new(codes);
        let mut now = Instant::now();
        let mut seen = String::new();
        let write = |verdict: Verdict, seen: &mut String| {
            for digit in verdict.release {
                seen.push(b"0123456789*#ABCD"[usize::from(digit.event)] as char);
            }
            match verdict.code {
                Some(Control::Start) => seen.push('S'),
                Some(Control::Stop) => seen.push('T'),
                Some(Control::Pause) => seen.push('P'),
                Some(Control::Resume) => seen.push('R'),
                None => {}
            }
        };
        for key in keys.chars() {
            if key == '.' {
                now += Duration::from_millis(3100);
                let verdict = collector.expire(now);
                write(verdict, &mut seen);
                assert_eq!(collector.deadline(), None);
                seen.push('|');
                continue;
            }
            now += Duration::from_millis(200);
            let event = events(&key.to_string()).unwrap()[0];
            let verdict = collector.press(
                now,
                Digit {
                    event,
                    duration_ms: 100,
                },
            );
            write(verdict, &mut seen);
        }
        assert_eq!(seen, expected, "keys {keys:?}");
        assert_eq!(collector.deadline().is_some(), !collector.held.is_empty());
    }

    #[test]
    fn digits_are_sorted() {
        let default = FeatureCodes::default;
        check(default(), "*48", "P");
        check(default(), "*49", "R");
        check(default(), "*48*49", "PR");
        check(default(), "*44*45", "ST");
        check(default(), "1*482", "1P2");
        check(default(), "123", "123");
        check(default(), "*", "");
        check(default(), "*4", "");
        check(default(), "*4.8", "*4|8");
        check(default(), "*.48", "*|48");
        check(default(), "*47", "*47");
        check(default(), "**48", "*P");
        check(default(), "*4*48", "*4P");
        check(default(), "*4*44", "*4S");
        check(default(), "*4*4*49", "*4*4R");
        check(default(), "*#06#", "*#06#");
        check(default(), "ABCD", "ABCD");
        let other = || FeatureCodes::new("*1", "*2", "#1", "##").unwrap();
        check(other(), "#1##", "PR");
        check(other(), "###1", "RP");
        check(other(), "#2*48", "#2*48");
    }

    #[test]
    fn a_late_digit_finds_the_earlier_ones_released() {
        let mut collector = Collector::new(FeatureCodes::default());
        let start = Instant::now();
        let star = Digit {
            event: 10,
            duration_ms: 80,
        };
        assert_eq!(collector.press(start, star), Verdict::default());
        let verdict = collector.press(
            start + WAIT,
            Digit {
                event: 4,
                duration_ms: 90,
            },
        );
        assert_eq!(verdict.release.len(), 2);
        assert_eq!(verdict.release[0], star);
        assert_eq!(verdict.release[1].duration_ms, 90);
    }

    /// Presses keys at these milliseconds, and prints what comes out and when, looking every 100 ms.
    fn released(codes: FeatureCodes, keys: &[(u64, char)]) -> String {
        let mut collector = Collector::new(codes);
        let start = Instant::now();
        let mut seen = Vec::new();
        for ms in (0..20_000).step_by(100) {
            let now = start + Duration::from_millis(ms);
            let mut verdicts = vec![collector.expire(now)];
            for (_, key) in keys.iter().filter(|(at, _)| *at == ms) {
                let event = events(&key.to_string()).unwrap()[0];
                let duration_ms = 80;
                verdicts.push(collector.press(now, Digit { event, duration_ms }));
            }
            for verdict in verdicts {
                for digit in verdict.release {
                    let key = b"0123456789*#ABCD"[usize::from(digit.event)] as char;
                    seen.push(format!("{key}{ms}"));
                }
                seen.extend(verdict.code.map(|code| format!("{code:?}{ms}")));
            }
        }
        seen.join(" ")
    }

    #[test]
    fn no_digit_waits_longer_than_it_may() {
        let default = FeatureCodes::default;
        let slow = [(0, '*'), (2_900, '4'), (5_800, '8')];
        assert_eq!(released(default(), &slow), "*3000 43000 85800");
        let in_time = [(0, '*'), (1_400, '4'), (2_900, '8')];
        assert_eq!(released(default(), &in_time), "Pause2900");
        // What is left of it may begin a code of its own, and waits from its own press.
        let twice = FeatureCodes::new("##1", "*2", "*3", "*4").unwrap();
        let keys = [(0, '#'), (2_000, '#'), (4_000, '#'), (4_500, '1')];
        assert_eq!(released(twice.clone(), &keys[..2]), "#3000 #5000");
        assert_eq!(released(twice, &keys), "#3000 Start4500");
        let longest = FeatureCodes::new("#1111111", "*2", "*3", "*4").unwrap();
        let keys: Vec<(u64, char)> = (0..7)
            .map(|n| (n * 900, if n == 0 { '#' } else { '1' }))
            .collect();
        let (one, ten) = (Duration::from_secs(1), Duration::from_secs(10));
        assert_eq!(
            released(longest.clone().waiting(one), &keys),
            "#1000 11000 11800 12700 13600 14500 15400"
        );
        assert_eq!(
            released(longest.waiting(ten), &keys),
            "#10000 110000 110000 110000 110000 110000 110000"
        );
    }

    #[test]
    fn codes_are_checked() {
        assert!(matches!(
            FeatureCodes::new("*44", "*45", "", "*49"),
            Err(CodeError::Length { .. })
        ));
        assert!(matches!(
            FeatureCodes::new("*44", "*45", "*48", "123456789"),
            Err(CodeError::Length { .. })
        ));
        assert!(matches!(
            FeatureCodes::new("*44", "*45", "*4x", "*49"),
            Err(CodeError::Character { character: 'x', .. })
        ));
        assert!(matches!(
            FeatureCodes::new("*44", "*4", "*48", "*49"),
            Err(CodeError::Overlap { .. })
        ));
        assert!(matches!(
            FeatureCodes::new("*44", "*45", "*48", "*48"),
            Err(CodeError::Overlap { .. })
        ));
        assert_eq!(
            FeatureCodes::new("*44", "*45", "*48", "*49").unwrap(),
            FeatureCodes::default()
        );
    }

    #[test]
    fn no_digit_is_printed() {
        let mut collector = Collector::new(FeatureCodes::default());
        let now = Instant::now();
        let _ = collector.press(
            now,
            Digit {
                event: 10,
                duration_ms: 77,
            },
        );
        let verdict = collector.press(
            now,
            Digit {
                event: 7,
                duration_ms: 77,
            },
        );
        for text in [format!("{collector:?}"), format!("{verdict:?}")] {
            assert!(!text.contains("77") && !text.contains("10"), "{text}");
        }
    }
}
