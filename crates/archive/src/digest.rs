//! Digests of an object: whole, and chunk by chunk so that a change can be named by its place.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// Bytes that one chunk digest covers; the last chunk is shorter.
pub const CHUNK_BYTES: u64 = 64 * 1024;

/// Size and SHA-256 of an object, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// Length in bytes.
    pub bytes: u64,
    /// Of the whole object.
    pub sha256: String,
    /// Bytes per chunk, see [`CHUNK_BYTES`].
    pub chunk_bytes: u64,
    /// Of each chunk, in order.
    pub chunks_sha256: Vec<String>,
}

impl Digests {
    /// Of bytes in memory.
    pub(crate) fn of(bytes: &[u8]) -> Digests {
        let mut digester = Digester::new(CHUNK_BYTES);
        digester.push(bytes);
        digester.finish()
    }

    /// The byte ranges in which `found` differs from this, neighbours joined; empty when nothing does.
    /// Bytes that are missing or too many count as changed.
    pub(crate) fn changed(&self, found: &Digests) -> Vec<Range<u64>> {
        let chunks = self.chunks_sha256.len().max(found.chunks_sha256.len());
        let end = self.bytes.max(found.bytes);
        let mut changed: Vec<Range<u64>> = Vec::new();
        for chunk in 0..chunks {
            if self.chunks_sha256.get(chunk) == found.chunks_sha256.get(chunk) {
                continue;
            }
            let from = chunk as u64 * self.chunk_bytes;
            let until = end.min(from.saturating_add(self.chunk_bytes));
            match changed.last_mut() {
                Some(last) if last.end == from => last.end = until,
                _ => changed.push(from..until),
            }
        }
        changed
    }
}

/// Takes an object's bytes in pieces of any size.
pub(crate) struct Digester {
    chunk_bytes: u64,
    bytes: u64,
    whole: Sha256,
    chunk: Sha256,
    in_chunk: u64,
    chunks_sha256: Vec<String>,
}

impl Digester {
    /// `chunk_bytes` of 0 counts as 1.
    pub(crate) fn new(chunk_bytes: u64) -> Digester {
        Digester {
            chunk_bytes: chunk_bytes.max(1),
            bytes: 0,
            whole: Sha256::new(),
            chunk: Sha256::new(),
            in_chunk: 0,
            chunks_sha256: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        self.whole.update(bytes);
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = usize::try_from(self.chunk_bytes - self.in_chunk).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.update(now);
            self.in_chunk += now.len() as u64;
            if self.in_chunk == self.chunk_bytes {
                self.end_chunk();
            }
            bytes = later;
        }
    }

    pub(crate) fn finish(mut self) -> Digests {
        if self.in_chunk > 0 {
            self.end_chunk();
        }
        Digests {
            bytes: self.bytes,
            sha256: hex(&self.whole.finalize()),
            chunk_bytes: self.chunk_bytes,
            chunks_sha256: self.chunks_sha256,
        }
    }

    fn end_chunk(&mut self) {
        let chunk = std::mem::replace(&mut self.chunk, Sha256::new());
        self.chunks_sha256.push(hex(&chunk.finalize()));
        self.in_chunk = 0;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digests::of(b"").sha256, empty);
        assert!(Digests::of(b"").chunks_sha256.is_empty());
        assert_eq!(Digests::of(b"abc").sha256, abc);
        assert_eq!(Digests::of(b"abc").chunks_sha256, [abc]);
    }

    #[test]
    fn pieces_do_not_matter() {
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n * 7 + n / 256) as u8).collect();
        let whole = Digests::of(&bytes);
        assert_eq!((whole.bytes, whole.chunks_sha256.len()), (200_000, 4));
        for size in [1, 13, 65_535, 65_536, 65_537] {
            let mut digester = Digester::new(CHUNK_BYTES);
            bytes.chunks(size).for_each(|piece| digester.push(piece));
            assert_eq!(digester.finish(), whole, "{size}");
        }
    }

    #[test]
    fn a_change_is_named_by_its_chunk() {
        let good: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        #[track_caller]
        fn check(good: &[u8], change: impl Fn(&mut Vec<u8>), expected: &[(u64, u64)]) {
            let mut bad = good.to_vec();
            change(&mut bad);
            let changed = Digests::of(good).changed(&Digests::of(&bad));
            let changed: Vec<_> = changed
                .iter()
                .map(|range| (range.start, range.end))
                .collect();
            assert_eq!(changed, expected);
        }
        check(&good, |_| (), &[]);
        check(&good, |bad| bad[0] ^= 1, &[(0, 65_536)]);
        check(&good, |bad| bad[199_999] ^= 0x80, &[(196_608, 200_000)]);
        check(
            &good,
            |bad| (bad[70_000], bad[140_000]) = (1, 1),
            &[(65_536, 196_608)],
        );
        check(&good, |bad| bad.truncate(196_608), &[(196_608, 200_000)]);
        check(&good, |bad| bad.push(0), &[(196_608, 200_001)]);
        check(&good, Vec::clear, &[(0, 200_000)]);
    }
}
