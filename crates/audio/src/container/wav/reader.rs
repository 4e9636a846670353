//! Reads the WAVs that [`super`] writes, and those of other programs in the same three codings:
//! RIFF, RF64 (EBU Tech 3306) and BW64 (ITU-R BS.2088).

use std::io::{self, Read};

use thiserror::Error;

use super::Layout;
use super::header::{DS64_BYTES, Form, SEE_DS64, TAG_ALAW, TAG_MULAW, TAG_PCM};
use crate::g711::{self, Law};

/// How the samples of a WAV are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// 16-bit little-endian PCM, format tag 1.
    Pcm16,
    /// One G.711 code a sample, format tag 7 (mu-law) or 6 (A-law).
    G711(Law),
}

impl Coding {
    pub(super) const fn bytes_per_sample(self) -> usize {
        match self {
            Self::Pcm16 => 2,
            Self::G711(_) => 1,
        }
    }
}

/// Why a WAV cannot be read.
#[derive(Debug, Error)]
pub enum WavReadError {
    /// The file does not begin as a WAV.
    #[error("not a RIFF/WAVE file")]
    NotWave,
    /// The `fmt ` chunk is missing, too short, or comes after the samples.
    #[error("the WAV does not say its format before its samples")]
    NoFormat,
    /// An RF64 file does not begin with its 64-bit sizes.
    #[error("the RF64 file does not begin with its sizes")]
    NoSizes,
    /// A format this reader does not know.
    #[error("WAV of format tag {tag} with {bits} bits and {channels} channels is not supported")]
    UnsupportedFormat {
        /// RIFF format tag.
        tag: u16,
        /// Bits per sample.
        bits: u16,
        /// Channels.
        channels: u16,
    },
    /// The data is not a whole number of frames.
    #[error("{bytes} bytes of samples are not whole frames")]
    PartialFrame {
        /// Bytes the header announces.
        bytes: u64,
    },
    /// The samples end before the header says so.
    #[error("the WAV ends {missing_bytes} bytes early")]
    Truncated {
        /// Bytes that should still have come.
        missing_bytes: u64,
    },
    /// The source failed.
    #[error("reading the WAV failed")]
    Io(#[source] io::Error),
}

/// Reads a WAV piece by piece from its start.
#[derive(Debug)]
pub struct Reader<R: Read> {
    source: R,
    form: Form,
    frames: u64,
    bytes_left: u64,
    buffer: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads up to the first sample. Buffer the source: the header is read in small pieces.
    ///
    /// # Errors
    /// Every [`WavReadError`] but [`WavReadError::Truncated`].
    pub fn open(mut source: R) -> Result<Self, WavReadError> {
        let header: [u8; 12] = read_array(&mut source)?;
        let long_data = match (&header[..4], &header[8..]) {
            (b"RIFF", b"WAVE") => None,
            (b"RF64" | b"BW64", b"WAVE") => Some(read_data_size(&mut source)?),
            _ => return Err(WavReadError::NotWave),
        };
        let mut form = None;
        loop {
            let [a, b, c, d, size @ ..]: [u8; 8] = read_array(&mut source)?;
            let size = u32::from_le_bytes(size);
            match &[a, b, c, d] {
                b"fmt " => form = Some(read_format(&mut source, size)?),
                b"data" => {
                    let bytes = match long_data {
                        Some(bytes) if size == SEE_DS64 => bytes,
                        _ => u64::from(size),
                    };
                    return Self::at_samples(source, form.ok_or(WavReadError::NoFormat)?, bytes);
                }
                _ => skip(&mut source, u64::from(size) + u64::from(size % 2))?,
            }
        }
    }

    fn at_samples(source: R, form: Form, bytes: u64) -> Result<Self, WavReadError> {
        if !bytes.is_multiple_of(form.frame_bytes()) {
            return Err(WavReadError::PartialFrame { bytes });
        }
        Ok(Self {
            source,
            form,
            frames: bytes / form.frame_bytes(),
            bytes_left: bytes,
            buffer: Vec::new(),
        })
    }

    /// How the samples are stored.
    #[must_use]
    pub fn coding(&self) -> Coding {
        self.form.coding
    }

    /// The number of channels.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.form.layout
    }

