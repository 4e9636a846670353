//! The signalling thread: SIP sockets, timers and the call engine, on a tokio runtime of its own.
//! Everything the engine decides passes through here to the network, the relay threads and the log.

mod log;
mod tcp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_call::{Engine, Gate as CallGate, Input, MediaCommand, MediaEvent, Output};
use duolog_sip::{Flow, Transport};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use crate::contain::Breaks;
use crate::gate::Obstacles;
use crate::metrics::CallMetrics;
use crate::relay::{Order, Orders, Report};
use crate::translate::commands::{self, ShardIndex, Task, Translator};
use tcp::Connections;

/// Messages that wait for the engine. When they do not fit, readers stop reading: datagrams are
/// then dropped by the kernel and retransmitted, connections are slowed.
const HEARD: usize = 4096;

/// Longest datagram SIP allows for (RFC 3261 §18.1.1).
const DATAGRAM_BYTES: usize = 65_535;

/// Receive buffer of a SIP socket: a second of a thousand calls being set up.
const RECEIVE_BYTES: usize = 4 << 20;

/// `Retry-After` of a 503 while the node can not record.
const RETRY_AFTER_S: u32 = 30;

/// Inputs handled before timers are looked at again.
const BURST: usize = 64;

/// What the sockets heard.
#[derive(Debug)]
pub enum Heard {
    /// A datagram or one framed message.
    Message {
        /// The path it came on.
        flow: Flow,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A peer connected.
    Connection {
        /// The connection.
        stream: TcpStream,
        /// Our end.
        local: SocketAddr,
        /// Its end.
        peer: SocketAddr,
    },
    /// A connection ended, or could not be made.
    Ended {
        /// Which.
        flow: Flow,
    },
}

/// What the program asks of signalling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Take calls.
    Run,
    /// Refuse new calls, let running ones end, then return.
    Drain,
    /// End running calls, then return.
    HangUp,
}

/// The bound sockets.
#[derive(Debug, Default)]
pub struct Listeners {
    /// UDP sockets.
    pub udp: Vec<std::net::UdpSocket>,
    /// TCP listeners.
    pub tcp: Vec<std::net::TcpListener>,
}

impl Listeners {
    /// Binds every address.
    ///
    /// # Errors
    ///
    /// The first address that could not be bound, with the reason.
    pub fn bind(
        addresses: &[(Transport, SocketAddr)],
    ) -> Result<Self, (SocketAddr, std::io::Error)> {
        let mut listeners = Self::default();
        for (transport, address) in addresses {
            let bound = match transport {
                Transport::Udp => std::net::UdpSocket::bind(address).and_then(|socket| {
                    socket.set_nonblocking(true)?;
                    // The kernel may grant less (net.core.rmem_max); a burst is then retransmitted.
                    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BYTES);
                    listeners.udp.push(socket);
                    Ok(())
                }),
                Transport::Tcp => std::net::TcpListener::bind(address).and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    listeners.tcp.push(listener);
                    Ok(())
                }),
            };
            bound.map_err(|error| (*address, error))?;
        }
        Ok(listeners)
    }

    /// What was bound, with the ports the system chose where 0 was asked.
    pub fn addresses(&self) -> Vec<(Transport, SocketAddr)> {
        let udp = self
            .udp
            .iter()
            .filter_map(|s| s.local_addr().ok())
            .map(|a| (Transport::Udp, a));
        let tcp = self
            .tcp
            .iter()
            .filter_map(|s| s.local_addr().ok())
            .map(|a| (Transport::Tcp, a));
        udp.chain(tcp).collect()
    }
}

/// Everything signalling needs to begin.
pub struct Setting {
    /// The engine.
    pub engine: Engine,
    /// Bound sockets.
    pub listeners: Listeners,
    /// Translates the engine's media commands.
    pub translator: Translator,
    /// Ways to the relay threads.
    pub relays: Vec<Orders>,
    /// Address that SDP names for media.
    pub media_address: std::net::IpAddr,
    /// What the relay threads report.
    pub reports: mpsc::Receiver<Report>,
    /// Whether new calls can be recorded.
    pub gate: watch::Receiver<Obstacles>,
    /// What the program wants.
    pub intent: watch::Receiver<Intent>,
    /// What is counted.
    pub metrics: CallMetrics,
    /// What others may look at.
    pub vitals: Arc<Vitals>,
}

/// What other threads may look at while signalling runs.
#[derive(Debug, Default)]
pub struct Vitals {
    /// Calls now.
    pub calls: AtomicUsize,
    /// Transactions now.
    pub transactions: AtomicUsize,
    /// TCP connections now.
    pub connections: AtomicUsize,
    /// Turns of the loop.
    pub turns: AtomicU64,
    /// Work that broke.
    pub breaks: Breaks,
}

