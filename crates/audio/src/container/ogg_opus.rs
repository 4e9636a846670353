//! Ogg Opus (RFC 7845) with each party in an Opus stream of its own.
//!
//! Joint stereo would let one party bleed into the other, so the two channels are two uncoupled
//! streams under channel mapping family 1, which still tells players which is left and right.
//!
//! 1. The first page holds `OpusHead`, the second ends with `OpusTags`.
//! 2. Each packet is 20 ms of both channels; each page is a second.
//! 3. Granule positions count 48 kHz samples from the first decoded one. The pre-skip is the
//!    encoder's lookahead; what the last packet holds too much is cut by the last position
//!    (RFC 7845 §4.2 to §4.4), so a player hears exactly the samples pushed.

mod reader;

use std::io::{self, Write};

use ogg::{PacketWriteEndInfo, PacketWriter};
use opus::{Application, Bitrate, MSEncoder, Signal};
use thiserror::Error;

pub use self::reader::{OggOpusReadError, Reader};
use crate::SAMPLE_RATE_HZ;

/// Samples per channel in a packet: 20 ms.
const FRAME: usize = 160;
/// Packets in a page: one second.
const PACKETS_PER_PAGE: u64 = 50;
/// Granule positions are in samples at 48 kHz whatever the input's rate (RFC 7845 §4).
const GRANULES_PER_SAMPLE: u64 = 48_000 / SAMPLE_RATE_HZ as u64;
/// More than two 20 ms Opus frames can take (RFC 6716 §3.4, 1,275 bytes each, plus framing).
const LARGEST_PACKET_BYTES: usize = 2 * 1_275 + 8;
/// Output stream of the owner and of everybody else.
const MAPPING: [u8; 2] = [0, 1];
/// RFC 7845 §5.1.1.2: one or two channels have the meaning they have in Vorbis: left, right.
const MAPPING_FAMILY: u8 = 1;

/// What the encoder spends on a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bits per second for each channel, 6,000 to 128,000.
    pub bitrate_per_channel: u32,
    /// Processor time against quality, 0 (least time) to 10.
    pub complexity: u8,
    /// The Ogg stream's serial number; any, best not the same in all files.
    pub serial: u32,
}

impl Default for Settings {
    /// 24 kb/s a channel is ample for 8 kHz speech; complexity 5 takes about 0.15 ms for
    /// 20 ms of both channels.
    fn default() -> Self {
        Self {
            bitrate_per_channel: 24_000,
            complexity: 5,
            serial: 1,
        }
    }
}

/// The comment header (RFC 7845 §5.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// The program that wrote the file.
    pub vendor: String,
    /// Names and values. Names are printable ASCII without `=`, case does not matter.
    pub comments: Vec<(String, String)>,
}

