//! RTP and RTCP as values: datagrams become packets placed on a media time line, and back.
//!
//! The `rtp` package models and writes packets. What it reads has passed the bounds checks of this
//! crate first, because anybody who can reach the port decides what is read.
//!
//! # What it does not know
//!
//! Sockets, the clock (every `Instant` is an argument), codecs, SIP, calls, recordings and files.
//!
//! # Invariants
//!
//! 1. No datagram panics: [`packet::View::parse`] and [`rtcp::parse`] answer a closed list of reasons.
//! 2. Reading, rewriting, sequence validation and time line placement allocate nothing.
//! 3. Positions are whole ticks of 1/8000 s: the distance of two packets on the time line is exactly
//!    the distance of their time stamps, whatever their arrival was, but for a tick a packet while a
//!    drift beyond the dead band is corrected.
//! 4. An [`ExtSeq`] of a source never repeats, not even over a restart of the source.
//! 5. One press of a key is one [`event::Digit`], however often its packets were repeated or lost.

pub mod dtls;
pub mod event;
pub mod packet;
pub mod quality;
pub mod rtcp;
pub mod source;
pub mod srtp;
pub mod timeline;

#[cfg(test)]
mod testing;
mod unit;

pub use unit::{ClockRate, ExtSeq, MediaTime, PayloadType, RtpTimestamp, SeqNo, Ssrc, WallTime};
