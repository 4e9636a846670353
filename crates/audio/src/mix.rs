//! Two parties into two channels, and a tone under what a party hears.
//!
//! These run once per packet or block: slices in, slices out, no allocation.

use crate::g711::{self, Law};

/// One channel as it came from the network: G.711 codes and the law they are in.
#[derive(Debug, Clone, Copy)]
pub struct Coded<'a> {
    /// The law of every code in `codes`.
    pub law: Law,
    /// One code per sample.
    pub codes: &'a [u8],
}

/// Puts `left` and `right` side by side, untouched: `l0 r0 l1 r1 ...`. For channels of one law.
///
/// # Panics
/// When `left` and `right` differ in length or `stereo` is not twice as long.
pub fn interleave(left: &[u8], right: &[u8], stereo: &mut [u8]) {
    assert_lengths(left.len(), right.len(), stereo.len());
    for ((frame, &l), &r) in stereo
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .zip(left)
        .zip(right)
    {
        *frame = [l, r];
    }
}

/// Decodes two channels, each in its own law, into interleaved 16-bit samples.
///
/// # Panics
/// When the channels differ in length or `stereo` is not twice as long.
pub fn decode_interleave(left: Coded<'_>, right: Coded<'_>, stereo: &mut [i16]) {
    assert_lengths(left.codes.len(), right.codes.len(), stereo.len());
    let (left_table, right_table) = (g711::table(left.law), g711::table(right.law));
    let frames = stereo.as_chunks_mut::<2>().0.iter_mut();
    for ((frame, &l), &r) in frames.zip(left.codes).zip(right.codes) {
        *frame = [left_table[l as usize], right_table[r as usize]];
    }
}

/// Like [`decode_interleave`], into the bytes of 16-bit little-endian samples: four bytes a frame.
///
/// # Panics
/// When the channels differ in length or `stereo` is not four times as long.
pub fn decode_interleave_le(left: Coded<'_>, right: Coded<'_>, stereo: &mut [u8]) {
    assert!(stereo.len().is_multiple_of(2), "two bytes a sample");
    assert_lengths(left.codes.len(), right.codes.len(), stereo.len() / 2);
    let (left_table, right_table) = (g711::table(left.law), g711::table(right.law));
    let frames = stereo.as_chunks_mut::<4>().0.iter_mut();
    for ((frame, &l), &r) in frames.zip(left.codes).zip(right.codes) {
        let [l0, l1] = left_table[l as usize].to_le_bytes();
        let [r0, r1] = right_table[r as usize].to_le_bytes();
        *frame = [l0, l1, r0, r1];
    }
}

/// Takes interleaved samples apart again.
///
/// # Panics
/// When `left` and `right` differ in length or `stereo` is not twice as long.
pub fn split<T: Copy>(stereo: &[T], left: &mut [T], right: &mut [T]) {
    assert_lengths(left.len(), right.len(), stereo.len());
    for ((frame, l), r) in stereo.as_chunks::<2>().0.iter().zip(left).zip(right) {
        [*l, *r] = *frame;
    }
}

/// Adds `tone` to the G.711 `payload` in place, saturating at full scale.
///
/// Works on as many samples as both have. Where the tone is exactly zero the code stays as it is,
/// so a payload outside the tone is not touched.
pub fn mix_under(law: Law, payload: &mut [u8], tone: &[i16]) {
    let table = g711::table(law);
    for (code, &tone) in payload.iter_mut().zip(tone) {
        if tone != 0 {
            *code = g711::encode(law, table[*code as usize].saturating_add(tone));
        }
    }
}

