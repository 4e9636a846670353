//! One RTP datagram (RFC 3550 §5.1): checked and read in place, rewritten in place, or written new.
//!
//! The walk over the header extension (RFC 8285) is the guard in front of the `rtp` package, whose
//! reader takes an element's length from the packet without looking whether so many bytes are there.

use bytes::Bytes;
use rtp::header::Header;
use rtp::packet::Packet;
use webrtc_util::marshal::{Marshal, MarshalSize, Unmarshal};

use crate::{PayloadType, RtpTimestamp, SeqNo, Ssrc};

/// Octets of the fixed header, before CSRCs and the extension.
pub const FIXED_HEADER_LEN: usize = 12;

const VERSION: u8 = 2;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const CSRC_COUNT: u8 = 0x0f;
const MARKER_BIT: u8 = 0x80;
const PAYLOAD_TYPE: u8 = 0x7f;
const ONE_BYTE_PROFILE: u16 = 0xbede;
const TWO_BYTE_PROFILE: u16 = 0x1000;

/// Why a datagram is not a usable RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PacketError {
    /// Shorter than the fixed header.
    #[error("shorter than the fixed RTP header")]
    Short,
    /// Version is not 2.
    #[error("RTP version is not 2")]
    Version,
    /// The CSRC list goes past the end.
    #[error("CSRC list goes past the end")]
    Csrc,
    /// The extension's declared length goes past the end.
    #[error("header extension goes past the end")]
    Extension,
    /// An element of the extension goes past the extension (RFC 8285 §4.2, §4.3).
    #[error("header extension element goes past its extension")]
    ExtensionElement,
    /// The padding count is zero or larger than what follows the header (RFC 3550 §5.1).
    #[error("padding count is zero or too large")]
    Padding,
    /// The `rtp` package refused what the checks above accept.
    #[error("refused by the RTP packet model")]
    Model,
}

/// Why a packet could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The buffer is too small for the header and the payload.
    #[error("{needed} octets are needed, the buffer has {room}")]
    NoRoom {
        /// Octets of header and payload together.
        needed: usize,
        /// Octets in the buffer.
        room: usize,
    },
}

/// A checked RTP packet, read in place from the datagram it came in.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    header: &'a [u8; FIXED_HEADER_LEN],
    payload: &'a [u8],
    payload_at: usize,
}

impl<'a> View<'a> {
    /// Checks every length in the datagram (RFC 3550 A.1 first part, RFC 8285) and gives access to it.
    ///
    /// # Errors
    /// The first thing that is wrong; the datagram is to be dropped and counted.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let header: &[u8; FIXED_HEADER_LEN] = datagram.first_chunk().ok_or(PacketError::Short)?;
        let first = header[0];
        if first >> 6 != VERSION {
            return Err(PacketError::Version);
        }
        let mut start = FIXED_HEADER_LEN + usize::from(first & CSRC_COUNT) * 4;
        if start > datagram.len() {
            return Err(PacketError::Csrc);
        }
        if first & EXTENSION_BIT != 0 {
            start += extension_len(&datagram[start..])?;
        }
        let mut payload = &datagram[start..];
        if first & PADDING_BIT != 0 {
            let pad = usize::from(*payload.last().ok_or(PacketError::Padding)?);
            if pad == 0 || pad > payload.len() {
                return Err(PacketError::Padding);
            }
            payload = &payload[..payload.len() - pad];
        }
        Ok(Self {
            header,
            payload,
            payload_at: start,
        })
    }

    /// Who sent it.
    #[inline]
    pub fn ssrc(&self) -> Ssrc {
        Ssrc(u32::from_be_bytes([
            self.header[8],
            self.header[9],
            self.header[10],
            self.header[11],
        ]))
    }

    /// Its sequence number.
    #[inline]
    pub fn seq(&self) -> SeqNo {
        SeqNo(u16::from_be_bytes([self.header[2], self.header[3]]))
    }

    /// The sampling instant of its first octet.
    #[inline]
    pub fn timestamp(&self) -> RtpTimestamp {
        RtpTimestamp(u32::from_be_bytes([
            self.header[4],
            self.header[5],
            self.header[6],
            self.header[7],
        ]))
    }

    /// What the payload is, 0 to 127.
    #[inline]
    pub fn payload_type(&self) -> PayloadType {
        PayloadType(self.header[1] & PAYLOAD_TYPE)
    }

    /// The marker bit: for telephone speech, the first packet of a talk spurt (RFC 3551 §4.1).
    #[inline]
    pub fn marker(&self) -> bool {
        self.header[1] & MARKER_BIT != 0
    }

    /// The payload without padding; may be empty.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Where the payload starts in the datagram, in octets: to change it in place after the view ended.
    #[inline]
    pub fn payload_at(&self) -> usize {
        self.payload_at
    }
}

