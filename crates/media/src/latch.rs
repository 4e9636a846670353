//! Which address a leg's media comes from (RFC 4961 symmetric RTP), open to the negotiated peer only.
//!
//! 1. Until the first valid packet, only the address the peer signalled, or any port of its media
//!    or signalling address (a NAT may have changed the port), is listened to.
//! 2. The first valid packet decides: from then on that exact address only.
//! 3. A re-INVITE with another address begins again at 1.

use std::net::{IpAddr, SocketAddr};

/// Whether to listen to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the one.
    Latched,
    /// It may become the one if its packet is valid.
    Candidate,
    /// Somebody else.
    Stranger,
}

/// One port's peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latch {
    signalled: SocketAddr,
    signalled_from: IpAddr,
    latched: Option<SocketAddr>,
}

impl Latch {
    pub(crate) fn new(signalled: SocketAddr, signalled_from: IpAddr) -> Latch {
        Latch {
            signalled,
            signalled_from,
            latched: None,
        }
    }

    /// The latch after a new negotiation, and whether it was opened again.
    pub(crate) fn renegotiated(self, signalled: SocketAddr, from: IpAddr) -> (Latch, bool) {
        if signalled == self.signalled && from == self.signalled_from {
            return (self, false);
        }
        // A peer that only now says where its packets came from all along stays latched.
        if self.latched == Some(signalled) {
            let latch = Latch {
                latched: self.latched,
                ..Latch::new(signalled, from)
            };
            return (latch, false);
        }
        (Latch::new(signalled, from), self.latched.is_some())
    }

    #[inline]
    pub(crate) fn judge(&self, from: SocketAddr) -> Verdict {
        match self.latched {
            Some(latched) if latched == from => Verdict::Latched,
            Some(_) => Verdict::Stranger,
            None => {
                let ip = from.ip().to_canonical();
                let known = [self.signalled.ip(), self.signalled_from];
                match known.iter().any(|known| known.to_canonical() == ip) {
                    true => Verdict::Candidate,
                    false => Verdict::Stranger,
                }
            }
        }
    }

    pub(crate) fn latch(&mut self, from: SocketAddr) {
        self.latched = Some(from);
    }

    /// Where to send: where packets came from, or until then where the peer said.
    #[inline]
    pub(crate) fn destination(&self) -> SocketAddr {
        self.latched.unwrap_or(self.signalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("a socket address")
    }

    #[test]
    fn only_the_negotiated_peer_can_latch_and_only_once() {
        let mut latch = Latch::new(address("10.0.0.1:4000"), address("192.0.2.9:0").ip());
        for (from, verdict) in [
            ("10.0.0.1:4000", Verdict::Candidate),
            ("10.0.0.1:9", Verdict::Candidate),
            ("192.0.2.9:7777", Verdict::Candidate),
            ("[::ffff:10.0.0.1]:4000", Verdict::Candidate),
            ("203.0.113.5:4000", Verdict::Stranger),
        ] {
            assert_eq!(latch.judge(address(from)), verdict, "{from}");
        }
        assert_eq!(latch.destination(), address("10.0.0.1:4000"));
        latch.latch(address("192.0.2.9:7777"));
        assert_eq!(latch.judge(address("192.0.2.9:7777")), Verdict::Latched);
        assert_eq!(latch.judge(address("10.0.0.1:4000")), Verdict::Stranger);
        assert_eq!(latch.destination(), address("192.0.2.9:7777"));
    }

    #[test]
    fn a_new_address_opens_it_again_and_the_same_one_does_not() {
        let from = address("10.0.0.1:0").ip();
        let mut latch = Latch::new(address("10.0.0.1:4000"), from);
        latch.latch(address("10.0.0.1:4002"));
        let (same, opened) = latch.renegotiated(address("10.0.0.1:4000"), from);
        assert!(!opened);
        assert_eq!(same.destination(), address("10.0.0.1:4002"));
        let (told, opened) = latch.renegotiated(address("10.0.0.1:4002"), from);
        assert!(!opened);
        assert_eq!(told.judge(address("10.0.0.1:4002")), Verdict::Latched);
        let (moved, opened) = latch.renegotiated(address("10.0.0.8:4000"), from);
        assert!(opened);
        assert_eq!(moved.judge(address("10.0.0.8:4000")), Verdict::Candidate);
    }
}
