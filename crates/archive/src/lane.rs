//! One channel, from what the spool holds of it to sound: decoded where it belongs.
//!
//! 1. A coded frame counts at its place, whatever the block of that stretch says there.
//! 2. A decoder goes on over consecutive frames of its codec; what two frames overlap is dropped, a hole
//!    of [`DRIFT_TICKS`] is bridged.
//! 3. A hole that is listed as loss, no longer than [`CONCEALED_TICKS`] and followed by a frame of the
//!    same codec is concealed where the codec can; it is noted by its gap.
//! 4. Everything else without audio is silent.
//! 5. The fixed delay of G.722 is taken out, so that its party does not lie 1.4 ms late beside one in
//!    G.711. Its last samples are heard in the frame that follows, which may be in the next stretch: a
//!    block waits until the lane knows. What Opus and G.729 delay stays, see [`Decoder::decode_on_time`].
//! 6. A party's decoder ends with it: the frames of the next one on the channel are of another encoder.
//! 7. Sound lies up to [`BEHIND_TICKS`] behind what the spool told last, not further: memory is bounded
//!    also where blocks are missing.

use crate::encode::EncodeError;
use crate::frames::placed;
use crate::gap::{Concealed, GapReason};
use crate::stream::Stream;
use crate::timeline::{DRIFT_TICKS, Gap, Placer, gaps_within};
use duolog_audio::codec::{Codec, Concealed as By, Decoder, G729Library};

/// The longest hole that is concealed: 120 ms, as long as the longest packet.
pub(crate) const CONCEALED_TICKS: u64 = 960;

/// A lane about which nothing was said for so long is silent, in ticks: 10 s.
const BEHIND_TICKS: u64 = 10 * BLOCK_RATE_HZ as u64;

/// The blocks' own rate, in Hz.
const BLOCK_RATE_HZ: u32 = crate::format::SAMPLE_RATE_HZ;

/// What was found while decoding.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Gaps, by their first ticks, and how their sound was made.
    pub(crate) concealed: Vec<(u64, Concealed)>,
    /// Stretches of frames that their codec refused, none touching the next.
    pub(crate) undecodable: Vec<(u64, u64)>,
    /// How many frames that were.
    pub(crate) refused: u64,
}

impl Found {
    fn refuse(&mut self, from: u64, until: u64) {
        self.refused += 1;
        match self.undecodable.last_mut() {
            Some((_, end)) if *end == from => *end = until,
            _ => self.undecodable.push((from, until)),
        }
    }
}

/// What a lane is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'t> {
    /// The channel's gaps.
    pub(crate) gaps: &'t [Gap],
    /// Where its party changes, in order.
    pub(crate) turns: &'t [u64],
    /// The recording's length in ticks.
    pub(crate) length: u64,
    /// Of G.729 nothing is decoded without it.
    pub(crate) g729: Option<&'t G729Library>,
}

/// One channel.
pub(crate) struct Lane<'t> {
    source: Source<'t>,
    rate_hz: u32,
    pub(crate) stream: Stream,
    placer: Placer,
    decoder: Option<(Codec, Decoder)>,
    last: Last,
    /// Frames whose block was not heard yet.
    waiting: Vec<Waiting>,
    /// The newest block, until it is known what follows.
    block: Option<Block>,
    decoded: Vec<i16>,
    pub(crate) found: Found,
}

/// Where the newest sound came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Block,
    Coded,
}

#[derive(Debug)]
struct Waiting {
    position: u64,
    until: u64,
    codec: Codec,
    payload: Vec<u8>,
}

impl Waiting {
    /// The payload, if it carries on `earlier` without a hole.
    fn payload_after(&self, earlier: &Waiting) -> Option<&[u8]> {
        let carries_on =
            self.codec == earlier.codec && self.position.abs_diff(earlier.until) <= DRIFT_TICKS;
        carries_on.then_some(&self.payload)
    }
}

/// One channel of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockPart<'s> {
    /// First tick.
    pub(crate) position: u64,
    /// In ticks.
    pub(crate) ticks: u64,
    /// As many samples; none where the block is empty.
    pub(crate) samples: &'s [i16],
}

/// A [`BlockPart`] that waits.
struct Block {
    position: u64,
    ticks: u64,
    samples: Vec<i16>,
}

impl BlockPart<'_> {
    fn end(&self) -> u64 {
        self.position + self.ticks
    }
}

