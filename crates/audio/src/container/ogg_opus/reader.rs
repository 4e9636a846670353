//! Reads the two-party Ogg Opus files that [`super`] writes, to the sample.

use std::io::{Read, Seek};

use ogg::{OggReadError, Packet, PacketReader};
use opus::MSDecoder;
use thiserror::Error;

use super::{GRANULES_PER_SAMPLE, MAPPING_FAMILY};
use crate::SAMPLE_RATE_HZ;

/// Longest packet Opus allows, 120 ms (RFC 6716 §3.2.5), in samples per channel.
const LONGEST_PACKET: usize = SAMPLE_RATE_HZ as usize * 120 / 1_000;

/// Why an Ogg Opus file cannot be read.
#[derive(Debug, Error)]
pub enum OggOpusReadError {
    /// The first packet is no `OpusHead` of a known version, or there is no second.
    #[error("not an Ogg Opus file")]
    NotOpus,
    /// Not two parties in channel mapping family 1.
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
        let (pre_skip, decoder) = read_head(&head.data)?;
        let comments = ogg.read_packet()?.ok_or(OggOpusReadError::NotOpus)?;
        if !comments.data.starts_with(b"OpusTags") {
            return Err(OggOpusReadError::NotOpus);
        }
        Ok(Self {
            ogg,
            decoder,
            serial: head.stream_serial(),
            comments: comments.data,
            pre_skip: u64::from(pre_skip) / GRANULES_PER_SAMPLE,
            decoded: 0,
            ended: false,
            buffer: vec![0; 2 * LONGEST_PACKET],
        })
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

    /// The next interleaved samples, owner first, usually 20 ms of them; `None` after the last.
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
                return Ok(Some(&self.buffer[2 * from..2 * to]));
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
        let expected = packet.absgp_page() / GRANULES_PER_SAMPLE;
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

fn read_head(head: &[u8]) -> Result<(u16, MSDecoder), OggOpusReadError> {
    // RFC 7845 §5.1: the upper four bits of the version are the incompatible ones.
    let (
        b"OpusHead",
        [
            version,
            channels,
            p0,
            p1,
            _,
            _,
            _,
            _,
            _,
            _,
            family,
            mapping @ ..,
        ],
    ) = head.split_at_checked(8).ok_or(OggOpusReadError::NotOpus)?
    else {
        return Err(OggOpusReadError::NotOpus);
    };
    if version >> 4 != 0 {
        return Err(OggOpusReadError::NotOpus);
    }
    let (2, MAPPING_FAMILY, [streams, coupled, left, right, ..]) = (*channels, *family, mapping)
    else {
        return Err(OggOpusReadError::UnsupportedMapping {
            channels: *channels,
            family: *family,
        });
    };
    let decoder = MSDecoder::new(SAMPLE_RATE_HZ, *streams, *coupled, &[*left, *right])?;
    Ok((u16::from_le_bytes([*p0, *p1]), decoder))
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
