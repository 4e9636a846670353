//! Two parties on one shard in virtual time, and what became of their speech.
#![allow(dead_code)] // Each test binary uses its own part.

mod speaker;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_audio::codec::{Codec, G729Library};
use duolog_audio::coded;
use duolog_audio::g711::{self, Law};
use duolog_media::*;
use duolog_rtp::packet::{Outgoing, View};
use duolog_rtp::{PayloadType, RtpTimestamp, SeqNo, Ssrc, WallTime};

#[allow(unused_imports)] // Not every test binary has speakers.
pub use speaker::*;

pub const OWNER: LegKey = LegKey(1);
pub const OTHER: LegKey = LegKey(2);
pub const RECORDING: RecordingKey = RecordingKey(7);
pub const PACKET: u64 = 20_000;

/// One datagram that left the shard.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at_us: u64,
    pub port: PortId,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// One coded frame that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub at: u64,
    pub ticks: u64,
    pub codec: Codec,
    pub payload: Vec<u8>,
}

pub struct World {
    pub shard: Shard,
    out: Outbox,
    base: Instant,
    pub now_us: u64,
    pub sent: Vec<Sent>,
    pub events: Vec<(u64, Event)>,
    pub entries: Vec<Entry>,
    pub connects: Vec<Connect>,
    /// Whether the spool refuses everything.
    pub full: bool,
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("a socket address")
}

/// Where the party of a leg sends from.
pub fn home(leg: LegKey) -> SocketAddr {
    address(match leg {
        OWNER => "10.0.0.1:4000",
        _ => "10.0.0.2:4000",
    })
}

pub fn rtp_port(leg: LegKey) -> PortId {
    PortId((leg.0 as u32 - 1) * 2)
}

pub fn format(payload_type: u8, encoding: Encoding) -> PayloadFormat {
    PayloadFormat {
        payload_type: PayloadType(payload_type),
        encoding,
    }
}

pub fn mulaw() -> Vec<PayloadFormat> {
    vec![
        format(0, Encoding::Speech(Codec::Pcmu)),
        format(101, Encoding::TelephoneEvent { rate_hz: 8_000 }),
    ]
}

pub fn alaw() -> Vec<PayloadFormat> {
    vec![
        format(8, Encoding::Speech(Codec::Pcma)),
        format(96, Encoding::TelephoneEvent { rate_hz: 8_000 }),
    ]
}

pub fn peer(leg: LegKey, formats: Vec<PayloadFormat>) -> PeerMedia {
    let rtp = home(leg);
    PeerMedia {
        rtp,
        rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1),
        rtcp_mux: RtcpMux::Apart,
        signalled_from: rtp.ip(),
        formats,
        direction: Direction::SendRecv,
        ptime_ms: 20,
        security: None,
    }
}

#[allow(clippy::disallowed_methods)] // The one moment every virtual one is counted from.
fn base() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn settings(base: Instant) -> ShardSettings {
    let unix_us = 1_700_000_000_000_000;
    let mut settings = ShardSettings::new((base, WallTime { unix_us }));
    settings.g729 = G729Library::open().ok();
    settings
}

impl World {
    /// Two connected, bridged legs and an open recording that was not started.
    pub fn new(sabotage: Sabotage) -> World {
        let mut world = World::empty(sabotage);
        world.open(OWNER);
        world.open(OTHER);
        for leg in [OWNER, OTHER] {
            let peer = peer(leg, mulaw());
            world.command(Command::Connect { leg, peer });
        }
        world.command(Command::Bridge { a: OWNER, b: OTHER });
        world.record(RecordingCommand::Open {
            owner: OWNER,
            other: Some(OTHER),
            keeping: Keeping::Kept,
            payload: Bytes::from_static(b"open"),
        });
        world
    }

    /// The settings that the world's shard began with.
    pub fn settings(&self) -> ShardSettings {
        settings(self.base)
    }

    pub fn empty(sabotage: Sabotage) -> World {
        let base = base();
        let mut settings = settings(base);
        settings.sabotage = sabotage;
        World {
            shard: Shard::new(settings),
            out: Outbox::new(),
            base,
            now_us: 0,
            sent: Vec::new(),
            events: Vec::new(),
            entries: Vec::new(),
            connects: Vec::new(),
            full: false,
        }
    }

    pub fn open(&mut self, leg: LegKey) {
        let rtp = rtp_port(leg);
        self.command(Command::Open {
            leg,
            rtp,
            rtcp: PortId(rtp.0 + 1),
            identity: LegIdentity {
                ssrc: Ssrc(0xd000 + leg.0 as u32),
                seq: SeqNo(65_000),
                timestamp: RtpTimestamp(u32::MAX - 1_000),
                cname: Bytes::from_static(b"duolog"),
            },
        });
    }

