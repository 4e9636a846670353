//! One RTP source as a receiver sees it: order, loss and jitter of its packets (RFC 3550 A.1, A.3, A.8).

use std::time::{Duration, Instant};

use crate::{ClockRate, ExtSeq, RtpTimestamp, SeqNo, Ssrc};

/// A gap up to this many packets is loss; a larger one may be a restart (RFC 3550 A.1).
const MAX_DROPOUT: u16 = 3_000;
/// A packet up to this many behind the newest is late; one further back may be a restart (RFC 3550 A.1).
const MAX_MISORDER: u16 = 100;
/// So many packets in a row behind the newest number but of a later time than it are no stragglers.
const BEGUN_AGAIN: u8 = 3;
const SEQ_MOD: u64 = 1 << 16;

/// What a packet is to the sequence of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Newer than all before it; numbers may be missing in between.
    New,
    /// Older than the newest and not seen before.
    Reordered,
    /// Seen before: to be dropped.
    Duplicate,
    /// The number jumped far; not believed until the next packet follows it (RFC 3550 A.1).
    Probation,
    /// Second packet after a far jump, or third one in a row that follows the newest in time but not in
    /// number: the source started again with the same SSRC.
    Restarted,
}

/// Where a packet stands in its source's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Its number with wraps counted. For [`Kind::Probation`] a mere guess, not to be used as a key.
    pub ext_seq: ExtSeq,
    /// What it is.
    pub kind: Kind,
    /// Packets missing between the one that was newest and this one; 0 unless [`Kind::New`].
    pub skipped: u16,
}

/// What is known of a source since its first packet (SPEC C5), restarts included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Packets that should have come, by their numbers.
    pub expected: u64,
    /// Different packets that came.
    pub received: u64,
    /// Packets that came a second time.
    pub duplicates: u64,
    /// Packets that came after a newer one.
    pub reordered: u64,
    /// Packets dropped because their number jumped and no second one followed.
    pub strays: u64,
    /// Times the source started again with the same SSRC.
    pub restarts: u32,
    /// Rows of missing numbers, as they looked when a newer packet came: a reordered packet counts as
    /// one as well.
    pub loss_bursts: u64,
    /// Interarrival jitter, in ticks of the media clock (RFC 3550 §6.4.1).
    pub jitter_ticks: u32,
}

impl Figures {
    /// Packets that should have come and did not.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }
}

/// What a report block says about a source (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reception {
    /// Share lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, -2^23 to 2^23-1; negative when duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// Wraps in the high 16 bits, newest sequence number in the low 16.
    pub highest_seq: u32,
    /// Interarrival jitter in ticks.
    pub jitter_ticks: u32,
}

/// Sequence, loss and jitter of one SSRC. The first packet is accepted at once: a leg is latched to
/// its negotiated peer before packets come here.
#[derive(Debug, Clone)]
pub struct Source {
    ssrc: Ssrc,
    sequence: Option<Sequence>,
    /// Time stamp of the newest packet.
    newest: RtpTimestamp,
    behind: Behind,
    jitter: Jitter,
    counts: Figures,
    reported: Reported,
}

/// Packets in a row that are behind the newest in number but not in time.
#[derive(Debug, Clone, Copy, Default)]
struct Behind {
    next: Option<SeqNo>,
    packets: u8,
}

/// The run of numbers since the first packet or the last restart.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    /// Lowest number of the run.
    base: u64,
    /// Newest number.
    max: u64,
    /// Bit n: `max - n` was received.
    seen: u128,
    /// The number that would turn a far jump into a restart.
    bad_next: Option<SeqNo>,
}

/// RFC 3550 A.8.
#[derive(Debug, Clone)]
struct Jitter {
    rate: ClockRate,
    last: Option<Last>,
    /// Scaled by 16, as in A.8.
    scaled: u64,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    origin: Instant,
    timestamp: RtpTimestamp,
    transit: u32,
}

/// Totals at the last report (RFC 3550 A.3 `expected_prior`, `received_prior`).
#[derive(Debug, Clone, Copy, Default)]
struct Reported {
    expected: u64,
    received: u64,
}

impl Source {
    /// A source of which nothing has come yet.
    pub fn new(ssrc: Ssrc, rate: ClockRate) -> Self {
        Self {
            ssrc,
            sequence: None,
            newest: RtpTimestamp(0),
            behind: Behind::default(),
            jitter: Jitter {
                rate,
                last: None,
                scaled: 0,
            },
            counts: Figures::default(),
            reported: Reported::default(),
        }
    }

