//! What a phone heard: packets as they came, the sound they make, the keys, the peer's reports.

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;
use duolog_audio::SAMPLE_RATE_HZ;
use duolog_audio::codec::{Codec, Decoder, G729Library};
use duolog_audio::g711;
use duolog_audio::resample::Resampler;
use duolog_rtp::event::{Collector, Digit, TelephoneEvent};
use duolog_rtp::packet::View;
use duolog_rtp::rtcp::Report;
use duolog_rtp::{ClockRate, RtpTimestamp, SeqNo, Ssrc};

use super::media::Agreed;

/// A time stamp further than this from the last, either way, is a new beginning: 60 s.
const FAR_TICKS: i64 = 60 * SAMPLE_RATE_HZ as i64;

/// Whether packets are kept for a test to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Counts and keys only: a phone that talks for hours does not grow.
    Nothing,
    /// Every packet sent and heard.
    Packets,
}

/// A packet as it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardPacket {
    /// When it arrived.
    pub arrived: Instant,
    /// Who sent it.
    pub ssrc: Ssrc,
    /// Its sequence number.
    pub seq: SeqNo,
    /// Its time stamp.
    pub timestamp: RtpTimestamp,
    /// Its marker bit.
    pub marker: bool,
    /// Its payload type, 0 to 127.
    pub payload_type: u8,
    /// The codec of its audio; `None` for a telephone-event or an unknown type.
    pub codec: Option<Codec>,
    /// Its payload.
    pub payload: Bytes,
}

/// Audio packets placed by their time stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// When the packet that holds sample 0 arrived.
    pub began: Instant,
    /// 16-bit samples at 8 kHz; 0 where nothing came.
    pub samples: Vec<i16>,
    /// Where nothing came, in samples, in order.
    pub gaps: Vec<Range<usize>>,
}

/// What a phone heard since it was made.
#[derive(Debug, Clone)]
pub struct Ear {
    keep: Keep,
    packets: Vec<HeardPacket>,
    count: u64,
    refused: u64,
    keys: Collector,
    digits: Vec<Digit>,
    reports: Vec<Report>,
}

impl Ear {
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            keep,
            packets: Vec::new(),
            count: 0,
            refused: 0,
            keys: Collector::new(ClockRate::HZ_8000),
            digits: Vec::new(),
            reports: Vec::new(),
        }
    }

    /// Every packet in the order of arrival; empty unless [`Keep::Packets`] was asked for.
    #[must_use]
    pub fn packets(&self) -> &[HeardPacket] {
        &self.packets
    }

    /// How many RTP packets came.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many datagrams came that were no RTP or RTCP packet.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The keys the peer pressed (RFC 4733), in order.
    #[must_use]
    pub fn digits(&self) -> &[Digit] {
        &self.digits
    }

    /// What the peer's RTCP said, in order; empty unless [`Keep::Packets`] was asked for.
    #[must_use]
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// The sound of the packets kept; `None` when there was no audio.
    #[must_use]
    pub fn heard(&self) -> Option<Heard> {
        place(&self.packets)
    }

    pub(super) fn packet(&mut self, arrived: Instant, view: &View<'_>, agreed: Option<&Agreed>) {
        self.count += 1;
        let payload_type = view.payload_type().0;
        let codec = match agreed {
            Some(agreed) if agreed.payload_type == payload_type => Some(agreed.codec),
            _ => match payload_type {
                0 => Some(Codec::Pcmu),
                8 => Some(Codec::Pcma),
                9 => Some(Codec::G722),
                18 => Some(Codec::G729),
                _ => None,
            },
        };
        let is_event = agreed.is_some_and(|agreed| agreed.event_type == Some(payload_type));
        if is_event && let Ok(event) = TelephoneEvent::parse(view.payload()) {
            let told = self.keys.receive(arrived, view.timestamp(), event);
            self.digits.extend(told.into_iter().flatten());
        }
        if self.keep == Keep::Packets {
            self.packets.push(HeardPacket {
                arrived,
                ssrc: view.ssrc(),
                seq: view.seq(),
                timestamp: view.timestamp(),
                marker: view.marker(),
                payload_type,
                codec,
                payload: Bytes::copy_from_slice(view.payload()),
            });
        }
    }

    pub(super) fn report(&mut self, reports: Vec<Report>) {
        if self.keep == Keep::Packets {
            self.reports.extend(reports);
        }
    }

    pub(super) fn refuse(&mut self) {
        self.refused += 1;
    }
}

/// A packet and where it lies, in 8 kHz samples from the first one.
struct Placed<'a> {
    at: i64,
    codec: Codec,
    length: usize,
    packet: &'a HeardPacket,
}

fn place(packets: &[HeardPacket]) -> Option<Heard> {
    let placed = positions(packets);
    let first = placed.iter().min_by_key(|placed| placed.at)?;
    let (origin, began) = (first.at, first.packet.arrived);
    let end = placed
        .iter()
        .map(|p| p.at - origin + p.length as i64)
        .max()?;
    let mut samples = vec![0; end as usize];
    let mut came = vec![false; end as usize];
    for run in placed.chunk_by(|a, b| a.codec == b.codec && a.codec.law().is_none()) {
        for (placed, sound) in run.iter().zip(sounds(run)) {
            let from = (placed.at - origin) as usize;
            let range = from..from + placed.length;
            samples[range.clone()].copy_from_slice(&sound);
            came[range].fill(true);
        }
    }
    Some(Heard {
        began,
        samples,
        gaps: gaps(&came),
    })
}

