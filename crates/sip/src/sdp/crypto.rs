//! `a=crypto`: keys for SRTP in the description itself (RFC 4568).

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Padding is written, and may be missing in what others write.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A crypto suite for SRTP (RFC 4568 §6.2, RFC 6188, RFC 7714).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CryptoSuite {
    /// `AES_CM_128_HMAC_SHA1_80`.
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32`.
    AesCm128HmacSha1_32,
    /// `AES_256_CM_HMAC_SHA1_80`.
    AesCm256HmacSha1_80,
    /// `AES_256_CM_HMAC_SHA1_32`.
    AesCm256HmacSha1_32,
    /// `AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `AEAD_AES_256_GCM`.
    AeadAes256Gcm,
}

impl CryptoSuite {
    /// Every suite, in the order in which this node offers them: first the one that everybody has,
    /// since some peers look at the first line only; then the strongest.
    pub const ALL: [CryptoSuite; 6] = [
        CryptoSuite::AesCm128HmacSha1_80,
        CryptoSuite::AeadAes256Gcm,
        CryptoSuite::AeadAes128Gcm,
        CryptoSuite::AesCm256HmacSha1_80,
        CryptoSuite::AesCm256HmacSha1_32,
        CryptoSuite::AesCm128HmacSha1_32,
    ];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            CryptoSuite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            CryptoSuite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            CryptoSuite::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            CryptoSuite::AesCm256HmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            CryptoSuite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            CryptoSuite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Bytes of master key and master salt together: 28, 30, 44 or 46.
    pub const fn key_and_salt_bytes(self) -> usize {
        match self {
            CryptoSuite::AesCm128HmacSha1_80 | CryptoSuite::AesCm128HmacSha1_32 => 16 + 14,
            CryptoSuite::AesCm256HmacSha1_80 | CryptoSuite::AesCm256HmacSha1_32 => 32 + 14,
            CryptoSuite::AeadAes128Gcm => 16 + 12,
            CryptoSuite::AeadAes256Gcm => 32 + 12,
        }
    }

    fn parse(name: &str) -> Option<CryptoSuite> {
        let mut all = CryptoSuite::ALL.into_iter();
        all.find(|suite| suite.name().eq_ignore_ascii_case(name))
    }
}

/// A master key and salt with the suite they are for. Prints the suite, never the key.
#[derive(Clone, PartialEq, Eq)]
pub struct SdesKey {
    suite: CryptoSuite,
    key_and_salt: Vec<u8>,
}

impl SdesKey {
    /// A key; `None` unless it has [`CryptoSuite::key_and_salt_bytes`] bytes.
    pub fn new(suite: CryptoSuite, key_and_salt: &[u8]) -> Option<SdesKey> {
        (key_and_salt.len() == suite.key_and_salt_bytes()).then(|| SdesKey {
            suite,
            key_and_salt: key_and_salt.to_vec(),
        })
    }

    /// The suite.
    pub fn suite(&self) -> CryptoSuite {
        self.suite
    }

    /// Master key, then master salt. Secret.
    pub fn key_and_salt(&self) -> &[u8] {
        &self.key_and_salt
    }
}

impl fmt::Debug for SdesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SdesKey({})", self.suite.name())
    }
}

/// One `a=crypto` line that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// Names the line within its description: an answer repeats the tag of the line it takes.
    pub tag: u32,
    /// What the author of the description sends with.
    pub key: SdesKey,
}

impl Crypto {
    /// Reads the value of `a=crypto`:
    ///
    /// ```text
    /// 1 AES_CM_128_HMAC_SHA1_80 inline:<base64 of key and salt>[|2^31][|1:4] [WSH=64 ...]
    /// ```
    ///
    /// `None` for what is malformed and for what this node cannot do: other suites and key methods,
    /// several keys or an MKI (§6.1), and session parameters that change the packets (§6.3).
    pub(super) fn parse(value: &str) -> Option<Crypto> {
        let mut words = value.split_ascii_whitespace();
        let tag = tag(words.next()?)?;
        let suite = CryptoSuite::parse(words.next()?)?;
        let key = key(suite, words.next()?)?;
        words.all(may_be_ignored).then_some(Crypto { tag, key })
    }

    /// The value of `a=crypto`. Secret.
    pub(super) fn write(&self) -> String {
        let text = BASE64.encode(&self.key.key_and_salt);
        format!("{} {} inline:{text}", self.tag, self.key.suite.name())
    }
}

/// One to nine digits, the first of them not 0 (§9.1).
fn tag(word: &str) -> Option<u32> {
    let digits = word.bytes().all(|b| b.is_ascii_digit());
    let begins = word.len() == 1 || !word.starts_with('0');
    (digits && begins && word.len() <= 9)
        .then(|| word.parse().ok())
        .flatten()
}

/// `inline:` with one key; a second one, or an MKI, would put an MKI into every packet.
fn key(suite: CryptoSuite, word: &str) -> Option<SdesKey> {
    let (method, rest) = word.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") || rest.contains(';') {
        return None;
    }
    let mut parts = rest.split('|');
    let bytes = BASE64.decode(parts.next()?).ok()?;
    parts
        .all(is_lifetime)
        .then(|| SdesKey::new(suite, &bytes))
        .flatten()
}

/// `2^n` or a number of packets. No call lives long enough for it to matter.
fn is_lifetime(part: &str) -> bool {
    let digits = part.strip_prefix("2^").unwrap_or(part);
    !digits.is_empty() && digits.len() <= 20 && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a session parameter leaves the packets as they are (§6.3): a window size hint, an order of
/// FEC that is not used here, or one marked as optional with `-`.
fn may_be_ignored(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    let name = name.to_ascii_uppercase();
    match name.as_str() {
        "WSH" | "FEC_ORDER" | "FEC_KEY" => true,
        "KDR" => parameter
            .split_once('=')
            .is_some_and(|(_, rate)| rate == "0"),
        "UNENCRYPTED_SRTP" | "UNENCRYPTED_SRTCP" | "UNAUTHENTICATED_SRTP" => false,
        name => name.starts_with('-'),
    }
}