/// Runs signalling until the intent is carried out.
///
/// # Errors
///
/// When a bound socket can not be used by the runtime.
pub async fn run(setting: Setting) -> std::io::Result<()> {
    let (heard_in, heard) = mpsc::channel(HEARD);
    let mut udp = Vec::new();
    for socket in setting.listeners.udp {
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        udp.push((socket.local_addr()?, Arc::clone(&socket)));
        tokio::spawn(hear(socket, heard_in.clone()));
    }
    for listener in setting.listeners.tcp {
        tokio::spawn(tcp::listen(
            TcpListener::from_std(listener)?,
            heard_in.clone(),
        ));
    }
    let signalling = Signalling {
        engine: setting.engine,
        udp,
        tcp: Connections::new(heard_in),
        translator: setting.translator,
        relays: setting.relays,
        media_address: setting.media_address,
        metrics: setting.metrics,
        vitals: setting.vitals,
    };
    signalling
        .turn(heard, setting.reports, setting.gate, setting.intent)
        .await;
    Ok(())
}

/// Reads one UDP socket for ever.
async fn hear(socket: Arc<UdpSocket>, heard: mpsc::Sender<Heard>) {
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        // An error is an ICMP refusal of something sent before; the transaction's timers tell.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let flow = Flow {
            transport: Transport::Udp,
            local,
            peer,
        };
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        if heard.send(Heard::Message { flow, bytes }).await.is_err() {
            return;
        }
    }
}

struct Signalling {
    engine: Engine,
    udp: Vec<(SocketAddr, Arc<UdpSocket>)>,
    tcp: Connections,
    translator: Translator,
    relays: Vec<Orders>,
    media_address: std::net::IpAddr,
    metrics: CallMetrics,
    vitals: Arc<Vitals>,
}

impl Signalling {
    async fn turn(
        mut self,
        mut heard: mpsc::Receiver<Heard>,
        mut reports: mpsc::Receiver<Report>,
        mut gate: watch::Receiver<Obstacles>,
        mut intent: watch::Receiver<Intent>,
    ) {
        let mut messages = Vec::with_capacity(BURST);
        let mut events = Vec::with_capacity(BURST);
        // What was so before this began is no change.
        let (obstacles, wanted) = (*gate.borrow_and_update(), *intent.borrow_and_update());
        self.handle(Input::Gate(call_gate(&obstacles)));
        self.intend(wanted);
        loop {
            // Without a deadline the loop still turns, to be seen alive.
            let latest = Instant::now() + Duration::from_millis(500);
            let deadline = self.engine.deadline().map_or(latest, |d| d.min(latest));
            tokio::select! {
                _ = heard.recv_many(&mut messages, BURST) => {}
                _ = reports.recv_many(&mut events, BURST) => {}
                Ok(()) = gate.changed() => {
                    let obstacles = *gate.borrow_and_update();
                    self.handle(Input::Gate(call_gate(&obstacles)));
                }
                Ok(()) = intent.changed() => {
                    let wanted = *intent.borrow_and_update();
                    self.intend(wanted);
                }
                () = sleep_until(deadline.into()) => {}
            }
            for message in messages.drain(..) {
                self.hear(message);
            }
            for report in events.drain(..) {
                self.handle(Input::Media(self.media_event(report)));
            }
            if self
                .engine
                .deadline()
                .is_some_and(|deadline| deadline <= Instant::now())
            {
                self.handle(Input::Deadline);
            }
            self.publish();
            if *intent.borrow() != Intent::Run && self.engine.calls() == 0 {
                return;
            }
        }
    }

