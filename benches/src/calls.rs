//! Two-leg calls on one shard in virtual time: each party sends a packet every 20 ms, spread evenly.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_audio::codec::Codec;
use duolog_media::{
    Command, Direction, Encoding, Entry, Keeping, LegIdentity, LegKey, Outbox, PayloadFormat,
    PeerMedia, PortId, RecordingCommand, RecordingKey, RtcpMux, Shard, ShardSettings,
};
use duolog_rtp::packet::{self, Marker, Outgoing};
use duolog_rtp::{PayloadType, RtpTimestamp, SeqNo, Ssrc, WallTime};

/// Between two packets of a party.
pub const PACKET: Duration = Duration::from_millis(20);

/// Samples, and G.711 octets, of a packet.
pub const PACKET_SAMPLES: usize = 160;

/// Whether calls are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// From before their first packet on.
    Yes,
    /// For both parties, each in a recording of its own with itself first.
    Twice,
    /// Never.
    No,
}

/// Whether the two legs of a call hear each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bridged {
    /// Each packet is relayed.
    Yes,
    /// Packets end at the tap.
    No,
}

/// Calls, and the packets their parties send.
pub struct Calls {
    shard: Shard,
    out: Outbox,
    parties: Vec<Party>,
    start: Instant,
    rounds: u32,
    blocks: u64,
    sent: u64,
}

struct Party {
    port: PortId,
    home: SocketAddr,
    ssrc: Ssrc,
    seq: u16,
    timestamp: u32,
    offset: Duration,
    datagram: [u8; packet::FIXED_HEADER_LEN + PACKET_SAMPLES],
}

impl Calls {
    /// Connected calls of which no packet was sent yet.
    #[must_use]
    pub fn new(count: u32, recorded: Recorded, bridged: Bridged) -> Calls {
        let start = Instant::now();
        let unix_us = 1_700_000_000_000_000;
        let mut calls = Calls {
            shard: Shard::new(ShardSettings::new((start, WallTime { unix_us }))),
            out: Outbox::new(),
            parties: Vec::new(),
            start,
            rounds: 0,
            blocks: 0,
            sent: 0,
        };
        for call in 0..count {
            let legs = [2 * call, 2 * call + 1].map(|leg| calls.open(leg, 2 * count));
            if bridged == Bridged::Yes {
                calls.command(Command::Bridge {
                    a: legs[0],
                    b: legs[1],
                });
            }
            let owners = match recorded {
                Recorded::No => 0,
                Recorded::Yes => 1,
                Recorded::Twice => 2,
            };
            for number in 0..owners {
                calls.record(
                    2 * call + number,
                    legs[number as usize],
                    legs[1 - number as usize],
                );
            }
        }
        calls
    }

    fn record(&mut self, number: u32, owner: LegKey, other: LegKey) {
        let recording = RecordingKey(u128::from(number));
        let open = RecordingCommand::Open {
            owner,
            other: Some(other),
            keeping: Keeping::Kept,
            payload: Bytes::new(),
        };
        for command in [open, RecordingCommand::Start] {
            self.command(Command::Record { recording, command });
        }
    }

    /// The second channel of every first recording becomes that of the next call's.
    pub fn turn(&mut self) {
        let calls = self.parties.len() as u32 / 2;
        let now = self.start + PACKET * self.rounds;
        for call in 0..calls {
            let other = LegKey(u64::from(2 * ((call + 1) % calls) + 1));
            let command = Command::Record {
                recording: RecordingKey(u128::from(2 * call)),
                command: RecordingCommand::Turn { other: Some(other) },
            };
            self.shard.command(now, command, &mut self.out);
            self.hand_over();
        }
    }

    fn open(&mut self, number: u32, parties: u32) -> LegKey {
        let leg = LegKey(u64::from(number));
        let (rtp, rtcp) = (PortId(2 * number), PortId(2 * number + 1));
        let identity = LegIdentity {
            ssrc: Ssrc(0xd000_0000 + number),
            seq: SeqNo(number as u16),
            timestamp: RtpTimestamp(number),
            cname: Bytes::from_static(b"duolog"),
        };
        self.command(Command::Open {
            leg,
            rtp,
            rtcp,
            identity,
        });
        let ip = [10, 0, (number >> 8) as u8, number as u8];
        let home = SocketAddr::from((ip, 4000));
        let pcmu = PayloadFormat {
            payload_type: PayloadType(0),
            encoding: Encoding::Speech(Codec::Pcmu),
        };
        let peer = PeerMedia {
            rtp: home,
            rtcp: SocketAddr::from((ip, 4001)),
            rtcp_mux: RtcpMux::Apart,
            signalled_from: home.ip(),
            formats: vec![pcmu],
            direction: Direction::SendRecv,
            ptime_ms: 20,
            security: None,
        };
        self.command(Command::Connect { leg, peer });
        self.parties
            .push(Party::new(number, rtp, home, PACKET * number / parties));
        leg
    }

