//! One DTLS association from its ClientHello to the exported keys.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use dimpl::{Dtls, Output, SrtpProfile};

use super::{DtlsError, Fingerprint, Identity, Role};
use crate::srtp::{MasterKey, Suite};

/// Octets that the first poll has room for; a certificate may ask for more.
const FIRST_BUFFER: usize = 2048;
/// A peer certificate longer than this is not one for a telephone.
const LONGEST_OUTPUT: usize = 16 * 1024;
/// How long we wait for keys, the peer's ClientHello included.
const PATIENCE: Duration = Duration::from_secs(60);
/// A timer further away than this means that nothing is waited for.
const IDLE: Duration = Duration::from_secs(3600);

/// The keys of a finished handshake (RFC 5764 §4.2), each for one [`crate::srtp::Protector`] or
/// [`crate::srtp::Unprotector`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// What we protect with.
    pub ours: MasterKey,
    /// What the peer protects with.
    pub theirs: MasterKey,
}

/// One DTLS handshake with one peer.
///
/// After each call of `new`, `handle` or `handle_timeout`: send what [`Handshake::datagram`] gives
/// until it gives nothing, and call [`Handshake::handle_timeout`] at [`Handshake::deadline`]. Keep
/// the value after the keys are there and go on giving it the DTLS datagrams that arrive: when the
/// last flight was lost the peer repeats its own, and must be answered. A peer that starts over
/// (new SDP, RFC 5763 §6.6) needs a new `Handshake`.
pub struct Handshake {
    role: Role,
    peer: Fingerprint,
    dtls: Dtls,
    /// What the SDP promised was seen in the handshake.
    verified: bool,
    finished: Finished,
    give_up: Instant,
    timer: Option<Instant>,
    out: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Finished {
    Not,
    Keys,
    Failed(DtlsError),
}

impl Handshake {
    /// A handshake that begins at `now`; the active side has a datagram to send at once. The peer has
    /// 60 seconds. Instants must never go backwards.
    pub fn new(role: Role, identity: &Identity, peer: Fingerprint, now: Instant) -> Handshake {
        let mut dtls = Dtls::new_12(identity.config(), identity.certificate(), now);
        dtls.set_active(role == Role::Active);
        let mut handshake = Handshake {
            role,
            peer,
            dtls,
            verified: false,
            finished: Finished::Not,
            give_up: now + PATIENCE,
            timer: None,
            out: VecDeque::new(),
            buffer: vec![0; FIRST_BUFFER],
        };
        // A failure is kept and told by the next call.
        let _ = handshake.handle_timeout(now);
        handshake
    }

    /// Takes a datagram of the peer (see [`super::is_dtls`]); answers the keys, once. What is no DTLS,
    /// or old, or broken is ignored.
    ///
    /// # Errors
    /// The handshake is over and there will be no keys; every later call says the same.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<Keys>, DtlsError> {
        self.alive()?;
        let taken = self
            .dtls
            .handle_timeout(now)
            .and_then(|()| self.dtls.handle_packet(datagram));
        self.proceed(now, taken)
    }