/// Octets of the header extension at the start of `rest`, its elements checked (RFC 8285 §4).
fn extension_len(rest: &[u8]) -> Result<usize, PacketError> {
    let head: &[u8; 4] = rest.first_chunk().ok_or(PacketError::Extension)?;
    let profile = u16::from_be_bytes([head[0], head[1]]);
    let len = 4 + usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
    let block = rest.get(4..len).ok_or(PacketError::Extension)?;
    match profile {
        ONE_BYTE_PROFILE => one_byte_elements(block)?,
        // The low four bits are the application's (RFC 8285 §4.3).
        _ if profile & 0xfff0 == TWO_BYTE_PROFILE => two_byte_elements(block)?,
        _ => {}
    }
    Ok(len)
}

/// RFC 8285 §4.2: `ID(4) len-1(4)`; a zero octet is padding, ID 15 ends the list.
fn one_byte_elements(mut block: &[u8]) -> Result<(), PacketError> {
    while let Some((&head, rest)) = block.split_first() {
        block = match head {
            0 => rest,
            _ if head >> 4 == 15 => break,
            _ => rest
                .get(usize::from(head & 0x0f) + 1..)
                .ok_or(PacketError::ExtensionElement)?,
        };
    }
    Ok(())
}

/// RFC 8285 §4.3: `ID(8) len(8)`; a zero ID is padding and has no length.
fn two_byte_elements(mut block: &[u8]) -> Result<(), PacketError> {
    while let Some((&id, rest)) = block.split_first() {
        block = if id == 0 {
            rest
        } else {
            let (&len, rest) = rest.split_first().ok_or(PacketError::ExtensionElement)?;
            rest.get(usize::from(len)..)
                .ok_or(PacketError::ExtensionElement)?
        };
    }
    Ok(())
}

/// What becomes of the marker bit when a packet is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// As received.
    Keep,
    /// Set, for the first packet after a break in what the receiver hears.
    Set,
    /// Cleared.
    Clear,
}

/// Gives a packet to another RTP session: new source, number and time stamp; CSRCs, extension,
/// padding and payload stay as they are. `None` keeps the payload type.
///
/// # Panics
/// If `datagram` was not accepted by [`View::parse`] (it is shorter than a header).
#[inline]
pub fn rewrite(
    datagram: &mut [u8],
    ssrc: Ssrc,
    seq: SeqNo,
    timestamp: RtpTimestamp,
    payload_type: Option<PayloadType>,
    marker: Marker,
) {
    let Some(header) = datagram.first_chunk_mut::<FIXED_HEADER_LEN>() else {
        panic!("only a datagram that View::parse accepted is rewritten");
    };
    let mut second = header[1];
    if let Some(payload_type) = payload_type {
        second = second & MARKER_BIT | payload_type.0 & PAYLOAD_TYPE;
    }
    match marker {
        Marker::Keep => {}
        Marker::Set => second |= MARKER_BIT,
        Marker::Clear => second &= !MARKER_BIT,
    }
    header[1] = second;
    header[2..4].copy_from_slice(&seq.0.to_be_bytes());
    header[4..8].copy_from_slice(&timestamp.0.to_be_bytes());
    header[8..12].copy_from_slice(&ssrc.0.to_be_bytes());
}

/// A packet to be sent: no CSRCs, no extension, no padding.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Who sends it.
    pub ssrc: Ssrc,
    /// Its sequence number.
    pub seq: SeqNo,
    /// The sampling instant of its first octet.
    pub timestamp: RtpTimestamp,
    /// What the payload is.
    pub payload_type: PayloadType,
    /// First packet of a talk spurt or of an event.
    pub marker: bool,
    /// The payload.
    pub payload: &'a [u8],
}

