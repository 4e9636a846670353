//! Parties that speak any codec, and what has to hold of what became of it.

use duolog_audio::codec::Codec;
use duolog_audio::g711;
use duolog_media::*;

use super::*;

/// A party that speaks any codec on a network of its own; every payload carries its number.
pub struct Speaker {
    pub leg: LegKey,
    pub codec: Codec,
    pub ptime_ms: u64,
    pub ssrc: u32,
    pub seq: u16,
    pub timestamp: u32,
    /// When the first sample of the next packet is spoken, on the time line: a packet of 20 ms arrives
    /// at this moment, one of another length when its last sample would have come 20 ms earlier.
    pub at_us: u64,
    pub said: u32,
}

/// A packet on its way.
#[derive(Debug, Clone)]
pub struct Said {
    /// Where it belongs on the time line, and when it is to arrive.
    pub at_us: u64,
    pub arrives_us: u64,
    pub leg: LegKey,
    pub codec: Codec,
    pub ticks: u64,
    pub payload: Vec<u8>,
    pub datagram: Vec<u8>,
}

impl Speaker {
    pub fn new(leg: LegKey, codec: Codec) -> Speaker {
        Speaker {
            leg,
            codec,
            ptime_ms: 20,
            ssrc: 0xc000 + leg.0 as u32,
            seq: 65_530,
            timestamp: u32::MAX - 20_000,
            at_us: 20_000,
            said: 0,
        }
    }

    fn clock(&self, ms: u64) -> u32 {
        (ms * u64::from(self.codec.clock_rate_hz()) / 1_000) as u32
    }

    /// The next packet.
    pub fn say(&mut self) -> Said {
        self.said += 1;
        let payload = payload(self.codec, self.ptime_ms, self.leg, self.said);
        let number = payload_type(self.codec);
        let said = Said {
            at_us: self.at_us,
            arrives_us: self.at_us + 1_000 * self.ptime_ms - 20_000,
            leg: self.leg,
            codec: self.codec,
            ticks: 8 * self.ptime_ms,
            datagram: rtp(self.ssrc, self.seq, self.timestamp, number, &payload),
            payload,
        };
        self.lose();
        said
    }

    /// So many packets.
    pub fn say_for(&mut self, ms: u64) -> Vec<Said> {
        (0..ms / self.ptime_ms).map(|_| self.say()).collect()
    }

    /// A packet that never arrives.
    pub fn lose(&mut self) {
        self.seq = self.seq.wrapping_add(1);
        self.keep_quiet(self.ptime_ms);
    }

    /// Nothing is sent.
    pub fn keep_quiet(&mut self, ms: u64) {
        self.timestamp = self.timestamp.wrapping_add(self.clock(ms));
        self.at_us += 1_000 * ms;
    }
}

/// The number a codec goes by in these tests.
pub fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::G729 => 18,
        Codec::Opus => 107,
        Codec::L16 { .. } => 108,
    }
}

/// A payload of which no eight octets behind the second are those of another.
pub fn payload(codec: Codec, ptime_ms: u64, leg: LegKey, number: u32) -> Vec<u8> {
    let voice = Voice {
        leg,
        ..Voice::of(leg)
    };
    let len = match codec {
        Codec::G729 => ptime_ms,
        Codec::Opus => 62,
        Codec::L16 { rate_hz, .. } => 2 * ptime_ms * u64::from(rate_hz) / 1_000,
        _ => 8 * ptime_ms,
    };
    let first = u64::from(number) * 10_000;
    let mut payload: Vec<u8> = (first..first + len).map(|at| voice.code(at)).collect();
    if codec == Codec::Opus {
        // RFC 6716 §3.1: one frame of SILK or CELT, or so many of CELT with 10 ms.
        (payload[0], payload[1]) = match ptime_ms {
            10 => (30 << 3, payload[1]),
            20 => (31 << 3, payload[1]),
            40 => (2 << 3, payload[1]),
            60 => (3 << 3, payload[1]),
            ms => (30 << 3 | 3, (ms / 10) as u8),
        };
    }
    payload
}

/// Every codec that is to be tested.
pub const CODECS: [Codec; 5] = [
    Codec::Pcmu,
    Codec::G722,
    Codec::Opus,
    Codec::G729,
    Codec::L16 {
        rate_hz: 16_000,
        channels: duolog_audio::codec::Channels::Mono,
    },
];

