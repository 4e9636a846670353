//! Missing stretches of one side, joined until they end, each with its reason.
//!
//! 1. A stretch that grows is told second by second, so that a crash leaves no silence unexplained.
//! 2. While nobody knows whether packets were lost or not sent, it is told as silence. If it turns out
//!    that some were lost, that is told over it: of two reasons for one place, loss outranks silence.
//! 3. The ticks of each reason are counted when it is known, each once.

use super::report::GapTicks;
use super::seen::{Place, Seen};

/// A missing stretch is told at least this often while it grows: 1 s.
const TOLD_EVERY: u64 = 8_000;

/// Why a stretch of a channel holds no audio of its party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GapReason {
    /// Before the first packet of the party that came after the recording's start, or after the party
    /// took the channel.
    NotStarted,
    /// Packets were sent and never came in time.
    Loss,
    /// The party sent nothing: its time stamps went on without a missing packet, or it was quiet.
    Silence,
    /// The recording was paused.
    Paused,
    /// The party was on hold, or held the other, and sent nothing.
    Held,
    /// The party pressed a key; its packets carried a telephone-event (RFC 4733).
    Dtmf,
    /// The audio was there but the spool had no room for it.
    SpoolFull,
    /// Nobody was on the channel: its party had left, and no other had come yet.
    Absent,
}

impl GapReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [GapReason; 8] = [
        GapReason::NotStarted,
        GapReason::Loss,
        GapReason::Silence,
        GapReason::Paused,
        GapReason::Held,
        GapReason::Dtmf,
        GapReason::SpoolFull,
        GapReason::Absent,
    ];
}

/// A missing stretch, or a further piece of one that still grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) position: u64,
    pub(crate) samples: u64,
    pub(crate) reason: GapReason,
}

/// The missing stretch a side is in, while it grows.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    open: Option<Open>,
    /// Packets counted as lost since the last one that was kept.
    blamed: u64,
    ticks: GapTicks,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    from: u64,
    /// `None` until the next packet tells loss from silence.
    reason: Option<GapReason>,
    /// Up to where it was told.
    told: u64,
}

/// What is known of the packets around a missing stretch.
pub(crate) struct Around<'a> {
    pub(crate) seen: &'a Seen,
    /// Last packet before the stretch.
    pub(crate) after: Option<Place>,
    /// First packet behind it, if one came.
    pub(crate) before: Option<Place>,
    /// Samples of the party's packets.
    pub(crate) packet_samples: u32,
}

impl Growing {
    /// `from..` is missing, for a reason that is known, or `None` if the packets around it will tell.
    pub(crate) fn miss(
        &mut self,
        from: u64,
        reason: Option<GapReason>,
        around: &Around<'_>,
        found: &mut Vec<Gap>,
    ) {
        if self.open.is_some_and(|open| open.reason == reason) {
            return;
        }
        self.end(from, around, found);
        self.open = Some(Open {
            from,
            reason,
            told: from,
        });
    }

    /// What was missing ends at `until`.
    pub(crate) fn end(&mut self, until: u64, around: &Around<'_>, found: &mut Vec<Gap>) {
        let Some(open) = self.open.take() else {
            return;
        };
        match open.reason {
            Some(reason) => {
                self.ticks.add(reason, until.saturating_sub(open.from));
                push(open.told, until, reason, found);
            }
            None => {
                let missing = match (around.after, around.before) {
                    (Some(after), Some(before)) => around.seen.missing_between(after, before),
                    _ => 0,
                };
                let packet_samples = u64::from(around.packet_samples.max(1));
                let lost = missing.saturating_sub(self.blamed);
                let silent_from = open.from.saturating_add(lost * packet_samples).min(until);
                self.blamed += (silent_from - open.from).div_ceil(packet_samples);
                self.ticks.add(GapReason::Loss, silent_from - open.from);
                self.ticks
                    .add(GapReason::Silence, until.saturating_sub(silent_from));
                push(open.from, silent_from, GapReason::Loss, found);
                let untold = silent_from.max(open.told);
                push(untold, until, GapReason::Silence, found);
            }
        }
    }

    /// What is missing still is at `until`: tells what is known, once it is long enough.
    pub(crate) fn tell(&mut self, until: u64, found: &mut Vec<Gap>) {
        if let Some(open) = &mut self.open
            && until >= open.told + TOLD_EVERY
        {
            let reason = open.reason.unwrap_or(GapReason::Silence);
            push(open.told, until, reason, found);
            open.told = until;
        }
    }

    /// Ticks of the stretches that ended, by reason.
    pub(crate) fn ticks(&self) -> GapTicks {
        self.ticks
    }

