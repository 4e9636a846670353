//! The call's facts in the form that is kept: who is the owner, what is a word of the archive.

use duolog_archive::{recording_text, wire};
use duolog_call::{
    Announce, Arrival, CallDirection, Class, Completion, Control, Departure, DoNotRecordReason,
    Dtmf, End, Ending, Fact, HungUpBy, Indication, Keeping, Means, Mode, Nature, Network, Notice,
    OnFailure, Opening, OwnerKind, PromptName, Side,
};
use duolog_spool::RecordingId;

use crate::prompts::PromptBook;

/// What a recording is opened with.
pub fn opening(opening: &Opening) -> wire::Opening {
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
            Mode::OnDemand => wire::Mode::OnDemand,
            Mode::OnDemandUserStart => wire::Mode::OnDemandUserStart,
            Mode::Always => wire::Mode::Always,
            Mode::AlwaysPauseResume => wire::Mode::AlwaysWithPause,
        },
        announced: announced(opening),
        dtmf: match opening.settled.recording.dtmf {
            Dtmf::Keep => wire::DtmfPolicy::Keep,
            Dtmf::Mask => wire::DtmfPolicy::Mask,
        },
        class: Some(class(opening.class)),
        chain: wire::Chain {
            correlation: Some(format!("{:032x}", opening.correlation)),
            party: Some(opening.party.clone()),
            diversion: opening.diversion.clone(),
        },
        standing: wire::Standing {
            owner_kind: Some(owner_kind(opening.owner_kind)),
            number: Some(opening.number),
            keeping: match opening.keeping {
                Keeping::Kept => wire::Keeping::Kept,
                Keeping::Provisional => wire::Keeping::Provisional,
                Keeping::Message => wire::Keeping::Message,
            },
        },
        ..wire::Opening::default()
    }
}

fn owner_kind(kind: OwnerKind) -> wire::OwnerKind {
    match kind {
        OwnerKind::User => wire::OwnerKind::User,
        OwnerKind::Workspace => wire::OwnerKind::Workspace,
        OwnerKind::VirtualLine => wire::OwnerKind::VirtualLine,
        OwnerKind::Queue => wire::OwnerKind::Queue,
    }
}

fn class(class: Class) -> wire::Class {
    wire::Class {
        network: match class.network {
            Network::Internal => wire::Network::Internal,
            Network::Pstn => wire::Network::Pstn,
        },
        nature: match class.nature {
            Nature::Conversation => wire::Nature::Conversation,
            Nature::Voicemail => wire::Nature::Voicemail,
            Nature::Emergency => wire::Nature::Emergency,
        },
    }
}

fn announced(opening: &Opening) -> wire::Announced {
    let settings = &opening.settled.recording;
    wire::Announced {
        start: opening.announced() == Announce::On,
        pause: match settings.notice {
            Notice::None => wire::PauseNotice::None,
            Notice::Beep => wire::PauseNotice::Beep,
            Notice::Announcement => wire::PauseNotice::Announcement,
        },
        repeat_tone_s: settings.repeat_tone.map(|interval| interval.seconds()),
        language: Some(opening.settled.language.clone()),
    }
}

/// How a recording ended.
pub fn ending(ending: &Ending) -> wire::Ending {
    let end = match ending.end {
        End::Finished => wire::End::Finished,
        End::NotStarted => wire::End::NotStarted,
        End::NotAnswered => wire::End::NotAnswered,
        End::NotKept => wire::End::NotKept,
        End::Refused => wire::End::Refused,
        End::Failed => wire::End::Failed,
    };
    wire::Ending {
        end,
        reason: Some(ending.reason.clone()),
        ..wire::Ending::default()
    }
}

