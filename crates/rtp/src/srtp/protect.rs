//! The sending side.

use std::fmt;

use super::cipher::{Cipher, Direction};
use super::header::{RTCP_CLEAR, RtpHeader, rtcp_ssrc};
use super::sources::Sources;
use super::{KeyError, MasterKey, SrtpError, Suite};

/// Sources that one key may serve. A source is never forgotten while its key lives, because it would
/// come back with roll-over counter 0 and use key stream a second time.
const MOST_SOURCES: usize = 1024;
/// Sources that need no further memory.
const EXPECTED_SOURCES: usize = 4;
/// SRTCP indices have 31 bit; there is no second round with one key (RFC 3711 §9.2).
const LAST_RTCP_INDEX: u64 = (1 << 31) - 1;
const ENCRYPTED: u32 = 1 << 31;

/// Makes SRTP and SRTCP of RTP and RTCP, in place, for one master key.
///
/// The roll-over counter of each SSRC begins at 0 and follows the sequence numbers of the packets,
/// which may come a little out of order: a number is taken for the nearest to the highest one sent
/// (RFC 3711 §3.3.1). No index is used twice: a second packet with the number of one of the last 128
/// is refused, whatever is in it, because two payloads under one key stream give both away (and with
/// AEAD the key of the tags), and a receiver would drop it as a replay anyway.
pub struct Protector {
    suite: Suite,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_sources: Sources,
    rtcp_sources: Sources,
}

impl Protector {
    /// A protector that has sent nothing. A key may serve one protector only, ever.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn new(key: &MasterKey) -> Result<Protector, KeyError> {
        Ok(Protector {
            suite: key.suite(),
            rtp: Cipher::derive(key, Direction::Rtp)?,
            rtcp: Cipher::derive(key, Direction::Rtcp)?,
            rtp_sources: Sources::expecting(EXPECTED_SOURCES),
            rtcp_sources: Sources::expecting(EXPECTED_SOURCES),
        })
    }

    /// Protects an RTP packet, which grows by at most [`Suite::longest_overhead`] octets; nothing is
    /// allocated when the vector has room for them. CSRCs and header extension stay in clear.
    ///
    /// # Errors
    /// [`SrtpError::Short`], [`SrtpError::Version`]: not an RTP packet. [`SrtpError::Replayed`],
    /// [`SrtpError::TooOld`], [`SrtpError::Exhausted`], [`SrtpError::Sources`]: it has no index left.
    /// The packet is then as it was.
    pub fn rtp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        let header = RtpHeader::parse(packet, 0)?;
        let index = self.rtp_index(header)?;
        match &self.rtp {
            Cipher::Counter(counter) => {
                counter.crypt(header.ssrc, index, &mut packet[header.octets..]);
                let roc = (index >> 16) as u32;
                let tag = counter.tag(packet, &roc.to_be_bytes());
                packet.extend_from_slice(&tag.as_ref()[..self.rtp.tag_bytes()]);
            }
            Cipher::Gcm(gcm) => {
                let (clear, payload) = packet.split_at_mut(header.octets);
                let tag = gcm.seal(header.ssrc, index, clear, payload);
                packet.extend_from_slice(&tag);
            }
        }
        self.rtp_sources.mark(header.ssrc, index, MOST_SOURCES);
        Ok(())
    }

    /// Protects a compound RTCP packet, which grows by at most [`Suite::longest_overhead`] octets.
    ///
    /// # Errors
    /// [`SrtpError::Short`], [`SrtpError::Version`]: not an RTCP packet. [`SrtpError::Exhausted`],
    /// [`SrtpError::Sources`]: it has no index left. The packet is then as it was.
    pub fn rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), SrtpError> {
        let ssrc = rtcp_ssrc(packet, 0)?;
        let index = self.rtcp_index(ssrc)?;
        let trailer = (ENCRYPTED | index as u32).to_be_bytes();
        match &self.rtcp {
            Cipher::Counter(counter) => {
                counter.crypt(ssrc, index, &mut packet[RTCP_CLEAR..]);
                packet.extend_from_slice(&trailer);
                let tag = counter.tag(packet, &[]);
                packet.extend_from_slice(&tag.as_ref()[..self.rtcp.tag_bytes()]);
            }
            Cipher::Gcm(gcm) => {
                let (clear, payload) = packet.split_at_mut(RTCP_CLEAR);
                let mut aad = [0; RTCP_CLEAR + 4];
                aad[..RTCP_CLEAR].copy_from_slice(clear);
                aad[RTCP_CLEAR..].copy_from_slice(&trailer);
                let tag = gcm.seal(ssrc, index, &aad, payload);
                packet.extend_from_slice(&tag);
                packet.extend_from_slice(&trailer);
            }
        }
        self.rtcp_sources.mark(ssrc, index, MOST_SOURCES);
        Ok(())
    }

    fn rtp_index(&self, header: RtpHeader) -> Result<u64, SrtpError> {
        match self.rtp_sources.find(header.ssrc) {
            Some(window) => {
                let index = window.index_of(header.sequence)?;
                window.check(index).map(|()| index)
            }
            None if self.rtp_sources.len() >= MOST_SOURCES => Err(SrtpError::Sources),
            None => Ok(u64::from(header.sequence)),
        }
    }

    fn rtcp_index(&self, ssrc: u32) -> Result<u64, SrtpError> {
        match self.rtcp_sources.find(ssrc) {
            Some(window) if window.highest() >= LAST_RTCP_INDEX => Err(SrtpError::Exhausted),
            Some(window) => Ok(window.highest() + 1),
            None if self.rtcp_sources.len() >= MOST_SOURCES => Err(SrtpError::Sources),
            None => Ok(0),
        }
    }
}

impl fmt::Debug for Protector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protector")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}
