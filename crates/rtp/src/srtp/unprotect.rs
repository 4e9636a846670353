//! The receiving side.

use std::fmt;

use super::cipher::{Cipher, Direction, GCM_TAG};
use super::header::{RTCP_CLEAR, RtpHeader, rtcp_ssrc};
use super::sources::Sources;
use super::{KeyError, MasterKey, SrtpError, Suite};

/// Sources that are remembered. One that was pushed out by eight newer ones may be replayed; only
/// who has the key can push one out.
const MOST_SOURCES: usize = 8;
/// Roll-over counters that are tried for the first packet of a source. RFC 3711 §3.3.1 has it begin
/// at 0, but the packets before the wrap may be lost, or sent before we had the key: at 50 packets
/// per second four turns are the first 87 minutes of a call.
const JOIN_TURNS: u64 = 4;
/// Octets of an MKI at most (RFC 4568 §6.1).
const LONGEST_MKI: usize = 128;
const TRAILER: usize = 4;
const ENCRYPTED: u32 = 1 << 31;

/// Makes RTP and RTCP of SRTP and SRTCP, in place, for one master key.
///
/// What a packet claims is believed when its tag is right, and only then is anything remembered: a
/// packet that is refused changes no roll-over counter, no replay window and no list of sources. The
/// octets of a refused packet are not specified afterwards (AEAD decrypts while it authenticates).
/// Nothing is allocated, except a copy of the first packet of a source with AEAD.
pub struct Unprotector {
    suite: Suite,
    mki_bytes: usize,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_sources: Sources,
    rtcp_sources: Sources,
}

impl Unprotector {
    /// An unprotector that has received nothing, for packets without an MKI.
    ///
    /// # Errors
    /// [`KeyError::Refused`].
    pub fn new(key: &MasterKey) -> Result<Unprotector, KeyError> {
        Unprotector::with_mki(key, 0)
    }

    /// An unprotector for a peer that puts a master key identifier of `mki_bytes` (0 to 128) into
    /// its packets (RFC 4568 §6.1). With one key there is nothing to choose: it is skipped unread.
    ///
    /// # Errors
    /// [`KeyError::Mki`] when it is longer than 128, [`KeyError::Refused`].
    pub fn with_mki(key: &MasterKey, mki_bytes: usize) -> Result<Unprotector, KeyError> {
        if mki_bytes > LONGEST_MKI {
            return Err(KeyError::Mki(mki_bytes));
        }
        Ok(Unprotector {
            suite: key.suite(),
            mki_bytes,
            rtp: Cipher::derive(key, Direction::Rtp)?,
            rtcp: Cipher::derive(key, Direction::Rtcp)?,
            rtp_sources: Sources::expecting(MOST_SOURCES),
            rtcp_sources: Sources::expecting(MOST_SOURCES),
        })
    }

    /// Authenticates and decrypts an SRTP packet; answers the octets of the RTP packet, which begins
    /// where the datagram begins.
    ///
    /// # Errors
    /// The datagram is not to be used; see [`SrtpError`].
    pub fn rtp(&mut self, datagram: &mut [u8]) -> Result<usize, SrtpError> {
        let added = self.rtp.tag_bytes() + self.mki_bytes;
        let header = RtpHeader::parse(datagram, added)?;
        let (index, octets) = match self.rtp_sources.find(header.ssrc) {
            Some(window) => {
                // At counter 0 there is no turn before: a peer that jumped ahead is believed by its tag.
                let index = match window.index_of(header.sequence) {
                    Err(SrtpError::TooOld) => u64::from(header.sequence),
                    other => other?,
                };
                window.check(index)?;
                (index, self.open_rtp(datagram, header, index)?)
            }
            None => self.join(datagram, header)?,
        };
        self.rtp_sources.mark(header.ssrc, index, MOST_SOURCES);
        Ok(octets)
    }

    /// Authenticates and decrypts an SRTCP packet; answers the octets of the compound RTCP packet,
    /// which begins where the datagram begins. A packet that is authenticated but not encrypted
    /// (E flag 0, RFC 3711 §3.4) is accepted.
    ///
    /// # Errors
    /// The datagram is not to be used; see [`SrtpError`].
    pub fn rtcp(&mut self, datagram: &mut [u8]) -> Result<usize, SrtpError> {
        let added = TRAILER + self.rtcp.tag_bytes() + self.mki_bytes;
        let ssrc = rtcp_ssrc(datagram, added)?;
        let octets = datagram.len() - added;
        let trailer_at = match &self.rtcp {
            Cipher::Counter(_) => octets,
            Cipher::Gcm(_) => octets + GCM_TAG,
        };
        let mut trailer = [0; TRAILER];
        trailer.copy_from_slice(&datagram[trailer_at..trailer_at + TRAILER]);
        let word = u32::from_be_bytes(trailer);
        let index = u64::from(word & !ENCRYPTED);
        if let Some(window) = self.rtcp_sources.find(ssrc) {
            window.check(index)?;
        }
        self.open_rtcp(datagram, octets, ssrc, word)?;
        self.rtcp_sources.mark(ssrc, index, MOST_SOURCES);
        Ok(octets)
    }

