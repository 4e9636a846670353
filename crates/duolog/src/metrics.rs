//! Everything that is counted, in one registry. Counters of other threads are read from what they
//! publish; nothing here is asked on the packet path. No label names a call, a number or a person.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use duolog_call::{CallLog, End, LogEvent, Means};
use duolog_media::{Counters, DropReason};
use duolog_portal::{Liveness, Node, Readiness};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use crate::gate::{Backlog, Disk, Gate, Intake};
use crate::{keeper, relay, signalling};

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
    }

    /// Counts one line of the engine.
    pub fn count(&self, line: &CallLog) {
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
                    End::NotAnswered => "not_answered",
                    End::Refused => "refused",
                    End::Failed => "failed",
                };
                one(&self.recordings, "end", end);
            }
            LogEvent::RecordingPaused { by, .. } => {
                let by = match by {
                    Means::FeatureCode => "feature_code",
                    Means::Info => "sip_info",
                };
                one(&self.pauses, "by", by);
            }
            LogEvent::ControlRefused { .. } => drop(self.controls_refused.inc()),
            LogEvent::RecordingTrouble { .. } => drop(self.trouble.inc()),
            LogEvent::Dropped(_) => drop(self.dropped.inc()),
            _ => {}
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
    /// Turns of each thread when liveness was last asked.
    turns: Mutex<Vec<u64>>,
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
        registry.register_collector(Box::new(Published(sources.clone())));
        Self {
            registry,
            sources,
            turns: Mutex::new(Vec::new()),
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

    /// A thread that has not turned since the last time it was asked, two seconds ago or more, is
    /// stuck. The spool's thread is not among them: a disk that does not answer must not have the
    /// whole node restarted; `/readyz` tells it.
    fn liveness(&self) -> Liveness {
        let relays = self
            .sources
            .relays
            .iter()
            .map(|r| r.turns.load(Ordering::Relaxed));
        let now: Vec<u64> = std::iter::once(self.sources.signalling.turns.load(Ordering::Relaxed))
            .chain(relays)
            .collect();
        let mut last = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let stuck = now
            .iter()
            .zip(last.iter())
            .position(|(now, last)| now == last);
        *last = now;
        match stuck {
            None => Liveness::Alive,
            Some(0) => Liveness::Stuck("signalling".into()),
            Some(n) => Liveness::Stuck(format!("relay {}", n - 1)),
        }
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

/// Reads what the threads published, at each scrape.
#[derive(Debug)]
struct Published(Sources);

type Encoding = Result<(), std::fmt::Error>;

impl Collector for Published {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoding {
        self.signalling(&mut encoder)?;
        self.relays(&mut encoder)?;
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
        Ok(())
    }

    fn relays(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoding {
        let read = |relay: &Arc<relay::Vitals>| {
            *relay.figures.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let all: Vec<(Counters, (usize, usize))> = self.0.relays.iter().map(read).collect();
        let sum = |f: fn(&Counters) -> u64| all.iter().map(|(c, _)| f(c)).sum::<u64>();
        counter(
            encoder,
            "media_datagrams_received",
            "Datagrams on media ports",
            sum(|c| c.received),
        )?;
        counter(
            encoder,
            "rtp_packets_relayed",
            "RTP packets passed on",
            sum(|c| c.relayed),
        )?;
        let help = "RTP packets made here: prompts, tones, digits";
        counter(encoder, "rtp_packets_injected", help, sum(|c| c.injected))?;
        counter(
            encoder,
            "rtp_packets_recorded",
            "RTP packets kept",
            sum(|c| c.tapped),
        )?;
        counter(
            encoder,
            "rtcp_packets_received",
            "RTCP packets accepted",
            sum(|c| c.rtcp_received),
        )?;
        counter(
            encoder,
            "rtcp_packets_sent",
            "RTCP packets sent",
            sum(|c| c.rtcp_sent),
        )?;
        let help = "Audio blocks of 320 ms that found no room on their way to the spool";
        counter(
            encoder,
            "recording_blocks_refused",
            help,
            sum(|c| c.blocks_refused),
        )?;
        let broken = self.0.relays.iter().map(|r| r.breaks.count()).sum::<u64>();
        let broken = broken + self.0.signalling.breaks.count();
        let help = "Broken assumptions of duolog itself; any is worth a report";
        counter(encoder, "assumptions_broken", help, broken)?;
        let unsent = self
            .0
            .relays
            .iter()
            .map(|r| r.unsent.load(Ordering::Relaxed))
            .sum();
        counter(
            encoder,
            "media_datagrams_unsent",
            "Datagrams the kernel would not take",
            unsent,
        )?;
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
