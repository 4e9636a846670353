//! Everything that is counted, in one registry. Counters of other threads are read from what they
//! publish; nothing here is asked on the packet path. No label names a call, a number or a person.

mod policy;
mod quality;
mod reach;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duolog_call::{CallLog, End, LogEvent};
use duolog_media::{Counters, DropReason};
use duolog_portal::{Liveness, Node, Readiness};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

pub use policy::{ApiMetrics, PolicyMetrics};
pub use quality::Quality;
pub use reach::ReachMetrics;

use crate::gate::{Backlog, Disk, Gate, Intake};
use crate::{keeper, relay, signalling};

/// Every loop turns at least twice a second.
const STUCK_AFTER: Duration = Duration::from_secs(3);

type Labels = Vec<(&'static str, &'static str)>;
type Labelled = Family<Labels, Counter>;

/// Counters of the call engine, beside the code that counts them.
#[derive(Debug, Clone, Default)]
pub struct CallMetrics {
    calls: Labelled,
    refused: Labelled,
    ended: Counter,
    recordings: Labelled,
    pauses: Labelled,
    controls_refused: Counter,
    trouble: Counter,
    dropped: Counter,
    policy: PolicyMetrics,
    reach: ReachMetrics,
    api: ApiMetrics,
}

impl CallMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("calls", "Calls taken on", self.calls.clone());
        registry.register(
            "calls_refused",
            "INVITEs refused, by class",
            self.refused.clone(),
        );
        registry.register("calls_ended", "Calls that are over", self.ended.clone());
        registry.register(
            "recordings_closed",
            "Recordings closed",
            self.recordings.clone(),
        );
        registry.register(
            "pauses",
            "Pauses, by how they were asked for",
            self.pauses.clone(),
        );
        let help = "Recording controls refused";
        registry.register("controls_refused", help, self.controls_refused.clone());
        let help = "Times a recording lost audio or could not go on";
        registry.register("recording_trouble", help, self.trouble.clone());
        let help = "SIP messages dropped before any transaction";
        registry.register("sip_messages_dropped", help, self.dropped.clone());
        self.policy.register(registry);
        self.reach.register(registry);
        self.api.register(registry);
    }

    /// What the API counts.
    pub fn api(&self) -> ApiMetrics {
        self.api.clone()
    }

    /// Counts one line of the engine.
    pub fn count(&self, line: &CallLog) {
        self.policy.count(&line.event);
        let one = |family: &Labelled, name, value| {
            family.get_or_create(&vec![(name, value)]).inc();
        };
        match &line.event {
            LogEvent::Began { recorded } => {
                let recorded = if recorded.is_some() { "yes" } else { "no" };
                one(&self.calls, "recorded", recorded);
            }
            LogEvent::Refused { status } => {
                let class = match status {
                    503 => "unavailable",
                    300..=499 => "client",
                    500..=599 => "server",
                    _ => "global",
                };
                one(&self.refused, "class", class);
            }
            LogEvent::Ended { .. } => drop(self.ended.inc()),
            LogEvent::RecordingClosed { end, .. } => {
                let end = match end {
                    End::Finished => "finished",
                    End::NotStarted => "not_started",
                    End::NotKept => "not_kept",
                    End::NotAnswered => "not_answered",
                    End::Refused => "refused",
                    End::Failed => "failed",
                };
                one(&self.recordings, "end", end);
            }
            LogEvent::RecordingPaused { by, .. } => {
                one(&self.pauses, "by", policy::label(*by));
            }
            LogEvent::ControlRefused { .. } => drop(self.controls_refused.inc()),
            LogEvent::RecordingTrouble { .. } => drop(self.trouble.inc()),
            LogEvent::Dropped(_) => drop(self.dropped.inc()),
            event => self.reach.count(event),
        }
    }
}

/// What the archive counts.
#[derive(Debug, Clone, Default)]
pub struct ArchiveMetrics {
    /// Recordings stored, by end state.
    pub stored: Labelled,
    /// Attempts to store one that failed and are tried again.
    pub failures: Counter,
    /// Recordings that a crash had left open.
    pub recovered: Counter,
    /// What the manifests of those stored say.
    pub quality: Quality,
}

