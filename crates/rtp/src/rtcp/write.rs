//! Compound RTCP packets out.

use super::report::{
    Block, CNAME, GOODBYE, HEADER_LEN, MAX_COUNT, RECEIVER_REPORT, Report, RtcpError,
    SENDER_REPORT, SOURCE_DESCRIPTION,
};

/// Writes `reports` as one compound packet to the start of `buffer` and says how many octets that
/// were. The first must be [`Report::Sender`] or [`Report::Receiver`], and one
/// [`Report::Description`] should follow (RFC 3550 §6.1). Allocates nothing.
///
/// # Errors
/// [`RtcpError::NoReportFirst`]; [`RtcpError::Text`] for a text of more than 255 octets;
/// [`RtcpError::Count`] for more than 31 blocks or sources; [`RtcpError::NoRoom`].
pub fn write(reports: &[Report], buffer: &mut [u8]) -> Result<usize, RtcpError> {
    if !matches!(
        reports.first(),
        Some(Report::Sender { .. } | Report::Receiver { .. })
    ) {
        return Err(RtcpError::NoReportFirst);
    }
    let mut octets = Octets { buffer, len: 0 };
    for report in reports {
        octets.packet(report)?;
    }
    Ok(octets.len)
}

struct Octets<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl Octets<'_> {
    fn packet(&mut self, report: &Report) -> Result<(), RtcpError> {
        let start = self.len;
        // The header's place; its length is known at the end.
        self.word(0)?;
        let (kind, count) = match report {
            Report::Sender {
                ssrc,
                figures,
                blocks,
            } => {
                self.word(ssrc.0)?;
                self.put(&figures.ntp.0.to_be_bytes())?;
                for word in [figures.timestamp.0, figures.packets, figures.octets] {
                    self.word(word)?;
                }
                self.blocks(blocks)?;
                (SENDER_REPORT, blocks.len())
            }
            Report::Receiver { ssrc, blocks } => {
                self.word(ssrc.0)?;
                self.blocks(blocks)?;
                (RECEIVER_REPORT, blocks.len())
            }
            Report::Description { ssrc, cname } => {
                self.word(ssrc.0)?;
                self.put(&[CNAME])?;
                self.text(cname)?;
                // At least one null octet ends the items.
                self.put(&[0])?;
                (SOURCE_DESCRIPTION, 1)
            }
            Report::Goodbye { ssrcs, reason } => {
                for ssrc in ssrcs {
                    self.word(ssrc.0)?;
                }
                if !reason.is_empty() {
                    self.text(reason)?;
                }
                (GOODBYE, ssrcs.len())
            }
        };
        self.align()?;
        self.header(start, kind, count)
    }

    fn header(&mut self, start: usize, kind: u8, count: usize) -> Result<(), RtcpError> {
        if count > MAX_COUNT {
            return Err(RtcpError::Count);
        }
        // With 31 blocks of 24 octets and texts of 255 at most, far below 2^16 words.
        let [high, low] = (((self.len - start) / 4 - 1) as u16).to_be_bytes();
        let header = [0x80 | count as u8, kind, high, low];
        self.buffer[start..start + HEADER_LEN].copy_from_slice(&header);
        Ok(())
    }

    fn blocks(&mut self, blocks: &[Block]) -> Result<(), RtcpError> {
        for block in blocks.iter().take(MAX_COUNT) {
            let lost = block.cumulative_lost.clamp(-(1 << 23), (1 << 23) - 1) as u32 & 0xff_ffff;
            self.word(block.ssrc.0)?;
            self.word(u32::from(block.fraction_lost) << 24 | lost)?;
            self.word(block.highest_seq)?;
            self.word(block.jitter_ticks)?;
            self.word(block.last_sr)?;
            self.word(block.delay_since_last_sr)?;
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<(), RtcpError> {
        let len = u8::try_from(text.len()).map_err(|_| RtcpError::Text)?;
        self.put(&[len])?;
        self.put(text)
    }

    fn align(&mut self) -> Result<(), RtcpError> {
        self.put(&[0; 4][..self.len.next_multiple_of(4) - self.len])
    }

    fn word(&mut self, word: u32) -> Result<(), RtcpError> {
        self.put(&word.to_be_bytes())
    }

    fn put(&mut self, octets: &[u8]) -> Result<(), RtcpError> {
        let end = self.len + octets.len();
        let place = self
            .buffer
            .get_mut(self.len..end)
            .ok_or(RtcpError::NoRoom)?;
        place.copy_from_slice(octets);
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::rtcp::{NtpTime, SenderFigures, parse};
    use crate::{RtpTimestamp, Ssrc};

    fn block(cumulative_lost: i32) -> Block {
        Block {
            ssrc: Ssrc(7),
            fraction_lost: 64,
            cumulative_lost,
            highest_seq: 0x1_0005,
            jitter_ticks: 12,
            last_sr: 0xaabb_ccdd,
            delay_since_last_sr: 65_536,
        }
    }

    fn description(cname: &'static [u8]) -> Report {
        Report::Description {
            ssrc: Ssrc(1),
            cname: Bytes::from_static(cname),
        }
    }

    fn receiver() -> Report {
        Report::Receiver {
            ssrc: Ssrc(1),
            blocks: vec![],
        }
    }

    #[test]
    fn parse_and_write_are_inverses() {
        let figures = SenderFigures {
            ntp: NtpTime(0x1122_3344_5566_7788),
            timestamp: RtpTimestamp(160),
            packets: 50,
            octets: 8_000,
        };
        let bye = |reason: &'static [u8]| Report::Goodbye {
            ssrcs: vec![Ssrc(1), Ssrc(2)],
            reason: Bytes::from_static(reason),
        };
        let losses = vec![block(0), block(-1), block(-(1 << 23)), block((1 << 23) - 1)];
        let compounds = [
            vec![receiver()],
            vec![
                Report::Receiver {
                    ssrc: Ssrc(1),
                    blocks: losses.clone(),
                },
                description(b"a@b"),
            ],
            vec![
                Report::Sender {
                    ssrc: Ssrc(1),
                    figures,
                    blocks: losses,
                },
                description(b""),
            ],
            vec![receiver(), description(b"four"), bye(b"")],
            vec![
                receiver(),
                description(&[b'x'; 255]),
                bye(b"end of call"),
                bye(&[b'y'; 255]),
            ],
            vec![Report::Receiver {
                ssrc: Ssrc(1),
                blocks: vec![block(3); 31],
            }],
        ];
        for compound in compounds {
            let mut buffer = [0xee; 2_000];
            let len = write(&compound, &mut buffer).expect("it fits");
            assert_eq!(parse(&buffer[..len]).as_ref(), Ok(&compound));
            assert_eq!(
                write(&compound, &mut buffer[..len - 1]),
                Err(RtcpError::NoRoom)
            );
        }
    }

    #[test]
    fn unwritable_reports_are_refused() {
        let mut buffer = [0; 2_000];
        let mut check = |reports: &[Report], error| {
            assert_eq!(write(reports, &mut buffer), Err(error), "{reports:?}");
        };
        check(&[], RtcpError::NoReportFirst);
        check(&[description(b"a")], RtcpError::NoReportFirst);
        check(&[receiver(), description(&[b'x'; 256])], RtcpError::Text);
        let reason = Bytes::from_static(&[b'x'; 256]);
        check(
            &[
                receiver(),
                Report::Goodbye {
                    ssrcs: vec![],
                    reason,
                },
            ],
            RtcpError::Text,
        );
        let (ssrc, blocks) = (Ssrc(1), vec![block(0); 32]);
        check(&[Report::Receiver { ssrc, blocks }], RtcpError::Count);
        let (ssrcs, reason) = (vec![Ssrc(1); 32], Bytes::new());
        check(
            &[receiver(), Report::Goodbye { ssrcs, reason }],
            RtcpError::Count,
        );
    }
}
