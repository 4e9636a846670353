//! What rides in the spool's frames: JSON payloads of its opening, fact and sealing frames.
//!
//! Readable for ever: every field has a default, unknown fields are passed over, an unknown word
//! becomes `Unknown`, and a fact of an unknown kind is kept as it was written. So a spool file of an
//! older or newer duolog is finished like any other.

mod party;

pub use party::{Arrival, Chain, Class, Departure, Nature, Network};

use crate::gap::GapReason;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use thiserror::Error;

/// The version written into every payload. Raised when a field changes its meaning; a new field does
/// not raise it.
pub const WIRE_VERSION: u16 = 1;

/// Why a payload could not be read.
#[derive(Debug, Error)]
#[error("the payload of {bytes} bytes is not the JSON of {what}")]
pub struct WireError {
    what: &'static str,
    bytes: usize,
    source: serde_json::Error,
}

/// The call as it stood when its recording was opened, at the INVITE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Opening {
    /// [`WIRE_VERSION`] of the writer.
    pub version: u16,
    /// The Call-ID header of the leg the INVITE came in on (RFC 3261 §8.1.1.4).
    pub call_id: String,
    /// Who called: a number or a SIP URI.
    pub caller: String,
    /// Who was called: a number or a SIP URI.
    pub callee: String,
    /// Which way the call went, as seen by the owner.
    pub direction: Direction,
    /// The user on whose behalf the recording is made: always the left channel.
    pub owner: String,
    /// The owner's name for display.
    pub owner_name: Option<String>,
    /// The owner's mode at that moment.
    pub mode: Mode,
    /// What the parties were to be told.
    pub announced: Announced,
    /// How many channels there are, and whose.
    pub layout: Layout,
    /// What becomes of digits that were pressed.
    pub dtmf: DtmfPolicy,
    /// What kind of call it was taken for; none where it was not said.
    pub class: Option<Class>,
    /// Where the call stands among others.
    #[serde(flatten)]
    pub chain: Chain,
    /// Where the recording stands among those of its owner.
    #[serde(flatten)]
    pub standing: Standing,
    /// Every other setting of the owner at that moment, as configured.
    pub settings: Map<String, Value>,
}

impl Default for Opening {
    fn default() -> Opening {
        Opening {
            version: WIRE_VERSION,
            call_id: String::new(),
            caller: String::new(),
            callee: String::new(),
            direction: Direction::Unknown,
            owner: String::new(),
            owner_name: None,
            mode: Mode::Unknown,
            announced: Announced::default(),
            layout: Layout::default(),
            dtmf: DtmfPolicy::default(),
            class: None,
            chain: Chain::default(),
            standing: Standing::default(),
            settings: Map::new(),
        }
    }
}

/// Where a recording stands among those of its owner. Earlier versions wrote nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// What kind of owner it is; none where it was not said.
    pub owner_kind: Option<OwnerKind>,
    /// Which recording of its owner in the call it is, from 1; none where it was not said.
    pub number: Option<u32>,
    /// Whether its audio is kept without being asked for.
    pub keeping: Keeping,
}

/// What kind of owner a recording has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerKind {
    /// A person.
    User,
    /// A room with a phone.
    Workspace,
    /// A number without a phone of its own.
    VirtualLine,
    /// A queue.
    Queue,
    /// In a word this version does not know.
    #[serde(other)]
    Unknown,
}

/// Whether captured audio is kept without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeping {
    /// It is.
    #[default]
    Kept,
    /// Only where [`Fact::RecordingKept`] came.
    Provisional,
    /// It is: it is a message that was left in the mailbox of its owner. Earlier versions wrote this of
    /// none.
    Message,
    /// In a word this version does not know.
    #[serde(other)]
    Unknown,
}

/// How many channels a recording has, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Two: the owner left, the other party right.
    #[default]
    TwoParty,
    /// One that carries both parties, as it was received (SPEC D13). In the spool it is the owner's
    /// channel; what the spool has of the other one is not looked at.
    Mixed,
    /// In a word this version does not know: taken for two parties.
    #[serde(other)]
    Unknown,
}

