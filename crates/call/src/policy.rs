//! How an owner's calls are recorded: one value with every setting, and what each of them means.
//!
//! The five modes are presets of four independent answers ([`Mode::rights`]): when capture begins,
//! whether what is captured is kept, and whether the owner may pause and stop.

use std::time::Duration;

/// How one owner's calls are recorded. The default is not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingSettings {
    /// How a recording begins, whether it is kept, and what the owner may ask for.
    pub mode: Mode,
    /// Which calls are recorded, in the two Always modes.
    pub selective: Selective,
    /// Whether emergency calls are recorded.
    pub emergency: Emergency,
    /// Whether calls with a voicemail system are recorded.
    pub voicemail: Voicemail,
    /// Numbers whose calls leave no audio.
    pub do_not_record: Vec<DoNotRecord>,
    /// Whether the parties are told of start and stop.
    pub announce: StartStop,
    /// What parties on the public network are told in place of that.
    pub compliance: Compliance,
    /// What all parties hear at pause and resume.
    pub notice: Notice,
    /// How often the notice tone sounds while recording; `None` for never.
    pub repeat_tone: Option<RepeatInterval>,
    /// After how long a pause ends by itself; `None` for never.
    pub auto_resume: Option<Duration>,
    /// What becomes of a call that cannot be recorded.
    pub on_failure: OnFailure,
    /// What becomes of key presses in the stored recording.
    pub dtmf: Dtmf,
}

impl Default for RecordingSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Never,
            selective: Selective::ALL,
            emergency: Emergency::Recorded,
            voicemail: Voicemail::Left,
            do_not_record: Vec::new(),
            announce: StartStop::OFF,
            compliance: Compliance::OFF,
            notice: Notice::None,
            repeat_tone: None,
            auto_resume: Some(AUTO_RESUME),
            on_failure: OnFailure::Refuse,
            dtmf: Dtmf::Keep,
        }
    }
}

/// After how long a pause ends by itself unless settings say otherwise (SPEC F4).
pub const AUTO_RESUME: Duration = Duration::from_secs(120);

/// What kind of owner settings belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OwnerKind {
    /// A person.
    #[default]
    User,
    /// A room with a phone.
    Workspace,
    /// A number without a phone of its own: calls that were for it are recorded for it, whoever answers, who
    /// also has its controls.
    VirtualLine,
    /// A queue: calls that were for its numbers are recorded for it, whoever answers. Never, Always and
    /// Always with Pause/Resume only.
    Queue,
}

/// Which calls are recorded, in the two Always modes; the other modes do not look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Selective {
    /// Calls to the owner from within the organisation.
    pub inbound_internal: Selected,
    /// Calls to the owner from the public network.
    pub inbound_external: Selected,
    /// Calls of the owner within the organisation.
    pub outbound_internal: Selected,
    /// Calls of the owner to the public network.
    pub outbound_external: Selected,
}

impl Selective {
    /// Every call.
    pub const ALL: Self = Self {
        inbound_internal: Selected::Yes,
        inbound_external: Selected::Yes,
        outbound_internal: Selected::Yes,
        outbound_external: Selected::Yes,
    };
}

/// Whether calls of one kind are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Selected {
    /// They are.
    Yes,
    /// They are not, and leave no row.
    No,
}

/// Whether emergency calls are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Emergency {
    /// Like other calls.
    Recorded,
    /// They are left out, and leave no row.
    Left,
}

/// A number whose calls leave no audio; the call's facts stay (SPEC E11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoNotRecord {
    /// In this node's form (E.164 with `+`, or an extension).
    pub number: String,
    /// Why.
    pub reason: DoNotRecordReason,
}

/// Why a number is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DoNotRecordReason {
    /// Business, but private.
    BusinessPrivate,
    /// Personal.
    Personal,
    /// A vendor.
    Vendor,
}

/// Whether the parties are told of start and stop, by the network of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StartStop {
    /// Calls within the organisation.
    pub internal: Announce,
    /// Calls with the public network.
    pub pstn: Announce,
    /// Whether the start announcement is heard again after a resume.
    pub after_resume: Announce,
}

impl StartStop {
    /// Everybody is told, once.
    pub const BOTH: Self = Self {
        internal: Announce::On,
        pstn: Announce::On,
        after_resume: Announce::Off,
    };
    /// Nobody is told.
    pub const OFF: Self = Self {
        internal: Announce::Off,
        pstn: Announce::Off,
        after_resume: Announce::Off,
    };
}

/// The compliance announcement: heard by the party on the public network alone, who then hears neither
/// start nor stop announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Compliance {
    /// For calls from the public network.
    pub inbound: Announce,
    /// For calls to the public network.
    pub outbound: Announce,
    /// How long after the answer it begins on calls to the public network: 0 to 60 s. Nothing is kept
    /// before it is over.
    pub outbound_delay: Duration,
}

impl Compliance {
    /// Nobody hears it.
    pub const OFF: Self = Self {
        inbound: Announce::Off,
        outbound: Announce::Off,
        outbound_delay: Duration::ZERO,
    };
}

/// What becomes of a call that is to be recorded and cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// A new call gets 503, so that another node may take it (SPEC D8); a running one goes on silently.
    Refuse,
    /// It goes on, and nobody is told.
    GoOn,
    /// It goes on, and all parties are told.
    GoOnAnnounced,
    /// All parties are told, then it is ended.
    EndAnnounced,
}

