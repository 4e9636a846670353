//! Spoils bytes, from a seed.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Pieces that parsers stumble over.
const PIECES: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"<",
    b">",
    b"\"",
    b"\\",
    b"[",
    b"]",
    b"@",
    b"=",
    b"\0",
    b"\xff\xfe",
    b"Content-Length: 99999\r\n",
    b"l: 0\r\n",
    b"Via: SIP/2.0/UDP [::1]:99999;rport\r\n",
    b"%",
    b"\xe2\x82",
];

pub struct Mutator(ChaCha12Rng);

impl Mutator {
    pub fn new(seed: u8) -> Mutator {
        Mutator(ChaCha12Rng::from_seed([seed; 32]))
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0.next_u64() as usize % limit.max(1)
    }

    pub fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..1 + self.below(4) {
            let at = self.below(out.len() + 1);
            let end = (at + self.below(40)).min(out.len());
            match self.below(6) {
                0 if at < out.len() => out[at] = self.0.next_u32() as u8,
                1 => drop(out.drain(at..end)),
                2 => {
                    let piece = PIECES[self.below(PIECES.len())];
                    out.splice(at..at, piece.iter().copied());
                }
                3 => {
                    let copy = out[at..end].to_vec();
                    let to = self.below(out.len() + 1);
                    out.splice(to..to, copy);
                }
                4 => out.truncate(at),
                _ if at < out.len() => out[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        out
    }
}