/// What becomes of digits in a recording; the call itself is never touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DtmfPolicy {
    /// They stay as they were received.
    #[default]
    Keep,
    /// They are silenced in the channel of the party that pressed them: sounds by their frequencies
    /// (ITU-T Q.23), and what lies beside events (RFC 4733). What of them the other party's telephone
    /// sends back as an echo is sound of that party and stays, unless it is itself found to be a digit.
    Mask,
    /// In a word this version does not know: masked, the careful choice.
    #[serde(other)]
    Unknown,
}

/// Which way a call goes, as seen by the recording's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The owner was called.
    Inbound,
    /// The owner called.
    Outbound,
    /// Between two users.
    Internal,
    /// Not said, or in a word this version does not know.
    #[serde(other)]
    Unknown,
}

/// How a recording begins and what the owner may do to it (SPEC E1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// No recording.
    Never,
    /// Every call, from its answer to its end.
    Always,
    /// Every call; the owner may pause.
    AlwaysWithPause,
    /// Captured from the answer, kept when the owner asks.
    OnDemand,
    /// From the moment the owner asks.
    OnDemandUserStart,
    /// Not said, or in a word this version does not know.
    #[serde(other)]
    Unknown,
}

/// What the parties were to be told about the recording.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Announced {
    /// Whether the start was to be announced.
    pub start: bool,
    /// How a pause and a resume were to be told.
    pub pause: PauseNotice,
    /// Seconds between two repeat tones; none when there was no tone.
    pub repeat_tone_s: Option<u32>,
    /// Language of the prompts, for example `en` or `nl`.
    pub language: Option<String>,
}

/// How a pause and a resume are told to the parties (SPEC E4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseNotice {
    /// Not at all.
    #[default]
    None,
    /// A beep.
    Beep,
    /// A spoken announcement.
    Announcement,
    /// In a word this version does not know.
    #[serde(other)]
    Unknown,
}

/// One of the two channels: the owner is on the left, whoever else on the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The recording's owner.
    Owner,
    /// The other party.
    Other,
    /// All parties in one channel, [`Layout::Mixed`].
    Mixed,
    /// Neither of them: duolog itself, or the network.
    Nobody,
    /// In a word this version does not know.
    #[serde(other)]
    Unknown,
}

/// How somebody asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Digits on the telephone.
    FeatureCode,
    /// A SIP INFO request with a `Record` header.
    SipInfo,
    /// A preference in an offer (RFC 7866 §7.3.2).
    SipOffer,
    /// The HTTP API or the portal.
    Api,
    /// A SIP request that belongs to the call itself: BYE, CANCEL, re-INVITE.
    Signalling,
    /// duolog itself: a time limit, a shutdown.
    System,
    /// In a word this version does not know.
    #[serde(other)]
    Unknown,
}

/// Whether a sound was played to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completion {
    /// To its end.
    Whole,
    /// Cut off.
    Cut,
    /// In a word this version does not know.
    #[serde(other)]
    Unknown,
}