    pub fn at(&self, us: u64) -> Instant {
        self.base + Duration::from_micros(us)
    }

    /// Lets time pass, ticking whenever the shard wants it.
    pub fn run_to(&mut self, us: u64) {
        while let Some(due) = self.shard.deadline()
            && due <= self.at(us)
        {
            let due_us = due.saturating_duration_since(self.base).as_micros() as u64;
            self.now_us = self.now_us.max(due_us);
            self.shard.tick(due, &mut self.out);
            self.drain();
        }
        self.now_us = self.now_us.max(us);
    }

    pub fn command(&mut self, command: Command) {
        self.shard
            .command(self.at(self.now_us), command, &mut self.out);
        self.drain();
    }

    pub fn record(&mut self, command: RecordingCommand) {
        self.command(Command::Record {
            recording: RECORDING,
            command,
        });
    }

    pub fn close(&mut self) {
        self.record(RecordingCommand::Close {
            payload: Bytes::from_static(b"close"),
        });
    }

    pub fn receive(&mut self, port: PortId, from: SocketAddr, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let now = self.at(self.now_us);
        self.shard
            .receive(now, now, port, from, &mut bytes, &mut self.out);
        self.drain();
    }

    /// Delivers datagrams, each at its time.
    pub fn deliver(&mut self, mut flow: Vec<(u64, LegKey, Vec<u8>)>) {
        flow.sort_by_key(|&(at, ..)| at);
        for (at, leg, bytes) in flow {
            self.run_to(at);
            self.receive(rtp_port(leg), home(leg), &bytes);
        }
    }

    fn drain(&mut self) {
        let at_us = self.now_us;
        let datagrams = self.out.datagrams().map(|datagram| Sent {
            at_us,
            port: datagram.port,
            to: datagram.to,
            bytes: datagram.bytes.to_vec(),
        });
        self.sent.extend(datagrams);
        let now = self.at(at_us);
        self.events
            .extend(self.out.events.iter().map(|&event| (at_us, event)));
        self.connects.append(&mut self.out.connects);
        for entry in self.out.entries.drain(..) {
            if self.full {
                self.shard.entry_refused(now, entry);
                continue;
            }
            self.entries.push(entry.clone());
            match entry {
                Entry::Block(block) => self.shard.recycle(block),
                Entry::Coded { bytes, .. } => self.shard.recycle_coded(bytes),
                _ => {}
            }
        }
        self.out.clear();
    }

    /// What was recorded, as samples of the two channels.
    pub fn kept(&self) -> [Vec<i16>; 2] {
        let mut channels = [Vec::new(), Vec::new()];
        for entry in &self.entries {
            let Entry::Block(block) = entry else { continue };
            for channel in &mut channels {
                // What the spool refused is silence.
                channel.resize(block.position as usize, 0);
            }
            let bytes = 2 * block.format.sample_bytes() * block.samples as usize;
            assert_eq!(block.bytes.len(), bytes);
            let decode = |law| move |&code: &u8| g711::decode(law, code);
            let samples: Vec<i16> = match block.format {
                SampleFormat::Mulaw => block.bytes.iter().map(decode(Law::Mulaw)).collect(),
                SampleFormat::Alaw => block.bytes.iter().map(decode(Law::Alaw)).collect(),
                SampleFormat::Empty => vec![0; 2 * block.samples as usize],
                SampleFormat::Pcm16 => {
                    let pairs = block.bytes.as_chunks::<2>().0.iter();
                    pairs.map(|&pair| i16::from_le_bytes(pair)).collect()
                }
            };
            for frame in samples.as_chunks::<2>().0 {
                channels[0].push(frame[0]);
                channels[1].push(frame[1]);
            }
        }
        channels
    }

    /// Coded frames of one channel.
    pub fn coded(&self, wanted: Channel) -> Vec<Kept> {
        let mut frames = Vec::new();
        for entry in &self.entries {
            let Entry::Coded {
                channel,
                position,
                ticks,
                bytes,
                ..
            } = entry
            else {
                continue;
            };
            if *channel != wanted {
                continue;
            }
            for frame in coded::read(bytes) {
                let frame = frame.expect("the list is whole");
                assert!(frame.offset < *ticks, "a frame begins in its stretch");
                frames.push(Kept {
                    at: position + u64::from(frame.offset),
                    ticks: u64::from(frame.ticks),
                    codec: Codec::from_code(frame.codec).expect("a codec"),
                    payload: frame.payload.to_vec(),
                });
            }
        }
        frames
    }

