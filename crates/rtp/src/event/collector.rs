//! Packets of telephone-events in, one digit per key press out (RFC 4733 §2.5.2).

use std::time::{Duration, Instant};

use super::{Digit, LAST_DIGIT, Phase, TelephoneEvent};
use crate::{ClockRate, RtpTimestamp};

/// Updates come at least every 50 ms (RFC 4733 §2.5.1.2); this long without one, jitter and two lost
/// packets allowed for, means that all three end packets were lost.
const END_LOST: Duration = Duration::from_millis(250);
/// How far behind the newest press a late repetition may be, in seconds of the media clock. Further
/// back is a sender that set its clock anew.
const MEMORY_S: u32 = 10;

/// Turns the packets of one source's telephone-events into key presses.
#[derive(Debug, Clone)]
pub struct Collector {
    rate: ClockRate,
    newest: Option<Press>,
}

/// The newest press, open or already told.
#[derive(Debug, Clone, Copy)]
struct Press {
    event: u8,
    timestamp: RtpTimestamp,
    /// Ticks of the segments before this one (RFC 4733 §2.5.1.3).
    earlier_ticks: u32,
    duration_ticks: u16,
    /// When the end is given up; `None` once the digit was told.
    give_up: Option<Instant>,
}

impl Collector {
    /// A collector that has seen nothing.
    pub fn new(rate: ClockRate) -> Self {
        Self { rate, newest: None }
    }

    /// Takes one packet. Two digits come out when a press begins and ends in this packet (its earlier
    /// ones were lost) while the end of the press before is still missing.
    #[must_use]
    pub fn receive(
        &mut self,
        now: Instant,
        timestamp: RtpTimestamp,
        event: TelephoneEvent,
    ) -> [Option<Digit>; 2] {
        if event.event > LAST_DIGIT {
            return [None, None];
        }
        let mut before = None;
        match self.newest {
            Some(press) if press.timestamp == timestamp => {
                if press.event != event.event {
                    return [None, None];
                }
            }
            Some(press) if press.continues_at(timestamp, event.event) => {
                self.next_segment(timestamp)
            }
            Some(press) if self.is_old(press, timestamp) => return [None, None],
            _ => {
                before = self.tell();
                self.newest = Some(Press {
                    event: event.event,
                    timestamp,
                    earlier_ticks: 0,
                    duration_ticks: 0,
                    give_up: Some(now + END_LOST),
                });
            }
        }
        [before, self.go_on(now, event)]
    }

    /// A packet of the newest press.
    fn go_on(&mut self, now: Instant, event: TelephoneEvent) -> Option<Digit> {
        let press = self.newest.as_mut()?;
        let give_up = press.give_up.as_mut()?;
        *give_up = now + END_LOST;
        press.duration_ticks = press.duration_ticks.max(event.duration_ticks);
        match event.phase {
            Phase::Held => None,
            Phase::Released => self.tell(),
        }
    }

    fn next_segment(&mut self, timestamp: RtpTimestamp) {
        if let Some(press) = &mut self.newest {
            press.earlier_ticks = press.earlier_ticks.saturating_add(u32::from(u16::MAX));
            press.timestamp = timestamp;
            press.duration_ticks = 0;
        }
    }

    fn is_old(&self, press: Press, timestamp: RtpTimestamp) -> bool {
        let behind = press.timestamp.since(timestamp);
        behind > 0 && behind.unsigned_abs() <= self.rate.hz().saturating_mul(MEMORY_S)
    }

    /// When [`Collector::expire`] is to be called, if anything is pending.
    pub fn deadline(&self) -> Option<Instant> {
        self.newest?.give_up
    }

    /// The digit whose end never came, once its deadline has passed.
    #[must_use]
    pub fn expire(&mut self, now: Instant) -> Option<Digit> {
        if self.deadline()? > now {
            return None;
        }
        self.tell()
    }

    /// The pending digit, told once.
    fn tell(&mut self) -> Option<Digit> {
        let press = self.newest.as_mut()?;
        press.give_up.take()?;
        let ticks = press
            .earlier_ticks
            .saturating_add(u32::from(press.duration_ticks));
        let duration_ms = u64::from(ticks) * 1_000 / u64::from(self.rate.hz());
        Some(Digit {
            event: press.event,
            duration_ms: u16::try_from(duration_ms).unwrap_or(u16::MAX),
        })
    }
}