    fn intend(&mut self, intent: Intent) {
        match intent {
            Intent::Run => {}
            Intent::Drain => self.handle(Input::Drain),
            Intent::HangUp => {
                self.handle(Input::Drain);
                self.handle(Input::HangUpAll);
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Message { flow, bytes } => self.handle(Input::Sip { flow, bytes }),
            Heard::Connection {
                stream,
                local,
                peer,
            } => self.tcp.accept(stream, local, peer),
            Heard::Ended { flow } => {
                self.tcp.ended(flow);
                self.handle(Input::FlowFailed { flow });
            }
        }
    }

    fn media_event(&self, report: Report) -> MediaEvent {
        match report {
            Report::Opened { leg, port } => commands::opened(leg, self.media_address, port),
            Report::Refused { leg, reason } => MediaEvent::LegRefused {
                leg: duolog_call::LegId(leg.0),
                reason,
            },
            Report::Event(event) => commands::event(event),
        }
    }

    /// One input, and everything that follows from it at once.
    fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let now = Instant::now();
            let engine = &mut self.engine;
            let outputs = self.vitals.breaks.contain(|| engine.handle(now, input));
            for output in outputs.unwrap_or_default() {
                match output {
                    Output::Send { flow, bytes } => {
                        if !self.send(flow, bytes) {
                            inputs.push(Input::FlowFailed { flow });
                        }
                    }
                    Output::Media(command) => inputs.extend(self.order(now, command)),
                    Output::Log(line) => {
                        self.metrics.count(&line);
                        log::write(&line);
                    }
                }
            }
        }
    }

    /// `false` when the flow has failed.
    fn send(&mut self, flow: Flow, bytes: Bytes) -> bool {
        match flow.transport {
            Transport::Tcp => self.tcp.send(flow, bytes),
            Transport::Udp => {
                let socket = self
                    .udp
                    .iter()
                    .find(|(local, _)| local.port() == flow.local.port());
                let socket = socket.or(self.udp.first());
                let Some((_, socket)) = socket else {
                    return false;
                };
                match socket.try_send_to(&bytes, flow.peer) {
                    Ok(_) => true,
                    // A full buffer, one datagram that is too long, a filter: this one is lost, and
                    // its transaction sends it again. The others on this path know nothing of it.
                    Err(error) => !is_dead(error.kind()),
                }
            }
        }
    }

    /// Hands a command to its relay thread; gives back what the engine must know at once.
    fn order(&mut self, now: Instant, command: MediaCommand) -> Option<Input> {
        let (ShardIndex(shard), task) = self.translator.task(command)?;
        let relay = &self.relays[shard];
        match task {
            Task::OpenLeg(leg) => {
                let stuck = relay.send(now, Order::Open(leg)).err()?;
                let (leg, reason) = (duolog_call::LegId(leg.0), stuck.to_string());
                Some(Input::Media(MediaEvent::LegRefused { leg, reason }))
            }
            Task::Command(command) => {
                if let Err(error) = relay.send(now, Order::Media(command)) {
                    tracing::error!(shard, %error, "a command was lost");
                }
                None
            }
        }
    }

    fn publish(&self) {
        self.vitals
            .calls
            .store(self.engine.calls(), Ordering::Relaxed);
        self.vitals
            .transactions
            .store(self.engine.transactions(), Ordering::Relaxed);
        self.vitals
            .connections
            .store(self.tcp.count(), Ordering::Relaxed);
        self.vitals.turns.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether an error of sending speaks of the path, not of the datagram.
fn is_dead(error: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{HostUnreachable, NetworkUnreachable};
    matches!(error, HostUnreachable | NetworkUnreachable)
}

fn call_gate(obstacles: &Obstacles) -> CallGate {
    let reasons = obstacles.reasons();
    match reasons.is_empty() {
        true => CallGate::Open,
        false => CallGate::Closed {
            reason: reasons.join("; "),
            retry_after_s: RETRY_AFTER_S,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn one_datagram_that_cannot_go_does_not_end_its_path() {
        for (kind, dead) in [
            (ErrorKind::HostUnreachable, true),
            (ErrorKind::NetworkUnreachable, true),
            (ErrorKind::WouldBlock, false),
            (ErrorKind::ConnectionRefused, false),
            (ErrorKind::PermissionDenied, false),
            // EMSGSIZE: longer than any datagram.
            (std::io::Error::from_raw_os_error(90).kind(), false),
        ] {
            assert_eq!(is_dead(kind), dead, "{kind:?}");
        }
    }

    /// A node on a free port whose gate says `disk` before signalling begins; its answer to OPTIONS.
    async fn asked(disk: crate::gate::Disk) -> String {
        let config = crate::config::read(crate::config::EMBEDDED).expect("it is the default");
        let any = [(Transport::Udp, SocketAddr::from(([127, 0, 0, 1], 0)))];
        let listeners = Listeners::bind(&any).expect("a free port");
        let listening = listeners.addresses();
        let wall = crate::clock::WallClock::read();
        let plain = crate::abilities::Abilities::default();
        let settings = crate::translate::settings::settings(&config, &plain, &listening, &wall);
        let settings = Arc::new(settings);
        let prompts = crate::prompts::PromptBook::load(None, &plain).expect("they are shipped");
        let prompts = Arc::new(prompts);
        let gate = crate::gate::Gate::default();
        gate.disk(disk);
        let (_reports, reports) = mpsc::channel(1);
        let (intent, wanted) = watch::channel(Intent::Run);
        let node = tokio::spawn(run(Setting {
            engine: Engine::new(Arc::clone(&settings), [1; 32]),
            listeners,
            translator: Translator::new(1, settings, prompts, None),
            relays: Vec::new(),
            media_address: [127, 0, 0, 1].into(),
            reports,
            gate: gate.watch(),
            intent: wanted,
            metrics: CallMetrics::default(),
            vitals: Arc::default(),
        }));
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let ask = "OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1;rport\r\n\
            From: <sip:a@b>;tag=1\r\nTo: <sip:x@y>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let sent = socket.send_to(ask.as_bytes(), listening[0].1).await;
        sent.expect("sent");
        let mut answer = [0; 2048];
        let length = socket.recv(&mut answer).await.expect("answered");
        intent.send_replace(Intent::Drain);
        node.await.expect("no panic").expect("it ran");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    #[test]
    fn a_gate_that_was_closed_before_signalling_began_is_closed() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        runtime.block_on(async {
            let full = asked(crate::gate::Disk::Full).await;
            assert!(full.starts_with("SIP/2.0 503 "), "{full}");
            let ample = asked(crate::gate::Disk::Ample).await;
            assert!(ample.starts_with("SIP/2.0 200 "), "{ample}");
        });
    }
}
