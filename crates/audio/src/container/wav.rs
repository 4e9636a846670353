//! RIFF/WAVE: 16-bit PCM, and G.711 as it was received, of any length.
//!
//! Samples and codes are pushed interleaved, whole frames only. Sizes in a RIFF file are 32 bits.
//! Nobody knows how long a recording becomes, so every file keeps room for 64-bit ones:
//!
//! 1. A file begins as RIFF with a `JUNK` chunk of 28 bytes, which every reader passes over.
//! 2. [`Pcm16Writer::finish`] and [`G711Writer::finish`] go back and write the sizes.
//! 3. When they do not fit 32 bits, `RIFF` becomes `RF64`, `JUNK` becomes `ds64` with the sizes,
//!    and the 32-bit fields become 0xFFFFFFFF (EBU Tech 3306, ITU-R BS.2088).
//!
//! `hound` cannot leave that room and lets sizes wrap at 4 GiB, so it reads in the tests but does
//! not write.

mod header;
mod reader;
#[cfg(test)]
mod tests;

use std::io::{self, Seek, SeekFrom, Write};

use thiserror::Error;

use self::header::Form;
pub use self::reader::{Coding, Reader, WavReadError};
pub use super::Layout;
use crate::SAMPLE_RATE_HZ;
use crate::g711::{self, Law};

/// Why a WAV was not written.
#[derive(Debug, Error)]
pub enum WavError {
    /// A push was not a whole number of frames; nothing of it was written.
    #[error("{samples} samples are not whole frames of {channels} channels")]
    PartialFrame {
        /// Samples in the push.
        samples: usize,
        /// Channels of the file.
        channels: usize,
    },
    /// The sink failed.
    #[error("writing the WAV failed")]
    Io(#[from] io::Error),
}

/// Writes 16-bit PCM. Without [`Pcm16Writer::finish`] the file's sizes are wrong.
pub struct Pcm16Writer<W: Write + Seek> {
    body: Body<W>,
    /// Samples on their way to bytes.
    bytes: Vec<u8>,
}

impl<W: Write + Seek> Pcm16Writer<W> {
    /// Begins a file of 8,000 samples per second; see [`Pcm16Writer::with_rate`].
    ///
    /// # Errors
    /// [`WavError::Io`] when the sink fails.
    pub fn new(sink: W, layout: Layout) -> Result<Self, WavError> {
        Self::with_rate(sink, layout, SAMPLE_RATE_HZ)
    }

    /// Begins a file of `rate_hz` samples per second and channel, at the start of an empty sink.
    ///
    /// # Errors
    /// [`WavError::Io`] when the sink fails.
    pub fn with_rate(sink: W, layout: Layout, rate_hz: u32) -> Result<Self, WavError> {
        let form = Form {
            coding: Coding::Pcm16,
            layout,
            rate_hz,
        };
        Ok(Self {
            body: Body::begin(sink, form)?,
            bytes: Vec::new(),
        })
    }

    /// Appends interleaved samples.
    ///
    /// # Errors
    /// [`WavError::PartialFrame`] before writing; [`WavError::Io`].
    pub fn push(&mut self, interleaved: &[i16]) -> Result<(), WavError> {
        let frames = self.body.whole_frames(interleaved.len())?;
        for piece in interleaved.chunks(PIECE_BYTES / 2) {
            self.bytes.clear();
            self.bytes
                .extend(piece.iter().flat_map(|sample| sample.to_le_bytes()));
            self.body.sink.write_all(&self.bytes)?;
        }
        self.body.frames += frames;
        Ok(())
    }

    /// Appends `frames` frames of silence. Long stretches are passed over by seeking, which
    /// leaves a hole in a file: they take neither time nor room.
    ///
    /// # Errors
    /// [`WavError::Io`] when the sink fails.
    pub fn push_silence(&mut self, frames: u64) -> Result<(), WavError> {
        let bytes = frames * self.body.form.frame_bytes();
        if bytes > PIECE_BYTES as u64 {
            // The last byte is written so that the sink is as long as it would be.
            let hole = i64::try_from(bytes - 1).expect("no file is 2^63 bytes long");
            self.body.sink.seek(SeekFrom::Current(hole))?;
            self.body.sink.write_all(&[0])?;
        } else {
            self.body.fill(0, bytes)?;
        }
        self.body.frames += frames;
        Ok(())
    }

