//! A whole node: the threads of one duolog, started in the order in which they depend on each other
//! and stopped in the opposite one.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use duolog_archive::WallTime;
use duolog_call::Engine;
use duolog_media::{Shard, ShardSettings};
use duolog_portal::Right;
use duolog_sip::Transport;
use duolog_spool::{RealDisk, Writer};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};

use crate::abilities::Abilities;
use crate::api::{Desk, Owners};
use crate::archivist::{self, LocalArchive};
use crate::clock::WallClock;
use crate::config::{Api, ApiRight, Config, Token};
use crate::gate::{Gate, Intake};
use crate::keeper::{Keeper, Work};
use crate::mailbox::Mailboxes;
use crate::metrics::{ArchiveMetrics, CallMetrics, Operations, Sources};
use crate::prompts::PromptBook;
use crate::relay::{self, Order, Orders};
use crate::signalling::{self, Dns, Intent, Listeners, Tls};
use crate::translate::commands::Translator;
use crate::translate::settings::settings;

/// Reports that may wait for signalling before they wait in the relay threads.
const REPORTS: usize = 16_384;

/// Work that may wait for the archive before it waits in the spool thread.
const WORK: usize = 16_384;

/// Questions of the API that may wait for signalling; more are answered "busy".
const ASKS: usize = 64;

/// Longest time from the append of a block to its commit. With the window of 200 ms and the block of 320 ms
/// of a track, and the spool thread's rest of 40 ms, a crash costs less than a second.
const GROUP_COMMIT: Duration = Duration::from_millis(360);

/// How long a relay thread may take to accept its last order, and how often it is asked.
const STOP_WITHIN: Duration = Duration::from_secs(10);
const STOP_AGAIN: Duration = Duration::from_millis(10);

/// Niceness of archive threads: they take what calls leave.
const ARCHIVE_NICENESS: i32 = 10;

/// A running node.
pub struct Node {
    config: Config,
    listening: Vec<(Transport, SocketAddr)>,
    served: Served,
    archive: LocalArchive,
    gate: Gate,
    intent: watch::Sender<Intent>,
    signalling: JoinHandle<()>,
    relays: Vec<(Orders, JoinHandle<()>)>,
    keeper: JoinHandle<()>,
    archivist: tokio::task::JoinHandle<()>,
    runtime: Runtime,
}

/// Where HTTP is served.
struct Served {
    operations: SocketAddr,
    api: Option<SocketAddr>,
}

impl Served {
    fn open(config: &Config, runtime: &Runtime, seen: Operations, desk: Desk) -> Result<Self> {
        Ok(Self {
            operations: serve_operations(config, runtime, seen)?,
            api: serve_api(config, runtime, desk)?,
        })
    }
}

/// The two ends the spool thread is reached by, while a node starts.
struct Spooling {
    keeper: Keeper,
    work: mpsc::Receiver<Work>,
    recovered: usize,
}

impl Spooling {
    /// What the operations listener sees before there are relay threads.
    fn sources(&self, gate: &Gate) -> Sources {
        Sources {
            signalling: Arc::default(),
            relays: Vec::new(),
            keeper: self.keeper.vitals(),
            gate: gate.clone(),
        }
    }
}

