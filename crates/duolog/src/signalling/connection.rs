//! One connection (RFC 3261 §18, RFC 5626): one half reads it and cuts it into messages, the other writes
//! to it, a third keeps it alive.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use duolog_sip::{Flow, Framed, Framer, KeepAlive, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Heard;
use super::connections::Shop;
use super::identity::Identity;
use super::share::Share;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// From the first byte of a TLS handshake to its last.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a peer's kernel may owe the receipt of what was sent before the connection counts as dead.
const RECEIPT_WITHIN: Duration = Duration::from_secs(30);

/// How long one message may take to be written.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// How long a peer whose stream can not be read any more may take to read why.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long reading rests while too much of its source waits for the engine.
const REST: Duration = Duration::from_millis(5);

/// How long a connection may be silent before it is closed.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until its first message or keep-alive.
    pub first: Duration,
    /// From the first byte of a message to its last.
    pub message: Duration,
    /// Between messages. Peers with calls send keep-alives or requests well within it (RFC 5626
    /// §4.4.1 asks for 95 to 120 seconds).
    pub idle: Duration,
}

/// With connections of our own.
pub const OURS: Patience = Patience {
    first: Duration::from_secs(3600),
    message: Duration::from_secs(32),
    idle: Duration::from_secs(3600),
};

/// With peers that connected: those that say nothing must not hold every connection there is.
pub const THEIRS: Patience = Patience {
    first: Duration::from_secs(32),
    ..OURS
};

/// RFC 5626 §3.5.1: the ping, and the CRLF that answers one.
const PING: Bytes = Bytes::from_static(b"\r\n\r\n");
const PONG: Bytes = Bytes::from_static(b"\r\n");

/// A message that waits to be written.
#[derive(Debug)]
pub struct Outgoing {
    /// The message.
    pub bytes: Bytes,
    /// Whom the peer must have proved to be, over TLS.
    pub name: Option<Arc<str>>,
}

impl From<Bytes> for Outgoing {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, name: None }
    }
}

/// What a connection is told by its table.
#[derive(Debug)]
pub struct Orders {
    /// What is to be written; closed when no more will come.
    pub queue: mpsc::Receiver<Outgoing>,
    /// Its other end: for keep-alives.
    pub own: mpsc::WeakSender<Outgoing>,
    /// Gone when the connection is to end at once.
    pub stop: oneshot::Receiver<()>,
}

/// When pings of ours go out (RFC 5626 §4.4.1).
#[derive(Debug, Clone, Copy)]
pub struct Pulse {
    /// The shortest time between two, and up to how much more, so that not all go at once.
    pub every: (Duration, Duration),
    /// How long a peer that has answered one may take for the next answer.
    pub answer: Duration,
}

/// Towards peers that we connected to.
pub const PULSE: Pulse = Pulse {
    every: (Duration::from_secs(95), Duration::from_secs(25)),
    answer: Duration::from_secs(10),
};

impl Pulse {
    fn pause(self) -> Duration {
        // A fresh `RandomState` is as random as this needs to be.
        let part = RandomState::new().hash_one(()) as u32;
        self.every.0 + self.every.1.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }
}

/// Serves a connection that a peer opened.
pub async fn accepted(
    shop: Shop,
    stream: TcpStream,
    flow: Flow,
    patience: Patience,
    orders: Orders,
) {
    let patient = |identity: &Identity| (flow, patience, identity.clone());
    let tls = shop.tls.clone();
    let end = match (flow.transport, tls) {
        (Transport::Tls, Some(tls)) => match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok((stream, identity))) => {
                let (reader, writer) = tokio::io::split(stream);
                let about = patient(&identity);
                serve(&shop, reader, writer, about, orders, None).await
            }
            Ok(Err(error)) => shop.tls_failed(flow, &error),
            Err(_) => shop.tls_failed(flow, &io::ErrorKind::TimedOut.into()),
        },
        (Transport::Tls, None) => Some("there is no certificate".into()),
        _ => {
            let (reader, writer) = prepared(stream).into_split();
            let about = patient(&Identity::default());
            serve(&shop, reader, writer, about, orders, None).await
        }
    };
    tell_end(&shop, flow, end).await;
}

