//! Random numbers that can be had again.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A generator from `DUOLOG_SEED`, or from `default`; the seed is printed.
///
/// # Panics
/// When the variable holds no number.
pub fn seeded(default: u64) -> ChaCha12Rng {
    let given = std::env::var("DUOLOG_SEED").ok();
    let seed = given.map_or(default, |text| {
        text.parse().expect("DUOLOG_SEED is a number")
    });
    println!("seed: DUOLOG_SEED={seed}");
    ChaCha12Rng::seed_from_u64(seed)
}

/// A number below `limit`, which is at least 1.
pub fn below(random: &mut ChaCha12Rng, limit: usize) -> usize {
    (random.next_u64() % limit as u64) as usize
}

/// That many random bytes.
pub fn bytes(random: &mut ChaCha12Rng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill_bytes(&mut bytes);
    bytes
}
