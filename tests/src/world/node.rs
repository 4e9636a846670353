//! One duolog in virtual time: the program's own engine, translator, shards and writer, with the
//! threads between them replaced by turns, and the glue between them the program's own.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog::abilities::Abilities;
use duolog::clock::WallClock;
use duolog::config::Config;
use duolog::gate::{Gate, Obstacles};
use duolog::prompts::PromptBook;
use duolog::translate::commands::{self, ShardIndex, Task, Translator};
use duolog::translate::settings::settings;
use duolog_call::{CallLog, Engine, Gate as CallGate, Input, MediaEvent, Output};
use duolog_media::{
    Command, Counters, LegIdentity, LegKey, Outbox, PortId, RecordingKey, Sabotage, Shard,
    ShardSettings,
};
use duolog_reach::hops::{LookupFailure, QueryId, Question, Records};
use duolog_rtp::timeline::DriftCorrection;
use duolog_rtp::{RtpTimestamp, SeqNo, Ssrc};
use duolog_sip::{Flow, Transport};
use duolog_spool::SimDisk;

use super::dice::Dice;
use super::keeper::Keeper;
use super::watch::Watch;

/// Something that leaves the node's threads, to arrive somewhere later.
#[derive(Debug)]
pub enum Effect {
    /// A SIP message.
    Sip(SocketAddr, Bytes),
    /// A media datagram: from our port, to a peer.
    Media(SocketAddr, SocketAddr, Bytes),
    /// An order for a relay thread, stamped with when it takes effect.
    Order(usize, Instant, Task),
    /// What a relay thread tells signalling.
    Report(MediaEvent),
    /// What the DNS answers.
    Resolved(QueryId, Result<Records, LookupFailure>),
}

/// One relay thread.
struct Relay {
    shard: Shard,
    out: Outbox,
    /// Leg and UDP port of each port id.
    ports: Vec<Option<(LegKey, u16)>>,
}

/// What a node is made with, beside its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Making {
    /// Makes its tags, SSRC and ids.
    pub seed: u64,
    /// A fault put in on purpose.
    pub sabotage: Sabotage,
    /// Whether clocks that drift are followed.
    pub drift: DriftCorrection,
    /// Entries that may wait for the disk.
    pub queue: usize,
}

/// A running node.
pub struct Node {
    engine: Engine,
    translator: Translator,
    relays: Vec<Relay>,
    keeper: Keeper,
    gate: Gate,
    told: Obstacles,
    watch: Watch,
    dice: Dice,
    sip: SocketAddr,
    /// Where media goes in and out: one address, or one of each family.
    media: Vec<IpAddr>,
    /// The DNS: hosts and their addresses.
    hosts: HashMap<String, IpAddr>,
    ports: HashMap<u16, (usize, PortId)>,
    next_port: u16,
    logs: Vec<CallLog>,
    effects: Vec<Effect>,
}

impl Node {
    /// A node that listens, on a disk.
    #[must_use]
    pub fn new(config: &Config, wall: WallClock, disk: SimDisk, making: Making) -> Node {
        let listening = config.sip.listen.clone();
        let sip = listening.first().expect("a world's node listens on UDP").1;
        let abilities = Abilities::find(config).expect("what the configuration wants is there");
        let settings = Arc::new(settings(config, &abilities, &listening, &wall));
        let book = PromptBook::load(config, &abilities).expect("its prompts can be read");
        let mut dice = Dice::new(making.seed);
        let unix_us = wall.unix_us(wall.instant()).max(0) as u64;
        let shard = ShardSettings {
            media_timeout: config.media.timeout,
            sabotage: making.sabotage,
            drift_correction: making.drift,
            g729: abilities.g729.clone(),
            ..ShardSettings::new((wall.instant(), duolog_rtp::WallTime { unix_us }))
        };
        let relay = |_| Relay {
            shard: Shard::new(shard.clone()),
            out: Outbox::new(),
            ports: Vec::new(),
        };
        let threads = config.media.threads;
        let gate = Gate::default();
        Node {
            engine: Engine::new(settings, dice.seed()),
            translator: Translator::new(threads, Arc::new(book), abilities.dtls),
            relays: (0..threads).map(relay).collect(),
            keeper: Keeper::new(disk, making.queue, gate.clone(), wall),
            told: gate.now(),
            gate,
            watch: Watch::default(),
            dice,
            sip,
            media: config.media.address.clone(),
            hosts: HashMap::new(),
            ports: HashMap::new(),
            next_port: config.media.ports.0,
            logs: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Where it hears SIP.
    #[must_use]
    pub fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// The invariants' watch.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The spool thread.
    #[must_use]
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// What the engine logged, in order.
    #[must_use]
    pub fn logs(&self) -> &[CallLog] {
        &self.logs
    }

    /// Counters of each relay thread.
    pub fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.relays.iter().map(|relay| relay.shard.counters())
    }

    /// The recorded halves of calls, as they stand.
    #[must_use]
    pub fn running(&self) -> Vec<duolog_call::Running> {
        self.engine.running()
    }

    /// Calls the engine still knows.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.engine.calls()
    }

