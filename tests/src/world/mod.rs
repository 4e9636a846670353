//! The simulated world: phones, a trunk, a network, a disk and one duolog, in virtual time.
//!
//! A seed reproduces everything. Invariants are checked after every step: no packet goes to anyone
//! but the negotiated peer, a recording's entries are in order and end with exactly one close, what
//! is paused is silent, the queue keeps its bound; and when all calls are over nothing is left.

pub mod chance;
pub mod dice;
pub mod exactly;
pub mod judge;
pub mod keeper;
pub mod kept;
pub mod net;
pub mod node;
pub mod office;
pub mod policy;
pub mod rules;
pub mod scene;
pub mod sound;
pub mod table;
pub mod told;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use duolog::clock::WallClock;
use duolog::phone::{self, Action, Group, Phone, PhoneEvent, PhoneNo};
use duolog::translate::commands::Task;
use duolog_call::MediaEvent;
use duolog_media::Sabotage;
use duolog_reach::hops::{LookupFailure, QueryId, Records};
use duolog_rtp::timeline::DriftCorrection;
use duolog_sip::{Flow, Transport};
use duolog_spool::SimDisk;

use dice::Dice;
use net::{Conditions, Kind, Net};
use node::{Effect, Making, Node};

/// Wall time at the world's beginning: 2026-11-22 08:00 UTC.
pub const BEGAN_S: u64 = 1_795_334_400;

/// A phone of the world: its site and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who(pub usize, pub usize);

/// What is under way.
enum Coming {
    SipToNode(SocketAddr, Bytes),
    MediaToNode(SocketAddr, SocketAddr, Bytes),
    SipToSite(usize, Bytes),
    RtpToPhone(Who, Bytes),
    RtcpToPhone(Who, Bytes),
    Stranger(SocketAddr, Bytes),
    Order(usize, Instant, Task),
    Report(MediaEvent),
    Resolved(QueryId, Result<Records, LookupFailure>),
}

/// Phones behind one SIP address.
struct Site {
    sip: SocketAddr,
    rtp: Vec<SocketAddr>,
    phones: Group,
}

/// Everything.
pub struct World {
    /// Printed by every failed check.
    pub seed: u64,
    /// The network.
    pub net: Net,
    /// The only duolog.
    pub node: Node,
    /// The spool's disk.
    pub disk: SimDisk,
    /// For scenarios that choose.
    pub dice: Dice,
    /// Sites whose phones know no telephone-events.
    pub keyless: BTreeSet<usize>,
    began: Instant,
    now: Instant,
    sites: Vec<Site>,
    rtp: HashMap<SocketAddr, (Who, RtpOrRtcp)>,
    coming: BTreeMap<(Instant, u64), Coming>,
    number: u64,
    told: Vec<(Instant, Who, PhoneEvent)>,
    strangers: Vec<(SocketAddr, Bytes)>,
    steps: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RtpOrRtcp {
    Rtp,
    Rtcp,
}

/// How far orders and reports take between the node's threads.
const BETWEEN_THREADS: Duration = Duration::from_micros(150);

/// How long the DNS takes.
const LOOK_UP: Duration = Duration::from_millis(3);

/// What a world is made with.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Reproduces everything.
    pub seed: u64,
    /// What happens to SIP.
    pub sip: Conditions,
    /// What happens to RTP and RTCP.
    pub media: Conditions,
    /// A fault put in on purpose; then the watch's faults are expected and not raised.
    pub sabotage: Sabotage,
    /// Whether clocks that drift are followed.
    pub drift: DriftCorrection,
    /// Entries that may wait for the disk.
    pub queue: usize,
    /// The node's configuration file.
    pub config: String,
}

impl World {
    /// A world with a node and no phones.
    ///
    /// # Panics
    /// When the configuration is refused.
    #[must_use]
    pub fn new(plan: &Plan) -> World {
        let config = duolog::config::read(&plan.config)
            .unwrap_or_else(|mistakes| panic!("the world's configuration: {mistakes:?}"));
        let began = Instant::now();
        let wall = WallClock::at(began, Duration::from_secs(BEGAN_S));
        let disk = SimDisk::new(plan.seed);
        let making = Making {
            seed: plan.seed,
            sabotage: plan.sabotage,
            drift: plan.drift,
            queue: plan.queue,
        };
        World {
            seed: plan.seed,
            net: Net::new(plan.seed.wrapping_add(1), plan.sip, plan.media),
            node: Node::new(&config, wall, disk.clone(), making),
            disk,
            dice: Dice::new(plan.seed.wrapping_add(2)),
            keyless: BTreeSet::new(),
            began,
            now: began,
            sites: Vec::new(),
            rtp: HashMap::new(),
            coming: BTreeMap::new(),
            number: 0,
            told: Vec::new(),
            strangers: Vec::new(),
            steps: 0,
        }
    }

