//! From a spool's audio frames to sound: all channels in step, block by block, so that memory does not
//! grow with length.
//!
//! Where a channel has no audio there is silence, so that the clock is the call's. Where recording was
//! paused, or digits are masked, there is silence whatever the spool holds (SPEC D10, L3).

use crate::encode::EncodeError;
use crate::format::{SAMPLE_RATE_HZ, SampleFormat, coded_channel};
use crate::lane::{BlockPart, Found, Lane, Source};
use crate::stream::Quiet;
use crate::timeline::{Gap, Placer, Timeline, gaps_within};
use duolog_audio::codec::G729Library;
use duolog_audio::g711;
use duolog_spool::{Frame, ReadError};

/// Samples per channel that are handed on at a time, at most.
const PIECE: u64 = 8_192;

/// Takes the sound. Channels are in step; each call goes on where the last one ended.
pub(crate) trait Output {
    /// Sound that begins at sample `position` of each channel; all channels have the same length.
    fn samples(&mut self, position: u64, channels: &[Vec<i16>]) -> Result<(), EncodeError>;
    /// Silence in all channels.
    fn silence(&mut self, position: u64, samples: u64) -> Result<(), EncodeError>;
}

/// Decodes a recording at `rate_hz`, a whole multiple of 8,000; gives what was found, per channel.
pub(crate) fn mix_down<O: Output>(
    timeline: &Timeline,
    rate_hz: u32,
    g729: Option<&G729Library>,
    frames: impl Iterator<Item = Result<Frame, ReadError>>,
    output: &mut O,
) -> Result<Vec<Found>, EncodeError> {
    let turns = crate::parties::turns(timeline.told());
    let lane = |channel: usize| {
        let source = Source {
            gaps: &timeline.gaps[channel],
            turns: match channel {
                0 => &[],
                _ => &turns,
            },
            length: timeline.length,
            g729,
        };
        Lane::new(source, rate_hz)
    };
    let channels = timeline.sides().len();
    let mut mixdown = Mixdown {
        length: timeline.length,
        factor: u64::from(rate_hz / SAMPLE_RATE_HZ),
        lanes: (0..channels).map(lane).collect(),
        gaps: timeline.listed(),
        placer: Placer::default(),
        block: Vec::new(),
        pieces: vec![Vec::new(); channels],
        written: 0,
        output,
    };
    for frame in frames {
        if let Frame::Audio {
            position,
            format,
            samples,
            payload,
        } = frame?
        {
            mixdown.audio(position, u64::from(samples), format, &payload)?;
            mixdown.hand_on()?;
        }
    }
    mixdown.finish()
}

struct Mixdown<'t, 'o, O> {
    length: u64,
    /// Samples per tick.
    factor: u64,
    lanes: Vec<Lane<'t>>,
    gaps: &'t [Vec<Gap>],
    placer: Placer,
    /// One channel of the block in hand, decoded.
    block: Vec<i16>,
    pieces: Vec<Vec<i16>>,
    /// Samples per channel handed on.
    written: u64,
    output: &'o mut O,
}