    /// The media ports in use now.
    #[must_use]
    pub fn media_ports(&self) -> Vec<SocketAddr> {
        let mut ports: Vec<u16> = self.ports.keys().copied().collect();
        ports.sort_unstable();
        ports
            .into_iter()
            .map(|port| (self.media[0], port).into())
            .collect()
    }

    /// What happened since this was last asked.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// A SIP datagram came.
    pub fn hear(&mut self, now: Instant, from: SocketAddr, bytes: Bytes) {
        let flow = Flow {
            transport: Transport::Udp,
            local: self.sip,
            peer: from,
        };
        self.handle(now, Input::Sip { flow, bytes });
    }

    /// A relay thread reports.
    pub fn report(&mut self, now: Instant, event: MediaEvent) {
        self.handle(now, Input::Media(event));
    }

    /// The operator asks for something.
    pub fn ask(&mut self, now: Instant, input: Input) {
        self.handle(now, input);
    }

    fn handle(&mut self, now: Instant, input: Input) {
        for output in self.engine.handle(now, input) {
            match output {
                Output::Send { flow, bytes, .. } => {
                    self.effects.push(Effect::Sip(flow.peer, bytes));
                }
                Output::Resolve { id, question } => {
                    let answer = self.look_up(question);
                    self.effects.push(Effect::Resolved(id, answer));
                }
                Output::Media(command) => {
                    let task = self.translator.task(command);
                    if let Some((ShardIndex(shard), task)) = task {
                        self.effects.push(Effect::Order(shard, now, task));
                    }
                }
                Output::Log(line) => self.logs.push(line),
                Output::Controlled { .. } => {}
            }
        }
        if self.engine.deadline().is_some_and(|due| due < now) && self.effects.len() > 10_000 {
            self.watch
                .fault("the engine's deadline stays in the past".into());
        }
    }

    /// From now on the DNS knows this host.
    pub fn add_host(&mut self, name: &str, address: IpAddr) {
        self.hosts.insert(name.to_owned(), address);
    }

    fn look_up(&self, question: Question) -> Result<Records, LookupFailure> {
        let ttl = Duration::from_secs(60);
        let host = match &question {
            Question::Addresses { name, .. } => self.hosts.get(name),
            Question::Naptr(_) | Question::Srv(_) => None,
        };
        match host {
            Some(address) => Ok(Records::Addresses(vec![*address], ttl)),
            None => Err(LookupFailure::Absent { ttl }),
        }
    }

    /// The DNS answers.
    pub fn resolved(&mut self, now: Instant, id: QueryId, answer: Result<Records, LookupFailure>) {
        self.handle(now, Input::Resolved { id, answer });
    }

    /// An order reaches its relay thread; it takes effect as of `at`.
    pub fn obey(&mut self, now: Instant, number: usize, at: Instant, task: Task) {
        match task {
            Task::OpenLeg { leg, peer } => self.open(at, number, leg, peer),
            Task::Command(command) => {
                self.watch.command(at, &command);
                let relay = &mut self.relays[number];
                let closed = match &command {
                    Command::Close { leg } => Some(*leg),
                    _ => None,
                };
                relay.shard.command(at, command, &mut relay.out);
                self.flush(now, number);
                if let Some(leg) = closed {
                    self.close(number, leg);
                }
            }
        }
    }

    fn open(&mut self, now: Instant, number: usize, leg: LegKey, peer: IpAddr) {
        let address = facing(&self.media, peer);
        let port = self.next_port;
        self.next_port += 2;
        self.watch.opened(leg, port);
        let identity = LegIdentity {
            ssrc: Ssrc(self.dice.draw() as u32),
            seq: SeqNo(self.dice.draw() as u16 & 0x7fff),
            timestamp: RtpTimestamp(self.dice.draw() as u32),
            cname: Bytes::from_static(b"world@duolog"),
        };
        let relay = &mut self.relays[number];
        let free = (0..relay.ports.len())
            .step_by(2)
            .find(|at| relay.ports[*at].is_none());
        let at = free.unwrap_or(relay.ports.len());
        relay.ports.resize(relay.ports.len().max(at + 2), None);
        relay.ports[at] = Some((leg, port));
        relay.ports[at + 1] = Some((leg, port + 1));
        let (rtp, rtcp) = (PortId(at as u32), PortId(at as u32 + 1));
        self.ports.insert(port, (number, rtp));
        self.ports.insert(port + 1, (number, rtcp));
        relay.shard.command(
            now,
            Command::Open {
                leg,
                rtp,
                rtcp,
                identity,
            },
            &mut relay.out,
        );
        self.effects
            .push(Effect::Report(commands::opened(leg, address, port)));
        self.flush(now, number);
    }