    /// Adds phones behind one SIP address; gives the number of the site.
    pub fn add_site(&mut self, sip: SocketAddr, phones: Vec<phone::PhoneSettings>) -> usize {
        let site = self.sites.len();
        for (place, settings) in phones.iter().enumerate() {
            let who = Who(site, place);
            self.rtp.insert(settings.rtp, (who, RtpOrRtcp::Rtp));
            self.rtp.insert(settings.rtcp, (who, RtpOrRtcp::Rtcp));
        }
        let rtp = phones.iter().map(|settings| settings.rtp).collect();
        let phones = Group::new(phones.into_iter().map(Phone::new).collect());
        self.sites.push(Site { sip, rtp, phones });
        site
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Virtual time since the beginning.
    #[must_use]
    pub fn since(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.began)
    }

    /// A phone.
    #[must_use]
    pub fn phone(&self, who: Who) -> &Phone {
        self.sites[who.0].phones.phone(PhoneNo(who.1))
    }

    /// Everyone.
    pub fn everyone(&self) -> impl Iterator<Item = Who> + '_ {
        let places = |(site, s): (usize, &Site)| (0..s.phones.count()).map(move |n| Who(site, n));
        self.sites.iter().enumerate().flat_map(places)
    }

    /// Who has this RTP address.
    #[must_use]
    pub fn at(&self, rtp: SocketAddr) -> Option<Who> {
        self.rtp.get(&rtp).map(|(who, _)| *who)
    }

    /// The RTP address of a phone.
    #[must_use]
    pub fn rtp_of(&self, who: Who) -> SocketAddr {
        self.sites[who.0].rtp[who.1]
    }

    /// What phones told, in order.
    #[must_use]
    pub fn told(&self) -> &[(Instant, Who, PhoneEvent)] {
        &self.told
    }

    /// Whether a phone told this.
    #[must_use]
    pub fn has_told(&self, who: Who, event: PhoneEvent) -> bool {
        self.told
            .iter()
            .any(|(_, by, what)| (*by, *what) == (who, event))
    }

    /// What strangers were answered.
    #[must_use]
    pub fn strangers(&self) -> &[(SocketAddr, Bytes)] {
        &self.strangers
    }

    /// Steps made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A user does something, now.
    pub fn act(&mut self, who: Who, action: Action) {
        self.give(who, phone::Input::Do(action));
        self.run_to(self.now);
    }

    /// A SIP datagram from anywhere reaches the node now.
    pub fn throw_sip(&mut self, from: SocketAddr, bytes: Bytes) {
        self.node.hear(self.now, from, bytes);
        self.spread();
    }

    /// A datagram from anywhere reaches a media port of the node now.
    pub fn throw_media(&mut self, from: SocketAddr, to: SocketAddr, bytes: &Bytes) {
        self.node.receive(self.now, to, from, bytes);
        self.spread();
    }

    /// The operator asks for something.
    pub fn ask(&mut self, input: duolog_call::Input) {
        self.node.ask(self.now, input);
        self.spread();
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        self.run_to(self.now + time);
    }

    /// Lets milliseconds pass.
    pub fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }

    /// Lets time pass until `end`.
    pub fn run_to(&mut self, end: Instant) {
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.step();
        }
        self.now = end.max(self.now);
    }

    /// Until the calls are over and every timer ran out, at most five minutes.
    ///
    /// # Panics
    /// When something is left then, or was wrong before.
    pub fn run_out(&mut self) {
        for _ in 0..150 {
            self.run(Duration::from_secs(2));
            if self.node.remains().is_empty() {
                break;
            }
        }
        let left = self.node.remains();
        assert!(left.is_empty(), "seed {}: left over: {left:#?}", self.seed);
        self.check();
    }

    /// Raises what the watch found.
    ///
    /// # Panics
    /// When an invariant was broken.
    pub fn check(&self) {
        let faults = self.node.watch().faults();
        assert!(
            faults.is_empty(),
            "seed {} at {:?}: {faults:#?}",
            self.seed,
            self.since(self.now)
        );
        let wrong = self.node.watch().misrouted(self.now);
        let at = self.since(self.now);
        assert!(wrong.is_empty(), "seed {} at {at:?}: {wrong:#?}", self.seed);
    }

    fn next(&self) -> Option<Instant> {
        let arrives = self.coming.first_key_value().map(|((at, _), _)| *at);
        let phones = self
            .sites
            .iter()
            .filter_map(|site| site.phones.deadline())
            .min();
        [arrives, phones, Some(self.node.deadline())]
            .into_iter()
            .flatten()
            .min()
    }

    /// Everything that is due now, once.
    fn step(&mut self) {
        self.steps += 1;
        while let Some(first) = self.coming.first_entry().filter(|e| e.key().0 <= self.now) {
            let coming = first.remove();
            self.arrive(coming);
        }
        for site in 0..self.sites.len() {
            if self.sites[site]
                .phones
                .deadline()
                .is_some_and(|due| due <= self.now)
            {
                for (no, outputs) in self.sites[site].phones.expire(self.now) {
                    self.sort(Who(site, no.0), outputs);
                }
            }
        }
        if self.node.deadline() <= self.now {
            self.node.due(self.now);
            self.spread();
        }
    }

    fn arrive(&mut self, coming: Coming) {
        let now = self.now;
        match coming {
            Coming::SipToNode(from, bytes) => self.node.hear(now, from, bytes),
            Coming::MediaToNode(from, to, bytes) => self.node.receive(now, to, from, &bytes),
            Coming::Order(shard, at, task) => self.node.obey(now, shard, at, task),
            Coming::Report(event) => self.node.report(now, event),
            Coming::Resolved(id, answer) => self.node.resolved(now, id, answer),
            Coming::Stranger(to, bytes) => self.strangers.push((to, bytes)),
            Coming::RtpToPhone(who, bytes) => {
                self.give(
                    who,
                    phone::Input::Rtp {
                        arrived: now,
                        bytes,
                    },
                );
            }
            Coming::RtcpToPhone(who, bytes) => self.give(who, phone::Input::Rtcp { bytes }),
            Coming::SipToSite(site, bytes) => {
                let local = self.sites[site].sip;
                let flow = Flow {
                    transport: Transport::Udp,
                    local,
                    peer: self.node.sip(),
                };
                let (no, outputs) = self.sites[site].phones.receive(now, flow, bytes);
                self.sort(Who(site, no.0), outputs);
            }
        }
        self.spread();
    }

    fn give(&mut self, who: Who, input: phone::Input) {
        let outputs = self.sites[who.0]
            .phones
            .handle(self.now, PhoneNo(who.1), input);
        self.sort(who, outputs);
    }

    /// What a phone wants done.
    fn sort(&mut self, who: Who, outputs: Vec<phone::Output>) {
        for output in outputs {
            match output {
                phone::Output::Event(event) => self.told.push((self.now, who, event)),
                phone::Output::Send { flow, bytes } => {
                    let bytes = match self.keyless.contains(&who.0) {
                        true => told::without_events(&bytes),
                        false => bytes,
                    };
                    let path = (flow.local, flow.peer);
                    self.net.overhear(Kind::Sip, &bytes);
                    for at in self.net.carry(self.now, Kind::Sip, path) {
                        self.schedule(at, Coming::SipToNode(flow.local, bytes.clone()));
                    }
                }
                phone::Output::SendRtp { to, bytes } => {
                    let from = self.rtp_of(who);
                    self.net.overhear(Kind::Media, &bytes);
                    let arrivals = self.net.carry(self.now, Kind::Media, (from, to));
                    self.net.note((from, to), self.now, &bytes, &arrivals);
                    for at in arrivals {
                        self.schedule(at, Coming::MediaToNode(from, to, bytes.clone()));
                    }
                }
                phone::Output::SendRtcp { to, bytes } => {
                    let mut from = self.rtp_of(who);
                    from.set_port(from.port() + 1);
                    self.net.overhear(Kind::Media, &bytes);
                    for at in self.net.carry(self.now, Kind::Media, (from, to)) {
                        self.schedule(at, Coming::MediaToNode(from, to, bytes.clone()));
                    }
                }
            }
        }
    }

    /// What the node did goes its way.
    fn spread(&mut self) {
        for effect in self.node.take_effects() {
            match effect {
                Effect::Order(shard, at, task) => {
                    self.schedule(self.now + BETWEEN_THREADS, Coming::Order(shard, at, task));
                }
                Effect::Report(event) => {
                    self.schedule(self.now + BETWEEN_THREADS, Coming::Report(event));
                }
                Effect::Resolved(id, answer) => {
                    self.schedule(self.now + LOOK_UP, Coming::Resolved(id, answer));
                }
                Effect::Sip(to, bytes) => {
                    let site = self.sites.iter().position(|site| site.sip == to);
                    for at in self.net.carry(self.now, Kind::Sip, (self.node.sip(), to)) {
                        let coming = match site {
                            Some(site) => Coming::SipToSite(site, bytes.clone()),
                            None => Coming::Stranger(to, bytes.clone()),
                        };
                        self.schedule(at, coming);
                    }
                }
                Effect::Media(from, to, bytes) => {
                    let Some(&(who, kind)) = self.rtp.get(&to) else {
                        continue;
                    };
                    for at in self.net.carry(self.now, Kind::Media, (from, to)) {
                        let coming = match kind {
                            RtpOrRtcp::Rtp => Coming::RtpToPhone(who, bytes.clone()),
                            RtpOrRtcp::Rtcp => Coming::RtcpToPhone(who, bytes.clone()),
                        };
                        self.schedule(at, coming);
                    }
                }
            }
        }
    }

    fn schedule(&mut self, at: Instant, coming: Coming) {
        self.number += 1;
        self.coming.insert((at, self.number), coming);
    }
}
