//! The signalling thread: SIP sockets, timers and the call engine, on a tokio runtime of its own.
//! Everything the engine decides passes through here to the network, the relay threads and the log.

mod asks;
mod connection;
mod connections;
mod dns;
mod identity;
mod listeners;
mod log;
mod places;
mod share;
mod tls;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog_call::{Engine, Gate as CallGate, Input, MediaCommand, MediaEvent, Output};
use duolog_reach::hops::{LookupFailure, QueryId, Question, Records};
use duolog_sip::{Flow, Transport};
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use crate::contain::Breaks;
use crate::gate::{Intake, Obstacles};
use crate::memory::{self, Tide};
use crate::metrics::CallMetrics;
use crate::relay::{Order, Orders, Report};
use crate::translate::commands::{self, ShardIndex, Task, Translator};
use asks::Waiting;
use connections::{Connection, Connections, Shop};
use listeners::Listener;
use places::Places;
use share::{Share, Shares};

pub use asks::Ask;
pub use dns::{Dns, DnsUnusable};
pub use listeners::Listeners;
pub use tls::{Tls, TlsError};

/// Messages that wait for the engine. When they do not fit, readers stop reading: datagrams are
/// then dropped by the kernel and retransmitted, connections are slowed.
const HEARD: usize = 4096;

/// Of these, how many may be of one source: the others' calls go on while it floods.
const SHARE: u32 = HEARD as u32 / 4;

/// `Retry-After` of a 503 while the node can not record.
const RETRY_AFTER_S: u32 = 30;

/// Inputs handled before timers are looked at again.
const BURST: usize = 64;

/// Longest time that taking back registrations may hold up the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the sockets heard.
#[derive(Debug)]
pub enum Heard {
    /// A datagram or one framed message.
    Message {
        /// The path it came on.
        flow: Flow,
        /// Its bytes.
        bytes: Bytes,
        /// Its source's part of the queue.
        share: Option<Share>,
    },
    /// A peer connected.
    Connection {
        /// The path.
        flow: Flow,
        /// The way to it.
        connection: Connection,
    },
    /// The peer of a TLS connection has proved who it is.
    Certified {
        /// The connection.
        flow: Flow,
        /// Hosts, and `user@host`.
        names: Vec<String>,
    },
    /// A question to the DNS was answered.
    Resolved {
        /// Which.
        id: QueryId,
        /// With what.
        answer: Result<Records, LookupFailure>,
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

/// Everything signalling needs to begin.
pub struct Setting {
    /// The engine.
    pub engine: Engine,
    /// Bound sockets.
    pub listeners: Listeners,
    /// TLS, where there is a certificate.
    pub tls: Option<Tls>,
    /// Who is asked for names.
    pub dns: Dns,
    /// Where sockets are read and handshakes made, so that neither waits for the engine nor the engine
    /// for them.
    pub sockets: Handle,
    /// Translates the engine's media commands.
    pub translator: Translator,
    /// Ways to the relay threads.
    pub relays: Vec<Orders>,
    /// What the relay threads report.
    pub reports: mpsc::Receiver<Report>,
    /// What people ask of running calls.
    pub asks: mpsc::Receiver<Ask>,
    /// What mailboxes have, as [`Input::Messages`].
    pub messages: mpsc::Receiver<Input>,
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
    /// TCP and TLS connections now.
    pub connections: AtomicUsize,
    /// Turns of the loop.
    pub turns: AtomicU64,
    /// Work that broke.
    pub breaks: Breaks,
    /// What the sockets count.
    pub tallies: Arc<Tallies>,
}

/// What the sockets count.
#[derive(Debug, Default)]
pub struct Tallies {
    /// TLS handshakes that failed.
    pub tls_failures: AtomicU64,
    /// Connections refused because there were too many.
    pub refused: AtomicU64,
    /// Datagrams not read because too many of their source waited.
    pub crowded: AtomicU64,
}

/// Runs signalling until the intent is carried out.
///
/// # Errors
///
/// When a bound socket can not be used by the runtime.
pub async fn run(setting: Setting) -> std::io::Result<()> {
    let (heard_in, heard) = mpsc::channel(HEARD);
    let tallies = Arc::clone(&setting.vitals.tallies);
    let shop = Shop {
        heard: heard_in,
        tls: setting.tls,
        shares: Shares::new(SHARE),
        places: Places::new(connections::ACCEPTED, connections::PER_SOURCE),
        pulse: connection::PULSE,
        tallies,
    };
    let udp = listen(setting.listeners, &shop, &setting.sockets)?;
    let signalling = Signalling {
        engine: setting.engine,
        dns: setting.dns,
        heard: shop.heard.clone(),
        sockets: setting.sockets.clone(),
        udp,
        streams: Connections::new(shop, setting.sockets),
        translator: setting.translator,
        relays: setting.relays,
        metrics: setting.metrics,
        vitals: setting.vitals,
        waiting: Waiting::default(),
        tide: Tide::default(),
    };
    let told = (setting.gate, setting.intent);
    signalling
        .turn(
            heard,
            setting.reports,
            (setting.asks, setting.messages),
            told,
        )
        .await;
    Ok(())
}

/// Hears on every socket from now; gives those for datagrams, to send with.
fn listen(
    listeners: Listeners,
    shop: &Shop,
    sockets: &Handle,
) -> std::io::Result<Vec<(SocketAddr, Arc<UdpSocket>)>> {
    let _in_their_runtime = sockets.enter();
    let mut udp = Vec::new();
    for listener in listeners.0 {
        match listener {
            Listener::Udp(socket) => {
                let socket = Arc::new(UdpSocket::from_std(socket)?);
                udp.push((socket.local_addr()?, Arc::clone(&socket)));
                let (heard, shares) = (shop.heard.clone(), shop.shares.clone());
                let tallies = Arc::clone(&shop.tallies);
                sockets.spawn(udp::hear(socket, heard, shares, tallies));
            }
            Listener::Stream(transport, listener) => {
                let listener = TcpListener::from_std(listener)?;
                sockets.spawn(connections::listen(listener, transport, shop.clone()));
            }
        }
    }
    Ok(udp)
}

struct Signalling {
    engine: Engine,
    dns: Dns,
    heard: mpsc::Sender<Heard>,
    sockets: Handle,
    udp: Vec<(SocketAddr, Arc<UdpSocket>)>,
    streams: Connections,
    translator: Translator,
    relays: Vec<Orders>,
    metrics: CallMetrics,
    vitals: Arc<Vitals>,
    waiting: Waiting,
    tide: Tide,
}

impl Signalling {
    async fn turn(
        mut self,
        mut heard: mpsc::Receiver<Heard>,
        mut reports: mpsc::Receiver<Report>,
        (mut asks, mut counts): (mpsc::Receiver<Ask>, mpsc::Receiver<Input>),
        (mut gate, mut intent): (watch::Receiver<Obstacles>, watch::Receiver<Intent>),
    ) {
        let mut messages = Vec::with_capacity(BURST);
        let mut events = Vec::with_capacity(BURST);
        // What was so before this began is no change.
        // Until when trunks are told that this node is no longer there.
        let mut farewell: Option<Instant> = None;
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
                Some(messages) = counts.recv() => self.handle(messages),
                Ok(()) = gate.changed() => gate.mark_changed(),
                Ok(()) = intent.changed() => intent.mark_changed(),
                Some(ask) = asks.recv() => self.asked(ask),
                () = sleep_until(deadline.into()) => {}
            }
            self.follow(&mut gate, &mut intent);
            for message in messages.drain(..) {
                self.hear(message);
            }
            for report in events.drain(..) {
                self.handle(Input::Media(media_event(report)));
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
                if farewell.is_none() {
                    self.handle(Input::HangUpAll);
                }
                let over = *farewell.get_or_insert(Instant::now() + FAREWELL);
                if self.engine.registering() == 0 || over <= Instant::now() {
                    self.streams.finish().await;
                    return;
                }
            }
        }
    }