    /// Writes the sizes into the header and flushes the sink.
    ///
    /// # Errors
    /// [`WavError::Io`] when the sink fails.
    pub fn finish(self) -> Result<(), WavError> {
        self.body.finish().map(drop)
    }
}

/// Writes G.711 codes as they are. Without [`G711Writer::finish`] the file's sizes are wrong.
pub struct G711Writer<W: Write + Seek> {
    body: Body<W>,
    law: Law,
}

impl<W: Write + Seek> G711Writer<W> {
    /// Begins a file of 8,000 codes per second; see [`G711Writer::with_rate`].
    ///
    /// # Errors
    /// [`WavError::Io`] when the sink fails.
    pub fn streaming(sink: W, law: Law, layout: Layout) -> Result<Self, WavError> {
        Self::with_rate(sink, law, layout, SAMPLE_RATE_HZ)
    }

    /// Begins a file of `rate_hz` codes per second and channel, at the start of an empty sink.
    ///
    /// # Errors
    /// [`WavError::Io`] when the sink fails.
    pub fn with_rate(sink: W, law: Law, layout: Layout, rate_hz: u32) -> Result<Self, WavError> {
        let form = Form {
            coding: Coding::G711(law),
            layout,
            rate_hz,
        };
        let body = Body::begin(sink, form)?;
        Ok(Self { body, law })
    }

    /// Appends interleaved codes.
    ///
    /// # Errors
    /// [`WavError::PartialFrame`] before writing; [`WavError::Io`].
    pub fn push(&mut self, interleaved: &[u8]) -> Result<(), WavError> {
        let frames = self.body.whole_frames(interleaved.len())?;
        self.body.sink.write_all(interleaved)?;
        self.body.frames += frames;
        Ok(())
    }

    /// Appends `frames` frames of silence, which in G.711 is no zero and is written.
    ///
    /// # Errors
    /// [`WavError::Io`] when the sink fails.
    pub fn push_silence(&mut self, frames: u64) -> Result<(), WavError> {
        let bytes = frames * self.body.form.frame_bytes();
        self.body.fill(g711::silence(self.law), bytes)?;
        self.body.frames += frames;
        Ok(())
    }

    /// Pads odd data, writes the sizes into the header, flushes, returns the sink.
    ///
    /// # Errors
    /// [`WavError::Io`] when the sink fails.
    pub fn finish(self) -> Result<W, WavError> {
        self.body.finish()
    }
}

/// Most bytes that are written at once.
const PIECE_BYTES: usize = 65_536;

/// A file being written, whatever its coding.
struct Body<W: Write + Seek> {
    sink: W,
    form: Form,
    frames: u64,
    /// The RIFF size from which the file becomes RF64.
    rf64_from: u64,
}

impl<W: Write + Seek> Body<W> {
    fn begin(mut sink: W, form: Form) -> Result<Self, WavError> {
        let rf64_from = u64::from(u32::MAX);
        sink.write_all(&form.header(0, rf64_from))?;
        Ok(Self {
            sink,
            form,
            frames: 0,
            rf64_from,
        })
    }

    fn whole_frames(&self, samples: usize) -> Result<u64, WavError> {
        let channels = self.form.layout.channels();
        match samples.is_multiple_of(channels) {
            true => Ok((samples / channels) as u64),
            false => Err(WavError::PartialFrame { samples, channels }),
        }
    }

    fn fill(&mut self, byte: u8, bytes: u64) -> Result<(), WavError> {
        let piece = vec![byte; bytes.min(PIECE_BYTES as u64) as usize];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(piece.len() as u64);
            self.sink.write_all(&piece[..now as usize])?;
            left -= now;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<W, WavError> {
        if !(self.frames * self.form.frame_bytes()).is_multiple_of(2) {
            self.sink.write_all(&[0])?;
        }
        self.sink.seek(SeekFrom::Start(0))?;
        self.sink
            .write_all(&self.form.header(self.frames, self.rf64_from))?;
        self.sink.seek(SeekFrom::End(0))?;
        self.sink.flush()?;
        Ok(self.sink)
    }
}
