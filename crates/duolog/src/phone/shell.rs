//! The loop that drives a group of phones on real sockets and the real clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Instant;

use duolog_sip::{Flow, Transport};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

use super::group::{Group, PhoneNo};
use super::real::{Look, Order, RealError, RealSettings, Told};
use super::sockets::{self, Arrival, Connections, MediaSockets};
use super::{Input, Output, Phone, PhoneSettings, Security, Ways};

/// Arrivals waiting for the phones: 80 ms of 500 calls. Beyond that datagrams are lost.
const ARRIVALS: usize = 4_096;

pub(super) struct Shell {
    pub(super) sip: SocketAddr,
    group: Group,
    udp: Arc<UdpSocket>,
    connections: Connections,
    media: Vec<MediaSockets>,
    arrivals: mpsc::Receiver<Arrival>,
    events: std_mpsc::SyncSender<Told>,
}

impl Shell {
    pub(super) async fn open(
        settings: RealSettings,
        events: std_mpsc::SyncSender<Told>,
    ) -> Result<Self, RealError> {
        let listener = TcpListener::bind(settings.sip).await?;
        let sip = listener.local_addr()?;
        let udp = Arc::new(UdpSocket::bind(sip).await?);
        let (queue, arrivals) = mpsc::channel(ARRIVALS);
        tokio::spawn(sockets::accept(listener, queue.clone()));
        let made = move |peer, _, bytes| {
            let flow = Flow {
                transport: Transport::Udp,
                local: sip,
                peer,
            };
            Arrival::Sip { flow, bytes }
        };
        tokio::spawn(sockets::read_datagrams(udp.clone(), queue.clone(), made));
        let (mut phones, mut media) = (Vec::new(), Vec::new());
        for (at, (user, voice)) in settings.phones.iter().enumerate() {
            let (no, pair) = (PhoneNo(at), sockets::bind_pair(settings.media).await?);
            let rtp = move |_, arrived, bytes| Arrival::Rtp { no, arrived, bytes };
            let rtcp = move |_, _, bytes| Arrival::Rtcp { no, bytes };
            tokio::spawn(sockets::read_datagrams(
                pair.rtp.clone(),
                queue.clone(),
                rtp,
            ));
            tokio::spawn(sockets::read_datagrams(
                pair.rtcp.clone(),
                queue.clone(),
                rtcp,
            ));
            let flow = Flow {
                transport: settings.transport,
                local: sip,
                peer: settings.proxy,
            };
            phones.push(Phone::new(PhoneSettings {
                user: user.clone(),
                domain: settings.domain.clone(),
                flow,
                rtp: pair.rtp.local_addr()?,
                rtcp: pair.rtcp.local_addr()?,
                codecs: settings.codecs.clone(),
                ptime_ms: settings.ptime_ms,
                clock_ppm: 0,
                security: Security::Clear,
                answering: settings.answering,
                ways: Ways::default(),
                voice: voice.clone(),
                keep: settings.keep,
                seed: settings.seed.wrapping_add(at as u64),
            }));
            media.push(pair);
        }
        let connections = Connections::new(sip, queue);
        Ok(Self {
            sip,
            group: Group::new(phones),
            udp,
            connections,
            media,
            arrivals,
            events,
        })
    }

    /// Runs until nobody holds the orders' other end.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let deadline = self.group.deadline();
            let due = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => {}
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                arrival = self.arrivals.recv() => {
                    self.arrived(arrival.expect("the shell holds a sender itself"));
                }
            }
            let now = Instant::now();
            for (no, out) in self.group.expire(now) {
                self.put(now, no, out);
            }
        }
    }

    fn obey(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Do(no, _) | Order::Look(no, _) if no.0 >= self.group.count() => {}
            Order::Do(no, action) => {
                let out = self.group.handle(now, no, Input::Do(*action));
                self.put(now, no, out);
            }
            Order::Look(no, answer) => {
                let phone = self.group.phone(no);
                let call_id = phone.call_id().map(str::to_owned);
                let look = Look {
                    ear: phone.ear().clone(),
                    sent: phone.sent().to_vec(),
                    call_id,
                };
                let _ = answer.try_send(look);
            }
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        let now = Instant::now();
        let (no, out) = match arrival {
            Arrival::Sip { flow, bytes } => self.group.receive(now, flow, bytes),
            Arrival::Connected { peer, stream } => return self.connections.accepted(peer, stream),
            Arrival::Closed { flow } => {
                for no in (0..self.group.count()).map(PhoneNo) {
                    let out = self.group.handle(now, no, Input::FlowFailed { flow });
                    self.put(now, no, out);
                }
                return;
            }
            Arrival::Rtp { no, arrived, bytes } => (
                no,
                self.group.handle(now, no, Input::Rtp { arrived, bytes }),
            ),
            Arrival::Rtcp { no, bytes } => (no, self.group.handle(now, no, Input::Rtcp { bytes })),
        };
        self.put(now, no, out);
    }

    /// Does what a phone wants. A datagram the kernel has no room for is lost, as any may be.
    fn put(&mut self, at: Instant, phone: PhoneNo, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send { flow, bytes } => match flow.transport {
                    Transport::Udp => drop(self.udp.try_send_to(&bytes, flow.peer)),
                    Transport::Tcp | Transport::Tls => self.connections.send(flow.peer, bytes),
                },
                Output::SendRtp { to, bytes } => {
                    let _ = self.media[phone.0].rtp.try_send_to(&bytes, to);
                }
                Output::SendRtcp { to, bytes } => {
                    let _ = self.media[phone.0].rtcp.try_send_to(&bytes, to);
                }
                Output::Event(event) => {
                    // Full: see `real::EVENTS`.
                    let _ = self.events.try_send(Told { at, phone, event });
                }
            }
        }
    }
}
