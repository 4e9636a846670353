//! What the generator sent and what came of it.

use std::time::Duration;

/// Width of a class of delays, in µs.
const CLASS_US: usize = 10;

/// Classes: up to 1 s; the last one takes everything above.
const CLASSES: usize = 100_001;

/// How often each delay was seen.
#[derive(Debug, Clone)]
pub struct Delays(Vec<u64>);

impl Default for Delays {
    fn default() -> Self {
        Delays(vec![0; CLASSES])
    }
}

impl Delays {
    /// One more.
    pub fn add(&mut self, delay: Duration) {
        let class = usize::try_from(delay.as_micros()).unwrap_or(usize::MAX) / CLASS_US;
        self.0[class.min(CLASSES - 1)] += 1;
    }

    /// The delay in ms below which `share` (0 to 1) of them lie, to 0.01 ms; 1,000 is "a second or more".
    #[must_use]
    pub fn below_ms(&self, share: f64) -> f64 {
        let all: u64 = self.0.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut seen = 0;
        let class = self.0.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        (class.unwrap_or(0) * CLASS_US) as f64 / 1_000.0
    }

    /// How many were longer than `limit`.
    #[must_use]
    pub fn above(&self, limit: Duration) -> u64 {
        let class = limit.as_micros() as usize / CLASS_US;
        self.0.iter().skip(class + 1).sum()
    }
}

/// What was sent.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Packets of each party.
    pub packets: Vec<u32>,
    /// How much later than planned each one left.
    pub lateness: Delays,
}

/// What arrived.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Packets of each party that came to the other one's socket from the other one's leg.
    pub packets: Vec<u32>,
    /// Packets that came to somebody else, twice, out of order, or changed.
    pub wrong: u64,
    /// From leaving the sender to arriving at the receiver's kernel, behind the warm-up.
    pub latency: Delays,
}

/// Both, when the traffic is over.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// What was sent.
    pub sent: Sent,
    /// What arrived.
    pub received: Received,
}

impl Tally {
    /// Packets that never arrived.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let pairs = self.sent.packets.iter().zip(&self.received.packets);
        pairs
            .map(|(sent, received)| u64::from(sent.saturating_sub(*received)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_delays() {
        let mut delays = Delays::default();
        for us in 0..1_000 {
            delays.add(Duration::from_micros(us * 10));
        }
        delays.add(Duration::from_secs(3));
        assert_eq!(delays.below_ms(0.5), 5.0);
        assert_eq!(delays.below_ms(1.0), 1_000.0);
        assert_eq!(delays.above(Duration::from_millis(9)), 100);
        assert_eq!(Delays::default().below_ms(0.99), 0.0);
    }
}
