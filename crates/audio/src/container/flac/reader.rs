//! Reads 16-bit FLAC of one or two channels, to the bit.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use flac_codec::decode::{FlacSampleReader, Metadata};
use thiserror::Error;

use super::{BITS, Layout};

/// Why a FLAC file cannot be read.
#[derive(Debug, Error)]
pub enum FlacReadError {
    /// The file does not begin as FLAC.
    #[error("not a FLAC file")]
    NotFlac,
    /// Not 16 bits, or more channels than two.
    #[error("FLAC of {bits} bits and {channels} channels is not supported")]
    Unsupported {
        /// Bits per sample.
        bits: u32,
        /// Channels.
        channels: u8,
    },
    /// The header was never completed: it does not say how long the file is.
    #[error("the FLAC file was not finished, it ends after {frames} frames")]
    Unfinished {
        /// Frames given before the end.
        frames: u64,
    },
    /// The blocks do not hold as many frames as the header says.
    #[error("{found} frames where the FLAC file says {expected}")]
    LengthDiffers {
        /// Frames in the header.
        expected: u64,
        /// Frames decoded.
        found: u64,
    },
    /// All frames are there and are not those that were encoded.
    #[error("the samples of the FLAC file do not have its checksum")]
    Checksum,
    /// A block that nobody encoded like this.
    #[error("a block of the FLAC file cannot be decoded")]
    Block,
    /// A damaged header or block (they have checksums), or the file ends early.
    #[error("the FLAC file is damaged or cannot be read")]
    Decoder(#[source] flac_codec::Error),
}

/// Decodes a file block by block from its start.
pub struct Reader<R: Read> {
    decoder: FlacSampleReader<R>,
    layout: Layout,
    /// Frames in the header.
    expected: Option<u64>,
    decoded: u64,
    md5: md5::Context,
    block: Vec<i16>,
    /// After a block that made the decoder panic nothing more is asked of it.
    broken: bool,
}

impl<R: Read> Reader<R> {
    /// Reads up to the first block. Buffer the source: it is read in small pieces.
    ///
    /// # Errors
    /// [`FlacReadError::NotFlac`], [`FlacReadError::Unsupported`], [`FlacReadError::Decoder`].
    pub fn open(source: R) -> Result<Self, FlacReadError> {
        let decoder = FlacSampleReader::new(source).map_err(|error| match error {
            flac_codec::Error::MissingFlacTag => FlacReadError::NotFlac,
            flac_codec::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                FlacReadError::NotFlac
            }
            other => FlacReadError::Decoder(other),
        })?;
        let (bits, channels) = (decoder.bits_per_sample(), decoder.channel_count());
        let layout = Layout::with_channels(u16::from(channels)).filter(|_| bits == BITS);
        Ok(Self {
            layout: layout.ok_or(FlacReadError::Unsupported { bits, channels })?,
            expected: decoder.total_samples(),
            decoder,
            decoded: 0,
            md5: md5::Context::new(),
            block: Vec::new(),
            broken: false,
        })
    }

    /// The number of channels.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Samples per second and channel.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.decoder.sample_rate()
    }

    /// Frames in the whole file, as its header says; 0 for an empty or an unfinished file.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.expected.unwrap_or(0)
    }

    /// The next interleaved samples, a block of them; `None` after the last, when length and
    /// checksum were found right.
    ///
    /// # Errors
    /// [`FlacReadError::Unfinished`], [`FlacReadError::LengthDiffers`],
    /// [`FlacReadError::Checksum`], [`FlacReadError::Block`], [`FlacReadError::Decoder`].
    pub fn next_samples(&mut self) -> Result<Option<&[i16]>, FlacReadError> {
        // The decoder must not be asked for more than the header promises.
        if self.expected.is_some_and(|frames| self.decoded >= frames) {
            return self.end().map(|()| None);
        }
        let length = self.decode_block()?;
        if length == 0 {
            return self.end().map(|()| None);
        }
        let bytes: Vec<u8> = self.block.iter().flat_map(|s| s.to_le_bytes()).collect();
        self.md5.consume(&bytes);
        self.decoded += (length / self.layout.channels()) as u64;
        match self.expected {
            Some(expected) if self.decoded > expected => Err(self.length_differs(expected)),
            _ => Ok(Some(&self.block)),
        }
    }

    /// Decodes all remaining interleaved samples.
    ///
    /// # Errors
    /// As [`Reader::next_samples`].
    pub fn read_to_end(&mut self) -> Result<Vec<i16>, FlacReadError> {
        let mut all = Vec::new();
        while let Some(samples) = self.next_samples()? {
            all.extend_from_slice(samples);
        }
        Ok(all)
    }

    /// Decodes a block into ours; returns its samples, 0 at the end of the source.
    fn decode_block(&mut self) -> Result<usize, FlacReadError> {
        if self.broken {
            return Err(FlacReadError::Block);
        }
        self.block.clear();
        let (decoder, block) = (&mut self.decoder, &mut self.block);
        // flac-codec checks a block's checksum after it predicted its samples, and predicting from
        // damaged numbers overflows: a panic where overflow is checked, garbage that fails the
        // checksum where it is not. What is left half decoded is never used again.
        let decode = AssertUnwindSafe(|| {
            let samples = decoder.fill_buf()?;
            let length = samples.len();
            // The decoder gives no larger samples than the 16 bits it was opened for.
            block.extend(samples.iter().map(|&sample| sample as i16));
            decoder.consume(length);
            Ok(length)
        });
        match catch_unwind(decode) {
            Ok(length) => length.map_err(FlacReadError::Decoder),
            Err(_) => {
                self.broken = true;
                Err(FlacReadError::Block)
            }
        }
    }

    fn end(&self) -> Result<(), FlacReadError> {
        let md5 = self.decoder.md5().copied().unwrap_or_default();
        match self.expected {
            None if self.decoded > 0 || md5 == [0; 16] => Err(FlacReadError::Unfinished {
                frames: self.decoded,
            }),
            Some(expected) if self.decoded != expected => Err(self.length_differs(expected)),
            // A file without a checksum was made by another program.
            _ if md5 != [0; 16] && md5 != self.md5.clone().finalize().0 => {
                Err(FlacReadError::Checksum)
            }
            _ => Ok(()),
        }
    }

    fn length_differs(&self, expected: u64) -> FlacReadError {
        FlacReadError::LengthDiffers {
            expected,
            found: self.decoded,
        }
    }
}
