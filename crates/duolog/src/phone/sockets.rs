//! The sockets of real phones: what arrives is put into one bounded queue.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use duolog_sip::{Flow, Framed, Framer, KeepAlive, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

use super::group::PhoneNo;

/// Longest datagram that is read whole.
const LONGEST: usize = 65_535;
/// Messages waiting for one connection; when it is full the message is dropped, as on a broken path.
const WAITING: usize = 256;
/// How often a pair of neighbouring ports is looked for.
const TRIES: usize = 200;

/// What came in at a socket.
#[derive(Debug)]
pub(super) enum Arrival {
    Sip {
        flow: Flow,
        bytes: Bytes,
    },
    Connected {
        peer: SocketAddr,
        stream: TcpStream,
    },
    Closed {
        flow: Flow,
    },
    Rtp {
        no: PhoneNo,
        arrived: Instant,
        bytes: Bytes,
    },
    Rtcp {
        no: PhoneNo,
        bytes: Bytes,
    },
}

/// A phone's two media sockets.
#[derive(Debug)]
pub(super) struct MediaSockets {
    pub rtp: Arc<UdpSocket>,
    pub rtcp: Arc<UdpSocket>,
}

/// Binds an even port and the one above it (RFC 3550 §11).
pub(super) async fn bind_pair(ip: IpAddr) -> io::Result<MediaSockets> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let rtp = UdpSocket::bind((ip, 0)).await?;
        let port = rtp.local_addr()?.port();
        if !port.is_multiple_of(2) {
            continue;
        }
        match UdpSocket::bind((ip, port + 1)).await {
            Ok(rtcp) => {
                return Ok(MediaSockets {
                    rtp: Arc::new(rtp),
                    rtcp: Arc::new(rtcp),
                });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads a datagram socket for ever. A full queue loses the datagram, as a full socket would.
pub(super) async fn read_datagrams(
    socket: Arc<UdpSocket>,
    arrivals: mpsc::Sender<Arrival>,
    make: impl Fn(SocketAddr, Instant, Bytes) -> Arrival,
) {
    let mut buffer = vec![0; LONGEST];
    loop {
        // An error is the echo of an earlier datagram to a closed port: the socket is still good.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        let arrival = make(from, Instant::now(), bytes);
        if let Err(mpsc::error::TrySendError::Closed(_)) = arrivals.try_send(arrival) {
            return;
        }
    }
}

/// Takes connections for ever.
pub(super) async fn accept(listener: TcpListener, arrivals: mpsc::Sender<Arrival>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            continue;
        };
        if arrivals
            .send(Arrival::Connected { peer, stream })
            .await
            .is_err()
        {
            return;
        }
    }
}

/// The SIP connections, by their other end.
#[derive(Debug)]
pub(super) struct Connections {
    local: SocketAddr,
    arrivals: mpsc::Sender<Arrival>,
    open: BTreeMap<SocketAddr, mpsc::Sender<Bytes>>,
}

impl Connections {
    pub(super) fn new(local: SocketAddr, arrivals: mpsc::Sender<Arrival>) -> Self {
        Self {
            local,
            arrivals,
            open: BTreeMap::new(),
        }
    }

    /// Takes a connection that was accepted.
    pub(super) fn accepted(&mut self, peer: SocketAddr, stream: TcpStream) {
        self.begin(peer, Some(stream));
    }

    /// Sends over the connection to `peer`, which is opened if there is none.
    pub(super) fn send(&mut self, peer: SocketAddr, bytes: Bytes) {
        if self.open.get(&peer).is_none_or(mpsc::Sender::is_closed) {
            self.begin(peer, None);
        }
        if let Some(connection) = self.open.get(&peer) {
            // Full: see `WAITING`.
            let _ = connection.try_send(bytes);
        }
    }

    fn begin(&mut self, peer: SocketAddr, stream: Option<TcpStream>) {
        let (outgoing, waiting) = mpsc::channel(WAITING);
        self.open.insert(peer, outgoing.clone());
        let flow = Flow {
            transport: Transport::Tcp,
            local: self.local,
            peer,
        };
        let arrivals = self.arrivals.clone();
        tokio::spawn(async move {
            let stream = match stream {
                Some(stream) => Ok(stream),
                None => TcpStream::connect(peer).await,
            };
            if let Ok(stream) = stream {
                let _ = stream.set_nodelay(true);
                let (read, write) = stream.into_split();
                tokio::select! {
                    () = read_stream(read, flow, arrivals.clone(), outgoing.downgrade()) => {}
                    () = write_stream(write, waiting) => {}
                }
            }
            let _ = arrivals.send(Arrival::Closed { flow }).await;
        });
    }
}

async fn read_stream(
    mut stream: OwnedReadHalf,
    flow: Flow,
    arrivals: mpsc::Sender<Arrival>,
    outgoing: mpsc::WeakSender<Bytes>,
) {
    let mut framer = Framer::new();
    let mut buffer = vec![0; 16 * 1_024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        framer.push(&buffer[..length]);
        loop {
            match framer.next() {
                Ok(Some(Framed::Message(bytes))) => {
                    if arrivals.send(Arrival::Sip { flow, bytes }).await.is_err() {
                        return;
                    }
                }
                Ok(Some(Framed::KeepAlive(KeepAlive::Ping))) => {
                    if let Some(outgoing) = outgoing.upgrade() {
                        let _ = outgoing.try_send(Bytes::from_static(b"\r\n"));
                    }
                }
                Ok(Some(Framed::KeepAlive(KeepAlive::Pong))) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

async fn write_stream(mut stream: OwnedWriteHalf, mut waiting: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = waiting.recv().await {
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