    fn command(&mut self, command: Command) {
        self.shard.command(self.start, command, &mut self.out);
        self.out.clear();
    }

    /// How many packets a round has: two for each call.
    #[must_use]
    pub fn packets_per_round(&self) -> u64 {
        self.parties.len() as u64
    }

    /// Every party sends one packet at its time; what is due meanwhile is done.
    pub fn round(&mut self) {
        let round = self.start + PACKET * self.rounds;
        for at in 0..self.parties.len() {
            let now = round + self.parties[at].offset;
            self.tick(now);
            self.receive(at, now);
        }
        self.rounds += 1;
    }

    /// As [`Calls::round`] without what is due; [`Calls::settle`] does that.
    pub fn receive_round(&mut self) {
        let round = self.start + PACKET * self.rounds;
        for at in 0..self.parties.len() {
            self.receive(at, round + self.parties[at].offset);
        }
        self.rounds += 1;
    }

    /// Does what became due in the last round.
    pub fn settle(&mut self) {
        self.tick(self.start + PACKET * self.rounds);
    }

    fn receive(&mut self, at: usize, now: Instant) {
        let party = &mut self.parties[at];
        party.step();
        self.sent += 1;
        let (port, home) = (party.port, party.home);
        self.shard
            .receive(now, now, port, home, &mut party.datagram, &mut self.out);
        self.hand_over();
    }

    fn tick(&mut self, now: Instant) {
        if self
            .shard
            .deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.shard.tick(now, &mut self.out);
            self.hand_over();
        }
    }

    /// What the program does with an outbox, without the kernel: blocks come back written.
    fn hand_over(&mut self) {
        self.out.clear_datagrams();
        self.out.connects.clear();
        self.out.events.clear();
        for entry in self.out.entries.drain(..) {
            if let Entry::Block(block) = entry {
                self.blocks += 1;
                self.shard.recycle(block);
            }
        }
    }

    /// How many blocks left for the spool.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// How many RTCP reports were sent.
    #[must_use]
    pub fn reports(&self) -> u64 {
        self.shard.counters().rtcp_sent
    }

    /// Checks that every packet went the whole way.
    ///
    /// # Panics
    /// When one was not relayed or not kept where it ought to be.
    pub fn assert_whole(&self, recorded: Recorded, bridged: Bridged) {
        let counters = self.shard.counters();
        let relayed = match bridged {
            Bridged::Yes => self.sent,
            Bridged::No => 0,
        };
        assert_eq!(counters.relayed, relayed, "relayed packets");
        let kept = match recorded {
            Recorded::No => 0,
            Recorded::Yes => self.sent,
            Recorded::Twice => 2 * self.sent,
        };
        assert_eq!(counters.tapped, kept, "kept packets");
    }
}

impl Party {
    fn new(number: u32, port: PortId, home: SocketAddr, offset: Duration) -> Party {
        let (ssrc, seq, timestamp) = (Ssrc(0xa000_0000 + number), number as u16, number);
        let mut payload = [0; PACKET_SAMPLES];
        for (at, code) in payload.iter_mut().enumerate() {
            *code = (at as u32 * 31 + number * 7) as u8;
        }
        let mut datagram = [0; packet::FIXED_HEADER_LEN + PACKET_SAMPLES];
        let first = Outgoing {
            ssrc,
            seq: SeqNo(seq),
            timestamp: RtpTimestamp(timestamp),
            payload_type: PayloadType(0),
            marker: false,
            payload: &payload,
        };
        first
            .write(&mut datagram)
            .expect("the buffer fits a packet");
        Party {
            port,
            home,
            ssrc,
            seq,
            timestamp,
            offset,
            datagram,
        }
    }

    fn step(&mut self) {
        self.seq = self.seq.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(PACKET_SAMPLES as u32);
        let (seq, timestamp) = (SeqNo(self.seq), RtpTimestamp(self.timestamp));
        packet::rewrite(
            &mut self.datagram,
            self.ssrc,
            seq,
            timestamp,
            None,
            Marker::Keep,
        );
    }
}