    /// A packet was kept: what was lost before it is no longer of interest.
    pub(crate) fn forgive(&mut self) {
        self.blamed = 0;
    }
}

fn push(from: u64, until: u64, reason: GapReason, found: &mut Vec<Gap>) {
    if until > from {
        found.push(Gap {
            position: from,
            samples: until - from,
            reason,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64) -> Place {
        Place { generation: 0, seq }
    }

    fn check(seqs: &[u64], before: Option<u64>, until: u64, expected: &[(u64, u64, GapReason)]) {
        let mut seen = Seen::default();
        for &seq in seqs {
            seen.mark(place(seq));
        }
        let around = Around {
            seen: &seen,
            after: Some(place(seqs[0])),
            before: before.map(place),
            packet_samples: 160,
        };
        let (mut growing, mut found) = (Growing::default(), Vec::new());
        growing.miss(1_000, None, &around, &mut found);
        growing.miss(1_200, None, &around, &mut found);
        growing.end(until, &around, &mut found);
        let found: Vec<_> = found
            .iter()
            .map(|gap| (gap.position, gap.samples, gap.reason))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_packets_around_a_stretch_tell_loss_from_silence() {
        check(&[5, 6], Some(6), 1_640, &[(1_000, 640, GapReason::Silence)]);
        check(&[5, 8], Some(8), 1_320, &[(1_000, 320, GapReason::Loss)]);
        check(&[5, 7], None, 1_320, &[(1_000, 320, GapReason::Silence)]);
        check(
            &[5, 7],
            Some(7),
            1_400,
            &[
                (1_000, 160, GapReason::Loss),
                (1_160, 240, GapReason::Silence),
            ],
        );
        check(&[5, 9], Some(9), 1_100, &[(1_000, 100, GapReason::Loss)]);
    }

    #[test]
    fn what_grows_is_told_second_by_second_and_counted_once() {
        use GapReason::{Held, Loss, Silence};
        for (lost, reason, expected, ticks) in [
            (
                0,
                Some(Held),
                vec![(0, 8_000, Held), (8_000, 9_280, Held), (17_280, 720, Held)],
                [0, 0, 18_000],
            ),
            (
                0,
                None,
                vec![
                    (0, 8_000, Silence),
                    (8_000, 9_280, Silence),
                    (17_280, 720, Silence),
                ],
                [0, 18_000, 0],
            ),
            (
                60,
                None,
                vec![
                    (0, 8_000, Silence),
                    (8_000, 9_280, Silence),
                    (0, 9_600, Loss),
                    (17_280, 720, Silence),
                ],
                [9_600, 8_400, 0],
            ),
            (
                999,
                None,
                vec![
                    (0, 8_000, Silence),
                    (8_000, 9_280, Silence),
                    (0, 18_000, Loss),
                ],
                [18_000, 0, 0],
            ),
        ] {
            let mut seen = Seen::default();
            seen.mark(place(1));
            seen.mark(place(2 + lost));
            let around = Around {
                seen: &seen,
                after: Some(place(1)),
                before: Some(place(2 + lost)),
                packet_samples: 160,
            };
            let (mut growing, mut found) = (Growing::default(), Vec::new());
            growing.miss(0, reason, &around, &mut found);
            for until in [2_560, 8_000, 10_240, 17_280] {
                growing.miss(until, reason, &around, &mut found);
                growing.tell(until, &mut found);
            }
            growing.end(18_000, &around, &mut found);
            growing.tell(90_000, &mut found);
            let found: Vec<_> = found
                .iter()
                .map(|gap| (gap.position, gap.samples, gap.reason))
                .collect();
            assert_eq!(found, expected);
            assert_eq!(
                [Loss, Silence, Held].map(|reason| growing.ticks().of(reason)),
                ticks
            );
        }
    }

    #[test]
    fn one_lost_packet_is_not_blamed_twice() {
        let mut seen = Seen::default();
        seen.mark(place(1));
        seen.mark(place(3));
        let around = Around {
            seen: &seen,
            after: Some(place(1)),
            before: Some(place(3)),
            packet_samples: 160,
        };
        let (mut growing, mut found) = (Growing::default(), Vec::new());
        growing.miss(0, None, &around, &mut found);
        growing.miss(160, Some(GapReason::Dtmf), &around, &mut found);
        growing.miss(320, None, &around, &mut found);
        growing.end(400, &around, &mut found);
        let reasons: Vec<_> = found.iter().map(|gap| gap.reason).collect();
        assert_eq!(
            reasons,
            [GapReason::Loss, GapReason::Dtmf, GapReason::Silence]
        );
    }
}
