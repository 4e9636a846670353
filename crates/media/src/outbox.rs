//! What a shard wants done: datagrams sent, sockets connected, events told, entries written.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use duolog_rtp::event::Digit;

use crate::command::Keeping;
use crate::track::{Block, GapReason, Totals};
use crate::{LegKey, PlayKey, PortId, RecordingKey};

/// One of the two channels of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// The user on whose behalf the recording is made: left.
    Owner,
    /// Everybody else: right.
    Other,
}

impl Channel {
    /// Both, the owner first.
    pub const BOTH: [Channel; 2] = [Channel::Owner, Channel::Other];

    pub(crate) fn index(self) -> usize {
        match self {
            Channel::Owner => 0,
            Channel::Other => 1,
        }
    }
}

/// Something for the spool. The entries of one recording are in the order they are to be kept in; a
/// gap is told when it ends and once a second while it goes on, so its position may lie before blocks
/// that came earlier. Positions and lengths are ticks of 1/8000 s since the recording's start.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A recording begins to exist.
    Open {
        /// Which.
        recording: RecordingKey,
        /// When.
        at: Instant,
        /// Whether its audio may be readable before [`Entry::Keep`].
        keeping: Keeping,
        /// As given with the command.
        payload: Bytes,
    },
    /// All audio of a recording is kept, what came before and what follows. More than one may come.
    Keep {
        /// Which.
        recording: RecordingKey,
        /// When.
        at: Instant,
    },
    /// Audio. Give it back with [`crate::Shard::recycle`] when it has been written.
    Block(Box<Block>),
    /// What a party said in other codecs than G.711, as it was received; right before the block of the
    /// same stretch. Give the bytes back with [`crate::Shard::recycle_coded`] when they were written.
    ///
    /// Every frame begins in the stretch; the last one may end behind it. Offsets and lengths are those
    /// of the whole payload: where two frames overlap, or a frame and G.711 of an earlier packet, the
    /// earlier one's sound is to be kept and the overlap of the later one dropped.
    Coded {
        /// Of which recording.
        recording: RecordingKey,
        /// Of which channel.
        channel: Channel,
        /// Where the stretch begins.
        position: u64,
        /// How long it is: as long as its block.
        ticks: u32,
        /// A list of [`duolog_audio::coded`], offsets counted from `position`.
        bytes: Vec<u8>,
    },
    /// A stretch of one channel without audio of its party, and why. Stretches of one reason may touch.
    /// A stretch told as [`GapReason::Silence`] while nobody knew more may later be told again, in
    /// whole or in part, as [`GapReason::Loss`], which then holds.
    Gap {
        /// Of which recording.
        recording: RecordingKey,
        /// Of which channel.
        channel: Channel,
        /// First missing sample.
        position: u64,
        /// Samples missing, at least 1.
        samples: u64,
        /// Why.
        reason: GapReason,
    },
    /// A fact of the call.
    Fact {
        /// Of which recording.
        recording: RecordingKey,
        /// Where on the recording's time line; 0 before its start.
        position: u64,
        /// When.
        at: Instant,
        /// As given with the command.
        payload: Bytes,
    },
    /// The last entry of a recording.
    Close {
        /// Which.
        recording: RecordingKey,
        /// Samples per channel in all.
        position: u64,
        /// When.
        at: Instant,
        /// As given with the command.
        payload: Bytes,
        /// What was received.
        totals: Box<Totals>,
    },
}

impl Entry {
    /// Whose entry this is.
    #[must_use]
    pub fn recording(&self) -> RecordingKey {
        match self {
            Entry::Block(block) => block.recording,
            Entry::Open { recording, .. }
            | Entry::Keep { recording, .. }
            | Entry::Coded { recording, .. }
            | Entry::Gap { recording, .. }
            | Entry::Fact { recording, .. }
            | Entry::Close { recording, .. } => *recording,
        }
    }
}

/// How playing a sound ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Completion {
    /// To its end.
    Whole,
    /// Stopped, replaced, or the leg was closed.
    Cut,
}

/// Something the call's policy wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The first valid RTP packet of a leg's peer, and the first one after each time-out.
    FirstPacket {
        /// Which leg.
        leg: LegKey,
    },
    /// A sound that is played instead of speech had to wait for its party to hear it, and begins now; or
    /// begins anew.
    Begun {
        /// To which leg it is played.
        leg: LegKey,
        /// Which sound.
        play: PlayKey,
    },
    /// A sound is over. What is played instead of speech is over when it was sent whole.
    Played {
        /// To which leg it was played.
        leg: LegKey,
        /// Which sound.
        play: PlayKey,
        /// How it ended.
        completion: Completion,
    },
    /// A key was pressed on a leg whose digits are taken.
    Digit {
        /// Which leg.
        leg: LegKey,
        /// Which key, and how long.
        digit: Digit,
    },
    /// A connected leg got no RTP for the configured time; told once until RTP comes again.
    MediaTimeout {
        /// Which leg.
        leg: LegKey,
    },
    /// The spool had no room for a recording's audio; told once per gap.
    RecordingTrouble {
        /// Which recording.
        recording: RecordingKey,
    },
}

/// A socket that is to talk to one address only, or again to any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect {
    /// Which socket.
    pub port: PortId,
    /// The only peer; `None`: listen to anyone again.
    pub peer: Option<SocketAddr>,
}

/// A datagram to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// From which socket.
    pub port: PortId,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub bytes: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
struct Send {
    port: PortId,
    to: SocketAddr,
    start: usize,
    len: usize,
}

/// What came out of a shard since the last `clear`. Reused: its buffers keep their size.
#[derive(Debug)]
pub struct Outbox {
    arena: Vec<u8>,
    sends: Vec<Send>,
    /// Sockets to connect, in order.
    pub connects: Vec<Connect>,
    /// Events, in order.
    pub events: Vec<Event>,
    /// Entries for the spool, in order. Drain them; what the spool refuses goes back in the same order
    /// through [`crate::Shard::entry_refused`], with everything of that recording behind it.
    pub entries: Vec<Entry>,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox::new()
    }
}

impl Outbox {
    /// An outbox with room for a batch of 1,024 packets of 20 ms; it grows when more is put in.
    #[must_use]
    pub fn new() -> Outbox {
        Outbox {
            arena: Vec::with_capacity(1_024 * 192),
            sends: Vec::with_capacity(1_024),
            connects: Vec::with_capacity(64),
            events: Vec::with_capacity(64),
            entries: Vec::with_capacity(256),
        }
    }

    /// The datagrams to be sent, in order.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        self.sends.iter().map(|send| Datagram {
            port: send.port,
            to: send.to,
            bytes: &self.arena[send.start..send.start + send.len],
        })
    }

    /// Forgets the datagrams, when they have been sent.
    pub fn clear_datagrams(&mut self) {
        self.arena.clear();
        self.sends.clear();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.clear_datagrams();
        self.connects.clear();
        self.events.clear();
        self.entries.clear();
    }

    /// Puts a copy of `bytes` in and gives it back to be rewritten.
    pub(crate) fn send(&mut self, port: PortId, to: SocketAddr, bytes: &[u8]) -> &mut [u8] {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.sends.push(Send {
            port,
            to,
            start,
            len: bytes.len(),
        });
        &mut self.arena[start..]
    }
}
