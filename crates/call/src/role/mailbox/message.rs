//! The recording of the message, on behalf of the mailbox's owner, and of the caller's own half.

use std::sync::Arc;

use crate::class::{Class, Nature, Network, classify};
use crate::fact::{CallDirection, Fact, HungUpBy, Indication, Keeping, Opening, Settled, Side};
use crate::log::LogEvent;
use crate::media::{End, Ending, LegId, MediaCommand, RecordingId};
use crate::plan::{self, RecordingPlan, recorded};
use crate::policy::Mode;
use crate::role::b2bua::context::{Action, Context};
use crate::role::b2bua::ending::{Reached, closing};
use crate::role::b2bua::half::Half;
use crate::role::b2bua::handoff::Handed;
use crate::route::Party;

/// The recording of a message. The caller wants it kept: that is why it was left. So the owner's own
/// recording settings say nothing about it.
pub(super) struct Message {
    id: RecordingId,
    /// The number it is for.
    number: String,
    stands: Stands,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Opened,
    Started,
    Closed,
}

/// Opens the rows of a message: that of its owner, and that of a caller who is recorded.
pub(super) fn open(cx: &mut Context<'_>, handed: &Handed) -> (Message, Half) {
    let party = handed.leg.who.party;
    let owner = Party::User(handed.owner);
    let class = Class {
        nature: Nature::Voicemail,
        ..classify(cx.settings, party, owner, &handed.number)
    };
    let side = plan::Half {
        side: Side::Caller,
        party,
        across: &handed.number,
        class,
        diverted: &[],
    };
    let plan = recorded(cx.settings, side);
    // One who leaves a message for themselves is one owner, not two.
    let plan = plan.filter(|plan| plan.owner != handed.owner);
    let direction = match class.network {
        Network::Pstn => CallDirection::Inbound,
        Network::Internal => CallDirection::Internal,
    };
    cx.log(LogEvent::Began {
        recorded: Some(direction),
    });
    let id = cx.ids.recording(cx.now);
    let message = Message {
        id,
        number: handed.number.clone(),
        stands: Stands::Opened,
    };
    // Nobody ever sits on the owner's leg.
    let (leg, nobody) = (handed.leg.id, cx.ids.leg());
    let opening = opening(cx, handed, class, direction);
    message.open(cx, handed, [nobody, leg], opening);
    let diverted = Fact::Diverted {
        from: handed.number.clone(),
    };
    message.note(cx, diverted);
    let mut half = Half::of(handed.leg.listener(cx.settings));
    if let Some(plan) = plan {
        open_half(cx, handed, (&plan, &message), &mut half);
    }
    (message, half)
}

fn open_half(
    cx: &mut Context<'_>,
    handed: &Handed,
    (plan, message): (&RecordingPlan, &Message),
    half: &mut Half,
) {
    let owner = &cx.settings.users[plan.owner.0];
    let opening = Opening {
        owner: owner.name.clone(),
        owner_side: Side::Caller,
        party: handed.number.clone(),
        direction: plan.direction,
        mode: plan.settings.mode,
        settled: plan.settled(cx.settings),
        owner_kind: owner.kind,
        keeping: plan.keeping(),
        ..opening(cx, handed, plan.class, plan.direction)
    };
    let own = cx.ids.recording(cx.now);
    half.open(cx, plan, opening, (own, handed.group));
    let recording = message.id;
    half.note(cx, Fact::OtherRecording { recording });
    message.note(cx, Fact::OtherRecording { recording: own });
}

/// The row of the message, as far as it is known now.
fn opening(cx: &Context<'_>, handed: &Handed, class: Class, direction: CallDirection) -> Opening {
    let owner = &cx.settings.users[handed.owner.0];
    let caller = handed.leg.who.number.clone();
    Opening {
        call_id: handed.invite.call_id().unwrap_or_default().to_owned(),
        owner: owner.name.clone(),
        owner_side: Side::Callee,
        from: caller.clone(),
        to: handed.number.clone(),
        party: caller,
        direction,
        class,
        correlation: handed.chain,
        diversion: handed.diversion.clone(),
        mode: Mode::Always,
        settled: Settled {
            recording: Arc::clone(&owner.recording),
            language: cx.settings.language_of(owner).to_owned(),
        },
        owner_kind: owner.kind,
        number: 1,
        keeping: Keeping::Message,
    }
}

