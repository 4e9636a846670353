//! The last step of a packet that was made here: header, protection, out.

use std::time::Instant;

use duolog_rtp::PayloadType;
use duolog_rtp::packet::{self, FIXED_HEADER_LEN, Marker};

use crate::counters::DropReason;
use crate::leg::Leg;
use crate::outbox::Outbox;
use crate::relay::Stamp;
use crate::security::Protocol;

/// Where packets are made, and where they go.
pub(crate) struct Post<'a> {
    /// Used for every packet again.
    pub(crate) scratch: &'a mut Vec<u8>,
    pub(crate) out: &'a mut Outbox,
}

/// Sends a packet made here to the leg's peer.
pub(crate) fn send(
    leg: &mut Leg,
    (number, stamp): (PayloadType, Stamp),
    payload: &[u8],
    now: Instant,
    post: &mut Post<'_>,
) -> Result<(), DropReason> {
    let peer = leg.peer.as_ref().ok_or(DropReason::NotConnected)?;
    let made = packet::Outgoing {
        ssrc: leg.outgoing.ssrc,
        seq: stamp.seq,
        timestamp: stamp.timestamp,
        payload_type: number,
        marker: stamp.marker == Marker::Set,
        payload,
    };
    let packet = &mut *post.scratch;
    packet.clear();
    packet.resize(FIXED_HEADER_LEN + payload.len(), 0);
    let Ok(_) = made.write(packet) else {
        panic!("a packet fits the buffer made for it");
    };
    if let Some(secured) = &mut leg.security.in_force {
        secured.seal(Protocol::Rtp, packet)?;
    }
    post.out.send(leg.ports.0, peer.rtp.destination(), packet);
    leg.rtcp.sent(payload.len(), stamp.timestamp, now);
    Ok(())
}
