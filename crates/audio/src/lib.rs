//! Sample arithmetic on slices: codecs, resampling, mixing, tones, prompts, recording containers,
//! measuring.
//!
//! Telephone sound is 8,000 samples per second; what has another rate says so. Stereo is
//! interleaved with the owner first (left) and everybody else second (right).
//!
//! # What it does not know
//!
//! Packets, sockets, files, the time of day, and what a call is. Containers write to any
//! [`std::io::Write`] and read from any [`std::io::Read`]; who owns the bytes is the caller's matter.
//!
//! # Invariants
//!
//! 1. [`g711`] and [`mix`] work on the slices they are given and never allocate; decoders, encoders,
//!    resamplers and transcoders do not either once their buffers have grown to a packet's size.
//! 2. G.711 codes that are copied are never decoded on the way: what a party sent is what is kept.
//! 3. A container that was finished without an error decodes to exactly as many samples per
//!    channel as were pushed, and sample 0 is the first sample pushed.
//! 4. The two channels of a container never touch each other: Ogg Opus holds two uncoupled streams.
//! 5. A container that cannot hold what is pushed refuses it before writing; no size field wraps.
//! 6. Levels in dBFS take 32,768 as full scale. A tone's level is that of its peak; see [`measure`].
//! 7. Payloads of any octets are decoded or refused, never a panic; what decodes is as long as
//!    [`codec::Codec::ticks`] said before.
//! 8. Unsafe code stands in one file, the calls of the G.729 library, which is loaded at run time
//!    where it is installed and never linked.

pub mod codec;
pub mod coded;
pub mod container;
pub mod dtmf;
pub mod g711;
pub mod measure;
pub mod mix;
pub mod noise;
pub mod prompt;
pub mod resample;
pub mod tone;
pub mod transcode;

/// Samples per second of telephone sound, in Hz.
pub const SAMPLE_RATE_HZ: u32 = 8_000;
