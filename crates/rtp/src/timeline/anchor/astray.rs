//! Arrivals far from their place: what they show, and clocks that stand still.

use super::{ALWAYS, Anchor, Heard, OUT_OF_STEP_NS, SETTLING_NS, TICK_NS, USUAL_PACKET_NS};

/// A time stamp further than this from its arrival has a new base, whatever the reason.
const JUMP_NS: i64 = 1_000_000_000;
/// A wait longer than the packet and this, which the time stamps do not show, is a stopped clock.
const WAIT_NS: i64 = 40_000_000;
/// Packets that come this much nearer to their time in 200 ms are what a stall held back.
const GAINED_NS: i64 = 60_000_000;
/// Packets this near the line that was left are back on it: jitter alone does not bring them there.
const CAUGHT_UP_NS: i64 = OUT_OF_STEP_NS / 2;

/// What an arrival far from its place shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The network: the place stays.
    Delayed,
    /// The sender's clock: it was set.
    Jumped,
    /// The sender's clock: it stood still while nothing was said.
    Stood,
    /// It had not stood still after all: the packets held back came as well.
    Stalled,
}

/// The line that was left when the clock stood still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stood {
    pub(super) at_ns: i64,
    offset: i64,
    lead_ns: i64,
    deviation_ns: i64,
}

impl Anchor {
    /// The second look. Nothing comes before it was sent, and nothing makes a new packet's time stamp
    /// older than those before it, but a clock that was set. A long wait between packets whose time
    /// stamps show none is a clock that stood still, or a stall; up to a second what follows tells
    /// which: it comes at once after a stall.
    #[cold]
    pub(crate) fn judge(&mut self, heard: &Heard) -> Verdict {
        let Heard { ext, now_ns, .. } = *heard;
        let deviation_ns = self.drift.deviation_ns(now_ns);
        let off_ns = heard.late_ns.saturating_sub(deviation_ns);
        if off_ns.saturating_abs() <= self.tolerance_ns {
            return Verdict::Delayed;
        }
        if off_ns < 0 {
            return match self.behind_left_line(heard) {
                Some(behind_ns) if behind_ns > CAUGHT_UP_NS => Verdict::Stood,
                Some(behind_ns) if behind_ns >= -OUT_OF_STEP_NS => Verdict::Stalled,
                _ => Verdict::Jumped,
            };
        }
        if off_ns <= OUT_OF_STEP_NS {
            return Verdict::Delayed;
        }
        let rate = self.line.now.rate;
        let missing_ns = rate.nanos_of(ext - self.ends);
        let waited_ns = now_ns - self.heard_ns - rate.nanos_of(heard.length);
        if (0..=USUAL_PACKET_NS).contains(&missing_ns) && waited_ns > WAIT_NS {
            if off_ns > JUMP_NS {
                return Verdict::Stood;
            }
            self.doubt = Some((now_ns, off_ns));
        }
        let above_ns = heard.late_ns.saturating_sub(self.drift.quickest_ns(now_ns));
        if ext < self.line.now.newest || above_ns.min(off_ns) > JUMP_NS {
            return Verdict::Jumped;
        }
        self.doubted(now_ns, off_ns)
    }

    /// Whether those behind a long wait came as late as its first packet, or are catching up.
    fn doubted(&mut self, now_ns: i64, off_ns: i64) -> Verdict {
        let Some((since_ns, first_off_ns)) = self.doubt else {
            return Verdict::Delayed;
        };
        let after_ns = now_ns - since_ns;
        if after_ns < SETTLING_NS {
            return Verdict::Delayed;
        }
        let gained = first_off_ns - off_ns > GAINED_NS;
        self.doubt = (gained && after_ns <= 2 * SETTLING_NS).then_some((now_ns, off_ns));
        match gained || after_ns > 2 * SETTLING_NS {
            true => Verdict::Delayed,
            false => Verdict::Stood,
        }
    }

    /// The line that was left, if a packet came too early for a clock that stood still.
    pub(super) fn caught_up(&self, heard: &Heard) -> Option<Stood> {
        let behind_ns = self.behind_left_line(heard)?;
        let near = (-OUT_OF_STEP_NS..=CAUGHT_UP_NS).contains(&behind_ns);
        self.stood.filter(|_| near)
    }

    /// How late a packet is on the line that was left.
    fn behind_left_line(&self, heard: &Heard) -> Option<i64> {
        let moved = self.line.now.offset - self.stood?.offset;
        let place = self.line.now.position(heard.ext) - moved;
        Some(heard.now_ns - place * TICK_NS)
    }

    /// The clock stood still until this packet, which lies where it arrived.
    pub(crate) fn stand(&mut self, heard: &Heard) {
        let &Heard { ext, now_ns, .. } = heard;
        let left = Stood {
            at_ns: now_ns,
            offset: self.line.now.offset,
            lead_ns: self.lead_ns,
            deviation_ns: self.drift.deviation_ns(now_ns),
        };
        // What drains slowly is placed by arrival several times; only the first line was a good one.
        let left = *self.stood.get_or_insert(left);
        self.doubt = None;
        let ticks = now_ns.div_euclid(TICK_NS) - self.line.position(ext);
        self.line.correct(ext, ticks);
        self.lead_ns = self.line.now.offset * TICK_NS;
        self.settles_until_ns = now_ns + SETTLING_NS;
        self.watch_for(left);
        self.measure_anew(now_ns, 0);
        self.advance(heard);
    }

    /// Has whatever comes half way back to the line that was left judged.
    pub(super) fn watch_for(&mut self, left: Stood) {
        let moved_ns = (self.line.now.offset - left.offset) * TICK_NS;
        self.tolerance_ns = (moved_ns / 2).clamp(CAUGHT_UP_NS, OUT_OF_STEP_NS);
    }

    /// The clock had not stood still: back to the line that was left.
    pub(crate) fn unstand(&mut self, heard: &Heard) {
        if let Some(stood) = self.stood {
            self.return_to(stood, heard.now_ns);
        }
        self.advance(heard);
    }

    /// By how many ticks earlier the line that was left lies.
    pub(super) fn return_to(&mut self, stood: Stood, now_ns: i64) -> u64 {
        let ticks = self.line.now.offset - stood.offset;
        (self.line.now.offset, self.lead_ns) = (stood.offset, stood.lead_ns);
        (self.stood, self.tolerance_ns) = (None, OUT_OF_STEP_NS);
        self.settles_until_ns = ALWAYS;
        self.measure_anew(now_ns, stood.deviation_ns);
        ticks.max(0) as u64
    }
}
