//! Nonces that need no memory until they are used well (RFC 7616 §3.3, §5.4; RFC 3261 §22.4).
//!
//! ```text
//! nonce = hex( milliseconds: 6 bytes | serial: 4 bytes | HMAC-SHA-256 of both, realm and source: 16 bytes )
//! ```
//!
//! 1. Nothing is kept of a nonce that is given out, whoever asks for one.
//! 2. A use is written down only after the answer was right: who has no password fills no table.
//! 3. A count is taken once. Counts may overtake each other by 64, as datagrams do.
//! 4. The table is bounded: what leaves it makes everything as old or older stale.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::guard::network;
use crate::digest::{hmac_sha256, same};

/// Most nonces in use that are remembered.
const MAX_USED: usize = 65_536;
const STAMP: usize = 10;
const TAG: usize = 16;

/// A nonce of ours, by when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NonceId {
    ms: u64,
    serial: u32,
}

/// Whether a count of a nonce was free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    First,
    Again,
}

/// The counts of one nonce that were used: bit `n` stands for `highest - n`.
#[derive(Debug, Clone, Copy)]
struct Window {
    highest: u32,
    seen: u64,
}

#[derive(Debug)]
pub(super) struct Nonces {
    key: [u8; 32],
    life: Duration,
    origin: Option<Instant>,
    serial: u32,
    used: BTreeMap<NonceId, Window>,
    /// What is not younger and not in the table is stale.
    floor: Option<NonceId>,
}

impl Nonces {
    pub(super) fn new(seed: &[u8; 32], life: Duration) -> Nonces {
        Nonces {
            key: hmac_sha256(seed, &[b"nonce"]),
            life,
            origin: None,
            serial: 0,
            used: BTreeMap::new(),
            floor: None,
        }
    }

    /// A nonce for this realm and whoever asks from this network.
    pub(super) fn issue(&mut self, now: Instant, realm: &str, source: IpAddr) -> String {
        self.serial = self.serial.wrapping_add(1);
        let ms = self.ms(now);
        let mut stamp = [0; STAMP];
        stamp[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
        stamp[6..].copy_from_slice(&self.serial.to_be_bytes());
        let tag = self.tag(&stamp, realm, source);
        let whole = stamp.iter().chain(&tag);
        whole.map(|byte| format!("{byte:02x}")).collect()
    }

    /// The nonce, where it is ours, for this realm and network, and not too old.
    pub(super) fn read(
        &mut self,
        now: Instant,
        realm: &str,
        source: IpAddr,
        text: &str,
    ) -> Option<NonceId> {
        let bytes = unhex(text)?;
        let (stamp, tag) = bytes.split_first_chunk::<STAMP>()?;
        if !same(tag, &self.tag(stamp, realm, source)) {
            return None;
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, b| sum << 8 | u64::from(*b));
        let id = NonceId {
            ms: number(&stamp[..6]),
            serial: u32::from_be_bytes(*stamp.last_chunk()?),
        };
        let too_old = self.age(now, id) > self.life;
        let forgotten = self.floor.is_some_and(|floor| id <= floor) && !self.used.contains_key(&id);
        (!too_old && !forgotten).then_some(id)
    }

    /// Writes a use down. Without a count (RFC 2069) a nonce serves once.
    pub(super) fn spend(&mut self, now: Instant, id: NonceId, count: Option<u32>) -> Use {
        self.trim(now);
        let fresh = Window {
            highest: 0,
            seen: 1,
        };
        let window = self.used.entry(id).or_insert(fresh);
        match count {
            Some(count) => window.take(count),
            None if window.highest == 0 => {
                window.highest = u32::MAX;
                window.seen = u64::MAX;
                Use::First
            }
            None => Use::Again,
        }
    }

    /// Whether it is time to give out the next one.
    pub(super) fn is_ageing(&mut self, now: Instant, id: NonceId) -> bool {
        self.age(now, id) > self.life / 2
    }

    fn trim(&mut self, now: Instant) {
        while let Some((&first, _)) = self.used.first_key_value() {
            if self.used.len() >= MAX_USED {
                self.floor = Some(first);
            } else if self.age(now, first) <= self.life {
                return;
            }
            self.used.pop_first();
        }
    }

    fn age(&mut self, now: Instant, id: NonceId) -> Duration {
        Duration::from_millis(self.ms(now).saturating_sub(id.ms))
    }

    fn ms(&mut self, now: Instant) -> u64 {
        let origin = *self.origin.get_or_insert(now);
        let passed = now.saturating_duration_since(origin).as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }

    fn tag(&self, stamp: &[u8], realm: &str, source: IpAddr) -> [u8; TAG] {
        let source = network(source).to_string();
        let parts = [stamp, realm.as_bytes(), b"\0", source.as_bytes()];
        let whole = hmac_sha256(&self.key, &parts);
        std::array::from_fn(|at| whole[at])
    }
}

impl Window {
    fn take(&mut self, count: u32) -> Use {
        if count > self.highest {
            let by = count - self.highest;
            self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
            self.highest = count;
            return Use::First;
        }
        let bit = 1_u64.checked_shl(self.highest - count).unwrap_or(0);
        if bit == 0 || self.seen & bit != 0 {
            return Use::Again;
        }
        self.seen |= bit;
        Use::First
    }
}

fn unhex(text: &str) -> Option<[u8; STAMP + TAG]> {
    if text.len() != 2 * (STAMP + TAG) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; STAMP + TAG];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::testing::base;
    use super::*;

