//! A neighbour that asks: SIP requests one at a time over UDP, HTTP one at a time.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_sip::{Message, Response};

/// Longest wait for an answer on loopback.
const ANSWER: Duration = Duration::from_secs(5);
/// A request without an answer is sent again (RFC 3261 §17.1.2.2, timer E).
const AGAIN: Duration = Duration::from_millis(500);

/// Status and body of an HTTP GET; none when nobody answers.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// How many datagrams the kernel dropped at a UDP socket of this machine because nobody had read them.
///
/// # Panics
/// When there is no such socket.
pub fn kernel_drops(socket: SocketAddr) -> u64 {
    let IpAddr::V4(ip) = socket.ip() else {
        panic!("{socket} is not in /proc/net/udp")
    };
    let local = format!(
        "{:08X}:{:04X}",
        u32::from_le_bytes(ip.octets()),
        socket.port()
    );
    let table = std::fs::read_to_string("/proc/net/udp").expect("Linux lists its sockets");
    let row = table
        .lines()
        .find(|row| row.split_whitespace().nth(1) == Some(&local));
    let drops = row.and_then(|row| row.split_whitespace().last()?.parse().ok());
    drops.unwrap_or_else(|| panic!("no socket {local}:\n{table}"))
}

/// A SIP socket that sends requests and reads answers.
#[derive(Debug)]
pub struct Probe {
    socket: UdpSocket,
    local: SocketAddr,
    node: SocketAddr,
    asked: u32,
}

impl Probe {
    /// A probe at `ip` and `port` (0 for any) that asks `node`.
    ///
    /// # Panics
    /// When the socket cannot be had.
    pub fn new(ip: IpAddr, port: u16, node: SocketAddr) -> Self {
        let socket = UdpSocket::bind((ip, port)).expect("a socket for the probe");
        let local = socket.local_addr().expect("a bound socket has an address");
        Self {
            socket,
            local,
            node,
            asked: 0,
        }
    }

    /// Its own address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends bytes as they are.
    pub fn send(&self, bytes: &[u8]) {
        // On loopback this fails only for what is too long for a datagram, which is then not sent.
        let _ = self.socket.send_to(bytes, self.node);
    }

    /// A request with a body, from this probe's address, outside any dialog or with the given To tag.
    pub fn request(&mut self, method: &str, number: &str, body: &str) -> String {
        self.asked += 1;
        let (local, node, asked) = (self.local, self.node, self.asked);
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} sip:{number}@{node} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};branch=z9hG4bKprobe{asked};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:+31612345678@{local}>;tag=probe{asked}\r\n\
             To: <sip:{number}@{node}>\r\n\
             Call-ID: probe-{asked}@{local}\r\n\
             CSeq: {asked} {method}\r\n\
             Contact: <sip:probe@{local}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Sends a request until its final answer comes; retransmits as UDP wants it.
    ///
    /// # Panics
    /// When none comes within 5 s.
    pub fn ask(&mut self, request: &str) -> Response {
        let cseq = header(request, "CSeq");
        let call_id = header(request, "Call-ID");
        let deadline = Instant::now() + ANSWER;
        while Instant::now() < deadline {
            self.send(request.as_bytes());
            let again = Instant::now() + AGAIN;
            while let Some(response) = self.response(again) {
                let same = response.headers.value("CSeq") == Some(cseq.as_str())
                    && response.headers.value("Call-ID") == Some(call_id.as_str());
                if same && response.status.is_final() {
                    return response;
                }
            }
        }
        panic!("no answer within {ANSWER:?} to:\n{request}");
    }

    /// The status of an OPTIONS.
    pub fn options(&mut self) -> Response {
        let request = self.request("OPTIONS", "100", "");
        self.ask(&request)
    }

    /// Acknowledges a final answer to an INVITE other than 2xx (RFC 3261 §17.1.1.3).
    pub fn acknowledge(&self, invite: &str, refused: &Response) {
        let to = refused.headers.value("To").unwrap_or_default();
        let same = ["Via", "Max-Forwards", "From", "Call-ID"];
        let kept = same
            .map(|name| format!("{name}: {}\r\n", header(invite, name)))
            .concat();
        let start = invite
            .lines()
            .next()
            .unwrap_or_default()
            .replacen("INVITE", "ACK", 1);
        let cseq = header(invite, "CSeq").replacen("INVITE", "ACK", 1);
        let ack = format!("{start}\r\n{kept}To: {to}\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n");
        self.send(ack.as_bytes());
    }

    /// The next response before `deadline`; requests and what cannot be read are passed over.
    pub fn response(&self, deadline: Instant) -> Option<Response> {
        let mut buffer = vec![0; 65_535];
        loop {
            let left = deadline
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())?;
            self.socket.set_read_timeout(Some(left)).ok()?;
            let (length, _) = self.socket.recv_from(&mut buffer).ok()?;
            let message = Message::parse(Bytes::copy_from_slice(&buffer[..length]));
            if let Ok(Message::Response(response)) = message {
                return Some(response);
            }
        }
    }
}

/// The value of a header in a request written by [`Probe::request`]; empty when it is not there.
pub fn header(request: &str, name: &str) -> String {
    let value = |line: &str| {
        line.strip_prefix(name)?
            .strip_prefix(": ")
            .map(str::to_owned)
    };
    request.lines().find_map(value).unwrap_or_default()
}