impl Node {
    /// Starts every thread. When this returns, calls are taken.
    ///
    /// # Errors
    ///
    /// What could not be opened or bound, and what to do about it.
    pub fn start(mut config: Config) -> Result<Self> {
        raise_file_limit();
        let wall = WallClock::read();
        let gate = Gate::default();
        let abilities = Abilities::find(&config)?;
        let prompts = Arc::new(PromptBook::load(&config, &abilities)?);
        let runtime = archive_runtime()?;
        let mut spooling = open_spool(&config, &gate, wall)?;
        let archive = open_archive(&config, &abilities, &runtime, wall)?;
        let owners = stored_settings(&mut config, &archive, &runtime)?;
        let (tls, listeners) = open_doors(&config)?;
        let listening = listeners.addresses();
        let settings = Arc::new(settings(&config, &abilities, &listening, &wall));
        let (reports_in, reports) = mpsc::channel(REPORTS);
        let (asks_in, asks) = mpsc::channel(ASKS);
        let mut sources = spooling.sources(&gate);
        let relays = start_relays(
            &config,
            &abilities,
            &mut spooling.keeper,
            reports_in,
            wall,
            &mut sources,
        )?;
        let calls = CallMetrics::default();
        let sockets = one_thread().context("the thread of the SIP sockets")?;
        let (intent, wanted) = watch::channel(Intent::Run);
        let (mailboxes, messages) = Mailboxes::new(Arc::clone(&settings));
        let setting = signalling::Setting {
            engine: Engine::new(settings, random_seed()?),
            listeners,
            tls,
            dns: Dns::new(&config.dns.servers, config.dns.timeout)?,
            sockets: sockets.handle().clone(),
            translator: Translator::new(config.media.threads, prompts, abilities.dtls),
            relays: relays.iter().map(|(orders, _)| orders.clone()).collect(),
            reports,
            asks,
            messages,
            gate: gate.watch(),
            intent: wanted,
            metrics: calls.clone(),
            vitals: Arc::clone(&sources.signalling),
        };
        let signalling = start_signalling(setting, sockets)?;
        let keeper = start_keeper(spooling.keeper)?;
        let stored = ArchiveMetrics::after(spooling.recovered);
        let seen = Operations::new(&calls, &stored, sources);
        let known = (archive.catalogue(), &mailboxes);
        let desk = Desk::new(asks_in, known, owners, wall, calls.api());
        let served = Served::open(&config, &runtime, seen, desk)?;
        let archiving = archivist::run(archive.clone(), spooling.work, stored, mailboxes, wall);
        let archivist = runtime.spawn(archiving);
        Ok(Self {
            config,
            listening,
            served,
            archive,
            gate,
            intent,
            signalling,
            relays,
            keeper,
            archivist,
            runtime,
        })
    }

    /// What it was told.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where SIP is heard.
    pub fn listening(&self) -> &[(Transport, SocketAddr)] {
        &self.listening
    }

    /// Where metrics and health are served.
    pub fn operations(&self) -> SocketAddr {
        self.served.operations
    }

    /// Where the API is served; `None` where nobody has a token.
    pub fn api(&self) -> Option<SocketAddr> {
        self.served.api
    }

    /// The archive.
    pub fn archive(&self) -> &LocalArchive {
        &self.archive
    }

    /// The runtime of archive and portal, for whoever asks the archive from outside.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// A way to end the node from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            gate: self.gate.clone(),
            intent: self.intent.clone(),
        }
    }

    /// Waits until signalling has ended (see [`Stopper`]), then seals, stores and returns.
    ///
    /// # Errors
    ///
    /// When a thread of the node broke.
    pub fn wait(self) -> Result<()> {
        let broke =
            |what: &str| anyhow!("the {what} thread broke; what was recorded is in the spool");
        self.signalling.join().map_err(|_| broke("signalling"))?;
        for (orders, thread) in self.relays {
            stop_relay(&orders)?;
            drop(orders);
            thread.join().map_err(|_| broke("relay"))?;
        }
        self.keeper.join().map_err(|_| broke("spool"))?;
        self.runtime
            .block_on(self.archivist)
            .map_err(|_| broke("archive"))?;
        self.runtime.shutdown_background();
        Ok(())
    }
}

/// Gives a relay thread its last order, for which a full queue must first have room.
fn stop_relay(orders: &Orders) -> Result<()> {
    let latest = Instant::now() + STOP_WITHIN;
    while orders.send(Instant::now(), Order::Stop).is_err() {
        if Instant::now() > latest {
            // Without its end the spool's queue never closes: the process ends around it.
            return Err(anyhow!(
                "a relay thread is stuck; the next start finishes its recordings"
            ));
        }
        std::thread::sleep(STOP_AGAIN);
    }
    Ok(())
}

/// Ends a node.
#[derive(Debug, Clone)]
pub struct Stopper {
    gate: Gate,
    intent: watch::Sender<Intent>,
}

impl Stopper {
    /// Refuses new calls and lets running ones end.
    pub fn drain(&self) {
        self.gate.intake(Intake::Draining);
        self.intent.send_if_modified(|intent| {
            let changed = *intent == Intent::Run;
            if changed {
                *intent = Intent::Drain;
            }
            changed
        });
    }

    /// Ends running calls.
    pub fn hang_up(&self) {
        self.gate.intake(Intake::Draining);
        self.intent.send_replace(Intent::HangUp);
    }
}

