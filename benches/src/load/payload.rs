//! What a party of the load bench says: every packet names its party and its number, so that what was
//! relayed and what was recorded can be told from anything else.
//!
//! ```text
//!  0      4        8       12        20                  160
//!  | DUOL | party  | index | sent ns | fill by the above ... |
//!  |      | u32    | u32   | u64     |                        |
//! ```

/// Octets, and samples, of a payload: 20 ms of G.711.
pub const BYTES: usize = 160;

const MARK: [u8; 4] = *b"DUOL";
const FILL: usize = 20;

/// What a payload says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Who sent it.
    pub party: u32,
    /// How many the party sent before.
    pub index: u32,
    /// When, in ns since 1970.
    pub sent_ns: u64,
}

impl Payload {
    /// Writes it.
    pub fn write(self, bytes: &mut [u8; BYTES]) {
        bytes[..4].copy_from_slice(&MARK);
        bytes[4..8].copy_from_slice(&self.party.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.index.to_be_bytes());
        bytes[12..FILL].copy_from_slice(&self.sent_ns.to_be_bytes());
        bytes[FILL..].fill(self.fill());
    }

    /// Reads it; `None` where one octet is another.
    #[must_use]
    pub fn read(bytes: &[u8; BYTES]) -> Option<Payload> {
        let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|n| bytes[at + n]));
        let payload = Payload {
            party: word(4),
            index: word(8),
            sent_ns: u64::from(word(12)) << 32 | u64::from(word(16)),
        };
        let whole = bytes[..4] == MARK && bytes[FILL..].iter().all(|b| *b == payload.fill());
        whole.then_some(payload)
    }

    fn fill(self) -> u8 {
        (self.party.wrapping_mul(31) ^ self.index.wrapping_mul(7)) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let payload = Payload {
            party: 999,
            index: 70_000,
            sent_ns: 1_700_000_000_123_456_789,
        };
        let mut bytes = [0; BYTES];
        payload.write(&mut bytes);
        assert_eq!(Payload::read(&bytes), Some(payload));
        for at in (0..4).chain(FILL..BYTES) {
            let mut wrong = bytes;
            wrong[at] ^= 1;
            assert_eq!(Payload::read(&wrong), None, "octet {at}");
        }
    }
}