fn positions(packets: &[HeardPacket]) -> Vec<Placed<'_>> {
    let mut placed: Vec<Placed<'_>> = Vec::with_capacity(packets.len());
    for packet in packets {
        let Some(codec) = packet.codec else { continue };
        let Some(ticks) = codec.ticks(&packet.payload) else {
            continue;
        };
        let faster = f64::from(codec.clock_rate_hz()) / 8_000.0;
        let in_samples = |ticks: i64| (ticks as f64 / faster).round() as i64;
        let at = match placed.last() {
            None => 0,
            Some(last) => {
                let ticks = i64::from(packet.timestamp.since(last.packet.timestamp));
                let same = packet.ssrc == last.packet.ssrc && codec == last.codec;
                if same && ticks.abs() < FAR_TICKS {
                    last.at + in_samples(ticks)
                } else {
                    let later = packet
                        .arrived
                        .saturating_duration_since(last.packet.arrived);
                    last.at + ClockRate::HZ_8000.ticks_in(later) as i64
                }
            }
        };
        placed.push(Placed {
            at,
            codec,
            length: in_samples(i64::from(ticks)) as usize,
            packet,
        });
    }
    placed
}

/// The sound of packets of one codec, each as long as its packet at 8 kHz.
fn sounds(run: &[Placed<'_>]) -> Vec<Vec<i16>> {
    let codec = run[0].codec;
    if let Some(law) = codec.law() {
        let decode = |placed: &Placed<'_>| {
            let mut samples = vec![0; placed.length];
            g711::decode_into(law, &placed.packet.payload, &mut samples);
            samples
        };
        return run.iter().map(decode).collect();
    }
    let rate_hz = match codec {
        Codec::Opus => 8_000,
        codec => codec.sample_rate_hz(),
    };
    let library = G729Library::open().ok();
    let mut whole = Vec::new();
    if let Ok(mut decoder) = Decoder::new(codec, rate_hz, library.as_ref()) {
        for placed in run {
            let wanted = whole.len() + placed.length * rate_hz as usize / 8_000;
            // What cannot be decoded was not heard.
            let _ = decoder.decode(&placed.packet.payload, &mut whole);
            whole.resize(wanted, 0);
        }
    }
    if rate_hz != 8_000 {
        let mut narrow = Vec::new();
        let mut resampler = Resampler::new(rate_hz, 8_000).expect("a rate that is known");
        resampler.push(&whole, &mut narrow);
        resampler.finish(&mut narrow);
        whole = narrow;
    }
    let mut rest = whole.into_iter();
    let cut = |placed: &Placed<'_>| {
        let mut samples: Vec<i16> = rest.by_ref().take(placed.length).collect();
        samples.resize(placed.length, 0);
        samples
    };
    run.iter().map(cut).collect()
}

fn gaps(came: &[bool]) -> Vec<Range<usize>> {
    let mut at = 0;
    let mut gaps = Vec::new();
    for run in came.chunk_by(|a, b| a == b) {
        if !run[0] {
            gaps.push(at..at + run.len());
        }
        at += run.len();
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// One packet per word: `arrival_ms:ssrc:timestamp:code*count`.
    fn heard(words: &str) -> Option<(Vec<i16>, Vec<[usize; 2]>, u128)> {
        let began = Instant::now();
        let packets: Vec<HeardPacket> = words
            .split_whitespace()
            .map(|word| {
                let (head, count) = word.split_once('*').expect("a count");
                let n: Vec<i64> = head
                    .split(':')
                    .map(|n| n.parse().expect("a number"))
                    .collect();
                HeardPacket {
                    arrived: began + Duration::from_millis(n[0] as u64),
                    ssrc: Ssrc(n[1] as u32),
                    seq: SeqNo(0),
                    timestamp: RtpTimestamp(n[2] as u32),
                    marker: false,
                    payload_type: 0,
                    codec: (n[3] != 999).then_some(Codec::Pcmu),
                    payload: vec![n[3] as u8; count.parse().expect("a count")].into(),
                }
            })
            .collect();
        let heard = place(&packets)?;
        let gaps = heard.gaps.iter().map(|gap| [gap.start, gap.end]).collect();
        Some((heard.samples, gaps, (heard.began - began).as_millis()))
    }

    #[test]
    fn packets_are_placed_by_their_time_stamps() {
        let (a, b) = (
            g711::decode(g711::Law::Mulaw, 1),
            g711::decode(g711::Law::Mulaw, 2),
        );
        assert_eq!(heard(""), None);
        assert_eq!(heard("0:7:0:999*4"), None);
        assert_eq!(
            heard("5:7:100:1*2 6:7:102:2*2"),
            Some((vec![a, a, b, b], vec![], 5))
        );
        assert_eq!(
            heard("5:7:102:2*2 6:7:100:1*2"),
            Some((vec![a, a, b, b], vec![], 6))
        );
        assert_eq!(
            heard("0:7:-1:1*1 1:7:2:2*1"),
            Some((vec![a, 0, 0, b], vec![[1, 3]], 0))
        );
        // Another source is placed by its arrival: 1 ms later is 8 samples later.
        let (samples, gaps, _) = heard("0:7:0:1*1 1:8:900000000:2*1").expect("audio");
        assert_eq!((samples.len(), samples[8], gaps), (9, b, vec![[1, 8]]));
    }
}