impl Press {
    /// RFC 4733 §2.5.1.3: a press longer than 65,535 ticks goes on as a new segment whose time stamp
    /// is that far on.
    fn continues_at(&self, timestamp: RtpTimestamp, event: u8) -> bool {
        self.give_up.is_some()
            && self.event == event
            && self.timestamp.plus(u32::from(u16::MAX)) == timestamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ms, start};

    /// One packet per word: `at:timestamp:event:duration`, `!` behind it for the E bit; or `at:?` to
    /// look whether a deadline has passed. Answers `event/duration_ms` for each digit, with when.
    #[track_caller]
    fn check(packets: &str, expected: &str) {
        let (mut collector, begin) = (Collector::new(ClockRate::HZ_8000), start());
        let mut told = Vec::new();
        for word in packets.split_whitespace() {
            let fields: Vec<&str> = word.trim_end_matches('!').split(':').collect();
            let at: u64 = fields[0].parse().expect("a time");
            let now = begin + ms(at);
            let digits = if fields[1] == "?" {
                [collector.expire(now), None]
            } else {
                let timestamp: i64 = fields[1].parse().expect("a time stamp");
                let phase = if word.ends_with('!') {
                    Phase::Released
                } else {
                    Phase::Held
                };
                let event = TelephoneEvent {
                    event: fields[2].parse().expect("an event"),
                    phase,
                    volume: 10,
                    duration_ticks: fields[3].parse().expect("a duration"),
                };
                collector.receive(now, RtpTimestamp(timestamp as u32), event)
            };
            for digit in digits.into_iter().flatten() {
                told.push(format!("{at}:{}/{}", digit.event, digit.duration_ms));
            }
        }
        assert_eq!(told.join(" "), expected, "{packets}");
    }

    #[test]
    fn one_press_is_one_digit() {
        let press = "0:160:10:160 20:160:10:320 40:160:10:480! 60:160:10:480! 80:160:10:480!";
        check(press, "40:10/60");
        check("0:160:10:160 60:160:10:480!", "60:10/60");
        check("80:160:10:480!", "80:10/60");
        check("0:160:10:480! 0:160:10:480! 1:160:10:160 400:?", "0:10/60");
        // The same key twice.
        check(
            "0:160:4:480! 150:1360:4:160 190:1360:4:480! 210:1360:4:480!",
            "0:4/60 190:4/60",
        );
        // Over the wrap of the time stamp.
        check(
            "0:-100:4:480! 150:1100:8:480! 160:-100:4:480!",
            "0:4/60 150:8/60",
        );
    }

    #[test]
    fn lost_ends_are_made_up_for() {
        check("0:160:10:160 20:160:10:320 269:? 270:? 280:?", "270:10/40");
        check(
            "0:160:10:160 20:160:10:320 150:1360:4:160 190:1360:4:480!",
            "150:10/40 190:4/60",
        );
        check(
            "0:160:10:160 150:1360:4:480! 170:1360:4:480!",
            "150:10/20 150:4/60",
        );
        // The end comes after it was given up: told already.
        check("0:160:10:160 300:? 310:160:10:480! 900:?", "300:10/20");
    }

    #[test]
    fn late_and_foreign_packets_are_no_digits() {
        check(
            "0:160:4:160 150:1360:8:160 155:160:4:480! 160:1360:8:480!",
            "150:4/20 160:8/60",
        );
        check("0:160:36:160 40:160:36:480!", "");
        check("0:160:16:480! 0:161:17:480!", "0:16/60");
        // Another event under the same time stamp contradicts the first.
        check("0:160:4:160 20:160:5:320! 40:160:4:480!", "40:4/60");
        // A clock set far back is a new beginning, a little back is a repetition.
        check(
            "0:900000:4:480! 90:899000:4:480! 100:160:4:480!",
            "0:4/60 100:4/60",
        );
    }

    #[test]
    fn long_presses_go_on_in_segments() {
        check(
            "0:0:1:65535 20:65535:1:160 40:65535:1:320! 60:65535:1:320!",
            "40:1/8231",
        );
        check(
            "0:0:1:65535 20:65535:1:160 30:0:1:65535 300:?",
            "300:1/8211",
        );
        // The first segment ended: what follows is a press of its own.
        check("0:0:1:65535! 20:65535:1:160!", "0:1/8191 20:1/20");
    }
}
