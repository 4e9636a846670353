//! Moves one packet: receive, relay, tap, place, mix, encode.
//!
//! A [`Shard`] is everything one media thread owns: ports, legs, recordings. Datagrams and commands
//! go in with the time, what is to be done comes out in an [`Outbox`]. Relay and track run in one
//! shard value; whoever calls it cannot tell.
//!
//! # What it does not know
//!
//! SIP, policy, users, threads, sockets, files, the clock, and what an announcement means.
//!
//! # Invariants
//!
//! 1. Nothing that is injected reaches a recording: the tap reads the datagram as it was received.
//! 2. [`Shard::receive`] allocates nothing for RTP once buffers have their size: blocks come from a
//!    free list, datagrams go into an arena, ports and legs are found by index. This holds for G.711
//!    and for whatever passes as it is; codecs may allocate where speech is transcoded.
//! 3. A sample's position is decided by its source's time stamps alone: two packets lie exactly as
//!    far apart as their time stamps, whatever their arrival was.
//! 4. What is paused is in no [`Entry`], to the sample.
//! 5. Every sample of a recording is either its party's or inside a told gap of its channel, whoever the
//!    party is at that moment.
//! 6. A blocked spool never delays a datagram: audio it refuses becomes a told gap.
//! 7. Only the negotiated peer's address can latch a port, and only before anyone else did.
//! 8. No datagram and no command panics or goes uncounted.
//! 9. Speech passes untouched between legs that both speak its codec; else it is transcoded.
//! 10. A leg that is to be protected sends nothing in the clear and believes nothing that is.
//! 11. Of a key that is taken, less than a receiver takes for one reaches the other party, whether it came
//!     as a telephone-event or as sound; what is recorded is what came.

mod command;
mod counters;
mod digits;
mod feeding;
mod formats;
mod ids;
mod in_band;
mod incoming;
mod latch;
mod leg;
mod outbox;
mod pass;
mod playing;
mod prompt;
mod receive;
mod record;
mod relay;
mod rtcp;
mod sealed;
mod security;
mod send;
mod settings;
mod shard;
mod slab;
mod tap;
mod timers;
mod track;
mod transcode;

pub use command::{
    Command, Direction, Encoding, How, Keeping, LegIdentity, PayloadFormat, PeerMedia,
    RecordingCommand, RtcpMux, Security,
};
pub use counters::{Counters, DropReason};
pub use ids::{LegKey, PlayKey, PortId, RecordingKey};
pub use outbox::{Channel, Completion, Connect, Datagram, Entry, Event, Outbox};
pub use settings::{Sabotage, ShardSettings};
pub use shard::{LegFigures, Shard};
pub use track::{
    Block, CodecsSeen, GapReason, GapTicks, Layout, SampleFormat, SideTotals, Skew, StreamQuality,
    Totals,
};
