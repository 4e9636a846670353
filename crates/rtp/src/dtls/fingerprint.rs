//! The value of `a=fingerprint` (RFC 8122 §5).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{
    Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA224, SHA256, SHA384, SHA512, digest,
};

/// What a peer's SDP says about its certificate, such as `sha-256 4A:AD:B9:...`: `sha-1` (still
/// sent by old devices), `sha-224`, `sha-256`, `sha-384` or `sha-512`.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    hash: Hash,
    octets: Vec<u8>,
}

/// Why a value of `a=fingerprint` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// A hash function that is not one of the five.
    #[error("hash function {0:?} is not supported")]
    Hash(String),
    /// Not as many octets as the hash function has, in hex with colons between.
    #[error("not a fingerprint of that hash function")]
    Octets,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    const ALL: [Hash; 5] = [
        Hash::Sha1,
        Hash::Sha224,
        Hash::Sha256,
        Hash::Sha384,
        Hash::Sha512,
    ];

    const fn name(self) -> &'static str {
        match self {
            Hash::Sha1 => "sha-1",
            Hash::Sha224 => "sha-224",
            Hash::Sha256 => "sha-256",
            Hash::Sha384 => "sha-384",
            Hash::Sha512 => "sha-512",
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Hash::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha224 => &SHA224,
            Hash::Sha256 => &SHA256,
            Hash::Sha384 => &SHA384,
            Hash::Sha512 => &SHA512,
        }
    }
}

impl Fingerprint {
    /// The SHA-256 fingerprint of a certificate in DER.
    pub(super) fn sha256(certificate: &[u8]) -> Fingerprint {
        Fingerprint {
            hash: Hash::Sha256,
            octets: digest(&SHA256, certificate).as_ref().to_vec(),
        }
    }

    /// Whether it is the fingerprint of this certificate in DER.
    pub(super) fn is_of(&self, certificate: &[u8]) -> bool {
        digest(self.hash.algorithm(), certificate).as_ref() == self.octets
    }

    /// The octets in upper-case hex with colons between.
    pub(super) fn hex(&self) -> String {
        let octets: Vec<String> = self.octets.iter().map(|o| format!("{o:02X}")).collect();
        octets.join(":")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads the value of `a=fingerprint`: hash function, space, hex of either case with colons.
    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let mut words = value.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let hash = Hash::ALL
            .into_iter()
            .find(|hash| hash.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| FingerprintError::Hash(name.chars().take(16).collect()))?;
        let octets: Option<Vec<u8>> = words
            .next()
            .unwrap_or_default()
            .split(':')
            .map(octet)
            .collect();
        match octets {
            Some(octets)
                if octets.len() == hash.algorithm().output_len && words.next().is_none() =>
            {
                Ok(Fingerprint { hash, octets })
            }
            _ => Err(FingerprintError::Octets),
        }
    }
}

fn octet(hex: &str) -> Option<u8> {
    // The standard reader alone would take "+A".
    let two = hex.len() == 2 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    two.then(|| u8::from_str_radix(hex, 16).ok()).flatten()
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.hash.name(), self.hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: Result<&str, FingerprintError>) {
        let found = value.parse::<Fingerprint>().map(|f| f.to_string());
        assert_eq!(found, expected.map(str::to_owned), "{value}");
    }

    /// SHA-1 and SHA-256 of "abc" (FIPS 180-4 examples).
    const SHA1_ABC: &str = "sha-1 A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";
    const SHA256_ABC: &str = "sha-256 BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:\
        96:17:7A:9C:B4:10:FF:61:F2:00:15:AD";

    #[test]
    fn values() {
        check(SHA1_ABC, Ok(SHA1_ABC));
        check(SHA256_ABC, Ok(SHA256_ABC));
        check(&SHA256_ABC.to_lowercase(), Ok(SHA256_ABC));
        check(&SHA256_ABC.to_uppercase(), Ok(SHA256_ABC));
        check(&format!(" {SHA1_ABC} "), Ok(SHA1_ABC));
        check("md5 00:11", Err(FingerprintError::Hash("md5".into())));
        check("", Err(FingerprintError::Hash(String::new())));
        check("sha-256", Err(FingerprintError::Octets));
        check("sha-256 BA:78", Err(FingerprintError::Octets));
        check(&SHA256_ABC.replace(':', ""), Err(FingerprintError::Octets));
        check(
            &SHA256_ABC.replace("BA", "+A"),
            Err(FingerprintError::Octets),
        );
        check(
            &SHA256_ABC.replace("BA", "é"),
            Err(FingerprintError::Octets),
        );
        check(&format!("{SHA256_ABC}:00"), Err(FingerprintError::Octets));
        check(&format!("{SHA1_ABC} more"), Err(FingerprintError::Octets));
    }

    #[test]
    fn compares_certificates() {
        for value in [SHA1_ABC, SHA256_ABC] {
            let fingerprint: Fingerprint = value.parse().expect("a fingerprint");
            assert!(fingerprint.is_of(b"abc"));
            assert!(!fingerprint.is_of(b"abd"));
        }
        assert_eq!(Fingerprint::sha256(b"abc").to_string(), SHA256_ABC);
    }
}
