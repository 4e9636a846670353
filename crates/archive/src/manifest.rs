//! The manifest that lies beside a recording's audio: everything there is to know about it.

use crate::cdr::{self, CdrResult, CdrTrigger};
use crate::digest::Digests;
use crate::end_state::EndState;
use crate::format::{RequestedFormat, SAMPLE_RATE_HZ, StoredFormat};
use crate::gap::{Concealed, GapReason};
use crate::parties::{self, Party};
use crate::report::{Report, report};
use crate::timeline::Timeline;
use crate::wall::WallTime;
use crate::wire::{Class, Fact, Figures, Layout, Opening, Side, Skew};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version written into every manifest. Raised when a field changes its meaning.
pub const MANIFEST_VERSION: u16 = 1;

/// Why bytes are no manifest.
#[derive(Debug, Error)]
#[error("not a manifest that this version can read")]
pub struct ManifestError(#[from] serde_json::Error);

/// Everything there is to know about a recording. Positions and lengths are ticks since the
/// recording's start, 8,000 a second whatever the rate of the audio; times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`] of the writer.
    pub version: u16,
    /// The recording's id, `rec_...`.
    pub recording: String,
    /// The attempt that stored it: the last folder of its objects' keys.
    pub attempt: String,
    /// The call and the owner's settings as they stood at the INVITE.
    pub call: Opening,
    /// When the INVITE came.
    pub opened_at: WallTime,
    /// When the recording was sealed.
    pub ended_at: WallTime,
    /// In which state it ended.
    pub state: EndState,
    /// Why, in a sentence.
    pub reason: String,
    /// How long it is.
    pub length: Length,
    /// The stored audio; none where there was none to keep.
    pub audio: Option<AudioObject>,
    /// The channels, left first: the owner, the other party; of [`Layout::Mixed`] the one there is.
    pub channels: Vec<Channel>,
    /// What holds for all channels together.
    #[serde(flatten)]
    pub together: Together,
    /// When recording was paused.
    pub pauses: Vec<Span>,
    /// Every fact, in order.
    pub facts: Vec<FactLine>,
    /// What could not be read back from the spool, in sentences.
    #[serde(default)]
    pub flaws: Vec<String>,
}

/// What holds for all channels together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Together {
    /// How many channels there are, and whose.
    pub layout: Layout,
    /// How far apart they were, where it was measured.
    pub skew: Option<Skew>,
    /// What kind of call it was in the end; none where it was not said.
    pub class: Option<Class>,
    /// The same for all recordings of one chain of calls: 32 lower-case hexadecimal digits (SPEC D9).
    pub correlation: Option<String>,
    /// Who was on the second channel, the first one first. Earlier versions did not list it.
    pub parties: Vec<Party>,
    /// What came of it in the words of a call detail record; none where nothing was to be captured, and
    /// of earlier versions.
    pub result: Option<CdrResult>,
    /// What made it begin, in those words.
    pub trigger: Option<CdrTrigger>,
}

/// How long a recording is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Length {
    /// Ticks: samples per channel if it is stored at 8 kHz.
    pub samples: u64,
    /// Milliseconds, cut.
    pub ms: u64,
}

/// The stored audio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioObject {
    /// Where it lies, below the object store's root.
    pub key: String,
    /// What it is.
    pub format: StoredFormat,
    /// What was asked for.
    pub requested: RequestedFormat,
    /// Why it is not what was asked for, where it is not.
    pub note: Option<String>,
    /// Samples per second and channel, in Hz: what the widest codec of the call needs. A position in
    /// the audio is that of the manifest times this over 8,000.
    pub sample_rate_hz: u32,
    /// Size and digests.
    #[serde(flatten)]
    pub digests: Digests,
}

/// One channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// Whose.
    pub side: Side,
    /// Samples that are there; the rest of the length is in the gaps.
    pub samples: u64,
    /// Level of what is there; none without audio.
    pub level: Option<Level>,
    /// What arrived, as the media plane counted it.
    pub figures: Option<Figures>,
    /// What should have come, what came, and what stands where nothing did.
    #[serde(default)]
    pub report: Report,
    /// What could not be decoded and is kept as received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untranscoded: Option<Untranscoded>,
    /// Where there is nothing, and why; silent in the audio unless it says `concealed`.
    pub gaps: Vec<GapLine>,
}

/// Payloads of one channel for whose codec no decoder was installed, in an object of their own. It is
/// as [`duolog_audio::coded`] has it, but in pieces, each behind its place (numbers little-endian):
///
/// ```text
/// u64 position in ticks | u32 octets | that many octets: a list of coded frames | ...
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Untranscoded {
    /// Always true.
    pub untranscoded: bool,
    /// The codec, as in [`duolog_audio::codec::Codec::name`].
    pub codec: String,
    /// Ticks of audio that are in the object and not in the channel.
    pub ticks: u64,
    /// Where the object lies, below the object store's root.
    pub key: String,
    /// Size and digests.
    #[serde(flatten)]
    pub digests: Digests,
}