    /// Whose packets these are.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// The media clock that jitter is counted in.
    pub fn rate(&self) -> ClockRate {
        self.jitter.rate
    }

    /// The packets that follow are of a clock of another rate (RFC 7160 §4.1): jitter goes on in its
    /// ticks.
    pub fn switch_rate(&mut self, rate: ClockRate) {
        let jitter = &mut self.jitter;
        if jitter.rate != rate {
            let (from, to) = (u64::from(jitter.rate.hz()), u64::from(rate.hz()));
            jitter.scaled = jitter.scaled.saturating_mul(to) / from;
            (jitter.rate, jitter.last) = (rate, None);
        }
    }

    /// Interarrival jitter as time.
    pub fn jitter(&self) -> Duration {
        self.jitter.rate.time_of(self.jitter.scaled >> 4)
    }

    /// Takes the next packet as it arrived. Allocates nothing.
    #[inline]
    pub fn update(&mut self, seq: SeqNo, timestamp: RtpTimestamp, arrival: Instant) -> Placement {
        let placement = match &mut self.sequence {
            Some(sequence) => sequence.place(seq),
            None => self.begin(seq),
        };
        match placement.kind {
            Kind::New => {
                self.newest = timestamp;
                self.behind = Behind::default();
                self.counts.received += 1;
                self.counts.loss_bursts += u64::from(placement.skipped > 0);
            }
            Kind::Reordered | Kind::Duplicate if self.begins_again(seq, timestamp) => {
                return self.restart(seq, timestamp, arrival);
            }
            Kind::Reordered => {
                self.counts.received += 1;
                self.counts.reordered += 1;
            }
            Kind::Duplicate => {
                self.counts.duplicates += 1;
                return placement;
            }
            Kind::Probation => {
                self.counts.strays += 1;
                return placement;
            }
            Kind::Restarted => {
                // The first of the two was counted as a stray but is vouched for now.
                self.counts.strays = self.counts.strays.saturating_sub(1);
                return self.restart(seq, timestamp, arrival);
            }
        }
        self.jitter.update(timestamp, arrival);
        placement
    }

    fn begin(&mut self, seq: SeqNo) -> Placement {
        // One cycle up, so that a packet from before the first one has a number too.
        let first = SEQ_MOD + u64::from(seq.0);
        self.sequence = Some(Sequence::starting(first));
        Placement {
            ext_seq: ExtSeq(first),
            kind: Kind::New,
            skipped: 0,
        }
    }

    /// Whether a packet behind the newest number shows that the numbers began anew within what a
    /// network may reorder. A copy or a straggler was made before the newest; only a key's packets,
    /// which all carry the time of its press, let one look later, but not several that follow each other.
    #[cold]
    fn begins_again(&mut self, seq: SeqNo, timestamp: RtpTimestamp) -> bool {
        if timestamp.since(self.newest) <= 0 {
            self.behind = Behind::default();
            return false;
        }
        let packets = match self.behind.next == Some(seq) {
            true => self.behind.packets + 1,
            false => 1,
        };
        self.behind = Behind {
            next: Some(seq.next()),
            packets,
        };
        packets >= BEGUN_AGAIN
    }

    #[cold]
    fn restart(&mut self, seq: SeqNo, timestamp: RtpTimestamp, arrival: Instant) -> Placement {
        let mut first = u64::from(seq.0);
        if let Some(old) = self.sequence {
            self.counts.expected += old.expected();
            first += (old.max / SEQ_MOD + 2) * SEQ_MOD;
        }
        self.sequence = Some(Sequence::starting(first));
        self.counts.received += 1;
        self.counts.restarts += 1;
        self.newest = timestamp;
        self.behind = Behind::default();
        self.jitter.last = None;
        self.jitter.update(timestamp, arrival);
        Placement {
            ext_seq: ExtSeq(first),
            kind: Kind::Restarted,
            skipped: 0,
        }
    }

    /// The figures up to now.
    pub fn figures(&self) -> Figures {
        let running = self.sequence.map_or(0, |sequence| sequence.expected());
        Figures {
            expected: self.counts.expected + running,
            jitter_ticks: u32::try_from(self.jitter.scaled >> 4).unwrap_or(u32::MAX),
            ..self.counts
        }
    }

