//! Missing stretches of one side, joined until they end, each with its reason.

use super::seen::{Place, Seen};

/// Why a stretch of a channel holds no audio of its party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GapReason {
    /// Before the first packet of the party that came after the recording's start.
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
}

/// A missing stretch that ended.
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
}

#[derive(Debug, Clone, Copy)]
struct Open {
    from: u64,
    /// `None` until the next packet tells loss from silence.
    reason: Option<GapReason>,
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
        self.open = Some(Open { from, reason });
    }

    /// What was missing ends at `until`.
    pub(crate) fn end(&mut self, until: u64, around: &Around<'_>, found: &mut Vec<Gap>) {
        let Some(open) = self.open.take() else {
            return;
        };
        match open.reason {
            Some(reason) => push(open.from, until, reason, found),
            None => {
                let missing = match (around.after, around.before) {
                    (Some(after), Some(before)) => around.seen.missing_between(after, before),
                    _ => 0,
                };
                let packet_samples = u64::from(around.packet_samples.max(1));
                let lost = missing.saturating_sub(self.blamed);
                let silent_from = open.from.saturating_add(lost * packet_samples).min(until);
                self.blamed += (silent_from - open.from).div_ceil(packet_samples);
                push(open.from, silent_from, GapReason::Loss, found);
                push(silent_from, until, GapReason::Silence, found);
            }
        }
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