/// Why an Ogg Opus file was not written.
#[derive(Debug, Error)]
pub enum OggOpusError {
    /// Bit rate or complexity out of range.
    #[error(
        "Opus settings out of range: {bitrate_per_channel} bits/s a channel (6000 to 128000), \
         complexity {complexity} (0 to 10)"
    )]
    Settings {
        /// As given.
        bitrate_per_channel: u32,
        /// As given.
        complexity: u8,
    },
    /// A comment's name is empty, has `=`, or has bytes outside printable ASCII.
    #[error("comment name {name:?} cannot be written")]
    CommentName {
        /// As given.
        name: String,
    },
    /// The two channels of a push differ in length; nothing of it was taken.
    #[error("{left} samples for the left channel and {right} for the right")]
    ChannelsDiffer {
        /// Samples for the left channel.
        left: usize,
        /// Samples for the right channel.
        right: usize,
    },
    /// libopus failed.
    #[error("the Opus encoder failed")]
    Encoder(#[from] opus::Error),
    /// The sink failed.
    #[error("writing the Ogg file failed")]
    Io(#[from] io::Error),
}

/// Encodes two channels into Ogg Opus. Without [`Writer::finish`] the file lacks its end.
pub struct Writer<W: Write> {
    ogg: PacketWriter<'static, W>,
    encoder: MSEncoder,
    serial: u32,
    /// Samples the decoder gives before the first one pushed.
    lookahead: u64,
    /// Interleaved samples of the frame being filled.
    frame: Vec<i16>,
    /// Samples per channel pushed.
    pushed: u64,
    packets: u64,
    /// The newest packet: it is written when it is known whether it is the last.
    held: Option<Vec<u8>>,
}

impl<W: Write> Writer<W> {
    /// Makes the encoder and writes the two header pages.
    ///
    /// # Errors
    /// [`OggOpusError::Settings`] and [`OggOpusError::CommentName`] before writing;
    /// [`OggOpusError::Encoder`], [`OggOpusError::Io`].
    pub fn new(sink: W, settings: Settings, tags: &Tags) -> Result<Self, OggOpusError> {
        let mut encoder = encoder(settings)?;
        let lookahead = encoder.get_lookahead()? as u64;
        let comments = comment_header(tags)?;
        let mut ogg = PacketWriter::new(sink);
        let serial = settings.serial;
        let head = identification_header((lookahead * GRANULES_PER_SAMPLE) as u16);
        ogg.write_packet(head, serial, PacketWriteEndInfo::EndPage, 0)?;
        ogg.write_packet(comments, serial, PacketWriteEndInfo::EndPage, 0)?;
        let frame = Vec::with_capacity(2 * FRAME);
        Ok(Self {
            ogg,
            encoder,
            serial,
            lookahead,
            frame,
            pushed: 0,
            packets: 0,
            held: None,
        })
    }

    /// Appends samples of both channels, as many of each as the caller likes.
    ///
    /// # Errors
    /// [`OggOpusError::ChannelsDiffer`] before anything is taken; [`OggOpusError::Encoder`],
    /// [`OggOpusError::Io`].
    pub fn push(&mut self, left: &[i16], right: &[i16]) -> Result<(), OggOpusError> {
        if left.len() != right.len() {
            return Err(OggOpusError::ChannelsDiffer {
                left: left.len(),
                right: right.len(),
            });
        }
        self.pushed += left.len() as u64;
        for (&l, &r) in left.iter().zip(right) {
            self.frame.extend([l, r]);
            if self.frame.len() == 2 * FRAME {
                self.encode_frame()?;
            }
        }
        Ok(())
    }

    /// Encodes what is left, writes the last page, flushes and returns the sink.
    ///
    /// # Errors
    /// [`OggOpusError::Encoder`], [`OggOpusError::Io`].
    pub fn finish(mut self) -> Result<W, OggOpusError> {
        let to_decode = self.lookahead + self.pushed;
        while self.packets * (FRAME as u64) < to_decode {
            self.frame.resize(2 * FRAME, 0);
            self.encode_frame()?;
        }
        let last = self
            .held
            .take()
            .expect("the lookahead alone fills one packet");
        let end = to_decode * GRANULES_PER_SAMPLE;
        self.ogg
            .write_packet(last, self.serial, PacketWriteEndInfo::EndStream, end)?;
        let mut sink = self.ogg.into_inner();
        sink.flush()?;
        Ok(sink)
    }

    fn encode_frame(&mut self) -> Result<(), OggOpusError> {
        let packet = self.encoder.encode_vec(&self.frame, LARGEST_PACKET_BYTES)?;
        self.frame.clear();
        if let Some(previous) = self.held.replace(packet) {
            let place = match self.packets.is_multiple_of(PACKETS_PER_PAGE) {
                true => PacketWriteEndInfo::EndPage,
                false => PacketWriteEndInfo::NormalPacket,
            };
            let granule = self.packets * FRAME as u64 * GRANULES_PER_SAMPLE;
            self.ogg
                .write_packet(previous, self.serial, place, granule)?;
        }
        self.packets += 1;
        Ok(())
    }
}

fn encoder(settings: Settings) -> Result<MSEncoder, OggOpusError> {
    let Settings {
        bitrate_per_channel,
        complexity,
        ..
    } = settings;
    if !(6_000..=128_000).contains(&bitrate_per_channel) || complexity > 10 {
        return Err(OggOpusError::Settings {
            bitrate_per_channel,
            complexity,
        });
    }
    let mut encoder = MSEncoder::new(SAMPLE_RATE_HZ, 2, 0, &MAPPING, Application::Voip)?;
    encoder.set_bitrate(Bitrate::Bits(2 * bitrate_per_channel as i32))?;
    encoder.set_complexity(i32::from(complexity))?;
    encoder.set_signal(Signal::Voice)?;
    Ok(encoder)
}

/// `OpusHead` (RFC 7845 §5.1), numbers little-endian:
///
/// ```text
///  0 "OpusHead" | u8 version 1 | u8 channels 2 | u16 pre-skip at 48 kHz | u32 8000
/// 16 i16 gain 0 | u8 mapping family 1 | u8 streams 2 | u8 coupled 0 | u8 0 | u8 1
/// ```
fn identification_header(pre_skip: u16) -> Vec<u8> {
    let mut head = Vec::with_capacity(23);
    head.extend_from_slice(b"OpusHead\x01\x02");
    head.extend_from_slice(&pre_skip.to_le_bytes());
    head.extend_from_slice(&SAMPLE_RATE_HZ.to_le_bytes());
    head.extend_from_slice(&0_i16.to_le_bytes());
    head.extend_from_slice(&[MAPPING_FAMILY, 2, 0]);
    head.extend_from_slice(&MAPPING);
    head
}

/// `OpusTags` (RFC 7845 §5.2): the vendor and each `NAME=value`, every text after its u32 length.
fn comment_header(tags: &Tags) -> Result<Vec<u8>, OggOpusError> {
    let mut header = b"OpusTags".to_vec();
    let mut put = |text: &str| {
        header.extend_from_slice(&(text.len() as u32).to_le_bytes());
        header.extend_from_slice(text.as_bytes());
    };
    put(&tags.vendor);
    let mut comments = Vec::new();
    for (name, value) in &tags.comments {
        let printable = |byte: u8| (0x20..=0x7D).contains(&byte) && byte != b'=';
        if name.is_empty() || !name.bytes().all(printable) {
            return Err(OggOpusError::CommentName { name: name.clone() });
        }
        comments.push(format!("{name}={value}"));
    }
    header.extend_from_slice(&(comments.len() as u32).to_le_bytes());
    for comment in &comments {
        header.extend_from_slice(&(comment.len() as u32).to_le_bytes());
        header.extend_from_slice(comment.as_bytes());
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ogg::PacketReader;

    use super::*;
    use crate::container::wav;
    use crate::measure;
    use crate::tone::ToneShape;

    fn encode_in_pieces(left: &[i16], right: &[i16], piece: usize) -> Vec<u8> {
        let tags = Tags {
            vendor: "duolog test".to_owned(),
            comments: vec![("RECORDING".to_owned(), "0192-é".to_owned())],
        };
        let mut writer = Writer::new(Vec::new(), Settings::default(), &tags).expect("begun");
        for (left, right) in left.chunks(piece).zip(right.chunks(piece)) {
            writer.push(left, right).expect("pushed");
        }
        writer.finish().expect("finished")
    }

    fn decode(file: &[u8]) -> (Vec<i16>, Vec<i16>) {
        let mut reader = Reader::open(Cursor::new(file)).expect("opened");
        let stereo = reader.read_to_end().expect("decoded");
        stereo
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&[l, r]| (l, r))
            .unzip()
    }

    fn tone(frequency_hz: f64, samples: usize) -> Vec<i16> {
        let length_ms = (samples / 8 + 1) as u32;
        let shape = ToneShape {
            frequency_hz,
            length_ms,
            level_dbfs: -12.0,
        };
        shape.samples()[..samples].to_vec()
    }

    #[test]
    fn the_decoded_length_is_the_pushed_length() {
        let lengths = [
            0, 1, 2, 107, 108, 109, 159, 160, 161, 267, 268, 269, 320, 7_947, 7_948, 7_949,
        ];
        for length in lengths
            .into_iter()
            .chain([8_000, 8_001, 12_345, 16_000, 80_000])
        {
            let (left, right) = (tone(440.0, length), tone(1_000.0, length));
            let (l, r) = decode(&encode_in_pieces(&left, &right, 2_560));
            assert_eq!((l.len(), r.len()), (length, length));
        }
    }

    #[test]
    fn how_samples_are_pushed_does_not_matter() {
        let (left, right) = (tone(440.0, 5_003), tone(1_000.0, 5_003));
        let whole = encode_in_pieces(&left, &right, 5_003);
        for piece in [1, 7, 159, 160, 161, 4_000] {
            assert_eq!(
                encode_in_pieces(&left, &right, piece),
                whole,
                "pieces of {piece}"
            );
        }
    }

    /// Two seconds of a voice.
    fn speech() -> Vec<i16> {
        let file = include_bytes!("../../../../fixtures/audio/demo-owner.wav");
        let mut speech = wav::Reader::open(&file[..])
            .expect("a WAV")
            .read_to_end()
            .expect("whole");
        speech.truncate(16_000);
        speech
    }

    #[test]
    fn sample_zero_stays_sample_zero() {
        let speech = speech();
        let (l, r) = decode(&encode_in_pieces(&speech, &speech, 160));
        for channel in [l, r] {
            // The middle of the original must be found at its own place.
            let found = measure::correlate(&speech[4_000..12_000], &channel).expect("it fits");
            assert_eq!(found.offset, 4_000);
            assert!(found.correlation > 0.95, "{found:?}");
        }
    }

    #[test]
    fn the_channels_do_not_touch() {
        let speaking = tone(1_000.0, 16_000);
        let silent = vec![0; 16_000];
        let (l, r) = decode(&encode_in_pieces(&speaking, &silent, 160));
        let level = measure::goertzel_dbfs(&l[800..15_200], 1_000.0);
        assert!((level + 12.0).abs() < 0.2, "left reads {level}");
        assert!(
            measure::rms_dbfs(&r) < -90.0,
            "right reads {}",
            measure::rms_dbfs(&r)
        );
        let (l, r) = decode(&encode_in_pieces(&silent, &speaking, 160));
        assert!(measure::rms_dbfs(&l) < -90.0);
        assert!((measure::goertzel_dbfs(&r[800..15_200], 1_000.0) + 12.0).abs() < 0.2);
    }

    #[test]
    fn a_channel_is_the_same_whatever_the_other_holds() {
        let (owner, other) = (speech(), tone(1_300.0, 16_000));
        let (l, r) = decode(&encode_in_pieces(&owner, &other, 160));
        assert_eq!(decode(&encode_in_pieces(&owner, &[0; 16_000], 160)).0, l);
        assert_eq!(decode(&encode_in_pieces(&[0; 16_000], &other, 160)).1, r);
        let beside_itself = decode(&encode_in_pieces(&owner, &owner, 160)).0;
        assert_eq!(beside_itself, l);
        assert!(measure::goertzel_dbfs(&r[800..15_200], 1_300.0) > -12.2);
    }

    #[test]
    fn the_head_names_two_uncoupled_streams() {
        let file = encode_in_pieces(&[], &[], 1);
        let head = PacketReader::new(Cursor::new(&file))
            .read_packet_expected()
            .expect("read");
        let pre_skip = 312_u16.to_le_bytes();
        let expected = [
            b"OpusHead\x01\x02",
            &pre_skip[..],
            b"\x40\x1F\0\0\0\0\x01\x02\0\0\x01",
        ];
        assert_eq!(head.data, expected.concat());
        assert!(head.first_in_stream() && head.last_in_page());
    }

    #[test]
    fn pages_hold_a_second_and_say_where_they_end() {
        let file = encode_in_pieces(&tone(440.0, 20_100), &tone(440.0, 20_100), 160);
        let mut reader = PacketReader::new(Cursor::new(&file));
        let mut pages = Vec::new();
        let mut packets = 0;
        while let Some(packet) = reader.read_packet().expect("read") {
            packets += 1;
            if packet.last_in_page() {
                pages.push((packet.absgp_page(), packets, packet.last_in_stream()));
                packets = 0;
            }
        }
        let end = 312 + 20_100 * 6;
        let pages_expected = [
            (0, 1, false),
            (0, 1, false),
            (48_000, 50, false),
            (96_000, 50, false),
            (end, 26, true),
        ];
        // 20,100 + 52 samples are 125.95 packets of 160.
        assert_eq!(pages, pages_expected);
    }

    #[test]
    fn comments_are_found_by_name() {
        let file = encode_in_pieces(&[0; 10], &[0; 10], 10);
        let reader = Reader::open(Cursor::new(&file)).expect("opened");
        assert_eq!(reader.comment("recording"), Some("0192-é"));
        assert_eq!(reader.comment("nothing"), None);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let begin = |settings, name: &str| {
            let comments = vec![(name.to_owned(), String::new())];
            let tags = Tags {
                vendor: String::new(),
                comments,
            };
            Writer::new(Vec::new(), settings, &tags)
                .err()
                .map(|error| error.to_string())
        };
        let good = Settings::default();
        assert_eq!(begin(good, "A B"), None);
        for name in ["", "A=B", "É", "A\n"] {
            assert_eq!(
                begin(good, name),
                Some(format!("comment name {name:?} cannot be written"))
            );
        }
        for settings in [
            Settings {
                bitrate_per_channel: 5_999,
                ..good
            },
            Settings {
                bitrate_per_channel: 128_001,
                ..good
            },
            Settings {
                complexity: 11,
                ..good
            },
        ] {
            let error = begin(settings, "A").expect("refused");
            assert!(error.starts_with("Opus settings out of range"), "{error}");
        }
        let mut writer = Writer::new(Vec::new(), good, &Tags::default()).expect("begun");
        let uneven = writer.push(&[1, 2], &[1]);
        assert!(matches!(
            uneven,
            Err(OggOpusError::ChannelsDiffer { left: 2, right: 1 })
        ));
        writer.push(&[1], &[1]).expect("pushed");
        assert_eq!(decode(&writer.finish().expect("finished")).0.len(), 1);
    }

    #[test]
    fn every_setting_in_range_gives_a_file_of_the_right_length() {
        for bitrate_per_channel in [6_000, 12_000, 64_000, 128_000] {
            for complexity in [0, 10] {
                let settings = Settings {
                    bitrate_per_channel,
                    complexity,
                    serial: 7,
                };
                let mut writer =
                    Writer::new(Vec::new(), settings, &Tags::default()).expect("begun");
                let sound = tone(900.0, 9_999);
                writer.push(&sound, &sound).expect("pushed");
                let (l, r) = decode(&writer.finish().expect("finished"));
                assert_eq!((l.len(), r.len()), (9_999, 9_999), "{settings:?}");
            }
        }
    }

    fn read_error(file: &[u8]) -> Option<OggOpusReadError> {
        Reader::open(Cursor::new(file))
            .and_then(|mut reader| reader.read_to_end())
            .err()
    }

    #[test]
    fn damaged_files_are_named_and_never_panic() {
        let good = encode_in_pieces(&tone(440.0, 20_000), &tone(440.0, 20_000), 160);
        assert!(read_error(&good).is_none());
        let pages: Vec<usize> = good
            .windows(4)
            .enumerate()
            .filter(|(_, w)| *w == b"OggS")
            .map(|(at, _)| at)
            .collect();
        assert_eq!(pages.len(), 5);
        let unfinished = read_error(&good[..pages[4]]);
        assert!(
            matches!(
                unfinished,
                Some(OggOpusReadError::Unfinished { samples: 15_948 })
            ),
            "{unfinished:?}"
        );
        let mut holed = good.clone();
        holed.drain(pages[2]..pages[3]);
        let hole = read_error(&holed);
        assert!(
            matches!(
                hole,
                Some(OggOpusReadError::Hole {
                    expected: 16_000,
                    found: 8_000
                })
            ),
            "{hole:?}"
        );
        assert!(matches!(read_error(b""), Some(OggOpusReadError::NotOpus)));
        for at in (0..good.len()).step_by(41) {
            let mut flipped = good.clone();
            flipped[at] ^= 0x10;
            assert!(
                read_error(&flipped).is_some(),
                "byte {at} flipped and nothing noticed"
            );
        }
    }

    #[test]
    fn heads_of_other_files_are_refused() {
        let check = |head: &[u8], expected: &str| {
            let mut ogg = PacketWriter::new(Vec::new());
            let end = PacketWriteEndInfo::EndPage;
            ogg.write_packet(head.to_vec(), 1, end, 0).expect("written");
            ogg.write_packet(b"OpusTags".to_vec(), 1, end, 0)
                .expect("written");
            let error = read_error(&ogg.into_inner()).expect("refused");
            assert_eq!(error.to_string(), expected);
        };
        let good = identification_header(312);
        let with = |at: usize, byte: u8| {
            let mut head = good.clone();
            head[at] = byte;
            head
        };
        check(
            &good,
            "the Ogg file ends without its last page, after 0 samples",
        );
        check(&good[..18], "not an Ogg Opus file");
        check(&with(0, b'o'), "not an Ogg Opus file");
        check(&with(8, 0x11), "not an Ogg Opus file");
        check(
            &with(9, 6),
            "Opus with 6 channels in mapping family 1 is not a recording",
        );
        check(
            &with(18, 0),
            "Opus with 2 channels in mapping family 0 is not a recording",
        );
        check(
            &good[..21],
            "Opus with 2 channels in mapping family 1 is not a recording",
        );
        check(&with(19, 0), "an Opus packet cannot be decoded");
        check(&with(21, 99), "an Opus packet cannot be decoded");
    }
}