impl ArchiveMetrics {
    /// Those of a node that found so many recordings of an earlier run unfinished.
    pub fn after(recovered: usize) -> Self {
        let metrics = Self::default();
        metrics.recovered.inc_by(recovered as u64);
        metrics
    }
}

/// What the threads of a node publish.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Signalling.
    pub signalling: Arc<signalling::Vitals>,
    /// Each relay thread.
    pub relays: Vec<Arc<relay::Vitals>>,
    /// The spool thread.
    pub keeper: Arc<keeper::Vitals>,
    /// What stands in the way of recording.
    pub gate: Gate,
}

/// The node as the operations listener sees it.
#[derive(Debug)]
pub struct Operations {
    registry: Registry,
    sources: Sources,
    /// Turns of each thread, and when they were first seen to be so many.
    turns: Mutex<Vec<(u64, Instant)>>,
}

impl Operations {
    /// Registers everything.
    pub fn new(calls: &CallMetrics, archive: &ArchiveMetrics, sources: Sources) -> Self {
        let mut registry = Registry::with_prefix("duolog");
        calls.register(&mut registry);
        registry.register(
            "recordings_stored",
            "Recordings stored",
            archive.stored.clone(),
        );
        let help = "Attempts to store a recording that failed";
        registry.register("recordings_store_failures", help, archive.failures.clone());
        let help = "Recordings that a crash had left open and that were finished at the start";
        registry.register("recordings_recovered", help, archive.recovered.clone());
        archive.quality.register(&mut registry);
        registry.register_collector(Box::new(Published(sources.clone())));
        Self {
            registry,
            sources,
            turns: Mutex::new(Vec::new()),
        }
    }
}

impl Operations {
    /// A thread whose loop has not turned for [`STUCK_AFTER`] is stuck. The spool's thread is not among
    /// them: a disk that does not answer must not have the whole node restarted; `/readyz` tells it.
    fn liveness_at(&self, now: Instant) -> Liveness {
        let relays = self
            .sources
            .relays
            .iter()
            .map(|r| r.turns.load(Ordering::Relaxed));
        let signalling = self.sources.signalling.turns.load(Ordering::Relaxed);
        let mut seen = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stuck = None;
        for (n, turns) in std::iter::once(signalling).chain(relays).enumerate() {
            match seen.get_mut(n) {
                None => seen.push((turns, now)),
                Some(last) if last.0 != turns => *last = (turns, now),
                Some(last) if now.duration_since(last.1) > STUCK_AFTER => stuck = stuck.or(Some(n)),
                Some(_) => {}
            }
        }
        match stuck {
            None => Liveness::Alive,
            Some(0) => Liveness::Stuck("signalling".into()),
            Some(n) => Liveness::Stuck(format!("relay {}", n - 1)),
        }
    }
}

impl Node for Operations {
    fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a string can not fail; a metric that could not be written is left out.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    fn liveness(&self) -> Liveness {
        self.liveness_at(Instant::now())
    }

    fn readiness(&self) -> Readiness {
        let reasons = self.sources.gate.now().reasons();
        if reasons.is_empty() {
            Readiness::Ready
        } else {
            Readiness::NotReady(reasons)
        }
    }
}

type MediaCounter = (&'static str, &'static str, fn(&Counters) -> u64);

const MEDIA_COUNTERS: [MediaCounter; 7] = [
    (
        "media_datagrams_received",
        "Datagrams on media ports",
        |c| c.received,
    ),
    ("rtp_packets_relayed", "RTP packets passed on", |c| {
        c.relayed
    }),
    (
        "rtp_packets_injected",
        "RTP packets made here: prompts, tones, digits",
        |c| c.injected,
    ),
    ("rtp_packets_recorded", "RTP packets kept", |c| c.tapped),
    ("rtcp_packets_received", "RTCP packets accepted", |c| {
        c.rtcp_received
    }),
    ("rtcp_packets_sent", "RTCP packets sent", |c| c.rtcp_sent),
    (
        "recording_blocks_refused",
        "Audio blocks of 320 ms the spool's queue had no room for",
        |c| c.blocks_refused,
    ),
];

/// Reads what the threads published, at each scrape.
#[derive(Debug)]
struct Published(Sources);

type Encoding = Result<(), std::fmt::Error>;

impl Collector for Published {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoding {
        self.signalling(&mut encoder)?;
        self.relays(&mut encoder)?;
        self.threads(&mut encoder)?;
        self.spool(&mut encoder)?;
        self.obstacles(&mut encoder)
    }
}

