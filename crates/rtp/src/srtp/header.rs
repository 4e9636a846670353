//! What of a packet stays in clear: read with checked lengths, before anything is authenticated.

use super::SrtpError;

const RTP_FIXED: usize = 12;
/// Octets of an SRTCP packet that are never encrypted (RFC 3711 §3.4).
pub(super) const RTCP_CLEAR: usize = 8;

/// The clear part of an RTP packet (RFC 3550 §5.1): fixed header, CSRCs and extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RtpHeader {
    pub(super) octets: usize,
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
}

impl RtpHeader {
    /// Reads the header of a packet of which the last `added` octets are the suite's.
    pub(super) fn parse(packet: &[u8], added: usize) -> Result<RtpHeader, SrtpError> {
        let fixed: &[u8; RTP_FIXED] = packet.first_chunk().ok_or(SrtpError::Short)?;
        if fixed[0] >> 6 != 2 {
            return Err(SrtpError::Version);
        }
        let mut octets = RTP_FIXED + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            let words = match packet.get(octets + 2..octets + 4) {
                Some(&[high, low]) => u16::from_be_bytes([high, low]),
                _ => return Err(SrtpError::Short),
            };
            octets += 4 + 4 * usize::from(words);
        }
        if octets + added > packet.len() {
            return Err(SrtpError::Short);
        }
        Ok(RtpHeader {
            octets,
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
        })
    }
}

/// The SSRC of the first packet of a compound RTCP packet of which `added` octets are the suite's.
pub(super) fn rtcp_ssrc(packet: &[u8], added: usize) -> Result<u32, SrtpError> {
    let clear: &[u8; RTCP_CLEAR] = packet.first_chunk().ok_or(SrtpError::Short)?;
    if RTCP_CLEAR + added > packet.len() {
        return Err(SrtpError::Short);
    }
    if clear[0] >> 6 != 2 {
        return Err(SrtpError::Version);
    }
    Ok(u32::from_be_bytes([clear[4], clear[5], clear[6], clear[7]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(first: u8, rest: &[u8], added: usize, expected: Result<usize, SrtpError>) {
        let mut packet = vec![first, 0, 0x12, 0x34, 0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef];
        packet.extend_from_slice(rest);
        let found = RtpHeader::parse(&packet, added);
        assert_eq!(found.map(|header| header.octets), expected, "{packet:02x?}");
        if let Ok(header) = found {
            assert_eq!((header.sequence, header.ssrc), (0x1234, 0xdead_beef));
        }
    }

    #[test]
    fn clear_part_of_rtp() {
        check(0x80, &[], 0, Ok(12));
        check(0x80, &[0; 10], 10, Ok(12));
        check(0x80, &[0; 9], 10, Err(SrtpError::Short));
        check(0x82, &[0; 8], 0, Ok(20));
        check(0x82, &[0; 7], 0, Err(SrtpError::Short));
        check(0x8f, &[0; 60], 0, Ok(72));
        check(0x90, &[0xbe, 0xde, 0, 1, 1, 2, 3, 4], 0, Ok(20));
        check(
            0x90,
            &[0xbe, 0xde, 0, 2, 1, 2, 3, 4],
            0,
            Err(SrtpError::Short),
        );
        check(0x90, &[0xbe, 0xde, 0xff, 0xff], 0, Err(SrtpError::Short));
        check(0x90, &[0xbe, 0xde, 0], 0, Err(SrtpError::Short));
        check(0x91, &[0, 0, 0, 0, 0xbe, 0xde, 0, 0], 0, Ok(20));
        check(0x00, &[0; 20], 0, Err(SrtpError::Version));
        check(0xc0, &[0; 20], 0, Err(SrtpError::Version));
    }

    #[test]
    fn clear_part_of_rtcp() {
        let packet = [0x81, 200, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4];
        assert_eq!(rtcp_ssrc(&packet, 4), Ok(9));
        assert_eq!(rtcp_ssrc(&packet, 5), Err(SrtpError::Short));
        assert_eq!(rtcp_ssrc(&packet[..7], 0), Err(SrtpError::Short));
        assert_eq!(rtcp_ssrc(&[0; 12], 0), Err(SrtpError::Version));
    }
}
