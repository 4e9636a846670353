//! SIP over TCP (RFC 3261 §18): one task reads a connection and cuts it into messages, another
//! writes to it. The engine knows flows; this file knows which connection a flow is.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use duolog_sip::{Flow, Framed, Framer, KeepAlive, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::Heard;

/// Connections kept at once. More than this from the network is a flood, not telephony.
const CONNECTIONS: usize = 4096;

/// Of these, how many peers may open: the rest is for connections of our own.
const ACCEPTED: usize = CONNECTIONS / 4 * 3;

/// Connections from one address: one for each of its calls, and still not all there are.
const PER_PEER: usize = ACCEPTED / 3;

/// Messages that wait for one peer to read. When it is full the peer has stopped reading: the
/// connection is dropped and the engine told.
const WAITING: usize = 256;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may be silent before it is closed.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Until its first message or keep-alive.
    first: Duration,
    /// From the first byte of a message to its last.
    message: Duration,
    /// Between messages. Peers with calls send keep-alives or requests well within it (RFC 5626
    /// §4.4.1 asks for 95 to 120 seconds).
    idle: Duration,
}

/// With connections of our own.
const OURS: Patience = Patience {
    first: Duration::from_secs(3600),
    message: Duration::from_secs(32),
    idle: Duration::from_secs(3600),
};

/// With peers that connected: those that say nothing must not hold every connection there is.
const THEIRS: Patience = Patience {
    first: Duration::from_secs(32),
    ..OURS
};

/// The CRLF that answers a keep-alive ping (RFC 5626 §3.5.1).
const PONG: Bytes = Bytes::from_static(b"\r\n");

/// Every open connection by its flow.
#[derive(Debug)]
pub struct Connections {
    open: HashMap<Flow, Connection>,
    heard: mpsc::Sender<Heard>,
}

#[derive(Debug)]
struct Connection {
    queue: mpsc::Sender<Bytes>,
    task: AbortHandle,
}

impl Connections {
    /// Messages and failures of all connections go to `heard`.
    pub fn new(heard: mpsc::Sender<Heard>) -> Self {
        Self {
            open: HashMap::new(),
            heard,
        }
    }

    /// Connections open now.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Sends on the connection of `flow`, opening one where there is none. `false` when the peer
    /// does not read or there are too many connections: the flow has failed.
    #[must_use]
    pub fn send(&mut self, flow: Flow, bytes: Bytes) -> bool {
        if let Some(connection) = self.open.get(&flow) {
            match connection.queue.try_send(bytes) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    connection.task.abort();
                    self.open.remove(&flow);
                    return false;
                }
                // Closed meanwhile by the peer: open a new one (RFC 3261 §18.2.2).
                Err(mpsc::error::TrySendError::Closed(bytes)) => return self.connect(flow, bytes),
            }
        }
        self.connect(flow, bytes)
    }

    /// Takes over an accepted connection; drops it when there are too many.
    pub fn accept(&mut self, stream: TcpStream, local: SocketAddr, peer: SocketAddr) {
        if !self.has_room_for(peer) {
            tracing::debug!(%peer, "connection refused: too many are open");
            return;
        }
        let flow = Flow {
            transport: Transport::Tcp,
            local,
            peer,
        };
        let (queue, receiver) = mpsc::channel(WAITING);
        let (pong, heard) = (queue.clone(), self.heard.clone());
        let task = tokio::spawn(async move {
            serve(stream, flow, THEIRS, pong, receiver, heard).await;
        });
        let task = task.abort_handle();
        self.open.insert(flow, Connection { queue, task });
    }

    fn has_room_for(&self, peer: SocketAddr) -> bool {
        let same = |flow: &&Flow| flow.peer.ip() == peer.ip();
        self.open.len() < ACCEPTED && self.open.keys().filter(same).count() < PER_PEER
    }

    /// Forgets a connection that has ended, unless it was opened again meanwhile.
    pub fn ended(&mut self, flow: Flow) {
        if self.open.get(&flow).is_some_and(|c| c.queue.is_closed()) {
            self.open.remove(&flow);
        }
    }

    fn connect(&mut self, flow: Flow, bytes: Bytes) -> bool {
        if self.open.len() >= CONNECTIONS {
            return false;
        }
        let (queue, receiver) = mpsc::channel(WAITING);
        if queue.try_send(bytes).is_err() {
            return false;
        }
        let (pong, heard) = (queue.clone(), self.heard.clone());
        let task = tokio::spawn(async move {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(flow.peer)).await {
                Ok(Ok(stream)) => serve(stream, flow, OURS, pong, receiver, heard).await,
                Ok(Err(error)) => fail(flow, receiver, heard, &error).await,
                Err(_) => fail(flow, receiver, heard, &io::ErrorKind::TimedOut.into()).await,
            }
        });
        let task = task.abort_handle();
        self.open.insert(flow, Connection { queue, task });
        true
    }
}

