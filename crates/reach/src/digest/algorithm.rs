//! The hash algorithms of RFC 8760 §2.1, and comparing what they give.

use std::fmt::Write;

use sha2::{Digest as _, Sha256, Sha512_256};

/// A hash algorithm for digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// MD5: broken as a hash, spoken by every phone; what a challenge means that names none.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512_256,
}

/// Whether the first hash is mixed with nonce and cnonce (`-sess`, RFC 7616 §3.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Plain,
    Sess,
}

impl Algorithm {
    /// The name in an `algorithm` parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }

    /// Reads a name without the `-sess` ending, in any case.
    pub fn parse(text: &str) -> Option<Algorithm> {
        [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256]
            .into_iter()
            .find(|one| one.as_str().eq_ignore_ascii_case(text))
    }

    /// Reads an `algorithm` parameter.
    pub(crate) fn read(text: &str) -> Option<(Algorithm, Session)> {
        let cut = text.len().saturating_sub("-sess".len());
        match text.split_at_checked(cut) {
            Some((name, end)) if end.eq_ignore_ascii_case("-sess") => {
                Some((Algorithm::parse(name)?, Session::Sess))
            }
            _ => Some((Algorithm::parse(text)?, Session::Plain)),
        }
    }

    /// The hash of these bytes, in lower-case hexadecimal digits (RFC 8760 §2.2).
    pub(crate) fn hash(self, bytes: &[u8]) -> String {
        match self {
            Algorithm::Md5 => hex(&md5::compute(bytes).0),
            Algorithm::Sha256 => hex(&Sha256::digest(bytes)),
            Algorithm::Sha512_256 => hex(&Sha512_256::digest(bytes)),
        }
    }
}

impl Session {
    /// What is added to the algorithm's name.
    pub(crate) const fn ending(self) -> &'static str {
        match self {
            Session::Plain => "",
            Session::Sess => "-sess",
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text
}

/// HMAC-SHA-256 (RFC 2104) with a key of 32 bytes.
pub(crate) fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        Sha256::new_with_prefix(block)
    };
    let mut inner = pad(0x36);
    for part in parts {
        inner.update(part);
    }
    let mut outer = pad(0x5c);
    outer.update(inner.finalize());
    outer.finalize().into()
}

/// Whether two texts are the same, in time that depends on their lengths only.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    let differences = one
        .iter()
        .zip(other)
        .fold(0, |sum: u8, (a, b)| std::hint::black_box(sum | (a ^ b)));
    one.len() == other.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        use Algorithm::{Md5, Sha256, Sha512_256};
        for (text, want) in [
            ("MD5", Some((Md5, Session::Plain))),
            ("md5-sess", Some((Md5, Session::Sess))),
            ("SHA-256", Some((Sha256, Session::Plain))),
            ("sha-256-SESS", Some((Sha256, Session::Sess))),
            ("SHA-512-256-sess", Some((Sha512_256, Session::Sess))),
            ("SHA-1", None),
            ("-sess", None),
            ("", None),
            ("MD5-séss", None),
            ("é", None),
        ] {
            assert_eq!(Algorithm::read(text), want, "{text}");
        }
    }

    #[test]
    fn hmac_of_rfc_4231() {
        // §4.2 (key padded with zeros to 32 bytes, which HMAC does itself) and §4.3.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        assert_eq!(
            hex(&hmac_sha256(&key, &[b"Hi ", b"There"])),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            hex(&hmac_sha256(&key, &[b"what do ya want for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn comparing() {
        for (one, other, want) in [
            ("", "", true),
            ("abc", "abc", true),
            ("abc", "abd", false),
            ("abc", "ab", false),
            ("", "a", false),
        ] {
            assert_eq!(same(one.as_bytes(), other.as_bytes()), want);
        }
    }
}
