//! When and what one side of a leg reports, and what its peer's reports say (RFC 3550 §6.2 to §6.4).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::report::{Block, NtpTime, Report, RtcpError, SenderFigures};
use super::write::write;
use crate::source::Source;
use crate::{ClockRate, RtpTimestamp, Ssrc, WallTime};

/// Nominal time between two reports (RFC 3550 §6.2); with two members the 5 % bandwidth never asks
/// for more. The §6.3.1 divisor for reconsideration is left out: membership does not change here.
const INTERVAL: Duration = Duration::from_secs(5);
/// Own reports remembered for the round trip; the peer answers one of the last few.
const REMEMBERED: usize = 4;

/// Who reports.
#[derive(Debug, Clone)]
pub struct RtcpSettings {
    /// Source of the packets this side sends.
    pub ssrc: Ssrc,
    /// Canonical name of this side, at most 255 octets of UTF-8 (RFC 3550 §6.5.1).
    pub cname: Bytes,
    /// Clock of the payload this side sends.
    pub rate: ClockRate,
    /// Makes the moments of the reports differ from those of other legs.
    pub seed: u64,
}

/// What the peer's last report said of the packets this side sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peer {
    /// Share lost between its last two reports, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning.
    pub cumulative_lost: i32,
    /// Interarrival jitter in ticks.
    pub jitter_ticks: u32,
    /// From here to the peer and back, as last measured.
    pub round_trip: Option<Duration>,
}

/// RTCP of one leg side.
#[derive(Debug, Clone)]
pub struct Rtcp {
    settings: RtcpSettings,
    random: u64,
    next: Instant,
    sent: Sent,
    own_reports: [Option<OwnReport>; REMEMBERED],
    peer_sr: Option<PeerReport>,
    peer: Option<Peer>,
    /// The list of the last report, used again: reports are written where nothing is allocated.
    blocks: Vec<Block>,
}

/// What this side sent.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    packets: u32,
    octets: u32,
    last: Option<(RtpTimestamp, Instant)>,
    /// Packets at the last report and at the one before (RFC 3550 §6.4: who sent since the second
    /// last report is a sender).
    packets_reported: [u32; 2],
}

#[derive(Debug, Clone, Copy)]
struct OwnReport {
    middle: u32,
    at: Instant,
}

/// The peer's last SR.
#[derive(Debug, Clone, Copy)]
struct PeerReport {
    ssrc: Ssrc,
    middle: u32,
    at: Instant,
}

impl Rtcp {
    /// A side that has sent nothing; its first report is due after half an interval (RFC 3550 §6.2).
    pub fn new(settings: RtcpSettings, now: Instant) -> Self {
        let random = settings.seed;
        let mut rtcp = Self {
            settings,
            random,
            next: now,
            sent: Sent::default(),
            own_reports: [None; REMEMBERED],
            peer_sr: None,
            peer: None,
            blocks: Vec::with_capacity(1),
        };
        rtcp.next = now + rtcp.randomised(INTERVAL / 2);
        rtcp
    }

    /// When [`Rtcp::report`] is wanted.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// Counts a packet this side sent. Allocates nothing.
    #[inline]
    pub fn sent(&mut self, payload_octets: usize, timestamp: RtpTimestamp, at: Instant) {
        self.sent.packets = self.sent.packets.wrapping_add(1);
        // Modulo 2^32, as the field is.
        self.sent.octets = self.sent.octets.wrapping_add(payload_octets as u32);
        self.sent.last = Some((timestamp, at));
    }

    /// Takes what [`super::parse`] read from a packet of the peer.
    pub fn receive(&mut self, now: Instant, reports: &[Report]) {
        for report in reports {
            match report {
                Report::Sender {
                    ssrc,
                    figures,
                    blocks,
                } => {
                    let middle = figures.ntp.middle();
                    self.peer_sr = Some(PeerReport {
                        ssrc: *ssrc,
                        middle,
                        at: now,
                    });
                    self.hear(now, blocks);
                }
                Report::Receiver { blocks, .. } => self.hear(now, blocks),
                Report::Description { .. } | Report::Goodbye { .. } => {}
            }
        }
    }

