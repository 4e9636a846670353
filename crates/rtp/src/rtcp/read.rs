//! Compound RTCP packets in: every length is checked before it is believed (RFC 3550 A.2).

use bytes::Bytes;

use super::report::{
    Block, CNAME, GOODBYE, HEADER_LEN, NtpTime, RECEIVER_REPORT, Report, RtcpError, SENDER_REPORT,
    SOURCE_DESCRIPTION, SenderFigures,
};
use crate::{RtpTimestamp, Ssrc};

/// Reads a compound packet.
///
/// # Errors
/// The first thing that is wrong; the datagram is to be dropped and counted.
pub fn parse(datagram: &[u8]) -> Result<Vec<Report>, RtcpError> {
    if datagram.len() < HEADER_LEN || !datagram.len().is_multiple_of(4) {
        return Err(RtcpError::Length);
    }
    if !matches!(datagram[1], SENDER_REPORT | RECEIVER_REPORT) {
        return Err(RtcpError::NoReportFirst);
    }
    let mut reports = Vec::new();
    let mut rest = datagram;
    while let Some((&[first, kind, high, low], after_header)) = rest.split_first_chunk() {
        if first >> 6 != 2 {
            return Err(RtcpError::Version);
        }
        let len = usize::from(u16::from_be_bytes([high, low])) * 4;
        let (body, after) = after_header
            .split_at_checked(len)
            .ok_or(RtcpError::PastEnd)?;
        let body = if first & 0x20 == 0 {
            body
        } else {
            without_padding(body, after)?
        };
        read_packet(kind, first & 0x1f, body, &mut reports)?;
        rest = after;
    }
    Ok(reports)
}

/// Only the last packet may be padded (RFC 3550 §6.4.1). A count that is no multiple of four is let
/// pass: widespread writers pad the reason of a BYE like that.
fn without_padding<'a>(body: &'a [u8], after: &[u8]) -> Result<&'a [u8], RtcpError> {
    let pad = body.last().map_or(0, |&pad| usize::from(pad));
    if !after.is_empty() || pad == 0 {
        return Err(RtcpError::Padding);
    }
    let len = body.len().checked_sub(pad).ok_or(RtcpError::Padding)?;
    Ok(&body[..len])
}

fn read_packet(kind: u8, count: u8, body: &[u8], to: &mut Vec<Report>) -> Result<(), RtcpError> {
    let mut octets = Octets(body);
    match kind {
        SENDER_REPORT => {
            let ssrc = octets.ssrc()?;
            let figures = SenderFigures {
                ntp: NtpTime(u64::from(octets.word()?) << 32 | u64::from(octets.word()?)),
                timestamp: RtpTimestamp(octets.word()?),
                packets: octets.word()?,
                octets: octets.word()?,
            };
            to.push(Report::Sender {
                ssrc,
                figures,
                blocks: octets.blocks(count)?,
            });
        }
        RECEIVER_REPORT => {
            let ssrc = octets.ssrc()?;
            to.push(Report::Receiver {
                ssrc,
                blocks: octets.blocks(count)?,
            });
        }
        SOURCE_DESCRIPTION => read_description(octets, count, to)?,
        GOODBYE => {
            let ssrcs = (0..count)
                .map(|_| octets.ssrc())
                .collect::<Result<_, _>>()?;
            let reason = if octets.0.is_empty() {
                &[]
            } else {
                octets.text()?
            };
            to.push(Report::Goodbye {
                ssrcs,
                reason: Bytes::copy_from_slice(reason),
            });
        }
        // Feedback, XR, APP: of no use here, and whole by the checks above.
        _ => {}
    }
    Ok(())
}

/// Chunks of `SSRC, items, null octets up to the next word` (RFC 3550 §6.5).
fn read_description(mut octets: Octets, count: u8, to: &mut Vec<Report>) -> Result<(), RtcpError> {
    let whole = octets.0.len();
    for _ in 0..count {
        let ssrc = octets.ssrc()?;
        while let kind @ 1.. = octets.octet()? {
            let text = octets.text()?;
            if kind == CNAME {
                to.push(Report::Description {
                    ssrc,
                    cname: Bytes::copy_from_slice(text),
                });
            }
        }
        let read = whole - octets.0.len();
        octets.take(read.next_multiple_of(4) - read)?;
    }
    Ok(())
}