    /// The body of a report block, and the beginning of the next interval for its fraction lost
    /// (RFC 3550 A.3). `None` before the first packet.
    pub fn reception(&mut self) -> Option<Reception> {
        let sequence = self.sequence?;
        let figures = self.figures();
        // The RFC counts duplicates as received here, so that the figure agrees with other receivers'.
        let received = figures.received + figures.duplicates;
        let expected_now = figures.expected.saturating_sub(self.reported.expected);
        let received_now = received.saturating_sub(self.reported.received);
        self.reported = Reported {
            expected: figures.expected,
            received,
        };
        let lost_now = expected_now.saturating_sub(received_now);
        let lost = figures.expected as i64 - received as i64;
        Some(Reception {
            fraction_lost: (lost_now * 256)
                .checked_div(expected_now)
                .unwrap_or(0)
                .min(255) as u8,
            cumulative_lost: lost.clamp(-(1 << 23), (1 << 23) - 1) as i32,
            highest_seq: (sequence.max - SEQ_MOD) as u32,
            jitter_ticks: figures.jitter_ticks,
        })
    }
}

impl Sequence {
    fn starting(first: u64) -> Self {
        Self {
            base: first,
            max: first,
            seen: 1,
            bad_next: None,
        }
    }

    fn expected(&self) -> u64 {
        self.max - self.base + 1
    }

    #[inline]
    fn place(&mut self, seq: SeqNo) -> Placement {
        let ahead = seq.0.wrapping_sub(self.max as u16);
        let behind = ahead.wrapping_neg();
        if ahead != 0 && ahead < MAX_DROPOUT {
            self.bad_next = None;
            self.max += u64::from(ahead);
            self.seen = self.seen.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            return Placement {
                ext_seq: ExtSeq(self.max),
                kind: Kind::New,
                skipped: ahead - 1,
            };
        }
        if behind <= MAX_MISORDER {
            return self.place_behind(behind);
        }
        let kind = if self.bad_next == Some(seq) {
            Kind::Restarted
        } else {
            Kind::Probation
        };
        self.bad_next = Some(seq.next());
        Placement {
            ext_seq: ExtSeq(self.max + u64::from(ahead)),
            kind,
            skipped: 0,
        }
    }

    /// `behind` is 0 (the newest again) to [`MAX_MISORDER`], so it lies within the 128 bits.
    fn place_behind(&mut self, behind: u16) -> Placement {
        let ext = self.max - u64::from(behind);
        let bit = 1_u128 << behind;
        let kind = if self.seen & bit != 0 {
            Kind::Duplicate
        } else {
            Kind::Reordered
        };
        self.seen |= bit;
        // A packet overtaken by the very first one belongs to the run.
        self.base = self.base.min(ext);
        Placement {
            ext_seq: ExtSeq(ext),
            kind,
            skipped: 0,
        }
    }
}

