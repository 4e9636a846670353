//! Suites and the master keys that signalling hands over (RFC 4568 §6, RFC 5764 §4.2).

use std::fmt;

use zeroize::Zeroizing;

/// Octets of the longest master key and salt: AES-256 in counter mode.
const LONGEST_MASTER: usize = 32 + 14;

/// How packets are encrypted and authenticated: a crypto-suite of RFC 4568, RFC 6188 and RFC 7714.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80` (RFC 4568 §6.2.1), the one everybody has.
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32` (RFC 4568 §6.2.2): 32 bit tag on RTP, 80 bit on RTCP.
    AesCm128HmacSha1_32,
    /// `AES_256_CM_HMAC_SHA1_80` (RFC 6188 §3).
    AesCm256HmacSha1_80,
    /// `AES_256_CM_HMAC_SHA1_32` (RFC 6188 §3): 32 bit tag on RTP, 80 bit on RTCP.
    AesCm256HmacSha1_32,
    /// `AEAD_AES_128_GCM` (RFC 7714 §14.1).
    AeadAes128Gcm,
    /// `AEAD_AES_256_GCM` (RFC 7714 §14.1).
    AeadAes256Gcm,
}

impl Suite {
    /// Every suite, the order of the declaration.
    pub const ALL: [Suite; 6] = [
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32,
        Suite::AesCm256HmacSha1_80,
        Suite::AesCm256HmacSha1_32,
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
    ];

    /// The name in `a=crypto` (IANA registry "SRTP Crypto Suite Registrations").
    pub const fn name(self) -> &'static str {
        match self {
            Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::AesCm256HmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of an `a=crypto` name, letters of any case; `None` when it is not one of the six.
    pub fn from_name(name: &str) -> Option<Suite> {
        Suite::ALL
            .into_iter()
            .find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Octets of the master key: 16 or 32.
    pub const fn key_bytes(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 | Suite::AeadAes128Gcm => 16,
            Suite::AesCm256HmacSha1_80 | Suite::AesCm256HmacSha1_32 | Suite::AeadAes256Gcm => 32,
        }
    }

    /// Octets of the master salt: 14, with AEAD 12.
    pub const fn salt_bytes(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12,
            _ => 14,
        }
    }

    /// The most octets that protection adds to a packet of any suite: an AEAD tag and the SRTCP index.
    pub const fn longest_overhead() -> usize {
        16 + 4
    }

    /// Octets of the tag of an RTP packet.
    pub(super) const fn rtp_tag_bytes(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm256HmacSha1_80 => 10,
            Suite::AesCm128HmacSha1_32 | Suite::AesCm256HmacSha1_32 => 4,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
        }
    }

    /// Octets of the tag of an RTCP packet; never the short one (RFC 4568 §6.2.2).
    pub(super) const fn rtcp_tag_bytes(self) -> usize {
        match self {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
            _ => 10,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a master key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Key and salt together are not as long as the suite wants.
    #[error("{suite} wants {wanted} octets of key and salt, there are {found}")]
    Length {
        /// The suite.
        suite: Suite,
        /// Octets that the suite wants.
        wanted: usize,
        /// Octets that were given.
        found: usize,
    },
    /// The MKI is longer than the 128 octets of RFC 4568 §6.1.
    #[error("an MKI of {0} octets is longer than 128")]
    Mki(usize),
    /// The cryptographic library refused the key.
    #[error("the key was refused")]
    Refused,
}

/// A master key and its salt. Zeroized when dropped; prints only its suite.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: Suite,
    octets: Zeroizing<[u8; LONGEST_MASTER]>,
}

impl MasterKey {
    /// A key from `key || salt`, the octets that `inline:` of `a=crypto` carries in base64.
    ///
    /// # Errors
    /// [`KeyError::Length`] unless there are exactly `key_bytes + salt_bytes` of the suite.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Result<MasterKey, KeyError> {
        let wanted = suite.key_bytes() + suite.salt_bytes();
        if key_and_salt.len() != wanted {
            return Err(KeyError::Length {
                suite,
                wanted,
                found: key_and_salt.len(),
            });
        }
        let mut octets = Zeroizing::new([0; LONGEST_MASTER]);
        octets[..wanted].copy_from_slice(key_and_salt);
        Ok(MasterKey { suite, octets })
    }

    /// The suite the key is for.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Key and salt, as given to [`MasterKey::new`]. Secret: for `a=crypto` of our own SDP only.
    pub fn key_and_salt(&self) -> &[u8] {
        &self.octets[..self.suite.key_bytes() + self.suite.salt_bytes()]
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.octets[..self.suite.key_bytes()]
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.key_and_salt()[self.suite.key_bytes()..]
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}
