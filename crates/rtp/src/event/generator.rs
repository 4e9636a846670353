//! Digits in, a paced series of telephone-event packets out (RFC 4733 §2.5.1).

use super::{Digit, Phase, TelephoneEvent};
use crate::ClockRate;

/// Time between two packets of a press.
const UPDATE_MS: u32 = 20;
/// Silence between two presses.
const GAP_MS: u32 = 50;
/// The packet that ends a press is sent this often in all (RFC 4733 §2.5.1.4).
const END_PACKETS: u32 = 3;
/// Power of the tones, in -dBm0: what telephones usually say.
const VOLUME: u8 = 10;

/// One telephone-event packet to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacedEvent {
    /// When, in milliseconds after the series began.
    pub offset_ms: u32,
    /// Its payload.
    pub payload: [u8; 4],
    /// Set on the first packet of each press (RFC 4733 §2.4).
    pub marker: bool,
    /// Its time stamp, in ticks after the time stamp at which the series began; the same for all
    /// packets of a press.
    pub timestamp_ticks: u32,
}

/// The packets of a row of digits, in the order they are to be sent.
///
/// A press is clamped to 20 ms at least and to the 65,535 ticks one segment holds at most.
#[derive(Debug, Clone)]
pub struct Generator {
    rate: ClockRate,
    digits: std::vec::IntoIter<Digit>,
    current: Option<Press>,
    next_start_ms: u32,
}

#[derive(Debug, Clone, Copy)]
struct Press {
    event: u8,
    start_ms: u32,
    duration_ticks: u16,
    /// Packets up to the first with the E bit.
    updates: u32,
    sent: u32,
}

impl Generator {
    /// The series for `digits`, its first packet at offset 0.
    pub fn new(digits: Vec<Digit>, rate: ClockRate) -> Self {
        Self {
            rate,
            digits: digits.into_iter(),
            current: None,
            next_start_ms: 0,
        }
    }

    /// When the series is over, its last gap included, in milliseconds after it began; final once the
    /// last packet was taken.
    pub fn end_ms(&self) -> u32 {
        self.next_start_ms
    }

    fn begin(&mut self) -> Option<Press> {
        let digit = self.digits.next()?;
        let longest_ms = u64::from(u16::MAX) * 1_000 / u64::from(self.rate.hz());
        let duration_ms = u64::from(digit.duration_ms)
            .max(u64::from(UPDATE_MS))
            .min(longest_ms);
        // At most `u16::MAX` ticks and milliseconds by the clamp above.
        let duration_ticks = (duration_ms * u64::from(self.rate.hz()) / 1_000) as u16;
        let updates = (duration_ms as u32).div_ceil(UPDATE_MS).max(1);
        let start_ms = self.next_start_ms;
        self.next_start_ms = start_ms + updates * UPDATE_MS + GAP_MS;
        Some(Press {
            event: digit.event,
            start_ms,
            duration_ticks,
            updates,
            sent: 0,
        })
    }

    fn ticks(&self, time_ms: u32) -> u32 {
        // Modulo 2^32, as time stamps are.
        (u64::from(time_ms) * u64::from(self.rate.hz()) / 1_000) as u32
    }
}

impl Iterator for Generator {
    type Item = PacedEvent;

    fn next(&mut self) -> Option<PacedEvent> {
        let mut press = match self.current.take() {
            Some(press) => press,
            None => self.begin()?,
        };
        press.sent += 1;
        let ended = press.sent >= press.updates;
        let event = TelephoneEvent {
            event: press.event,
            phase: if ended { Phase::Released } else { Phase::Held },
            volume: VOLUME,
            duration_ticks: if ended {
                press.duration_ticks
            } else {
                // Below the press's own ticks, so it fits.
                self.ticks(press.sent * UPDATE_MS) as u16
            },
        };
        let packet = PacedEvent {
            offset_ms: press.start_ms + (press.sent - 1) * UPDATE_MS,
            payload: event.write(),
            marker: press.sent == 1,
            timestamp_ticks: self.ticks(press.start_ms),
        };
        if press.sent < press.updates + END_PACKETS - 1 {
            self.current = Some(press);
        }
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RtpTimestamp;
    use crate::event::Collector;
    use crate::testing::{ms, start};

    fn series(digits: &[(u8, u16)]) -> Generator {
        let digits = digits
            .iter()
            .map(|&(event, duration_ms)| Digit { event, duration_ms })
            .collect();
        Generator::new(digits, ClockRate::HZ_8000)
    }

    #[test]
    fn two_digits_are_paced_as_the_rfc_asks() {
        let told: Vec<String> = series(&[(10, 60), (4, 50)])
            .map(|packet| {
                let event = TelephoneEvent::parse(&packet.payload).expect("just written");
                let mark = if packet.marker { "M" } else { "" };
                let end = if event.phase == Phase::Released {
                    "E"
                } else {
                    ""
                };
                let (at, stamp) = (packet.offset_ms, packet.timestamp_ticks);
                format!(
                    "{at}@{stamp}:{}+{}{mark}{end}",
                    event.event, event.duration_ticks
                )
            })
            .collect();
        let expected = "0@0:10+160M 20@0:10+320 40@0:10+480E 60@0:10+480E 80@0:10+480E \
            110@880:4+160M 130@880:4+320 150@880:4+400E 170@880:4+400E 190@880:4+400E";
        assert_eq!(told.join(" "), expected);
    }

    #[test]
    fn every_length_is_collected_again() {
        for duration_ms in [20, 21, 40, 99, 100, 250, 1_000, 8_191] {
            let (mut collector, begin) = (Collector::new(ClockRate::HZ_8000), start());
            let mut series = series(&[(11, duration_ms), (0, duration_ms)]);
            let mut digits = Vec::new();
            let mut last_ms = 0;
            for packet in series.by_ref() {
                let event = TelephoneEvent::parse(&packet.payload).expect("just written");
                let now = begin + ms(u64::from(packet.offset_ms));
                let timestamp = RtpTimestamp(u32::MAX - 300).plus(packet.timestamp_ticks);
                digits.extend(
                    collector
                        .receive(now, timestamp, event)
                        .into_iter()
                        .flatten(),
                );
                assert!(packet.offset_ms >= last_ms, "in order");
                last_ms = packet.offset_ms;
            }
            assert_eq!(digits, [11, 0].map(|event| Digit { event, duration_ms }));
            assert!(series.end_ms() > last_ms);
        }
    }

    #[test]
    fn lengths_out_of_range_are_clamped() {
        let first = series(&[(1, 0)]).next().expect("one digit");
        assert_eq!(first.payload, [1, 0x80 | VOLUME, 0, 160]);
        let last = series(&[(1, u16::MAX)]).last().expect("one digit");
        assert_eq!(last.payload[2..], 65_528_u16.to_be_bytes());
        assert_eq!(series(&[]).next(), None);
    }
}
