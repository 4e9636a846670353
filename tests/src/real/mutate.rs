//! Spoils good bytes: SIP messages and RTP/RTCP packets with seeded mistakes.

use rand_chacha::ChaCha12Rng;

use super::seed::{below, bytes};

/// Numbers at which parsers break.
const NUMBERS: [&str; 8] = [
    "0",
    "-1",
    "65536",
    "4294967296",
    "18446744073709551616",
    "99999999999999999999999",
    "1e9",
    "",
];
/// Pieces that mean something in SIP.
const PIECES: [&str; 14] = [
    "\r\n", "\r\n\r\n", "\r\n ", "\0", "\"", "<", ">", ";", ",", "%00", "%zz", "::", "[::1",
    "\u{ff}",
];

/// A SIP message with one to four mistakes.
pub fn sip(random: &mut ChaCha12Rng, message: &str) -> Vec<u8> {
    let mut spoiled = message.as_bytes().to_vec();
    for _ in 0..=below(random, 4) {
        spoiled = match below(random, 7) {
            0 => line(random, &spoiled),
            1 => number(random, &spoiled),
            2 => {
                let piece = PIECES[below(random, PIECES.len())];
                splice(random, &spoiled, piece.as_bytes())
            }
            3 => repeat(random, &spoiled),
            _ => raw(random, &spoiled),
        };
    }
    spoiled
}

/// A packet with one to four mistakes.
pub fn packet(random: &mut ChaCha12Rng, packet: &[u8]) -> Vec<u8> {
    let mut spoiled = packet.to_vec();
    for _ in 0..=below(random, 4) {
        spoiled = match below(random, 4) {
            // The header is where the lengths stand.
            0 if !spoiled.is_empty() => {
                let at = below(random, spoiled.len().min(16));
                spoiled[at] = bytes(random, 1)[0];
                spoiled
            }
            _ => raw(random, &spoiled),
        };
    }
    spoiled
}

/// Without regard to what the bytes mean.
fn raw(random: &mut ChaCha12Rng, good: &[u8]) -> Vec<u8> {
    let mut spoiled = good.to_vec();
    let at = below(random, spoiled.len().max(1));
    match below(random, 5) {
        0 => spoiled.truncate(at),
        1 => {
            let length = below(random, 40);
            let noise = bytes(random, length);
            return splice(random, good, &noise);
        }
        2 => drop(spoiled.drain(at.min(good.len())..(at + below(random, 20)).min(good.len()))),
        _ => {
            if let Some(byte) = spoiled.get_mut(at) {
                *byte ^= 1 << below(random, 8);
            }
        }
    }
    spoiled
}

fn splice(random: &mut ChaCha12Rng, good: &[u8], piece: &[u8]) -> Vec<u8> {
    let (before, after) = good.split_at(below(random, good.len() + 1));
    [before, piece, after].concat()
}

/// Drops a line, doubles it, or puts it elsewhere.
fn line(random: &mut ChaCha12Rng, good: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = good.split(|&byte| byte == b'\n').collect();
    let taken = lines[below(random, lines.len())];
    match below(random, 3) {
        0 => lines.retain(|line| *line != taken),
        1 => lines.insert(below(random, lines.len()), taken),
        _ => {
            let (one, other) = (below(random, lines.len()), below(random, lines.len()));
            lines.swap(one, other);
        }
    }
    lines.join(&b'\n')
}

/// Puts another number where one stands.
fn number(random: &mut ChaCha12Rng, good: &[u8]) -> Vec<u8> {
    let digits: Vec<usize> = (0..good.len())
        .filter(|&at| good[at].is_ascii_digit())
        .collect();
    if digits.is_empty() {
        return good.to_vec();
    }
    let from = digits[below(random, digits.len())];
    let to = good[from..]
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .map_or(good.len(), |n| from + n);
    let number = NUMBERS[below(random, NUMBERS.len())];
    [&good[..from], number.as_bytes(), &good[to..]].concat()
}

/// One byte a thousand times.
fn repeat(random: &mut ChaCha12Rng, good: &[u8]) -> Vec<u8> {
    let at = below(random, good.len().max(1));
    let Some(&byte) = good.get(at) else {
        return Vec::new();
    };
    splice(random, good, &vec![byte; 1_000])
}

#[cfg(test)]
mod tests {
    use super::super::seed::seeded;
    use super::*;

    #[test]
    fn the_same_seed_spoils_in_the_same_way_and_seldom_not_at_all() {
        let good = "OPTIONS sip:100@127.0.0.1 SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let spoil = || {
            let mut random = seeded(7);
            (0..500).map(|_| sip(&mut random, good)).collect::<Vec<_>>()
        };
        let spoiled = spoil();
        assert_eq!(spoiled, spoil());
        let same = spoiled
            .iter()
            .filter(|bytes| *bytes == good.as_bytes())
            .count();
        assert!(same < 50, "{same} of 500 are as they were");
    }

    #[test]
    fn nothing_is_too_short_to_be_spoiled() {
        let mut random = seeded(8);
        for good in [&b""[..], b"x", b"\n"] {
            for _ in 0..200 {
                let text = std::str::from_utf8(good).expect("plain");
                assert!(sip(&mut random, text).len() < 10_000);
                assert!(packet(&mut random, good).len() < 10_000);
            }
        }
    }
}