/// What is left of a packet's body.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], RtcpError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(RtcpError::Text)?;
        self.0 = rest;
        Ok(taken)
    }

    fn octet(&mut self) -> Result<u8, RtcpError> {
        Ok(self.take(1)?[0])
    }

    /// One octet of length, then so many octets.
    fn text(&mut self) -> Result<&'a [u8], RtcpError> {
        let len = self.octet()?;
        self.take(usize::from(len))
    }

    fn word(&mut self) -> Result<u32, RtcpError> {
        let (&word, rest) = self.0.split_first_chunk().ok_or(RtcpError::Count)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(word))
    }

    fn ssrc(&mut self) -> Result<Ssrc, RtcpError> {
        self.word().map(Ssrc)
    }

    fn blocks(&mut self, count: u8) -> Result<Vec<Block>, RtcpError> {
        (0..count).map(|_| self.block()).collect()
    }

    fn block(&mut self) -> Result<Block, RtcpError> {
        let ssrc = self.ssrc()?;
        let lost = self.word()?;
        Ok(Block {
            ssrc,
            fraction_lost: (lost >> 24) as u8,
            // The low 24 bits, signed.
            cumulative_lost: ((lost << 8) as i32) >> 8,
            highest_seq: self.word()?,
            jitter_ticks: self.word()?,
            last_sr: self.word()?,
            delay_since_last_sr: self.word()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver() -> Report {
        Report::Receiver {
            ssrc: Ssrc(1),
            blocks: vec![],
        }
    }

    fn octets(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[track_caller]
    fn check(words: &[u32], expected: Result<&[Report], RtcpError>) {
        assert_eq!(
            parse(&octets(words)),
            expected.map(<[Report]>::to_vec),
            "{words:08x?}"
        );
    }

    #[test]
    fn only_whole_compounds_are_read() {
        use RtcpError::*;
        const RR: [u32; 2] = [0x80c9_0001, 1];
        check(&RR, Ok(&[receiver()]));
        check(&[], Err(Length));
        assert_eq!(parse(&octets(&RR)[..7]), Err(Length));
        check(&[0x40c9_0001, 1], Err(Version));
        check(&[RR[0], RR[1], 0x00cb_0000], Err(Version));
        check(&[0x81ca_0002, 1, 0x0100_0000], Err(NoReportFirst));
        check(&[0x80c9_0002, 1], Err(PastEnd));
        check(&[0x80c9_ffff, 1], Err(PastEnd));
        check(&[0x80c9_0000], Err(Count));
        check(&[0x81c9_0001, 1], Err(Count));
        check(&[0x80c8_0001, 1], Err(Count));
        check(&[RR[0], RR[1], 0x82cb_0001, 1], Err(Count));
        check(&[RR[0], RR[1], 0x81cb_0002, 1, 0x0561_6263], Err(Text));
        // Packets of other types are left out.
        check(
            &[RR[0], RR[1], 0x81cd_0001, 1, 0x80cc_0001, 1],
            Ok(&[receiver()]),
        );
    }

    #[test]
    fn descriptions_are_read_for_their_names() {
        let name = |ssrc, text: &'static [u8]| Report::Description {
            ssrc: Ssrc(ssrc),
            cname: Bytes::from_static(text),
        };
        let check = |sdes: &[u32], expected: Result<&[Report], RtcpError>| {
            let words = [&[0x80c9_0001, 1], sdes].concat();
            let whole = expected.map(|names| [&[receiver()], names].concat());
            assert_eq!(parse(&octets(&words)), whole, "{sdes:08x?}");
        };
        check(&[0x80ca_0000], Ok(&[]));
        check(&[0x81ca_0002, 1, 0x0102_6162], Err(RtcpError::Text));
        check(&[0x81ca_0003, 1, 0x0102_6162, 0], Ok(&[name(1, b"ab")]));
        check(&[0x81ca_0002, 1, 0x0101_6100], Ok(&[name(1, b"a")]));
        // TOOL, PRIV and an item of no known type before it; a second chunk; one without items.
        let many = [
            1,
            0x0601_7808,
            0x0101_c800,
            0x0101_6100,
            2,
            0x0101_6200,
            3,
            0,
        ];
        check(
            &[&[0x83ca_0008], &many[..]].concat(),
            Ok(&[name(1, b"a"), name(2, b"b")]),
        );
        // Texts and chunks that go past their packet.
        check(&[0x81ca_0002, 1, 0x01ff_6162], Err(RtcpError::Text));
        check(&[0x81ca_0001, 1], Err(RtcpError::Text));
        check(&[0x82ca_0002, 1, 0], Err(RtcpError::Count));
    }

    #[test]
    fn padding_is_the_last_packets_only() {
        use RtcpError::*;
        let bye = Report::Goodbye {
            ssrcs: vec![Ssrc(1)],
            reason: Bytes::new(),
        };
        check(
            &[0x80c9_0001, 1, 0xa1cb_0002, 1, 4],
            Ok(&[receiver(), bye.clone()]),
        );
        check(
            &[0x80c9_0001, 1, 0xa1cb_0003, 1, 9, 8],
            Ok(&[receiver(), bye]),
        );
        check(&[0xa0c9_0002, 1, 4], Ok(&[receiver()]));
        check(&[0xa0c9_0002, 1, 4, 0x81cb_0001, 1], Err(Padding));
        check(&[0xa0c9_0000], Err(Padding));
        for pad in [0, 9, 12, 0xff] {
            check(&[0xa0c9_0002, 1, pad], Err(Padding));
        }
        check(&[0xa0c9_0002, 1, 8], Err(Count));
        // As some writers end a BYE without a reason.
        let bye = Report::Goodbye {
            ssrcs: vec![Ssrc(1)],
            reason: Bytes::new(),
        };
        check(&[0x80c9_0001, 1, 0xa1cb_0002, 1, 3], Ok(&[receiver(), bye]));
    }
}