/// Certificates, then the sockets of SIP.
fn open_doors(config: &Config) -> Result<(Option<Tls>, Listeners)> {
    let tls = Tls::load(&config.sip.tls).context("TLS can not be spoken")?;
    let listeners = Listeners::bind(&config.sip.listen).map_err(|(address, error)| {
        anyhow!("{address} can not be listened on: {error}; is another duolog running?")
    })?;
    Ok((tls, listeners))
}

/// Finishes what a crash left open, then starts the writer.
fn open_spool(config: &Config, gate: &Gate, wall: WallClock) -> Result<Spooling> {
    let directory = &config.spool.directory;
    let place = || format!("the spool {} can not be used", directory.display());
    std::fs::create_dir_all(directory).with_context(place)?;
    let mut disk = RealDisk::open(directory).with_context(place)?;
    let now_us = wall.unix_us(Instant::now()).max(0) as u64;
    let found = duolog_spool::recover(&mut disk, now_us).with_context(place)?;
    for leftover in &found.leftovers {
        tracing::warn!(file = leftover.name, reason = ?leftover.reason, "a spool file belongs to no recording");
    }
    for (recording, error) in &found.troubles {
        tracing::error!(?recording, %error, "a spool file could not be recovered now");
    }
    let settings = duolog_spool::Settings {
        low_bytes: config.spool.floor,
        full_bytes: config.spool.floor / 16,
        group_commit: GROUP_COMMIT,
        ..duolog_spool::Settings::default()
    };
    let writer = Writer::new(disk, settings).with_context(place)?;
    let (work_in, work) = mpsc::channel(WORK.max(found.recordings.len()));
    for recovered in &found.recordings {
        let recording = recovered.recording;
        // The channel holds them all.
        let _ = work_in.try_send(Work::Sealed { recording });
    }
    let count = found.recordings.len();
    if count > 0 {
        tracing::warn!(count, "recordings of an earlier run are being finished");
    }
    let keeper = Keeper::new(writer, config.spool.buffer, gate.clone(), work_in, wall);
    Ok(Spooling {
        keeper,
        work,
        recovered: count,
    })
}

fn open_archive(
    config: &Config,
    abilities: &Abilities,
    runtime: &Runtime,
    wall: WallClock,
) -> Result<LocalArchive> {
    if let Some(parent) = config
        .store
        .catalogue
        .parent()
        .filter(|p| *p != Path::new(""))
    {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("the directory {} can not be made", parent.display()))?;
    }
    runtime.block_on(async {
        let archive = archivist::open(config, abilities.g729.clone())
            .await
            .context("the archive can not be opened")?;
        let now = WallTime(wall.unix_us(Instant::now()));
        for row in archive
            .fail_lost(now)
            .await
            .context("the catalogue can not be looked after")?
        {
            let recording = duolog_archive::recording_text(row.id);
            tracing::warn!(
                call_id = row.call.call_id,
                recording,
                "nothing was kept of a call"
            );
        }
        Ok(archive)
    })
}

fn start_relays(
    config: &Config,
    abilities: &Abilities,
    keeper: &mut Keeper,
    reports: mpsc::Sender<relay::Report>,
    wall: WallClock,
    sources: &mut Sources,
) -> Result<Vec<(Orders, JoinHandle<()>)>> {
    let threads = config.media.threads;
    let mut relays = Vec::new();
    keeper.report_to(reports.clone());
    for part in 0..threads {
        let (spool, recycled) = keeper.attach();
        let vitals = Arc::<relay::Vitals>::default();
        sources.relays.push(Arc::clone(&vitals));
        let mut random = ChaCha12Rng::from_seed(random_seed()?);
        let cname = cname(&config.media.address, &mut random);
        let rtp_wall = duolog_rtp::WallTime {
            unix_us: wall.unix_us(wall.instant()).max(0) as u64,
        };
        let shard = ShardSettings {
            media_timeout: config.media.timeout,
            g729: abilities.g729.clone(),
            ..ShardSettings::new((wall.instant(), rtp_wall))
        };
        let setting = relay::Setting {
            shard: Shard::new(shard),
            ports: relay::ports(&config.media, part),
            random,
            cname,
            reports: reports.clone(),
            spool,
            recycled,
            vitals,
        };
        relays.push(relay::start(format!("relay-{part}"), setting).context("a relay thread")?);
    }
    Ok(relays)
}