    /// To be called at [`Handshake::deadline`]; earlier does no harm. Answers the keys, once.
    ///
    /// # Errors
    /// The handshake is over and there will be no keys; every later call says the same.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<Option<Keys>, DtlsError> {
        self.alive()?;
        if self.finished == Finished::Not && now >= self.give_up {
            return Err(self.fail(DtlsError::Timeout));
        }
        let taken = self.dtls.handle_timeout(now);
        self.proceed(now, taken)
    }

    /// When [`Handshake::handle_timeout`] is due; `None`: nothing is waited for.
    pub fn deadline(&self) -> Option<Instant> {
        match self.finished {
            Finished::Not => Some(self.timer.map_or(self.give_up, |at| at.min(self.give_up))),
            Finished::Keys => self.timer,
            Finished::Failed(_) => None,
        }
    }

    /// The next datagram to send to the peer.
    pub fn datagram(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    fn alive(&self) -> Result<(), DtlsError> {
        match &self.finished {
            Finished::Failed(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Notes what is wrong; what was to be sent is not sent, so the peer cannot finish either.
    fn fail(&mut self, error: DtlsError) -> DtlsError {
        self.out.clear();
        self.finished = Finished::Failed(error.clone());
        error
    }

    fn proceed(
        &mut self,
        now: Instant,
        taken: Result<(), dimpl::Error>,
    ) -> Result<Option<Keys>, DtlsError> {
        match taken {
            Ok(()) => self.drain(now).map_err(|error| self.fail(error)),
            // After the keys nothing is left that could fail for the media.
            Err(_) if self.finished == Finished::Keys => {
                self.timer = None;
                Ok(None)
            }
            Err(dimpl::Error::Timeout(_)) => Err(self.fail(DtlsError::Timeout)),
            Err(error) => Err(self.fail(DtlsError::Failed(error.to_string()))),
        }
    }

    /// Takes everything that the protocol has to say.
    fn drain(&mut self, now: Instant) -> Result<Option<Keys>, DtlsError> {
        let mut keys = None;
        let mut connected = false;
        loop {
            match self.dtls.poll_output(&mut self.buffer) {
                Output::Packet(datagram) => self.out.push_back(datagram.to_vec()),
                Output::BufferTooSmall { needed } if needed <= LONGEST_OUTPUT => {
                    self.buffer.resize(needed, 0);
                }
                Output::BufferTooSmall { .. } => {
                    return Err(DtlsError::Failed("certificate too long".into()));
                }
                Output::PeerCert(certificate) => {
                    if !self.peer.is_of(certificate) {
                        return Err(DtlsError::Fingerprint);
                    }
                    self.verified = true;
                }
                Output::Connected => connected = true,
                Output::KeyingMaterial(material, profile) => {
                    keys = Some(split(self.role, profile, &material)?);
                }
                Output::Timeout(at) => {
                    self.timer = (at.saturating_duration_since(now) < IDLE).then_some(at);
                    break;
                }
                // Data and farewells have no meaning here (RFC 5764 §3).
                _ => {}
            }
        }
        match keys {
            Some(_) if !self.verified => Err(DtlsError::Fingerprint),
            Some(keys) => {
                self.finished = Finished::Keys;
                Ok(Some(keys))
            }
            None if connected => Err(DtlsError::Profile),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("role", &self.role)
            .field("peer", &self.peer)
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

/// RFC 5764 §4.2: client key, server key, client salt, server salt.
fn split(role: Role, profile: SrtpProfile, material: &[u8]) -> Result<Keys, DtlsError> {
    let suite = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Suite::AesCm128HmacSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Suite::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Suite::AeadAes256Gcm,
        _ => return Err(DtlsError::Profile),
    };
    let (key, salt) = (suite.key_bytes(), suite.salt_bytes());
    if material.len() != 2 * (key + salt) {
        return Err(DtlsError::Profile);
    }
    let (keys, salts) = material.split_at(2 * key);
    let master = |at: usize| {
        let mut octets = zeroize::Zeroizing::new(Vec::with_capacity(key + salt));
        octets.extend_from_slice(&keys[at * key..][..key]);
        octets.extend_from_slice(&salts[at * salt..][..salt]);
        MasterKey::new(suite, &octets).map_err(|_| DtlsError::Profile)
    };
    let (client, server) = (master(0)?, master(1)?);
    Ok(match role {
        Role::Active => Keys {
            ours: client,
            theirs: server,
        },
        Role::Passive => Keys {
            ours: server,
            theirs: client,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_exported_keys() {
        let material: Vec<u8> = (0..60).collect();
        let profile = SrtpProfile::AES128_CM_SHA1_80;
        let client: Vec<u8> = (0..16).chain(32..46).collect();
        let server: Vec<u8> = (16..32).chain(46..60).collect();
        let active = split(Role::Active, profile, &material).expect("keys");
        assert_eq!(active.ours.key_and_salt(), client);
        assert_eq!(active.theirs.key_and_salt(), server);
        let passive = split(Role::Passive, profile, &material).expect("keys");
        assert_eq!(passive.ours, active.theirs);
        assert_eq!(passive.theirs, active.ours);
        assert_eq!(
            split(Role::Active, profile, &material[1..]),
            Err(DtlsError::Profile)
        );
        let gcm = split(Role::Active, SrtpProfile::AEAD_AES_256_GCM, &[7; 88]).expect("keys");
        assert_eq!(gcm.ours.suite(), Suite::AeadAes256Gcm);
    }
}
