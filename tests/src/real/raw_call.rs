//! A call whose every byte is the test's own: SIP as text, RTP and RTCP as bytes.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use duolog_sip::Response;
use duolog_sip::sdp::Description;

use super::Site;
use super::probe::{Probe, header};
use super::site::CALLER_PORT;

/// The caller's SSRC.
pub const SSRC: u32 = 0x0102_0304;

/// A caller in a call with user 100.
#[derive(Debug)]
pub struct RawCall {
    probe: Probe,
    invite: String,
    to: String,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    peer: (SocketAddr, SocketAddr),
}

impl RawCall {
    /// Calls user 100 and acknowledges the answer.
    ///
    /// # Panics
    /// When the call is not answered.
    pub fn place(site: &Site) -> Self {
        let (rtp, rtcp) = media_sockets(site.caller());
        let port = rtp
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        let mut probe = Probe::new(site.caller(), CALLER_PORT, site.sip());
        let invite = probe.request("INVITE", "100", &description(site.caller(), port));
        let answer = probe.ask(&invite);
        assert_eq!(answer.status.code(), 200, "{answer:?}");
        let to = answer.headers.value("To").expect("a 200 has To").to_owned();
        let peer = media_of(&answer);
        let call = Self {
            probe,
            invite,
            to,
            rtp,
            rtcp,
            peer,
        };
        call.probe.send(call.in_dialog("ACK", 1, "").as_bytes());
        call
    }

    /// A request inside the dialog.
    pub fn in_dialog(&self, method: &str, cseq: u32, body: &str) -> String {
        let same = |name: &str| header(&self.invite, name);
        let local = self.probe.local();
        let target = self.invite.split(' ').nth(1).unwrap_or_default();
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};branch=z9hG4bKdialog{method}{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:probe@{local}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            same("From"),
            self.to,
            same("Call-ID"),
            body.len()
        )
    }

    /// The description the call was offered with.
    pub fn offer(&self) -> String {
        self.invite
            .split_once("\r\n\r\n")
            .map_or_else(String::new, |(_, body)| body.to_owned())
    }

    /// The INVITE that began the call.
    pub fn invite(&self) -> &str {
        &self.invite
    }

    /// The socket of its SIP.
    pub fn probe(&mut self) -> &mut Probe {
        &mut self.probe
    }

    /// Sends from its RTP port.
    pub fn send_rtp(&self, datagram: &[u8]) {
        // A refusal on loopback is the echo of an earlier datagram.
        let _ = self.rtp.send_to(datagram, self.peer.0);
    }

    /// Sends from its RTCP port.
    pub fn send_rtcp(&self, datagram: &[u8]) {
        let _ = self.rtcp.send_to(datagram, self.peer.1);
    }

    /// Where duolog hears its RTP and RTCP.
    pub fn peer(&self) -> (SocketAddr, SocketAddr) {
        self.peer
    }

    /// Ends the call; answers what the BYE was answered.
    pub fn hang_up(&mut self, cseq: u32) -> Response {
        let bye = self.in_dialog("BYE", cseq, "");
        self.probe.ask(&bye)
    }
}

/// An RTP packet of 20 ms in PCMU (RFC 3550 §5.1).
pub fn rtp(seq: u16, payload: &[u8]) -> Vec<u8> {
    let timestamp = u32::from(seq) * 160;
    let mut packet = vec![0x80, 0];
    packet.extend(seq.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend(payload);
    packet
}

/// A compound report: SR, SDES with a CNAME, and for odd numbers BYE (RFC 3550 §6).
pub fn rtcp(number: u32) -> Vec<u8> {
    let mut report = vec![0x81, 200, 0, 12];
    report.extend(SSRC.to_be_bytes());
    report.extend([0xe0; 8]);
    report.extend([(number * 160).to_be_bytes(), number.to_be_bytes()].concat());
    report.extend((number * 160).to_be_bytes());
    report.extend([0x55; 24]);
    report.extend([0x81, 202, 0, 3]);
    report.extend(SSRC.to_be_bytes());
    report.extend(*b"\x01\x04cafe\0\0");
    if number % 2 == 1 {
        report.extend([0x81, 203, 0, 1]);
        report.extend(SSRC.to_be_bytes());
    }
    report
}

fn description(ip: IpAddr, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"
    )
}

fn media_of(answer: &Response) -> (SocketAddr, SocketAddr) {
    let description = Description::parse(&answer.body).expect("a 200 has a description");
    let audio = description.audio().expect("the description has audio");
    (audio.rtp, audio.rtcp)
}

/// An even port and the one above it (RFC 3550 §11).
fn media_sockets(ip: IpAddr) -> (UdpSocket, UdpSocket) {
    let pair = |port| {
        Some((
            UdpSocket::bind((ip, port)).ok()?,
            UdpSocket::bind((ip, port + 1)).ok()?,
        ))
    };
    (40_000..50_000)
        .step_by(2)
        .find_map(pair)
        .expect("two free ports")
}