/// Whether calls with a voicemail system are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Voicemail {
    /// They are.
    Recorded,
    /// They are left out.
    Left,
}

/// What becomes of key presses in a stored recording; parties hear them in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtmf {
    /// They stay.
    Keep,
    /// They are silenced, whether they came as telephone events or as tones.
    Mask,
}

/// How a recording begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// No call is recorded.
    Never,
    /// Captured from the answer; kept, whole, if the owner asks for it at any time.
    OnDemand,
    /// From when the owner asks; may be stopped and started again.
    OnDemandUserStart,
    /// Every call is recorded, whole.
    Always,
    /// Every call is recorded; its owner may pause and resume.
    AlwaysPauseResume,
}

impl Mode {
    /// What the mode means.
    pub fn rights(self) -> Rights {
        use Right::{No, Yes};
        let (start, keep, pause, stop) = match self {
            Self::Never => (Start::Never, Keep::Always, No, No),
            Self::OnDemand => (Start::AtAnswer, Keep::OnDemand, Yes, No),
            Self::OnDemandUserStart => (Start::OnDemand, Keep::Always, Yes, Yes),
            Self::Always => (Start::AtAnswer, Keep::Always, No, No),
            Self::AlwaysPauseResume => (Start::AtAnswer, Keep::Always, Yes, No),
        };
        Rights {
            start,
            keep,
            pause,
            stop,
        }
    }
}

/// A mode, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rights {
    /// When capture begins.
    pub start: Start,
    /// Whether what is captured is kept.
    pub keep: Keep,
    /// Whether the owner may pause and resume.
    pub pause: Right,
    /// Whether the owner may stop.
    pub stop: Right,
}

/// When capture begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Start {
    /// Not at all.
    Never,
    /// When the call is answered.
    AtAnswer,
    /// When the owner asks.
    OnDemand,
}

/// Whether what is captured is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keep {
    /// It is.
    Always,
    /// If the owner asks.
    OnDemand,
}

/// Whether the owner may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Yes.
    Yes,
    /// No.
    No,
}

/// Whether something is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Announce {
    /// It is, before it happens.
    On,
    /// Nobody hears of it.
    Off,
}

/// The notice at pause and resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notice {
    /// Nothing is heard.
    None,
    /// A beep, under the conversation.
    Beep,
    /// A spoken notice, instead of the conversation.
    Announcement,
}

/// The interval of the repeat tone: 10 to 90 whole seconds (to 1800 where the
/// range was opened), 20 unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepeatInterval(u16);

impl RepeatInterval {
    /// The shortest and the longest interval, in seconds.
    pub const RANGE_S: std::ops::RangeInclusive<u32> = 10..=90;
    /// The same where an administrator has opened the range.
    pub const WIDE_RANGE_S: std::ops::RangeInclusive<u32> = 10..=1800;

    /// An interval of `seconds`; outside 10 to 90 it is refused, not clamped.
    pub fn new(seconds: u32) -> Result<Self, IntervalError> {
        Self::within(seconds, Self::RANGE_S)
    }

    /// An interval of `seconds`; outside 10 to 1800 it is refused, not clamped.
    pub fn wide(seconds: u32) -> Result<Self, IntervalError> {
        Self::within(seconds, Self::WIDE_RANGE_S)
    }

    fn within(seconds: u32, range: std::ops::RangeInclusive<u32>) -> Result<Self, IntervalError> {
        let (least, most) = (*range.start(), *range.end());
        match u16::try_from(seconds) {
            Ok(small) if range.contains(&seconds) => Ok(Self(small)),
            _ => Err(IntervalError {
                seconds,
                least,
                most,
            }),
        }
    }

    /// The interval in seconds.
    pub fn seconds(self) -> u32 {
        u32::from(self.0)
    }

    /// The interval as a span of time.
    pub fn duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

impl Default for RepeatInterval {
    fn default() -> Self {
        Self(20)
    }
}

/// A repeat tone interval outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("repeat tone interval of {seconds} s is outside {least} to {most} s")]
pub struct IntervalError {
    /// What was asked for, in seconds.
    pub seconds: u32,
    /// The shortest that is allowed, in seconds.
    pub least: u32,
    /// The longest that is allowed, in seconds.
    pub most: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_refused_not_clamped() {
        for seconds in [0, 1, 9, 91, 100, 256 + 20, 1800, u32::MAX] {
            let error = RepeatInterval::new(seconds).unwrap_err();
            assert_eq!(error.seconds, seconds);
            assert!(error.to_string().contains("10 to 90 s"), "{error}");
        }
        for seconds in [10, 15, 20, 90] {
            assert_eq!(RepeatInterval::new(seconds).unwrap().seconds(), seconds);
        }
        for (seconds, fits) in [(9, false), (10, true), (1800, true), (1801, false)] {
            assert_eq!(RepeatInterval::wide(seconds).is_ok(), fits, "{seconds}");
        }
        assert_eq!(
            RepeatInterval::default().duration(),
            Duration::from_secs(20)
        );
    }

    #[test]
    fn recording_is_off_by_default() {
        assert_eq!(RecordingSettings::default().mode, Mode::Never);
    }
}
