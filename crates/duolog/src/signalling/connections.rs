//! SIP over TCP and TLS (RFC 3261 §18, RFC 5923): the engine knows flows; this file knows which connection a flow
//! is.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use duolog_sip::{Flow, Transport};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::connection::{self, Orders, Outgoing, Pulse, THEIRS};
use super::places::{Place, Places};
use super::share::Shares;
use super::tls::Tls;
use super::{Heard, Tallies};

/// Connections of our own at once.
const OPENED: usize = 1024;

/// Connections that peers may open. More than this from the network is a flood, not telephony.
pub const ACCEPTED: usize = 8192;

/// Connections from one source: one for each phone behind a NAT, and still not all there are.
pub const PER_SOURCE: usize = ACCEPTED / 4;

/// Messages that wait for one peer to read. When it is full the peer has stopped reading: the
/// connection is dropped and the engine told.
const WAITING: usize = 256;

/// What every connection works with.
#[derive(Debug, Clone)]
pub struct Shop {
    /// Messages, names and failures go here.
    pub heard: mpsc::Sender<Heard>,
    /// TLS, where there is a certificate.
    pub tls: Option<Tls>,
    /// Each source's part of the queue.
    pub shares: Shares,
    /// Room for what peers open.
    pub places: Places,
    /// When we ping.
    pub pulse: Pulse,
    /// What is counted.
    pub tallies: Arc<Tallies>,
}

/// Every open connection by its flow.
#[derive(Debug)]
pub struct Connections {
    open: HashMap<Flow, Connection>,
    opened: usize,
    shop: Shop,
    runtime: Handle,
}

/// A connection as its table sees it.
#[derive(Debug)]
pub struct Connection {
    queue: mpsc::Sender<Outgoing>,
    /// The connection ends at once when this is dropped.
    stop: oneshot::Sender<()>,
    /// That of a connection which the peer opened.
    place: Option<Place>,
}

impl Connection {
    fn new(place: Option<Place>) -> (Self, Orders) {
        let (queue, receiver) = mpsc::channel(WAITING);
        let (stop, stopped) = oneshot::channel();
        let orders = Orders {
            queue: receiver,
            own: queue.downgrade(),
            stop: stopped,
        };
        (Self { queue, stop, place }, orders)
    }
}

impl Connections {
    /// Connections are served on `runtime`.
    pub fn new(shop: Shop, runtime: Handle) -> Self {
        Self {
            open: HashMap::new(),
            opened: 0,
            shop,
            runtime,
        }
    }

    /// Connections open now.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Sends on the connection of `flow`, opening one where there is none; over TLS the peer must
    /// prove `name`, or its address. `false` when the peer does not read or there are too many
    /// connections: the flow has failed.
    #[must_use]
    pub fn send(&mut self, flow: Flow, bytes: Bytes, name: Option<Arc<str>>) -> bool {
        let Some(connection) = self.open.get(&flow) else {
            return self.connect(flow, Outgoing { bytes, name });
        };
        match connection.queue.try_send(Outgoing { bytes, name }) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.remove(flow);
                false
            }
            // Closed meanwhile by the peer: open a new one (RFC 3261 §18.2.2).
            Err(mpsc::error::TrySendError::Closed(outgoing)) => {
                self.remove(flow);
                self.connect(flow, outgoing)
            }
        }
    }

    /// Takes over an accepted connection.
    pub fn accept(&mut self, flow: Flow, connection: Connection) {
        self.remove(flow);
        self.open.insert(flow, connection);
    }

    /// Forgets a connection that has ended, unless it was opened again meanwhile.
    pub fn ended(&mut self, flow: Flow) {
        if self.open.get(&flow).is_some_and(|c| c.queue.is_closed()) {
            self.remove(flow);
        }
    }

    /// Lets every connection write what waits, for a moment at most.
    pub async fn finish(self) {
        let (queues, stops): (Vec<_>, Vec<_>) = self
            .open
            .into_values()
            .map(|connection| (connection.queue, connection.stop))
            .unzip();
        drop(queues);
        let written = stops.into_iter().map(async |mut stop| stop.closed().await);
        let written = async {
            for one in written {
                one.await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), written).await;
    }

    fn remove(&mut self, flow: Flow) {
        if let Some(connection) = self.open.remove(&flow)
            && connection.place.is_none()
        {
            self.opened -= 1;
        }
    }

    fn connect(&mut self, flow: Flow, outgoing: Outgoing) -> bool {
        if self.opened >= OPENED {
            return false;
        }
        let name = outgoing.name.clone();
        let (connection, orders) = Connection::new(None);
        if connection.queue.try_send(outgoing).is_err() {
            return false;
        }
        self.opened += 1;
        self.open.insert(flow, connection);
        let serving = connection::opened(self.shop.clone(), flow, name, orders);
        self.runtime.spawn(serving);
        true
    }
}

/// Accepts connections for ever. An error of one accept (no file descriptors left) is logged and
/// the next one tried after a rest, so that a full table cannot spin.
pub async fn listen(listener: TcpListener, transport: Transport, shop: Shop) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Ok(local) = stream.local_addr() else {
                    continue;
                };
                let flow = Flow {
                    transport,
                    local,
                    peer,
                };
                if !admit(&shop, stream, flow).await {
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

/// `false` when the node stops. A connection that there is no room for is reset, which costs nothing more.
async fn admit(shop: &Shop, stream: TcpStream, flow: Flow) -> bool {
    let Some(place) = shop.places.take(flow.peer.ip()) else {
        shop.tallies.refused.fetch_add(1, Ordering::Relaxed);
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        tracing::debug!(peer = %flow.peer, "connection refused: too many are open");
        return true;
    };
    let (connection, orders) = Connection::new(Some(place));
    if shop
        .heard
        .send(Heard::Connection { flow, connection })
        .await
        .is_err()
    {
        return false;
    }
    tokio::spawn(connection::accepted(
        shop.clone(),
        stream,
        flow,
        THEIRS,
        orders,
    ));
    true
}

#[cfg(test)]
mod tests;
