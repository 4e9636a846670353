//! The octets of G.711 that are not final yet, by position.
//!
//! ```text
//!   byte of position p lies at p % RING_SAMPLES
//! ```

use duolog_audio::g711::{self, Law};

/// Samples (and bytes) a side holds: 200 ms of reordering, a block of 320 ms, ten packets of 60 ms,
/// rounded up to whole blocks. Not a power of two: two sides of 16,384 would not leave room in the
/// 32 KiB a recording may use, and the divisor is a constant.
pub(crate) const RING_SAMPLES: usize = 10_240;

/// What stands where audio is missing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fill {
    /// The law's silence code.
    Silence(Law),
    /// Whatever the ring held before: a fault put in on purpose by tests.
    Stale,
}

/// The last 1.28 s of one side's codes.
#[derive(Debug)]
pub(crate) struct Ring(Box<[u8]>);

impl Ring {
    pub(crate) fn new() -> Ring {
        Ring(vec![0; RING_SAMPLES].into_boxed_slice())
    }

    #[inline]
    pub(crate) fn write(&mut self, at: u64, codes: &[u8]) {
        let start = ring_index(at);
        let until_wrap = (RING_SAMPLES - start).min(codes.len());
        let (first, second) = codes.split_at(until_wrap);
        self.0[start..start + first.len()].copy_from_slice(first);
        self.0[..second.len()].copy_from_slice(second);
    }

    pub(crate) fn read(&self, at: u64, codes: &mut [u8]) {
        let start = ring_index(at);
        let until_wrap = (RING_SAMPLES - start).min(codes.len());
        let (first, second) = codes.split_at_mut(until_wrap);
        first.copy_from_slice(&self.0[start..start + first.len()]);
        second.copy_from_slice(&self.0[..second.len()]);
    }

    /// Fills a hole of G.711 with the code before it.
    #[cold]
    pub(crate) fn repeat(&mut self, from: u64, until: u64) {
        for at in from..until {
            self.0[ring_index(at)] = self.0[ring_index(at + RING_SAMPLES as u64 - 1)];
        }
    }

    /// What stands in a block where there is no G.711.
    pub(crate) fn fill(&self, at: u64, codes: &mut [u8], fill: Fill) {
        match fill {
            Fill::Silence(law) => codes.fill(g711::silence(law)),
            Fill::Stale => self.read(at, codes),
        }
    }

    /// Moves the codes from `from` on to `to`, which is earlier.
    pub(crate) fn shift(&mut self, from: u64, to: u64, count: u64) {
        for offset in 0..count {
            self.0[ring_index(to + offset)] = self.0[ring_index(from + offset)];
        }
    }

    /// Nothing is left of the codes of `from..until`.
    pub(crate) fn wipe(&mut self, from: u64, until: u64) {
        for at in from..until {
            self.0[ring_index(at)] = 0;
        }
    }
}

fn ring_index(position: u64) -> usize {
    (position % RING_SAMPLES as u64) as usize
}
