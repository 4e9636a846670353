//! The invariants of a running node, checked on everything it does.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use duolog_audio::coded;
use duolog_media::{
    Block, Channel, Command, Direction, Entry, GapReason, LegKey, RecordingCommand, RecordingKey,
    SampleFormat,
};

/// Silence of A-law decodes to 8.
pub const QUIET: i16 = 8;

/// The start announcement is over by then.
const ANNOUNCED: Duration = Duration::from_secs(5);

/// Where a leg's packets come from and may go.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// RTP.
    pub rtp: SocketAddr,
    /// RTCP.
    pub rtcp: SocketAddr,
}

/// What is known of one recording.
#[derive(Debug, Clone)]
pub struct Life {
    /// The owner's leg; on both sides, where the recording has only that one.
    pub owner: LegKey,
    /// The legs of the other channel, each with the moment from which it was its; `None` for nobody.
    pub others: Vec<(Instant, Option<LegKey>)>,
    /// When it was opened.
    pub opened: Instant,
    /// When its position 0 was.
    pub started: Option<Instant>,
    /// Pauses, in samples; the last may have no end yet.
    pub pauses: Vec<(u64, Option<u64>)>,
    /// When it was told to close.
    pub closing: Option<Instant>,
    opens: u32,
    closes: u32,
    block_end: u64,
    fact_at: u64,
    gap_end: [u64; 2],
}

/// Watches commands, datagrams and entries.
#[derive(Debug, Default)]
pub struct Watch {
    lives: BTreeMap<RecordingKey, Life>,
    peers: HashMap<LegKey, Peer>,
    /// The last peer with an address: on hold it may have none.
    homes: HashMap<LegKey, Peer>,
    ports: HashMap<LegKey, u16>,
    /// Who hears whom, and since when.
    bridges: HashMap<LegKey, (LegKey, Instant)>,
    /// Who listens, and since when; the others are told nothing, and not recorded before they were.
    listening: HashMap<LegKey, Instant>,
    closed: HashMap<LegKey, Instant>,
    faults: Vec<String>,
    blocks: u64,
}

/// Samples at 8 kHz from `start` to `at`.
#[must_use]
pub fn samples_between(start: Instant, at: Instant) -> u64 {
    (at.saturating_duration_since(start).as_nanos() * 8_000 / 1_000_000_000) as u64
}

impl Watch {
    /// Every recording, by id.
    #[must_use]
    pub fn lives(&self) -> &BTreeMap<RecordingKey, Life> {
        &self.lives
    }

    /// The last known address of a leg's peer, also after it was closed.
    #[must_use]
    pub fn peer(&self, leg: LegKey) -> Option<Peer> {
        self.homes.get(&leg).copied()
    }

    /// A leg got its RTP port.
    pub fn opened(&mut self, leg: LegKey, port: u16) {
        self.ports.insert(leg, port);
    }

    /// The RTP port of a leg, also after it was closed.
    #[must_use]
    pub fn port(&self, leg: LegKey) -> Option<u16> {
        self.ports.get(&leg).copied()
    }

    /// When a leg was closed.
    #[must_use]
    pub fn closed(&self, leg: LegKey) -> Option<Instant> {
        self.closed.get(&leg).copied()
    }

    /// What was wrong so far.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Blocks of audio seen.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Something is wrong.
    pub fn fault(&mut self, what: String) {
        if self.faults.len() < 20 {
            self.faults.push(what);
        }
    }

    /// A command that takes effect at `at`.
    pub fn command(&mut self, at: Instant, command: &Command) {
        match command {
            Command::Connect { leg, peer } => {
                match peer.direction {
                    Direction::SendRecv | Direction::RecvOnly => {
                        self.listening.entry(*leg).or_insert(at);
                    }
                    Direction::SendOnly | Direction::Inactive => {
                        self.listening.remove(leg);
                    }
                }
                let peer = Peer {
                    rtp: peer.rtp,
                    rtcp: peer.rtcp,
                };
                self.peers.insert(*leg, peer);
                if !peer.rtp.ip().is_unspecified() {
                    self.homes.insert(*leg, peer);
                }
            }
            Command::Bridge { a, b } => {
                self.part(*a);
                self.part(*b);
                self.bridges.extend([(*a, (*b, at)), (*b, (*a, at))]);
            }
            Command::Close { leg } => {
                self.part(*leg);
                self.closed.insert(*leg, at);
            }
            Command::Record { recording, command } => self.record(at, *recording, command),
            _ => {}
        }
    }