    /// Gaps of one channel as whoever reads them is to understand them: position, samples, reason.
    pub fn gaps(&self, wanted: Channel) -> Vec<(u64, u64, GapReason)> {
        let mut told: Vec<(u64, u64, GapReason)> = Vec::new();
        for entry in &self.entries {
            let Entry::Gap {
                channel,
                position: from,
                samples,
                reason,
                ..
            } = *entry
            else {
                continue;
            };
            if channel != wanted {
                continue;
            }
            let until = from + samples;
            if reason == GapReason::Loss {
                told = told
                    .into_iter()
                    .flat_map(|gap| match gap {
                        (start, end, GapReason::Silence) => {
                            let rest = [(start, end.min(from)), (start.max(until), end)];
                            rest.map(|(start, end)| (start, end, GapReason::Silence))
                        }
                        other => [other, (0, 0, GapReason::Silence)],
                    })
                    .filter(|gap| gap.1 > gap.0)
                    .collect();
            }
            told.push((from, until, reason));
        }
        told.sort_unstable_by_key(|&(from, _, reason)| (reason, from));
        told.dedup_by(|next, last| {
            let joins = last.2 == next.2 && last.1 == next.0;
            if joins {
                last.1 = next.1;
            }
            joins
        });
        let mut gaps: Vec<_> = told
            .into_iter()
            .map(|(from, until, reason)| (from, until - from, reason))
            .collect();
        gaps.sort_unstable();
        gaps
    }

    pub fn totals(&self) -> (u64, Totals) {
        match self.entries.last() {
            Some(Entry::Close {
                position, totals, ..
            }) => (*position, **totals),
            other => panic!("the last entry closes the recording, not {other:?}"),
        }
    }

    /// RTP packets sent to the party of a leg.
    pub fn heard_by(&self, leg: LegKey) -> Vec<(u64, View<'_>)> {
        let sent = self.sent.iter().filter(|sent| sent.port == rtp_port(leg));
        sent.map(|sent| {
            let view = View::parse(&sent.bytes).expect("what is sent is RTP");
            (sent.at_us, view)
        })
        .collect()
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.shard.counters().dropped(reason)
    }
}

/// One party's speech: every sample has a code of its own, never the silence code.
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    pub leg: LegKey,
    pub ssrc: u32,
    pub law: Law,
    pub payload_type: u8,
    pub first_seq: u16,
    pub first_timestamp: u32,
    /// When the first packet is sent, in microseconds.
    pub from_us: u64,
    pub samples: usize,
}

impl Voice {
    pub fn of(leg: LegKey) -> Voice {
        Voice {
            leg,
            ssrc: 0xa000 + leg.0 as u32,
            law: Law::Mulaw,
            payload_type: 0,
            first_seq: 65_500,
            first_timestamp: u32::MAX - 4_000,
            from_us: 0,
            samples: 160,
        }
    }

    pub fn code(&self, sample: u64) -> u8 {
        let mut mixed = sample.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.leg.0 << 40;
        mixed ^= mixed >> 29;
        mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let code = (mixed >> 56) as u8;
        match code {
            0xff | 0x7f | 0xd5 | 0x55 | 0 => 0x23,
            code => code,
        }
    }

    pub fn sample(&self, sample: u64) -> i16 {
        g711::decode(self.law, self.code(sample))
    }

    /// Packet `index`: when it is sent, and the packet.
    pub fn packet(&self, index: u64) -> (u64, LegKey, Vec<u8>) {
        let first = index * self.samples as u64;
        let payload: Vec<u8> = (first..first + self.samples as u64)
            .map(|sample| self.code(sample))
            .collect();
        let packet = rtp(
            self.ssrc,
            self.first_seq.wrapping_add(index as u16),
            self.first_timestamp.wrapping_add(first as u32),
            self.payload_type,
            &payload,
        );
        let at = self.from_us + index * self.samples as u64 * 125;
        (at, self.leg, packet)
    }

    pub fn packets(&self, count: u64) -> Vec<(u64, LegKey, Vec<u8>)> {
        (0..count).map(|index| self.packet(index)).collect()
    }
}

pub fn rtp(ssrc: u32, seq: u16, timestamp: u32, payload_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 12 + payload.len()];
    let packet = Outgoing {
        ssrc: Ssrc(ssrc),
        seq: SeqNo(seq),
        timestamp: RtpTimestamp(timestamp),
        payload_type: PayloadType(payload_type),
        marker: false,
        payload,
    };
    packet.write(&mut buffer).expect("the buffer fits");
    buffer
}

/// Numbers that only a seed decides.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Asserts that `kept[from..]` is a voice's samples from `first` on, for `count` samples.
pub fn assert_voice(kept: &[i16], from: usize, voice: &Voice, first: u64, count: usize) {
    for offset in 0..count {
        assert_eq!(
            kept[from + offset],
            voice.sample(first + offset as u64),
            "sample {} of the recording, {} of the voice",
            from + offset,
            first + offset as u64
        );
    }
}

pub fn assert_silent(kept: &[i16]) {
    let loud = kept.iter().position(|&sample| sample.abs() > 8);
    assert_eq!(loud, None, "silence is expected");
}
