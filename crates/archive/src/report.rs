//! The completeness report: what should have come, what came, and what stands where nothing did
//! (SPEC D12).

use crate::end_state::EndState;
use crate::format::SampleFormat;
use crate::gap::GapReason;
use crate::manifest::Manifest;
use crate::timeline::{CodedRun, Timeline};
use crate::wire::{Corrected, Figures, Side};
use duolog_audio::codec::Codec;
use duolog_audio::g711::Law;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name under which blocks of both laws in one are listed: they were made linear on the way.
const LINEAR: &str = "linear";

/// One channel's report. Ticks are 1/8000 s; those of `codecs`, of `filled` and `paused_ticks` together
/// are the recording's length. Packets were counted by the media plane; they are 0 where it was killed
/// before it could say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Packets that should have come, by their sequence numbers.
    pub expected: u64,
    /// Packets that came.
    pub received: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came when their place was written already.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came in another order than sent and were put right.
    pub reordered: u64,
    /// Ticks without audio of that party, by reason; pauses are counted by themselves.
    pub filled: BTreeMap<GapReason, u64>,
    /// Ticks paused.
    pub paused_ticks: u64,
    /// What was done against clock drift.
    pub corrected: Corrected,
    /// How much faster that party's clock ran than ours, in parts per million.
    pub drift_ppm: Option<f64>,
    /// Interarrival jitter at the end (RFC 3550 §6.4.1), in milliseconds.
    pub jitter_ms: Option<f64>,
    /// Round trip to that party at the end, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Mean opinion score by the E-model (ITU-T G.107).
    pub mos: Option<f64>,
    /// What the audio was coded in, and how much of it, in the order of names.
    pub codecs: Vec<CodecTicks>,
    /// Ticks between the last audio and the end.
    pub tail_ticks: u64,
}

/// How much of a channel was in one codec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecTicks {
    /// As in [`Codec::name`]; `linear` where the two parties' G.711 had different laws.
    pub codec: String,
    /// Ticks of 1/8000 s.
    pub ticks: u64,
}

/// What a finished recording adds to the program's counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// In which state it ended.
    pub state: EndState,
    /// Its length in ticks of 1/8000 s.
    pub ticks: u64,
    /// Ticks without audio over all its channels, by reason, pauses included.
    pub filled: BTreeMap<GapReason, u64>,
    /// Ticks of those in which a codec's concealment is heard.
    pub concealed_ticks: u64,
}

impl Tally {
    /// Of what a manifest says.
    pub fn of(manifest: &Manifest) -> Tally {
        let mut tally = Tally {
            state: manifest.state,
            ticks: manifest.length.samples,
            filled: BTreeMap::new(),
            concealed_ticks: 0,
        };
        for gap in manifest.channels.iter().flat_map(|channel| &channel.gaps) {
            *tally.filled.entry(gap.reason).or_default() += gap.samples;
            if gap.concealed.is_some() {
                tally.concealed_ticks += gap.samples;
            }
        }
        tally
    }
}

/// The report of one side: packets as counted, time as the finished time line has it.
pub(crate) fn report(timeline: &Timeline, side: Side) -> Report {
    let channel = Timeline::channel(side);
    let counted = match side {
        Side::Owner | Side::Mixed => timeline.ending.owner.clone(),
        _ => timeline.ending.other.clone(),
    };
    let Figures {
        expected,
        received,
        lost,
        late,
        reordered,
        duplicates,
        jitter_ms,
        round_trip_ms,
        corrected,
        drift_ppm,
        mos,
        ..
    } = counted.unwrap_or_default();
    let mut filled = BTreeMap::new();
    for gap in &timeline.gaps[channel] {
        *filled.entry(gap.reason).or_default() += gap.samples;
    }
    let paused_ticks = filled.remove(&GapReason::Paused).unwrap_or(0);
    Report {
        expected,
        received,
        lost,
        late,
        duplicates,
        reordered,
        filled,
        paused_ticks,
        corrected,
        drift_ppm,
        jitter_ms,
        round_trip_ms,
        mos,
        codecs: codecs(timeline, channel),
        tail_ticks: tail(timeline, channel),
    }
}

/// Ticks at the end that are in gaps.
fn tail(timeline: &Timeline, channel: usize) -> u64 {
    let mut end = timeline.length;
    for gap in timeline.gaps[channel].iter().rev() {
        if gap.end() != end {
            break;
        }
        end = gap.position;
    }
    timeline.length - end
}

/// Every tick that is in no gap counts for what was there: a coded frame, or else a block.
fn codecs(timeline: &Timeline, channel: usize) -> Vec<CodecTicks> {
    let mut ticks: BTreeMap<String, u64> = BTreeMap::new();
    let mut add = |name: String, more: u64| *ticks.entry(name).or_default() += more;
    let gaps = timeline.gaps[channel].iter();
    let gaps: Vec<(u64, u64)> = gaps.map(|gap| (gap.position, gap.end())).collect();
    let coded = &timeline.coded[channel];
    for CodedRun {
        position,
        samples,
        codec,
    } in coded
    {
        let end = (position + samples).min(timeline.length);
        add(codec.name(), left(*position, end, &gaps));
    }
    let coded = coded
        .iter()
        .map(|run| (run.position, run.position + run.samples));
    let mut taken: Vec<(u64, u64)> = gaps.iter().copied().chain(coded).collect();
    taken.sort_unstable();
    for run in &timeline.runs {
        let name = match (run.format, run.format.law()) {
            (SampleFormat::Empty, _) => continue,
            (_, Some(Law::Mulaw)) => Codec::Pcmu.name(),
            (_, Some(Law::Alaw)) => Codec::Pcma.name(),
            (_, None) => LINEAR.to_owned(),
        };
        let end = (run.position + run.samples).min(timeline.length);
        add(name, left(run.position, end, &taken));
    }
    let ticks = ticks.into_iter().filter(|(_, ticks)| *ticks > 0);
    ticks
        .map(|(codec, ticks)| CodecTicks { codec, ticks })
        .collect()
}

/// What of `from..until` the stretches in `taken`, in order of their beginnings, leave.
fn left(from: u64, until: u64, taken: &[(u64, u64)]) -> u64 {
    let (mut left, mut next) = (0, from);
    for (begin, end) in taken {
        if *begin >= until {
            break;
        }
        left += begin.saturating_sub(next);
        next = next.max(*end);
    }
    left + until.saturating_sub(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_is_what_nothing_takes() {
        #[track_caller]
        fn check(from: u64, until: u64, taken: &[(u64, u64)], expected: u64) {
            assert_eq!(left(from, until, taken), expected);
        }
        check(0, 100, &[], 100);
        check(50, 40, &[], 0);
        check(0, 100, &[(0, 100)], 0);
        check(10, 100, &[(0, 20), (15, 30), (90, 200)], 60);
        check(10, 20, &[(0, 5), (30, 40)], 10);
        check(10, 20, &[(0, 50), (12, 13)], 0);
    }
}
