//! Session keys (RFC 3711 §4.3) and the two kinds of transform, each for one of SRTP and SRTCP.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use super::{KeyError, MasterKey, SrtpError, Suite};

const AUTH_KEY: usize = 20;
const COUNTER_SALT: usize = 14;
const GCM_SALT: usize = 12;
/// Octets of an AES-GCM tag; the suites of RFC 7714 never shorten it.
pub(super) const GCM_TAG: usize = 16;

/// The labels of RFC 3711 §4.3.1 and §4.3.2: encryption, authentication, salt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    Rtp,
    Rtcp,
}

impl Direction {
    const fn labels(self) -> [u8; 3] {
        match self {
            Direction::Rtp => [0, 1, 2],
            Direction::Rtcp => [3, 4, 5],
        }
    }

    const fn tag_bytes(self, suite: Suite) -> usize {
        match self {
            Direction::Rtp => suite.rtp_tag_bytes(),
            Direction::Rtcp => suite.rtcp_tag_bytes(),
        }
    }
}

/// A keyed transform.
pub(super) enum Cipher {
    Counter(Box<Counter>),
    Gcm(Gcm),
}

impl Cipher {
    /// Derives the session keys of one direction; the key derivation rate is 0 (derived once).
    pub(super) fn derive(master: &MasterKey, direction: Direction) -> Result<Cipher, KeyError> {
        let suite = master.suite();
        let [encryption, authentication, salting] = direction.labels();
        let mut key = Zeroizing::new([0; 32]);
        let key = &mut key[..suite.key_bytes()];
        derive(master, encryption, key)?;
        match suite {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => {
                let mut salt = Zeroizing::new([0; GCM_SALT]);
                derive(master, salting, &mut salt[..])?;
                Gcm::new(key, salt).map(Cipher::Gcm)
            }
            _ => {
                let mut auth = Zeroizing::new([0; AUTH_KEY]);
                derive(master, authentication, &mut auth[..])?;
                let mut salt = Zeroizing::new([0; COUNTER_SALT]);
                derive(master, salting, &mut salt[..])?;
                let tag_bytes = direction.tag_bytes(suite);
                let counter = Counter::new(key, &auth[..], salt, tag_bytes)?;
                Ok(Cipher::Counter(Box::new(counter)))
            }
        }
    }

    pub(super) const fn tag_bytes(&self) -> usize {
        match self {
            Cipher::Counter(counter) => counter.tag_bytes,
            Cipher::Gcm(_) => GCM_TAG,
        }
    }
}

/// The pseudo-random function of RFC 3711 §4.3.3 (RFC 6188 §3.1 with a 256 bit key): the key stream
/// under the master key that starts at `(label || 0) XOR salt`. A salt of 96 bit is filled up with
/// zeros on the right (RFC 7714 §11).
fn derive(master: &MasterKey, label: u8, out: &mut [u8]) -> Result<(), KeyError> {
    let mut block = [0; 16];
    block[..master.salt().len()].copy_from_slice(master.salt());
    block[7] ^= label;
    out.fill(0);
    counter_key(master.key())
        .and_then(|key| key_stream(&key, block, out))
        .ok_or(KeyError::Refused)
}

fn counter_key(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    let key = UnboundCipherKey::new(algorithm, key).ok()?;
    EncryptingKey::ctr(key).ok()
}

fn key_stream(key: &EncryptingKey, block: [u8; 16], octets: &mut [u8]) -> Option<()> {
    let context = EncryptionContext::Iv128(FixedLength::from(block));
    key.less_safe_encrypt(octets, context).ok().map(drop)
}

/// AES in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1).
pub(super) struct Counter {
    key: EncryptingKey,
    auth: hmac::Key,
    salt: Zeroizing<[u8; COUNTER_SALT]>,
    tag_bytes: usize,
}

