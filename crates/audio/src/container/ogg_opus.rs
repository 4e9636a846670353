//! Ogg Opus (RFC 7845) with each party in an Opus stream of its own.
//!
//! Joint stereo would let one party bleed into the other, so the two channels are two uncoupled
//! streams under channel mapping family 1, which still tells players which is left and right.
//! A recording of one channel is a single stream under family 0.
//!
//! 1. The first page holds `OpusHead`, the second ends with `OpusTags`.
//! 2. Each packet is 20 ms of all channels; each page is a second.
//!    Silence of all channels that lasts is one packet repeated: hours of it take little time.
//! 3. Granule positions count 48 kHz samples from the first decoded one. The pre-skip is the
//!    encoder's lookahead; what the last packet holds too much is cut by the last position
//!    (RFC 7845 §4.2 to §4.4), so a player hears exactly the samples pushed.

mod reader;
mod stillness;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use ogg::{PacketWriteEndInfo, PacketWriter};
use opus::{Application, Bitrate, MSEncoder, Signal};
use thiserror::Error;

pub use self::reader::{OggOpusReadError, Reader};
use self::stillness::Stillness;
pub use super::Layout;
use crate::SAMPLE_RATE_HZ;

/// Packets in a second, which is a page.
const PACKETS_PER_PAGE: u64 = 50;
/// Granule positions are in samples at 48 kHz whatever the input's rate (RFC 7845 §4).
const GRANULE_RATE_HZ: u32 = 48_000;
/// The rates libopus takes and gives (RFC 6716 §2).
const RATES_HZ: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];
/// More than two 20 ms Opus frames can take (RFC 6716 §3.4, 1,275 bytes each, plus framing).
const LARGEST_PACKET_BYTES: usize = 2 * 1_275 + 8;
/// RFC 7845 §5.1.1.1: one stream of one channel (or a coupled one, which we never write).
const FAMILY_ONE_STREAM: u8 = 0;
/// RFC 7845 §5.1.1.2: one or two channels have the meaning they have in Vorbis: left, right.
const FAMILY_VORBIS: u8 = 1;

/// What is encoded, and what the encoder spends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Samples per second and channel that are pushed: 8,000, 12,000, 16,000, 24,000 or 48,000.
    pub rate_hz: u32,
    /// Bits per second for each channel, 6,000 to 128,000.
    pub bitrate_per_channel: u32,
    /// Processor time against quality, 0 (least time) to 10.
    pub complexity: u8,
    /// The Ogg stream's serial number; any, best not the same in all files.
    pub serial: u32,
}

