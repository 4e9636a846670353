//! Datagrams of a leg whose media is protected: opened before they are looked at, and its handshake.

use std::net::SocketAddr;
use std::time::Instant;

use duolog_audio::codec::Codec;
use duolog_rtp::dtls;
use duolog_rtp::packet::View;

use crate::command::{Encoding, RtcpMux};
use crate::counters::DropReason;
use crate::latch::Verdict;
use crate::leg::{Leg, Peer, PortUse};
use crate::outbox::Outbox;
use crate::security::Protocol;
use crate::shard::Shard;

impl Shard {
    /// Opens a datagram in place and tells the length of the packet it held; `None` when it was one of
    /// the handshake. An address nobody negotiated costs no cryptography.
    pub(crate) fn open_datagram(
        &mut self,
        now: Instant,
        (index, port_use, protocol): (usize, PortUse, Protocol),
        from: SocketAddr,
        datagram: &mut [u8],
        out: &mut Outbox,
    ) -> Result<Option<usize>, DropReason> {
        let leg = self.legs.at_mut(index).ok_or(DropReason::UnknownPort)?;
        let (Some(peer), Some(secured)) = (&leg.peer, &mut leg.security.in_force) else {
            return Err(DropReason::NotConnected);
        };
        let latch = match (port_use, peer.mux) {
            (PortUse::Rtcp, RtcpMux::Apart) => &peer.rtcp,
            _ => &peer.rtp,
        };
        if latch.judge(from, now) == Verdict::Stranger {
            return Err(DropReason::WrongAddress);
        }
        if dtls::is_dtls(datagram) && port_use == PortUse::Rtp {
            let shaken = secured.shake(now, from, datagram);
            send_handshake(leg, out);
            self.schedule_leg(index);
            return shaken.map(|()| None);
        }
        match secured.open(protocol, now, datagram) {
            Ok(len) => Ok(Some(len)),
            Err(DropReason::SrtpTag) if protocol == Protocol::Rtp && is_plain(peer, datagram) => {
                Err(DropReason::SrtpMissing)
            }
            Err(reason) => Err(reason),
        }
    }

    /// Sends what a handshake wants sent by now.
    pub(crate) fn send_due_handshake(&mut self, now: Instant, index: usize, out: &mut Outbox) {
        let Some(leg) = self.legs.at_mut(index) else {
            return;
        };
        let Some(secured) = &mut leg.security.in_force else {
            return;
        };
        if let Err(reason) = secured.go_on(now) {
            self.counters.drop(reason);
        }
        send_handshake(leg, out);
    }
}

fn send_handshake(leg: &mut Leg, out: &mut Outbox) {
    let (Some(peer), Some(secured)) = (&leg.peer, &mut leg.security.in_force) else {
        return;
    };
    while let Some((datagram, answered)) = secured.handshake_datagram() {
        let to = match (peer.rtp.is_latched(), answered) {
            (false, Some(from)) => from,
            _ => peer.rtp.destination(),
        };
        if !to.ip().is_unspecified() {
            out.send(leg.ports.0, to, &datagram);
        }
    }
}

/// Whether a packet that no key opens looks as if it had never been sealed: its payload is whole
/// periods of 10 ms of an agreed codec that no authentication tag fits between.
fn is_plain(peer: &Peer, datagram: &[u8]) -> bool {
    let Ok(view) = View::parse(datagram) else {
        return false;
    };
    let Some(Encoding::Speech(codec)) = peer.formats.encoding(view.payload_type()) else {
        return false;
    };
    let fits = !matches!(codec, Codec::Opus | Codec::G729);
    let period = codec.clock_rate_hz() / 100;
    fits && codec
        .ticks(view.payload())
        .is_some_and(|ticks| ticks.is_multiple_of(period))
}