/// A fact of a recording whose owner is on `owner`; `prompts` know what was heard where something was said.
pub fn fact(fact: &Fact, owner: Side, prompts: &PromptBook) -> wire::Fact {
    let who = |side: Side| match side == owner {
        true => wire::Side::Owner,
        false => wire::Side::Other,
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
        Fact::AnnouncementStarted {
            side,
            prompt,
            language,
            whose,
        } => {
            let (level, spoken) = prompts.origin(*prompt, language, *whose);
            wire::Fact::AnnouncementStarted {
                side: who(*side),
                prompt: prompt_name(*prompt).into(),
                language: Some(spoken.into()),
                whose: Some(level.into()),
            }
        }
        Fact::AnnouncementEnded {
            side,
            prompt,
            completion,
        } => wire::Fact::AnnouncementEnded {
            side: who(*side),
            prompt: prompt_name(*prompt).into(),
            completion: heard(*completion),
        },
        Fact::Held { by } => wire::Fact::Held { by: who(*by) },
        Fact::Retrieved { by } => wire::Fact::Retrieved { by: who(*by) },
        Fact::TonePlayed => wire::Fact::TonePlayed {
            tone: "repeat_tone".into(),
        },
        Fact::BeepPlayed => wire::Fact::TonePlayed {
            tone: "beep".into(),
        },
        Fact::HungUp { by } => hung_up(*by, who),
        Fact::RecordingStarted { .. }
        | Fact::Paused { .. }
        | Fact::Resumed { .. }
        | Fact::Stopped { .. }
        | Fact::Kept { .. }
        | Fact::EarlierRecording { .. }
        | Fact::DoNotRecord { .. }
        | Fact::Failed { .. }
        | Fact::Trouble { .. }
        | Fact::Indicated { .. }
        | Fact::ControlRefused { .. } => recording(fact, who),
        Fact::OtherRecording { .. }
        | Fact::Class(_)
        | Fact::Diverted { .. }
        | Fact::PartyLeft { .. }
        | Fact::PartyJoined { .. }
        | Fact::TransferAsked { .. }
        | Fact::TransferFailed { .. } => party(fact, who),
    }
}

/// How the owner's recording stands, and what was asked of it.
fn recording(fact: &Fact, who: impl Fn(Side) -> wire::Side) -> wire::Fact {
    match fact {
        Fact::RecordingStarted { by } => wire::Fact::RecordingStarted {
            by: by.map(asker),
            way: by.map(way),
        },
        Fact::Paused { by } => wire::Fact::RecordingPaused {
            by: asker(*by),
            way: way(*by),
        },
        Fact::Resumed { by } => wire::Fact::RecordingResumed {
            by: asker(*by),
            way: way(*by),
        },
        Fact::Stopped { by } => wire::Fact::RecordingStopped {
            by: asker(*by),
            way: way(*by),
        },
        Fact::Kept { by } => wire::Fact::RecordingKept {
            by: asker(*by),
            way: way(*by),
        },
        Fact::EarlierRecording { recording } => wire::Fact::EarlierRecording {
            recording: recording_text(RecordingId(recording.0)),
        },
        Fact::DoNotRecord { reason } => wire::Fact::DoNotRecord {
            reason: do_not_record(*reason).into(),
        },
        Fact::Failed { then } => wire::Fact::RecordingFailed {
            then: on_failure(*then).into(),
        },
        Fact::Trouble { reason } => wire::Fact::RecordingTrouble {
            reason: reason.clone(),
        },
        Fact::Indicated { side, state } => wire::Fact::Indicated {
            side: who(*side),
            state: indication(*state).into(),
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
        _ => unreachable!("only facts about the recording are given to this"),
    }
}

/// Who takes part, and what kind of call that makes it.
fn party(fact: &Fact, who: impl Fn(Side) -> wire::Side) -> wire::Fact {
    match fact {
        Fact::OtherRecording { recording } => wire::Fact::OtherRecording {
            recording: recording_text(RecordingId(recording.0)),
        },
        Fact::Class(of) => wire::Fact::ClassChanged { class: class(*of) },
        Fact::Diverted { from } => wire::Fact::Diverted { from: from.clone() },
        Fact::PartyLeft { side, how } => wire::Fact::PartyLeft {
            side: who(*side),
            how: match how {
                Departure::HungUp => wire::Departure::HungUp,
                Departure::Transferred => wire::Departure::Transferred,
                Departure::Replaced => wire::Departure::Replaced,
                Departure::Redirected => wire::Departure::Redirected,
            },
        },
        Fact::PartyJoined { side, number, how } => wire::Fact::PartyJoined {
            side: who(*side),
            number: number.clone(),
            how: match how {
                Arrival::Transfer => wire::Arrival::Transfer,
                Arrival::Replaced => wire::Arrival::Replaced,
                Arrival::PickedUp => wire::Arrival::PickedUp,
                Arrival::Redirected => wire::Arrival::Redirected,
            },
        },
        Fact::TransferAsked { by } => wire::Fact::TransferAsked { by: who(*by) },
        Fact::TransferFailed { status } => wire::Fact::TransferFailed {
            status: Some(*status),
        },
        _ => unreachable!("only facts about who takes part are given to this"),
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
        HungUpBy::SessionExpired(side) => ended(who(side), "nothing refreshed the session in time"),
        HungUpBy::Transferred => ended(wire::Side::Unknown, "a transfer took the party elsewhere"),
        HungUpBy::Replaced => ended(wire::Side::Unknown, "another party took the place"),
        HungUpBy::NotRecorded => ended(wire::Side::Nobody, "the call could not be recorded"),
        HungUpBy::Fault => ended(wire::Side::Nobody, "duolog made a mistake with the call"),
        HungUpBy::Cancel => failed(None, "the caller gave up"),
        HungUpBy::CalleeRefused(status) => failed(Some(status), "the called side refused"),
        HungUpBy::NoAnswer => failed(None, "the called side did not answer"),
        HungUpBy::BadSession => failed(None, "the session description could not be carried"),
        HungUpBy::NoPorts => failed(Some(503), "no media ports were free"),
        HungUpBy::Gate => failed(Some(503), "the node could not record a new call"),
    }
}

fn heard(completion: Completion) -> wire::Completion {
    match completion {
        Completion::Whole => wire::Completion::Whole,
        Completion::Cut => wire::Completion::Cut,
    }
}

fn way(means: Means) -> wire::Way {
    match means {
        Means::FeatureCode => wire::Way::FeatureCode,
        Means::Info => wire::Way::SipInfo,
        Means::Offer => wire::Way::SipOffer,
        Means::Api => wire::Way::Api,
        Means::Limit | Means::Policy => wire::Way::System,
    }
}

/// Who asked for what the owner's recording did.
fn asker(means: Means) -> wire::Side {
    match means {
        Means::FeatureCode | Means::Info | Means::Offer | Means::Api => wire::Side::Owner,
        Means::Limit | Means::Policy => wire::Side::Nobody,
    }
}

fn do_not_record(reason: DoNotRecordReason) -> &'static str {
    match reason {
        DoNotRecordReason::BusinessPrivate => "business-private",
        DoNotRecordReason::Personal => "personal",
        DoNotRecordReason::Vendor => "vendor",
    }
}

