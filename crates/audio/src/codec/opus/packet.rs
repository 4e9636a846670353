//! What an Opus packet says about itself, read without decoding it (RFC 6716 §3).

/// Ticks per millisecond of the RTP clock, whatever the packet's own bandwidth (RFC 7587 §4.1).
const TICKS_PER_MS: usize = 48;
/// The longest packet (RFC 6716 §3.2.5, R5).
const LONGEST_MS: usize = 120;
/// The longest frame in octets (RFC 6716 §3.4, R2).
pub(super) const LONGEST_FRAME_BYTES: usize = 1_275;

/// What the table of contents and the framing of a packet say (RFC 6716 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) struct Packet<'a> {
    toc: u8,
    frames: usize,
    /// The first frame, empty when nothing was sent of it (DTX).
    first: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` when the packet breaks one of the rules R1 to R7 of RFC 6716 §3.4.
    pub(in crate::codec) fn parse(packet: &'a [u8]) -> Option<Self> {
        let (&toc, rest) = packet.split_first()?;
        let (frames, first) = match toc & 3 {
            0 => (1, rest),
            1 if rest.len().is_multiple_of(2) => (2, &rest[..rest.len() / 2]),
            1 => return None,
            2 => (2, two_frames(rest)?),
            _ => many_frames(rest)?,
        };
        let parsed = Packet { toc, frames, first };
        let fits = first.len() <= LONGEST_FRAME_BYTES;
        (fits && parsed.ticks() <= LONGEST_MS * TICKS_PER_MS).then_some(parsed)
    }

    /// Length of the packet in samples of 48 kHz, 120 to 5,760.
    pub(in crate::codec) fn ticks(&self) -> usize {
        self.frames * self.frame_ticks()
    }

    /// Length of each frame in samples of 48 kHz (RFC 6716 §3.1, Table 2).
    pub(super) fn frame_ticks(&self) -> usize {
        let size = usize::from(self.toc >> 3 & 3);
        match self.toc >> 3 {
            0..12 => [10, 20, 40, 60][size] * TICKS_PER_MS,
            12..16 => [10, 20][size & 1] * TICKS_PER_MS,
            _ => 120 << size,
        }
    }

    /// Whether there is nothing in it for speech's own coder, SILK (RFC 6716 §3.1).
    pub(super) fn is_celt_only(&self) -> bool {
        self.toc >> 3 >= 16
    }

    /// Whether the first frame repeats the one before it: the low bit-rate redundancy flag, which
    /// follows the voice activity flags of the 20 ms within the frame (RFC 6716 §4.2.3, §4.2.4).
    pub(super) fn repeats(&self) -> bool {
        let Some(&flags) = self.first.first().filter(|_| !self.is_celt_only()) else {
            return false;
        };
        let parts = self.frame_ticks().div_ceil(20 * TICKS_PER_MS);
        let bit = |at: usize| flags >> (7 - at) & 1 == 1;
        let stereo = self.toc & 4 != 0;
        bit(parts) || stereo && bit(2 * parts + 1)
    }
}

/// The first of two frames of different lengths; the second is what is left (RFC 6716 §3.2.4).
fn two_frames(rest: &[u8]) -> Option<&[u8]> {
    let (length, frames) = frame_length(rest)?;
    let second = frames.len().checked_sub(length)?;
    (second <= LONGEST_FRAME_BYTES).then(|| &frames[..length])
}

/// A frame's length and what follows it (RFC 6716 §3.2.1).
fn frame_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes {
        [first @ 0..=251, ref rest @ ..] => Some((usize::from(first), rest)),
        [first, second, ref rest @ ..] => {
            Some((usize::from(second) * 4 + usize::from(first), rest))
        }
        _ => None,
    }
}

/// How many frames, and the first of them (RFC 6716 §3.2.5).
fn many_frames(rest: &[u8]) -> Option<(usize, &[u8])> {
    let (&head, mut rest) = rest.split_first()?;
    let (variable, padded, frames) = (head & 0x80 != 0, head & 0x40 != 0, usize::from(head & 0x3F));
    if frames == 0 {
        return None;
    }
    if padded {
        rest = without_padding(rest)?;
    }
    if !variable {
        let length = rest.len() / frames;
        let exact = rest.len().is_multiple_of(frames) && length <= LONGEST_FRAME_BYTES;
        return exact.then(|| (frames, &rest[..length]));
    }
    let (mut first, mut sum) = (None, 0);
    for _ in 1..frames {
        let (length, after) = frame_length(rest)?;
        first.get_or_insert(length);
        sum += length;
        rest = after;
    }
    let last = rest.len().checked_sub(sum)?;
    let first = first.unwrap_or(last);
    (last <= LONGEST_FRAME_BYTES).then(|| (frames, &rest[..first]))
}

/// `rest` without the padding that its first octets tell of: 255 stands for 254 and goes on.
fn without_padding(mut rest: &[u8]) -> Option<&[u8]> {
    let mut padding = 0;
    loop {
        let (&octet, after) = rest.split_first()?;
        rest = after;
        if octet < 255 {
            padding += usize::from(octet);
            break;
        }
        padding += 254;
    }
    let kept = rest.len().checked_sub(padding)?;
    Some(&rest[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(packet: &[u8]) -> Option<usize> {
        Packet::parse(packet).map(|packet| packet.ticks())
    }

    #[test]
    fn every_configuration_has_the_length_of_table_2() {
        for config in 0..32_u8 {
            let length = match config {
                0..12 => [480, 960, 1_920, 2_880][usize::from(config) % 4],
                12..16 => [480, 960][usize::from(config) % 2],
                _ => [120, 240, 480, 960][usize::from(config) % 4],
            };
            let toc = config << 3;
            assert_eq!(ticks(&[toc, 1, 2, 3]), Some(length), "{config}");
            assert_eq!(
                ticks(&[toc]),
                Some(length),
                "{config}: nothing but the table of contents"
            );
            let two = (2 * length <= 5_760).then_some(2 * length);
            assert_eq!(ticks(&[toc | 1, 1, 2]), two, "{config}");
            assert_eq!(ticks(&[toc | 4 | 2, 1, 2, 3]), two, "{config}");
            for frames in 1..64_usize {
                let all = (frames * length <= 5_760).then_some(frames * length);
                assert_eq!(ticks(&[toc | 3, frames as u8]), all, "{config} x {frames}");
            }
        }
    }

    #[test]
    fn broken_framing_has_no_length() {
        let check = |packet: &[u8]| assert_eq!(Packet::parse(packet), None, "{packet:?}");
        check(&[]);
        check(&[1, 0]);
        check(&[2]);
        check(&[2, 252]);
        check(&[2, 5, 0, 0, 0, 0]);
        check(&[3]);
        check(&[3, 0]);
        check(&[3, 2, 0]);
        check(&[3, 0x42]);
        check(&[3, 0x42, 255]);
        check(&[3, 0x42, 1]);
        check(&[3, 0x82]);
        check(&[3, 0x82, 3, 0, 0]);
        check(&[3, 13]);
        let long = [&[0_u8][..], &[0; 1_276]].concat();
        check(&long);
        assert!(Packet::parse(&long[1..]).is_some());
    }

    /// libopus reads the same packets the same way.
    #[test]
    fn libopus_agrees_about_what_is_a_packet() {
        let mut state = 3_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let mut good = 0;
        for _ in 0..100_000 {
            let length = 1 + next() % 60;
            let mut packet: Vec<u8> = (0..length).map(|_| next() as u8).collect();
            if next().is_multiple_of(2) {
                packet[0] |= 3;
                packet.resize(length.max(4), 0);
                packet[1] &= 0xC7;
                packet[2] &= 0x1F;
            }
            let theirs = opus::packet::parse(&packet)
                .and_then(|_| opus::packet::get_nb_samples(&packet, 48_000));
            assert_eq!(ticks(&packet), theirs.ok(), "{packet:?}");
            if let Some(ours) = Packet::parse(&packet) {
                let theirs = opus::packet::parse(&packet).expect("as above");
                assert_eq!(
                    (ours.first, ours.frames),
                    (theirs.frames[0], theirs.frames.len())
                );
                good += 1;
            }
        }
        assert!(good > 30_000, "only {good} were packets");
    }
}