    fn hear(&mut self, now: Instant, blocks: &[Block]) {
        let Some(block) = blocks.iter().find(|block| block.ssrc == self.settings.ssrc) else {
            return;
        };
        let before = self.peer.and_then(|peer| peer.round_trip);
        self.peer = Some(Peer {
            fraction_lost: block.fraction_lost,
            cumulative_lost: block.cumulative_lost,
            jitter_ticks: block.jitter_ticks,
            round_trip: self.round_trip(now, block).or(before),
        });
    }

    /// RFC 3550 §6.4.1: arrival - LSR - DLSR, with the own report's monotonic time for LSR, so that a
    /// stepped wall clock does not show.
    fn round_trip(&self, now: Instant, block: &Block) -> Option<Duration> {
        if block.last_sr == 0 {
            return None;
        }
        let own = self
            .own_reports
            .iter()
            .flatten()
            .find(|own| own.middle == block.last_sr)?;
        let elapsed = now.checked_duration_since(own.at)?;
        elapsed.checked_sub(from_65536ths(block.delay_since_last_sr))
    }

    /// What the peer last said, if it has said anything.
    pub fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// Writes the report that is due (SR if this side sent since its second last report, else RR; with
    /// a block about `source` if it has one, and CNAME) and sets the next deadline.
    ///
    /// # Errors
    /// As [`write()`]; the next deadline is set all the same.
    pub fn report(
        &mut self,
        now: Instant,
        wall: WallTime,
        source: Option<&mut Source>,
        buffer: &mut [u8],
    ) -> Result<usize, RtcpError> {
        self.next = now + self.randomised(INTERVAL);
        let reports = self.due(now, wall, source);
        let written = write(&reports, buffer);
        let [
            Report::Sender { blocks, .. } | Report::Receiver { blocks, .. },
            _,
        ] = reports
        else {
            unreachable!("a report begins with SR or RR");
        };
        self.blocks = blocks;
        written
    }

    /// Writes the last report with a BYE behind it (RFC 3550 §6.3.7).
    ///
    /// # Errors
    /// As [`write()`].
    pub fn goodbye(
        &mut self,
        now: Instant,
        wall: WallTime,
        source: Option<&mut Source>,
        buffer: &mut [u8],
    ) -> Result<usize, RtcpError> {
        let [first, second] = self.due(now, wall, source);
        let bye = Report::Goodbye {
            ssrcs: vec![self.settings.ssrc],
            reason: Bytes::new(),
        };
        write(&[first, second, bye], buffer)
    }

    fn due(&mut self, now: Instant, wall: WallTime, source: Option<&mut Source>) -> [Report; 2] {
        let ssrc = self.settings.ssrc;
        let block = source.and_then(|source| self.block(now, source));
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.clear();
        blocks.extend(block);
        let ntp = NtpTime::from(wall);
        let first = match self.sent.last {
            Some((timestamp, at)) if self.sent.packets != self.sent.packets_reported[1] => {
                self.own_reports.rotate_right(1);
                self.own_reports[0] = Some(OwnReport {
                    middle: ntp.middle(),
                    at: now,
                });
                let since = self
                    .settings
                    .rate
                    .ticks_in(now.saturating_duration_since(at));
                let figures = SenderFigures {
                    ntp,
                    // Modulo 2^32, as time stamps are.
                    timestamp: timestamp.plus(since as u32),
                    packets: self.sent.packets,
                    octets: self.sent.octets,
                };
                Report::Sender {
                    ssrc,
                    figures,
                    blocks,
                }
            }
            _ => Report::Receiver { ssrc, blocks },
        };
        self.sent.packets_reported = [self.sent.packets, self.sent.packets_reported[0]];
        [
            first,
            Report::Description {
                ssrc,
                cname: self.settings.cname.clone(),
            },
        ]
    }

    fn block(&self, now: Instant, source: &mut Source) -> Option<Block> {
        let reception = source.reception()?;
        let sr = self.peer_sr.filter(|sr| sr.ssrc == source.ssrc());
        Some(Block {
            ssrc: source.ssrc(),
            fraction_lost: reception.fraction_lost,
            cumulative_lost: reception.cumulative_lost,
            highest_seq: reception.highest_seq,
            jitter_ticks: reception.jitter_ticks,
            last_sr: sr.map_or(0, |sr| sr.middle),
            delay_since_last_sr: sr
                .map_or(0, |sr| to_65536ths(now.saturating_duration_since(sr.at))),
        })
    }