fn assert_lengths(left: usize, right: usize, stereo: usize) {
    assert_eq!(left, right, "both channels are equally long");
    assert_eq!(
        stereo,
        2 * left,
        "stereo holds one sample of each channel per frame"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure;
    use crate::tone::ToneShape;

    #[test]
    fn interleave_and_split_are_exact_inverses() {
        for length in [0, 1, 2, 159, 160, 2_560] {
            let left: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let right: Vec<u8> = (0..length).map(|n| (n * 7 + 3) as u8).collect();
            let mut stereo = vec![0; 2 * length];
            interleave(&left, &right, &mut stereo);
            for at in 0..length {
                assert_eq!((stereo[2 * at], stereo[2 * at + 1]), (left[at], right[at]));
            }
            let (mut l, mut r) = (vec![0; length], vec![0; length]);
            split(&stereo, &mut l, &mut r);
            assert_eq!((l, r), (left, right));
        }
    }

    #[test]
    fn each_channel_is_decoded_in_its_own_law() {
        let codes: Vec<u8> = (0..=255).collect();
        for (left_law, right_law) in [
            (Law::Mulaw, Law::Mulaw),
            (Law::Mulaw, Law::Alaw),
            (Law::Alaw, Law::Mulaw),
            (Law::Alaw, Law::Alaw),
        ] {
            let left = Coded {
                law: left_law,
                codes: &codes,
            };
            let right = Coded {
                law: right_law,
                codes: &codes,
            };
            let mut stereo = [0; 512];
            decode_interleave(left, right, &mut stereo);
            let mut bytes = [0; 1_024];
            decode_interleave_le(left, right, &mut bytes);
            for (at, &code) in codes.iter().enumerate() {
                assert_eq!(stereo[2 * at], g711::decode(left_law, code));
                assert_eq!(stereo[2 * at + 1], g711::decode(right_law, code));
            }
            let expected: Vec<u8> = stereo.iter().flat_map(|s| s.to_le_bytes()).collect();
            assert_eq!(bytes.to_vec(), expected);
        }
    }

    #[test]
    #[should_panic(expected = "equally long")]
    fn channels_of_different_length_are_our_own_mistake() {
        interleave(&[1, 2], &[1], &mut [0; 4]);
    }

    #[test]
    fn a_payload_outside_the_tone_is_not_touched() {
        for law in [Law::Mulaw, Law::Alaw] {
            let before: Vec<u8> = (0..=255).collect();
            let mut payload = before.clone();
            mix_under(law, &mut payload, &[0; 256]);
            assert_eq!(payload, before);
            mix_under(law, &mut payload, &[4_000; 10]);
            assert_ne!(payload[..10], before[..10]);
            assert_eq!(payload[10..], before[10..]);
            mix_under(law, &mut payload[..0], &[1; 5]);
        }
    }

    #[test]
    fn mixing_adds_and_saturates() {
        let check = |law, speech: i16, tone: i16, sum: i16| {
            let mut payload = [g711::encode(law, speech)];
            let spoken = g711::decode(law, payload[0]);
            mix_under(law, &mut payload, &[tone]);
            let heard = g711::decode(law, payload[0]);
            assert_eq!(
                heard,
                g711::decode(law, g711::encode(law, spoken.saturating_add(tone)))
            );
            assert!(
                (i32::from(heard) - i32::from(sum)).abs() <= 1_024,
                "{law:?} {speech}+{tone}"
            );
        };
        for law in [Law::Mulaw, Law::Alaw] {
            check(law, 0, 3_000, 3_000);
            check(law, 10_000, -10_000, 0);
            check(law, 30_000, 30_000, i16::MAX);
            check(law, -30_000, -30_000, i16::MIN);
        }
    }

    #[test]
    fn a_mixed_tone_keeps_its_level_under_speech() {
        let shape = ToneShape {
            frequency_hz: 1_400.0,
            length_ms: 1_000,
            level_dbfs: -20.0,
        };
        let speech = ToneShape {
            frequency_hz: 400.0,
            length_ms: 1_000,
            level_dbfs: -10.0,
        };
        for law in [Law::Mulaw, Law::Alaw] {
            let mut payload = vec![0; 8_000];
            g711::encode_into(law, &speech.samples(), &mut payload);
            mix_under(law, &mut payload, &shape.samples());
            let mut heard = vec![0; 8_000];
            g711::decode_into(law, &payload, &mut heard);
            let middle = &heard[400..7_600];
            for (hz, dbfs) in [(1_400.0, -20.0), (400.0, -10.0)] {
                let level = measure::goertzel_dbfs(middle, hz);
                assert!((level - dbfs).abs() < 0.2, "{law:?} {hz} Hz reads {level}");
            }
        }
    }
}