impl<O: Output> Mixdown<'_, '_, O> {
    fn audio(
        &mut self,
        position: u64,
        ticks: u64,
        format: u8,
        payload: &[u8],
    ) -> Result<(), EncodeError> {
        // What the first reading refused, this one must refuse too.
        if position.saturating_add(ticks) > crate::assemble::MAX_TICKS {
            return Ok(());
        }
        for lane in &mut self.lanes {
            lane.goes_on(position)?;
        }
        if let Some(channel) = coded_channel(format) {
            return match self.lanes.get_mut(channel) {
                Some(lane) => lane.coded(position, ticks, payload),
                None => Ok(()),
            };
        }
        let Some(format) = SampleFormat::from_code(format) else {
            return Ok(());
        };
        if ticks * format.frame_bytes() as u64 != payload.len() as u64 {
            return Ok(());
        }
        let Some(place) = self.placer.place(position, ticks) else {
            return Ok(());
        };
        if place.position + place.samples > self.length {
            return Err(EncodeError::SpoolChanged {
                expected: self.length,
                written: place.position + place.samples,
            });
        }
        let block = &payload[place.skip as usize * format.frame_bytes()..];
        for (channel, lane) in self.lanes.iter_mut().enumerate() {
            decode_channel(format, block, channel, &mut self.block);
            lane.block(BlockPart {
                position: place.position,
                ticks: place.samples,
                samples: &self.block,
            })?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Found>, EncodeError> {
        for lane in &mut self.lanes {
            lane.finish()?;
        }
        self.hand_on()?;
        let expected = self.length * self.factor;
        if self.written != expected {
            let written = self.written;
            return Err(EncodeError::SpoolChanged { expected, written });
        }
        Ok(self.lanes.into_iter().map(|lane| lane.found).collect())
    }

    /// Hands on what all channels have ready.
    fn hand_on(&mut self) -> Result<(), EncodeError> {
        loop {
            let fronts = self.lanes.iter().map(|lane| lane.stream.front());
            let Some(fronts) = fronts.collect::<Option<Vec<_>>>() else {
                return Ok(());
            };
            let samples = fronts
                .iter()
                .map(|(samples, _)| *samples)
                .min()
                .unwrap_or(0);
            if fronts.iter().all(|(_, quiet)| *quiet == Quiet::Yes) {
                for lane in &mut self.lanes {
                    lane.stream.skip_silence(samples);
                }
                self.output.silence(self.written, samples)?;
                self.written += samples;
                continue;
            }
            let samples = samples.min(PIECE);
            for (channel, lane) in self.lanes.iter_mut().enumerate() {
                let piece = &mut self.pieces[channel];
                lane.stream.take(samples, piece);
                let gaps = &self.gaps[channel];
                silence_gaps(gaps, self.factor, self.written, piece);
            }
            self.output.samples(self.written, &self.pieces)?;
            self.written += samples;
        }
    }
}

/// Overwrites what must not be heard, also what a faulty writer may have kept of a pause.
fn silence_gaps(gaps: &[Gap], factor: u64, position: u64, piece: &mut [i16]) {
    let until = position + piece.len() as u64;
    for gap in gaps_within(gaps, position / factor, until.div_ceil(factor)) {
        if gap.reason.is_silenced() {
            let from = (gap.position * factor).max(position) - position;
            let end = (gap.end() * factor).clamp(position, until) - position;
            piece[from.min(end) as usize..end as usize].fill(0);
        }
    }
}

fn decode_channel(format: SampleFormat, block: &[u8], channel: usize, samples: &mut Vec<i16>) {
    samples.clear();
    match (format, format.law()) {
        (SampleFormat::Empty, _) => {}
        (_, Some(law)) => {
            let codes = block.as_chunks::<2>().0.iter();
            samples.extend(codes.map(|codes| g711::decode(law, codes[channel])));
        }
        (_, None) => {
            let frames = block.as_chunks::<4>().0.iter();
            let sample = |frame: &[u8; 4]| [frame[2 * channel], frame[2 * channel + 1]];
            samples.extend(frames.map(|frame| i16::from_le_bytes(sample(frame))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assemble::Assembly;
    use crate::format::CODED_OWNER;
    use duolog_audio::codec::Codec;
    use duolog_audio::coded::{self, CodedFrame};
    use duolog_spool::Closing;
    use std::cell::Cell;

    const STRETCH: u64 = 2_560;
    const STRETCHES: u64 = 400;

    /// A stretch of the owner's G.722 whose block is missing.
    fn without_block(index: u64) -> Frame {
        let mut payload = Vec::new();
        for offset in (0..STRETCH as u32).step_by(160) {
            let frame = CodedFrame {
                offset,
                ticks: 160,
                codec: Codec::G722.code(),
                payload: &[0xFA; 160],
            };
            coded::push(&mut payload, frame);
        }
        Frame::Audio {
            position: index * STRETCH,
            format: CODED_OWNER,
            samples: STRETCH as u32,
            payload,
        }
    }

    /// Takes sound, and looks how far the reading is ahead of it.
    struct Lag<'c> {
        read: &'c Cell<u64>,
        most: u64,
        taken: u64,
    }

    impl Output for Lag<'_> {
        fn samples(&mut self, position: u64, channels: &[Vec<i16>]) -> Result<(), EncodeError> {
            self.silence(position, channels[0].len() as u64)
        }

        fn silence(&mut self, position: u64, samples: u64) -> Result<(), EncodeError> {
            assert_eq!(position, self.taken);
            self.most = self.most.max(self.read.get().saturating_sub(position / 2));
            self.taken += samples;
            Ok(())
        }
    }

    #[test]
    fn a_channel_of_which_nothing_is_told_holds_nothing_up() {
        let length = STRETCH * STRETCHES;
        let mut assembly = Assembly::default();
        (0..STRETCHES).for_each(|index| assembly.push(&without_block(index)));
        assembly.push(&Frame::Seal {
            position: length,
            wall_us: 0,
            closing: Closing::Ended,
            payload: Vec::new(),
        });
        let timeline = assembly.finish();
        let read = Cell::new(0);
        let frames = (0..STRETCHES).map(|index| {
            read.set(index * STRETCH);
            Ok(without_block(index))
        });
        let mut lag = Lag {
            read: &read,
            most: 0,
            taken: 0,
        };
        mix_down(&timeline, 16_000, None, frames, &mut lag).unwrap();
        assert_eq!(lag.taken, 2 * length);
        assert!(lag.most < 12 * 8_000, "{} ticks behind", lag.most);
    }
}