impl Counter {
    fn new(
        key: &[u8],
        auth: &[u8],
        salt: Zeroizing<[u8; COUNTER_SALT]>,
        tag_bytes: usize,
    ) -> Result<Counter, KeyError> {
        Ok(Counter {
            key: counter_key(key).ok_or(KeyError::Refused)?,
            auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth),
            salt,
            tag_bytes,
        })
    }

    /// Encrypts or decrypts, which is the same (RFC 3711 §4.1.1).
    pub(super) fn crypt(&self, ssrc: u32, index: u64, octets: &mut [u8]) {
        let mut block = [0; 16];
        block[..COUNTER_SALT].copy_from_slice(&self.salt[..]);
        xor(&mut block[4..8], &ssrc.to_be_bytes());
        xor(&mut block[8..14], &index.to_be_bytes()[2..]);
        key_stream(&self.key, block, octets).expect("counter mode takes every length");
    }

    /// The full HMAC over both parts; the packet carries the first octets of it.
    pub(super) fn tag(&self, packet: &[u8], after: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.auth);
        context.update(packet);
        context.update(after);
        context.sign()
    }

    /// # Errors
    /// [`SrtpError::Tag`].
    pub(super) fn verify(&self, packet: &[u8], after: &[u8], tag: &[u8]) -> Result<(), SrtpError> {
        let expected = self.tag(packet, after);
        verify_slices_are_equal(&expected.as_ref()[..self.tag_bytes], tag)
            .map_err(|_| SrtpError::Tag)
    }
}

/// AES in Galois/counter mode (RFC 7714).
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: Zeroizing<[u8; GCM_SALT]>,
}

impl Gcm {
    fn new(key: &[u8], salt: Zeroizing<[u8; GCM_SALT]>) -> Result<Gcm, KeyError> {
        let algorithm = if key.len() == 16 {
            &AES_128_GCM
        } else {
            &AES_256_GCM
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| KeyError::Refused)?;
        Ok(Gcm {
            key: LessSafeKey::new(key),
            salt,
        })
    }

    /// RFC 7714 §8.1 and, with an index of 31 bit, §9.1.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = *self.salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..], &index.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts in place and answers the tag.
    pub(super) fn seal(
        &self,
        ssrc: u32,
        index: u64,
        aad: &[u8],
        octets: &mut [u8],
    ) -> [u8; GCM_TAG] {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(ssrc, index), Aad::from(aad), octets)
            .expect("a packet is far shorter than what AES-GCM takes");
        let mut out = [0; GCM_TAG];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Decrypts in place what is `ciphertext || tag`.
    ///
    /// # Errors
    /// [`SrtpError::Tag`]; what the octets then are is not specified.
    pub(super) fn open(
        &self,
        ssrc: u32,
        index: u64,
        aad: &[u8],
        octets: &mut [u8],
    ) -> Result<(), SrtpError> {
        self.key
            .open_in_place(self.nonce(ssrc, index), Aad::from(aad), octets)
            .map(drop)
            .map_err(|_| SrtpError::Tag)
    }
}

