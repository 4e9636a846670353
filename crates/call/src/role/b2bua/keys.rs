//! Keys for SRTP: each leg has its own, from one secret of its own.

use duolog_sip::sdp::{CryptoSuite, SdesKey};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Where the legs of a node get their secrets from.
pub(crate) struct KeySource(ChaCha20Rng);

impl KeySource {
    /// The seed must be secret and fresh outside tests.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// The keys of a new leg.
    pub(crate) fn leg(&mut self) -> LegKeys {
        let mut secret = [0; 32];
        self.0.fill_bytes(&mut secret);
        LegKeys { secret }
    }
}

/// What one leg is sent with: one key for each suite, the same for the life of the leg. No `Debug`.
pub(crate) struct LegKeys {
    secret: [u8; 32],
}

impl LegKeys {
    /// The keys, made anew each time: most legs never need them.
    pub(crate) fn all(&self) -> Vec<SdesKey> {
        let streams = (0..).zip(CryptoSuite::ALL);
        streams
            .filter_map(|(stream, suite)| {
                let mut random = ChaCha20Rng::from_seed(self.secret);
                random.set_stream(stream);
                let mut bytes = vec![0; suite.key_and_salt_bytes()];
                random.fill_bytes(&mut bytes);
                SdesKey::new(suite, &bytes)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leg_and_every_suite_has_a_key_of_its_own() {
        let mut source = KeySource::new([7; 32]);
        let legs = [source.leg(), source.leg()];
        let mut all: Vec<Vec<u8>> = Vec::new();
        for leg in &legs {
            let keys = leg.all();
            assert_eq!(keys, leg.all(), "a leg keeps its keys");
            assert_eq!(keys.len(), CryptoSuite::ALL.len());
            all.extend(keys.iter().map(|key| key.key_and_salt()[..28].to_vec()));
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