/// Something that happened to the call, in order with the audio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "the fields are the words of the kind that names them"
)]
pub enum Fact {
    /// The other side was called.
    CallOffered,
    /// It rings, or something else is under way (RFC 3261 §21.1).
    CallRinging { status: Option<u16> },
    /// The called side sends audio before the answer.
    EarlyMedia,
    /// Somebody answered.
    CallAnswered,
    /// The caller acknowledged the answer.
    CallConnected,
    /// The first packet of a party arrived.
    MediaStarted { side: Side },
    /// No packet of a party for the time-out.
    MediaTimedOut { side: Side },
    /// A prompt began for a party; once more, if the party could not hear it before.
    AnnouncementStarted {
        side: Side,
        prompt: String,
        /// In which it was spoken.
        language: Option<String>,
        /// Whose prompt it was: `user`, `group`, `tenant` or `shipped`.
        whose: Option<String>,
    },
    /// A prompt ended for a party: to its end, or cut, which the end of the recording is as well. One that
    /// begins with that end has none here.
    AnnouncementEnded {
        side: Side,
        prompt: String,
        completion: Completion,
    },
    /// From here audio is kept; who asked for it, where somebody did.
    RecordingStarted {
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<Side>,
        #[serde(skip_serializing_if = "Option::is_none")]
        way: Option<Way>,
    },
    /// From here no audio is kept.
    RecordingPaused { by: Side, way: Way },
    /// From here audio is kept again.
    RecordingResumed { by: Side, way: Way },
    /// From here no audio is kept, for good.
    RecordingStopped { by: Side, way: Way },
    /// What was captured is kept from its first sample on.
    RecordingKept { by: Side, way: Way },
    /// An earlier recording of the same owner in this call.
    EarlierRecording { recording: String },
    /// The owner's list has the other party, for this reason.
    DoNotRecord { reason: String },
    /// The call cannot be recorded, or not any more, and this becomes of it.
    RecordingFailed { then: String },
    /// A record-aware phone was told (RFC 7866 §7.1.2).
    Indicated { side: Side, state: String },
    /// Somebody asked for what the mode or their role forbids; nothing changed.
    ControlRefused {
        control: String,
        by: Side,
        way: Way,
        why: String,
    },
    /// A party put the call on hold.
    Held { by: Side },
    /// A party took the call back from hold.
    Retrieved { by: Side },
    /// A beep or a repeat tone was played under the speech: to both parties, but for a beep that concerned its
    /// owner alone.
    TonePlayed { tone: String },
    /// The other party is a recorded user as well: written by earlier versions.
    OtherOwner { user: String },
    /// The call is recorded for the other party too, in a recording of its own.
    OtherRecording { recording: String },
    /// From here it is another kind of call.
    ClassChanged { class: Class },
    /// The call was for another number before.
    Diverted { from: String },
    /// A party left and the call went on.
    PartyLeft { side: Side, how: Departure },
    /// Another party took a side.
    PartyJoined {
        side: Side,
        number: String,
        how: Arrival,
    },
    /// A party asked for the other one to be connected to somebody else.
    TransferAsked { by: Side },
    /// That did not come about, and the call is as it was.
    TransferFailed { status: Option<u16> },
    /// Something stood in the way of recording.
    RecordingTrouble { reason: String },
    /// Somebody ended the call.
    HungUp { by: Side, reason: Option<String> },
    /// The call did not come about.
    CallFailed { status: Option<u16>, reason: String },
    /// A kind that this version does not know, or without its fields: kept as it was written.
    #[serde(untagged)]
    Unknown(Map<String, Value>),
}

/// How a recording ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ending {
    /// [`WIRE_VERSION`] of the writer.
    pub version: u16,
    /// In one word.
    pub end: End,
    /// In a sentence, for a person.
    pub reason: Option<String>,
    /// What arrived from the owner.
    pub owner: Option<Figures>,
    /// What arrived from the other party.
    pub other: Option<Figures>,
    /// How far the two channels were apart, where it was measured.
    pub skew: Option<Skew>,
}

impl Default for Ending {
    fn default() -> Ending {
        let version = WIRE_VERSION;
        Ending {
            version,
            end: End::Unknown,
            reason: None,
            owner: None,
            other: None,
            skew: None,
        }
    }
}

/// How a recording ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The call was answered and came to its end.
    Finished,
    /// The call was answered and was over before its recording started.
    NotStarted,
    /// Nobody answered, the called side refused, or the caller gave up.
    NotAnswered,
    /// duolog refused the call: there was no room to record it, or it was shutting down.
    Refused,
    /// Recorded but not to be kept (SPEC E2, E11).
    NotKept,
    /// Something broke.
    Failed,
    /// The recorder stopped in the middle of the call.
    Interrupted,
    /// In a word this version does not know, or not said.
    #[serde(other)]
    Unknown,
}