impl Published {
    fn signalling(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoding {
        let vitals = &self.0.signalling;
        let gauges = [
            ("calls_active", "Calls now", &vitals.calls),
            (
                "sip_transactions",
                "SIP transactions now",
                &vitals.transactions,
            ),
            (
                "sip_connections",
                "SIP connections now",
                &vitals.connections,
            ),
        ];
        for (name, help, value) in gauges {
            gauge(encoder, name, help, value.load(Ordering::Relaxed) as i64)?;
        }
        let tallies = &vitals.tallies;
        let counters = [
            (
                "sip_tls_failures",
                "TLS handshakes that failed",
                &tallies.tls_failures,
            ),
            (
                "sip_connections_refused",
                "SIP connections refused because there were too many",
                &tallies.refused,
            ),
            (
                "sip_datagrams_crowded_out",
                "SIP datagrams not read because too many of their source waited",
                &tallies.crowded,
            ),
        ];
        for (name, help, value) in counters {
            counter(encoder, name, help, value.load(Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn relays(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoding {
        let read = |relay: &Arc<relay::Vitals>| {
            *relay.figures.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let all: Vec<(Counters, (usize, usize))> = self.0.relays.iter().map(read).collect();
        for (name, help, count) in MEDIA_COUNTERS {
            counter(encoder, name, help, all.iter().map(|(c, _)| count(c)).sum())?;
        }
        let help = "Media packets and commands that were not used, by reason";
        let mut family =
            encoder.encode_descriptor("media_dropped", help, None, MetricType::Counter)?;
        for reason in DropReason::ALL {
            let count: u64 = all.iter().map(|(c, _)| c.dropped(reason)).sum();
            let labels = [("reason", reason.label())];
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let used: usize = all.iter().map(|(_, (used, _))| used).sum();
        let free: usize = all.iter().map(|(_, (_, free))| free).sum();
        gauge(
            encoder,
            "rtp_port_pairs_used",
            "RTP/RTCP port pairs in use",
            used as i64,
        )?;
        gauge(
            encoder,
            "rtp_port_pairs_free",
            "RTP/RTCP port pairs free",
            free as i64,
        )
    }

    fn threads(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoding {
        let unsent = self
            .0
            .relays
            .iter()
            .map(|r| r.unsent.load(Ordering::Relaxed))
            .sum();
        let help = "Datagrams the kernel would not take";
        counter(encoder, "media_datagrams_unsent", help, unsent)?;
        let broken: u64 = self.0.relays.iter().map(|r| r.breaks.count()).sum();
        let help = "Broken assumptions of duolog itself; any is worth a report";
        counter(
            encoder,
            "assumptions_broken",
            help,
            broken + self.0.signalling.breaks.count(),
        )
    }

    fn spool(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoding {
        let vitals = &self.0.keeper;
        let counts = *vitals.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counter(
            encoder,
            "spool_frames",
            "Frames written to the spool",
            counts.frames,
        )?;
        counter(
            encoder,
            "spool_bytes_written",
            "Bytes written to the spool",
            counts.bytes,
        )?;
        counter(encoder, "spool_commits", "Group commits", counts.commits)?;
        let help = "Audio blocks dropped because the spool's disk was full or failed";
        counter(encoder, "spool_blocks_dropped", help, counts.dropped_blocks)?;
        counter(
            encoder,
            "spool_parts_failed",
            "Spool files given up",
            counts.failed_parts,
        )?;
        let help = "Entries of recordings the spool did not take, most for want of memory";
        counter(encoder, "spool_refused", help, counts.refused)?;
        let depth = vitals.depth.load(Ordering::Relaxed) as i64;
        gauge(
            encoder,
            "spool_queue_entries",
            "Entries that wait for the spool's disk",
            depth,
        )
    }

    fn obstacles(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoding {
        let obstacles = self.0.gate.now();
        let flag = |on: bool| i64::from(on);
        let can = obstacles.reasons().is_empty();
        gauge(
            encoder,
            "available",
            "1 when a new call can be recorded",
            flag(can),
        )?;
        let help = "1 when the spool's disk is below its floor";
        gauge(
            encoder,
            "spool_low",
            help,
            flag(obstacles.disk == Disk::Low),
        )?;
        let help = "1 when the spool's disk is full and audio is being lost";
        gauge(
            encoder,
            "spool_full",
            help,
            flag(obstacles.disk == Disk::Full),
        )?;
        let help = "1 while the spool's disk takes nothing";
        let fails = flag(obstacles.disk == Disk::Failing);
        gauge(encoder, "spool_failing", help, fails)?;
        let help = "1 when the spool's disk does not keep up";
        gauge(
            encoder,
            "spool_stalled",
            help,
            flag(obstacles.backlog == Backlog::Long),
        )?;
        let help = "1 while the node lets its calls end";
        gauge(
            encoder,
            "draining",
            help,
            flag(obstacles.intake == Intake::Draining),
        )
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> Encoding {
    let mut metric: MetricEncoder<'_> =
        encoder.encode_descriptor(name, help, None::<&Unit>, MetricType::Gauge)?;
    metric.encode_gauge(&value)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Encoding {
    let metric = prometheus_client::metrics::counter::ConstCounter::new(value);
    let encoder = encoder.encode_descriptor(name, help, None::<&Unit>, MetricType::Counter)?;
    metric.encode(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations() -> (Operations, Sources) {
        let sources = Sources {
            signalling: Arc::default(),
            relays: vec![Arc::default()],
            keeper: Arc::default(),
            gate: Gate::default(),
        };
        let (calls, archive) = (CallMetrics::default(), ArchiveMetrics::default());
        // A family without a member is not written.
        let families = [
            &calls.calls,
            &calls.refused,
            &calls.recordings,
            &calls.pauses,
        ];
        for family in families.into_iter().chain([&archive.stored]) {
            drop(family.get_or_create(&vec![("any", "label")]));
        }
        archive.quality.touch();
        calls.reach.touch();
        calls.policy.touch();
        calls.api.answered(duolog_portal::Outcome::Done);
        (Operations::new(&calls, &archive, sources.clone()), sources)
    }

    /// The names are a contract with dashboards and alerts: a difference is a decision.
    #[test]
    fn the_names_are_those_of_the_committed_list() {
        let text = operations().0.metrics();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let kind = |line: &str| line.strip_prefix("# TYPE ").map(|rest| format!("{rest}\n"));
        let names: String = text.lines().filter_map(kind).collect();
        let committed = include_str!("../../../deploy/metrics.txt");
        assert_eq!(names, committed, "deploy/metrics.txt lists other metrics");
    }

    #[test]
    fn an_obstacle_is_told_by_gauge_and_by_readiness() {
        let (operations, sources) = operations();
        assert_eq!(operations.readiness(), Readiness::Ready);
        assert!(operations.metrics().contains("duolog_available 1\n"));
        sources.gate.disk(Disk::Full);
        assert!(
            matches!(operations.readiness(), Readiness::NotReady(reasons) if reasons.len() == 1)
        );
        let text = operations.metrics();
        for line in [
            "duolog_available 0\n",
            "duolog_spool_full 1\n",
            "duolog_spool_low 0\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        sources.gate.disk(Disk::Failing);
        assert!(
            matches!(operations.readiness(), Readiness::NotReady(reasons) if reasons[0].contains("fails"))
        );
        let text = operations.metrics();
        assert!(text.contains("duolog_spool_failing 1\n"), "{text}");
        assert!(text.contains("duolog_spool_full 0\n"), "{text}");
    }

    #[test]
    fn a_thread_that_does_not_turn_is_named() {
        let (operations, sources) = operations();
        let began = Instant::now();
        let turn = |both: [u64; 2], at_s: u64| {
            sources
                .signalling
                .turns
                .fetch_add(both[0], Ordering::Relaxed);
            sources.relays[0]
                .turns
                .fetch_add(both[1], Ordering::Relaxed);
            operations.liveness_at(began + Duration::from_secs(at_s))
        };
        assert_eq!(turn([1, 1], 0), Liveness::Alive);
        assert_eq!(turn([0, 0], 0), Liveness::Alive, "asked twice at once");
        assert_eq!(turn([1, 0], 3), Liveness::Alive);
        assert_eq!(turn([1, 0], 4), Liveness::Stuck("relay 0".into()));
        assert_eq!(turn([0, 1], 8), Liveness::Stuck("signalling".into()));
    }
}
