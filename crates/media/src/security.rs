//! SRTP of one leg (RFC 3711): datagrams opened before anything else, packets sealed behind
//! everything else.
//!
//! 1. Nothing that was not authenticated reaches a latch, a source, the other leg or a recording.
//! 2. Until there are keys nothing is sent and nothing is taken: never in the clear.
//! 3. New keys begin with the command that brings them. What the peer sealed with its former key is
//!    opened for two more seconds: its answer is on its way.
//! 4. A key that stays over a re-INVITE keeps its roll-over counter and its replay window. One of ours
//!    that was given up and comes back keeps its counter too: no key stream is used twice.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use duolog_rtp::dtls::{self, Handshake};
use duolog_rtp::srtp::{MasterKey, Protector, SrtpError, Unprotector};

use crate::command::Security;
use crate::counters::DropReason;

/// How long the peer's former key is good for: an answer's way, sent again twice (RFC 3261 §13.3.1.4).
const FORMER: Duration = Duration::from_secs(2);
/// Keys of ours that are remembered when others took over: more than there are suites to change between.
const SPENT: usize = 8;

/// RTP or RTCP: they have keys and counters of their own (RFC 3711 §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Rtp,
    Rtcp,
}

/// Whether and how a leg is protected.
#[derive(Default)]
pub(crate) struct Protection {
    /// `None`: in the clear.
    pub(crate) in_force: Option<Box<Secured>>,
    /// What protected a leg that went clear, in case it comes back with the same keys.
    laid_aside: Option<Box<Secured>>,
}

impl Protection {
    /// Takes what was agreed on.
    pub(crate) fn renegotiate(&mut self, security: Option<&Security>, now: Instant) {
        let before = self.in_force.take().or(self.laid_aside.take());
        match (security, before) {
            (None, before) => self.laid_aside = before,
            (Some(security), Some(mut secured)) => {
                secured.renegotiated(security, now);
                self.in_force = Some(secured);
            }
            (Some(security), None) => {
                self.in_force = Some(Box::new(Secured::new(security, now)));
            }
        }
    }
}

/// What a leg's media is protected with.
pub(crate) struct Secured {
    agreed: Security,
    ours: Option<(MasterKey, Protector)>,
    /// What we sent with before.
    spent: Vec<(MasterKey, Protector)>,
    theirs: Option<(MasterKey, Unprotector)>,
    former: Option<(Unprotector, Instant)>,
    handshake: Option<Handshake>,
    /// Where the peer's handshake comes from: it is answered there until media has latched.
    shakes_from: Option<SocketAddr>,
    /// A datagram as it came, while two keys may open it.
    spare: Vec<u8>,
}

impl Secured {
    pub(crate) fn new(security: &Security, now: Instant) -> Secured {
        let mut secured = Secured {
            agreed: security.clone(),
            ours: None,
            spent: Vec::new(),
            theirs: None,
            former: None,
            handshake: None,
            shakes_from: None,
            spare: Vec::new(),
        };
        secured.begin(now);
        secured
    }

    /// Takes what was agreed on anew.
    pub(crate) fn renegotiated(&mut self, security: &Security, now: Instant) {
        if self.agreed == *security {
            return;
        }
        self.agreed = security.clone();
        if let Security::Dtls { .. } = security {
            // The new association's keys are still to come; until then nothing is sent.
            self.give_up_ours();
            self.retire(now);
        }
        self.begin(now);
    }

    fn begin(&mut self, now: Instant) {
        (self.handshake, self.shakes_from) = (None, None);
        match &self.agreed {
            Security::Sdes { ours, theirs } => {
                let keys = dtls::Keys {
                    ours: ours.clone(),
                    theirs: theirs.clone(),
                };
                self.use_keys(keys, now);
            }
            Security::Dtls {
                role,
                identity,
                fingerprint,
            } => {
                let handshake = Handshake::new(*role, identity, fingerprint.clone(), now);
                self.handshake = Some(handshake);
            }
        }
    }

    /// A key that the library refuses leaves its direction without one: nothing passes.
    fn use_keys(&mut self, keys: dtls::Keys, now: Instant) {
        let dtls::Keys { ours, theirs } = keys;
        if self.ours.as_ref().is_none_or(|(key, _)| *key != ours) {
            self.give_up_ours();
            let again = self.spent.iter().position(|(key, _)| *key == ours);
            self.ours = match again {
                Some(index) => Some(self.spent.remove(index)),
                None => Protector::new(&ours).ok().map(|made| (ours, made)),
            };
        }
        if self.theirs.as_ref().is_none_or(|(key, _)| *key != theirs) {
            self.retire(now);
            self.theirs = Unprotector::new(&theirs).ok().map(|made| (theirs, made));
        }
    }

