//! How owners are recorded, as configured: the tenant's defaults, what groups and owners say over
//! them, and documents changed while the node runs. Each level is a [`Layer`]; the nearest that gives
//! a key wins, key by key.

use std::time::Duration;

use duolog_call::{
    Announce, Compliance, DoNotRecord, DoNotRecordReason, Dtmf, Emergency, Mode, Notice, OnFailure,
    OwnerKind, RecordingSettings, RepeatInterval, Selected, Selective, StartStop, Voicemail,
};

pub(super) const MODES: [(&str, Mode); 5] = [
    ("never", Mode::Never),
    ("on-demand", Mode::OnDemand),
    ("on-demand-user-start", Mode::OnDemandUserStart),
    ("always", Mode::Always),
    ("always-pause-resume", Mode::AlwaysPauseResume),
];
pub(super) const SELECTED: [(&str, Selected); 2] = [("on", Selected::Yes), ("off", Selected::No)];
pub(super) const EMERGENCY: [(&str, Emergency); 2] =
    [("recorded", Emergency::Recorded), ("left", Emergency::Left)];
pub(super) const VOICEMAIL: [(&str, Voicemail); 2] =
    [("recorded", Voicemail::Recorded), ("left", Voicemail::Left)];
pub(super) const REASONS: [(&str, DoNotRecordReason); 3] = [
    ("business-private", DoNotRecordReason::BusinessPrivate),
    ("personal", DoNotRecordReason::Personal),
    ("vendor", DoNotRecordReason::Vendor),
];
pub(super) const ANNOUNCE: [(&str, Announce); 2] = [("on", Announce::On), ("off", Announce::Off)];
pub(super) const NOTICES: [(&str, Notice); 3] = [
    ("none", Notice::None),
    ("beep", Notice::Beep),
    ("announcement", Notice::Announcement),
];
pub(super) const ON_FAILURE: [(&str, OnFailure); 4] = [
    ("refuse", OnFailure::Refuse),
    ("go-on", OnFailure::GoOn),
    ("go-on-announced", OnFailure::GoOnAnnounced),
    ("end-announced", OnFailure::EndAnnounced),
];
pub(super) const DTMF: [(&str, Dtmf); 2] = [("keep", Dtmf::Keep), ("mask", Dtmf::Mask)];
pub(super) const KINDS: [(&str, OwnerKind); 4] = [
    ("user", OwnerKind::User),
    ("workspace", OwnerKind::Workspace),
    ("virtual-line", OwnerKind::VirtualLine),
    ("queue", OwnerKind::Queue),
];

/// What one level says of recording; `None` for what it leaves to the level below.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer {
    /// How a recording begins, whether it is kept, and what the owner may ask for.
    pub mode: Option<Mode>,
    /// Which calls are recorded.
    pub selective: Option<Selective>,
    /// Whether emergency calls are.
    pub emergency: Option<Emergency>,
    /// Whether calls with a voicemail system are.
    pub voicemail: Option<Voicemail>,
    /// Numbers whose calls leave no audio: the whole list.
    pub do_not_record: Option<Vec<DoNotRecord>>,
    /// Whether the parties are told of start and stop.
    pub announce: Option<StartStop>,
    /// What parties on the public network are told in place of that.
    pub compliance: Option<Compliance>,
    /// What all hear at pause and resume.
    pub notice: Option<Notice>,
    /// How often the notice tone sounds; `Some(None)` for never.
    pub repeat_tone: Option<Option<RepeatInterval>>,
    /// After how long a pause ends by itself; `Some(None)` for never.
    pub auto_resume: Option<Option<Duration>>,
    /// What becomes of a call that cannot be recorded.
    pub on_failure: Option<OnFailure>,
    /// What becomes of key presses in the recording.
    pub dtmf: Option<Dtmf>,
    /// The language of what parties are told.
    pub language: Option<String>,
}

impl Layer {
    /// This level over the one below it: what this one gives wins, key by key.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        let below = below.clone();
        let this = self.clone();
        Self {
            mode: this.mode.or(below.mode),
            selective: this.selective.or(below.selective),
            emergency: this.emergency.or(below.emergency),
            voicemail: this.voicemail.or(below.voicemail),
            do_not_record: this.do_not_record.or(below.do_not_record),
            announce: this.announce.or(below.announce),
            compliance: this.compliance.or(below.compliance),
            notice: this.notice.or(below.notice),
            repeat_tone: this.repeat_tone.or(below.repeat_tone),
            auto_resume: this.auto_resume.or(below.auto_resume),
            on_failure: this.on_failure.or(below.on_failure),
            dtmf: this.dtmf.or(below.dtmf),
            language: this.language.or(below.language),
        }
    }

    /// What calls follow: what no level gives is as [`RecordingSettings::default`] has it. The language
    /// is not among them, it belongs to the user.
    pub fn settled(&self) -> RecordingSettings {
        let this = self.clone();
        let usual = RecordingSettings::default();
        RecordingSettings {
            mode: this.mode.unwrap_or(usual.mode),
            selective: this.selective.unwrap_or(usual.selective),
            emergency: this.emergency.unwrap_or(usual.emergency),
            voicemail: this.voicemail.unwrap_or(usual.voicemail),
            do_not_record: this.do_not_record.unwrap_or(usual.do_not_record),
            announce: this.announce.unwrap_or(usual.announce),
            compliance: this.compliance.unwrap_or(usual.compliance),
            notice: this.notice.unwrap_or(usual.notice),
            repeat_tone: this.repeat_tone.unwrap_or(usual.repeat_tone),
            auto_resume: this.auto_resume.unwrap_or(usual.auto_resume),
            on_failure: this.on_failure.unwrap_or(usual.on_failure),
            dtmf: this.dtmf.unwrap_or(usual.dtmf),
        }
    }

    /// Why an owner of this kind may not have these settings.
    pub(super) fn unfit_for(&self, kind: OwnerKind) -> Option<String> {
        let mode = self.settled().mode;
        let on_demand = matches!(mode, Mode::OnDemand | Mode::OnDemandUserStart);
        (kind == OwnerKind::Queue && on_demand).then(|| {
            let word = word(&MODES, &mode);
            format!(
                "\"{word}\" is not allowed for a queue; one of never, always, always-pause-resume"
            )
        })
    }
}

/// The word of a value in its closed list.
pub(super) fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    let found = words.iter().find(|(_, listed)| listed == value);
    found.map_or("unknown", |(word, _)| word)
}

/// What holds for all owners: `[recording]` beside its defaults, `[[group]]` and `[codes]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Digits that control a recording.
    pub codes: Codes,
    /// The longest repeat tone interval an owner may have, in seconds: 90 to 1800.
    pub longest_repeat_tone_s: u32,
    /// Names of the groups.
    pub groups: Vec<String>,
}

/// `[codes]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    /// Starts a recording, or keeps it.
    pub start: String,
    /// Stops it.
    pub stop: String,
    /// Pauses it.
    pub pause: String,
    /// Resumes it.
    pub resume: String,
    /// How long a digit that may begin a code is held back at most: 1 s to 10 s.
    pub wait: Duration,
}
