//! Reads the Ogg Opus files that [`super`] writes, to the sample.

use std::io::{Read, Seek};

use ogg::{OggReadError, Packet, PacketReader};
use opus::MSDecoder;
use thiserror::Error;

use super::{FAMILY_ONE_STREAM, FAMILY_VORBIS, GRANULE_RATE_HZ, Layout, RATES_HZ};
use super::{granules_per_sample, streams};

/// Longest packet Opus allows (RFC 6716 §3.2.5).
const LONGEST_PACKET_MS: usize = 120;

/// Why an Ogg Opus file cannot be read.
#[derive(Debug, Error)]
pub enum OggOpusReadError {
    /// The first packet is no `OpusHead` of a known version, or there is no second.
    #[error("not an Ogg Opus file")]
    NotOpus,
    /// Neither one channel in channel mapping family 0 nor two in family 1.
    #[error("Opus with {channels} channels in mapping family {family} is not a recording")]
    UnsupportedMapping {
        /// Channels in the header.
        channels: u8,
        /// Channel mapping family in the header.
        family: u8,
    },
    /// The pages between do not hold the audio their positions say.
    #[error("audio is missing: {found} samples where the file says {expected}")]
    Hole {
        /// Samples per channel the granule position asks for, pre-skip included.
        expected: u64,
        /// Samples per channel decoded until there.
        found: u64,
    },
    /// The last page is missing.
    #[error("the Ogg file ends without its last page, after {samples} samples")]
    Unfinished {
        /// Samples per channel given before the end.
        samples: u64,
    },
    /// A packet libopus refuses.
    #[error("an Opus packet cannot be decoded")]
    Decoder(#[from] opus::Error),
    /// A page that is damaged (the checksum is checked), or the source failed.
    #[error("the Ogg file is damaged or cannot be read")]
    Ogg(#[from] OggReadError),
}

/// Decodes a file piece by piece.
pub struct Reader<R: Read + Seek> {
    ogg: PacketReader<R>,
    decoder: MSDecoder,
    layout: Layout,
    rate_hz: u32,
    serial: u32,
    comments: Vec<u8>,
    pre_skip: u64,
    /// Samples per channel decoded, pre-skip included.
    decoded: u64,
    ended: bool,
    buffer: Vec<i16>,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the two headers.
    ///
    /// # Errors
    /// [`OggOpusReadError::NotOpus`], [`OggOpusReadError::UnsupportedMapping`],
    /// [`OggOpusReadError::Decoder`] (bad mapping), [`OggOpusReadError::Ogg`].
    pub fn open(source: R) -> Result<Self, OggOpusReadError> {
        let mut ogg = PacketReader::new(source);
        let head = match ogg.read_packet() {
            Err(OggReadError::NoCapturePatternFound) => return Err(OggOpusReadError::NotOpus),
            head => head?.ok_or(OggOpusReadError::NotOpus)?,
        };
        let head_fields = read_head(&head.data)?;
        let comments = ogg.read_packet()?.ok_or(OggOpusReadError::NotOpus)?;
        if !comments.data.starts_with(b"OpusTags") {
            return Err(OggOpusReadError::NotOpus);
        }
        let Head {
            layout,
            rate_hz,
            pre_skip,
            decoder,
        } = head_fields;
        let longest_packet = rate_hz as usize * LONGEST_PACKET_MS / 1_000;
        Ok(Self {
            ogg,
            decoder,
            layout,
            rate_hz,
            serial: head.stream_serial(),
            comments: comments.data,
            pre_skip: u64::from(pre_skip) / granules_per_sample(rate_hz),
            decoded: 0,
            ended: false,
            buffer: vec![0; layout.channels() * longest_packet],
        })
    }

    /// The number of channels.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Samples per second and channel that are given: those of the encoder's input when Opus
    /// has that rate, else 48,000.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// The value of the comment called `name` (case does not matter), if it is there.
    #[must_use]
    pub fn comment(&self, name: &str) -> Option<&str> {
        let mut rest = self.comments.get(8..)?;
        take_text(&mut rest)?;
        for _ in 0..take_u32(&mut rest)? {
            let (key, value) = take_text(&mut rest)?.split_once('=')?;
            if key.eq_ignore_ascii_case(name) {
                return Some(value);
            }
        }
        None
    }

    /// The next interleaved samples, owner first where there are two, usually 20 ms of them; `None` after the last.
    ///
    /// # Errors
    /// [`OggOpusReadError::Hole`], [`OggOpusReadError::Unfinished`],
    /// [`OggOpusReadError::Decoder`], [`OggOpusReadError::Ogg`].
    pub fn next_samples(&mut self) -> Result<Option<&[i16]>, OggOpusReadError> {
        while !self.ended {
            let Some(packet) = self.ogg.read_packet()? else {
                let samples = self.decoded.saturating_sub(self.pre_skip);
                return Err(OggOpusReadError::Unfinished { samples });
            };
            if packet.stream_serial() != self.serial {
                continue;
            }
            let (from, to) = self.decode(&packet)?;
            if from < to {
                let channels = self.layout.channels();
                return Ok(Some(&self.buffer[channels * from..channels * to]));
            }
        }
        Ok(None)
    }

    /// Decodes all remaining interleaved samples.
    ///
    /// # Errors
    /// As [`Reader::next_samples`].
    pub fn read_to_end(&mut self) -> Result<Vec<i16>, OggOpusReadError> {
        let mut all = Vec::new();
        while let Some(samples) = self.next_samples()? {
            all.extend_from_slice(samples);
        }
        Ok(all)
    }

    /// Decodes a packet into the buffer; returns which of its frames are to be heard.
    fn decode(&mut self, packet: &Packet) -> Result<(usize, usize), OggOpusReadError> {
        let length = self.decoder.decode(&packet.data, &mut self.buffer, false)? as u64;
        let start = self.decoded;
        self.decoded += length;
        self.ended = packet.last_in_stream();
        // The position of a page is that of its last packet's end; only on the stream's last
        // page may it say less than was decoded (RFC 7845 §4.4).
        let expected = packet.absgp_page() / granules_per_sample(self.rate_hz);
        let page_is_short = packet.last_in_page() && !self.ended && expected < self.decoded;
        if packet.last_in_page() && expected > self.decoded || page_is_short {
            return Err(OggOpusReadError::Hole {
                expected,
                found: self.decoded,
            });
        }
        let from = self.pre_skip.clamp(start, self.decoded) - start;
        let to = expected.clamp(start, self.decoded) - start;
        Ok((from as usize, to as usize))
    }
}

/// What the identification header tells.
struct Head {
    layout: Layout,
    rate_hz: u32,
    /// At 48 kHz.
    pre_skip: u16,
    decoder: MSDecoder,
}

fn read_head(head: &[u8]) -> Result<Head, OggOpusReadError> {
    let (b"OpusHead", fields) = head.split_at_checked(8).ok_or(OggOpusReadError::NotOpus)? else {
        return Err(OggOpusReadError::NotOpus);
    };
    let &[
        version,
        channels,
        p0,
        p1,
        r0,
        r1,
        r2,
        r3,
        _,
        _,
        family,
        ref mapping @ ..,
    ] = fields
    else {
        return Err(OggOpusReadError::NotOpus);
    };
    // RFC 7845 §5.1: the upper four bits of the version are the incompatible ones.
    if version >> 4 != 0 {
        return Err(OggOpusReadError::NotOpus);
    }
    // The rate of the encoder's input is a hint (RFC 7845 §5.1): it need not be one of Opus.
    let rate_hz = Some(u32::from_le_bytes([r0, r1, r2, r3]))
        .filter(|rate_hz| RATES_HZ.contains(rate_hz))
        .unwrap_or(GRANULE_RATE_HZ);
    let (layout, decoder) = match (channels, family, mapping) {
        (1, FAMILY_ONE_STREAM, _) => {
            let (streams, mapping) = streams(Layout::Mono);
            (Layout::Mono, MSDecoder::new(rate_hz, streams, 0, mapping)?)
        }
        (2, FAMILY_VORBIS, &[streams, coupled, left, right, ..]) => {
            let decoder = MSDecoder::new(rate_hz, streams, coupled, &[left, right])?;
            (Layout::Stereo, decoder)
        }
        _ => return Err(OggOpusReadError::UnsupportedMapping { channels, family }),
    };
    Ok(Head {
        layout,
        rate_hz,
        pre_skip: u16::from_le_bytes([p0, p1]),
        decoder,
    })
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = take_u32(bytes)? as usize;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}
