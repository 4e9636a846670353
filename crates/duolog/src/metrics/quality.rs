//! What the manifests of finished recordings say about streams and completeness, as metrics.

use duolog_archive::{GapReason, Manifest, Report, Tally};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// A counter of seconds.
type Seconds = Counter<f64, std::sync::atomic::AtomicU64>;
type BySecond = Family<Vec<(&'static str, &'static str)>, Seconds>;
type ByWord = Family<Vec<(&'static str, &'static str)>, Counter>;

const JITTER_S: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5];
const ROUND_TRIP_S: [f64; 9] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.3, 0.5, 1.0];
const MOS: [f64; 8] = [1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.2, 4.4];
const DRIFT_PPM: [f64; 7] = [5.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];
const SKEW_S: [f64; 7] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.1];

/// Counted when a recording is stored, over both of its channels.
#[derive(Debug, Clone)]
pub struct Quality {
    recorded: Seconds,
    missing: BySecond,
    concealed: Seconds,
    packets: ByWord,
    jitter: Histogram,
    round_trip: Histogram,
    mos: Histogram,
    drift: Histogram,
    skew: Histogram,
}

impl Default for Quality {
    fn default() -> Quality {
        Quality {
            recorded: Seconds::default(),
            missing: BySecond::default(),
            concealed: Seconds::default(),
            packets: ByWord::default(),
            jitter: Histogram::new(JITTER_S),
            round_trip: Histogram::new(ROUND_TRIP_S),
            mos: Histogram::new(MOS),
            drift: Histogram::new(DRIFT_PPM),
            skew: Histogram::new(SKEW_S),
        }
    }
}

impl Quality {
    /// Takes a finished recording.
    pub fn take(&self, manifest: &Manifest) {
        let tally = Tally::of(manifest);
        self.recorded.inc_by(seconds(tally.ticks));
        self.concealed.inc_by(seconds(tally.concealed_ticks));
        for (reason, ticks) in &tally.filled {
            self.missing(*reason).inc_by(seconds(*ticks));
        }
        for channel in &manifest.channels {
            self.stream(&channel.report);
        }
        if let Some(skew) = manifest.together.skew {
            self.skew.observe(skew.p99_us as f64 / 1e6);
        }
    }

    fn stream(&self, report: &Report) {
        for (what, count) in [
            ("expected", report.expected),
            ("received", report.received),
            ("lost", report.lost),
            ("late", report.late),
            ("duplicate", report.duplicates),
            ("reordered", report.reordered),
        ] {
            self.packets
                .get_or_create(&vec![("what", what)])
                .inc_by(count);
        }
        let observe = |histogram: &Histogram, value: Option<f64>| {
            if let Some(value) = value {
                histogram.observe(value);
            }
        };
        observe(&self.jitter, report.jitter_ms.map(|ms| ms / 1e3));
        observe(&self.round_trip, report.round_trip_ms.map(|ms| ms / 1e3));
        observe(&self.mos, report.mos);
        observe(&self.drift, report.drift_ppm.map(f64::abs));
    }

    fn missing(&self, reason: GapReason) -> impl std::ops::Deref<Target = Seconds> + '_ {
        self.missing.get_or_create(&vec![("reason", word(reason))])
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let seconds = Unit::Seconds;
        let recorded = "Length of the recordings stored";
        registry.register_with_unit("recorded", recorded, seconds.clone(), self.recorded.clone());
        let missing = "Time without audio of a party in the recordings stored, by reason";
        registry.register_with_unit("missing", missing, seconds.clone(), self.missing.clone());
        let concealed = "Missing time in which a codec's concealment is heard";
        registry.register_with_unit(
            "concealed",
            concealed,
            seconds.clone(),
            self.concealed.clone(),
        );
        let packets = "Packets of recorded parties while they were recorded";
        registry.register("stream_packets", packets, self.packets.clone());
        let jitter = "Interarrival jitter of recorded parties at the end (RFC 3550)";
        registry.register_with_unit(
            "stream_jitter",
            jitter,
            seconds.clone(),
            self.jitter.clone(),
        );
        let trip = "Round trip to recorded parties at the end";
        registry.register_with_unit(
            "stream_round_trip",
            trip,
            seconds.clone(),
            self.round_trip.clone(),
        );
        let mos = "Mean opinion score of recorded parties' streams (ITU-T G.107)";
        registry.register("stream_mos", mos, self.mos.clone());
        let drift = "By how many parts per million recorded parties' clocks were fast or slow";
        registry.register("stream_drift_ppm", drift, self.drift.clone());
        let skew = "How far the channels of a recording were apart 99 % of the time at most";
        registry.register_with_unit("recording_skew", skew, seconds, self.skew.clone());
    }
}

/// The label of a reason: its word in manifests.
fn word(reason: GapReason) -> &'static str {
    match reason {
        GapReason::NotStarted => "not_started",
        GapReason::Absent => "absent",
        GapReason::Loss => "loss",
        GapReason::Silence => "silence",
        GapReason::Paused => "paused",
        GapReason::Held => "held",
        GapReason::Dtmf => "dtmf",
        GapReason::DtmfMasked => "dtmf_masked",
        GapReason::SpoolFull => "spool_full",
        GapReason::LostInCrash => "lost_in_crash",
        GapReason::Untranscoded => "untranscoded",
        GapReason::NotKept => "not_kept",
        GapReason::Unknown => "unknown",
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / f64::from(duolog_archive::SAMPLE_RATE_HZ)
}

#[cfg(test)]
impl Quality {
    /// A family without a member is not written.
    pub(super) fn touch(&self) {
        drop(self.missing(GapReason::Loss));
        drop(self.packets.get_or_create(&vec![("what", "lost")]));
    }
}
