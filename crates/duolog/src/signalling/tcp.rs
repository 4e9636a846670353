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
use tokio::time::timeout;

use super::Heard;

/// Connections kept at once. More than this from the network is a flood, not telephony.
const CONNECTIONS: usize = 4096;

/// Messages that wait for one peer to read. When it is full the peer has stopped reading: the
/// connection is dropped and the engine told.
const WAITING: usize = 256;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection without a byte for this long is closed. Peers with calls send keep-alives or
/// requests well within it (RFC 5626 §4.4.1 asks for 95 to 120 seconds).
const IDLE: Duration = Duration::from_secs(3600);

/// The CRLF that answers a keep-alive ping (RFC 5626 §3.5.1).
const PONG: Bytes = Bytes::from_static(b"\r\n");

/// Every open connection by its flow.
#[derive(Debug)]
pub struct Connections {
    open: HashMap<Flow, mpsc::Sender<Bytes>>,
    heard: mpsc::Sender<Heard>,
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
            match connection.try_send(bytes) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Full(_)) => {
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
        if self.open.len() >= CONNECTIONS {
            tracing::warn!(%peer, "connection refused: {CONNECTIONS} are open");
            return;
        }
        let flow = Flow {
            transport: Transport::Tcp,
            local,
            peer,
        };
        let (sender, receiver) = mpsc::channel(WAITING);
        self.open.insert(flow, sender.clone());
        tokio::spawn(serve(stream, flow, sender, receiver, self.heard.clone()));
    }

    /// Forgets a connection that has ended, unless it was opened again meanwhile.
    pub fn ended(&mut self, flow: Flow) {
        if self.open.get(&flow).is_some_and(mpsc::Sender::is_closed) {
            self.open.remove(&flow);
        }
    }

    fn connect(&mut self, flow: Flow, bytes: Bytes) -> bool {
        if self.open.len() >= CONNECTIONS {
            return false;
        }
        let (sender, receiver) = mpsc::channel(WAITING);
        if sender.try_send(bytes).is_err() {
            return false;
        }
        self.open.insert(flow, sender.clone());
        let heard = self.heard.clone();
        tokio::spawn(async move {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(flow.peer)).await {
                Ok(Ok(stream)) => serve(stream, flow, sender, receiver, heard).await,
                Ok(Err(error)) => fail(flow, receiver, heard, &error).await,
                Err(_) => fail(flow, receiver, heard, &io::ErrorKind::TimedOut.into()).await,
            }
        });
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

async fn serve(
    stream: TcpStream,
    flow: Flow,
    sender: mpsc::Sender<Bytes>,
    receiver: mpsc::Receiver<Bytes>,
    heard: mpsc::Sender<Heard>,
) {
    // Small messages must not wait for each other; a failure to set this costs only time.
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let writing = tokio::spawn(write(writer, receiver));
    let end = read(reader, flow, &sender, &heard).await;
    drop(sender);
    writing.abort();
    tracing::debug!(peer = %flow.peer, reason = %end, "connection ended");
    // The engine fails what waits on this flow. When it is gone itself, nothing waits.
    let _ = heard.send(Heard::Ended { flow }).await;
}

async fn read(
    mut reader: OwnedReadHalf,
    flow: Flow,
    pong: &mpsc::Sender<Bytes>,
    heard: &mpsc::Sender<Heard>,
) -> String {
    let mut framer = Framer::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match timeout(IDLE, reader.read(&mut buffer)).await {
            Ok(Ok(0)) => return "closed by the peer".into(),
            Ok(Ok(count)) => count,
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "idle".into(),
        };
        framer.push(&buffer[..count]);
        loop {
            match framer.next() {
                Ok(Some(Framed::Message(bytes))) => {
                    if heard.send(Heard::Message { flow, bytes }).await.is_err() {
                        return "the node stops".into();
                    }
                }
                Ok(Some(Framed::KeepAlive(KeepAlive::Ping))) => {
                    // A peer that pings without reading is closed by its next message.
                    let _ = pong.try_send(PONG);
                }
                Ok(Some(Framed::KeepAlive(KeepAlive::Pong))) => {}
                Ok(None) => break,
                // Where a message ends is not known any more: nothing after it can be trusted.
                Err(error) => return error.to_string(),
            }
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut receiver: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = receiver.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return; // the reading half sees the same failure and reports it
        }
    }
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