/// Opens a connection and serves it. Over TLS the peer must prove `name`, or its address.
pub async fn opened(shop: Shop, flow: Flow, name: Option<Arc<str>>, orders: Orders) {
    let end = match connect(flow.local.ip(), flow.peer).await {
        Ok(stream) => match (flow.transport, shop.tls.clone()) {
            (Transport::Tls, Some(tls)) => {
                let connecting = tls.connect(stream, flow.peer.ip(), name.as_deref());
                match timeout(HANDSHAKE, connecting).await {
                    Ok(Ok((stream, identity))) => {
                        let (reader, writer) = tokio::io::split(stream);
                        let about = (flow, OURS, identity);
                        serve(&shop, reader, writer, about, orders, Some(shop.pulse)).await
                    }
                    Ok(Err(error)) => unproved(&shop, flow, &error),
                    Err(_) => unproved(&shop, flow, &io::ErrorKind::TimedOut.into()),
                }
            }
            (Transport::Tls, None) => Some("sip.tls has no certificate".into()),
            _ => {
                let (reader, writer) = stream.into_split();
                let about = (flow, OURS, Identity::default());
                serve(&shop, reader, writer, about, orders, Some(shop.pulse)).await
            }
        },
        Err(error) => {
            tracing::info!(peer = %flow.peer, %error, "connection could not be opened");
            drop(orders);
            Some(error.to_string())
        }
    };
    tell_end(&shop, flow, end).await;
}

/// A peer of ours that is not who it should be is worth a line; strangers at the door are not.
fn unproved(shop: &Shop, flow: Flow, error: &io::Error) -> Option<String> {
    tracing::info!(peer = %flow.peer, %error, "a TLS handshake failed");
    shop.tls_failed(flow, error)
}

/// The engine fails what waits on this flow. When it is gone itself, nothing waits.
async fn tell_end(shop: &Shop, flow: Flow, end: Option<String>) {
    if let Some(reason) = end {
        tracing::debug!(peer = %flow.peer, reason, "connection ended");
        let _ = shop.heard.send(Heard::Ended { flow }).await;
    }
}