fn xor(into: &mut [u8], from: &[u8]) {
    for (octet, other) in into.iter_mut().zip(from) {
        *octet ^= other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(hex: &str) -> Vec<u8> {
        let hex: String = hex.split_whitespace().collect();
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
            .collect()
    }

    fn check_derivation(suite: Suite, master: &str, label: u8, expected: &str) {
        let master = MasterKey::new(suite, &octets(master)).expect("a master key");
        let expected = octets(expected);
        let mut found = vec![0xff; expected.len()];
        derive(&master, label, &mut found).expect("derived");
        assert_eq!(found, expected, "{suite} label {label}");
    }

    /// RFC 3711 Appendix B.3.
    #[test]
    fn key_derivation_128() {
        const MASTER: &str = "E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6";
        let check = |label, expected| {
            check_derivation(Suite::AesCm128HmacSha1_80, MASTER, label, expected);
        };
        check(0, "C61E7A93744F39EE10734AFE3FF7A087");
        check(2, "30CBBC08863D8C85D49DB34A9AE1");
        check(
            1,
            "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE
             E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25
             6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2",
        );
    }

    /// RFC 6188 §7.4.
    #[test]
    fn key_derivation_256() {
        const MASTER: &str = "f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6
                              3b04803de51ee7c96423ab5b78d2";
        let check = |label, expected| {
            check_derivation(Suite::AesCm256HmacSha1_80, MASTER, label, expected);
        };
        check(
            0,
            "5ba1064e30ec51613cad926c5a28ef73 1ec7fb397f70a960653caf06554cd8c4",
        );
        check(2, "fa31791685ca444a9e07c6c64e93");
        check(1, "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05");
    }

    /// The key stream that starts at the block counter `first`: octet 0 of a packet is block 0, so a
    /// long run of zeros is encrypted and its end looked at.
    fn check_key_stream(key: &str, first: usize, expected: &str) {
        let salt = Zeroizing::new(
            octets("f0f1f2f3f4f5f6f7f8f9fafbfcfd")
                .try_into()
                .expect("14 octets"),
        );
        let counter = Counter::new(&octets(key), &[0; 20], salt, 10).expect("a cipher");
        let expected = octets(expected);
        let mut stream = vec![0; first * 16 + expected.len()];
        counter.crypt(0, 0, &mut stream);
        assert_eq!(stream[first * 16..], expected, "block {first:#x}");
    }

    /// RFC 3711 Appendix B.2.
    #[test]
    fn key_stream_128() {
        const KEY: &str = "2B7E151628AED2A6ABF7158809CF4F3C";
        check_key_stream(
            KEY,
            0,
            "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
             41E95B3BB0A2E8DD477901E4FCA894C0",
        );
        check_key_stream(
            KEY,
            0xfeff,
            "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE
             6A2CC3787889374FBEB4C81B17BA6C44",
        );
    }

    /// RFC 6188 §7.1.
    #[test]
    fn key_stream_256() {
        const KEY: &str = "57f82fe3613fd170a85ec93c40b1f092 2ec4cb0dc025b58272147cc438944a98";
        check_key_stream(
            KEY,
            0,
            "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac
             63c4868b7096d88421b563b8c94c9a31",
        );
        check_key_stream(
            KEY,
            0xfeff,
            "cea518c90fd91ced9cbb18c078a54711 3dbc4814f4da5f00a08772b63c6a046d
             6eb246913062a16891433e97dd01a57f",
        );
    }

    fn gcm(key: &str) -> Gcm {
        let salt = Zeroizing::new(*b"Quid pro quo");
        Gcm::new(&octets(key), salt).expect("a cipher")
    }

    const KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
    const KEY_256: &str = "000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f";

    fn check_gcm(key: &str, index: u64, aad: &str, plain: &str, sealed: &str) {
        let (aad, plain, sealed) = (octets(aad), octets(plain), octets(sealed));
        let ssrc = u32::from_be_bytes(match index {
            0xf17b => [0x55, 0x01, 0xa0, 0xb2],
            _ => *b"Mars",
        });
        let gcm = gcm(key);
        let mut found = plain.clone();
        let tag = gcm.seal(ssrc, index, &aad, &mut found);
        found.extend_from_slice(&tag);
        assert_eq!(found, sealed);
        gcm.open(ssrc, index, &aad, &mut found).expect("authentic");
        assert_eq!(found[..plain.len()], plain);
    }

    /// RFC 7714 §16.1.1, §16.1.3, §16.2.1: "Gallia est omnis divisa in partes tres".
    #[test]
    fn gcm_rtp() {
        const HEADER: &str = "8040f17b8041f8d35501a0b2";
        const PLAIN: &str = "47616c6c696120657374206f6d6e69732064697669736120696e20706172746573
                             2074726573";
        check_gcm(
            KEY_128,
            0xf17b,
            HEADER,
            PLAIN,
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833
             899d7f27beb16a9152cf765ee4390cce",
        );
        check_gcm(
            KEY_256,
            0xf17b,
            HEADER,
            PLAIN,
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        );
        check_gcm(
            KEY_128,
            0xf17b,
            &format!("{HEADER}{PLAIN}"),
            "",
            "22493f82d2bce397e9d79e3b19aa4216",
        );
    }

    /// RFC 7714 §17.1 to §17.4, without the trailer that follows the tag.
    #[test]
    fn gcm_rtcp() {
        const HEADER: &str = "81c8000d4d617273";
        const PLAIN: &str =
            "4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeef
                             deadbeefdeadbeef";
        check_gcm(
            KEY_128,
            0x5d4,
            &format!("{HEADER}800005d4"),
            PLAIN,
            "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded
             0bb9275bc84aa45896cf4d2fc5abf87245d9eade",
        );
        check_gcm(
            KEY_256,
            0x5d4,
            &format!("{HEADER}800005d4"),
            PLAIN,
            "d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de047
             6f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be",
        );
        check_gcm(
            KEY_128,
            0x5d4,
            &format!("{HEADER}{PLAIN}000005d4"),
            "",
            "841dd9683dd78ec92ae58790125f62b3",
        );
    }
}
