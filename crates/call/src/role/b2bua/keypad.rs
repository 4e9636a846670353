//! The keys of the parties of a call: which reports of a press are of one that is known already, and
//! which wait until the party may be told the next one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use duolog_sip::endpoint::ClientKey;

use crate::feature_code::Digit;
use crate::role::b2bua::dtmf_info::KeyForm;

/// Within how long both reports of one press come: a key may be held for 8 s, and an INFO that is lost is
/// sent again until 7.5 s have passed.
const TOGETHER: Duration = Duration::from_secs(10);

/// Presses that are remembered, and keys that may wait; nobody presses more in that time.
const MOST: usize = 32;

/// Between two keys that are sent.
const BETWEEN_MS: u64 = 100;

/// How a press was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// With the media: as telephone-event, or as a tone that was heard.
    Media,
    /// In INFO.
    Info(KeyForm),
}

/// Whether a report tells something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// A key was pressed.
    Press,
    /// The press is known from the other way.
    Known,
}

/// The presses of one party. Phones that send each key with the media and in INFO as well are not few:
/// whichever report of a press comes first counts, and the other one is taken and is nothing.
#[derive(Debug, Default)]
pub(crate) struct Keypad {
    /// How the party writes its keys into INFO, where it does.
    form: Option<KeyForm>,
    /// What was reported by one way alone, the oldest first.
    single: Vec<Single>,
    habit: Habit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Habit {
    #[default]
    OneWay,
    /// The party has sent a press by both ways: its keys go on as the first one did.
    BothWays,
}

struct Single {
    at: Instant,
    event: u8,
    by: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Media,
    Info,
}

impl std::fmt::Debug for Single {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Single({:?}, hidden)", self.by)
    }
}

impl Keypad {
    /// A press is reported.
    pub(crate) fn reported(&mut self, now: Instant, way: Way, digit: Digit) -> Report {
        let by = match way {
            Way::Media => By::Media,
            Way::Info(_) => By::Info,
        };
        self.single.retain(|one| now < one.at + TOGETHER);
        let mut known = self.single.iter();
        let known = known.position(|one| one.by != by && one.event == digit.event);
        if let Some(at) = known {
            self.single.remove(at);
            self.habit = Habit::BothWays;
            return Report::Known;
        }
        if self.single.len() >= MOST {
            self.single.remove(0);
        }
        let (at, event) = (now, digit.event);
        self.single.push(Single { at, event, by });
        if let (Way::Info(form), Habit::OneWay) = (way, self.habit) {
            self.form = Some(form);
        }
        Report::Press
    }

    /// The form in which the party's keys go on, where they go on in INFO.
    pub(super) fn form(&self) -> Option<KeyForm> {
        self.form
    }
}

/// The keys that go to one party in INFO: one at a time, so that they come in their order.
#[derive(Debug, Default)]
pub(crate) struct Onward {
    running: Option<(ClientKey, Digit)>,
    waiting: VecDeque<(KeyForm, Digit)>,
    /// Until when keys are being sent that could not go in INFO: what comes after them goes as they do.
    as_keys_until: Option<Instant>,
}

