//! One end of a connection that speaks SIP, in the test's own hand: over TCP or TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use duolog_sip::{Framed, Framer, Message, Request, Response};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A connection.
#[derive(Debug)]
pub struct Talk<S> {
    /// What it goes over.
    pub stream: S,
    framer: Framer,
    local: SocketAddr,
}

impl Talk<TcpStream> {
    /// Over a connection that is there.
    ///
    /// # Panics
    /// When it is no more.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let local = stream.local_addr().expect("it is connected");
        Self::inside(stream, local)
    }

    /// Over a new connection.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn with(node: SocketAddr) -> Self {
        Self::over(TcpStream::connect(node).expect("it listens"))
    }
}

impl<S: Read + Write> Talk<S> {
    /// Over something that reads and writes, with a limit to how long it reads.
    pub fn inside(stream: S, local: SocketAddr) -> Self {
        let framer = Framer::new();
        Self {
            stream,
            framer,
            local,
        }
    }

    /// Its address here.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends a message, or anything.
    ///
    /// # Errors
    /// When the other end has closed.
    pub fn send(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.write_all(text.as_bytes())?;
        self.stream.flush()
    }

    /// The next message; none when the connection is refused or ends.
    ///
    /// # Panics
    /// When there is neither within the time, or what comes is no message.
    pub fn next_message(&mut self) -> Option<Message> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Ok(Some(Framed::Message(bytes))) = self.framer.next() {
                return Some(Message::parse(bytes).expect("it writes right messages"));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.framer.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let late = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                    assert!(!late.contains(&error.kind()), "nothing within the time");
                    return None;
                }
            }
        }
    }

    /// The next message, which is a response; none when the connection is refused or ends.
    ///
    /// # Panics
    /// When it is a request.
    pub fn response(&mut self) -> Option<Response> {
        match self.next_message()? {
            Message::Response(response) => Some(response),
            Message::Request(request) => panic!("no response: {request:?}"),
        }
    }

    /// The next message, which is a request; none when the connection is refused or ends.
    ///
    /// # Panics
    /// When it is a response.
    pub fn request(&mut self) -> Option<Request> {
        match self.next_message()? {
            Message::Request(request) => Some(request),
            Message::Response(response) => panic!("no request: {response:?}"),
        }
    }

    /// The status of the next final response; none when the connection is refused or ends.
    ///
    /// # Panics
    /// When a request comes.
    pub fn status(&mut self) -> Option<u16> {
        loop {
            let status = self.response()?.status;
            if status.is_final() {
                return Some(status.code());
            }
        }
    }
}

/// A connection from an address of its own, so that it is a neighbour's.
///
/// # Panics
/// When nobody listens.
pub fn tcp_from(ip: IpAddr, to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind((ip, 0).into()).expect("an address of loopback");
        socket.connect(to).await.expect("it listens")
    });
    let stream = stream.into_std().expect("a socket");
    stream.set_nonblocking(false).expect("a socket");
    stream
}

/// A description with one stream of audio that nobody sends.
pub fn description(ip: IpAddr) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\n"
    )
}

/// A refusal of a request.
pub fn refusal(request: &Request, status: &str) -> String {
    let same = |name: &str| {
        let values = request.headers.values(name);
        values
            .map(|value| format!("{name}: {value}\r\n"))
            .collect::<String>()
    };
    let headers: String = ["Via", "From", "Call-ID", "CSeq"].map(same).concat();
    let to = request.headers.value("To").unwrap_or_default();
    format!("SIP/2.0 {status}\r\n{headers}To: {to};tag=callee\r\nContent-Length: 0\r\n\r\n")
}