impl Jitter {
    #[inline]
    fn update(&mut self, timestamp: RtpTimestamp, arrival: Instant) {
        let Some(last) = &mut self.last else {
            let transit = 0_u32.wrapping_sub(timestamp.0);
            self.last = Some(Last {
                origin: arrival,
                timestamp,
                transit,
            });
            return;
        };
        // Several packets of one sampling instant (an event and its updates) are paced by their
        // sender, not by the network.
        if last.timestamp == timestamp {
            return;
        }
        let since = arrival.saturating_duration_since(last.origin);
        let transit = (self.rate.ticks_in(since) as u32).wrapping_sub(timestamp.0);
        let difference = (transit.wrapping_sub(last.transit) as i32).unsigned_abs();
        last.transit = transit;
        last.timestamp = timestamp;
        // More than a second is a new time base of the sender, not jitter.
        if difference <= self.rate.hz() {
            self.scaled = self.scaled + u64::from(difference) - ((self.scaled + 8) >> 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ms, start};

    fn source() -> Source {
        Source::new(Ssrc(1), ClockRate::HZ_8000)
    }

    /// Feeds sequence numbers 20 ms apart and writes down what each one was.
    fn told(source: &mut Source, numbers: &[u16]) -> String {
        let begin = start();
        let words: Vec<String> = numbers
            .iter()
            .zip(0_u32..)
            .map(|(&seq, nth)| {
                let at = begin + ms(20) * nth;
                let placed = source.update(SeqNo(seq), RtpTimestamp(nth * 160), at);
                let skipped = match placed.skipped {
                    0 => String::new(),
                    missing => format!("(-{missing})"),
                };
                format!("{:?}{skipped}", placed.kind)
            })
            .collect();
        words.join(" ")
    }

    #[track_caller]
    fn check(numbers: &[u16], expected: &str) -> Figures {
        let mut source = source();
        assert_eq!(told(&mut source, numbers), expected, "{numbers:?}");
        source.figures()
    }

    #[test]
    fn every_packet_has_its_kind() {
        check(&[7, 8, 9], "New New New");
        check(&[65_534, 65_535, 0, 1], "New New New New");
        check(&[65_534, 1, 65_535, 0], "New New(-2) Reordered Reordered");
        check(&[5, 5, 6, 5, 6], "New Duplicate New Duplicate Duplicate");
        check(&[0, 65_535, 0, 65_535], "New Reordered Duplicate Duplicate");
        check(
            &[10, 13, 11, 11, 12, 14],
            "New New(-2) Reordered Duplicate Reordered New",
        );
        check(&[200, 300, 200, 201], "New New(-99) Duplicate Reordered");
        check(&[0, 2_999, 5_998], "New New(-2998) New(-2998)");
    }

    #[test]
    fn far_jumps_are_believed_at_the_second_packet() {
        check(&[1, 2, 40_000, 3], "New New Probation New");
        check(
            &[1, 2, 40_000, 40_001, 40_002],
            "New New Probation Restarted New",
        );
        check(
            &[1, 2, 40_000, 40_000, 3],
            "New New Probation Probation New",
        );
        check(
            &[1, 40_000, 2, 40_001, 3],
            "New Probation New Probation New",
        );
        check(
            &[1, 40_000, 50_000, 50_001],
            "New Probation Probation Restarted",
        );
        check(&[1_000, 899, 900], "New Probation Reordered");
        check(&[1_000, 800, 801], "New Probation Restarted");
        check(&[1_000, 900], "New Reordered");
        check(
            &[1, 65_000, 65_001, 64_999],
            "New Probation Restarted Reordered",
        );
    }

    #[test]
    fn a_restart_just_behind_the_newest_number_is_told_from_copies() {
        // Time goes on while the numbers go back.
        check(
            &[50, 51, 52, 50, 51, 52, 53],
            "New New New Duplicate Duplicate Restarted New",
        );
        check(
            &[50, 51, 60, 52, 53, 54, 55],
            "New New New(-8) Reordered Reordered Restarted New",
        );
        check(
            &[50, 51, 52, 50, 51, 53, 50, 51],
            "New New New Duplicate Duplicate New Duplicate Duplicate",
        );
        check(
            &[65_534, 65_535, 0, 65_534, 65_535, 0, 1],
            "New New New Duplicate Duplicate Restarted New",
        );
        // Copies of what was sent before are copies however many there are.
        let (mut source, begin) = (source(), start());
        for round in 0..3_u32 {
            for nth in 0..90_u32 {
                let at = begin + ms(20) * (90 * round + nth);
                let stamp = RtpTimestamp(u32::MAX - 3_000).plus(160 * nth);
                let kind = source.update(SeqNo(nth as u16), stamp, at).kind;
                let expected = match round {
                    0 => Kind::New,
                    _ => Kind::Duplicate,
                };
                assert_eq!(kind, expected, "packet {nth} of round {round}");
            }
        }
    }

    #[test]
    fn figures_count_different_packets() {
        let figures = check(
            &[10, 13, 11, 11, 15, 40_000, 16],
            "New New(-2) Reordered Duplicate New(-1) Probation New",
        );
        assert_eq!(
            (figures.expected, figures.received, figures.lost()),
            (7, 5, 2)
        );
        assert_eq!(
            (figures.duplicates, figures.reordered, figures.strays),
            (1, 1, 1)
        );
        assert_eq!(figures.loss_bursts, 2);

        let figures = check(&[5, 4, 6], "New Reordered New");
        assert_eq!((figures.expected, figures.lost()), (3, 0));

        let figures = check(
            &[1, 2, 4, 9_000, 9_001, 9_003],
            "New New New(-1) Probation Restarted New(-1)",
        );
        assert_eq!(
            (figures.expected, figures.received, figures.restarts),
            (7, 5, 1)
        );
        assert_eq!(figures.strays, 0);
    }

    #[test]
    fn extended_numbers_grow_over_wraps_and_restarts() {
        let (mut source, begin) = (source(), start());
        let mut seen = Vec::new();
        for _round in 0..3 {
            for seq in (0..=u16::MAX).step_by(1_000).chain([65_530, 2]) {
                seen.push(source.update(SeqNo(seq), RtpTimestamp(0), begin));
            }
            for seq in [30_000, 30_001] {
                seen.push(source.update(SeqNo(seq), RtpTimestamp(0), begin));
            }
        }
        let accepted: Vec<ExtSeq> = seen
            .iter()
            .filter(|placed| matches!(placed.kind, Kind::New | Kind::Restarted))
            .map(|placed| placed.ext_seq)
            .collect();
        assert!(accepted.is_sorted_by(|one, two| one < two));
        assert_eq!(source.figures().restarts, 3);
        let step = source.update(SeqNo(30_002), RtpTimestamp(0), begin).ext_seq;
        assert_eq!(
            step.0,
            accepted.last().expect("packets were accepted").0 + 1
        );
    }

    #[test]
    fn jitter_agrees_with_a_calculation_by_hand() {
        // Arrivals 20 ms apart but for delays of 0, 10, 0, 0, 20 ms: D = 80, 80, 0, 160 ticks.
        // A.8 scaled by 16: 80; 80+80-(88>>4)=155; 155-(163>>4)=145; 145+160-(153>>4)=296.
        let (mut source, begin) = (source(), start());
        let mut jitter = Vec::new();
        for (nth, delay) in (0_u32..).zip([0, 10, 0, 0, 20]) {
            let at = begin + ms(20) * nth + ms(delay);
            source.update(
                SeqNo(nth as u16),
                RtpTimestamp(u32::MAX - 200 + 1).plus(nth * 160),
                at,
            );
            jitter.push(source.figures().jitter_ticks);
        }
        assert_eq!(jitter, [0, 80 >> 4, 155 >> 4, 145 >> 4, 296 >> 4]);
    }

    #[test]
    fn jitter_is_the_same_time_at_every_rate() {
        for hz in [8_000, 16_000, 44_100, 48_000] {
            let rate = ClockRate::new(hz).expect("not zero");
            let (mut source, begin) = (Source::new(Ssrc(1), rate), start());
            for nth in 0..200_u32 {
                let delay = ms(u64::from(nth % 2) * 10);
                let timestamp = RtpTimestamp(nth.wrapping_mul(hz / 50));
                source.update(SeqNo(nth as u16), timestamp, begin + ms(20) * nth + delay);
            }
            let told = source.jitter().as_secs_f64();
            assert!((told - 0.01).abs() < 2e-4, "{hz}: {told}");
            let before = source.jitter();
            source.switch_rate(ClockRate::HZ_8000);
            assert_eq!(source.rate(), ClockRate::HZ_8000);
            assert!(source.jitter().abs_diff(before) < ms(1), "{hz}");
            // The first packet of another clock has nothing to be compared with.
            source.update(SeqNo(200), RtpTimestamp(77), begin + ms(4_000));
            assert!(source.jitter().abs_diff(before) < ms(1), "{hz}");
        }
    }

    #[test]
    fn events_silence_and_new_time_bases_are_no_jitter() {
        let (mut source, begin) = (source(), start());
        let mut feed = |seq, timestamp, at| {
            source.update(SeqNo(seq), RtpTimestamp(timestamp), begin + ms(at));
            source.figures().jitter_ticks
        };
        assert_eq!(feed(0, 0, 0), 0);
        assert_eq!(feed(1, 160, 20), 0);
        // A press: six packets, one time stamp.
        for nth in 0..6_u16 {
            assert_eq!(feed(2 + nth, 320, 40 + 20 * u64::from(nth)), 0);
        }
        assert_eq!(feed(8, 1_280, 160), 0);
        assert_eq!(feed(9, 1_280 + 80_000, 10_160), 0, "silence of ten seconds");
        assert_eq!(feed(10, 3_000_000_000, 10_180), 0, "new time base");
        assert_eq!(feed(11, 3_000_000_160, 10_200), 0);
    }

    #[test]
    fn report_blocks_follow_the_rfc() {
        let mut source = source();
        assert_eq!(source.reception(), None);
        told(&mut source, &[65_534, 65_535, 1]);
        // One of four lost; one wrap.
        let first = source.reception().expect("packets came");
        assert_eq!(first.fraction_lost, 64);
        assert_eq!((first.cumulative_lost, first.highest_seq), (1, 0x1_0001));
        // Three of five lost since; then nothing; then three duplicates and nothing lost.
        told(&mut source, &[5, 6]);
        assert_eq!(
            source.reception().map(|block| block.fraction_lost),
            Some(153)
        );
        assert_eq!(source.reception().map(|block| block.fraction_lost), Some(0));
        told(&mut source, &[6, 6, 6, 6, 6, 7]);
        let last = source.reception().expect("packets came");
        assert_eq!((last.fraction_lost, last.cumulative_lost), (0, -1));
    }
}