/// What arrived from one party (RFC 3550 §6.4.1, A.3, A.8). Counts are packets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Packets that should have come, by their sequence numbers.
    pub expected: u64,
    /// Accepted.
    pub received: u64,
    /// Expected and never arrived.
    pub lost: u64,
    /// Arrived after their place was written.
    pub late: u64,
    /// Arrived in another order than sent, and were put right.
    pub reordered: u64,
    /// Arrived twice.
    pub duplicates: u64,
    /// Interarrival jitter at the end, in milliseconds.
    pub jitter_ms: Option<f64>,
    /// Round trip to that party at the end, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Ticks of 1/8000 s without audio, by reason, as the media plane counted them.
    pub filled: BTreeMap<GapReason, u64>,
    /// What was done against clock drift.
    pub corrected: Corrected,
    /// How much faster that party's clock ran than ours, in parts per million.
    pub drift_ppm: Option<f64>,
    /// Mean opinion score by the E-model (ITU-T G.107), 1 to 4.5.
    pub mos: Option<f64>,
    /// Codecs of the packets, in the order in which they were first seen.
    pub codecs: Vec<String>,
    /// Ticks between the last audio and the end.
    pub tail_ticks: Option<u64>,
}

/// What was done against clock drift, in ticks of 1/8000 s (SPEC D3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Corrected {
    /// Ticks that were put in.
    pub inserted_ticks: u64,
    /// Ticks that were left out.
    pub dropped_ticks: u64,
}

/// How far apart the two channels are, in microseconds: what the time line could not correct.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Skew {
    /// Half of the time it was at most this.
    pub p50_us: u64,
    /// 99 % of the time it was at most this.
    pub p99_us: u64,
    /// It was never more than this.
    pub max_us: u64,
}

impl Opening {
    /// The payload of the spool's opening frame.
    pub fn write(&self) -> Vec<u8> {
        write(self)
    }

    /// Reads a payload of any version.
    pub fn parse(payload: &[u8]) -> Result<Opening, WireError> {
        parse(payload, "an opening")
    }

    /// The number or name of the other party when the call began. Earlier versions did not write it
    /// down: of their calls between two users it is the one who is not named like the owner.
    pub(crate) fn party(&self) -> &str {
        match (&self.chain.party, self.direction) {
            (Some(party), _) => party,
            (None, Direction::Inbound) => &self.caller,
            (None, Direction::Outbound) => &self.callee,
            (None, _) if self.callee == self.owner => &self.caller,
            (None, _) => &self.callee,
        }
    }
}

impl Ending {
    /// The payload of the spool's sealing frame.
    pub fn write(&self) -> Vec<u8> {
        write(self)
    }

    /// Reads a payload of any version.
    pub fn parse(payload: &[u8]) -> Result<Ending, WireError> {
        parse(payload, "an ending")
    }
}

impl Fact {
    /// The payload of a spool's fact frame.
    pub fn write(&self) -> Vec<u8> {
        write(self)
    }

    /// Reads a payload of any version.
    pub fn parse(payload: &[u8]) -> Result<Fact, WireError> {
        parse(payload, "a fact")
    }

    /// The kind as written, for a person.
    pub fn kind(&self) -> String {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => match fields.get("kind") {
                Some(Value::String(kind)) => kind.clone(),
                _ => "unknown".to_owned(),
            },
            _ => "unknown".to_owned(),
        }
    }
}

fn write<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("our wire types have text keys and finite numbers only")
}