impl<'t> Lane<'t> {
    pub(crate) fn new(source: Source<'t>, rate_hz: u32) -> Lane<'t> {
        Lane {
            source,
            rate_hz,
            stream: Stream::new(rate_hz),
            placer: Placer::default(),
            decoder: None,
            last: Last::Block,
            waiting: Vec::new(),
            block: None,
            decoded: Vec::new(),
            found: Found::default(),
        }
    }

    /// Takes a list of coded frames; they are heard when the block of their stretch comes.
    pub(crate) fn coded(
        &mut self,
        position: u64,
        ticks: u64,
        list: &[u8],
    ) -> Result<(), EncodeError> {
        for frame in placed(position, list).frames {
            let Some(codec) = frame.codec else {
                continue;
            };
            // Nothing is heard behind the end, whatever a list claims.
            if frame.position >= (position + ticks).min(self.source.length) {
                continue;
            }
            let Some(place) = self.placer.place(frame.position, frame.ticks) else {
                continue;
            };
            let until = place.position + place.samples;
            if self.is_decoded(codec) && !self.is_silenced(place.position, until) {
                self.waiting.push(Waiting {
                    position: frame.position,
                    until,
                    codec,
                    payload: frame.payload.to_vec(),
                });
            }
        }
        self.hear_waiting_block()?;
        // A block that never came leaves its frames behind.
        self.frames_before(position, None)
    }

    /// Takes this channel's part of a block.
    pub(crate) fn block(&mut self, part: BlockPart<'_>) -> Result<(), EncodeError> {
        self.hear_waiting_block()?;
        self.block = Some(Block {
            position: part.position,
            ticks: part.ticks,
            samples: part.samples.to_vec(),
        });
        Ok(())
    }

    /// Hears that the recording goes on at tick `position`, in whatever channel.
    pub(crate) fn goes_on(&mut self, position: u64) -> Result<(), EncodeError> {
        let position = position.min(self.source.length);
        if position.saturating_sub(self.stream.at()) <= BEHIND_TICKS {
            return Ok(());
        }
        self.hear_waiting_block()?;
        self.frames_before(position, None)?;
        self.stream
            .silence(position.saturating_sub(CONCEALED_TICKS));
        Ok(())
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&mut self) -> Result<(), EncodeError> {
        self.hear_waiting_block()?;
        self.frames_before(u64::MAX, None)?;
        self.stream.silence(self.source.length);
        self.stream.end_stretch();
        Ok(())
    }

    fn hear_waiting_block(&mut self) -> Result<(), EncodeError> {
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        let part = BlockPart {
            position: block.position,
            ticks: block.ticks,
            samples: &block.samples,
        };
        self.frames_before(part.end(), Some(part))?;
        self.hear_block(part, part.end())?;
        // A short hole may turn out to be one that the next frame helps to conceal.
        if part.end().saturating_sub(self.stream.at()) > CONCEALED_TICKS {
            self.stream.silence(part.end());
        }
        Ok(())
    }

    fn is_decoded(&self, codec: Codec) -> bool {
        codec != Codec::G729 || self.source.g729.is_some()
    }

    /// Whether nothing of a stretch may be heard: then it does not even go into a decoder's memory.
    fn is_silenced(&self, from: u64, until: u64) -> bool {
        let mut gaps = gaps_within(self.source.gaps, from, until).iter();
        gaps.any(|gap| {
            gap.reason == GapReason::Paused && gap.position <= from && until <= gap.end()
        })
    }

    fn frames_before(
        &mut self,
        position: u64,
        part: Option<BlockPart<'_>>,
    ) -> Result<(), EncodeError> {
        let count = self
            .waiting
            .partition_point(|frame| frame.position < position);
        let mut frames = self.waiting.drain(..count).collect::<Vec<_>>().into_iter();
        while let Some(frame) = frames.next() {
            if let Some(part) = part {
                self.hear_block(part, frame.position)?;
            }
            self.change_party(frame.position);
            self.cross(frame.position, &frame)?;
            let turn = self.source.turns.first().copied().unwrap_or(u64::MAX);
            let next = frames.as_slice().first().or(self.waiting.first());
            let next = next.filter(|next| next.position < turn);
            let next = next.and_then(|next| next.payload_after(&frame));
            let next = next.map(<[u8]>::to_vec);
            self.frame(&frame, next.as_deref())?;
        }
        Ok(())
    }

    /// Hears the block up to tick `until`, where it is this channel's sound: everywhere when the last
    /// sound was a block's, and otherwise from where no gap is listed. A coded channel's part of a block
    /// is silence that stands for nothing.
    fn hear_block(&mut self, part: BlockPart<'_>, until: u64) -> Result<(), EncodeError> {
        let until = until.min(part.end());
        let mut from = self.stream.at().max(part.position);
        if part.samples.is_empty() || from >= until {
            return Ok(());
        }
        if self.last == Last::Coded {
            for gap in gaps_within(self.source.gaps, from, until) {
                if gap.position > from + DRIFT_TICKS {
                    break;
                }
                from = gap.end();
            }
            if from + DRIFT_TICKS >= until {
                return Ok(());
            }
            self.last = Last::Block;
        }
        self.stream.silence(from);
        let first = (from - part.position) as usize;
        let end = (until - part.position) as usize;
        let samples = &part.samples[first..end];
        Ok(self.stream.sound(until, BLOCK_RATE_HZ, samples)?)
    }

    /// A frame of the party that is on the channel at `position` comes.
    fn change_party(&mut self, position: u64) {
        while let Some((turn, later)) = self.source.turns.split_first()
            && *turn <= position
        {
            self.source.turns = later;
            self.decoder = None;
        }
    }

    /// Goes over a hole in front of a frame.
    fn cross(&mut self, position: u64, next: &Waiting) -> Result<(), EncodeError> {
        let at = self.stream.at();
        if position <= at {
            return Ok(());
        }
        if position - at <= DRIFT_TICKS && self.last == Last::Coded {
            self.stream.hold(position);
            return Ok(());
        }
        let Some(gap) = self.concealable(at, position) else {
            self.stream.silence(position);
            return Ok(());
        };
        let rate_hz = decoded_rate_hz(next.codec, self.rate_hz);
        let samples = self.stream.wanted(position, rate_hz);
        self.decoded.clear();
        let how = match &mut self.decoder {
            Some((codec, decoder)) if *codec == next.codec && self.last == Last::Coded => {
                decoder.conceal(samples, Some(&next.payload), &mut self.decoded)
            }
            _ => By::Silence,
        };
        let how = match how {
            By::Recovered => Concealed::Fec,
            By::Synthetic => Concealed::Plc,
            By::Silence => {
                self.stream.silence(position);
                return Ok(());
            }
        };
        self.found.concealed.push((gap, how));
        Ok(self.stream.sound(position, rate_hz, &self.decoded)?)
    }

    /// The first tick of the gap that is this hole, if it is a loss that may be concealed.
    fn concealable(&self, from: u64, until: u64) -> Option<u64> {
        let mut gaps = gaps_within(self.source.gaps, from, until).iter();
        let hole = |gap: &&Gap| {
            gap.reason == GapReason::Loss
                && gap.samples <= CONCEALED_TICKS
                && gap.position.abs_diff(from) <= DRIFT_TICKS
                && gap.end() + DRIFT_TICKS >= until
        };
        gaps.find(hole).map(|gap| gap.position)
    }

    fn frame(&mut self, frame: &Waiting, next: Option<&[u8]>) -> Result<(), EncodeError> {
        let from = self.stream.at();
        let until = frame.until.min(self.source.length);
        if until <= from {
            return Ok(());
        }
        let rate_hz = decoded_rate_hz(frame.codec, self.rate_hz);
        self.decoded.clear();
        let decoder = match &mut self.decoder {
            Some((codec, decoder)) if *codec == frame.codec => Ok(decoder),
            none => {
                let made = Decoder::new(frame.codec, rate_hz, self.source.g729);
                made.map(|decoder| &mut none.insert((frame.codec, decoder)).1)
            }
        };
        let decoded =
            decoder.and_then(|d| d.decode_on_time(&frame.payload, next, &mut self.decoded));
        self.last = Last::Coded;
        if decoded.is_err() {
            self.found.refuse(from, until);
            self.stream.silence(until);
            return Ok(());
        }
        let ticks = from.saturating_sub(frame.position);
        let second = u64::from(BLOCK_RATE_HZ);
        let overlap = (ticks * u64::from(rate_hz) + second / 2) / second;
        let rest = self.decoded.get(overlap as usize..).unwrap_or_default();
        Ok(self.stream.sound(until, rate_hz, rest)?)
    }
}

/// The rate in which a codec is decoded for a file: Opus in the file's own.
fn decoded_rate_hz(codec: Codec, file_hz: u32) -> u32 {
    match codec {
        Codec::Opus => file_hz,
        codec => codec.sample_rate_hz(),
    }
}