    fn close(&mut self, number: usize, leg: LegKey) {
        for slot in &mut self.relays[number].ports {
            if let Some((_, port)) = slot.take_if(|(owner, _)| *owner == leg) {
                self.ports.remove(&port);
            }
        }
    }

    /// A datagram came to a media port; the kernel drops what comes to a closed one.
    pub fn receive(&mut self, now: Instant, to: SocketAddr, from: SocketAddr, bytes: &Bytes) {
        let Some(&(number, port)) = self.ports.get(&to.port()) else {
            return;
        };
        let relay = &mut self.relays[number];
        let mut datagram = bytes.to_vec();
        relay
            .shard
            .receive(now, now, port, from, &mut datagram, &mut relay.out);
        self.flush(now, number);
    }

    /// Everything a relay thread has to hand out.
    fn flush(&mut self, now: Instant, number: usize) {
        let relay = &mut self.relays[number];
        for datagram in relay.out.datagrams() {
            let slot = relay.ports.get(datagram.port.0 as usize).copied().flatten();
            self.watch.datagram(slot.map(|(leg, _)| leg), datagram.to);
            if let Some((_, port)) = slot {
                let from = SocketAddr::new(facing(&self.media, datagram.to.ip()), port);
                let bytes = Bytes::copy_from_slice(datagram.bytes);
                self.effects.push(Effect::Media(from, datagram.to, bytes));
            }
        }
        relay.out.clear_datagrams();
        relay.out.connects.clear();
        for event in relay.out.events.drain(..) {
            self.effects.push(Effect::Report(commands::event(event)));
        }
        self.keeper.offer(
            now,
            number,
            &mut relay.shard,
            &mut relay.out,
            &mut self.watch,
        );
        self.keep(now);
    }

    fn keep(&mut self, now: Instant) {
        self.keeper.turn(now, &mut self.watch);
        for (number, spent) in self.keeper.recycled.drain(..) {
            spent.to(&mut self.relays[number].shard);
        }
        for (recording, loss) in self.keeper.lost.drain(..) {
            let event = commands::lost(RecordingKey(recording.0), loss);
            self.effects.push(Effect::Report(event));
        }
        let obstacles = self.gate.now();
        if obstacles != self.told {
            self.told = obstacles;
            let reasons = obstacles.reasons();
            let gate = match reasons.is_empty() {
                true => CallGate::Open,
                false => CallGate::Closed {
                    reason: reasons.join("; "),
                    retry_after_s: 30,
                },
            };
            self.handle(now, Input::Gate(gate));
        }
    }

    /// Does what is due.
    pub fn due(&mut self, now: Instant) {
        if self.engine.deadline().is_some_and(|due| due <= now) {
            self.handle(now, Input::Deadline);
        }
        for number in 0..self.relays.len() {
            let relay = &mut self.relays[number];
            if relay.shard.deadline().is_some_and(|due| due <= now) {
                relay.shard.tick(now, &mut relay.out);
                self.flush(now, number);
            }
        }
        if self.keeper.deadline() <= now {
            self.keep(now);
        }
        let (waiting, _, capacity) = self.keeper.depth();
        if waiting > capacity {
            self.watch
                .fault(format!("{waiting} entries in a queue of {capacity}"));
        }
    }

    /// When [`Node::due`] is wanted.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let shards = self
            .relays
            .iter()
            .filter_map(|relay| relay.shard.deadline());
        let all = shards
            .chain(self.engine.deadline())
            .chain([self.keeper.deadline()]);
        all.min().expect("the keeper always has a deadline")
    }

    /// What is left of calls that are over; empty when nothing leaks.
    #[must_use]
    pub fn remains(&self) -> Vec<String> {
        let legs: usize = self.relays.iter().map(|relay| relay.shard.legs()).sum();
        let recordings: usize = self
            .relays
            .iter()
            .map(|relay| relay.shard.recordings())
            .sum();
        let timers = self
            .relays
            .iter()
            .filter(|relay| relay.shard.deadline().is_some())
            .count();
        let counts = [
            ("calls", self.engine.calls()),
            ("transactions", self.engine.transactions()),
            ("bindings", self.engine.bindings()),
            (
                "the engine's deadline",
                usize::from(self.engine.deadline().is_some()),
            ),
            (
                "legs and recordings of the translator",
                self.translator.known(),
            ),
            ("legs of shards", legs),
            ("recordings of shards", recordings),
            ("shards with a deadline", timers),
            ("ports", self.ports.len()),
            ("entries in the queue", self.keeper.depth().0),
            ("recordings of the writer", self.keeper.open()),
        ];
        let left = counts.into_iter().filter(|(_, count)| *count > 0);
        let mut left: Vec<String> = left
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        left.extend(self.watch.unfinished());
        left
    }
}

/// Our media address for a peer.
fn facing(own: &[IpAddr], peer: IpAddr) -> IpAddr {
    let mut own = own.iter().copied();
    own.find(|own| own.is_ipv4() == peer.is_ipv4())
        .expect("a party is of a family that there is media for")
}