/// How loud a channel is, over all samples that are there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Root mean square, in dBFS; a full-scale sine is -3.0.
    pub rms_dbfs: f64,
    /// The largest sample, in dBFS.
    pub peak_dbfs: f64,
}

/// A stretch of time in both channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First sample.
    pub position: u64,
    /// How many.
    pub samples: u64,
}

/// One channel without audio, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapLine {
    /// First sample.
    pub position: u64,
    /// How many.
    pub samples: u64,
    /// Why.
    pub reason: GapReason,
    /// How the sound was made that stands there nevertheless: it is synthetic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concealed: Option<Concealed>,
}

/// A fact, where it stands, and when it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FactLine {
    /// The sample at which it stands.
    pub position: u64,
    /// When it was.
    pub at: WallTime,
    /// What happened.
    pub fact: Fact,
}

impl Manifest {
    /// The bytes as stored: indented JSON with a line end, so that a person can read it.
    pub fn write(&self) -> Vec<u8> {
        let written = serde_json::to_vec_pretty(self);
        let mut bytes = written.expect("our own types have text keys and can always be written");
        bytes.push(b'\n');
        bytes
    }

    /// Reads what [`Manifest::write`] gave; unknown fields are passed over.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

impl Length {
    pub(crate) fn of(samples: u64) -> Length {
        Length {
            samples,
            ms: samples * 1_000 / u64::from(SAMPLE_RATE_HZ),
        }
    }
}

impl Together {
    /// What a time line says that was judged to be in `state`.
    pub(crate) fn of(timeline: &Timeline, state: EndState) -> Together {
        let opening = &timeline.opening;
        Together {
            layout: opening.layout,
            skew: timeline.ending.skew,
            class: parties::class(opening, timeline.told()),
            correlation: opening.chain.correlation.clone(),
            parties: parties::parties(opening, timeline.told(), timeline.length),
            result: cdr::result_of(timeline, state),
            trigger: cdr::trigger(opening.mode),
        }
    }
}

/// The channels of a manifest: what the time line says, with the levels measured while encoding.
pub(crate) fn channels(timeline: &Timeline, levels: Option<&[Level]>) -> Vec<Channel> {
    let channel = |side: &Side| {
        let channel = Timeline::channel(*side);
        let figures = match side {
            Side::Owner | Side::Mixed => timeline.ending.owner.clone(),
            _ => timeline.ending.other.clone(),
        };
        let gaps = timeline.gaps[channel].iter();
        let gaps = gaps.map(|gap| GapLine {
            position: gap.position,
            samples: gap.samples,
            reason: gap.reason,
            concealed: gap.concealed,
        });
        let samples = timeline.length - timeline.missing(channel, |_| true);
        let levels = levels.filter(|_| samples > 0);
        Channel {
            side: *side,
            samples,
            level: levels.and_then(|levels| levels.get(channel)).copied(),
            figures,
            report: report(timeline, *side),
            untranscoded: None,
            gaps: gaps.collect(),
        }
    };
    timeline.sides().iter().map(channel).collect()
}

/// Every fact of a time line as a manifest's line.
pub(crate) fn facts(timeline: &Timeline) -> Vec<FactLine> {
    let lines = timeline.facts.iter();
    lines
        .map(|p| FactLine {
            position: p.position,
            at: p.at,
            fact: p.fact.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Arrival, Departure, Nature, Network};

    fn together() -> Together {
        Together {
            layout: Layout::TwoParty,
            skew: Some(Skew::default()),
            class: Some(Class {
                network: Network::Pstn,
                nature: Nature::Conversation,
            }),
            correlation: Some("0a".repeat(16)),
            parties: vec![Party {
                from: 0,
                until: 3_000,
                number: "+31201234567".to_owned(),
                how: Arrival::Call,
                left: Some(Departure::Transferred),
            }],
            result: Some(CdrResult::Successful),
            trigger: Some(CdrTrigger::Always),
        }
    }

    fn manifest() -> Manifest {
        let gap = GapLine {
            position: 3,
            samples: 4,
            reason: GapReason::Loss,
            concealed: Some(Concealed::Fec),
        };
        let level = Level {
            rms_dbfs: -20.1,
            peak_dbfs: -3.25,
        };
        let channel = |side| Channel {
            side,
            samples: 100,
            level: Some(level),
            figures: Some(Figures {
                received: 5,
                ..Figures::default()
            }),
            report: Report::default(),
            untranscoded: Some(Untranscoded {
                untranscoded: true,
                codec: "G729".to_owned(),
                ticks: 160,
                key: "2026/11/22/rec_x/a/owner.g729".to_owned(),
                digests: Digests::of(b"xyz"),
            }),
            gaps: vec![gap],
        };
        Manifest {
            version: MANIFEST_VERSION,
            recording: "rec_x".to_owned(),
            attempt: "a".to_owned(),
            call: Opening {
                owner: "anna".to_owned(),
                ..Opening::default()
            },
            opened_at: WallTime(1_795_334_400_123_000),
            ended_at: WallTime(1_795_334_460_000_000),
            state: EndState::OneWay,
            reason: "nothing arrived from the owner".to_owned(),
            length: Length::of(4_004),
            audio: Some(AudioObject {
                key: "2026/11/22/rec_x/a/audio.ogg".to_owned(),
                format: StoredFormat::OggOpus,
                requested: RequestedFormat::WavAsReceived,
                note: None,
                sample_rate_hz: SAMPLE_RATE_HZ,
                digests: Digests::of(b"abc"),
            }),
            channels: vec![channel(Side::Owner), channel(Side::Other)],
            together: together(),
            pauses: vec![Span {
                position: 3,
                samples: 4,
            }],
            facts: vec![FactLine {
                position: 3,
                at: WallTime(1_795_334_401_000_000),
                fact: Fact::Held { by: Side::Other },
            }],
            flaws: Vec::new(),
        }
    }

    #[test]
    fn write_and_parse_are_inverses() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(&manifest.write()).unwrap(), manifest);
        assert_eq!(manifest.length.ms, 500);
    }

