//! The bytes before the samples.

use super::{Coding, Layout};
use crate::g711::Law;

/// RIFF format tags.
pub(super) const TAG_PCM: u16 = 1;
pub(super) const TAG_ALAW: u16 = 6;
pub(super) const TAG_MULAW: u16 = 7;

/// Bytes of a `ds64` chunk without a table, and of the `JUNK` that keeps its place.
pub(super) const DS64_BYTES: u32 = 28;

/// What a 32-bit field says when its number is in `ds64` (EBU Tech 3306).
pub(super) const SEE_DS64: u32 = u32::MAX;

/// What does not change while a file grows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) coding: Coding,
    pub(super) layout: Layout,
    pub(super) rate_hz: u32,
}

impl Form {
    /// Bytes of one sample of every channel.
    pub(super) const fn frame_bytes(self) -> u64 {
        (self.coding.bytes_per_sample() * self.layout.channels()) as u64
    }

    /// The header of a file with so many frames; RF64 when its RIFF size is at least `rf64_from`.
    ///
    /// Numbers are little-endian; `n` is bytes of samples, `p` is `n mod 2`, `h` the header's
    /// bytes: 80 for PCM, 94 for G.711 (both parts in brackets are G.711's alone).
    ///
    /// ```text
    ///  0 "RIFF" | u32 h-8+n+p | "WAVE"
    /// 12 "JUNK" | u32 28 | 28 zeros
    /// 48 "fmt " | u32 16 (18) | u16 tag (1 PCM, 6 A-law, 7 mu-law) | u16 channels | u32 rate
    ///    u32 bytes a second | u16 bytes a frame | u16 bits a sample (| u16 0, no extension)
    ///    ("fact" | u32 4 | u32 frames)
    ///    "data" | u32 n | n bytes of samples, interleaved | p pad bytes
    /// ```
    ///
    /// As RF64 it has the same length:
    ///
    /// ```text
    ///  0 "RF64" | u32 0xFFFFFFFF | "WAVE"
    /// 12 "ds64" | u32 28 | u64 h-8+n+p | u64 n | u64 frames | u32 0 (no table)
    ///    ... "fact" and "data" say 0xFFFFFFFF
    /// ```
    pub(super) fn header(self, frames: u64, rf64_from: u64) -> Vec<u8> {
        let (tag, format_bytes, fact_bytes): (u16, u32, u32) = match self.coding {
            Coding::Pcm16 => (TAG_PCM, 16, 0),
            Coding::G711(Law::Alaw) => (TAG_ALAW, 18, 12),
            Coding::G711(Law::Mulaw) => (TAG_MULAW, 18, 12),
        };
        let header_bytes = 12 + 8 + DS64_BYTES + 8 + format_bytes + fact_bytes + 8;
        let data = frames * self.frame_bytes();
        let riff = u64::from(header_bytes) - 8 + data + data % 2;
        let long = riff >= rf64_from;
        let short = |number: u64| match long {
            true => SEE_DS64,
            false => number as u32,
        };
        let mut header = Vec::with_capacity(header_bytes as usize);
        let mut put = |bytes: &[u8]| header.extend_from_slice(bytes);
        put(if long { b"RF64" } else { b"RIFF" });
        put(&short(riff).to_le_bytes());
        put(b"WAVE");
        put(if long { b"ds64" } else { b"JUNK" });
        put(&DS64_BYTES.to_le_bytes());
        for number in [riff, data, frames] {
            put(&if long { number } else { 0 }.to_le_bytes());
        }
        put(&0_u32.to_le_bytes());
        put(b"fmt ");
        put(&format_bytes.to_le_bytes());
        put(&tag.to_le_bytes());
        put(&(self.layout.channels() as u16).to_le_bytes());
        put(&self.rate_hz.to_le_bytes());
        let bytes_per_second = self.rate_hz.saturating_mul(self.frame_bytes() as u32);
        put(&bytes_per_second.to_le_bytes());
        put(&(self.frame_bytes() as u16).to_le_bytes());
        put(&(8 * self.coding.bytes_per_sample() as u16).to_le_bytes());
        if fact_bytes > 0 {
            put(&0_u16.to_le_bytes());
            put(b"fact");
            put(&4_u32.to_le_bytes());
            put(&short(frames).to_le_bytes());
        }
        put(b"data");
        put(&short(data).to_le_bytes());
        header
    }
}