    /// Samples per second and channel.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.form.rate_hz
    }

    /// Frames in the whole file, as its header says.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Reads the next interleaved samples, decoded; returns how many. 0 means the end when
    /// `samples` is not empty.
    ///
    /// # Errors
    /// [`WavReadError::Truncated`], [`WavReadError::Io`].
    pub fn read(&mut self, samples: &mut [i16]) -> Result<usize, WavReadError> {
        let sample_bytes = self.form.coding.bytes_per_sample();
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(samples.len() * sample_bytes, 0);
        let read = self.read_bytes(&mut buffer)?;
        let samples = &mut samples[..read / sample_bytes];
        match self.form.coding {
            Coding::G711(law) => g711::decode_into(law, &buffer[..read], samples),
            Coding::Pcm16 => {
                for (sample, bytes) in samples.iter_mut().zip(buffer.as_chunks::<2>().0) {
                    *sample = i16::from_le_bytes(*bytes);
                }
            }
        }
        self.buffer = buffer;
        Ok(samples.len())
    }

    /// Reads the next bytes as they are stored (G.711 codes, or little-endian PCM); returns how
    /// many. 0 means the end when `bytes` is not empty.
    ///
    /// # Errors
    /// [`WavReadError::Truncated`], [`WavReadError::Io`].
    pub fn read_bytes(&mut self, bytes: &mut [u8]) -> Result<usize, WavReadError> {
        let wanted = (bytes.len() as u64).min(self.bytes_left) as usize;
        let mut read = 0;
        while read < wanted {
            match self.source.read(&mut bytes[read..wanted]) {
                Ok(0) => {
                    let missing_bytes = self.bytes_left - read as u64;
                    return Err(WavReadError::Truncated { missing_bytes });
                }
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WavReadError::Io(error)),
            }
        }
        self.bytes_left -= wanted as u64;
        Ok(wanted)
    }

    /// Reads all remaining interleaved samples, decoded.
    ///
    /// # Errors
    /// [`WavReadError::Truncated`], [`WavReadError::Io`].
    pub fn read_to_end(&mut self) -> Result<Vec<i16>, WavReadError> {
        let mut all = Vec::new();
        let mut piece = [0; 4_096];
        loop {
            match self.read(&mut piece)? {
                0 => return Ok(all),
                read => all.extend_from_slice(&piece[..read]),
            }
        }
    }
}

/// Larger `fmt ` and `ds64` chunks than any format has are not believed.
const LARGEST_FORMAT_BYTES: u32 = 1_024;

/// The size of the samples from the `ds64` chunk, which must come first (EBU Tech 3306).
fn read_data_size(source: &mut impl Read) -> Result<u64, WavReadError> {
    let [a, b, c, d, size @ ..]: [u8; 8] = read_array(source)?;
    let size = u32::from_le_bytes(size);
    if &[a, b, c, d] != b"ds64" || !(DS64_BYTES..=LARGEST_FORMAT_BYTES).contains(&size) {
        return Err(WavReadError::NoSizes);
    }
    let _riff: [u8; 8] = read_array(source)?;
    let data = u64::from_le_bytes(read_array(source)?);
    skip(source, u64::from(size - 16 + size % 2))?;
    Ok(data)
}

fn read_format(source: &mut impl Read, size: u32) -> Result<Form, WavReadError> {
    if !(16..=LARGEST_FORMAT_BYTES).contains(&size) {
        return Err(WavReadError::NoFormat);
    }
    let fields: [u8; 16] = read_array(source)?;
    skip(source, u64::from(size - 16 + size % 2))?;
    let u16_at = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
    let (tag, channels, bits) = (u16_at(0), u16_at(2), u16_at(14));
    let coding = match (tag, bits) {
        (TAG_PCM, 16) => Some(Coding::Pcm16),
        (TAG_ALAW, 8) => Some(Coding::G711(Law::Alaw)),
        (TAG_MULAW, 8) => Some(Coding::G711(Law::Mulaw)),
        _ => None,
    };
    let layout = Layout::with_channels(channels);
    let (Some(coding), Some(layout)) = (coding, layout) else {
        return Err(WavReadError::UnsupportedFormat {
            tag,
            bits,
            channels,
        });
    };
    let rate_hz = u32::from_le_bytes([fields[4], fields[5], fields[6], fields[7]]);
    Ok(Form {
        coding,
        layout,
        rate_hz,
    })
}

fn read_array<const N: usize>(source: &mut impl Read) -> Result<[u8; N], WavReadError> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes).map_err(header_error)?;
    Ok(bytes)
}

fn skip(source: &mut impl Read, bytes: u64) -> Result<(), WavReadError> {
    let skipped = io::copy(&mut source.take(bytes), &mut io::sink()).map_err(header_error)?;
    if skipped == bytes {
        Ok(())
    } else {
        Err(WavReadError::NotWave)
    }
}

fn header_error(error: io::Error) -> WavReadError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => WavReadError::NotWave,
        _ => WavReadError::Io(error),
    }
}