fn start_keeper(keeper: Keeper) -> std::io::Result<JoinHandle<()>> {
    let run = move || keeper.run();
    std::thread::Builder::new().name("spool".into()).spawn(run)
}

fn one_thread() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Two threads: one reads sockets and does the arithmetic of TLS, the other decides. The first lives as long as
/// the second.
fn start_signalling(setting: signalling::Setting, sockets: Runtime) -> Result<JoinHandle<()>> {
    let runtime = one_thread()?;
    let (decided, until_decided) = oneshot::channel::<()>();
    let sockets = std::thread::Builder::new()
        .name("sip-sockets".into())
        .spawn(move || {
            // It ends with an error when the other end is dropped, which is what is waited for.
            let _ = sockets.block_on(until_decided);
            sockets.shutdown_background();
        })?;
    let run = move || {
        if let Err(error) = runtime.block_on(signalling::run(setting)) {
            tracing::error!(%error, "signalling could not begin");
        }
        drop(decided);
        if sockets.join().is_err() {
            tracing::error!("the thread of the SIP sockets broke");
        }
    };
    Ok(std::thread::Builder::new()
        .name("signalling".into())
        .spawn(run)?)
}

fn serve_operations(config: &Config, runtime: &Runtime, seen: Operations) -> Result<SocketAddr> {
    let address = config.doors.operations;
    let bind = tokio::net::TcpListener::bind(address);
    let listener = runtime
        .block_on(bind)
        .with_context(|| format!("{address} can not be listened on; change operations.listen"))?;
    let bound = listener.local_addr()?;
    let node: Arc<dyn duolog_portal::Node> = Arc::new(seen);
    runtime.spawn(duolog_portal::serve(listener, node));
    Ok(bound)
}

/// Without a token nobody could ask, so nothing is listened on.
fn serve_api(config: &Config, runtime: &Runtime, desk: Desk) -> Result<Option<SocketAddr>> {
    let Api { listen, tokens } = &config.doors.api;
    if tokens.is_empty() {
        return Ok(None);
    }
    if !listen.ip().is_loopback() {
        tracing::warn!(address = %listen, "the API is heard beyond this machine without TLS: put a proxy before it");
    }
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind(listen))
        .with_context(|| format!("{listen} can not be listened on; change api.listen"))?;
    let bound = listener.local_addr()?;
    let tokens = tokens.iter().map(token).collect();
    runtime.spawn(duolog_portal::serve_api(listener, Arc::new(desk), tokens));
    Ok(Some(bound))
}

fn token(token: &Token) -> duolog_portal::Token {
    let right = |right: &ApiRight| match right {
        ApiRight::Control => Right::Control,
        ApiRight::Settings => Right::Settings,
        ApiRight::Read => Right::Read,
    };
    let rights = token.rights.iter().map(right).collect();
    let users = token.users.clone();
    duolog_portal::Token::new(&token.name, token.secret.expose(), users, rights)
}

/// Puts what was stored while earlier runs went on over what is configured; gives what was configured.
fn stored_settings(
    config: &mut Config,
    archive: &LocalArchive,
    runtime: &Runtime,
) -> Result<Owners> {
    let owners = Owners::of(config);
    let stored = runtime
        .block_on(archive.catalogue().owner_settings())
        .context("stored settings can not be read")?;
    owners.overlay(config, &stored);
    Ok(owners)
}

fn archive_runtime() -> Result<Runtime> {
    let nice = || {
        // Without the right to it, archive threads share evenly; nothing depends on it.
        let _ = rustix::process::setpriority_process(None, ARCHIVE_NICENESS);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("archive")
        .on_thread_start(nice)
        .enable_all()
        .build();
    runtime.context("the archive's threads can not be started")
}

/// A canonical name that says nothing about the machine (RFC 7022 §4.2).
fn cname(addresses: &[IpAddr], random: &mut ChaCha12Rng) -> Bytes {
    use rand_chacha::rand_core::Rng;
    let host = if addresses.iter().all(IpAddr::is_loopback) {
        "loopback"
    } else {
        "duolog"
    };
    Bytes::from(format!("{:016x}@{host}", random.next_u64()))
}

/// A seed from the operating system.
fn random_seed() -> Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    Ok(seed)
}

/// Each call takes four sockets: as many as the system allows, then.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, "the open file limit could not be raised");
    }
}
