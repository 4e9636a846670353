//! Coded frames of a spool's list, in the order of their places.

use crate::format::SAMPLE_RATE_HZ;
use crate::timeline::DRIFT_TICKS;
use duolog_audio::codec::{Codec, LONGEST_G711_PAYLOAD_MS};
use duolog_audio::coded;

/// No payload is longer, in ticks.
const LONGEST_TICKS: u64 = LONGEST_G711_PAYLOAD_MS as u64 * SAMPLE_RATE_HZ as u64 / 1_000;

/// A payload as received, at its place on the recording's time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlacedFrame<'p> {
    pub(crate) position: u64,
    pub(crate) ticks: u64,
    /// None for a codec that this version does not know.
    pub(crate) codec: Option<Codec>,
    pub(crate) payload: &'p [u8],
}

/// The frames of a list, and whether all of it could be read.
#[derive(Debug)]
pub(crate) struct PlacedFrames<'p> {
    pub(crate) frames: Vec<PlacedFrame<'p>>,
    pub(crate) damaged: bool,
}

/// Reads a list whose offsets count from `position`. Frames without a length are left out. Of a frame
/// that claims another length than its payload has the payload is believed: what follows would be
/// taken for something that was there before.
pub(crate) fn placed(position: u64, list: &[u8]) -> PlacedFrames<'_> {
    let (mut frames, mut damaged) = (Vec::new(), false);
    for frame in coded::read(list) {
        match frame {
            Ok(frame) if frame.ticks == 0 => {}
            Ok(frame) => {
                let codec = Codec::from_code(frame.codec);
                let ticks = ticks_of(codec, frame.payload, u64::from(frame.ticks));
                damaged |= ticks != u64::from(frame.ticks);
                frames.push(PlacedFrame {
                    position: position.saturating_add(u64::from(frame.offset)),
                    ticks,
                    codec,
                    payload: frame.payload,
                });
            }
            Err(_) => damaged = true,
        }
    }
    frames.sort_by_key(|frame| frame.position);
    PlacedFrames { frames, damaged }
}

/// A frame's length: `claimed`, where the payload does not say otherwise.
fn ticks_of(codec: Option<Codec>, payload: &[u8], claimed: u64) -> u64 {
    let told = codec.and_then(|codec| {
        let clock = u64::from(codec.clock_rate_hz());
        let ticks = u64::from(codec.ticks(payload)?);
        Some(((ticks * u64::from(SAMPLE_RATE_HZ) + clock / 2) / clock).max(1))
    });
    match told {
        Some(told) if told.abs_diff(claimed) > DRIFT_TICKS => told,
        _ => claimed.min(LONGEST_TICKS),
    }
}

/// Samples per second that a payload's sound needs: 8, 16, 24 or 48 kHz. Of Opus the bandwidth that its
/// first octet tells of (RFC 6716 §3.1): the rate of its clock says nothing.
pub(crate) fn rate_needed_hz(codec: Codec, payload: &[u8]) -> u32 {
    match codec {
        Codec::Opus => match payload.first().map_or(0, |toc| toc >> 3) {
            0..4 | 16..20 => 8_000,
            4..12 | 20..24 => 16_000,
            12 | 13 | 24..28 => 24_000,
            _ => 48_000,
        },
        codec => match codec.sample_rate_hz() {
            ..=8_000 => 8_000,
            8_001..=16_000 => 16_000,
            _ => 48_000,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolog_audio::codec::Channels;
    use duolog_audio::coded::CodedFrame;

    #[test]
    fn frames_come_in_the_order_of_their_places() {
        let mut list = Vec::new();
        for (offset, ticks, codec) in [(160, 160, 5), (0, 3, 3), (400, 0, 3), (320, 7, 999)] {
            coded::push(
                &mut list,
                CodedFrame {
                    offset,
                    ticks,
                    codec,
                    payload: b"\x08a",
                },
            );
        }
        let read = placed(1_000, &list);
        let places: Vec<_> = read
            .frames
            .iter()
            .map(|f| (f.position, f.ticks, f.codec))
            .collect();
        let wanted = [
            (1_000, 3, Some(Codec::G722)),
            (1_160, 160, Some(Codec::Opus)),
            (1_320, 7, None),
        ];
        assert_eq!((places, read.damaged), (wanted.to_vec(), false));
        let cut = placed(0, &list[..list.len() - 1]);
        assert_eq!((cut.frames.len(), cut.damaged), (2, true));
        assert!(placed(u64::MAX, &list).frames[1].position == u64::MAX);
    }

    #[test]
    fn a_length_that_is_not_the_payloads_is_not_believed() {
        let opus_20_ms: &[u8] = &[0x08, 1, 2];
        let check = |codec: u16, payload: &[u8], claimed, wanted: u64| {
            let mut list = Vec::new();
            let frame = CodedFrame {
                offset: 0,
                ticks: claimed,
                codec,
                payload,
            };
            coded::push(&mut list, frame);
            let read = placed(0, &list);
            let damaged = wanted != u64::from(claimed);
            assert_eq!((read.frames[0].ticks, read.damaged), (wanted, damaged));
        };
        check(Codec::Opus.code(), opus_20_ms, 160, 160);
        check(Codec::Opus.code(), opus_20_ms, 162, 162);
        check(Codec::Opus.code(), opus_20_ms, 60_000, 160);
        check(Codec::Opus.code(), opus_20_ms, 1, 160);
        check(Codec::G722.code(), &[0; 160], 416, 160);
        check(Codec::G722.code(), &[], 160, 160);
        check(Codec::G722.code(), &[], 60_000, 1_600);
        check(999, &[1, 2, 3], 160, 160);
        check(999, &[1, 2, 3], 60_000, 1_600);
    }

    #[test]
    fn the_rate_follows_the_bandwidth() {
        let opus = |config: u8| rate_needed_hz(Codec::Opus, &[config << 3, 0]);
        let rates = [0, 3, 4, 8, 11, 12, 13, 14, 15, 16, 20, 24, 28, 31].map(opus);
        let wanted = [8, 8, 16, 16, 16, 24, 24, 48, 48, 8, 16, 24, 48, 48];
        assert_eq!(rates, wanted.map(|khz| khz * 1_000));
        assert_eq!(rate_needed_hz(Codec::Opus, &[]), 8_000);
        let l16 = |rate_hz| {
            let channels = Channels::Mono;
            rate_needed_hz(Codec::L16 { rate_hz, channels }, &[])
        };
        let rates = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000].map(l16);
        assert_eq!(rates, [8_000, 16_000, 16_000, 48_000, 48_000, 48_000]);
        assert_eq!(rate_needed_hz(Codec::G722, &[]), 16_000);
        assert_eq!(rate_needed_hz(Codec::G729, &[]), 8_000);
    }
}