    #[test]
    fn the_words_on_disk_are_these() {
        let value: serde_json::Value = serde_json::from_slice(&manifest().write()).unwrap();
        #[track_caller]
        fn check(value: &serde_json::Value, pointer: &str, expected: impl Into<serde_json::Value>) {
            assert_eq!(value.pointer(pointer), Some(&expected.into()), "{pointer}");
        }
        check(&value, "/version", 1);
        check(&value, "/call/owner", "anna");
        check(&value, "/opened_at", "2026-11-22T08:00:00.123Z");
        check(&value, "/state", "one_way");
        check(&value, "/length/samples", 4_004);
        check(&value, "/audio/format", "ogg_opus");
        check(&value, "/audio/requested", "wav_as_received");
        check(&value, "/audio/chunk_bytes", 65_536);
        check(&value, "/channels/0/side", "owner");
        check(&value, "/channels/1/gaps/0/reason", "loss");
        check(&value, "/channels/1/gaps/0/concealed", "fec");
        check(&value, "/channels/0/untranscoded/untranscoded", true);
        check(&value, "/channels/0/untranscoded/bytes", 3);
        check(&value, "/channels/0/report/paused_ticks", 0);
        check(&value, "/layout", "two_party");
        check(&value, "/skew/max_us", 0);
        check(&value, "/class/network", "pstn");
        check(&value, "/class/nature", "conversation");
        check(&value, "/correlation", "0a".repeat(16));
        check(&value, "/parties/0/until", 3_000);
        check(&value, "/parties/0/number", "+31201234567");
        check(&value, "/parties/0/how", "call");
        check(&value, "/parties/0/left", "transferred");
        check(&value, "/channels/1/level/rms_dbfs", -20.1);
        check(&value, "/facts/0/fact/kind", "held");
        check(&value, "/facts/0/fact/by", "other");
    }

    #[test]
    fn the_future_is_tolerated_and_nonsense_is_not() {
        let mut value: serde_json::Value = serde_json::from_slice(&manifest().write()).unwrap();
        value["signature"] = "x".into();
        value["facts"][0]["fact"]["kind"] = "levitated".into();
        value["channels"][0]["gaps"][0]["reason"] = "sunspots".into();
        let later = ["class", "correlation", "parties"];
        for old in ["flaws", "layout", "skew"].into_iter().chain(later) {
            value.as_object_mut().unwrap().remove(old);
        }
        for old in ["report", "untranscoded"] {
            let channel = value["channels"][1].as_object_mut().unwrap();
            channel.remove(old);
        }
        let parsed = Manifest::parse(&serde_json::to_vec(&value).unwrap()).unwrap();
        assert_eq!(parsed.facts[0].fact.kind(), "levitated");
        assert_eq!(parsed.channels[0].gaps[0].reason, GapReason::Unknown);
        assert_eq!(
            (parsed.together.class, parsed.together.correlation),
            (None, None)
        );
        assert_eq!(parsed.together.parties, []);
        for bytes in [&b""[..], b"{}", b"\xff", b"[1]"] {
            assert!(Manifest::parse(bytes).is_err());
        }
    }
}
