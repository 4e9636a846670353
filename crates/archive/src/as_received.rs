//! Copies G.711 codes into a WAV as they were received, without decoding them on the way.

use crate::encode::{EncodeError, Meter};
use crate::format::{SAMPLE_RATE_HZ, SampleFormat};
use crate::manifest::Level;
use crate::sink::SinkError;
use crate::timeline::{Placer, Timeline, gaps_within};
use duolog_audio::container::wav::G711Writer;
use duolog_audio::g711::{self, Law};
use duolog_spool::{Frame, ReadError};
use std::io::{Seek, Write};

/// Copies a recording whose blocks are all of one law; gives the level of each channel.
pub(crate) fn copy<W: Write + Seek>(
    timeline: &Timeline,
    law: Law,
    frames: impl Iterator<Item = Result<Frame, ReadError>>,
    sink: W,
) -> Result<Vec<Level>, EncodeError> {
    let channels = timeline.sides().len();
    let mut copier = Copier {
        timeline,
        law,
        writer: G711Writer::streaming(sink, law, timeline.layout()).map_err(SinkError::from)?,
        placer: Placer::default(),
        meter: Meter::new(timeline, SAMPLE_RATE_HZ),
        written: 0,
        codes: Vec::new(),
        decoded: vec![Vec::new(); channels],
    };
    for frame in frames {
        if let Frame::Audio {
            position,
            format,
            samples,
            payload,
        } = frame?
        {
            copier.block(position, u64::from(samples), format, &payload)?;
        }
    }
    copier.silence_until(timeline.length)?;
    if copier.written != timeline.length {
        let (expected, written) = (timeline.length, copier.written);
        return Err(EncodeError::SpoolChanged { expected, written });
    }
    copier.writer.finish().map_err(SinkError::from)?;
    Ok(copier.meter.levels())
}

struct Copier<'t, W: Write + Seek> {
    timeline: &'t Timeline,
    law: Law,
    writer: G711Writer<W>,
    placer: Placer,
    meter: Meter<'t>,
    /// Codes per channel in the file.
    written: u64,
    codes: Vec<u8>,
    decoded: Vec<Vec<i16>>,
}

impl<W: Write + Seek> Copier<'_, W> {
    fn block(
        &mut self,
        position: u64,
        samples: u64,
        format: u8,
        payload: &[u8],
    ) -> Result<(), EncodeError> {
        let law = SampleFormat::from_code(format).and_then(SampleFormat::law);
        // What the first reading refused, this one must refuse too.
        let possible = position.saturating_add(samples) <= crate::assemble::MAX_TICKS;
        if !possible || law != Some(self.law) || 2 * samples != payload.len() as u64 {
            return Ok(());
        }
        let Some(place) = self.placer.place(position, samples) else {
            return Ok(());
        };
        self.silence_until(place.position)?;
        let pairs = &payload.as_chunks::<2>().0[place.skip as usize..];
        let channels = self.decoded.len();
        self.codes.clear();
        self.codes
            .extend(pairs.iter().flat_map(|pair| &pair[..channels]));
        self.silence_gaps(place.position, place.samples);
        for (channel, decoded) in self.decoded.iter_mut().enumerate() {
            let codes = self.codes.iter().skip(channel).step_by(channels);
            decoded.clear();
            decoded.extend(codes.map(|&code| g711::decode(self.law, code)));
        }
        self.meter.measure(place.position, &self.decoded);
        self.writer.push(&self.codes).map_err(SinkError::from)?;
        self.written = place.position + place.samples;
        Ok(())
    }

    fn silence_until(&mut self, position: u64) -> Result<(), EncodeError> {
        let silent = position.saturating_sub(self.written);
        self.writer.push_silence(silent).map_err(SinkError::from)?;
        self.written += silent;
        Ok(())
    }

    /// Overwrites what must not be heard, also what a faulty writer may have kept of a pause.
    fn silence_gaps(&mut self, position: u64, samples: u64) {
        let (until, channels) = (position + samples, self.decoded.len());
        let silence = g711::silence(self.law);
        for channel in 0..channels {
            for gap in gaps_within(&self.timeline.gaps[channel], position, until) {
                if !gap.reason.is_silenced() {
                    continue;
                }
                let from = (gap.position.max(position) - position) as usize;
                let end = (gap.end().min(until) - position) as usize;
                let codes = self.codes.iter_mut().skip(channel).step_by(channels);
                codes.take(end).skip(from).for_each(|code| *code = silence);
            }
        }
    }
}