    /// What was told before a message came holds for that message.
    fn follow(
        &mut self,
        gate: &mut watch::Receiver<Obstacles>,
        intent: &mut watch::Receiver<Intent>,
    ) {
        // Nobody can change what has no sender any more.
        if gate.has_changed().unwrap_or(false) {
            let obstacles = *gate.borrow_and_update();
            self.handle(Input::Gate(call_gate(&obstacles)));
        }
        if intent.has_changed().unwrap_or(false) {
            let wanted = *intent.borrow_and_update();
            self.intend(wanted);
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
            Heard::Message { flow, bytes, share } => {
                drop(share);
                self.handle(Input::Sip { flow, bytes });
            }
            Heard::Connection { flow, connection } => self.streams.accept(flow, connection),
            Heard::Certified { flow, names } => self.handle(Input::Certified { flow, names }),
            Heard::Resolved { id, answer } => self.handle(Input::Resolved { id, answer }),
            Heard::Ended { flow } => {
                self.streams.ended(flow);
                self.handle(Input::FlowFailed { flow });
            }
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
                    Output::Send { flow, bytes, name } => {
                        if !self.send(flow, bytes, name) {
                            inputs.push(Input::FlowFailed { flow });
                        }
                    }
                    Output::Resolve { id, question } => self.resolve(id, question),
                    Output::Media(command) => inputs.extend(self.order(now, command)),
                    Output::Controlled { id, result } => self.waiting.answer(id, result),
                    Output::Log(line) => {
                        self.metrics.count(&line);
                        log::write(&line);
                    }
                }
            }
        }
    }

    /// `false` when the flow has failed.
    fn send(&mut self, flow: Flow, bytes: Bytes, name: Option<Arc<str>>) -> bool {
        if flow.transport != Transport::Udp {
            return self.streams.send(flow, bytes, name);
        }
        let Some(socket) = socket_for(&self.udp, flow) else {
            return false;
        };
        match socket.try_send_to(&bytes, flow.peer) {
            Ok(_) => true,
            // A full buffer, one datagram that is too long, a filter: this one is lost, and
            // its transaction sends it again. The others on this path know nothing of it.
            Err(error) => !is_dead(error.kind()),
        }
    }

    fn resolve(&self, id: QueryId, question: Question) {
        let _in_their_runtime = self.sockets.enter();
        let heard = self.heard.clone();
        self.dns.ask(id, question, move |id, answer| {
            // Nobody waits for it when the node has stopped.
            tokio::spawn(async move { heard.send(Heard::Resolved { id, answer }).await });
        });
    }

    /// Hands a command to its relay thread; gives back what the engine must know at once.
    fn order(&mut self, now: Instant, command: MediaCommand) -> Option<Input> {
        let (ShardIndex(shard), task) = self.translator.task(command)?;
        let relay = &self.relays[shard];
        match task {
            Task::OpenLeg { leg, peer } => {
                let stuck = relay.send(now, Order::Open { leg, peer }).err()?;
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

    fn publish(&mut self) {
        if self.tide.ebbs(self.engine.transactions()) {
            memory::give_back();
        }
        self.vitals
            .calls
            .store(self.engine.calls(), Ordering::Relaxed);
        self.vitals
            .transactions
            .store(self.engine.transactions(), Ordering::Relaxed);
        self.vitals
            .connections
            .store(self.streams.count(), Ordering::Relaxed);
        self.vitals.turns.fetch_add(1, Ordering::Relaxed);
    }
}

/// The socket a flow names; else, where peers are told another address than the bound one, that of its family and
/// port.
fn socket_for(udp: &[(SocketAddr, Arc<UdpSocket>)], flow: Flow) -> Option<&UdpSocket> {
    let same_family = |own: &SocketAddr| own.is_ipv4() == flow.peer.is_ipv4();
    let exact = |own: &SocketAddr| *own == flow.local;
    let told = |own: &SocketAddr| same_family(own) && own.port() == flow.local.port();
    let found = |fits: &dyn Fn(&SocketAddr) -> bool| udp.iter().find(|(own, _)| fits(own));
    let found = found(&exact)
        .or_else(|| found(&told))
        .or_else(|| found(&same_family));
    found.map(|(_, socket)| &**socket)
}

/// Whether an error of sending speaks of the path, not of the datagram.
fn is_dead(error: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{HostUnreachable, NetworkUnreachable};
    matches!(error, HostUnreachable | NetworkUnreachable)
}

/// Draining is an input of its own: it turns new calls away, and what runs can be recorded.
fn call_gate(obstacles: &Obstacles) -> CallGate {
    let intake = Intake::Open;
    let reasons = Obstacles {
        intake,
        ..*obstacles
    }
    .reasons();
    match reasons.is_empty() {
        true => CallGate::Open,
        false => CallGate::Closed {
            reason: reasons.join("; "),
            retry_after_s: RETRY_AFTER_S,
        },
    }
}

/// What a relay thread reports, in the call's words.
fn media_event(report: Report) -> MediaEvent {
    match report {
        Report::Opened { leg, address, port } => commands::opened(leg, address, port),
        Report::Refused { leg, reason } => MediaEvent::LegRefused {
            leg: duolog_call::LegId(leg.0),
            reason,
        },
        Report::Event(event) => commands::event(event),
        Report::Lost { recording, loss } => commands::lost(recording, loss),
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

    #[test]
    fn a_node_that_drains_can_still_record() {
        let draining = |disk| Obstacles {
            disk,
            intake: Intake::Draining,
            ..Obstacles::default()
        };
        use crate::gate::Disk::{Ample, Full};
        assert_eq!(call_gate(&draining(Ample)), CallGate::Open);
        let CallGate::Closed { reason, .. } = call_gate(&draining(Full)) else {
            panic!("the disk is full")
        };
        assert!(
            reason.contains("full") && !reason.contains("drain"),
            "{reason}"
        );
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
        let prompts = crate::prompts::PromptBook::load(&config, &plain);
        let prompts = prompts.expect("they are shipped");
        let prompts = Arc::new(prompts);
        let gate = crate::gate::Gate::default();
        gate.disk(disk);
        let (_reports, reports) = mpsc::channel(1);
        let (intent, wanted) = watch::channel(Intent::Run);
        let node = tokio::spawn(run(Setting {
            engine: Engine::new(settings, [1; 32]),
            listeners,
            tls: None,
            dns: Dns::new(&[listening[0].1], Duration::from_secs(1))
                .expect("a resolver can be made"),
            sockets: Handle::current(),
            translator: Translator::new(1, prompts, None),
            relays: Vec::new(),
            reports,
            asks: mpsc::channel(1).1,
            messages: mpsc::channel(1).1,
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
