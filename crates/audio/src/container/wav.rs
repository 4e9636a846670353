//! RIFF/WAVE: 16-bit PCM, and G.711 as it was received.
//!
//! Samples and codes are pushed interleaved, whole frames only. Sizes in a RIFF file are 32 bits:
//! a push that would not fit is refused with [`WavError::TooLong`] and writes nothing.

mod reader;

use std::io::{self, Seek, SeekFrom, Write};

use thiserror::Error;

pub use self::reader::{Coding, Reader, WavReadError};
use crate::SAMPLE_RATE_HZ;
use crate::g711::Law;

/// How many channels a WAV has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One channel.
    Mono,
    /// Two channels, left first.
    Stereo,
}

impl Layout {
    /// The number of channels: 1 or 2.
    #[must_use]
    pub const fn channels(self) -> usize {
        match self {
            Self::Mono => 1,
            Self::Stereo => 2,
        }
    }
}

/// Why a WAV was not written.
#[derive(Debug, Error)]
pub enum WavError {
    /// The audio does not fit the 32-bit sizes of a WAV; nothing of the push was written.
    #[error("{frames} frames do not fit a WAV file, whose sizes end at 4 GiB")]
    TooLong {
        /// Frames the file would have held.
        frames: u64,
    },
    /// A push was not a whole number of frames; nothing of it was written.
    #[error("{samples} samples are not whole frames of {channels} channels")]
    PartialFrame {
        /// Samples in the push.
        samples: usize,
        /// Channels of the file.
        channels: usize,
    },
    /// The file was announced with another length than it was given.
    #[error("{announced} frames were announced and {pushed} pushed")]
    LengthDiffers {
        /// Frames in the header.
        announced: u64,
        /// Frames pushed, or that would have been.
        pushed: u64,
    },
    /// The sink failed.
    #[error("writing the WAV failed")]
    Io(#[from] io::Error),
    /// The PCM writer failed for another reason than its sink.
    #[error("writing the WAV failed")]
    Pcm(#[source] hound::Error),
}

/// Counts frames against what a header can say.
#[derive(Debug)]
struct Room {
    layout: Layout,
    frames: u64,
    most_frames: u64,
}

impl Room {
    fn new(layout: Layout, header_bytes: usize, bytes_per_frame: usize) -> Self {
        // The RIFF size counts all but the first eight bytes, the pad byte of odd data included.
        let data_bytes = u64::from(u32::MAX - 1) - (header_bytes as u64 - 8);
        Self {
            layout,
            frames: 0,
            most_frames: data_bytes / bytes_per_frame as u64,
        }
    }

    /// Frames in `samples` if all of them still fit.
    fn check(&self, samples: usize) -> Result<u64, WavError> {
        let channels = self.layout.channels();
        if !samples.is_multiple_of(channels) {
            return Err(WavError::PartialFrame { samples, channels });
        }
        let frames = self.frames + (samples / channels) as u64;
        if frames > self.most_frames {
            return Err(WavError::TooLong { frames });
        }
        Ok(frames)
    }
}

/// Bytes before the samples of a 16-bit PCM WAV.
const PCM16_HEADER_BYTES: usize = 44;

/// Writes 16-bit PCM at 8 kHz. Without [`Pcm16Writer::finish`] the file's sizes are wrong.
pub struct Pcm16Writer<W: Write + Seek> {
    hound: hound::WavWriter<W>,
    room: Room,
}

impl<W: Write + Seek> Pcm16Writer<W> {
    /// Begins a file at the sink's position, which must be its start.
    ///
    /// # Errors
    /// [`WavError::Io`] when the sink fails.
    pub fn new(sink: W, layout: Layout) -> Result<Self, WavError> {
        let spec = hound::WavSpec {
            channels: layout.channels() as u16,
            sample_rate: SAMPLE_RATE_HZ,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let room = Room::new(layout, PCM16_HEADER_BYTES, 2 * layout.channels());
        Ok(Self {
            hound: hound::WavWriter::new(sink, spec).map_err(from_hound)?,
            room,
        })
    }

    /// Appends interleaved samples.
    ///
    /// # Errors
    /// [`WavError::PartialFrame`], [`WavError::TooLong`] before writing; [`WavError::Io`].
    pub fn push(&mut self, interleaved: &[i16]) -> Result<(), WavError> {
        self.room.frames = self.room.check(interleaved.len())?;
        for piece in interleaved.chunks(4_096) {
            let mut writer = self.hound.get_i16_writer(piece.len() as u32);
            for &sample in piece {
                writer.write_sample(sample);
            }
            writer.flush().map_err(from_hound)?;
        }
        Ok(())
    }

    /// Writes the sizes into the header and flushes the sink.
    ///
    /// # Errors
    /// [`WavError::Io`] when the sink fails.
    pub fn finish(self) -> Result<(), WavError> {
        self.hound.finalize().map_err(from_hound)
    }
}

fn from_hound(error: hound::Error) -> WavError {
    match error {
        hound::Error::IoError(error) => WavError::Io(error),
        other => WavError::Pcm(other),
    }
}

/// Bytes before the codes of a G.711 WAV.
const G711_HEADER_BYTES: usize = 58;

/// Writes G.711 codes as they are. Without [`G711Writer::finish`] the file may be incomplete.
pub struct G711Writer<W: Write> {
    sink: W,
    law: Law,
    room: Room,
    length: Length<W>,
}

/// How the header learns the number of frames.
enum Length<W> {
    /// It was written with the header.
    Announced(u64),
    /// The header is written again at the end, by this function, which knows how to seek.
    Later(fn(&mut W, &[u8]) -> io::Result<()>),
}

impl<W: Write + Seek> G711Writer<W> {
    /// Begins a file of unknown length at the sink's start; `finish` goes back for the sizes.
    ///
    /// # Errors
    /// [`WavError::Io`] when the sink fails.
    pub fn streaming(sink: W, law: Law, layout: Layout) -> Result<Self, WavError> {
        Self::begin(sink, law, layout, Length::Later(rewrite_header::<W>))
    }
}

fn rewrite_header<W: Write + Seek>(sink: &mut W, header: &[u8]) -> io::Result<()> {
    sink.seek(SeekFrom::Start(0))?;
    sink.write_all(header)?;
    sink.seek(SeekFrom::End(0))?;
    Ok(())
}

impl<W: Write> G711Writer<W> {
    /// Begins a file that will hold exactly `frames` frames; the sink need not seek.
    ///
    /// # Errors
    /// [`WavError::TooLong`] before writing; [`WavError::Io`].
    pub fn with_length(sink: W, law: Law, layout: Layout, frames: u64) -> Result<Self, WavError> {
        Self::begin(sink, law, layout, Length::Announced(frames))
    }

    fn begin(mut sink: W, law: Law, layout: Layout, length: Length<W>) -> Result<Self, WavError> {
        let room = Room::new(layout, G711_HEADER_BYTES, layout.channels());
        let frames = match length {
            Length::Announced(frames) => frames,
            Length::Later(_) => 0,
        };
        if frames > room.most_frames {
            return Err(WavError::TooLong { frames });
        }
        sink.write_all(&g711_header(law, layout, frames))?;
        Ok(Self {
            sink,
            law,
            room,
            length,
        })
    }

    /// Appends interleaved codes.
    ///
    /// # Errors
    /// [`WavError::PartialFrame`], [`WavError::TooLong`], [`WavError::LengthDiffers`] (more than
    /// announced) before writing; [`WavError::Io`].
    pub fn push(&mut self, interleaved: &[u8]) -> Result<(), WavError> {
        let pushed = self.room.check(interleaved.len())?;
        match self.length {
            Length::Announced(announced) if pushed > announced => {
                return Err(WavError::LengthDiffers { announced, pushed });
            }
            Length::Announced(_) | Length::Later(_) => {}
        }
        self.sink.write_all(interleaved)?;
        self.room.frames = pushed;
        Ok(())
    }

    /// Pads odd data, completes the header where it was left open, flushes, returns the sink.
    ///
    /// # Errors
    /// [`WavError::LengthDiffers`] when fewer frames came than announced; [`WavError::Io`].
    pub fn finish(mut self) -> Result<W, WavError> {
        let Room { layout, frames, .. } = self.room;
        if !(frames * layout.channels() as u64).is_multiple_of(2) {
            self.sink.write_all(&[0])?;
        }
        match self.length {
            Length::Announced(announced) if announced != frames => {
                return Err(WavError::LengthDiffers {
                    announced,
                    pushed: frames,
                });
            }
            Length::Announced(_) => {}
            Length::Later(rewrite) => {
                rewrite(&mut self.sink, &g711_header(self.law, layout, frames))?;
            }
        }
        self.sink.flush()?;
        Ok(self.sink)
    }
}

/// The header of a G.711 WAV. Numbers are little-endian; `n` is bytes of codes, `p` is `n mod 2`.
///
/// ```text
///  0 "RIFF" | u32 50+n+p | "WAVE"
/// 12 "fmt " | u32 18 | u16 tag (7 mu-law, 6 A-law) | u16 channels | u32 8000
/// 28 u32 bytes a second | u16 bytes a frame | u16 8 bits | u16 0 (no extension)
/// 38 "fact" | u32 4  | u32 frames
/// 50 "data" | u32 n  | n codes, interleaved | p pad bytes
/// ```
fn g711_header(law: Law, layout: Layout, frames: u64) -> [u8; G711_HEADER_BYTES] {
    let tag: u16 = match law {
        Law::Alaw => TAG_ALAW,
        Law::Mulaw => TAG_MULAW,
    };
    let channels = layout.channels() as u16;
    let data = u32::try_from(frames * u64::from(channels)).expect("Room keeps the size in 32 bits");
    let mut header = [0; G711_HEADER_BYTES];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        header[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(b"RIFF");
    put(&(G711_HEADER_BYTES as u32 - 8 + data + data % 2).to_le_bytes());
    put(b"WAVEfmt ");
    put(&18_u32.to_le_bytes());
    put(&tag.to_le_bytes());
    put(&channels.to_le_bytes());
    put(&SAMPLE_RATE_HZ.to_le_bytes());
    put(&(SAMPLE_RATE_HZ * u32::from(channels)).to_le_bytes());
    put(&channels.to_le_bytes());
    put(&8_u16.to_le_bytes());
    put(&0_u16.to_le_bytes());
    put(b"fact");
    put(&4_u32.to_le_bytes());
    put(&(data / u32::from(channels)).to_le_bytes());
    put(b"data");
    put(&data.to_le_bytes());
    header
}

/// RIFF format tags.
const TAG_PCM: u16 = 1;
const TAG_ALAW: u16 = 6;
const TAG_MULAW: u16 = 7;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::g711;

    /// A sink that cannot seek.
    struct OneWay(Vec<u8>);

    impl Write for OneWay {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn g711_file(law: Law, layout: Layout, codes: &[u8]) -> Vec<u8> {
        let mut sink = Cursor::new(Vec::new());
        let mut writer = G711Writer::streaming(&mut sink, law, layout).expect("begun");
        for piece in codes.chunks(2 * layout.channels()) {
            writer.push(piece).expect("pushed");
        }
        writer.finish().expect("finished");
        sink.into_inner()
    }

    fn pcm16_file(layout: Layout, samples: &[i16]) -> Vec<u8> {
        let mut sink = Cursor::new(Vec::new());
        let mut writer = Pcm16Writer::new(&mut sink, layout).expect("begun");
        writer.push(samples).expect("pushed");
        writer.finish().expect("finished");
        sink.into_inner()
    }

    #[test]
    #[rustfmt::skip]
    fn the_g711_header_is_as_drawn() {
        let expected = [
            b'R', b'I', b'F', b'F', 56, 0, 0, 0, b'W', b'A', b'V', b'E',
            b'f', b'm', b't', b' ', 18, 0, 0, 0, 7, 0, 2, 0, 0x40, 0x1F, 0, 0,
            0x80, 0x3E, 0, 0, 2, 0, 8, 0, 0, 0,
            b'f', b'a', b'c', b't', 4, 0, 0, 0, 3, 0, 0, 0,
            b'd', b'a', b't', b'a', 6, 0, 0, 0, 1, 2, 3, 4, 5, 6,
        ];
        assert_eq!(g711_file(Law::Mulaw, Layout::Stereo, &[1, 2, 3, 4, 5, 6]), expected);
        let expected = [
            b'R', b'I', b'F', b'F', 54, 0, 0, 0, b'W', b'A', b'V', b'E',
            b'f', b'm', b't', b' ', 18, 0, 0, 0, 6, 0, 1, 0, 0x40, 0x1F, 0, 0,
            0x40, 0x1F, 0, 0, 1, 0, 8, 0, 0, 0,
            b'f', b'a', b'c', b't', 4, 0, 0, 0, 3, 0, 0, 0,
            b'd', b'a', b't', b'a', 3, 0, 0, 0, 9, 8, 7, 0,
        ];
        assert_eq!(g711_file(Law::Alaw, Layout::Mono, &[9, 8, 7]), expected);
    }

    #[test]
    #[rustfmt::skip]
    fn the_pcm16_header_is_the_plain_one() {
        let expected = [
            b'R', b'I', b'F', b'F', 44, 0, 0, 0, b'W', b'A', b'V', b'E',
            b'f', b'm', b't', b' ', 16, 0, 0, 0, 1, 0, 2, 0, 0x40, 0x1F, 0, 0,
            0x00, 0x7D, 0, 0, 4, 0, 16, 0,
            b'd', b'a', b't', b'a', 8, 0, 0, 0, 1, 0, 0xFE, 0xFF, 3, 0, 0, 0x80,
        ];
        assert_eq!(pcm16_file(Layout::Stereo, &[1, -2, 3, i16::MIN]), expected);
    }

    #[test]
    fn a_known_length_needs_no_seeking_and_gives_the_same_bytes() {
        for (layout, codes) in [
            (Layout::Stereo, &[][..]),
            (Layout::Stereo, &[1, 2, 3, 4][..]),
            (Layout::Mono, &[1, 2, 3][..]),
        ] {
            let frames = (codes.len() / layout.channels()) as u64;
            let mut writer = G711Writer::with_length(OneWay(Vec::new()), Law::Alaw, layout, frames)
                .expect("begun");
            writer.push(codes).expect("pushed");
            let OneWay(file) = writer.finish().expect("finished");
            assert_eq!(file, g711_file(Law::Alaw, layout, codes));
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let codes: Vec<u8> = (0..=255).cycle().take(12_346).collect();
        for law in [Law::Mulaw, Law::Alaw] {
            for layout in [Layout::Mono, Layout::Stereo] {
                let file = g711_file(law, layout, &codes);
                let mut reader = Reader::open(&file[..]).expect("opened");
                assert_eq!(
                    (reader.coding(), reader.layout()),
                    (Coding::G711(law), layout)
                );
                assert_eq!(reader.frames(), 12_346 / layout.channels() as u64);
                let mut back = vec![0; 20_000];
                let read = reader.read_bytes(&mut back).expect("read");
                assert_eq!(back[..read], codes);
                let samples = Reader::open(&file[..])
                    .expect("opened")
                    .read_to_end()
                    .expect("read");
                let decoded: Vec<i16> = codes.iter().map(|&c| g711::decode(law, c)).collect();
                assert_eq!(samples, decoded);
            }
        }
        let samples: Vec<i16> = (0..20_002)
            .map(|n| (n * 37 % 65_536 - 32_768) as i16)
            .collect();
        for layout in [Layout::Mono, Layout::Stereo] {
            let file = pcm16_file(layout, &samples);
            let mut reader = Reader::open(&file[..]).expect("opened");
            assert_eq!(
                (reader.coding(), reader.sample_rate_hz()),
                (Coding::Pcm16, 8_000)
            );
            assert_eq!(reader.read_to_end().expect("read"), samples);
        }
    }

    #[test]
    fn four_gibibytes_are_refused_before_writing() {
        let mut sink = Cursor::new(Vec::new());
        let error = G711Writer::with_length(&mut sink, Law::Mulaw, Layout::Stereo, 1 << 31).err();
        assert!(
            matches!(
                error,
                Some(WavError::TooLong {
                    frames: 0x8000_0000
                })
            ),
            "{error:?}"
        );
        assert!(sink.get_ref().is_empty());

        let mut writer =
            G711Writer::streaming(&mut sink, Law::Mulaw, Layout::Stereo).expect("begun");
        let most = writer.room.most_frames;
        assert_eq!(most, (u64::from(u32::MAX) - 50) / 2);
        writer.room.frames = most - 1;
        assert!(matches!(
            writer.push(&[0; 4]),
            Err(WavError::TooLong { .. })
        ));
        writer.push(&[0; 2]).expect("the last frame that fits");
        assert!(matches!(
            writer.push(&[0; 2]),
            Err(WavError::TooLong { .. })
        ));
        assert_eq!(sink.get_ref().len(), G711_HEADER_BYTES + 2);
        g711_header(Law::Mulaw, Layout::Stereo, most);
        let odd = Room::new(Layout::Mono, G711_HEADER_BYTES, 1).most_frames;
        g711_header(Law::Mulaw, Layout::Mono, odd);
        g711_header(Law::Mulaw, Layout::Mono, odd - 1);

        let mut writer = Pcm16Writer::new(Cursor::new(Vec::new()), Layout::Stereo).expect("begun");
        assert_eq!(writer.room.most_frames, (u64::from(u32::MAX) - 37) / 4);
        writer.room.frames = writer.room.most_frames;
        assert!(matches!(
            writer.push(&[0; 2]),
            Err(WavError::TooLong { .. })
        ));
        writer.push(&[]).expect("nothing always fits");
    }

    #[test]
    fn wrong_pushes_are_refused_whole() {
        let mut sink = Cursor::new(Vec::new());
        let mut writer =
            G711Writer::with_length(&mut sink, Law::Mulaw, Layout::Stereo, 1).expect("begun");
        let partial = writer.push(&[1, 2, 3]);
        assert!(matches!(
            partial,
            Err(WavError::PartialFrame {
                samples: 3,
                channels: 2
            })
        ));
        let more = writer.push(&[1, 2, 3, 4]);
        assert!(matches!(
            more,
            Err(WavError::LengthDiffers {
                announced: 1,
                pushed: 2
            })
        ));
        let less = writer.finish().err();
        assert!(matches!(
            less,
            Some(WavError::LengthDiffers {
                announced: 1,
                pushed: 0
            })
        ));
        assert_eq!(sink.into_inner().len(), G711_HEADER_BYTES);
    }

    #[test]
    fn bad_files_are_named_and_never_panic() {
        let check = |file: &[u8], expected: &str| {
            let error = match Reader::open(file) {
                Err(error) => error,
                Ok(mut reader) => reader.read_to_end().expect_err("the file is bad"),
            };
            assert_eq!(error.to_string(), expected);
        };
        let good = g711_file(Law::Mulaw, Layout::Stereo, &[1, 2, 3, 4]);
        let with = |at: usize, byte: u8| {
            let mut file = good.clone();
            file[at] = byte;
            file
        };
        check(b"", "not a RIFF/WAVE file");
        check(b"OggS, not a WAV at all", "not a RIFF/WAVE file");
        check(&good[..40], "not a RIFF/WAVE file");
        check(&good[..60], "the WAV ends 2 bytes early");
        check(
            &with(12, b'x'),
            "the WAV does not say its format before its samples",
        );
        check(
            &with(16, 3),
            "the WAV does not say its format before its samples",
        );
        check(
            &with(17, 0xFF),
            "the WAV does not say its format before its samples",
        );
        check(&with(54, 3), "3 bytes of samples are not whole frames");
        check(&with(57, 0xFF), "the WAV ends 4278190080 bytes early");
        let unsupported = "WAV of format tag 17 with 8 bits and 2 channels is not supported";
        check(&with(20, 17), unsupported);
        let unsupported = "WAV of format tag 7 with 8 bits and 6 channels is not supported";
        check(&with(22, 6), unsupported);
        for at in 0..good.len() {
            for byte in [0x00, 0x01, 0x7F, 0xFF] {
                if let Ok(mut reader) = Reader::open(&with(at, byte)[..]) {
                    let _ = reader.read_to_end();
                }
            }
        }
    }

    #[test]
    fn unknown_chunks_are_passed_over() {
        let mut file = pcm16_file(Layout::Mono, &[5, 6, 7]);
        let list = [b'L', b'I', b'S', b'T', 3, 0, 0, 0, b'a', b'b', b'c', 0];
        file.splice(36..36, list);
        assert_eq!(
            Reader::open(&file[..])
                .expect("opened")
                .read_to_end()
                .expect("read"),
            [5, 6, 7]
        );
    }
}