    /// `interval` times 0.5 to 1.5 (RFC 3550 §6.2), by SplitMix64 over the seed.
    fn randomised(&mut self, interval: Duration) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let thousandths = 500 + (mixed % 1_001) as u32;
        interval * thousandths / 1_000
    }
}

/// Saturates at 18 hours.
fn to_65536ths(time: Duration) -> u32 {
    u32::try_from(ClockRate::NTP_SHORT.ticks_in(time)).unwrap_or(u32::MAX)
}

fn from_65536ths(units: u32) -> Duration {
    ClockRate::NTP_SHORT.time_of(u64::from(units))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeqNo;
    use crate::rtcp::parse;
    use crate::testing::{ms, start};

    const HERE: Ssrc = Ssrc(0x11);
    const THERE: Ssrc = Ssrc(0x22);
    const NOON: WallTime = WallTime {
        unix_us: 1_700_000_000_000_000,
    };

    fn side(ssrc: Ssrc, seed: u64, now: Instant) -> Rtcp {
        let cname = Bytes::from_static(b"leg@duolog");
        Rtcp::new(
            RtcpSettings {
                ssrc,
                cname,
                rate: ClockRate::HZ_8000,
                seed,
            },
            now,
        )
    }

    fn reports(rtcp: &mut Rtcp, now: Instant, source: Option<&mut Source>) -> Vec<Report> {
        let mut buffer = [0; 200];
        let len = rtcp
            .report(now, NOON, source, &mut buffer)
            .expect("it fits");
        parse(&buffer[..len]).expect("own reports are well formed")
    }

    #[test]
    fn reports_are_five_seconds_apart_give_or_take_half() {
        let begin = start();
        let mut gaps = Vec::new();
        for seed in 0..200 {
            let mut rtcp = side(HERE, seed, begin);
            let first = rtcp.deadline() - begin;
            assert!((ms(1_250)..=ms(3_750)).contains(&first), "{first:?}");
            for _ in 0..20 {
                let due = rtcp.deadline();
                reports(&mut rtcp, due, None);
                gaps.push(rtcp.deadline() - due);
            }
            assert_eq!(
                side(HERE, seed, begin).deadline(),
                begin + first,
                "by seed alone"
            );
        }
        assert!(gaps.iter().all(|gap| (ms(2_500)..=ms(7_500)).contains(gap)));
        let mean = gaps.iter().sum::<Duration>() / gaps.len() as u32;
        assert!((ms(4_900)..=ms(5_100)).contains(&mean), "{mean:?}");
        assert!(gaps.iter().min() < Some(&ms(2_600)) && gaps.iter().max() > Some(&ms(7_400)));
    }

    #[test]
    fn who_sends_reports_as_a_sender() {
        let begin = start();
        let mut rtcp = side(HERE, 1, begin);
        let description = Report::Description {
            ssrc: HERE,
            cname: Bytes::from_static(b"leg@duolog"),
        };
        let nothing = [
            Report::Receiver {
                ssrc: HERE,
                blocks: vec![],
            },
            description.clone(),
        ];
        assert_eq!(reports(&mut rtcp, begin, None), nothing);

        rtcp.sent(160, RtpTimestamp(u32::MAX - 159), begin + ms(20));
        rtcp.sent(160, RtpTimestamp(0), begin + ms(40));
        let figures = SenderFigures {
            ntp: NtpTime::from(NOON),
            timestamp: RtpTimestamp(80),
            packets: 2,
            octets: 320,
        };
        let sender = |figures| Report::Sender {
            ssrc: HERE,
            figures,
            blocks: vec![],
        };
        let told = reports(&mut rtcp, begin + ms(50), None);
        assert_eq!(told, [sender(figures), description]);
        // Nothing was sent since: still a sender at the next report, no more at the one after.
        let later = SenderFigures {
            timestamp: RtpTimestamp(8_000),
            ..figures
        };
        assert_eq!(
            reports(&mut rtcp, begin + ms(1_040), None)[0],
            sender(later)
        );
        assert_eq!(reports(&mut rtcp, begin + ms(2_000), None), nothing);
    }

    #[test]
    fn two_sides_measure_the_round_trip() {
        let begin = start();
        let (mut here, mut there) = (side(HERE, 1, begin), side(THERE, 2, begin));
        let mut heard = Source::new(HERE, ClockRate::HZ_8000);
        for (seq, at) in [(1, 0_u64), (2, 20), (4, 60)] {
            here.sent(160, RtpTimestamp(at as u32 * 8), begin + ms(at));
            heard.update(SeqNo(seq), RtpTimestamp(at as u32 * 8), begin + ms(at + 30));
        }
        assert_eq!(here.peer(), None);
        let sr = reports(&mut here, begin + ms(100), None);
        there.receive(begin + ms(130), &sr);
        let rr = reports(&mut there, begin + ms(630), Some(&mut heard));
        let Report::Receiver {
            ssrc: THERE,
            blocks,
        } = &rr[0]
        else {
            panic!("the other side sent no packets: {rr:?}");
        };
        assert_eq!(blocks[0].last_sr, NtpTime::from(NOON).middle());
        assert_eq!(blocks[0].delay_since_last_sr, 32_768);
        assert_eq!((blocks[0].cumulative_lost, blocks[0].highest_seq), (1, 4));

        here.receive(begin + ms(670), &rr);
        let peer = here.peer().expect("the peer reported");
        assert_eq!((peer.fraction_lost, peer.cumulative_lost), (64, 1));
        assert_eq!(peer.round_trip, Some(ms(70)));
    }

    #[test]
    fn senseless_blocks_measure_nothing() {
        let begin = start();
        let mut here = side(HERE, 1, begin);
        here.sent(160, RtpTimestamp(0), begin);
        reports(&mut here, begin, None);
        let middle = NtpTime::from(NOON).middle();
        let mut hear = |ssrc, last_sr, delay_since_last_sr| {
            let block = Block {
                ssrc,
                fraction_lost: 0,
                cumulative_lost: 0,
                highest_seq: 0,
                jitter_ticks: 5,
                last_sr,
                delay_since_last_sr,
            };
            let report = Report::Receiver {
                ssrc: THERE,
                blocks: vec![block],
            };
            here.receive(begin + ms(500), &[report]);
            here.peer()
        };
        let unmeasured = Some(Peer {
            jitter_ticks: 5,
            ..Peer::default()
        });
        assert_eq!(hear(Ssrc(99), middle, 0), None, "not about us");
        assert_eq!(hear(HERE, 0, 0), unmeasured, "no SR yet");
        assert_eq!(hear(HERE, middle + 1, 0), unmeasured, "not our SR");
        assert_eq!(
            hear(HERE, middle, u32::MAX),
            unmeasured,
            "held for longer than it was away"
        );
        assert_eq!(
            hear(HERE, middle, 0).and_then(|peer| peer.round_trip),
            Some(ms(500))
        );
    }

    #[test]
    fn blocks_about_another_source_carry_no_sr() {
        let begin = start();
        let mut here = side(HERE, 1, begin);
        let figures = SenderFigures {
            ntp: NtpTime(1 << 20),
            ..SenderFigures::default()
        };
        here.receive(
            begin,
            &[Report::Sender {
                ssrc: Ssrc(5),
                figures,
                blocks: vec![],
            }],
        );
        let mut source = Source::new(THERE, ClockRate::HZ_8000);
        source.update(SeqNo(1), RtpTimestamp(0), begin);
        let told = reports(&mut here, begin + ms(1_000), Some(&mut source));
        let Report::Receiver { blocks, .. } = &told[0] else {
            panic!("nothing was sent: {told:?}");
        };
        assert_eq!((blocks[0].last_sr, blocks[0].delay_since_last_sr), (0, 0));
    }

    #[test]
    fn the_last_report_says_goodbye() {
        let begin = start();
        let mut buffer = [0; 200];
        let mut here = side(HERE, 1, begin);
        let len = here
            .goodbye(begin, NOON, None, &mut buffer)
            .expect("it fits");
        let told = parse(&buffer[..len]).expect("well formed");
        let bye = Report::Goodbye {
            ssrcs: vec![HERE],
            reason: Bytes::new(),
        };
        assert_eq!(told.last(), Some(&bye));
        assert_eq!(told.len(), 3);
    }
}