    fn part(&mut self, leg: LegKey) {
        if let Some((other, _)) = self.bridges.remove(&leg) {
            self.bridges.remove(&other);
        }
    }

    /// Recordings that are made of others than those who hear each other. Who joins is told that there is
    /// a recording before he is in it. Commands of one moment come one by one: to be asked between
    /// moments.
    #[must_use]
    pub fn misrouted(&self, now: Instant) -> Vec<String> {
        let running = |life: &&Life| life.started.is_some() && life.closing.is_none();
        let wrong = |life: &&Life| {
            let (turned, other) = life.others.last().copied().expect("it began with one");
            let gone = other.and_then(|leg| self.closed.get(&leg)).copied();
            let (since, other) = gone.map_or((turned, other), |at| (at.max(turned), None));
            let Some(&(heard, from)) = self.bridges.get(&life.owner) else {
                return false;
            };
            let listening = self.listening.get(&heard);
            let waits = listening.is_none_or(|listening| {
                now.saturating_duration_since(since.max(from).max(*listening)) <= ANNOUNCED
            });
            Some(heard) != other && (other.is_some() || !waits)
        };
        let lives = self.lives.iter();
        let lives = lives.filter(|(_, life)| running(life) && wrong(life));
        lives
            .map(|(key, life)| {
                let heard = self.bridges.get(&life.owner);
                let (key, others) = (key.0, &life.others);
                format!("{key:x}: the owner hears {heard:?}, recorded are {others:?}")
            })
            .collect()
    }

    fn record(&mut self, at: Instant, key: RecordingKey, command: &RecordingCommand) {
        if let RecordingCommand::Open { owner, other, .. } = command {
            let life = Life {
                owner: *owner,
                others: vec![(at, Some(other.unwrap_or(*owner)))],
                opened: at,
                started: None,
                pauses: Vec::new(),
                closing: None,
                opens: 0,
                closes: 0,
                block_end: 0,
                fact_at: 0,
                gap_end: [0; 2],
            };
            if self.lives.insert(key, life).is_some() {
                self.fault(format!("recording {:x} was opened twice", key.0));
            }
            return;
        }
        let Some(life) = self.lives.get_mut(&key) else {
            self.fault(format!(
                "{command:?} for recording {:x} that was never opened",
                key.0
            ));
            return;
        };
        if life.closing.is_some() {
            let what = format!("{command:?} after the close of {:x}", key.0);
            return self.fault(what);
        }
        let position = life.started.map_or(0, |start| samples_between(start, at));
        match command {
            RecordingCommand::Start => life.started = Some(at),
            RecordingCommand::Turn { other } => life.others.push((at, *other)),
            RecordingCommand::Pause => life.pauses.push((position, None)),
            RecordingCommand::Resume => {
                if let Some((_, until)) = life.pauses.last_mut() {
                    *until = Some(position);
                }
            }
            RecordingCommand::Close { .. } => life.closing = Some(at),
            RecordingCommand::Open { .. }
            | RecordingCommand::Keep
            | RecordingCommand::Note { .. } => {}
        }
    }

    /// A datagram that leaves the node for media: to the peer, or reports to where the peer was before
    /// it held without an address.
    pub fn datagram(&mut self, leg: Option<LegKey>, to: SocketAddr) {
        let known = |of: &HashMap<LegKey, Peer>| leg.and_then(|leg| of.get(&leg)).copied();
        let (peer, home) = (known(&self.peers), known(&self.homes));
        let is_peer = |peer: Peer| to == peer.rtp || to == peer.rtcp;
        let is_held = |peer: Peer| peer.rtp.ip().is_unspecified();
        let reports = peer.is_some_and(is_held) && home.is_some_and(|home| to == home.rtcp);
        if !peer.is_some_and(is_peer) && !reports {
            self.fault(format!(
                "a datagram to {to}, which is not the peer of {leg:?}: {peer:?}"
            ));
        }
    }

