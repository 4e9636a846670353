//! Which address a leg's media comes from (RFC 4961 symmetric RTP), open to the negotiated peer only.
//!
//! 1. Until the first valid packet, only the address the peer signalled, or any port of its media
//!    or signalling address (a NAT may have changed the port), is listened to.
//! 2. The first valid packet decides: from then on that exact address only.
//! 3. A re-INVITE with another address begins again at 1. Until its peer has our answer it goes on
//!    from where it was: that is listened to for a while, but can not latch the port again.
//! 4. No address at all (the hold of RFC 2543) changes nothing.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How long a peer that moved may go on from its former address: an answer's way, sent again twice
/// (RFC 3261 §13.3.1.4).
const MOVING: Duration = Duration::from_secs(2);

/// Whether to listen to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the one.
    Latched,
    /// It may become the one if its packet is valid.
    Candidate,
    /// It was the one until the peer moved a moment ago.
    Former,
    /// Somebody else.
    Stranger,
}

/// One port's peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latch {
    signalled: SocketAddr,
    signalled_from: IpAddr,
    latched: Option<SocketAddr>,
    /// Where packets came from before the peer moved, and until when they may.
    former: Option<(SocketAddr, Instant)>,
}

impl Latch {
    pub(crate) fn new(signalled: SocketAddr, signalled_from: IpAddr) -> Latch {
        Latch {
            signalled,
            signalled_from,
            latched: None,
            former: None,
        }
    }

    /// The latch after a new negotiation, and whether it was opened again.
    pub(crate) fn renegotiated(
        self,
        signalled: SocketAddr,
        from: IpAddr,
        now: Instant,
    ) -> (Latch, bool) {
        if signalled == self.signalled && from == self.signalled_from {
            return (self, false);
        }
        if signalled.ip().is_unspecified() {
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
        let moved = self.latched.map(|latched| (latched, now + MOVING));
        let latch = Latch {
            former: moved.or(self.former),
            ..Latch::new(signalled, from)
        };
        (latch, moved.is_some())
    }

    #[inline]
    pub(crate) fn judge(&self, from: SocketAddr, now: Instant) -> Verdict {
        match self.latched {
            Some(latched) if latched == from => Verdict::Latched,
            Some(_) => Verdict::Stranger,
            None if self.is_former(from, now) => Verdict::Former,
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

    fn is_former(&self, from: SocketAddr, now: Instant) -> bool {
        self.former
            .is_some_and(|(former, until)| former == from && from != self.signalled && now < until)
    }

    pub(crate) fn latch(&mut self, from: SocketAddr) {
        self.latched = Some(from);
        self.former = None;
    }

    /// Whether the peer was heard.
    pub(crate) fn is_latched(&self) -> bool {
        self.latched.is_some()
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

    #[allow(clippy::disallowed_methods)] // The one moment every virtual one is counted from.
    fn base() -> Instant {
        Instant::now()
    }

    #[test]
    fn only_the_negotiated_peer_can_latch_and_only_once() {
        let now = base();
        let mut latch = Latch::new(address("10.0.0.1:4000"), address("192.0.2.9:0").ip());
        for (from, verdict) in [
            ("10.0.0.1:4000", Verdict::Candidate),
            ("10.0.0.1:9", Verdict::Candidate),
            ("192.0.2.9:7777", Verdict::Candidate),
            ("[::ffff:10.0.0.1]:4000", Verdict::Candidate),
            ("203.0.113.5:4000", Verdict::Stranger),
        ] {
            assert_eq!(latch.judge(address(from), now), verdict, "{from}");
        }
        assert_eq!(latch.destination(), address("10.0.0.1:4000"));
        latch.latch(address("192.0.2.9:7777"));
        for (from, verdict) in [
            ("192.0.2.9:7777", Verdict::Latched),
            ("10.0.0.1:4000", Verdict::Stranger),
        ] {
            assert_eq!(latch.judge(address(from), now), verdict, "{from}");
        }
        assert_eq!(latch.destination(), address("192.0.2.9:7777"));
    }

    #[test]
    fn a_new_address_opens_it_again_and_the_same_one_does_not() {
        let now = base();
        let from = address("10.0.0.1:0").ip();
        let mut latch = Latch::new(address("10.0.0.1:4000"), from);
        latch.latch(address("10.0.0.1:4002"));
        for same in ["10.0.0.1:4000", "0.0.0.0:4000"] {
            let (same, opened) = latch.renegotiated(address(same), from, now);
            assert!(!opened);
            assert_eq!(same.destination(), address("10.0.0.1:4002"));
        }
        let (told, opened) = latch.renegotiated(address("10.0.0.1:4002"), from, now);
        assert!(!opened);
        assert_eq!(told.judge(address("10.0.0.1:4002"), now), Verdict::Latched);
        let (moved, opened) = latch.renegotiated(address("10.0.0.8:4000"), from, now);
        assert!(opened);
        assert_eq!(
            moved.judge(address("10.0.0.8:4000"), now),
            Verdict::Candidate
        );
    }

    #[test]
    fn where_a_peer_moved_from_is_heard_for_a_while_and_can_not_latch() {
        let now = base();
        let from = address("10.0.0.1:0").ip();
        let mut latch = Latch::new(address("10.0.0.1:4000"), from);
        latch.latch(address("10.0.0.1:4000"));
        let (mut moved, _) = latch.renegotiated(address("10.0.0.1:6000"), from, now);
        let old = address("10.0.0.1:4000");
        assert_eq!(moved.judge(old, now), Verdict::Former);
        assert_eq!(moved.judge(old, now + MOVING), Verdict::Candidate);
        assert_eq!(moved.destination(), address("10.0.0.1:6000"));
        // Moved again before it was heard, and back to where it was.
        let (again, opened) = moved.renegotiated(address("10.0.0.1:8000"), from, now);
        assert_eq!((again.judge(old, now), opened), (Verdict::Former, false));
        let (back, _) = moved.renegotiated(old, from, now);
        assert_eq!(back.judge(old, now), Verdict::Candidate);
        moved.latch(address("10.0.0.1:6000"));
        assert_eq!(moved.judge(old, now), Verdict::Stranger);
    }
}
