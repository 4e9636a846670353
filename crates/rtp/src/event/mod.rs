//! Telephone events (RFC 4733): a pressed key as a series of packets with one time stamp.

mod collector;
mod generator;

pub use collector::Collector;
pub use generator::{Generator, PacedEvent};

/// Highest event that is a key or a hook flash: 0-9, `*` 10, `#` 11, A-D 12-15, flash 16
/// (RFC 4733 §3.2, RFC 2833 §3.10 for 16).
pub const LAST_DIGIT: u8 = 16;

/// Why a payload is not a telephone-event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EventError {
    /// Fewer than four octets.
    #[error("telephone-event payload is shorter than four octets")]
    Short,
}

/// One key press as the call sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digit {
    /// Event code, 0 to [`LAST_DIGIT`].
    pub event: u8,
    /// How long it was held, in milliseconds; saturates.
    pub duration_ms: u16,
}

/// Whether a telephone-event goes on after this packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The key is still held.
    Held,
    /// The E bit: the key was released after `duration_ticks`.
    Released,
}

/// The payload of one telephone-event packet (RFC 4733 §2.3).
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +---------------+-+-+-----------+-------------------------------+
/// |     event     |E|R|  volume   |           duration            |
/// +---------------+-+-+-----------+-------------------------------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TelephoneEvent {
    /// Event code, 0 to 255.
    pub event: u8,
    /// Held or released.
    pub phase: Phase,
    /// Power below 0 dBm0, 0 to 63 (only the low six bits go on the wire).
    pub volume: u8,
    /// Ticks since the packet's time stamp.
    pub duration_ticks: u16,
}

impl TelephoneEvent {
    /// Reads the first four octets of a payload; what follows them is not looked at.
    ///
    /// # Errors
    /// [`EventError::Short`] for fewer than four octets.
    pub fn parse(payload: &[u8]) -> Result<Self, EventError> {
        let &[event, flags, high, low] = payload.first_chunk().ok_or(EventError::Short)?;
        Ok(Self {
            event,
            phase: if flags & 0x80 != 0 {
                Phase::Released
            } else {
                Phase::Held
            },
            volume: flags & 0x3f,
            duration_ticks: u16::from_be_bytes([high, low]),
        })
    }

    /// The four octets of the payload.
    pub fn write(&self) -> [u8; 4] {
        let end = match self.phase {
            Phase::Held => 0,
            Phase::Released => 0x80,
        };
        let [high, low] = self.duration_ticks.to_be_bytes();
        [self.event, end | self.volume & 0x3f, high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_write_are_inverses() {
        let mut seen = 0_u32;
        for event in 0..=255 {
            for flags in (0..=255_u8).filter(|flags| flags & 0x40 == 0) {
                let payload = [event, flags, flags ^ event, event.wrapping_mul(7)];
                let read = TelephoneEvent::parse(&payload).expect("four octets");
                assert_eq!(read.write(), payload);
                seen += 1;
            }
        }
        assert_eq!(seen, 256 * 128);
    }

    #[test]
    fn fields_lie_where_the_rfc_draws_them() {
        let read = TelephoneEvent::parse(&[10, 0x8a, 0x03, 0x20, 0xff]);
        let expected = TelephoneEvent {
            event: 10,
            phase: Phase::Released,
            volume: 10,
            duration_ticks: 800,
        };
        assert_eq!(read, Ok(expected));
        // The reserved bit is ignored (RFC 4733 §2.3.2).
        assert_eq!(TelephoneEvent::parse(&[10, 0xca, 0x03, 0x20]), Ok(expected));
        for short in 0..4 {
            assert_eq!(
                TelephoneEvent::parse(&[0; 4][..short]),
                Err(EventError::Short)
            );
        }
    }
}