pub fn every_format() -> Vec<PayloadFormat> {
    let speech = |codec| format(payload_type(codec), Encoding::Speech(codec));
    let mut formats: Vec<_> = CODECS.map(speech).to_vec();
    formats.push(speech(Codec::Pcma));
    formats
}

/// Where what was said lies in a recording.
pub struct Heard {
    g711: std::collections::HashMap<[i16; 8], Vec<u64>>,
    coded: std::collections::HashMap<Vec<u8>, Vec<u64>>,
}

impl Heard {
    pub fn of(world: &World, channel: Channel) -> Heard {
        let mut heard = Heard {
            g711: Default::default(),
            coded: Default::default(),
        };
        for (at, window) in world.kept()[channel as usize].array_windows().enumerate() {
            if window.iter().any(|sample: &i16| sample.abs() > 8) {
                heard.g711.entry(*window).or_default().push(at as u64);
            }
        }
        for frame in world.coded(channel) {
            heard.coded.entry(frame.payload).or_default().push(frame.at);
        }
        heard
    }

    /// Every position where the packet was found.
    pub fn find(&self, said: &Said) -> Vec<u64> {
        let Some(law) = said.codec.law() else {
            return self.coded.get(&said.payload).cloned().unwrap_or_default();
        };
        // The middle: the edges may be cut where two sources meet.
        let middle = said.payload.len() / 2;
        let pattern = std::array::from_fn(|at| g711::decode(law, said.payload[middle + at]));
        let found = self.g711.get(&pattern).cloned().unwrap_or_default();
        found
            .iter()
            .map(|at| at.saturating_sub(middle as u64))
            .collect()
    }
}

impl World {
    /// A world whose legs take every codec, recorded from the first moment on.
    pub fn of_every_codec() -> World {
        let mut world = World::new(Sabotage::None);
        for leg in [OWNER, OTHER] {
            let peer = peer(leg, every_format());
            world.command(Command::Connect { leg, peer });
        }
        world
    }

    pub fn hear(&mut self, mut said: Vec<Said>) {
        said.sort_by_key(|said| said.arrives_us);
        for said in said {
            self.run_to(said.arrives_us);
            self.receive(rtp_port(said.leg), home(said.leg), &said.datagram);
        }
    }

    /// What holds of every recording: blocks without a hole, gaps that do not overlap, and audio and
    /// gaps that make up its length. Gives the length.
    pub fn check_whole(&self) -> u64 {
        let (end, totals) = self.totals();
        let mut at = 0;
        for entry in &self.entries {
            match entry {
                Entry::Block(block) => {
                    assert_eq!(block.position, at, "blocks follow each other");
                    at += u64::from(block.samples);
                }
                Entry::Coded { position, .. } => assert_eq!(*position, at),
                _ => {}
            }
        }
        assert_eq!(at, end);
        for (channel, side) in Channel::BOTH.into_iter().zip([totals.owner, totals.other]) {
            if totals.layout == Layout::Mixed && channel == Channel::Other {
                assert_eq!((side, self.gaps(channel)), (SideTotals::default(), vec![]));
                continue;
            }
            assert_eq!(
                side.audio_ticks + side.gaps.sum(),
                end,
                "{channel:?}: {side:?}"
            );
            let gaps = self.gaps(channel);
            for pair in gaps.windows(2) {
                assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{channel:?}: {pair:?}");
            }
            for reason in GapReason::ALL {
                let told = gaps.iter().filter(|gap| gap.2 == reason);
                let told: u64 = told.map(|gap| gap.1).sum();
                assert_eq!(
                    told,
                    side.gaps.of(reason),
                    "{channel:?} {reason:?}: {gaps:?}"
                );
            }
            assert_eq!(side.expected, side.received + side.lost);
            assert_eq!(side.tail_ticks, end - side.last_audio.unwrap_or(0));
        }
        end
    }

    /// Everything that left for the spool, to be compared with another world's.
    pub fn digest(&self) -> Vec<String> {
        let digest = |entry: &Entry| match entry {
            Entry::Fact { position, .. } => format!("fact {position}"),
            Entry::Open { .. } => "open".to_owned(),
            Entry::Close {
                position, totals, ..
            } => format!("close {position} {totals:?}"),
            other => format!("{other:?}"),
        };
        self.entries.iter().map(digest).collect()
    }
}