    /// An entry that the spool's queue accepts.
    pub fn entry(&mut self, entry: &Entry) {
        if let Err(what) = self.judge(entry) {
            self.fault(format!("recording {:x}: {what}", entry.recording().0));
        }
    }

    fn judge(&mut self, entry: &Entry) -> Result<(), String> {
        let life = self.lives.get_mut(&entry.recording()).ok_or("unknown")?;
        if !matches!(entry, Entry::Open { .. }) && life.opens != 1 {
            return Err(format!("an entry before it is open: {entry:?}"));
        }
        if life.closes > 0 {
            return Err(format!("an entry after its close: {entry:?}"));
        }
        match entry {
            Entry::Open { .. } => {
                life.opens += 1;
                ensure(life.opens == 1, || "two openings".into())
            }
            Entry::Keep { .. } => Ok(()),
            Entry::Block(block) => {
                self.blocks += 1;
                ensure(block.position >= life.block_end, || {
                    format!("block at {} before {}", block.position, life.block_end)
                })?;
                life.block_end = block.position + u64::from(block.samples);
                paused_is_silent(life, block)
            }
            Entry::Coded {
                position, bytes, ..
            } => paused_is_left_out(life, *position, bytes),
            Entry::Gap {
                channel,
                position,
                samples,
                reason,
                ..
            } => {
                ensure(*samples > 0, || "an empty gap".into())?;
                // What was told as silence may later be told as loss, which then holds.
                if matches!(reason, GapReason::SpoolFull | GapReason::Loss) {
                    return Ok(());
                }
                let end = &mut life.gap_end[usize::from(*channel == Channel::Other)];
                let (before, from) = (*end, *position);
                *end = position + samples;
                ensure(from >= before, || {
                    format!("gap at {from} before {before}: {entry:?}")
                })
            }
            Entry::Fact { position, .. } => {
                let before = std::mem::replace(&mut life.fact_at, *position);
                ensure(*position >= before, || {
                    format!("fact at {position} before {before}")
                })
            }
            Entry::Close { position, .. } => {
                life.closes += 1;
                let end = life.block_end.max(life.gap_end[0]).max(life.gap_end[1]);
                ensure(*position >= end, || {
                    format!("closed at {position}, entries to {end}")
                })
            }
        }
    }

    /// When all calls are over: every recording was opened and closed exactly once.
    #[must_use]
    pub fn unfinished(&self) -> Vec<String> {
        let open = self
            .lives
            .iter()
            .filter(|(_, life)| (life.opens, life.closes) != (1, 1));
        open.map(|(key, life)| format!("{:x}: {} opens, {} closes", key.0, life.opens, life.closes))
            .collect()
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// What lies inside a pause holds nothing of a party.
fn paused_is_silent(life: &Life, block: &Block) -> Result<(), String> {
    let end = block.position + u64::from(block.samples);
    let width = 2 * block.format.sample_bytes();
    for &(from, until) in &life.pauses {
        let from = from.clamp(block.position, end) - block.position;
        let until = until.unwrap_or(u64::MAX).clamp(block.position, end) - block.position;
        let bytes = &block.bytes[from as usize * width..until as usize * width];
        let silent = match block.format {
            SampleFormat::Mulaw => bytes.iter().all(|b| *b == 0xff),
            SampleFormat::Alaw => bytes.iter().all(|b| *b == 0xd5),
            SampleFormat::Pcm16 => bytes
                .chunks_exact(2)
                .all(|two| i16::from_le_bytes([two[0], two[1]]).abs() <= QUIET),
            SampleFormat::Empty => bytes.is_empty(),
        };
        ensure(silent, || {
            format!("audio inside the pause at {}", block.position + from)
        })?;
    }
    Ok(())
}

/// No coded frame reaches into a pause: a payload cannot be cut.
fn paused_is_left_out(life: &Life, position: u64, list: &[u8]) -> Result<(), String> {
    for frame in coded::read(list) {
        let frame = frame.map_err(|error| format!("a list of coded frames: {error}"))?;
        let from = position + u64::from(frame.offset);
        let until = from + u64::from(frame.ticks);
        let paused = life
            .pauses
            .iter()
            .any(|&(begin, end)| begin < until && end.unwrap_or(u64::MAX) > from);
        ensure(!paused, || {
            format!("a coded frame inside the pause at {from}")
        })?;
    }
    Ok(())
}