    const LIFE: Duration = Duration::from_secs(300);

    fn source(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_ours_only_there_only_then() {
        let (t0, s) = (base(), Duration::from_secs(1));
        let mut nonces = Nonces::new(&[1; 32], LIFE);
        let v4 = source("192.0.2.1");
        let nonce = nonces.issue(t0, "realm", v4);
        assert_eq!(nonce.len(), 52);
        assert_ne!(nonces.issue(t0, "realm", v4), nonce);
        let mut read = |at, realm, from: &str, text: &str| {
            nonces.read(at, realm, source(from), text).is_some()
        };
        assert!(read(t0, "realm", "192.0.2.1", &nonce));
        assert!(read(t0, "realm", "::ffff:192.0.2.1", &nonce));
        assert!(read(t0 + LIFE, "realm", "192.0.2.1", &nonce));
        assert!(!read(t0 + LIFE + s, "realm", "192.0.2.1", &nonce));
        assert!(!read(t0, "other", "192.0.2.1", &nonce));
        assert!(!read(t0, "realm", "192.0.2.2", &nonce));
        for at in [0, 11, 13, 51] {
            let mut bad = nonce.clone().into_bytes();
            bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
            let bad = String::from_utf8(bad).unwrap();
            assert!(!read(t0, "realm", "192.0.2.1", &bad), "{at}");
        }
        for bad in ["", "00", "\u{e9}", &nonce[2..], &format!("{nonce}00")] {
            assert!(!read(t0, "realm", "192.0.2.1", bad), "{bad}");
        }
        let mut others = Nonces::new(&[2; 32], LIFE);
        assert_eq!(others.read(t0, "realm", v4, &nonce), None);
    }

    #[test]
    fn each_count_once() {
        let mut window = Window {
            highest: 0,
            seen: 1,
        };
        for (count, want) in [
            (1, Use::First),
            (1, Use::Again),
            (3, Use::First),
            (2, Use::First),
            (2, Use::Again),
            (3, Use::Again),
            (66, Use::First),
            (2, Use::Again),
            (4, Use::First),
            (4, Use::Again),
            (1000, Use::First),
            (66, Use::Again),
            (937, Use::First),
            (936, Use::Again),
            (u32::MAX, Use::First),
            (u32::MAX, Use::Again),
        ] {
            assert_eq!(window.take(count), want, "{count}");
        }
    }

    #[test]
    fn without_a_count_once() {
        let t0 = base();
        let mut nonces = Nonces::new(&[1; 32], LIFE);
        let v4 = source("192.0.2.1");
        for (first, then) in [(None, Some(1)), (None, None), (Some(1), None)] {
            let text = nonces.issue(t0, "r", v4);
            let id = nonces.read(t0, "r", v4, &text).unwrap();
            assert_eq!(nonces.spend(t0, id, first), Use::First);
            assert_eq!(nonces.spend(t0, id, then), Use::Again, "{first:?} {then:?}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_forgets_to_the_safe_side() {
        let t0 = base();
        let mut nonces = Nonces::new(&[1; 32], LIFE);
        let v4 = source("192.0.2.1");
        let mut texts = Vec::new();
        for _ in 0..=MAX_USED {
            let text = nonces.issue(t0, "r", v4);
            let id = nonces.read(t0, "r", v4, &text).unwrap();
            assert_eq!(nonces.spend(t0, id, Some(1)), Use::First);
            texts.push(text);
        }
        assert_eq!(nonces.used.len(), MAX_USED);
        assert_eq!(nonces.read(t0, "r", v4, &texts[0]), None);
        assert!(nonces.read(t0, "r", v4, &texts[1]).is_some());
        let later = t0 + LIFE + LIFE;
        let text = nonces.issue(later, "r", v4);
        let id = nonces.read(later, "r", v4, &text).unwrap();
        nonces.spend(later, id, Some(1));
        assert_eq!(nonces.used.len(), 1);
    }
}