    /// Opens an SRTCP packet of which `octets` remain; `word` is its E flag and index.
    ///
    /// # Errors
    /// [`SrtpError::Tag`].
    fn open_rtcp(
        &self,
        datagram: &mut [u8],
        octets: usize,
        ssrc: u32,
        word: u32,
    ) -> Result<(), SrtpError> {
        let index = u64::from(word & !ENCRYPTED);
        let encrypted = word & ENCRYPTED != 0;
        match &self.rtcp {
            Cipher::Counter(counter) => {
                let tag_at = datagram.len() - self.rtcp.tag_bytes();
                counter.verify(&datagram[..octets + TRAILER], &[], &datagram[tag_at..])?;
                if encrypted {
                    counter.crypt(ssrc, index, &mut datagram[RTCP_CLEAR..octets]);
                }
                Ok(())
            }
            Cipher::Gcm(gcm) => {
                // What is in clear, then the trailer, are associated data (RFC 7714 §9.2, §9.3).
                let (clear, sealed) = match encrypted {
                    true => datagram.split_at_mut(RTCP_CLEAR),
                    false => datagram.split_at_mut(octets),
                };
                let sealed_octets = octets + GCM_TAG - clear.len();
                let mut short = [0; RTCP_CLEAR + TRAILER];
                let long;
                let aad: &[u8] = if encrypted {
                    short[..RTCP_CLEAR].copy_from_slice(clear);
                    short[RTCP_CLEAR..].copy_from_slice(&word.to_be_bytes());
                    &short
                } else {
                    long = [&*clear, &word.to_be_bytes()].concat();
                    &long
                };
                gcm.open(ssrc, index, aad, &mut sealed[..sealed_octets])
            }
        }
    }

    /// The first packet of a source: the roll-over counter is what the tag says it is.
    fn join(&self, datagram: &mut [u8], header: RtpHeader) -> Result<(u64, usize), SrtpError> {
        let kept = match &self.rtp {
            Cipher::Counter(_) => Vec::new(),
            Cipher::Gcm(_) => datagram.to_vec(),
        };
        for turn in 0..JOIN_TURNS {
            let index = turn << 16 | u64::from(header.sequence);
            if let Ok(octets) = self.open_rtp(datagram, header, index) {
                return Ok((index, octets));
            }
            if !kept.is_empty() {
                datagram.copy_from_slice(&kept);
            }
        }
        Err(SrtpError::Tag)
    }

    /// # Errors
    /// [`SrtpError::Tag`].
    fn open_rtp(
        &self,
        datagram: &mut [u8],
        header: RtpHeader,
        index: u64,
    ) -> Result<usize, SrtpError> {
        let tag_bytes = self.rtp.tag_bytes();
        let octets = datagram.len() - tag_bytes - self.mki_bytes;
        match &self.rtp {
            Cipher::Counter(counter) => {
                let tag_at = datagram.len() - tag_bytes;
                let roc = ((index >> 16) as u32).to_be_bytes();
                counter.verify(&datagram[..octets], &roc, &datagram[tag_at..])?;
                counter.crypt(header.ssrc, index, &mut datagram[header.octets..octets]);
            }
            Cipher::Gcm(gcm) => {
                let (clear, rest) = datagram.split_at_mut(header.octets);
                let sealed = octets + tag_bytes - header.octets;
                gcm.open(header.ssrc, index, clear, &mut rest[..sealed])?;
            }
        }
        Ok(octets)
    }
}

impl fmt::Debug for Unprotector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unprotector")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a sender makes that authenticates SRTCP without encrypting it.
    fn in_clear(key: &MasterKey, plain: &[u8], index: u32) -> Vec<u8> {
        let cipher = Cipher::derive(key, Direction::Rtcp).expect("keys");
        let trailer = index.to_be_bytes();
        let mut packet = plain.to_vec();
        match &cipher {
            Cipher::Counter(counter) => {
                packet.extend_from_slice(&trailer);
                let tag = counter.tag(&packet, &[]);
                packet.extend_from_slice(&tag.as_ref()[..cipher.tag_bytes()]);
            }
            Cipher::Gcm(gcm) => {
                let aad = [plain, &trailer].concat();
                packet.extend_from_slice(&gcm.seal(7, index.into(), &aad, &mut []));
                packet.extend_from_slice(&trailer);
            }
        }
        packet
    }

    #[test]
    fn srtcp_without_encryption() {
        let plain = [&[0x80, 201, 0, 1, 0, 0, 0, 7][..], &[0x81; 12]].concat();
        for suite in Suite::ALL {
            let octets = vec![0x5a; suite.key_bytes() + suite.salt_bytes()];
            let key = MasterKey::new(suite, &octets).expect("a key");
            let mut unprotector = Unprotector::new(&key).expect("an unprotector");
            let packet = in_clear(&key, &plain, 40);
            for at in 0..packet.len() {
                let mut broken = packet.clone();
                broken[at] ^= 0x04;
                assert!(unprotector.rtcp(&mut broken).is_err(), "{suite} {at}");
            }
            let mut datagram = packet.clone();
            assert_eq!(unprotector.rtcp(&mut datagram), Ok(plain.len()), "{suite}");
            assert_eq!(datagram[..plain.len()], plain);
            let mut again = packet.clone();
            assert_eq!(unprotector.rtcp(&mut again), Err(SrtpError::Replayed));
        }
    }
}
