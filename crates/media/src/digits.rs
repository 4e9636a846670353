//! Keys sent to one party, each packet at its time: as telephone-events (RFC 4733), or as they sound where
//! it has agreed on none.

use std::time::{Duration, Instant};

use duolog_rtp::event::{Digit, Generator, PacedEvent};
use duolog_rtp::{ClockRate, RtpTimestamp};

use crate::prompt::Playing;

/// Digits that may wait for the row before them: a long number dialled at once.
const WAITING: usize = 64;

/// A row of digits on its way.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    pub(crate) row: Row,
    /// To be sent when this row is over.
    waiting: Vec<Digit>,
}

/// How a row of digits is sent.
#[derive(Debug, Clone)]
pub(crate) enum Row {
    Events(Events),
    Tones(Playing),
}

/// A row of telephone-events.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    began: Instant,
    rate: ClockRate,
    first: RtpTimestamp,
    generator: Generator,
    next: Option<PacedEvent>,
}

/// A telephone-event packet that is due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub(crate) payload: [u8; 4],
    pub(crate) marker: bool,
    pub(crate) timestamp: RtpTimestamp,
    /// Its clock.
    pub(crate) rate: ClockRate,
    /// The instant of that time stamp.
    pub(crate) at: Instant,
}

impl Sending {
    pub(crate) fn new(row: Row) -> Sending {
        Sending {
            row,
            waiting: Vec::new(),
        }
    }

    /// Puts further digits behind this row; `None` when too many wait.
    pub(crate) fn more(&mut self, digits: Vec<Digit>) -> Option<()> {
        if self.waiting.len() + digits.len() > WAITING {
            return None;
        }
        self.waiting.extend(digits);
        Some(())
    }

    /// The digits that waited for the end of this row.
    pub(crate) fn into_waiting(self) -> Option<Vec<Digit>> {
        (!self.waiting.is_empty()).then_some(self.waiting)
    }

    /// When the next packet is due, or behind the last one the end of the row.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.row {
            Row::Events(events) => events.deadline(),
            Row::Tones(tones) => tones.due(),
        }
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let is_last = match &self.row {
            Row::Events(events) => events.next.is_none(),
            Row::Tones(tones) => tones.is_over(),
        };
        is_last && self.deadline() <= now
    }
}

impl Events {
    /// A row whose durations and time stamps are ticks of `rate`.
    pub(crate) fn new(
        digits: Vec<Digit>,
        (first, rate): (RtpTimestamp, ClockRate),
        now: Instant,
    ) -> Events {
        let mut generator = Generator::new(digits, rate);
        let next = generator.next();
        Events {
            began: now,
            rate,
            first,
            generator,
            next,
        }
    }

    fn deadline(&self) -> Instant {
        let offset_ms = match &self.next {
            Some(event) => event.offset_ms,
            None => self.generator.end_ms(),
        };
        self.began + Duration::from_millis(u64::from(offset_ms))
    }

    /// The next packet that is due.
    pub(crate) fn step(&mut self, now: Instant) -> Option<Due> {
        if self.deadline() > now {
            return None;
        }
        let event = self.next.take()?;
        self.next = self.generator.next();
        let ticks = u64::from(event.timestamp_ticks);
        Some(Due {
            payload: event.payload,
            marker: event.marker,
            timestamp: self.first.plus(event.timestamp_ticks),
            rate: self.rate,
            at: self.began + self.rate.time_of(ticks),
        })
    }
}
