//! The recorded half of a caller who talks to this node itself: nobody is across.

use std::time::Instant;

use crate::fact::{Fact, HungUpBy, Means, Opening, Side};
use crate::feature_code::Digit;
use crate::media::{Completion, LegId, MediaGroup, PlayId, RecordingId};
use crate::plan::RecordingPlan;
use crate::recording::{Control, Phase, Refusal};
use crate::role::b2bua::context::Context;
use crate::role::b2bua::ending::{Reached, closing};
use crate::role::b2bua::recordings::Recordings;
use crate::role::b2bua::row::Placed;
use crate::role::b2bua::sounds::{Legs, Listener};
use crate::settings::UserIndex;

/// What a caller's own settings make of a call with this node, if anything.
pub(crate) struct Half {
    leg: LegId,
    recordings: Recordings,
}

impl Half {
    /// Of the caller on this leg; not recorded so far.
    pub(crate) fn of(caller: Listener) -> Self {
        let legs = Legs {
            caller: Some(caller),
            callee: None,
        };
        let recordings = Recordings::new(legs);
        let leg = caller.leg;
        Self { leg, recordings }
    }

    /// Makes the row of the caller's recording.
    pub(crate) fn open(
        &mut self,
        cx: &mut Context<'_>,
        plan: &RecordingPlan,
        opening: Opening,
        (recording, group): (RecordingId, MediaGroup),
    ) {
        let at = Placed {
            recording,
            group,
            owner: self.leg,
            other: cx.ids.leg(),
        };
        self.recordings.open(cx, plan, opening, at);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.recordings.deadline()
    }

    pub(crate) fn expire(&mut self, cx: &mut Context<'_>) {
        self.recordings.expire(cx);
    }

    /// The caller is connected.
    pub(crate) fn answered(&mut self, cx: &mut Context<'_>) {
        self.recordings.answered(cx);
    }

    /// Whether the caller is being told that the call is recorded.
    pub(crate) fn is_announcing(&self) -> bool {
        self.recordings.is_announcing()
    }

    /// Whether the caller hears something of it, as far as is known.
    pub(crate) fn is_sounding(&self) -> bool {
        self.recordings.audience.is_sounding()
    }

    /// Whether the call is to end because it cannot be recorded, or about to.
    pub(crate) fn is_parting(&self) -> bool {
        self.recordings.audience.is_parting()
    }

    /// Whether the caller has heard that, so that the call ends now.
    pub(crate) fn have_parted(&self) -> bool {
        self.recordings.have_parted()
    }

    /// Whether the caller's digits may be feature codes.
    pub(crate) fn takes_digits(&self) -> bool {
        !self.recordings.digit_legs().is_empty()
    }

    pub(crate) fn digit(&mut self, cx: &mut Context<'_>, digit: Digit) {
        self.recordings.digit(cx, self.leg, digit);
    }

    pub(crate) fn begun(&mut self, cx: &mut Context<'_>, play: PlayId) {
        self.recordings.begun(cx, self.leg, play);
    }

    pub(crate) fn played(&mut self, cx: &mut Context<'_>, play: PlayId, whole: Completion) {
        self.recordings.played(cx, self.leg, play, whole);
    }

    /// The caller asks for something, or somebody on the caller's behalf.
    pub(crate) fn control(
        &mut self,
        cx: &mut Context<'_>,
        by: Means,
        control: Control,
    ) -> Result<Phase, Refusal> {
        if !self.recordings.has(Side::Caller) {
            return Err(Refusal::NotRecorded);
        }
        self.recordings.control(cx, Side::Caller, by, control)?;
        let standing = self.standing().ok_or(Refusal::Ended)?;
        Ok(standing.2)
    }

    pub(crate) fn standing(&self) -> Option<(RecordingId, UserIndex, Phase)> {
        self.recordings.standing(Side::Caller)
    }

    pub(crate) fn note(&self, cx: &mut Context<'_>, fact: Fact) {
        self.recordings.note(cx, &fact);
    }

    pub(crate) fn trouble(&mut self, cx: &mut Context<'_>, id: RecordingId, reason: &str) {
        self.recordings.trouble(cx, id, reason);
    }

    /// The call is over.
    pub(crate) fn ended(&mut self, cx: &mut Context<'_>, by: HungUpBy, reached: Reached) {
        self.recordings.ended(cx, by, &closing(by, reached));
    }
}