    fn give_up_ours(&mut self) {
        let Some(ours) = self.ours.take() else { return };
        if self.spent.len() >= SPENT {
            self.spent.remove(0);
        }
        self.spent.push(ours);
    }

    fn retire(&mut self, now: Instant) {
        if let Some((_, former)) = self.theirs.take() {
            self.former = Some((former, now + FORMER));
        }
    }

    /// Opens a datagram in place; the length of what it held.
    pub(crate) fn open(
        &mut self,
        protocol: Protocol,
        now: Instant,
        datagram: &mut [u8],
    ) -> Result<usize, DropReason> {
        if self.former.as_ref().is_some_and(|(_, until)| now >= *until) {
            self.former = None;
        }
        let Some((former, _)) = &mut self.former else {
            let (_, theirs) = self.theirs.as_mut().ok_or(DropReason::SrtpMissing)?;
            return open(theirs, protocol, datagram).map_err(reason);
        };
        // A key that does not fit may spoil what it was tried on.
        self.spare.clear();
        self.spare.extend_from_slice(datagram);
        let opened = match &mut self.theirs {
            Some((_, theirs)) => open(theirs, protocol, datagram),
            None => Err(SrtpError::Tag),
        };
        let refused = match opened {
            Ok(len) => return Ok(len),
            Err(refused) => refused,
        };
        // Its numbers may have begun anew with the key: those of the former one look too old or used.
        datagram.copy_from_slice(&self.spare);
        match open(former, protocol, datagram) {
            Ok(len) => Ok(len),
            Err(SrtpError::Tag) => Err(reason(refused)),
            Err(former_refused) => Err(reason(former_refused)),
        }
    }

    /// Protects a packet in place.
    pub(crate) fn seal(
        &mut self,
        protocol: Protocol,
        packet: &mut Vec<u8>,
    ) -> Result<(), DropReason> {
        let (_, protector) = self.ours.as_mut().ok_or(DropReason::SrtpMissing)?;
        let sealed = match protocol {
            Protocol::Rtp => protector.rtp(packet),
            Protocol::Rtcp => protector.rtcp(packet),
        };
        sealed.map_err(reason)
    }

    /// Whether there is a key to send with.
    pub(crate) fn can_seal(&self) -> bool {
        self.ours.is_some()
    }

    /// Takes a datagram of the peer's handshake.
    pub(crate) fn shake(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        let handshake = self.handshake.as_mut().ok_or(DropReason::Dtls)?;
        self.shakes_from = Some(from);
        let keys = handshake.handle(now, datagram);
        self.shaken(keys, now)
    }

    /// Does what the handshake wants done by now.
    pub(crate) fn go_on(&mut self, now: Instant) -> Result<(), DropReason> {
        let Some(handshake) = &mut self.handshake else {
            return Ok(());
        };
        if handshake.deadline().is_none_or(|due| due > now) {
            return Ok(());
        }
        let keys = handshake.handle_timeout(now);
        self.shaken(keys, now)
    }

    fn shaken(
        &mut self,
        keys: Result<Option<dtls::Keys>, dtls::DtlsError>,
        now: Instant,
    ) -> Result<(), DropReason> {
        let keys = keys.map_err(|_| DropReason::Dtls)?;
        if let Some(keys) = keys {
            self.use_keys(keys, now);
        }
        Ok(())
    }

    /// The next datagram of the handshake, and where it goes if the peer's media has not latched yet.
    pub(crate) fn handshake_datagram(&mut self) -> Option<(Vec<u8>, Option<SocketAddr>)> {
        let datagram = self.handshake.as_mut()?.datagram()?;
        Some((datagram, self.shakes_from))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.handshake.as_ref()?.deadline()
    }
}

fn open(
    with: &mut Unprotector,
    protocol: Protocol,
    datagram: &mut [u8],
) -> Result<usize, SrtpError> {
    match protocol {
        Protocol::Rtp => with.rtp(datagram),
        Protocol::Rtcp => with.rtcp(datagram),
    }
}

fn reason(error: SrtpError) -> DropReason {
    match error {
        SrtpError::Short | SrtpError::Version => DropReason::Malformed,
        SrtpError::Replayed | SrtpError::TooOld => DropReason::SrtpReplayed,
        SrtpError::Tag | SrtpError::Exhausted | SrtpError::Sources => DropReason::SrtpTag,
    }
}
