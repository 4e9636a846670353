//! What a peer's sender reports say of its media clock, beside where its packets were placed.

use std::time::Instant;

use super::signed_ns;
use crate::rtcp::NtpTime;

/// A reported time that differs by more than this from what was expected is a clock that was set.
const SET_NS: i64 = 1_000_000_000;

/// How the peer's sender reports (RFC 3550 §6.4.1) agree with the time line.
///
/// A report says which sampling instant a time stamp has on the sender's wall clock; the time line
/// says which it has on the receiver's. The two clocks' difference is unknown, so each figure is
/// against the first report: how much the distance has changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderClock {
    /// Reports taken.
    pub reports: u32,
    /// How much later the last reported instant lay by the sender's clock, in nanoseconds.
    pub latest_ns: i64,
    /// The least of these.
    pub least_ns: i64,
    /// The greatest of these.
    pub most_ns: i64,
    /// Times the sender's wall clock was set, or its source began anew: each begins a new first report.
    pub restarts: u32,
}

/// The reports of one source.
#[derive(Debug, Clone, Default)]
pub(super) struct Reports {
    first: Option<(NtpTime, Instant)>,
    figures: SenderClock,
}

impl Reports {
    /// Takes the instant the time line gives a reported time stamp.
    pub(super) fn take(&mut self, ntp: NtpTime, placed: Instant) {
        let figures = &mut self.figures;
        figures.reports = figures.reports.saturating_add(1);
        let since_first = |(first, at)| ntp_ns(ntp, first) - signed_ns(placed, at);
        let differs = match self.first.map(since_first) {
            Some(differs) if (differs - figures.latest_ns).abs() <= SET_NS => differs,
            differs => {
                figures.restarts += u32::from(differs.is_some());
                self.first = Some((ntp, placed));
                0
            }
        };
        figures.latest_ns = differs;
        figures.least_ns = figures.least_ns.min(differs);
        figures.most_ns = figures.most_ns.max(differs);
    }

    /// Another source's reports begin.
    pub(super) fn restart(&mut self) {
        if self.first.take().is_some() {
            self.figures.restarts += 1;
            self.figures.latest_ns = 0;
        }
    }

    pub(super) fn figures(&self) -> Option<SenderClock> {
        (self.figures.reports > 0).then_some(self.figures)
    }
}

/// Nanoseconds from one NTP time to another, the shorter way round an era.
fn ntp_ns(later: NtpTime, earlier: NtpTime) -> i64 {
    let units = later.0.wrapping_sub(earlier.0) as i64;
    let (seconds, fraction) = (units >> 32, units & 0xffff_ffff);
    seconds * 1_000_000_000 + ((fraction * 1_000_000_000) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ms, start};

    #[test]
    fn reports_are_compared_with_the_first() {
        let (mut reports, begin) = (Reports::default(), start());
        assert_eq!(reports.figures(), None);
        let ntp = |seconds: u64, millis: u64| NtpTime((seconds << 32) + (millis << 32) / 1_000);
        // (sender's clock, the time line's, what is told)
        for (sent, placed_ms, latest_ms) in [
            (ntp(u64::from(u32::MAX), 500), 0, 0),
            (ntp(0, 500), 1_000, 0),
            (ntp(5, 500), 5_998, 2),
            (ntp(10, 500), 11_004, -4),
            (ntp(15, 500), 16_001, -1),
            (ntp(3_600, 500), 21_000, 0),
            (ntp(3_605, 500), 26_000, 0),
        ] {
            reports.take(sent, begin + ms(placed_ms));
            let told = reports.figures().expect("reports came").latest_ns;
            assert!(
                (told - latest_ms * 1_000_000).abs() <= 1,
                "{told} at {placed_ms}"
            );
        }
        let figures = reports.figures().expect("reports came");
        assert_eq!((figures.reports, figures.restarts), (7, 1));
        let near = |ns: i64, ms: i64| (ns - ms * 1_000_000).abs() <= 1;
        assert!(
            near(figures.least_ns, -4) && near(figures.most_ns, 2),
            "{figures:?}"
        );
        reports.restart();
        reports.take(ntp(77, 0), begin);
        assert_eq!(
            reports
                .figures()
                .map(|told| (told.latest_ns, told.restarts)),
            Some((0, 2))
        );
    }
}