impl Onward {
    /// Whether keys may go in INFO now.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.as_keys_until.is_none_or(|until| until <= now)
    }

    /// More keys for the party; what comes back is to go as keys, since nothing moves here.
    pub(super) fn more(&mut self, now: Instant, form: KeyForm, digits: Vec<Digit>) -> Vec<Digit> {
        self.waiting.extend(digits.into_iter().map(|d| (form, d)));
        match self.waiting.len() > MOST {
            true => self.instead(now, None),
            false => Vec::new(),
        }
    }

    /// The next key, if it may go now.
    pub(super) fn next(&mut self) -> Option<(KeyForm, Digit)> {
        self.waiting.pop_front_if(|_| self.running.is_none())
    }

    /// A key is on its way.
    pub(super) fn runs(&mut self, key: ClientKey, digit: Digit) {
        self.running = Some((key, digit));
    }

    /// The key whose INFO this was: its answer has come, or none will.
    pub(super) fn answered(&mut self, key: ClientKey) -> Option<Digit> {
        let running = self.running.take_if(|(running, _)| *running == key)?;
        Some(running.1)
    }

    /// The request was sent again under another key.
    pub(super) fn renamed(&mut self, old: ClientKey, new: ClientKey) {
        if let Some((running, _)) = self.running.as_mut().filter(|(key, _)| *key == old) {
            *running = new;
        }
    }

    /// What could not go in INFO, with all that waits behind it, to be sent as keys.
    pub(super) fn instead(&mut self, now: Instant, refused: Option<Digit>) -> Vec<Digit> {
        let waiting = self.waiting.drain(..).map(|(_, digit)| digit);
        let digits: Vec<Digit> = refused.into_iter().chain(waiting).collect();
        let lengths = digits.iter().map(|digit| u64::from(digit.duration_ms));
        let length_ms = lengths.map(|ms| ms + BETWEEN_MS).sum();
        self.as_keys_until = Some(now + Duration::from_millis(length_ms));
        digits
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need one base instant")]
mod tests {
    use super::*;

    /// Reports at these milliseconds by media (`m`) or in INFO (`i`); which of them are presses.
    fn check(reports: &[(u64, char, u8)], presses: &[u8]) {
        let start = Instant::now();
        let mut keypad = Keypad::default();
        let mut counted = Vec::new();
        for (ms, by, event) in reports {
            let way = match by {
                'm' => Way::Media,
                _ => Way::Info(KeyForm::Relay),
            };
            let digit = Digit {
                event: *event,
                duration_ms: 100,
            };
            let now = start + Duration::from_millis(*ms);
            if keypad.reported(now, way, digit) == Report::Press {
                counted.push(*event);
            }
        }
        assert_eq!(counted, presses, "{reports:?}");
    }

    #[test]
    fn each_press_counts_once() {
        check(&[(0, 'm', 1), (200, 'm', 1)], &[1, 1]);
        check(&[(0, 'i', 1), (200, 'i', 1)], &[1, 1]);
        check(&[(0, 'm', 1), (20, 'i', 1)], &[1]);
        check(&[(0, 'i', 1), (100, 'm', 1)], &[1]);
        let twice = [(0, 'i', 1), (100, 'm', 1), (300, 'i', 1), (400, 'm', 1)];
        check(&twice, &[1, 1]);
        let behind = [(0, 'm', 1), (150, 'm', 1), (500, 'i', 1), (501, 'i', 1)];
        check(&behind, &[1, 1]);
        let crossed = [(0, 'm', 1), (10, 'i', 2), (20, 'i', 1), (30, 'm', 2)];
        check(&crossed, &[1, 2]);
        // One of the reports was lost.
        let lost = [
            (0, 'm', 1),
            (400, 'm', 1),
            (420, 'i', 1),
            (800, 'm', 1),
            (820, 'i', 1),
        ];
        check(&lost, &[1, 1, 1]);
        // What was heard long ago by mistake takes nothing from what is pressed now.
        check(&[(0, 'm', 5), (10_000, 'i', 5)], &[5, 5]);
        check(&[(0, 'm', 5), (9_999, 'i', 5)], &[5]);
        // Each way by itself still counts.
        check(&[(0, 'm', 5), (300, 'i', 6), (600, 'i', 7)], &[5, 6, 7]);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_not_printed() {
        let start = Instant::now();
        let mut keypad = Keypad::default();
        let digit = Digit {
            event: 7,
            duration_ms: 77,
        };
        for _ in 0..1_000 {
            assert_eq!(keypad.reported(start, Way::Media, digit), Report::Press);
        }
        assert_eq!(keypad.single.len(), MOST);
        assert!(!format!("{keypad:?}").contains('7'));
    }

    #[test]
    fn keys_wait_for_each_other_and_stay_in_order() {
        let now = Instant::now();
        let key = |event| Digit {
            event,
            duration_ms: 100,
        };
        let mut onward = Onward::default();
        assert!(
            onward
                .more(now, KeyForm::Plain, vec![key(1), key(2), key(3)])
                .is_empty()
        );
        assert_eq!(onward.next(), Some((KeyForm::Plain, key(1))));
        onward.runs(ClientKey(1), key(1));
        assert_eq!(onward.next(), None);
        assert_eq!(onward.answered(ClientKey(2)), None);
        onward.renamed(ClientKey(1), ClientKey(2));
        assert_eq!(onward.answered(ClientKey(2)), Some(key(1)));
        assert!(onward.is_open(now));
        assert_eq!(onward.instead(now, Some(key(1))), [key(1), key(2), key(3)]);
        assert!(!onward.is_open(now + Duration::from_millis(599)));
        assert!(onward.is_open(now + Duration::from_millis(600)));
        let many = vec![key(4); MOST];
        assert!(onward.more(now, KeyForm::Plain, many).is_empty());
        let all = onward.more(now, KeyForm::Plain, vec![key(5)]);
        assert_eq!((all.len(), onward.next()), (MOST + 1, None));
    }
}
