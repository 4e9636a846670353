//! G.711: one byte a sample, two laws (ITU-T G.711 Tables 1a to 2b).
//!
//! The encoder has the decision thresholds of the published Sun `g711.c`, which are those of the
//! Recommendation for 14-bit (mu-law) and 13-bit (A-law) input: the low bits of a 16-bit sample
//! are cut off before the decision, rounding towards minus infinity.

/// Which of the two companding laws a code belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Law {
    /// PCMU, RTP payload type 0 (RFC 3551 §4.5.14).
    Mulaw,
    /// PCMA, RTP payload type 8 (RFC 3551 §4.5.14).
    Alaw,
}

/// The code a silent line sends: positive zero, `0xFF` in mu-law and `0xD5` in A-law.
#[must_use]
pub const fn silence(law: Law) -> u8 {
    match law {
        Law::Mulaw => 0xFF,
        Law::Alaw => 0xD5,
    }
}

/// The 16-bit sample a code stands for.
#[must_use]
pub const fn decode(law: Law, code: u8) -> i16 {
    table(law)[code as usize]
}

/// The code nearest to a 16-bit sample, by the thresholds named at the top of this file.
#[must_use]
pub const fn encode(law: Law, sample: i16) -> u8 {
    match law {
        Law::Mulaw => encode_mulaw(sample),
        Law::Alaw => encode_alaw(sample),
    }
}

/// Decodes `codes` into `samples`, which must be as long as `codes`.
///
/// # Panics
/// When the lengths differ.
pub fn decode_into(law: Law, codes: &[u8], samples: &mut [i16]) {
    assert_eq!(codes.len(), samples.len(), "one sample per code");
    let table = table(law);
    for (sample, &code) in samples.iter_mut().zip(codes) {
        *sample = table[code as usize];
    }
}

/// Encodes `samples` into `codes`, which must be as long as `samples`.
///
/// # Panics
/// When the lengths differ.
pub fn encode_into(law: Law, samples: &[i16], codes: &mut [u8]) {
    assert_eq!(codes.len(), samples.len(), "one code per sample");
    match law {
        Law::Mulaw => {
            for (code, &sample) in codes.iter_mut().zip(samples) {
                *code = encode_mulaw(sample);
            }
        }
        Law::Alaw => {
            for (code, &sample) in codes.iter_mut().zip(samples) {
                *code = encode_alaw(sample);
            }
        }
    }
}

pub(crate) const fn table(law: Law) -> &'static [i16; 256] {
    match law {
        Law::Mulaw => &MULAW,
        Law::Alaw => &ALAW,
    }
}

static MULAW: [i16; 256] = decode_table(Law::Mulaw);
static ALAW: [i16; 256] = decode_table(Law::Alaw);

const fn decode_table(law: Law) -> [i16; 256] {
    let mut table = [0_i16; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = match law {
            Law::Mulaw => expand_mulaw(code as u8),
            Law::Alaw => expand_alaw(code as u8),
        };
        code += 1;
    }
    table
}

/// Added to a mu-law magnitude so that every segment starts at a power of two (16-bit scale).
const BIAS: i32 = 0x84;

const fn expand_mulaw(code: u8) -> i16 {
    let bits = !code;
    let segment = (bits >> 4) & 7;
    let magnitude = (((((bits & 0x0F) as i32) << 3) + BIAS) << segment) - BIAS;
    if bits & 0x80 == 0 {
        magnitude as i16
    } else {
        -magnitude as i16
    }
}

const fn expand_alaw(code: u8) -> i16 {
    let bits = code ^ 0x55;
    let segment = (bits >> 4) & 7;
    let step = ((bits & 0x0F) as i32) << 4;
    let magnitude = match segment {
        0 => step + 8,
        _ => (step + 0x108) << (segment - 1),
    };
    if bits & 0x80 == 0 {
        -magnitude as i16
    } else {
        magnitude as i16
    }
}

/// Largest 14-bit magnitude that the top mu-law segment takes; above it is clipped.
const MULAW_CLIP: u32 = 8_158;

const fn encode_mulaw(sample: i16) -> u8 {
    let value = (sample >> 2) as i32;
    let (magnitude, mask) = if value < 0 {
        (value.unsigned_abs(), 0x7F)
    } else {
        (value as u32, 0xFF)
    };
    let clipped = if magnitude > MULAW_CLIP {
        MULAW_CLIP
    } else {
        magnitude
    };
    let biased = clipped + (BIAS as u32 >> 2);
    let segment = biased.ilog2() - 5;
    ((segment << 4) | ((biased >> (segment + 1)) & 0x0F)) as u8 ^ mask
}