/// From the address that peers know us by, where it is one of this machine.
async fn connect(local: IpAddr, peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = match peer {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    let _ = socket.bind((local, 0).into());
    let stream = timeout(CONNECT_TIMEOUT, socket.connect(peer)).await;
    stream
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map(prepared)
}

/// Small messages must not wait for each other, and a peer that is gone without a word must be noticed;
/// a failure to set either costs only time.
fn prepared(stream: TcpStream) -> TcpStream {
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(&stream);
    let _ = socket.set_tcp_user_timeout(Some(RECEIPT_WITHIN));
    stream
}

/// Serves one connection until either half fails and says why; `None` when it was told to stop.
async fn serve(
    shop: &Shop,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    (flow, patience, identity): (Flow, Patience, Identity),
    orders: Orders,
    pulse: Option<Pulse>,
) -> Option<String> {
    let Orders { queue, own, stop } = orders;
    let names = identity.names();
    if !names.is_empty() {
        let certified = Heard::Certified { flow, names };
        shop.heard.send(certified).await.ok()?;
    }
    let (pongs_in, pongs) = watch::channel(());
    let secured = (flow.transport == Transport::Tls).then_some(&identity);
    // The queue's end is gone when the connection is told of as ended, and so is the socket.
    tokio::select! {
        end = read(shop, reader, flow, patience, (&own, &pongs_in)) => Some(end),
        end = write(writer, queue, secured) => Some(end),
        end = beat(pulse, &own, pongs) => Some(end),
        _ = stop => None,
    }
}

async fn read(
    shop: &Shop,
    mut reader: impl AsyncRead + Unpin,
    flow: Flow,
    patience: Patience,
    (own, pongs): (&mpsc::WeakSender<Outgoing>, &watch::Sender<()>),
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
        // The framer keeps a lone CRLF: it may become a ping.
        if buffer[..count] == PONG && !framer.is_amid() {
            pongs.send_replace(());
        }
        framer.push(&buffer[..count]);
        loop {
            let piece = match framer.next() {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                // Where a message ends is not known any more: nothing after it can be trusted. The
                // engine has what there was of the last one, and refuses it.
                Err(error) => {
                    let _ = timeout(FAREWELL, discard(&mut reader, &mut buffer)).await;
                    return error.to_string();
                }
            };
            (amid, limit) = (false, Instant::now() + patience.idle);
            match piece {
                Framed::Message(bytes) => {
                    let share = Some(share(shop, flow.peer.ip()).await);
                    let message = Heard::Message { flow, bytes, share };
                    if shop.heard.send(message).await.is_err() {
                        return "the node stops".into();
                    }
                }
                Framed::KeepAlive(KeepAlive::Ping) => {
                    // A peer that pings without reading is closed by its next message.
                    let _ = own.upgrade().map(|own| own.try_send(PONG.into()));
                }
                Framed::KeepAlive(KeepAlive::Pong) => pongs.send_replace(()),
            }
        }
        // Further bytes of a message give it no more time.
        if framer.is_amid() && !amid {
            (amid, limit) = (true, limit.min(Instant::now() + patience.message));
        }
    }
}

/// Reads until the peer closes: what lies unread at a close would take the last answer with it.
async fn discard(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) {
    while reader.read(buffer).await.is_ok_and(|count| count > 0) {}
}

/// A source with too much in the queue is read again when some of it has been handled.
async fn share(shop: &Shop, source: IpAddr) -> Share {
    loop {
        match shop.shares.take(source) {
            Some(share) => return share,
            None => sleep(REST).await,
        }
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Outgoing>,
    secured: Option<&Identity>,
) -> String {
    while let Some(Outgoing { bytes, name }) = queue.recv().await {
        if let (Some(identity), Some(name)) = (secured, name)
            && !identity.proves(&name)
        {
            // Another name of this address, which the peer has not proved: it must not see this.
            tracing::warn!(%name, "a message was not sent: its connection belongs to another name");
            continue;
        }
        let all = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        match timeout(WRITE_WITHIN, all).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "the peer does not read".into(),
        }
    }
    let _ = timeout(WRITE_WITHIN, writer.shutdown()).await;
    "forgotten".into()
}

/// Pings now and then. A peer that has once answered is held to it; of others the kernel tells when they are gone.
async fn beat(
    pulse: Option<Pulse>,
    own: &mpsc::WeakSender<Outgoing>,
    mut pongs: watch::Receiver<()>,
) -> String {
    let Some(pulse) = pulse else {
        return std::future::pending().await;
    };
    let mut answers = false;
    loop {
        sleep(pulse.pause()).await;
        pongs.mark_unchanged();
        let Some(own) = own.upgrade() else {
            // The rest of the queue is being written.
            return std::future::pending().await;
        };
        if own.try_send(PING.into()).is_err() {
            return "the peer does not read".into();
        }
        drop(own);
        match timeout(pulse.answer, pongs.changed()).await {
            Ok(_) => answers = true,
            Err(_) if answers => return "no answer to a ping".into(),
            Err(_) => {}
        }
    }
}

impl Shop {
    fn tls_failed(&self, flow: Flow, error: &io::Error) -> Option<String> {
        self.tallies.tls_failures.fetch_add(1, Ordering::Relaxed);
        Some(format!(
            "the TLS handshake with {} failed: {error}",
            flow.peer
        ))
    }
}
