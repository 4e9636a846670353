//! L16: 16-bit samples in network byte order, channels interleaved (RFC 3551 §4.5.11).

use super::Channels;

/// Appends the samples of `payload`, of stereo the mean of both channels.
pub(super) fn decode(channels: Channels, payload: &[u8], out: &mut Vec<i16>) {
    match channels {
        Channels::Mono => {
            let samples = payload.as_chunks::<2>().0;
            out.extend(samples.iter().map(|&bytes| i16::from_be_bytes(bytes)));
        }
        Channels::Stereo => {
            let frames = payload.as_chunks::<4>().0;
            out.extend(frames.iter().map(|&[l0, l1, r0, r1]| {
                let left = i32::from(i16::from_be_bytes([l0, l1]));
                let right = i32::from(i16::from_be_bytes([r0, r1]));
                ((left + right) >> 1) as i16
            }));
        }
    }
}

/// Appends the octets of `samples`, in stereo the same in both channels.
pub(super) fn encode(channels: Channels, samples: &[i16], payload: &mut Vec<u8>) {
    for sample in samples {
        for _ in 0..channels.count() {
            payload.extend_from_slice(&sample.to_be_bytes());
        }
    }
}