const fn encode_alaw(sample: i16) -> u8 {
    let value = (sample >> 3) as i32;
    let (magnitude, mask) = if value < 0 {
        (!value as u32, 0x55)
    } else {
        (value as u32, 0xD5)
    };
    let segment = if magnitude < 32 {
        0
    } else {
        magnitude.ilog2() - 4
    };
    let shift = if segment < 2 { 1 } else { segment };
    ((segment << 4) | ((magnitude >> shift) & 0x0F)) as u8 ^ mask
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAWS: [Law; 2] = [Law::Mulaw, Law::Alaw];

    fn all_samples() -> Vec<i16> {
        (i16::MIN..=i16::MAX).collect()
    }

    fn all_codes() -> Vec<u8> {
        (0..=255).collect()
    }

    /// FNV-1a, 64 bits.
    fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
        bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    /// The digests are those of Python 3.11 `audioop`, which is Sun's `g711.c`, over all inputs.
    #[test]
    fn both_directions_equal_sun_g711_for_every_input() {
        let check = |law, encoded: u64, decoded: u64| {
            let mut codes = vec![0; 65_536];
            encode_into(law, &all_samples(), &mut codes);
            assert_eq!(digest(codes), encoded, "{law:?} encoder");
            let mut samples = [0; 256];
            decode_into(law, &all_codes(), &mut samples);
            assert_eq!(
                digest(samples.iter().flat_map(|s| s.to_le_bytes())),
                decoded,
                "{law:?}"
            );
        };
        check(Law::Mulaw, MULAW_ENCODED, MULAW_DECODED);
        check(Law::Alaw, ALAW_ENCODED, ALAW_DECODED);
    }

    const MULAW_ENCODED: u64 = 0xd5ee_23f7_d0ff_ae91;
    const MULAW_DECODED: u64 = 0xb91e_65d6_8481_a1a8;
    const ALAW_ENCODED: u64 = 0xf030_666e_b780_cf25;
    const ALAW_DECODED: u64 = 0x693a_40ca_62a3_d2a5;

    /// The number of the quantising interval, counted from the smallest, by the decision values
    /// of G.711 Table 2a (14 bits) and Table 1a (13 bits, halved steps spelt out).
    fn interval(law: Law, magnitude: i32) -> u8 {
        let thresholds = (0..8).flat_map(|segment| (0..16).map(move |step| (segment, step)));
        let decision_value = |(segment, step): (i32, i32)| match (law, segment) {
            (Law::Mulaw, _) => ((16 + step) << (segment + 1)) - 33,
            (Law::Alaw, 0) => step << 1,
            (Law::Alaw, _) => (16 + step) << segment,
        };
        let below = thresholds
            .filter(|&at| decision_value(at) <= magnitude)
            .count();
        (below - 1) as u8
    }

    #[test]
    fn every_sample_falls_into_the_interval_of_the_recommendation() {
        for sample in all_samples() {
            let value = i32::from(sample >> 2);
            let sign = if value < 0 { 0x00 } else { 0x80 };
            let code = sign | (!interval(Law::Mulaw, value.abs()) & 0x7F);
            assert_eq!(encode(Law::Mulaw, sample), code, "mu-law of {sample}");

            let value = i32::from(sample >> 3);
            let (sign, magnitude) = if value < 0 {
                (0x00, -value - 1)
            } else {
                (0x80, value)
            };
            let code = (sign | interval(Law::Alaw, magnitude)) ^ 0x55;
            assert_eq!(encode(Law::Alaw, sample), code, "A-law of {sample}");
        }
    }

    #[test]
    fn every_code_survives_decoding_and_encoding_but_mulaw_negative_zero() {
        for law in LAWS {
            for code in all_codes() {
                let back = encode(law, decode(law, code));
                let negative_zero = law == Law::Mulaw && code == 0x7F;
                assert_eq!(
                    back,
                    if negative_zero { 0xFF } else { code },
                    "{law:?} {code:#04x}"
                );
            }
        }
    }

    #[test]
    fn the_encoder_is_monotonic_in_what_it_decodes_to() {
        for law in LAWS {
            let decoded: Vec<i16> = all_samples()
                .into_iter()
                .map(|s| decode(law, encode(law, s)))
                .collect();
            assert!(decoded.is_sorted(), "{law:?}");
        }
    }

    #[test]
    fn silence_is_what_zero_encodes_to() {
        assert_eq!((silence(Law::Mulaw), silence(Law::Alaw)), (0xFF, 0xD5));
        for law in LAWS {
            assert_eq!(encode(law, 0), silence(law));
        }
        assert_eq!((decode(Law::Mulaw, 0xFF), decode(Law::Alaw, 0xD5)), (0, 8));
    }

    #[test]
    fn the_extremes_are_those_of_the_recommendation() {
        assert_eq!(
            (decode(Law::Mulaw, 0x80), decode(Law::Mulaw, 0x00)),
            (32_124, -32_124)
        );
        assert_eq!(
            (decode(Law::Alaw, 0xAA), decode(Law::Alaw, 0x2A)),
            (32_256, -32_256)
        );
    }
}