/// Accepts connections for ever. An error of one accept (no file descriptors left) is logged and
/// the next one tried after a rest, so that a full table cannot spin.
pub async fn listen(listener: TcpListener, accepted: mpsc::Sender<Heard>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let local = stream.local_addr();
                let Ok(local) = local else { continue };
                if accepted
                    .send(Heard::Connection {
                        stream,
                        local,
                        peer,
                    })
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one connection until either half fails.
async fn serve(
    stream: TcpStream,
    flow: Flow,
    patience: Patience,
    pong: mpsc::Sender<Bytes>,
    receiver: mpsc::Receiver<Bytes>,
    heard: mpsc::Sender<Heard>,
) {
    // Small messages must not wait for each other; a failure to set this costs only time.
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    // The queue's end is gone when the connection is told of as ended, and so is the socket.
    let end = tokio::select! {
        end = read(reader, flow, patience, &pong, &heard) => end,
        end = write(writer, receiver) => end,
    };
    tracing::debug!(peer = %flow.peer, reason = %end, "connection ended");
    // The engine fails what waits on this flow. When it is gone itself, nothing waits.
    let _ = heard.send(Heard::Ended { flow }).await;
}

async fn read(
    mut reader: OwnedReadHalf,
    flow: Flow,
    patience: Patience,
    pong: &mpsc::Sender<Bytes>,
    heard: &mpsc::Sender<Heard>,
) -> String {
    let mut framer = Framer::default();
    let mut buffer = vec![0; 16 * 1024];
    let (mut amid, mut limit) = (false, Instant::now() + patience.first);
    loop {
        let count = match timeout_at(limit, reader.read(&mut buffer)).await {
            Ok(Ok(0)) => return "closed by the peer".into(),
            Ok(Ok(count)) => count,
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "silent for too long".into(),
        };
        framer.push(&buffer[..count]);
        loop {
            let piece = match framer.next() {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                // Where a message ends is not known any more: nothing after it can be trusted.
                Err(error) => return error.to_string(),
            };
            (amid, limit) = (false, Instant::now() + patience.idle);
            match piece {
                Framed::Message(bytes) => {
                    if heard.send(Heard::Message { flow, bytes }).await.is_err() {
                        return "the node stops".into();
                    }
                }
                Framed::KeepAlive(KeepAlive::Ping) => {
                    // A peer that pings without reading is closed by its next message.
                    let _ = pong.try_send(PONG);
                }
                Framed::KeepAlive(KeepAlive::Pong) => {}
            }
        }
        // Further bytes of a message give it no more time.
        if framer.is_amid() && !amid {
            (amid, limit) = (true, limit.min(Instant::now() + patience.message));
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut receiver: mpsc::Receiver<Bytes>) -> String {
    while let Some(bytes) = receiver.recv().await {
        if let Err(error) = writer.write_all(&bytes).await {
            return error.to_string();
        }
    }
    "forgotten".into()
}

async fn fail(
    flow: Flow,
    receiver: mpsc::Receiver<Bytes>,
    heard: mpsc::Sender<Heard>,
    error: &io::Error,
) {
    drop(receiver);
    tracing::info!(peer = %flow.peer, %error, "connection could not be opened");
    let _ = heard.send(Heard::Ended { flow }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a test that needs sockets; everything it waits for comes.
    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        runtime.block_on(async {
            timeout(Duration::from_secs(20), test)
                .await
                .expect("what is waited for comes");
        });
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        (listener, address)
    }

    fn flow(local: SocketAddr, peer: SocketAddr) -> Flow {
        Flow {
            transport: Transport::Tcp,
            local,
            peer,
        }
    }

    /// A connection that a peer opened: its end, and the flow that names ours.
    async fn accepted(connections: &mut Connections) -> (TcpStream, Flow) {
        let (listener, address) = listener().await;
        let (theirs, ours) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, peer) = ours.expect("accepted");
        connections.accept(stream, address, peer);
        (theirs.expect("connected"), flow(address, peer))
    }

    async fn ends(peer: &mut TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        while peer.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    }

    #[test]
    fn one_connection_of_ours_carries_everything_and_is_forgotten_at_its_end() {
        run(async {
            let (heard_in, mut heard) = mpsc::channel(8);
            let mut connections = Connections::new(heard_in);
            let (listener, address) = listener().await;
            let flow = flow(address, address);
            assert!(connections.send(flow, Bytes::from_static(b"one")));
            let (mut peer, _) = listener.accept().await.expect("connected");
            assert!(connections.send(flow, Bytes::from_static(b"two")));
            let mut both = [0; 6];
            peer.read_exact(&mut both)
                .await
                .expect("both on one connection");
            assert_eq!((&both, connections.count()), (b"onetwo", 1));
            drop(peer);
            let ended = heard.recv().await;
            assert!(matches!(ended, Some(Heard::Ended { flow: of }) if of == flow));
            connections.ended(flow);
            assert_eq!(connections.count(), 0);
        });
    }

    #[test]
    fn a_peer_that_does_not_read_is_let_go() {
        run(async {
            let (heard_in, mut heard) = mpsc::channel(8);
            let mut connections = Connections::new(heard_in);
            let (mut peer, flow) = accepted(&mut connections).await;
            for _ in 0..WAITING {
                assert!(connections.send(flow, Bytes::from_static(b"unread")));
            }
            assert!(!connections.send(flow, Bytes::from_static(b"too much")));
            assert_eq!(connections.count(), 0);
            ends(&mut peer).await;
            assert!(heard.try_recv().is_err(), "nobody reads it any more");
        });
    }

    #[test]
    fn silence_and_half_a_message_end_a_connection() {
        for said in ["", "OPTIONS sip:a SIP/2.0\r\n"] {
            run(async {
                let (heard_in, mut heard) = mpsc::channel(8);
                let (listener, address) = listener().await;
                let (theirs, ours) = tokio::join!(TcpStream::connect(address), listener.accept());
                let (mut peer, (stream, from)) =
                    (theirs.expect("connected"), ours.expect("accepted"));
                let patience = Patience {
                    first: Duration::from_millis(match said.is_empty() {
                        true => 20,
                        false => 60_000,
                    }),
                    message: Duration::from_millis(20),
                    idle: Duration::from_secs(60),
                };
                let (pong, receiver) = mpsc::channel(8);
                let flow = flow(address, from);
                tokio::spawn(serve(stream, flow, patience, pong, receiver, heard_in));
                peer.write_all(said.as_bytes()).await.expect("sent");
                ends(&mut peer).await;
                assert!(matches!(heard.recv().await, Some(Heard::Ended { .. })));
            });
        }
    }

    #[test]
    fn peers_leave_room_for_each_other_and_for_us() {
        run(async {
            let mut connections = Connections::new(mpsc::channel(1).0);
            let local: SocketAddr = "192.0.2.99:5060".parse().expect("an address");
            let peer = |host: usize, port: usize| {
                SocketAddr::new([192, 0, 2, host as u8].into(), 1024 + port as u16)
            };
            for host in 0..3 {
                for port in 0..PER_PEER {
                    let from = peer(host, port);
                    assert!(connections.has_room_for(from));
                    let (queue, _) = mpsc::channel(1);
                    let task = tokio::spawn(async {}).abort_handle();
                    let connection = Connection { queue, task };
                    connections.open.insert(flow(local, from), connection);
                }
                assert!(!connections.has_room_for(peer(host, PER_PEER)));
            }
            assert!(!connections.has_room_for(peer(9, 0)));
            let ours = flow(local, "192.0.2.200:5060".parse().expect("an address"));
            assert!(connections.send(ours, Bytes::from_static(b"INVITE")));
        });
    }
}
