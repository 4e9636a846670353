//! Unguessable names from a seed: branches, tags, Call-IDs (RFC 3261 §8.1.1.7, §19.3).

use std::fmt::Write;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::via::MAGIC_COOKIE;

/// A source of names. The same seed gives the same names.
#[derive(Debug, Clone)]
pub struct Tokens(ChaCha12Rng);

impl Tokens {
    /// Starts from a seed, which must be secret and fresh outside tests.
    pub fn new(seed: [u8; 32]) -> Tokens {
        Tokens(ChaCha12Rng::from_seed(seed))
    }

    /// A branch with the magic cookie; 96 random bits.
    pub fn branch(&mut self) -> String {
        self.hex(MAGIC_COOKIE, 3)
    }

    /// A From or To tag; 64 random bits.
    pub fn tag(&mut self) -> String {
        self.hex("", 2)
    }

    /// A Call-ID without a host part; 128 random bits.
    pub fn call_id(&mut self) -> String {
        self.hex("", 4)
    }

    fn hex(&mut self, prefix: &str, words: usize) -> String {
        let mut text = String::with_capacity(prefix.len() + 8 * words);
        text.push_str(prefix);
        for _ in 0..words {
            write!(text, "{:08x}", self.0.next_u32()).expect("writing to a String cannot fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_repeat_and_names_differ() {
        let (mut a, mut b) = (Tokens::new([7; 32]), Tokens::new([7; 32]));
        let names = [a.branch(), a.tag(), a.call_id(), a.tag()];
        assert_eq!(names, [b.branch(), b.tag(), b.call_id(), b.tag()]);
        assert!(names[0].starts_with(MAGIC_COOKIE) && names[0].len() == 7 + 24);
        assert_eq!((names[1].len(), names[2].len()), (16, 32));
        assert_ne!(names[1], names[3]);
        assert_ne!(Tokens::new([8; 32]).branch(), names[0]);
    }
}