impl Default for Settings {
    /// 8 kHz. 24 kb/s a channel is ample for its speech (32 kb/s for that of wider rates);
    /// complexity 5 takes about 0.15 ms for 20 ms of both channels.
    fn default() -> Self {
        Self {
            rate_hz: SAMPLE_RATE_HZ,
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
    /// A sample rate that Opus does not have.
    #[error("Opus has no sample rate of {rate_hz} Hz")]
    Rate {
        /// As given.
        rate_hz: u32,
    },
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
    /// A push was not a whole number of frames; nothing of it was taken.
    #[error("{samples} samples are not whole frames of {channels} channels")]
    PartialFrame {
        /// Samples in the push.
        samples: usize,
        /// Channels of the file.
        channels: usize,
    },
    /// libopus failed.
    #[error("the Opus encoder failed")]
    Encoder(#[from] opus::Error),
    /// The sink failed.
    #[error("writing the Ogg file failed")]
    Io(#[from] io::Error),
}

/// Encodes one or two channels into Ogg Opus. Without [`Writer::finish`] the file lacks its end.
pub struct Writer<W: Write> {
    ogg: PacketWriter<'static, W>,
    encoder: MSEncoder,
    serial: u32,
    layout: Layout,
    rate_hz: u32,
    /// Samples per channel that the decoder gives before the first one pushed.
    lookahead: u64,
    /// Interleaved samples of the packet being filled.
    filling: Vec<i16>,
    /// Samples per channel pushed.
    pushed: u64,
    packets: u64,
    /// The newest packet: it is written when it is known whether it is the last.
    held: Option<Vec<u8>>,
    stillness: Stillness,
}

impl<W: Write> Writer<W> {
    /// Begins a file of two channels; see [`Writer::with_layout`].
    ///
    /// # Errors
    /// As [`Writer::with_layout`].
    pub fn new(sink: W, settings: Settings, tags: &Tags) -> Result<Self, OggOpusError> {
        Self::with_layout(sink, settings, tags, Layout::Stereo)
    }

    /// Makes the encoder and writes the two header pages.
    ///
    /// # Errors
    /// [`OggOpusError::Rate`], [`OggOpusError::Settings`] and [`OggOpusError::CommentName`] before
    /// writing; [`OggOpusError::Encoder`], [`OggOpusError::Io`].
    pub fn with_layout(
        sink: W,
        settings: Settings,
        tags: &Tags,
        layout: Layout,
    ) -> Result<Self, OggOpusError> {
        let mut encoder = encoder(settings, layout)?;
        let Settings {
            rate_hz, serial, ..
        } = settings;
        let lookahead = encoder.get_lookahead()? as u64;
        let comments = comment_header(tags)?;
        let mut ogg = PacketWriter::new(sink);
        let pre_skip = lookahead * granules_per_sample(rate_hz);
        let head = identification_header(layout, rate_hz, pre_skip as u16);
        ogg.write_packet(head, serial, PacketWriteEndInfo::EndPage, 0)?;
        ogg.write_packet(comments, serial, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self {
            ogg,
            encoder,
            serial,
            layout,
            rate_hz,
            lookahead,
            filling: Vec::with_capacity(packet_samples(rate_hz) * layout.channels()),
            pushed: 0,
            packets: 0,
            held: None,
            stillness: Stillness::default(),
        })
    }

    /// Appends samples of both channels of a stereo file, as many of each as the caller likes.
    ///
    /// # Errors
    /// [`OggOpusError::ChannelsDiffer`], [`OggOpusError::PartialFrame`] (the file has one channel)
    /// before anything is taken; [`OggOpusError::Encoder`], [`OggOpusError::Io`].
    pub fn push(&mut self, left: &[i16], right: &[i16]) -> Result<(), OggOpusError> {
        if left.len() != right.len() {
            return Err(OggOpusError::ChannelsDiffer {
                left: left.len(),
                right: right.len(),
            });
        }
        if self.layout == Layout::Mono {
            return Err(OggOpusError::PartialFrame {
                samples: left.len() + right.len(),
                channels: 1,
            });
        }
        self.pushed += left.len() as u64;
        let (mut left, mut right) = (left, right);
        while !left.is_empty() {
            let room = (self.packet_samples() - self.filling.len()) / 2;
            let now = room.min(left.len());
            let pairs = left[..now].iter().zip(&right[..now]);
            self.filling.extend(pairs.flat_map(|(&l, &r)| [l, r]));
            (left, right) = (&left[now..], &right[now..]);
            self.encode_full_packet()?;
        }
        Ok(())
    }

    /// Appends interleaved samples of all channels, as many frames as the caller likes.
    ///
    /// # Errors
    /// [`OggOpusError::PartialFrame`] before anything is taken; [`OggOpusError::Encoder`],
    /// [`OggOpusError::Io`].
    pub fn push_interleaved(&mut self, samples: &[i16]) -> Result<(), OggOpusError> {
        let channels = self.layout.channels();
        if !samples.len().is_multiple_of(channels) {
            return Err(OggOpusError::PartialFrame {
                samples: samples.len(),
                channels,
            });
        }
        self.pushed += (samples.len() / channels) as u64;
        let mut rest = samples;
        while !rest.is_empty() {
            let room = self.packet_samples() - self.filling.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.filling.extend_from_slice(now);
            self.encode_full_packet()?;
            rest = later;
        }
        Ok(())
    }

    /// Appends `frames` frames of silence.
    ///
    /// # Errors
    /// [`OggOpusError::Encoder`], [`OggOpusError::Io`].
    pub fn push_silence(&mut self, frames: u64) -> Result<(), OggOpusError> {
        self.pushed += frames;
        let mut left = frames;
        while left > 0 {
            let room = self.packet_samples() - self.filling.len();
            let now = left.min((room / self.layout.channels()) as u64);
            let filled = self.filling.len() + now as usize * self.layout.channels();
            self.filling.resize(filled, 0);
            self.encode_full_packet()?;
            left -= now;
        }
        Ok(())
    }

    /// Encodes what is left, writes the last page, flushes and returns the sink.
    ///
    /// # Errors
    /// [`OggOpusError::Encoder`], [`OggOpusError::Io`].
    pub fn finish(mut self) -> Result<W, OggOpusError> {
        let to_decode = self.lookahead + self.pushed;
        while self.packets * (packet_samples(self.rate_hz) as u64) < to_decode {
            self.filling.resize(self.packet_samples(), 0);
            self.encode_packet()?;
        }
        let last = self
            .held
            .take()
            .expect("the lookahead alone fills one packet");
        let end = to_decode * granules_per_sample(self.rate_hz);
        self.ogg
            .write_packet(last, self.serial, PacketWriteEndInfo::EndStream, end)?;
        let mut sink = self.ogg.into_inner();
        sink.flush()?;
        Ok(sink)
    }

    /// Samples of all channels in a packet.
    fn packet_samples(&self) -> usize {
        packet_samples(self.rate_hz) * self.layout.channels()
    }

    fn encode_full_packet(&mut self) -> Result<(), OggOpusError> {
        match self.filling.len() == self.packet_samples() {
            true => self.encode_packet(),
            false => Ok(()),
        }
    }

    fn encode_packet(&mut self) -> Result<(), OggOpusError> {
        let silent = self.filling.iter().all(|&sample| sample == 0);
        let packet = match self.stillness.packet(silent) {
            Some(packet) => packet,
            None => {
                let packet = self
                    .encoder
                    .encode_vec(&self.filling, LARGEST_PACKET_BYTES)?;
                self.stillness.encoded(&packet);
                packet
            }
        };
        self.filling.clear();
        if let Some(previous) = self.held.replace(packet) {
            let place = match self.packets.is_multiple_of(PACKETS_PER_PAGE) {
                true => PacketWriteEndInfo::EndPage,
                false => PacketWriteEndInfo::NormalPacket,
            };
            let granule = self.packets * packet_samples(GRANULE_RATE_HZ) as u64;
            self.ogg
                .write_packet(previous, self.serial, place, granule)?;
        }
        self.packets += 1;
        Ok(())
    }
}

/// Samples per channel in a packet: 20 ms.
const fn packet_samples(rate_hz: u32) -> usize {
    rate_hz as usize / 50
}

/// How far a sample moves the granule position, for the rates of Opus.
const fn granules_per_sample(rate_hz: u32) -> u64 {
    (GRANULE_RATE_HZ / rate_hz) as u64
}

fn encoder(settings: Settings, layout: Layout) -> Result<MSEncoder, OggOpusError> {
    let Settings {
        rate_hz,
        bitrate_per_channel,
        complexity,
        ..
    } = settings;
    if !RATES_HZ.contains(&rate_hz) {
        return Err(OggOpusError::Rate { rate_hz });
    }
    if !(6_000..=128_000).contains(&bitrate_per_channel) || complexity > 10 {
        return Err(OggOpusError::Settings {
            bitrate_per_channel,
            complexity,
        });
    }
    let (streams, mapping) = streams(layout);
    let mut encoder = MSEncoder::new(rate_hz, streams, 0, mapping, Application::Voip)?;
    let bitrate = i32::from(streams) * bitrate_per_channel as i32;
    encoder.set_bitrate(Bitrate::Bits(bitrate))?;
    encoder.set_complexity(i32::from(complexity))?;
    encoder.set_signal(Signal::Voice)?;
    Ok(encoder)
}

/// The number of streams, all uncoupled, and which of them each channel is.
const fn streams(layout: Layout) -> (u8, &'static [u8]) {
    match layout {
        Layout::Mono => (1, &[0]),
        Layout::Stereo => (2, &[0, 1]),
    }
}

/// `OpusHead` (RFC 7845 §5.1), numbers little-endian. Two channels:
///
/// ```text
///  0 "OpusHead" | u8 version 1 | u8 channels 2 | u16 pre-skip at 48 kHz | u32 rate
/// 16 i16 gain 0 | u8 mapping family 1 | u8 streams 2 | u8 coupled 0 | u8 0 | u8 1
/// ```
///
/// One channel: `channels` is 1, and it ends with the mapping family, 0.
fn identification_header(layout: Layout, rate_hz: u32, pre_skip: u16) -> Vec<u8> {
    let mut head = Vec::with_capacity(23);
    head.extend_from_slice(b"OpusHead\x01");
    head.push(layout.channels() as u8);
    head.extend_from_slice(&pre_skip.to_le_bytes());
    head.extend_from_slice(&rate_hz.to_le_bytes());
    head.extend_from_slice(&0_i16.to_le_bytes());
    match layout {
        Layout::Mono => head.push(FAMILY_ONE_STREAM),
        Layout::Stereo => {
            let (streams, mapping) = streams(layout);
            head.extend_from_slice(&[FAMILY_VORBIS, streams, 0]);
            head.extend_from_slice(mapping);
        }
    }
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
