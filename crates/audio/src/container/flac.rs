//! FLAC (RFC 9639): 16-bit samples, any length up to 2^36 frames, smaller than a WAV and as exact.
//!
//! 1. A file begins as `fLaC` and a `STREAMINFO` that knows neither length nor checksum.
//! 2. Each block is 4,096 frames, the last one what is left. Blocks carry their number and
//!    checksums, so an unfinished file can be played up to its last whole block.
//! 3. [`Writer::finish`] goes back and writes the `STREAMINFO` again, with the number of frames
//!    and the MD5 of the samples (RFC 9639 §8.2).

mod reader;

use std::cell::RefCell;
use std::io::{self, Seek, SeekFrom, Write};
use std::rc::Rc;

use flac_codec::encode::{FlacStreamWriter, Options, OptionsError};
use thiserror::Error;

pub use self::reader::{FlacReadError, Reader};
pub use super::Layout;

/// Frames in a block: the most usual size, and within the streamable subset (RFC 9639 §7).
const BLOCK: usize = 4_096;

/// `STREAMINFO` counts frames in 36 bits (RFC 9639 §8.2).
const MOST_FRAMES: u64 = (1 << 36) - 1;

/// Bits of every sample.
const BITS: u32 = 16;

/// Why a FLAC file was not written.
#[derive(Debug, Error)]
pub enum FlacError {
    /// A sample rate no block header can name (RFC 9639 §9.1.2).
    #[error("{rate_hz} Hz is no sample rate of FLAC")]
    Rate {
        /// As given.
        rate_hz: u32,
    },
    /// A push was not a whole number of frames; nothing of it was taken.
    #[error("{samples} samples are not whole frames of {channels} channels")]
    PartialFrame {
        /// Samples in the push.
        samples: usize,
        /// Channels of the file.
        channels: usize,
    },
    /// The audio does not fit the 36-bit length of a FLAC file; nothing of the push was taken.
    #[error("{frames} frames do not fit a FLAC file")]
    TooLong {
        /// Frames the file would have held.
        frames: u64,
    },
    /// The encoder refuses its options.
    #[error("the FLAC encoder was set wrongly")]
    Options(#[from] OptionsError),
    /// The encoder failed.
    #[error("the FLAC encoder failed")]
    Encoder(#[from] flac_codec::Error),
    /// The sink failed.
    #[error("writing the FLAC file failed")]
    Io(#[from] io::Error),
}

/// Encodes samples into FLAC. Without [`Writer::finish`] the file lacks its end, its length and
/// its checksum.
pub struct Writer<W: Write + Seek> {
    sink: W,
    encoder: FlacStreamWriter<Encoded>,
    /// What the encoder wrote and the sink has not got yet.
    encoded: Encoded,
    stream: Stream,
    /// Interleaved samples of the block being filled.
    block: Vec<i32>,
    md5: md5::Context,
    /// Frames pushed.
    pushed: u64,
}

/// The bytes of a block between the encoder, which keeps its sink to itself, and ours.
#[derive(Clone, Default)]
struct Encoded(Rc<RefCell<Vec<u8>>>);

impl Write for Encoded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file of `rate_hz` samples per second and channel, at the start of an empty sink.
    ///
    /// # Errors
    /// [`FlacError::Rate`] before writing; [`FlacError::Io`].
    pub fn new(mut sink: W, layout: Layout, rate_hz: u32) -> Result<Self, FlacError> {
        // RFC 9639 §9.1.2: a header names a rate in kHz, in Hz, or in tens of Hz.
        let nameable = rate_hz <= 65_535 || rate_hz <= 655_350 && rate_hz.is_multiple_of(10);
        if rate_hz == 0 || !nameable {
            return Err(FlacError::Rate { rate_hz });
        }
        let stream = Stream {
            layout,
            rate_hz,
            block_bytes: None,
        };
        sink.write_all(&stream.header(0, [0; 16]))?;
        let encoded = Encoded::default();
        let options = Options::default().block_size(BLOCK as u16)?;
        Ok(Self {
            sink,
            encoder: FlacStreamWriter::new(encoded.clone(), options),
            encoded,
            stream,
            block: Vec::with_capacity(BLOCK * layout.channels()),
            md5: md5::Context::new(),
            pushed: 0,
        })
    }

    /// Appends interleaved samples, as many frames as the caller likes.
    ///
    /// # Errors
    /// [`FlacError::PartialFrame`], [`FlacError::TooLong`] before anything is taken;
    /// [`FlacError::Encoder`], [`FlacError::Io`].
    pub fn push(&mut self, interleaved: &[i16]) -> Result<(), FlacError> {
        let (samples, channels) = (interleaved.len(), self.stream.layout.channels());
        if !samples.is_multiple_of(channels) {
            return Err(FlacError::PartialFrame { samples, channels });
        }
        self.count((samples / channels) as u64)?;
        let mut rest = interleaved;
        while !rest.is_empty() {
            let room = BLOCK * channels - self.block.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.block.extend(now.iter().copied().map(i32::from));
            self.encode_full_block()?;
            rest = later;
        }
        Ok(())
    }

    /// Appends `frames` frames of silence.
    ///
    /// # Errors
    /// [`FlacError::TooLong`] before anything is taken; [`FlacError::Encoder`], [`FlacError::Io`].
    pub fn push_silence(&mut self, frames: u64) -> Result<(), FlacError> {
        self.count(frames)?;
        let channels = self.stream.layout.channels();
        let mut left = frames;
        while left > 0 {
            let room = BLOCK - self.block.len() / channels;
            let now = left.min(room as u64);
            self.block
                .resize(self.block.len() + now as usize * channels, 0);
            self.encode_full_block()?;
            left -= now;
        }
        Ok(())
    }

    /// Encodes what is left, writes length and checksum into the header, flushes, returns the sink.
    ///
    /// # Errors
    /// [`FlacError::Encoder`], [`FlacError::Io`].
    pub fn finish(mut self) -> Result<W, FlacError> {
        if !self.block.is_empty() {
            self.encode_block()?;
        }
        let md5 = self.md5.finalize().0;
        self.sink.seek(SeekFrom::Start(0))?;
        self.sink.write_all(&self.stream.header(self.pushed, md5))?;
        self.sink.seek(SeekFrom::End(0))?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn count(&mut self, more: u64) -> Result<(), FlacError> {
        let frames = self.pushed.saturating_add(more);
        if frames > MOST_FRAMES {
            return Err(FlacError::TooLong { frames });
        }
        self.pushed = frames;
        Ok(())
    }

    fn encode_full_block(&mut self) -> Result<(), FlacError> {
        match self.block.len() == BLOCK * self.stream.layout.channels() {
            true => self.encode_block(),
            false => Ok(()),
        }
    }

    fn encode_block(&mut self) -> Result<(), FlacError> {
        let mut bytes = Vec::with_capacity(2 * self.block.len());
        for &sample in &self.block {
            bytes.extend_from_slice(&(sample as i16).to_le_bytes());
        }
        self.md5.consume(&bytes);
        let Stream {
            layout, rate_hz, ..
        } = self.stream;
        let channels = layout.channels() as u8;
        self.encoder.write(rate_hz, channels, BITS, &self.block)?;
        self.block.clear();
        let mut encoded = self.encoded.0.borrow_mut();
        self.stream.count_block(encoded.len() as u32);
        self.sink.write_all(&encoded)?;
        encoded.clear();
        Ok(())
    }
}

/// What `STREAMINFO` says besides length and checksum.
#[derive(Debug, Clone, Copy)]
struct Stream {
    layout: Layout,
    rate_hz: u32,
    /// Bytes of the smallest and the largest block so far.
    block_bytes: Option<(u32, u32)>,
}

impl Stream {
    fn count_block(&mut self, bytes: u32) {
        let (least, most) = self.block_bytes.unwrap_or((bytes, bytes));
        self.block_bytes = Some((least.min(bytes), most.max(bytes)));
    }

    /// The file before its first block (RFC 9639 §8.1, §8.2), numbers big-endian:
    ///
    /// ```text
    ///  0 "fLaC" | u8 0x80 (last metadata block, STREAMINFO) | u24 34
    ///  8 u16 4096, u16 4096 frames a block | u24 smallest, u24 largest block in bytes (0: unknown)
    /// 18 u20 rate | u3 channels-1 | u5 bits-1 | u36 frames (0: unknown)
    /// 26 MD5 of the samples as little-endian bytes (0: unknown)
    /// ```
    fn header(&self, frames: u64, md5: [u8; 16]) -> Vec<u8> {
        let mut header = b"fLaC\x80\0\0\x22".to_vec();
        let block = (BLOCK as u16).to_be_bytes();
        header.extend([block, block].concat());
        let (least, most) = self.block_bytes.unwrap_or_default();
        header.extend_from_slice(&least.to_be_bytes()[1..]);
        header.extend_from_slice(&most.to_be_bytes()[1..]);
        let channels = self.layout.channels() as u64 - 1;
        let numbers = u64::from(self.rate_hz) << 44 | channels << 41 | u64::from(BITS - 1) << 36;
        header.extend_from_slice(&(numbers | frames).to_be_bytes());
        header.extend_from_slice(&md5);
        header
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn file(layout: Layout, rate_hz: u32, samples: &[i16], piece: usize) -> Vec<u8> {
        let mut writer = Writer::new(Cursor::new(Vec::new()), layout, rate_hz).expect("begun");
        for piece in samples.chunks(piece * layout.channels()) {
            writer.push(piece).expect("pushed");
        }
        writer.finish().expect("finished").into_inner()
    }

    /// Something of a voice with noise and full-scale samples in it.
    fn sound(samples: usize) -> Vec<i16> {
        let mut state = 1_u32;
        let sample = |at: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match at % 1_000 {
                0 => i16::MIN,
                1 => i16::MAX,
                _ => ((at as f64 * 0.07).sin() * 9_000.0) as i16 + (state >> 24) as i16,
            }
        };
        (0..samples).map(sample).collect()
    }

    fn all(file: &[u8]) -> Vec<i16> {
        let mut reader = Reader::open(file).expect("opened");
        reader.read_to_end().expect("read")
    }

    #[test]
    fn what_was_written_is_read_to_the_bit() {
        for rate_hz in [
            8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000,
        ] {
            for layout in [Layout::Mono, Layout::Stereo] {
                let samples = sound(2 * 9_001);
                let file = file(layout, rate_hz, &samples, 1_000);
                let reader = Reader::open(&file[..]).expect("opened");
                assert_eq!(
                    (reader.sample_rate_hz(), reader.layout()),
                    (rate_hz, layout)
                );
                assert_eq!(reader.frames(), (samples.len() / layout.channels()) as u64);
                assert_eq!(all(&file), samples);
            }
        }
    }

    #[test]
    fn every_length_is_kept() {
        let edges = [4_095, 4_096, 4_097, 8_191, 8_192, 8_193];
        for frames in (0..40).chain(edges) {
            for layout in [Layout::Mono, Layout::Stereo] {
                let samples = sound(frames * layout.channels());
                assert_eq!(all(&file(layout, 8_000, &samples, 4_096)), samples);
            }
        }
    }

    #[test]
    fn how_samples_are_pushed_does_not_matter() {
        let samples = sound(2 * 10_000);
        let whole = file(Layout::Stereo, 16_000, &samples, 10_000);
        for piece in [1, 7, 160, 4_095, 4_096, 4_097] {
            assert_eq!(file(Layout::Stereo, 16_000, &samples, piece), whole);
        }
    }

    #[test]
    fn silence_is_what_zeros_would_be() {
        for frames in [0, 1, 4_095, 4_096, 4_097, 100_000] {
            let mut writer =
                Writer::new(Cursor::new(Vec::new()), Layout::Stereo, 8_000).expect("begun");
            writer.push(&[1, 2]).expect("pushed");
            writer.push_silence(frames).expect("pushed");
            writer.push(&[3, 4]).expect("pushed");
            let made = writer.finish().expect("finished").into_inner();
            let zeros = vec![0; 2 * frames as usize];
            let samples = [&[1, 2][..], &zeros, &[3, 4]].concat();
            assert_eq!(made, file(Layout::Stereo, 8_000, &samples, 4_096));
            assert_eq!(all(&made), samples);
        }
    }

    #[test]
    fn the_header_says_length_and_checksum() {
        let samples = [1, -2, 3, i16::MIN];
        let file = file(Layout::Stereo, 48_000, &samples, 4);
        assert_eq!(&file[..12], b"fLaC\x80\0\0\x22\x10\0\x10\0");
        let block = (file.len() - 42) as u32;
        assert_eq!(&file[12..15], &block.to_be_bytes()[1..]);
        assert_eq!(&file[15..18], &block.to_be_bytes()[1..]);
        // 48,000 in 20 bits, 1 in 3, 15 in 5, 2 in 36.
        assert_eq!(&file[18..26], b"\x0B\xB8\x02\xF0\0\0\0\x02");
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        assert_eq!(&file[26..42], &md5::compute(bytes).0);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for rate_hz in [0, 65_537, 96_001, 655_360] {
            let error = Writer::new(Cursor::new(Vec::new()), Layout::Mono, rate_hz).err();
            assert!(matches!(error, Some(FlacError::Rate { .. })), "{rate_hz}");
        }
        let mut writer =
            Writer::new(Cursor::new(Vec::new()), Layout::Stereo, 8_000).expect("begun");
        assert!(matches!(
            writer.push(&[1, 2, 3]),
            Err(FlacError::PartialFrame { .. })
        ));
        writer.pushed = MOST_FRAMES - 1;
        assert!(matches!(
            writer.push(&[0; 4]),
            Err(FlacError::TooLong { .. })
        ));
        assert!(matches!(
            writer.push_silence(u64::MAX),
            Err(FlacError::TooLong { .. })
        ));
        writer.push(&[0; 2]).expect("the last frame that fits");
    }

    #[test]
    fn an_unfinished_file_says_so() {
        let mut sink = Cursor::new(Vec::new());
        let mut writer = Writer::new(&mut sink, Layout::Mono, 8_000).expect("begun");
        writer.push(&sound(5_000)).expect("pushed");
        drop(writer);
        let mut reader = Reader::open(&sink.get_ref()[..]).expect("opened");
        let error = reader.read_to_end().expect_err("it was not finished");
        assert!(
            matches!(error, FlacReadError::Unfinished { frames: 4_096 }),
            "{error:?}"
        );
    }

    #[test]
    fn damaged_files_are_noticed_and_never_panic() {
        let good = file(Layout::Stereo, 8_000, &sound(2 * 6_000), 6_000);
        let read = |file: &[u8]| Reader::open(file).and_then(|mut file| file.read_to_end());
        assert!(matches!(read(b""), Err(FlacReadError::NotFlac)));
        assert!(matches!(
            read(b"OggS, no FLAC"),
            Err(FlacReadError::NotFlac)
        ));
        for at in (0..good.len()).filter(|at| *at < 60 || at % 61 == 0) {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                // What players are told of block sizes is not needed to decode.
                let told = (8..18).contains(&at);
                assert!(told || read(&bad).is_err(), "bit {bit} of byte {at}");
            }
        }
        for length in (0..good.len()).step_by(101) {
            assert!(read(&good[..length]).is_err(), "{length} bytes");
        }
    }
}
