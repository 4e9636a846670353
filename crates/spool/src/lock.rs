//! The lock of a recording that may not be kept: its audio goes to the disk encrypted, and the key
//! follows only when it is to be kept.
//!
//! 1. AES-256-GCM under a key of this recording alone. The nonce is the frame's number: a number is
//!    given once, a frame is encrypted once, and a part that takes over repeats its bytes as they are.
//! 2. What stands in clear beside it (recording, number, position, length, format) is authenticated.
//! 3. The key lives in memory that is overwritten when it is let go. Swap, core dumps and what the
//!    machine's memory holds while the call runs are not looked after here.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// The longest payload that is encrypted grows by this, in bytes.
pub(crate) const TAG_BYTES: usize = 16;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

/// Encrypts the audio of one recording. It is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct LockKey(Box<Zeroizing<[u8; KEY_BYTES]>>);

impl LockKey {
    /// A key of 32 bytes that `fill` writes in place: random, and never used for another recording.
    pub fn filled(fill: impl FnOnce(&mut [u8; KEY_BYTES])) -> LockKey {
        let mut key = Box::new(Zeroizing::new([0; KEY_BYTES]));
        fill(&mut key);
        LockKey(key)
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockKey(..)")
    }
}

/// A key made ready for use.
pub(crate) struct Lock(LessSafeKey);

impl Lock {
    pub fn new(key: &LockKey) -> Lock {
        let key = UnboundKey::new(&AES_256_GCM, key.bytes());
        Lock(LessSafeKey::new(
            key.expect("a key of 32 bytes fits AES-256"),
        ))
    }

    /// Encrypts a frame's payload where it lies; gives its tag.
    pub fn seal(&self, number: u64, beside: &[u8], payload: &mut [u8]) -> impl AsRef<[u8]> + use<> {
        let sealed = self
            .0
            .seal_in_place_separate_tag(nonce(number), Aad::from(beside), payload);
        sealed.expect("a payload is far shorter than AES-GCM allows")
    }

    /// What was encrypted; `None` when it is not what was written under this number.
    pub fn open(&self, number: u64, beside: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = sealed.to_vec();
        let payload = self
            .0
            .open_in_place(nonce(number), Aad::from(beside), &mut bytes);
        let length = payload.ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// The lock of a recording that is being written.
pub(crate) struct Locking {
    pub lock: Lock,
    /// Until it is written: it exists nowhere else.
    pub key: Option<LockKey>,
}

impl Locking {
    pub fn new(key: LockKey) -> Locking {
        Locking {
            lock: Lock::new(&key),
            key: Some(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_under_its_number_opens() {
        let lock = Lock::new(&LockKey::filled(|key| key.fill(7)));
        let mut sealed = b"two people talk".to_vec();
        let tag = lock.seal(5, b"beside", &mut sealed);
        sealed.extend_from_slice(tag.as_ref());
        assert_eq!(sealed.len(), 15 + TAG_BYTES);
        let opened = lock.open(5, b"beside", &sealed);
        assert_eq!(opened.as_deref(), Some(&b"two people talk"[..]));
        assert_eq!(lock.open(6, b"beside", &sealed), None);
        assert_eq!(lock.open(5, b"besides", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(lock.open(5, b"beside", &changed), None, "byte {at}");
            assert_eq!(lock.open(5, b"beside", &sealed[..at]), None, "cut at {at}");
        }
        let other = Lock::new(&LockKey::filled(|key| key.fill(8)));
        assert_eq!(other.open(5, b"beside", &sealed), None);
    }

    #[test]
    fn a_key_is_not_printed() {
        let key = LockKey::filled(|key| key.fill(0xAB));
        assert_eq!(format!("{key:?} {key:#?}"), "LockKey(..) LockKey(..)");
    }
}