impl Message {
    fn open(
        &self,
        cx: &mut Context<'_>,
        handed: &Handed,
        [owner, other]: [LegId; 2],
        opening: Opening,
    ) {
        let recording = self.id;
        cx.media(MediaCommand::OpenRecording {
            recording,
            group: handed.group,
            owner,
            other,
            opening: Box::new(opening),
        });
        cx.log(LogEvent::RecordingOpened { recording });
    }

    /// The number it is for.
    pub(super) fn number(&self) -> &str {
        &self.number
    }

    /// Whether this is its name.
    pub(super) fn is(&self, recording: RecordingId) -> bool {
        self.id == recording
    }

    /// What a record-aware caller is told of it.
    pub(super) fn indication(&self) -> Indication {
        match self.stands {
            Stands::Started => Indication::On,
            Stands::Opened | Stands::Closed => Indication::Off,
        }
    }

    /// The caller has heard the beep.
    pub(super) fn start(&mut self, cx: &mut Context<'_>) {
        if self.stands != Stands::Opened {
            return;
        }
        self.stands = Stands::Started;
        let recording = self.id;
        cx.media(MediaCommand::StartRecording { recording });
        let by = None;
        self.note(cx, Fact::RecordingStarted { by });
        cx.log(LogEvent::RecordingStarted { recording, by });
    }

    /// Keeps a fact, as long as the row is open.
    pub(super) fn note(&self, cx: &mut Context<'_>, fact: Fact) {
        if self.stands != Stands::Closed {
            let recording = self.id;
            cx.media(MediaCommand::Note { recording, fact });
        }
    }

    /// The recorder has lost audio of it: it ends where it is, and what there is of it is kept.
    pub(super) fn cut_short(&mut self, cx: &mut Context<'_>, reason: String) {
        self.trouble(cx, &reason);
        let end = match self.stands {
            Stands::Started => End::Finished,
            Stands::Opened | Stands::Closed => End::Failed,
        };
        self.close(cx, end, reason);
    }

    fn trouble(&self, cx: &mut Context<'_>, reason: &str) {
        let reason = reason.to_owned();
        let recording = self.id;
        self.note(
            cx,
            Fact::Trouble {
                reason: reason.clone(),
            },
        );
        cx.log(LogEvent::RecordingTrouble { recording, reason });
    }

    /// The recorder lost it, or takes none now.
    pub(super) fn lost(&mut self, cx: &mut Context<'_>, reason: String) {
        self.trouble(cx, &reason);
        self.close(cx, End::Failed, reason);
    }

    /// It is as long as it may be.
    pub(super) fn full(&mut self, cx: &mut Context<'_>) {
        let reason = "the message was as long as it may be".to_owned();
        self.close(cx, End::Finished, reason);
    }

    /// The call is over.
    pub(super) fn ended(&mut self, cx: &mut Context<'_>, by: HungUpBy, reached: Reached) {
        self.note(cx, Fact::HungUp { by });
        let closing = closing(by, reached);
        let end = match self.stands {
            Stands::Started => End::Finished,
            Stands::Opened | Stands::Closed => closing.unstarted,
        };
        self.close(cx, end, closing.reason);
    }

    fn close(&mut self, cx: &mut Context<'_>, end: End, reason: String) {
        if self.stands == Stands::Closed {
            return;
        }
        self.stands = Stands::Closed;
        let recording = self.id;
        let ending = Ending { end, reason };
        cx.media(MediaCommand::CloseRecording { recording, ending });
        cx.log(LogEvent::RecordingClosed { recording, end });
        cx.act(Action::Forget(recording));
    }
}
