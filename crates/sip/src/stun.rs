//! STUN on the SIP port: a phone behind a NAT keeps its way open with Binding requests and learns
//! its outer address from the answers (RFC 5626 §4.4.2 and §8, RFC 5389). Nothing else of STUN is
//! here: no credentials, no requests of our own.
//!
//! ```text
//!  0                   1                   2                   3
//! |0 0|     STUN Message Type     |         Message Length        |
//! |                   Magic Cookie = 0x2112A442                   |
//! |                Transaction ID (96 bits)                       |
//! |  Attribute type               |  Length  | value, padded to 4 |
//! ```

use std::net::{IpAddr, SocketAddr};

const HEADER: usize = 20;
const COOKIE: u32 = 0x2112_A442;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
/// Attributes below must be understood (RFC 5389 §15); those of credentials are understood as saying
/// nothing, since none are asked for: USERNAME, MESSAGE-INTEGRITY, REALM and NONCE.
const OPTIONAL_FROM: u16 = 0x8000;
const WITHOUT_MEANING: [u16; 4] = [0x0006, 0x0008, 0x0014, 0x0015];
/// Most attributes that an error names.
const MOST_NAMED: usize = 8;

/// Whether a datagram is STUN: no SIP message begins with a byte below 4 (RFC 5626 §8).
pub fn is_stun(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER
        && bytes[0] < 4
        && word(bytes, 4) == COOKIE
        && usize::from(half(bytes, 2)) == bytes.len() - HEADER
        && bytes.len().is_multiple_of(4)
}

/// The answer to a Binding request from there; `None` for everything else, which is to be dropped.
pub fn answer(bytes: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    if !is_stun(bytes) || half(bytes, 0) != BINDING_REQUEST {
        return None;
    }
    let mut unknown = Vec::new();
    let mut has_fingerprint = false;
    let mut rest = HEADER;
    while rest < bytes.len() {
        let (kind, length) = (half(bytes, rest), usize::from(half(bytes, rest + 2)));
        let end = rest + 4 + length;
        if end > bytes.len() {
            return None;
        }
        if kind == FINGERPRINT {
            let sum = crc32(&bytes[..rest]) ^ 0x5354_554E;
            if length != 4 || word(bytes, rest + 4) != sum || end != bytes.len() {
                return None;
            }
            has_fingerprint = true;
        }
        if kind < OPTIONAL_FROM && !WITHOUT_MEANING.contains(&kind) && unknown.len() < MOST_NAMED {
            unknown.push(kind);
        }
        rest = end.next_multiple_of(4);
    }
    let mut out = match unknown.is_empty() {
        true => success(bytes, from),
        false => error(bytes, &unknown),
    };
    if has_fingerprint {
        out.fingerprint();
    }
    Some(out.0)
}

fn success(request: &[u8], from: SocketAddr) -> Answer {
    let mut out = Answer::new(BINDING_SUCCESS, request);
    out.attribute(XOR_MAPPED_ADDRESS, &mapped(request, from));
    out
}

/// 420, with the attributes that were not understood (RFC 5389 §7.3.1).
fn error(request: &[u8], unknown: &[u16]) -> Answer {
    let mut out = Answer::new(BINDING_ERROR, request);
    out.attribute(ERROR_CODE, b"\0\0\x04\x14Unknown Attribute");
    let names: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
    out.attribute(UNKNOWN_ATTRIBUTES, &names);
    out
}

struct Answer(Vec<u8>);