fn parse<T: DeserializeOwned>(payload: &[u8], what: &'static str) -> Result<T, WireError> {
    let bytes = payload.len();
    // By way of a map: serde would take an array for a struct whose fields all have defaults.
    let fields: Result<Map<String, Value>, _> = serde_json::from_slice(payload);
    let parsed = fields.and_then(|fields| serde_json::from_value(Value::Object(fields)));
    parsed.map_err(|source| WireError {
        what,
        bytes,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening() -> Opening {
        Opening {
            call_id: "a84b4c76e66710@pc33.example.com".to_owned(),
            caller: "sip:+31201234567@trunk".to_owned(),
            callee: "sip:200@duolog".to_owned(),
            direction: Direction::Inbound,
            owner: "anna".to_owned(),
            owner_name: Some("Anna \"A\" ☎".to_owned()),
            mode: Mode::AlwaysWithPause,
            announced: Announced {
                start: true,
                pause: PauseNotice::Beep,
                repeat_tone_s: Some(20),
                language: Some("nl".to_owned()),
            },
            settings: Map::from_iter([("format".to_owned(), Value::from("ogg_opus"))]),
            class: Some(Class {
                network: Network::Pstn,
                nature: Nature::Emergency,
            }),
            chain: Chain {
                correlation: Some("5a".repeat(16)),
                party: Some("+31201234567".to_owned()),
                diversion: vec!["201".to_owned(), "202".to_owned()],
            },
            ..Opening::default()
        }
    }

    #[test]
    fn write_and_parse_are_inverses() {
        let opening = opening();
        assert_eq!(Opening::parse(&opening.write()).unwrap(), opening);
        let corrected = Corrected {
            inserted_ticks: 3,
            dropped_ticks: 1,
        };
        let figures = Figures {
            received: 7,
            jitter_ms: Some(1.25),
            filled: BTreeMap::from([(GapReason::Loss, 160), (GapReason::Paused, 8_000)]),
            corrected,
            codecs: vec!["opus".to_owned()],
            ..Figures::default()
        };
        let ending = Ending {
            end: End::Finished,
            owner: Some(figures),
            skew: Some(Skew {
                max_us: 900,
                ..Skew::default()
            }),
            ..Ending::default()
        };
        assert_eq!(Ending::parse(&ending.write()).unwrap(), ending);
    }

    #[test]
    fn facts_have_the_names_that_are_on_disk() {
        #[track_caller]
        fn check(fact: Fact, text: &str) {
            assert_eq!(String::from_utf8(fact.write()).unwrap(), text);
            assert_eq!(Fact::parse(text.as_bytes()).unwrap(), fact);
        }
        check(Fact::CallOffered, r#"{"kind":"call_offered"}"#);
        // By itself: as earlier versions wrote every start.
        let (by, way) = (None, None);
        check(
            Fact::RecordingStarted { by, way },
            r#"{"kind":"recording_started"}"#,
        );
        check(
            Fact::RecordingStarted {
                by: Some(Side::Owner),
                way: Some(Way::Api),
            },
            r#"{"kind":"recording_started","by":"owner","way":"api"}"#,
        );
        check(
            Fact::RecordingPaused {
                by: Side::Owner,
                way: Way::FeatureCode,
            },
            r#"{"kind":"recording_paused","by":"owner","way":"feature_code"}"#,
        );
        check(
            Fact::CallFailed {
                status: Some(486),
                reason: "Busy Here".to_owned(),
            },
            r#"{"kind":"call_failed","status":486,"reason":"Busy Here"}"#,
        );
        check(
            Fact::PartyJoined {
                side: Side::Other,
                number: "+31201112233".to_owned(),
                how: Arrival::PickedUp,
            },
            r#"{"kind":"party_joined","side":"other","number":"+31201112233","how":"picked_up"}"#,
        );
        check(
            Fact::PartyLeft {
                side: Side::Other,
                how: Departure::HungUp,
            },
            r#"{"kind":"party_left","side":"other","how":"hung_up"}"#,
        );
        check(
            Fact::ClassChanged {
                class: Class {
                    network: Network::Internal,
                    nature: Nature::Voicemail,
                },
            },
            r#"{"kind":"class_changed","class":{"network":"internal","nature":"voicemail"}}"#,
        );
        assert_eq!(Fact::Held { by: Side::Other }.kind(), "held");
    }

    #[test]
    fn the_future_is_tolerated() {
        let future = br#"{"version":9,"owner":"bob","mode":"by_moon","direction":"sideways",
            "announced":{"start":true,"pause":"song","smell":1},"settings":{"x":[1]},"new":{"a":1}}"#;
        let opening = Opening::parse(future).unwrap();
        assert_eq!((opening.version, opening.owner.as_str()), (9, "bob"));
        assert_eq!(
            (opening.mode, opening.direction),
            (Mode::Unknown, Direction::Unknown)
        );
        assert_eq!(opening.announced.pause, PauseNotice::Unknown);
        let future = br#"{"layout":"quadraphonic","dtmf":"sing"}"#;
        let opening = Opening::parse(future).unwrap();
        assert_eq!(
            (opening.layout, opening.dtmf),
            (Layout::Unknown, DtmfPolicy::Unknown)
        );

        let future =
            br#"{"class":{"network":"lunar","smell":2},"diversion":[],"correlation":null}"#;
        let opening = Opening::parse(future).unwrap();
        assert_eq!(opening.class, Some(Class::default()));
        let joined = Fact::parse(
            br#"{"kind":"party_joined","side":"other","number":"7","how":"by_parachute"}"#,
        );
        let Fact::PartyJoined { how, .. } = joined.unwrap() else {
            panic!("of another kind");
        };
        assert_eq!(how, Arrival::Unknown);

        let held = Fact::parse(br#"{"kind":"held","by":"owner","music":"vivaldi"}"#).unwrap();
        assert_eq!(held, Fact::Held { by: Side::Owner });
        let text = r#"{"kind":"teleported","to":[1,2]}"#;
        let unknown = Fact::parse(text.as_bytes()).unwrap();
        assert_eq!(unknown.kind(), "teleported");
        assert_eq!(String::from_utf8(unknown.write()).unwrap(), text);

        let ending = Ending::parse(
            br#"{"end":"abducted","owner":{"received":3,"mood":"good","filled":{"sunspots":7}}}"#,
        );
        let ending = ending.unwrap();
        assert_eq!(
            (ending.end, ending.owner.unwrap().received),
            (End::Unknown, 3)
        );
    }

    #[test]
    fn the_past_is_tolerated() {
        assert_eq!(Opening::parse(b"{}").unwrap(), Opening::default());
        assert_eq!(Ending::parse(b"{}").unwrap(), Ending::default());
    }

    #[test]
    fn an_opening_has_the_names_and_the_order_that_are_on_disk() {
        let opening = Opening {
            standing: Standing {
                owner_kind: Some(OwnerKind::VirtualLine),
                number: Some(2),
                keeping: Keeping::Provisional,
            },
            ..Opening::default()
        };
        let text = concat!(
            r#"{"version":1,"call_id":"","caller":"","callee":"","direction":"unknown","owner":"","#,
            r#""owner_name":null,"mode":"unknown","announced":{"start":false,"pause":"none","#,
            r#""repeat_tone_s":null,"language":null},"layout":"two_party","dtmf":"keep","class":null,"#,
            r#""correlation":null,"party":null,"diversion":[],"owner_kind":"virtual_line","number":2,"#,
            r#""keeping":"provisional","settings":{}}"#
        );
        assert_eq!(String::from_utf8(opening.write()).unwrap(), text);
        assert_eq!(Opening::parse(text.as_bytes()).unwrap(), opening);

        let message = Opening::parse(br#"{"keeping":"message"}"#).unwrap();
        assert_eq!(message.standing.keeping, Keeping::Message);

        let future = br#"{"owner_kind":"parrot","number":3,"keeping":"perhaps"}"#;
        let standing = Opening::parse(future).unwrap().standing;
        let unknown = Standing {
            owner_kind: Some(OwnerKind::Unknown),
            number: Some(3),
            keeping: Keeping::Unknown,
        };
        assert_eq!(standing, unknown);
        assert!(Opening::parse(br#"{"keeping":7}"#).is_err());
        assert!(Opening::parse(br#"{"number":"two"}"#).is_err());
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        for payload in [
            &b""[..],
            b"\xff\xfe",
            b"[]",
            b"7",
            br#"{"owner":7}"#,
            b"{\"end\":",
        ] {
            assert!(Opening::parse(payload).is_err(), "{payload:?}");
            assert!(Ending::parse(payload).is_err(), "{payload:?}");
            assert!(
                payload.ends_with(b"}") || Fact::parse(payload).is_err(),
                "{payload:?}"
            );
        }
    }
}
