//! Keys pressed on a phone, as telephone-events on the grid of its packets (RFC 4733 §2.5.1).
//!
//! Written apart from `duolog_rtp`'s own generator: what tests a receiver must not be its brother.

use std::collections::VecDeque;

/// How long a key is held.
const HELD_MS: u32 = 100;
/// How long after a release the next key comes down.
const GAP_MS: u32 = 60;
/// How often the packet that ends a press is sent in all (RFC 4733 §2.5.1.4).
const END_PACKETS: u32 = 3;
/// Ticks of the event's clock in a millisecond.
const TICKS_PER_MS: u32 = 8;

/// One telephone-event packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyPacket {
    pub payload: [u8; 4],
    /// First packet of a press.
    pub first: bool,
    /// How far behind the audio's clock its time stamp lies: the press's beginning.
    pub behind_ticks: u32,
}

impl KeyPacket {
    /// The payload under a clock that is so many times faster than 8 kHz.
    pub(super) fn at_clock(&self, times: u32) -> [u8; 4] {
        let [event, flags, high, low] = self.payload;
        let duration = u32::from(u16::from_be_bytes([high, low])) * times;
        let [high, low] = (duration as u16).to_be_bytes();
        [event, flags, high, low]
    }
}

/// What takes the place of an audio packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// No key: the voice may speak.
    Free,
    /// The gap between two keys.
    Quiet,
    /// A packet of a press.
    Key(KeyPacket),
}

/// The keys still to be pressed.
#[derive(Debug, Clone, Default)]
pub(super) struct Keypad {
    waiting: VecDeque<u8>,
    down: Option<(u8, u32)>,
}

impl Keypad {
    /// Queues `digits`; characters that are no key are left out and counted.
    pub(super) fn press(&mut self, digits: &str) -> usize {
        let (keys, other): (Vec<_>, Vec<_>) =
            digits.chars().map(event_of).partition(Option::is_some);
        self.waiting.extend(keys.into_iter().flatten());
        other.len()
    }

    /// Forgets what is not yet pressed and lets go.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What the packet interval of `ptime_ms` that begins now is used for.
    pub(super) fn turn(&mut self, ptime_ms: u32) -> Turn {
        let (event, since_ms) = match self.down.take() {
            Some(down) => down,
            None => match self.waiting.pop_front() {
                Some(event) => (event, 0),
                None => return Turn::Free,
            },
        };
        let next_ms = since_ms + ptime_ms;
        let last_end_ms = HELD_MS.next_multiple_of(ptime_ms) + (END_PACKETS - 1) * ptime_ms;
        if next_ms < (HELD_MS + GAP_MS).max(last_end_ms) {
            self.down = Some((event, next_ms));
        }
        if next_ms > last_end_ms {
            return Turn::Quiet;
        }
        let ended = next_ms >= HELD_MS;
        let duration = (next_ms.min(HELD_MS) * TICKS_PER_MS) as u16;
        let [high, low] = duration.to_be_bytes();
        let volume = 10;
        Turn::Key(KeyPacket {
            payload: [event, if ended { 0x80 | volume } else { volume }, high, low],
            first: since_ms == 0,
            behind_ticks: since_ms * TICKS_PER_MS,
        })
    }
}

/// RFC 4733 §3.2: 0-9, `*` 10, `#` 11, A-D 12-15.
fn event_of(key: char) -> Option<u8> {
    match key {
        '0'..='9' => Some(key as u8 - b'0'),
        '*' => Some(10),
        '#' => Some(11),
        'A'..='D' => Some(key as u8 - b'A' + 12),
        'a'..='d' => Some(key as u8 - b'a' + 12),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every turn until the voice may speak: `event+duration`, M first, E end, `-` quiet.
    fn check(digits: &str, ptime_ms: u32, expected: &str) {
        let mut keypad = Keypad::default();
        keypad.press(digits);
        let mut told = Vec::new();
        loop {
            match keypad.turn(ptime_ms) {
                Turn::Free => break,
                Turn::Quiet => told.push("-".to_owned()),
                Turn::Key(KeyPacket {
                    payload: [event, flags, high, low],
                    first,
                    behind_ticks,
                }) => {
                    let duration = u16::from_be_bytes([high, low]);
                    let (mark, end) = (
                        if first { "M" } else { "" },
                        if flags & 0x80 != 0 { "E" } else { "" },
                    );
                    told.push(format!("{event}+{duration}{mark}{end}@{behind_ticks}"));
                }
            }
        }
        assert_eq!(told.join(" "), expected);
    }

    #[test]
    fn keys_are_held_100_ms_and_60_ms_apart() {
        check(
            "*4",
            20,
            "10+160M@0 10+320@160 10+480@320 10+640@480 10+800E@640 10+800E@800 10+800E@960 - \
             4+160M@0 4+320@160 4+480@320 4+640@480 4+800E@640 4+800E@800 4+800E@960 -",
        );
        check(
            "A",
            30,
            "12+240M@0 12+480@240 12+720@480 12+800E@720 12+800E@960 12+800E@1200",
        );
        check(" x-", 20, "");
    }
}