fn on_failure(then: OnFailure) -> &'static str {
    match then {
        OnFailure::Refuse => "refuse",
        OnFailure::GoOn => "go-on",
        OnFailure::GoOnAnnounced => "go-on-announced",
        OnFailure::EndAnnounced => "end-announced",
    }
}

fn indication(state: Indication) -> &'static str {
    match state {
        Indication::Off => "off",
        Indication::On => "on",
        Indication::Paused => "paused",
    }
}

/// The file name of a prompt, which is also its name in facts.
pub fn prompt_name(prompt: PromptName) -> &'static str {
    match prompt {
        PromptName::RecordingStarts => "recording-started",
        PromptName::RecordingPaused => "recording-paused",
        PromptName::RecordingResumed => "recording-resumed",
        PromptName::RecordingStops => "recording-stopped",
        PromptName::FailureContinues => "failure-continues",
        PromptName::FailureEnds => "failure-ends",
        PromptName::Compliance => "compliance",
        PromptName::MailboxGreeting => "mailbox-greeting",
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use duolog_call as call;

    static SHIPPED: LazyLock<PromptBook> = LazyLock::new(|| {
        let config = crate::config::read("").expect("nothing is needed");
        let plain = crate::abilities::Abilities::default();
        PromptBook::load(&config, &plain).expect("shipped prompts")
    });

    fn fact(of_call: &Fact, owner: Side) -> wire::Fact {
        super::fact(of_call, owner, &SHIPPED)
    }

    fn check(fact_of_call: Fact, written: &str) {
        let kept = fact(&fact_of_call, Side::Callee).write();
        assert_eq!(String::from_utf8(kept).expect("JSON is UTF-8"), written);
        assert_eq!(
            wire::Fact::parse(written.as_bytes())
                .expect("a fact")
                .kind(),
            fact(&fact_of_call, Side::Callee).kind()
        );
    }

    #[test]
    fn a_start_says_how_a_person_asked_for_it() {
        for (by, written) in [
            (None, r#"{"kind":"recording_started"}"#),
            (
                Some(Means::FeatureCode),
                r#"{"kind":"recording_started","by":"owner","way":"feature_code"}"#,
            ),
        ] {
            check(Fact::RecordingStarted { by }, written);
        }
    }

    #[test]
    fn who_takes_part_is_kept_as_seen_from_the_owner() {
        let number = "+31201112233".to_owned();
        check(
            Fact::PartyJoined {
                side: Side::Caller,
                number,
                how: Arrival::PickedUp,
            },
            r#"{"kind":"party_joined","side":"other","number":"+31201112233","how":"picked_up"}"#,
        );
        for (how, word) in [
            (Departure::HungUp, "hung_up"),
            (Departure::Transferred, "transferred"),
            (Departure::Replaced, "replaced"),
            (Departure::Redirected, "redirected"),
        ] {
            let side = Side::Callee;
            check(
                Fact::PartyLeft { side, how },
                &format!(r#"{{"kind":"party_left","side":"owner","how":"{word}"}}"#),
            );
        }
        check(
            Fact::TransferAsked { by: Side::Caller },
            r#"{"kind":"transfer_asked","by":"other"}"#,
        );
        check(
            Fact::TransferFailed { status: 486 },
            r#"{"kind":"transfer_failed","status":486}"#,
        );
        let recording = call::RecordingId(0x0193_a1b2_c3d4_7e5f_8607_1829_3a4b_5c6d);
        check(
            Fact::OtherRecording { recording },
            r#"{"kind":"other_recording","recording":"rec_0193a1b2-c3d4-7e5f-8607-18293a4b5c6d"}"#,
        );
        check(
            Fact::Class(Class {
                network: Network::Internal,
                nature: Nature::Emergency,
            }),
            r#"{"kind":"class_changed","class":{"network":"internal","nature":"emergency"}}"#,
        );
        let said = |prompt, language: &str| Fact::AnnouncementStarted {
            side: Side::Caller,
            prompt,
            language: language.to_owned(),
            whose: call::UserIndex(7),
        };
        // In a language that is not there it is heard in English.
        for (asked, spoken) in [("nl", "nl"), ("fr", "en")] {
            let kept = format!(
                r#"{{"kind":"announcement_started","side":"other","prompt":"compliance","language":"{spoken}","whose":"shipped"}}"#
            );
            check(said(PromptName::Compliance, asked), &kept);
        }
        let from = "201".to_owned();
        check(
            Fact::Diverted { from },
            r#"{"kind":"diverted","from":"201"}"#,
        );
        let by = HungUpBy::SessionExpired(Side::Caller);
        check(
            Fact::HungUp { by },
            r#"{"kind":"hung_up","by":"other","reason":"nothing refreshed the session in time"}"#,
        );
    }

    #[test]
    fn an_opening_says_who_the_other_party_is_and_what_the_call_belongs_to() {
        let mut recording = call::RecordingSettings {
            notice: Notice::Beep,
            ..call::RecordingSettings::default()
        };
        recording.announce.pstn = Announce::On;
        let recording = std::sync::Arc::new(recording);
        // After a transfer who was called may stand on the caller's side: the side says nothing of it.
        for (owner_side, party) in [
            (Side::Caller, "200"),
            (Side::Callee, "+31201234567"),
            (Side::Caller, "+31201234567"),
        ] {
            let opened = Opening {
                call_id: "1@x".into(),
                owner: "anna".into(),
                owner_side,
                from: "+31201234567".into(),
                to: "200".into(),
                party: party.into(),
                direction: CallDirection::Internal,
                class: Class {
                    network: Network::Pstn,
                    nature: Nature::Voicemail,
                },
                correlation: 0x5c6d,
                diversion: vec!["202".into(), "201".into()],
                mode: Mode::Always,
                settled: call::Settled {
                    recording: recording.clone(),
                    language: "nl".into(),
                },
                owner_kind: OwnerKind::User,
                number: 1,
                keeping: Keeping::Kept,
            };
            let kept = opening(&opened);
            let kept = wire::Opening::parse(&kept.write()).expect("our own");
            assert_eq!(kept.chain.party.as_deref(), Some(party));
            assert_eq!(kept.chain.diversion, ["202", "201"]);
            let correlation = "00000000000000000000000000005c6d";
            assert_eq!(kept.chain.correlation.as_deref(), Some(correlation));
            let class = kept.class.expect("it was said");
            assert_eq!(
                (class.network, class.nature),
                (wire::Network::Pstn, wire::Nature::Voicemail)
            );
            let announced = kept.announced;
            assert!(announced.start, "as calls with the public network are");
            assert_eq!(announced.pause, wire::PauseNotice::Beep);
            assert_eq!(announced.language.as_deref(), Some("nl"));
        }
    }
}
