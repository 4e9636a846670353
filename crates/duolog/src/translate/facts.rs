//! The call's facts in the form that is kept: who is the owner, what is a word of the archive.

use duolog_archive::wire;
use duolog_call::{
    Announce, CallDirection, Completion, Control, Dtmf, End, Ending, Fact, HungUpBy, Means, Mode,
    Notice, Opening, PromptName, Settings, Side, User,
};

/// What a recording is opened with; `owner` is the user it names, where it still exists.
pub fn opening(opening: &Opening, owner: Option<&User>, settings: &Settings) -> wire::Opening {
    wire::Opening {
        call_id: opening.call_id.clone(),
        caller: opening.from.clone(),
        callee: opening.to.clone(),
        direction: match opening.direction {
            CallDirection::Inbound => wire::Direction::Inbound,
            CallDirection::Outbound => wire::Direction::Outbound,
            CallDirection::Internal => wire::Direction::Internal,
        },
        owner: opening.owner.clone(),
        owner_name: Some(opening.owner.clone()),
        mode: match opening.mode {
            Mode::Never => wire::Mode::Never,
            Mode::Always => wire::Mode::Always,
            Mode::AlwaysPauseResume => wire::Mode::AlwaysWithPause,
        },
        announced: owner
            .map(|user| announced(user, settings.language_of(user)))
            .unwrap_or_default(),
        dtmf: match opening.dtmf {
            Dtmf::Keep => wire::DtmfPolicy::Keep,
            Dtmf::Mask => wire::DtmfPolicy::Mask,
        },
        ..wire::Opening::default()
    }
}

fn announced(user: &User, language: &str) -> wire::Announced {
    let settings = &user.recording;
    wire::Announced {
        start: settings.announce == Announce::On,
        pause: match settings.notice {
            Notice::None => wire::PauseNotice::None,
            Notice::Beep => wire::PauseNotice::Beep,
            Notice::Announcement => wire::PauseNotice::Announcement,
        },
        repeat_tone_s: settings.repeat_tone.map(|interval| interval.seconds()),
        language: Some(language.into()),
    }
}

/// How a recording ended.
pub fn ending(ending: &Ending) -> wire::Ending {
    let end = match ending.end {
        End::Finished => wire::End::Finished,
        End::NotStarted => wire::End::NotStarted,
        End::NotAnswered => wire::End::NotAnswered,
        End::Refused => wire::End::Refused,
        End::Failed => wire::End::Failed,
    };
    wire::Ending {
        end,
        reason: Some(ending.reason.clone()),
        ..wire::Ending::default()
    }
}

/// A fact of a recording whose owner is on `owner`.
pub fn fact(fact: &Fact, owner: Side) -> wire::Fact {
    let who = |side: Side| {
        if side == owner {
            wire::Side::Owner
        } else {
            wire::Side::Other
        }
    };
    match fact {
        Fact::Offered => wire::Fact::CallOffered,
        Fact::Ringing { status } => wire::Fact::CallRinging {
            status: Some(*status),
        },
        Fact::EarlyMedia => wire::Fact::EarlyMedia,
        Fact::Answered => wire::Fact::CallAnswered,
        Fact::Connected => wire::Fact::CallConnected,
        Fact::FirstPacket { side } => wire::Fact::MediaStarted { side: who(*side) },
        Fact::MediaTimeout { side } => wire::Fact::MediaTimedOut { side: who(*side) },
        Fact::AnnouncementStarted { side, prompt } => wire::Fact::AnnouncementStarted {
            side: who(*side),
            prompt: prompt_name(*prompt).into(),
            language: None,
        },
        Fact::AnnouncementEnded {
            side,
            prompt,
            completion,
        } => wire::Fact::AnnouncementEnded {
            side: who(*side),
            prompt: prompt_name(*prompt).into(),
            completion: match completion {
                Completion::Whole => wire::Completion::Whole,
                Completion::Cut => wire::Completion::Cut,
            },
        },
        Fact::RecordingStarted => wire::Fact::RecordingStarted,
        Fact::Paused { by } => wire::Fact::RecordingPaused {
            by: wire::Side::Owner,
            way: way(*by),
        },
        Fact::Resumed { by } => wire::Fact::RecordingResumed {
            by: wire::Side::Owner,
            way: way(*by),
        },
        Fact::ControlRefused {
            side,
            by,
            control,
            why,
        } => wire::Fact::ControlRefused {
            control: control_name(*control).into(),
            by: who(*side),
            way: way(*by),
            why: why.to_string(),
        },
        Fact::Held { by } => wire::Fact::Held { by: who(*by) },
        Fact::Retrieved { by } => wire::Fact::Retrieved { by: who(*by) },
        Fact::TonePlayed => wire::Fact::TonePlayed {
            tone: "repeat_tone".into(),
        },
        Fact::BeepPlayed => wire::Fact::TonePlayed {
            tone: "beep".into(),
        },
        Fact::OtherOwner { user } => wire::Fact::OtherOwner { user: user.clone() },
        Fact::Trouble { reason } => wire::Fact::RecordingTrouble {
            reason: reason.clone(),
        },
        Fact::HungUp { by } => hung_up(*by, who),
    }
}

fn hung_up(by: HungUpBy, who: impl Fn(Side) -> wire::Side) -> wire::Fact {
    let ended = |by, reason: &str| wire::Fact::HungUp {
        by,
        reason: Some(reason.into()),
    };
    let failed = |status, reason: &str| wire::Fact::CallFailed {
        status,
        reason: reason.into(),
    };
    match by {
        HungUpBy::Party(side) => wire::Fact::HungUp {
            by: who(side),
            reason: None,
        },
        HungUpBy::DialogLost(side) => ended(who(side), "the dialog of this side is gone"),
        HungUpBy::MediaTimeout => ended(wire::Side::Unknown, "neither party sent audio"),
        HungUpBy::Shutdown => ended(wire::Side::Unknown, "the node was shut down"),
        HungUpBy::NoAck => ended(wire::Side::Unknown, "the answer was never acknowledged"),
        HungUpBy::Cancel => failed(None, "the caller gave up"),
        HungUpBy::CalleeRefused(status) => failed(Some(status), "the called side refused"),
        HungUpBy::NoAnswer => failed(None, "the called side did not answer"),
        HungUpBy::BadSession => failed(None, "the session description could not be carried"),
        HungUpBy::NoPorts => failed(Some(503), "no media ports were free"),
        HungUpBy::Gate => failed(Some(503), "the node could not record a new call"),
    }
}

fn way(means: Means) -> wire::Way {
    match means {
        Means::FeatureCode => wire::Way::FeatureCode,
        Means::Info => wire::Way::SipInfo,
    }
}

/// The file name of a prompt, which is also its name in facts.
pub fn prompt_name(prompt: PromptName) -> &'static str {
    match prompt {
        PromptName::RecordingStarts => "recording-started",
        PromptName::RecordingPaused => "recording-paused",
        PromptName::RecordingResumed => "recording-resumed",
    }
}

fn control_name(control: Control) -> &'static str {
    match control {
        Control::Start => "start",
        Control::Stop => "stop",
        Control::Pause => "pause",
        Control::Resume => "resume",
    }
}
