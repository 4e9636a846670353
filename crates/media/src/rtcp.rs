//! RTCP of every leg: reports sent with real figures, the peer's reports read (RFC 3550 §6).

use std::net::SocketAddr;
use std::time::Instant;

use duolog_rtp::ClockRate;
use duolog_rtp::rtcp::{self, Report};

use crate::PortId;
use crate::command::RtcpMux;
use crate::counters::DropReason;
use crate::latch::Verdict;
use crate::leg::Leg;
use crate::outbox::{Connect, Outbox};
use crate::security::Protocol;
use crate::send::Post;
use crate::shard::Shard;

/// An SR with one block, a CNAME of 255 octets and a BYE fit.
const LONGEST_REPORT: usize = 512;
/// Packet type of an SR, and where its RTP time stamp lies (RFC 3550 §6.4.1).
const SENDER_REPORT: u8 = 200;
const SENDER_TIMESTAMP: std::ops::Range<usize> = 16..20;

impl Shard {
    /// Takes a compound packet of a leg's peer.
    pub(crate) fn take_rtcp(
        &mut self,
        arrived: Instant,
        index: usize,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let leg = self.legs.at_mut(index).ok_or(DropReason::UnknownPort)?;
        let peer = leg.peer.as_mut().ok_or(DropReason::NotConnected)?;
        let latch = match peer.mux {
            RtcpMux::Shared => &mut peer.rtp,
            RtcpMux::Apart => &mut peer.rtcp,
        };
        let verdict = latch.judge(from, arrived);
        if verdict == Verdict::Stranger {
            return Err(DropReason::WrongAddress);
        }
        let reports = rtcp::parse(datagram).map_err(|_| DropReason::Malformed)?;
        // On a shared port only RTP decides where the peer is.
        if verdict == Verdict::Candidate && peer.mux == RtcpMux::Apart {
            latch.latch(from);
            out.connects.push(Connect {
                port: leg.ports.1,
                peer: Some(from),
            });
        }
        leg.rtcp.receive(arrived, &reports);
        for report in &reports {
            if let Report::Sender { ssrc, figures, .. } = report {
                let timeline = leg.incoming.timeline_mut();
                timeline.sender_report(*ssrc, figures.ntp, figures.timestamp);
            }
        }
        self.counters.rtcp_received += 1;
        let byes = reports
            .iter()
            .filter(|report| matches!(report, Report::Goodbye { .. }));
        self.counters.byes += byes.count() as u64;
        Ok(())
    }

    /// Sends the report that is due.
    pub(crate) fn send_due_report(&mut self, now: Instant, index: usize, out: &mut Outbox) {
        let wall = self.settings.wall(now);
        let Some(leg) = self.legs.at_mut(index) else {
            return;
        };
        let Some((port, to)) = destination(leg) else {
            return;
        };
        if leg.rtcp.deadline() > now {
            return;
        }
        let mut buffer = [0; LONGEST_REPORT];
        let source = leg.incoming.source_mut();
        if let Ok(len) = leg.rtcp.report(now, wall, source, &mut buffer) {
            let report = &mut buffer[..len];
            let scratch = &mut self.scratch;
            if send_report(leg, (port, to), report, now, Post { scratch, out }).is_ok() {
                self.counters.rtcp_sent += 1;
            }
        }
    }

    /// Tells a leg's peer that nothing more will come (RFC 3550 §6.3.7).
    pub(crate) fn say_goodbye(&mut self, now: Instant, index: usize, out: &mut Outbox) {
        let wall = self.settings.wall(now);
        let Some(leg) = self.legs.at_mut(index) else {
            return;
        };
        let Some((port, to)) = destination(leg) else {
            return;
        };
        let mut buffer = [0; LONGEST_REPORT];
        let source = leg.incoming.source_mut();
        if let Ok(len) = leg.rtcp.goodbye(now, wall, source, &mut buffer) {
            let report = &mut buffer[..len];
            let scratch = &mut self.scratch;
            if send_report(leg, (port, to), report, now, Post { scratch, out }).is_ok() {
                self.counters.rtcp_sent += 1;
            }
        }
    }
}

/// Sends a report, protected where the leg is. Its time stamp is made one of the clock that the leg
/// sends by at present: the machine that wrote it counts by 8,000 Hz (RFC 3550 §6.4.1).
fn send_report(
    leg: &mut Leg,
    (port, to): (PortId, SocketAddr),
    report: &mut [u8],
    now: Instant,
    post: Post<'_>,
) -> Result<(), DropReason> {
    if report.get(1) == Some(&SENDER_REPORT)
        && let Some((rate, timestamp)) = leg.outgoing.clock(now)
        && rate != ClockRate::HZ_8000
        && let Some(field) = report.get_mut(SENDER_TIMESTAMP)
    {
        field.copy_from_slice(&timestamp.0.to_be_bytes());
    }
    let Some(secured) = &mut leg.security.in_force else {
        post.out.send(port, to, report);
        return Ok(());
    };
    let packet = post.scratch;
    packet.clear();
    packet.extend_from_slice(report);
    secured.seal(Protocol::Rtcp, packet)?;
    post.out.send(port, to, packet);
    Ok(())
}

/// Where a leg's reports go.
fn destination(leg: &Leg) -> Option<(PortId, SocketAddr)> {
    let peer = leg.peer.as_ref()?;
    let (port, to) = match peer.mux {
        RtcpMux::Shared => (leg.ports.0, peer.rtp.destination()),
        RtcpMux::Apart => (leg.ports.1, peer.rtcp.destination()),
    };
    // A party that holds by giving no address can not be reached; the kernel would take it for us.
    (!to.ip().is_unspecified()).then_some((port, to))
}