impl Answer {
    /// The header, with the request's cookie and transaction ID.
    fn new(kind: u16, request: &[u8]) -> Answer {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(&request[4..HEADER]);
        Answer(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.set_length(self.0.len());
    }

    /// The sum is over everything before it, with a length that counts it in (RFC 5389 §15.5).
    fn fingerprint(&mut self) {
        self.set_length(self.0.len() + 8);
        let sum = crc32(&self.0) ^ 0x5354_554E;
        self.attribute(FINGERPRINT, &sum.to_be_bytes());
    }

    fn set_length(&mut self, whole: usize) {
        let length = (whole - HEADER) as u16;
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
    }
}

/// RFC 5389 §15.2: masked, so that no NAT on the way rewrites it.
fn mapped(request: &[u8], from: SocketAddr) -> Vec<u8> {
    let port = from.port() ^ (COOKIE >> 16) as u16;
    let (family, address) = match from.ip().to_canonical() {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (2, v6.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend(port.to_be_bytes());
    let mask = &request[4..HEADER];
    value.extend(address.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    value
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) << 16 | u32::from(half(bytes, at + 2))
}

/// The CRC of ITU V.42.
fn crc32(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg())
        })
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &[u8] = b"\x21\x12\xa4\x42abcdefghijkl";

    fn request(attributes: &[u8]) -> Vec<u8> {
        let length = attributes.len() as u16;
        [b"\0\x01", &length.to_be_bytes()[..], ID, attributes].concat()
    }

    #[test]
    fn addresses_of_both_families() {
        for (from, value) in [
            ("192.0.2.1:32853", &b"\0\x01\xa1\x47\xe1\x12\xa6\x43"[..]),
            (
                "[::ffff:192.0.2.1]:32853",
                b"\0\x01\xa1\x47\xe1\x12\xa6\x43",
            ),
            (
                "[2001:db8::1]:32853",
                b"\0\x02\xa1\x47\x01\x13\xa9\xfaabcdefghijkm",
            ),
        ] {
            let got = answer(&request(b""), from.parse().unwrap()).unwrap();
            let length = 4 + value.len() as u8;
            let want = [
                b"\x01\x01\0",
                &[length][..],
                ID,
                b"\0\x20\0",
                &[length - 4],
                value,
            ];
            assert_eq!(got, want.concat(), "{from}");
            assert!(is_stun(&got));
            // An answer is not answered.
            assert_eq!(answer(&got, from.parse().unwrap()), None);
        }
    }

    /// The sample request of RFC 5769 §2.1, which has SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME,
    /// MESSAGE-INTEGRITY and FINGERPRINT.
    const SAMPLE: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY   \
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

    #[test]
    fn fingerprints_are_checked_and_given() {
        let from = "192.0.2.1:32853".parse().unwrap();
        // PRIORITY is of ICE, which is not spoken here.
        let got = answer(SAMPLE, from).unwrap();
        assert_eq!(half(&got, 0), BINDING_ERROR);
        assert!(got.windows(2).any(|w| w == b"\x04\x14"));
        assert!(got.windows(6).any(|w| w == b"\0\x0a\0\x02\0\x24"));
        let (start, sum) = got.split_at(got.len() - 4);
        let before = &start[..start.len() - 4];
        assert_eq!(sum, (crc32(before) ^ 0x5354_554E).to_be_bytes());
        assert!(is_stun(&got));
        let mut spoiled = SAMPLE.to_vec();
        spoiled[30] ^= 1;
        assert_eq!(answer(&spoiled, from), None);
    }

    #[test]
    fn whatever_else_comes_is_dropped() {
        let from = "192.0.2.1:1".parse().unwrap();
        let mut indication = request(b"");
        indication[1] = 0x11;
        for bytes in [
            &b""[..],
            b"OPTIONS sip:a@b SIP/2.0\r\n\r\n",
            &[0; 20],
            &request(b"")[..19],
            &[request(b""), vec![0; 4]].concat(),
            &indication,
            &request(b"\x80\x22\0\x05ab\0\0"),
            &request(b"\x80\x28\0\x04abcd"),
            &request(b"\x80\x28\0\x02ab\0\0"),
        ] {
            assert_eq!(answer(bytes, from), None, "{bytes:?}");
        }
        let odd = request(b"\x80\x22\0\x01a\0\0\0\0\x03\0\0");
        assert_eq!(half(&answer(&odd, from).unwrap(), 0), BINDING_ERROR);
    }
}
