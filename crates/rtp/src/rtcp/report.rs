//! What RTCP packets say, as values (RFC 3550 §6.4 to §6.6).

use bytes::Bytes;

use crate::{RtpTimestamp, Ssrc, WallTime};

pub(super) const SENDER_REPORT: u8 = 200;
pub(super) const RECEIVER_REPORT: u8 = 201;
pub(super) const SOURCE_DESCRIPTION: u8 = 202;
pub(super) const GOODBYE: u8 = 203;
/// SDES item with the canonical name (RFC 3550 §6.5.1).
pub(super) const CNAME: u8 = 1;
/// Octets before a packet's body.
pub(super) const HEADER_LEN: usize = 4;
/// Most blocks or sources one packet can count.
pub(super) const MAX_COUNT: usize = 31;
/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_UNIX_S: u64 = 2_208_988_800;

/// Why a datagram is not a usable RTCP packet, or a report cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RtcpError {
    /// Shorter than one header, or not a multiple of four octets.
    #[error("not a whole number of RTCP words")]
    Length,
    /// A version is not 2.
    #[error("RTCP version is not 2")]
    Version,
    /// The first packet is neither SR nor RR (RFC 3550 A.2).
    #[error("compound packet does not begin with a report")]
    NoReportFirst,
    /// A packet's declared length goes past the end of the datagram.
    #[error("RTCP packet goes past the end")]
    PastEnd,
    /// A packet is too short for what it counts, or counts more than 31 things.
    #[error("RTCP packet and its count do not fit")]
    Count,
    /// Padding anywhere but in the last packet, or longer than that.
    #[error("RTCP padding is wrong")]
    Padding,
    /// A text goes past its packet, or is longer than 255 octets.
    #[error("RTCP text is too long")]
    Text,
    /// The buffer is too small for the reports.
    #[error("the reports do not fit the buffer")]
    NoRoom,
}

/// 64-bit NTP time stamp: seconds since 1900 and their fraction in 1/2^32 (RFC 3550 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The middle 32 bits: what LSR carries, in 1/65,536 s.
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

impl From<WallTime> for NtpTime {
    fn from(wall: WallTime) -> Self {
        // The seconds wrap in 2036, as the RFC says: the shift drops the era.
        let seconds = wall.unix_us / 1_000_000 + NTP_UNIX_S;
        let fraction = ((wall.unix_us % 1_000_000) << 32) / 1_000_000;
        Self(seconds << 32 | fraction)
    }
}

/// What a sender says about itself (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderFigures {
    /// When the report was made.
    pub ntp: NtpTime,
    /// The same moment on the media clock.
    pub timestamp: RtpTimestamp,
    /// Packets sent since the beginning, modulo 2^32.
    pub packets: u32,
    /// Payload octets sent since the beginning, modulo 2^32.
    pub octets: u32,
}

/// A reception report block (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Whose packets it speaks of.
    pub ssrc: Ssrc,
    /// Share lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, -2^23 to 2^23-1.
    pub cumulative_lost: i32,
    /// Wraps in the high 16 bits, newest sequence number in the low 16.
    pub highest_seq: u32,
    /// Interarrival jitter in ticks.
    pub jitter_ticks: u32,
    /// Middle 32 bits of the NTP time of the last SR; 0 for none.
    pub last_sr: u32,
    /// Time since that SR came, in 1/65,536 s; 0 for none.
    pub delay_since_last_sr: u32,
}

/// One thing a compound packet says. Packets of other types and SDES items other than CNAME are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// SR.
    Sender {
        /// Who reports.
        ssrc: Ssrc,
        /// About itself.
        figures: SenderFigures,
        /// About others, at most 31.
        blocks: Vec<Block>,
    },
    /// RR.
    Receiver {
        /// Who reports.
        ssrc: Ssrc,
        /// About others, at most 31.
        blocks: Vec<Block>,
    },
    /// One chunk of SDES with its CNAME.
    Description {
        /// Who is described.
        ssrc: Ssrc,
        /// The name, at most 255 octets, meant to be UTF-8.
        cname: Bytes,
    },
    /// BYE.
    Goodbye {
        /// Who leaves, at most 31.
        ssrcs: Vec<Ssrc>,
        /// Why, at most 255 octets; empty for none.
        reason: Bytes,
    },
}

/// Whether a datagram on a shared port is RTCP and not RTP, by its packet type (RFC 5761 §4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_LEN && (192..=223).contains(&datagram[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_time_counts_from_1900() {
        let ntp = |unix_us| NtpTime::from(WallTime { unix_us });
        assert_eq!(ntp(0), NtpTime(0x83aa_7e80_0000_0000));
        assert_eq!(ntp(1_500_000), NtpTime(0x83aa_7e81_8000_0000));
        assert_eq!(ntp(1_500_000).middle(), 0x7e81_8000);
        // The era of 1900 ends on 2036-02-07T06:28:16Z.
        assert_eq!(ntp(2_085_978_496_000_000), NtpTime(0));
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_its_type() {
        for (second, expected) in [
            (200, true),
            (192, true),
            (223, true),
            (191, false),
            (224, false),
        ] {
            assert_eq!(is_rtcp(&[0x80, second, 0, 1]), expected, "{second}");
        }
        assert!(!is_rtcp(&[0x80, 200, 0]));
    }
}