impl Outgoing<'_> {
    /// Writes header and payload to the start of `buffer` and says how many octets that were.
    /// Allocates nothing.
    ///
    /// # Errors
    /// [`WriteError::NoRoom`] when `buffer` is shorter than header and payload.
    pub fn write(&self, buffer: &mut [u8]) -> Result<usize, WriteError> {
        let header = Header {
            version: VERSION,
            marker: self.marker,
            payload_type: self.payload_type.0 & PAYLOAD_TYPE,
            sequence_number: self.seq.0,
            timestamp: self.timestamp.0,
            ssrc: self.ssrc.0,
            ..Header::default()
        };
        let no_room = WriteError::NoRoom {
            needed: header.marshal_size() + self.payload.len(),
            room: buffer.len(),
        };
        let start = header.marshal_to(buffer).map_err(|_| no_room)?;
        let end = start + self.payload.len();
        buffer
            .get_mut(start..end)
            .ok_or(no_room)?
            .copy_from_slice(self.payload);
        Ok(end)
    }
}

/// The packet as the `rtp` package models it, sharing the datagram's memory; for whoever wants CSRCs
/// and extensions as values.
///
/// # Errors
/// As [`View::parse`], which stands in front of the package's reader.
pub fn to_rtp(datagram: Bytes) -> Result<Packet, PacketError> {
    let view = View::parse(&datagram)?;
    let start = view.payload_at();
    let end = start + view.payload().len();
    let mut packet = Packet::unmarshal(&mut datagram.clone()).map_err(|_| PacketError::Model)?;
    // After an element with ID 15 the package takes the rest of the extension for payload.
    packet.payload = datagram.slice(start..end);
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "80 80 0001 000000a0 11223344 d5d5d5d5";

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("test data is hex"))
            .collect()
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, PacketError>) {
        let datagram = hex(text);
        let payload = View::parse(&datagram).map(|view| view.payload().to_vec());
        assert_eq!(payload, expected.map(hex), "{text}");
        let modelled = to_rtp(Bytes::from(datagram)).map(|packet| packet.payload.to_vec());
        assert_eq!(
            modelled,
            expected.map(hex),
            "as the package models it: {text}"
        );
    }

    #[test]
    fn payload_is_what_lies_between_header_and_padding() {
        check(PLAIN, Ok("d5d5d5d5"));
        check("80 00 0001 000000a0 11223344", Ok(""));
        check(
            "82 00 0001 000000a0 11223344 00000001 00000002 d5",
            Ok("d5"),
        );
        check("a0 00 0001 000000a0 11223344 d5d5 000003", Ok("d5d5"));
        check("a0 00 0001 000000a0 11223344 01", Ok(""));
        // RFC 8285 one-byte elements, padding between, a plain RFC 3550 extension, an empty one.
        check(
            "90 00 0001 000000a0 11223344 bede0002 10aa0000 21bbcc00 d5d5",
            Ok("d5d5"),
        );
        check(
            "90 00 0001 000000a0 11223344 abcd0001 01020304 d5",
            Ok("d5"),
        );
        check("90 00 0001 000000a0 11223344 bede0000 d5", Ok("d5"));
        // Two-byte elements; the second has no octets.
        check(
            "90 00 0001 000000a0 11223344 10000002 0102aabb 02000000 d5",
            Ok("d5"),
        );
        check(
            "91 00 0001 000000a0 11223344 00000009 10010001 0102aabb d5",
            Ok("d5"),
        );
        // ID 15 ends the list, whatever follows belongs to the extension still.
        check(
            "90 00 0001 000000a0 11223344 bede0002 10aaf5ff ffffffff d5d5",
            Ok("d5d5"),
        );
        check(
            "b0 00 0001 000000a0 11223344 bede0001 f5ffffff d5d5 02 02",
            Ok("d5d5"),
        );
    }

    #[test]
    fn every_wrong_length_is_named() {
        use PacketError::*;
        check("", Err(Short));
        check("80 00 0001 000000a0 112233", Err(Short));
        for first in ["00", "40", "c0"] {
            check(
                &format!("{first} 00 0001 000000a0 11223344 d5"),
                Err(Version),
            );
        }
        check("81 00 0001 000000a0 11223344 000000", Err(Csrc));
        check("8f 00 0001 000000a0 11223344 00000000", Err(Csrc));
        check("90 00 0001 000000a0 11223344", Err(Extension));
        check("90 00 0001 000000a0 11223344 bede00", Err(Extension));
        check(
            "90 00 0001 000000a0 11223344 bede0002 10aa0000",
            Err(Extension),
        );
        check(
            "90 00 0001 000000a0 11223344 bedeffff 10aa0000",
            Err(Extension),
        );
        check(
            "90 00 0001 000000a0 11223344 bede0001 1faabbcc",
            Err(ExtensionElement),
        );
        check(
            "90 00 0001 000000a0 11223344 bede0001 00000010 d5d5d5",
            Err(ExtensionElement),
        );
        check(
            "90 00 0001 000000a0 11223344 10000001 01ff0000",
            Err(ExtensionElement),
        );
        check(
            "90 00 0001 000000a0 11223344 10000001 00000001 d5d5d5",
            Err(ExtensionElement),
        );
        check(
            "90 00 0001 000000a0 11223344 100f0001 01ff0000",
            Err(ExtensionElement),
        );
        check("a0 00 0001 000000a0 11223344", Err(Padding));
        check("a0 00 0001 000000a0 11223344 d500", Err(Padding));
        check("a0 00 0001 000000a0 11223344 d503", Err(Padding));
        check("a1 00 0001 000000a0 11223344 00000005", Err(Padding));
    }

    #[test]
    fn fields_are_read_and_rewritten_in_place() {
        let mut datagram = hex("91 e5 fffe 01020304 11223344 00000007 abcd0001 01020304 d5d6");
        let view = View::parse(&datagram).expect("well formed");
        assert_eq!(view.seq(), SeqNo(0xfffe));
        assert_eq!(view.timestamp(), RtpTimestamp(0x0102_0304));
        assert_eq!(view.ssrc(), Ssrc(0x1122_3344));
        assert_eq!(view.payload_type(), PayloadType(101));
        assert!(view.marker());
        assert_eq!(view.payload_at(), 24);
        assert_eq!(&datagram[24..], [0xd5, 0xd6]);

        let to = (Ssrc(0xaabb_ccdd), SeqNo(5), RtpTimestamp(0xffff_ffff));
        rewrite(&mut datagram, to.0, to.1, to.2, None, Marker::Keep);
        assert_eq!(
            datagram,
            hex("91 e5 0005 ffffffff aabbccdd 00000007 abcd0001 01020304 d5d6")
        );
        rewrite(
            &mut datagram,
            to.0,
            to.1,
            to.2,
            Some(PayloadType(0x88)),
            Marker::Clear,
        );
        assert_eq!(datagram[1], 8, "the marker is no part of the payload type");
        rewrite(
            &mut datagram,
            to.0,
            to.1,
            to.2,
            Some(PayloadType(0)),
            Marker::Set,
        );
        assert_eq!(datagram[1], 0x80);
    }

    #[test]
    fn written_packets_are_read_back() {
        let packet = Outgoing {
            ssrc: Ssrc(0x1122_3344),
            seq: SeqNo(1),
            timestamp: RtpTimestamp(160),
            payload_type: PayloadType(0),
            marker: true,
            payload: &[0xd5; 4],
        };
        let mut buffer = [0xee; 20];
        assert_eq!(packet.write(&mut buffer), Ok(16));
        assert_eq!(buffer[..16], hex(PLAIN));
        assert_eq!(buffer[16..], [0xee; 4]);
        for room in [0, 11, 12, 15] {
            let refused = packet.write(&mut buffer[..room]);
            assert_eq!(refused, Err(WriteError::NoRoom { needed: 16, room }));
        }
        let modelled = to_rtp(Bytes::copy_from_slice(&buffer[..16])).expect("just written");
        assert_eq!(modelled.header.sequence_number, 1);
        assert_eq!(modelled.header.ssrc, 0x1122_3344);
    }
}
